"""The command `upscale`."""

import pathlib
import time
from typing import Annotated

import typer

from chibijax.apps.commands.common import keep_compiled, sentences

EXAMPLES = """
**Examples**

    chibijax upscale photo.jpg large.png --weights RealESRGAN_x4plus.pth

    chibijax upscale chibi.png large.png --workdir runs/sr --tile 128
"""


def upscale(
  photo: Annotated[
    pathlib.Path, typer.Argument(metavar="PHOTO", help="A picture.")
  ],
  out: Annotated[
    pathlib.Path, typer.Argument(metavar="OUT", help="The name to write.")
  ],
  workdir: Annotated[
    pathlib.Path | None,
    typer.Option(
      help="A training of configs/super_resolution.py, or an exported one."
    ),
  ] = None,
  weights: Annotated[
    pathlib.Path | None,
    typer.Option(help="A published file of ESRGAN or Real-ESRGAN."),
  ] = None,
  tile: Annotated[
    int, typer.Option(help="Side of a tile in pixels; less needs less memory.")
  ] = 192,
  overlap: Annotated[
    int, typer.Option(help="Pixels that neighbouring tiles share.")
  ] = 32,
) -> None:
  """Enlarges a picture two or four times, with a trained network."""
  from chibijax.apps import pictures
  from chibijax.apps import upscale as upscaling

  keep_compiled()
  start = time.perf_counter()
  with sentences():
    pictures.form_of(out)
    pictures.check_other(out, photo)
    upscaler = upscaling.load(workdir=workdir, weights=weights)
    picture = upscaling.read(photo)
    made = upscaling.enlarge(picture, upscaler, tile=tile, overlap=overlap)
    upscaling.save(out, made)
  typer.echo(
    f"{picture.shape[1]} x {picture.shape[0]} to {made.shape[1]} x "
    f"{made.shape[0]} in {time.perf_counter() - start:.1f} s with "
    f"{upscaler.source}: {out}"
  )
