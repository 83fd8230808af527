"""Files in a folder, a zip or a tar, as one thing: names and bytes.

Nothing is unpacked to disk, so a name in an archive can do no harm.
"""

import abc
import contextlib
import pathlib
import tarfile
import zipfile
from collections.abc import Callable, Iterator

from chibijax.data.image_files import MAX_BYTES
from chibijax.data.sources import DataError

_TARS = (".tar", ".tgz", ".tar.gz", ".tar.xz", ".tar.bz2")


class Files(abc.ABC):
  """The files of one folder or archive.

  Attributes:
    path: where it is.
  """

  def __init__(self, path: pathlib.Path) -> None:
    self.path = path

  @abc.abstractmethod
  def read(self, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """Reads files in one pass.

    Args:
      wanted: says by its name, with "/", whether a file is read.

    Yields:
      Name and content; files of more than 256 MiB are left out.

    Raises:
      DataError: if the archive is damaged.
    """


class Folder(Files):
  """The files below a folder, in the order of their names."""

  def read(self, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """See `Files.read`."""
    for path in sorted(self.path.rglob("*")):
      name = path.relative_to(self.path).as_posix()
      if wanted(name) and path.is_file() and path.stat().st_size <= MAX_BYTES:
        yield name, path.read_bytes()


class Zip(Files):
  """The files of a zip."""

  def read(self, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """See `Files.read`."""
    with _damage(self.path), zipfile.ZipFile(self.path) as archive:
      for info in archive.infolist():
        # The size that is claimed is the most that is read.
        if wanted(info.filename) and info.file_size <= MAX_BYTES:
          yield info.filename, archive.read(info)


class Tar(Files):
  """The files of a tar, compressed or not."""

  def read(self, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """See `Files.read`."""
    # As a stream: members can follow in any order, but none is sought.
    with _damage(self.path), tarfile.open(self.path, "r|*") as archive:
      for info in archive:
        if info.isfile() and wanted(info.name) and info.size <= MAX_BYTES:
          file = archive.extractfile(info)
          if file is not None:
            yield info.name, file.read()


def find(folder: pathlib.Path, *names: str) -> Files:
  """Finds an archive, or what it was unpacked to.

  Args:
    folder: where downloads are; its sub folders are searched as well.
    names: of archives; the first that is there is taken, or else the folder
      of that name without its suffix.

  Returns:
    Its files.

  Raises:
    DataError: if none is there.
  """
  for name in names:
    for place in (folder, *_folders(folder)):
      if (path := place / name).is_file():
        return Zip(path) if name.endswith(".zip") else Tar(path)
      if (path := place / _stem(name)).is_dir():
        return Folder(path)
  raise DataError(
    f"{folder} holds none of {', '.join(names)}, nor a folder of that name."
  )


def find_text(folder: pathlib.Path, name: str) -> pathlib.Path | None:
  """Finds a file below a folder, two folders deep; None when it is missing."""
  for place in (folder, *_folders(folder)):
    if (path := place / name).is_file():
      return path
  return None


def _folders(folder: pathlib.Path) -> Iterator[pathlib.Path]:
  """Folders one and two levels down; pictures may lie there by millions."""
  inner = sorted(path for path in folder.iterdir() if path.is_dir())
  yield from inner
  for path in inner:
    yield from sorted(deep for deep in path.iterdir() if deep.is_dir())


def _stem(name: str) -> str:
  for suffix in (".zip", *sorted(_TARS, key=len, reverse=True)):
    if name.endswith(suffix):
      return name.removesuffix(suffix)
  return name


@contextlib.contextmanager
def _damage(path: pathlib.Path) -> Iterator[None]:
  """Says which archive is damaged."""
  try:
    yield
  except (
    zipfile.BadZipFile,
    tarfile.TarError,
    EOFError,
    OSError,
    RuntimeError,
  ) as error:  # An encrypted zip is a RuntimeError.
    raise DataError(f"{path} cannot be read to its end ({error}).") from error
