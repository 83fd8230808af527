"""A finish as one line of text: `smooth=0.6,palette=12,lines,frame=circle`.

A recipe is a list of steps, done in order. A step is NAME, NAME=VALUE or
NAME=VALUE:KEY=VALUE, where VALUE sets the step's first parameter and the others
go by their names, or in their order:

    palette=8            lines=0.7:width=1.5        background=color:#ffccdd
    sticker=hat+hearts   duotone=0.8:colors=#112233+#ffeedd

A bare word that names a preset stands for the preset's steps. Steps and presets
are in `post.finishes`.
"""

import dataclasses
import re
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float, Float32

from chibijax.post.finishes import (
  PRESETS,
  STEPS,
  AnyPicture,
  Context,
  Masks,
  Parameter,
  Value,
)
from chibijax.post.smooth import Picture

Result: TypeAlias = Float32[np.ndarray, "h w c2"]

_HEX = re.compile(r"#[0-9a-fA-F]{6}")


@dataclasses.dataclass(frozen=True)
class Step:
  """One step with all its parameters, as `parse` makes it."""

  name: str
  values: tuple[tuple[str, Value], ...]

  def __str__(self) -> str:
    kind, words = STEPS[self.name], []
    # A bare word would be read as the preset of that name.
    bare = kind.bare and self.name not in PRESETS
    for place, (parameter, (name, value)) in enumerate(
      zip(kind.parameters, self.values)
    ):
      if value == parameter.default and (place or bare):
        continue
      text = "+".join(value) if isinstance(value, tuple) else _number(value)
      words.append(text if place == 0 else f"{name}={text}")
    if not words:
      return self.name
    first = self.values[0][1] != kind.parameters[0].default or not bare
    return f"{self.name}{'=' if first else ':'}{':'.join(words)}"


def _number(value: Value) -> str:
  return f"{value:.6g}" if isinstance(value, float) else str(value)


def parse(text: str) -> tuple[Step, ...]:
  """Reads a recipe.

  Args:
    text: steps and presets, separated by commas; see the module.

  Returns:
    The steps in their order, with every parameter filled in.

  Raises:
    ValueError: if a step, parameter or value is not known, in one sentence.
  """
  steps: list[Step] = []
  for word in (part.strip() for part in text.split(",")):
    if word in PRESETS:
      steps += [_step(part) for part in PRESETS[word].split(",") if part]
    elif word:
      steps.append(_step(word))
  return tuple(steps)


def _step(word: str) -> Step:
  head, *rest = word.split(":")
  name, equals, first = (part.strip() for part in head.partition("="))
  if name not in STEPS:
    raise ValueError(
      f"no step or preset is called {name!r}; steps are {', '.join(STEPS)}, "
      f"presets are {', '.join(PRESETS)}"
    )
  kind = STEPS[name]
  known = {parameter.name: parameter for parameter in kind.parameters}
  given: dict[str, str] = {}
  if equals:
    given[kind.parameters[0].name] = first
  for place, part in enumerate(rest, 1):
    key, has_key, value = (piece.strip() for piece in part.partition("="))
    if not has_key and place < len(kind.parameters):
      # VALUE:VALUE, as in background=color:#ffffff.
      key, value = kind.parameters[place].name, key
    if key not in known:
      raise ValueError(
        f"step {name!r} has no parameter {key!r}; it has {', '.join(known)}"
      )
    if key in given:
      raise ValueError(f"step {name!r} sets {key!r} twice")
    given[key] = value
  if not kind.bare and not given.get(kind.parameters[0].name):
    raise ValueError(
      f"step {name!r} needs a value: {name}={kind.parameters[0].name.upper()}"
    )
  return Step(
    name,
    tuple(
      (key, _value(name, parameter, given[key]))
      if key in given
      else (key, parameter.default)
      for key, parameter in known.items()
    ),
  )


def _value(step: str, parameter: Parameter, text: str) -> Value:
  """A value of the type of the parameter's default, in its range."""
  name, default = f"{parameter.name} of step {step!r}", parameter.default
  if isinstance(default, tuple):
    words = tuple(part.strip() for part in text.split("+"))
    if parameter.name == "colors":
      for word in words:
        _check_color(name, word)
    return words
  if isinstance(default, str):
    # Steps with an empty default also know names of colours.
    if default.startswith("#"):
      _check_color(name, text)
    return text
  try:
    value = type(default)(text)
  except ValueError:
    what = "a whole number" if isinstance(default, int) else "a number"
    raise ValueError(f"{name} must be {what}; got {text!r}") from None
  if not parameter.low <= value <= parameter.high:
    raise ValueError(
      f"{name} must be in [{parameter.low:g}, {parameter.high:g}]; got {text}"
    )
  return value


def _check_color(name: str, text: str) -> None:
  if not _HEX.fullmatch(text):
    raise ValueError(f"{name} must look like #ffccdd; got {text!r}")


def format_steps(steps: Sequence[Step]) -> str:
  """Writes steps as the shortest text that `parse` reads back."""
  return ",".join(str(step) for step in steps)


def apply(
  image: Picture,
  steps: str | Sequence[Step],
  *,
  landmarks: Float[np.ndarray, "68 2"] | None = None,
  masks: Masks | None = None,
  reference: AnyPicture | None = None,
  reference_masks: Masks | None = None,
  seed: int = 0,
) -> Result:
  """Does a recipe's steps in order.

  Args:
    image: float32 sRGB in [0, 1], three channels or four with straight alpha.
    steps: from `parse`, or its text.
    landmarks: 68 points in pixels of the image, for steps on a face.
    masks: "skin", "hair", "background"… of the image.
    reference: the photo whose colours `color` carries over.
    reference_masks: of the reference; `masks` if it shows the same in the same
      place.
    seed: of everything random.

  Returns:
    The picture; a frame that crops may have given it an alpha channel.

  Raises:
    ValueError: if a step cannot be done: its name, and what it lacks.
  """
  steps = parse(steps) if isinstance(steps, str) else tuple(steps)
  context = Context(landmarks, masks, reference, reference_masks, seed)
  known = {
    "landmarks": landmarks,
    "masks": masks,
    "reference": reference,
  }
  lacking = [
    f"{step.name} needs {need}, and there are none"
    for step in steps
    for need in STEPS[step.name].needs
    if known[need] is None
  ]
  if lacking:
    raise ValueError("; ".join(lacking))
  found: Any = np.asarray(image, np.float32)
  for step in steps:
    if STEPS[step.name].flattens and context.source is None:
      context = dataclasses.replace(context, source=found)
    found = STEPS[step.name].run(found, context, **dict(step.values))
  return np.array(found, np.float32)


def describe() -> str:
  """All steps with their parameters and defaults, and presets, for a help."""
  rows = ["Steps (NAME=VALUE:KEY=VALUE, separated by commas):"]
  for name, kind in STEPS.items():
    parts = []
    for parameter in kind.parameters:
      default = parameter.default
      shown = "+".join(default) if isinstance(default, tuple) else default
      parts.append(f"{parameter.name}={shown if shown != '' else '…'}")
    needs = f" (needs {', '.join(kind.needs)})" if kind.needs else ""
    rows += [f"  {name:<11}{kind.help}{needs}", f"  {'':<11}{' '.join(parts)}"]
  rows += ["", "Presets:"]
  rows += [f"  {name:<11}{text or '-'}" for name, text in PRESETS.items()]
  return "\n".join(rows)
