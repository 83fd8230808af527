"""Networks that are one chain of convolutions: VGG16, VGG19 and AlexNet.

Torchvision's, without their classifiers. RGB, normalised by ImageNet's mean and
deviation. VGG's layers are named as in the papers on style: conv1_1 (before its
ReLU), relu1_1, .., pool5; AlexNet's conv1, relu1, pool1, .. relu5.
VGG16 has 14,714,688 parameters here, VGG19 20,024,384 and AlexNet 2,469,696.
"""

from collections.abc import Iterator

import jax
from jaxtyping import Array, Float

from chibijax.models.features import parts

# Convolutions in each of the five blocks, and their channels.
VGG = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
WIDTHS = (64, 128, 256, 512, 512)
# Kernel, stride, padding, channels, torchvision's index, pooled before.
ALEX = (
  (11, 4, 2, 64, 0, False),
  (5, 1, 2, 192, 3, True),
  (3, 1, 1, 384, 6, True),
  (3, 1, 1, 256, 8, False),
  (3, 1, 1, 256, 10, False),
)


def _vgg(name: str) -> Iterator[tuple[str, parts.Shape, int]]:
  """Yields "1_1", kernel shape and torchvision's index."""
  index, before = 0, 3
  for block, (count, width) in enumerate(zip(VGG[name], WIDTHS), 1):
    for k in range(1, count + 1):
      yield f"{block}_{k}", (3, 3, before, width), index
      index, before = index + 2, width
    index += 1  # The pooling.


def shapes(name: str) -> dict[str, parts.Shape]:
  """Kernel shapes by layer."""
  if name in VGG:
    return {f"conv{at}": shape for at, shape, _ in _vgg(name)}
  found, before = {}, 3
  for i, (size, _, _, width, _, _) in enumerate(ALEX, 1):
    found[f"conv{i}"], before = (size, size, before, width), width
  return found


def torch_name(name: str, layer: str) -> str:
  """A layer's name in torchvision's state dict."""
  if name in VGG:
    index = {f"conv{at}": i for at, _, i in _vgg(name)}[layer]
  else:
    index = ALEX[int(layer.removeprefix("conv")) - 1][4]
  return f"features.{index}"


def forward_vgg(
  params: parts.Params,
  x: Float[Array, "b h w 3"],
  name: str,
  pooling: str = "max",
) -> parts.Named:
  """Yields VGG's layers, first to last.

  Args:
    params: layers by name.
    x: preprocessed pictures, at least 32 pixels on each side for all layers.
    name: "vgg16" or "vgg19".
    pooling: "max", or "mean" as Gatys et al. 2016 prefer for style.

  Yields:
    Name and value of each layer.
  """
  for block, count in enumerate(VGG[name], 1):
    for k in range(1, count + 1):
      x = parts.conv(params[f"conv{block}_{k}"], x, padding=1)
      yield f"conv{block}_{k}", x
      x = jax.nn.relu(x)
      yield f"relu{block}_{k}", x
    if pooling == "mean":
      x = parts.mean_pool(x, 2, 2)
    else:
      x = parts.max_pool(x, 2, 2)
    yield f"pool{block}", x


def forward_alex(
  params: parts.Params, x: Float[Array, "b h w 3"]
) -> parts.Named:
  """Yields AlexNet's layers, first to last.

  Args:
    params: layers by name.
    x: preprocessed pictures, at least 63 pixels on each side.

  Yields:
    Name and value of each layer.
  """
  for i, (_, stride, padding, _, _, pooled) in enumerate(ALEX, 1):
    if pooled:
      x = parts.max_pool(x, 3, 2)
      yield f"pool{i - 1}", x
    x = parts.conv(params[f"conv{i}"], x, stride=stride, padding=padding)
    yield f"conv{i}", x
    x = jax.nn.relu(x)
    yield f"relu{i}", x
