"""StyleGAN2: parity with PyTorch, training, resume, ADA, lazy penalties."""

import pathlib

import flax.traverse_util
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest
from PIL import Image

from chibijax.core.types import Axis, spec_of
from chibijax.errors import UserError
from chibijax.losses import adversarial, regularizers
from chibijax.ops import image as image_ops
from chibijax.tasks import gan
from chibijax.tasks.gan_parts import Augment, Ramp
from configs import stylegan2
from tests.tasks import resume

FOLDER = pathlib.Path(__file__).parents[1] / "golden"
KEY = jax.random.key(7)
# What the golden's script has.
GOLDEN = {
  "model.conditional": False,
  "model.channel_base": 32,
  "model.channel_max": 6,
  "model.group": 2,
  "augment.name": "none",
  "loss.r1": 0.7,
  "loss.r1_every": 1,
}
PATH, MEAN = 2.0, 0.3


def _config(**changes) -> ml_collections.ConfigDict:
  config = stylegan2.get_config("smoke")
  config.unlock()
  config.update_from_flattened_dict({"data.size": 8} | changes)
  return config


def _batch(size: int = 8, seed: int = 0, rows: int = 4) -> dict:
  rng = np.random.default_rng(seed)
  return {
    "image": jnp.asarray(rng.integers(0, 256, (rows, size, size, 3), np.uint8)),
    "attributes": jnp.asarray(rng.normal(size=(rows, 6)).astype(np.float32)),
  }


def _flat(tree: dict) -> dict[str, np.ndarray]:
  return flax.traverse_util.flatten_dict(
    jax.tree.map(np.asarray, tree), sep="/"
  )


def _nested(golden: dict, prefix: str) -> dict:
  found = {
    name.removeprefix(prefix): jnp.asarray(value)
    for name, value in golden.items()
    if name.startswith(prefix)
  }
  return flax.traverse_util.unflatten_dict(found, sep="/")


def _match(found: dict, golden: dict, net: str) -> None:
  found = _flat(found)
  expected = _flat(_nested(golden, f"grad/{net}/"))
  assert found.keys() == expected.keys()
  for name, value in expected.items():
    # Float32 against PyTorch's float64.
    atol = 2e-4 * np.abs(value).max() + 1e-6
    assert np.abs(value).max() > 1e-6, name
    np.testing.assert_allclose(found[name], value, atol=atol, err_msg=name)


def test_networks_losses_and_gradients_against_torch() -> None:
  with np.load(FOLDER / "stylegan2.npz") as file:
    golden = dict(file)
  task = gan.build(_config(**GOLDEN))
  assert task.generator.widths == (6, 4)
  params = _nested(golden, "before/")
  real = image_ops.to_float(jnp.asarray(golden["image"]))
  z, way = jnp.asarray(golden["z"]), jnp.asarray(golden["way"])

  @jax.jit
  def judge(disc: dict, fake: jax.Array):
    def loss(disc: dict):
      judged, metrics = task.discriminator_loss(
        disc, real, fake, None, KEY, jnp.int32(0)
      )
      weighted, r1 = task.r1_loss(disc, real, None, KEY, {})
      scores = [task._apply_disc(disc, x, None) for x in (real, fake)]
      del metrics
      return judged + weighted, (jnp.stack(scores), judged, r1)

    return jax.grad(loss, has_aux=True)(disc)

  @jax.jit
  def make(gen: dict, disc: dict):
    def loss(gen: dict):
      def synthesize(styles: jax.Array) -> jax.Array:
        return task._synthesize(gen, styles, None)

      styles = task.generator.repeat(task._map(gen, z, None))
      fake = synthesize(styles)
      lengths = regularizers.path_lengths(synthesize, styles, way)
      path = jnp.square(lengths - MEAN).mean()
      scores = task._apply_disc(disc, fake, None)
      fooled = adversarial.non_saturating_generator(scores)
      return fooled + PATH * path, (fake, fooled, path)

    return jax.grad(loss, has_aux=True)(gen)

  grads, (fake, fooled, path) = make(params["gen"], params["disc"])
  np.testing.assert_allclose(fake, golden["fake"], atol=2e-4)
  _match(grads, golden, "gen")
  grads, (scores, judged, r1) = judge(params["disc"], fake)
  np.testing.assert_allclose(scores, golden["scores"], atol=2e-4)
  _match(grads, golden, "disc")
  losses = [float(x) for x in (judged, r1, fooled, path)]
  np.testing.assert_allclose(losses, golden["losses"], rtol=2e-4)


@pytest.fixture
def pictures(tmp_path: pathlib.Path) -> dict[str, str]:
  """A folder of labelled pictures, which may be smaller than the artist's."""
  folder, rng = tmp_path / "pictures", np.random.default_rng(0)
  folder.mkdir()
  rows = ["file,tall,round"]
  for i in range(12):
    noise = rng.integers(0, 256, (16, 16, 3), np.uint8)
    Image.fromarray(noise).save(folder / f"{i}.png")
    rows.append(f"{i}.png,{rng.normal():.3f},{rng.normal():.3f}")
  table = tmp_path / "labels.csv"
  table.write_text("\n".join(rows))
  return {
    "data.source_a": "folder",
    "data.path_a": str(folder),
    "data.label_file": str(table),
  }


def test_training_is_finite_resumes_bitwise_and_compiles_once(
  pictures: dict[str, str], tmp_path: pathlib.Path
) -> None:
  config = _config(total_steps=3, **pictures)
  state, lines = resume.check(config, tmp_path / "run")
  assert all(np.isfinite(x).all() for x in jax.tree.leaves(state))
  assert set(state.extra) == {"ada", "path_mean", "last_path", "last_r1"}
  assert float(state.extra["path_mean"]) > 0
  assert np.abs(state.params["gen_stats"]["mean_style"]).max() > 0
  wanted = {"ada/p", "ada/sign", "loss/r1", "loss/path", "path/mean"}
  assert all(wanted <= line.keys() for line in lines)


@pytest.mark.slow
def test_pmap_equals_jit() -> None:
  changes = {"optim.name": "sgd", "optim.lr": 0.01}
  task = gan.build(_config(**changes))
  batch = _batch(rows=8)
  first = jax.jit(lambda k: task.init(k, spec_of(batch)))(KEY)
  expected, logged = jax.jit(task.train_step)(first, batch, KEY)
  mapped = jax.pmap(
    gan.build(_config(**changes), Axis("data")).train_step,
    "data",
    in_axes=(None, 0, None),
    out_axes=None,
    devices=jax.devices()[:2],
  )
  shards = jax.tree.map(lambda x: x.reshape(2, 4, *x.shape[1:]), batch)
  found, shown = mapped(first, shards, KEY)
  for name, value in logged.items():
    assert float(shown[name]) == pytest.approx(float(value), rel=1e-3), name
  for x, y in zip(
    jax.tree.leaves((found.params, found.extra)),
    jax.tree.leaves((expected.params, expected.extra)),
  ):
    # Gradient descent: a change is the rate times the gradient.
    np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-5)


def test_ada_rises_while_real_pictures_are_known() -> None:
  augment = Augment("ada", target=0.6, every=2, images=100)
  extra = augment.init()
  advance = jax.jit(augment.advance, static_argnums=3)
  seen = []
  for step, sign in enumerate([1.0, 0.5, 0.9, 0.8, 0.1, 0.2, -1.0, -1.0]):
    extra, metrics = advance(extra, jnp.float32(sign), jnp.int32(step), 10)
    seen.append(float(metrics["ada/p"]))
  # 2 steps of 10 pictures of 100: a fifth, up, up, down, and down again to 0.
  np.testing.assert_allclose(
    seen, [0, 0.2, 0.2, 0.4, 0.4, 0.2, 0.2, 0.0], atol=1e-6
  )
  extra, _ = advance(extra, jnp.float32(-1.0), jnp.int32(9), 10)
  assert float(extra["ada"]["p"]) == 0.0
  assert Augment().advance({}, None, jnp.int32(0), 10) == ({}, {})


def test_the_recipe_follows_size_and_batch() -> None:
  config = stylegan2.get_config()
  assert config.loss.r1 == pytest.approx(2e-4 * 128**2 / 32)
  assert config.half_life == pytest.approx(32 * 10_000 / 32)
  config.data.update(size=256, batch_size=64)
  assert config.loss.r1 == pytest.approx(2e-4 * 256**2 / 64)
  assert config.half_life == pytest.approx(20_000)
  task = gan.build(config)
  last = task.half_life(jnp.int32(10**9))
  assert float(last) * 64 == pytest.approx(20_000)
  assert float(Ramp(0.05, 40.0)(jnp.int32(100))) == pytest.approx(5)
  # Adam's constants are those of one update more in 4, or in 16.
  adam = gan.gan_style._optimizer
  updates = []
  for weight in (0.0, 2.0):
    optimizer = adam(config, weight, 4, Axis())
    state = optimizer.init(jnp.zeros(1))
    change, _ = optimizer.update(jnp.ones(1), state, jnp.zeros(1))
    updates.append(-float(change[0]))
  np.testing.assert_allclose(updates, [2.5e-3, 2.0e-3], rtol=1e-4)


@pytest.mark.parametrize(
  ("changes", "sentence"),
  [
    ({"model.name": "stylegan3"}, "model.name is 'stylegan3'"),
    ({"data.size": 24}, "power of two"),
    ({"model.critic_steps": 2}, "critic_steps 1"),
    ({"loss.mixing": 1.5}, "loss.mixing must lie"),
    ({"loss.path_every": 0}, "at least 1"),
    ({"augment.name": "flip"}, "augment.name is 'flip'"),
    ({"augment.every": 0}, "augment.every"),
    ({"augment.pipeline": "bgx"}, "augment.pipeline is 'bgx'"),
  ],
)
def test_config_mistakes_are_said(changes: dict, sentence: str) -> None:
  with pytest.raises(UserError, match=sentence):
    gan.build(_config(**changes))
