"""The path length of made generators, and the command."""

import json

import jax.numpy as jnp
import pytest
from typer.testing import CliRunner

from chibijax.apps import cli, latent, path_length
from chibijax.models import features


class _Distance:
  """The mean square, as one that has a name."""

  name = "PD-made"

  def __call__(self, x, y):
    return jnp.square(x - y).mean((1, 2, 3))

  def describe(self) -> dict:
    return {"name": self.name}


def _space() -> latent.Space:
  def decode(z, labels):
    del labels
    return 0.1 * z.reshape(len(z), 1, 1, 3)

  return latent.Space(decode, None, 3, 1, None, "a test")


def test_a_linear_generators_length_is_its_slope() -> None:
  found = path_length.measure(_space(), _Distance(), count=64, seed=0)
  # On a sphere of radius sqrt(3): a step turns by the angle between the ends,
  # at most pi, and the mean square of three numbers is a third.
  assert 0 < found.value < 0.01 * 3 * 3.15**2 / 3
  assert found.n > 50


def test_command(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
  monkeypatch.setattr(latent, "load", lambda *_: _space())
  monkeypatch.setattr(features, "load_distance", lambda *_: _Distance())
  out = tmp_path / "metrics.json"
  words = ["path-length", "--workdir", "run", "--count", "8"]
  (tmp_path / "w").write_text("")
  words += ["--weights", str(tmp_path / "w"), "--out", str(out)]
  result = CliRunner().invoke(cli.app, words)
  assert result.exit_code == 0, result.output
  assert result.output.startswith("PPL-PD-made: ")
  written = json.loads(out.read_text())
  assert written["metrics"]["PPL-PD-made"]["value"] > 0
  assert written["manifest"]["judged"] == "a test"
  for extra, sentence in (
    (["--count", "1"], "--count is 1"),
    (["--network", "inception"], "expected squeeze, vgg or alex"),
  ):
    result = CliRunner().invoke(cli.app, [*words, *extra])
    assert result.exit_code == 2 and sentence in result.output
