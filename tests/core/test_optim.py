"""Optimisers: schedules, averaging over shards, moving averages."""

import jax
import jax.numpy as jnp
import numpy as np
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
