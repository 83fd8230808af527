"""Stickers put on a face: the artist's drawings, held by the 68 landmarks.

Every sticker is held by two to four anchors (`artist.sticker_pen.ANCHORS`)
whose places on this face `placement.targets` computes. One affine map without
shear takes them there: it turns with the head's roll, moves with its yaw, and
squeezes what is flat on the face (glasses, moustache) as the yaw squeezes the
face. Only the medical mask may be sheared, to follow a turned jaw.

What does not fit: hats and ears are flattened down to 0.7 of their height when
the picture ends above the head, and then cut off by its border; a bubble is
shrunk down to 0.5 and moved into the picture; what floats above the head is
lowered by at most 0.15 faces and then cut off.
`place` tells how much of each sticker is seen.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import TypeAlias

import jax
import numpy as np
from jaxtyping import Float, Float32, Float64
from PIL import Image
from scipy import ndimage

from chibijax.artist.stickers import Sticker, draw_sticker
from chibijax.post.placement import (
  EYES,
  Head,
  Landmarks,
  Masks,
  Points,
  measure,
  targets,
)

Picture: TypeAlias = Float[np.ndarray, "h w c"] | Float[jax.Array, "h w c"]

_FLATTEST, _SMALLEST = 0.7, 0.5
# Stickers whose place is free are moved so far from the border, in faces.
_ROOM = 0.02
# Height of eye, in units of the drawing, that glasses have room for.
_LENS = 27.0
# Pixels from which on stickers are moved linearly instead of by cubics.
_LARGE = 120_000


@dataclasses.dataclass(frozen=True)
class Placement:
  """Where one sticker goes.

  Attributes:
    name: of the sticker.
    sticker: drawn at about the size it is needed in.
    transform: takes pixels of its image to pixels of the picture.
    box: left, top, right, bottom of it in the picture, which may end before.
    seen: part of the box that lies within the picture, 0 to 1.
    scale: 1, or how far it had to be flattened or shrunk to fit.
  """

  name: str
  sticker: Sticker
  transform: Float64[np.ndarray, "2 3"]
  box: tuple[float, float, float, float]
  seen: float
  scale: float


def apply(
  image: Picture,
  names: str | Sequence[str],
  *,
  landmarks: Landmarks | None,
  masks: Masks | None = None,
  color: str | None = None,
  text: str | None = None,
  seed: int = 0,
) -> Float32[np.ndarray, "h w c"]:
  """Puts stickers on a face, in the order of their names.

  Args:
    image: [H, W, 3] or, with straight alpha, [H, W, 4], sRGB in [0, 1].
    names: of `artist.stickers.STICKERS`; one name or several.
    landmarks: 68 points in pixels (iBUG order).
    masks: with "hair", fringes cover glasses and hats know how high to sit;
      with "background", or at least "hair", "skin" and "head", what belongs
      behind the head goes there. Without masks everything is on top.
    color: main colour of all of them: `#rrggbb` or a colour of the artist.
    text: what a speech bubble says.
    seed: an odd one mirrors what sits on one side (a bandage, a flower); the
      bubble goes where there is more room.

  Returns:
    A picture of the same shape. Alpha grows where a sticker covers transparent
    parts, and is kept elsewhere.

  Raises:
    UserError: if a name, the colour or the text is of no use.
    ValueError: if landmarks are missing, shapes do not agree, or the face is
      narrower than 8 pixels.
  """
  # No copy is changed below that the caller can see.
  result = np.array(image, np.float32)
  if result.shape[-1] not in (3, 4):
    raise ValueError(f"image must have 3 or 4 channels; got {result.shape}")
  placements = place(
    names,
    result.shape[:2],
    landmarks=landmarks,
    masks=masks,
    color=color,
    text=text,
    seed=seed,
  )
  covers: dict[str, np.ndarray | None] = {}
  for placed in placements:
    layer = placed.sticker.layer
    if layer not in covers:
      covers[layer] = _cover(layer, masks, result.shape[:2])
    _composite(result, placed, covers[layer])
  return result


def place(
  names: str | Sequence[str],
  shape: tuple[int, int],
  *,
  landmarks: Landmarks | None,
  masks: Masks | None = None,
  color: str | None = None,
  text: str | None = None,
  seed: int = 0,
) -> tuple[Placement, ...]:
  """Finds where stickers go and how much of them will be seen.

  Args:
    names: see `apply`, also for the other arguments.
    shape: height and width of the picture.
    landmarks: 68 points in pixels.
    masks: of the picture.
    color: main colour.
    text: what a speech bubble says.
    seed: which side.

  Returns:
    One placement a sticker.

  Raises:
    UserError, ValueError: see `apply`.
  """
  head = measure(landmarks, masks, shape)
  points = np.asarray(landmarks, np.float64)
  found = []
  for name in [names] if isinstance(names, str) else names:
    mirrored = bool(seed % 2)
    if name == "speech_bubble":
      mirrored = (
        head.pixels(np.array([[head.middle, 0.0]]))[0, 0] > shape[1] / 2
      )
    pixels = _bucket(head.width)
    draw = functools.partial(draw_sticker, name, pixels, color=color, text=text)
    sticker = draw()
    if sticker.sided and mirrored:
      sticker = draw(mirrored=True)
    wanted = targets(sticker.kind, points, head)
    transform = _fit(sticker, wanted, points, head)
    transform, scale = _settle(sticker, transform, head, shape)
    box = _box(transform, sticker.image.shape[:2])
    found.append(
      Placement(name, sticker, transform, box, _seen(box, shape), scale)
    )
  return tuple(found)


def _fit(
  sticker: Sticker, wanted: Points, landmarks: Points, head: Head
) -> Float64[np.ndarray, "2 3"]:
  """The map of anchors to their places, its axes those of the wanted points.

  Two anchors fix turn, shift and width; height follows the width before the
  squeeze. Further anchors fix the height.
  """
  anchors = sticker.anchors.astype(np.float64)
  if sticker.kind == "jaw":
    # Four points at least squares; a turned jaw may shear the mask.
    design = np.concatenate([anchors, np.ones((4, 1))], 1)
    return np.linalg.lstsq(design, wanted, rcond=None)[0].T
  ours, theirs = anchors[1] - anchors[0], wanted[1] - wanted[0]
  wide = float(np.hypot(*theirs) / np.hypot(*ours))
  along = theirs / np.hypot(*theirs)
  down = np.array([-along[1], along[0]])
  flat = sticker.kind in ("eyes", "mouth", "cheeks")
  tall = wide / head.squeeze if flat else wide
  if sticker.kind == "eyes":
    # Lenses 35 units high should hold the eyes of a chibi as well.
    least = _eye_height(landmarks, head) / _LENS * 44 / float(np.hypot(*ours))
    tall = float(np.clip(least, tall, 1.3 * tall))
  if len(anchors) == 3:
    # The third lies off the line of the first two: its distance is the height.
    foot = wanted[:2].mean(0)
    ours_up = anchors[:2, 1].mean() - anchors[2, 1]
    tall = float((foot - wanted[2]) @ down) / float(ours_up)
    tall = float(np.clip(tall, 0.75 * wide, 1.35 * wide))
  linear = np.stack([wide * along, tall * down], 1)
  shift = wanted[:2].mean(0) - linear @ anchors[:2].mean(0)
  return np.concatenate([linear, shift[:, None]], 1)


def _eye_height(landmarks: Points, head: Head) -> float:
  """Height of the taller eye, in pixels."""
  local = landmarks @ head.axes.T
  return max(float(np.ptp(local[eye, 1])) for eye in EYES)


def _settle(
  sticker: Sticker,
  transform: Float64[np.ndarray, "2 3"],
  head: Head,
  shape: tuple[int, int],
) -> tuple[Float64[np.ndarray, "2 3"], float]:
  """Fits a sticker into the picture as far as its kind allows."""
  size = sticker.image.shape[:2]
  height, width = shape
  gap = _ROOM * head.width
  box = _box(transform, size)
  anchors = sticker.anchors.astype(np.float64)
  if sticker.kind == "head_top":
    foot = transform @ np.array([*anchors[:2].mean(0), 1.0])
    # Both are measured upwards from the line of hats, whichever way up is.
    needed = anchors[:2, 1].mean() * float(np.hypot(*transform[:, 1]))
    room = _room(foot, -head.axes[1], shape) - gap
    if needed <= room:
      return transform, 1.0
    scale = float(np.clip(room / needed, _FLATTEST, 1.0))
    linear = transform[:, :2] * np.array([1.0, scale])
    shift = foot - linear @ anchors[:2].mean(0)
    return np.concatenate([linear, shift[:, None]], 1), scale
  moved = transform.copy()
  scale = 1.0
  if sticker.kind == "beside":
    edge = head.pixels(np.array([[head.middle, 0.0]]))[0]
    right = (box[0] + box[2]) / 2 > edge[0]
    side = transform @ np.array([*anchors[int(right)], 1.0])
    room = (width - side[0] if right else side[0]) - gap
    scale = float(np.clip(room / (box[2] - box[0]), _SMALLEST, 1.0))
    moved[:, :2] *= scale
    moved[:, 2] = side - moved[:, :2] @ anchors[int(right)]
    box = _box(moved, size)
    moved[0, 2] += max(gap - box[0], 0) + min(width - gap - box[2], 0)
    moved[1, 2] += max(gap - box[1], 0) + min(height - gap - box[3], 0)
  elif sticker.kind == "above":
    moved[1, 2] += float(np.clip(gap - box[1], 0, 0.15 * head.width))
  return moved, scale


def _room(
  point: Float64[np.ndarray, "2"],
  direction: Float64[np.ndarray, "2"],
  shape: tuple[int, int],
) -> float:
  """How far it is from a point to the picture's border."""
  far = np.where(direction > 0, np.array(shape[::-1]) - point, -point)
  steps = far / np.where(np.abs(direction) < 1e-9, 1e-9, direction)
  return float(max(steps[np.abs(direction) > 1e-9].min(), 0.0))


def _box(
  transform: Float64[np.ndarray, "2 3"], size: tuple[int, int]
) -> tuple[float, float, float, float]:
  """Left, top, right, bottom of a sticker's picture once moved."""
  height, width = size
  corners = np.array(
    [[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]], float
  )
  moved = corners @ transform.T
  low, high = moved.min(0), moved.max(0)
  return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def _seen(
  box: tuple[float, float, float, float], shape: tuple[int, int]
) -> float:
  """Part of a box that lies in the picture."""
  (left, top, right, bottom), (height, width) = box, shape
  across = max(min(right, width) - max(left, 0), 0)
  down = max(min(bottom, height) - max(top, 0), 0)
  return float(across * down / max((right - left) * (bottom - top), 1e-9))


def _bucket(width: float) -> int:
  """Size to draw for a face: steps of the root of two, so that few are kept."""
  step = int(np.ceil(2 * np.log2(max(width, 16) / 16)))
  return min(round(16 * 2 ** (step / 2)), 1448)


def _cover(
  layer: str, masks: Masks | None, shape: tuple[int, int]
) -> Float32[np.ndarray, "h w"] | None:
  """How much of a layer is seen where; None is all of it everywhere."""
  masks = masks or {}
  front: np.ndarray | None = None
  if layer == "under_hair" and "hair" in masks:
    front = np.asarray(masks["hair"])
  elif layer == "behind_head":
    if "background" in masks:
      front = ~np.asarray(masks["background"])
    elif "hair" in masks and ("skin" in masks or "head" in masks):
      known = [
        np.asarray(masks[n]) for n in ("hair", "skin", "head") if n in masks
      ]
      front = functools.reduce(np.logical_or, known)
  if front is None:
    return None
  # Antialiased on the outer side only: what is in front stays as it was.
  soft = ndimage.uniform_filter((~front).astype(np.float32), 3, mode="nearest")
  return np.where(front, np.float32(0), np.minimum(soft * 1.5, 1))


def _composite(
  image: Float32[np.ndarray, "h w c"],
  placed: Placement,
  cover: Float32[np.ndarray, "h w"] | None,
) -> None:
  """Draws one sticker over the picture, in place."""
  height, width = image.shape[:2]
  left, top = (max(int(np.floor(v)), 0) for v in placed.box[:2])
  right = min(int(np.ceil(placed.box[2])), width)
  bottom = min(int(np.ceil(placed.box[3])), height)
  if left >= right or top >= bottom:
    return
  large = (right - left) * (bottom - top) > _LARGE
  inverse = np.linalg.inv(placed.transform[:, :2])
  offset = inverse @ (np.array([left, top]) - placed.transform[:, 2])
  moved = (
    Image.fromarray(placed.sticker.image)
    .convert("RGBa")
    .transform(
      (right - left, bottom - top),
      Image.Transform.AFFINE,
      np.concatenate([inverse, offset[:, None]], 1).ravel().tolist(),
      # Large drawings are much cheaper so, and shrink a little anyway.
      Image.Resampling.BILINEAR if large else Image.Resampling.BICUBIC,
    )
  )
  layer = np.asarray(moved).astype(np.float32) / 255
  if cover is not None:
    layer *= cover[top:bottom, left:right, None]
  alpha = layer[..., 3:]
  # Bicubic ringing may exceed the alpha that colours are multiplied by.
  color = np.minimum(layer[..., :3], alpha)
  region = image[top:bottom, left:right]
  if image.shape[-1] == 3:
    region[:] = region * (1 - alpha) + color
    return
  under = region[..., 3:] * (1 - alpha)
  total = under + alpha
  mixed = (region[..., :3] * under + color) / np.maximum(total, 1e-6)
  touched = alpha > 0
  region[..., :3] = np.where(touched, mixed, region[..., :3])
  region[..., 3:] = np.where(touched, total, region[..., 3:])
