r"""One training step of a config: what it costs, predicted or measured.

  python -m benchmarks.step_report --config=configs/cyclegan.py:smoke \
    --workdir=runs/report --steps=20
  python -m benchmarks.step_report --config=configs/cyclegan.py \
    --workdir=runs/report --topology=v5e:2x4

Compiles the step for this process's devices, or ahead of time for a TPU that
is not there, and writes WORKDIR/step_report.json: FLOPs, memory, what the
devices send each other. With --steps it also trains that many steps and times
their parts. `launch.aot` and `launch.sweep` run it, each time in a process of
its own: a compiler may crash, and devices are chosen when JAX starts.
"""

import importlib
import importlib.util
import itertools
import json
import os
import pathlib
import resource
import sys
import time
from collections.abc import Sequence
from typing import Any

from absl import app, flags, logging
from ml_collections import ConfigDict

from benchmarks import step_parts
from chibijax.main import CONFIG, WORKDIR

TOPOLOGY = flags.DEFINE_string(
  "topology", "", "A TPU such as v5e:2x4, or nothing for what is here."
)
STEPS = flags.DEFINE_integer("steps", 0, "Steps to train and time; 0: none.")
PARTS = flags.DEFINE_bool("parts", True, "Time the parts of a step as well.")
TEXT = flags.DEFINE_bool("text", False, "Write the program to step.hlo too.")
GLOBAL_VIEW = flags.DEFINE_bool(
  "global_view", False, "Let the compiler place the reductions, to compare."
)
FILE = "step_report.json"
# Timed once each before the clock starts: allocations, caches.
WARM = 2


class Subject:
  """A config's step, placed and compiled.

  Attributes:
    config: the experiment.
    placement: where it runs.
    task: its mathematics.
    data: its training data.
    key: a PRNG key, on the devices where there are such.
    state: the first state, or its description ahead of time.
    step: the compiled step.
    seconds: of tracing and of compiling.
  """

  def __init__(self, config: ConfigDict, topology: str, global_view: bool):
    """Compiles; see the flags."""
    import jax

    from chibijax import evaluate
    from chibijax.core import parallel

    self.config = config
    if topology:
      self.placement = _placement_of(topology, config)
    else:
      self.placement = parallel.make_placement(
        config.parallel, config.data.batch_size, config.get("microbatches", 1)
      )
    axis = None if global_view else self.placement.axis
    if global_view:
      self.placement = _GlobalView(self.placement.mesh)
    self.task = step_parts.build(config, axis)
    self.data = evaluate.make_pipeline(config, "train")
    init = lambda key: self.task.init(key, self.data.spec)  # noqa: E731
    self.key = jax.random.key(config.seed)
    if topology or global_view:
      self.state = jax.eval_shape(init, self.key)
      self.key = jax.eval_shape(lambda: jax.random.key(0))
    else:
      init_key, self.key = jax.random.split(self.key)
      self.state = self.placement.compile_init(init)(init_key)
      self.key = self.placement.replicate(self.key)
    self.step, self.seconds = self.compile(self.task)

  def compile(self, task: Any) -> tuple[Any, float]:
    """Compiles a task's step for this subject's devices; also the seconds."""
    from chibijax.errors import UserError

    began = time.monotonic()
    try:
      step = self.placement.compile_step(
        step_parts.folded(task), self.state, self.data.spec, self.key
      )
    except RuntimeError as error:
      if "RESOURCE_EXHAUSTED" not in str(error):
        raise
      raise UserError(
        "The step does not fit into a device's memory: "
        f"{' '.join(str(error).split())[:300]}"
      ) from error
    return step, time.monotonic() - began


def _GlobalView(mesh: Any) -> Any:  # noqa: N802
  """A placement whose step sees the whole batch and a replicated state."""
  from chibijax.core import parallel
  from chibijax.core.types import Axis

  class View(parallel.Placement):
    axis = Axis()

  return View(mesh)


def _placement_of(topology: str, config: ConfigDict) -> Any:
  """A placement on TPUs that are not here.

  Raises:
    UserError: if libtpu does not know them, or the batch does not divide.
  """
  import jax
  import numpy as np
  from jax.experimental import topologies

  from chibijax.core import parallel
  from chibijax.errors import UserError

  options = {}
  if set(topology.partition(":")[2].split("x")) == {"1"}:
    # By itself libtpu thinks of hosts with four chips.
    options = {"chips_per_host_bounds": (1, 1, 1)}
  if importlib.util.find_spec("libtpu") is None:
    raise UserError(
      "Compiling for a TPU needs libtpu: pip install -e '.[tpu-aot]', best in "
      "an environment of its own."
    )
  try:
    found = topologies.get_topology_desc(
      platform="tpu", topology_name=topology, **options
    )
  except Exception as error:
    text = str(error).splitlines()[0]
    raise UserError(f"No TPU {topology!r} can be described: {text}") from error
  count = len(found.devices)
  if config.data.batch_size % (count * config.get("microbatches", 1)):
    raise UserError(
      f"The batch size {config.data.batch_size} does not divide over "
      f"{count} devices of {topology}."
    )
  mesh = jax.sharding.Mesh(
    np.array(found.devices).reshape(-1),
    (parallel.DATA_AXIS,),
    axis_types=(jax.sharding.AxisType.Auto,),
  )
  return parallel.Placement(mesh, config.parallel)


def describe(subject: Subject, topology: str) -> dict[str, Any]:
  """What is known without running a step."""
  import jax

  from chibijax.core import collectives, flops

  config, devices = subject.config, subject.placement.mesh.devices
  report: dict[str, Any] = {
    "kind": kind(topology, devices.flat[0].platform),
    "task": config.task,
    "model": config.model.get("name", config.task),
    "chip": devices.flat[0].device_kind,
    "topology": topology,
    "devices": int(devices.size),
    "processes": 1 if topology else jax.process_count(),
    "parallel": config.parallel,
    "microbatches": config.get("microbatches", 1),
    "precision": config.precision,
    "size": config.data.size,
    "global_batch": config.data.batch_size,
    "jax": jax.__version__,
    "compile_s": subject.seconds,
    "model_flops": flops.count(
      step_parts.folded(step_parts.build(step_parts.plain(config))),
      jax.eval_shape(lambda x: x, subject.state),
      subject.data.spec,
      jax.eval_shape(lambda: jax.random.key(0)),
    ),
    "memory": subject.step.memory(),
  }
  function = subject.step.function
  if hasattr(function, "as_text"):
    text = subject.step.text()
    report["collectives"] = collectives.count(text)
    report["custom_calls"] = sorted(custom_calls(text))
  if hasattr(function, "cost_analysis"):
    cost = function.cost_analysis() or {}
    cost = cost[0] if isinstance(cost, list) else cost
    report["xla_flops_per_device"] = cost.get("flops")
    report["xla_bytes_per_device"] = cost.get("bytes accessed")
  return report


def kind(topology: str, platform: str) -> str:
  """The label of a row: where its numbers come from."""
  if topology:
    return "aot-predicted"
  return "cpu-virtual" if platform == "cpu" else "measured"


def custom_calls(text: str) -> set[str]:
  """Names of what a compiled program calls outside the compiler."""
  mark = 'custom_call_target="'
  return {part.partition('"')[0] for part in text.split(mark)[1:]}


def measure(subject: Subject, steps: int) -> dict[str, Any]:
  """Trains and times the stages of each step, one after the other.

  The training loop overlaps them; so a second pass lets it, and its rate is
  the throughput.

  Args:
    subject: a compiled step.
    steps: how many of each.

  Returns:
    Seconds of each stage of each step, losses, and seconds a step overlapped.
  """
  import jax

  from chibijax.core import parallel

  state, times, losses = subject.state, [], []
  with subject.data.iterator() as batches:
    for i in range(WARM + steps):
      marks = [time.perf_counter()]
      batch = next(batches)
      marks.append(time.perf_counter())
      batch = jax.block_until_ready(subject.placement.put(batch))
      marks.append(time.perf_counter())
      state, metrics = subject.step(state, batch, subject.key)
      jax.block_until_ready(state.step)
      values = {k: float(v) for k, v in parallel.fetch(metrics).items()}
      marks.append(time.perf_counter())
      parallel.beat()
      losses.append({k: v for k, v in values.items() if "loss/" in k})
      if i >= WARM:
        times.append([b - a for a, b in itertools.pairwise(marks)])
    began, pending = time.perf_counter(), metrics
    for _ in range(steps):
      batch = subject.placement.put(next(batches))
      state, following = subject.step(state, batch, subject.key)
      # The loop waits like this; more steps under way at once can make virtual
      # CPU devices wait for each other forever.
      parallel.fetch(pending)
      parallel.beat()
      pending = following
    jax.block_until_ready(state.step)
    overlapped = (time.perf_counter() - began) / steps
  subject.state = state
  wait, put, step = (list(x) for x in zip(*times))
  return {
    "losses": losses,
    "wait_s": wait,
    "put_s": put,
    "step_s": step,
    "seconds_per_step": overlapped,
    "images_per_second": subject.config.data.batch_size / overlapped,
  }


def peak_memory() -> dict[str, Any]:
  """The most memory that was in use, and whose it was."""
  import jax

  stats = jax.local_devices()[0].memory_stats()
  if stats and "peak_bytes_in_use" in stats:
    return {"bytes": stats["peak_bytes_in_use"], "of": "device"}
  used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
  return {"bytes": used, "of": "process"}


def run(config: ConfigDict, folder: pathlib.Path) -> dict[str, Any]:
  """Makes the report; see the flags."""
  from chibijax.core import parallel, workdir

  if not TOPOLOGY.value:
    parallel.initialize()
  subject = Subject(config, TOPOLOGY.value, GLOBAL_VIEW.value)
  if TEXT.value:
    folder.mkdir(parents=True, exist_ok=True)
    workdir.write_text(folder / "step.hlo", subject.step.text())
  report = describe(subject, TOPOLOGY.value) | {
    "global_view": GLOBAL_VIEW.value
  }
  if STEPS.value and not (TOPOLOGY.value or GLOBAL_VIEW.value):
    report |= measure(subject, STEPS.value)
    report["peak_memory"] = peak_memory()
    if PARTS.value:
      report["parts"] = step_parts.parts(
        subject, STEPS.value, folder.absolute()
      )
  return report


def main(argv: Sequence[str]) -> None:
  """Writes the report."""
  del argv
  logging.set_verbosity(logging.WARNING)  # Orbax tells of its every step.
  if TOPOLOGY.value:
    # Before JAX starts: there is no TPU, and nobody to ask about one.
    os.environ |= {"JAX_PLATFORMS": "cpu", "TPU_SKIP_MDS_QUERY": "1"}
  from chibijax import errors
  from chibijax.core import parallel, workdir

  folder = pathlib.Path(WORKDIR.value)
  try:
    report = run(CONFIG.value, folder)
  except errors.UserError as error:
    sys.exit(f"chibijax: {error}")
  if parallel.is_primary():
    folder.mkdir(parents=True, exist_ok=True)
    workdir.write_text(folder / FILE, json.dumps(report, indent=1) + "\n")
  parallel.barrier("report")


if __name__ == "__main__":
  flags.mark_flags_as_required(["config", "workdir"])
  app.run(main)
