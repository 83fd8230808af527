"""The house in order: configs that load and agree with what reads them."""

import ast
import importlib
import importlib.metadata
import json
import pathlib
import re
import sys
from typing import Any

import pytest
from ml_collections import ConfigDict

from chibijax.core import workdir
from chibijax.data.options import Options
from chibijax.errors import UserError

ROOT = pathlib.Path(__file__).resolve().parent.parent
EXPERIMENTS = sorted(
  path.stem
  for path in (ROOT / "configs").glob("*.py")
  if path.stem not in ("__init__", "common")
)
# Recipes that need something of the user: a training or weights.
NEEDS = {
  **dict.fromkeys(
    [("gan_adapt", variant) for variant in ("", "quick", "smoke")],
    "init_from",
  ),
  ("avatar", ""): "DINOv2",
}
# Imported only where it is installed; the code says what to do without it.
OPTIONAL = {
  "tensorflow",
  "skimage",
  "gaussforge",
  "cv2",
  "lz4",
  "c2pa",
  "cryptography",
  "h5py",
  "ai_edge_litert",
  "onnx",
  "onnxruntime",
  "huggingface_hub",
  "lmdb",
  "av",
  "IPython",
}


def variants(name: str) -> list[str]:
  """The variants that the header of an experiment names, and none."""
  header = importlib.import_module(f"configs.{name}").__doc__
  return ["", *dict.fromkeys(re.findall(r":([a-z]\w*)`", header))]


def leaves(config: ConfigDict, prefix: str = "") -> dict[str, Any]:
  """Values by dotted name."""
  found = {}
  for key, value in config.items():
    if isinstance(value, ConfigDict):
      found |= leaves(value, f"{prefix}{key}.")
    else:
      found[prefix + key] = value
  return found


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_config_is_usable(name: str, tmp_path: pathlib.Path) -> None:
  module = importlib.import_module(f"configs.{name}")
  assert "smoke" in variants(name)
  assert f"--config=configs/{name}.py" in module.__doc__
  for variant in variants(name):
    config = module.get_config(variant)
    values = leaves(config)
    # The command line can override tuples but not lists.
    assert not [k for k, v in values.items() if isinstance(v, list)]
    assert set(config.free) <= set(values)
    Options.of(config.data)
    build = importlib.import_module(f"chibijax.tasks.{config.task}").build
    if (config.task, variant) in NEEDS:
      # It says what is missing.
      with pytest.raises(UserError, match=NEEDS[config.task, variant]):
        build(config)
    else:
      build(config)
    # What a run writes down is what it was started with.
    folder = tmp_path / (variant or "full")
    workdir.open_workdir(folder, config)
    assert leaves(workdir.read_config(folder)) == json_like(values)


def json_like(values: dict[str, Any]) -> dict[str, Any]:
  """Values after a trip through JSON, tuples kept."""
  return {
    k: v if isinstance(v, tuple) else json.loads(json.dumps(v))
    for k, v in values.items()
  }


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_unknown_variant_is_refused_with_the_known_ones(name: str) -> None:
  module = importlib.import_module(f"configs.{name}")
  with pytest.raises(ValueError, match=r"no variant 'nonsense'.*'smoke'"):
    module.get_config("nonsense")


def test_every_import_is_declared_in_setup() -> None:
  setup = (ROOT / "setup.py").read_text(encoding="utf-8")
  required = setup[setup.index("INSTALL_REQUIRES") : setup.index("APP = ")]
  declared = {
    name.lower().replace("_", "-")
    for name in re.findall(r'"([\w-]+)>=', required)
  }
  distributions = importlib.metadata.packages_distributions()
  missing = {}
  for path in (ROOT / "chibijax").rglob("*.py"):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
      if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
      elif isinstance(node, ast.ImportFrom) and not node.level:
        names = [node.module]
      else:
        continue
      for name in {n.partition(".")[0] for n in names}:
        if name in sys.stdlib_module_names | OPTIONAL | {"chibijax"}:
          continue
        known = distributions.get(name, [name])
        if not declared & {d.lower().replace("_", "-") for d in known}:
          missing[name] = path.relative_to(ROOT).as_posix()
  assert missing == {}
