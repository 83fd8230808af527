"""The artist's 3D figures: cameras, geometry, determinism."""

import numpy as np
import pytest

from chibijax.artist import Attributes, posed, sample_attributes
from chibijax.artist.attributes import VALUES

SIZE = 48
ATTRIBUTES = Attributes(hair_style="bob", fringe="straight", hair_color="pink")


def draw(azimuth: float, elevation: float = 10.0, **changes) -> np.ndarray:
  attributes = Attributes(**(ATTRIBUTES.to_dict() | changes))
  return posed.draw_posed(attributes, posed.orbit(azimuth, elevation), SIZE)


def project(point: tuple[float, ...], viewmat: np.ndarray) -> np.ndarray:
  """Pixel of a world point, by the pinhole definition in float64."""
  x, y, z = (viewmat.astype(np.float64) @ [*point, 1.0])[:3]
  K = posed.intrinsics(SIZE)
  return np.array([K[0, 0] * x / z + K[0, 2], K[1, 1] * y / z + K[1, 2]])


def test_cameras_are_rigid_and_look_at_the_origin() -> None:
  for azimuth, elevation in ((0, 0), (90, 20), (-130, -40), (10, 80)):
    matrix = posed.orbit(azimuth, elevation)
    turn = matrix[:3, :3]
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-6)
    assert np.linalg.det(turn) == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(matrix @ [0, 0, 0, 1], [0, 0, 2.6, 1], atol=1e-6)
  # In front: the world's axes are the camera's; from the side, -z is left.
  np.testing.assert_allclose(posed.orbit(0, 0)[:3, :3], np.eye(3), atol=1e-7)
  side = posed.orbit(90, 0)
  assert (
    project((0, 0, -0.3), side)[0] < SIZE / 2 < project((0, 0, 0.3), side)[0]
  )
  # From above, what is above the origin is further up in the picture.
  assert project((0, -0.3, 0), posed.orbit(0, 40))[1] < SIZE / 2


def test_held_out_views_are_none_of_the_training_views() -> None:
  train = np.stack([posed.view(k, 30, "train") for k in range(30)])
  held = np.stack([posed.view(k, 8, "eval") for k in range(8)])
  axes = train[:, 2, :3], held[:, 2, :3]
  cosine = axes[0] @ axes[1].T
  assert np.degrees(np.arccos(cosine.clip(-1, 1))).min() > 1
  # Training views surround the figure.
  assert np.abs(axes[0][:, ::2].mean(0)).max() < 0.15


def test_figure_is_where_its_geometry_says() -> None:
  """A bald head alone is an ellipsoid, whose silhouette is known."""
  for azimuth in (0, 60, 180):
    alpha = draw(azimuth, hair_style="bald")[..., 3] / 255
    viewmat = posed.orbit(azimuth, 10)
    top = (0, (-335 - posed.MIDDLE[1]) / posed.SCALE, -posed.MIDDLE[2] / 1000)
    x, y = project(top, viewmat)
    # The skull's top is within its outline, and nothing is above it.
    assert alpha[int(y) + 2, int(x)] == 1
    assert alpha[: int(y) - 2].max() == 0


def test_face_is_seen_in_front_only() -> None:
  def dark(image: np.ndarray) -> int:
    """Pixels of pupils and lashes."""
    return int(((image[..., :3].max(-1) < 70) & (image[..., 3] > 250)).sum())

  front, back = draw(0), draw(180)
  assert dark(front) > 10 > dark(back)
  # Pink hair all over the back of the head.
  red, green, _ = (back[12:24, 20:28, k].astype(int) for k in range(3))
  assert (red - green > 40).all()


def test_pictures_depend_on_attributes_and_view_alone() -> None:
  first = draw(30)
  np.testing.assert_array_equal(first, draw(30))
  assert (first != draw(31)).any()
  other = draw(30, eye_color="blue", hair_color="black")
  np.testing.assert_array_equal(first[..., 3], other[..., 3])
  assert (first != other).any()
  # The head's own pose, headwear and glasses are left out.
  same = draw(30, yaw=15.0, roll=5.0, headwear="cap", glasses="round")
  np.testing.assert_array_equal(first, same)


@pytest.mark.parametrize("style", VALUES["hair_style"])
def test_every_hair_style_fits_the_picture(style: str) -> None:
  for azimuth, elevation in ((0, 0), (45, 64), (90, -29), (180, 30)):
    attributes = Attributes(hair_style=style, face_width=1.0)
    viewmat = posed.orbit(azimuth, elevation)
    alpha = posed.draw_posed(attributes, viewmat, SIZE, samples=1)[..., 3]
    border = np.concatenate([alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1]])
    assert not border.any()
    assert 0.15 < (alpha > 0).mean() < 0.6


def test_more_samples_smooth_the_same_picture() -> None:
  viewmat = posed.orbit(20, 10)
  one, four = (
    posed.draw_posed(ATTRIBUTES, viewmat, SIZE, samples=n).astype(float)
    for n in (1, 4)
  )
  edges = ((four[..., 3] > 0) & (four[..., 3] < 255)).sum()
  assert edges > 30
  assert set(np.unique(one[..., 3])) == {0, 255}
  # Antialiasing changes edges, not areas.
  assert abs(one[..., 3].mean() - four[..., 3].mean()) < 3


def test_sampled_characters_can_all_be_drawn() -> None:
  for k in range(12):
    attributes = sample_attributes(np.random.default_rng([9, k]))
    image = posed.draw_posed(attributes, posed.orbit(30 * k, 10), 16, samples=1)
    assert image.shape == (16, 16, 4) and image[..., 3].any()


@pytest.mark.parametrize("arguments", [{"size": 8}, {"size": 32, "samples": 0}])
def test_bad_arguments(arguments: dict[str, int]) -> None:
  with pytest.raises(ValueError, match="size must be 16 or more"):
    posed.draw_posed(ATTRIBUTES, posed.orbit(0, 0), **arguments)
