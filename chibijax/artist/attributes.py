"""The description of one character, shared by the chibi and the portrait.

Every value is a plain string, integer or float, so that `to_dict` is JSON.
Angles are degrees; `yaw` > 0 turns the face to the viewer's right, `pitch` > 0
tips it up, `roll` > 0 tilts it clockwise as seen. Continuous variations are in
[-1, 1] around an average face.
"""

import dataclasses
from typing import Any

from chibijax.artist import palette

# Allowed words, field by field; the first is the plainest.
VALUES: dict[str, tuple[str, ...]] = {
  "age": ("adult", "child", "young", "senior"),
  "presentation": ("androgynous", "feminine", "masculine"),
  "face_shape": ("oval", "round", "square", "heart", "long"),
  "hair_style": (
    "crop",
    "bald",
    "buzz",
    "pixie",
    "side_part",
    "slick_back",
    "undercut",
    "spiky",
    "mohawk",
    "bob",
    "long_straight",
    "long_wavy",
    "ponytail",
    "twin_tails",
    "bun",
    "space_buns",
    "braids",
    "curly",
    "afro",
    "locs",
    "short_curls",
    "wavy_bob",
    "long_curls",
  ),
  "hair_color": tuple(palette.HAIR),
  "fringe": ("none", "straight", "side_swept", "curtain", "wispy", "choppy"),
  "eye_shape": ("round", "almond", "cat", "droopy", "hooded", "narrow"),
  "eye_color": tuple(palette.EYES),
  "brow_shape": ("soft", "straight", "arched", "thick", "thin", "angled"),
  "expression": (
    "neutral",
    "smile",
    "grin",
    "laugh",
    "surprised",
    "sad",
    "angry",
    "wink",
    "sleepy",
    "smirk",
    "kiss",
    "shy",
    "tongue",
    "worried",
    "open",
  ),
  "glasses": ("none", "round", "square", "cat_eye", "half_rim", "sunglasses"),
  "facial_hair": ("none", "stubble", "moustache", "goatee", "full_beard"),
  "headwear": (
    "none",
    "cap",
    "beanie",
    "headband",
    "bow",
    "flower",
    "crown",
    "hijab",
    "turban",
  ),
  "headwear_color": tuple(palette.CLOTHES),
  "earrings": ("none", "stud", "hoop", "drop"),
  "clothes": (
    "tshirt",
    "hoodie",
    "shirt",
    "sweater",
    "blazer",
    "dress",
    "overalls",
  ),
  "clothes_color": tuple(palette.CLOTHES),
  "accent_color": tuple(palette.CLOTHES),
  "background": ("plain", "none", "gradient", "dots", "stripes", "hearts"),
  "background_color": tuple(palette.BACKGROUND),
}

# Drawn of a measured person only: more words in the sampling would change every
# character that was ever sampled.
MEASURED: dict[str, tuple[str, ...]] = {
  "hair_style": ("short_curls", "wavy_bob", "long_curls"),
  "expression": ("open",),
}

# Allowed closed intervals of the numbers.
RANGES: dict[str, tuple[float, float]] = {
  "skin_tone": (1, 10),
  "blush": (0.0, 1.0),
  "freckles": (0.0, 1.0),
  "face_width": (-1.0, 1.0),
  "eye_spacing": (-1.0, 1.0),
  "eye_size": (-1.0, 1.0),
  "nose_size": (-1.0, 1.0),
  "mouth_width": (-1.0, 1.0),
  "brow_height": (-1.0, 1.0),
  "hair_volume": (-1.0, 1.0),
  "parting": (-1.0, 1.0),
  "gaze_x": (-1.0, 1.0),
  "gaze_y": (-1.0, 1.0),
  "yaw": (-20.0, 20.0),
  "pitch": (-12.0, 12.0),
  "roll": (-10.0, 10.0),
  "light_azimuth": (-70.0, 70.0),
  "light_elevation": (10.0, 75.0),
}


@dataclasses.dataclass(frozen=True)
class Attributes:
  """One character.

  Attributes:
    skin_tone: Monk skin tone, 1 (lightest) to 10 (darkest).
    age: age group.
    presentation: how the character presents; drives sampling and lets metrics
      be reported by group. It is not read by the chibi's drawing code beyond
      lashes.
    face_shape, hair_style, hair_color, fringe, eye_shape, eye_color,
      brow_shape, expression, glasses, facial_hair, headwear, headwear_color,
      earrings, clothes, clothes_color, accent_color, background,
      background_color: words listed in `VALUES`. A hijab or turban covers the
      hair; `fringe` is what falls on the forehead where the style has any.
      Background "none" is transparent.
    blush, freckles: strength 0..1; 0 draws none.
    face_width, eye_spacing, eye_size, nose_size, mouth_width, brow_height:
      variations in [-1, 1].
    hair_volume: how far hair stands off the skull, -1 for flat hair to 1; 0 is
      what the style usually has. It does not matter to shaved heads.
    parting: where the hair parts, -1 the viewer's left to 1 the right; 0 is
      where the style usually has it. A parting on the left mirrors the fringe.
    gaze_x, gaze_y: where the eyes look (right, down), as a fraction of how far
      they can turn; on top of what the expression does. These four are 0 in
      every sampled character.
    yaw, pitch, roll: head pose in degrees.
    light_azimuth, light_elevation: direction the light comes from, degrees;
      azimuth > 0 is the viewer's right, elevation is above the horizon.
  """

  skin_tone: int = 3
  age: str = "adult"
  presentation: str = "androgynous"
  face_shape: str = "oval"
  hair_style: str = "crop"
  hair_color: str = "brown"
  fringe: str = "none"
  eye_shape: str = "round"
  eye_color: str = "brown"
  brow_shape: str = "soft"
  expression: str = "neutral"
  glasses: str = "none"
  facial_hair: str = "none"
  headwear: str = "none"
  headwear_color: str = "red"
  earrings: str = "none"
  clothes: str = "tshirt"
  clothes_color: str = "sky"
  accent_color: str = "white"
  background: str = "plain"
  background_color: str = "cream"
  blush: float = 0.5
  freckles: float = 0.0
  face_width: float = 0.0
  eye_spacing: float = 0.0
  eye_size: float = 0.0
  nose_size: float = 0.0
  mouth_width: float = 0.0
  brow_height: float = 0.0
  hair_volume: float = 0.0
  parting: float = 0.0
  gaze_x: float = 0.0
  gaze_y: float = 0.0
  yaw: float = 0.0
  pitch: float = 0.0
  roll: float = 0.0
  light_azimuth: float = -30.0
  light_elevation: float = 45.0

  def __post_init__(self) -> None:
    for name, words in VALUES.items():
      if getattr(self, name) not in words:
        raise ValueError(
          f"{name} must be one of {', '.join(words)}; "
          f"got {getattr(self, name)!r}"
        )
    for name, (low, high) in RANGES.items():
      value = getattr(self, name)
      if not low <= value <= high:
        raise ValueError(f"{name} must be in [{low}, {high}]; got {value!r}")

  def to_dict(self) -> dict[str, Any]:
    """Returns the fields as a JSON-able dict."""
    return dataclasses.asdict(self)

  @classmethod
  def from_dict(cls, fields: dict[str, Any]) -> "Attributes":
    """Rebuilds attributes from `to_dict`; missing fields take their default.

    Raises:
      ValueError: if a field is unknown or a value is not allowed.
    """
    known = {f.name for f in dataclasses.fields(cls)}
    if unknown := sorted(set(fields) - known):
      raise ValueError(f"unknown attributes: {', '.join(unknown)}")
    return cls(**fields)
