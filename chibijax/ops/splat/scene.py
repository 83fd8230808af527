"""What a rasterizer takes and gives: Gaussians, a camera, options, pictures.

Shapes: N Gaussians, D channels, K spherical harmonics, H x W pixels. `*G` and
`*C` are the leading batch axes of the Gaussians and of the cameras; one is a
prefix of the other and the longer one is `*L`. So each of `*G` scenes has its
own `*C[len(G):]` cameras, or all scenes below a camera's axes share it.
Lengths are in the world's unit, pixels count from the top left corner (the
centre of the first pixel is 0.5, 0.5), quaternions are wxyz.
"""

import dataclasses
import functools
import math
from typing import Literal, NamedTuple, no_type_check

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32


@no_type_check
@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Gaussians:
  """N Gaussians per scene, coloured by `colors` or by `sh` (exactly one).

  Attributes:
    means: centres in the world.
    quats: orientations wxyz.
    scales: standard deviations along the three axes, above 0.
    opacities: 0 to 1.
    colors: any channels, the same from everywhere; or [*L, N, D], per camera.
    sh: spherical harmonics, K = 1, 4, 9, 16 or 25; the colour seen from a
      direction is max(sum + 0.5, 0).
    means2d_offset: pixels, normally zeros: added to the projected centres. Its
      gradient is the one in the picture, by which densification decides.
  """

  means: Float[Array, "*G N 3"]
  quats: Float[Array, "*G N 4"]
  scales: Float[Array, "*G N 3"]
  opacities: Float[Array, "*G N"]
  colors: Float[Array, "*G N D"] | None = None
  sh: Float[Array, "*G N K D"] | None = None
  means2d_offset: Float[Array, "*L N 2"] | None = None


@no_type_check
@functools.partial(
  jax.tree_util.register_dataclass,
  data_fields=["viewmat", "K"],
  meta_fields=["width", "height"],
)
@dataclasses.dataclass(frozen=True)
class Camera:
  """Cameras that make pictures of one size.

  Attributes:
    viewmat: world to camera, OpenCV axes (x right, y down, z forward).
    K: intrinsics in pixels; skew is ignored.
    width: pixels; static.
    height: pixels; static.
  """

  viewmat: Float[Array, "*C 4 4"]
  K: Float[Array, "*C 3 3"]
  width: int
  height: int


@dataclasses.dataclass(frozen=True)
class Options:
  """How to rasterize; hashable, static under `jit`.

  Attributes:
    antialiased: dims Gaussians smaller than a pixel by what `eps2d` adds to
      their area (Yu et al. 2024, Mip-Splatting).
    max_alpha: no Gaussian covers more of a pixel; at most 0.9999.
    near: Gaussians with a smaller depth are dropped.
    far: Gaussians with a larger depth are dropped.
    eps2d: pixels^2, added to the variances in the picture.
    radius_clip: pixels; Gaussians that reach no further are dropped.
    depth: "D" adds sums of weight times depth, "ED" divides them by alpha.
    normalize_quats: False uses quaternions as they are.
    absgrad: the gradient of `means2d_offset` becomes the sum over pixels of
      absolute values (Ye et al. 2024, AbsGS).
    camera_model: see `ops.camera`.
    tile_size: pixels, 8, 16 or 32: changes the time, never the result.
    capacity: pairs of tile and Gaussian that a GPU has room for, per picture;
      more of them are slower, not lost. None chooses.
  """

  antialiased: bool = False
  max_alpha: float = 0.99
  near: float = 0.01
  far: float = 1e10
  eps2d: float = 0.3
  radius_clip: float = 0.0
  depth: Literal["none", "D", "ED"] = "none"
  normalize_quats: bool = True
  absgrad: bool = False
  camera_model: Literal["pinhole", "ortho", "fisheye"] = "pinhole"
  tile_size: int = 16
  capacity: int | None = None

  def __post_init__(self) -> None:
    """Refuses values without meaning; raises a ValueError that says so."""
    choices = {
      "depth": ("none", "D", "ED"),
      "camera_model": ("pinhole", "ortho", "fisheye"),
      "tile_size": (8, 16, 32),
    }
    for name, allowed in choices.items():
      value = getattr(self, name)
      if value not in allowed:
        raise ValueError(f"{name} is {value!r}; expected one of {allowed}")
    if not 1 / 255 <= self.max_alpha <= 0.9999:
      raise ValueError(
        f"max_alpha is {self.max_alpha}; expected 1/255 to 0.9999"
      )
    if not self.near < self.far:
      raise ValueError(f"near {self.near} is not below far {self.far}")
    if not (self.eps2d >= 0 and self.radius_clip >= 0):
      raise ValueError(
        f"eps2d is {self.eps2d} and radius_clip {self.radius_clip}; "
        "expected 0 or more"
      )
    if self.capacity is not None and self.capacity < 1:
      raise ValueError(f"capacity is {self.capacity}; expected 1 or more")


@no_type_check
@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Rendering:
  """Pictures, and where the Gaussians are in them.

  Attributes:
    image: weighted colours, with the background behind them.
    alpha: 0 to 1, what the Gaussians cover of each pixel.
    depth: along the camera's axis; None unless asked for.
    means2d: projected centres, pixels; 0 for dropped Gaussians.
    radii: half sizes of the box where a Gaussian can be seen; 0 if dropped.
    depths: of the centres along the camera's axis; 0 if dropped.
  """

  image: Float[Array, "*L H W D"]
  alpha: Float[Array, "*L H W"]
  depth: Float[Array, "*L H W"] | None
  means2d: Float[Array, "*L N 2"]
  radii: Int32[Array, "*L N 2"]
  depths: Float[Array, "*L N"]


class Projection(NamedTuple):
  """Gaussians in the pictures of B x C cameras; all 0 where dropped.

  Attributes:
    means2d: [B, C, N, 2], pixels.
    conics: [B, C, N, 3], inverse covariance [[a, b], [b, c]] as a, b, c.
    opacities: [B, C, N], dimmed if antialiased.
    depths: [B, C, N].
    radii: int32 [B, C, N, 2].
  """

  means2d: Array
  conics: Array
  opacities: Array
  depths: Array
  radii: Array


class Composition(NamedTuple):
  """Pictures of B x C cameras.

  Attributes:
    image: [B, C, H, W, D], with the background.
    transmittance: [B, C, H, W], what the Gaussians let through.
    depth: [B, C, H, W], sum of weight times depth; [B, C, 0, 0] without.
  """

  image: Array
  transmittance: Array
  depth: Array


class Batch(NamedTuple):
  """How leading axes become scenes x cameras.

  Attributes:
    shape: the leading axes of everything rendered.
    scenes: product of the Gaussians' axes.
    cameras: pictures per scene.
  """

  shape: tuple[int, ...]
  scenes: int
  cameras: int


def validate(
  gaussians: Gaussians, camera: Camera, background: Array | None
) -> Batch:
  """Checks all shapes against each other.

  Raises:
    ValueError: in one sentence, for the first that does not fit.
  """
  means, viewmat = jnp.shape(gaussians.means), jnp.shape(camera.viewmat)
  if len(means) < 2 or means[-1] != 3:
    raise ValueError(f"means have shape {means}; expected [..., N, 3]")
  batch, count = means[:-2], means[-2]
  if len(viewmat) < 2 or viewmat[-2:] != (4, 4):
    raise ValueError(f"viewmat has shape {viewmat}; expected [..., 4, 4]")
  cameras = viewmat[:-2]
  _expect("K", camera.K, (*cameras, 3, 3))
  _expect("quats", gaussians.quats, (*batch, count, 4))
  _expect("scales", gaussians.scales, (*batch, count, 3))
  _expect("opacities", gaussians.opacities, (*batch, count))
  if min(camera.width, camera.height) < 1:
    raise ValueError(
      f"the picture is {camera.width} x {camera.height}; expected 1 or more"
    )
  if cameras[: len(batch)] != batch and batch[: len(cameras)] != cameras:
    raise ValueError(
      f"Gaussians have batch {batch} and cameras {cameras}; expected one to "
      "begin with the other"
    )
  whole = max(batch, cameras, key=len)
  channels = _channels(gaussians, batch, whole, count)
  if gaussians.means2d_offset is not None:
    _expect("means2d_offset", gaussians.means2d_offset, (*whole, count, 2))
  if background is not None:
    _expect("background", background, (channels,), (*whole, channels))
  return Batch(whole, math.prod(batch), math.prod(whole[len(batch) :]))


def _channels(
  gaussians: Gaussians,
  batch: tuple[int, ...],
  whole: tuple[int, ...],
  count: int,
) -> int:
  """Checks the colours; returns the number of channels."""
  if (gaussians.colors is None) == (gaussians.sh is None):
    both = gaussians.sh is not None
    raise ValueError(
      f"Gaussians have {'both' if both else 'neither'} colors and sh; "
      "expected exactly one of them"
    )
  if gaussians.sh is not None:
    shape = jnp.shape(gaussians.sh)
    known = shape[-2] if len(shape) > 1 else 0
    if known not in (1, 4, 9, 16, 25):
      raise ValueError(
        f"sh have shape {shape}; expected [..., N, K, D] with K = 1, 4, 9, "
        "16 or 25"
      )
    _expect("sh", gaussians.sh, (*batch, count, known, shape[-1]))
    return shape[-1]
  shape = jnp.shape(gaussians.colors)
  channels = shape[-1] if shape else 0
  _expect(
    "colors",
    gaussians.colors,
    (*batch, count, channels),
    (*whole, count, channels),
  )
  return channels


def _expect(name: str, value: Array, *shapes: tuple[int, ...]) -> None:
  """Raises a ValueError unless the value has one of the shapes."""
  if jnp.shape(value) not in shapes:
    expected = " or ".join(str(list(s)) for s in dict.fromkeys(shapes))
    raise ValueError(
      f"{name} have shape {list(jnp.shape(value))}; expected {expected}"
    )
