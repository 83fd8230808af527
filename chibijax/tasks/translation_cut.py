"""CUT and FastCUT: translation without pairs, in one direction.

Park et al. 2020: what ties the result to the photo is not a way back but that
each of its patches can be told, among all patches of the photo, to come from
the same place. One step makes an update of the discriminator, then of the
generator and the patch network together, from one fake, as their code does.

`sampler` is the patch network (F in the paper). CUT also compares chibis with
what becomes of them (`loss.identity`); FastCUT does not, weighs the contrast
ten times as much, and mirrors half of its steps (`model.flip`).
"""

import dataclasses
import functools
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

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
from chibijax.models.patch_sampler import PatchSampler
from chibijax.models.patchgan import PatchDiscriminator
from chibijax.models.resnet import ResnetGenerator
from chibijax.tasks import translation_common as common
from chibijax.tasks import translation_extras
from chibijax.tasks.translation_common import Images
from chibijax.tasks.translation_extras import Extras

Positions = tuple[Int[Array, " _"], ...]


class Draws(NamedTuple):
  """What chance decides in a step.

  Attributes:
    photo: positions (row * W + column) at each tap, for photos.
    chibi: the same for the identity loss; empty without it.
    flip: whether the generator sees its pictures mirrored.
    extra: key of the extra losses.
  """

  photo: Positions
  chibi: Positions
  flip: Bool[Array, ""]
  extra: PRNGKeyArray


@dataclasses.dataclass(frozen=True)
class Cut(common.OneWay):
  """The task; see `build` for what the config says of each field.

  Attributes:
    generator: the network from a to b.
    discriminator: judges pictures of b.
    sampler: projects patches of the generator's encoder.
    optimizers: by name, "gen", "disc" and "sampler".
    taps: layers of the generator whose patches are compared.
    patches: how many of each picture, at most.
    temperature: of the contrastive loss.
    nce: weight of the contrastive loss.
    identity: compare chibis with their translations, too.
    flip: mirror half of the steps, which makes the encoder equivariant.
    r1: weight of the penalty on the discriminator's slope; 0 in the recipe.
    ema: decay of the generator's average; 0 keeps none.
    paired: evaluation batches hold pairs, so `image_b` is the target.
    batch_calls: run one network on several batches as one larger batch.
    augment: strengths of `ops.augment.photometric` for photos, by name.
    extras: further losses.
    axis: the data axis.
  """

  generator: ResnetGenerator
  discriminator: PatchDiscriminator
  sampler: PatchSampler
  optimizers: dict[str, optax.GradientTransformation]
  taps: tuple[str, ...]
  patches: int = 256
  temperature: float = 0.07
  nce: float = 1.0
  identity: bool = True
  flip: bool = False
  r1: float = 0.0
  ema: float = 0.0
  paired: bool = False
  batch_calls: bool = False
  augment: tuple[tuple[str, float], ...] = ()
  extras: Extras = dataclasses.field(default_factory=Extras)
  axis: Axis = dataclasses.field(default_factory=Axis)
  title: ClassVar[str] = "CUT"
  multiple: ClassVar[int] = resnet.MULTIPLE
  min_size: ClassVar[int] = resnet.MIN_SIZE

  def init(self, key: PRNGKeyArray, spec: Batch) -> TrainState:
    """Draws the networks' parameters; see `core.types.Task`.

    Raises:
      UserError: if the pictures' sizes do not suit the networks.
    """
    shape = common.checked_shape(
      spec, self.multiple, self.min_size, self.discriminator
    )
    keys = jax.random.split(key, 3)
    blank = jnp.zeros((1, *shape), jnp.float32)
    params = {
      "gen_ab": self.generator.init(keys[0], blank)["params"],
      "disc_b": self.discriminator.init(keys[1], blank)["params"],
    }
    maps = [
      jnp.zeros(x.shape) for x in self._tap_shapes(params["gen_ab"], blank)
    ]
    first = [jnp.zeros((1,), jnp.int32)] * len(maps)
    params["sampler"] = self.sampler.init(keys[2], maps, first)["params"]
    names = {"gen": "gen_ab", "disc": "disc_b", "sampler": "sampler"}
    gen = params["gen_ab"]
    return TrainState(
      step=jnp.zeros((), jnp.int32),
      params=params,
      opt={k: self.optimizers[k].init(params[n]) for k, n in names.items()},
      # A copy: a buffer that is in the state twice could not be donated.
      ema={"gen_ab": jax.tree.map(jnp.copy, gen)} if self.ema else {},
    )

  def draw(self, key: PRNGKeyArray, gen: Params, images: Images) -> Draws:
    """Draws a step's decisions, the same for all pictures and shards.

    Args:
      key: typed PRNG key.
      gen: the generator's parameters.
      images: a batch.

    Returns:
      The decisions.
    """
    *keys, flip_key, extra_key = jax.random.split(key, 4)
    sides = [x.shape[1:3] for x in self._tap_shapes(gen, images)]

    def positions(key: PRNGKeyArray) -> Positions:
      return tuple(
        jax.random.permutation(k, h * w)[: self.patches]
        for k, (h, w) in zip(jax.random.split(key, len(sides)), sides)
      )

    return Draws(
      photo=positions(keys[0]),
      chibi=positions(keys[1]) if self.identity else (),
      flip=jax.random.bernoulli(flip_key),
      extra=extra_key,
    )

  def discriminator_loss(
    self, disc: Params, b: Images, fake: Images
  ) -> tuple[Float[Array, ""], Metrics]:
    """Least-squares loss with its factor 1/2.

    Args:
      disc: the discriminator's parameters.
      b: pictures of domain b in [-1, 1].
      fake: generated ones; no gradient reaches them.

    Returns:
      The loss and metrics, which are unweighted.
    """
    true, false, found = common.judged(
      functools.partial(self._apply, self.discriminator, disc),
      b,
      fake,
      self.r1,
    )
    loss = adversarial.least_squares_discriminator(true, false)
    metrics = {"loss/discriminator": loss, **found}
    return loss + self.r1 * found.get("loss/r1", 0.0), metrics

  def generator_loss(
    self,
    nets: Params,
    fakes: list[Images],
    seen: list[list[Array]],
    disc: Params,
    a: Images,
    draws: Draws,
  ) -> tuple[Float[Array, ""], Metrics]:
    """Loss of generator and sampler (Park et al. 2020, eq. 5).

    Args:
      nets: parameters of `gen_ab` and `sampler`.
      fakes: what the generator made of the photos and, with `identity`, of
        the chibis; mirrored where `draws.flip`.
      seen: what its taps gave for those photos and chibis, not mirrored.
      disc: the discriminator's parameters, held fixed.
      a: the photos that `fakes` were made of, for the extra losses.
      draws: the decisions.

    Returns:
      The loss and metrics, which are unweighted.
    """
    gen, sampler = nets["gen_ab"], nets["sampler"]
    (score,) = self._apply(self.discriminator, disc, fakes[0])
    fooled = adversarial.least_squares_generator(score)
    again = self._encode(gen, fakes)
    if self.flip:
      again = jax.tree.map(lambda x: _mirrored(x, draws.flip), again)
    where = (draws.photo, draws.chibi)[: len(fakes)]
    contrast = [
      self._contrast(sampler, *parts) for parts in zip(again, seen, where)
    ]
    loss = fooled + self.nce * sum(contrast) / len(contrast)
    metrics = {"loss/adversarial": fooled, "loss/nce": contrast[0]}
    if self.identity:
      metrics["loss/nce_identity"] = contrast[1]
    if self.extras.active:
      more, found = self.extras(
        lambda x: self.generate(gen, x),
        a,
        fakes[0],
        draws.extra,
      )
      loss, metrics = loss + more, metrics | found
    return loss, {"loss/generator": loss, **metrics}

  def train_step(
    self, state: TrainState, batch: Batch, key: PRNGKeyArray
  ) -> tuple[TrainState, Metrics]:
    """Updates the discriminator, then generator and sampler; see `Task`."""
    augment_key, draw_key = jax.random.split(key)
    a, b = common.pictures(batch, augment_key, self.augment, self.axis)
    draws = self.draw(draw_key, state.params["gen_ab"], a)
    return self.update(state, a, b, draws)

  def update(
    self, state: TrainState, a: Images, b: Images, draws: Draws
  ) -> tuple[TrainState, Metrics]:
    """One step on given pictures with given decisions.

    Args:
      state: the state.
      a: photos in [-1, 1].
      b: chibis in [-1, 1].
      draws: the decisions.

    Returns:
      The next state and metrics.
    """
    gen, disc = state.params["gen_ab"], state.params["disc_b"]
    shown = [a, b] if self.identity else [a]
    real = [_mirrored(x, draws.flip) for x in shown] if self.flip else shown

    def generate(gen: Params) -> tuple[list[Images], list[list[Array]]]:
      results = self._apply(self.generator, gen, *real, taps=self.taps)
      return [y for y, _ in results], [maps for _, maps in results]

    fakes, pull, seen = jax.vjp(generate, gen, has_aux=True)
    if self.flip:
      # The keys are patches of the pictures as they are.
      seen = self._encode(gen, shown)
    grads, judged = jax.grad(self.discriminator_loss, has_aux=True)(
      disc, b, fakes[0]
    )
    opt = dict(state.opt)
    disc, opt["disc"] = common.update(
      self.optimizers["disc"], grads, opt["disc"], disc
    )
    nets = {"gen_ab": gen, "sampler": state.params["sampler"]}
    (_, metrics), (direct, toward) = jax.value_and_grad(
      self.generator_loss, argnums=(0, 1), has_aux=True
    )(nets, fakes, seen, disc, real[0], draws)
    through = pull(toward)[0]
    gen, opt["gen"] = common.update(
      self.optimizers["gen"],
      jax.tree.map(jnp.add, direct["gen_ab"], through),
      opt["gen"],
      gen,
    )
    sampler, opt["sampler"] = common.update(
      self.optimizers["sampler"],
      direct["sampler"],
      opt["sampler"],
      nets["sampler"],
    )
    ema = state.ema
    if self.ema:
      ema = optim.ema_update(ema, {"gen_ab": gen}, self.ema)
    state = state.replace(
      step=state.step + 1,
      params={"gen_ab": gen, "disc_b": disc, "sampler": sampler},
      opt=opt,
      ema=ema,
    )
    return state, self.axis.mean({**metrics, **judged})

  def generate(self, gen: Params, images: Images) -> Images:
    """Translates pictures in [-1, 1]; see `OneWay`."""
    return self._apply(self.generator, gen, images)[0]

  def _apply(
    self, net: Any, params: Params, *batches: Images, **options: Any
  ) -> list[Any]:
    return common.apply(
      net, params, *batches, joint=self.batch_calls, **options
    )

  def _encode(self, gen: Params, images: list[Images]) -> list[list[Array]]:
    """What the taps give for each batch."""
    options = dict(taps=self.taps, decode=False)
    return [
      maps for _, maps in self._apply(self.generator, gen, *images, **options)
    ]

  def _tap_shapes(self, gen: Params, images: Images) -> list[Any]:
    return jax.eval_shape(lambda p, x: self._encode(p, [x])[0], gen, images)

  def _contrast(
    self,
    sampler: Params,
    query: list[Array],
    key: list[Array],
    where: Positions,
  ) -> Float[Array, ""]:
    """The contrastive loss, a mean over the taps."""
    query, key = (
      self.sampler.apply({"params": sampler}, maps, where)
      for maps in (query, key)
    )
    parts = [
      translation.patch_nce(q, k, self.temperature) for q, k in zip(query, key)
    ]
    return sum(parts) / len(parts)


def _mirrored(x: Array, flip: Bool[Array, ""]) -> Array:
  """Maps [B, H, W, C], left and right exchanged if `flip`."""
  return jnp.where(flip, x[:, :, ::-1], x)


def build(config: Any, axis: Axis | None = None) -> Cut:
  """Builds the task; see `translation.build`.

  Args:
    config: `model.generator` (width, blocks, antialias), `model.discriminator`
      (width, layers, antialias), `model.sampler` (features, patches),
      `model.taps`, `model.flip`, `model.init`, `loss.nce`, `loss.identity`
      (whether), `loss.temperature`; optional: `model.generator.remat`,
      `model.batch_calls`, `loss.r1` and `translation_extras`' losses.
    axis: the data axis under pmap; None is the global view of jit.

  Returns:
    The task.

  Raises:
    UserError: if a value is out of range.
  """
  model, loss = config.model, config.loss
  common.check_config(config, "loss.nce")
  if loss.temperature <= 0 or model.sampler.patches < 2 or not model.taps:
    raise UserError(
      "CUT needs loss.temperature above 0, at least 2 model.sampler.patches "
      f"and at least one of model.taps, got {loss.temperature}, "
      f"{model.sampler.patches} and {model.taps}."
    )
  axis = axis or Axis()
  generator = common.resnet_generator(config)
  return Cut(
    generator=generator,
    discriminator=common.patch_discriminator(config),
    sampler=PatchSampler(
      features=model.sampler.features,
      init_kernel=generator.init_kernel,
      dtype=Precision(config.precision).dtype,
    ),
    optimizers={
      name: optim.make(config.optim, config.total_steps, axis)
      for name in ("gen", "disc", "sampler")
    },
    taps=tuple(model.taps),
    patches=model.sampler.patches,
    temperature=loss.temperature,
    nce=loss.nce,
    identity=loss.identity,
    flip=model.flip,
    r1=common.r1_weight(config),
    ema=config.ema,
    paired=common.has_targets(config.data),
    batch_calls=model.get("batch_calls", False),
    augment=common.strengths(config),
    extras=translation_extras.make(config, resnet.MULTIPLE, resnet.MIN_SIZE),
    axis=axis,
  )
