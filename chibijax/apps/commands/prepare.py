"""The commands `prepare` and `tfds`: pictures made a data set."""

import json
import pathlib
from typing import TYPE_CHECKING, Annotated

import typer

from chibijax.apps.commands.common import (
  NO_FACE,
  AsJson,
  DetectorKind,
  Faces,
  Jobs,
  Margin,
  PhotosOut,
  Size,
  Status,
  fail,
  keep_compiled,
  sentences,
)

if TYPE_CHECKING:  # Imported when it is needed: the commands start fast.
  from chibijax.apps.prepare import Report

EXAMPLES = """Examples:

  chibijax prepare photos/ faces/ --licence CC0-1.0 --consent given

  chibijax prepare people/ faces/ --group folder --about people.csv

  chibijax prepare drawings/ chibis/ --align none --fit letterbox
"""


def prepare(
  photos: PhotosOut,
  size: Size = 256,
  align: Annotated[
    str, typer.Option(help="face: cut out faces; none: whole, for drawings.")
  ] = "face",
  margin: Margin = 0.0,
  faces: Faces = "largest",
  status: Status = None,
  detector: DetectorKind = "auto",
  fit: Annotated[
    str,
    typer.Option(help="Of whole pictures: center, top, letterbox or stretch."),
  ] = "center",
  min_side: Annotated[
    int | None,
    typer.Option(
      help="Least side of a photo; by default half the size of whole ones."
    ),
  ] = None,
  distance: Annotated[
    int | None,
    typer.Option(help="Signs of 255 in which copies differ; -1 keeps copies."),
  ] = None,
  eval_fraction: Annotated[
    float, typer.Option(help="Share held out for evaluation.")
  ] = 0.1,
  group: Annotated[
    str,
    typer.Option(
      help="Not parted by the split: photo, folder or a column of --about."
    ),
  ] = "photo",
  licence: Annotated[
    str, typer.Option("--licence", "--license", help="Of the photos.")
  ] = "unknown",
  consent: Annotated[
    str,
    typer.Option(help="Of those shown, in words; photos with no are left out."),
  ] = "unknown",
  about: Annotated[
    pathlib.Path | None,
    typer.Option(
      help="A CSV: file, then licence, consent, labels and groups, if any."
    ),
  ] = None,
  jobs: Jobs = 4,
  prune: Annotated[
    bool, typer.Option(help="Remove photos that are not named now.")
  ] = False,
  overwrite: Annotated[
    bool, typer.Option(help="Make all anew, the split too.")
  ] = False,
  as_json: AsJson = False,
) -> None:
  """Makes a data set: checked, no copies, aligned, split, with its card."""
  if len(photos) < 2:
    fail("prepare needs photos and, last, the folder to write to.")
  keep_compiled()
  from chibijax.apps import alignment, prepare_pictures, prepare_plan
  from chibijax.apps import prepare as preparing
  from chibijax.data import duplicates

  drawings = align == "none"
  if min_side is None:
    min_side = size // 2 if drawings else 1
  with sentences():
    rules = prepare_plan.Rules(
      eval_fraction=eval_fraction,
      group=group,
      distance=duplicates.LIMIT if distance is None else distance,
      colours=duplicates.COLOURS if drawings else None,
      min_side=min_side,
      licence=licence,
      consent=consent,
    )
    options = alignment.Options(size, margin, tuple(status or ("ok",)), faces)
    report = preparing.run(
      photos[:-1],
      pathlib.Path(photos[-1]),
      prepare_pictures.make(align, options, detector=detector, fit=fit),
      rules=rules,
      about=about,
      jobs=jobs,
      overwrite=overwrite,
      prune=prune,
    )
  if as_json:
    typer.echo(json.dumps(report.to_dict(), indent=2))
  _say(report, as_json)
  if not report.written and not report.kept:
    raise typer.Exit(NO_FACE)


def tfds(
  name: Annotated[
    str,
    typer.Argument(help="celeba, cartoon_set, anime_faces or danbooru."),
  ],
  archives: Annotated[
    pathlib.Path, typer.Argument(help="The folder of what you downloaded.")
  ],
  out: Annotated[
    pathlib.Path, typer.Argument(help="TFDS's data directory, data.tfds_dir.")
  ],
  config: Annotated[
    str | None, typer.Option(help="Of cartoon_set: 10k or 100k.")
  ] = None,
  rating: Annotated[
    list[str] | None,
    typer.Option(help="Of danbooru: letters; by default s and g, the safe."),
  ] = None,
  tag: Annotated[
    list[str] | None, typer.Option(help="Of danbooru: it must be there.")
  ] = None,
  without: Annotated[
    list[str] | None, typer.Option(help="Of danbooru: it may not be there.")
  ] = None,
  label: Annotated[
    list[str] | None, typer.Option(help="Of danbooru: tags as true or false.")
  ] = None,
  min_score: Annotated[
    int | None, typer.Option(help="Of danbooru: the least score.")
  ] = None,
) -> None:
  """Writes a published data set, downloaded by you, for training to read."""
  from chibijax.data.builders import prepare as preparing

  choice = {
    "ratings": tuple(rating or ()),
    "having": tuple(tag or ()),
    "without": tuple(without or ()),
    "labels": tuple(label or ()),
    "min_score": min_score,
  }
  given = {k: v for k, v in choice.items() if v not in ((), None)}
  if given and name != "danbooru":
    fail(f"ratings, tags and scores are of danbooru, not of {name}.")
  own: object = config
  with sentences():
    if given:
      from chibijax.data.builders.danbooru import Choice

      own = Choice(name=config or "chosen", **given)
    label_, counts = preparing.run(name, archives, out, own)
  splits = ", ".join(f"{count} {split}" for split, count in counts.items())
  typer.echo(
    f"{splits}: --config.data.source_a=tfds --config.data.path_a={label_} "
    f"--config.data.tfds_dir={out}"
  )


def _say(report: "Report", as_json: bool) -> None:
  """Says what happened, in a few lines."""
  if report.unused:
    typer.echo(
      f"the CSV names {len(report.unused)} files that are none of the photos,"
      f" such as {report.unused[0]}",
      err=True,
    )
  if report.reasons:
    left = ", ".join(f"{n} {word}" for word, n in report.reasons.most_common())
    typer.echo(f"left out: {left} (manifest.jsonl says which)", err=as_json)
  typer.echo(
    f"{len(report.written)} pictures made, {len(report.kept)} there already: "
    f"{report.splits['train']} to train, {report.splits['eval']} to evaluate, "
    f"of {report.photos} photos in {report.seconds:.1f} s: {report.out}",
    err=as_json,
  )
