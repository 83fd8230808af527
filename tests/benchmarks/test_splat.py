"""The splat benchmark: its scene, its floor, its verdicts, and a tiny run."""

import importlib
import json
import pathlib
import subprocess
import sys
import types

import numpy as np
import pytest

from chibijax.ops.splat import ffi

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "benchmarks"
SETTING = dict(gaussians=1000, channels=4, width=64, height=32, batch=1)


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch):
  """Imports a script of the benchmark by name."""
  monkeypatch.syspath_prepend(str(FOLDER))
  return importlib.import_module


def draw(scene: types.SimpleNamespace, projected: tuple) -> tuple:
  """Composites one Gaussian after the other; picture and pairs, in order."""
  centre, conic, depth, _ = projected
  y, x = np.mgrid[: scene.height, : scene.width] + 0.5
  image = np.zeros((scene.height, scene.width, scene.colors.shape[1]))
  through = np.ones(image.shape[:2])
  done = np.zeros(image.shape[:2], bool)
  pairs = [[] for _ in range(through.size)]
  for i in np.argsort(depth):
    dx, dy = centre[i, 0] - x, centre[i, 1] - y
    a, b, c = conic[i]
    power = 0.5 * (a * dx * dx + c * dy * dy) + b * dx * dy
    alpha = np.minimum(scene.opacities[i] * np.exp(-power), 0.999)
    seen = (alpha >= 1 / 255) & ~done
    done |= seen & (through * (1 - alpha) <= 1e-4)
    seen &= ~done
    image += np.where(seen, alpha * through, 0)[..., None] * scene.colors[i]
    through = np.where(seen, through * (1 - alpha), through)
    for pixel in np.flatnonzero(seen):
      pairs[pixel].append(i)
  return image, 1 - through, pairs


def test_pairs_are_those_of_a_plain_compositor(module) -> None:
  scene_module = module("splat_scene")
  # Small enough a picture for the head that pixels fill up.
  scene = scene_module.make(1500, 3, 24, 16)
  *_, expected = draw(scene, scene_module.project(scene))
  who, pixel = scene_module.pairs(scene, chunk=400)
  assert (np.diff(pixel) >= 0).all()
  found = np.split(who, np.searchsorted(pixel, np.arange(1, 24 * 16)))
  assert [list(f) for f in found] == expected
  assert max(map(len, expected)) > 10
  # The rear of the head is hidden behind full pixels, and does not count.
  centre, conic, _, box = scene_module.project(scene)
  everything = np.arange(len(centre))
  met = scene_module._meetings(scene, everything, centre, conic, box)[0]
  assert len(who) < 0.9 * len(met)


def test_scene_has_the_promised_sizes(module) -> None:
  scene_module = module("splat_scene")
  scene = scene_module.make(4000, 5, 512, 512, cameras=3)
  assert scene.colors.shape == (4000, 5)
  assert scene.viewmats.shape == (3, 4, 4)
  norms = np.linalg.norm(scene.quats, axis=1)
  np.testing.assert_allclose(norms, 1, atol=1e-5)
  assert 0.1 <= scene.opacities.min() and scene.opacities.max() <= 0.99
  for camera in range(3):
    centre, _, depth, box = scene_module.project(scene, camera)
    assert (depth > 5).all()
    assert (np.abs(centre - 256) < 256).all()
    assert 2 < np.median(box) < 6
  image, alpha = scene.cotangents()
  assert image.shape == (3, 512, 512, 5) and alpha.shape == (3, 512, 512)


def test_floor_counts_operations_and_bytes(module) -> None:
  floor = module("splat_floor")
  found = floor.seconds({**SETTING, "pairs": 500}, (1e3, 1e4))
  assert found["forward"]["channels"] == 500 * 4 * 2 / 1e3
  assert found["both"]["channels"] == 500 * 4 * 2 * 3 / 1e3
  assert found["forward"]["pair"] > found["forward"]["channels"]
  # 15 numbers a Gaussian, 5 a pixel.
  assert found["forward"]["bytes"] == 4 * (15 * 1000 + 5 * 64 * 32) / 1e4


def results(times: dict[tuple[str, int], float]) -> list[dict]:
  """Rows of (arm, threads) with a time for forward, twice that for both."""
  head = dict(gaussians=180_000, channels=32, width=512, height=512, batch=1)
  rows = []
  for (arm, threads), seconds in times.items():
    row = {"arm": arm, "threads": threads, **head, "pairs": 7_000_000}
    row["search_s"] = 4.0
    for scale, kind in enumerate(("forward", "both"), 1):
      wall = seconds * scale
      row[kind] = dict(median_s=wall, iqr_s=[wall, wall], others=0.0)
    rows.append(row)
  return rows


def test_goals_compare_with_what_was_measured(module) -> None:
  splat_goals = module("splat_goals")
  rows = results({("ours", 1): 0.3, ("ours", 4): 0.09, ("torch", 4): 5.0})
  rows.append({**rows[-1], "arm": "reference", "skipped": "over 15 s"})
  del rows[-1]["forward"], rows[-1]["both"]
  splat_goals.add_ratios(rows, {1: (1e11, 1e10), 4: (4e11, 2e10)})
  found = {g["goal"].split(" (")[0]: g for g in splat_goals.goals(rows)}
  assert found["forward: >= 50 x gsplat's torch reference"]["met"]
  assert found["forward: 180k, 32 channels, 512², 4 cores <= 150 ms"]["met"]
  searched = found["forward: >= 50 x that and the search for its pairs"]
  assert searched["worst"] == pytest.approx((5 + 4) / 0.09)
  both = "forward + backward: 180k, 32 channels, 512², 4 cores <= 150 ms"
  assert not found[both]["met"]
  assert found[both]["worst"] == pytest.approx(180)
  assert found["forward: 4 threads >= 3.2 x 1 thread"]["worst"] == (
    pytest.approx(0.3 / 0.09)
  )
  table = splat_goals.table(rows).splitlines()
  assert len({line.count("|") for line in table}) == 1
  assert "not run: over 15 s" in table[-1]
  assert "55.6" in table[4]  # torch over ours
  assert "missed" in splat_goals.lines(rows)


def test_gpu_goals_are_judged_on_gpus_only(module) -> None:
  splat_goals = module("splat_goals")
  rows = results({("ours", 0): 5e-4, ("gsplat", 0): 7e-4, ("splax", 0): 7e-4})
  splat_goals.add_ratios(rows, {})
  found = {g["goal"].split(" (")[0]: g["met"] for g in splat_goals.goals(rows)}
  assert found["forward: >= 1.3 x gsplat"]
  assert not found["forward: >= 1.5 x splax"]
  assert found["forward: 180k, 32 channels, 512² <= 0.6 ms"]
  assert not any("torch" in goal for goal in found)


def test_disagreement_is_an_error(module) -> None:
  splat_goals = module("splat_goals")
  rng = np.random.default_rng(0)
  names = [f"grad_{n}" for n in module("splat_scene").GRADIENTS]
  first = {n: rng.random((8, 8, 3)) for n in ("image", "alpha", *names)}
  error = splat_goals.compare("torch", first, first)
  assert error == {"image_mean": 0, "image_max": 0, "gradients": 0}
  worse = {**first, "grad_quats": first["grad_quats"] * 1.05}
  assert splat_goals.compare("splax", first, worse)["gradients"] > 0.04
  with pytest.raises(splat_goals.DisagreementError, match="torch"):
    splat_goals.compare("torch", first, worse)


def test_nerfacc_functions_composite(module) -> None:
  torch = pytest.importorskip("torch")
  nerfacc = module("splat_arms")._nerfacc()
  alphas = torch.tensor([0.5, 0.25, 0.9, 0.1], dtype=torch.float64)
  alphas.requires_grad_()
  rays = torch.tensor([0, 0, 2, 2])
  options = dict(ray_indices=rays, n_rays=4)
  weights, through = nerfacc.render_weight_from_alpha(alphas, **options)
  np.testing.assert_allclose(through.detach(), [1, 0.5, 1, 0.1])
  np.testing.assert_allclose(weights.detach(), [0.5, 0.125, 0.9, 0.01])
  total = nerfacc.accumulate_along_rays(weights, None, **options)
  np.testing.assert_allclose(total.detach()[:, 0], [0.625, 0, 0.91, 0])
  (grad,) = torch.autograd.grad(total.sum(), alphas)
  np.testing.assert_allclose(grad, [0.75, 0.5, 0.9, 0.1])


def run(*arms: str, written: pathlib.Path) -> dict:
  """Runs the script on a tiny scene; what it wrote, and "printed"."""
  flags = "--gaussians 300 --channels 3 --sizes 64x64 --threads 1 --rounds 1"
  done = subprocess.run(
    [
      sys.executable,
      FOLDER / "splat.py",
      *flags.split(),
      *("--busy", "--json", written, "--arms", *arms),
    ],
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr[-2000:]
  return {**json.loads(written.read_text()), "printed": done.stdout}


native = pytest.mark.skipif(
  not ffi.available(), reason="the native library is not built"
)


@native
def test_tiny_run_writes_a_table(tmp_path: pathlib.Path) -> None:
  note = run("ours", "splax", written=tmp_path / "out.json")
  ours, splax = note["results"]
  assert ours["both"]["median_s"] > 0
  assert ours["pairs"] > 300
  assert f"{1e3 * ours['forward']['median_s']:.4g} (" in note["printed"]
  assert note["goals"]
  # On the CPU there is no splax, whether it is installed or not.
  assert splax["skipped"]


@native
@pytest.mark.slow
def test_arms_agree(tmp_path: pathlib.Path) -> None:
  note = run("ours", "reference", written=tmp_path / "out.json")
  _, reference = note["results"]
  assert "both" in reference
  assert reference["error"]["image_mean"] <= 1e-5
  assert reference["error"]["gradients"] <= 2e-3
