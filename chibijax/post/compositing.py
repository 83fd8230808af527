"""Putting a face that was turned into something else back into its photo.

A picture of the canonical frame (see `chibijax.faces.align`) goes back to where
it was cut from, so that nothing tells where it ends. Outside of where it
reaches the photo keeps its bits. Three ways, all on the host:

- "feather": the picture fades out.
- "laplacian": each band of detail fades out over its own width (Burt and
  Adelson 1983, "A multiresolution spline with application to image mosaics"):
  colours over the whole feather, fine detail at once, so nothing is seen twice.
- "poisson": the picture keeps its own gradients and takes the photo's colours
  at its edge (Perez, Gangnet and Blake 2003, "Poisson image editing"). A
  smooth membrane is added that makes up for the difference along the edge, as
  in Farbman et al. 2009, "Coordinates for instant image cloning". Colours
  change to the middle of the face.

A transform takes points of the photo to the frame. Masks and pictures belong to
the frame, and are [s, s] and [s, s, 3] or, with straight alpha, [s, s, 4].
Photos are uint8, or float32 in [0, 1], sRGB [h, w, 3] or [h, w, 4], and results
are of the same type; a photo's alpha is kept as it is.
"""

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from chibijax.ops import affine
from chibijax.post import pyramid

Photo: TypeAlias = UInt8[np.ndarray, "h w c"] | Float32[np.ndarray, "h w c"]
Picture: TypeAlias = UInt8[np.ndarray, "s t d"] | Float32[np.ndarray, "s t d"]
Mask: TypeAlias = Bool[np.ndarray, "m n"] | Float[np.ndarray, "m n"]
Transform: TypeAlias = Float[np.ndarray, "2 3"]
Number: TypeAlias = float | int

METHODS = ("feather", "laplacian", "poisson")
# In units of the frame's side.
FEATHER = 0.08
# At this feather the seam is hardly seen without any match; half of it takes
# half of a network's drift in colour away, and half of a wanted change.
MATCH = 0.5
# How far colours are matched at most: the contrast, and the level in [0, 1].
_MOST_GAIN = 1.3
_MOST_OFFSET = 0.15
# A change from pixel to pixel that nobody sees, half a level.
_UNSEEN = 0.5 / 255
# Along a seam, in units of the root of the pasted area: a seam is seen because
# its steps are alike over such a length.
_ALONG = 0.02


class SeamReport(NamedTuple):
  """How visible a seam is.

  Attributes:
    ratio: `jump` over `native`. 1 or less: nothing is seen at the seam that
      the photo itself does not have there; 2: a change twice as strong.
    jump: root mean square of the result's change across the seam, averaged
      along it over a short way, in [0, 1] units per pixel.
    native: the same of the photo.
  """

  ratio: float
  jump: float
  native: float


def paste_back(
  photo: Photo,
  picture: Picture,
  transform: Transform,
  *,
  mask: Mask | None = None,
  feather: Number = FEATHER,
  method: str = "laplacian",
  match: Number = MATCH,
) -> Photo:
  """Puts a picture of the canonical frame into its photo.

  Args:
    photo: the photo; it is not changed.
    picture: in the canonical frame.
    transform: from the photo to the frame.
    mask: what of the picture is used: one of bools is softened inwards, one of
      shares in [0, 1] is taken as it is; None is all of the frame.
    feather: width of the fade at the edges of frame and mask, in units of the
      frame's side, 0 to 0.5; 0 is a hard edge.
    method: see above.
    match: how much of the difference in level and contrast along the seam is
      taken out of the picture first, 0 to 1.

  Returns:
    The photo with the picture in it.

  Raises:
    ValueError: if a value is out of range or a shape does not fit.
  """
  _check(picture, mask, feather, method, match)
  result = photo.copy()
  found = _place(photo.shape[:2], picture, transform, mask, feather)
  if found is None:
    return result
  rows, columns, over, alpha = found
  under = _unit(photo[rows, columns, :3])
  over = _matched(over, under, alpha, float(match))
  if method == "feather" or feather == 0:
    mixed = under + (over - under) * alpha[..., None]
  elif method == "laplacian":
    scale = _scale(transform)
    width = float(feather) * max(picture.shape[:2]) / scale
    mixed = _blend_bands(under, over, alpha, width)
  else:
    mixed = _blend_gradients(under, over, alpha)
  mixed = np.clip(mixed, 0, 1)
  if photo.dtype == np.uint8:
    mixed = np.round(mixed * 255)
  touched = (alpha > 0)[..., None]
  region = result[rows, columns]  # A view: writing to it is enough.
  region[..., :3] = np.where(touched, mixed, region[..., :3])
  return result


def paste_all(
  photo: Photo,
  pictures: Sequence[Picture],
  transforms: Sequence[Transform],
  *,
  masks: Sequence[Mask | None] | None = None,
  feather: Number = FEATHER,
  method: str = "laplacian",
  match: Number = MATCH,
) -> Photo:
  """Puts several faces back, the nearest over the others.

  Args:
    photo: the photo; it is not changed.
    pictures: one for each face.
    transforms: from the photo to each frame.
    masks: one for each face, as for `paste_back`.
    feather: as for `paste_back`.
    method: as for `paste_back`.
    match: as for `paste_back`.

  Returns:
    The photo with all of them: larger faces, which are taken to be nearer,
    cover smaller ones.

  Raises:
    ValueError: as for `paste_back`, and if there are not as many of each.
  """
  masks = [None] * len(pictures) if masks is None else masks
  if not len(pictures) == len(transforms) == len(masks):
    raise ValueError(
      "pictures, transforms and masks must be as many, got "
      f"{len(pictures)}, {len(transforms)} and {len(masks)}"
    )
  far_first = sorted(
    range(len(pictures)),
    # The side of the frame in the photo, whatever its size in pixels.
    key=lambda k: max(pictures[k].shape[:2]) / _scale(transforms[k]),
  )
  for k in far_first:
    photo = paste_back(
      photo, pictures[k], transforms[k], mask=masks[k], feather=feather,
      method=method, match=match,
    )  # fmt: skip
  return photo.copy() if not len(pictures) else photo


def coverage(
  shape: tuple[int, int],
  transform: Transform,
  frame: tuple[int, int],
  mask: Mask | None = None,
  feather: Number = FEATHER,
) -> Float32[np.ndarray, "h w"]:
  """How much of each pixel of a photo a pasted picture takes.

  Args:
    shape: height and width of the photo.
    transform: from the photo to the frame.
    frame: height and width of the frame.
    mask: as for `paste_back`.
    feather: as for `paste_back`.

  Returns:
    Shares in [0, 1].
  """
  alpha = np.zeros(shape, np.float32)
  found = _place(
    shape, np.zeros((*frame, 3), np.uint8), transform, mask, feather
  )
  if found is not None:
    rows, columns, _, share = found
    alpha[rows, columns] = share
  return alpha


def seam(
  photo: Photo,
  result: Photo,
  transform: Transform,
  mask: Mask | None = None,
  *,
  frame: tuple[int, int] | None = None,
  feather: Number = FEATHER,
) -> SeamReport:
  """Measures how visible the seam of a pasted picture is.

  The change across the seam (the derivative along the gradient of
  `coverage`, at the scale of a pixel) is averaged along it, signs kept, so
  that texture cancels and an edge does not; its root mean square in the result
  is set against that in the photo.

  Args:
    photo: before.
    result: after `paste_back`.
    transform: from the photo to the frame.
    mask: as for `paste_back`.
    frame: height and width of the frame; those of the mask by default.
    feather: as for `paste_back`.

  Returns:
    The figures; a ratio of 1 where there is no seam inside the photo.

  Raises:
    ValueError: if neither `mask` nor `frame` is given.
  """
  if mask is None and frame is None:
    raise ValueError("seam needs a mask, or the frame's height and width")
  frame = frame or mask.shape
  alpha = coverage(photo.shape[:2], transform, frame, mask, feather)
  rows, columns = affine.window(transform, frame, photo.shape[:2])
  # A pixel more on each side, where there is one: the seam may lie between.
  rows, columns = (
    slice(max(s.start - 2, 0), s.stop + 2) for s in (rows, columns)
  )
  alpha = alpha[rows, columns]
  if min(alpha.shape) < 3:
    return SeamReport(1.0, 0.0, 0.0)
  down, across = np.gradient(alpha)
  steepness = np.hypot(down, across)
  total = float(steepness.sum())
  if total < 1e-3:
    return SeamReport(1.0, 0.0, 0.0)
  normal = np.stack([down, across]) / np.maximum(steepness, 1e-6)
  radius = max(1, round(_ALONG * float(np.sqrt(alpha.sum()))))

  def unrest(picture: Photo) -> float:
    values = _unit(picture[rows, columns, :3])
    vertical, horizontal = np.gradient(values, axis=(0, 1))
    change = vertical * normal[0, ..., None] + horizontal * normal[1, ..., None]
    weight = steepness[..., None]
    near = pyramid.box_blur(change * weight, radius)
    near = near / np.maximum(pyramid.box_blur(weight, radius), 1e-9)
    return float(np.sqrt((near**2 * weight).sum() / (3 * total)))

  jump, native = unrest(result), unrest(photo)
  ratio = max(jump, _UNSEEN) / max(native, _UNSEEN)
  return SeamReport(ratio, jump, native)


def _check(
  picture: Picture,
  mask: Mask | None,
  feather: Number,
  method: str,
  match: Number,
) -> None:
  if picture.shape[2] not in (3, 4):
    raise ValueError(f"picture must have 3 or 4 channels, got {picture.shape}")
  if mask is not None and mask.shape != picture.shape[:2]:
    raise ValueError(
      f"mask must be of the picture's shape {picture.shape[:2]}, got "
      f"{mask.shape}"
    )
  if not 0 <= feather <= 0.5 or not 0 <= match <= 1:
    raise ValueError(
      "feather must be in [0, 0.5] and match in [0, 1], got "
      f"{feather} and {match}"
    )
  if method not in METHODS:
    raise ValueError(f"method must be one of {METHODS}, got {method!r}")


def _scale(transform: Transform) -> float:
  """Pixels of the frame per pixel of the photo."""
  return float(np.sqrt(abs(np.linalg.det(transform[:, :2]))))


def _unit(picture: Photo) -> Float32[np.ndarray, "h w c"]:
  values = picture.astype(np.float32)
  return values / 255 if picture.dtype == np.uint8 else values


def _place(
  shape: tuple[int, int],
  picture: Picture,
  transform: Transform,
  mask: Mask | None,
  feather: Number,
) -> tuple[slice, slice, np.ndarray, np.ndarray] | None:
  """Where a picture lies in its photo: rows, columns, colours and shares."""
  frame = picture.shape[:2]
  rows, columns = affine.window(transform, frame, shape)
  size = rows.stop - rows.start, columns.stop - columns.start
  if not min(size):
    return None
  share = _softened(mask, frame, float(feather))
  values = _unit(picture)
  x, y = columns.start, rows.start
  back = affine.moved(affine.invert(transform), x, y)

  def warped(plane: np.ndarray) -> np.ndarray:
    return affine.warp(np.ascontiguousarray(plane), back, size)

  over = warped(values[..., :3])
  if picture.shape[2] == 4:
    share = share * values[..., 3]
    # Colours of transparent pixels must not reach their neighbours.
    solid = warped(values[..., 3])[..., None]
    mixed = warped(values[..., :3] * values[..., 3:])
    over = np.where(solid > 1e-2, mixed / np.maximum(solid, 1e-2), over)
  alpha = np.clip(warped(share), 0, 1)
  covered = affine.covered(transform, (x, y), size, frame[::-1])
  alpha = (alpha * covered).astype(np.float32)
  alpha[alpha < 1 / 512] = 0
  return rows, columns, np.clip(over, 0, 1), alpha


def _softened(
  mask: Mask | None, frame: tuple[int, int], feather: float
) -> Float32[np.ndarray, "s t"]:
  """A mask with soft edges that reach no further than its own."""
  fades = []
  for n in frame:
    place = np.arange(n) + 0.5
    inside = np.minimum(place, n - place) / max(feather * n, 1e-6)
    fades.append(np.clip(inside, 0, 1))
  share = affine.eased(np.minimum(fades[0][:, None], fades[1][None]))
  if mask is None:
    return share.astype(np.float32)
  soft = np.asarray(mask, np.float32)
  if mask.dtype == np.bool_ and feather > 0:
    radius = max(round(feather * max(frame) / 3), 1)
    for _ in range(3):  # Three boxes are about a Gaussian.
      soft = pyramid.box_blur(soft[..., None], radius)[..., 0]
    # Half of it lies outside: only what is inside fades.
    soft = affine.eased(np.clip(2 * soft - 1, 0, 1))
  return (share * soft).astype(np.float32)


def _matched(
  over: np.ndarray, under: np.ndarray, alpha: np.ndarray, amount: float
) -> np.ndarray:
  """The picture with the photo's level and contrast along the seam."""
  weight = alpha * (1 - alpha)
  if amount == 0 or weight.sum() < 1:
    return over
  weight = (weight / weight.sum())[..., None]
  mean_over, mean_under = ((weight * x).sum((0, 1)) for x in (over, under))
  spread_over, spread_under = (
    np.sqrt((weight * (x - mean) ** 2).sum((0, 1)) + 1e-4)
    for x, mean in ((over, mean_over), (under, mean_under))
  )
  gain = np.clip(spread_under / spread_over, 1 / _MOST_GAIN, _MOST_GAIN)
  offset = np.clip(mean_under - mean_over, -_MOST_OFFSET, _MOST_OFFSET)
  better = (over - mean_over) * gain + mean_over + offset
  return (over + amount * (better - over)).astype(np.float32)


def _guard(alpha: np.ndarray) -> np.ndarray:
  """1 where the picture rules, 0 where its alpha is: keeps the outside."""
  return affine.eased(np.clip(2 * alpha, 0, 1))[..., None]


def _blend_bands(
  under: np.ndarray, over: np.ndarray, alpha: np.ndarray, width: float
) -> np.ndarray:
  """Burt and Adelson's blend, over at most `width` pixels."""
  levels = max(int(np.log2(max(width, 2.0))), 1)
  # Detail ends within the middle half of the fade.
  share = np.clip(2 * alpha - 0.5, 0, 1)[..., None]
  blended = pyramid.blend(under, over, share, levels)
  return under + (blended - under) * _guard(alpha)


def _blend_gradients(
  under: np.ndarray, over: np.ndarray, alpha: np.ndarray
) -> np.ndarray:
  """Adds the membrane that makes the picture meet the photo at its edge."""
  edge = (alpha > 0) & (alpha < 0.5)
  if not edge.any():
    return under + (over - under) * alpha[..., None]
  weight = np.where(edge, 0.5 - alpha, 0.0)[..., None].astype(np.float32)
  membrane = pyramid.membrane(under - over, weight)
  return under + (over + membrane - under) * _guard(alpha)
