"""The card of a prepared data set: what it is, and may be used for."""

import pathlib
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from chibijax import __version__
from chibijax.apps.prepare_plan import DROPPED, UNKNOWN, Rules
from chibijax.core import workdir
from chibijax.errors import UserError
from chibijax.faces.face import MEANINGS

NAME = "README.md"


@runtime_checkable
class Counts(Protocol):
  """What the card counts; see `chibijax.apps.prepare.Report`."""

  out: pathlib.Path
  splits: Mapping[str, int]
  photos: int
  licences: Mapping[str, int]
  consents: Mapping[str, int]

  @property
  def reasons(self) -> Mapping[str, int]:
    """How many photos were dropped for each reason."""


def write(counts: Counts, settings: Mapping[str, Any], rules: Rules) -> None:
  """Writes OUT/README.md.

  Args:
    counts: of the whole data set.
    settings: of its pictures.
    rules: how photos were chosen.

  Raises:
    UserError: if it cannot be written.
  """
  try:
    workdir.write_text(counts.out / NAME, text(counts, settings, rules))
  except OSError as error:
    raise UserError(
      f"{counts.out} cannot be written ({error.strerror or error})."
    ) from error


def text(counts: Counts, settings: Mapping[str, Any], rules: Rules) -> str:
  """The card; arguments as of `write`.

  Returns:
    Markdown, the same for the same data set.
  """
  name = counts.out.absolute().name
  total = sum(counts.splits.values())
  what = "Aligned faces" if settings["align"] == "face" else "Square pictures"
  used = counts.photos - sum(counts.reasons.values())
  parts = [
    f"# {name}",
    f"{what}, {settings['size']} px, made by chibijax {__version__} of {used} "
    f"of {counts.photos} photos. `manifest.jsonl` says what was made of each, "
    "`contact_sheet.png` shows some.",
    _table(
      ("split", "pictures"),
      [
        *((k, counts.splits.get(k, 0)) for k in ("train", "eval")),
        ("all", total),
      ],
    ),
    "## Rights",
    _table(("licence", "photos"), _most(counts.licences)),
    _table(("consent of those shown", "photos"), _most(counts.consents)),
    _warning(counts),
    "## Left out",
    _left_out(counts),
    "## How it was made",
    _table(
      ("setting", "value"),
      [*((k, _value(v)) for k, v in settings.items()), *_chosen(rules)],
    ),
    "A photo's split depends on its content, or on its group's name, by a "
    "hash: more photos move none of these, and copies are on one side.",
    "## How to read it",
    f"```\n--config.data.source_a=folder --config.data.path_a={name}\n```",
  ]
  return "\n\n".join(part for part in parts if part) + "\n"


def _warning(counts: Counts) -> str:
  """What is not known and has to be before pictures are published."""
  unknown = {
    "licence": counts.licences.get(UNKNOWN, 0),
    "consent": counts.consents.get(UNKNOWN, 0),
  }
  missing = [f"the {k} of {n} photos" for k, n in unknown.items() if n]
  if not missing:
    return ""
  return (
    f"**Not known: {' and '.join(missing)}.** Find out before these pictures, "
    "or a network trained on them, are passed on."
  )


def _left_out(counts: Counts) -> str:
  if not counts.reasons:
    return "Nothing."
  meanings = {**MEANINGS, **DROPPED}
  return _table(
    ("status", "photos", "meaning"),
    [(k, n, meanings.get(k, "")) for k, n in _most(counts.reasons)],
  )


def _chosen(rules: Rules) -> list[tuple[str, Any]]:
  distance = f"{rules.distance} of 255 signs"
  if rules.colours is not None:
    distance += f", colours {rules.colours} of 255"
  return [
    ("held out", f"{100 * rules.eval_fraction:g} %"),
    ("group", rules.group),
    ("copies differ by at most", "kept" if rules.distance < 0 else distance),
    ("least side of a photo", f"{rules.min_side} px"),
  ]


def _most(counts: Mapping[str, int]) -> list[tuple[str, int]]:
  return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _value(value: Any) -> str:
  return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
  cells = [head, ("---",) * len(head), *rows]
  lines = [" | ".join(_cell(cell) for cell in row) for row in cells]
  return "\n".join(f"| {line} |" for line in lines)


def _cell(value: Any) -> str:
  """A value that cannot end its cell."""
  return " ".join(str(value).split()).replace("|", "\\|")
