"""Commands about files: `align`, `inspect`, `fetch` and `sample-photo`."""

import json
import pathlib
from typing import Annotated

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

# Left, top and side in pixels of her head and collar in scikit-image's photo.
ASTRONAUT_FACE = (90, 0, 256)

ALIGN_EXAMPLES = """Examples:

  chibijax align photos/ faces/ --size 256

  chibijax align photos/ faces/ --faces all --margin 0.2
"""
INSPECT_EXAMPLES = """Example:

  chibijax inspect me-chibi.png
"""
FETCH_EXAMPLES = """Examples:

  chibijax fetch

  chibijax fetch yunet
"""


def align(
  photos: PhotosOut,
  size: Size = 256,
  margin: Margin = 0.0,
  faces: Faces = "largest",
  status: Status = None,
  detector: DetectorKind = "auto",
  jitter: Annotated[
    int, typer.Option(help="Moved copies of each face, for training.")
  ] = 0,
  jobs: Jobs = 4,
  overwrite: Annotated[bool, typer.Option(help="Make all anew.")] = False,
  as_json: AsJson = False,
) -> None:
  """Cuts aligned faces out of photos: a data set, its list and a look at it."""
  if len(photos) < 2:
    fail("align needs photos and, last, the folder to write to.")
  keep_compiled()
  from chibijax.apps import alignment

  out = pathlib.Path(photos[-1])
  with sentences():
    report = alignment.run(
      photos[:-1],
      out,
      size=size,
      margin=margin,
      faces=faces,
      min_status=tuple(status or ("ok",)),
      detector=detector,
      jitter=jitter,
      jobs=jobs,
      overwrite=overwrite,
    )
  if as_json:
    typer.echo(json.dumps(report.to_dict(), indent=2))
  for photo, reason in report.skipped.items():
    typer.echo(f"skipped {photo}: {reason}", err=True)
  counts = ", ".join(f"{n} {word}" for word, n in report.statuses.most_common())
  typer.echo(
    f"{len(report.written)} faces written, {len(report.kept)} there already "
    f"({counts}) in {report.seconds:.1f} s: {out}",
    err=as_json,
  )
  if not report.written and not report.kept:
    raise typer.Exit(NO_FACE)


def inspect(
  pictures: Annotated[
    list[pathlib.Path],
    typer.Argument(metavar="PICTURE...", help="Pictures of any origin."),
  ],
  as_json: Annotated[
    bool, typer.Option("--json", help="Print everything found as JSON.")
  ] = False,
) -> None:
  """Says how pictures were made, and whether they were changed since."""
  from chibijax.apps import provenance

  found = []
  with sentences():
    for path in pictures:
      found.append(provenance.read(path))
      if not as_json:
        if len(pictures) > 1:
          typer.echo(f"{path}:")
        for line in found[-1].describe():
          typer.echo(line)
  if as_json:
    typer.echo(json.dumps([one.to_dict() for one in found], indent=2))


def fetch(
  name: Annotated[
    str | None,
    typer.Argument(
      help="What to download; without it, all there is is listed."
    ),
  ] = None,
  to: Annotated[
    pathlib.Path | None,
    typer.Option(help="A file; by default in the cache, where it is found."),
  ] = None,
  source: Annotated[
    pathlib.Path | None,
    typer.Option(help="Take the file from here; its hash is checked as well."),
  ] = None,
  yes: Annotated[bool, typer.Option(help="Do not ask.")] = False,
) -> None:
  """Downloads weights of others, after showing address, hash and licence."""
  from chibijax.apps import fetch as fetching

  if name is None:
    for line in fetching.describe():
      typer.echo(line)
    return
  with sentences():
    path = fetching.fetch(name, to=to, yes=yes, source=source, show=typer.echo)
  typer.echo(str(path))


def sample_photo(
  out: Annotated[
    pathlib.Path, typer.Argument(metavar="OUT", help="A PNG name.")
  ],
) -> None:
  """Writes a public-domain photo of a face: astronaut Eileen Collins."""
  try:
    from skimage import data
  except ImportError:
    fail("sample-photo needs scikit-image: pip install 'chibijax[app]'.")
  from chibijax.apps.pictures import save as save_picture

  left, top, side = ASTRONAUT_FACE
  with sentences():
    save_picture(out, data.astronaut()[top : top + side, left : left + side])
  typer.echo(f"Eileen Collins, photo by NASA (public domain): {out}")
