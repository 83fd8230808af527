"""MTCNN's three networks (Zhang et al. 2016) as functions of their weights.

P-Net looks at every 12 x 12 window of a picture with a stride of 2, R-Net
judges 24 x 24 patches and O-Net 48 x 48 ones. Inputs are NHWC sRGB in
[-1, 1] ((byte - 127.5) / 128); offsets are in units of the window's side, in
the order left, top, right, bottom; the five points are x1..x5, y1..y5 from the
window's corner, in the order left eye, right eye, nose, left and right mouth
corner as seen by the viewer.

Nothing here is trained, so these are plain functions and not Linen modules:
the weights come from a file (`chibijax.faces.mtcnn_weights`).
"""

from collections.abc import Mapping
from typing import Literal, TypeAlias

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

Net: TypeAlias = Literal["pnet", "rnet", "onet"]
Weights: TypeAlias = Mapping[str, Mapping[str, Array]]

# Each step of the trunk: ("conv", side, in, out), ("prelu", channels),
# ("pool", side), which rounds sizes up, ("flatten",) or ("dense", in, out).
TRUNKS: dict[str, tuple[tuple[str | int, ...], ...]] = {
  "pnet": (
    ("conv", 3, 3, 10),
    ("prelu", 10),
    ("pool", 2),
    ("conv", 3, 10, 16),
    ("prelu", 16),
    ("conv", 3, 16, 32),
    ("prelu", 32),
  ),
  "rnet": (
    ("conv", 3, 3, 28),
    ("prelu", 28),
    ("pool", 3),
    ("conv", 3, 28, 48),
    ("prelu", 48),
    ("pool", 3),
    ("conv", 2, 48, 64),
    ("prelu", 64),
    ("flatten",),
    ("dense", 576, 128),
    ("prelu", 128),
  ),
  "onet": (
    ("conv", 3, 3, 32),
    ("prelu", 32),
    ("pool", 3),
    ("conv", 3, 32, 64),
    ("prelu", 64),
    ("pool", 3),
    ("conv", 3, 64, 64),
    ("prelu", 64),
    ("pool", 2),
    ("conv", 2, 64, 128),
    ("prelu", 128),
    ("flatten",),
    ("dense", 1152, 256),
    ("prelu", 256),
  ),
}
# The heads in the order in which weight files hold them, with their widths.
HEADS: dict[str, dict[str, int]] = {
  "pnet": {"offsets": 4, "face": 2},
  "rnet": {"offsets": 4, "face": 2},
  "onet": {"offsets": 4, "points": 10, "face": 2},
}
WINDOW = {"pnet": 12, "rnet": 24, "onet": 48}


def shapes(net: Net) -> dict[str, dict[str, tuple[int, ...]]]:
  """The shapes of a network's weights, by layer, in the order of use.

  Args:
    net: which network.

  Returns:
    {"conv1": {"kernel": (3, 3, 3, 10), "bias": (10,)}, "prelu1": {"alpha":
    (10,)}, ...}; the heads come last. Convolution kernels are HWIO and dense
    ones [in, out].
  """
  found: dict[str, dict[str, tuple[int, ...]]] = {}
  last = 0
  for name, (kind, *sizes) in _named(net):
    if kind == "conv":
      side, inputs, last = sizes
      found[name] = {"kernel": (side, side, inputs, last), "bias": (last,)}
    elif kind == "dense":
      inputs, last = sizes
      found[name] = {"kernel": (inputs, last), "bias": (last,)}
    elif kind == "prelu":
      found[name] = {"alpha": (last,)}
  for head, width in HEADS[net].items():
    kernel = (1, 1, last, width) if net == "pnet" else (last, width)
    found[head] = {"kernel": kernel, "bias": (width,)}
  return found


def activations(
  net: Net, weights: Weights, x: Float[Array, "b h w 3"]
) -> dict[str, Array]:
  """Runs a network and keeps the output of every layer.

  Args:
    net: which network.
    weights: as `shapes` says.
    x: [B, H, W, 3] in [-1, 1]; R-Net and O-Net need their window's size, P-Net
      at least 12 x 12.

  Returns:
    Outputs by layer name, in the order of computation; the heads last, "face"
    before its softmax.
  """
  found: dict[str, Array] = {}
  for name, (kind, *sizes) in _named(net):
    if kind == "pool":
      x = _pool(x, sizes[0])
    elif kind == "flatten":
      # Weight files come from Caffe's order: x before y.
      x = x.transpose(0, 2, 1, 3).reshape(x.shape[0], -1)
    elif kind == "prelu":
      x = jnp.where(x > 0, x, _each(weights[name]["alpha"], x) * x)
    else:
      x = _linear(x, weights[name])
    found[name] = x
  return found | {head: _linear(x, weights[head]) for head in HEADS[net]}


def apply(
  net: Net, weights: Weights, x: Float[Array, "b h w 3"]
) -> dict[str, Array]:
  """Runs a network.

  Args:
    net: which network.
    weights: as `shapes` says.
    x: as for `activations`.

  Returns:
    "face": probability of a face, [B], or [B, H', W'] for P-Net, whose cell
    (i, j) is the window with corner (2 j, 2 i); "offsets" [..., 4] and, of
    O-Net, "points" [..., 10].
  """
  outputs = activations(net, weights, x)
  heads = {head: outputs[head] for head in HEADS[net]}
  return heads | {"face": jax.nn.softmax(heads["face"])[..., 1]}


def _named(net: Net) -> list[tuple[str, tuple[str | int, ...]]]:
  """The trunk's steps with their names: conv1, prelu1, pool1, conv2..."""
  count: dict[str | int, int] = {}
  steps = []
  for step in TRUNKS[net]:
    count[step[0]] = count.get(step[0], 0) + 1
    steps.append((f"{step[0]}{count[step[0]]}", step))
  return steps


def _linear(x: Array, layer: Mapping[str, Array]) -> Array:
  """A convolution without padding or a dense layer, by the kernel's rank."""
  kernel = layer["kernel"]
  bias = _each(layer["bias"], x)
  if kernel.ndim == 2:
    return jnp.dot(x, kernel, precision=lax.Precision.HIGHEST) + bias
  y = lax.conv_general_dilated(
    x,
    kernel,
    (1, 1),
    "VALID",
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
    precision=lax.Precision.HIGHEST,
  )
  return y + bias


def _each(vector: Array, x: Array) -> Array:
  """One value per channel with the rank of `x`."""
  return vector.reshape((1,) * (x.ndim - 1) + (-1,))


def _pool(x: Array, side: int) -> Array:
  """Maximum over `side` x `side` with a stride of 2; sizes are rounded up."""
  # Caffe's rounding: what is missing at the right and bottom counts as -inf.
  pads = [(0, (n - side) % 2) for n in x.shape[1:3]]
  return lax.reduce_window(
    x,
    -jnp.inf,
    lax.max,
    (1, side, side, 1),
    (1, 2, 2, 1),
    ((0, 0), *pads, (0, 0)),
  )
