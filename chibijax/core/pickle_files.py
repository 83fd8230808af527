"""Pickles of arrays from other people, read as data: nothing in them is run.

A pickle is a program. The unpickler here knows the names that NumPy's arrays,
SciPy's sparse matrices and chumpy's arrays need; each stands for a shell that
keeps what it is given and does nothing, and every other name is refused. The
shells become plain NumPy arrays afterwards.
"""

import io
import os
import pathlib
import pickle
import zipfile
from typing import Any

import numpy as np

from chibijax.errors import UserError

# Larger files are refused; FLAME's have some 100 MB.
MAX_BYTES = 1 << 30
# Deeper nests of lists and dicts are refused.
_MAX_DEPTH = 16


def read(path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES) -> Any:
  """Reads a pickle, `.npy` or `.npz` file without running anything.

  Args:
    path: the file; what it is, is told by its first bytes.
    max_bytes: larger files, and archives that claim more, are refused.

  Returns:
    Dicts, lists, tuples, texts, numbers and NumPy arrays, as they were nested;
    an archive is a dict of its arrays. Sparse matrices are made dense.

  Raises:
    UserError: if the file is missing, too large, damaged, of another format or
      asks for anything beyond arrays and plain data.
  """
  file = pathlib.Path(path)
  try:
    if file.stat().st_size > max_bytes:
      raise UserError(f"{file} is larger than {max_bytes} bytes.")
    data = file.read_bytes()
  except OSError as e:
    raise UserError(f"{file} cannot be read ({e.strerror}).") from e
  return loads(data, str(file), max_bytes=max_bytes)


def loads(data: bytes, name: str, *, max_bytes: int = MAX_BYTES) -> Any:
  """Reads the bytes of such a file.

  Args:
    data: all of it.
    name: what to call it in sentences.
    max_bytes: archives that claim more are refused.

  Returns:
    See `read`.

  Raises:
    UserError: if they are damaged, of another format or ask for anything beyond
      arrays and plain data.
  """
  try:
    if data[:4] == b"PK\x03\x04":
      return _archive(data, max_bytes)
    if data[:6] == b"\x93NUMPY":
      return _npy(io.BytesIO(data))
    return _loads(io.BytesIO(data))
  # A damaged pickle makes the unpickler raise anything.
  except Exception as e:
    # Some of Python's sentences have two lines, and an end.
    why = " ".join(str(e).split()).rstrip(".")
    raise UserError(f"{name} is not a file of plain arrays ({why}).") from e


class _Shell:
  """Stands for an object: keeps its arguments and its state."""

  __slots__ = ("args", "state")

  def __new__(cls, *args: Any) -> "_Shell":
    shell = object.__new__(cls)
    shell.args, shell.state = args, None
    return shell

  def __init__(self, *args: Any) -> None:
    """Takes what `__new__` has kept."""

  def __setstate__(self, state: Any) -> None:
    self.state = state


class _Array(_Shell):
  """`numpy.ndarray`, made empty and filled afterwards."""

  __slots__ = ()


class _Dtype(_Shell):
  """`numpy.dtype`: a code, and the order of bytes."""

  __slots__ = ()


class _Scalar(_Shell):
  """`numpy.core.multiarray.scalar`: a type and bytes."""

  __slots__ = ()


class _Buffer(_Shell):
  """`numpy.core.numeric._frombuffer`: how protocol 5 writes arrays."""

  __slots__ = ()


class _Sparse(_Shell):
  """A compressed or coordinate matrix of SciPy."""

  __slots__ = ()


class _Chumpy(_Shell):
  """An array of chumpy, whose numbers are its `x`."""

  __slots__ = ()


class _Object(_Shell):
  """`object`, as a base class."""

  __slots__ = ()


class _Call(_Shell):
  """Base of the few functions; what they are called with is made at once."""

  __slots__ = ()


class _Rebuild(_Call):
  """`copyreg._reconstructor` and `__newobj__`: an empty object of a class."""

  __slots__ = ()

  def __new__(cls, kind: Any, *_: Any) -> _Shell:
    """Makes a shell of the class."""
    if not (isinstance(kind, type) and issubclass(kind, _Shell)):
      raise pickle.UnpicklingError("an object of no known class")
    return _Shell.__new__(kind)


class _Encode(_Call):
  """`_codecs.encode`: how protocol 2 writes bytes."""

  __slots__ = ()

  def __new__(cls, text: Any, encoding: Any = "latin1", *_: Any) -> bytes:
    """Makes the bytes."""
    if type(text) is not str or encoding != "latin1":
      raise pickle.UnpicklingError("bytes in an unknown form")
    return text.encode("latin1")


class _Ordered(_Call):
  """`collections.OrderedDict`, which dicts have become."""

  __slots__ = ()

  def __new__(cls, pairs: Any = ()) -> dict:
    """Makes a dict."""
    return dict(pairs)


class _Bytes(_Call):
  """`bytes()`: how protocol 2 writes that there are none."""

  __slots__ = ()

  def __new__(cls) -> bytes:
    """Makes no bytes."""
    return b""


_KINDS: dict[tuple[str, str], type[_Shell]] = {
  ("numpy", "ndarray"): _Array,
  ("numpy", "dtype"): _Dtype,
  ("copy_reg", "_reconstructor"): _Rebuild,
  ("copyreg", "_reconstructor"): _Rebuild,
  ("copyreg", "__newobj__"): _Rebuild,
  ("copy_reg", "__newobj__"): _Rebuild,
  ("_codecs", "encode"): _Encode,
  ("collections", "OrderedDict"): _Ordered,
  ("builtins", "bytes"): _Bytes,
  ("__builtin__", "bytes"): _Bytes,
  ("builtins", "object"): _Object,
  ("__builtin__", "object"): _Object,
}
for _package in ("numpy.core", "numpy._core"):
  _KINDS[f"{_package}.multiarray", "_reconstruct"] = _Rebuild
  _KINDS[f"{_package}.multiarray", "scalar"] = _Scalar
  _KINDS[f"{_package}.numeric", "_frombuffer"] = _Buffer
_SPARSE = ("csc_matrix", "csr_matrix", "coo_matrix", "csc_array", "csr_array")


class _Unpickler(pickle.Unpickler):
  """An unpickler of shells."""

  def find_class(self, module: str, name: str) -> type[_Shell]:
    """Returns a new shell class for a known name, and refuses the rest."""
    if (module, name) in _KINDS:
      kind = _KINDS[module, name]
    elif module.startswith("scipy.sparse.") and name in _SPARSE:
      kind = _Sparse
    elif module.partition(".")[0] == "chumpy":
      kind = _Chumpy
    else:
      raise pickle.UnpicklingError(f"it asks for {module}.{name}")
    # A class of its own: a file that changes it changes nothing of ours.
    return type(name, (kind,), {"__slots__": ()})


def _loads(stream: io.BytesIO) -> Any:
  # Python 2 wrote the bytes of arrays as text.
  return _plain(_Unpickler(stream, encoding="latin1").load(), 0)


def _npy(stream: io.BytesIO) -> Any:
  """An array file; arrays of objects are pickles after a header."""
  version = np.lib.format.read_magic(stream)
  reader = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
  }[version]
  shape, fortran, dtype = reader(stream)
  if dtype.hasobject:
    return _loads(stream)
  return _filled(shape, dtype, fortran, stream.read())


def _archive(data: bytes, max_bytes: int) -> dict[str, Any]:
  with zipfile.ZipFile(io.BytesIO(data)) as archive:
    members = archive.infolist()
    if sum(m.file_size for m in members) > max_bytes:
      raise ValueError(f"it claims more than {max_bytes} bytes")
    return {
      m.filename.removesuffix(".npy"): _npy(io.BytesIO(archive.read(m)))
      for m in members
    }


def _plain(value: Any, depth: int) -> Any:
  """Turns shells into arrays, all the way down."""
  if depth > _MAX_DEPTH:
    raise ValueError("it is nested too deeply")
  if isinstance(value, dict):
    return {k: _plain(v, depth + 1) for k, v in value.items()}
  if isinstance(value, list | tuple):
    return type(value)(_plain(v, depth + 1) for v in value)
  if isinstance(value, _Array):
    return _array(value, depth)
  if isinstance(value, _Scalar):
    dtype, data = value.args
    return _filled((), _dtype(dtype), False, _bytes(data))[()]
  if isinstance(value, _Buffer):
    data, dtype, shape, order = value.args
    return _filled(shape, _dtype(dtype), order == "F", _bytes(data))
  if isinstance(value, _Sparse):
    return _dense(value, depth)
  if isinstance(value, _Chumpy):
    if not isinstance(value.state, dict) or "x" not in value.state:
      raise ValueError("a chumpy array without numbers")
    return _plain(value.state["x"], depth + 1)
  if value is None or isinstance(value, bool | int | float | str | bytes):
    return value
  raise ValueError(f"it holds a {type(value).__name__}")


def _bytes(data: Any) -> bytes:
  return data.encode("latin1") if isinstance(data, str) else bytes(data)


def _dtype(shell: Any) -> np.dtype:
  """A simple type of numbers, or objects."""
  code, state = shell.args[0], shell.state or (3, "=")
  if not isinstance(shell, _Dtype) or str(code)[:1] not in "fiubUO":
    raise ValueError(f"an array of {code}")
  order = state[1] if state[1] in ("<", ">") else "="
  return np.dtype(str(code)).newbyteorder(order)


def _array(shell: _Array, depth: int) -> Any:
  if not isinstance(shell.state, tuple) or len(shell.state) != 5:
    raise ValueError("an array that is not filled")
  _, shape, dtype, fortran, data = shell.state
  if _dtype(dtype).hasobject:
    # One object, as `numpy.save` keeps a dict: the object itself.
    items = [_plain(item, depth + 1) for item in data]
    return items[0] if tuple(shape) == () else items
  return _filled(shape, _dtype(dtype), fortran, _bytes(data))


def _filled(shape: Any, dtype: np.dtype, fortran: Any, data: bytes) -> Any:
  flat = np.frombuffer(data, dtype)
  array = flat.reshape(tuple(shape), order="F" if fortran else "C")
  return array.astype(dtype.newbyteorder("="))


def _dense(shell: _Sparse, depth: int) -> np.ndarray:
  """A matrix from its stored parts; all numbers are checked first."""
  parts = _plain(shell.state, depth + 1)
  shape = parts.get("_shape", parts.get("shape"))
  rows, columns = (int(n) for n in shape)
  if not 0 < rows * columns < 1 << 28:
    raise ValueError(f"a sparse matrix of shape {shape}")
  data = np.asarray(parts["data"])
  if "row" in parts:
    first, second = np.asarray(parts["row"]), np.asarray(parts["col"])
  else:
    starts = np.asarray(parts["indptr"])
    major = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    minor = np.asarray(parts["indices"])
    by_row = type(shell).__name__.startswith("csr")
    first, second = (major, minor) if by_row else (minor, major)
  if not (first.shape == second.shape == data.shape) or data.ndim != 1:
    raise ValueError("a damaged sparse matrix")
  if (np.minimum(first, second) < 0).any():
    raise ValueError("a damaged sparse matrix")
  result = np.zeros((rows, columns), data.dtype)
  np.add.at(result, (first, second), data)
  return result
