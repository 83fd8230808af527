"""Which pixels around a face are skin, hair (or what covers it), clothes, rest.

A mixture of Gaussians over OKLab colours is fitted to the one photo by
expectation maximisation. Each Gaussian belongs to a region and has a fixed
share at every place (the prior of its region there, times how near the place
is to the Gaussian's own); so colours are learnt from the photo alone, and the
places from how heads are built. Between steps each pixel listens to its
neighbours, as in mean-field inference of a Markov random field.
"""

import dataclasses
import functools

import numpy as np
from jaxtyping import Bool, Float, Float32

from chibijax.faces.measure_frame import View, box_mean, places

REGIONS = ("background", "skin", "hair", "clothes")
# Of each Gaussian: its region, and its own place (None: the whole region).
_PARTS = (
  *((0, p) for p in ((0.0, 0.0), (0.5, -0.2), (1.0, 0.0), (0.0, 0.6))),
  *((0, p) for p in ((1.0, 0.6), (0.0, 1.1), (1.0, 1.1))),
  *((1, None), (1, None), (2, None), (2, None)),
  *((3, p) for p in ((0.1, 1.2), (0.5, 1.2), (0.9, 1.2))),
)
_STEPS = 5
# Least standard deviations of a Gaussian, OKLab.
_FLOOR = np.array([0.035, 0.012, 0.012], np.float32)


@dataclasses.dataclass(frozen=True, eq=False)
class Regions:
  """Shares of the wide view's pixels; each in [0, 1], together one."""

  background: Float32[np.ndarray, "s s"]
  skin: Float32[np.ndarray, "s s"]
  hair: Float32[np.ndarray, "s s"]
  clothes: Float32[np.ndarray, "s s"]


def find(
  wide: View,
  skin: Float[np.ndarray, "n 3"],
  masks: dict[str, Bool[np.ndarray, "s s"]] | None = None,
  *,
  bare: bool = False,
) -> Regions:
  """Tells the regions of the wide view apart.

  Args:
    wide: the view.
    skin: OKLab samples of the face's skin.
    masks: "hair" and "skin" (and maybe "background") of the view's pixels, as
      a network sees them; they weigh more than what heads are like on average.
    bare: whether the forehead goes on where hair mostly begins: the skull may
      be skin then.

  Returns:
    The regions.
  """
  side = len(wide.lab)
  share = _priors(wide.box, side, bare)
  if masks:
    share = share * _from_masks(masks, side)
  share = share.reshape(side * side, -1)
  owner = np.array([region for region, _ in _PARTS])
  lab = wide.lab.reshape(-1, 3)
  seen = wide.valid.reshape(-1, 1)
  features = _quadratic(lab)
  # From here on pixels run along the last axis: sums over Gaussians are fast.
  belongs = np.ascontiguousarray(_start(lab, share, seen, skin).T)
  share = np.ascontiguousarray(share.T)
  base = _quadratic(skin)
  whole = np.eye(len(REGIONS), dtype=np.float32)[owner]
  trust = np.ones((len(REGIONS), 1), np.float32)
  for _ in range(_STEPS):
    moments = belongs @ features
    # The face's own skin is known: it keeps the model of skin in place.
    moments[owner == 1] += _skin_moments(base, skin) * len(lab) * 0.01
    score = _coefficients(moments.astype(np.float64)).T @ features.T
    score -= score.max(0)
    belongs = share * np.exp(np.maximum(score, -60.0)) * (whole @ trust)
    belongs /= belongs.sum(0) + 1e-30
    regions = (whole.T @ belongs).reshape(-1, side, side)
    near = np.moveaxis(box_mean(np.moveaxis(regions, 0, -1), 1), -1, 0)
    near = near.reshape(len(REGIONS), -1)
    trust = 0.03 + near * np.sqrt(near)
    belongs *= seen.T
  regions = box_mean(np.moveaxis(regions, 0, -1), 1)
  return Regions(*(regions[..., k] for k in range(len(REGIONS))))


@functools.lru_cache(maxsize=4)
def _priors(
  box: tuple[float, float, float], side: int, bare: bool
) -> Float[np.ndarray, "s s k"]:
  """The share of every Gaussian at every place."""
  x, y = places(box, side)
  region = _region_priors(x, y, bare)
  share = []
  for _, at in _PARTS:
    near = np.full_like(x, 0.5)
    if at is not None:
      near = np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / (2 * 0.28**2))
      near = near + 1e-4
    share.append(near)
  share = np.stack(share, -1)
  owners = np.array([owner for owner, _ in _PARTS])
  for k in range(len(REGIONS)):
    mine = owners == k
    share[..., mine] /= share[..., mine].sum(-1, keepdims=True)
    share[..., mine] *= region[..., k : k + 1]
  share = share.astype(np.float32)
  share.flags.writeable = False
  return share


def _region_priors(
  x: Float[np.ndarray, "s s"], y: Float[np.ndarray, "s s"], bare: bool
) -> Float[np.ndarray, "s s 4"]:
  """How likely each region is at each place, for heads at large."""

  def step(value: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(value, -30, 30)))

  u = np.abs(x - 0.5)
  face = np.hypot(u / 0.185, (y - 0.60) / 0.235)
  head = np.hypot(u / 0.24, (y - 0.48) / 0.36)
  outer = np.hypot(u / 0.40, (y - 0.55) / 0.58)
  neck = step((0.13 - u) * 40) * step((y - 0.78) * 30) * step((1.02 - y) * 15)
  skin = 0.95 * step((1 - face) * 9) + 0.6 * neck
  skin = skin + (0.6 if bare else 0.12) * step((1 - head) * 12) + 0.02
  hair = 0.8 * step((1 - head) * 10) * step((face - 0.9) * 12)
  hair = hair * (0.35 + 0.65 * step((0.62 - y) * 15))
  # Hair that stands off or falls beside the neck.
  hair = hair + 0.30 * step((1 - outer) * 9) * (1 - 0.9 * neck)
  hair = hair + 0.35 * step((0.33 - u) * 15) * step((y - 0.75) * 20) * (
    1 - 0.9 * neck
  )
  hair = hair * (1 - 0.97 * step((1 - face) * 9) * step((y - 0.42) * 60)) + 0.01
  clothes = 0.9 * step((y - 1.08 - 0.25 * np.maximum(u - 0.3, 0)) * 16)
  clothes = clothes * (1 - 0.5 * neck) + 0.004
  rest = 0.9 * step((head - 1.15) * 7) * step((u + 0.9 - y) * 6) + 0.02
  region = np.stack([rest, skin, hair, clothes], -1)
  return region / region.sum(-1, keepdims=True)


def _from_masks(
  masks: dict[str, Bool[np.ndarray, "s s"]], side: int
) -> Float[np.ndarray, "s s k"]:
  """Factors on the priors.

  Mild ones: networks trained on drawings are often wrong about photos, and the
  colours of the photo itself should be able to say so.
  """
  known = np.full((side, side, len(REGIONS)), 1.0, np.float32)
  claimed = np.zeros((side, side), bool)
  for name in ("hair", "skin"):
    if name in masks:
      known[..., REGIONS.index(name)] = np.where(masks[name], 3.0, 0.8)
      claimed |= masks[name]
  known[..., 3] = np.where(claimed, 0.5, 1.0)
  known[..., 0] = known[..., 3]
  if "background" in masks:
    known[..., 0] = np.where(masks["background"], 3.0, 0.8)
    # What is none of the three on top of a head is headwear, which counts as
    # hair until it is looked at.
    rest = ~(claimed | masks["background"])
    known[..., 2] = np.where(rest, 1.0, known[..., 2])
  return known[..., [region for region, _ in _PARTS]]


def _start(
  lab: Float[np.ndarray, "n 3"],
  share: Float[np.ndarray, "n k"],
  seen: Bool[np.ndarray, "n 1"],
  skin: Float[np.ndarray, "m 3"],
) -> Float[np.ndarray, "n k"]:
  """First guess of what belongs to which Gaussian."""
  mean, deviation = np.median(skin, 0), skin.std(0) + 2 * _FLOOR
  far = np.sqrt((((lab - mean) / deviation) ** 2).sum(1))
  like = np.exp(-0.5 * np.minimum(far, 8.0) ** 2)[:, None]
  belongs = share**2 * seen
  twins = [[k for k, (r, _) in enumerate(_PARTS) if r == n] for n in (1, 2)]
  belongs[:, twins[1]] *= 1 - 0.98 * like
  belongs[:, twins[0]] *= like
  for dark, light in twins:
    weight = belongs[:, dark]
    middle = (weight @ lab[:, 0]) / (weight.sum() + 1e-9)
    bright = lab[:, 0] > middle
    belongs[:, dark] *= np.where(bright, 0.2, 1.0)
    belongs[:, light] *= np.where(bright, 1.0, 0.2)
  return belongs + 1e-9


def _quadratic(lab: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 10"]:
  """1, the three channels and their six products: a Gaussian's statistics."""
  i, j = np.triu_indices(3)
  products = lab[:, i] * lab[:, j]
  return np.concatenate([np.ones_like(lab[:, :1]), lab, products], 1)


def _skin_moments(
  base: Float[np.ndarray, "m 10"], skin: Float[np.ndarray, "m 3"]
) -> Float[np.ndarray, "2 10"]:
  """Mean statistics of the darker and the lighter half of the samples."""
  bright = skin[:, 0] > np.median(skin[:, 0])
  if bright.all() or not bright.any():
    return np.stack([base.mean(0)] * 2)
  return np.stack([base[~bright].mean(0), base[bright].mean(0)])


def _coefficients(
  moments: Float[np.ndarray, "k 10"],
) -> Float[np.ndarray, "10 k"]:
  """Of each Gaussian with these moments, its log density's coefficients."""
  i, j = np.triu_indices(3)
  moments = moments / (moments[:, :1] + 1e-9)
  mean = moments[:, 1:4]
  covariance = np.zeros((len(mean), 3, 3))
  covariance[:, i, j] = covariance[:, j, i] = moments[:, 4:]
  covariance = covariance - mean[:, :, None] * mean[:, None, :]
  covariance += np.diag(_FLOOR**2)
  precision = np.linalg.inv(covariance)
  linear = np.einsum("kij,kj->ki", precision, mean)
  constant = -0.5 * np.einsum("ki,ki->k", linear, mean)
  constant -= 0.5 * np.linalg.slogdet(covariance)[1]
  twice = np.where(i == j, -0.5, -1.0)
  return np.concatenate(
    [constant[:, None], linear, precision[:, i, j] * twice], 1
  ).T.astype(np.float32)
