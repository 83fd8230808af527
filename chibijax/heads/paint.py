"""Colours of skin, eyes, mouth, hair and cloth at points, before any light.

Points of the head are given in template coordinates, millimetres: a freckle
stays where it is whatever the face does. Colours are linear RGB.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from chibijax.heads.look import Look, Rgb

Number = int | float | np.floating | np.ndarray
Points = Float[np.ndarray, "N 3"]
Values = Float[np.ndarray, " N"]
Colors = Float[np.ndarray, "N 3"]


class Face(NamedTuple):
  """What the paint must know of the template.

  Attributes:
    brow: x and y of the left eyebrow's points from inside, mm.
    eye: centre of the left eyeball, mm.
    mouth: height of the mouth line and its half-width, mm.
    iris: half-angle of the iris seen from the eyeball's centre, radians.
  """

  brow: Float[np.ndarray, "5 2"]
  eye: Float[np.ndarray, "3"]
  mouth: tuple[float, float]
  iris: float


class Spot(NamedTuple):
  """Points of the head and what lies there.

  Attributes:
    rest: template coordinates, mm.
    lips: 1 on the lips, 0 on the skin.
    lash: 1 on the margins of the lids.
    inner: 1 inside the mouth and behind the lids.
    hollow: how concave the surface is, 0 to 1.
    height: above the hairline, mm.
  """

  rest: Points
  lips: Values
  lash: Values
  inner: Values
  hollow: Values
  height: Values


def linear(color: Rgb | np.ndarray) -> np.ndarray:
  """Linear RGB of an sRGB colour, by the power 2.2."""
  return np.asarray(color, np.float32) ** np.float32(2.2)


def smooth(x: np.ndarray, low: Number, high: Number) -> np.ndarray:
  """0 below `low`, 1 above `high` (or the other way), smooth between."""
  t = np.clip((x - low) / (high - low), 0, 1)
  return t * t * (3 - 2 * t)


def skin(look: Look, face: Face, spot: Spot) -> Colors:
  """Skin with lips, brows, lashes, beard, freckles and a painted scalp."""
  rest = spot.rest
  x, y, z = np.abs(rest[:, 0]), rest[:, 1], rest[:, 2]
  base = linear(look.skin)
  color = base * (1 + _mottled(rest, look.seed, 0.05, 0.03))[:, None]
  ahead = smooth(z, 10, 40)
  red = 0.9 * _bell(x, y, 42, -16, 17, 13) + 0.8 * _bell(x, y, 0, -20, 10, 8)
  red = ahead * (red + 0.35 * _bell(x, y, 0, -86, 14, 10)) + 0.6 * smooth(
    x, 73, 80
  ) * smooth(np.abs(y), 45, 30)
  strength = look.redness * (0.9 if look.chibi else 0.42)
  color *= 1 - (strength * np.minimum(red, 1))[:, None] * _tint(
    0.02, 0.42, 0.36
  )
  dark = ahead * _bell(x, y, face.eye[0] - 3, face.eye[1] - 15, 13, 6)
  color *= 1 - (0.12 * dark * (not look.chibi))[:, None]
  if look.freckles:
    color *= 1 - _freckles(rest, look)[:, None] * _tint(0.25, 0.45, 0.55)
  if look.makeup:
    lid = _bell(x, y, face.eye[0], face.eye[1] + 11, 15, 6) * ahead
    color *= 1 - (0.5 * look.makeup * lid)[:, None] * _tint(0.25, 0.45, 0.3)
  if look.beard:
    darker = np.minimum(linear(look.hair), linear(look.skin))
    beard = 0.38 * darker + 0.06 * linear(look.skin)
    color = _blend(color, beard, _beard(rest, look, face))
  lips = (
    linear(look.lips) * (1 + _mottled(rest, look.seed + 1, 0.4, 0.05))[:, None]
  )
  amount = smooth(spot.lips, 0.25, 0.9)
  color = _blend(color, lips, (0.8 + 0.2 * look.makeup) * amount)
  color = _blend(color, 0.7 * linear(look.hair), _brows(rest, look, face))
  streak = 0.82 + 0.10 * np.sin(1.1 * rest[:, 0] + 0.6 * np.sin(0.2 * y))
  painted = linear(look.hair) * streak[:, None]
  color = _blend(color, painted, scalp(look, rest, spot.height))
  color = _blend(color, _tint(0.012, 0.008, 0.008), spot.lash)
  color *= (1 - 0.55 * spot.hollow)[:, None]
  cavity = _tint(0.10, 0.018, 0.016)
  return _blend(color, cavity, spot.inner).astype(np.float32)


def eye(look: Look, face: Face, rest: Points, side: Values) -> Colors:
  """An eyeball: white, iris with fibres and a dark ring, pupil.

  Args:
    look: whose.
    face: of the template.
    rest: template coordinates, mm.
    side: 1 on the left eye, -1 on the right.
  """
  center = face.eye * np.array([1, 1, 1])
  local = rest - np.stack(
    [
      side * center[0],
      np.full_like(side, center[1]),
      np.full_like(side, center[2]),
    ],
    axis=1,
  )
  local /= np.linalg.norm(local, axis=1, keepdims=True)
  polar = np.arccos(np.clip(local[:, 2], -1, 1))
  around = np.arctan2(local[:, 1], local[:, 0])
  white = _tint(0.80, 0.77, 0.76) if not look.chibi else _tint(0.92, 0.92, 0.92)
  edge = face.iris * (1.75 if look.chibi else 1.0)
  r = polar / edge
  color = np.broadcast_to(white, rest.shape) * 1.0
  blood = 0.25 * smooth(polar, 0.5, 1.2) * (not look.chibi)
  color *= 1 - blood[:, None] * _tint(0.1, 0.6, 0.55)
  iris = linear(look.iris)
  if look.chibi:
    height = local[:, 1] / np.sin(edge)
    tone = 0.35 + 1.2 * smooth(height, 0.5, -0.9)
    inside = iris * tone[:, None] + 0.25 * smooth(height, -0.2, -1.0)[:, None]
    inside = _blend(inside, 0.10 * iris, smooth(r, 0.42, 0.36))
    inside = _blend(inside, 0.06 * iris, smooth(r, 0.80, 0.92))
  else:
    fibre = np.sin(23 * around + 3 * np.sin(5 * around + look.seed % 7))
    fibre += np.sin(41 * around + 5 * r)
    tone = 0.9 + 0.14 * fibre * smooth(r, 0.3, 0.7) + 0.5 * _hump(r, 0.55, 0.16)
    inside = iris * np.maximum(tone, 0.1)[:, None] * 1.25
    inside = _blend(inside, 0.25 * iris, smooth(r, 0.80, 0.98))
    inside = _blend(inside, np.full(3, 0.004), smooth(r, 0.42, 0.36))
  color = _blend(color, inside, smooth(r, 1.04, 0.97))
  # The upper lid and its lashes shade the ball.
  shade = smooth(local[:, 1], 0.16, 0.50) * (0.75 if not look.chibi else 0.45)
  color *= (1 - shade)[:, None]
  if look.chibi:
    for cx, cy, radius in ((-0.42, 0.42, 0.30), (0.40, -0.35, 0.15)):
      near = np.hypot(
        local[:, 0] / np.sin(edge) - cx, local[:, 1] / np.sin(edge) - cy
      )
      color = _blend(color, np.ones(3), smooth(near, radius, radius - 0.08))
  return color.astype(np.float32)


def strands(look: Look, strand: Points) -> Colors:
  """Hair at places of its ribbons; see `hair.Strips.strand`."""
  u, t, own = strand.T
  base = linear(look.hair)
  phase = 40 * own + look.seed % 11
  depth = 0.10 if look.chibi else 0.28
  stripe = np.sin(5.1 * u + phase) + 0.7 * np.sin(11.7 * u + 2.3 * phase)
  tone = 1 + depth * 0.6 * stripe + (own - 0.5) * (0.2 if look.chibi else 0.5)
  tone *= (1 - 0.35 * u * u) * (0.72 + 0.28 * smooth(t, 0.0, 0.35))
  tone *= 1 + 0.25 * smooth(t, 0.5, 1.0)
  return (base * np.maximum(tone, 0.15)[:, None]).astype(np.float32)


def cloth(look: Look, flat: Float[np.ndarray, "N 2"]) -> Colors:
  """Cloth at places of its flat map: angle and metres down."""
  around, down = flat.T
  first, second = linear(look.cloth), linear(look.cloth_second)
  weave = 1 + 0.04 * np.sin(900 * down) * np.sin(140 * around)
  if look.garment == "sweater":
    weave = 1 + 0.16 * np.sin(70 * around) * (down > -0.02)
  color = first * weave[:, None]
  if look.pattern == "stripes":
    wave = np.sin(2 * np.pi * down / 0.024)
    color = _blend(color, second, smooth(wave, 0.35, 0.6))
  elif look.pattern == "checks":
    for wave in (np.sin(2 * np.pi * down / 0.03), np.sin(16 * around)):
      color = _blend(color, second, 0.45 * smooth(wave, 0.3, 0.6))
  # A hem at the neck.
  hem = smooth(down, -0.012, -0.018)
  return (color * (1 - 0.25 * hem)[:, None]).astype(np.float32)


def _brows(rest: np.ndarray, look: Look, face: Face) -> np.ndarray:
  """Opacity of the brows: hairs that lean outwards along a curve."""
  x, y = np.abs(rest[:, 0]), rest[:, 1]
  inner, outer = face.brow[0, 0], face.brow[-1, 0]
  t = (x - inner) / (outer - inner)
  curve = np.interp(x, face.brow[:, 0], face.brow[:, 1])
  thick = look.brows * (3.7 - 2.2 * smooth(t, 0.3, 1.0))
  if look.chibi:
    thick = 0.75 * thick
  off = (y - curve) / thick
  amount = smooth(np.abs(off), 1.15, 0.55) * smooth(t, -0.10, 0.08)
  amount = amount * smooth(t, 1.08, 0.9) * (rest[:, 2] > 0)
  if look.chibi:
    return amount
  hairs = np.sin(3.6 * x - (2.8 - 2.0 * t) * (y - curve) + 0.9 * np.sin(x))
  return amount * (0.76 + 0.12 * hairs)


def _beard(rest: np.ndarray, look: Look, face: Face) -> np.ndarray:
  """Opacity of a beard over jaw, chin and upper lip."""
  x, y, z = np.abs(rest[:, 0]), rest[:, 1], rest[:, 2]
  line, wide = face.mouth
  top = line - 8 + 46 * smooth(x, 0.9 * wide, 66)
  jaw = smooth(y - top, 7, -9) * smooth(y, -114, -96)
  lip = smooth(x, wide + 6, wide - 1) * smooth(y, line + 20, line + 15)
  lip = lip * smooth(y, line + 3, line + 8)
  area = np.maximum(jaw, lip) * smooth(z, -22, 0)
  if look.beard < 0.5:
    return area * (0.15 + 0.45 * look.beard)
  return area * (0.50 + 0.40 * look.beard)


def scalp(look: Look, rest: Points, height: Values) -> Values:
  """Opacity of the hair that is only painted, fading at the hairline."""
  ragged = 2.0 * np.sin(0.9 * rest[:, 0]) * np.sin(0.7 * rest[:, 1] + 1)
  amount = smooth(height + ragged, -1.5, 7)
  # Not on the ears, which stand off the skull.
  amount = amount * smooth(np.abs(rest[:, 0]), 81, 78)
  return amount * np.float32(0.62 if look.cut.style == "shaved" else 0.97)


def _freckles(rest: np.ndarray, look: Look) -> np.ndarray:
  """Spots in cells of 4 mm over nose and cheeks."""
  x, y = rest[:, 0] / 4.0, rest[:, 1] / 4.0
  column, row = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
  hashed = (column * 73856093) ^ (row * 19349663) ^ (look.seed * 83492791)
  a = ((hashed >> 3) & 1023) / 1023
  b = ((hashed >> 13) & 1023) / 1023
  size = 0.12 + 0.16 * (((hashed >> 23) & 255) / 255)
  near = np.hypot(x - column - 0.3 - 0.4 * a, y - row - 0.3 - 0.4 * b)
  where = _bell(np.abs(rest[:, 0]), rest[:, 1], 22, -6, 24, 13)
  spots = smooth(near, size + 0.12, size - 0.06) * where * (rest[:, 2] > 30)
  return np.clip(0.9 * look.freckles * spots, 0, 1)


def _mottled(
  rest: np.ndarray, seed: int, fine: float, depth: float
) -> np.ndarray:
  """Smooth noise: a few waves in random directions."""
  rng = np.random.default_rng(seed)
  waves = rng.normal(size=(6, 3)) * fine * [[1], [1], [2], [2], [4], [4]]
  phase = rng.uniform(0, 6.3, 6)
  heights = np.array([1, 1, 0.6, 0.6, 0.4, 0.4]) * depth
  kind = np.float32
  return np.sin(rest @ waves.T.astype(kind) + phase.astype(kind)) @ (
    heights.astype(kind)
  )


def _bell(
  x: np.ndarray, y: np.ndarray, cx: Number, cy: Number, sx: Number, sy: Number
) -> np.ndarray:
  return np.exp(-0.5 * (((x - cx) / sx) ** 2 + ((y - cy) / sy) ** 2))


def _hump(x: np.ndarray, center: float, width: float) -> np.ndarray:
  return np.exp(-0.5 * ((x - center) / width) ** 2)


def _blend(
  color: np.ndarray, other: np.ndarray, amount: np.ndarray
) -> np.ndarray:
  """`other` over `color` with an opacity for each point."""
  other, amount = np.asarray(other, np.float32), np.asarray(amount, np.float32)
  return color + (other - color) * amount[:, None]


def _tint(red: float, green: float, blue: float) -> np.ndarray:
  return np.array([red, green, blue], np.float32)
