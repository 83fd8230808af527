"""The folder of one run: whose it is, and what was run in it.

WORKDIR/config.json    the config; from the first checkpoint on it decides
                       whose folder this is
WORKDIR/run.json       overrides, versions, devices and git revision of
                       each start, newest last
WORKDIR/checkpoints/   see core.checkpoint
WORKDIR/metrics.jsonl  one line a logged step or evaluation
WORKDIR/samples/       picture grids
WORKDIR/parameters.txt names, shapes and sizes of all parameters
"""

import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import subprocess
import sys
from typing import Any

import jax
from ml_collections import ConfigDict

from chibijax.core.checkpoint import FOLDER
from chibijax.errors import UserError

_PACKAGES = (
  "chibijax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain",
  "numpy",
)  # fmt: skip


def open_workdir(
  workdir: str | pathlib.Path,
  config: ConfigDict,
  overrides: dict[str, Any] | None = None,
  *,
  write: bool = True,
) -> pathlib.Path:
  """Makes or enters a run's folder and records the run.

  Args:
    workdir: the folder; made when absent.
    config: the whole config. Its field `free`, a tuple of dotted names, says
      which fields may differ between two starts of a run because they do not
      change what is computed (how often to log, number of workers).
    overrides: what the command line changed, for the record.
    write: whether this process writes the files.

  Returns:
    The folder's absolute path.

  Raises:
    UserError: if the folder belongs to another config, is not writable, or is
      not a folder. Without a checkpoint there is nothing to lose: the config
      then replaces the former one, so that a mistake in it can be mended.
  """
  folder = pathlib.Path(workdir).absolute()
  saved = folder / "config.json"
  current = json.loads(config.to_json_best_effort())
  try:
    if saved.is_file() and _has_checkpoint(folder):
      _check_same(folder, json.loads(saved.read_text()), current)
    elif write:
      (folder / "samples").mkdir(parents=True, exist_ok=True)
      write_text(saved, json.dumps(current, indent=2) + "\n")
    if write:
      record = folder / "run.json"
      runs = json.loads(record.read_text()) if record.is_file() else []
      runs.append(_describe_run(overrides or {}))
      write_text(record, json.dumps(runs, indent=2) + "\n")
  except json.JSONDecodeError as error:
    raise UserError(
      f"{folder} has a config.json or run.json that is not JSON ({error}); "
      "choose another --workdir."
    ) from error
  except OSError as error:
    raise UserError(f"--workdir={workdir} cannot be used: {error}.") from error
  return folder


def read_config(workdir: str | pathlib.Path) -> ConfigDict:
  """Reads the config that a run was started with.

  Args:
    workdir: the run's folder.

  Returns:
    The config; tuples come back as tuples.

  Raises:
    UserError: if the folder holds no run.
  """
  path = pathlib.Path(workdir) / "config.json"
  try:
    saved = json.loads(path.read_text())
    if not isinstance(saved, dict):
      raise ValueError("it holds no config")
    return config_from(saved)
  except FileNotFoundError as error:
    raise UserError(
      f"{workdir} holds no run (no config.json); give the --workdir of a "
      "training."
    ) from error
  except (OSError, ValueError) as error:  # Neither JSON nor text: the latter.
    raise UserError(f"{path} cannot be read: {error}.") from error


def config_from(saved: dict[str, Any]) -> ConfigDict:
  """Makes a config of what JSON kept of it.

  Args:
    saved: its dicts, lists and plain values.

  Returns:
    The config; lists come back as the tuples they were.
  """
  return ConfigDict(_tuples(saved))


def write_text(path: pathlib.Path, text: str) -> None:
  """Writes a file in UTF-8 as `write_bytes` does."""
  write_bytes(path, text.encode("utf-8"))


def write_bytes(path: pathlib.Path, data: bytes) -> None:
  """Writes a file under a temporary name, then renames it."""
  temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
  try:
    temporary.write_bytes(data)
    temporary.replace(path)
  finally:
    temporary.unlink(missing_ok=True)


def _tuples(value: Any) -> Any:
  """JSON has only lists; configs have only tuples."""
  if isinstance(value, dict):
    return {k: _tuples(v) for k, v in value.items()}
  return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _has_checkpoint(folder: pathlib.Path) -> bool:
  return any(p.name.isdigit() for p in (folder / FOLDER).glob("*"))


def _flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
  flat = {}
  for key, value in tree.items():
    if isinstance(value, dict):
      flat.update(_flatten(value, f"{prefix}{key}."))
    else:
      flat[prefix + key] = value
  return flat


def _check_same(
  folder: pathlib.Path, there: dict[str, Any], here: dict[str, Any]
) -> None:
  there_flat, here_flat = _flatten(there), _flatten(here)
  free = set(here.get("free", ())) | {"free"}
  different = [
    f"{name} is {there_flat.get(name)!r} there and {here_flat.get(name)!r} here"
    for name in sorted(there_flat.keys() | here_flat.keys())
    if name not in free and there_flat.get(name) != here_flat.get(name)
  ]
  if different:
    shown = "; ".join(different[:3])
    more = f"; and {len(different) - 3} more" if len(different) > 3 else ""
    raise UserError(
      f"{folder} belongs to a run with another config ({shown}{more}); choose "
      "another --workdir, or the same config to resume."
    )


def _describe_run(overrides: dict[str, Any]) -> dict[str, Any]:
  versions = {"python": platform.python_version()}
  for name in _PACKAGES:
    try:
      versions[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
      versions[name] = "not installed"
  return {
    "started": datetime.datetime.now(datetime.UTC).isoformat("T", "seconds"),
    "command": sys.argv,
    "overrides": {k: repr(v) for k, v in overrides.items()},
    "versions": versions,
    "git": _git_revision(),
    "devices": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
    "processes": jax.process_count(),
  }


def _git_revision() -> str:
  """The checkout's revision, with `+changes` when it has any."""
  here = pathlib.Path(__file__).parent
  try:
    call = ["git", "describe", "--always", "--abbrev=40", "--dirty=+changes"]
    result = subprocess.run(
      call, cwd=here, capture_output=True, text=True, timeout=10, check=True
    )
  except (OSError, subprocess.SubprocessError):
    return "not a git checkout"
  return result.stdout.strip()
