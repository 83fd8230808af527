"""Named colours of the artist, and the few colour operations it needs.

Colours are sRGB hex strings (`#rrggbb`); a name maps to one hex string, so that
attributes stay plain words. Shades are taken in OKLab (Ottosson 2020), where a
step of lightness looks alike on every hue and every skin tone.
"""

import functools
import math

# Monk skin tone scale, tones 1..10 (Monk 2022, published hex values).
SKIN = (
  "#f6ede4",
  "#f3e7db",
  "#f7ead0",
  "#eadaba",
  "#d7bd96",
  "#a07e56",
  "#825c43",
  "#604134",
  "#3a312a",
  "#292420",
)

HAIR = {
  "black": "#2b2730",
  "dark_brown": "#4a3028",
  "brown": "#7a4a2e",
  "chestnut": "#94502f",
  "auburn": "#a8452c",
  "ginger": "#d9742f",
  "dark_blonde": "#b98b4e",
  "blonde": "#ecc672",
  "platinum": "#f1e6cf",
  "grey": "#a3a3ab",
  "white": "#e9e9ee",
  "pink": "#f38fb4",
  "blue": "#5b8fe0",
  "teal": "#3fb3a9",
  "purple": "#9a70d6",
  "mint": "#9adfc0",
}
FANTASY_HAIR = ("pink", "blue", "teal", "purple", "mint")

EYES = {
  "dark_brown": "#4d2e20",
  "brown": "#7d4a2a",
  "hazel": "#94722f",
  "amber": "#c78422",
  "green": "#4f9a56",
  "blue": "#3f86cf",
  "grey": "#7b8b9c",
  "violet": "#8a63c7",
}

CLOTHES = {
  "white": "#f7f5f2",
  "cream": "#f2e3c4",
  "black": "#34343d",
  "grey": "#9aa0a8",
  "red": "#d9484c",
  "coral": "#f4866f",
  "orange": "#f0a03f",
  "yellow": "#f5cf4d",
  "olive": "#8a9450",
  "green": "#58a868",
  "mint": "#9ad9bd",
  "teal": "#3d9aa0",
  "sky": "#86bdeb",
  "blue": "#4a78c9",
  "navy": "#34436f",
  "lavender": "#b9a3e3",
  "purple": "#8259b0",
  "pink": "#f2a3bd",
  "brown": "#8c6245",
}

BACKGROUND = {
  "white": "#ffffff",
  "cream": "#fdf1dc",
  "peach": "#fddcc8",
  "pink": "#fbd3de",
  "lavender": "#e0d7f5",
  "sky": "#cfe6f8",
  "aqua": "#c6ebea",
  "mint": "#d2efdc",
  "lemon": "#fbf1b8",
  "sand": "#ebdfcb",
  "grey": "#dfe2e6",
  "slate": "#8fa0b5",
}


@functools.lru_cache(maxsize=4096)
def rgb(color: str) -> tuple[int, int, int]:
  """Splits `#rrggbb` into three integers in 0..255.

  Raises:
    ValueError: if `color` is not of that form.
  """
  if len(color) != 7 or color[0] != "#":
    raise ValueError(f"colour must look like '#rrggbb', got {color!r}")
  return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


def hex_color(red: float, green: float, blue: float) -> str:
  """Joins channels in 0..255 (rounded and clipped) into `#rrggbb`."""
  channels = (min(255, max(0, round(c))) for c in (red, green, blue))
  return "#{:02x}{:02x}{:02x}".format(*channels)


def _linear(channel: int) -> float:
  c = channel / 255
  return c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4


def _encoded(value: float) -> float:
  v = min(1.0, max(0.0, value))
  s = 12.92 * v if v <= 0.0031308 else 1.055 * v ** (1 / 2.4) - 0.055
  return 255 * s


@functools.lru_cache(maxsize=4096)
def oklab(color: str) -> tuple[float, float, float]:
  """Converts sRGB to OKLab: lightness 0..1, then the a and b axes."""
  r, g, b = (_linear(c) for c in rgb(color))
  long = (0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b) ** (1 / 3)
  medium = (0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b) ** (1 / 3)
  short = (0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b) ** (1 / 3)
  return (
    0.2104542553 * long + 0.7936177850 * medium - 0.0040720468 * short,
    1.9779984951 * long - 2.4285922050 * medium + 0.4505937099 * short,
    0.0259040371 * long + 0.7827717662 * medium - 0.8086757660 * short,
  )


def from_oklab(lightness: float, a: float, b: float) -> str:
  """Converts OKLab to sRGB; colours out of gamut are clipped per channel."""
  long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
  medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
  short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
  return hex_color(
    _encoded(
      4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short
    ),
    _encoded(
      -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short
    ),
    _encoded(
      -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short
    ),
  )


@functools.lru_cache(maxsize=4096)
def mix(first: str, second: str, amount: float) -> str:
  """Blends two colours in OKLab; 0 gives `first`, 1 gives `second`."""
  pairs = zip(oklab(first), oklab(second), strict=True)
  return from_oklab(*(p + (q - p) * amount for p, q in pairs))


@functools.lru_cache(maxsize=4096)
def shade(color: str, amount: float, warmth: float = 0.0) -> str:
  """Makes a colour lighter or darker, keeping its hue rich.

  Args:
    color: sRGB hex.
    amount: relative change of OKLab lightness: -0.3 is 30 % darker, +0.3 goes
      30 % of the way to white.
    warmth: added to the red-ward axes, for shadows on skin (0.02 is plenty).
  """
  lightness, a, b = oklab(color)
  if amount < 0:
    # Half the chroma goes with the light; less looks garish, more dirty.
    keep = 1 + 0.55 * amount
    return from_oklab(
      lightness * (1 + amount), a * keep + warmth, b * keep + 0.5 * warmth
    )
  keep = 1 - 0.6 * amount
  lightness += (1 - lightness) * amount
  return from_oklab(lightness, a * keep + warmth, b * keep + 0.5 * warmth)


@functools.lru_cache(maxsize=1024)
def outline(color: str) -> str:
  """The line colour for a fill: its own hue, dark enough to read."""
  lightness, a, b = oklab(color)
  target = 0.18 + 0.34 * max(0.0, lightness - 0.1)
  # On near-black fills the line must be lighter than usual to be seen at all.
  chroma = math.hypot(a, b)
  boost = min(1.3, 0.07 / chroma) if chroma > 0.05 else 1.0
  return from_oklab(min(target, lightness * 0.72), a * boost, b * boost)


@functools.lru_cache(maxsize=16)
def skin_palette(tone: int) -> dict[str, str]:
  """Colours of one Monk tone.

  Args:
    tone: 1..10.

  Returns:
    Hex strings for base (exactly the published value), light, shadow, deep,
    line (outlines), feature (lines inside the face; on the darkest tones they
    are lighter than the skin, or nobody would see them), blush and lip.

  Raises:
    ValueError: if `tone` is out of range.
  """
  if not 1 <= tone <= len(SKIN):
    raise ValueError(f"skin tone must be 1..{len(SKIN)}, got {tone!r}")
  return skin_shades(SKIN[tone - 1])


@functools.lru_cache(maxsize=64)
def skin_shades(base: str) -> dict[str, str]:
  """Colours of skin of any base colour, as `skin_palette`.

  Args:
    base: sRGB hex.
  """
  lightness = oklab(base)[0]
  dark = max(0.0, (0.6 - lightness) / 0.4)
  # The darkest tones have little room below: they are modelled by light.
  light = shade(base, 0.35 if dark == 0 else 0.16, 0.012 * dark)
  return {
    "base": base,
    "light": light,
    "feature": (
      mix(shade(base, -0.45), "#7a3a30", 0.5)
      if lightness > 0.42
      else mix(base, "#a8654f", 0.42)
    ),
    "shadow": shade(base, -0.13 - 0.06 * dark, 0.022),
    "deep": shade(base, -0.24 - 0.10 * dark, 0.030),
    "line": mix(shade(base, -0.55), "#5a2a22" if dark == 0 else "#1c0f0d", 0.6),
    "blush": mix(base, "#f2617a" if dark == 0 else "#c0433f", 0.52),
    "lip": mix(base, "#d3505f" if dark == 0 else "#b8505a", 0.60),
  }
