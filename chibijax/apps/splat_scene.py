"""Looks at splats: scenes of training workdirs, orbiting cameras, pictures."""

import importlib
import io
import pathlib
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from chibijax.apps import pictures as picture_files
from chibijax.core import checkpoint, workdir
from chibijax.errors import UserError
from chibijax.ops import camera as cameras
from chibijax.ops import image as image_ops
from chibijax.ops import splat

# The direction in a scene that a picture shows as up.
UPS = {
  "-y": (0.0, -1.0, 0.0),
  "y": (0.0, 1.0, 0.0),
  "z": (0.0, 0.0, 1.0),
  "-z": (0.0, 0.0, -1.0),
}
_FRAME_MS = 80


def load(run: str | pathlib.Path) -> tuple[splat.Gaussians, int]:
  """Loads the newest scene of a `splat` training.

  Args:
    run: the training's workdir.

  Returns:
    The scene and its step.

  Raises:
    UserError: if the run has no checkpoint, or is of another task.
  """
  config = workdir.read_config(run)
  if config.get("task") != "splat":
    raise UserError(
      f"{run} is a run of the task {config.get('task')!r}; export needs one of"
      " the task 'splat'."
    )
  params, _, step = checkpoint.load_params(run)
  task = importlib.import_module(f"chibijax.tasks.{config.task}").build(config)
  return task.gaussians(params["splats"], step), step


def framing(gaussians: splat.Gaussians) -> tuple[np.ndarray, float]:
  """Where the scene is: the middle and radius of nearly all of its opacity.

  Args:
    gaussians: one scene.

  Returns:
    The middle [3] and a radius above 0, in world units.
  """
  means = np.asarray(gaussians.means, np.float64)
  weights = np.asarray(gaussians.opacities, np.float64)
  good = np.isfinite(means).all(-1) & (weights > 0.05)
  if not good.any():
    good = np.isfinite(means).all(-1)
  if not good.any():
    raise UserError("The scene has no Gaussian with a position.")
  # A few floaters far out must not decide.
  low, high = np.quantile(means[good], (0.01, 0.99), axis=0)
  middle = (low + high) / 2
  away = np.linalg.norm(means[good] - middle, axis=-1)
  return middle, max(float(np.quantile(away, 0.98)), 1e-6)


def orbit(
  middle: Float[np.ndarray, "3"],
  distance: float,
  azimuth: float,
  elevation: float,
  up: str = "-y",
) -> Float[jax.Array, "4 4"]:
  """A camera that looks at a point.

  Args:
    middle: the point.
    distance: from it, > 0.
    azimuth: degrees around `up`; 0 looks along z (along y where z is up).
    elevation: degrees above the horizon, in (-90, 90).
    up: a key of `UPS`.

  Returns:
    World to camera, OpenCV axes.
  """
  above = np.array(UPS[up])
  forward = np.array((0.0, 1.0, 0.0) if "z" in up else (0.0, 0.0, 1.0))
  right = np.cross(forward, above)
  a, e = np.radians(azimuth), np.radians(elevation)
  flat = np.cos(a) * -forward + np.sin(a) * right
  eye = middle + distance * (np.cos(e) * flat + np.sin(e) * above)
  return cameras.look_at(
    *(jnp.asarray(x, jnp.float32) for x in (eye, middle, above))
  )


def render(
  gaussians: splat.Gaussians,
  *,
  azimuths: list[float],
  elevation: float = 10.0,
  zoom: float = 1.0,
  fov: float = 30.0,
  size: int = 512,
  background: tuple[int, int, int] = (255, 255, 255),
  up: str = "-y",
) -> list[UInt8[np.ndarray, "size size 3"]]:
  """Renders a scene from around it.

  Args:
    gaussians: one scene.
    azimuths: degrees, one for each picture; 0 is the front.
    elevation: degrees above the horizon, in (-90, 90).
    zoom: above 1 is closer than what shows all of the scene.
    fov: field of view in degrees, in (0, 170).
    size: side of the pictures in pixels.
    background: sRGB.
    up: a key of `UPS`.

  Returns:
    Square pictures, uint8 sRGB.

  Raises:
    UserError: if a value is out of range.
  """
  if up not in UPS:
    raise UserError(f"--up is {up!r}, expected one of {', '.join(UPS)}.")
  if not (0 < fov < 170 and -90 < elevation < 90 and zoom > 0 and size > 0):
    raise UserError(
      "--fov must be in (0, 170), --elevation in (-90, 90), --zoom and --size"
      f" above 0, got {fov}, {elevation}, {zoom} and {size}."
    )
  middle, radius = framing(gaussians)
  distance = 1.15 * radius / np.sin(np.radians(fov / 2)) / zoom
  options = splat.Options(near=min(0.01, distance / 100))
  K = cameras.intrinsics(size, size, float(np.radians(fov)))
  behind = jnp.asarray(background, jnp.float32) / 255

  @jax.jit
  def picture(scene: splat.Gaussians, viewmat: jax.Array) -> jax.Array:
    camera = splat.Camera(viewmat, K, size, size)
    image = splat.rasterize(scene, camera, options, behind).image
    return image_ops.to_uint8(image_ops.to_signed(image))

  scene = jax.tree.map(jnp.asarray, gaussians)
  return [
    np.asarray(picture(scene, orbit(middle, distance, azimuth, elevation, up)))
    for azimuth in azimuths
  ]


def parse_color(text: str) -> tuple[int, int, int]:
  """Parses `#rrggbb`.

  Raises:
    UserError: if it is not of that form.
  """
  digits = text.removeprefix("#")
  if not re.fullmatch("[0-9a-fA-F]{6}", digits):
    raise UserError(f"--background is {text!r}, expected a colour as #rrggbb.")
  red, green, blue = bytes.fromhex(digits)
  return red, green, blue


def check_name(path: pathlib.Path) -> str:
  """Returns a picture's suffix, in lower case.

  Raises:
    UserError: if it is neither `.png` nor `.gif`.
  """
  suffix = path.suffix.lower()
  if suffix not in (".png", ".gif"):
    raise UserError(f"{path} is not a .png or .gif name.")
  return suffix


def save(path: pathlib.Path, pictures: list[np.ndarray]) -> None:
  """Writes a PNG (several pictures side by side, in rows) or a looping GIF.

  Args:
    path: a `.png` or `.gif` name; the folders above it are made.
    pictures: of one size.

  Raises:
    UserError: for another name, or if it cannot be written.
  """
  if check_name(path) == ".png":
    picture_files.save(path, _sheet(pictures))
  else:
    picture_files.write(path, _gif(pictures))


def _sheet(pictures: list[np.ndarray]) -> np.ndarray:
  """Lays pictures out in rows of at most four."""
  across = min(len(pictures), 4)
  blank = np.full_like(pictures[0], 255)
  filled = pictures + [blank] * (-len(pictures) % across)
  rows = [
    np.concatenate(filled[k : k + across], 1)
    for k in range(0, len(filled), across)
  ]
  return np.concatenate(rows, 0)


def _gif(pictures: list[np.ndarray]) -> bytes:
  frames = [Image.fromarray(x).quantize(255) for x in pictures]
  buffer = io.BytesIO()
  options: dict[str, Any] = {"duration": _FRAME_MS, "loop": 0}
  frames[0].save(
    buffer, "GIF", save_all=True, append_images=frames[1:], **options
  )
  return buffer.getvalue()
