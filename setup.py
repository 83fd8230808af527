"""Packaging of chibijax, and the build of its optional native kernels.

Each `chibijax/ops/**/native/NAME.cc` becomes one plain shared library for every
instruction set, `libNAME_generic.so`, `_avx2` and `_avx512`, and each `NAME.cu`
a `libNAME_cuda.so`. The op's module loads the best one with ctypes and
registers it through `jax.ffi`; nothing in them links against Python or JAX.
They are optional: without a compiler (or nvcc) the build says so and goes on,
and each op runs its JAX definition.
"""

import importlib.util
import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys

from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext

ROOT = pathlib.Path(__file__).parent.resolve()
CUDA_ARCHITECTURES = ("80", "90")
# No -march=native: what is built here may run on another machine. No
# -fvisibility=hidden: the handlers must be found by name.
CXX_FLAGS = ["-std=c++17", "-O3", "-fPIC", "-shared", "-ffp-contract=fast"]
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
  "tensorflow-datasets>=4.9.9",
  "tqdm>=4.66",
  "typer>=0.15",
]
APP = ["scikit-image>=0.25"]
EXTRAS_REQUIRE = {
  "cuda12": ["jax[cuda12]>=0.7.2"],
  "cuda13": ["jax[cuda13]>=0.7.2"],
  "tpu": ["jax[tpu]>=0.7.2"],
  "tf": ["tensorflow>=2.19"],
  "app": APP,
  "dev": [
    *APP,
    "beartype>=0.21",
    "pre-commit>=4.0",
    "pytest>=8.3",
    "pytest-xdist>=3.6",
    "ruff>=0.12",
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
    for variant, flags in variants.items():
      name = ".".join((*path.parent.parts, f"lib{source.stem}_{variant}"))
      extensions.append(
        Extension(name, [str(path)], extra_compile_args=flags, optional=True)
      )
  return extensions


class BuildNative(build_ext):
  """Builds the FFI libraries; whatever cannot be built is left out, aloud."""

  def get_ext_filename(self, fullname: str) -> str:
    """Names the library without Python's ABI tag, which it does not need."""
    return os.path.join(*fullname.split(".")) + ".so"

  def run(self) -> None:
    """Builds each extension with a plain compiler command."""
    for extension in self.extensions:
      reason = self.build_library(extension)
      if reason:
        print(
          f"chibijax: {extension.name} was not built ({reason}); the JAX"
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
    source = extension.sources[0]
    cuda = source.endswith(".cu")
    compiler = shutil.which("nvcc" if cuda else os.environ.get("CXX", "g++"))
    if compiler is None:
      return "no nvcc found" if cuda else "no C++ compiler found"
    include = ffi_include_dir()
    if include is None:
      return "jaxlib's headers not found"
    target = pathlib.Path(self.get_ext_fullpath(extension.name))
    target.parent.mkdir(parents=True, exist_ok=True)
    flags = _cuda_flags() if cuda else CXX_FLAGS
    # A library in use is replaced, not written into.
    unfinished = target.with_suffix(".part")
    command = [compiler, *flags, *extension.extra_compile_args]
    command += [f"-I{include}", source, "-o", str(unfinished)]
    print(" ".join(command), file=sys.stderr)
    done = subprocess.run(command, cwd=ROOT, check=False)
    if done.returncode:
      unfinished.unlink(missing_ok=True)
      return f"{compiler} ended with exit code {done.returncode}"
    unfinished.replace(target)
    return None


def _cuda_flags() -> list[str]:
  flags = ["-std=c++17", "-O3", "-shared", "-Xcompiler", "-fPIC"]
  for arch in CUDA_ARCHITECTURES:
    flags.append(f"-gencode=arch=compute_{arch},code=sm_{arch}")
  newest = CUDA_ARCHITECTURES[-1]
  return [*flags, f"-gencode=arch=compute_{newest},code=compute_{newest}"]


def version() -> str:
  """Reads the version without importing the package."""
  text = (ROOT / "chibijax" / "__init__.py").read_text(encoding="utf-8")
  return re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE).group(1)


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
  package_data={"chibijax": ["**/*.so"]},
  install_requires=INSTALL_REQUIRES,
  extras_require=EXTRAS_REQUIRE,
  entry_points={"console_scripts": ["chibijax = chibijax.apps.cli:main"]},
  ext_modules=native_extensions(),
  cmdclass={"build_ext": BuildNative},
)
