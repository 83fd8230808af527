"""One-shot Gaussian heads: GAGAvatar (Chu and Harada 2024), trained on pairs.

A pair is two frames of one head. The first is what the head is built from; the
second, with its camera and the head model's parameters, is what the head must
look like when driven. See `avatar_model` for the networks and the world.
"""

import dataclasses
from typing import Any

import flax.traverse_util
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
from chibijax.losses import avatar as losses
from chibijax.losses import structure, translation
from chibijax.models import avatar as networks
from chibijax.ops import image as image_ops
from chibijax.tasks import avatar_model, avatar_parts
from chibijax.tasks.avatar_model import NETS, AvatarModel, Images
from chibijax.tasks.style_common import FEATURES, Features, FrozenNetwork

# Parameters by path, such as "renderer/style/kernel".
Flat = dict[str, Array]
FIELDS = (
  "source",
  "target",
  "source_viewmat",
  "target_viewmat",
  "K",
  "shape",
  "expression",
  "pose",
  "eyes",
  "target_box",
)
# Learning rates relative to `optim.lr`.
_RATES = {"normal": 1.0, "slow": 0.1}


@dataclasses.dataclass(frozen=True)
class Avatar:
  """The task; see `build` for what the config says of each field.

  Attributes:
    model: the networks and the head.
    optimizers: by group of parameters, "normal" and "slow".
    weights: of the losses' terms, by name.
    features: a frozen network for the perceptual loss, or None.
    layers: of it, compared by L1.
    box_size: pixels to which heads are resized to be compared.
    stride: every so many vertices of the head count for the lifting loss.
    noise: inject noise into the renderer while training.
    ema: decay of the networks' average; 0 keeps none.
    microbatches: parts of a batch whose gradients are added up; they share
      their noise.
    axis: the data axis.
  """

  model: AvatarModel
  optimizers: dict[str, optax.GradientTransformation]
  weights: dict[str, float]
  features: Features | None
  layers: tuple[str, ...]
  box_size: int
  stride: int = 1
  noise: bool = True
  ema: float = 0.0
  microbatches: int = 1
  axis: Axis = dataclasses.field(default_factory=Axis)

  def init(self, key: PRNGKeyArray, spec: Batch) -> TrainState:
    """Draws the networks' parameters; see `core.types.Task`.

    Raises:
      UserError: if the batch does not hold pairs of heads of the right size.
    """
    _check_spec(spec, self.model.config.size)
    nets_key, features_key = jax.random.split(key)
    nets = self.model.init(nets_key)
    groups = split(nets)
    params = dict(nets)
    if self.features is not None:
      params[FEATURES] = self.features.init(features_key)
    return TrainState(
      step=jnp.zeros((), jnp.int32),
      params=params,
      opt={k: tx.init(groups[k]) for k, tx in self.optimizers.items()},
      # Copies: a buffer that is in the state twice could not be donated.
      ema=jax.tree.map(jnp.copy, nets) if self.ema else {},
    )

  def loss(
    self,
    trained: dict[str, Flat],
    batch: Batch,
    frozen: Flat,
    features: Params | None,
    key: PRNGKeyArray | None,
  ) -> tuple[Float[Array, ""], tuple[tuple[()], Metrics]]:
    """The weighted sum of the losses' terms (section 3.5).

    Args:
      trained: parameters by group, then path.
      batch: pairs.
      frozen: parameters of the encoder that are not trained, by path.
      features: those of the perceptual network; None without.
      key: of the renderer's noise; None for none.

    Returns:
      The loss, nothing per example, and the terms, which are unweighted.
    """
    params = merge({**trained, "frozen": frozen})
    target = _unit(batch["target"])
    head, vertices = self._drive(params, batch)
    coarse, fine = self.model.reenact(
      params, head, vertices, batch["target_viewmat"], batch["K"], key
    )

    def perceptual(x: Images, y: Images) -> Float[Array, ""]:
      found, wanted = (
        self.features(features, image_ops.to_signed(z), self.layers)
        for z in (x, jax.lax.stop_gradient(y))
      )
      return sum(translation.l1(found[k], wanted[k]) for k in self.layers)

    terms = losses.picture_terms(
      coarse[..., :3],
      fine,
      target,
      batch["target_box"],
      self.box_size,
      perceptual if self.features is not None else None,
    )
    terms["lifting"] = losses.lifting(
      vertices[:, :: self.stride], head.lifted.means
    )
    if self.weights["vertices"]:
      alone = self.model.splat_vertices(
        head, vertices, batch["target_viewmat"], batch["K"]
      )
      terms["vertices"] = losses.uncovered(
        alone.image[..., :3], alone.alpha, target
      )
    loss = sum(self.weights[name] * term for name, term in terms.items())
    metrics = {f"loss/{name}": term for name, term in terms.items()}
    psnr = _psnr(fine, target).mean()
    return loss, ((), {"loss/total": loss, **metrics, "train/psnr": psnr})

  def train_step(
    self, state: TrainState, batch: Batch, key: PRNGKeyArray
  ) -> tuple[TrainState, Metrics]:
    """Makes one update of every network; see `core.types.Task`."""
    groups = split({name: state.params[name] for name in NETS})
    frozen = groups.pop("frozen", {})
    gradient = optim.value_and_grad(self.loss, self.microbatches)
    (_, (_, metrics)), grads = gradient(
      groups,
      {name: batch[name] for name in FIELDS},
      frozen,
      state.params.get(FEATURES),
      self._key(key, len(batch["target"])) if self.noise else None,
    )
    opt = {}
    for name, optimizer in self.optimizers.items():
      updates, opt[name] = optimizer.update(
        grads[name], state.opt[name], groups[name]
      )
      groups[name] = optax.apply_updates(groups[name], updates)
    ema = state.ema
    if self.ema:
      averages = split(ema)
      for name, params in groups.items():
        averages[name] = optim.ema_update(averages[name], params, self.ema)
      ema = merge(averages)
    nets = merge({**groups, "frozen": frozen})
    state = state.replace(
      step=state.step + 1, params={**state.params, **nets}, opt=opt, ema=ema
    )
    return state, self.axis.mean(metrics)

  def eval_step(
    self, state: TrainState, batch: Batch, key: PRNGKeyArray
  ) -> dict[str, Array]:
    """Drives held-out heads; see `core.types.Task`.

    Returns:
      `image/source`, `image/target` (the driving frame), `image/coarse`,
      `image/output` (the renderer's), `image/depth` (bright is near), and
      `image/reconstruction` (the reconstruction branch alone). Per example
      PSNR, SSIM and L1 of what the output must beat, `metric/copy_*` (the
      source as it is), `metric/reconstruction_*` and
      `metric/reconstruction_coarse_*`, and of `metric/coarse_*`.
    """
    del key
    params = inference_params(state)
    cameras = batch["target_viewmat"], batch["K"]
    head, vertices = self._drive(params, batch)
    seen = self.model.splat(
      self.model.gaussians(head, vertices),
      *cameras,
      dataclasses.replace(self.model.options, depth="ED"),
    )
    still, alone = self.model.reconstruct(params, head, *cameras)
    source, target = (_unit(batch[k]) for k in ("source", "target"))
    pictures = {
      "source": source,
      "target": target,
      "coarse": _shown(seen.image),
      "output": self.model.render(params, seen.image),
      "depth": avatar_parts.depth_colors(
        seen.depth, seen.alpha, batch["target_viewmat"]
      ),
      "reconstruction": alone,
    }
    judged = {
      "copy": source,
      "coarse": pictures["coarse"],
      "reconstruction": alone,
      "reconstruction_coarse": _shown(still),
    }
    result = {
      f"image/{name}": image_ops.to_signed(x) for name, x in pictures.items()
    }
    for name, picture in judged.items():
      for kind, values in _metrics(picture, target).items():
        result[f"metric/{name}_{kind}"] = values
    return result

  def _drive(
    self, params: dict[str, Params], batch: Batch
  ) -> tuple[avatar_model.SourceHead, avatar_model.Vertices]:
    """Heads of the sources, and vertices of the targets' faces."""
    head = self.model.encode(
      params, _unit(batch["source"]), batch["source_viewmat"], batch["K"]
    )
    names = ("shape", "expression", "pose", "eyes")
    return head, self.model.vertices(*(batch[k] for k in names))

  def _key(self, key: PRNGKeyArray, count: int) -> PRNGKeyArray:
    """A key for this shard's noise."""
    rows = self.axis.gather(jnp.arange(count)).shape[0]
    return self.axis.local(jax.random.split(key, rows))[0]


def split(nets: dict[str, Params]) -> dict[str, Flat]:
  """Parameters by group ("normal", "slow", "frozen"), then by path.

  Args:
    nets: parameters by network.
  """
  labels = flax.traverse_util.flatten_dict(
    networks.parameter_groups(nets), sep="/"
  )
  groups: dict[str, Flat] = {}
  for path, x in flax.traverse_util.flatten_dict(nets, sep="/").items():
    groups.setdefault(labels[path], {})[path] = x
  return groups


def merge(groups: dict[str, Flat]) -> dict[str, Params]:
  """Undoes `split`."""
  flat = {path: x for group in groups.values() for path, x in group.items()}
  return flax.traverse_util.unflatten_dict(flat, sep="/")


def build(config: Any, axis: Axis | None = None) -> Avatar:
  """Builds the task.

  Args:
    config: an experiment's config (`configs/gagavatar.py`): `model` (head,
      networks, changes, noise, backbone, features), `loss`, `optim`,
      `precision`, `ema`, `total_steps`.
    axis: the data axis under pmap; None is the global view of jit.

  Returns:
    The task.

  Raises:
    UserError: if a value is out of range, or a head model cannot be read.
  """
  model, loss, axis = config.model, config.loss, axis or Axis()
  names = ("l1", "box", "perceptual", "lifting", "vertices")
  weights = {name: loss[name] for name in names}
  if min(weights.values()) < 0 or loss.lifting_stride < 1 or loss.box_size < 0:
    raise UserError(
      f"loss.{', '.join(names)} and box_size must not be negative and "
      f"loss.lifting_stride at least 1, got {dict(loss)}."
    )
  if not 0 <= config.ema < 1:
    raise UserError(f"ema is {config.ema}, expected a decay in [0, 1).")
  layers, features = tuple(loss.layers), None
  if loss.perceptual:
    given = model.features
    features = FrozenNetwork(
      given.network,
      given.weights,
      layers,
      normalize=True,
      zoom=given.get("zoom", 1),
    )
  network = avatar_model.from_config(config)
  optimizers = {}
  for name, rate in _RATES.items():
    settings = config.optim.copy_and_resolve_references()
    settings.lr *= rate
    optimizers[name] = optim.make(settings, config.total_steps, axis)
  return Avatar(
    model=network,
    optimizers=optimizers,
    weights=weights,
    features=features,
    layers=layers,
    box_size=loss.box_size or network.config.size,
    stride=loss.lifting_stride,
    noise=model.noise,
    ema=config.ema,
    microbatches=config.get("microbatches", 1),
    axis=axis,
  )


def _unit(images: Array) -> Images:
  """Bytes as floats in [0, 1]."""
  return images.astype(jnp.float32) / 255


def _shown(coarse: Float[Array, "b h w c"]) -> Images:
  return jnp.clip(coarse[..., :3], 0, 1)


def _psnr(x: Images, y: Images) -> Float[Array, " b"]:
  square = jnp.square(x - y).mean((1, 2, 3))
  return -10 * jnp.log10(jnp.maximum(square, 1e-10))


def _metrics(x: Images, y: Images) -> dict[str, Float[Array, " b"]]:
  """PSNR, SSIM and L1 of each picture in [0, 1]."""
  dssim = jax.vmap(lambda a, b: structure.dssim(a[None], b[None]))
  return {
    "psnr": _psnr(x, y),
    "ssim": 1 - dssim(x, y),
    "l1": jnp.abs(x - y).mean((1, 2, 3)),
  }


def _check_spec(spec: Batch, size: int) -> None:
  """Refuses batches that are not pairs of heads of the networks' size."""
  if missing := [name for name in FIELDS if name not in spec]:
    raise UserError(
      "Gaussian heads need pairs of heads with cameras: set data.source_b='', "
      "and data.source_a='head_lmdb' or 'artist' with data.domain_a='head'; "
      f"these batches lack {', '.join(missing)}."
    )
  sides = tuple(spec["target"].shape[1:3])
  if sides != (size, size) or spec["source"].shape != spec["target"].shape:
    raise UserError(
      f"data.size gives pictures of {sides[0]}x{sides[1]}; the networks need "
      f"{size}x{size} (model.changes.size)."
    )
