"""StyleGAN2's networks: sizes, modulation, noise, groups, formats."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chibijax.models import stylegan2, stylegan2_layers
from chibijax.ops import blur
from tests.models import avatar_golden as golden

KEY = jax.random.key(3)


def _count(module, *inputs) -> int:
  variables = jax.eval_shape(lambda: module.init(KEY, *inputs))
  return sum(x.size for x in jax.tree.leaves(variables))


def test_networks_have_the_published_sizes() -> None:
  """Against totals added up by hand, and printed by the official program.

  C(s) = min(base / s, 512) channels at side s, w = 512 numbers of a style.

  * Mapping: 8 x (512 x 512 + 512) = 8 x 262,656 = 2,101,248.
  * A convolution of the generator from a to b channels: 9ab + b (bias), the
    style's affine map 512a + a, a strength of the noise 1. To RGB: 3a + 3 +
    513a. At 4x4 one convolution, above two, of C(s/2) and C(s); the constant
    has 16 x 512 = 8,192 numbers.
    At 1024: 4: 8,192 + 2,622,465 + 264,195; 8 to 64: each 2 x 2,622,465 +
    264,195; 128: 1,442,561 + 721,409 + 132,099; 256: 426,369 + 213,249 +
    66,051; 512: 139,457 + 69,761 + 33,027; 1024: 51,297 + 25,665 + 16,515.
    Together 28,268,812, with the mapping 30,370,060.
  * The discriminator: from RGB 3 x 32 + 32 = 128; at side s from a = C(s) to b
    = C(s/2): 9aa + a, 9ab + b and, past them, ab; at 4x4 9 x 513 x 512 + 512 =
    2,364,416, then 8,192 x 512 + 512 = 4,194,816 and 513: 29,012,513.

  A log of NVlabs/stylegan2-ada-pytorch at 1024 px, reprinted in a public
  repository's guide, has each of these rows, 29,012,513 for the discriminator
  and 28,794,124 for the generator, whose mapping has 2 layers there: 6 x
  262,656 less than the paper's 8. No printed total with 8 was found.
  """

  def by_hand(size: int, base: int) -> tuple[int, int]:
    def width(side: int) -> int:
      return min(base // side, 512)

    def styled(a: int, b: int) -> int:
      return 9 * a * b + b + 513 * a + 1

    def rgb(a: int) -> int:
      return 3 * a + 3 + 513 * a

    gen = 8 * 513 * 512 + 16 * width(4) + styled(width(4), width(4))
    gen += rgb(width(4))
    disc = 4 * width(size) + 9 * 513 * 512 + 512 + 16 * 512 * 512 + 512 + 513
    side = 8
    while side <= size:
      low, high = width(side // 2), width(side)
      gen += styled(low, high) + styled(high, high) + rgb(high)
      disc += 9 * high * high + high + 9 * high * low + low + high * low
      side *= 2
    return gen, disc

  for size, base, *published in (
    (1024, 32_768, 30_370_060, 29_012_513),
    (256, 32_768, 30_034_338, 28_864_129),
    (256, 16_384, 24_767_458, 24_001_089),
  ):
    assert by_hand(size, base) == tuple(published)
    widths = stylegan2.channels(size, base=base)
    generator = stylegan2.Generator(widths)
    assert generator.size == size
    image = jnp.zeros((1, size, size, 3))
    disc = stylegan2.Discriminator(widths)
    found = [_count(generator, jnp.zeros((1, 512))), _count(disc, image)]
    assert found == published
  assert stylegan2.Generator(stylegan2.channels(1024)).layers == 18


def _modulated_slowly(x, kernel, styles, demodulate: bool, up: bool):
  """One picture, output pixel and tap at a time, in float64."""
  rows = []
  for image, style in zip(x, styles):
    own = kernel * style[None, None, :, None]
    if demodulate:
      own = own / np.sqrt((own**2).sum((0, 1, 2)) + 1e-8)
    side, k = len(image), len(kernel)
    if up:
      # Each pixel spreads the kernel, two apart; then the filter.
      spread = np.zeros((2 * side + 1, 2 * side + 1, kernel.shape[-1]))
      for i, j in np.ndindex(side, side):
        for a, b in np.ndindex(k, k):
          spread[2 * i + a, 2 * j + b] += image[i, j] @ own[a, b]
      padded = np.pad(spread, ((1, 1), (1, 1), (0, 0)))
      taps = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 16
      out = np.zeros((2 * side, 2 * side, kernel.shape[-1]))
      for i, j in np.ndindex(2 * side, 2 * side):
        out[i, j] = (padded[i : i + 4, j : j + 4] * taps[..., None]).sum((0, 1))
    else:
      padded = np.pad(image, ((k // 2,) * 2, (k // 2,) * 2, (0, 0)))
      out = np.zeros((side, side, kernel.shape[-1]))
      for i, j in np.ndindex(side, side):
        for a, b in np.ndindex(k, k):
          out[i, j] += padded[i + a, j + b] @ own[a, b]
    rows.append(out)
  return np.stack(rows)


@pytest.mark.parametrize(
  ("side", "demodulate", "up"),
  [(3, True, False), (3, True, True), (1, False, False)],
)
def test_modulated_conv_against_loops(
  side: int, demodulate: bool, up: bool
) -> None:
  rng = np.random.default_rng(0)
  x = rng.normal(size=(2, 5, 5, 3))
  kernel = rng.normal(size=(side, side, 3, 4))
  styles = rng.normal(size=(2, 3)) + 1
  found = stylegan2_layers.modulated_conv(
    *(jnp.asarray(v, jnp.float32) for v in (x, kernel, styles)),
    demodulate=demodulate,
    up=up,
  )
  wanted = _modulated_slowly(x, kernel, styles, demodulate, up)
  np.testing.assert_allclose(found, wanted, atol=2e-5)


def test_demodulation_keeps_unit_variance() -> None:
  rng = np.random.default_rng(1)
  x = jnp.asarray(rng.normal(size=(2, 40, 40, 16)), jnp.float32)
  kernel = jnp.asarray(rng.normal(size=(3, 3, 16, 32)), jnp.float32)
  # Styles a hundred times apart in size, and uneven.
  styles = jnp.asarray([[0.1], [10.0]]) * jnp.linspace(0.5, 2, 16)[None]
  y = stylegan2_layers.modulated_conv(x, kernel, styles)[:, 1:-1, 1:-1]
  np.testing.assert_allclose(y.std((1, 2, 3)), 1.0, atol=0.05)
  raw = stylegan2_layers.modulated_conv(x, kernel, styles, demodulate=False)
  assert float(raw[1].std() / raw[0].std()) > 50


def test_deviation_is_of_neighbours() -> None:
  rng = np.random.default_rng(2)
  x = rng.normal(size=(6, 2, 2, 3)).astype(np.float32)
  x[2:4] = x[:1]  # the second group of two: all the same
  found = stylegan2_layers.minibatch_deviation(jnp.asarray(x), 2)
  np.testing.assert_array_equal(found[..., :3], x)
  spread = x[:2].std(0).mean()
  np.testing.assert_allclose(found[:2, ..., 3], spread, rtol=1e-4)
  np.testing.assert_allclose(found[2:4, ..., 3], 1e-4, rtol=1e-2)
  # Three pictures in groups of four: groups of one.
  alone = stylegan2_layers.minibatch_deviation(jnp.asarray(x[:3]), 4)
  np.testing.assert_allclose(alone[..., 3], 1e-4, rtol=1e-2)


def test_noise_is_of_each_picture_or_constant() -> None:
  keys = jax.random.split(KEY, 3)
  first, second = stylegan2_layers.noises([4, 8], keys)
  assert first.shape == (3, 4, 4, 1) and second.shape == (3, 8, 8, 1)
  assert float(jnp.abs(second[0] - second[1]).max()) > 0.1
  part = stylegan2_layers.noises([4, 8], keys[1:])
  np.testing.assert_array_equal(part[1], second[1:])
  constant = stylegan2_layers.noises([4, 8], None)
  assert [x.shape for x in constant] == [(1, 4, 4, 1), (1, 8, 8, 1)]


def test_formats_labels_and_styles() -> None:
  widths, labels = (6, 4), jnp.ones((2, 3))
  generator = stylegan2.Generator(
    widths, style=5, depth=1, embedding=2, low=1, dtype=jnp.bfloat16
  )
  z = jax.random.normal(KEY, (2, 4))
  shapes = jax.eval_shape(generator.init, KEY, z, labels)
  assert {x.dtype for x in jax.tree.leaves(shapes)} == {np.dtype("float32")}
  variables = {"params": golden.draw(generator, z, labels)}

  @jax.jit
  def make(z, labels):
    return generator.apply(variables, z, labels)

  image = make(z, labels)
  assert image.shape == (2, 8, 8, 3) and image.dtype == jnp.float32
  # The length of a latent says nothing; its labels do.
  np.testing.assert_allclose(make(3 * z, labels), image, atol=2e-2)

  @jax.jit
  def style(labels):
    return generator.apply(variables, z, labels, method="map")

  w, other = style(-labels), style(labels)
  assert w.shape == (2, 5) and float(jnp.abs(w - other).max()) > 1e-3
  disc = stylegan2.Discriminator(widths, embedding=2, low=1, dtype=jnp.bfloat16)
  params = golden.draw(disc, image, labels)
  scores = jax.jit(disc.apply)({"params": params}, image, labels)
  assert scores.shape == (2,) and scores.dtype == jnp.float32


def test_resampling_against_numpy_convolutions() -> None:
  rng = np.random.default_rng(5)
  x = rng.normal(size=(1, 6, 6, 1))
  taps = np.array([1, 3, 3, 1]) / 8

  def filtered(row, pads, step, gain):
    return np.convolve(np.pad(row, pads), taps * gain, "valid")[::step]

  def both(image, pads, step, gain):
    rows = [filtered(r, pads, step, gain) for r in image]
    columns = [filtered(c, pads, step, gain) for c in np.stack(rows).T]
    return np.stack(columns).T

  given = jnp.asarray(x, jnp.float32)
  halved = blur.binomial(given, (1, 1), stride=2)[0, ..., 0]
  np.testing.assert_allclose(halved, both(x[0, ..., 0], 1, 2, 1), atol=1e-6)
  whole = blur.binomial(given, (2, 2))[0, ..., 0]
  np.testing.assert_allclose(whole, both(x[0, ..., 0], 2, 1, 1), atol=1e-6)
  spread = np.zeros((12, 12))
  spread[::2, ::2] = x[0, ..., 0]
  doubled = blur.up(given, border="zero")[0, ..., 0]
  wanted = both(spread, (2, 1), 1, 2)
  np.testing.assert_allclose(doubled, wanted, atol=1e-6)
