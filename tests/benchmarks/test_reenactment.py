"""What the reenactment benchmark computes itself."""

import pathlib
import sys

import numpy as np
import pytest

sys.path.insert(
  0, str(pathlib.Path(__file__).resolve().parents[2] / "benchmarks")
)
import reenactment

from chibijax.heads import model as head_model
from chibijax.heads import track
from chibijax.heads.procedural import procedural_head
from chibijax.metrics import avatar


def _frame(**changes: np.ndarray) -> dict[str, np.ndarray]:
  """The mean head at rest, upright, from a distance of 9.3."""
  head = procedural_head()
  view = np.diag([1.0, -1.0, -1.0, 1.0]).astype(np.float32)
  view[2, 3] = 9.3
  zeros = {
    "shape": len(head.shape_names),
    "expression": len(head.expression_names),
    "pose": 6,
    "eyes": 6,
  }
  given = {name: np.zeros(n, np.float32) for name, n in zeros.items()}
  return given | {"viewmat": view} | changes


@pytest.mark.parametrize("count", [1, 8, 13])
def test_parts_are_of_one_size_and_lose_nothing(count: int) -> None:
  found = list(reenactment.parts(count, 4))
  assert {len(x) for x in found} == {4}
  assert np.concatenate(found)[:count].tolist() == list(range(count))
  assert max(x.max() for x in found) == count - 1


def test_places_are_the_landmarks_of_the_source_with_the_drivers_face() -> None:
  shape, expression = procedural_head().coefficients(smile_left=1.0, chibi=0.5)
  owner = _frame(shape=shape)
  driver = _frame(expression=expression)
  (found,) = reenactment.places([owner], [driver], 100)
  head = procedural_head()
  zero = np.zeros(6, np.float32)
  vertices = head_model.vertices(head, shape, expression, zero, zero, xp=np)
  x, y, z = 5 * head_model.landmarks(head, vertices).T
  depth = 9.3 - z
  want = np.stack([50 + 600 * x / depth, 50 - 600 * y / depth], 1)
  np.testing.assert_allclose(found, want, atol=1e-3)
  other = reenactment.places([driver], [driver], 100)[0]
  assert np.abs(found - other).max() > 1


def test_pictures_must_have_been_looked_at() -> None:
  looker = object.__new__(reenactment.Looker)
  picture = np.zeros((1, 4, 4, 3), np.uint8)
  points, seen = np.zeros((1, 68, 2)), avatar.Parameters(*np.zeros((2, 1, 3)))
  looker._known = [(picture, points, seen)]
  assert looker._of(picture) == (points, seen)
  with pytest.raises(ValueError, match="not looked at"):
    looker._of(picture.copy())


@pytest.mark.slow  # compiles two fits
def test_fits_are_those_of_the_tracker() -> None:
  angle = 0.3
  turn = np.array(
    [
      [np.cos(angle), 0, np.sin(angle)],
      [0, 1, 0],
      [-np.sin(angle), 0, np.cos(angle)],
    ]
  )
  view = _frame()["viewmat"]
  view[:3, :3] = np.diag([1.0, -1.0, -1.0]) @ turn
  head = procedural_head()
  _, smile = head.coefficients(smile_left=0.8, smile_right=0.8)
  frames = [_frame(viewmat=view), _frame(expression=smile)]
  marks = reenactment.places(frames, frames, 128).astype(np.float64)
  looker = reenactment.Looker(128)
  missing = np.full((1, 68, 2), np.nan)
  found = looker._fitted(np.concatenate([marks, missing]))
  assert np.isnan(found.rotation[2]).all()
  np.testing.assert_allclose(found.rotation[0], [0, angle, 0], atol=0.02)
  for k, one in enumerate(marks):
    tracked = track.track(head, one[None], 128)
    # The tracker makes some more steps with the shape held.
    np.testing.assert_allclose(
      found.expression[k], tracked.expression[0], atol=0.03
    )
  both = [head.expression_names.index(f"smile_{s}") for s in ("left", "right")]
  assert found.expression[1, both].min() > 0.3
  assert np.abs(found.expression[0, both]).max() < 0.1
