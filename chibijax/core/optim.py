"""Optimisers and schedules from a config, and averaged parameters.

A schedule is a function of the optimiser's own count, which is saved with its
state: a resumed run continues on the same curve.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PyTree

from chibijax.core.types import Axis
from chibijax.errors import UserError


def make_schedule(config: Any, total_steps: int) -> optax.Schedule:
  """Builds the learning rate as a function of the step.

  Args:
    config: `lr` (the base rate), `schedule` and, for `linear_decay`,
      `decay_start`, the fraction of the run in [0, 1) at which the decay to
      zero begins (0.5 in CycleGAN, Zhu et al. 2017, section 4), or, for
      `exponential` and `linear` (evenly over the whole run), `decay_to`, the
      last rate relative to the first in (0, 1],
      or, for `inverse_time`, `decay_rate` >= 0: lr / (1 + decay_rate step).
    total_steps: number of steps of the whole run, >= 1.

  Returns:
    A schedule: int step -> float learning rate.

  Raises:
    UserError: for an unknown schedule, or a value out of range.
  """
  if config.schedule == "constant":
    return optax.constant_schedule(config.lr)
  if config.schedule == "cosine":
    return optax.cosine_decay_schedule(config.lr, total_steps)
  if config.schedule == "linear_decay":
    if not 0 <= config.decay_start < 1:
      raise UserError(
        f"optim.decay_start is {config.decay_start}, expected a fraction in "
        "[0, 1)."
      )
    begin = round(config.decay_start * total_steps)
    return optax.linear_schedule(
      config.lr,
      0.0,
      transition_steps=total_steps - begin,
      transition_begin=begin,
    )
  if config.schedule in ("exponential", "linear"):
    if not 0 < config.decay_to <= 1:
      raise UserError(
        f"optim.decay_to is {config.decay_to}, expected a fraction in (0, 1]."
      )
    if config.schedule == "linear":
      last = config.lr * config.decay_to
      return optax.linear_schedule(config.lr, last, total_steps)
    return optax.exponential_decay(config.lr, total_steps, config.decay_to)
  if config.schedule == "inverse_time":
    if config.decay_rate < 0:
      raise UserError(
        f"optim.decay_rate is {config.decay_rate}, expected at least 0."
      )
    return lambda step: config.lr / (1.0 + config.decay_rate * step)
  raise UserError(
    f"optim.schedule is {config.schedule!r}, expected 'constant', 'cosine', "
    "'linear', 'linear_decay', 'exponential' or 'inverse_time'."
  )


def make(
  config: Any, total_steps: int, axis: Axis | None = None
) -> optax.GradientTransformation:
  """Builds an optimiser.

  Under `pmap` the gradients of the shards are averaged first; under `jit` the
  compiler does that by itself, since the loss is a mean over the global batch.

  Args:
    config: `name` ("adam", "adamw" or "sgd"), the schedule's fields,
      `b1`, `b2`, `eps`, `weight_decay` (decoupled by adamw; added to the
      gradient as an L2 penalty by adam, as PyTorch's does) and `clip`, the
      largest global gradient norm (0: no clipping).
    total_steps: number of steps of the whole run.
    axis: the data axis of the step; None is the global view.

  Returns:
    The gradient transformation.

  Raises:
    UserError: for an unknown optimiser.
  """
  schedule = make_schedule(config, total_steps)
  if config.name == "adam":
    transform = optax.adam(schedule, config.b1, config.b2, config.eps)
    if config.weight_decay:
      # Before Adam's moments, as PyTorch's Adam does it: an L2 penalty.
      decay = optax.add_decayed_weights(config.weight_decay)
      transform = optax.chain(decay, transform)
  elif config.name == "adamw":
    transform = optax.adamw(
      schedule,
      config.b1,
      config.b2,
      config.eps,
      weight_decay=config.weight_decay,
    )
  elif config.name == "sgd":
    transform = optax.sgd(schedule, momentum=config.b1)
  else:
    raise UserError(
      f"optim.name is {config.name!r}, expected 'adam', 'adamw' or 'sgd'."
    )
  if config.clip > 0:
    transform = optax.chain(optax.clip_by_global_norm(config.clip), transform)
  if axis is None or axis.name is None:
    return transform
  # Not a chain: the optimiser's state must be the same tree as under `jit`, so
  # that a checkpoint serves both.
  return optax.GradientTransformation(
    transform.init,
    lambda grads, state, params=None: transform.update(
      axis.mean(grads), state, params
    ),
  )


def value_and_grad(
  loss: Callable[..., tuple[Float[Array, ""], tuple[PyTree, PyTree]]],
  microbatches: int = 1,
) -> Callable[
  ..., tuple[tuple[Float[Array, ""], tuple[PyTree, PyTree]], PyTree]
]:
  """Differentiates a loss that is a mean over rows, a part of them at a time.

  Only one part's activations are in memory at once. Nothing else changes: the
  result is that of the whole batch up to rounding.

  Args:
    loss: `(params, rows, *others) -> (loss, (per_row, means))`: `rows` and
      `per_row` are trees of arrays [B, ...]; the loss and `means` are means
      over rows. A loss in which rows meet (batch statistics) cannot be parted.
    microbatches: number of parts, which must divide B.

  Returns:
    A function of the loss's arguments that returns
    ((loss, (per_row, means)), gradient with respect to `params`).
  """
  gradient = jax.value_and_grad(loss, has_aux=True)
  if microbatches == 1:
    return gradient

  def call(params: PyTree, rows: PyTree, *others: Any) -> Any:
    def part(total: PyTree, x: PyTree) -> tuple[PyTree, PyTree]:
      (value, (per_row, means)), grads = gradient(params, x, *others)
      return jax.tree.map(jnp.add, total, (value, means, grads)), per_row

    # Every so many rows, not blocks of them: where the rows are split over
    # devices, each device keeps its share of every part.
    parts = jax.tree.map(
      lambda x: x.reshape(-1, microbatches, *x.shape[1:]).swapaxes(0, 1), rows
    )
    first = jax.tree.map(lambda x: x[0], parts)
    shapes = jax.eval_shape(gradient, params, first, *others)
    (value, (_, means)), grads = shapes
    zeros = jax.tree.map(
      lambda x: jnp.zeros(x.shape, x.dtype), (value, means, grads)
    )
    total, per_row = jax.lax.scan(part, zeros, parts)
    value, means, grads = jax.tree.map(lambda x: x / microbatches, total)
    per_row = jax.tree.map(
      lambda x: x.swapaxes(0, 1).reshape(-1, *x.shape[2:]), per_row
    )
    return (value, (per_row, means)), grads

  return call


def ema_update(
  ema: PyTree, params: PyTree, decay: float | Float[Array, ""]
) -> PyTree:
  """Moves an exponential moving average one step, in float32.

  Args:
    ema: the average so far.
    params: the new parameters, of the same structure.
    decay: weight of the old average, in [0, 1).

  Returns:
    decay * ema + (1 - decay) * params.
  """
  return jax.tree.map(
    lambda e, p: decay * e + (1 - decay) * p.astype(jnp.float32), ema, params
  )
