"""Convolutions as image networks use them, in the forms CPUs run fastest.

Conventions: pictures are NHWC, kernels HWIO, padding is a symmetric number of
pixels, and every form is the same mathematics as the textbook definition (up
to the rounding of a different order of summation).

A convolution is bilinear, so it and its two gradients form a closed family:
each one's derivatives are the other two. The three are written here once,
each differentiable any number of times in reverse mode (forward mode, `jvp`,
is refused by JAX with an error). XLA:CPU is slow on some of them: there the
native kernels of `convolution_ffi` do float32, and rewrites the rest.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from chibijax.ops import convolution_ffi

_DIMENSIONS = ("NHWC", "HWIO", "NHWC")


class _Geometry(NamedTuple):
  """What the arrays' shapes do not say; hashable, so static under `jit`.

  Attributes:
    size: height and width of the picture on the input side.
    stride: distance between output samples, in pixels.
    padding: pixels added on each side.
    reflect: they mirror the picture; else they are zeros.
  """

  size: tuple[int, int]
  stride: int
  padding: int
  reflect: bool = False

  @property
  def mirrored(self) -> "_Geometry":
    """The geometry of a picture to which the mirrored border was added."""
    h, w = self.size
    size = (h + 2 * self.padding, w + 2 * self.padding)
    return _Geometry(size, self.stride, 0)


def conv(
  x: Float[Array, "b h w i"],
  kernel: Float[Array, "kh kw _ o"],
  *,
  stride: int = 1,
  padding: int = 0,
  reflect: bool = False,
) -> Float[Array, "b h2 w2 o"]:
  """Cross-correlates a picture with a kernel (what deep learning calls conv).

  Args:
    x: pictures, [B, H, W, I].
    kernel: filters, [KH, KW, I, O].
    stride: distance between output samples, in pixels, the same on both axes.
    padding: pixels added on each of the four sides.
    reflect: mirrors the picture about its border pixels instead of adding
      zeros; needs `padding` < H and W.

  Returns:
    [B, (H + 2 padding - KH) // stride + 1, likewise W, O].

  Raises:
    ValueError: if channels disagree, `stride` < 1, `padding` < 0, the padded
      picture is smaller than the kernel or too small to be mirrored.
  """
  _check(x, kernel, stride, padding, reflect)
  reflect = reflect and padding > 0
  return _forward(x, kernel, _Geometry(x.shape[1:3], stride, padding, reflect))


def conv_transpose(
  x: Float[Array, "b h w i"], kernel: Float[Array, "k k _ o"]
) -> Float[Array, "b h2 w2 o"]:
  """Doubles the resolution by a transposed convolution of stride 2.

  Equals PyTorch's `ConvTranspose2d(i, o, k, stride=2, padding=1, bias=False)`,
  with `output_padding=1` where k is 3, and `kernel[a, b, i, o] == weight[i, o,
  a, b]`: the input gradient of the convolution that halves the resolution.

  Args:
    x: pictures, [B, H, W, I].
    kernel: [3, 3, I, O] or [4, 4, I, O].

  Returns:
    [B, 2 H, 2 W, O].

  Raises:
    ValueError: if the kernel is neither 3x3 nor 4x4 or its channels disagree
      with `x`.
  """
  sides = ((3, 3), (4, 4))
  if (
    x.ndim != 4
    or kernel.shape[:2] not in sides
    or kernel.shape[2] != x.shape[3]
  ):
    raise ValueError(
      "conv_transpose needs x [B, H, W, I] and a kernel [3, 3, I, O] or "
      f"[4, 4, I, O], got {x.shape} and {kernel.shape}."
    )
  size = (2 * x.shape[1], 2 * x.shape[2])
  return _input_grad(x, kernel.swapaxes(2, 3), _Geometry(size, 2, 1))


def _check(
  x: Array, kernel: Array, stride: int, padding: int, reflect: bool
) -> None:
  """Raises ValueError where `conv` cannot do what is asked."""
  if x.ndim != 4 or kernel.ndim != 4 or kernel.shape[2] != x.shape[3]:
    raise ValueError(
      "conv needs x [B, H, W, I] and a kernel [KH, KW, I, O], got "
      f"{x.shape} and {kernel.shape}."
    )
  if stride < 1 or padding < 0:
    raise ValueError(
      f"conv needs stride >= 1 and padding >= 0, got {stride} and {padding}."
    )
  height, width = x.shape[1:3]
  if reflect and padding >= min(height, width):
    raise ValueError(
      f"Reflection by {padding} pixels needs a picture larger than that on "
      f"both sides, got {height}x{width}."
    )
  kh, kw = kernel.shape[:2]
  if height + 2 * padding < kh or width + 2 * padding < kw:
    raise ValueError(
      f"A {height}x{width} picture padded by {padding} is smaller than the "
      f"{kh}x{kw} kernel."
    )


# The closed family. `x` is the input side, `g` the output side.


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _forward(x: Array, kernel: Array, geometry: _Geometry) -> Array:
  """The convolution: [B, H, W, I] and [KH, KW, I, O] to [B, H2, W2, O]."""
  return lax.platform_dependent(
    x,
    kernel,
    cpu=functools.partial(_forward_cpu, geometry=geometry),
    default=functools.partial(_forward_lax, geometry=geometry),
  )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _input_grad(g: Array, kernel: Array, geometry: _Geometry) -> Array:
  """Its gradient with respect to `x`: [B, H2, W2, O] to [B, H, W, I]."""
  return lax.platform_dependent(
    g,
    kernel,
    cpu=functools.partial(_input_grad_cpu, geometry=geometry),
    default=functools.partial(_input_grad_lax, geometry=geometry),
  )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _weight_grad(
  x: Array, g: Array, geometry: _Geometry, window: tuple[int, int]
) -> Array:
  """Its gradient with respect to the kernel, [KH, KW, I, O]."""
  return lax.platform_dependent(
    x,
    g,
    cpu=functools.partial(_weight_grad_cpu, geometry=geometry, window=window),
    default=functools.partial(
      _weight_grad_lax, geometry=geometry, window=window
    ),
  )


def _forward_fwd(x, kernel, geometry):
  return _forward(x, kernel, geometry), (x, kernel)


def _forward_bwd(geometry, residuals, g):
  x, kernel = residuals
  window = kernel.shape[:2]
  return (
    _input_grad(g, kernel, geometry),
    _weight_grad(x, g, geometry, window),
  )


def _input_grad_fwd(g, kernel, geometry):
  return _input_grad(g, kernel, geometry), (g, kernel)


def _input_grad_bwd(geometry, residuals, x):
  g, kernel = residuals
  return (
    _forward(x, kernel, geometry),
    _weight_grad(x, g, geometry, kernel.shape[:2]),
  )


def _weight_grad_fwd(x, g, geometry, window):
  return _weight_grad(x, g, geometry, window), (x, g)


def _weight_grad_bwd(geometry, window, residuals, kernel):
  x, g = residuals
  return _input_grad(g, kernel, geometry), _forward(x, kernel, geometry)


_forward.defvjp(_forward_fwd, _forward_bwd)
_input_grad.defvjp(_input_grad_fwd, _input_grad_bwd)
_weight_grad.defvjp(_weight_grad_fwd, _weight_grad_bwd)


# The definition, for every platform: what cuDNN and the TPU compiler want.


def _forward_lax(x: Array, kernel: Array, geometry: _Geometry) -> Array:
  if geometry.reflect:
    x, geometry = _mirror(x, geometry), geometry.mirrored
  pads = ((geometry.padding, geometry.padding),) * 2
  return _lax_conv(x, kernel, geometry.stride, pads)


def _input_grad_lax(g: Array, kernel: Array, geometry: _Geometry) -> Array:
  x = jax.ShapeDtypeStruct(
    (g.shape[0], *geometry.size, kernel.shape[2]), g.dtype
  )
  of_x = functools.partial(_forward_lax, kernel=kernel, geometry=geometry)
  return jax.linear_transpose(of_x, x)(g)[0]


def _weight_grad_lax(
  x: Array, g: Array, geometry: _Geometry, window: tuple[int, int]
) -> Array:
  kernel = jax.ShapeDtypeStruct((*window, x.shape[-1], g.shape[-1]), g.dtype)
  of_kernel = functools.partial(_forward_lax, x, geometry=geometry)
  return jax.linear_transpose(of_kernel, kernel)(g)[0]


def _mirror(x: Array, geometry: _Geometry) -> Array:
  p = geometry.padding
  return jnp.pad(x, ((0, 0), (p, p), (p, p), (0, 0)), mode="reflect")


def _mirror_transpose(dx: Array, geometry: _Geometry) -> Array:
  """Adds the border's gradient to the pixels that it mirrors."""
  shape = (dx.shape[0], *geometry.size, dx.shape[3])
  mirror = functools.partial(_mirror, geometry=geometry)
  x = jax.ShapeDtypeStruct(shape, dx.dtype)
  return jax.linear_transpose(mirror, x)(dx)[0]


def _lax_conv(
  x: Array,
  kernel: Array,
  stride: int,
  padding: tuple[tuple[int, int], tuple[int, int]],
) -> Array:
  return lax.conv_general_dilated(
    x, kernel, (stride, stride), padding, dimension_numbers=_DIMENSIONS
  )


# CPUs: the native kernels, or else rewrites of what XLA:CPU is slow on.


def _native(
  a: Array, b: Array, kernel: tuple[int, ...], geometry: _Geometry
) -> dict[str, int | bool] | None:
  """Arguments for `convolution_ffi`, or None where it does not serve."""
  floats = a.dtype == b.dtype == jnp.float32
  # Traced for export, the number of pictures may be a symbol.
  if not isinstance(a.shape[0], int) or not floats or not a.size:
    return None
  if not convolution_ffi.available():
    return None
  if geometry.reflect and not convolution_ffi.is_winograd(
    kernel, geometry.stride
  ):
    return None
  return dict(
    stride=geometry.stride, padding=geometry.padding, reflect=geometry.reflect
  )


def _forward_cpu(x: Array, kernel: Array, geometry: _Geometry) -> Array:
  native = _native(x, kernel, kernel.shape, geometry)
  if native:
    return convolution_ffi.forward(x, kernel, **native)
  if geometry.reflect:
    return _forward_cpu(_mirror(x, geometry), kernel, geometry.mirrored)
  if geometry.padding or geometry.stride > 1:
    return _forward_lax(x, kernel, geometry)
  # Avoid XLA's unpadded path: at 262 pixels 7x7 64->3 is 30x slower there.
  kh, kw = kernel.shape[:2]
  top, left = (kh - 1) // 2, (kw - 1) // 2
  pads = ((top, kh - 1 - top), (left, kw - 1 - left))
  y = _lax_conv(x, kernel, 1, pads)
  h, w = geometry.size
  return y[:, top : top + h - kh + 1, left : left + w - kw + 1]


def _input_grad_cpu(g: Array, kernel: Array, geometry: _Geometry) -> Array:
  native = _native(g, kernel, kernel.shape, geometry)
  if native:
    return convolution_ffi.input_grad(g, kernel, size=geometry.size, **native)
  if geometry.reflect:
    dx = _input_grad_cpu(g, kernel, geometry.mirrored)
    return _mirror_transpose(dx, geometry)
  even = geometry.size == (2 * g.shape[1], 2 * g.shape[2])
  if kernel.shape[:2] != (3, 3) or geometry[1:3] != (2, 1) or not even:
    return _input_grad_lax(g, kernel, geometry)
  # A sub-pixel convolution (Shi et al. 2016): each of the four phases of the
  # result is a 2x2 convolution of the low-resolution side. Per axis, even
  # pixels see tap 1 at m; odd ones tap 2 at m and tap 0 at m + 1.
  b, h, w, _ = g.shape
  channels = kernel.shape[2]
  none = jnp.zeros_like(kernel[:1])
  k = jnp.concatenate([kernel[1:2], kernel[2:], none, kernel[:1]])
  k = jnp.concatenate(
    [k[:, 1:2], k[:, 2:], jnp.zeros_like(k[:, :1]), k[:, :1]], axis=1
  )
  # [shift, phase] on each axis, then channels: to [shifts, in, phases, out].
  k = k.reshape(2, 2, 2, 2, channels, -1).transpose(0, 2, 5, 1, 3, 4)
  k = k.reshape(2, 2, -1, 4 * channels)
  y = _lax_conv(g, k, 1, ((0, 1), (0, 1))).reshape(b, h, w, 2, 2, channels)
  return y.transpose(0, 1, 3, 2, 4, 5).reshape(b, 2 * h, 2 * w, channels)


def _weight_grad_cpu(
  x: Array, g: Array, geometry: _Geometry, window: tuple[int, int]
) -> Array:
  kernel = (*window, x.shape[3], g.shape[3])
  native = _native(x, g, kernel, geometry)
  if native:
    return convolution_ffi.weight_grad(x, g, window=window, **native)
  if geometry.reflect:
    x, geometry = _mirror(x, geometry), geometry.mirrored
    return _weight_grad_cpu(x, g, geometry, window)
  # One matrix product per tap is 2-3x faster than XLA's own form.
  (kh, kw), s, p = window, geometry.stride, geometry.padding
  x = jnp.pad(x, ((0, 0), (p, p), (p, p), (0, 0)))
  b, h, w, o = g.shape
  if s == 1 and o <= 4:
    # With few outputs, gather g instead: all taps become one product.
    g = jnp.pad(g, ((0, 0), (kh - 1,) * 2, (kw - 1,) * 2, (0, 0)))
    taps = [
      g[:, i : i + x.shape[1], j : j + x.shape[2]]
      for i in reversed(range(kh))
      for j in reversed(range(kw))
    ]
    # Rows beyond the last window's end add zeros.
    dw = _contract(x, jnp.concatenate(taps, -1))
    return dw.reshape(-1, kh, kw, o).transpose(1, 2, 0, 3)
  taps = [
    _contract(
      lax.slice(
        x,
        (0, i, j, 0),
        (b, i + (h - 1) * s + 1, j + (w - 1) * s + 1, x.shape[3]),
        (1, s, s, 1),
      ),
      g,
    )
    for i in range(kh)
    for j in range(kw)
  ]
  return jnp.stack(taps).reshape(kh, kw, x.shape[3], o)


def _contract(x: Array, y: Array) -> Array:
  """Sums x[b, h, w, i] y[b, h, w, o] over pictures and pixels: [I, O]."""
  axes = (0, 1, 2)
  return lax.dot_general(x, y, ((axes, axes), ((), ())))
