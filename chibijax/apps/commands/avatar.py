"""The commands that make pictures of photos: `avatar` and `stickers`."""

import json
import pathlib
import time
from typing import Annotated, Any

import typer

from chibijax.apps.commands.common import (
  NO_FACE,
  fail,
  keep_compiled,
  sentences,
)

LOOK, PLACE, RECORD = "Look", "Faces and photos", "Provenance and report"
Photos = Annotated[
  list[str],
  typer.Argument(
    metavar="PHOTO...", help="Photos, folders of photos, or patterns."
  ),
]
Out = Annotated[
  pathlib.Path | None,
  typer.Option(
    "--out",
    "-o",
    help="A .png, .jpg or .webp name for one photo, or a folder. By default "
    "NAME-chibi.png, or the folder chibis, here.",
  ),
]
Size = Annotated[
  int | None,
  typer.Option(help="Side in pixels; 512 by default.", rich_help_panel=LOOK),
]
Sticker = Annotated[
  list[str] | None,
  typer.Option(
    "--sticker", help="A sticker; may be repeated.", rich_help_panel=LOOK
  ),
]
Background = Annotated[
  str | None,
  typer.Option(
    help="keep, blur, remove, color:#RRGGBB, gradient or pattern:NAME.",
    rich_help_panel=LOOK,
  ),
]
Frame = Annotated[
  str | None,
  typer.Option(help="A frame, such as circle.", rich_help_panel=LOOK),
]
Seed = Annotated[
  int | None,
  typer.Option(help="Decides what is left to chance.", rich_help_panel=LOOK),
]
Detector = Annotated[
  str | None,
  typer.Option(
    help="auto, mtcnn, haar, yunet or blazeface.", rich_help_panel=PLACE
  ),
]
Weights = Annotated[
  str | None,
  typer.Option(
    "--detector-weights",
    help="File of a yunet or blazeface detector.",
    rich_help_panel=PLACE,
  ),
]
Json = Annotated[
  bool,
  typer.Option(
    "--json", help="Print a report as JSON.", rich_help_panel=RECORD
  ),
]
Overwrite = Annotated[
  bool,
  typer.Option(help="Replace pictures that exist.", rich_help_panel=PLACE),
]
Consent = Annotated[
  bool | None,
  typer.Option(
    "--consent/--no-consent",
    help="Record that you may use the photo.",
    rich_help_panel=RECORD,
  ),
]
NoProvenance = Annotated[
  bool,
  typer.Option(
    "--no-provenance",
    help="Leave out credentials, notes and watermark.",
    rich_help_panel=RECORD,
  ),
]

AVATAR_EXAMPLES = """Examples:

  chibijax avatar me.jpg

  chibijax avatar me.jpg --style toon --strength 0.7 --frame circle

  chibijax avatar me.jpg --body --set hair_style=bob --sticker cat_ears

  chibijax avatar 'party/*.jpg' --people all --out chibis

  chibijax avatar group.jpg --whole --style toon
"""
STICKERS_EXAMPLES = """Examples:

  chibijax stickers me.jpg --sticker round_glasses --sticker party_hat

  chibijax stickers group.jpg --sticker cat_ears -o cats.png
"""


def avatar(
  photos: Photos,
  out: Out = None,
  style: Annotated[
    str | None,
    typer.Option(
      help="drawn (default): drawn anew from what the photo shows; toon: the "
      "photo itself, made a chibi; model: a trained network (--workdir).",
      rich_help_panel=LOOK,
    ),
  ] = None,
  size: Size = None,
  body: Annotated[
    bool | None,
    typer.Option(
      "--body/--no-body",
      help="A whole figure, not only a head.",
      rich_help_panel=LOOK,
    ),
  ] = None,
  strength: Annotated[
    float | None,
    typer.Option(
      help="How far a toon's proportions become a chibi's, 0 to 1.",
      rich_help_panel=LOOK,
    ),
  ] = None,
  knob: Annotated[
    list[str] | None,
    typer.Option(
      metavar="NAME=VALUE",
      help="Strength of one part: eyes, brows, lower, nose, mouth, cheeks, "
      "head or body, 0 to 1.5.",
      rich_help_panel=LOOK,
    ),
  ] = None,
  finish: Annotated[
    str | None,
    typer.Option(
      help="A preset or a recipe such as smooth=0.6,palette=12,lines; "
      "--list names them.",
      rich_help_panel=LOOK,
    ),
  ] = None,
  set_: Annotated[
    list[str] | None,
    typer.Option(
      "--set",
      metavar="NAME=WORD",
      help="Say what is drawn, such as hair_style=bob or glasses=round.",
      rich_help_panel=LOOK,
    ),
  ] = None,
  sticker: Sticker = None,
  background: Background = None,
  frame: Frame = None,
  seed: Seed = None,
  people: Annotated[
    str | None,
    typer.Option(
      help="largest (default), or all: an avatar of everyone.",
      rich_help_panel=PLACE,
    ),
  ] = None,
  whole: Annotated[
    bool | None,
    typer.Option(
      "--whole/--no-whole",
      help="The whole photo with everyone turned in it.",
      rich_help_panel=PLACE,
    ),
  ] = None,
  workdir: Annotated[
    str | None,
    typer.Option(
      help="Folder of a training, of the style model.", rich_help_panel=LOOK
    ),
  ] = None,
  config: Annotated[
    pathlib.Path | None,
    typer.Option(
      help="A TOML file of settings; options go before it.",
      rich_help_panel=LOOK,
    ),
  ] = None,
  detector: Detector = None,
  detector_weights: Weights = None,
  overwrite: Overwrite = False,
  consent: Consent = None,
  no_provenance: NoProvenance = False,
  as_json: Json = False,
  _list: Annotated[
    bool,
    typer.Option(
      "--list",
      is_eager=True,
      callback=lambda wanted: _print_words(wanted),
      help="Name finishes, stickers, frames and attributes, and exit.",
    ),
  ] = False,
) -> None:
  """Makes a chibi avatar of a photo of a face.

  Nothing is uploaded, and nothing is downloaded. Every picture says that it
  was made by software; `chibijax inspect` shows how.
  """
  given = {
    "style": style,
    "size": size,
    "body": body,
    "strength": strength,
    "finish": finish,
    "stickers": "+".join(sticker) if sticker else None,
    "background": background,
    "frame": frame,
    "seed": seed,
    "people": people,
    "whole": whole,
    "workdir": workdir,
    "detector": detector,
    "detector_weights": detector_weights,
  }
  with sentences():
    given["knobs"] = _numbers(knob, "--knob")
    given["attributes"] = _words(set_, "--set")
    settings = _settings(config, given)
    _make(
      photos,
      out,
      settings,
      overwrite=overwrite,
      consent=consent,
      provenance=not no_provenance,
      as_json=as_json,
    )


def stickers(
  photos: Photos,
  sticker: Sticker = None,
  out: Out = None,
  seed: Seed = None,
  detector: Detector = None,
  detector_weights: Weights = None,
  overwrite: Overwrite = False,
  consent: Consent = None,
  no_provenance: NoProvenance = False,
  as_json: Json = False,
) -> None:
  """Puts stickers on the faces of a photo, and changes nothing else."""
  if not sticker:
    fail("say which stickers, for example --sticker cat_ears.")
  given = {
    "style": "photo",
    "whole": True,
    "stickers": "+".join(sticker),
    "seed": seed,
    "detector": detector,
    "detector_weights": detector_weights,
  }
  with sentences():
    _make(
      photos,
      out,
      _settings(None, given),
      overwrite=overwrite,
      consent=consent,
      provenance=not no_provenance,
      as_json=as_json,
    )


def _settings(config: pathlib.Path | None, given: dict[str, Any]) -> Any:
  from chibijax.apps import settings

  values = settings.read(config) if config else {}
  for name, value in given.items():
    if isinstance(value, dict):
      values[name] = values.get(name, {}) | value
    elif value is not None:
      values[name] = value
  return settings.Settings.from_config(values)


def _make(
  photos: list[str],
  out: pathlib.Path | None,
  settings: Any,
  *,
  as_json: bool,
  **options: Any,
) -> None:
  """Makes the avatars, says what was made, and ends with the exit code."""
  keep_compiled()
  from chibijax.apps import avatars

  start = time.perf_counter()
  report = avatars.run(photos, out, settings, **options)
  took = time.perf_counter() - start
  if as_json:
    typer.echo(json.dumps(report.to_dict() | {"seconds": took}, indent=2))
  for line in report.sentences():
    typer.echo(line, err=as_json)
  if not report.made and not report.kept:
    raise typer.Exit(NO_FACE if report.faceless else 2)


def _words(pairs: list[str] | None, option: str) -> dict[str, str | float]:
  """Reads NAME=VALUE options; values that are numbers become numbers."""
  from chibijax.errors import UserError

  found: dict[str, str | float] = {}
  for pair in pairs or ():
    name, equals, value = pair.partition("=")
    if not (name and equals and value):
      raise UserError(f"{option} is {pair!r}, expected NAME=VALUE.")
    try:
      found[name] = float(value)
    except ValueError:
      found[name] = value
  return found


def _numbers(pairs: list[str] | None, option: str) -> dict[str, float]:
  from chibijax.errors import UserError

  found = {}
  for name, value in _words(pairs, option).items():
    if isinstance(value, str):
      raise UserError(f"{option} {name} is {value!r}, expected a number.")
    found[name] = value
  return found


def _print_words(wanted: bool) -> bool:
  """Prints everything that options accept, and exits."""
  if not wanted:
    return wanted
  from chibijax.artist import attributes
  from chibijax.artist.stickers import STICKERS
  from chibijax.post import backgrounds, frames, recipe

  typer.echo(recipe.describe())
  typer.echo("\nFrames (--frame):\n  " + ", ".join(frames.KINDS))
  typer.echo("\nBackgrounds (--background):\n  " + ", ".join(backgrounds.KINDS))
  typer.echo("\nStickers (--sticker):\n  " + ", ".join(STICKERS))
  typer.echo("\nAttributes of a drawn avatar (--set NAME=WORD):")
  for name, words in attributes.VALUES.items():
    typer.echo(f"  {name}: {', '.join(words)}")
  for name, (low, high) in attributes.RANGES.items():
    typer.echo(f"  {name}: {low:g} to {high:g}")
  raise typer.Exit
