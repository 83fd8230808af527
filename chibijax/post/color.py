"""Colour spaces, colour differences, and a person's colours carried over.

Pictures are sRGB in [0, 1]. CIE Lab has the white of sRGB itself (D65, 2
degrees): L in [0, 100], a and b about [-110, 110]. OKLab (Ottosson 2020): L in
[0, 1]. Conversions are differentiable, also at black.
"""

import dataclasses
from collections.abc import Mapping
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float32

from chibijax.post.smooth import gaussian, split_alpha

# Sizes differ: those of the picture and of the reference meet in one call.
Mask: TypeAlias = Bool[np.ndarray, "_ _"]
Masks: TypeAlias = Mapping[str, Mask]
Number: TypeAlias = float | int
Colors: TypeAlias = Float[np.ndarray | Array, "*shape 3"]

# Linear sRGB to XYZ (IEC 61966-2-1); rows sum to the white.
_XYZ = np.array(
  [
    [0.4124564, 0.3575761, 0.1804375],
    [0.2126729, 0.7151522, 0.0721750],
    [0.0193339, 0.1191920, 0.9503041],
  ]
)
_WHITE = _XYZ.sum(1)
# Linear sRGB to the cones of OKLab, and their cube roots to its axes.
_CONES = np.array(
  [
    [0.4122214708, 0.5363325363, 0.0514459929],
    [0.2119034982, 0.6806995451, 0.1073969566],
    [0.0883024619, 0.2817188376, 0.6299787005],
  ]
)
_AXES = np.array(
  [
    [0.2104542553, 0.7936177850, -0.0040720468],
    [1.9779984951, -2.4285922050, 0.4505937099],
    [0.0259040371, 0.7827717662, -0.8086757660],
  ]
)
_EPSILON, _KAPPA = 216 / 24389, 24389 / 27
# Gains of lightness and chroma that still look like the same drawing.
_GAINS = ((0.75, 1.25), (0.6, 1.5))
# Fewer sampled pixels than this say nothing about a colour.
_FEWEST = 16


def srgb_to_linear(srgb: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
  """Removes the gamma of sRGB values in [0, 1]; below 0 it goes on linearly."""
  high = jnp.maximum(srgb, 0.04045)
  # exp(log) takes a quarter of XLA's pow on a CPU, at the same precision.
  curve = jnp.exp(2.4 * jnp.log((high + 0.055) / 1.055))
  return jnp.where(srgb <= 0.04045, srgb / 12.92, curve)


def linear_to_srgb(linear: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
  """Applies the gamma of sRGB; the inverse of `srgb_to_linear`."""
  high = jnp.maximum(linear, 0.0031308)
  curve = 1.055 * jnp.exp(jnp.log(high) / 2.4) - 0.055
  return jnp.where(linear <= 0.0031308, linear * 12.92, curve)


def srgb_to_lab(srgb: Colors) -> Float[Array, "*shape 3"]:
  """Converts sRGB in [0, 1] to CIE Lab under D65 (CIE 15:2004)."""
  srgb = jnp.asarray(srgb, jnp.float32)
  xyz = _mix(srgb_to_linear(srgb), _XYZ / _WHITE[:, None])
  root = _root(jnp.maximum(xyz, _EPSILON))
  f = jnp.where(xyz > _EPSILON, root, (_KAPPA * xyz + 16) / 116)
  x, y, z = f[..., 0], f[..., 1], f[..., 2]
  return jnp.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def lab_to_srgb(lab: Colors) -> Float[Array, "*shape 3"]:
  """Converts CIE Lab to sRGB; colours outside of its gamut are not clipped."""
  lab = jnp.asarray(lab, jnp.float32)
  y = (lab[..., 0] + 16) / 116
  f = jnp.stack([y + lab[..., 1] / 500, y, y - lab[..., 2] / 200], -1)
  cube = f**3
  xyz = jnp.where(cube > _EPSILON, cube, (116 * f - 16) / _KAPPA)
  return linear_to_srgb(_mix(xyz, np.linalg.inv(_XYZ / _WHITE[:, None])))


def srgb_to_oklab(srgb: Colors) -> Float[Array, "*shape 3"]:
  """Converts sRGB in [0, 1] to OKLab (Ottosson 2020)."""
  srgb = jnp.asarray(srgb, jnp.float32)
  # The floor keeps the cube root's slope finite; black gets L = 0.0005.
  cones = jnp.maximum(_mix(srgb_to_linear(srgb), _CONES), 1e-10)
  return _mix(_root(cones), _AXES)


def oklab_to_srgb(lab: Colors) -> Float[Array, "*shape 3"]:
  """Converts OKLab to sRGB; colours outside of its gamut are not clipped."""
  lab = jnp.asarray(lab, jnp.float32)
  cones = _mix(lab, np.linalg.inv(_AXES)) ** 3
  return linear_to_srgb(_mix(cones, np.linalg.inv(_CONES)))


def _root(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
  """Cube root of positive values."""
  return jnp.exp(jnp.log(x) / 3)


def _mix(
  x: Float[Array, "*shape 3"], matrix: Float[np.ndarray, "3 3"]
) -> Float[Array, "*shape 3"]:
  """Matrix times colour, without matrix units of reduced precision."""
  rows = matrix.tolist()
  return jnp.stack(
    [sum(m * x[..., k] for k, m in enumerate(row)) for row in rows], -1
  )


def delta_e2000(
  first: Float[np.ndarray | Array, "*shape 3"],
  second: Float[np.ndarray | Array, "*shape 3"],
) -> Float[np.ndarray, "*shape"]:
  """Colour difference CIEDE2000, all weights 1 (Sharma, Wu, Dalal 2005).

  Args:
    first: CIE Lab.
    second: CIE Lab, of the same shape; the difference is symmetric.

  Returns:
    The differences, in float64: about 1 can just be seen, above 10 is another
    colour.
  """
  one, two = np.asarray(first, np.float64), np.asarray(second, np.float64)
  chroma = [np.hypot(lab[..., 1], lab[..., 2]) for lab in (one, two)]
  seventh = (0.5 * (chroma[0] + chroma[1])) ** 7
  stretch = 1.5 - 0.5 * np.sqrt(seventh / (seventh + 25.0**7))
  polar = []
  for lab in (one, two):
    a, b = stretch * lab[..., 1], lab[..., 2]
    polar.append((np.hypot(a, b), np.degrees(np.arctan2(b, a)) % 360))
  (c1, h1), (c2, h2) = polar
  grey = c1 * c2 == 0
  turn = h2 - h1
  # Opposite hues are a tie that the paper's table settles this way.
  far = np.abs(turn) > 180 + 1e-9
  turn = np.where(far, turn - 360 * np.sign(turn), turn)
  turn = np.where(grey, 0, turn)
  hue = np.where(far, h1 + h2 + np.where(h1 + h2 < 360, 360, -360), h1 + h2)
  hue = np.where(grey, h1 + h2, 0.5 * hue)
  light, c = 0.5 * (one[..., 0] + two[..., 0]), 0.5 * (c1 + c2)
  wave = (
    1
    - 0.17 * np.cos(np.radians(hue - 30))
    + 0.24 * np.cos(np.radians(2 * hue))
    + 0.32 * np.cos(np.radians(3 * hue + 6))
    - 0.20 * np.cos(np.radians(4 * hue - 63))
  )
  bow = (light - 50) ** 2
  dl = (two[..., 0] - one[..., 0]) / (1 + 0.015 * bow / np.sqrt(20 + bow))
  dc = (c2 - c1) / (1 + 0.045 * c)
  dh = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn / 2))
  dh /= 1 + 0.015 * c * wave
  angle = np.radians(60 * np.exp(-(((hue - 275) / 25) ** 2)))
  twist = -2 * np.sqrt(c**7 / (c**7 + 25.0**7)) * np.sin(angle)
  total = dl**2 + dc**2 + dh**2 + twist * dc * dh
  return np.asarray(np.sqrt(np.maximum(total, 0)))


@dataclasses.dataclass(frozen=True)
class ColorReport:
  """How far typical colours are from a reference, CIEDE2000 by region.

  Attributes:
    before: of the picture as it was given.
    after: of the result, measured on its pixels.
    skipped: regions with too few pixels to say anything, in one of the two.
  """

  before: dict[str, float]
  after: dict[str, float]
  skipped: tuple[str, ...] = ()

  def to_dict(self) -> dict:
    """Returns everything as a JSON-able dict."""
    return dataclasses.asdict(self) | {"skipped": list(self.skipped)}


def transfer(
  image: Float[np.ndarray | Array, "h w c"],
  reference: Float[np.ndarray | Array, "h2 w2 c2"],
  mask: Mask | Masks,
  reference_mask: Mask | Masks,
  *,
  strength: Number = 1.0,
) -> tuple[Float[Array, "h w c"], ColorReport]:
  """Gives regions of a picture the colours they have in a reference.

  The typical colour of each region is moved to the reference's in Lab; the
  spread of its lightness and chroma follows within narrow limits (Reinhard et
  al. 2001, with trimmed statistics), so that a drawing keeps its flat shading
  and a photo's strong light does not get into it. Covariances are not matched:
  those of two flat tones are a line, and matching it would turn hues.

  Args:
    image: [0, 1], three or four channels; alpha is kept.
    reference: where the colours come from, any size.
    mask: the region in `image`, or several by name ("skin", "hair").
    reference_mask: the same region or regions in `reference`. A region is
      moved when both have it.
    strength: how much of the way, [0, 1].

  Returns:
    The picture and the distances before and after.

  Raises:
    ValueError: if a mask has another shape than its picture, no region is in
      both, or `strength` is out of range.
  """
  if not 0 <= strength <= 1:
    raise ValueError(f"strength must be in [0, 1]; got {strength!r}")
  ours, theirs = _regions(mask, image), _regions(reference_mask, reference)
  common = [name for name in ours if name in theirs]
  if not common:
    raise ValueError(
      "the masks of the picture and of the reference share no region; got "
      f"{', '.join(ours) or 'none'} and {', '.join(theirs) or 'none'}"
    )
  pairs = {name: (ours[name], theirs[name]) for name in common}
  few = [
    name
    for name, both in pairs.items()
    if min(_sampled(m) for m in both) < _FEWEST
  ]
  used = [name for name in common if name not in few]
  if not used:
    return jnp.asarray(image, jnp.float32), ColorReport({}, {}, tuple(few))
  picture, alpha = split_alpha(image)
  source, _ = split_alpha(reference)
  # Colour that nobody sees says nothing.
  seen = 1.0 if alpha is None else np.asarray(alpha[..., 0]) > 0.5
  here = np.stack([pairs[name][0] * seen for name in used])
  there = np.stack([pairs[name][1] for name in used])
  found, before, after = _transfer(
    picture,
    source,
    jnp.asarray(here, jnp.float32),
    jnp.asarray(there, jnp.float32),
    jnp.float32(strength),
  )
  if strength == 0:
    found, after = picture, before
  result = found if alpha is None else jnp.concatenate([found, alpha], -1)
  distances = [
    {
      k: round(float(v), 3)
      for k, v in zip(used, delta_e2000(*np.asarray(pair)))
    }
    for pair in (before, after)
  ]
  return result, ColorReport(*distances, tuple(few))


def _sampled(mask: Mask) -> int:
  """How many pixels of a region `_measure` looks at."""
  step = max(1, max(mask.shape) // 200)
  return int(mask[::step, ::step].sum())


def _regions(
  mask: Mask | Masks, image: Float[np.ndarray | Array, "h w c"]
) -> dict[str, Mask]:
  """Masks by name, checked."""
  named = dict(mask) if isinstance(mask, Mapping) else {"all": mask}
  for name, values in named.items():
    if values.shape != image.shape[:2]:
      raise ValueError(
        f"mask {name!r} must be {image.shape[:2]} like its picture; "
        f"got {values.shape}"
      )
  return named


@jax.jit
def _transfer(
  image: Float[Array, "h w 3"],
  reference: Float[Array, "h2 w2 3"],
  masks: Float[Array, "k h w"],
  reference_masks: Float[Array, "k h2 w2"],
  strength: Float[Array, ""],
) -> tuple[Float[Array, "h w 3"], Float[Array, "2 k 3"], Float[Array, "2 k 3"]]:
  """`transfer` as a pure function, with pairs of typical colours."""
  mean, spread = _measure(image, masks)
  goal, wide = _measure(reference, reference_masks)
  gain = [
    jnp.clip(wide[:, k] / jnp.maximum(spread[:, k], 0.5), low, high)
    for k, (low, high) in enumerate(_GAINS)
  ]
  # Where masks meet, the pixels between them belong to both in part.
  soft = gaussian(jnp.moveaxis(masks, 0, -1), max(image.shape[:2]) / 400)
  share = soft / jnp.maximum(soft.sum(-1, keepdims=True), 1.0) * strength
  lab = srgb_to_lab(image)
  change = jnp.zeros_like(lab)
  for k in range(masks.shape[0]):
    gains = jnp.stack([gain[0][k], gain[1][k], gain[1][k]])[None, None]
    moved = goal[k][None, None] + (lab - mean[k][None, None]) * gains
    change += share[..., k : k + 1] * (moved - lab)
  found = jnp.clip(lab_to_srgb(lab + change), 0, 1)
  # Pixels that no region touches keep every bit.
  found = jnp.where(share.sum(-1, keepdims=True) > 1e-4, found, image)
  reached, _ = _measure(found, masks)
  return found, jnp.stack([mean, goal]), jnp.stack([reached, goal])


def _measure(
  image: Float[Array, "h w 3"], masks: Float[Array, "k h w"]
) -> tuple[Float[Array, "k 3"], Float[Array, "k 2"]]:
  """Statistics of a regular sample of about 200 x 200 pixels."""
  step = max(1, max(image.shape[:2]) // 200)
  return _statistics(
    srgb_to_lab(image[::step, ::step]), masks[:, ::step, ::step]
  )


def _statistics(
  lab: Float[Array, "h w 3"], masks: Float[Array, "k h w"]
) -> tuple[Float[Array, "k 3"], Float[Array, "k 2"]]:
  """Typical colour, and spread of lightness and chroma, of each region.

  Twice the pixels are weighed down by their distance from the mean, so that
  shine, shadows and what a mask took in by mistake count little.
  """
  weights = masks
  for again in (True, True, False):
    total = jnp.maximum(weights.sum((1, 2)), 1e-3)
    mean = jnp.einsum("khw,hwc->kc", weights, lab, precision="highest")
    mean = mean / total[:, None]
    off = jnp.square(lab[None] - mean[:, None, None])
    two = jnp.stack([off[..., 0], off[..., 1] + off[..., 2]])
    spread = (weights[None] * two).sum((2, 3)) / total[None]
    if again:
      ratio = (two / jnp.maximum(spread, 1.0)[..., None, None]).sum(0)
      weights = masks / jnp.square(1 + ratio / 4)
  return mean, jnp.sqrt(jnp.maximum(spread.T, 1e-6))


TypicalColor: TypeAlias = Float32[np.ndarray, "3"]


def typical(
  image: Float[np.ndarray | Array, "h w c"], mask: Mask
) -> TypicalColor:
  """The typical colour of a region in CIE Lab, as `transfer` measures it."""
  picture, _ = split_alpha(image)
  weights = jnp.asarray(mask, jnp.float32)[None]
  return np.asarray(_typical(picture, weights), np.float32)


@jax.jit
def _typical(
  image: Float[Array, "h w 3"], masks: Float[Array, "1 h w"]
) -> Float[Array, "3"]:
  return _measure(image, masks)[0][0]
