"""Runs the CUDA kernels on the CPU: see cuda_emulation.h beside this file."""

import contextlib
import ctypes
import pathlib
import shutil
import subprocess

import jax
import pytest

from chibijax.ops.splat import ffi

HERE = pathlib.Path(__file__).parent
NATIVE = pathlib.Path(ffi.__file__).parent / "native"


def build(folder, *flags):
  """Compiles the kernels for the emulation.

  Args:
    folder: where the library goes.
    *flags: more for the compiler.

  Returns:
    Path of the library.
  """
  compiler = shutil.which("g++")
  if compiler is None:
    pytest.skip("the emulation of CUDA needs g++")
  target = folder / "libsplat_emulated.so"
  command = [compiler, "-std=c++17", "-O1", "-fPIC", "-shared", "-Wall"]
  command += ["-Werror", "-DCHIBIJAX_CUDA_EMULATION", *flags]
  command += [f"-I{HERE}", f"-I{NATIVE}", "-isystem", jax.ffi.include_dir()]
  command += ["-x", "c++", str(NATIVE / "splat_cuda.cu"), "-o", str(target)]
  subprocess.run(command, check=True)
  return target


def register(path):
  """Registers a library's handlers under names of their own, for the CPU."""
  library = ctypes.CDLL(str(path))
  for name in ffi._OPERATIONS:
    handler = jax.ffi.pycapsule(getattr(library, f"chibijax_splat_{name}"))
    jax.ffi.register_ffi_target(f"emulated_{name}", handler, platform="cpu")


@contextlib.contextmanager
def installed():
  """Within it `rasterize` calls the emulated kernels."""
  caches = (ffi._project, ffi._composite)
  call = jax.ffi.ffi_call

  def emulated_call(target, *args, **kwargs):
    target = target.replace("chibijax_splat_", "emulated_")
    return call(target, *args, **kwargs)

  with pytest.MonkeyPatch.context() as patch:
    # The traced calls are kept per choice of platforms: forget them after.
    for cache in caches:
      cache.cache_clear()
    patch.setattr(ffi, "_platforms", lambda: ("cpu", "cuda"))
    patch.setattr(ffi.jax.ffi, "ffi_call", emulated_call)
    yield
  for cache in caches:
    cache.cache_clear()
