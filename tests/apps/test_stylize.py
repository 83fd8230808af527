"""`chibijax stylize` on an untrained network: files, shapes, sentences."""

import pathlib

import jax
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from chibijax import __version__
from chibijax.apps import cli, stylize
from chibijax.core import checkpoint, workdir
from chibijax.tasks import translation
from configs import cyclegan

SIZE = 32


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
  """The workdir of a training at step 0."""
  folder = tmp_path_factory.mktemp("run")
  config = cyclegan.get_config("smoke")
  workdir.open_workdir(folder, config)
  picture = jax.ShapeDtypeStruct((1, SIZE, SIZE, 3), np.uint8)
  spec = {"image_a": picture, "image_b": picture}
  task = translation.build(config)
  state = jax.jit(lambda key: task.init(key, spec))(jax.random.key(0))
  with checkpoint.Checkpointer(folder) as checkpoints:
    checkpoints.save(0, state, {})
    checkpoints.wait()
  return folder


@pytest.fixture
def photos(tmp_path: pathlib.Path) -> pathlib.Path:
  """A folder with pictures of many kinds and a file that is none."""
  folder = tmp_path / "photos"
  (folder / "deep").mkdir(parents=True)
  rng = np.random.default_rng(0)
  noise = rng.integers(0, 256, (48, 40, 3), np.uint8)
  Image.fromarray(noise).save(folder / "tall.jpg")
  Image.fromarray(noise.transpose(1, 0, 2)).save(folder / "deep" / "wide.png")
  Image.fromarray(noise[..., 0]).save(folder / "grey.png")
  Image.fromarray(noise).convert("CMYK").save(folder / "same.jpg")
  Image.fromarray(noise).convert("RGBA").save(folder / "same.png")
  (folder / "broken.png").write_bytes(b"not a picture")
  (folder / "notes.txt").write_text("not offered to the network")
  return folder


def call(*arguments: object) -> Result:
  return CliRunner().invoke(cli.app, [str(a) for a in arguments])


def pngs(folder: pathlib.Path) -> set[str]:
  return {p.relative_to(folder).as_posix() for p in folder.rglob("*.png")}


def test_folder_becomes_a_folder_of_pngs(
  run: pathlib.Path, photos: pathlib.Path
) -> None:
  out = photos / "out"  # Inside the photos: must not be read as one.
  # Two a batch, so that there is a full batch and one that is filled up.
  result = call("stylize", photos, out, "--workdir", run, "--batch", 2)
  assert result.exit_code == 0, result.output
  made = {
    "tall.png", "deep/wide.png", "grey.png", "same.jpg.png", "same.png.png"
  }  # fmt: skip
  assert pngs(out) == made
  assert "5 of 6 made at 32 px" in result.output
  assert "step 0, a2b" in result.output
  assert "skipped" in result.output and "broken.png" in result.output
  for name in made:
    with Image.open(out / name) as picture:
      assert picture.size == (SIZE, SIZE) and picture.mode == "RGB"
  assert not list(out.rglob("*.part"))

  before = (out / "tall.png").stat().st_mtime_ns
  again = call("stylize", photos, out, "--workdir", run)
  assert again.exit_code == 0
  assert "5 there already" in again.output
  assert (out / "tall.png").stat().st_mtime_ns == before


def test_a_batch_gives_what_single_photos_give(
  run: pathlib.Path, photos: pathlib.Path
) -> None:
  paths = [photos / "tall.jpg", photos / "grey.png", photos / "deep/wide.png"]
  squares = [stylize.read_square(path, SIZE)[0] for path in paths]
  together = stylize.load(run, batch=4)(squares)
  alone = [stylize.load(run, batch=1)([square])[0] for square in squares]
  for one, other in zip(together, alone, strict=True):
    # Another batch size sums in another order: one level of rounding.
    np.testing.assert_allclose(one.astype(int), other.astype(int), atol=1)
  assert not np.array_equal(together[0], together[1])


def test_directions_use_different_networks(
  run: pathlib.Path, photos: pathlib.Path
) -> None:
  square, _ = stylize.read_square(photos / "tall.jpg", SIZE)
  there = stylize.load(run, batch=1)([square])[0]
  back = stylize.load(run, batch=1, direction="b2a")([square])[0]
  assert not np.array_equal(there, back)


def test_no_crop_keeps_the_whole_photo(
  run: pathlib.Path, photos: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  target = tmp_path / "new" / "chibi.png"
  result = call(
    "stylize", photos / "tall.jpg", target, "--workdir", run, "--no-crop",
    "--size", 48,
  )  # fmt: skip
  assert result.exit_code == 0, result.output
  with Image.open(target) as picture:
    assert picture.size == (40, 48)


def test_align_frames_the_face_and_tells_when_there_is_none(
  run: pathlib.Path, tmp_path: pathlib.Path, astronaut: np.ndarray
) -> None:
  (tmp_path / "in").mkdir()
  Image.fromarray(astronaut).save(tmp_path / "in" / "face.png")
  blank = np.full((90, 90, 3), 200, np.uint8)
  Image.fromarray(blank).save(tmp_path / "in" / "blank.png")
  result = call(
    "stylize", tmp_path / "in", tmp_path / "out", "--workdir", run, "--align"
  )
  assert result.exit_code == 0, result.output
  assert "no face was found" in result.output
  assert [p.name for p in (tmp_path / "out").iterdir()] == ["face.png"]
  # Her eyes and mouth lie where the artist's portraits have theirs.
  from chibijax.faces import align, analysis, detect, landmarks

  frame = stylize.framer(256)(astronaut)
  [found] = detect.find(frame, detect.make())
  marks = analysis.describe(frame, found, landmarks.load(), None).landmarks
  away = align.five_points(marks) - align.canonical_points(256)
  assert np.abs(np.delete(away, 2, 0)).max() < 0.04 * 256


def test_read_square_takes_the_top_of_tall_and_the_middle_of_wide(
  tmp_path: pathlib.Path,
) -> None:
  bands = np.zeros((90, 30, 3), np.uint8)
  bands[:30], bands[30:60] = 250, 125
  Image.fromarray(bands).save(tmp_path / "tall.png")
  Image.fromarray(bands.transpose(1, 0, 2)).save(tmp_path / "wide.png")
  tall, _ = stylize.read_square(tmp_path / "tall.png", 30)
  wide, _ = stylize.read_square(tmp_path / "wide.png", 30)
  assert (tall == 250).all() and (wide == 125).all()
  whole, kept = stylize.read_square(tmp_path / "tall.png", 30, crop=False)
  assert kept == (30, 10)
  # What is filled up repeats the last column, so no border is invented.
  np.testing.assert_array_equal(whole[:, 10:], whole[:, 9:10].repeat(20, 1))


@pytest.mark.parametrize(
  ("photo", "out", "options", "sentence"),
  [
    ("nowhere.jpg", "x.png", [], "nowhere.jpg does not exist."),
    ("broken.png", "x.png", [], "broken.png is not a picture"),
    ("tall.jpg", "x.bmp", [], "x.bmp is not a name that pictures are"),
    ("deep/none", "x", [], "holds no photos"),
    ("*.gif", "x", [], "no photo matches"),
    ("", "grey.png", [], "is a file; for a folder"),
    ("", "made.png", [], "is the name of one picture"),
    ("tall.jpg", "x.png", ["--direction", "up"], "expected 'a2b' or 'b2a'"),
    ("tall.jpg", "x.png", ["--size", "8"], "--size is 8, expected"),
    ("tall.jpg", "x.png", ["--size", "99999"], "expected 16 to 4096"),
    ("tall.jpg", "x.png", ["--batch", "0"], "--batch is 0, expected"),
    ("tall.jpg", "grey.png/x.png", [], "x.png cannot be written"),
  ],
)
def test_mistakes_end_in_one_sentence(
  run: pathlib.Path,
  photos: pathlib.Path,
  photo: str,
  out: str,
  options: list[str],
  sentence: str,
) -> None:
  (photos / "deep" / "none").mkdir()
  before = pngs(photos)
  result = call(
    "stylize", photos / photo, photos / out, "--workdir", run, *options
  )
  assert result.exit_code == 2
  assert isinstance(result.exception, SystemExit), result.exception
  assert sentence in result.output
  assert pngs(photos) == before


def test_a_folder_without_a_training_is_refused(
  photos: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  result = call("stylize", photos, tmp_path / "out", "--workdir", tmp_path)
  assert result.exit_code == 2
  assert "holds no run" in result.output
  workdir.open_workdir(tmp_path, cyclegan.get_config("smoke"))
  result = call("stylize", photos, tmp_path / "out", "--workdir", tmp_path)
  assert result.exit_code == 2
  assert "no checkpoint" in result.output
  assert not (tmp_path / "out").exists()


def test_sample_photo_and_version(tmp_path: pathlib.Path) -> None:
  pytest.importorskip("skimage", reason="needs the extra `app`")
  result = call("sample-photo", tmp_path / "face.png")
  assert result.exit_code == 0, result.output
  with Image.open(tmp_path / "face.png") as picture:
    assert picture.width == picture.height >= 128
  assert call("--version").output.split() == ["chibijax", __version__]
