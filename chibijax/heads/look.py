"""What a procedural person looks like: drawn once from a random generator.

Colours are sRGB in [0, 1].
"""

import dataclasses
from typing import TypeAlias

import numpy as np

from chibijax.heads import hair

Rgb: TypeAlias = tuple[float, float, float]

# Ten tones from light to dark, spaced as the Monk scale's; under a lamp skin is
# warmer than those swatches.
TONES = (
  "f0d0bf", "ebc4ae", "e3b698", "d9a683", "c8926d", "ad7750", "8f5e3e",
  "744a32", "5c3a29", "482d21",
)  # fmt: skip
# Natural colours; how light the skin is that they go with, at least.
_HAIR = (
  ("1d1816", 0.0), ("2b1e18", 0.0), ("40291c", 0.0), ("5a3a22", 0.45),
  ("7a5230", 0.55), ("a9793f", 0.65), ("cfa868", 0.7), ("8a4420", 0.65),
  ("9a8f88", 0.0), ("d8d4d0", 0.0),
)  # fmt: skip
_DYED = (
  "e07aa8", "6a8fe0", "8a5fc9", "4bb7a6", "e0b43c", "d9483b", "b9d7f2",
  "f2c4d6", "3a3f6b", "f4e3b0",
)  # fmt: skip
_IRIS = ("3a2315", "4d2e17", "6b4523", "7a6a2f", "4f6b3a", "3f6f8f", "6f8fa8")
_BRIGHT_IRIS = ("3f7fe0", "3fae6a", "9a5fd0", "d0564a", "d79a2b", "2fa6b8")
_CLOTH = (
  "2b3a55", "7a2f36", "3f5d45", "d9d4c8", "222226", "8a6f4d", "5b4a7a",
  "c8553d", "4f8fa6", "e3c16f", "f0efec", "6b7078",
)  # fmt: skip
GARMENTS = ("tee", "shirt", "hoodie", "sweater")
PATTERNS = ("plain", "stripes", "checks")


@dataclasses.dataclass(frozen=True)
class Look:
  """One person's looks.

  Attributes:
    chibi: drawn with flat shading, outlines and bright eyes.
    skin: colour of the skin.
    redness: of cheeks, nose and ears, 0 to 1.
    freckles: 0 to 1.
    lips: colour of the lips.
    iris: colour of the irises.
    hair: colour of the hair.
    brows: their thickness, about 1.
    beard: 0 for none, below 0.5 stubble, to 1.
    makeup: of lips and lids, 0 to 1.
    cut: the hair.
    glasses: colour of their frame; None for none.
    garment: one of `GARMENTS`.
    cloth: its colour.
    pattern: one of `PATTERNS`, drawn in `cloth_second`.
    cloth_second: a second colour.
    key: direction to the main light in the camera's axes (y down, z forward).
    warmth: of the main light, -1 to 1.
    ambient: share of light from everywhere.
    seed: of small variations.
  """

  chibi: bool
  skin: Rgb
  redness: float
  freckles: float
  lips: Rgb
  iris: Rgb
  hair: Rgb
  brows: float
  beard: float
  makeup: float
  cut: hair.Cut
  glasses: Rgb | None
  garment: str
  cloth: Rgb
  pattern: str
  cloth_second: Rgb
  key: tuple[float, float, float]
  warmth: float
  ambient: float
  seed: int


def sample_look(rng: np.random.Generator, *, chibi: bool) -> Look:
  """Draws a look.

  Args:
    rng: decides everything.
    chibi: whether it is a drawn one.
  """
  tone = rng.choice(10, p=_tone_weights(chibi))
  skin = np.clip(_rgb(TONES[tone]) + rng.normal(0, 0.012, 3), 0.1, 1)
  lightness = float(skin.mean())
  # Lips go from rose on light skin to brown on dark skin.
  rose = skin * [0.92, 0.62, 0.60] + np.array([0.03, 0, 0.01])
  masculine = bool(rng.random() < 0.5)
  color = _hair_color(rng, lightness, chibi)
  # Drawn skin is lighter and clearer.
  warm_skin = skin if not chibi else skin ** np.array([0.62, 0.72, 0.78])
  makeup = 0.0 if masculine else float(rng.choice([0, rng.uniform(0.3, 1)]))
  azimuth = rng.choice([-1, 1]) * rng.uniform(0.25, 0.9)
  height = rng.uniform(0.35, 0.8)
  key = np.array([np.sin(azimuth), -height, -np.cos(azimuth)])
  iris = _BRIGHT_IRIS if chibi else _IRIS[: 3 if lightness < 0.62 else None]
  cloth, second = rng.choice(len(_CLOTH), 2, replace=False)
  beard = 0.0
  if masculine and not chibi and rng.random() < 0.45:
    beard = float(rng.uniform(0.15, 1.0))
  return Look(
    chibi=chibi,
    skin=_tuple(np.clip(warm_skin, 0, 1)),
    redness=float(rng.uniform(0.25, 0.9)),
    freckles=float(max(rng.uniform(-1.5, 1), 0) * (lightness > 0.6)),
    lips=_tuple(rose * (1 - 0.15 * makeup)),
    iris=_tuple(_rgb(iris[rng.integers(len(iris))])),
    hair=_tuple(color),
    brows=float(rng.uniform(0.75, 1.2) * (1.15 if masculine else 0.8)),
    beard=beard,
    makeup=makeup,
    cut=_sample_cut(rng, masculine, chibi),
    glasses=_sample_glasses(rng, chibi),
    garment=GARMENTS[rng.integers(len(GARMENTS))],
    cloth=_tuple(_rgb(_CLOTH[cloth])),
    pattern=str(rng.choice(PATTERNS, p=[0.6, 0.25, 0.15])),
    cloth_second=_tuple(_rgb(_CLOTH[second])),
    key=_tuple(key / np.linalg.norm(key)),
    warmth=float(rng.uniform(-0.5, 1)),
    ambient=float(rng.uniform(0.42, 0.62)),
    seed=int(rng.integers(2**31)),
  )


def _tone_weights(chibi: bool) -> np.ndarray:
  """Even over the scale; the darkest tones are rarer among drawn ones."""
  weights = np.ones(10)
  if chibi:
    weights[7:] = [0.5, 0, 0]
  return weights / weights.sum()


def _hair_color(
  rng: np.random.Generator, lightness: float, chibi: bool
) -> np.ndarray:
  if rng.random() < (0.6 if chibi else 0.06):
    return _rgb(_DYED[rng.integers(len(_DYED))])
  fitting = [c for c, least in _HAIR if lightness >= least]
  grey = fitting[-2:]
  natural = fitting[:-2]
  color = grey if rng.random() < 0.08 else natural
  picked = _rgb(color[rng.integers(len(color))])
  return np.clip(picked * rng.uniform(0.85, 1.2), 0, 1)


def _sample_cut(
  rng: np.random.Generator, masculine: bool, chibi: bool
) -> hair.Cut:
  if masculine:
    names = ["shaved", "crew", "swept", "side", "curly", "spiky", "long"]
    share = [0.08, 0.22, 0.2, 0.2, 0.14, 0.1, 0.06]
  else:
    names = ["bob", "long", "wavy", "pony", "bun", "twin", "curly"]
    share = [0.22, 0.22, 0.2, 0.14, 0.08, 0.05, 0.09]
  if chibi:
    names = ["bob", "long", "wavy", "pony", "twin", "spiky", "side", "bun"]
    share = [0.17, 0.17, 0.08, 0.13, 0.17, 0.13, 0.08, 0.07]
  style = str(rng.choice(names, p=share))
  falling = style in ("bob", "long", "wavy", "pony", "twin", "bun")
  bangs = falling and rng.random() < (0.9 if chibi else 0.4)
  part = rng.choice([-1, 1]) * rng.uniform(0.0, 0.45)
  if style in ("swept", "side"):
    part = np.sign(part) * rng.uniform(0.3, 0.55)
  return hair.Cut(
    style=style,
    part=float(part),
    bangs=bool(bangs or (chibi and style in ("spiky", "side"))),
    length=float(rng.uniform(0.85, 1.2)),
    volume=float(rng.uniform(0.8, 1.3) * (1.35 if chibi else 1)),
    chunky=chibi,
  )


def _sample_glasses(rng: np.random.Generator, chibi: bool) -> Rgb | None:
  if rng.random() >= (0.08 if chibi else 0.15):
    return None
  frames = ("1c1a1a", "5a3a22", "7a2f36", "8f8f94", "c9a45a")
  return _tuple(_rgb(frames[rng.integers(len(frames))]))


def _rgb(text: str) -> np.ndarray:
  return np.array([int(text[i : i + 2], 16) / 255 for i in (0, 2, 4)])


def _tuple(color: np.ndarray) -> Rgb:
  return tuple(float(c) for c in color)
