"""The command `directions`: what changes one attribute of a generator."""

import pathlib
from typing import Annotated

import typer

from chibijax.apps.commands.common import fail, keep_compiled, sentences
from chibijax.apps.commands.latent import Seed, Where, Workdir, write_grid

EXAMPLES = """Examples:

  chibijax directions ways.safetensors --workdir runs/autoencoder

  chibijax directions ways.safetensors --workdir runs/r3gan
  --reader runs/autoencoder --sheet ways.png

  chibijax generate grid.png --workdir runs/r3gan
  --directions ways.safetensors --direction skin_tone=2
"""
# Rows of the sheet, unless they are named.
_SHOWN = 8


def directions(
  out: Annotated[
    pathlib.Path, typer.Argument(metavar="OUT", help="A .safetensors name.")
  ],
  workdir: Workdir,
  reader: Annotated[
    pathlib.Path | None,
    typer.Option(
      help="The folder of a training of an autoencoder, which reads the "
      "artist's attributes from a GAN's pictures."
    ),
  ] = None,
  labels: Annotated[
    pathlib.Path | None,
    typer.Option(help="A CSV with a column seed and one for each label."),
  ] = None,
  count: Annotated[
    int, typer.Option(help="Pictures to learn from.", min=8)
  ] = 2048,
  characters: Annotated[
    int, typer.Option(help="Characters that teach the reader.", min=8)
  ] = 1024,
  sheet: Annotated[
    pathlib.Path | None,
    typer.Option(help="A .png: a row for each direction, weak to strong."),
  ] = None,
  show: Annotated[
    list[str] | None,
    typer.Option(help="A direction of the sheet; may be repeated."),
  ] = None,
  strongest: Annotated[
    float, typer.Option(help="Of the sheet, in standard deviations.", min=0)
  ] = 4.0,
  where: Where = None,
  seed: Seed = 0,
) -> None:
  """Learns which ways through the latents change which attribute."""
  from chibijax.apps import directions as ways
  from chibijax.apps import directions_file, latent, pictures

  if out.suffix.lower() != ".safetensors":
    fail(f"{out} is not a name for directions; expected NAME.safetensors.")
  if reader is not None and labels is not None:
    fail("--reader and --labels exclude each other.")
  with sentences():
    if sheet is not None:
      pictures.form_of(sheet)
    keep_compiled()
    space = latent.load(workdir, where)
    if labels is not None:
      found = ways.of_table(space, labels)
    elif reader is not None:
      read = latent.load(reader)
      found = ways.of_reader(space, read, count, seed, characters)
    else:
      found = ways.of_characters(space, count)
    names = tuple(show or found.best(_SHOWN))
    found.step(dict.fromkeys(names, 0.0))  # A name that is none is said.
    if sheet is not None:
      if not names:
        fail("No direction explains anything; there is no sheet.")
      share = strongest / 3
      strengths = [share * k for k in range(-3, 4)]
      grid = ways.sheet(space, found, names, strengths, seed)
      write_grid(sheet, grid, columns=len(strengths))
    directions_file.save(out, found)
  for name in names:
    typer.echo(f"{found.explained[found.names.index(name)]:6.2f}  {name}")
  typer.echo(f"{len(found.names)} directions of {found.source}: {out}")
