"""The base of all sources, and the artist as a source."""

import pickle

import numpy as np
import pytest

from chibijax import artist
from chibijax.data.sources import ArtistSource, Cache, DataError


@pytest.mark.parametrize("domain", ["chibi", "portrait"])
def test_artist_example_is_a_function_of_seed_and_index(domain: str) -> None:
  source = ArtistSource(domain, 32, seed=5, examples=9)
  image = source[7]["image"]
  assert image.shape == (32, 32, 3) and image.dtype == np.uint8
  copy = pickle.loads(pickle.dumps(source))
  np.testing.assert_array_equal(image, copy[7]["image"])
  assert (image != source[6]["image"]).any()
  assert (image != ArtistSource(domain, 32, seed=6)[7]["image"]).any()
  assert len(source) == 9
  with pytest.raises(IndexError):
    source[9]


def test_domains_of_one_seed_show_the_same_characters() -> None:
  portraits = ArtistSource("portrait", 24, seed=3, extras=True)
  chibis = ArtistSource("chibi", 24, seed=3, extras=True)
  for k in (0, 4):
    a, b = portraits[k], chibis[k]
    assert a["attributes"] == b["attributes"] == portraits.attributes(k)
    assert a["landmarks"].shape == b["landmarks"].shape == (68, 2)
    assert set(b["masks"]) == {"head", "hair", "skin"}
    assert set(a["masks"]) == {"person", *b["masks"]}
  rng = np.random.default_rng([3, 4])
  assert artist.sample_attributes(rng) == chibis.attributes(4)


def test_cutouts_stand_on_the_plain_colour() -> None:
  color = (10, 200, 30)
  drawn = ArtistSource("chibi", 32, seed=3)
  cut = ArtistSource("chibi", 32, seed=3, cutout=color)
  corners = np.stack([cut[k]["image"][0, [0, -1]] for k in range(6)])
  # Hair or headwear may reach a corner; a background always does.
  assert (corners == color).all(-1).mean() > 0.5
  before = np.stack([drawn[k]["image"][0, [0, -1]] for k in range(6)])
  assert not (before == color).all(-1).any()
  # The character itself is the same.
  face = np.s_[16:24, 12:20]
  np.testing.assert_array_equal(cut[2]["image"][face], drawn[2]["image"][face])


def test_cache_returns_what_was_drawn_and_respects_its_limit() -> None:
  plain = ArtistSource("chibi", 16, examples=4)
  cached = ArtistSource("chibi", 16, examples=4, cache_bytes=3 * 16 * 16 * 3)
  for _ in range(2):
    for k in range(4):
      np.testing.assert_array_equal(plain[k]["image"], cached[k]["image"])
  assert cached.cache.used == cached.cache.limit
  assert cached[0]["image"] is cached[0]["image"]
  assert cached[3]["image"] is not cached[3]["image"]


def test_cache_hands_out_a_dict_that_may_be_changed() -> None:
  cache = Cache(100)
  cache.put(0, {"image": np.zeros(10, np.uint8)})
  cache.get(0)["image"] = None
  assert cache.get(0)["image"].shape == (10,)
  cache.put(0, {"image": np.ones(10, np.uint8)})
  assert cache.used == 10 and not cache.get(0)["image"].any()
  assert cache.get(1) is None


@pytest.mark.parametrize(
  "arguments",
  [
    {"size": 0},
    {"size": 8, "examples": 0},
    {"size": 8, "seed": -1},
  ],
)
def test_bad_arguments(arguments: dict[str, int]) -> None:
  with pytest.raises(DataError, match="an artist source needs"):
    ArtistSource("chibi", **arguments)
