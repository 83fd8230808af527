"""Attributes: validation, JSON round trip, and what sampling promises."""

import collections
import json

import numpy as np
import pytest

from chibijax.artist import Attributes, sample_attributes
from chibijax.artist.attributes import MEASURED, RANGES, VALUES


@pytest.fixture(scope="module")
def characters() -> list[Attributes]:
  return [sample_attributes(np.random.default_rng([3, i])) for i in range(800)]


def test_round_trip_through_json(characters: list[Attributes]) -> None:
  for attributes in characters[:50]:
    text = json.dumps(attributes.to_dict())
    assert Attributes.from_dict(json.loads(text)) == attributes


def test_same_seed_same_character() -> None:
  first = sample_attributes(np.random.default_rng([7, 11]))
  assert first == sample_attributes(np.random.default_rng([7, 11]))
  assert first != sample_attributes(np.random.default_rng([7, 12]))


def test_vocabulary_is_as_rich_as_promised() -> None:
  least = {"hair_style": 14, "expression": 10, "eye_shape": 5, "clothes": 6}
  for field, count in least.items():
    assert len(set(VALUES[field])) >= count


def test_skin_tones_and_presentations_are_balanced(
  characters: list[Attributes],
) -> None:
  tones = collections.Counter(c.skin_tone for c in characters)
  assert sorted(tones) == list(range(1, 11))
  # Binomial(800, 0.1): mean 80, deviation 8.5; five deviations.
  assert max(abs(n - 80) for n in tones.values()) < 43
  shown = collections.Counter(c.presentation for c in characters)
  assert abs(shown["feminine"] - shown["masculine"]) < 140


def test_every_word_is_sampled(characters: list[Attributes]) -> None:
  for field, words in VALUES.items():
    seen = {getattr(c, field) for c in characters}
    never = {"background": ("none",)} | MEASURED
    assert seen == set(words) - set(never.get(field, ()))


def test_correlations_are_plausible(characters: list[Attributes]) -> None:
  for c in characters:
    if c.presentation == "feminine" or c.age == "child":
      assert c.facial_hair == "none"

  def share(tones: range, colors: tuple[str, ...]) -> float:
    group = [c.hair_color for c in characters if c.skin_tone in tones]
    return sum(color in colors for color in group) / len(group)

  light = ("blonde", "platinum", "dark_blonde")
  assert share(range(1, 4), light) > 2 * share(range(8, 11), light) > 0


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    ({"hair_style": "beehive"}, "hair_style must be one of"),
    ({"skin_tone": 11}, "skin_tone must be in"),
    ({"yaw": 50.0}, "yaw must be in"),
    ({"hat": "cap"}, "unknown attributes: hat"),
  ],
)
def test_wrong_values_are_refused(fields: dict, message: str) -> None:
  with pytest.raises(ValueError, match=message):
    Attributes.from_dict(fields)


def test_limits_are_allowed() -> None:
  for name, (low, high) in RANGES.items():
    for value in (low, high):
      assert getattr(Attributes(**{name: value}), name) == value
