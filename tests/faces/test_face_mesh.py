"""Face Mesh against its own canonical face, the astronaut and the artist."""

import itertools
import json
import pathlib
import sys

import numpy as np
import pytest

from chibijax.artist import Attributes, draw_portrait
from chibijax.errors import UserError
from chibijax.faces import align, face_mesh


@pytest.fixture(scope="module")
def mesh(shared_data: pathlib.Path) -> face_mesh.FaceMesh:
  pytest.importorskip("ai_edge_litert", reason="needs ai-edge-litert")
  return face_mesh.load(
    shared_data / "weights" / "face_mesh" / "face_mesh.tflite"
  )


@pytest.fixture(scope="module")
def canonical(shared_data: pathlib.Path) -> np.ndarray:
  """MediaPipe's canonical face, x right and y up, without the irises."""
  text = (shared_data / "heads" / "canonical_face_model.obj").read_text()
  rows = [r.split()[1:] for r in text.splitlines() if r.startswith("v ")]
  points = np.array(rows, float)
  assert points.shape == (468, 3)
  return np.concatenate([points, np.zeros((10, 3))])


def test_map_is_a_face_on_the_canonical_model(canonical: np.ndarray) -> None:
  assert len(set(face_mesh.FIRST.tolist())) == 68
  points = face_mesh.to_68(canonical)[:, :2] * [1, -1]
  # Mirrored, the points are the same in another order.
  np.testing.assert_allclose(
    points[face_mesh.MIRROR], points * [-1, 1], atol=1e-4
  )
  # The jaw goes down to the chin in steps of about the same length.
  jaw = points[:9]
  assert (np.diff(jaw[:, 1]) > 0).all() and (np.diff(jaw[:, 0]) > 0).all()
  steps = np.linalg.norm(np.diff(jaw, axis=0), axis=1)
  assert steps.max() < 1.1 * steps.min()
  # Brows over eyes over nostrils over lips over the chin.
  rows = [points[p, 1] for p in ((17, 26), (36, 45), (31, 35), (48, 54), (8,))]
  assert all(np.max(a) < np.min(b) for a, b in itertools.pairwise(rows))


def test_map_agrees_with_another_head(
  canonical: np.ndarray, shared_data: pathlib.Path
) -> None:
  """ICT-FaceKit's own 68 vertices lie where the mapped ones do."""
  folder = shared_data / "heads"
  indices = json.loads((folder / "vertex_indices.json").read_text())
  with np.load(folder / "ict_facekit_f16.npz") as file:
    head = file["v0"][indices["idx_to_landmark_verts"]].astype(float)
  ours = face_mesh.to_68(canonical)[:, :2]
  theirs = head[:, :2]
  theirs = align.move(align.umeyama(theirs[17:], ours[17:]), theirs)
  eyes = np.linalg.norm(ours[36] - ours[45])
  error = np.linalg.norm(ours - theirs, axis=1) / eyes
  # Two mean heads of different people; a wrong index is off by 0.2 and more.
  assert error[17:].max() < 0.14 and error[17:].mean() < 0.06
  assert error[:17].max() < 0.2 and error[:17].mean() < 0.12


def test_points_of_the_astronaut(
  mesh: face_mesh.FaceMesh, astronaut: np.ndarray
) -> None:
  # Read off the picture by eye, to about 3 pixels.
  five = np.array(
    [[204, 100], [247, 103], [227, 128], [205, 141], [244, 142.0]]
  )
  seen = mesh.find(astronaut, five)
  assert seen.score > 0.9
  points = face_mesh.to_68(seen.points)[:, :2]
  np.testing.assert_allclose(align.five_points(points), five, atol=5)
  # The middles of the irises lie in the eyes.
  irises = seen.points[[468, 473], :2]
  np.testing.assert_allclose(irises, five[:2], atol=4)
  # The aligned picture gives the same points, whatever its size.
  for size in (mesh.size, 200):
    aligned, transform = align.align(astronaut, five, size, mesh.margin)
    found = align.move(align.invert(transform), mesh(aligned))
    np.testing.assert_allclose(found, points, atol=1.5)
  # A third look moves them by less than 1 % of the eyes' distance.
  again = face_mesh.to_68(
    mesh.follow(astronaut, mesh.region(seen.points)).points
  )
  moved = np.linalg.norm(again[:, :2] - points, axis=1).mean()
  assert moved < 0.01 * np.linalg.norm(points[36] - points[45])


def test_points_of_the_artists_portrait(mesh: face_mesh.FaceMesh) -> None:
  drawing = draw_portrait(Attributes(), 512, seed=3)
  true = drawing.landmarks
  found = face_mesh.to_68(
    mesh.find(drawing.rgb(), align.five_points(true)).points
  )
  error = np.linalg.norm(found[:, :2] - true, axis=1)
  eyes = np.linalg.norm(true[36] - true[45])
  # Drawn faces differ from real ones; their jaws are annotated differently.
  assert error.mean() < 0.1 * eyes


def test_turned_faces_are_followed(
  mesh: face_mesh.FaceMesh, astronaut: np.ndarray
) -> None:
  five = np.array(
    [[204, 100], [247, 103], [227, 128], [205, 141], [244, 142.0]]
  )
  upright = mesh.find(astronaut, five).points[:, :2]
  turned = np.ascontiguousarray(np.rot90(astronaut))

  def turn(points: np.ndarray) -> np.ndarray:
    return np.stack([points[:, 1], 512 - points[:, 0]], 1)

  found = mesh.find(turned, turn(five)).points[:, :2]
  np.testing.assert_allclose(found, turn(upright), atol=2)


def test_pictures_without_a_face_score_low(mesh: face_mesh.FaceMesh) -> None:
  noise = np.random.default_rng(0).integers(0, 256, (99, 99, 3), np.uint8)
  for picture in (noise, np.full_like(noise, 128)):
    seen = mesh.read(picture)
    assert seen.score < 0.1 and np.isfinite(seen.points).all()


def test_what_is_missing_is_said(
  tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  monkeypatch.delenv(face_mesh.VARIABLE, raising=False)
  with pytest.raises(UserError, match=face_mesh.VARIABLE):
    face_mesh.load()
  with pytest.raises(UserError, match=r"none\.tflite is missing"):
    face_mesh.load(tmp_path / "none.tflite")
  file = tmp_path / "other.tflite"
  file.write_bytes(b"not a network")
  monkeypatch.setenv(face_mesh.VARIABLE, str(file))
  monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
  with pytest.raises(UserError, match=r"pip install 'chibijax\[mesh\]'"):
    face_mesh.load()


def test_other_files_are_refused(tmp_path: pathlib.Path) -> None:
  pytest.importorskip("ai_edge_litert", reason="needs ai-edge-litert")
  file = tmp_path / "other.tflite"
  file.write_bytes(b"not a network")
  with pytest.raises(UserError, match="cannot be read as a tflite file"):
    face_mesh.load(file)
