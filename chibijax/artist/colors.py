"""Exact colours in place of the artist's palette words."""

import dataclasses
import re

from chibijax.artist import palette
from chibijax.artist.attributes import Attributes

_HEX = re.compile("#[0-9a-fA-F]{6}")


@dataclasses.dataclass(frozen=True)
class Colors:
  """Colours of one drawing; None leaves the attributes' word in charge.

  Attributes:
    skin, hair, beard, eyes, clothes, accent, headwear, background: sRGB hex;
      the beard takes the hair's colour where it has none.
    brows: sRGB hex; where it would not show on the skin, a darker or a lighter
      colour is drawn. None takes a darker tone of the hair.
  """

  skin: str | None = None
  hair: str | None = None
  brows: str | None = None
  beard: str | None = None
  eyes: str | None = None
  clothes: str | None = None
  accent: str | None = None
  headwear: str | None = None
  background: str | None = None

  def __post_init__(self) -> None:
    for field in dataclasses.fields(self):
      color = getattr(self, field.name)
      if color is not None and not _HEX.fullmatch(color):
        raise ValueError(
          f"colour of {field.name} must look like '#rrggbb', got {color!r}"
        )

  def resolve(self, attributes: Attributes) -> "Colors":
    """Fills in what is None from the attributes' words; brows stay None."""
    a = attributes
    hair = self.hair or palette.HAIR[a.hair_color]
    return dataclasses.replace(
      self,
      skin=self.skin or palette.SKIN[a.skin_tone - 1],
      hair=hair,
      beard=self.beard or hair,
      eyes=self.eyes or palette.EYES[a.eye_color],
      clothes=self.clothes or palette.CLOTHES[a.clothes_color],
      accent=self.accent or palette.CLOTHES[a.accent_color],
      headwear=self.headwear or palette.CLOTHES[a.headwear_color],
      background=self.background or palette.BACKGROUND[a.background_color],
    )
