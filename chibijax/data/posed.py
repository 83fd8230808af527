"""Sources of posed views: pictures whose pinhole cameras are known.

An example is `image`, uint8 [size, size, 4] sRGB with straight alpha (255
everywhere for a photo), `viewmat`, float32 [4, 4] world to camera with OpenCV
axes (x right, y down, z forward), and `K`, float32 [3, 3] in pixels, pixel
centres at +0.5.

Folders have the `transforms.json` form of NeRF and nerfstudio: camera-to-world
matrices with OpenGL axes (x right, y up, z backward) in a world whose z is up.
That world is turned so that its y is down, as in the drawn scenes and as
viewers of `.ply` splats expect: (x, y, z) becomes (x, -z, y).
"""

import json
import math
import os
import pathlib
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float32
from PIL import Image

from chibijax import artist
from chibijax.artist import posed
from chibijax.data import images
from chibijax.data.folder import Split
from chibijax.data.sources import DataError, Example, Fields, Source

Matrix: TypeAlias = Float32[np.ndarray, "4 4"]
Intrinsics: TypeAlias = Float32[np.ndarray, "3 3"]

FITS = ("center", "top", "stretch")
# Without a split of its own, every so many frames one is held out.
_HELD_OUT = 8
# From a world with z up to one with y down.
_UPRIGHT = np.array(
  [[1, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]], np.float64
)
_DISTORTION = ("k1", "k2", "k3", "k4", "p1", "p2")
_MODELS = ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL")


class _PosedSource(Source):
  """What sources of posed views share: the layout of an example."""

  # A crop or a mirror image has another camera.
  crop_flip = False

  def fields(self, size: int) -> Fields:
    """The picture with alpha and its camera."""
    return {
      "image": ((size, size, 4), np.uint8),
      "viewmat": ((4, 4), np.float32),
      "K": ((3, 3), np.float32),
    }


class FigureSource(_PosedSource):
  """Views of one of the artist's characters as a 3D figure; nothing is stored.

  The training views and the held-out ones share no camera.
  """

  def __init__(
    self,
    size: int,
    *,
    split: Split,
    views: int = 60,
    seed: int = 0,
    character: int = 0,
    cache_bytes: int = 0,
  ) -> None:
    """Describes the views; nothing is drawn yet.

    Args:
      size: side of the pictures, in pixels.
      split: which cameras.
      views: number of cameras.
      seed: of the artist's characters.
      character: which of them.
      cache_bytes: memory for drawn views.

    Raises:
      DataError: if an argument is out of range.
    """
    super().__init__(cache_bytes)
    if size < 16 or views < 1:
      raise DataError(
        "views of a figure need data.size >= 16 and at least one view, got"
        f" {size} and {views}."
      )
    self.size = size
    self.split: Split = split
    self.views = views
    self.seed = seed
    self.character = character
    rng = np.random.default_rng([seed, character])
    self.attributes = artist.sample_attributes(rng)

  def __len__(self) -> int:
    return self.views

  def load(self, index: int) -> Example:
    """Draws one view; see `Source.load`."""
    viewmat = posed.view(index, self.views, self.split)
    return {
      "image": posed.draw_posed(self.attributes, viewmat, self.size),
      "viewmat": viewmat,
      "K": posed.intrinsics(self.size),
    }

  @property
  def description(self) -> str:
    """For example "artist: 60 views of figure 0 (seed 0)"."""
    return (
      f"artist: {self.views} views of figure {self.character} (seed"
      f" {self.seed})"
    )


class PosedFolderSource(_PosedSource):
  """The frames of a `transforms.json` and their pictures.

  The split is, in this order: `transforms_train.json` and
  `transforms_test.json` (or `_val`), as NeRF's synthetic scenes have them;
  `train_filenames` and `test_filenames` (or `val_filenames`) in
  `transforms.json`; else every eighth frame is held out.
  """

  def __init__(
    self,
    path: str | os.PathLike[str],
    size: int,
    *,
    fit: str = "center",
    split: Split,
    cache_bytes: int = 0,
  ) -> None:
    """Reads the cameras and looks for the pictures.

    Args:
      path: the folder, or its JSON file.
      size: side of the results in pixels.
      fit: how a picture becomes square: "center" or "top" cut a square out of
        it, "stretch" keeps everything; the camera changes with the picture.
      split: which frames.
      cache_bytes: memory for decoded pictures.

    Raises:
      DataError: if there is no such file, it is not of that form, or a
        picture is missing.
    """
    super().__init__(cache_bytes)
    if fit not in FITS:
      raise DataError(
        f"posed pictures need data.fit_a of {', '.join(FITS)}, got {fit!r}."
      )
    self.size = size
    self.fit = fit
    self.split: Split = split
    self.path, self.total, frames = _frames(pathlib.Path(path), split)
    self.frames = tuple(_frame(self.path, *frame) for frame in frames)

  def __len__(self) -> int:
    return len(self.frames)

  def load(self, index: int) -> Example:
    """Decodes one frame; see `Source.load`."""
    file, viewmat, camera = self.frames[index]
    picture = images.READER.read_rgba(file)
    height, width = picture.shape[:2]
    K = _intrinsics(self.path, camera, width, height)
    side = min(width, height)
    box = (0.0, 0.0, float(width), float(height))
    if self.fit != "stretch":
      left = (width - side) / 2
      top = 0.0 if self.fit == "top" else (height - side) / 2
      box = (left, top, left + side, top + side)
    # Pillow resizes RGBA with premultiplied colours.
    small = Image.fromarray(picture).resize(
      (self.size, self.size), Image.Resampling.BICUBIC, box=box
    )
    scale = (self.size / (box[2] - box[0]), self.size / (box[3] - box[1]))
    for axis in (0, 1):
      K[axis, axis] *= scale[axis]
      K[axis, 2] = (K[axis, 2] - box[axis]) * scale[axis]
    return {
      "image": np.array(small, np.uint8),
      "viewmat": viewmat,
      "K": K.astype(np.float32),
    }

  @property
  def description(self) -> str:
    """For example "posed scene/transforms.json: 35 of 40 frames"."""
    return (
      f"posed {self.path}: {len(self)} of {self.total} frames" + self._damage()
    )


def _frames(
  path: pathlib.Path, split: Split
) -> tuple[pathlib.Path, int, list[tuple[dict[str, Any], dict[str, Any]]]]:
  """The JSON file, the number of all frames, and (top level, frame) pairs."""
  path = path.expanduser()
  if path.is_dir():
    names = ["transforms_train.json"]
    if split == "eval":
      names = ["transforms_test.json", "transforms_val.json"]
    own = [path / name for name in names if (path / name).is_file()]
    if own:
      top = _read(own[0])
      return own[0], len(top["frames"]), [(top, f) for f in top["frames"]]
    path = path / "transforms.json"
  top = _read(path)
  frames = sorted(top["frames"], key=lambda f: str(f.get("file_path")))
  lists = ["train"] if split == "train" else ["test", "val"]
  for name in lists:
    wanted = top.get(f"{name}_filenames")
    if wanted:
      frames = [f for f in frames if f.get("file_path") in set(wanted)]
      break
  else:
    if len(frames) > 1:
      frames = [
        frame
        for k, frame in enumerate(frames)
        if (k % _HELD_OUT == 0) == (split == "eval")
      ]
  if not frames:
    raise DataError(f"{path} has no frames for {split}.")
  return path, len(top["frames"]), [(top, frame) for frame in frames]


def _read(path: pathlib.Path) -> dict[str, Any]:
  """Parses a transforms file and checks what all frames share."""
  try:
    top = json.loads(path.read_text(encoding="utf-8"))
  except FileNotFoundError as error:
    raise DataError(
      f"{path} does not exist; data.path_a must be a folder with a"
      " transforms.json (or transforms_train.json), or such a file."
    ) from error
  except (OSError, ValueError) as error:
    raise DataError(f"{path} cannot be read as JSON ({error}).") from error
  frames = top.get("frames") if isinstance(top, dict) else None
  if not isinstance(frames, list) or not frames:
    raise DataError(f"{path} has no list of frames.")
  if not all(isinstance(frame, dict) for frame in frames):
    raise DataError(f"{path} has a frame that is not an object.")
  return top


def _frame(
  path: pathlib.Path, top: dict[str, Any], frame: dict[str, Any]
) -> tuple[pathlib.Path, Matrix, dict[str, Any]]:
  """One frame: its picture, its view matrix, its camera's entries."""
  name = frame.get("file_path")
  if not isinstance(name, str):
    raise DataError(f"{path} has a frame without a file_path.")
  try:
    pose = np.array(frame.get("transform_matrix"), np.float64)
    if pose.shape == (3, 4):
      pose = np.concatenate([pose, [[0.0, 0.0, 0.0, 1.0]]])
    good = pose.shape == (4, 4) and np.isfinite(pose).all()
    rotation = pose[:3, :3]
    good = good and np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-3)
    good = good and np.linalg.det(rotation) > 0
  except (TypeError, ValueError, IndexError):
    good = False
  if not good:
    raise DataError(
      f"{path}: the transform_matrix of {name} is not a rotation and a"
      " position, 4x4."
    )
  file = _picture(path.parent / name)
  if file is None:
    raise DataError(f"{path} names the picture {name}, which is not there.")
  # OpenGL cameras look along -z with y up.
  pose = _UPRIGHT @ pose @ np.diag([1.0, -1.0, -1.0, 1.0])
  return file, np.linalg.inv(pose).astype(np.float32), {**top, **frame}


def _picture(file: pathlib.Path) -> pathlib.Path | None:
  """The file, or the one with a suffix where NeRF's scenes leave it out."""
  if file.is_file():
    return file
  for suffix in (".png", ".jpg", ".jpeg", ".webp"):
    other = file.with_name(file.name + suffix)
    if other.is_file():
      return other
  return None


def _intrinsics(
  path: pathlib.Path, camera: dict[str, Any], width: int, height: int
) -> np.ndarray:
  """The pinhole matrix for the stored pixels of a picture."""
  model = camera.get("camera_model", "OPENCV")
  bent = [k for k in _DISTORTION if abs(float(camera.get(k) or 0)) > 1e-9]
  if model not in _MODELS or bent:
    what = f"camera_model {model}" if model not in _MODELS else ", ".join(bent)
    raise DataError(
      f"{path} has distorted pictures ({what}); undistort them first, for"
      " example with COLMAP's image_undistorter."
    )
  # Pictures may have been made smaller than those that were calibrated.
  w, h = float(camera.get("w") or width), float(camera.get("h") or height)
  fx, fy = camera.get("fl_x"), camera.get("fl_y")
  if fx is None and camera.get("camera_angle_x") is not None:
    fx = 0.5 * w / math.tan(0.5 * float(camera["camera_angle_x"]))
  if fy is None and camera.get("camera_angle_y") is not None:
    fy = 0.5 * h / math.tan(0.5 * float(camera["camera_angle_y"]))
  if fx is None or not float(fx) > 0:
    raise DataError(f"{path} has neither fl_x nor camera_angle_x.")
  cx, cy = camera.get("cx"), camera.get("cy")
  return np.array(
    [
      [float(fx), 0, w / 2 if cx is None else float(cx)],
      [0, float(fx if fy is None else fy), h / 2 if cy is None else float(cy)],
      [0, 0, 1],
    ]
  ) * np.array([[width / w], [height / h], [1.0]])
