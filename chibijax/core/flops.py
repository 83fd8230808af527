"""The arithmetic of a function, counted from what JAX traced of it.

Only matrix products and convolutions are counted, 2 for each multiplication
with its addition, as the field counts a model's FLOPs. A compiler's own count
depends on the platform, leaves out native kernels and counts a loop once.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax.extend import core


def count(function: Callable[..., Any], *args: Any) -> int:
  """Counts the floating-point operations of one call.

  Args:
    function: any that JAX can trace. A rematerialised part counts each time it
      is computed.
    *args: its arguments, concrete or abstract.

  Returns:
    The number of operations.
  """
  return _program(jax.make_jaxpr(function)(*args).jaxpr)


def _program(program: core.Jaxpr) -> int:
  return sum(_equation(equation) for equation in program.eqns)


def _equation(equation: core.JaxprEqn) -> int:
  name, params = equation.primitive.name, equation.params
  if name == "dot_general":
    (left, _), _ = params["dimension_numbers"]
    shape = equation.invars[0].aval.shape
    depth = math.prod(shape[i] for i in left)
    return 2 * math.prod(equation.outvars[0].aval.shape) * depth
  if name == "conv_general_dilated":
    return _convolution(equation)
  inner = [_program(part) for part in _programs(params)]
  if name == "cond":
    # The branches of a platform choice do the same; a native kernel shows no
    # arithmetic.
    return max(inner, default=0)
  return sum(inner) * params.get("length", 1) if name == "scan" else sum(inner)


def _convolution(equation: core.JaxprEqn) -> int:
  params = equation.params
  numbers = params["dimension_numbers"]
  filters = equation.invars[1].aval.shape
  # [out, in, *window]; of the inputs only those of one group.
  depth = math.prod(filters[i] for i in numbers.rhs_spec[1:])
  full = math.prod(equation.outvars[0].aval.shape) * depth
  # Zeros that dilation puts between the inputs are not multiplied by anybody.
  # (Those of a dilated window are not in `filters` at all.)
  full //= math.prod(params["lhs_dilation"])
  return 2 * full // params["batch_group_count"]


def _programs(params: dict[str, Any]) -> Iterator[core.Jaxpr]:
  """The programs inside an equation's parameters."""
  for value in params.values():
    for part in value if isinstance(value, tuple | list) else (value,):
      if isinstance(part, core.ClosedJaxpr):
        yield part.jaxpr
      elif isinstance(part, core.Jaxpr):
        yield part
