"""Photometric augmentation: identities, per-picture keys, ranges."""

import colorsys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from chibijax.ops.augment import photometric

KEY = jax.random.key(3)
ALL = {"brightness": 0.2, "contrast": 0.3, "saturation": 0.4, "hue": 0.1}


@pytest.fixture(scope="module")
def pictures() -> jax.Array:
  return jax.random.uniform(
    jax.random.key(0), (4, 6, 5, 3), minval=-1.0, maxval=1.0
  )


def test_zero_strengths_do_nothing_at_all(pictures: jax.Array) -> None:
  assert photometric(KEY, pictures) is pictures
  jaxpr = str(jax.make_jaxpr(photometric)(KEY, pictures))
  assert "random" not in jaxpr


@pytest.mark.parametrize("name", list(ALL))
def test_one_strength_traces_one_operation(
  pictures: jax.Array, name: str
) -> None:
  out = photometric(KEY, pictures, **{name: ALL[name]})
  assert out.shape == pictures.shape and out.dtype == pictures.dtype
  assert float(jnp.abs(out).max()) <= 1
  assert (np.asarray(out) != np.asarray(pictures)).any()

  def size(**strengths: float) -> int:
    return len(
      jax.make_jaxpr(lambda k, x: photometric(k, x, **strengths))(
        KEY, pictures
      ).eqns
    )

  if name != "brightness":
    assert size(**{name: ALL[name]}) < size(**ALL)


def test_each_operation_against_its_definition(pictures: jax.Array) -> None:
  # Values near the middle, so that nothing is clipped.
  x = np.asarray(pictures * 0.3, np.float64) / 2 + 0.5
  keys = jax.random.split(KEY, 4)
  draws = np.asarray(
    jax.vmap(lambda k: jax.random.uniform(k, (4,), minval=-1.0, maxval=1.0))(
      keys
    ),
    np.float64,
  )

  def hsv(change) -> np.ndarray:
    out = np.empty_like(x)
    for place in np.ndindex(x.shape[:3]):
      color = colorsys.rgb_to_hsv(*x[place])
      out[place] = colorsys.hsv_to_rgb(*change(color, draws[place[0]]))
    return out

  factor = (1 + 0.3 * draws[:, 1])[:, None, None, None]
  mean = x.mean((1, 2), keepdims=True)
  expected = {
    "brightness": x + 0.2 * draws[:, 0][:, None, None, None],
    "contrast": (x - mean) * factor + mean,
    "saturation": hsv(
      lambda c, d: (c[0], min(c[1] * (1 + 0.4 * d[2]), 1), c[2])
    ),
    "hue": hsv(lambda c, d: ((c[0] + 0.1 * d[3]) % 1, c[1], c[2])),
  }
  for name, value in expected.items():
    out = photometric(keys, pictures * 0.3, **{name: ALL[name]})
    # float32 against float64: a few units of the last place, times 6 in hue.
    np.testing.assert_allclose((out + 1) / 2, value, atol=3e-6, err_msg=name)


def test_pictures_depend_on_their_own_key_only(pictures: jax.Array) -> None:
  keys = jax.random.split(KEY, 4)
  whole = jax.jit(lambda k, x: photometric(k, x, **ALL))(keys, pictures)
  np.testing.assert_array_equal(
    whole, jax.jit(lambda k, x: photometric(k, x, **ALL))(KEY, pictures)
  )
  for k in range(4):
    alone = photometric(keys[k : k + 1], pictures[k : k + 1], **ALL)
    # Fused and unfused programs round differently.
    np.testing.assert_allclose(alone[0], whole[k], atol=2e-6)
  equal = photometric(keys, jnp.broadcast_to(pictures[:1], (4, 6, 5, 3)), **ALL)
  assert len({x.tobytes() for x in np.asarray(equal)}) == 4


def test_shards_give_the_global_values(pictures: jax.Array) -> None:
  def shard(key: jax.Array, x: jax.Array) -> jax.Array:
    keys = jax.random.split(key, 4)
    mine = lax.dynamic_slice_in_dim(keys, lax.axis_index("data"), 1)
    return photometric(mine, x, brightness=0.2, contrast=0.3)

  parts = jax.pmap(shard, axis_name="data", in_axes=(None, 0))(
    KEY, pictures[:, None]
  )
  whole = photometric(KEY, pictures, brightness=0.2, contrast=0.3)
  # Different programs round differently.
  np.testing.assert_allclose(parts[:, 0], whole, atol=2e-6)


def test_bfloat16_stays(pictures: jax.Array) -> None:
  low = pictures.astype(jnp.bfloat16)
  out = photometric(KEY, low, **ALL)
  assert out.dtype == jnp.bfloat16
  high = photometric(KEY, low.astype(jnp.float32), **ALL)
  # Half a unit of bfloat16's 8 bits below 1.
  np.testing.assert_allclose(out.astype(jnp.float32), high, atol=2**-8)


def test_errors(pictures: jax.Array) -> None:
  with pytest.raises(ValueError, match=r"hue must lie in \[0, 0.5\], got 0.6"):
    photometric(KEY, pictures, hue=0.6)
  with pytest.raises(ValueError, match="contrast must lie"):
    photometric(KEY, pictures, contrast=-0.1)
  with pytest.raises(ValueError, match=r"got \(3,\) keys for 4 pictures"):
    photometric(jax.random.split(KEY, 3), pictures, hue=0.1)
