"""Compositing against float64 NumPy: channels, options and hard cases."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chibijax.ops.splat import Options, reference
from tests.ops.splat import oracle, scenes

COUNT, CAMERAS = 41, 2
WIDTH, HEIGHT = scenes.WIDTH, scenes.HEIGHT
# Colours are at most 1, and float32's rounding is multiplied by sums of 41.
VALUE = 5e-6
# Relative L2; sums over pixels of terms that cancel.
GRADIENT = 1e-4
NAMES = (
  "means2d",
  "conics",
  "opacities",
  "colors",
  "depths",
  "background",
  "offset",
)
ABSOLUTE = Options(depth="D", absgrad=True)


def projected(seed=0, **changes):
  """The oracle's projection for two cameras: dict of [1, C, N, ...]."""
  gaussians = scenes.gaussians(COUNT, seed=seed, size=0.2)
  camera = scenes.camera((CAMERAS,), seed=seed)
  settings = oracle.settings_of(Options(), WIDTH, HEIGHT)
  both = []
  for c in range(CAMERAS):
    inputs = scenes.inputs_of(gaussians, camera, c)
    p, _ = oracle.project_culled(inputs, settings)
    both.append(p)
  result = {
    name: np.stack([p[name] for p in both])[None]
    for name in (*oracle.NAMES, "radii")
  }
  result = {k: np.float32(v) for k, v in result.items()} | changes
  result["radii"] = np.int32(result["radii"])
  return result


def others(channels, shared, seed=0, count=COUNT):
  """Colours, background and offset."""
  rng = scenes.rng_of(seed, channels, 1)
  shape = (1, 1 if shared else CAMERAS, count, channels)
  return {
    "colors": np.float32(rng.uniform(size=shape)),
    "background": np.float32(rng.uniform(size=(1, CAMERAS, channels))),
    "offset": np.float32(0.5 * rng.normal(size=(1, CAMERAS, count, 2))),
  }


def run(stages, arrays, options):
  """Composition, cotangents of it and all gradients by name."""
  radii = jnp.asarray(arrays["radii"])

  def function(*values):
    a = dict(zip(NAMES, values, strict=True))
    return stages.composite(
      a["means2d"],
      a["conics"],
      a["opacities"],
      a["colors"],
      a["depths"],
      radii,
      a["background"],
      a["offset"],
      width=WIDTH,
      height=HEIGHT,
      options=options,
    )

  value, pullback = jax.vjp(function, *(scenes.array(arrays[n]) for n in NAMES))
  rng = scenes.rng_of(5)
  cotangents = [scenes.array(rng.normal(size=x.shape)) for x in value]
  gradients = pullback(type(value)(*cotangents))
  return value, cotangents, dict(zip(NAMES, gradients, strict=True))


def assert_is_the_oracles(stages, arrays, options, tolerance=VALUE):
  value, cotangents, actual = run(stages, arrays, options)
  settings = oracle.settings_of(options, WIDTH, HEIGHT)
  shared = arrays["colors"].shape[1] == 1
  expected = {name: [] for name in NAMES}
  for c in range(CAMERAS):
    p = {n: arrays[n][0, c] for n in (*oracle.NAMES, "radii")}
    rest = (
      arrays["colors"][0, 0 if shared else c],
      arrays["background"][0, c],
      settings,
    )
    offset = arrays["offset"][0, c]
    image, T, depth, _ = oracle.composite(p, *rest, offset)
    np.testing.assert_allclose(value.image[0, c], image, 0, tolerance)
    np.testing.assert_allclose(value.transmittance[0, c], T, 0, tolerance)
    v = [x[0, c] for x in cotangents]
    if options.depth == "none":
      assert value.depth.shape == (1, CAMERAS, 0, 0)
      v[2] = 0.0
    else:
      np.testing.assert_allclose(value.depth[0, c], depth, 0, 4 * tolerance)
    g = oracle.composite_vjp(p, *rest, *map(np.float64, v), offset)
    g["offset"] = g["abs"] if options.absgrad else g["means2d"]
    for name in NAMES:
      expected[name].append(g[name])
  for name in NAMES:
    wanted = np.stack(expected[name])[None]
    if name == "colors" and shared:
      wanted = wanted.sum(1, keepdims=True)
    assert actual[name].shape == wanted.shape
    error = np.linalg.norm(actual[name] - wanted)
    assert error <= GRADIENT * np.linalg.norm(wanted), name
  return value, actual


@pytest.mark.parametrize(
  ("channels", "shared", "options"),
  [
    (1, True, Options()),
    (3, True, ABSOLUTE),
    (4, False, Options(max_alpha=0.9)),
    (32, True, Options(tile_size=8)),
    (33, False, Options(tile_size=32, depth="D")),
    (128, True, Options(capacity=5)),
  ],
)
def test_any_channels(channels, shared, options, stages):
  if stages is reference and channels in (4, 32):
    pytest.skip("the definition treats all numbers of channels alike")
  arrays = projected() | others(channels, shared)
  unseen = (arrays["radii"] == 0).all(-1)
  assert 0 < unseen.sum() < COUNT
  value, gradients = assert_is_the_oracles(stages, arrays, options)
  # The scene is a real test: the picture is covered in parts.
  assert 0.2 < float(value.transmittance.mean()) < 0.9
  for name in ("means2d", "conics", "opacities", "colors", "depths"):
    if name != "colors" or not shared:
      assert (np.asarray(gradients[name])[unseen] == 0).all()


def test_equal_depths_keep_the_order_of_indices(stages):
  arrays = projected() | others(3, True)
  arrays["depths"] = np.round(2 * arrays["depths"]) / 2
  assert len(np.unique(arrays["depths"])) < 10
  assert_is_the_oracles(stages, arrays, ABSOLUTE)


def test_negative_depths_come_first(stages):
  arrays = projected() | others(3, True)
  arrays["depths"] = arrays["depths"] - np.float32(2.4)
  assert (arrays["depths"] < -0.1).any() and (arrays["depths"] > 0.1).any()
  assert_is_the_oracles(stages, arrays, ABSOLUTE)


def test_opaque_stacks_end_a_pixel(stages):
  # Two of alpha .99 would let through (1 - .99)^2 <= 1e-4 (in float32): the
  # second one is not seen.
  arrays = projected() | others(3, True)
  arrays["opacities"] = np.where(
    arrays["opacities"] > 0, np.float32(1.0), np.float32(0)
  )
  wide = np.array([1e-7, 0, 1e-7], np.float32)
  arrays["conics"] = np.where(arrays["conics"] != 0, wide, 0)
  arrays["radii"] = np.where(arrays["radii"] > 0, 1000, 0)
  value, gradients = assert_is_the_oracles(stages, arrays, ABSOLUTE)
  np.testing.assert_allclose(value.transmittance, 0.01, 1e-4)
  first = np.where(arrays["radii"][..., 0] > 0, arrays["depths"], np.inf)
  first = np.argmin(first, axis=-1)
  touched = np.asarray(gradients["colors"]).any((0, 1, 3))
  assert set(np.flatnonzero(touched)) == set(first.ravel())


def test_no_gradient_through_the_clamp_but_at_its_edge(stages):
  # The limit as float32 holds it: the Gaussian just reaches it at its centre.
  arrays = projected() | others(3, True)
  limit = np.float32(0.99)
  for n in ("means2d", "conics", "opacities", "radii", "depths"):
    arrays[n] = np.zeros_like(arrays[n])
  arrays["offset"] = np.zeros_like(arrays["offset"])
  for i, opacity in enumerate((limit, np.float32(0.995))):
    arrays["means2d"][0, i, 0] = 10.5, 8.5
    arrays["conics"][0, i, 0] = 1e3, 0, 1e3
    arrays["opacities"][0, i, 0] = opacity
    arrays["radii"][0, i, 0] = 1
    arrays["depths"][0, i, 0] = 2
  _, _, gradients = run(stages, arrays, ABSOLUTE)
  assert float(gradients["opacities"][0, 0, 0]) != 0
  assert float(gradients["opacities"][0, 1, 0]) == 0


def test_indefinite_conics_are_skipped_where_sigma_is_negative(stages):
  arrays = projected() | others(3, True)
  seen = arrays["radii"][..., 0] > 0
  arrays["conics"][..., 1] = np.where(seen, 0.2, 0)
  arrays["radii"] = np.where(arrays["radii"] > 0, 1000, 0)
  # Far away a small sigma is the difference of large terms.
  assert_is_the_oracles(stages, arrays, ABSOLUTE, 3e-5)


def test_huge_and_opaque_beyond_one(stages):
  arrays = projected() | others(3, True)
  arrays["conics"][..., ::3, :] *= np.float32(1e-4)
  arrays["opacities"][..., ::4] *= 3
  # Boxes that hold what is seen of them.
  arrays["radii"] = np.where(arrays["radii"] > 0, 2**30, 0)
  assert_is_the_oracles(stages, arrays, ABSOLUTE)


def test_none_visible(stages):
  arrays = projected() | others(3, True)
  for n in (*oracle.NAMES, "radii"):
    arrays[n] = np.zeros_like(arrays[n])
  arrays["colors"] = np.full_like(arrays["colors"], np.nan)
  value, _, gradients = run(stages, arrays, ABSOLUTE)
  assert (value.transmittance == 1).all() and (value.depth == 0).all()
  background = arrays["background"][:, :, None, None]
  np.testing.assert_array_equal(
    value.image, np.broadcast_to(background, value.image.shape)
  )
  for name in set(NAMES) - {"background"}:
    assert (gradients[name] == 0).all(), name


def test_colors_of_dropped_gaussians_do_not_matter(stages):
  arrays = projected() | others(3, True)
  dropped = (arrays["radii"] == 0).all((0, 1, 3))
  before, _, _ = run(stages, arrays, ABSOLUTE)
  arrays["colors"][:, :, dropped] = np.nan
  after, _, gradients = run(stages, arrays, ABSOLUTE)
  np.testing.assert_array_equal(before.image, after.image)
  assert (np.asarray(gradients["colors"])[:, :, dropped] == 0).all()
  assert np.isfinite(gradients["colors"]).all()


def test_tiles_change_nothing(stages):
  arrays = projected() | others(3, True)
  arrays = {n: jnp.asarray(x) for n, x in arrays.items()}
  pictures = []
  for size in (8, 16, 32):
    names = ("means2d", "conics", "opacities", "colors", "depths", "radii")
    pictures.append(
      stages.composite(
        *(arrays[n] for n in (*names, "background", "offset")),
        width=WIDTH,
        height=HEIGHT,
        options=Options(depth="D", tile_size=size),
      )
    )
  for other in pictures[1:]:
    for a, b in zip(pictures[0], other, strict=True):
      np.testing.assert_array_equal(a, b)


def test_order_of_the_input_changes_nothing(stages):
  arrays = projected() | others(3, True)
  before, _, _ = run(stages, arrays, ABSOLUTE)
  shuffled = scenes.rng_of(9).permutation(COUNT)
  for name in set(arrays) - {"background"}:
    arrays[name] = arrays[name][:, :, shuffled]
  after, _, _ = run(stages, arrays, ABSOLUTE)
  for a, b in zip(before, after, strict=True):
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("size", [(1, 1), (16, 16), (65, 3)])
def test_any_size_of_picture(size, stages):
  # Only what the crop of a larger picture shows.
  arrays = {
    n: jnp.asarray(x) for n, x in (projected() | others(1, True)).items()
  }
  names = ("means2d", "conics", "opacities", "colors", "depths", "radii")
  pictures = [
    stages.composite(
      *(arrays[n] for n in (*names, "background", "offset")),
      width=w,
      height=h,
      options=Options(),
    )
    for w, h in (size, (70, 70))
  ]
  np.testing.assert_array_equal(
    pictures[0].image, pictures[1].image[:, :, : size[1], : size[0]]
  )


def test_no_gaussians(stages):
  arrays = {
    n: jnp.zeros((1, CAMERAS, 0, *tail))
    for n, tail in dict(
      means2d=(2,), conics=(3,), opacities=(), depths=(), offset=(2,)
    ).items()
  }
  arrays["radii"] = np.zeros((1, CAMERAS, 0, 2), np.int32)
  arrays |= others(3, True, count=0)
  value, cotangents, gradients = run(stages, arrays, Options())
  assert (value.transmittance == 1).all()
  np.testing.assert_allclose(
    gradients["background"], cotangents[0].sum((2, 3)), 1e-5, 1e-4
  )
