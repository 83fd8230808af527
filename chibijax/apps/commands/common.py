"""What all commands share: sentences, exit codes and the compiler's cache.

Exit codes: 0 something was made, 2 the command was used wrongly or a file
cannot be used, 3 no photo or frame showed a face.
"""

import contextlib
from collections.abc import Iterator
from typing import Annotated, NoReturn

import typer

USAGE = 2
NO_FACE = 3

# Options of every command that cuts faces out of photos.
PhotosOut = Annotated[
  list[str],
  typer.Argument(
    metavar="PHOTO... OUT", help="Photos, folders, patterns; then a folder."
  ),
]
Size = Annotated[int, typer.Option(help="Side in pixels.")]
Margin = Annotated[
  float, typer.Option(help="Room around the face, in sides of the frame.")
]
Faces = Annotated[
  str, typer.Option(help="largest: of each photo; all: everyone.")
]
Status = Annotated[
  list[str] | None,
  typer.Option(help="A face's status that is good enough; by default ok."),
]
DetectorKind = Annotated[
  str, typer.Option(help="auto, mtcnn, haar, yunet or blazeface.")
]
Jobs = Annotated[int, typer.Option(help="Photos at a time.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print a report as JSON.")]


def fail(sentence: str, code: int = USAGE) -> NoReturn:
  """Ends the command with one sentence on stderr.

  Args:
    sentence: what is wrong, and what would be right.
    code: the exit code.
  """
  typer.echo(f"chibijax: {sentence}", err=True)
  raise typer.Exit(code)


@contextlib.contextmanager
def sentences() -> Iterator[None]:
  """Turns errors that a user can mend into sentences."""
  from chibijax.errors import NoFaceError, UserError

  try:
    yield
  except NoFaceError as error:
    fail(str(error), NO_FACE)
  except UserError as error:
    fail(str(error))


def keep_compiled() -> None:
  """Lets JAX keep what it compiled, so that the next command starts faster."""
  import jax

  from chibijax.apps import folders

  folder = folders.cache() / "compiled"
  try:
    folder.mkdir(parents=True, exist_ok=True)
  except OSError:
    return  # A home that cannot be written to only makes it slower.
  jax.config.update("jax_compilation_cache_dir", str(folder))
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
