"""The avatar's golden, and networks of its sizes."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chibijax.models import avatar, vit

PATH = pathlib.Path(__file__).parents[1] / "golden" / "avatar.npz"
VERTICES = 7
TINY = dict(
  size=16,
  encoder="tiny",
  encoder_size=42,
  widths=(4, 6, 8, 10),
  features=8,
  lifting=6,
  base=8,
  heads=5,
  capacity=64,
  most=8,
  style=12,
  mapping=2,
)


def config(monkeypatch: pytest.MonkeyPatch, **changes) -> avatar.AvatarConfig:
  """The golden's sizes; its DINOv2 is smaller than any published one."""
  monkeypatch.setitem(vit.SIZES, "tiny", (12, 4, 2))
  monkeypatch.setattr(vit, "GRID", 2)
  return avatar.AvatarConfig(**(TINY | changes))


def read() -> dict[str, jax.Array]:
  """Inputs and outputs by name, float32."""
  with np.load(PATH) as file:
    return {
      k: jnp.asarray(file[k], jnp.float32)
      for k in file
      if k.startswith(("in/", "out"))
    }


def state(name: str) -> dict[str, np.ndarray]:
  """A state dict of the golden, by its published names."""
  found, at = {}, 0
  with np.load(PATH) as file:
    numbers = file[name].astype(np.float32)
    for key, shape in json.loads(file[f"{name}_names"].tobytes()).items():
      count = int(np.prod(shape))
      found[key] = numbers[at : at + count].reshape(shape)
      at += count
  assert at == numbers.size
  return found


def close(ours: jax.Array, theirs: jax.Array, relative: float = 1e-4) -> None:
  """Equal up to sums in another order, relative to the spread of values."""
  assert ours.shape == theirs.shape
  atol = relative * theirs.std()
  assert atol > 0
  np.testing.assert_allclose(ours, theirs, rtol=0, atol=atol)


def draw(net, *inputs: jax.Array) -> dict:
  """Random parameters without compiling a network's initialisers."""
  shapes = jax.eval_shape(net.init, jax.random.key(0), *inputs)["params"]
  draws = np.random.default_rng(0)
  return jax.tree.map(
    lambda s: jnp.asarray(draws.normal(0, 0.3, s.shape), jnp.float32), shapes
  )
