"""GAGAvatar's released checkpoint (`GAGAvatar.pt`, MIT) as our parameters.

The file holds `model`, a state dict, beside settings. Its layers, in brackets
ours: `base_model.dino_model` [encoder/backbone], the rest of `base_model`
[encoder/dpt], `gs_generator_l0` and `_l1` [lifting], `gs_generator_g` and
`head_base` [expression], `upsampler` [renderer]. What is stored of the losses
and of the noise that the generator can repeat is left out.
"""

import functools
import os
import pathlib
from typing import Any

import jax
import numpy as np

from chibijax.core import weight_files
from chibijax.models import avatar
from chibijax.models.avatar_config import AvatarConfig
from chibijax.models.published import Layer, Published
from chibijax.models.vit_weights import MAX_BYTES, take_vit

# Of the released networks: FLAME's.
VERTICES = 5023
_IGNORED = (
  "percep_loss.",
  "harmo_encoder.",
  "upsampler.stylegan_decoder.noises.",
)


def load_released(
  path: str | os.PathLike[str],
  config: AvatarConfig | None = None,
  *,
  vertices: int = VERTICES,
) -> tuple[AvatarConfig, dict[str, Any]]:
  """Reads the released networks.

  Args:
    path: `GAGAvatar.pt`, or the same arrays as safetensors.
    config: the sizes they must have; None for the published ones with
      `legacy=True`, which those weights were trained with.
    vertices: of the head model.

  Returns:
    The sizes, and parameters for `avatar.build`, float32 NumPy arrays.

  Raises:
    UserError: if the file cannot be read, or does not hold these networks.
  """
  config = AvatarConfig.paper(legacy=True) if config is None else config
  file = pathlib.Path(path)
  arrays = weight_files.read(file, max_bytes=MAX_BYTES)
  if any(name.startswith("model.") for name in arrays):
    # Beside the model the file may hold an optimiser.
    arrays = {
      name.removeprefix("model."): array
      for name, array in arrays.items()
      if name.startswith("model.")
    }
  published = Published(arrays, str(file))
  published.ignore(*_IGNORED)
  params = {
    "encoder": {
      "backbone": take_vit(published, "base_model.dino_model."),
      "dpt": _take_dpt(published),
    },
    "lifting": _take_lifting(published),
    "expression": _take_expression(published),
    "renderer": _take_renderer(published, config),
  }
  init = functools.partial(avatar.init, config, vertices)
  return config, published.finish(
    params, jax.eval_shape(init, jax.random.key(0))
  )


def _take_dpt(published: Published) -> dict[str, Any]:
  """`DptHead` from the convolutions beside DINOv2."""
  at = "base_model.{}".format
  params: dict[str, Any] = {"last": published.conv(at("output_conv"))}
  for i in range(4):
    params[f"project_{i}"] = published.conv(at(f"projects.{i}"))
    params[f"merge_{i}"] = published.conv(at(f"layer_rn.{i}"), bias=False)
    block = at(f"refinenet.{i}")
    units = {
      f"unit_{j}": {
        f"conv_{k}": published.conv(f"{block}.resConfUnit{j}.conv{k}")
        for k in (1, 2)
      }
      for j in (1, 2)
    }
    out = {"out": published.conv(f"{block}.out_conv")}
    params[f"fusion_{i}"] = units | out
  for i in range(2):
    params[f"resize_{i}"] = published.transposed(at(f"resize_layers.{i}"))
  params["resize_3"] = published.conv(at("resize_layers.3"))
  return params


def _take_lifting(published: Published) -> dict[str, Any]:
  """`LiftingBranch` from the two convolutional generators."""
  return {
    f"{ours}_{i}": published.conv(
      f"gs_generator_{theirs}.gaussian_conv.{2 * i}"
    )
    for ours, theirs in (("front", "l0"), ("back", "l1"))
    for i in range(4)
  }


def _take_expression(published: Published) -> dict[str, Any]:
  """`ExpressionBranch` from the linear generator."""
  at = "gs_generator_g.{}".format
  params: dict[str, Any] = {"base": published.take("head_base", 2)}
  for i in range(4):
    params[f"hidden_{i}"] = published.dense(at(f"feature_layers.{2 * i}"))
  for head in ("color", "opacity", "scale", "rotation"):
    for i in range(2):
      params[f"{head}_{i}"] = published.dense(at(f"{head}_layers.{2 * i}"))
  return params


def _take_renderer(
  published: Published, config: AvatarConfig
) -> dict[str, Any]:
  """`StyleUnet` from the upsampler."""
  at = "upsampler.{}".format
  levels = (config.size // config.fold).bit_length() - 3
  params: dict[str, Any] = {
    "first": published.conv(at("conv_body_first")),
    "middle": published.conv(at("final_conv")),
    "style": published.dense(at("final_linear")),
    "generator": _take_generator(published, config, levels),
  }
  # Its input is the 4x4 map: theirs with the channels first.
  kernel = params["style"]["kernel"]
  if kernel.shape[0] % 16 == 0:
    kernel = kernel.reshape(-1, 4, 4, kernel.shape[1]).transpose(1, 2, 0, 3)
    params["style"]["kernel"] = kernel.reshape(-1, kernel.shape[-1])
  for i in range(levels):
    for way in ("down", "up"):
      block = at(f"conv_body_{way}.{i}")
      params[f"{way}_{i}"] = {
        "conv_1": published.conv(f"{block}.conv1"),
        "conv_2": published.conv(f"{block}.conv2"),
        "skip": published.conv(f"{block}.skip", bias=False),
      }
    params[f"rgb_{i}"] = published.conv(at(f"toRGB.{i}"))
    for kind in ("scale", "shift"):
      for j in range(2):
        name = at(f"condition_{kind}.{i}.{2 * j}")
        params[f"{kind}_{i}_{j}"] = published.conv(name)
    # Ours scales by 1 + the network's value.
    last = params[f"scale_{i}_1"]
    last["bias"] = last["bias"] - 1
  return params


def _take_generator(
  published: Published, config: AvatarConfig, levels: int
) -> dict[str, Any]:
  at = "upsampler.stylegan_decoder.{}".format
  constant = published.take(at("constant_input.weight"), 4)[0]
  params: dict[str, Any] = {
    "constant": constant.transpose(1, 2, 0),
    "conv_0_0": _take_styled(published, at("style_conv1")),
    "colors_0": _take_styled(published, at("to_rgb1"), colors=True),
  }
  for i in range(config.mapping):
    params[f"mapping_{i}"] = published.dense(at(f"style_mlp.{2 * i + 1}"))
  for i in range(levels):
    for j in range(2):
      name = at(f"style_convs.{2 * i + j}")
      params[f"conv_{i + 1}_{j}"] = _take_styled(published, name)
    name = at(f"to_rgbs.{i}")
    params[f"colors_{i + 1}"] = _take_styled(published, name, colors=True)
  return params


def _take_styled(
  published: Published, name: str, *, colors: bool = False
) -> dict[str, Layer | np.ndarray]:
  """`StyledConv` from a modulated convolution and what follows it."""
  kernel = published.take(f"{name}.modulated_conv.weight", 5)[0]
  params: dict[str, Any] = {
    "kernel": kernel.transpose(2, 3, 1, 0),
    "modulation": published.dense(f"{name}.modulated_conv.modulation"),
    "bias": published.take(f"{name}.bias", 4).reshape(-1),
  }
  if not colors:
    params["noise"] = published.take(f"{name}.weight", 1).reshape(())
  return params
