"""Metrics by name over one pair of picture sets, features computed once.

| name | needs | what it is |
|---|---|---|
| `kid_NET`, `fd_NET` | | kernel and Frechet distance of the sets |
| `precision_NET`, `recall_NET` | | improved precision and recall |
| `lpips_NET` | pairs | perceptual distance of each pair |
| `diversity_NET` | | perceptual distance within what is judged |
| `psnr`, `ssim`, `l1` | pairs | pixel metrics |
| `inversion` | pairs | luminance correlation |
| `checkerboard` | | spectral peak of what is judged, in dB |

NET is squeeze, vgg, alex or inception (the last not for `lpips`, `diversity`).
What a result is called depends on the weights: `fd_inception` is "FID" only
with the published Inception, `lpips_squeeze` is "LPIPS-squeeze" only with the
published trunk and heads.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import jax
import numpy as np
from jaxtyping import Int, PRNGKeyArray

from chibijax.errors import UserError
from chibijax.metrics import (
  checks,
  estimate,
  extract,
  fid,
  kid,
  lpips,
  precision_recall,
  psnr_ssim,
)
from chibijax.metrics.estimate import Estimate
from chibijax.models import features

NETWORKS = {
  "squeeze": "squeezenet",
  "vgg": "vgg16",
  "alex": "alexnet",
  "inception": "inception",
}
OF_SETS = ("kid", "fd", "precision", "recall")
OF_DISTANCES = ("lpips", "diversity")
PLAIN = ("psnr", "ssim", "l1", "inversion", "checkerboard")
_PAIRED = ("lpips", "psnr", "ssim", "l1", "inversion")
_HIGHER = ("precision", "recall", "diversity", "psnr", "ssim", "inversion")
# One array [n, h, w, 3], or pictures of several sizes; uint8.
Pictures: TypeAlias = np.ndarray | Sequence[np.ndarray]
# Finds the file of a name in `features.VARIABLES`.
Find: TypeAlias = Callable[[str], str | pathlib.Path | None]


def names() -> list[str]:
  """All names that `Suite.metric` knows."""
  of_sets = [f"{kind}_{net}" for kind in OF_SETS for net in NETWORKS]
  perceptual = [
    f"{kind}_{net}"
    for kind in OF_DISTANCES
    for net in NETWORKS
    if net != "inception"
  ]
  return [*of_sets, *perceptual, *PLAIN]


def find_weights(
  name: str, where: str | pathlib.Path | None = None
) -> pathlib.Path | None:
  """Finds weights by `features.find`.

  Args:
    name: a key of `features.VARIABLES`.
    where: a folder, or a file, which then serves every name but the heads of
      LPIPS; empty asks the environment.

  Returns:
    The file, or None.
  """
  if where and pathlib.Path(where).is_file() and name.startswith("lpips-"):
    where = None
  return features.find(name, where) or features.find(name)


def check_names(wanted: Sequence[str], *, paired: bool) -> None:
  """Refuses unknown names, and metrics of pairs where there are none.

  Args:
    wanted: names asked for.
    paired: whether the two sets are pairs.

  Raises:
    UserError: with what would be right.
  """
  for name in wanted:
    if name not in names():
      raise UserError(
        f"There is no metric {name!r}; expected one of {', '.join(names())}."
      )
    if name.split("_")[0] in _PAIRED and not paired:
      raise UserError(
        f"{name} needs pairs, but the two sets are not paired picture by "
        "picture."
      )


@dataclasses.dataclass(frozen=True)
class Metric:
  """A metric ready to be computed.

  Attributes:
    title: what the result may be called.
    better: "lower" or "higher".
    on: indices of judged examples to the estimate; of pairs the same ones of
      the reference are taken, else the whole reference.
  """

  title: str
  better: str
  on: Callable[[Int[np.ndarray, " k"]], Estimate]


class Suite:
  """Two sets of pictures, and what was already computed of them."""

  def __init__(
    self,
    judged: Pictures,
    reference: Pictures,
    *,
    paired: bool,
    find: Find,
    key: PRNGKeyArray | None = None,
    block: int = 1000,
    at: int | None = None,
    batch: int = 32,
    progress: bool = False,
  ) -> None:
    """Takes the sets.

    Args:
      judged: uint8 [h, w, 3] pictures, or one array of them.
      reference: what they are compared with.
      paired: whether the i-th of one belongs to the i-th of the other.
      find: names of `features.VARIABLES` to files of weights, or None.
      key: of all draws.
      block: of KID.
      at: examples of the Frechet distance; None: all.
      batch: pictures at a time.
      progress: show bars.

    Raises:
      UserError: if a set has fewer than two pictures, or pairs do not match.
    """
    if min(len(judged), len(reference)) < 2:
      raise UserError(
        "Each set needs two pictures at least, got "
        f"{len(judged)} and {len(reference)}."
      )
    if paired and len(judged) != len(reference):
      raise UserError(
        f"{len(judged)} pictures cannot be paired with {len(reference)}."
      )
    self.judged, self.reference, self.paired = judged, reference, paired
    self._find = find
    self._key = jax.random.key(0) if key is None else key
    self._block, self._at, self._batch = block, at, batch
    self._progress = progress
    self._used: dict[str, dict[str, Any]] = {}
    self._features: dict[str, tuple[Any, np.ndarray, np.ndarray]] = {}
    self._distances: dict[str, features.PerceptualDistance] = {}

  @property
  def networks(self) -> list[dict[str, Any]]:
    """Descriptions of the feature networks used so far."""
    return list(self._used.values())

  def measure(self, wanted: Sequence[str]) -> dict[str, Estimate]:
    """Computes metrics over all pictures.

    Args:
      wanted: their names.

    Returns:
      Estimates by title.

    Raises:
      UserError: for unknown names, missing weights, or pairs of other sizes.
    """
    check_names(wanted, paired=self.paired)
    everything = np.arange(len(self.judged))
    found = {}
    for name in wanted:
      metric = self.metric(name)
      found[metric.title] = metric.on(everything)
    return found

  def metric(self, name: str) -> Metric:
    """Prepares one metric; features and pair distances are computed here.

    Args:
      name: see `names`.

    Returns:
      The metric.

    Raises:
      UserError: as `measure`.
    """
    check_names((name,), paired=self.paired)
    kind, _, net = name.partition("_")
    better = "higher" if kind in _HIGHER else "lower"
    if kind in OF_SETS:
      title, on = self._of_sets(kind, net)
    elif kind in OF_DISTANCES:
      title, on = self._of_distances(kind, net)
    else:
      title, values = name, self._plain(name)
      on = functools.partial(self._mean, values, name)
    return Metric(title, better, on)

  def _mean(self, values: np.ndarray, what: str, index: np.ndarray) -> Estimate:
    return estimate.mean(values[index], key=self._key, method=what)

  def _extracted(self, net: str) -> tuple[Any, np.ndarray, np.ndarray]:
    if net not in self._features:
      name = NETWORKS[net]
      network = features.load(name, self._find(name))
      self._used[name] = network.describe()
      both = [
        extract.extract(
          images, network, batch=self._batch, progress=self._progress
        )
        for images in (self.judged, self.reference)
      ]
      self._features[net] = (network, *both)
    return self._features[net]

  def _of_sets(
    self, kind: str, net: str
  ) -> tuple[str, Callable[[np.ndarray], Estimate]]:
    network, judged, reference = self._extracted(net)
    published = network.source == "fid"
    suffix = net
    if net == "inception" and not published:
      suffix = f"{net}-{network.source}"
    title = kind.upper() if kind in ("kid", "fd") else kind
    if net == "inception" and published:
      title = {"fd": "FID", "kid": "KID"}.get(kind, f"{title}-inception")
    else:
      title = f"{title}-{suffix}"
    if kind == "fd" and self._at:
      title = f"{title}@{self._at}"

    def on(index: np.ndarray) -> Estimate:
      a = judged[index]
      b = reference[index] if self.paired else reference
      if kind == "kid":
        return kid.kid(a, b, block=self._block, key=self._key)
      if kind == "fd":
        return fid.frechet(a, b, at=self._at, key=self._key)
      return getattr(
        precision_recall.precision_recall(b, a, key=self._key), kind
      )

    return title, on

  def _distance(self, net: str) -> features.PerceptualDistance:
    if net not in self._distances:
      distance = features.load_distance(
        net, self._find(NETWORKS[net]), self._find(f"lpips-{net}")
      )
      self._used[f"lpips-{net}"] = distance.describe()
      self._distances[net] = distance
    return self._distances[net]

  def _of_distances(
    self, kind: str, net: str
  ) -> tuple[str, Callable[[np.ndarray], Estimate]]:
    distance = self._distance(net)
    judged = self._stacked(self.judged)
    batch = min(self._batch, 16)
    if kind == "diversity":

      def on(index: np.ndarray) -> Estimate:
        return lpips.diversity(
          judged[index], distance, batch=batch, key=self._key
        )

      return f"diversity-{distance.name}", on
    reference = self._stacked(self.reference)
    self._check_sizes(judged, reference)
    values = lpips.distances(judged, reference, distance, batch=batch)
    return distance.name, functools.partial(
      self._mean, values, f"{distance.name} at {judged.shape[1:3]} px"
    )

  def _plain(self, name: str) -> np.ndarray:
    judged = self._stacked(self.judged)
    if name == "checkerboard":
      return _in_parts(checks.checkerboard, judged)
    reference = self._stacked(self.reference)
    self._check_sizes(judged, reference)
    of = {
      "psnr": psnr_ssim.psnr,
      "ssim": psnr_ssim.ssim,
      "l1": psnr_ssim.l1,
      "inversion": checks.inversion,
    }[name]
    return _in_parts(of, judged, reference)

  def _stacked(self, images: Pictures) -> np.ndarray:
    if len({image.shape for image in images}) > 1:
      raise UserError(
        "These metrics need pictures of one size; have them read at one size."
      )
    return np.asarray(images)

  def _check_sizes(self, a: np.ndarray, b: np.ndarray) -> None:
    if a.shape != b.shape:
      raise UserError(
        f"Pairs need one size, got {a.shape[1:3]} and {b.shape[1:3]} pixels."
      )


def _in_parts(of: Callable[..., Any], *sets: np.ndarray) -> np.ndarray:
  """Applies a metric of pictures in [0, 1] to some of them at a time."""
  found = []
  for start in range(0, len(sets[0]), 64):
    parts = (np.float32(s[start : start + 64]) / 255 for s in sets)
    found.append(np.asarray(of(*parts)))
  return np.concatenate(found)
