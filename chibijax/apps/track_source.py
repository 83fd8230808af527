"""Which frames are tracked, and finding the face in them."""

import dataclasses
import pathlib
import re
from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np
from jaxtyping import Float32, UInt8

from chibijax.apps import photos, videos
from chibijax.data import images, photo
from chibijax.errors import UserError
from chibijax.faces import align, analysis, detect
from chibijax.faces.detection import Detector
from chibijax.models import face_parser

# A frame -> its 68 landmarks in its pixels, or None, and how many faces.
Find: TypeAlias = Callable[
  [UInt8[np.ndarray, "h w 3"]], tuple[Float32[np.ndarray, "68 2"] | None, int]
]
# Frames after which the detector looks again, if nothing went wrong before.
_AGAIN = 30
# Landmarks further from the mean face than this, in distances of the eyes, are
# none of a face.
_STRANGE = 0.35
# Mean difference of two frames, as 16 x 16 grey values, that is a cut.
_CUT = 24.0


@dataclasses.dataclass(frozen=True)
class Options:
  """How a video is tracked.

  Attributes:
    size: side of the pictures in pixels.
    every: of so many frames one is used.
    most: the most frames that are used; None: all.
    fps: frames per second of a folder of pictures.
    overwrite: whether an earlier result is replaced.
    published: also write the pickled parameters that the published code reads.
  """

  size: int = 512
  every: int = 1
  most: int | None = None
  fps: float = 25.0
  overwrite: bool = False
  published: bool = False

  def __post_init__(self) -> None:
    if not 64 <= self.size <= 2048:
      raise UserError(f"--size is {self.size}, expected 64 to 2048.")
    if self.every < 1 or (self.most is not None and self.most < 1):
      raise UserError("--every and --max-frames must be at least 1.")
    if not self.fps > 0:
      raise UserError(f"--fps is {self.fps}, expected a positive number.")


class Clip:
  """The frames of a video that are used; they can be gone through twice.

  Attributes:
    name: for the frames' keys.
    fps: frames per second, of those used.
    count: how many there are, about; None if the file does not say.
    damaged: what ended it too early.
  """

  def __init__(self, path: pathlib.Path, options: Options) -> None:
    """Looks what there is.

    Args:
      path: see `run`.
      options: which frames.

    Raises:
      UserError: if there is nothing that can be read.
    """
    self.path, self.options, self.damaged = path, options, ""
    self.name = re.sub(r"[^A-Za-z0-9-]+", "-", path.stem).strip("-") or "clip"
    self._files: list[pathlib.Path] | None = None
    if path.is_dir() or path.suffix.lower() in images.SUFFIXES:
      self._files = photos.expand([path])
      fps, count = options.fps, len(self._files)
    elif not path.exists():
      raise UserError(f"there is no video {path}.")
    else:
      _, fps, count = videos.read(path)
    self.fps = fps / options.every
    self.count: int | None = -(-count // options.every) or None
    if options.most is not None:
      self.count = min(self.count or options.most, options.most)

  def frames(self) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """The frames, each time the same.

    Raises:
      UserError: if not even the first one can be read.
    """
    used = 0
    try:
      for number, frame in enumerate(self._all()):
        if number % self.options.every:
          continue
        if used == self.options.most:
          return
        yield frame
        used += 1
    except UserError as error:
      if not used:
        raise
      self.damaged = str(error)
    if not used:
      raise UserError(f"{self.path} has no frames.")

  def _all(self) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    if self._files is None:
      yield from videos.read(self.path)[0]
    else:
      for file in self._files:
        yield photo.read(file).pixels


class Follower:
  """Follows a face: the detector looks only now and then, and after cuts."""

  def __init__(self, detector: Detector, landmarks: analysis.Landmarks) -> None:
    """Begins with no face.

    Args:
      detector: see `faces.detect.make`.
      landmarks: finds 68 points in an aligned picture.
    """
    self._detector, self._landmarks = detector, landmarks
    self._last: np.ndarray | None = None
    self._faces, self._age = 0, 0
    self._small: np.ndarray | None = None

  def __call__(
    self, frame: UInt8[np.ndarray, "h w 3"]
  ) -> tuple[Float32[np.ndarray, "68 2"] | None, int]:
    """Finds the landmarks of a frame, given those before it; see `Find`."""
    rows, columns = (
      np.linspace(0, n - 1, 16).round().astype(int) for n in frame.shape[:2]
    )
    small = frame[np.ix_(rows, columns)].mean(-1)
    cut = self._small is None or np.abs(small - self._small).mean() > _CUT
    self._small = small
    self._age += 1
    if not cut and self._last is not None and self._age < _AGAIN:
      points = self._look(frame, self._last)
      if not _strange(points, self._last):
        self._last = points
        return points, self._faces
    found = detect.find(frame, self._detector)
    self._last, self._faces, self._age = None, len(found), 0
    if found:
      first = found[0].points
      if first is None:
        first = analysis.box_points(found[0].box)
      points = self._look(frame, self._look(frame, first))
      self._last = None if _strange(points, points) else points
    return self._last, self._faces

  def _look(self, frame: np.ndarray, points: np.ndarray) -> np.ndarray:
    return analysis.find_landmarks(frame, points, self._landmarks)


def _strange(points: np.ndarray, last: np.ndarray) -> bool:
  """Whether landmarks are no face, or not the one of the frame before."""
  back = align.find_transform(points, 1)
  shape = align.move(back, points)
  mean = face_parser.MEAN_SHAPE
  eyes = np.linalg.norm(mean[36:42].mean(0) - mean[42:48].mean(0))
  off = np.linalg.norm(shape - mean, axis=-1)[17:].mean() / eyes
  sizes = [float(np.linalg.norm(np.ptp(x, axis=0))) for x in (points, last)]
  moved = np.linalg.norm(points.mean(0) - last.mean(0)) / max(sizes[1], 1e-6)
  return bool(
    off > _STRANGE or moved > 0.5 or not 0.6 < sizes[0] / sizes[1] < 1.6
  )
