"""Image translation between two domains without pairs: CycleGAN.

Zhu et al. 2017, with every choice of the published recipe. One step makes, in
one program, an update of both generators and then of both discriminators, the
latter on fakes of the generators before their update, shown through a pool.
Domain a is the photo, domain b the chibi; `gen_ab` maps a to b, `disc_a`
judges pictures of a. Learning rates follow steps where the reference counts
epochs.
"""

import dataclasses
from typing import Any, Literal, TypeAlias

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray, UInt8

from chibijax.core import optim
from chibijax.core.types import (
  Axis,
  Batch,
  Metrics,
  Params,
  Precision,
  TrainState,
)
from chibijax.errors import UserError
from chibijax.losses import adversarial, translation
from chibijax.models import resnet
from chibijax.models.patchgan import PatchDiscriminator
from chibijax.models.resnet import ResnetGenerator
from chibijax.ops import augment, image_pool
from chibijax.ops import image as image_ops
from chibijax.ops.image_pool import ImagePool

Images: TypeAlias = Float[Array, "b h w c"]
Direction: TypeAlias = Literal["a2b", "b2a"]

GENERATORS = ("gen_ab", "gen_ba")
DISCRIMINATORS = ("disc_a", "disc_b")


@dataclasses.dataclass(frozen=True)
class CycleGan:
  """The task; see `build` for what the config says of each field.

  Attributes:
    generator: the network of both directions.
    discriminator: the network of both domains.
    gen_optimizer: optimiser of both generators together.
    disc_optimizer: optimiser of both discriminators together.
    cycle: weight of cycle consistency.
    identity: weight of the identity loss; 0 saves its two generator calls.
    pool_size: pictures in each domain's pool of fakes; 0 shows the latest.
    ema: decay of the generators' average; 0 keeps none.
    paired: evaluation batches hold pairs, so `image_b` is the target.
    batch_calls: run one network on several batches as one larger batch.
    augment: strengths, those above 0, by name of `ops.augment.photometric`,
      which changes the colours of domain a.
    axis: the data axis.
  """

  generator: ResnetGenerator
  discriminator: PatchDiscriminator
  gen_optimizer: optax.GradientTransformation
  disc_optimizer: optax.GradientTransformation
  cycle: float = 10.0
  identity: float = 5.0
  pool_size: int = 50
  ema: float = 0.0
  paired: bool = False
  batch_calls: bool = False
  augment: tuple[tuple[str, float], ...] = ()
  axis: Axis = dataclasses.field(default_factory=Axis)

  def init(self, key: PRNGKeyArray, spec: Batch) -> TrainState:
    """Draws the networks' parameters; see `core.types.Task`.

    Raises:
      UserError: if the pictures' sizes do not suit the networks.
    """
    shape = _checked_shape(spec, self.discriminator)
    blank = jnp.zeros((1, *shape), jnp.float32)
    nets = [self.generator] * 2 + [self.discriminator] * 2
    keys = jax.random.split(key, len(nets))
    params = {
      name: net.init(keys[i], blank)["params"]
      for i, (name, net) in enumerate(zip(GENERATORS + DISCRIMINATORS, nets))
    }
    gen, disc = _pick(params, GENERATORS), _pick(params, DISCRIMINATORS)
    extra = {}
    if self.pool_size:
      extra = {
        f"pool_{domain}": image_pool.create(self.pool_size, shape)
        for domain in "ab"
      }
    return TrainState(
      step=jnp.zeros((), jnp.int32),
      params=params,
      opt={
        "gen": self.gen_optimizer.init(gen),
        "disc": self.disc_optimizer.init(disc),
      },
      # Copies: a buffer that is in the state twice could not be donated.
      ema=jax.tree.map(jnp.copy, gen) if self.ema else {},
      extra=extra,
    )

  def generator_loss(
    self, gen: Params, disc: Params, a: Images, b: Images
  ) -> tuple[Float[Array, ""], tuple[tuple[Images, Images], Metrics]]:
    """Loss of both generators (Zhu et al. 2017, eq. 3 and section 5.2).

    Args:
      gen: parameters by name in `GENERATORS`.
      disc: parameters by name in `DISCRIMINATORS`, held fixed.
      a: pictures of domain a in [-1, 1].
      b: pictures of domain b in [-1, 1].

    Returns:
      The loss and ((fake_a, fake_b), metrics); metrics are unweighted.
    """
    with_identity = self.identity > 0
    fake_b, *same_b = self._apply(
      self.generator, gen["gen_ab"], a, *([b] if with_identity else [])
    )
    fake_a, *same_a = self._apply(
      self.generator, gen["gen_ba"], b, *([a] if with_identity else [])
    )
    (back_a,) = self._apply(self.generator, gen["gen_ba"], fake_b)
    (back_b,) = self._apply(self.generator, gen["gen_ab"], fake_a)
    (score_a,) = self._apply(self.discriminator, disc["disc_a"], fake_a)
    (score_b,) = self._apply(self.discriminator, disc["disc_b"], fake_b)

    fooled = adversarial.least_squares_generator(
      score_a
    ) + adversarial.least_squares_generator(score_b)
    cycle = translation.cycle_consistency(
      back_a, a
    ) + translation.cycle_consistency(back_b, b)
    loss = fooled + self.cycle * cycle
    metrics = {"loss/adversarial": fooled, "loss/cycle": cycle}
    if with_identity:
      same = translation.identity(same_a[0], a)
      same += translation.identity(same_b[0], b)
      loss += self.identity * same
      metrics["loss/identity"] = same
    return loss, ((fake_a, fake_b), {"loss/generator": loss, **metrics})

  def discriminator_loss(
    self, disc: Params, real: tuple[Images, Images], fake: tuple[Images, Images]
  ) -> Float[Array, ""]:
    """Sum of both discriminators' losses, each with its factor 1/2.

    Args:
      disc: parameters by name in `DISCRIMINATORS`.
      real: pictures of domains a and b in [-1, 1].
      fake: generated pictures of domains a and b; no gradient reaches them.

    Returns:
      The loss.
    """
    total = jnp.zeros(())
    for name, x, y in zip(DISCRIMINATORS, real, fake):
      scores = self._apply(
        self.discriminator, disc[name], x, jax.lax.stop_gradient(y)
      )
      total += adversarial.least_squares_discriminator(*scores)
    return total

  def train_step(
    self, state: TrainState, batch: Batch, key: PRNGKeyArray
  ) -> tuple[TrainState, Metrics]:
    """Updates the generators, then the discriminators; see `Task`."""
    augment_key, key_pool = jax.random.split(key)
    # Photos only: what b looks like is what is to be learned.
    a = self._augmented(_signed(batch["image_a"]), augment_key)
    b = _signed(batch["image_b"])
    gen = _pick(state.params, GENERATORS)
    disc = _pick(state.params, DISCRIMINATORS)

    gradient = jax.value_and_grad(self.generator_loss, has_aux=True)
    (_, (fakes, metrics)), grads = gradient(gen, disc, a, b)
    gen, gen_opt = _update(self.gen_optimizer, grads, state.opt["gen"], gen)

    extra, shown = self._exchange(state.extra, fakes, key_pool)
    loss, grads = jax.value_and_grad(self.discriminator_loss)(
      disc, (a, b), shown
    )
    disc, disc_opt = _update(
      self.disc_optimizer, grads, state.opt["disc"], disc
    )

    ema = state.ema
    if self.ema:
      ema = optim.ema_update(ema, gen, self.ema)
    state = state.replace(
      step=state.step + 1,
      params={**gen, **disc},
      opt={"gen": gen_opt, "disc": disc_opt},
      ema=ema,
      extra=extra,
    )
    return state, self.axis.mean({**metrics, "loss/discriminator": loss})

  def eval_step(
    self, state: TrainState, batch: Batch, key: PRNGKeyArray
  ) -> dict[str, Array]:
    """Translates a to b and back; see `core.types.Task`.

    Returns:
      `image/input`, `image/output`, `image/reconstruction` and, for pairs,
      `image/target`; per example `metric/cycle_l1` (in [-1, 1] units) and
      `metric/luminance_correlation` of photo and chibi.
    """
    del key
    params = inference_params(state)
    photo = _signed(batch["image_a"])
    chibi = self.translate(params, photo, "a2b")
    back = self.translate(params, chibi, "b2a")
    out = {
      "image/input": photo,
      "image/output": chibi,
      "image/reconstruction": back,
    }
    if self.paired:
      out["image/target"] = _signed(batch["image_b"])
    out["metric/cycle_l1"] = jnp.abs(back - photo).mean((1, 2, 3))
    out["metric/luminance_correlation"] = image_ops.luminance_correlation(
      photo, chibi
    )
    return out

  def translate(
    self, params: Params, images: Images, direction: Direction = "a2b"
  ) -> Images:
    """Translates pictures of any size of at least 2 pixels.

    Sizes the generator cannot take are padded by reflection and cropped.

    Args:
      params: networks by name, e.g. `inference_params(state)`.
      images: pictures in [-1, 1].
      direction: "a2b" (photo to chibi) or "b2a".

    Returns:
      Pictures in [-1, 1] of the same size.

    Raises:
      ValueError: for another direction or pictures of a single pixel's side.
    """
    if direction not in ("a2b", "b2a"):
      raise ValueError(f"direction is {direction!r}, expected 'a2b' or 'b2a'.")
    name = "gen_ab" if direction == "a2b" else "gen_ba"
    height, width = images.shape[1:3]
    if min(height, width) < 2:
      raise ValueError(
        f"Pictures need at least 2 pixels a side, got {height}x{width}."
      )
    padded, (top, left) = image_ops.pad_to_multiple(
      images, resnet.MULTIPLE, resnet.MIN_SIZE
    )
    (y,) = self._apply(self.generator, params[name], padded)
    return y[:, top : top + height, left : left + width]

  def _apply(
    self,
    net: ResnetGenerator | PatchDiscriminator,
    params: Params,
    *batches: Images,
  ) -> list[Array]:
    """Applies one network to several batches of the same shape."""
    if not self.batch_calls:
      return [net.apply({"params": params}, x) for x in batches]
    # Interleaved, not concatenated: rows stay on the device that holds them.
    joint = jnp.stack(batches, 1).reshape(-1, *batches[0].shape[1:])
    y = net.apply({"params": params}, joint)
    y = y.reshape(-1, len(batches), *y.shape[1:])
    return [y[:, i] for i in range(len(batches))]

  def _augmented(self, images: Images, key: PRNGKeyArray) -> Images:
    """Changes colours at random; off in the recipe."""
    if not self.augment:
      return images
    # A key for each picture of the global batch, then this shard's.
    rows = self.axis.gather(jnp.arange(len(images))).shape[0]
    keys = self.axis.local(jax.random.split(key, rows))
    return augment.photometric(keys, images, **dict(self.augment))

  def _exchange(
    self,
    extra: dict[str, ImagePool],
    fakes: tuple[Images, Images],
    key: PRNGKeyArray,
  ) -> tuple[dict[str, ImagePool], tuple[Images, Images]]:
    """Passes the fakes of both domains through their pools."""
    if not self.pool_size:
      return extra, fakes
    keys = jax.random.split(key)
    pools, shown = {}, []
    for i, domain in enumerate("ab"):
      # The pool is one for all shards: each sees the global batch.
      images = self.axis.gather(fakes[i])
      swap, slot = image_pool.draw(keys[i], len(images), self.pool_size)
      pool, images = image_pool.exchange(
        extra[f"pool_{domain}"], images, swap, slot
      )
      pools[f"pool_{domain}"] = pool
      shown.append(self.axis.local(images))
    return pools, (shown[0], shown[1])


def build(config: Any, axis: Axis | None = None) -> CycleGan:
  """Builds the task.

  Args:
    config: an experiment's config (`configs/common.py`): `model.generator`
      (width, blocks), `model.discriminator` (width, layers),
      `model.pool_size`, `loss.cycle`, `loss.identity`, `optim`,
      `total_steps`, `precision` (of the networks), `ema`, `augment` and
      `data`;
      optional: `model.generator.remat`, `model.batch_calls`.
    axis: the data axis under pmap; None is the global view of jit.

  Returns:
    The task.

  Raises:
    UserError: if `model.name` is unknown or a value is out of range.
  """
  model, loss = config.model, config.loss
  if model.name != "cyclegan":
    raise UserError(f"model.name is {model.name!r}, expected 'cyclegan'.")
  if not 0 <= config.ema < 1:
    raise UserError(f"ema is {config.ema}, expected a decay in [0, 1).")
  if min(loss.cycle, loss.identity, model.pool_size) < 0:
    raise UserError(
      "loss.cycle, loss.identity and model.pool_size must not be negative, "
      f"got {loss.cycle}, {loss.identity} and {model.pool_size}."
    )
  dtype = Precision(config.precision).dtype
  axis = axis or Axis()
  return CycleGan(
    generator=ResnetGenerator(
      width=model.generator.width,
      blocks=model.generator.blocks,
      remat=model.generator.get("remat", False),
      dtype=dtype,
    ),
    discriminator=PatchDiscriminator(
      width=model.discriminator.width,
      layers=model.discriminator.layers,
      dtype=dtype,
    ),
    gen_optimizer=optim.make(config.optim, config.total_steps, axis),
    disc_optimizer=optim.make(config.optim, config.total_steps, axis),
    cycle=loss.cycle,
    identity=loss.identity,
    pool_size=model.pool_size,
    ema=config.ema,
    paired=_has_targets(config.data),
    batch_calls=model.get("batch_calls", False),
    augment=tuple((k, v) for k, v in config.augment.items() if v > 0),
    axis=axis,
  )


def translate(
  config: Any,
  params: Params,
  images: UInt8[Array, "b h w 3"],
  direction: Direction = "a2b",
) -> UInt8[Array, "b h w 3"]:
  """Translates pictures with a trained run's networks, bytes to bytes.

  Args:
    config: the run's config.
    params: networks by name, averaged ones where there are such.
    images: uint8 sRGB pictures of any size.
    direction: "a2b" (photo to chibi) or "b2a".

  Returns:
    Pictures of the same size and type.
  """
  y = build(config).translate(params, image_ops.to_float(images), direction)
  return image_ops.to_uint8(y)


def _has_targets(data: Any) -> bool:
  """Whether evaluation batches are pairs, as they are of two artists."""
  return data.paired or data.source_a == data.source_b == "artist"


def inference_params(state: TrainState) -> dict[str, Params]:
  """Networks by name to use after training: averaged where there are such.

  Args:
    state: a training state, or what was restored of one.

  Returns:
    `params` with the entries of `ema` in place of their namesakes.
  """
  return {**state.params, **state.ema}


def _signed(x: Array) -> Array:
  """Batches travel as bytes; floats in [-1, 1] are taken as they are."""
  return image_ops.to_float(x) if x.dtype == jnp.uint8 else x


def _pick(params: dict[str, Params], names: tuple[str, ...]) -> Params:
  return {name: params[name] for name in names}


def _update(
  optimizer: optax.GradientTransformation,
  grads: Params,
  opt: Any,
  params: Params,
) -> tuple[Params, Any]:
  updates, opt = optimizer.update(grads, opt, params)
  return optax.apply_updates(params, updates), opt


def _checked_shape(
  spec: Batch, discriminator: PatchDiscriminator
) -> tuple[int, int, int]:
  """(H, W, C) of both domains' pictures, if the networks can take them."""
  shape = tuple(spec["image_a"].shape[1:])
  if shape != tuple(spec["image_b"].shape[1:]) or len(shape) != 3:
    raise UserError(
      "Both domains need pictures [B, H, W, C] of one size, got "
      f"{spec['image_a'].shape} and {spec['image_b'].shape}."
    )
  height, width, channels = shape
  least = 3 * 2**discriminator.layers
  if (
    height % resnet.MULTIPLE
    or width % resnet.MULTIPLE
    or (min(height, width) < max(least, resnet.MIN_SIZE))
  ):
    raise UserError(
      f"data.size gives pictures of {height}x{width}; training needs sides "
      f"that are multiples of {resnet.MULTIPLE} and at least {least} pixels."
    )
  return height, width, channels
