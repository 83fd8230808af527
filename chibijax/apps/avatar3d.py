"""Gaussian heads of one photo each: built once, kept in a file, then moved.

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

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Bool, Float, Shaped, UInt8
from ml_collections import ConfigDict
from PIL import Image, ImageFilter
from safetensors.numpy import save as save_safetensors

from chibijax.apps import pictures, pretrained
from chibijax.core import workdir
from chibijax.core.types import Params
from chibijax.errors import UserError
from chibijax.heads import model as head_model
from chibijax.heads import motion
from chibijax.heads.model import HeadModel
from chibijax.ops import image as image_ops
from chibijax.ops import splat
from chibijax.tasks import avatar as avatar_task
from chibijax.tasks import avatar_model
from chibijax.tasks.avatar_model import AvatarModel, SourceHead

FORMAT, VERSION = "chibijax avatar", 1
SUFFIXES = (".avatar", ".safetensors")
# A person in black is a little brighter than nothing.
_BLACK = 3
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


@dataclasses.dataclass(frozen=True, eq=False)
class Networks:
  """Trained networks that make avatars.

  Attributes:
    model: them, and the head.
    params: by network name.
    config: the training's.
    source: where they came from, in words.
  """

  model: AvatarModel
  params: dict[str, Params]
  config: ConfigDict
  source: str

  @property
  def size(self) -> int:
    """Side of the pictures, pixels."""
    return self.model.config.size


def load_networks(
  path: str | pathlib.Path, head: str | None = None
) -> Networks:
  """Loads the networks of a training.

  Args:
    path: a workdir, or what `chibijax export` wrote of it as safetensors or a
      folder.
    head: the head model, as `model.head` of the config; None is the config's.

  Returns:
    The networks, averaged ones where there are such.

  Raises:
    UserError: if there are none, they are of another task, or the head model
      cannot be read.
  """
  config = pretrained.read_config(path)
  if config.get("task") != "avatar":
    raise UserError(
      f"{path} is a run of the task {config.get('task')!r}; avatar3d needs one "
      "of the task 'avatar'."
    )
  config = _own(config, head)
  model = _model(config)
  found = pretrained.load(path)
  params = {name: found.params.get(name) for name in avatar_model.NETS}
  if missing := [name for name, value in params.items() if value is None]:
    raise UserError(f"{path} lacks the network {missing[0]!r} of an avatar.")
  _check_params(params, model, path)
  return Networks(model, params, config, f"{path}, step {found.step}")


def build(
  networks: Networks,
  picture: UInt8[np.ndarray, "s s 3"],
  face: Face,
  about: Mapping[str, Any],
) -> Avatar:
  """Makes an avatar of a picture.

  Args:
    networks: from `load_networks`.
    picture: the head on black, of the networks' size.
    face: where and how the head is in it.
    about: how it is made; JSON-able.

  Returns:
    The avatar.
  """
  model = networks.model

  @jax.jit
  def encode(params: dict[str, Params], *given: jax.Array) -> SourceHead:
    return model.encode(params, *(x[None] for x in given))

  gaussians = encode(
    networks.params,
    jnp.asarray(picture, jnp.float32) / 255,
    jnp.asarray(face.viewmat),
    jnp.asarray(motion.intrinsics(networks.size)),
  )
  return Avatar(
    gaussians=jax.tree.map(np.asarray, gaussians),
    inside=_inside(picture, model.config.plane),
    face=face,
    renderer=jax.tree.map(np.asarray, networks.params["renderer"]),
    config=networks.config,
    head=model.head.name,
    about=about,
  )


def load_model(avatar: Avatar, head: str | None = None) -> AvatarModel:
  """The networks' code and the head model of an avatar.

  Args:
    avatar: from `build` or `read`.
    head: the head model, as `model.head` of a config; None is the avatar's
      own, which names a file for other heads than the procedural one.

  Raises:
    UserError: if the head model cannot be read, or is another one.
  """
  model = _model(_own(avatar.config, head))
  if model.head.name != avatar.head:
    raise UserError(
      f"The avatar belongs to the head model {avatar.head!r}, got "
      f"{model.head.name!r}."
    )
  return model


class Player:
  """Draws an avatar; everything that a frame does not change is done once."""

  def __init__(self, avatar: Avatar, model: AvatarModel) -> None:
    """Prepares an avatar.

    Args:
      avatar: whom to draw.
      model: from `load_model`.
    """
    self.model = model
    self.size = model.config.size
    self.face = avatar.face
    self._gaussians = jax.device_put(avatar.gaussians)
    self._renderer = jax.device_put(avatar.renderer)
    self._head = jax.device_put(with_shape(model.head, avatar.face.shape))
    self._K = jnp.asarray(motion.intrinsics(self.size))[None]
    self._vertices = jax.jit(_vertices)
    self._splat = jax.jit(self._coarse)
    self._render = jax.jit(self._fine)
    self._frame = jax.jit(self._whole)

  def __call__(
    self,
    expression: Float[np.ndarray, " e"],
    pose: Float[np.ndarray, "6"],
    eyes: Float[np.ndarray, "6"],
    viewmat: Float[np.ndarray, "4 4"],
  ) -> UInt8[jax.Array, "s s 3"]:
    """Draws one frame.

    Args:
      expression: the first coefficients of the head model's.
      pose: of the whole head and of the jaw, radians.
      eyes: of the left and of the right eye, radians.
      viewmat: world to camera.

    Returns:
      The picture on black, which may still be being computed.
    """
    return self._frame(
      self._gaussians, self._renderer, self._head,
      expression, pose, eyes, viewmat,
    )  # fmt: skip

  def vertices(self, *moved: np.ndarray) -> Float[jax.Array, "1 V 3"]:
    """The head's vertices in the world, of the arguments but the view."""
    return self._vertices(self._head, *moved)

  def coarse(
    self, vertices: jax.Array, viewmat: np.ndarray
  ) -> Float[jax.Array, "1 s s c"]:
    """The splatted features."""
    return self._splat(self._gaussians, vertices, viewmat)

  def fine(self, coarse: jax.Array) -> UInt8[jax.Array, "s s 3"]:
    """The picture of splatted features."""
    return self._render(self._renderer, coarse)

  def _whole(
    self,
    gaussians: SourceHead,
    renderer: Params,
    head: HeadModel,
    *given: jax.Array,
  ) -> jax.Array:
    coarse = self._coarse(gaussians, _vertices(head, *given[:3]), given[3])
    return self._fine(renderer, coarse)

  def _coarse(
    self, gaussians: SourceHead, vertices: jax.Array, viewmat: jax.Array
  ) -> jax.Array:
    scene = self.model.gaussians(gaussians, vertices)
    return self.model.splat(scene, viewmat[None], self._K).image

  def _fine(self, renderer: Params, coarse: jax.Array) -> jax.Array:
    fine = self.model.render({"renderer": renderer}, coarse)[0]
    return image_ops.to_uint8(image_ops.to_signed(fine))


def with_shape(
  head: HeadModel, shape: Float[np.ndarray, " S"]
) -> HeadModel:
  """A head model of one person: its template has the shape, it has no basis.

  Args:
    head: a head model.
    shape: all coefficients.

  Returns:
    A head whose `vertices` of no shape are those of `head` with the shape, up
    to rounding.
  """
  shape = np.asarray(shape, np.float32)
  template = np.asarray(head.template) + np.asarray(head.shape_basis) @ shape
  expression = np.array(head.expression_basis)
  basis = np.asarray(head.combination_basis)
  for column, (s, e) in enumerate(head.combinations):
    expression[..., e] += shape[s] * basis[..., column]
  none = np.zeros((*template.shape, 0), np.float32)
  return head.replace(
    template=template.astype(np.float32),
    shape_basis=none,
    expression_basis=expression,
    combination_basis=none,
    shape_names=(),
    combinations=(),
  )


def _vertices(
  head: HeadModel, expression: jax.Array, pose: jax.Array, eyes: jax.Array
) -> Float[jax.Array, "1 V 3"]:
  none = jnp.zeros((1, 0))
  given = (x[None] for x in (expression, pose, eyes))
  return avatar_model.WORLD_SCALE * head_model.vertices(head, none, *given)


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
    "head": avatar.head,
    "config": json.loads(avatar.config.to_json_best_effort()),
    "about": dict(avatar.about),
  }
  header = {
    "format": FORMAT,
    "version": str(VERSION),
    "avatar": json.dumps(described, sort_keys=True),
  }
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
      header = file.metadata() or {}
      if header.get("format") != FORMAT:
        raise UserError(
          f"{path} is not an avatar, but another safetensors file; expected "
          "what chibijax avatar3d wrote."
        )
      _check_version(header.get("version", ""), path)
      flat = {name: file.get_tensor(name) for name in file.keys()}
    described = json.loads(header.get("avatar", "null"))
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


def _inside(
  picture: UInt8[np.ndarray, "s s 3"], count: int
) -> Bool[np.ndarray, "p p"]:
  """Where a picture on black is not black, a point's width more."""
  lit = (picture.max(-1) > _BLACK).astype(np.uint8) * 255
  small = Image.fromarray(lit).resize((count, count), Image.Resampling.BOX)
  return np.asarray(small.filter(ImageFilter.MaxFilter(3))) > 0


def _own(config: ConfigDict, head: str | None) -> ConfigDict:
  """What of a config an avatar needs."""
  config = ConfigDict(
    {"model": config.model.to_dict(), "precision": config.precision}
  )
  if head is not None:
    config.model.head = head
  return config


def _model(config: ConfigDict) -> AvatarModel:
  head = avatar_model.load_head(config.model.head)
  return avatar_model.build(avatar_task.avatar_sizes(config), head)


def _check_params(
  params: dict[str, Params], model: AvatarModel, where: str | pathlib.Path
) -> None:
  """Raises UserError unless parameters have the networks' shapes."""
  wanted = jax.eval_shape(model.init, jax.random.key(0))
  wanted = {name: wanted[name] for name in params}
  shapes = [jax.tree.map(np.shape, tree) for tree in (params, wanted)]
  if shapes[0] != shapes[1]:
    raise UserError(
      f"{where} does not hold the networks that its config describes, or they "
      f"are not for the head model {model.head.name!r}."
    )


def _check_version(version: str, path: pathlib.Path) -> None:
  if not version.isdecimal() or int(version) < 1:
    raise UserError(f"{path} is a damaged avatar: it has no version.")
  if int(version) > VERSION:
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
    sizes = avatar_task.avatar_sizes(config)
    count = len(moving["opacities"][0])
    _check_arrays(lifted, 2 * sizes.plane**2, sizes.channels)
    _check_arrays({"means": None, **moving}, count, sizes.channels)
    inside = trees["inside"].astype(bool)
    if inside.shape != (sizes.plane, sizes.plane):
      raise ValueError("its mask has another size")
    found = Face(**{name: face[name] for name in _FACE})
    bad = [k for k, v in flat.items() if not np.isfinite(v).all()]
    if bad:
      raise ValueError(f"{bad[0]} is not finite")
    if found.viewmat.shape != (4, 4):
      raise ValueError("its camera is no matrix")
  except (KeyError, ValueError, TypeError, AttributeError, IndexError) as error:
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
