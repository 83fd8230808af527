"""The `chibijax` command. Errors a user can mend: one sentence, exit code 2."""

import os
import sys
from typing import Annotated

import typer

from chibijax import __version__
from chibijax.apps.commands import (
  avatar,
  avatar3d,
  directions,
  files,
  latent,
  metrics,
  networks,
  prepare,
  track,
)
from chibijax.apps.commands import style as style_command
from chibijax.apps.commands import upscale as upscale_command

app = typer.Typer(
  add_completion=False,
  no_args_is_help=True,
  pretty_exceptions_enable=False,
  rich_markup_mode="markdown",
  help="Turns photos of faces into chibi avatars.",
)
INTERRUPTED = 130
MAKE, USE, TOOLS = "Make avatars", "Use a training", "Tools"

app.command(rich_help_panel=MAKE, epilog=avatar.AVATAR_EXAMPLES)(avatar.avatar)
app.command(rich_help_panel=MAKE, epilog=avatar.STICKERS_EXAMPLES)(
  avatar.stickers
)
app.command(rich_help_panel=MAKE, epilog=style_command.EXAMPLES)(
  style_command.style
)
for _command in (
  latent.generate,
  latent.interpolate,
  latent.breed,
  latent.project,
):
  app.command(rich_help_panel=USE)(_command)
app.command(rich_help_panel=USE, epilog=directions.EXAMPLES)(
  directions.directions
)
app.command(rich_help_panel=USE)(networks.stylize)
app.command(rich_help_panel=USE, epilog=upscale_command.EXAMPLES)(
  upscale_command.upscale
)
app.command(rich_help_panel=USE, epilog=avatar3d.EXAMPLES)(avatar3d.avatar3d)
app.command(rich_help_panel=USE, epilog=avatar3d.ANIMATE_EXAMPLES)(
  avatar3d.animate
)
app.command(rich_help_panel=USE, epilog=avatar3d.EXPORT_EXAMPLES)(
  avatar3d.avatar3d_export
)
app.command(rich_help_panel=USE)(networks.export)
app.command(rich_help_panel=USE)(networks.publish)
app.command(rich_help_panel=USE)(networks.render)
app.command(rich_help_panel=TOOLS, epilog=files.ALIGN_EXAMPLES)(files.align)
app.command(rich_help_panel=TOOLS, epilog=prepare.EXAMPLES)(prepare.prepare)
app.command(rich_help_panel=TOOLS)(prepare.tfds)
app.command(rich_help_panel=TOOLS, epilog=track.EXAMPLES)(track.track)
app.command(rich_help_panel=TOOLS, epilog=files.INSPECT_EXAMPLES)(files.inspect)
app.command(rich_help_panel=TOOLS, epilog=files.FETCH_EXAMPLES)(files.fetch)
app.command(rich_help_panel=TOOLS, epilog=metrics.COMPARE_EXAMPLES)(
  metrics.compare
)
app.command(rich_help_panel=TOOLS)(metrics.path_length)
app.command(rich_help_panel=TOOLS)(files.sample_photo)


def _print_version(wanted: bool) -> bool:
  if wanted:
    typer.echo(f"chibijax {__version__}")
    raise typer.Exit
  return wanted


@app.callback()
def options(
  version: Annotated[
    bool,
    typer.Option(
      "--version",
      callback=_print_version,
      is_eager=True,
      help="Print the version and exit.",
    ),
  ] = False,
) -> None:
  """Turns photos of faces into chibi avatars."""


def main() -> None:
  """Runs the command line."""
  # Its many small products of matrices are ten times slower when OpenBLAS's
  # threads wait for each other. Read when NumPy is first imported, later.
  os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
  try:
    app()
  except KeyboardInterrupt:
    _leave()
  except SystemExit as end:
    if end.code != INTERRUPTED:  # Newer Typers say it so.
      raise
    _leave()


def _leave() -> None:
  """Ends after Ctrl-C, at once.

  JAX's threads may be computing, and Python's own way out would take away what
  they compute on: a segmentation fault.
  """
  print("chibijax: interrupted.", file=sys.stderr)
  sys.stdout.flush()
  sys.stderr.flush()
  os._exit(INTERRUPTED)


if __name__ == "__main__":
  main()
