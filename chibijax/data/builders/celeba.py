"""CelebA, aligned: 202,599 faces of celebrities with 40 attributes.

From https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html, in any folders:

    img_align_celeba.zip             img_align_celeba/000001.jpg, 178 x 218 px
    list_attr_celeba.txt             a count, names, a row of -1 and 1 each
    list_eval_partition.txt          0 train, 1 validation, 2 test
    list_landmarks_align_celeba.txt  optional: five points in pixels
    identity_CelebA.txt              optional: a number for each person

Liu, Luo, Wang & Tang, "Deep Learning Face Attributes in the Wild", ICCV 2015.
"""

import pathlib
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from chibijax.data.builders import archives
from chibijax.data.builders.base import Examples, ManualBuilder
from chibijax.data.sources import DataError

ATTRIBUTES = tuple(
  "5_o_Clock_Shadow Arched_Eyebrows Attractive Bags_Under_Eyes Bald Bangs"
  " Big_Lips Big_Nose Black_Hair Blond_Hair Blurry Brown_Hair Bushy_Eyebrows"
  " Chubby Double_Chin Eyeglasses Goatee Gray_Hair Heavy_Makeup"
  " High_Cheekbones Male Mouth_Slightly_Open Mustache Narrow_Eyes No_Beard"
  " Oval_Face Pale_Skin Pointy_Nose Receding_Hairline Rosy_Cheeks Sideburns"
  " Smiling Straight_Hair Wavy_Hair Wearing_Earrings Wearing_Hat"
  " Wearing_Lipstick Wearing_Necklace Wearing_Necktie Young".split()
)
_PARTS = {"train": "0", "validation": "1", "test": "2"}


class CelebaAligned(ManualBuilder):
  """CelebA, aligned and cropped: faces of celebrities with 40 attributes."""

  SPLITS = ("train", "validation", "test")
  HOMEPAGE = "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"
  TERMS = "For research that is not commercial; faces of real people."
  MANUAL_DOWNLOAD_INSTRUCTIONS = (
    "img_align_celeba.zip, list_attr_celeba.txt and list_eval_partition.txt"
  )

  def features(self) -> dict[str, Any]:
    """Attributes, landmarks (NaN where unknown) and identity (or -1)."""
    return {
      "attributes": {name: np.bool_ for name in ATTRIBUTES},
      "landmarks": tfds.features.Tensor(shape=(5, 2), dtype=np.float32),
      "identity": np.int64,
    }

  def examples(self, folder: pathlib.Path, split: str) -> Examples:
    """See `ManualBuilder.examples`."""
    files = archives.find(folder, "img_align_celeba.zip")
    parts = _table(folder, "list_eval_partition.txt", 1)
    wanted = {name for name, (part,) in parts.items() if part == _PARTS[split]}
    attributes = _table(folder, "list_attr_celeba.txt", 40, ATTRIBUTES)
    points = _table(
      folder, "list_landmarks_align_celeba.txt", 10, optional=True
    )
    people = _table(folder, "identity_CelebA.txt", 1, optional=True)
    nowhere = np.full((5, 2), np.nan, np.float32)
    for path, data in files.read(lambda name: _last(name) in wanted):
      name = _last(path)
      if name not in attributes:
        raise DataError(f"list_attr_celeba.txt does not name {name}.")
      row = [value == "1" for value in attributes[name]]
      landmarks = nowhere
      if name in points:
        landmarks = np.array(points[name], np.float32).reshape(5, 2)
      yield (
        name,
        {
          "image": data,
          "name": name,
          "attributes": dict(zip(ATTRIBUTES, row)),
          "landmarks": landmarks,
          "identity": int(people[name][0]) if name in people else -1,
        },
      )


def _last(name: str) -> str:
  return name.rpartition("/")[2]


def _table(
  folder: pathlib.Path,
  name: str,
  width: int,
  header: tuple[str, ...] | None = None,
  *,
  optional: bool = False,
) -> dict[str, list[str]]:
  """Reads one of the lists: rows of values by the picture's name."""
  path = archives.find_text(folder, name)
  if path is None and optional:
    return {}
  if path is None:
    raise DataError(f"{folder} holds no {name}.")
  rows: dict[str, list[str]] = {}
  for number, line in enumerate(path.read_text(encoding="utf-8").splitlines()):
    words = line.split()
    if header is not None and number == 1 and tuple(words) != header:
      raise DataError(f"{path} has other columns than CelebA's.")
    if not words or not words[0].lower().endswith((".jpg", ".png")):
      continue  # The count and the names.
    if len(words) != width + 1:
      raise DataError(
        f"{path}, line {number + 1}: {len(words) - 1} values, expected {width}."
      )
    rows[words[0]] = words[1:]
  return rows
