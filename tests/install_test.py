"""What is installed, from where, and what is said about it."""

import ast
import pathlib
import re
import subprocess
import sys
import zipfile

import pytest

from benchmarks import resolve

ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
  """A copy, which builds clutter, in a folder of the name that git gives it."""
  pytest.importorskip("setuptools")
  copy = tmp_path_factory.mktemp("work") / "jaxmix"
  files = ["setup.py", "pyproject.toml", "README.md", "LICENSE"]
  for path in [*files, *tracked("jaxmix"), *tracked("experiments", ".py")]:
    target = copy / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes((ROOT / path).read_bytes())
  return copy


@pytest.fixture(scope="module")
def wheel(checkout, tmp_path_factory):
  """The wheel's files, name -> text."""
  folder = tmp_path_factory.mktemp("wheel")
  done = subprocess.run(
    [
      *(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"),
      *("--no-build-isolation", f"--wheel-dir={folder}", checkout),
    ],
    capture_output=True,
    text=True,
  )
  for module in ("pip", "wheel"):  # uv's have none; old setuptools need it
    if re.search(f"No module named '?{module}\\b", done.stderr):
      pytest.skip(f"{module} is not installed: pip install -e '.[test]'")
  assert done.returncode == 0, done.stderr
  (built,) = folder.glob("*.whl")
  with zipfile.ZipFile(built) as opened:
    return {name: opened.read(name).decode() for name in opened.namelist()}


def tracked(folder, suffix=""):
  return [
    str(path.relative_to(ROOT))
    for path in (ROOT / folder).rglob("*")
    if path.is_file()
    and path.name.endswith(suffix)
    and "__pycache__" not in path.parts
  ]


def test_the_wheel_holds_jaxmix_alone_and_typed(wheel):
  tops = {name.split("/")[0] for name in wheel if ".dist-info/" not in name}
  assert tops == {"jaxmix"}
  assert "jaxmix/py.typed" in wheel
  modules = {name for name in wheel if name.endswith(".py")}
  assert modules == set(tracked("jaxmix", ".py"))


def test_beside_its_checkout_a_script_imports_the_package(checkout, tmp_path):
  """Before, `import jaxmix` found the folder itself: a module of nothing."""
  build = "import sys; from setuptools import build_meta as b; "
  build += "b.build_editable(sys.argv[1])"
  done = subprocess.run(
    [sys.executable, "-c", build, tmp_path],
    cwd=checkout,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  (built,) = tmp_path.glob("*.whl")
  with zipfile.ZipFile(built) as opened:
    opened.extractall(tmp_path / "installed")
  # Without what is installed here, from the folder that the checkout is in.
  look = "import importlib.util, site, sys; sys.path.insert(0, ''); "
  look += "site.addsitedir(sys.argv[1]); "
  look += "print(importlib.util.find_spec('jaxmix').origin)"
  done = subprocess.run(
    [sys.executable, "-I", "-S", "-c", look, tmp_path / "installed"],
    cwd=checkout.parent,
    capture_output=True,
    text=True,
  )
  assert done.stdout.strip() == str(checkout / "jaxmix/__init__.py"), done


def test_the_wheel_requires_what_the_library_imports_and_no_more(wheel):
  (text,) = [wheel[name] for name in wheel if name.endswith("/METADATA")]
  required = {
    re.match(r"[\w-]+", line)[0]
    for line in re.findall(r"^Requires-Dist: (.*)$", text, re.MULTILINE)
    if "extra ==" not in line
  }
  imported = set()
  for path in tracked("jaxmix", ".py"):
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
      if isinstance(node, ast.Import):
        imported |= {alias.name.split(".")[0] for alias in node.names}
      elif isinstance(node, ast.ImportFrom):
        imported.add(node.module.split(".")[0])
  assert required == imported - set(sys.stdlib_module_names) - {"jaxmix"}


def test_train_needs_no_tensorflow_and_tfds_none_where_there_is_none():
  known = resolve.declared()
  assert not [line for line in known["train"] if "tensorflow" in line]
  for python, names in (
    (
      "3.13",
      ["importlib_resources", "pillow", "tensorflow", "tensorflow-datasets"],
    ),
    ("3.14", []),
  ):
    found = resolve.asked(known["tfds"], python)
    assert [re.match(r"[\w-]+", line)[0] for line in found] == names


def test_the_index_s_project_of_our_name_is_never_asked_for():
  """It is another's: what it holds would run on the reader's machine."""
  asked = []
  listed = subprocess.run(
    ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
  )
  for name in listed.stdout.split():
    path = ROOT / name
    if path == pathlib.Path(__file__) or not path.is_file():
      continue
    try:
      text = path.read_text()
    except UnicodeDecodeError:  # a picture
      continue
    text = text.replace("\\\n", " ").replace('\\"', '"')
    for line in text.splitlines():
      # Extras outside of a checkout, and a bare name after "pip install".
      by_name = re.search(r"jaxmix\[", line) or re.search(
        r"pip3? install[^#;&|`]*?[\s\"']jaxmix\b(?![/.])", line
      )
      if by_name and not re.search(r"jaxmix(\[\w+\])? @ git\+", line):
        asked.append(f"{name}: {line.strip()}")
  assert asked == []


def test_the_notebooks_install_their_own_checkout():
  for path in (ROOT / "colabs").glob("*.ipynb"):
    text = path.read_text().replace('\\"', '"')
    assert '%pip install -q -e "..[colab]"' in text, path


def test_a_resolution_s_line():
  found = resolve.Resolved({"jax": "0.10.2", "numpy": "2.4"}, "")
  assert resolve.line("train", "3.14", found) == (
    "| train | 3.14 | yes | 2 packages, jax 0.10.2 |"
  )
  none = resolve.Resolved({}, "No matching distribution found for x")
  assert "| no | No matching" in resolve.line("tfds", "3.14", none)
