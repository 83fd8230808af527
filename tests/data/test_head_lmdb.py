"""Clips of heads in LMDB: there and back, published files, mistakes."""

import json
import os
import pathlib
import pickle

import numpy as np
import pytest
from PIL import Image

from chibijax.data import head_frames, pipeline
from chibijax.data.head_lmdb import HeadLmdb, HeadLmdbSource, Writer
from chibijax.data.heads import ProceduralHeads
from chibijax.data.images import ImageError
from chibijax.data.sources import DataError
from chibijax.heads import motion

lmdb = pytest.importorskip("lmdb", reason="needs the package lmdb")

SIDE = 32


def parameters(k: int) -> dict[str, np.ndarray]:
  rng = np.random.default_rng(k)
  view = np.eye(4, dtype=np.float32)
  view[:3, :3] = np.linalg.qr(rng.normal(size=(3, 3)))[0]
  view[:3, 3] = [0.1 * k, 0.2, 9.3]
  return {
    "box": np.array([0.1, 0.2, 0.8, 0.9], np.float32),
    "shape": rng.normal(size=7).astype(np.float32),
    "expression": rng.normal(size=5).astype(np.float32),
    "pose": rng.normal(size=6).astype(np.float32),
    "eyes": rng.normal(size=6).astype(np.float32),
    "transform": head_frames.transform(view),
  }


def picture(k: int, side: int = SIDE) -> np.ndarray:
  """Smooth, so that JPEG keeps it to a few levels."""
  ramp = np.linspace(0, 200, side)
  red = np.broadcast_to(ramp, (side, side))
  return np.stack([red, red.T, np.full_like(red, 10 * k)], -1).astype(np.uint8)


def write(root: pathlib.Path, splits: bool = False, **options: bool) -> None:
  """Clips a_b (4 frames) and 000007 (3), not in their order."""
  keys = ["a_b_10", "000007_2", "a_b_9", "000007_0", "a_b_0", "000007_1",
          "a_b_1"]  # fmt: skip
  with Writer(root, **options) as writer:
    for k, key in enumerate(keys):
      split = ("test" if key.startswith("0") else "train") if splits else ""
      writer.add(key, picture(k), parameters(k), split=split)


def test_what_was_written_is_read(tmp_path: pathlib.Path) -> None:
  write(tmp_path / "d")
  store = HeadLmdb(tmp_path / "d")
  assert store.frames.keys == (
    "000007_0", "000007_1", "000007_2", "a_b_0", "a_b_1", "a_b_9", "a_b_10",
  )  # fmt: skip
  row = store.frames.keys.index("a_b_9")
  for name, value in parameters(2).items():
    np.testing.assert_array_equal(getattr(store.frames, name)[row], value)
  # JPEG of quality 95 with halved chroma.
  read = store.picture(row, SIDE).astype(int)
  assert np.abs(read - picture(2)).max() <= 12
  assert store.picture(row, 16).shape == (16, 16, 3)
  assert sorted(os.listdir(tmp_path)) == ["d"]


def test_published_pickle_equals_ours(tmp_path: pathlib.Path) -> None:
  root = tmp_path / "d"
  write(root, published=True)
  ours = head_frames.read(root / "optim.npz")
  theirs = head_frames.read(root / "optim.pkl")
  assert ours.keys == theirs.keys
  for a, b in zip(ours[1:], theirs[1:], strict=True):
    np.testing.assert_array_equal(a, b)
  saved = pickle.loads((root / "optim.pkl").read_bytes())
  assert saved["a_b_9"]["shapecode"].shape == (7,)
  # As NumPy before 2.0 and protocol 5 would write them, float64 and batched.
  row = {
    theirs: np.asfortranarray(getattr(ours, name)[:1].astype(np.float64))
    for name, theirs in (
      ("box", "bbox"), ("shape", "shapecode"), ("expression", "expcode"),
      ("pose", "posecode"), ("eyes", "eyecode"),
      ("transform", "transform_matrix"),
    )
  }  # fmt: skip
  for protocol in (2, 4, 5):
    data = pickle.dumps({"x_1": row, "x_2": row}, protocol)
    if protocol == 2:
      data = data.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    (root / "smoothed.pkl").write_bytes(data)
    read = head_frames.read(root / "smoothed.pkl")
    np.testing.assert_array_equal(read.transform[1], ours.transform[0])
  (root / "optim.npz").unlink()
  assert head_frames.find(root).name == "smoothed.pkl"


class _Attack:
  """Runs a command when an ordinary unpickler reads it."""

  def __reduce__(self) -> tuple:
    return os.mkdir, (os.environ["CHIBIJAX_ATTACK"],)


def test_a_malicious_pickle_is_refused(
  tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  mark = tmp_path / "ran"
  monkeypatch.setenv("CHIBIJAX_ATTACK", str(mark))
  file = tmp_path / "optim.pkl"
  file.write_bytes(pickle.dumps({"x_1": {"bbox": _Attack()}}))
  with pytest.raises(DataError, match=r"asks for posix.mkdir"):
    head_frames.read(file)
  assert not mark.exists()
  file.write_bytes(pickle.dumps({"x_1": {"bbox": np.array([object()])}}, 2))
  with pytest.raises(DataError, match=r"optim\.pkl"):
    head_frames.read(file)


def test_camera_is_that_of_pytorch3d() -> None:
  """A point by PyTorch3D's definition (row vectors, +x left, +y up, NDC)."""
  rng = np.random.default_rng(0)
  transform = np.concatenate(
    [np.linalg.qr(rng.normal(size=(3, 3)))[0], [[0.2], [-0.1], [9.3]]], axis=1
  ).astype(np.float32)
  point = rng.normal(size=3).astype(np.float32)
  x, y, z = point @ transform[:, :3] + transform[:, 3]
  # NDC +1 is the left and the upper edge.
  expected = 64 * (1 - 12 * np.array([x, y]) / z)
  view = head_frames.viewmat(transform)
  u, v, w = motion.intrinsics(128) @ (view[:3, :3] @ point + view[:3, 3])
  np.testing.assert_allclose([u / w, v / w], expected, rtol=1e-5)
  np.testing.assert_array_equal(head_frames.transform(view), transform)


def test_pairs_of_a_clip_make_batches(tmp_path: pathlib.Path) -> None:
  root = tmp_path / "d"
  write(root, splits=True)
  train = HeadLmdbSource(root, SIDE, split="train")
  held = HeadLmdbSource(root, SIDE, split="eval")
  # Eight pairs for each target; held out, the first frame makes the others.
  assert len(train) == 32 and len(held) == 2
  example = held[1]
  np.testing.assert_array_equal(example["shape"], parameters(3)["shape"])
  np.testing.assert_array_equal(example["pose"], parameters(1)["pose"])
  np.testing.assert_array_equal(
    example["target_box"], parameters(1)["box"] * np.float32(SIDE)
  )
  copy = pickle.loads(pickle.dumps(train))
  sources = set()
  for index in range(0, 32, 4):
    one, again = train[index], copy[index]
    for key, value in one.items():
      np.testing.assert_array_equal(value, again[key])
    assert (one["source"] != one["target"]).any()
    sources.add(one["source"].tobytes())
  assert len(sources) > 1
  config = {
    "source_a": "head_lmdb", "source_b": "", "path_a": str(root), "size": SIDE,
    "threads": 1,
  }  # fmt: skip
  made = pipeline.make(config, split="train", batch_size=3)
  with made.iterator() as batches:
    batch = next(batches)
  for key, spec in made.spec.items():
    assert batch[key].shape == spec.shape and batch[key].dtype == spec.dtype


def test_drawn_heads_come_back_with_their_cameras(
  tmp_path: pathlib.Path,
) -> None:
  """The embedded clips, written and read, are the same examples."""
  people = ProceduralHeads(SIDE, identities=1, frames=2)
  frames = [people.frame(0, k) for k in range(2)]
  with Writer(tmp_path / "d") as writer:
    for k, frame in enumerate(frames):
      values = {x: frame[x] for x in ("shape", "expression", "pose", "eyes")}
      values["box"] = frame["box"] / SIDE
      values["transform"] = head_frames.transform(frame["viewmat"])
      writer.add(f"one_{k}", frame["picture"], values, split="test")
  read = HeadLmdbSource(tmp_path / "d", SIDE, split="eval")[0]
  assert set(read) == set(people.fields(SIDE))
  for key, name in (
    ("shape", "shape"), ("expression", "expression"), ("pose", "pose"),
    ("eyes", "eyes"), ("target_viewmat", "viewmat"), ("target_box", "box"),
  ):  # fmt: skip
    np.testing.assert_allclose(read[key], frames[1][name], atol=1e-5)
  np.testing.assert_array_equal(read["source_viewmat"], frames[0]["viewmat"])
  np.testing.assert_array_equal(read["K"], people[0]["K"])
  # JPEG with halved chroma at the edges of a small picture.
  change = np.abs(read["target"].astype(int) - frames[1]["picture"])
  assert change.mean() < 4


def test_clips_are_held_out_without_a_list(tmp_path: pathlib.Path) -> None:
  write(tmp_path / "d")
  rows = HeadLmdb(tmp_path / "d").splits(0.1)
  assert rows == {"train": [0, 1, 2], "eval": [3, 4, 5, 6]}


def truncate(root: pathlib.Path) -> None:
  file = root / "img_lmdb" / "data.mdb"
  file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def scribble(root: pathlib.Path) -> None:
  (root / "img_lmdb" / "data.mdb").write_bytes(b"no database" * 1000)


def forget(root: pathlib.Path) -> None:
  with lmdb.open(str(root / "img_lmdb")) as environment:
    with environment.begin(write=True) as transaction:
      transaction.delete(b"a_b_9")


def lose(root: pathlib.Path) -> None:
  (root / "optim.npz").unlink()


def cut(root: pathlib.Path) -> None:
  data = (root / "optim.npz").read_bytes()
  (root / "optim.npz").write_bytes(data[: len(data) // 2])


def resize(root: pathlib.Path) -> None:
  frames = head_frames.read(root / "optim.npz")
  head_frames.write(
    root / "optim.npz", frames._replace(eyes=frames.pose[:, 1:])
  )


def spoil(root: pathlib.Path) -> None:
  frames = head_frames.read(root / "optim.npz")
  frames.transform[2, 0, 0] = np.nan
  head_frames.write(root / "optim.npz", frames)


def rename(root: pathlib.Path) -> None:
  (root / "dataset.json").write_text(json.dumps({"train": ["z_1", "z_2"]}))


@pytest.mark.parametrize(
  ("damage", "sentence"),
  [
    (truncate, r"data.mdb is truncated: it has \d+ of \d+ bytes"),
    (scribble, "cannot be opened as LMDB"),
    (forget, "lacks the frame a_b_9, which has parameters .1 of 7"),
    (lose, "has no parameters: none of optim.npz"),
    (cut, "optim.npz is damaged"),
    (resize, r"eyecode of frame 000007_0 has the shape \(5,\), expected"),
    (spoil, "transform_matrix of frame 000007_2 is not finite"),
    (rename, "names the frame z_1, which has no parameters"),
  ],
)
def test_each_mistake_is_one_sentence(
  tmp_path: pathlib.Path, damage: object, sentence: str
) -> None:
  root = tmp_path / "d"
  write(root)
  damage(root)
  with pytest.raises(DataError, match=sentence) as caught:
    HeadLmdbSource(root, SIDE, split="train")
  assert "\n" not in str(caught.value)


def test_pictures_must_be_square_and_whole(tmp_path: pathlib.Path) -> None:
  root = tmp_path / "d"
  write(root)
  with lmdb.open(str(root / "img_lmdb")) as environment:
    with environment.begin(write=True) as transaction:
      Image.fromarray(picture(0)[:20]).save(tmp_path / "x.png")
      transaction.put(b"000007_0", (tmp_path / "x.png").read_bytes())
      transaction.put(b"000007_1", transaction.get(b"000007_1")[:300])
  store = HeadLmdb(root)
  with pytest.raises(ImageError, match="32x20 pixels, expected a square"):
    store.picture(0, SIDE)
  with pytest.raises(ImageError, match="000007_1"):
    store.picture(1, SIDE)


def test_the_writer_leaves_nothing_behind(tmp_path: pathlib.Path) -> None:
  with pytest.raises(DataError, match="CLIP_NUMBER"):
    with Writer(tmp_path / "d") as writer:
      writer.add("five", picture(0), parameters(0))
  with pytest.raises(DataError, match="added twice"):
    with Writer(tmp_path / "d") as writer:
      writer.add("a_1", picture(0), parameters(0))
      writer.add("a_1", picture(0), parameters(0))
  with pytest.raises(DataError, match="has no eyecode"):
    with Writer(tmp_path / "d") as writer:
      wrong = parameters(0)
      del wrong["eyes"]
      writer.add("a_1", picture(0), wrong)
  assert os.listdir(tmp_path) == []
  (tmp_path / "d").mkdir()
  with pytest.raises(DataError, match="exists already"):
    Writer(tmp_path / "d")


def test_the_map_grows(
  tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  monkeypatch.setattr("chibijax.data.head_lmdb._START_BYTES", 1 << 16)
  rng = np.random.default_rng(0)
  noise = rng.integers(0, 256, (200, 200, 3), np.uint8)
  with Writer(tmp_path / "d") as writer:
    for k in range(3):
      writer.add(f"a_{k}", noise, parameters(k))
  assert len(HeadLmdb(tmp_path / "d").frames.keys) == 3
