"""Searching a photo again, cleaning what was found, and whole records."""

import pathlib

import numpy as np
import pytest
from PIL import Image, ImageFilter

from chibijax.artist import Attributes, draw_portrait
from chibijax.errors import UserError
from chibijax.faces import align, analyse, detect
from chibijax.faces.detection import Detection, iou
from chibijax.faces.face import Face

POINTS = np.array([[3, 4], [7, 4], [5, 6], [3, 8], [7, 8]], np.float32)


def box(x: float, y: float, side: float) -> np.ndarray:
  return np.array([x, y, x + side, y + side], np.float32)


class Marker:
  """Finds the brightest red pixel: a face of 10 x 10 with it as its corner."""

  def __init__(self, score: float = 0.999) -> None:
    self.score, self.seen = score, []

  def __call__(self, photo: np.ndarray) -> list[Detection]:
    self.seen.append(photo.shape)
    i, j = np.unravel_index(photo[..., 0].argmax(), photo.shape[:2])
    if photo[i, j, 0] == 0:
      return []
    return [Detection(box(j, i, 10), self.score, POINTS + np.float32([[j, i]]))]


def test_iou() -> None:
  one, others = box(0, 0, 10), np.stack([box(0, 0, 10), box(5, 0, 10)])
  np.testing.assert_allclose(iou(one, others), [1, 1 / 3])
  small = np.stack([box(2, 2, 5), box(50, 50, 5)])
  np.testing.assert_allclose(iou(one, small, smaller=True), [1, 0])


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_turn_goes_back_to_the_photo(quarters: int) -> None:
  photo = np.zeros((40, 60, 3), np.uint8)
  photo[12, 23] = 255
  turned = np.rot90(photo, quarters)
  i, j = np.argwhere(turned[..., 0])[0]
  there = Detection(
    box(j, i, 1), 0.5, np.full((5, 2), [j, i], np.float32) + 0.5
  )
  back = detect.turn(there, quarters, (40, 60))
  np.testing.assert_allclose(back.box, box(23, 12, 1))
  np.testing.assert_allclose(back.points, np.full((5, 2), [23.5, 12.5]))


def test_clean_removes_doubles_and_doubtful_extras() -> None:
  face = Detection(box(0, 0, 100), 0.99)
  double = Detection(box(10, 10, 60), 0.98)
  doubtful = Detection(box(200, 0, 100), 0.9)
  speck = Detection(box(200, 200, 10), 0.99)
  other = Detection(box(300, 0, 120), 0.96)
  found = detect.clean([doubtful, double, speck, face, other])
  assert found == [other, face]
  # A doubtful face counts when it is the only one.
  assert detect.clean([doubtful]) == [doubtful]
  assert detect.clean([]) == []


def test_a_sure_face_ends_the_search() -> None:
  photo = np.zeros((100, 100, 3), np.uint8)
  photo[20, 30] = 255
  marker = Marker()
  found = detect.find(photo, marker)
  assert marker.seen == [(100, 100, 3)]
  np.testing.assert_allclose(found[0].box, box(30, 20, 10))


def test_a_photo_without_a_face_is_searched_again_and_has_none() -> None:
  marker = Marker()
  assert detect.find(np.zeros((600, 400, 3), np.uint8), marker) == []
  assert (400, 600, 3) in marker.seen  # A quarter turn.
  assert max(n for shape in marker.seen for n in shape) > 600  # With room.
  assert (300, 300, 3) in marker.seen  # In parts.
  faces = analyse(np.zeros((60, 40, 3), np.uint8), marker, size=64)
  assert [face.status for face in faces] == ["none"]
  assert faces[0].size == 64


def test_an_unsure_face_is_kept_when_nothing_better_comes() -> None:
  photo = np.zeros((100, 100, 3), np.uint8)
  photo[20, 30] = 255
  assert detect.find(photo, Marker(0.85))[0].score == 0.85


def test_parts_cover_the_photo_and_give_its_coordinates() -> None:
  for i, j in ((5, 9), (300, 420), (599, 699), (290, 10)):
    photo = np.zeros((620, 720, 3), np.uint8)
    photo[i, j] = 255
    boxes = [d.box for d in detect.in_parts(photo, Marker(), 0.5)]
    assert boxes
    np.testing.assert_allclose(boxes, np.tile(box(j, i, 10), (len(boxes), 1)))


def test_landmarks_and_masks_come_as_functions() -> None:
  photo = np.zeros((200, 200, 3), np.uint8)
  photo[80, 90] = 255
  seen = []

  def landmarks(aligned: np.ndarray) -> np.ndarray:
    seen.append(aligned.shape)
    points = np.full((68, 2), 30, np.float32)
    points[36:42], points[42:48] = (26, 31), (38, 31)
    points[48], points[54] = (27, 43), (37, 43)
    return points

  def segment(aligned: np.ndarray) -> dict[str, np.ndarray]:
    share = np.zeros(aligned.shape[:2], np.float32)
    share[:32] = 1
    return {"hair": share}

  face = analyse(
    photo, Marker(), landmarks=landmarks, segment=segment, size=64
  )[0]
  assert seen == [(64, 64, 3)] and face.landmarks.shape == (68, 2)
  # The frame is fitted anew, to the landmarks.
  fitted = list(align.FITTED)
  there = align.move(face.transform, align.five_points(face.landmarks))
  target = align.canonical_points(64)
  np.testing.assert_allclose(there[fitted], target[fitted], atol=1)
  mask = face.mask["hair"]
  assert mask.shape == (200, 200) and mask.any()
  rows, columns = np.nonzero(mask)
  inside = align.move(
    face.transform, np.stack([columns, rows], -1) + np.float64(0.5)
  )
  assert inside.min() > -0.6 and inside[:, 1].max() < 32.6


def test_unknown_detectors_are_refused() -> None:
  with pytest.raises(UserError, match="'magic', expected one of auto, mtcnn"):
    detect.make("magic")


# With the real network.


def statuses(faces: list[Face]) -> list[str]:
  return [face.status for face in faces]


def test_astronaut_is_ok(
  mtcnn_detector: detect.Detector, astronaut: np.ndarray
) -> None:
  (face,) = analyse(astronaut, mtcnn_detector)
  assert face.status == "ok"
  assert abs(face.pose[0]) < 15 and abs(face.pose[2]) < 8


@pytest.mark.parametrize(("quarters", "roll"), [(1, -90), (2, 180), (3, 90)])
def test_turned_photos_are_found_with_their_roll(
  quarters: int,
  roll: float,
  mtcnn_detector: detect.Detector,
  astronaut: np.ndarray,
) -> None:
  (upright,) = analyse(astronaut, mtcnn_detector)
  turned = np.ascontiguousarray(np.rot90(astronaut, quarters))
  (face,) = analyse(turned, mtcnn_detector)
  assert face.status == "ok"
  difference = (face.pose[2] - upright.pose[2] - roll + 180) % 360 - 180
  assert abs(difference) < 3
  size = (face.size, face.size)
  same = align.warp(turned, face.transform, size).astype(float)
  other = align.warp(astronaut, upright.transform, size)
  assert np.abs(same - other).mean() < 4


def test_made_cases(
  mtcnn_detector: detect.Detector, astronaut: np.ndarray
) -> None:
  picture = Image.fromarray(astronaut)
  blurred = np.asarray(picture.filter(ImageFilter.GaussianBlur(3.0)))
  assert statuses(analyse(blurred, mtcnn_detector)) == ["blurred"]
  tiny = np.full((300, 300, 3), 90, np.uint8)
  tiny[50:250, 50:250] = picture.resize((200, 200))
  assert statuses(analyse(tiny, mtcnn_detector)) == ["small"]
  cut = np.ascontiguousarray(astronaut[40:340, 200:])
  assert statuses(analyse(cut, mtcnn_detector)) == ["cut_off"]
  two = np.concatenate([astronaut, astronaut[:, ::-1]], 1)[:400]
  assert statuses(analyse(two, mtcnn_detector)) == ["ok", "ok"]
  without = np.ascontiguousarray(astronaut[300:, :200])
  assert statuses(analyse(without, mtcnn_detector)) == ["none"]


def test_small_faces_of_a_large_photo_are_found(
  mtcnn_detector: detect.Detector, astronaut: np.ndarray
) -> None:
  large = np.full((1500, 2000, 3), 120, np.uint8)
  head = np.asarray(
    Image.fromarray(astronaut[30:230, 120:320]).resize((150,) * 2)
  )
  places = ((100, 100), (700, 1200), (1200, 1700))
  for i, j in places:
    large[i : i + 150, j : j + 150] = head
  faces = analyse(large, mtcnn_detector)
  corners = sorted(face.box[1::-1].tolist() for face in faces)
  # The face begins a little below and right of the head's corner.
  np.testing.assert_allclose(corners, np.add(places, (25, 45)), atol=15)


def test_the_artists_portrait_is_found(mtcnn_detector: detect.Detector) -> None:
  drawing = draw_portrait(Attributes(), 512, seed=3)
  (face,) = analyse(drawing.rgb(), mtcnn_detector)
  true = align.five_points(drawing.landmarks)
  eyes = np.linalg.norm(true[0] - true[1])
  error = np.linalg.norm(face.points - true, axis=1).mean() / eyes
  assert error < 0.12  # Two definitions of the nose and mouth points differ.


# The other detectors.


def test_haar_finds_the_astronaut(astronaut: np.ndarray) -> None:
  pytest.importorskip("cv2", reason="needs OpenCV")
  detector = detect.make("haar")
  best = detector(astronaut)[0]
  assert best.points is None
  np.testing.assert_allclose(
    (best.box[:2] + best.box[2:]) / 2, [224, 122], atol=20
  )
  face = analyse(astronaut, detector)[0]
  assert face.points is None and face.pose == (0, 0, 0)
  assert detector(np.zeros((3, 5, 3), np.uint8)) == []


def test_yunet_finds_the_astronaut(
  shared_data: pathlib.Path, astronaut: np.ndarray
) -> None:
  pytest.importorskip("cv2", reason="needs OpenCV")
  file = shared_data / "weights" / "yunet" / "yunet_n_320_320.onnx"
  best = detect.make("yunet", file)(astronaut)[0]
  seen = [[204, 100], [247, 103], [227, 128], [205, 141], [244, 142]]
  np.testing.assert_allclose(best.points, seen, atol=8)


def test_yunet_needs_its_file(
  tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  monkeypatch.delenv("CHIBIJAX_YUNET", raising=False)
  with pytest.raises(UserError, match="YuNet needs its ONNX file"):
    detect.make("yunet")
  with pytest.raises(UserError, match="is missing"):
    detect.make("yunet", tmp_path / "x.onnx")


def test_opencv_5_has_no_cascades(monkeypatch: pytest.MonkeyPatch) -> None:
  cv2 = pytest.importorskip("cv2", reason="needs OpenCV")
  from chibijax.faces import haar

  monkeypatch.delattr(cv2, "CascadeClassifier")
  haar._cascade.cache_clear()
  with pytest.raises(UserError, match="has no Haar cascades"):
    detect.make("haar")(np.zeros((50, 50, 3), np.uint8))
  haar._cascade.cache_clear()
