"""Face detectors with the weights that `chibijax fetch` brought."""

import os

from chibijax.apps import fetch
from chibijax.faces import detect
from chibijax.faces.detection import Detector


def make(
  kind: str = "auto", weights: str | os.PathLike[str] | None = None
) -> Detector:
  """Makes a detector; its weights are looked for, and never downloaded.

  Args:
    kind: see `chibijax.faces.detect.make`.
    weights: its file or folder; None is the fetched one, if there is any.

  Returns:
    The detector, with its weights loaded.

  Raises:
    UserError: if the kind is unknown, or its weights or packages are missing.
  """
  if weights is None and kind in fetch.CATALOGUE:
    weights = fetch.find(kind)
  return detect.make(kind, weights)
