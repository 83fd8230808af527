"""The networks that read faces: shapes, ranges, what norms make them ignore."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chibijax.models import face_parser
from chibijax.models.face_parser import LandmarkNet, SegmentNet

KEY = jax.random.key(0)
SMALL = dict(widths=(6, 8, 8, 8), blocks=(0, 1, 0, 0))


@pytest.fixture(scope="module")
def pictures() -> jax.Array:
  return jax.random.uniform(KEY, (2, 96, 96, 3), minval=-1, maxval=1)


def test_landmarks_start_at_the_mean_face(pictures: jax.Array) -> None:
  net = LandmarkNet(**SMALL)
  shape, peak = jax.jit(lambda k, x: net.init_with_output(k, x)[0])(
    KEY, pictures
  )
  assert shape.shape == peak.shape == (2, 68, 2)
  assert shape.dtype == peak.dtype == jnp.float32
  window = face_parser.LANDMARKS
  mean = window.place(face_parser.MEAN_SHAPE) - np.array(window.corner)
  np.testing.assert_allclose(shape[0], mean / window.side, atol=0.15)
  assert (peak > 0).all() and (peak < 1).all()


def test_segment_has_the_pictures_resolution(pictures: jax.Array) -> None:
  net = SegmentNet(**SMALL)
  found = jax.jit(lambda k, x: net.init_with_output(k, x)[0])(
    KEY, pictures[:, :64, :80]
  )
  assert found.shape == (2, 64, 80, face_parser.CLASSES)
  assert np.isfinite(found).all()


def test_space_to_depth_and_back_change_nothing(pictures: jax.Array) -> None:
  gathered = face_parser._gathered(pictures)
  assert gathered.shape == (2, 48, 48, 12)
  np.testing.assert_array_equal(face_parser._spread(gathered), pictures)


@pytest.mark.parametrize("net", [LandmarkNet(**SMALL), SegmentNet(**SMALL)])
def test_sides_must_be_halved_four_times(net) -> None:
  with pytest.raises(ValueError, match="multiples of 16"):
    jax.eval_shape(net.init, KEY, jnp.zeros((1, 90, 96, 3)))


def test_windows_hold_the_face() -> None:
  window = face_parser.LANDMARKS
  points = window.place(face_parser.MEAN_SHAPE) - np.array(window.corner)
  assert (points > 0.1 * window.side).all()
  assert (points < 0.9 * window.side).all()
  for each in (face_parser.LANDMARKS, face_parser.SEGMENT):
    assert max(each.corner) + each.side <= each.size
