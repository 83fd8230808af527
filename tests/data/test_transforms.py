"""Crops and flips move pixels and nothing else."""

import numpy as np
import pytest

from chibijax.data.transforms import CropFlip


def numbered(size: int) -> np.ndarray:
  """A picture whose pixels tell where they come from."""
  y, x = np.mgrid[:size, :size]
  return np.stack([x, y, x + y], -1).astype(np.uint8)


def test_crops_are_windows_of_the_picture_and_all_are_reached() -> None:
  picture = numbered(7)
  seen = set()
  for seed in range(400):
    (crop,) = CropFlip(5)((picture,), np.random.default_rng(seed))
    left, top = crop[..., 0].min(), crop[..., 1].min()
    window = picture[top : top + 5, left : left + 5]
    mirrored = crop[0, 0, 0] > crop[0, -1, 0]
    np.testing.assert_array_equal(crop[:, ::-1] if mirrored else crop, window)
    seen.add((int(left), int(top), bool(mirrored)))
  assert len(seen) == 3 * 3 * 2


def test_pictures_of_an_example_move_together() -> None:
  pair = numbered(9), numbered(9) + 100
  for seed in range(20):
    a, b = CropFlip(4)(pair, np.random.default_rng(seed))
    np.testing.assert_array_equal(a + 100, b)
    assert a.flags.c_contiguous


def test_flip_off_changes_no_crop() -> None:
  for seed in range(20):
    (on,) = CropFlip(4)((numbered(9),), np.random.default_rng(seed))
    (off,) = CropFlip(4, flip=False)(
      (numbered(9),), np.random.default_rng(seed)
    )
    assert on[..., 0].min() == off[..., 0].min() == off[0, 0, 0]


def test_errors() -> None:
  rng = np.random.default_rng(0)
  with pytest.raises(ValueError, match="crop of 8 px does not fit 7 x 7"):
    CropFlip(8)((numbered(7),), rng)
  with pytest.raises(ValueError, match="shapes"):
    CropFlip(4)((numbered(7), numbered(8)), rng)
