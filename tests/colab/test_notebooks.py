"""The notebooks: paired with their scripts, short, and running."""

import importlib.metadata
import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import pytest

from chibijax.apps import notebook
from chibijax.errors import UserError
from colab import make

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCRIPTS = {path.stem: path for path in make.scripts()}
MOST_LINES = 40


@pytest.mark.parametrize("name", SCRIPTS)
def test_notebook_is_that_of_its_script(name):
  path = SCRIPTS[name].with_suffix(".ipynb")
  # After a change of the script: python colab/make.py
  assert path.read_text() == make.notebook(make.expand(SCRIPTS[name]))


@pytest.mark.parametrize("name", SCRIPTS)
def test_notebook_is_valid_short_and_without_outputs(name):
  content = json.loads(SCRIPTS[name].with_suffix(".ipynb").read_text())
  assert (content["nbformat"], content["nbformat_minor"]) == (4, 5)
  cells = content["cells"]
  assert cells[0]["cell_type"] == "markdown"
  assert len({cell["id"] for cell in cells}) == len(cells)
  code = [cell for cell in cells if cell["cell_type"] == "code"]
  assert not any(cell["outputs"] or cell["execution_count"] for cell in code)
  own = [
    line
    for cell in code[1:]  # The first one installs.
    for line in "".join(cell["source"]).splitlines()
    if line.strip() and not line.startswith("#")
  ]
  assert 5 < len(own) < MOST_LINES
  for cell in code:
    compile("".join(cell["source"]), name, "exec")


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
  """Where one notebook finds what another one compiled."""
  return tmp_path_factory.mktemp("compiled")


def run(name, folder, compiled):
  """Runs a notebook's cells as one program, as small as they get."""
  text = make.expand(SCRIPTS[name])
  code = "\n".join(body for kind, body in make.cells(text) if kind == "code")
  environment = os.environ | {
    notebook.SMOKE: str(folder),
    "JAX_PLATFORMS": "cpu",
    "JAX_NUM_CPU_DEVICES": "1",
    "JAX_COMPILATION_CACHE_DIR": str(compiled),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.5",
    "PYTHONPATH": str(ROOT),
  }
  done = subprocess.run(
    [sys.executable, "-c", code],
    cwd=ROOT,
    env=environment,
    capture_output=True,
    text=True,
    timeout=600,
  )
  assert done.returncode == 0, done.stderr[-2000:]
  assert f"jax {importlib.metadata.version('jax')}" in done.stdout
  assert "1 x cpu (cpu)" in done.stdout
  return done.stdout + done.stderr


def test_training_shows_its_grid_and_goes_on_where_it_stopped(
  tmp_path, compiled
):
  first = run("train_cyclegan_tpu", tmp_path, compiled)
  grids = sorted((tmp_path / "cyclegan" / "samples").glob("*.png"))
  assert str(grids[-1]) in first
  assert "Nothing to do" in run("train_cyclegan_tpu", tmp_path, compiled)


def test_avatars_of_the_astronaut(tmp_path, compiled):
  pytest.importorskip("skimage")
  told = run("photo_to_avatar", tmp_path, compiled)
  for name in ("drawn", "toon", "ink"):
    path = tmp_path / "avatars" / f"{name}.png"
    assert path.is_file() and str(path) in told


@pytest.mark.slow
def test_scaling_prints_time_and_memory(tmp_path, compiled):
  told = run("scaling_on_one_chip", tmp_path, compiled)
  assert " images/s, " in told and " GiB" in told


@pytest.mark.slow
def test_gaussian_head_moves_and_has_its_page(tmp_path, compiled):
  pytest.importorskip("skimage")
  told = run("gaussian_head", tmp_path, compiled)
  for name in ("chibi0.gif", "chibi1.gif"):
    path = tmp_path / "gaussian_head" / name
    assert path.is_file() and str(path) in told
  page = (tmp_path / "gaussian_head" / "chibi1.html").read_text()
  assert page.lstrip().startswith("<!")


@pytest.mark.parametrize("kind", ["tpu", "gpu"])
def test_a_missing_accelerator_is_told_loudly(kind, monkeypatch, capsys):
  monkeypatch.delenv(notebook.SMOKE, raising=False)
  with pytest.raises(UserError, match=f"needs a {kind.upper()}.*sees CPUs"):
    notebook.begin(kind)
  assert "numpy " in capsys.readouterr().out


def test_a_config_outside_of_the_checkout_is_told(monkeypatch, tmp_path):
  monkeypatch.setattr(sys, "path", [])
  monkeypatch.chdir(tmp_path)
  with pytest.raises(UserError, match=r"configs/absent\.py was not found"):
    notebook.experiment("absent")


def test_changes_reach_the_config(monkeypatch):
  monkeypatch.delenv(notebook.SMOKE, raising=False)
  config = notebook.experiment("cyclegan", changes={"data.size": 72})
  assert config.data.size == 72


def test_a_missing_picture_is_told(tmp_path):
  with pytest.raises(UserError, match="is missing"):
    notebook.show(tmp_path / "absent.png")


def test_install_keeps_the_runtimes_versions(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / "source").mkdir()
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  monkeypatch.setattr(sys, "path", [*sys.path])
  calls = []
  monkeypatch.setattr(subprocess, "run", lambda x, check: calls.append(x))
  [(_, code)] = make.cells((make.HERE / "install.py").read_text())
  with pytest.raises(AssertionError, match="Fill in SOURCE"):
    exec(code, {})
  exec(code.replace('SOURCE = ""', 'SOURCE = "git@host"'), {})
  clone, install = calls
  assert clone[:2] == ["git", "clone"] and "git@host" in clone
  assert install[-4:-2] == ["-c", "kept.txt"]
  kept = (tmp_path / "kept.txt").read_text().splitlines()
  for name in ("flax", "jax", "jaxlib", "numpy"):
    assert f"{name}=={importlib.metadata.version(name)}" in kept
