"""From what was measured of a person to the artist's words, numbers, colours.

Measured colours are kept as they are, but for the contrast that a drawing
needs:

  skin        OKLab lightness within [0.24, 0.96]
  hair        at least 0.09 (OKLab) from the skin, made darker or lighter
  clothes     lightness within [0.26, 0.95], at least 0.09 from the skin
  background  a light tint of the photo's, or a word that suits the rest

What a photo does not tell (eyes' colour, cut of the clothes, frame of the
glasses) follows from what was measured, and `seed` decides between equals.
Neither sex nor age is guessed: lashes are everybody's.
"""

import dataclasses
import math
from collections.abc import Mapping

import numpy as np

from chibijax.artist import Attributes, Colors, palette
from chibijax.artist.attributes import RANGES
from chibijax.faces.person import Person

APART = 0.09  # least distance in OKLab of what must not run together
# The volume that the artist's version of each style has, as `Person` counts.
_VOLUME = {
  "bob": 0.40,
  "wavy_bob": 0.45,
  "curly": 0.6,
  "short_curls": 0.45,
  "long_curls": 0.6,
  "long_straight": 0.35,
  "long_wavy": 0.45,
  "afro": 0.85,
  "spiky": 0.7,
  "slick_back": 0.15,
}


def attributes(
  person: Person, *, seed: int = 0, caricature: float | int = 0.0
) -> tuple[Attributes, Colors]:
  """The artist's description of a person.

  Args:
    person: what was measured; numbers out of their range are clipped.
    seed: decides between equals.
    caricature: as for `draw`.

  Returns:
    Attributes, and the exact colours to draw them with.
  """
  style = _hair_style(person)
  colors = _colors(person)
  clothes, accent = _clothes(person, colors, seed)
  colors = dataclasses.replace(colors, clothes=clothes, accent=accent)
  colors = dataclasses.replace(
    colors, background=_background(person, colors, seed)
  )
  yaw, pitch, roll = (_finite(angle) for angle in person.pose)
  right, down = (_finite(value) for value in person.gaze)
  volume = _finite(person.hair_volume) - _VOLUME.get(style, 0.3)
  grow = 1.1 * (1 + 1.5 * caricature)
  numbers = {
    name: grow * _finite(getattr(person, name))
    for name in (
      "face_width",
      "eye_size",
      "nose_size",
      "mouth_width",
      "brow_height",
    )
  }
  numbers |= {
    "hair_volume": 1.8 * volume,
    "parting": _parting(person),
    "gaze_x": right,
    "gaze_y": down,
    # A chibi's big head turns and tilts less than its model's.
    "yaw": 0.8 * yaw,
    "pitch": 0.5 * pitch,
    "roll": 0.8 * roll,
  }
  return Attributes(
    skin_tone=1 + _nearest(colors.skin, palette.SKIN),
    face_shape=_face_shape(person),
    hair_style=style,
    hair_color=_nearest_word(colors.hair, palette.HAIR),
    fringe=_fringe(person, style),
    eye_shape=_eye_shape(person),
    eye_color=_eye_color(colors),
    brow_shape=_brow_shape(person),
    expression=person.mouth,
    glasses=_glasses(person),
    facial_hair=_beard(person, colors),
    headwear=_headwear(person),
    headwear_color=_nearest_word(colors.headwear, palette.CLOTHES),
    clothes=_garment(person, seed),
    clothes_color=_nearest_word(colors.clothes, palette.CLOTHES),
    accent_color=_nearest_word(colors.accent, palette.CLOTHES),
    background_color=_nearest_word(colors.background, palette.BACKGROUND),
    blush=0.5,
    **{name: _clip(value, *RANGES[name]) for name, value in numbers.items()},
  ), colors


# Words ----------------------------------------------------------------------


def _hair_style(person: Person) -> str:
  """The cut, by length, then texture, volume, fringe and parting."""
  curl, volume = _finite(person.hair_texture), _finite(person.hair_volume)
  fringe, parting = _finite(person.fringe), abs(_parting(person))
  if person.hair_length == "bald":
    return "bald"
  if volume >= 0.75 and curl >= 0.5 and person.hair_length != "long":
    return "afro"
  if person.hair_length == "long":
    return _by(curl, "long_straight", (0.3, "long_wavy"), (0.6, "long_curls"))
  if person.hair_length == "medium":
    return _by(curl, "bob", (0.3, "wavy_bob"), (0.6, "curly"))
  if curl >= 0.5:
    return "short_curls"
  if volume < 0.2 and fringe < 0.45:
    return "buzz"
  if volume >= 0.6:
    if fringe < 0.35:
      return "undercut" if parting >= 0.2 or curl < 0.2 else "spiky"
    return "pixie"
  # Hair that stands off is combed to a side more often than straight back.
  if parting > 0 or volume >= 0.35:
    return "side_part"
  return "slick_back" if fringe < 0.15 else "crop"


def _fringe(person: Person, style: str) -> str:
  """What falls on the forehead."""
  share, parting = _finite(person.fringe), abs(_parting(person))
  if share < 0.15 or style in ("bald", "buzz", "slick_back", "afro"):
    return "none"
  if style in ("curly", "short_curls", "long_curls"):
    return "wispy" if parting < 0.25 else "side_swept"
  if parting >= 0.25 or (parting > 0 and person.hair_length == "short"):
    return "side_swept"
  if parting > 0:
    return "curtain"
  if share >= 0.7:
    return "straight" if _finite(person.hair_texture) < 0.3 else "choppy"
  return "choppy" if share >= 0.45 else "wispy"


def _face_shape(person: Person) -> str:
  return _by(_finite(person.face_width), "long", (-0.6, "oval"), (0.4, "round"))


def _eye_shape(person: Person) -> str:
  size = _finite(person.eye_size)
  return _by(size, "narrow", (-0.75, "almond"), (-0.25, "round"))


def _brow_shape(person: Person) -> str:
  height = _finite(person.brow_height)
  return _by(height, "straight", (-0.4, "soft"), (0.45, "arched"))


def _eye_color(colors: Colors) -> str:
  """A brown as dark as the hair: eyes are too small to be measured."""
  return "dark_brown" if palette.oklab(colors.hair)[0] < 0.32 else "brown"


def _parting(person: Person) -> float:
  """Where the hair parts; next to nothing is nothing."""
  parting = _finite(person.parting)
  return parting if abs(parting) >= 0.1 else 0.0


def _beard(person: Person, colors: Colors) -> str:
  """The beard; one that the skin shines through is stubble."""
  thin = distance(person.beard_color or colors.beard, colors.skin) < 0.15
  return "stubble" if person.beard == "full_beard" and thin else person.beard


def _glasses(person: Person) -> str:
  # A round face looks good in square frames, and the other way round.
  frame = "square" if _finite(person.face_width) > -0.15 else "round"
  return {"glasses": frame}.get(person.glasses, person.glasses)


def _headwear(person: Person) -> str:
  if person.headwear == "hat":
    return "cap" if person.hair_length in ("bald", "short") else "beanie"
  if person.headwear == "scarf":
    # A scarf around the chin would hide a beard.
    return "hijab" if person.beard in ("none", "stubble") else "turban"
  return "none"


def _garment(person: Person, seed: int) -> str:
  """Cut of the clothes, by how light and how colourful they are."""
  lightness, a, b = palette.oklab(person.clothes or "#808080")
  cuts = ("shirt", "tshirt", "hoodie", "sweater")
  vivid = 2 if math.hypot(a, b) > 0.07 else 0
  return cuts[(int(5 * lightness) + vivid + seed) % 4]


# Colours --------------------------------------------------------------------


def _colors(person: Person) -> Colors:
  """Colours of the person's own; clothes and background come later."""
  skin = _limited(person.skin, 0.24, 0.96)
  hair = person.hair
  if hair is None:
    # Brows and beard of a bald or covered head have a colour all the same.
    hair = person.beard_color or person.brows
  return Colors(
    skin=skin,
    hair=_apart(hair, skin),
    brows=person.brows,
    beard=_beard_color(person, hair, skin),
    headwear=person.headwear_color
    and _apart(_limited(person.headwear_color, 0.2, 0.95), skin),
  )


def _beard_color(person: Person, hair: str, skin: str) -> str:
  """Colour of the beard; where skin shines through, also of its roots."""
  color = person.beard_color or hair
  if distance(color, skin) < 0.15:
    color = palette.mix(color, person.brows, 0.5)
  return _apart(color, skin)


def _clothes(person: Person, colors: Colors, seed: int) -> tuple[str, str]:
  """Colours of the clothes and of their trimmings."""
  if person.clothes is None:
    lightness, a, b = palette.oklab(colors.hair)
    # The hair's opposite, as bright as cloth is.
    away = math.atan2(b, a) + math.pi + 0.5 * (seed % 3 - 1)
    chroma = 0.095
    color = palette.from_oklab(
      0.66 if lightness < 0.5 else 0.52,
      chroma * math.cos(away),
      chroma * math.sin(away),
    )
  else:
    color = person.clothes
  color = _apart(_limited(color, 0.26, 0.95), colors.skin)
  light = palette.oklab(color)[0]
  accent = palette.shade(color, 0.78) if light < 0.8 else "#7f93b2"
  return color, accent


def _background(person: Person, colors: Colors, seed: int) -> str:
  """A light tint of the photo's background, apart from hair and clothes."""
  lightness, a, b = palette.oklab(person.background)
  chroma = math.hypot(a, b)
  fair = palette.oklab(colors.hair)[0] > 0.78
  if chroma > 0.02:
    keep = min(0.085, max(0.045, 0.9 * chroma)) / chroma
    level = 0.80 + 0.09 * lightness - (0.06 if fair else 0.0)
    return palette.from_oklab(level, a * keep, b * keep)
  # A grey wall: the pastel that is furthest from everything else.
  others = [colors.hair, colors.skin, colors.clothes]
  pastels = [
    color
    for name, color in palette.BACKGROUND.items()
    if name not in ("white", "grey", "slate", "cream", "sand")
  ]
  pastels.sort(key=lambda c: -min(distance(c, o, 0.4) for o in others))
  return palette.shade(pastels[seed % 3], -0.05 if fair else 0.0)


def _limited(color: str, low: float, high: float) -> str:
  """The colour, its OKLab lightness clipped."""
  lightness, a, b = palette.oklab(color)
  if low <= lightness <= high:
    return color
  return palette.from_oklab(_clip(lightness, low, high), a, b)


def _apart(color: str, other: str) -> str:
  """The colour, made darker or lighter where it would run into the other."""
  lightness, a, b = palette.oklab(color)
  if distance(color, other) >= APART:
    return color
  beside = palette.oklab(other)
  room = math.hypot(a - beside[1], b - beside[2])
  step = math.sqrt(APART**2 - min(room, 0.9 * APART) ** 2)
  goals = [beside[0] + k * step for k in (1, -1, 1.4, -1.4, 2, -2)]
  goals = [goal for goal in goals if 0.08 < goal < 0.98]
  goals.sort(key=lambda goal: abs(goal - lightness))
  # sRGB ends before some of them: what is out of gamut comes closer again.
  found = [palette.from_oklab(goal, a, b) for goal in goals]
  good = [c for c in found if distance(c, other) >= 0.95 * APART]
  return (good or [max(found, key=lambda c: distance(c, other))])[0]


def distance(first: str, second: str, weight: float = 1.0) -> float:
  """Distance in OKLab, lightness counting `weight` times."""
  (l1, a1, b1), (l2, a2, b2) = palette.oklab(first), palette.oklab(second)
  return math.hypot(weight * (l1 - l2), a1 - a2, b1 - b2)


def _nearest(color: str, others: tuple[str, ...]) -> int:
  return int(np.argmin([distance(color, other) for other in others]))


def _nearest_word(color: str | None, words: Mapping[str, str]) -> str:
  """The word whose colour is nearest; the first one without a colour."""
  names = list(words)
  if color is None:
    return names[0]
  return names[_nearest(color, tuple(words.values()))]


# Numbers --------------------------------------------------------------------


def _by(value: float, word: str, *steps: tuple[float, str]) -> str:
  """The word of the last step that the value reaches."""
  for least, other in steps:
    if value >= least:
      word = other
  return word


def _clip(value: float, low: float, high: float) -> float:
  return round(min(high, max(low, value)), 4)


def _finite(value: float) -> float:
  """The number, or 0 where the measurement failed."""
  return float(value) if math.isfinite(value) else 0.0
