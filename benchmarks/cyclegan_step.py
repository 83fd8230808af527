"""Time of one full CycleGAN or CUT training step, against PyTorch.

python benchmarks/cyclegan_step.py --json benchmarks/cyclegan_step.json
python benchmarks/cyclegan_step.py --model cut --arms ours batched torch \
  --sizes 128 --batches 1 --json benchmarks/cut_step.json

Each arm (see `cyclegan_arms.py` and `cut_arms.py`) is a process of its own with
all cores. They take turns step by step, in an order that rotates, so that only
one computes at a time and a slow spell of the machine meets them all. Losses of
the first step must agree before anything is timed. Ratios are medians over the
rounds of arm / torch; `others` is the processor time that other programs took
during a step, in cores: above about 0.3 the machine was not quiet.
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

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
ARMS = ("ours", "batched", "rewrites", "naive", "torch", "compiled")
# First-step losses against the first arm's: float32 in another order of
# summation, or bfloat16's 8 bits through some 30 layers.
AGREEMENT = {"float32": 1e-4, "bfloat16": 5e-2}


class Worker:
  """One arm's process."""

  def __init__(
    self, model: str, arm: str, size: int, batch: int, precision: str
  ) -> None:
    cores = str(os.cpu_count())
    env = {**os.environ, "OMP_NUM_THREADS": cores}
    env["PYTHONPATH"] = os.pathsep.join(
      [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    script = str(pathlib.Path(__file__).with_name(f"{model}_arms.py"))
    self.arm = arm
    self.process = subprocess.Popen(
      [sys.executable, script, arm, str(size), str(batch), precision],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
      env=env,
    )
    self.first = self._read()

  def _read(self) -> dict:
    line = self.process.stdout.readline()
    if not line:
      raise RuntimeError(f"arm {self.arm} ended: {self.process.wait()}")
    return json.loads(line)

  def ask(self, word: str) -> dict:
    """Sends a line, waits for the answer."""
    self.process.stdin.write(word + "\n")
    self.process.stdin.flush()
    return self._read()


def busy_seconds() -> float:
  """Processor seconds that the whole machine has worked (Linux)."""
  try:
    fields = pathlib.Path("/proc/stat").read_text().split()[1:9]
  except OSError:
    return float("nan")
  user, nice, system, _, _, *rest = map(int, fields)
  return (user + nice + system + sum(rest)) / os.sysconf("SC_CLK_TCK")


def measure(
  model: str,
  arms: list[str],
  size: int,
  batch: int,
  precision: str,
  steps: int,
) -> list[dict]:
  """Times all arms in one setting.

  Returns:
    One dict per arm, ready for JSON.
  """
  workers = [Worker(model, arm, size, batch, precision) for arm in arms]
  reference = np.array(workers[0].first["losses"])
  for worker in workers[1:]:
    error = np.abs(np.array(worker.first["losses"]) / reference - 1).max()
    if not error <= AGREEMENT[precision]:
      raise RuntimeError(
        f"Losses disagree: {arms[0]} {reference.tolist()},"
        f" {worker.arm} {worker.first['losses']}."
      )
  rounds = {arm: [] for arm in arms}
  for worker in workers:  # warm caches; not counted
    worker.ask("step")
  for r in range(steps):
    for worker in workers[r % len(workers) :] + workers[: r % len(workers)]:
      start, before = time.perf_counter(), busy_seconds()
      answer = worker.ask("step")
      elapsed = time.perf_counter() - start
      foreign = busy_seconds() - before - answer["cpu_s"]
      answer["others"] = max(0.0, foreign / elapsed)
      rounds[worker.arm].append(answer)
  results = []
  for worker in workers:
    last = worker.ask("quit")
    worker.process.wait()
    results.append(
      {
        "arm": worker.arm,
        "size": size,
        "batch": batch,
        "precision": precision,
        **summary(rounds[worker.arm], rounds.get("torch")),
        **worker.first,
        **last,
      }
    )
  return results


def summary(rounds: list[dict], torch: list[dict] | None) -> dict:
  """Statistics of one arm's steps, in seconds."""
  wall = np.array([r["wall_s"] for r in rounds])
  out = {
    "median_s": float(np.median(wall)),
    "iqr_s": [float(q) for q in np.percentile(wall, [25, 75])],
    "min_s": float(wall.min()),
    "cpu_s": float(np.median([r["cpu_s"] for r in rounds])),
    "others": float(np.median([r["others"] for r in rounds])),
    "wall_s": wall.tolist(),
  }
  if torch:
    ratio = wall / np.array([r["wall_s"] for r in torch])
    cpu = np.array([r["cpu_s"] for r in rounds])
    cpu = cpu / np.array([r["cpu_s"] for r in torch])
    out["ratio"] = float(np.median(ratio))
    out["ratio_iqr"] = [float(q) for q in np.percentile(ratio, [25, 75])]
    out["cpu_ratio"] = float(np.median(cpu))
  return out


def table(results: list[dict]) -> str:
  """The results as a Markdown table."""
  lines = [
    "| size | batch | precision | arm | median s | IQR | CPU s | ratio to"
    " torch (IQR) | CPU ratio | start s | peak MiB | others |",
    "|" + "---|" * 12,
  ]
  for r in results:
    low, high = r["iqr_s"]
    ratio = cpu = ""
    if "ratio" in r:
      a, b = r["ratio_iqr"]
      ratio = f"{r['ratio']:.2f} ({a:.2f}-{b:.2f})"
      cpu = f"{r['cpu_ratio']:.2f}"
    peak = r.get("device_peak_mib", r["peak_mib"])
    lines.append(
      f"| {r['size']} | {r['batch']} | {r['precision']} | {r['arm']} |"
      f" {r['median_s']:.3f} | {low:.3f}-{high:.3f} | {r['cpu_s']:.2f} |"
      f" {ratio} | {cpu} | {r['start_s']:.1f} | {peak:.0f} |"
      f" {r['others']:.2f} |"
    )
  return "\n".join(lines)


def main() -> None:
  """Runs the settings asked for and prints and writes the results."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument(
    "--model", default="cyclegan", choices=["cyclegan", "cut"]
  )
  parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128, 256])
  parser.add_argument("--batches", type=int, nargs="+", default=[1, 8])
  parser.add_argument(
    "--precision", nargs="+", default=["float32"], choices=list(AGREEMENT)
  )
  parser.add_argument(
    "--arms", nargs="+", default=["ours", "naive", "torch"], choices=ARMS
  )
  parser.add_argument("--steps", type=int, default=10)
  parser.add_argument("--json", type=pathlib.Path)
  parser.add_argument(
    "--quick", action="store_true", help="64 px, batch 1, three steps"
  )
  args = parser.parse_args()
  if args.quick:
    args.sizes, args.batches, args.steps = [64], [1], 3
  results = []
  for precision in args.precision:
    for size in args.sizes:
      for batch in args.batches:
        results += measure(
          args.model, args.arms, size, batch, precision, args.steps
        )
        print(table(results), flush=True)
        if args.json:
          note = {
            "date": datetime.date.today().isoformat(),
            "machine": platform.machine(),
            "processor": processor(),
            "cores": os.cpu_count(),
            "results": results,
          }
          args.json.write_text(json.dumps(note, indent=1) + "\n")


def processor() -> str:
  """The processor's name and the vector instructions that matter here."""
  try:
    text = pathlib.Path("/proc/cpuinfo").read_text()
  except OSError:
    return platform.processor()
  lines = dict(
    (key.strip(), value.strip())
    for key, _, value in (line.partition(":") for line in text.splitlines())
  )
  wanted = ("avx2", "avx512f")
  found = [f for f in wanted if f in lines.get("flags", "").split()]
  return " ".join([lines.get("model name", ""), *found])


if __name__ == "__main__":
  main()
