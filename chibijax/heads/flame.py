"""FLAME (2020, 2023, 2023 Open) from the files its authors publish.

The pickles and archives are read by `core.pickle_files`: nothing in them runs,
and neither chumpy nor the authors' code is needed. Landmarks come from
`landmark_embedding.npy`, as it lies beside the model in DECA's and GAGAvatar's
assets. T. Li et al., "Learning a model of facial shape and expression from 4D
scans", SIGGRAPH Asia 2017. The files' own licences are the user's to mind.
"""

import os
import pathlib
from typing import Any

import numpy as np

from chibijax.core import pickle_files
from chibijax.errors import UserError
from chibijax.heads.model import JOINTS, PARENTS, HeadModel

EMBEDDING = "landmark_embedding.npy"
# The first columns of `shapedirs` are identities, the others expressions.
SHAPES, EXPRESSIONS = 300, 100


def load_flame(
  path: str | os.PathLike[str],
  *,
  embedding: str | os.PathLike[str] | None = None,
) -> HeadModel:
  """Reads a FLAME model: metres, 300 shapes, 100 expressions, 5 joints.

  Args:
    path: `generic_model.pkl`, `flame2023.pkl`, an `.npz` of the same arrays, or
      the folder of one such file.
    embedding: the landmarks' file; None: `landmark_embedding.npy` beside it.

  Returns:
    NumPy arrays.

  Raises:
    UserError: if a file is missing, damaged, malicious or not FLAME's.
  """
  file = _model_file(pathlib.Path(path))
  saved = pickle_files.read(file)
  if not isinstance(saved, dict):
    raise UserError(f"{file} is not a FLAME model: it holds no named arrays.")
  template = _array(file, saved, "v_template", (None, 3))
  count = len(template)
  bases = _array(file, saved, "shapedirs", (count, 3, SHAPES + EXPRESSIONS))
  joints = len(JOINTS)
  correctives = _array(file, saved, "posedirs", (count, 3, 9 * (joints - 1)))
  faces = _array(file, saved, "f", (None, 3)).astype(np.int64)
  if faces.size == 0 or not 0 <= faces.min() <= faces.max() < count:
    raise UserError(f"{file} has faces beyond its {count} vertices.")
  _check_tree(file, _array(file, saved, "kintree_table", (2, joints)))
  beside = file.parent / EMBEDDING
  found = pathlib.Path(beside if embedding is None else embedding)
  landmark_faces, weights = _landmarks(found, len(faces))
  arrays = {
    "template": template,
    "shape_basis": bases[..., :SHAPES],
    "expression_basis": bases[..., SHAPES:],
    "pose_basis": correctives,
    "combination_basis": np.zeros((count, 3, 0)),
    "joint_regressor": _array(file, saved, "J_regressor", (joints, count)),
    "skinning": _array(file, saved, "weights", (count, joints)),
    "landmark_barycentric": weights,
  }
  return HeadModel(
    **{k: np.ascontiguousarray(v, np.float32) for k, v in arrays.items()},
    faces=faces.astype(np.int32),
    landmark_faces=landmark_faces,
    parents=PARENTS,
    shape_names=tuple(f"shape{i:03d}" for i in range(SHAPES)),
    expression_names=tuple(f"expression{i:03d}" for i in range(EXPRESSIONS)),
    name="FLAME",
  )


def _model_file(path: pathlib.Path) -> pathlib.Path:
  if not path.is_dir():
    return path
  files = sorted(
    f for f in path.iterdir() if f.suffix in (".pkl", ".npz") and f.is_file()
  )
  if len(files) != 1:
    names = ", ".join(f.name for f in files) or "none"
    raise UserError(f"{path} must hold one .pkl or .npz file; found: {names}.")
  return files[0]


def _array(
  file: pathlib.Path,
  saved: dict[Any, Any],
  name: str,
  shape: tuple[int | None, ...],
) -> np.ndarray:
  """A named array, after checking its shape (None: any length)."""
  value = saved.get(name)
  if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu":
    raise UserError(f"{file} is not a FLAME model: it has no array {name!r}.")
  fits = len(value.shape) == len(shape) and all(
    want in (None, got) for want, got in zip(shape, value.shape, strict=True)
  )
  if not fits:
    wanted = tuple("any" if n is None else n for n in shape)
    raise UserError(
      f"{file} is not a FLAME model: {name} has shape {value.shape}, "
      f"expected {wanted}."
    )
  if not np.isfinite(value).all():
    raise UserError(f"{file} holds numbers in {name} that are not finite.")
  return value


def _check_tree(file: pathlib.Path, table: np.ndarray) -> None:
  # The root's parent is -1, stored as an unsigned number.
  if tuple(table[0, 1:].astype(np.int64)) != PARENTS[1:]:
    raise UserError(
      f"{file} has joints hanging on {table[0, 1:].tolist()}, expected "
      f"{list(PARENTS[1:])}."
    )


def _landmarks(file: pathlib.Path, faces: int) -> tuple[np.ndarray, np.ndarray]:
  """The 68 points of an embedding file; their faces are checked."""
  if not file.is_file():
    raise UserError(
      f"{file} is missing: FLAME's 68 landmarks are in {EMBEDDING}, which goes "
      "beside the model."
    )
  saved = pickle_files.read(file)
  if not isinstance(saved, dict):
    raise UserError(f"{file} holds no named arrays.")
  indices = np.asarray(saved.get("full_lmk_faces_idx", ()))
  weights = np.asarray(saved.get("full_lmk_bary_coords", ()))
  if (indices.size, weights.size) != (68, 204):
    raise UserError(
      f"{file} must hold full_lmk_faces_idx [68] and full_lmk_bary_coords "
      f"[68, 3], got shapes {indices.shape} and {weights.shape}."
    )
  indices = indices.reshape(68).astype(np.int32)
  if not 0 <= indices.min() <= indices.max() < faces:
    raise UserError(f"{file} names faces beyond the model's {faces}.")
  return indices, weights.reshape(68, 3)
