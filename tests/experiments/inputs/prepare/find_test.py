"""Which files are images, and what is said of the others."""

import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import unicodedata

import pytest

from experiments.inputs.prepare import find

ROOT = pathlib.Path(__file__).parents[4]
COMPOSED = unicodedata.normalize("NFC", "café")
DECOMPOSED = unicodedata.normalize("NFD", "café")
assert COMPOSED != DECOMPOSED


def test_images_are_found_at_any_depth_in_order(tmp_path, save_jpeg):
  for name in ("b/2.JPG", "a/deep/1.jpeg", "a/0.jpg"):
    save_jpeg(tmp_path / name)
  (tmp_path / "a" / "notes.txt").write_text("not an image")
  found = find.find_images(str(tmp_path))
  assert found.left_out == {"files named *.txt": 1}
  assert list(found.images) == ["a/0.jpg", "a/deep/1.jpeg", "b/2.JPG"]
  assert found.images["a/deep/1.jpeg"] == str(tmp_path / "a/deep/1.jpeg")
  assert not found.empty


def test_every_ending_that_is_decoded_counts_in_any_case(tmp_path):
  names = [f"a/{i}{e}" for i, e in enumerate(sorted(find.EXTENSIONS))]
  names += ["a/x.PNG", "a/y.WebP", "a/z.Bmp"]
  for name in (*names, "a/0.tiff", "a/1.TIFF", "a/README", "a/2.heic"):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
  found = find.find_images(str(tmp_path))
  assert list(found.images) == sorted(names)
  assert found.left_out == {
    "files named *.tiff": 2,
    "files named *.heic": 1,
    "files without an ending": 1,
  }


def test_no_images_is_an_error(tmp_path):
  with pytest.raises(FileNotFoundError, match="is not a folder"):
    find.find_images(str(tmp_path / "nowhere"))
  with pytest.raises(FileNotFoundError, match="only --out may be a URL"):
    find.find_images("gs://bucket/jpegs")
  (tmp_path / "a.txt").write_text("")
  with pytest.raises(FileNotFoundError, match=r"no image .*: 1 files named"):
    find.find_images(str(tmp_path))


def test_what_systems_leave_behind_is_no_image(tmp_path, save_jpeg):
  for name in (
    "fox/0.jpg",
    "fox/._0.jpg",
    "fox/.ipynb_checkpoints/0-checkpoint.jpg",
    ".ipynb_checkpoints/fox.jpg",
    "__MACOSX/fox/0.jpg",
    "fox/@eaDir/0.jpg",
  ):
    save_jpeg(tmp_path / name)
  found = find.find_images(str(tmp_path))
  assert list(found.images) == ["fox/0.jpg"]
  assert found.left_out == {"hidden or system files and folders": 5}
  assert not found.empty
  assert find.summary(found.left_out).startswith("5 hidden or system")


def test_only_regular_files_are_images(tmp_path, save_jpeg, monkeypatch):
  save_jpeg(tmp_path / "fox" / "0.jpg")
  monkeypatch.chdir(tmp_path / "fox")
  os.mkfifo("pipe.jpg")
  os.symlink("nowhere.jpg", "gone.jpg")
  os.symlink("loop.jpg", "loop.jpg")
  os.symlink("/dev/zero", "device.jpg")
  os.symlink("pipe.jpg", "link_to_pipe.jpg")
  with socket.socket(socket.AF_UNIX) as server:
    server.bind("socket.jpg")
    found = find.find_images(str(tmp_path))
  assert list(found.images) == ["fox/0.jpg"]
  assert found.left_out == {"pipes, sockets, devices and dangling links": 6}


def test_every_folder_is_looked_into_once(tmp_path, save_jpeg):
  for name in ("jpegs/cat/0.jpg", "jpegs/dog/1.jpg", "away/2.jpg"):
    save_jpeg(tmp_path / name)
  folder = tmp_path / "jpegs"
  (folder / "cat" / "self").symlink_to(folder / "cat")
  (folder / "cat" / "up").symlink_to(folder)
  (folder / "ape").symlink_to(folder / "dog")  # sorted before the real one
  (folder / "eel").symlink_to(tmp_path / "away")
  found = find.find_images(str(folder))
  assert list(found.images) == ["cat/0.jpg", "dog/1.jpg", "eel/2.jpg"]
  assert found.left_out == {"links to folders seen already": 3}
  assert not found.empty


def test_folders_without_images_are_told_with_what_they_hold(
  tmp_path, save_jpeg
):
  save_jpeg(tmp_path / "cat" / "0.jpg")
  for name in ("ant", "bee/deep/deeper", "dog/.ipynb_checkpoints"):
    (tmp_path / name).mkdir(parents=True)
  (tmp_path / "bee" / "deep" / "0.tiff").touch()
  assert find.find_images(str(tmp_path)).empty == {
    "ant": {},
    "bee": {"files named *.tiff": 1},
    "dog": {"hidden or system files and folders": 1},
  }


def test_a_name_that_is_not_utf8_is_named(tmp_path, save_jpeg):
  save_jpeg(tmp_path / "a" / "0.jpg")
  for folder, file in ((b"a", b"caf\xe9.jpg"), (b"caf\xe8", b"1.jpg")):
    path = os.path.join(os.fsencode(tmp_path), folder)
    os.makedirs(path, exist_ok=True)
    os.link(tmp_path / "a" / "0.jpg", os.path.join(path, file))
  with pytest.raises(ValueError) as error:
    find.find_images(str(tmp_path))
  message = str(error.value)
  message.encode()  # printable
  assert message.startswith("folder: 2 names in ")
  assert r"b'a/caf\xe9.jpg'" in message and r"b'caf\xe8/1.jpg'" in message
  assert "convmv" in message


def test_what_is_left_out_may_have_any_name(tmp_path, save_jpeg):
  save_jpeg(tmp_path / "a" / "0.jpg")
  os.close(os.open(os.fsencode(tmp_path) + b"/a/x.\xe9", os.O_CREAT))
  found = find.find_images(str(tmp_path))
  assert found.left_out == {"files named *.?": 1}


def test_a_name_has_one_form(tmp_path, save_jpeg):
  for form in (COMPOSED, DECOMPOSED):
    save_jpeg(tmp_path / form / f"{form}.jpg")
    save_jpeg(tmp_path / f"{form} 2" / "0.jpg")
    (tmp_path / f"{form}_empty").mkdir()
    folder = tmp_path / form
    found = find.find_images(str(folder))
    assert list(found.images) == [f"{COMPOSED}.jpg"]
    assert os.path.exists(found.images[f"{COMPOSED}.jpg"])
  with pytest.raises(ValueError, match="one name in two Unicode forms") as e:
    find.find_images(str(tmp_path))
  assert r"caf\xe9" in str(e.value) and r"cafe\u0301" in str(e.value)


def test_an_unreadable_folder_is_named(tmp_path, save_jpeg):
  save_jpeg(tmp_path / "a" / "0.jpg")
  (tmp_path / "b").mkdir(mode=0o000)
  code = (
    "import os, sys\n"
    "from experiments.inputs.prepare import find\n"
    "if os.getuid() == 0: os.setuid(65534)\n"  # root may read everything
    "try: find.find_images(sys.argv[1], 'eval_folder')\n"
    "except OSError as error: print(error)"
  )
  for folder in (tmp_path, *tmp_path.parents):
    if folder == pathlib.Path(tempfile.gettempdir()):
      break
    folder.chmod(0o755)
  done = subprocess.run(
    [sys.executable, "-c", code, str(tmp_path)],
    capture_output=True,
    text=True,
    cwd=ROOT,
  )
  assert done.stdout.startswith(f"eval_folder: '{tmp_path}/b' cannot be"), done
  assert "chmod u+rx" in done.stdout
