"""Worker processes: the same examples, and what happens when they fail."""

import multiprocessing
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from chibijax.data.folder import FolderSource
from chibijax.data.sources import DataError, JointSource
from chibijax.data.workers import Workers


@pytest.fixture
def source(tmp_path: pathlib.Path) -> JointSource:
  """Four pictures, of which number 1 is truncated."""
  noise = np.random.default_rng(0)
  for k in range(4):
    pixels = noise.integers(256, size=(16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / f"{k}.png")
  broken = tmp_path / "1.png"
  broken.write_bytes(broken.read_bytes()[:-200])
  return JointSource({"image": FolderSource(tmp_path)}, cache_bytes=16 * 16 * 9)


def test_examples_damage_and_cache_are_as_without_workers(
  source: JointSource,
) -> None:
  expected = [source[k]["image"] for k in range(4)]
  np.testing.assert_array_equal(expected[1], expected[2])
  again = JointSource(source.sources, cache_bytes=10**6)
  workers = Workers([again], 1)
  again.load_by(lambda index: workers.load(0, index))
  for k in range(4):
    np.testing.assert_array_equal(again[k]["image"], expected[k])
  assert again.description == source.description
  assert "1 replaced as damaged" in again.description
  workers.close()
  # All in the cache of this process by now, number 2 in place of 1 as well.
  assert again.cache.used == 4 * 16 * 16 * 3
  np.testing.assert_array_equal(again[0]["image"], expected[0])


def test_a_killed_worker_is_a_clear_sentence(source: JointSource) -> None:
  before = set(multiprocessing.active_children())
  workers = Workers([source], 1)
  workers.load(0, 0)
  (child,) = set(multiprocessing.active_children()) - before
  child.kill()
  child.join()
  with pytest.raises(DataError, match="worker process was killed"):
    workers.load(0, 2)
  workers.close()


def test_workers_need_neither_jax_nor_grain() -> None:

  program = (
    "import sys, chibijax.data.workers;"
    "print({'jax', 'grain', 'tensorflow'} & set(sys.modules))"
  )
  done = subprocess.run(
    [sys.executable, "-c", program],
    capture_output=True,
    text=True,
    check=True,
    cwd=pathlib.Path(__file__).parents[2],
  )
  assert done.stdout.strip() == "set()"
