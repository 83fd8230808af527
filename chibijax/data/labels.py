"""Pictures with labels: of a folder by a CSV, of TFDS by its features.

Examples have `image` and `attributes`, float32 [K], as the artist's labelled
chibis do (`data.characters`), for conditional networks and encoders. `names`
says what each of the K is: a column of numbers by its name, one of words as
`column=word` for each word, 1 where it applies.
"""

import csv
import math
import pathlib
import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32

from chibijax.data import images
from chibijax.data.folder import FolderSource
from chibijax.data.sources import DataError, Example, Fields, Source
from chibijax.data.tfds import TfdsSource, tfds_builder

# More words than this are names or numbers of something, not kinds.
MOST_WORDS = 256

Labels = Float32[np.ndarray, " k"]


class Table:
  """A CSV of labels: a header, a column `file`, and what is known of each.

  Attributes:
    names: what each label is.
    rows: the labels by file, as `FolderSource.keys` names them.
  """

  def __init__(self, path: pathlib.Path, columns: Sequence[str] = ()) -> None:
    """Reads the table.

    Args:
      path: the CSV, in UTF-8. Files are named by their path below the folder
        of pictures or that of their split, with or without suffix.
      columns: the columns that are labels; by default all but `file`.

    Raises:
      DataError: if it cannot be read, a column is missing, a number among
        numbers is, or a column has too many different words.
    """
    try:
      with path.open(encoding="utf-8-sig", newline="") as file:
        found = list(csv.DictReader(file, restval="", strict=True))
    except (OSError, csv.Error, UnicodeDecodeError) as error:
      raise DataError(f"{path} cannot be read as a CSV ({error}).") from error
    if not found:
      raise DataError(f"{path} holds no row of labels.")
    there = [name for name in found[0] if name]
    columns = tuple(columns) or tuple(n for n in there if n != "file")
    missing = {"file", *columns} - set(there)
    if missing or not columns:
      raise DataError(
        f"{path} has no column {', '.join(sorted(missing)) or 'of labels'}; it"
        f" has {', '.join(there)}."
      )
    names: list[str] = []
    values = []
    for column in columns:
      cells = [row[column].strip() for row in found]
      own, rows = _encoded(path, column, cells)
      names += own
      values.append(rows)
    self.names = tuple(names)
    keys = [_key(row["file"]) for row in found]
    if len(set(keys)) < len(keys):
      twice = next(key for key in keys if keys.count(key) > 1)
      raise DataError(f"{path} names {twice} twice.")
    self.rows: dict[str, Labels] = dict(zip(keys, np.concatenate(values, 1)))


class LabelledFolder(Source):
  """The pictures of a folder of which a table says something."""

  def __init__(self, source: FolderSource, table: Table) -> None:
    """Joins them.

    Args:
      source: the pictures.
      table: their labels.

    Raises:
      DataError: if it names none of the pictures.
    """
    super().__init__()
    keys = source.keys()
    known = {}
    for key in keys:
      # The table may be that of a folder with one for each split.
      for name in (f"{source.path.name}/{key}", key):
        if name in table.rows:
          known.setdefault(key, table.rows[name])
    if not known:
      raise DataError(
        f"The labels name none of the {len(keys)} pictures of {source.path},"
        f" such as {next(iter(keys), '')}."
      )
    self.missing = len(keys) - len(known)
    self.source = source.keep(list(known))
    self.names = table.names
    self._rows = np.stack(list(known.values()))

  def __len__(self) -> int:
    return len(self.source)

  def fields(self, size: int) -> Fields:
    """The picture and its labels."""
    row = {"attributes": ((len(self.names),), np.float32)}
    return self.source.fields(size) | row

  def load(self, index: int) -> Example:
    """Decodes one picture; see `Source.load`."""
    return self.source.load(index) | {"attributes": self.labels(index)}

  def labels(self, index: int) -> Labels:
    """The labels of one picture, without decoding it."""
    return self._rows[index].copy()

  @property
  def description(self) -> str:
    """The folder's, and the labels'."""
    left = f" ({self.missing} without are left out)" if self.missing else ""
    text = f"{self.source.description}{_listed(self.names)}{left}"
    return text + self._damage()


class LabelledTfds(TfdsSource):
  """The pictures of a TFDS split with some of its numbers."""

  def __init__(
    self,
    name: str,
    split: str = "train",
    data_dir: str | None = None,
    image_key: str = "image",
    reader: images.Reader = images.READER,
    *,
    labels: Sequence[str],
  ) -> None:
    """Opens the split; arguments as of `TfdsSource`, and one more.

    Args:
      name: see `TfdsSource`.
      split: see `TfdsSource`.
      data_dir: see `TfdsSource`.
      image_key: see `TfdsSource`.
      reader: see `TfdsSource`.
      labels: features that are numbers or true or false, such as "year" or
        "attributes/Male"; "attributes" is all that are within.

    Raises:
      DataError: as for `TfdsSource`, and if there is no such feature.
    """
    super().__init__(name, split, data_dir, image_key, reader)
    found = _numbers(tfds_builder(name, data_dir).info.features or {})
    names: list[str] = []
    for label in labels:
      own = [n for n in found if n == label or n.startswith(f"{label}/")]
      if not own:
        raise DataError(
          f"TFDS data set {name!r} has no number {label!r}; it has"
          f" {', '.join(found) or 'none'}."
        )
      names += own
    self.names = tuple(names)

  def fields(self, size: int) -> Fields:
    """The picture and its labels."""
    row = {"attributes": ((len(self.names),), np.float32)}
    return super().fields(size) | row

  def load(self, index: int) -> Example:
    """Reads and decodes one picture; see `Source.load`."""
    record = self.record(index)
    picture = self.picture(record, index)
    return {"image": picture, "attributes": self._labels(record)}

  def labels(self, index: int) -> Labels:
    """The labels of one picture, without decoding it."""
    return self._labels(self.record(index))

  def _labels(self, record: Any) -> Labels:
    row = []
    for name in self.names:
      value: Any = record
      for part in name.split("/"):
        value = value[part]
      row.append(value)
    return np.array(row, np.float32)

  @property
  def description(self) -> str:
    """The data set's, and the labels'."""
    return super().description + _listed(self.names)


def _encoded(
  path: pathlib.Path, column: str, cells: list[str]
) -> tuple[list[str], Float32[np.ndarray, "n k"]]:
  """A column as numbers, or as one number for each of its words."""
  numbers = [_number(cell) for cell in cells]
  if any(number is not None for number in numbers):
    for line, (cell, number) in enumerate(zip(cells, numbers), 2):
      if number is None:
        raise DataError(
          f"{path}, row {line}: {column} is {cell!r} among numbers."
        )
    return [column], np.array(numbers, np.float32)[:, None]
  words = sorted(set(cells) - {""})
  if len(words) > MOST_WORDS:
    raise DataError(
      f"{path} has {len(words)} different words in {column}: name the columns"
      " that are labels in data.labels."
    )
  rows = np.array([[cell == word for word in words] for cell in cells])
  rows = rows.reshape(len(cells), len(words)).astype(np.float32)
  return [f"{column}={word}" for word in words], rows


def _number(cell: str) -> float | None:
  try:
    value = float(cell)
  except ValueError:
    return None
  return value if math.isfinite(value) else None


def _numbers(features: Any, prefix: str = "") -> list[str]:
  """The names of features that are one number or truth value each."""
  names = []
  for name, feature in features.items():
    if hasattr(feature, "items"):
      names += _numbers(feature, f"{prefix}{name}/")
    elif feature.shape == () and np.dtype(feature.np_dtype).kind in "biuf":
      names.append(f"{prefix}{name}")
  return names


def _key(name: str) -> str:
  """A file as `FolderSource.keys` names it."""
  name = name.strip().replace("\\", "/").removeprefix("./")
  suffix = pathlib.PurePosixPath(name).suffix
  if suffix.lower() in images.SUFFIXES:
    name = name.removesuffix(suffix)
  return unicodedata.normalize("NFC", name)


def _listed(names: Sequence[str]) -> str:
  """Labels in words, the first few by name."""
  few = ", ".join(names[:6]) + ("…" if len(names) > 6 else "")
  return f", {len(names)} labels ({few})"
