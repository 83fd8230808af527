"""Identity by retrieval, and metrics by group of people."""

import pathlib

import jax
import numpy as np
import pytest

from chibijax.errors import UserError
from chibijax.metrics import estimate, fairness, identity, report


def test_rank_by_hand() -> None:
  photos = np.eye(4)
  avatars = np.array(
    [
      [1, 0, 0, 0.0],  # finds itself
      [0.9, 0.5, 0, 0],  # one closer
      [0.9, 0.8, 0.5, 0.7],  # last of all
      [0, 0, 0, 0],  # says nothing: last
    ]
  )
  np.testing.assert_array_equal(identity.ranks(photos, avatars), [1, 2, 4, 4])
  got = identity.retrieval(photos, avatars)
  assert got.value == 0.25 and got.details["chance"] == 0.25
  assert got.details["mean_reciprocal_rank"] == pytest.approx(0.5)
  assert got.details["median_rank"] == 3


def test_gallery_makes_it_easier_and_chance_is_chance() -> None:
  rng = np.random.default_rng(0)
  photos, noise = rng.normal(size=(2, 600, 8))
  near = photos + 1.2 * noise
  hard = identity.retrieval(photos, near)
  easy = identity.retrieval(photos, near, gallery=5, key=jax.random.key(1))
  assert easy.value > hard.value + 0.2
  nothing = identity.retrieval(photos, noise, gallery=4)
  assert nothing.low < 0.25 < nothing.high
  with pytest.raises(ValueError, match="gallery of 2 to 600"):
    identity.ranks(photos, near, gallery=601)


def test_embedder_is_plugged_in() -> None:
  photos = np.random.default_rng(0).normal(size=(6, 4, 4, 3))

  def embed(pictures: np.ndarray) -> np.ndarray:
    return pictures.reshape(len(pictures), -1)

  assert identity.identity(photos, photos, embed).value == 1


LABELS = {
  "sex": ["f", "m"] * 50,
  "skin": ["dark"] * 40 + ["light"] * 55 + [""] * 5,
}
# One group is worse by 1.
VALUES = np.random.default_rng(0).normal(0, 0.1, 100)
VALUES[:40:2] += 1


def measured(least: int, better: str = "lower") -> fairness.Fairness:
  return fairness.by_group(
    lambda i: estimate.mean(VALUES[i]), LABELS, better=better, least=least
  )


def test_groups_and_gaps() -> None:
  got = measured(10)
  assert set(got.groups) == {
    "sex=f", "sex=m", "skin=dark", "skin=light",
    "sex=f,skin=dark", "sex=m,skin=dark", "sex=f,skin=light",
    "sex=m,skin=light",
  }  # fmt: skip
  assert got.groups["sex=f,skin=dark"].n == 20
  assert got.groups["skin=light"].n == 55  # The unknown are in no group.
  gap = got.gaps["sex x skin"]
  assert gap.worst == "sex=f,skin=dark" and gap.apart
  assert gap.value == pytest.approx(1, abs=0.1)
  assert got.worst is gap
  assert measured(10, "higher").gaps["sex x skin"].best == "sex=f,skin=dark"


def test_small_groups_are_named_and_not_judged() -> None:
  got = measured(21)
  assert got.too_small == {"sex=f,skin=dark": 20, "sex=m,skin=dark": 20}
  assert "sex=f,skin=dark" not in got.groups
  said = got.sentences()
  assert "fewer than 21 examples, not judged" in said[-1]
  none = measured(1000)
  assert none.groups == {} and none.worst is None


def test_report_holds_what_a_reader_needs() -> None:
  manifest = report.Manifest(
    judged="made", judged_count=100, reference="drawn", reference_count=90,
    networks=[{"network": "squeezenet", "sha256": "ab"}],
  )  # fmt: skip
  results = {"l1": estimate.Estimate(float("nan"), None, None, 3)}
  got = report.as_dict(results, manifest, {"l1": measured(10)})
  assert got["metrics"]["l1"]["value"] is None  # JSON has no NaN.
  assert got["manifest"]["resize"].startswith("PIL bicubic")
  assert got["manifest"]["reference_is"] == "target"
  assert got["manifest"]["versions"]["jax"] == jax.__version__
  assert got["groups"]["l1"]["worst_gap"]["worst"] == "sex=f,skin=dark"
  assert '"sha256": "ab"' in report.to_json(got)


def test_labels_of_a_csv(tmp_path: pathlib.Path) -> None:
  file = tmp_path / "people.csv"
  file.write_text("file,sex,age\na.jpg,f,old\nb.png, m ,\n")
  got = fairness.read_csv(file, ["x/b.jpg", "a.png", "c.png"])
  assert got == {"sex": ["m", "f", ""], "age": ["", "old", ""]}


@pytest.mark.parametrize(
  ("text", "sentence"),
  [
    ("sex,age\nf,old\n", "needs a column 'file'"),
    ("file\na\n", "one for each label"),
    ("file,sex\na,f\na.png,m\n", "names a twice"),
    ("file,sex\nz,f\n", "none of the pictures, such as a"),
  ],
)
def test_wrong_csv(tmp_path: pathlib.Path, text: str, sentence: str) -> None:
  file = tmp_path / "people.csv"
  file.write_text(text)
  with pytest.raises(UserError, match=sentence):
    fairness.read_csv(file, ["a.png"])
  with pytest.raises(UserError, match="cannot be read as CSV"):
    fairness.read_csv(tmp_path / "none.csv", ["a.png"])
