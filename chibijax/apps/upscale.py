"""Enlarges pictures with a super-resolution network, tile by tile.

Large pictures do not fit into memory whole. They are cut into tiles that
overlap; in the outer quarter of an overlap, where a tile lacks what is around
it, the neighbour is taken alone, and between the two are blended: no seam is
left where the network looks no further than that quarter, and next to none
where it does.

A picture keeps its kind: grey stays grey, transparency is enlarged by the same
network, and a 16-bit PNG stays 16-bit.
"""

import dataclasses
import importlib
import math
import pathlib
from collections.abc import Callable
from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Shaped
from scipy import ndimage

from chibijax.apps import pictures, pretrained
from chibijax.core import weight_files
from chibijax.data import image_files, images
from chibijax.errors import UserError
from chibijax.models import compact, rrdb

TILE, OVERLAP = 192, 32
MAX_PIXELS = 400_000_000
_MULTIPLE = 2  # Networks of scale 2 look at squares of two pixels.
_PNG_DEPTH = 24  # Place of the bit depth in a PNG.


@dataclasses.dataclass(frozen=True)
class Upscaler:
  """A network that enlarges.

  Attributes:
    apply: [1, H, W, 3] in [-1, 1] to [1, scale H, scale W, 3], even sides.
    scale: the factor.
    source: what was loaded, in words.
  """

  apply: Callable[[jax.Array], jax.Array]
  scale: int
  source: str


def load(
  *, workdir: pathlib.Path | None = None, weights: pathlib.Path | None = None
) -> Upscaler:
  """Loads a network.

  Args:
    workdir: a training of `configs/super_resolution.py`, or what `export`
      wrote of one.
    weights: a published file of ESRGAN or Real-ESRGAN, `.pth` or safetensors.

  Returns:
    The network.

  Raises:
    UserError: if not exactly one is given, or it cannot be read.
  """
  if (workdir is None) == (weights is None):
    raise UserError(
      "upscale needs one network: --workdir, a training of "
      "configs/super_resolution.py, or --weights, a published file such as "
      "RealESRGAN_x4plus.pth, which you download yourself."
    )
  if weights is not None:
    arrays = weight_files.read(weights)
    kind = compact if compact.is_published(arrays) else rrdb
    try:
      net, params = kind.from_published(arrays)
    except ValueError as error:
      raise UserError(f"{weights} is not a known network ({error}).") from error
    source = f"{weights} ({net.title}, x{net.scale})"
  else:
    if pretrained.read_config(workdir).get("task") != "super_resolution":
      raise UserError(
        f"{workdir} is not a run of the task 'super_resolution', which upscale "
        "needs."
      )
    model = pretrained.load(workdir)
    task = importlib.import_module("chibijax.tasks.super_resolution")
    net = task.build(model.config).generator
    params = model.params["gen"]
    source = f"{workdir}, step {model.step} (x{net.scale})"
  compiled = jax.jit(net.apply)
  return Upscaler(lambda x: compiled({"params": params}, x), net.scale, source)


def enlarge(
  picture: Shaped[np.ndarray, "h w *c"],
  upscaler: Upscaler,
  *,
  tile: int = TILE,
  overlap: int = OVERLAP,
) -> Shaped[np.ndarray, "h2 w2 *c"]:
  """Enlarges a picture of any kind.

  Args:
    picture: uint8 or uint16: grey [H, W], sRGB, or sRGB with straight alpha.
    upscaler: from `load`.
    tile: side of a tile before it is enlarged, in pixels.
    overlap: what neighbours share, at most half of a tile.

  Returns:
    The larger picture, of the same type and channels.

  Raises:
    UserError: if the tiles are out of range, or the result would be larger
      than `MAX_PIXELS`.
  """
  if not 16 <= tile <= 4096 or not 0 <= overlap <= tile // 2:
    raise UserError(
      f"--tile is {tile} and --overlap {overlap}; expected 16 to 4096, and at "
      "most half of that."
    )
  height, width = picture.shape[:2]
  if height * width * upscaler.scale**2 > MAX_PIXELS:
    raise UserError(
      f"{width} x {height} pixels, {upscaler.scale} times as large, are more "
      f"than {MAX_PIXELS:,}."
    )
  most = np.iinfo(picture.dtype).max
  signed = picture.astype(np.float32) * (2 / most) - 1

  def run(x: Float[np.ndarray, "h w 3"]) -> Float[np.ndarray, "h2 w2 3"]:
    return tiled(x, upscaler, tile=tile, overlap=overlap)

  if picture.ndim == 2:
    made = run(np.repeat(signed[..., None], 3, -1)).mean(-1)
  elif picture.shape[2] == 4:
    alpha = np.repeat(signed[..., 3:], 3, -1)
    colors = _spread(signed[..., :3], picture[..., 3] > 0)
    made = np.concatenate([run(colors), run(alpha).mean(-1, keepdims=True)], -1)
  else:
    made = run(signed)
  made = np.clip((made + 1) * (most / 2), 0, most)
  return np.round(made).astype(picture.dtype)


def tiled(
  x: Float[np.ndarray, "h w 3"],
  upscaler: Upscaler,
  *,
  tile: int = TILE,
  overlap: int = OVERLAP,
) -> Float[np.ndarray, "h2 w2 3"]:
  """Applies a network to a picture, tile by tile.

  Args:
    x: a picture in [-1, 1].
    upscaler: the network.
    tile: side of a tile, in pixels of `x`.
    overlap: what neighbours share at least.

  Returns:
    The larger picture.
  """
  height, width = x.shape[:2]
  scale = upscaler.scale
  # Even sides, and even starts: the network's squares must not shift.
  pads = [(0, -n % _MULTIPLE) for n in (height, width)]
  x = np.pad(x, (*pads, (0, 0)), mode="edge")
  starts, sizes = zip(*(_starts(n, tile, overlap) for n in x.shape[:2]))
  total = np.zeros((scale * x.shape[0], scale * x.shape[1], 3), np.float32)
  weight = np.zeros((*total.shape[:2], 1), np.float32)
  for top in starts[0]:
    for left in starts[1]:
      part = x[top : top + sizes[0], left : left + sizes[1]]
      made = np.asarray(upscaler.apply(jnp.asarray(part[None])))[0]
      rows, columns = (
        _ramp(first, size, whole, overlap, scale)
        for first, size, whole in zip((top, left), sizes, x.shape[:2])
      )
      mask = rows[:, None, None] * columns[None, :, None]
      place = (
        slice(scale * top, scale * (top + sizes[0])),
        slice(scale * left, scale * (left + sizes[1])),
      )
      total[place] += mask * made
      weight[place] += mask
  return (total / weight)[: scale * height, : scale * width]


def _starts(n: int, tile: int, overlap: int) -> tuple[list[int], int]:
  """Where tiles begin along a side of even length, and their length."""
  size = min(tile - tile % _MULTIPLE, n)
  if size == n:
    return [0], n
  # Rounding to even may take a pixel of the overlap: it is allowed for.
  step = max(size - overlap - _MULTIPLE, _MULTIPLE)
  count = math.ceil((n - size) / step) + 1
  places = np.linspace(0, n - size, count) // _MULTIPLE * _MULTIPLE
  return [int(p) for p in places], size


def _ramp(
  first: int, size: int, whole: int, overlap: int, scale: int
) -> Float[np.ndarray, " n"]:
  """A tile's weight along one side: 0, rising, 1 and back."""
  places = (np.arange(scale * size) + 0.5) / scale
  quarter = max(overlap / 4, 1e-3)
  weight = np.ones(scale * size, np.float32)
  # Nothing is missing at the picture's own border.
  if first > 0:
    weight *= np.clip(places / (2 * quarter) - 0.5, 0, 1)
  if first + size < whole:
    weight *= np.clip((size - places) / (2 * quarter) - 0.5, 0, 1)
  return weight.astype(np.float32)


def _spread(
  colors: Float[np.ndarray, "h w 3"], seen: Bool[np.ndarray, "h w"]
) -> Float[np.ndarray, "h w 3"]:
  """Gives pixels that cannot be seen the nearest one's colour: no fringes."""
  if seen.all() or not seen.any():
    return colors
  rows, columns = ndimage.distance_transform_edt(
    ~seen, return_distances=False, return_indices=True
  )
  return colors[rows, columns]


def read(path: pathlib.Path) -> Shaped[np.ndarray, "h w *c"]:
  """Reads a picture as what it is.

  Args:
    path: the file.

  Returns:
    uint8, or uint16 of a 16-bit PNG: [H, W], [H, W, 3], or [H, W, 4] where it
    is transparent; upright, sRGB.

  Raises:
    ImageError: if it is no picture, or damaged.
    UserError: if it is a 16-bit PNG, and there is no OpenCV to read it.
  """
  reader = images.Reader()
  reader.check(path)
  data = image_files.read_bytes(path)
  if data[:4] == b"\x89PNG" and data[_PNG_DEPTH] == 16:
    return _read_deep(path, data)
  with reader.opened(path) as picture:
    image_files.load(picture)
    picture = images.upright(picture)
    if picture.mode in ("1", "L"):
      return np.array(picture.convert("L"))
    if picture.has_transparency_data:
      return np.array(images.to_rgba(picture))
    return np.array(images.to_rgb(picture))


def _read_deep(path: pathlib.Path, data: bytes) -> Shaped[np.ndarray, "h w *c"]:
  found = _opencv().imdecode(np.frombuffer(data, np.uint8), -1)
  if found is None or found.dtype != np.uint16:
    raise UserError(f"{path} is damaged.")
  if found.ndim == 3:
    order = [2, 1, 0, 3][: found.shape[2]]
    found = found[..., order]
  return np.ascontiguousarray(found)


def save(path: pathlib.Path, picture: Shaped[np.ndarray, "h w *c"]) -> None:
  """Writes a picture; 16 bits where it has them and the format too.

  Args:
    path: a .png, .jpg or .webp name.
    picture: from `enlarge`.

  Raises:
    UserError: if the name is none of a picture, or it cannot be written.
  """
  if picture.dtype == np.uint16 and pictures.form_of(path) == "PNG":
    if picture.ndim == 3:
      picture = picture[..., [2, 1, 0, 3][: picture.shape[2]]]
    _, data = _opencv().imencode(".png", picture)
    pictures.write(path, data.tobytes())
    return
  if picture.dtype == np.uint16:
    picture = np.round(picture / 257.0).astype(np.uint8)
  pictures.save(path, picture)


def _opencv() -> ModuleType:
  try:
    import cv2
  except ImportError as error:
    raise UserError(
      "16-bit pictures need OpenCV: pip install 'chibijax[app]'."
    ) from error
  return cv2
