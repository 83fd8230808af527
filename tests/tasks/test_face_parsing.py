"""The face_parsing task: learning, resume, compilation, labels that follow."""

import functools
import pathlib

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest

from chibijax.core.types import Axis, spec_of
from chibijax.data import pipeline
from chibijax.data.portraits import LabelledPortraits
from chibijax.data.sources import DataError
from chibijax.errors import UserError
from chibijax.faces import align
from chibijax.models import face_parser
from chibijax.ops import face_views
from chibijax.tasks import face_parsing
from configs import face_landmarks, face_segment
from tests.tasks import resume

KEY = jax.random.key(3)
CONFIGS = {"landmarks": face_landmarks, "segment": face_segment}


def _config(kind: str, **changes) -> ml_collections.ConfigDict:
  config = CONFIGS[kind].get_config("smoke")
  config.update_from_flattened_dict(changes)
  return config


@functools.lru_cache(maxsize=1)
def _batch(size: int = 96) -> dict:
  source = LabelledPortraits(size, seed=5, examples=4)
  examples = [source[k] for k in range(4)]
  return {k: np.stack([e[k] for e in examples]) for k in examples[0]}


def test_portraits_are_labelled() -> None:
  source = LabelledPortraits(64, seed=2, examples=3)
  example = source[1]
  assert example["image"].shape == (64, 64, 3)
  assert example["landmarks"].shape == (68, 2)
  label = example["label"]
  assert label.dtype == np.uint8 and label.max() <= 3
  assert (label == 2).mean() > 0.05 and (label == 0).mean() > 0.1
  again = LabelledPortraits(64, seed=2, examples=3)[1]
  np.testing.assert_array_equal(label, again["label"])
  assert "3 labelled portraits" in source.description


def test_pipeline_knows_labelled_portraits() -> None:
  config = _config("landmarks")
  made = pipeline.make(config.data, split="train", batch_size=4)
  assert set(made.spec) == {"image", "landmarks", "label"}
  assert made.description.startswith("train (labelled)")
  with made.iterator() as batches:
    batch = next(batches)
  assert batch["label"].shape == (4, 48, 48)
  config.data.source_a = "folder"
  with pytest.raises(DataError, match="only the artist"):
    pipeline.make(config.data, split="train")


def test_anchors_are_those_of_the_canonical_frame() -> None:
  anchors = align.PORTRAIT[list(align.FITTED)]
  np.testing.assert_array_equal(face_parser.ANCHORS, anchors)
  mean = face_parser.MEAN_SHAPE
  mirrored = mean[face_views.MIRRORED] * [-1, 1] + [1, 0]
  np.testing.assert_allclose(mirrored, mean, atol=2e-3)


@pytest.mark.parametrize("kind", CONFIGS)
def test_exact_view_is_the_aligned_portrait(kind: str) -> None:
  task = face_parsing.build(_config(kind))
  batch = _batch()
  images, points, label = jax.jit(lambda b: task.seen(b, None))(batch)
  window = task.window
  transform = align.find_transform(
    batch["landmarks"][0], window.size, window.margin
  )
  expected = align.move(transform, batch["landmarks"][0])
  found = np.asarray(points[0]) * window.side + np.array(window.corner)
  np.testing.assert_allclose(found, expected, atol=0.05)
  np.testing.assert_allclose(np.asarray(label).sum(-1), 1, atol=1e-5)
  left, top = window.corner
  side = slice(top, top + window.side), slice(left, left + window.side)
  picture = align.warp(batch["image"][0], transform, (window.size,) * 2)[side]
  difference = np.abs(picture / 127.5 - 1 - np.asarray(images[0]))
  # Bilinear here, bicubic there.
  assert difference.mean() < 0.03


def test_points_follow_the_bent_picture() -> None:
  # A disc around each of a few landmarks: where it is seen is where the
  # landmark is said to be.
  batch = _batch()
  points = jnp.asarray(batch["landmarks"][0])
  at = face_views.align(points, points)
  grid = np.stack(np.meshgrid(np.arange(96) + 0.5, np.arange(96) + 0.5), -1)

  @jax.jit
  def seen(key):
    view = face_views.draw_view(
      key, at, points, 96, 20.0,
      shift=0.1, scale=0.1, turn=10.0, stretch=0.2, perspective=0.2, bend=0.08,
      features=0.2, parallax=0.2,
    )  # fmt: skip
    discs = jnp.exp(
      -0.5 * jnp.square(grid[:, :, None] - points[None, None]).sum(-1) / 4
    )
    return face_views.see(view, discs, 96, 96), face_views.see_points(
      view, points
    )

  moved = 0.0
  for k in range(3):
    discs, found = map(np.asarray, seen(jax.random.fold_in(KEY, k)))
    middle = np.einsum("hwn,hwd->nd", discs, grid) / discs.sum((0, 1))[:, None]
    inside = (found > 12).all(1) & (found < 84).all(1)
    assert inside.sum() > 30
    error = np.abs(middle - found)[inside]
    # Discs are stretched unevenly, which shifts their middles a little.
    assert error.max() < 1.0 and error.mean() < 0.2
    moved += np.abs(found - batch["landmarks"][0])[inside].mean()
  assert moved > 3


def test_augmented_batches_are_pictures_and_differ() -> None:
  task = face_parsing.build(_config("segment"))
  look = jax.jit(task.seen)
  images, points, label = look(_batch(), KEY)
  assert np.isfinite(points).all()
  assert float(jnp.abs(images).max()) <= 1
  np.testing.assert_allclose(np.asarray(label).sum(-1), 1, atol=1e-4)
  other = look(_batch(), jax.random.key(4))[0]
  assert float(jnp.abs(images - other).mean()) > 0.1
  again = look(_batch(), KEY)[0]
  np.testing.assert_array_equal(images, again)


# Both kinds run the same step but for the network and its loss.
@pytest.mark.parametrize(
  "kind", [pytest.param("landmarks", marks=pytest.mark.slow), "segment"]
)
def test_training_is_judged_resumes_bitwise_and_compiles_once(
  kind: str, tmp_path: pathlib.Path
) -> None:
  state, _ = resume.check(_config(kind, total_steps=3), tmp_path)
  assert all(np.isfinite(x).all() for x in jax.tree.leaves(state.params))
  assert (tmp_path / "samples").is_dir()


@pytest.mark.slow
def test_pmap_equals_jit() -> None:
  config = _config("landmarks")
  plain = face_parsing.build(config)
  mapped = jax.pmap(
    face_parsing.build(config, Axis("data")).train_step,
    "data",
    in_axes=(None, 0, None),
    out_axes=None,
    devices=jax.devices()[:4],
  )
  batch = _batch()
  state = jax.jit(lambda k: plain.init(k, spec_of(batch)))(KEY)
  rows = jax.tree.map(lambda x: x.reshape(4, 1, *x.shape[1:]), batch)
  ours, our_metrics = mapped(state, rows, KEY)
  theirs, their_metrics = jax.jit(plain.train_step)(state, batch, KEY)
  # Sums in another order; compression's rounding may fall the other way.
  for name, value in their_metrics.items():
    np.testing.assert_allclose(our_metrics[name], value, rtol=1e-3)
  assert int(ours.step) == int(theirs.step) == 1


def test_refusals() -> None:
  with pytest.raises(UserError, match="expected 'landmarks' or 'segment'"):
    face_parsing.build(_config("landmarks", **{"model.name": "pose"}))
  with pytest.raises(UserError, match="ema is 1"):
    face_parsing.build(_config("landmarks", ema=1.0))
  task = face_parsing.build(_config("landmarks"))
  spec = {"image": jax.ShapeDtypeStruct((4, 48, 48, 3), np.uint8)}
  with pytest.raises(UserError, match="needs labelled portraits"):
    task.init(KEY, spec)
