"""Pictures from a folder: any tree of files, with or without splits.

Files are sorted by their relative path (Unicode NFC, code points), so that the
order is the same on every machine. Hidden files, folders, `__MACOSX` and
contact sheets are passed over. The headers of all candidates are checked before
the first step; pixels are decoded when they are needed.
"""

import collections
import copy
import hashlib
import os
import pathlib
import unicodedata
from collections.abc import Iterator, Sequence
from concurrent import futures
from typing import Literal, TypeAlias

import tqdm

from chibijax.data import images
from chibijax.data.sources import DataError, Example, Source

Split: TypeAlias = Literal["train", "eval"]

# Lies in a folder of aligned faces (`chibijax.apps.alignment`), and is none.
CONTACT_SHEET = "contact_sheet.png"

_EVAL_FOLDERS = ("test", "eval", "val", "valid", "validation")


class FolderSource(Source):
  """The usable pictures below a folder.

  The split is, in this order: sub folders `train` and `test` (or `eval`,
  `val`…); for a folder called `trainA` its sibling `testA`; else a hash of
  each file's relative path without its suffix, so that a file stays on its
  side whatever is added, and two folders of paired files split alike.
  """

  def __init__(
    self,
    path: str | os.PathLike[str],
    reader: images.Reader = images.READER,
    *,
    split: Split | None = None,
    eval_fraction: float = 0.1,
    verify: bool = False,
    cache_bytes: int = 0,
  ) -> None:
    """Finds the pictures and checks their headers.

    Args:
      path: the folder.
      reader: size of the results; pictures beyond its limits are skipped.
      split: "train", "eval", or None for everything.
      eval_fraction: share of the files held out when they are split by hash;
        at least one file is held out, and one kept, if there are two; 0
        holds none out, and evaluates on what is trained on.
      verify: decode every picture now, so that damaged ones are known.
      cache_bytes: memory for decoded pictures.

    Raises:
      DataError: if the path is no folder or holds no usable picture.
    """
    super().__init__(cache_bytes)
    root = pathlib.Path(path).expanduser()
    if not root.is_dir():
      what = "is a file, not a folder" if root.exists() else "does not exist"
      raise DataError(f"The image folder {root} {what}.")
    self.split: Split | None = split
    self.path, by_hash = _split_folder(root, split)
    self.reader = reader
    found, self.ignored = _find(self.path)
    good, self.skipped, first = self._scan(found, verify)
    if not good:
      raise DataError(self._nothing(len(found), first))
    self.usable = len(good)
    self._same = bool(
      split and by_hash and (len(good) == 1 or eval_fraction == 0)
    )
    if split and by_hash:
      good = _hash_split(good, split, eval_fraction)
    self.files = tuple(good)

  def __len__(self) -> int:
    return len(self.files)

  def _scan(
    self, files: Sequence[str], verify: bool
  ) -> tuple[list[str], collections.Counter[str], str]:
    """Sorts the candidates: good files, counts by reason, first error."""
    test = self.reader.read if verify else self.reader.check

    def problem(name: str) -> images.ImageError | None:
      try:
        test(self.path / name)
      except images.ImageError as error:
        return error
      return None

    # Threads hide the latency of network disks; opening is mostly waiting.
    with futures.ThreadPoolExecutor(16) as pool:
      results = tqdm.tqdm(
        pool.map(problem, files),
        desc=f"checking {self.path}",
        total=len(files),
        unit=" files",
        delay=2,
        leave=False,
      )
      errors = list(results)
    good = [name for name, error in zip(files, errors) if error is None]
    bad = [error for error in errors if error is not None]
    counts = collections.Counter(error.reason for error in bad)
    return good, counts, str(bad[0]) if bad else ""

  def _nothing(self, candidates: int, first: str) -> str:
    """The sentence for a folder without a usable picture."""
    if not candidates:
      other = f" ({self.ignored} other files)" if self.ignored else ""
      return f"The image folder {self.path} holds no pictures{other}."
    return (
      f"The image folder {self.path} holds no usable picture among"
      f" {candidates}; for example, {first}"
    )

  def load(self, index: int) -> Example:
    """Decodes one picture; see `Source.load`."""
    return {"image": self.reader.read(self.path / self.files[index])}

  def keys(self) -> dict[str, str]:
    """Files by what pairs them: the relative path without its suffix."""
    return {_key(name): name for name in self.files}

  def keep(self, keys: Sequence[str]) -> "FolderSource":
    """Returns this source reduced to the given keys, in their order.

    Args:
      keys: keys of `self.keys()`.
    """
    files = self.keys()
    kept = copy.copy(self)
    kept.files = tuple(files[key] for key in keys)
    kept.damaged = {}
    return kept

  @property
  def description(self) -> str:
    """Counts of what is used, held for the other split, skipped, ignored."""
    parts = [f"folder {self.path}: {len(self.files)} pictures"]
    if len(self.files) < self.usable:
      parts[0] += f" of {self.usable}"
    elif self._same:
      parts[0] += ", trained and evaluated on alike"
    if self.skipped:
      reasons = ", ".join(
        f"{count} {reason}" for reason, count in sorted(self.skipped.items())
      )
      parts.append(f"{self.skipped.total()} skipped ({reasons})")
    if self.ignored:
      parts.append(f"{self.ignored} other files ignored")
    return ", ".join(parts) + self._damage()


def matched(
  a: FolderSource, b: FolderSource
) -> tuple[FolderSource, FolderSource]:
  """Reduces two folders to the files whose relative paths agree.

  Args:
    a: the first folder.
    b: the second; suffixes may differ (`a/1.jpg` pairs with `b/1.png`).

  Returns:
    Both sources in one order, equally long.

  Raises:
    DataError: if no file of one has a partner in the other.
  """
  keys = sorted(a.keys().keys() & b.keys().keys())
  if not keys:
    raise DataError(
      f"No file in {a.path} has the name of one in {b.path}: paired folders"
      " need the same relative paths (suffixes may differ)."
    )
  return a.keep(keys), b.keep(keys)


def _key(name: str) -> str:
  """A relative path as it is sorted, hashed and paired: NFC, no suffix."""
  return unicodedata.normalize("NFC", os.path.splitext(name)[0])


def _find(root: pathlib.Path) -> tuple[list[str], int]:
  """Lists candidate pictures, relative and sorted, and counts other files."""
  names = []
  ignored = 0
  for name in _walk(root):
    if os.path.splitext(name)[1].lower() in images.SUFFIXES:
      names.append(name)
    else:
      ignored += 1
  names.sort(key=lambda name: (unicodedata.normalize("NFC", name), name))
  return names, ignored


def _walk(root: pathlib.Path) -> Iterator[str]:
  """Yields relative paths with "/", following links but no cycle of them."""
  seen = set()
  for folder, folders, files in os.walk(root, followlinks=True):
    real = os.path.realpath(folder)
    if real in seen:
      folders.clear()
      continue
    seen.add(real)
    folders[:] = sorted(
      name
      for name in folders
      if not name.startswith(".") and name != "__MACOSX"
    )
    relative = pathlib.Path(folder).relative_to(root)
    for name in files:
      if not name.startswith(".") and name != CONTACT_SHEET:
        yield (relative / name).as_posix()


def _split_folder(
  root: pathlib.Path, split: Split | None
) -> tuple[pathlib.Path, bool]:
  """Returns the split's own folder, and whether files must be hashed."""
  if split is None:
    return root, False
  if (root / "train").is_dir():
    for name in _EVAL_FOLDERS:
      if (root / name).is_dir():
        return root / ("train" if split == "train" else name), False
  if root.name.startswith("train"):
    for name in _EVAL_FOLDERS:
      sibling = root.with_name(name + root.name.removeprefix("train"))
      if sibling.is_dir():
        return (root if split == "train" else sibling), False
  return root, True


def _hash_split(
  files: Sequence[str], split: Split, fraction: float
) -> list[str]:
  """Takes one side of the split by hash, never an empty one."""
  if len(files) == 1 or fraction == 0:
    return list(files)  # The same trains and is evaluated.

  def place(name: str) -> int:
    digest = hashlib.blake2b(_key(name).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")

  held = {name for name in files if place(name) < fraction * 2**64}
  if not held:
    held = {min(files, key=place)}
  elif len(held) == len(files):
    held.remove(max(files, key=place))
  return [name for name in files if (name in held) == (split == "eval")]
