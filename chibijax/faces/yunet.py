"""YuNet (Wu et al. 2023) through OpenCV, when its ONNX file is given.

The file is OpenCV Zoo's `face_detection_yunet_*.onnx` (MIT).
"""

import os
import pathlib
import threading
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from chibijax.errors import UserError
from chibijax.faces.detection import Detection
from chibijax.faces.haar import opencv

VARIABLE = "CHIBIJAX_YUNET"
# Side of the square in which the photo is searched: some of the files take no
# other size. YuNet finds faces from about 10 pixels on.
SIDE = 320
# YuNet's own score at which ours is 1/2, and the scale of the logistic curve
# between them: people score 0.91 and more, errors up to 0.6, and background
# faces lie in between (benchmarks/faces.py).
MIDDLE, SPREAD = 0.6, 0.06


class YunetDetector:
  """Finds faces with YuNet; gives boxes and points."""

  def __init__(
    self, path: str | os.PathLike[str] | None = None, threshold: float = 0.5
  ) -> None:
    """Reads the network.

    Args:
      path: the ONNX file; None looks at the variable CHIBIJAX_YUNET.
      threshold: the least score of a detection, 0..1.

    Raises:
      UserError: if no file is named, it is missing or no YuNet, or OpenCV is
        not installed.
    """
    named = path or os.environ.get(VARIABLE)
    if not named:
      raise UserError(
        "YuNet needs its ONNX file: name it with --detector-file or in"
        f" {VARIABLE}."
      )
    if not pathlib.Path(named).is_file():
      raise UserError(f"{named} is missing (YuNet's ONNX file).")
    self.threshold = threshold
    # OpenCV's network keeps the photo at hand in itself.
    self._lock = threading.Lock()
    cv2 = opencv()
    try:
      self._network: Any = cv2.FaceDetectorYN.create(
        os.fspath(named), "", (SIDE, SIDE), MIDDLE / 2
      )
      self(np.zeros((64, 64, 3), np.uint8))
    except cv2.error as e:
      raise UserError(f"OpenCV cannot use {named} as a YuNet.") from e

  def __call__(self, photo: UInt8[np.ndarray, "h w 3"]) -> list[Detection]:
    """Finds faces, the surest first; see `Detector`."""
    height, width = photo.shape[:2]
    scale = SIDE / max(height, width)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    picture = Image.fromarray(photo).resize(
      size, Image.Resampling.BILINEAR, reducing_gap=2.0
    )
    square = np.zeros((SIDE, SIDE, 3), np.uint8)
    square[: size[1], : size[0]] = np.asarray(picture)[..., ::-1]  # To BGR.
    with self._lock:
      _, rows = self._network.detect(square)
    stretch = np.array([width / size[0], height / size[1]])
    found = []
    for row in () if rows is None else rows:
      score = float(1 / (1 + np.exp((MIDDLE - row[14]) / SPREAD)))
      if score < self.threshold:
        continue
      corner, extent = row[:2], row[2:4]
      box = np.concatenate([corner, corner + extent]) * np.tile(stretch, 2)
      # YuNet's "right" is the person's, which is the viewer's left: no change.
      points = row[4:14].reshape(5, 2) * stretch
      found.append(
        Detection(box.astype(np.float32), score, points.astype(np.float32))
      )
    return sorted(found, key=lambda d: -d.score)
