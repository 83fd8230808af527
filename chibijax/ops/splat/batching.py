"""Operations with native calls: under `vmap`, sharded, on other platforms.

An FFI call is opaque: `vmap` would loop over it and the SPMD partitioner would
gather its operands on every device first. Each operation here is therefore
described by one string per array that names the array's axes, such as
`"bn."` for [B, N, 3]: `b` Gaussian batch, `c` camera, `n` Gaussian, `.` an
axis that is never split. Everything else follows from these:

* a mapped axis becomes part of `c` or of `b`, so that a vmapped operation is
  one larger call, however deeply `vmap` is nested;
* a sharded axis stays sharded, each device calls the operation on its own
  part, and a result without that axis is summed over the devices.
"""

import functools
import itertools
import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap
from jax.experimental.custom_partitioning import custom_partitioning
from jax.extend.core import Primitive
from jax.interpreters import mlir
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array

Call = Callable[..., tuple[Array, ...]]


def batched(
  call: Call, operands: Sequence[str], results: Sequence[str], split: str
) -> Call:
  """Makes an operation that knows about `vmap` and sharding.

  Args:
    call: function of arrays, returning a tuple of arrays; its axes `b` and
      `c` may have any size.
    operands: the axes of each operand; `b` comes first, then `c` if present.
    results: the axes of each result, alike. A result without an axis of
      `split` that operands have is a sum over that axis.
    split: the axes that devices may share, the most important first.

  Returns:
    A function with the arguments and results of `call`.
  """
  operation = custom_vmap(_partitioned(call, operands, results, split))

  @operation.def_vmap
  def rule(size, in_batched, *args):
    shares = any(
      "c" not in axes and not mapped
      for axes, mapped in zip(operands, in_batched)
    )
    # As more cameras of the same Gaussians, where every result is one per
    # camera; else as more scenes, which copies what is not mapped.
    cameras = (
      shares
      and all("c" in axes for axes in results)
      and all("c" in axes for axes, m in zip(operands, in_batched) if m)
    )
    axis = 1 if cameras else 0
    folded = (
      _fold(x, size, axis, mapped)
      if mapped or not cameras or "c" in axes
      else x
      for x, axes, mapped in zip(args, operands, in_batched, strict=True)
    )
    unfolded = tuple(_unfold(y, size, axis) for y in operation(*folded))
    return unfolded, (True,) * len(unfolded)

  return operation


def deferred(
  definition: Call, shapes: Callable[..., tuple[jax.ShapeDtypeStruct, ...]]
) -> Call:
  """Puts off tracing a function until a program with it is lowered.

  A definition in JAX stands beside every native call, for other platforms.
  Tracing it and its gradient takes a second that most programs can save.

  Args:
    definition: function of arrays, not differentiated or mapped from outside.
    shapes: what it returns for given arrays.

  Returns:
    A function like `definition`.
  """

  def call(*args):
    return tuple(
      _deferred_call().bind(*args, definition=definition, shapes=shapes)
    )

  return call


@functools.cache
def _deferred_call() -> Primitive:
  primitive = Primitive("chibijax_definition")
  primitive.multiple_results = True

  def evaluate(*args, definition, shapes):
    del shapes
    return definition(*args)

  def infer(*args, definition, shapes):
    del definition
    return [jax.core.ShapedArray(s.shape, s.dtype) for s in shapes(*args)]

  primitive.def_impl(evaluate)
  primitive.def_abstract_eval(infer)
  mlir.register_lowering(
    primitive, mlir.lower_fun(evaluate, multiple_results=True)
  )
  return primitive


def _fold(x: Array, size: int, axis: int, mapped: bool) -> Array:
  """Merges a leading mapped axis (or a copy per index) into another axis."""
  if mapped:
    x = jnp.moveaxis(x, 0, axis)
  else:
    shape = (*x.shape[:axis], size, *x.shape[axis:])
    x = jnp.broadcast_to(jnp.expand_dims(x, axis), shape)
  merged = size * x.shape[axis + 1]
  return x.reshape(*x.shape[:axis], merged, *x.shape[axis + 2 :])


def _unfold(x: Array, size: int, axis: int) -> Array:
  """Undoes `_fold`: the mapped axis comes first again."""
  rest = x.shape[axis] // size
  x = x.reshape(*x.shape[:axis], size, rest, *x.shape[axis + 1 :])
  return jnp.moveaxis(x, axis, 0)


def _partitioned(
  call: Call, operands: Sequence[str], results: Sequence[str], split: str
) -> Call:
  """Keeps sharded axes sharded; arguments as of `batched`."""
  function = custom_partitioning(call)

  def plan(mesh: Mesh, arg_shapes: Sequence[jax.ShapeDtypeStruct]):
    names = _mesh_axes(mesh, arg_shapes, operands, split)

    def sharding(axes: str) -> NamedSharding:
      spec = (names.get(axis) or None for axis in axes)
      return NamedSharding(mesh, PartitionSpec(*spec))

    return (
      names,
      tuple(sharding(axes) for axes in operands),
      tuple(sharding(axes) for axes in results),
    )

  def partition(mesh, arg_shapes, result_shape):
    del result_shape
    names, arg_shardings, result_shardings = plan(mesh, arg_shapes)

    def local(*args):
      return tuple(
        _sum_over(y, [n for a in names if a not in axes for n in names[a]])
        for y, axes in zip(call(*args), results, strict=True)
      )

    return mesh, local, result_shardings, arg_shardings

  def infer(mesh, arg_shapes, result_shape):
    del result_shape
    return plan(mesh, arg_shapes)[2]

  function.def_partition(
    partition=partition,
    infer_sharding_from_operands=infer,
    sharding_rule=_sharding_rule(operands, results, split),
  )
  return function


def _sum_over(x: Array, names: Sequence[str]) -> Array:
  return lax.psum(x, tuple(names)) if names else x


def _mesh_axes(
  mesh: Mesh,
  shapes: Sequence[jax.ShapeDtypeStruct],
  operands: Sequence[str],
  split: str,
) -> dict[str, tuple[str, ...]]:
  """Finds the mesh axes over which each axis of `split` is shared.

  The first operand that is sharded along an axis decides. A mesh axis serves
  once, and an axis that its devices do not divide evenly is not split: sums
  would include the padding.
  """
  taken: dict[str, tuple[str, ...]] = {}
  for axis in split:
    for shape, axes in zip(shapes, operands, strict=True):
      if axis not in axes:
        continue
      place = axes.index(axis)
      spec = getattr(shape.sharding, "spec", ())
      names = spec[place] if place < len(spec) else None
      names = (names,) if isinstance(names, str) else tuple(names or ())
      used = set(itertools.chain.from_iterable(taken.values()))
      names = tuple(name for name in names if name not in used)
      parts = math.prod(mesh.shape[name] for name in names)
      if names and shape.shape[place] % parts == 0:
        taken[axis] = names
        break
  return taken


def _sharding_rule(
  operands: Sequence[str], results: Sequence[str], split: str
) -> str:
  """The same description for the Shardy partitioner, as einops writes it."""
  # Axes that are not split must not be tied to each other.
  count = itertools.count()

  def factors(axes: str) -> str:
    return " ".join(
      axis if axis in split else f"free{next(count)}" for axis in axes
    )

  sides = (", ".join(map(factors, side)) for side in (operands, results))
  return " -> ".join(sides)
