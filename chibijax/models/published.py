"""Published arrays by name, turned into our layouts as they are taken.

PyTorch stores dense weights [O, I] and kernels [O, I, KH, KW]; ours are [I, O]
and HWIO. Every array must be taken or ignored, so that a file of another
network is noticed.
"""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import Float32, Shaped

from chibijax.errors import UserError

Layer = dict[str, Float32[np.ndarray, "..."]]


class Published:
  """The arrays of a file that were not taken yet.

  Attributes:
    source: what the file is called in messages.
    left: the arrays, by their published names.
  """

  def __init__(
    self, arrays: Mapping[str, Shaped[np.ndarray, "..."]], source: str
  ) -> None:
    """Starts with all arrays.

    Args:
      arrays: by their published names.
      source: what the file is called in messages.
    """
    self.source = source
    self.left = dict(arrays)

  def take(self, name: str, ndim: int) -> Float32[np.ndarray, "..."]:
    """An array as it is stored.

    Args:
      name: published name.
      ndim: axes it must have.

    Returns:
      The array as float32; it is not left any more.

    Raises:
      UserError: if it is not there, has other axes or holds no numbers.
    """
    if name not in self.left:
      raise UserError(f"{self.source} lacks {name}: it is of another network.")
    array = self.left.pop(name)
    if array.ndim != ndim:
      raise UserError(
        f"{self.source} has {name} of shape {array.shape}, expected {ndim} "
        "axes."
      )
    array = np.asarray(array, np.float32)
    if not np.isfinite(array).all():
      raise UserError(
        f"{self.source} holds numbers that are not finite: {name}."
      )
    return array

  def dense(self, name: str) -> Layer:
    """`kernel` [I, O] and `bias` of a linear layer."""
    return {
      "kernel": self.take(f"{name}.weight", 2).T,
      "bias": self.take(f"{name}.bias", 1),
    }

  def conv(self, name: str, *, bias: bool = True) -> Layer:
    """`kernel` HWIO and, if it has one, `bias` of a convolution."""
    kernel = self.take(f"{name}.weight", 4).transpose(2, 3, 1, 0)
    return {"kernel": kernel} | (
      {"bias": self.take(f"{name}.bias", 1)} if bias else {}
    )

  def transposed(self, name: str) -> Layer:
    """The same of a transposed convolution, stored [I, O, KH, KW]."""
    kernel = self.take(f"{name}.weight", 4).transpose(2, 3, 0, 1)
    return {"kernel": kernel, "bias": self.take(f"{name}.bias", 1)}

  def norm(self, name: str) -> Layer:
    """`scale` and `bias` of a layer norm."""
    return {
      "scale": self.take(f"{name}.weight", 1),
      "bias": self.take(f"{name}.bias", 1),
    }

  def ignore(self, *starts: str) -> None:
    """Drops arrays whose names start so; there need be none."""
    self.left = {
      k: v for k, v in self.left.items() if not k.startswith(tuple(starts))
    }

  def finish(self, params: dict[str, Any], expected: Any) -> dict[str, Any]:
    """Checks that nothing is left and that the parameters fit.

    Args:
      params: what was made of the arrays.
      expected: the network's parameters, or their shapes.

    Returns:
      `params`, contiguous.

    Raises:
      UserError: with the first array that is too much or does not fit.
    """
    if self.left:
      raise UserError(
        f"{self.source} has {min(self.left)}, which belongs to no layer."
      )
    have, want = (
      {jax.tree_util.keystr(path): np.shape(x) for path, x in leaves}
      for leaves in map(jax.tree_util.tree_leaves_with_path, (params, expected))
    )
    for name in sorted(have.keys() | want.keys()):
      if have.get(name) != want.get(name):
        raise UserError(
          f"{self.source} does not fit: {name} is {have.get(name, 'missing')} "
          f"there and {want.get(name, 'not')} in the network."
        )
    return jax.tree.map(lambda x: np.asarray(x, order="C"), params)
