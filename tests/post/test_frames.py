"""Frames: what they keep, what they cut, alpha, colours, mistakes."""

import numpy as np
import pytest

from chibijax.artist import palette
from chibijax.errors import UserError
from chibijax.post import frames

SHAPES = ((96, 96), (96, 70), (61, 110))


def picture(shape: tuple[int, int], channels: int = 3) -> np.ndarray:
  y, x = np.mgrid[: shape[0], : shape[1]]
  image = np.stack(
    [x / shape[1], y / shape[0], 0.5 + 0.3 * np.sin(x / 9), np.ones_like(x)], -1
  )
  return image[..., :channels].astype(np.float32)


@pytest.mark.parametrize("kind", frames.KINDS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("channels", [3, 4])
def test_shape_and_range(
  kind: str, shape: tuple[int, int], channels: int
) -> None:
  image = picture(shape, channels)
  kept = image.copy()
  found = frames.frame(image, kind)
  np.testing.assert_array_equal(image, kept)
  assert found.dtype == np.float32
  assert found.shape == (*shape, 4 if kind in frames.CUTS else channels)
  assert np.isfinite(found).all() and found.min() >= 0 and found.max() <= 1
  if kind in frames.CUTS:
    assert found[..., 3].min() == 0
    assert found[shape[0] // 2, shape[1] // 2, 3] == 1
  else:
    np.testing.assert_allclose(found[..., 3:], 1, atol=1e-5)


@pytest.mark.parametrize(
  "kind", ["circle", "rounded", "heart", "ring", "badge", "border"]
)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_middle_is_bit_equal(kind: str, shape: tuple[int, int]) -> None:
  image = picture(shape)
  found = frames.frame(image, kind)[..., :3]
  y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
  distance = np.hypot(x - shape[1] / 2, y - shape[0] / 2)
  middle = distance < 0.25 * min(shape)
  np.testing.assert_array_equal(found[middle], image[middle])


@pytest.mark.parametrize("shape", SHAPES)
def test_circle_covers_its_area(shape: tuple[int, int]) -> None:
  alpha = frames.frame(picture(shape), "circle")[..., 3]
  assert alpha.sum() == pytest.approx(np.pi * (min(shape) / 2) ** 2, rel=5e-3)
  assert ((alpha > 0) & (alpha < 1)).sum() > 2 * min(shape)
  # Symmetric about both axes: centred to a fraction of a pixel.
  np.testing.assert_allclose(alpha, alpha[::-1], atol=1e-5)
  np.testing.assert_allclose(alpha, alpha[:, ::-1], atol=1e-5)


@pytest.mark.parametrize("kind", ["circle", "rounded", "heart"])
def test_cuts_multiply_alpha(kind: str) -> None:
  image = picture((96, 96), 4)
  whole = frames.frame(image, kind)
  image[..., 3] = np.linspace(0, 1, 96, dtype=np.float32)
  found = frames.frame(image, kind)
  np.testing.assert_allclose(
    found[..., 3], whole[..., 3] * image[..., 3], atol=1e-6
  )
  np.testing.assert_array_equal(found[..., :3], image[..., :3])


@pytest.mark.parametrize("kind", ["polaroid", "film", "stamp"])
def test_mounts_show_the_picture_smaller(kind: str) -> None:
  image = picture((96, 96))
  found = frames.frame(image, kind)[..., :3]
  middle = found[40:50, 40:50]
  # Colours grow faster across a smaller picture.
  steps = [np.diff(i[40:50, 40:50, 0], axis=1).mean() for i in (found, image)]
  assert 1.01 < steps[0] / steps[1] < 1.5
  assert np.abs(middle - image[40:50, 40:50]).max() < 0.35
  clear = picture((96, 96), 4)
  clear[..., 3] = 0
  alpha = frames.frame(clear, kind)[..., 3]
  assert alpha[40:50, 40:50].max() == 0 and alpha[3, 5:90].max() == 1


@pytest.mark.parametrize(
  "kind", ["ring", "badge", "border", "polaroid", "film", "stamp"]
)
def test_color_is_used(kind: str) -> None:
  image = picture((96, 96))
  teal = np.array(palette.rgb(palette.CLOTHES["teal"]), np.float32) / 255
  for found in (
    frames.frame(image, kind, color="teal"),
    frames.frame(image, f"{kind}:teal"),
  ):
    close = np.abs(found[..., :3] - teal).max(-1) < 0.01
    assert close.mean() > 0.04
    # Near the border, not in the picture.
    assert not close[35:55, 35:55].any()


def test_seed_chooses_the_color() -> None:
  image = picture((64, 64))
  found = {
    frames.frame(image, "border", seed=s)[0, 0].tobytes() for s in range(6)
  }
  assert len(found) > 2
  papers = [frames.frame(image, "polaroid", seed=s) for s in (0, 1)]
  np.testing.assert_array_equal(*papers)


def test_mistakes() -> None:
  image = picture((64, 64))
  with pytest.raises(UserError, match="polaroid"):
    frames.frame(image, "gold")
  with pytest.raises(UserError, match="colour"):
    frames.frame(image, "ring:ink")
  with pytest.raises(ValueError, match="channels"):
    frames.frame(image[..., :1], "ring")
  with pytest.raises(ValueError, match="16"):
    frames.frame(image[:8], "ring")
