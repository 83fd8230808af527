"""Flat colour: number of colours, clean edges, determinism, posterising."""

import jax.numpy as jnp
import numpy as np
import pytest

from chibijax.artist import palette as named
from chibijax.post import palette

COLORS = ("#d8a080", "#402820", "#4a78c9", "#f2e3c4")


def speckled(size: int = 64, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
  """Four flat quarters with speckles and a little noise; and without."""
  clean = np.zeros((size, size, 3), np.float32)
  half = size // 2
  for k, color in enumerate(COLORS):
    rows = slice(half * (k // 2), half * (k // 2 + 1))
    columns = slice(half * (k % 2), half * (k % 2 + 1))
    clean[rows, columns] = np.array(named.rgb(color)) / 255
  rng = np.random.default_rng(seed)
  noisy = clean + 0.03 * rng.standard_normal(clean.shape, np.float32)
  spots = rng.random((size, size)) < 0.02
  noisy[spots] = noisy[::-1, ::-1][spots]
  return np.clip(noisy, 0, 1), clean


def test_the_colours_are_found() -> None:
  noisy, _ = speckled()
  found = palette.fit(noisy, 4)
  wanted = np.array([named.oklab(color) for color in COLORS])
  wanted = wanted[np.argsort(wanted[:, 0])]
  # The noise is rectified by the gamma of dark colours.
  np.testing.assert_allclose(found, wanted, atol=0.02)


def test_a_seed_decides() -> None:
  picture = np.random.default_rng(0).random((48, 48, 3), np.float32)
  first, again, other = (palette.fit(picture, 7, seed=s) for s in (1, 1, 2))
  np.testing.assert_array_equal(first, again)
  assert not np.array_equal(first, other)
  assert (np.diff(first[:, 0]) >= 0).all()


def test_fewer_colours_than_asked_for() -> None:
  flat = np.full((16, 16, 3), 0.5, np.float32)
  assert len(palette.fit(flat, 12)) == 1
  np.testing.assert_allclose(palette.flatten(flat, 12), flat, atol=1e-3)


def test_speckles_go_and_edges_stay() -> None:
  noisy, clean = speckled(96)
  found = np.asarray(palette.flatten(noisy, 4))
  off = np.abs(found - clean).max(-1)
  # Away from the edges everything is flat; the edges are where they were.
  inner = np.ones((96, 96), bool)
  inner[45:51] = inner[:, 45:51] = False
  assert (off[inner] < 0.06).mean() > 0.999
  assert (np.abs(noisy - clean).max(-1)[inner] < 0.06).mean() < 0.9


def test_details_survive() -> None:
  picture = np.full((64, 64, 3), 0.8, np.float32)
  picture[30:32, 30:32] = 0.1
  detail = np.zeros((64, 64), np.float32)
  lost = np.asarray(palette.flatten(picture, 2))
  detail[26:36, 26:36] = 1
  kept = np.asarray(palette.flatten(picture, 2, detail=detail))
  assert kept[30, 30].mean() < 0.25
  assert lost[30, 30].mean() > kept[30, 30].mean()


def test_masks_decide_who_gets_the_colours() -> None:
  x = np.linspace(0, 1, 64, dtype=np.float32)
  picture = np.stack(np.broadcast_arrays(x[:, None], x[None], 0.5), -1).copy()
  skin = np.zeros((64, 64), bool)
  skin[:32, :32] = True
  inside = {}
  for name in ("skin", "background"):
    found = np.asarray(palette.flatten(picture, 6, masks={name: skin}))
    inside[name] = np.abs(found - picture)[:32, :32].mean()
  assert inside["skin"] > 0
  # The background keeps its gradients.
  assert inside["background"] < inside["skin"]


def test_given_colours_are_the_only_ones() -> None:
  noisy, _ = speckled()
  inks = ("#000000", "#ffffff")
  found = np.asarray(palette.flatten(noisy, colors=inks))
  assert (np.minimum(found, 1 - found) < 1e-4).mean() > 0.85
  assert np.abs(found - found[..., :1]).max() < 1e-5


@pytest.mark.parametrize("run", [palette.flatten, palette.posterise])
def test_range_shape_alpha_and_nothing_at_zero(run) -> None:
  picture = np.random.default_rng(3).random((30, 22, 4), np.float32)
  found = np.asarray(run(picture))
  assert found.shape == picture.shape and found.dtype == np.float32
  assert 0 <= found.min() and found.max() <= 1
  np.testing.assert_array_equal(found[..., 3], picture[..., 3])
  np.testing.assert_array_equal(run(picture, strength=0), picture)
  np.testing.assert_array_equal(run(picture), found)


def test_hidden_pixels_choose_no_colours() -> None:
  picture = np.zeros((32, 32, 4), np.float32)
  picture[..., :3] = (0.0, 1.0, 0.0)
  picture[:8] = (0.8, 0.2, 0.2, 1)
  found = palette.fit(picture, 3)
  assert len(found) == 1 and found[0, 1] > 0


def test_posterising_makes_steps() -> None:
  light = jnp.linspace(0, 1, 256)
  ramp = jnp.broadcast_to(light[None, :, None], (4, 256, 3))
  jumps = []
  for sharpness in (0.2, 0.6, 1.0):
    found = np.asarray(palette.posterise(ramp, 4, sharpness=sharpness))
    grey = found[0, :, 0]
    assert (np.diff(grey) >= -1e-6).all()
    jumps.append(np.diff(grey).max())
  assert jumps == sorted(jumps)
  np.testing.assert_array_equal(palette.posterise(ramp, 4, sharpness=0), ramp)


def test_mistakes_are_sentences() -> None:
  picture = np.zeros((8, 8, 3), np.float32)
  with pytest.raises(ValueError, match="1 to 64 colours"):
    palette.flatten(picture, 0)
  with pytest.raises(ValueError, match="1 to 64 colours"):
    palette.fit(picture, 65)
  with pytest.raises(ValueError, match="rrggbb"):
    palette.flatten(picture, colors=["red"])
  with pytest.raises(ValueError, match="mask 'skin' must be"):
    palette.flatten(picture, masks={"skin": np.zeros((2, 2), bool)})
  with pytest.raises(ValueError, match="strength"):
    palette.flatten(picture, strength=-1)
  with pytest.raises(ValueError, match="levels"):
    palette.posterise(picture, 1)
  with pytest.raises(ValueError, match="sharpness"):
    palette.posterise(picture, sharpness=2)
