"""How every test runs: 4 fake CPU devices, shape checks on, strict promotion.

The settings below must be made before JAX starts its backend and before any
module of the package is imported, so they stand at the top of this file.
"""

import atexit
import gc
import os
import pathlib
import sys
import tempfile
import traceback
from collections.abc import Iterator

# Eight threads for four devices: with fewer, XLA:CPU's collectives can wait for
# each other forever (each of the devices' programs holds a thread).
os.environ.setdefault("NPROC", "8")

# One thread each for NumPy's matrix products: tests run side by side, and
# OpenBLAS's threads wait for each other in a loop.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# Most programs run a few times on a few pixels: what LLVM's costly passes take
# to compile them, half of the time, they do not give back. XLA's passes stay.
# In the environment, because some tests start other processes.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")

import flax.struct
import jax
import jaxtyping
import numpy as np
import pytest
from absl import flags

DEVICES = 4
ROOT = pathlib.Path(__file__).resolve().parent.parent

jax.config.update("jax_num_cpu_devices", DEVICES)
jax.config.update("jax_numpy_rank_promotion", "raise")
# Many tests train the same small model: it is compiled once a session. A folder
# of this process's own, because a writable cache must not be shared.
_CACHE = tempfile.TemporaryDirectory(prefix="chibijax-compiled-")
atexit.register(_CACHE.cleanup)
jax.config.update("jax_compilation_cache_dir", _CACHE.name)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
# Grain's worker processes refuse to start before absl flags are parsed.
flags.FLAGS.mark_as_parsed()
jaxtyping.install_import_hook("chibijax", "beartype.beartype")
# Fields of a pytree hold arrays, but also shardings, shapes or None: JAX builds
# the class anew around whatever its leaves became.
flax.struct.PyTreeNode.__no_type_check__ = True


# After pytest's own, whose hook for exceptions that nobody can catch it wraps.
@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
  """Runs on the CPU unless GPU tests are asked for (`-m gpu`)."""
  report = sys.unraisablehook
  sys.unraisablehook = lambda u: None if _is_abandoned_read(u) else report(u)
  if "gpu" not in config.option.markexpr.replace("not gpu", ""):
    jax.config.update("jax_platforms", "cpu")
  else:
    os.environ.pop("JAX_DISABLE_MOST_OPTIMIZATIONS")
    jax.config.update("jax_disable_most_optimizations", False)


def _is_abandoned_read(unraisable: "sys.UnraisableHookArgs") -> bool:
  """Whether a read of a damaged checkpoint complains that it was given up.

  Orbax stops at the first array that cannot be read and closes its event loop.
  The other reads end later, in whichever test runs then: their coroutines when
  they are collected, TensorStore's callbacks when they find the loop closed.
  """
  frames = traceback.extract_tb(unraisable.exc_traceback)
  return str(unraisable.exc_value) == "Event loop is closed" or any(
    "orbax" in frame.filename for frame in frames
  )


def pytest_runtest_setup(item: pytest.Item) -> None:
  """Skips GPU tests where there is no GPU."""
  if item.get_closest_marker("gpu") and jax.default_backend() != "gpu":
    pytest.skip(f"needs a GPU; JAX's backend is {jax.default_backend()}")


@pytest.fixture(scope="module", autouse=True)
def forgotten_programs() -> Iterator[None]:
  """Drops what a file compiled: kept, it comes to 4 GiB in each process."""
  yield
  jax.clear_caches()
  gc.collect()


@pytest.fixture(scope="session")
def shared_data() -> pathlib.Path:
  """The folder of shared photos, chibis and weights, or a skip."""
  given = os.environ.get("CHIBIJAX_SHARED")
  path = pathlib.Path(given) if given else ROOT.parent / "shared" / "data"
  if not path.is_dir():
    pytest.skip(f"no shared data: {path} is missing (set CHIBIJAX_SHARED)")
  return path


@pytest.fixture(scope="session")
def astronaut() -> np.ndarray:
  """Scikit-image's public-domain portrait, 512 px, uint8 [512, 512, 3]."""
  data = pytest.importorskip("skimage.data", reason="needs scikit-image")
  return data.astronaut()


@pytest.fixture(scope="session")
def mtcnn_detector() -> object:
  """MTCNN with its weights, or a skip."""
  pytest.importorskip("lz4.frame", reason="needs lz4 to read the weights")
  # Not at the top: modules of the package come after the import hook.
  from chibijax.faces import detect, mtcnn_weights

  if mtcnn_weights.folder() is None:
    pytest.skip("the mtcnn package, which carries the weights, is missing")
  return detect.make("mtcnn")
