"""The invisible mark: what it survives, what it changes, and false alarms."""

import io

import numpy as np
import pytest
from PIL import Image

from chibijax.artist import draw_chibi, draw_portrait, sample_attributes
from chibijax.post import watermark, watermark_code

PAYLOAD = 0xA53C


def chibi(index: int, size: int) -> np.ndarray:
  """A drawn chibi: flat colours; transparent around it for odd indices."""
  attributes = sample_attributes(np.random.default_rng([11, index]))
  image = draw_chibi(attributes, size).image
  if index % 2:
    mask = draw_chibi(attributes, size).masks["head"]
    image = image.copy()
    image[..., 3] = np.where(mask, 255, 0)
  return image


def portrait(index: int, size: int) -> np.ndarray:
  attributes = sample_attributes(np.random.default_rng([12, index]))
  return draw_portrait(attributes, size, seed=index).rgb()


def over_white(image: np.ndarray) -> np.ndarray:
  if image.shape[2] == 3:
    return image
  alpha = image[..., 3:] / 255
  mixed = image[..., :3] * alpha + 255 * (1 - alpha)
  return np.rint(mixed).astype(np.uint8)


def coded(image: np.ndarray, form: str, quality: int) -> np.ndarray:
  file = io.BytesIO()
  Image.fromarray(over_white(image)).save(file, form, quality=quality)
  return np.asarray(Image.open(file).convert("RGB"))


def resized(image: np.ndarray, scale: float) -> np.ndarray:
  picture = Image.fromarray(image)
  size = (round(picture.width * scale), round(picture.height * scale))
  return np.asarray(picture.resize(size, Image.Resampling.BICUBIC))


def psnr(a: np.ndarray, b: np.ndarray) -> float:
  """Where it can be seen, in dB."""
  seen = np.ones(a.shape[:2], bool) if a.shape[2] == 3 else a[..., 3] > 0
  error = (a[seen][:, :3].astype(float) - b[seen][:, :3]) ** 2
  return 10 * np.log10(255**2 / error.mean())


ATTACKS = {
  "none": lambda image: image,
  "over white": over_white,
  "jpeg 75": lambda image: coded(image, "JPEG", 75),
  "webp 80": lambda image: coded(image, "WEBP", 80),
  "half": lambda image: resized(image, 0.5),
  "double": lambda image: resized(image, 2.0),
  "there and back": lambda image: resized(resized(image, 0.75), 4 / 3),
  "darker": lambda image: (over_white(image) * 0.9).astype(np.uint8),
}
PICTURES = {
  "chibi 128": lambda: chibi(0, 128),
  "chibi 256, transparent": lambda: chibi(1, 256),
  "chibi 512": lambda: chibi(2, 512),
  "portrait 300": lambda: portrait(0, 300),
  "wide portrait": lambda: portrait(1, 400)[:300],
}


@pytest.mark.parametrize("name", PICTURES)
def test_mark_survives_and_is_faint(name: str) -> None:
  image = PICTURES[name]()
  marked = watermark.embed(image, PAYLOAD)
  assert marked.shape == image.shape and marked.dtype == np.uint8
  assert psnr(image, marked) >= 40
  for attack, apply in ATTACKS.items():
    mark = watermark.detect(apply(marked))
    assert mark.found and mark.payload == PAYLOAD, attack
    assert mark.p_value < watermark_code.FALSE_ALARMS
  # What is transparent cannot be marked, and votes at random.
  agreement = watermark.detect(marked).agreement
  assert agreement > (0.65 if "transparent" in name else 0.98)


def test_flat_colours_are_marked_and_hardly_changed() -> None:
  flat = np.empty((512, 512, 3), np.uint8)
  flat[:] = (246, 214, 190)
  marked = watermark.embed(flat, PAYLOAD)
  # JPEG 75 alone changes such a picture by this much where it has lines.
  assert psnr(flat, marked) >= 49
  assert np.abs(marked.astype(int) - flat).max() <= 10
  assert watermark.detect(coded(marked, "JPEG", 75)).payload == PAYLOAD


@pytest.mark.parametrize("color", [0, 255])
def test_black_and_white_can_be_marked(color: int) -> None:
  image = np.full((256, 256, 3), color, np.uint8)
  assert not watermark.detect(image).found
  marked = watermark.embed(image, PAYLOAD)
  assert watermark.detect(marked).payload == PAYLOAD
  assert psnr(image, marked) >= 40


def test_transparent_pixels_and_alpha_stay() -> None:
  image = chibi(3, 256)
  image[..., :3][image[..., 3] == 0] = 77
  marked = watermark.embed(image, PAYLOAD)
  np.testing.assert_array_equal(marked[..., 3], image[..., 3])
  hidden = image[..., 3] == 0
  assert hidden.any() and not hidden.all()
  np.testing.assert_array_equal(marked[hidden], image[hidden])
  assert (marked[~hidden] != image[~hidden]).any()
  # A picture that shows nothing cannot be marked, and is not damaged.
  image[..., 3] = 0
  np.testing.assert_array_equal(watermark.embed(image, PAYLOAD), image)


def test_cropped_copy_is_found_by_searching() -> None:
  marked = watermark.embed(chibi(4, 384), PAYLOAD)
  cut = marked[10:360, 25:375]
  assert not watermark.detect(cut).found
  mark = watermark.detect(cut, search=True)
  assert mark.payload == PAYLOAD
  np.testing.assert_allclose(mark.kept, 350 / 384, atol=0.01)


@pytest.mark.parametrize("kind", [chibi, portrait])
def test_unmarked_pictures_have_no_mark(kind: object) -> None:
  for index in range(12):
    image = kind(100 + index, 160)
    assert not watermark.detect(image).found
  assert not watermark.detect(image, search=True).found


def test_p_value_bounds_the_share_of_false_alarms() -> None:
  # Random phases are the worst case that the bound speaks of: with 400 draws
  # none may come near a millionth, and the bound must hold where it says much.
  rng = np.random.default_rng(0)
  count = len(watermark_code.carriers().bits)
  values = [
    watermark_code.decide(
      np.cos(rng.uniform(0, 2 * np.pi, count)).astype(np.float32), None, 1
    ).p_value
    for _ in range(400)
  ]
  assert min(values) > 1e-4
  for level in (0.05, 0.5):
    assert np.mean(np.array(values) <= level) <= level


def test_any_two_words_differ_in_eight_places() -> None:
  # The code is linear: its distances are its weights.
  generator = watermark_code.generator().astype(int)
  messages = (np.arange(1 << 16)[:, None] >> np.arange(16)) & 1
  weights = np.sum(messages @ generator % 2, axis=1)
  assert weights[0] == 0 and np.sort(weights)[1] == 8
  # Self-dual: every word is orthogonal to every other.
  assert not (generator @ generator.T % 2).any()


def test_decoder_finds_the_nearest_word() -> None:
  rng = np.random.default_rng(1)
  for payload in rng.integers(0, 1 << 16, 20).tolist():
    word = watermark_code.encode(payload).astype(np.float32)
    damaged = word.copy()
    damaged[rng.permutation(32)[:3]] *= -1
    assert watermark_code.likeliest(word) == (payload, 32)
    assert watermark_code.likeliest(damaged) == (payload, 26)


def test_waves_are_orthonormal_and_ignore_shading() -> None:
  size = 512
  at = (np.arange(size) + 0.5) / size
  waves = watermark_code.wave_values(at)
  gram = waves @ waves.T * (watermark_code.GRID / size)
  np.testing.assert_allclose(np.diag(gram), 1, atol=0.03)
  assert np.abs(gram - np.diag(np.diag(gram))).max() < 0.1
  # No response to a constant: 1e-6 is rounding of sums over 512 values.
  np.testing.assert_allclose(waves.sum(1) / size, 0, atol=1e-6)


@pytest.mark.parametrize("payload", [0, 1, 0xFFFF])
def test_payload_comes_back(payload: int) -> None:
  image = portrait(3, 128)
  assert watermark.detect(watermark.embed(image, payload)).payload == payload


def test_marking_is_deterministic_and_leaves_its_input() -> None:
  image = chibi(5, 128)
  before = image.copy()
  one, two = (watermark.embed(image, 1) for _ in range(2))
  np.testing.assert_array_equal(one, two)
  np.testing.assert_array_equal(image, before)


def test_strength() -> None:
  image = portrait(4, 200)
  faint = watermark.embed(image, 5, strength=0.5)
  strong = watermark.embed(image, 5, strength=2.0)
  assert psnr(image, faint) > psnr(image, strong) + 10
  assert watermark.detect(strong, strength=2.0).payload == 5
  assert watermark.detect(faint, strength=0.5).payload == 5


@pytest.mark.parametrize(
  ("call", "sentence"),
  [
    (lambda i: watermark.embed(i, 1 << 16), "payload must be 0..65535"),
    (lambda i: watermark.embed(i, -1), "payload must be 0..65535"),
    (lambda i: watermark.embed(i[:63], 1), "at least 64 pixels"),
    (lambda i: watermark.embed(i, 1, strength=0.0), "strength must be"),
    (lambda i: watermark.detect(i[:20]), "at least 32 pixels"),
    (lambda i: watermark.detect(i[..., :2]), "3 or 4 channels"),
  ],
)
def test_wrong_arguments(call: object, sentence: str) -> None:
  with pytest.raises(ValueError, match=sentence):
    call(np.zeros((80, 80, 3), np.uint8))
