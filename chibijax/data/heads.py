"""The embedded clips of heads: procedural people from many sides.

An identity of a seed is a clip; its frames differ in expression, jaw, gaze and
view. Everything is a function of (seed, identity, frame), and nothing is
stored. The layout of an example is that of `data.head_pairs`.
"""

from collections.abc import Sequence

import numpy as np

from chibijax.data.head_pairs import HeadPairSource
from chibijax.data.sources import Cache, DataError, Example
from chibijax.heads import appearance, look, motion, sampling
from chibijax.heads.procedural import procedural_head


class ProceduralHeads(HeadPairSource):
  """Pairs of frames of procedural people.

  Example i shows identity i modulo their number, in two of its frames.
  """

  def __init__(
    self,
    size: int,
    *,
    seed: int = 0,
    examples: int = 10_000,
    identities: int = 500,
    frames: int = 16,
    chibi_share: float = 0.25,
    cache_bytes: int = 0,
  ) -> None:
    """Describes the people; nothing is drawn yet.

    Args:
      size: side of the pictures in pixels.
      seed: non-negative; other seeds share no person.
      examples: number of pairs.
      identities: number of people.
      frames: of each, at least 2.
      chibi_share: share of drawn looks with the chibi axis.
      cache_bytes: memory for drawn frames, which many pairs share.

    Raises:
      DataError: if an argument is out of range.
    """
    super().__init__()
    if size < 16 or examples < 1 or identities < 1 or frames < 2 or seed < 0:
      raise DataError(
        "procedural heads need size >= 16, examples >= 1, identities >= 1,"
        f" frames >= 2 and seed >= 0, got {size}, {examples}, {identities},"
        f" {frames} and {seed}."
      )
    if not 0 <= chibi_share <= 1:
      raise DataError(
        f"the share of chibis must be in [0, 1], got {chibi_share}."
      )
    self.size = size
    self.seed = seed
    self.examples = examples
    self.identities = identities
    self.frames = frames
    self.chibi_share = chibi_share
    self.drawn = Cache(cache_bytes)

  def __len__(self) -> int:
    return self.examples

  @property
  def coefficients(self) -> tuple[int, int]:
    """Lengths of the procedural head's shape and expression."""
    model = procedural_head()
    return len(model.shape_names), len(model.expression_names)

  def character(self, identity: int) -> appearance.Character:
    """One person of the seed."""
    rng = np.random.default_rng([self.seed, identity])
    chibi = bool(rng.random() < self.chibi_share)
    shape = sampling.sample_shape(rng, procedural_head(), chibi=chibi)
    return appearance.make_character(look.sample_look(rng, chibi=chibi), shape)

  def frame(
    self,
    identity: int,
    number: int,
    character: appearance.Character | None = None,
  ) -> Example:
    """Draws one frame, or takes it from memory.

    Args:
      identity: in [0, identities).
      number: in [0, frames).
      character: that identity's, if it is at hand.

    Returns:
      `picture`, `viewmat`, `shape`, `expression`, `pose`, `eyes` and `box`.
    """
    return self._frames(identity, (number,), character)[0]

  def _frames(
    self,
    identity: int,
    numbers: Sequence[int],
    character: appearance.Character | None = None,
  ) -> list[Example]:
    """Frames of one person, who is made only if one of them is not known."""
    found = []
    for number in numbers:
      key = identity * self.frames + number
      made = self.drawn.get(key)
      if made is None:
        if character is None:
          character = self.character(identity)
        made = self._draw(character, identity, number)
        self.drawn.put(key, made)
      found.append(made)
    return found

  def _draw(
    self, character: appearance.Character, identity: int, number: int
  ) -> Example:
    # NumPy fills short seeds with zeros: 0 is the person's own stream.
    rng = np.random.default_rng([self.seed, identity, number + 1])
    moved = sampling.sample_motion(rng, procedural_head())
    center, half = character.center, character.half
    view = sampling.sample_view(rng, center, half, motion.FOCAL)
    drawn = appearance.draw(
      character, *moved, view, motion.intrinsics(self.size), self.size
    )
    return {
      "picture": drawn.rgb,
      "viewmat": view,
      "shape": character.shape,
      "expression": moved.expression,
      "pose": moved.pose,
      "eyes": moved.eyes,
      "box": drawn.box,
    }

  def load(self, index: int) -> Example:
    """Draws a pair; see `Source.load`."""
    identity = index % self.identities
    # The last number sets it apart from the streams of people and frames.
    rng = np.random.default_rng([self.seed, identity, index, 1])
    numbers = rng.choice(self.frames, 2, replace=False).tolist()
    source, target = self._frames(identity, numbers)
    return {
      "source": source["picture"],
      "target": target["picture"],
      "source_viewmat": source["viewmat"],
      "target_viewmat": target["viewmat"],
      "K": motion.intrinsics(self.size),
      "shape": source["shape"],
      "expression": target["expression"],
      "pose": target["pose"],
      "eyes": target["eyes"],
      "target_box": target["box"],
    }

  @property
  def description(self) -> str:
    """For example "heads: 500 procedural people, 16 frames each (seed 0)"."""
    return (
      f"heads: {self.identities} procedural people, {self.frames} frames each"
      f" (seed {self.seed})"
    )
