"""Clips of procedural people: the layout, the cameras, held-out people."""

import pickle

import jax.numpy as jnp
import numpy as np
import pytest

from chibijax.data import pipeline
from chibijax.data.heads import ProceduralHeads
from chibijax.data.sources import DataError
from chibijax.heads.model import vertices
from chibijax.heads.procedural import procedural_head, procedural_regions
from chibijax.ops import camera

SIZE = 32


def source(**changes: object) -> ProceduralHeads:
  options = dict(examples=6, identities=3, frames=3, seed=4) | changes
  return ProceduralHeads(SIZE, **options)


def test_examples_are_a_function_of_their_index() -> None:
  one = source(cache_bytes=1 << 20)
  copy = pickle.loads(pickle.dumps(one))
  for index in (4, 1, 4):
    example, again = one[index], copy[index]
    for key, (shape, kind) in one.fields(SIZE).items():
      assert example[key].shape == shape and example[key].dtype == kind, key
      np.testing.assert_array_equal(example[key], again[key])
  assert set(example) == set(one.fields(SIZE))
  assert len(one) == 6 and "3 procedural people" in one.description
  # Frames are kept, and shared by the pairs of a person.
  assert 0 < one.drawn.used < 4 * 2 * (3 * SIZE * SIZE + 600)


def test_known_frames_need_no_person(monkeypatch: pytest.MonkeyPatch) -> None:
  one = source(cache_bytes=1 << 20, identities=1, frames=2)
  first = one[0]
  monkeypatch.setattr(ProceduralHeads, "character", None)
  # Two frames: every pair shows both of them.
  second = one[1]
  assert {first["source"].tobytes(), first["target"].tobytes()} == {
    second["source"].tobytes(), second["target"].tobytes(),
  }  # fmt: skip


def test_frames_of_a_pair_differ_in_all_but_the_person() -> None:
  example = source()[2]
  assert (example["source"] != example["target"]).mean() > 0.05
  assert (example["source_viewmat"] != example["target_viewmat"]).any()
  person = source().character(2)
  np.testing.assert_array_equal(example["shape"], person.shape)
  assert example["expression"].any()
  assert not example["pose"][:3].any()


def test_vertices_of_the_model_project_into_the_picture() -> None:
  """JAX's vertices and camera against what was drawn: coverage and box."""
  people = source(chibi_share=0.5)
  model = procedural_head()
  neck = procedural_regions().neck
  for index in (0, 1):
    example = people[index]
    points = 5.0 * vertices(
      model,
      *(
        jnp.asarray(example[k]) for k in ("shape", "expression", "pose", "eyes")
      ),
    )
    view = jnp.asarray(example["target_viewmat"])
    K = jnp.asarray(example["K"])
    assert float(K[0, 0]) == 6 * SIZE
    seen = camera.to_pixels(camera.to_camera(points, view), K)
    head = np.asarray(seen)[neck < 0.5]
    x0, y0, x1, y1 = example["target_box"]
    corners = np.concatenate([head.min(axis=0), head.max(axis=0)])
    np.testing.assert_allclose(
      [x0, y0, x1, y1], np.clip(corners, 0, SIZE), atol=1e-3
    )
    inside = head[((head > 1) & (head < SIZE - 1)).all(axis=1)]
    places = np.floor(inside).astype(int)
    lit = example["target"][places[:, 1], places[:, 0]].max(axis=1) > 0
    assert lit.mean() > 0.98
    # Black around.
    assert not example["target"][0, 0].any()


def test_held_out_people_are_others() -> None:
  config = {
    "domain_a": "head", "source_b": "", "size": SIZE, "examples": 4,
    "eval_examples": 3, "identities": 2, "frames": 2, "threads": 1,
  }  # fmt: skip
  made = {s: pipeline.make(config, split=s, batch_size=2)
          for s in ("train", "eval")}  # fmt: skip
  assert made["eval"].examples == 3
  seeds = {s: p._sources[0].seed for s, p in made.items()}
  assert seeds == {"train": 0, "eval": 1}
  batches = {}
  for split, one in made.items():
    with one.iterator() as iterator:
      batches[split] = next(iterator)
    for key, spec in one.spec.items():
      found = batches[split][key]
      assert found.shape == spec.shape and found.dtype == spec.dtype
  for shape in batches["train"]["shape"]:
    assert (shape != batches["eval"]["shape"]).any(axis=1).all()


@pytest.mark.parametrize(
  "changes",
  [{"frames": 1}, {"identities": 0}, {"examples": 0}, {"chibi_share": 1.5}],
)
def test_mistakes_are_one_sentence(changes: dict[str, float]) -> None:
  with pytest.raises(DataError, match="got"):
    source(**changes)


def test_the_share_of_chibis_is_kept() -> None:
  none, both = source(chibi_share=0.0), source(chibi_share=1.0)
  at = procedural_head().shape_names.index("chibi")
  for k in range(3):
    assert none.character(k).shape[at] == 0
    assert both.character(k).shape[at] > 0.8
