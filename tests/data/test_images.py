"""Reading pictures: every odd file gives the right pixels or a clear reason."""

import io
import pathlib
import pickle
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from chibijax.data import images

READ = images.Reader().read


def gradient(height: int, width: int) -> np.ndarray:
  """A smooth picture without symmetry."""
  y, x = np.mgrid[:height, :width]
  red, green = 255 * x // max(width - 1, 1), 200 * y // max(height - 1, 1)
  return np.stack([red, green, np.full_like(x, 40)], -1).astype(np.uint8)


def saved(picture: Image.Image, form: str = "PNG", **options) -> io.BytesIO:
  file = io.BytesIO()
  picture.save(file, form, **options)
  file.seek(0)
  return file


def test_rgb_is_exact() -> None:
  pixels = gradient(5, 7)
  np.testing.assert_array_equal(READ(saved(Image.fromarray(pixels))), pixels)


@pytest.mark.parametrize("mode", ["L", "1", "P", "LA", "PA", "RGBA", "RGB"])
def test_white_stays_white_in_every_mode(mode: str) -> None:
  form = "TIFF" if mode == "PA" else "PNG"
  picture = Image.new("RGB", (6, 6), "white").convert(mode)
  if mode == "PA":  # No common format stores it: test the conversion alone.
    pixels = np.asarray(images.to_rgb(picture))
  else:
    pixels = READ(saved(picture, form))
  assert pixels.shape == (6, 6, 3) and pixels.dtype == np.uint8
  assert (pixels == 255).all()


@pytest.mark.parametrize("mode", ["LA", "RGBA", "P", "RGB", "I;16"])
def test_rgba_keeps_straight_colours_and_transparency(mode: str) -> None:
  if mode == "I;16":
    picture = Image.fromarray(np.full((4, 6), 200 * 257, np.uint16))
  else:
    picture = Image.new("RGBA", (6, 4), (200, 200, 200, 60)).convert(mode)
  pixels = images.Reader(size=3).read_rgba(saved(picture))
  # The native size, whatever the reader's; colours not mixed with any ground.
  assert pixels.shape == (4, 6, 4)
  assert (pixels[..., :3] == 200).all()
  solid = mode in ("RGB", "I;16")
  assert (pixels[..., 3] == (255 if solid else 60)).all()


def test_rgba_leaves_pixels_where_the_camera_saw_them() -> None:
  pixels = gradient(4, 6)
  exif = Image.Exif()
  exif[0x0112] = 6
  turned = saved(Image.fromarray(pixels), exif=exif.tobytes())
  assert READ(turned).shape == (6, 4, 3)
  turned.seek(0)
  found = images.READER.read_rgba(turned)
  np.testing.assert_array_equal(found[..., :3], pixels)
  with pytest.raises(images.ImageError, match="not a picture"):
    images.READER.read_rgba(io.BytesIO(b"nothing"))


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_alpha_is_composited_over_the_background(mode: str) -> None:
  picture = Image.new("RGBA", (4, 4), (0, 0, 0, 0)).convert(mode)
  picture.paste(Image.new("RGBA", (2, 4), (0, 0, 0, 128)).convert(mode))
  over_white = READ(saved(picture))
  assert (over_white[:, 2:] == 255).all()
  # 255 (1 - 128/255) = 127; one unit for rounding.
  np.testing.assert_allclose(over_white[:, :2].astype(int), 127, atol=1)
  over_red = images.Reader(background=(255, 0, 0)).read(saved(picture))
  assert (over_red[:, 2:] == (255, 0, 0)).all()


def test_palette_transparency_and_colour_key() -> None:
  palette = Image.new("P", (4, 4), 1)
  palette.putpalette([0, 0, 0, 10, 20, 30])
  assert (READ(saved(palette)) == (10, 20, 30)).all()
  assert (READ(saved(palette, transparency=1)) == 255).all()
  keyed = Image.new("RGB", (4, 4), (1, 2, 3))
  assert (READ(saved(keyed, transparency=(1, 2, 3))) == 255).all()


def test_sixteen_bit_keeps_the_high_byte() -> None:
  values = np.array([[0, 256], [32896, 65535]], np.uint16)
  pixels = READ(saved(Image.fromarray(values)))
  assert pixels[..., 0].tolist() == [[0, 1], [128, 255]]
  assert (pixels == pixels[..., :1]).all()


@pytest.mark.parametrize(
  ("top", "expected"), [(200, 200), (40000, 156), (2**24, 1)]
)
def test_integer_greys_scale_by_whole_bytes(top: int, expected: int) -> None:
  values = np.array([[0, top]], np.int32)
  picture = images.to_rgb(Image.fromarray(values))
  assert np.asarray(picture)[0, :, 0].tolist() == [0, expected]


def test_cmyk_jpeg_becomes_rgb() -> None:
  picture = Image.new("CMYK", (16, 16), (0, 255, 255, 0))  # Red.
  pixels = READ(saved(picture, "JPEG", quality=95))
  np.testing.assert_allclose(pixels.reshape(-1, 3).mean(0), [255, 0, 0], atol=4)


def test_colour_profile_is_applied_and_a_bad_one_ignored() -> None:
  pixels = np.full((4, 4, 3), 128, np.uint8)
  picture = Image.fromarray(pixels)
  # A Lab profile has no RGB meaning; a made-up one cannot be parsed.
  for profile in (b"not a profile", b"sRGB"):
    file = saved(picture, icc_profile=profile)
    np.testing.assert_array_equal(READ(file), pixels)
  srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
  linear = _with_gamma_one(srgb)
  converted = READ(saved(picture, icc_profile=linear))
  # Linear .502 is sRGB 1.055 * .502**(1/2.4) - .055 = .737 -> 188.
  np.testing.assert_allclose(converted.astype(int), 188, atol=1)


def _with_gamma_one(profile: bytes) -> bytes:
  """Turns an sRGB profile into a linear one: tone curves of no entries."""
  data = bytearray(profile.replace(b"sRGB", b"Line"))
  data = bytearray(
    bytes(data).replace("sRGB".encode("utf-16-be"), b"\0L\0i\0n\0e")
  )
  count = struct.unpack(">I", data[128:132])[0]
  for k in range(count):
    name, offset, _ = struct.unpack(">4sII", data[132 + 12 * k : 144 + 12 * k])
    if name in (b"rTRC", b"gTRC", b"bTRC"):
      data[offset : offset + 12] = b"curv" + bytes(8)
      data[140 + 12 * k : 144 + 12 * k] = struct.pack(">I", 12)
  return bytes(data)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(orientation: int) -> None:
  upright = gradient(4, 6)
  # What a camera stores so that the viewer's turn gives `upright` again.
  stored = {
    1: upright,
    2: upright[:, ::-1],
    3: upright[::-1, ::-1],
    4: upright[::-1],
    5: upright.swapaxes(0, 1),
    6: np.rot90(upright, 1),
    7: upright[::-1, ::-1].swapaxes(0, 1),
    8: np.rot90(upright, -1),
  }[orientation]
  exif = Image.Exif()
  exif[0x0112] = orientation
  file = saved(Image.fromarray(np.ascontiguousarray(stored)), exif=exif)
  np.testing.assert_array_equal(READ(file), upright)


def test_broken_exif_does_not_lose_the_picture() -> None:
  pixels = gradient(6, 6)
  file = saved(Image.fromarray(pixels), exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
  np.testing.assert_array_equal(READ(file), pixels)


def test_animation_gives_its_first_frame() -> None:
  frames = [Image.new("RGB", (4, 4), c) for c in ("red", "blue", "lime")]
  file = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
  assert (READ(file) == (255, 0, 0)).all()


def test_huge_pictures_are_refused_before_decoding() -> None:
  # A 60,000 x 60,000 header with no pixels at all behind it.
  def chunk(kind: bytes, data: bytes) -> bytes:
    body = kind + data
    return (
      struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))
    )

  for side in (7_000, 12_000, 60_000):
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    file = io.BytesIO(
      b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"")
    )
    for call in (images.Reader().check, READ):
      with pytest.raises(images.ImageError) as error:
        file.seek(0)
        call(file)
      assert error.value.reason == "huge"


def test_reasons(tmp_path: pathlib.Path) -> None:
  reader = images.Reader(min_side=8)
  good = saved(Image.fromarray(gradient(64, 64)), "JPEG").getvalue()
  wide = saved(Image.fromarray(np.zeros((64, 64), np.float32)), "TIFF")
  tiny = saved(Image.new("RGB", (7, 90)))
  cases = {
    "empty": b"",
    "unreadable": b"<html>not found</html>",
    "damaged": good[:-60],
    "small": tiny.getvalue(),
    "float": wide.getvalue(),
  }
  for reason, content in cases.items():
    file = tmp_path / f"{reason}.jpg"
    file.write_bytes(content)
    with pytest.raises(images.ImageError) as error:
      reader.read(file)
    assert error.value.reason == reason
    assert str(error.value).startswith(str(file))
    again = pickle.loads(pickle.dumps(error.value))
    assert again.reason == reason and str(again) == str(error.value)
  with pytest.raises(images.ImageError, match="HEIC to JPEG"):
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic")
    reader.check(tmp_path / "a.heic")
  with pytest.raises(images.ImageError) as error:
    reader.read(tmp_path / "missing.jpg")
  assert error.value.reason == "unreadable"


def test_any_bytes_give_pixels_or_a_reason() -> None:
  rng = np.random.default_rng(0)
  picture = Image.fromarray(gradient(24, 24))
  survived = 0
  for form in ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF"):
    content = saved(picture, form).getvalue()
    for _ in range(30):
      broken = bytearray(content)
      for place in rng.integers(len(broken), size=8):
        broken[place] = rng.integers(256)
      try:
        pixels = images.Reader(size=16).read(io.BytesIO(bytes(broken)))
      except images.ImageError as error:
        assert error.reason in images.REASONS
      else:
        assert pixels.shape == (16, 16, 3)
        survived += 1
  assert 0 < survived < 180


@pytest.mark.parametrize("shape", [(40, 80), (80, 40)])
def test_fits(shape: tuple[int, int]) -> None:
  height, width = shape
  pixels = gradient(height, width)
  file = saved(Image.fromarray(pixels))

  def read(fit: str) -> np.ndarray:
    file.seek(0)
    reader = images.Reader(size=40, fit=fit, background=(9, 9, 9))
    return reader.read(file)

  middle = pixels[(height - 40) // 2 :, (width - 40) // 2 :][:40, :40]
  np.testing.assert_array_equal(read("center"), middle)
  left = (width - 40) // 2
  np.testing.assert_array_equal(read("top"), pixels[:40, left : left + 40])
  boxed = read("letterbox")
  bars = boxed[:10] if width > height else boxed[:, :10]
  assert (bars == 9).all()
  assert boxed[20, 20].tolist() != [9, 9, 9]
  stretched = read("stretch").astype(int)
  # Corners keep their colours, up to the slope under one result pixel.
  np.testing.assert_allclose(stretched[-1, -1], pixels[-1, -1], atol=6)


def test_large_jpegs_shrink_while_decoding_without_a_visible_change() -> None:
  pixels = gradient(800, 800)
  file = saved(Image.fromarray(pixels), "JPEG", quality=95)
  small = images.Reader(size=50).read(file).astype(int)
  exact = np.asarray(
    Image.fromarray(pixels).resize((50, 50), Image.Resampling.BICUBIC)
  )
  # JPEG noise and the coarse first step: 3 of 255 at the borders.
  np.testing.assert_allclose(small, exact, atol=3)


@pytest.mark.parametrize("arguments", [{"fit": "middle"}, {"size": 0}])
def test_bad_options(arguments: dict[str, object]) -> None:
  with pytest.raises(ValueError, match="must be"):
    images.Reader(**arguments)
