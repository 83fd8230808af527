"""What `config.data` may say, and the sources that it names."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any, Literal

from chibijax.data import images
from chibijax.data.characters import LabelledChibis
from chibijax.data.folder import FolderSource, Split, matched
from chibijax.data.head_lmdb import HeadLmdbSource
from chibijax.data.labels import LabelledFolder, LabelledTfds, Table
from chibijax.data.portraits import LabelledPortraits
from chibijax.data.posed import FigureSource, PosedFolderSource
from chibijax.data.sources import (
  ArtistSource,
  DataError,
  JointSource,
  Source,
)
from chibijax.data.tfds import TfdsSource, tfds_builder


@dataclasses.dataclass(frozen=True)
class Options:
  """`config.data`; every field has the default that a config need not repeat.

  Attributes:
    source_a: "artist", "folder" or "tfds", the source of `image_a`; "posed" for
      a folder of pictures with cameras (`data.posed`), "head_lmdb" for pairs of
      frames of a tracked folder (`data.head_lmdb`).
    source_b: the same for `image_b`; "" for batches of one key, `image`.
    path_a: a folder's path, or the name of a TFDS data set.
    path_b: the same for B.
    domain_a: what the artist draws as A, "portrait" or "chibi"; alone also
      "figure": views of one character as a 3D figure, with cameras; or
      "labelled": portraits with landmarks and labels (`data.portraits`); or
      "labelled_chibi": chibis with their attributes (`data.characters`); or
      "head": pairs of frames of procedural people (`data.heads`).
    domain_b: what the artist draws as B, "portrait", "chibi", "painting" (an
      abstract one for each example) or "painting:N" (one for all).
    character: which of the seed's characters the figure is.
    identities: procedural people for training; held out, at most that many.
    frames: frames of each of them.
    chibi_share: share of them that is drawn, with the chibi axis.
    image_key_a: image feature of a TFDS data set.
    image_key_b: the same for B.
    tfds_dir: TFDS's data directory; "" for its default.
    label_file: of a folder alone, a CSV of labels (`data.labels`), which bring
      `attributes` to a batch; "" for none.
    labels: columns of that CSV, () for all of them; or of TFDS alone, features
      that are numbers, () for none.
    paired: whether A and B show the same thing (and are cropped together).
    size: side of the pictures in a batch, in pixels.
    load_size: side before the random crop, in pixels.
    crop: crop `size` out of `load_size` at random; else resize to `size`.
    flip: mirror half of the examples.
    fit_a: how pictures become square: center, top, letterbox or stretch.
    fit_b: the same for B.
    background: sRGB colour under transparency and letterbox bars.
    min_side: pictures in folders with a shorter side, in pixels, are skipped.
    batch_size: pictures per domain in a global batch, when `make` gets none.
    examples: characters that the artist draws for training, per domain, or
      views of the figure.
    eval_examples: at most this many held-out examples.
    eval_fraction: share of a folder held out if it has no split of its own.
    body: draw chibis as whole figures.
    cutout: draw chibis over `background` instead of their own backgrounds.
    seed: of the artist's characters, apart from the order's seed, so that runs
      which differ in their seed share the held-out set.
    threads: threads that make batches; 0 for one per core, at most 8.
    workers: processes that draw and decode; 0 for the threads alone. Worth
      their start where the artist draws large pictures for fast steps.
    cache_mb: memory for decoded or drawn pictures, in MiB, per process and
      split: what fits is made once. 4096 pictures at 72 px take 61 MiB.
  """

  source_a: str = "artist"
  source_b: str = "artist"
  path_a: str = ""
  path_b: str = ""
  domain_a: str = "portrait"
  domain_b: str = "chibi"
  character: int = 0
  identities: int = 500
  frames: int = 16
  chibi_share: float = 0.25
  image_key_a: str = "image"
  image_key_b: str = "image"
  tfds_dir: str = ""
  label_file: str = ""
  labels: tuple[str, ...] = ()
  paired: bool = False
  size: int = 256
  load_size: int = 286
  crop: bool = True
  flip: bool = True
  fit_a: str = "center"
  fit_b: str = "center"
  background: tuple[int, int, int] = images.WHITE
  min_side: int = 16
  batch_size: int = 1
  examples: int = 10_000
  eval_examples: int = 256
  eval_fraction: float = 0.1
  body: bool = False
  cutout: bool = False
  seed: int = 0
  threads: int = 0
  workers: int = 0
  cache_mb: int = 512

  def __post_init__(self) -> None:
    if self.size < 1 or self.batch_size < 1 or self.eval_examples < 1:
      raise DataError(
        "data.size, data.batch_size and data.eval_examples must be positive,"
        f" got {self.size}, {self.batch_size} and {self.eval_examples}."
      )
    for fit in (self.fit_a, self.fit_b):
      if fit not in images.FITS:
        raise DataError(
          f"data.fit must be one of {', '.join(images.FITS)}, got {fit!r}."
        )
    if self.crop and self.load_size < self.size:
      raise DataError(
        f"data.load_size ({self.load_size}) must be at least data.size"
        f" ({self.size}) when data.crop is on."
      )
    names = ("threads", "workers", "cache_mb", "seed", "character")
    values = [getattr(self, name) for name in names]
    if min(values) < 0:
      raise DataError(
        f"data.{', data.'.join(names)} must not be negative, got"
        f" {', '.join(map(str, values))}."
      )

  @property
  def posed(self) -> bool:
    """Whether A is pictures with cameras."""
    return self.source_a == "posed" or (
      self.source_a == "artist" and self.domain_a == "figure"
    )

  @property
  def heads(self) -> bool:
    """Whether A is pairs of frames of heads."""
    return self.source_a == "head_lmdb" or (
      self.source_a == "artist" and self.domain_a == "head"
    )

  @classmethod
  def of(cls, config: "Options | Mapping[str, Any] | Any") -> "Options":
    """Reads a mapping or an `ml_collections.ConfigDict`.

    Args:
      config: the options, or something with `items()`.

    Raises:
      DataError: if there is a field that is not an option.
    """
    if isinstance(config, cls):
      return config
    values = dict(config.items())
    known = [field.name for field in dataclasses.fields(cls)]
    unknown = sorted(values.keys() - set(known))
    if unknown:
      raise DataError(
        f"config.data has no option {', '.join(unknown)}; the options are"
        f" {', '.join(known)}."
      )
    for name in {"background", "labels"} & values.keys():
      values[name] = tuple(values[name])
    return cls(**values)


def sources(options: Options, split: Split) -> list[Source]:
  """Opens the sources of a split.

  Args:
    options: the options.
    split: which split.

  Returns:
    One source whose examples have all keys of a batch where A and B are
    paired or pictures have cameras, else one for each key.

  Raises:
    DataError: if a source cannot be used; one sentence.
  """
  cache = options.cache_mb * 2**20
  if not options.source_b and options.posed:
    return [_posed(options, split, cache)]
  if not options.source_b and options.heads:
    return [_heads(options, split, cache)]
  if not options.source_b and options.domain_a == "labelled":
    return [_labelled(options, split, cache)]
  drawn = options.source_a == "artist"  # Else `data.labels` may bring theirs.
  if not options.source_b and options.domain_a == "labelled_chibi" and drawn:
    return [_labelled(options, split, cache, chibi=True)]
  named = options.label_file or options.labels
  if named and (options.source_b or options.source_a not in ("folder", "tfds")):
    raise DataError(
      "data.label_file and data.labels are for one folder or TFDS data set as"
      " data.source_a, with data.source_b empty."
    )
  if not options.source_b:
    source = _source(options, "a", split)
    if isinstance(source, LabelledFolder | LabelledTfds):
      source.cache.limit = cache
      return [source]
    return [JointSource({"image": source}, cache_bytes=cache)]
  kinds = {options.source_a, options.source_b}
  if options.paired and len(kinds) > 1:
    raise DataError(
      "data.paired needs two sources of one kind, got"
      f" {options.source_a} and {options.source_b}."
    )
  a = _source(options, "a", split)
  b = _source(options, "b", split)
  # Held-out drawings are paired in any case: the ground truth of the metrics.
  if options.paired or (kinds == {"artist"} and split == "eval"):
    if isinstance(a, FolderSource) and isinstance(b, FolderSource):
      a, b = matched(a, b)
    return [JointSource({"image_a": a, "image_b": b}, cache_bytes=cache)]
  return [
    JointSource({"image_a": a}, cache_bytes=cache // 2),
    JointSource({"image_b": b}, cache_bytes=cache // 2),
  ]


def _posed(options: Options, split: Split, cache: int) -> Source:
  """Opens pictures with cameras."""
  if options.source_a == "artist":
    views = options.examples if split == "train" else options.eval_examples
    return FigureSource(
      options.size,
      split=split,
      views=views,
      seed=options.seed,
      character=options.character,
      cache_bytes=cache,
    )
  if not options.path_a:
    raise DataError("data.source_a is posed: set data.path_a.")
  return PosedFolderSource(
    options.path_a,
    options.size,
    fit=options.fit_a,
    split=split,
    cache_bytes=cache,
  )


def _heads(options: Options, split: Split, cache: int) -> Source:
  """Opens pairs of frames of heads."""
  if options.source_a == "artist":
    # The model of heads is JAX's, which other sources do not need.
    from chibijax.data.heads import ProceduralHeads

    train = split == "train"
    most = options.examples if train else options.eval_examples
    return ProceduralHeads(
      options.size,
      # Held-out people have seeds of their own.
      seed=2 * options.seed + (not train),
      examples=most,
      identities=min(options.identities, most),
      frames=options.frames,
      chibi_share=options.chibi_share,
      cache_bytes=cache,
    )
  if not options.path_a:
    raise DataError("data.source_a is head_lmdb: set data.path_a.")
  return HeadLmdbSource(
    options.path_a,
    options.size,
    split=split,
    eval_fraction=options.eval_fraction,
    seed=options.seed,
    cache_bytes=cache,
  )


def _labelled(
  options: Options, split: Split, cache: int, *, chibi: bool = False
) -> Source:
  """Opens portraits with landmarks and labels, or chibis with attributes."""
  if options.source_a != "artist":
    raise DataError(
      "only the artist's pictures are labelled: set data.source_a to artist,"
      f" got {options.source_a!r}."
    )
  train = split == "train"
  values = dict(
    # Families of characters as in `_source`.
    seed=3 * options.seed + (0 if train else 2),
    examples=options.examples if train else options.eval_examples,
    cache_bytes=cache,
  )
  if not chibi:
    return LabelledPortraits(options.size, **values)
  cutout = options.background if options.cutout else None
  return LabelledChibis(options.size, cutout=cutout, **values)


def _source(options: Options, side: Literal["a", "b"], split: Split) -> Source:
  """Opens one domain's source."""
  kind = getattr(options, f"source_{side}")
  path = getattr(options, f"path_{side}")
  train = split == "train"
  size = options.load_size if train and options.crop else options.size
  if kind == "artist":
    # Three disjoint families of characters per seed: A, B and held out.
    family = 2 if not train else int(side == "b" and not options.paired)
    return ArtistSource(
      getattr(options, f"domain_{side}"),
      size,
      seed=3 * options.seed + family,
      examples=options.examples if train else options.eval_examples,
      body=options.body,
      cutout=options.background if options.cutout else None,
    )
  if kind not in ("folder", "tfds"):
    raise DataError(
      f"data.source_{side} must be artist, folder or tfds, got {kind!r}."
    )
  if not path:
    raise DataError(f"data.source_{side} is {kind}: set data.path_{side}.")
  reader = images.Reader(
    size,
    getattr(options, f"fit_{side}"),
    options.background,
    options.min_side if kind == "folder" else 1,
  )
  if kind == "folder":
    source = FolderSource(
      path,
      reader,
      split=split,
      eval_fraction=options.eval_fraction,
    )
    if options.label_file or options.labels:
      file = pathlib.Path(options.label_file).expanduser()
      return LabelledFolder(source, Table(file, options.labels))
    return source
  data_dir = options.tfds_dir or None
  key = getattr(options, f"image_key_{side}")
  name = _tfds_split(path, data_dir, split, options.eval_fraction)
  if options.labels:
    labels = options.labels
    return LabelledTfds(path, name, data_dir, key, reader, labels=labels)
  return TfdsSource(path, name, data_dir, key, reader)


def _tfds_split(
  name: str, data_dir: str | None, split: Split, fraction: float
) -> str:
  """The TFDS split to read: its own, or a held-out end of "train"."""
  splits = tfds_builder(name, data_dir).info.splits
  held = [x for x in ("test", "validation", "eval") if x in splits]
  if held:
    return "train" if split == "train" else held[0]
  percent = min(max(round(100 * (1 - fraction)), 1), 99)
  return f"train[:{percent}%]" if split == "train" else f"train[{percent}%:]"
