"""The public API changes only where a commit says so: tests/public_api.txt.

A change that is meant is written down by

  python -m tests.frozen_test

and told in CHANGELOG.md; CONTRIBUTING.md says how names and arguments go.
"""

import inspect
import pathlib

from jaxmix import models
from tests import api_test

SNAPSHOT = pathlib.Path(__file__).parent / "public_api.txt"
# What flax gives to its dataclasses and modules, and may change.
THEIRS = {"from_state_dict", "name", "parent", "replace", "to_state_dict"}


def signature(value):
  """Names, kinds and defaults; annotations may be made more precise."""
  try:
    given = inspect.signature(value)
  except ValueError:
    return ""
  plain = [
    p.replace(annotation=p.empty, default=default(p.default))
    for p in given.parameters.values()
    if not (inspect.isclass(value) and p.name in THEIRS)
  ]
  return str(given.replace(parameters=plain, return_annotation=given.empty))


class Shown:
  def __init__(self, text):
    self.text = text

  def __repr__(self):
    return self.text


def default(value):
  """A function by its name, which its repr has an address in."""
  if value is inspect.Parameter.empty:
    return value
  return Shown(getattr(value, "__name__", None) or repr(value))


def public():
  """A line for every public function, class, method and field."""
  lines = set()
  for module in (*api_test.MODULES, models):
    for name, value in vars(module).items():
      home = getattr(value, "__module__", None) or ""
      # A module's own names, and what a package gathers from its modules.
      own = home == module.__name__ or hasattr(module, "__path__")
      if name.startswith("_") or not (own and home.startswith("jaxmix.")):
        continue
      path = f"{module.__name__}.{name}"
      if inspect.isfunction(value):
        lines.add(f"{path}{signature(value)}")
      elif inspect.isclass(value):
        lines |= members(path, value)
  lines |= {f"jaxmix.models.create({name!r})" for name in models.names()}
  return sorted(lines)


def members(path, cls):
  protocol = getattr(cls, "_is_protocol", False)
  lines = {path if protocol else f"{path}{signature(cls)}"}
  for name, value in vars(cls).items():
    if name.startswith("_") or name in THEIRS:
      continue
    # A field may hold a function of another's as its default.
    if inspect.isfunction(value) and value.__qualname__.startswith(
      cls.__name__
    ):
      lines.add(f"{path}.{name}{signature(value)}")
    elif isinstance(value, property):
      lines.add(f"{path}.{name}")
  return lines


def test_the_public_api_is_what_was_written_down():
  now, then = set(public()), set(SNAPSHOT.read_text().splitlines())
  gone, new = sorted(then - now), sorted(now - then)
  assert not gone and not new, (
    f"Gone: {gone}. New: {new}. If that is meant, run python -m "
    "tests.frozen_test, and tell it in CHANGELOG.md; what goes is deprecated "
    "first, see CONTRIBUTING.md."
  )


def test_a_change_of_a_name_an_order_or_a_default_is_seen():
  def one(key, images, *, alpha=1.0):
    pass

  def renamed(key, images, *, beta=1.0):
    pass

  def swapped(images, key, *, alpha=1.0):
    pass

  def positional(key, images, alpha=1.0):
    pass

  def changed(key, images, *, alpha=0.2):
    pass

  def retyped(key: int, images: list, *, alpha: float = 1.0) -> None:
    pass

  others = [signature(f) for f in (renamed, swapped, positional, changed)]
  assert signature(one) == "(key, images, *, alpha=1.0)" == signature(retyped)
  assert len({signature(one), *others}) == 5


if __name__ == "__main__":
  SNAPSHOT.write_text("\n".join(public()) + "\n")
