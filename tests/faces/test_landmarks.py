"""The landmark regressor: weights, accuracy on portraits it never saw."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chibijax import artist
from chibijax.errors import UserError
from chibijax.faces import align, analysis, landmarks, parser_weights

# Characters of the held-out family of configs/common.py (seed 3 * 0 + 2).
HELD_OUT, COUNT = 2, 12


@pytest.fixture(scope="module")
def finder() -> landmarks.Landmarks:
  return landmarks.load()


@pytest.fixture(scope="module")
def portraits() -> list[tuple[np.ndarray, np.ndarray]]:
  """Pictures in the network's frame, and their exact landmarks there."""
  found = []
  for k in range(COUNT):
    who = artist.sample_attributes(np.random.default_rng([HELD_OUT, k]))
    drawn = artist.draw_portrait(who, 160, seed=k, masks=False)
    size = landmarks.Landmarks.size
    move = align.find_transform(
      drawn.landmarks, size, landmarks.Landmarks.margin
    )
    picture = align.warp(drawn.image[..., :3], move, (size, size))
    found.append((picture, align.move(move, drawn.landmarks)))
  return found


def _error(found: np.ndarray, truth: np.ndarray) -> float:
  """Mean distance over that of the outer corners of the eyes."""
  eyes = np.linalg.norm(truth[45] - truth[36])
  return float(np.linalg.norm(found - truth, axis=1).mean() / eyes)


def test_mean_face_fits_its_own_points() -> None:
  five = align.canonical_points(200)
  points = landmarks.from_points(five)
  assert points.shape == (68, 2) and points.dtype == np.float32
  np.testing.assert_allclose(
    align.five_points(points)[list(align.FITTED)],
    five[list(align.FITTED)],
    atol=3.0,
  )
  turned = landmarks.from_points((five * 2)[:, ::-1] * [-1, 1] + [400, 0])
  np.testing.assert_allclose(
    turned, (points * 2)[:, ::-1] * [-1, 1] + [400, 0], atol=0.01
  )


def test_finds_landmarks_of_portraits_it_never_saw(finder, portraits) -> None:
  errors, means = [], []
  for picture, truth in portraits:
    found = finder(picture)
    assert found.shape == (68, 2) and found.dtype == np.float32
    errors.append(_error(found, truth))
    means.append(_error(landmarks.from_points(align.five_points(truth)), truth))
  # 0.02 is measured; the mean face is 0.06 away.
  assert np.mean(errors) < 0.035
  assert np.mean(errors) < 0.6 * np.mean(means)


def test_batch_equals_single_faces_at_any_size(finder, portraits) -> None:
  pictures = [picture for picture, _ in portraits[:9]]
  together = finder.batch(pictures)
  assert len(together) == 9
  for k in (0, 8):
    # Sums in another order.
    np.testing.assert_allclose(together[k], finder(pictures[k]), atol=2e-2)
  large = np.repeat(np.repeat(pictures[0], 2, 0), 2, 1)
  np.testing.assert_allclose(finder(large), 2 * together[0], atol=2.0)


def test_jit_equals_eager(finder, portraits) -> None:
  picture = portraits[0][0]
  window = finder._window(picture)[None] / np.float32(127.5) - 1
  shape, peak = finder.net.apply({"params": finder.params}, jnp.asarray(window))
  eager = finder._place(np.asarray(shape + peak)[0] / 2, 1.0)
  np.testing.assert_allclose(finder(picture), eager, atol=2e-2)


def test_astronaut_has_a_face(finder, astronaut, mtcnn_detector) -> None:
  (face,) = analysis.analyse(astronaut, mtcnn_detector, landmarks=finder)
  assert face.status == "ok"
  points = face.landmarks
  (detection,) = mtcnn_detector(astronaut)[:1]
  five = align.five_points(points)
  unit = np.linalg.norm(five[1] - five[0])
  gaps = np.linalg.norm(five - detection.points, axis=1) / unit
  # Tip and base of the nose are a matter of definition.
  assert gaps[[0, 1, 3, 4]].max() < 0.15
  # Brows above eyes above nose above mouth above chin.
  rows = [points[17:27, 1], points[36:48, 1], points[31:36, 1]]
  rows += [points[48:68, 1], points[7:10, 1]]
  means = [row.mean() for row in rows]
  assert means == sorted(means)


def test_shipped_weights_say_what_they_are(finder) -> None:
  file = parser_weights.FOLDER / "landmarks.safetensors"
  assert file.stat().st_size <= 3 << 20
  about = finder.about
  assert about["network"] == "landmarks" and about["licence"]
  assert about["steps"] > 0 and about["measured"] and about["config"]["view"]


def test_saved_weights_come_back(finder, tmp_path: pathlib.Path) -> None:
  file = tmp_path / "mine.safetensors"
  parser_weights.save(file, finder.params, finder.about)
  again = landmarks.load(file)
  for a, b in zip(
    jax.tree.leaves(again.params), jax.tree.leaves(finder.params)
  ):
    np.testing.assert_array_equal(a, b)
  assert sorted(p.name for p in tmp_path.iterdir()) == [
    "mine.json",
    "mine.safetensors",
  ]


@pytest.mark.parametrize(
  ("change", "sentence"),
  [
    ("gone", "is missing"),
    ("alone", "is missing"),
    ("text", "cannot be read as JSON"),
    ("other", "does not say that it is of landmarks"),
    ("layout", "needs a layout"),
    ("wider", "do not suit the network"),
    ("damaged", "is not a file of weights"),
  ],
)
def test_bad_files_end_in_a_sentence(
  finder, tmp_path: pathlib.Path, monkeypatch, change: str, sentence: str
) -> None:
  file, beside = tmp_path / "w.safetensors", tmp_path / "w.json"
  about = json.loads(json.dumps(finder.about))
  parser_weights.save(file, finder.params, about)
  if change == "gone":
    file.unlink()
  elif change == "alone":
    beside.unlink()
  elif change == "text":
    beside.write_text("{")
  elif change == "other":
    beside.write_text(json.dumps(about | {"network": "segment"}))
  elif change == "layout":
    beside.write_text(json.dumps(about | {"layout": [1, 2]}))
  elif change == "wider":
    about["layout"]["widths"][0] += 1
    beside.write_text(json.dumps(about))
  else:
    file.write_bytes(file.read_bytes()[:1000])
  # A path and the environment variable mean the same.
  monkeypatch.setenv(landmarks.VARIABLE, str(file))
  with pytest.raises(UserError, match=sentence):
    landmarks.load()
