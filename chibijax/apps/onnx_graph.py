"""Turns a JAX function into an ONNX graph, operation by operation.

The function is traced with a symbol for the number of pictures and its jaxpr
is rewritten: what depends on the weights alone is computed here, what chooses
by platform takes the form for every platform, and each remaining primitive
becomes the ONNX operators of `onnx_operators`. There is a public converter of
JAX functions, but it needs a newer JAX and an older Orbax than this package.

Needs the package `onnx`.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import jax
import numpy as np
from jax import export as jax_export
from jax.extend import core as jax_core

from chibijax.errors import UserError

# Runtimes since 2023 know both.
OPSET, IR_VERSION = 18, 9
BATCH = "batch"
# Primitives that only call another jaxpr, by the name of their parameter.
_CALLS = ("jaxpr", "call_jaxpr", "fun_jaxpr")
_CALLERS = (
  *("jit", "pjit", "closed_call", "core_call", "remat2", "checkpoint"),
  *("custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr"),
)

Shape: TypeAlias = tuple[Any, ...]


@dataclasses.dataclass(frozen=True)
class Value:
  """A tensor of the graph, or a constant.

  Attributes:
    shape: as stored: axes of length 1 may stand for longer ones of the jaxpr,
      over which the value is the same.
    name: the tensor's name; "" for a constant that is not in the graph yet.
    array: the constant, or None.
  """

  shape: Shape
  name: str = ""
  array: np.ndarray | None = None


class Graph:
  """An ONNX graph that grows.

  Attributes:
    nodes: operators, in order.
    constants: initial tensors by name.
  """

  def __init__(self, first_input: str) -> None:
    self.nodes: list[Any] = []
    self.constants: dict[str, np.ndarray] = {}
    self._kept: dict[Any, Value] = {}
    self._first_input = first_input

  def constant(self, array: Any) -> Value:
    """Makes a constant; it enters the graph where it is used."""
    array = np.asarray(array)
    return Value(array.shape, array=array)

  def name_of(self, value: Value) -> str:
    """The name of a tensor; a constant becomes an initial tensor."""
    if value.array is None:
      return value.name
    # Equal small constants, such as shapes, are stored once.
    key: Any = id(value.array)
    if value.array.size <= 16:
      key = (str(value.array.dtype), value.array.shape, value.array.tobytes())
    if key not in self._kept:
      name = f"constant_{len(self.constants)}"
      self.constants[name] = np.ascontiguousarray(value.array).reshape(
        value.array.shape
      )
      # The value is kept too: an array that is freed would lend out its id.
      self._kept[key] = dataclasses.replace(value, name=name)
    return self._kept[key].name

  def add(
    self, operator: str, inputs: Sequence[Value], shape: Shape, **attributes
  ) -> Value:
    """Adds an operator with one result.

    Args:
      operator: its ONNX name.
      inputs: tensors or constants.
      shape: the result's shape.
      **attributes: ONNX attributes.

    Returns:
      The result.
    """
    from onnx import helper

    name = f"t{len(self.nodes)}"
    names = [self.name_of(value) for value in inputs]
    self.nodes.append(helper.make_node(operator, names, [name], **attributes))
    return Value(shape, name)

  def integers(self, numbers: Sequence[Any]) -> Value:
    """A constant list of int64, as shapes and axes are given."""
    return self.constant(np.asarray(numbers, np.int64))

  def reshape(self, value: Value, shape: Shape) -> Value:
    """Changes the shape; one axis may be symbolic."""
    if value.array is not None and is_concrete(shape):
      return self.constant(value.array.reshape(shape))
    sizes = [n if isinstance(n, int) else -1 for n in shape]
    if sizes.count(-1) > 1:
      raise UserError(f"ONNX export: two free axes in the shape {shape}.")
    return self.add("Reshape", [value, self.integers(sizes)], shape)

  def transpose(self, value: Value, order: Sequence[int]) -> Value:
    """Permutes the axes."""
    shape = tuple(value.shape[i] for i in order)
    if value.array is not None:
      return self.constant(value.array.transpose(order))
    if list(order) == list(range(len(order))):
      return value
    return self.add("Transpose", [value], shape, perm=list(order))

  def full(self, value: Value, shape: Shape) -> Value:
    """Repeats a value along the axes that are stored as 1."""
    if value.shape == tuple(shape):
      return value
    if value.array is not None and is_concrete(shape):
      return self.constant(np.broadcast_to(value.array, shape))
    parts, sizes = [], []
    for have, want in zip(value.shape, shape):
      if isinstance(want, int) or not isinstance(have, int):
        sizes.append(want if isinstance(want, int) else 1)
        continue
      if str(want) != BATCH:
        raise UserError(f"ONNX export: cannot repeat along {want}.")
      parts += [self.integers(sizes)] if sizes else []
      parts.append(self._batch())
      sizes = []
    parts += [self.integers(sizes)] if sizes else []
    size = parts[0]
    if len(parts) > 1:
      size = self.add("Concat", parts, (len(shape),), axis=0)
    return self.add("Expand", [value, size], tuple(shape))

  def length(self, size: Any, dtype: Any) -> Value:
    """A symbolic length, which is the batch or a multiple, as a number."""
    from onnx import helper

    *factors, last = str(size).split("*")
    if last != BATCH or not all(f.isdigit() for f in factors):
      raise UserError(f"ONNX export: a length of {size}.")
    times = self.integers([math.prod(map(int, factors))])
    product = self.add("Mul", [self._batch(), times], (1,))
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return self.reshape(self.add("Cast", [product], (1,), to=kind), ())

  def _batch(self) -> Value:
    """The number of pictures, as a list of one number."""
    source = Value((), self._first_input)
    return self.add("Shape", [source], (1,), start=0, end=1)


def is_concrete(shape: Shape) -> bool:
  """Whether all lengths of a shape are numbers."""
  return all(isinstance(n, int) for n in shape)


def is_empty(shape: Shape) -> bool:
  """Whether an axis has no length."""
  return any(isinstance(n, int) and n == 0 for n in shape)


def convert(
  function: Callable[..., jax.Array],
  inputs: Mapping[str, Sequence[int]],
  *,
  output: str = "result",
  metadata: Mapping[str, str] | None = None,
) -> bytes:
  """Writes a function of float32 arrays as an ONNX model.

  Args:
    function: takes one array for each of `inputs`; weights are closed over.
    inputs: shapes by name, without their leading axis, which is the batch.
    output: name of the result.
    metadata: texts that the model shall carry.

  Returns:
    The model's bytes; the batch is of any size.

  Raises:
    UserError: if `onnx` is missing, or the function uses a primitive without
      an ONNX form here; the sentence names it.
  """
  try:
    import onnx
    from onnx import TensorProto, helper, numpy_helper
  except ImportError as error:
    raise UserError(
      "Writing ONNX needs the package onnx: pip install 'chibijax[export]'."
    ) from error
  (batch,) = jax_export.symbolic_shape(BATCH)
  shapes = {name: (batch, *shape) for name, shape in inputs.items()}
  closed = jax.make_jaxpr(function)(
    *(jax.ShapeDtypeStruct(s, np.float32) for s in shapes.values())
  )
  graph = Graph(next(iter(shapes)))
  arguments = [Value(shape, name) for name, shape in shapes.items()]
  consts = [graph.constant(np.asarray(c)) for c in closed.consts]
  results = walk(graph, closed.jaxpr, consts, arguments)
  if len(results) != 1:
    raise UserError(f"ONNX export: {len(results)} results, expected 1.")
  shape = closed.out_avals[0].shape
  last = graph.full(results[0], shape)
  graph.nodes.append(
    helper.make_node("Identity", [graph.name_of(last)], [output])
  )

  def described(name: str, shape: Shape) -> Any:
    sizes = [n if isinstance(n, int) else str(n) for n in shape]
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, sizes)

  made = helper.make_graph(
    graph.nodes,
    "chibijax",
    [described(*item) for item in shapes.items()],
    [described(output, shape)],
    [numpy_helper.from_array(a, n) for n, a in graph.constants.items()],
  )
  model = helper.make_model(
    made,
    opset_imports=[helper.make_opsetid("", OPSET)],
    ir_version=IR_VERSION,
    producer_name="chibijax",
  )
  helper.set_model_props(model, dict(metadata or {}))
  onnx.checker.check_model(model)
  return model.SerializeToString()


def walk(
  graph: Graph, jaxpr: Any, consts: Sequence[Value], arguments: Sequence[Value]
) -> list[Value]:
  """Adds a jaxpr's equations to the graph.

  Args:
    graph: grows.
    jaxpr: the equations.
    consts: values of its constants.
    arguments: values of its inputs.

  Returns:
    Values of its results.

  Raises:
    UserError: for a primitive without an ONNX form.
  """
  known = dict(zip(jaxpr.constvars, consts))
  known.update(zip(jaxpr.invars, arguments))

  def look_up(atom: Any) -> Value:
    if isinstance(atom, jax_core.Literal):
      return graph.constant(np.asarray(atom.val, atom.aval.dtype))
    if is_empty(atom.aval.shape):
      return graph.constant(np.zeros(0, atom.aval.dtype))
    return known[atom]

  for equation in _needed(jaxpr):
    values = [look_up(atom) for atom in equation.invars]
    known.update(zip(equation.outvars, _apply(graph, equation, values)))
  return [look_up(atom) for atom in jaxpr.outvars]


def _needed(jaxpr: Any) -> list[Any]:
  """The equations that a result depends on, in order.

  Padding by nothing is traced too, as slices of no length.
  """
  live = {id(atom) for atom in jaxpr.outvars}
  needed = []
  for equation in reversed(jaxpr.eqns):
    wanted = [v for v in equation.outvars if id(v) in live]
    if not wanted or all(is_empty(v.aval.shape) for v in wanted):
      continue
    needed.append(equation)
    live |= {
      id(atom)
      for atom in equation.invars
      if not isinstance(atom, jax_core.Literal)
    }
  return needed[::-1]


def _apply(graph: Graph, equation: Any, values: list[Value]) -> list[Value]:
  from chibijax.apps import onnx_operators

  name, params = equation.primitive.name, equation.params
  if name in _CALLERS:
    inner = next(params[key] for key in _CALLS if key in params)
    return _call(graph, inner, values)
  if name == "dim_as_value":
    dtype = equation.outvars[0].aval.dtype
    return [graph.length(params["dim"], dtype)]
  if name == "platform_index":
    # The last choice is the definition, which every platform can run.
    return [graph.constant(np.int32(len(params["platforms"]) - 1))]
  if name == "cond":
    if values[0].array is None:
      raise UserError("ONNX export: the network branches on its input.")
    branches = params["branches"]
    index = min(max(int(values[0].array), 0), len(branches) - 1)
    return _call(graph, branches[index], values[1:])
  if name == "broadcast_in_dim":
    return [onnx_operators.broadcast(graph, equation, values)]
  whole = all(is_concrete(v.aval.shape) for v in equation.outvars)
  if whole and all(value.array is not None for value in values):
    return _compute(graph, equation, values)
  operator = onnx_operators.OPERATORS.get(name)
  if operator is None:
    raise UserError(
      f"ONNX export: the network uses the primitive {name!r}, which has no "
      "ONNX form here."
    )
  made = operator(graph, equation, values)
  return made if isinstance(made, list) else [made]


def _call(graph: Graph, inner: Any, values: list[Value]) -> list[Value]:
  """Adds a called jaxpr, which may be closed over constants."""
  consts = [graph.constant(np.asarray(c)) for c in getattr(inner, "consts", ())]
  return walk(graph, getattr(inner, "jaxpr", inner), consts, values)


def _compute(graph: Graph, equation: Any, values: list[Value]) -> list[Value]:
  """Computes what depends on constants alone."""
  arrays = [
    np.broadcast_to(value.array, atom.aval.shape)
    for value, atom in zip(values, equation.invars)
  ]
  found = equation.primitive.bind(*arrays, **equation.params)
  many = equation.primitive.multiple_results
  return [graph.constant(np.asarray(x)) for x in (found if many else [found])]
