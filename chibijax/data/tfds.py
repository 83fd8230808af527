"""Pictures from prepared TensorFlow Datasets, read without TensorFlow."""

import io
import threading
from typing import Any

import numpy as np
from jaxtyping import UInt8

from chibijax.data import images
from chibijax.data.sources import DataError, Example, Source


class TfdsSource(Source):
  """A prepared TensorFlow Datasets split, read without TensorFlow.

  The data must have been prepared in a random-access file format
  (`file_format="array_record"`).
  """

  def __init__(
    self,
    name: str,
    split: str = "train",
    data_dir: str | None = None,
    image_key: str = "image",
    reader: images.Reader = images.READER,
    *,
    cache_bytes: int = 0,
  ) -> None:
    """Opens the split; nothing is downloaded or prepared.

    Args:
      name: the data set's name as TFDS has it, such as "celeb_a:1.0.0".
      split: a split or a slice of one, such as "train[:90%]".
      data_dir: TFDS's data directory, or None for its default.
      image_key: the image feature to read.
      reader: size and limits of the pictures.
      cache_bytes: memory for decoded pictures.

    Raises:
      DataError: if the data set, split or feature is not there.
    """
    super().__init__(cache_bytes)
    self.name = name
    self.split = split
    self.data_dir = data_dir
    self.image_key = image_key
    self.reader = reader
    self._opened: Any = None
    self._lock = threading.Lock()
    self._length = len(self._open())
    if not self._length:
      raise DataError(f"TFDS split {split!r} of {name!r} is empty.")

  def __getstate__(self) -> dict[str, Any]:
    # Readers hold open files: each process opens its own at first use.
    state = super().__getstate__()
    state["_opened"] = state["_lock"] = None
    return state

  def __setstate__(self, state: dict[str, Any]) -> None:
    self.__dict__.update(state)
    self._lock = threading.Lock()

  def __len__(self) -> int:
    return self._length

  def _open(self) -> Any:
    """The split's data source, opened once per process."""
    with self._lock:
      if self._opened is None:
        self._opened = self._open_split(self.split)
      return self._opened

  def _open_split(self, split: str) -> Any:
    builder = tfds_builder(self.name, self.data_dir)
    import tensorflow_datasets as tfds  # Slow to import, and optional.

    pictures = [
      key
      for key, feature in (builder.info.features or {}).items()
      if isinstance(feature, tfds.features.Image)
    ]
    if self.image_key not in pictures:
      raise DataError(
        f"TFDS data set {self.name!r} has no image feature"
        f" {self.image_key!r}; it has {', '.join(pictures) or 'none'}."
      )
    # The encoded bytes go through our own reader, which is safe and can
    # shrink while decoding.
    skip = {key: tfds.decode.SkipDecoding() for key in pictures}
    try:
      return builder.as_data_source(split=split, decoders=skip)
    except NotImplementedError as error:
      raise DataError(
        f"TFDS data set {self.name!r} was prepared as"
        f" {builder.info.file_format.value}, which has no random access:"
        ' prepare it again with file_format="array_record".'
      ) from error
    except ValueError as error:
      raise DataError(
        f"TFDS data set {self.name!r} has no split {split!r}; it has"
        f" {', '.join(sorted(builder.info.splits))}."
      ) from error

  def load(self, index: int) -> Example:
    """Reads and decodes one picture; see `Source.load`."""
    return {"image": self.picture(self.record(index), index)}

  def record(self, index: int) -> dict[str, Any]:
    """All features of one example; pictures are the bytes of their files."""
    return self._open()[index]

  def picture(
    self, record: dict[str, Any], index: int
  ) -> UInt8[np.ndarray, "height width 3"]:
    """Decodes the picture of a record.

    Args:
      record: from `record`.
      index: which one it is, for sentences.

    Returns:
      uint8 sRGB.

    Raises:
      ImageError: if it is damaged.
    """
    encoded = io.BytesIO(record[self.image_key])
    encoded.name = f"{self.name}/{self.split} example {index}"
    return self.reader.read(encoded)

  @property
  def description(self) -> str:
    """For example "tfds my_faces/train: 64 pictures"."""
    text = f"tfds {self.name}/{self.split}: {self._length} pictures"
    return text + self._damage()


def tfds_builder(name: str, data_dir: str | None) -> Any:
  """Finds a prepared TFDS data set.

  Args:
    name: the data set's name.
    data_dir: TFDS's data directory, or None for its default.

  Returns:
    Its builder, whose `info.splits` is filled.

  Raises:
    DataError: if TFDS is not installed or the data set is not prepared.
  """
  try:
    import tensorflow_datasets as tfds
  except ImportError as error:
    raise DataError(
      "Reading TFDS data needs `pip install tensorflow-datasets array-record`."
    ) from error
  try:
    builder = tfds.builder(name, data_dir=data_dir)
    prepared = bool(builder.info.splits)
  except Exception as error:  # TFDS's own message lists its whole catalogue.
    raise DataError(_not_prepared(name, data_dir)) from error
  if not prepared:
    raise DataError(_not_prepared(name, data_dir))
  return builder


def _not_prepared(name: str, data_dir: str | None) -> str:
  """The sentence for a data set that is not there."""
  place = data_dir or "TFDS's default directory"
  return (
    f"TFDS data set {name!r} is not prepared in {place}: run its builder's"
    ' download_and_prepare with file_format="array_record" first.'
  )
