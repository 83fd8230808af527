"""The steps that a finish recipe may use, and presets made of them.

Steps are functions of `post`, listed in one dict with their parameters; see
`post.recipe` for the text that names them.
"""

import dataclasses
import importlib
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Array, Bool, Float, Float32

from chibijax.post import (
  color,
  effects,
  features,
  lines,
  palette,
  prints,
  tones,
)
from chibijax.post.smooth import Picture, smooth

Masks: TypeAlias = Mapping[str, Bool[np.ndarray, "_ _"]]
# Of any size and number of channels.
AnyPicture: TypeAlias = Float[np.ndarray | Array, "_ _ _"]
Value: TypeAlias = float | int | str | tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Context:
  """What is known about the picture that is finished.

  Attributes:
    landmarks: 68 points in its pixels, or None.
    masks: by name, of its shape; None if there are none.
    reference: the photo whose colours are to be kept, or None.
    reference_masks: of the reference; None takes `masks`, which then must fit.
    seed: of everything random.
    source: the picture before it was made flat: lines are drawn after it.
  """

  landmarks: Float[np.ndarray, "68 2"] | None = None
  masks: Masks | None = None
  reference: AnyPicture | None = None
  reference_masks: Masks | None = None
  seed: int = 0
  source: AnyPicture | None = None

  def points(self, step: str) -> Float32[np.ndarray, "68 2"]:
    """The landmarks, or a ValueError that names the step."""
    return features.check(self.landmarks, step)

  def details(
    self, shape: tuple[int, ...]
  ) -> Float32[np.ndarray, "h w"] | None:
    """Where small things matter; None when there are no landmarks."""
    if self.landmarks is None:
      return None
    return features.details(shape[:2], self.points("palette"))


@dataclasses.dataclass(frozen=True)
class Parameter:
  """One parameter of a step.

  Attributes:
    name: as written in recipes.
    default: decides the type: int, float, str, or a tuple of words.
    low, high: range of a number.
  """

  name: str
  default: Value
  low: float | int = 0.0
  high: float | int = 1.0


@dataclasses.dataclass(frozen=True)
class Kind:
  """A step that recipes may use.

  Attributes:
    help: one line.
    parameters: the first is the one that NAME=VALUE sets.
    run: `run(image, context, **parameters) -> image`.
    needs: what of the context it cannot do without.
    bare: whether the step may be written without a value.
    flattens: whether it takes away what lines are found by.
  """

  help: str
  parameters: tuple[Parameter, ...]
  run: Callable[..., Any]
  needs: tuple[str, ...] = ()
  bare: bool = True
  flattens: bool = False


def _strength(default: float) -> Parameter:
  return Parameter("strength", default)


def _color(image: Picture, context: Context, strength: float) -> Any:
  theirs = context.reference_masks or context.masks
  found, _ = color.transfer(
    image,
    context.reference,
    _areas(context.masks),
    _areas(theirs),
    strength=strength,
  )
  return found


def _areas(masks: Masks) -> dict[str, Bool[np.ndarray, "_ _"]]:
  """The regions whose colours say who somebody is."""
  return {name: masks[name] for name in ("skin", "hair") if name in masks}


def _palette(
  image: Picture,
  context: Context,
  count: int,
  colors: tuple[str, ...],
  strength: float,
) -> Any:
  return palette.flatten(
    image,
    count,
    colors=colors or None,
    masks=context.masks,
    detail=context.details(image.shape),
    strength=strength,
    seed=context.seed,
  )


def _even(image: Picture, context: Context, strength: float) -> Any:
  if context.landmarks is None and context.masks is None:
    raise ValueError("even needs landmarks or masks, and there are none")
  points = context.landmarks
  if points is not None:
    points = context.points("even")
  mask = features.skin(image.shape[:2], points, context.masks)
  return image if mask is None else tones.even(image, mask, strength=strength)


def _poster(
  image: Picture, context: Context, strength: float, colors: tuple[str, ...]
) -> Any:
  points = context.landmarks
  if points is not None:
    points = context.points("poster")
  face = features.skin(image.shape[:2], points, context.masks)
  return prints.poster(image, strength=strength, colors=colors, face=face)


def _shine(image: Picture, context: Context, strength: float) -> Any:
  return effects.shine(
    image, context.masks or {}, strength=strength, landmarks=context.landmarks
  )


def _given(
  function: Callable[..., Any] | str,
  *known: str,
  optional: tuple[str, ...] = (),
) -> Callable[..., Any]:
  """Makes a step of a function of the picture and the step's parameters.

  Args:
    function: or "module.function" of `post`: modules that draw with the artist
      load when they are wanted.
    known: what of the context the function takes, by its name.
    optional: parameters that are None to the function where they are empty.
  """

  def run(image: Picture, context: Context, **values: Any) -> Any:
    found = _look_up(function) if isinstance(function, str) else function
    values |= {name: values[name] or None for name in optional}
    return found(image, **values, **{k: getattr(context, k) for k in known})

  return run


def _look_up(name: str) -> Callable[..., Any]:
  module, _, function = name.partition(".")
  return getattr(importlib.import_module(f"chibijax.post.{module}"), function)


def _on_face(
  function: Callable[..., Any], step: str, optional: tuple[str, ...] = ()
) -> Callable[..., Any]:
  """As `_given`, of a function that cannot do without landmarks."""

  def run(image: Picture, context: Context, **values: Any) -> Any:
    values |= {name: values[name] or None for name in optional}
    return function(image, context.points(step), **values)

  return run


_WIDTH = Parameter("width", 1.0, 0.3, 5)

STEPS: dict[str, Kind] = {
  "smooth": Kind(
    "edge-preserving smoothing of skin and texture",
    (_strength(0.5), Parameter("radius", 0.012, 0.001, 0.1)),
    _given(smooth),
  ),
  "color": Kind(
    "skin and hair get the colours they have in the photo",
    (_strength(1.0),),
    _color,
    needs=("reference", "masks"),
  ),
  "even": Kind("even skin, without shine", (_strength(0.6),), _even),
  "palette": Kind(
    "flat colour: COUNT colours, or those given",
    (
      Parameter("count", 12, 1, palette.MAX_COLORS),
      Parameter("colors", ()),
      _strength(1.0),
    ),
    _palette,
    flattens=True,
  ),
  "posterise": Kind(
    "lightness in LEVELS soft steps",
    (
      Parameter("levels", 4, 2, 32),
      Parameter("sharpness", 0.7),
      _strength(1.0),
    ),
    _given(palette.posterise),
    flattens=True,
  ),
  "lines": Kind(
    "dark outlines",
    (
      _strength(0.8),
      _WIDTH,
      Parameter("amount", 0.5),
      Parameter("color", lines.INK),
    ),
    _given(lines.draw, "landmarks", "masks", "source"),
  ),
  "ink": Kind(
    "an ink drawing on paper",
    (
      _strength(1.0),
      _WIDTH,
      Parameter("amount", 0.6),
      Parameter("color", lines.INK),
      Parameter("paper", lines.PAPER),
    ),
    _given(lines.draw_ink, "landmarks", "masks"),
  ),
  "blush": Kind(
    "red cheeks, in a hue that suits the skin",
    (_strength(0.5), Parameter("color", "")),
    _on_face(effects.blush, "blush", optional=("color",)),
    needs=("landmarks",),
  ),
  "eyes": Kind(
    "clear, colourful eyes and a lash line",
    (_strength(0.5),),
    _on_face(effects.vivid_eyes, "eyes"),
    needs=("landmarks",),
  ),
  "sparkle": Kind(
    "highlights in the eyes",
    (_strength(0.8),),
    _on_face(effects.sparkle, "sparkle"),
    needs=("landmarks",),
  ),
  "shine": Kind(
    "a band of light on the hair",
    (_strength(0.4),),
    _shine,
    needs=("masks",),
  ),
  "vibrance": Kind(
    "livelier colours", (_strength(0.4),), _given(tones.vibrance)
  ),
  "glow": Kind(
    "light areas shine",
    (_strength(0.4), Parameter("radius", 0.02, 0.001, 0.2)),
    _given(tones.glow),
  ),
  "vignette": Kind(
    "darker corners",
    (_strength(0.3), Parameter("color", tones.CORNERS)),
    _given(tones.vignette),
  ),
  "grain": Kind(
    "film grain",
    (_strength(0.2), Parameter("size", 1.0, 1, 8)),
    _given(tones.grain, "seed"),
  ),
  "glitch": Kind(
    "a broken signal",
    (_strength(0.5),),
    _given(prints.glitch, "seed"),
    bare=False,
  ),
  "halftone": Kind(
    "shadows printed as dots",
    (
      _strength(0.6),
      Parameter("size", 1.0, 0.3, 5),
      Parameter("color", prints.DOTS),
      Parameter("angle", 30.0, -90, 90),
    ),
    _given(prints.halftone),
  ),
  "duotone": Kind(
    "a ramp of colours, dark to light",
    (_strength(1.0), Parameter("colors", prints.DUOTONE)),
    _given(prints.duotone),
  ),
  "poster": Kind(
    "a street poster of few inks, dark to light",
    (_strength(1.0), Parameter("colors", prints.POSTER)),
    _poster,
    bare=False,
  ),
  "pixels": Kind(
    "pixel art, SIZE squares along the longer side",
    (
      Parameter("size", 64, 8, 256),
      Parameter("count", 24, 2, palette.MAX_COLORS),
      _strength(1.0),
    ),
    _given(prints.pixels, "seed"),
  ),
  "sticker": Kind(
    "drawings on the face, NAME+NAME",
    (Parameter("names", ()), Parameter("color", ""), Parameter("text", "")),
    _given(
      "stickers.apply",
      *("landmarks", "masks", "seed"),
      optional=("color", "text"),
    ),
    needs=("landmarks",),
    bare=False,
  ),
  "background": Kind(
    "what is behind the person: KIND:VALUE",
    (Parameter("kind", ""), Parameter("value", "")),
    _given("backgrounds.replace", "masks", "seed", optional=("value",)),
    bare=False,
  ),
  "frame": Kind(
    "a frame or crop: KIND:COLOUR",
    (Parameter("kind", ""), Parameter("color", "")),
    _given("frames.frame", "seed", optional=("color",)),
    bare=False,
  ),
}

PRESETS: dict[str, str] = {
  "none": "",
  "soft": "smooth=0.35,eyes=0.35,blush=0.3,vibrance=0.3,glow=0.35",
  "cel": (
    "smooth=0.6,even=0.95,vibrance=0.5,palette=16,lines=0.75,"
    "eyes=0.6,blush=0.5,sparkle"
  ),
  "ink": "smooth=0.5,ink",
  "poster": "smooth=0.7,poster=1",
  "pixel": "smooth=0.3,vibrance=0.5,pixels",
  "glitch": "vibrance=0.3,glitch=0.6",
}
