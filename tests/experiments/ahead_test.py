"""The device is never idle for the host's sake: steps are dispatched ahead.

On one device and with asynchronous dispatch, hence in a process of its own: the
other tests have eight, and synchronous ones.
"""

import json
import pathlib
import subprocess
import sys

import pytest

from tests import quick

ROOT = pathlib.Path(__file__).parents[2]

# How many dispatches were still running when the next one was made.
SCRIPT = """
import json, sys
import jax
from experiments import parallel, train
from experiments.configs import digits

seen, evaluated = [], []
create = parallel.create

def counted(fun, record, unfinished):
  running = []
  def call(state, batch, *rest):
    if any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves(state)):
      return fun(state, batch, *rest)  # traced, to find what is wrong with it
    running[:] = [x for x in running if not x.is_ready()]
    record.append(len(running))
    result = fun(state, batch, *rest)
    running.append(unfinished(result))
    return result
  return call

def recorded(*args):
  programs = create(*args)
  return programs._replace(
    train=counted(programs.train, seen, lambda result: result[1]["loss"]),
    evaluate=counted(programs.evaluate, evaluated, lambda sums: sums["count"]),
  )

parallel.create = recorded
config = digits.get_config(
  "method=erm,total_steps=40,log_every=1,eval_every=20,checkpoint_every=40,"
  "eval_batch_size=64,fgsm_epsilon=0.0"
)
train.train_and_evaluate(config, sys.argv[1])
print(json.dumps([seen, evaluated]))
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory):
  done = subprocess.run(
    [sys.executable, "-c", SCRIPT, str(tmp_path_factory.mktemp("run"))],
    cwd=ROOT,
    env=quick.environment(JAX_CPU_ENABLE_ASYNC_DISPATCH="true"),
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr[-3000:]
  return json.loads(done.stdout.splitlines()[-1])


def test_steps_do_not_wait_for_the_log(running):
  """Every step is logged here, and still others run while it is."""
  seen, _ = running
  assert len(seen) == 40
  # The evaluation at step 20 is of that step's weights, and waits for it.
  between = seen[3:20] + seen[23:]
  assert sum(count > 0 for count in between) >= 0.8 * len(between), seen
  assert max(seen) <= 3


def test_evaluation_is_dispatched_ahead(running):
  _, evaluated = running
  batches = len(evaluated) // 2
  assert batches > 8
  later = evaluated[3:batches] + evaluated[batches + 3 :]
  assert sum(count > 0 for count in later) >= 0.5 * len(later), evaluated
  assert max(evaluated) <= 3
