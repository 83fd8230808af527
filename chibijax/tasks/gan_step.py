"""One step of a GAN: the discriminator's updates, then the generator's.

`tasks.gan` builds it from a config.
"""

import dataclasses
import functools
from collections.abc import Callable
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
  TrainState,
  inference_params,
)
from chibijax.errors import UserError
from chibijax.losses import adversarial, regularizers
from chibijax.models import dcgan, r3gan
from chibijax.ops import diff_augment
from chibijax.ops import image as image_ops

Images = Float[Array, "b h w 3"]
Labels = Float[Array, "b k"]

# By name: the discriminator's loss of (real, fake) and the generator's.
LOSSES: dict[str, tuple[Callable[..., Array], Callable[..., Array]]] = {
  "minimax": (
    adversarial.logistic_discriminator,
    lambda real, fake: adversarial.minimax_generator(fake),
  ),
  "non_saturating": (
    adversarial.logistic_discriminator,
    lambda real, fake: adversarial.non_saturating_generator(fake),
  ),
  "wasserstein": (
    adversarial.wasserstein_discriminator,
    lambda real, fake: adversarial.wasserstein_generator(fake),
  ),
  "relativistic": (
    adversarial.relativistic,
    lambda real, fake: adversarial.relativistic(fake, real),
  ),
}
# Columns of samples in the grid of an evaluation.
_SAMPLES = 6


@dataclasses.dataclass(frozen=True)
class Anneal:
  """A value that moves along half a cosine from `first` to `last`.

  Attributes:
    first: value at step 0.
    last: value from `steps` on.
    steps: how long it takes.
  """

  first: float
  last: float
  steps: int

  def __call__(self, step: Array) -> Float[Array, ""]:
    """The value at a step."""
    share = jnp.minimum(step / self.steps, 1.0)
    way = 0.5 * (1 - jnp.cos(jnp.pi * share))
    return self.first + way * (self.last - self.first)


@dataclasses.dataclass(frozen=True)
class Gan:
  """The task; see `build` for what the config says of each field.

  Attributes:
    generator: latents to pictures.
    discriminator: pictures to scores.
    gen_optimizer: the generator's.
    disc_optimizer: the discriminator's.
    latent: numbers of a latent, drawn from N(0, 1).
    size: side of the pictures, in pixels.
    losses: of the discriminator and of the generator, see `LOSSES`.
    r1: weight gamma of R1; 0 computes none.
    r2: weight gamma of R2.
    gradient_penalty: weight lambda of WGAN-GP's penalty.
    penalty_scale: factor of these weights at a step.
    critic_steps: updates of the discriminator in a step.
    half_life: of the generator's average, in steps at a step; None keeps none.
    augment: policies of `ops.diff_augment`.
    conditional: batches bring `attributes`, which both networks see.
    axis: the data axis.
  """

  generator: r3gan.Generator | dcgan.Generator
  discriminator: r3gan.Discriminator | dcgan.Discriminator
  gen_optimizer: optax.GradientTransformation
  disc_optimizer: optax.GradientTransformation
  latent: int
  size: int
  losses: tuple[Callable[..., Array], Callable[..., Array]]
  r1: float = 0.0
  r2: float = 0.0
  gradient_penalty: float = 0.0
  penalty_scale: Anneal = Anneal(1.0, 1.0, 1)
  critic_steps: int = 1
  half_life: Anneal | None = None
  augment: tuple[str, ...] = ()
  conditional: bool = False
  axis: Axis = dataclasses.field(default_factory=Axis)

  def init(self, key: PRNGKeyArray, spec: Batch) -> TrainState:
    """Draws the networks' parameters; see `core.types.Task`.

    Raises:
      UserError: if there is no `image`, it has another size, labels are missing
        or the batch cannot be split.
    """
    self._check(spec)
    gen_key, disc_key = jax.random.split(key)
    labels = None
    if self.conditional:
      labels = jnp.zeros((1, spec["attributes"].shape[-1]))
    gen = self.generator.init(
      gen_key, jnp.zeros((1, self.latent)), *self._given(labels)
    )
    disc = self.discriminator.init(
      disc_key, jnp.zeros((1, self.size, self.size, 3)), *self._given(labels)
    )
    params = {"gen": gen["params"], "disc": disc["params"]}
    if "stats" in gen:
      # With the parameters, because whoever uses the generator needs both.
      params["gen_stats"] = gen["stats"]
    return TrainState(
      step=jnp.zeros((), jnp.int32),
      params=params,
      opt={
        "gen": self.gen_optimizer.init(params["gen"]),
        "disc": self.disc_optimizer.init(params["disc"]),
      },
      # A copy: a buffer that is in the state twice could not be donated.
      ema={"gen": jax.tree.map(jnp.copy, params["gen"])}
      if self.half_life
      else {},
    )

  def discriminator_loss(
    self,
    disc: Params,
    real: Images,
    fake: Images,
    labels: Labels | None,
    key: PRNGKeyArray,
    step: Array,
  ) -> tuple[Float[Array, ""], Metrics]:
    """The discriminator's loss and penalties.

    Args:
      disc: its parameters.
      real: pictures in [-1, 1].
      fake: generated ones; no gradient reaches what made them.
      labels: of both, or None.
      key: draws the augmentation and the points of the gradient penalty.
      step: decides the penalties' weights.

    Returns:
      The loss and metrics; penalties unweighted.
    """
    fake = jax.lax.stop_gradient(fake)
    keys = jax.random.split(key, 3)

    def score(key: PRNGKeyArray, x: Images) -> Array:
      return self._score(disc, x, labels, key)

    penalties = {}
    scores = []
    for name, weight, x, k in (
      ("r1", self.r1, real, keys[0]),
      ("r2", self.r2, fake, keys[1]),
    ):
      if weight:
        found, slope = regularizers.squared_gradient(
          functools.partial(score, k), x
        )
        penalties[name] = (weight, regularizers.zero_centered(slope))
      else:
        found = score(k, x)
      scores.append(found)
    if self.gradient_penalty:
      share = self._draw(keys[2], jax.random.uniform, (len(real),))
      _, slope = regularizers.squared_gradient(
        functools.partial(score, keys[2]),
        regularizers.mixed(real, fake, share),
      )
      penalties["gradient_penalty"] = (
        self.gradient_penalty,
        regularizers.one_centered(slope),
      )
    loss = self.losses[0](*scores)
    metrics = {
      "loss/discriminator": loss,
      "score/real": scores[0].mean(),
      "score/fake": scores[1].mean(),
    }
    scale = self.penalty_scale(step)
    for name, (weight, penalty) in penalties.items():
      loss += weight * scale * penalty
      metrics[f"loss/{name}"] = penalty
    return loss, metrics

  def generator_loss(
    self,
    gen: Params,
    params: dict[str, Params],
    real: Images,
    labels: Labels | None,
    key: PRNGKeyArray,
  ) -> tuple[Float[Array, ""], dict[str, Params]]:
    """The generator's loss.

    Args:
      gen: its parameters.
      params: the state's, of which the others are held fixed.
      real: pictures in [-1, 1], which a relativistic loss compares with.
      labels: of the pictures, or None.
      key: draws latents and augmentation.

    Returns:
      The loss, and the statistics that the generator keeps (none: an empty
      dict).
    """
    keys = jax.random.split(key, 3)
    fake, stats = self._make({**params, "gen": gen}, labels, keys[0], len(real))
    worse = self._score(params["disc"], fake, labels, keys[1])
    better = None
    if self.losses is LOSSES["relativistic"]:
      better = self._score(params["disc"], real, labels, keys[2])
    return self.losses[1](better, worse), stats

  def train_step(
    self, state: TrainState, batch: Batch, key: PRNGKeyArray
  ) -> tuple[TrainState, Metrics]:
    """Updates the discriminator, then the generator; see `Task`."""
    real = image_ops.to_float(batch["image"])
    labels = batch["attributes"] if self.conditional else None
    disc_key, gen_key = jax.random.split(key)
    shares = jax.tree.map(self._shares, (real, labels))
    keys = jax.random.split(disc_key, self.critic_steps)

    def judge(
      carry: tuple[dict[str, Params], Any], given: tuple[Any, PRNGKeyArray]
    ) -> tuple[tuple[dict[str, Params], Any], Metrics]:
      params, opt = carry
      (real, labels), key = given
      make_key, key = jax.random.split(key)
      fake, stats = self._make(params, labels, make_key, len(real))
      gradient = jax.grad(self.discriminator_loss, has_aux=True)
      grads, metrics = gradient(
        params["disc"], real, fake, labels, key, state.step
      )
      updates, opt = self.disc_optimizer.update(grads, opt, params["disc"])
      disc = optax.apply_updates(params["disc"], updates)
      return ({**params, "disc": disc, **stats}, opt), metrics

    carry = (state.params, state.opt["disc"])
    if self.critic_steps == 1:
      one = jax.tree.map(lambda x: x[0], (shares, keys))
      (params, disc_opt), metrics = judge(carry, one)
    else:
      (params, disc_opt), metrics = jax.lax.scan(judge, carry, (shares, keys))
      metrics = {k: v.mean() for k, v in metrics.items()}

    last = jax.tree.map(lambda x: x[-1], shares)
    gradient = jax.value_and_grad(self.generator_loss, has_aux=True)
    (loss, stats), grads = gradient(params["gen"], params, *last, gen_key)
    updates, gen_opt = self.gen_optimizer.update(
      grads, state.opt["gen"], params["gen"]
    )
    params = {
      **params,
      "gen": optax.apply_updates(params["gen"], updates),
      **stats,
    }
    state = state.replace(
      step=state.step + 1,
      params=params,
      opt={"gen": gen_opt, "disc": disc_opt},
      ema=self._averaged(state, params["gen"]),
    )
    return state, self.axis.mean({"loss/generator": loss, **metrics})

  def eval_step(
    self, state: TrainState, batch: Batch, key: PRNGKeyArray
  ) -> dict[str, Array]:
    """Draws pictures; the same latents at each evaluation.

    Returns:
      `image/real`, `image/sample_0` ...; per example `metric/score_real` and
      `metric/score_sample`, what the discriminator makes of held-out and drawn
      pictures: far apart, it has learned the training set by heart.
    """
    params = inference_params(state)
    real = image_ops.to_float(batch["image"])
    labels = batch["attributes"] if self.conditional else None
    z = jax.random.normal(key, (_SAMPLES, len(real), self.latent))
    out = {"image/real": real}
    for i in range(_SAMPLES):
      out[f"image/sample_{i}"] = self.generate(params, z[i], labels)

    def judged(x: Images) -> Array:
      return self._apply_disc(state.params["disc"], x, labels)

    out["metric/score_real"] = judged(real)
    out["metric/score_sample"] = judged(out["image/sample_0"])
    return out

  def generate(
    self,
    params: Params,
    z: Float[Array, "b n"],
    labels: Labels | None = None,
  ) -> Images:
    """Pictures of latents, with the generator's kept statistics.

    Args:
      params: networks by name, e.g. `inference_params(state)`.
      z: latents, normal draws.
      labels: one row for each where the GAN is conditional.

    Returns:
      Pictures in [-1, 1].
    """
    variables = {"params": params["gen"]}
    if "gen_stats" in params:
      variables["stats"] = params["gen_stats"]
    x = self.generator.apply(variables, z, *self._given(labels))
    return jnp.clip(x, -1.0, 1.0)

  def _make(
    self,
    params: dict[str, Params],
    labels: Labels | None,
    key: PRNGKeyArray,
    count: int,
  ) -> tuple[Images, dict[str, Params]]:
    """Draws pictures for training, and the statistics kept of them."""
    z = self._draw(key, jax.random.normal, (count, self.latent))
    if "gen_stats" not in params:
      variables = {"params": params["gen"]}
      return self.generator.apply(variables, z, *self._given(labels)), {}
    variables = {"params": params["gen"], "stats": params["gen_stats"]}
    fake, changed = self.generator.apply(
      variables, z, train=True, mutable=["stats"]
    )
    return fake, {"gen_stats": changed["stats"]}

  def _score(
    self,
    disc: Params,
    images: Images,
    labels: Labels | None,
    key: PRNGKeyArray,
  ) -> Float[Array, " b"]:
    """The discriminator's view of pictures in training."""
    if self.augment:
      keys = self._draw(key, jax.random.split, (len(images),))
      images = diff_augment.diff_augment(keys, images, self.augment)
    return self._apply_disc(disc, images, labels)

  def _apply_disc(
    self, disc: Params, images: Images, labels: Labels | None
  ) -> Float[Array, " b"]:
    return self.discriminator.apply(
      {"params": disc}, images, *self._given(labels)
    )

  def _draw(
    self,
    key: PRNGKeyArray,
    draw: Callable[..., Array],
    shape: tuple[int, ...],
  ) -> Array:
    """Draws rows for the global batch and takes this shard's."""
    rows = self.axis.gather(jnp.arange(shape[0])).shape[0]
    return self.axis.local(draw(key, (rows, *shape[1:])))

  def _given(self, labels: Labels | None) -> tuple[Labels, ...]:
    """What the networks take beside their first argument."""
    return (labels,) if self.conditional else ()

  def _shares(self, x: Array) -> Array:
    """[B, ...] to [critic_steps, B / critic_steps, ...], rows interleaved.

    Interleaved, so that rows stay on the device that holds them.
    """
    rows = len(x) // self.critic_steps
    return x.reshape(rows, self.critic_steps, *x.shape[1:]).swapaxes(0, 1)

  def _averaged(self, state: TrainState, gen: Params) -> dict[str, Params]:
    if self.half_life is None:
      return state.ema
    steps = jnp.maximum(self.half_life(state.step), 1e-8)
    return {"gen": optim.ema_update(state.ema["gen"], gen, 0.5 ** (1 / steps))}

  def _check(self, spec: Batch) -> None:
    shape = (self.size, self.size, 3)
    if "image" not in spec or tuple(spec["image"].shape[1:]) != shape:
      raise UserError(
        f"gan needs batches of `image` {shape}: set data.source_b to nothing "
        "and data.size to what the networks make."
      )
    if self.conditional and "attributes" not in spec:
      raise UserError(
        "model.conditional needs labels: set data.source_a to artist and "
        "data.domain_a to labelled_chibi."
      )
    if spec["image"].shape[0] % self.critic_steps:
      raise UserError(
        f"data.batch_size is {spec['image'].shape[0]}, expected a multiple of "
        f"model.critic_steps, {self.critic_steps}."
      )
