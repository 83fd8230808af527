"""`chibijax export` and `chibijax render` on a small scene."""

import pathlib

import jax
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from chibijax.apps import cli, splat_files, splat_scene
from chibijax.core import checkpoint, workdir
from chibijax.data import pipeline
from chibijax.errors import UserError
from chibijax.ops.splat import Gaussians
from chibijax.tasks import splat
from configs import cyclegan, splat_fit


def call(*arguments: object) -> Result:
  return CliRunner().invoke(cli.app, [str(a) for a in arguments])


def dots(up: np.ndarray) -> Gaussians:
  """A red dot on top, a green one below, a blue one in front, grey behind."""
  front = np.array([0, 1, 0]) if up[2] else np.array([0, 0, 1])
  means = np.stack([up, -up, -front, front]).astype(np.float32)
  colors = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.5, 0.5, 0.5]])
  return Gaussians(
    means=means,
    quats=np.tile(np.array([[1, 0, 0, 0]], np.float32), (4, 1)),
    scales=np.full((4, 3), 0.2, np.float32),
    opacities=np.full(4, 0.95, np.float32),
    colors=colors.astype(np.float32),
  )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
  """The workdir of a training at step 0."""
  folder = tmp_path_factory.mktemp("run")
  config = splat_fit.get_config("smoke")
  workdir.open_workdir(folder, config)
  task = splat.build(config)
  spec = pipeline.make(config.data, split="train").spec
  state = jax.jit(lambda key: task.init(key, spec))(jax.random.key(0))
  with checkpoint.Checkpointer(folder) as checkpoints:
    checkpoints.save(0, state, {})
    checkpoints.wait()
  return folder


def test_export_writes_the_trained_scene(
  run: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  out = tmp_path / "head.ply"
  result = call("export", out, "--workdir", run)
  assert result.exit_code == 0, result.output
  assert "48 Gaussians" in result.output and "step 0" in result.output
  scene, step = splat_scene.load(run)
  assert step == 0
  after = splat_files.read(out)
  np.testing.assert_array_equal(after.means, scene.means)
  np.testing.assert_allclose(after.opacities, scene.opacities, rtol=1e-5)
  np.testing.assert_allclose(after.scales, scene.scales, rtol=1e-5)
  assert after.sh.shape == (48, 4, 3)


@pytest.mark.parametrize("up", list(splat_scene.UPS))
def test_pictures_are_upright_and_from_the_front(up: str) -> None:
  scene = dots(np.array(splat_scene.UPS[up]))
  front, back = splat_scene.render(
    scene, azimuths=[0.0, 180.0], elevation=0.0, size=32, up=up
  )

  def place(picture: np.ndarray, channel: int) -> np.ndarray:
    """Centre of mass of what is more of this colour than of the others."""
    rgb = picture.astype(float)
    rest = rgb[..., [k for k in range(3) if k != channel]].max(-1)
    weight = np.maximum(rgb[..., channel] - rest, 0)
    assert weight.sum() > 255
    return np.array([(weight * c).sum() for c in np.mgrid[:32, :32]]) / (
      weight.sum()
    )

  for picture in (front, back):
    assert place(picture, 0)[0] < 12 and place(picture, 1)[0] > 20
  # The blue one is in front, the grey one hides it from behind.
  np.testing.assert_allclose(place(front, 2), 15.5, atol=1)
  middle = back[16, 16].astype(int)
  assert np.ptp(middle) < 40 and middle.mean() < 160


def test_framing_ignores_floaters_and_faint_gaussians() -> None:
  rng = np.random.default_rng(0)
  means = rng.normal(size=(1000, 3))
  means /= np.linalg.norm(means, axis=-1, keepdims=True)
  means += 5
  means[0], means[1] = 1e4, np.nan
  opacities = np.full(1000, 0.5)
  means[2:200] = 300
  opacities[2:200] = 0.001
  scene = Gaussians(
    means, np.ones((1000, 4)), np.ones((1000, 3)), opacities,
    colors=np.ones((1000, 3)),
  )  # fmt: skip
  middle, radius = splat_scene.framing(scene)
  np.testing.assert_allclose(middle, 5, atol=0.1)
  assert radius == pytest.approx(1, abs=0.1)


def test_render_command(tmp_path: pathlib.Path) -> None:
  file = tmp_path / "dots.ply"
  splat_files.write(file, dots(np.array(splat_scene.UPS["-y"])))
  out = tmp_path / "new" / "dots.png"
  result = call("render", file, out, "--size", 24, "--background", "#102030")
  assert result.exit_code == 0, result.output
  assert "4 Gaussians, 1 view(s)" in result.output
  with Image.open(out) as picture:
    assert picture.size == (24, 24) and picture.mode == "RGB"
    assert picture.getpixel((0, 0)) == (16, 32, 48)
  result = call("render", file, out, "--size", 24, "--views", 5)
  assert result.exit_code == 0, result.output
  with Image.open(out) as picture:
    assert picture.size == (96, 48)
  result = call("render", file, tmp_path / "a.gif", "--size", 24, "--views", 3)
  assert result.exit_code == 0, result.output
  with Image.open(tmp_path / "a.gif") as picture:
    assert picture.size == (24, 24) and picture.n_frames == 3
  assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize(
  ("extra", "words"),
  [
    (["--up", "x"], "--up is 'x'"),
    (["--fov", 0], "--fov must be"),
    (["--elevation", 90], "--elevation"),
    (["--background", "red"], "--background is 'red'"),
    (["--views", -1], "--views is -1"),
  ],
)
def test_mistakes_end_in_one_sentence(
  extra: list, words: str, tmp_path: pathlib.Path
) -> None:
  file = tmp_path / "dots.ply"
  splat_files.write(file, dots(np.array(splat_scene.UPS["-y"])))
  result = call("render", file, tmp_path / "a.png", *extra)
  assert result.exit_code == 2
  assert words in result.output and "Traceback" not in result.output


def test_wrong_files_and_workdirs(
  run: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  assert "a.jpg is not" in call("render", "x.ply", tmp_path / "a.jpg").output
  missing = call("render", tmp_path / "x.ply", tmp_path / "a.png")
  assert missing.exit_code == 2 and "cannot be read" in missing.output
  other = call("export", tmp_path / "a.obj", "--workdir", run)
  assert other.exit_code == 2 and "expected .ply or .spz" in other.output
  workdir.open_workdir(tmp_path / "gan", cyclegan.get_config("smoke"))
  with pytest.raises(UserError, match="one of the task 'splat'"):
    splat_scene.load(tmp_path / "gan")
