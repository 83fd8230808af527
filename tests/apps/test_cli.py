"""The command itself: how it ends."""

import os
import pathlib

import numpy as np
import pytest
from typer.testing import CliRunner

from chibijax.apps import cli, pictures
from chibijax.errors import UserError


@pytest.mark.parametrize("raised", [KeyboardInterrupt(), SystemExit(130)])
def test_ctrl_c_ends_at_once_with_a_sentence(
  raised: BaseException, monkeypatch, capsys
) -> None:
  def app() -> None:
    raise raised

  left = []
  monkeypatch.setattr(cli, "app", app)
  monkeypatch.setattr(os, "_exit", left.append)
  cli.main()
  assert left == [130] and capsys.readouterr().err == "chibijax: interrupted.\n"


def test_other_exit_codes_stay(monkeypatch) -> None:
  def app() -> None:
    raise SystemExit(2)

  monkeypatch.setattr(cli, "app", app)
  with pytest.raises(SystemExit, match="2"):
    cli.main()


def test_a_result_does_not_replace_its_photo(tmp_path: pathlib.Path) -> None:
  photo = tmp_path / "photo.png"
  pictures.save(photo, np.zeros((16, 16, 3), np.uint8))
  pictures.check_other(tmp_path / "other.png", photo)
  (tmp_path / "link.png").symlink_to(photo)
  with pytest.raises(UserError, match="is the photo itself"):
    pictures.check_other(tmp_path / "link.png", photo)
  for words in (
    ["upscale", str(photo), str(photo), "--workdir", str(tmp_path)],
    ["stylize", str(photo), str(photo), "--workdir", str(tmp_path)],
    ["project", str(photo), str(photo), "--workdir", str(tmp_path)],
    ["style", str(photo), "painting:1", "--out", str(photo)],
  ):
    result = CliRunner().invoke(cli.app, words)
    assert result.exit_code == 2 and "is the photo itself" in result.output
