"""Films: MP4 by PyAV, GIF by Pillow, or a folder of PNGs.

Frames are uint8 sRGB [h, w, 3] of one size. A film is there whole or not at
all: it is written under another name, which is changed at the end.
"""

import contextlib
import fractions
import importlib
import io
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from chibijax.apps import pictures
from chibijax.errors import UserError

MOVIES = (".mp4", ".mov", ".mkv", ".webm")
Frame = UInt8[np.ndarray, "h w 3"]
# The first that PyAV was built with: H.264, or its predecessor.
_CODECS = ("libx264", "libopenh264", "h264_videotoolbox", "mpeg4")
_WEB_CODECS = ("libvpx-vp9", "libvpx")
# Of x264: no difference that one sees at this size.
_QUALITY = "16"
_GIF_COLORS = 255


def check_name(out: pathlib.Path) -> str:
  """Tells what a name stands for.

  Args:
    out: the name of a film.

  Returns:
    "movie", "gif" or "folder".

  Raises:
    UserError: for another suffix, or a movie without PyAV.
  """
  suffix = out.suffix.lower()
  if suffix == ".gif":
    return "gif"
  if suffix in MOVIES:
    _av()
    return "movie"
  if suffix and not out.is_dir():
    raise UserError(
      f"{out} is not a film's name, expected one of {', '.join(MOVIES)}, .gif "
      "or a folder."
    )
  if out.is_file():
    raise UserError(f"{out} is a file; for pictures give a folder.")
  return "folder"


def write(
  out: pathlib.Path,
  frames: Iterable[Frame],
  fps: float | int,
  *,
  about: str = "",
) -> int:
  """Writes a film.

  Args:
    out: NAME.mp4, NAME.gif or a folder, which is made; of a folder the frames
      are 00000.png and so on.
    frames: at least one; taken one by one.
    fps: frames per second; a GIF's frames last whole hundredths of a second.
    about: what the file says of itself.

  Returns:
    The number of frames.

  Raises:
    UserError: if the name is none of a film, there are no frames, or it cannot
      be written.
  """
  kind = check_name(out)
  writers = {"movie": _write_movie, "gif": _write_gif, "folder": _write_folder}
  try:
    out.parent.mkdir(parents=True, exist_ok=True)
    count = writers[kind](out, frames, fps, about)
  except OSError as error:
    raise UserError(
      f"{out} cannot be written ({error.strerror or error})."
    ) from error
  if not count:
    raise UserError(f"There are no frames for {out}.")
  return count


def _write_movie(
  out: pathlib.Path, frames: Iterable[Frame], fps: float | int, about: str
) -> int:
  av = _av()
  codecs = _WEB_CODECS if out.suffix.lower() == ".webm" else _CODECS
  codec = next((c for c in codecs if c in av.codecs_available), None)
  if codec is None:
    raise UserError(f"PyAV was built without a codec for {out.name}.")
  unfinished = out.with_name(f".{out.stem}.part{out.suffix}")
  count = 0
  try:
    with av.open(str(unfinished), "w") as container:
      container.metadata["comment"] = about
      stream: Any = None
      for frame in frames:
        frame = _even(np.asarray(frame))
        if stream is None:
          stream = container.add_stream(codec, rate=_rate(fps))
          stream.height, stream.width = frame.shape[:2]
          stream.pix_fmt = "yuv420p"
          if codec == "libx264":
            # One thread: the same bytes on every machine.
            stream.options = {"crf": _QUALITY, "threads": "1"}
          else:
            stream.bit_rate = 8 * frame.shape[0] * frame.shape[1] * 25 // 8
        picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
        container.mux(stream.encode(picture))
        count += 1
      if stream is not None:
        container.mux(stream.encode())
    if count:
      unfinished.replace(out)
  except av.FFmpegError as error:
    raise UserError(f"{out} cannot be written ({error}).") from error
  finally:
    unfinished.unlink(missing_ok=True)
  return count


def _write_gif(
  out: pathlib.Path, frames: Iterable[Frame], fps: float | int, about: str
) -> int:
  made = [Image.fromarray(np.asarray(x)).quantize(_GIF_COLORS) for x in frames]
  if made:
    stream = io.BytesIO()
    made[0].save(
      stream, "GIF", save_all=True, append_images=made[1:], loop=0,
      duration=max(10 * round(100 / fps), 20), comment=about.encode(),
    )  # fmt: skip
    pictures.write(out, stream.getvalue())
  return len(made)


def _write_folder(
  out: pathlib.Path, frames: Iterable[Frame], fps: float | int, about: str
) -> int:
  del fps
  told = pictures.Metadata(text={"Comment": about} if about else {})
  count = 0
  for count, frame in enumerate(frames, 1):
    name = out / f"{count - 1:05d}.png"
    pictures.save(name, np.asarray(frame), metadata=told)
  return count


def _even(frame: Frame) -> UInt8[np.ndarray, "even wide 3"]:
  """Repeats the last row and column of odd sizes: colours are of 2 x 2."""
  height, width = frame.shape[:2]
  return np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def _rate(fps: float | int) -> Any:
  """Frames per second as a fraction."""
  return fractions.Fraction(fps).limit_denominator(1001)


def _av() -> Any:
  try:
    return importlib.import_module("av")
  except ImportError as error:
    raise UserError(
      "Videos need PyAV: pip install 'chibijax[avatar]'; a .gif or a folder "
      "of pictures needs nothing."
    ) from error


@contextlib.contextmanager
def _opened(path: pathlib.Path) -> Iterator[Any]:
  av = _av()
  try:
    with av.open(str(path)) as container:
      yield container
  except (av.FFmpegError, OSError) as error:
    raise UserError(
      f"{path} cannot be read as a video ({error.strerror or error})."
    ) from error


def read(path: pathlib.Path) -> tuple[Iterator[Frame], float, int]:
  """Opens a video.

  Args:
    path: any that FFmpeg reads.

  Returns:
    Its frames one by one, frames per second, and how many it says it has (0 if
    it does not say).

  Raises:
    UserError: if it is no video, also while frames are taken.
  """
  with _opened(path) as container:
    if not container.streams.video:
      raise UserError(f"{path} has no pictures.")
    stream = container.streams.video[0]
    fps, count = float(stream.average_rate or 25), int(stream.frames)

  def frames() -> Iterator[Frame]:
    with _opened(path) as container:
      for frame in container.decode(video=0):
        yield frame.to_ndarray(format="rgb24")

  return frames(), fps, count
