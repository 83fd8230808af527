"""Labels by a CSV for folders, and by features for TFDS."""

import pathlib
import pickle

import numpy as np
import pytest
from PIL import Image

from chibijax.data import pipeline
from chibijax.data.folder import FolderSource
from chibijax.data.labels import LabelledFolder, Table
from chibijax.data.sources import DataError

ROWS = [
  "file,smile,hair,note",
  "a/0.png,0.5,red,x",
  "a/1,1,,x",
  "./b/2.jpg,-2,blue,x",
  "b\\été.png,3,red,x",
  "nowhere.png,0,green,x",
]


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
  """Pictures whose red is ten times the label, and one without."""
  root = tmp_path / "pictures"
  for name, red in {
    "a/0.png": 5, "a/1.png": 10, "b/2.jpg": 100, "b/été.png": 30,
    "b/none.png": 0,
  }.items():  # fmt: skip
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (24, 20), (red, 0, 0)).save(root / name)
  (tmp_path / "labels.csv").write_text("\n".join(ROWS), encoding="utf-8")
  return root


def options(folder: pathlib.Path, **more: object) -> dict[str, object]:
  return {
    "source_a": "folder", "source_b": "", "path_a": str(folder), "size": 16,
    "load_size": 18, "threads": 1,
    "label_file": str(folder.parent / "labels.csv"),
  } | more  # fmt: skip


def test_columns_of_numbers_and_of_words(folder: pathlib.Path) -> None:
  table = Table(folder.parent / "labels.csv", ("smile", "hair"))
  assert table.names == ("smile", "hair=blue", "hair=green", "hair=red")
  source = LabelledFolder(FolderSource(folder), table)
  assert len(source) == 4 and source.missing == 1
  assert source.source.files == ("a/0.png", "a/1.png", "b/2.jpg", "b/été.png")
  found = np.stack([source[k]["attributes"] for k in range(4)])
  np.testing.assert_array_equal(
    found, [[0.5, 0, 0, 1], [1, 0, 0, 0], [-2, 1, 0, 0], [3, 0, 0, 1]]
  )
  assert found.dtype == np.float32
  assert "4 labels (smile, hair=blue" in source.description
  assert "(1 without are left out)" in source.description
  again = pickle.loads(pickle.dumps(source))
  np.testing.assert_array_equal(again[2]["attributes"], found[2])
  np.testing.assert_array_equal(again[2]["image"], source[2]["image"])


def test_batches_keep_pictures_and_labels_together(
  folder: pathlib.Path,
) -> None:
  config = options(folder, labels=["smile"], eval_fraction=0.4)
  seen = set()
  for split in ("train", "eval"):
    made = pipeline.make(config, split=split, batch_size=2)
    assert made.spec["attributes"].shape == (2, 1)
    assert "(labelled)" in made.description
    with made.iterator() as batches:
      for _ in range(made.batches or 4):
        batch = next(batches)
        assert batch["image"].shape == (2, 16, 16, 3)
        assert batch["attributes"].dtype == np.float32
        for picture, row in zip(batch["image"], batch["attributes"]):
          red = 10 * row[0] if row[0] > 0 else 100
          assert abs(int(picture[8, 8, 0]) - red) <= 3
          seen.add(float(row[0]))
  assert seen == {0.5, 1, -2, 3}


def test_all_columns_by_default(folder: pathlib.Path) -> None:
  made = pipeline.make(options(folder), split="train", batch_size=1)
  assert made.spec["attributes"].shape == (1, 5)


@pytest.mark.parametrize(
  ("text", "labels", "sentence"),
  [
    ("file,a\nx.png,1\n", (), "name none of the . pictures"),
    ("name,a\nx.png,1\n", (), "has no column file; it has name, a"),
    ("file,a\nx.png,1\n", ("b",), "has no column b; it has file, a"),
    ("file\nx.png\n", (), "has no column of labels"),
    ("file,a\nx.png,1\ny.png,\n", (), "row 3: a is '' among numbers"),
    ("file,a\nx.png,1\nx.jpg,2\n", (), "names x twice"),
    ("", (), "holds no row"),
  ],
)
def test_mistakes(
  folder: pathlib.Path, text: str, labels: tuple[str, ...], sentence: str
) -> None:
  (folder.parent / "labels.csv").write_text(text)
  with pytest.raises(DataError, match=sentence):
    pipeline.make(options(folder, labels=labels), split="train")


def test_too_many_words(folder: pathlib.Path) -> None:
  rows = [f"{k}.png,name {k}" for k in range(300)]
  (folder.parent / "labels.csv").write_text("\n".join(["file,who", *rows]))
  with pytest.raises(DataError, match="300 different words in who"):
    pipeline.make(options(folder), split="train")


@pytest.mark.parametrize(
  "more",
  [{"source_b": "artist"}, {"source_a": "artist", "domain_a": "chibi"}],
)
def test_only_for_one_labelled_source(
  folder: pathlib.Path, more: dict[str, object]
) -> None:
  with pytest.raises(DataError, match="are for one folder or TFDS data set"):
    pipeline.make(options(folder, **more), split="train")
