"""Time of one training step of R3GAN and StyleGAN2, against PyTorch.

python benchmarks/gan_step.py --json benchmarks/gan_step.json

Each arm (see `gan_arms.py`) is a process of its own with all cores; they take
turns step by step, in an order that rotates, as in `cyclegan_step.py`. A step
is the discriminator's update and then the generator's, with R3GAN's R1 and R2;
of StyleGAN2 also the path length every 4 steps and R1 every 16, so 16 steps are
a whole cycle: `cycle_ratio` is of the sums over the rounds, `ratio` the median
over the rounds of arm / torch.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import subprocess
import sys
import time

import cyclegan_step
import numpy as np

FOLDER = pathlib.Path(__file__).resolve().parent
ARMS = ("ours", "torch")


class Worker(cyclegan_step.Worker):
  """One arm's process."""

  def __init__(self, model: str, arm: str, size: int, batch: int) -> None:
    env = {**os.environ, "OMP_NUM_THREADS": str(os.cpu_count())}
    env["PYTHONPATH"] = os.pathsep.join(
      [str(FOLDER.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    self.arm = arm
    self.process = subprocess.Popen(
      [
        sys.executable,
        str(FOLDER / "gan_arms.py"),
        model,
        arm,
        str(size),
        str(batch),
      ],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
      env=env,
    )
    self.first = self._read()


def measure(model: str, size: int, batch: int, steps: int) -> list[dict]:
  """Times both arms in one setting; one dict for each, ready for JSON."""
  workers = [Worker(model, arm, size, batch) for arm in ARMS]
  rounds = {arm: [] for arm in ARMS}
  for worker in workers:  # warm caches; not counted
    worker.ask("step")
  for r in range(steps):
    for worker in workers[r % 2 :] + workers[: r % 2]:
      start = time.perf_counter()
      before = cyclegan_step.busy_seconds()
      answer = worker.ask("step")
      elapsed = time.perf_counter() - start
      foreign = cyclegan_step.busy_seconds() - before - answer["cpu_s"]
      answer["others"] = max(0.0, foreign / elapsed)
      rounds[worker.arm].append(answer)
  results = []
  for worker in workers:
    worker.ask("quit")
    worker.process.wait()
    found = cyclegan_step.summary(rounds[worker.arm], rounds["torch"])
    both = (
      sum(r["wall_s"] for r in rounds[name]) for name in (worker.arm, "torch")
    )
    found["cycle_ratio"] = next(both) / next(both)
    results.append(
      {
        "model": model,
        "arm": worker.arm,
        "size": size,
        "batch": batch,
        "images_per_second": batch / found["median_s"],
        **found,
        **worker.first,
      }
    )
  return results


def main() -> None:
  """Runs the settings asked for and prints and writes the results."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--models", nargs="+", default=["r3gan", "stylegan2"])
  parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128])
  parser.add_argument("--batch", type=int, default=4)
  parser.add_argument("--steps", type=int, default=16)
  parser.add_argument("--json", type=pathlib.Path)
  args = parser.parse_args()
  results = []
  for model in args.models:
    for size in args.sizes:
      results += measure(model, size, args.batch, args.steps)
      for r in results[-2:]:
        print(
          f"{model} {size} px batch {args.batch} {r['arm']}: "
          f"{r['images_per_second']:.2f} images/s, ratio {r['ratio']:.2f}, "
          f"of sums {r['cycle_ratio']:.2f}, "
          f"CPU ratio {r['cpu_ratio']:.2f}, others {r['others']:.1f}",
          flush=True,
        )
      if args.json:
        note = {
          "date": datetime.date.today().isoformat(),
          "machine": platform.machine(),
          "processor": cyclegan_step.processor(),
          "cores": os.cpu_count(),
          "numpy": np.__version__,
          "results": results,
        }
        args.json.write_text(json.dumps(note, indent=1) + "\n")


if __name__ == "__main__":
  main()
