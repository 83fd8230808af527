"""CycleGAN: translation between two domains without pairs.

Zhu et al. 2017, with every choice of the published recipe. One step makes, in
one program, an update of both generators and then of both discriminators, the
latter on fakes of the generators before their update, shown through a pool.
`gen_ab` maps a to b, `disc_a` judges pictures of a. Learning rates follow steps
where the reference counts epochs.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from chibijax.core import optim
from chibijax.core.types import (
  Axis,
  Batch,
  Metrics,
  Params,
  TrainState,
  inference_params,
)
from chibijax.errors import UserError
from chibijax.losses import adversarial, translation
from chibijax.models import resnet
from chibijax.models.patchgan import PatchDiscriminator
from chibijax.models.resnet import ResnetGenerator
from chibijax.ops import image as image_ops
from chibijax.ops import image_pool
from chibijax.ops.image_pool import ImagePool
from chibijax.tasks import translation_common as common
from chibijax.tasks import translation_extras
from chibijax.tasks.translation_common import Direction, Images
from chibijax.tasks.translation_extras import Extras

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
    cycle: weight of cycle consistency, at first.
    cycle_end: its weight at the last step relative to the first: below 1 it
      falls in a straight line (Wang and Lin 2018).
    steps: of the whole run.
    identity: weight of the identity loss; 0 saves its two generator calls.
    r1: weight of the penalty on the discriminators' slopes; 0 in the recipe.
    pool_size: pictures in each domain's pool of fakes; 0 shows the latest.
    ema: decay of the generators' average; 0 keeps none.
    paired: evaluation batches hold pairs, so `image_b` is the target.
    batch_calls: run one network on several batches as one larger batch.
    augment: strengths, those above 0, by name of `ops.augment.photometric`,
      which changes the colours of domain a.
    extras: further losses of both directions.
    microbatches: parts of a batch whose gradients are added up.
    axis: the data axis.
  """

  generator: ResnetGenerator
  discriminator: PatchDiscriminator
  gen_optimizer: optax.GradientTransformation
  disc_optimizer: optax.GradientTransformation
  cycle: float = 10.0
  cycle_end: float = 1.0
  steps: int = 1
  identity: float = 5.0
  r1: float = 0.0
  pool_size: int = 50
  ema: float = 0.0
  paired: bool = False
  batch_calls: bool = False
  augment: tuple[tuple[str, float], ...] = ()
  extras: Extras = dataclasses.field(default_factory=Extras)
  microbatches: int = 1
  axis: Axis = dataclasses.field(default_factory=Axis)

  def init(self, key: PRNGKeyArray, spec: Batch) -> TrainState:
    """Draws the networks' parameters; see `core.types.Task`.

    Raises:
      UserError: if the pictures' sizes do not suit the networks.
    """
    shape = common.checked_shape(
      spec, resnet.MULTIPLE, resnet.MIN_SIZE, self.discriminator
    )
    blank = jnp.zeros((1, *shape), jnp.float32)
    nets = [self.generator] * 2 + [self.discriminator] * 2
    keys = jax.random.split(key, len(nets))
    params = {
      name: net.init(keys[i], blank)["params"]
      for i, (name, net) in enumerate(zip(GENERATORS + DISCRIMINATORS, nets))
    }
    gen, disc = (
      common.pick(params, GENERATORS),
      common.pick(params, DISCRIMINATORS),
    )
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
    self,
    gen: Params,
    pictures: tuple[Images, Images],
    disc: Params,
    key: PRNGKeyArray | None = None,
    step: Int[Array, ""] | int = 0,
  ) -> tuple[Float[Array, ""], tuple[tuple[Images, Images], Metrics]]:
    """Loss of both generators (Zhu et al. 2017, eq. 3 and section 5.2).

    Args:
      gen: parameters by name in `GENERATORS`.
      pictures: of domains a and b in [-1, 1].
      disc: parameters by name in `DISCRIMINATORS`, held fixed.
      key: for the extra losses; None leaves them out.
      step: of the run, which the cycle's weight may depend on.

    Returns:
      The loss and ((fake_a, fake_b), metrics); metrics are unweighted.
    """
    a, b = pictures
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
    loss = fooled + self.cycle_weight(step) * cycle
    metrics = {"loss/adversarial": fooled, "loss/cycle": cycle}
    if with_identity:
      same = translation.identity(same_a[0], a)
      same += translation.identity(same_b[0], b)
      loss += self.identity * same
      metrics["loss/identity"] = same
    if key is not None and self.extras.active:
      ways = (("gen_ab", a, fake_b), ("gen_ba", b, fake_a))
      for way, (name, x, y) in zip(jax.random.split(key), ways):
        more, found = self.extras(
          lambda part, name=name: self._apply(self.generator, gen[name], part)[
            0
          ],
          x,
          y,
          way,
        )
        loss += more
        for title, value in found.items():
          metrics[title] = metrics.get(title, 0.0) + value
    return loss, ((fake_a, fake_b), {"loss/generator": loss, **metrics})

  def cycle_weight(
    self, step: Int[Array, ""] | int
  ) -> Float[Array, ""] | float:
    """The weight of cycle consistency at a step, counted from 0.

    A chibi does not show what is behind a head. A photo can only come back
    from it if the generator hides that in the chibi, as coloured noise: once
    the two domains have found each other, less of this loss is more.
    """
    if self.cycle_end == 1:
      return self.cycle
    last = self.cycle * self.cycle_end
    return optax.linear_schedule(self.cycle, last, self.steps)(step)

  def discriminator_loss(
    self,
    disc: Params,
    pictures: tuple[tuple[Images, Images], tuple[Images, Images]],
  ) -> tuple[Float[Array, ""], tuple[tuple[()], Metrics]]:
    """Sum of both discriminators' losses, each with its factor 1/2.

    Args:
      disc: parameters by name in `DISCRIMINATORS`.
      pictures: real ones of domains a and b, in [-1, 1], and generated ones,
        which no gradient reaches.

    Returns:
      The loss and ((), metrics); metrics are unweighted.
    """
    total, steep = jnp.zeros(()), jnp.zeros(())
    for name, x, y in zip(DISCRIMINATORS, *pictures):
      true, false, found = common.judged(
        functools.partial(self._apply, self.discriminator, disc[name]),
        x,
        y,
        self.r1,
      )
      total += adversarial.least_squares_discriminator(true, false)
      steep += found.get("loss/r1", 0.0)
    metrics = {"loss/discriminator": total}
    if self.r1:
      total, metrics["loss/r1"] = total + self.r1 * steep, steep
    return total, ((), metrics)

  def train_step(
    self, state: TrainState, batch: Batch, key: PRNGKeyArray
  ) -> tuple[TrainState, Metrics]:
    """Updates the generators, then the discriminators; see `Task`."""
    augment_key, key_pool = jax.random.split(key)
    a, b = common.pictures(batch, augment_key, self.augment, self.axis)
    gen = common.pick(state.params, GENERATORS)
    disc = common.pick(state.params, DISCRIMINATORS)

    gradient = optim.value_and_grad(self.generator_loss, self.microbatches)
    extra_key = jax.random.fold_in(key, 2) if self.extras.active else None
    (_, (fakes, metrics)), grads = gradient(
      gen, (a, b), disc, extra_key, state.step
    )
    gen, gen_opt = common.update(
      self.gen_optimizer, grads, state.opt["gen"], gen
    )

    extra, shown = self._exchange(state.extra, fakes, key_pool)
    gradient = optim.value_and_grad(self.discriminator_loss, self.microbatches)
    (_, (_, judged)), grads = gradient(disc, ((a, b), shown))
    disc, disc_opt = common.update(
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
    return state, self.axis.mean({**metrics, **judged})

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
    photo = image_ops.signed(batch["image_a"])
    chibi = self.translate(params, photo, "a2b")
    back = self.translate(params, chibi, "b2a")
    out = {
      "image/input": photo,
      "image/output": chibi,
      "image/reconstruction": back,
    }
    if self.paired:
      out["image/target"] = image_ops.signed(batch["image_b"])
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
    common.check_direction(direction)
    name = "gen_ab" if direction == "a2b" else "gen_ba"
    return common.at_any_size(
      lambda x: self._apply(self.generator, params[name], x)[0],
      images,
      resnet.MULTIPLE,
      resnet.MIN_SIZE,
    )

  def _apply(
    self,
    net: ResnetGenerator | PatchDiscriminator,
    params: Params,
    *batches: Images,
  ) -> list[Array]:
    """Applies one network to several batches of the same shape."""
    return common.apply(net, params, *batches, joint=self.batch_calls)

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
        extra[f"pool_{domain}"], images, swap, slot, self.axis.local
      )
      pools[f"pool_{domain}"] = pool
      shown.append(images)
    return pools, (shown[0], shown[1])


def build(config: Any, axis: Axis | None = None) -> CycleGan:
  """Builds the task; see `translation.build`.

  Args:
    config: `model.generator` (width, blocks), `model.discriminator` (width,
      layers), `model.pool_size`, `loss.cycle`, `loss.identity`; optional:
      `model.generator.remat`, `model.batch_calls`, `model.init`, `loss.r1`,
      `loss.cycle_end`, and `translation_extras`' losses.
    axis: the data axis under pmap; None is the global view of jit.

  Returns:
    The task.

  Raises:
    UserError: if a value is out of range.
  """
  model, loss = config.model, config.loss
  end = loss.get("cycle_end", 1.0)
  if not 0 <= end <= 1:
    raise UserError(f"loss.cycle_end is {end}, expected a share in [0, 1].")
  common.check_config(config, "loss.cycle", "loss.identity", "model.pool_size")
  axis = axis or Axis()
  return CycleGan(
    generator=common.resnet_generator(config),
    discriminator=common.patch_discriminator(config),
    gen_optimizer=optim.make(config.optim, config.total_steps, axis),
    disc_optimizer=optim.make(config.optim, config.total_steps, axis),
    cycle=loss.cycle,
    cycle_end=end,
    steps=config.total_steps,
    identity=loss.identity,
    r1=common.r1_weight(config),
    pool_size=model.pool_size,
    ema=config.ema,
    paired=common.has_targets(config.data),
    batch_calls=model.get("batch_calls", False),
    augment=common.strengths(config),
    extras=translation_extras.make(config, resnet.MULTIPLE, resnet.MIN_SIZE),
    microbatches=config.get("microbatches", 1),
    axis=axis,
  )
