"""The AdaIN step against PyTorch: losses, gradients, three steps."""

import dataclasses
import pathlib

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from chibijax.core.types import spec_of
from chibijax.models.adain import Decoder
from chibijax.ops import convolution, image, statistics
from chibijax.tasks import style
from configs import adain

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "adain_step.npz"
KEY = jax.random.key(7)


@dataclasses.dataclass(frozen=True)
class _Encoder:
  """The golden's: convolutions, ReLU, maximum poolings between blocks."""

  def init(self, key):
    del key
    return _read("features/")

  def __call__(self, params, x, names):
    found = {}
    for name in ("relu1_1", "relu1_2", "relu2_1", "relu3_1"):
      if name in ("relu2_1", "relu3_1"):
        b, h, w, c = x.shape
        x = x.reshape(b, h // 2, 2, w // 2, 2, c).max((2, 4))
      x = convolution.conv(x, params[name]["kernel"], padding=1)
      x = jax.nn.relu(x + params[name]["bias"].reshape(1, 1, 1, -1))
      found[name] = x
    return {name: found[name] for name in names}


def _read(prefix: str) -> dict:
  with np.load(GOLDEN) as file:
    flat = {
      name.removeprefix(prefix): jnp.asarray(file[name])
      for name in file.files
      if name.startswith(prefix)
    }
  return flax.traverse_util.unflatten_dict(flat, sep="/")


@pytest.fixture(scope="module")
def run():
  """Task, first state, batches, and each step's state and losses."""
  with np.load(GOLDEN) as file:
    golden = {k: file[k] for k in ("image_a", "image_b", "losses", "output")}
  config = adain.get_config("smoke")
  config.loss.style_layers = ("relu1_1", "relu2_1", "relu3_1")
  config.model.layer = "relu3_1"
  config.optim.update(lr=1e-3, decay_rate=0.5)
  task = dataclasses.replace(
    style.build(config),
    features=_Encoder(),
    net=Decoder(blocks=((6, 2), (8, 1), (10, 1))),
  )
  batches = [
    {f"image_{d}": jnp.asarray(golden[f"image_{d}"][i]) for d in "ab"}
    for i in range(3)
  ]
  first = jax.jit(lambda k: task.init(k, spec_of(batches[0])))(KEY)
  params = _read("decoder/")
  assert jax.tree.structure(params) == jax.tree.structure(
    first.params["decoder"]
  )
  first = first.replace(params={**first.params, "decoder": params})
  state, step, steps = first, jax.jit(task.train_step), []
  for batch in batches:
    state, metrics = step(state, batch, KEY)
    names = ("loss/total", "loss/content", "loss/style")
    steps.append((state, [float(metrics[name]) for name in names]))
  return task, first, batches, steps, golden


def test_losses_against_torch(run) -> None:
  *_, steps, golden = run
  found = np.array([losses for _, losses in steps])
  np.testing.assert_allclose(found, golden["losses"], rtol=2e-4)


def test_output_and_gradients_against_torch(run) -> None:
  task, first, batches, steps, golden = run
  a, b = (image.to_float(batches[0][f"image_{d}"]) for d in "ab")
  frozen = first.params["features"]
  mixed = statistics.adain(
    task.encode(frozen, a)["relu3_1"], task.encode(frozen, b)["relu3_1"]
  )
  output = task.net.apply({"params": first.params["decoder"]}, mixed)
  np.testing.assert_allclose(output, golden["output"], atol=2e-5)
  # Adam's mean after one step is (1 - b1) times the gradient.
  mean = optax.tree_utils.tree_get(steps[0][0].opt["decoder"], "mu")
  expected = _read("grads/")
  assert jax.tree.structure(mean) == jax.tree.structure(expected)
  for ours, theirs in zip(jax.tree.leaves(mean), jax.tree.leaves(expected)):
    largest = np.abs(theirs).max()
    np.testing.assert_allclose(10 * ours, theirs, rtol=0, atol=1e-3 * largest)


def test_the_encoder_stays_as_it_is(run) -> None:
  _, first, _, steps, _ = run
  before, after = (
    jax.tree.leaves(state.params["features"]) for state in (first, steps[-1][0])
  )
  for old, new in zip(before, after, strict=True):
    np.testing.assert_array_equal(old, new)
