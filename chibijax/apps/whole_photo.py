"""Avatars and stickers in the photo they came from.

A picture of the photo's own pixels (a toon, a network's) goes back to where it
was cut, under a soft mask of the head. A drawn chibi is set over its person
like a sticker, larger than life, with the head upright as in the photo.
"""

from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8
from PIL import Image, ImageFilter

from chibijax.apps.styles import Look, finish, landmarks_of
from chibijax.faces import align
from chibijax.faces.face import Face
from chibijax.post import compositing, recipe

Photo: TypeAlias = UInt8[np.ndarray, "h w 3"]

# Width of a drawn chibi's face over its person's.
LARGER = 1.45
# The chin of the chibi comes to lie so much below, in widths of the face.
LOWER = 0.12


def paste(
  photo: Photo, avatars: list[tuple[Face, Look, UInt8[np.ndarray, "s s c"]]]
) -> tuple[Photo, list[float]]:
  """Puts avatars into their photo.

  Args:
    photo: uint8 sRGB; it is not changed.
    avatars: a face, its look, and its finished picture, each; the largest
      first. The smallest are put in first, so that those in front cover those
      behind.

  Returns:
    The photo, and how visible the seam of each picture is that goes back where
    it was cut (1 is the photo's own unrest), in the order of the avatars.
  """
  result, seams = photo, []
  for face, look, image in reversed(avatars):
    if look.transform is None:
      result = _stick(result, face, look, image)
      continue
    before, alpha = result, head_alpha(look)
    result = compositing.paste_back(
      before, image[..., :3], look.transform, mask=alpha
    )
    seams.append(compositing.seam(before, result, look.transform, alpha).ratio)
  return result, seams[::-1]


def decorate(
  photo: Photo,
  faces: list[Face],
  steps: tuple[recipe.Step, ...],
  seed: int,
) -> Photo:
  """Applies the steps of a finish to a whole photo, for every face.

  Args:
    photo: uint8 sRGB; it is not changed.
    faces: those found in it.
    steps: of the finish.
    seed: of what is left to chance.

  Returns:
    The photo.
  """
  for face in faces:
    photo = finish(photo, steps, landmarks_of(face), face.mask, seed)
  return photo


def head_alpha(look: Look) -> Float32[np.ndarray, "s s"]:
  """How much of each pixel of a look belongs to the head, softly.

  Args:
    look: of a style that keeps the photo's pixels.

  Returns:
    Shares in [0, 1], zero at the frame's border.
  """
  size = len(look.image)
  inside = _oval(look.landmarks, size)
  for name in ("hair", "skin"):
    if name in look.masks:
      inside = inside | look.masks[name]
  reach = max(3, size // 40)
  grown = Image.fromarray(np.uint8(inside) * 255)
  grown = grown.filter(ImageFilter.MaxFilter(reach // 2 * 2 + 1))
  soft = np.asarray(grown.filter(ImageFilter.GaussianBlur(reach)), np.float32)
  edge = np.arange(size) + 0.5
  fade = np.clip(np.minimum(edge, size - edge) / (3 * reach), 0, 1)
  return (soft / 255 * fade[:, None] * fade[None]).astype(np.float32)


def _oval(
  landmarks: Float[np.ndarray, "68 2"], size: int
) -> Bool[np.ndarray, "s s"]:
  """A head's oval around the landmarks."""
  low, high = landmarks.min(0), landmarks.max(0)
  middle, reach = (low + high) / 2, (high - low) / 2
  # Half a face of forehead above the brows.
  middle[1] -= 0.35 * reach[1]
  reach = reach * [1.2, 1.45]
  y, x = np.mgrid[:size, :size] + 0.5
  return ((x - middle[0]) / reach[0]) ** 2 + (
    (y - middle[1]) / reach[1]
  ) ** 2 < 1


def _stick(
  photo: Photo, face: Face, look: Look, image: UInt8[np.ndarray, "s s c"]
) -> Photo:
  """Sets a drawn chibi over its person."""
  points = landmarks_of(face)
  width = float(np.linalg.norm(points[16] - points[0]))
  drawn_width = float(np.linalg.norm(look.landmarks[16] - look.landmarks[0]))
  scale = LARGER * width / drawn_width
  down = np.array([0, LOWER * width], np.float32)
  shift = points[8] + down - scale * look.landmarks[8]
  place = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]], np.float32)
  alpha = np.full(image.shape[:2], 1, np.float32)
  if image.shape[2] == 4:
    alpha = image[..., 3].astype(np.float32) / 255
  share, rim = _bust(len(image))
  colors = np.where(rim[..., None], np.uint8(255), image[..., :3])
  return align.paste(photo, colors, align.invert(place), alpha=alpha * share)


def _bust(
  size: int,
) -> tuple[Float32[np.ndarray, "s s"], Bool[np.ndarray, "s s"]]:
  """Rounds the lower end of a bust, which the picture's border cuts off.

  Returns:
    What is left of the picture, and its rim there, which is white like the rim
    of the drawing.
  """
  power = 2.6
  y, x = (np.mgrid[:size, :size] + 0.5) / size - 0.5
  distance = np.abs(x / 0.5) ** power + np.abs(y / 0.46) ** power
  # A pixel of transition: the slope at the lower end is power / 0.46.
  share = np.clip((1 - distance) * size * 0.46 / power + 0.5, 0, 1)
  share = np.where(y < 0, 1.0, share).astype(np.float32)
  return share, (y > 0) & (distance > 0.88)
