"""pix2pix: translation learned from pairs.

Isola et al. 2017: a U-Net is trained to be close to the truth (L1) and to fool
a discriminator that sees the photo beside the result. One step makes an update
of the discriminator and then of the generator against it, from one fake, as
their code does. Photos and chibis must come in pairs (`data.paired`).

Norms in training take the statistics that the config says; `translate` always
those of each picture, as the paper's tests of single pictures do, and no
dropout: what a picture becomes depends on nothing else.
"""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray

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
from chibijax.models.patchgan import PatchDiscriminator
from chibijax.models.unet import UnetGenerator
from chibijax.tasks import translation_common as common
from chibijax.tasks import translation_extras
from chibijax.tasks.translation_common import Images
from chibijax.tasks.translation_extras import Extras


@dataclasses.dataclass(frozen=True)
class Pix2Pix(common.OneWay):
  """The task; see `build` for what the config says of each field.

  Attributes:
    generator: the network from a to b.
    discriminator: judges pairs, six channels.
    gen_optimizer: optimiser of the generator.
    disc_optimizer: optimiser of the discriminator.
    l1: weight of the distance to the truth.
    gan: weight of the adversarial loss; 0 trains no discriminator, for what
      the distance alone can do.
    r1: weight of the penalty on the discriminator's slope in the chibi; 0 in
      the paper.
    ema: decay of the generator's average; 0 keeps none.
    augment: strengths of `ops.augment.photometric` for photos, by name.
    extras: further losses.
    axis: the data axis.
  """

  generator: UnetGenerator
  discriminator: PatchDiscriminator
  gen_optimizer: optax.GradientTransformation
  disc_optimizer: optax.GradientTransformation
  l1: float = 100.0
  gan: float = 1.0
  r1: float = 0.0
  ema: float = 0.0
  augment: tuple[tuple[str, float], ...] = ()
  extras: Extras = dataclasses.field(default_factory=Extras)
  axis: Axis = dataclasses.field(default_factory=Axis)
  title: ClassVar[str] = "pix2pix"
  paired: ClassVar[bool] = True

  @property
  def multiple(self) -> int:
    """What both sides of a picture must be multiples of."""
    return self.generator.multiple

  min_size = multiple

  def init(self, key: PRNGKeyArray, spec: Batch) -> TrainState:
    """Draws the networks' parameters; see `core.types.Task`.

    Raises:
      UserError: if the pictures' sizes do not suit the networks.
    """
    shape = common.checked_shape(
      spec, self.multiple, self.min_size, self.discriminator
    )
    gen_key, disc_key = jax.random.split(key)
    blank = jnp.zeros((1, *shape), jnp.float32)
    pair = jnp.concatenate([blank, blank], -1)
    # A single picture has no batch to gather statistics over.
    gen = _of_pictures(self.generator).init(gen_key, blank)["params"]
    disc = _of_pictures(self.discriminator).init(disc_key, pair)["params"]
    return TrainState(
      step=jnp.zeros((), jnp.int32),
      params={"gen_ab": gen, "disc_b": disc},
      opt={
        "gen": self.gen_optimizer.init(gen),
        "disc": self.disc_optimizer.init(disc),
      },
      # A copy: a buffer that is in the state twice could not be donated.
      ema={"gen_ab": jax.tree.map(jnp.copy, gen)} if self.ema else {},
    )

  def discriminator_loss(
    self, disc: Params, a: Images, b: Images, fake: Images
  ) -> tuple[Float[Array, ""], Metrics]:
    """Half the cross-entropy of true and generated pairs.

    Args:
      disc: the discriminator's parameters.
      a: photos in [-1, 1].
      b: their chibis.
      fake: generated chibis; no gradient reaches them.

    Returns:
      The loss and metrics, which are unweighted.
    """
    true, false, found = common.judged(
      lambda *chibis: [self._judge(disc, a, x) for x in chibis],
      b,
      fake,
      self.r1,
    )
    loss = 0.5 * adversarial.logistic_discriminator(true, false)
    metrics = {"loss/discriminator": loss, **found}
    return loss + self.r1 * found.get("loss/r1", 0.0), metrics

  def generator_loss(
    self,
    gen: Params,
    fake: Images,
    disc: Params,
    a: Images,
    b: Images,
    key: PRNGKeyArray,
  ) -> tuple[Float[Array, ""], Metrics]:
    """The generator's loss (Isola et al. 2017, eq. 4).

    Args:
      gen: the generator's parameters, used by the extra losses only.
      fake: what it made of `a`.
      disc: the discriminator's parameters, held fixed.
      a: photos in [-1, 1].
      b: their chibis.
      key: for the extra losses.

    Returns:
      The loss and metrics, which are unweighted.
    """
    distance = translation.l1(fake, b)
    loss, metrics = self.l1 * distance, {"loss/l1": distance}
    if self.gan:
      fooled = adversarial.non_saturating_generator(self._judge(disc, a, fake))
      loss = self.gan * fooled + loss
      metrics["loss/adversarial"] = fooled
    if self.extras.active:
      more, found = self.extras(
        lambda x: self.generator.apply({"params": gen}, x), a, fake, key
      )
      loss, metrics = loss + more, metrics | found
    return loss, {"loss/generator": loss, **metrics}

  def train_step(
    self, state: TrainState, batch: Batch, key: PRNGKeyArray
  ) -> tuple[TrainState, Metrics]:
    """Updates the discriminator, then the generator; see `Task`."""
    augment_key, drop_key, extra_key = jax.random.split(key, 3)
    a, b = common.pictures(batch, augment_key, self.augment, self.axis)
    gen, disc = state.params["gen_ab"], state.params["disc_b"]
    drops = common.picture_keys(drop_key, len(a), self.axis)

    fake, pull = jax.vjp(
      lambda p: self.generator.apply({"params": p}, a, drops), gen
    )
    disc_opt, judged = state.opt["disc"], {}
    if self.gan:
      grads, judged = jax.grad(self.discriminator_loss, has_aux=True)(
        disc, a, b, fake
      )
      disc, disc_opt = common.update(self.disc_optimizer, grads, disc_opt, disc)
    (_, metrics), (direct, toward) = jax.value_and_grad(
      self.generator_loss, argnums=(0, 1), has_aux=True
    )(gen, fake, disc, a, b, extra_key)
    grads = jax.tree.map(jnp.add, direct, pull(toward)[0])
    gen, gen_opt = common.update(
      self.gen_optimizer, grads, state.opt["gen"], gen
    )

    ema = state.ema
    if self.ema:
      ema = optim.ema_update(ema, {"gen_ab": gen}, self.ema)
    state = state.replace(
      step=state.step + 1,
      params={"gen_ab": gen, "disc_b": disc},
      opt={"gen": gen_opt, "disc": disc_opt},
      ema=ema,
    )
    return state, self.axis.mean({**metrics, **judged})

  def generate(self, gen: Params, images: Images) -> Images:
    """Translates pictures one by one; see `OneWay`."""
    return _of_pictures(self.generator).apply({"params": gen}, images)

  def _judge(self, disc: Params, a: Images, b: Images) -> Array:
    pair = jnp.concatenate([a, b], -1)
    return self.discriminator.apply({"params": disc}, pair)


def _of_pictures(net: Any) -> Any:
  """The same network with statistics of each picture by itself."""
  return net.clone(statistics="picture", axis_name=None)


def build(config: Any, axis: Axis | None = None) -> Pix2Pix:
  """Builds the task; see `translation.build`.

  Args:
    config: `model.generator` (width, depth, dropout), `model.discriminator`
      (width, layers), `model.statistics` ("batch" or "picture"), `loss.l1`;
      optional: `model.generator.refine`, `model.discriminator.norm`,
      `loss.gan` (1), `loss.r1`, `translation_extras`' losses.
    axis: the data axis under pmap; None is the global view of jit.

  Returns:
    The task.

  Raises:
    UserError: if a value is out of range or the data is not paired.
  """
  model = config.model
  common.check_config(config, "loss.l1")
  # Runs of before there was a choice do not say.
  gan = config.loss.get("gan", 1.0)
  if gan < 0:
    raise UserError(f"loss.gan is {gan}, expected a weight of at least 0.")
  if not config.data.paired:
    raise UserError("pix2pix learns from pairs: set data.paired to True.")
  if model.statistics not in ("batch", "picture"):
    raise UserError(
      f"model.statistics is {model.statistics!r}, expected 'batch' or "
      "'picture'."
    )
  if model.generator.depth < 2 or not 0 <= model.generator.dropout < 1:
    raise UserError(
      "model.generator needs a depth of at least 2 and a dropout in [0, 1), "
      f"got {model.generator.depth} and {model.generator.dropout}."
    )
  axis = axis or Axis()
  generator = UnetGenerator(
    width=model.generator.width,
    depth=model.generator.depth,
    dropout=model.generator.dropout,
    refine=model.generator.get("refine", False),
    statistics=model.statistics,
    axis_name=axis.name,
    dtype=Precision(config.precision).dtype,
  )
  return Pix2Pix(
    generator=generator,
    discriminator=common.patch_discriminator(config, model.statistics, axis),
    gen_optimizer=optim.make(config.optim, config.total_steps, axis),
    disc_optimizer=optim.make(config.optim, config.total_steps, axis),
    l1=config.loss.l1,
    gan=gan,
    r1=common.r1_weight(config),
    ema=config.ema,
    augment=common.strengths(config),
    extras=translation_extras.make(
      config, generator.multiple, generator.multiple
    ),
    axis=axis,
  )
