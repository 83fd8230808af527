"""Devices: distributed start, mesh, placement, compiled steps, preemption.

Three ways to run one step over the devices, whose batch is always sharded over
the mesh axis `data`:

* `jit` (default): on several devices the step sees one shard (`jax.shard_map`)
  and reduces through `core.types.Axis`: each gradient once, after its summands
  were added. A compiler that places the reductions itself puts one behind each
  use of a network: 40 % more bytes for CycleGAN. The state is replicated.
* `fsdp`: the step sees the global batch; large leaves of the state are split
  over the devices, and the compiler inserts what gathers and reduces them. For
  networks whose state does not fit into one device.
* `pmap`: as `jit`. JAX keeps `pmap` in maintenance mode; it is here for code
  and habits that need it, in a single process.

All give the same numbers, and tests hold them to it.
"""

import dataclasses
import inspect
import os
import pathlib
import signal
import threading
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

from chibijax.core.types import Axis, Batch
from chibijax.errors import UserError

DATA_AXIS = "data"
HEARTBEAT = "CHIBIJAX_HEARTBEAT"
_OPTIONS = {
  # A killed peer is noticed after this many seconds.
  "heartbeat_timeout_seconds": 10,
  "shutdown_timeout_seconds": 60,
  # Peers that a scheduler starts late are waited for.
  "initialization_timeout": 120,
}
MODES = ("jit", "fsdp", "pmap")
# Smaller leaves are not worth the latency of gathering them.
_MIN_SPLIT = 2**14


def initialize(
  coordinator: str | None = None,
  num_processes: int | None = None,
  process_id: int | None = None,
) -> None:
  """Joins the other processes of this run, if there are any.

  Without arguments JAX detects SLURM (inside `srun`), Open MPI, Kubernetes
  and Cloud TPU by itself; a plain single process needs nothing and starts
  nothing. Call it once, before any computation.

  Args:
    coordinator: `host:port` of process 0.
    num_processes: number of processes.
    process_id: this process, in [0, num_processes).

  Raises:
    UserError: if only some of the three are given, or the others cannot be
      reached.
  """
  explicit = (coordinator, num_processes, process_id)
  if all(value is None for value in explicit):
    if not _in_cluster():
      return
    explicit = ()
  elif any(value is None for value in explicit):
    raise UserError(
      "A distributed run needs all of coordinator, num_processes and "
      f"process_id, got {coordinator!r}, {num_processes!r}, {process_id!r}."
    )
  # Versions of JAX know different options.
  known = inspect.signature(jax.distributed.initialize).parameters
  options = {k: v for k, v in _OPTIONS.items() if k in known}
  try:
    jax.distributed.initialize(*explicit, **options)
  except (RuntimeError, ValueError, ImportError) as error:
    raise UserError(
      "The processes of this run could not find each other: "
      f"{str(error).splitlines()[0]}"
    ) from error


def beat() -> None:
  """Tells a launcher that this process gets on.

  A process that waits for a stuck one is alive to its scheduler. So the loop
  touches the file that `CHIBIJAX_HEARTBEAT` names, if it does, at each step.
  """
  if path := os.environ.get(HEARTBEAT):
    pathlib.Path(path).touch()


def _in_cluster() -> bool:
  """Whether a scheduler says that this process is one of several."""
  counts = ("SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE")
  if any(int(os.environ.get(name, "1")) > 1 for name in counts):
    # An sbatch script's own shell also has SLURM_NTASKS; only srun's children
    # have a step, and only they have peers.
    return "OMPI_COMM_WORLD_SIZE" in os.environ or (
      "SLURM_STEP_NODELIST" in os.environ
    )
  hosts = os.environ.get("TPU_WORKER_HOSTNAMES", "")
  return "," in hosts or "JOB_COMPLETION_INDEX" in os.environ


@dataclasses.dataclass(frozen=True)
class Placement:
  """Where the state and the batches live, and how a step is compiled.

  Attributes:
    mesh: all devices of the run along one axis, `data`.
    mode: one of `MODES`.
  """

  mesh: Mesh
  mode: str = "jit"

  @property
  def axis(self) -> Axis:
    """The data axis as a step compiled here sees it."""
    explicit = self.mode == "pmap" or (
      self.mode == "jit" and self.mesh.devices.size > 1
    )
    return Axis(DATA_AXIS if explicit else None)

  @property
  def replicated(self) -> NamedSharding:
    """The sharding of keys, metrics and small leaves: a copy on each device."""
    return NamedSharding(self.mesh, PartitionSpec())

  @property
  def sharded(self) -> NamedSharding:
    """The sharding of a batch: rows over the devices."""
    return NamedSharding(self.mesh, PartitionSpec(DATA_AXIS))

  def put(self, batch: Batch) -> Batch:
    """Places this process's rows of a batch on its devices.

    Args:
      batch: NumPy arrays [B / processes, ...].

    Returns:
      Global arrays [B, ...] sharded over the devices.
    """
    return jax.tree.map(
      lambda x: jax.make_array_from_process_local_data(self.sharded, x), batch
    )

  def replicate(self, tree: PyTree) -> PyTree:
    """Places a copy of each leaf on each device, also of other processes."""
    return jax.jit(lambda x: x, out_shardings=self.replicated)(tree)

  def abstract(self, state: PyTree) -> PyTree:
    """Describes a state's leaves as `jax.ShapeDtypeStruct` with shardings."""
    return _described(state, self.sharding)

  def sharding(self, leaf: Any) -> NamedSharding:
    """Where a leaf of the state lives.

    Args:
      leaf: an array or its `jax.ShapeDtypeStruct`.

    Returns:
      Under "fsdp", for a leaf of at least 2**14 values, a split of its longest
      axis that the devices divide; replicated otherwise.
    """
    count = self.mesh.devices.size
    if self.mode != "fsdp" or leaf.size < _MIN_SPLIT:
      return self.replicated
    sizes = [n if n % count == 0 else 0 for n in leaf.shape]
    if not any(sizes):
      return self.replicated
    axes = [None] * len(sizes)
    axes[sizes.index(max(sizes))] = DATA_AXIS
    return NamedSharding(self.mesh, PartitionSpec(*axes))

  def shardings(self, state: PyTree) -> PyTree:
    """The sharding of each leaf of a state, concrete or abstract."""
    return jax.tree.map(self.sharding, state)

  def compile_init(self, init: Callable[..., PyTree]) -> Callable[..., PyTree]:
    """Compiles a function whose results are born where they live."""
    if self.mode != "fsdp":
      return jax.jit(init, out_shardings=self.replicated)

    def run(*args: Any) -> PyTree:
      out = self.shardings(jax.eval_shape(init, *args))
      return jax.jit(init, out_shardings=out)(*args)

    return run

  def compile_step(
    self, step: Callable[..., PyTree], state: PyTree, spec: Batch, key: Any
  ) -> "CompiledStep":
    """Compiles a training step ahead of its first call.

    Unless under `pmap`, the state is donated: its buffers are reused for the
    next one.

    Args:
      step: `(state, batch, key) -> (state, metrics)`.
      state: a state, concrete or abstract.
      spec: the global batch as `jax.ShapeDtypeStruct`.
      key: a PRNG key, concrete or abstract.

    Returns:
      The compiled step.
    """
    batch = _described(spec, lambda _: self.sharded)
    args = (self.abstract(state), batch, self.abstract(key))
    if self.mode != "pmap":
      out = (self.shardings(state), self.replicated)
      if self.axis.name is not None:
        rows, whole = PartitionSpec(DATA_AXIS), PartitionSpec()
        step = jax.shard_map(
          step,
          mesh=self.mesh,
          in_specs=(whole, rows, whole),
          out_specs=whole,
          # The native kernels' platform choice cannot be checked.
          check_vma=False,
        )
      function = jax.jit(step, donate_argnums=0, out_shardings=out)
      return CompiledStep(function.lower(*args).compile(), self)
    # `pmap` wants the shard axis in front and hands back unreplicated state;
    # a jitted shell keeps both out of the caller's sight.
    devices = list(self.mesh.devices.flat)
    function = jax.pmap(
      step, DATA_AXIS, in_axes=(None, 0, None), out_axes=None, devices=devices
    )

    def shell(state: PyTree, batch: Batch, key: Any) -> PyTree:
      rows = jax.tree.map(
        lambda x: x.reshape(len(devices), -1, *x.shape[1:]), batch
      )
      return function(state, rows, key)

    return CompiledStep(shell, self)

  def compile_eval(self, step: Callable[..., PyTree]) -> Callable[..., PyTree]:
    """Compiles `(state, batch, key) -> dict` with results on every host."""
    return jax.jit(step, out_shardings=self.replicated)


def _described(tree: PyTree, sharding: Callable[..., NamedSharding]) -> PyTree:
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding(x)), tree
  )


@dataclasses.dataclass(frozen=True)
class CompiledStep:
  """A step that cannot recompile: another shape or dtype is an error.

  Attributes:
    function: the executable.
    placement: where its arguments live.
  """

  function: Any
  placement: Placement

  def __call__(self, state: PyTree, batch: Batch, key: Any) -> PyTree:
    """Runs the step."""
    return self.function(state, batch, key)

  def text(self) -> str:
    """The compiled program, for counting what the devices exchange."""
    return self.function.as_text()

  def memory(self) -> dict[str, int] | None:
    """Estimates the memory of one device, in bytes.

    Returns:
      `state and batch`, `temporary` and `total`, or None where the backend
      does not say (pmap, some platforms).
    """
    analysis = getattr(self.function, "memory_analysis", lambda: None)()
    if analysis is None:
      return None
    arguments = analysis.argument_size_in_bytes
    # Donated outputs live in their arguments' buffers.
    outputs = analysis.output_size_in_bytes - analysis.alias_size_in_bytes
    temporary = analysis.temp_size_in_bytes + max(outputs, 0)
    return {
      "state and batch": arguments,
      "temporary": temporary,
      "total": arguments + temporary,
    }


def make_placement(
  mode: str, batch_size: int, microbatches: int = 1
) -> Placement:
  """Builds the mesh of all devices and checks that a batch divides over it.

  Args:
    mode: one of `MODES`.
    batch_size: size of the global batch.
    microbatches: parts that each device makes of its share.

  Returns:
    The placement.

  Raises:
    UserError: for another mode, `pmap` in several processes, or a batch size
      that is not a multiple of the number of devices times that of the parts.
  """
  if mode not in MODES:
    raise UserError(
      f"parallel is {mode!r}, expected one of {', '.join(MODES)}."
    )
  if mode == "pmap" and jax.process_count() > 1:
    raise UserError(
      "parallel='pmap' runs in a single process; use 'jit' for several."
    )
  devices = jax.device_count()
  if batch_size % devices:
    raise UserError(
      f"The batch size {batch_size} does not divide over {devices} devices; "
      f"use a multiple of {devices} or show fewer devices to JAX."
    )
  if batch_size % (devices * microbatches):
    raise UserError(
      f"{microbatches} microbatches do not divide the "
      f"{batch_size // devices} examples that a device has of a batch."
    )
  # Named explicitly: newer versions of JAX default to Explicit axes.
  mesh = jax.make_mesh((devices,), (DATA_AXIS,), axis_types=(AxisType.Auto,))
  return Placement(mesh, mode)


class StopSignal:
  """Notices Ctrl-C and SIGTERM and lets the loop stop between two steps.

  In several processes the signal may reach only one of them; JAX's
  preemption service then agrees on one step at which all of them stop.
  A second Ctrl-C interrupts at once.
  """

  def __init__(self) -> None:
    """Prepares the watch; `with` starts it."""
    self._asked = threading.Event()
    self._previous: dict[int, Any] = {}

  def __enter__(self) -> "StopSignal":
    """Installs the handlers (only possible in the main thread)."""
    if threading.current_thread() is threading.main_thread():
      # JAX's service has its own SIGTERM handler in a distributed run.
      watched = [signal.SIGINT]
      if not jax.distributed.is_initialized():
        watched.append(signal.SIGTERM)
      for number in watched:
        self._previous[number] = signal.signal(number, self._handle)
    return self

  def __exit__(self, *_: object) -> None:
    """Puts the former handlers back."""
    for number, handler in self._previous.items():
      signal.signal(number, handler)
    self._previous.clear()

  def _handle(self, number: int, _: object) -> None:
    if number in self._previous:
      signal.signal(number, self._previous.pop(number))
    self._asked.set()
    if jax.distributed.is_initialized():
      os.kill(os.getpid(), signal.SIGTERM)

  def reached(self, step: int) -> bool:
    """Whether to stop after this step; the same answer in every process."""
    if jax.distributed.is_initialized():
      return multihost_utils.reached_preemption_sync_point(step)
    return self._asked.is_set()


def barrier(name: str) -> None:
  """Waits until every process of the run is here."""
  if jax.process_count() > 1:
    multihost_utils.sync_global_devices(name)


def is_primary() -> bool:
  """Whether this process writes the files that a run has once."""
  return jax.process_index() == 0


def fetch(tree: PyTree) -> PyTree:
  """Copies replicated results to the host as NumPy arrays."""
  return jax.tree.map(np.asarray, jax.device_get(tree))
