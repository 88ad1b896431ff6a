"""Parts by speakers: the published rule, the lists, and another rule."""

import doctest
import hashlib
import os

import pytest

from experiments.inputs.speech import split


def divided(folder, rule="official"):
  clips = sorted(folder.glob("*/*.wav"))
  return split.divide(folder, clips, rule), clips


def test_the_published_rule_by_hand():
  # The last 27 bits of the speaker's SHA-1, as a share of the largest.
  expected = {}
  for k in range(60):
    low = int(hashlib.sha1(str(k).encode()).hexdigest()[-7:], 16) % 2**27
    share = low / (2**27 - 1)
    expected[k] = "eval" if share < 0.1 else "test" if share < 0.2 else "train"
  assert set(expected.values()) == {"train", "eval", "test"}
  for k, part in expected.items():
    assert split.official(f"{k}_nohash_{k}.wav") == part


def test_the_real_test_clips_are_in_the_test_part(shared):
  names = [path.name for path in shared.glob("*/*.wav")]
  assert len(names) == 1300
  assert {split.official(name) for name in names} == {"test"}


def test_a_speaker_is_in_one_part_whatever_the_word_and_number():
  for rule in split.RULES.values():
    names = [f"abc_nohash_{k}.wav" for k in range(20)]
    assert len({rule(name) for name in names}) == 1
    assert len({rule(f"{k}_nohash_0.wav") for k in range(100)}) == 3


def test_names_need_not_be_text():
  name = os.fsdecode(b"\xff_nohash_0.wav")
  assert {rule(name) for rule in split.RULES.values()} <= set(split.NAMES)


def test_shares_are_80_10_10():
  for rule in split.RULES.values():
    parts = [rule(f"speaker{k}_nohash_0.wav") for k in range(4_000)]
    for part, share in (("train", 0.8), ("eval", 0.1), ("test", 0.1)):
      error = (share * (1 - share) / 4_000) ** 0.5
      assert abs(parts.count(part) / 4_000 - share) < 4 * error


def test_the_other_rule_divides_one_part_of_the_first(shared):
  parts, clips = divided(shared, "speaker")
  assert sum(map(len, parts)) == len(clips)
  assert [len(part) > 50 for part in parts] == [True] * 3
  speakers = [{split.speaker(c.name) for c in part} for part in parts]
  assert not (speakers[0] & speakers[1] or speakers[0] & speakers[2])
  assert not speakers[1] & speakers[2]


def test_a_part_without_clips_names_the_key(shared, tmp_path):
  with pytest.raises(
    ValueError,
    match="'official' leaves no training and no validation clips of the 1,300"
    ".*use speech_split=speaker",
  ):
    divided(shared)
  clips = [tmp_path / "up" / "a_nohash_0.wav"]
  with pytest.raises(ValueError, match="'speaker' leaves no .*more speakers"):
    split.divide(tmp_path, clips, "speaker")


def write_lists(folder, validation, testing):
  (folder / "validation_list.txt").write_text(validation)
  (folder / "testing_list.txt").write_text(testing)


def test_lists_decide_in_place_of_the_rule(folder):
  names = [f"{k:08x}_nohash_0.wav" for k in range(30)]
  # With a line's end of Windows, an empty line, and clips that are not here.
  write_lists(
    folder,
    f"up/{names[0]}\r\n\r\nup/gone_nohash_0.wav\n",
    f"./down/{names[1]}\nup/{names[1]}",
  )
  parts, clips = divided(folder)
  assert parts.eval == [folder / "up" / names[0]]
  assert parts.test == [folder / word / names[1] for word in ("down", "up")]
  assert parts.train == [
    c for c in clips if c not in (*parts.eval, *parts.test)
  ]
  other, _ = divided(folder, "speaker")
  assert len(other.eval) != 1  # the lists are the official split


def test_lists_that_contradict_themselves_are_refused(folder):
  write_lists(folder, "up/a.wav", "up/b.wav\nup/a.wav")
  with pytest.raises(ValueError, match="up/a.wav is in both validation_list"):
    divided(folder)
  (folder / "testing_list.txt").unlink()
  with pytest.raises(ValueError, match="or neither; testing_list.txt is miss"):
    divided(folder)


def test_lists_of_other_clips_leave_parts_empty(folder):
  write_lists(folder, "", "")
  with pytest.raises(ValueError, match=r"leaves no validation.*by its lists"):
    divided(folder)


def test_examples_in_docstrings():
  result = doctest.testmod(split)
  assert result.attempted == 2 and not result.failed
