"""The Haar cascade (Viola & Jones 2001) that OpenCV below 5 brings along.

Quick and without a download, but it gives no points, misses turned faces and
finds some where there are none; MTCNN is better where its weights are.
"""

import dataclasses
import functools
import pathlib
import threading
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from chibijax.errors import UserError
from chibijax.faces.detection import Detection

CASCADE = "haarcascade_frontalface_default.xml"
# The photo's longer side while it is searched, and the smallest face there.
SIDE = 320
MIN_FACE = 25
# OpenCV's settings: the step between scales, and how many windows must agree.
STEP = 1.1
NEIGHBORS = 3
# The cascade's weight at which its score is 1/2, and the weight's scale, from
# the faces and errors of benchmarks/faces.py.
MIDDLE, SPREAD = 1.5, 0.6

# OpenCV's classifier keeps the photo at hand in itself.
_ONE_AT_A_TIME = threading.Lock()


@dataclasses.dataclass(frozen=True, eq=False)
class HaarDetector:
  """Finds frontal faces; gives boxes without points.

  Attributes:
    threshold: the least score of a detection, 0..1.
  """

  threshold: float = 0.5

  def __call__(self, photo: UInt8[np.ndarray, "h w 3"]) -> list[Detection]:
    """Finds faces, the surest first; see `Detector`."""
    height, width = photo.shape[:2]
    scale = min(SIDE / max(height, width), 1.0)
    picture = Image.fromarray(photo).convert("L")
    if scale < 1:
      size = max(round(width * scale), 1), max(round(height * scale), 1)
      picture = picture.resize(
        size, Image.Resampling.BILINEAR, reducing_gap=2.0
      )
    with _ONE_AT_A_TIME:
      boxes, _, weights = _cascade().detectMultiScale3(
        np.asarray(picture),
        scaleFactor=STEP,
        minNeighbors=NEIGHBORS,
        minSize=(MIN_FACE, MIN_FACE),
        outputRejectLevels=True,
      )
    stretch = np.tile([width / picture.width, height / picture.height], 2)
    found = []
    for (x, y, w, h), weight in zip(boxes, np.ravel(weights)):
      score = float(1 / (1 + np.exp((MIDDLE - weight) / SPREAD)))
      if score >= self.threshold:
        box = np.array([x, y, x + w, y + h]) * stretch
        found.append(Detection(box.astype(np.float32), score))
    return sorted(found, key=lambda d: -d.score)


@functools.cache
def _cascade() -> Any:
  """The classifier, read once.

  Raises:
    UserError: if OpenCV is missing or has no cascades (from version 5 on).
  """
  cv2 = opencv()
  if not hasattr(cv2, "CascadeClassifier") or not hasattr(cv2, "data"):
    raise UserError(
      f"OpenCV {cv2.__version__} has no Haar cascades; pip install"
      " 'opencv-python-headless<5', or use --detector mtcnn."
    )
  path = pathlib.Path(cv2.data.haarcascades) / CASCADE
  cascade = cv2.CascadeClassifier(str(path))
  if cascade.empty():
    raise UserError(f"OpenCV cannot read its cascade {path}.")
  return cascade


def opencv() -> Any:
  """The module `cv2`, imported when a detector first needs it.

  Raises:
    UserError: if it is not installed.
  """
  try:
    import cv2
  except ImportError as e:
    raise UserError(
      "This detector needs OpenCV: pip install 'opencv-python-headless<5'."
    ) from e
  return cv2
