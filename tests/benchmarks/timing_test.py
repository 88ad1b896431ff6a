"""Tests of the benchmarks' clock and tables."""

import numpy as np

from benchmarks import timing


def test_contenders_take_turns():
  calls = []
  times = timing.interleave(
    {name: lambda name=name: calls.append(name) for name in "abc"},
    rounds=4,
    warmup=1,
  )
  assert calls[:3] == ["a", "b", "c"]
  rounds = [sorted(calls[i : i + 3]) for i in range(3, 15, 3)]
  assert rounds == [["a", "b", "c"]] * 4
  for own in times.values():
    assert own.wall.shape == own.cpu.shape == (4,)
    assert np.all(own.wall > 0)


def test_table_aligns_numbers_right_and_text_left():
  text = timing.table(["who", "ms"], [["ours", "1.5"], ["a", "-"]])
  assert text == (
    "| who  |  ms |\n| ---- | --: |\n| ours | 1.5 |\n| a    |   - |"
  )


def test_environment_gives_command_and_versions():
  about = timing.environment("benchmarks.mixing", ["--batch=2"])
  assert about["command"] == "python -m benchmarks.mixing --batch=2"
  assert about["cpu_count"] >= 1
  assert about["versions"]["jax"]


def test_steps_are_in_flight_while_one_is_waited_for():
  events = []
  numbers = iter(range(100))

  def dispatch():
    events.append(("dispatch", number := next(numbers)))
    return number

  seconds = timing.pipelined(
    dispatch, lambda step: events.append(("wait", step)), steps=3, ahead=2
  )
  assert seconds.shape == (3,) and np.all(seconds > 0)
  steady = [(("dispatch", i + 2), ("wait", i)) for i in range(4)]
  assert events == [
    ("dispatch", 0),
    ("dispatch", 1),
    *[event for pair in steady for event in pair],
    ("wait", 4),
    ("wait", 5),
  ]
