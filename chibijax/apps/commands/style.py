"""The command `style`."""

import pathlib
import time
from typing import Annotated

import typer

from chibijax.apps.commands.common import fail, keep_compiled, sentences

EXAMPLES = (
  "Examples: `chibijax style me.jpg painting.jpg --out me-painted.png` · "
  "`chibijax style me.jpg artist:7 --keep-colors --out me-drawn.png` · "
  "`chibijax style me.jpg a.png b.png --weight 2 --weight 1 --workdir "
  "runs/adain --out mixed.png`"
)


def style(
  photo: Annotated[
    pathlib.Path, typer.Argument(metavar="PHOTO", help="The photo.")
  ],
  styles: Annotated[
    list[str] | None,
    typer.Argument(
      metavar="[STYLE]...",
      help="Pictures whose style is wanted, artist:N for a drawn chibi, "
      "painting:N for an abstract painting.",
    ),
  ] = None,
  out: Annotated[
    pathlib.Path, typer.Option(help="Name of the picture to write.")
  ] = pathlib.Path("styled.png"),
  method: Annotated[
    str | None,
    typer.Option(
      help="gatys (no training), adain or johnson; by default what the "
      "workdir is, else gatys."
    ),
  ] = None,
  workdir: Annotated[
    pathlib.Path | None,
    typer.Option(
      help="A training of configs/adain.py or configs/johnson.py, or an "
      "exported one."
    ),
  ] = None,
  weight: Annotated[
    list[float] | None,
    typer.Option(help="How much of a style; one for each STYLE, in order."),
  ] = None,
  mask: Annotated[
    list[pathlib.Path] | None,
    typer.Option(
      help="A grey picture, white where a style is wanted; one for each STYLE."
    ),
  ] = None,
  keep_colors: Annotated[
    bool,
    typer.Option(
      "--keep-colors", help="Give the styles the photo's colours first."
    ),
  ] = False,
  strength: Annotated[
    float,
    typer.Option(
      help="How far to go: 0 to 1 for a network, a factor for gatys."
    ),
  ] = 1.0,
  size: Annotated[
    int | None, typer.Option(help="Longer side of the result in pixels.")
  ] = None,
  steps: Annotated[int, typer.Option(help="Iterations of gatys.")] = 200,
  network: Annotated[
    str | None,
    typer.Option(
      help="Feature network of gatys: vgg19, vgg16 or squeezenet; by default "
      "the first whose weights are found."
    ),
  ] = None,
  features: Annotated[
    pathlib.Path | None,
    typer.Option(help="Its file, or a folder of weights."),
  ] = None,
) -> None:
  """Gives a photo the style of other pictures."""
  with sentences():
    from chibijax.apps import pictures
    from chibijax.apps import style as styling

    pictures.form_of(out)
    if not photo.is_file():
      fail(f"{photo} is {'a folder' if photo.is_dir() else 'missing'}.")
    for given in (photo, *map(pathlib.Path, styles or ()), *(mask or ())):
      pictures.check_other(out, given)
    keep_compiled()
    start = time.perf_counter()
    result = styling.make(
      photo,
      styling.Request(
        styles=tuple(styles or ()),
        method=method,
        run=workdir,
        weights=tuple(weight or ()),
        masks=tuple(mask or ()),
        keep_colors=keep_colors,
        strength=strength,
        size=size,
        steps=steps,
        network=network,
        features=features,
      ),
    )
    pictures.save(out, result.image)
  height, width = result.image.shape[:2]
  typer.echo(
    f"{width} x {height} px in {time.perf_counter() - start:.1f} s with "
    f"{result.source}: {out}"
  )
