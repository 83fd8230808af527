"""The style tasks: parallel equality, bitwise resume, mixing, refusals."""

import functools
import pathlib

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest

from chibijax.core.types import Axis, TrainState, spec_of
from chibijax.errors import UserError
from chibijax.models.adain import Decoder
from chibijax.models.johnson import StyleNet
from chibijax.tasks import style
from configs import adain, johnson
from tests.tasks import resume

KEY = jax.random.key(7)
CONFIGS = {"adain": adain, "johnson": johnson}
NETS = {"adain": "decoder", "johnson": "gen"}


def _config(name: str, **changes) -> ml_collections.ConfigDict:
  config = CONFIGS[name].get_config("smoke")
  config.ema = 0.9
  config.unlock()
  config.update_from_flattened_dict(changes)
  return config


def _batch(seed: int = 0, size: int = 32) -> dict:
  rng = np.random.default_rng(seed)
  return {
    f"image_{d}": jnp.asarray(
      rng.integers(0, 256, (4, size, size, 3), np.uint8)
    )
    for d in "ab"
  }


@functools.lru_cache
def _task(name: str):
  return style.build(_config(name))


@functools.lru_cache
def _first(name: str) -> TrainState:
  task = _task(name)
  return jax.jit(lambda k: task.init(k, spec_of(_batch())))(KEY)


@functools.lru_cache
def _train(name: str):
  return jax.jit(_task(name).train_step, donate_argnums=0)


def _steps(step, state: TrainState, start: int = 0, end: int = 3):
  logs = []
  for i in range(start, end):
    state, metrics = step(state, _batch(i), jax.random.fold_in(KEY, i))
    logs.append({k: float(v) for k, v in metrics.items()})
  return jax.tree.map(np.array, state), logs


@functools.lru_cache
def _run(name: str):
  return _steps(_train(name), jax.tree.map(jnp.copy, _first(name)))


@pytest.mark.parametrize("name", CONFIGS)
def test_three_steps(name: str) -> None:
  state, logs = _run(name)
  first, net = _first(name), NETS[name]
  assert int(state.step) == 3
  assert set(state.params) == {net, "features"}
  assert set(state.opt) == set(state.ema) == {net}
  assert all(np.isfinite(v) for log in logs for v in log.values())
  assert logs[-1]["loss/total"] < logs[0]["loss/total"]
  # The network learns, the frozen one does not.
  for key, moves in ((net, True), ("features", False)):
    pairs = zip(
      jax.tree.leaves(state.params[key]), jax.tree.leaves(first.params[key])
    )
    assert any((a != b).any() for a, b in pairs) == moves
  assert list(state.params["features"]) == ["random"]
  frozen = state.params["features"]["random"]
  assert "fire3/squeeze1x1" not in frozen["layers"]
  assert set(frozen["scales"]) == (
    {"relu1", "fire2"} if net != "gen" else set()
  )


# Their states and steps are the same but for the network and its loss.
@pytest.mark.parametrize(
  "name", [pytest.param("adain", marks=pytest.mark.slow), "johnson"]
)
def test_training_resumes_bitwise_and_compiles_once(
  name: str, tmp_path: pathlib.Path
) -> None:
  resume.check(_config(name, total_steps=3), tmp_path)


@pytest.mark.parametrize("name", CONFIGS)
def test_pmap_equals_jit(name: str) -> None:
  task = style.build(_config(name), Axis("data"))
  mapped = jax.pmap(
    task.train_step,
    "data",
    in_axes=(None, 0, None),
    out_axes=None,
    devices=jax.devices()[:4],
  )

  def step(state, batch, key):
    rows = jax.tree.map(lambda x: x.reshape(4, 1, *x.shape[1:]), batch)
    return mapped(state, rows, key)

  state, logs = _steps(step, _first(name))
  expected, theirs = _run(name)
  # Sums in another order, seen through three Adam steps.
  for ours, other in zip(logs, theirs):
    assert ours == pytest.approx(other, rel=1e-3)
  for ours, other in zip(
    jax.tree.leaves(state.params), jax.tree.leaves(expected.params)
  ):
    np.testing.assert_allclose(ours, other, atol=3e-3)


@pytest.mark.parametrize("name", CONFIGS)
def test_eval_step(name: str) -> None:
  out = jax.jit(_task(name).eval_step)(_first(name), _batch(), KEY)
  pictures = ["input", "style", "output"] if name == "adain" else []
  pictures = pictures or ["input", "output"]
  assert [k for k in out if k.startswith("image/")] == sorted(
    f"image/{p}" for p in pictures
  )
  for key, value in out.items():
    is_image = key.startswith("image/")
    assert value.shape == ((4, 32, 32, 3) if is_image else (4,))
    assert np.isfinite(value).all()
    # Bytes reach 1 + 1e-7 where XLA multiplies by a rounded 1 / 127.5.
    assert not is_image or np.abs(value).max() <= 1 + 1e-6


def test_published_parameter_counts() -> None:
  def count(net, *shape):
    made = jax.eval_shape(net.init, KEY, jax.ShapeDtypeStruct(shape, "float32"))
    return sum(x.size for x in jax.tree.leaves(made))

  assert count(Decoder(), 1, 4, 4, 512) == 3_505_219
  assert count(StyleNet(), 1, 32, 32, 3) == 1_679_235


def test_adain_code_with_colors_of_an_enlarged_picture() -> None:
  def build(zoom: int, blocks: tuple) -> style.AdaIn:
    changes = {"model.features.zoom": zoom, "model.colors": zoom == 2}
    changes["model.decoder.blocks"] = blocks
    return style.build(_config("adain", **changes))

  plain, task = build(1, ((6, 1),) * 3), build(2, ((6, 1),) * 2)
  x = _signed(3, 1, 32, 32, 3)
  stripes = jnp.where(jnp.arange(32).reshape(1, 1, 32, 1) % 2, 1.0, -1.0)
  stripes = jnp.broadcast_to(stripes, x.shape)

  @jax.jit
  def seen(frozen: dict, x: jax.Array, y: jax.Array) -> tuple:
    first = [t.features(frozen, y, ("relu1",))["relu1"] for t in (plain, task)]
    return task.encode(frozen, x)["fire2"], first

  code, first = seen(_first("adain").params["features"], x, stripes)
  assert code.shape == (1, 16, 16, 128 + 3)
  small = x.reshape(1, 16, 2, 16, 2, 3).mean((2, 4))
  np.testing.assert_allclose(code[..., -3:], 4 * small, rtol=1e-4, atol=1e-6)
  # A network that begins with a stride sees stripes of one pixel only so.
  deviations = [float(y[:, 2:-2, 2:-2].std((1, 2)).mean()) for y in first]
  assert deviations[0] < 1e-5 < 1e-2 < deviations[1]


@functools.lru_cache
def _transfer():
  return jax.jit(_task("adain").transfer)


def _signed(seed: int, *shape: int) -> jax.Array:
  return jax.random.uniform(jax.random.key(seed), shape, minval=-1)


def test_adain_mixes_styles_and_keeps_sizes() -> None:
  params, x = _first("adain").params, _signed(0, 1, 37, 45, 3)
  styles = _signed(1, 2, 40, 40, 3) * jnp.array([0.2, 1]).reshape(2, 1, 1, 1)
  run = functools.partial(_transfer(), params, x)
  one, two = run(styles[:1]), run(styles[1:])
  assert one.shape == x.shape and float(jnp.abs(one).max()) <= 1
  assert not np.allclose(one, two, atol=1e-3)
  only = run(styles, weights=jnp.array([1.0, 0.0]))
  np.testing.assert_allclose(only, one, atol=1e-5)
  # No way at all is the code as it is, whatever the style.
  still = [run(s, alpha=jnp.float32(0)) for s in (styles[:1], styles[1:])]
  np.testing.assert_allclose(*still, atol=1e-5)


def test_adain_masks_part_the_picture() -> None:
  params, x = _first("adain").params, _signed(0, 1, 64, 64, 3)
  styles = _signed(1, 2, 64, 64, 3) * jnp.array([0.2, 1]).reshape(2, 1, 1, 1)
  left = jnp.zeros((1, 64, 64, 1)).at[:, :, :32].set(1)
  nothing = jnp.zeros_like(left)
  run = functools.partial(_transfer(), params, x, styles)
  both = run(masks=jnp.concatenate([left, 1 - left]))
  first = run(masks=jnp.concatenate([left, nothing]))
  # Away from the border between them, each side is made by its own style; the
  # decoder reaches 13 pixels far.
  np.testing.assert_allclose(both[:, :, :16], first[:, :, :16], atol=1e-5)
  assert not np.allclose(both[:, :, 48:], first[:, :, 48:], atol=1e-3)
  plain = run(alpha=jnp.float32(0))
  np.testing.assert_allclose(first[:, :, 48:], plain[:, :, 48:], atol=1e-5)


def test_johnson_takes_any_size() -> None:
  params = _first("johnson").params
  for height, width in ((33, 46), (5, 3)):
    x = jax.ShapeDtypeStruct((1, height, width, 3), jnp.float32)
    y = jax.eval_shape(_task("johnson").transfer, params, x)
    assert y.shape == x.shape


def test_codes_lie_above_their_pixels() -> None:
  task, frozen = _task("adain"), _first("adain").params["features"]
  for size in ((32, 32), (40, 64)):
    code = task.encode(frozen, jnp.zeros((1, *size, 3)))["fire2"]
    assert code.shape[1:3] == (size[0] // 4, size[1] // 4)


@pytest.mark.parametrize(
  ("name", "changes", "sentence"),
  [
    ("adain", {"model.name": "adane"}, "model.name is 'adane'"),
    ("adain", {"ema": 1.5}, "ema is 1.5"),
    ("johnson", {"loss.style": -1.0}, "must not be negative"),
    ("adain", {"loss.variation": -1.0}, "must not be negative"),
  ],
)
def test_config_mistakes_are_said(name, changes, sentence) -> None:
  with pytest.raises(UserError, match=sentence):
    style.build(_config(name, **changes))


@pytest.mark.parametrize(
  ("changes", "size", "sentence"),
  [
    ({}, 30, "multiples of 4"),
    ({"model.layer": "fire22"}, 32, "has no layer fire22"),
    ({"model.layer": "fire5"}, 32, "does not suit"),
    ({"model.features.weights": "gone.pth"}, 32, "gone.pth"),
    ({"model.features.weights": ""}, 32, "CHIBIJAX_SQUEEZENET"),
  ],
)
def test_what_init_needs_is_said(monkeypatch, changes, size, sentence) -> None:
  monkeypatch.delenv("CHIBIJAX_SQUEEZENET", raising=False)
  task = style.build(_config("adain", **changes))
  with pytest.raises(UserError, match=sentence):
    jax.eval_shape(lambda k: task.init(k, spec_of(_batch(size=size))), KEY)
