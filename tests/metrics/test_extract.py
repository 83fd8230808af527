"""Feature extraction: the same for every batch size and number of devices."""

import pathlib

import jax
import numpy as np
import pytest

from chibijax.metrics import extract
from chibijax.models import features

GOLDEN = np.load(pathlib.Path(__file__).parent.parent / "golden/metrics.npz")


@pytest.fixture(scope="module")
def network() -> features.Network:
  return features.untrained("squeezenet", jax.random.key(0))


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
  return np.random.default_rng(0).integers(0, 256, (11, 40, 40, 3), np.uint8)


@pytest.mark.parametrize("side", [23, 61])
def test_resizing_is_clean_fids(side: int) -> None:
  got = extract.resize_clean(GOLDEN["picture"], side)
  # Equal but for what another Pillow's float arithmetic may round.
  np.testing.assert_allclose(got, GOLDEN[f"resized{side}"], atol=1e-3)
  assert np.abs(got - np.rint(got)).max() > 0.1  # Not rounded to bytes.


def test_same_size_is_left_as_it_is(pictures: np.ndarray) -> None:
  np.testing.assert_array_equal(
    extract.resize_clean(pictures[0], 40), pictures[0]
  )


def test_devices_and_batches_change_nothing(
  network: features.Network, pictures: np.ndarray
) -> None:
  devices = jax.devices()
  assert len(devices) == 4
  # 11 pictures fill neither batches of 4 nor of 8.
  one = extract.extract(
    pictures, network, batch=4, side=48, devices=devices[:1]
  )
  four = extract.extract(pictures, network, batch=5, side=48)
  assert one.shape == (11, 512) and one.dtype == np.float32
  # Another batch size may sum in another order.
  np.testing.assert_allclose(one, four, rtol=1e-5, atol=1e-6)
  stream = extract.extract(iter(pictures), network, batch=8, side=48)
  np.testing.assert_array_equal(four, stream)


def test_a_picture_does_not_depend_on_its_neighbours(
  network: features.Network, pictures: np.ndarray
) -> None:
  all_of_them = extract.extract(pictures, network, batch=8, side=48)
  last = extract.extract(pictures[-1:], network, batch=8, side=48)
  np.testing.assert_allclose(last[0], all_of_them[-1], rtol=1e-5, atol=1e-6)


def test_pictures_of_any_size_in_one_stream(network: features.Network) -> None:
  sizes = [np.full((20 + i, 50, 3), 10 * i, np.uint8) for i in range(3)]
  got = extract.extract(sizes, network, batch=8, side=48)
  flat = np.stack([np.full((48, 48, 3), 10 * i, np.uint8) for i in range(3)])
  want = extract.extract(flat, network, batch=8, side=48)
  # Bicubic weights sum to 1 up to rounding.
  np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_nothing_compiles_twice(
  network: features.Network, pictures: np.ndarray
) -> None:
  before = extract._embed._cache_size()
  extract.extract(pictures, network, batch=4, side=44)
  extract.extract(pictures[:5], network, batch=4, side=44)
  assert extract._embed._cache_size() == before + 1


def test_wrong_pictures_are_refused(
  network: features.Network, pictures: np.ndarray
) -> None:
  with pytest.raises(ValueError, match="no pictures"):
    extract.extract(pictures[:0], network)
  with pytest.raises(ValueError, match=r"uint8 \[h, w, 3\], got float32"):
    extract.extract(np.float32(pictures), network)
