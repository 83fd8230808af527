"""`chibijax upscale`: tiles without seams, kinds of pictures, sentences."""

import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file
from typer.testing import CliRunner, Result

from chibijax.apps import cli, folders, upscale
from chibijax.core import checkpoint, workdir
from chibijax.core.types import spec_of
from chibijax.models import rrdb
from chibijax.tasks import super_resolution
from configs import super_resolution as experiment

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
  """The command must not move the tests' cache of compiled programs."""
  monkeypatch.setattr(folders, "cache", lambda: tmp_path / "cache")
  monkeypatch.setattr(
    "chibijax.apps.commands.upscale.keep_compiled", lambda: None
  )


def call(*arguments: object) -> Result:
  return CliRunner().invoke(cli.app, [str(a) for a in arguments])


@functools.lru_cache
def _network(scale: int) -> upscale.Upscaler:
  """A small network: it looks 9 pixels far at scale 2, 5 at scale 4."""
  net = rrdb.Rrdb(scale, width=4, growth=2, blocks=0)
  blank = jnp.zeros((1, 8, 8, 3))
  variables = jax.jit(net.init)(jax.random.key(0), blank)
  variables = jax.tree.map(lambda x: 2 * x, variables)
  run = jax.jit(net.apply)
  return upscale.Upscaler(lambda x: run(variables, x), scale, "a test's")


def _nearest(scale: int = 2) -> upscale.Upscaler:
  """Repeats pixels: what comes out is known."""
  return upscale.Upscaler(
    lambda x: x.repeat(scale, 1).repeat(scale, 2), scale, "a test's"
  )


@pytest.mark.parametrize(("scale", "overlap"), [(2, 36), (4, 24)])
def test_tiles_leave_no_seam(scale: int, overlap: int) -> None:
  x = RNG.uniform(-1, 1, (70, 91, 3)).astype("f4")
  net = _network(scale)
  whole = upscale.tiled(x, net, tile=256, overlap=overlap)
  # A quarter of the overlap is further than the network looks.
  tiles = upscale.tiled(x, net, tile=2 * overlap, overlap=overlap)
  assert whole.shape == (70 * scale, 91 * scale, 3) and whole.std() > 0.01
  # Another shape sums in another order.
  apart = np.abs(tiles - whole).max()
  assert apart < 2e-5, apart
  # Without an overlap there are seams, which the test would see.
  seams = np.abs(upscale.tiled(x, net, tile=48, overlap=0) - whole)
  assert seams.max() > 1e-3


@pytest.mark.parametrize("size", [(16, 16), (5, 9), (48, 130), (49, 200)])
def test_every_size_is_covered_once(size: tuple[int, int]) -> None:
  x = RNG.uniform(-1, 1, (*size, 3)).astype("f4")
  for overlap in (0, 5, 24):
    found = upscale.tiled(x, _nearest(), tile=48, overlap=overlap)
    expected = x.repeat(2, 0).repeat(2, 1)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [(), (3,), (4,)])
def test_kinds_stay_what_they_are(dtype: type, channels: tuple) -> None:
  most = np.iinfo(dtype).max
  picture = RNG.integers(1, most + 1, (20, 24, *channels), dtype)
  found = upscale.enlarge(picture, _nearest(), tile=16, overlap=4)
  assert found.dtype == dtype
  # Half a level of float32 where the type has 65,536.
  np.testing.assert_allclose(
    found.astype(int), picture.repeat(2, 0).repeat(2, 1), atol=1
  )


def test_unseen_colours_do_not_bleed() -> None:
  picture = np.zeros((16, 16, 4), np.uint8)
  picture[:, :8] = (200, 40, 90, 255)
  seen = []

  def run(x):
    seen.append(np.asarray(x))
    return x.repeat(2, 1).repeat(2, 2)

  found = upscale.enlarge(picture, upscale.Upscaler(run, 2, ""), tile=64)
  # The network sees one flat colour, and not black where nothing is.
  assert np.ptp(seen[0].reshape(-1, 3), 0).max() == 0
  np.testing.assert_array_equal(found[:, :16, 3], 255)
  np.testing.assert_array_equal(found[:, 16:, 3], 0)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
  """A tiny published file, with the names of Real-ESRGAN."""
  draws = np.random.default_rng(1)
  arrays = {}

  def add(name: str, into: int, out: int) -> None:
    kernel = draws.normal(0, 0.1, (out, into, 3, 3))
    arrays[f"{name}.weight"] = kernel.astype(np.float32)
    arrays[f"{name}.bias"] = np.zeros(out, np.float32)

  add("conv_first", 12, 4)
  for j in range(1, 4):
    for k in range(1, 6):
      add(f"body.0.rdb{j}.conv{k}", 4 + 2 * (k - 1), 4 if k == 5 else 2)
  for name in ("conv_body", "conv_up1", "conv_up2", "conv_hr"):
    add(name, 4, 4)
  add("conv_last", 4, 3)
  path = tmp_path_factory.mktemp("weights") / "x2.safetensors"
  save_file(arrays, path)
  return path


def test_command_with_published_weights(
  weights: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  colours = RNG.integers(0, 256, (20, 30, 4), np.uint8)
  kinds = {"RGB": colours[..., :3], "L": colours[..., 0], "RGBA": colours}
  for mode, pixels in kinds.items():
    Image.fromarray(pixels).save(tmp_path / "in.png")
    out = tmp_path / f"{mode}.png"
    result = call("upscale", tmp_path / "in.png", out, "--weights", weights)
    assert result.exit_code == 0, result.output
    assert (
      "30 x 20 to 60 x 40" in result.output and "RRDB-1, x2" in result.output
    )
    with Image.open(out) as picture:
      assert picture.size == (60, 40) and picture.mode == mode


def test_sixteen_bits_stay(
  weights: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  cv2 = pytest.importorskip("cv2", reason="needs the extra `app`")
  deep = RNG.integers(0, 65536, (16, 18, 3), np.uint16)
  path = tmp_path / "deep.png"
  path.write_bytes(cv2.imencode(".png", deep[..., ::-1])[1].tobytes())
  np.testing.assert_array_equal(upscale.read(path), deep)
  out = tmp_path / "out.png"
  result = call("upscale", path, out, "--weights", weights)
  assert result.exit_code == 0, result.output
  made = upscale.read(out)
  assert made.dtype == np.uint16 and made.shape == (32, 36, 3)
  assert len(np.unique(made % 256)) > 100
  # A JPEG has 8 bits.
  result = call("upscale", path, tmp_path / "out.jpg", "--weights", weights)
  assert result.exit_code == 0, result.output
  assert upscale.read(tmp_path / "out.jpg").dtype == np.uint8


def test_a_training_and_what_is_exported_of_it(tmp_path: pathlib.Path) -> None:
  run = tmp_path / "run"
  config = experiment.get_config("smoke")
  config.loss.gan = 0.0
  workdir.open_workdir(run, config)
  task = super_resolution.build(config)
  picture = RNG.integers(0, 256, (32, 32, 3), np.uint8)
  spec = spec_of({"image": jnp.asarray(picture[None])})
  state = jax.jit(lambda key: task.init(key, spec))(jax.random.key(0))
  with checkpoint.Checkpointer(run) as checkpoints:
    checkpoints.save(0, state, {})
    checkpoints.wait()
  Image.fromarray(picture).save(tmp_path / "in.png")
  made = []
  for source in (run, tmp_path / "exported"):
    out = tmp_path / f"{source.name}.png"
    result = call("upscale", tmp_path / "in.png", out, "--workdir", source)
    assert result.exit_code == 0, result.output
    assert "step 0 (x2)" in result.output
    made.append(np.asarray(Image.open(out)))
    if source == run:
      call("export", tmp_path / "exported", "--workdir", run)
  np.testing.assert_array_equal(*made)
  pytest.importorskip("onnx", reason="needs the extra `export`")
  result = call("export", tmp_path / "x.onnx", "--workdir", run)
  assert result.exit_code == 0, result.output
  assert "pictures [16, 16, 3]" in result.output


@pytest.mark.parametrize(
  ("options", "sentence"),
  [
    ([], "which you download yourself"),
    (["--weights", "in.png"], "is not a file of weights"),
    (["--weights", "other.safetensors"], "is not a known network"),
    (["--weights", "x", "--workdir", "y"], "needs one network"),
    (["--workdir", "nowhere"], "holds no run"),
  ],
)
def test_mistakes_are_said(
  tmp_path: pathlib.Path,
  monkeypatch: pytest.MonkeyPatch,
  options: list[str],
  sentence: str,
) -> None:
  monkeypatch.chdir(tmp_path)
  Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save("in.png")
  save_file({"fc.weight": np.zeros((2, 2), np.float32)}, "other.safetensors")
  result = call("upscale", "in.png", "out.png", *options)
  assert result.exit_code == 2 and sentence in result.output, result.output
  assert not pathlib.Path("out.png").exists()


def test_other_mistakes_are_said(
  weights: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "in.png")
  use = ("--weights", weights)
  for photo, out, options, sentence in (
    ("in.png", "out.bmp", (), "is not a name that pictures"),
    ("none.png", "out.png", (), "none.png"),
    ("in.png", "out.png", ("--tile", 8), "--tile is 8"),
    ("in.png", "out.png", ("--overlap", 150), "at most half"),
  ):
    result = call("upscale", tmp_path / photo, tmp_path / out, *use, *options)
    assert result.exit_code == 2 and sentence in result.output, result.output
