"""Makes the goldens of the metrics with the packages that others use.

    pip install --no-deps --target DIR \\
      clean-fid torch-fidelity lpips torchvision
    PYTHONPATH=DIR:. /path/to/python/with/torch \\
      tests/golden/make_metrics.py HEADS

HEADS is lpips' `weights/v0.1/squeeze.pth` (in the package, too). Writes
`metrics.npz` beside this file; the tests read it and import none of them. Made
with clean-fid 0.1.35, torch-fidelity 0.4.0, lpips 0.1.4, torchvision 0.29.2 and
torch 2.13 on a CPU. No weights of others' trainings but the heads are stored:
the trunk's are random, from `features.untrained`.
"""

import pathlib
import sys
import types

import jax
import numpy as np
import torch

FOLDER = pathlib.Path(__file__).resolve().parent


def lpips_golden(heads: str) -> dict[str, np.ndarray]:
  """The lpips package on torchvision's SqueezeNet with our random weights."""
  # A torchvision whose compiled part does not suit this torch cannot register
  # its operators; networks need none of them.
  name = "torchvision._meta_registrations"
  sys.modules[name] = types.ModuleType(name)
  import lpips
  from torchvision import models

  from chibijax.models import features
  from chibijax.models.features import squeezenet

  network = features.untrained("squeezenet", jax.random.key(7))
  trunk = models.squeezenet1_1(weights=None)
  state = trunk.state_dict()
  for layer, values in network.params.items():
    at = squeezenet.torch_name(layer)
    kernel = np.asarray(values["kernel"]).transpose(3, 2, 0, 1).copy()
    state[f"{at}.weight"] = torch.from_numpy(kernel)
    state[f"{at}.bias"] = torch.from_numpy(np.array(values["bias"]))
  trunk.load_state_dict(state)
  models.squeezenet1_1 = lambda *_, **__: trunk
  distance = lpips.LPIPS(
    net="squeeze", pnet_rand=True, model_path=heads, verbose=False
  ).eval()
  rng = np.random.default_rng(5)
  x = rng.integers(0, 256, (3, 48, 48, 3), np.uint8)
  y = np.clip(x + rng.integers(-60, 60, x.shape), 0, 255).astype(np.uint8)
  y[2] = np.roll(x[2], 5, 0)

  def tensor(v: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.float32(v) / 127.5 - 1).permute(0, 3, 1, 2)

  with torch.no_grad():
    values = distance(tensor(x), tensor(y)).numpy().reshape(-1)
  found = {"lpips_x": x, "lpips_y": y, "lpips_distance": values}
  for i, head in enumerate(distance.lins):
    found[f"lpips_head{i}"] = head.model[-1].weight.detach().numpy().reshape(-1)
  return found


def set_golden() -> dict[str, np.ndarray]:
  """Distances of sets of features, by clean-fid and torch-fidelity."""
  from cleanfid import fid as clean
  from torch_fidelity import metric_fid, metric_kid, metric_prc

  rng = np.random.default_rng(11)
  mix = rng.normal(size=(24, 24)) / 5
  a = np.float32(rng.normal(size=(160, 24)) @ mix + 0.3)
  b = np.float32(rng.normal(size=(160, 24)) @ mix * 1.2)
  full = {"kid_subsets": 1, "kid_subset_size": 160, "verbose": False}
  kernel = {
    "kid_kernel": "poly",
    "kid_kernel_poly_degree": 3,
    "kid_kernel_poly_gamma": None,
    "kid_kernel_poly_coef0": 1,
    "rng_seed": 0,
  }
  shared = {"prc_neighborhood": 3, "prc_batch_size": 64, "verbose": False}
  doubles = [torch.from_numpy(v.astype(np.float64)) for v in (a, b)]
  prc = metric_prc.prc_features_to_metric(
    doubles[1], doubles[0], save_cpu_ram=False, **shared
  )
  statistics = [
    metric_fid.fid_features_to_statistics(torch.from_numpy(v)) for v in (a, b)
  ]
  return {
    "a": a,
    "b": b,
    "fid_clean": clean.fid_from_feats(
      a.astype(np.float64), b.astype(np.float64)
    ),
    "fid_fidelity": metric_fid.fid_statistics_to_metric(*statistics, False)[
      metric_fid.KEY_METRIC_FID
    ],
    "kid_clean": clean.kernel_distance(
      a.astype(np.float64), b.astype(np.float64), num_subsets=1
    ),
    "kid_fidelity": metric_kid.kid_features_to_metric(
      *doubles, **full, **kernel
    )[metric_kid.KEY_METRIC_KID_MEAN],
    "precision": prc[metric_prc.KEY_METRIC_PRECISION],
    "recall": prc[metric_prc.KEY_METRIC_RECALL],
  }


def resize_golden() -> dict[str, np.ndarray]:
  """clean-fid's resizing, smaller and larger."""
  from cleanfid import resize

  picture = np.random.default_rng(3).integers(0, 256, (40, 56, 3), np.uint8)
  return {
    "picture": picture,
    **{
      f"resized{side}": resize.make_resizer(
        "PIL", False, "bicubic", (side, side)
      )(picture)
      for side in (23, 61)
    },
  }


def main() -> None:
  """Writes the file."""
  found = lpips_golden(sys.argv[1]) | set_golden() | resize_golden()
  np.savez_compressed(FOLDER / "metrics.npz", **found)


if __name__ == "__main__":
  main()
