"""Exports: ONNX against the networks, primitives refused, names and tasks."""

import functools
import importlib
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from chibijax.apps import cli, export, onnx_graph, pretrained
from chibijax.core import checkpoint, workdir
from chibijax.errors import UserError
from chibijax.models import dcgan, johnson, r3gan, resnet, rrdb, unet
from chibijax.ops import resample
from chibijax.tasks import translation
from configs import adain, autoencoder, cyclegan, stylegan2, ugatit
from configs import dcgan as dcgan_config
from configs import r3gan as r3gan_config

pytest.importorskip("onnx", reason="needs the extra `export`")
runtime = pytest.importorskip("onnxruntime", reason="needs the extra `export`")


def call(*arguments: object) -> Result:
  return CliRunner().invoke(cli.app, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
  """The workdir of a translation at step 0, with averaged weights."""
  folder = tmp_path_factory.mktemp("run")
  config = cyclegan.get_config("smoke")
  config.ema = 0.9
  workdir.open_workdir(folder, config)
  picture = jax.ShapeDtypeStruct((1, 32, 32, 3), np.uint8)
  spec = {"image_a": picture, "image_b": picture}
  task = translation.build(config)
  state = jax.jit(lambda key: task.init(key, spec))(jax.random.key(0))
  with checkpoint.Checkpointer(folder) as checkpoints:
    checkpoints.save(0, state, {})
    checkpoints.wait()
  return folder


def _session(model: bytes) -> "runtime.InferenceSession":
  options = runtime.SessionOptions()
  options.intra_op_num_threads = 1
  return runtime.InferenceSession(model, options)


def _error(function, shape: tuple[int, ...], rows: int = 3) -> float:
  """The largest error relative to the result's scale, if that exceeds 1."""
  model = onnx_graph.convert(function, {"x": shape})
  x = np.random.default_rng(0).normal(0, 0.5, (rows, *shape)).astype("f4")
  (found,) = _session(model).run(None, {"x": x})
  expected = np.asarray(jax.jit(function)(x))
  assert found.shape == expected.shape and expected.std() > 1e-3
  return float(np.abs(found - expected).max() / max(1, expected.std()))


NETWORKS = {
  "resnet": (resnet.ResnetGenerator(width=6, blocks=1), (16, 16, 3)),
  "resnet of CUT": (
    resnet.ResnetGenerator(width=6, blocks=1, antialias=True),
    (16, 16, 3),
  ),
  "unet": (unet.UnetGenerator(width=4, depth=3), (16, 16, 3)),
  "johnson": (johnson.StyleNet(width=4, blocks=1), (16, 16, 3)),
  "r3gan": (r3gan.Generator((16, 8), blocks=1, group=4), (12,)),
  "dcgan": (dcgan.Generator(16, 4), (12,)),
  "rrdb": (rrdb.Rrdb(width=8, growth=4, blocks=1, scale=4), (8, 8, 3)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_onnx_equals_the_network(name: str) -> None:
  net, shape = NETWORKS[name]
  blank = jnp.zeros((1, *shape))
  variables = jax.jit(lambda: net.init(jax.random.key(0), blank))()
  # Fresh weights are small; larger ones show more of what is computed.
  variables = jax.tree.map(lambda x: 3 * x, variables)
  # float32 summed in another order; a hundredth of the tolerance of 1e-4
  # would be one rounding.
  assert _error(functools.partial(net.apply, variables), shape) < 1e-4


def _mixture(x: jax.Array) -> jax.Array:
  """One of everything else that has an ONNX form."""
  y = jnp.where(x > 0.1, jnp.abs(x), -jnp.floor(x)) ** 3
  y = jnp.clip(y + x[:, ::-1], -0.5, 2) * jnp.roll(x, 1, 2)
  y = jnp.log1p(jnp.exp(y)) / (1 + jax.nn.sigmoid(x)) + jnp.round(3 * x)
  weights = jnp.asarray(resample.area_weights(6, 3))
  y = jnp.einsum("ij,bjwc->biwc", weights, y)
  y = (
    jnp.take(y, jnp.array([2, 0, 1]), axis=1)
    + y.max(axis=(1, 2))[:, None, None]
  )
  y = jnp.stack([y, y.min(0, keepdims=True) + 0 * y], 1).sum(1)
  mean = y.mean((0, 1, 2), keepdims=True)
  y = jnp.concatenate([y, jnp.broadcast_to(mean, y.shape)], -1)
  return jnp.pad(y, ((0, 0), (1, 0), (0, 2), (0, 0)), mode="edge")[:, :, 1::2]


@pytest.mark.parametrize("rows", [1, 4])
def test_onnx_of_other_operations(rows: int) -> None:
  assert _error(_mixture, (6, 6, 2), rows) < 1e-5


def test_strided_grouped_and_dilated_convolutions() -> None:
  rng = np.random.default_rng(1)
  kernel = jnp.asarray(rng.normal(size=(3, 3, 2, 4)), jnp.float32)

  def convolve(x, **options):
    return jax.lax.conv_general_dilated(
      x, kernel, padding=((1, 2), (0, 1)),
      dimension_numbers=("NHWC", "HWIO", "NHWC"), **options,
    )  # fmt: skip

  for options in (
    dict(window_strides=(2, 1), feature_group_count=2),
    dict(window_strides=(1, 2), rhs_dilation=(2, 1), feature_group_count=2),
  ):
    assert _error(functools.partial(convolve, **options), (7, 8, 4)) < 1e-5
  spread = dict(window_strides=(1, 1), lhs_dilation=(2, 2))
  assert _error(functools.partial(convolve, **spread), (5, 4, 2)) < 1e-5


@pytest.mark.parametrize(
  ("function", "sentence"),
  [
    (lambda x: jnp.sort(x, 1), "primitive 'sort'"),
    (lambda x: jnp.fft.fft(x).real, "primitive 'fft'"),
    (
      lambda x: jax.lax.cond(x.sum() > 0, jnp.sin, jnp.cos, x),
      "branches on its input",
    ),
  ],
)  # fmt: skip
def test_what_has_no_onnx_form_is_named(function, sentence: str) -> None:
  with pytest.raises(UserError, match=sentence):
    onnx_graph.convert(function, {"x": (4, 4, 3)})


def test_command_writes_onnx_that_translates(
  run: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  out = tmp_path / "new" / "chibi.onnx"
  result = call("export", out, "--workdir", run)
  assert result.exit_code == 0, result.output
  assert "pictures [32, 32, 3], largest error" in result.output
  session = _session(out.read_bytes())
  described = session.get_modelmeta().custom_metadata_map
  assert described["task"] == "translation" and described["step"] == "0"
  (given,), (made,) = session.get_inputs(), session.get_outputs()
  assert (given.name, made.name) == ("pictures", "result")
  assert given.shape == made.shape == ["batch", 32, 32, 3]
  # Sides that the network cannot take are padded inside of the graph.
  back = tmp_path / "back.onnx"
  options = ("--direction", "b2a", "--size", 30)
  assert call("export", back, "--workdir", run, *options).exit_code == 0
  x = np.zeros((5, 30, 30, 3), np.float32)
  (y,) = _session(back.read_bytes()).run(None, {"pictures": x})
  assert y.shape == x.shape and np.abs(y).max() <= 1


def _draw(rng: np.random.Generator, path: tuple, shape: tuple) -> jax.Array:
  """Small numbers; variances are positive."""
  draw = 0.05 * rng.normal(size=shape)
  if path[-1].key == "variance":
    draw = 1 + np.abs(draw)
  return jnp.asarray(draw, jnp.float32)


@pytest.mark.parametrize(
  "experiment",
  [adain, autoencoder, dcgan_config, r3gan_config, stylegan2, ugatit],
)
def test_each_tasks_network_has_its_function(experiment) -> None:
  config = experiment.get_config("smoke")
  if experiment is adain:  # As in :quick.
    config.model.features.zoom, config.model.colors = 2, True
    config.model.decoder.blocks = ((6, 1), (8, 1))
  size = config.data.size
  picture = jax.ShapeDtypeStruct((4, size, size, 3), np.uint8)
  names = ("image_a", "image_b") if config.data.source_b else ("image",)
  module = importlib.import_module(f"chibijax.tasks.{config.task}")
  task, spec = module.build(config), dict.fromkeys(names, picture)
  if config.model.get("conditional", False):
    spec["attributes"] = jax.ShapeDtypeStruct((4, 7), np.float32)
  state = jax.eval_shape(lambda key: task.init(key, spec), jax.random.key(0))
  rng = np.random.default_rng(0)
  networks = jax.tree.map_with_path(
    lambda path, x: _draw(rng, path, x.shape), {**state.params, **state.ema}
  )
  model = pretrained.Pretrained(config, networks, 0, "a test")
  data, function = export.to_onnx(model)
  kinds = {"autoencoder": ["pictures"], "dcgan": ["latents"]}
  kinds |= {"ugatit": ["pictures"], "adain": ["pictures", "style"]}
  name = config.model.get("name", "autoencoder")
  assert list(function.inputs) == kinds.get(name, ["latents", "labels"])
  assert export.largest_error(data, function) < 1e-4


def test_a_wrong_export_is_not_written(
  run: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  monkeypatch.setattr(export, "largest_error", lambda *_: float("nan"))
  result = call("export", tmp_path / "x.onnx", "--workdir", run)
  assert result.exit_code == 2 and "was not written" in result.output
  assert not (tmp_path / "x.onnx").exists()


@pytest.mark.parametrize(
  ("out", "options", "sentence"),
  [
    ("x.ply", [], "is exported as .onnx, .safetensors or a folder"),
    ("x.onnx", ["--direction", "up"], "expected 'a2b' or 'b2a'"),
    ("x.onnx", ["--size", "8"], "--size is 8, expected"),
    ("x.onnx", ["--size", "99999"], "expected 16 to 4096"),
  ],
)
def test_mistakes_are_said(
  run: pathlib.Path,
  tmp_path: pathlib.Path,
  out: str,
  options: list[str],
  sentence: str,
) -> None:
  result = call("export", tmp_path / out, "--workdir", run, *options)
  assert result.exit_code == 2 and sentence in result.output
  assert not list(tmp_path.iterdir())
