"""How well heads are reenacted: GAGAvatar's measures, with any networks.

Of pictures that were made (p), what they should be (t, the driver's frames) and
the source, all in [0, 255]:

| name | what | against | better |
|---|---|---|---|
| psnr, ssim | as `metrics.psnr_ssim` | t | up |
| lpips | perceptual distance | t | down |
| csim | cosine of identity embeddings | t (self), source (cross) | up |
| aed | mean absolute difference of expression coefficients | t | down |
| apd | the same of the three angles of the head's rotation | t | down |
| akd | mean absolute difference of landmarks, pixels | t | down |

The protocol is that of GPAvatar (Chu et al. 2024) and GAGAvatar (Chu and Harada
2024), as the released loader has it (`core/data/loader_track.py`): the first
frame of each clip is a source and never a driver. Self: the other frames of the
clip drive it. Cross: those of the clip before it in the order of their names
do, the last clip's the first; there is no picture to compare with, so only
csim, aed and apd are reported. That loader drives with the drivers' shapes in
both cases, which in cross-reenactment are another person's; the released demo
and this package drive with the source's. The clips are the 50 of VFHQ's test
set (xg-chu/GAGAvatar#47; the paper says 100), at 512 px, of both pictures the
square of `crop` (#39).

A pair in whose pictures no face is found is left out of csim, aed, apd and akd,
and counted; the released code scores it 0 (#43), the best there is of three of
them.

Published figures use ArcFace (csim), Deep3DFaceRecon's 64 expressions and
Euler angles in radians (aed, apd: means of absolute differences, as the authors
told, #36 and #43) and 68 points of InsightFace at 512 px (akd, whose form is
OTAvatar's, theEricMa/OTAvatar#27). With other networks the figures have the
same meaning, but not the same scale: `Estimate.method` names them.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Int, PRNGKeyArray, UInt8
from PIL import Image

from chibijax.metrics import estimate, identity, lpips, psnr_ssim
from chibijax.metrics.estimate import Estimate
from chibijax.models.features import PerceptualDistance

Pictures: TypeAlias = UInt8[np.ndarray, "n h w 3"]
# Landmarks [n, 68, 2] of pictures in pixels; NaN where there is no face.
Landmarks: TypeAlias = Callable[[Pictures], Float[np.ndarray, "n 68 2"]]
SELF = ("psnr", "ssim", "lpips", "csim", "aed", "apd", "akd")
CROSS = ("csim", "aed", "apd")
HIGHER = ("psnr", "ssim", "csim")
# Of a bootstrap.
_DRAWS = 1000


class Parameters(NamedTuple):
  """What a tracker says of pictures; NaN where there is no face.

  Attributes:
    expression: coefficients.
    rotation: the head's angles, radians.
  """

  expression: Float[np.ndarray, "n e"]
  rotation: Float[np.ndarray, "n 3"]


class Pair(NamedTuple):
  """Two frames, each as (clip, frame).

  Attributes:
    source: whose head.
    driver: whose expression and view.
  """

  source: tuple[int, int]
  driver: tuple[int, int]


@dataclasses.dataclass(frozen=True, eq=False)
class Networks:
  """What measures; a measure whose network is None is left out.

  Attributes:
    embed: pictures to identity embeddings [n, d], NaN without a face.
    parameters: a tracker.
    landmarks: finds 68 points.
    distance: LPIPS.
    names: of the networks by these fields' names, for the reader.
  """

  embed: identity.Embedder | None = None
  parameters: Callable[[Pictures], Parameters] | None = None
  landmarks: Landmarks | None = None
  distance: PerceptualDistance | None = None
  names: dict[str, str] = dataclasses.field(default_factory=dict)


def self_pairs(frames: Sequence[int], *, stride: int = 1) -> Iterator[Pair]:
  """Self-reenactment: each clip's first frame, driven by its others.

  Args:
    frames: number of each clip.
    stride: every so many of the drivers count.
  """
  for clip, count in enumerate(frames):
    for frame in range(1, count, stride):
      yield Pair((clip, 0), (clip, frame))


def cross_pairs(
  frames: Sequence[int], *, stride: int = 1, shift: int = -1
) -> Iterator[Pair]:
  """Cross-reenactment: each clip's first frame, driven by another clip.

  Clip i is driven by clip i + shift, round the end, so that every clip is
  source and driver once. GAGAvatar's released loader has shift -1, and LAM's
  published list 1 (aigc3d/LAM#7). First frames drive nobody.

  Args:
    frames: number of each clip, in the order of the clips' names.
    stride: every so many of the drivers count.
    shift: not a multiple of the number of clips.

  Raises:
    ValueError: if a clip would drive itself.
  """
  clips = len(frames)
  if clips < 2 or shift % clips == 0:
    raise ValueError(
      f"Cross-reenactment needs another clip as the driver, got {clips} clips "
      f"and shift {shift}."
    )
  for clip in range(clips):
    driver = (clip + shift) % clips
    for frame in range(1, frames[driver], stride):
      yield Pair((clip, 0), (driver, frame))


def crop(
  pictures: Pictures,
  points: Float[np.ndarray, "n 5 2"],
  *,
  size: int = 512,
  enlarge: float = 3.0,
) -> UInt8[np.ndarray, "n s s 3"]:
  """The square of a head by which methods with other framings are compared.

  As the authors told (xg-chu/GAGAvatar#39): the box of five points, enlarged.
  They did not say what becomes of its shape; here it is a square of the longer
  side. Beyond the picture is black.

  Args:
    pictures: what was made, or what it should be, each cropped by its own
      points.
    points: eyes, nose, corners of the mouth, pixels; NaN where there is no
      face, which becomes a black picture.
    size: side of the result.
    enlarge: sides of the square in sides of the box.

  Returns:
    Squares, bilinearly resized; smaller ones after averaging.
  """
  made = np.zeros((len(pictures), size, size, 3), np.uint8)
  for k, (picture, five) in enumerate(zip(pictures, points, strict=True)):
    if not np.isfinite(five).all():
      continue
    low, high = five.min(0), five.max(0)
    half = enlarge * (high - low).max() / 2
    corners = np.concatenate([(low + high) / 2 - half, (low + high) / 2 + half])
    # Pillow's boxes must lie inside.
    outer = np.array([*np.floor(corners[:2]), *np.ceil(corners[2:])]).astype(
      int
    )
    inner = Image.fromarray(picture).crop(outer.tolist())
    box = (corners - np.tile(outer[:2], 2)).tolist()
    made[k] = inner.resize((size, size), Image.Resampling.BILINEAR, box)
  return made


def csim(
  x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "n d"]
) -> Float[np.ndarray, " n"]:
  """Cosine similarity of identity embeddings.

  Args:
    x: of what was made.
    y: of whom it should show.

  Returns:
    One value in [-1, 1] a pair; NaN where an embedding is.
  """
  a, b = (np.asarray(v, np.float64) for v in (x, y))
  lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
  return (a * b).sum(1) / np.maximum(lengths, 1e-12)


def distance(
  x: Float[np.ndarray, "n *d"], y: Float[np.ndarray, "n *d"]
) -> Float[np.ndarray, " n"]:
  """The mean absolute difference of each pair: AED, APD and AKD.

  Args:
    x: coefficients, angles or landmarks of what was made.
    y: of what drove it.

  Returns:
    One value a pair; NaN where a number is.
  """
  a, b = (np.asarray(v, np.float64) for v in (x, y))
  return np.abs(a - b).reshape(len(a), -1).mean(1)


def angles(
  rotation: Float[np.ndarray, "n 3 3"],
) -> Float[np.ndarray, "n 3"]:
  """Pitch, yaw and roll of rotations R = Rz Ry Rx, radians.

  Args:
    rotation: matrices; the head's to the camera's axes.
  """
  r = np.asarray(rotation, np.float64)
  across = np.hypot(r[:, 0, 0], r[:, 1, 0])
  return np.stack(
    [
      np.arctan2(r[:, 2, 1], r[:, 2, 2]),
      np.arctan2(-r[:, 2, 0], across),
      np.arctan2(r[:, 1, 0], r[:, 0, 0]),
    ],
    1,
  )


def measure(
  made: Pictures,
  targets: Pictures,
  sources: Pictures,
  networks: Networks,
  *,
  cross: bool = False,
  batch: int = 16,
  key: PRNGKeyArray | None = None,
  groups: Int[np.ndarray, " n"] | None = None,
) -> dict[str, Estimate]:
  """All measures of a protocol that the networks allow.

  Args:
    made: the reenacted pictures.
    targets: the drivers' frames.
    sources: the frames that the heads were built from.
    networks: what measures.
    cross: whether the drivers are other people.
    batch: pictures at a time where networks take many.
    key: of the bootstraps.
    groups: the clip of each pair's source, over which is then bootstrapped:
      pairs of a clip are alike, and intervals over pairs too narrow. None:
      over pairs.

  Returns:
    Means over the pairs by name; `details["missing"]` counts the pairs in which
    no face was found.

  Raises:
    ValueError: if the sets are not of one shape, or empty.
  """
  if (
    not len(made) or made.shape != targets.shape or made.shape != sources.shape
  ):
    raise ValueError(
      f"Pictures of {made.shape}, {targets.shape} and {sources.shape} are no "
      "triples."
    )
  values: dict[str, np.ndarray] = {}
  if not cross:
    values |= _of_pixels(made, targets, networks.distance, batch)
  if networks.embed is not None:
    own = networks.embed(sources if cross else targets)
    values["csim"] = csim(np.asarray(networks.embed(made)), np.asarray(own))
  if networks.parameters is not None:
    found, wanted = networks.parameters(made), networks.parameters(targets)
    values["aed"] = distance(found.expression, wanted.expression)
    turn = found.rotation - wanted.rotation
    # Angles a whole turn apart are the same.
    values["apd"] = np.abs(np.arctan2(np.sin(turn), np.cos(turn))).mean(1)
  if networks.landmarks is not None and not cross:
    points = networks.landmarks(made), networks.landmarks(targets)
    values["akd"] = distance(*points)
  order = CROSS if cross else SELF
  return {
    name: _estimate(name, values[name], networks.names, key, groups)
    for name in order
    if name in values
  }


def _of_pixels(
  made: Pictures,
  targets: Pictures,
  perceptual: PerceptualDistance | None,
  batch: int,
) -> dict[str, np.ndarray]:
  parts: dict[str, list[np.ndarray]] = {"psnr": [], "ssim": []}
  for start in range(0, len(made), batch):
    x, y = (
      v[start : start + batch].astype(np.float32) / 255 for v in (made, targets)
    )
    parts["psnr"].append(np.asarray(psnr_ssim.psnr(x, y)))
    parts["ssim"].append(np.asarray(psnr_ssim.ssim(x, y)))
  values = {name: np.concatenate(found) for name, found in parts.items()}
  if perceptual is not None:
    values["lpips"] = lpips.distances(made, targets, perceptual, batch=batch)
  return values


_NETWORK = {
  "lpips": "distance",
  "csim": "embed",
  "aed": "parameters",
  "apd": "parameters",
  "akd": "landmarks",
}


def _estimate(
  name: str,
  values: Float[np.ndarray, " n"],
  names: dict[str, str],
  key: PRNGKeyArray | None,
  groups: Int[np.ndarray, " n"] | None,
) -> Estimate:
  """The mean of the pairs that have a value."""
  there: Bool[np.ndarray, " n"] = np.isfinite(values)
  missing = int((~there).sum())
  network = names.get(_NETWORK.get(name, ""), "")
  method = f"{name} by {network}" if network else name
  if not there.any():
    return Estimate(
      float("nan"), None, None, 0, method, "no face in any picture",
      {"missing": missing},
    )  # fmt: skip
  details = {"missing": missing}
  if groups is None:
    found = estimate.mean(values[there], key=key, method=method)
    return dataclasses.replace(found, details=details)
  return _over_groups(values[there], groups[there], method, key, details)


def _over_groups(
  values: Float[np.ndarray, " n"],
  groups: Int[np.ndarray, " n"],
  method: str,
  key: PRNGKeyArray | None,
  details: dict[str, int],
) -> Estimate:
  """The mean, with a bootstrap that draws whole groups."""
  _, rows = np.unique(groups, return_inverse=True)
  sums, counts = np.bincount(rows, values), np.bincount(rows)
  interval: tuple[float | None, float | None] = None, None
  if len(sums) > 1:
    rng = estimate.generator(key)
    drawn = rng.integers(0, len(sums), (_DRAWS, len(sums)))
    interval = estimate.interval(sums[drawn].sum(1) / counts[drawn].sum(1))
  return Estimate(
    float(values.mean()),
    *interval,
    len(values),
    f"{method}; 95% bootstrap over clips, {_DRAWS} draws",
    "" if len(sums) > 1 else "one clip only",
    {**details, "clips": len(sums)},
  )
