"""The whole rasterizer: gradients of everything, batches, transformations.

Tests without the fixture `stages` are of code above the implementations, and
run with the quickest one there is.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chibijax.ops.splat import Options, rasterize
from tests.ops.splat import oracle, scenes

COUNT, CAMERAS = 41, 2
# Relative L2 of gradients in float32, through both stages.
GRADIENT = 5e-4


def relative(actual, expected):
  error = np.linalg.norm(np.float64(actual) - expected)
  return error / np.linalg.norm(expected)


def fields_of(rendering):
  """Pictures as a list, without the integers."""
  pictures = [rendering.image, rendering.alpha, rendering.depth]
  return [x for x in pictures if x is not None]


def differentiate(gaussians, camera, options, background):
  """Pictures, cotangents of them, and gradients of all that varies."""

  def render(values):
    scene = dataclasses.replace(gaussians, **values["gaussians"])
    view = dataclasses.replace(camera, **values["camera"])
    result = rasterize(scene, view, options, values["background"])
    return fields_of(result), result

  own = {
    f.name: getattr(gaussians, f.name) for f in dataclasses.fields(gaussians)
  }
  values = {
    "gaussians": {k: v for k, v in own.items() if v is not None},
    "camera": {"viewmat": camera.viewmat, "K": camera.K},
    "background": background,
  }
  pictures, pullback, rendering = jax.vjp(render, values, has_aux=True)
  rng = scenes.rng_of(11)
  cotangents = [scenes.array(rng.normal(size=x.shape)) for x in pictures]
  return rendering, cotangents, pullback(cotangents)[0]


def backgrounds(channels=3):
  values = scenes.rng_of(4).uniform(size=(CAMERAS, channels))
  return scenes.array(values)


@pytest.mark.parametrize(
  "options",
  [
    Options(),
    Options(antialiased=True, depth="ED", absgrad=True, normalize_quats=False),
  ],
)
def test_pictures_and_every_gradient_are_the_oracles(options, stages):
  del stages
  gaussians, camera = scenes.gaussians(COUNT), scenes.camera((CAMERAS,))
  gaussians = dataclasses.replace(
    gaussians, means2d_offset=jnp.zeros((CAMERAS, COUNT, 2))
  )
  background = backgrounds()
  rendering, cotangents, gradients = differentiate(
    gaussians, camera, options, background
  )
  settings = oracle.settings_of(options, camera.width, camera.height)
  expected = []
  for c in range(CAMERAS):
    inputs = scenes.inputs_of(gaussians, camera, c)
    rest = np.asarray(gaussians.colors), np.asarray(background[c]), settings
    image, alpha, depth = oracle.rasterize(inputs, *rest)
    np.testing.assert_allclose(rendering.image[c], image, 0, 2e-5)
    np.testing.assert_allclose(rendering.alpha[c], alpha, 0, 2e-5)
    v = [np.float64(x[c]) for x in cotangents]
    if options.depth == "ED":
      covered = alpha > 1e-3  # else a quotient of roundings
      np.testing.assert_allclose(
        np.asarray(rendering.depth[c])[covered], depth[covered], 1e-4
      )
    expected.append(oracle.rasterize_vjp(inputs, *rest, *v))
    p, _ = oracle.project_culled(inputs, settings)
    np.testing.assert_array_equal(rendering.radii[c], p["radii"])
    np.testing.assert_allclose(rendering.means2d[c], p["means2d"], 1e-4, 1e-4)
    np.testing.assert_allclose(rendering.depths[c], p["depths"], 1e-5)
  own = gradients["gaussians"]
  for name in ("means", "quats", "scales", "opacities", "colors"):
    total = sum(g[name] for g in expected)
    assert relative(own[name], total) < GRADIENT, name
  plane = "abs" if options.absgrad else "means2d"
  apart = {
    "viewmats": gradients["camera"]["viewmat"],
    "Ks": gradients["camera"]["K"],
    "background": gradients["background"],
    plane: own["means2d_offset"],
  }
  for name, actual in apart.items():
    wanted = np.stack([g[name] for g in expected])
    assert relative(actual, wanted) < GRADIENT, name


@pytest.mark.parametrize("count", [1, 4, 9, 16, 25])
def test_harmonics_shade_by_direction(count):
  gaussians = scenes.gaussians(COUNT, sh=count)
  camera, background = scenes.camera((CAMERAS,)), backgrounds()
  rendering, cotangents, gradients = differentiate(
    gaussians, camera, Options(), background
  )
  settings = oracle.settings_of(Options(), camera.width, camera.height)

  def pictures(values):
    """What the oracle draws of `values`, camera by camera."""
    g, (viewmats, Ks), background = values
    for c in range(CAMERAS):
      means, quats, scales, opacities, sh = g
      colors = oracle.shade(sh, means, viewmats[c])
      inputs = (means, quats, scales, opacities, viewmats[c], Ks[c])
      yield oracle.rasterize(inputs, colors, background[c], settings)[:2]

  def score(values):
    return sum(
      (x * np.float64(v[c])).sum()
      for c, both in enumerate(pictures(values))
      for x, v in zip(both, cotangents, strict=True)
    )

  names = ("means", "quats", "scales", "opacities", "sh")
  start = [
    [np.float64(getattr(gaussians, name)) for name in names],
    [np.float64(camera.viewmat), np.float64(camera.K)],
    np.float64(background),
  ]
  for c, (image, alpha) in enumerate(pictures(start)):
    np.testing.assert_allclose(rendering.image[c], image, 0, 2e-5)
    np.testing.assert_allclose(rendering.alpha[c], alpha, 0, 2e-5)
  # All parameters move at once, in proportion to their size; the gradient must
  # foretell by how much the float64 picture changes.
  own, view = gradients["gaussians"], gradients["camera"]
  slopes = [
    [own[name] for name in names],
    [view["viewmat"], view["K"]],
    gradients["background"],
  ]
  rng = scenes.rng_of(12)
  for _ in range(2):
    moves = jax.tree.map(lambda x: rng.normal(size=x.shape) * x, start)
    moves[1][0][:, 3] = 0  # (0, 0, 0, 1) of the view matrices
    ahead, back = (
      score(jax.tree.map(lambda x, m, s=s: x + s * m, start, moves))
      for s in (1e-7, -1e-7)
    )
    products = jax.tree.map(lambda g, m: (g * m).sum(), slopes, moves)
    foretold = sum(jax.tree.leaves(products))
    size = sum(abs(x) for x in jax.tree.leaves(products))
    # Of the parts that partly cancel in the sum.
    assert abs((ahead - back) / 2e-7 - foretold) < GRADIENT * size


def one_by_one(gaussians, camera, pick_scene, pick_view, count):
  """Renders items of a batch singly and stacks the pictures."""
  renderings = [
    rasterize(
      jax.tree.map(lambda x, i=i: pick_scene(x, i), gaussians),
      jax.tree.map(lambda x, i=i: pick_view(x, i), camera),
      Options(depth="D"),
    )
    for i in range(count)
  ]
  return jax.tree.map(lambda *x: jnp.stack(x), *renderings)


def assert_same(actual, expected):
  """Equal up to the order in which XLA adds."""
  assert jax.tree.structure(actual) == jax.tree.structure(expected)
  for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected)):
    assert a.shape == b.shape and a.dtype == b.dtype
    np.testing.assert_allclose(a, b, 1e-5, 1e-5)


def item(x, i):
  return x[i]


def whole(x, i):
  return x


def test_each_scene_has_its_own_cameras():
  gaussians = scenes.gaussians(COUNT, batch=(3,))
  camera = scenes.camera((3, CAMERAS))
  actual = rasterize(gaussians, camera, Options(depth="D"))
  assert actual.image.shape == (3, CAMERAS, camera.height, camera.width, 3)
  assert_same(actual, one_by_one(gaussians, camera, item, item, 3))


def test_scenes_share_the_cameras_above_them():
  gaussians = scenes.gaussians(COUNT, batch=(2, 3))
  camera = scenes.camera((2,))
  actual = rasterize(gaussians, camera, Options(depth="D"))
  assert actual.image.shape == (2, 3, camera.height, camera.width, 3)
  for i in range(2):
    single = jax.tree.map(item_of(i), (gaussians, camera))
    expected = one_by_one(*single, item, whole, 3)
    assert_same(jax.tree.map(item_of(i), actual), expected)


def item_of(i):
  return lambda x: x[i]


def test_without_batch_and_with_colors_per_camera():
  gaussians, camera = scenes.gaussians(COUNT), scenes.camera((CAMERAS,))
  rng = scenes.rng_of(8)
  colors = scenes.array(rng.uniform(size=(CAMERAS, COUNT, 3)))
  background = scenes.array([0.2, 0.5, 0.9])
  actual = rasterize(
    dataclasses.replace(gaussians, colors=colors),
    camera,
    background=background,
  )
  for c in range(CAMERAS):
    expected = rasterize(
      dataclasses.replace(gaussians, colors=colors[c]),
      jax.tree.map(item_of(c), camera),
      background=background,
    )
    assert expected.depth is None
    assert_same(jax.tree.map(item_of(c), actual), expected)


def loss(gaussians, camera):
  rendering = rasterize(gaussians, camera, Options(depth="D"))
  weights = scenes.array(scenes.rng_of(2).normal(size=rendering.image.shape))
  return (rendering.image * weights).sum() + (rendering.depth**2).mean()


def test_vmap_and_jit_of_gradients_are_the_loop():
  gaussians = scenes.gaussians(COUNT, batch=(3,))
  camera = scenes.camera(())
  gradient = jax.value_and_grad(loss, argnums=(0, 1), allow_int=True)
  together = jax.jit(jax.vmap(gradient, in_axes=(0, None)))(gaussians, camera)
  for i in range(3):
    value, slopes = gradient(jax.tree.map(item_of(i), gaussians), camera)
    np.testing.assert_allclose(together[0][i], value, 1e-4)
    for a, b in zip(jax.tree.leaves(together[1]), jax.tree.leaves(slopes)):
      assert relative(a[i], b) < 2e-5


def test_jit_is_eager(stages):
  del stages
  gaussians, camera = scenes.gaussians(COUNT), scenes.camera((CAMERAS,))
  options = Options(depth="D")
  jitted = jax.jit(lambda g, c: rasterize(g, c, options))(gaussians, camera)
  assert_same(jitted, rasterize(gaussians, camera, options))


def test_numbers_of_other_types_are_taken():
  gaussians, camera = scenes.gaussians(COUNT), scenes.camera((CAMERAS,))
  half = dataclasses.replace(
    gaussians, colors=gaussians.colors.astype(jnp.bfloat16)
  )

  def mean(g):
    image = rasterize(g, camera, Options(depth="D")).image
    assert image.dtype == jnp.float32
    return image.mean()

  gradient = jax.grad(mean)(half).colors
  assert gradient.dtype == jnp.bfloat16
  assert relative(gradient, np.float64(jax.grad(mean)(gaussians).colors)) < 0.01
