"""A network for one style (Johnson et al. 2016)."""

import dataclasses
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
from chibijax.losses import style as losses
from chibijax.models import johnson
from chibijax.ops import image as image_ops
from chibijax.tasks.style_common import (
  FEATURES,
  StyleTask,
  checked_shape,
  each_example,
)

Images: TypeAlias = Float[Array, "b h w 3"]
Maps: TypeAlias = dict[str, Array]


@dataclasses.dataclass(frozen=True)
class Johnson(StyleTask):
  """A network for one style, Johnson et al. 2016.

  Attributes:
    content_layers: layers that the content loss looks at.
    relative: losses relative to their targets, see `losses.style`: weights
      that suit any feature network, in place of the recipe's for VGG16.
  """

  content_layers: tuple[str, ...] = ("relu2_2",)
  relative: bool = False
  NET = "gen"

  def init(self, key: PRNGKeyArray, spec: Batch) -> TrainState:
    """Reads the features and draws the network; see `core.types.Task`.

    Raises:
      UserError: if the pictures' size does not suit the network, or the
        feature network's weights are missing.
    """
    height, width = checked_shape(spec, johnson.MULTIPLE)
    key, noise = jax.random.split(key)
    frozen = self.features.init(noise)
    blank = jnp.zeros((1, height, width, 3), jnp.float32)
    return self.make_state(self.net.init(key, blank)["params"], frozen)

  def loss(
    self, gen: Params, frozen: Params, images: Images, styles: Images
  ) -> tuple[Float[Array, ""], Metrics]:
    """Content, style and smoothness (Johnson et al. 2016, section 3).

    The style is the mean of the batch's Gram matrices: in expectation its
    gradient is that of the mean over the whole domain.

    Args:
      gen: parameters of the network.
      frozen: `params["features"]`.
      images: contents in [-1, 1].
      styles: styles in [-1, 1].

    Returns:
      The loss and metrics, which are unweighted.
    """
    names = tuple(dict.fromkeys((*self.content_layers, *self.style_layers)))
    grams = losses.style_target(
      self.features(frozen, styles, self.style_layers), self.style_layers
    ).grams
    grams = {
      k: self.axis.mean(v.mean(0, keepdims=True)) for k, v in grams.items()
    }
    kept = self.features(frozen, images, self.content_layers)
    result = self.net.apply({"params": gen}, images)
    found = self.features(frozen, result, names)
    content = losses.content(
      found, kept, self.content_layers, relative=self.relative
    )
    style = losses.gram(
      found, [losses.StyleTarget(grams)], relative=self.relative
    )
    return self.weigh(content, style, result)

  def eval_step(
    self, state: TrainState, batch: Batch, key: PRNGKeyArray
  ) -> dict[str, Array]:
    """Stylises the contents; see `core.types.Task`.

    Returns:
      `image/input`, `image/output` and `metric/content`, the content loss of
      each example.
    """
    del key
    params = inference_params(state)
    images = image_ops.signed(batch["image_a"])
    output = self.transfer(params, images)
    kept, found = (
      self.features(params[FEATURES], x, self.content_layers)
      for x in (images, output)
    )

    def distance(x: Maps, y: Maps) -> Array:
      return losses.content(x, y, self.content_layers, relative=self.relative)

    return {
      "image/input": images,
      "image/output": output,
      "metric/content": each_example(distance, found, kept),
    }

  def transfer(self, params: Params, images: Images) -> Images:
    """Stylises pictures of any size of at least 2 pixels.

    Args:
      params: networks by name, e.g. `inference_params(state)`.
      images: pictures in [-1, 1].

    Returns:
      Pictures in [-1, 1] of the same size.
    """
    height, width = images.shape[1:3]
    padded, (top, left) = image_ops.pad_to_multiple(
      images, johnson.MULTIPLE, johnson.MIN_SIZE
    )
    y = self.net.apply({"params": params[self.NET]}, padded)
    return y[:, top : top + height, left : left + width]
