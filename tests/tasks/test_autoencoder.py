"""The autoencoder: resume, parallel equality, probe, KL, refusals."""

import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from chibijax.core.types import Axis, TrainState, spec_of
from chibijax.errors import UserError
from chibijax.tasks import autoencoder
from configs import autoencoder as experiment
from tests.tasks import resume

KEY = jax.random.key(7)


def _config(**changes) -> ConfigDict:
  config = experiment.get_config("smoke")
  config.unlock()
  config.update_from_flattened_dict(changes)
  return config


def _batch(seed: int = 0) -> dict:
  rng = np.random.default_rng(seed)
  image = rng.integers(0, 256, (4, 16, 16, 3), np.uint8)
  labels = rng.normal(size=(4, 6)).astype(np.float32)
  return {"image": jnp.asarray(image), "attributes": jnp.asarray(labels)}


@functools.lru_cache
def _run() -> tuple[list[TrainState], list[dict]]:
  """Three steps: the states before and after each, and their metrics."""
  task = autoencoder.build(_config())
  state = jax.jit(lambda k: task.init(k, spec_of(_batch())))(KEY)
  step = jax.jit(task.train_step)
  states, logged = [state], []
  for i in range(3):
    state, metrics = step(state, _batch(i), jax.random.fold_in(KEY, i))
    states.append(state)
    logged.append({k: float(v) for k, v in metrics.items()})
  assert step._cache_size() == 1
  return states, logged


def test_training_resumes_bitwise_and_compiles_once(
  tmp_path: pathlib.Path,
) -> None:
  resume.check(_config(total_steps=3), tmp_path)


def test_three_steps_move_everything() -> None:
  states, logged = _run()
  assert all(np.isfinite(v) for row in logged for v in row.values())
  first, last = states[0], states[-1]
  for name in ("encoder", "decoder", "probe"):
    before, after = (jax.tree.leaves(s.params[name]) for s in (first, last))
    assert any(not np.array_equal(x, y) for x, y in zip(before, after)), name
  assert int(last.step) == 3 and np.asarray(last.extra["attributes"]).any()


def test_pmap_equals_jit() -> None:
  states, logged = _run()
  task = autoencoder.build(_config(), Axis("data"))
  mapped = jax.pmap(
    task.train_step,
    "data",
    in_axes=(None, 0, None),
    out_axes=None,
    devices=jax.devices()[:2],
  )
  shards = jax.tree.map(lambda x: x.reshape(2, 2, *x.shape[1:]), _batch())
  _, metrics = mapped(states[0], shards, jax.random.fold_in(KEY, 0))
  for name, value in logged[0].items():
    assert float(metrics[name]) == pytest.approx(value, rel=1e-4), name


def test_probe_does_not_change_the_code() -> None:
  task, state = autoencoder.build(_config()), _run()[0][0]
  images = jnp.zeros((2, 16, 16, 3))
  labels, noise = jnp.ones((2, 6)), jnp.zeros((2, task.latent))

  @jax.jit
  def grads(labels):
    return jax.grad(lambda p: task.loss(p, images, labels, noise)[0])(
      state.params
    )

  one, other = grads(labels), grads(5 * labels)
  for name in ("encoder", "decoder"):
    for x, y in zip(jax.tree.leaves(one[name]), jax.tree.leaves(other[name])):
      np.testing.assert_array_equal(x, y)
  assert not np.array_equal(one["probe"]["bias"], other["probe"]["bias"])


def test_without_kl_nothing_is_drawn() -> None:
  task, state = autoencoder.build(_config(**{"loss.kl": 0.0})), _run()[0][0]
  step = jax.jit(task.train_step)
  (one, metrics), (other, _) = (
    step(state, _batch(), jax.random.key(i)) for i in range(2)
  )
  assert "loss/kl" not in metrics
  for x, y in zip(jax.tree.leaves(one), jax.tree.leaves(other)):
    np.testing.assert_array_equal(x, y)


def test_eval_step_and_parameter_count() -> None:
  task, state = autoencoder.build(_config()), _run()[0][-1]
  out = jax.jit(task.eval_step)(state, _batch(), KEY)
  assert out["image/output"].shape == (4, 16, 16, 3)
  assert {"image/sample", "metric/probe_error"} <= set(out)
  # Widths 6 and 8, code 5: strided convolutions, blocks of two, the code.
  encoder = (48 * 6 + 6) + 2 * (54 * 6 + 6) + (96 * 8 + 8)
  encoder += 2 * (72 * 8 + 8) + (128 * 10 + 10)
  decoder = (5 * 128 + 128) + 2 * (72 * 8 + 8) + (72 * 6 + 6)
  decoder += 4 * (54 * 6 + 6) + (54 * 6 + 6) + (54 * 3 + 3)
  for name, count in (("encoder", encoder), ("decoder", decoder)):
    found = sum(x.size for x in jax.tree.leaves(state.params[name]))
    assert found == count, name


@pytest.mark.parametrize(
  ("changes", "sentence"),
  [
    ({"ema": 1.0}, "ema is 1.0"),
    ({"loss.kl": -1.0}, "loss.kl is -1.0"),
    ({"data.size": 32}, "data.size must be 16"),
  ],
)
def test_config_mistakes_are_said(changes: dict, sentence: str) -> None:
  with pytest.raises(UserError, match=sentence):
    autoencoder.build(_config(**changes))


def test_unsuitable_batches_are_said() -> None:
  task = autoencoder.build(_config())
  with pytest.raises(UserError, match="source_b"):
    task.init(KEY, {"image_a": spec_of(_batch())["image"]})
