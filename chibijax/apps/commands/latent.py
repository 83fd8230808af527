"""Commands that walk among a generator's latents.

A latent is named by a seed (a whole number) or by a .npy file that an earlier
command wrote.
"""

import pathlib
from typing import TYPE_CHECKING, Annotated

import typer

from chibijax.apps.commands.common import fail, keep_compiled, sentences

if TYPE_CHECKING:
  import jax
  import numpy as np

  from chibijax.apps import latent

Workdir = Annotated[
  pathlib.Path,
  typer.Option(help="The folder of a training of a GAN or an autoencoder."),
]
Out = Annotated[
  pathlib.Path, typer.Argument(metavar="OUT", help="A .png name.")
]
Named = Annotated[
  list[str],
  typer.Argument(metavar="LATENT...", help="Seeds, or .npy files of latents."),
]
Seed = Annotated[int, typer.Option(help="Decides what is drawn.", min=0)]
Save = Annotated[
  pathlib.Path | None,
  typer.Option(help="Also write the latents, to a .npy file."),
]


def generate(
  out: Out,
  workdir: Workdir,
  count: Annotated[int, typer.Option(help="Pictures.", min=1)] = 64,
  truncation: Annotated[
    float,
    typer.Option(help="Below 1: nearer to the average, less various.", min=0),
  ] = 1.0,
  seed: Seed = 0,
  save: Save = None,
) -> None:
  """Draws new chibis with a trained generator, as one grid."""
  with sentences():
    space = _open(workdir, out)
    z = truncation * space.draw(seed, count)
    _write(out, space.pictures(z, space.labels(seed, count)))
    _save(save, z)
  typer.echo(f"{count} pictures of {space.source}: {out}")


def interpolate(
  out: Out,
  latents: Named,
  workdir: Workdir,
  frames: Annotated[
    int, typer.Option(help="Pictures from one latent to the next.", min=2)
  ] = 8,
  seed: Seed = 0,
) -> None:
  """Blends latents into each other, a row for each pair."""
  import jax.numpy as jnp

  from chibijax.apps import latent

  if len(latents) < 2:
    fail("interpolate needs two latents or more.")
  with sentences():
    space = _open(workdir, out)
    stops = _read(space, latents)
    rows = [
      latent.path(stops[i : i + 2], frames) for i in range(len(stops) - 1)
    ]
    z = jnp.concatenate(rows)
    labels = space.labels(seed, 1)
    if labels is not None:
      labels = jnp.repeat(labels, len(z), 0)
    _write(out, space.pictures(z, labels), columns=frames)
  typer.echo(f"{len(rows)} x {frames} pictures of {space.source}: {out}")


def breed(
  out: Out,
  latents: Named,
  workdir: Workdir,
  children: Annotated[int, typer.Option(help="Pictures.", min=1)] = 16,
  mutation: Annotated[
    float, typer.Option(help="0: only the parents, 1: strangers.")
  ] = 0.2,
  blend: Annotated[
    float, typer.Option(help="0: each trait of one parent, 1: in between.")
  ] = 0.0,
  seed: Seed = 0,
  save: Save = None,
) -> None:
  """Crosses and mutates latents: the parents first, then their children."""
  import jax
  import jax.numpy as jnp

  from chibijax.apps import latent

  if not (0 <= mutation <= 1 and 0 <= blend <= 1):
    fail(f"--mutation {mutation} and --blend {blend} must lie between 0 and 1.")
  with sentences():
    space = _open(workdir, out)
    parents = _read(space, latents)
    born = latent.breed(
      jax.random.key(seed), parents, children, mutation=mutation, blend=blend
    )
    z = jnp.concatenate([parents, born])
    _write(out, space.pictures(z, space.labels(seed, len(z))))
    _save(save, born)
  typer.echo(
    f"{children} children of {len(parents)} parents, {space.source}: {out}"
  )


def project(
  out: Out,
  picture: Annotated[
    pathlib.Path, typer.Argument(metavar="PICTURE", help="What to look like.")
  ],
  workdir: Workdir,
  steps: Annotated[int, typer.Option(help="Steps of the search.", min=0)] = 200,
  seed: Seed = 0,
  save: Save = None,
) -> None:
  """Finds the latent of a picture: the picture, then what was found."""
  import jax.numpy as jnp
  import numpy as np

  from chibijax.data import images as image_files

  with sentences():
    space = _open(workdir, out)
    image = image_files.Reader(size=space.size, fit="center").read(picture)
    signed = jnp.asarray(image[None], jnp.float32) / 127.5 - 1
    z, far = space.find(signed, seed=seed, steps=steps)
    found = space.pictures(z, space.labels(seed, 1))
    _write(out, np.concatenate([image[None], found]))
    _save(save, z)
  typer.echo(
    f"Distance {float(far[0]):.4f} after {steps} steps, {space.source}: {out}"
  )


def _open(workdir: pathlib.Path, out: pathlib.Path) -> "latent.Space":
  from chibijax.apps import latent, pictures

  pictures.form_of(out)
  keep_compiled()
  return latent.load(workdir)


def _read(space: "latent.Space", names: list[str]) -> "jax.Array":
  """Latents by seed or file, all rows of a file."""
  import jax.numpy as jnp
  import numpy as np

  from chibijax.errors import UserError

  rows = []
  for name in names:
    if name.isdigit():
      rows.append(np.asarray(space.draw(int(name))))
      continue
    try:
      found = np.load(name, allow_pickle=False)
    except (OSError, ValueError) as error:
      raise UserError(
        f"{name} is neither a seed nor a .npy file of latents ({error})."
      ) from error
    if found.ndim != 2 or found.shape[1] != space.latent:
      raise UserError(
        f"{name} holds an array {found.shape}, expected rows of {space.latent}"
        " numbers: latents of another training?"
      )
    rows.append(found.astype(np.float32))
  return jnp.asarray(np.concatenate(rows))


def _write(
  out: pathlib.Path, found: "np.ndarray", columns: int | None = None
) -> None:
  """Writes pictures as one grid, row by row."""
  import math

  import numpy as np

  from chibijax.apps import pictures

  columns = columns or math.ceil(math.sqrt(len(found)))
  rows = math.ceil(len(found) / columns)
  size, gap = found.shape[1], 2
  side = size + gap
  grid = np.full((rows * side - gap, columns * side - gap, 3), 255, np.uint8)
  for k, one in enumerate(found):
    top, left = k // columns * side, k % columns * side
    grid[top : top + size, left : left + size] = one
  pictures.save(out, grid)


def _save(path: pathlib.Path | None, z: "np.ndarray") -> None:
  import io

  import numpy as np

  from chibijax.core import workdir

  if path is not None:
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(z))
    workdir.write_bytes(path, buffer.getvalue())
