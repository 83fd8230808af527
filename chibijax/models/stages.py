"""The maps that a generator passes through on its way to a picture."""

from typing import Any

import flax.linen as nn
from jaxtyping import Array, Float

Maps = dict[int, Float[Array, "b h w c"]]


def run(module: nn.Module, *args: Any, **given: Any) -> tuple[Any, Maps]:
  """Applies a network and keeps the last map it made of each size.

  Args:
    module: any network of square maps [B, S, S, C].
    *args: of its `apply`.
    **given: of its `apply`.

  Returns:
    What `apply` returns, and the last output of any of its layers by side S;
    that of the largest side is, in a generator, its picture.
  """
  maps: Maps = {}

  def keep(call: Any, inputs: Any, options: Any, context: Any) -> Any:
    found = call(*inputs, **options)
    square = (
      context.method_name == "__call__"
      and getattr(found, "ndim", 0) == 4
      and found.shape[1] == found.shape[2]
    )
    if square:
      maps.pop(found.shape[1], None)
      maps[found.shape[1]] = found
    return found

  with nn.intercept_methods(keep):
    result = module.apply(*args, **given)
  return result, maps
