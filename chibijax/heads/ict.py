"""ICT-FaceKit (MIT): 100 identities, expressions named as ARKit's.

Read from its published folder of OBJ files, or from one `.npz` of the same
arrays (`v0`, `id_delta`, `exp_delta`, `faces`, `face_material`, `materials`,
`exp_names`; centimetres) beside its `vertex_indices.json`.

The model has blendshapes only, so joints are ours: the eyes turn about the
middle of their balls; the jaw turns about the axis that explains "jawOpen" of
the chin best, and a vertex follows it by the share of its "jawOpen" that the
rotation explains; the neck bends below the skull. "jawOpen" remains a shape:
use it or the joint. R. Li et al., "Learning formation of physically-based face
attributes", CVPR 2020.
"""

import itertools
import json
import os
import pathlib
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from chibijax.core import pickle_files
from chibijax.errors import UserError
from chibijax.heads.model import PARENTS, HeadModel, joint_weights

# The middle between the ears, in the model's centimetres.
ORIGIN = np.array([0.0, 2.1, 3.0])
NEUTRAL, INDICES = "generic_neutral_mesh.obj", "vertex_indices.json"
_BALLS = ("M_ScleraLeft", "M_IrisLeft"), ("M_ScleraRight", "M_IrisRight")


class _Arrays(NamedTuple):
  """What both layouts hold; centimetres."""

  neutral: Float[np.ndarray, "V 3"]
  identities: Float[np.ndarray, "S V 3"]
  expressions: Float[np.ndarray, "E V 3"]
  names: tuple[str, ...]
  faces: Int[np.ndarray, "F 3"]
  materials: np.ndarray


def load_ict(path: str | os.PathLike[str]) -> HeadModel:
  """Reads ICT-FaceKit; metres, y up, z out of the face.

  Args:
    path: the folder of OBJ files (`FaceXModel`), or the `.npz`;
      `vertex_indices.json` lies in the folder or beside the archive.

  Returns:
    NumPy arrays.

  Raises:
    UserError: if a file is missing, damaged or not ICT-FaceKit's.
  """
  path = pathlib.Path(path)
  arrays = _folder(path) if path.is_dir() else _npz(path)
  home = path if path.is_dir() else path.parent
  corners = _landmark_vertices(home / INDICES, len(arrays.neutral))
  landmark_faces, weights = _on_faces(arrays.faces, corners)
  template = (arrays.neutral - ORIGIN) / 100
  expressions = arrays.expressions / 100
  turning, regressor = _joints(arrays, template, expressions, corners)
  ready = {
    "template": template,
    "shape_basis": np.moveaxis(arrays.identities, 0, -1) / 100,
    "expression_basis": np.moveaxis(expressions, 0, -1),
    "pose_basis": np.zeros((*template.shape, 0)),
    "combination_basis": np.zeros((*template.shape, 0)),
    "joint_regressor": regressor,
    "skinning": turning,
    "landmark_barycentric": weights,
  }
  return HeadModel(
    **{k: np.ascontiguousarray(v, np.float32) for k, v in ready.items()},
    faces=arrays.faces.astype(np.int32),
    landmark_faces=landmark_faces,
    parents=PARENTS,
    shape_names=tuple(
      f"identity{i:03d}" for i in range(len(arrays.identities))
    ),
    expression_names=arrays.names,
    name="ICT-FaceKit",
  )


def _npz(path: pathlib.Path) -> _Arrays:
  saved = pickle_files.read(path)
  wanted = ("v0", "id_delta", "exp_delta", "exp_names", "faces")
  wanted += ("face_material", "materials")
  missing = [k for k in wanted if not isinstance(saved, dict) or k not in saved]
  if missing:
    raise UserError(f"{path} is not ICT-FaceKit: it has no {missing[0]!r}.")
  count = len(saved["v0"])
  shapes = saved["id_delta"].shape[1:], saved["exp_delta"].shape[1:]
  faces = saved["faces"]
  if shapes != ((count, 3), (count, 3)) or faces.max() >= count:
    raise UserError(f"{path} is not ICT-FaceKit: its arrays do not fit.")
  names = np.array([str(n) for n in saved["materials"]])
  return _Arrays(
    saved["v0"].astype(np.float64),
    saved["id_delta"].astype(np.float32),
    saved["exp_delta"].astype(np.float32),
    tuple(str(n) for n in saved["exp_names"]),
    faces,
    names[saved["face_material"]],
  )


def _folder(path: pathlib.Path) -> _Arrays:
  """Reads the neutral mesh, the identities and all other shapes."""
  if not (path / NEUTRAL).is_file():
    raise UserError(f"{path} is not ICT-FaceKit's folder: no {NEUTRAL} in it.")
  neutral = _positions(path / NEUTRAL)
  faces, materials = _triangles(path / NEUTRAL, len(neutral))
  others = sorted(f for f in path.glob("*.obj") if f.name != NEUTRAL)
  kinds: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
  names = []
  for file in others:
    positions = _positions(file)
    if positions.shape != neutral.shape:
      raise UserError(
        f"{file} has {len(positions)} vertices, expected {len(neutral)}."
      )
    identity = file.stem.startswith("identity")
    kinds[not identity].append((positions - neutral).astype(np.float32))
    if not identity:
      names.append(file.stem)
  if not kinds[0] or "jawOpen" not in names:
    raise UserError(f"{path} must hold identity and expression OBJ files.")
  return _Arrays(
    neutral,
    np.stack(kinds[0]),
    np.stack(kinds[1]),
    tuple(names),
    faces,
    materials,
  )


def _positions(file: pathlib.Path) -> Float[np.ndarray, "V 3"]:
  """The vertices of an OBJ file."""
  try:
    lines = file.read_text(encoding="ascii", errors="strict").splitlines()
    rows = [line.split()[1:4] for line in lines if line.startswith("v ")]
    return np.array(rows, np.float64).reshape(-1, 3)
  except (OSError, ValueError) as e:
    raise UserError(f"{file} is not an OBJ file that can be read.") from e


def _triangles(
  file: pathlib.Path, count: int
) -> tuple[Int[np.ndarray, "F 3"], np.ndarray]:
  """The polygons of an OBJ file as fans, and the material of each."""
  triangles, materials, material = [], [], ""
  try:
    for line in file.read_text(encoding="ascii").splitlines():
      if line.startswith("usemtl "):
        material = line.split()[1]
      elif line.startswith("f "):
        ring = [int(word.split("/")[0]) - 1 for word in line.split()[1:]]
        fan = [[ring[0], b, c] for b, c in itertools.pairwise(ring[1:])]
        triangles += fan
        materials += [material] * len(fan)
    result = np.array(triangles, np.int64).reshape(-1, 3)
  except (OSError, ValueError, IndexError) as e:
    raise UserError(f"{file} is not an OBJ file that can be read.") from e
  if result.size == 0 or not 0 <= result.min() <= result.max() < count:
    raise UserError(f"{file} has no faces, or faces beyond its vertices.")
  return result, np.array(materials)


def _landmark_vertices(file: pathlib.Path, count: int) -> np.ndarray:
  try:
    saved = json.loads(file.read_text(encoding="utf-8"))
    found = np.array(saved["idx_to_landmark_verts"], np.int64)
  except (OSError, ValueError, KeyError, TypeError) as e:
    raise UserError(
      f"{file} must be ICT-FaceKit's list of landmark vertices ({e})."
    ) from e
  if found.shape != (68,) or not 0 <= found.min() <= found.max() < count:
    raise UserError(f"{file} must name 68 of the {count} vertices.")
  return found


def _on_faces(
  faces: Int[np.ndarray, "F 3"], vertices: Int[np.ndarray, "68"]
) -> tuple[np.ndarray, np.ndarray]:
  """For each vertex a face that has it, and its barycentric weights."""
  order = np.argsort(faces.ravel(), kind="stable")
  first = np.searchsorted(faces.ravel()[order], vertices)
  place = order[np.minimum(first, len(order) - 1)]
  if (faces.ravel()[place] != vertices).any():
    raise UserError("A landmark of ICT-FaceKit lies on no face.")
  return (place // 3).astype(np.int32), np.eye(3)[place % 3]


def _joints(
  arrays: _Arrays,
  template: Float[np.ndarray, "V 3"],
  expressions: Float[np.ndarray, "E V 3"],
  landmarks: Int[np.ndarray, "68"],
) -> tuple[np.ndarray, np.ndarray]:
  """Skinning weights [V, 5] and the joints' regressor [5, V]."""
  count = len(template)
  y = template[:, 1]
  weights, regressor = np.zeros((count, 5)), np.zeros((5, count))
  opened = expressions[arrays.names.index("jawOpen")].astype(np.float64)
  hard = np.zeros(count, bool)
  hard[arrays.faces[arrays.materials == "M_Teeth"]] = True
  jaw, follows = _jaw(template, opened, hard)
  chin = y[landmarks[8]]
  # The neck bends over the 8 cm below the chin.
  bend = np.clip((y - chin + 0.085) / 0.08, 0, 1)
  weights[:, 0] = 1 - bend
  weights[:, 1] = bend * (1 - follows)
  weights[:, 2] = bend * follows
  ears = template[landmarks[[1, 15]]]
  near = np.linalg.norm(template[:, None] - ears, axis=-1).min(1) < 0.015
  goals = [
    (y < y.min() + 0.02, [0, y.min() + 0.01, -0.04]),
    (np.abs(y - chin + 0.03) < 0.02, [0, chin - 0.02, -0.035]),
    (near, jaw),
  ]
  for k, names in enumerate(_BALLS):
    ball = np.zeros(count, bool)
    ball[arrays.faces[np.isin(arrays.materials, names)]] = True
    if not ball.any():
      raise UserError(f"ICT-FaceKit has no faces of the material {names[0]}.")
    # Closed spheres: the middle of their extent is their centre.
    balls = template[ball]
    goals.append((ball, (balls.max(0) + balls.min(0)) / 2))
    weights[ball] = np.eye(5)[3 + k]
  for row, (chosen, goal) in zip(regressor, goals, strict=True):
    row[chosen] = joint_weights(template[chosen], np.asarray(goal))
  return weights, regressor


def _jaw(
  template: Float[np.ndarray, "V 3"],
  opened: Float[np.ndarray, "V 3"],
  teeth: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
  """The jaw's joint, and how far each vertex follows it, in [0, 1].

  The lower teeth are rigid: the rotation in the plane of y and z that fits
  their "jawOpen" best has a fixed point, the joint.
  """
  far = np.linalg.norm(opened, axis=1) * teeth
  if not far.any():
    raise UserError("ICT-FaceKit's jawOpen must move faces of M_Teeth.")
  rigid = far > 0.4 * far.max()
  before = template[rigid][:, 1:]
  after = before + opened[rigid][:, 1:]
  middle = before.mean(0), after.mean(0)
  a, b = before - middle[0], after - middle[1]
  angle = np.arctan2(
    (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum(), (a * b).sum()
  )
  cosine, sine = np.cos(angle), np.sin(angle)
  turn = np.array([[cosine, -sine], [sine, cosine]])
  fixed = np.linalg.solve(np.eye(2) - turn, middle[1] - turn @ middle[0])
  joint = np.array([0, *fixed])
  full = (template - joint)[:, 1:] @ (turn - np.eye(2)).T
  share = (opened[:, 1:] * full).sum(1) / np.maximum((full**2).sum(1), 1e-12)
  return joint, np.clip(share, 0, 1)
