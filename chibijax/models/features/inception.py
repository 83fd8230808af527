"""Inception-v3 as the Frechet inception distance uses it.

The network that TensorFlow published on 2015-12-05, of which pytorch-fid and
torch-fidelity keep a PyTorch copy (`pt_inception-2015-12-05-6726825d.pth`), and
StyleGAN2-ADA and clean-fid one in TorchScript (`inception-2015-12-05.pt`). It
differs from torchvision's Inception-v3: mean poolings do not count the border,
and the last block (Mixed_7c) pools by the maximum. Batch norms (eps 0.001) are
folded into the convolutions on loading.

Pictures are RGB, 299 pixels a side, (x - 128) / 128 of bytes, as clean-fid and
torch-fidelity have it. Layers: pool1 (64 channels), pool2 (192), Mixed_5b ..
Mixed_7c, and pool3 [B, 2048], the features of FID.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

from chibijax.models.features import parts

# Of the batch norms.
EPSILON = 1e-3
_STEM = {
  "Conv2d_1a_3x3": (3, 3, 3, 32),
  "Conv2d_2a_3x3": (3, 3, 32, 32),
  "Conv2d_2b_3x3": (3, 3, 32, 64),
  "Conv2d_3b_1x1": (1, 1, 64, 80),
  "Conv2d_4a_3x3": (3, 3, 80, 192),
}
# Input channels, and what differs: pooled channels (A), inner ones (C).
_A = {"Mixed_5b": (192, 32), "Mixed_5c": (256, 64), "Mixed_5d": (288, 64)}
_C = {"Mixed_6b": 128, "Mixed_6c": 160, "Mixed_6d": 160, "Mixed_6e": 192}
_E = {"Mixed_7b": 1280, "Mixed_7c": 2048}


def shapes() -> dict[str, parts.Shape]:
  """Kernel shapes by layer, named as in the published file."""
  found = dict(_STEM)

  def add(block: str, branches: dict[str, parts.Shape]) -> None:
    found.update({f"{block}.{k}": v for k, v in branches.items()})

  for block, (i, pooled) in _A.items():
    add(
      block,
      {
        "branch1x1": (1, 1, i, 64),
        "branch5x5_1": (1, 1, i, 48),
        "branch5x5_2": (5, 5, 48, 64),
        "branch3x3dbl_1": (1, 1, i, 64),
        "branch3x3dbl_2": (3, 3, 64, 96),
        "branch3x3dbl_3": (3, 3, 96, 96),
        "branch_pool": (1, 1, i, pooled),
      },
    )
  add(
    "Mixed_6a",
    {
      "branch3x3": (3, 3, 288, 384),
      "branch3x3dbl_1": (1, 1, 288, 64),
      "branch3x3dbl_2": (3, 3, 64, 96),
      "branch3x3dbl_3": (3, 3, 96, 96),
    },
  )
  for block, c in _C.items():
    add(
      block,
      {
        "branch1x1": (1, 1, 768, 192),
        "branch7x7_1": (1, 1, 768, c),
        "branch7x7_2": (1, 7, c, c),
        "branch7x7_3": (7, 1, c, 192),
        "branch7x7dbl_1": (1, 1, 768, c),
        "branch7x7dbl_2": (7, 1, c, c),
        "branch7x7dbl_3": (1, 7, c, c),
        "branch7x7dbl_4": (7, 1, c, c),
        "branch7x7dbl_5": (1, 7, c, 192),
        "branch_pool": (1, 1, 768, 192),
      },
    )
  add(
    "Mixed_7a",
    {
      "branch3x3_1": (1, 1, 768, 192),
      "branch3x3_2": (3, 3, 192, 320),
      "branch7x7x3_1": (1, 1, 768, 192),
      "branch7x7x3_2": (1, 7, 192, 192),
      "branch7x7x3_3": (7, 1, 192, 192),
      "branch7x7x3_4": (3, 3, 192, 192),
    },
  )
  for block, i in _E.items():
    add(
      block,
      {
        "branch1x1": (1, 1, i, 320),
        "branch3x3_1": (1, 1, i, 384),
        "branch3x3_2a": (1, 3, 384, 384),
        "branch3x3_2b": (3, 1, 384, 384),
        "branch3x3dbl_1": (1, 1, i, 448),
        "branch3x3dbl_2": (3, 3, 448, 384),
        "branch3x3dbl_3a": (1, 3, 384, 384),
        "branch3x3dbl_3b": (3, 1, 384, 384),
        "branch_pool": (1, 1, i, 192),
      },
    )
  return found


def script_names() -> dict[str, str]:
  """Layers' names in the TorchScript copy, such as "layers.mixed_4.tower.conv".

  It numbers blocks and towers as TensorFlow did: the first has no number.
  """
  stem = enumerate(_STEM)
  found = {layer: f"layers.{_numbered_after('conv', i)}" for i, layer in stem}
  towers: dict[str, dict[str, str]] = {}
  for layer in shapes():
    block, _, branch = layer.partition(".")
    if not branch:
      continue
    inner = towers.setdefault(block, {})
    chain, _, place = branch.partition("_")
    if not place:
      name = "conv"
    elif place == "pool":
      name = "tower_2_conv" if block in _E else "tower_2.conv"
    else:
      tower = inner.setdefault(chain, _numbered_after("tower", len(inner)))
      if place[-1] in "ab":
        kind, index = "mixed_conv", "ab".index(place[-1])
      else:
        kind, index = "conv", int(place) - 1
      between = "_" if block in _E else "."
      name = f"{tower}{between}{_numbered_after(kind, index)}"
    where = _numbered_after("mixed", list(towers).index(block))
    found[layer] = f"layers.{where}.{name}"
  return found


def _numbered_after(name: str, index: int) -> str:
  return f"{name}_{index}" if index else name


def preprocess(x: Float[Array, "b h w 3"]) -> Float[Array, "b h w 3"]:
  """Pictures in [-1, 1] as (bytes - 128) / 128."""
  return ((x + 1) * 127.5 - 128.0) / 128.0


def forward(params: parts.Params, x: Float[Array, "b h w 3"]) -> parts.Named:
  """Yields the layers, first to last.

  Args:
    params: layers by name, batch norms folded in.
    x: preprocessed pictures, at least 75 pixels on each side (299 for FID).

  Yields:
    Name and value of each layer.
  """
  x = parts.conv_relu(params["Conv2d_1a_3x3"], x, stride=2)
  x = parts.conv_relu(params["Conv2d_2a_3x3"], x)
  x = parts.conv_relu(params["Conv2d_2b_3x3"], x, padding=1)
  x = parts.max_pool(x, 3, 2)
  yield "pool1", x
  x = parts.conv_relu(params["Conv2d_3b_1x1"], x)
  x = parts.conv_relu(params["Conv2d_4a_3x3"], x)
  x = parts.max_pool(x, 3, 2)
  yield "pool2", x
  kinds = dict.fromkeys(_A, _block_a) | {"Mixed_6a": _block_b}
  kinds |= dict.fromkeys(_C, _block_c) | {"Mixed_7a": _block_d}
  for block, kind in kinds.items():
    x = kind(_chain(params, block), x)
    yield block, x
  for block in _E:
    x = _block_e(_chain(params, block), x, last=block == "Mixed_7c")
    yield block, x
  yield "pool3", x.mean((1, 2))


def _chain(params: parts.Params, block: str) -> Callable[..., Array]:
  """A function that applies layers of a block, one after the other.

  Each padding is that of a "same" convolution, except in the last layer where
  `stride` is 2: that has none.
  """

  def apply(x: Array, *names: str, stride: int = 1) -> Array:
    for name in names:
      layer = params[f"{block}.{name}"]
      step = stride if name == names[-1] else 1
      h, w = layer["kernel"].shape[:2]
      padding = h // 2 if h == w else (h // 2, w // 2)
      if step > 1:
        padding = 0
      x = parts.conv_relu(layer, x, stride=step, padding=padding)
    return x

  return apply


def _numbered(name: str, count: int) -> list[str]:
  return [f"{name}_{i}" for i in range(1, count + 1)]


def _block_a(conv: Callable[..., Array], x: Array) -> Array:
  return jnp.concatenate(
    [
      conv(x, "branch1x1"),
      conv(x, *_numbered("branch5x5", 2)),
      conv(x, *_numbered("branch3x3dbl", 3)),
      conv(parts.mean_pool(x, 3, padding=1), "branch_pool"),
    ],
    -1,
  )


def _block_b(conv: Callable[..., Array], x: Array) -> Array:
  return jnp.concatenate(
    [
      conv(x, "branch3x3", stride=2),
      conv(x, *_numbered("branch3x3dbl", 3), stride=2),
      parts.max_pool(x, 3, 2),
    ],
    -1,
  )


def _block_c(conv: Callable[..., Array], x: Array) -> Array:
  return jnp.concatenate(
    [
      conv(x, "branch1x1"),
      conv(x, *_numbered("branch7x7", 3)),
      conv(x, *_numbered("branch7x7dbl", 5)),
      conv(parts.mean_pool(x, 3, padding=1), "branch_pool"),
    ],
    -1,
  )


def _block_d(conv: Callable[..., Array], x: Array) -> Array:
  return jnp.concatenate(
    [
      conv(x, *_numbered("branch3x3", 2), stride=2),
      conv(x, *_numbered("branch7x7x3", 4), stride=2),
      parts.max_pool(x, 3, 2),
    ],
    -1,
  )


def _block_e(conv: Callable[..., Array], x: Array, *, last: bool) -> Array:
  three = conv(x, "branch3x3_1")
  double = conv(x, *_numbered("branch3x3dbl", 2))
  if last:
    pooled = parts.max_pool(x, 3, 1, padding=1)
  else:
    pooled = parts.mean_pool(x, 3, padding=1)
  return jnp.concatenate(
    [
      conv(x, "branch1x1"),
      conv(three, "branch3x3_2a"),
      conv(three, "branch3x3_2b"),
      conv(double, "branch3x3dbl_3a"),
      conv(double, "branch3x3dbl_3b"),
      conv(pooled, "branch_pool"),
    ],
    -1,
  )
