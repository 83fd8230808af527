"""Layers against PyTorch, forward and backward.

Tolerance 1e-5 of each array's largest value: float32 rounding in sums of at
most a few thousand terms, in another order than PyTorch's.
"""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from chibijax.models.layers import Conv, ConvNorm, leaky_relu
from chibijax.ops import convolution, normalization

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "cyclegan_layers.npz"
CONVOLUTIONS = {
  "conv_stride": dict(stride=2, padding=1),
  "conv_patch": dict(stride=1, padding=1),
  "conv_reflect": dict(padding=3, reflect=True),
}


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
  with np.load(GOLDEN) as file:
    return dict(file)


def _assert_close(ours, theirs, rtol=1e-5) -> None:
  np.testing.assert_allclose(
    ours, theirs, rtol=0, atol=rtol * np.abs(theirs).max()
  )


@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_conv_against_torch(case: str, golden: dict) -> None:
  def get(name: str) -> jax.Array:
    return jnp.asarray(golden[f"{case}/{name}"])

  kernel = get("kernel")
  layer = Conv(kernel.shape[-1], kernel.shape[0], **CONVOLUTIONS[case])
  params = {"kernel": kernel, "bias": get("bias")}
  y, pullback = jax.vjp(
    lambda p, x: layer.apply({"params": p}, x), params, get("x")
  )
  _assert_close(y, get("y"))
  grads, dx = pullback(get("dy"))
  _assert_close(dx, get("dx"))
  _assert_close(grads["kernel"], get("dkernel"))
  _assert_close(grads["bias"], get("dbias"))


def test_conv_transpose_against_torch(golden: dict) -> None:
  def get(name: str) -> jax.Array:
    return jnp.asarray(golden[f"conv_transpose/{name}"])

  # The layer leaves the inert bias out, so the golden's is taken off.
  y, pullback = jax.vjp(convolution.conv_transpose, get("x"), get("kernel"))
  _assert_close(y, get("y") - get("bias").reshape(1, 1, 1, -1))
  dx, dkernel = pullback(get("dy"))
  _assert_close(dx, get("dx"))
  _assert_close(dkernel, get("dkernel"))


def test_instance_norm_against_torch(golden: dict) -> None:
  def get(name: str) -> jax.Array:
    return jnp.asarray(golden[f"instance_norm/{name}"])

  y, pullback = jax.vjp(normalization.instance_norm, get("x"))
  _assert_close(y, get("y"))
  _assert_close(pullback(get("dy"))[0], get("dx"))


@pytest.mark.parametrize("transpose", [False, True])
def test_bias_before_a_norm_is_inert(transpose: bool) -> None:
  layer = ConvNorm(4, 3, padding=1, transpose=transpose)
  x = jax.random.normal(jax.random.key(0), (2, 8, 8, 3))
  params = layer.init(jax.random.key(1), x)["params"]
  shifted = {**params, "bias": params["bias"] + 3.0}
  y = layer.apply({"params": params}, x)
  assert np.array_equal(y, layer.apply({"params": shifted}, x))
  # And the mathematics agrees: adding it before the norm changes nothing.
  conv = convolution.conv_transpose if transpose else convolution.conv
  maps = conv(x, params["kernel"], **({} if transpose else {"padding": 1}))
  # By no more than their deviation, which would cost the variance its digits.
  _assert_close(jax.nn.relu(normalization.instance_norm(maps + 0.1)), y)


def test_initial_kernels_and_biases() -> None:
  x = jnp.zeros((1, 8, 8, 16))
  for layer in (Conv(64, 3, padding=1), ConvNorm(64, 3, padding=1)):
    params = layer.init(jax.random.key(0), x)["params"]
    # 9216 draws: the deviation's standard error is 0.7 %.
    assert float(params["kernel"].std()) == pytest.approx(0.02, rel=0.03)
    assert abs(float(params["kernel"].mean())) < 1e-3
    assert not params["bias"].any()


def test_layer_gradients() -> None:
  x = jax.random.normal(jax.random.key(0), (1, 6, 6, 2))
  layer = ConvNorm(3, 3, stride=2, padding=1, activation=jnp.tanh)
  params = layer.init(jax.random.key(1), x)["params"]
  kernel = 10 * params["kernel"]

  def loss(kernel, x):
    y = layer.apply(
      {"params": {**params, "kernel": jnp.asarray(kernel)}}, jnp.asarray(x)
    )
    return (y**2).mean()

  # float32 differences: about three digits.
  check_grads(loss, (kernel, x), 1, ["rev"], atol=1e-2, rtol=1e-2, eps=1e-2)


def test_bfloat16_compute_keeps_float32_parameters() -> None:
  x = jax.random.normal(jax.random.key(0), (2, 8, 8, 3))
  layer = ConvNorm(4, 3, padding=1, dtype=jnp.bfloat16)
  params = layer.init(jax.random.key(1), x)["params"]
  assert params["kernel"].dtype == jnp.float32
  y = layer.apply({"params": params}, x)
  assert y.dtype == jnp.bfloat16
  exact = ConvNorm(4, 3, padding=1).apply({"params": params}, x)
  # bfloat16 keeps 8 bits; normalised maps reach 3 in size.
  np.testing.assert_allclose(y.astype(jnp.float32), exact, atol=0.06)


def test_leaky_relu() -> None:
  assert np.allclose(leaky_relu(jnp.array([-1.0, 2.0])), [-0.2, 2.0])
