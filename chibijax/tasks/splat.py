"""A scene of Gaussian splats, fitted to pictures whose cameras are known.

The number of Gaussians is fixed and every shape static: in place of
densification, dead Gaussians move to where live ones are and faint ones explore
(Kheradmand et al. 2024, "3D Gaussian Splatting as Markov Chain Monte Carlo").
Loss, rates and the growing degree of the colours are those of Kerbl et al.
2023. The one "network" is `params["splats"]`, in the numbers that are fitted:
means, quats (any norm), log scales, logit opacities, and spherical harmonics
`sh0` [N, 1, 3] and, above degree 0, `shn` [N, K - 1, 3].
"""

import dataclasses
import math
import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray

from chibijax.core import optim
from chibijax.core.types import Axis, Batch, Metrics, Params, TrainState
from chibijax.errors import UserError
from chibijax.losses import structure, translation
from chibijax.ops import image as image_ops
from chibijax.ops import relocation, splat

NET = "splats"
# Of Gaussians at the start.
_FIRST_OPACITY = 0.5


@dataclasses.dataclass(frozen=True)
class SplatFit:
  """The task; see `build` for what the config says of each field.

  Attributes:
    count: number of Gaussians.
    degree: largest degree of the colours' spherical harmonics, 0 to 3.
    degree_every: steps after which the degree grows by one.
    radius: of the ball around `center` that the first Gaussians fill.
    center: of the scene, in world units.
    options: how to rasterize.
    optimizers: by parameter.
    means_rate: learning rate of the means by step.
    relocate_every: steps between moves of dead Gaussians; 0: never.
    relocate_until: last step of such a move.
    noise: of exploration, relative to the means' rate.
    dssim: share of 1 - SSIM in the loss, the rest is L1.
    opacity_weight, scale_weight: of the mean opacity and scale in the loss.
    background: sRGB in [0, 1] behind evaluated pictures.
    random_background: train on colours drawn anew for every picture, which
      teaches where the scene is transparent.
    axis: the data axis.
  """

  count: int
  degree: int
  degree_every: int
  radius: float
  center: tuple[float, ...]
  options: splat.Options
  optimizers: dict[str, optax.GradientTransformation]
  means_rate: optax.Schedule
  relocate_every: int
  relocate_until: int
  noise: float
  dssim: float
  opacity_weight: float
  scale_weight: float
  background: tuple[float, ...]
  random_background: bool
  axis: Axis = dataclasses.field(default_factory=Axis)

  def init(self, key: PRNGKeyArray, spec: Batch) -> TrainState:
    """Fills a ball with grey Gaussians at random; see `core.types.Task`.

    Raises:
      UserError: if the batch does not hold posed pictures.
    """
    _check_spec(spec)
    keys = jax.random.split(key, 4)
    way = jax.random.normal(keys[0], (self.count, 3))
    way /= jnp.linalg.norm(way, axis=-1, keepdims=True)
    far = jax.random.uniform(keys[1], (self.count, 1)) ** (1 / 3)
    spacing = self.radius * (4 / 3 * math.pi / self.count) ** (1 / 3)
    center = jnp.asarray(self.center, jnp.float32)
    splats = {
      "means": center[None] + self.radius * far * way,
      "quats": jax.random.normal(keys[2], (self.count, 4)),
      "scales": jnp.full((self.count, 3), math.log(0.5 * spacing)),
      "opacities": jnp.full(
        self.count, math.log(_FIRST_OPACITY / (1 - _FIRST_OPACITY))
      ),
      "sh0": 0.2 * jax.random.normal(keys[3], (self.count, 1, 3)),
    }
    if self.degree:
      coefficients = (self.degree + 1) ** 2 - 1
      splats["shn"] = jnp.zeros((self.count, coefficients, 3))
    return TrainState(
      step=jnp.zeros((), jnp.int32),
      params={NET: splats},
      opt={k: tx.init(splats[k]) for k, tx in self.optimizers.items()},
    )

  def gaussians(self, splats: Params, step: Array | int) -> splat.Gaussians:
    """The scene after a number of steps.

    Args:
      splats: `params["splats"]`.
      step: finished steps; colours of degrees not yet in use are left out.

    Returns:
      Gaussians with `sh`, ready to rasterize or to write.
    """
    sh = splats["sh0"]
    if self.degree:
      # Coefficient k is of degree floor(sqrt(k)).
      degrees = np.sqrt(np.arange(1, (self.degree + 1) ** 2)).astype(np.int32)
      used = degrees <= step // self.degree_every
      shn = jnp.where(used[None, :, None], splats["shn"], 0.0)
      sh = jnp.concatenate([sh, shn], 1)
    return splat.Gaussians(
      means=splats["means"],
      quats=splats["quats"],
      scales=jnp.exp(splats["scales"]),
      opacities=jax.nn.sigmoid(splats["opacities"]),
      sh=sh,
    )

  def render(
    self,
    gaussians: splat.Gaussians,
    batch: Batch,
    background: Float[Array, "b 3"],
  ) -> Float[Array, "b h w 3"]:
    """Renders a batch's cameras, sRGB where [0, 1] is in range."""
    height, width = batch["image"].shape[1:3]
    camera = splat.Camera(batch["viewmat"], batch["K"], width, height)
    return splat.rasterize(gaussians, camera, self.options, background).image

  def loss(
    self,
    splats: Params,
    batch: Batch,
    background: Float[Array, "b 3"],
    step: Array,
  ) -> tuple[Float[Array, ""], Metrics]:
    """(1 - dssim) L1 + dssim (1 - SSIM) + regularisers.

    Args:
      splats: `params["splats"]`.
      batch: posed pictures.
      background: sRGB in [0, 1] behind each picture.
      step: finished steps.

    Returns:
      The loss and its parts.
    """
    scene = self.gaussians(splats, step)
    picture = self.render(scene, batch, background)
    truth = _over(batch["image"], background)
    l1 = translation.l1(picture, truth)
    dssim = structure.dssim(picture, truth)
    loss = (1 - self.dssim) * l1 + self.dssim * dssim
    loss += self.opacity_weight * scene.opacities.mean()
    loss += self.scale_weight * scene.scales.mean()
    square = jnp.square(picture - truth).mean((1, 2, 3))
    psnr = -10 * jnp.log10(jnp.maximum(square, 1e-10))
    return loss, {
      "loss/total": loss,
      "loss/l1": l1,
      "loss/dssim": dssim,
      "train/psnr": psnr.mean(),
    }

  def train_step(
    self, state: TrainState, batch: Batch, key: PRNGKeyArray
  ) -> tuple[TrainState, Metrics]:
    """Fits, then moves the dead and shakes the faint; see `Task`."""
    background_key, move_key, noise_key = jax.random.split(key, 3)
    splats, opt = state.params[NET], {}
    gradient = jax.value_and_grad(self.loss, has_aux=True)
    (_, metrics), grads = gradient(
      splats, batch, self._backgrounds(batch, background_key), state.step
    )
    fitted = {}
    for name, optimizer in self.optimizers.items():
      updates, opt[name] = optimizer.update(
        grads[name], state.opt[name], splats[name]
      )
      fitted[name] = optax.apply_updates(splats[name], updates)
    splats, opt, moved = self._relocate(fitted, opt, state.step, move_key)
    opacities = jax.nn.sigmoid(splats["opacities"])
    shake = relocation.explore(
      noise_key, splats["quats"], jnp.exp(splats["scales"]), opacities
    )
    splats["means"] += self.noise * self.means_rate(state.step) * shake
    metrics |= {
      "splats/relocated": moved.astype(jnp.float32),
      "splats/opacity": opacities.mean(),
    }
    state = state.replace(step=state.step + 1, params={NET: splats}, opt=opt)
    return state, self.axis.mean(metrics)

  def eval_step(
    self, state: TrainState, batch: Batch, key: PRNGKeyArray
  ) -> dict[str, Array]:
    """Renders held-out cameras; see `core.types.Task`.

    Returns:
      `image/output`, `image/target` and `image/difference` (their absolute
      difference, black where they agree).
    """
    del key
    rows = len(batch["image"])
    background = jnp.tile(jnp.asarray(self.background)[None], (rows, 1))
    scene = self.gaussians(state.params[NET], state.step)
    picture = jnp.clip(self.render(scene, batch, background), 0, 1)
    truth = _over(batch["image"], background)
    return {
      "image/output": image_ops.to_signed(picture),
      "image/target": image_ops.to_signed(truth),
      "image/difference": image_ops.to_signed(jnp.abs(picture - truth)),
    }

  def _backgrounds(
    self, batch: Batch, key: PRNGKeyArray
  ) -> Float[Array, "b 3"]:
    """A colour behind each picture of this shard."""
    rows = len(batch["image"])
    if not self.random_background:
      return jnp.tile(jnp.asarray(self.background)[None], (rows, 1))
    # A colour for each picture of the global batch, then this shard's.
    rows = self.axis.gather(jnp.arange(rows)).shape[0]
    return self.axis.local(jax.random.uniform(key, (rows, 3)))

  def _relocate(
    self, splats: Params, opt: dict[str, Any], step: Array, key: PRNGKeyArray
  ) -> tuple[Params, dict[str, Any], Array]:
    """Moves dead Gaussians when it is time to; returns how many."""
    if not self.relocate_every:
      return splats, opt, jnp.zeros((), jnp.int32)

    def move(operands: tuple) -> tuple:
      splats, opt = operands
      plan = relocation.relocate(
        key, jax.nn.sigmoid(splats["opacities"]), jnp.exp(splats["scales"])
      )
      new = {name: x[plan.source] for name, x in splats.items()}
      logit = jnp.log(plan.opacities) - jnp.log1p(-plan.opacities)
      changed = plan.changed
      new["opacities"] = jnp.where(changed, logit, splats["opacities"])
      new["scales"] = jnp.where(
        changed[:, None], jnp.log(plan.scales), splats["scales"]
      )
      # What Adam remembers belongs to what the Gaussian was.
      reset = {
        name: optax.tree_utils.tree_map_params(
          optimizer,
          lambda x: jnp.where(
            changed.reshape(-1, *(1,) * (x.ndim - 1)), 0.0, x
          ),
          opt[name],
        )
        for name, optimizer in self.optimizers.items()
      }
      return new, reset, plan.dead.sum(dtype=jnp.int32)

    def stay(operands: tuple) -> tuple:
      return *operands, jnp.zeros((), jnp.int32)

    done = step + 1
    due = (done % self.relocate_every == 0) & (done <= self.relocate_until)
    return lax.cond(due, move, stay, (splats, opt))


def build(config: Any, axis: Axis | None = None) -> SplatFit:
  """Builds the task.

  Args:
    config: an experiment's config (`configs/splat_fit.py`): `model` (count,
      degree, radius, ...), `rates` by parameter, `loss`, `optim`,
      `total_steps`.
    axis: the data axis under pmap; None is the global view of jit.

  Returns:
    The task.

  Raises:
    UserError: if a value is out of range.
  """
  model, loss = config.model, config.loss
  if model.count < 1 or not 0 <= model.degree <= 3 or model.radius <= 0:
    raise UserError(
      "model.count, model.degree and model.radius must be at least 1, in 0..3 "
      f"and above 0, got {model.count}, {model.degree} and {model.radius}."
    )
  if model.degree_every < 1 or model.relocate_every < 0 or model.noise < 0:
    raise UserError(
      "model.degree_every must be at least 1, model.relocate_every and "
      f"model.noise not negative, got {model.degree_every}, "
      f"{model.relocate_every} and {model.noise}."
    )
  if not 0 <= loss.dssim <= 1 or min(loss.opacity, loss.scale) < 0:
    raise UserError(
      "loss.dssim must be in [0, 1], loss.opacity and loss.scale not negative, "
      f"got {loss.dssim}, {loss.opacity} and {loss.scale}."
    )
  axis = axis or Axis()
  names = ["means", "quats", "scales", "opacities", "sh0"]
  if model.degree:
    names.append("shn")
  settings = {
    name: types.SimpleNamespace(**{**config.optim, "lr": config.rates[name]})
    for name in names
  }
  # Positions are in the world's unit, and only their rate falls.
  settings["means"].lr *= model.radius
  settings["means"].schedule = "exponential"
  optimizers = {
    name: optim.make(values, config.total_steps, axis)
    for name, values in settings.items()
  }
  background = tuple(x / 255 for x in config.data.background)
  return SplatFit(
    count=model.count,
    degree=model.degree,
    degree_every=model.degree_every,
    radius=model.radius,
    center=tuple(model.center),
    options=splat.Options(antialiased=model.antialiased),
    optimizers=optimizers,
    means_rate=optim.make_schedule(settings["means"], config.total_steps),
    relocate_every=model.relocate_every,
    relocate_until=round(model.relocate_until * config.total_steps),
    # The paper's unit of noise is that of the square of the scales.
    noise=model.noise / model.radius,
    dssim=loss.dssim,
    opacity_weight=loss.opacity,
    scale_weight=loss.scale / model.radius,
    background=background,
    random_background=model.random_background,
    axis=axis,
  )


def _over(
  image: Array, background: Float[Array, "b 3"]
) -> Float[Array, "b h w 3"]:
  """Puts pictures with alpha, bytes, over a colour each; in [0, 1]."""
  unit = image.astype(jnp.float32) / 255
  alpha = unit[..., 3:]
  return unit[..., :3] * alpha + background[:, None, None] * (1 - alpha)


def _check_spec(spec: Batch) -> None:
  """Refuses batches without cameras."""
  shape = spec["image"].shape if "image" in spec else ()
  if not {"viewmat", "K"} <= spec.keys() or shape[-1:] != (4,):
    raise UserError(
      "Splats are fitted to pictures with cameras; set data.source_a='artist' "
      "with data.domain_a='figure', or data.source_a='posed', and "
      f"data.source_b=''; got batches of {', '.join(sorted(spec))}."
    )
  if min(shape[1:3]) < structure.WINDOW:
    raise UserError(
      f"data.size is {shape[2]}, expected at least {structure.WINDOW}."
    )
