"""Damaged and hostile files: pixels or an `ImageError`, and soon.

`python -m pytest -m slow tests/data/test_images_fuzz.py` reads 24,000 mutated
files, on one core in about two minutes.
"""

import functools
import importlib.util
import io
import pathlib
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from chibijax.data import image_files, images, photo

# Pillow warns of oddities that it reads nevertheless; here that is no error.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")

# 32 x 24 pixels: white and red on the left, blue on the right.
HEIC = pathlib.Path(__file__).parent / "tiny.heic"
# No file below may take longer: what hangs, hangs for minutes.
SECONDS = 20.0
QUICK = settings(
  derandomize=True,
  deadline=None,
  database=None,
  suppress_health_check=list(HealthCheck),
)


@functools.cache
def samples() -> dict[str, bytes]:
  """One small valid file of each kind."""
  y, x = np.mgrid[:40, :56]
  pixels = np.stack([4 * x, 5 * y, 2 * (x + y)], -1).astype(np.uint8)
  picture = Image.fromarray(pixels)
  alpha = picture.copy()
  alpha.putalpha(Image.fromarray(np.uint8(4 * x)))
  exif = Image.Exif()
  exif[0x0112] = 6
  exif[271] = "camera"
  frames = [picture, picture.rotate(90)]
  ways = {
    "png": (picture, "PNG", {"exif": exif}),
    "png_alpha": (alpha, "PNG", {}),
    "png_16": (Image.fromarray(np.uint16(900 * x)), "PNG", {}),
    "jpeg": (picture, "JPEG", {"exif": exif}),
    "progressive": (picture, "JPEG", {"progressive": True}),
    "cmyk": (picture.convert("CMYK"), "JPEG", {}),
    "webp": (alpha, "WEBP", {}),
    "gif": (picture, "GIF", {"save_all": True, "append_images": frames}),
    "tiff": (picture, "TIFF", {}),
    "tiff_lzw": (picture, "TIFF", {"compression": "tiff_lzw"}),
    "bmp": (picture, "BMP", {}),
    "ppm": (picture, "PPM", {}),
    "tga": (picture, "TGA", {"rle": True}),
    "jp2": (picture, "JPEG2000", {}),
    "avif": (alpha, "AVIF", {}),
  }
  files = {}
  Image.init()
  for name, (image, form, options) in ways.items():
    if form not in Image.SAVE:
      continue
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    files[name] = buffer.getvalue()
  if importlib.util.find_spec("pi_heif"):
    files["heic"] = HEIC.read_bytes()
  return files


def survive(data: bytes) -> str:
  """Reads a file in every way; what became of it."""
  start = time.perf_counter()
  ways = (
    lambda: images.READER.check(data),
    lambda: images.Reader(size=16).read(data),
    lambda: images.READER.read_rgba(data),
    lambda: photo.read(data, longest=24),
  )
  outcome = "read"
  for way in ways:
    try:
      result = way()
    except image_files.ImageError as error:
      assert error.reason in image_files.REASONS and str(error).endswith(".")
      outcome = error.reason
    else:
      if isinstance(result, photo.Photo):
        assert max(result.pixels.shape) <= 24 and result.pixels.ndim == 3
  assert time.perf_counter() - start < SECONDS
  return outcome


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
  """A file with a few bytes changed, cut, repeated or moved."""
  broken = bytearray(data)
  # Headers are where a change tells most.
  head = min(len(broken), int(rng.choice([32, 128, len(broken)])))
  kind = rng.integers(6)
  place = int(rng.integers(head))
  if kind == 0:
    for at in rng.integers(head, size=rng.integers(1, 9)):
      broken[at] = rng.integers(256)
  elif kind == 1:  # A bit.
    broken[place] ^= 1 << int(rng.integers(8))
  elif kind == 2:  # Extreme numbers.
    value = rng.choice([0, 0x7F, 0x80, 0xFF])
    broken[place : place + 4] = bytes([value] * len(broken[place : place + 4]))
  elif kind == 3:
    del broken[place : place + int(rng.integers(1, 40))]
  elif kind == 4:
    part = broken[place : place + int(rng.integers(1, 40))]
    broken[place:place] = part * int(rng.integers(1, 4))
  else:
    del broken[int(rng.integers(len(broken))) :]
  return bytes(broken)


def test_the_samples_are_read_and_cover_the_formats() -> None:
  assert len(samples()) >= 13
  for name, data in samples().items():
    assert survive(data) == "read", name


@settings(QUICK, max_examples=60)
@given(st.binary(max_size=400))
def test_random_bytes(data: bytes) -> None:
  survive(data)


@settings(QUICK, max_examples=60)
@given(
  st.sampled_from([b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"GIF89a", b"BM",
    b"II*\0", b"MM\0*", b"RIFF\0\0\0\0WEBPVP8 ", b"P6 ", b"\0\0\0\x1cftypavif",
    b"\0\0\0\x1cftypheic", b"\0\0\0\x0cjP  \r\n\x87\n"]),
  st.binary(max_size=200),
)  # fmt: skip
def test_random_bytes_behind_a_signature(head: bytes, tail: bytes) -> None:
  survive(head + tail)


@settings(QUICK, max_examples=200)
@given(st.integers(0, 2**32 - 1))
def test_mutated_files(seed: int) -> None:
  rng = np.random.default_rng(seed)
  files = list(samples().values())
  data = files[rng.integers(len(files))]
  for _ in range(rng.integers(1, 3)):
    data = mutated(data, rng) or b"\0"
  survive(data)


def test_files_cut_at_every_64th() -> None:
  outcomes = set()
  for name in ("png", "jpeg", "webp", "gif", "tiff", "bmp"):
    data = samples()[name]
    for k in range(0, 64, 3):
      cut = data[: len(data) * k // 64]
      outcomes.add(survive(cut))
  assert {"empty", "unreadable", "damaged"} <= outcomes


@pytest.mark.slow
def test_many_mutated_files() -> None:
  rng = np.random.default_rng(0)
  counts: dict[str, int] = {}
  for data in samples().values():
    for k in range(64):
      outcome = survive(data[: len(data) * k // 64])
      counts[outcome] = counts.get(outcome, 0) + 1
  files = list(samples().values())
  for k in range(24_000 - sum(counts.values())):
    data = mutated(files[k % len(files)], rng)
    while rng.integers(3) == 0 and data:
      data = mutated(data, rng)
    outcome = survive(data)
    counts[outcome] = counts.get(outcome, 0) + 1
  print(counts)
  assert sum(counts.values()) == 24_000
  assert min(counts["read"], counts["damaged"], counts["unreadable"]) > 1000
