"""A folder of photos made a folder of aligned faces, to look at or to train on.

OUT/**/NAME.png        the faces, in the photos' own tree; further ones of a
                       photo are NAME.face2.png..., moved copies
                       NAME.jitter1.png...
OUT/manifest.jsonl     one line for each face and each photo without a usable
                       one, see `alignment_manifest`
OUT/contact_sheet.png  a look at up to 100 of them

A photo's lines are written together, after its pictures, so that a run that
was killed goes on where it was: what the manifest does not name whole is made
again, and the same. The folder is a `folder` source of training as it is.
"""

import dataclasses
import functools
import hashlib
import os
import pathlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from typing import Any, TypeAlias

import jax
import numpy as np
from jaxtyping import Float, Float32
from tqdm import tqdm

from chibijax.apps import alignment_manifest as manifest
from chibijax.apps import contact_sheet, detectors, pictures
from chibijax.apps import photos as photo_files
from chibijax.data import images, photo
from chibijax.errors import UserError
from chibijax.faces import align, analysis
from chibijax.faces.detection import Detector
from chibijax.faces.face import MEANINGS, STATUSES, Face

# Photos are looked at no larger than this (28 megapixels of 4:3): a face of a
# tenth of it has more pixels than the largest usual frame.
LONGEST = 6144
Lines: TypeAlias = list[dict[str, Any]]
# A photo and where its picture goes -> its lines of the manifest.
Work: TypeAlias = Callable[[pathlib.Path, pathlib.Path], Lines]
# The frame in which faces are analysed, whatever is cut out in the end.
_LOOK = 256


@dataclasses.dataclass
class Report:
  """What happened.

  Attributes:
    written: aligned faces.
    kept: those that an earlier run had made.
    skipped: photos of which nothing was made, with the reason.
    statuses: how many faces have each status; "none" counts photos.
    seconds: how long it took.
    points: what the faces were aligned by, in words.
    manifest: the file.
    sheet: the contact sheet, or None when no photo could be read.
  """

  written: list[pathlib.Path] = dataclasses.field(default_factory=list)
  kept: list[pathlib.Path] = dataclasses.field(default_factory=list)
  skipped: dict[pathlib.Path, str] = dataclasses.field(default_factory=dict)
  statuses: Counter[str] = dataclasses.field(default_factory=Counter)
  seconds: float = 0.0
  points: str = ""
  manifest: pathlib.Path | None = None
  sheet: pathlib.Path | None = None

  def to_dict(self) -> dict[str, Any]:
    """Everything as JSON-able values."""
    return {
      "written": [str(path) for path in self.written],
      "kept": [str(path) for path in self.kept],
      "skipped": {str(path): why for path, why in self.skipped.items()},
      "statuses": dict(self.statuses),
      "seconds": round(self.seconds, 3),
      "points": self.points,
      "manifest": self.manifest and str(self.manifest),
      "sheet": self.sheet and str(self.sheet),
    }


@dataclasses.dataclass(frozen=True)
class Options:
  """What is cut out of the photos.

  Attributes:
    size: side of the pictures in pixels.
    margin: room around the face, see `chibijax.faces.align`.
    min_status: the statuses that are good enough.
    faces: "largest" of each photo, or "all".
    jitter: moved copies of each face, for training.
  """

  size: int = 256
  margin: float | int = 0.0
  min_status: tuple[str, ...] = ("ok",)
  faces: str = "largest"
  jitter: int = 0

  def __post_init__(self) -> None:
    if not 16 <= self.size <= 4096:
      raise UserError(f"--size is {self.size}, expected 16 to 4096.")
    if not -0.3 <= self.margin <= 2:
      raise UserError(f"--margin is {self.margin}, expected -0.3 to 2.")
    if unknown := set(self.min_status) - set(STATUSES) | {"none"} & set(
      self.min_status
    ):
      raise UserError(
        f"{', '.join(sorted(unknown))} is no status of a face; expected some "
        f"of {', '.join(s for s in STATUSES if s != 'none')}."
      )
    if self.faces not in ("largest", "all"):
      raise UserError(f"--faces is {self.faces!r}, expected largest or all.")
    if not 0 <= self.jitter <= 100:
      raise UserError(f"--jitter is {self.jitter}, expected 0 to 100.")

  def to_dict(self) -> dict[str, Any]:
    """The settings that the manifest of a folder must agree on."""
    return {
      "size": self.size,
      "margin": float(self.margin),
      "min_status": sorted(self.min_status),
      "faces": self.faces,
      "jitter": self.jitter,
    }


def run(
  photos: Iterable[str | os.PathLike[str]] | str | os.PathLike[str],
  out: pathlib.Path,
  *,
  size: int = 256,
  margin: float | int = 0.0,
  detector: str | Detector = "auto",
  landmarks: bool = True,
  min_status: tuple[str, ...] = ("ok",),
  faces: str = "largest",
  jobs: int = 4,
  overwrite: bool = False,
  jitter: int = 0,
  progress: bool = True,
) -> Report:
  """Finds, aligns and writes the faces of many photos.

  Args:
    photos: files, folders and patterns, see `chibijax.apps.photos`.
    out: the folder of the results.
    size: as for `Options`.
    margin: as for `Options`.
    detector: a kind of `chibijax.faces.detect.make`, or a detector.
    landmarks: whether the 68 landmarks are found; where their weights are
      missing, and otherwise, the detector's five points do.
    min_status: as for `Options`.
    faces: as for `Options`.
    jobs: photos at a time.
    overwrite: whether everything is made anew.
    jitter: as for `Options`.
    progress: whether a bar shows speed and remaining time.

  Returns:
    What happened. A photo that cannot be read, or without a usable face, is in
    `skipped` and does not stop the others.

  Raises:
    UserError: if there is no photo, a value is out of range, the folder holds
      faces of other settings, or a picture cannot be written.
  """
  start = time.perf_counter()
  options = Options(size, margin, tuple(min_status), faces, jitter)
  if jobs < 1:
    raise UserError(f"--jobs is {jobs}, expected at least 1.")
  if out.is_file():
    raise UserError(f"{out} is a file; faces are written into a folder.")
  names = [photos] if isinstance(photos, str | os.PathLike) else list(photos)
  found = photo_files.find(names, exclude=out)
  worker = make_worker(options, detector, landmarks)
  log = manifest.Manifest(
    out, options.to_dict() | {"points": worker.points}, overwrite=overwrite
  )
  report = Report(points=worker.points, manifest=log.path)
  todo = []
  targets = photo_files.targets(found, out)
  for one, target in zip(found, targets, strict=True):
    known = log.known(one.path)
    if known is None:
      todo.append((one.path, log.free(target, one.path)))
    else:
      _count(report, one.path, known, out, report.kept)
  bar = tqdm(
    total=len(found),
    initial=len(found) - len(todo),
    unit="photo",
    smoothing=0.1,
    dynamic_ncols=True,
    disable=None if progress else True,
  )
  with log, bar:
    for path, lines in in_order(todo, worker, jobs):
      log.append(path, lines)
      _count(report, path, lines, out, report.written)
      bar.set_postfix(faces=len(report.written), skipped=len(report.skipped))
      bar.update()
  report.sheet = contact_sheet.write(out, log.records())
  report.seconds = time.perf_counter() - start
  return report


def _count(
  report: Report,
  path: pathlib.Path,
  lines: list[dict[str, Any]],
  out: pathlib.Path,
  made: list[pathlib.Path],
) -> None:
  outputs = [out / name for line in lines for name in line["outputs"]]
  made += outputs
  report.statuses.update(line["status"] for line in lines)
  if not outputs:
    report.skipped[path] = lines[0]["reason"]


def in_order(
  todo: Iterable[tuple[pathlib.Path, pathlib.Path]], work: Work, jobs: int
) -> Iterator[tuple[pathlib.Path, Lines]]:
  """Works on a few photos at a time, and gives their lines in order.

  Args:
    todo: photos and where their pictures go.
    work: called by several threads.
    jobs: photos at a time.

  Yields:
    Each photo with its lines.
  """
  ahead = 2 * jobs
  with futures.ThreadPoolExecutor(jobs) as pool:
    pending: list[Any] = []
    try:
      for position, (path, target) in enumerate(todo):
        pending.append((path, pool.submit(work, path, target)))
        if position + 1 >= ahead:
          first, future = pending.pop(0)
          yield first, future.result()
      for first, future in pending:
        yield first, future.result()
    finally:
      pool.shutdown(wait=True, cancel_futures=True)


def make_worker(
  options: Options, detector: str | Detector, landmarks: bool
) -> "Worker":
  """Loads what finds and cuts out faces.

  Args:
    options: what is cut out.
    detector: as for `run`.
    landmarks: as for `run`.

  Returns:
    What makes one photo's pictures and lines.

  Raises:
    UserError: if the detector cannot be had.
  """
  if isinstance(detector, str):
    detector = detectors.make(detector)
  points, find_points = "5 points", None
  if landmarks:
    try:
      from chibijax.faces import landmarks as landmark_module

      find_points = landmark_module.load()
      points = "68 landmarks"
    except (ImportError, UserError):
      points = "5 points"
  return Worker(options, detector, find_points, points)


@dataclasses.dataclass(frozen=True)
class Worker:
  """Makes one photo's pictures and lines; called by several threads.

  Attributes:
    options: what is cut out.
    detector: finds faces.
    find_points: finds 68 landmarks, or None for the detector's five points.
    points: what faces are aligned by, in words.
  """

  options: Options
  detector: Detector
  find_points: Callable[..., Any] | None
  points: str

  def __call__(
    self, path: pathlib.Path, target: pathlib.Path
  ) -> list[dict[str, Any]]:
    """Reads, looks, cuts out and writes."""
    try:
      read = photo.read(path, longest=LONGEST)
    except images.ImageError as error:
      return [{"status": "unreadable", "reason": str(error), "outputs": []}]
    several = self.options.faces == "all"
    found = analysis.analyse(
      read.pixels,
      self.detector,
      landmarks=self.find_points,
      size=_LOOK,
      limit=None if several else 1,
    )
    lines = []
    good = 0
    for position, face in enumerate(found):
      face = self._framed(face)
      line = {"face": position, "faces": len(found), "status": face.status}
      line |= {"sha256": read.sha256, "size": self.options.size}
      line |= {"margin": float(self.options.margin), "scale": read.scale}
      line |= {"reason": "", "outputs": [], "detail": face.to_dict()}
      if face.status in self.options.min_status:
        good += 1
        line["outputs"] = self._write(read, face, target, good)
      else:
        line["reason"] = f"{MEANINGS[face.status]} ({face.status})"
      lines.append(line)
    return lines

  def _framed(self, face: Face) -> Face:
    """The same face in the frame that is wanted."""
    size, margin = self.options.size, self.options.margin
    if not face.found:
      return dataclasses.replace(face, size=size)
    change = align.umeyama(
      align.canonical_points(_LOOK), align.canonical_points(size, margin)
    )
    transform = _after(change, face.transform)
    return dataclasses.replace(
      face, transform=transform, inverse=align.invert(transform), size=size
    )

  def _write(
    self, read: photo.Photo, face: Face, target: pathlib.Path, number: int
  ) -> list[str]:
    """Writes a face and its moved copies; their names below the folder."""
    base = target.name.removesuffix(".png")
    if number > 1:
      base += f".face{number}"
    size = self.options.size
    transforms = {f"{base}.png": face.transform}
    for k in range(self.options.jitter):
      seed = hashlib.sha256(f"{read.sha256} {number} {k}".encode()).digest()
      key = jax.random.key(int.from_bytes(seed[:4], "big"))
      moved = _jitter(size)(key, face.transform)
      transforms[f"{base}.jitter{k + 1}.png"] = np.asarray(moved)
    for name, transform in transforms.items():
      picture = align.warp(read.pixels, transform, (size, size))
      pictures.save(target.with_name(name), picture)
    return [str(target.with_name(name)) for name in transforms]


@functools.cache
def _jitter(size: int) -> Callable[..., jax.Array]:
  return jax.jit(functools.partial(align.jitter, size=size))


def _after(
  second: Float[np.ndarray, "2 3"], first: Float[np.ndarray, "2 3"]
) -> Float32[np.ndarray, "2 3"]:
  """One map, then another."""
  linear = second[:, :2].astype(np.float64) @ first[:, :2]
  shift = second[:, :2].astype(np.float64) @ first[:, 2] + second[:, 2]
  return np.concatenate([linear, shift[:, None]], 1).astype(np.float32)
