"""Runs the rasterizer's tests by each implementation of it."""

import jax
import pytest

from chibijax.ops.splat import ffi, reference


@pytest.fixture(
  params=["reference", "cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
)
def stages(request, monkeypatch):
  """The module whose `project` and `composite` are tested.

  `rasterize` uses the same implementation.
  """
  if request.param == "reference":
    monkeypatch.setenv("CHIBIJAX_NATIVE", "0")
    return reference
  if not ffi.available(request.param):
    pytest.skip(f"the native library for {request.param} is not built")
  if request.param == "cpu" and jax.default_backend() != "cpu":
    pytest.skip("runs on a CPU only")
  return ffi


@pytest.fixture(autouse=True)
def quickest(monkeypatch):
  """Without a native library the definition is meant, and no warning of it."""
  if not any(map(ffi.available, ("cpu", "cuda"))):
    monkeypatch.setenv("CHIBIJAX_NATIVE", "0")
