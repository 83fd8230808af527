"""The CycleGAN generator and discriminator: sizes, counts, PyTorch goldens."""

import functools
import pathlib

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chibijax.models.patchgan import PatchDiscriminator
from chibijax.models.resnet import ResnetGenerator

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "cyclegan_step.npz"


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
  with np.load(GOLDEN) as file:
    return dict(file)


def _params(golden: dict, net: str) -> dict:
  prefix = f"params/{net}/"
  return flax.traverse_util.unflatten_dict(
    {
      tuple(name.removeprefix(prefix).split("/")): jnp.asarray(value)
      for name, value in golden.items()
      if name.startswith(prefix)
    }
  )


def _count(net, side: int = 64) -> int:
  blank = jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)
  params = jax.eval_shape(net.init, jax.random.key(0), blank)
  return sum(x.size for x in jax.tree.leaves(params))


def test_parameter_counts_are_the_published_ones() -> None:
  assert _count(ResnetGenerator()) == 11_378_179
  assert _count(PatchDiscriminator()) == 2_764_737
  # Six blocks: three pairs of 3x3x256x256 convolutions fewer.
  assert _count(ResnetGenerator(blocks=6)) == 11_378_179 - 6 * 590_080


def test_generator_against_torch(golden: dict) -> None:
  net = ResnetGenerator(width=4, blocks=2)
  x = jnp.asarray(golden["image_a"][0], jnp.float32) / 127.5 - 1
  y = net.apply({"params": _params(golden, "gen_ab")}, x)
  # Outputs in [-1, 1]; float32 rounding through eleven normalised layers.
  np.testing.assert_allclose(y, golden["fake_b"], atol=2e-5)


def test_discriminator_against_torch(golden: dict) -> None:
  net = PatchDiscriminator(width=4)
  scores = net.apply(
    {"params": _params(golden, "disc_a")}, jnp.asarray(golden["fake_a"])
  )
  scale = np.abs(golden["score_a"]).max()
  np.testing.assert_allclose(scores, golden["score_a"], atol=1e-5 * scale)


@pytest.mark.parametrize("shape", [(40, 40), (24, 48)])
def test_jit_equals_eager(shape: tuple[int, int]) -> None:
  x = jax.random.uniform(jax.random.key(0), (2, *shape, 3), minval=-1.0)
  for net in (
    ResnetGenerator(width=4, blocks=1),
    PatchDiscriminator(width=4, layers=2),
  ):
    params = net.init(jax.random.key(1), x)
    eager, jitted = net.apply(params, x), jax.jit(net.apply)(params, x)
    np.testing.assert_allclose(eager, jitted, atol=1e-5)
    if isinstance(net, ResnetGenerator):
      assert eager.shape == x.shape
      assert float(jnp.abs(eager).max()) <= 1.0
    else:
      sides = tuple(map(net.output_side, shape))
      assert eager.shape == (2, *sides, 1)


def test_patch_is_70_pixels() -> None:
  # Instance norm sees everything, so the convolutions alone are traced: their
  # strides and kernels decide which pixels one score sees.
  patch = 1
  for stride in (1, 1, 2, 2, 2):
    patch = (patch - 1) * stride + 4
  assert patch == 70
  assert PatchDiscriminator().output_side(256) == 30
  assert PatchDiscriminator().output_side(70) == 6


def test_remat_changes_nothing() -> None:
  x = jax.random.uniform(jax.random.key(0), (1, 16, 16, 3), minval=-1.0)
  plain = ResnetGenerator(width=4, blocks=1)
  remat = ResnetGenerator(width=4, blocks=1, remat=True)
  params = plain.init(jax.random.key(1), x)
  assert jax.tree.structure(params) == jax.tree.structure(
    remat.init(jax.random.key(1), x)
  )

  def gradient(net):
    return jax.jit(jax.grad(lambda p: net.apply(p, x).sum()))(params)

  # The recomputation may be fused differently: rounding only.
  for ours, theirs in zip(
    jax.tree.leaves(gradient(plain)), jax.tree.leaves(gradient(remat))
  ):
    np.testing.assert_allclose(ours, theirs, atol=1e-4, rtol=1e-4)


def test_bfloat16_is_close_and_returns_float32() -> None:
  x = jax.random.uniform(jax.random.key(0), (1, 24, 24, 3), minval=-1.0)
  generator = functools.partial(ResnetGenerator, width=8, blocks=2)
  discriminator = functools.partial(PatchDiscriminator, width=8)
  for kind in (generator, discriminator):
    params = jax.jit(kind().init)(jax.random.key(1), x)
    exact = jax.jit(kind().apply)(params, x)
    y = jax.jit(kind(dtype=jnp.bfloat16).apply)(params, x)
    assert y.dtype == jnp.float32
    assert all(p.dtype == jnp.float32 for p in jax.tree.leaves(params))
    # 8 bits through about ten layers.
    np.testing.assert_allclose(y, exact, atol=0.05)


def test_unsuitable_sizes_are_said() -> None:
  key = jax.random.key(0)
  with pytest.raises(ValueError, match=r"multiples of 4 .* got 30x32"):
    ResnetGenerator(width=4).init(key, jnp.zeros((1, 30, 32, 3)))
  with pytest.raises(ValueError, match="at least 24 on both sides"):
    PatchDiscriminator(width=4).init(key, jnp.zeros((1, 16, 64, 3)))
