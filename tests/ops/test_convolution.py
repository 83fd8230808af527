"""Convolutions against float64 NumPy, by every path that computes them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from jax.test_util import check_grads

from chibijax.ops import convolution, convolution_ffi
from chibijax.ops.convolution import conv, conv_transpose

# Rounding of float32 sums of up to 600 products, relative to the largest
# result; Winograd's transforms multiply it by about 6.
TOLERANCE = 5e-6

# height, width, kernel, stride, padding, reflect, inputs, outputs
CASES = [
  (9, 7, 3, 1, 1, False, 17, 33),
  (9, 7, 3, 1, 1, True, 16, 16),
  (8, 12, 3, 1, 1, True, 40, 16),
  (13, 6, 3, 1, 0, False, 16, 20),
  (4, 4, 3, 1, 3, True, 16, 17),
  (5, 5, 3, 1, 2, False, 33, 16),
  (3, 3, 3, 1, 0, False, 16, 16),
  (10, 9, 3, 1, 1, False, 3, 5),
  (11, 8, 7, 1, 3, True, 3, 18),
  (11, 8, 7, 1, 3, True, 18, 3),
  (8, 11, 7, 1, 0, False, 9, 1),
  (9, 10, 4, 1, 1, False, 20, 1),
  (9, 10, 4, 1, 2, False, 1, 1),
  (9, 10, 4, 2, 1, False, 3, 16),
  (9, 11, 4, 2, 1, False, 17, 9),
  (8, 8, 3, 2, 1, False, 16, 40),
  (9, 9, 3, 2, 1, False, 12, 3),
  (10, 7, 3, 3, 2, True, 5, 8),
  (7, 6, 2, 3, 0, False, 9, 8),
  (6, 7, 1, 1, 0, False, 21, 19),
  (6, 7, 1, 2, 0, False, 8, 2),
]


def _random(*shape, seed=0):
  rng = np.random.default_rng([seed, *shape])
  return jnp.asarray(rng.standard_normal(shape), jnp.float32)


def _reference(x, kernel, stride, padding, reflect, g=None):
  """The definition in float64, and its gradients if `g` is given."""
  x, kernel = np.float64(x), np.float64(kernel)
  p = padding
  pads = ((0, 0), (p, p), (p, p), (0, 0))
  padded = np.pad(x, pads, mode="reflect" if reflect else "constant")
  size = kernel.shape[:2]
  windows = np.lib.stride_tricks.sliding_window_view(padded, size, (1, 2))
  windows = windows[:, ::stride, ::stride]
  y = np.einsum("bhwcij,ijco->bhwo", windows, kernel)
  if g is None:
    return y
  g = np.float64(g)
  dkernel = np.einsum("bhwcij,bhwo->ijco", windows, g)
  # Where each padded pixel came from tells where its gradient goes.
  spread = np.zeros_like(padded)
  for i in range(size[0]):
    for j in range(size[1]):
      rows = slice(i, i + stride * g.shape[1], stride)
      columns = slice(j, j + stride * g.shape[2], stride)
      spread[:, rows, columns] += np.einsum("bhwo,co->bhwc", g, kernel[i, j])
  source = np.arange(x.size).reshape(x.shape)
  source = np.pad(source + 1, pads, mode="reflect" if reflect else "constant")
  dx = np.bincount(source.ravel(), spread.ravel(), x.size + 1)[1:]
  return y, dx.reshape(x.shape), dkernel


def _assert_close(actual, expected, tolerance=TOLERANCE):
  assert actual.shape == expected.shape
  error = np.abs(np.float64(actual) - expected).max()
  assert error <= tolerance * np.abs(expected).max(), error


@pytest.fixture(params=["native", "rewrites"])
def path(request, monkeypatch):
  """Chooses what computes float32 convolutions on the CPU."""
  if request.param == "rewrites":
    monkeypatch.setenv("CHIBIJAX_NATIVE", "0")
  elif not convolution_ffi.available():
    pytest.skip("the native library is not built (python setup.py build_ext)")
  return request.param


def _gradients(function, *args):
  """Value and gradients for a fixed random cotangent, compiled once."""

  def both(*args):
    y, pullback = jax.vjp(function, *args)
    return y, *pullback(jnp.asarray(_random(*y.shape, seed=1)))

  return jax.jit(both)(*args)


@pytest.mark.parametrize("case", CASES)
def test_value_and_gradients(case, path):
  h, w, k, stride, padding, reflect, i, o = case
  x, kernel = _random(2, h, w, i), _random(k, k, i, o)
  options = dict(stride=stride, padding=padding, reflect=reflect)
  actual = _gradients(functools.partial(conv, **options), x, kernel)
  expected = _reference(
    x, kernel, stride, padding, reflect, _random(*actual[0].shape, seed=1)
  )
  for a, e in zip(actual, expected, strict=True):
    _assert_close(a, e)


@pytest.mark.parametrize("case", CASES[::4])
def test_definition_for_other_platforms(case):
  h, w, k, stride, padding, reflect, i, o = case
  x, kernel = _random(2, h, w, i), _random(k, k, i, o)
  geometry = convolution._Geometry((h, w), stride, padding, reflect)
  y = convolution._forward_lax(x, kernel, geometry)
  g = _random(*y.shape, seed=1)
  dx = convolution._input_grad_lax(g, kernel, geometry)
  dkernel = convolution._weight_grad_lax(x, g, geometry, (k, k))
  expected = _reference(x, kernel, stride, padding, reflect, g)
  for a, e in zip((y, dx, dkernel), expected, strict=True):
    _assert_close(a, e)


def test_pictures_larger_than_one_pass(path):
  # Winograd works on 256 tiles at a time; here are 2 x 13 x 13.
  x, kernel = _random(2, 50, 50, 16), _random(3, 3, 16, 16)
  actual = _gradients(functools.partial(conv, padding=1), x, kernel)
  g = _random(*actual[0].shape, seed=1)
  # Weight gradients are sums of 5,000 products.
  for a, e in zip(actual, _reference(x, kernel, 1, 1, False, g), strict=True):
    _assert_close(a, e, 2e-5)


@pytest.mark.parametrize("shape", [(2, 5, 7, 6, 9), (1, 4, 4, 18, 2)])
def test_conv_transpose(shape, path):
  b, h, w, i, o = shape
  x, kernel = _random(b, h, w, i), _random(3, 3, i, o)
  y, dx, dkernel = _gradients(conv_transpose, x, kernel)
  # The definition: every input pixel paints its kernel, centred, 2 apart.
  weights = np.float64(kernel)
  canvas = np.zeros((b, 2 * h + 2, 2 * w + 2, o))
  for a in range(3):
    for c in range(3):
      painted = np.einsum("bhwi,io->bhwo", np.float64(x), weights[a, c])
      canvas[:, a : a + 2 * h : 2, c : c + 2 * w : 2] += painted
  _assert_close(y, canvas[:, 1:-1, 1:-1])
  # Its gradients are those of the convolution that it transposes.
  g = _random(*y.shape, seed=1)
  _assert_close(dx, _reference(g, kernel.swapaxes(2, 3), 2, 1, False))
  _, _, swapped = _reference(g, kernel.swapaxes(2, 3), 2, 1, False, x)
  _assert_close(dkernel, swapped.swapaxes(2, 3))


def test_winograd_is_accurate():
  if not convolution_ffi.available():
    pytest.skip("the native library is not built (python setup.py build_ext)")
  x, kernel = _random(1, 16, 16, 256), _random(3, 3, 256, 32)
  y = jax.jit(functools.partial(conv, padding=1))(x, kernel)
  expected = _reference(x, kernel, 1, 1, False)
  error = np.sqrt(np.mean((y - expected) ** 2) / np.mean(expected**2))
  # 1.3e-6 was measured for these interpolation points, 2.8e-6 for the usual.
  assert error < 2e-6


def test_gradient_checks(path):
  x, kernel = _random(1, 6, 6, 16), _random(3, 3, 16, 16) / 12
  half = functools.partial(conv, stride=2, padding=1)
  full = functools.partial(conv, padding=1, reflect=True)
  for function in (half, full, conv_transpose):
    check_grads(
      jax.jit(lambda x, k, f=function: jnp.tanh(f(x, k))),
      (x, kernel),
      order=1,
      modes=["rev"],
      atol=0.02,
      rtol=0.02,
    )


@pytest.mark.parametrize("stride", [1, 2])
def test_second_derivatives(stride, path):
  # A gradient penalty: its gradient goes through both gradients' gradients.
  x, kernel = _random(1, 6, 6, 16), _random(3, 3, 16, 17) / 12
  geometry = convolution._Geometry((6, 6), stride, 1)

  def penalty(function, x, kernel):
    def score(x, k):
      return jnp.sum(jnp.sin(function(x, k)))

    dx, dkernel = jax.grad(score, (0, 1))(x, kernel)
    return jnp.sum(dx**2) + jnp.sum(dkernel**2)

  ours = functools.partial(conv, stride=stride, padding=1)
  plain = functools.partial(convolution._forward_lax, geometry=geometry)
  actual = jax.jit(jax.grad(functools.partial(penalty, ours), (0, 1)))
  expected = jax.jit(jax.grad(functools.partial(penalty, plain), (0, 1)))
  for a, e in zip(actual(x, kernel), expected(x, kernel), strict=True):
    _assert_close(a, np.asarray(e), 2e-5)


def test_forward_mode_is_refused():
  x, kernel = _random(1, 4, 4, 2), _random(3, 3, 2, 2)
  with pytest.raises(TypeError, match="forward-mode"):
    jax.jvp(lambda x: conv(x, kernel), (x,), (x,))


@pytest.mark.parametrize("padding", [0, 1])
def test_bfloat16(padding, path):
  x = jnp.asarray(_random(2, 8, 8, 16), jnp.bfloat16)
  kernel = jnp.asarray(_random(3, 3, 16, 3), jnp.bfloat16)
  y = jax.jit(functools.partial(conv, padding=padding))(x, kernel)
  assert y.dtype == jnp.bfloat16
  # bfloat16 keeps 8 bits: half a unit is 2^-9, sums lose a little more.
  _assert_close(y, _reference(x, kernel, 1, padding, False), 2**-7)


def test_same_bits_eager_compiled_and_again(path):
  x, kernel = _random(2, 9, 8, 20), _random(3, 3, 20, 16)
  function = functools.partial(conv, padding=1, reflect=True)
  compiled = [_gradients(function, x, kernel) for _ in range(3)]
  for again in compiled[1:]:
    for a, b in zip(compiled[0], again, strict=True):
      np.testing.assert_array_equal(a, b)
  eager = function(x, kernel)
  if path == "native":
    np.testing.assert_array_equal(compiled[0][0], eager)
  _assert_close(eager, np.asarray(compiled[0][0]))


@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0)])
def test_vmap_equals_a_loop(axes, path):
  shapes = [(2, 6, 6, 16), (3, 3, 16, 16)]
  args = [
    _random(*shape) if axis is None else _random(3, *shape)
    for shape, axis in zip(shapes, axes, strict=True)
  ]

  def both(x, kernel):
    return _gradients(functools.partial(conv, padding=1), x, kernel)

  mapped = jax.vmap(both, axes)(*args)
  for n in range(3):
    one = both(
      *(a if axis is None else a[n] for a, axis in zip(args, axes, strict=True))
    )
    for m, o in zip(mapped, one, strict=True):
      _assert_close(m[n], np.asarray(o))


def _network(x, kernel, down):
  y = conv(x, kernel, padding=1, reflect=True)
  y = conv(y, down, stride=2, padding=1)
  return jnp.sum(jnp.sin(conv_transpose(y, kernel)))


def test_sharded_equals_unsharded(path):
  args = _random(4, 8, 8, 16), _random(3, 3, 16, 16), _random(4, 4, 16, 16)
  step = jax.value_and_grad(_network, (0, 1, 2))
  expected = jax.jit(step)(*args)
  mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
  split = NamedSharding(mesh, PartitionSpec("data"))
  whole = NamedSharding(mesh, PartitionSpec())
  placed = jax.device_put(args, (split, whole, whole))
  out_shardings = (whole, (split, whole, whole))
  compiled = jax.jit(step, out_shardings=out_shardings).lower(*placed)
  compiled = compiled.compile()
  assert "all-gather" not in compiled.as_text()
  for a, e in zip(
    jax.tree.leaves(compiled(*placed)), jax.tree.leaves(expected), strict=True
  ):
    _assert_close(a, np.asarray(e))


def test_pmap_and_shard_map(path):
  x, kernel = _random(4, 1, 8, 8, 16), _random(3, 3, 16, 16)
  down = _random(4, 4, 16, 16)
  step = jax.grad(_network, (0, 1, 2))
  expected = jax.jit(step)(x[:, 0], kernel, down)
  dx, *dk = jax.pmap(step, in_axes=(0, None, None))(x, kernel, down)
  _assert_close(dx[:, 0], np.asarray(expected[0]))
  mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
  split, whole = PartitionSpec("data"), PartitionSpec()
  mapped = jax.shard_map(
    lambda x, k, d: jax.lax.psum(step(x, k, d)[1], "data"),
    mesh=mesh,
    in_specs=(split, whole, whole),
    out_specs=whole,
    check_vma=False,
  )
  dkernel = jax.jit(mapped)(x[:, 0], kernel, down)
  _assert_close(dkernel, np.asarray(expected[1]))
  _assert_close(dk[0].sum(0), np.asarray(expected[1]))


@pytest.mark.parametrize(
  ("x", "kernel", "options", "message"),
  [
    ((1, 8, 8, 3), (3, 3, 4, 8), {}, r"\(1, 8, 8, 3\) and \(3, 3, 4, 8\)"),
    ((1, 8, 8, 3), (3, 3, 3, 8), {"stride": 0}, "stride >= 1"),
    ((1, 8, 8, 3), (3, 3, 3, 8), {"padding": -1}, "padding >= 0"),
    ((1, 2, 8, 3), (3, 3, 3, 8), {}, "2x8 picture padded by 0 is smaller"),
    (
      (1, 3, 8, 3),
      (3, 3, 3, 8),
      {"padding": 3, "reflect": True},
      "Reflection by 3 pixels needs a picture larger",
    ),
  ],
)
def test_errors(x, kernel, options, message):
  with pytest.raises(ValueError, match=message):
    conv(jnp.zeros(x), jnp.zeros(kernel), **options)


@pytest.mark.parametrize("shape", [(3, 3, 3, 2), (5, 5, 2, 2)])
def test_conv_transpose_needs_3x3_or_4x4(shape):
  with pytest.raises(ValueError, match=r"or \[4, 4, I, O\], got"):
    conv_transpose(jnp.zeros((1, 4, 4, 2)), jnp.zeros(shape))


def test_conv_transpose_4x4_is_the_transpose_of_a_halving():
  x, y = _random(2, 4, 6, 3), _random(2, 8, 12, 5)
  kernel = _random(4, 4, 3, 5)
  up = conv_transpose(x, kernel)
  down = conv(y, kernel.swapaxes(2, 3), stride=2, padding=1)
  assert up.shape == y.shape
  # <A x, y> == <x, A' y>, two sums of some thousand products.
  assert float((up * y).sum()) == pytest.approx(
    float((x * down).sum()), rel=1e-4
  )
