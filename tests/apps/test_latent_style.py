"""StyleGAN2's space of styles, on a made generator."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chibijax.apps import latent_style
from chibijax.errors import UserError

KEY = jax.random.key(0)
LAYERS, WIDTH, MEAN = 4, 3, 5.0


def _space() -> latent_style.StyleSpace:
  """Styles are latents thrice as large around 5, pictures are styles."""

  def styles(params, z, labels):
    del labels
    return params["gen_stats"]["mean_style"][None] + 3 * z

  def pictures(params, styles):
    del params
    return styles.reshape(len(styles), LAYERS, 1, WIDTH) / 10

  task = types.SimpleNamespace(
    generator=types.SimpleNamespace(layers=LAYERS, style=WIDTH),
    latent=WIDTH,
    size=LAYERS,
    conditional=False,
    styles=styles,
    pictures=pictures,
  )
  params = {"gen_stats": {"mean_style": jnp.full((WIDTH,), MEAN)}}
  return latent_style.open_space(task, params, "made")


def test_rows_are_relative_to_the_mean_and_of_unit_size() -> None:
  space = _space()
  rows = space.draw(0, 300)
  assert rows.shape == (300, LAYERS * WIDTH) and space.latent == 12
  assert float(rows.std()) == pytest.approx(1, abs=0.1)
  np.testing.assert_array_equal(rows[:, :WIDTH], rows[:, -WIDTH:])
  np.testing.assert_array_equal(space.draw(0, 2), rows[:2])
  # Truncated to nothing, every picture is the mean's.
  np.testing.assert_allclose(space.decode(0 * rows[:2], None), MEAN / 10)


def test_paths_are_straight() -> None:
  space = _space()
  stops = space.draw(1, 3)
  rows = space.path(stops, 5)
  assert rows.shape == (9, 12)
  np.testing.assert_allclose(rows[::4], stops, atol=1e-6)
  np.testing.assert_allclose(rows[2], stops[:2].mean(0), atol=1e-6)
  with pytest.raises(ValueError, match="2 frames"):
    space.path(stops, 1)


def test_children_take_layers_of_their_parents() -> None:
  space = _space()
  parents = space.draw(2, 2)
  born = space.breed(KEY, parents, 40, mutation=0.0, first_layer=2)
  layers = np.asarray(born).reshape(40, LAYERS, WIDTH)
  whole = np.asarray(parents).reshape(2, LAYERS, WIDTH)
  np.testing.assert_array_equal(layers[:, :2], whole[[0] * 40, :2])
  of_second = (layers[:, 2:] == whole[1, 2:]).all(-1)
  of_first = (layers[:, 2:] == whole[0, 2:]).all(-1)
  assert (of_first | of_second).all() and 0.2 < of_second.mean() < 0.8
  same = space.breed(KEY, parents, 3, mutation=0.0, blend=1.0)
  np.testing.assert_allclose(
    same, parents.mean(0)[None].repeat(3, 0), atol=1e-6
  )
  strangers = space.breed(KEY, parents, 3, mutation=1.0)
  again = space.breed(KEY, -parents, 3, mutation=1.0)
  np.testing.assert_allclose(strangers, again, atol=1e-6)
  with pytest.raises(UserError, match="expected 0 to 3"):
    space.breed(KEY, parents, 1, first_layer=4)
