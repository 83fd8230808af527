"""Weights of our own networks: safetensors of half floats, JSON beside them.

Arrays are named by their path in the parameters, "trunk/down_0/kernel". The
JSON of the same name says what they are: the network and its layout, the config
that made them, measured errors, the licence.
"""

import json
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, UInt8
from PIL import Image
from safetensors.numpy import save as to_bytes

from chibijax.core import weight_files
from chibijax.errors import UserError

# Ours have 2.5 MB; anything far beyond is not what it claims to be.
MAX_BYTES = 64 << 20
FOLDER = pathlib.Path(__file__).parent / "weights"
# Pictures of a call of a network: one program for any number of them.
_BATCH = 8


def save(
  file: str | os.PathLike[str], params: Any, about: dict[str, Any]
) -> None:
  """Writes weights as half floats, and what they are; whole files or none.

  Args:
    file: where, ending in ".safetensors"; the JSON goes beside it.
    params: nested dicts of arrays.
    about: JSON-able; needs "network" and "layout", see `load`.
  """
  place = pathlib.Path(file)
  arrays = {
    "/".join(key.key for key in path): np.asarray(x, np.float16)
    for path, x in jax.tree_util.tree_leaves_with_path(params)
  }
  draft = place.with_suffix(".part")
  draft.write_bytes(to_bytes(arrays))
  draft.replace(place)
  draft.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
  draft.replace(place.with_suffix(".json"))


def describe(
  config: dict[str, Any], steps: int, measured: dict[str, Any]
) -> dict[str, Any]:
  """What goes beside weights.

  Args:
    config: of the run, as a dict; its `model` gives the layout.
    steps: how many it made.
    measured: errors by name.

  Returns:
    The JSON-able description.
  """
  model = config["model"]
  return {
    "network": model["name"],
    "layout": {name: list(model[name]) for name in ("widths", "blocks")},
    "steps": steps,
    "trained_on": "the artist's portraits only: drawn, no photographs",
    "measured": measured,
    "licence": "Apache-2.0, as the package",
    "config": config,
  }


def load(
  path: str | os.PathLike[str] | None,
  network: str,
  kind: Callable[..., Any],
  side: int,
) -> tuple[Any, dict[str, Any], dict[str, Any]]:
  """Reads a network.

  Args:
    path: the safetensors file; None for the package's own.
    network: what the file beside it must say that it is.
    kind: makes the Linen module from its layout.
    side: of the pictures that it takes.

  Returns:
    The module, its parameters, float32, and what is beside them.

  Raises:
    UserError: if a file is missing or damaged, or of another network.
  """
  params, about = _read(path, network)
  net = kind(**_layout(about))
  _check(net, side, params, path)
  return net, params, about


def _read(
  path: str | os.PathLike[str] | None, network: str
) -> tuple[dict[str, Any], dict[str, Any]]:
  place = pathlib.Path(path) if path else FOLDER / f"{network}.safetensors"
  beside = place.with_suffix(".json")
  for file in (place, beside):
    if not file.is_file():
      raise UserError(f"{file} is missing (weights of the {network} network).")
  try:
    about = json.loads(beside.read_text(encoding="utf-8"))
  except (OSError, ValueError) as e:
    raise UserError(f"{beside} cannot be read as JSON ({e}).") from e
  if not isinstance(about, dict) or about.get("network") != network:
    raise UserError(f"{beside} does not say that it is of {network}.")
  params: dict[str, Any] = {}
  for name, array in weight_files.read(place, max_bytes=MAX_BYTES).items():
    *folders, leaf = name.split("/")
    inner = params
    for folder in folders:
      inner = inner.setdefault(folder, {})
    inner[leaf] = jnp.asarray(array, jnp.float32)
  return params, about


def _layout(about: dict[str, Any]) -> dict[str, tuple[int, ...]]:
  """The network's arguments."""
  given = about.get("layout")
  good = isinstance(given, dict) and set(given) == {"widths", "blocks"}
  if not good or not all(
    isinstance(n, list) and all(isinstance(k, int) for k in n)
    for n in given.values()
  ):
    raise UserError(
      "The file beside the weights needs a layout with widths and blocks, got"
      f" {given!r}."
    )
  return {name: tuple(numbers) for name, numbers in given.items()}


def _check(net: Any, side: int, params: Any, path: Any) -> None:
  """Refuses arrays that are missing, extra, of another shape or not finite."""
  blank = jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)
  of = jax.eval_shape(net.init, jax.random.key(0), blank)["params"]
  shapes = jax.tree.map(lambda x: x.shape, of)
  got = jax.tree.map(lambda x: x.shape, params)
  if shapes != got or not all(
    np.isfinite(x).all() for x in jax.tree.leaves(params)
  ):
    name = path or FOLDER
    raise UserError(f"The weights in {name} do not suit the network.")


def by_batches(
  run: Callable[[UInt8[Array, "b s s 3"]], Float[Array, "b *shape"]],
  pictures: Sequence[UInt8[np.ndarray, "_ _ 3"]],
  window: Callable[[Any], UInt8[np.ndarray, "s s 3"]],
) -> list[Float32[np.ndarray, "*shape"]]:
  """Runs a network on any number of pictures, compiled for one number of them.

  Args:
    run: the network, of a whole batch.
    pictures: each of any size.
    window: what the network sees of one; all of one size.

  Returns:
    The result of each.
  """
  found = []
  for start in range(0, len(pictures), _BATCH):
    part = [window(x) for x in pictures[start : start + _BATCH]]
    filled = np.zeros((_BATCH, *part[0].shape), np.uint8)
    filled[: len(part)] = part
    found += list(np.asarray(run(jnp.asarray(filled)))[: len(part)])
  return found


def resized(
  picture: UInt8[np.ndarray, "s s 3"], side: int
) -> UInt8[np.ndarray, "side side 3"]:
  """A square picture at the side that a network takes."""
  if len(picture) == side:
    return picture
  small = Image.fromarray(picture).resize(
    (side, side), Image.Resampling.BICUBIC, reducing_gap=3.0
  )
  return np.array(small)


def enlarged(shares: Array | np.ndarray, side: int) -> np.ndarray:
  """Shares [S, S, K] at another side, bilinearly; float32 in [0, 1]."""
  planes = [
    Image.fromarray(np.asarray(shares[..., k], np.float32)).resize(
      (side, side), Image.Resampling.BILINEAR
    )
    for k in range(shares.shape[-1])
  ]
  return np.stack([np.asarray(plane) for plane in planes], -1)
