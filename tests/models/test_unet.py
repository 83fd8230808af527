"""The U-Net, six-channel discriminator and CUT's networks: sizes, dropout."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chibijax.models.patch_sampler import PatchSampler
from chibijax.models.patchgan import PatchDiscriminator
from chibijax.models.resnet import ResnetGenerator
from chibijax.models.unet import UnetGenerator

KEY = jax.random.key(0)


def _count(net, *shapes: tuple[int, ...]) -> int:
  blank = [jax.ShapeDtypeStruct(s, jnp.float32) for s in shapes]
  params = jax.eval_shape(net.init, KEY, *blank)
  return sum(x.size for x in jax.tree.leaves(params))


def test_parameter_counts_are_the_published_ones() -> None:
  assert _count(UnetGenerator(), (1, 256, 256, 3)) == 54_413_955
  pairs = PatchDiscriminator(statistics="batch")
  assert _count(pairs, (1, 64, 64, 6)) == 2_768_705
  cut = ResnetGenerator(antialias=True)
  assert _count(cut, (1, 64, 64, 3)) == 11_378_179
  # Without norms, two numbers a channel less and a bias more.
  bare = PatchDiscriminator(statistics="batch", norm=False)
  assert _count(bare, (1, 64, 64, 6)) == 2_768_705 - (128 + 256 + 512)
  judge = PatchDiscriminator(antialias=True)
  assert _count(judge, (1, 64, 64, 3)) == 2_764_737


def test_sampler_has_its_parameters_and_gives_unit_vectors() -> None:
  maps = [jnp.ones((2, 4, 4, c)) for c in (3, 128, 256, 256, 256)]
  where = [jnp.arange(5)] * 5
  params = jax.jit(PatchSampler().init)(KEY, maps, where)
  assert sum(x.size for x in jax.tree.leaves(params)) == 560_384
  for x in PatchSampler().apply(params, maps, where):
    assert x.shape == (2, 5, 256)
    np.testing.assert_allclose(jnp.linalg.norm(x, axis=-1), 1, atol=1e-3)


def test_sampler_looks_where_it_is_told() -> None:
  x = jax.random.normal(KEY, (1, 4, 6, 3))
  net = PatchSampler(features=8)
  params = net.init(KEY, [x], [jnp.arange(1)])
  all_of_it = net.apply(params, [x], [jnp.arange(24)])[0]
  one = net.apply(params, [x[:, 2:3, 3:4]], [jnp.arange(1)])[0]
  np.testing.assert_allclose(all_of_it[:, 2 * 6 + 3], one[:, 0], atol=1e-6)


def test_dropout_is_of_each_picture_and_of_inner_levels() -> None:
  net = UnetGenerator(width=2, depth=6)
  x = jax.random.uniform(KEY, (2, 64, 64, 3), minval=-1.0)
  params = jax.jit(net.init)(KEY, x)
  keys = jax.random.split(KEY, 2)
  apply = jax.jit(net.clone(statistics="picture").apply)
  both = apply(params, x, keys)
  assert both.shape == x.shape and float(jnp.abs(both).max()) <= 1
  # Alone or in company, a picture drops the same.
  np.testing.assert_allclose(
    apply(params, x[1:], keys[1:])[0], both[1], atol=1e-5
  )
  assert np.abs(both - apply(params, x)).max() > 1e-4
  shallow = UnetGenerator(width=2, depth=5)
  params = jax.jit(shallow.init)(KEY, x)
  np.testing.assert_array_equal(
    shallow.apply(params, x, keys), shallow.apply(params, x)
  )


def test_a_refined_unet_ends_in_a_layer_at_the_full_resolution() -> None:
  x = jax.random.uniform(KEY, (1, 8, 8, 3), minval=-1.0)
  for refine in (False, True):
    net = UnetGenerator(width=4, depth=2, refine=refine)
    params = net.init(KEY, x)["params"]
    y = net.apply({"params": params}, x)
    assert y.shape == x.shape and float(jnp.abs(y).max()) <= 1
    head = params["head"]["kernel"]
    assert head.shape == ((3, 3, 4, 3) if refine else (4, 4, 8, 3))
  plain, refined = (
    _count(UnetGenerator(width=4, depth=2, refine=r), (1, 8, 8, 3))
    for r in (False, True)
  )
  # A 4x4 convolution 8 to 4, its norm, a 3x3 4 to 3; for a 4x4 8 to 3.
  assert refined - plain == 16 * 8 * 4 + 2 * 4 + 9 * 4 * 3 - 16 * 8 * 3


def test_taps_are_what_passes_by() -> None:
  net = ResnetGenerator(width=4, blocks=2, antialias=True)
  x = jax.random.uniform(KEY, (1, 16, 12, 3), minval=-1.0)
  params = jax.jit(net.init)(KEY, x)
  taps = ("input", "down_0", "down_1", "block_0")
  y, maps = net.apply(params, x, taps=taps)
  np.testing.assert_array_equal(y, net.apply(params, x))
  sizes = [m.shape[1:] for m in maps]
  assert sizes == [(22, 18, 3), (16, 12, 8), (8, 6, 16), (4, 3, 16)]
  nothing, again = net.apply(params, x, taps=taps, decode=False)
  assert nothing is None
  for ours, theirs in zip(again, maps):
    np.testing.assert_array_equal(ours, theirs)
  with pytest.raises(ValueError, match="in order"):
    net.apply(params, x, taps=("block_0", "input"))


def test_unsuitable_sizes_are_said() -> None:
  with pytest.raises(ValueError, match=r"multiples of 32 .* got 48x32"):
    UnetGenerator(width=2, depth=5).init(KEY, jnp.zeros((1, 48, 32, 3)))
