"""A plugin: `pytest -p tests.ops.splat.emulated_everywhere tests/ops/splat`.

The emulated CUDA kernels take the place of the CPU's in all tests.
"""

import pathlib
import tempfile

import pytest


@pytest.fixture(scope="session", autouse=True)
def emulated_everywhere():
  """Imports late: conftest.py must have set JAX up."""
  from chibijax.ops.splat import ffi
  from tests.ops.splat import emulated_cuda

  with (
    tempfile.TemporaryDirectory() as folder,
    emulated_cuda.installed(),
    pytest.MonkeyPatch.context() as patch,
  ):
    emulated_cuda.register(emulated_cuda.build(pathlib.Path(folder)))
    patch.setattr(ffi, "available", lambda platform="cpu": True)
    yield
