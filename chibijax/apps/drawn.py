"""The embedded style: the artist draws the person that a photo showed.

    drawing = draw(person, 512)

No network is needed. `likeness.attributes` chooses the artist's words, numbers
and colours; here they are changed by hand where wanted, and drawn.
"""

import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Any

from chibijax.apps.likeness import attributes
from chibijax.artist import Attributes, Colors, Drawing, draw_chibi
from chibijax.artist.attributes import RANGES, VALUES
from chibijax.errors import UserError
from chibijax.faces.person import Person

__all__ = ["attributes", "check_overrides", "draw", "override"]

# Overrides that take a colour, as a word of the artist or as sRGB hex, and the
# fields of `Colors` they set; the first two take no word.
_COLORED = {
  "brow_color": ("brows",),
  "beard_color": ("beard",),
  "skin_tone": ("skin",),
  "hair_color": ("hair", "brows", "beard"),
  "eye_color": ("eyes",),
  "clothes_color": ("clothes",),
  "accent_color": ("accent",),
  "headwear_color": ("headwear",),
  "background_color": ("background",),
}
_HEX = re.compile("#[0-9a-fA-F]{6}")


def draw(
  person: Person,
  size: int = 512,
  *,
  body: bool = False,
  seed: int = 0,
  background: str = "plain",
  overrides: Mapping[str, str | float | int] | None = None,
  caricature: float | int = 0.0,
  masks: bool = True,
) -> Drawing:
  """Draws a person as a chibi.

  Args:
    person: what was measured of a face's owner.
    size: side of the picture in pixels, 16 or more.
    body: the whole figure instead of head and shoulders.
    seed: decides between equals; the same seed draws the same picture.
    background: "plain", "gradient", "dots", "stripes", "hearts", or "none" for
      a transparent one.
    overrides: attributes set by hand, see `check_overrides`.
    caricature: 0 draws proportions as measured, 1 exaggerates them most.
    masks: whether to rasterise the masks too.

  Returns:
    The drawing, with landmarks and masks as `chibijax.artist.draw_chibi`.

  Raises:
    UserError: if an override, `background`, `caricature` or `size` is not
      allowed; it lists what is.
  """
  if size < 16:
    raise UserError(f"size is {size}, expected 16 pixels or more.")
  if not 0 <= caricature <= 1:
    raise UserError(f"caricature is {caricature}, expected 0 to 1.")
  _check("background", background)
  words, colors = attributes(person, seed=seed, caricature=caricature)
  words = dataclasses.replace(words, background=background)
  words, colors = override(words, colors, overrides or {})
  return draw_chibi(
    words, size, body=body, masks=masks, colors=colors, soft=True
  )


def check_overrides(overrides: Mapping[str, str | float | int]) -> None:
  """Checks attributes set by hand.

  Args:
    overrides: any field of `chibijax.artist.Attributes` (a word, or a number as
      such or as text), `brow_color` or `beard_color`. Colours may be words of
      the artist or `#rrggbb`, also `skin_tone`.

  Raises:
    UserError: if a name or a value is not allowed; it lists what is.
  """
  override(Attributes(), Colors(), overrides)


def override(
  words: Attributes, colors: Colors, overrides: Mapping[str, str | float | int]
) -> tuple[Attributes, Colors]:
  """Sets attributes by hand; see `check_overrides`."""
  fields: dict[str, Any] = {}
  exact: dict[str, str | None] = {}
  for name, value in overrides.items():
    targets = _COLORED.get(name, ())
    if targets and _HEX.fullmatch(str(value)):
      # Brows and beard keep their own colour beside dyed hair.
      exact |= {target: str(value) for target in targets[:1]}
      continue
    fields[name] = _check(name, value)
    exact |= dict.fromkeys(targets)
  return (
    dataclasses.replace(words, **fields),
    dataclasses.replace(colors, **exact),
  )


def _check(name: str, value: str | float | int) -> str | float | int:
  """One value as `Attributes` takes it."""
  if name in VALUES:
    if value in VALUES[name]:
      return value
    more = " or #rrggbb" if name in _COLORED else ""
    raise UserError(
      f"{name} is {value!r}, expected one of {', '.join(VALUES[name])}{more}."
    )
  if name in RANGES:
    low, high = RANGES[name]
    kind = int if name == "skin_tone" else float
    try:
      number = kind(value)
    except (TypeError, ValueError):
      number = math.nan
    if low <= number <= high:
      return number
    raise UserError(
      f"{name} is {value!r}, expected a number from {low:g} to {high:g}."
    )
  if name in _COLORED:
    raise UserError(f"{name} is {value!r}, expected #rrggbb.")
  known = ", ".join([*VALUES, *RANGES, *list(_COLORED)[:2]])
  raise UserError(f"no attribute is called {name!r}; there are {known}.")
