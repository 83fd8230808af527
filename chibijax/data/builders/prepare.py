"""Writes a data set's examples from its archives, by its builder."""

import pathlib
from collections.abc import Mapping
from typing import Any

from chibijax.data.sources import DataError

NAMES = ("celeba", "cartoon_set", "anime_faces", "danbooru")


def run(
  name: str,
  archives: str | pathlib.Path,
  data_dir: str | pathlib.Path,
  config: Any = None,
) -> tuple[str, Mapping[str, int]]:
  """Prepares a data set for `data.source_a = "tfds"`.

  Args:
    name: one of `NAMES`.
    archives: the folder of what was downloaded by hand.
    data_dir: TFDS's data directory, `data.tfds_dir`.
    config: a builder's configuration or its name, such as "100k" or a
      `chibijax.data.builders.danbooru.Choice`.

  Returns:
    The name to read it by, and how many examples each split has.

  Raises:
    DataError: if the archives are not there or not as published, there is no
      such configuration, or nothing can be written.
  """
  if name not in NAMES:
    raise DataError(f"{name!r} is none of {', '.join(NAMES)}.")
  folder = pathlib.Path(archives).expanduser()
  if not folder.is_dir() or not any(folder.iterdir()):
    raise DataError(f"{folder} is no folder with downloaded archives.")
  try:
    import tensorflow_datasets as tfds
  except ImportError as error:
    raise DataError(
      "Preparing TFDS data needs `pip install tensorflow-datasets"
      " array-record`."
    ) from error
  kind = _builder(name)
  known = [one.name for one in kind.BUILDER_CONFIGS]
  if isinstance(config, str) and config not in known:
    raise DataError(
      f"config is {config!r}, and {name} has {' and '.join(known) or 'none'}."
    )
  download = tfds.download.DownloadConfig(manual_dir=str(folder))
  try:
    builder = kind(
      data_dir=str(data_dir), config=config, file_format="array_record"
    )
    builder.download_and_prepare(download_config=download)
  except OSError as error:
    raise DataError(
      f"{name} could not be prepared in {data_dir} ({error})."
    ) from error
  splits = builder.info.splits
  # As TFDS parses it; its own `full_name` it does not.
  config_name = builder.builder_config and builder.builder_config.name
  label = f"{builder.name}/{config_name}" if config_name else builder.name
  return label, {key: split.num_examples for key, split in splits.items()}


def _builder(name: str) -> Any:
  """The builder's class; TFDS takes a second to import."""
  if name == "celeba":
    from chibijax.data.builders.celeba import CelebaAligned as Builder
  elif name == "cartoon_set":
    from chibijax.data.builders.cartoon_set import CartoonSet as Builder
  elif name == "anime_faces":
    from chibijax.data.builders.anime_faces import AnimeFaces as Builder
  else:
    from chibijax.data.builders.danbooru import Danbooru as Builder
  return Builder
