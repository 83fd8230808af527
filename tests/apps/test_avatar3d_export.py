"""Gaussian heads for viewers: distilled colours, rigs, pages."""

import base64
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

from chibijax.apps import (
  avatar3d_chibi,
  avatar3d_export,
  avatar3d_page,
  splat_files,
)
from chibijax.errors import UserError
from chibijax.heads import motion as motions
from chibijax.heads.procedural import procedural_head
from chibijax.ops import splat
from tests.apps.avatar3d_cases import (
  SIDE,
  call,
  film,
  made,
  networks,
  player,
  said,
  written,
)


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
  # None is smaller than what the rasterizer widens them by.
  view = made().face.viewmat
  middle, _ = avatar3d_chibi.extent(scene.means[-moving:])
  pixel = (view[2, :3] @ middle + view[2, 3]) / (motions.FOCAL * SIDE / 2)
  assert scene.scales.min() > 0.53 * pixel
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
    path, plain(), vertices, film(), title="</title>@SAID@<b>", said="a & b"
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
  assert text.count("a &amp; b") == 1 and "@SAID@&lt;b&gt;" in text
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


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
  return written(tmp_path_factory.mktemp("avatar"))


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
