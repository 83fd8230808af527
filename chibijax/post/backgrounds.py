"""What lies behind a person: kept, blurred, removed or replaced.

A binary mask says what is person and what is not; `post.matting` finds soft
edges and the person's own colours there, so that hair does not carry a halo of
the old background. Away from the edge nothing of the person changes.
"""

import functools
from collections.abc import Mapping
from typing import TypeAlias

import jax
import numpy as np
from jaxtyping import Bool, Float, Float32
from PIL import Image
from scipy import fft

from chibijax.artist import palette
from chibijax.artist.canvas import Number
from chibijax.artist.patterns import draw_pattern
from chibijax.artist.stickers import named_color
from chibijax.errors import UserError
from chibijax.post.matting import Color3, Matte, separate, shrink

Picture: TypeAlias = Float[np.ndarray, "h w c"] | Float[jax.Array, "h w c"]
Masks: TypeAlias = Mapping[
  str, Bool[np.ndarray, "rows columns"] | Bool[jax.Array, "rows columns"]
]

KINDS = ("keep", "blur", "remove", "color", "gradient", "pattern")
# Radius of the strongest blur over the shorter side.
_BLUR = 0.06


def replace(
  image: Picture,
  kind: str,
  *,
  masks: Masks | None,
  value: str | Number | None = None,
  seed: int = 0,
) -> Float32[np.ndarray, "h w c2"]:
  """Changes the background of a picture.

  Args:
    image: [H, W, 3] or, with straight alpha, [H, W, 4], sRGB in [0, 1].
    kind: one of `KINDS`; a value may follow after a colon: "color:#ffd0e0",
      "pattern:hearts", "blur:0.8".
    masks: needs "background"; the rest is the person.
    value: by kind. blur: strength 0..1 (0.5). color: `#rrggbb` or a name of
      the artist's palettes. gradient: a colour, which gets lighter upwards, or
      two, "pink-sky", from top to bottom. pattern: a kind of
      `artist.patterns.PATTERNS`, and perhaps its colour: "stars:lavender".
      Where no colour is given, the seed chooses one.
    seed: chooses colours, and strews the confetti.

  Returns:
    A picture of the same height and width. "remove" returns RGBA; "keep" and
    "blur" keep the alpha there was; the others fill what was transparent.

  Raises:
    UserError: if kind, value or colour is of no use.
    ValueError: if there is no mask "background", or shapes do not agree.
  """
  kind, _, given = kind.partition(":")
  value = given if given and value is None else value
  if kind not in KINDS:
    raise UserError(
      f"a background must be one of {', '.join(KINDS)}; got {kind!r}"
    )
  picture = np.array(image, np.float32)
  if picture.shape[-1] not in (3, 4):
    raise ValueError(f"image must have 3 or 4 channels; got {picture.shape}")
  if kind == "keep":
    return picture
  person = _person(masks, picture.shape[:2])
  matte = separate(picture[..., :3], person)
  if kind == "blur":
    return _blur(picture, matte, _strength(value))
  if kind == "remove":
    return _remove(picture, matte)
  return _fill(picture, matte, _ground(kind, value, picture.shape[:2], seed))


def _person(
  masks: Masks | None, shape: tuple[int, int]
) -> Bool[np.ndarray, "h w"]:
  if not masks or "background" not in masks:
    raise ValueError(
      f'the mask "background" is needed; got {sorted(masks or {})}'
    )
  background = np.asarray(masks["background"])
  if background.shape != shape:
    raise ValueError(
      f'mask "background" must be {shape} like the image; '
      f"got {background.shape}"
    )
  return ~background


def _strength(value: str | Number | None) -> float:
  try:
    strength = 0.5 if value is None else float(value)
  except ValueError:
    strength = -1.0
  if not 0 <= strength <= 1:
    raise UserError(f"the blur must be from 0 to 1; got {value!r}")
  return strength


def _under(picture: np.ndarray, matte: Matte, ground: Color3) -> Color3:
  """Puts the person's colours over another ground."""
  result = np.array(ground, np.float32)
  np.copyto(result, picture[..., :3], where=matte.alpha[..., None] >= 0.5)
  rows, columns = matte.rows, matte.columns
  share = matte.alpha[rows, columns][:, None]
  mixed = matte.person * share + ground[rows, columns] * (1 - share)
  # A pixel that is all person is the pixel that it was.
  result[rows, columns] = np.where(
    share >= 1, picture[rows, columns, :3], mixed
  )
  return result


def _remove(picture: np.ndarray, matte: Matte) -> Float32[np.ndarray, "h w 4"]:
  colors = picture[..., :3].copy()
  share = matte.alpha[matte.rows, matte.columns][:, None]
  spot = colors[matte.rows, matte.columns]
  colors[matte.rows, matte.columns] = np.where(share >= 1, spot, matte.person)
  alpha = matte.alpha
  if picture.shape[-1] == 4:
    alpha = alpha * picture[..., 3]
  return np.concatenate([colors, alpha[..., None]], -1)


def _fill(picture: np.ndarray, matte: Matte, ground: Color3) -> np.ndarray:
  if picture.shape[-1] == 3:
    return _under(picture, matte, ground)
  # What is transparent shows the new ground, inside the person too.
  share = picture[..., 3:]
  colors = _under(picture, matte, ground)
  mixed = np.where(share >= 1, colors, colors * share + ground * (1 - share))
  return np.concatenate([mixed, np.ones_like(share)], -1)


def _blur(picture: np.ndarray, matte: Matte, strength: Number) -> np.ndarray:
  """Blurs the background by a lens's disc; the person does not bleed into it.

  Light is averaged, not sRGB, so that bright spots become bright discs. Only
  background has weight in the means (normalised convolution).
  """
  height, width = picture.shape[:2]
  radius = strength * _BLUR * min(height, width)
  if radius < 0.5:
    return picture
  # At about five pixels of radius a disc is round, and upscaling is not seen.
  step = max(int(radius / 5), 1)
  weight = 1 - matte.alpha[..., None]
  # Pixels of the band hold light of the person as well.
  weight = weight * weight
  if picture.shape[-1] == 4:
    weight = weight * picture[..., 3:]
  light = picture[..., :3] ** 2  # about linear, and much cheaper
  stacked = [shrink(light * weight, step), shrink(weight, step)]
  blurred = _disc(np.concatenate(stacked), radius / step)
  # Deep inside the person there is nothing to average.
  mean = np.clip(blurred[:3] / np.maximum(blurred[3:], 1e-4), 0, 1)
  size = (mean.shape[2] * step, mean.shape[1] * step)
  smooth = [
    Image.fromarray(np.sqrt(plane)).resize(size, Image.Resampling.BILINEAR)
    for plane in mean
  ]
  ground = np.stack([np.asarray(plane) for plane in smooth], -1)
  colors = _under(picture, matte, ground[:height, :width])
  if picture.shape[-1] == 3:
    return colors
  return np.concatenate([colors, picture[..., 3:]], -1)


def _disc(
  planes: Float32[np.ndarray, "c h w"], radius: Number
) -> Float32[np.ndarray, "c h w"]:
  """Means over discs of a radius in pixels, by FFT; the border is repeated."""
  reach = int(np.ceil(radius)) + 1
  span = np.arange(-reach, reach + 1, dtype=np.float32)
  distance = np.hypot(span[:, None], span[None])
  kernel = np.clip(radius + 0.5 - distance, 0, 1)
  kernel /= kernel.sum()
  padded = np.pad(planes, ((0, 0), (reach, reach), (reach, reach)), mode="edge")
  shape = [fft.next_fast_len(n, real=True) for n in padded.shape[1:]]
  spectrum = fft.rfft2(padded, shape) * fft.rfft2(kernel, shape)
  whole = fft.irfft2(spectrum, shape)
  height, width = planes.shape[1:]
  inside = whole[:, 2 * reach :, 2 * reach :][:, :height, :width]
  return inside.astype(np.float32)


def _ground(
  kind: str, value: str | Number | None, shape: tuple[int, int], seed: int
) -> Color3:
  """Draws what replaces the background."""
  names = [n for n in palette.BACKGROUND if n not in ("white", "grey", "slate")]
  chosen = names[int(np.random.default_rng([seed, 7]).integers(len(names)))]
  if not isinstance(value, str | None):
    raise UserError(f"the {kind} must be given in words; got {value!r}")
  if kind == "pattern":
    pattern, _, color = (value or "dots").partition(":")
    side = max(shape)
    square = draw_pattern(
      pattern, max(side, 16), color=color or chosen, seed=seed
    )
    top, left = (side - shape[0]) // 2, (side - shape[1]) // 2
    crop = square[top : top + shape[0], left : left + shape[1]]
    return crop.astype(np.float32) / 255
  first, _, last = (value or chosen).partition("-")
  first = named_color(first, pale=True)
  if kind == "color":
    if last:
      raise UserError(f"one colour is needed; got {value!r}")
    plain = np.array(palette.rgb(first), np.float32) / 255
    return np.broadcast_to(plain, (*shape, 3))
  ends = (
    (first, named_color(last, pale=True))
    if last
    else (palette.shade(first, 0.5), palette.shade(first, -0.1))
  )
  return _gradient(*ends, shape)


@functools.lru_cache(maxsize=8)
def _gradient(top: str, bottom: str, shape: tuple[int, int]) -> Color3:
  """Blends two colours from top to bottom, evenly to the eye (OKLab)."""
  stops = 33
  colors = [
    palette.rgb(palette.mix(top, bottom, k / (stops - 1))) for k in range(stops)
  ]
  rows = (np.arange(shape[0]) + 0.5) / shape[0] * (stops - 1)
  column = np.stack(
    [np.interp(rows, range(stops), channel) for channel in zip(*colors)], -1
  )
  column = (column / 255).astype(np.float32)[:, None]
  return np.broadcast_to(column, (*shape, 3))
