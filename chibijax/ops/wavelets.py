"""Moving and filtering pictures through wavelets' filters (ADA's appendix B).

Two symlets (Daubechies 1992), orthogonal to their own shifts by two:

* `warp` doubles the resolution with the low-pass filter of sym6, looks that up
  bilinearly, and halves it with the same filter reversed. Nothing aliases as it
  does between a picture's own pixels, and where nothing moves, all is given
  back.
* `amplify` has four bands, one octave each and the rest below them, made of
  sym2 and its own reverse, so that they are symmetric and add up to 1.

What lies outside a picture is its mirror image about the centres of its border
pixels, again and again. Pictures are floats in any range. Both are linear in
the picture.

Filters are products with matrices: on CPUs XLA takes ten times as long for the
convolutions, and for as many shifted sums it compiles for long. There, too, it
looks positions up one by one; see `_each` and `_found` for what helps.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Float32, Int

# Low-pass filters, of squares that add up to 1.
SYM2 = (
  -0.12940952255092145, 0.22414386804185735,
  0.836516303737469, 0.48296291314469025,
)  # fmt: skip
SYM6 = (
  0.015404109327027373, 0.0034907120842174702, -0.11799011114819057,
  -0.048311742585633, 0.4910559419267466, 0.787641141030194,
  0.3379294217276218, -0.07263752278646252, -0.021060292512300564,
  0.04472490177066578, 0.0017677118642428036, -0.007800708325034148,
)  # fmt: skip
BANDS = 4


def filter_bank() -> Float[np.ndarray, "4 43"]:
  """Filters of four bands, the lowest first, in cycles per pixel.

  Up to 1/16, to 1/8, to 1/4 and to 1/2, about: a signal is split in two by
  sym2, its lower half again with the filter stretched to double the length, and
  that half once more.

  Returns:
    Symmetric filters, float64; their sum is 1 in the middle and 0 elsewhere.
  """
  low = np.asarray(SYM2)
  high = low * (-1.0) ** np.arange(low.size)
  keeps, leaves = (np.convolve(x, x[::-1]) / 2 for x in (low, high))
  bank = [np.ones(1)]
  for _ in range(BANDS - 1):
    # Twice as long, then without the octave that this adds at the top.
    spread = [np.kron(x, [1.0, 0.0])[:-1] for x in bank]
    bank = [np.convolve(x, keeps) for x in spread]
    top = np.zeros(bank[0].size)
    start = (top.size - leaves.size) // 2
    top[start : start + leaves.size] = leaves
    bank.append(top)
  return np.stack(bank)


def amplify(
  image: Float[Array, "h w c"], gains: Float[Array, "4"]
) -> Float[Array, "h w c"]:
  """Makes bands of frequencies stronger or weaker, along both axes.

  Args:
    image: [H, W, C].
    gains: of the bands of `filter_bank`; what has them on both axes is
      multiplied by their product.

  Returns:
    The filtered picture.
  """
  down, across = (
    jnp.tensordot(gains, _band_matrices(side), 1, precision="highest")
    for side in image.shape[:2]
  )
  return _filtered(image.transpose(2, 0, 1), across, down).transpose(2, 1, 0)


def warp(
  images: Float[Array, "b h w c"],
  inverses: Float[Array, "b 2 3"],
  moving: Bool[Array, " b"],
) -> Float[Array, "b h w c"]:
  """Moves pictures by affine maps around their centres.

  Differentiable any number of times in reverse mode, in the pictures only: for
  gradients the maps are constants.

  Args:
    images: [B, H, W, C], sides of at least 2.
    inverses: take points of the results to points of the pictures, (x, y) in
      pixels from the centre.
    moving: which are moved. Others are given back as they are, and take next
      to no time on CPUs.

  Returns:
    The moved pictures; for the unit matrix the same but for rounding.
  """
  return _moved(images, inverses, moving)


@jax.custom_vjp
def _moved(images: Array, inverses: Array, moving: Array) -> Array:
  """What `warp` is.

  With a gradient of its own, `_returned`: XLA's would scatter each neighbour by
  itself, which takes CPUs longer than all the rest.
  """
  sides = images.shape[1:3]
  at = _samples(inverses, sides)

  def one(image: Array, *at: Array) -> Array:
    tall, wide = (_doubling(n) for n in sides)
    fine = _filtered(image.transpose(2, 0, 1), wide, tall)
    low, narrow = (_halving(n) for n in sides)
    return _filtered(_found(fine, *at), narrow, low).transpose(2, 1, 0)

  return _each(one, moving, images, at)


@jax.custom_vjp
def _returned(found: Array, inverses: Array, moving: Array) -> Array:
  """The transpose of `_moved`."""
  sides = found.shape[1:3]
  at = _samples(inverses, sides)

  def one(image: Array, *at: Array) -> Array:
    low, narrow = (_halving(n).T for n in sides)
    moved = _filtered(image.transpose(2, 1, 0), low, narrow)
    tall, wide = (_doubling(n).T for n in sides)
    fine = _spread(moved, *at, (wide.shape[1], tall.shape[1]))
    return _filtered(fine, tall, wide).transpose(1, 2, 0)

  return _each(one, moving, found, at)


def _with_maps(function: Callable[..., Array]) -> Callable[..., Any]:
  return lambda x, *maps: (function(x, *maps), maps)


_moved.defvjp(
  _with_maps(_moved), lambda maps, g: (_returned(g, *maps), None, None)
)
_returned.defvjp(
  _with_maps(_returned), lambda maps, g: (_moved(g, *maps), None, None)
)


def _each(
  function: Callable[..., Array],
  moving: Bool[Array, " b"],
  images: Float[Array, "b h w c"],
  at: tuple[Array, ...],
) -> Float[Array, "b h w c"]:
  """Applies a function to each picture that moves.

  On CPUs one after the other, so that what is fine stays in the cache; and `at`
  is computed before, because XLA would compute it again for each channel.
  """

  def one(given: tuple[Array, ...]) -> Array:
    moves, *rest = given
    return jax.lax.cond(moves, function, lambda image, *_: image, *rest)

  def together(given: tuple[Array, ...]) -> Array:
    moves, image, *rest = given
    moved = jax.vmap(function)(image, *rest)
    return jnp.where(moves[:, None, None, None], moved, image)

  return jax.lax.platform_dependent(
    (moving, images, *at),
    cpu=functools.partial(jax.lax.map, one),
    default=together,
  )


def mirrored(index: Array, side: int) -> Array:
  """Whole positions beyond a row of pixels as positions in it."""
  turn = jnp.mod(index, 2 * side - 2)
  return jnp.minimum(turn, 2 * side - 2 - turn)


# Of sym6, weighted by its taps: by so much it shifts what is smooth.
_CENTRE = float(np.arange(len(SYM6)) @ np.asarray(SYM6) / math.sqrt(2))


def _filtered(
  planes: Float[Array, "c h w"],
  across: Float[ArrayLike, "j w"],
  down: Float[ArrayLike, "i h"],
) -> Float[Array, "c j i"]:
  """Filters rows with one matrix and columns with another, and transposes."""
  rows = jnp.matmul(planes, across.T, precision="highest")
  return jnp.matmul(rows.swapaxes(1, 2), down.T, precision="highest")


def _samples(
  inverses: Float[Array, "b 2 3"], sides: tuple[int, int]
) -> tuple[Int[Array, "b m n"], Int[Array, "b m n"]]:
  """Columns and rows of the fine picture where halving needs its samples.

  Returns:
    Numbers below the period, times a power of two that `_neighbours` knows:
    one number for a whole one and a share, which always fit together. XLA may
    compute a sum in two places, and round it in two ways.
  """
  # From the picture's centre: the sooner a large number is added, the more is
  # rounded off.
  y, x = (
    (np.arange(2 * n + len(SYM6) - 2) - (n - 1 + _CENTRE)).astype(np.float32)
    for n in sides
  )
  places = []
  for row, n in zip(inverses.swapaxes(0, 1), sides[::-1], strict=True):
    # Written out: a matrix product may lose precision on accelerators.
    a, b, c = (row[:, k, None, None] for k in range(3))
    place = b * y[None, :, None] + 2 * c
    place += a * x[None, None]
    place += np.float32(n - 1 + _CENTRE)
    period = np.float32(4 * n - 4)
    place -= period * jnp.floor(place / period)
    place = jnp.clip(place, 0, np.nextafter(period, np.float32(0)))
    places.append((place * 2.0 ** _bits(4 * n - 4)).astype(jnp.int32))
  return tuple(places)


def _bits(period: int) -> int:
  """How many binary places an int32 has left for a share."""
  return 31 - period.bit_length()


def _neighbours(
  place: Int[Array, "m n"], period: int
) -> tuple[Int[Array, "m n"], Float[Array, "1 m n"]]:
  """The first of two neighbours, and the share of the second."""
  bits = _bits(period)
  share = (place & ((1 << bits) - 1)).astype(jnp.float32) * 2.0**-bits
  return place >> bits, share[None]


def _found(
  fine: Float[Array, "c j i"],
  columns: Int[Array, "m n"],
  rows: Int[Array, "m n"],
) -> Float[Array, "c m n"]:
  """Interpolates linearly between four neighbours.

  One number at a time from one long row: what XLA does fastest on CPUs.
  """
  channels, wide, tall = fine.shape
  left, across = _neighbours(columns, wide - 1)
  top, down = _neighbours(rows, tall - 1)
  first = np.arange(channels, dtype=np.int32) * (wide * tall)
  first = first[:, None, None] + (left * tall + top)[None]
  fine = fine.reshape(-1)

  def column(right: int) -> Array:
    upper, lower = (
      fine.at[first + (right * tall + below)].get(
        mode="promise_in_bounds", wrap_negative_indices=False
      )
      for below in (0, 1)
    )
    return upper * (1 - down) + lower * down

  return column(0) * (1 - across) + column(1) * across


def _spread(
  moved: Float[Array, "c m n"],
  columns: Int[Array, "m n"],
  rows: Int[Array, "m n"],
  size: tuple[int, int],
) -> Float[Array, "c j i"]:
  """The transpose of `_found`: adds to four neighbours at once."""
  left, across = _neighbours(columns, size[0] - 1)
  top, down = _neighbours(rows, size[1] - 1)
  parts = [
    jnp.stack([x * (1 - down), x * down], -1)
    for x in (moved * (1 - across), moved * across)
  ]
  return jax.lax.scatter_add(
    jnp.zeros((len(moved), *size), moved.dtype),
    jnp.stack([left, top], -1),
    jnp.stack(parts, -2),
    jax.lax.ScatterDimensionNumbers((0, 3, 4), (), (1, 2)),
    mode="promise_in_bounds",
  )


def _doubling(side: int) -> Float32[np.ndarray, "m n"]:
  """The matrix that doubles a row and its mirror image, which make a period.

  The first sample comes once more after the last, as its neighbour.
  """
  taps, period = math.sqrt(2) * np.asarray(SYM6), 2 * side - 2
  matrix = np.zeros((2 * period, side))
  pixels = np.arange(period)
  for n, tap in enumerate(taps):
    np.add.at(
      matrix,
      ((2 * pixels + n) % (2 * period), np.minimum(pixels, period - pixels)),
      tap,
    )
  return np.concatenate([matrix, matrix[:1]]).astype(np.float32)


def _halving(side: int) -> Float32[np.ndarray, "n m"]:
  """The matrix that leaves so many pixels of as many samples as they need."""
  taps = np.asarray(SYM6) / math.sqrt(2)
  matrix = np.zeros((side, 2 * side + len(taps) - 2))
  for i in range(side):
    matrix[i, 2 * i : 2 * i + len(taps)] = taps
  return matrix.astype(np.float32)


def _band_matrices(side: int) -> Float32[np.ndarray, "4 n n"]:
  """Matrices that filter a row of pixels, mirrored at its ends."""
  bank = filter_bank()
  reach = bank.shape[1] // 2
  index = np.pad(np.arange(side), reach, mode="reflect")
  matrices = np.zeros((BANDS, side, side))
  for i in range(side):
    for k, j in enumerate(index[i : i + 2 * reach + 1]):
      matrices[:, i, j] += bank[:, k]
  return matrices.astype(np.float32)
