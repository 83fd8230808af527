"""The training loop, one for every task.

The order is part of the design: evaluate, save the state *and* the position in
the data, take the next batch, step, then log the *previous* step's metrics so
that the host never waits for the step it has just started. Per-step randomness
is `fold_in(key, step)`. So N steps equal k steps, a restart and N - k steps,
bit for bit.
"""

import dataclasses
import errno
import importlib
import math
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from clu import parameter_overview
from jaxtyping import Array, Bool, PRNGKeyArray, PyTree
from ml_collections import ConfigDict

from chibijax import evaluate
from chibijax.core import checkpoint, logging, parallel, warm_start, workdir
from chibijax.core.types import Batch, Metrics, Task, TrainState
from chibijax.data.pipeline import Pipeline
from chibijax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Result:
  """How a training ended.

  Attributes:
    state: the last state.
    finished: False when it was asked to stop; its checkpoint is saved.
  """

  state: TrainState
  finished: bool


def train(
  config: ConfigDict,
  folder: str | pathlib.Path,
  overrides: dict[str, Any] | None = None,
) -> Result:
  """Trains a task from its config, resuming where the folder left off.

  Args:
    config: the experiment; see configs/common.py.
    folder: the run's folder; made when absent.
    overrides: what the command line changed in the config, for the record.

  Returns:
    The last state and whether the run is complete.

  Raises:
    UserError: for what the user can mend: settings that do not fit, unreadable
      data or checkpoints, a full disk, a loss that is not finite.
  """
  config = warm_start.resolve(config, folder)
  folder = workdir.open_workdir(
    folder, config, overrides, write=parallel.is_primary()
  )
  parallel.barrier("workdir")
  placement = parallel.make_placement(
    config.parallel, config.data.batch_size, config.get("microbatches", 1)
  )
  build = importlib.import_module(f"chibijax.tasks.{config.task}").build
  task = build(config, placement.axis)
  if config.get("microbatches", 1) > 1 and not hasattr(task, "microbatches"):
    raise UserError(
      f"microbatches is {config.microbatches}, but the task {config.task!r} "
      "takes its batches whole; use 1."
    )
  data = evaluate.make_pipeline(config, "train")
  init_key, step_key = jax.random.split(jax.random.key(config.seed))
  init = placement.compile_init(lambda key: task.init(key, data.spec))

  with (
    checkpoint.Checkpointer(folder, config.keep) as checkpoints,
    data.iterator() as batches,
    parallel.StopSignal() as stop,
  ):
    start = checkpoints.latest() or 0
    if start:
      target = placement.abstract(jax.eval_shape(init, init_key))
      state, position = checkpoints.restore(target, start)
      batches.set_state(position)
    else:
      state = init(init_key)
      if config.get("init_from"):
        adopt = getattr(task, "adopt", warm_start.adopt)
        given = warm_start.networks(config)
        state = placement.compile_init(adopt)(state, *given)
    with logging.RunLog(
      folder,
      total_steps=config.total_steps,
      start=start,
      batch_size=config.data.batch_size,
      primary=parallel.is_primary(),
    ) as log:
      _describe(log, state, data.description, placement, start)
      if parallel.is_primary():
        table = parameter_overview.get_parameter_overview(
          state.params, include_stats=False
        )
        workdir.write_text(folder / "parameters.txt", table + "\n")
      loop = _Loop(
        config, folder, task, build(config), placement, data, checkpoints, log,
        placement.replicate(step_key),
      )  # fmt: skip
      try:
        return loop.run(state, batches, stop)
      except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
          raise
        raise UserError(
          f"The disk is full ({error}); {checkpoints.last_good()}."
        ) from error


@dataclasses.dataclass
class _Loop:
  """What the loop's parts share; `run` is the loop itself."""

  config: ConfigDict
  folder: pathlib.Path
  task: Task
  # The same task for evaluations, which always see the global view.
  judge: Task
  placement: parallel.Placement
  data: Pipeline
  checkpoints: checkpoint.Checkpointer
  log: logging.RunLog
  key: PRNGKeyArray
  # The metrics of the step that may still be running.
  pending: tuple[int, Metrics] | None = None
  # Seconds waited for data since the last log line, which was at `began`.
  waited: float = 0.0
  began: float = 0.0

  def run(
    self, state: TrainState, batches: Any, stop: parallel.StopSignal
  ) -> Result:
    config, total = self.config, self.config.total_steps
    start = int(state.step)
    if start >= total:
      self.log.say(f"Nothing to do: all {total} steps are finished.")
      return Result(state, finished=True)
    step = self._compile(state)
    evaluation = self._compile_evaluation()
    profiler = logging.ProfilerWindow(self.folder, *config.profile)
    self.began = time.monotonic()
    for done in range(start, total):
      if _due(done, config.eval_every):
        evaluation(state, done)
      if _due(done, config.save_every) and done > start:
        self._save(done, state, batches)
      profiler.update(done, state.step)
      batch = self._next(batches)
      state, metrics = step(state, batch, self.key)
      self._flush()
      self.pending = (done + 1, metrics)
      parallel.beat()
      self.log.step()
      if done + 1 < total and stop.reached(done + 1):
        profiler.close()
        self._save(done + 1, state, batches)
        self.checkpoints.wait()
        self.log.say(
          f"Stopped as asked: step {done + 1} is saved in "
          f"{self.checkpoints.path(done + 1)}. Run the same command again to "
          "resume."
        )
        return Result(state, finished=False)
    profiler.close()
    evaluation(state, total)
    self._save(total, state, batches)
    self.checkpoints.wait()
    self.log.say(
      f"Finished {total} steps: {self.checkpoints.path(total)}; sample grids "
      f"are in {self.folder / 'samples'}."
    )
    return Result(state, finished=True)

  def _compile(self, state: TrainState) -> parallel.CompiledStep:
    def train_step(
      state: TrainState, batch: Batch, key: PRNGKeyArray
    ) -> tuple[TrainState, Metrics]:
      return self.task.train_step(
        state, batch, jax.random.fold_in(key, state.step)
      )

    began = time.monotonic()
    step = self.placement.compile_step(
      train_step, state, self.data.spec, self.key
    )
    seconds = time.monotonic() - began
    self.log.pause(seconds)
    memory = step.memory()
    text = f"Compiled the step in {seconds:.1f} s"
    if memory is not None:
      parts = ", ".join(f"{v / 2**20:,.0f} MiB {k}" for k, v in memory.items())
      text += f"; memory of a device, estimated: {parts}"
    self.log.say(text + ".")
    return step

  def _next(self, batches: Iterator[Batch]) -> Batch:
    began = time.monotonic()
    batch = next(batches)
    self.waited += time.monotonic() - began
    return self.placement.put(batch)

  def _flush(self) -> None:
    """Logs the previous step, and stops when it was not finite."""
    if self.pending is None:
      return
    step, metrics = self.pending
    self.pending = None
    values = {name: float(v) for name, v in parallel.fetch(metrics).items()}
    bad = [name for name, value in values.items() if not math.isfinite(value)]
    if bad:
      self._stop_not_finite(step, ", ".join(bad))
    if _due(step, self.config.log_every) or step == self.config.total_steps:
      elapsed = max(time.monotonic() - self.began, 1e-9)
      values["data_wait_share"] = self.waited / elapsed
      self.waited, self.began = 0.0, time.monotonic()
      self.log.scalars(step, values)

  def _save(self, step: int, state: TrainState, batches: Any) -> None:
    self._flush()
    # A finite loss can still leave parameters that are not; a checkpoint must
    # never hold any.
    if not bool(_all_finite(state.params)):
      self._stop_not_finite(step, "a parameter")
    self.checkpoints.save(step, state, batches.get_state())

  def _stop_not_finite(self, step: int, what: str) -> None:
    self.checkpoints.wait()
    raise UserError(
      f"Step {step} is not finite ({what}); {self.checkpoints.last_good()}. "
      "Lower the learning rate, clip gradients or use float32, in a new "
      "--workdir."
    )

  def _compile_evaluation(self) -> Callable[[TrainState, int], None]:
    """Makes the function that judges a state and writes what it found."""
    held_out = evaluate.make_pipeline(self.config, "eval")
    step = self.placement.compile_eval(evaluate.with_mask(self.judge.eval_step))

    def evaluation(state: TrainState, done: int) -> None:
      self._flush()
      began = time.monotonic()
      metrics, pictures = evaluate.run_eval(
        step, state, held_out.iterator(), self.key, self.placement
      )
      self.log.scalars(done, metrics, "eval")
      path = self.log.grid(done, pictures)
      if path is not None:
        self.log.say(f"[eval] sample grid: {path}")
      paused = time.monotonic() - began
      self.log.pause(paused)
      self.began += paused

    return evaluation


def _due(step: int, every: int) -> bool:
  return every > 0 and step % every == 0


@jax.jit
def _all_finite(tree: PyTree) -> Bool[Array, ""]:
  leaves = [jnp.isfinite(x).all() for x in jax.tree.leaves(tree)]
  return jnp.stack(leaves).all()


def _describe(
  log: logging.RunLog,
  state: TrainState,
  data: str,
  placement: parallel.Placement,
  start: int,
) -> None:
  """Says what is about to be trained, on what, from where."""
  for name, params in state.params.items():
    count = parameter_overview.count_parameters(params)
    log.say(f"{name}: {count:,} parameters")
  log.say(f"Data: {data}")
  devices = placement.mesh.devices
  log.say(
    f"Devices: {devices.size} x {devices.flat[0].device_kind}, "
    f"{jax.process_count()} process(es), {placement.mode}"
  )
  if start:
    log.say(f"Resuming at step {start}.")
