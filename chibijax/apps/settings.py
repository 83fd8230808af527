"""What an avatar shall be: the settings of the pipeline, checked at once."""

import dataclasses
import pathlib
import tomllib
from collections.abc import Mapping
from typing import Any

from chibijax.artist import stickers
from chibijax.errors import UserError
from chibijax.post import backgrounds, frames, recipe
from chibijax.post.geometry import ChibiKnobs

STYLES = ("drawn", "toon", "model", "photo")
PEOPLE = ("largest", "all")
SIZES = (64, 4096)
# The deformation when nothing is said: of a photo, and of a network's picture,
# which has a chibi's proportions already as far as it learned them.
STRENGTHS = {"drawn": 0.0, "toon": 0.8, "model": 0.0, "photo": 0.0}
# The finish when nothing is said.
FINISHES = {"drawn": "none", "toon": "soft", "model": "none", "photo": "none"}
# The background when nothing is said: what lies behind a toon was not made to
# suit it.
BACKGROUNDS = {"toon": "gradient"}


@dataclasses.dataclass(frozen=True)
class Settings:
  """How avatars are made.

  Attributes:
    style: "drawn", "toon", "model", or "photo": the whole photo, finished
      around its faces.
    size: side of the avatars in pixels.
    body: a whole figure instead of head and shoulders.
    strength: of the deformation to chibi proportions, 0..1; None is the
      style's own.
    knobs: strengths of its parts, see `post.geometry.ChibiKnobs`.
    finish: a preset or a recipe, see `post.recipe`; None is the style's own.
    stickers: names joined by "+", see `chibijax.artist.stickers`; "" is none.
    background: "keep", or as the recipe's `background`; None is the style's.
    frame: as the recipe's `frame`; "" is none.
    attributes: words of the artist set by hand, of the drawn style.
    people: "largest", or "all": an avatar for every face.
    whole: paste the avatars back into the photo, which is the result.
    detector: a kind of `faces.detect.make`.
    detector_weights: its file or folder, where it needs one.
    workdir: training that the style "model" uses.
    limit: the most faces of a photo.
    seed: of whatever is drawn by chance.
    threads: photos worked on at a time.
  """

  style: str = "drawn"
  size: int = 512
  body: bool = False
  strength: float | int | None = None
  knobs: Mapping[str, float | int] = dataclasses.field(default_factory=dict)
  finish: str | None = None
  stickers: str = ""
  background: str | None = None
  frame: str = ""
  attributes: Mapping[str, str | float | int] = dataclasses.field(
    default_factory=dict
  )
  people: str = "largest"
  whole: bool = False
  detector: str = "auto"
  detector_weights: str | None = None
  workdir: str | None = None
  limit: int = 20
  seed: int = 0
  threads: int = 4

  def __post_init__(self) -> None:
    _one_of("style", self.style, STYLES)
    _one_of("people", self.people, PEOPLE)
    if not SIZES[0] <= self.size <= SIZES[1]:
      raise UserError(
        f"size is {self.size}, expected {SIZES[0]} to {SIZES[1]}."
      )
    for name in ("limit", "threads"):
      if getattr(self, name) < 1:
        raise UserError(
          f"{name} is {getattr(self, name)}, expected at least 1."
        )
    if self.style == "model" and self.workdir is None:
      raise UserError(
        "the style 'model' needs the workdir of a training (--workdir)."
      )
    if self.attributes and self.style != "drawn":
      raise UserError(
        f"attributes are set for the style 'drawn'; this is {self.style!r}."
      )
    if self.whole and self.body:
      raise UserError("a whole figure (body) cannot go back into the photo.")
    self.chibi_knobs()
    self.steps()

  @classmethod
  def from_config(cls, config: "Mapping[str, Any] | Settings") -> "Settings":
    """Makes settings of a mapping such as a TOML file or a ConfigDict.

    Args:
      config: values by the names of the fields.

    Returns:
      The settings.

    Raises:
      UserError: if a name is unknown or a value is not allowed.
    """
    if isinstance(config, Settings):
      return config
    values = {
      name: dict(value.items()) if hasattr(value, "items") else value
      for name, value in config.items()
    }
    known = {field.name for field in dataclasses.fields(cls)}
    if unknown := sorted(set(values) - known):
      raise UserError(
        f"unknown settings: {', '.join(unknown)}; expected some of "
        f"{', '.join(sorted(known))}."
      )
    try:
      return cls(**values)
    except TypeError as error:
      raise UserError(f"a setting has the wrong type ({error}).") from error

  @property
  def keeps_photo(self) -> bool:
    """Whether the result is the whole photo."""
    return self.whole or self.style == "photo"

  def chibi_knobs(self) -> ChibiKnobs:
    """The deformation's knobs.

    Raises:
      UserError: if a name is unknown or a value out of range.
    """
    strength = self.strength
    if strength is None:
      strength = STRENGTHS[self.style]
    names = {field.name for field in dataclasses.fields(ChibiKnobs)}
    if unknown := sorted(set(self.knobs) - (names - {"strength"})):
      raise UserError(
        f"unknown knobs: {', '.join(unknown)}; expected some of "
        f"{', '.join(sorted(names - {'strength'}))}."
      )
    try:
      return ChibiKnobs(strength=strength, **self.knobs)
    except (ValueError, TypeError) as error:
      raise UserError(f"{error}.") from error

  def steps(self) -> tuple[recipe.Step, ...]:
    """The finish: background, recipe, stickers and frame in this order.

    Raises:
      UserError: if a step is not understood.
    """
    finish = FINISHES[self.style] if self.finish is None else self.finish
    background = self.background
    if background is None and not (self.keeps_photo or self.body):
      background = BACKGROUNDS.get(self.style)
    parts = [
      f"background={background}" if background else "",
      finish,
      f"sticker={self.stickers}" if self.stickers else "",
      f"frame={self.frame}" if self.frame else "",
    ]
    try:
      steps = sum((recipe.parse(part) for part in parts if part), ())
    except ValueError as error:
      raise UserError(f"{error}.") from error
    # Said before any photo is read.
    for step in steps:
      for word in _words(step):
        _one_of(step.name, word, _WORDS[step.name])
    return steps


def read(path: pathlib.Path) -> dict[str, Any]:
  """Reads settings from a TOML file.

  Args:
    path: the file; its keys are the fields of `Settings`.

  Returns:
    The values, not yet checked.

  Raises:
    UserError: if it cannot be read.
  """
  try:
    return tomllib.loads(path.read_text(encoding="utf-8"))
  except (OSError, UnicodeDecodeError) as error:
    raise UserError(f"{path} cannot be read ({error}).") from error
  except tomllib.TOMLDecodeError as error:
    raise UserError(f"{path} is not TOML: {error}.") from error


_WORDS = {
  "sticker": stickers.STICKERS,
  "background": backgrounds.KINDS,
  "frame": frames.KINDS,
}


def _words(step: recipe.Step) -> list[str]:
  """The words of a step that must be some of a list."""
  if step.name not in _WORDS:
    return []
  first = step.values[0][1]
  return list(first) if isinstance(first, tuple) else str(first).split("+")


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
  if value not in allowed:
    raise UserError(
      f"{name} is {value!r}, expected one of {', '.join(allowed)}."
    )
