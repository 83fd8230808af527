"""U-GAT-IT: PyTorch's steps, training, resume, shards, evaluation, refusals."""

import pathlib

import flax.traverse_util
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax
import pytest
from PIL import Image

from chibijax.core.types import Axis, TrainState, spec_of
from chibijax.errors import UserError
from chibijax.losses import translation as losses
from chibijax.ops import image
from chibijax.tasks import translation
from configs import ugatit
from tests.tasks import resume

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "ugatit_step.npz"
KEY = jax.random.key(7)


def _config(changes: dict | None = None) -> ml_collections.ConfigDict:
  config = ugatit.get_config("smoke")
  config.unlock()
  config.update_from_flattened_dict(changes or {})
  return config


def _batch(size: int = 32, rows: int = 4) -> dict:
  rng = np.random.default_rng(0)
  shape = (rows, size, size, 3)
  return {
    f"image_{d}": jnp.asarray(rng.integers(0, 256, shape, np.uint8))
    for d in "ab"
  }


def _state(config: ml_collections.ConfigDict) -> TrainState:
  """A state of the right shapes with small numbers, without compiling."""
  task = translation.build(config)
  shapes = jax.eval_shape(lambda k: task.init(k, spec_of(_batch())), KEY)
  rng = np.random.default_rng(1)
  return jax.tree.map(
    lambda x: jnp.asarray(0.1 * rng.normal(size=x.shape), x.dtype), shapes
  )


def _tree(golden: dict, prefix: str) -> dict:
  found = {
    name.removeprefix(prefix): jnp.asarray(value)
    for name, value in golden.items()
    if name.startswith(prefix)
  }
  return flax.traverse_util.unflatten_dict(found, sep="/")


def _flat(tree: dict) -> dict:
  return flax.traverse_util.flatten_dict(tree, sep="/")


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
  with np.load(GOLDEN) as file:
    return dict(file)


def _golden_run(golden: dict, joint: bool):
  """Our task, its state with PyTorch's weights, and the batches."""
  changes = {
    "model.generator.width": 2,
    "model.discriminator.width": 2,
    "model.discriminator.local_layers": 1,
    "model.discriminator.global_layers": 2,
    "model.batch_calls": joint,
    "optim.schedule": "constant",
  }
  task = translation.build(_config(changes))
  batches = [
    {f"image_{d}": jnp.asarray(golden[f"image_{d}"][i]) for d in "ab"}
    for i in range(len(golden["losses"]))
  ]
  spec = spec_of(batches[0])
  shapes = jax.eval_shape(lambda k: task.init(k, spec), KEY)
  params = _tree(golden, "params/")
  extra = {"spectral": _tree(golden, "vectors/")}
  for ours, theirs in ((shapes.params, params), (shapes.extra, extra)):
    assert jax.tree.map(jnp.shape, theirs) == jax.tree.map(jnp.shape, ours)
  state = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
  return task, state.replace(params=params, extra=extra), batches


@pytest.mark.parametrize(
  "joint", [True, pytest.param(False, marks=pytest.mark.slow)]
)
def test_steps_equal_pytorch(golden: dict, joint: bool) -> None:
  task, state, batches = _golden_run(golden, joint)
  params = _flat(state.params)
  step = jax.jit(task.train_step)
  names = ("generator", "adversarial", "cycle", "identity", "cam")
  for i, batch in enumerate(batches):
    state, metrics = step(state, batch, KEY)
    ours = [metrics[f"loss/{n}"] for n in (*names, "discriminator")]
    np.testing.assert_allclose(ours, golden["losses"][i], rtol=2e-4)
    if i:
      continue
    # Adam's mean after a step is (1 - b1) of what it was given: the gradient
    # and, as PyTorch's Adam adds it, the decay's.
    means = [optax.tree_utils.tree_get(o, "mu") for o in state.opt.values()]
    found = _flat(means[0] | means[1])
    expected = _flat(_tree(golden, "grads/"))
    assert found.keys() == expected.keys()
    for name, value in expected.items():
      np.testing.assert_allclose(
        2 * found[name] - 1e-4 * params[name],
        value,
        rtol=0,
        atol=2e-3 * np.abs(value).max() + 1e-6,
        err_msg=name,
      )
  # Brought back into [0, 1], where some had been at the borders.
  after, before = _flat(_tree(golden, "rho/")), _flat(state.params)
  assert len(after) == 8
  for name, value in after.items():
    np.testing.assert_allclose(before[name], value, atol=2e-5, err_msg=name)
    assert np.all((value >= 0) & (value <= 1))
  assert any((value == 0).any() for value in after.values())


def test_generator_equals_pytorch(golden: dict) -> None:
  task, state, batches = _golden_run(golden, True)
  a = image.to_float(batches[0]["image_a"])
  made = jax.jit(task.generator.apply)({"params": state.params["gen_ab"]}, a)
  np.testing.assert_allclose(made.images, golden["fake_b"], atol=3e-5)
  np.testing.assert_allclose(
    made.logits, golden["logits"], rtol=1e-4, atol=1e-5
  )


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
  """Two folders of small pictures."""
  root = tmp_path_factory.mktemp("pictures")
  rng = np.random.default_rng(0)
  for domain in "ab":
    (root / domain).mkdir()
    for index in range(24):
      noise = rng.integers(0, 256, (40, 40, 3), np.uint8)
      Image.fromarray(noise).save(root / domain / f"{index:02d}.png")
  return root


def test_runs_resumes_and_compiles_once(
  pictures: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  config = _config({"ema": 0.9, "augment.brightness": 0.1, "total_steps": 3})
  for domain in "ab":
    config.data[f"source_{domain}"] = "folder"
    config.data[f"path_{domain}"] = str(pictures / domain)
  state, _ = resume.check(config, tmp_path)
  assert all(np.isfinite(x).all() for x in jax.tree.leaves(state))
  assert set(state.params) == {"gen_ab", "gen_ba", "disc_a", "disc_b"}
  assert set(state.ema) == {"gen_ab", "gen_ba"}
  for vector in jax.tree.leaves(state.extra["spectral"]):
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-4)


@pytest.mark.slow
def test_pmap_equals_jit() -> None:
  config = _config({"augment.brightness": 0.2})
  batch, state = _batch(), _state(config)
  task = translation.build(config)
  state = jax.jit(lambda k: task.init(k, spec_of(batch)))(KEY)
  mapped = jax.pmap(
    translation.build(config, Axis("data")).train_step,
    "data",
    in_axes=(None, 0, None),
    out_axes=None,
    devices=jax.devices()[:4],
  )
  rows = jax.tree.map(lambda x: x.reshape(4, 1, *x.shape[1:]), batch)
  ours, our_metrics = mapped(state, rows, KEY)
  theirs, metrics = jax.jit(task.train_step)(state, batch, KEY)
  for title, value in metrics.items():
    np.testing.assert_allclose(
      our_metrics[title], value, rtol=1e-3, err_msg=title
    )
  # Gradients, which Adam's first step would reduce to their signs.
  for x, y in zip(jax.tree.leaves(ours.opt), jax.tree.leaves(theirs.opt)):
    np.testing.assert_allclose(x, y, atol=2e-3 * np.abs(y).max() + 1e-6)
  for x, y in zip(jax.tree.leaves(ours.extra), jax.tree.leaves(theirs.extra)):
    np.testing.assert_allclose(x, y, atol=1e-4)


@pytest.mark.slow
def test_bfloat16_is_close() -> None:
  batch, state = _batch(), _state(_config())
  outs = [
    jax.jit(translation.build(_config({"precision": p})).eval_step)(
      state, batch, KEY
    )["image/output"]
    for p in ("float32", "bfloat16")
  ]
  assert outs[1].dtype == jnp.float32
  assert 0 < float(jnp.abs(outs[0] - outs[1]).mean()) < 0.05


def test_evaluation_shows_where_it_looks() -> None:
  config = _config()
  task, state, batch = translation.build(config), _state(config), _batch()
  out = jax.jit(task.eval_step)(state, batch, KEY)
  names = ("input", "input_cam", "output", "output_cam", "reconstruction")
  assert [n for n in out if n.startswith("image/")] == [
    f"image/{n}" for n in (*names, "target")
  ]
  for n in (*names, "target"):
    assert out[f"image/{n}"].shape == (4, 32, 32, 3)
    assert float(jnp.abs(out[f"image/{n}"]).max()) <= 1 + 1e-5
  # A map in colours: not the grey of what lies under it.
  for n in names[1::2]:
    assert float(jnp.ptp(out[f"image/{n}"], axis=-1).mean()) > 0.2
  assert out["metric/cycle_l1"].shape == (4,)
  # The light form takes sizes it was not trained at.
  odd = jnp.asarray(_batch(size=37, rows=1)["image_a"])
  for direction in ("a2b", "b2a"):
    y = jax.eval_shape(
      lambda x, d=direction: task.translate(state.params, image.to_float(x), d),
      odd,
    )
    assert y.shape == odd.shape


def test_full_says_which_size_it_takes() -> None:
  config = _config({"model.generator.light": False})
  task = translation.build(config)
  shapes = jax.eval_shape(lambda k: task.init(k, spec_of(_batch())), KEY)
  style = shapes.params["gen_ab"]["style_0"]["kernel"]
  assert style.shape == (8 * 8 * 24, 24)
  y = jax.eval_shape(task.translate, shapes.params, jnp.zeros((2, 32, 32, 3)))
  assert y.shape == (2, 32, 32, 3)
  for size in (36, 37):
    with pytest.raises(UserError, match="32x32 only, the size it was made for"):
      task.translate(shapes.params, jnp.zeros((1, size, size, 3)))
  with pytest.raises(UserError, match="got 40x40"):
    task.init(KEY, spec_of(_batch(size=40)))


@pytest.mark.parametrize(
  ("changes", "sentence"),
  [
    ({"loss.cam": -1.0}, "must not be negative"),
    ({"model.init": "zeros"}, "'normal' or 'xavier'"),
    ({"loss.crop": 1.0, "model.generator.light": False}, "full U-GAT-IT"),
  ],
)
def test_config_mistakes_are_said(changes: dict, sentence: str) -> None:
  with pytest.raises(UserError, match=sentence):
    translation.build(_config(changes))


def test_small_pictures_are_said() -> None:
  config = _config({"model.discriminator.global_layers": 4})
  with pytest.raises(UserError, match="at least 48 pixels"):
    translation.build(config).init(KEY, spec_of(_batch()))


def test_attention_loss_is_a_cross_entropy() -> None:
  rng = np.random.default_rng(0)
  foreign, own = rng.normal(size=(2, 3, 2)).astype(np.float32)

  def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x.astype(np.float64)))

  expected = -np.log(sigmoid(foreign)).mean()
  expected -= np.log(1 - sigmoid(own)).mean()
  got = losses.attention(jnp.asarray(foreign), jnp.asarray(own))
  assert float(got) == pytest.approx(expected, rel=1e-5)
