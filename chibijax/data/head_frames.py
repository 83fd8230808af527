"""Head parameters of the frames of clips, as files of them say.

A frame's key is "CLIP_NUMBER". Three kinds of files hold the same arrays:
ours, `optim.npz`, with one row per frame and nothing that could run; and the
published trackers' `smoothed.pkl` and `optim.pkl`, a pickled dict of dicts of
NumPy arrays, of which only plain arrays are accepted.

The camera is PyTorch3D's: row vectors, x to the left, y up, z forward, focal
length 12 in half-pictures. The world is the head model's frame times 5.
"""

import io
import json
import os
import pathlib
import pickle
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32

from chibijax.core import pickle_files
from chibijax.data.sources import DataError
from chibijax.errors import UserError

# Files of parameters, the first that is there; smoothed over time is better.
NAMES = ("optim.npz", "smoothed.pkl", "optim.pkl")


class Frames(NamedTuple):
  """Parameters of N frames; rows in the order of `keys`.

  Attributes:
    keys: "CLIP_NUMBER" of each frame.
    box: x0, y0, x1, y1 of the head as shares of the picture's side.
    shape: identity coefficients, 300 of FLAME as published.
    expression: expression coefficients, 100 of FLAME as published.
    pose: axis-angle of the whole head and of the jaw, radians.
    eyes: axis-angle of the left and of the right eye, radians.
    transform: PyTorch3D's R and T.
  """

  keys: tuple[str, ...]
  box: Float32[np.ndarray, "N 4"]
  shape: Float32[np.ndarray, "N S"]
  expression: Float32[np.ndarray, "N E"]
  pose: Float32[np.ndarray, "N 6"]
  eyes: Float32[np.ndarray, "N 6"]
  transform: Float32[np.ndarray, "N 3 4"]


# The published names, and the shapes that do not depend on the head model.
_PUBLISHED = {
  "box": ("bbox", (4,)),
  "shape": ("shapecode", None),
  "expression": ("expcode", None),
  "pose": ("posecode", (6,)),
  "eyes": ("eyecode", (6,)),
  "transform": ("transform_matrix", (3, 4)),
}
_ARRAYS = tuple(_PUBLISHED)
# Types of numbers that published parameters have.
_NUMBERS = ("f2", "f4", "f8", "i4", "i8")


def find(folder: pathlib.Path) -> pathlib.Path:
  """The file of parameters in a tracked folder.

  Raises:
    DataError: if there is none.
  """
  for name in NAMES:
    if (folder / name).is_file():
      return folder / name
  raise DataError(f"{folder} has no parameters: none of {', '.join(NAMES)}.")


def read(path: str | os.PathLike[str]) -> Frames:
  """Reads a file of parameters; nothing in it is run.

  Args:
    path: an `.npz` of ours, or a published `.pkl`.

  Returns:
    The frames, sorted by clip and number.

  Raises:
    DataError: if the file is missing, damaged, of another kind, or a frame of
      it lacks an array or has one of the wrong size or without a value.
  """
  file = pathlib.Path(path)
  try:
    data = file.read_bytes()
  except OSError as error:
    raise DataError(f"{file} cannot be read ({error.strerror}).") from error
  if data[:4] == b"PK\x03\x04":
    frames = _from_npz(file, data)
  else:
    frames = _from_pickle(file, data)
  if not frames.keys:
    raise DataError(f"{file} has no frames.")
  return _sorted(file, frames)


def write(path: str | os.PathLike[str], frames: Frames) -> None:
  """Writes our file of parameters, by a temporary name.

  Args:
    path: ends in ".npz".
    frames: what it shall hold.
  """
  file = pathlib.Path(path)
  unfinished = file.with_name(f".{file.name}.part")
  arrays = frames._asdict() | {"keys": np.array(frames.keys)}
  with unfinished.open("wb") as stream:
    np.savez_compressed(stream, **arrays)
  unfinished.replace(file)


def write_published(path: str | os.PathLike[str], frames: Frames) -> None:
  """Writes the pickled dict that the published code reads.

  Args:
    path: ends in ".pkl".
    frames: what it shall hold.
  """
  file = pathlib.Path(path)
  unfinished = file.with_name(f".{file.name}.part")
  saved = {
    key: {
      theirs: np.array(getattr(frames, ours)[row])
      for ours, (theirs, _) in _PUBLISHED.items()
    }
    for row, key in enumerate(frames.keys)
  }
  unfinished.write_bytes(pickle.dumps(saved, protocol=4))
  unfinished.replace(file)


def read_splits(file: pathlib.Path) -> dict[str, list[str]]:
  """Keys of "train" and "eval" ("test", else "val") of a `dataset.json`.

  Raises:
    DataError: if it cannot be read or is not an object of lists of keys.
  """
  try:
    saved = json.loads(file.read_text(encoding="utf-8"))
  except (OSError, ValueError) as error:
    raise DataError(f"{file} cannot be read as JSON ({error}).") from error
  good = isinstance(saved, dict) and all(
    isinstance(keys, list) and all(isinstance(k, str) for k in keys)
    for keys in saved.values()
  )
  if not good:
    raise DataError(f"{file} is not an object of lists of frames.")
  held = saved.get("test") or saved.get("val") or []
  return {"train": saved.get("train", []), "eval": held}


def clip(key: str) -> str:
  """The clip that a frame's key names."""
  return key.rpartition("_")[0]


def number(key: str) -> int:
  """The frame's number in its clip; -1 if the key has none."""
  last = key.rpartition("_")[2]
  return int(last) if last.isdecimal() else -1


def stack(rows: Sequence[tuple[str, Mapping[str, Any]]], where: str) -> Frames:
  """Joins frames to arrays, and checks them.

  Args:
    rows: key and arrays, named as in `Frames`, of each frame.
    where: what an error names as their origin.

  Raises:
    DataError: if an array is missing, of the wrong size or not finite.
  """
  arrays = {}
  for name, (theirs, shape) in _PUBLISHED.items():
    column = []
    for key, row in rows:
      if name not in row:
        raise DataError(f"{where}: frame {key} has no {theirs}.")
      try:
        value = np.asarray(row[name], np.float32)
      except (TypeError, ValueError) as error:
        raise DataError(
          f"{where}: {theirs} of frame {key} is not an array of numbers."
        ) from error
      wanted = shape if shape is not None else (column or [value.ravel()])[0]
      wanted = wanted if isinstance(wanted, tuple) else wanted.shape
      # Trackers keep the batch axis of one of some arrays.
      if value.shape == (1, *wanted):
        value = value[0]
      if value.shape != wanted:
        raise DataError(
          f"{where}: {theirs} of frame {key} has the shape {value.shape},"
          f" expected {wanted}."
        )
      column.append(value)
    arrays[name] = np.stack(column) if column else np.zeros((0,), np.float32)
    finite = np.isfinite(arrays[name]).reshape(len(column), -1).all(axis=1)
    if not finite.all():
      key = rows[int(np.argmin(finite))][0]
      raise DataError(f"{where}: {theirs} of frame {key} is not finite.")
  return Frames(keys=tuple(key for key, _ in rows), **arrays)


def viewmat(
  transform: Float32[np.ndarray, "3 4"],
) -> Float32[np.ndarray, "4 4"]:
  """World to camera with OpenCV axes, of PyTorch3D's R and T."""
  result = np.eye(4, dtype=np.float32)
  result[:3, :3] = transform[:, :3].T
  result[:3, 3] = transform[:, 3]
  result[:2] *= -1
  return result


def transform(
  viewmat: Float32[np.ndarray, "4 4"],
) -> Float32[np.ndarray, "3 4"]:
  """PyTorch3D's R and T of a world-to-camera matrix with OpenCV axes."""
  turned = np.diag([-1.0, -1.0, 1.0]).astype(np.float32) @ viewmat[:3]
  return np.concatenate([turned[:, :3].T, turned[:, 3:]], axis=1)


def _sorted(file: pathlib.Path, frames: Frames) -> Frames:
  """The frames by clip and number; every key must be there once."""
  if len(set(frames.keys)) != len(frames.keys):
    raise DataError(f"{file} has a frame twice.")
  order = sorted(
    range(len(frames.keys)),
    key=lambda i: (clip(frames.keys[i]), number(frames.keys[i])),
  )
  arrays = {name: getattr(frames, name)[order] for name in _ARRAYS}
  return Frames(keys=tuple(frames.keys[i] for i in order), **arrays)


def _from_npz(file: pathlib.Path, data: bytes) -> Frames:
  """Reads ours."""
  try:
    with np.load(io.BytesIO(data), allow_pickle=False) as saved:
      arrays = {name: saved[name] for name in ("keys", *_ARRAYS)}
  except KeyError as error:
    raise DataError(f"{file} lacks the array {error}.") from error
  except (ValueError, OSError, zipfile.BadZipFile, EOFError) as error:
    raise DataError(
      f"{file} is damaged, or not an archive of plain arrays."
    ) from error
  keys = [str(key) for key in arrays.pop("keys").ravel()]
  for name, array in arrays.items():
    if array.ndim < 2 or len(array) != len(keys):
      raise DataError(
        f"{file}: {name} has the shape {array.shape}, expected a row for each"
        f" of the {len(keys)} frames."
      )
  rows = [
    (key, {name: array[i] for name, array in arrays.items()})
    for i, key in enumerate(keys)
  ]
  return stack(rows, str(file))


def _from_pickle(file: pathlib.Path, data: bytes) -> Frames:
  """Reads the published ones."""
  try:
    saved = pickle_files.loads(data, str(file))
  except UserError as error:
    raise DataError(
      f"{file} is not a file of head parameters ({error})."
    ) from error
  if not isinstance(saved, dict) or not all(
    isinstance(key, str) and isinstance(row, dict) for key, row in saved.items()
  ):
    raise DataError(f"{file} is not a dict of frames, each a dict of arrays.")
  rows = []
  for key, row in saved.items():
    found = {
      ours: row[theirs] if isinstance(row[theirs], np.ndarray) else None
      for ours, (theirs, _) in _PUBLISHED.items()
      if theirs in row
    }
    for array in found.values():
      if array is not None and array.dtype.str[1:] not in _NUMBERS:
        raise DataError(
          f"{file} is not a file of head parameters (an array of"
          f" {array.dtype})."
        )
    rows.append((key, found))
  return stack(rows, str(file))
