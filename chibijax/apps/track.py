"""Videos made into clips of heads: the published layout, and a `motion.npz`.

    OUT/img_lmdb/, OUT/optim.npz  the frames that show the face, on black, and
                                  their parameters (`data.head_lmdb`)
    OUT/motion.npz                all frames' (`heads.motion`)
    OUT/preview.png               some frames with the fitted head over them

A video is read twice, so that its length costs no memory: first for the
landmarks of all frames, which are then fitted together, then for the pictures.
"""

import dataclasses
import pathlib
import shutil
import time

import numpy as np
from jaxtyping import Float, Float32, UInt8
from tqdm import tqdm

from chibijax.apps import track_preview
from chibijax.apps.track_source import Clip, Find, Options
from chibijax.data import head_frames, head_lmdb
from chibijax.errors import UserError
from chibijax.faces import analysis
from chibijax.heads import motion as motions
from chibijax.heads import track as tracking
from chibijax.heads.model import HeadModel, landmarks
from chibijax.ops import affine

# Of the frames, the last tenth is held out, if there are so many.
_HELD, _SPLIT = 0.1, 20
_MOTION, _PREVIEW = "motion.npz", "preview.png"


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
    UserError: if the video cannot be read, no frame shows a face, or `out`
      exists or cannot be written.
  """
  options = options or Options()
  _check_out(out, options.overwrite)
  clip = Clip(video, options)
  start = time.perf_counter()
  points, faces, shapes = [], [], []
  with tqdm(total=clip.count, unit="frame", desc="looking",
            disable=not progress) as bar:  # fmt: skip
    for frame in clip.frames():
      found, count = find(frame)
      points.append(np.full((68, 2), np.nan) if found is None else found)
      faces.append(count)
      shapes.append(frame.shape)
      bar.update()
  looked = time.perf_counter()
  seen = np.isfinite(np.array(points)).all((1, 2))
  if not seen.any():
    kind = "the photo" if len(seen) == 1 else f"any of the {len(seen)} frames"
    raise UserError(f"no face was found in {kind} of {video}.")
  landmarks_ = np.array(points, np.float32)
  crops = tracking.crop(head, landmarks_, seen, fps=clip.fps)
  crops = crops * np.float32(options.size)
  placed = np.stack(
    [affine.move(c, p) for c, p in zip(crops, landmarks_, strict=True)]
  )
  found = tracking.track(head, placed, options.size, seen=seen, fps=clip.fps)
  fitted = time.perf_counter()
  _write(clip, out, head, found, crops, placed, segment, options, progress)
  return Report(
    out=out,
    frames=len(seen),
    seen=int(seen.sum()),
    several=int((np.array(faces) > 1).sum()),
    error=float(np.nanmean(found.error)),
    look_seconds=looked - start,
    fit_seconds=fitted - looked,
    write_seconds=time.perf_counter() - fitted,
    damaged=clip.damaged,
  )


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
  found: tracking.Track,
  crops: np.ndarray,
  placed: np.ndarray,
  segment: analysis.Segment | None,
  options: Options,
  progress: bool,
) -> None:
  """Writes the folder, under another name until it is whole."""
  unfinished = out.with_name(f".{out.name}.new")
  shutil.rmtree(unfinished, ignore_errors=True)
  sheet = track_preview.Sheet(head, found, placed, options.size)
  boxes = head_boxes(head, found, options.size)
  split = "" if found.seen.sum() < _SPLIT else "train"
  held = np.flatnonzero(found.seen)[int((1 - _HELD) * found.seen.sum()) :]
  try:
    with head_lmdb.Writer(unfinished, published=options.published) as writer:
      bar = tqdm(
        clip.frames(), "writing", len(found.seen), unit="frame",
        disable=not progress,
      )  # fmt: skip
      for i, frame in enumerate(bar):
        if i >= len(found.seen) or not found.seen[i]:
          continue
        picture = cut_out(frame, crops[i], placed[i], options.size, segment)
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
    transform: from it to the picture.
    points: landmarks in the picture.
    size: side of the picture.
    segment: finds the background; None leaves it.
  """
  picture = affine.warp(frame, transform, (size, size))
  whole = (0, 0), (size, size), frame.shape[:2][::-1]
  inside = affine.covered(affine.invert(transform), *whole) > 0.5
  if segment is not None:
    inside &= ~analysis.find_masks(picture, points, segment)["background"]
  return picture * inside[..., None]


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
