"""BlazeFace layer by layer against PyTorch, with the real weights."""

import itertools
import pathlib

import jax
import numpy as np
import pytest
from PIL import Image

from chibijax.core import weight_files
from chibijax.faces import blazeface as reader
from chibijax.models import blazeface

FILES = {"front": "blazeface.pth", "back": "blazefaceback.pth"}


@pytest.fixture(scope="module", params=sorted(FILES))
def network(
  request: pytest.FixtureRequest, shared_data: pathlib.Path
) -> tuple[str, dict[str, np.ndarray]]:
  """Its kind, and the arrays of its file."""
  file = shared_data / "weights" / "blazeface" / FILES[request.param]
  return request.param, weight_files.read(file)


def torch_layers(torch, kind: str, arrays: dict, x: np.ndarray) -> dict:
  """Every layer's output by our name, computed by PyTorch, NHWC."""
  f = torch.nn.functional
  weights = {k: torch.from_numpy(v.copy()) for k, v in arrays.items()}
  found = {}

  def conv(value, name, **options):
    return f.conv2d(
      value, weights[f"{name}.weight"], weights[f"{name}.bias"], **options
    )

  def block(value, name, halve, shortcut=True):
    stride = 2 if halve else 1
    inside = f.pad(value, (0, 2, 0, 2)) if halve else value
    inside = conv(
      inside,
      f"{name}.convs.0",
      stride=stride,
      padding=0 if halve else 1,
      groups=value.shape[1],
    )
    inside = conv(inside, f"{name}.convs.1")
    if not shortcut:
      return f.relu(inside)
    if halve:
      value = f.max_pool2d(value, 2, 2)
    extra = inside.shape[1] - value.shape[1]
    return f.relu(inside + f.pad(value, (0, 0, 0, 0, 0, extra)))

  trunk = "backbone1" if kind == "front" else "backbone"
  value = torch.from_numpy(x.transpose(0, 3, 1, 2).copy())
  value = conv(f.pad(value, (1, 2, 1, 2)), f"{trunk}.0", stride=2)
  found["stem"] = value
  value = f.relu(value)
  for i, width in enumerate(blazeface.TRUNK[kind]):
    value = block(value, f"{trunk}.{i + 2}", width < 0)
    found[f"trunk{i}"] = value
  after = value
  for i, width in enumerate(blazeface.REST[kind]):
    name = f"backbone2.{i}" if kind == "front" else "final"
    after = block(after, name, width < 0, kind == "front")
    found[f"rest{i}"] = after
  for grid, stride, seen in ((16, 8, value), (8, 16, after)):
    found[f"score{grid}"] = conv(seen, f"classifier_{stride}")
    found[f"place{grid}"] = conv(seen, f"regressor_{stride}")
  return {k: v.permute(0, 2, 3, 1).numpy() for k, v in found.items()}


def test_layers_agree_with_pytorch(network: tuple[str, dict]) -> None:
  torch = pytest.importorskip("torch", reason="needs PyTorch")
  kind, arrays = network
  side = blazeface.SIDES[kind]
  rng = np.random.default_rng(0)
  x = rng.uniform(-1, 1, (2, side, side, 3)).astype(np.float32)
  params = reader.parameters(arrays, kind)

  @jax.jit
  def run(params, x):
    return blazeface.BlazeFace(kind).apply(
      {"params": params}, x, capture_intermediates=True
    )

  # Without what is captured, XLA compiles another program.
  logits, numbers = reader._run(kind, params, (x + 1) * 127.5)
  _, state = run(params, x)
  seen = state["intermediates"]
  expected = torch_layers(torch, kind, arrays, x)
  layers = {k for k in seen if k != "__call__"}
  assert layers == set(expected)
  for name, value in expected.items():
    # Up to 36 layers of sums in another order; relative to the layer's size.
    scale = np.abs(value).max()
    np.testing.assert_allclose(
      seen[name]["__call__"][0] / scale, value / scale, atol=2e-5, err_msg=name
    )
  flat = [expected[f"score{g}"].reshape(2, -1) for g in (16, 8)]
  np.testing.assert_allclose(logits, np.concatenate(flat, 1), atol=1e-2)
  flat = [expected[f"place{g}"].reshape(2, -1, 16) for g in (16, 8)]
  np.testing.assert_allclose(numbers, np.concatenate(flat, 1), atol=1e-2)


def test_detections_agree_with_pytorch(
  network: tuple[str, dict],
  shared_data: pathlib.Path,
  monkeypatch: pytest.MonkeyPatch,
) -> None:
  torch = pytest.importorskip("torch", reason="needs PyTorch")
  kind, arrays = network
  file = shared_data / "weights" / "blazeface" / FILES[kind]
  detector = reader.BlazeFaceDetector(file, threshold=0.1)
  assert detector.kind == kind
  files = sorted((shared_data / "photos").glob("*/*.jpg"))[::90]
  photos = [np.asarray(Image.open(f).convert("RGB")) for f in files]
  ours = [detector(photo) for photo in photos]

  def run(kind, params, pixels):
    x = np.float32(pixels) / 127.5 - 1
    layers = torch_layers(torch, kind, arrays, x)
    logits = [layers[f"score{g}"].reshape(1, -1) for g in (16, 8)]
    numbers = [layers[f"place{g}"].reshape(1, -1, 16) for g in (16, 8)]
    return np.concatenate(logits, 1), np.concatenate(numbers, 1)

  monkeypatch.setattr(reader, "_run", run)
  theirs = [detector(photo) for photo in photos]
  assert sum(map(len, theirs)) >= len(files) >= 5
  assert [len(found) for found in ours] == [len(found) for found in theirs]
  pairs = zip(itertools.chain(*ours), itertools.chain(*theirs))
  for one, other in pairs:
    np.testing.assert_allclose(one.box, other.box, atol=0.05)
    np.testing.assert_allclose(one.points, other.points, atol=0.05)
    assert one.score == pytest.approx(other.score, abs=1e-3)


def test_centres_are_the_anchors_of_the_files(
  shared_data: pathlib.Path,
) -> None:
  for name in ("anchors", "anchorsback"):
    file = shared_data / "weights" / "blazeface" / f"{name}.npy"
    anchors = np.load(file, allow_pickle=False)
    np.testing.assert_allclose(blazeface.centres(), anchors[:, :2], atol=1e-6)
    np.testing.assert_array_equal(anchors[:, 2:], 1)


@pytest.mark.parametrize("halve", [False, True])
def test_depthwise_is_a_grouped_convolution(halve: bool) -> None:
  x = jax.random.normal(jax.random.key(0), (2, 8, 6, 5))
  layer = blazeface.Depthwise(halve)
  params = layer.init(jax.random.key(1), x)["params"]
  params["bias"] = np.arange(5, dtype=np.float32)
  room = (0, 2) if halve else (1, 1)
  expected = jax.lax.conv_general_dilated(
    x,
    params["kernel"],
    (2, 2) if halve else (1, 1),
    (room, room),
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
    feature_group_count=5,
  )
  found = layer.apply({"params": params}, x)
  bias = params["bias"][None, None, None]
  np.testing.assert_allclose(found, expected + bias, atol=1e-5)


def test_pictures_of_another_size_are_refused() -> None:
  network = blazeface.BlazeFace("front")
  with pytest.raises(ValueError, match=r"must be \[B, 128, 128, 3\]"):
    network.init(jax.random.key(0), jax.numpy.zeros((1, 64, 64, 3)))
