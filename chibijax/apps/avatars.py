"""Files in, files out: what `chibijax avatar` and `stickers` do.

Photos are read in threads, turned a few at a time, and written as soon as they
are made. A photo that cannot be read or shows no face is told and does not stop
the others.
"""

import dataclasses
import datetime
import glob
import itertools
import pathlib
import time
from collections.abc import Iterator, Sequence
from concurrent import futures
from typing import Any

import numpy as np
from jaxtyping import UInt8
from tqdm import tqdm

from chibijax import __version__
from chibijax.apps import photos as photo_files
from chibijax.apps import provenance as credentials
from chibijax.apps.pictures import FORMATS
from chibijax.apps.pipeline import AvatarResult, Pipeline
from chibijax.apps.settings import Settings
from chibijax.data import photo as photo_data
from chibijax.data.images import ImageError
from chibijax.errors import UserError

# Photos read and turned together.
CHUNK = 8
# Longer side in pixels that photos are reduced to, unless they are the result.
LONGEST = 2048
FOLDER = pathlib.Path("chibis")


@dataclasses.dataclass
class Report:
  """What became of the photos.

  Attributes:
    model: what made the pictures.
    made: pictures written, in order.
    kept: pictures that were there already.
    faceless: photos without a face.
    skipped: photos that could not be used, with the reason.
    results: a JSON-able record of every photo.
    seconds: how long it took, without loading.
    provenance: how the pictures say what they are, or what was left out.
  """

  model: str = ""
  made: list[pathlib.Path] = dataclasses.field(default_factory=list)
  kept: list[pathlib.Path] = dataclasses.field(default_factory=list)
  faceless: list[pathlib.Path] = dataclasses.field(default_factory=list)
  skipped: dict[pathlib.Path, str] = dataclasses.field(default_factory=dict)
  results: list[dict[str, Any]] = dataclasses.field(default_factory=list)
  seconds: float = 0.0
  provenance: str = ""

  def to_dict(self) -> dict[str, Any]:
    """Everything as JSON-able values."""
    return {
      "version": __version__,
      "model": self.model,
      "made": [str(path) for path in self.made],
      "kept": [str(path) for path in self.kept],
      "faceless": [str(path) for path in self.faceless],
      "skipped": {str(path): why for path, why in self.skipped.items()},
      "photos": self.results,
      "turning_seconds": round(self.seconds, 3),
      "provenance": self.provenance,
    }

  def sentences(self) -> Iterator[str]:
    """Says what happened, for people."""
    for path, reason in self.skipped.items():
      yield f"skipped {path}: {reason}"
    for path in self.faceless:
      yield f"no face was found in {path}."
    for result in self.results:
      if result["status"] not in ("ok", "none"):
        yield f"note: in {result['photo']}, {result['meaning']}."
    if self.kept:
      yield (
        f"{len(self.kept)} there already (--overwrite makes them again): "
        f"{self.kept[0]}"
      )
    if self.made:
      where = self.made[0]
      if len(self.made) > 1:
        where = f"{len(self.made)} pictures, the first is {where}"
      yield f"made by {self.model} in {self.seconds:.1f} s: {where}"
      yield self.provenance


def run(
  names: list[str],
  out: pathlib.Path | None,
  settings: Settings,
  *,
  overwrite: bool = False,
  consent: bool | None = None,
  provenance: bool = True,
) -> Report:
  """Makes the avatars of photos.

  Args:
    names: files, folders and patterns.
    out: a file name for one photo or a folder; None is a free name here.
    settings: what to make.
    overwrite: whether pictures that exist are made again.
    consent: what the user says of the right to use the photos.
    provenance: whether pictures say how they were made.

  Returns:
    What happened.

  Raises:
    UserError: if there is no photo, something is missing, or a picture cannot
      be written.
  """
  found = photo_files.find(names, exclude=out if out and out.is_dir() else None)
  targets = zip((one.path for one in found), plan(found, out), strict=True)
  report = Report()
  todo = []
  for photo, target in targets:
    if there := _made_before(target) if not overwrite else []:
      report.kept += there
    else:
      todo.append((photo, target))
  if not todo:
    return report
  pipeline = Pipeline(settings)
  writer = _Writer(settings, pipeline.model, consent, provenance)
  report.model = pipeline.model
  report.provenance = writer.sentence
  start = time.perf_counter()
  with (
    futures.ThreadPoolExecutor(settings.threads) as pool,
    tqdm(total=len(todo), unit="photo", disable=len(todo) < 2) as bar,
  ):
    for first in range(0, len(todo), CHUNK):
      chunk = todo[first : first + CHUNK]
      _turn_chunk(chunk, pipeline, writer, pool, report)
      bar.update(len(chunk))
  report.seconds = time.perf_counter() - start
  return report


def plan(
  photos: Sequence[photo_files.Found], out: pathlib.Path | None
) -> list[pathlib.Path]:
  """Names the picture that each photo will become.

  Args:
    photos: from `apps.photos.find`.
    out: as for `run`.

  Returns:
    One name for each photo, all different.

  Raises:
    UserError: if `out` is a file name, but there are several photos, or is no
      name for a picture.
  """
  named = out is not None and bool(out.suffix) and not out.is_dir()
  if named and out.suffix.lower() not in FORMATS:
    raise UserError(
      f"{out} is not a name that pictures are written under; expected one that "
      f"ends in {', '.join(FORMATS)}, or a folder."
    )
  if named and len(photos) > 1:
    raise UserError(
      f"{out} is the name of one picture; for {len(photos)} photos give a "
      "folder."
    )
  if named:
    return [out]
  if out is None and len(photos) == 1:
    return [_free_name(photos[0].path)]
  return photo_files.targets(photos, FOLDER if out is None else out)


def _free_name(photo: pathlib.Path) -> pathlib.Path:
  """A name in the current folder that no file has.

  Trying one style after another must neither lose nor refuse a picture.
  """
  base = "stdin" if photo == photo_files.STDIN else photo.stem
  counts = itertools.chain([""], (f"-{k}" for k in itertools.count(2)))
  names = (pathlib.Path(f"{base}-chibi{count}.png") for count in counts)
  return next(
    name for name in names if not name.exists() and not _made_before(name)
  )


def _made_before(target: pathlib.Path) -> list[pathlib.Path]:
  """The pictures of an earlier run: the photo's, or one for each face."""
  if target.exists():
    return [target]
  pattern = f"{glob.escape(target.stem)}.face[0-9]*{target.suffix}"
  return sorted(target.parent.glob(pattern))


def _turn_chunk(
  chunk: list[tuple[pathlib.Path, pathlib.Path]],
  pipeline: Pipeline,
  writer: "_Writer",
  pool: futures.Executor,
  report: Report,
) -> None:
  """Reads, turns and writes a few photos, and extends the report."""
  longest = None if pipeline.settings.keeps_photo else LONGEST
  read = list(pool.map(lambda pair: _read(pair[0], longest), chunk))
  usable = [
    (pair, pixels)
    for pair, pixels in zip(chunk, read, strict=True)
    if not isinstance(pixels, str)
  ]
  for (photo, _), pixels in zip(chunk, read, strict=True):
    if isinstance(pixels, str):
      report.skipped[photo] = pixels
  results = pipeline([pixels for _, pixels in usable])
  written = list(
    pool.map(
      lambda item: writer.write(item[0][0][1], item[1]),
      zip(usable, results, strict=True),
    )
  )
  for ((photo, _), _), result, paths in zip(
    usable, results, written, strict=True
  ):
    report.made += paths
    if result.status == "none":
      report.faceless.append(photo)
    elif result.error:
      report.skipped[photo] = result.error
    record = {"photo": str(photo), "pictures": [str(path) for path in paths]}
    report.results.append(record | result.to_dict())


def _read(
  photo: pathlib.Path, longest: int | None
) -> UInt8[np.ndarray, "h w 3"] | str:
  """The photo's pixels, or why it cannot be read."""
  try:
    return photo_data.read(photo, longest=longest).pixels
  except (ImageError, OSError) as error:
    return str(error)


class _Writer:
  """Writes pictures with what they must say about themselves.

  Attributes:
    sentence: what that is, in words.
  """

  def __init__(
    self,
    settings: Settings,
    model: str,
    consent: bool | None,
    enabled: bool,
  ) -> None:
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    self._enabled = enabled
    self._record = credentials.Record(
      style=settings.style,
      model=model,
      seed=settings.seed,
      consent=consent,
      created=now,
      composite=settings.keeps_photo,
    )
    self.sentence = credentials.announce(self._record, enabled=enabled)

  def write(
    self, target: pathlib.Path, result: AvatarResult
  ) -> list[pathlib.Path]:
    """Writes one photo's pictures, and returns their names."""
    paths = [target]
    if len(result.images) > 1:
      paths = [
        target.with_name(f"{target.stem}.face{k + 1}{target.suffix}")
        for k in range(len(result.images))
      ]
    for path, image in zip(paths, result.images, strict=False):
      credentials.write(path, image, self._record, enabled=self._enabled)
    return paths[: len(result.images)]
