"""What the builders share: checked pictures, a split by name, no network."""

import hashlib
import io
import logging
import pathlib
from collections.abc import Iterator
from typing import Any, TypeAlias

import tensorflow_datasets as tfds

from chibijax.data import images
from chibijax.data.sources import DataError

# A key that is the example's own, and its features.
Examples: TypeAlias = Iterator[tuple[str, dict[str, Any]]]

_LOG = logging.getLogger(__name__)
# Of data sets without a split, the share held out.
_HELD = 0.1


class ManualBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """A data set in archives that lie in TFDS's `manual_dir`."""

  VERSION = tfds.core.Version("1.0.0")
  # Where checksums of downloads would lie; finding it takes one more package.
  code_path = None
  # The pictures of a split are told by name: "train", "test".
  SPLITS: tuple[str, ...] = ("train", "test")
  HOMEPAGE = ""
  # What may be done with the pictures, as their publishers say.
  TERMS = ""

  def features(self) -> dict[str, Any]:
    """The features beside `image` and `name`."""
    return {}

  def examples(self, folder: pathlib.Path, split: str) -> Examples:
    """Reads the examples of a split; see `picture` for damaged ones.

    Args:
      folder: of the archives.
      split: which one.
    """
    raise NotImplementedError

  def _info(self) -> tfds.core.DatasetInfo:
    picture = tfds.features.Image(shape=(None, None, 3))
    own = {"image": picture, "name": tfds.features.Text()}
    return tfds.core.DatasetInfo(
      builder=self,
      description=f"{(type(self).__doc__ or '').strip()}\n\n{self.TERMS}",
      homepage=self.HOMEPAGE,
      features=tfds.features.FeaturesDict(own | self.features()),
    )

  def _split_generators(self, dl_manager: Any) -> dict[str, Examples]:
    folder = pathlib.Path(dl_manager.manual_dir)
    return {name: self._generate_examples(folder, name) for name in self.SPLITS}

  def _generate_examples(self, folder: pathlib.Path, split: str) -> Examples:
    count = damaged = 0
    for key, example in self.examples(folder, split):
      try:
        images.READER.check(example["image"])
      except images.ImageError as error:
        damaged += 1
        _LOG.warning("%s is left out: %s", key, error)
        continue
      count += 1
      # Files are kept as they are: TFDS would encode pixels with TensorFlow.
      yield key, example | {"image": io.BytesIO(example["image"])}
    _LOG.info("%s: %d examples, %d damaged", split, count, damaged)
    if not count:
      raise DataError(
        f"{folder} holds no picture for the split {split} of {self.name};"
        " of few pictures, none may be held out."
      )


def side(name: str) -> str:
  """The split of a picture by its name: more pictures move none."""
  digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
  held = int.from_bytes(digest, "big") < _HELD * 2**64
  return "test" if held else "train"
