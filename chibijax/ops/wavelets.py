"""Moving and filtering pictures through wavelets' filters (ADA's appendix B).

Two symlets (Daubechies 1992), orthogonal to their own shifts by two:

* `warp` doubles the resolution with the low-pass filter of sym6, looks that up
  bilinearly, and halves it with the same filter reversed. Nothing aliases as it
  does between a picture's own pixels, and where nothing moves, all is given
  back.
* `amplify` has four bands, one octave each and the rest below them, made of
  sym2 and its own reverse, so that they are symmetric and add up to 1.

What lies outside a picture is its mirror image about the centres of its border
pixels, again and again. Pictures are one [H, W, C] array of floats in any
range; use `jax.vmap` for batches. Both are linear in the picture.

Filters are products with matrices: on CPUs XLA takes ten times as long for the
convolutions, and for as many shifted sums it compiles for long.
"""

import math

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Float32

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
  return _applied(down, across, image)


def warp(
  image: Float[Array, "h w c"], inverse: Float[Array, "2 3"]
) -> Float[Array, "h w c"]:
  """Moves a picture by an affine map around its centre.

  Args:
    image: [H, W, C], sides of at least 2.
    inverse: takes points of the result to points of the picture, (x, y) in
      pixels from the centre.

  Returns:
    The moved picture; for the unit matrix the same but for rounding.
  """
  sides = image.shape[:2]
  fine = _applied(_doubling(sides[0]), _doubling(sides[1]), image)
  # Where the samples that halving needs lie, in pixels from the centre.
  y, x = (
    (jnp.arange(2 * n + len(SYM6) - 2) - _CENTRE) / 2 - (n - 1) / 2
    for n in sides
  )
  found = []
  for row, n in ((inverse[1], sides[0]), (inverse[0], sides[1])):
    # Written out: a matrix product may lose precision on accelerators.
    place = row[0] * x[None] + row[1] * y[:, None] + row[2] + (n - 1) / 2
    found.append(2 * place + _CENTRE)
  moved = _looked_up(fine, *found)
  return _applied(_halving(sides[0]), _halving(sides[1]), moved)


def mirrored(index: Array, side: int) -> Array:
  """Whole positions beyond a row of pixels as positions in it."""
  turn = jnp.mod(index, 2 * side - 2)
  return jnp.minimum(turn, 2 * side - 2 - turn)


# Of sym6, weighted by its taps: by so much it shifts what is smooth.
_CENTRE = float(np.arange(len(SYM6)) @ np.asarray(SYM6) / math.sqrt(2))


def _applied(
  down: Float[ArrayLike, "i h"],
  across: Float[ArrayLike, "j w"],
  image: Float[Array, "h w c"],
) -> Float[Array, "i j c"]:
  """Filters columns with one matrix and rows with another."""
  rows = jnp.einsum("ih,hwc->iwc", down, image, precision="highest")
  return jnp.einsum("jw,iwc->ijc", across, rows, precision="highest")


def _doubling(side: int) -> Float32[np.ndarray, "m n"]:
  """The matrix that doubles a row and its mirror image, which make a period."""
  taps, period = math.sqrt(2) * np.asarray(SYM6), 2 * side - 2
  matrix = np.zeros((2 * period, side))
  pixels = np.arange(period)
  for n, tap in enumerate(taps):
    np.add.at(
      matrix,
      ((2 * pixels + n) % (2 * period), np.minimum(pixels, period - pixels)),
      tap,
    )
  return matrix.astype(np.float32)


def _halving(side: int) -> Float32[np.ndarray, "n m"]:
  """The matrix that leaves so many pixels of as many samples as they need."""
  taps = np.asarray(SYM6) / math.sqrt(2)
  matrix = np.zeros((side, 2 * side + len(taps) - 2))
  for i in range(side):
    matrix[i, 2 * i : 2 * i + len(taps)] = taps
  return matrix.astype(np.float32)


def _looked_up(
  period: Float[Array, "p q c"],
  rows: Float[Array, "m n"],
  columns: Float[Array, "m n"],
) -> Float[Array, "m n c"]:
  """Interpolates what repeats for ever linearly."""
  top, left = jnp.floor(rows), jnp.floor(columns)
  down, across = (rows - top)[..., None], (columns - left)[..., None]
  height, width = period.shape[:2]
  i, j = (
    [(first.astype(jnp.int32) + k) % size for k in (0, 1)]
    for first, size in ((top, height), (left, width))
  )
  upper = period[i[0], j[0]] * (1 - across) + period[i[0], j[1]] * across
  lower = period[i[1], j[0]] * (1 - across) + period[i[1], j[1]] * across
  return upper * (1 - down) + lower * down


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
