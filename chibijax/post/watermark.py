"""An invisible mark of 16 bits in a picture, which a copy keeps.

The mark lives in how a few hundred projections of the picture are rounded:
spread-transform dither modulation (Chen and Wornell 2001, "Quantization index
modulation"). Each projection is onto a smooth, local, zero-mean wave, defined
over the unit square rather than over pixels, so a resized copy has the same
projections and needs no search. A bit is one of two interleaved lattices of
step Δ, shifted by a dither; the mark is a small change that moves the
projections onto their lattices, at places that can take it. The picture itself
does not disturb the reading, as it does with spread-spectrum marks, which is
what makes 50 dB enough.

The 16 bits are a word of the Reed-Muller code RM(2, 5): 32 bits, any two words
at least 8 apart. Each bit rides on about 12 waves all over the picture, and is
decoded by maximum likelihood over all 65536 words. The dither is no secret: the
mark tells honest people what a picture is, and does not resist removal.

Units: projections are in levels (0..255) of a picture of 128 x 128 pixels,
whatever the size. A picture with transparency is read over white, as it will be
seen when it becomes a JPEG.

False alarms: for a picture without a mark the phases are uniform over the
choice of the dither, and E exp(t cos φ) = I0(t) <= exp(t²/4), so that a score
of z standard deviations has a chance of at most exp(-z²/2) for one word and one
way of looking. `Watermark.p_value` multiplies that by both numbers; it must be
below a millionth at one of at most three stages of looking.
"""

import functools
import math
from typing import TypeAlias

import numpy as np
from jaxtyping import Float32, UInt8

from chibijax.post import watermark_code as code
from chibijax.post import watermark_crop
from chibijax.post.watermark_code import PAYLOAD_BITS, Watermark

Picture: TypeAlias = UInt8[np.ndarray, "height width channels"]

MIN_SIDE, MIN_READ = 64, 32  # pixels, to write and to read
# Lattice steps at strength 1 by the least side they are for, of a square with
# the area that is not transparent: JPEG's error per wave falls as pictures
# grow, and so can the mark; where little is seen, fewer waves must do. A reader
# does not know the original's size and tries each.
STEPS = ((400, 11.0), (200, 18.0), (0, 28.0))
_ITERATIONS = 6
# Share of a wave's energy that must not be transparent.
_LEAST_SHOWN = 0.2
# What is read, Y + Cb / 4 in BT.601, and what is written, the change of RGB
# that moves it by 1: part of it as blue against yellow, which is seen a third
# as well as luma on flat colours, and which JPEG keeps half as well.
_READ = np.array([0.2568, 0.5043, 0.2389], np.float32)
_WRITE = np.array([0.82, 0.57, 2.10], np.float32)
# Brightness changes that are tried when the plain reading finds nothing.
_GAINS = (0.85, 0.875, 0.9, 0.925, 0.95, 0.975, 1.025, 1.05, 1.075, 1.1, 1.15)


def embed(image: Picture, payload: int, *, strength: float = 1.0) -> Picture:
  """Marks a picture.

  Args:
    image: sRGB of 3 or, with straight alpha, 4 channels, at least 64 pixels a
      side. Where alpha is 0 nothing is changed; alpha never is.
    payload: 0..65535.
    strength: multiplies the lattice step. At 1 the change is 52 dB below the
      picture from 400 pixels on, 47 dB from 200 on, and 43 dB below that;
      `detect` must be told any other.

  Returns:
    The marked picture, of the same shape.

  Raises:
    ValueError: if an argument is out of range.
  """
  _check(image, strength)
  if not 0 <= payload < 1 << PAYLOAD_BITS:
    raise ValueError(f"payload must be 0..65535, got {payload}.")
  height, width, channels = image.shape
  rows, columns = _waves(height), _waves(width)
  color = image[..., :3].astype(np.float32)
  cover = None
  if channels == 4:
    cover = image[..., 3].astype(np.float32) / 255
  area = height * width if cover is None else float(cover.sum())
  step = strength * next(step for side, step in STEPS if area >= side**2)
  target = _nearest(_project(_luma(color, cover), rows, columns), payload, step)
  freedom = _freedom(_luma(color, cover), cover)
  wanted = np.float32(1)
  if cover is not None:
    # Waves that hardly show cannot be moved, and are left alone.
    shown = _project(cover, rows**2, columns**2) * np.float32(
      math.sqrt(cover.size) / code.GRID
    )
    wanted = (shown > _LEAST_SHOWN).astype(np.float32)
  # Alternating projections: put the missing part where it can be seen least,
  # then keep what 8-bit colours can show, and measure again.
  change = np.zeros((height, width), np.float32)
  marked = color
  for _ in range(_ITERATIONS):
    error = target - _project(_luma(marked, cover), rows, columns)
    error *= wanted
    if np.abs(error).max() < 0.05 * step:
      break
    change += freedom * _synthesize(error, rows, columns)
    np.clip(change, -step / 2, step / 2, out=change)
    marked = np.clip(color + change[..., None] * _WRITE, 0, 255)
  result = image.copy()
  result[..., :3] = np.rint(marked)
  if channels == 4:
    result[image[..., 3] == 0] = image[image[..., 3] == 0]
  return result


def detect(
  image: Picture, *, strength: float = 1.0, search: bool = False
) -> Watermark:
  """Reads the mark of a picture, if there is one.

  Args:
    image: sRGB of 3 or 4 channels (straight alpha, read over white), of any
      size from 32 pixels a side: the marked one or a resized copy of it.
    strength: what `embed` was told.
    search: also look for a picture of which up to 15 % of the sides was cut
      off, which takes some tenths of a second.

  Returns:
    What was read.

  Raises:
    ValueError: if an argument is out of range.
  """
  _check(image, strength, MIN_READ)
  luma = _flat_luma(image)
  steps = [strength * step for _, step in STEPS]
  values = _project(luma, _waves(luma.shape[0]), _waves(luma.shape[1]))
  ways = np.stack([code.votes_of(values, step) for step in steps])
  best = code.decide(code.strongest(ways), None, len(steps))
  if not best.found:
    ways = [code.votes_of(values / g, step) for g in _GAINS for step in steps]
    looks = len(ways) + len(steps)
    best = code.better(
      best, code.decide(code.strongest(np.stack(ways)), None, looks)
    )
  if search and not best.found:
    best = code.better(best, watermark_crop.search(luma, steps, looks))
  return best


def _check(image: Picture, strength: float, least: int = MIN_SIDE) -> None:
  if image.ndim != 3 or image.shape[2] not in (3, 4):
    raise ValueError(f"image must have 3 or 4 channels, got {image.shape}.")
  if min(image.shape[:2]) < least:
    raise ValueError(
      f"image must have at least {least} pixels a side, got {image.shape}."
    )
  if not 0.1 <= strength <= 4:
    raise ValueError(f"strength must be 0.1..4, got {strength}.")


def _luma(
  color: Float32[np.ndarray, "h w 3"], cover: Float32[np.ndarray, "h w"] | None
) -> Float32[np.ndarray, "h w"]:
  """What is read, over white where the picture is transparent, less 255."""
  luma = color @ _READ - 255
  return luma if cover is None else luma * cover


def _flat_luma(image: Picture) -> Float32[np.ndarray, "h w"]:
  cover = None
  if image.shape[2] == 4:
    cover = image[..., 3].astype(np.float32) / 255
  return _luma(image[..., :3].astype(np.float32), cover)


@functools.lru_cache(maxsize=16)
def _waves(size: int) -> Float32[np.ndarray, "waves size"]:
  """The waves at the pixel centres of a side, scaled to the 128-pixel grid."""
  at = (np.arange(size) + 0.5) / size
  return np.asarray(
    code.wave_values(at) * math.sqrt(code.GRID / size), np.float32
  )


def _project(
  luma: Float32[np.ndarray, "h w"],
  rows: Float32[np.ndarray, "waves h"],
  columns: Float32[np.ndarray, "waves w"],
) -> Float32[np.ndarray, "carriers"]:
  layout = code.carriers()
  scale = code.GRID / math.sqrt(luma.size)
  values = rows @ (luma @ columns.T)
  return values[layout.rows, layout.columns] * np.float32(scale)


def _synthesize(
  values: Float32[np.ndarray, "carriers"],
  rows: Float32[np.ndarray, "waves h"],
  columns: Float32[np.ndarray, "waves w"],
) -> Float32[np.ndarray, "h w"]:
  layout = code.carriers()
  table = np.zeros((len(rows), len(columns)), np.float32)
  table[layout.rows, layout.columns] = values
  scale = math.sqrt(rows.shape[1] * columns.shape[1]) / code.GRID
  return (rows.T @ (table @ columns)) * np.float32(scale)


def _freedom(
  luma: Float32[np.ndarray, "h w"], cover: Float32[np.ndarray, "h w"] | None
) -> Float32[np.ndarray, "h w"]:
  """Where a change hides: 0.7 on flat colours to 1.3 on lines and texture."""
  cell = max(luma.shape) // 64 or 1
  busy = np.abs(np.diff(luma, axis=1, append=luma[:, -1:]))
  busy += np.abs(np.diff(luma, axis=0, append=luma[-1:]))
  height, width = (n // cell * cell for n in luma.shape)
  cells = busy[:height, :width].reshape(
    height // cell, cell, width // cell, cell
  )
  weight = 0.7 + 0.6 * np.clip(cells.mean((1, 3)) / 8, 0, 1)
  weight = weight.astype(np.float32)
  smooth = _interpolation(luma.shape[0], cell) @ weight
  smooth = smooth @ _interpolation(luma.shape[1], cell).T
  return smooth if cover is None else smooth * cover


@functools.lru_cache(maxsize=8)
def _interpolation(size: int, cell: int) -> Float32[np.ndarray, "size cells"]:
  """Linear interpolation from cell centres to pixels."""
  count = size // cell
  at = np.clip((np.arange(size) + 0.5) / cell - 0.5, 0, count - 1)
  distance = np.abs(at[:, None] - np.arange(count)[None])
  return np.maximum(0, 1 - distance).astype(np.float32)


def _nearest(
  values: Float32[np.ndarray, "carriers"], payload: int, step: float
) -> Float32[np.ndarray, "carriers"]:
  """The nearest lattice points that spell the payload."""
  layout = code.carriers()
  signs = code.encode(payload)[layout.bits]
  offset = (layout.dither + np.where(signs > 0, 0, 0.5)) * step
  points = np.rint((values - offset) / step) * step + offset
  return points.astype(np.float32)
