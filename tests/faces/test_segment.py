"""The segmentation network: weights, IoU on portraits it never saw."""

import dataclasses
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chibijax import artist
from chibijax.errors import UserError
from chibijax.faces import align, analysis, parser_weights, segment

HELD_OUT, COUNT = 2, 10


@pytest.fixture(scope="module")
def finder() -> segment.Segment:
  return segment.load()


@pytest.fixture(scope="module")
def portraits() -> list[tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]]:
  """Whole pictures, their masks, their landmarks."""
  found = []
  for k in range(COUNT):
    who = artist.sample_attributes(np.random.default_rng([HELD_OUT, k]))
    drawn = artist.draw_portrait(who, 160, seed=k)
    masks = {n: drawn.masks[n] for n in ("hair", "skin")}
    masks["background"] = ~drawn.masks["person"]
    found.append((drawn.image[..., :3], masks, drawn.landmarks))
  return found


def test_masks_overlap_those_of_portraits_it_never_saw(
  finder, portraits
) -> None:
  both = dict.fromkeys(segment.CLASSES, 0)
  either = dict.fromkeys(segment.CLASSES, 0)
  for picture, masks, points in portraits:
    found = analysis.find_masks(picture, points, finder)
    assert set(found) == set(masks)
    for name, mask in masks.items():
      assert found[name].shape == mask.shape and found[name].dtype == bool
      both[name] += (found[name] & mask).sum()
      either[name] += (found[name] | mask).sum()
  overlap = {name: both[name] / either[name] for name in both}
  assert overlap["background"] > 0.93
  assert overlap["skin"] > 0.82
  assert overlap["hair"] > 0.70


def test_shares_are_shares_at_any_size(finder, portraits) -> None:
  picture, _, points = portraits[0]
  for size in (finder.size, 200):
    move = align.find_transform(points, size, finder.margin)
    shares = finder(align.warp(picture, move, (size, size)))
    assert set(shares) == {"hair", "skin", "background"}
    for share in shares.values():
      assert share.shape == (size, size) and share.dtype == np.float32
      assert share.min() >= 0 and share.max() <= 1
    assert sum(shares.values()).max() < 1.001


def test_batch_equals_single_pictures(finder, portraits) -> None:
  pictures = [
    align.warp(p, align.find_transform(points, 128, finder.margin), (128, 128))
    for p, _, points in portraits[:9]
  ]
  together = finder.batch(pictures)
  assert len(together) == 9
  for name, share in finder(pictures[8]).items():
    # Sums in another order.
    np.testing.assert_allclose(together[8][name], share, atol=1e-3)


def test_jit_equals_eager(finder, portraits) -> None:
  picture = portraits[0][0][:128, :128]
  x = jnp.asarray(picture[None] / np.float32(127.5) - 1)
  eager = jax.nn.softmax(finder.net.apply({"params": finder.params}, x))[0]
  for name, share in finder(picture).items():
    k = segment.CLASSES[name]
    np.testing.assert_allclose(share, eager[..., k], atol=1e-3)


def test_astronaut_has_hair_and_skin(finder, astronaut, mtcnn_detector) -> None:
  (face,) = analysis.analyse(astronaut, mtcnn_detector, segment=finder)
  masks = face.mask
  assert all(mask.shape == (512, 512) for mask in masks.values())
  five = face.points
  cheeks = (five[0] + five[3]) / 2, (five[1] + five[4]) / 2
  for x, y in cheeks:
    assert masks["skin"][int(y), int(x)]
  # The picture's lower left corner is far from the face: outside the frame.
  assert masks["background"][500, 5] and not masks["skin"][500, 5]
  assert not (masks["hair"] & masks["skin"]).any()


def test_shipped_weights_say_what_they_are(finder) -> None:
  file = parser_weights.FOLDER / "segment.safetensors"
  assert file.stat().st_size <= 3 << 20
  assert finder.about["network"] == "segment" and finder.about["licence"]


def test_bad_files_end_in_a_sentence(
  finder, tmp_path: pathlib.Path, monkeypatch
) -> None:
  monkeypatch.setenv(segment.VARIABLE, str(tmp_path / "no.safetensors"))
  with pytest.raises(UserError, match="is missing"):
    segment.load()
  file = tmp_path / "w.safetensors"
  parser_weights.save(file, {"a": np.zeros(3)}, finder.about)
  with pytest.raises(UserError, match="do not suit"):
    segment.load(file)
  assert dataclasses.is_dataclass(finder)
