"""Which photos a command is about: files, folders and patterns made a list."""

import collections
import dataclasses
import glob
import os
import pathlib
from collections.abc import Iterable, Sequence

from chibijax.data.images import SUFFIXES
from chibijax.errors import UserError

STDIN = pathlib.Path("-")


@dataclasses.dataclass(frozen=True)
class Found:
  """One photo.

  Attributes:
    path: where it is.
    relative: its place below the folder that was given, or its name.
  """

  path: pathlib.Path
  relative: pathlib.PurePath


def expand(
  names: Iterable[str | os.PathLike[str]],
  *,
  exclude: pathlib.Path | None = None,
) -> list[pathlib.Path]:
  """Lists the photos that are meant.

  Args:
    names: as for `find`.
    exclude: as for `find`.

  Returns:
    The files.

  Raises:
    UserError: as for `find`.
  """
  return [one.path for one in find(names, exclude=exclude)]


def find(
  names: Iterable[str | os.PathLike[str]],
  *,
  exclude: pathlib.Path | None = None,
) -> list[Found]:
  """Lists the photos that are meant, and their places.

  Args:
    names: files; folders, which are searched with their subfolders; patterns
      with "*", "?", "[...]" and "**"; and "-", the standard input. A file that
      is named is taken whatever its suffix, of folders only pictures are;
      hidden files and folders are passed over.
    exclude: a folder whose files are not taken, such as that of the results.

  Returns:
    Each photo once, in the order of the names, and of a folder or pattern in
    the order of their own.

  Raises:
    UserError: if a name stands for nothing, or for nothing but other files.
  """
  own = None if exclude is None else exclude.resolve()
  found: dict[pathlib.Path, Found] = {}
  for name in names:
    for one in _find_one(os.fspath(name), own):
      found.setdefault(one.path.resolve() if one.path != STDIN else STDIN, one)
  if not found:
    raise UserError("no photo was named; expected files, folders or patterns.")
  return list(found.values())


def targets(
  found: Sequence[Found], out: pathlib.Path, suffix: str = ".png"
) -> list[pathlib.Path]:
  """Where each photo's picture goes: the photos' tree, mirrored.

  Args:
    found: from `find`.
    out: the folder of the results.
    suffix: of the results.

  Returns:
    One name for each photo, all different: photos that differ in their suffix
    only (`a.jpg`, `a.png`) keep it (`a.jpg.png`, `a.png.png`), and those of
    one place in several folders are numbered.
  """
  stems = collections.Counter(
    _folded(one.relative.with_suffix("")) for one in found
  )
  used: set[str] = set()
  names = []
  for one in found:
    alone = stems[_folded(one.relative.with_suffix(""))] == 1
    end = suffix if alone else f"{one.relative.suffix}{suffix}"
    base = one.relative.with_suffix("")
    if one.path == STDIN:
      base = pathlib.PurePath("stdin")
    name, count = f"{base}{end}", 1
    while _folded(name) in used:
      count += 1
      name = f"{base}-{count}{end}"
    used.add(_folded(name))
    names.append(out / name)
  return names


def _folded(name: str | os.PathLike[str]) -> str:
  """A name as file systems compare it that ignore its case."""
  return os.fspath(name).casefold()


def _find_one(name: str, own: pathlib.Path | None) -> list[Found]:
  path = pathlib.Path(name)
  if path == STDIN:
    return [Found(path, path)]
  if name.partition("://")[0] in ("http", "https", "ftp"):
    raise UserError(
      f"{name} is a web address; save the photo and give its file name."
    )
  path = path.expanduser()
  if path.is_dir():
    return _in_folder(path, own)
  if path.exists():
    return [Found(path, pathlib.PurePath(path.name))]
  if not glob.has_magic(name):
    raise UserError(f"{name} does not exist.")
  matches = sorted(glob.glob(str(path), recursive=True))
  found = []
  for match in map(pathlib.Path, matches):
    if match.is_dir():
      continue  # `photos/*` means the photos there, as in a shell's loop.
    if match.suffix.lower() in SUFFIXES and not _is_below(match, own):
      found.append(Found(match, pathlib.PurePath(match.name)))
  if not found:
    raise UserError(f"no photo matches {name}.")
  return found


def _in_folder(folder: pathlib.Path, own: pathlib.Path | None) -> list[Found]:
  found = []
  for path in sorted(folder.rglob("*")):
    relative = path.relative_to(folder)
    hidden = any(part.startswith(".") for part in relative.parts)
    if (
      path.suffix.lower() in SUFFIXES
      and not hidden
      and "__MACOSX" not in relative.parts
      and path.is_file()
      and not _is_below(path, own)
    ):
      found.append(Found(path, relative))
  if not found:
    raise UserError(f"{folder} holds no photos.")
  return found


def _is_below(path: pathlib.Path, own: pathlib.Path | None) -> bool:
  return own is not None and own in path.resolve().parents
