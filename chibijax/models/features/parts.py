"""Layers that the feature networks share, as pure functions.

Pictures are NHWC float32, kernels HWIO. A layer's parameters are a dict with
`kernel` [KH, KW, I, O] and `bias` [O].
"""

from collections.abc import Iterator, Mapping
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from chibijax.ops import convolution

Layer: TypeAlias = Mapping[str, Array | np.ndarray]
Params: TypeAlias = Mapping[str, Layer]
Shape: TypeAlias = tuple[int, int, int, int]
Named: TypeAlias = Iterator[tuple[str, Array]]

# The normalisation of torchvision's networks, for pictures in [0, 1].
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def imagenet(x: Float[Array, "b h w 3"]) -> Float[Array, "b h w 3"]:
  """Pictures in [-1, 1] as torchvision's networks take them.

  Args:
    x: RGB in [-1, 1].

  Returns:
    ((x + 1) / 2 - mean) / std for each colour; what LPIPS calls its scaling
    layer, in other words.
  """
  mean = np.array(IMAGENET_MEAN, np.float32).reshape(1, 1, 1, 3)
  std = np.array(IMAGENET_STD, np.float32).reshape(1, 1, 1, 3)
  return (x - (2 * mean - 1)) / (2 * std)


def conv(
  layer: Layer,
  x: Float[Array, "b h w i"],
  *,
  stride: int = 1,
  padding: int | tuple[int, int] = 0,
) -> Float[Array, "b h2 w2 o"]:
  """Convolves and adds the bias.

  Args:
    layer: `kernel` and `bias`.
    x: pictures.
    stride: distance between outputs.
    padding: zeros on each side, for both axes or (vertical, horizontal).

  Returns:
    The layer's value before its activation.
  """
  kernel = jnp.asarray(layer["kernel"])
  if isinstance(padding, int):
    y = convolution.conv(x, kernel, stride=stride, padding=padding)
  else:
    y = lax.conv_general_dilated(
      x,
      kernel,
      (stride, stride),
      tuple((p, p) for p in padding),
      dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
  return y + jnp.asarray(layer["bias"]).reshape(1, 1, 1, -1)


def conv_relu(
  layer: Layer,
  x: Float[Array, "b h w i"],
  *,
  stride: int = 1,
  padding: int | tuple[int, int] = 0,
) -> Float[Array, "b h2 w2 o"]:
  """`conv` and a ReLU."""
  return jax.nn.relu(conv(layer, x, stride=stride, padding=padding))


def max_pool(
  x: Float[Array, "b h w c"],
  window: int,
  stride: int,
  *,
  padding: int = 0,
  ceil: bool = False,
) -> Float[Array, "b h2 w2 c"]:
  """The largest value in each window.

  A maximum of shifted slices: XLA:CPU is slow on the windowed reduction. Where
  the largest value occurs twice its gradient is shared, which differs from
  PyTorch's (the first takes it all) and does not matter after a ReLU.

  Args:
    x: pictures.
    window: side of the windows.
    stride: distance between them.
    padding: pixels around the picture that are never the largest.
    ceil: windows may reach beyond the end, as PyTorch's `ceil_mode`.

  Returns:
    The pooled pictures.

  Raises:
    ValueError: if the picture is smaller than the window.
  """
  counts = tuple(
    _windows(n, window, stride, padding, ceil) for n in x.shape[1:3]
  )
  if min(counts) < 1:
    raise ValueError(
      f"A {window}x{window} pooling got a picture of {x.shape[1:3]}: the "
      "picture is too small for this network."
    )
  pads = [(0, 0)]
  for size, count in zip(x.shape[1:3], counts):
    reach = (count - 1) * stride + window
    pads.append((padding, max(0, reach - size - padding)))
  if any(max(p) for p in pads):
    x = jnp.pad(x, (*pads, (0, 0)), constant_values=-jnp.inf)
  down, across = ((n - 1) * stride + 1 for n in counts)
  # One axis after the other: 2 k slices instead of k * k.
  rows = [x[:, i : i + down : stride] for i in range(window)]
  x = _largest(rows)
  return _largest([x[:, :, j : j + across : stride] for j in range(window)])


def mean_pool(
  x: Float[Array, "b h w c"], window: int, stride: int = 1, *, padding: int = 0
) -> Float[Array, "b h2 w2 c"]:
  """The mean of each window, over the pixels inside the picture.

  Args:
    x: pictures.
    window: side of the windows.
    stride: distance between them.
    padding: how far windows reach beyond the picture; those pixels are not
      counted (PyTorch's `count_include_pad=False`).

  Returns:
    The pooled pictures.
  """
  h, w = x.shape[1:3]
  if padding:
    pads = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    x = jnp.pad(x, pads)
  counts = [_windows(n, window, stride, padding, False) for n in (h, w)]
  down, across = ((n - 1) * stride + 1 for n in counts)
  x = sum(x[:, i : i + down : stride] for i in range(window))
  x = sum(x[:, :, j : j + across : stride] for j in range(window))
  inside = [
    sum(
      np.arange(-padding + i, n + padding + i)[: (k - 1) * stride + 1 : stride]
      // n
      == 0
      for i in range(window)
    )
    for n, k in zip((h, w), counts)
  ]
  area = np.outer(*inside).astype(np.float32)[None, :, :, None]
  return x / area


def _windows(size: int, window: int, stride: int, pad: int, ceil: bool) -> int:
  """How many windows there are along an axis, by PyTorch's rules."""
  room = size + 2 * pad - window
  count = (-(-room // stride) if ceil else room // stride) + 1
  # With `ceil`, the last window must still begin in the picture.
  return count - (ceil and (count - 1) * stride >= size + pad)


def _largest(values: list[Array]) -> Array:
  result = values[0]
  for value in values[1:]:
    result = jnp.maximum(result, value)
  return result
