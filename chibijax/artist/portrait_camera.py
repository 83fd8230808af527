"""What the camera adds: background, exposure, lens and sensor, JPEG.

Backgrounds are out of focus and made at low resolution; the seed alone decides
them up to the attributes' background colour.
"""

import io

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image, ImageFilter

from chibijax.artist import palette
from chibijax.artist.attributes import Attributes
from chibijax.artist.portrait_filter import value_noise
from chibijax.artist.portrait_shading import (
  Light,
  hex_to_linear,
  smoothstep,
  to_linear,
  to_srgb,
)


def _temperature(kelvin: float) -> np.ndarray:
  """Rough linear RGB of a light source relative to daylight (6500 K)."""
  t = np.log2(kelvin / 6500)
  rgb = np.array([1 - 0.32 * t, 1.0 - 0.02 * abs(t), 1 + 0.42 * t])
  return np.clip(rgb, 0.3, 1.9).astype(np.float32)


def build_light(a: Attributes, rng: np.random.Generator) -> Light:
  """The light rig: direction from the attributes, character from the seed."""
  azimuth, elevation = np.deg2rad([a.light_azimuth, a.light_elevation])
  # Seen from the camera's side: nothing is lit from behind by the key.
  key = np.array(
    [
      np.sin(azimuth) * np.cos(elevation),
      -np.sin(elevation),
      np.cos(azimuth) * np.cos(elevation) + 0.25,
    ]
  )
  key /= np.linalg.norm(key)
  fill = np.array([-0.75 * np.sign(azimuth + 1e-6), -0.15, 0.65])
  fill /= np.linalg.norm(fill)
  contrast = rng.uniform(0.35, 0.85)
  kelvin = rng.uniform(4300, 7600)
  warm = _temperature(kelvin)
  cool = _temperature(np.clip(11500 - kelvin, 4500, 8000))
  # Facing surfaces sum to about one, so that reflectance sets the tone.
  return Light(
    key=tuple(float(x) for x in key),
    fill=tuple(float(x) for x in fill),
    key_color=warm * np.float32(0.45 + 0.75 * contrast),
    fill_color=cool * np.float32(0.30 - 0.18 * contrast),
    sky_color=cool * np.float32(0.48 - 0.26 * contrast),
    ground_color=warm * np.float32(0.22 - 0.10 * contrast),
    rim=float(rng.uniform(0, 1.1)),
  )


def neutral_light() -> Light:
  """A soft, white, frontal light, for measuring colours."""
  white = np.ones(3, np.float32)
  return Light(
    key=(0.0, -0.35, 0.9367),
    fill=(0.0, 0.0, 1.0),
    key_color=white * np.float32(0.55),
    fill_color=white * np.float32(0.20),
    sky_color=white * np.float32(0.30),
    ground_color=white * np.float32(0.25),
  )


def background(
  a: Attributes, size: int, rng: np.random.Generator
) -> Float32[np.ndarray, "3 h w"]:
  """An out-of-focus background in linear light.

  One of a plain wall, a room, foliage, bokeh lights, or blurred shelves; the
  attributes' background colour tints all of them.
  """
  tint = hex_to_linear(palette.BACKGROUND[a.background_color])
  tint = tint * np.float32(rng.uniform(0.25, 0.85))
  kind = rng.choice(5, p=[0.28, 0.22, 0.22, 0.12, 0.16])
  makers = (_wall, _room, _foliage, _bokeh, _shelves)
  small = min(size, 96)
  out = makers[kind](tint, small, rng)
  out = np.clip(out, 0.002, 1.6)
  if small != size:
    planes = [
      np.asarray(
        Image.fromarray(p).resize((size, size), Image.Resampling.BICUBIC)
      )
      for p in out.astype(np.float32)
    ]
    out = np.stack(planes)
  return out.astype(np.float32)


def _axes(size: int) -> tuple[np.ndarray, np.ndarray]:
  x = (np.arange(size, dtype=np.float32) + 0.5) / size
  return x[None], x[:, None]


def _wall(tint: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
  x, y = _axes(size)
  px, py = rng.uniform(-0.2, 1.2), rng.uniform(-0.3, 0.8)
  fall = 1.25 - rng.uniform(0.3, 0.9) * np.hypot(x - px, y - py)
  n = value_noise(rng, 5, size)[0]
  return tint[:, None, None] * np.clip(fall + 0.06 * n, 0.15, 2)


def _room(tint: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
  out = _wall(tint, size, rng)
  x, y = _axes(size)
  for _ in range(rng.integers(2, 5)):
    color = tint * rng.uniform(0.3, 1.3) * rng.uniform(0.6, 1.2, 3)
    if rng.random() < 0.3:
      color = np.array([0.95, 0.97, 1.0]) * rng.uniform(0.7, 1.4)
    left, wide = rng.uniform(-0.2, 1.0), rng.uniform(0.08, 0.45)
    top, tall = rng.uniform(-0.3, 0.7), rng.uniform(0.2, 1.0)
    soft = rng.uniform(0.015, 0.06)
    m = smoothstep(-soft, soft, x - left) * smoothstep(
      -soft, soft, left + wide - x
    )
    m = (
      m
      * smoothstep(-soft, soft, y - top)
      * smoothstep(-soft, soft, top + tall - y)
    )
    out += (color[:, None, None].astype(np.float32) - out) * m
  return out


def _foliage(
  tint: np.ndarray, size: int, rng: np.random.Generator
) -> np.ndarray:
  coarse = value_noise(rng, 4, size)[0]
  middle = value_noise(rng, int(rng.integers(9, 16)), size)[0]
  fine = value_noise(rng, int(rng.integers(20, 34)), size)[0]
  level = np.exp(0.9 * coarse + 0.6 * middle + 0.35 * fine - 1.6)
  hue = np.clip(0.5 + 0.5 * middle + 0.4 * coarse, 0, 1)
  green = np.array([0.30, 0.42, 0.12]) * rng.uniform(0.8, 1.2, 3)
  dry = np.array([0.55, 0.50, 0.26]) * rng.uniform(0.8, 1.2, 3)
  green, dry = (c.astype(np.float32)[:, None, None] for c in (green, dry))
  color = green * (1 - hue) + dry * hue
  out = color * level
  _, y = _axes(size)
  sky = smoothstep(0.25, -0.25, y - rng.uniform(-0.2, 0.5) + 0.1 * coarse)
  sky_color = np.array([0.75, 0.85, 1.0]) * rng.uniform(0.6, 1.1)
  sky_color = sky_color.astype(np.float32)[:, None, None]
  return out + (sky_color - out) * sky * rng.uniform(0, 0.9)


def _bokeh(tint: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
  out = _wall(tint * 0.25, size, rng)
  x, y = _axes(size)
  for _ in range(rng.integers(6, 16)):
    r = rng.uniform(0.03, 0.11)
    d = np.hypot(x - rng.uniform(0, 1), y - rng.uniform(0, 0.9))
    disc = 1 - smoothstep(r * 0.85, r * 1.1, d)
    color = _temperature(rng.uniform(2600, 8000)) * rng.uniform(0.15, 0.7)
    out += color[:, None, None] * disc
  return out


def _shelves(
  tint: np.ndarray, size: int, rng: np.random.Generator
) -> np.ndarray:
  out = _wall(tint * 0.6, size, rng)
  rows = rng.integers(3, 5)
  grid = rng.uniform(0.1, 0.9, (rows, int(rng.integers(9, 16)), 3))
  grey = grid.mean(-1, keepdims=True)
  grid = (0.35 * grid + 0.65 * grey) * np.array([1.08, 1.0, 0.88])
  grid = grid * grid * rng.uniform(0.2, 0.6) * (0.5 + tint)
  book = Image.fromarray((np.clip(grid, 0, 1) * 255).astype(np.uint8))
  book = book.resize((size, size), Image.Resampling.NEAREST)
  books = np.asarray(book, np.float32).transpose(2, 0, 1) / 255
  _, y = _axes(size)
  board = np.abs((y * rows) % 1 - 0.5) > 0.44
  books = np.where(board, tint[:, None, None] * 0.35, books)
  mixed = out + (books - out) * rng.uniform(0.5, 0.95)
  image = Image.fromarray(
    (np.clip(mixed, 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)
  ).filter(ImageFilter.GaussianBlur(size * rng.uniform(0.018, 0.04)))
  return np.asarray(image, np.float32).transpose(2, 0, 1) / 255


def tone_map(
  linear: Float32[np.ndarray, "3 h w"], exposure: float
) -> UInt8[np.ndarray, "h w 3"]:
  """Exposes, compresses the highlights softly and encodes as sRGB."""
  x = np.maximum(linear, 0) * np.float32(exposure)
  # Linear to the knee, then an exponential shoulder that tends to one.
  over = np.maximum(x - 0.6, 0)
  x = np.minimum(x, 0.6) + 0.4 * (1 - np.exp(over * -2.5))
  return (to_srgb(x) + 0.5).astype(np.uint8).transpose(1, 2, 0)


def take_photo(
  srgb: UInt8[np.ndarray, "h w 3"], rng: np.random.Generator
) -> UInt8[np.ndarray, "h w 3"]:
  """Lens blur, vignetting, white balance, sensor noise and a JPEG file."""
  size = srgb.shape[0]
  sigma = rng.uniform(0.0, 0.0035) * size
  quality = int(rng.integers(72, 96))
  balance = np.exp(rng.normal(0, [0.035, 0.012, 0.045])).astype(np.float32)
  vignette = rng.uniform(0, 0.45)
  # A large picture resolves the same grain finer, and it averages out.
  grain = rng.uniform(0.6, 3.0) * min(1.0, (128 / size) ** 0.5)
  contrast = rng.uniform(0.92, 1.12)
  if sigma > 0.25:
    srgb = np.asarray(
      Image.fromarray(srgb).filter(ImageFilter.GaussianBlur(sigma))
    )
  linear = to_linear(srgb).transpose(2, 0, 1)
  x, y = _axes(size)
  fall = 1 - np.float32(vignette) * ((x - 0.5) ** 2 + (y - 0.5) ** 2) * 1.4
  out = to_srgb(linear * balance[:, None, None] * fall)
  noise = rng.standard_normal((2, size, size), dtype=np.float32)
  # Photons: the noise is strongest in the dark once encoded.
  strength = np.float32(grain) * (1.25 - out / 255)
  out = (out - 118) * np.float32(contrast) + 118 + noise[0] * strength
  out[0] += 0.4 * noise[1] * strength[0]
  out[2] -= 0.4 * noise[1] * strength[2]
  pixels = np.clip(out + 0.5, 0, 255).astype(np.uint8).transpose(1, 2, 0)
  file = io.BytesIO()
  Image.fromarray(pixels).save(file, "JPEG", quality=quality)
  return np.asarray(Image.open(file, formats=("JPEG",)))
