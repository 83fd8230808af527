"""The whole CycleGAN step against PyTorch: losses, gradients, three steps."""

import pathlib

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from chibijax.core.types import TrainState, spec_of
from chibijax.ops import image
from chibijax.tasks import translation
from configs import cyclegan

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "cyclegan_step.npz"
KEY = jax.random.key(7)


def _flat(tree: dict) -> dict[str, np.ndarray]:
  return flax.traverse_util.flatten_dict(
    jax.tree.map(np.asarray, tree), sep="/"
  )


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
  with np.load(GOLDEN) as file:
    return dict(file)


def _golden_task(golden: dict, **changes):
  """Our task and its state with PyTorch's weights."""
  settings = {
    "model.generator.width": 4,
    "model.generator.blocks": 2,
    "model.discriminator.width": 4,
    "model.discriminator.layers": 3,
    "model.pool_size": 50,
    "total_steps": 4,
  }
  config = cyclegan.get_config("smoke")
  config.unlock()
  config.update_from_flattened_dict(settings | changes)
  task = translation.build(config)
  batches = [
    {f"image_{d}": jnp.asarray(golden[f"image_{d}"][i]) for d in "ab"}
    for i in range(len(golden["losses"]))
  ]
  params = flax.traverse_util.unflatten_dict(
    {
      name.removeprefix("params/"): jnp.asarray(value)
      for name, value in golden.items()
      if name.startswith("params/")
    },
    sep="/",
  )
  state = jax.jit(lambda k: task.init(k, spec_of(batches[0])))(KEY)
  assert jax.tree.structure(params) == jax.tree.structure(state.params)
  return task, state.replace(params=params), batches


LOSSES = (
  "loss/generator",
  "loss/adversarial",
  "loss/cycle",
  "loss/identity",
  "loss/discriminator",
)


@pytest.fixture(scope="module")
def run(golden: dict) -> list[tuple[TrainState, np.ndarray]]:
  """Each step's state and losses."""
  task, state, batches = _golden_task(golden)
  step, out = jax.jit(task.train_step), []
  for i, batch in enumerate(batches):
    state, metrics = step(state, batch, jax.random.fold_in(KEY, i))
    out.append((state, np.array([metrics[name] for name in LOSSES])))
  return out


def test_step_losses_against_torch(golden: dict, run: list) -> None:
  for i, (_, losses) in enumerate(run):
    np.testing.assert_allclose(losses, golden["losses"][i], rtol=1e-4)
  assert int(run[-1][0].step) == len(golden["losses"])


# The discriminators' first layers have no norm, so their biases matter.
FIRST = ("disc_a/conv_0/bias", "disc_b/conv_0/bias")


def test_step_gradients_against_torch(golden: dict, run: list) -> None:
  # What the optimisers were given: their mean after one step is (1 - b1) g.
  ours = {}
  for opt in run[0][0].opt.values():
    mean = optax.tree_utils.tree_get(opt, "mu")
    ours |= {name: 2 * value for name, value in _flat(mean).items()}
  theirs = {
    name.removeprefix("grads/"): value
    for name, value in golden.items()
    if name.startswith("grads/")
  }
  assert ours.keys() == theirs.keys()
  largest = max(np.abs(value).max() for value in theirs.values())
  inert = 0
  for name, value in theirs.items():
    if name.endswith("bias") and "head" not in name and name not in FIRST:
      # Biases before a norm: ours are exactly zero, PyTorch's are rounding.
      assert not ours[name].any(), name
      assert np.abs(value).max() < 1e-5 * largest, name
      inert += 1
    else:
      np.testing.assert_allclose(
        ours[name],
        value,
        rtol=0,
        atol=1e-3 * np.abs(value).max(),
        err_msg=name,
      )
  assert inert == 2 * 9 + 2 * 3


def test_batched_calls_are_the_same_mathematics(golden: dict) -> None:
  task, state, batches = _golden_task(golden, **{"model.batch_calls": True})
  a, b = (image.to_float(batches[0][f"image_{d}"]) for d in "ab")
  gen = {n: state.params[n] for n in translation.GENERATORS}
  disc = {n: state.params[n] for n in translation.DISCRIMINATORS}

  @jax.jit
  def losses(gen, disc):
    _, (fakes, metrics) = task.generator_loss(gen, (a, b), disc)
    judged, _ = task.discriminator_loss(disc, ((a, b), fakes))
    return {**metrics, "loss/discriminator": judged}, fakes

  metrics, (fake_a, fake_b) = losses(gen, disc)
  ours = [metrics[name] for name in LOSSES]
  np.testing.assert_allclose(ours, golden["losses"][0], rtol=1e-4)
  np.testing.assert_allclose(fake_a, golden["fake_a"], atol=2e-5)
  np.testing.assert_allclose(fake_b, golden["fake_b"], atol=2e-5)
