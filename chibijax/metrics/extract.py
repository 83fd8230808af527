"""Feature vectors of many pictures: resized, batched, jitted, sharded.

Resizing follows clean-fid (Parmar et al. 2022): Pillow's bicubic filter, which
widens when shrinking, on each colour as floats, clipped to [0, 255] and not
rounded. It is the only resizing in the package's set metrics.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float32, UInt8
from PIL import Image
from tqdm import tqdm

from chibijax.models import features

Images: TypeAlias = np.ndarray | Iterable[np.ndarray]
# What a report says of the above.
RESIZE = "PIL bicubic per channel in float32, clipped, not rounded (clean-fid)"
_THREADS = 4


def resize_clean(
  image: UInt8[np.ndarray, "h w 3"], side: int
) -> Float32[np.ndarray, "{side} {side} 3"]:
  """Resizes a picture as clean-fid does.

  Args:
    image: sRGB bytes, of any shape; the proportions are not kept.
    side: of the result, in pixels.

  Returns:
    Values in [0, 255], between whole numbers too.
  """
  planes = [
    np.asarray(
      Image.fromarray(image[..., c].astype(np.float32)).resize(
        (side, side), Image.Resampling.BICUBIC
      )
    )
    for c in range(3)
  ]
  return np.clip(np.stack(planes, -1), 0, 255)


def extract(
  images: Images,
  network: features.Network,
  *,
  batch: int = 32,
  side: int | None = None,
  devices: Sequence[jax.Device] | None = None,
  progress: bool = False,
) -> Float32[np.ndarray, "n d"]:
  """Computes the feature vector of each picture.

  Args:
    images: uint8 [n, h, w, 3], or an iterable of uint8 [h, w, 3] of any sizes.
    network: whose `embed` is applied.
    batch: pictures at a time; rounded up to a multiple of the devices.
    side: pixels a side that pictures are resized to; None is the network's.
    devices: that share each batch; None is all of this process.
    progress: show a bar.

  Returns:
    One row a picture, in the order given. The last, smaller batch is filled up
    with zeros whose rows are dropped, so nothing compiles twice.

  Raises:
    ValueError: if there is no picture, or one is not uint8 RGB.
  """
  side = network.side if side is None else side
  devices = jax.local_devices() if devices is None else list(devices)
  batch = -(-max(batch, 1) // len(devices)) * len(devices)
  mesh = Mesh(np.array(devices), ("data",))
  sharded = NamedSharding(mesh, PartitionSpec("data"))
  network = jax.device_put(network, NamedSharding(mesh, PartitionSpec()))
  total = len(images) if isinstance(images, Sequence | np.ndarray) else None
  found, waiting = [], None
  with tqdm(total=total, unit="img", disable=not progress) as bar:
    for pixels, count in _batches(images, side, batch):
      ahead = _embed(network, jax.device_put(pixels, sharded)), count
      if waiting is not None:
        found.append(_rows(*waiting))
      # The device works on this batch while the host resizes the next one.
      waiting = ahead
      bar.update(count)
    if waiting is None:
      raise ValueError("Features of no pictures were asked for.")
    found.append(_rows(*waiting))
  return np.concatenate(found)


@jax.jit
def _embed(network: features.Network, pixels: Array) -> Array:
  return network.embed(pixels / 127.5 - 1.0)


def _rows(values: Array, count: int) -> np.ndarray:
  return np.asarray(values)[:count]


def _batches(
  images: Images, side: int, batch: int
) -> Iterator[tuple[np.ndarray, int]]:
  """Yields full batches of resized pictures and how many of them count."""

  def prepare(image: np.ndarray) -> np.ndarray:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3:
      raise ValueError(
        f"Pictures must be uint8 [h, w, 3], got {image.dtype} {image.shape}."
      )
    return resize_clean(image, side)

  stream = iter(images)
  with ThreadPoolExecutor(_THREADS) as pool:
    while chunk := list(itertools.islice(stream, batch)):
      pixels = np.zeros((batch, side, side, 3), np.float32)
      for i, picture in enumerate(pool.map(prepare, chunk)):
        pixels[i] = picture
      yield pixels, len(chunk)
