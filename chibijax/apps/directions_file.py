"""Directions as a safetensors file.

Its header has their names, their space and how well each was learnt.
"""

import json
import pathlib

import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy

from chibijax.apps import directions, pictures
from chibijax.apps.latent import Space
from chibijax.errors import UserError

_FORMAT = "chibijax directions 1"
_TENSOR = "directions"


def save(path: pathlib.Path, found: directions.Directions) -> None:
  """Writes directions as safetensors.

  Raises:
    UserError: if it cannot be written.
  """
  told = {
    "names": found.names,
    "explained": [round(x, 4) for x in found.explained],
    "rise": [round(x, 4) for x in found.rise],
    "source": found.source,
    "space": found.space,
  }
  header = {"format": _FORMAT, "directions": json.dumps(told)}
  data = safetensors.numpy.save({_TENSOR: found.rows}, header)
  pictures.write(path, data)


def load(path: pathlib.Path, space: Space) -> directions.Directions:
  """Reads directions.

  Args:
    path: what `save` wrote.
    space: of the generator that they are for.

  Returns:
    The directions.

  Raises:
    UserError: if it is no such file, one of another generator or space.
  """
  try:
    with safetensors.safe_open(path, "numpy") as file:
      header = file.metadata() or {}
      if header.get("format") != _FORMAT:
        raise UserError(
          f"{path} holds no directions; `chibijax directions` writes them."
        )
      told = json.loads(header["directions"])
      rows = np.asarray(file.get_tensor(_TENSOR), np.float32)
    found = directions.Directions(
      rows,
      tuple(map(str, told["names"])),
      tuple(map(float, told["explained"])),
      tuple(map(float, told["rise"])),
      str(told["source"]),
      str(told.get("space", "z")),
    )
  except (OSError, safetensors.SafetensorError, ValueError, KeyError) as error:
    raise UserError(
      f"{path} cannot be read as directions ({error})."
    ) from error
  if found.space != space.name:
    raise UserError(
      f"{path} has directions in {found.space}, and this generator is opened "
      f"in {space.name}; give --space {found.space}, or learn them anew."
    )
  numbers = space.coordinates(jnp.zeros((1, space.latent))).shape[1]
  if found.rows.shape != (len(found.names), numbers):
    raise UserError(
      f"{path} has directions of {found.rows.shape[-1]} numbers, and this "
      f"generator's have {numbers}: they are of another training."
    )
  return found
