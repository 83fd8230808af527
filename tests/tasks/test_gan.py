"""GANs: every loss, resume, parallel equality, counts, refusals."""

import functools
import itertools
import pathlib

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest

from chibijax.core.types import Axis, TrainState, spec_of
from chibijax.errors import UserError
from chibijax.tasks import gan
from chibijax.tasks.gan_parts import LOSSES, Anneal
from configs import dcgan, r3gan, wgan_gp
from tests.tasks import resume

KEY = jax.random.key(7)


def _config(module=r3gan, **changes) -> ml_collections.ConfigDict:
  config = module.get_config("smoke")
  config.unlock()
  config.update_from_flattened_dict(changes)
  return config


def _batch(size: int = 16, rows: int = 4, seed: int = 0) -> dict:
  rng = np.random.default_rng(seed)
  return {
    "image": jnp.asarray(rng.integers(0, 256, (rows, size, size, 3), np.uint8)),
    "attributes": jnp.asarray(rng.normal(size=(rows, 6)).astype(np.float32)),
  }


def test_training_is_finite_resumes_bitwise_and_compiles_once(
  tmp_path: pathlib.Path,
) -> None:
  _, lines = resume.check(_config(total_steps=3), tmp_path)
  assert all("loss/r1" in line for line in lines)


@functools.lru_cache
def _first(name: str = "r3gan"):
  module = {"r3gan": r3gan, "dcgan": dcgan, "wgan": wgan_gp}[name]
  config = _config(module)
  if name == "wgan":  # DCGAN's networks told labels; the smoke runs are not.
    config.model.update(conditional=True, embedding=3)
  task = gan.build(config)
  batch = _batch()
  return task, jax.jit(lambda k: task.init(k, spec_of(batch)))(KEY)


def _copy(state: TrainState) -> TrainState:
  return jax.tree.map(jnp.copy, state)


@functools.lru_cache
def _stepped() -> tuple[TrainState, dict]:
  """R3GAN after one step; compiled once for the tests below."""
  task, first = _first()
  state, metrics = jax.jit(task.train_step)(first, _batch(), KEY)
  return state, {k: float(v) for k, v in metrics.items()}


def _moved(first: TrainState, after: TrainState, net: str) -> float:
  pairs = zip(
    jax.tree.leaves(first.params[net]), jax.tree.leaves(after.params[net])
  )
  return sum(float(jnp.abs(x - y).sum()) for x, y in pairs)


@pytest.mark.parametrize("name", ["dcgan", "wgan"])
def test_both_networks_move_and_nothing_recompiles(name: str) -> None:
  task, first = _first(name)
  step = jax.jit(task.train_step, donate_argnums=0)
  state = _copy(first)
  for i in range(3):
    state, metrics = step(state, _batch(seed=i), jax.random.fold_in(KEY, i))
  assert step._cache_size() == 1
  assert all(np.isfinite(float(v)) for v in metrics.values())
  assert min(_moved(first, state, net) for net in ("gen", "disc")) > 1e-4
  kept = jax.tree.leaves(state.params["gen_stats"])
  assert any(float(jnp.abs(x).sum()) > 0 for x in kept)


@pytest.mark.slow
def test_pmap_equals_jit() -> None:
  _, first = _first()
  expected, logged = _stepped()
  task = gan.build(_config(), Axis("data"))
  mapped = jax.pmap(
    task.train_step,
    "data",
    in_axes=(None, 0, None),
    out_axes=None,
    devices=jax.devices()[:2],
  )
  shards = jax.tree.map(lambda x: x.reshape(2, 2, *x.shape[1:]), _batch())
  found, shown = mapped(first, shards, KEY)
  for name, value in logged.items():
    assert float(shown[name]) == pytest.approx(value, rel=1e-3), name
  # Adam's first step has the size of the rate, whatever the gradient's; where
  # that is rounding, its sign is chance.
  differences = np.concatenate(
    [
      np.abs(np.asarray(x) - np.asarray(y)).ravel()
      for x, y in zip(
        jax.tree.leaves(found.params), jax.tree.leaves(expected.params)
      )
    ]
  )
  rate = _config().optim.lr
  assert differences.max() <= 2.01 * rate
  assert np.mean(differences > 0.1 * rate) < 0.02


@pytest.mark.parametrize("name", LOSSES)
def test_losses_pull_scores_the_right_way(name: str) -> None:
  judge, fool = LOSSES[name]
  real, fake = jnp.array([0.3, -0.2]), jnp.array([0.1, 0.4])
  on_real, on_fake = jax.grad(judge, (0, 1))(real, fake)
  assert (on_real < 0).all() and (on_fake > 0).all()
  assert (jax.grad(fool, 1)(real, fake) < 0).all()


def test_r3gan_has_the_size_of_its_layers() -> None:
  config = r3gan.get_config()
  # Seven resolutions, 256 pixels: about 23 million each.
  config.data.size = 256
  config.model.widths = (768, 768, 768, 768, 384, 192, 96)
  task = gan.build(config)
  spec = {"image": jax.ShapeDtypeStruct((256, 256, 256, 3), np.uint8)}
  state = jax.eval_shape(lambda k: task.init(k, spec), KEY)

  def count(net: str) -> int:
    return sum(x.size for x in jax.tree.leaves(state.params[net]))

  def block(w: int) -> int:
    return 2 * w * 2 * w + 9 * 16 * 2 * w + 2 * 2 * w

  widths = config.model.widths
  trunk = sum(2 * block(w) for w in widths)
  trunk += sum(a * b for a, b in itertools.pairwise(widths) if a != b)
  trunk += 16 * 768 + 96 * 3
  assert count("gen") == trunk + 64 * 768
  assert count("disc") == trunk + 768
  assert round(count("disc") / 1e6) == 23


def test_dcgan_has_the_usual_size() -> None:
  task = gan.build(dcgan.get_config())
  spec = {"image": jax.ShapeDtypeStruct((128, 64, 64, 3), np.uint8)}
  state = jax.eval_shape(lambda k: task.init(k, spec), KEY)

  def count(net: str) -> int:
    return sum(x.size for x in jax.tree.leaves(state.params[net]))

  # PyTorch's DCGAN example with nz=100, ngf=ndf=64.
  assert count("gen") == 3_576_704
  assert count("disc") == 2_765_568


def test_annealing_ends_where_it_should() -> None:
  value = Anneal(2.0, 0.5, 10)
  found = [float(value(jnp.int32(i))) for i in (0, 5, 10, 99)]
  np.testing.assert_allclose(found, [2.0, 1.25, 0.5, 0.5], rtol=1e-6)
  # The average starts as the generator itself, and lags behind it later.
  state, _ = _stepped()
  for x, y in zip(
    jax.tree.leaves(state.ema["gen"]), jax.tree.leaves(state.params["gen"])
  ):
    np.testing.assert_allclose(x, y, atol=1e-7)


@pytest.mark.parametrize("name", ["r3gan", "wgan"])
def test_labels_matter_to_both_networks(name: str) -> None:
  task, state = _first(name)
  if name == "r3gan":  # Its last layers begin with zeros.
    state, _ = _stepped()
  z = jax.random.normal(KEY, (4, task.latent))
  labels = _batch()["attributes"]
  one = task.generate(state.params, z, labels)
  other = task.generate(state.params, z, labels + 1)
  assert float(jnp.abs(one - other).max()) > 1e-4
  judged = [
    task._apply_disc(state.params["disc"], one, told)
    for told in (labels, labels + 1)
  ]
  # Untrained scores are small.
  apart = jnp.abs(judged[0] - judged[1]).max()
  assert float(apart) > 0.01 * float(jnp.abs(judged[0]).max())


def test_eval_step_shows_the_same_samples_each_time() -> None:
  task, state = _first()
  out = jax.jit(task.eval_step)(state, _batch(), KEY)
  again = jax.jit(task.eval_step)(state, _batch(seed=3), KEY)
  assert next(iter(out)) == "image/real" and "image/sample_5" in out
  assert out["metric/score_real"].shape == (4,)
  assert not np.allclose(out["image/real"], again["image/real"])


@pytest.mark.parametrize(
  ("module", "changes", "sentence"),
  [
    (r3gan, {"model.name": "r3gam"}, "model.name is 'r3gam'"),
    (r3gan, {"loss.name": "hinge"}, "loss.name is 'hinge'"),
    (r3gan, {"loss.r1": -1.0}, "must not be negative"),
    (r3gan, {"data.size": 64}, "data.size must be 16"),
    (r3gan, {"model.group": 5}, "groups of 5"),
    (r3gan, {"model.critic_steps": 0}, "at least 1"),
    (r3gan, {"augment.policies": ("colour",)}, "augment.policies has"),
    (dcgan, {"loss.r1": 1.0}, "model.norm to False"),
    (dcgan, {"data.size": 24}, "power of two"),
  ],
)
def test_config_mistakes_are_said(module, changes: dict, sentence: str) -> None:
  with pytest.raises(UserError, match=sentence):
    gan.build(_config(module, **changes))


def test_unsuitable_batches_are_said() -> None:
  task = gan.build(_config())
  spec = spec_of(_batch())
  with pytest.raises(UserError, match="labelled_chibi"):
    task.init(KEY, {"image": spec["image"]})
  with pytest.raises(UserError, match="source_b"):
    task.init(KEY, {"image_a": spec["image"]})
  with pytest.raises(UserError, match="multiple of"):
    gan.build(_config(wgan_gp)).init(KEY, spec_of(_batch(rows=3)))
