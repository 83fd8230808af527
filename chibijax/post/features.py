"""Soft masks of the parts of a face, drawn from its 68 landmarks.

All are float32 [h, w] in [0, 1]; a point in pixels has its pixel's centre at
+0.5, as everywhere. Parts that a turned head hides are drawn as they project.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Float32
from PIL import Image, ImageDraw, ImageFilter

from chibijax.artist import drawing as parts

Landmarks: TypeAlias = Float[np.ndarray, "68 2"]
Masks: TypeAlias = Mapping[str, Bool[np.ndarray, "_ _"]]
Plane: TypeAlias = Float32[np.ndarray, "h w"]
Shape: TypeAlias = tuple[int, int]
Number: TypeAlias = float | int

EYES = (parts.LEFT_EYE, parts.RIGHT_EYE)
_FINE = 4  # Sub-pixels of a mask's edge, each way.


def check(landmarks: Landmarks | None, step: str) -> Landmarks:
  """Returns the landmarks, as float32.

  Raises:
    ValueError: if there are none, naming who wanted them, or they are not 68.
  """
  if landmarks is None:
    raise ValueError(f"{step} needs the landmarks of a face; there are none")
  points = np.asarray(landmarks, np.float32)
  if points.shape != (68, 2) or not np.isfinite(points).all():
    raise ValueError(f"{step} needs 68 finite landmarks; got {points.shape}")
  return points


def scale(landmarks: Landmarks) -> float:
  """Distance between the eyes' centres in pixels, at least 1.

  A turned head's is foreshortened: the height of the face bounds it.
  """
  left, right = (landmarks[eye].mean(0) for eye in EYES)
  apart = float(np.linalg.norm(right - left))
  tall = float(np.linalg.norm(landmarks[8] - 0.5 * (left + right)))
  return max(1.0, apart, 0.5 * tall)


def axes(landmarks: Landmarks) -> Float[np.ndarray, "2 2"]:
  """Unit vectors along the eyes and down the face, as rows."""
  left, right = (landmarks[eye].mean(0) for eye in EYES)
  along = right - left
  length = float(np.linalg.norm(along))
  along = along / length if length > 1e-3 else np.array([1.0, 0.0])
  return np.stack([along, [-along[1], along[0]]])


def fill(shape: Shape, points: np.ndarray, soft: Number = 0) -> Plane:
  """A filled polygon, antialiased, blurred by `soft` pixels."""
  return _draw(shape, points, soft, 0, lambda d, p, k: d.polygon(p, fill=255))


def stroke(
  shape: Shape,
  lines: Sequence[np.ndarray],
  width: Number,
  soft: Number = 0,
) -> Plane:
  """Open polylines of a width in pixels, with round joints."""

  def draw(canvas: ImageDraw.ImageDraw, _: list, k: "_Window") -> None:
    wide = max(1, round(width * _FINE))
    for line in lines:
      path = k(line)
      canvas.line(path, fill=255, width=wide, joint="curve")
      for x, y in (path[0], path[-1]):
        r = wide / 2
        canvas.ellipse((x - r, y - r, x + r, y + r), fill=255)

  return _draw(shape, np.concatenate(lines), soft, width, draw)


class _Window:
  """Pixels to sub-pixels of a part of the picture."""

  def __init__(self, left: int, top: int) -> None:
    self.corner = np.array([left, top], np.float64)

  def __call__(self, points: np.ndarray) -> list[tuple[float, float]]:
    return [
      (float(x), float(y)) for x, y in (points - self.corner) * _FINE - 0.5
    ]


def _draw(
  shape: Shape,
  points: np.ndarray,
  soft: Number,
  width: Number,
  paint: Callable[..., None],
) -> Plane:
  """What `paint` paints, in the window that the points and `soft` need."""
  plane = np.zeros(shape, np.float32)
  reach = 3 * soft + width + 2
  low = np.floor(points.min(0) - reach).astype(int)
  high = np.ceil(points.max(0) + reach).astype(int)
  (left, top), (right, bottom) = (
    np.maximum(low, 0),
    np.minimum(high, shape[::-1]),
  )
  if right <= left or bottom <= top:
    return plane
  size = (int(right - left), int(bottom - top))
  window = _Window(int(left), int(top))
  canvas = Image.new("L", (size[0] * _FINE, size[1] * _FINE))
  paint(ImageDraw.Draw(canvas), window(points), window)
  small = canvas.reduce(_FINE)
  if soft > 0:
    small = small.filter(ImageFilter.GaussianBlur(float(soft)))
  plane[top:bottom, left:right] = np.asarray(small, np.float32) / 255
  return plane


def grown(points: np.ndarray, factor: Number, up: Number = 0) -> np.ndarray:
  """Points scaled about their centre; `up` more, in heights, above it."""
  center = points.mean(0)
  away = (points - center) * factor
  away[:, 1] *= np.where(away[:, 1] < 0, 1 + up, 1)
  return center + away


def eyes(shape: Shape, landmarks: Landmarks, factor: Number = 1.0) -> Plane:
  """Both eyes between their lids, grown by `factor`, edges softened."""
  soft = 0.02 * scale(landmarks)
  planes = [fill(shape, grown(landmarks[eye], factor), soft) for eye in EYES]
  return np.maximum(*planes)


def mouth(shape: Shape, landmarks: Landmarks, factor: Number = 1.0) -> Plane:
  """Lips and what is between them."""
  outline = grown(landmarks[parts.OUTER_MOUTH], factor)
  return fill(shape, outline, 0.03 * scale(landmarks))


def face(shape: Shape, landmarks: Landmarks, factor: Number = 1.0) -> Plane:
  """The face from jaw to brows, with an estimate of the forehead."""
  unit, (_, down) = scale(landmarks), axes(landmarks)
  brows = landmarks[17:27][::-1] - 0.35 * unit * down
  outline = np.concatenate([landmarks[parts.JAW], brows])
  return fill(shape, grown(outline, factor), 0.04 * unit)


def skin(
  shape: Shape, landmarks: Landmarks | None, masks: Masks | None
) -> Plane | None:
  """Plain skin, without eyes, brows and mouth; None when nothing is known.

  Both the mask and the face's outline count: each misses some of it.
  """
  plane = np.zeros(shape, np.float32)
  if masks and "skin" in masks:
    plane = masks["skin"].astype(np.float32)
  if landmarks is not None:
    plane = np.maximum(plane, face(shape, landmarks, 0.97))
  if masks and "hair" in masks:
    plane = plane * ~masks["hair"]
  if not plane.any():
    return None
  soft = Image.fromarray(np.uint8(plane * 255))
  radius = max(1.0, max(shape) / 170)
  blurred = soft.filter(ImageFilter.GaussianBlur(radius))
  plane = np.asarray(blurred, np.float32) / 255
  return plane if landmarks is None else plane * (1 - details(shape, landmarks))


def details(shape: Shape, landmarks: Landmarks) -> Plane:
  """1 on eyes and brows, less on the mouth: where a small thing says much."""
  unit = scale(landmarks)
  brows = stroke(
    shape,
    [landmarks[parts.LEFT_BROW], landmarks[parts.RIGHT_BROW]],
    0.1 * unit,
    0.04 * unit,
  )
  both = np.maximum(eyes(shape, landmarks, 1.25), 0.6 * brows)
  return np.maximum(both, 0.6 * mouth(shape, landmarks, 1.1))
