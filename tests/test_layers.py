"""Who may import whom: design.md's layer rule, read from the source with ast.

A layer is a module or folder directly under `chibijax`. A rule names what a
layer may import of ours: a layer ("ops") or one module of it ("core.types").
"""

import ast
import pathlib
from collections.abc import Iterator

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "chibijax"

# Layers of the whole design; a layer that does not exist yet allows nothing
# more than a layer that does.
ALLOWED = {
  "core": set(),
  "ops": set(),
  "artist": set(),
  "data": {"artist", "heads", "core.pickle_files"},
  # The reader of weight files: feature networks come from published ones.
  "models": {"ops", "core.weight_files"},
  "losses": {"ops"},
  "faces": {"models", "ops", "core.checkpoint", "core.weight_files"},
  # The reader of pickles: FLAME is published as such.
  "heads": {"ops", "core.pickle_files"},
  "metrics": {"models.features", "ops"},
  "tasks": {"core.types", "core.optim", "models", "losses", "ops", "heads"},
  "post": {"ops", "artist"},
  "train": {"core", "tasks", "data", "metrics"},
  "evaluate": {"core", "tasks", "data", "metrics"},
  "main": {"train", "evaluate", "core.parallel"},
}
# The loop calls the same code as a separate evaluation does.
ALLOWED["train"] |= {"evaluate"}
ALLOWED["apps"] = set(ALLOWED) - {"train", "main"}
# One exception class and the version: everybody's, and they import nothing.
EVERYBODY = ("errors", "__version__")

# Packages that may be imported only below these paths.
CONFINED = {
  "tensorflow": ("data/builders/", "core/logging.py"),
  "flax.linen": ("models/",),
}


def imports(source: str, module: str) -> Iterator[str]:
  """Yields the dotted names that a module imports, wherever it does.

  `from a import b` yields "a.b", which may be a module or a name in it.
  """
  package = module.split(".")[:-1]
  for node in ast.walk(ast.parse(source)):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      base = package[: len(package) - node.level + 1] if node.level else []
      prefix = ".".join([*base, *([node.module] if node.module else [])])
      yield from (f"{prefix}.{alias.name}" for alias in node.names)
    elif (
      isinstance(node, ast.Call)
      and ast.unparse(node.func).endswith("import_module")
      and node.args
    ):
      # importlib with a literal or an f-string: its constant beginning.
      text = node.args[0]
      first = text.values[0] if isinstance(text, ast.JoinedStr) else text
      if isinstance(first, ast.Constant):
        yield str(first.value)


def within(name: str, roots: set[str] | tuple[str, ...]) -> bool:
  """True when a dotted name is one of `roots` or lies inside one."""
  return any(f"{name}.".startswith(f"{root}.") for root in roots)


def violations(files: dict[str, str]) -> list[str]:
  """Lists the broken rules.

  Args:
    files: source text by path relative to the package, such as "ops/image.py".
  """
  found = []
  for path, source in sorted(files.items()):
    parts = pathlib.PurePosixPath(path).with_suffix("").parts
    layer = parts[0]
    module = ".".join(("chibijax", *parts))
    for name in imports(source, module):
      for confined, places in CONFINED.items():
        if within(name, (confined,)) and not path.startswith(places):
          found.append(f"{path} imports {name}, allowed in {places} only")
      if not within(name, ("chibijax",)) or layer == "__init__":
        continue
      inner = name.removeprefix("chibijax").removeprefix(".")
      if not inner or within(inner, (layer, *EVERYBODY)):
        continue
      if layer not in (*ALLOWED, *EVERYBODY):
        found.append(f"{path}: layer {layer} is not in design.md")
      elif not within(inner, ALLOWED.get(layer, set())):
        found.append(f"{path} imports {inner}; {layer} may not")
  return found


def test_package_keeps_the_layer_rule() -> None:
  files = {
    path.relative_to(PACKAGE).as_posix(): path.read_text(encoding="utf-8")
    for path in PACKAGE.rglob("*.py")
  }
  assert "core/types.py" in files
  assert violations(files) == []


def test_configs_import_only_their_base_and_ml_collections() -> None:
  for path in (ROOT / "configs").glob("*.py"):
    names = imports(path.read_text(encoding="utf-8"), f"configs.{path.stem}")
    for name in names:
      allowed = ("ml_collections", "configs.common", "typing", "collections")
      assert within(name, allowed), f"{path.name} imports {name}"


@pytest.mark.parametrize(
  ("path", "source"),
  [
    ("core/a.py", "import chibijax.ops.image"),
    ("ops/a.py", "from chibijax import models"),
    ("losses/a.py", "from ..models import resnet"),
    ("tasks/a.py", "from chibijax.core import checkpoint"),
    ("metrics/a.py", "from chibijax.models.resnet import ResnetGenerator"),
    ("main.py", "from chibijax.core import optim"),
    ("apps/a.py", "def f():\n  import chibijax.train"),
    ("apps/a.py", "importlib.import_module(f'chibijax.main.{x}')"),
    ("ops/a.py", "import flax.linen as nn"),
    ("tasks/a.py", "from flax import linen as nn"),
    ("data/sources.py", "import tensorflow as tf"),
    ("novel/a.py", "import chibijax.ops"),
    ("errors.py", "import chibijax.core"),
  ],
)
def test_rule_catches(path: str, source: str) -> None:
  assert len(violations({path: source})) == 1


@pytest.mark.parametrize(
  ("path", "source"),
  [
    ("tasks/a.py", "from chibijax.core.types import Task"),
    ("tasks/a.py", "from chibijax.core import optim, types"),
    ("models/a.py", "from flax import linen as nn\nfrom ..ops import image"),
    ("train.py", "importlib.import_module(f'chibijax.tasks.{name}')"),
    ("data/pipeline.py", "import tensorflow_datasets as tfds"),
    ("core/logging.py", "def f():\n  import tensorflow as tf"),
    ("apps/cli.py", "from chibijax import __version__"),
    ("data/images.py", "from chibijax.errors import UserError"),
  ],
)
def test_rule_allows(path: str, source: str) -> None:
  assert violations({path: source}) == []
