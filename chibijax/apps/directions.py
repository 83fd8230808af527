"""Ways through a generator's latents that change one attribute each.

A direction is the way in which a label rises fastest, by ridge regression of
labels on latents. Labels are exact where an autoencoder codes the artist's
characters; of a GAN's pictures they are read by such an encoder and a linear
head on its codes, or come from a table of seeds.

A strength counts standard deviations along a direction: 2 is much, 5 leaves
what the generator knows. Of normal draws a direction so has length 1. Styles of
StyleGAN2 (w) depend on each other, and the way in which a label rises fastest
leaves them; there a direction is the way in which they vary with the label,
their covariance times the regression's coefficients, which of normal draws is
the same.

`apps.directions_file` keeps them.
"""

import csv
import dataclasses
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8
from numpy.typing import ArrayLike

from chibijax.apps.latent import Space
from chibijax.data import characters
from chibijax.errors import UserError

Rows: TypeAlias = Float[np.ndarray, "_ _"]

# Pictures made or read at a time.
_ROWS = 64
# Share of the latents that is held out to see how well labels are explained.
_HELD_OUT = 0.25
# Fewer latents than this say nothing.
LEAST_ROWS = 8


@dataclasses.dataclass(frozen=True)
class Directions:
  """Directions of one generator.

  Attributes:
    rows: one for each name, one standard deviation long; zeros where a label
      never changes.
    names: what changes.
    explained: share of a label's variance that latents explain on held-out
      ones, at most 1; below about 0.1 a direction means little.
    rise: what a label rises by along a row.
    source: what they were learnt of, in words.
    space: "z" or "w", see `apps.latent.Space`.
  """

  rows: Float[np.ndarray, "k l"]
  names: tuple[str, ...]
  explained: tuple[float, ...]
  rise: tuple[float, ...]
  source: str
  space: str = "z"

  def best(self, count: int) -> tuple[str, ...]:
    """The names that are explained best, at most so many."""
    order = np.argsort([-x for x in self.explained], kind="stable")
    found = [self.names[i] for i in order if self.explained[i] > 0]
    return tuple(found[:count])

  def step(self, wanted: Mapping[str, float]) -> Float[Array, "1 l"]:
    """What must be added to latents, but for `Space.push`.

    Args:
      wanted: strengths by name, in standard deviations of a latent.

    Returns:
      One row.

    Raises:
      UserError: if there is no such direction.
    """
    total = np.zeros(self.rows.shape[1], np.float32)
    for name, strength in wanted.items():
      if name not in self.names:
        some = ", ".join(self.best(6)) or "none"
        raise UserError(
          f"There is no direction {name!r} among {len(self.names)}; those "
          f"learnt best are {some}."
        )
      total += strength * self.rows[self.names.index(name)]
    return jnp.asarray(total[None])


def regress(
  latents: Rows, labels: Rows, *, ridge: float = 1.0
) -> tuple[Rows, Float[np.ndarray, " k"]]:
  """Ridge regression of labels on latents.

  Args:
    latents: of pictures whose labels are known, [N, L].
    labels: [N, K], such as `data.characters.label` gives.
    ridge: weight of the squared coefficients, relative to one example.

  Returns:
    Coefficients [L, K], by which a label changes with a latent, and constants.
  """
  center, mean = latents.mean(0), labels.mean(0)
  x, y = latents - center, labels - mean
  gram = x.T @ x + ridge * np.eye(x.shape[1])
  weights = np.linalg.solve(gram, x.T @ y)
  return weights, mean - center @ weights


def explained(
  latents: Rows,
  labels: Rows,
  fitted: tuple[Rows, Float[np.ndarray, " k"]],
) -> Float[np.ndarray, " k"]:
  """Share of the labels' variance that a regression explains.

  Args:
    latents: [N, L], others than it was fitted on.
    labels: [N, K].
    fitted: from `regress`.

  Returns:
    For each label at most 1; 0 for one that never changes.
  """
  weights, constant = fitted
  left = np.square(labels - latents @ weights - constant).sum(0)
  spread = np.square(labels - labels.mean(0)).sum(0)
  return np.where(spread < 1e-8, 0.0, 1 - left / np.maximum(spread, 1e-8))


def fit(
  latents: ArrayLike,
  labels: ArrayLike,
  names: Sequence[str],
  *,
  source: str = "",
  ridge: float = 1.0,
  space: str = "z",
) -> Directions:
  """Learns the direction of each label.

  Args:
    latents: [N, L]; in z normal draws or near to it.
    labels: [N, K].
    names: K names.
    source: what this was learnt of, in words.
    ridge: see `regress`.
    space: "z" or "w".

  Returns:
    The directions; how well they explain is measured on a quarter of the
    latents that a first regression did not see.

  Raises:
    UserError: for too few latents.
  """
  z, y = (np.asarray(x, np.float64) for x in (latents, labels))
  if len(z) < LEAST_ROWS:
    raise UserError(
      f"Directions need at least {LEAST_ROWS} latents with labels, got "
      f"{len(z)}."
    )
  held = round(_HELD_OUT * len(z))
  first = regress(z[held:], y[held:], ridge=ridge)
  shares = explained(z[:held], y[:held], first)
  weights, _ = regress(z, y, ridge=ridge)
  ways = weights
  if space == "w":
    center = z - z.mean(0)
    ways = center.T @ (center @ weights) / (len(z) - 1)
  spread = np.sqrt(np.maximum((weights * ways).sum(0), 0))
  rise = np.where(y.std(0) > 1e-4, spread, 0.0)
  rows = ways.T / np.where(rise > 0, rise, np.inf)[:, None]
  return Directions(
    # In C's order, which is the only one that safetensors writes.
    np.ascontiguousarray(rows, np.float32),
    tuple(names),
    tuple(map(float, shares)),
    tuple(map(float, rise)),
    source,
    space,
  )


def of_characters(space: Space, count: int) -> Directions:
  """Directions of an autoencoder: the artist's labels are exact.

  Args:
    space: from a training of an autoencoder.
    count: characters drawn, ten milliseconds each.

  Returns:
    One direction for each of `data.characters.LABELS`.

  Raises:
    UserError: if it has no encoder, or `count` is too small.
  """
  codes, labels = _coded(space, count)
  return fit(codes, labels, characters.LABELS, source=space.source)


def of_reader(
  space: Space, reader: Space, count: int, seed: int, taught: int
) -> Directions:
  """Directions of a generator whose pictures an encoder reads.

  Args:
    space: the generator.
    reader: an autoencoder of pictures of the same size.
    count: pictures that are made and read.
    seed: of their latents.
    taught: of the artist's characters that teach the encoder's linear head.

  Returns:
    One direction for each of `data.characters.LABELS`.

  Raises:
    UserError: if the reader cannot read the generator's pictures.
  """
  if reader.size != space.size:
    raise UserError(
      f"--reader reads pictures of {reader.size} pixels, and the generator "
      f"makes pictures of {space.size}."
    )
  codes, labels = _coded(reader, taught)
  weights, constant = regress(codes, labels)
  z = space.draw(seed, count)
  told = space.labels(seed, 1)
  encode = jax.jit(reader.encode)
  found = []
  for start in range(0, count, _ROWS):
    part = z[start : start + _ROWS]
    given = None
    if told is not None:
      given = jnp.broadcast_to(told, (len(part), told.shape[1]))
    found.append(np.asarray(encode(space.decode(part, given))))
  read = np.concatenate(found) @ weights + constant
  return fit(
    space.coordinates(z),
    read,
    characters.LABELS,
    source=f"{space.source}; read by {reader.source}",
    space=space.name,
  )


def of_table(space: Space, path: pathlib.Path) -> Directions:
  """Directions of labels that somebody gave to seeds.

  Args:
    space: the generator.
    path: a CSV with a column `seed` and one of numbers for each label.

  Returns:
    One direction for each column.

  Raises:
    UserError: if the table cannot be used.
  """
  try:
    with path.open(encoding="utf-8-sig", newline="") as file:
      found = list(csv.DictReader(file, restval="", strict=True))
  except (OSError, csv.Error, UnicodeDecodeError) as error:
    raise UserError(f"{path} cannot be read as a CSV ({error}).") from error
  names = [name for name in (found[0] if found else {}) if name]
  if "seed" not in names or len(names) < 2:
    raise UserError(
      f"{path} needs a column seed and one for each label, got "
      f"{', '.join(names) or 'nothing'}."
    )
  names.remove("seed")
  z, labels = [], []
  for line, row in enumerate(found, 2):
    if not row["seed"].strip().isdigit():
      raise UserError(
        f"{path}, line {line}: the seed is {row['seed']!r}, expected a whole "
        "number."
      )
    one = space.draw(int(row["seed"]))
    z.append(np.asarray(space.coordinates(one)))
    labels.append([_number(path, line, name, row[name]) for name in names])
  return fit(
    np.concatenate(z),
    labels,
    names,
    source=f"{space.source}; labels of {path.name}",
    space=space.name,
  )


def sheet(
  space: Space,
  found: Directions,
  names: Sequence[str],
  strengths: Sequence[float],
  seed: int = 0,
) -> UInt8[np.ndarray, "n h w 3"]:
  """Pictures of one latent pushed each way.

  Args:
    space: the generator.
    found: its directions.
    names: which, one after the other.
    strengths: of each.
    seed: of the latent.

  Returns:
    One picture for each name and strength, those of a name together.

  Raises:
    UserError: if there is no such direction.
  """
  z = space.draw(seed)
  rows = [
    np.asarray(z + space.push(found.step({n: s})))
    for n in names
    for s in strengths
  ]
  labels = space.labels(seed, 1)
  if labels is not None:
    labels = jnp.repeat(labels, len(rows), 0)
  return space.pictures(jnp.asarray(np.concatenate(rows)), labels)


def _coded(space: Space, count: int) -> tuple[Rows, Rows]:
  """Codes of the artist's characters, and what they are."""
  if space.encode is None or space.drawn is None:
    raise UserError(
      f"{space.source} has no encoder: give --reader the workdir of an "
      "autoencoder, or --labels a table of seeds."
    )
  encode = jax.jit(space.encode)
  codes, labels = [], []
  for start in range(0, count, _ROWS):
    drawn = [
      space.drawn.load(i) for i in range(start, min(start + _ROWS, count))
    ]
    images = np.stack([one["image"] for one in drawn])
    signed = jnp.asarray(images / np.float32(127.5) - 1)
    codes.append(np.asarray(encode(signed)))
    labels.append(np.stack([one["attributes"] for one in drawn]))
  return np.concatenate(codes), np.concatenate(labels)


def _number(path: pathlib.Path, line: int, name: str, text: str) -> float:
  try:
    value = float(text)
  except ValueError:
    value = math.nan
  if not math.isfinite(value):
    raise UserError(
      f"{path}, line {line}: {name} is {text!r}, expected a number."
    )
  return value
