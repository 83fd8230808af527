"""Optimisers: schedules, averaging over shards, moving averages."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict

from chibijax.core import optim
from chibijax.core.types import Axis
from chibijax.errors import UserError


def make_config(**changes):
  fields = dict(
    name="adam", lr=0.1, b1=0.5, b2=0.999, eps=1e-8, weight_decay=0.0,
    schedule="constant", decay_start=0.5, clip=0.0,
  )  # fmt: skip
  return ConfigDict(fields | changes)


def test_linear_decay_is_flat_then_falls_to_zero():
  schedule = optim.make_schedule(
    make_config(schedule="linear_decay", decay_start=0.5), 100
  )
  rates = np.array([schedule(i) for i in (0, 49, 50, 75, 100)])
  np.testing.assert_allclose(rates, [0.1, 0.1, 0.1, 0.05, 0.0], atol=1e-7)


def test_exponential_decay_ends_at_its_fraction():
  config = make_config(schedule="exponential", decay_to=0.01)
  schedule = optim.make_schedule(config, 100)
  rates = np.array([schedule(i) for i in (0, 50, 100)])
  np.testing.assert_allclose(rates, [0.1, 0.01, 0.001], rtol=1e-5)
  with pytest.raises(UserError, match="decay_to"):
    optim.make_schedule(make_config(schedule="exponential", decay_to=0.0), 9)


def test_inverse_time_is_that_of_adain():
  config = make_config(schedule="inverse_time", decay_rate=0.5)
  rates = [float(optim.make_schedule(config, 9)(i)) for i in (0, 1, 2)]
  np.testing.assert_allclose(rates, config.lr / np.array([1, 1.5, 2]))
  with pytest.raises(UserError, match="decay_rate is -1"):
    optim.make_schedule(make_config(schedule="inverse_time", decay_rate=-1), 9)


@pytest.mark.parametrize("field", ["schedule", "name"])
def test_unknown_names_are_refused(field):
  with pytest.raises(UserError, match="nonsense"):
    optim.make(make_config(**{field: "nonsense"}), 10)


def test_decay_start_out_of_range_is_refused():
  with pytest.raises(UserError, match="decay_start"):
    optim.make(make_config(schedule="linear_decay", decay_start=1.0), 10)


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_optimisers_descend(name):
  transform = optim.make(make_config(name=name, b1=0.0), 10)
  params = {"w": jnp.array([1.0, -2.0])}
  grads = {"w": jnp.array([1.0, -1.0])}
  updates, _ = transform.update(grads, transform.init(params), params)
  assert np.all(np.sign(updates["w"]) == [-1, 1])


def test_adam_first_step_equals_the_closed_form():
  transform = optim.make(make_config(lr=0.1), 10)
  params = {"w": jnp.array([0.0, 0.0])}
  updates, _ = transform.update(
    {"w": jnp.array([3.0, -0.5])}, transform.init(params), params
  )
  # With bias correction Adam's first step is lr times the sign.
  np.testing.assert_allclose(updates["w"], [-0.1, 0.1], rtol=1e-5)


def test_clip_bounds_the_gradient_norm():
  transform = optim.make(make_config(name="sgd", b1=0.0, lr=1.0, clip=1.0), 10)
  params = {"w": jnp.zeros(2)}
  updates, _ = transform.update(
    {"w": jnp.array([30.0, 40.0])}, transform.init(params), params
  )
  np.testing.assert_allclose(updates["w"], [-0.6, -0.8], rtol=1e-6)


def test_a_named_axis_averages_gradients():
  transform = optim.make(
    make_config(name="sgd", b1=0.0, lr=1.0), 10, Axis("data")
  )
  params = jnp.zeros(3)
  state = transform.init(params)
  grads = jnp.arange(12.0).reshape(4, 3)
  updates = jax.vmap(
    lambda g: transform.update(g, state, params)[0], axis_name="data"
  )(grads)
  np.testing.assert_allclose(updates, -np.tile(grads.mean(0), (4, 1)))


def test_ema_update():
  ema = optim.ema_update({"w": jnp.array(1.0)}, {"w": jnp.array(3.0)}, 0.75)
  np.testing.assert_allclose(ema["w"], 1.5)


def _squares(params, rows, shift):
  x, y = rows
  error = x @ params["w"] + shift - y
  return jnp.mean(error**2), (error, {"absolute": jnp.abs(error).mean()})


@pytest.mark.parametrize("microbatches", [1, 2, 3])
def test_gradient_of_parts_is_that_of_the_batch(microbatches):
  rng = np.random.default_rng(0)
  x, w = rng.normal(size=(6, 3)), rng.normal(size=3)
  y = rng.normal(size=6)
  gradient = jax.jit(optim.value_and_grad(_squares, microbatches))
  rows = (jnp.float32(x), jnp.float32(y))
  (loss, (error, means)), grads = gradient({"w": jnp.float32(w)}, rows, 0.5)
  expected = x @ w + 0.5 - y
  # float32 sums of six.
  np.testing.assert_allclose(error, expected, rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(loss, np.mean(expected**2), rtol=1e-5)
  np.testing.assert_allclose(
    means["absolute"], np.abs(expected).mean(), rtol=1e-5
  )
  np.testing.assert_allclose(
    grads["w"], 2 * expected @ x / 6, rtol=1e-4, atol=1e-6
  )


def test_adam_decays_as_pytorch_does():
  """The decay is part of the gradient, which adamw leaves out of it."""
  params = {"x": jnp.array([2.0, -1.0])}
  grads = {"x": jnp.array([0.5, 0.25])}
  lr, eps = 0.1, 1e-8
  for name, decayed in (("adam", True), ("adamw", False)):
    transform = optim.make(make_config(name=name, weight_decay=0.3), 10)
    _, state = transform.update(grads, transform.init(params), params)
    mean = optax.tree_utils.tree_get(state, "mu")["x"]
    given = np.array([0.5 + 0.6, 0.25 - 0.3]) if decayed else grads["x"]
    np.testing.assert_allclose(mean, 0.5 * given, rtol=1e-5)
  # By hand: the first step goes by the sign of gradient plus decay.
  transform = optim.make(make_config(weight_decay=0.3), 10)
  updates, _ = transform.update(grads, transform.init(params), params)
  np.testing.assert_allclose(updates["x"], [-lr, lr], rtol=10 * eps + 1e-4)
