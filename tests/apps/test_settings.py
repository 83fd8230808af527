"""Settings of the pipeline: everything wrong is said in one sentence."""

import pathlib

import pytest
from ml_collections import ConfigDict

from chibijax.apps import settings
from chibijax.apps.settings import Settings
from chibijax.errors import UserError


def test_defaults_are_the_drawn_style_without_steps() -> None:
  made = Settings()
  assert made.style == "drawn"
  assert made.steps() == ()


def test_steps_come_in_the_order_they_are_seen() -> None:
  made = Settings(
    finish="smooth=0.5", stickers="cat_ears", background="blur", frame="circle"
  )
  names = [step.name for step in made.steps()]
  assert names == ["background", "smooth", "sticker", "frame"]


def test_a_config_dict_and_a_mapping_make_the_same() -> None:
  values = {"style": "toon", "size": 128, "knobs": {"eyes": 0.5}}
  assert Settings.from_config(ConfigDict(values)) == Settings(**values)
  assert Settings.from_config(values).chibi_knobs().eyes == 0.5


def test_the_toon_has_its_own_strength_and_finish() -> None:
  toon = Settings(style="toon")
  assert 0 < toon.chibi_knobs().strength < 1
  assert toon.steps()
  assert Settings(style="toon", strength=0.2).chibi_knobs().strength == 0.2
  bare = Settings(style="toon", finish="none", background="keep")
  assert [step.name for step in bare.steps()] == ["background"]
  whole = Settings(style="toon", whole=True)
  assert all(step.name != "background" for step in whole.steps())


@pytest.mark.parametrize(
  ("values", "words"),
  [
    ({"style": "oil"}, "drawn, toon"),
    ({"size": 8}, "64 to 4096"),
    ({"people": "two"}, "largest, all"),
    ({"style": "model"}, "--workdir"),
    ({"colour": "red"}, "unknown settings: colour"),
    ({"style": "toon", "knobs": {"ears": 1.0}}, "unknown knobs: ears"),
    ({"style": "toon", "strength": 2.0}, r"strength must be in \[0, 1\]"),
    ({"finish": "shiny"}, "shiny"),
    ({"stickers": "hatt"}, "hatt"),
    ({"frame": "oval"}, "oval"),
    ({"threads": 0}, "threads is 0"),
    ({"limit": 0}, "limit is 0"),
    ({"whole": True, "body": True}, "whole figure"),
    ({"style": "toon", "attributes": {"glasses": "round"}}, "'drawn'"),
    ({"size": "large"}, "wrong type"),
  ],
)
def test_mistakes_are_sentences(values: dict, words: str) -> None:
  with pytest.raises(UserError, match=words):
    Settings.from_config(values)


def test_toml_files(tmp_path: pathlib.Path) -> None:
  path = tmp_path / "mine.toml"
  path.write_text('style = "toon"\nsize = 256\n[knobs]\neyes = 0.8\n')
  made = Settings.from_config(settings.read(path))
  assert made == Settings(style="toon", size=256, knobs={"eyes": 0.8})
  path.write_text("style = toon")
  with pytest.raises(UserError, match="not TOML"):
    settings.read(path)
  with pytest.raises(UserError, match="cannot be read"):
    settings.read(tmp_path / "none.toml")
