"""Attention by XLA and by cuDNN, from a few tokens to many, on one GPU.

  python -m benchmarks.attention [--tokens=49,64,98,128,196,197,256,577]
    [--batch=256] [--rounds=5] [--out=FILE.json]

Value and gradients of `jaxmix.models.transformer`'s two forms in bfloat16, for
ViT-B/16's heads (12 of 64) without a bias and CoAtNet-0's (12 of 32) with one:
where "auto" should change from one to the other, and that both are right. The
differences are from XLA's in float32, by its largest value. Where there is no
cuDNN its cells say so. Each number of tokens is in the JSON as soon as it is
measured: on an H200 compiling took over ten seconds a row.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
import functools
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import timing
from experiments.workdir import storage
from jaxmix.models import transformer

# (title, heads, width of a head, whether there is a bias).
LAYERS = (("ViT-B/16", 12, 64, False), ("CoAtNet-0", 12, 32, True))
_TOKENS = "49,64,98,128,196,197,256,577"
# Calls in flight at once: the device never waits for this process.
_CALLS = 20


def measure(tokens: int, batch: int, rounds: int) -> list[dict[str, Any]]:
  """Rows of one number of tokens, a layer each."""
  rows = []
  for title, heads, head_dim, with_bias in LAYERS:
    arguments = _arguments(batch, tokens, heads, head_dim, with_bias)
    wide = jax.tree.map(lambda x: x.astype(jnp.float32), arguments)
    exact = jax.tree.leaves(_call(_plain)(*wide))
    row = {"layer": title, "tokens": tokens, "batch": batch}
    calls = {}
    for name, attend in {
      "xla": _plain,
      "cudnn": transformer.flash_attention,
    }.items():
      call = _call(attend)
      try:
        found = jax.tree.leaves(call(*arguments))
      except Exception as error:  # whatever it is, the other one is measured
        row[f"{name}_error"] = (str(error).splitlines() or [repr(error)])[0]
        continue
      row[f"{name}_difference"] = max(map(_difference, found, exact))
      calls[name] = functools.partial(_several, call, arguments)
    for name, times in timing.interleave(calls, rounds).items():
      row[f"{name}_ms"] = 1e3 * float(np.median(times.wall)) / _CALLS
    rows.append(row)
  return rows


def _arguments(batch, tokens, heads, head_dim, with_bias):
  keys = jax.random.split(jax.random.key(0), 5)
  shape = (batch, tokens, heads, head_dim)
  query, key, value, outer = (
    jax.random.normal(one, shape, jnp.bfloat16) for one in keys[:4]
  )
  bias = None
  if with_bias:  # float32, as the layer's parameters are
    bias = jax.random.normal(keys[4], (1, heads, tokens, tokens))
  return (query, key, value, bias), outer


def _call(attend: Callable[..., Any]) -> Callable[..., Any]:
  def call(inputs, outer):
    value, pull_back = jax.vjp(attend, *inputs)
    return value, pull_back(outer)

  return jax.jit(call)


def _plain(*inputs):
  return jax.nn.dot_product_attention(*inputs, implementation="xla")


def _several(call, arguments):
  return jax.block_until_ready([call(*arguments) for _ in range(_CALLS)][-1])


def _difference(found, exact) -> float:
  found, exact = np.asarray(found, np.float32), np.asarray(exact)
  return float(np.max(np.abs(found - exact)) / np.max(np.abs(exact)))


def table(rows: Sequence[dict[str, Any]]) -> str:
  """The rows as Markdown."""
  header = ["layer", "tokens", "XLA, ms", "cuDNN, ms", "cuDNN / XLA"]
  header += ["XLA's difference", "cuDNN's difference"]
  cells = [
    [
      row["layer"],
      str(row["tokens"]),
      _shown(row, "xla_ms", ".3f"),
      _shown(row, "cudnn_ms", ".3f"),
      "-"
      if "cudnn_ms" not in row
      else f"{row['cudnn_ms'] / row['xla_ms']:.2f}",
      _shown(row, "xla_difference", ".4f"),
      _shown(row, "cudnn_difference", ".4f"),
    ]
    for row in rows
  ]
  return timing.table(header, cells)


def _shown(row, name, form) -> str:
  if name in row:
    return format(row[name], form)
  return row[f"{name.split('_')[0]}_error"]


def main(argv: Sequence[str]) -> dict[str, Any]:
  """Parses the options, measures, prints; returns what --out is given."""
  parser = argparse.ArgumentParser(
    prog="python -m benchmarks.attention",
    description=__doc__.split("\n")[0],
  )
  parser.add_argument("--tokens", default=_TOKENS)
  parser.add_argument("--batch", type=int, default=256)
  parser.add_argument("--rounds", type=int, default=5)
  parser.add_argument("--out", help="JSON file to write")
  options = parser.parse_args(argv)
  try:
    numbers = [int(number) for number in options.tokens.split(",")]
  except ValueError:
    parser.error(f"--tokens must be integers, got {options.tokens!r}.")
  result: dict[str, Any] = {
    "environment": timing.environment("benchmarks.attention", argv),
    "device": jax.local_devices()[0].device_kind,
    "rows": [],
  }
  for number in numbers:
    result["rows"] += measure(number, options.batch, options.rounds)
    if options.out:  # On a GPU nearly all of the time is compilation.
      storage.write_json(options.out, result)
    print(f"{number} tokens measured.", file=sys.stderr, flush=True)
  timing.report(table(result["rows"]), result, None)
  return result


if __name__ == "__main__":
  from experiments import cli  # which imports JAX

  cli.run_plain(main, sys.argv[1:])
