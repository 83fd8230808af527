"""Files that may be pictures: opened by what they hold, or refused.

A file is a path, "-" for the standard input, its bytes, or a binary file
object. Every problem is an `ImageError`, whatever the reader raised.

What could exhaust memory or time is checked before anything is decoded: bytes,
pixels, the passes of a progressive JPEG, and, by Pillow, the unpacked size of
text and colour profiles. Only the first of several frames is ever decoded.
"""

import contextlib
import functools
import importlib
import io
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import TypeAlias

from PIL import Image, JpegImagePlugin

from chibijax.errors import UserError

File: TypeAlias = str | os.PathLike[str] | bytes | io.IOBase

# Readers written in C or small Python; no PostScript, which starts a program.
FORMATS = "JPEG PNG WEBP GIF BMP DIB TIFF PPM TGA AVIF JPEG2000 HEIF".split()
REASONS = {
  "empty": "is an empty file",
  "unreadable": "is not a picture that can be read",
  "damaged": "is damaged or truncated",
  "huge": "takes too much memory or time to read",
  "small": "is too small",
  "float": "holds floating-point values",
}
# A JPEG that is wanted smaller is decoded smaller, so it may be larger than
# that: the cameras of telephones reach 200 megapixels. A progressive one is
# held whole even then.
MAX_JPEG_PIXELS = 260_000_000
MAX_PROGRESSIVE_PIXELS = 80_000_000
# Each pass of a progressive JPEG goes over all pixels; 10 passes are usual.
MAX_SCANNED_PIXELS = 1_500_000_000
MAX_BYTES = 2**28
# What Pillow says of text and colour profiles that unpack to too much.
_PACKED = ("MAX_TEXT_CHUNK", "MAX_TEXT_MEMORY", "Too much memory")
# Where `opened` notes for `load` by how much a JPEG shrinks.
_FACTOR = "chibijax_factor"

# `catch_warnings` is not safe in the threads that read pictures, so the filter
# is set once, here, and concerns this one class of warning only.
warnings.filterwarnings("error", category=Image.DecompressionBombWarning)
# Pillow's other warnings tell of oddities in a file that it then reads.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


class ImageError(UserError):
  """A picture cannot be used.

  Attributes:
    reason: a key of `REASONS`.
  """

  def __init__(self, reason: str, name: str, detail: str = "") -> None:
    """Makes the sentence "NAME is damaged or truncated (DETAIL)"."""
    super().__init__(reason, name, detail)  # The arguments survive pickling.
    self.reason = reason

  def __str__(self) -> str:
    _, name, detail = self.args
    tail = f" ({detail})" if detail else ""
    return f"{name} {REASONS[self.reason]}{tail}."


@contextlib.contextmanager
def opened(
  file: File,
  most: int,
  *,
  least: int = 1,
  wanted: int | None = None,
  by: Callable[[tuple[int, int]], int] = min,
) -> Iterator[Image.Image]:
  """Opens a picture, checks its size, and translates every failure.

  Args:
    file: see `File`.
    most: the most pixels that may be decoded.
    least: the least shorter side, in pixels.
    wanted: the side that is needed, in pixels; then `load` decodes a JPEG at
      1/2, 1/4 or 1/8 of its size where that keeps so many, or where there would
      be more than `most`.
    by: which side that is: `min` or `max` of width and height.

  Yields:
    The picture, to be loaded with `load`; what fails inside the block is
    translated too.

  Raises:
    ImageError: see `REASONS`.
  """
  name = name_of(file)
  reason = "unreadable"
  try:
    with _open(_source(file, name)) as picture:
      shrink = functools.partial(_factor, wanted=wanted, most=most, by=by)
      factor = _check_size(picture, name, most, least, wanted and shrink)
      picture.info[_FACTOR] = factor
      reason = "damaged"
      yield picture
  except ImageError:
    raise
  except (Image.DecompressionBombWarning, Image.DecompressionBombError) as e:
    raise ImageError("huge", name) from e
  except MemoryError as e:
    raise ImageError("huge", name, "not enough memory") from e
  except Exception as e:  # A bad file makes Pillow's parsers raise anything.
    if any(words in str(e) for words in _PACKED):
      raise ImageError("huge", name, "packed text or profile") from e
    raise ImageError(reason, name, _detail(file, e)) from e


def load(picture: Image.Image) -> None:
  """Decodes a picture that `opened` gave, at the size it chose."""
  factor = picture.info.pop(_FACTOR, 1)
  if factor > 1:
    picture.draft(None, tuple(max(n // factor, 1) for n in picture.size))
  picture.load()


def name_of(file: File) -> str:
  """A file as an error message calls it."""
  if isinstance(file, bytes):
    return "The picture"
  if isinstance(file, str | os.PathLike):
    return "The standard input" if _is_stdin(file) else os.fspath(file)
  return str(getattr(file, "name", "The picture"))


def _is_stdin(file: File) -> bool:
  return isinstance(file, str | os.PathLike) and os.fspath(file) == "-"


def read_bytes(file: File) -> bytes:
  """Reads all of a file, but no more than `MAX_BYTES`.

  Args:
    file: see `File`.

  Returns:
    What it holds.

  Raises:
    ImageError: if it cannot be read, is empty, or is too large.
  """
  name = name_of(file)
  try:
    if isinstance(file, bytes):
      data = file
    elif _is_stdin(file):
      data = sys.stdin.buffer.read(MAX_BYTES + 1)
    elif isinstance(file, str | os.PathLike):
      with open(file, "rb") as opened:
        data = opened.read(MAX_BYTES + 1)
    else:
      data = file.read(MAX_BYTES + 1)
  except (OSError, ValueError) as e:  # A name may hold a zero byte.
    raise ImageError("unreadable", name, _detail(file, e)) from e
  if len(data) > MAX_BYTES:
    raise ImageError("huge", name, f"more than {MAX_BYTES // 2**20} MiB")
  if not data:
    raise ImageError("empty", name)
  return data


def _source(file: File, name: str) -> str | os.PathLike[str] | io.IOBase:
  """What Pillow can open: a path of a file that is not empty, or a stream."""
  if isinstance(file, bytes) or _is_stdin(file):
    return io.BytesIO(read_bytes(file))
  if isinstance(file, str | os.PathLike) and os.path.isfile(file):
    size = os.path.getsize(file)
    if size == 0:
      raise ImageError("empty", name)
    if size > MAX_BYTES:
      raise ImageError("huge", name, f"more than {MAX_BYTES // 2**20} MiB")
  elif isinstance(file, str | os.PathLike) and os.path.exists(file):
    if os.path.isdir(file):
      raise IsADirectoryError(21, "Is a directory")
    return io.BytesIO(read_bytes(file))  # A pipe cannot be wound back.
  elif isinstance(file, io.IOBase) and not file.seekable():
    return io.BytesIO(read_bytes(file))
  return file


@functools.cache
def _formats() -> list[str]:
  """The formats that can be read here; registers all readers."""
  Image.init()
  for package in ("pi_heif", "pillow_heif"):
    try:
      importlib.import_module(package).register_heif_opener()
      break
    except ImportError:
      continue
  return [name for name in FORMATS if name in Image.OPEN]


def _open(source: str | os.PathLike[str] | io.IOBase) -> Image.Image:
  """Opens a picture; of the many in one file, the first."""
  if _head(source).startswith(b"\xff\xd8\xff"):
    # Not through `Image.open`, whose limit knows nothing of shrinking.
    return JpegImagePlugin.JpegImageFile(source)
  return Image.open(source, formats=_formats())


def _head(source: File) -> bytes:
  """The first bytes of a file; b"" where there is none."""
  if isinstance(source, bytes):
    return source[:16]
  if isinstance(source, str | os.PathLike):
    with open(source, "rb") as opened:
      return opened.read(16)
  start = source.tell()
  head = source.read(16)
  source.seek(start)
  return head


def _detail(file: File, error: Exception) -> str:
  """Why a picture could not be read, in a few words."""
  if isinstance(error, OSError) and error.strerror:
    return error.strerror
  with contextlib.suppress(OSError, ValueError):
    head = _head(file)
    if head[4:8] == b"ftyp":
      if head[8:12] in (b"avif", b"avis"):
        missing = "AVIF" not in _formats()
        return "AVIF needs Pillow 11.3 or newer" if missing else "AVIF"
      if "HEIF" not in _formats():
        return "HEIC needs `pip install pi-heif`"
  return type(error).__name__


def _check_size(
  picture: Image.Image,
  name: str,
  most: int,
  least: int,
  shrink: Callable[[tuple[int, int]], int] | None,
) -> int:
  """Refuses what has too few or too many pixels; by how much it shrinks."""
  width, height = picture.size
  pixels, factor, limit = width * height, 1, most
  progressive = "progressive" in picture.info
  if shrink is not None and picture.format == "JPEG":
    largest = MAX_PROGRESSIVE_PIXELS if progressive else MAX_JPEG_PIXELS
    factor = shrink(picture.size)
    limit = max(min(largest, most * factor**2), most)
  if pixels > limit:
    detail = f"{width} x {height}, at most {limit:,} pixels"
    raise ImageError("huge", name, detail)
  if min(width, height) < least:
    detail = f"{width} x {height}, at least {least} a side"
    raise ImageError("small", name, detail)
  if progressive and (scans := _scans(picture)) * pixels > MAX_SCANNED_PIXELS:
    raise ImageError("huge", name, f"{scans} progressive passes")
  return factor


def _factor(
  size: tuple[int, int],
  wanted: int,
  most: int,
  by: Callable[[tuple[int, int]], int],
) -> int:
  """By how much a JPEG shall shrink while it is decoded: 1, 2, 4 or 8."""
  width, height = size
  factor = 8
  while factor > 1 and by(size) < factor * wanted:
    factor //= 2
  while factor < 8 and width * height > most * factor**2:
    factor *= 2
  return factor


def _scans(picture: Image.Image) -> int:
  """The passes of a progressive JPEG, thumbnails included."""
  place = picture.fp.tell()
  picture.fp.seek(0)
  count = picture.fp.read().count(b"\xff\xda")
  picture.fp.seek(place)
  return count
