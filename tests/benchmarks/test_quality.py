"""What the quality benchmark computes itself."""

import pathlib
import sys

import numpy as np
import pytest

sys.path.insert(
  0, str(pathlib.Path(__file__).resolve().parents[2] / "benchmarks")
)
import quality

RNG = np.random.default_rng(0)


def test_nearest_finds_the_portrait_itself_among_others() -> None:
  portraits = RNG.integers(0, 256, (20, 6, 6, 3), np.uint8)
  wanted = np.array([3, 17, 3])
  noisy = portraits[wanted].astype(int) + RNG.integers(-9, 10, (3, 6, 6, 3))
  queries = np.clip(noisy, 0, 255).astype(np.uint8)
  assert (quality.nearest(queries, portraits) == wanted).all()


@pytest.mark.parametrize("count", [3, quality.PART, 2 * quality.PART + 7])
def test_parts_are_of_one_size_and_lose_nothing(count: int) -> None:
  images = RNG.integers(0, 256, (count, 2, 2, 3), np.uint8)
  sizes = set()

  def negative(x: np.ndarray) -> np.ndarray:
    sizes.add(len(x))
    return 255 - x

  assert (quality.in_parts(negative, images) == 255 - images).all()
  assert sizes == {quality.PART}


def test_table_has_a_row_for_each_set_and_says_what_is_missing() -> None:
  value = {"value": 1.25, "low": 1.0, "high": 1.5, "n": 9}
  report = {
    "config": "c.py", "data": "d", "steps": 7, "batch": 2, "minutes": 3.0,
    "rows": {"run": {"KID-squeeze": value, "PD-x": value}, "real": {}},
  }  # fmt: skip
  lines = quality.table({"name": report}).splitlines()
  assert len(lines) == 4 and len({line.count("|") for line in lines}) == 1
  assert "1.250 [1.000, 1.500]" in lines[2] and "7 x 2, 3" in lines[2]
  assert "1.250" not in lines[3] and "real" in lines[3]
