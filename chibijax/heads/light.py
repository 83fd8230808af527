"""Light on skin, eyes, hair and cloth, photo-like or as in a cartoon.

Normals and directions are in the camera's axes (y down, z forward), so that
the lights stay where they are when the head turns, as in a room. Colours are
linear RGB.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from chibijax.heads.look import Look
from chibijax.heads.paint import smooth

Directions = Float[np.ndarray, "N 3"]
Colors = Float[np.ndarray, "N 3"]
# Towards the viewer; over a head the directions of rays hardly differ.
_VIEW = np.array([0.0, 0.0, -1.0], np.float32)
_UP = np.array([0.0, -1.0, 0.0], np.float32)


class Surface(NamedTuple):
  """How a material answers to light.

  Attributes:
    wrap: how far light reaches round the edge, for red, green and blue.
    gloss: strength of the highlight.
    power: sharpness of the highlight.
  """

  wrap: tuple[float, float, float]
  gloss: float
  power: float


# Light that enters skin comes out again beside, most of all red.
SKIN = Surface((0.42, 0.26, 0.22), 0.16, 22.0)
LIPS = Surface((0.4, 0.25, 0.2), 0.30, 40.0)
EYE = Surface((0.5, 0.5, 0.5), 0.0, 1.0)
HAIR = Surface((0.35, 0.35, 0.35), 0.0, 1.0)
CLOTH = Surface((0.2, 0.2, 0.2), 0.02, 8.0)
FRAME = Surface((0.1, 0.1, 0.1), 0.35, 30.0)


def lit(
  look: Look,
  surface: Surface,
  normals: Directions,
  albedo: Colors,
  gloss: Float[np.ndarray, " N"] | float = 1.0,
) -> Colors:
  """Diffuse light from three sides and a highlight of the main one.

  Args:
    look: says where the light comes from, and whether it is a cartoon's.
    surface: the material.
    normals: of unit length.
    albedo: the colours.
    gloss: factor of the highlight.
  """
  key, sun, fill_color, sky, ground = _lamps(look)
  toward = normals @ key
  wrap = np.array(surface.wrap, np.float32)
  main = np.maximum((toward[:, None] + wrap) / (1 + wrap), 0)
  if look.chibi:
    # Two tones with a soft step.
    step = 0.55 + 0.45 * smooth(toward, -0.30, 0.30)
    main = np.repeat(step[:, None], 3, axis=1).astype(np.float32)
  fill = np.maximum((normals @ _fill(look) + 0.3) / 1.3, 0)
  up = 0.5 - 0.5 * normals[:, 1]
  around = ground + (sky - ground) * up[:, None]
  color = albedo * (
    around * look.ambient + main * sun + fill[:, None] * fill_color
  )
  if surface.gloss and not look.chibi:
    half = key + _VIEW
    half /= np.linalg.norm(half)
    shine = np.maximum(normals @ half, 0) ** surface.power
    edge = (1 - np.maximum(-normals[:, 2], 0)) ** 3
    color += (gloss * surface.gloss * (shine + 0.25 * edge * around[:, 0]))[
      :, None
    ] * sun
  return color.astype(np.float32)


def glint(look: Look, normals: Directions) -> Float[np.ndarray, " N"]:
  """The lamp's reflection in the wet eye."""
  half = _lamps(look)[0] + 1.2 * _VIEW
  half /= np.linalg.norm(half)
  return smooth(normals @ half, 0.978, 0.99).astype(np.float32)


def hair_shine(
  look: Look,
  normals: Directions,
  tangents: Directions,
  strand: Float[np.ndarray, "N 3"],
) -> Colors:
  """Two highlights of strands: white, and tinted a bit further down.

  J. Kajiya and T. Kay, "Rendering fur with three dimensional textures" (1989),
  with the shift of T. Scheuermann (2004).
  """
  key, sun, *_ = _lamps(look)
  half = key + _VIEW
  half /= np.linalg.norm(half)
  jitter = 0.10 * np.sin(61 * strand[:, 2] + 4 * strand[:, 0])
  if look.chibi:
    jitter = 0.06 * np.sin(61 * strand[:, 2])
  shine = []
  for shift, power in ((0.08, 60.0), (-0.10, 14.0)):
    along = tangents + (shift + jitter)[:, None] * normals
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    across = np.maximum(1 - (along @ half) ** 2, 0)
    shine.append(across ** (power / 2))
  facing = np.maximum((normals @ key + 0.3) / 1.3, 0)
  tint = np.asarray(look.hair, np.float32) ** np.float32(1.6)
  if look.chibi:
    band = smooth(shine[0], 0.45, 0.95) * facing
    return (band[:, None] * (0.04 + 0.35 * tint)).astype(np.float32)
  white = 0.10 * (shine[0] * facing)[:, None]
  warm = 0.42 * (shine[1] * facing)[:, None] * tint
  return ((white + warm) * sun).astype(np.float32)


def to_srgb(color: Colors) -> Colors:
  """sRGB in [0, 1] of linear RGB; bright values bend towards 1."""
  bent = np.where(color > 0.8, 1 - 0.2 * np.exp(-(color - 0.8) / 0.2), color)
  return np.maximum(bent, 0) ** np.float32(1 / 2.2)


def _fill(look: Look) -> np.ndarray:
  """Direction to the second lamp: opposite and lower."""
  x, y, z = look.key
  fill = np.array([-1.2 * x, 0.3 * y, z])
  return (fill / np.linalg.norm(fill)).astype(np.float32)


def _lamps(look: Look) -> tuple[np.ndarray, ...]:
  """Direction of the main light; colours of it, fill, sky and ground."""
  warm = np.array([1 + 0.06 * look.warmth, 1.0, 1 - 0.10 * look.warmth])
  # Dark skin is photographed with a longer exposure.
  exposure = 1 + 0.45 * (0.75 - sum(look.skin) / 3)
  strength = exposure * (1.0 - 0.75 * look.ambient)
  if look.chibi:
    strength, warm = 0.62, np.ones(3)
  sun = strength * warm
  cool = np.array([0.97, 1.0, 1.05])
  kind = np.float32
  return (
    np.asarray(look.key, kind),
    sun.astype(kind),
    (0.14 * cool).astype(kind),
    (0.95 * cool).astype(kind),
    np.array([0.62, 0.56, 0.52], kind),
  )
