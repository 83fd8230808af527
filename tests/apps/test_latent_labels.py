"""What a generator with labels is told."""

import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

from chibijax.apps import latent_labels
from chibijax.data import characters
from chibijax.errors import UserError
from configs import r3gan, stylegan2

NAMES = ("age", "hair=long", "hair=short", "glasses=none", "glasses=round")
MADE = latent_labels.Labels(
  NAMES,
  lambda seed, i: np.array([seed, 1, 0, i, 0], np.float32),
  lambda name, value: value / 10,
)


def test_what_is_said_takes_the_place_of_an_examples_labels() -> None:
  np.testing.assert_array_equal(MADE.draw(2, 2)[1], [2, 1, 0, 1, 0])
  told = MADE.saying(["hair=short"]).saying(["age=-30"])
  np.testing.assert_array_equal(told.draw(2, 2)[1], [-3, 0, 1, 1, 0])


@pytest.mark.parametrize(
  ("word", "sentence"),
  [
    ("hat=red", "one of age, hair, glasses"),
    ("hair", "expected hair= and long, short"),
    ("hair=green", "expected hair= and long, short"),
    ("age=old", "expected a number after age="),
    ("age=nan", "expected a number after age="),
    ("=3", "expected NAME=VALUE"),
  ],
)
def test_mistakes_are_sentences(word: str, sentence: str) -> None:
  with pytest.raises(UserError, match=sentence):
    MADE.saying([word])


def _embedding(rows: int) -> dict:
  return {"mapping": {"embedding": {"kernel": np.zeros((rows, 3))}}}


def test_the_artists_labels() -> None:
  config = ConfigDict(
    {"task": "gan_adapt", "source": r3gan.get_config("labelled")}
  )
  gen = _embedding(len(characters.LABELS))
  told = latent_labels.of_training(config, gen, "it").saying(["skin_tone=5.5"])
  rows = np.asarray(told.draw(0, 3))
  assert rows.shape == (3, len(characters.LABELS)) and not rows[:, 0].any()
  np.testing.assert_array_equal(rows[:2], told.draw(0, 2))
  with pytest.raises(
    UserError, match="was told 7 labels, and its data has 114"
  ):
    latent_labels.of_training(config, _embedding(7), "it")


def test_labels_of_a_folder(tmp_path) -> None:
  table = ["file,hair,age"]
  for i, word in enumerate(("red", "black", "red")):
    Image.new("RGB", (16, 16)).save(tmp_path / f"{i}.png")
    table.append(f"{i},{word},{i}")
  csv = tmp_path / "labels.csv"
  csv.write_text("\n".join(table))
  config = stylegan2.get_config("smoke")
  config.data.update(
    source_a="folder", path_a=str(tmp_path), label_file=str(csv),
    domain_a="chibi", eval_fraction=0.0,
  )  # fmt: skip
  told = latent_labels.of_training(config, _embedding(3), "it")
  assert told.names == ("hair=black", "hair=red", "age")
  rows = np.asarray(told.saying(["hair=black"]).draw(0, 9))
  np.testing.assert_array_equal(rows[:, :2], [[1, 0]] * 9)
  assert set(rows[:, 2]) == {0, 1, 2}
  csv.unlink()
  with pytest.raises(UserError, match=r"cannot be read: .*labels\.csv"):
    latent_labels.of_training(config, _embedding(3), "it")
