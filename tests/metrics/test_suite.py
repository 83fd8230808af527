"""Metrics by name, and the pictures of an evaluation."""

import pathlib

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from chibijax.errors import UserError
from chibijax.metrics import collect, suite
from chibijax.models import features
from chibijax.models.features import squeezenet


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
  """A folder with a random SqueezeNet in torchvision's form, and heads."""
  folder = tmp_path_factory.mktemp("weights")
  network = features.untrained("squeezenet", jax.random.key(0))
  state = {}
  for layer, values in network.params.items():
    at = squeezenet.torch_name(layer)
    kernel = np.asarray(values["kernel"]).transpose(3, 2, 0, 1)
    state[f"{at}.weight"] = np.ascontiguousarray(kernel)
    state[f"{at}.bias"] = np.asarray(values["bias"])
  save_file(state, folder / "squeezenet1_1.safetensors")
  heads = {
    f"lin{i}.model.1.weight": np.ones((1, n, 1, 1), np.float32)
    for i, n in enumerate((64, 128, 256, 384, 384, 512, 512))
  }
  save_file(heads, folder / "lpips-squeeze.safetensors")
  return folder


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
  return np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), np.uint8)


def make(
  weights: pathlib.Path, judged: np.ndarray, reference: np.ndarray, **options
) -> suite.Suite:
  return suite.Suite(
    judged,
    reference,
    find=lambda name: suite.find_weights(name, weights),
    batch=4,
    **options,
  )


def test_pairs_and_sets(weights: pathlib.Path, pictures: np.ndarray) -> None:
  sets = make(weights, 255 - pictures, pictures, paired=True)
  wanted = (
    *("kid_squeeze", "fd_squeeze", "precision_squeeze", "recall_squeeze"),
    *("lpips_squeeze", "diversity_squeeze", "psnr", "ssim", "l1"),
    *("inversion", "checkerboard"),
  )
  got = sets.measure(wanted)
  # Not the published weights, so not the published names.
  perceptual = "PD-squeeze-torch-heads"
  assert list(got) == [
    *("KID-squeeze", "FD-squeeze", "precision-squeeze", "recall-squeeze"),
    *(perceptual, f"diversity-{perceptual}", "psnr", "ssim", "l1"),
    *("inversion", "checkerboard"),
  ]
  assert all(np.isfinite(v.value) and v.n >= 6 for v in got.values())
  assert got["inversion"].value == pytest.approx(-1, abs=1e-3)
  assert [n.get("network", n.get("name")) for n in sets.networks] == [
    "squeezenet",
    perceptual,
  ]
  # By group the same features are used; of pairs, the same rows of both.
  metric = sets.metric("l1")
  half = np.arange(3)
  assert metric.better == "lower" and metric.on(half).n == 3
  want = np.abs(255 - 2.0 * pictures[:3]).mean() / 255
  assert metric.on(half).value == pytest.approx(want, rel=1e-5)


def test_equal_sets_are_zero_apart(
  weights: pathlib.Path, pictures: np.ndarray
) -> None:
  got = make(weights, pictures, pictures, paired=False).measure(
    ("fd_squeeze", "precision_squeeze")
  )
  assert got["FD-squeeze"].value == pytest.approx(0, abs=1e-6)
  assert got["precision-squeeze"].value == 1


@pytest.mark.parametrize(
  ("name", "paired", "sentence"),
  [
    ("kid_resnet", True, "no metric 'kid_resnet'; expected one of kid_squeeze"),
    ("lpips_squeeze", False, "lpips_squeeze needs pairs"),
    ("kid_vgg", True, "Weights of vgg16 were not found"),
  ],
)
def test_problems_are_sentences(
  weights: pathlib.Path,
  pictures: np.ndarray,
  monkeypatch: pytest.MonkeyPatch,
  name: str,
  paired: bool,
  sentence: str,
) -> None:
  monkeypatch.delenv("CHIBIJAX_VGG16", raising=False)
  with pytest.raises(UserError, match=sentence):
    make(weights, pictures, pictures, paired=paired).measure((name,))


def test_sets_that_cannot_be(
  weights: pathlib.Path, pictures: np.ndarray
) -> None:
  with pytest.raises(UserError, match="two pictures at least"):
    make(weights, pictures[:1], pictures, paired=False)
  with pytest.raises(UserError, match="cannot be paired"):
    make(weights, pictures[:3], pictures, paired=True)
  sizes = [pictures[0], pictures[1][:20]]
  with pytest.raises(UserError, match="of one size"):
    make(weights, sizes, sizes, paired=True).measure(("l1",))
  small = pictures[:, :20]
  with pytest.raises(UserError, match="Pairs need one size"):
    make(weights, pictures, small, paired=True).measure(("l1",))


def test_collected_pairs(pictures: np.ndarray) -> None:
  collector = collect.Collector()
  signed = np.float32(pictures) / 127.5 - 1
  mask = np.array([True, True, False])
  for rows in (slice(0, 3), slice(3, 6)):
    collector.add(
      {"image/output": 0.9 * signed[rows], "image/target": signed[rows]}, mask
    )
  got = collector.measure(("l1",), lambda _: None, "run, step 3")
  assert got["metrics"]["l1"]["n"] == 4  # Padding is left out.
  assert got["manifest"]["judged"] == "run, step 3"
  assert got["manifest"]["reference"] == "the held-out set's image/target"


def test_collected_sets(weights: pathlib.Path, pictures: np.ndarray) -> None:
  def find(name: str) -> pathlib.Path | None:
    return suite.find_weights(name, weights)

  signed = np.float32(pictures) / 127.5 - 1
  mask = np.ones(6, bool)
  collector = collect.Collector()
  collector.add({"image/output": signed, "image_b": pictures}, mask)
  got = collector.measure(("fd_squeeze",), find, "a run")
  # The bytes come back as they were.
  assert got["metrics"]["FD-squeeze"]["value"] == pytest.approx(0, abs=1e-6)
  with pytest.raises(UserError, match="l1 needs pairs"):
    collector.measure(("l1",), find, "a run")
  samples = collect.Collector()
  samples.add(
    {"image/real": signed} | {f"image/sample_{i}": signed for i in range(2)},
    mask,
  )
  got = samples.measure(("checkerboard",), find, "a run")
  assert got["manifest"]["judged_count"] == 12
  with pytest.raises(UserError, match="shows no pictures"):
    collect.Collector().add({"metric/x": mask}, mask)
