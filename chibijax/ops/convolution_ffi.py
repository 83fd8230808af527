"""The native convolution on CPUs: all of `jax.ffi` for this family is here.

`native/convolution.cc` computes a float32 convolution and its two gradients,
by Winograd's F(4x4, 3x3) where that applies and as an implicit matrix product
elsewhere. Every result is computed by one thread in a fixed order, so it does
not depend on the number of threads.

An FFI call is opaque to the compiler, which would gather sharded pictures on
every device first. Here each device convolves its own pictures, and weight
gradients are summed over the devices.
"""

import ctypes
import functools
import pathlib
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_batching import custom_vmap
from jax.experimental.custom_partitioning import custom_partitioning
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array

from chibijax.ops import native_library

_FOLDER = str(pathlib.Path(__file__).parent / "native")
_OPERATIONS = ("forward", "input_grad", "weight_grad")
# Below this many channels the transforms cost more than they save.
_WINOGRAD_CHANNELS = 16


def available() -> bool:
  """Says whether the native library is there, loaded and wanted.

  `CHIBIJAX_NATIVE=0` in the environment switches it off for what is traced
  from then on (as `jax.export` needs, which refuses calls of unknown targets).
  """
  return native_library.is_wanted() and _library() is not None


def is_winograd(kernel_shape: tuple[int, ...], stride: int) -> bool:
  """Says whether Winograd's algorithm serves a kernel [KH, KW, I, O]."""
  small = min(kernel_shape[2:]) < _WINOGRAD_CHANNELS
  return kernel_shape[:2] == (3, 3) and stride == 1 and not small


def forward(
  x: Array, kernel: Array, *, stride: int, padding: int, reflect: bool
) -> Array:
  """Convolves [B, H, W, I] with [KH, KW, I, O], float32.

  Args:
    x: pictures.
    kernel: filters.
    stride: distance between output samples.
    padding: pixels added on each side.
    reflect: mirrored instead of zero padding; only where `is_winograd`.

  Returns:
    [B, H2, W2, O].
  """
  size = tuple(
    (n + 2 * padding - k) // stride + 1
    for n, k in zip(x.shape[1:3], kernel.shape[:2], strict=True)
  )
  result = (*size, kernel.shape[3])
  return _operation(0, result, kernel.shape, stride, padding, reflect)(
    x, kernel
  )


def input_grad(
  g: Array,
  kernel: Array,
  *,
  size: tuple[int, int],
  stride: int,
  padding: int,
  reflect: bool,
) -> Array:
  """Gradient of `forward` with respect to x, [B, *size, I]."""
  result = (*size, kernel.shape[2])
  return _operation(1, result, kernel.shape, stride, padding, reflect)(
    g, kernel
  )


def weight_grad(
  x: Array,
  g: Array,
  *,
  window: tuple[int, int],
  stride: int,
  padding: int,
  reflect: bool,
) -> Array:
  """Gradient of `forward` with respect to the kernel, [*window, I, O]."""
  result = (*window, x.shape[3], g.shape[3])
  return _operation(2, result, result, stride, padding, reflect)(x, g)


@functools.cache
def _library() -> ctypes.CDLL | None:
  """Loads the library and registers its handlers, once per process."""
  library = native_library.load(_FOLDER, "convolution")
  if library is None:
    return None
  library.chibijax_convolution_scratch.restype = ctypes.c_int64
  native_library.register(library, "chibijax_convolution", _OPERATIONS)
  return library


def _call(
  which: int,
  result: tuple[int, ...],
  kernel: tuple[int, ...],
  stride: int,
  padding: int,
  reflect: bool,
  a: Array,
  b: Array,
) -> Array:
  """Calls one handler on this device's arrays."""
  if which < 2:
    result = (a.shape[0], *result)
  out = jax.ShapeDtypeStruct(result, jnp.float32)
  x, y = {0: (a, out), 1: (out, a), 2: (a, b)}[which]
  winograd = is_winograd(kernel, stride)
  shape = (*x.shape, *kernel[:2], kernel[3], *y.shape[1:3])
  library = _library()
  floats = library.chibijax_convolution_scratch(
    (ctypes.c_int64 * 12)(*shape, stride, padding, reflect),
    ctypes.c_int64(which),
    ctypes.c_int64(winograd),
  )
  call = jax.ffi.ffi_call(
    f"chibijax_convolution_{_OPERATIONS[which]}",
    (out, jax.ShapeDtypeStruct((floats,), jnp.float32)),
  )
  return call(
    a,
    b,
    stride=np.int64(stride),
    padding=np.int64(padding),
    reflect=np.bool_(reflect),
    winograd=np.bool_(winograd),
  )[0]


@functools.cache
def _operation(
  which: int,
  result: tuple[int, ...],
  kernel: tuple[int, ...],
  stride: int,
  padding: int,
  reflect: bool,
) -> Callable[[Array, Array], Array]:
  """Makes one operation that knows about sharding and `vmap`.

  Args:
    which: index into `_OPERATIONS`.
    result: the result's shape, without the batch for the first two.
    kernel: the kernel's shape.
    stride: distance between output samples.
    padding: pixels added on each side.
    reflect: mirrored instead of zero padding.

  Returns:
    A function of the operation's two arrays.
  """
  call = functools.partial(
    _call, which, result, kernel, stride, padding, reflect
  )
  operation = custom_vmap(_sharded(call, sums=which == 2))

  @operation.def_vmap
  def batched(
    size: int, in_batched: list[bool], a: Array, b: Array
  ) -> tuple[Array, bool]:
    if which < 2 and in_batched == [True, False]:
      # The same weights for all: one larger batch.
      y = operation(a.reshape(-1, *a.shape[2:]), b)
      return y.reshape(size, -1, *y.shape[1:]), True
    a, b = (
      v if mapped else jnp.broadcast_to(v, (size, *v.shape))
      for v, mapped in zip((a, b), in_batched, strict=True)
    )
    return lax.map(lambda ab: operation(*ab), (a, b)), True

  return operation


def _sharded(
  call: Callable[[Array, Array], Array], sums: bool
) -> Callable[[Array, Array], Array]:
  """Splits a call over the devices that share the batch.

  Args:
    call: function of two arrays; the first one's leading axis is the batch.
    sums: the second one has it too, and the result is a sum over it; else
      the second one is replicated and the result has the batch.

  Returns:
    The same function, for the partitioner.
  """
  function = custom_partitioning(call)

  def partition(mesh, arg_shapes, result_shape):
    del result_shape
    spec = arg_shapes[0].sharding.spec
    batch = spec[0] if len(spec) else None
    split = NamedSharding(mesh, PartitionSpec(batch))
    whole = NamedSharding(mesh, PartitionSpec())
    if not sums:
      return mesh, call, split, (split, whole)
    if batch is None:
      return mesh, call, whole, (whole, whole)
    return (
      mesh,
      lambda a, b: lax.psum(call(a, b), batch),
      whole,
      (split, split),
    )

  def infer(mesh, arg_shapes, result_shape):
    return partition(mesh, arg_shapes, result_shape)[2]

  rule = (
    "b h w c, b k l d -> i j m n" if sums else ("b h w c, k l m n -> b i j d")
  )
  function.def_partition(
    partition=partition,
    infer_sharding_from_operands=infer,
    sharding_rule=rule,
  )
  return function
