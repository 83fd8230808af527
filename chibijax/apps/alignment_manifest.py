"""The manifest of aligned faces: what was made of which photo, line by line.

Each line is JSON: `source` (the photo, absolute), `bytes` and `modified` of
its file, `sha256`, `status`, `reason` (why nothing was made, or ""), `outputs`
(below the folder), `face` of `faces` in the photo, `detail` (the fields of
`chibijax.faces.Face`, in pixels of the photo times `scale`), `settings` and
`version`. A photo's lines are written by one call, and counted: what a kill
cut short is dropped when the file is read.
"""

import hashlib
import json
import os
import pathlib
from types import TracebackType
from typing import Any

from chibijax import __version__
from chibijax.core import workdir
from chibijax.errors import UserError

NAME = "manifest.jsonl"


class Manifest:
  """What is known of the photos, and the file that says it.

  Attributes:
    path: the file.
  """

  def __init__(
    self,
    folder: pathlib.Path,
    settings: dict[str, Any],
    *,
    overwrite: bool = False,
  ) -> None:
    """Reads what there is.

    Args:
      folder: of the results; made when there is none.
      settings: of this run, JSON-able.
      overwrite: whether all that the manifest names is deleted.

    Raises:
      UserError: if the folder cannot be used, or holds faces of other
        settings.
    """
    self.path = folder / NAME
    self._folder = folder
    self._settings = settings
    self._file: Any = None
    self._photos: dict[str, list[dict[str, Any]]] = {}
    try:
      folder.mkdir(parents=True, exist_ok=True)
      self._photos = _whole(_read(self.path))
      if overwrite:
        self._delete()
      self._check()
      workdir.write_text(self.path, _text(self.records()))
    except OSError as error:
      raise UserError(
        f"{folder} cannot be written ({error.strerror or error})."
      ) from error
    self._used = {
      name.casefold(): source
      for source, lines in self._photos.items()
      for line in lines
      for name in line["outputs"]
    }

  def __enter__(self) -> "Manifest":
    """Opens the file for more lines."""
    self._file = self.path.open("ab", buffering=0)
    return self

  def __exit__(
    self,
    kind: type[BaseException] | None,
    error: BaseException | None,
    trace: TracebackType | None,
  ) -> None:
    """Closes the file; lines of changed photos are left once."""
    self._file.close()
    workdir.write_text(self.path, _text(self.records()))

  def known(self, source: pathlib.Path) -> list[dict[str, Any]] | None:
    """The lines of a photo that is done: unchanged, all pictures there.

    Args:
      source: the photo.

    Returns:
      Its lines, or None when it must be made.
    """
    lines = self._photos.get(_key(source))
    if lines is None:
      return None
    outputs = [name for line in lines for name in line["outputs"]]
    try:
      stat = source.stat()
      same = lines[0]["bytes"] == stat.st_size and (
        lines[0]["modified"] == stat.st_mtime_ns
        or lines[0]["sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
      )
    except OSError:
      return None
    there = all((self._folder / name).is_file() for name in outputs)
    return lines if same and there else None

  def lines(self, source: pathlib.Path) -> list[dict[str, Any]]:
    """The lines of a photo, whether it is done or not; [] when unknown."""
    return self._photos.get(_key(source), [])

  def drop(self, source: pathlib.Path) -> None:
    """Forgets a photo and deletes its pictures, inside the folder only."""
    for line in self._photos.pop(_key(source), []):
      for name in line["outputs"]:
        self._unlink(name)
        self._used.pop(name.casefold(), None)

  def free(self, target: pathlib.Path, source: pathlib.Path) -> pathlib.Path:
    """A name for a photo's picture that no other photo's has.

    Args:
      target: the name it would have.
      source: the photo.

    Returns:
      The name, numbered if it must be.
    """
    name, count = target, 1
    while self._used.get(self._relative(name).casefold(), _key(source)) != _key(
      source
    ):
      count += 1
      name = target.with_name(f"{target.stem}-{count}{target.suffix}")
    self._used[self._relative(name).casefold()] = _key(source)
    return name

  def append(self, source: pathlib.Path, lines: list[dict[str, Any]]) -> None:
    """Writes a photo's lines, and completes them.

    Args:
      source: the photo.
      lines: at least one.
    """
    try:
      stat = source.stat()
      size, modified = stat.st_size, stat.st_mtime_ns
    except OSError:
      size, modified = -1, -1
    for position, line in enumerate(lines):
      line["outputs"] = [
        self._relative(pathlib.Path(name)) for name in line["outputs"]
      ]
      line |= {"source": _key(source), "bytes": size, "modified": modified}
      line |= {"line": position, "lines": len(lines)}
      line |= {"settings": self._settings, "version": __version__}
      line.setdefault("sha256", "")
    self._photos[_key(source)] = lines
    self._file.write(_text(lines).encode("utf-8"))
    os.fsync(self._file.fileno())

  def records(self) -> list[dict[str, Any]]:
    """All lines, photo by photo."""
    return [line for lines in self._photos.values() for line in lines]

  def _relative(self, path: pathlib.Path) -> str:
    return path.relative_to(self._folder).as_posix()

  def _check(self) -> None:
    for line in self.records():
      for name, value in self._settings.items():
        if line["settings"].get(name) != value:
          raise UserError(
            f"{self._folder} holds pictures made with {name} "
            f"{line['settings'].get(name)!r}, and now it is {value!r}; choose "
            "another folder, or --overwrite."
          )

  def _delete(self) -> None:
    """Deletes what the manifest names, inside the folder only."""
    for line in self.records():
      for name in line["outputs"]:
        self._unlink(name)
    self._photos = {}

  def _unlink(self, name: str) -> None:
    path = (self._folder / name).resolve()
    if self._folder.resolve() in path.parents and path.suffix == ".png":
      path.unlink(missing_ok=True)


def _key(source: pathlib.Path) -> str:
  return os.fspath(source.absolute())


def _text(lines: list[dict[str, Any]]) -> str:
  dumps = [json.dumps(line, ensure_ascii=False) + "\n" for line in lines]
  # A file name that is no Unicode has surrogates, which UTF-8 has not.
  return "".join(dumps).encode("utf-8", "backslashreplace").decode("utf-8")


def _read(path: pathlib.Path) -> list[dict[str, Any]]:
  """The lines that are whole; a kill may have cut the last one."""
  if not path.is_file():
    return []
  lines = []
  for text in path.read_bytes().splitlines():
    try:
      line = json.loads(text)
    except ValueError:
      continue
    if isinstance(line, dict) and {"source", "line", "lines", "outputs"} <= set(
      line
    ):
      lines.append(line)
  return lines


def _whole(lines: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
  """The photos all of whose lines are there, the last writing of each."""
  photos: dict[str, list[dict[str, Any]]] = {}
  for line in lines:
    if line["line"] == 0:
      photos[line["source"]] = []
    if line["source"] in photos:
      photos[line["source"]].append(line)
  return {k: v for k, v in photos.items() if len(v) == v[0]["lines"]}
