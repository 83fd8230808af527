"""nvcc accepts the CUDA kernels."""

import ctypes
import importlib
import re
import subprocess

import jax
import pytest

from chibijax.ops.splat import ffi
from tests.ops.splat import emulated_cuda


# CI's installation builds it as well.
@pytest.mark.slow
def test_nvcc_builds_a_library_that_loads_without_a_gpu(tmp_path, monkeypatch):
  pytest.importorskip("setuptools")
  package_setup = importlib.import_module("setup")
  nvcc = package_setup.find_nvcc()
  if nvcc is None:
    pytest.skip("there is no nvcc")
  monkeypatch.setenv("CHIBIJAX_CUDA_ARCHS", "90")
  target = tmp_path / "libsplat_cuda.so"
  command = package_setup.compiler_command(cuda=True)
  command += ["-Xptxas", "-v", "-isystem", jax.ffi.include_dir()]
  command += [str(emulated_cuda.NATIVE / "splat_cuda.cu"), "-o", str(target)]
  done = subprocess.run(command, capture_output=True, text=True, check=False)
  assert done.returncode == 0, done.stderr
  # Two registers, outside of the loop over Gaussians.
  spilled = re.findall(r"(\d+) bytes spill stores", done.stderr)
  assert len(spilled) > 10 and max(map(int, spilled)) <= 8
  library = ctypes.CDLL(str(target))
  for name in ffi._OPERATIONS:
    assert getattr(library, f"chibijax_splat_{name}")
