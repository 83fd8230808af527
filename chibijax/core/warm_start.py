"""A training that starts from the networks of another one.

`config.init_from` names the other's workdir. Its config becomes part of the new
run's, as `config.source`, so that the new run's folder tells by itself what its
networks are; the weights are read once, before the first step.
"""

import json
import pathlib
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from chibijax.core import checkpoint, workdir
from chibijax.core.types import Params, TrainState
from chibijax.errors import UserError


def resolve(config: ConfigDict, folder: str | pathlib.Path) -> ConfigDict:
  """Adds the config of the run that a training starts from.

  Args:
    config: the experiment; `init_from` may be missing or "".
    folder: the new run's workdir. Where it has begun already, the other run is
      no longer needed.

  Returns:
    The config itself, or a copy with `source`.

  Raises:
    UserError: if `init_from` holds no run.
  """
  run = config.get("init_from", "")
  if not run:
    return config
  source = _begun(pathlib.Path(folder), run) or workdir.read_config(run)
  config = config.copy_and_resolve_references()
  with config.unlocked():
    config.source = source
  return config


def networks(config: ConfigDict) -> tuple[dict[str, Params], dict[str, Params]]:
  """Reads the newest checkpoint of `init_from`, onto the host.

  Args:
    config: an experiment with `init_from`.

  Returns:
    Parameters and averaged parameters by network name, as NumPy arrays.

  Raises:
    UserError: if there is no checkpoint or it is damaged.
  """
  params, ema, _ = checkpoint.load_params(config.init_from)
  return jax.tree.map(np.asarray, (params, ema))


def adopt(
  state: TrainState, params: dict[str, Params], ema: dict[str, Params]
) -> TrainState:
  """Puts another run's networks in the place of their namesakes.

  What a task does that has no `adopt` of its own. Optimisers start anew.

  Args:
    state: a first state.
    params: parameters by network name.
    ema: averaged ones; the new average starts from them, or from `params`.

  Returns:
    The state with the networks that both have.

  Raises:
    UserError: if they share none, or one has other sizes.
  """
  shared = sorted(state.params.keys() & params.keys())
  if not shared:
    raise UserError(
      f"init_from has the networks {sorted(params)}, and this task has "
      f"{sorted(state.params)}: there is nothing to start from."
    )
  for name in shared:
    check_same(name, state.params[name], params[name])
  averaged = {k: {**params, **ema}[k] for k in state.ema if k in shared}
  return state.replace(
    params={**state.params, **{k: params[k] for k in shared}},
    ema={**state.ema, **averaged},
  )


def check_same(name: str, here: Params, there: Params) -> None:
  """Refuses a network of other layers or sizes.

  Args:
    name: the network's.
    here: its parameters in the new run.
    there: in the run that is started from.

  Raises:
    UserError: if trees or shapes differ.
  """

  def shapes(tree: Params) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(k): tuple(v.shape) for k, v in leaves}

  one, other = shapes(here), shapes(there)
  for key in sorted(one.keys() | other.keys()):
    if one.get(key) != other.get(key):
      raise UserError(
        f"The network {name!r} of init_from has {key} of shape "
        f"{other.get(key)}, expected {one.get(key)}: the networks' sizes "
        "differ."
      )


def _begun(folder: pathlib.Path, run: str) -> Any:
  """The source's config as a begun run keeps it, or None."""
  path = folder / "config.json"
  if not (folder / checkpoint.FOLDER).is_dir() or not path.is_file():
    return None
  try:
    saved = json.loads(path.read_text())
  except (OSError, json.JSONDecodeError):
    return None  # `workdir.open_workdir` says what is wrong with it.
  if saved.get("init_from") != run or not saved.get("source"):
    return None
  return workdir.config_from(saved["source"])
