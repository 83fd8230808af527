"""Super-resolution: RRDB from pictures that are worn down on the way in.

ESRGAN's network (Wang et al. 2018) with Real-ESRGAN's degradation (Wang et al.
2021). First it learns the L1 distance alone; the weights of the perceptual and
of the adversarial loss then add texture, in a run of their own or from the
start. The discriminator is the patch discriminator of the other tasks with the
logistic loss, not Real-ESRGAN's U-Net.
"""

import dataclasses
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Key, PRNGKeyArray

from chibijax.core import optim
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
from chibijax.losses import adversarial, translation
from chibijax.models.patchgan import PatchDiscriminator
from chibijax.models.rrdb import SCALES, Rrdb
from chibijax.ops import degrade, resample
from chibijax.ops import image as image_ops
from chibijax.tasks.style_common import Features, FrozenNetwork

Images: TypeAlias = Float[Array, "b h w 3"]
# What goes in has other sides than what comes out.
Small: TypeAlias = Float[Array, "b h2 w2 3"]
FEATURES = "features"
DEGRADATIONS = ("real", "area")


@dataclasses.dataclass(frozen=True)
class SuperResolution:
  """The task; see `build` for what the config says of each field.

  Attributes:
    generator: the network that enlarges.
    discriminator: judges what it makes; used when `gan` is above 0.
    features: a frozen network for the perceptual loss, or None.
    layers: of it, compared by L1.
    gen_optimizer: of the generator.
    disc_optimizer: of the discriminator.
    degradation: "real", the two-order pipeline, or "area", shrinking alone.
    l1: weight of the L1 loss.
    perceptual: weight of the perceptual loss.
    gan: weight of the adversarial loss.
    ema: decay of the generator's average; 0 keeps none.
    axis: the data axis.
  """

  generator: Rrdb
  discriminator: PatchDiscriminator
  features: Features | None
  layers: tuple[str, ...]
  gen_optimizer: optax.GradientTransformation
  disc_optimizer: optax.GradientTransformation
  degradation: str = "real"
  l1: float = 1.0
  perceptual: float = 0.0
  gan: float = 0.0
  ema: float = 0.0
  axis: Axis = dataclasses.field(default_factory=Axis)

  def init(self, key: PRNGKeyArray, spec: Batch) -> TrainState:
    """Draws the networks' parameters; see `core.types.Task`.

    Raises:
      UserError: if there is no `image`, or its sides do not suit.
    """
    side, small = _checked_sides(spec, self.generator.scale)
    keys = jax.random.split(key, 3)
    blank = jnp.zeros((1, small, small, 3))
    gen = self.generator.init(keys[0], blank)["params"]
    params = {"gen": gen}
    opt = {"gen": self.gen_optimizer.init(gen)}
    if self.gan:
      large = jnp.zeros((1, side, side, 3))
      params["disc"] = self.discriminator.init(keys[1], large)["params"]
      opt["disc"] = self.disc_optimizer.init(params["disc"])
    if self.features is not None:
      params[FEATURES] = self.features.init(keys[2])
    return TrainState(
      step=jnp.zeros((), jnp.int32),
      params=params,
      opt=opt,
      # Copies: a buffer that is in the state twice could not be donated.
      ema={"gen": jax.tree.map(jnp.copy, gen)} if self.ema else {},
    )

  def degrade(self, keys: Key[Array, " b"], images: Images) -> Small:
    """Makes what goes in of what should come out.

    Args:
      keys: one typed key a picture.
      images: pictures in [-1, 1].

    Returns:
      Pictures in [-1, 1], smaller by the scale.
    """
    unit, scale = image_ops.to_unit(images), self.generator.scale
    if self.degradation == "real":
      return image_ops.to_signed(degrade.two_order(keys, unit, scale))
    side = images.shape[1] // scale
    small = jax.vmap(lambda x: resample.area(x, (side, side)))(unit)
    return image_ops.to_signed(jnp.round(small * 255) / 255)

  def generator_loss(
    self, gen: Params, fixed: Params, small: Small, large: Images
  ) -> tuple[Float[Array, ""], tuple[Images, Metrics]]:
    """The generator's loss (Wang et al. 2021, section 4.1).

    Args:
      gen: parameters of the generator.
      fixed: those of the other networks by name.
      small: pictures that go in, in [-1, 1].
      large: what should come out.

    Returns:
      The loss and (what came out, metrics); metrics are unweighted.
    """
    made = self.generator.apply({"params": gen}, small)
    difference = translation.l1(made, large)
    loss, metrics = self.l1 * difference, {"loss/l1": difference}
    if self.features is not None:
      found, wanted = (
        self.features(fixed[FEATURES], x, self.layers) for x in (made, large)
      )
      seen = sum(
        translation.l1(found[k], jax.lax.stop_gradient(wanted[k]))
        for k in self.layers
      )
      loss += self.perceptual * seen
      metrics["loss/perceptual"] = seen
    if self.gan:
      score = self.discriminator.apply({"params": fixed["disc"]}, made)
      fooled = adversarial.non_saturating_generator(score)
      loss += self.gan * fooled
      metrics["loss/adversarial"] = fooled
    return loss, (made, {"loss/generator": loss, **metrics})

  def discriminator_loss(
    self, disc: Params, real: Images, fake: Images
  ) -> Float[Array, ""]:
    """The discriminator's logistic loss.

    Args:
      disc: its parameters.
      real: pictures in [-1, 1].
      fake: what the generator made; no gradient reaches it.

    Returns:
      The loss.
    """
    fake = jax.lax.stop_gradient(fake)
    scores = (
      self.discriminator.apply({"params": disc}, x) for x in (real, fake)
    )
    return adversarial.logistic_discriminator(*scores)

  def train_step(
    self, state: TrainState, batch: Batch, key: PRNGKeyArray
  ) -> tuple[TrainState, Metrics]:
    """Updates the generator, then the discriminator; see `Task`."""
    large = image_ops.to_float(batch["image"])
    small = self.degrade(self._keys(key, len(large)), large)
    gradient = jax.value_and_grad(self.generator_loss, has_aux=True)
    gen = state.params["gen"]
    (_, (made, metrics)), grads = gradient(gen, state.params, small, large)
    updates, gen_opt = self.gen_optimizer.update(grads, state.opt["gen"], gen)
    gen = optax.apply_updates(gen, updates)
    params, opt = {**state.params, "gen": gen}, {**state.opt, "gen": gen_opt}
    if self.gan:
      loss, grads = jax.value_and_grad(self.discriminator_loss)(
        params["disc"], large, made
      )
      updates, opt["disc"] = self.disc_optimizer.update(
        grads, state.opt["disc"], params["disc"]
      )
      params["disc"] = optax.apply_updates(params["disc"], updates)
      metrics["loss/discriminator"] = loss
    ema = state.ema
    if self.ema:
      ema = {"gen": optim.ema_update(ema["gen"], gen, self.ema)}
    state = state.replace(step=state.step + 1, params=params, opt=opt, ema=ema)
    return state, self.axis.mean(metrics)

  def eval_step(
    self, state: TrainState, batch: Batch, key: PRNGKeyArray
  ) -> dict[str, Array]:
    """Wears held-out pictures down and restores them.

    Returns:
      `image/input` (pixels repeated), `image/bicubic`, `image/output` and
      `image/target`; per example `metric/bicubic_l1` and
      `metric/bicubic_psnr` in [0, 1] units, which the network has to beat.
    """
    large = image_ops.to_float(batch["image"])
    # The same for every evaluation: by the place in the data, not the step.
    small = self.degrade(self._keys(key, len(large)), large)
    smooth = jax.image.resize(small, large.shape, "bicubic", antialias=False)
    smooth = jnp.clip(smooth, -1, 1)
    error = (smooth - large) / 2
    square = jnp.square(error).mean((1, 2, 3))
    return {
      "image/input": jax.image.resize(small, large.shape, "nearest"),
      "image/bicubic": smooth,
      "image/output": self.upscale(inference_params(state), small),
      "image/target": large,
      "metric/bicubic_l1": jnp.abs(error).mean((1, 2, 3)),
      "metric/bicubic_psnr": -10 * jnp.log10(jnp.maximum(square, 1e-10)),
    }

  def upscale(self, params: Params, images: Small) -> Images:
    """Enlarges pictures.

    Args:
      params: networks by name, e.g. `inference_params(state)`.
      images: pictures in [-1, 1]; for scale 2 with even sides.

    Returns:
      Pictures in [-1, 1], larger by the scale.
    """
    made = self.generator.apply({"params": params["gen"]}, images)
    return jnp.clip(made, -1, 1)

  def _keys(self, key: PRNGKeyArray, count: int) -> Key[Array, " b"]:
    """A key for each picture of the global batch, then this shard's."""
    rows = self.axis.gather(jnp.arange(count)).shape[0]
    return self.axis.local(jax.random.split(key, rows))


def build(config: Any, axis: Axis | None = None) -> SuperResolution:
  """Builds the task.

  Args:
    config: an experiment's config (`configs/common.py`): `model` (scale,
      width, growth, blocks, remat, discriminator, features), `degradation`,
      `loss.l1`, `loss.perceptual`, `loss.layers`, `loss.gan`, `optim`,
      `total_steps`, `precision`, `ema`.
    axis: the data axis under pmap; None is the global view of jit.

  Returns:
    The task.

  Raises:
    UserError: if a value is out of range.
  """
  model, loss = config.model, config.loss
  if model.scale not in SCALES:
    raise UserError(f"model.scale is {model.scale}, expected 2 or 4.")
  if config.degradation not in DEGRADATIONS:
    raise UserError(
      f"degradation is {config.degradation!r}, expected one of {DEGRADATIONS}."
    )
  if min(loss.l1, loss.perceptual, loss.gan) < 0:
    raise UserError(
      "loss.l1, loss.perceptual and loss.gan must not be negative, got "
      f"{loss.l1}, {loss.perceptual} and {loss.gan}."
    )
  if not 0 <= config.ema < 1:
    raise UserError(f"ema is {config.ema}, expected a decay in [0, 1).")
  axis, dtype = axis or Axis(), Precision(config.precision).dtype
  layers, features = tuple(loss.layers), None
  if loss.perceptual:
    features = FrozenNetwork(
      model.features.network, model.features.weights, layers, normalize=True
    )
  return SuperResolution(
    generator=Rrdb(
      scale=model.scale,
      width=model.width,
      growth=model.growth,
      blocks=model.blocks,
      dtype=dtype,
      remat=model.remat,
    ),
    discriminator=PatchDiscriminator(
      width=model.discriminator.width,
      layers=model.discriminator.layers,
      dtype=dtype,
    ),
    features=features,
    layers=layers,
    gen_optimizer=optim.make(config.optim, config.total_steps, axis),
    disc_optimizer=optim.make(config.optim, config.total_steps, axis),
    degradation=config.degradation,
    l1=loss.l1,
    perceptual=loss.perceptual,
    gan=loss.gan,
    ema=config.ema,
    axis=axis,
  )


def _checked_sides(spec: Batch, scale: int) -> tuple[int, int]:
  """Sides of the pictures that come out and go in."""
  if "image" not in spec:
    raise UserError(
      "super_resolution needs batches of `image`: set data.source_b to nothing."
    )
  _, height, width, _ = spec["image"].shape
  small = height // scale
  if height != width or height % scale or small % (4 // scale):
    raise UserError(
      f"data.size gives pictures of {height}x{width}; scale {scale} needs "
      "squares whose side is a multiple of 4."
    )
  return height, small
