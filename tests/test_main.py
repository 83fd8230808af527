"""The command: what it says of mistakes, and how it exits."""

import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
SMOKE = "--config=configs/cyclegan.py:smoke"


@pytest.mark.parametrize(
  "arguments, words",
  [
    (["--config=nowhere.py"], "'nowhere.py'"),
    (["--config=configs/cyclegan.py:nonsense"], "no variant 'nonsense'"),
    ([SMOKE, "--config.optim.lrr=1"], 'Did you mean "lr"'),
    ([SMOKE, "--config.loss.zebra=1"], "no value 'zebra'"),
    ([SMOKE, "--nonsense=1"], "'nonsense'"),
    ([SMOKE, "nonsense"], "'nonsense'"),
    (
      [
        SMOKE,
        "--config.data.source_a=folder",
        "--config.data.path_a=/nowhere",
      ],
      "/nowhere does not exist",
    ),
  ],
)
def test_mistakes_are_one_sentence(arguments, words, tmp_path) -> None:
  result = subprocess.run(
    [
      *(sys.executable, "-m", "chibijax.main", f"--workdir={tmp_path / 'run'}"),
      *arguments,
    ],
    cwd=ROOT,
    capture_output=True,
    text=True,
    timeout=120,
  )
  assert result.returncode == 1
  assert words in result.stderr and "Traceback" not in result.stderr
  assert result.stderr.strip().count("\n") == 0


def test_a_workdir_must_be_given() -> None:
  result = subprocess.run(
    [sys.executable, "-m", "chibijax.main", SMOKE],
    cwd=ROOT,
    capture_output=True,
    text=True,
    timeout=120,
  )
  assert result.returncode == 1
  assert "--workdir" in result.stderr and "Traceback" not in result.stderr
