"""The super_resolution task: steps, resume, parallel equality, refusals."""

import functools

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest

from chibijax import train
from chibijax.core.types import Axis, TrainState, spec_of
from chibijax.errors import UserError
from chibijax.ops import image as image_ops
from chibijax.tasks import super_resolution
from configs import super_resolution as experiment

KEY = jax.random.key(7)


def _config(**changes) -> ml_collections.ConfigDict:
  config = experiment.get_config("smoke")
  config.update_from_flattened_dict(changes)
  return config


def _batch(seed: int = 0, size: int = 32) -> dict:
  """Smooth pictures: noise would leave nothing to be restored."""
  rng = np.random.default_rng(seed)
  coarse = rng.integers(0, 256, (4, size // 8, size // 8, 3), np.uint8)
  return {"image": jnp.asarray(coarse.repeat(8, 1).repeat(8, 2))}


@functools.lru_cache
def _task():
  return super_resolution.build(_config())


@functools.lru_cache
def _first() -> TrainState:
  return jax.jit(lambda k: _task().init(k, spec_of(_batch())))(KEY)


@functools.lru_cache
def _train():
  return jax.jit(_task().train_step, donate_argnums=0)


def _steps(step, state: TrainState, start: int = 0, end: int = 3):
  logs = []
  for i in range(start, end):
    state, metrics = step(state, _batch(i), jax.random.fold_in(KEY, i))
    logs.append({k: float(v) for k, v in metrics.items()})
  return jax.tree.map(np.array, state), logs


@functools.lru_cache
def _run():
  return _steps(_train(), jax.tree.map(jnp.copy, _first()))


def test_three_steps_compile_once() -> None:
  state, logs = _run()
  assert int(state.step) == 3
  assert set(state.params) == {"gen", "disc"} and set(state.ema) == {"gen"}
  assert all(np.isfinite(v) for log in logs for v in log.values())
  assert set(logs[0]) == {
    "loss/generator", "loss/l1", "loss/adversarial", "loss/discriminator"
  }  # fmt: skip
  expected = logs[0]["loss/l1"] + 0.1 * logs[0]["loss/adversarial"]
  assert logs[0]["loss/generator"] == pytest.approx(expected, rel=1e-5)
  for name in state.params:
    moved = jax.tree.map(
      lambda x, y: np.abs(x - y).max(),
      state.params[name],
      _first().params[name],
    )
    assert max(jax.tree.leaves(moved)) > 1e-5
  assert _train()._cache_size() == 1


def test_resume_is_bitwise() -> None:
  state, _ = _steps(_train(), jax.tree.map(jnp.copy, _first()), 0, 1)
  # Through the host, as a checkpoint goes.
  state, _ = _steps(_train(), jax.tree.map(jnp.asarray, state), 1, 3)
  for ours, theirs in zip(jax.tree.leaves(state), jax.tree.leaves(_run()[0])):
    assert np.asarray(ours).tobytes() == theirs.tobytes()


@pytest.mark.slow
def test_pmap_equals_jit() -> None:
  task = super_resolution.build(_config(), Axis("data"))
  mapped = jax.pmap(
    task.train_step,
    "data",
    in_axes=(None, 0, None),
    out_axes=None,
    devices=jax.devices()[:4],
  )

  def step(state, batch, key):
    rows = jax.tree.map(lambda x: x.reshape(4, -1, *x.shape[1:]), batch)
    return mapped(state, rows, key)

  state, logs = _steps(step, _first())
  for ours, theirs in zip(logs, _run()[1]):
    # A JPEG coefficient on the edge of two may be rounded the other way.
    assert ours == pytest.approx(theirs, rel=2e-3)
  for ours, theirs in zip(
    jax.tree.leaves(state.params), jax.tree.leaves(_run()[0].params)
  ):
    # Adam makes a whole step of 2e-4 of a gradient's rounding.
    np.testing.assert_allclose(ours, theirs, atol=1.3e-3)


def test_evaluation_shows_what_has_to_be_beaten() -> None:
  task = super_resolution.build(_config(degradation="area"))
  out = jax.jit(task.eval_step)(_first(), _batch(), KEY)
  assert list(out) == [
    "image/bicubic", "image/input", "image/output", "image/target",
    "metric/bicubic_l1", "metric/bicubic_psnr",
  ]  # fmt: skip
  for name, value in out.items():
    shape = (4, 32, 32, 3) if name.startswith("image/") else (4,)
    assert value.shape == shape, name
  np.testing.assert_array_equal(
    image_ops.to_uint8(out["image/target"]), _batch()["image"]
  )
  smooth, target = (
    np.asarray(out[f"image/{n}"]) for n in ("bicubic", "target")
  )
  l1 = np.abs(smooth - target).mean((1, 2, 3)) / 2
  np.testing.assert_allclose(out["metric/bicubic_l1"], l1, rtol=1e-4)


def test_shrinking_alone_is_exact() -> None:
  task = super_resolution.build(_config(degradation="area"))
  images = image_ops.to_float(_batch()["image"])
  small = task.degrade(jax.random.split(KEY, 4), images)
  np.testing.assert_allclose(small, images[:, ::2, ::2], atol=1e-5)


@pytest.mark.slow
def test_perceptual_loss_by_a_frozen_network() -> None:
  changes = {
    "loss.perceptual": 0.5,
    "loss.gan": 0.0,
    "loss.layers": ("relu1",),
    "model.features.weights": "random",
    "degradation": "area",
  }
  task = super_resolution.build(_config(**changes))
  state = task.init(KEY, spec_of(_batch()))
  assert set(state.params) == {"gen", "features"}
  state, logs = _steps(jax.jit(task.train_step), state, 0, 1)
  log = logs[0]
  expected = log["loss/l1"] + 0.5 * log["loss/perceptual"]
  assert log["loss/generator"] == pytest.approx(expected, rel=1e-5)
  assert log["loss/perceptual"] > 0


def test_l1_learns_to_enlarge() -> None:
  changes = {"loss.gan": 0.0, "degradation": "area", "optim.lr": 5e-3}
  task = super_resolution.build(_config(**changes))
  state = task.init(KEY, spec_of(_batch()))
  step = jax.jit(task.train_step)
  for i in range(30):
    state, metrics = step(state, _batch(0), jax.random.fold_in(KEY, i))
    if i == 0:
      first = float(metrics["loss/l1"])
  assert float(metrics["loss/l1"]) < 0.5 * first


def test_the_loop_trains_it(tmp_path) -> None:
  config = _config(degradation="area", total_steps=2, eval_every=0)
  config.loss.gan = 0.0
  result = train.train(config, tmp_path)
  assert result.finished and (tmp_path / "samples").is_dir()


@pytest.mark.parametrize(
  ("changes", "sentence"),
  [
    ({"model.scale": 3}, "model.scale is 3"),
    ({"degradation": "rain"}, "degradation is 'rain'"),
    ({"loss.gan": -1.0}, "must not be negative"),
    ({"ema": 1.0}, "ema is 1.0"),
  ],
)
def test_config_mistakes_are_said(changes: dict, sentence: str) -> None:
  with pytest.raises(UserError, match=sentence):
    super_resolution.build(_config(**changes))


def test_unsuitable_pictures_are_said() -> None:
  pair = {"image_a": spec_of(_batch())["image"]}
  with pytest.raises(UserError, match=r"set data\.source_b to nothing"):
    _task().init(KEY, pair)
  odd = {"image": jax.ShapeDtypeStruct((1, 30, 30, 3), np.uint8)}
  with pytest.raises(UserError, match="multiple of 4"):
    _task().init(KEY, odd)
