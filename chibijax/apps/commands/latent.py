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
  typer.Option(
    help="A training of a GAN or an autoencoder, or an exported one."
  ),
]
Out = Annotated[
  pathlib.Path, typer.Argument(metavar="OUT", help="A .png name.")
]
Named = Annotated[
  list[str],
  typer.Argument(metavar="LATENT...", help="Seeds, or .npy files of latents."),
]
Steered = Annotated[
  list[str] | None,
  typer.Option(
    "--direction",
    metavar="NAME=STRENGTH",
    help="Push along a direction, in standard deviations; may be repeated.",
  ),
]
Learnt = Annotated[
  pathlib.Path | None,
  typer.Option(
    "--directions", help="What the command directions wrote, for --direction."
  ),
]
Where = Annotated[
  str | None,
  typer.Option(
    "--space",
    metavar="z|w",
    help="What is walked: normal draws z or styles w, which StyleGAN2 has and "
    "uses unless told otherwise.",
  ),
]
Told = Annotated[
  list[str] | None,
  typer.Option(
    "--label",
    metavar="NAME=VALUE",
    help="Of a generator trained with labels: draw this, such as "
    "hair_color=pink; may be repeated. The rest is as in a random example.",
  ),
]
Seed = Annotated[int, typer.Option(help="Decides what is drawn.", min=0)]
Save = Annotated[
  pathlib.Path | None,
  typer.Option(help="Also write the latents, to a .npy file."),
]


def generate(
  out: Out,
  workdir: Workdir,
  count: Annotated[int, typer.Option(help="Pictures.", min=1, max=10_000)] = 64,
  truncation: Annotated[
    float,
    typer.Option(help="Below 1: nearer to the average, less various.", min=0),
  ] = 1.0,
  direction: Steered = None,
  directions: Learnt = None,
  label: Told = None,
  where: Where = None,
  seed: Seed = 0,
  save: Save = None,
) -> None:
  """Draws new chibis with a trained generator, as one grid."""
  with sentences():
    space = open_space(workdir, out, where, label).truncated(truncation)
    z = space.draw(seed, count) + _push(space, direction, directions)
    write_grid(out, space.pictures(z, space.labels(seed, count)))
    _save(save, z)
  typer.echo(f"{count} pictures of {space.source}: {out}")


def interpolate(
  out: Out,
  latents: Named,
  workdir: Workdir,
  frames: Annotated[
    int, typer.Option(help="Pictures from one latent to the next.", min=2)
  ] = 8,
  layer: Annotated[
    int,
    typer.Option(
      help="StyleGAN2: blend styles from here on; before, the first "
      "latent's. The last picture of a row then mixes the two.",
      min=0,
    ),
  ] = 0,
  direction: Steered = None,
  directions: Learnt = None,
  label: Told = None,
  where: Where = None,
  seed: Seed = 0,
) -> None:
  """Blends latents into each other, a row for each pair."""
  import jax.numpy as jnp
  import numpy as np

  if len(latents) < 2:
    fail("interpolate needs two latents or more.")
  with sentences():
    space = open_space(workdir, out, where, label)
    stops = _read(space, latents) + _push(space, direction, directions)
    z = space.path(stops, frames, first_layer=layer)
    # Each row ends with the stop that the next one begins with.
    starts = (frames - 1) * np.arange(len(stops) - 1)
    z = z[(starts[:, None] + np.arange(frames)[None]).ravel()]
    labels = space.labels(seed, 1)
    if labels is not None:
      labels = jnp.repeat(labels, len(z), 0)
    write_grid(out, space.pictures(z, labels), columns=frames)
  typer.echo(f"{len(stops) - 1} x {frames} pictures of {space.source}: {out}")


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
  layer: Annotated[
    int,
    typer.Option(
      help="StyleGAN2: mix styles from here on; before, the first parent's.",
      min=0,
    ),
  ] = 0,
  label: Told = None,
  where: Where = None,
  seed: Seed = 0,
  save: Save = None,
) -> None:
  """Crosses and mutates latents: the parents first, then their children."""
  import jax
  import jax.numpy as jnp

  if not (0 <= mutation <= 1 and 0 <= blend <= 1):
    fail(f"--mutation {mutation} and --blend {blend} must lie between 0 and 1.")
  with sentences():
    space = open_space(workdir, out, where, label)
    parents = _read(space, latents)
    born = space.breed(
      jax.random.key(seed),
      parents,
      children,
      mutation=mutation,
      blend=blend,
      first_layer=layer,
    )
    z = jnp.concatenate([parents, born])
    write_grid(out, space.pictures(z, space.labels(seed, len(z))))
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
  direction: Steered = None,
  directions: Learnt = None,
  label: Told = None,
  where: Where = None,
  seed: Seed = 0,
  save: Save = None,
) -> None:
  """Finds the latent of a picture: the picture, what was found, pushed."""
  import jax.numpy as jnp
  import numpy as np

  from chibijax.apps import pictures
  from chibijax.data import images as image_files

  with sentences():
    pictures.check_other(out, picture)
    space = open_space(workdir, out, where, label)
    image = image_files.Reader(size=space.size, fit="center").read(picture)
    signed = jnp.asarray(image[None], jnp.float32) / 127.5 - 1
    push = _push(space, direction, directions)
    z, far = space.find(signed, seed=seed, steps=steps)
    shown = [image[None], space.pictures(z, space.labels(seed, 1))]
    if direction:
      z = z + push
      shown.append(space.pictures(z, space.labels(seed, 1)))
    write_grid(out, np.concatenate(shown), columns=len(shown))
    _save(save, z)
  typer.echo(
    f"Distance {float(far[0]):.4f} after {steps} steps, {space.source}: {out}"
  )


def open_space(
  workdir: pathlib.Path,
  out: pathlib.Path,
  where: str | None = None,
  labels: list[str] | None = None,
) -> "latent.Space":
  """Opens a training, once the picture's name is known to be one."""
  from chibijax.apps import latent, pictures

  pictures.form_of(out)
  keep_compiled()
  return latent.load(workdir, where).saying(labels or ())


def _push(
  space: "latent.Space",
  wanted: list[str] | None,
  file: pathlib.Path | None,
) -> "jax.Array | float":
  """What the options add to latents."""
  import math

  from chibijax.apps import directions_file
  from chibijax.errors import UserError

  if not wanted:
    return 0.0
  if file is None:
    raise UserError("--direction needs --directions, a file of directions.")
  strengths = {}
  for word in wanted:
    # A name may have an equals sign itself, as in glasses=sunglasses.
    name, _, text = word.rpartition("=")
    try:
      strengths[name] = float(text)
    except ValueError:
      strengths[name] = math.nan
    if not name or not math.isfinite(strengths[name]):
      raise UserError(
        f"--direction is {word!r}, expected NAME=STRENGTH such as yaw=2."
      )
  return space.push(directions_file.load(file, space).step(strengths))


def _read(space: "latent.Space", names: list[str]) -> "jax.Array":
  """Latents by seed or file, all rows of a file."""
  import jax.numpy as jnp
  import numpy as np

  from chibijax.errors import UserError

  rows = []
  for name in names:
    if name.isascii() and name.isdigit():
      rows.append(np.asarray(space.draw(int(name))))
      continue
    try:
      found = np.asarray(np.load(name, allow_pickle=False), np.float32)
    except (OSError, ValueError, TypeError) as error:
      raise UserError(
        f"{name} is neither a seed nor a .npy file of latents ({error})."
      ) from error
    if found.ndim != 2 or not len(found) or found.shape[1] != space.latent:
      raise UserError(
        f"{name} holds an array {found.shape}, expected rows of {space.latent}"
        " numbers: latents of another training, or of another --space?"
      )
    if not np.isfinite(found).all():
      raise UserError(f"{name} holds numbers that are not finite.")
    rows.append(found)
  return jnp.asarray(np.concatenate(rows))


def write_grid(
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

  from chibijax.apps import pictures

  if path is not None:
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(z))
    pictures.write(path, buffer.getvalue())
