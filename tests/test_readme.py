"""What README.md and CONTRIBUTING.md say works: code runs, commands parse.

Python blocks are executed. Shell commands are taken apart: every make target
and variable, flag, config field, extra and CLI option must exist. The two
commands that train and stylise run for real, shortened, when slow tests do.
"""

import ast
import pathlib
import re
import shlex
import subprocess
import sys
from unittest import mock

import pytest
import typer
import typer.main
from absl import flags
from ml_collections import config_flags
from skimage import data as photos
from skimage import io

from chibijax import main as chibijax_main
from chibijax.apps import cli

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGES = ("README.md", "CONTRIBUTING.md")


def blocks(language: str) -> list[tuple[str, str]]:
  """(page and line, text) of every fenced block in a language."""
  found = []
  for page in PAGES:
    text = (ROOT / page).read_text(encoding="utf-8")
    for match in re.finditer(rf"```{language}\n(.*?)```", text, re.DOTALL):
      line = text.count("\n", 0, match.start()) + 2
      found.append((f"{page}:{line}", match.group(1)))
  return found


def commands() -> list[tuple[str, list[str]]]:
  """(page and line, words) of every shell command."""
  return [
    (where, shlex.split(line, comments=True))
    for where, block in blocks("bash")
    for joined in block.replace("\\\n", " ").splitlines()
    for line in joined.split("&&")
    if line.strip()
  ]


def problem(words: list[str]) -> str | None:
  """Why a command would not work, or None."""
  if words[0] == "make":
    return make_problem(words[1:])
  if words[:3] == ["python", "-m", "chibijax.main"]:
    return main_problem(words[3:])
  if words[:2] == ["python", "-m"] and words[2].startswith("launch."):
    return launch_problem(words[2], words[3:])
  if words[0] == "chibijax":
    return cli_problem(words[1:])
  if words[:3] == ["pip", "install", "-e"]:
    extras = re.search(r"\[(.*)\]", words[3]).group(1).split(",")
    unknown = set(extras) - set(setup_value("EXTRAS_REQUIRE"))
    return f"setup.py has no extra {sorted(unknown)}" if unknown else None
  if words in (["python3", "-m", "venv", ".venv"], [".", ".venv/bin/activate"]):
    return None
  if words == [".venv/bin/pre-commit", "install"]:
    config = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    return None if "repo: local" in config else "no local hooks"
  return f"this test does not know the command {words[0]}"


def make_problem(words: list[str]) -> str | None:
  makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
  for word in words:
    name = word.partition("=")[0]
    pattern = rf"^{name} \?=|\$\({name}\)" if "=" in word else rf"^{name}:"
    if not re.search(pattern, makefile, re.MULTILINE):
      return f"the Makefile has no {name}"
  return None


def main_problem(words: list[str]) -> str | None:
  """Parses the flags as `chibijax.main` would, without running it."""
  values = flags.FlagValues()
  config_flags.DEFINE_config_file(
    "config", lock_config=True, flag_values=values
  )
  own = []
  for word in words:
    name = word.removeprefix("--").partition("=")[0]
    if name == "config" or name.startswith("config."):
      own.append(word)
    elif name not in flags.FLAGS:
      return f"chibijax.main has no flag --{name}"
  argv = ["chibijax.main", *own]
  try:
    # Overrides of a config's fields are looked for in sys.argv.
    with mock.patch.object(sys, "argv", argv):
      values(argv)
  except (flags.Error, AttributeError, KeyError, ValueError) as error:
    return str(error)
  return None


def launch_problem(module: str, words: list[str]) -> str | None:
  """Lets a launcher print what it would do."""
  # What the shell does with the output is not the launcher's.
  words = words[: words.index(">")] if ">" in words else words
  rest = words[words.index("--") + 1 :]
  done = subprocess.run(
    [sys.executable, "-m", module, "--dry-run", *words],
    cwd=ROOT,
    capture_output=True,
    text=True,
  )
  return done.stderr or main_problem(rest)


def cli_problem(words: list[str]) -> str | None:
  """Parses the arguments as the `chibijax` command would."""
  group = typer.main.get_command(cli.app)
  command = group.commands.get(words[0])
  if command is None:
    return f"chibijax has no command {words[0]}"
  try:
    command.make_context(words[0], words[1:])
  except typer.Exit as done:  # --list prints and ends.
    return None if done.exit_code == 0 else "exits at once"
  except Exception as error:  # click's own, which typer may carry within.
    return str(error) or type(error).__name__
  return None


def setup_value(name: str) -> object:
  """The value of a constant of setup.py, which cannot be imported."""
  tree = ast.parse((ROOT / "setup.py").read_text(encoding="utf-8"))
  values = {}
  for node in tree.body:
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
      code = compile(ast.Expression(node.value), "setup.py", "eval")
      try:
        values[node.targets[0].id] = eval(code, {}, dict(values))
      except NameError:
        continue  # Needs an import, so it is not a plain constant.
  return values[name]


@pytest.mark.parametrize(
  ("where", "source"), blocks("python"), ids=lambda v: v[:20]
)
def test_python_block_runs(
  where: str,
  source: str,
  tmp_path: pathlib.Path,
  monkeypatch: pytest.MonkeyPatch,
) -> None:
  assert "assert" in source, f"{where} states nothing that could be wrong"
  monkeypatch.chdir(tmp_path)
  exec(compile(source, where, "exec"), {})


@pytest.mark.parametrize(
  ("where", "words"), commands(), ids=lambda v: v if isinstance(v, str) else ""
)
def test_command_exists(
  where: str, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
  monkeypatch.chdir(ROOT)
  assert problem(words) is None, f"{where}: {shlex.join(words)}"


@pytest.mark.parametrize(
  "line",
  [
    "make dmeo",
    "make demo FOTO=a.jpg",
    "python -m chibijax.main --config=configs/cyclegan.py:quik",
    "python -m chibijax.main --config=configs/cyclegan.py --wrkdir=runs/a",
    "python -m chibijax.main --config=configs/cyclegan.py --config.data.siz=8",
    "python -m launch.local --proceses 2 -- --config=a --workdir=b",
    "python -m launch.slurm -- --config=configs/cyclegan.py:qick --workdir=b",
    "chibijax stylise a.jpg b.png --workdir=runs/a",
    "chibijax stylize a.jpg b.png --workdir=runs/a --directon b2a",
    "chibijax stylize a.jpg b.png",
    "pip install -e .[cuda11]",
    "conda install chibijax",
  ],
)
def test_mistakes_in_commands_are_found(
  line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
  monkeypatch.chdir(ROOT)
  assert problem(shlex.split(line)) is not None


def test_flags_in_the_text_exist() -> None:
  group = typer.main.get_command(cli.app)
  options = {
    option.lstrip("-")
    for command in group.commands.values()
    for parameter in command.params
    for option in (*parameter.opts, *parameter.secondary_opts)
  }
  text = (ROOT / "README.md").read_text(encoding="utf-8")
  launchers = "".join(p.read_text() for p in (ROOT / "launch").glob("*.py"))
  options |= set(re.findall(r'add\(\s*"--([a-z-]+)"', launchers))
  # Of the benchmarks only those that the text names.
  for script in set(re.findall(r"benchmarks/\w+\.py", text)):
    source = (ROOT / script).read_text(encoding="utf-8")
    options |= set(re.findall(r'add_argument\(\s*"--([a-z_-]+)"', source))
  named = set(re.findall(r"--([a-z][a-z0-9_-]*)", text))
  assert named - options - set(flags.FLAGS) == set()
  assert "workdir" in named


def test_links_lead_somewhere() -> None:
  for page in PAGES:
    text = (ROOT / page).read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)#]+)\)", text):
      assert (ROOT / link).exists(), f"{page} links to {link}"


def test_the_training_command_explains_its_flags() -> None:
  done = subprocess.run(
    [sys.executable, "-m", chibijax_main.__name__, "--help"],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,  # absl ends --help with 1
  )
  for flag in ("--config", "--workdir", "--mode"):
    assert flag in done.stdout
  assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_train_and_stylize_run(tmp_path: pathlib.Path) -> None:
  lines = [w for _, w in commands() if "--workdir=runs/quick" in w]
  train = next(w for w in lines if w[0] == "python" and len(w) == 5)
  apply = next(w for w in lines if w[:3] == ["chibijax", "stylize", "me.jpg"])
  io.imsave(tmp_path / "me.jpg", photos.astronaut())
  short = [f"--workdir={tmp_path}/run", "--config.total_steps=20"]
  subprocess.run([sys.executable, *train[1:4], *short], cwd=ROOT, check=True)
  subprocess.run(
    [sys.executable, "-m", "chibijax.apps.cli", *apply[1:4], short[0]],
    cwd=tmp_path,
    env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
    check=True,
  )
  assert io.imread(tmp_path / "chibi.png").shape == (64, 64, 3)
