"""The first look at each photo of a data set: can it be read, what is it like.

OUT/.looks.jsonl keeps one line for each photo, so that a run that goes on, or
adds photos, reads only what is new or changed.
"""

import dataclasses
import functools
import json
import os
import pathlib
from collections.abc import Sequence
from concurrent import futures
from typing import Any

from tqdm import tqdm

from chibijax.apps import photos as photo_files
from chibijax.core import workdir
from chibijax.data import duplicates, images, photo
from chibijax.errors import UserError

NAME = ".looks.jsonl"
# Photos are looked at no larger than this: twice what a fingerprint needs.
_LONGEST = 256


@dataclasses.dataclass(frozen=True, eq=False)
class Look:
  """What is known of one photo without its faces.

  Attributes:
    source: its file, absolute.
    relative: its place below the folder that was given, with "/".
    bytes: of the file.
    modified: of the file, in nanoseconds.
    sha256: of its content; "" when it cannot be read.
    width: in pixels, upright.
    height: the same.
    problem: why it cannot be read, or "".
    fingerprint: what it is compared by; None when it cannot be read.
  """

  source: pathlib.Path
  relative: str
  bytes: int
  modified: int
  sha256: str
  width: int
  height: int
  problem: str
  fingerprint: duplicates.Fingerprint | None

  def to_dict(self) -> dict[str, Any]:
    """The look as JSON-able values."""
    fields = dataclasses.asdict(self) | {"source": os.fspath(self.source)}
    one = self.fingerprint
    return fields | {"fingerprint": one and one.to_dict()}

  @classmethod
  def from_dict(cls, fields: dict[str, Any]) -> "Look":
    """Reads what `to_dict` gave.

    Raises:
      ValueError, KeyError, TypeError: if it is something else.
    """
    one = fields["fingerprint"]
    return cls(
      **fields
      | {
        "source": pathlib.Path(fields["source"]),
        "fingerprint": one and duplicates.Fingerprint.from_dict(one),
      }
    )


def look_at(
  found: Sequence[photo_files.Found],
  out: pathlib.Path,
  *,
  background: images.Color = images.WHITE,
  jobs: int = 4,
  progress: bool = True,
) -> dict[pathlib.Path, Look]:
  """Looks at photos, or remembers having done so.

  Args:
    found: the photos.
    out: the folder of the results; it must be there.
    background: sRGB colour under transparent parts.
    jobs: photos at a time.
    progress: whether a bar shows speed and remaining time.

  Returns:
    Photos by their absolute path: those of earlier runs, then new ones.

  Raises:
    UserError: if the folder cannot be written.
  """
  path = out / NAME
  known = _read(path)
  todo = [one for one in found if not _unchanged(known, one)]
  work = functools.partial(_look, background=background)
  bar = tqdm(
    total=len(found),
    initial=len(found) - len(todo),
    desc="looking",
    unit="photo",
    smoothing=0.1,
    dynamic_ncols=True,
    disable=None if progress else True,
  )
  try:
    with path.open("ab", buffering=0) as file, bar:
      with futures.ThreadPoolExecutor(jobs) as pool:
        # A few thousand at a time: the pool keeps what it was given.
        for start in range(0, len(todo), 4096):
          for look in pool.map(work, todo[start : start + 4096]):
            file.write(_line(look))
            known[look.source] = look
            bar.update()
  except OSError as error:
    raise UserError(
      f"{out} cannot be written ({error.strerror or error})."
    ) from error
  for one in found:  # The same file, named through another folder.
    source = one.path.absolute()
    place = one.relative.as_posix()
    known[source] = dataclasses.replace(known[source], relative=place)
  return known


def keep(out: pathlib.Path, known: dict[pathlib.Path, Look]) -> None:
  """Writes the looks anew, each once.

  Args:
    out: the folder of the results.
    known: all that shall be remembered.
  """
  data = b"".join(_line(look) for look in known.values())
  workdir.write_bytes(out / NAME, data)


def _unchanged(known: dict[pathlib.Path, Look], one: photo_files.Found) -> bool:
  look = known.get(one.path.absolute())
  if look is None:
    return False
  try:
    stat = one.path.stat()
  except OSError:
    return False
  return (look.bytes, look.modified) == (stat.st_size, stat.st_mtime_ns)


def _look(one: photo_files.Found, background: images.Color) -> Look:
  source = one.path.absolute()
  size, modified = -1, -1
  place = one.relative.as_posix()
  try:
    stat = source.stat()
    size, modified = stat.st_size, stat.st_mtime_ns
    read = photo.read(source, longest=_LONGEST, background=background)
  except (images.ImageError, OSError) as error:
    return Look(source, place, size, modified, "", 0, 0, str(error), None)
  fingerprint = duplicates.fingerprint(read.pixels)
  return Look(
    source, place, size, modified, read.sha256, *read.size, "", fingerprint
  )


def _line(look: Look) -> bytes:
  text = json.dumps(look.to_dict(), ensure_ascii=True)
  return text.encode() + b"\n"


def _read(path: pathlib.Path) -> dict[pathlib.Path, Look]:
  """The looks of earlier runs; lines that a kill cut short are left out."""
  known = {}
  if path.is_file():
    for line in path.read_bytes().splitlines():
      try:
        look = Look.from_dict(json.loads(line))
      except (ValueError, KeyError, TypeError):
        continue
      known[look.source] = look
  return known
