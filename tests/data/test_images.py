"""Reading pictures: every odd file gives the right pixels or a clear reason."""

import hashlib
import io
import pathlib
import pickle
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from chibijax.data import image_files, images, photo

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
  with pytest.raises(images.ImageError, match="Is a directory"):
    reader.read(tmp_path)
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


def test_sources_of_bytes(
  tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  pixels = gradient(6, 9)
  data = saved(Image.fromarray(pixels)).getvalue()
  path = tmp_path / "a.png"
  path.write_bytes(data)
  stdin = io.TextIOWrapper(io.BytesIO(data))
  monkeypatch.setattr("sys.stdin", stdin)
  for file in (data, "-", path, str(path), io.BytesIO(data)):
    np.testing.assert_array_equal(READ(file), pixels)
  monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"")))
  with pytest.raises(images.ImageError, match="standard input is an empty"):
    READ("-")
  monkeypatch.setattr(image_files, "MAX_BYTES", len(data) - 1)
  for file in (data, path):
    with pytest.raises(images.ImageError, match="too much memory"):
      READ(file)
  with pytest.raises(images.ImageError, match="No such file"):
    READ(tmp_path / "nowhere.png")


HEIC = pathlib.Path(__file__).parent / "tiny.heic"


def test_heic_is_read_where_its_library_is() -> None:
  pytest.importorskip("pi_heif", reason="needs the extra `app`")
  pixels = READ(HEIC)
  assert pixels.shape == (24, 32, 3)
  # White above red on the left, blue on the right; HEIC loses a little.
  colors = [[250, 250, 250], [220, 40, 40], [40, 60, 220]]
  found = pixels[[4, 19, 9], [6, 6, 26]].astype(int)
  np.testing.assert_allclose(found, colors, atol=14)


def test_heic_without_its_library_says_what_to_install(
  monkeypatch: pytest.MonkeyPatch,
) -> None:
  known = [name for name in image_files.FORMATS if name != "HEIF"]
  monkeypatch.setattr(image_files, "_formats", lambda: known)
  for file in (HEIC, HEIC.read_bytes()):
    with pytest.raises(images.ImageError, match="pip install pi-heif"):
      READ(file)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bits_of_every_kind(channels: int) -> None:
  """16-bit PNG and TIFF, written here: Pillow writes grey ones only."""
  rng = np.random.default_rng(0)
  values = rng.integers(0, 65536, (5, 7, channels), np.uint16)
  values[..., 3:] = 65535
  expected = (values[..., :3] >> 8).astype(np.uint8)
  for data in (png16(values), tiff16(values)):
    pixels = READ(data)
    # Rounding or cutting to 8 bits.
    difference = pixels.astype(int) - np.broadcast_to(expected, pixels.shape)
    assert np.abs(difference).max() <= 1


def png16(values: np.ndarray) -> bytes:
  height, width, channels = values.shape

  def chunk(kind: bytes, data: bytes) -> bytes:
    end = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + end

  color = {1: 0, 3: 2, 4: 6}[channels]
  header = struct.pack(">IIBBBBB", width, height, 16, color, 0, 0, 0)
  rows = values.astype(">u2").reshape(height, -1)
  packed = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
  parts = [chunk(b"IHDR", header), chunk(b"IDAT", packed), chunk(b"IEND", b"")]
  return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def tiff16(values: np.ndarray) -> bytes:
  height, width, channels = values.shape
  data = values.astype("<u2").tobytes()
  count = 10 + (channels == 4)
  bits_at = 8 + 2 + 12 * count + 4
  start = bits_at + 8
  tags = [
    (256, 4, 1, width), (257, 4, 1, height),
    (258, 3, channels, bits_at if channels > 2 else 16),
    (259, 3, 1, 1), (262, 3, 1, 1 if channels == 1 else 2), (273, 4, 1, start),
    (277, 3, 1, channels), (278, 4, 1, height), (279, 4, 1, len(data)),
    (284, 3, 1, 1), *([(338, 3, 1, 2)] if channels == 4 else []),
  ]  # fmt: skip
  entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
  head = b"II*\0" + struct.pack("<IH", 8, count) + entries + bytes(4)
  return head + struct.pack("<4H", *[16] * 4) + data


def test_lab_and_grey_profiles() -> None:
  lab = Image.new("LAB", (4, 4), (137, 128, 128))  # L* 54, no colour.
  pixels = READ(saved(lab, "TIFF"))
  # sRGB 128 has L* 53.6.
  np.testing.assert_allclose(pixels.astype(int), 128, atol=2)


def test_packed_text_and_profiles_are_bounded() -> None:
  """A megabyte of PNG whose text or profile unpacks to a gigabyte."""
  packed = zlib.compress(bytes(30_000_000), 9)

  def chunk(kind: bytes, data: bytes) -> bytes:
    end = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + end

  good = saved(Image.fromarray(gradient(8, 8))).getvalue()
  # Behind the header, which is 33 bytes long.
  for kind, name in ((b"zTXt", b"a\0\0"), (b"iCCP", b"a\0\0")):
    bomb = good[:33] + chunk(kind, name + packed) + good[33:]
    with pytest.raises(images.ImageError) as error:
      READ(bomb)
    assert error.value.reason == "huge"


def test_animations_are_not_decoded_beyond_their_first_frame() -> None:
  frames = [Image.new("L", (8, 8), k) for k in range(200)]
  for form in ("GIF", "WEBP", "PNG", "TIFF"):
    options = {"lossless": True} if form == "WEBP" else {}
    data = saved(
      frames[7], form, save_all=True, append_images=frames[8:], **options
    ).getvalue()
    # Nothing of what follows the first frame is needed.
    if form == "GIF":
      data = data[: len(data) // 2]
    np.testing.assert_allclose(READ(data).astype(int), 7, atol=1)


def test_passes_of_a_progressive_jpeg_are_bounded(
  monkeypatch: pytest.MonkeyPatch,
) -> None:
  picture = Image.fromarray(gradient(64, 64))
  data = saved(picture, "JPEG", progressive=True).getvalue()
  assert READ(data).shape == (64, 64, 3)
  monkeypatch.setattr(image_files, "MAX_SCANNED_PIXELS", 5 * 64 * 64)
  with pytest.raises(images.ImageError, match="progressive passes"):
    READ(data)
  READ(saved(picture, "JPEG"))


def test_jpegs_larger_than_the_limit_are_decoded_smaller() -> None:
  picture = Image.fromarray(gradient(640, 800))
  data = saved(picture, "JPEG", quality=95).getvalue()
  with pytest.raises(images.ImageError, match="at most 100,000 pixels"):
    images.Reader(max_pixels=100_000).read(data)
  small = images.Reader(size=32, max_pixels=100_000)
  assert small.check(data) == (800, 640)
  exact = images.Reader(size=32).read(data).astype(int)
  np.testing.assert_allclose(small.read(data), exact, atol=4)
  with pytest.raises(images.ImageError, match="at most 6,400 pixels"):
    images.Reader(size=32, max_pixels=100).read(data)
  png = saved(picture).getvalue()
  with pytest.raises(images.ImageError, match="at most 100,000 pixels"):
    small.read(png)


def test_photo_knows_what_belongs_to_it() -> None:
  pixels = gradient(40, 60)
  exif = Image.Exif()
  exif[0x0112], exif[271], exif[315] = 6, "camera", "the owner's name"
  exif[0x8825] = {1: "N", 2: (48.0, 8.0, 0.0)}
  exif[0x8769] = {36867: "2024:05:06 07:08:09", 0xA430: "owner"}
  data = saved(
    Image.fromarray(pixels), "JPEG", exif=exif, quality=95
  ).getvalue()
  found = photo.read(data)
  assert found.pixels.shape == (60, 40, 3) and found.size == (40, 60)
  assert found.scale == 1 and found.format == "JPEG"
  assert found.rgba is None and found.alpha is None
  assert found.sha256 == hashlib.sha256(data).hexdigest()
  kept = Image.Exif()
  kept.load(found.exif)
  assert kept[271] == "camera" and set(kept) == {271, 0x8769}
  assert kept.get_ifd(0x8769) == {36867: "2024:05:06 07:08:09"}
  plain = photo.read(saved(Image.fromarray(pixels)))
  assert plain.exif == b""
  np.testing.assert_array_equal(plain.pixels, pixels)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "LA", "CMYK", "1"])
@pytest.mark.parametrize("longest", [None, 100, 30])
def test_photos_are_reduced_in_every_mode(
  mode: str, longest: int | None
) -> None:
  picture = Image.fromarray(gradient(90, 120)).convert(mode)
  if mode in ("RGBA", "LA"):
    picture.putalpha(Image.new("L", picture.size, 60))
  form = "JPEG" if mode == "CMYK" else "PNG"
  found = photo.read(saved(picture, form), longest=longest)
  side = longest or 120
  height, width, _ = found.pixels.shape
  # A JPEG that is decoded smaller rounds its sides up.
  assert width == side and abs(height - 0.75 * side) < 1
  assert found.scale == pytest.approx(side / 120)
  whole = photo.read(saved(picture, form))
  assert abs(found.pixels.mean() - whole.pixels.mean()) < 2
  if mode in ("RGBA", "LA"):
    assert (found.alpha == 60).all()
    # Straight colours there, over white here.
    assert found.rgba[..., :3].mean() + 50 < found.pixels.mean()
  else:
    assert found.rgba is None


def test_photo_mistakes() -> None:
  with pytest.raises(ValueError, match="longest must be positive"):
    photo.read(b"x", longest=0)
  with pytest.raises(images.ImageError, match=r"photo\.jpg is not a picture"):
    file = io.BytesIO(b"nothing at all")
    file.name = "photo.jpg"
    photo.read(file)
