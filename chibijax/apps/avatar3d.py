"""Gaussian heads of one photo each: built once, then moved.

`build` makes an avatar with a training's networks; a `Player` draws it, for
which only the vertices, the rasterizer and the renderer run. The world is that
of `tasks.avatar_model`.
"""

import dataclasses
import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, UInt8
from ml_collections import ConfigDict
from PIL import Image, ImageFilter

from chibijax.apps import pretrained
from chibijax.apps.avatar3d_file import Avatar, Face
from chibijax.core import workdir
from chibijax.core.types import Params
from chibijax.errors import UserError
from chibijax.heads import model as head_model
from chibijax.heads import motion
from chibijax.heads.model import AnyArray, HeadModel
from chibijax.ops import image as image_ops
from chibijax.tasks import avatar as avatar_task
from chibijax.tasks import avatar_model
from chibijax.tasks.avatar_model import AvatarModel, SourceHead

# A person in black is a little brighter than nothing.
_BLACK = 3

# Parts of a config that `tasks.avatar.build` reads.
_CONFIG = (
  "model", "loss", "optim", "precision", "ema", "total_steps", "microbatches"
)  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class Networks:
  """Trained networks that make avatars.

  Attributes:
    model: them, and the head.
    params: by network name.
    config: the training's.
    published: whether they were trained on pictures framed as GAGAvatar's.
    step: how long they were trained.
    source: where they came from, in words.
  """

  model: AvatarModel
  params: dict[str, Params]
  config: ConfigDict
  published: bool
  step: int
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
  published = config.data.source_a == "head_lmdb"
  config = own_config(config, head)
  model = _model(config)
  found = pretrained.load(path)
  params = {name: found.params.get(name) for name in avatar_model.NETS}
  if missing := [name for name, value in params.items() if value is None]:
    raise UserError(f"{path} lacks the network {missing[0]!r} of an avatar.")
  _check_params(params, model, path)
  source = f"{path}, step {found.step}"
  return Networks(model, params, config, published, found.step, source)


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
  gaussians = encoder(networks)(networks.params, picture, face.viewmat)
  return Avatar(
    gaussians=jax.tree.map(np.asarray, gaussians),
    inside=_inside(picture, model.config.plane),
    face=face,
    renderer=jax.tree.map(np.asarray, networks.params["renderer"]),
    config=networks.config,
    head=model.head.name,
    about=about,
  )


def encoder(networks: Networks) -> Callable[..., SourceHead]:
  """What makes Gaussians, compiled.

  Args:
    networks: from `load_networks`; their parameters are given again.

  Returns:
    (params, picture uint8 [s, s, 3], viewmat [4, 4]) -> a batch of one head.
  """
  K = motion.intrinsics(networks.size)

  @jax.jit
  def encode(
    params: dict[str, Params], picture: jax.Array, viewmat: jax.Array
  ) -> SourceHead:
    unit = picture.astype(jnp.float32) / 255
    given = (unit, viewmat, jnp.asarray(K))
    return networks.model.encode(params, *(x[None] for x in given))

  return encode


def load_model(avatar: Avatar, head: str | None = None) -> AvatarModel:
  """The networks' code and the head model of an avatar.

  Args:
    avatar: from `build` or `read`.
    head: the head model, as `model.head` of a config; None is the avatar's
      own, which names a file for other heads than the procedural one.

  Raises:
    UserError: if the head model cannot be read, or is another one.
  """
  model = _model(own_config(avatar.config, head))
  if model.head.name != avatar.head:
    raise UserError(
      f"The avatar belongs to the head model {avatar.head!r}, got "
      f"{model.head.name!r}."
    )
  lifted, moving = avatar.gaussians.lifted, avatar.gaussians.moving
  found = (*lifted.colors.shape[1:], moving["colors"].shape[1])
  sizes = model.config
  count = len(model.head.template)
  if found != (2 * sizes.plane**2, sizes.channels, count):
    raise UserError(
      f"The avatar's Gaussians (2 x points of the plane, channels, vertices: "
      f"{found}) are not those of its networks and head model."
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
    self._shown = jax.jit(_shown)

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

  def colors(self, *row: np.ndarray) -> UInt8[jax.Array, "s s 3"]:
    """The first three splatted features, of what a frame is drawn of."""
    return self._shown(self.coarse(self.vertices(*row[:3]), row[3]))

  @property
  def posed_head(self) -> HeadModel:
    """The head model with the avatar's shape; see `with_shape`."""
    return self._head

  def vertices(self, *moved: np.ndarray) -> Float[jax.Array, "1 V 3"]:
    """The head's vertices in the world, of the arguments but the view."""
    return self._vertices(self._head, *moved)

  def coarse(
    self, vertices: AnyArray, viewmat: AnyArray
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


def warm_up(player: Player) -> None:
  """Compiles what draws a frame."""
  face = player.face
  row = face.expression, face.pose, face.eyes, face.viewmat
  player(*row).block_until_ready()


def with_shape(head: HeadModel, shape: Float[np.ndarray, " S"]) -> HeadModel:
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


def _shown(coarse: jax.Array) -> UInt8[jax.Array, "s s 3"]:
  return image_ops.to_uint8(image_ops.to_signed(coarse[0, ..., :3]))


def _inside(
  picture: UInt8[np.ndarray, "s s 3"], count: int
) -> Bool[np.ndarray, "p p"]:
  """Where a picture on black is not black, a point's width more."""
  lit = (picture.max(-1) > _BLACK).astype(np.uint8) * 255
  small = Image.fromarray(lit).resize((count, count), Image.Resampling.BOX)
  return np.asarray(small.filter(ImageFilter.MaxFilter(3))) > 0


def own_config(config: ConfigDict, head: str | None = None) -> ConfigDict:
  """What of a training's config an avatar needs.

  Args:
    config: the training's, or this function's result.
    head: the head model that takes the place of `model.head`, if any.
  """
  kept = {name: config[name] for name in _CONFIG if name in config}
  saved = json.loads(ConfigDict(kept).to_json_best_effort())
  own = workdir.config_from(saved)
  try:
    if head is not None:
      own.model.head = head
    # Nothing is trained, and no weights are looked for.
    own.loss.perceptual = 0.0
    own.model.update(backbone="random")
    own.model.features.weights = ""
  except (AttributeError, KeyError) as error:
    raise _old(error) from error
  return own


def _model(config: ConfigDict) -> AvatarModel:
  try:
    return avatar_task.build(config).model
  except (AttributeError, KeyError) as error:
    raise _old(error) from error


def _old(error: Exception) -> UserError:
  return UserError(
    "The training is of another version of chibijax: its config lacks "
    f"something ({error})."
  )


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
