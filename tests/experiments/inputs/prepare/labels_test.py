"""What labels are, and how classes are numbered."""

import os
import unicodedata

import pytest

from experiments.inputs.prepare import labels

COMPOSED = unicodedata.normalize("NFC", "café")
DECOMPOSED = unicodedata.normalize("NFD", "café")


def test_a_label_is_the_topmost_folder_or_what_the_pattern_says():
  assert labels.label_of("fox/deep/1.jpg", "") == "fox"
  assert labels.label_of("fox/n1_2.jpg", r"(?P<label>n\d)_.*") == "n1"
  with pytest.raises(ValueError, match="'stray.jpg' lies in no class folder"):
    labels.label_of("stray.jpg", "")
  with pytest.raises(ValueError, match=r"does not match .*'cat/0.JPEG'"):
    labels.label_of("cat/0.JPEG", "(?P<label>x).*")


@pytest.mark.parametrize(
  ("pattern", "message"),
  [
    ("([", r"pattern: '\(\[' is no regular expression: unterminated"),
    ("(?P<label>a", "is no regular expression"),
    (".*", r"pattern: .*a group \(\?P<label>"),
  ],
)
def test_a_wrong_pattern_is_an_error(pattern, message):
  with pytest.raises(ValueError, match=message):
    labels.check_pattern(pattern)


@pytest.mark.parametrize(
  "name",
  ["a\nb", "a\rb", "a\tb", " a", "a ", "a\x00", "a\x1b[31m", "a\x85b"]
  + ["a\u2028b", "a\u00a0", "\u3000a"],
)
def test_a_name_that_tfds_would_change_is_refused(name):
  with pytest.raises(ValueError) as error:
    labels.check_names(["fox", name])
  assert str(error.value).startswith("classes: a class name must not hold")
  assert f"got {name!r}." in str(error.value)


def test_names_with_inner_spaces_and_accents_are_fine():
  labels.check_names(["polar bear", COMPOSED, "狐", "a-b_c.d,e", "zw\u200cnj"])


def test_labels_are_numbered_as_the_classes_are():
  given = {"cat/0.jpg": "cat", "dog/1.jpg": "dog"}
  classes = ["dog", "eel", "cat"]
  numbers = labels.numbered(given, classes, "--classes=x", "folder")
  assert numbers == {"cat/0.jpg": 2, "dog/1.jpg": 0}
  message = "^eval_folder: labels 'dog', the first of 'dog/1.jpg', are not in"
  with pytest.raises(ValueError, match=message):
    labels.numbered(given, ["cat"], "--classes=x", "eval_folder")


@pytest.mark.parametrize(
  ("text", "found", "names"),
  [
    ("tench Tinca tinca\ngoldfish\n", {"tench"}, ["tench", "goldfish"]),
    ("1 b Beta\n0 c Gamma\n\n2 a\n", {"a", "b"}, ["c", "b", "a"]),
    ("polar bear\n  red fox \n", {"polar bear"}, ["polar bear", "red fox"]),
    ("1 polar bear\n0 red fox\n", {"red fox"}, ["red fox", "polar bear"]),
    ("0 dogs\n1 cats\n", {"1 cats", "0 dogs"}, ["0 dogs", "1 cats"]),
    ("\ufefftench\ngoldfish\n", {"tench", "goldfish"}, ["tench", "goldfish"]),
    ("\ufeff0 tench\n1 goldfish\n", {"tench"}, ["tench", "goldfish"]),
    (f"{DECOMPOSED}\nfox\n", {COMPOSED}, [COMPOSED, "fox"]),
  ],
)
def test_classes_are_read_as_the_labels_say(tmp_path, text, found, names):
  path = tmp_path / "classes.txt"
  path.write_text(text, encoding="utf-8")
  assert labels.read_classes(str(path), found) == names


@pytest.mark.parametrize(
  ("data", "message"),
  [
    (b"", "is empty"),
    (b"0 a\n2 b\n", "index 1 is missing"),
    (b"0 a\n0 b\n", "index 1 is missing"),
    (b"a\nb\na\n", "lists 'a' more than once"),
    (b"caf\xe9\n", "not a text file in UTF-8 .* at byte 3"),
  ],
)
def test_bad_classes_files_are_errors(tmp_path, data, message):
  path = tmp_path / "classes.txt"
  path.write_bytes(data)
  with pytest.raises(ValueError, match=f"^classes: .*{message}"):
    labels.read_classes(str(path), {"a"})


def test_classes_are_a_regular_file(tmp_path):
  with pytest.raises(FileNotFoundError, match="classes: there is no file"):
    labels.read_classes(str(tmp_path / "none"), {"a"})
  os.mkfifo(tmp_path / "pipe")
  with pytest.raises(ValueError, match="no regular file"):
    labels.read_classes(str(tmp_path / "pipe"), {"a"})
