"""Time of rendering Gaussians and of the gradients, against other programs.

python benchmarks/splat.py --json benchmarks/splat.json
python benchmarks/splat.py --gpu --json benchmarks/splat_gpu.json

Every arm (see `splat_arms.py`) draws the same head (`splat_scene.py`) in a
process of its own, on as many cores as it may use. The processes take turns
call by call, in an order that rotates, so that only one computes at a time;
medians are shown. Images and gradients must agree before anything is timed.
`floor` is what the pairs of pixel and Gaussian cost at the processor's
measured peak (`splat_floor.py`); `x floor` is a time over it: over the pairs'
channels alone, over all that a pair needs, and over the bytes that must move.
An arm is not tried where a call would take longer than --limit; the reference
runs only on the most threads, for it gains nothing by them.
"""

import argparse
import contextlib
import datetime
import json
import os
import pathlib
import select
import shlex
import subprocess
import sys
import tempfile
import time

import numpy as np
import splat_floor
import splat_goals
import splat_scene
from cyclegan_step import busy_seconds, processor
from splat_arms import missing

ROOT = pathlib.Path(__file__).resolve().parent.parent
KINDS = ("forward", "both")
CPU_ARMS = ("ours", "reference", "torch")
GPU_ARMS = ("ours", "gsplat", "splax")
BUSY = 0.3  # cores that others may use while we measure
START_LIMIT = 900  # seconds to import, build and compile


class EndedError(RuntimeError):
  """An arm's process ended or was ended."""


class Worker:
  """One arm's process on so many threads (0: on the GPU)."""

  def __init__(self, arm: str, threads: int) -> None:
    env = {**os.environ}
    if threads:
      # XLA and OpenMP count the cores they may run on, or these.
      env |= {"NPROC": str(threads), "OMP_NUM_THREADS": str(threads)}
      env |= {"JAX_PLATFORMS": "cpu"}
    else:  # all share one GPU's memory; splax wants SciPy so
      env |= {"XLA_PYTHON_CLIENT_MEM_FRACTION": ".3", "SCIPY_ARRAY_API": "1"}
    env["PYTHONPATH"] = os.pathsep.join(
      [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    script = str(pathlib.Path(__file__).with_name("splat_arms.py"))
    self.process = subprocess.Popen(
      [sys.executable, script, arm, str(threads)],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
      env=env,
    )

  def send(self, words: str) -> None:
    """Sends a line; whether it arrived is known when reading."""
    with contextlib.suppress(OSError):
      self.process.stdin.write(words + "\n")
      self.process.stdin.flush()

  def read(self, limit: float) -> dict:
    """Waits for the answer."""
    if not select.select([self.process.stdout], [], [], limit)[0]:
      raise EndedError(f"over {limit:.0f} s")
    line = self.process.stdout.readline()
    if not line:
      raise EndedError(f"process ended with {self.process.wait()}")
    return json.loads(line)


class Bench:
  """All arms, their processes, and what was measured."""

  def __init__(self, args: argparse.Namespace) -> None:
    self.args = args
    self.workers: dict[tuple[str, int], Worker] = {}
    self.results: list[dict] = []

  def run(self, setting: dict, folder: pathlib.Path) -> None:
    """Measures all arms in one setting."""
    scene = splat_scene.make(
      setting["gaussians"],
      setting["channels"],
      setting["width"],
      setting["height"],
      setting["batch"],
    )
    np.savez(folder / "scene.npz", **vars(scene))
    start = time.perf_counter()
    setting = {**setting, "pairs": pairs_of(scene, folder)}
    setting["search_s"] = time.perf_counter() - start
    rows = [
      {"arm": arm, "threads": threads, **setting}
      for arm in self.args.arms
      for threads in self.args.threads
    ]
    for row in rows:
      if why := missing(row["arm"]) or self.too_slow(row):
        row["skipped"] = why
      else:
        key = row["arm"], row["threads"]
        if key not in self.workers:
          self.workers[key] = Worker(*key)
        self.workers[key].send(f"scene {folder}")
    for row in waiting(rows):
      if answer := self.hear(row, START_LIMIT):
        row["start_s"] = answer["wall_s"]
    self.agree(rows, folder)
    self.time(rows)
    self.results += rows

  def too_slow(self, row: dict) -> str:
    """Why a setting is not tried: what the arm took with fewer pairs."""
    if row["arm"] == "splax" and row["channels"] != 3:
      return "3 channels only"
    if row["arm"] == "reference" and row["threads"] < max(self.args.threads):
      return "only on the most threads"
    for old in self.results:
      same = ("arm", "threads", "width", "height", "batch")
      if any(old[k] != row[k] for k in same) or old["pairs"] > row["pairs"]:
        continue
      if old["channels"] > row["channels"]:
        continue
      if "both" not in old:
        why, count = old["skipped"], old["gaussians"]
        return why if "with" in why else f"{why} with {count} Gaussians"
      seconds = old["both"]["median_s"] * row["pairs"] / old["pairs"]
      if seconds > self.args.limit:
        return f"about {seconds:.0f} s would be needed"
    return ""

  def hear(self, row: dict, limit: float) -> dict | None:
    """Reads an answer; an arm that gives none is ended."""
    worker = self.workers[row["arm"], row["threads"]]
    try:
      return worker.read(limit)
    except EndedError as error:
      row["skipped"] = str(error)
      worker.process.kill()
      worker.process.wait()
      del self.workers[row["arm"], row["threads"]]
      return None

  def ask(self, row: dict, words: str) -> dict | None:
    """Sends a line and reads the answer."""
    self.workers[row["arm"], row["threads"]].send(words)
    return self.hear(row, self.args.limit)

  def agree(self, rows: list[dict], folder: pathlib.Path) -> None:
    """Compares each arm's image and gradients with the first arm's."""
    first, errors = None, {}
    # An arm's process with the most threads answers for all.
    for row in sorted(waiting(rows), key=lambda row: -row["threads"]):
      if row["arm"] in errors:
        continue
      path = folder / f"{row['arm']}.npz"
      if not self.ask(row, f"save {path}"):
        continue
      with np.load(path) as arrays:
        found = dict(arrays)
      path.unlink()
      first = first or found
      try:
        errors[row["arm"]] = splat_goals.compare(row["arm"], first, found)
      except splat_goals.DisagreementError as error:
        for other in waiting(rows):
          if other["arm"] == row["arm"]:
            other["skipped"] = str(error)
    for row in waiting(rows):
      row["error"] = errors.get(row["arm"])

  def time(self, rows: list[dict]) -> None:
    """Lets the processes take turns until each has had its rounds."""
    left, times = {}, {}
    for row in waiting(rows):
      for kind in KINDS:
        # Warm-up, which tells how many rounds there is time for.
        key = row["arm"], row["threads"], kind
        if answer := self.call(row, kind):
          rounds = self.args.budget / (answer["wall_s"] * self.args.calls)
          left[key] = min(self.args.rounds, int(rounds))
          times[key] = [] if left[key] else [answer]
    turn = 0
    while any(left.values()):
      alive = waiting(rows)
      turn = (turn + 1) % len(alive)
      for row in alive[turn:] + alive[:turn]:
        for kind in KINDS:
          key = row["arm"], row["threads"], kind
          if left.get(key) and (answer := self.call(row, kind)):
            times[key].append(answer)
          left[key] = max(0, left.get(key, 0) - 1)
    for row in waiting(rows):
      for kind in KINDS:
        row[kind] = summary(times[row["arm"], row["threads"], kind])

  def call(self, row: dict, kind: str) -> dict | None:
    """One timed turn of one process."""
    if "skipped" in row:
      return None
    calls = self.args.calls
    start, before = time.perf_counter(), busy_seconds()
    answer = self.ask(row, f"{kind} {calls}")
    if answer is None:
      return None
    foreign = busy_seconds() - before - answer["cpu_s"]
    answer["others"] = max(0.0, foreign / (time.perf_counter() - start))
    answer["wall_s"] /= calls
    answer["cpu_s"] /= calls
    return answer


def waiting(rows: list[dict]) -> list[dict]:
  """The rows whose process runs."""
  return [row for row in rows if "skipped" not in row]


def pairs_of(scene: splat_scene.Scene, folder: pathlib.Path) -> int:
  """Finds the pairs of the first camera and leaves them for `torch`."""
  pairs = splat_scene.pairs(scene)
  np.save(folder / "pairs.npy", np.stack(pairs))
  return len(pairs[0])


def summary(times: list[dict]) -> dict:
  """Statistics of one arm's calls, in seconds."""
  wall = np.array([t["wall_s"] for t in times])
  return {
    "median_s": float(np.median(wall)),
    "iqr_s": [float(q) for q in np.percentile(wall, [25, 75])],
    "min_s": float(wall.min()),
    "cpu_s": float(np.median([t["cpu_s"] for t in times])),
    "others": float(np.median([t["others"] for t in times])),
    "peak_mib": max(t["peak_mib"] for t in times),
    "wall_s": wall.tolist(),
  }


def others(seconds: float = 1.0) -> float:
  """Cores that other programs keep busy."""
  before, own = busy_seconds(), time.process_time()
  time.sleep(seconds)
  used = busy_seconds() - before - (time.process_time() - own)
  return max(0.0, used / seconds)


def settings(args: argparse.Namespace) -> list[dict]:
  """What is measured, the small first."""
  return [
    {
      "gaussians": count,
      "channels": channels,
      "width": width,
      "height": height,
      "batch": batch,
    }
    for width, height in args.sizes
    for batch in args.batches
    for channels in args.channels
    for count in args.gaussians
  ]


def arguments(argv: list[str] | None) -> argparse.Namespace:
  """Reads the flags; those not given depend on `--gpu`."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--gpu", action="store_true", help="the arms for CUDA")
  parser.add_argument("--arms", nargs="+", choices=(*CPU_ARMS, *GPU_ARMS))
  parser.add_argument("--gaussians", type=int, nargs="+")
  parser.add_argument("--channels", type=int, nargs="+", default=[3, 32])
  parser.add_argument("--threads", type=int, nargs="+")
  parser.add_argument("--sizes", nargs="+", help="such as 512x512 1920x1080")
  parser.add_argument("--batches", type=int, nargs="+", help="cameras")
  parser.add_argument("--rounds", type=int, default=10, help="at most")
  parser.add_argument("--calls", type=int, help="in a row, timed as one")
  parser.add_argument(
    "--budget", type=float, default=2.0, help="seconds of an arm's rounds"
  )
  parser.add_argument(
    "--limit", type=float, default=30.0, help="seconds that a call may take"
  )
  parser.add_argument("--json", type=pathlib.Path)
  parser.add_argument(
    "--busy", action="store_true", help="measure though others compute too"
  )
  args = parser.parse_args(argv)
  gpu = args.gpu
  defaults = {
    "arms": GPU_ARMS if gpu else CPU_ARMS,
    "gaussians": [180_000] if gpu else [20_000, 180_000, 500_000],
    "threads": [0] if gpu else [1, 2, 4],
    "sizes": ["512x512", "1920x1080"] if gpu else ["512x512"],
    "batches": [1, 8] if gpu else [1],
    "calls": 20 if gpu else 1,
  }
  for name, value in defaults.items():
    if getattr(args, name) is None:
      setattr(args, name, value)
  args.sizes = [tuple(map(int, size.split("x"))) for size in args.sizes]
  return args


def main(argv: list[str] | None = None) -> None:
  """Measures what was asked for, prints and writes it."""
  args = arguments(argv)
  load, foreign = os.getloadavg(), others()
  print(f"load {load[0]:.2f} {load[1]:.2f}, others use {foreign:.2f} cores")
  if foreign > BUSY and not args.busy:
    sys.exit(f"The machine is not quiet (over {BUSY} cores); --busy goes on.")
  threads = [n for n in args.threads if n]
  note = {
    "date": datetime.date.today().isoformat(),
    "command": shlex.join(["benchmarks/splat.py", *(argv or sys.argv[1:])]),
    "processor": processor(),
    "gpu": gpu_name() if args.gpu else None,
    "cores": os.cpu_count(),
    "others_before": foreign,
    # Settings of the allocator, which decides how often pages are cleared.
    "allocator": {
      k: v for k, v in os.environ.items() if k.startswith(("MALLOC_", "GLIBC_"))
    },
    "peaks": splat_floor.peaks(threads) if threads else {},
  }
  bench = Bench(args)
  with tempfile.TemporaryDirectory() as folder:
    for setting in settings(args):
      bench.run(setting, pathlib.Path(folder))
      splat_goals.add_ratios(bench.results, note["peaks"])
      print(splat_goals.table(bench.results), flush=True)
      if args.json:
        text = {**note, "results": bench.results}
        text["goals"] = splat_goals.goals(bench.results)
        args.json.write_text(json.dumps(text, indent=1) + "\n")
  for worker in bench.workers.values():
    worker.process.kill()
    worker.process.wait()
  print(splat_goals.lines(bench.results))
  if wrong := [
    r["arm"] for r in bench.results if "differs" in r.get("skipped", "")
  ]:
    sys.exit(f"These differ from the first arm: {sorted(set(wrong))}.")


def gpu_name() -> str | None:
  """The GPU's name and driver."""
  query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv"]
  with contextlib.suppress(OSError, subprocess.CalledProcessError):
    done = subprocess.run(query, check=True, capture_output=True, text=True)
    return done.stdout.splitlines()[1]
  return None


if __name__ == "__main__":
  main()
