"""Danbooru2018 and its like: anime pictures with tags, chosen by these.

As in https://gwern.net/danbooru2021, in any folders:

    metadata/2018…         a JSON object a line: id, rating (s, q or e), tags
                           (objects with a name), score; or *.json
    512px/0001/1001.jpg    pictures in 1000 buckets, id modulo 1000; original/
                           has them with their own suffix

Releases differ in details: numbers may be strings, tags a list of names or one
string (`tag_string`), and ratings "g" (general) stand for what was safe before.
"""

import dataclasses
import json
import pathlib
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from chibijax.data.builders.base import Examples, ManualBuilder, side
from chibijax.data.sources import DataError

_BUCKET = re.compile(r"0\d{3}$")
_METADATA = re.compile(r"20\d{10,}$")
_LETTERS = {"general": "g", "safe": "s", "questionable": "q", "explicit": "e"}


@dataclasses.dataclass
class Choice(tfds.core.BuilderConfig):
  """Which pictures are taken.

  Attributes:
    ratings: letters of the ratings that are.
    having: all of these tags must be there.
    without: none of these may be there.
    min_score: the least score.
    labels: tags that become features, true or false.
  """

  ratings: tuple[str, ...] = ("s", "g")
  having: tuple[str, ...] = ()
  without: tuple[str, ...] = ()
  min_score: int = -(2**31)
  labels: tuple[str, ...] = ()


class Danbooru(ManualBuilder):
  """Danbooru2018 and its like: anime pictures chosen by rating and tags."""

  BUILDER_CONFIGS = [  # noqa: RUF012 (TFDS reads a list)
    Choice(name="safe", description="all that is rated safe")
  ]
  HOMEPAGE = "https://gwern.net/danbooru2021"
  TERMS = (
    "The pictures belong to their artists, who were not asked; ratings and"
    " tags are volunteers' and err."
  )
  MANUAL_DOWNLOAD_INSTRUCTIONS = "metadata/*.json and 512px/0000/ to 0999/"

  def features(self) -> dict[str, Any]:
    """Number, rating, score, tags, and the chosen labels."""
    labels = {name: np.bool_ for name in self.builder_config.labels}
    own = {
      "id": np.int64,
      "rating": tfds.features.Text(),
      "score": np.int64,
      "tags": tfds.features.Sequence(tfds.features.Text()),
    }
    return own | ({"labels": labels} if labels else {})

  def examples(self, folder: pathlib.Path, split: str) -> Examples:
    """See `ManualBuilder.examples`."""
    roots = _picture_folders(folder)
    if not roots:
      raise DataError(
        f"{folder} holds no folders 0000 to 0999 of pictures, such as 512px/."
      )
    seen = set()
    for record in _records(folder, roots):
      number = record["id"]
      if number in seen or not self._chosen(record):
        continue
      seen.add(number)
      path = _picture(roots, record)
      if side(str(number)) == split and path is not None:
        yield str(number), self._example(record, path)

  def _chosen(self, record: dict[str, Any]) -> bool:
    choice, tags = self.builder_config, set(record["tags"])
    return (
      record["rating"] in choice.ratings
      and tags.issuperset(choice.having)
      and tags.isdisjoint(choice.without)
      and record["score"] >= choice.min_score
    )

  def _example(
    self, record: dict[str, Any], path: pathlib.Path
  ) -> dict[str, Any]:
    names = self.builder_config.labels
    labels = {name: name in record["tags"] for name in names}
    own = {key: record[key] for key in ("id", "rating", "score", "tags")}
    own |= {"image": path.read_bytes(), "name": path.stem}
    return own | ({"labels": labels} if labels else {})


def _picture_folders(folder: pathlib.Path) -> list[pathlib.Path]:
  """Folders with buckets, at most two levels down; "512px" comes first."""
  near = [folder]
  for _ in range(2):
    near += [
      path
      for parent in near
      for path in sorted(parent.iterdir())
      if path.is_dir() and path not in near and not _BUCKET.match(path.name)
    ]
  return [place for place in near if _has_buckets(place)]


def _has_buckets(folder: pathlib.Path) -> bool:
  return any(
    _BUCKET.match(path.name) and path.is_dir() for path in folder.iterdir()
  )


def _records(
  folder: pathlib.Path, roots: list[pathlib.Path]
) -> Iterator[dict[str, Any]]:
  """The metadata line by line, in one form."""
  paths = [
    path
    for pattern in ("*", "*/*", "*/*/*")
    for path in sorted(folder.glob(pattern))
    if path.suffix == ".json" or _METADATA.match(path.name)
    if not any(root in path.parents for root in roots if root != folder)
    if path.is_file()
  ]
  if not paths:
    raise DataError(f"{folder} holds no metadata/*.json.")
  for path in paths:
    with path.open(encoding="utf-8") as lines:
      for number, line in enumerate(lines, 1):
        if not line.strip():
          continue
        try:
          yield _record(json.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
          raise DataError(
            f"{path}, line {number}, is no record of a picture ({error!r})."
          ) from error


def _record(fields: dict[str, Any]) -> dict[str, Any]:
  tags = fields["tags"] if "tags" in fields else fields["tag_string"].split()
  rating = str(fields["rating"])
  return {
    "id": int(fields["id"]),
    "rating": _LETTERS.get(rating, rating),
    "score": int(fields.get("score") or 0),
    "tags": [tag["name"] if isinstance(tag, dict) else tag for tag in tags],
    "suffix": str(fields.get("file_ext") or "jpg"),
  }


def _picture(
  roots: list[pathlib.Path], record: dict[str, Any]
) -> pathlib.Path | None:
  """A record's picture; releases lack some, and pictures of films."""
  bucket = f"{record['id'] % 1000:04}"
  for root in roots:
    for suffix in dict.fromkeys(("jpg", record["suffix"])):
      path = root / bucket / f"{record['id']}.{suffix}"
      if path.is_file():
        return path
  return None
