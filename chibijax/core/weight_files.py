"""Weights from other people's files, read as data: nothing in them is run.

Three formats are told apart by their first bytes: safetensors; PyTorch's zip
archives (`torch.save` from 1.6 on, and TorchScript, whose code is left alone);
PyTorch's older stream of pickles. A pickle is a program, so the unpickler here
knows the dozen names that saved tensors need, gives them meanings that cannot
do anything, and refuses every other. PyTorch itself is not needed.
"""

import io
import os
import pathlib
import pickle
import zipfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import safetensors
from jaxtyping import Shaped
from safetensors.numpy import load as load_safetensors

from chibijax.errors import UserError

# Larger files are refused; the largest that we read has some 10 MB.
MAX_BYTES = 1 << 30
# The first of the pickles in PyTorch's older format, and its version.
_MAGIC, _VERSION = 0x1950A86A20F9469CFC6C, 1001
_STORAGES = {
  "DoubleStorage": np.float64,
  "FloatStorage": np.float32,
  "HalfStorage": np.float16,
  "BFloat16Storage": jnp.bfloat16,
  "LongStorage": np.int64,
  "IntStorage": np.int32,
  "ShortStorage": np.int16,
  "CharStorage": np.int8,
  "ByteStorage": np.uint8,
  "BoolStorage": np.bool_,
}


def read(
  path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES
) -> dict[str, Shaped[np.ndarray, "..."]]:
  """Reads the arrays of a weight file.

  Args:
    path: a safetensors file, or one that `torch.save` wrote of a state dict;
      tensors in dicts of dicts are found too.
    max_bytes: larger files, and files that claim more, are refused.

  Returns:
    The arrays by name, as they were stored; names of nested dicts are joined by
    dots. Numbers, texts and the like are left out. Arrays may be read-only.

  Raises:
    UserError: if the file is missing, too large, damaged, of another format,
      holds anything beyond tensors and plain data, or no tensor.
  """
  file = pathlib.Path(path)
  try:
    if file.stat().st_size > max_bytes:
      raise UserError(f"{file} is larger than {max_bytes} bytes.")
    data = file.read_bytes()
  except OSError as e:
    raise UserError(f"{file} cannot be read ({e.strerror}).") from e
  try:
    if data[8:9] == b"{":
      found = load_safetensors(data)
    elif data[:4] == b"PK\x03\x04":
      found = _from_zip(data, max_bytes)
    else:
      found = _from_stream(data, max_bytes)
  # A damaged pickle makes the unpickler raise anything.
  except (Exception, safetensors.SafetensorError) as e:
    raise UserError(f"{file} is not a file of weights ({e}).") from e
  if not found:
    raise UserError(f"{file} holds no tensors.")
  return found


class _Storage(NamedTuple):
  """A flat run of numbers somewhere in the file."""

  key: str
  dtype: np.dtype
  count: int
  start: int = 0


class _Tensor(NamedTuple):
  """A strided view of a storage; all lengths in elements."""

  storage: _Storage
  offset: int
  shape: tuple[int, ...]
  strides: tuple[int, ...]


class _Dict(dict):
  """Stands for OrderedDict: attributes such as `_metadata` are dropped."""

  __slots__ = ()

  def __setstate__(self, state: object) -> None:
    """Forgets what else was saved of the dict."""


class _Module(_Dict):
  """Stands for a TorchScript module of any name: a dict of its attributes."""

  __slots__ = ()

  def __setstate__(self, state: object) -> None:
    """Takes the attributes; a state that is none is refused."""
    if not isinstance(state, dict):
      raise pickle.UnpicklingError("a module without attributes")
    self.update(state)


class _Known:
  """Stands for a known name; it can be called, and not be changed."""

  __slots__ = ("_made",)

  def __init__(self, made: Callable[..., Any]) -> None:
    object.__setattr__(self, "_made", made)

  def __setattr__(self, name: str, value: object) -> None:
    raise pickle.UnpicklingError("it changes what is not its own")

  def __call__(self, *args: Any) -> Any:
    return self._made(*args)


class _Unpickler(pickle.Unpickler):
  """An unpickler of plain data and of descriptions of tensors.

  Attributes:
    sizes: bytes of a number, by the key of each storage that was met.
  """

  def __init__(self, stream: io.BytesIO) -> None:
    super().__init__(stream)
    self.sizes: dict[str, int] = {}

  def find_class(
    self, module: str, name: str
  ) -> _Known | np.dtype | type[_Module]:
    """Returns the harmless stand-in of a known name, and refuses the rest."""
    if module == "__torch__" or module.startswith("__torch__."):
      # TorchScript's own names: what they stand for is code, never looked at.
      return _Module
    if module == "torch" and name in _STORAGES:
      return np.dtype(_STORAGES[name])
    if (module, name) not in _NAMES:
      raise pickle.UnpicklingError(f"it asks for {module}.{name}")
    return _Known(_NAMES[module, name])

  def persistent_load(self, pid: Any) -> _Storage:
    """Describes a storage, whose numbers lie outside the pickle."""
    word, dtype, key, _, count, *view = pid
    if word != "storage" or not isinstance(dtype, np.dtype):
      raise pickle.UnpicklingError("an unknown kind of storage")
    self.sizes[str(key)] = dtype.itemsize
    if view and view[0] is not None:
      # Older files: a part of a storage that other tensors share.
      _, start, length = view[0]
      return _Storage(str(key), dtype, _count(length), _count(start))
    return _Storage(str(key), dtype, _count(count))


def _tensor(
  storage: Any, offset: Any, shape: Any, strides: Any, *_: Any
) -> _Tensor:
  """`torch._utils._rebuild_tensor_v2`."""
  if not isinstance(storage, _Storage):
    raise pickle.UnpicklingError("a tensor without a storage")
  lengths = tuple(_count(n) for n in shape)
  steps = tuple(_count(n) for n in strides)
  if len(lengths) != len(steps) or len(lengths) > 16:
    raise pickle.UnpicklingError(f"a tensor of shape {lengths}")
  return _Tensor(storage, _count(offset), lengths, steps)


def _count(value: Any) -> int:
  if type(value) is not int or not 0 <= value < 1 << 40:
    raise pickle.UnpicklingError("a length that is none")
  return value


_NAMES: Mapping[tuple[str, str], Callable[..., Any]] = {
  ("collections", "OrderedDict"): lambda *pairs: _Dict(*pairs),
  ("torch", "Size"): lambda *lengths: tuple(*lengths),
  ("torch._utils", "_rebuild_tensor"): _tensor,
  ("torch._utils", "_rebuild_tensor_v2"): _tensor,
  ("torch._utils", "_rebuild_parameter"): lambda tensor, *_: tensor,
  **{
    ("torch.jit._pickle", f"build_{kind}list"): lambda values: values
    for kind in ("int", "double", "bool", "tensor")
  },
}


def _from_zip(data: bytes, max_bytes: int) -> dict[str, np.ndarray]:
  """Reads `NAME/data.pkl` and the storages `NAME/data/KEY` of an archive."""
  with zipfile.ZipFile(io.BytesIO(data)) as archive:
    names = set(archive.namelist())
    tops = [n for n in names if n.endswith("/data.pkl") and n.count("/") == 1]
    if len(tops) != 1:
      raise ValueError("a zip archive, but not one of PyTorch's")
    root = tops[0].removesuffix("data.pkl")

    def member(name: str) -> bytes:
      # PyTorch stores without compression, so that files can be mapped.
      info = archive.getinfo(root + name)
      if info.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{info.filename} is compressed")
      return archive.read(info)

    if f"{root}byteorder" in names and member("byteorder") != b"little":
      raise ValueError("its numbers are big-endian")
    saved = _Unpickler(io.BytesIO(member("data.pkl"))).load()
    return _gather(saved, lambda s: member(f"data/{s.key}"), max_bytes)


def _from_stream(data: bytes, max_bytes: int) -> dict[str, np.ndarray]:
  """Reads PyTorch's older format: five pickles, then the storages."""
  stream = io.BytesIO(data)
  magic, version, machine = (_Unpickler(stream).load() for _ in range(3))
  if (magic, version) != (_MAGIC, _VERSION):
    raise ValueError("neither safetensors nor PyTorch's")
  if not machine["little_endian"]:
    raise ValueError("its numbers are big-endian")
  unpickler = _Unpickler(stream)
  saved = unpickler.load()
  storages = {}
  for key in map(str, _Unpickler(stream).load()):
    length = int.from_bytes(stream.read(8), "little") * unpickler.sizes[key]
    storages[key] = stream.read(length)
    if len(storages[key]) != length:
      raise ValueError("it ends too early")
  return _gather(saved, lambda s: storages[s.key], max_bytes)


def _walk(saved: object) -> Iterator[tuple[str, _Tensor]]:
  """Finds the tensors of nested dicts, by name."""
  waiting, seen = [("", saved)], set()
  while waiting:
    name, value = waiting.pop()
    if isinstance(value, _Tensor):
      yield name, value
    elif isinstance(value, dict):
      # A dict in itself, or in many others, would have no end.
      if id(value) in seen:
        raise ValueError("a dict that is in it twice")
      seen.add(id(value))
      # From the back, as the last one waiting is the next.
      for key, inner in reversed(value.items()):
        waiting.append((f"{name}.{key}" if name else str(key), inner))


def _gather(
  saved: object, load: Callable[[_Storage], bytes], max_bytes: int
) -> dict[str, np.ndarray]:
  """Makes the arrays of everything that was saved."""
  found: dict[str, np.ndarray] = {}
  loaded: dict[str, bytes] = {}
  total = 0
  for name, tensor in _walk(saved):
    storage = tensor.storage
    if storage.key not in loaded:
      loaded[storage.key] = load(storage)
    array = _view(tensor, loaded[storage.key])
    total += array.nbytes
    if total > max_bytes:
      raise ValueError(f"it claims more than {max_bytes} bytes")
    if name in found:
      raise ValueError(f"{name} is in it twice")
    found[name] = np.ascontiguousarray(array).reshape(tensor.shape)
  return found


def _view(tensor: _Tensor, data: bytes) -> np.ndarray:
  """A tensor's numbers within its storage's bytes, after checking them."""
  storage, shape = tensor.storage, tensor.shape
  count = int(np.prod(shape, dtype=object)) if shape else 1
  if count == 0:
    return np.zeros(shape, storage.dtype)
  last = tensor.offset + sum(
    (n - 1) * step for n, step in zip(shape, tensor.strides)
  )
  if last >= storage.count or count > storage.count:
    raise ValueError("a tensor that is larger than its storage")
  # Raises when the bytes are fewer than the file promised.
  flat = np.frombuffer(
    data,
    storage.dtype,
    storage.count,
    storage.start * storage.dtype.itemsize,
  )
  strides = tuple(step * storage.dtype.itemsize for step in tensor.strides)
  return np.lib.stride_tricks.as_strided(
    flat[tensor.offset :], shape, strides, writeable=False
  )
