"""Folders: what is found, skipped, counted, split, paired and replaced."""

import pathlib
import pickle

import numpy as np
import pytest
from PIL import Image

from chibijax.data.folder import FolderSource, matched
from chibijax.data.images import Reader
from chibijax.data.sources import DataError, JointSource


def fill(path: pathlib.Path, count: int, side: int = 20) -> None:
  """Writes `count` plain PNGs, picture k of colour (k, k, k)."""
  path.mkdir(parents=True, exist_ok=True)
  for k in range(count):
    Image.new("RGB", (side, side), (k, k, k)).save(path / f"{k:03}.png")


def truncate(path: pathlib.Path) -> None:
  path.write_bytes(path.read_bytes()[:-30])


def test_tree_is_sorted_and_odd_files_are_counted(
  tmp_path: pathlib.Path,
) -> None:
  fill(tmp_path / "b", 2)
  fill(tmp_path / "a", 2)
  fill(tmp_path / ".hidden", 2)
  fill(tmp_path / "__MACOSX", 2)
  Image.new("RGB", (4, 90)).save(tmp_path / "a" / "small.png")
  (tmp_path / "a" / "empty.jpg").write_bytes(b"")
  (tmp_path / "a" / "page.jpg").write_text("<html>")
  (tmp_path / "a" / "other.jpg").write_text("<html>")
  (tmp_path / "notes.txt").write_text("hello")
  (tmp_path / ".DS_Store").write_text("")
  (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
  source = FolderSource(tmp_path, Reader(min_side=16))
  assert source.files == ("a/000.png", "a/001.png", "b/000.png", "b/001.png")
  assert source.description == (
    f"folder {tmp_path}: 4 pictures, 4 skipped (1 empty, 1 small,"
    " 2 unreadable), 1 other files ignored"
  )
  assert source[1]["image"].shape == (20, 20, 3)
  assert (source[1]["image"] == 1).all()


def test_clear_sentences(tmp_path: pathlib.Path) -> None:
  with pytest.raises(DataError, match=r"folder .*nowhere does not exist\.$"):
    FolderSource(tmp_path / "nowhere")
  (tmp_path / "file").write_text("x")
  with pytest.raises(DataError, match=r"file is a file, not a folder\.$"):
    FolderSource(tmp_path / "file")
  (tmp_path / "empty").mkdir()
  with pytest.raises(DataError, match=r"empty holds no pictures\.$"):
    FolderSource(tmp_path / "empty")
  with pytest.raises(DataError, match=r"no pictures \(1 other files\)\.$"):
    FolderSource(tmp_path)
  (tmp_path / "bad.png").write_text("x")
  with pytest.raises(DataError, match=r"no usable picture among 1; .*bad\.png"):
    FolderSource(tmp_path)


def test_damaged_pictures_are_replaced_by_the_next(
  tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
  fill(tmp_path, 5)
  for k in (1, 2, 4):
    truncate(tmp_path / f"{k:03}.png")
  source = FolderSource(tmp_path)
  values = [int(source[k]["image"][0, 0, 0]) for k in (4, 3, 2, 1, 0, 4)]
  assert values == [0, 3, 3, 3, 0, 0]
  assert source.description.endswith("5 pictures, 3 replaced as damaged")
  assert len(caplog.records) == 3
  assert "004.png is damaged or truncated" in caplog.text
  verified = FolderSource(tmp_path, verify=True)
  assert verified.files == ("000.png", "003.png")
  assert "3 skipped (3 damaged)" in verified.description
  for k in (0, 3):
    truncate(tmp_path / f"{k:03}.png")
  with pytest.raises(DataError, match="None of the 5 pictures"):
    FolderSource(tmp_path)[2]
  with pytest.raises(IndexError):
    source[5]


def test_hash_split_is_a_partition_that_additions_do_not_move(
  tmp_path: pathlib.Path,
) -> None:
  fill(tmp_path, 40)

  def sides(fraction: float) -> list[set[str]]:
    return [
      set(FolderSource(tmp_path, split=s, eval_fraction=fraction).files)
      for s in ("train", "eval")
    ]

  train, held = sides(0.2)
  assert not train & held and len(train | held) == 40
  assert 2 <= len(held) <= 16
  fill(tmp_path / "more", 40)
  train_after, held_after = sides(0.2)
  assert train <= train_after and held <= held_after
  # Neither side is ever empty.
  assert [len(side) for side in sides(1e-9)] == [79, 1]
  assert [len(side) for side in sides(1.0)] == [1, 79]
  # None is held out where that is asked for.
  assert [len(side) for side in sides(0.0)] == [80, 80]


def test_one_picture_serves_both_splits(tmp_path: pathlib.Path) -> None:
  fill(tmp_path, 1)
  for split in ("train", "eval"):
    assert len(FolderSource(tmp_path, split=split)) == 1


@pytest.mark.parametrize(
  ("given", "train", "held"),
  [
    (".", "train", "val"),
    ("train", "train", "test"),
    ("trainA", "trainA", "testA"),
  ],
)
def test_own_splits_are_used(
  tmp_path: pathlib.Path, given: str, train: str, held: str
) -> None:
  fill(tmp_path / train, 3)
  fill(tmp_path / held, 2)
  root = tmp_path / given
  assert len(FolderSource(root, split="train")) == 3
  assert len(FolderSource(root, split="eval")) == 2


def test_pairs_match_by_name_and_are_replaced_together(
  tmp_path: pathlib.Path,
) -> None:
  fill(tmp_path / "a", 5)
  fill(tmp_path / "b", 4)
  (tmp_path / "b" / "000.png").rename(tmp_path / "b" / "x.png")
  Image.new("RGB", (20, 20), (2, 2, 2)).save(tmp_path / "b" / "002.bmp")
  (tmp_path / "b" / "002.png").unlink()
  truncate(tmp_path / "a" / "001.png")
  a, b = matched(FolderSource(tmp_path / "a"), FolderSource(tmp_path / "b"))
  assert "3 pictures of 5" in a.description
  assert b.files == ("001.png", "002.bmp", "003.png")
  pairs = JointSource({"image_a": a, "image_b": b})
  for k, value in enumerate((2, 2, 3)):
    assert {int(x[0, 0, 0]) for x in pairs[k].values()} == {value}
  assert pairs.description.endswith("1 replaced as damaged")
  fill(tmp_path / "c" / "deep", 2)
  with pytest.raises(DataError, match="same relative paths"):
    matched(a, FolderSource(tmp_path / "c"))
  with pytest.raises(DataError, match=r"equally long, got \[3, 5\]"):
    JointSource({"a": a, "b": FolderSource(tmp_path / "a")})


def test_source_pickles_and_its_cache_does_not(tmp_path: pathlib.Path) -> None:
  fill(tmp_path, 4)
  source = FolderSource(tmp_path, cache_bytes=2 * 20 * 20 * 3)
  first = [source[k]["image"] for k in range(4)]
  assert source.cache.used == 2 * 20 * 20 * 3
  assert source[0]["image"] is first[0]  # Cached.
  assert source[3]["image"] is not first[3]  # No room for it.
  with pytest.raises(ValueError, match="read-only"):
    first[0][0] = 1
  copy = pickle.loads(pickle.dumps(source))
  assert copy.cache.used == 0
  for k in range(4):
    np.testing.assert_array_equal(copy[k]["image"], first[k])


def test_shared_photos_are_all_usable(shared_data: pathlib.Path) -> None:
  source = FolderSource(
    shared_data / "photos", Reader(size=32, fit="top", min_side=16)
  )
  assert len(source) == 459 and not source.skipped
  assert source[458]["image"].shape == (32, 32, 3)
