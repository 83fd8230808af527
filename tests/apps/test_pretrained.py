"""Exported folders and files: round trip, card, refusals, publishing."""

import json
import pathlib
import sys
import types

import jax
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file
from typer.testing import CliRunner, Result

from chibijax.apps import cli, pretrained, stylize
from chibijax.core import checkpoint, workdir
from chibijax.errors import UserError
from chibijax.tasks import translation
from configs import cyclegan

SIZE = 32


def call(*arguments: object) -> Result:
  return CliRunner().invoke(cli.app, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
  """The workdir of a training on somebody's folder, at step 0, evaluated."""
  folder = tmp_path_factory.mktemp("run")
  config = cyclegan.get_config("smoke")
  config.ema = 0.9
  config.data.update(source_a="folder", path_a="/home/somebody/my photos")
  workdir.open_workdir(folder, config)
  picture = jax.ShapeDtypeStruct((1, SIZE, SIZE, 3), np.uint8)
  spec = {"image_a": picture, "image_b": picture}
  task = translation.build(config)
  state = jax.jit(lambda key: task.init(key, spec))(jax.random.key(0))
  # Averages that differ from the last parameters, as after a training.
  state = state.replace(ema=jax.tree.map(lambda x: 2 * x, state.ema))
  with checkpoint.Checkpointer(folder) as checkpoints:
    checkpoints.save(0, state, {})
    checkpoints.wait()
  report = {
    "step": 0,
    "examples": 5,
    "data": "folder /home/somebody/pairs",
    "metrics": {"l1": 0.25},
  }
  (folder / "metrics.json").write_text(json.dumps(report))
  return folder


@pytest.fixture(scope="module")
def folder(run: pathlib.Path) -> pathlib.Path:
  """What `chibijax export` writes of it."""
  out = run.parent / "exported"
  result = call("export", out, "--workdir", run)
  assert result.exit_code == 0, result.output
  assert "(gen_ab, gen_ba) and a model card" in result.output
  return out


def _leaves(tree) -> dict[str, np.ndarray]:
  return {
    jax.tree_util.keystr(path): np.asarray(x)
    for path, x in jax.tree_util.tree_leaves_with_path(tree)
  }


def test_a_folder_comes_back_bit_by_bit(
  run: pathlib.Path, folder: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  names = {"model.safetensors", "config.json", "README.md"}
  assert {p.name for p in folder.iterdir()} == names
  before, after = pretrained.load(run), pretrained.load(folder)
  assert set(after.params) == {"gen_ab", "gen_ba"}
  expected = _leaves({n: before.params[n] for n in after.params})
  found = _leaves(after.params)
  assert found.keys() == expected.keys()
  for name, array in expected.items():
    np.testing.assert_array_equal(found[name], array)
  assert after.step == 0 and after.metrics["metrics"] == {"l1": 0.25}
  config = after.config
  assert config.free == before.config.free and isinstance(config.free, tuple)
  # The file alone says as much; and again from the folder, as if it were one.
  alone = tmp_path / "alone.safetensors"
  assert call("export", alone, "--workdir", folder).exit_code == 0
  again = pretrained.load(alone)
  assert again.config == config
  assert _leaves(again.params).keys() == expected.keys()
  assert call("export", tmp_path / "twice", "--workdir", alone).exit_code == 0


def test_nothing_tells_where_the_training_was(folder: pathlib.Path) -> None:
  for path in folder.iterdir():
    data = path.read_bytes()
    assert b"/home" not in data and b"somebody" not in data, path.name
  card = (folder / "README.md").read_text()
  assert card.startswith("---\nlibrary_name: chibijax\nlicense: other\n")
  for part in (
    "## Licence", "## Data", "folder `my photos`", "| l1 | 0.25 |",
    "5 held-out examples", "## Intended use", "## Limits", "| gen_ab | ",
  ):  # fmt: skip
    assert part in card, part


def test_the_card_of_drawn_data_has_a_licence() -> None:
  from chibijax.apps import model_card

  config = json.loads(cyclegan.get_config("smoke").to_json_best_effort())
  described = dict(
    version="1", task="translation", step=7, metrics={}, config=config
  )
  card = model_card.write(described, {"gen_ab": 1234})
  assert "license: apache-2.0" in card and "nobody real" in card
  assert "None were measured" in card and "| gen_ab | 1,234 |" in card


def test_stylize_takes_what_was_exported(
  run: pathlib.Path, folder: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  noise = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
  expected = stylize.load(run, batch=1)([noise])[0]
  for source in (folder, folder / "model.safetensors"):
    found = stylize.load(source, batch=1)([noise])[0]
    np.testing.assert_array_equal(found, expected)
  Image.fromarray(noise).save(tmp_path / "a.png")
  out = tmp_path / "b.png"
  result = call("stylize", tmp_path / "a.png", out, "--workdir", folder)
  assert result.exit_code == 0, result.output
  assert out.is_file()


def test_damage_is_said(
  folder: pathlib.Path, run: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  for name, data in {
    "text.safetensors": b"no weights",
    "short.safetensors": (folder / "model.safetensors").read_bytes()[:-4],
    # A pickle is not even looked at.
    "model.pth": b"\x80\x04cos\nsystem\n(S'true'\ntR.",
  }.items():
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match="does not say what its networks"):
      pretrained.load(tmp_path / name)
  foreign = tmp_path / "foreign.safetensors"
  save_file({"a/b": np.zeros(3, np.float32)}, foreign)
  with pytest.raises(UserError, match="does not say what its networks"):
    pretrained.load(foreign)
  with pytest.raises(UserError, match="holds no run"):
    pretrained.load(tmp_path)
  with pytest.raises(UserError, match="is a training's folder"):
    pretrained.save_pretrained(run, pretrained.load(folder))


@pytest.mark.parametrize("change", [{"format": "x"}, {"step": "many"}, None])
def test_a_config_that_is_not_ours_is_refused(
  folder: pathlib.Path, tmp_path: pathlib.Path, change: dict | None
) -> None:
  described = json.loads((folder / "config.json").read_text())
  weights = (folder / "model.safetensors").read_bytes()
  (tmp_path / "model.safetensors").write_bytes(weights)
  text = "[]" if change is None else json.dumps(described | change)
  (tmp_path / "config.json").write_text(text)
  with pytest.raises(UserError, match="does not say what its networks"):
    pretrained.load(tmp_path)


def test_publishing_needs_the_hubs_package(
  folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  monkeypatch.setitem(sys.modules, "huggingface_hub", None)
  result = call("publish", folder, "me/chibi")
  assert result.exit_code == 2 and "chibijax[hub]" in result.output


def test_publishing_uploads_three_files(
  folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
  calls = []

  class Api:
    def create_repo(self, name: str, *, private: bool, exist_ok: bool) -> str:
      calls.append((name, private))
      if name == "them/taken":
        raise PermissionError("not yours")
      return f"https://hub/{name}"

    def upload_folder(self, **options) -> None:
      calls.append(options)

  # No network in tests: a stand-in with the two calls that are made.
  monkeypatch.setitem(
    sys.modules, "huggingface_hub", types.SimpleNamespace(HfApi=Api)
  )
  result = call("publish", folder, "me/chibi")
  assert result.exit_code == 0, result.output
  assert "https://hub/me/chibi" in result.output
  assert calls[0] == ("me/chibi", True)
  assert calls[1]["folder_path"] == str(folder)
  assert len(calls[1]["allow_patterns"]) == 3
  refused = call("publish", folder, "them/taken")
  assert refused.exit_code == 2 and "not yours" in refused.output
  # A folder of photos is not uploaded by mistake.
  assert call("publish", tmp_path, "me/chibi").exit_code == 2
  assert len(calls) == 3
