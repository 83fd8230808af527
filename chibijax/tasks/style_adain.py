"""AdaIN: a network for every style (Huang & Belongie 2017)."""

import dataclasses
from collections.abc import Sequence
from typing import TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from chibijax.core.types import (
  Batch,
  Metrics,
  Params,
  TrainState,
  inference_params,
)
from chibijax.errors import UserError
from chibijax.losses import style as losses
from chibijax.ops import image as image_ops
from chibijax.ops import statistics
from chibijax.tasks.style_common import (
  FEATURES,
  StyleTask,
  checked_shape,
  each_example,
)

# Of colours beside features: the decoder hears three channels of hundreds.
GAIN = 4.0

Images: TypeAlias = Float[Array, "b h w 3"]


@dataclasses.dataclass(frozen=True)
class AdaIn(StyleTask):
  """Adaptive instance normalisation, Huang & Belongie 2017.

  Attributes:
    layer: of the features; the picture is encoded up to it.
    colors: the code has three channels more, the picture's colours at the
      code's size, whose statistics are exchanged as all others are. The paper's
      has none; features that hardly know colours leave pictures grey.
  """

  layer: str = "relu4_1"
  colors: bool = False
  NET = "decoder"

  def init(self, key: PRNGKeyArray, spec: Batch) -> TrainState:
    """Reads the encoder and draws the decoder; see `core.types.Task`.

    Raises:
      UserError: if the pictures' size does not suit the networks, or the
        feature network's weights are missing.
    """
    height, width = checked_shape(spec, self._stride)
    key, noise = jax.random.split(key)
    frozen = self.features.init(noise)
    blank = jnp.zeros((1, height, width, 3), jnp.float32)
    try:
      code = jax.eval_shape(self.encode, frozen, blank)[self.layer]
    except ValueError as error:
      raise UserError(
        f"data.size does not suit the encoder: {error}"
      ) from error
    params = self.net.init(key, jnp.zeros(code.shape, jnp.float32))["params"]
    return self.make_state(params, frozen)

  def encode(
    self, frozen: Params, x: Images, names: Sequence[str] = ()
  ) -> dict[str, Array]:
    """Layers of pictures, `layer` at exactly its fraction of their size.

    Networks without padding lose a border; pictures are mirrored outwards by as
    much beforehand, so that a code's pixel stays above the picture's.

    Args:
      frozen: `params["features"]`.
      x: pictures in [-1, 1], sides multiples of the decoder's enlargement.
      names: further layers that are wanted.

    Returns:
      Feature maps by name.

    Raises:
      ValueError: if no border makes `layer` as large as the decoder wants.
    """
    pads, picture = self._border(frozen, x.shape[1:3]), x
    if any(sum(p) for p in pads):
      x = jnp.pad(x, ((0, 0), *pads, (0, 0)), mode="reflect")
    maps = self.features(
      frozen, x, tuple({self.layer: 0, **dict.fromkeys(names)})
    )
    if self.colors:
      b, h, w, _ = maps[self.layer].shape
      small = picture.reshape(b, h, self._stride, w, self._stride, 3)
      maps[self.layer] = jnp.concatenate(
        [maps[self.layer], GAIN * small.mean((2, 4))], -1
      )
    return maps

  def loss(
    self, decoder: Params, frozen: Params, images: Images, styles: Images
  ) -> tuple[Float[Array, ""], Metrics]:
    """Content and style loss (Huang & Belongie 2017, eqs. 11 to 13).

    The recipe has no weight for smoothness; networks that begin with a stride
    do not see fine stripes and need one.

    Args:
      decoder: parameters of the decoder.
      frozen: `params["features"]`.
      images: contents in [-1, 1].
      styles: as many styles in [-1, 1].

    Returns:
      The loss and metrics, which are unweighted.
    """
    code = self.encode(frozen, images)[self.layer]
    goal = self.encode(frozen, styles, self.style_layers)
    mixed = {self.layer: statistics.adain(code, goal[self.layer])}
    result = self.net.apply({"params": decoder}, mixed[self.layer])
    found = self.encode(frozen, result, self.style_layers)
    content = losses.content(found, mixed, (self.layer,))
    style = losses.moments(found, goal, self.style_layers)
    return self.weigh(content, style, result)

  def eval_step(
    self, state: TrainState, batch: Batch, key: PRNGKeyArray
  ) -> dict[str, Array]:
    """Gives each content its row's style; see `core.types.Task`.

    Returns:
      `image/input`, `image/style`, `image/output` and `metric/style`, the
      style loss of each example.
    """
    del key
    params = inference_params(state)
    images, styles = (image_ops.signed(batch[f"image_{d}"]) for d in "ab")
    frozen = params[FEATURES]
    goal = self.encode(frozen, styles, self.style_layers)
    code = self.encode(frozen, images)[self.layer]
    mixed = statistics.adain(code, goal[self.layer])
    output = self.net.apply({"params": params[self.NET]}, mixed)
    found = self.encode(frozen, output, self.style_layers)
    return {
      "image/input": images,
      "image/style": styles,
      "image/output": jnp.clip(output, -1, 1),
      "metric/style": each_example(
        lambda x, y: losses.moments(x, y, self.style_layers), found, goal
      ),
    }

  def transfer(
    self,
    params: Params,
    images: Images,
    styles: Float[Array, "k h2 w2 3"],
    *,
    weights: Float[Array, " k"] | None = None,
    masks: Float[Array, "k h w 1"] | None = None,
    alpha: float | Float[Array, ""] = 1.0,
  ) -> Images:
    """Gives pictures a mixture of styles.

    The code is moved towards sum_k w_k AdaIN(code, style_k), the w_k being
    normalised to sum to 1 (Huang & Belongie 2017, eqs. 14 and 15). With masks
    each style replaces the statistics of its own region, and where no style is
    wanted the code stays as it is.

    Args:
      params: networks by name, e.g. `inference_params(state)`.
      images: pictures in [-1, 1], of any size of at least 2 pixels.
      styles: the styles in [-1, 1].
      weights: how much of each; None is equal shares.
      masks: where each style is wanted in the pictures, in [0, 1].
      alpha: how far to go, 0 is the picture as the decoder shows it, 1 all.

    Returns:
      Pictures in [-1, 1] of the same size.
    """
    count, (height, width) = len(styles), images.shape[1:3]
    stride = self._stride
    images, (top, left) = image_ops.pad_to_multiple(images, stride)
    styles, _ = image_ops.pad_to_multiple(styles, stride)
    frozen = params[FEATURES]
    code = self.encode(frozen, images)[self.layer]
    goal = self.encode(frozen, styles)[self.layer]
    weights = jnp.ones(count) if weights is None else jnp.asarray(weights)
    weights = weights / jnp.maximum(weights.sum(), 1e-6)
    if masks is not None:
      masks, _ = image_ops.pad_to_multiple(masks, stride)
      masks = losses.resize_mask(masks, code.shape[1:3])
      share = masks * weights.reshape(-1, 1, 1, 1)
      # Where styles meet they share; where one is alone it is all there is.
      cover = masks.max(0, keepdims=True)
      share = share / jnp.maximum(share.sum(0, keepdims=True), 1e-6) * cover
    else:
      share = weights.reshape(-1, 1, 1, 1)
    mixed = (1 - share.sum(0, keepdims=True)) * code
    for k in range(count):
      region = None if masks is None else _like(masks[k : k + 1], code)
      goal_k = jnp.broadcast_to(
        goal[k : k + 1], (code.shape[0], *goal.shape[1:])
      )
      mixed += share[k : k + 1] * statistics.adain(code, goal_k, region)
    mixed = code + alpha * (mixed - code)
    result = self.net.apply({"params": params[self.NET]}, mixed)
    return jnp.clip(result[:, top : top + height, left : left + width], -1, 1)

  @property
  def _stride(self) -> int:
    """How much the decoder enlarges."""
    return 2 ** (len(self.net.blocks) - 1)

  def _border(
    self, frozen: Params, sides: tuple[int, int]
  ) -> list[tuple[int, int]]:
    """The smallest border that gives `layer` its fraction of the size."""
    wanted = [n // self._stride for n in sides]
    pads: list[tuple[int, int] | None] = [None, None]
    for extra in range(4 * self._stride):
      size = (1, sides[0] + extra, sides[1] + extra, 3)
      try:
        code = jax.eval_shape(
          lambda x: self.features(frozen, x, (self.layer,))[self.layer],
          jax.ShapeDtypeStruct(size, jnp.float32),
        )
      except ValueError:  # Too small for the network: a border may help.
        continue
      for axis in range(2):
        if pads[axis] is None and code.shape[1 + axis] == wanted[axis]:
          pads[axis] = (extra // 2, extra - extra // 2)
      if None not in pads:
        return pads
    raise ValueError(
      f"{self.layer} of a picture {sides} cannot be {tuple(wanted)}."
    )


def _like(mask: Float[Array, "1 h w 1"], x: Array) -> Array:
  return jnp.broadcast_to(mask, (*x.shape[:3], 1))
