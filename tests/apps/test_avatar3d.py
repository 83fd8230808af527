"""Gaussian heads in use: files, films, the chibi axis, pages, sentences."""

import base64
import dataclasses
import functools
import html.parser
import json
import pathlib
import re
import shutil
import subprocess

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from PIL import Image
from typer.testing import CliRunner, Result

from chibijax.apps import (
  avatar3d,
  avatar3d_build,
  avatar3d_chibi,
  avatar3d_export,
  avatar3d_file,
  avatar3d_motions,
  avatar3d_page,
  avatar3d_photo,
  cli,
  pretrained,
  splat_files,
)
from chibijax.errors import UserError
from chibijax.faces.detection import Detection
from chibijax.heads import model as head_model
from chibijax.heads import motion as motions
from chibijax.heads.procedural import procedural_head
from chibijax.ops import splat
from chibijax.tasks import avatar
from configs import gagavatar

SIDE = 16


@functools.cache
def networks() -> avatar3d.Networks:
  """Untrained networks of the smallest size."""
  config = avatar3d.own_config(gagavatar.get_config("smoke"))
  model = avatar.build(config).model
  # Drawn without JAX, which would compile for seconds.
  shapes = jax.eval_shape(model.init, jax.random.key(0))
  rng = np.random.default_rng(0)

  def draw(shape: jax.ShapeDtypeStruct) -> np.ndarray:
    scale = 0.8 / np.sqrt(max(np.prod(shape.shape[:-1]), 1))
    return rng.normal(0, scale, shape.shape).astype(np.float32)

  params = jax.tree.map(draw, shapes)
  return avatar3d.Networks(model, params, config, False, 0, "untrained")


def face(**changes: np.ndarray) -> avatar3d_file.Face:
  head = procedural_head()
  rng = np.random.default_rng(0)
  view, _ = avatar3d_photo.home_view(head)
  values = {
    "shape": rng.normal(0, 0.3, len(head.shape_names)).astype(np.float32),
    "expression": np.zeros(len(head.expression_names), np.float32),
    "pose": np.zeros(6, np.float32),
    "eyes": np.zeros(6, np.float32),
    "viewmat": view,
  }
  values["shape"][-1] = 0
  return avatar3d_file.Face(**(values | changes))


@functools.cache
def made() -> avatar3d_file.Avatar:
  rng = np.random.default_rng(1)
  picture = rng.integers(30, 255, (SIDE, SIDE, 3)).astype(np.uint8)
  picture[:4, :4] = 0
  about = {"style": "model", "model": "a test", "consent": True}
  return avatar3d.build(networks(), picture, face(), about)


@functools.cache
def player() -> avatar3d.Player:
  return avatar3d.Player(made(), networks().model)


@functools.cache
def film(count: int = 3) -> motions.Motion:
  """The first frames of the demonstration."""
  whole = avatar3d_motions.demo(made(), procedural_head())
  rows = {
    name: getattr(whole, name)[40 : 40 + 20 * count : 20]
    for name in ("expression", "pose", "eyes", "viewmats", "valid")
  }
  return dataclasses.replace(whole, **rows)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
  path = tmp_path_factory.mktemp("avatar") / "me.avatar"
  avatar3d_file.write(path, made())
  return path


def call(*arguments: object) -> Result:
  return CliRunner().invoke(cli.app, [str(a) for a in arguments])


def said(result: Result) -> str:
  """A command's one sentence."""
  text = result.stderr.strip()
  assert text.startswith("chibijax: ") and "\n" not in text, result.output
  return text


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


def test_chibi_moves_gaussians_as_the_vertices() -> None:
  model = networks().model
  before = avatar3d_chibi.posed(model.head, made().face)
  chibi = avatar3d_chibi.apply(made(), model, 1.0)
  after = avatar3d_chibi.posed(model.head, chibi.face)
  assert np.abs(after - before).max() > 0.1
  warp = avatar3d_chibi.field(before, after, np.asarray(model.head.faces))
  # On the vertices they go where the vertices go. Vertices that coincide may
  # go to different places; the field then goes between.
  moved, _ = warp(before)
  off = np.linalg.norm(moved - after, axis=1)
  assert np.quantile(off, 0.95) < 1e-3 and off.max() < 0.1
  # A little outside the skin, they go nearly the same way.
  rng = np.random.default_rng(0)
  chosen = rng.choice(len(before), 300)
  aside = rng.normal(0, 0.01, (300, 3))
  moved, stretch = warp(before[chosen] + aside)
  assert np.quantile(np.linalg.norm(moved - after[chosen], axis=1), 0.9) < 0.06
  assert (stretch >= 0.5).all() and (stretch <= 2).all()
  for old, new in zip(
    jax.tree.leaves(made().gaussians), jax.tree.leaves(chibi.gaussians)
  ):
    assert old.shape == new.shape and np.isfinite(new).all()
  assert (chibi.gaussians.lifted.scales > 0).all()
  # Without a displacement nothing moves; far away neither.
  still = avatar3d_chibi.field(before, before, np.asarray(model.head.faces))
  points = rng.normal(0, 3, (100, 3))
  moved, stretch = still(points)
  np.testing.assert_allclose(moved, points, atol=1e-9)
  np.testing.assert_allclose(stretch, 1.0)
  with pytest.raises(UserError, match="--chibi is 3"):
    avatar3d_chibi.apply(made(), model, 3.0)


def test_chibi_is_shown_as_large_and_where_the_head_was() -> None:
  head = procedural_head()
  chibi = avatar3d_chibi.apply(made(), networks().model, 1.0)
  seen = []
  for one in (made(), chibi):
    middle, half = avatar3d_chibi.extent(avatar3d_chibi.posed(head, one.face))
    view = one.face.viewmat.astype(np.float64)
    at = view[:3, :3] @ middle + view[:3, 3]
    seen.append([*(at[:2] / at[2]), half / at[2]])
  np.testing.assert_allclose(seen[1], seen[0], atol=1e-6)
  assert chibi.face.viewmat[2, 3] > 1.02 * made().face.viewmat[2, 3]


def test_drivers_are_framed_as_the_photo(
  tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  chibi = avatar3d_chibi.apply(made(), networks().model, 1.0)
  # Another crop: nearer, and the head elsewhere.
  views = film().viewmats.copy()
  views[:, :3, 3] = 0.8 * views[:, :3, 3] + [0.3, -0.2, 0]
  driver = dataclasses.replace(film(), viewmats=views)
  model = networks().model
  driven = avatar3d_motions.fitted(driver, chibi, model, "film")
  points = avatar3d_chibi.posed(model.head, chibi.face)
  middle, _ = avatar3d_chibi.extent(points)

  def seen(views: np.ndarray) -> np.ndarray:
    at = views[:, :3, :3] @ middle + views[:, :3, 3]
    return np.column_stack([at[:, :2] / at[:, 2:], at[:, 2]])

  photo = seen(chibi.face.viewmat[None].astype(np.float64))[0]
  np.testing.assert_allclose(
    np.median(seen(driven.viewmats), axis=0), photo, atol=2e-5
  )
  np.testing.assert_array_equal(driven.viewmats[:, :3, :3], views[:, :3, :3])
  monkeypatch.setattr(avatar3d_motions, "tracked", lambda *_: driver)
  found = avatar3d_motions.load(tmp_path / "talk.mp4", chibi, model)
  np.testing.assert_allclose(found.viewmats, driven.viewmats)


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


def test_demonstration_moves_and_comes_back() -> None:
  head = procedural_head()
  whole = avatar3d_motions.demo(made(), head)
  assert len(whole) == 200 and whole.head == "procedural"
  column = whole.expression[:, head.expression_names.index("lids_close_left")]
  assert column.max() > 0.95 and column[0] == 0
  shut = np.diff((column > 0.5).astype(int))
  assert (shut == 1).sum() == 4
  np.testing.assert_allclose(whole.viewmats[0], whole.viewmats[-1], atol=0.03)
  assert whole.pose[:, 3].max() > 0.1 and whole.expression.max() <= 1
  around = avatar3d_motions.turntable(whole, made(), head, 180)
  # Opposite views look the other way, at the same middle.
  a, b = around.viewmats[0], around.viewmats[100]
  np.testing.assert_allclose(a[2, :3] @ b[2, :3], -1, atol=1e-5)
  with pytest.raises(UserError, match="--turntable is 0"):
    avatar3d_motions.turntable(whole, made(), head, 0)
  still = avatar3d_motions.steady(whole, made())
  assert (still.viewmats == made().face.viewmat).all()


def test_film_by_the_command(
  saved: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  drive = tmp_path / "film.npz"
  motions.write_motion(drive, film())
  out = tmp_path / "deep" / "me.gif"
  result = call("animate", saved, out, "--drive", drive)
  assert result.exit_code == 0, result.output
  assert "3 frames of 16 px" in result.output
  with Image.open(out) as picture:
    assert picture.n_frames == 3 and picture.size == (SIDE, SIDE)
    assert b"may be used" in picture.info["comment"]
  folder = tmp_path / "frames"
  result = call("animate", saved, folder, "--drive", drive)
  assert result.exit_code == 0, result.output
  names = sorted(p.name for p in folder.iterdir())
  assert names == ["00000.png", "00001.png", "00002.png"]
  with Image.open(folder / names[1]) as picture:
    expected = list(avatar3d_build.frames(player(), film()))[1]
    np.testing.assert_array_equal(np.asarray(picture), expected)
  words = said(call("animate", saved, tmp_path / "me.avi", "--drive", drive))
  assert "not a film's name" in words
  words = said(call("animate", saved, out, "--steady", "--turntable", 30))
  assert "give one of them" in words
  assert "cannot be read" in said(
    call("animate", saved, out, "--drive", tmp_path / "none.npz")
  )


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


@functools.cache
def plain() -> avatar3d_export.Plain:
  return avatar3d_export.distill(made(), networks().model, steps=30, views=8)


def test_distilled_colours_come_closer_to_the_renderer(
  tmp_path: pathlib.Path,
) -> None:
  assert plain().after > plain().before + 0.5
  scene = plain().gaussians
  assert scene.sh.shape[1:] == (1, 3)
  moving = plain().moving
  assert moving == len(procedural_head().template)
  # Nothing is left of the black corner's Gaussians.
  lifted = made().inside.sum() * 2
  assert len(scene.means) - moving <= lifted
  avatar3d_export.write_splats(tmp_path / "me.ply", scene)
  read = splat_files.read(tmp_path / "me.ply")
  np.testing.assert_allclose(read.sh, scene.sh, atol=1e-6)
  np.testing.assert_allclose(read.means[:, 1], -scene.means[:, 1], atol=1e-6)
  # Turned with the camera, it is the same picture.
  flip = np.diag([1.0, -1, -1, 1]).astype(np.float32)
  view, K = made().face.viewmat, jnp.asarray(motions.intrinsics(SIDE))
  scene, read = jax.tree.map(jnp.asarray, (scene, read))
  pictures = [
    splat.rasterize(one, splat.Camera(jnp.asarray(v), K, SIDE, SIDE)).image
    for one, v in ((scene, view), (read, view @ flip))
  ]
  np.testing.assert_allclose(*pictures, atol=2e-3)
  avatar3d_export.write_rig(tmp_path, plain(), player().posed_head, film())
  rig = np.load(tmp_path / "rig.npz", allow_pickle=False)
  told = json.loads((tmp_path / "rig.json").read_text())
  rest = splat_files.read(tmp_path / "head.ply").means[-told["moving"] :]
  np.testing.assert_allclose(5 * rig["template"] * [1, -1, -1], rest, atol=1e-5)
  with pytest.raises(UserError, match="degree 0 or 1"):
    avatar3d_export.distill(made(), networks().model, degree=2)


class _Page(html.parser.HTMLParser):
  """Collects the elements of a page and what its scripts hold."""

  VOID = ("meta", "input")

  def __init__(self) -> None:
    super().__init__()
    self.open: list[str] = []
    self.scripts: dict[str, str] = {}
    self.links: list[str] = []

  def handle_starttag(self, tag: str, attrs: list) -> None:
    named = dict(attrs)
    self.links += [named[k] for k in ("src", "href") if k in named]
    if tag not in self.VOID:
      self.open.append(tag)
    if tag == "script":
      self.scripts[named["id"]] = ""

  def handle_endtag(self, tag: str) -> None:
    assert self.open.pop() == tag

  def handle_data(self, data: str) -> None:
    if self.open and self.open[-1] == "script":
      self.scripts[list(self.scripts)[-1]] += data


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
  path = tmp_path_factory.mktemp("page") / "me.html"
  vertices = avatar3d_export.frame_vertices(player(), film())
  size = avatar3d_page.write(
    path, plain(), vertices, film(), title="</title><b>", said="a & b"
  )
  assert size == path.stat().st_size < avatar3d_page.MAX_BYTES
  return path


def test_page_is_whole_and_holds_the_head(page: pathlib.Path) -> None:
  text = page.read_text(encoding="utf-8")
  assert not re.search(
    "https?:|//[a-z]|@import|url\\(", text.split("</style>")[0]
  )
  assert "http:" not in text and "https:" not in text
  parsed = _Page()
  parsed.feed(text)
  assert parsed.open == [] and parsed.links == []
  assert "a &amp; b" in text and "</title><b>" not in text
  data = json.loads(parsed.scripts["head"])

  def array(name: str, kind: str, *shape: int) -> np.ndarray:
    raw = base64.b64decode(data[name], validate=True)
    return np.frombuffer(raw, kind).reshape(shape)

  n, v = data["count"], data["moving"]
  means = data["low"] + np.array(data["step"]) * array("means", "<u2", n, 3)
  frames, parts = data["frames"], len(data["units"])
  basis = array("basis", "<i2", parts, v, 3)
  blend = array("blend", "<f4", frames, parts) * data["units"]
  vertices = avatar3d_export.frame_vertices(player(), film())
  for k in range(frames):
    got = means[-v:] + np.tensordot(blend[k], basis, 1)
    # Half a step of the grid, and what the film leaves out.
    assert np.abs(got - vertices[k]).max() < max(data["step"]) + 2e-4
  scene = plain().gaussians
  assert np.abs(means[:-v] - scene.means[:-v]).max() <= max(data["step"])
  least, ratio = data["sizes"]
  scales = least * np.exp(ratio * array("scales", "u1", n, 3).astype(float))
  np.testing.assert_allclose(scales, scene.scales, rtol=1.01 * ratio)
  colors = array("colors", "u1", n, 4) / 255
  assert np.abs(colors[:, :3] - avatar3d_page.rgb(scene)).max() < 0.0021
  assert np.abs(colors[:, 3] - scene.opacities).max() < 0.0021


def test_pages_code_draws_what_the_rasterizer_draws(
  page: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  node = shutil.which("node")
  if node is None:
    pytest.skip("node is not installed; the page's code is not run")
  parsed = _Page()
  parsed.feed(page.read_text(encoding="utf-8"))
  size, frame = 24, 2
  script = tmp_path / "page.js"
  script.write_text(
    parsed.scripts["code"]
    + f"""
const scene = Head.unpack({parsed.scripts["head"]});
Head.pose(scene, {frame});
const view = Head.camera(scene, {frame}, 0, 0);
const side = Head.camera(scene, {frame}, 0.5, 0.25);
const order = Head.order(scene, view, new Uint32Array(scene.count));
console.log(JSON.stringify({{
  means: Array.from(scene.means), view: Array.from(view),
  side: Array.from(side), order: Array.from(order),
  picture: Array.from(Head.paint(scene, view, {size}, 1))}}));
"""
  )
  run = subprocess.run(
    [node, str(script)], capture_output=True, text=True, check=True, timeout=60
  )
  got = json.loads(run.stdout)
  vertices = avatar3d_export.frame_vertices(player(), film())[frame]
  scene = plain().at(vertices)
  means = np.array(got["means"]).reshape(-1, 3)
  assert np.abs(means - scene.means).max() < 4e-4
  view = np.array(got["view"]).reshape(3, 4)
  np.testing.assert_allclose(view, film().viewmats[frame][:3], atol=1e-5)
  # Going around keeps the middle where it is, and distances.
  middle, _ = avatar3d_chibi.extent(
    avatar3d_export.frame_vertices(player(), film()).mean(0)
  )
  side = np.array(got["side"]).reshape(3, 4)
  at = [m[:, :3] @ middle + m[:, 3] for m in (view, side)]
  np.testing.assert_allclose(*at, atol=1e-4)
  np.testing.assert_allclose(side[:, :3] @ side[:, :3].T, np.eye(3), atol=1e-5)
  assert sorted(got["order"]) == list(range(len(means)))
  depth = (means @ view[2, :3])[got["order"]]
  assert (np.diff(depth) <= np.ptp(depth) / 65000).all()
  scene, shown, K = jax.tree.map(
    jnp.asarray, (scene, film().viewmats[frame], motions.intrinsics(size))
  )
  camera = splat.Camera(shown, K, size, size)
  expected = np.asarray(splat.rasterize(scene, camera).image).clip(0, 1)
  picture = np.array(got["picture"]).reshape(size, size, 4)[..., :3] / 255
  # Bytes for colours and opacities, 8 bits for rotations.
  assert np.abs(picture - expected).mean() < 0.01


def test_large_pages_and_wrong_exports_are_refused(
  saved: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  monkeypatch.setattr(avatar3d_page, "MAX_BYTES", 1000)
  vertices = avatar3d_export.frame_vertices(player(), film())
  with pytest.raises(UserError, match="more than 1,000"):
    avatar3d_page.write(tmp_path / "a.html", plain(), vertices, film())
  assert not (tmp_path / "a.html").exists()
  words = said(call("avatar3d-export", saved, tmp_path / "me.obj"))
  assert "not a .ply, .spz or .html name" in words
  words = said(call("avatar3d-export", saved, tmp_path / "a.ply", "--frames"))
  assert "give a folder" in words
