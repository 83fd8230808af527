"""Turns photos with the translation networks of a training workdir.

Pictures are uint8 sRGB, [height, width, 3]. A photo becomes a square of the
model's training size by cropping it, by framing its largest face as the artist
frames portraits, or by padding its shorter side; padding is cut off again
afterwards.
"""

import dataclasses
import importlib
import pathlib
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any, TypeAlias

import jax
import numpy as np
from jaxtyping import UInt8
from PIL import Image
from tqdm import tqdm

from chibijax.apps import photos as photo_files
from chibijax.apps import pictures, pretrained
from chibijax.data import images as image_files
from chibijax.errors import NoFaceError, UserError
from chibijax.ops import image as image_ops

DIRECTIONS = ("a2b", "b2a")
MIN_SIZE, MAX_SIZE = 16, 4096
# From a photo's pixels to a square of its largest face.
Framer: TypeAlias = Callable[[np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Stylizer:
  """A translation network, loaded once and compiled for one batch shape.

  Attributes:
    apply: uint8 [batch, size, size, 3] -> the same shape and type.
    size: side of the pictures it takes, in pixels.
    batch: pictures a call.
    source: what was loaded, in words.
  """

  apply: Callable[[np.ndarray], np.ndarray]
  size: int
  batch: int
  source: str

  def __call__(
    self, pictures: list[UInt8[np.ndarray, "size size 3"]]
  ) -> list[UInt8[np.ndarray, "size size 3"]]:
    """Translates up to `batch` pictures.

    Args:
      pictures: 1 to `batch` squares of side `size`.

    Returns:
      As many squares of the same side.
    """
    count = len(pictures)
    # The last batch is filled up, since another shape would compile again.
    filled = pictures + [pictures[-1]] * (self.batch - count)
    return list(np.asarray(self.apply(np.stack(filled)))[:count])


def load(
  run: str | pathlib.Path,
  *,
  direction: str = "a2b",
  size: int | None = None,
  batch: int = 8,
) -> Stylizer:
  """Loads the newest checkpoint of a run, its averaged weights if it has any.

  Args:
    run: the training's workdir, or what `chibijax export` wrote of it as
      safetensors or a folder.
    direction: "a2b" (photo to chibi in our configs) or "b2a".
    size: side of the pictures in pixels; None is the training's.
    batch: pictures a call, >= 1.

  Returns:
    The network, ready to call.

  Raises:
    UserError: if the run has no checkpoint, is of another task, or a value is
      out of range.
  """
  if direction not in DIRECTIONS:
    raise UserError(f"--direction is {direction!r}, expected 'a2b' or 'b2a'.")
  if batch < 1:
    raise UserError(f"--batch is {batch}, expected at least 1.")
  # What kind of run it is can be said before its weights are read.
  config = pretrained.read_config(run)
  if config.get("task") != "translation":
    raise UserError(
      f"{run} is a run of the task {config.get('task')!r}; stylize needs one "
      "of the task 'translation'."
    )
  size = config.data.size if size is None else size
  if not MIN_SIZE <= size <= MAX_SIZE:
    raise UserError(f"--size is {size}, expected {MIN_SIZE} to {MAX_SIZE}.")
  model = pretrained.load(run)
  return Stylizer(
    apply=_compile(config, model.params, direction),
    size=size,
    batch=batch,
    source=f"{run}, step {model.step}, {direction}",
  )


def _compile(
  config: Any, params: dict[str, Any], direction: str
) -> Callable[[np.ndarray], jax.Array]:
  task = importlib.import_module(f"chibijax.tasks.{config.task}").build(config)

  @jax.jit
  def apply(params: dict[str, Any], pictures: jax.Array) -> jax.Array:
    signed = image_ops.to_float(pictures)
    return image_ops.to_uint8(task.translate(params, signed, direction))

  return lambda pictures: apply(params, pictures)


def framer(size: int) -> Framer:
  """Loads what frames faces as the artist's portraits are framed.

  Args:
    size: side of the square in pixels.

  Returns:
    A function from a photo's pixels to its largest face in the canonical frame
    of `faces.align`; it raises a NoFaceError where there is none.
  """
  from chibijax.apps import detectors
  from chibijax.faces import align, analysis, detect, landmarks

  finder, marks = detectors.make(), landmarks.load()

  def frame(photo: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "s s 3"]:
    found = detect.find(photo, finder)
    if not found:
      raise NoFaceError("no face was found, as --align needs.")
    face = analysis.describe(photo, found[0], marks, None)
    return align.align(photo, np.asarray(face.landmarks), size)[0]

  return frame


def read_square(
  photo: pathlib.Path,
  size: int,
  *,
  crop: bool = True,
  frame: Framer | None = None,
) -> tuple[UInt8[np.ndarray, "size size 3"], tuple[int, int]]:
  """Reads a photo of any shape as a square.

  Args:
    photo: a picture file.
    size: side of the square in pixels.
    crop: True keeps the largest square, at the top of a tall picture, where a
      portrait has its head, and central in a wide one; False keeps everything
      and fills up with the last row's or column's pixels.
    frame: from `framer`, takes the place of `crop`.

  Returns:
    The square, and the (height, width) of its top left part that shows the
    photo: (size, size) after a crop.

  Raises:
    ImageError: if it is not a picture, or damaged.
    NoFaceError: if `frame` finds no face.
  """
  if frame is not None:
    return frame(image_files.Reader().read(photo)), (size, size)
  if crop:
    reader = image_files.Reader(size=size, fit="top")
    return reader.read(photo), (size, size)
  picture = image_files.Reader().read(photo)
  scale = size / max(picture.shape[:2])
  height, width = (max(1, round(scale * n)) for n in picture.shape[:2])
  image = Image.fromarray(picture).resize(
    (width, height), Image.Resampling.BICUBIC, reducing_gap=3.0
  )
  pad = ((0, size - height), (0, size - width), (0, 0))
  return np.pad(np.asarray(image), pad, mode="edge"), (height, width)


def plan(
  photos: pathlib.Path, out: pathlib.Path
) -> list[tuple[pathlib.Path, pathlib.Path]]:
  """Pairs every photo with the picture it will become.

  Args:
    photos: one photo, or a folder that is searched with its subfolders.
    out: for a folder, the folder whose tree will mirror it; for one photo, the
      name of a picture or a folder.

  Returns:
    (photo, picture) pairs, see `chibijax.apps.photos`.

  Raises:
    UserError: if there is no photo, `out` is of the wrong kind, or a photo
      would be replaced.
  """
  # Results of an earlier call may lie in a folder below the photos.
  found = photo_files.find([photos], exclude=out)
  if photos.is_file() and out.suffix and not out.is_dir():
    pictures.form_of(out)
    pairs = [(photos, out)]
  elif out.is_file():
    raise UserError(f"{out} is a file; for a folder of photos give a folder.")
  elif out.suffix.lower() in pictures.FORMATS and not out.is_dir():
    raise UserError(
      f"{out} is the name of one picture; for a folder of photos give a folder."
    )
  else:
    paths = [one.path for one in found]
    pairs = list(zip(paths, photo_files.targets(found, out), strict=True))
  for photo, target in pairs:
    pictures.check_other(target, photo)
  return pairs


@dataclasses.dataclass
class Report:
  """What happened to each photo.

  Attributes:
    written: the PNGs that were written.
    kept: PNGs that were there already.
    skipped: photos that could not be read, with the reason.
  """

  written: list[pathlib.Path] = dataclasses.field(default_factory=list)
  kept: list[pathlib.Path] = dataclasses.field(default_factory=list)
  skipped: dict[pathlib.Path, str] = dataclasses.field(default_factory=dict)


def run(
  pairs: list[tuple[pathlib.Path, pathlib.Path]],
  stylizer: Stylizer,
  *,
  crop: bool = True,
  frame: Framer | None = None,
  overwrite: bool = False,
) -> Report:
  """Turns photos into PNGs, a batch at a time.

  Args:
    pairs: from `plan`.
    stylizer: from `load`.
    crop: see `read_square`.
    frame: see `read_square`.
    overwrite: whether PNGs that exist are made again.

  Returns:
    What was written, kept and skipped. A photo that cannot be read is skipped
    and does not stop the others.

  Raises:
    UserError: if a PNG cannot be written.
  """
  report = Report()
  todo = []
  for photo, target in pairs:
    if target.exists() and not overwrite:
      report.kept.append(target)
    else:
      todo.append((photo, target))
  with (
    futures.ThreadPoolExecutor(4) as pool,
    tqdm(total=len(todo), unit="photo", disable=len(todo) < 2) as bar,
  ):
    batch = []
    for photo, target, square in _read(
      todo, stylizer.size, pool, crop=crop, frame=frame
    ):
      if isinstance(square, str):
        report.skipped[photo] = square
        bar.update()
        continue
      batch.append((target, *square))
      if len(batch) == stylizer.batch:
        report.written += _write_batch(batch, stylizer)
        bar.update(len(batch))
        batch = []
    if batch:
      report.written += _write_batch(batch, stylizer)
      bar.update(len(batch))
  return report


def _read(
  todo: list[tuple[pathlib.Path, pathlib.Path]],
  size: int,
  pool: futures.Executor,
  **how: Any,
) -> Iterator[tuple[pathlib.Path, pathlib.Path, Any]]:
  """Yields (photo, PNG, (square, kept) or the reason why not), in order."""

  def read(photo: pathlib.Path) -> Any:
    try:
      return read_square(photo, size, **how)
    except (image_files.ImageError, NoFaceError, OSError) as error:
      return str(error)

  squares = pool.map(read, [photo for photo, _ in todo])
  for (photo, target), square in zip(todo, squares):
    yield photo, target, square


def _write_batch(batch: list[Any], stylizer: Stylizer) -> list[pathlib.Path]:
  results = stylizer([square for _, square, _ in batch])
  for (target, _, (height, width)), result in zip(batch, results):
    pictures.save(target, result[:height, :width])
  return [target for target, _, _ in batch]
