"""One step of a GAN: the discriminator's updates, then the generator's.

`tasks.gan` builds it from a config; `tasks.gan_style` adds what StyleGAN2 does.
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
from chibijax.losses import regularizers
from chibijax.models import dcgan, r3gan, stylegan2
from chibijax.ops import image as image_ops
from chibijax.tasks.gan_parts import LOSSES, Augment, check_batch

Images = Float[Array, "b h w 3"]
Labels = Float[Array, "b k"]

# Columns of samples in the grid of an evaluation.
_SAMPLES = 6


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
    augment: what the discriminator sees instead of pictures.
    conditional: batches bring `attributes`, which both networks see.
    axis: the data axis.
  """

  generator: r3gan.Generator | dcgan.Generator | stylegan2.Generator
  discriminator: (
    r3gan.Discriminator | dcgan.Discriminator | stylegan2.Discriminator
  )
  gen_optimizer: optax.GradientTransformation
  disc_optimizer: optax.GradientTransformation
  latent: int
  size: int
  losses: tuple[Callable[..., Array], Callable[..., Array]]
  r1: float = 0.0
  r2: float = 0.0
  gradient_penalty: float = 0.0
  penalty_scale: Callable[[Array], Array | float] = lambda _: 1.0
  critic_steps: int = 1
  half_life: Callable[[Array], Array] | None = None
  augment: Augment = dataclasses.field(default_factory=Augment)
  conditional: bool = False
  axis: Axis = dataclasses.field(default_factory=Axis)

  def init(self, key: PRNGKeyArray, spec: Batch) -> TrainState:
    """Draws the networks' parameters; see `core.types.Task`.

    Raises:
      UserError: if there is no `image`, it has another size, labels are missing
        or the batch cannot be split.
    """
    check_batch(spec, self.size, self.critic_steps, self.conditional)
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
      extra=self.augment.init(),
    )

  def discriminator_loss(
    self,
    disc: Params,
    real: Images,
    fake: Images,
    labels: Labels | None,
    key: PRNGKeyArray,
    step: Array,
    extra: dict[str, Any] | None = None,
  ) -> tuple[Float[Array, ""], Metrics]:
    """The discriminator's loss and penalties.

    Args:
      disc: its parameters.
      real: pictures in [-1, 1].
      fake: generated ones; no gradient reaches what made them.
      labels: of both, or None.
      key: draws the augmentation and the points of the gradient penalty.
      step: decides the penalties' weights.
      extra: the state's, which ADA needs.

    Returns:
      The loss and metrics; penalties unweighted.
    """
    fake = jax.lax.stop_gradient(fake)
    keys = jax.random.split(key, 3)

    def score(key: PRNGKeyArray, x: Images) -> Array:
      return self._score(disc, x, labels, key, extra)

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
    if self.augment.name == "ada":
      metrics["ada/sign"] = jnp.sign(scores[0]).mean()
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
    extra: dict[str, Any] | None = None,
  ) -> tuple[Float[Array, ""], dict[str, Params]]:
    """The generator's loss.

    Args:
      gen: its parameters.
      params: the state's, of which the others are held fixed.
      real: pictures in [-1, 1], which a relativistic loss compares with.
      labels: of the pictures, or None.
      key: draws latents and augmentation.
      extra: the state's, which ADA needs.

    Returns:
      The loss, and the statistics that the generator keeps (none: an empty
      dict).
    """
    keys = jax.random.split(key, 3)
    fake, stats = self._make({**params, "gen": gen}, labels, keys[0], len(real))
    worse = self._score(params["disc"], fake, labels, keys[1], extra)
    better = None
    if self.losses is LOSSES["relativistic"]:
      better = self._score(params["disc"], real, labels, keys[2], extra)
    return self.losses[1](better, worse), stats

  def train_step(
    self, state: TrainState, batch: Batch, key: PRNGKeyArray
  ) -> tuple[TrainState, Metrics]:
    """Updates the discriminator, then the generator; see `Task`."""
    state, metrics = self.update(state, batch, key)
    metrics = self.axis.mean(metrics)
    rows = self._rows(len(batch["image"]))
    extra, seen = self.augment.advance(
      state.extra, metrics.get("ada/sign"), state.step, rows
    )
    state = state.replace(
      step=state.step + 1,
      ema=self._averaged(state, state.params["gen"]),
      extra=extra,
    )
    return state, {**metrics, **seen}

  def update(
    self, state: TrainState, batch: Batch, key: PRNGKeyArray
  ) -> tuple[TrainState, Metrics]:
    """The networks' updates of a step, with metrics of this shard."""
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
        params["disc"], real, fake, labels, key, state.step, state.extra
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
    (loss, stats), grads = gradient(
      params["gen"], params, *last, gen_key, state.extra
    )
    updates, gen_opt = self.gen_optimizer.update(
      grads, state.opt["gen"], params["gen"]
    )
    params = {
      **params,
      "gen": optax.apply_updates(params["gen"], updates),
      **stats,
    }
    state = state.replace(params=params, opt={"gen": gen_opt, "disc": disc_opt})
    return state, {"loss/generator": loss, **metrics}

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
      variables, z, *self._given(labels), train=True, mutable=["stats"]
    )
    return fake, {"gen_stats": changed["stats"]}

  def _score(
    self,
    disc: Params,
    images: Images,
    labels: Labels | None,
    key: PRNGKeyArray,
    extra: dict[str, Any] | None,
  ) -> Float[Array, " b"]:
    """The discriminator's view of pictures in training."""
    if self.augment.name != "none":
      keys = self._draw(key, jax.random.split, (len(images),))
      images = self.augment.apply(keys, images, extra)
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
    rows = self._rows(shape[0])
    return self.axis.local(draw(key, (rows, *shape[1:])))

  def _rows(self, local: int) -> int:
    """Rows of the global batch, of which each shard has so many."""
    return self.axis.gather(jnp.arange(local)).shape[0]

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
