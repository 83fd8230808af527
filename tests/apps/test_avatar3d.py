"""Gaussian heads: files, frames, heads of a training, photos, sentences."""

import dataclasses
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from PIL import Image

from chibijax.apps import (
  avatar3d,
  avatar3d_chibi,
  avatar3d_file,
  avatar3d_motions,
  avatar3d_photo,
  pretrained,
)
from chibijax.errors import UserError
from chibijax.faces.detection import Detection
from chibijax.heads import model as head_model
from chibijax.heads import motion as motions
from chibijax.heads.procedural import procedural_head
from configs import gagavatar
from tests.apps.avatar3d_cases import (
  SIDE,
  call,
  face,
  film,
  made,
  networks,
  player,
  said,
)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
  path = tmp_path_factory.mktemp("avatar") / "me.avatar"
  avatar3d_file.write(path, made())
  return path


def test_file_keeps_everything_and_says_what_it_is(
  saved: pathlib.Path,
) -> None:
  read = avatar3d_file.read(saved)
  same = jax.tree.map(np.array_equal, read.gaussians, made().gaussians)
  assert all(jax.tree.leaves(same))
  same = jax.tree.map(np.array_equal, read.renderer, dict(made().renderer))
  assert all(jax.tree.leaves(same))
  for field in dataclasses.fields(read.face):
    values = (getattr(x.face, field.name) for x in (read, made()))
    np.testing.assert_array_equal(*values)
  np.testing.assert_array_equal(read.inside, made().inside)
  assert not read.inside[0, 0] and read.inside[-1].all()
  assert read.about["consent"] is True and read.head == "procedural"
  again = saved.with_name("again.avatar")
  avatar3d_file.write(again, read)
  assert again.read_bytes() == saved.read_bytes()
  assert avatar3d.load_model(read).config == networks().model.config


def test_frames_are_the_tasks_and_repeat_exactly() -> None:
  row = film().expression[1], film().pose[1], film().eyes[1]
  view = film().viewmats[1]
  picture = np.asarray(player()(*row, view))
  np.testing.assert_array_equal(picture, player()(*row, view))
  model = networks().model
  given = (jnp.asarray(x)[None] for x in (made().face.shape, *row))
  vertices = model.vertices(*given)
  # The player adds up shape and template once: another rounding.
  np.testing.assert_allclose(player().vertices(*row), vertices, atol=2e-6)
  K = motions.intrinsics(SIDE)[None]
  given = jax.tree.map(jnp.asarray, (made().gaussians, view[None], K))
  coarse, fine = jax.jit(model.reenact)(
    networks().params, given[0], vertices, *given[1:]
  )
  np.testing.assert_allclose(
    player().coarse(player().vertices(*row), view), coarse, atol=1e-4
  )
  off = np.abs(np.asarray(fine[0]) * 255 - picture)
  assert off.max() < 0.6


@pytest.fixture(scope="module")
def broken(
  saved: pathlib.Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, pathlib.Path]:
  """Files that are no avatars, by what is wrong."""
  folder = tmp_path_factory.mktemp("broken")
  data = saved.read_bytes()
  arrays = safetensors.numpy.load(data)
  length = int.from_bytes(data[:8], "little")
  header = json.loads(data[8 : 8 + length])["__metadata__"]
  described = json.loads(header["avatar"])

  def changed(name: str, **more: object) -> pathlib.Path:
    values = {k: more.get(k, v) for k, v in arrays.items()}
    told = described | {k: v for k, v in more.items() if k in described}
    path = folder / name
    told = {"avatar": more.get("text", json.dumps(told))}
    path.write_bytes(safetensors.numpy.save(values, told))
    return path

  means = arrays["lifted/means"]
  files = {
    "not an avatar, but another": changed("other.avatar", format="else"),
    "update it": changed("later.avatar", version=2),
    "no version": changed("none.avatar", version="one"),
    "does not say what it holds": changed("header.avatar", config=3),
    "does not say what it": changed("text.avatar", text="[1"),
    "means has the shape": changed(
      "few.avatar", **{"lifted/means": means[:, 1:]}
    ),
    "is not finite": changed(
      "nan.avatar", **{"lifted/means": means * np.float32(np.nan)}
    ),
  }
  files["cut short or damaged"] = folder / "short.avatar"
  files["cut short or damaged"].write_bytes(data[: len(data) // 2])
  files["cannot be read"] = folder / "missing.avatar"
  return files


def test_damaged_files_are_refused_in_a_sentence(
  broken: dict[str, pathlib.Path],
) -> None:
  for words, path in broken.items():
    with pytest.raises(UserError, match=words):
      avatar3d_file.read(path)
  path = broken["update it"]
  assert "version 2" in said(call("animate", path, path.with_suffix(".gif")))
  with pytest.raises(UserError, match=r"expected NAME\.avatar"):
    avatar3d_file.write("me.pkl", made())


def test_another_head_model_is_refused() -> None:
  other = dataclasses.replace(made(), head="FLAME")
  with pytest.raises(UserError, match="'FLAME', got 'procedural'"):
    avatar3d.load_model(other)
  driver = dataclasses.replace(film(), head="FLAME")
  with pytest.raises(UserError, match="head model 'FLAME'"):
    avatar3d_motions.fitted(driver, made(), networks().model, "talk.npz")
  head = procedural_head()
  plain = head.replace(
    shape_basis=head.shape_basis[..., :-1],
    shape_names=head.shape_names[:-1],
    combinations=(),
    combination_basis=head.combination_basis[..., :0],
  )
  model = dataclasses.replace(networks().model, head=plain)
  with pytest.raises(UserError, match="has no chibi axis"):
    avatar3d_chibi.apply(made(), model, 1.0)


def test_a_persons_head_is_the_head_with_the_shape() -> None:
  head, own = procedural_head(), face()
  shape = np.array(own.shape)
  shape[-1] = 0.7
  expression, pose, eyes = film().expression[1], film().pose[1], film().eyes[1]
  expected = head_model.vertices(head, shape, expression, pose, eyes, xp=np)
  mine = avatar3d.with_shape(head, shape)
  none = np.zeros(0, np.float32)
  got = head_model.vertices(mine, none, expression, pose, eyes, xp=np)
  np.testing.assert_allclose(got, expected, atol=1e-6)


class _Faces:
  """Finds as many faces as it was told, the mean head's in the middle."""

  def __init__(self, count: int, side: int) -> None:
    self.count, self.side = count, side

  def __call__(self, photo: np.ndarray) -> list[Detection]:
    boxes = np.array([[0.2, 0.2, 0.8, 0.8], [0.0, 0.0, 0.25, 0.25]])
    sized = (self.side * boxes).astype(np.float32)
    return [Detection(box, 0.99) for box in sized[: self.count]]


def _mean_marks(side: int) -> np.ndarray:
  view, points = avatar3d_photo.home_view(procedural_head())
  seen = points @ view[:3, :3].T + view[:3, 3]
  half = side / 2
  return half + half * motions.FOCAL * seen[:, :2] / seen[:, 2:]


def test_frame_of_a_photo_is_that_of_the_training() -> None:
  head = procedural_head()
  middle, half = avatar3d_photo.frame(head, 3 * _mean_marks(100) + [20, 40])
  np.testing.assert_allclose(middle, [170, 190], atol=1e-6)
  np.testing.assert_allclose(half, 150, rtol=1e-6)
  pixels = np.zeros((200, 200, 3), np.uint8)
  pixels[40:160, 20:120] = 200
  cut = avatar3d_photo.crop(pixels, np.array([70.0, 100.0]), 150.0, 30)
  assert cut.shape == (30, 30, 3) and (cut[15, 15] == 200).all()
  # A tenth of a pixel's light: 100 of 300 columns, 120 of 300 rows.
  assert abs(cut[..., 0].mean() / 200 - 100 * 120 / 300**2) < 0.01


@pytest.mark.parametrize("count", [0, 2])
def test_photos_without_a_face_and_with_several(
  count: int, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  side = 64
  photo = tmp_path / "me.png"
  Image.fromarray(np.full((side, side, 3), 90, np.uint8)).save(photo)

  class Points:
    def __call__(self, aligned: np.ndarray) -> np.ndarray:
      from chibijax.faces import landmarks

      points = landmarks.face_parser.MEAN_SHAPE * len(aligned)
      return np.asarray(points, np.float32)

  finder = avatar3d_photo.Finder(_Faces(count, side), Points())
  monkeypatch.setattr(avatar3d_photo, "load_finder", lambda *_, **__: finder)
  monkeypatch.setattr(avatar3d, "load_networks", lambda *_: networks())
  fitted = face(), 0.4
  monkeypatch.setattr(avatar3d_photo, "fit_face", lambda *_: fitted)
  out = tmp_path / "me.avatar"
  result = call(
    "avatar3d", photo, out, "--workdir", tmp_path, "--chibi", 0.5, "--consent"
  )
  if not count:
    assert result.exit_code == 3
    assert "shows no face" in said(result) and not out.exists()
    return
  assert result.exit_code == 0, result.output
  assert "shows 2 faces; the largest is taken" in result.output
  assert "0.4 px of 16 off" in result.output
  about = avatar3d_file.read(out).about
  assert about["consent"] is True and about["chibi"] == 0.5
  assert "female" not in json.dumps(dict(about))
  words = said(call("avatar3d", photo, out))
  assert "either --workdir or --weights" in words


def test_networks_of_a_training(tmp_path: pathlib.Path) -> None:
  config = gagavatar.get_config("smoke")
  path = tmp_path / "networks.safetensors"
  params = networks().params
  pretrained.save_file(path, pretrained.Pretrained(config, params, 3, "test"))
  loaded = avatar3d.load_networks(path)
  same = jax.tree.map(np.array_equal, loaded.params, params)
  assert all(jax.tree.leaves(same)) and loaded.step == 3
  assert not loaded.published
  less = {**params, "renderer": {}}
  pretrained.save_file(path, pretrained.Pretrained(config, less, 3, "test"))
  with pytest.raises(UserError, match="lacks the network 'renderer'"):
    avatar3d.load_networks(path)
  config.task = "splat"
  pretrained.save_file(path, pretrained.Pretrained(config, params, 3, "test"))
  with pytest.raises(UserError, match="run of the task 'splat'"):
    avatar3d.load_networks(path)
