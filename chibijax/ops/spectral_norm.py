"""Spectral normalisation of kernels, as a function of parameters and vectors.

Miyato et al. 2018: a kernel is divided by its largest singular value, which
one power iteration at a time finds. The vectors that the iterations go on from
are a task's state (`TrainState.extra`): a tree of the parameters' structure
that has leaves, one vector each, where a kernel is to be normalised.
"""

import itertools
from collections.abc import Mapping
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray

Tree: TypeAlias = Mapping[str, Any]


def spectral_norm(
  kernel: Float[Array, "*shape o"], vector: Float[Array, " o"]
) -> tuple[Float[Array, "*shape o"], Float[Array, " o"]]:
  """Divides a kernel by its largest singular value, estimated once more.

  Algorithm 1 of Miyato et al. 2018, one power iteration from `vector`; no
  gradient passes through the singular vectors. PyTorch's `spectral_norm` in
  training mode gives the same numbers.

  Args:
    kernel: HWIO or [I, O]; one output channel is one row of the matrix.
    vector: the left singular vector so far, of length 1.

  Returns:
    The kernel of spectral norm about 1, and the next vector.
  """
  matrix = kernel.reshape(-1, kernel.shape[-1])
  fixed = lax.stop_gradient(matrix)
  right = _unit(jnp.dot(fixed, vector, precision="highest"))
  vector = _unit(jnp.dot(right, fixed, precision="highest"))
  largest = jnp.dot(
    jnp.dot(right, matrix, precision="highest"), vector, precision="highest"
  )
  return kernel / largest, vector


def start(
  key: PRNGKeyArray, params: Tree, plain: tuple[str, ...] = ()
) -> dict[str, Any]:
  """Draws the vectors of all kernels of a network.

  Args:
    key: typed PRNG key.
    params: the network's parameters, a tree of dicts.
    plain: names of layers (at any depth) that are left as they are.

  Returns:
    A vector of length 1 for each parameter of two axes or more.
  """
  sizes = _sizes(params, plain)
  lengths, structure = jax.tree.flatten(sizes)
  # One draw for all: each costs XLA a part of a second to compile.
  drawn = jax.random.normal(key, (sum(lengths),))
  ends = itertools.accumulate(lengths)
  parts = [_unit(drawn[end - n : end]) for n, end in zip(lengths, ends)]
  return jax.tree.unflatten(structure, parts)


def _sizes(params: Tree, plain: tuple[str, ...]) -> dict[str, Any]:
  """The number of outputs of each kernel, in a tree like the parameters'."""
  found: dict[str, Any] = {}
  for name, value in params.items():
    if name in plain:
      continue
    if isinstance(value, Mapping):
      below = _sizes(value, plain)
      if below:
        found[name] = below
    elif value.ndim > 1:
      found[name] = value.shape[-1]
  return found


def normalized(params: Tree, vectors: Tree) -> tuple[Tree, Tree]:
  """Normalises the kernels that have a vector, by one iteration each.

  Args:
    params: a network's parameters, or several networks' by name.
    vectors: what `start` or the last call gave.

  Returns:
    The parameters to apply the network with, and the next vectors.
  """
  results, following = dict(params), {}
  for name, vector in vectors.items():
    step = normalized if isinstance(vector, Mapping) else spectral_norm
    results[name], following[name] = step(params[name], vector)
  return results, following


def _unit(x: Float[Array, " n"]) -> Float[Array, " n"]:
  # The floor is PyTorch's.
  return x / jnp.maximum(jnp.linalg.norm(x), 1e-12)
