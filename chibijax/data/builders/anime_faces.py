"""Anime Face: 63,632 faces of characters, cut out of pictures of games.

From https://www.kaggle.com/datasets/splcher/animefacedataset:

    archive.zip   images/46651_2011.jpg: a number, and the picture's year

or the folder `images` of it, or any zip or folder `animefaces` of JPEGs.
"""

import pathlib
import re
from typing import Any

import numpy as np

from chibijax.data.builders import archives
from chibijax.data.builders.base import Examples, ManualBuilder, side

_YEAR = re.compile(r"_((?:19|20)\d\d)$")


class AnimeFaces(ManualBuilder):
  """Anime Face: faces of characters of games, with the year where known."""

  HOMEPAGE = "https://www.kaggle.com/datasets/splcher/animefacedataset"
  TERMS = "The pictures belong to their artists: for research of one's own."
  MANUAL_DOWNLOAD_INSTRUCTIONS = "archive.zip, or the folder images of it"

  def features(self) -> dict[str, Any]:
    """The year, or -1."""
    return {"year": np.int64}

  def examples(self, folder: pathlib.Path, split: str) -> Examples:
    """See `ManualBuilder.examples`."""
    files = archives.find(folder, "archive.zip", "animefaces.zip", "images.zip")
    for path, data in files.read(_is_picture):
      name = path.removeprefix("images/")
      if side(name) == split:
        stem = pathlib.PurePosixPath(name).stem
        year = _YEAR.search(stem)
        yield name, {
          "image": data, "name": stem, "year": int(year[1]) if year else -1
        }  # fmt: skip


def _is_picture(name: str) -> bool:
  parts = name.split("/")
  hidden = parts[-1].startswith(".") or "__MACOSX" in parts
  return not hidden and parts[-1].lower().endswith((".jpg", ".jpeg", ".png"))
