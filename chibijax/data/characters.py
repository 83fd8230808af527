"""Chibis with what the artist knows of them: their attributes as numbers."""

import numpy as np
from jaxtyping import Float32

from chibijax import artist
from chibijax.artist.attributes import MEASURED, VALUES
from chibijax.data import images
from chibijax.data.sources import ArtistSource, Example, Fields

# Attributes that show in a chibi's head; the words of each follow in `LABELS`.
_WORDS = (
  "age",
  "presentation",
  "hair_style",
  "hair_color",
  "fringe",
  "eye_color",
  "expression",
  "glasses",
  "facial_hair",
  "headwear",
  "clothes_color",
)
# Numbers, each divided by its scale so that it spreads like the others.
_NUMBERS = {"skin_tone": 3.0, "blush": 0.3, "yaw": 8.0, "pitch": 5.0}
# What each entry of a row of labels is: a number, or whether a word applies.
LABELS: tuple[str, ...] = (
  *_NUMBERS,
  *(
    f"{field}={word}"
    for field in _WORDS
    for word in VALUES[field]
    if word not in MEASURED.get(field, ())
  ),
)


def number(name: str, value: float | int) -> float:
  """How a number of a character stands in its labels.

  Args:
    name: of `LABELS`, without "=".
    value: as the artist has it.

  Returns:
    About zero, divided by its scale; a skin tone counts from 5.5.
  """
  return (value - (5.5 if name == "skin_tone" else 0.0)) / _NUMBERS[name]


def label(attributes: artist.Attributes) -> Float32[np.ndarray, " k"]:
  """The numbers that stand for a character, by `LABELS`.

  Args:
    attributes: the character.

  Returns:
    Numbers as `number` gives them, and 1 for each word that applies.
  """
  values = attributes.to_dict()
  row = [number(name, values[name]) for name in _NUMBERS]
  for name in LABELS[len(row) :]:
    field, word = name.split("=")
    row.append(float(values[field] == word))
  return np.array(row, np.float32)


class LabelledChibis(ArtistSource):
  """The artist's chibis as `image` and `attributes`.

  `image` is uint8 [size, size, 3], `attributes` float32 [len(LABELS)].
  """

  # A mirrored chibi would look, and be turned, the other way.
  crop_flip = False

  def __init__(
    self,
    size: int,
    *,
    seed: int = 0,
    examples: int = 1,
    cutout: images.Color | None = None,
    cache_bytes: int = 0,
  ) -> None:
    """Describes the chibis; arguments as of `ArtistSource`."""
    super().__init__(
      "chibi",
      size,
      seed=seed,
      examples=examples,
      cutout=cutout,
      cache_bytes=cache_bytes,
    )

  def fields(self, size: int) -> Fields:
    """The picture and its labels."""
    return {
      "image": ((size, size, 3), np.uint8),
      "attributes": ((len(LABELS),), np.float32),
    }

  def load(self, index: int) -> Example:
    """Draws one chibi; see `Source.load`."""
    row = label(self.attributes(index))
    return {"image": super().load(index)["image"], "attributes": row}

  @property
  def description(self) -> str:
    """For example "artist: 4000 labelled chibis (seed 0)"."""
    return f"artist: {self.examples} labelled chibis (seed {self.seed})"
