"""FLAME's published layout, with tiny made-up models in it."""

import pathlib
import pickle
import sys
import types
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from chibijax.errors import UserError
from chibijax.heads import flame, model

V, F = 14, 11


def _saved(seed: int = 0) -> dict[str, Any]:
  rng = np.random.default_rng(seed)
  weights = rng.random((V, 5))
  regressor = sparse.csc_matrix(rng.random((5, V)) * (rng.random((5, V)) < 0.5))
  tree = np.array([[-1, 0, 1, 1, 1], range(5)]).astype(np.uint32)
  return {
    "v_template": rng.normal(size=(V, 3)),
    "shapedirs": rng.normal(size=(V, 3, 400)) / 100,
    "posedirs": rng.normal(size=(V, 3, 36)) / 100,
    "f": rng.integers(0, V, (F, 3)).astype(np.uint32),
    "J_regressor": regressor,
    "weights": weights / weights.sum(1, keepdims=True),
    "kintree_table": tree,
    "bs_style": "lbs",
    "bs_type": "lrotmin",
  }


def _embedding(folder: pathlib.Path, faces: int = F) -> None:
  rng = np.random.default_rng(7)
  weights = rng.random((1, 68, 3))
  saved = {
    "full_lmk_faces_idx": rng.integers(0, faces, (1, 68)),
    "full_lmk_bary_coords": weights / weights.sum(-1, keepdims=True),
    "static_lmk_faces_idx": np.arange(51),
  }
  np.save(folder / flame.EMBEDDING, saved, allow_pickle=True)


def _chumpy(monkeypatch: pytest.MonkeyPatch) -> type:
  """A class that pickles as chumpy's, by a made module of its name."""
  parent, module = types.ModuleType("chumpy"), types.ModuleType("chumpy.ch")
  kind = type("Ch", (), {"__module__": "chumpy.ch"})
  module.Ch = kind
  monkeypatch.setitem(sys.modules, "chumpy", parent)
  monkeypatch.setitem(sys.modules, "chumpy.ch", module)
  return kind


def _check(loaded: model.HeadModel, saved: dict[str, Any]) -> None:
  np.testing.assert_allclose(loaded.template, saved["v_template"], rtol=1e-6)
  both = np.concatenate([loaded.shape_basis, loaded.expression_basis], -1)
  np.testing.assert_allclose(both, saved["shapedirs"], rtol=1e-6)
  np.testing.assert_allclose(loaded.pose_basis, saved["posedirs"], rtol=1e-6)
  dense = saved["J_regressor"].toarray()
  np.testing.assert_allclose(loaded.joint_regressor, dense, rtol=1e-6)
  np.testing.assert_array_equal(loaded.faces, saved["f"])
  assert loaded.faces.dtype == np.int32
  assert loaded.parents == (-1, 0, 1, 1, 1)
  assert len(loaded.shape_names) == 300 and len(loaded.expression_names) == 100


def test_the_older_pickle_with_chumpy(
  tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  saved = _saved()
  kind = _chumpy(monkeypatch)
  wrapped = dict(saved)
  for name in ("v_template", "shapedirs", "posedirs", "weights"):
    wrapped[name] = kind()
    wrapped[name].__dict__.update(x=saved[name], _dirty_vars=[], name=None)
  (tmp_path / "generic_model.pkl").write_bytes(pickle.dumps(wrapped, 2))
  monkeypatch.undo()
  assert "chumpy" not in sys.modules
  _embedding(tmp_path)
  loaded = flame.load_flame(tmp_path / "generic_model.pkl")
  _check(loaded, saved)
  shape, expression = loaded.coefficients(shape003=1.5, expression099=-2.0)
  rest = np.zeros(6, np.float32)
  got = model.vertices(loaded, shape, expression, rest, rest, xp=np)
  dirs = saved["shapedirs"]
  wanted = saved["v_template"] + 1.5 * dirs[..., 3] - 2 * dirs[..., 399]
  np.testing.assert_allclose(got, wanted, atol=1e-5)
  assert model.landmarks(loaded, got).shape == (68, 3)


def test_the_newer_pickle_and_npz_and_folder(tmp_path: pathlib.Path) -> None:
  saved = _saved(1)
  (tmp_path / "flame2023.pkl").write_bytes(pickle.dumps(saved, 4))
  _embedding(tmp_path)
  _check(flame.load_flame(tmp_path), saved)
  other = tmp_path / "open"
  other.mkdir()
  arrays = saved | {"J_regressor": saved["J_regressor"].toarray()}
  np.savez(other / "flame2023_Open.npz", **arrays)
  embedding = tmp_path / flame.EMBEDDING
  file = other / "flame2023_Open.npz"
  _check(flame.load_flame(file, embedding=embedding), saved)


class _Evil:
  """Makes a folder when an ordinary unpickler reads it."""

  def __init__(self, path: pathlib.Path) -> None:
    self.path = path

  def __reduce__(self) -> tuple:
    return pathlib.Path.mkdir, (self.path,)


def test_a_malicious_pickle_is_refused(tmp_path: pathlib.Path) -> None:
  saved = _saved() | {"extra": _Evil(tmp_path / "made")}
  (tmp_path / "generic_model.pkl").write_bytes(pickle.dumps(saved, 2))
  _embedding(tmp_path)
  with pytest.raises(UserError, match="it asks for") as caught:
    flame.load_flame(tmp_path / "generic_model.pkl")
  assert "\n" not in str(caught.value)
  assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
  ("change", "sentence"),
  [
    ({"v_template": None}, "no array 'v_template'"),
    ({"shapedirs": np.zeros((V, 3, 10))}, r"shape \(14, 3, 10\), expected"),
    ({"weights": np.full((V, 5), np.nan)}, "not finite"),
    ({"f": np.full((F, 3), V)}, "faces beyond its 14 vertices"),
    (
      {"kintree_table": np.array([[-1, 0, 1, 2, 3], range(5)])},
      r"hanging on \[0, 1, 2, 3\]",
    ),
  ],
)
def test_wrong_models(
  tmp_path: pathlib.Path, change: dict[str, Any], sentence: str
) -> None:
  path = tmp_path / "model.pkl"
  path.write_bytes(pickle.dumps(_saved() | change, 2))
  _embedding(tmp_path)
  with pytest.raises(UserError, match=sentence):
    flame.load_flame(path)


def test_wrong_files(tmp_path: pathlib.Path) -> None:
  path = tmp_path / "model.pkl"
  whole = pickle.dumps(_saved(), 2)
  path.write_bytes(whole[: len(whole) // 2])
  with pytest.raises(UserError, match="not a file of plain arrays"):
    flame.load_flame(path)
  path.write_bytes(pickle.dumps([1, 2]))
  with pytest.raises(UserError, match="holds no named arrays"):
    flame.load_flame(path)
  path.write_bytes(whole)
  with pytest.raises(UserError, match=r"landmark_embedding.npy, which goes"):
    flame.load_flame(path)
  _embedding(tmp_path, faces=500)
  with pytest.raises(UserError, match="beyond the model's 11"):
    flame.load_flame(path)
  np.save(tmp_path / flame.EMBEDDING, {"a": 1}, allow_pickle=True)
  with pytest.raises(UserError, match="must hold full_lmk_faces_idx"):
    flame.load_flame(path)
  (tmp_path / "second.npz").write_bytes(b"")
  with pytest.raises(UserError, match=r"found: model.pkl, second.npz"):
    flame.load_flame(tmp_path)
