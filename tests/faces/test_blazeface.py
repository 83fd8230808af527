"""BlazeFace as a detector: decoding, blending, real pictures."""

import pathlib

import numpy as np
import pytest
import safetensors.numpy
from PIL import Image

from chibijax.core import weight_files
from chibijax.errors import UserError
from chibijax.faces import analyse, blazeface, detect
from chibijax.faces.detection import iou

FILES = {"front": "blazeface.pth", "back": "blazefaceback.pth"}


@pytest.fixture(scope="module", params=sorted(FILES))
def detector(
  request: pytest.FixtureRequest, shared_data: pathlib.Path
) -> blazeface.BlazeFaceDetector:
  file = shared_data / "weights" / "blazeface" / FILES[request.param]
  return detect.make("blazeface", file)


def test_finds_the_astronaut(
  detector: blazeface.BlazeFaceDetector, astronaut: np.ndarray
) -> None:
  (best,) = detect.clean(detector(astronaut))
  assert best.score > 0.9
  # Read off the picture by eye; the mouth's corners are guessed.
  seen = [[204, 100], [247, 103], [227, 128], [205, 141], [244, 142]]
  # One pixel of the front network is 4 here.
  np.testing.assert_allclose(best.points[:3], seen[:3], atol=9)
  np.testing.assert_allclose(best.points[3:], seen[3:], atol=12)
  twice = np.asarray(Image.fromarray(astronaut).resize((1024, 1024)))
  large = detector(twice)[0]
  np.testing.assert_allclose(large.points / 2, best.points, atol=2)
  (face,) = analyse(astronaut, detector)
  assert face.status == "ok"


def test_wide_photos_keep_their_shape(
  detector: blazeface.BlazeFaceDetector, astronaut: np.ndarray
) -> None:
  wide = np.full((512, 800, 3), 90, np.uint8)
  wide[:, 288:] = astronaut
  found, alone = detector(wide)[0], detector(astronaut)[0]
  moved = found.box - np.tile([288, 0], 2)
  assert iou(moved[None], alone.box[None])[0] > 0.7


def test_agrees_with_mtcnn_on_photos(
  detector: blazeface.BlazeFaceDetector,
  mtcnn_detector: detect.Detector,
  shared_data: pathlib.Path,
) -> None:
  errors = []
  for file in sorted((shared_data / "photos" / "faker").glob("*.jpg"))[::14]:
    photo = np.asarray(Image.open(file).convert("RGB"))
    ours = detect.find(photo, detector)[0].points
    theirs = detect.find(photo, mtcnn_detector)[0].points
    eyes = np.linalg.norm(theirs[0] - theirs[1])
    errors.append(np.linalg.norm(ours - theirs, axis=1) / eyes)
  middle = np.median(errors, 0)
  assert len(errors) == 10
  assert middle[:3].max() < 0.12 and middle[3:].max() < 0.25


@pytest.mark.parametrize("shape", [(1, 1), (11, 13), (700, 3)])
def test_tiny_and_narrow_photos_have_no_face(
  shape: tuple[int, int], detector: blazeface.BlazeFaceDetector
) -> None:
  assert detector(np.full((*shape, 3), 200, np.uint8)) == []


def test_blend_averages_what_overlaps() -> None:
  places = np.zeros((3, 8, 2))
  places[:, 0] = [[50, 50], [54, 50], [200, 50]]
  places[:, 1] = 40
  places[:, 2:] = places[:, :1] + 3
  found = blazeface.blend(places, np.array([0.9, 0.3, 0.95]))
  assert [score for _, score in found] == [0.95, 0.9]
  np.testing.assert_allclose(found[1][0][0], [51, 50])
  np.testing.assert_allclose(found[1][0][5], [54, 53])
  assert blazeface.blend(places[:0], np.zeros(0)) == []


def test_other_files_are_refused(
  tmp_path: pathlib.Path,
  monkeypatch: pytest.MonkeyPatch,
  shared_data: pathlib.Path,
) -> None:
  monkeypatch.delenv(blazeface.VARIABLE, raising=False)
  with pytest.raises(UserError, match=blazeface.VARIABLE):
    detect.make("blazeface")
  monkeypatch.setenv(blazeface.VARIABLE, str(tmp_path / "none.pth"))
  with pytest.raises(UserError, match="cannot be read"):
    detect.make("blazeface")
  other = tmp_path / "other.safetensors"
  safetensors.numpy.save_file({"a.weight": np.zeros(3, np.float32)}, other)
  with pytest.raises(UserError, match="is no BlazeFace"):
    detect.make("blazeface", other)
  arrays = weight_files.read(
    shared_data / "weights" / "blazeface" / FILES["front"]
  )
  # Weights as safetensors are the same to us; a missing layer is not.
  safetensors.numpy.save_file(arrays, other)
  assert detect.make("blazeface", other).kind == "front"
  arrays.pop("classifier_8.bias")
  safetensors.numpy.save_file(arrays, other)
  with pytest.raises(UserError, match=r"score16.*bias.*missing"):
    detect.make("blazeface", other)
