"""Videos made into clips of heads: the published layout, and a `motion.npz`.

    OUT/img_lmdb/, OUT/optim.npz  the frames that show the face, on black, and
                                  their parameters (`data.head_lmdb`)
    OUT/motion.npz                all frames' (`heads.motion`)
    OUT/preview.png               some frames with the fitted head over them

A video is read twice, so that its length costs no memory: first for the
landmarks of all frames, which are then fitted together, then for the pictures.
"""

import collections
import dataclasses
import os
import pathlib
import shutil
import time
from collections.abc import Iterator
from concurrent import futures

import numpy as np
from jaxtyping import Float, Float32, UInt8
from tqdm import tqdm

from chibijax.apps import avatar3d_photo, track_preview
from chibijax.apps.track_source import Clip, Find, Options, ahead
from chibijax.data import head_frames, head_lmdb
from chibijax.errors import NoFaceError, UserError
from chibijax.faces import analysis
from chibijax.heads import motion as motions
from chibijax.heads import track as tracking
from chibijax.heads.model import HeadModel, landmarks
from chibijax.ops import affine

# Of the frames, the last tenth is held out, if there are so many.
_HELD, _SPLIT = 0.1, 20
_MOTION, _PREVIEW = "motion.npz", "preview.png"
_THREADS = min(os.cpu_count() or 1, 8)


@dataclasses.dataclass(frozen=True, eq=False)
class Report:
  """What happened.

  Attributes:
    out: the folder.
    frames: used ones.
    seen: those that show the face.
    several: those that show other faces too; the largest was followed.
    error: mean distance of fitted and found landmarks, in pixels of a picture.
    look_seconds: for detection and landmarks.
    fit_seconds: for fitting and smoothing.
    write_seconds: for cutting out and writing.
    damaged: what ended the video too early; "" if nothing did.
  """

  out: pathlib.Path
  frames: int
  seen: int
  several: int
  error: float
  look_seconds: float
  fit_seconds: float
  write_seconds: float
  damaged: str = ""


@dataclasses.dataclass(frozen=True, eq=False)
class Followed:
  """The head of a clip.

  Attributes:
    track: its parameters.
    crops: from pixels of the frames to those of the pictures.
    placed: its landmarks in the pictures; those of unseen frames do not count.
    faces: how many each frame shows.
    seconds: for landmarks, and for the fit.
  """

  track: tracking.Track
  crops: Float32[np.ndarray, "n 2 3"]
  placed: Float32[np.ndarray, "n 68 2"]
  faces: list[int]
  seconds: tuple[float, float]


def run(
  video: pathlib.Path,
  out: pathlib.Path,
  head: HeadModel,
  find: Find,
  *,
  segment: analysis.Segment | None = None,
  options: Options | None = None,
  progress: bool = True,
) -> Report:
  """Tracks the head of a video.

  Args:
    video: a film, a folder of pictures in the order of their names, or one
      picture.
    out: the folder to make.
    head: the head model.
    find: finds the landmarks of a frame; see `track_source.Follower`.
    segment: finds the background of an aligned picture, which becomes black;
      None keeps it.
    options: how.
    progress: whether to show bars.

  Returns:
    What happened.

  Raises:
    NoFaceError: if no frame shows a face.
    UserError: if the video cannot be read, or `out` exists or cannot be
      written.
  """
  options = options or Options()
  _check_out(out, options.overwrite)
  head_lmdb.check_installed()
  clip = Clip(video, options)
  found = follow(clip, head, find, progress=progress)
  start = time.perf_counter()
  _write(clip, out, head, found, segment, options, progress)
  return Report(
    out=out,
    frames=len(found.faces),
    seen=int(found.track.seen.sum()),
    several=int((np.array(found.faces) > 1).sum()),
    error=float(np.nanmean(found.track.error)),
    look_seconds=found.seconds[0],
    fit_seconds=found.seconds[1],
    write_seconds=time.perf_counter() - start,
    damaged=clip.damaged,
  )


def follow(
  clip: Clip, head: HeadModel, find: Find, *, progress: bool = True
) -> Followed:
  """Finds the landmarks of all frames, and fits a head to them.

  Args:
    clip: the frames.
    head: the head model.
    find: finds the landmarks of a frame.
    progress: whether to show a bar.

  Raises:
    NoFaceError: if no frame shows a face.
    UserError: if the video cannot be read.
  """
  start = time.perf_counter()
  points, faces = [], []
  with tqdm(total=clip.count, unit="frame", desc="looking",
            disable=not progress) as bar:  # fmt: skip
    for frame in ahead(clip.frames()):
      found, count = find(frame)
      points.append(np.full((68, 2), np.nan) if found is None else found)
      faces.append(count)
      bar.update()
  looked = time.perf_counter()
  marks = np.array(points, np.float32)
  seen = np.isfinite(marks).all((1, 2))
  if not seen.any():
    where = f"any of the {len(seen)} frames of " if len(seen) > 1 else ""
    raise NoFaceError(f"no face was found in {where}{clip.path}.")
  size = clip.options.size
  crops = tracking.crop(head, marks, seen, fps=clip.fps) * np.float32(size)
  placed = np.stack(
    [affine.move(c, p) for c, p in zip(crops, marks, strict=True)]
  )
  fitted = tracking.track(head, placed, size, seen=seen, fps=clip.fps)
  seconds = looked - start, time.perf_counter() - looked
  return Followed(fitted, crops, placed, faces, seconds)


def _check_out(out: pathlib.Path, overwrite: bool) -> None:
  """Refuses folders that exist, unless they are earlier results."""
  if not out.exists():
    return
  if not overwrite:
    raise UserError(f"{out} exists already; --overwrite replaces it.")
  ours = out.is_dir() and ((out / _MOTION).is_file() or not any(out.iterdir()))
  if not ours:
    raise UserError(f"{out} is not a tracked clip, and is not replaced.")


def _write(
  clip: Clip,
  out: pathlib.Path,
  head: HeadModel,
  followed: Followed,
  segment: analysis.Segment | None,
  options: Options,
  progress: bool,
) -> None:
  """Writes the folder, under another name until it is whole."""
  found = followed.track
  unfinished = out.with_name(f".{out.name}.new")
  shutil.rmtree(unfinished, ignore_errors=True)
  sheet = track_preview.Sheet(head, found, followed.placed, options.size)
  boxes = head_boxes(head, found, options.size)
  split = "" if found.seen.sum() < _SPLIT else "train"
  held = np.flatnonzero(found.seen)[int((1 - _HELD) * found.seen.sum()) :]
  try:
    with head_lmdb.Writer(unfinished, published=options.published) as writer:
      bar = tqdm(
        _pictures(clip, followed, segment), "writing", int(found.seen.sum()),
        unit="frame", disable=not progress,
      )  # fmt: skip
      for i, picture in bar:
        parameters = {
          "box": boxes[i],
          "shape": found.shape,
          "expression": found.expression[i],
          "pose": found.pose[i],
          "eyes": found.eyes[i],
          "transform": head_frames.transform(found.viewmats[i]),
        }
        here = "val" if split and i >= held[0] else split
        writer.add(f"{clip.name}_{i:06d}", picture, parameters, split=here)
        sheet.add(i, picture)
    motion = found.motion(clip.fps, head.name)
    motions.write_motion(unfinished / _MOTION, motion)
    sheet.save(unfinished / _PREVIEW)
    if out.exists():
      shutil.rmtree(out)
    unfinished.replace(out)
  except OSError as error:
    raise UserError(
      f"{out} cannot be written ({error.strerror or error})."
    ) from error
  finally:
    shutil.rmtree(unfinished, ignore_errors=True)


def _pictures(
  clip: Clip, followed: Followed, segment: analysis.Segment | None
) -> Iterator[tuple[int, UInt8[np.ndarray, "size size 3"]]]:
  """The numbers and pictures of frames that show the face, made in threads."""
  size, seen = clip.options.size, followed.track.seen
  waiting: collections.deque[tuple[int, futures.Future]] = collections.deque()
  with futures.ThreadPoolExecutor(_THREADS) as pool:
    for i, frame in enumerate(ahead(clip.frames())):
      if i >= len(seen) or not seen[i]:
        continue
      given = frame, followed.crops[i], followed.placed[i], size, segment
      waiting.append((i, pool.submit(cut_out, *given)))
      if len(waiting) > 2 * _THREADS:
        number, made = waiting.popleft()
        yield number, made.result()
    for number, made in waiting:
      yield number, made.result()


class _Background:
  """Finds the background alone; masks of the rest would take as long each."""

  def __init__(self, segment: analysis.Segment) -> None:
    self._segment = segment
    for name in ("size", "margin"):
      if hasattr(segment, name):
        setattr(self, name, getattr(segment, name))

  def __call__(
    self, aligned: UInt8[np.ndarray, "s s 3"]
  ) -> dict[str, Float32[np.ndarray, "s s"]]:
    return {"background": self._segment(aligned)["background"]}


def cut_out(
  frame: UInt8[np.ndarray, "h w 3"],
  transform: Float[np.ndarray, "2 3"],
  points: Float[np.ndarray, "68 2"],
  size: int,
  segment: analysis.Segment | None,
) -> UInt8[np.ndarray, "size size 3"]:
  """A head on black.

  Args:
    frame: the whole frame.
    transform: from it to the picture, without turning.
    points: landmarks in the picture.
    size: side of the picture.
    segment: finds the background; None leaves it.
  """
  zoom = float(transform[0, 0])
  middle = (size / 2 - transform[:, 2].astype(np.float64)) / zoom
  picture = avatar3d_photo.crop(frame, middle, size / 2 / zoom, size)
  if segment is None:
    return picture
  masks = analysis.find_masks(picture, points, _Background(segment))
  return picture * ~masks["background"][..., None]


def head_boxes(
  head: HeadModel, found: tracking.Track, size: int
) -> Float32[np.ndarray, "n 4"]:
  """Boxes of heads without their necks, as shares of the picture's side.

  Args:
    head: the head model.
    found: its parameters.
    size: side of the pictures.
  """
  rest = np.asarray(head.template) + np.asarray(head.shape_basis) @ found.shape
  chin = landmarks(head, rest)[8, 1]
  points = motions.WORLD_SCALE * rest[rest[:, 1] > chin - 0.01]
  matrix = motions.intrinsics(size)
  boxes = np.zeros((len(found.seen), 4), np.float32)
  for box, view in zip(boxes, found.viewmats, strict=True):
    turned = points @ view[:3, :3].T + view[:3, 3]
    seen = (turned @ matrix.T)[:, :2] / turned[:, 2:] / size
    box[:2], box[2:] = seen.min(0), seen.max(0)
  return boxes.clip(0, 1)
