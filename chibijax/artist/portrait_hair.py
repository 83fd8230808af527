"""Hair of a portrait: coverage, strand texture and volume of every style.

The flow of a style is a coordinate `s` that runs across the strands, so noise
of `s` is streaks along them. Coordinates are face units (`portrait_canvas`).
"""

import dataclasses

import numpy as np
from jaxtyping import Float32

from chibijax.artist import portrait_styles as styles
from chibijax.artist.attributes import Attributes
from chibijax.artist.portrait_canvas import Canvas, Grid, mirror
from chibijax.artist.portrait_filter import (
  gaussian_blur,
  strand_noise,
  value_noise,
)
from chibijax.artist.portrait_geometry import Face
from chibijax.artist.portrait_shading import smoothstep
from chibijax.artist.portrait_styles import STYLES, Style


@dataclasses.dataclass
class Hair:
  """Hair as layers for the shading.

  Attributes:
    front: coverage before the face.
    back: coverage behind head and body.
    shade: relative brightness of the strands, around 1.
    height: height field of the hair in front.
    back_height: height field of the hair behind.
    tangent: in-plane direction of the strands.
  """

  front: Float32[np.ndarray, "h w"]
  back: Float32[np.ndarray, "h w"]
  shade: Float32[np.ndarray, "h w"]
  height: Float32[np.ndarray, "h w"]
  back_height: Float32[np.ndarray, "h w"]
  tangent: Float32[np.ndarray, "2 h w"]


def build_hair(
  face: Face,
  a: Attributes,
  canvas: Canvas,
  g: Grid,
  rng: np.random.Generator,
) -> Hair | None:
  """Draws the hair of `a.hair_style`; None where there is none."""
  style = STYLES[a.hair_style]
  if a.hair_volume:
    stand = 1 + 0.4 * a.hair_volume
    style = dataclasses.replace(
      style, top=style.top * stand, side=style.side * stand
    )
  if a.parting:
    style = dataclasses.replace(style, part=0.55 * a.parting)
  if style.opacity == 0 or a.headwear in ("hijab", "turban"):
    return None
  if style.flow == "curl" and style.top > 0.2:
    front, back = styles.cloud(style)
  else:
    front, back = [styles.cap(face, style)], styles.behind(style, face)
    if style.length:
      front += styles.curtains(face, style, a)
  fringe = styles.fringe(a.fringe, style)
  front += [mirror(f) for f in fringe] if a.parting < 0 else fringe
  more = styles.in_front(style)
  s, tangent = _flow(style, g, rng)
  streaks = _streaks(style, s, g, rng)
  edge, rough = 0.042 + 0.02 * style.rough, 0.4 + style.rough
  if style.opacity == 1:
    cover = _ragged(canvas.mask(*front, *more, blur=edge), streaks, rough)
  else:
    cover = _ragged(canvas.mask(*front, blur=edge), streaks, rough)
    cover *= np.float32(style.opacity)
    if more:
      crest = _ragged(canvas.mask(*more, blur=0.03), streaks, style.rough)
      cover = np.maximum(cover, crest)
  shade = np.exp(0.34 * streaks - 0.08)
  height = _volume(style, face, g) + 0.030 * streaks
  rounded = gaussian_blur(cover, 0.08 / g.pixel)
  height += 0.30 * rounded - 0.30
  if style.extra == "braids":
    turn = np.sin(np.pi * (g.v - styles.BRAID_TOP) / styles.BRAID_STEP)
    knots = np.where(g.v > styles.BRAID_TOP, np.abs(turn), 0.85)
    height += 0.06 * knots
    shade *= 0.62 + 0.45 * knots
  # Deep between the locks, at the roots and under the hair it is darker.
  shade *= 0.72 + 0.28 * rounded
  hair = Hair(cover, np.zeros_like(cover), shade, height, height, tangent)
  if back:
    hair.back = _ragged(canvas.mask(*back, blur=edge), streaks, rough)
    rounded = 0.55 * gaussian_blur(hair.back, 0.10 / g.pixel) - 1.1
    hair.back_height = rounded + 0.03 * streaks
  return hair


def _flow(
  style: Style, g: Grid, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
  """Coordinate across the strands, and the direction along them."""
  if style.flow in ("fall", "back"):
    spread = np.sqrt(np.clip((g.v + 2.0) / 1.9, 0.03, 1.15))
    center = style.part * (1 - np.clip((g.v + 1.7) / 1.7, 0, 1))
    s = (g.u - center) / spread
  elif style.flow == "part":
    # Strands sweep sideways from the parting and fall off beyond it.
    du, dv = g.u - style.part, g.v + 1.25
    s = np.hypot(du * 0.55, dv + 0.55 * np.abs(du)) * 1.5
    s = s + 0.25 * g.u
  elif style.flow == "up":
    s = 0.9 * np.arctan2(g.u, -(g.v + 0.1) + 1e-3)
  else:
    s = g.u + 0 * g.v
  size = g.size
  s = np.broadcast_to(s, (size, size)).astype(np.float32)
  if style.curl:
    warp = value_noise(rng, 9, size)[0]
    phase = g.v * (9 if style.flow != "curl" else 14) + 2.2 * warp
    s = s + np.float32(style.curl) * np.sin(phase + 2 * np.sign(g.u))
    s = s + 0.35 * np.float32(style.curl) * warp
  if style.flow == "curl":
    return s, np.zeros((2, size, size), np.float32)
  along = np.empty((2, size, size), np.float32)
  # Turned by a right angle against the gradient of s.
  np.subtract(s[:-2], s[2:], out=along[0, 1:-1])
  np.subtract(s[:, 2:], s[:, :-2], out=along[1, :, 1:-1])
  along[0, [0, -1]] = along[0, [1, -2]]
  along[1, :, [0, -1]] = along[1, :, [1, -2]]
  x, y = along
  along *= 1 / (np.sqrt(x * x + y * y) + 2e-6)
  return s, along


def _streaks(
  style: Style, s: np.ndarray, g: Grid, rng: np.random.Generator
) -> np.ndarray:
  """Zero-mean strand texture: locks, strands and single hairs."""
  shift = rng.uniform(0, 900, 3).astype(np.float32)
  if style.flow == "curl":
    n = 0.5 * value_noise(rng, 30, g.size)[0]
    n += 0.9 * value_noise(rng, 66, g.size)[0]
    n += 0.8 * value_noise(rng, 110, g.size)[0]
    if style.curl == 0:
      n = 0.5 * value_noise(rng, 90, g.size)[0]
    return 1.3 * n.astype(np.float32)
  out = 0.50 * strand_noise(s + shift[0], 5.0, 1)
  # Strands finer than two pixels would only alias.
  out += 0.70 * strand_noise(s + shift[1], min(14.0, 0.4 / g.pixel), 2)
  if g.size >= 160:
    wavy = s + shift[2] + np.float32(0.03) * np.sin(3 * g.v)
    out += 0.55 * strand_noise(wavy, min(45.0, 0.4 / g.pixel), 3)
  # Strands are not equally bright along their length.
  along = value_noise(rng, 10, g.size)[0]
  return out * (0.85 + 0.25 * along) + 0.25 * along


def _ragged(cover: np.ndarray, streaks: np.ndarray, rough: float) -> np.ndarray:
  """Sharpens a blurred coverage so that its edge follows the strands."""
  near = 4 * cover * (1 - cover)
  return smoothstep(
    0.28, 0.72, cover + near * streaks * np.float32(0.22 * rough)
  )


def _volume(style: Style, face: Face, g: Grid) -> np.ndarray:
  """Rounded height of the hair mass: a dome above, columns beside the face."""
  half = float(face.half_width.max())
  wide = np.float32(half + style.side + 0.06)
  tall = np.float32(1.32 + style.top)
  up = np.minimum(g.v + 0.33, 0) / tall
  q = np.clip((g.u / wide) ** 2 + up * up, 0, 0.995)
  dome = np.sqrt(1 - q) * 1.18
  # Beside the face the hair is a rounded curtain.
  column = np.clip(1 - ((np.abs(g.u) - 1.12) / 0.42) ** 2, 0.0, 1)
  curtain = 0.30 + 0.38 * np.sqrt(column)
  low = smoothstep(-0.5, 0.6, g.v)
  return (dome * (1 - low) + np.maximum(dome * 0.6, curtain) * low).astype(
    np.float32
  )
