"""pix2pix's and CUT's steps against PyTorch: losses, gradients, two steps."""

import pathlib

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from chibijax.core.types import spec_of
from chibijax.ops import image
from chibijax.tasks import translation
from chibijax.tasks.translation_cut import Draws
from configs import cut, pix2pix

FOLDER = pathlib.Path(__file__).parents[1] / "golden"
KEY = jax.random.key(7)


def _load(name: str) -> dict[str, np.ndarray]:
  with np.load(FOLDER / f"{name}_step.npz") as file:
    return dict(file)


def _tree(golden: dict, prefix: str) -> dict:
  return flax.traverse_util.unflatten_dict(
    {
      name.removeprefix(prefix): jnp.asarray(value)
      for name, value in golden.items()
      if name.startswith(prefix)
    },
    sep="/",
  )


def _task(file, golden: dict, changes: dict):
  """Our task, its state with PyTorch's weights, and the batches."""
  config = file.get_config("smoke")
  config.unlock()
  config.update_from_flattened_dict(changes | {"optim.schedule": "constant"})
  task = translation.build(config)
  batches = [
    {f"image_{d}": jnp.asarray(golden[f"image_{d}"][i]) for d in "ab"}
    for i in range(len(golden["losses"]))
  ]
  params = _tree(golden, "params/")
  shapes = jax.eval_shape(lambda k: task.init(k, spec_of(batches[0])), KEY)
  assert jax.tree.map(jnp.shape, params) == jax.tree.map(
    lambda x: x.shape, shapes.params
  )
  state = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
  return task, state.replace(params=params), batches


def _check_gradients(golden: dict, state, inert: tuple[str, ...]) -> None:
  """What the optimisers were given: their mean after a step is (1 - b1) g."""
  names = {"gen": "gen_ab", "disc": "disc_b", "sampler": "sampler"}
  ours = {
    names[key]: optax.tree_utils.tree_get(opt, "mu")
    for key, opt in state.opt.items()
  }
  ours = flax.traverse_util.flatten_dict(ours, sep="/")
  theirs = flax.traverse_util.flatten_dict(_tree(golden, "grads/"), sep="/")
  assert ours.keys() == theirs.keys()
  for name, value in theirs.items():
    if name.removesuffix("/bias").endswith(inert) and name.endswith("bias"):
      # A constant before a norm: ours is exactly zero, PyTorch's is rounding.
      assert not ours[name].any(), name
      assert np.abs(value).max() < 1e-5
    else:
      np.testing.assert_allclose(
        2 * ours[name], value, rtol=0, atol=2e-3 * np.abs(value).max() + 1e-7,
        err_msg=name,
      )  # fmt: skip


def test_pix2pix() -> None:
  golden = _load("pix2pix")
  task, state, batches = _task(
    pix2pix,
    golden,
    {
      "model.generator.width": 2,
      "model.generator.depth": 5,
      "model.generator.dropout": 0.0,
      "model.discriminator.width": 2,
      "model.discriminator.layers": 2,
    },
  )
  fake = jax.jit(task.generator.apply)(
    {"params": state.params["gen_ab"]}, image.to_float(batches[0]["image_a"])
  )
  np.testing.assert_allclose(fake, golden["fake"], atol=3e-5)
  step = jax.jit(task.train_step)
  names = ("generator", "adversarial", "l1", "discriminator")
  for i, batch in enumerate(batches):
    state, metrics = step(state, batch, jax.random.fold_in(KEY, i))
    losses = [metrics[f"loss/{name}"] for name in names]
    np.testing.assert_allclose(losses, golden["losses"][i], rtol=1e-4)
    if i == 0:
      _check_gradients(golden, state, ())


CUT = {
  "model.generator.width": 4,
  "model.discriminator.width": 4,
  "model.discriminator.layers": 2,
  "model.taps": ("input", "down_0", "down_1", "block_0"),
  "model.sampler.patches": 12,
}


def _draws(golden: dict, kinds: tuple[str, ...], flip: bool) -> Draws:
  where = [
    tuple(jnp.asarray(golden[f"positions/{kind}/{i}"]) for i in range(4))
    for kind in kinds
  ]
  photo, chibi = (*where, ())[:2]
  return Draws(photo, chibi, jnp.asarray(flip), KEY)


@pytest.mark.parametrize(
  "joint", [False, pytest.param(True, marks=pytest.mark.slow)]
)
def test_cut(joint: bool) -> None:
  golden = _load("cut")
  task, state, batches = _task(cut, golden, CUT | {"model.batch_calls": joint})
  draws = _draws(golden, ("photo", "chibi"), False)
  step = jax.jit(task.update)
  names = ("generator", "adversarial", "nce", "nce_identity", "discriminator")
  for i, batch in enumerate(batches):
    a, b = (image.to_float(batch[f"image_{d}"]) for d in "ab")
    if i == 0:
      fake = jax.jit(task.translate)(state.params, a)
      np.testing.assert_allclose(fake, golden["fake"], atol=2e-5)
    state, metrics = step(state, a, b, draws)
    losses = [metrics[f"loss/{name}"] for name in names]
    np.testing.assert_allclose(losses, golden["losses"][i], rtol=2e-4)
    if i == 0:
      inert = ("stem", "conv_0", "conv_1", "up_0", "up_1")
      theirs = ("disc_b/conv_1", "disc_b/conv_2")
      found = tuple(n for n in inert if n not in ("conv_0", "conv_1"))
      blocks = ("gen_ab/block_0/conv_0", "gen_ab/block_0/conv_1")
      _check_gradients(golden, state, found + theirs + blocks)


def test_fastcut_mirrors() -> None:
  golden = _load("cut")
  changes = CUT | {
    "model.flip": True,
    "loss.nce": 10.0,
    "loss.identity": False,
  }
  task, state, batches = _task(cut, golden, changes)
  a, b = (image.to_float(batches[0][f"image_{d}"]) for d in "ab")
  _, metrics = jax.jit(task.update)(
    state, a, b, _draws(golden, ("photo",), True)
  )
  names = ("generator", "adversarial", "nce")
  losses = [metrics[f"loss/{name}"] for name in names]
  # Their discriminator had not been updated yet: the contrast and its own
  # loss are what can be compared.
  np.testing.assert_allclose(losses[2], golden["fast"][2], rtol=2e-4)
  np.testing.assert_allclose(
    metrics["loss/discriminator"], golden["fast"][3], rtol=2e-4
  )
  assert float(losses[0]) == pytest.approx(
    float(losses[1] + 10 * losses[2]), rel=1e-5
  )
