"""Where on a face things are put: the measures of a head, and its places.

The frame of a head has its origin between the eyes; its axes run along the eyes
and down the face, so that everything turns with the roll. Eyes, cheeks, mouth
and jaw follow from the 68 landmarks; the top of the head from an average skull
or, better, from the masks.
"""

import functools
from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

import jax
import numpy as np
from jaxtyping import Bool, Float, Float64

Landmarks: TypeAlias = Float[np.ndarray, "68 2"] | Float[jax.Array, "68 2"]
Masks: TypeAlias = Mapping[
  str, Bool[np.ndarray, "rows columns"] | Bool[jax.Array, "rows columns"]
]
Points: TypeAlias = Float64[np.ndarray, "_ 2"]

EYES = slice(36, 42), slice(42, 48)
JAW = slice(0, 17)
# Smallest face, pixels from ear to ear, that gets a sticker.
MIN_FACE = 8.0
# Eye line to chin over the width of an average face; crown of the hair above
# the eye line over the face's unit (the same skull as `post.anatomy`).
_DEPTH, _CROWN = 0.82, 0.9
# The line of hats, as part of the way from the eyes to the crown, and half of
# the head's width there, hair included, over the width of the face.
_HAT_LINE, _HAT_HALF = 38 / 86, 0.54


class Head(NamedTuple):
  """Measures of a head in a picture; lengths in pixels.

  Attributes:
    origin: the point between the eyes.
    axes: rows are the unit vectors along the eyes and down the face.
    width: of the face, about as it would be seen from the front.
    unit: geometric mean of width and depth; the width of an average face.
    middle: where the middle of the jaw lies along the eyes, from the origin.
    crown: height of the crown of the hair above the eyes.
    half: half of the head's width, hair included, on the line of hats.
    squeeze: cosine of the yaw, estimated.
  """

  origin: Float64[np.ndarray, "2"]
  axes: Float64[np.ndarray, "2 2"]
  width: float
  unit: float
  middle: float
  crown: float
  half: float
  squeeze: float

  def pixels(self, points: Points) -> Points:
    """Takes points along the head's axes (in pixels) to the picture."""
    return self.origin + points @ self.axes


def measure(
  landmarks: Landmarks | None, masks: Masks | None, shape: tuple[int, int]
) -> Head:
  """Measures the head that stickers are put on.

  Args:
    landmarks: 68 points in pixels.
    masks: any of "hair", "skin" and "head"; they tell where the hair ends.
    shape: height and width of the picture.

  Returns:
    The measures.

  Raises:
    ValueError: see `apply`.
  """
  if landmarks is None:
    raise ValueError("stickers need landmarks; got None")
  points = np.asarray(landmarks, np.float64)
  if points.shape != (68, 2) or not np.isfinite(points).all():
    raise ValueError(
      f"landmarks must be 68 finite points (x, y); got {points.shape}"
    )
  left, right = (points[eye].mean(0) for eye in EYES)
  along = (right - left) + 0.5 * (points[54] - points[48])
  along /= max(float(np.hypot(*along)), 1e-9)
  axes = np.stack([along, [-along[1], along[0]]])
  origin = (left + right) / 2
  local = (points - origin) @ axes.T
  low, high = local[JAW, 0].min(), local[JAW, 0].max()
  width = float(high - low)
  if width < MIN_FACE:
    raise ValueError(
      f"the face must be at least {MIN_FACE:.0f} pixels wide; got {width:.1f}"
    )
  depth = max(float(local[8, 1]), 0.3 * width)
  unit = float(np.sqrt(width * depth / _DEPTH))
  middle = float(low + high) / 2
  # The bridge of the nose slides over the middle of a head that turns.
  sine = np.clip((local[27, 0] - middle) / (0.45 * width), -0.8, 0.8)
  head = Head(
    origin,
    axes,
    max(width, 0.9 * unit),
    unit,
    middle,
    _CROWN * unit,
    _HAT_HALF * width,
    float(np.sqrt(1 - sine**2)),
  )
  return _with_hair(head, masks, shape)


def _with_hair(head: Head, masks: Masks | None, shape: tuple[int, int]) -> Head:
  """Corrects the top of the head by what the masks show of hair and skull."""
  masks = masks or {}
  for name, mask in masks.items():
    if mask.shape != shape:
      raise ValueError(
        f"mask {name!r} must be {shape} like the image; got {mask.shape}"
      )
  known = [np.asarray(masks[n]) for n in ("hair", "skin", "head") if n in masks]
  if "hair" not in masks:
    if "background" not in masks:
      return head
    known = [~np.asarray(masks["background"])]
  solid = functools.reduce(np.logical_or, known)
  # Upwards in several columns, from well above the brows.
  start = 0.6 * head.crown
  columns = head.middle + head.width * np.linspace(-0.22, 0.22, 9)
  runs = [
    _run(solid, head, np.array([x, -start]), np.array([0.0, -1.0]), head.crown)
    for x in columns
  ]
  crown = start + float(np.median(runs))
  crown = float(np.clip(crown, 0.8 * head.crown, 1.55 * head.crown))
  level, inside = -_HAT_LINE * crown, 0.3 * head.width
  sides = [
    _run(
      solid,
      head,
      np.array([head.middle + side * inside, level]),
      np.array([float(side), 0.0]),
      head.width,
    )
    for side in (-1, 1)
  ]
  half = inside + sum(sides) / 2
  half = float(np.clip(half, 0.95 * head.half, 1.3 * head.half))
  lean = np.clip(
    (sides[1] - sides[0]) / 2, -0.08 * head.width, 0.08 * head.width
  )
  middle = head.middle + float(lean)
  return head._replace(crown=crown, half=half, middle=middle)


def _run(
  solid: np.ndarray,
  head: Head,
  start: np.ndarray,
  step: np.ndarray,
  limit: float,
) -> float:
  """How far a straight line stays in the mask, in pixels, up to a limit."""
  distance = np.arange(0.0, max(limit, 2.0))
  points = head.pixels(start + distance[:, None] * step)
  columns, rows = np.floor(points).astype(int).T
  height, width = solid.shape
  # Beyond the border the head goes on as it was.
  inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
  hit = np.zeros(len(distance), bool)
  hit[inside] = solid[rows[inside], columns[inside]]
  free = np.flatnonzero(inside & ~hit)
  # A few pixels of a parting are no end.
  gap = max(round(0.02 * head.width), 1)
  for first in free:
    if not hit[first : first + gap + 1].any():
      return float(first)
  return float(inside.sum()) if not inside.all() else float(limit)


def targets(kind: str, landmarks: Points, head: Head) -> Points:
  """Where the anchors of a kind of sticker belong on a face.

  Args:
    kind: key of `artist.sticker_pen.ANCHORS`.
    landmarks: 68 points in pixels.
    head: what `measure` found.

  Returns:
    The places in pixels, in the order of the anchors: left before right.
  """
  local = (landmarks - head.origin) @ head.axes.T
  eyes = [local[eye] for eye in EYES]
  top, width, middle = head.crown, head.width, head.middle
  line = -_HAT_LINE * top
  if kind == "eyes":
    return np.stack([landmarks[eye].mean(0) for eye in EYES])
  if kind == "jaw":
    return landmarks[[28, 3, 13, 8]]
  if kind == "cheeks":
    mouth = local[48:60, 1].mean()
    places = []
    for eye, end in zip(eyes, (local[1, 0], local[15, 0])):
      low = eye[:, 1].max()
      x = 0.6 * eye[:, 0].mean() + 0.4 * end
      places.append((x, low + 0.4 * (mouth - low)))
  elif kind == "mouth":
    x, y = 0.55 * local[33] + 0.45 * local[51]
    reach = 0.2 * head.unit * head.squeeze
    places = [(x - reach, y), (x + reach, y)]
  elif kind in ("forehead", "head_top"):
    places = [(middle - head.half, line), (middle + head.half, line)]
    if kind == "head_top":
      places.append((middle, -top))
  elif kind in ("above", "beside"):
    # Wide hair pushes aside what floats around it.
    half = 0.5 * width * max(head.half / (_HAT_HALF * width), 1.0)
    y = -top if kind == "above" else 0.0
    places = [(middle - half, y), (middle + half, y)]
  else:
    raise ValueError(f"there is no kind of sticker {kind!r}")
  return head.pixels(np.array(places, np.float64))
