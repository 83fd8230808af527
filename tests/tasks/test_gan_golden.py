"""One whole step of R3GAN and of WGAN-GP against PyTorch."""

import pathlib

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chibijax.core.types import spec_of
from chibijax.tasks import gan
from chibijax.tasks.gan_step import Gan
from configs import r3gan, wgan_gp

FOLDER = pathlib.Path(__file__).parents[1] / "golden"
RATE = 0.01
SETTINGS = {
  "optim.name": "sgd",
  "optim.lr": RATE,
  "optim.b1": 0.0,
  "anneal_images": 0,
  "model.latent": 5,
  "model.critic_steps": 1,
  "model.conditional": False,
  "augment.name": "none",
}
R3GAN = {
  "model.widths": (6, 4),
  "data.size": 8,
  "model.group": 4,
  "loss.r1": 0.7,
  "loss.r2": 0.7,
}
WGAN = {"model.width": 3, "data.size": 16}
LOSSES = {
  "r3gan": ("generator", "discriminator", "r1", "r2"),
  "wgan_gp": ("generator", "discriminator", "gradient_penalty"),
}


def _flat(tree: dict) -> dict[str, np.ndarray]:
  return flax.traverse_util.flatten_dict(
    jax.tree.map(np.asarray, tree), sep="/"
  )


def _nested(golden: dict, prefix: str) -> dict:
  return flax.traverse_util.unflatten_dict(
    {
      name.removeprefix(prefix): jnp.asarray(value)
      for name, value in golden.items()
      if name.startswith(prefix)
    },
    sep="/",
  )


@pytest.mark.parametrize("name", ["r3gan", "wgan_gp"])
def test_step_against_torch(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
  with np.load(FOLDER / f"gan_{name}.npz") as file:
    golden = dict(file)
  module, changes = (r3gan, R3GAN) if name == "r3gan" else (wgan_gp, WGAN)
  config = module.get_config("smoke")
  config.unlock()
  config.update_from_flattened_dict(SETTINGS | changes)
  task = gan.build(config)
  batch = {"image": jnp.asarray(golden["image"])}
  state = jax.jit(lambda k: task.init(k, spec_of(batch)))(jax.random.key(0))
  before = _nested(golden, "before/")
  assert jax.tree.map(jnp.shape, before) == jax.tree.map(
    jnp.shape, {k: state.params[k] for k in ("gen", "disc")}
  )
  state = state.replace(params={**state.params, **before})
  # What a step draws, in its order, is what PyTorch was given.
  names = (
    ["z_disc", "z_gen"] if name == "r3gan" else ["z_disc", "share", "z_gen"]
  )
  draws = iter([jnp.asarray(golden[n]) for n in names])
  monkeypatch.setattr(Gan, "_draw", lambda *_: next(draws))
  state, metrics = jax.jit(task.train_step)(state, batch, jax.random.key(1))
  ours = [metrics[f"loss/{part}"] for part in LOSSES[name]]
  np.testing.assert_allclose(ours, golden["losses"], rtol=1e-4)
  # Plain gradient descent: the change is the gradient.
  after = _flat({k: state.params[k] for k in ("gen", "disc")})
  for key, value in after.items():
    start, end = golden[f"before/{key}"], golden[f"after/{key}"]
    theirs = (start - end) / RATE
    assert np.abs(theirs).max() > 1e-5, key
    np.testing.assert_allclose(
      (start - value) / RATE,
      theirs,
      # The weights' own rounding, divided by the rate.
      atol=2e-3 * np.abs(theirs).max() + 2e-5,
      err_msg=key,
    )
