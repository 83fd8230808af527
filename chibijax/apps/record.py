"""What is recorded of a picture's making, and how to say it.

Nothing of the photo is recorded, no embedding, no landmark and no name, unless
the caller gives the photo's hash. The statement of consent is a statement:
nobody checks it.
"""

import dataclasses
import datetime
import hashlib
from typing import Any

from chibijax import __version__
from chibijax.post.watermark import Watermark

STYLES = ("drawn", "toon", "model", "photo")
TERMS = "http://cv.iptc.org/newscodes/digitalsourcetype/"
# IPTC's digital source types, by style: drawn by code that learned nothing; a
# photo whose content an algorithm altered; made by a trained network; a photo
# with drawn parts. The second column is for avatars in a photo.
_SOURCES = {
  "drawn": ("algorithmicMedia", "compositeSynthetic"),
  "toon": ("algorithmicallyEnhanced", "compositeSynthetic"),
  "model": ("trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia"),
  "photo": ("compositeSynthetic", "compositeSynthetic"),
}
WORDS = {
  "algorithmicMedia": "drawn by software that was not trained on pictures",
  "algorithmicallyEnhanced": "a photo altered by software",
  "trainedAlgorithmicMedia": "AI-generated",
  "compositeSynthetic": "a photo with parts made by software",
  "compositeWithTrainedAlgorithmicMedia": "a photo with AI-generated parts",
}
CONSENT = {
  True: "The maker states that the photo may be used.",
  False: "The maker states that the photo may not be used.",
  None: "The maker did not state whether the photo may be used.",
}
MARK_VERSION = (
  1  # of the mark's payload: 2 bits, then 3 of the style, 11 of a hash
)


@dataclasses.dataclass(frozen=True)
class Record:
  """How a picture was made.

  Attributes:
    style: a word of `STYLES`.
    model: what made the picture, in words.
    licence: of that model; "" when it is not known.
    seed: of what was drawn by chance.
    consent: what the user states of the right to use the photo, or None.
    created: date, time and offset, ISO 8601; passed in, so that files are
      reproducible; "" leaves it out.
    composite: whether the avatar stands in the original photo.
    software: name and version of this program.
    photo_sha256: of the photo's file, only when asked for: it lets anyone who
      has the photo find out that it was used. "" leaves it out.
  """

  style: str
  model: str = ""
  licence: str = ""
  seed: int = 0
  consent: bool | None = None
  created: str = ""
  composite: bool = False
  software: str = f"chibijax {__version__}"
  photo_sha256: str = ""

  def __post_init__(self) -> None:
    if self.style not in STYLES:
      raise ValueError(
        f"style must be one of {', '.join(STYLES)}, got {self.style!r}."
      )
    if (
      self.created and not datetime.datetime.fromisoformat(self.created).tzinfo
    ):
      raise ValueError(f"created needs an offset, got {self.created!r}.")

  @property
  def source_type(self) -> str:
    """IRI of IPTC's digital source type."""
    return TERMS + _SOURCES[self.style][self.composite]

  @property
  def payload(self) -> int:
    """What the invisible mark holds, 16 bits."""
    digest = hashlib.sha256(f"{self.style}\n{self.model}".encode()).digest()
    kind = STYLES.index(self.style) + 1
    return MARK_VERSION << 14 | kind << 11 | int.from_bytes(digest[:2]) >> 5

  def to_dict(self) -> dict[str, Any]:
    """JSON-able values; empty texts are left out."""
    values = dataclasses.asdict(self)
    kept = {k: v for k, v in values.items() if v != ""}
    return kept | {"digital_source_type": self.source_type}

  def sentence(self) -> str:
    """What made the picture, in one sentence."""
    words = WORDS[self.source_type.removeprefix(TERMS)]
    by = f" by {self.model}" if self.model else ""
    licence = f" ({self.licence})" if self.licence else ""
    return f"Made with {self.software}{by}{licence}: {words}."


def sentences(record: dict[str, Any]) -> list[str]:
  """Tells what a record says that was read from a file.

  Args:
    record: as `Record.to_dict` has it, but of any origin.

  Returns:
    Sentences.
  """
  source = str(record.get("digital_source_type", "")).removeprefix(TERMS)
  consent = record.get("consent")
  said = [
    f"Made with {record.get('software', 'an unnamed program')}"
    f" by {record.get('model') or 'an unnamed model'}, style"
    f" {record.get('style', 'unknown')!r}: {WORDS.get(source, source)}.",
    CONSENT[consent if isinstance(consent, bool) else None],
  ]
  if record.get("created"):
    said.append(f"Created {record['created']}.")
  return said


def mark_sentences(mark: Watermark, record: dict[str, Any] | None) -> list[str]:
  """Tells what an invisible mark says, and whether a record contradicts it."""
  if mark.payload is None:
    return ["No invisible mark was found."]
  version, kind = mark.payload >> 14, mark.payload >> 11 & 7
  if version != MARK_VERSION or not 1 <= kind <= len(STYLES):
    return ["There is an invisible mark of another version of chibijax."]
  said = (
    f"The invisible mark says: chibijax, style {STYLES[kind - 1]!r}"
    f" ({mark.agreement:.0%} of it agrees)."
  )
  if mark.kept != (1.0, 1.0):
    across, down = mark.kept
    said += f" The picture was cropped to {across:.0%} x {down:.0%}."
  if record is not None and record.get("style") != STYLES[kind - 1]:
    said += " That contradicts what the file says of itself."
  return [said]
