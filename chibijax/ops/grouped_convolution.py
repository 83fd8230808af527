"""3x3 convolution of groups of channels, differentiable again and again."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from chibijax.ops import convolution

# Up to so many groups one dense convolution is faster than one for each.
_DENSE = 4


def grouped_conv(
  x: Float[Array, "b h w c"], kernel: Float[Array, "3 3 i o"]
) -> Float[Array, "b h w o"]:
  """Cross-correlates each group of channels with its own filters.

  Zeros around the picture; PyTorch's `Conv2d(c, o, 3, padding=1, groups=c // i,
  bias=False)` with `kernel[a, b, i, o] == weight[o, i, a, b]`.

  On CPUs, where the gradients of XLA's own form take 30 to 200 times as long
  (32 pictures of 32x32x64 in 4 groups, two cores: 1,700 ms against 46), it is
  `ops.convolution` of every group, or of all with zeros between the groups.

  Args:
    x: pictures, [B, H, W, C].
    kernel: filters, [3, 3, I, O]; group g maps channels g I ... of `x` to its
      share of the outputs.

  Returns:
    [B, H, W, O].

  Raises:
    ValueError: if the channels are no multiple of the kernel's, or the outputs
      none of the number of groups.
  """
  size, outputs = kernel.shape[2:]
  channels = x.shape[-1]
  groups = channels // size
  if channels % size or outputs % groups:
    raise ValueError(
      f"{channels} channels and {outputs} outputs do not split into groups of "
      f"{size} channels."
    )
  # Decided when it is lowered: a host without a TPU may compile for one.
  return lax.platform_dependent(x, kernel, cpu=_rewritten, default=_plain)


def _plain(
  x: Float[Array, "b h w c"], kernel: Float[Array, "3 3 i o"]
) -> Float[Array, "b h w o"]:
  """XLA's own form."""
  return lax.conv_general_dilated(
    x,
    kernel,
    (1, 1),
    ((1, 1), (1, 1)),
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
    feature_group_count=x.shape[-1] // kernel.shape[2],
  )


def _rewritten(
  x: Float[Array, "b h w c"], kernel: Float[Array, "3 3 i o"]
) -> Float[Array, "b h w o"]:
  """The form for CPUs; see `grouped_conv`."""
  size, outputs = kernel.shape[2:]
  groups = x.shape[-1] // size
  if groups <= _DENSE:
    return convolution.conv(x, _dense(kernel, groups), padding=1)
  split = x.reshape(*x.shape[:3], groups, size).transpose(3, 0, 1, 2, 4)
  filters = kernel.reshape(3, 3, size, groups, -1).transpose(3, 0, 1, 2, 4)
  y = jax.vmap(lambda a, b: convolution.conv(a, b, padding=1))(split, filters)
  return y.transpose(1, 2, 3, 0, 4).reshape(*x.shape[:3], outputs)


def _dense(
  kernel: Float[Array, "3 3 i o"], groups: int
) -> Float[Array, "3 3 c o"]:
  """The same filters for all channels, zero at those of other groups."""
  size, outputs = kernel.shape[2:]
  if groups == 1:
    return kernel
  split = kernel.reshape(3, 3, 1, size, groups, -1)
  own = jnp.eye(groups, dtype=kernel.dtype).reshape(1, 1, groups, 1, groups, 1)
  return (split * own).reshape(3, 3, groups * size, outputs)
