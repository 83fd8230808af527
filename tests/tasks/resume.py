"""What every task owes: finite steps, one compilation, bitwise resume."""

import json
import pathlib
import shutil
from collections.abc import Callable

import jax
import ml_collections
import numpy as np
import pytest

from chibijax import train
from chibijax.core import checkpoint, logging, parallel
from chibijax.core.types import TrainState


def check(
  config: ml_collections.ConfigDict,
  folder: pathlib.Path,
  *,
  first: int = 1,
  between: Callable[[], object] = lambda: None,
) -> tuple[TrainState, list[dict]]:
  """Trains, and once more from an earlier checkpoint.

  As if the training had been killed. What `tests/test_train.py` checks is not
  repeated: that a signal saves and stops, and that a second start compiles the
  same program. Here it gets the first one's.

  Args:
    config: an experiment of at least three steps.
    folder: an empty workdir.
    first: the step to go on from.
    between: what happens before it goes on.

  Returns:
    The last state, and the lines of the log that are about steps.
  """
  config.update(eval_every=0, save_every=first, keep=config.total_steps)
  compiled, at_step = [], []
  jax.monitoring.register_event_duration_secs_listener(
    lambda name, *_, **__: compiled.append(name) if "compile" in name else None
  )
  advance = logging.RunLog.step

  def count(self: logging.RunLog) -> None:
    advance(self)
    at_step.append(len(compiled))

  with pytest.MonkeyPatch.context() as patch:
    for name in ("compile_step", "compile_eval"):
      patch.setattr(parallel.Placement, name, _once(name))
    with patch.context() as inner:
      inner.setattr(logging.RunLog, "step", count)
      whole = train.train(config, folder)
    for saved in (folder / checkpoint.FOLDER).iterdir():
      if int(saved.name) > first:
        shutil.rmtree(saved)
    between()
    resumed = train.train(config, folder)
  assert whole.finished and int(whole.state.step) == config.total_steps >= 3
  # After the second step nothing is compiled, but by the first save: its check.
  assert 0 < at_step[1] == at_step[max(first, 2) - 1]
  assert at_step[first] == at_step[-1]
  lines = logged(folder, "train")
  assert [line["step"] for line in lines] == [*range(1, config.total_steps + 1)]
  for line in lines:
    assert np.isfinite(list(line.values())).all(), line

  expected, found = bits(whole.state), bits(resumed.state)
  assert found.keys() == expected.keys()
  assert [name for name in found if found[name] != expected[name]] == []
  return whole.state, lines


def _once(name: str) -> Callable[..., object]:
  """A method of the placement that is called once, and then remembered."""
  method, made = getattr(parallel.Placement, name), []

  def call(self: parallel.Placement, *args: object) -> object:
    if not made:
      made.append(method(self, *args))
    return made[0]

  return call


def logged(folder: pathlib.Path, kind: str) -> list[dict]:
  """The lines of a run's log of one kind ("train" or "eval"), in order."""
  lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
  return [line for line in lines if line.pop("kind") == kind]


def bits(state: TrainState) -> dict[str, bytes]:
  """Each leaf's bytes by its path."""
  return {
    jax.tree_util.keystr(path): np.asarray(leaf).tobytes()
    for path, leaf in jax.tree_util.tree_leaves_with_path(state)
  }
