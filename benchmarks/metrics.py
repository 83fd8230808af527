"""Images a second of feature extraction, against PyTorch.

PYTHONPATH=. taskset -c 0,1 python benchmarks/metrics.py --json FILE

SqueezeNet with the same weights and the same pictures as float32, resized
already, in batches; the network and the mean over the picture. Both programs
are in one process and take turns batch by batch, in an order that alternates,
on the same cores (what `taskset` leaves; PyTorch is told how many). Features
must agree before anything is timed. `ratio` is the median over the rounds of
our time / PyTorch's, `cpu_ratio` that of processor time; `others` is the
processor time that other programs took meanwhile, in cores: above about 0.3 the
machine was not quiet, and PyTorch's barriers make it lose more than we do, so
that `ratio` flatters us, by ten and more at a load of 30. There, take one core
(`taskset -c 0`, OMP_WAIT_POLICY=passive): one thread waits for nobody. `clean`
is the whole of `metrics.extract.extract`, with resizing from 64 pixels, as
images/s.
"""

import argparse
import datetime
import json
import os
import pathlib
import statistics
import time

import jax
import numpy as np
import torch

from chibijax.metrics import extract
from chibijax.models import features
from chibijax.models.features import squeezenet

CORES = len(os.sched_getaffinity(0))
ROOT = pathlib.Path(__file__).resolve().parent.parent
SIDES = [64, 128, 224, 299]
SHARED = ROOT.parent / "shared" / "data" / "weights"


class Torch(torch.nn.Module):
  """torchvision's `squeezenet1_1().features` and the mean, as one module."""

  def __init__(self, network: features.Network) -> None:
    """Takes over the weights."""
    super().__init__()
    self.layers = torch.nn.ModuleDict()
    for name, values in network.params.items():
      h, _, i, o = values["kernel"].shape
      stride, padding = (2, 0) if name == "conv1" else (1, h // 2)
      layer = torch.nn.Conv2d(i, o, h, stride, padding)
      kernel = np.asarray(values["kernel"]).transpose(3, 2, 0, 1).copy()
      layer.weight.data = torch.from_numpy(kernel)
      layer.bias.data = torch.from_numpy(np.array(values["bias"]))
      self.layers[name.replace("/", "-")] = layer

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    """Preprocessed pictures [B, 3, H, W] to [B, 512]."""
    f, layers = torch.nn.functional, self.layers
    x = f.relu(layers["conv1"](x), inplace=True)
    for name in squeezenet.FIRES:
      if name in squeezenet.POOLS:
        x = f.max_pool2d(x, 3, 2, ceil_mode=True)
      small = f.relu(layers[f"{name}-squeeze1x1"](x), inplace=True)
      x = torch.cat(
        [
          f.relu(layers[f"{name}-expand{k}"](small), inplace=True)
          for k in ("1x1", "3x3")
        ],
        1,
      )
    return x.mean((2, 3))


def others_cores(start: float, own: float, busy: float) -> float:
  """Processor time that other programs took since, in cores."""
  elapsed = time.perf_counter() - start
  foreign = busy_seconds() - busy - (time.process_time() - own)
  return max(0.0, foreign / elapsed)


def busy_seconds() -> float:
  """Processor seconds that the whole machine has worked (Linux)."""
  fields = pathlib.Path("/proc/stat").read_text().split()[1:9]
  user, nice, system, _, _, *rest = map(int, fields)
  return (user + nice + system + sum(rest)) / os.sysconf("SC_CLK_TCK")


def measure(
  network: features.Network, side: int, batch: int, rounds: int
) -> dict[str, object]:
  """Times both at one size.

  Returns:
    One dict, ready for JSON.
  """
  rng = np.random.default_rng(0)
  pixels = rng.integers(0, 256, (batch, side, side, 3)).astype(np.float32)
  module = Torch(network).eval().to(memory_format=torch.channels_last)
  mean, std = (
    torch.tensor(v).reshape(1, 3, 1, 1)
    for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
  )
  given = torch.from_numpy(pixels).permute(0, 3, 1, 2)

  def ours() -> np.ndarray:
    return np.asarray(extract._embed(network, pixels))

  def theirs() -> np.ndarray:
    with torch.inference_mode():
      return module((given / 255 - mean) / std).numpy()

  a, b = ours(), theirs()
  error = float(np.abs(a - b).max() / np.abs(b).max())
  if not error < 1e-4:
    raise RuntimeError(f"Features disagree at {side} px: {error:.2e}.")
  times: dict[str, list[float]] = {"ours": [], "torch": []}
  cpu: dict[str, list[float]] = {"ours": [], "torch": []}
  arms = [("ours", ours), ("torch", theirs)]
  mark = time.perf_counter(), time.process_time(), busy_seconds()
  for i in range(rounds + 1):
    for name, arm in arms if i % 2 else arms[::-1]:
      start, worked = time.perf_counter(), time.process_time()
      arm()
      if i:  # The first round warms the caches.
        times[name].append(time.perf_counter() - start)
        cpu[name].append(time.process_time() - worked)
  others = others_cores(*mark)
  raw = np.uint8(pixels[:, :64, :64])
  extract.extract(raw, network, batch=batch, side=side)  # Compiles.
  start = time.perf_counter()
  extract.extract(raw, network, batch=batch, side=side)
  clean = batch / (time.perf_counter() - start)
  ratios = [x / y for x, y in zip(times["ours"], times["torch"])]
  return {
    "side": side,
    "batch": batch,
    "rounds": rounds,
    "ours_images_per_s": batch / statistics.median(times["ours"]),
    "torch_images_per_s": batch / statistics.median(times["torch"]),
    "ratio": statistics.median(ratios),
    "ratio_iqr": [float(q) for q in np.percentile(ratios, [25, 75])],
    "cpu_ratio": statistics.median(
      x / y for x, y in zip(cpu["ours"], cpu["torch"])
    ),
    "clean_images_per_s": clean,
    "relative_error": error,
    "others": others,
    "seconds": times,
  }


def main() -> None:
  """Runs the sizes asked for and prints and writes the results."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument(
    "--sides", type=int, nargs="+", default=[64, 128, 224, 299]
  )
  parser.add_argument("--batch", type=int, default=32)
  parser.add_argument("--rounds", type=int, default=15)
  parser.add_argument("--weights", default=str(SHARED))
  parser.add_argument("--json", type=pathlib.Path)
  args = parser.parse_args()
  os.environ["NPROC"] = str(CORES)  # Of JAX, read when it first computes.
  torch.set_num_threads(CORES)
  network = features.load("squeezenet", args.weights)
  # The weights do not matter to the time: as torchvision's network, so that
  # both sides pool alike.
  network = network.replace(source="torch")
  network = jax.device_put(network)
  results = []
  print(
    "| px | ours img/s | torch img/s | time ratio (IQR) | CPU ratio | clean |"
    " others |"
  )
  print("|" + "---|" * 7)
  for side in args.sides:
    r = measure(network, side, args.batch, args.rounds)
    results.append(r)
    low, high = r["ratio_iqr"]
    print(
      f"| {side} | {r['ours_images_per_s']:.0f} | {r['torch_images_per_s']:.0f}"
      f" | {r['ratio']:.2f} ({low:.2f}-{high:.2f}) |"
      f" {r['cpu_ratio']:.2f} | {r['clean_images_per_s']:.0f} |"
      f" {r['others']:.2f} |",
      flush=True,
    )
  if args.json:
    note = {
      "date": datetime.date.today().isoformat(),
      "cores": CORES,
      "jax": jax.__version__,
      "torch": torch.__version__,
      "network": network.describe(),
      "results": results,
    }
    args.json.write_text(json.dumps(note, indent=1) + "\n")


if __name__ == "__main__":
  main()
