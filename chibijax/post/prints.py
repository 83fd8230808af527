"""Whole-picture looks: glitch, halftone, two colours, poster, pixel art.

Conventions as in `post.tones`: [0, 1], alpha kept, strength 0 is the picture
itself. Colours are sRGB hex.
"""

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from jaxtyping import Float, Float32, Int

from chibijax.artist import palette as named
from chibijax.ops.image import LUMA
from chibijax.post import palette
from chibijax.post.color import srgb_to_oklab
from chibijax.post.smooth import Picture
from chibijax.post.tones import Result, begin

Number: TypeAlias = float | int

# Ink to paper; the last three are the lights of the face.
POSTER = ("#0b2c49", "#cf2a2e", "#6f9ea6", "#f6e3b0")
DOTS = "#2b1a38"
DUOTONE = ("#2b1a55", "#ffb28a")
_LUMA = np.array(LUMA, np.float32)


def glitch(image: Picture, *, strength: Number = 0.5, seed: int = 0) -> Result:
  """Breaks a picture like a bad signal: split channels, torn blocks, lines.

  Args:
    image: [0, 1]; alpha is kept where it is.
    strength: how badly, [0, 1].
    seed: of where it tears.

  Returns:
    The picture.

  Raises:
    ValueError: if an argument is not as described.
  """
  result = begin(image, strength)
  if strength == 0:
    return result
  height, width = result.shape[:2]
  rng = np.random.default_rng(seed)
  shift = np.zeros(height, np.int64)
  for _ in range(2 + round(7 * strength)):
    tall = max(1, int(height * rng.uniform(0.008, 0.06)))
    top = int(rng.integers(0, max(1, height - tall)))
    shift[top : top + tall] += round(
      width * strength * float(rng.uniform(-0.09, 0.09))
    )
  split = max(1, round(0.014 * strength * width))
  columns = np.arange(width)[None]
  rows = np.arange(height)[:, None]
  source = result[..., :3].copy()
  for channel, offset in enumerate((split, 0, -split)):
    # In torn rows the colours part further.
    moved = columns + shift[:, None] + offset + (shift[:, None] != 0) * offset
    result[..., channel] = source[rows, np.clip(moved, 0, width - 1), channel]
  period = max(2, round(height / 170))
  dark = np.where(
    np.arange(height) % period < period / 2, 1, 1 - 0.22 * strength
  )
  noise = rng.uniform(1 - 0.06 * strength, 1, height)
  result[..., :3] *= (dark * noise).astype(np.float32)[:, None, None]
  for _ in range(round(3 * strength)):
    tall = max(1, height // 160)
    top = int(rng.integers(0, max(1, height - tall)))
    band = result[top : top + tall, :, :3]
    band += 0.35 * (np.float32([0.3, 1.0, 0.95]) - band)
  return np.clip(result, 0, 1)


def halftone(
  image: Picture,
  *,
  strength: Number = 0.6,
  size: Number = 1.0,
  color: str = DOTS,
  angle: Number = 30.0,
) -> Result:
  """Prints shadows as dots of ink, as comics do.

  Args:
    image: [0, 1]; its colours stay below the dots.
    strength: opacity of the ink, [0, 1].
    size: of the grid; 1 is 1/80 of the longer side; [0.3, 5].
    color: of the ink.
    angle: of the grid in degrees.

  Returns:
    The picture.

  Raises:
    ValueError: if an argument is not as described.
  """
  result = begin(image, strength)
  if not 0.3 <= size <= 5:
    raise ValueError(f"size must be in [0.3, 5]; got {size!r}")
  pen = np.array(named.rgb(color), np.float32) / 255
  if strength == 0:
    return result
  rgb = result[..., :3]
  pitch = max(3.0, size * max(result.shape[:2]) / 80)
  dark = np.clip(0.78 - 1.3 * (rgb @ _LUMA), 0, 0.66)
  share = strength * _dots(dark, pitch, angle)[..., None]
  rgb += share * (rgb * pen * 0.6 + 0.4 * pen - rgb)
  return np.clip(result, 0, 1)


def _dots(
  dark: Float32[np.ndarray, "h w"], pitch: float, angle: Number
) -> Float32[np.ndarray, "h w"]:
  """Ink of dots whose area is `dark`, edges a pixel wide."""
  height, width = dark.shape
  c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
  x = (np.arange(width, dtype=np.float32) + 0.5) / pitch
  y = (np.arange(height, dtype=np.float32)[:, None] + 0.5) / pitch
  u, v = c * x + s * y, c * y - s * x
  u, v = u - np.floor(u) - 0.5, v - np.floor(v) - 0.5
  far = np.sqrt(u * u + v * v)
  radius = np.sqrt(dark / np.float32(math.pi))
  return np.clip((radius - far) * np.float32(pitch) + 0.5, 0, 1) * (dark > 0)


def duotone(
  image: Picture,
  *,
  strength: Number = 1.0,
  colors: Sequence[str] = DUOTONE,
) -> Result:
  """Maps light to a ramp of colours, dark to light.

  Args:
    image: [0, 1].
    strength: share of the result, [0, 1].
    colors: two to eight, evenly spaced on the ramp.

  Returns:
    The picture.

  Raises:
    ValueError: if an argument is not as described.
  """
  result = begin(image, strength)
  ramp = _ramp(colors)
  if strength == 0:
    return result
  light = _stretched(result)
  index = np.clip(light * (len(ramp) - 1), 0, len(ramp) - 1)
  found = ramp[np.rint(index).astype(int)]
  result[..., :3] += strength * (found - result[..., :3])
  return result


def _ramp(colors: Sequence[str]) -> Float32[np.ndarray, "n 3"]:
  """256 colours between the given ones, mixed in OKLab."""
  if not 2 <= len(colors) <= 8:
    raise ValueError(f"a ramp needs 2 to 8 colours; got {len(colors)}")
  table = []
  for step in np.linspace(0, len(colors) - 1, 256):
    low = min(int(step), len(colors) - 2)
    mixed = named.mix(colors[low], colors[low + 1], round(step - low, 4))
    table.append(named.rgb(mixed))
  return np.array(table, np.float32) / 255


def _stretched(image: Result) -> Float32[np.ndarray, "h w"]:
  """Luma with its 2nd and 98th percentile at 0 and 1."""
  light = image[..., :3] @ _LUMA
  seen = light[::4, ::4]
  if image.shape[-1] == 4:
    opaque = image[::4, ::4, 3] > 0.5
    seen = seen[opaque] if opaque.any() else seen
  low, high = np.quantile(seen, (0.02, 0.98))
  scale = np.float32(1 / max(high - low, 0.05))
  return np.clip((light - np.float32(low)) * scale, 0, 1)


def poster(
  image: Picture,
  *,
  strength: Number = 1.0,
  colors: Sequence[str] = POSTER,
  face: Float[np.ndarray, "h w"] | None = None,
) -> Result:
  """Prints a picture as a street poster: few inks, striped half-tones.

  Each pixel gets the ink of its lightness, at levels that give each ink a
  fair share of the picture; on the boundary between two inks, stripes of both.

  Args:
    image: [0, 1], best smoothed before.
    strength: share of the result, [0, 1].
    colors: two to eight inks, dark to light.
    face: how much of a pixel is the face, [0, 1]: the levels then suit it, so
      that skin of any tone is printed in the lighter inks.

  Returns:
    The picture.

  Raises:
    ValueError: if an argument is not as described.
  """
  result = begin(image, strength)
  if not 2 <= len(colors) <= 8:
    raise ValueError(f"a poster needs 2 to 8 colours; got {len(colors)}")
  inks = np.array([named.rgb(c) for c in colors], np.float32) / 255
  if strength == 0:
    return result
  height = result.shape[0]
  light = _stretched(result)
  # Between equal steps of light and equal areas.
  even = np.linspace(0, 1, len(inks) + 1)[1:-1]
  cuts = 0.5 * (even + np.quantile(light[::4, ::4], even))
  if face is not None and (inside := light[face > 0.5]).size:
    # A face is lighter than its darkest ink nearly everywhere.
    cuts = np.quantile(inside, 0.75 * even**1.5)
  period = max(4.0, height / 64)
  wave = np.abs((np.arange(height) + 0.5) / period % 1 - 0.5) * 4 - 1
  found = np.broadcast_to(inks[0], result[..., :3].shape).copy()
  soft = np.float32(0.02)
  for level, (cut, pen) in enumerate(zip(cuts, inks[1:])):
    # Only the lightest boundary is striped: elsewhere it would be noise.
    reach = 0.07 if level == len(cuts) - 1 else 0.0
    edge = (light - cut + reach * wave[:, None]) / soft + 0.5
    share = np.clip(edge, 0, 1).astype(np.float32)[..., None]
    found += share * (pen - found)
  result[..., :3] += strength * (found - result[..., :3])
  return result


def pixels(
  image: Picture,
  *,
  size: int = 64,
  count: int = 24,
  strength: Number = 1.0,
  seed: int = 0,
) -> Result:
  """Makes pixel art: few large squares in few colours.

  Args:
    image: [0, 1]; alpha becomes blocky, too, and is not dithered.
    size: squares along the longer side, 8..256.
    count: colours, 2..64.
    strength: share of the result, [0, 1].
    seed: of the choice of colours.

  Returns:
    The picture, in its old size.

  Raises:
    ValueError: if an argument is not as described.
  """
  result = begin(image, strength)
  if not 8 <= size <= 256:
    raise ValueError(f"size must be in [8, 256]; got {size!r}")
  if not 2 <= count <= palette.MAX_COLORS:
    raise ValueError(f"count must be in [2, 64]; got {count!r}")
  if strength == 0:
    return result
  height, width = result.shape[:2]
  side = max(height, width)
  rows = np.arange(height) * min(size, side) // side
  columns = np.arange(width) * min(size, side) // side
  small = _means(result, rows, columns)
  flat = _nearest(small, palette.fit(small, count, seed=seed))
  found = flat[rows[:, None], columns[None]]
  result[..., :3] *= 1 - strength
  result[..., :3] += strength * found
  return result


def _means(
  image: Result, rows: Int[np.ndarray, " h"], columns: Int[np.ndarray, " w"]
) -> Float32[np.ndarray, "h2 w2 c"]:
  """Means of the blocks that share a row and a column, sharpened."""
  premultiplied = image[..., :3]
  if image.shape[-1] == 4:
    premultiplied = np.concatenate(
      [premultiplied * image[..., 3:], image[..., 3:]], -1
    )
  edges = [
    np.flatnonzero(np.diff(index, prepend=-1)) for index in (rows, columns)
  ]
  sums = np.add.reduceat(premultiplied, edges[0], axis=0)
  sums = np.add.reduceat(sums, edges[1], axis=1)
  counts = np.bincount(rows)[:, None] * np.bincount(columns)[None]
  means = (sums / counts[..., None]).astype(np.float32)
  if image.shape[-1] == 4:
    means[..., :3] /= np.maximum(means[..., 3:], 1e-3)
  light = means[..., :3] @ _LUMA
  padded = np.pad(light, 1, mode="edge")
  around = sum(
    padded[i : i + light.shape[0], j : j + light.shape[1]]
    for i in range(3)
    for j in range(3)
  )
  # Sharpened: eyes and outlines survive the reduction.
  means[..., :3] += 0.5 * (light - around / 9)[..., None]
  return np.clip(means, 0, 1)


def _nearest(
  image: Float32[np.ndarray, "h w c"], colors: Float[np.ndarray, "n 3"]
) -> Float32[np.ndarray, "h w 3"]:
  """Each pixel's nearest colour."""
  lab = np.asarray(srgb_to_oklab(image[..., :3]))
  cost = ((lab[:, :, None] - colors[None, None]) ** 2).sum(-1)
  hexes = [named.from_oklab(*map(float, color)) for color in colors]
  inks = np.array([named.rgb(h) for h in hexes], np.float32) / 255
  return inks[cost.argmin(-1)]
