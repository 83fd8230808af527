"""Faces in photos: found, judged, aligned.

detector = detect.make()
for face in analyse(photo, detector):
  if face.status == "ok":
    aligned = align.warp(photo, face.transform, (face.size, face.size))
"""

from chibijax.faces import align, detect
from chibijax.faces.analysis import analyse
from chibijax.faces.detection import Detection, Detector
from chibijax.faces.face import STATUSES, Face

__all__ = [
  "STATUSES",
  "Detection",
  "Detector",
  "Face",
  "align",
  "analyse",
  "detect",
]
