"""Alarms for what goes wrong in translated pictures.

Checkerboards of upsampling layers, colours turned inside out, and flicker when
the crop moves. Each is one number an example, with the bound beyond which it is
an alarm; bounds are ours.
"""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from chibijax.ops import image as image_ops

# Decibels. One picture's spectrum is as noisy as the picture: white noise gets
# to 15 once in 200 pictures. In the mean over a set that goes away.
CHECKERBOARD_ALARM = 16.0
CHECKERBOARD_SET_ALARM = 6.0
# Luminance correlation of input and output.
INVERSION_ALARM = -0.3
# Neighbouring frequencies that a peak is compared with, on each side.
_AROUND = 6
_NEAR = 1
# Periods in pixels along an axis: strides of upsampling layers.
_PERIODS = (2, 4)


def checkerboard(
  images: Float[np.ndarray, "n h w 3"],
) -> Float[np.ndarray, " n"]:
  """How far a regular pattern of period 2 or 4 pixels stands out of a picture.

  The power spectrum of the luma (Hann window) at the frequencies 1/2 and 1/4 of
  each axis, and where they meet, over the median of the frequencies around
  them. What an upsampling layer's uneven overlap adds everywhere is such a peak
  (Odena et al. 2016).

  Args:
    images: pictures in [0, 1], at least 32 pixels a side.

  Returns:
    The highest of the peaks in decibels; above `CHECKERBOARD_ALARM` is an
    alarm.

  Raises:
    ValueError: if the pictures are smaller.
  """
  return _peaks(_decibels(images))


def checkerboard_of_set(images: Float[np.ndarray, "n h w 3"]) -> float:
  """The same of the mean spectrum (in decibels) of a set.

  Far more sensitive: what is in all pictures stays, all else evens out.

  Args:
    images: pictures in [0, 1], at least 32 pixels a side; 16 or more.

  Returns:
    The highest peak in decibels; above `CHECKERBOARD_SET_ALARM` is an alarm.

  Raises:
    ValueError: if the pictures are smaller.
  """
  return float(_peaks(_decibels(images).mean(0, keepdims=True))[0])


def _decibels(images: np.ndarray) -> Float[np.ndarray, "n h2 w2"]:
  """Spectra of the luma; sides cut to multiples of 4, for exact bins."""
  if min(images.shape[1:3]) < 32:
    raise ValueError(
      f"The spectrum needs 32 pixels a side, got {images.shape[1:3]}."
    )
  h, w = (n // 4 * 4 for n in images.shape[1:3])
  luma = np.asarray(
    np.tensordot(images[:, :h, :w], np.array(image_ops.LUMA), 1), np.float64
  )
  luma = luma - luma.mean((1, 2), keepdims=True)
  window = np.outer(np.hanning(h + 1)[:-1], np.hanning(w + 1)[:-1])
  power = np.abs(np.fft.fft2(luma * window)) ** 2
  # An eighth of a grey level: rounding of flat pictures is no pattern.
  return 10 * np.log10(power + (0.125 / 255) ** 2 * (window**2).sum())


def _peaks(spectra: np.ndarray) -> Float[np.ndarray, " n"]:
  _, h, w = spectra.shape
  return np.max(
    [
      _peak(spectra, row, column)
      for row in (0, *(h // p for p in _PERIODS))
      for column in (0, *(w // p for p in _PERIODS))
      if row or column
    ],
    0,
  )


def _peak(
  spectra: np.ndarray, row: int, column: int
) -> Float[np.ndarray, " n"]:
  """Decibels of a frequency above the median of those around it."""
  reach = np.arange(-_AROUND, _AROUND + 1)
  rows, columns = np.meshgrid(reach, reach, indexing="ij")
  # On an axis a picture's own spectrum is a ridge: compare along it.
  ring = np.maximum(abs(rows), abs(columns)) > _NEAR
  if row == 0:
    ring &= rows == 0
  if column == 0:
    ring &= columns == 0
  _, h, w = spectra.shape
  around = spectra[:, (row + rows[ring]) % h, (column + columns[ring]) % w]
  return spectra[:, row, column] - np.median(around, 1)


def inversion(
  inputs: Float[np.ndarray, "n h w 3"], outputs: Float[np.ndarray, "n h w 3"]
) -> Float[np.ndarray, " n"]:
  """Luminance correlation of inputs and outputs.

  Args:
    inputs: pictures in any range.
    outputs: what became of them, of the same shape.

  Returns:
    In [-1, 1]; below `INVERSION_ALARM` light has become dark.
  """
  return np.asarray(
    image_ops.luminance_correlation(
      jnp.asarray(inputs, jnp.float32), jnp.asarray(outputs, jnp.float32)
    )
  )


def flicker(
  translate: Callable[[Array], Array],
  images: Float[Array, "n h w 3"],
  *,
  shift: int = 8,
  border: int = 8,
) -> Float[np.ndarray, " n"]:
  """How much a result changes when only the crop moves.

  A stand-in for video without video (VToonify's consistency loss): the picture
  is cut at the top left and `shift` pixels further, both are translated, and
  what both show is compared.

  Args:
    translate: pictures [n, h, w, 3] to pictures of the same shape.
    images: what it takes, in a range of width 2 ([-1, 1]).
    shift: pixels the crop moves by, down and to the right.
    border: pixels left out all around, where the network sees the edge.

  Returns:
    Root mean square difference as a share of the range: 0 is steady.

  Raises:
    ValueError: if nothing of the pictures remains.
  """
  h, w = (n - shift for n in images.shape[1:3])
  if min(h, w) - shift - 2 * border < 1:
    raise ValueError(
      f"Pictures of {images.shape[1:3]} are too small for a shift of {shift} "
      f"and a border of {border}."
    )
  first = np.asarray(translate(images[:, :h, :w]), np.float64)
  second = np.asarray(translate(images[:, shift:, shift:]), np.float64)
  inner = slice(border, -border or None)
  a = first[:, shift:, shift:][:, inner, inner]
  b = second[:, : h - shift, : w - shift][:, inner, inner]
  return np.sqrt(((a - b) ** 2).mean((1, 2, 3))) / 2
