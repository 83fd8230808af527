"""Style transfer by a network that is trained once: Johnson and AdaIN.

Domain a holds the contents (photos), domain b the styles (chibis). `johnson`
learns one style, the mean Gram matrices of all of domain b (of one picture,
where b is one picture); `adain` takes any picture's style when it is used.
"""

from typing import Any

from chibijax.core import optim
from chibijax.core.types import (
  Axis,
  Precision,
)
from chibijax.errors import UserError
from chibijax.models.adain import Decoder
from chibijax.models.johnson import StyleNet
from chibijax.tasks.style_adain import AdaIn
from chibijax.tasks.style_common import FrozenNetwork
from chibijax.tasks.style_johnson import Johnson

__all__ = ["AdaIn", "FrozenNetwork", "Johnson", "build"]


def build(config: Any, axis: Axis | None = None) -> AdaIn | Johnson:
  """Builds the task.

  Args:
    config: an experiment's config (`configs/common.py`): `model.name`
      ("adain" or "johnson"), `model.features` (network, weights, zoom, see
      `FrozenNetwork`), `loss.content`, `loss.style`, `loss.variation`,
      `loss.style_layers`, `optim`, `total_steps`, `precision`, `ema`; of
      "adain" `model.layer`, `model.colors` and `model.decoder` (blocks,
      smooth); of "johnson" `model.generator` (width, blocks, smooth),
      `loss.content_layers` and `loss.relative`.
    axis: the data axis under pmap; None is the global view of jit.

  Returns:
    The task.

  Raises:
    UserError: if `model.name` is unknown or a value is out of range.
  """
  model, loss = config.model, config.loss
  if model.name not in ("adain", "johnson"):
    raise UserError(
      f"model.name is {model.name!r}, expected 'adain' or 'johnson'."
    )
  if not 0 <= config.ema < 1:
    raise UserError(f"ema is {config.ema}, expected a decay in [0, 1).")
  if min(loss.content, loss.style, loss.variation) < 0:
    raise UserError(
      "loss.content, loss.style and loss.variation must not be negative, got "
      f"{loss.content}, {loss.style} and {loss.variation}."
    )
  axis = axis or Axis()
  dtype = Precision(config.precision).dtype
  style_layers = tuple(loss.style_layers)
  adain = model.name == "adain"
  others = (model.layer,) if adain else tuple(loss.content_layers)
  shared = dict(
    features=FrozenNetwork(
      model.features.network,
      model.features.weights,
      tuple(dict.fromkeys((*style_layers, *others))),
      # Johnson's losses have the recipe's units or are relative.
      normalize=adain,
      zoom=model.features.get("zoom", 1),
    ),
    optimizer=optim.make(config.optim, config.total_steps, axis),
    content=loss.content,
    style=loss.style,
    style_layers=style_layers,
    variation=loss.variation,
    ema=config.ema,
    axis=axis,
  )
  if adain:
    blocks = tuple(tuple(block) for block in model.decoder.blocks)
    net = Decoder(blocks, model.decoder.get("smooth", False), dtype)
    return AdaIn(
      net=net,
      layer=model.layer,
      colors=model.get("colors", False),
      **shared,
    )
  return Johnson(
    net=StyleNet(
      width=model.generator.width,
      blocks=model.generator.blocks,
      smooth=model.generator.get("smooth", False),
      dtype=dtype,
    ),
    content_layers=others,
    relative=loss.relative,
    **shared,
  )
