"""Films: written and read again, whole or not at all."""

import pathlib

import numpy as np
import pytest
from PIL import Image

from chibijax.apps import videos
from chibijax.errors import UserError


def _frames(count: int = 5) -> list[np.ndarray]:
  """A bar that moves down over a gradient; odd sizes."""
  base = np.zeros((33, 47, 3), np.uint8)
  base[..., 0] = np.linspace(0, 255, 47)[None]
  result = []
  for k in range(count):
    frame = base.copy()
    frame[6 * k : 6 * k + 4] = [40, 200, 90]
    result.append(frame)
  return result


def test_movie_can_be_read_again(tmp_path: pathlib.Path) -> None:
  pytest.importorskip("av", reason="needs PyAV")
  out = tmp_path / "deep" / "a.mp4"
  assert videos.write(out, _frames(), 12.5, about="made by a test") == 5
  assert [p.name for p in out.parent.iterdir()] == ["a.mp4"]
  frames, fps, count = videos.read(out)
  read = list(frames)
  assert (fps, count, len(read)) == (12.5, 5, 5)
  # Repeated to even sizes.
  assert read[0].shape == (34, 48, 3)
  off = [np.abs(a[:33, :47].astype(int) - b) for a, b in zip(read, _frames())]
  assert np.mean(off) < 6


def test_gif_and_folder(tmp_path: pathlib.Path) -> None:
  assert videos.write(tmp_path / "a.gif", iter(_frames()), 20) == 5
  with Image.open(tmp_path / "a.gif") as picture:
    assert picture.n_frames == 5 and picture.info["duration"] == 50
  assert videos.write(tmp_path / "out", _frames(2), 20, about="told") == 2
  with Image.open(tmp_path / "out" / "00001.png") as picture:
    np.testing.assert_array_equal(np.asarray(picture), _frames()[1])
    assert picture.text == {"Comment": "told"}


def test_nothing_is_left_of_a_film_that_fails(tmp_path: pathlib.Path) -> None:
  pytest.importorskip("av", reason="needs PyAV")

  def stopping() -> object:
    yield _frames()[0]
    raise RuntimeError("the renderer stopped")

  for name in ("a.mp4", "a.gif"):
    with pytest.raises(RuntimeError, match="stopped"):
      videos.write(tmp_path / name, stopping(), 25)
    with pytest.raises(UserError, match="There are no frames"):
      videos.write(tmp_path / name, [], 25)
  assert list(tmp_path.iterdir()) == []


def test_names_and_damage(tmp_path: pathlib.Path) -> None:
  pytest.importorskip("av", reason="needs PyAV")
  with pytest.raises(UserError, match="not a film's name"):
    videos.check_name(tmp_path / "a.txt")
  (tmp_path / "file").write_bytes(b"")
  with pytest.raises(UserError, match="give a folder"):
    videos.check_name(tmp_path / "file")
  (tmp_path / "b.mp4").write_bytes(b"not a video" * 100)
  with pytest.raises(UserError, match="cannot be read as a video"):
    videos.read(tmp_path / "b.mp4")
