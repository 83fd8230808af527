"""What a generator with labels is told: an example's labels, and the user's.

A row of labels is that of a random example of the training's data; what the
user says takes the place of what it has.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32

from chibijax import artist
from chibijax.data import characters, options
from chibijax.errors import UserError

# Names that a sentence mentions at most.
_NAMED = 8


@dataclasses.dataclass(frozen=True)
class Labels:
  """Labels of a generator's data.

  Attributes:
    names: what each is: a number by its name, a word as "name=word".
    example: labels of the i-th example that a seed draws, of (seed, i).
    number: how a number is stored, of (name, number).
    said: what is told instead, by place.
  """

  names: tuple[str, ...]
  example: Callable[[int, int], Float32[np.ndarray, " k"]]
  number: Callable[[str, float], float] = lambda name, value: value
  said: Mapping[int, float] = dataclasses.field(default_factory=dict)

  def draw(self, seed: int, count: int) -> Float[Array, "n k"]:
    """Rows of labels; the first of a seed do not depend on their number."""
    rows = np.stack([self.example(seed, i) for i in range(count)])
    for place, value in self.said.items():
      rows[:, place] = value
    return jnp.asarray(rows)

  def saying(self, words: Sequence[str]) -> "Labels":
    """The same, with some labels told by the user.

    Args:
      words: "NAME=VALUE": a word of a name that has words, else a number.

    Returns:
      Labels of which these are fixed.

    Raises:
      UserError: if there is no such label, or its value is none.
    """
    said = dict(self.said)
    for word in words:
      said.update(self._places(word))
    return dataclasses.replace(self, said=said)

  def _places(self, word: str) -> dict[int, float]:
    """What one NAME=VALUE tells."""
    name, _, value = word.partition("=")
    if name in self.names:
      try:
        number = float(value)
      except ValueError:
        number = math.nan
      if not math.isfinite(number):
        raise UserError(
          f"--label is {word!r}, expected a number after {name}=."
        )
      return {self.names.index(name): self.number(name, number)}
    # Of the words of one name one applies.
    others = {
      place: float(known == word)
      for place, known in enumerate(self.names)
      if known.partition("=")[0] == name and "=" in known
    }
    if not others:
      known = list(dict.fromkeys(n.partition("=")[0] for n in self.names))
      raise UserError(
        f"--label is {word!r}, expected NAME=VALUE, the name one of "
        f"{_few(known)}."
      )
    if word not in self.names:
      known = [self.names[place].partition("=")[2] for place in others]
      raise UserError(
        f"--label is {word!r}, expected {name}= and {_few(known)}."
      )
    return others


def count(gen: Mapping[str, Any]) -> int:
  """How many labels a generator reads: rows of what embeds them.

  Args:
    gen: its parameters.
  """
  [kernel] = [
    leaf
    for path, leaf in jax.tree.leaves_with_path(gen)
    if [part.key for part in path][-2:] == ["embedding", "kernel"]
  ]
  return int(kernel.shape[0])


def of_training(config: Any, gen: Mapping[str, Any], run: object) -> Labels:
  """The labels that a generator was trained with.

  Args:
    config: of its training.
    gen: its parameters.
    run: the training, for messages.

  Returns:
    The labels of its data.

  Raises:
    UserError: if the data cannot be read any more, or has other labels.
  """
  while config.get("source"):
    config = config.source
  if config.data.source_a == "artist":
    found = Labels(characters.LABELS, _of_a_character, characters.number)
  else:
    try:
      [source] = options.sources(options.Options.of(config.data), "train")
    except UserError as error:
      raise UserError(
        f"{run} draws what labels tell, and those of its training cannot be "
        f"read: {error}"
      ) from error
    size = len(source)
    found = Labels(
      source.names,
      lambda seed, i: source.labels(
        int(np.random.default_rng([seed, i]).integers(size))
      ),
    )
  if len(found.names) != (expected := count(gen)):
    raise UserError(
      f"{run} was told {expected} labels, and its data has "
      f"{len(found.names)} now."
    )
  return found


def _of_a_character(seed: int, index: int) -> Float32[np.ndarray, " k"]:
  rng = np.random.default_rng([seed, index])
  return characters.label(artist.sample_attributes(rng))


def _few(words: Sequence[str]) -> str:
  more = ", …" if len(words) > _NAMED else ""
  return ", ".join(words[:_NAMED]) + more
