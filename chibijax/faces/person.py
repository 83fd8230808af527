"""What a photo tells of a person's looks, in plain words and numbers.

Colours are sRGB hex. Words are those of the artist's attributes where it has
them. "Left" and "right" are the viewer's. Nothing here identifies anyone: no
embedding is computed, and no sex, age or origin is guessed.
"""

import dataclasses
from typing import Any

HAIR_LENGTHS = ("bald", "short", "medium", "long")
GLASSES = ("none", "glasses", "sunglasses")
BEARDS = ("none", "stubble", "moustache", "goatee", "full_beard")
MOUTHS = ("neutral", "smile", "grin", "open")
HEADWEAR = ("none", "hat", "scarf")


@dataclasses.dataclass(frozen=True)
class Person:
  """The looks of one face's owner.

  Attributes:
    skin: typical colour of the lit skin.
    hair: typical colour of the hair; None of a bald or covered head.
    brows: colour of the eyebrows.
    clothes: colour below the chin; None where the photo does not show it.
    background: typical colour around the head.
    hair_length: a word of `HAIR_LENGTHS`: short ends above the jaw line, medium
      on the neck, long below it.
    hair_volume: how far hair stands off the skull, 0 flat to 1 an afro.
    hair_texture: 0 straight to 1 curly.
    fringe: share of the forehead that hair covers, 0..1.
    parting: where the fringe divides, -1 viewer's left to 1 right; 0 nowhere.
    glasses: a word of `GLASSES`.
    beard: a word of `BEARDS`.
    beard_color: None without a beard.
    mouth: a word of `MOUTHS`.
    headwear: a word of `HEADWEAR`.
    headwear_color: None without headwear.
    gaze: where the eyes look, (right, down) in -1..1 of their range.
    pose: yaw, pitch and roll in degrees, see `chibijax.faces.face`.
    face_width: width over height of the face, against the mean, -1..1.
    eye_size, nose_size, mouth_width, brow_height: against the mean, -1..1; 0
      where nothing measured them.
    confidence: how sure each word is, 0..1, by the name of its field.
  """

  skin: str
  hair: str | None
  brows: str
  clothes: str | None
  background: str
  hair_length: str = "short"
  hair_volume: float = 0.3
  hair_texture: float = 0.0
  fringe: float = 0.0
  parting: float = 0.0
  glasses: str = "none"
  beard: str = "none"
  beard_color: str | None = None
  mouth: str = "neutral"
  headwear: str = "none"
  headwear_color: str | None = None
  gaze: tuple[float, float] = (0.0, 0.0)
  pose: tuple[float, float, float] = (0.0, 0.0, 0.0)
  face_width: float = 0.0
  eye_size: float = 0.0
  nose_size: float = 0.0
  mouth_width: float = 0.0
  brow_height: float = 0.0
  confidence: dict[str, float] = dataclasses.field(default_factory=dict)

  def __post_init__(self) -> None:
    words = {
      "hair_length": HAIR_LENGTHS,
      "glasses": GLASSES,
      "beard": BEARDS,
      "mouth": MOUTHS,
      "headwear": HEADWEAR,
    }
    for name, allowed in words.items():
      if getattr(self, name) not in allowed:
        raise ValueError(
          f"{name} must be one of {', '.join(allowed)}; "
          f"got {getattr(self, name)!r}"
        )

  def to_dict(self) -> dict[str, Any]:
    """The fields as JSON-able values."""
    return dataclasses.asdict(self)
