"""Prepared TFDS data, read without TensorFlow."""

import pathlib
import pickle
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from chibijax.data import pipeline
from chibijax.data.images import Reader
from chibijax.data.sources import DataError
from chibijax.data.tfds import TfdsSource

tfds = pytest.importorskip("tensorflow_datasets")
pytest.importorskip("array_record")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
  """A directory with `tiny_pairs`: 12 training and 3 test examples."""

  class TinyPairs(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")
    code_path = None  # TFDS cannot locate a module of a namespace package.

    def _info(self) -> tfds.core.DatasetInfo:
      picture = tfds.features.Image(shape=(None, None, 3))
      return tfds.core.DatasetInfo(
        builder=self,
        features=tfds.features.FeaturesDict(
          {"photo": picture, "chibi": picture, "label": np.int64}
        ),
      )

    def _split_generators(self, dl_manager):
      return {"train": self._examples(12), "test": self._examples(3)}

    def _generate_examples(self, count):
      return self._examples(count)

    def _examples(self, count):
      for k in range(count):
        yield (
          k,
          {
            "photo": Image.new("RGB", (24, 32), (k, 0, 0)),
            "chibi": Image.new("RGB", (24, 24), (k, 100, 0)),
            "label": k,
          },
        )

  path = tmp_path_factory.mktemp("tfds")
  builder = TinyPairs(data_dir=str(path), file_format="array_record")
  builder.download_and_prepare()
  return path


def test_reads_resized_pictures(prepared: pathlib.Path) -> None:
  source = TfdsSource(
    "tiny_pairs",
    "train[:50%]",
    str(prepared),
    "photo",
    Reader(size=16),
  )
  assert len(source) == 6
  assert source.description == "tfds tiny_pairs/train[:50%]: 6 pictures"
  copy = pickle.loads(pickle.dumps(source))
  for k in range(6):
    image = source[k]["image"]
    assert image.shape == (16, 16, 3) and image.dtype == np.uint8
    np.testing.assert_array_equal(image, copy[k]["image"])


def test_pipeline_pairs_two_features(prepared: pathlib.Path) -> None:
  config = {
    "source_a": "tfds",
    "source_b": "tfds",
    "path_a": "tiny_pairs",
    "path_b": "tiny_pairs",
    "image_key_a": "photo",
    "image_key_b": "chibi",
    "tfds_dir": str(prepared),
    "paired": True,
    "size": 16,
    "load_size": 20,
    "threads": 1,
  }
  train = pipeline.make(config, split="train", batch_size=4, seed=0)
  assert train.examples == 12 and train.paired
  with train.iterator() as batches:
    batch = next(batches)
  np.testing.assert_array_equal(
    batch["image_a"][..., 0], batch["image_b"][..., 0]
  )
  held = pipeline.make(config, split="eval", batch_size=2)
  assert held.examples == 3  # The test split.


def test_sentences(prepared: pathlib.Path) -> None:
  where = str(prepared)
  with pytest.raises(DataError, match="'nothing_here' is not prepared"):
    TfdsSource("nothing_here", data_dir=where)
  with pytest.raises(DataError, match="'mnist' is not prepared"):
    TfdsSource("mnist", data_dir=where)
  with pytest.raises(DataError, match="no split 'dev'; it has test, tr"):
    TfdsSource("tiny_pairs", "dev", where, "photo")
  with pytest.raises(DataError, match="no image feature 'image'; it has"):
    TfdsSource("tiny_pairs", "train", where)


def test_tensorflow_is_not_imported(prepared: pathlib.Path) -> None:
  program = f"""
import sys
from chibijax.data.tfds import TfdsSource
source = TfdsSource("tiny_pairs", "train", {str(prepared)!r}, "photo")
print(len(source), source[3]["image"].shape, "tensorflow" in sys.modules)
"""
  done = subprocess.run(
    [sys.executable, "-c", program],
    capture_output=True,
    text=True,
    cwd=pathlib.Path(pipeline.__file__).parents[2],
    check=True,
  )
  assert done.stdout.split("\n")[-2] == "12 (32, 24, 3) False"
