"""`chibijax compare` with pixel metrics; what it says of missing weights."""

import json
import pathlib

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from chibijax.apps import cli, fetch

RUN = CliRunner()


@pytest.fixture
def folders(tmp_path: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
  """Eight pictures, and darker ones of the same names."""
  rng = np.random.default_rng(0)
  for name in ("real", "fake"):
    (tmp_path / name).mkdir()
  for i in range(8):
    picture = rng.integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(picture).save(tmp_path / "real" / f"p{i}.png")
    # The first four are judged worse.
    darker = np.uint8(picture * (0.5 if i < 4 else 0.9))
    Image.fromarray(darker).save(tmp_path / "fake" / f"p{i}.png")
  return tmp_path / "real", tmp_path / "fake"


def compare(*words: object):
  return RUN.invoke(cli.app, ["compare", *map(str, words)])


def test_pairs_by_group(
  folders: tuple[pathlib.Path, pathlib.Path], tmp_path: pathlib.Path
) -> None:
  rows = [f"p{i}.jpg,{'dark' if i < 4 else 'light'}" for i in range(8)]
  (tmp_path / "people.csv").write_text("\n".join(["file,skin", *rows]))
  result = compare(
    *folders, "-m", "l1", "-m", "inversion", "--out", tmp_path / "m.json",
    "--groups", tmp_path / "people.csv", "--least", 3,
  )  # fmt: skip
  assert result.exit_code == 0, result.output
  assert "gap by skin" in result.output
  assert "skin=dark against skin=light, intervals apart" in result.output
  found = json.loads((tmp_path / "m.json").read_text())
  gap = found["groups"]["l1"]["worst_gap"]
  assert gap["worst"] == "skin=dark"
  assert found["metrics"]["l1"]["n"] == 8
  assert found["manifest"]["judged_count"] == 8
  assert "pairs by file name" in found["manifest"]["notes"]


def test_names_that_differ_are_sets(
  folders: tuple[pathlib.Path, pathlib.Path],
) -> None:
  real, fake = folders
  (fake / "p0.png").rename(fake / "other.png")
  result = compare(real, fake, "-m", "l1")
  assert result.exit_code == 2
  assert "l1 needs pairs" in result.output
  result = compare(real, fake, "-m", "checkerboard", "--json")
  found = json.loads(result.stdout)
  assert found["metrics"]["checkerboard"]["n"] == 8
  assert found["manifest"]["reference_is"] == "target"


@pytest.mark.parametrize(
  ("words", "sentence"),
  [
    (("-m", "kid_vgg"), "run `chibijax fetch vgg16`"),
    (("-m", "fd_inception"), "chibijax fetch inception"),
    (("-m", "nonsense"), "no metric 'nonsense'"),
    (("-m", "kid_squeeze", "--weights", "/none"), "/none is missing"),
    (("--reference", "x"), "expected target or source"),
    (("--size", "0"), "--size is 0, expected 1 to 4096"),
    (("--least", "-3"), "--least is -3"),
    (("-m", "l1", "--at", "9"), "expected 2 to 8"),
    (("-m", "l1", "--groups", "/none.csv"), "cannot be read as CSV"),
    (("-m", "l1", "--out", "/none/m.json"), "cannot be written"),
  ],
)
def test_mistakes_are_sentences(
  folders: tuple[pathlib.Path, pathlib.Path],
  monkeypatch: pytest.MonkeyPatch,
  tmp_path: pathlib.Path,
  words: tuple[str, ...],
  sentence: str,
) -> None:
  for name in ("CHIBIJAX_VGG16", "CHIBIJAX_INCEPTION"):
    monkeypatch.delenv(name, raising=False)
  monkeypatch.setenv("CHIBIJAX_CACHE", str(tmp_path / "cache"))
  result = compare(*folders, *words)
  assert result.exit_code == 2
  assert sentence in result.output.replace("\n", " ")


def test_folders_that_cannot_be(tmp_path: pathlib.Path) -> None:
  (tmp_path / "empty").mkdir()
  result = compare(tmp_path / "empty", tmp_path / "none")
  assert result.exit_code == 2


def test_every_fetched_weight_is_found_by_its_name() -> None:
  from chibijax.models import features

  shared = {"vgg16", "lpips-squeeze", "lpips-vgg", "lpips-alex"}
  for name in shared:
    assert fetch.CATALOGUE[name].variable == features.VARIABLES[name]
