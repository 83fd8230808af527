"""Commands that use a training: `stylize`, `export`, `publish`, `render`."""

import pathlib
import time
from typing import Annotated

import typer

from chibijax.apps.commands.common import fail, sentences


def stylize(
  photos: Annotated[
    pathlib.Path,
    typer.Argument(
      metavar="PHOTO_OR_FOLDER", help="One photo, or a folder of photos."
    ),
  ],
  out: Annotated[
    pathlib.Path,
    typer.Argument(metavar="OUT", help="A PNG name or a folder."),
  ],
  workdir: Annotated[
    pathlib.Path,
    typer.Option(
      help="The folder of a training (python -m chibijax.main), or an exported "
      "one."
    ),
  ],
  direction: Annotated[
    str, typer.Option(help="a2b: photo to chibi; b2a: the other way.")
  ] = "a2b",
  size: Annotated[
    int | None,
    typer.Option(help="Side in pixels; by default the training's."),
  ] = None,
  batch: Annotated[int, typer.Option(help="Photos a batch.")] = 8,
  crop: Annotated[
    bool,
    typer.Option(help="Crop to a square, or keep the whole photo."),
  ] = True,
  align: Annotated[
    bool,
    typer.Option(
      "--align",
      help="Frame the largest face as the artist's portraits are framed.",
    ),
  ] = False,
  overwrite: Annotated[
    bool, typer.Option(help="Replace pictures that exist.")
  ] = False,
) -> None:
  """Turns a photo, or a folder of them, with a trained network."""
  from chibijax.apps import stylize as stylizing

  start = time.perf_counter()
  with sentences():
    pairs = stylizing.plan(photos, out)
    stylizer = stylizing.load(
      workdir, direction=direction, size=size, batch=min(batch, len(pairs))
    )
    frame = stylizing.framer(stylizer.size) if align else None
    report = stylizing.run(
      pairs, stylizer, crop=crop, frame=frame, overwrite=overwrite
    )
  for photo, reason in report.skipped.items():
    typer.echo(f"skipped {photo}: {reason}", err=True)
  if not report.written and not report.kept:
    fail(f"no picture could be made of {photos}.")
  if report.kept:
    typer.echo(
      f"{len(report.kept)} there already (--overwrite makes them again): "
      f"{report.kept[0]}"
    )
  if report.written:
    where = report.written[0] if len(report.written) == 1 else out
    typer.echo(
      f"{len(report.written)} of {len(pairs)} made at {stylizer.size} px in "
      f"{time.perf_counter() - start:.1f} s with {stylizer.source}: {where}"
    )


def export(
  out: Annotated[
    pathlib.Path,
    typer.Argument(
      metavar="OUT",
      help="A .onnx or .safetensors name, or a folder; .ply or .spz of splats.",
    ),
  ],
  workdir: Annotated[
    pathlib.Path,
    typer.Option(help="The folder of a training, or an exported one."),
  ],
  direction: Annotated[
    str, typer.Option(help="Of a translation in ONNX: a2b or b2a.")
  ] = "a2b",
  size: Annotated[
    int | None,
    typer.Option(help="Side of an ONNX model's pictures, in pixels."),
  ] = None,
) -> None:
  """Writes a training's networks, or its splats, for other programs."""
  from chibijax.apps import export as exporting

  with sentences():
    said = exporting.export(out, workdir, direction=direction, size=size)
  files = [out] if out.is_file() else [p for p in out.iterdir() if p.is_file()]
  total = sum(path.stat().st_size for path in files)
  typer.echo(f"{said}: {out} ({total / 2**20:.2f} MiB)")


def publish(
  folder: Annotated[
    pathlib.Path,
    typer.Argument(metavar="FOLDER", help="What export wrote as a folder."),
  ],
  repository: Annotated[
    str, typer.Argument(metavar="OWNER/NAME", help="On the Hugging Face hub.")
  ],
  private: Annotated[
    bool, typer.Option(help="Hide a new repository from others.")
  ] = True,
) -> None:
  """Uploads an exported folder to the Hugging Face hub."""
  from chibijax.apps import pretrained

  with sentences():
    address = pretrained.push(folder, repository, private=private)
  typer.echo(f"{folder} is published: {address}")


def render(
  splats: Annotated[
    pathlib.Path,
    typer.Argument(metavar="SPLATS", help="A .ply or .spz file of splats."),
  ],
  out: Annotated[
    pathlib.Path,
    typer.Argument(metavar="OUT", help="A .png name, or .gif: a turntable."),
  ],
  azimuth: Annotated[
    float, typer.Option(help="Degrees around the scene; 0 is its front.")
  ] = 0.0,
  elevation: Annotated[
    float, typer.Option(help="Degrees above the horizon.")
  ] = 10.0,
  zoom: Annotated[
    float, typer.Option(help="Above 1 is closer than all of the scene.")
  ] = 1.0,
  fov: Annotated[float, typer.Option(help="Field of view, degrees.")] = 30.0,
  size: Annotated[int, typer.Option(help="Side in pixels.")] = 512,
  views: Annotated[
    int | None,
    typer.Option(help="Views all around, by default 1, of a .gif 36."),
  ] = None,
  up: Annotated[
    str, typer.Option(help="Upward axis of the file: -y, y, z or -z.")
  ] = "-y",
  background: Annotated[
    str, typer.Option(help="Colour behind the scene, #rrggbb.")
  ] = "#ffffff",
) -> None:
  """Renders a file of Gaussian splats, once or from all around."""
  from chibijax.apps import splat_files, splat_scene

  start = time.perf_counter()
  count = views or (36 if out.suffix.lower() == ".gif" else 1)
  if count < 1:
    fail(f"--views is {count}, expected at least 1.")
  with sentences():
    splat_scene.check_name(out)
    gaussians = splat_files.read(splats)
    pictures = splat_scene.render(
      gaussians,
      azimuths=[azimuth + 360 * k / count for k in range(count)],
      elevation=elevation,
      zoom=zoom,
      fov=fov,
      size=size,
      background=splat_scene.parse_color(background),
      up=up,
    )
    splat_scene.save(out, pictures)
  typer.echo(
    f"{len(gaussians.means):,} Gaussians, {count} view(s) in "
    f"{time.perf_counter() - start:.1f} s: {out}"
  )
