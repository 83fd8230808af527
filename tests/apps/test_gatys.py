"""Gatys' optimisation with a small random network."""

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chibijax.apps import gatys
from chibijax.errors import UserError
from chibijax.losses import style as losses
from chibijax.ops import convolution

LAYERS = gatys.Layers(("two",), ("one", "two"))


class _Net(flax.struct.PyTreeNode):
  """Two convolutions."""

  kernels: list

  def layers(self, x, names):
    found = {}
    for name, kernel in zip(("one", "two"), self.kernels):
      x = jax.nn.relu(convolution.conv(x, kernel, padding=1))
      found[name] = x
    return {name: found[name] for name in names}


def _net() -> _Net:
  keys = jax.random.split(jax.random.key(0))
  return _Net(
    [
      jax.random.normal(keys[0], (3, 3, 3, 6)) / 5,
      jax.random.normal(keys[1], (3, 3, 6, 8)) / 5,
    ]
  )


def _picture(seed: int, side: int = 24) -> jax.Array:
  coarse = jax.random.uniform(jax.random.key(seed), (1, 6, 6, 3), minval=-1)
  return jax.image.resize(coarse, (1, side, side, 3), "linear")


def test_the_style_comes_nearer_and_the_loss_falls() -> None:
  net, content, sample = _net(), _picture(1), 0.5 * _picture(2, 32) + 0.4
  made, history = gatys.transfer(
    net, content, [gatys.Style(sample)], layers=LAYERS, steps=25
  )
  assert made.shape == content.shape and float(jnp.abs(made).max()) <= 1
  # A value every ten steps; L-BFGS with a line search never climbs.
  assert len(history) == 3 and history == sorted(history, reverse=True)
  target = losses.style_target(net.layers(sample, LAYERS.style), LAYERS.style)
  before, after = (
    float(losses.gram(net.layers(x, LAYERS.style), [target], relative=True))
    for x in (content, made)
  )
  assert after < 0.2 * before


def test_a_mask_leaves_the_rest_alone() -> None:
  net, content = _net(), _picture(1)
  mask = jnp.zeros((1, 24, 24, 1)).at[:, :, :12].set(1)
  made, _ = gatys.transfer(
    net,
    content,
    [gatys.Style(0.5 * _picture(2) + 0.4, mask=mask)],
    layers=LAYERS,
    weights=gatys.Weights(variation=0.0),
    steps=10,
  )
  change = np.abs(np.asarray(made - content)).mean((0, 1, 3))
  # Two convolutions reach two pixels across the border, and the content loss
  # is balanced somewhat farther.
  assert change[:10].min() > 0.05 and change[18:].max() < 2.5e-3


def test_weights_of_styles_count_by_their_ratio() -> None:
  net, content, sample = _net(), _picture(1), _picture(2)
  run = [
    gatys.transfer(
      net,
      content,
      [gatys.Style(sample, weight=w) for w in weights],
      layers=LAYERS,
      steps=4,
    )[0]
    for weights in ((1.0, 3.0), (10.0, 30.0))
  ]
  np.testing.assert_allclose(*run, atol=1e-4)


def test_mistakes_are_said() -> None:
  net, x = _net(), _picture(1)
  with pytest.raises(UserError, match="weights above 0"):
    gatys.transfer(net, x, [], layers=LAYERS)
  with pytest.raises(UserError, match="steps is 0"):
    gatys.transfer(net, x, [gatys.Style(x)], layers=LAYERS, steps=0)
