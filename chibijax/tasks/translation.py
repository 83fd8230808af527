"""Image translation between a domain a (photos) and a domain b (chibis).

`config.model.name` says by which model: "cyclegan" (unpaired, both ways),
"ugatit" (unpaired, both ways, with attention maps), "cut" (unpaired, one way;
FastCUT is a variant of its config) or "pix2pix" (paired, one way). Each is a
module `translation_NAME` with a `build` of its own and the same methods:
`init`, `train_step`, `eval_step`, and `translate` for pictures in [-1, 1].
"""

from typing import Any

from jaxtyping import Array, UInt8

from chibijax.core.types import Axis, Params, inference_params
from chibijax.errors import UserError
from chibijax.ops import image as image_ops
from chibijax.tasks import (
  translation_cut,
  translation_cyclegan,
  translation_pix2pix,
  translation_ugatit,
)
from chibijax.tasks.translation_common import Direction
from chibijax.tasks.translation_cut import Cut
from chibijax.tasks.translation_cyclegan import (
  DISCRIMINATORS,
  GENERATORS,
  CycleGan,
)
from chibijax.tasks.translation_pix2pix import Pix2Pix
from chibijax.tasks.translation_ugatit import Ugatit

__all__ = [
  "DISCRIMINATORS",
  "GENERATORS",
  "MODELS",
  "Translation",
  "build",
  "inference_params",
  "translate",
]

Translation = CycleGan | Cut | Pix2Pix | Ugatit

MODELS = {
  "cyclegan": translation_cyclegan.build,
  "cut": translation_cut.build,
  "pix2pix": translation_pix2pix.build,
  "ugatit": translation_ugatit.build,
}


def build(config: Any, axis: Axis | None = None) -> Translation:
  """Builds the task.

  Args:
    config: an experiment's config (`configs/common.py`): `model.name`, what
      that model reads of `model` and `loss` (see its module), `optim`,
      `total_steps`, `precision` (of the networks), `ema`, `augment` and `data`.
    axis: the data axis under pmap; None is the global view of jit.

  Returns:
    The task.

  Raises:
    UserError: if `model.name` is unknown or a value is out of range.
  """
  name = config.model.name
  if name not in MODELS:
    raise UserError(
      f"model.name is {name!r}, expected {', '.join(map(repr, MODELS))}."
    )
  return MODELS[name](config, axis)


def translate(
  config: Any,
  params: Params,
  images: UInt8[Array, "b h w 3"],
  direction: Direction = "a2b",
) -> UInt8[Array, "b h w 3"]:
  """Translates pictures with a trained run's networks, bytes to bytes.

  Args:
    config: the run's config.
    params: networks by name, averaged ones where there are such.
    images: uint8 sRGB pictures of any size.
    direction: "a2b" (photo to chibi) or, where the model has it, "b2a".

  Returns:
    Pictures of the same size and type.
  """
  y = build(config).translate(params, image_ops.to_float(images), direction)
  return image_ops.to_uint8(y)
