"""An avatar of untrained networks, and the commands' sentences."""

import dataclasses
import functools
import pathlib

import jax
import numpy as np
from typer.testing import CliRunner, Result

from chibijax.apps import (
  avatar3d,
  avatar3d_file,
  avatar3d_motions,
  avatar3d_photo,
  cli,
)
from chibijax.heads import motion as motions
from chibijax.heads.procedural import procedural_head
from chibijax.tasks import avatar
from configs import gagavatar

SIDE = 16


@functools.cache
def networks() -> avatar3d.Networks:
  """Untrained networks of the smallest size."""
  config = avatar3d.own_config(gagavatar.get_config("smoke"))
  model = avatar.build(config).model
  # Drawn without JAX, which would compile for seconds.
  shapes = jax.eval_shape(model.init, jax.random.key(0))
  rng = np.random.default_rng(0)

  def draw(shape: jax.ShapeDtypeStruct) -> np.ndarray:
    scale = 0.8 / np.sqrt(max(np.prod(shape.shape[:-1]), 1))
    return rng.normal(0, scale, shape.shape).astype(np.float32)

  params = jax.tree.map(draw, shapes)
  return avatar3d.Networks(model, params, config, False, 0, "untrained")


def face(**changes: np.ndarray) -> avatar3d_file.Face:
  head = procedural_head()
  rng = np.random.default_rng(0)
  view, _ = avatar3d_photo.home_view(head)
  values = {
    "shape": rng.normal(0, 0.3, len(head.shape_names)).astype(np.float32),
    "expression": np.zeros(len(head.expression_names), np.float32),
    "pose": np.zeros(6, np.float32),
    "eyes": np.zeros(6, np.float32),
    "viewmat": view,
  }
  values["shape"][-1] = 0
  return avatar3d_file.Face(**(values | changes))


@functools.cache
def made() -> avatar3d_file.Avatar:
  rng = np.random.default_rng(1)
  picture = rng.integers(30, 255, (SIDE, SIDE, 3)).astype(np.uint8)
  picture[:4, :4] = 0
  about = {"style": "model", "model": "a test", "consent": True}
  return avatar3d.build(networks(), picture, face(), about)


@functools.cache
def player() -> avatar3d.Player:
  return avatar3d.Player(made(), networks().model)


@functools.cache
def film(count: int = 3) -> motions.Motion:
  """The first frames of the demonstration."""
  whole = avatar3d_motions.demo(made(), procedural_head())
  rows = {
    name: getattr(whole, name)[40 : 40 + 20 * count : 20]
    for name in ("expression", "pose", "eyes", "viewmats", "valid")
  }
  return dataclasses.replace(whole, **rows)


def written(folder: pathlib.Path) -> pathlib.Path:
  """The avatar's file in a folder."""
  path = folder / "me.avatar"
  avatar3d_file.write(path, made())
  return path


def call(*arguments: object) -> Result:
  return CliRunner().invoke(cli.app, [str(a) for a in arguments])


def said(result: Result) -> str:
  """A command's one sentence."""
  text = result.stderr.strip()
  assert text.startswith("chibijax: ") and "\n" not in text, result.output
  return text
