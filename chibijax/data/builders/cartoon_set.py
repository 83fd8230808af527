"""Cartoon Set: 10,000 or 100,000 random faces of flat parts, all labelled.

From https://google.github.io/cartoonset/ (CC BY 4.0):

    cartoonset10k.tgz    cartoonset10k/cs….png, 500 x 500 px with transparency,
                         and cs….csv: lines `"hair", 12, 111`, the number of
                         the variant and how many there are
    cartoonset100k.tgz   the same in cartoonset100k/0/ to 9/
"""

import csv
import pathlib
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from chibijax.data.builders import archives
from chibijax.data.builders.base import Examples, ManualBuilder, side
from chibijax.data.sources import DataError

# Each attribute and how many variants it has.
ATTRIBUTES = {
  "eye_angle": 3, "eye_lashes": 2, "eye_lid": 2, "chin_length": 3,
  "eyebrow_weight": 2, "eyebrow_shape": 14, "eyebrow_thickness": 4,
  "face_shape": 7, "facial_hair": 15, "hair": 111, "eye_color": 5,
  "face_color": 11, "hair_color": 10, "glasses": 12, "glasses_color": 7,
  "eye_slant": 3, "eyebrow_width": 3, "eye_eyebrow_distance": 3,
}  # fmt: skip


class CartoonSet(ManualBuilder):
  """Cartoon Set: random faces of flat parts with 18 attributes."""

  BUILDER_CONFIGS = [  # noqa: RUF012 (TFDS reads a list)
    tfds.core.BuilderConfig(name=name, description=f"{name} faces")
    for name in ("10k", "100k")
  ]
  HOMEPAGE = "https://google.github.io/cartoonset/"
  TERMS = "Google, CC BY 4.0."
  MANUAL_DOWNLOAD_INSTRUCTIONS = "cartoonset10k.tgz or cartoonset100k.tgz"

  def features(self) -> dict[str, Any]:
    """The number of each attribute's variant."""
    return {"attributes": {name: np.int64 for name in ATTRIBUTES}}

  def examples(self, folder: pathlib.Path, split: str) -> Examples:
    """See `ManualBuilder.examples`."""
    files = archives.find(folder, f"cartoonset{self.builder_config.name}.tgz")
    # Two passes: labels may come before or after their pictures.
    labels = {
      pathlib.PurePosixPath(path).stem: _variants(path, data)
      for path, data in files.read(lambda name: name.endswith(".csv"))
    }
    for path, data in files.read(lambda name: name.endswith(".png")):
      name = pathlib.PurePosixPath(path).stem
      if name.startswith(".") or side(name) != split:
        continue
      if name not in labels:
        raise DataError(f"{files.path} holds {name}.png without its csv.")
      example = {"image": data, "name": name, "attributes": labels[name]}
      yield name, example


def _variants(path: str, data: bytes) -> dict[str, int]:
  """Reads a face's labels."""
  try:
    rows = csv.reader(data.decode().splitlines(), skipinitialspace=True)
    found = {row[0]: int(row[1]) for row in rows if row}
  except (ValueError, IndexError, csv.Error) as error:
    raise DataError(f"{path} has no lines of name, number, count.") from error
  if missing := ATTRIBUTES.keys() - found.keys():
    raise DataError(f"{path} lacks {', '.join(sorted(missing))}.")
  return {name: found[name] for name in ATTRIBUTES}
