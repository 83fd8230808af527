"""MTCNN against PyTorch, layer by layer, and the packing of scales."""

import itertools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from chibijax.faces import mtcnn as detection
from chibijax.faces import mtcnn_weights
from chibijax.models import mtcnn

# facenet-pytorch's names of the layers that follow the numbered ones.
FACENET = {
  "pnet": {"face": "conv4_1", "offsets": "conv4_2"},
  "rnet": {"dense1": "dense4", "face": "dense5_1", "offsets": "dense5_2"},
  "onet": {
    "dense1": "dense5",
    "face": "dense6_1",
    "offsets": "dense6_2",
    "points": "dense6_3",
  },
}


@pytest.fixture(scope="module")
def weights(mtcnn_detector: detection.MtcnnDetector) -> dict:
  return jax.tree.map(np.asarray, mtcnn_detector.weights)


@pytest.mark.parametrize("net", mtcnn.WINDOW)
def test_weights_equal_those_of_facenet_pytorch(
  net: str, weights: dict, shared_data: pathlib.Path
) -> None:
  torch = pytest.importorskip("torch")
  file = shared_data / "weights" / "mtcnn" / f"{net}.pt"
  theirs = torch.load(file, weights_only=True)
  names = FACENET[net]
  for layer, parts in weights[net].items():
    other = names.get(layer, layer)
    if "alpha" in parts:
      np.testing.assert_array_equal(parts["alpha"], theirs[f"{other}.weight"])
      continue
    kernel = theirs[f"{other}.weight"].numpy()
    order = (2, 3, 1, 0) if kernel.ndim == 4 else (1, 0)
    np.testing.assert_array_equal(parts["kernel"], kernel.transpose(order))
    np.testing.assert_array_equal(parts["bias"], theirs[f"{other}.bias"])


@pytest.mark.parametrize("net", mtcnn.WINDOW)
def test_every_layer_equals_pytorch(net: str, weights: dict) -> None:
  torch = pytest.importorskip("torch")
  shape = (2, 37, 41, 3) if net == "pnet" else (3, *(mtcnn.WINDOW[net],) * 2, 3)
  x = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
  ours = mtcnn.activations(
    net, jax.tree.map(jnp.asarray, weights[net]), jnp.asarray(x)
  )
  assert list(ours) == [
    *(name for name in ours if name not in mtcnn.HEADS[net]),
    *mtcnn.HEADS[net],
  ]
  theirs = torch_activations(torch, net, weights[net], x)
  for name, value in ours.items():
    expected = theirs[name]
    if expected.ndim == 4:
      expected = expected.transpose(0, 2, 3, 1)
    # Sums of up to 1152 products in another order, values up to about 10.
    np.testing.assert_allclose(
      value, expected, atol=2e-4, rtol=2e-4, err_msg=name
    )


def torch_activations(torch, net: str, weights: dict, x: np.ndarray) -> dict:
  """The same layers in PyTorch, NCHW."""
  f = torch.nn.functional
  value = torch.from_numpy(x.transpose(0, 3, 1, 2).copy())
  found = {}

  def linear(value, layer):
    kernel, bias = (
      torch.from_numpy(layer[k].copy()) for k in ("kernel", "bias")
    )
    if kernel.ndim == 4:
      return f.conv2d(value, kernel.permute(3, 2, 0, 1), bias)
    return f.linear(value, kernel.T, bias)

  counts: dict[str, itertools.count] = {}
  for kind, *sizes in mtcnn.TRUNKS[net]:
    name = f"{kind}{next(counts.setdefault(kind, itertools.count(1)))}"
    if kind == "pool":
      value = f.max_pool2d(value, sizes[0], 2, ceil_mode=True)
    elif kind == "flatten":
      value = value.permute(0, 3, 2, 1).reshape(len(x), -1)
    elif kind == "prelu":
      value = f.prelu(value, torch.from_numpy(weights[name]["alpha"].copy()))
    else:
      value = linear(value, weights[name])
    found[name] = value.numpy()
  return found | {
    k: linear(value, weights[k]).numpy() for k in mtcnn.HEADS[net]
  }


def test_packing_scales_changes_nothing(
  weights: dict, astronaut: np.ndarray
) -> None:
  """Each scale's windows give the same whether packed or alone."""
  sheet = np.random.default_rng(1).integers(
    0, 256, (*detection.sheet_shape(), 3), np.uint8
  )
  x, y, side = detection.slots()[3]
  alone = np.asarray(Image.fromarray(astronaut).resize((side, side)))
  sheet[y : y + side, x : x + side] = alone
  whole, part = (
    detection._run("pnet", weights["pnet"], pixels[None])
    for pixels in (sheet, alone)
  )
  cells = slice(y // 2, (y + side) // 2 - 5), slice(x // 2, (x + side) // 2 - 5)
  for head in ("face", "offsets"):
    np.testing.assert_allclose(
      whole[head][0][cells], part[head][0], atol=1e-5, err_msg=head
    )


def test_slots_do_not_overlap() -> None:
  taken = np.zeros(detection.sheet_shape(), int)
  for x, y, side in detection.slots():
    assert x % 2 == y % 2 == side % 2 == 0
    taken[y : y + side, x : x + side] += 1
  assert taken.max() == 1
  # The sheet is hardly larger than what it holds.
  assert taken.mean() > 0.6


def test_patches_of_the_whole_picture_are_its_resized_copy(
  astronaut: np.ndarray,
) -> None:
  mips = detection._mips(Image.fromarray(astronaut))
  box = np.array([[0.0, 0.0, 512.0, 512.0], [-512.0, 0.0, 0.0, 512.0]])
  found = detection.patches(mips, box, 64)
  small = Image.fromarray(astronaut).resize((64, 64), Image.Resampling.BOX)
  # Halving three times rounds three times.
  np.testing.assert_allclose(found[0].astype(int), small, atol=3)
  assert (found[1] == 128).all()


def test_suppress_keeps_the_surer_of_two() -> None:
  boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [20, 0, 30, 10.0]])
  scores = np.array([0.7, 0.9, 0.8])
  assert detection.suppress(boxes, scores, 0.5).tolist() == [1, 2]
  assert detection.suppress(boxes, scores, 0.99).tolist() == [1, 2, 0]
  inside = np.array([[0, 0, 10, 10], [2, 2, 5, 5.0]])
  shared = detection.suppress(inside, scores[:2], 0.5)
  assert len(shared) == 2
  assert detection.suppress(inside, scores[:2], 0.5, smaller=True).tolist() == [
    1
  ]


def test_finds_the_astronaut(
  mtcnn_detector: detection.MtcnnDetector, astronaut: np.ndarray
) -> None:
  best = mtcnn_detector(astronaut)[0]
  assert best.score > 0.99
  # Read off the picture by eye, to about 3 pixels.
  seen = [[204, 100], [247, 103], [227, 128], [205, 141], [244, 142]]
  np.testing.assert_allclose(best.points, seen, atol=6)
  twice = np.asarray(Image.fromarray(astronaut).resize((1024, 1024)))
  large = mtcnn_detector(twice)[0]
  np.testing.assert_allclose(large.points / 2, best.points, atol=2)


@pytest.mark.parametrize("shape", [(1, 1), (11, 13), (700, 3), (12, 900)])
def test_tiny_and_narrow_photos_have_no_face(
  shape: tuple[int, int], mtcnn_detector: detection.MtcnnDetector
) -> None:
  assert mtcnn_detector(np.full((*shape, 3), 200, np.uint8)) == []


def test_shapes_match_the_files(weights: dict) -> None:
  for net in mtcnn.WINDOW:
    assert jax.tree.map(np.shape, weights[net]) == mtcnn.shapes(net)
  place = mtcnn_weights.folder()
  assert mtcnn_weights.folder(place) == place
