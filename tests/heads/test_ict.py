"""ICT-FaceKit: the shared archive, and its folder layout in miniature."""

import json
import pathlib

import numpy as np
import pytest

from chibijax.errors import UserError
from chibijax.heads import ict, model


@pytest.fixture(scope="module")
def archive(shared_data: pathlib.Path) -> pathlib.Path:
  path = shared_data / "heads" / "ict_facekit_f16.npz"
  if not path.is_file():
    pytest.skip(f"no {path}")
  return path


def _rest() -> np.ndarray:
  return np.zeros(6, np.float32)


def test_shapes_are_direct_sums(archive: pathlib.Path) -> None:
  loaded = ict.load_ict(archive)
  saved = np.load(archive)
  names = saved["exp_names"].tolist()
  shape, expression = loaded.coefficients(
    identity004=1.3, identity099=-0.8, mouthSmile_L=0.7, eyeBlink_R=1.0
  )
  got = model.vertices(loaded, shape, expression, _rest(), _rest(), xp=np)
  wanted = saved["v0"].astype(np.float64)
  for delta, weight in (
    (saved["id_delta"][4], 1.3),
    (saved["id_delta"][99], -0.8),
    (saved["exp_delta"][names.index("mouthSmile_L")], 0.7),
    (saved["exp_delta"][names.index("eyeBlink_R")], 1.0),
  ):
    wanted = wanted + weight * delta.astype(np.float64)
  # A micrometre: float32 of tenths of metres.
  np.testing.assert_allclose(got, (wanted - ict.ORIGIN) / 100, atol=1e-6)
  marks = model.landmarks(loaded, got)
  vertices = json.loads((archive.parent / ict.INDICES).read_text())
  np.testing.assert_array_equal(marks, got[vertices["idx_to_landmark_verts"]])
  # Order: the subject's right first, as x is to the left; the chin below.
  assert marks[0, 0] < -0.05 < 0.05 < marks[16, 0]
  assert marks[8, 1] == marks[:, 1].min()
  joints = loaded.joint_regressor @ loaded.template
  np.testing.assert_allclose(joints[3] * [-1, 1, 1], joints[4], atol=1e-4)
  _check_jaw(loaded)


def _check_jaw(loaded: model.HeadModel) -> None:
  """The jaw's joint opens the mouth as the shape "jawOpen" does."""
  shape, none = loaded.coefficients()
  _, opened = loaded.coefficients(jawOpen=1.0)
  closed = model.vertices(loaded, shape, none, _rest(), _rest(), xp=np)
  by_shape = model.vertices(loaded, shape, opened, _rest(), _rest(), xp=np)
  errors = []
  for angle in (0.2, 0.3, 0.4, 0.5):
    pose = np.array([0, 0, 0, angle, 0, 0], np.float32)
    by_joint = model.vertices(loaded, shape, none, pose, _rest(), xp=np)
    errors.append(np.sqrt(((by_joint - by_shape) ** 2).sum(1).mean()))
  moved = np.sqrt(((by_shape - closed) ** 2).sum(1).mean())
  assert min(errors) < 0.25 * moved


def _cube(offset: np.ndarray) -> str:
  lines = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in offset]
  for k, material in enumerate(
    ["M_Face", "M_Teeth", "M_ScleraLeft", "M_ScleraRight"]
  ):
    first = 8 * k + 1
    lines.append(f"usemtl {material}")
    quads = ([0, 1, 3, 2], [4, 6, 7, 5], [0, 2, 6, 4], [1, 5, 7, 3])
    for quad in quads:
      lines.append("f " + " ".join(f"{first + i}/1/1" for i in quad))
  return "\n".join(lines)


def _boxes() -> np.ndarray:
  """A face from neck to brow, teeth, and two eyes; centimetres."""
  unit = np.array(list(np.ndindex(2, 2, 2))) - 0.5
  places = [(0, -2, 3), (0, -3, 8), (3, 3.6, 8.4), (-3, 3.6, 8.4)]
  sizes = [(14, 28, 16), (5, 2, 4), (3, 3, 3), (3, 3, 3)]
  return np.concatenate(
    [unit * s + p for s, p in zip(sizes, places, strict=True)]
  )


def _folder(path: pathlib.Path) -> pathlib.Path:
  base = _boxes()
  teeth = np.zeros_like(base)
  # The teeth turn by 0.3 radians about an axis through (0, -1, 2).
  cosine, sine = np.cos(0.3), np.sin(0.3)
  turn = np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]])
  at = base[8:16] - [0, -1, 2]
  teeth[8:16] = at @ turn.T - at
  files = {
    ict.NEUTRAL: base,
    "identity000.obj": base * 1.1,
    "identity001.obj": base + 1,
    "jawOpen.obj": base + teeth,
    "browDown_L.obj": base - 0.5,
  }
  for name, positions in files.items():
    (path / name).write_text(_cube(positions))
  # The chin and the ears decide where the joints are.
  corners = [0] * 68
  corners[1], corners[15] = 2, 6
  indices = {"idx_to_landmark_verts": corners}
  (path / ict.INDICES).write_text(json.dumps(indices))
  return path


def test_the_published_folder(
  tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  # Boxes have no vertices near the joints of the jaw and the neck.
  monkeypatch.setattr(
    ict, "joint_weights", lambda p, goal: np.full(len(p), 1 / max(len(p), 1))
  )
  loaded = ict.load_ict(_folder(tmp_path))
  assert loaded.shape_names == ("identity000", "identity001")
  assert loaded.expression_names == ("browDown_L", "jawOpen")
  assert loaded.faces.shape == (4 * 4 * 2, 3)
  base = _boxes()
  np.testing.assert_allclose(
    loaded.template, (base - ict.ORIGIN) / 100, atol=1e-6
  )
  np.testing.assert_allclose(loaded.shape_basis[..., 0], base / 1000, atol=2e-6)
  np.testing.assert_allclose(loaded.skinning.sum(1), 1, atol=1e-6)
  np.testing.assert_allclose(loaded.skinning[8:16, 2], 1, atol=1e-3)
  assert (loaded.skinning[16:24, 3] == 1).all()


def test_wrong_files(tmp_path: pathlib.Path) -> None:
  with pytest.raises(UserError, match=r"no generic_neutral_mesh.obj"):
    ict.load_ict(tmp_path)
  _folder(tmp_path)
  (tmp_path / "smile.obj").write_text("v 0 0 0\n")
  with pytest.raises(UserError, match="has 1 vertices, expected 32"):
    ict.load_ict(tmp_path)
  (tmp_path / "smile.obj").write_text("v 0 zero 0\n")
  with pytest.raises(UserError, match=r"smile.obj is not an OBJ file"):
    ict.load_ict(tmp_path)
  np.savez(tmp_path / "a.npz", v0=np.zeros((3, 3)))
  with pytest.raises(UserError, match="no 'id_delta'"):
    ict.load_ict(tmp_path / "a.npz")
  (tmp_path / "smile.obj").unlink()
  (tmp_path / ict.INDICES).write_text("{}")
  with pytest.raises(UserError, match="list of landmark vertices"):
    ict.load_ict(tmp_path)
