"""Directions: on a generator whose attributes are known, and the commands."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
import safetensors
from PIL import Image
from typer.testing import CliRunner

from chibijax.apps import directions, directions_file, latent
from chibijax.apps.cli import app
from chibijax.data import characters
from chibijax.errors import UserError

SIZE = 8


class FakeCharacters(characters.LabelledChibis):
  """Pictures that are as light as the first label says."""

  def load(self, index: int) -> dict:
    """One of them."""
    row = np.random.default_rng(index).normal(0, 0.3, len(characters.LABELS))
    light = np.clip(128 + 100 * row[0], 0, 255)
    image = np.full((SIZE, SIZE, 3), light, np.uint8)
    return {"image": image, "attributes": row.astype(np.float32)}


def _space(encoder: bool = False, size: int = SIZE) -> latent.Space:
  """A generator: the first number is the light, the second reddens."""

  def decode(z, labels):
    del labels
    colour = 0.2 * z[:, :1] + 0.2 * z[:, 1:2] * jnp.array([[1.0, -1, 0]])
    return jnp.broadcast_to(colour[:, None, None], (len(z), size, size, 3))

  def encode(x):
    mean = x.mean((1, 2))
    return jnp.stack(
      [mean.mean(-1), mean[:, 0], mean[:, 1], *[mean[:, 2]] * 3], -1
    )

  return latent.Space(
    decode,
    encode if encoder else None,
    6,
    size,
    None,
    "a test",
    FakeCharacters(SIZE) if encoder else None,
  )


def _labels(z: np.ndarray) -> np.ndarray:
  return np.stack([2 * z[:, 0], z[:, 1] > 0, np.ones(len(z))], 1)


def test_directions_of_known_labels() -> None:
  z = _space().draw(0, 400)
  labels = _labels(np.asarray(z))
  found = directions.fit(z, labels, ("light", "red", "nothing"))
  # Of length one, along the number that decides; a step adds its double.
  np.testing.assert_allclose(found.rows[0], [1, 0, 0, 0, 0, 0], atol=0.01)
  assert np.abs(found.rows[1]).argmax() == 1
  assert np.linalg.norm(found.rows[1]) == pytest.approx(1, abs=1e-5)
  assert not found.rows[2].any() and found.explained[2] == 0
  assert found.rise[0] == pytest.approx(2, abs=0.02) and found.rise[2] == 0
  assert found.explained[0] > 0.99 and 0.5 < found.explained[1] < 0.8
  assert found.best(5) == ("light", "red")
  step = found.step({"light": 2.0, "red": -1.0})
  np.testing.assert_allclose(
    step[0], 2 * found.rows[0] - found.rows[1], atol=1e-6
  )
  with pytest.raises(UserError, match="at least 8"):
    directions.fit(z[:5], labels[:5], ("a", "b", "c"))


def test_what_is_held_out_decides_how_well_noise_is_explained() -> None:
  z = _space().draw(0, 24)
  noise = np.random.default_rng(5).normal(size=(24, 3)).astype(np.float32)
  found = directions.fit(z, noise, ("a", "b", "c"))
  assert max(found.explained) < 0.3


def test_a_reader_finds_the_light(monkeypatch: pytest.MonkeyPatch) -> None:
  monkeypatch.setattr(directions, "_ROWS", 50)
  reader = _space(encoder=True)
  found = directions.of_reader(_space(), reader, 200, 0, 100)
  name = characters.LABELS[0]
  row = found.rows[found.names.index(name)]
  np.testing.assert_allclose(row, [1, 0, 0, 0, 0, 0], atol=0.05)
  assert found.explained[0] > 0.95
  # Pushed along it, pictures become lighter, strength by strength.
  shown = directions.sheet(_space(), found, [name], [-3.0, 0.0, 3.0])
  assert (np.diff(shown.mean((1, 2, 3))) > 20).all()
  with pytest.raises(UserError, match="reads pictures of 8 pixels"):
    directions.of_reader(_space(size=16), reader, 10, 0, 10)
  with pytest.raises(UserError, match="has no encoder"):
    directions.of_characters(_space(), 16)


def _table(path, count: int = 40):
  space = _space()
  rows = ["seed,light,odd=name"]
  for seed in range(count):
    z = space.draw(seed)[0]
    rows.append(f"{seed},{float(z[0]):.4f},{float(z[3]):.4f}")
  path.write_text("\n".join(rows) + "\n")
  return path


def test_a_table_of_seeds_and_its_file(tmp_path) -> None:
  found = directions.of_table(_space(), _table(tmp_path / "seeds.csv"))
  assert found.names == ("light", "odd=name")
  assert found.rows[0].argmax() == 0 and found.rows[1].argmax() == 3
  path = tmp_path / "there" / "ways.safetensors"
  directions_file.save(path, found)
  again = directions_file.load(path, _space())
  assert again.names == found.names and again.source == found.source
  np.testing.assert_array_equal(again.rows, found.rows)
  with safetensors.safe_open(path, "numpy") as file:
    assert "light" in file.metadata()["directions"]
  with pytest.raises(UserError, match="of another training"):
    directions_file.load(path, dataclasses.replace(_space(), latent=7))
  with pytest.raises(UserError, match="give --space z, or"):
    directions_file.load(path, dataclasses.replace(_space(), name="w"))


@pytest.mark.parametrize(
  ("text", "sentence"),
  [
    ("seed\n1\n", "one for each label"),
    ("light\n1\n", "needs a column seed"),
    ("", "got nothing"),
    ("seed,light\nx,1\n", "line 2: the seed is 'x'"),
    ("seed,light\n1,1\n2,bright\n", "line 3: light is 'bright'"),
    ("seed,light\n1,1\n", "at least 8"),
  ],
)
def test_a_bad_table_is_said(tmp_path, text: str, sentence: str) -> None:
  path = tmp_path / "seeds.csv"
  path.write_text(text)
  with pytest.raises(UserError, match=sentence):
    directions.of_table(_space(), path)
  with pytest.raises(UserError, match="cannot be read as"):
    directions_file.load(path, _space())


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> None:
  """Every workdir is the generator above."""
  monkeypatch.setattr(latent, "load", lambda run, space: _space())


def _call(*words):
  return CliRunner().invoke(app, [str(w) for w in words])


def _mean(path, left: int = 0) -> float:
  with Image.open(path) as picture:
    box = (left, 0, left + SIZE, SIZE)
    return float(np.asarray(picture.crop(box), float).mean())


def test_commands_learn_and_push(opened, tmp_path) -> None:
  ways, sheet = tmp_path / "ways.safetensors", tmp_path / "sheet.png"
  run = ("--workdir", tmp_path)
  told = _call(
    "directions", ways, *run, "--labels", _table(tmp_path / "t.csv"),
    "--sheet", sheet,
  )  # fmt: skip
  assert told.exit_code == 0 and "light" in told.output, told.output
  with Image.open(sheet) as picture:
    assert picture.size == (7 * 10 - 2, 2 * 10 - 2)
  push = ("--directions", ways, "--direction", "light=2")
  plain, pushed = tmp_path / "a.png", tmp_path / "b.png"
  for command in (["generate", "--count", 1], ["interpolate", 1, 2]):
    name, *rest = command
    for out, more in ((plain, ()), (pushed, push)):
      found = _call(name, out, *rest, *run, *more)
      assert found.exit_code == 0, found.output
    assert _mean(pushed) > _mean(plain) + 30
  Image.new("RGB", (20, 20), (128, 128, 128)).save(plain)
  found = _call("project", pushed, plain, *run, "--steps", 0, *push)
  assert found.exit_code == 0, found.output
  # The picture, what was found, and that pushed.
  assert _mean(pushed, 2 * (SIZE + 2)) > _mean(pushed, SIZE + 2) + 30


@pytest.mark.parametrize(
  ("words", "sentence"),
  [
    (["generate", "--direction", "light=1"], "needs --directions"),
    (["generate", "--direction", "light=x", "--directions", "t"], "NAME=STREN"),
    (["generate", "--direction", "=1", "--directions", "t"], "NAME=STREN"),
    (["generate", "--direction", "a=1", "--directions", "t"], "as directions"),
    (["generate", "--save", "a file/z.npy", "--count", "1"], "be written"),
    (["directions"], "expected NAME.safetensors"),
  ],
)
def test_mistakes_are_sentences(
  opened, tmp_path, monkeypatch, words, sentence: str
) -> None:
  monkeypatch.chdir(tmp_path)
  (tmp_path / "a file").write_text("")
  (tmp_path / "t").write_text("no directions")
  name, *rest = words
  found = _call(name, "x.png", *rest, "--workdir", tmp_path)
  assert found.exit_code == 2 and sentence in found.output, found.output


def test_an_unknown_name_or_two_sources_are_said(opened, tmp_path) -> None:
  out, run = tmp_path / "w.safetensors", ("--workdir", tmp_path)
  table = ("--labels", _table(tmp_path / "t.csv"))
  found = _call("directions", out, *run, *table, "--show", "smile")
  assert found.exit_code == 2 and "no direction 'smile'" in found.output
  assert not out.exists()
  found = _call("directions", out, *run, *table, "--reader", tmp_path)
  assert found.exit_code == 2 and "exclude each other" in found.output
