"""Worker processes that load single examples for the threads of this one.

Drawing holds Python's lock from start to end, so that threads draw on one core
and keep the main thread from starting the next step. A thread that misses the
cache therefore asks a process and sleeps. Grain's own `mp_prefetch` makes whole
batches in its processes instead: each would have a cache to itself and draw
every example again, and processes would start anew at every `set_state`.

The processes import neither JAX nor Grain.
"""

import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Sequence
from concurrent import futures
from concurrent.futures import process

from chibijax.data.sources import DataError, Example, Source

# In a worker process: the sources, as the main process numbers them.
_sources: list[Source] = []


class Workers:
  """A pool of processes, started at first use, that load from some sources."""

  def __init__(self, sources: Sequence[Source], count: int) -> None:
    """Describes the pool.

    Args:
      sources: what the workers load from; must pickle.
      count: number of processes.
    """
    self._content = pickle.dumps(list(sources))
    self._count = count
    self._pool: futures.ProcessPoolExecutor | None = None
    self._lock = threading.Lock()

  def load(self, source: int, index: int) -> Example:
    """Loads one example in a worker; the calling thread sleeps.

    Args:
      source: which of the sources.
      index: which example.

    Raises:
      ImageError: as `Source.load` does.
      DataError: if the worker was killed.
    """
    try:
      return self._started().submit(_load, source, index).result()
    except process.BrokenProcessPool as error:
      raise DataError(
        "A data worker process was killed (out of memory?): set data.workers"
        " lower, or 0."
      ) from error

  def _started(self) -> futures.ProcessPoolExecutor:
    with self._lock:
      if self._pool is None:
        # Forking a process whose threads hold locks can deadlock.
        self._pool = futures.ProcessPoolExecutor(
          self._count,
          multiprocessing.get_context("spawn"),
          _start,
          (self._content,),
        )
      return self._pool

  def close(self) -> None:
    """Lets the processes finish what they are at, and go."""
    with self._lock:
      if self._pool is not None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._pool = None


def _start(content: bytes) -> None:
  """Prepares a worker process."""
  # Ctrl-C reaches every process of a terminal; the main one deals with it.
  signal.signal(signal.SIGINT, signal.SIG_IGN)
  _sources[:] = pickle.loads(content)
  threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
  """Ends a worker whose main process was killed and can say nothing."""
  parent = multiprocessing.parent_process()
  if parent is not None:
    parent.join()
    os._exit(1)


def _load(source: int, index: int) -> Example:
  """Loads one example, in a worker process."""
  return _sources[source].load(index)
