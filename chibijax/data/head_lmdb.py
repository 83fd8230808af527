"""Clips of heads in the published layout: frames in LMDB, parameters beside it.

    FOLDER/img_lmdb/{data,lock}.mdb   JPEG or PNG, square, on black, by key
    FOLDER/optim.npz or *.pkl         parameters by key (`data.head_frames`)
    FOLDER/dataset.json               {"train": [keys], "val": ..., "test": ...}

The last is optional: without it whole clips are held out. Reading and writing
need the package `lmdb` (`chibijax[avatar]`).
"""

import collections
import io
import json
import os
import pathlib
import shutil
import threading
import weakref
from collections.abc import Mapping, Sequence
from types import ModuleType, TracebackType
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from chibijax.data import head_frames, images
from chibijax.data.folder import Split
from chibijax.data.head_pairs import HeadPairSource
from chibijax.data.sources import DataError, Example
from chibijax.heads.motion import intrinsics

# Training pairs for each frame; the order visits all before any again.
_PAIRS = 8
_START_BYTES = 1 << 26
_JPEG_QUALITY = 95
# LMDB may open a data base once in a process: all readers share it.
_OPEN: weakref.WeakValueDictionary[tuple[int, pathlib.Path], Any] = (
  weakref.WeakValueDictionary()
)
_LOCK = threading.Lock()


class HeadLmdb:
  """The frames of a tracked folder; reading is random access.

  Attributes:
    path: the folder.
    frames: parameters of the frames that also have pictures.
  """

  def __init__(self, path: str | os.PathLike[str]) -> None:
    """Opens the data base and reads the parameters.

    Args:
      path: the folder that holds `img_lmdb`.

    Raises:
      DataError: if something is missing, truncated or damaged.
    """
    self.path = pathlib.Path(path).expanduser()
    self._opened: tuple[int, Any] | None = None
    if not (self.path / "img_lmdb" / "data.mdb").is_file():
      raise DataError(f"{self.path} has no img_lmdb/data.mdb with the frames.")
    stored = self._keys()
    frames = head_frames.read(head_frames.find(self.path))
    missing = [key for key in frames.keys if key not in stored]
    if missing:
      raise DataError(
        f"{self.path}/img_lmdb lacks the frame {missing[0]}, which has"
        f" parameters ({len(missing)} of {len(frames.keys)} are missing)."
      )
    self.frames = frames

  def __getstate__(self) -> dict[str, Any]:
    return self.__dict__ | {"_opened": None}

  def picture(self, row: int, size: int) -> UInt8[np.ndarray, "size size 3"]:
    """Decodes one frame.

    Args:
      row: of `frames`.
      size: side of the result in pixels.

    Raises:
      ImageError: if it is no square picture or is damaged.
    """
    key = self.frames.keys[row]
    with self._environment().begin() as transaction:
      data = transaction.get(key.encode())
    stream = io.BytesIO(data or b"")
    stream.name = f"{self.path}/img_lmdb[{key}]"
    width, height = images.READER.check(stream)
    if width != height:
      raise images.ImageError(
        "damaged", stream.name, f"{width}x{height} pixels, expected a square"
      )
    stream.seek(0)
    return images.Reader(size, "stretch", (0, 0, 0)).read(stream)

  def splits(self, fraction: float) -> dict[str, list[int]]:
    """Rows of "train" and "eval".

    Args:
      fraction: share of the clips held out where no `dataset.json` says.

    Raises:
      DataError: if `dataset.json` cannot be read or names unknown frames.
    """
    file = self.path / "dataset.json"
    rows = {key: row for row, key in enumerate(self.frames.keys)}
    if file.is_file():
      named = head_frames.read_splits(file)
      unknown = [k for keys in named.values() for k in keys if k not in rows]
      if unknown:
        raise DataError(
          f"{file} names the frame {unknown[0]}, which has no parameters."
        )
      return {
        split: [rows[key] for key in keys] for split, keys in named.items()
      }
    clips = sorted({head_frames.clip(key) for key in rows})
    held = max(round(fraction * len(clips)), 1) if len(clips) > 1 else 0
    late = set(clips[len(clips) - held :])
    result: dict[str, list[int]] = {"train": [], "eval": []}
    for key, row in rows.items():
      name = "eval" if head_frames.clip(key) in late else "train"
      result[name].append(row)
    return result

  def _environment(self) -> Any:
    """The open data base of this process; none survives a fork."""
    process = os.getpid()
    if self._opened is None or self._opened[0] != process:
      folder = (self.path / "img_lmdb").resolve()
      with _LOCK:
        environment = _OPEN.get((process, folder))
        if environment is None:
          environment = _open(folder)
          _OPEN[process, folder] = environment
      self._opened = process, environment
    return self._opened[1]

  def _keys(self) -> set[str]:
    """All keys; walks through every page that holds some."""
    lmdb = _lmdb()
    try:
      with self._environment().begin() as transaction:
        return {
          bytes(key).decode()
          for key in transaction.cursor().iternext(values=False)
        }
    except (lmdb.Error, UnicodeDecodeError) as error:
      raise DataError(f"{self.path}/img_lmdb is damaged ({error}).") from error


class HeadLmdbSource(HeadPairSource):
  """Pairs of frames of one clip of a `HeadLmdb`.

  In training, both frames are random ones, eight pairs for each target; held
  out, each frame of a clip is made from the clip's first one, as published.
  """

  def __init__(
    self,
    path: str | os.PathLike[str],
    size: int,
    *,
    split: Split,
    eval_fraction: float = 0.1,
    seed: int = 0,
    cache_bytes: int = 0,
  ) -> None:
    """Opens the folder.

    Args:
      path: the folder that holds `img_lmdb`.
      size: side of the pictures in pixels.
      split: which frames.
      eval_fraction: share of the clips held out if the folder says nothing.
      seed: of the pairs.
      cache_bytes: memory for decoded examples.

    Raises:
      DataError: if something is missing, truncated or damaged, or no clip of
        the split has two frames.
    """
    super().__init__(cache_bytes)
    self.store = HeadLmdb(path)
    self.size = size
    self.split: Split = split
    self.seed = seed
    clips: dict[str, list[int]] = collections.defaultdict(list)
    for row in sorted(self.store.splits(eval_fraction)[split]):
      clips[head_frames.clip(self.store.frames.keys[row])].append(row)
    self.clips = [rows for rows in clips.values() if len(rows) > 1]
    first = 1 if split == "eval" else 0
    self.targets = [
      (k, row) for k, rows in enumerate(self.clips) for row in rows[first:]
    ]
    if not self.targets:
      raise DataError(
        f"{self.store.path} has no clip of two frames for {split}."
      )

  def __len__(self) -> int:
    return len(self.targets) * (_PAIRS if self.split == "train" else 1)

  @property
  def coefficients(self) -> tuple[int, int]:
    """Lengths of shape and expression, as stored."""
    frames = self.store.frames
    return frames.shape.shape[1], frames.expression.shape[1]

  def load(self, index: int) -> Example:
    """Decodes two frames; see `Source.load`."""
    which, target = self.targets[index % len(self.targets)]
    rows = self.clips[which]
    source = rows[0]
    if self.split == "train":
      others = [row for row in rows if row != target]
      rng = np.random.default_rng([self.seed, index])
      source = others[rng.integers(len(others))]
    frames, size = self.store.frames, self.size
    return {
      "source": self.store.picture(source, size),
      "target": self.store.picture(target, size),
      "source_viewmat": head_frames.viewmat(frames.transform[source]),
      "target_viewmat": head_frames.viewmat(frames.transform[target]),
      "K": intrinsics(size),
      "shape": frames.shape[source].copy(),
      "expression": frames.expression[target].copy(),
      "pose": frames.pose[target].copy(),
      "eyes": frames.eyes[target].copy(),
      "target_box": frames.box[target] * np.float32(size),
    }

  @property
  def description(self) -> str:
    """For example "heads DIR: 120 frames of 4 clips"."""
    return (
      f"heads {self.store.path}: {len(self.targets)} frames of"
      f" {len(self.clips)} clips" + self._damage()
    )


class Writer:
  """Writes a folder of the published layout; a context manager.

  Nothing appears under the folder's name before everything is written.
  """

  def __init__(
    self, path: str | os.PathLike[str], *, published: bool = False
  ) -> None:
    """Begins the folder.

    Args:
      path: the folder, which must not exist.
      published: also write `optim.pkl`, which the published code reads.

    Raises:
      DataError: if the folder exists, or `lmdb` is not installed.
    """
    self._lmdb = _lmdb()
    self.path = pathlib.Path(path).expanduser()
    if self.path.exists():
      raise DataError(f"{self.path} exists already.")
    self.published = published
    self._part = self.path.with_name(f".{self.path.name}.part")
    shutil.rmtree(self._part, ignore_errors=True)
    (self._part / "img_lmdb").mkdir(parents=True)
    self._environment = self._lmdb.open(
      str(self._part / "img_lmdb"), map_size=_START_BYTES
    )
    self._rows: list[tuple[str, Mapping[str, Any]]] = []
    self._splits: dict[str, list[str]] = {}

  def __enter__(self) -> "Writer":
    return self

  def __exit__(
    self,
    kind: type[BaseException] | None,
    error: BaseException | None,
    trace: TracebackType | None,
  ) -> None:
    if kind is None:
      self.close()
    else:
      self._environment.close()
      shutil.rmtree(self._part, ignore_errors=True)

  def add(
    self,
    key: str,
    picture: UInt8[np.ndarray, "side side 3"],
    parameters: Mapping[str, Sequence[float] | np.ndarray],
    *,
    split: str = "",
  ) -> None:
    """Adds one frame.

    Args:
      key: "CLIP_NUMBER".
      picture: sRGB on black; 512 px as published.
      parameters: `box`, `shape`, `expression`, `pose`, `eyes` and `transform`,
        as in `head_frames.Frames`.
      split: "train", "val" or "test" for `dataset.json`; "" for none.

    Raises:
      DataError: if the key is not of that form or an array is missing or of
        the wrong size.
    """
    if head_frames.number(key) < 0 or not head_frames.clip(key):
      raise DataError(f'a frame\'s key is "CLIP_NUMBER", got {key!r}.')
    head_frames.stack([(key, parameters)], "new frames")
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "JPEG", quality=_JPEG_QUALITY)
    self._put(key.encode(), stream.getvalue())
    self._rows.append((key, dict(parameters)))
    if split:
      self._splits.setdefault(split, []).append(key)

  def close(self) -> None:
    """Writes the parameters and gives the folder its name."""
    frames = head_frames.stack(self._rows, "new frames")
    self._environment.close()
    head_frames.write(self._part / "optim.npz", frames)
    if self.published:
      head_frames.write_published(self._part / "optim.pkl", frames)
    if self._splits:
      named = {name: [] for name in ("train", "val", "test")} | self._splits
      text = json.dumps(named)
      (self._part / "dataset.json").write_text(text, encoding="utf-8")
    self._part.replace(self.path)

  def _put(self, key: bytes, value: bytes) -> None:
    """Stores a value; the map grows by doubling."""
    while True:
      try:
        with self._environment.begin(write=True) as transaction:
          if not transaction.put(key, value, overwrite=False):
            raise DataError(f"the frame {key.decode()} is added twice.")
          return
      except self._lmdb.MapFullError:
        grown = 2 * self._environment.info()["map_size"]
        self._environment.set_mapsize(grown)


def check_installed() -> None:
  """Raises DataError without the package lmdb, before long work."""
  _lmdb()


def _lmdb() -> ModuleType:
  """The package, or a sentence that says how to get it."""
  try:
    import lmdb
  except ImportError as error:
    raise DataError(
      "frames in LMDB need the package lmdb: pip install 'chibijax[avatar]'."
    ) from error
  return lmdb


def _open(folder: pathlib.Path) -> Any:
  """Opens a data base for reading, unless pages of it are missing.

  The file is mapped: reading behind a truncated file's end would kill the
  process.
  """
  lmdb = _lmdb()
  try:
    environment = lmdb.open(
      str(folder), readonly=True, lock=False, readahead=False, create=False
    )
  except lmdb.Error as error:
    raise DataError(
      f"{folder} cannot be opened as LMDB: it is damaged or truncated"
      f" ({error})."
    ) from error
  pages = environment.info()["last_pgno"] + 1
  wanted = pages * environment.stat()["psize"]
  size = (folder / "data.mdb").stat().st_size
  if size < wanted:
    environment.close()
    raise DataError(
      f"{folder}/data.mdb is truncated: it has {size} of {wanted} bytes."
    )
  return environment
