"""The native rasterizer: all of `jax.ffi` for this family is here.

`project` and `composite` have the signatures and the meaning of the same
functions in `reference.py`. Each of them and of their gradients is one call of
a handler in `native/`, for CPUs from `libsplat_*.so` and for NVIDIA GPUs
from `libsplat_cuda.so`; other platforms run the definition in JAX, and its
gradients by JAX. The choice is made when the program is lowered, so that one
traced function may be lowered for any platform.

Residuals that only the library understands (the last Gaussian of each pixel,
the order by depth, the tile lists) are kept per image, [B, C, ...], because
`vmap` and sharding may split images among calls differently in the gradient.
"""

import ctypes
import functools
import pathlib
import warnings
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int32

from chibijax.ops import native_library
from chibijax.ops.splat import reference
from chibijax.ops.splat.batching import batched, deferred
from chibijax.ops.splat.scene import Composition, Options, Projection

_FOLDER = pathlib.Path(__file__).parent / "native"
_OPERATIONS = ("project", "project_grad", "composite", "composite_grad")
_CAMERA_MODELS = {"pinhole": 0, "ortho": 1, "fisheye": 2}
_INT32_MAX = 2**31 - 1
# Tile lists: room for this many tiles per Gaussian where none is asked for.
# A head in 512² needs 3 to 8 with tiles of 16; when they do not fit, the GPU
# takes the exact slower way.
_TILES_PER_GAUSSIAN = 12

Definition = Callable[..., tuple[Array, ...]]


class _Setup(NamedTuple):
  """Everything static about a call.

  Attributes:
    width: of the images, in pixels.
    height: of the images, in pixels.
    options: all others.
    platforms: where native calls are used.
    shared: colours [B, 1, N, D] serve all cameras.
    absgrad: the gradient to the offset is made of absolute values.
  """

  width: int
  height: int
  options: Options
  platforms: tuple[str, ...]
  shared: bool = False
  absgrad: bool = False


def available(platform: str = "cpu") -> bool:
  """Says whether the library is there, loaded and wanted.

  `CHIBIJAX_NATIVE=0` in the environment switches both off for what is traced
  from then on.

  Args:
    platform: "cpu" or "cuda". The latter says nothing about a GPU: its library
      loads without one.
  """
  return native_library.is_wanted() and _library(platform) is not None


def project(
  means: Float[Array, "B N 3"],
  quats: Float[Array, "B N 4"],
  scales: Float[Array, "B N 3"],
  opacities: Float[Array, "B N"],
  viewmats: Float[Array, "B C 4 4"],
  Ks: Float[Array, "B C 3 3"],
  *,
  width: int,
  height: int,
  options: Options,
) -> Projection:
  """Projects Gaussians onto the image planes; see `reference.project`."""
  args = (means, quats, scales, opacities, viewmats, Ks)
  platforms = _platforms()
  if not platforms:
    return reference.project(*args, width=width, height=height, options=options)
  function = _project(_Setup(width, height, options, platforms))
  return Projection(*function(*args))


def composite(
  means2d: Float[Array, "B C N 2"],
  conics: Float[Array, "B C N 3"],
  opacities: Float[Array, "B C N"],
  colors: Float[Array, "B Cc N D"],
  depths: Float[Array, "B C N"],
  radii: Int32[Array, "B C N 2"],
  background: Float[Array, "B C D"],
  offset: Float[Array, "B C N 2"] | None,
  *,
  width: int,
  height: int,
  options: Options,
) -> Composition:
  """Composites projected Gaussians; see `reference.composite`.

  Raises:
    ValueError: if images have so many Gaussians or tiles together that they
      cannot be counted in 32 bits.
  """
  args = (means2d, conics, opacities, colors, depths, radii, background)
  platforms = _platforms()
  if not platforms:
    return reference.composite(
      *args, offset, width=width, height=height, options=options
    )
  shared = colors.shape[1] == 1
  absgrad = options.absgrad and offset is not None
  if offset is not None and not absgrad:
    args = (means2d + offset, *args[1:])
    offset = None
  setup = _Setup(width, height, options, platforms, shared, absgrad)
  function = _composite(setup)
  return Composition(*function(*args, offset))


def _platforms() -> tuple[str, ...]:
  """Platforms for which native calls are traced."""
  found = tuple(name for name in ("cpu", "cuda") if available(name))
  missing = native_library.is_wanted() and "cpu" not in found
  if missing and jax.default_backend() == "cpu":
    _warn_once()
  return found


@functools.cache
def _warn_once() -> None:
  warnings.warn(
    "The native splat library is missing, so that the rasterizer runs its slow"
    " definition in JAX; build it with `python setup.py build_ext --inplace`"
    " (needs a C++ compiler), or set CHIBIJAX_NATIVE=0 to accept this.",
    RuntimeWarning,
    stacklevel=4,
  )


@functools.cache
def _library(platform: str) -> ctypes.CDLL | None:
  """Loads a platform's library and registers its handlers, once."""
  if platform == "cpu":
    library = native_library.load(str(_FOLDER), "splat")
  else:
    try:
      library = ctypes.CDLL(str(_FOLDER / "libsplat_cuda.so"))
    except OSError:  # not built, or for another system
      library = None
  if library is not None:
    target = {"cpu": "cpu", "cuda": "CUDA"}[platform]
    native_library.register(library, "chibijax_splat", _OPERATIONS, target)
  return library


def _operation(
  name: str,
  definition: Definition,
  shapes: Callable[..., tuple[jax.ShapeDtypeStruct, ...]],
  platforms: tuple[str, ...],
  attributes: dict[str, np.generic],
) -> Definition:
  """One operation on this device's arrays, native where that exists.

  Args:
    name: one of `_OPERATIONS`.
    definition: the same in JAX.
    shapes: what it returns for given arrays.
    platforms: where the native one is used.
    attributes: the handler's.

  Returns:
    A function of arrays.
  """

  def native(*args):
    call = jax.ffi.ffi_call(f"chibijax_splat_{name}", shapes(*args))
    return tuple(call(*args, **attributes))

  default = deferred(definition, shapes)

  def choose(*args):
    branches = dict.fromkeys(platforms, native)
    return lax.platform_dependent(*args, **branches, default=default)

  return choose


def _like(
  *arrays: Array | jax.core.ShapedArray,
) -> tuple[jax.ShapeDtypeStruct, ...]:
  return tuple(jax.ShapeDtypeStruct(x.shape, x.dtype) for x in arrays)


def _result(*shape: int, dtype: type = jnp.float32) -> jax.ShapeDtypeStruct:
  return jax.ShapeDtypeStruct(shape, dtype)


@functools.cache
def _project(setup: _Setup) -> Definition:
  """Makes the differentiable projection for one set of static arguments."""
  width, height, options, platforms, *_ = setup
  attributes = {
    "width": np.int64(width),
    "height": np.int64(height),
    "camera_model": np.int64(_CAMERA_MODELS[options.camera_model]),
  }
  for name in ("eps2d", "near", "far", "radius_clip"):
    attributes[name] = np.float32(getattr(options, name))
  for name in ("antialiased", "normalize_quats"):
    attributes[name] = np.bool_(getattr(options, name))

  def definition(*args):
    return tuple(
      reference.project(*args, width=width, height=height, options=options)
    )

  def shapes(means, *others):
    size = (*others[-1].shape[:2], means.shape[1])
    pair, triple, single = _result(*size, 2), _result(*size, 3), _result(*size)
    return pair, triple, single, single, _result(*size, 2, dtype=jnp.int32)

  def definition_grad(*args):
    _, pullback = jax.vjp(lambda *p: definition(*p)[:4], *args[:6])
    return pullback(args[7:])

  inputs = ("bn.", "bn.", "bn.", "bn", "bc..", "bc..")
  outputs = ("bcn.", "bcn.", "bcn", "bcn")
  forward = batched(
    _operation("project", definition, shapes, platforms, attributes),
    inputs,
    (*outputs, "bcn."),
    "bcn",
  )
  backward = batched(
    _operation(
      "project_grad",
      definition_grad,
      lambda *args: _like(*args[:6]),
      platforms,
      attributes,
    ),
    (*inputs, "bcn.", *outputs),
    inputs,
    "bcn",
  )

  def save(*args):
    results = forward(*args)
    return results, (*args, results[4])

  def pull(saved, cotangents):
    return backward(*saved, *cotangents[:4])

  project = jax.custom_vjp(forward)
  project.defvjp(save, pull)
  return jax.jit(project)


@functools.cache
def _composite(setup: _Setup) -> Definition:
  """Makes the differentiable compositing for one set of static arguments.

  The offset must be None without `absgrad`.
  """
  forward, backward = _composite_operations(setup)
  absgrad = setup.absgrad

  def value(*args):
    return save(*args)[0]

  def save(means2d, *args):
    *args, offset = args
    moved = means2d + offset if absgrad else means2d
    image, transmittance, depth, *private = forward(moved, *args)
    results = (image, transmittance, depth)
    return results, (moved, *args, transmittance, *private)

  def pull(saved, cotangents):
    *gradients, v_abs = backward(*saved, *cotangents)
    # A sum over pixels, and dead code where it is not asked for.
    v_background = jnp.einsum(
      "bchw,bchwd->bcd", saved[7], cotangents[0], precision="highest"
    )
    return *gradients, None, v_background, v_abs if absgrad else None

  composite = jax.custom_vjp(value)
  composite.defvjp(save, pull)
  return jax.jit(composite)


def _room(setup: _Setup, images: int, gaussians: int) -> int:
  """Integers per image for the tile lists that a GPU keeps for the gradient.

  Raises:
    ValueError: if all images together need more than can be indexed.
  """
  width, height, options, platforms, *_ = setup
  tiles = -(-width // options.tile_size) * -(-height // options.tile_size)
  for count, of in ((gaussians, "Gaussians"), (tiles, "tiles")):
    if images * count > _INT32_MAX:
      raise ValueError(
        f"got {images} images of {count} {of} each; expected at most"
        f" {_INT32_MAX} {of} in all images together: use smaller batches"
      )
  if "cuda" not in platforms:
    return 0
  pairs = options.capacity
  if pairs is None:
    pairs = min(_TILES_PER_GAUSSIAN, tiles) * gaussians
  if images * pairs > _INT32_MAX:
    raise ValueError(
      f"got {images} images with room for {pairs} intersections each; expected"
      f" at most {_INT32_MAX} in all images together: use smaller batches, or"
      " set the capacity in the options"
    )
  return tiles + 1 + pairs


def _composite_operations(setup: _Setup) -> tuple[Definition, Definition]:
  """The two calls behind `_composite`."""
  width, height, options, platforms, shared, absgrad = setup
  attributes = {
    "max_alpha": np.float32(options.max_alpha),
    "tile_size": np.int64(options.tile_size),
    "with_depth": np.bool_(options.depth != "none"),
  }
  depth_size = (height, width) if options.depth != "none" else (0, 0)

  def shapes(means2d, *others):
    b, c, n, _ = means2d.shape
    channels = others[-1].shape[2]
    room = _room(setup, b * c, n)
    return (
      _result(b, c, height, width, channels),
      _result(b, c, height, width),
      _result(b, c, *depth_size),
      _result(b, c, height, width, dtype=jnp.int32),
      _result(b, c, n, dtype=jnp.int32),
      _result(b, c, room, dtype=jnp.int32),
    )

  def compose(*args):
    return tuple(
      reference.composite(*args, width=width, height=height, options=options)
    )

  def definition(*args):
    private = (jnp.zeros(s.shape, s.dtype) for s in shapes(*args)[3:])
    return *compose(*args, None), *private

  def shapes_grad(*args):
    b, c, n, _ = args[0].shape
    v_abs = _result(b, c, n if absgrad else 0, 2)
    return *_like(*args[:5]), v_abs

  def definition_grad(*args):
    means2d, conics, opacities, colors, depths, radii, background = args[:7]
    offset = jnp.zeros_like(means2d) if absgrad else None
    _, pullback = jax.vjp(
      lambda *p: compose(*p[:5], radii, background, p[5]),
      *(means2d, conics, opacities, colors, depths, offset),
    )
    *gradients, v_abs = pullback(args[11:])
    if not absgrad:
      v_abs = jnp.zeros(shapes_grad(*args)[5].shape, jnp.float32)
    return *gradients, v_abs

  color = "b.n." if shared else "bcn."
  inputs = ("bcn.", "bcn.", "bcn", color, "bcn", "bcn.", "bc.")
  images = ("bc...", "bc..", "bc..")
  private = ("bc..", "bc.", "bc.")
  gradients = ("bcn.", "bcn.", "bcn", color, "bcn", "bc..")
  forward = _operation("composite", definition, shapes, platforms, attributes)
  backward = _operation(
    "composite_grad",
    definition_grad,
    shapes_grad,
    platforms,
    {**attributes, "absgrad": np.bool_(absgrad)},
  )
  return (
    batched(forward, inputs, (*images, *private), "bc"),
    batched(backward, (*inputs, "bc..", *private, *images), gradients, "bc"),
  )
