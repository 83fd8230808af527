"""`chibijax style`: a photo in the style of pictures, optimised or by network.

"gatys" needs a feature network's weights only; "adain" and "johnson" need a
training's workdir, which has everything.
"""

import dataclasses
import math
import pathlib
import re
from collections.abc import Sequence
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from chibijax import artist
from chibijax.apps import fetch, gatys, pretrained
from chibijax.artist import paintings
from chibijax.data import images as image_files
from chibijax.errors import UserError
from chibijax.models import features
from chibijax.ops import image as image_ops
from chibijax.ops import statistics
from chibijax.tasks import style as style_task

Picture: TypeAlias = UInt8[np.ndarray, "h w 3"]
# Of any size: the sizes of photo and styles differ.
Signed: TypeAlias = Float[jax.Array, "1 _ _ 3"]

METHODS = ("gatys", "adain", "johnson")
# In the order of preference where the user names none.
NETWORKS = ("vgg19", "vgg16", "squeezenet")
# Longer sides of a result, in pixels.
MIN_SIZE, MAX_SIZE = 64, 8192
_DRAWN = re.compile(r"(artist|painting)(?::(\d+))?")


@dataclasses.dataclass(frozen=True)
class Request:
  """What is wanted.

  Attributes:
    styles: picture files, "artist:N": character N of the artist, or
      "painting:N": an abstract painting, number N.
    method: one of `METHODS`; None is that of the workdir, or "gatys".
    run: a training's workdir, of "adain" and "johnson", or what
      `chibijax export` wrote of it.
    weights: how much of each style; empty is equal shares.
    masks: grey pictures that are white where each style is wanted; empty is
      everywhere.
    keep_colors: give the styles the photo's colours first.
    strength: how far to go; of "adain" 0 to 1, of "gatys" a factor of the style
      loss.
    size: longer side of the result in pixels; None is the photo's, at most
      512 of "gatys".
    steps: iterations of "gatys".
    network: the feature network of "gatys"; None is the best there is.
    features: its file, or a folder of weights.
  """

  styles: tuple[str, ...]
  method: str | None = None
  run: pathlib.Path | None = None
  weights: tuple[float, ...] = ()
  masks: tuple[pathlib.Path, ...] = ()
  keep_colors: bool = False
  strength: float = 1.0
  size: int | None = None
  steps: int = 200
  network: str | None = None
  features: pathlib.Path | None = None


@dataclasses.dataclass(frozen=True)
class Result:
  """What was made.

  Attributes:
    image: the picture.
    source: with what, in words.
  """

  image: Picture
  source: str


def make(photo: pathlib.Path, request: Request) -> Result:
  """Gives a photo the style of pictures.

  Args:
    photo: a picture file.
    request: how.

  Returns:
    The picture, of the photo's proportions.

  Raises:
    UserError: if the request does not fit together, a file cannot be read, or
      weights are missing.
  """
  method = _method(request)
  _check(request, method)
  size = request.size
  if size is None and method == "gatys":
    size = 512
  content = _read(photo, size, shrink_only=request.size is None)
  styles = [_style_picture(name, content) for name in request.styles]
  if request.keep_colors:
    styles = [_in_colors(style, content) for style in styles]
  masks = [_mask(path, content.shape[1:3]) for path in request.masks]
  weights = request.weights or (1.0,) * len(styles)
  if method == "gatys":
    image, source = _by_gatys(content, styles, weights, masks, request)
  else:
    image, source = _by_network(content, styles, weights, masks, request)
  return Result(np.asarray(image_ops.to_uint8(image[0])), source)


def find_features(
  network: str | None, path: pathlib.Path | None
) -> features.Network:
  """Loads the feature network that is asked for, or the best there is.

  Args:
    network: one of `NETWORKS`; None takes the first whose weights are found.
    path: its file, or a folder of weights; None looks in the environment
      variables and among what was fetched.

  Returns:
    The network.

  Raises:
    UserError: if none is found; the sentence says what to do.
  """
  if network is not None and network not in NETWORKS:
    raise UserError(
      f"--network is {network!r}, expected one of {', '.join(NETWORKS)}."
    )
  names = NETWORKS if network is None else (network,)
  if path is not None and path.is_file() and network is None:
    # A file of weights says by its name what it is.
    named = [name for name in NETWORKS if name in path.name.lower()]
    names = (named[0] if named else "squeezenet",)
  for name in names:
    found = features.find(name, path)
    if found is None and path is None:
      found = fetch.find(name)
    if found is not None:
      return features.load(name, found)
  where = f" in {path}" if path else ""
  variables = ", ".join(features.VARIABLES[name] for name in names)
  raise UserError(
    f"No weights of {' or '.join(names)} were found{where}; name the file with "
    f"--features or in {variables}, or download one (chibijax fetch vgg16 "
    "--yes)."
  )


def _by_gatys(
  content: Signed,
  styles: Sequence[Signed],
  weights: Sequence[float],
  masks: Sequence[Float[jax.Array, "1 _ _ 1"]],
  request: Request,
) -> tuple[Signed, str]:
  net = find_features(request.network, request.features)
  named = masks or [None] * len(styles)
  image, _ = gatys.transfer(
    net,
    content,
    [gatys.Style(*one) for one in zip(styles, weights, named, strict=True)],
    layers=gatys.LAYERS[net.name],
    weights=gatys.Weights(style=gatys.Weights().style * request.strength),
    steps=request.steps,
    progress=True,
  )
  return image, f"{net.name} ({net.source} weights, {net.file}) by L-BFGS"


def _by_network(
  content: Signed,
  styles: Sequence[Signed],
  weights: Sequence[float],
  masks: Sequence[Float[jax.Array, "1 _ _ 1"]],
  request: Request,
) -> tuple[Signed, str]:
  model = pretrained.load(request.run)
  config, params = model.config, model.params
  task = style_task.build(config)
  source = f"{config.model.name} of {request.run}, step {model.step}"
  if config.model.name == "johnson":
    image = jax.jit(task.transfer)(params, content)
    return content + request.strength * (image - content), source
  # Styles of other proportions become squares: statistics do not mind.
  side = min(min(style.shape[1:3]) for style in styles)
  squares = jnp.concatenate(
    [jax.image.resize(s, (1, side, side, 3), "linear") for s in styles]
  )
  transfer = jax.jit(task.transfer)
  image = transfer(
    params,
    content,
    squares,
    weights=jnp.asarray(weights, jnp.float32),
    masks=jnp.concatenate(masks) if masks else None,
    alpha=jnp.float32(request.strength),
  )
  return image, source


def _method(request: Request) -> str:
  if request.run is None:
    method = request.method or "gatys"
    if method not in METHODS:
      raise UserError(
        f"--method is {method!r}, expected one of {', '.join(METHODS)}."
      )
    if method != "gatys":
      raise UserError(f"--method {method} needs the --workdir of a training.")
    return method
  config = pretrained.read_config(request.run)
  if config.get("task") != "style":
    raise UserError(
      f"{request.run} is a run of the task {config.get('task')!r}; style needs "
      "one of configs/adain.py or configs/johnson.py."
    )
  name = config.model.name
  if request.method not in (None, name):
    raise UserError(
      f"{request.run} is a training of {name}, not of {request.method}."
    )
  return name


def _check(request: Request, method: str) -> None:
  count = len(request.styles)
  if method != "johnson" and not count:
    raise UserError(f"{method} needs at least one STYLE picture.")
  if method == "johnson" and (count or request.masks):
    raise UserError(
      "a training of johnson has its one style; it takes no STYLE and no mask."
    )
  for what, given in (("--weight", request.weights), ("--mask", request.masks)):
    if given and len(given) != count:
      raise UserError(
        f"{len(given)} {what} were given for {count} styles; give one for each "
        "or none."
      )
  if not all(0 < weight < math.inf for weight in request.weights):
    got = ", ".join(f"{weight:g}" for weight in request.weights)
    raise UserError(f"each --weight must be a number above 0, got {got}.")
  most = 1.0 if method != "gatys" else 1e3
  if not 0 <= request.strength <= most:
    raise UserError(
      f"--strength is {request.strength}, expected 0 to {most:g} for {method}."
    )
  if request.size is not None and not MIN_SIZE <= request.size <= MAX_SIZE:
    raise UserError(
      f"--size is {request.size}, expected {MIN_SIZE} to {MAX_SIZE}."
    )


def _read(path: pathlib.Path, size: int | None, *, shrink_only: bool) -> Signed:
  """A picture whose longer side is `size`."""
  picture = image_files.Reader(min_side=16).read(path)
  height, width = picture.shape[:2]
  scale = 1.0 if size is None else size / max(height, width)
  if shrink_only:
    scale = min(scale, 1.0)
  if scale != 1.0:
    new = (max(round(width * scale), 1), max(round(height * scale), 1))
    resized = Image.fromarray(picture).resize(
      new, Image.Resampling.BICUBIC, reducing_gap=3.0
    )
    picture = np.asarray(resized)
  return image_ops.to_float(jnp.asarray(picture))[None]


def _style_picture(name: str, content: Signed) -> Signed:
  """A style, about as large as the photo."""
  size = max(content.shape[1:3])
  drawn = _DRAWN.fullmatch(name)
  if drawn is None:
    return _read(pathlib.Path(name), size, shrink_only=False)
  number = int(drawn[2] or 0)
  if drawn[1] == "painting":
    rgb = paintings.draw_numbered(number, size)
  else:
    rng = np.random.default_rng([0, number])
    drawing = artist.draw_chibi(artist.sample_attributes(rng), size)
    rgb = image_files.to_rgb(Image.fromarray(drawing.image))
  return image_ops.to_float(jnp.asarray(np.asarray(rgb)))[None]


def _in_colors(style: Signed, content: Signed) -> Signed:
  return jnp.clip(statistics.match_colors(style, content), -1, 1)


def _mask(
  path: pathlib.Path, shape: tuple[int, int]
) -> Float[jax.Array, "1 _ _ 1"]:
  picture = image_files.Reader().read(path)
  grey = Image.fromarray(picture).convert("L")
  grey = grey.resize((shape[1], shape[0]), Image.Resampling.BOX)
  return jnp.asarray(np.asarray(grey), jnp.float32)[None, :, :, None] / 255
