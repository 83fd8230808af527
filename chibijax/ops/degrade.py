"""Pictures as the world wears them down: Real-ESRGAN's two-order degradation.

Wang et al. 2021, section 3 and figure 2: blur, resize, noise and JPEG, twice,
then a last resize with a sinc filter, which rings like oversharpened pictures.
Every number below is theirs unless said otherwise.

Pictures are sRGB in [0, 1]. Shapes must be known when a program is compiled,
and the sizes between are drawn: a picture lies in the top left corner of a
larger canvas, whose rest repeats the picture's last row and column, and each
resize is a pair of matrices made for the drawn size. Everything is pure, keyed
and made for one picture; `two_order` maps it over a batch.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from chibijax.ops import blur_kernels, jpeg

METHODS = ("area", "bilinear", "bicubic")
_DRAWS = 16  # Uniform numbers a round needs.


class Order(NamedTuple):
  """How one of the two rounds is drawn.

  Attributes:
    blur: probability of a blur.
    sigma: range of the kernels' standard deviations, in pixels.
    sizes: probabilities of enlarging, shrinking, keeping.
    factor: smallest and largest factor of a resize.
    gaussian: range of Gaussian noise, in 255ths.
    poisson: range of the factor of Poisson noise.
    grey: probability that all channels have the same noise.
    quality: range of JPEG's quality.
  """

  blur: float
  sigma: tuple[float, float]
  sizes: tuple[float, float, float]
  factor: tuple[float, float]
  gaussian: tuple[float, float]
  poisson: tuple[float, float]
  grey: float = 0.4
  quality: tuple[float, float] = (30.0, 95.0)


FIRST = Order(
  1.0, (0.2, 3.0), (0.2, 0.7, 0.1), (0.15, 1.5), (1.0, 30.0), (0.05, 3.0)
)
SECOND = Order(
  0.8, (0.2, 1.5), (0.3, 0.4, 0.3), (0.3, 1.2), (1.0, 25.0), (0.05, 2.5)
)


class Canvas(NamedTuple):
  """A picture in the corner of a canvas.

  Attributes:
    pixels: [N, N, 3].
    size: height and width of the picture.
  """

  pixels: Float[Array, "n n 3"]
  size: Int[Array, "2"]


def blur(
  x: Float[Array, "h w 3"], kernel: Float[Array, "21 21"]
) -> Float[Array, "h w 3"]:
  """Convolves a picture, whose border pixels go on outside.

  By FFT: on CPUs a direct convolution with a kernel of its own for each picture
  takes ten times as long.

  Args:
    x: a picture.
    kernel: symmetric about its middle.

  Returns:
    The blurred picture.
  """
  half = blur_kernels.KERNEL // 2
  padded = jnp.pad(x, ((half, half), (half, half), (0, 0)), mode="edge")
  height, width, _ = padded.shape
  spectrum = jnp.fft.rfft2(padded, axes=(0, 1))
  spectrum *= jnp.fft.rfft2(kernel, (height, width))[..., None]
  y = jnp.fft.irfft2(spectrum, (height, width), axes=(0, 1))
  return y[blur_kernels.KERNEL - 1 :, blur_kernels.KERNEL - 1 :]


def resize(
  canvas: Canvas, size: Int[Array, "2"], side: int, method: Int[Array, ""]
) -> Canvas:
  """Gives the picture on a canvas another size.

  Bilinear and bicubic look at 2 and 4 pixels whatever the factor, so they alias
  when shrinking, as the program they copy does; area averages.

  Args:
    canvas: the picture.
    size: the new height and width, at most `side`.
    side: of the new canvas.
    method: index in `METHODS`.

  Returns:
    The resized picture.
  """
  n = canvas.pixels.shape[0]
  rows, columns = (
    _weights(canvas.size[i], size[i], n, side, method) for i in range(2)
  )
  y = jnp.einsum("in,nmc->imc", rows, canvas.pixels, precision="highest")
  y = jnp.einsum("jm,imc->ijc", columns, y, precision="highest")
  return Canvas(y, size)


def noise(
  key: Key[Array, ""],
  x: Float[Array, "h w 3"],
  draws: Float[Array, "3"],
  order: Order,
) -> Float[Array, "h w 3"]:
  """Adds Gaussian or Poisson noise, half of the time each.

  Poisson's is that of 256 photons in white, times a factor. It is drawn as a
  Gaussian of the same variance, which differs only where it is nearly black.

  Args:
    key: typed PRNG key.
    x: a picture in [0, 1].
    draws: uniform in [0, 1): which noise, how much, in grey or in colour.
    order: the ranges.

  Returns:
    The noisy picture, in [0, 1].
  """
  gaussian = blur_kernels.between(draws[1], order.gaussian) / 255
  level = jnp.round(jnp.clip(x, 0, 1) * 255) / 255
  grey = draws[2] < order.grey
  light = jnp.where(grey, level.mean(-1, keepdims=True), level)
  photons = blur_kernels.between(draws[1], order.poisson) * jnp.sqrt(
    light / 256
  )
  # Drawn flat, see `models.layers.init_kernel`.
  normal = jax.random.normal(key, (x.size,)).reshape(x.shape)
  normal = jnp.where(grey, normal[..., :1], normal)
  sigma = jnp.where(draws[0] < 0.5, gaussian, photons)
  return jnp.clip(x + sigma * normal, 0, 1)


def two_order(
  keys: Key[Array, " b"],
  images: Float[Array, "b n n 3"],
  scale: int,
  *,
  first: Order = FIRST,
  second: Order = SECOND,
) -> Float[Array, "b m m 3"]:
  """Wears pictures down and shrinks them.

  Args:
    keys: one typed key a picture.
    images: square pictures in [0, 1].
    scale: the factor by which the result is smaller; divides the side.
    first: the first round.
    second: the second one.

  Returns:
    Pictures in [0, 1] of side N / scale, in 256 levels.

  Raises:
    ValueError: if the pictures are not square or the scale does not divide.
  """
  _, height, width, _ = images.shape
  if height != width or height % scale:
    raise ValueError(
      f"Degradation needs squares whose side {scale} divides, got "
      f"{height}x{width}."
    )
  degrade = functools.partial(_degrade, scale=scale, first=first, second=second)
  return jax.vmap(degrade)(keys, images)


def _degrade(
  key: Key[Array, ""],
  image: Float[Array, "n n 3"],
  *,
  scale: int,
  first: Order,
  second: Order,
) -> Float[Array, "m m 3"]:
  keys = jax.random.split(key, 3)
  # All at once: a draw of its own for each number is slow to compile.
  first_draws, second_draws, draws = jnp.split(
    jax.random.uniform(keys[0], (3 * _DRAWS,)), 3
  )
  side = image.shape[0]
  small = jnp.full((2,), side // scale)
  canvas = Canvas(image, jnp.full((2,), side))
  canvas = _round(
    keys[1], first_draws, canvas, canvas.size, _room(side, first), first
  )
  canvas = _jpeg(canvas, blur_kernels.between(first_draws[-1], first.quality))
  # The second round's factors are of the final size.
  room = _room(side // scale, second)
  canvas = _round(keys[2], second_draws, canvas, small, room, second)
  # The last resize, with its filter, before JPEG or after it.
  before = draws[0] < 0.5
  canvas = _either(before, _last(draws[1:], canvas, small), canvas)
  canvas = _jpeg(canvas, blur_kernels.between(second_draws[-1], second.quality))
  canvas = _either(before, canvas, _last(draws[1:], canvas, small))
  found = canvas.pixels[: side // scale, : side // scale]
  return jnp.round(jnp.clip(found, 0, 1) * 255) / 255


def _last(draws: Float[Array, " n"], canvas: Canvas, small: Array) -> Canvas:
  """The last resize, then a sinc filter four times out of five."""
  n = canvas.pixels.shape[0]
  canvas = resize(
    canvas, small, n, blur_kernels.whole(draws[0], 0, len(METHODS) - 1)
  )
  kernel = blur_kernels.sinc_kernel(
    blur_kernels.between(draws[1], (math.pi / 3, math.pi))
  )
  kernel = blur_kernels.cropped(
    kernel, blur_kernels.whole(draws[2], 3, blur_kernels.KERNEL // 2)
  )
  kernel = jnp.where(draws[3] < 0.8, kernel, blur_kernels.identity())
  return _settled(Canvas(blur(canvas.pixels, kernel), canvas.size))


def _round(
  key: Key[Array, ""],
  draws: Float[Array, " n"],
  canvas: Canvas,
  base: Int[Array, "2"],
  side: int,
  order: Order,
) -> Canvas:
  """Blur, resize and noise of one round; factors are of `base`."""
  kernel = blur_kernels.draw_kernel(draws[:8], order.sigma)
  kernel = jnp.where(draws[8] < order.blur, kernel, blur_kernels.identity())
  canvas = _settled(canvas._replace(pixels=blur(canvas.pixels, kernel)))
  smallest, largest = order.factor
  factors = jnp.stack(
    [
      blur_kernels.between(draws[9], (1.0, largest)),
      blur_kernels.between(draws[9], (smallest, 1.0)),
      jnp.ones(()),
    ]
  )
  factor = factors[blur_kernels.choice(draws[10], order.sizes)]
  size = jnp.maximum((base * factor).astype(jnp.int32), 1)
  method = blur_kernels.whole(draws[11], 0, len(METHODS) - 1)
  canvas = resize(canvas, size, side, method)
  pixels = noise(key, canvas.pixels, draws[12:15], order)
  return _settled(Canvas(pixels, size))


def _room(side: int, order: Order) -> int:
  """Side of a canvas that any resize fits on, in whole JPEG blocks."""
  return -(-math.ceil(side * order.factor[1]) // jpeg.BLOCK) * jpeg.BLOCK


def _jpeg(canvas: Canvas, quality: Float[Array, ""]) -> Canvas:
  pixels = jpeg.compress(canvas.pixels, quality)
  return _settled(Canvas(pixels, canvas.size))


def _settled(canvas: Canvas) -> Canvas:
  """Repeats the last row and column over the rest of the canvas."""
  places = jnp.arange(canvas.pixels.shape[0])
  rows, columns = (jnp.minimum(places, canvas.size[i] - 1) for i in range(2))
  return canvas._replace(pixels=canvas.pixels[rows][:, columns])


def _either(first: Bool[Array, ""], one: Canvas, other: Canvas) -> Canvas:
  return jax.tree.map(lambda x, y: jnp.where(first, x, y), one, other)


def _weights(
  source: Int[Array, ""],
  target: Int[Array, ""],
  n: int,
  side: int,
  method: Int[Array, ""],
) -> Float[Array, "side n"]:
  """The matrix of one axis of a resize; rows beyond the target repeat."""
  ratio = source / target
  rows = jnp.minimum(jnp.arange(side), target - 1).astype(jnp.float32)[:, None]
  pixels = jnp.arange(n, dtype=jnp.float32)[None, :]
  begin, end = rows * ratio, (rows + 1) * ratio
  area = jnp.minimum(end, pixels + 1) - jnp.maximum(begin, pixels)
  area = jnp.maximum(area, 0) / ratio
  # Outside of the picture its last pixel is seen: each tap is put where it
  # is found.
  centre = (rows + 0.5) * ratio - 0.5
  first = jnp.floor(centre)
  linear, cubic = jnp.zeros((side, n)), jnp.zeros((side, n))
  for tap in (-1, 0, 1, 2):
    place = jnp.clip(first + tap, 0, source - 1)
    here = pixels == place
    away = jnp.abs(first + tap - centre)
    linear += jnp.where(here, jnp.maximum(1 - away, 0), 0)
    cubic += jnp.where(here, _keys_cubic(away), 0)
  return jnp.stack([area, linear, cubic])[method]


def _keys_cubic(t: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
  """Keys's cubic (1981) with a = -0.75, as PyTorch and OpenCV have it."""
  a = -0.75
  near = ((a + 2) * t - (a + 3)) * t**2 + 1
  far = ((a * t - 5 * a) * t + 8 * a) * t - 4 * a
  return jnp.where(t <= 1, near, jnp.where(t < 2, far, 0))
