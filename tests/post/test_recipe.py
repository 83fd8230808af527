"""Recipes: reading, writing, what they need, and every step and preset."""

import functools

import numpy as np
import pytest

from chibijax.artist import Drawing, draw_portrait, sample_attributes
from chibijax.post import finishes, recipe

# A value for those steps that need one.
VALUES = {
  "glitch": "0.5",
  "poster": "1",
  "sticker": "hearts",
  "background": "color:#ffccdd",
  "frame": "circle",
}


@functools.cache
def portrait() -> Drawing:
  rng = np.random.default_rng([3, 4])
  return draw_portrait(sample_attributes(rng), 96, seed=4)


def unit() -> np.ndarray:
  return portrait().rgb().astype(np.float32) / 255


def known() -> dict:
  drawn = portrait()
  masks = {name: drawn.masks[name] for name in ("skin", "hair")}
  masks["background"] = ~(drawn.masks["skin"] | drawn.masks["hair"])
  return {"landmarks": drawn.landmarks, "masks": masks, "reference": unit()}


def text_of(name: str) -> str:
  return f"{name}={VALUES[name]}" if name in VALUES else name


def test_values_are_read() -> None:
  steps = recipe.parse(" smooth=0.6, palette=8:colors=#112233+#ddeeff ,lines,")
  assert [step.name for step in steps] == ["smooth", "palette", "lines"]
  assert dict(steps[0].values) == {"strength": 0.6, "radius": 0.012}
  assert dict(steps[1].values) == {
    "count": 8,
    "colors": ("#112233", "#ddeeff"),
    "strength": 1.0,
  }


def test_second_values_go_by_place() -> None:
  [step] = recipe.parse("background=color:#ffccdd")
  assert dict(step.values) == {"kind": "color", "value": "#ffccdd"}
  [step] = recipe.parse("frame=circle:color=#112233")
  assert dict(step.values) == {"kind": "circle", "color": "#112233"}
  [step] = recipe.parse("sticker=round_glasses+hearts")
  assert dict(step.values)["names"] == ("round_glasses", "hearts")


def test_presets_stand_for_their_steps() -> None:
  assert recipe.parse("none") == recipe.parse("") == ()
  for name, text in recipe.PRESETS.items():
    assert recipe.parse(f"{name},vignette")[-1].name == "vignette"
    assert len(recipe.parse(name)) == len([p for p in text.split(",") if p])
  # With a value, a name is the step.
  assert [step.name for step in recipe.parse("glitch=0.2")] == ["glitch"]


@pytest.mark.parametrize(
  "text",
  [
    *recipe.PRESETS,
    *(text_of(name) for name in finishes.STEPS if name != "ink"),
    "ink=0.5:width=2",
    "lines:width=1.5:color=#aabbcc",
    "duotone:colors=#000000+#ffffff",
    "smooth=0.123456,grain=0.3:size=2",
  ],
)
def test_writing_and_reading_return(text: str) -> None:
  steps = recipe.parse(text)
  assert recipe.parse(recipe.format_steps(steps)) == steps


def test_writing_is_short() -> None:
  text = "smooth=0.6,palette,lines:width=2,frame=circle"
  assert recipe.format_steps(recipe.parse(text)) == text


@pytest.mark.parametrize(
  ("text", "words"),
  [
    ("blur", "no step or preset is called 'blur'"),
    ("smooth=much", "must be a number; got 'much'"),
    ("smooth=1.5", r"strength of step 'smooth' must be in \[0, 1\]; got 1.5"),
    ("smooth=nan", "must be in"),
    ("palette=2.5", "must be a whole number"),
    ("palette=0", r"must be in \[1, 64\]"),
    ("palette:colors=red", "must look like #ffccdd; got 'red'"),
    ("lines:color=black", "must look like #ffccdd"),
    ("lines:size=2", "no parameter 'size'; it has strength, width"),
    ("lines=0.5:strength=1", "sets 'strength' twice"),
    ("frame", "step 'frame' needs a value: frame=KIND"),
    ("background=", "needs a value"),
    ("smooth=0.2:0.01:3", "no parameter '3'"),
  ],
)
def test_mistakes_are_sentences(text: str, words: str) -> None:
  with pytest.raises(ValueError, match=words):
    recipe.parse(text)


@pytest.mark.parametrize(
  ("text", "missing"),
  [
    ("blush", "landmarks"),
    ("cel", "landmarks"),
    ("shine", "masks"),
    ("color", "reference"),
    ("even", "landmarks or masks"),
  ],
)
def test_what_is_missing_is_named(text: str, missing: str) -> None:
  with pytest.raises(ValueError, match=missing):
    recipe.apply(unit(), text)


@pytest.mark.parametrize("name", finishes.STEPS)
def test_every_step_works(name: str) -> None:
  picture = unit()
  kept = picture.copy()
  # Not the bare word, which may be a preset.
  step = recipe.parse(f"{name}=1" if name == "ink" else text_of(name))
  found = recipe.apply(picture, step, **known(), seed=3)
  again = recipe.apply(picture, step, **known(), seed=3)
  np.testing.assert_array_equal(found, again)
  np.testing.assert_array_equal(picture, kept)
  assert found.dtype == np.float32 and found.shape[:2] == picture.shape[:2]
  assert 0 <= found.min() and found.max() <= 1
  if name != "color":  # The reference is the picture itself.
    assert found.shape != picture.shape or (found != picture).any()


@pytest.mark.parametrize("name", ["soft", "cel", "ink", "poster", "glitch"])
def test_presets_work_and_keep_alpha(name: str) -> None:
  alpha = np.ones((96, 96), np.float32)
  alpha[:8] = 0
  alpha[8:16] = 0.5
  found = recipe.apply(np.dstack([unit(), alpha]), name, **known())
  np.testing.assert_array_equal(found[..., 3], alpha)
  assert 0 <= found.min() and found.max() <= 1
  assert np.isfinite(found).all()


def test_nothing_is_nothing() -> None:
  picture = unit()
  found = recipe.apply(picture, "none")
  np.testing.assert_array_equal(found, picture)
  assert found is not picture


def test_lines_are_drawn_after_the_picture_before_it_was_flat() -> None:
  picture = unit()
  flat = recipe.apply(picture, "palette=2,lines", **known())
  # Two colours have fewer edges than the picture.
  steps = [recipe.parse(part) for part in ("palette=2", "lines")]
  apart = recipe.apply(picture, steps[0], **known())
  apart = recipe.apply(apart, steps[1], **known())
  assert not np.array_equal(flat, apart)


def test_colours_are_carried_over() -> None:
  picture = unit()
  shifted = np.clip(picture * np.float32([0.7, 0.8, 1.0]), 0, 1)
  found = recipe.apply(shifted, "color", **(known() | {"reference": picture}))
  skin = portrait().masks["skin"]
  before = np.abs(shifted - picture)[skin].mean()
  assert np.abs(found - picture)[skin].mean() < 0.4 * before


def test_the_help_names_everything() -> None:
  text = recipe.describe()
  for name in (*finishes.STEPS, *recipe.PRESETS):
    assert f"  {name} " in text
  for line in text.splitlines():
    assert len(line) <= 120
