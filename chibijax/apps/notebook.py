"""What the notebooks in colab/ share: a start, a config, folders and pictures.

`CHIBIJAX_SMOKE=FOLDER` makes them small enough for tests: they write there,
take the `:smoke` variants and are content with a CPU.
"""

import importlib
import importlib.metadata
import os
import pathlib
from typing import Any

import jax
from absl import flags
from ml_collections import ConfigDict

from chibijax import __version__
from chibijax.errors import UserError

SMOKE = "CHIBIJAX_SMOKE"
_DRIVE = pathlib.Path("/content/drive/MyDrive")
_PACKAGES = ("jax", "jaxlib", "flax", "orbax-checkpoint", "numpy")


def begin(accelerator: str = "") -> None:
  """Prints versions and devices; call it once, before anything else.

  Args:
    accelerator: "tpu" or "gpu" where a CPU would take days, else "".

  Raises:
    UserError: if JAX does not see that accelerator.
  """
  if not flags.FLAGS.is_parsed():
    flags.FLAGS.mark_as_parsed()  # Grain's workers want it.
  print(f"chibijax {__version__}", end="  ")
  for name in _PACKAGES:
    print(f"{name} {importlib.metadata.version(name)}", end="  ")
  devices = jax.devices()
  print(f"\n{len(devices)} x {devices[0].device_kind} ({devices[0].platform})")
  if accelerator and not smoke() and devices[0].platform != accelerator:
    raise UserError(
      f"This notebook needs a {accelerator.upper()}, and JAX sees "
      f"{devices[0].platform.upper()}s: choose Runtime > Change runtime type > "
      f"{accelerator.upper()}, and run all cells again."
    )


def smoke() -> bool:
  """Whether a test runs this notebook."""
  return bool(os.environ.get(SMOKE))


def experiment(
  name: str, variant: str = "", changes: dict[str, Any] | None = None
) -> ConfigDict:
  """Makes the config of a file in configs/.

  Args:
    name: the file's name without suffix.
    variant: of the config; tests get "smoke" instead, without the changes.
    changes: values by dotted name, such as {"data.size": 128}.

  Returns:
    The config.

  Raises:
    UserError: if the checkout with configs/ is not the current folder.
  """
  try:
    module = importlib.import_module(f"configs.{name}")
  except ImportError as error:
    raise UserError(
      f"configs/{name}.py was not found; run this in the folder of chibijax's "
      f"checkout, not in {pathlib.Path.cwd()}."
    ) from error
  config = module.get_config("smoke" if smoke() else variant)
  if changes and not smoke():
    config.update_from_flattened_dict(changes)
  return config


def folder(name: str) -> pathlib.Path:
  """Where a notebook keeps a run: on Google Drive, if that is mounted.

  What lies there outlives the machine, so the next session resumes.

  Args:
    name: of the run.

  Returns:
    A folder, which is made.
  """
  base = pathlib.Path("runs")
  if smoke():
    base = pathlib.Path(os.environ[SMOKE])
  elif _DRIVE.is_dir():
    base = _DRIVE / "chibijax"
  path = base / name
  path.mkdir(parents=True, exist_ok=True)
  return path.absolute()


def show(*pictures: str | os.PathLike[str]) -> None:
  """Shows picture files under the cell, or names them outside of Jupyter.

  Args:
    pictures: PNG, JPEG, GIF or WebP files.

  Raises:
    UserError: if one is missing.
  """
  for path in map(pathlib.Path, pictures):
    if not path.is_file():
      raise UserError(f"{path} was to be shown, but is missing.")
    try:
      from IPython import display, get_ipython
    except ImportError:
      get_ipython = None
    if get_ipython is None or get_ipython() is None:
      print(path)
    else:
      display.display(display.Image(filename=str(path)))
