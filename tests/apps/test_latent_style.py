"""StyleGAN2's spaces, on a made generator and on an untrained one."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from typer.testing import CliRunner

from chibijax.apps import directions, directions_file, latent, latent_style
from chibijax.apps.cli import app
from chibijax.core import checkpoint, workdir
from chibijax.errors import UserError
from chibijax.tasks import gan
from configs import stylegan2

KEY = jax.random.key(0)
LAYERS, WIDTH, MEAN = 4, 3, 5.0


def _space(name: str = "w") -> latent.Space:
  """Styles are latents thrice as large around 5, pictures are styles."""

  def styles(params, z, labels):
    del labels
    return params["gen_stats"]["mean_style"][None] + 3 * z

  def pictures(params, styles):
    del params
    return styles.reshape(len(styles), LAYERS, 1, WIDTH) / 10

  def generate(params, z, labels, psi):
    mean = params["gen_stats"]["mean_style"][None]
    w = mean + psi * (styles(params, z, labels) - mean)
    return pictures(params, jnp.tile(w, (1, LAYERS)))

  task = types.SimpleNamespace(
    generator=types.SimpleNamespace(layers=LAYERS, style=WIDTH),
    latent=WIDTH,
    size=LAYERS,
    conditional=False,
    styles=styles,
    pictures=pictures,
    generate=generate,
  )
  params = {"gen_stats": {"mean_style": jnp.full((WIDTH,), MEAN)}}
  return latent_style.open_space(task, params, "made", name)


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
  # Style mixing: the first layers stay, the others arrive.
  mixed = np.asarray(space.path(stops, 5, first_layer=1))[[4, 8]]
  np.testing.assert_array_equal(mixed[:, :WIDTH], stops[[0, 0], :WIDTH])
  np.testing.assert_allclose(mixed[:, WIDTH:], stops[1:, WIDTH:], atol=1e-6)
  with pytest.raises(UserError, match="expected 0 to 3"):
    space.path(stops, 5, first_layer=4)


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


def test_both_spaces_truncate_the_style() -> None:
  styles, draws = (_space(name) for name in ("w", "z"))
  assert (styles.name, styles.latent) == ("w", 12)
  assert (draws.name, draws.latent) == ("z", 3)
  for psi in (1.0, 0.4):
    w, z = (space.truncated(psi) for space in (styles, draws))
    found = z.decode(z.draw(3, 4), None)
    np.testing.assert_allclose(w.decode(w.draw(3, 4), None), found, atol=1e-5)
  # A draw is crossed number by number, and stays a normal draw.
  born = draws.breed(KEY, draws.draw(0, 2), 9, mutation=0.0)
  near = np.abs(born[:, None] - draws.draw(0, 2)[None]).min(1)
  np.testing.assert_allclose(near, 0, atol=1e-6)
  with pytest.raises(UserError, match="in --space w"):
    draws.breed(KEY, draws.draw(0, 2), 1, first_layer=2)


def test_directions_of_mixed_draws_are_the_mixed_directions() -> None:
  rng = np.random.default_rng(0)
  z = rng.normal(size=(20_000, 4))
  mix = rng.normal(size=(4, 6)) * [[3.0], [1.0], [1.0], [0.1]]
  way = np.array([0.6, 0.0, 0.8, 0.0])
  labels = 2 * z[:, :3] @ way[:3, None]
  ours = directions.fit(z, labels, ("a",))
  np.testing.assert_allclose(ours.rows[0], way, atol=2e-3)
  w = z @ mix + rng.normal(size=(20_000, 6)) * 1e-3
  found = directions.fit(w, labels, ("a",), space="w")
  # One standard deviation long: the label rises by as much.
  np.testing.assert_allclose(found.rows[0], way @ mix, atol=0.05)
  assert found.rise[0] == pytest.approx(ours.rise[0], rel=0.02)
  assert found.rise[0] == pytest.approx(2, rel=0.02) and found.space == "w"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory):
  """The workdir of a StyleGAN2 at step 0."""
  folder = tmp_path_factory.mktemp("run")
  config = stylegan2.get_config("smoke")
  config.model.conditional = False
  config.data.size = 8
  task = gan.build(config)
  spec = {"image": jax.ShapeDtypeStruct((4, 8, 8, 3), np.uint8)}
  state = jax.eval_shape(lambda k: task.init(k, spec), KEY)
  rng = np.random.default_rng(0)

  def draw(path, x):
    # The mapping's weights are kept a hundred times as large as they act.
    name = jax.tree_util.keystr(path)
    size = 0.0 if "mean_style" in name else 50.0 if "mapping" in name else 0.5
    return jnp.asarray(size * rng.normal(size=x.shape), x.dtype)

  state = jax.tree_util.tree_map_with_path(draw, state)
  workdir.open_workdir(folder, config)
  with checkpoint.Checkpointer(folder) as checkpoints:
    checkpoints.save(0, state, {})
    checkpoints.wait()
  return folder


def _call(*words):
  return CliRunner().invoke(app, [str(word) for word in words])


def test_commands_steer_styles_unless_told_otherwise(run, tmp_path) -> None:
  space = latent.load(run)
  assert isinstance(space, latent_style.StyleSpace)
  w = np.concatenate([space.draw(seed)[:, :6] for seed in range(60)])
  rows = [f"{seed},{one[4]:.6f}" for seed, one in enumerate(w)]
  table, ways = tmp_path / "t.csv", tmp_path / "ways.safetensors"
  table.write_text("\n".join(["seed,fifth", *rows]))
  where = ("--workdir", run)
  told = _call("directions", ways, *where, "--labels", table)
  assert told.exit_code == 0, told.output
  found = directions_file.load(ways, space)
  assert found.space == "w" and found.explained[0] > 0.9
  covariance = np.cov(w, rowvar=False)
  along = covariance[4:5] / np.sqrt(covariance[4, 4])
  np.testing.assert_allclose(found.rows, along, atol=0.05)
  push = ("--directions", ways, "--direction", "fifth=2")
  saved = tmp_path / "w.npy"
  told = _call(
    "generate", tmp_path / "a.png", *where, "--count", 9, *push,
    "--truncation", 0.5, "--save", saved,
  )  # fmt: skip
  assert told.exit_code == 0, told.output
  # Truncated first, then pushed, each layer alike.
  wanted = 0.5 * space.draw(0, 9) + np.tile(2 * found.rows, space.layers)
  np.testing.assert_allclose(np.load(saved), wanted, atol=1e-5)
  told = _call("generate", tmp_path / "b.png", *where, *push, "--space", "z")
  assert told.exit_code == 2 and "give --space w" in told.output
  told = _call("breed", tmp_path / "b.png", saved, *where, "--space", "z")
  assert told.exit_code == 2 and "of another --space" in told.output
  told = _call("interpolate", tmp_path / "b.png", 1, 2, *where, "--space", "x")
  assert told.exit_code == 2 and "expected z or w" in told.output
  assert latent.load(run, "z").draw(0).shape == (1, 5)
