"""Weights that are not ours: downloaded when asked for, and found again.

Nothing is downloaded at import, or because something is missing: only by
`fetch`, which shows address, size, SHA-256 and licence first. Only https is
spoken, redirects included; a file that is not exactly the one in the catalogue
is thrown away.

Where the entries are from: files at addresses with a commit were hashed in
copies of those repositories; SHA-256 and size of the others are published by
several users of the address, who agree (torchvision's names begin with theirs).
"""

import dataclasses
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
from chibijax.core import workdir
from chibijax.errors import UserError

_BLOCK = 1 << 16
_TIMEOUT = 30.0  # seconds without a byte
_GITHUB = "https://raw.githubusercontent.com/"


@dataclasses.dataclass(frozen=True)
class Weights:
  """A file that can be fetched.

  Attributes:
    url: its address, https.
    sha256: of what the address gives, in hex.
    size: of that, in bytes.
    licence: its licence, as SPDX has it.
    purpose: what it is used for.
    variable: environment variable that names the file.
    member: name of the wanted file, where the address gives a zip archive.
    member_sha256: of that file.
  """

  url: str
  sha256: str
  size: int
  licence: str
  purpose: str
  variable: str
  member: str = ""
  member_sha256: str = ""

  @property
  def file(self) -> str:
    """Name of the file in the cache."""
    return (
      self.member
      or pathlib.PurePosixPath(urllib.parse.urlsplit(self.url).path).name
    )

  def sentence(self) -> str:
    """Address, size, SHA-256 and licence."""
    inside = f" ({self.member} in it)" if self.member else ""
    return (
      f"{self.purpose}: {self.url}{inside}, {_megabytes(self.size)}, licence"
      f" {self.licence}, SHA-256 {self.sha256}"
    )


_LPIPS = (
  "richzhang/PerceptualSimilarity/082bb24f84c091ea94de2867d34c4544f68e0963"
  "/lpips/weights/v0.1/"
)
_BLAZEFACE = (
  "hollance/BlazeFace-PyTorch/852bfd8e3d44ed6775761105bdcead4ef389a538/"
)
CATALOGUE: dict[str, Weights] = {
  "yunet": Weights(
    url=_GITHUB + "ShiqiYu/libfacedetection.train/"
    "0047ac24afb1a50a0c6105001c89d1b5b805dbf1/onnx/yunet_n_320_320.onnx",
    sha256="81dbde155e982455488235acb8ec2dec5d647edf7cf7080d33e4abb69b93a0d2",
    size=317434,
    licence="Apache-2.0",
    purpose="YuNet face detector",
    variable="CHIBIJAX_YUNET",
  ),
  "blazeface": Weights(
    url=_GITHUB + _BLAZEFACE + "blazeface.pth",
    sha256="54ecff653feaaaf1f7d44b6aff28fd2fc50e483a4e847563b6dd261369c43ba4",
    size=420224,
    licence="Apache-2.0",
    purpose="BlazeFace face detector, for near faces",
    variable="CHIBIJAX_BLAZEFACE",
  ),
  "blazeface-back": Weights(
    url=_GITHUB + _BLAZEFACE + "blazefaceback.pth",
    sha256="e2c03bb3ae45e769eaaa0a7cc7d4f61f54a5e3fbae6367d870166702e7022b11",
    size=594825,
    licence="Apache-2.0",
    purpose="BlazeFace face detector, for far faces",
    variable="CHIBIJAX_BLAZEFACE",
  ),
  "face-mesh": Weights(
    url="https://storage.googleapis.com/mediapipe-models/face_landmarker/"
    "face_landmarker/float16/1/face_landmarker.task",
    sha256="64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff",
    size=3758596,
    licence="Apache-2.0",
    purpose="MediaPipe Face Mesh, 478 landmarks",
    variable="CHIBIJAX_FACE_MESH",
    member="face_landmarks_detector.tflite",
    member_sha256=(
      "c7d54204ce0448474c7f3fa9af494787c0965cbdd6f20fc72867e43046bd43d5"
    ),
  ),
  "lpips-alex": Weights(
    url=_GITHUB + _LPIPS + "alex.pth",
    sha256="df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
    size=6009,
    licence="BSD-2-Clause",
    purpose="LPIPS v0.1 linear heads for AlexNet",
    variable="CHIBIJAX_LPIPS_ALEX",
  ),
  "lpips-squeeze": Weights(
    url=_GITHUB + _LPIPS + "squeeze.pth",
    sha256="4a5350f23600cb79923ce65bb07cbf57dca461329894153e05a1346bd531cf76",
    size=10811,
    licence="BSD-2-Clause",
    purpose="LPIPS v0.1 linear heads for SqueezeNet",
    variable="CHIBIJAX_LPIPS_SQUEEZE",
  ),
  "lpips-vgg": Weights(
    url=_GITHUB + _LPIPS + "vgg.pth",
    sha256="a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
    size=7289,
    licence="BSD-2-Clause",
    purpose="LPIPS v0.1 linear heads for VGG16",
    variable="CHIBIJAX_LPIPS_VGG",
  ),
  "squeezenet": Weights(
    url="https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth",
    sha256="b8a52dc049b60e4b6ab68ad0df457362afab8b6304b2febdc1650a5dab4d7e7b",
    size=4958839,
    licence="BSD-3-Clause",
    purpose="SqueezeNet v1.1 of torchvision, trained on ImageNet",
    variable="CHIBIJAX_SQUEEZENET",
  ),
  "vgg16": Weights(
    url="https://download.pytorch.org/models/vgg16-397923af.pth",
    sha256="397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
    size=553433881,
    licence="BSD-3-Clause",
    purpose="VGG16 of torchvision, trained on ImageNet",
    variable="CHIBIJAX_VGG16",
  ),
  "dinov2": Weights(
    url="https://dl.fbaipublicfiles.com/dinov2/dinov2_vits14/"
    "dinov2_vits14_pretrain.pth",
    sha256="b938bf1bc15cd2ec0feacfe3a1bb553fe8ea9ca46a7e1d8d00217f29aef60cd9",
    size=88283115,
    licence="Apache-2.0",
    purpose="DINOv2 ViT-S/14",
    variable="CHIBIJAX_DINOV2",
  ),
}


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


def _megabytes(size: int) -> str:
  return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB"
