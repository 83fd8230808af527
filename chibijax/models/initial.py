"""Random starts of the avatar's networks, drawn in one go where asked for.

XLA takes a quarter of a second on a CPU to compile each draw of another shape,
and an avatar's networks have more than a hundred: `together` makes their
initialisers take slices of a single draw.
"""

import contextvars
import math
from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray

from chibijax.models.layers import Conv

T = TypeVar("T")

# The numbers that are left to take, and how many were taken; None: draw alone.
_POOL: contextvars.ContextVar["_Pool | None"] = contextvars.ContextVar(
  "chibijax_initial_pool", default=None
)


class _Pool:
  """Normal numbers that are handed out in turn.

  Attributes:
    numbers: all of them, or None while they are only counted.
    taken: how many were handed out.
  """

  def __init__(self, numbers: Array | None) -> None:
    self.numbers = numbers
    self.taken = 0

  def take(self, count: int) -> Array:
    """The next `count` numbers."""
    first, self.taken = self.taken, self.taken + count
    if self.numbers is None:
      return jnp.zeros(count)
    return jax.lax.slice(self.numbers, (first,), (self.taken,))


def together(make: Callable[[PRNGKeyArray], T], key: PRNGKeyArray) -> T:
  """Calls `make(key)` with all draws of this module taken from one.

  Args:
    make: initialises networks; it is traced twice.
    key: typed PRNG key.

  Returns:
    What `make` returns; other numbers than it returns by itself, from the same
    distributions.
  """
  counted = _with(_Pool(None), lambda: jax.eval_shape(make, key))[1]

  @jax.jit
  def run(key: PRNGKeyArray) -> T:
    first, second = jax.random.split(key)
    numbers = jax.random.normal(first, (counted,))
    return _with(_Pool(numbers), lambda: make(second))[0]

  return run(key)


def unit(key: PRNGKeyArray, shape: tuple[int, ...]) -> Float[Array, "..."]:
  """Draws from N(0, 1).

  Args:
    key: typed PRNG key.
    shape: of the result.

  Returns:
    The numbers, float32.
  """
  pool, count = _POOL.get(), math.prod(shape)
  # Drawn flat, see `layers.init_kernel`.
  if pool is None:
    return jax.random.normal(key, (count,)).reshape(shape)
  return pool.take(count).reshape(shape)


def fan_in(gain: float) -> Callable[..., Float[Array, "..."]]:
  """An initialiser of kernels with variance gain / fan in.

  Args:
    gain: 1/3 is PyTorch's default, 1 keeps the variance of linear layers, 2 /
      (1 + a^2) that of layers before a leaky ReLU of slope a (He et al. 2015).

  Returns:
    A function of key and shape, the last axis being the outputs; a dtype may
    follow.
  """

  def init(
    key: PRNGKeyArray, shape: tuple[int, ...], _: DTypeLike = jnp.float32
  ) -> Float[Array, "..."]:
    return unit(key, shape) * math.sqrt(gain / math.prod(shape[:-1]))

  return init


def token(
  key: PRNGKeyArray, shape: tuple[int, ...], _: DTypeLike = jnp.float32
) -> Float[Array, "..."]:
  """Draws from N(0, 0.02), numbers beyond two deviations moved there.

  Args:
    key: typed PRNG key.
    shape: of the result.

  Returns:
    The numbers, float32, within [-0.04, 0.04].
  """
  return 0.02 * jnp.clip(unit(key, shape), -2.0, 2.0)


def _with(pool: _Pool, make: Callable[[], T]) -> tuple[T, int]:
  """What `make` returns with this pool, and how many numbers it took."""
  token_ = _POOL.set(pool)
  try:
    return make(), pool.taken
  finally:
    _POOL.reset(token_)


def conv(
  features: int,
  size: int,
  dtype: DTypeLike,
  name: str,
  *,
  use_bias: bool = True,
) -> Conv:
  """A convolution that keeps the size, drawn as PyTorch draws it.

  Args:
    features: channels of its result.
    size: side of the kernel, odd.
    dtype: compute dtype.
    name: of the module.
    use_bias: whether it has one.
  """
  return Conv(
    features,
    size,
    padding=size // 2,
    use_bias=use_bias,
    init_kernel=fan_in(1 / 3),
    dtype=dtype,
    name=name,
  )
