"""Colour spaces against scikit-image, CIEDE2000 against its paper, transfer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from skimage import color as skimage_color

from chibijax.artist import palette
from chibijax.post import color

# Sharma, Wu, Dalal 2005, table 1: L a b, L a b, difference.
SHARMA = np.array(
  """
  50 2.6772 -79.7751 50 0 -82.7485 2.0425
  50 3.1571 -77.2803 50 0 -82.7485 2.8615
  50 2.8361 -74.0200 50 0 -82.7485 3.4412
  50 -1.3802 -84.2814 50 0 -82.7485 1.0000
  50 -1.1848 -84.8006 50 0 -82.7485 1.0000
  50 -0.9009 -85.5211 50 0 -82.7485 1.0000
  50 0 0 50 -1 2 2.3669
  50 -1 2 50 0 0 2.3669
  50 2.4900 -0.0010 50 -2.4900 0.0009 7.1792
  50 2.4900 -0.0010 50 -2.4900 0.0010 7.1792
  50 2.4900 -0.0010 50 -2.4900 0.0011 7.2195
  50 2.4900 -0.0010 50 -2.4900 0.0012 7.2195
  50 -0.0010 2.4900 50 0.0009 -2.4900 4.8045
  50 -0.0010 2.4900 50 0.0010 -2.4900 4.8045
  50 -0.0010 2.4900 50 0.0011 -2.4900 4.7461
  50 2.5 0 50 0 -2.5 4.3065
  50 2.5 0 73 25 -18 27.1492
  50 2.5 0 61 -5 29 22.8977
  50 2.5 0 56 -27 -3 31.9030
  50 2.5 0 58 24 15 19.4535
  50 2.5 0 50 3.1736 0.5854 1.0000
  50 2.5 0 50 3.2972 0 1.0000
  50 2.5 0 50 1.8634 0.5757 1.0000
  50 2.5 0 50 3.2592 0.3350 1.0000
  60.2574 -34.0099 36.2677 60.4626 -34.1751 39.4387 1.2644
  63.0109 -31.0961 -5.8663 62.8187 -29.7946 -4.0864 1.2630
  61.2901 3.7196 -5.3901 61.4292 2.2480 -4.9620 1.8731
  35.0831 -44.1164 3.7933 35.0232 -40.0716 1.5901 1.8645
  22.7233 20.0904 -46.6940 23.0331 14.9730 -42.5619 2.0373
  36.4612 47.8580 18.3852 36.2715 50.5065 21.2231 1.4146
  90.8027 -2.0831 1.4410 91.1528 -1.6435 0.0447 1.4441
  90.9257 -0.5406 -0.9208 88.6381 -0.8985 -0.7239 1.5381
  6.7747 -0.2908 -2.4247 5.8714 -0.0985 -2.2286 0.6377
  2.0776 0.0795 -1.1350 0.9033 -0.0636 -0.5514 0.9082
  """.split(),
  float,
).reshape(34, 7)


def random(*shape: int, seed: int = 0) -> np.ndarray:
  return np.random.default_rng(seed).random(shape, np.float32)


def test_difference_is_the_published_one() -> None:
  first, second, expected = SHARMA[:, :3], SHARMA[:, 3:6], SHARMA[:, 6]
  # The table has four digits.
  np.testing.assert_allclose(
    color.delta_e2000(first, second), expected, atol=5.1e-5
  )
  np.testing.assert_allclose(
    color.delta_e2000(second, first), expected, atol=5.1e-5
  )


def test_difference_is_scikit_images() -> None:
  rng = np.random.default_rng(1)
  pairs = rng.uniform((0, -90, -90), (100, 90, 90), (2, 500, 3))
  np.testing.assert_allclose(
    color.delta_e2000(*pairs),
    skimage_color.deltaE_ciede2000(*pairs),
    rtol=1e-9,
  )
  assert color.delta_e2000(pairs[0, 0], pairs[0, 0]) == 0


def test_lab_is_scikit_images() -> None:
  picture = random(20, 20, 3)
  # The white of sRGB's own matrix differs from the rounded D65 in a digit.
  np.testing.assert_allclose(
    color.srgb_to_lab(jnp.asarray(picture)),
    skimage_color.rgb2lab(picture),
    atol=0.02,
  )


def test_oklab_is_the_artists() -> None:
  for shade in ("#000000", "#ffffff", "#d7bd96", "#2b5fe0"):
    unit = jnp.asarray(palette.rgb(shade), jnp.float32) / 255
    # Black is lifted by the floor that keeps gradients finite.
    np.testing.assert_allclose(
      color.srgb_to_oklab(unit), palette.oklab(shade), atol=6e-4
    )


@pytest.mark.parametrize(
  ("there", "back"),
  [
    (color.srgb_to_lab, color.lab_to_srgb),
    (color.srgb_to_oklab, color.oklab_to_srgb),
    (color.srgb_to_linear, color.linear_to_srgb),
  ],
)
def test_conversions_return(there, back) -> None:
  picture = jnp.asarray(random(12, 12, 3)).at[0, 0].set(0).at[0, 1].set(1)
  # The lift of black in OKLab is 1e-10 of linear light.
  np.testing.assert_allclose(back(there(picture)), picture, atol=5e-6)
  slope = jax.grad(lambda x: there(x).sum())(picture)
  assert np.isfinite(slope).all()


def case() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """A flat drawing of two tones, a noisy photo, and a mask of both."""
  mask = np.zeros((60, 60), bool)
  mask[10:50, 10:50] = True
  drawing = np.full((60, 60, 3), 0.9, np.float32)
  drawing[mask] = (0.95, 0.85, 0.75)
  drawing[30:50, 10:50] = (0.85, 0.72, 0.62)
  photo = np.clip(
    np.float32([0.45, 0.30, 0.22]) + 0.03 * (random(60, 60, 3) - 0.5), 0, 1
  )
  # Shine, which is not the skin's colour.
  photo[12:16, 12:16] = 1
  return drawing, photo, mask


def test_transfer_brings_the_colour_and_keeps_the_shading() -> None:
  drawing, photo, mask = case()
  found, report = color.transfer(drawing, photo, {"skin": mask}, {"skin": mask})
  assert report.before["skin"] > 25
  assert report.after["skin"] < 1.5
  assert report.to_dict()["skipped"] == []
  # Both tones are there, the lighter one lighter; outside nothing changed.
  inner = np.asarray(found)
  assert inner[20, 30].sum() > inner[40, 30].sum() + 0.05
  assert np.abs(inner[15:25, 15:45] - inner[20, 30]).max() < 1e-5
  np.testing.assert_array_equal(inner[:5], drawing[:5])
  typical = color.typical(found, mask)
  goal = color.typical(photo, mask)
  assert color.delta_e2000(typical, goal) == pytest.approx(
    report.after["skin"], abs=0.01
  )


def test_strength_goes_from_nothing_to_all() -> None:
  drawing, photo, mask = case()
  rgba = np.dstack([drawing, random(60, 60) * 0.5 + 0.5])
  after = []
  for strength in (0.0, 0.5, 1.0):
    found, report = color.transfer(rgba, photo, mask, mask, strength=strength)
    np.testing.assert_array_equal(found[..., 3], rgba[..., 3])
    after.append(report.after["all"])
    if strength == 0:
      np.testing.assert_array_equal(found, rgba)
  assert after[0] > after[1] > after[2]


def test_regions_are_moved_apart() -> None:
  drawing, photo, mask = case()
  photo = photo.copy()
  photo[30:] = (0.1, 0.2, 0.6)
  upper, lower = mask.copy(), mask.copy()
  upper[30:], lower[:30] = False, False
  masks = {"skin": upper, "hair": lower, "hat": ~mask}
  found, report = color.transfer(
    drawing, photo, masks, {"skin": upper, "hair": lower}
  )
  assert set(report.after) == {"skin", "hair"}
  assert max(report.after.values()) < 3
  assert np.isfinite(found).all()


def test_regions_too_small_are_named() -> None:
  drawing, photo, mask = case()
  few = np.zeros_like(mask)
  few[0, 0] = True
  found, report = color.transfer(drawing, photo, {"hair": few}, {"hair": mask})
  assert report.skipped == ("hair",)
  np.testing.assert_array_equal(found, drawing)


def test_mistakes_are_sentences() -> None:
  drawing, photo, mask = case()
  with pytest.raises(ValueError, match="strength"):
    color.transfer(drawing, photo, mask, mask, strength=2)
  with pytest.raises(ValueError, match="share no region"):
    color.transfer(drawing, photo, {"a": mask}, {"b": mask})
  with pytest.raises(ValueError, match="like its picture"):
    color.transfer(drawing, photo, mask[:9], mask)
  with pytest.raises(ValueError, match="3 or 4 channels"):
    color.transfer(drawing[..., :2], photo, mask, mask)


def test_transfer_has_gradients() -> None:
  drawing = jnp.asarray(random(8, 8, 3) * 0.4 + 0.3)
  photo = jnp.asarray(random(8, 8, 3, seed=1) * 0.4 + 0.3)
  mask = jnp.ones((1, 8, 8))

  def result(*pair):
    picture, reference = map(jnp.asarray, pair)
    return color._transfer(picture, reference, mask, mask, jnp.float32(1))[0]

  # Differences in float32, through cube roots.
  check_grads(
    result, (drawing, photo), 1, modes=["rev"], eps=1e-3, atol=0.05, rtol=0.05
  )
