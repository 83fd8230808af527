"""SqueezeNet v1.1 (Iandola et al. 2016), without its classifier.

Two published files fit, and they are different trainings of nearly the same
network:

* torchvision's state dict (`squeezenet1_1-b8a52dc0.pth`), the one that LPIPS'
  heads were made for. RGB, normalised by ImageNet's mean and deviation;
  poolings reach beyond the border (`ceil_mode`).
* the Keras file of rcmalli/keras-squeezenet (MIT), converted from DeepScale's
  original Caffe model. BGR in [0, 255] less the mean (104.006, 116.669,
  122.679); poolings stay inside. Its channels have nothing to do with those of
  torchvision's, so LPIPS' heads, which weight channels, do not belong to it.

Layers: relu1, pool1, fire2, fire3, pool3, fire4, fire5, pool5, fire6 .. fire9
(after their ReLUs). 722,496 parameters.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from chibijax.models.features import parts

# (squeezed, expanded / 2) channels by fire module; a pooling comes before some.
FIRES = {
  "fire2": (16, 64),
  "fire3": (16, 64),
  "fire4": (32, 128),
  "fire5": (32, 128),
  "fire6": (48, 192),
  "fire7": (48, 192),
  "fire8": (64, 256),
  "fire9": (64, 256),
}
POOLS = {"fire2": "pool1", "fire4": "pool3", "fire6": "pool5"}
# Of the Keras file: blue, green, red.
CAFFE_MEAN = (104.006, 116.669, 122.679)
# Modules of torchvision's `features`, in our order.
_TORCH = {"conv1": 0} | dict(zip(FIRES, (3, 4, 6, 7, 9, 10, 11, 12)))
_TORCH_PARTS = {
  "squeeze1x1": "squeeze",
  "expand1x1": "expand1x1",
  "expand3x3": "expand3x3",
}


def shapes() -> dict[str, parts.Shape]:
  """Kernel shapes by layer."""
  found, width = {"conv1": (3, 3, 3, 64)}, 64
  for name, (small, half) in FIRES.items():
    found[f"{name}/squeeze1x1"] = (1, 1, width, small)
    found[f"{name}/expand1x1"] = (1, 1, small, half)
    found[f"{name}/expand3x3"] = (3, 3, small, half)
    width = 2 * half
  return found


def torch_name(layer: str) -> str:
  """A layer's name in torchvision's state dict."""
  name, _, part = layer.partition("/")
  place = f"features.{_TORCH[name]}"
  return f"{place}.{_TORCH_PARTS[part]}" if part else place


def preprocess(
  x: Float[Array, "b h w 3"], source: str
) -> Float[Array, "b h w 3"]:
  """Pictures in [-1, 1] as the weights of `source` want them."""
  if source != "keras":
    return parts.imagenet(x)
  mean = np.array(CAFFE_MEAN, np.float32).reshape(1, 1, 1, 3)
  return (x[..., ::-1] + 1) * 127.5 - mean


def forward(
  params: parts.Params, x: Float[Array, "b h w 3"], source: str
) -> parts.Named:
  """Yields the layers, first to last.

  Args:
    params: layers by name.
    x: preprocessed pictures, at least 31 pixels on each side (Keras; 17
      torchvision).
    source: "keras" keeps poolings inside; any other is torchvision's.

  Yields:
    Name and value of each layer.
  """
  ceil = source != "keras"
  x = parts.conv_relu(params["conv1"], x, stride=2)
  yield "relu1", x
  for name in FIRES:
    if name in POOLS:
      x = parts.max_pool(x, 3, 2, ceil=ceil)
      yield POOLS[name], x
    small = parts.conv_relu(params[f"{name}/squeeze1x1"], x)
    x = jnp.concatenate(
      [
        parts.conv_relu(params[f"{name}/expand1x1"], small),
        parts.conv_relu(params[f"{name}/expand3x3"], small, padding=1),
      ],
      -1,
    )
    yield name, x
