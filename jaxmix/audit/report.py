"""What an audit found, as an object for tests and as a table for people."""

from __future__ import annotations

import dataclasses
import textwrap
from typing import Any

PASS, FAULT, NOT_APPLICABLE = "pass", "fault", "not applicable"
_WIDTH = 78


@dataclasses.dataclass(frozen=True, eq=False)
class Finding:
  """What one check found.

  Attributes:
    check: the check's name.
    status: "pass", "fault" or "not applicable".
    detail: with numbers: what was measured, or why nothing was.
    smallest: the smallest input that fails, in words; "" where none does.
    arguments: (seed, images, labels), NumPy arrays, with which the function
      fails; None where none does, or it takes many calls to see it. For
      kind="jax" the key is `jax.random.key(seed)`.
  """

  check: str
  status: str
  detail: str
  smallest: str = ""
  arguments: tuple[Any, ...] | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Report:
  """What `jaxmix.audit` returns; prints as a table.

  Attributes:
    name: the function's.
    findings: one `Finding` a check, in the order they were made.
    variants: what is no fault, but not the most usual way either, in words: one
      lam a batch, a folded lam, partners that are not drawn.
  """

  name: str
  findings: tuple[Finding, ...]
  variants: tuple[str, ...] = ()

  def __getitem__(self, check: str) -> Finding:
    """Returns the finding of a check by its name."""
    for finding in self.findings:
      if finding.check == check:
        return finding
    names = ", ".join(finding.check for finding in self.findings)
    raise KeyError(f"check must be one of {names}, got {check!r}.")

  @property
  def faults(self) -> tuple[Finding, ...]:
    """The findings that are faults."""
    return tuple(f for f in self.findings if f.status == FAULT)

  def raise_for_faults(self) -> None:
    """Raises ValueError with every fault in its message, if there is one."""
    if self.faults:
      lines = [f"{self.name} has {len(self.faults)} fault(s):"]
      lines += [
        f"  {f.check}: {f.detail} Smallest input: {f.smallest}."
        for f in self.faults
      ]
      raise ValueError("\n".join(lines))

  def __str__(self) -> str:
    checks = max(len(f.check) for f in self.findings)
    statuses = len(NOT_APPLICABLE)
    lines = [self.name]
    for finding in self.findings:
      text = finding.detail
      if finding.smallest:
        text += f" Smallest input: {finding.smallest}."
      lead = f"{finding.check:{checks}}  {finding.status:{statuses}}  "
      wrapped = textwrap.wrap(text, _WIDTH - 30) or [""]
      lines.append((lead + wrapped[0]).rstrip())
      lines += [" " * len(lead) + line for line in wrapped[1:]]
    lines += [f"variant: {variant}" for variant in self.variants]
    return "\n".join(lines)

  __repr__ = __str__
