"""Where a run's metrics go beside its own files: the config's `logger`.

A logger is made by a function (folder, config, step) -> `Logger`, of this table
or at package.module:attribute. It is told what metrics.jsonl is told, on
process 0 alone, and never stops a run under way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
import secrets
from typing import Any, Protocol

from absl import logging
from etils import epath
from ml_collections import ConfigDict

from experiments import domains, registry
from experiments.workdir import storage


class Logger(Protocol):
  """What is told the lines of metrics.jsonl."""

  def write(self, step: int, split: str, values: Mapping[str, float]) -> None:
    """Takes a line: after `step` steps, of "train", "eval" or "test".

    A resumed run tells again what was told after the checkpoint it begins at.
    """

  def close(self) -> None:
    """Ends; also where the run ends in an error."""


class Nobody:
  """Is told nothing."""

  def write(self, step: int, split: str, values: Mapping[str, float]) -> None:
    """Drops the values."""

  def close(self) -> None:
    """Does nothing."""


class WandbLogger:
  """Weights & Biases, one run a workdir, whose id is kept there.

  Its own settings are the environment's: WANDB_PROJECT, WANDB_MODE=offline (no
  account, nothing is sent until `wandb sync`), and so on. Charts are by the
  field "step", as what is told again after a resume would be refused by
  Weights & Biases' own count.
  """

  def __init__(self, folder: epath.Path, config: Mapping[str, Any], step: int):
    """Begins the run, or goes on with it.

    Raises:
      ValueError: if Weights & Biases cannot begin one, such as without a key.
    """
    import wandb

    kept = folder / "wandb_id"
    if not (step and storage.exists(kept)):
      storage.write(kept, secrets.token_hex(8))
    try:
      self._run = wandb.init(
        id=storage.patiently(kept.read_text, kept).strip(),
        name=folder.name,
        config=dict(config),
        dir=None if storage.is_remote(folder) else str(folder),
        resume="allow",
        settings=wandb.Settings(console="off"),
      )
    except wandb.Error as error:
      raise ValueError(
        f"logger='wandb': {str(error).splitlines()[0]} WANDB_MODE=offline in "
        "the environment needs no account and no network."
      ) from error
    self._run.define_metric("*", step_metric="step")

  def write(self, step: int, split: str, values: Mapping[str, float]) -> None:
    """Logs a line, its fields named "split/field"."""
    named = {f"{split}/{name}": value for name, value in values.items()}
    self._run.log({"step": step, **named})

  def close(self) -> None:
    """Waits until everything is written, or sent."""
    self._run.finish(quiet=True)


Factory = Callable[[epath.Path, Mapping[str, Any], int], Logger]

LOGGERS: dict[str, Factory] = {
  "none": lambda *_: Nobody(),
  "wandb": WandbLogger,
}
KEYS = {"logger": domains.entry("none", LOGGERS)}
FREE = frozenset(KEYS)


def check(config: ConfigDict) -> None:
  """Raises ValueError if the logger is not there."""
  registry.find("logger", config.logger, LOGGERS)
  if config.logger == "wandb":
    try:
      import wandb  # noqa: F401
    except ImportError as error:
      raise ValueError(
        "logger='wandb' needs Weights & Biases: pip install -e '.[wandb]'."
      ) from error


def create(
  name: str, folder: epath.Path, config: Mapping[str, Any], step: int
) -> Logger:
  """Returns a logger whose errors are warned of, and end it alone.

  Args:
    name: config.logger, checked.
    folder: the workdir.
    config: resolved, as in config.json.
    step: that the run goes on from; 0 at its beginning.
  """
  return _Guarded(registry.find("logger", name, LOGGERS)(folder, config, step))


class _Guarded:
  """Tells a logger until it fails."""

  def __init__(self, logger: Logger):
    self._logger = logger

  def write(self, step: int, split: str, values: Mapping[str, float]) -> None:
    self._try(lambda: self._logger.write(step, split, values))

  def close(self) -> None:
    self._try(self._logger.close)

  def _try(self, told: Callable[[], None]) -> None:
    try:
      told()
    except Exception as error:  # whatever a logger of anybody's raises
      logging.warning(
        "%s is told nothing more: %s: %s. metrics.jsonl has everything.",
        *(type(self._logger).__name__, type(error).__name__, error),
        exc_info=True,
      )
      self._logger = Nobody()
