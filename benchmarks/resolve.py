"""Which extras install on which Python, from wheels.

  python -m benchmarks.resolve [--extras=train,test,tfds] [--constraints]

asks pip (it needs 23.1 or newer, and the network) to resolve every extra for
every Python, installs nothing, and prints a table of the versions that decide:
JAX's and TensorFlow's, or why there is no way. Without --constraints it takes
the newest there is, as a user's pip does; with it the versions of
constraints.txt, as `make` does. Packages' own conditions on the version of
Python are evaluated, by pip, for the one that runs this.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
import json
import pathlib
import re
import subprocess
import sys
import tempfile
from typing import Any, NamedTuple

from packaging import requirements

ROOT = pathlib.Path(__file__).parents[1]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
SHOWN = ("jax", "tensorflow")
# Pure Python that is published as source alone; pip resolves for another Python
# from wheels only.
SOURCES = ("promise",)  # of tensorflow-datasets


class Resolved(NamedTuple):
  """What pip made of one extra on one Python.

  Attributes:
    versions: name -> version of all that would be installed; {} if nothing can.
    reason: pip's last error, "" if there was none.
  """

  versions: dict[str, str]
  reason: str


def declared() -> dict[str, list[str]]:
  """Returns what setup.py asks for: extra -> requirements, "" for the rest."""
  code = (
    "import json, runpy, setuptools\n"
    "setuptools.setup = lambda **words: print(json.dumps("
    "{'': words['install_requires']} | words['extras_require']))\n"
    "runpy.run_path('setup.py')"
  )
  done = subprocess.run(
    [sys.executable, "-c", code],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=True,
  )
  return json.loads(done.stdout.splitlines()[-1])


def asked(lines: Sequence[str], python: str) -> list[str]:
  """Returns the requirements that hold on a Python, without their markers.

  pip evaluates markers for the Python that it runs on.
  """
  found = []
  for line in lines:
    requirement = requirements.Requirement(line)
    marker, requirement.marker = requirement.marker, None
    if marker is None or marker.evaluate({"python_version": python}):
      found.append(str(requirement))
  return found


def resolve(
  wanted: Sequence[str], python: str, more: Sequence[str] = ()
) -> Resolved:
  """Has pip resolve requirements for a Python."""
  with tempfile.TemporaryDirectory() as folder:
    done = subprocess.run(
      [
        *(sys.executable, "-m", "pip", "install", "--dry-run", "--quiet"),
        *("--ignore-installed", "--only-binary=:all:", "--report=-"),
        *(f"--python-version={python}", f"--target={folder}"),
        *more,
        *wanted,
      ],
      cwd=ROOT,
      capture_output=True,
      text=True,
    )
  if done.returncode:
    errors = re.findall(r"^ERROR: (.*)", done.stderr, re.MULTILINE)
    return Resolved({}, errors[0] if errors else done.stderr.strip()[-200:])
  report = json.loads(done.stdout)
  return Resolved(
    {
      item["metadata"]["name"].lower(): item["metadata"]["version"]
      for item in report["install"]
    },
    "",
  )


def rows(
  extras: Sequence[str], pythons: Sequence[str], more: Sequence[str]
) -> Iterator[tuple[str, str, Resolved]]:
  """Yields (extra, Python, what pip made of it)."""
  known = declared()
  for extra in extras:
    if extra not in known:
      raise SystemExit(f"Unknown extra {extra!r}; known: {', '.join(known)}.")
    for python in pythons:
      wanted = asked([*known[""], *known[extra]], python)
      yield extra, python, resolve(wanted, python, more)


def line(extra: str, python: str, found: Resolved) -> str:
  """Returns the table's line."""
  if found.reason:
    return f"| {extra} | {python} | no | {found.reason} |"
  shown = [f"{n} {found.versions[n]}" for n in SHOWN if n in found.versions]
  return (
    f"| {extra} | {python} | yes | {len(found.versions)} packages, "
    f"{', '.join(shown)} |"
  )


def main(arguments: Any = None) -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--extras", default="train,test,tfds")
  parser.add_argument("--pythons", default=",".join(PYTHONS))
  parser.add_argument("--constraints", action="store_true")
  options = parser.parse_args(arguments)
  more = ["-c", "constraints.txt"] if options.constraints else []
  extras, pythons = options.extras.split(","), options.pythons.split(",")
  print("| extra | Python | installs | with |\n| --- | --- | --- | --- |")
  with tempfile.TemporaryDirectory() as folder:
    pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps")
    subprocess.run([*pip, f"--wheel-dir={folder}", *SOURCES], check=True)
    for row in rows(extras, pythons, [*more, f"--find-links={folder}"]):
      print(line(*row), flush=True)


if __name__ == "__main__":
  main()
