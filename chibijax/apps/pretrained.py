"""Trained networks without their training: to keep, to share, to load again.

A folder holds three files:

  model.safetensors  the networks that inference needs, averaged where the
                     training kept averages; names are NETWORK/LAYER/…; config
                     and step are in its header too, so that the file alone
                     can be loaded
  config.json        what the networks are: task, step, the training's config
  README.md          the model card

Weights are read from safetensors alone, which hold numbers and nothing that
could run. Names of folders on the training's machine are left out.
"""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
import safetensors
from jaxtyping import Array, Shaped
from ml_collections import ConfigDict
from safetensors.numpy import save as save_safetensors

from chibijax import __version__
from chibijax.apps import model_card, pictures
from chibijax.core import checkpoint, workdir
from chibijax.core.types import Params
from chibijax.errors import UserError

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
_FORMAT = "chibijax"
# Networks that only training needs begin with one of these.
_TRAINING_ONLY = ("disc", "sampler", "probe")
_FIELDS = {"config": dict, "step": int, "metrics": dict}


@dataclasses.dataclass(frozen=True)
class Pretrained:
  """Networks and what they are.

  Attributes:
    config: the training's config.
    params: parameters by network name, ready for the task's inference.
    step: how long they were trained.
    source: where they came from, in words.
    metrics: what `metrics.json` of the training says, or {}.
  """

  config: ConfigDict
  params: dict[str, Params]
  step: int
  source: str
  metrics: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def load(path: str | pathlib.Path) -> Pretrained:
  """Reads networks from wherever they are.

  Args:
    path: the workdir of a training (its newest checkpoint), a folder that
      `save_pretrained` wrote, or a safetensors file of such a folder.

  Returns:
    The networks.

  Raises:
    UserError: if there are none, or they cannot be read.
  """
  path = pathlib.Path(path)
  if path.is_file() or (path / WEIGHTS).is_file():
    return from_pretrained(path)
  return from_workdir(path)


def from_workdir(run: str | pathlib.Path) -> Pretrained:
  """Reads the newest checkpoint of a training.

  Args:
    run: the workdir.

  Returns:
    The networks, averaged ones where there are such.

  Raises:
    UserError: if the folder holds no run, or no checkpoint.
  """
  config = workdir.read_config(run)
  params, ema, step = checkpoint.load_params(run)
  metrics = {}
  path = pathlib.Path(run) / "metrics.json"
  try:
    if path.is_file():
      metrics = json.loads(path.read_text(encoding="utf-8"))
  except (OSError, ValueError) as error:
    raise UserError(f"{path} cannot be read ({error}).") from error
  return Pretrained(config, {**params, **ema}, step, f"{run}", metrics)


def from_pretrained(path: str | pathlib.Path) -> Pretrained:
  """Reads what `save_pretrained` wrote.

  Args:
    path: the folder, or the safetensors file alone.

  Returns:
    The networks.

  Raises:
    UserError: if a file is missing, damaged, or not of this program.
  """
  path = pathlib.Path(path)
  described = _described(path)
  weights = path if path.is_file() else path / WEIGHTS
  try:
    with safetensors.safe_open(weights, "numpy") as file:
      flat = {n: jnp.asarray(file.get_tensor(n)) for n in file.keys()}
  except (OSError, safetensors.SafetensorError) as error:
    raise UserError(f"{weights} cannot be read ({error}).") from error
  return Pretrained(
    config=workdir.config_from(described["config"]),
    params=_nested(flat),
    step=int(described["step"]),
    source=f"{path}",
    metrics=dict(described["metrics"]),
  )


def read_config(path: str | pathlib.Path) -> ConfigDict:
  """Reads only what networks are: the training's config.

  Args:
    path: as for `load`.

  Returns:
    The config.

  Raises:
    UserError: if it cannot be read.
  """
  path = pathlib.Path(path)
  if path.is_file() or (path / WEIGHTS).is_file():
    return workdir.config_from(_described(path)["config"])
  return workdir.read_config(path)


def save_pretrained(folder: str | pathlib.Path, model: Pretrained) -> None:
  """Writes networks as a folder: weights, config and model card.

  Args:
    folder: made when absent; its three files are replaced.
    model: from `load`.

  Raises:
    UserError: if the folder is a training's, or cannot be written.
  """
  folder = pathlib.Path(folder)
  if (folder / checkpoint.FOLDER).exists():
    raise UserError(f"{folder} is a training's folder; give another one.")
  described = _describe(model)
  save_file(folder / WEIGHTS, model)
  text = json.dumps(described, indent=2) + "\n"
  pictures.write(folder / CONFIG, text.encode())
  card = model_card.write(described, networks(model))
  pictures.write(folder / CARD, card.encode())


def save_file(path: str | pathlib.Path, model: Pretrained) -> None:
  """Writes networks as one safetensors file that says what they are.

  Args:
    path: its name.
    model: from `load`.

  Raises:
    UserError: if it cannot be written.
  """
  header = {"format": _FORMAT, "config": json.dumps(_describe(model))}
  pictures.write(pathlib.Path(path), save_safetensors(flatten(model), header))


def push(folder: str | pathlib.Path, repository: str, *, private: bool) -> str:
  """Uploads a folder that `save_pretrained` wrote to the Hugging Face hub.

  Args:
    folder: the folder.
    repository: "owner/name"; made when absent.
    private: whether a new one is hidden from others.

  Returns:
    Its address.

  Raises:
    UserError: if `huggingface_hub` is missing, the folder is none of ours, or
      the hub refuses.
  """
  from_pretrained(folder)
  try:
    import huggingface_hub
  except ImportError as error:
    raise UserError(
      "Publishing needs the package huggingface_hub: pip install "
      "'chibijax[hub]'."
    ) from error
  api = huggingface_hub.HfApi()
  try:
    url = api.create_repo(repository, private=private, exist_ok=True)
    api.upload_folder(
      repo_id=repository,
      folder_path=str(folder),
      allow_patterns=[WEIGHTS, CONFIG, CARD],
    )
  except Exception as error:  # The client raises a dozen kinds.
    raise UserError(
      f"{repository} could not be published ({error})."
    ) from error
  return str(url)


def flatten(model: Pretrained) -> dict[str, Shaped[np.ndarray, "..."]]:
  """The arrays that inference needs, by the names they are stored under.

  Args:
    model: from `load`.

  Returns:
    Arrays by NETWORK/LAYER/…; a slash within a name is written %2F.
  """
  unused = _TRAINING_ONLY
  if model.config.get("model", {}).get("name") != "adain":
    # Of the other tasks only the losses look at features.
    unused += ("features",)
  waiting = [
    (_escaped(name), network)
    for name, network in model.params.items()
    if not name.startswith(unused)
  ]
  flat: dict[str, np.ndarray] = {}
  for name, value in waiting:
    if isinstance(value, Mapping):
      waiting += [
        (f"{name}/{_escaped(k)}", inner) for k, inner in value.items()
      ]
    else:
      flat[name] = np.array(value, order="C")
  return flat


def networks(model: Pretrained) -> dict[str, int]:
  """Parameters of each network that is kept, by name."""
  counts: dict[str, int] = {}
  for name, array in flatten(model).items():
    network = name.partition("/")[0]
    counts[network] = counts.get(network, 0) + array.size
  return counts


def _escaped(name: str) -> str:
  return str(name).replace("%", "%25").replace("/", "%2F")


def _plain(name: str) -> str:
  return name.replace("%2F", "/").replace("%25", "%")


def _describe(model: Pretrained) -> dict[str, Any]:
  config = json.loads(model.config.to_json_best_effort())
  return {
    "format": _FORMAT,
    "version": __version__,
    "task": config["task"],
    "step": model.step,
    "metrics": _without_folders(dict(model.metrics)),
    "config": _without_folders(config),
  }


def _without_folders(value: Any) -> Any:
  """Keeps the last part of each path: the others are nobody's business."""
  if isinstance(value, dict):
    return {key: _without_folders(inner) for key, inner in value.items()}
  if isinstance(value, list):
    return [_without_folders(inner) for inner in value]
  if isinstance(value, str):
    return " ".join(
      pathlib.PurePath(word).name if word.startswith(("/", "~/")) else word
      for word in value.split(" ")
    )
  return value


def _described(path: pathlib.Path) -> dict[str, Any]:
  """What an exported folder or file says of its networks."""
  try:
    if path.is_dir():
      text = (path / CONFIG).read_text(encoding="utf-8")
    else:
      with safetensors.safe_open(path, "numpy") as file:
        text = (file.metadata() or {}).get("config", "null")
    described = json.loads(text)
    if described["format"] != _FORMAT:
      raise ValueError(f"its format is {described['format']!r}")
    for name, kind in _FIELDS.items():
      if not isinstance(described[name], kind):
        raise ValueError(f"{name} is {described[name]!r}")
  except (
    *(OSError, ValueError, KeyError, TypeError),
    safetensors.SafetensorError,
  ) as error:
    raise UserError(
      f"{path} does not say what its networks are ({error}); expected a "
      "folder or .safetensors that chibijax export wrote."
    ) from error
  return described


def _nested(flat: dict[str, Array]) -> dict[str, Any]:
  tree: dict[str, Any] = {}
  for name, array in flat.items():
    *path, last = map(_plain, name.split("/"))
    place = tree
    for part in path:
      place = place.setdefault(part, {})
      if not isinstance(place, dict):
        raise UserError(f"The weights have {name!r} inside of a tensor.")
    place[last] = array
  return tree
