"""What StyleGAN2 does beside a GAN's updates (Karras et al. 2020a).

* A style is the mapping's of one latent up to some layer and of another from
  there on, with probability `mixing`.
* Lazy penalties, in updates of their own: R1 of the discriminator every
  `r1_every` steps, the path length of the generator every `path_every`, each
  weighted by its interval. They are branches of the one compiled step. Adam's
  rate and betas allow for the additional updates (appendix B).
* The generator's average has a half-life that grows with the pictures seen, up
  to `half_life` (Karras et al. 2020b, `ramp`).

The mean style, towards which `generate` truncates, is a running average among
the parameters ("gen_stats"), because whoever uses the generator needs it. The
mean path length and the last penalties, for the log, are in the state's
`extra`.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray
from ml_collections import ConfigDict

from chibijax.core import optim
from chibijax.core.types import Axis, Batch, Metrics, Params, TrainState
from chibijax.errors import UserError
from chibijax.losses import regularizers
from chibijax.ops import image as image_ops
from chibijax.tasks.gan_parts import Ramp
from chibijax.tasks.gan_step import Gan, Images, Labels

Styles = Float[Array, "b l s"]
# What the running averages keep at each step.
_MEAN_DECAY = 0.998
_PATH_DECAY = 0.99


@dataclasses.dataclass(frozen=True)
class StyleGan(Gan):
  """The task; see `Gan` for the rest of the fields.

  Attributes:
    lazy_r1: weight gamma of the lazy R1; 0 computes none.
    r1_every: steps between its updates.
    path: weight of the path length's penalty; 0 computes none.
    path_every: steps between its updates; they see half a batch.
    mixing: probability of styles of two latents.
  """

  lazy_r1: float = 0.0
  r1_every: int = 16
  path: float = 0.0
  path_every: int = 4
  mixing: float = 0.9

  def init(self, key: PRNGKeyArray, spec: Batch) -> TrainState:
    """Draws the networks' parameters; see `Gan.init`."""
    state = super().init(key, spec)
    stats = {"mean_style": jnp.zeros((self.generator.style,))}
    last = {
      name: jnp.zeros(()) for name in ("path_mean", "last_path", "last_r1")
    }
    return state.replace(
      params={**state.params, "gen_stats": stats},
      extra={**state.extra, **last},
    )

  def update(
    self, state: TrainState, batch: Batch, key: PRNGKeyArray
  ) -> tuple[TrainState, Metrics]:
    """The updates of `Gan`, and now and then those of the penalties."""
    main_key, r1_key, path_key = jax.random.split(key, 3)
    state, metrics = super().update(state, batch, main_key)
    labels = batch["attributes"] if self.conditional else None
    if self.lazy_r1:
      state = jax.lax.cond(
        state.step % self.r1_every == 0,
        lambda s: self._update_r1(
          s, image_ops.to_float(batch["image"]), labels, r1_key
        ),
        lambda s: s,
        state,
      )
      metrics["loss/r1"] = state.extra["last_r1"]
    if self.path:
      state = jax.lax.cond(
        state.step % self.path_every == 0,
        lambda s: self._update_path(s, len(batch["image"]), labels, path_key),
        lambda s: s,
        state,
      )
      metrics["loss/path"] = state.extra["last_path"]
      metrics["path/mean"] = state.extra["path_mean"]
    return state, metrics

  def r1_loss(
    self,
    disc: Params,
    real: Images,
    labels: Labels | None,
    key: PRNGKeyArray,
    extra: dict[str, Any],
  ) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """R1 times gamma and its interval, and R1 alone.

    Args:
      disc: the discriminator's parameters.
      real: pictures in [-1, 1].
      labels: of them, or None.
      key: draws the augmentation.
      extra: the state's.

    Returns:
      Both, of gradients with respect to pictures before augmentation. Through
      `minibatch_deviation` a score depends on a group; what counts is the sum
      of all scores.
    """
    _, slope = regularizers.squared_gradient(
      lambda x: self._score(disc, x, labels, key, extra), real
    )
    penalty = regularizers.zero_centered(slope)
    return penalty * (self.lazy_r1 * self.r1_every), penalty

  def path_loss(
    self,
    gen: Params,
    count: int,
    labels: Labels | None,
    key: PRNGKeyArray,
    mean: Float[Array, ""],
  ) -> tuple[Float[Array, ""], tuple[Float[Array, ""], Float[Array, ""]]]:
    """How unevenly pictures move with their styles.

    Args:
      gen: the generator's parameters.
      count: pictures of this shard.
      labels: one row for each, or None.
      key: draws latents, noise and directions.
      mean: running average of the path lengths.

    Returns:
      The penalty times weight and interval; the next average and the penalty
      alone. No gradient goes through the average.
    """
    style_key, noise_key, way_key = jax.random.split(key, 3)
    styles, _ = self._draw_styles(gen, labels, style_key, count)
    keys = self._draw(noise_key, jax.random.split, (count,))
    shape = (count, self.size, self.size, 3)
    lengths = regularizers.path_lengths(
      lambda x: self._synthesize(gen, x, keys),
      styles,
      self._draw(way_key, jax.random.normal, shape),
    )
    now = self.axis.mean(jax.lax.stop_gradient(lengths).mean())
    mean = _PATH_DECAY * mean + (1 - _PATH_DECAY) * now
    penalty = jnp.square(lengths - mean).mean()
    return penalty * (self.path * self.path_every), (mean, penalty)

  def styles(
    self,
    params: dict[str, Params],
    z: Float[Array, "b n"],
    labels: Labels | None = None,
    psi: Float[Array, ""] | float = 1.0,
  ) -> Float[Array, "b w"]:
    """Styles of latents, drawn towards their mean.

    Args:
      params: networks by name.
      z: latents, normal draws.
      labels: one row for each where the GAN is conditional.
      psi: 1 leaves them, 0 makes all the mean (Karras et al. 2019, section B).

    Returns:
      [B, W].
    """
    mean = params["gen_stats"]["mean_style"][None]
    w = self._map(params["gen"], z, labels)
    return mean + psi * (w - mean)

  def pictures(self, params: dict[str, Params], styles: Styles) -> Images:
    """Pictures in [-1, 1] of one style for each layer, with constant noise."""
    x = self._synthesize(params["gen"], styles, None)
    return jnp.clip(x, -1.0, 1.0)

  def generate(
    self,
    params: dict[str, Params],
    z: Float[Array, "b n"],
    labels: Labels | None = None,
    psi: Float[Array, ""] | float = 1.0,
  ) -> Images:
    """Pictures of latents; see `Gan.generate` and `styles`."""
    styles = self.styles(params, z, labels, psi)
    return self.pictures(params, self.generator.repeat(styles))

  def _update_r1(
    self,
    state: TrainState,
    real: Images,
    labels: Labels | None,
    key: PRNGKeyArray,
  ) -> TrainState:
    disc = state.params["disc"]
    grads, penalty = jax.grad(self.r1_loss, has_aux=True)(
      disc, real, labels, key, state.extra
    )
    updates, opt = self.disc_optimizer.update(grads, state.opt["disc"], disc)
    disc = optax.apply_updates(disc, updates)
    return state.replace(
      params={**state.params, "disc": disc},
      opt={**state.opt, "disc": opt},
      extra={**state.extra, "last_r1": self.axis.mean(penalty)},
    )

  def _update_path(
    self,
    state: TrainState,
    rows: int,
    labels: Labels | None,
    key: PRNGKeyArray,
  ) -> TrainState:
    gen = state.params["gen"]
    if labels is not None:
      # Every second row: the same ones of a shard and of the whole.
      labels = labels[: rows // 2 * 2 : 2] if rows > 1 else labels
    grads, (mean, penalty) = jax.grad(self.path_loss, has_aux=True)(
      gen, max(rows // 2, 1), labels, key, state.extra["path_mean"]
    )
    updates, opt = self.gen_optimizer.update(grads, state.opt["gen"], gen)
    gen = optax.apply_updates(gen, updates)
    last = {"path_mean": mean, "last_path": self.axis.mean(penalty)}
    return state.replace(
      params={**state.params, "gen": gen},
      opt={**state.opt, "gen": opt},
      extra={**state.extra, **last},
    )

  def _make(
    self,
    params: dict[str, Params],
    labels: Labels | None,
    key: PRNGKeyArray,
    count: int,
  ) -> tuple[Images, dict[str, Params]]:
    style_key, noise_key = jax.random.split(key)
    styles, w = self._draw_styles(params["gen"], labels, style_key, count)
    keys = self._draw(noise_key, jax.random.split, (count,))
    fake = self._synthesize(params["gen"], styles, keys)
    now = self.axis.mean(jax.lax.stop_gradient(w).mean(0))
    mean = params["gen_stats"]["mean_style"]
    mean = _MEAN_DECAY * mean + (1 - _MEAN_DECAY) * now
    return fake, {"gen_stats": {"mean_style": mean}}

  def _draw_styles(
    self,
    gen: Params,
    labels: Labels | None,
    key: PRNGKeyArray,
    count: int,
  ) -> tuple[Styles, Float[Array, "b w"]]:
    """Styles of each layer for training, and those of the first latents."""
    keys = jax.random.split(key, 3)
    z = [
      self._draw(k, jax.random.normal, (count, self.latent)) for k in keys[:2]
    ]
    w = self._map(gen, z[0], labels)
    styles = self.generator.repeat(w)
    if not self.mixing:
      return styles, w
    layers = self.generator.layers
    draws = self._draw(keys[2], jax.random.uniform, (count, 2))
    start = 1 + jnp.floor(draws[:, 1] * (layers - 1))
    start = jnp.where(draws[:, 0] < self.mixing, start, layers)
    other = self.generator.repeat(self._map(gen, z[1], labels))
    mixed = jnp.arange(layers)[None] >= start[:, None]
    return jnp.where(mixed[..., None], other, styles), w

  def _map(
    self, gen: Params, z: Array, labels: Labels | None
  ) -> Float[Array, "b w"]:
    return self.generator.apply({"params": gen}, z, labels, method="map")

  def _synthesize(
    self, gen: Params, styles: Styles, keys: Array | None
  ) -> Images:
    return self.generator.apply(
      {"params": gen}, styles, keys, method="synthesize"
    )


def build(config: Any, fields: dict[str, Any]) -> StyleGan:
  """Builds the task; called by `tasks.gan.build`.

  Args:
    config: as there, with `loss.r1_every`, `loss.path`, `loss.path_every`,
      `loss.mixing` and `ramp`, the half-life's growth per picture seen.
    fields: those of `Gan` that do not depend on the networks.

  Returns:
    The task.

  Raises:
    UserError: if values are out of range.
  """
  loss = config.loss
  if config.model.critic_steps != 1 or config.anneal_images:
    raise UserError(
      "model.name 'stylegan2' needs model.critic_steps 1 and anneal_images 0, "
      f"got {config.model.critic_steps} and {config.anneal_images}."
    )
  if not 0 <= loss.mixing <= 1 or min(loss.r1_every, loss.path_every) < 1:
    raise UserError(
      "loss.mixing must lie in [0, 1] and loss.r1_every and loss.path_every be "
      f"at least 1, got {loss.mixing}, {loss.r1_every} and {loss.path_every}."
    )
  half_life = None
  if config.half_life:
    last = config.half_life / config.data.batch_size
    half_life = Ramp(config.ramp, last) if config.ramp else Ramp(last, last)
  axis = fields["axis"]
  return StyleGan(
    **fields,
    gen_optimizer=_optimizer(config, loss.path, loss.path_every, axis),
    disc_optimizer=_optimizer(config, loss.r1, loss.r1_every, axis),
    half_life=half_life,
    lazy_r1=loss.r1,
    r1_every=loss.r1_every,
    path=loss.path,
    path_every=loss.path_every,
    mixing=loss.mixing,
  )


def _optimizer(
  config: Any, weight: float, every: int, axis: Axis
) -> optax.GradientTransformation:
  """Adam, as if its `every` + 1 updates were `every` (appendix B)."""
  values = ConfigDict(config.optim.to_dict())
  if weight:
    share = every / (every + 1)
    values.lr *= share
    values.b1 **= share
    values.b2 **= share
  return optim.make(values, config.total_steps, axis)
