"""Weights that are not ours: downloaded when asked for, and found again.

Nothing is downloaded at import, or because something is missing: only by
`fetch`, which shows address, size, SHA-256 and licence first. Only https is
spoken, redirects included; a file that is not exactly the one in the catalogue
is thrown away.
"""

import hashlib
import http.client
import io
import os
import pathlib
import sys
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import tqdm

from chibijax import __version__
from chibijax.apps import folders
from chibijax.apps.weights_catalogue import CATALOGUE, Weights
from chibijax.core import workdir
from chibijax.errors import UserError

_BLOCK = 1 << 16
_TIMEOUT = 30.0  # seconds without a byte


def fetch(
  name: str,
  *,
  to: str | os.PathLike[str] | None = None,
  yes: bool = False,
  source: str | os.PathLike[str] | None = None,
  show: Callable[[str], None] = print,
  catalogue: Mapping[str, Weights] = CATALOGUE,
) -> pathlib.Path:
  """Downloads a file of the catalogue, checks it, and keeps it.

  Args:
    name: a key of the catalogue.
    to: file to write; None is the cache, where `find` looks.
    yes: do not ask. Without a terminal to ask at, it must be True.
    source: a file that was downloaded by other means: it is checked and copied,
      and the network stays unused.
    show: is given what is about to be downloaded.
    catalogue: what can be fetched.

  Returns:
    The file; one that is already right is kept as it is.

  Raises:
    UserError: if the name is unknown, the user does not agree, the download
      fails, what came is not the file of the catalogue, or it cannot be
      written; then nothing is left behind.
  """
  weights = _look_up(name, catalogue)
  target = _cached(name, weights) if to is None else pathlib.Path(to)
  wanted = weights.member_sha256 or weights.sha256
  if target.exists():
    if target.is_file() and _sha256(target) == wanted:
      show(f"{target} is already there.")
      return target
    if to is not None:
      raise UserError(f"{target} exists and is another file; it was kept.")
  show(weights.sentence())
  if source is None:
    _agree(yes)
  try:
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
      _get(weights, source, part)
      if weights.member:
        workdir.write_bytes(target, _member(part, weights))
      else:
        part.replace(target)
    finally:
      part.unlink(missing_ok=True)
  except OSError as error:
    raise UserError(f"{target} cannot be written: {error}.") from error
  return target


def find(
  name: str,
  path: str | os.PathLike[str] | None = None,
  *,
  catalogue: Mapping[str, Weights] = CATALOGUE,
) -> pathlib.Path | None:
  """Finds a file without downloading anything.

  Args:
    name: a key of the catalogue.
    path: a file given by the user; goes before all else.
    catalogue: what can be fetched.

  Returns:
    The file given, else the one its environment variable names, else the
    fetched one, else None.

  Raises:
    UserError: if the name is unknown, or a file that the user named is missing.
  """
  weights = _look_up(name, catalogue)
  for given, where in (
    (path, "was given"),
    (os.environ.get(weights.variable), f"is named in {weights.variable}"),
  ):
    if given:
      if not pathlib.Path(given).is_file():
        raise UserError(f"{given}, which {where}, is missing.")
      return pathlib.Path(given)
  cached = _cached(name, weights)
  return cached if cached.is_file() else None


def describe(catalogue: Mapping[str, Weights] = CATALOGUE) -> list[str]:
  """What can be fetched, a line each, and what is already there."""
  lines = []
  for name, weights in catalogue.items():
    state = "fetched" if _cached(name, weights).is_file() else "not fetched"
    lines.append(f"{name} ({state}): {weights.sentence()}")
  return lines


def _look_up(name: str, catalogue: Mapping[str, Weights]) -> Weights:
  if name not in catalogue:
    raise UserError(
      f"{name!r} cannot be fetched; expected one of {', '.join(catalogue)}."
    )
  return catalogue[name]


def _cached(name: str, weights: Weights) -> pathlib.Path:
  return folders.cache() / "weights" / name / weights.file


def _agree(yes: bool) -> None:
  if yes:
    return
  if not sys.stdin or not sys.stdin.isatty():
    raise UserError("nobody is here to ask; say --yes to download it.")
  if input("Download it? [y/N] ").strip().lower() not in ("y", "yes"):
    raise UserError("nothing was downloaded.")


class _SecureRedirects(urllib.request.HTTPRedirectHandler):
  """Follows redirects to https only."""

  def redirect_request(
    self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
  ) -> urllib.request.Request | None:
    if urllib.parse.urlsplit(newurl).scheme != "https":
      raise UserError(f"{req.full_url} leads to {newurl}, which is not https.")
    return super().redirect_request(req, fp, code, msg, headers, newurl)


def _get(
  weights: Weights, source: str | os.PathLike[str] | None, part: pathlib.Path
) -> None:
  """Writes what the catalogue describes, and nothing else, to a new file."""
  where = weights.url if source is None else os.fspath(source)
  digest, count = hashlib.sha256(), 0
  with (
    _opened(weights, source) as stream,
    part.open("wb") as file,
    tqdm.tqdm(
      total=weights.size,
      unit="B",
      unit_scale=True,
      desc=weights.file,
      disable=None,  # no bar where nobody watches
    ) as bar,
  ):
    while block := _block(stream, where):
      count += len(block)
      if count > weights.size:
        raise UserError(
          f"{where} gives more than the {weights.size:,} bytes expected; it is"
          " another file by now."
        )
      digest.update(block)
      file.write(block)
      bar.update(len(block))
  if count < weights.size:
    raise UserError(
      f"{where} broke off after {count:,} of {weights.size:,} bytes."
    )
  _check(digest.hexdigest(), weights.sha256, where)


def _opened(
  weights: Weights, source: str | os.PathLike[str] | None
) -> io.BufferedIOBase:
  if source is not None:
    try:
      return open(source, "rb")
    except OSError as error:
      raise UserError(f"{source} cannot be read: {error}.") from error
  if urllib.parse.urlsplit(weights.url).scheme != "https":
    raise UserError(f"{weights.url} is not https.")
  request = urllib.request.Request(
    weights.url, headers={"User-Agent": f"chibijax/{__version__}"}
  )
  opener = urllib.request.build_opener(_SecureRedirects)
  try:
    return opener.open(request, timeout=_TIMEOUT)
  except urllib.error.HTTPError as error:
    error.close()
    raise UserError(
      f"{weights.url} cannot be downloaded: the server says {error.code}."
    ) from error
  except OSError as error:  # URLError is one.
    reason = getattr(error, "reason", error)
    raise UserError(f"{weights.url} cannot be downloaded: {reason}.") from error


def _block(stream: io.BufferedIOBase, where: str) -> bytes:
  try:
    return stream.read(_BLOCK)
  except (OSError, http.client.HTTPException) as error:
    raise UserError(f"{where} broke off: {error}.") from error


def _member(part: pathlib.Path, weights: Weights) -> bytes:
  # The archive's hash is known by now: this is no zip bomb.
  try:
    with zipfile.ZipFile(part) as archive:
      data = archive.read(weights.member)
  except (zipfile.BadZipFile, KeyError) as error:
    raise UserError(f"{weights.url} holds no {weights.member}.") from error
  _check(
    hashlib.sha256(data).hexdigest(), weights.member_sha256, weights.member
  )
  return data


def _check(found: str, sha256: str, what: str) -> None:
  if found != sha256:
    raise UserError(
      f"{what} is not the file that was expected: its SHA-256 is {found}, not"
      f" {sha256}; it was thrown away."
    )


def _sha256(path: pathlib.Path) -> str:
  with path.open("rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()
