"""Variants that several configs have."""

from __future__ import annotations

from ml_collections import ConfigDict


def compare_mixupe(config: ConfigDict) -> None:
  """ERM, Mixup and MixupE with five seeds, as MixupE's tables have them."""
  config.sweep_seeds = (0, 1, 2, 3, 4)
  config.sweep = (
    ("ERM", {"method": "erm"}),
    ("Mixup", {"method": "mixup"}),
    ("MixupE", {"method": "mixupe"}),
  )
