"""U-GAT-IT: translation both ways without pairs, guided by attention.

Kim et al. 2020, with the choices of the published recipe. One step makes, in
one program, an update of all discriminators on the latest fakes and then of
both generators, whose rhos are brought back into [0, 1]. `gen_ab` maps a to b;
`disc_a` is two discriminators, local and global, of pictures of a.

The vectors of the spectral norm are `extra["spectral"]`, by the names of the
parameters they belong to. They go one iteration ahead for the discriminators'
update, real and generated pictures together, and one for the generators'.
"""

import dataclasses
from typing import Any

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
  inference_params,
)
from chibijax.errors import UserError
from chibijax.losses import adversarial, translation
from chibijax.models import resnet, ugatit
from chibijax.models.ugatit import Discriminators, Generator, Judged, Translated
from chibijax.ops import heat_map, spectral_norm
from chibijax.ops import image as image_ops
from chibijax.tasks import translation_common as common
from chibijax.tasks import translation_extras
from chibijax.tasks.translation_common import Direction, Images
from chibijax.tasks.translation_extras import Extras

GENERATORS = ("gen_ab", "gen_ba")
DISCRIMINATORS = ("disc_a", "disc_b")


@dataclasses.dataclass(frozen=True)
class Ugatit:
  """The task; see `build` for what the config says of each field.

  Attributes:
    generator: the network of both directions.
    discriminator: the pair of networks of both domains.
    gen_optimizer: optimiser of both generators together.
    disc_optimizer: optimiser of all discriminators together.
    cycle: weight of cycle consistency.
    identity: weight of the identity loss.
    cam: weight of the generators' classifiers.
    ema: decay of the generators' average; 0 keeps none.
    paired: evaluation batches hold pairs, so `image_b` is the target.
    batch_calls: run one network on several batches as one larger batch.
    augment: strengths of `ops.augment.photometric` for photos, by name.
    extras: further losses of both directions.
    axis: the data axis.
  """

  generator: Generator
  discriminator: Discriminators
  gen_optimizer: optax.GradientTransformation
  disc_optimizer: optax.GradientTransformation
  cycle: float = 10.0
  identity: float = 10.0
  cam: float = 1000.0
  ema: float = 0.0
  paired: bool = False
  batch_calls: bool = False
  augment: tuple[tuple[str, float], ...] = ()
  extras: Extras = dataclasses.field(default_factory=Extras)
  axis: Axis = dataclasses.field(default_factory=Axis)

  def init(self, key: PRNGKeyArray, spec: Batch) -> TrainState:
    """Draws the networks' parameters; see `core.types.Task`.

    Raises:
      UserError: if the pictures' sizes do not suit the networks.
    """
    shape = common.checked_shape(
      spec, resnet.MULTIPLE, resnet.MIN_SIZE, self.discriminator
    )
    self._check_size(*shape[:2])
    blank = jnp.zeros((1, *shape), jnp.float32)
    keys = jax.random.split(key, 5)

    def draw(net: Generator | Discriminators, keys: Array) -> list[Params]:
      # Both at once: XLA takes a part of a second to compile each draw.
      both = jax.vmap(lambda k: net.init(k, blank)["params"])(keys)
      return [jax.tree.map(lambda x, i=i: x[i], both) for i in range(2)]

    gen = dict(zip(GENERATORS, draw(self.generator, keys[:2])))
    disc = dict(zip(DISCRIMINATORS, draw(self.discriminator, keys[2:4])))
    vector_key = keys[4]
    return TrainState(
      step=jnp.zeros((), jnp.int32),
      params={**gen, **disc},
      opt={
        "gen": self.gen_optimizer.init(gen),
        "disc": self.disc_optimizer.init(disc),
      },
      # Copies: a buffer that is in the state twice could not be donated.
      ema=jax.tree.map(jnp.copy, gen) if self.ema else {},
      extra={"spectral": spectral_norm.start(vector_key, disc, ugatit.PLAIN)},
    )

  def own_loss(
    self,
    gen: Params,
    a: Images,
    b: Images,
    key: PRNGKeyArray | None = None,
  ) -> tuple[tuple[Float[Array, ""], tuple[Images, Images]], Metrics]:
    """What the generators' loss owes to no discriminator (eqs. 3 to 5).

    Args:
      gen: parameters by name in `GENERATORS`.
      a: pictures of domain a in [-1, 1].
      b: pictures of domain b in [-1, 1].
      key: for the extra losses; None leaves them out.

    Returns:
      ((weighted sum, (fake_a, fake_b)), unweighted parts by name).
    """
    to_b, same_b = self._generate(gen["gen_ab"], a, b)
    to_a, same_a = self._generate(gen["gen_ba"], b, a)
    (back_a,) = self._generate(gen["gen_ba"], to_b.images)
    (back_b,) = self._generate(gen["gen_ab"], to_a.images)
    cycle = translation.cycle_consistency(back_a.images, a)
    cycle += translation.cycle_consistency(back_b.images, b)
    same = translation.identity(same_a.images, a)
    same += translation.identity(same_b.images, b)
    cam = translation.attention(to_b.logits, same_b.logits)
    cam += translation.attention(to_a.logits, same_a.logits)
    loss = self.cycle * cycle + self.identity * same + self.cam * cam
    metrics = {"loss/cycle": cycle, "loss/identity": same, "loss/cam": cam}
    if key is not None and self.extras.active:
      ways = (("gen_ab", a, to_b.images), ("gen_ba", b, to_a.images))
      for way, (name, x, y) in zip(jax.random.split(key), ways):
        more, found = self.extras(
          lambda part, name=name: self._generate(gen[name], part)[0].images,
          x,
          y,
          way,
        )
        loss += more
        for title, value in found.items():
          metrics[title] = metrics.get(title, 0.0) + value
    return (loss, (to_a.images, to_b.images)), metrics

  def fooled_loss(
    self, fakes: tuple[Images, Images], disc: Params
  ) -> Float[Array, ""]:
    """Least-squares loss of the generators (eq. 2), classifiers included.

    Args:
      fakes: generated pictures of domains a and b.
      disc: the discriminators' parameters, spectrally normalised.

    Returns:
      The sum over domains, discriminators, and scores and logits.
    """
    total = jnp.zeros(())
    for name, fake in zip(DISCRIMINATORS, fakes):
      (pair,) = self._judge(disc[name], fake)
      for judged in pair:
        total += adversarial.least_squares_generator(judged.scores)
        total += adversarial.least_squares_generator(judged.logits)
    return total

  def discriminator_loss(
    self,
    disc: Params,
    vectors: Params,
    real: tuple[Images, Images],
    fakes: tuple[Images, Images],
  ) -> tuple[Float[Array, ""], Params]:
    """Least-squares loss of all discriminators, without a factor 1/2.

    Args:
      disc: parameters by name in `DISCRIMINATORS`.
      vectors: of the spectral norm.
      real: pictures of domains a and b in [-1, 1].
      fakes: generated pictures of a and b; no gradient reaches them.

    Returns:
      The loss and the vectors one iteration on.
    """
    disc, vectors = spectral_norm.normalized(disc, vectors)
    total = jnp.zeros(())
    for name, x, y in zip(DISCRIMINATORS, real, fakes):
      pairs = self._judge(disc[name], x, jax.lax.stop_gradient(y))
      for true, false in zip(*pairs):
        for good, bad in zip(true, false):
          total += adversarial.least_squares(good, 1.0)
          total += adversarial.least_squares(bad, 0.0)
    return total, vectors

  def train_step(
    self, state: TrainState, batch: Batch, key: PRNGKeyArray
  ) -> tuple[TrainState, Metrics]:
    """Updates the discriminators, then the generators; see `Task`."""
    augment_key, extra_key = jax.random.split(key)
    a, b = common.pictures(batch, augment_key, self.augment, self.axis)
    gen = common.pick(state.params, GENERATORS)
    disc = common.pick(state.params, DISCRIMINATORS)
    vectors = state.extra["spectral"]

    (own, fakes), pull, metrics = jax.vjp(
      lambda gen: self.own_loss(gen, a, b, extra_key), gen, has_aux=True
    )
    (judged, vectors), grads = jax.value_and_grad(
      self.discriminator_loss, has_aux=True
    )(disc, vectors, (a, b), fakes)
    disc, disc_opt = common.update(
      self.disc_optimizer, grads, state.opt["disc"], disc
    )

    normal, vectors = spectral_norm.normalized(disc, vectors)
    fooled, toward = jax.value_and_grad(self.fooled_loss)(fakes, normal)
    (grads,) = pull((jnp.ones_like(own), toward))
    gen, gen_opt = common.update(
      self.gen_optimizer, grads, state.opt["gen"], gen
    )
    gen = ugatit.clip_rho(gen)

    state = state.replace(
      step=state.step + 1,
      params={**gen, **disc},
      opt={"gen": gen_opt, "disc": disc_opt},
      ema=optim.ema_update(state.ema, gen, self.ema) if self.ema else state.ema,
      extra={"spectral": vectors},
    )
    metrics |= {
      "loss/generator": own + fooled,
      "loss/adversarial": fooled,
      "loss/discriminator": judged,
    }
    return state, self.axis.mean(metrics)

  def eval_step(
    self, state: TrainState, batch: Batch, key: PRNGKeyArray
  ) -> dict[str, Array]:
    """Translates a to b and back; see `core.types.Task`.

    Returns:
      `image/input`, `image/input_cam` (where gen_ab looks in it, as colours),
      `image/output`, `image/output_cam` (where gen_ba looks in that on its way
      back), `image/reconstruction` and, for pairs, `image/target`; per example
      `metric/cycle_l1` (in [-1, 1] units), `metric/luminance_correlation` of
      photo and chibi.
    """
    del key
    params = inference_params(state)
    photo = image_ops.signed(batch["image_a"])
    (there,) = self._generate(params["gen_ab"], photo)
    (back,) = self._generate(params["gen_ba"], there.images)
    out = {
      "image/input": photo,
      "image/input_cam": heat_map.overlay(there.heat, photo),
      "image/output": there.images,
      "image/output_cam": heat_map.overlay(back.heat, there.images),
      "image/reconstruction": back.images,
    }
    if self.paired:
      out["image/target"] = image_ops.signed(batch["image_b"])
    out["metric/cycle_l1"] = jnp.abs(back.images - photo).mean((1, 2, 3))
    out["metric/luminance_correlation"] = image_ops.luminance_correlation(
      photo, there.images
    )
    return out

  def translate(
    self, params: Params, images: Images, direction: Direction = "a2b"
  ) -> Images:
    """Translates pictures: of any size in the light form.

    Sizes the generator cannot take are padded by reflection and cropped.

    Args:
      params: networks by name, e.g. `inference_params(state)`.
      images: pictures in [-1, 1].
      direction: "a2b" (photo to chibi) or "b2a".

    Returns:
      Pictures in [-1, 1] of the same size.

    Raises:
      UserError: for pictures of another size than the full form's.
      ValueError: for another direction or pictures of a single pixel's side.
    """
    common.check_direction(direction)
    self._check_size(*images.shape[1:3])
    name = "gen_ab" if direction == "a2b" else "gen_ba"
    return common.at_any_size(
      lambda x: self._generate(params[name], x)[0].images,
      images,
      resnet.MULTIPLE,
      resnet.MIN_SIZE,
    )

  def _generate(self, params: Params, *batches: Images) -> list[Translated]:
    return common.apply(
      self.generator, params, *batches, joint=self.batch_calls
    )

  def _judge(
    self, params: Params, *batches: Images
  ) -> list[tuple[Judged, Judged]]:
    return common.apply(
      self.discriminator, params, *batches, joint=self.batch_calls
    )

  def _check_size(self, height: int, width: int) -> None:
    size = self.generator.size
    if size and (height, width) != (size, size):
      raise UserError(
        f"The full U-GAT-IT takes pictures of {size}x{size} only, the size it "
        f"was made for, got {height}x{width}; the light one takes any."
      )


def build(config: Any, axis: Axis | None = None) -> Ugatit:
  """Builds the task; see `translation.build`.

  Args:
    config: `model.generator` (width, blocks, light), `model.discriminator`
      (width, local_layers, global_layers), `loss.cycle`, `loss.identity`,
      `loss.cam`, and `data.size` for the full form; optional:
      `model.generator.remat`, `model.batch_calls`, `model.init`, and
      `translation_extras`' losses.
    axis: the data axis under pmap; None is the global view of jit.

  Returns:
    The task.

  Raises:
    UserError: if a value is out of range.
  """
  model, loss = config.model, config.loss
  common.check_config(config, "loss.cycle", "loss.identity", "loss.cam")
  axis = axis or Axis()
  form = dict(
    init_kernel=common.initializer(config),
    dtype=Precision(config.precision).dtype,
  )
  extras = translation_extras.make(config, resnet.MULTIPLE, resnet.MIN_SIZE)
  light = model.generator.light
  if extras.crop > 0 and not light:
    raise UserError(
      "loss.crop translates parts of pictures, which the full U-GAT-IT cannot: "
      "set model.generator.light to True, or loss.crop to 0."
    )
  return Ugatit(
    generator=Generator(
      width=model.generator.width,
      blocks=model.generator.blocks,
      size=0 if light else config.data.size,
      remat=model.generator.get("remat", False),
      **form,
    ),
    discriminator=Discriminators(
      width=model.discriminator.width,
      local_layers=model.discriminator.local_layers,
      global_layers=model.discriminator.global_layers,
      **form,
    ),
    gen_optimizer=optim.make(config.optim, config.total_steps, axis),
    disc_optimizer=optim.make(config.optim, config.total_steps, axis),
    cycle=loss.cycle,
    identity=loss.identity,
    cam=loss.cam,
    ema=config.ema,
    paired=common.has_targets(config.data),
    batch_calls=model.get("batch_calls", False),
    augment=common.strengths(config),
    extras=extras,
    axis=axis,
  )
