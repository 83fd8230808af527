"""Gaussian heads that move: drivers, films, the chibi axis."""

import dataclasses
import pathlib

import jax
import numpy as np
import pytest
from PIL import Image

from chibijax.apps import (
  avatar3d_build,
  avatar3d_chibi,
  avatar3d_motions,
)
from chibijax.errors import UserError
from chibijax.heads import motion as motions
from chibijax.heads.procedural import procedural_head
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


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
  return written(tmp_path_factory.mktemp("avatar"))


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
