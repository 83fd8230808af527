"""Line work: extended differences of Gaussians, kept where lines belong.

Ink is a plane in [0, 1], 1 where the pen went. Pictures are [0, 1] sRGB.
"""

import functools
from collections.abc import Mapping
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float
from PIL import Image, ImageFilter

from chibijax.artist import drawing as parts
from chibijax.artist.palette import rgb
from chibijax.ops.image import luminance
from chibijax.ops.resample import bilinear
from chibijax.post import features
from chibijax.post.smooth import Picture, gaussian, split_alpha

Masks: TypeAlias = Mapping[str, Bool[np.ndarray, "_ _"]]
Number: TypeAlias = float | int

INK, PAPER = "#33232b", "#fbf7f0"
# The wider Gaussian over the narrower one (Marr and Hildreth's ratio).
_RATIO = 1.6
# Ink that is left on skin away from the features of the face.
_ON_SKIN = 0.12
# Ink that is left in the middle of hair.
_IN_HAIR = 0.4


@functools.partial(jax.jit, static_argnames=("sigma", "flow"))
def xdog(
  plane: Float[Array, "h w"],
  *,
  sigma: float,
  gain: Number | Float[Array, ""] = 20.0,
  tone: Number | Float[Array, ""] = 0.0,
  threshold: Number | Float[Array, ""] = 0.5,
  sharpness: Number | Float[Array, ""] = 8.0,
  flow: int = 0,
) -> Float[Array, "h w"]:
  """Finds dark lines and edges (Winnemoeller, Kyprianidis, Olsen 2012).

  The picture's difference of Gaussians D is thresholded by a soft ramp:
  ink = tanh(sharpness * max(0, u)), with u = -gain D - threshold for lines
  alone (tone 0), and u = threshold - plane - gain D for ink that also fills
  what is dark (tone 1).

  Args:
    plane: lightness in [0, 1].
    sigma: of the narrower Gaussian in pixels: about half a line's width.
    gain: how strongly edges count.
    tone: share of the lightness itself, [0, 1].
    threshold: what is needed for ink; in units of lightness.
    sharpness: of the ramp.
    flow: steps each way along which D is averaged in the direction of the line
      (the paper's flow-based variant): longer, quieter lines; 0 none.

  Returns:
    Ink.
  """
  both = plane[..., None]
  narrow = gaussian(both, sigma)
  wide = gaussian(both, sigma * _RATIO)
  edge = narrow - wide
  if flow:
    edge = _along(edge, _tangents(narrow, 2 * sigma), flow)
  response = gain * edge[..., 0]
  level = tone * narrow[..., 0] + (1 - tone) * 2 * threshold
  return jnp.tanh(sharpness * jnp.maximum(threshold - level - response, 0))


def _tangents(
  plane: Float[Array, "h w 1"], sigma: float
) -> Float[Array, "h w 2"]:
  """Unit vectors (x, y) along edges: the structure tensor's minor axis."""
  padded = jnp.pad(plane[..., 0], 1, mode="edge")
  dx = (padded[1:-1, 2:] - padded[1:-1, :-2]) / 2
  dy = (padded[2:, 1:-1] - padded[:-2, 1:-1]) / 2
  tensor = gaussian(jnp.stack([dx * dx, dx * dy, dy * dy], -1), sigma)
  xx, xy, yy = tensor[..., 0], tensor[..., 1], tensor[..., 2]
  # The angle of the gradient is half that of (xx - yy, 2 xy).
  length = jnp.sqrt(jnp.square(xx - yy) + 4 * xy * xy + 1e-12)
  cosine = (xx - yy) / length
  across = jnp.sqrt(jnp.maximum(0.5 * (1 + cosine), 1e-9))
  down = jnp.sign(xy) * jnp.sqrt(jnp.maximum(0.5 * (1 - cosine), 1e-9))
  return jnp.stack([-down, across], -1)


def _along(
  plane: Float[Array, "h w 1"], tangent: Float[Array, "h w 2"], steps: int
) -> Float[Array, "h w 1"]:
  """Gaussian mean along short straight pieces of the flow."""
  height, width, _ = plane.shape
  x = jnp.broadcast_to(jnp.arange(width)[None] + 0.5, (height, width))
  y = jnp.broadcast_to(jnp.arange(height)[:, None] + 0.5, (height, width))
  here = jnp.stack([x, y], -1)
  total, sum_of_weights = plane, 1.0
  for step in range(1, steps + 1):
    weight = float(np.exp(-0.5 * (2 * step / steps) ** 2))
    for side in (-1.5, 1.5):
      total += weight * bilinear(plane, here + side * step * tangent)
    sum_of_weights += 2 * weight
  return total / sum_of_weights


def ink(
  image: Picture,
  *,
  width: Number = 1.0,
  amount: Number = 0.5,
  tone: Number = 0.0,
  flow: int = 0,
  landmarks: Float[np.ndarray, "68 2"] | None = None,
  masks: Masks | None = None,
) -> Float[Array, "h w"]:
  """The lines of a picture, without wrinkles, pores and noise.

  Args:
    image: [0, 1]; smooth it first.
    width: of the lines; 1 is 1/300 of the longer side.
    amount: how many lines, [0, 1].
    tone: see `xdog`.
    flow: see `xdog`.
    landmarks: with them, lines on the face stay only near its features.
    masks: with "hair", its strands get less ink than its outline.

  Returns:
    Ink.

  Raises:
    ValueError: if an argument is out of range.
  """
  _check(width=(width, 0.3, 5), amount=(amount, 0, 1), tone=(tone, 0, 1))
  picture, alpha = split_alpha(image)
  if alpha is not None:
    picture = picture * alpha + (1 - alpha)
  shape = image.shape[:2]
  sigma = max(0.4, round(0.42 * width * max(shape) / 300, 2))
  light = _luma(picture)
  if tone:
    light = _skin_as_paper(light, features.skin(shape, landmarks, masks))
  found = xdog(
    light,
    sigma=sigma,
    gain=jnp.float32(8 + 22 * amount),
    tone=jnp.float32(tone),
    threshold=jnp.float32(0.5 if tone else 0.28),
    sharpness=jnp.float32(6.0),
    flow=flow,
  )
  if tone:
    # The ink of dark areas is one piece: no strokes are taken out of hair.
    masks = {k: v for k, v in (masks or {}).items() if k != "hair"}
  allowed = where_lines_belong(shape, landmarks, masks)
  return found if allowed is None else found * jnp.asarray(allowed)


_luma = jax.jit(luminance)


def _skin_as_paper(
  light: Float[Array, "h w"], skin: Float[np.ndarray, "h w"] | None
) -> Float[Array, "h w"]:
  """Lifts skin of any tone to that of paper: ink draws the light on it."""
  if skin is None:
    return light
  share = jnp.asarray(skin)
  inside = np.asarray(light)[skin > 0.5]
  if not inside.size:
    return light
  base = max(0.04, float(np.median(inside)))
  lifted = 0.62 + 0.30 * jnp.clip(light / base - 1, -1.6, 1)
  return light + share * (lifted - light)


def where_lines_belong(
  shape: tuple[int, int],
  landmarks: Float[np.ndarray, "68 2"] | None = None,
  masks: Masks | None = None,
) -> Float[np.ndarray, "h w"] | None:
  """1 where lines may be, little on plain skin; None if nothing is known."""
  allowed = np.ones(shape, np.float32)
  if masks and "hair" in masks:
    # Outlines of hair, and its deepest partings, not every strand.
    reach = 2 * (max(shape) // 150) + 1
    hair = Image.fromarray(np.uint8(masks["hair"]) * 255)
    inner = np.asarray(hair.filter(ImageFilter.BoxBlur(reach)), np.float32)
    allowed *= 1 - (1 - _IN_HAIR) * np.maximum(inner / 255 - 0.75, 0) / 0.25
  if landmarks is None:
    return allowed if masks else None
  points = features.check(landmarks, "lines")
  unit = features.scale(points)
  plain = features.skin(shape, points, masks)
  lines = [
    points[parts.LEFT_BROW],
    points[parts.RIGHT_BROW],
    points[parts.NOSE_BASE],
    points[parts.OUTER_MOUTH],
    points[60:65],
    points[parts.JAW],
    *(points[eye] for eye in features.EYES),
  ]
  near = features.stroke(shape, lines, 0.16 * unit, 0.05 * unit)
  near = np.maximum(near, features.eyes(shape, points, 1.3))
  face = features.face(shape, points, 0.97)
  return allowed * (1 - (1 - _ON_SKIN) * plain * face * (1 - near))


def draw(
  image: Picture,
  *,
  strength: Number = 0.8,
  width: Number = 1.0,
  amount: Number = 0.5,
  color: str = INK,
  flow: int = 0,
  landmarks: Float[np.ndarray, "68 2"] | None = None,
  masks: Masks | None = None,
  source: Float[np.ndarray | Array, "h w _"] | None = None,
) -> Float[Array, "h w c"]:
  """Draws the lines of a picture onto it.

  Args:
    image: [0, 1]; alpha is kept.
    strength: opacity of the ink, [0, 1].
    width: see `ink`.
    amount: see `ink`.
    color: of the ink, sRGB hex; it is mixed with the colour below, darkened.
    flow: see `xdog`.
    landmarks: see `ink`.
    masks: see `ink`.
    source: where the lines come from, if not from `image`.

  Returns:
    The picture.

  Raises:
    ValueError: if an argument is out of range or no colour.
  """
  _check(strength=(strength, 0, 1))
  picture, alpha = split_alpha(image)
  pen = jnp.asarray(np.array(rgb(color), np.float32) / 255)
  if strength == 0:
    return jnp.asarray(image, jnp.float32)
  found = ink(
    image if source is None else source,
    width=width,
    amount=amount,
    flow=flow,
    landmarks=landmarks,
    masks=masks,
  )
  result = _multiply(picture, found, pen, jnp.float32(strength))
  return result if alpha is None else jnp.concatenate([result, alpha], -1)


@jax.jit
def _multiply(
  image: Float[Array, "h w 3"],
  found: Float[Array, "h w"],
  pen: Float[Array, "3"],
  strength: Float[Array, ""],
) -> Float[Array, "h w 3"]:
  """A pen of its own colour where the picture is light, darker where dark."""
  share = (strength * found)[..., None]
  line = pen[None, None] * (0.35 + 0.65 * image)
  return image + share * (jnp.minimum(line, image) - image)


def draw_ink(
  image: Picture,
  *,
  strength: Number = 1.0,
  width: Number = 1.0,
  amount: Number = 0.6,
  color: str = INK,
  paper: str = PAPER,
  landmarks: Float[np.ndarray, "68 2"] | None = None,
  masks: Masks | None = None,
) -> Float[Array, "h w c"]:
  """Turns a picture into an ink drawing: pen and filled darks on paper.

  Args:
    image: [0, 1]; alpha is kept.
    strength: share of the drawing in the result, [0, 1].
    width: see `ink`.
    amount: see `ink`.
    color: of the ink, sRGB hex.
    paper: sRGB hex.
    landmarks: see `ink`.
    masks: see `ink`.

  Returns:
    The picture.

  Raises:
    ValueError: if an argument is out of range or no colour.
  """
  _check(strength=(strength, 0, 1))
  picture, alpha = split_alpha(image)
  pens = [np.array(rgb(c), np.float32) / 255 for c in (color, paper)]
  if strength == 0:
    return jnp.asarray(image, jnp.float32)
  found = ink(
    image,
    width=width,
    amount=amount,
    tone=1.0,
    landmarks=landmarks,
    masks=masks,
  )[..., None]
  drawn = found * pens[0][None, None] + (1 - found) * pens[1][None, None]
  result = picture + strength * (drawn - picture)
  return result if alpha is None else jnp.concatenate([result, alpha], -1)


def _check(**values: tuple[Number, Number, Number]) -> None:
  for name, (value, low, high) in values.items():
    if not low <= value <= high:
      raise ValueError(f"{name} must be in [{low}, {high}]; got {value!r}")
