"""MediaPipe's Face Mesh, when its file is given: 478 points of a face.

Kartynnik et al. 2019, "Real-time facial surface geometry from monocular video
on mobile GPUs"; the file is MediaPipe's `face_landmark*.tflite` with irises
(Apache-2.0), run by `ai-edge-litert`. It serves as an alternative to our own
regressor of the 68 points and as the yardstick for it.

Points are in pixels of the picture they were found in, pixel centres at +0.5.
The network sees a square that is `ROOM` times the longer side of the box around
the face's points, turned so that the eyes are level: MediaPipe's own region of
interest. The first such square is guessed from the canonical frame, the next
from the points found in it.
"""

import dataclasses
import os
import pathlib
import threading
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, UInt8

from chibijax.errors import UserError
from chibijax.faces import align

VARIABLE = "CHIBIJAX_FACE_MESH"
POINTS = 478
# The network's square, in units of the box around the face.
ROOM = 1.5
# Middle and side of that square for the mean face in the canonical frame, in
# units of its side: the median over the real portraits (benchmarks/landmarks).
FIRST_MIDDLE, FIRST_SIDE = (0.5, 0.578), 0.745
# Viewer's left and right outer corner of the eyes.
EYES = (33, 263)
# Where iBUG's 68 points lie on the mesh: each is FIRST, moved by SHARE towards
# SECOND. The jaw goes in equal steps along the face's oval, from the ear (127)
# to the chin (152) on MediaPipe's canonical face; brows are annotated along
# their middle, half way between the mesh's two edges. The rest are the points
# nearest to the mean iBUG face, both seen from the front.
FIRST = np.array(
  [
    *(127, 234, 93, 132, 58, 172, 150, 176, 152),
    *(400, 379, 397, 288, 361, 323, 454, 356),
    # Left and right brow, upper edge.
    *(70, 63, 105, 66, 107, 336, 296, 334, 293, 300),
    # Bridge of the nose, its last point the tip; the nostrils.
    *(168, 197, 5, 1, 98, 97, 2, 326, 327),
    # Left and right eye.
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),
    # Outer and inner line of the lips.
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181),
    *(78, 82, 13, 312, 308, 317, 14, 87),
  ]
)
SECOND = np.array(
  [
    *(127, 93, 132, 58, 172, 136, 149, 148, 152),
    *(377, 378, 365, 397, 288, 361, 323, 356),
    # Lower edge of the brows.
    *(46, 53, 52, 65, 55, 285, 295, 282, 283, 276),
    *FIRST[27:],
  ]
)
SHARE = np.array(
  [
    *(0, 0.17, 0.29, 0.34, 0.41, 0.8, 0.41, 0.35, 0),
    *(0.35, 0.41, 0.8, 0.41, 0.34, 0.29, 0.17, 0),
    *[0.5] * 10,
    *[0] * 41,
  ],
  np.float32,
)
# Which of the 68 points each becomes in a mirrored picture.
MIRROR = np.array(
  [
    *range(16, -1, -1),
    *range(26, 16, -1),
    *(27, 28, 29, 30, 35, 34, 33, 32, 31),
    *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),
    *(54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55),
    *(64, 63, 62, 61, 60, 67, 66, 65),
  ]
)


@dataclasses.dataclass(frozen=True, eq=False)
class Mesh:
  """What Face Mesh says of one picture.

  Attributes:
    points: x, y in pixels and z in the same unit, smaller towards the camera;
      468 of the face, then 5 of each iris.
    score: whether there is a face in the square that was looked at, 0..1.
  """

  points: Float32[np.ndarray, "478 3"]
  score: float


class FaceMesh:
  """Finds 68 or 478 points in pictures of one face; a `Landmarks` function.

  Attributes:
    size: side of the canonical frame in pixels at which the network gets one
      of its pixels for each of the picture's; other sizes work.
    margin: of the canonical frame that aligned pictures are expected to be in.
    passes: how often the network looks.
  """

  size = 344
  margin = 0.0

  def __init__(
    self, path: str | os.PathLike[str] | None = None, passes: int = 2
  ) -> None:
    """Reads the network.

    Args:
      path: the tflite file; None looks at the variable CHIBIJAX_FACE_MESH.
      passes: how often the network looks, >= 1: each time at the square that
        fits the points found before.

    Raises:
      UserError: if no file is named, it is missing or no Face Mesh with 478
        points, or the runtime is not installed.
    """
    if passes < 1:
      raise ValueError(f"passes must be 1 or more, got {passes}")
    self.passes = passes
    named = path or os.environ.get(VARIABLE)
    if not named:
      raise UserError(
        f"Face Mesh needs its tflite file: give its path, or name it in"
        f" {VARIABLE}."
      )
    self._network = _interpreter(pathlib.Path(named))
    self._lock = threading.Lock()
    self._side = int(self._network.get_input_details()[0]["shape"][1])

  def __call__(
    self, aligned: UInt8[np.ndarray, "s s 3"]
  ) -> Float32[np.ndarray, "68 2"]:
    """Finds iBUG's 68 points of an aligned face.

    Args:
      aligned: uint8 sRGB in the canonical frame with `margin`, of any size.

    Returns:
      The points in pixels of the picture; where the face is hidden, a guess.
    """
    return to_68(self.read(aligned).points)[:, :2]

  def read(self, aligned: UInt8[np.ndarray, "s s 3"]) -> Mesh:
    """Finds all points of an aligned face.

    Args:
      aligned: uint8 sRGB in the canonical frame with `margin`, of any size.

    Returns:
      The points in pixels of the picture, and whether they are of a face.
    """
    scale = len(aligned) / (1 + 2 * self.margin)
    middle = (np.array(FIRST_MIDDLE) + self.margin) * scale
    side = FIRST_SIDE * scale
    ends = middle + np.array([[-0.5, 0], [0.5, 0]]) * side
    return self.follow(aligned, self._square(ends))

  def find(
    self,
    photo: UInt8[np.ndarray, "h w 3"],
    points: Float[np.ndarray, "n 2"],
  ) -> Mesh:
    """Finds all points of a face in a whole photo.

    Args:
      photo: uint8 sRGB of any size.
      points: five or 68 points of the face in pixels.

    Returns:
      The points in pixels of the photo, and whether they are of a face.
    """
    frame = align.find_transform(points, 1)
    middle, side = np.array(FIRST_MIDDLE), FIRST_SIDE
    ends = middle + np.array([[-0.5, 0], [0.5, 0]]) * side
    square = self._square(align.move(align.invert(frame), ends))
    return self.follow(photo, square)

  def follow(
    self,
    photo: UInt8[np.ndarray, "h w 3"],
    square: Float32[np.ndarray, "2 3"],
  ) -> Mesh:
    """Looks `passes` times, beginning with a given square.

    Args:
      photo: uint8 sRGB.
      square: the similarity that takes the photo to the network's square.

    Returns:
      What the last look found, in pixels of the photo.
    """
    for left in reversed(range(self.passes)):
      mesh = self._look(photo, square)
      if left:
        square = self.region(mesh.points)
    return mesh

  def region(
    self, points: Float[np.ndarray, "478 _"]
  ) -> Float32[np.ndarray, "2 3"]:
    """The square in which the network should see a face.

    Args:
      points: of the face, in pixels of the photo.

    Returns:
      The similarity that takes the photo to the network's square.
    """
    flat = points[:468, :2].astype(np.float64)
    across = flat[EYES[1]] - flat[EYES[0]]
    across /= max(np.linalg.norm(across), 1e-6)
    axes = np.stack([across, [-across[1], across[0]]])
    turned = flat @ axes.T
    low, high = turned.min(0), turned.max(0)
    middle = (low + high) / 2 @ axes
    half = max((high - low).max(), 1.0) * ROOM / 2
    return self._square(
      np.stack([middle - half * across, middle + half * across])
    )

  def _square(
    self, ends: Float[np.ndarray, "2 2"]
  ) -> Float32[np.ndarray, "2 3"]:
    """The similarity that makes two points the square's left and right end."""
    to = np.array([[0.0, self._side / 2], [self._side, self._side / 2]])
    return align.umeyama(ends, to)

  def _look(
    self,
    photo: UInt8[np.ndarray, "h w 3"],
    square: Float32[np.ndarray, "2 3"],
  ) -> Mesh:
    """Runs the network once on a square of the photo."""
    patch = align.warp(photo, square, (self._side, self._side))
    pixels = patch[None].astype(np.float32) / 255
    # An interpreter has one set of buffers.
    with self._lock:
      self._network.set_tensor(
        self._network.get_input_details()[0]["index"], pixels
      )
      self._network.invoke()
      raw, presence = (
        self._network.get_tensor(d["index"]).ravel()
        for d in self._network.get_output_details()[:2]
      )
    points = raw.reshape(POINTS, 3)
    inverse = align.invert(square)
    scale = np.sqrt(np.linalg.det(inverse[:, :2]))
    flat = align.move(inverse, points[:, :2])
    found = np.concatenate([flat, points[:, 2:] * scale], 1)
    score = 1 / (1 + np.exp(-float(presence[0])))
    return Mesh(found.astype(np.float32), float(score))


def load(path: str | os.PathLike[str] | None = None) -> FaceMesh:
  """Reads Face Mesh; arguments and errors as of `FaceMesh`."""
  return FaceMesh(path)


def to_68(
  points: Float[np.ndarray, "478 d"],
) -> Float[np.ndarray, "68 d"]:
  """iBUG's 68 points of the mesh's.

  Args:
    points: all of them, with any coordinates.

  Returns:
    The 68 points, of the same type.
  """
  first = points[FIRST]
  share = SHARE[:, None].astype(points.dtype)
  return first + (points[SECOND] - first) * share


def _interpreter(file: pathlib.Path) -> Any:
  """Loads a tflite file and checks that it is a Face Mesh."""
  if not file.is_file():
    raise UserError(f"{file} is missing (Face Mesh's tflite file).")
  try:
    from ai_edge_litert.interpreter import Interpreter
  except ImportError as e:
    raise UserError(
      "Face Mesh needs a runtime: pip install 'chibijax[mesh]' (or"
      " ai-edge-litert)."
    ) from e
  try:
    network = Interpreter(str(file), num_threads=1)
    network.allocate_tensors()
  except (ValueError, RuntimeError) as e:
    raise UserError(f"{file} cannot be read as a tflite file.") from e
  (given, *_), found = network.get_input_details(), network.get_output_details()
  shape = tuple(given["shape"])
  sizes = [int(np.prod(d["shape"])) for d in found[:2]]
  if sizes != [3 * POINTS, 1] or shape != (1, shape[1], shape[1], 3):
    raise UserError(
      f"{file} is no Face Mesh with {POINTS} points: it takes {shape} and"
      f" gives {sizes} numbers."
    )
  return network
