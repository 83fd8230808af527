"""A Gaussian head of one photo: built once, then only moved.

GAGAvatar (Chu and Harada 2024). The photo's features colour two sheets of
Gaussians, lifted from a plane through the head, and one Gaussian per vertex of
a head model. To drive it, the vertices move, everything is splatted, and a
network makes a picture of the splatted features.

World: the head model's frame times `WORLD_SCALE`, so about 1 for a head, which
the cameras face from a distance of about 9.3. Pictures are in [0, 1].
"""

import dataclasses
import os
from typing import Any, TypeAlias

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from chibijax.core.types import Params
from chibijax.errors import UserError
from chibijax.heads import flame, ict, model, procedural
from chibijax.heads.model import HeadModel
from chibijax.heads.motion import WORLD_SCALE
from chibijax.models import avatar as networks
from chibijax.models import vit_weights
from chibijax.ops import lifting, splat
from chibijax.tasks import avatar_parts as parts

# As published: FLAME's metres times this.
OPTIONS = splat.Options(near=0.01, far=100.0)
NETS = ("encoder", "lifting", "expression", "renderer")
# The encoder's frozen part, and where its weights may be named.
BACKBONE, VARIABLE, UNTRAINED = "backbone", "CHIBIJAX_DINOV2", "random"

Images: TypeAlias = Float[Array, "b h w 3"]
Features: TypeAlias = Float[Array, "b h w c"]
Vertices: TypeAlias = Float[Array, "b v 3"]
Viewmats: TypeAlias = Float[Array, "b 4 4"]
Intrinsics: TypeAlias = Float[Array, "b 3 3"]


class SourceHead(flax.struct.PyTreeNode):
  """What a photo becomes, for a batch of them.

  Attributes:
    lifted: the Gaussians of the reconstruction branch, fixed in the world.
    moving: colours, opacities, scales and quaternions of the Gaussians at the
      head model's vertices, by name.
  """

  lifted: splat.Gaussians
  moving: dict[str, Array]


@dataclasses.dataclass(frozen=True)
class AvatarModel:
  """The networks and the head; every method is pure and may be jitted.

  Attributes:
    encoder: photos to a plane of features and a global one.
    lifting: features to the lifted Gaussians' attributes.
    expression: the global feature to those of the vertices' Gaussians.
    renderer: splatted features to a picture.
    head: the head model.
    config: sizes of the networks.
    options: how to splat.
    residual_colors: the lifted colours are a correction, in logits, of the
      photo's where they are lifted from. Not in the paper: short trainings
      then begin with the photo on the plane.
    least_opacity: of the lifted Gaussians and of those at vertices; above
      1/255 they cannot vanish for good. Colours that are not learnt yet are
      best hidden, so that short trainings lose what moves without it.
    least_scale: of the Gaussians at vertices, world units: for the same.
    backbone: DINOv2's file, or "random" to draw its parameters; of encoders
      that have one.
  """

  encoder: Any
  lifting: Any
  expression: Any
  renderer: Any
  head: HeadModel
  config: networks.AvatarConfig
  options: splat.Options = OPTIONS
  residual_colors: bool = False
  least_opacity: tuple[float, float] = (0.0, 0.0)
  least_scale: float = 0.0
  backbone: str = UNTRAINED

  def init(self, key: PRNGKeyArray) -> dict[str, Params]:
    """Draws the parameters of all networks, by the names in `NETS`.

    Raises:
      UserError: if DINOv2's file cannot be read or holds another size.
    """
    nets = networks.init(self.config, len(self.head.template), key)
    if BACKBONE in nets["encoder"] and self.backbone != UNTRAINED:
      # Weights are constants, also where the first state is being traced.
      with jax.ensure_compile_time_eval():
        _, found = vit_weights.load_dinov2(self.backbone)
        found = jax.tree.map(jnp.asarray, found)
      wanted = nets["encoder"][BACKBONE]
      if _shapes(found) != _shapes(wanted):
        raise UserError(
          f"{self.backbone} does not hold the DINOv2 network "
          f"{self.config.encoder!r} with {self.config.registers} registers."
        )
      nets["encoder"] = {**nets["encoder"], BACKBONE: found}
    return nets

  def vertices(
    self,
    shape: Float[Array, "*b s"],
    expression: Float[Array, "*b e"],
    pose: Float[Array, "*b 6"],
    eyes: Float[Array, "*b 6"],
  ) -> Float[Array, "*b v 3"]:
    """The head's vertices in the world; see `heads.model.vertices`."""
    return WORLD_SCALE * model.vertices(
      self.head, shape, expression, pose, eyes
    )

  def encode(
    self, params: dict[str, Params], image: Images, viewmat: Viewmats,
    K: Intrinsics,
  ) -> SourceHead:  # fmt: skip
    """Builds heads from photos.

    Args:
      params: networks by name.
      image: photos in [0, 1] on black.
      viewmat: the photos' cameras.
      K: their intrinsics, pixels.

    Returns:
      The heads.
    """
    plane, whole = self._apply("encoder", params, image)
    sides = (self.config.size, self.config.size)
    points, normal = lifting.plane(viewmat, K, sides, self.config.plane)
    code = networks.direction_code(normal)
    fixed = dict(self._apply("lifting", params, plane, code))
    moving = dict(self._apply("expression", params, whole, code))
    means = lifting.lift(points, normal, fixed.pop("lift"))
    if self.residual_colors:
      photo = parts.at_plane(image, self.config.plane)
      fixed["colors"] = parts.corrected(fixed["colors"], photo)
    for made, least in zip((fixed, moving), self.least_opacity, strict=True):
      made["opacities"] = least + (1 - least) * made["opacities"]
    share = 1 - self.least_scale / self.config.largest
    moving["scales"] = self.least_scale + share * moving["scales"]
    rows = {k: _joined(x) for k, x in fixed.items()}
    return SourceHead(splat.Gaussians(means=means, **rows), moving)

  def gaussians(self, head: SourceHead, vertices: Vertices) -> splat.Gaussians:
    """The whole scene: what is fixed, then what moves.

    Args:
      head: what `encode` made.
      vertices: of the driving face, in the world.
    """
    names = ("quats", "scales", "opacities", "colors")
    joined = {
      k: jnp.concatenate([getattr(head.lifted, k), head.moving[k]], 1)
      for k in names
    }
    means = jnp.concatenate([head.lifted.means, vertices], 1)
    return splat.Gaussians(means=means, **joined)

  def splat_vertices(
    self,
    head: SourceHead,
    vertices: Vertices,
    viewmat: Viewmats,
    K: Intrinsics,
  ) -> splat.Rendering:
    """Splats what moves, alone, and only its first three channels.

    No gradient but the colours': the others would shrink from wrong ones.
    """
    rows = jax.lax.stop_gradient(head.moving)
    rows = {**rows, "colors": head.moving["colors"][..., :3]}
    return self.splat(splat.Gaussians(means=vertices, **rows), viewmat, K)

  def splat(
    self, gaussians: splat.Gaussians, viewmat: Viewmats, K: Intrinsics,
    options: splat.Options | None = None,
  ) -> splat.Rendering:  # fmt: skip
    """Splats all channels over black."""
    camera = splat.Camera(viewmat, K, self.config.size, self.config.size)
    return splat.rasterize(gaussians, camera, options or self.options)

  def render(
    self,
    params: dict[str, Params],
    coarse: Features,
    key: PRNGKeyArray | None = None,
  ) -> Images:
    """The neural renderer.

    Args:
      params: networks by name.
      coarse: splatted features.
      key: of its noise; None for none.
    """
    return self._apply("renderer", params, coarse, key)

  def reenact(
    self,
    params: dict[str, Params],
    head: SourceHead,
    vertices: Vertices,
    viewmat: Viewmats,
    K: Intrinsics,
    key: PRNGKeyArray | None = None,
  ) -> tuple[Features, Images]:
    """Draws heads with given faces from given cameras.

    Args:
      params: networks by name.
      head: what `encode` made.
      vertices: of the driving faces, in the world.
      viewmat: cameras.
      K: their intrinsics, pixels.
      key: of the renderer's noise; None for none.

    Returns:
      The splatted features, whose first three are a picture, and the picture
      that the renderer makes of them.
    """
    coarse = self.splat(self.gaussians(head, vertices), viewmat, K).image
    return coarse, self.render(params, coarse, key)

  def reconstruct(
    self,
    params: dict[str, Params],
    head: SourceHead,
    viewmat: Viewmats,
    K: Intrinsics,
  ) -> tuple[Features, Images]:
    """As `reenact`, of the reconstruction branch alone: nothing can move."""
    coarse = self.splat(head.lifted, viewmat, K).image
    return coarse, self.render(params, coarse)

  def _apply(self, name: str, params: dict[str, Params], *given: Any) -> Any:
    return getattr(self, name).apply({"params": params[name]}, *given)


def from_config(config: Any) -> AvatarModel:
  """Builds what a config describes.

  Args:
    config: an experiment's config; its `model` and `precision` count.

  Raises:
    UserError: if a value is out of range, or a file cannot be read.
  """
  given, found = config.model, sizes(config)
  least = tuple(given.least_opacity)
  if len(least) != 2 or not all(0 <= x < 1 for x in least):
    raise UserError(
      f"model.least_opacity is {least}, expected two numbers of 0 to below 1."
    )
  if not 0 <= given.least_scale < found.largest:
    raise UserError(
      f"model.least_scale is {given.least_scale}, expected 0 to below "
      f"{found.largest}, the largest."
    )
  return build(
    found,
    load_head(given.head),
    residual_colors=given.residual_colors,
    least_opacity=least,
    least_scale=given.least_scale,
    backbone=find_backbone(given.backbone, found),
  )


def build(
  config: networks.AvatarConfig, head: HeadModel, **options: Any
) -> AvatarModel:
  """Makes the networks for a head model.

  Args:
    config: their sizes.
    head: the head model.
    **options: further attributes of the model.
  """
  nets = networks.build(config, len(head.template))
  return AvatarModel(head=head, config=config, **nets, **options)


def load_head(name: str) -> HeadModel:
  """The head model that a config names.

  Args:
    name: "procedural", "flame:PATH" or "ict:PATH".

  Raises:
    UserError: if it is none of these, or the file cannot be read.
  """
  kind, _, path = name.partition(":")
  if kind == "procedural" and not path:
    return procedural.procedural_head()
  if kind == "flame" and path:
    return flame.load_flame(path)
  if kind == "ict" and path:
    return ict.load_ict(path)
  raise UserError(
    f"model.head is {name!r}, expected 'procedural', 'flame:PATH' or "
    "'ict:PATH'."
  )


def sizes(config: Any) -> networks.AvatarConfig:
  """Sizes of the networks that a config asks for.

  Args:
    config: `model.networks` ("paper", "middle" or "small"), `model.changes`
      (fields of `AvatarConfig`), `precision`.

  Raises:
    UserError: for another name or an unknown field.
  """
  names = ("paper", "middle", "small")
  if config.model.networks not in names:
    raise UserError(
      f"model.networks is {config.model.networks!r}, expected one of {names}."
    )
  parts = ("encoder", "branch", "renderer")
  changes = {f"{part}_dtype": config.precision for part in parts}
  changes |= dict(config.model.changes)
  known = {field.name for field in dataclasses.fields(networks.AvatarConfig)}
  if unknown := sorted(changes.keys() - known):
    raise UserError(
      f"model.changes has {', '.join(unknown)}, expected fields among "
      f"{', '.join(sorted(known))}."
    )
  return getattr(networks.AvatarConfig, config.model.networks)(**changes)


def find_backbone(given: str, config: networks.AvatarConfig) -> str:
  """Where the weights of the encoder's frozen part are.

  Args:
    given: a file, "random" or "" to ask the environment variable `VARIABLE`.
    config: sizes of the networks.

  Raises:
    UserError: if they are needed and nothing says where they are.
  """
  found = given or os.environ.get(VARIABLE, "")
  if config.encoder != "pyramid" and not found:
    raise UserError(
      f"The encoder {config.encoder!r} needs DINOv2's weights: set "
      f"model.backbone or {VARIABLE} to their file (dinov2_vitb14_pretrain.pth "
      "or model.safetensors)."
    )
  return found or UNTRAINED


def _shapes(tree: Params) -> dict[str, tuple[int, ...]]:
  leaves = jax.tree_util.tree_leaves_with_path(tree)
  return {jax.tree_util.keystr(path): jnp.shape(x) for path, x in leaves}


def _joined(x: Float[Array, "b 2 n *rest"]) -> Float[Array, "b m *rest"]:
  """Puts the sheet in front after the one behind."""
  return x.reshape(x.shape[0], 2 * x.shape[2], *x.shape[3:])
