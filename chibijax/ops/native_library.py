"""Finds and loads this package's native kernels.

`setup.py` compiles each `native/NAME.cc` once per instruction set into a plain
shared library. They are optional: every operation also has a definition in
JAX, which runs where there is no library, and where `CHIBIJAX_NATIVE=0` in the
environment says so when a function is traced.
"""

import ctypes
import functools
import os
import pathlib

import jax

# Best first, with the names /proc/cpuinfo gives to what each one needs.
_INSTRUCTION_SETS = (
  ("avx512", {"avx512f", "avx512vl", "avx2", "fma"}),
  ("avx2", {"avx2", "fma"}),
  ("generic", set()),
)


def is_wanted() -> bool:
  """Whether native code is used where it is there."""
  return os.environ.get("CHIBIJAX_NATIVE", "1") != "0"


def register(
  library: ctypes.CDLL,
  prefix: str,
  operations: tuple[str, ...],
  platform: str = "cpu",
) -> None:
  """Makes a library's handlers known to JAX by their symbols.

  Args:
    library: the library.
    prefix: of its symbols, as in `PREFIX_OPERATION`.
    operations: names of its operations.
    platform: of `jax.ffi.register_ffi_target`.
  """
  for name in operations:
    symbol = f"{prefix}_{name}"
    handler = jax.ffi.pycapsule(getattr(library, symbol))
    jax.ffi.register_ffi_target(symbol, handler, platform=platform)


@functools.cache
def load(folder: str, name: str) -> ctypes.CDLL | None:
  """Loads the best build of a library that this machine can run.

  Args:
    folder: directory of the libraries.
    name: the source's name, as in `libNAME_avx2.so`.

  Returns:
    The library, or None when there is none or none loads.
  """
  flags = _cpu_flags()
  for suffix, needs in _INSTRUCTION_SETS:
    path = pathlib.Path(folder) / f"lib{name}_{suffix}.so"
    if needs <= flags and path.is_file():
      try:
        return ctypes.CDLL(str(path))
      except OSError:  # built for another system: try the next
        continue
  return None


def _cpu_flags() -> set[str]:
  """Instruction sets of this CPU as Linux names them; empty elsewhere."""
  try:
    text = pathlib.Path("/proc/cpuinfo").read_text()
  except OSError:
    return set()
  for line in text.splitlines():
    if line.startswith("flags"):
      return set(line.partition(":")[2].split())
  return set()
