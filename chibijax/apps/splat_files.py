"""Files of Gaussian splats: `.ply` as 3DGS writes it, and compressed `.spz`.

A `.ply` holds float32 x y z nx ny nz f_dc_0..2 f_rest_0.. opacity scale_0..2
rot_0..3 for each Gaussian: colours as spherical harmonics (f_rest channel by
channel), opacity as a logit, scales as logarithms, rotation wxyz. Nothing says
so in the file, but viewers take its axes as x right, y down, z forward.

A `.spz` is about ten times smaller. Its axes are x right, y up, z backward, and
are converted here; see `apps.spz` for the file itself.

Every number of a file is checked: what `read` returns is finite.
"""

import io
import math
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from chibijax.apps import pictures, spz
from chibijax.errors import UserError
from chibijax.ops import sh as harmonics
from chibijax.ops.splat import Gaussians

SUFFIXES = (".ply", ".spz")
MAX_GAUSSIANS = 20_000_000
_MAX_HEADER = 1 << 16
# The constant harmonic of degree 0.
_C0 = 0.5 / math.sqrt(math.pi)
_NEEDED = (
  *("x", "y", "z", "f_dc_0", "f_dc_1", "f_dc_2", "opacity"),
  *("scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"),
)
_TYPES = {
  **{"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2"},
  **{"int": "i4", "uint": "u4", "float": "f4", "double": "f8"},
  **{"int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2"},
  **{"int32": "i4", "uint32": "u4", "float32": "f4", "float64": "f8"},
}


def read(path: str | os.PathLike[str]) -> Gaussians:
  """Reads a file of splats.

  Args:
    path: a `.ply` or `.spz`.

  Returns:
    N Gaussians with `sh`, degree 0 to 4, axes x right, y down, z forward;
    NumPy arrays, so that no device memory is taken before it is needed.

  Raises:
    UserError: if it is not such a file, is cut short, lacks an attribute,
      holds numbers that are not finite, or more Gaussians than
      `MAX_GAUSSIANS`.
  """
  path = pathlib.Path(path)
  suffix = check_name(path)
  try:
    if suffix == ".ply":
      with path.open("rb") as file:
        return _read_ply(file, path.stat().st_size, str(path))
    data = path.read_bytes()
  except OSError as error:
    raise UserError(
      f"{path} cannot be read ({error.strerror or error})."
    ) from error
  return _read_spz(data, str(path))


def write(path: str | os.PathLike[str], gaussians: Gaussians) -> None:
  """Writes a file of splats, a whole one or none.

  Args:
    path: a `.ply` or `.spz`; the folders above it are made.
    gaussians: one scene (no batch axes) with `sh` of three channels, or with
      three `colors`, which become degree 0.

  Raises:
    UserError: if the Gaussians cannot be written in that form, or the file
      cannot be written at all.
  """
  path = pathlib.Path(path)
  suffix = check_name(path)
  values = _numpy(gaussians)
  data = _ply_bytes(values) if suffix == ".ply" else _spz_bytes(values)
  pictures.write(path, data)


def check_name(path: pathlib.Path) -> str:
  """Returns a splat file's suffix, in lower case.

  Raises:
    UserError: if it is none of `SUFFIXES`.
  """
  suffix = path.suffix.lower()
  if suffix not in SUFFIXES:
    raise UserError(
      f"{path} is not a splat file's name, expected {' or '.join(SUFFIXES)}."
    )
  return suffix


def _read_ply(file: Any, size: int, name: str) -> Gaussians:
  """Reads an open .ply of `size` bytes; `name` is for sentences."""
  count, kind, more = _header(file, name)
  start = file.tell()
  if count > MAX_GAUSSIANS:
    raise UserError(
      f"{name} says that it holds {count:,} Gaussians; at most"
      f" {MAX_GAUSSIANS:,} are read."
    )
  # Before any memory is taken: a header may say anything.
  there, expected = size - start, count * kind.itemsize
  if there < expected:
    raise UserError(
      f"{name} is cut short: {count:,} Gaussians take {expected:,} bytes after"
      f" its header, and there are {there:,}."
    )
  if there > expected and not more:
    raise UserError(
      f"{name} is damaged: {there - expected:,} bytes follow its {count:,}"
      " Gaussians."
    )
  rows = np.frombuffer(file.read(expected), kind)
  rest = [field for field in kind.names if field.startswith("f_rest_")]
  return _from_rows(rows, sorted(rest, key=_number), name)


def _header(file: Any, name: str) -> tuple[int, np.dtype, bool]:
  """Parses a .ply header.

  Returns:
    Number of Gaussians, their row as a structured type, and whether other
    elements follow.
  """
  text = file.read(_MAX_HEADER)
  end = text.find(b"end_header")
  stop = text.find(b"\n", end)
  if not text.startswith(b"ply") or end < 0 or stop < 0:
    raise UserError(f"{name} is not a .ply file, or its header is damaged.")
  file.seek(stop + 1)
  order, elements = "", []
  for line in text[:end].decode("latin-1").splitlines()[1:]:
    words = line.split()
    if not words or words[0] in ("comment", "obj_info"):
      continue
    if words[0] == "format" and len(words) == 3:
      order = {"binary_little_endian": "<", "binary_big_endian": ">"}.get(
        words[1], ""
      )
      if not order:
        raise UserError(f"{name} is a .ply of text; binary ones are read.")
    elif words[0] == "element" and len(words) == 3 and words[2].isdigit():
      elements.append((words[1], int(words[2]), []))
    elif words[0] == "property" and len(words) >= 3 and elements:
      elements[-1][2].append((words[-1], words[1]))
    else:
      raise UserError(f"{name} has a .ply header with the line {line[:60]!r}.")
  if elements and elements[0][0] == "chunk":
    raise UserError(
      f"{name} is a compressed .ply of SuperSplat; save it there as a plain"
      " .ply or as .spz."
    )
  if not order or not elements or elements[0][0] != "vertex":
    raise UserError(f"{name} is a .ply without vertices, so without splats.")
  _, count, fields = elements[0]
  names = [field for field, _ in fields]
  missing = [field for field in _NEEDED if field not in names]
  if missing:
    raise UserError(
      f"{name} lacks {', '.join(missing)}: it is a .ply, but not of splats."
    )
  if len(set(names)) < len(names) or any(t not in _TYPES for _, t in fields):
    raise UserError(
      f"{name} has a .ply header with repeated properties or unknown types."
    )
  kind = np.dtype([(field, order + _TYPES[t]) for field, t in fields])
  return count, kind, len(elements) > 1


def _number(field: str) -> int:
  """The number of `f_rest_12`; fields without one sort last and fail."""
  tail = field.removeprefix("f_rest_")
  return int(tail) if tail.isdigit() else 1 << 30


def _from_rows(rows: np.ndarray, rest: list[str], name: str) -> Gaussians:
  """Undoes the file's activations."""

  def columns(names: Sequence[str]) -> Float[np.ndarray, "n _"]:
    found = [rows[field].astype(np.float32) for field in names]
    if not found:
      return np.zeros((len(rows), 0), np.float32)
    stacked = np.stack(found, -1)
    bad = ~np.isfinite(stacked).all(-1)
    if bad.any():
      raise UserError(
        f"{name} is damaged: {', '.join(names[:3])}… of {bad.sum():,} of"
        f" {len(rows):,} Gaussians are not finite."
      )
    return stacked

  extra = len(rest) // 3
  if [_number(field) for field in rest] != list(range(3 * extra)) or (
    extra + 1 not in (1, 4, 9, 16, 25)
  ):
    raise UserError(
      f"{name} has {len(rest)} attributes f_rest_*, expected f_rest_0 onwards,"
      " 0, 9, 24, 45 or 72 of them."
    )
  if np.isnan(rows["opacity"]).any():
    raise UserError(f"{name} is damaged: it has opacities that are no numbers.")
  quats = columns([f"rot_{i}" for i in range(4)])
  norms = np.linalg.norm(quats, axis=-1, keepdims=True)
  log_scales = columns([f"scale_{i}" for i in range(3)])
  if (norms == 0).any() or (log_scales > 80).any():
    raise UserError(
      f"{name} is damaged: it has Gaussians without a rotation, or larger than"
      " numbers go."
    )
  first = columns([f"f_dc_{i}" for i in range(3)])[:, None]
  # Channel by channel in the file, coefficient by coefficient here.
  others = columns(rest).reshape(len(rows), 3, extra).transpose(0, 2, 1)
  # Opacities of exactly 0 and 1, as those of 8 bits, have infinite logits.
  logits = np.clip(rows["opacity"].astype(np.float32), -80, 80)
  return Gaussians(
    means=columns(["x", "y", "z"]),
    quats=quats / norms,
    scales=np.exp(log_scales),
    opacities=1 / (1 + np.exp(-logits)),
    sh=np.concatenate([first, others], 1),
  )


def _numpy(gaussians: Gaussians) -> dict[str, np.ndarray]:
  """Checks one scene and copies it to the host."""
  names = ("means", "quats", "scales", "opacities")
  values = {k: np.asarray(getattr(gaussians, k), np.float32) for k in names}
  if gaussians.sh is not None:
    values["sh"] = np.asarray(gaussians.sh, np.float32)
  else:
    colors = np.asarray(gaussians.colors, np.float32)
    values["sh"] = ((colors - 0.5) / _C0)[..., None, :]
  count = len(values["means"])
  shapes = {"means": (3,), "quats": (4,), "scales": (3,), "opacities": ()}
  for name, tail in shapes.items():
    if values[name].shape != (count, *tail):
      raise UserError(
        f"Splat files hold one scene of {count:,} Gaussians; {name} have shape"
        f" {values[name].shape}, expected {(count, *tail)}."
      )
  shape = values["sh"].shape
  if len(shape) != 3 or shape[::2] != (count, 3):
    raise UserError(
      f"Splat files hold three colour channels; got colours of shape {shape}."
    )
  if not count:
    raise UserError("There are no Gaussians to write.")
  for name, value in values.items():
    if not np.isfinite(value).all():
      raise UserError(f"The Gaussians' {name} are not all finite.")
  norms = np.linalg.norm(values["quats"], axis=-1, keepdims=True)
  if (norms == 0).any() or (values["scales"] < 0).any():
    raise UserError("The Gaussians' quats or scales are not those of any.")
  values["quats"] = values["quats"] / norms
  return values


def _ply_bytes(values: dict[str, np.ndarray]) -> bytes:
  """The whole file."""
  count, coefficients = values["sh"].shape[:2]
  rest = 3 * (coefficients - 1)
  names = [
    *("x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2"),
    *(f"f_rest_{i}" for i in range(rest)),
    *("opacity", "scale_0", "scale_1", "scale_2"),
    *("rot_0", "rot_1", "rot_2", "rot_3"),
  ]
  header = (
    "ply\nformat binary_little_endian 1.0\n"
    f"comment chibijax, x right, y down, z forward\nelement vertex {count}\n"
    + "".join(f"property float {name}\n" for name in names)
    + "end_header\n"
  )
  # An opacity of exactly 0 or 1 has no logit, a scale of 0 no logarithm.
  opacities = np.clip(values["opacities"].astype(np.float64), 1e-6, 1 - 1e-6)
  rows = np.concatenate(
    [
      values["means"],
      np.zeros((count, 3)),
      values["sh"][:, 0],
      values["sh"][:, 1:].transpose(0, 2, 1).reshape(count, rest),
      np.log(opacities / (1 - opacities))[:, None],
      np.log(np.maximum(values["scales"], 1e-20)),
      values["quats"],
    ],
    axis=-1,
    dtype="<f4",
    casting="same_kind",
  )
  return header.encode() + rows.tobytes()


def _turned(values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Turns y and z round: y down, z forward to y up, z backward, and back."""
  flip = np.array([1, -1, -1], np.float32)
  degree = math.isqrt(values["sh"].shape[1]) - 1
  way = jnp.array([0.48, 0.6, 0.64])
  # A harmonic is odd or even in y and z together; which, any direction tells.
  signs = harmonics.basis(way * flip, degree) / harmonics.basis(way, degree)
  return {
    **values,
    "means": values["means"] * flip,
    "quats": values["quats"] * np.array([1, 1, -1, -1], np.float32),
    "sh": values["sh"] * np.sign(np.asarray(signs))[None, :, None],
  }


def _spz_bytes(values: dict[str, np.ndarray]) -> bytes:
  """The whole file, by way of a .ply in memory."""
  extent = float(np.abs(values["means"]).max())
  if extent > spz.EXTENT:
    raise UserError(
      f"A .spz holds positions up to {spz.EXTENT:.0f} from the origin, and a"
      f" Gaussian is at {extent:,.0f}; write a .ply."
    )
  if values["sh"].shape[1] > 16:
    raise UserError(
      "A .spz holds spherical harmonics to degree 3, and these are of degree"
      " 4; write a .ply."
    )
  return spz.from_ply(_ply_bytes(_turned(values)))


def _read_spz(data: bytes, name: str) -> Gaussians:
  """Reads by way of a .ply in memory."""
  plain = spz.to_ply(data, name, MAX_GAUSSIANS)
  scene = _read_ply(io.BytesIO(plain), len(plain), name)
  fields = ("means", "quats", "scales", "opacities", "sh")
  return Gaussians(**_turned({k: getattr(scene, k) for k in fields}))
