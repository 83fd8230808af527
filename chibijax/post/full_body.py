"""A photo's head, made a chibi's, on the artist's body.

The head is cut out along masks of hair and skin and the jaw line, deformed with
its alpha (`post.geometry`), and set on a body of the artist's (`draw_body`) in
the photo's colours, two to three heads tall. The neck is the artist's: the chin
hangs over it and throws a shadow.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float32, UInt8
from PIL import Image, ImageDraw, ImageFilter

from chibijax.artist import Attributes, Colors, palette
from chibijax.artist.headless import CHIN, SOLES, draw_body
from chibijax.ops import resample
from chibijax.post import anatomy
from chibijax.post.geometry import ChibiKnobs, chibify
from chibijax.post.proportions import HEADS, Report

Masks: TypeAlias = Mapping[str, Bool[np.ndarray, "rows columns"]]
Number: TypeAlias = float | int

# The figure's height and the level of its soles, in picture heights.
_HEIGHT, _SOLE = 0.95, 0.98
# Margin given to the head while it is deformed, in sizes of the photo.
_ROOM = 0.2
# Masks that belong to the head wherever they are.
_WHOLE = ("hair", "hat", "headwear", "glasses")


@dataclasses.dataclass(frozen=True)
class BodyColors:
  """Colours of a person as sRGB hex; None where the photo does not show it."""

  skin: str | None = None
  clothes: str | None = None
  accent: str | None = None


@dataclasses.dataclass(frozen=True)
class Figure:
  """A whole figure.

  Attributes:
    image: RGBA, straight alpha, transparent around the figure.
    landmarks: 68 points in pixels of `image`.
    heads: height of the figure / height of its head with the hair.
    colors: what the body was coloured with.
    cut: "masks", or "outline" when there were no masks and the head was cut out
      along an ellipse, which cuts hair off too.
    report: of the head's deformation.
  """

  image: UInt8[np.ndarray, "size size 4"]
  landmarks: Float32[np.ndarray, "68 2"]
  heads: float
  colors: BodyColors
  cut: str
  report: Report


def draw_figure(
  image: UInt8[np.ndarray, "h w 3"],
  landmarks: Float[np.ndarray, "68 2"],
  masks: Masks | None = None,
  knobs: ChibiKnobs | None = None,
  *,
  size: int = 768,
  heads: Number = 2.3,
  attributes: Attributes | None = None,
  colors: BodyColors | None = None,
) -> Figure:
  """Makes a whole chibi figure of a portrait.

  Args:
    image: the photo, sRGB.
    landmarks: 68 points in its pixels.
    masks: "hair" and "skin" of the photo, and "hat" or "glasses" if known.
    knobs: deformation of the head.
    size: side of the result in pixels.
    heads: height of the figure in heads, in [2, 3]. A head too large for the
      picture makes it more.
    attributes: which clothes to draw; plain ones when None.
    colors: in place of those measured in the photo.

  Returns:
    The figure.

  Raises:
    ValueError: if `heads` is out of range, a mask has another shape than the
      photo, or as `chibify`.
  """
  if not HEADS[0] <= heads <= HEADS[1]:
    raise ValueError(f"heads must be in {list(HEADS)}; got {heads!r}")
  for name, mask in (masks or {}).items():
    if mask.shape != image.shape[:2]:
      raise ValueError(
        f"mask {name!r} must be {image.shape[:2]} like the image; "
        f"got {mask.shape}"
      )
  landmarks = np.asarray(landmarks, np.float32)
  seen = measure_colors(image, landmarks, masks)
  if colors is not None:
    given = {k: v for k, v in dataclasses.asdict(colors).items() if v}
    seen = dataclasses.replace(seen, **given)
  matte = cut_head(landmarks, image.shape[:2], masks)
  # Transparent room around the head: it may grow beyond the photo.
  pad = round(_ROOM * max(image.shape[:2]))
  cut = np.pad(np.dstack([image, matte]), ((pad, pad), (pad, pad), (0, 0)))
  head, moved, report = chibify(cut, landmarks + pad, None, knobs)
  grown = _HEIGHT * (heads - 1) / heads / (SOLES - CHIN[1])
  body = draw_body(
    attributes or Attributes(),
    round(size * grown),
    colors=Colors(skin=seen.skin, clothes=seen.clothes, accent=seen.accent),
  )
  body, chin = _fit_body(body, size, heads)
  place, heads = _placement(head[..., 3], moved, chin, size, heads)
  joined = _join(head, body, place)
  return Figure(
    image=joined,
    landmarks=moved @ place[:, :2].T + place[:, 2],
    heads=heads,
    colors=seen,
    cut="masks" if masks else "outline",
    report=report,
  )


def measure_colors(
  image: UInt8[np.ndarray, "h w 3"],
  landmarks: Float[np.ndarray, "68 2"],
  masks: Masks | None = None,
) -> BodyColors:
  """Reads the colours of cheeks and clothes.

  Args:
    image: the photo, sRGB.
    landmarks: 68 points in its pixels.
    masks: "hair" and "skin", used where they are given.

  Returns:
    The colours; clothes are None where too little is seen below the chin.
  """
  masks = masks or {}
  x, y, chin = _local_grid(landmarks, image.shape[:2])
  cheeks = (np.abs(np.abs(x) - 0.22) < 0.09) & (np.abs(y - 0.26) < 0.09)
  if "skin" in masks and (cheeks & masks["skin"]).sum() > 20:
    cheeks &= masks["skin"]
  skin = None
  if cheeks.sum() > 4:
    skin = palette.hex_color(*np.median(image[cheeks], 0).tolist())
  chest = (np.abs(x) < 0.6) & (y > chin + 0.35) & (y < chin + 1.1)
  for name in ("hair", "skin"):
    chest &= ~masks.get(name, np.zeros_like(chest))
  if chest.sum() < 100:
    return BodyColors(skin=skin)
  # The commonest colour of a few; the next one becomes the accent.
  strip = Image.fromarray(image[chest][None]).quantize(4)
  counts = sorted(strip.getcolors(), reverse=True)
  table = np.array(strip.getpalette(), float).reshape(-1, 3)
  names = [palette.hex_color(*table[index].tolist()) for _, index in counts]
  accent = None
  if len(names) > 1 and counts[1][0] > 0.1 * chest.sum():
    accent = names[1]
  return BodyColors(skin=skin, clothes=names[0], accent=accent)


def cut_head(
  landmarks: Float[np.ndarray, "68 2"],
  shape: tuple[int, int],
  masks: Masks | None = None,
) -> UInt8[np.ndarray, "h w"]:
  """Alpha of the head: hair, face and ears without the neck.

  Args:
    landmarks: 68 points in pixels.
    shape: height and width.
    masks: "hair" and "skin"; without them the skull is an ellipse.

  Returns:
    Coverage 0..255 with a soft edge.
  """
  masks = masks or {}
  height, width = shape
  outline = [tuple(point) for point in np.asarray(landmarks[:17]).tolist()]
  if not masks:
    outline += _skull_arc(landmarks)
  else:
    # The forehead up to above the brows, which no mask of skin covers; beyond,
    # the masks know better.
    rise = 0.14 * (landmarks[27] - landmarks[anatomy.CHIN])
    outline += [tuple(p) for p in (landmarks[26:16:-1] + rise).tolist()]
  picture = Image.new("L", (width, height))
  # Pillow counts pixel centres as whole numbers.
  ImageDraw.Draw(picture).polygon(
    [(x - 0.5, y - 0.5) for x, y in outline], fill=255
  )
  inside = np.array(picture) > 0
  for name in _WHOLE:
    if name in masks:
      inside |= masks[name]
  if "skin" in masks:
    # Skin above the mouth is forehead and ears; below it may be the neck.
    _, y, chin = _local_grid(landmarks, shape)
    inside |= masks["skin"] & (y < 0.5 * chin)
  soft = Image.fromarray(np.where(inside, 255, 0).astype(np.uint8))
  radius = max(0.7, min(shape) / 500)
  # Eroded a little first: hardly any of the photo's background comes along.
  soft = soft.filter(ImageFilter.MinFilter(3))
  return np.array(soft.filter(ImageFilter.GaussianBlur(radius)))


def _local_grid(
  landmarks: Float[np.ndarray, "68 2"], shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, float]:
  """Face coordinates of all pixels (see `anatomy`), and the chin's level."""
  frame = anatomy.FaceFrame.of(jnp.asarray(landmarks))
  origin, axes, unit = (np.asarray(v) for v in frame)
  y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32) + 0.5
  dx, dy = (x - origin[0]) / unit, (y - origin[1]) / unit
  chin = float((landmarks[anatomy.CHIN] - origin) @ axes[1] / unit)
  return (
    dx * axes[0, 0] + dy * axes[0, 1],
    dx * axes[1, 0] + dy * axes[1, 1],
    chin,
  )


def _skull_arc(landmarks: Float[np.ndarray, "68 2"]) -> list[tuple]:
  """Half an ellipse over the head, from its right temple to its left."""
  crown, left, right = np.asarray(anatomy.skull(jnp.asarray(landmarks)))
  middle = (left + right) / 2
  angle = np.linspace(0, np.pi, 25)[:, None]
  # A little larger than the skull: some of the hair.
  arc = middle + 1.06 * np.cos(angle) * (right - middle)
  arc += 1.06 * np.sin(angle) * (crown - middle)
  return [tuple(point) for point in arc.tolist()]


def _fit_body(
  body: UInt8[np.ndarray, "s s 4"], size: int, heads: Number
) -> tuple[UInt8[np.ndarray, "size size 4"], Float[np.ndarray, "2"]]:
  """Stands the body near the bottom; also says where a chin goes."""
  full = body.shape[0]
  # The artist's body is right for two heads; a taller one is slimmer.
  slim = round(full * (heads - 1) ** -0.45)
  weighted = Image.fromarray(body).convert("RGBa")
  narrow = np.array(weighted.resize((slim, full)).convert("RGBA"))
  bottom, left = round(SOLES * full), (slim - size) // 2
  top = bottom - round(_SOLE * size)
  pad = max(0, -top, -left, top + size - full, left + size - slim)
  padded = np.pad(narrow, ((pad, pad), (pad, pad), (0, 0)))
  shown = padded[top + pad :][:size, left + pad :][:, :size]
  return shown, np.array([CHIN[0] * slim - left, CHIN[1] * full - top])


def _placement(
  alpha: UInt8[np.ndarray, "h w"],
  landmarks: Float32[np.ndarray, "68 2"],
  to: Float[np.ndarray, "2"],
  size: int,
  heads: Number,
) -> tuple[Float32[np.ndarray, "2 3"], float]:
  """The scaling that puts the head's chin on the neck, and heads in all."""
  rows, columns = np.nonzero(alpha > 127)
  chin = landmarks[anatomy.CHIN]
  tall = float(chin[1] - rows.min())
  below = _SOLE * size - to[1]
  scale = below / ((heads - 1) * tall)
  # Hair must stay in the picture, upwards and sideways.
  wide = max(chin[0] - columns.min(), columns.max() - chin[0], 1.0)
  scale = float(min(scale, to[1] / tall, 0.49 * size / wide))
  shift = to - scale * chin
  matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]], np.float32)
  return matrix, float(1 + below / (scale * tall))


def _join(
  head: UInt8[np.ndarray, "h w 4"],
  body: UInt8[np.ndarray, "size size 4"],
  place: Float32[np.ndarray, "2 3"],
) -> UInt8[np.ndarray, "size size 4"]:
  """Lays the head over the body; it throws a soft shadow."""
  samples = int(np.clip(np.ceil(1 / place[0, 0]), 1, 4))
  over = np.asarray(_place(_weighted(head), place, body.shape[0], samples))
  under = np.asarray(_weighted(body))
  size = body.shape[0]
  shade = Image.fromarray((over[..., 3] * 255).astype(np.uint8))
  shade = shade.filter(ImageFilter.GaussianBlur(0.012 * size))
  shade = np.roll(np.array(shade), round(0.018 * size), 0) / np.float32(255)
  under = under.copy()
  under[..., :3] *= 1 - 0.35 * shade[..., None]
  mixed = over + under * (1 - over[..., 3:])
  mixed[..., :3] /= np.maximum(mixed[..., 3:], 1e-6)
  return np.rint(np.clip(mixed, 0, 1) * 255).astype(np.uint8)


def _weighted(image: UInt8[np.ndarray, "h w 4"]) -> np.ndarray:
  unit = image.astype(np.float32) / 255
  unit[..., :3] *= unit[..., 3:]
  return unit


@functools.partial(jax.jit, static_argnums=(2, 3))
def _place(
  head: Float[Array, "h w 4"],
  place: Float[Array, "2 3"],
  size: int,
  samples: int,
) -> Float[Array, "size size 4"]:
  return resample.affine(
    head, place, (size, size), border="zero", samples=samples
  )
