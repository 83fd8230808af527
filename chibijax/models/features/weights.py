"""Published weights of the feature networks, from files of several kinds.

PyTorch state dicts (`.pth` read without running anything in them, or
safetensors with the same names), and Keras' HDF5 file of SqueezeNet. A file is
known to be the published one by the SHA-256 its name or its publisher gives;
others are used as they are, and metrics of them do not get the published names.
"""

import hashlib
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from chibijax.core import weight_files
from chibijax.errors import UserError
from chibijax.models.features import inception, parts, plain, squeezenet

_HDF5 = b"\x89HDF\r\n\x1a\n"
# How the SHA-256 of published files begin (torchvision's names carry them), and
# which training they are.
PUBLISHED: Mapping[str, tuple[tuple[str, str], ...]] = {
  "squeezenet": (
    ("b8a52dc0", "torchvision"),
    ("17154246284f5555", "keras"),
  ),
  "vgg16": (("397923af", "torchvision"),),
  "vgg19": (("dcbb9e9d", "torchvision"),),
  "alexnet": (("7be5be79", "torchvision"),),
  "inception": (("6726825d", "fid"), ("f58cb9b6ec323ed6", "fid")),
}
VARIABLES = {
  "squeezenet": "CHIBIJAX_SQUEEZENET",
  "vgg16": "CHIBIJAX_VGG16",
  "vgg19": "CHIBIJAX_VGG19",
  "alexnet": "CHIBIJAX_ALEXNET",
  "inception": "CHIBIJAX_INCEPTION",
  "lpips-squeeze": "CHIBIJAX_LPIPS_SQUEEZE",
  "lpips-vgg": "CHIBIJAX_LPIPS_VGG",
  "lpips-alex": "CHIBIJAX_LPIPS_ALEX",
}
# Where they lie in a folder of weights; the first that is there is taken.
_PLACES = {
  "squeezenet": ("squeezenet1_1*", "squeezenet/*", "squeezenet*"),
  "vgg16": ("vgg16*", "vgg16/*"),
  "vgg19": ("vgg19*", "vgg19/*"),
  "alexnet": ("alexnet*", "alexnet/*"),
  "inception": ("*inception-2015-12-05*", "inception/*"),
  "lpips-squeeze": ("lpips_v0.1/squeeze.pth", "squeeze.pth", "lpips-squeeze*"),
  "lpips-vgg": ("lpips_v0.1/vgg.pth", "vgg.pth", "lpips-vgg*"),
  "lpips-alex": ("lpips_v0.1/alex.pth", "alex.pth", "lpips-alex*"),
}
# In this order of preference.
_SUFFIXES = (".safetensors", ".pth", ".pt", ".h5", ".hdf5")


class Weights(NamedTuple):
  """Parameters, and where they are from.

  Attributes:
    params: layers by name.
    source: "torchvision", "keras" or "fid" for the published files, else
      "torch" for another file in their form.
    sha256: of the file, in hex.
    file: its name.
  """

  params: dict[str, dict[str, np.ndarray]]
  source: str
  sha256: str
  file: str


def find(
  name: str, given: str | os.PathLike[str] | None = None
) -> pathlib.Path | None:
  """Finds a file of weights by what it is.

  Args:
    name: a key of `VARIABLES`.
    given: the file, or a folder that has it under a usual name; None or "" asks
      the environment variable for either.

  Returns:
    The file; None where nothing was given, or the folder lacks it.

  Raises:
    UserError: if what was given is neither file nor folder.
  """
  named = given or os.environ.get(VARIABLES[name])
  if not named:
    return None
  path = pathlib.Path(named).expanduser()
  if path.is_file():
    return path
  if not path.is_dir():
    raise UserError(f"{path}, where weights of {name} should be, is missing.")
  for pattern in _PLACES[name]:
    for suffix in _SUFFIXES:
      for found in sorted(path.glob(pattern)):
        if found.is_file() and found.suffix == suffix:
          return found
  return None


def shapes(name: str) -> dict[str, parts.Shape]:
  """Kernel shapes [KH, KW, I, O] by layer.

  Raises:
    UserError: if there is no such network.
  """
  if name == "squeezenet":
    return squeezenet.shapes()
  if name == "inception":
    return inception.shapes()
  if name in (*plain.VGG, "alexnet"):
    return plain.shapes(name)
  raise UserError(
    f"There is no feature network {name!r}; expected one of "
    f"{', '.join(PUBLISHED)}."
  )


def read(name: str, path: str | os.PathLike[str]) -> Weights:
  """Reads a network's file.

  Args:
    name: "squeezenet", "vgg16", "vgg19", "alexnet" or "inception".
    path: a state dict of torchvision (for Inception of pytorch-fid, or the
      TorchScript that clean-fid uses), or the Keras file of SqueezeNet.

  Returns:
    Float32 parameters.

  Raises:
    UserError: if the file is missing, damaged, of another network, or needs
      h5py and that is not installed.
  """
  file, wanted = pathlib.Path(path), shapes(name)
  try:
    with file.open("rb") as stream:
      is_keras = stream.read(8) == _HDF5
      stream.seek(0)
      digest = hashlib.file_digest(stream, "sha256").hexdigest()
  except OSError as e:
    raise UserError(f"{file} cannot be read ({e.strerror}).") from e
  if is_keras:
    params = _from_keras(name, file)
  else:
    params = _from_torch(name, weight_files.read(file), file)
  for layer, shape in wanted.items():
    kernel, bias = params[layer]["kernel"], params[layer]["bias"]
    if kernel.shape != shape or bias.shape != shape[-1:]:
      raise UserError(
        f"{file} does not suit {name}: {layer} is {kernel.shape} there and "
        f"{shape} in the network."
      )
    if not (np.isfinite(kernel).all() and np.isfinite(bias).all()):
      raise UserError(f"{file} holds numbers that are not finite ({layer}).")
  known = dict(PUBLISHED[name])
  source = next(
    (known[start] for start in known if digest.startswith(start)),
    "keras" if is_keras else "torch",
  )
  return Weights(params, source, digest, file.name)


def random(name: str, key: PRNGKeyArray) -> dict[str, dict[str, np.ndarray]]:
  """Parameters of a network that has learnt nothing, for tests.

  Args:
    name: as for `read`.
    key: typed PRNG key.

  Returns:
    Kernels from N(0, 2 / inputs), biases from N(0, 0.01).
  """
  rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel())
  return {
    layer: {
      "kernel": rng.normal(0, np.sqrt(2 / np.prod(shape[:3])), shape).astype(
        np.float32
      ),
      "bias": rng.normal(0, 0.1, shape[-1:]).astype(np.float32),
    }
    for layer, shape in shapes(name).items()
  }


def read_heads(
  path: str | os.PathLike[str], widths: tuple[int, ...]
) -> tuple[tuple[Float[np.ndarray, " c"], ...], str]:
  """Reads LPIPS' linear heads: one weight for each channel of each layer.

  Args:
    path: a file of lpips' `weights/v0.1`.
    widths: channels of the layers they belong to.

  Returns:
    The heads, and the file's SHA-256.

  Raises:
    UserError: if the file is missing, damaged, or of another trunk.
  """
  arrays = weight_files.read(path)
  digest = hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()
  heads = []
  for i in range(len(arrays)):
    name = f"lin{i}.model.1.weight"
    if name not in arrays:
      raise UserError(f"{path} lacks {name}: these are not LPIPS' heads.")
    heads.append(np.asarray(arrays[name], np.float32).reshape(-1))
  if tuple(len(h) for h in heads) != widths:
    raise UserError(
      f"{path} has heads for {[len(h) for h in heads]} channels, but the trunk "
      f"has {list(widths)}."
    )
  return tuple(heads), digest


def _from_torch(
  name: str, arrays: Mapping[str, Array | np.ndarray], file: pathlib.Path
) -> dict[str, dict[str, np.ndarray]]:
  def get(key: str) -> np.ndarray:
    if key not in arrays:
      raise UserError(f"{file} does not suit {name}: {key} is not in it.")
    return np.asarray(arrays[key], np.float32)

  scripted = inception.script_names() if "layers.conv.beta" in arrays else {}
  params = {}
  for layer in shapes(name):
    if name == "inception":
      kernel, bias = _folded(get, layer, scripted.get(layer))
    else:
      at = (
        squeezenet.torch_name(layer)
        if name == "squeezenet"
        else plain.torch_name(name, layer)
      )
      kernel, bias = get(f"{at}.weight"), get(f"{at}.bias")
    if kernel.ndim != 4:
      raise UserError(f"{file} does not suit {name}: {layer} is no kernel.")
    params[layer] = {
      "kernel": kernel.transpose(2, 3, 1, 0).astype(np.float32),
      "bias": bias.astype(np.float32),
    }
  return params


def _folded(
  get: Callable[[str], np.ndarray], layer: str, script: str | None
) -> tuple[np.ndarray, np.ndarray]:
  """A convolution of Inception, [O, I, H, W], with its norm folded into it.

  Args:
    get: the file's arrays.
    layer: as pytorch-fid names it.
    script: as the TorchScript names it, whose norms have no scale; or None.
  """
  if script is None:
    kernel = get(f"{layer}.conv.weight")
    names = [f"{layer}.bn.{n}" for n in ("bias", "running_mean", "running_var")]
    scale = get(f"{layer}.bn.weight").astype(np.float64)
  else:
    kernel = get(f"{script}.weight")
    names = [f"{script}.{n}" for n in ("beta", "mean", "var")]
    scale = np.ones(len(kernel))
  bias, mean, variance = (get(n).astype(np.float64) for n in names)
  scale = scale / np.sqrt(variance + inception.EPSILON)
  return kernel * scale[:, None, None, None], bias - mean * scale


def _from_keras(
  name: str, file: pathlib.Path
) -> dict[str, dict[str, np.ndarray]]:
  if name != "squeezenet":
    raise UserError(
      f"{file} is a Keras file; for {name} a PyTorch state dict is needed."
    )
  try:
    import h5py
  except ImportError as e:
    raise UserError(
      f"{file} is a Keras file, which needs h5py: pip install h5py."
    ) from e
  params = {}
  try:
    with h5py.File(file, "r") as stored:
      for layer in squeezenet.shapes():
        found: list[np.ndarray] = []
        stored[layer].visititems(
          lambda _, item, found=found: (
            found.append(np.asarray(item, np.float32))
            if isinstance(item, h5py.Dataset)
            else None
          )
        )
        bias, kernel = sorted(found, key=np.ndim)
        params[layer] = {"kernel": kernel, "bias": bias}
  # A damaged file makes h5py raise all of these.
  except (OSError, KeyError, ValueError, RuntimeError) as e:
    raise UserError(f"{file} is not SqueezeNet's Keras file ({e}).") from e
  return params
