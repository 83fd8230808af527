"""Autoencoder and variational autoencoder: pictures to a code and back.

The mean absolute error, and for a VAE (Kingma and Welling 2014) the divergence
of the code from N(0, 1). It is the floor that a generator must beat, and an
encoder of attributes: where batches bring `attributes`, a linear probe learns
to read them from the code, without changing it.
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
from chibijax.losses import regularizers, translation
from chibijax.models.autoencoder import BASE, Decoder, Encoder
from chibijax.ops import image as image_ops

_NETS = ("encoder", "decoder")


@dataclasses.dataclass(frozen=True)
class Autoencoder:
  """The task; see `build` for what the config says of each field.

  Attributes:
    encoder: pictures to codes.
    decoder: codes to pictures.
    optimizer: of both, and of the probe.
    size: side of the pictures, in pixels.
    kl: weight of the divergence, in nats per picture; 0 is no VAE.
    ema: decay of the parameters' average; 0 keeps none.
    axis: the data axis.
  """

  encoder: Encoder
  decoder: Decoder
  optimizer: optax.GradientTransformation
  size: int
  kl: float = 0.0
  ema: float = 0.0
  axis: Axis = dataclasses.field(default_factory=Axis)

  @property
  def latent(self) -> int:
    """Numbers of a code."""
    return self.encoder.latent

  def init(self, key: PRNGKeyArray, spec: Batch) -> TrainState:
    """Draws the parameters; see `core.types.Task`.

    Raises:
      UserError: if there is no `image`, or it has another size.
    """
    shape = (self.size, self.size, 3)
    if "image" not in spec or tuple(spec["image"].shape[1:]) != shape:
      raise UserError(
        f"autoencoder needs batches of `image` {shape}: set data.source_b to "
        "nothing, and data.size to what model.widths halve to 4."
      )
    keys = jax.random.split(key)
    blank, code = jnp.zeros((1, *shape)), jnp.zeros((1, self.latent))
    params = {
      "encoder": self.encoder.init(keys[0], blank)["params"],
      "decoder": self.decoder.init(keys[1], code)["params"],
    }
    extra = {}
    if "attributes" in spec:
      count = spec["attributes"].shape[-1]
      params["probe"] = {
        "kernel": jnp.zeros((self.latent, count)),
        "bias": jnp.zeros((count,)),
      }
      extra = {"attributes": jnp.zeros((count,))}
    return TrainState(
      step=jnp.zeros((), jnp.int32),
      params=params,
      opt={"all": self.optimizer.init(params)},
      # Copies: a buffer that is in the state twice could not be donated.
      ema=jax.tree.map(jnp.copy, params) if self.ema else {},
      extra=extra,
    )

  def loss(
    self,
    params: Params,
    images: Float[Array, "b h w 3"],
    attributes: Float[Array, "b k"] | None,
    noise: Float[Array, "b n"],
  ) -> tuple[Float[Array, ""], Metrics]:
    """The loss of a batch.

    Args:
      params: networks by name.
      images: pictures in [-1, 1].
      attributes: what the probe should read, or None.
      noise: normal draws for the codes of a VAE.

    Returns:
      The loss and metrics.
    """
    mean, log_variance = self._encode(params, images)
    code = mean
    if self.kl:
      code = mean + jnp.exp(0.5 * log_variance) * noise
    difference = translation.l1(self.generate(params, code), images)
    loss, metrics = difference, {"loss/l1": difference}
    if self.kl:
      divergence = regularizers.gaussian_kl(mean, log_variance)
      loss += self.kl * divergence
      metrics["loss/kl"] = divergence
    metrics["loss/total"] = loss
    if attributes is not None:
      read = _probe(params["probe"], jax.lax.stop_gradient(mean))
      # Its gradient reaches the probe alone.
      error = jnp.square(read - attributes).mean()
      loss += error
      metrics["loss/probe"] = error
    return loss, metrics

  def train_step(
    self, state: TrainState, batch: Batch, key: PRNGKeyArray
  ) -> tuple[TrainState, Metrics]:
    """Updates the networks once; see `Task`."""
    images = image_ops.to_float(batch["image"])
    attributes = batch.get("attributes")
    # Drawn for the global batch, then this shard's rows.
    rows = self.axis.gather(jnp.arange(len(images))).shape[0]
    noise = self.axis.local(jax.random.normal(key, (rows, self.latent)))
    gradient = jax.value_and_grad(self.loss, has_aux=True)
    (_, metrics), grads = gradient(state.params, images, attributes, noise)
    updates, opt = self.optimizer.update(grads, state.opt["all"], state.params)
    params = optax.apply_updates(state.params, updates)
    ema, extra = state.ema, state.extra
    if self.ema:
      ema = optim.ema_update(ema, params, self.ema)
    if attributes is not None:
      mean = self.axis.mean(attributes.mean(0))
      extra = {"attributes": optim.ema_update(extra["attributes"], mean, 0.99)}
    state = state.replace(
      step=state.step + 1,
      params=params,
      opt={"all": opt},
      ema=ema,
      extra=extra,
    )
    return state, self.axis.mean(metrics)

  def eval_step(
    self, state: TrainState, batch: Batch, key: PRNGKeyArray
  ) -> dict[str, Array]:
    """Codes held-out pictures and decodes them.

    Returns:
      `image/target`, `image/output`, of a VAE `image/sample`; with attributes
      `metric/probe_error`, the squared error of what the probe reads, and
      `metric/probe_blind`, that of the attributes' average.
    """
    params = inference_params(state)
    images = image_ops.to_float(batch["image"])
    code = self.encode(params, images)
    out = {"image/target": images, "image/output": self.generate(params, code)}
    if self.kl:
      noise = jax.random.normal(key, code.shape)
      out["image/sample"] = self.generate(params, noise)
    if "attributes" in batch:
      truth = batch["attributes"]
      read = _probe(params["probe"], code)
      mean = state.extra["attributes"][None]
      out["metric/probe_error"] = jnp.square(read - truth).mean(-1)
      out["metric/probe_blind"] = jnp.square(mean - truth).mean(-1)
    return out

  def encode(
    self, params: Params, images: Float[Array, "b h w 3"]
  ) -> Float[Array, "b n"]:
    """Codes of pictures in [-1, 1]; of a VAE the means."""
    return self._encode(params, images)[0]

  def generate(
    self, params: Params, z: Float[Array, "b n"]
  ) -> Float[Array, "b h w 3"]:
    """Pictures in [-1, 1] of codes."""
    return self.decoder.apply({"params": params["decoder"]}, z)

  def _encode(
    self, params: Params, images: Float[Array, "b h w 3"]
  ) -> tuple[Array, Array]:
    return self.encoder.apply({"params": params["encoder"]}, images)


def build(config: Any, axis: Axis | None = None) -> Autoencoder:
  """Builds the task.

  Args:
    config: an experiment's config (`configs/common.py`): `model.widths`,
      `model.latent`, `loss.kl`, `data.size`, `optim`, `total_steps`,
      `precision` and `ema`.
    axis: the data axis under pmap; None is the global view of jit.

  Returns:
    The task.

  Raises:
    UserError: if a value is out of range or the widths do not fit the size.
  """
  model = config.model
  if not 0 <= config.ema < 1:
    raise UserError(f"ema is {config.ema}, expected a decay in [0, 1).")
  if config.loss.kl < 0:
    raise UserError(f"loss.kl is {config.loss.kl}, expected at least 0.")
  widths = tuple(model.widths)
  if BASE * 2 ** len(widths) != config.data.size:
    raise UserError(
      f"model.widths has {len(widths)} resolutions, so data.size must be "
      f"{BASE * 2 ** len(widths)}, got {config.data.size}."
    )
  dtype = Precision(config.precision).dtype
  axis = axis or Axis()
  return Autoencoder(
    encoder=Encoder(widths, model.latent, dtype),
    decoder=Decoder(widths, dtype),
    optimizer=optim.make(config.optim, config.total_steps, axis),
    size=config.data.size,
    kl=config.loss.kl,
    ema=config.ema,
    axis=axis,
  )


def _probe(
  probe: dict[str, Array], code: Float[Array, "b n"]
) -> Float[Array, "b k"]:
  """What a linear probe reads from codes."""
  return code @ probe["kernel"] + probe["bias"][None]
