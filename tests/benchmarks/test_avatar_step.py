"""What the benchmark of the avatar's training step computes itself."""

import pathlib
import sys

import numpy as np
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from benchmarks import avatar_step


@pytest.mark.parametrize("variant", ["smoke", "paper"])
def test_experiments_need_no_file(variant: str) -> None:
  config = avatar_step.experiment(variant, 3)
  assert config.data.batch_size == 3
  assert config.model.backbone == config.model.features.weights == "random"
  whole = variant == "paper"
  assert (config.loss.perceptual > 0, config.data.size == 512) == (whole, whole)


@pytest.mark.slow  # compiles two steps
def test_costs_grow_with_the_batch_and_steps_are_run() -> None:
  few, many = (
    avatar_step.Subject(avatar_step.experiment("smoke", n)) for n in (2, 4)
  )
  small, large = few.cost(), many.cost()
  for name in ("flops", "bytes", "model_flops", "total_mib"):
    assert 0 < small[name] < large[name]
  assert 1.6 < large["model_flops"] / small["model_flops"] < 2.01
  found = few.run(2)
  assert len(found["losses"]) == 3 and np.isfinite(found["losses"]).all()
  assert found["losses"][0] != found["losses"][2]
  assert min(found["parts_s"].values()) > 0
