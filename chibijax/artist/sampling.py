"""Sampling of plausible, balanced characters.

Skin tone and presentation are uniform and independent; everything else depends
on them weakly, so that no combination is impossible and groups can be compared.
"""

import numpy as np

from chibijax.artist import palette
from chibijax.artist.attributes import MEASURED, VALUES, Attributes


def _pick(rng: np.random.Generator, weights: dict[str, float | int]) -> str:
  """Draws one key with probability proportional to its weight."""
  names = list(weights)
  ends = np.cumsum(list(weights.values()))
  at = np.searchsorted(ends, rng.random() * ends[-1], side="right")
  return names[min(int(at), len(names) - 1)]


def _hair_color(rng: np.random.Generator, tone: int, age: str) -> str:
  if rng.random() < 0.12 and age != "senior":
    return str(rng.choice(palette.FANTASY_HAIR))
  if age == "senior" and rng.random() < 0.75:
    return _pick(rng, {"grey": 2, "white": 1.5, "platinum": 0.2})
  # Light hair gets rarer with darker skin, never impossible (dyed hair).
  light = max(0.08, 1.1 - 0.14 * tone)
  return _pick(
    rng,
    {
      "black": 1.2 + 0.35 * tone,
      "dark_brown": 2.0,
      "brown": 1.8 - 0.1 * tone,
      "chestnut": 1.2 * light,
      "auburn": 0.9 * light,
      "ginger": 0.9 * light,
      "dark_blonde": 1.0 * light,
      "blonde": 1.5 * light,
      "platinum": 0.4 * light,
      "grey": 0.12,
    },
  )


def _eye_color(rng: np.random.Generator, tone: int, hair: str) -> str:
  light = max(0.04, 1.0 - 0.16 * tone)
  fantasy = 0.6 if hair in palette.FANTASY_HAIR else 0.02
  return _pick(
    rng,
    {
      "dark_brown": 1.0 + 0.25 * tone,
      "brown": 2.2,
      "hazel": 0.3 + light,
      "amber": 0.35,
      "green": 0.1 + 0.9 * light + 0.3 * fantasy,
      "blue": 0.06 + 1.6 * light + 0.5 * fantasy,
      "grey": 0.04 + 0.6 * light,
      "violet": fantasy,
    },
  )


# Weight of each style for (feminine, masculine); androgynous is the mean.
_STYLE_WEIGHTS = {
  "crop": (0.3, 2.2),
  "bald": (0.05, 0.7),
  "buzz": (0.1, 0.9),
  "pixie": (0.9, 0.2),
  "side_part": (0.2, 1.8),
  "slick_back": (0.2, 0.9),
  "undercut": (0.4, 1.2),
  "spiky": (0.3, 1.5),
  "mohawk": (0.2, 0.5),
  "bob": (1.9, 0.1),
  "long_straight": (2.0, 0.25),
  "long_wavy": (2.0, 0.2),
  "ponytail": (1.5, 0.25),
  "twin_tails": (1.2, 0.03),
  "bun": (1.0, 0.4),
  "space_buns": (0.8, 0.05),
  "braids": (1.1, 0.1),
  "curly": (1.2, 1.0),
  "afro": (0.6, 0.6),
  "locs": (0.5, 0.6),
}


def _hair_style(
  rng: np.random.Generator, presentation: str, age: str, tone: int
) -> str:
  weights = {}
  for style, (feminine, masculine) in _STYLE_WEIGHTS.items():
    weight = {
      "feminine": feminine,
      "masculine": masculine,
      "androgynous": (feminine + masculine) / 2,
    }[presentation]
    if style in ("afro", "locs"):
      weight *= 0.25 + 0.25 * max(0, tone - 4)
    if style == "bald":
      weight *= {"senior": 2.5, "child": 0.0}.get(age, 1.0)
    if style in ("mohawk", "undercut") and age in ("child", "senior"):
      weight *= 0.3
    if style in ("twin_tails", "space_buns") and age == "senior":
      weight *= 0.1
    weights[style] = weight
  return _pick(rng, weights)


def _fringe(rng: np.random.Generator, style: str) -> str:
  if style in ("bald", "buzz", "slick_back", "mohawk", "afro"):
    return "none"
  if style in ("side_part", "undercut", "spiky"):
    return _pick(rng, {"none": 1, "side_swept": 1.4, "choppy": 1})
  if style in ("curly", "locs"):
    return _pick(rng, {"none": 1.5, "wispy": 1, "side_swept": 1})
  return _pick(
    rng,
    {
      "straight": 1.4,
      "side_swept": 1.3,
      "curtain": 1.1,
      "wispy": 0.9,
      "choppy": 0.9,
      "none": 0.8,
    },
  )


def _facial_hair(rng: np.random.Generator, presentation: str, age: str) -> str:
  if presentation == "feminine" or age == "child":
    return "none"
  chance = 0.45 if presentation == "masculine" else 0.08
  if rng.random() > chance * (0.5 if age == "young" else 1.0):
    return "none"
  return _pick(
    rng, {"stubble": 1.2, "moustache": 0.8, "goatee": 0.8, "full_beard": 1.2}
  )


def _headwear(rng: np.random.Generator, presentation: str, style: str) -> str:
  feminine, masculine = {
    "feminine": (1.0, 0.1),
    "masculine": (0.03, 1.0),
    "androgynous": (0.5, 0.5),
  }[presentation]
  tall = style in ("afro", "mohawk", "space_buns", "bun")
  bare = style in ("bald", "buzz")
  return _pick(
    rng,
    {
      "none": 6.5,
      "cap": 0.0 if tall else 0.5,
      "beanie": 0.0 if tall else 0.5,
      "headband": 0.0 if style == "mohawk" else 0.2 + 0.3 * feminine,
      "bow": 0.0 if bare or style == "mohawk" else 0.8 * feminine,
      "flower": 0.0 if bare else 0.6 * feminine,
      "crown": 0.0 if tall else 0.25,
      "hijab": 0.6 * feminine,
      "turban": 0.45 * masculine,
    },
  )


def sample_attributes(rng: np.random.Generator) -> Attributes:
  """Samples a plausible character.

  Skin tone and presentation are uniform and independent of each other, so that
  groups are balanced; hair, eyes, facial hair and headwear depend on them
  weakly enough that every combination keeps some probability.

  Args:
    rng: source of randomness; sample i of a seed uses
      `np.random.default_rng([seed, i])`.

  Returns:
    Attributes; the background is never "none".
  """
  tone = int(rng.integers(1, 11))
  presentation = str(
    rng.choice(["feminine", "masculine", "androgynous"], p=[0.45, 0.45, 0.10])
  )
  age = _pick(rng, {"child": 0.8, "young": 1.5, "adult": 1.5, "senior": 0.6})
  style = _hair_style(rng, presentation, age, tone)
  hair_color = _hair_color(rng, tone, age)
  headwear = _headwear(rng, presentation, style)
  feminine = presentation != "masculine"
  clothes = {name: 1.0 for name in VALUES["clothes"]}
  clothes["dress"] = 1.2 if presentation == "feminine" else 0.02
  clothes["blazer"] = 0.1 if age == "child" else 0.8
  colors = rng.choice(VALUES["clothes_color"], size=3, replace=False)

  def around(spread: float, limit: float) -> float:
    return round(float(np.clip(rng.normal(0, spread), -limit, limit)), 4)

  def word(field: str, skip: tuple[str, ...] = ()) -> str:
    return str(rng.choice([v for v in VALUES[field] if v not in skip]))

  return Attributes(
    skin_tone=tone,
    age=age,
    presentation=presentation,
    face_shape=word("face_shape"),
    hair_style=style,
    hair_color=hair_color,
    fringe=_fringe(rng, style),
    eye_shape=word("eye_shape"),
    eye_color=_eye_color(rng, tone, hair_color),
    brow_shape=word("brow_shape"),
    expression=_pick(
      rng,
      {
        name: {"neutral": 2.5, "smile": 3.0, "grin": 1.5}.get(name, 0.8)
        for name in VALUES["expression"]
        if name not in MEASURED["expression"]
      },
    ),
    glasses=_pick(
      rng,
      {
        "none": 5 if age != "senior" else 1.6,
        "round": 0.45,
        "square": 0.45,
        "cat_eye": 0.25 if feminine else 0.03,
        "half_rim": 0.25,
        "sunglasses": 0.2,
      },
    ),
    facial_hair=_facial_hair(rng, presentation, age),
    headwear=headwear,
    headwear_color=str(colors[0]),
    earrings=_pick(
      rng,
      {
        "none": 2.0 if feminine else 8.0,
        "stud": 0.8,
        "hoop": 0.6 if feminine else 0.3,
        "drop": 0.5 if feminine else 0.02,
      },
    ),
    clothes=_pick(rng, clothes),
    clothes_color=str(colors[1]),
    accent_color=str(colors[2]),
    background=word("background", skip=("none",)),
    background_color=word("background_color"),
    blush=round(float(rng.uniform(0.25, 1.0)), 4)
    if rng.random() < 0.8
    else 0.0,
    freckles=(
      round(float(rng.uniform(0.4, 1.0)), 4)
      if rng.random() < (0.2 if tone <= 5 else 0.06)
      else 0.0
    ),
    face_width=around(0.45, 1.0),
    eye_spacing=around(0.4, 1.0),
    eye_size=around(0.45, 1.0),
    nose_size=around(0.45, 1.0),
    mouth_width=around(0.45, 1.0),
    brow_height=around(0.45, 1.0),
    yaw=around(7.0, 20.0),
    pitch=around(4.0, 12.0),
    roll=around(3.0, 10.0),
    light_azimuth=round(float(rng.uniform(-65, 65)), 2),
    light_elevation=round(float(rng.uniform(20, 65)), 2),
  )
