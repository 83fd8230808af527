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

from chibijax.ops import jpeg

KERNEL = 21  # Side of the largest kernel, in pixels.
METHODS = ("area", "bilinear", "bicubic")
# Gaussian, generalised Gaussian, plateau; the first half of each isotropic.
_KINDS = (0.45, 0.25, 0.12, 0.03, 0.12, 0.03)
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


def gaussian_kernel(
  sigmas: Float[Array, "2"],
  angle: Float[Array, ""],
  beta: Float[Array, ""],
  *,
  plateau: Bool[Array, ""] | bool = False,
) -> Float[Array, "21 21"]:
  """A generalised, anisotropic Gaussian kernel.

  With q = p^T S^-1 p: exp(-q^beta / 2), or 1 / (1 + q^beta) for a plateau
  (Wang et al. 2021, eq. 3; Liu et al. 2020).

  Args:
    sigmas: standard deviations along the kernel's own axes, in pixels.
    angle: of the first of them from the x axis, in radians.
    beta: 1 is Gaussian; below it is more pointed, above flatter.
    plateau: which of the two.

  Returns:
    The kernel; it sums to 1.
  """
  x, y = _offsets()
  u = (x * jnp.cos(angle) + y * jnp.sin(angle)) / sigmas[0]
  v = (y * jnp.cos(angle) - x * jnp.sin(angle)) / sigmas[1]
  power = (u**2 + v**2) ** beta
  kernel = jnp.where(plateau, 1 / (1 + power), jnp.exp(-power / 2))
  return kernel / kernel.sum()


def sinc_kernel(cutoff: Float[Array, ""]) -> Float[Array, "21 21"]:
  """The ideal circular low pass, cut off: w J1(w r) / (2 pi r) (eq. 5).

  Args:
    cutoff: w, in radians a pixel, up to pi.

  Returns:
    The kernel; it sums to 1.
  """
  x, y = _offsets()
  radius = jnp.sqrt(x**2 + y**2)
  # Bessel's integral; the trapezoids are exact once there are more of them
  # than the largest argument, which is 45.
  angles = (jnp.arange(96, dtype=jnp.float32) + 0.5) * (math.pi / 96)
  waves = angles - cutoff * radius[..., None] * jnp.sin(angles)
  bessel = jnp.cos(waves).mean(-1)
  kernel = cutoff * bessel / (2 * math.pi * jnp.maximum(radius, 1e-6))
  kernel = jnp.where(radius > 0, kernel, cutoff**2 / (4 * math.pi))
  return kernel / kernel.sum()


def draw_kernel(
  draws: Float[Array, "8"], sigma: tuple[float, float]
) -> Float[Array, "21 21"]:
  """A blur: one of six Gaussian kinds, or, one in ten, a sinc.

  Args:
    draws: uniform in [0, 1): which kernel.
    sigma: range of the standard deviations, in pixels.

  Returns:
    A kernel of 7 to 21 pixels, with zeros around; it sums to 1.
  """
  kind = _choice(draws[0], _KINDS)
  sigmas = _between(draws[1:3], sigma)
  sigmas = jnp.where(kind % 2 == 0, sigmas[0], sigmas)
  angle = _between(draws[3], (-math.pi, math.pi))
  wide, flat = (_between(draws[4], r) for r in ((0.5, 4.0), (1.0, 2.0)))
  beta = jnp.where(kind < 2, 1.0, jnp.where(kind < 4, wide, flat))
  kernel = gaussian_kernel(sigmas, angle, beta, plateau=kind >= 4)
  half = _whole(draws[5], 3, KERNEL // 2)
  least = jnp.where(half < 6, math.pi / 3, math.pi / 5)
  cutoff = least + (math.pi - least) * draws[6]
  kernel = jnp.where(draws[7] < 0.1, sinc_kernel(cutoff), kernel)
  return _cropped(kernel, half)


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
  half = KERNEL // 2
  padded = jnp.pad(x, ((half, half), (half, half), (0, 0)), mode="edge")
  height, width, _ = padded.shape
  spectrum = jnp.fft.rfft2(padded, axes=(0, 1))
  spectrum *= jnp.fft.rfft2(kernel, (height, width))[..., None]
  y = jnp.fft.irfft2(spectrum, (height, width), axes=(0, 1))
  return y[KERNEL - 1 :, KERNEL - 1 :]


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
  gaussian = _between(draws[1], order.gaussian) / 255
  level = jnp.round(jnp.clip(x, 0, 1) * 255) / 255
  grey = draws[2] < order.grey
  light = jnp.where(grey, level.mean(-1, keepdims=True), level)
  photons = _between(draws[1], order.poisson) * jnp.sqrt(light / 256)
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
  canvas = _jpeg(canvas, _between(first_draws[-1], first.quality))
  # The second round's factors are of the final size.
  room = _room(side // scale, second)
  canvas = _round(keys[2], second_draws, canvas, small, room, second)
  # The last resize, with its filter, before JPEG or after it.
  before = draws[0] < 0.5
  canvas = _either(before, _last(draws[1:], canvas, small), canvas)
  canvas = _jpeg(canvas, _between(second_draws[-1], second.quality))
  canvas = _either(before, canvas, _last(draws[1:], canvas, small))
  found = canvas.pixels[: side // scale, : side // scale]
  return jnp.round(jnp.clip(found, 0, 1) * 255) / 255


def _last(draws: Float[Array, " n"], canvas: Canvas, small: Array) -> Canvas:
  """The last resize, then a sinc filter four times out of five."""
  n = canvas.pixels.shape[0]
  canvas = resize(canvas, small, n, _whole(draws[0], 0, len(METHODS) - 1))
  kernel = sinc_kernel(_between(draws[1], (math.pi / 3, math.pi)))
  kernel = _cropped(kernel, _whole(draws[2], 3, KERNEL // 2))
  kernel = jnp.where(draws[3] < 0.8, kernel, _nothing())
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
  kernel = draw_kernel(draws[:8], order.sigma)
  kernel = jnp.where(draws[8] < order.blur, kernel, _nothing())
  canvas = _settled(canvas._replace(pixels=blur(canvas.pixels, kernel)))
  smallest, largest = order.factor
  factors = jnp.stack(
    [
      _between(draws[9], (1.0, largest)),
      _between(draws[9], (smallest, 1.0)),
      jnp.ones(()),
    ]
  )
  factor = factors[_choice(draws[10], order.sizes)]
  size = jnp.maximum((base * factor).astype(jnp.int32), 1)
  method = _whole(draws[11], 0, len(METHODS) - 1)
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


def _offsets() -> tuple[Float[Array, "21 21"], Float[Array, "21 21"]]:
  places = jnp.arange(KERNEL, dtype=jnp.float32) - KERNEL // 2
  x, y = jnp.meshgrid(places, places)
  return x, y


def _cropped(
  kernel: Float[Array, "21 21"], half: Int[Array, ""]
) -> Float[Array, "21 21"]:
  x, y = _offsets()
  inside = jnp.maximum(jnp.abs(x), jnp.abs(y)) <= half
  kernel = jnp.where(inside, kernel, 0)
  return kernel / kernel.sum()


def _nothing() -> Float[Array, "21 21"]:
  """The kernel that changes nothing."""
  x, y = _offsets()
  return ((x == 0) & (y == 0)).astype(jnp.float32)


def _either(first: Bool[Array, ""], one: Canvas, other: Canvas) -> Canvas:
  return jax.tree.map(lambda x, y: jnp.where(first, x, y), one, other)


def _between(
  draw: Float[Array, "*shape"], limits: tuple[float, float]
) -> Float[Array, "*shape"]:
  return limits[0] + (limits[1] - limits[0]) * draw


def _whole(draw: Float[Array, ""], least: int, most: int) -> Int[Array, ""]:
  return least + (draw * (most - least + 1)).astype(jnp.int32)


def _choice(
  draw: Float[Array, ""], weights: tuple[float, ...]
) -> Int[Array, ""]:
  # The last sum is 1 up to rounding, and the draw may be above it.
  sums = jnp.cumsum(jnp.array(weights))[:-1]
  return (draw >= sums).sum()


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
