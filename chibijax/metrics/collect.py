"""Keeps the pictures of an evaluation, for the metrics of sets.

What is judged: `image/output`, or of a generator every `image/sample...`. What
it is compared with, the first there is: `image/target` (pairs), `image/real`,
the batch's `image_b`; `image/input`, which is the source and not what pictures
should look like.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import UInt8

from chibijax.errors import UserError
from chibijax.metrics import report
from chibijax.metrics.suite import Find, Suite

_REFERENCES = ("image/target", "image/real", "image_b", "image/input")


class Collector:
  """Pictures of one evaluation, as bytes."""

  def __init__(self) -> None:
    self._judged: list[np.ndarray] = []
    self._reference: list[np.ndarray] = []
    self._name = ""

  def add(self, outputs: Mapping[str, Any], mask: np.ndarray) -> None:
    """Takes a batch.

    Args:
      outputs: of `Task.eval_step`, on the host; may hold the batch's `image_b`.
      mask: which rows are no padding.

    Raises:
      UserError: if the task shows nothing to judge or to compare with.
    """
    judged = [n for n in outputs if n.startswith("image/sample")]
    judged = ["image/output"] if "image/output" in outputs else judged
    reference = next((n for n in _REFERENCES if n in outputs), None)
    if not judged or reference is None:
      raise UserError(
        "config.metrics asks for metrics of sets, but this task's evaluation "
        "shows no pictures that could be compared with others."
      )
    self._name = reference
    self._judged += [_bytes(outputs[name])[mask] for name in judged]
    self._reference.append(_bytes(outputs[reference])[mask])

  def measure(
    self, wanted: tuple[str, ...], find: Find, judged: str
  ) -> dict[str, Any]:
    """Computes metrics of everything that was taken.

    Args:
      wanted: names of `suite.names`.
      find: names of weights to files.
      judged: what was judged, in words.

    Returns:
      The report, as `report.as_dict`.

    Raises:
      UserError: for unknown names, missing weights, or metrics of pairs where
        there are none.
    """
    pictures = np.concatenate(self._judged)
    reference = np.concatenate(self._reference)
    source = self._name == "image/input"
    suite = Suite(
      pictures, reference, paired=self._name == "image/target", find=find
    )
    results = suite.measure(wanted)
    manifest = report.Manifest(
      judged=judged,
      judged_count=len(pictures),
      reference=f"the held-out set's {self._name}",
      reference_count=len(reference),
      reference_is="source" if source else "target",
      networks=suite.networks,
    )
    return report.as_dict(results, manifest)


def _bytes(images: np.ndarray) -> UInt8[np.ndarray, "b h w 3"]:
  """Pictures in [-1, 1], or bytes already, as bytes; grey becomes RGB."""
  images = np.asarray(images)
  if images.dtype != np.uint8:
    images = np.rint((np.clip(images, -1, 1) + 1) * 127.5).astype(np.uint8)
  return np.broadcast_to(images, (*images.shape[:3], 3))
