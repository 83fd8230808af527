"""`chibijax style`: both kinds of method, files, sentences."""

import pathlib

import jax
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from chibijax.apps import cli
from chibijax.core import checkpoint, workdir
from chibijax.models import features
from chibijax.tasks import style
from configs import adain, cyclegan, johnson


def call(*arguments: object) -> Result:
  return CliRunner().invoke(cli.app, ["style", *map(str, arguments)])


@pytest.fixture(autouse=True)
def _no_weights(monkeypatch, tmp_path) -> None:
  """Neither the user's weights nor the user's cache."""
  for variable in features.VARIABLES.values():
    monkeypatch.delenv(variable, raising=False)
  monkeypatch.setenv("CHIBIJAX_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def files(tmp_path: pathlib.Path) -> dict[str, pathlib.Path]:
  """A photo, two styles and two masks."""
  rng = np.random.default_rng(0)
  paths = {}
  for name, shape in (
    ("photo", (80, 64)), ("one", (70, 70)),
  ):  # fmt: skip
    paths[name] = tmp_path / f"{name}.png"
    noise = rng.integers(0, 256, (*shape, 3), np.uint8)
    Image.fromarray(noise).save(paths[name])
  mask = np.zeros((80, 64), np.uint8)
  mask[:40] = 255
  for name, values in (("top", mask), ("bottom", 255 - mask)):
    paths[name] = tmp_path / f"{name}.png"
    Image.fromarray(values).save(paths[name])
  return paths


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pathlib.Path]:
  """Workdirs of trainings at step 0."""
  found = {}
  for name, module in (("adain", adain), ("johnson", johnson)):
    folder = found[name] = tmp_path_factory.mktemp(name)
    config = module.get_config("smoke")
    workdir.open_workdir(folder, config)
    picture = jax.ShapeDtypeStruct((1, 32, 32, 3), np.uint8)
    task = style.build(config)
    spec = {"image_a": picture, "image_b": picture}
    state = jax.jit(lambda k, t=task, s=spec: t.init(k, s))(jax.random.key(0))
    with checkpoint.Checkpointer(folder) as checkpoints:
      checkpoints.save(0, state, {})
      checkpoints.wait()
  return found


def _read(path: pathlib.Path) -> np.ndarray:
  with Image.open(path) as picture:
    return np.asarray(picture.convert("RGB")).astype(int)


def test_adain_mixes_masks_and_strength(files, runs, tmp_path) -> None:
  out = tmp_path / "new" / "made.png"
  common = (files["photo"], files["one"], "painting:3", "--workdir",
            runs["adain"], "--out", out)  # fmt: skip
  result = call(*common, "--weight", 2, "--weight", 1, "--keep-colors")
  assert result.exit_code == 0, result.output
  assert "64 x 80 px" in result.output and "adain of" in result.output
  mixed = _read(out)
  assert mixed.shape == (80, 64, 3)
  parts = ("--mask", files["top"], "--mask", files["bottom"])
  assert call(*common, *parts, "--strength", 0.5).exit_code == 0
  assert not np.array_equal(_read(out), mixed)


def test_johnson_has_its_own_style(files, runs, tmp_path) -> None:
  out = tmp_path / "made.jpg"
  result = call(files["photo"], "--workdir", runs["johnson"], "--out", out)
  assert result.exit_code == 0, result.output
  assert _read(out).shape == (80, 64, 3)
  refused = call(files["photo"], files["one"], "--workdir", runs["johnson"])
  assert refused.exit_code == 2 and "takes no STYLE" in refused.output


def test_gatys_says_which_network_it_used(
  files, shared_data, monkeypatch, tmp_path
) -> None:
  monkeypatch.setenv("CHIBIJAX_SQUEEZENET", str(shared_data / "weights"))
  out = tmp_path / "made.png"
  result = call(
    files["photo"], "artist:3", "--out", out, "--steps", 2, "--size", 64
  )
  assert result.exit_code == 0, result.output
  assert "squeezenet (keras weights" in result.output
  assert _read(out).shape == (64, 51, 3)


def test_missing_weights_are_said_with_the_way_out(files) -> None:
  result = call(files["photo"], files["one"])
  assert result.exit_code == 2
  for part in ("--features", "CHIBIJAX_SQUEEZENET", "chibijax fetch"):
    assert part in result.output


@pytest.mark.parametrize(
  ("arguments", "sentence"),
  [
    ([], "needs at least one STYLE"),
    (["{one}", "--method", "magic"], "--method is 'magic'"),
    (["{one}", "--method", "adain"], "needs the --workdir"),
    (["{one}", "--weight", "1", "--weight", "2"], "2 --weight were given"),
    (["{one}", "--weight", "-1"], "a number above 0, got -1"),
    (["{one}", "--weight", "nan"], "a number above 0, got nan"),
    (["{one}", "--out", "{one}"], "is the photo itself"),
    (["{one}", "--mask", "{top}", "--mask", "{top}"], "2 --mask were given"),
    (["{one}", "--strength", "-1"], "--strength is -1"),
    (["{one}", "--size", "8"], "--size is 8"),
    (["{one}", "--network", "lenet"], "--network is 'lenet'"),
    (["{one}", "--features", "gone"], "gone"),
    (["gone.png"], "gone.png"),
    (["{one}", "--out", "made.txt"], "made.txt"),
  ],
)
def test_mistakes_are_said(files, arguments, sentence) -> None:
  result = call(files["photo"], *(a.format(**files) for a in arguments))
  assert result.exit_code == 2, result.output
  assert sentence in result.output.replace("\n", " ")


def test_runs_of_another_kind_are_refused(files, runs, tmp_path) -> None:
  wrong = call(
    files["photo"], files["one"], "--workdir", runs["adain"], "--method",
    "johnson",
  )  # fmt: skip
  assert wrong.exit_code == 2 and "a training of adain" in wrong.output
  folder = tmp_path / "run"
  workdir.open_workdir(folder, cyclegan.get_config("smoke"))
  other = call(files["photo"], files["one"], "--workdir", folder)
  assert other.exit_code == 2 and "configs/adain.py" in other.output
