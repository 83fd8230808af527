"""Pictures that say how they were made, and reading that back.

Three layers, each outliving the one before it:

1. Content credentials: a signed C2PA manifest, where `c2pa-python` is installed
   (see `chibijax.apps.credentials` for whose signature it is). Any change of
   the file breaks it; re-saving in most programs removes it.
2. Text: XMP (IPTC digital source type, creator tool, rights) in PNG, JPEG and
   WebP, and PNG text. Not signed. In a PNG it holds the SHA-256 of the
   picture's own pixels, which shows changes by people who mean no harm.
3. An invisible mark (`chibijax.post.watermark`): format, style and 11 bits of
   the model's hash. It survives re-saving, JPEG and resizing.

What is recorded is a `Record` and nothing else; nothing is sent anywhere.
"""

import dataclasses
import io
import json
import os
import pathlib
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from chibijax.apps import credentials, picture_text, pictures
from chibijax.apps.credentials import Credentials
from chibijax.apps.record import (
  TERMS,
  WORDS,
  Record,
  mark_sentences,
  sentences,
)
from chibijax.data import images
from chibijax.errors import UserError
from chibijax.post import watermark
from chibijax.post.watermark import Watermark

__all__ = [
  "Inspection",
  "Record",
  "Written",
  "announce",
  "drops",
  "encode",
  "read",
  "write",
]


@dataclasses.dataclass(frozen=True)
class Written:
  """What `write` put into a file.

  Attributes:
    path: the file.
    marked: whether it carries the invisible mark, and it could be read back.
    text: whether it carries XMP or PNG text.
    signed: who signed it; "" when nobody did.
  """

  path: pathlib.Path
  marked: bool = False
  text: bool = False
  signed: str = ""


@dataclasses.dataclass(frozen=True)
class Inspection:
  """What `read` found in a file.

  Attributes:
    path: the file.
    format: "PNG", "JPEG", "WEBP" or another that can be read.
    size: width and height in pixels.
    credentials: of the signed manifest.
    text: XMP and text fields of ours, by name.
    record: how the picture was made: from the manifest if it is intact, else
      from the text, as `Record.to_dict`; None without either.
    pixels_match: whether the pixels are those that the text speaks of; None
      when it does not say.
    mark: the invisible mark.
  """

  path: pathlib.Path
  format: str
  size: tuple[int, int]
  credentials: Credentials
  text: dict[str, str]
  record: dict[str, Any] | None
  pixels_match: bool | None
  mark: Watermark

  @property
  def verdict(self) -> str:
    """In one word.

    "intact": signed and unchanged. "tampered": changed after it was signed, or
    after the text was written. "unsigned": text only, and nothing speaks
    against it. "removed": made by chibijax, as the mark shows, but what said
    so was removed. "unknown": nothing was found.
    """
    if self.credentials.state in ("trusted", "untrusted"):
      return "intact"
    if self.credentials.state == "tampered" or self.pixels_match is False:
      return "tampered"
    if self.record is not None:
      return "unsigned"
    return "removed" if self.mark.found else "unknown"

  def describe(self) -> list[str]:
    """The findings in sentences, the most important first."""
    return _describe(self)

  def to_dict(self) -> dict[str, Any]:
    """JSON-able values."""
    return {
      "path": str(self.path),
      "format": self.format,
      "size": list(self.size),
      "verdict": self.verdict,
      "credentials": dataclasses.asdict(self.credentials),
      "text": self.text,
      "record": self.record,
      "pixels_match": self.pixels_match,
      "mark": dataclasses.asdict(self.mark),
    }


def drops() -> str:
  """What is left out without provenance, in one sentence."""
  return (
    "Without provenance the pictures carry no content credentials, no text that"
    " they were made by software, no statement of consent and no invisible"
    " mark: nobody can tell later how they were made."
  )


def announce(record: Record, *, enabled: bool = True) -> str:
  """What `write` will put into pictures, or leave out, in one sentence."""
  if not enabled:
    return drops()
  source = WORDS[record.source_type.removeprefix(TERMS)]
  if credentials.available():
    signed = f"content credentials signed by {credentials.signer_name()}"
  else:
    signed = "no signature, which needs c2pa-python"
  return (
    f"The pictures say what they are ({source}): {signed}, text, and an"
    " invisible mark."
  )


def write(
  path: str | os.PathLike[str],
  image: UInt8[np.ndarray, "height width channels"],
  record: Record,
  *,
  enabled: bool = True,
  quality: int = 92,
) -> Written:
  """Writes a picture file that says how it was made.

  Args:
    path: a .png, .jpg, .jpeg or .webp name; folders above it are made.
    image: uint8 sRGB of 3 or, straight alpha, 4 channels. A JPEG has white
      where the picture is transparent.
    record: what to say.
    enabled: False writes the picture alone, see `drops`.
    quality: of JPEG and WebP, 1..100.

  Returns:
    What was put into the file.

  Raises:
    UserError: if the name has another suffix, the file cannot be written, or
      the user's own certificate cannot be used.
  """
  path = pathlib.Path(path)
  form = pictures.form_of(path)
  written = Written(path)
  if not enabled:
    data = pictures.encode(image, form, quality=quality)
  else:
    data, marked = _encoded(image, form, record, quality)
    signed = ""
    if credentials.available():
      data = credentials.sign(data, f"image/{form.lower()}", _manifest(record))
      signed = credentials.signer_name()
    written = Written(path, marked, text=True, signed=signed)
  pictures.write(path, data)
  return written


def encode(
  image: UInt8[np.ndarray, "height width channels"],
  form: str,
  record: Record,
  *,
  quality: int = 92,
) -> bytes:
  """A picture file with mark and text, but unsigned: the same every time.

  Args:
    image: see `write`.
    form: "PNG", "JPEG" or "WEBP".
    record: what to say.
    quality: of JPEG and WebP, 1..100.

  Returns:
    The file's bytes.
  """
  return _encoded(image, form, record, quality)[0]


def read(path: str | os.PathLike[str], *, search: bool = True) -> Inspection:
  """Reads what a picture file says of itself, and checks it.

  Args:
    path: a picture file of any origin.
    search: also look for the mark in a cropped copy, see `watermark.detect`.

  Returns:
    What was found.

  Raises:
    UserError: if the file cannot be read as a picture.
  """
  path = pathlib.Path(path)
  try:
    data = path.read_bytes()
  except OSError as error:
    raise UserError(f"{path} cannot be read: {error}.") from error
  if not data:
    raise images.ImageError("empty", str(path))
  file = io.BytesIO(data)
  file.name = str(path)
  pixels = images.READER.read_rgba(file)
  with Image.open(io.BytesIO(data)) as picture:
    form = picture.format or ""
    text = picture_text.read(picture)
  signed = credentials.check(data, f"image/{form.lower()}")
  told = picture_text.parse(text.pop(picture_text.LABEL, ""))
  match = None
  if told is not None and "pixels_sha256" in told:
    match = told.pop("pixels_sha256") == picture_text.pixels_hash(pixels)
  record = told
  if signed.state in ("trusted", "untrusted"):
    inside = signed.assertions.get(picture_text.LABEL)
    record = inside if isinstance(inside, dict) else told
  height, width = pixels.shape[:2]
  mark = Watermark(False, None, 1.0, 0.5)
  if min(height, width) >= watermark.MIN_READ:
    mark = watermark.detect(pixels, search=search)
  return Inspection(
    path=path,
    format=form,
    size=(width, height),
    credentials=signed,
    text=text,
    record=record,
    pixels_match=match,
    mark=mark,
  )


def _encoded(
  image: UInt8[np.ndarray, "height width channels"],
  form: str,
  record: Record,
  quality: int,
) -> tuple[bytes, bool]:
  """The file without signature, and whether it carries the mark."""
  if form == "JPEG":
    image = pictures.flatten(image)
  marked = False
  if min(image.shape[:2]) >= watermark.MIN_SIDE:
    trial = watermark.embed(image, record.payload)
    # There is no room for a mark in a picture that is almost all transparent.
    marked = watermark.detect(trial).payload == record.payload
    image = trial if marked else image
  values = record.to_dict() | {"signed": credentials.available()}
  if form == "PNG":
    values["pixels_sha256"] = picture_text.pixels_hash(image)
  told = picture_text.metadata(record, json.dumps(values))
  data = pictures.encode(image, form, quality=quality, metadata=told)
  return data, marked


def _manifest(record: Record) -> dict[str, Any]:
  """The C2PA manifest definition."""
  name, _, version = record.software.partition(" ")
  action = {
    "action": "c2pa.created",
    "digitalSourceType": record.source_type,
    "softwareAgent": {"name": name, "version": version},
    "description": record.sentence(),
  }
  if record.created:
    action["when"] = record.created
  return {
    "claim_generator_info": [{"name": name, "version": version}],
    "title": "avatar",
    "assertions": [
      {"label": "c2pa.actions.v2", "data": {"actions": [action]}},
      {"label": picture_text.LABEL, "data": record.to_dict(), "kind": "Json"},
    ],
  }


def _describe(found: Inspection) -> list[str]:
  """See `Inspection.describe`."""
  return [
    *_verdict_sentences(found),
    *(sentences(found.record) if found.record else ()),
    *mark_sentences(found.mark, found.record),
  ]


def _verdict_sentences(found: Inspection) -> list[str]:
  state = found.credentials.state
  lost = " Its signed credentials were removed."
  signed = bool((found.record or {}).get("signed")) and state == "none"
  if found.verdict == "intact":
    return [
      f"Signed by {found.credentials.signer or 'someone'}:"
      f" {credentials.STATES[state]}."
    ]
  if state == "tampered":
    return [f"Tampered: {credentials.STATES[state]}."]
  if found.verdict == "tampered":
    return [
      "Tampered: the pixels are not those that its text speaks of."
      + lost * signed
    ]
  if found.verdict == "unsigned":
    said = "Its text says how it was made; nobody signed that."
    if state != "none":
      said = f"In the file {credentials.STATES[state]}."
    return [said + lost * signed]
  if found.verdict == "removed":
    return ["It was made by chibijax; its credentials were removed."]
  return [f"Nothing says how it was made: {credentials.STATES[state]}."]
