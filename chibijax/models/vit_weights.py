"""DINOv2's published weights: Meta's .pth files and Hugging Face's safetensors.

Meta: `dinov2_vit{s,b,l}14[_reg4]_pretrain.pth` (Apache 2.0). Hugging Face:
`model.safetensors` of `facebook/dinov2-{small,base,large}` and of the models
`...-with-registers`, whose names differ and whose queries, keys and values are
three layers. Files are read as data, see `core.weight_files`.
"""

import functools
import math
import os
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Shaped

from chibijax.core import weight_files
from chibijax.errors import UserError
from chibijax.models.published import Published
from chibijax.models.vit import VisionTransformer

# ViT-L has 1.2 GB.
MAX_BYTES = 4 << 30
# Channels of one head in all published models.
_HEAD = 64
# Hugging Face's names: regular expressions, and Meta's names for them.
_FACE = (
  (r"^dinov2(_with_registers)?\.", ""),
  (r"^embeddings\.cls_token$", "cls_token"),
  (r"^embeddings\.mask_token$", "mask_token"),
  (r"^embeddings\.register_tokens$", "register_tokens"),
  (r"^embeddings\.position_embeddings$", "pos_embed"),
  (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
  (r"^encoder\.layer\.(\d+)\.", r"blocks.\1."),
  (r"\.attention\.output\.dense\.", ".attn.proj."),
  (r"\.layer_scale([12])\.lambda1$", r".ls\1.gamma"),
  (r"^layernorm\.", "norm."),
)


def load_dinov2(
  path: str | os.PathLike[str],
  *,
  heads: int | None = None,
  **options: Any,
) -> tuple[VisionTransformer, dict[str, Any]]:
  """Reads a published network.

  Args:
    path: a .pth or safetensors file, see above.
    heads: of the attention; None for 64 channels a head, as published.
    **options: further attributes of the network, such as `blocks`.

  Returns:
    The network, its sizes read from the arrays, and its parameters.

  Raises:
    UserError: if the file cannot be read or is not of such a network.
  """
  file = pathlib.Path(path)
  arrays = weight_files.read(file, max_bytes=MAX_BYTES)
  published = Published(_renamed(arrays), str(file))
  params = take_vit(published, "")
  kernel, positions = params["patch_kernel"], params["positions"]
  width = kernel.shape[-1]
  grid = math.isqrt(len(positions) - 1)
  if kernel.shape[0] * kernel.shape[1] == 0 or grid < 1:
    raise UserError(f"{file} has patches or positions of no size.")
  net = VisionTransformer(
    width,
    sum(name.startswith("block_") for name in params),
    heads or max(width // _HEAD, 1),
    patch=kernel.shape[0],
    registers=len(params.get("registers", ())),
    grid=grid,
    **options,
  )
  return net, published.finish(params, vit_shapes(net))


def take_vit(published: Published, prefix: str) -> dict[str, Any]:
  """Takes the arrays of a DINOv2 network in Meta's names.

  Args:
    published: the file's arrays.
    prefix: what the names start with.

  Returns:
    Parameters of `VisionTransformer`.

  Raises:
    UserError: if an array is missing or has other axes.
  """
  at = functools.partial("{}{}".format, prefix)
  patch = published.conv(at("patch_embed.proj"))
  params: dict[str, Any] = {
    "patch_kernel": patch["kernel"],
    "patch_bias": patch["bias"],
    "class_token": published.take(at("cls_token"), 3)[0, 0],
    "positions": published.take(at("pos_embed"), 3)[0],
    "norm": published.norm(at("norm")),
  }
  if at("register_tokens") in published.left:
    params["registers"] = published.take(at("register_tokens"), 3)[0]
  # Stands for hidden patches in DINOv2's own training.
  published.ignore(at("mask_token"))
  count = 0
  while at(f"blocks.{count}.norm1.weight") in published.left:
    block = at(f"blocks.{count}")
    params[f"block_{count}"] = {
      "norm_1": published.norm(f"{block}.norm1"),
      "qkv": published.dense(f"{block}.attn.qkv"),
      "proj": published.dense(f"{block}.attn.proj"),
      "scale_1": published.take(f"{block}.ls1.gamma", 1),
      "norm_2": published.norm(f"{block}.norm2"),
      "fc_1": published.dense(f"{block}.mlp.fc1"),
      "fc_2": published.dense(f"{block}.mlp.fc2"),
      "scale_2": published.take(f"{block}.ls2.gamma", 1),
    }
    count += 1
  if not count:
    raise UserError(f"{published.source} lacks {at('blocks.0.norm1.weight')}.")
  return params


def vit_shapes(net: VisionTransformer) -> dict[str, Any]:
  """Shapes of a network's parameters.

  Args:
    net: the network.

  Returns:
    The tree of its parameters, with shapes as leaves.
  """
  blank = jax.ShapeDtypeStruct((1, net.patch, net.patch, 3), jnp.float32)
  return jax.eval_shape(net.init, jax.random.key(0), blank)["params"]


def _renamed(
  arrays: Mapping[str, Shaped[np.ndarray, "..."]],
) -> dict[str, Shaped[np.ndarray, "..."]]:
  """Hugging Face's names as Meta's; queries, keys and values joined."""
  found: dict[str, Any] = {}
  for name, array in arrays.items():
    for pattern, ours in _FACE:
      name = re.sub(pattern, ours, name)
    found[name] = array
  for name in [n for n in found if ".attention.attention.query." in n]:
    parts = [name.replace("query", p) for p in ("query", "key", "value")]
    if all(p in found for p in parts):
      joined = np.concatenate([found.pop(p) for p in parts])
      found[name.replace("attention.attention.query", "attn.qkv")] = joined
  return found
