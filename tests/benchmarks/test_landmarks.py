"""The landmark benchmark: its arithmetic, and a tiny run."""

import importlib
import json
import pathlib
import sys

import numpy as np
import pytest

from chibijax.artist import Attributes, draw_portrait
from chibijax.faces import align, mtcnn_weights

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch):
  pytest.importorskip("cv2", reason="needs OpenCV")
  monkeypatch.syspath_prepend(str(FOLDER))
  module = importlib.import_module("landmarks")
  yield module
  # Another test may import another `landmarks`.
  sys.modules.pop("landmarks", None)


@pytest.fixture(scope="module")
def points() -> np.ndarray:
  return draw_portrait(Attributes(), 128, seed=0).landmarks


def test_errors_are_shares_of_the_eyes(benchmark, points: np.ndarray) -> None:
  eyes = np.linalg.norm(points[36] - points[45])
  moved = points.copy()
  moved[48:68, 0] += 0.5 * eyes
  found = benchmark.errors(moved, points)
  assert found["mouth"] == pytest.approx(0.5, rel=1e-4)
  assert found["jaw"] == found["eyes"] == 0
  assert found["all"] == pytest.approx(0.5 * 20 / 68, rel=1e-4)
  rows = benchmark.by_group(
    {0: moved, 1: points}, {0: points, 1: points}, lambda i: [f"g{i}"]
  )
  assert rows["g0"]["mouth"]["over_10_percent"] == 1
  assert rows["g1"]["mouth"]["over_10_percent"] == 0
  assert rows["all"]["count"] == 2
  assert rows["all"]["mouth"]["mean"] == pytest.approx(0.25, rel=1e-4)


def test_offsets_of_definitions_vanish(benchmark, points: np.ndarray) -> None:
  """The same offset in every face's own frame is no error."""
  rng = np.random.default_rng(0)
  offset = rng.normal(0, 0.03, (68, 2))
  truth, found = {}, {}
  for i in range(4):
    angle, scale = rng.uniform(-0.5, 0.5), rng.uniform(0.5, 2)
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    place = np.array([[cos, -sin, 5], [sin, cos, 9]])
    truth[i] = align.move(place, points)
    frame = align.find_transform(truth[i], 1)
    shifted = align.move(frame, truth[i]) + offset
    found[i] = align.move(align.invert(frame), shifted)
  assert benchmark.by_group(found, truth, lambda i: [])["all"]["all"][
    "mean"
  ] > (0.05)
  free = benchmark.offset_free(found, truth)
  for i in range(4):
    np.testing.assert_allclose(free[i], truth[i], atol=1e-2)


def test_a_tiny_run_writes_numbers_only(
  benchmark,
  shared_data: pathlib.Path,
  tmp_path: pathlib.Path,
  monkeypatch: pytest.MonkeyPatch,
  capsys: pytest.CaptureFixture,
) -> None:
  pytest.importorskip("ai_edge_litert", reason="needs ai-edge-litert")
  if mtcnn_weights.folder() is None:
    pytest.skip("the mtcnn package, which carries the weights, is missing")
  out = tmp_path / "landmarks.json"
  monkeypatch.setattr(
    sys,
    "argv",
    ["x", "--every", "150", "--made", "2", "--out", str(out)],
  )
  benchmark.main()
  result = json.loads(out.read_text())
  mean = result["photos"]["mean shape"]
  assert mean["all"]["count"] == 4 and 0.02 < mean["all"]["all"]["median"] < 0.2
  mirrored = result["photos"]["yardstick on the mirrored photo"]
  assert mirrored["all"]["all"]["median"] < 0.03
  assert result["portraits"]["face mesh"]["all"]["eyes"]["median"] < 0.1
  assert result["alignment"]["mtcnn"]["px_of_256"] < 10
  assert "written to" in capsys.readouterr().out
