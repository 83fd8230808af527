"""What each JAX primitive is in ONNX (operator set 18).

A function takes the graph, the jaxpr's equation and its inputs as values, and
returns the result. Element by element, axes stored as 1 stay so, since ONNX
repeats them by itself; everything else gets whole arrays. Pictures stay NHWC:
convolutions stand between two transpositions, most of which runtimes cancel.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from chibijax.apps.onnx_graph import Graph, Shape, Value, is_empty
from chibijax.errors import UserError

Operator = Callable[[Graph, Any, list[Value]], Value]


def broadcast(graph: Graph, equation: Any, values: list[Value]) -> Value:
  """Puts axes in their places; what is new stays of length 1."""
  (value, *_) = values
  shape = equation.params["shape"]
  sizes: list[Any] = [1] * len(shape)
  for axis, size in zip(
    equation.params["broadcast_dimensions"], value.shape, strict=True
  ):
    sizes[axis] = size
  if tuple(sizes) == value.shape:
    return value
  return graph.reshape(value, tuple(sizes))


def _wholes(graph: Graph, equation: Any, values: list[Value]) -> list[Value]:
  return [
    graph.full(value, atom.aval.shape)
    for value, atom in zip(values, equation.invars)
  ]


def _stored(values: Sequence[Value]) -> Shape:
  """The shape that ONNX gives an elementwise result."""
  rank = max(len(value.shape) for value in values)
  shape: list[Any] = [1] * rank
  for value in values:
    for axis, size in enumerate(reversed(value.shape)):
      if not (isinstance(size, int) and size == 1):
        shape[rank - 1 - axis] = size
  return tuple(shape)


def _elementwise(name: str) -> Operator:
  def operator(graph: Graph, equation: Any, values: list[Value]) -> Value:
    return graph.add(name, values, _stored(values))

  return operator


def _then(first: str, second: str) -> Operator:
  """One elementwise operator after another."""

  def operator(graph: Graph, equation: Any, values: list[Value]) -> Value:
    value = _elementwise(first)(graph, equation, values)
    return graph.add(second, [value], value.shape)

  return operator


def _same(graph: Graph, equation: Any, values: list[Value]) -> Value:
  return values[0]


def _square(graph: Graph, equation: Any, values: list[Value]) -> Value:
  return graph.add("Mul", [values[0]] * 2, values[0].shape)


def _integer_pow(graph: Graph, equation: Any, values: list[Value]) -> Value:
  (value,) = values
  power = equation.params["y"]
  if power == 2:
    return _square(graph, equation, values)
  dtype = equation.invars[0].aval.dtype
  return graph.add(
    "Pow", [value, graph.constant(np.asarray(power, dtype))], value.shape
  )


def _log1p(graph: Graph, equation: Any, values: list[Value]) -> Value:
  one = graph.constant(np.ones((), equation.invars[0].aval.dtype))
  more = graph.add("Add", [values[0], one], values[0].shape)
  return graph.add("Log", [more], more.shape)


def _round(graph: Graph, equation: Any, values: list[Value]) -> Value:
  if int(equation.params["rounding_method"]) != 1:
    raise UserError("ONNX export: rounding is to even only.")
  return graph.add("Round", values, values[0].shape)


def _cast(graph: Graph, equation: Any, values: list[Value]) -> Value:
  from onnx import helper

  dtype = np.dtype(equation.params["new_dtype"])
  if dtype == equation.invars[0].aval.dtype:
    return values[0]
  kind = helper.np_dtype_to_tensor_dtype(dtype)
  return graph.add("Cast", values, values[0].shape, to=kind)


def _select(graph: Graph, equation: Any, values: list[Value]) -> Value:
  which, *cases = values
  if len(cases) != 2 or equation.invars[0].aval.dtype != bool:
    raise UserError("ONNX export: a choice between more than two values.")
  return graph.add("Where", [which, cases[1], cases[0]], _stored(values))


def _clamp(graph: Graph, equation: Any, values: list[Value]) -> Value:
  low, value, high = values
  above = graph.add("Max", [value, low], _stored([value, low]))
  return graph.add("Min", [above, high], _stored([above, high]))


def _reduce(name: str) -> Operator:
  def operator(graph: Graph, equation: Any, values: list[Value]) -> Value:
    (value,) = _wholes(graph, equation, values)
    axes = graph.integers(equation.params["axes"])
    shape = equation.outvars[0].aval.shape
    return graph.add(name, [value, axes], shape, keepdims=0)

  return operator


def _reshape(graph: Graph, equation: Any, values: list[Value]) -> Value:
  (value,) = _wholes(graph, equation, values[:1])
  return graph.reshape(value, equation.outvars[0].aval.shape)


def _transpose(graph: Graph, equation: Any, values: list[Value]) -> Value:
  return graph.transpose(values[0], equation.params["permutation"])


def _cut(
  graph: Graph,
  value: Value,
  shape: Shape,
  bounds: dict[int, tuple[int, int, int]],
) -> Value:
  """Takes start, stop and step of some axes."""
  if not bounds:
    return value
  starts, stops, steps = zip(*bounds.values())
  lists = [starts, stops, tuple(bounds), steps]
  return graph.add("Slice", [value, *map(graph.integers, lists)], shape)


def _slice(graph: Graph, equation: Any, values: list[Value]) -> Value:
  (value,) = _wholes(graph, equation, values)
  params = equation.params
  steps = params["strides"] or (1,) * len(value.shape)
  limits = params["limit_indices"]
  bounds = {}
  for axis, start in enumerate(params["start_indices"]):
    if (start, limits[axis], steps[axis]) != (0, value.shape[axis], 1):
      bounds[axis] = (start, limits[axis], steps[axis])
  return _cut(graph, value, equation.outvars[0].aval.shape, bounds)


def _dynamic_slice(graph: Graph, equation: Any, values: list[Value]) -> Value:
  shape = equation.outvars[0].aval.shape
  value = graph.full(values[0], equation.invars[0].aval.shape)
  bounds = {}
  for axis, start in enumerate(values[1:]):
    if shape[axis] == value.shape[axis]:
      continue
    if start.array is None:
      raise UserError("ONNX export: where a slice begins depends on the input.")
    first = min(max(int(start.array), 0), value.shape[axis] - shape[axis])
    bounds[axis] = (first, first + shape[axis], 1)
  return _cut(graph, value, shape, bounds)


def _reverse(graph: Graph, equation: Any, values: list[Value]) -> Value:
  (value,) = _wholes(graph, equation, values)
  # From the last to one before the first, which no number of an axis is.
  bounds = {a: (-1, -(2**31), -1) for a in equation.params["dimensions"]}
  return _cut(graph, value, value.shape, bounds)


def _split(graph: Graph, equation: Any, values: list[Value]) -> list[Value]:
  (value,) = _wholes(graph, equation, values)
  axis, start, parts = equation.params["axis"], 0, []
  for size, out in zip(map(int, equation.params["sizes"]), equation.outvars):
    bounds = {axis: (start, start + size, 1)}
    parts.append(_cut(graph, value, out.aval.shape, bounds))
    start += size
  return parts


def _concatenate(graph: Graph, equation: Any, values: list[Value]) -> Value:
  wholes = [
    graph.full(value, atom.aval.shape)
    for value, atom in zip(values, equation.invars)
    if not is_empty(atom.aval.shape)
  ]
  shape = equation.outvars[0].aval.shape
  axis = equation.params["dimension"]
  if len(wholes) == 1:
    return wholes[0]
  return graph.add("Concat", wholes, shape, axis=axis)


def _stack(graph: Graph, equation: Any, values: list[Value]) -> Value:
  """Joins along a new axis."""
  shape, axis = equation.outvars[0].aval.shape, equation.params["axis"]
  one = (*shape[:axis], 1, *shape[axis + 1 :])
  parts = [graph.reshape(x, one) for x in _wholes(graph, equation, values)]
  return graph.add("Concat", parts, shape, axis=axis)


def _pad(graph: Graph, equation: Any, values: list[Value]) -> Value:
  value = graph.full(values[0], equation.invars[0].aval.shape)
  config = equation.params["padding_config"]
  if any(inner for _, _, inner in config):
    raise UserError("ONNX export: padding between pixels.")
  # Negative numbers crop, in ONNX too.
  pads = graph.integers([p[0] for p in config] + [p[1] for p in config])
  shape = equation.outvars[0].aval.shape
  return graph.add("Pad", [value, pads, values[1]], shape, mode="constant")


def _dot(graph: Graph, equation: Any, values: list[Value]) -> Value:
  left, right = _wholes(graph, equation, values)
  (sum_l, sum_r), (batch_l, batch_r) = equation.params["dimension_numbers"]
  letters = iter("abcdefghijklmnopqrstuvwxyz")
  a = [next(letters) for _ in left.shape]
  b = [next(letters) for _ in right.shape]
  for i, j in zip((*sum_l, *batch_l), (*sum_r, *batch_r)):
    b[j] = a[i]
  kept = [a[i] for i in batch_l]
  kept += [a[i] for i in range(len(a)) if i not in (*sum_l, *batch_l)]
  kept += [b[j] for j in range(len(b)) if j not in (*sum_r, *batch_r)]
  formula = f"{''.join(a)},{''.join(b)}->{''.join(kept)}"
  shape = equation.outvars[0].aval.shape
  return graph.add("Einsum", [left, right], shape, equation=formula)


def _gather(graph: Graph, equation: Any, values: list[Value]) -> Value:
  """Taking one block, or whole slices along one axis as `jnp.take` does."""
  value, where = _wholes(graph, equation, values)
  if where.array is not None and where.array.ndim == 1:
    return _block(graph, equation, value, where.array)
  params, shape = equation.params, equation.outvars[0].aval.shape
  numbers, sizes = params["dimension_numbers"], params["slice_sizes"]
  axes = numbers.start_index_map
  axis = axes[0] if len(axes) == 1 else 0
  whole = tuple(1 if i == axis else n for i, n in enumerate(value.shape))
  extra = len(where.shape) - 1
  free = [i for i in range(len(shape)) if i not in numbers.offset_dims]
  if (
    len(axes) != 1
    or tuple(numbers.collapsed_slice_dims) != (axis,)
    or tuple(sizes) != whole
    or free != list(range(axis, axis + extra))
    or getattr(numbers, "operand_batching_dims", ())
  ):
    raise UserError("ONNX export: a gather other than along one axis.")
  index = graph.reshape(where, where.shape[:-1])
  return graph.add("Gather", [value, index], shape, axis=axis)


def _block(
  graph: Graph, equation: Any, value: Value, starts: np.ndarray
) -> Value:
  """A gather of one block whose place is known."""
  axes = equation.params["dimension_numbers"].start_index_map
  sizes = equation.params["slice_sizes"]
  shape, bounds = list(value.shape), {}
  for axis, start in zip(axes, starts.tolist()):
    if not isinstance(sizes[axis], int):
      continue  # All of it.
    bounds[axis] = (start, start + sizes[axis], 1)
    shape[axis] = sizes[axis]
  if tuple(shape) != tuple(sizes):
    raise UserError("ONNX export: a gather of part of an axis.")
  cut = _cut(graph, value, tuple(shape), bounds)
  return graph.reshape(cut, equation.outvars[0].aval.shape)


def _conv(graph: Graph, equation: Any, values: list[Value]) -> Value:
  """A convolution, or, where the picture is dilated, a transposed one."""
  params = equation.params
  if params["batch_group_count"] != 1:
    raise UserError("ONNX export: a convolution in groups of the batch.")
  x, kernel = _wholes(graph, equation, values)
  numbers = params["dimension_numbers"]
  x = graph.transpose(x, numbers.lhs_spec)
  kernel = graph.transpose(kernel, numbers.rhs_spec)  # O, I, H, W
  shape = equation.outvars[0].aval.shape
  made = tuple(shape[i] for i in numbers.out_spec)
  attributes = {
    "group": params["feature_group_count"],
    "dilations": list(params["rhs_dilation"]),
  }
  if all(n == 1 for n in params["lhs_dilation"]):
    begins, ends = zip(*params["padding"])
    if min(*begins, *ends) < 0:
      raise UserError("ONNX export: a convolution that crops.")
    attributes |= strides_and_pads(params["window_strides"], begins, ends)
    y = graph.add("Conv", [x, kernel], made, **attributes)
  else:
    y = _conv_transpose(graph, params, x, kernel, made, attributes)
  return graph.transpose(y, np.argsort(numbers.out_spec).tolist())


def strides_and_pads(
  strides: Sequence[int], begins: Sequence[int], ends: Sequence[int]
) -> dict[str, list[int]]:
  """The attributes of a convolution's geometry."""
  return {"strides": list(strides), "pads": [*begins, *ends]}


def _conv_transpose(
  graph: Graph,
  params: dict[str, Any],
  x: Value,
  kernel: Value,
  made: Shape,
  attributes: dict[str, Any],
) -> Value:
  """The gradient form: what was spread by zeros, then convolved."""
  if params["feature_group_count"] != 1 or kernel.array is None:
    raise UserError("ONNX export: a transposed convolution in groups.")
  if any(n != 1 for n in params["window_strides"]):
    raise UserError("ONNX export: a convolution with both kinds of strides.")
  reach = [
    d * (k - 1) for d, k in zip(params["rhs_dilation"], kernel.shape[2:])
  ]
  begins = [r - low for r, (low, _) in zip(reach, params["padding"])]
  ends = [r - high for r, (_, high) in zip(reach, params["padding"])]
  if min(begins) < 0:
    raise UserError("ONNX export: a transposed convolution with more padding.")
  # Beyond its reach the result goes on, by less than a stride.
  beyond = [max(0, -end) for end in ends]
  attributes = attributes | {"output_padding": beyond}
  attributes |= strides_and_pads(
    params["lhs_dilation"], begins, [max(0, end) for end in ends]
  )
  flipped = kernel.array[:, :, ::-1, ::-1].swapaxes(0, 1)
  return graph.add(
    "ConvTranspose", [x, graph.constant(flipped)], made, **attributes
  )


OPERATORS: dict[str, Operator] = {
  **{
    name: _elementwise(operator)
    for name, operator in {
      **{"add": "Add", "add_any": "Add", "sub": "Sub", "mul": "Mul"},
      **{"div": "Div", "max": "Max", "min": "Min", "pow": "Pow"},
      **{"neg": "Neg", "abs": "Abs", "sqrt": "Sqrt", "exp": "Exp"},
      **{"log": "Log", "tanh": "Tanh", "logistic": "Sigmoid", "erf": "Erf"},
      **{"sign": "Sign", "floor": "Floor", "ceil": "Ceil", "sin": "Sin"},
      **{"cos": "Cos", "not": "Not", "and": "And", "or": "Or"},
      **{"eq": "Equal", "lt": "Less", "le": "LessOrEqual"},
      **{"gt": "Greater", "ge": "GreaterOrEqual"},
    }.items()
  },
  "ne": _then("Equal", "Not"),
  "rsqrt": _then("Sqrt", "Reciprocal"),
  "square": _square,
  "integer_pow": _integer_pow,
  "log1p": _log1p,
  "round": _round,
  "convert_element_type": _cast,
  "select_n": _select,
  "clamp": _clamp,
  **dict.fromkeys(("copy", "copy_p", "stop_gradient", "optimization_barrier",
                   "sharding_constraint"), _same),
  **{
    f"reduce_{name}": _reduce(operator)
    for name, operator in {
      **{"sum": "ReduceSum", "max": "ReduceMax", "min": "ReduceMin"},
      **{"prod": "ReduceProd"},
    }.items()
  },
  "reshape": _reshape,
  "squeeze": _reshape,
  "expand_dims": _reshape,
  "transpose": _transpose,
  "slice": _slice,
  "dynamic_slice": _dynamic_slice,
  "rev": _reverse,
  "split": _split,
  "concatenate": _concatenate,
  "stack": _stack,
  "pad": _pad,
  "dot_general": _dot,
  "gather": _gather,
  "conv_general_dilated": _conv,
}  # fmt: skip
