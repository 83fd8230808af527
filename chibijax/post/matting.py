"""Person and background told apart along the edge of a binary mask.

In a band along the edge the share of the person in each pixel (alpha) is found
anew by a guided filter (He et al. 2013, "Guided image filtering"; its fast
version of 2015), and the colours of person and background are told apart by
their neighbours (Germer et al. 2020; Forte 2021, "Approximate fast foreground
colour estimation").
"""

from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Bool, Float32
from scipy import ndimage

Plane: TypeAlias = Float32[np.ndarray, "h w"]
Color3: TypeAlias = Float32[np.ndarray, "h w 3"]

# Half width of the band where alpha is found anew, over the shorter side.
_BAND = 0.015
# The guided filter's regularisation, in squared sRGB.
_EPSILON = 2e-4


class Matte(NamedTuple):
  """Person and background of one picture, told apart.

  Attributes:
    alpha: share of the person, exactly 1 or 0 outside of the band.
    rows, columns: pixels of the band.
    person: colours [n, 3] that the person alone has in the band.
    scene: colours [n, 3] that the background alone has there.
  """

  alpha: Plane
  rows: np.ndarray
  columns: np.ndarray
  person: Float32[np.ndarray, "n 3"]
  scene: Float32[np.ndarray, "n 3"]


def separate(image: Color3, person: Bool[np.ndarray, "h w"]) -> Matte:
  """Finds alpha and both colours along the edge of a mask.

  Args:
    image: sRGB in [0, 1].
    person: True on the person; its edge may be off by about the band's width,
      1.5 % of the shorter side.

  Returns:
    The matte.
  """
  height, width = person.shape
  reach = max(round(_BAND * min(height, width)), 3)
  solid = person.astype(np.float32)
  # Distance is counted in a square; a running mean is the cheapest way.
  near = ndimage.uniform_filter(solid, 2 * reach + 1, mode="nearest")
  rows, columns = np.nonzero((near > 1e-4) & (near < 1 - 1e-4))
  if not len(rows):
    empty = np.zeros((0, 3), np.float32)
    return Matte(solid, rows, columns, empty, empty)
  # The filters work on a picture of about 256 pixels: their results are smooth.
  step = max(min(height, width) // 256, 1)
  small = shrink(image, step)
  mask = shrink(solid[..., None], step)
  radius = max(round(1.5 * reach / step), 2)
  lines = _guide(small, mask, radius)
  spot = image[rows, columns]
  at = _sample(lines, rows, columns, step)
  share = (at[:, :3] * spot).sum(1) + at[:, 3]
  # The filter leaves a veil on both sides; the ends are stretched to be firm.
  share = np.clip((share - 0.05) / 0.9, 0, 1)
  # Towards the band's border alpha is led back to the mask.
  firm = np.abs(2 * near[rows, columns] - 1)
  keep = np.clip((firm - 0.6) / 0.4, 0, 1)
  share = share + (solid[rows, columns] - share) * keep
  alpha = solid.copy()
  alpha[rows, columns] = share
  whole = shrink(alpha[..., None], step)
  sides = _sample(_colors(small, whole, 2 * radius), rows, columns, step)
  front, back = sides[:, :3], sides[:, 3:]
  weight = share[:, None]
  missing = spot - weight * front - (1 - weight) * back
  # What the two do not explain belongs to each in proportion to its share.
  front = np.clip(front + weight * missing, 0, 1)
  back = np.clip(back + (1 - weight) * missing, 0, 1)
  return Matte(alpha, rows, columns, front, back)


def shrink(
  image: Float32[np.ndarray, "h w c"], step: int
) -> Float32[np.ndarray, "c h2 w2"]:
  """Means of squares of `step` pixels; the border is repeated to fill them.

  Small pictures keep their channels apart: the filters go through them faster.
  """
  height, width = image.shape[:2]
  more = -height % step, -width % step
  if any(more):
    image = np.pad(image, ((0, more[0]), (0, more[1]), (0, 0)), mode="edge")
  rows = sum(image[k::step] for k in range(step))
  whole = sum(rows[:, k::step] for k in range(step))
  return np.ascontiguousarray(np.moveaxis(whole, -1, 0)) / np.float32(step**2)


def _mean(
  planes: Float32[np.ndarray, "c h w"], radius: int
) -> Float32[np.ndarray, "c h w"]:
  """Means of squares."""
  for axis in (1, 2):
    planes = ndimage.uniform_filter1d(
      planes, 2 * radius + 1, axis=axis, mode="nearest"
    )
  return planes


def _guide(
  image: Float32[np.ndarray, "3 h w"],
  mask: Float32[np.ndarray, "1 h w"],
  radius: int,
) -> Float32[np.ndarray, "4 h w"]:
  """Coefficients of alpha as a linear function of colour."""
  r, g, b = image
  products = np.stack([r * r, r * g, r * b, g * g, g * b, b * b])
  means = _mean(np.concatenate([image, mask, products, image * mask]), radius)
  (mr, mg, mb), share = means[:3], means[3]
  rr, rg, rb, gg, gb, bb = means[4:10] - np.stack(
    [mr * mr, mr * mg, mr * mb, mg * mg, mg * mb, mb * mb]
  )
  rr, gg, bb = rr + _EPSILON, gg + _EPSILON, bb + _EPSILON
  x, y, z = means[10:] - means[:3] * share
  # The inverse of the symmetric 3 x 3 covariance, by cofactors.
  ii, ij, ik = gg * bb - gb * gb, gb * rb - rg * bb, rg * gb - gg * rb
  jj, jk, kk = rr * bb - rb * rb, rb * rg - rr * gb, rr * gg - rg * rg
  slope = np.stack(
    [
      ii * x + ij * y + ik * z,
      ij * x + jj * y + jk * z,
      ik * x + jk * y + kk * z,
    ]
  ) / (rr * ii + rg * ij + rb * ik)
  offset = share - (slope * means[:3]).sum(0)
  return _mean(np.concatenate([slope, offset[None]]), radius)


def _colors(
  image: Float32[np.ndarray, "3 h w"],
  alpha: Float32[np.ndarray, "1 h w"],
  radius: int,
) -> Float32[np.ndarray, "6 h w"]:
  """Colours of person, then background, near each pixel, from surer pixels."""
  # Squared, so that mixed pixels have little say in either colour.
  front, back = alpha**2, (1 - alpha) ** 2
  stacked = np.concatenate([image * front, image * back, front, back])
  means = _mean(stacked, radius)
  little = np.float32(1e-4)
  return np.concatenate(
    [
      (means[:3] + little * image) / (means[6] + little),
      (means[3:6] + little * image) / (means[7] + little),
    ]
  )


def _sample(
  planes: Float32[np.ndarray, "c h w"],
  rows: np.ndarray,
  columns: np.ndarray,
  step: int,
) -> Float32[np.ndarray, "n c"]:
  """Values of a shrunk picture at pixels of the whole one, bilinear."""
  height, width = planes.shape[1:]
  ends = []
  for index, size in ((rows, height), (columns, width)):
    place = np.clip((index + 0.5) / step - 0.5, 0, size - 1)
    first = np.minimum(place.astype(np.intp), max(size - 2, 0))
    rest = (place - first).astype(np.float32)[:, None]
    ends.append((first, np.minimum(first + 1, size - 1), rest))
  (top, bottom, down), (left, right, across) = ends
  flat = np.moveaxis(planes, 0, -1).reshape(height * width, -1)
  upper = flat[top * width + left] * (1 - across)
  upper += flat[top * width + right] * across
  lower = flat[bottom * width + left] * (1 - across)
  lower += flat[bottom * width + right] * across
  return upper * (1 - down) + lower * down
