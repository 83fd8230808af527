"""Portraits with what the artist knows of them: landmarks and labels."""

import numpy as np

from chibijax.data.sources import ArtistSource, Example, Fields

# What a pixel of `label` shows.
LABELS = ("background", "hair", "skin", "rest")


class LabelledPortraits(ArtistSource):
  """The artist's portraits as `image`, `landmarks` and `label`.

  `image` is uint8 [size, size, 3], `landmarks` float32 [68, 2] in its pixels,
  `label` uint8 [size, size], the index in `LABELS`; "rest" is what else there
  is of the person: clothes, eyes, brows, lips, beard, glasses, headwear.
  """

  # The landmarks would have to follow; whoever trains on them does both.
  crop_flip = False

  def __init__(
    self, size: int, *, seed: int = 0, examples: int = 1, cache_bytes: int = 0
  ) -> None:
    """Describes the portraits; arguments as of `ArtistSource`."""
    super().__init__(
      "portrait",
      size,
      seed=seed,
      examples=examples,
      extras=True,
      cache_bytes=cache_bytes,
    )

  def fields(self, size: int) -> Fields:
    """The picture and its labels."""
    return {
      "image": ((size, size, 3), np.uint8),
      "landmarks": ((68, 2), np.float32),
      "label": ((size, size), np.uint8),
    }

  def load(self, index: int) -> Example:
    """Draws one portrait; see `Source.load`."""
    drawn = super().load(index)
    masks = drawn["masks"]
    label = np.where(masks["person"], np.uint8(3), np.uint8(0))
    for name in ("hair", "skin"):
      label[masks[name]] = LABELS.index(name)
    return {
      "image": drawn["image"],
      "landmarks": drawn["landmarks"],
      "label": label,
    }

  @property
  def description(self) -> str:
    """For example "artist: 4000 labelled portraits (seed 0)"."""
    return f"artist: {self.examples} labelled portraits (seed {self.seed})"
