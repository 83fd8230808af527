"""Writing pictures: what is kept, what is refused, and never half of one."""

import io
import pathlib

import numpy as np
import pytest
from PIL import Image

from chibijax.apps import pictures
from chibijax.errors import UserError


def sample() -> np.ndarray:
  y, x = np.mgrid[:24, :32]
  return np.stack([8 * x, 10 * y, 3 * (x + y), 8 * x], -1).astype(np.uint8)


@pytest.mark.parametrize("suffix", [".png", ".webp", ".jpg", ".JPEG"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_round_trip(suffix: str, channels: int, tmp_path: pathlib.Path) -> None:
  image = sample()[..., :channels]
  path = tmp_path / "new" / f"a{suffix}"
  pictures.save(path, image, quality=100)
  assert [p.name for p in path.parent.iterdir()] == [path.name]
  with Image.open(path) as opened:
    back = np.asarray(opened.convert({1: "L", 3: "RGB", 4: "RGBA"}[channels]))
  expected = image[..., 0] if channels == 1 else image
  if suffix in (".png", ".webp"):
    np.testing.assert_array_equal(back, expected)
  elif channels == 4:  # On white.
    share = image[..., 3:] / 255
    over = image[..., :3] * share + 255 * (1 - share)
    np.testing.assert_allclose(back[..., :3], over, atol=6)
  else:
    np.testing.assert_allclose(back.astype(int), expected, atol=6)


def test_floats_and_backgrounds() -> None:
  unit = np.zeros((4, 4, 4), np.float32)
  unit[:2] = [1.2, 0.5, np.nan, 1.0]
  with Image.open(io.BytesIO(pictures.encode(unit))) as opened:
    assert opened.getpixel((0, 0)) == (255, 128, 0, 255)
  data = pictures.encode(unit, "JPEG", background=(0, 0, 200))
  with Image.open(io.BytesIO(data)) as opened:
    np.testing.assert_allclose(opened.getpixel((0, 3)), (0, 0, 200), atol=8)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_metadata_is_kept(form: str) -> None:
  exif = Image.Exif()
  exif[271] = "camera"
  xmp = "<x:xmpmeta xmlns:x='adobe:ns:meta/'>é</x:xmpmeta>".encode()
  metadata = pictures.Metadata(
    text={"Software": "chibijax", "Title": "ちび"}, xmp=xmp,
    exif=exif.tobytes(), icc=b"profile",
  )  # fmt: skip
  data = pictures.encode(sample(), form, metadata=metadata)
  with Image.open(io.BytesIO(data)) as opened:
    opened.load()
    assert opened.getexif()[271] == "camera"
    assert opened.info["icc_profile"] == b"profile"
    if form == "PNG":
      assert opened.text["Title"] == "ちび"
      assert opened.text["XML:com.adobe.xmp"].encode() == xmp
    else:
      assert opened.info["xmp"] == xmp


def test_mistakes(
  tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  for name in ("a.bmp", "a", "a.png.txt"):
    with pytest.raises(UserError, match=r"expected one of \.png"):
      pictures.save(tmp_path / name, sample())
  with pytest.raises(ValueError, match="quality must be in"):
    pictures.encode(sample(), quality=0)
  with pytest.raises(ValueError, match="a picture must be"):
    pictures.encode(np.zeros((4, 4, 2), np.uint8))
  wide = np.zeros((1, 16_400, 3), np.uint8)
  with pytest.raises(UserError, match="at most 16,383 pixels a side"):
    pictures.encode(wide, "WEBP")
  (tmp_path / "file").write_bytes(b"")
  with pytest.raises(UserError, match=r"a\.png cannot be written"):
    pictures.save(tmp_path / "file" / "a.png", sample())

  def full(*_: object) -> None:
    raise OSError(28, "No space left on device")

  monkeypatch.setattr(pathlib.Path, "replace", full)
  with pytest.raises(UserError, match=r"a\.png .*No space left on device"):
    pictures.save(tmp_path / "a.png", sample())
  assert [p.name for p in tmp_path.iterdir()] == ["file"]
