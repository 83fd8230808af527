"""Shading of a portrait: normals, light and materials on planar arrays.

Conventions: images inside the artist's shading are planar float32 [3, H, W] in
linear light; x right, y down, z towards the camera; heights are in face units
(half the face's width). Directions point from the surface to the light.
"""

import dataclasses
import functools
import math

import numpy as np
from jaxtyping import Float32, UInt8

from chibijax.artist.portrait_filter import gaussian_blur

_ENCODE_STEPS = 4096


@functools.lru_cache(maxsize=1)
def _decode_table() -> np.ndarray:
  x = np.arange(256, dtype=np.float32) / 255
  return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4).astype(
    np.float32
  )


@functools.lru_cache(maxsize=1)
def _encode_table() -> np.ndarray:
  x = np.linspace(0, 1, _ENCODE_STEPS, dtype=np.float32)
  y = np.where(x <= 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055)
  return (y * 255).astype(np.float32)


def to_linear(srgb: UInt8[np.ndarray, "*s"]) -> Float32[np.ndarray, "*s"]:
  """Decodes 8-bit sRGB to linear light in [0, 1] (IEC 61966-2-1)."""
  return _decode_table().take(srgb)


def to_srgb(linear: Float32[np.ndarray, "*s"]) -> Float32[np.ndarray, "*s"]:
  """Encodes linear light, clipped to [0, 1], to sRGB values in 0..255."""
  index = np.clip(linear, 0, 1)
  index *= _ENCODE_STEPS - 1
  return _encode_table().take(index.astype(np.intp))


def hex_to_linear(color: str) -> Float32[np.ndarray, "3"]:
  """Linear RGB of a colour written '#rrggbb'."""
  text = color.lstrip("#")
  return to_linear(
    np.array([int(text[i : i + 2], 16) for i in (0, 2, 4)], np.uint8)
  )


def mix(
  a: np.ndarray, b: np.ndarray | np.float32, t: np.ndarray | float
) -> np.ndarray:
  """Linear interpolation a + (b - a) t, with broadcasting."""
  return a + (b - a) * t


def smoothstep(
  low: float, high: float, x: Float32[np.ndarray, "*s"]
) -> Float32[np.ndarray, "*s"]:
  """Cubic step from 0 at `low` to 1 at `high`."""
  t = np.clip((x - low) * (1 / (high - low)), 0, 1)
  out = 3 - 2 * t
  out *= t
  out *= t
  return out


def normals(
  height: Float32[np.ndarray, "h w"], pixel: float, limit: float = 4.0
) -> Float32[np.ndarray, "3 h w"]:
  """Unit normals of a height field by central differences.

  Args:
    height: heights in face units.
    pixel: the size of a pixel in face units.
    limit: slopes are clipped to it, so that silhouettes stay smooth.
  """
  out = np.empty((3, *height.shape), np.float32)
  scale = np.float32(-0.5 / pixel)
  out[0, :, 1:-1] = (height[:, 2:] - height[:, :-2]) * scale
  out[0, :, 0] = out[0, :, 1]
  out[0, :, -1] = out[0, :, -2]
  out[1, 1:-1] = (height[2:] - height[:-2]) * scale
  out[1, 0] = out[1, 1]
  out[1, -1] = out[1, -2]
  np.clip(out[:2], -limit, limit, out=out[:2])
  x, y = out[0], out[1]
  np.divide(1, np.sqrt(x * x + y * y + 1), out=out[2])
  out[:2] *= out[2]
  return out


def normalize(
  v: Float32[np.ndarray, "3 h w"],
) -> Float32[np.ndarray, "3 h w"]:
  """Scales vectors to unit length, in place."""
  v *= 1 / np.sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2] + 1e-12)
  return v


def cast_shadow(
  height: Float32[np.ndarray, "h w"],
  direction: tuple[float, float, float],
  pixel: float,
  *,
  reach: float = 0.75,
  steps: int = 7,
  softness: float = 0.45,
) -> Float32[np.ndarray, "h w"]:
  """Visibility of a directional light by marching the height field.

  Args:
    height: heights in face units.
    direction: unit vector to the light.
    pixel: the size of a pixel in face units.
    reach: the longest shadow in the image plane, in face units.
    steps: samples along the ray, closer together near the receiver.
    softness: penumbra: the excess height, per distance, of full shadow.

  Returns:
    1 where lit, 0 in full shadow.
  """
  x, y, z = direction
  flat = max(float(np.hypot(x, y)), 1e-3)
  slope = max(z, 0.05) / flat
  worst = np.zeros_like(height)
  (h, w), edge = height.shape, math.ceil(reach / pixel) + 1
  # Beyond the picture its border repeats.
  rows = np.clip(np.arange(-edge, h + edge), 0, h - 1)
  columns = np.clip(np.arange(-edge, w + edge), 0, w - 1)
  wide = height.take(rows, 0).take(columns, 1)
  for i in range(1, steps + 1):
    distance = reach * (i / steps) ** 1.5
    dx = round(x / flat * distance / pixel)
    dy = round(y / flat * distance / pixel)
    if dx == 0 and dy == 0:
      continue
    top, left = edge + dy, edge + dx
    excess = wide[top : top + h, left : left + w] - height
    excess -= np.float32(slope * distance + 0.02)
    excess *= np.float32(1 / (softness * (distance + 0.12)))
    np.maximum(worst, excess, out=worst)
  np.minimum(worst, 1, out=worst)
  return 1 - worst * worst * (3 - 2 * worst)


def occlusion(
  height: Float32[np.ndarray, "h w"], pixel: float, *, strength: float = 1.3
) -> Float32[np.ndarray, "h w"]:
  """Ambient visibility from how far a point lies below its surroundings."""
  out = np.ones_like(height)
  for radius, weight in ((0.06, 1.6), (0.22, 0.8)):
    below = gaussian_blur(height, radius / pixel) - height
    np.clip(below, 0, 0.5, out=below)
    below *= np.float32(weight * strength)
    out -= below
  return np.clip(out, 0.25, 1, out=out)


@dataclasses.dataclass(frozen=True)
class Light:
  """One light rig: a key, a fill from the other side, sky and ground.

  Attributes:
    key: unit direction to the key light.
    key_color, fill_color, sky_color, ground_color: linear RGB, energy included.
    fill: unit direction to the fill light.
    rim: strength of a light from behind.
  """

  key: tuple[float, float, float]
  fill: tuple[float, float, float]
  key_color: np.ndarray
  fill_color: np.ndarray
  sky_color: np.ndarray
  ground_color: np.ndarray
  rim: float = 0.0


@dataclasses.dataclass
class Surface:
  """What the deferred shading pass needs of every pixel (a G-buffer).

  Attributes:
    albedo: diffuse reflectance.
    normal: unit normals.
    height: composite height field, for shadows and occlusion.
    skin: share of skin, which scatters light under the surface.
    hair: share of hair.
    gloss: strength of the specular lobe, 0 matt, 1 wet.
    tangent: in-plane unit direction of the hair strands.
  """

  albedo: Float32[np.ndarray, "3 h w"]
  normal: Float32[np.ndarray, "3 h w"]
  height: Float32[np.ndarray, "h w"]
  skin: Float32[np.ndarray, "h w"]
  hair: Float32[np.ndarray, "h w"]
  gloss: Float32[np.ndarray, "h w"]
  tangent: Float32[np.ndarray, "2 h w"]


def _power(x: np.ndarray, doublings: int) -> np.ndarray:
  for _ in range(doublings):
    x = x * x
  return x


def _half(direction: tuple[float, float, float]) -> np.ndarray:
  half = np.array(direction, np.float32) + np.array([0, 0, 1], np.float32)
  return half / np.linalg.norm(half)


def _dot(
  n: np.ndarray, v: tuple[float, float, float] | np.ndarray
) -> np.ndarray:
  return (
    n[0] * np.float32(v[0]) + n[1] * np.float32(v[1]) + n[2] * np.float32(v[2])
  )


# How far diffuse light wraps around the terminator of skin: red light travels
# furthest below the surface, which makes the terminator warm.
_SKIN_WRAP = (0.42, 0.22, 0.16)


def shade(
  surface: Surface, light: Light, pixel: float
) -> Float32[np.ndarray, "3 h w"]:
  """Shades a surface in one deferred pass.

  Diffuse: Lambert, wrapped per channel on skin (a cheap stand-in for subsurface
  scattering). Specular: two Blinn-Phong lobes. Hair: Kajiya and Kay (1989)
  primary and secondary highlights along the strand tangent.

  Args:
    surface: the G-buffer.
    light: the light rig.
    pixel: the size of a pixel in face units.

  Returns:
    Linear radiance, not yet exposed.
  """
  n, skin, hair = surface.normal, surface.skin, surface.hair
  visible = cast_shadow(surface.height, light.key, pixel)
  visible = gaussian_blur(visible, 0.035 / pixel)
  ambient = occlusion(surface.height, pixel)
  key = _dot(n, light.key)
  fill = np.clip(_dot(n, light.fill) * 0.75 + 0.25, 0, 1) * ambient
  downward = n[1] * ambient
  hair_wrap = hair * np.float32(0.25)
  # Half the light from above and below reaches every normal.
  both = 0.5 * (light.ground_color + light.sky_color)
  tilt = 0.5 * (light.ground_color - light.sky_color)
  out = np.empty_like(surface.albedo)
  for c in range(3):
    wrap = skin * np.float32(_SKIN_WRAP[c])
    wrap += hair_wrap
    energy = key + wrap
    wrap += 1
    energy /= wrap
    np.clip(energy, 0, 1, out=energy)
    # Shadow edges on skin glow red for the same reason.
    energy *= visible if c else np.minimum(visible + 0.12 * skin, 1)
    energy *= light.key_color[c]
    energy += fill * light.fill_color[c]
    energy += ambient * both[c]
    energy += downward * tilt[c]
    np.multiply(surface.albedo[c], energy, out=out[c])
  _add_highlights(out, surface, light, visible, ambient)
  return out


def _add_highlights(
  out: np.ndarray,
  surface: Surface,
  light: Light,
  visible: np.ndarray,
  ambient: np.ndarray,
) -> None:
  n = surface.normal
  half = np.clip(_dot(n, _half(light.key)), 0, 1)
  broad = _power(half, 3)
  sharp = _power(broad, 2)
  grazing = _power(1 - np.clip(n[2], 0, 1), 2)
  specular = (0.10 * broad + 0.30 * sharp) * visible
  half = np.clip(_dot(n, _half(light.fill)), 0, 1)
  specular += 0.10 * _power(half, 4) * ambient * float(light.fill_color[1])
  specular += 0.05 * grazing * ambient
  specular *= surface.gloss
  # Kajiya-Kay: sin of the angle between tangent and half vector.
  h = _half(light.key)
  x, y = surface.tangent
  along = x * (h[0] - h[2] * n[0])
  along += y * (h[1] - h[2] * n[1])
  sine = np.clip(1 - along * along, 0, 1)
  strand = _power(sine, 4) * np.clip(0.35 + half, 0, 1)
  # No tangent, no highlight: tightly curled hair scatters it.
  strand *= x * x + y * y
  strand *= surface.hair
  strand *= visible
  rim = np.clip(0.3 - n[1], 0, 1)
  rim *= grazing
  rim *= np.float32(light.rim)
  # What mirrors the light's own colour, then what takes the surface's.
  specular += np.float32(0.05) * strand
  for c in range(3):
    color, sky = light.key_color[c], light.sky_color[c]
    tinted = strand * (np.float32(0.77) * color)
    tinted += rim * sky
    tinted *= surface.albedo[c]
    tinted += specular * color
    tinted += rim * (np.float32(0.3) * sky)
    out[c] += tinted
