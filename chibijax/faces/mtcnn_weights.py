"""Reads MTCNN's weights out of the installed `mtcnn` package (MIT licence).

A folder of PyTorch's pnet.pt, rnet.pt and onet.pt (facenet-pytorch's, the same
numbers) serves as well. The package carries three lz4-compressed joblib
pickles: lists of float32 arrays in the order of Keras's `get_weights`. A pickle
is a program; this reader knows the three names those files use, gives them
meanings that cannot do anything, and refuses every other. The package itself is
not imported (it would load TensorFlow).
"""

import importlib.util
import io
import os
import pathlib
import pickle

import numpy as np
from jaxtyping import Float32

from chibijax.core import weight_files
from chibijax.errors import UserError
from chibijax.models import mtcnn

VARIABLE = "CHIBIJAX_MTCNN"
# The largest file is 1.6 MB; anything far beyond is not what it claims to be.
MAX_BYTES = 16 << 20


def folder(path: str | os.PathLike[str] | None = None) -> pathlib.Path | None:
  """Finds the folder that holds pnet.lz4 or pnet.pt, and so on.

  Args:
    path: that folder; None looks at the environment variable CHIBIJAX_MTCNN,
      then into the installed `mtcnn` package.

  Returns:
    The folder, or None when nothing was named and no package is installed.

  Raises:
    UserError: if a folder was named and lacks a file.
  """
  named = path or os.environ.get(VARIABLE)
  if named:
    place = pathlib.Path(named)
    missing = [net for net in mtcnn.WINDOW if not _file(place, net)]
    if missing:
      raise UserError(f"{place} has no {missing[0]}.lz4 (MTCNN's weights).")
    return place
  spec = importlib.util.find_spec("mtcnn")
  for root in (spec and spec.submodule_search_locations) or ():
    place = pathlib.Path(root) / "assets" / "weights"
    if all(_file(place, net) for net in mtcnn.WINDOW):
      return place
  return None


def load(
  path: str | os.PathLike[str] | None = None,
) -> dict[str, dict[str, dict[str, Float32[np.ndarray, "..."]]]]:
  """Reads the weights of the three networks.

  Args:
    path: as for `folder`.

  Returns:
    {"pnet": {"conv1": {"kernel": ..., "bias": ...}, ...}, "rnet": ..., "onet":
    ...} with the shapes of `chibijax.models.mtcnn.shapes`.

  Raises:
    UserError: if the weights are not installed, or a file is not what the
      package ships.
  """
  place = folder(path)
  if place is None:
    raise UserError(
      "MTCNN's weights are not installed: pip install mtcnn lz4 (MIT), or name"
      f" their folder in {VARIABLE}; --detector haar works without them."
    )
  return {net: _network(net, _file(place, net)) for net in mtcnn.WINDOW}


def _file(place: pathlib.Path, net: str) -> pathlib.Path | None:
  """The file of a network, in either format."""
  found = (place / f"{net}{suffix}" for suffix in (".lz4", ".pt"))
  return next((file for file in found if file.is_file()), None)


def _network(
  net: str, file: pathlib.Path
) -> dict[str, dict[str, Float32[np.ndarray, "..."]]]:
  """Gives the arrays of one file their names."""
  torch = file.suffix == ".pt"
  arrays = _torch_arrays(net, file) if torch else read_arrays(file)
  expected = [
    (layer, name, shape)
    for layer, parts in mtcnn.shapes(net).items()
    for name, shape in parts.items()
  ]
  if len(arrays) != len(expected):
    raise UserError(
      f"{file} holds {len(arrays)} arrays, {net} has {len(expected)}."
    )
  weights: dict[str, dict[str, np.ndarray]] = {}
  for array, (layer, name, shape) in zip(arrays, expected):
    # Keras keeps the axes that a PReLU shares as axes of length 1.
    if array.size != np.prod(shape) or array.shape[-1] != shape[-1]:
      raise UserError(
        f"{file}: {layer}'s {name} is {array.shape}, expected {shape}."
      )
    weights.setdefault(layer, {})[name] = array.reshape(shape)
  return weights


def _torch_arrays(
  net: str, file: pathlib.Path
) -> list[Float32[np.ndarray, "..."]]:
  """Reads a state dict in the order and with the axes of Keras's files."""
  arrays = weight_files.read(file)
  layers = list(dict.fromkeys(name.rpartition(".")[0] for name in arrays))
  # Heads end in a number: the face's probability, offsets, points.
  trunk = [layer for layer in layers if "_" not in layer]
  numbers = {"face": "_1", "offsets": "_2", "points": "_3"}
  heads = [
    layer
    for head in mtcnn.HEADS[net]
    for layer in layers
    if layer.endswith(numbers[head])
  ]
  found = []
  for layer in trunk + heads:
    for part in ("weight", "bias"):
      array = arrays.get(f"{layer}.{part}")
      if array is not None and array.ndim > 1:
        array = array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T
      if array is not None:
        found.append(array.astype(np.float32))
  return found


def read_arrays(file: pathlib.Path) -> list[Float32[np.ndarray, "..."]]:
  """Reads a list of float32 arrays from an lz4-compressed joblib file.

  Args:
    file: what `joblib.dump(arrays, file, compress="lz4")` writes.

  Returns:
    The arrays, as they were listed.

  Raises:
    UserError: if the file is anything else; nothing in it is executed.
  """
  try:
    from lz4 import frame
  except ImportError as e:
    raise UserError("Reading MTCNN's weights needs: pip install lz4") from e
  try:
    data = frame.LZ4FrameDecompressor().decompress(file.read_bytes(), MAX_BYTES)
    arrays = _Unpickler(io.BytesIO(data)).load()
  except OSError as e:
    raise UserError(f"{file} cannot be read ({e.strerror}).") from e
  # A damaged pickle makes the unpickler raise anything.
  except Exception as e:
    raise UserError(f"{file} is not a file of MTCNN weights ({e}).") from e
  if not isinstance(arrays, list) or not all(
    isinstance(array, _Array) and array.value is not None for array in arrays
  ):
    raise UserError(f"{file} is not a list of arrays.")
  return [array.value for array in arrays]


class _Named:
  """Stands for numpy's `ndarray` and `dtype`: keeps its arguments, only."""

  def __init__(self, *args: object) -> None:
    self.args = args

  def __setstate__(self, state: object) -> None:
    self.state = state


class _Array:
  """Stands for joblib's array wrapper; the bytes follow it in the stream."""

  stream: io.BytesIO
  value: np.ndarray | None = None

  def __setstate__(self, state: object) -> None:
    """Reads the array, whose description has just been unpickled."""
    if not isinstance(state, dict) or not isinstance(state["dtype"], _Named):
      raise pickle.UnpicklingError("an array without a description")
    kind, order, shape = state["dtype"], state["order"], state["shape"]
    if kind.args[0] != "f4" or kind.state[1] != "<" or order != "C":
      raise pickle.UnpicklingError("an array that is not float32 in C order")
    if not all(isinstance(n, int) and 0 < n < 1 << 16 for n in shape):
      raise pickle.UnpicklingError(f"an array of shape {shape}")
    # joblib aligns the data: one byte says how many follow before it.
    self.stream.read(self.stream.read(1)[0])
    count = int(np.prod(shape, dtype=np.int64))
    data = self.stream.read(4 * count)
    self.value = np.frombuffer(data, "<f4", count).reshape(shape).copy()


class _Unpickler(pickle.Unpickler):
  """An unpickler that can make lists, numbers, texts and float32 arrays."""

  def __init__(self, stream: io.BytesIO) -> None:
    super().__init__(stream)
    self._known = {
      ("joblib.numpy_pickle", "NumpyArrayWrapper"): type(
        "_Array", (_Array,), {"stream": stream}
      ),
      ("numpy", "ndarray"): _Named,
      ("numpy", "dtype"): _Named,
    }

  def find_class(self, module: str, name: str) -> type:
    """Returns the harmless stand-in of a known name, and refuses the rest."""
    if (module, name) not in self._known:
      raise pickle.UnpicklingError(f"it asks for {module}.{name}")
    return self._known[module, name]
