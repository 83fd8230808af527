"""Arithmetic counted by hand against what is counted from a trace."""

import jax
import jax.numpy as jnp
import pytest

from chibijax.core import flops
from chibijax.ops import convolution

X = jax.ShapeDtypeStruct((2, 16, 16, 4), jnp.float32)
K = jax.ShapeDtypeStruct((3, 3, 4, 8), jnp.float32)
# Batch, places, window, channels in and out; 2 for product and sum.
CONV = 2 * (2 * 16 * 16) * 9 * 4 * 8


def conv(x, k, stride=1):
  return convolution.conv(x, k, stride=stride, padding=1).sum()


def test_products_of_matrices():
  a, b = jnp.zeros((5, 3, 4)), jnp.zeros((5, 4, 7))
  assert flops.count(jnp.matmul, a, b) == 5 * 2 * 3 * 4 * 7
  assert flops.count(jnp.tanh, a) == 0


def test_a_convolution_counts_once_whatever_platform_it_is_chosen_for():
  assert flops.count(conv, X, K) == CONV
  assert flops.count(lambda x, k: conv(x, k, 2), X, K) == CONV // 4


@pytest.mark.parametrize("stride", [1, 2])
def test_a_gradient_costs_as_much_for_each_operand(stride):
  gradient = jax.grad(lambda x, k: conv(x, k, stride), (0, 1))
  # The forward pass and two more; none multiplies a stride's zeros.
  assert flops.count(gradient, X, K) == 3 * CONV // stride**2


def test_groups_multiply_only_their_own_channels():
  def grouped(x, k):
    return jax.lax.conv_general_dilated(
      x, k, (1, 1), "SAME", feature_group_count=4,
      dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )  # fmt: skip

  kernel = jax.ShapeDtypeStruct((3, 3, 1, 8), jnp.float32)
  assert flops.count(grouped, X, kernel) == CONV // 4


def test_loops_count_each_round_and_branches_the_dearest():
  a = jnp.zeros((3, 3))
  once = 2 * 27

  def loop(x):
    return jax.lax.scan(lambda c, _: (c @ c, None), x, length=5)[0]

  assert flops.count(loop, a) == 5 * once
  assert flops.count(jax.jit(loop), a) == 5 * once

  def either(x):
    return jax.lax.cond(x[0, 0] > 0, lambda x: x @ x @ x, lambda x: x @ x, x)

  assert flops.count(either, a) == 2 * once


def test_what_is_made_again_counts_again():
  a = jnp.zeros((4, 4))

  def loss(x):
    return jnp.sum(jnp.tanh(x @ x) ** 2)

  plain = flops.count(jax.grad(loss), a)
  again = flops.count(jax.grad(jax.checkpoint(loss)), a)
  assert plain == 3 * 128 and again == 4 * 128
