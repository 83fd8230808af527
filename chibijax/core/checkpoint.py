"""Checkpoints: the state and the data iterator, saved together (Orbax).

Each step's folder has three items: `params` (parameters and their averages,
all that is needed to use a model), `state` (the rest of the `TrainState`) and
`data` (the iterator's position, the same on every process). Orbax writes to a
temporary name and renames, so a folder with a plain number is complete.
"""

import errno
import os
import pathlib
import shutil
from typing import Any

import jax
import orbax.checkpoint as ocp
from jaxtyping import PyTree
from orbax.checkpoint import checkpoint_managers

from chibijax.core.types import Params, TrainState
from chibijax.errors import UserError

FOLDER = "checkpoints"
_ITEMS = ("params", "state", "data")


class Checkpointer:
  """Saves and restores the checkpoints of one run.

  Saving is asynchronous: the arrays are copied, then written while training
  goes on. The state's buffers may be donated as soon as `save` returns.
  """

  def __init__(self, workdir: str | pathlib.Path, keep: int = 2):
    """Opens the run's checkpoint folder, making it when it is absent.

    Args:
      workdir: the run's folder.
      keep: how many of the latest checkpoints stay, >= 1.
    """
    self._folder = pathlib.Path(workdir).absolute() / FOLDER
    self._manager = ocp.CheckpointManager(
      self._folder,
      options=ocp.CheckpointManagerOptions(
        # The loop decides when to save; Orbax decides what to delete.
        save_decision_policy=checkpoint_managers.FixedIntervalPolicy(1),
        preservation_policy=checkpoint_managers.LatestN(keep),
        cleanup_tmp_directories=jax.process_count() == 1,
      ),
      item_names=_ITEMS,
    )

  def __enter__(self) -> "Checkpointer":
    """Returns itself."""
    return self

  def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
    """Waits for a save that is under way and closes the folder.

    Raises:
      UserError: when that save failed and nothing else was being raised.
    """
    try:
      self._manager.close()
    except Exception as failure:  # A failed save is raised here once more.
      if error is None:
        raise self._cannot_save(None, failure) from failure

  def latest(self) -> int | None:
    """The step of the newest complete checkpoint, or None."""
    return self._manager.latest_step()

  def path(self, step: int) -> pathlib.Path:
    """The folder of a step's checkpoint."""
    return self._folder / str(step)

  def last_good(self) -> str:
    """Says which complete checkpoint is the newest, for a sentence."""
    good = _complete_steps(self._folder)
    if not good:
      return "there is no checkpoint yet"
    return f"the last good checkpoint is {self.path(good[-1])}"

  def save(self, step: int, state: TrainState, data: dict[str, Any]) -> None:
    """Starts saving; does nothing when the step is already saved.

    Args:
      step: number of finished steps.
      state: the state after that step.
      data: the JSON-able state of the data iterator.

    Raises:
      UserError: when the files cannot be written (a full disk, say); the
        earlier checkpoints are untouched.
    """
    if self.latest() == step:
      return
    self._check_space(step, state)
    rest = {"step": state.step, "opt": state.opt, "extra": state.extra}
    params = {"params": state.params, "ema": state.ema}
    try:
      self._manager.save(
        step,
        args=ocp.args.Composite(
          params=ocp.args.StandardSave(params),
          state=ocp.args.StandardSave(rest),
          data=ocp.args.JsonSave(data),
        ),
        force=True,
      )
    except Exception as error:  # Orbax, tensorstore and the OS all raise here.
      raise self._cannot_save(step, error) from error

  def _check_space(self, step: int, state: TrainState) -> None:
    """Refuses a save for which the disk has no room, before it begins.

    A write that fails half-way ends in the same sentence, but Orbax's threads
    print their tracebacks first.
    """
    # Metadata and index files come on top of the arrays: a margin of 10 % and
    # 1 MiB, chosen and not measured.
    needed = 2**20 + int(1.1 * sum(x.nbytes for x in jax.tree.leaves(state)))
    free = shutil.disk_usage(self._folder).free
    if free < needed:
      raise UserError(
        f"The checkpoint of step {step} needs {needed / 2**20:,.0f} MiB and "
        f"the disk of {self._folder} has {free / 2**20:,.0f} MiB free; "
        f"{self.last_good()}."
      )

  def wait(self) -> None:
    """Waits until every save is on disk.

    Raises:
      UserError: when a save failed.
    """
    try:
      self._manager.wait_until_finished()
    except Exception as error:  # As in `save`.
      raise self._cannot_save(None, error) from error

  def _cannot_save(self, step: int | None, error: Exception) -> UserError:
    which = "" if step is None else f" of step {step}"
    return UserError(
      f"The checkpoint{which} could not be written to {self._folder} "
      f"({_brief(error)}); {self.last_good()}."
    )

  def restore(
    self, target: TrainState, step: int | None = None
  ) -> tuple[TrainState, dict[str, Any]]:
    """Restores a checkpoint onto the target's shardings.

    Args:
      target: a state of `jax.ShapeDtypeStruct` with shardings; the number of
        devices may differ from the one that saved.
      step: which checkpoint; None is the newest.

    Returns:
      The state and the data iterator's state.

    Raises:
      UserError: if there is none or it is damaged or of another model.
    """
    step = self.latest() if step is None else step
    if step is None:
      raise UserError(f"There is no checkpoint in {self._folder}.")
    rest = {"step": target.step, "opt": target.opt, "extra": target.extra}
    params = {"params": target.params, "ema": target.ema}
    try:
      items = self._manager.restore(
        step,
        args=ocp.args.Composite(
          params=ocp.args.StandardRestore(params),
          state=ocp.args.StandardRestore(rest),
          data=ocp.args.JsonRestore(),
        ),
      )
    except Exception as error:  # Damage shows as any of a dozen types.
      raise _cannot_read(self.path(step), self._folder, error) from error
    return TrainState(**items.state, **items.params), items.data


def load_params(
  workdir: str | pathlib.Path, step: int | None = None
) -> tuple[dict[str, Params], dict[str, Params], int]:
  """Reads the networks of a run, without its optimisers, to one device.

  Args:
    workdir: the run's folder.
    step: which checkpoint; None is the newest.

  Returns:
    Parameters by network name, averaged parameters by network name (empty
    when the run keeps none), and the step.

  Raises:
    UserError: if there is no checkpoint or it is damaged.
  """
  folder = pathlib.Path(workdir).absolute() / FOLDER
  steps = _complete_steps(folder)
  if not steps or (step is not None and step not in steps):
    which = "no checkpoint" if step is None else f"no checkpoint {step}"
    raise UserError(
      f"There is {which} in {folder}; train first with python -m "
      f"chibijax.main --config=… --workdir={workdir}."
    )
  step = steps[-1] if step is None else step
  device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
  path = folder / str(step) / "params"
  handler = ocp.StandardCheckpointHandler()
  try:
    target = jax.tree.map(
      lambda m: jax.ShapeDtypeStruct(m.shape, m.dtype, sharding=device),
      _item_tree(handler.metadata(path)),
    )
    tree = handler.restore(path, args=ocp.args.StandardRestore(target))
  except Exception as error:  # Damage shows as any of a dozen types.
    raise _cannot_read(folder / str(step), folder, error) from error
  return tree["params"], tree.get("ema") or {}, step


def _item_tree(metadata: Any) -> PyTree:
  """The tree of array metadata, which moved between Orbax versions."""
  item = getattr(metadata, "item_metadata", metadata)
  return getattr(item, "tree", item)


def _complete_steps(folder: pathlib.Path) -> list[int]:
  """The steps with a finished folder, in order."""
  if not folder.is_dir():
    return []
  return sorted(int(p.name) for p in folder.iterdir() if p.name.isdigit())


def _cannot_read(
  path: pathlib.Path, folder: pathlib.Path, error: Exception
) -> UserError:
  earlier = [s for s in _complete_steps(folder) if str(s) != path.name]
  way_out = (
    f"move it away to go on from step {earlier[-1]}"
    if earlier
    else "move it away to start again"
  )
  return UserError(
    f"The checkpoint {path} is damaged or belongs to another model "
    f"({_brief(error)}); {way_out}."
  )


def _brief(error: Exception) -> str:
  """The first line of an error, short enough for a sentence."""
  text = str(error).strip()
  if os.strerror(errno.ENOSPC) in text:
    return os.strerror(errno.ENOSPC)
  first = text.splitlines()[0] if text else ""
  return f"{type(error).__name__}: {first[:200]}".rstrip(": ")
