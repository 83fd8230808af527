"""Small touches on a head: blush, clear eyes with highlights, shine on hair.

Each takes a picture in [0, 1] (three channels, or four with straight alpha,
which is kept) and a strength in [0, 1], where 0 changes nothing, and returns a
new picture. Those on a face need its 68 landmarks in pixels of the picture.
"""

import functools
from collections.abc import Mapping
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float32

from chibijax.artist import palette as named
from chibijax.ops.image import LUMA
from chibijax.post import features
from chibijax.post.smooth import Picture, gaussian
from chibijax.post.tones import Result, begin

Masks: TypeAlias = Mapping[str, Bool[np.ndarray, "_ _"]]
Landmarks: TypeAlias = Float[np.ndarray, "68 2"]
Number: TypeAlias = float | int

# The cheek between lower lid, corner of the mouth and jaw, for both sides.
_CHEEKS = (((41, 48, 3), (31, 2)), ((46, 54, 13), (35, 14)))
_CHEEK = np.array([0.42, 0.28, 0.30], np.float32)


def blush(
  image: Picture,
  landmarks: Landmarks,
  *,
  strength: Number = 0.5,
  color: str | None = None,
) -> Result:
  """Reddens the cheeks: soft ellipses that follow the head's pose.

  The hue is that of blush on the skin seen there (as the artist paints it), and
  is added to the skin, so that light and shadow on it stay.

  Args:
    image: see above.
    landmarks: 68 points.
    strength: see above.
    color: sRGB hex of the blush, instead.

  Returns:
    The picture.

  Raises:
    ValueError: if an argument is not as described.
  """
  result = begin(image, strength)
  points = features.check(landmarks, "blush")
  if strength == 0:
    return result
  unit, turned = features.scale(points), features.axes(points)
  shape = result.shape[:2]
  planes = []
  for triangle, (nose, jaw) in _CHEEKS:
    center = _CHEEK @ points[list(triangle)]
    # A cheek that turns away is narrow, and fades.
    wide = abs(float((points[nose] - points[jaw]) @ turned[0]))
    rx = min(0.40 * wide, 0.30 * unit)
    ry = 0.155 * unit
    shown = min(1.0, rx / (0.16 * unit))
    planes.append((_ellipse(shape, center, turned, (rx, ry)), shown))
  mask = np.maximum(*(plane * shown for plane, shown in planes))
  base = _cheek_color(result, mask)
  if base is None:
    return result
  goal = named.skin_shades(named.hex_color(*(255 * base).tolist()))["blush"]
  goal = np.array(named.rgb(color or goal), np.float32) / 255
  rows, columns = _window(mask)
  part = result[rows, columns, :3]
  part += (strength * mask[rows, columns, None]) * (goal - base)
  np.clip(part, 0, 1, out=part)
  return result


def _ellipse(
  shape: tuple[int, int],
  center: Float[np.ndarray, "2"],
  turned: Float[np.ndarray, "2 2"],
  radii: tuple[float, float],
) -> Float32[np.ndarray, "h w"]:
  """1 at the centre, 0 from twice the radii on, smoothly."""
  plane = np.zeros(shape, np.float32)
  reach = 2 * max(*radii, 1.0)
  low = np.maximum(np.floor(center - reach), 0).astype(int)
  high = np.minimum(np.ceil(center + reach), shape[::-1]).astype(int)
  if (high <= low).any():
    return plane
  x = np.arange(low[0], high[0], dtype=np.float32) + 0.5 - center[0]
  y = np.arange(low[1], high[1], dtype=np.float32)[:, None] + 0.5 - center[1]
  across = (turned[0, 0] * x + turned[0, 1] * y) / max(radii[0], 1e-3)
  down = (turned[1, 0] * x + turned[1, 1] * y) / max(radii[1], 1e-3)
  far = np.maximum(1 - (across**2 + down**2) / 4, 0)
  plane[low[1] : high[1], low[0] : high[0]] = far**3
  return plane


def _window(mask: Float32[np.ndarray, "h w"]) -> tuple[slice, slice]:
  """Rows and columns that hold anything."""
  found = []
  for axis in (1, 0):
    index = np.flatnonzero(mask.any(axis))
    found.append(slice(index[0], index[-1] + 1) if len(index) else slice(0, 0))
  return found[0], found[1]


def _cheek_color(
  image: Result, mask: Float32[np.ndarray, "h w"]
) -> Float[np.ndarray, "3"] | None:
  inside = mask > 0.3
  if image.shape[-1] == 4:
    inside &= image[..., 3] > 0.5
  if inside.sum() < 4:
    return None
  return np.median(image[inside][:, :3], axis=0)


def vivid_eyes(
  image: Picture, landmarks: Landmarks, *, strength: Number = 0.5
) -> Result:
  """Makes eyes clear: contrast, colour, brighter whites, a darker lash line.

  Args:
    image: see above.
    landmarks: 68 points.
    strength: see above.

  Returns:
    The picture.

  Raises:
    ValueError: if an argument is not as described.
  """
  result = begin(image, strength)
  points = features.check(landmarks, "eyes")
  if strength == 0:
    return result
  shape, unit = result.shape[:2], features.scale(points)
  mask = features.eyes(shape, points, 1.06)
  rows, columns = _window(mask)
  part, share = result[rows, columns, :3], mask[rows, columns, None]
  if not part.size:
    return result
  weight = share / max(float(share.sum()), 1e-6)
  middle = float((part @ np.array(LUMA, np.float32)[:, None] * weight).sum())
  clear = middle + (part - middle) * (1 + 0.45 * strength)
  light = clear @ np.array(LUMA, np.float32)[:, None]
  clear = light + (clear - light) * (1 + 0.7 * strength)
  clear += 0.05 * strength
  part += share * (clear - part)
  np.clip(part, 0, 1, out=part)
  lids = [points[eye][:4] for eye in features.EYES]
  lash = features.stroke(shape, lids, 0.045 * unit, 0.012 * unit)
  rows, columns = _window(lash)
  part, share = result[rows, columns, :3], lash[rows, columns, None]
  part *= 1 - 0.75 * strength * share * (1 - 0.2 * np.array([1, 0, 0]))
  return result


def sparkle(
  image: Picture, landmarks: Landmarks, *, strength: Number = 0.8
) -> Result:
  """Sets highlights into the eyes: one large, one small opposite.

  Both eyes get them on the same side, as from one light. An iris is taken to
  be where an eye is darkest; eyes that are all but closed get none.

  Args:
    image: see above.
    landmarks: 68 points.
    strength: see above.

  Returns:
    The picture.

  Raises:
    ValueError: if an argument is not as described.
  """
  result = begin(image, strength)
  points = features.check(landmarks, "sparkle")
  if strength == 0:
    return result
  shape, turned = result.shape[:2], features.axes(points)
  for eye in features.EYES:
    lids = points[eye]
    local = (lids - lids.mean(0)) @ turned.T
    tall, wide = float(np.ptp(local[:, 1])), float(np.ptp(local[:, 0]))
    if tall < 0.18 * wide or tall < 3:
      continue
    mask = features.fill(shape, lids, 0.02 * wide)
    if not mask.any():
      continue
    iris = _iris(result, mask)
    # An iris spans about the opening; half-closed lids hide part of it.
    radius = float(min(0.55 * tall, 0.30 * wide))
    for right, down, size in ((-0.34, -0.38, 0.30), (0.36, 0.36, 0.15)):
      spot = iris + radius * (np.array([right, down]) @ turned)
      dot = _disc(shape, spot, max(0.6, size * radius)) * mask
      rows, columns = _window(dot)
      part = result[rows, columns, :3]
      part += strength * dot[rows, columns, None] * (1 - part)
  return result


def _iris(
  image: Result, mask: Float32[np.ndarray, "h w"]
) -> Float[np.ndarray, "2"]:
  rows, columns = _window(mask)
  weight = mask[rows, columns]
  light = image[rows, columns, :3] @ np.array(LUMA, np.float32)
  inside = weight > 0.5
  dark = np.maximum(np.median(light[inside]) - light, 0) if inside.any() else 0
  weight = weight * (dark + 1e-4)
  y, x = np.mgrid[rows, columns] + 0.5
  return np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum()


def _disc(
  shape: tuple[int, int], center: Float[np.ndarray, "2"], radius: float
) -> Float32[np.ndarray, "h w"]:
  """A disc with an edge of a pixel or a little more."""
  angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
  ring = center + radius * np.stack([np.cos(angle), np.sin(angle)], -1)
  return features.fill(shape, ring, 0.12 * radius)


def shine(
  image: Picture,
  masks: Masks,
  *,
  strength: Number = 0.4,
  landmarks: Landmarks | None = None,
) -> Result:
  """Lays a band of light around the hair, as cartoons do.

  Args:
    image: see above.
    masks: must have "hair".
    strength: see above.
    landmarks: give the direction of the head, and its size.

  Returns:
    The picture.

  Raises:
    ValueError: if there is no mask of hair, or an argument is not as described.
  """
  result = begin(image, strength)
  if not masks or "hair" not in masks:
    raise ValueError('shine needs a mask named "hair"')
  hair = masks["hair"]
  if hair.shape != result.shape[:2]:
    raise ValueError(
      f"mask 'hair' must be {result.shape[:2]} like the image; got {hair.shape}"
    )
  if strength == 0 or hair.sum() < 16:
    return result
  band = _band(hair, landmarks)
  rows, columns = _window(band)
  part, share = result[rows, columns, :3], band[rows, columns, None]
  # A lighter, slightly paler shade of the hair itself, never plain white.
  light = part + 0.55 * (1 - part) * (0.35 + 0.65 * part)
  part += strength * share * (light - part)
  return result


def _band(
  hair: Bool[np.ndarray, "_ _"], landmarks: Landmarks | None
) -> Float32[np.ndarray, "rows columns"]:
  """An arc on the upper hair, broken into strands."""
  y, x = np.nonzero(hair)
  if landmarks is None:
    center = np.array([0.5 * (x.min() + x.max()), np.quantile(y, 0.5)])
    unit, down = 0.25 * float(np.ptp(x)) + 1, np.array([0.0, 1.0])
  else:
    points = features.check(landmarks, "shine")
    unit, (_, down) = features.scale(points), features.axes(points)
    center = points[36:48].mean(0)
  along = np.array([down[1], -down[0]])
  x, y = x + 0.5 - center[0], y + 0.5 - center[1]
  across, up = x * along[0] + y * along[1], -(x * down[0] + y * down[1])
  crown = float(np.quantile(up, 0.98))
  level = max(0.62 * crown, crown - 1.1 * unit)
  curve = up - level + 0.22 * across**2 / unit
  strands = np.sin(across / unit * 14) + 0.6 * np.sin(across / unit * 31 + 1)
  thick = (0.13 + 0.035 * strands) * unit
  fade = np.clip(1 - np.abs(across) / (1.7 * unit), 0, 1)
  band = np.clip(1.6 - 1.6 * np.abs(curve) / thick, 0, 1) * np.sqrt(fade)
  plane = np.zeros(hair.shape, np.float32)
  plane[hair] = band * band * (3 - 2 * band)
  soft = _soften(jnp.asarray(plane), max(0.5, round(0.02 * unit, 1)))
  return np.asarray(soft) * hair


@functools.partial(jax.jit, static_argnames=("sigma",))
def _soften(plane: Float[Array, "h w"], sigma: float) -> Float[Array, "h w"]:
  return gaussian(plane[..., None], sigma)[..., 0]
