"""Pose from five points, sharpness, and the words made of them."""

import dataclasses

import numpy as np
import pytest
from PIL import Image, ImageFilter

from chibijax.faces import align, status
from chibijax.faces.face import STATUSES, Face


def turned_head(yaw: float, pitch: float, roll: float) -> np.ndarray:
  """The five points of `status.HEAD`, turned, 40 pixels between the eyes."""
  y, p, r = np.radians([yaw, pitch, roll])
  # x right, y down, z away: the nose (z < 0) goes right for yaw > 0, up for
  # pitch > 0, and the head turns clockwise for roll > 0.
  about_y = [[np.cos(y), 0, -np.sin(y)], [0, 1, 0], [np.sin(y), 0, np.cos(y)]]
  about_x = [[1, 0, 0], [0, np.cos(p), np.sin(p)], [0, -np.sin(p), np.cos(p)]]
  about_z = [[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]]
  turn = np.array(about_z) @ np.array(about_y) @ np.array(about_x)
  return (status.HEAD @ turn.T)[:, :2] * 40 + 100


@pytest.mark.parametrize(
  "angles",
  [
    *((0, 0, 0), (30, 0, 0), (-55, 0, 0), (0, 20, 0), (0, -20, 0)),
    *((0, 0, 170), (0, 0, -90), (25, -15, 40)),
  ],
)
def test_pose_of_a_turned_head(angles: tuple[float, float, float]) -> None:
  np.testing.assert_allclose(
    status.pose(turned_head(*angles)), angles, atol=1e-6
  )


def test_signs_of_the_pose() -> None:
  straight, right = turned_head(0, 0, 0), turned_head(20, 0, 0)
  up, clockwise = turned_head(0, 20, 0), turned_head(0, 0, 20)
  eyes = slice(0, 2)

  def nose(points: np.ndarray) -> np.ndarray:
    return points[2] - points[eyes].mean(0)

  assert nose(right)[0] > nose(straight)[0]
  assert nose(up)[1] < nose(straight)[1]
  assert clockwise[1, 1] > clockwise[0, 1]


def test_pose_of_a_single_place_is_straight() -> None:
  assert status.pose(np.ones((5, 2))) == (0.0, 0.0, 0.0)


@pytest.fixture(scope="module")
def framed(astronaut: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  points = np.array(
    [[204, 101], [246, 103], [225, 128], [202, 140], [246, 141.0]]
  )
  return astronaut, align.find_transform(points)


def test_sharpness_tells_blur_but_not_light(framed: tuple) -> None:
  photo, transform = framed
  sharp = status.sharpness(photo, transform, 256)
  picture = Image.fromarray(photo)
  # In units of the distance between the eyes, 42 pixels.
  values = [
    status.sharpness(
      np.asarray(picture.filter(ImageFilter.GaussianBlur(blur * 42))),
      transform,
      256,
    )
    for blur in (0.02, 0.05, 0.1)
  ]
  assert sharp > values[0] > values[1] > values[2]
  assert values[1] < status.BLURRED < sharp
  dim = np.uint8(photo * 0.4 + 20)
  assert status.sharpness(dim, transform, 256) == pytest.approx(sharp, rel=0.1)
  flat = np.full_like(photo, 90)
  assert status.sharpness(flat, transform, 256) == 0


def test_sharpness_does_not_depend_on_the_frame(framed: tuple) -> None:
  photo, _ = framed
  points = np.array(
    [[204, 101], [246, 103], [225, 128], [202, 140], [246, 141.0]]
  )
  values = [
    status.sharpness(photo, align.find_transform(points, n, m), n, m)
    for n, m in ((256, 0.0), (64, 0.2), (1024, -0.1))
  ]
  np.testing.assert_allclose(values, values[0], rtol=0.05)


def test_outside_is_the_share_of_the_face_beyond_the_photo() -> None:
  unit = np.eye(2, 3, dtype=np.float32)
  left, top, right, bottom = status.face_area(100)
  assert status.outside((100, 100), unit, 100) == 0
  half = round((top + bottom) / 2)
  assert status.outside((half, 100), unit, 100) == pytest.approx(0.5, abs=0.05)
  assert status.outside((int(top) - 1, 100), unit, 100) == 1
  assert status.outside((100, 200), unit, 100) == 0
  assert right - left == pytest.approx(42)


@pytest.mark.parametrize(
  ("changes", "word"),
  [
    ({}, "ok"),
    ({"eye_distance": 10.0}, "small"),
    ({"outside": 0.3}, "cut_off"),
    ({"yaw": -60.0}, "profile"),
    ({"yaw": 60.0}, "profile"),
    ({"sharpness": 0.001}, "blurred"),
    ({"eye_distance": 10.0, "sharpness": 0.001, "outside": 0.3}, "small"),
  ],
)
def test_judge(changes: dict, word: str) -> None:
  good = {"eye_distance": 80.0, "outside": 0.0, "yaw": 5.0, "sharpness": 0.07}
  assert status.judge(**(good | changes)) == word


def test_face_records() -> None:
  none = Face.none()
  assert none.status == "none" and not none.found
  fields = none.to_dict()
  assert fields["box"] == [0, 0, 0, 0] and "mask" not in fields
  with pytest.raises(ValueError, match="'fine'"):
    dataclasses.replace(none, status="fine")
  assert set(STATUSES) == {
    "ok",
    "none",
    "small",
    "cut_off",
    "profile",
    "blurred",
  }
