"""The pipeline on a real face: pictures, reports, several faces and none."""

import json

import numpy as np
import pytest

from chibijax.apps.pipeline import AvatarResult, Pipeline
from chibijax.errors import UserError

SIZE = 128


@pytest.fixture(scope="module")
def group(astronaut: np.ndarray) -> np.ndarray:
  """Two faces, the left one larger, uint8 [256, 512, 3]."""
  face = astronaut[:256, 90:346]
  photo = np.full((256, 512, 3), 200, np.uint8)
  photo[:, :256] = face
  photo[64:192, 320:448] = face[::2, ::2]
  return photo


@pytest.fixture(scope="module")
def empty() -> np.ndarray:
  """A photo without a face."""
  ramp = np.linspace(90, 160, 256, dtype=np.uint8)
  return np.repeat(np.tile(ramp, (200, 1))[..., None], 3, -1)


@pytest.fixture(scope="module")
def drawn(mtcnn_detector: object) -> Pipeline:
  del mtcnn_detector  # Only asks for its weights.
  return Pipeline.from_config({"size": SIZE})


@pytest.fixture(scope="module")
def result(drawn: Pipeline, astronaut: np.ndarray) -> AvatarResult:
  return drawn([astronaut])[0]


def test_a_photo_becomes_one_picture(result: AvatarResult) -> None:
  assert result.status == "ok"
  assert result.error == ""
  assert result.image.shape[:2] == (SIZE, SIZE)
  assert result.image.dtype == np.uint8
  assert len(result.avatars) == 1
  # A drawing, not a plain square.
  assert result.image[..., :3].std() > 20


def test_the_report_is_json_and_measures(result: AvatarResult) -> None:
  record = json.loads(json.dumps(result.to_dict()))
  assert record["status"] == "ok"
  avatar = record["avatars"][0]
  assert avatar["person"]["hair"].startswith("#")
  # What is drawn flat keeps the colour that was measured; the limits are those
  # of chibijax.apps.drawn, widened by shading within the masks.
  assert avatar["delta_e"]["skin"] < 4
  assert avatar["delta_e"]["hair"] < 6
  stages = record["milliseconds"]
  assert {"detect", "landmarks", "measure", "draw"} <= set(stages)
  assert all(value >= 0 for value in stages.values())


def test_the_same_photo_gives_the_same_picture(
  drawn: Pipeline, result: AvatarResult, astronaut: np.ndarray
) -> None:
  again, other = drawn([astronaut, astronaut[:, ::-1].copy()])
  np.testing.assert_array_equal(again.image, result.image)
  assert other.status == "ok"


def test_no_face_is_a_status(drawn: Pipeline, empty: np.ndarray) -> None:
  [result] = drawn([empty])
  assert result.status == "none"
  assert result.image is None
  assert result.avatars == []
  json.dumps(result.to_dict())


def test_photos_without_faces_do_not_shift_the_others(
  drawn: Pipeline,
  result: AvatarResult,
  empty: np.ndarray,
  astronaut: np.ndarray,
) -> None:
  first, second, third = drawn([empty, astronaut, empty])
  assert (first.status, third.status) == ("none", "none")
  np.testing.assert_array_equal(second.image, result.image)


def test_everyone_gets_an_avatar(
  mtcnn_detector: object, group: np.ndarray
) -> None:
  [result] = Pipeline.from_config({"size": SIZE, "people": "all"})([group])
  assert len(result.avatars) == len(result.images) == 2
  boxes = [avatar.face.box for avatar in result.avatars]
  assert boxes[0][2] < 256 < boxes[1][0]


@pytest.mark.parametrize("style", ["drawn", "toon"])
def test_whole_photos_change_at_the_faces_only(
  mtcnn_detector: object, group: np.ndarray, style: str
) -> None:
  settings = {"size": SIZE, "style": style, "whole": True}
  [result] = Pipeline.from_config(settings)([group])
  assert result.image.shape == group.shape
  changed = (result.image != group).any(-1)
  for face in result.faces:
    x, y = ((face.box[:2] + face.box[2:]) / 2).astype(int)
    assert changed[y, x]
  # The strip below the small face belongs to nobody.
  assert not changed[250:, 470:].any()
  if style == "toon":
    assert len(result.seams) == 2
    # 1 is the photo's own unrest along the seam.
    assert max(result.seams) < 3


def test_a_toon_is_deformed_and_measured(
  mtcnn_detector: object, astronaut: np.ndarray
) -> None:
  [result] = Pipeline.from_config({"style": "toon", "size": SIZE})([astronaut])
  ratios = result.to_dict()["avatars"][0]["ratios"]
  assert ratios["after"]["eye_height"] > 1.3 * ratios["before"]["eye_height"]
  assert ratios["after"]["lower_face"] < ratios["before"]["lower_face"]
  assert ratios["smallest_area"] > 0


def test_a_toons_whole_figure_is_cut_out(
  mtcnn_detector: object, astronaut: np.ndarray
) -> None:
  settings = {"style": "toon", "size": SIZE, "body": True, "finish": "none"}
  [result] = Pipeline.from_config(settings)([astronaut])
  assert result.image.shape == (SIZE, SIZE, 4)
  assert result.image[0, 0, 3] == 0
  assert 2 <= result.to_dict()["avatars"][0]["ratios"]["heads"] <= 3.5


def test_photos_keep_what_no_sticker_covers(
  mtcnn_detector: object, astronaut: np.ndarray
) -> None:
  settings = {"style": "photo", "stickers": "cat_ears"}
  [result] = Pipeline.from_config(settings)([astronaut])
  changed = (result.image != astronaut).any(-1)
  assert 0.002 < changed.mean() < 0.2
  assert not changed[400:].any()


def test_attributes_by_hand(
  mtcnn_detector: object, result: AvatarResult, astronaut: np.ndarray
) -> None:
  settings = {"size": SIZE, "attributes": {"glasses": "round"}}
  [other] = Pipeline.from_config(settings)([astronaut])
  assert (other.image != result.image).any()
  with pytest.raises(UserError, match="none, round"):
    Pipeline.from_config({"attributes": {"glasses": "triangular"}})


def test_backgrounds_and_frames_of_a_drawn_one(
  mtcnn_detector: object, astronaut: np.ndarray
) -> None:
  settings = {"size": SIZE, "background": "remove"}
  [result] = Pipeline.from_config(settings)([astronaut])
  assert result.image.shape[2] == 4
  assert result.image[0, 0, 3] == 0
  assert result.image[SIZE // 2, SIZE // 2, 3] == 255
