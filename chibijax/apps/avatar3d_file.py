"""Avatar files: the Gaussians of one head, and what draws them.

A `.avatar` file is a safetensors file: the Gaussians, the face's parameters
and the renderer's weights as arrays, and in its header what they are, as JSON.
It holds numbers and text alone; nothing in it is run, and neither the photo nor
the encoder is kept. The world is that of `tasks.avatar_model`.
"""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Bool, Float, Shaped
from ml_collections import ConfigDict
from safetensors.numpy import save as save_safetensors

from chibijax.apps import pictures
from chibijax.core import workdir
from chibijax.core.types import Params
from chibijax.errors import UserError
from chibijax.ops import splat
from chibijax.tasks.avatar_model import SourceHead

FORMAT, VERSION = "chibijax avatar", 1
_KEY = "avatar"
SUFFIXES = (".avatar", ".safetensors")
_LIFTED = ("means", "quats", "scales", "opacities", "colors")
_FACE = ("shape", "expression", "pose", "eyes", "viewmat")


@dataclasses.dataclass(frozen=True, eq=False)
class Face:
  """A head model's parameters of one picture.

  Attributes:
    shape: identity coefficients, all of the head model's.
    expression: all of the head model's.
    pose: of the whole head, 0 as the camera carries it, and of the jaw.
    eyes: of the left and of the right eye.
    viewmat: world to camera.
  """

  shape: Float[np.ndarray, " S"]
  expression: Float[np.ndarray, " E"]
  pose: Float[np.ndarray, "6"]
  eyes: Float[np.ndarray, "6"]
  viewmat: Float[np.ndarray, "4 4"]


@dataclasses.dataclass(frozen=True, eq=False)
class Avatar:
  """What a photo became, and what draws it.

  Attributes:
    gaussians: one head, with a batch axis of 1.
    inside: where the photo shows the head, of each point of the plane.
    face: the photo's.
    renderer: parameters of the neural renderer.
    config: the training's `model` and `precision`.
    head: name of the head model.
    about: how it was made, JSON-able; see `apps.record`.
  """

  gaussians: SourceHead
  inside: Bool[np.ndarray, "p p"]
  face: Face
  renderer: Params
  config: ConfigDict
  head: str
  about: Mapping[str, Any]


def count(avatar: Avatar) -> int:
  """The number of an avatar's Gaussians."""
  gaussians = avatar.gaussians
  return len(gaussians.lifted.means[0]) + len(gaussians.moving["scales"][0])


def write(path: str | pathlib.Path, avatar: Avatar) -> None:
  """Writes an avatar, a whole file or none.

  Args:
    path: NAME.avatar or NAME.safetensors.
    avatar: from `build`.

  Raises:
    UserError: for another name, or if it cannot be written.
  """
  path = check_name(path)
  described = {
    "format": FORMAT,
    "version": VERSION,
    "head": avatar.head,
    "config": json.loads(avatar.config.to_json_best_effort()),
    "about": dict(avatar.about),
  }
  # One entry: the library writes several in any order.
  header = {_KEY: json.dumps(described, sort_keys=True)}
  pictures.write(path, save_safetensors(_flat(avatar), header))


def read(path: str | pathlib.Path) -> Avatar:
  """Reads an avatar.

  Args:
    path: what `write` wrote.

  Returns:
    The avatar; NumPy arrays.

  Raises:
    UserError: if the file is missing, damaged, no avatar, or of a later
      version.
  """
  path = pathlib.Path(path)
  try:
    with safetensors.safe_open(path, "numpy") as file:
      described = json.loads((file.metadata() or {}).get(_KEY, "{}"))
      if described.get("format") != FORMAT:
        raise UserError(
          f"{path} is not an avatar, but another safetensors file; expected "
          "what chibijax avatar3d wrote."
        )
      _check_version(described.get("version"), path)
      flat = {name: file.get_tensor(name) for name in file.keys()}
    config = workdir.config_from(described["config"])
    head, about = described["head"], described["about"]
  except UserError:
    raise
  except OSError as error:
    raise UserError(
      f"{path} cannot be read ({error.strerror or error})."
    ) from error
  except safetensors.SafetensorError as error:
    raise UserError(
      f"{path} is not an avatar, or it is cut short or damaged ({error})."
    ) from error
  except (ValueError, KeyError, TypeError, AttributeError) as error:
    raise UserError(
      f"{path} is a damaged avatar: its header does not say what it holds."
    ) from error
  return _from_flat(flat, config, head, about, path)


def check_name(path: str | pathlib.Path) -> pathlib.Path:
  """Returns an avatar's name as a path.

  Raises:
    UserError: if its suffix is none of `SUFFIXES`.
  """
  path = pathlib.Path(path)
  if path.suffix.lower() not in SUFFIXES:
    raise UserError(
      f"{path} is not an avatar's name, expected NAME{SUFFIXES[0]}."
    )
  return path


def _check_version(version: Any, path: pathlib.Path) -> None:
  if not isinstance(version, int) or version < 1:
    raise UserError(f"{path} is a damaged avatar: it has no version.")
  if version > VERSION:
    raise UserError(
      f"{path} is an avatar of version {version}; this chibijax reads up to "
      f"version {VERSION}: update it."
    )


def _flat(avatar: Avatar) -> dict[str, Shaped[np.ndarray, "..."]]:
  """All arrays by name."""
  flat = {
    f"lifted/{name}": getattr(avatar.gaussians.lifted, name) for name in _LIFTED
  }
  flat |= {f"moving/{k}": v for k, v in avatar.gaussians.moving.items()}
  flat["inside"] = avatar.inside.astype(np.uint8)
  flat |= {f"face/{name}": getattr(avatar.face, name) for name in _FACE}
  flat |= {
    f"renderer/{name}": value
    for name, value in flatten_dict(avatar.renderer, sep="/").items()
  }
  return {k: np.array(v, order="C") for k, v in flat.items()}


def _from_flat(
  flat: dict[str, np.ndarray],
  config: ConfigDict,
  head: str,
  about: Mapping[str, Any],
  path: pathlib.Path,
) -> Avatar:
  """The opposite of `_flat`, checked."""
  trees: dict[str, dict[str, Any]] = {"lifted": {}, "moving": {}, "face": {}}
  trees |= unflatten_dict(flat, sep="/")
  lifted, moving, face = (trees[k] for k in ("lifted", "moving", "face"))
  try:
    inside = trees["inside"].astype(bool)
    if inside.ndim != 2 or inside.shape[0] != inside.shape[1]:
      raise ValueError("its mask is not square")
    channels = lifted["colors"].shape[-1]
    _check_arrays(lifted, 2 * inside.size, channels)
    _check_arrays({"means": None, **moving}, moving["opacities"].size, channels)
    found = Face(**{name: face[name] for name in _FACE})
    bad = [k for k, v in flat.items() if not np.isfinite(v).all()]
    if bad:
      raise ValueError(f"{bad[0]} is not finite")
    if found.viewmat.shape != (4, 4):
      raise ValueError("its camera is no matrix")
  except (KeyError, ValueError, TypeError, IndexError) as error:
    raise UserError(f"{path} is a damaged avatar ({error}).") from error
  scene = splat.Gaussians(**{name: lifted[name] for name in _LIFTED})
  renderer = trees.get("renderer", {})
  return Avatar(
    gaussians=SourceHead(scene, moving),
    inside=inside,
    face=found,
    renderer=renderer,
    config=config,
    head=str(head),
    about=about,
  )


def _check_arrays(
  values: dict[str, np.ndarray | None], count: int, channels: int
) -> None:
  """Raises ValueError unless the arrays are those of so many Gaussians."""
  tails = {"means": (3,), "quats": (4,), "scales": (3,), "opacities": ()}
  tails["colors"] = (channels,)
  if set(values) != set(tails):
    raise ValueError(f"it has the arrays {sorted(values)}")
  for name, tail in tails.items():
    value = values[name]
    if value is not None and value.shape != (1, count, *tail):
      raise ValueError(f"{name} has the shape {value.shape}")
