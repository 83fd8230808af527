"""Sources: random access to examples, each a function of its index alone.

`source[i]` is a dict with `image`, uint8 [size, size, 3] sRGB, and is the same
on every machine, in every thread and after every restart. Sources pickle, so
that Grain's worker processes can read them; caches and open files do not
travel. An example that turns out to be damaged when it is decoded is replaced
by the next good one, always the same, and counted.
"""

import abc
import dataclasses
import itertools
import logging
import re
import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

from chibijax import artist
from chibijax.artist import paintings
from chibijax.data import images
from chibijax.errors import UserError

Example: TypeAlias = dict[str, Any]
Fields: TypeAlias = dict[str, tuple[tuple[int, ...], type]]

_LOG = logging.getLogger(__name__)


class DataError(UserError):
  """A data set cannot be used; the message is one sentence."""


class Cache:
  """Examples kept in memory up to a number of bytes.

  Nothing is evicted: an epoch visits every example once, and under such an
  order a fixed subset hits in proportion to its size while "least recently
  used" evicts exactly what comes next.
  """

  def __init__(self, limit: int) -> None:
    """Makes an empty cache of at most `limit` bytes."""
    self.limit = limit
    self.used = 0
    self._examples: dict[int, Example] = {}
    self._lock = threading.Lock()

  def __reduce__(self) -> tuple[type["Cache"], tuple[int]]:
    return Cache, (self.limit,)

  def get(self, index: int) -> Example | None:
    """Returns a copy of the dict, whose arrays are shared and read-only."""
    example = self._examples.get(index)
    return None if example is None else dict(example)

  def put(self, index: int, example: Example) -> None:
    """Keeps an example if there is room."""
    arrays = [x for x in example.values() if isinstance(x, np.ndarray)]
    size = sum(x.nbytes for x in arrays)
    with self._lock:
      if index in self._examples or self.used + size > self.limit:
        return
      self.used += size
      for array in arrays:
        array.flags.writeable = False
      self._examples[index] = dict(example)


class Source(abc.ABC):
  """Random access with replacement of damaged examples and a memory cache."""

  # Whether training may crop and mirror the pictures of an example.
  crop_flip = True

  def __init__(self, cache_bytes: int = 0) -> None:
    """Starts with nothing cached and nothing known to be damaged."""
    self.cache = Cache(cache_bytes)
    self.damaged: dict[int, str] = {}
    self._loader: Callable[[int], Example] | None = None

  def __getstate__(self) -> dict[str, Any]:
    return self.__dict__ | {"_loader": None}

  def load_by(self, loader: Callable[[int], Example]) -> None:
    """Has `load` called elsewhere, such as in a worker process.

    Args:
      loader: gives what `load` gives, and raises what it raises.
    """
    self._loader = loader

  @abc.abstractmethod
  def __len__(self) -> int:
    """Number of examples."""

  @abc.abstractmethod
  def load(self, index: int) -> Example:
    """Makes one example.

    Args:
      index: in [0, len).

    Returns:
      The example.

    Raises:
      ImageError: if the example is damaged.
    """

  def fields(self, size: int) -> Fields:
    """Shape and type of what an example brings to a batch, by key.

    Args:
      size: side of the pictures in a batch, in pixels.
    """
    return {"image": ((size, size, 3), np.uint8)}

  @property
  @abc.abstractmethod
  def description(self) -> str:
    """What the source holds and what it left out, without a full stop."""

  def __getitem__(self, index: int) -> Example:
    """Returns an example, or the next one that can be decoded.

    Args:
      index: in [0, len).

    Returns:
      The example.

    Raises:
      IndexError: if the index is out of range.
      DataError: if no example at all can be decoded.
    """
    count = len(self)
    if not 0 <= index < count:
      raise IndexError(f"index {index} is not in [0, {count}).")
    example = self.cache.get(index)
    if example is not None:
      return example
    load = self._loader or self.load
    for candidate in itertools.chain(range(index, count), range(index)):
      if candidate in self.damaged:
        continue
      try:
        example = load(candidate)
      except images.ImageError as error:
        self.damaged[candidate] = str(error)
        _LOG.warning("Replaced by the next picture: %s", error)
      else:
        self.cache.put(index, example)
        return example
    raise DataError(
      f"None of the {count} pictures can be decoded; the first error was:"
      f" {self.damaged[index]}"
    )

  def _damage(self) -> str:
    """The end of a description: what failed while decoding, so far."""
    count = len(self.damaged)
    return f", {count} replaced as damaged" if count else ""


class ArtistSource(Source):
  """Characters drawn on the fly by `chibijax.artist`; nothing is stored.

  Example i of a seed is the same character in both domains: a source of
  portraits and one of chibis with equal seeds are exactly paired, and with
  different seeds they share no character. Paintings show nobody.
  """

  def __init__(
    self,
    domain: str,
    size: int,
    *,
    seed: int = 0,
    examples: int = 10_000,
    body: bool = False,
    cutout: images.Color | None = None,
    extras: bool = False,
    cache_bytes: int = 0,
  ) -> None:
    """Describes the drawings; nothing is drawn yet.

    Args:
      domain: "chibi", "portrait", "painting" (of abstract paintings, one for
        each example) or "painting:N" (number N of them, for every example).
      size: side of the pictures, in pixels.
      seed: non-negative; with the index it decides everything.
      examples: number of characters.
      body: draw chibis as whole figures, two heads tall.
      cutout: draw chibis over this sRGB colour instead of their backgrounds.
      extras: add `landmarks` float32 [68, 2] in pixels, `masks` (dict of bool
        [size, size]) and `attributes` to each example.
      cache_bytes: memory for finished drawings; they cost ten milliseconds
        or more each, so that a small set is worth keeping.

    Raises:
      DataError: if an argument is out of range.
    """
    super().__init__(cache_bytes)
    if not re.fullmatch(r"chibi|portrait|painting(:\d+)?", domain):
      raise DataError(
        "domain must be chibi, portrait, painting or painting:NUMBER, got"
        f" {domain!r}."
      )
    if size < 1 or examples < 1 or seed < 0:
      raise DataError(
        "an artist source needs size >= 1, examples >= 1 and seed >= 0, got"
        f" {size}, {examples} and {seed}."
      )
    self.domain = domain
    self.size = size
    self.seed = seed
    self.examples = examples
    self.body = body
    self.cutout = cutout
    self.extras = extras

  def __len__(self) -> int:
    return self.examples

  def attributes(self, index: int) -> artist.Attributes:
    """The character that example `index` shows."""
    return artist.sample_attributes(np.random.default_rng([self.seed, index]))

  def load(self, index: int) -> Example:
    """Draws one character or painting; see `Source.load`."""
    kind, _, number = self.domain.partition(":")
    if kind == "painting":
      if number:
        return {"image": paintings.draw_numbered(int(number), self.size)}
      rng = np.random.default_rng([self.seed, index])
      return {"image": paintings.draw_painting(self.size, rng)}
    attributes = self.attributes(index)
    if self.domain == "chibi":
      if self.cutout is not None:
        attributes = dataclasses.replace(attributes, background="none")
      drawing = artist.draw_chibi(
        attributes, self.size, body=self.body, masks=self.extras
      )
    else:
      # Light, pose and noise: a stream apart from that of the attributes.
      stream = np.random.SeedSequence([self.seed, index], spawn_key=(1,))
      drawing = artist.draw_portrait(
        attributes,
        self.size,
        seed=int(stream.generate_state(1)[0]),
        masks=self.extras,
      )
    color = images.WHITE if self.cutout is None else self.cutout
    hex_color = "#" + bytes(color).hex()
    example: Example = {"image": drawing.rgb(hex_color)}
    if self.extras:
      example["landmarks"] = drawing.landmarks
      example["masks"] = drawing.masks
      example["attributes"] = attributes
    return example

  @property
  def description(self) -> str:
    """For example "artist: 4000 chibi drawings (seed 0)"."""
    return f"artist: {self.examples} {self.domain} drawings (seed {self.seed})"


class JointSource(Source):
  """Examples that take one picture each from several sources, by name.

  Two sources make pairs: example i shows picture i of both. If one of its
  pictures is damaged, an example is replaced as a whole.
  """

  def __init__(
    self, sources: Mapping[str, Source], *, cache_bytes: int = 0
  ) -> None:
    """Joins sources index by index.

    Args:
      sources: equally long sources by the name that their `image` gets.
      cache_bytes: memory for finished examples.

    Raises:
      DataError: if the lengths differ.
    """
    super().__init__(cache_bytes)
    lengths = [len(source) for source in sources.values()]
    if len(set(lengths)) != 1:
      raise DataError(f"paired sources must be equally long, got {lengths}.")
    self.sources = dict(sources)
    self._length = lengths[0]

  def __len__(self) -> int:
    return self._length

  def load(self, index: int) -> Example:
    """Loads every picture; see `Source.load`."""
    return {
      name: source.load(index)["image"] for name, source in self.sources.items()
    }

  def fields(self, size: int) -> Fields:
    """A picture by the name of each source."""
    return {name: ((size, size, 3), np.uint8) for name in self.sources}

  @property
  def description(self) -> str:
    """The sources' descriptions by name."""
    parts = (f"{k}: {x.description}" for k, x in self.sources.items())
    return ", ".join(parts) + self._damage()
