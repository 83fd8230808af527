"""Pictures made from portraits so that the right answer is known.

Each case is (name, picture, statuses that are right, faces). The distance
between the eyes is the unit of every size.
"""

import json
import pathlib
from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageFilter

from chibijax.artist import draw_chibi, draw_portrait, sample_attributes
from chibijax.faces import align

# Shares of a face (`align.FACE_AREA`) that a crop takes away.
CUTS = (0.2, 0.35)
YAWS = (20.0, 60.0, 75.0)


class Case(NamedTuple):
  """One made picture.

  Attributes:
    name: the kind of case.
    picture: uint8 sRGB.
    right: the statuses that are right; empty when any is.
    faces: how many faces there are.
    roll: how the face is turned in the picture, degrees, or None.
  """

  name: str
  picture: np.ndarray
  right: tuple[str, ...]
  faces: int = 1
  roll: float | None = None


def from_portrait(
  photo: np.ndarray, points: np.ndarray, roll: float, rng: np.random.Generator
) -> Iterator[Case]:
  """The cases made of one portrait whose own status is "ok"."""
  inverse = align.invert(align.find_transform(points))
  eyes = float(np.sqrt(np.linalg.det(inverse[:, :2]))) * 256 * 0.192
  picture = Image.fromarray(photo)
  size = np.array(picture.size)

  def shrunk(target: float) -> Image.Image:
    return picture.resize(
      np.maximum((size * target / eyes).round().astype(int), 8).tolist(),
      Image.Resampling.BOX,
    )

  yield Case("as it is", photo, ("ok",))
  for share in (0.05, 0.1):
    soft = picture.filter(ImageFilter.GaussianBlur(share * eyes))
    name = f"blurred, sigma {share:.0%} of the eyes' distance"
    yield Case(name, np.asarray(soft), ("blurred",))
  large = shrunk(8).resize(picture.size, Image.Resampling.BICUBIC)
  yield Case(
    "enlarged from 8 px between the eyes", np.asarray(large), ("blurred",)
  )
  noise = rng.integers(60, 200, (8, 8, 3), np.uint8)
  canvas = Image.fromarray(noise).resize((512, 512), Image.Resampling.BICUBIC)
  tiny = shrunk(14)
  corner = [int(rng.integers(0, max(512 - n, 1))) for n in tiny.size]
  canvas.paste(tiny, corner)
  yield Case("tiny, 14 px between the eyes", np.asarray(canvas), ("small",))
  for quarters, turned in ((1, -90), (2, 180), (3, 90)):
    seen = np.ascontiguousarray(np.rot90(photo, quarters))
    name = "upside down" if quarters == 2 else "a quarter turn"
    yield Case(name, seen, ("ok",), 1, roll + turned)
  yield from cut(photo, inverse)
  other = photo[:, ::-1]
  pair = np.concatenate([photo, other], 1)
  yield Case("two faces", np.ascontiguousarray(pair), ("ok",), 2)


def cut(photo: np.ndarray, inverse: np.ndarray) -> Iterator[Case]:
  """Crops that take a part of the face away."""
  left, top, right, bottom = (256 * edge for edge in align.FACE_AREA)
  for share in CUTS:
    across, down = share * (right - left), share * (bottom - top)
    middle_x, middle_y = (left + right) / 2, (top + bottom) / 2
    edges = {
      "left": (left + across, middle_y),
      "right": (right - across, middle_y),
      "chin": (middle_x, bottom - down),
      "forehead": (middle_x, top + down),
    }
    for side, point in edges.items():
      x, y = align.move(inverse, np.array([point])).round().astype(int)[0]
      part = {
        "left": photo[:, max(x, 0) :],
        "right": photo[:, : max(x, 1)],
        "chin": photo[: max(y, 1)],
        "forehead": photo[max(y, 0) :],
      }[side]
      # A cut face may be found as such or not at all, but not called good.
      yield Case(
        f"cut by {share:.0%}: {side}",
        np.ascontiguousarray(part),
        ("cut_off", "none"),
      )


def without_faces(photos: list[np.ndarray]) -> Iterator[Case]:
  """Things, animals, textures, and what is below a portrait's chin."""
  from skimage import data

  names = (
    "brick camera chelsea clock coffee coins grass gravel hubble_deep_field"
  )
  for name in (names + " moon page rocket text cell horse").split():
    try:
      picture = getattr(data, name)()
    except Exception:  # Some of them would have to be downloaded.
      continue
    if name == "camera":  # A man with a camera: his head is turned away.
      picture = picture[250:]
    if picture.dtype == bool:
      picture = picture.astype(np.uint8) * 255
    if picture.ndim == 2:
      picture = np.repeat(picture[..., None], 3, 2)
    yield Case(
      "none: things", np.ascontiguousarray(picture[..., :3]), ("none",), 0
    )
  for photo in photos:
    yield Case("none: below the chin", photo[-120:].copy(), ("none",), 0)


def cartoons(count: int) -> Iterator[Case]:
  """The artist's portraits and chibis: whatever is said is right."""
  for i in range(count):
    attributes = sample_attributes(np.random.default_rng([4, i]))
    portrait = draw_portrait(attributes, 512, seed=i)
    yield Case("drawn portrait", portrait.rgb(), ())
    yield Case("chibi", draw_chibi(attributes, 512).rgb(), ())


def turned(
  photo: np.ndarray, points: np.ndarray, heads: pathlib.Path
) -> Iterator[Case]:
  """A frontal portrait on ICT-FaceKit's mean head, seen from the side.

  Rough, as the hair is painted onto the skull; good enough to ask whether a
  detector finds a profile and what it says of it.
  """
  with np.load(heads / "ict_facekit_f16.npz") as file:
    vertices = file["v0"].astype(np.float64) * [1, -1, -1]
    polygons = file["faces"]
  indices = json.loads((heads / "vertex_indices.json").read_text())
  landmarks = vertices[indices["idx_to_landmark_verts"]]
  fitted = list(align.FITTED)
  place = align.umeyama(
    align.five_points(landmarks[:, :2])[fitted], points[fitted]
  )
  seen = align.move(place, vertices[:, :2])
  limit = np.array(photo.shape[1::-1]) - 1
  x, y = np.clip(seen.round().astype(int), 0, limit).T
  colors = photo[y, x].astype(np.float64)
  background = cv2.GaussianBlur(photo, (0, 0), 25)
  middle = np.array([0.0, landmarks[:, 1].mean(), 0.0])
  for yaw in YAWS:
    angle = np.radians(yaw)
    cos, sin = np.cos(angle), np.sin(angle)
    about_y = np.array([[cos, 0, -sin], [0, 1, 0], [sin, 0, cos]])
    moved = (vertices - middle) @ about_y.T + middle
    flat = align.move(place, moved[:, :2])
    canvas = background.copy()
    depth = moved[polygons, 2].mean(1)
    for k in np.argsort(-depth):
      corners = (flat[polygons[k]] * 16).round().astype(np.int32)
      tint = colors[polygons[k]].mean(0).tolist()
      cv2.fillConvexPoly(canvas, corners, tint, cv2.LINE_AA, 4)
    right = ("ok",) if yaw < 45 else ("profile", "none")
    yield Case(f"turned by {yaw:.0f} degrees", canvas, right)
