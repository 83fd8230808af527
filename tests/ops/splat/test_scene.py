"""The public types: pytrees, static options, and sentences about mistakes."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from chibijax.ops import splat
from chibijax.ops.splat import Camera, Gaussians, Options, rasterize
from chibijax.ops.splat.scene import validate
from tests.ops.splat import scenes


def test_public_names():
  assert set(splat.__all__) == {
    "Camera",
    "Gaussians",
    "Options",
    "Rendering",
    "rasterize",
  }


def test_scene_is_a_pytree():
  gaussians, camera = scenes.gaussians(5), scenes.camera((2,))
  assert len(jax.tree.leaves(gaussians)) == 5
  assert len(jax.tree.leaves(camera)) == 2
  twice = jax.tree.map(lambda x: 2 * x, gaussians)
  assert isinstance(twice, Gaussians) and twice.sh is None
  assert (twice.means == 2 * gaussians.means).all()
  # Fields may hold anything that JAX puts there.
  axes = jax.tree.map(lambda x: None, gaussians)
  assert axes.means is None
  shapes = jax.eval_shape(lambda x: x, gaussians)
  assert shapes.quats.shape == (5, 4)


def test_size_of_the_picture_is_static():
  camera = scenes.camera((2,))
  traced = jax.jit(lambda c: jnp.zeros((c.height, c.width)))(camera)
  assert traced.shape == (camera.height, camera.width)
  small = dataclasses.replace(camera, width=5, height=4)
  assert jax.tree.structure(small) != jax.tree.structure(camera)


def test_options_are_hashable_and_frozen():
  assert hash(Options(depth="D")) == hash(Options(depth="D"))
  assert Options(max_alpha=0.9) != Options()
  with pytest.raises(dataclasses.FrozenInstanceError):
    Options().near = 1.0


@pytest.mark.parametrize(
  ("options", "sentence"),
  [
    (dict(tile_size=12), r"tile_size is 12; expected one of \(8, 16, 32\)"),
    (dict(max_alpha=1.0), r"max_alpha is 1.0; expected 1/255 to 0.9999"),
    (dict(max_alpha=float("nan")), r"max_alpha is nan"),
    (dict(near=2.0, far=1.0), r"near 2.0 is not below far 1.0"),
    (dict(eps2d=-0.1), r"eps2d is -0.1 .* expected 0 or more"),
    (dict(radius_clip=-1.0), r"radius_clip -1.0; expected 0 or more"),
    (dict(capacity=0), r"capacity is 0; expected 1 or more"),
  ],
)
def test_options_refuse(options, sentence):
  with pytest.raises(ValueError, match=sentence):
    Options(**options)


def test_options_refuse_unknown_names():
  # Checked twice: by type where annotations are checked, by value elsewhere.
  for options in (dict(depth="E"), dict(camera_model="thin lens")):
    with pytest.raises(Exception, match=next(iter(options))):
      Options(**options)


def changed(**fields):
  return dataclasses.replace(scenes.gaussians(5, batch=(3,)), **fields)


zeros = jnp.zeros


@pytest.mark.parametrize(
  ("gaussians", "camera", "background", "sentence"),
  [
    (changed(means=zeros(3)), {}, None, r"means have shape .* \[..., N, 3\]"),
    (
      changed(quats=zeros((3, 5, 3))),
      {},
      None,
      r"quats have shape \[3, 5, 3\]; expected \[3, 5, 4\]",
    ),
    (changed(scales=zeros((3, 4, 3))), {}, None, r"scales .* \[3, 5, 3\]"),
    (changed(opacities=zeros((3, 5, 1))), {}, None, r"opacities .* \[3, 5\]"),
    (
      changed(colors=zeros((5, 3))),
      {},
      None,
      r"colors have shape \[5, 3\]; expected \[3, 5, 3\] or \[3, 2, 5, 3\]",
    ),
    (changed(colors=None), {}, None, r"neither colors and sh; expected exac"),
    (changed(sh=zeros((3, 5, 1, 3))), {}, None, r"both colors and sh"),
    (
      changed(colors=None, sh=zeros((3, 5, 5, 3))),
      {},
      None,
      r"K = 1, 4, 9, 16 or 25",
    ),
    (
      changed(colors=None, sh=zeros((5, 4, 3))),
      {},
      None,
      r"sh have shape \[5, 4, 3\]; expected \[3, 5, 4, 3\]",
    ),
    (
      changed(means2d_offset=zeros((3, 5, 2))),
      {},
      None,
      r"means2d_offset .* expected \[3, 2, 5, 2\]",
    ),
    (changed(), dict(viewmat=zeros((3, 4))), None, r"viewmat .* \[..., 4, 4\]"),
    (changed(), dict(K=zeros((3, 3))), None, r"K have .* \[3, 2, 3, 3\]"),
    (
      changed(),
      dict(viewmat=zeros((2, 4, 4)), K=zeros((2, 3, 3))),
      None,
      r"Gaussians have batch \(3,\) and cameras \(2,\); expected one to begin",
    ),
    (changed(), dict(width=0), None, r"picture is 0 x 29; expected 1 or more"),
    (
      changed(),
      {},
      zeros((3, 3)),
      r"background have shape \[3, 3\]; expected \[3\] or \[3, 2, 3\]",
    ),
  ],
)
def test_mistakes_are_said_in_one_sentence(
  gaussians, camera, background, sentence
):
  camera = dataclasses.replace(scenes.camera((3, 2)), **camera)
  with pytest.raises(ValueError, match=sentence) as caught:
    rasterize(gaussians, camera, background=background)
  assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
  ("scene", "views", "expected"),
  [
    ((), (), ((), 1, 1)),
    ((), (4,), ((4,), 1, 4)),
    ((2,), (2,), ((2,), 2, 1)),
    ((2,), (2, 3, 4), ((2, 3, 4), 2, 12)),
    ((2, 3), (2,), ((2, 3), 6, 1)),
    ((2, 3), (), ((2, 3), 6, 1)),
    ((0,), (0, 2), ((0, 2), 0, 2)),
  ],
)
def test_batch_rule(scene, views, expected):
  gaussians = scenes.gaussians(4, batch=scene)
  camera = Camera(
    viewmat=zeros((*views, 4, 4)), K=zeros((*views, 3, 3)), width=4, height=3
  )
  assert validate(gaussians, camera, None) == expected
