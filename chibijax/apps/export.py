"""Networks for other programs: ONNX, safetensors, or files of splats.

What a training can become depends on its task; `export` looks at the task and
at the name that is wanted. ONNX models take and return NHWC pictures in
[-1, 1], as the networks here do; a generator takes latents, and labels where it
was trained with such. The number of pictures is free, their size is not.
"""

import dataclasses
import importlib
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float

from chibijax import __version__
from chibijax.apps import (
  latent_labels,
  onnx_graph,
  pictures,
  pretrained,
  splat_files,
)
from chibijax.apps.pretrained import Pretrained
from chibijax.errors import UserError

DIRECTIONS = ("a2b", "b2a")
# Sides of an ONNX model's pictures, in pixels.
MIN_SIZE, MAX_SIZE = 16, 4096
# Largest error of an exported network, in pictures of [-1, 1].
TOLERANCE = 1e-4


@dataclasses.dataclass(frozen=True)
class FeedForward:
  """A network as one function.

  Attributes:
    apply: takes one array for each of `inputs` and returns the result.
    inputs: shapes by name, without the batch.
  """

  apply: Callable[..., Float[Array, "b ..."]]
  inputs: Mapping[str, tuple[int, ...]]


def feed_forward(
  model: Pretrained, *, direction: str = "a2b", size: int | None = None
) -> FeedForward:
  """The function that a training was for.

  Args:
    model: networks of a task that turns pictures, or latents, into pictures.
    direction: of a translation, "a2b" or "b2a".
    size: side of the pictures that go in; None is the training's.

  Returns:
    The function, in float32.

  Raises:
    UserError: if the task has no such function, or a value is out of range.
  """
  if direction not in DIRECTIONS:
    raise UserError(f"--direction is {direction!r}, expected 'a2b' or 'b2a'.")
  config, params = model.config.copy_and_resolve_references(), model.params
  config.precision = "float32"
  name = config.get("task")
  if name not in ("translation", "style", *_MAKERS):
    raise UserError(
      f"{model.source} is a run of the task {name!r}; only networks that turn "
      "pictures or latents into pictures are exported."
    )
  task = importlib.import_module(f"chibijax.tasks.{name}").build(config)
  if name in _MAKERS and size is not None and name != "super_resolution":
    raise UserError(f"--size cannot be chosen for the task {name!r}.")
  side = _input_size(config) if size is None else size
  if not MIN_SIZE <= side <= MAX_SIZE:
    raise UserError(f"--size is {side}, expected {MIN_SIZE} to {MAX_SIZE}.")
  picture = {"pictures": (side, side, 3)}
  if name == "translation":
    return FeedForward(lambda x: task.translate(params, x, direction), picture)
  if name == "style":
    return _style(task, config, params, picture)
  return _MAKERS[name](task, config, params, picture)


def _input_size(config: Any) -> int:
  scale = config.model.get("scale", 1)
  return config.data.size // scale


def _style(
  task: Any, config: Any, params: Any, picture: dict[str, tuple[int, ...]]
) -> FeedForward:
  if config.model.name == "adain":
    # Each picture has the style of the first one's.
    return FeedForward(
      lambda x, style: task.transfer(params, x, style[:1]),
      {**picture, "style": picture["pictures"]},
    )
  return FeedForward(lambda x: task.transfer(params, x), picture)


def _gan(
  task: Any, config: Any, params: Any, picture: dict[str, tuple[int, ...]]
) -> FeedForward:
  del config, picture
  inputs = {"latents": (task.latent,)}
  if not task.conditional:
    return FeedForward(lambda z: task.generate(params, z), inputs)
  return FeedForward(
    lambda z, labels: task.generate(params, z, labels),
    {**inputs, "labels": (latent_labels.count(params["gen"]),)},
  )


def _autoencoder(
  task: Any, config: Any, params: Any, picture: dict[str, tuple[int, ...]]
) -> FeedForward:
  def reconstruct(x: Float[Array, "b h w 3"]) -> Float[Array, "b h w 3"]:
    return task.generate(params, task.encode(params, x))

  return FeedForward(reconstruct, picture)


def _super_resolution(
  task: Any, config: Any, params: Any, picture: dict[str, tuple[int, ...]]
) -> FeedForward:
  return FeedForward(lambda x: task.upscale(params, x), picture)


_MAKERS = {
  "gan": _gan,
  "gan_adapt": _gan,
  "autoencoder": _autoencoder,
  "super_resolution": _super_resolution,
}


def to_onnx(
  model: Pretrained, *, direction: str = "a2b", size: int | None = None
) -> tuple[bytes, FeedForward]:
  """Writes a network as ONNX.

  Args:
    model: see `feed_forward`.
    direction: see `feed_forward`.
    size: see `feed_forward`.

  Returns:
    The model's bytes and the function that it must equal.

  Raises:
    UserError: as `feed_forward` and `onnx_graph.convert`.
  """
  function = feed_forward(model, direction=direction, size=size)
  metadata = {
    "program": f"chibijax {__version__}",
    "task": str(model.config.task),
    "step": str(model.step),
    "direction": direction if model.config.task == "translation" else "",
    "pictures": "NHWC, sRGB, [-1, 1]",
  }
  data = onnx_graph.convert(
    function.apply, function.inputs, output="result", metadata=metadata
  )
  return data, function


def largest_error(data: bytes, function: FeedForward) -> float | None:
  """Runs an ONNX model beside the function it was made from.

  Args:
    data: the model.
    function: what it must equal.

  Returns:
    The largest difference on two made inputs, or None where there is no
    `onnxruntime`.
  """
  try:
    import onnxruntime
  except ImportError:
    return None
  draws = np.random.default_rng(0)
  inputs = {
    name: (
      draws.uniform(-1, 1, (2, *shape))
      if len(shape) == 3
      else draws.normal(size=(2, *shape))
    ).astype(np.float32)
    for name, shape in function.inputs.items()
  }
  session = onnxruntime.InferenceSession(
    data, providers=["CPUExecutionProvider"]
  )
  (found,) = session.run(None, inputs)
  expected = jax.jit(function.apply)(*inputs.values())
  return float(np.abs(found - np.asarray(expected)).max())


def export(
  out: pathlib.Path,
  source: pathlib.Path,
  *,
  direction: str = "a2b",
  size: int | None = None,
) -> str:
  """Writes a training's networks in the form that a name asks for.

  Args:
    out: NAME.ply or NAME.spz for splats; NAME.onnx, NAME.safetensors or a
      folder (no suffix) for networks.
    source: a workdir, or what this wrote as safetensors or a folder.
    direction: of a translation in ONNX, "a2b" or "b2a".
    size: side of the pictures of an ONNX model.

  Returns:
    What was written, in a sentence.

  Raises:
    UserError: if name and task do not suit, or something is missing.
  """
  from chibijax.apps import splat_scene

  kind = _kind(out, source)
  if kind == "splats":
    splat_files.check_name(out)
    gaussians, step = splat_scene.load(source)
    splat_files.write(out, gaussians)
    return f"{len(gaussians.means):,} Gaussians of {source}, step {step}"
  model = pretrained.load(source)
  what = f"{model.config.task} of {source}, step {model.step}"
  names = ", ".join(pretrained.networks(model))
  if kind == "file":
    pretrained.save_file(out, model)
    return f"networks ({names}): {what}"
  if kind == "folder":
    pretrained.save_pretrained(out, model)
    return f"networks ({names}) and a model card: {what}"
  data, function = to_onnx(model, direction=direction, size=size)
  error = largest_error(data, function)
  if error is not None and not error <= TOLERANCE:
    raise UserError(
      f"The ONNX model differs by {error:.1e} from the network, more than "
      f"{TOLERANCE:.0e}; it was not written."
    )
  pictures.write(out, data)
  checked = "not checked (no onnxruntime)"
  if error is not None:
    checked = f"largest error {error:.1e} in onnxruntime"
  shapes = ", ".join(f"{n} {list(s)}" for n, s in function.inputs.items())
  return f"{what}; {shapes}, {checked}"


def _kind(out: pathlib.Path, source: pathlib.Path) -> str:
  """What to write: by the task, if the name suits it."""
  suffix = out.suffix.lower()
  task = pretrained.read_config(source).get("task")
  if task == "splat":
    if suffix not in splat_files.SUFFIXES:
      raise UserError(
        f"{out}: a run of the task 'splat' is exported as splats; expected "
        ".ply or .spz."
      )
    return "splats"
  kinds = {".onnx": "onnx", ".safetensors": "file", "": "folder"}
  if suffix not in kinds:
    raise UserError(
      f"{out}: a run of the task {task!r} is exported as .onnx, .safetensors "
      "or a folder."
    )
  return kinds[suffix]
