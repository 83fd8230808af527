"""The avatar task: gradients, frozen and slow groups, resume, parallel."""

import dataclasses
import functools
import pathlib

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax
import pytest

from chibijax.core.types import Axis, TrainState, spec_of
from chibijax.errors import UserError
from chibijax.heads.model import HeadModel
from chibijax.ops import camera
from chibijax.tasks import avatar, avatar_model, avatar_parts
from configs import gagavatar
from tests.tasks import resume

KEY = jax.random.key(5)
STEPS = 4
SIDE = 16


def _config(**changes) -> ml_collections.ConfigDict:
  config = gagavatar.get_config("smoke")
  config.unlock()
  config.update_from_flattened_dict(changes)
  return config


@functools.lru_cache(maxsize=1)
def _batch() -> dict:
  """Four pairs of smooth pictures, with cameras and expressions."""
  rng = np.random.default_rng(2)
  head = avatar_model.load_head("procedural")

  def pictures() -> np.ndarray:
    coarse = rng.uniform(0, 255, (4, 4, 4, 3))
    return jnp.asarray(coarse.repeat(4, 1).repeat(4, 2), jnp.uint8)

  def cameras() -> jax.Array:
    eye = rng.normal(size=(4, 3)) * [1.5, 0.7, 0.1] + [0, 0, 9.3]
    eye = jnp.asarray(eye, jnp.float32)
    return camera.look_at(eye, 0 * eye, jnp.array([[0.0, 1, 0]] * 4))

  def some(*shape: int, scale: float) -> jax.Array:
    return jnp.asarray(rng.normal(size=(4, *shape)) * scale, jnp.float32)

  K = jnp.array([[6.0 * SIDE, 0, 8], [0, 6.0 * SIDE, 8], [0, 0, 1]])
  return {
    "source": pictures(),
    "target": pictures(),
    "source_viewmat": cameras(),
    "target_viewmat": cameras(),
    "K": jnp.stack([K] * 4),
    "shape": some(len(head.shape_names), scale=0.3),
    "expression": abs(some(len(head.expression_names), scale=0.2)),
    "pose": some(6, scale=0.02),
    "eyes": some(6, scale=0.05),
    "target_box": jnp.array([[3.0, 2.5, 13.0, 14.0]] * 4),
  }


def _small_head() -> HeadModel:
  """40 vertices on an ellipsoid that take the procedural head's numbers.

  Thousands of Gaussians on 16 x 16 pixels hide each other: what compositing
  leaves out below 1/255 then adds up, and no gradient sees it.
  """
  rng = np.random.default_rng(0)
  real = avatar_model.load_head("procedural")
  way = rng.normal(size=(40, 3))
  way /= np.linalg.norm(way, axis=1, keepdims=True)
  moves = rng.normal(size=(40, 3, len(real.expression_names))) * 0.002
  blank = np.zeros((40, 3, 0), np.float32)
  return real.replace(
    template=np.float32(way * [0.08, 0.12, 0.1]),
    shape_basis=np.zeros((40, 3, len(real.shape_names)), np.float32),
    expression_basis=np.float32(moves),
    pose_basis=blank,
    combination_basis=blank,
    joint_regressor=np.full((5, 40), 1 / 40, np.float32),
    skinning=np.full((40, 5), 0.2, np.float32),
    combinations=(),
  )


@functools.lru_cache(maxsize=2)
def _task(axis: str | None = None) -> avatar.Avatar:
  # Large Gaussians, so that all of them are seen; no noise, which is a shard's;
  # no loss of vertices alone, which stops gradients.
  changes = {"model.noise": False, "loss.vertices": 0.0, "optim.clip": 0.0}
  config = _config(**changes, ema=0.9)
  config.model.changes.largest = 0.5
  task = avatar.build(config, Axis(axis))
  model = avatar_model.build(
    task.model.config,
    _small_head(),
    residual_colors=True,
    least_opacity=(0.01, 0.1),
  )
  return dataclasses.replace(task, model=model, stride=1)


@functools.lru_cache(maxsize=1)
def _first_state() -> TrainState:
  task, spec = _task(), spec_of(_batch())
  return jax.jit(lambda k: task.init(k, spec))(KEY)


@functools.lru_cache(maxsize=1)
def _step() -> object:
  return jax.jit(_task().train_step)


def _groups(nets: dict) -> dict:
  return avatar.split({k: nets[k] for k in avatar.NETS})


def _length(tree: object) -> float:
  return float(jnp.sqrt(sum((x**2).sum() for x in jax.tree.leaves(tree))))


def test_gradient_through_the_whole_model() -> None:
  first = _first_state()
  state, _ = _step()(first, _batch(), KEY)
  # What Adam remembers after one step is the gradient.
  part = 1 - _config().optim.b1
  grads = {
    group: jax.tree.map(
      lambda x: x / part, optax.tree_utils.tree_get(opt, "mu")
    )
    for group, opt in state.opt.items()
  }
  groups = _groups(first.params)
  assert grads.keys() == groups.keys() == {"normal", "slow"}

  def loss(moves: dict, size: float) -> float:
    moved = jax.tree.map(lambda p, g: p + size * g, groups, moves)
    there = first.replace(params=avatar.merge(moved))
    return float(_step()(there, _batch(), KEY)[1]["loss/total"])

  # Along each network's own gradient, and along all of them together, so far
  # that the loss changes by 6e-5: rounding is 1e-7, and further on edges of
  # Gaussians, kinks of ReLUs and curvature show.
  for name in (*avatar.NETS, ""):
    ours = {
      group: {k: x * k.startswith(name) for k, x in paths.items()}
      for group, paths in grads.items()
    }
    square = _length(ours) ** 2
    size = 3e-5 / square
    slope = (loss(ours, size) - loss(ours, -size)) / (2 * size)
    assert slope == pytest.approx(square, rel=0.05), name


def test_groups_have_their_learning_rates() -> None:
  # Adam's first step is the learning rate, whatever the gradient's size.
  state, metrics = _step()(_first_state(), _batch(), KEY)
  names = {"total", "l1", "box", "lifting"}
  assert {f"loss/{k}" for k in names} | {"train/psnr"} == metrics.keys()
  before, after = (_groups(s.params) for s in (_first_state(), state))
  rate = _config().optim.lr
  assert {p.split("/")[0] for p in before["slow"]} == {"renderer"}
  assert len(before["slow"]) < len(before["normal"])
  for name, expected in (("normal", rate), ("slow", rate / 10)):
    moved = max(
      float(jnp.abs(after[name][k] - before[name][k]).max())
      for k in before[name]
    )
    assert moved == pytest.approx(expected, rel=0.02)
  # The average follows by a tenth of it.
  path = "lifting/front_3/bias"
  np.testing.assert_allclose(
    _groups(state.ema)["normal"][path],
    0.9 * before["normal"][path] + 0.1 * after["normal"][path],
    rtol=1e-5,
    atol=1e-8,
  )


def test_frozen_backbone_has_no_optimizer_and_stays() -> None:
  task = _task()
  frozen = {"backbone": {"kernel": jnp.ones(3)}}
  first = _first_state()
  nets = {**first.params, "encoder": first.params["encoder"] | frozen}
  groups = _groups(nets)
  assert list(groups["frozen"]) == ["encoder/backbone/kernel"]
  assert avatar.merge(groups).keys() == nets.keys()
  # The pyramid ignores them; a step must neither change nor differentiate them.
  state, _ = jax.eval_shape(
    task.train_step, first.replace(params=nets), _batch(), KEY
  )
  assert jax.tree.structure(state.params) == jax.tree.structure(nets)
  assert jax.tree.structure(state.opt) == jax.tree.structure(first.opt)


def test_scene_is_what_is_fixed_and_what_moves() -> None:
  task = _task()
  head, vertices = jax.eval_shape(task._drive, _first_state().params, _batch())
  fixed = 2 * task.model.config.plane**2
  assert head.lifted.means.shape == (4, fixed, 3)
  filled = jax.tree.map(lambda x: jnp.ones(x.shape), head)
  vertices = jnp.arange(4 * 40 * 3.0).reshape(vertices.shape)
  scene = task.model.gaussians(filled, vertices)
  np.testing.assert_array_equal(scene.means[:, fixed:], vertices)
  for field in ("quats", "scales", "opacities", "colors"):
    assert getattr(scene, field).shape[1] == fixed + 40
  # The head is as large in the world as the cameras expect it to be.
  model = avatar.build(_config()).model
  numbers = (_batch()[k] for k in ("shape", "expression", "pose", "eyes"))
  extent = np.ptp(np.asarray(model.vertices(*numbers)[0]), axis=0)
  assert (extent > 0.8).all() and (extent < 2.0).all()


def test_lifted_colors_begin_with_the_photo() -> None:
  image = _batch()["source"] / 255
  photo = avatar_parts.at_plane(image, 8)
  # The second point of the first row lies a seventh of the way across.
  x = 16 / 7 - 0.5
  expected = image[:, 0, 1] * (2 - x) + image[:, 0, 2] * (x - 1)
  # The first row lies on the picture's edge, where half of it is beyond.
  np.testing.assert_allclose(photo[:, 0, 1], expected / 2, atol=1e-5)
  # A correction of 0 in logits is 0.5; features are left alone.
  colors = jnp.full((4, 2, 64, 5), 0.5)
  made = avatar_parts.corrected(colors, photo)
  for side in (0, 1):
    np.testing.assert_allclose(
      made[:, side, :, :3], jnp.clip(photo[:, 0], 0.01, 0.99), atol=1e-6
    )
  np.testing.assert_array_equal(made[..., 3:], 0.5)


def test_backbone_is_read_from_its_file(monkeypatch) -> None:
  changes = {"encoder": "small", "encoder_size": 28, "widths": (4, 4, 4, 4)}
  config = _config(**{"model.backbone": "dino.pth"})
  config.model.changes.update(changes)
  task, spec = avatar.build(config), spec_of(_batch())
  untrained = dataclasses.replace(task.model, backbone="random")
  drawn = jax.eval_shape(untrained.init, KEY)["encoder"]["backbone"]

  def found(path: str) -> tuple:
    assert path == "dino.pth"
    # Any numbers of the right shapes.
    return None, jax.tree.map(
      lambda x: np.broadcast_to(np.float32(1), x.shape), drawn
    )

  monkeypatch.setattr(avatar_model.vit_weights, "load_dinov2", found)
  groups = jax.eval_shape(lambda k: _groups(task.init(k, spec).params), KEY)
  assert all(k.startswith("encoder/backbone/") for k in groups["frozen"])
  assert not any("backbone" in k for k in groups["normal"])
  drawn = {"norm": drawn["norm"]}
  with pytest.raises(UserError, match="does not hold the DINOv2 network"):
    jax.eval_shape(lambda k: task.init(k, spec), KEY)
  monkeypatch.delenv("CHIBIJAX_DINOV2", raising=False)
  with pytest.raises(UserError, match=r"needs DINOv2's weights: set model\."):
    avatar.build(gagavatar.get_config())


def test_metrics_of_each_picture() -> None:
  x = jnp.zeros((2, 16, 16, 3))
  found = avatar._metrics(x, x.at[1].set(0.1))
  np.testing.assert_allclose(found["psnr"], [100, 20], 1e-5)
  np.testing.assert_allclose(found["l1"], [0, 0.1], 1e-5)
  assert found["ssim"][0] > 0.9999 and found["ssim"][1] < 0.1


def test_depth_is_bright_where_it_is_near() -> None:
  depth = jnp.array([[[9.0, 10.0, 11.0]]])
  view = jnp.eye(4).at[2, 3].set(10.0)[None]
  shown = avatar_parts.depth_colors(depth, jnp.ones((1, 1, 3)), view)[0, 0]
  assert float(shown[0].sum()) > float(shown[1].sum()) > float(shown[2].sum())
  hidden = avatar_parts.depth_colors(depth, jnp.zeros((1, 1, 3)), view)
  np.testing.assert_array_equal(hidden, 0)


@pytest.mark.slow
def test_eager_equals_jit() -> None:
  task, state = _task(), _first_state()
  batch = jax.tree.map(lambda x: x[:1], _batch())

  def both(batch: dict) -> tuple:
    head, vertices = task._drive(state.params, batch)
    camera = batch["target_viewmat"], batch["K"]
    return task.model.reenact(state.params, head, vertices, *camera)

  for x, y in zip(both(batch), jax.jit(both)(batch)):
    np.testing.assert_allclose(x, y, 0, 2e-5)


@pytest.mark.slow
def test_pmap_equals_jit() -> None:
  mapped = jax.pmap(
    _task("data").train_step,
    "data",
    in_axes=(None, 0, None),
    out_axes=None,
    devices=jax.devices()[:4],
  )
  ours = theirs = _first_state()
  for k in range(2):
    rows = jax.tree.map(lambda x: x.reshape(4, 1, *x.shape[1:]), _batch())
    ours, our_metrics = mapped(ours, rows, jax.random.fold_in(KEY, k))
    theirs, their_metrics = _step()(theirs, _batch(), KEY)
    for name, value in our_metrics.items():
      # Sums in another order; PSNR is of parts.
      np.testing.assert_allclose(value, their_metrics[name], 2e-3)
  for x, y in zip(jax.tree.leaves(ours.params), jax.tree.leaves(theirs.params)):
    # Adam moves by the learning rate even where a gradient is rounding.
    assert float(jnp.abs(x - y).max()) <= 4.1e-3


def test_training_is_judged_resumes_bitwise_and_compiles_once(
  tmp_path: pathlib.Path,
) -> None:
  _, lines = resume.check(_config(total_steps=STEPS), tmp_path, first=2)
  for line in lines:
    assert {"loss/total", "loss/lifting", "loss/vertices"} <= line.keys()
  judged = resume.logged(tmp_path, "eval")[-1]
  for who in ("", "copy_", "coarse_", "reconstruction_"):
    assert {f"{who}{k}" for k in ("psnr", "ssim", "l1")} <= judged.keys()
  assert "reconstruction_coarse_psnr" in judged and judged["psnr"] > 3
  assert (tmp_path / "samples" / f"step_{STEPS:08d}.png").is_file()


@pytest.mark.parametrize(
  ("change", "words"),
  [
    ({"model.head": "flame"}, "'flame:PATH'"),
    ({"model.networks": "large"}, r"model\.networks"),
    ({"model.changes.plane": 3}, "plane, expected fields among"),
    ({"loss.lifting": -1.0}, r"loss\.l1, box"),
    ({"loss.lifting_stride": 0}, "lifting_stride at least 1"),
    ({"ema": 1.0}, "ema is 1.0"),
    ({"model.least_opacity": (0.0, 1.0)}, "two numbers of 0 to below 1"),
    ({"model.least_scale": 0.05}, "below 0.05, the largest"),
    ({"optim.decay_to": 0.0}, r"optim\.decay_to"),
  ],
)
def test_bad_values_are_refused(change: dict, words: str) -> None:
  config = _config()
  with config.model.changes.unlocked():
    config.update_from_flattened_dict(change)
  with pytest.raises(UserError, match=words) as caught:
    avatar.build(config)
  assert "\n" not in str(caught.value)


def test_other_batches_are_refused() -> None:
  batch = _batch()
  spec = spec_of({k: x for k, x in batch.items() if k != "K"})
  with pytest.raises(UserError, match="these batches lack K"):
    _task().init(KEY, spec)
  small = batch | {k: batch[k][:, :8, :8] for k in ("source", "target")}
  with pytest.raises(UserError, match="need 16x16"):
    _task().init(KEY, spec_of(small))
