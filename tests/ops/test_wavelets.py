"""Wavelets' filters against NumPy in float64: taps, bands, resampling."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chibijax.ops import wavelets


@pytest.mark.parametrize(
  ("taps", "moments"), [(wavelets.SYM2, 2), (wavelets.SYM6, 6)]
)
def test_symlets_are_orthogonal_with_as_many_moments_as_half_their_taps(
  taps: tuple[float, ...], moments: int
) -> None:
  h = np.asarray(taps)
  assert len(h) == 2 * moments
  # Orthogonal to their own shifts by two.
  for shift in range(0, len(h), 2):
    product = h[shift:] @ h[: len(h) - shift]
    assert product == pytest.approx(float(shift == 0), abs=1e-10)
  # The high-pass filter leaves nothing of polynomials.
  n = (np.arange(len(h)) - len(h) / 2) / len(h)
  signs = (-1.0) ** np.arange(len(h))
  for power in range(moments):
    assert (signs * h) @ n**power == pytest.approx(0, abs=1e-9)


def test_bands_are_products_of_a_known_response() -> None:
  bank = wavelets.filter_bank()
  assert bank.shape == (4, 43)
  np.testing.assert_allclose(bank, bank[:, ::-1], atol=1e-12)
  turns = np.linspace(0, np.pi, 50)
  cosines = np.cos(np.outer(turns, np.arange(43) - 21))

  def low(w):
    # |H|^2 / 2 of four taps and two moments, as Daubechies derived it.
    return np.cos(w / 2) ** 4 * (1 + 2 * np.sin(w / 2) ** 2)

  def high(w):
    return low(w + np.pi)

  wanted = [
    low(4 * turns) * low(2 * turns) * low(turns),
    high(4 * turns) * low(2 * turns) * low(turns),
    high(2 * turns) * low(turns),
    high(turns),
  ]
  np.testing.assert_allclose(cosines @ bank.T, np.stack(wanted, 1), atol=1e-9)
  np.testing.assert_allclose(bank.sum(0), np.eye(43)[21], atol=1e-12)


def _picture(height: int, width: int) -> np.ndarray:
  return np.random.default_rng(0).uniform(-1, 1, (height, width, 2))


def test_amplifying_is_filtering_the_mirrored_picture() -> None:
  x, gains = _picture(9, 12), np.array([0.5, 2.0, 1.5, 0.25])
  taps = gains @ wavelets.filter_bank()

  def filtered(rows):
    return np.stack(
      [np.convolve(np.pad(r, 21, mode="reflect"), taps, "valid") for r in rows]
    )

  wanted = np.stack([filtered(filtered(x[..., c]).T).T for c in (0, 1)], -1)
  amplify = jax.jit(wavelets.amplify)
  x = jnp.asarray(x, jnp.float32)
  found = amplify(x, jnp.asarray(gains, jnp.float32))
  np.testing.assert_allclose(found, wanted, atol=2e-6)
  np.testing.assert_allclose(amplify(x, jnp.ones(4)), x, atol=1e-6)


def _warped_slowly(x: np.ndarray, inverse: np.ndarray) -> np.ndarray:
  """Zeros between the pixels, sym6, bilinear, sym6 reversed, every second."""
  side, far = len(x), 40
  taps = np.asarray(wavelets.SYM6)
  middle = np.arange(12) @ taps / np.sqrt(2)
  wide = np.pad(x, far, mode="reflect")
  spread = np.zeros([2 * n for n in wide.shape])
  spread[::2, ::2] = wide
  for _ in range(2):
    rows = [np.convolve(row, np.sqrt(2) * taps) for row in spread]
    spread = np.stack(rows).T
  n = 2 * side + 10
  fine = np.zeros((n, n))
  for i, j in np.ndindex(n, n):
    # In pixels from the centre; there; in fine samples of the wide picture.
    at = (np.array([j, i]) - middle) / 2 - (side - 1) / 2
    there = inverse[:, :2] @ at + inverse[:, 2] + (side - 1) / 2
    column, row = 2 * (there + far) + middle
    top, left = int(np.floor(row)), int(np.floor(column))
    down, across = row - top, column - left
    around = spread[top : top + 2, left : left + 2]
    fine[i, j] = [1 - down, down] @ around @ [1 - across, across]
  for _ in range(2):
    rows = [np.correlate(row, taps / np.sqrt(2), "valid")[::2] for row in fine]
    fine = np.stack(rows).T
  return fine


def _maps() -> tuple[np.ndarray, np.ndarray]:
  c, s = 1.3 * np.cos(0.7), 1.3 * np.sin(0.7)
  return np.array([[c, -s, 1.3], [0.8 * s, c, -2.6]]), np.eye(3)[:2]


_warp = jax.jit(wavelets.warp)


def _singles(*arrays) -> list[jax.Array]:
  return [jnp.asarray(np.stack(x), jnp.float32) for x in arrays]


def test_warping_against_zeros_between_the_pixels() -> None:
  x = _picture(8, 8)
  moving = jnp.array([True, True, False])
  turned, whole = _maps()
  images, maps = _singles([x, x, x], [turned, whole, turned])
  found = _warp(images, maps, moving)
  for one, inverse in zip(found, (turned, whole)):
    wanted = [_warped_slowly(x[..., c], inverse) for c in (0, 1)]
    np.testing.assert_allclose(one, np.stack(wanted, -1), atol=2e-5)
  # Where nothing moves, all is given back; what is not to move, to the bit.
  np.testing.assert_allclose(found[1], x, atol=2e-6)
  np.testing.assert_array_equal(found[2], images[2])


def test_gradients_of_warping_are_the_transpose_and_their_own_the_warp() -> (
  None
):
  x = _picture(8, 8)
  moving = jnp.array([True, True, False])
  turned, whole = _maps()
  rng = np.random.default_rng(1)
  images, maps, ways, other = _singles(
    [x, x, x], [turned, whole, turned], *rng.normal(size=(2, 3, 8, 8, 2))
  )

  def slope(ways):
    return jax.grad(lambda x: (_warp(x, maps, moving) * ways).sum())(images)

  # Linear: <A x, y> = <x, A^T y>, picture by picture.
  ahead = _warp(images, maps, moving) * ways
  back = images * jax.jit(slope)(ways)
  np.testing.assert_allclose(
    ahead.sum((1, 2, 3)), back.sum((1, 2, 3)), atol=1e-4
  )
  # The gradient of A^T y in y is A.
  again = jax.jit(jax.grad(lambda y: (slope(y) * other).sum()))(ways)
  np.testing.assert_allclose(again, _warp(other, maps, moving), atol=1e-5)


def test_what_is_smooth_is_moved_exactly_enough() -> None:
  at = np.arange(24)
  waves = np.sin(0.5 * at)[:, None] + np.cos(0.4 * at)[None]
  x = np.stack([waves, waves.T], -1)
  half = np.array([[-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
  found = _warp(*_singles([x], [half]), jnp.array([True]))[0]
  # A filter taken for centred where it is not would shift by 0.4 pixels, 0.2 in
  # value. At the border mirroring breaks the waves.
  inside = np.s_[2:-2, 2:-2]
  np.testing.assert_allclose(found[inside], x[::-1, ::-1][inside], atol=0.05)
