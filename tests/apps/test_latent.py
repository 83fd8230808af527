"""Latent tools on made generators, and the commands on small trainings."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from chibijax import train
from chibijax.apps import latent, latent_codes, latent_walk
from chibijax.apps.cli import app
from chibijax.core import checkpoint, workdir
from chibijax.data import characters
from chibijax.tasks import gan
from configs import autoencoder, wgan_gp

KEY = jax.random.key(0)


def _draws(n: int, size: int = 8, seed: int = 0):
  rng = np.random.default_rng(seed)
  return jnp.asarray(rng.standard_normal((n, size)), jnp.float32)


def test_slerp_keeps_ends_and_lengths() -> None:
  a, b = _draws(2), _draws(2, seed=1)
  np.testing.assert_allclose(latent_walk.slerp(a, b, 0.0), a, atol=1e-5)
  np.testing.assert_allclose(latent_walk.slerp(a, b, 1.0), b, atol=1e-5)
  b = b * (jnp.linalg.norm(a, axis=1) / jnp.linalg.norm(b, axis=1))[:, None]
  half = latent_walk.slerp(a, b, 0.5)
  np.testing.assert_allclose(
    jnp.linalg.norm(half, axis=1), jnp.linalg.norm(a, axis=1), rtol=1e-5
  )
  # As far from both, and finite where there is no angle.
  np.testing.assert_allclose(
    (half * a).sum(1), (half * b).sum(1), rtol=1e-3, atol=1e-4
  )
  np.testing.assert_allclose(latent_walk.slerp(a, a, 0.3), a, atol=1e-5)
  assert np.isfinite(latent_walk.slerp(a, 0 * a, 0.3)).all()


def test_path_passes_every_stop() -> None:
  stops = _draws(3)
  rows = latent_walk.path(stops, 4)
  assert rows.shape == (7, 8)
  np.testing.assert_allclose(rows[::3], stops, atol=1e-5)
  with pytest.raises(ValueError, match="2 stops"):
    latent_walk.path(stops[:1], 4)


def test_children_have_traits_of_their_parents() -> None:
  parents = _draws(3, 64)
  born = latent_walk.breed(KEY, parents, 50, mutation=0.0)
  # Where nothing mutates, each number is one of a parent's, of all three.
  close = np.abs(np.asarray(born)[:, None] - np.asarray(parents)[None]).min(1)
  assert close.max() < 1e-5
  shares = np.abs(np.asarray(born)[:, None] - np.asarray(parents)[None]) < 1e-5
  assert (shares.mean((0, 2)) > 0.25).all()
  strangers = latent_walk.breed(KEY, parents, 50, mutation=1.0)
  again = latent_walk.breed(KEY, -parents, 50, mutation=1.0)
  np.testing.assert_allclose(strangers, again, atol=1e-5)
  # The variance of normal draws is kept in between.
  many = latent_walk.breed(KEY, _draws(2, 4000), 4, mutation=0.5)
  assert float(many.std()) == pytest.approx(1, abs=0.05)
  with pytest.raises(ValueError, match="mutation"):
    latent_walk.breed(KEY, parents, 1, mutation=2.0)


def test_project_finds_the_latent_of_a_linear_generator() -> None:
  basis = jnp.asarray(
    np.random.default_rng(3).normal(size=(8, 4 * 4 * 3)), jnp.float32
  )

  def generate(z):
    return 0.2 * (z @ basis).reshape(-1, 4, 4, 3)

  truth = _draws(2)
  images = generate(truth)
  start = latent_walk.nearest(generate, images, _draws(16, seed=5))
  z, distances = jax.jit(
    lambda s: latent_walk.project(generate, images, s, steps=300, prior=0.0)
  )(start)
  np.testing.assert_allclose(z, truth, atol=0.02)
  assert (distances[-1] < 1e-2 * distances[0]).all()
  # What is measured can be another thing.
  grey, _ = latent_walk.project(
    generate,
    images,
    start,
    steps=50,
    distance=lambda x, y: jnp.abs(x.mean((1, 2, 3)) - y.mean((1, 2, 3))),
  )
  assert np.isfinite(grey).all()


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
  """The workdir of a labelled GAN at step 0, of weights that are draws."""
  folder = tmp_path_factory.mktemp("gan")
  config = wgan_gp.get_config("smoke")
  config.model.update(conditional=True, embedding=3)
  config.data.domain_a = "labelled_chibi"
  rng, size = np.random.default_rng(0), config.data.size
  labels = (8, len(characters.LABELS))
  spec = {
    "image": jax.ShapeDtypeStruct((8, size, size, 3), np.uint8),
    "attributes": jax.ShapeDtypeStruct(labels, np.float32),
  }
  state = jax.eval_shape(lambda k: gan.build(config).init(k, spec), KEY)
  # Positive, because some are variances.
  state = jax.tree.map(
    lambda x: jnp.asarray(np.abs(0.3 * rng.normal(size=x.shape)), x.dtype),
    state,
  )
  workdir.open_workdir(folder, config)
  with checkpoint.Checkpointer(folder) as checkpoints:
    checkpoints.save(0, state, {})
    checkpoints.wait()
  return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
  """The workdir of an autoencoder, at its smallest."""
  folder = tmp_path_factory.mktemp("code")
  config = autoencoder.get_config("smoke")
  config.total_steps, config.eval_every = 1, 0
  train.train(config, folder)
  return folder


@pytest.fixture(autouse=True)
def _few_characters(monkeypatch: pytest.MonkeyPatch) -> None:
  """Each costs its drawing."""
  monkeypatch.setattr(latent_codes, "_CHARACTERS", 64)


def _size(path) -> tuple[int, int]:
  with Image.open(path) as picture:
    return picture.size


def _run(*words) -> str:
  result = CliRunner().invoke(app, [str(w) for w in words])
  assert result.exit_code == 0, result.output
  return result.output


def test_commands_write_grids(drawn, tmp_path) -> None:
  where = ("--workdir", drawn)
  grid, saved = tmp_path / "grid.png", tmp_path / "z.npy"
  _run("generate", grid, *where, "--count", 5, "--save", saved)
  assert _size(grid) == (3 * 18 - 2, 2 * 18 - 2)
  assert np.load(saved).shape == (5, 5)
  once = grid.read_bytes()
  _run("generate", grid, *where, "--count", 5)
  assert grid.read_bytes() == once
  _run("generate", grid, *where, "--count", 5, "--seed", 1)
  assert grid.read_bytes() != once
  _run("interpolate", grid, 1, 2, 3, *where, "--frames", 4)
  assert _size(grid) == (4 * 18 - 2, 2 * 18 - 2)
  _run("breed", grid, 1, saved, *where, "--children", 3)
  assert _size(grid) == (3 * 18 - 2, 3 * 18 - 2)


def test_labels_are_told_and_exports_are_opened(drawn, tmp_path) -> None:
  grid, told, kept = (tmp_path / f"{name}.png" for name in "abc")
  _run("generate", grid, "--workdir", drawn, "--count", 3)
  said = ("--label", "hair_color=pink", "--label", "skin_tone=9")
  _run("generate", told, "--workdir", drawn, "--count", 3, *said)
  assert grid.read_bytes() != told.read_bytes()
  _run("export", tmp_path / "kept", "--workdir", drawn)
  _run("generate", kept, "--workdir", tmp_path / "kept", "--count", 3, *said)
  assert kept.read_bytes() == told.read_bytes()


@pytest.mark.parametrize(
  "kind", ["drawn", pytest.param("trained", marks=pytest.mark.slow)]
)
def test_project_command(request, tmp_path, kind: str) -> None:
  picture = tmp_path / "picture.png"
  Image.new("RGB", (30, 24), (200, 150, 120)).save(picture)
  out, saved = tmp_path / "found.png", tmp_path / "z.npy"
  text = _run(
    "project", out, picture, "--workdir", request.getfixturevalue(kind),
    "--steps", 2, "--save", saved,
  )  # fmt: skip
  assert "Distance" in text and np.load(saved).shape == (1, 5)
  assert _size(out) == (34, 16)


@pytest.mark.slow
def test_codes_of_an_autoencoder_become_normal_draws(trained) -> None:
  space = latent.load(trained)
  source = characters.LabelledChibis(16, seed=0, examples=64, cutout=(255,) * 3)
  images = np.stack([source.load(i)["image"] for i in range(64)])
  z = space.encode(jnp.asarray(images, jnp.float32) / 127.5 - 1)
  assert np.abs(z.mean(0)).max() < 0.6 and 0.4 < z.std() < 1.6
  assert space.decode(z, None).shape == (64, 16, 16, 3)


@pytest.mark.parametrize(
  ("words", "sentence"),
  [
    (["interpolate", "1"], "two latents"),
    (["interpolate", "1", "nothing.npy"], "neither a seed nor"),
    (["interpolate", "1", "²"], "neither a seed nor"),
    (["interpolate", "1", "2", "--layer", "1"], "in --space w"),
    (["breed", "1", "--mutation", "3"], "between 0 and 1"),
    (["generate", "--label", "tail=long"], "one of skin_tone"),
  ],
)
def test_mistakes_are_sentences(drawn, tmp_path, words, sentence) -> None:
  words = [words[0], str(tmp_path / "x.png"), *words[1:]]
  words += ["--workdir", str(drawn)]
  result = CliRunner().invoke(app, words)
  assert result.exit_code == 2 and sentence in result.output
