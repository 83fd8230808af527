"""How a head moves over time, and the file that holds it: `motion.npz`.

A motion belongs to no identity: any head of the same model can be driven by it.
The world is the head model's frame times `WORLD_SCALE`; cameras are pinholes
with the focal length `FOCAL` in half-pictures and a centred principal point,
whatever the size of the picture (`ops.camera`). The file is a plain NumPy
archive of numbers and text; nothing in it is run when it is read.
"""

import dataclasses
import io
import math
import os
import pathlib
import zipfile
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32

from chibijax.errors import UserError

FORMAT = "chibijax motion"
VERSION = 1
# As published for GAGAvatar's data.
WORLD_SCALE = 5.0
FOCAL = 12.0
# Rotations of view matrices may deviate so much from orthonormal ones.
_ROTATION_ERROR = 1e-3


@dataclasses.dataclass(frozen=True, eq=False)
class Motion:
  """The parameters of n frames of one head.

  Attributes:
    expression: coefficients of the head's expressions.
    pose: axis-angle of the whole head, 0 where the camera carries it, and of
      the jaw, radians.
    eyes: axis-angle of the left and of the right eye, radians.
    viewmats: world to camera, OpenCV axes.
    fps: frames per second, positive.
    head: name of the head model, as in `HeadModel.name`.
    valid: whether the frame was seen; the others are filled in between.
  """

  expression: Float[np.ndarray, "n E"]
  pose: Float[np.ndarray, "n 6"]
  eyes: Float[np.ndarray, "n 6"]
  viewmats: Float[np.ndarray, "n 4 4"]
  fps: float
  head: str
  valid: Bool[np.ndarray, " n"]

  def __len__(self) -> int:
    return len(self.valid)


def center(low: float, high: float) -> Float[np.ndarray, "3"]:
  """What cameras of the data look at, between chin and crown, world units.

  Args:
    low: height of the chin in metres.
    high: height of the crown.
  """
  return WORLD_SCALE * np.array([0.0, 0.53 * low + 0.47 * high, 0.0])


def intrinsics(size: int) -> Float32[np.ndarray, "3 3"]:
  """K in pixels of a square picture of a motion.

  Args:
    size: side of the picture in pixels.
  """
  focal = FOCAL * size / 2
  return np.array(
    [[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1]], np.float32
  )


def write_motion(path: str | os.PathLike[str], motion: Motion) -> None:
  """Writes a motion, whole or not at all.

  Args:
    path: ends in ".npz".
    motion: at least one frame.

  Raises:
    UserError: if the name is another, the arrays do not fit each other or have
      values that are not finite, or the file cannot be written.
  """
  file = pathlib.Path(path)
  if file.suffix != ".npz":
    raise UserError(f"{file} is no name of a motion; expected NAME.npz.")
  arrays = _arrays(dataclasses.asdict(motion))
  _check(arrays, motion.fps, str(file))
  stream = io.BytesIO()
  np.savez_compressed(
    stream,
    format=np.array(FORMAT),
    version=np.array(VERSION),
    fps=np.array(motion.fps, np.float64),
    head=np.array(motion.head),
    **arrays,
  )
  unfinished = file.with_name(f".{file.name}.part")
  try:
    unfinished.write_bytes(stream.getvalue())
    unfinished.replace(file)
  except OSError as error:
    raise UserError(f"{file} cannot be written ({error.strerror}).") from error


def read_motion(path: str | os.PathLike[str]) -> Motion:
  """Reads a motion; float32, and nothing in the file is run.

  Args:
    path: a file that `write_motion` wrote.

  Returns:
    The motion, checked.

  Raises:
    UserError: if the file is missing, damaged, no motion, of a later version,
      or its arrays do not fit each other or have values that are not finite.
  """
  file = pathlib.Path(path)
  try:
    data = file.read_bytes()
  except OSError as error:
    raise UserError(f"{file} cannot be read ({error.strerror}).") from error
  try:
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
      saved = {name: archive[name] for name in archive.files}
  # A damaged archive makes its readers raise any of these.
  except (ValueError, OSError, EOFError, zipfile.BadZipFile, KeyError) as error:
    raise UserError(
      f"{file} is not a motion: it is no NumPy archive of plain arrays, or "
      "damaged."
    ) from error
  except (AttributeError, TypeError) as error:
    # What np.load makes of a single array is no archive.
    raise UserError(f"{file} is not a motion, but a single array.") from error
  if str(saved.get("format")) != FORMAT:
    raise UserError(
      f"{file} is not a motion: it does not say that it is a {FORMAT!r} file."
    )
  version, fps = (_number(saved, name, file) for name in ("version", "fps"))
  if version != VERSION:
    raise UserError(
      f"{file} is a motion of version {version:g}; this chibijax reads "
      f"version {VERSION}."
    )
  wanted = ("expression", "pose", "eyes", "viewmats", "valid", "head")
  missing = [name for name in wanted if name not in saved]
  if missing:
    raise UserError(f"{file} is not a whole motion: it has no {missing[0]}.")
  if any(saved[name].dtype.kind not in "fiub" for name in wanted[:-1]):
    raise UserError(f"{file} is not a motion: its arrays are not of numbers.")
  arrays = _arrays(saved)
  _check(arrays, fps, str(file))
  return Motion(**arrays, fps=fps, head=str(saved["head"]))


def _arrays(given: dict[str, Any]) -> dict[str, np.ndarray]:
  names = ("expression", "pose", "eyes", "viewmats")
  arrays = {name: np.asarray(given[name], np.float32) for name in names}
  return arrays | {"valid": np.asarray(given["valid"], bool)}


def _number(
  saved: dict[str, np.ndarray], name: str, file: pathlib.Path
) -> float:
  value = saved.get(name)
  if value is None or value.shape != () or value.dtype.kind not in "fiu":
    raise UserError(f"{file} is not a motion: its {name} is no number.")
  return float(value)


def _check(arrays: dict[str, np.ndarray], fps: float, where: str) -> None:
  """Raises UserError unless the arrays are those of one motion."""
  count = arrays["valid"].size
  given = arrays["expression"].shape
  shapes = {
    "valid": (count,),
    "expression": (count, given[-1] if given else 0),
    "pose": (count, 6),
    "eyes": (count, 6),
    "viewmats": (count, 4, 4),
  }
  for name, shape in shapes.items():
    got = arrays[name].shape
    if got != shape:
      raise UserError(
        f"{where}: {name} of a motion of {count} frames has the shape {got}, "
        f"expected {shape}."
      )
    if not np.isfinite(arrays[name]).all():
      raise UserError(f"{where}: {name} of the motion is not finite.")
  if not count:
    raise UserError(f"{where}: the motion has no frames.")
  if not (math.isfinite(fps) and fps > 0):
    raise UserError(f"{where}: a motion has frames per second, got {fps}.")
  turns = arrays["viewmats"][:, :3, :3].astype(np.float64)
  error = np.abs(turns @ turns.transpose(0, 2, 1) - np.eye(3)).max()
  last = np.abs(arrays["viewmats"][:, 3] - np.array([0, 0, 0, 1.0])).max()
  if error > _ROTATION_ERROR or last > 0 or (np.linalg.det(turns) < 0).any():
    raise UserError(
      f"{where}: a view matrix of the motion is not a rotation and a shift."
    )
