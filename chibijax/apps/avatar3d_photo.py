"""From a photo to what an avatar is built of: a head on black, and its face.

The crop shows the head as the training's pictures do: two thirds of the height,
in the middle, upright or not as in the photo. The head model is fitted to the
68 landmarks; landmarks say nothing of the gaze, which is taken as straight.
"""

import dataclasses
import pathlib

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8
from PIL import Image

from chibijax.apps.avatar3d_file import Face
from chibijax.data import photo as photo_files
from chibijax.errors import NoFaceError, UserError
from chibijax.faces import analysis, detect
from chibijax.faces.detection import Detector
from chibijax.heads import model as head_model
from chibijax.heads import track
from chibijax.heads.model import HeadModel
from chibijax.heads.motion import FOCAL, WORLD_SCALE, center

# How much of the picture's height the head has, as in the training's pictures.
FILL = 0.66
# The longest side that a photo is read at.
LONGEST = 2048
# Fits that miss a landmark by more than this, of half the picture on average,
# are none.
_WORST = 0.15


@dataclasses.dataclass(frozen=True, eq=False)
class Finder:
  """The networks that look at photos.

  Attributes:
    detector: finds faces.
    landmarks: finds 68 points.
    segment: finds what is not the person; None leaves the background.
  """

  detector: Detector
  landmarks: analysis.Landmarks
  segment: analysis.Segment | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
  """A head cut out of a photo.

  Attributes:
    picture: the head on black.
    face: its parameters and camera.
    marks: its landmarks in the picture's pixels.
    faces: how many the photo shows; this is the largest.
    error: mean distance of the fitted landmarks, pixels.
  """

  picture: UInt8[np.ndarray, "s s 3"]
  face: Face
  marks: Float32[np.ndarray, "68 2"]
  faces: int
  error: float


def load_finder(
  kind: str = "auto",
  weights: pathlib.Path | None = None,
  *,
  mask: bool = True,
) -> Finder:
  """Loads the networks that look at photos.

  Args:
    kind: of the detector, see `faces.detect.make`.
    weights: of the detector.
    mask: whether backgrounds shall be made black.

  Raises:
    UserError: if weights are missing.
  """
  from chibijax.apps import detectors
  from chibijax.faces import landmarks, segment

  return Finder(
    detectors.make(kind, weights),
    landmarks.load(),
    segment.load() if mask else None,
  )


def read(path: pathlib.Path) -> photo_files.Photo:
  """Reads a photo; what is transparent becomes black.

  Raises:
    ImageError: if it is no picture, or damaged.
  """
  return photo_files.read(path, longest=LONGEST, background=(0, 0, 0))


def find(
  photo: photo_files.Photo,
  finder: Finder,
  head: HeadModel,
  size: int,
  *,
  published: bool = False,
) -> Source:
  """Cuts the largest head out of a photo and fits the head model to it.

  Args:
    photo: any.
    finder: from `load_finder`.
    head: the head model.
    size: side of the picture, pixels.
    published: whether the networks were trained on pictures as GAGAvatar's,
      with the head model's origin in the middle, and not on the embedded ones.

  Returns:
    The head.

  Raises:
    NoFaceError: if there is no face.
    UserError: if the head model does not fit the landmarks.
  """
  found = detect.find(photo.pixels, finder.detector)
  if not found:
    raise NoFaceError(
      f"{photo.name} shows no face that was found; expected a photo of a face "
      "seen from the front."
    )
  face = analysis.describe(
    photo.pixels, found[0], finder.landmarks,
    None if photo.alpha is not None else finder.segment,
  )  # fmt: skip
  marks = np.asarray(face.landmarks, np.float64)
  middle, half = frame(head, marks, published=published)
  pixels = photo.pixels
  if face.mask is not None:
    pixels = pixels * ~face.mask["background"][..., None]
  picture = crop(pixels, middle, half, size)
  placed = (marks - middle + half) * (size / (2 * half))
  fitted, error = fit_face(head, placed, size, photo.name)
  return Source(picture, fitted, placed.astype(np.float32), len(found), error)


def frame(
  head: HeadModel,
  marks: Float[np.ndarray, "68 2"],
  *,
  published: bool = False,
) -> tuple[Float[np.ndarray, "2"], float]:
  """The square around a head of which landmarks are known.

  Args:
    head: the head model.
    marks: landmarks in pixels of a photo.
    published: see `find`.

  Returns:
    Its middle and half its side in the photo's pixels: where the head model at
    rest, seen from the front, lies closest to the landmarks.
  """
  if published:
    to_square = track.crop(head, marks[None], np.ones(1, bool))[0]
    zoom = float(to_square[0, 0])
    return (0.5 - to_square[:, 2]).astype(np.float64) / zoom, 0.5 / zoom
  home, points = home_view(head)
  seen = points @ home[:3, :3].T.astype(np.float64) + home[:3, 3]
  wanted = FOCAL * seen[:, :2] / seen[:, 2:]
  # Least squares of marks = half x wanted + middle.
  apart = wanted - wanted.mean(0)
  half = float((apart * (marks - marks.mean(0))).sum() / (apart**2).sum())
  if half <= 0:
    # Upside down: as large, whatever the side that is up.
    spread = np.linalg.norm(marks - marks.mean(0))
    half = float(spread / np.linalg.norm(apart))
  return marks.mean(0) - half * wanted.mean(0), half


def home_view(
  head: HeadModel,
) -> tuple[Float32[np.ndarray, "4 4"], Float[np.ndarray, "68 3"]]:
  """A camera straight in front of the head at rest, and its landmarks."""
  marks = head_model.landmarks(head, np.asarray(head.template))
  low, high = float(marks[8, 1]), float(np.asarray(head.template)[:, 1].max())
  middle = center(low, high)
  view = np.diag([1.0, -1.0, -1.0, 1.0])
  distance = FOCAL * WORLD_SCALE * (high - low) / 2 / FILL
  view[:3, 3] = np.array([0.0, 0.0, distance]) - view[:3, :3] @ middle
  return view.astype(np.float32), WORLD_SCALE * marks.astype(np.float64)


def crop(
  pixels: UInt8[np.ndarray, "h w 3"],
  middle: Float[np.ndarray, "2"],
  half: float,
  size: int,
) -> UInt8[np.ndarray, "s s 3"]:
  """A square of a photo, black outside of it.

  Args:
    pixels: the photo.
    middle: of the square, in its pixels.
    half: half the side in its pixels.
    size: side of the result, pixels.
  """
  low = np.floor(middle - half).astype(int) - 2
  high = np.ceil(middle + half).astype(int) + 2
  inside = np.zeros((high[1] - low[1], high[0] - low[0], 3), np.uint8)
  y0, y1 = np.clip([low[1], high[1]], 0, pixels.shape[0])
  x0, x1 = np.clip([low[0], high[0]], 0, pixels.shape[1])
  inside[y0 - low[1] : y1 - low[1], x0 - low[0] : x1 - low[0]] = pixels[
    y0:y1, x0:x1
  ]
  start = middle - half - low
  box = (*start, *(start + 2 * half))
  image = Image.fromarray(inside)
  return np.array(image.resize((size, size), Image.Resampling.BICUBIC, box=box))


def fit_face(
  head: HeadModel,
  marks: Float[np.ndarray, "68 2"],
  size: int,
  name: str,
) -> tuple[Face, float]:
  """Fits a head model to the landmarks of one picture.

  Args:
    head: the head model.
    marks: in pixels.
    size: side of the picture, pixels.
    name: of the photo, for messages.

  Returns:
    The face, and the mean distance of its landmarks from these, pixels.

  Raises:
    UserError: if they stay far apart.
  """
  found = track.track(head, marks[None], size)
  off = float(found.error[0])
  if not np.isfinite(off) or off > _WORST * size / 2:
    raise UserError(
      f"{name} has a face that the head model {head.name!r} does not fit; "
      "expected one that is seen whole."
    )
  frame = found.expression, found.pose, found.eyes, found.viewmats
  return Face(found.shape, *(x[0] for x in frame)), off


def darkened(
  picture: UInt8[np.ndarray, "s s 3"], like: UInt8[np.ndarray, "s s 3"]
) -> UInt8[np.ndarray, "s s 3"]:
  """A picture with another one's black background.

  Args:
    picture: such as a translation of `like`.
    like: a head on black.
  """
  known: Bool[np.ndarray, "s s"] = like.max(-1) > 0
  return picture * known[..., None]
