"""What the translation models share; `translation.py` says which there are.

Domain a is the photo, domain b the chibi. Networks go by the same names in
every model: `gen_ab` maps a to b, `disc_b` judges pictures of b.
"""

import functools
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Key, PRNGKeyArray

from chibijax.core.types import (
  Axis,
  Batch,
  Metrics,
  Params,
  Precision,
  TrainState,
  inference_params,
)
from chibijax.errors import UserError
from chibijax.losses import regularizers
from chibijax.models import layers
from chibijax.models.patchgan import PatchDiscriminator
from chibijax.models.resnet import ResnetGenerator
from chibijax.models.ugatit import Discriminators
from chibijax.ops import augment
from chibijax.ops import image as image_ops

Images: TypeAlias = Float[Array, "b h w c"]
Direction: TypeAlias = Literal["a2b", "b2a"]

_INITS = {"normal": layers.init_kernel, "xavier": layers.init_xavier}


def pick(params: dict[str, Params], names: tuple[str, ...]) -> Params:
  """The networks of these names."""
  return {name: params[name] for name in names}


def update(
  optimizer: optax.GradientTransformation,
  grads: Params,
  opt: Any,
  params: Params,
) -> tuple[Params, Any]:
  """One optimiser step: the new parameters and the new optimiser state."""
  updates, opt = optimizer.update(grads, opt, params)
  return optax.apply_updates(params, updates), opt


def apply(
  net: Any,
  params: Params,
  *batches: Images,
  joint: bool = False,
  **options: Any,
) -> list[Any]:
  """Applies one network to several batches of the same shape.

  Args:
    net: a network without statistics over the batch.
    params: its parameters.
    *batches: pictures, all of one shape.
    joint: run them as one larger batch.
    **options: further arguments of the network.

  Returns:
    The network's result for each batch.
  """
  if not joint or len(batches) == 1:
    return [net.apply({"params": params}, x, **options) for x in batches]
  # Interleaved, not concatenated: rows stay on the device that holds them.
  stacked = jnp.stack(batches, 1).reshape(-1, *batches[0].shape[1:])
  y = net.apply({"params": params}, stacked, **options)

  def part(i: int, x: Array) -> Array:
    return x.reshape(-1, len(batches), *x.shape[1:])[:, i]

  return [
    jax.tree.map(functools.partial(part, i), y) for i in range(len(batches))
  ]


def judged(
  judge: Callable[..., list[Array]], real: Images, fake: Images, r1: float
) -> tuple[Array, Array, Metrics]:
  """Scores of real and of generated pictures, and how steep they are.

  Args:
    judge: a discriminator: batches of pictures to the scores of each.
    real: pictures in [-1, 1].
    fake: generated ones; no gradient reaches them.
    r1: weight of the penalty; 0 saves its second derivative.

  Returns:
    The scores of both and, unless the weight is 0, "loss/r1": half of the mean
    squared gradient norm of the real pictures' mean scores (Mescheder et al.
    2018, eq. 9), without its weight.
  """
  fake = jax.lax.stop_gradient(fake)
  if not r1:
    true, false = judge(real, fake)
    return true, false, {}
  (false,) = judge(fake)
  true, squared = regularizers.squared_gradient(lambda x: judge(x)[0], real)
  return true, false, {"loss/r1": regularizers.zero_centered(squared)}


def pictures(
  batch: Batch,
  key: PRNGKeyArray,
  augment: tuple[tuple[str, float], ...],
  axis: Axis,
) -> tuple[Images, Images]:
  """A batch's pictures of both domains in [-1, 1], as a step takes them.

  Only photos are augmented: what b looks like is what is to be learned.

  Args:
    batch: bytes or floats, `image_a` and `image_b`.
    key: of what is drawn by chance.
    augment: strengths by name, see `strengths`.
    axis: the data axis.
  """
  a = augmented(image_ops.signed(batch["image_a"]), key, augment, axis)
  return a, image_ops.signed(batch["image_b"])


def picture_keys(key: PRNGKeyArray, rows: int, axis: Axis) -> Key[Array, " b"]:
  """A key for each picture of the global batch, then this shard's."""
  total = axis.gather(jnp.arange(rows)).shape[0]
  return axis.local(jax.random.split(key, total))


def augmented(
  images: Images,
  key: PRNGKeyArray,
  strengths: tuple[tuple[str, float], ...],
  axis: Axis,
) -> Images:
  """Changes colours at random; off in the recipes."""
  if not strengths:
    return images
  keys = picture_keys(key, len(images), axis)
  return augment.photometric(keys, images, **dict(strengths))


def check_direction(direction: str, *, one_way: str = "") -> None:
  """Raises where a model cannot translate in a direction.

  Args:
    direction: "a2b" or "b2a".
    one_way: the name of a model that has learned a to b only.

  Raises:
    ValueError: for another direction.
    UserError: for b to a by a model of one direction.
  """
  if direction not in ("a2b", "b2a"):
    raise ValueError(f"direction is {direction!r}, expected 'a2b' or 'b2a'.")
  if one_way and direction == "b2a":
    raise UserError(
      f"{one_way} learns one direction only, a2b; for b2a train it with "
      "data.source_a and data.source_b exchanged, or train a cyclegan."
    )


def at_any_size(
  function: Callable[[Images], Images],
  images: Images,
  multiple: int,
  min_size: int,
) -> Images:
  """Applies a network to pictures of sizes that it cannot take.

  They are padded by reflection and cropped again.

  Args:
    function: the network.
    images: pictures in [-1, 1].
    multiple: what both sides must be multiples of.
    min_size: how long both must be at least.

  Returns:
    Pictures of the same size.

  Raises:
    ValueError: for pictures of a single pixel's side.
  """
  height, width = images.shape[1:3]
  if min(height, width) < 2:
    raise ValueError(
      f"Pictures need at least 2 pixels a side, got {height}x{width}."
    )
  padded, (top, left) = image_ops.pad_to_multiple(images, multiple, min_size)
  return function(padded)[:, top : top + height, left : left + width]


class OneWay:
  """What the models that learn one direction, a to b, share.

  Subclasses are dataclasses; they say how pictures of suitable sides are
  translated (`generate`) and which sides are suitable.

  Attributes:
    title: the model's name, for messages.
    multiple: what the generator needs both sides to be multiples of.
    min_size: how long it needs them at least, in pixels.
    paired: whether evaluation batches hold pairs: `image_b` is the target.
  """

  title: str
  multiple: int
  min_size: int
  paired: bool

  def generate(self, gen: Params, images: Images) -> Images:
    """Translates pictures in [-1, 1] with the generator's parameters."""
    raise NotImplementedError

  def eval_step(
    self, state: TrainState, batch: Batch, key: PRNGKeyArray
  ) -> dict[str, Array]:
    """Translates a to b; see `core.types.Task`.

    Returns:
      `image/input`, `image/output`, for pairs `image/target`, and
      `metric/luminance_correlation` of photo and chibi for each example.
    """
    del key
    photo = image_ops.signed(batch["image_a"])
    chibi = self.translate(inference_params(state), photo)
    out = {"image/input": photo, "image/output": chibi}
    if self.paired:
      out["image/target"] = image_ops.signed(batch["image_b"])
    out["metric/luminance_correlation"] = image_ops.luminance_correlation(
      photo, chibi
    )
    return out

  def translate(
    self, params: Params, images: Images, direction: Direction = "a2b"
  ) -> Images:
    """Translates pictures of any size of at least 2 pixels.

    Args:
      params: networks by name, e.g. `inference_params(state)`.
      images: pictures in [-1, 1].
      direction: "a2b"; there is no other.

    Returns:
      Pictures in [-1, 1] of the same size.

    Raises:
      UserError: for "b2a".
      ValueError: for another direction or pictures of a single pixel's side.
    """
    check_direction(direction, one_way=self.title)
    return at_any_size(
      lambda x: self.generate(params["gen_ab"], x),
      images,
      self.multiple,
      self.min_size,
    )


def has_targets(data: Any) -> bool:
  """Whether evaluation batches are pairs, as they are of two artists."""
  return data.paired or data.source_a == data.source_b == "artist"


def checked_shape(
  spec: Batch,
  multiple: int,
  min_size: int,
  discriminator: PatchDiscriminator | Discriminators,
) -> tuple[int, int, int]:
  """(H, W, C) of both domains' pictures, if the networks can take them.

  Args:
    spec: the batch's shapes.
    multiple: what the generator needs both sides to be multiples of.
    min_size: how long it needs them at least.
    discriminator: needs a least size, too.

  Raises:
    UserError: if they cannot.
  """
  shape = tuple(spec["image_a"].shape[1:])
  if shape != tuple(spec["image_b"].shape[1:]) or len(shape) != 3:
    raise UserError(
      "Both domains need pictures [B, H, W, C] of one size, got "
      f"{spec['image_a'].shape} and {spec['image_b'].shape}."
    )
  height, width, channels = shape
  least = max(3 * 2**discriminator.layers, min_size)
  if height % multiple or width % multiple or min(height, width) < least:
    raise UserError(
      f"data.size gives pictures of {height}x{width}; training needs sides "
      f"that are multiples of {multiple} and at least {least} pixels."
    )
  return height, width, channels


def check_config(config: Any, *values: str) -> None:
  """Checks what every model reads, and that values are not negative.

  Args:
    config: the experiment.
    *values: dotted names of numbers.

  Raises:
    UserError: if one is out of range.
  """
  if not 0 <= config.ema < 1:
    raise UserError(f"ema is {config.ema}, expected a decay in [0, 1).")
  found = {}
  for name in values:
    group, key = name.rsplit(".", 1)
    found[name] = config[group][key]
  if min(found.values()) < 0:
    got = ", ".join(f"{name} = {value}" for name, value in found.items())
    raise UserError(f"Weights and sizes must not be negative, got {got}.")


def r1_weight(config: Any) -> float:
  """The weight of R1; runs of before there was a choice do not say.

  Raises:
    UserError: if it is negative.
  """
  weight = config.loss.get("r1", 0.0)
  if weight < 0:
    raise UserError(f"loss.r1 is {weight}, expected a weight of at least 0.")
  return weight


def strengths(config: Any) -> tuple[tuple[str, float], ...]:
  """The augmentations that are on, by name."""
  return tuple((k, v) for k, v in config.augment.items() if v > 0)


def resnet_generator(config: Any) -> ResnetGenerator:
  """The residual generator that `config.model.generator` describes."""
  model = config.model.generator
  return ResnetGenerator(
    width=model.width,
    blocks=model.blocks,
    antialias=model.get("antialias", False),
    init_kernel=initializer(config),
    remat=model.get("remat", False),
    dtype=Precision(config.precision).dtype,
  )


def patch_discriminator(
  config: Any, statistics: str = "", axis: Axis | None = None
) -> PatchDiscriminator:
  """The discriminator that `config.model.discriminator` describes."""
  model = config.model.discriminator
  return PatchDiscriminator(
    width=model.width,
    layers=model.layers,
    statistics=statistics,
    norm=model.get("norm", True),
    antialias=model.get("antialias", False),
    axis_name=axis.name if axis else None,
    init_kernel=initializer(config),
    dtype=Precision(config.precision).dtype,
  )


def initializer(config: Any) -> layers.Initializer:
  """How kernels are drawn: `config.model.init`, "normal" or "xavier".

  Raises:
    UserError: for another name.
  """
  name = config.model.get("init", "normal")
  if name not in _INITS:
    raise UserError(f"model.init is {name!r}, expected 'normal' or 'xavier'.")
  return _INITS[name]
