"""The pipeline: order, randomness, process blocks, state, evaluation."""

import json
import pathlib

import jax
import ml_collections
import numpy as np
import pytest
from PIL import Image

from chibijax.data.options import Options, sources
from chibijax.data.pipeline import Pipeline, make
from chibijax.data.sources import DataError
from configs import common

# Side, and load size before the crop.
SIZE, LOAD = 16, 20


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
  """Folders `a` (11 + 5) and `b` (7 + 3): blue tells the file's number."""
  root = tmp_path_factory.mktemp("folders")
  counts = {"a/train": 11, "a/test": 5, "b/train": 7, "b/test": 3}
  y, x = np.mgrid[:LOAD, :LOAD].astype(np.uint8)
  for name, count in counts.items():
    (root / name).mkdir(parents=True)
    for k in range(count):
      pixels = np.stack([x, y, np.full_like(x, k)], -1)
      Image.fromarray(pixels).save(root / name / f"{k:02}.png")
  return root


def config(folders: pathlib.Path, **changes: object) -> dict[str, object]:
  return {
    "source_a": "folder",
    "source_b": "folder",
    "path_a": str(folders / "a"),
    "path_b": str(folders / "b"),
    "size": SIZE,
    "load_size": LOAD,
    "threads": 2,
    **changes,
  }


def take(
  pipeline: Pipeline, count: int, start: int = 0
) -> list[dict[str, np.ndarray]]:
  with pipeline.iterator() as batches:
    batches.set_state({"next_index": start})
    return [next(batches) for _ in range(count)]


def numbers(batches: list[dict[str, np.ndarray]], key: str) -> list[int]:
  """Which files a run of batches shows."""
  return [int(row[0, 0, 2]) for batch in batches for row in batch[key]]


def assert_same(
  left: list[dict[str, np.ndarray]], right: list[dict[str, np.ndarray]]
) -> None:
  assert len(left) == len(right)
  for a, b in zip(left, right):
    assert a.keys() == b.keys()
    for key in a:
      np.testing.assert_array_equal(a[key], b[key])


def test_batches_match_the_spec(folders: pathlib.Path) -> None:
  pipeline = make(config(folders), split="train", batch_size=4, seed=0)
  (batch,) = take(pipeline, 1)
  spec = pipeline.spec
  assert batch.keys() == spec.keys() == {"image_a", "image_b"}
  for key, x in batch.items():
    assert spec[key] == jax.ShapeDtypeStruct(x.shape, x.dtype)
    assert x.shape == (4, SIZE, SIZE, 3) and x.dtype == np.uint8
  assert pipeline.examples == 11 and pipeline.batches is None
  assert not pipeline.paired
  assert "11 pictures" in pipeline.description
  assert "7 pictures" in pipeline.description


def test_every_epoch_shows_every_picture_in_a_new_order(
  folders: pathlib.Path,
) -> None:
  pipeline = make(config(folders), split="train", batch_size=1, seed=0)
  batches = take(pipeline, 77)
  orders = []
  for key, count in (("image_a", 11), ("image_b", 7)):
    shown = numbers(batches, key)
    epochs = [tuple(shown[k : k + count]) for k in range(0, len(shown), count)]
    assert all(sorted(epoch) == list(range(count)) for epoch in epochs)
    assert len(set(epochs)) == len(epochs)
    orders.append(epochs)
  other = make(config(folders), split="train", batch_size=1, seed=1)
  assert tuple(numbers(take(other, 11), "image_a")) not in orders[0]


def test_domains_of_one_length_have_unrelated_orders(
  folders: pathlib.Path,
) -> None:
  both = config(folders, path_b=str(folders / "a"))
  batches = take(make(both, split="train", batch_size=11, seed=0), 20)
  a = [tuple(numbers([x], "image_a")) for x in batches]
  b = [tuple(numbers([x], "image_b")) for x in batches]
  # Neither in step nor an epoch apart, as with neighbouring seeds.
  assert not set(a) & set(b)


def test_augmentation_differs_between_epochs_and_domains(
  folders: pathlib.Path,
) -> None:
  same = config(folders, path_b=str(folders / "a"))
  batches = take(make(same, split="train", batch_size=11, seed=0), 12)
  windows = set()
  for batch in batches:
    for key in ("image_a", "image_b"):
      row = next(x for x in batch[key] if x[0, 0, 2] == 3)
      windows.add((row[0, 0].tobytes(), row[-1, -1].tobytes()))
  assert len(windows) > 12  # Of 24 draws among 25 windows x 2.


def test_options_switch_crop_and_flip_off(folders: pathlib.Path) -> None:
  plain = config(folders, crop=False, flip=False, size=LOAD)
  for batch in take(make(plain, split="train", batch_size=4), 3):
    for key in ("image_a", "image_b"):
      assert (batch[key][:, 0, :, 0] == np.arange(LOAD)).all()


@pytest.mark.parametrize("start", [0, 3, 10])
def test_state_continues_at_exactly_the_next_batch(
  folders: pathlib.Path, start: int
) -> None:
  pipeline = make(config(folders), split="train", batch_size=4, seed=2)
  whole = take(pipeline, 16)
  with pipeline.iterator() as batches:
    for _ in range(start):
      next(batches)
    state = json.loads(json.dumps(batches.get_state()))
  # Another object, thread count and cache: nothing but the state matters.
  again = make(
    config(folders, threads=1, cache_mb=0),
    split="train",
    batch_size=4,
    seed=2,
  )
  with again.iterator() as batches:
    next(batches)
    batches.set_state(state)
    batches.start_prefetch()
    assert_same([next(batches) for _ in range(6)], whole[start : start + 6])
    assert batches.get_state() == {"next_index": start + 6}


@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize("split", ["train", "eval"])
def test_global_order_does_not_depend_on_the_process_count(
  folders: pathlib.Path, split: str, paired: bool
) -> None:
  def pipeline(index: int, count: int) -> Pipeline:
    return make(
      config(folders, paired=paired),
      split=split,
      batch_size=4,
      seed=3,
      process_index=index,
      process_count=count,
    )

  last = 5 if split == "train" else pipeline(0, 1).batches
  whole = take(pipeline(0, 1), last)
  for count in (2, 4):
    parts = [take(pipeline(p, count), last) for p in range(count)]
    joined = [
      {key: np.concatenate([x[key] for x in rows]) for key in rows[0]}
      for rows in zip(*parts)
    ]
    assert_same(joined, whole)
  # A run of two processes goes on as one.
  assert_same(take(pipeline(0, 1), last - 1, start=1), whole[1:])


def test_worker_processes_change_nothing(folders: pathlib.Path) -> None:
  plain = make(config(folders), split="train", batch_size=4, seed=0)
  several = make(config(folders, workers=2), split="train", batch_size=4)
  expected = take(plain, 8)
  # Two iterators and a jump, one start of the processes, one shared cache.
  assert_same(take(several, 5), expected[:5])
  assert_same(take(several, 6, start=2), expected[2:])


def test_paired_folders_share_crop_and_flip(folders: pathlib.Path) -> None:
  pipeline = make(
    config(folders, paired=True), split="train", batch_size=7, seed=0
  )
  assert pipeline.paired and pipeline.examples == 7
  for batch in take(pipeline, 3):
    np.testing.assert_array_equal(batch["image_a"], batch["image_b"])


def test_evaluation_is_one_padded_pass_in_a_fixed_order(
  folders: pathlib.Path,
) -> None:
  pipeline = make(
    config(folders, size=LOAD), split="eval", batch_size=2, seed=9
  )
  assert pipeline.examples == 3 and pipeline.batches == 2
  batches = list(pipeline)
  assert pipeline.spec["mask"] == jax.ShapeDtypeStruct((2,), np.bool_)
  masks = np.concatenate([x["mask"] for x in batches])
  assert masks.tolist() == [True, True, True, False]
  assert masks.dtype == np.bool_
  # The longer domain is thinned out evenly; padding repeats the last.
  assert numbers(batches, "image_a") == [0, 1, 3, 3]
  assert numbers(batches, "image_b") == [0, 1, 2, 2]
  for batch in batches:
    assert (batch["image_a"][:, 0, :, 0] == np.arange(LOAD)).all()
  capped = make(config(folders, eval_examples=1), split="eval", batch_size=4)
  assert [x["mask"].sum() for x in capped] == [1]
  with pipeline.iterator() as iterator:
    iterator.set_state({"next_index": 2})
    with pytest.raises(StopIteration):
      next(iterator)


def test_single_domain(folders: pathlib.Path) -> None:
  pipeline = make(
    config(folders, source_b="", flip=False), split="train", batch_size=3
  )
  (batch,) = take(pipeline, 1)
  assert batch.keys() == {"image"} == pipeline.spec.keys()


def test_fewer_pictures_than_a_batch(folders: pathlib.Path) -> None:
  one = config(folders, path_a=str(folders / "b" / "test"), source_b="")
  (batch,) = take(make(one, split="train", batch_size=32), 1)
  assert batch["image"].shape[0] == 32


def test_artist_families_share_no_character() -> None:
  small = {"size": 16, "crop": False, "examples": 3, "eval_examples": 3}

  def characters(**changes: object) -> dict[str, list[object]]:
    split = changes.pop("split", "train")
    options = Options.of(small | changes)
    return {
      name: [source.attributes(k) for k in range(3)]
      for joint in sources(options, split)
      for name, source in joint.sources.items()
    }

  train = characters()
  held = characters(split="eval")
  other = characters(seed=1)
  paired = characters(paired=True)
  assert paired["image_a"] == paired["image_b"] == train["image_a"]
  assert held["image_a"] == held["image_b"]  # Ground truth for the metrics.
  families = [train["image_a"], train["image_b"], held["image_a"]]
  families += [other["image_a"], other["image_b"]]
  for k, family in enumerate(families):
    for rest in families[k + 1 :]:
      assert not any(x == y for x in family for y in rest)


def test_artist_end_to_end() -> None:
  small = ml_collections.ConfigDict(
    {"size": 16, "load_size": 18, "examples": 5, "eval_examples": 3}
  )
  train = make(small, split="train", batch_size=2, seed=0)
  assert_same(take(train, 4), take(train, 4))
  held = make(small, split="eval", batch_size=2)
  assert held.paired and not train.paired
  assert [x["mask"].tolist() for x in held] == [[True, True], [True, False]]


def test_every_config_names_real_options() -> None:
  options = Options.of(common.base().data)
  assert options.size == 256 and options.load_size == 286


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"colour": 1}, "config.data has no option colour; the options are"),
    ({"size": 0}, "must be positive"),
    ({"size": 30}, r"load_size \(20\) must be at least data.size \(30\)"),
    ({"workers": -1}, "must not be negative"),
    ({"fit_a": "middle"}, "fit must be one of"),
    ({"source_a": "web"}, "source_a must be artist, folder or tfds"),
    ({"path_b": ""}, "source_b is folder: set data.path_b"),
    ({"path_a": "/nowhere"}, "/nowhere does not exist"),
    ({"paired": True, "source_a": "artist"}, "two sources of one kind"),
  ],
)
def test_bad_options(
  folders: pathlib.Path, changes: dict[str, object], message: str
) -> None:
  with pytest.raises(DataError, match=message):
    make(config(folders, **changes), split="train", batch_size=4)


def test_bad_arguments(folders: pathlib.Path) -> None:
  good = config(folders)
  with pytest.raises(DataError, match="multiple of the 3 processes"):
    make(good, split="train", batch_size=4, process_count=3)
  with pytest.raises(DataError, match="process 2 of 2"):
    make(good, split="train", batch_size=4, process_count=2, process_index=2)
  with pytest.raises(DataError, match="split must be train or eval"):
    make(good, split="test", batch_size=4)
  batches = make(good, split="eval", batch_size=4).iterator()
  for state in ({}, {"next_index": -1}, {"next_index": 2}):
    with pytest.raises(ValueError, match="iterator's state is"):
      batches.set_state(state)
