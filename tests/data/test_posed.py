"""Posed views: the figure, transforms.json, its splits and mistakes."""

import json
import math
import pathlib
import pickle

import jax
import numpy as np
import pytest
from PIL import Image

from chibijax.artist import posed
from chibijax.data import pipeline
from chibijax.data.posed import FigureSource, PosedFolderSource
from chibijax.data.sources import DataError

SIZE = 24


def opengl(viewmat: np.ndarray) -> list[list[float]]:
  """The camera-to-world matrix that NeRF would write, in a world with z up."""
  pose = np.linalg.inv(viewmat.astype(np.float64))
  pose[:, 1:3] *= -1
  # (x, y, z) with y down is (x, z, -y) with z up.
  return (np.array([[1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
          @ pose).tolist()  # fmt: skip


def write_scene(root: pathlib.Path, count: int = 9, **top: object) -> dict:
  """A nerfstudio folder of the figure; returns its JSON."""
  source = FigureSource(SIZE, split="train", views=count)
  (root / "images").mkdir(parents=True)
  frames = []
  for k in range(count):
    view = source[k]
    name = f"images/{k:03d}.png"
    Image.fromarray(view["image"]).save(root / name)
    matrix = opengl(view["viewmat"])
    frames.append({"file_path": name, "transform_matrix": matrix})
  K = posed.intrinsics(SIZE)
  scene = {
    "w": SIZE, "h": SIZE, "fl_x": float(K[0, 0]), "fl_y": float(K[1, 1]),
    "cx": SIZE / 2, "cy": SIZE / 2, "camera_model": "OPENCV",
    "k1": 0.0, "frames": frames,
  } | top  # fmt: skip
  (root / "transforms.json").write_text(json.dumps(scene))
  return scene


def rewrite(root: pathlib.Path, scene: dict) -> None:
  (root / "transforms.json").write_text(json.dumps(scene))


def test_figure_examples_are_a_function_of_their_index() -> None:
  source = FigureSource(SIZE, split="train", views=5, seed=3, character=2)
  example = source[3]
  assert example["image"].shape == (SIZE, SIZE, 4)
  assert example["viewmat"].dtype == example["K"].dtype == np.float32
  copy = pickle.loads(pickle.dumps(source))[3]
  for key, x in example.items():
    np.testing.assert_array_equal(x, copy[key])
  other = FigureSource(SIZE, split="train", views=5, seed=3, character=1)[3]
  assert (example["image"] != other["image"]).any()
  assert len(source) == 5 and "5 views of figure 2" in source.description


def test_a_folder_gives_back_what_was_drawn(tmp_path: pathlib.Path) -> None:
  write_scene(tmp_path)
  drawn = FigureSource(SIZE, split="train", views=9)
  train = PosedFolderSource(tmp_path, SIZE, split="train")
  held = PosedFolderSource(tmp_path, SIZE, split="eval")
  # Every eighth is held out: 0 and 8 of nine.
  assert len(train) == 7 and len(held) == 2
  assert "7 of 9 frames" in train.description
  for source, places in ((train, range(1, 8)), (held, (0, 8))):
    for k, place in enumerate(places):
      ours, theirs = source[k], drawn[place]
      np.testing.assert_array_equal(
        ours["image"][..., 3], theirs["image"][..., 3]
      )
      solid = theirs["image"][..., 3] > 0
      np.testing.assert_array_equal(
        ours["image"][solid], theirs["image"][solid]
      )
      # Two inversions in float64 of a float32 matrix.
      np.testing.assert_allclose(ours["viewmat"], theirs["viewmat"], atol=1e-6)
      np.testing.assert_allclose(ours["K"], theirs["K"], rtol=1e-6)


def test_opengl_axes_become_opencv_with_y_down(tmp_path: pathlib.Path) -> None:
  """A camera on NeRF's -y axis, level, sees z upward and +x to the right."""
  scene = write_scene(tmp_path, 1)
  matrix = [[1, 0, 0, 0], [0, 0, -1, -3], [0, 1, 0, 0], [0, 0, 0, 1]]
  scene["frames"][0]["transform_matrix"] = matrix
  rewrite(tmp_path, scene)
  viewmat = PosedFolderSource(tmp_path, SIZE, split="train")[0]["viewmat"]
  # z up is y = -1 here; in the camera it is up, so y = -1 as well.
  np.testing.assert_allclose(viewmat @ [0, -1, 0, 1], [0, -1, 3, 1], atol=1e-6)
  np.testing.assert_allclose(viewmat @ [1, 0, 0, 1], [1, 0, 3, 1], atol=1e-6)


def test_nerf_synthetic_layout(tmp_path: pathlib.Path) -> None:
  scene = write_scene(tmp_path)
  angle = 2 * math.atan(SIZE / 2 / scene["fl_x"])
  frames = [
    f | {"file_path": "./" + f["file_path"].removesuffix(".png")}
    for f in scene["frames"]
  ]
  (tmp_path / "transforms.json").unlink()
  for name, part in (("train", frames[:6]), ("test", frames[6:])):
    text = json.dumps({"camera_angle_x": angle, "frames": part})
    (tmp_path / f"transforms_{name}.json").write_text(text)
  train = PosedFolderSource(tmp_path, SIZE, split="train")
  assert len(train) == 6
  assert len(PosedFolderSource(tmp_path, SIZE, split="eval")) == 3
  np.testing.assert_allclose(train[0]["K"], posed.intrinsics(SIZE), rtol=1e-5)


def test_filenames_in_the_json_decide_the_split(tmp_path: pathlib.Path) -> None:
  names = [f"images/{k:03d}.png" for k in range(9)]
  write_scene(tmp_path, train_filenames=names[:4], val_filenames=names[4:6])
  assert len(PosedFolderSource(tmp_path, SIZE, split="train")) == 4
  assert len(PosedFolderSource(tmp_path, SIZE, split="eval")) == 2


@pytest.mark.parametrize("fit", ["center", "top", "stretch"])
def test_the_camera_follows_the_crop(tmp_path: pathlib.Path, fit: str) -> None:
  """A dot at a known point of the world stays where the camera says."""
  width, height, focal = 90, 60, 80.0
  point = np.array([0.2, -0.1, 0.0, 1.0])
  viewmat = posed.orbit(15, 5, 2.0)
  scene = write_scene(
    tmp_path, 1, w=width, h=height, fl_x=focal, fl_y=1.1 * focal, cx=41.0,
    cy=33.0,
  )  # fmt: skip
  scene["frames"][0]["transform_matrix"] = opengl(viewmat)
  rewrite(tmp_path, scene)

  def pixel(K: np.ndarray) -> np.ndarray:
    seen = K @ (viewmat @ point)[:3]
    return seen[:2] / seen[2]

  K = np.array([[focal, 0, 41.0], [0, 1.1 * focal, 33.0], [0, 0, 1]])
  x, y = pixel(K)
  rows, columns = np.mgrid[:height, :width] + 0.5
  dot = 255 * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 18)
  Image.fromarray(dot.astype(np.uint8)).save(tmp_path / "images/000.png")
  view = PosedFolderSource(tmp_path, 48, fit=fit, split="train")[0]
  light = view["image"][..., 0].astype(float)
  rows, columns = np.mgrid[:48, :48] + 0.5
  middle = [(light * c).sum() / light.sum() for c in (columns, rows)]
  # Resampling may move a centre of mass by a fraction of a pixel.
  np.testing.assert_allclose(middle, pixel(view["K"]), atol=0.15)
  assert (view["image"][..., 3] == 255).all()


def test_smaller_pictures_than_were_calibrated(tmp_path: pathlib.Path) -> None:
  write_scene(tmp_path, w=4 * SIZE, h=4 * SIZE, cx=2.0 * SIZE, cy=2.0 * SIZE)
  K = PosedFolderSource(tmp_path, SIZE, split="train")[0]["K"]
  assert K[0, 2] == SIZE / 2
  assert K[0, 0] == pytest.approx(posed.intrinsics(SIZE)[0, 0] / 4)


@pytest.mark.parametrize(
  ("change", "words"),
  [
    (lambda s: s.update(k1=0.1), "undistort"),
    (lambda s: s.update(camera_model="OPENCV_FISHEYE"), "undistort"),
    (lambda s: [s.pop("fl_x"), s.pop("fl_y")], "camera_angle_x"),
    (lambda s: s["frames"][1].pop("file_path"), "file_path"),
    (lambda s: s["frames"][1].update(file_path="images/none.png"), "none.png"),
    (lambda s: s["frames"][1].pop("transform_matrix"), "transform_matrix"),
    (
      lambda s: s["frames"][1].update(
        transform_matrix=np.ones((4, 4)).tolist()
      ),
      "transform_matrix",
    ),
    (lambda s: s.update(frames=[]), "no list of frames"),
    (lambda s: s.update(frames=[3]), "not an object"),
  ],
)
def test_mistakes_are_sentences(tmp_path: pathlib.Path, change, words) -> None:
  scene = write_scene(tmp_path)
  change(scene)
  rewrite(tmp_path, scene)
  with pytest.raises(DataError, match=words) as caught:
    for split in ("train", "eval"):
      PosedFolderSource(tmp_path, SIZE, split=split)[0]
  assert "\n" not in str(caught.value)


def test_missing_and_broken_json(tmp_path: pathlib.Path) -> None:
  with pytest.raises(DataError, match=r"transforms\.json does not exist"):
    PosedFolderSource(tmp_path, SIZE, split="train")
  (tmp_path / "transforms.json").write_text("{")
  with pytest.raises(DataError, match="JSON"):
    PosedFolderSource(tmp_path, SIZE, split="train")
  with pytest.raises(DataError, match="fit_a"):
    PosedFolderSource(tmp_path, SIZE, fit="letterbox", split="train")


OPTIONS = {
  "source_a": "artist", "domain_a": "figure", "source_b": "", "size": SIZE,
  "examples": 5, "eval_examples": 3, "threads": 2,
}  # fmt: skip


def test_pipeline_delivers_cameras_with_their_pictures() -> None:
  train = pipeline.make(OPTIONS, split="train", batch_size=2)
  assert train.spec == {
    "image": jax.ShapeDtypeStruct((2, SIZE, SIZE, 4), np.uint8),
    "viewmat": jax.ShapeDtypeStruct((2, 4, 4), np.float32),
    "K": jax.ShapeDtypeStruct((2, 3, 3), np.float32),
  }
  assert not train.paired and "(posed)" in train.description
  source = FigureSource(SIZE, split="train", views=5)
  known = {source[k]["viewmat"].tobytes(): source[k]["image"] for k in range(5)}
  with train.iterator() as batches:
    for _ in range(5):
      batch = next(batches)
      for viewmat, image in zip(batch["viewmat"], batch["image"]):
        # Neither cropped nor mirrored.
        np.testing.assert_array_equal(known[viewmat.tobytes()], image)
  held = pipeline.make(OPTIONS, split="eval", batch_size=2)
  assert held.examples == 3
  masks = [batch["mask"] for batch in held]
  np.testing.assert_array_equal(np.concatenate(masks), [1, 1, 1, 0])


def test_pipeline_of_a_folder(tmp_path: pathlib.Path) -> None:
  write_scene(tmp_path)
  options = OPTIONS | {"source_a": "posed", "path_a": str(tmp_path)}
  with pipeline.make(
    options, split="train", batch_size=2
  ).iterator() as batches:
    assert next(batches)["image"].shape == (2, SIZE, SIZE, 4)
  with pytest.raises(DataError, match=r"set data\.path_a"):
    pipeline.make(options | {"path_a": ""}, split="train")
