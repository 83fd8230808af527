"""`chibijax avatar`, `stickers`, `inspect` and `fetch` as a user calls them."""

import json
import pathlib

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from chibijax.apps import cli
from chibijax.apps.avatars import plan
from chibijax.apps.photos import find
from chibijax.errors import UserError


@pytest.fixture(autouse=True)
def home(
  tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> pathlib.Path:
  """An empty current folder, and caches and keys of this test's own."""
  folder = tmp_path / "here"
  folder.mkdir()
  monkeypatch.chdir(folder)
  monkeypatch.setenv("CHIBIJAX_CACHE", str(tmp_path / "cache"))
  monkeypatch.setenv("CHIBIJAX_CONFIG", str(tmp_path / "config"))
  # The session keeps its compiled programs elsewhere, see tests/conftest.py.
  monkeypatch.setattr("chibijax.apps.commands.avatar.keep_compiled", list)
  return folder


@pytest.fixture
def photo(
  home: pathlib.Path, astronaut: np.ndarray, mtcnn_detector: object
) -> pathlib.Path:
  path = home / "me.jpg"
  Image.fromarray(astronaut[:256, 90:346]).save(path, quality=95)
  return path


def call(*arguments: object) -> Result:
  return CliRunner().invoke(cli.app, [str(a) for a in arguments])


def avatar(*arguments: object) -> Result:
  return call("avatar", *arguments, "--size", 96)


def test_one_command_makes_one_picture(photo: pathlib.Path) -> None:
  result = avatar(photo)
  assert result.exit_code == 0, result.output
  with Image.open("me-chibi.png") as picture:
    assert picture.size == (96, 96)
  assert "me-chibi.png" in result.output
  assert "drawn by software" in result.output
  # Another style does not replace it.
  assert avatar(photo).exit_code == 0
  assert pathlib.Path("me-chibi-2.png").exists()


def test_json_is_all_that_is_printed(photo: pathlib.Path) -> None:
  result = avatar(photo, "--json")
  report = json.loads(result.stdout)
  assert report["made"] == ["me-chibi.png"]
  assert report["photos"][0]["status"] == "ok"
  assert report["photos"][0]["avatars"][0]["delta_e"]
  assert report["seconds"] > 0


def test_no_face_is_exit_code_3(home: pathlib.Path) -> None:
  Image.new("RGB", (200, 200), "#8899aa").save("wall.png")
  result = avatar("wall.png")
  assert result.exit_code == 3
  assert "no face was found in wall.png" in result.output
  assert sorted(p.name for p in home.iterdir()) == ["wall.png"]


def test_usage_is_exit_code_2(photo: pathlib.Path) -> None:
  for arguments in (
    ["nothing.jpg"],
    [photo, "--style", "oil"],
    [photo, "--set", "hair_style=helmet"],
    [photo, "--finish", "shiny"],
    [photo, "--knob", "eyes"],
    [photo, "-o", "me.tiff"],
    [photo, photo.parent, "-o", "one.png"],
  ):
    if photo.parent in arguments:
      Image.new("RGB", (64, 64)).save("second.png")
    result = avatar(*arguments)
    assert result.exit_code == 2, arguments
    assert "Traceback" not in result.output
    assert result.output.startswith("chibijax: "), result.output


def test_a_damaged_photo_does_not_stop_the_others(
  photo: pathlib.Path,
) -> None:
  photo.with_name("broken.jpg").write_bytes(b"not a picture")
  result = avatar(photo.parent, "--out", "chibis")
  assert result.exit_code == 0, result.output
  assert "skipped" in result.output
  assert [p.name for p in pathlib.Path("chibis").iterdir()] == ["me.png"]


def test_what_is_there_is_kept(photo: pathlib.Path) -> None:
  assert avatar(photo, "-o", "a.webp").exit_code == 0
  before = pathlib.Path("a.webp").read_bytes()
  result = avatar(photo, "-o", "a.webp", "--frame", "circle")
  assert result.exit_code == 0
  assert "--overwrite" in result.output
  assert pathlib.Path("a.webp").read_bytes() == before
  again = avatar(photo, "-o", "a.webp", "--frame", "circle", "--overwrite")
  assert again.exit_code == 0
  assert pathlib.Path("a.webp").read_bytes() != before


def test_a_config_file_and_options_above_it(photo: pathlib.Path) -> None:
  pathlib.Path("mine.toml").write_text('style = "toon"\nsize = 64\n')
  result = avatar(photo, "--config", "mine.toml", "--json")
  assert json.loads(result.stdout)["photos"][0]["avatars"][0]["size"] == [
    96, 96,
  ]  # fmt: skip


def test_pictures_say_what_they_are(photo: pathlib.Path) -> None:
  assert avatar(photo, "--consent").exit_code == 0
  report = json.loads(call("inspect", "me-chibi.png", "--json").stdout)[0]
  assert report["verdict"] in ("intact", "unsigned")
  assert report["record"]["consent"] is True
  assert report["record"]["style"] == "drawn"
  words = call("inspect", "me-chibi.png")
  assert words.exit_code == 0
  assert "drawn by software" in words.stdout


def test_no_provenance_says_what_it_drops(photo: pathlib.Path) -> None:
  result = avatar(photo, "--no-provenance", "-o", "plain.png")
  assert "nobody can tell later" in result.output
  report = json.loads(call("inspect", "plain.png", "--json").stdout)[0]
  assert report["verdict"] == "unknown"


def test_stickers_keep_the_photo(photo: pathlib.Path) -> None:
  result = call("stickers", photo, "--sticker", "cat_ears", "-o", "cat.png")
  assert result.exit_code == 0, result.output
  with Image.open(photo) as before, Image.open("cat.png") as after:
    assert before.size == after.size
  assert call("stickers", photo).exit_code == 2


def test_list_names_everything() -> None:
  result = call("avatar", "--list")
  assert result.exit_code == 0
  for word in ("palette", "cat_ears", "hair_style", "circle"):
    assert word in result.stdout


def test_help_has_examples() -> None:
  for name in ("avatar", "stickers", "align", "inspect", "fetch"):
    result = call(name, "--help")
    assert result.exit_code == 0
    assert f"chibijax {name}" in result.stdout


def test_fetch_lists_and_refuses(home: pathlib.Path) -> None:
  listed = call("fetch")
  assert listed.exit_code == 0
  assert "https://" in listed.stdout
  assert "SHA-256" in listed.stdout
  unknown = call("fetch", "everything")
  assert unknown.exit_code == 2
  assert "expected one of" in unknown.output


def test_names_of_several_photos_differ(home: pathlib.Path) -> None:
  for name in ("a/me.jpg", "b/me.jpg", "b/me.png"):
    path = home / name
    path.parent.mkdir(exist_ok=True)
    Image.new("RGB", (8, 8)).save(path)
  names = plan(find(["a", "b"]), None)
  assert len(set(names)) == 3
  assert {name.parts[0] for name in names} == {"chibis"}
  with pytest.raises(UserError, match="name of one picture"):
    plan(find(["a", "b"]), pathlib.Path("x.png"))
