"""Which frames are tracked, and finding the face in them."""

import collections
import dataclasses
import pathlib
import re
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from jaxtyping import Float32, UInt8

from chibijax.apps import photos, videos
from chibijax.data import images, photo
from chibijax.errors import UserError
from chibijax.faces import align, analysis, detect
from chibijax.faces.detection import Detection, Detector
from chibijax.models import face_parser

# A frame -> its 68 landmarks in its pixels, or None, and how many faces.
Find: TypeAlias = Callable[
  [UInt8[np.ndarray, "h w 3"]], tuple[Float32[np.ndarray, "68 2"] | None, int]
]
# Frames after which the detector looks again, if nothing went wrong before, and
# how many are decoded ahead.
_AGAIN, _AHEAD = 30, 4
# The most doubt, see `faces.landmarks.Landmarks.judge`, with which a face is
# followed, and with which it counts where the detector sees one.
_SURE, _LIKELY = 0.09, 0.12
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


@runtime_checkable
class Judge(Protocol):
  """Finds 68 points in aligned pictures, and says how doubtful they are."""

  size: int
  margin: float

  def judge(
    self, aligned: UInt8[np.ndarray, "s s 3"]
  ) -> tuple[Float32[np.ndarray, "68 2"], float]:
    """See `faces.landmarks.Landmarks.judge`."""


class Follower:
  """Follows a face: each frame is aligned by the landmarks of the last one.

  The detector looks when they become doubtful, after cuts, and now and then to
  count faces. It errs alone: in one frame of 30 it took a head for one upside
  down. So landmarks that are sure are kept, whatever it sees.
  """

  def __init__(self, detector: Detector, landmarks: Judge) -> None:
    """Begins with no face.

    Args:
      detector: see `faces.detect.make`.
      landmarks: such as `faces.landmarks.load` makes.
    """
    self._detector, self._landmarks = detector, landmarks
    self._last: np.ndarray | None = None
    self._small: np.ndarray | None = None
    # Faces, and frames since they were counted and since a thorough search.
    self._faces, self._age, self._searched = 0, 0, _AGAIN

  def __call__(
    self, frame: UInt8[np.ndarray, "h w 3"]
  ) -> tuple[Float32[np.ndarray, "68 2"] | None, int]:
    """Finds the landmarks of a frame, given those before it; see `Find`."""
    cut = self._is_cut(frame)
    self._age, self._searched = self._age + 1, self._searched + 1
    if self._last is not None and not cut:
      points, doubt = self._look(frame, self._last)
      if doubt < _SURE and not _strange(points, self._last):
        self._last = points
        if self._age >= _AGAIN:
          self._faces = max(len(self._glance(frame)), 1)
        return points, self._faces
    found = self._glance(frame)
    self._last = self._first(frame, found)
    if self._last is None and (cut or self._searched >= _AGAIN):
      # Turned, at the border, small: that takes ten times as long.
      self._searched = 0
      found = detect.find(frame, self._detector)
      self._last = self._first(frame, found)
    self._faces = 0 if self._last is None else len(found)
    return self._last, self._faces

  def _is_cut(self, frame: UInt8[np.ndarray, "h w 3"]) -> bool:
    """Whether a frame has little in common with the one before."""
    rows, columns = (
      np.linspace(0, n - 1, 16).round().astype(int) for n in frame.shape[:2]
    )
    small = frame[np.ix_(rows, columns)].mean(-1)
    last, self._small = self._small, small
    return last is None or bool(np.abs(small - last).mean() > _CUT)

  def _glance(self, frame: np.ndarray) -> list[Detection]:
    """What the detector sees at once, the largest face first."""
    self._age = 0
    return detect.clean(self._detector(frame))

  def _first(
    self, frame: np.ndarray, found: list[Detection]
  ) -> np.ndarray | None:
    """The landmarks of the largest face that has some."""
    for one in found:
      points = one.points
      if points is None:
        points = analysis.box_points(one.box)
      # The other way up too.
      for start in (points, 2 * points.mean(0) - points):
        start, _ = self._look(frame, start.astype(np.float32))
        points, doubt = self._look(frame, start)
        if doubt < _LIKELY and not _strange(points, points):
          return points
    return None

  def _look(
    self, frame: np.ndarray, points: np.ndarray
  ) -> tuple[np.ndarray, float]:
    """Landmarks where others say that a face is, and their doubt."""
    size, margin = self._landmarks.size, self._landmarks.margin
    transform = align.find_transform(points, size, margin)
    aligned = align.warp(frame, transform, (size, size))
    found, doubt = self._landmarks.judge(aligned)
    return align.move(align.invert(transform), found), doubt


def ahead(items: Iterator[Any]) -> Iterator[Any]:
  """The same items, made in another thread a few before they are taken."""
  end = object()
  with futures.ThreadPoolExecutor(1) as pool:
    waiting = collections.deque(
      pool.submit(next, items, end) for _ in range(_AHEAD)
    )
    while (item := waiting.popleft().result()) is not end:
      waiting.append(pool.submit(next, items, end))
      yield item


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
