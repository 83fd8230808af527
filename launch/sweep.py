r"""How fast a config trains on more devices, larger pictures, other numbers.

  python -m launch.sweep --json runs/sweep.json --configs configs/cyclegan.py \
    --devices 1 2 4 --scaling weak strong --sizes 128 --precisions bfloat16
  python -m launch.sweep --json runs/sweep.json --configs configs/cyclegan.py \
    --topologies v5e:2x2 v5e:4x4 --sizes 128 256
  python -m launch.report runs/sweep.json --png runs/sweep.png

Each row is a process of its own: on virtual CPU devices (`cpu-virtual`), on
the GPUs or TPUs that are here (`measured`), or compiled only (`aot-predicted`).
Rows that the file already has are not run again. Where rows train the same
batches, their losses must agree: bit for bit on the same number of devices,
closely on another. (More than two CPU devices are added up in another order
between processes than within one: closely.) What follows `--` is handed on.
"""

import argparse
import dataclasses
import itertools
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
from typing import Any

from launch import aot, contract

# Largest relative difference of a loss between numbers of devices: sums in
# another order, which Adam's first steps enlarge.
TOLERANCE = {"float32": 1e-2, "bfloat16": 1e-1}


@dataclasses.dataclass(frozen=True)
class Row:
  """One thing to run.

  Attributes:
    config: a config file, with its variant.
    devices: how many.
    processes: that share them.
    batch: global.
    size: of pictures; 0 leaves the config's.
    precision: "" leaves the config's.
    mode: of `chibijax.core.parallel`; "" leaves the config's.
    topology: of TPUs that are not here; "" runs on what is.
  """

  config: str
  devices: int
  processes: int
  batch: int
  size: int
  precision: str
  mode: str
  topology: str

  def flags(self) -> list[str]:
    """The training's flags for it."""
    words = [f"--config={self.config}"]
    words.append(f"--config.data.batch_size={self.batch}")
    if self.size:
      words.append(f"--config.data.size={self.size}")
      # As the recipes have it: 286 for 256.
      words.append(f"--config.data.load_size={self.size * 286 // 256}")
    if self.precision:
      words.append(f"--config.precision={self.precision}")
    if self.mode:
      words.append(f"--config.parallel={self.mode}")
    return words

  def name(self) -> str:
    """A name for its folder."""
    numbers = [f"{self.devices}d", f"{self.processes}p", f"b{self.batch}"]
    rest = [self.size, self.precision, self.mode, self.topology]
    parts = [self.config, *numbers, *(str(x) for x in rest if x)]
    return re.sub(r"[^\w.-]+", "_", "-".join(parts))


def rows(options: argparse.Namespace) -> list[Row]:
  """All combinations, each once.

  Weak scaling keeps a device's share of the batch, strong scaling the global
  batch: what the most devices have in the weak one, so that they share a row.
  """
  places = [(t, aot.chips.count(t), 1) for t in options.topologies]
  if not places:
    pairs = itertools.product(options.devices, options.processes)
    places = [("", d, p) for d, p in pairs if d % p == 0]
  most = max((devices for _, devices, _ in places), default=1)
  found = {}
  axes = (options.configs, options.sizes, options.precisions, options.modes)
  for config, size, precision, mode in itertools.product(*axes):
    for scaling, (topology, devices, processes) in itertools.product(
      options.scaling, places
    ):
      batch = options.batch * (devices if scaling == "weak" else most)
      row = Row(
        config, devices, processes, batch, size, precision, mode, topology
      )
      found[row] = None
  return list(found)


def command(
  row: Row, options: argparse.Namespace, extra: list[str]
) -> tuple[dict[str, str], list[str]]:
  """The environment it adds and the command line of a row that runs here."""
  words = [sys.executable, "-m", "launch.local"]
  added = {}
  if options.platform == "cpu":
    words.append(f"--cpu-devices={row.devices // row.processes}")
  elif row.processes > 1:
    words.append("--gpus")
  elif options.platform == "gpu":
    added["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, range(row.devices)))
  words += [
    f"--processes={row.processes}",
    "--max-failures=0",
    "--max-preemptions=0",
    f"--module={options.module}",
    "--",
    *row.flags(),
    *extra,
    f"--workdir={folder(row, options)}",
    f"--steps={options.steps}",
  ]
  return added, words


def folder(row: Row, options: argparse.Namespace) -> pathlib.Path:
  """Where a row's process writes."""
  return options.json.with_suffix("") / row.name()


def run(
  row: Row, options: argparse.Namespace, extra: list[str]
) -> dict[str, Any]:
  """Runs a row.

  Returns:
    Its report; or `error`, one sentence. `load` is the machine's before.
  """
  load = os.getloadavg()[0]
  if row.topology:
    report = aot.predict(
      row.topology,
      0,
      [*row.flags(), *extra],
      seconds=options.seconds,
      module=options.module,
    )
    return report | {"load": load}
  added, words = command(row, options, extra)
  place = folder(row, options)
  place.mkdir(parents=True, exist_ok=True)
  # What an earlier attempt left is not this one's.
  (place / aot.FILE).unlink(missing_ok=True)
  log = place / "log"
  with log.open("wb") as out:
    try:
      code = subprocess.run(
        words,
        env=aot.environment() | added,
        stdout=out,
        stderr=out,
        timeout=options.seconds,
      ).returncode
    except subprocess.TimeoutExpired:
      return {"error": f"not done within {options.seconds:.0f} s, see {log}"}
  if code:
    told = log.read_text(encoding="utf-8", errors="replace")
    ours = [x for x in told.splitlines() if x.startswith("chibijax: ")]
    why = ours[-1].removeprefix("chibijax: ") if ours else f"see {log}"
    return {"error": f"ended with exit code {code}: {why}"}
  report = json.loads((place / aot.FILE).read_text(encoding="utf-8"))
  return aot.judge(report) | {"load": load}


def agreement(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
  """Compares the losses of rows that trained the same batches.

  Args:
    found: reports with their `row`.

  Returns:
    For each row after the first of its kind: `rows` (names of both), `same`
    (whether bit for bit), `difference` (the largest relative one) and `agree`:
    whether that is what it must be.
  """
  groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
  for x in found:
    if x.get("losses"):
      row = x["row"]
      same = ("config", "batch", "size", "precision", "topology")
      key = (*(row[k] for k in same), *x.get("flags", ()))
      groups.setdefault(key, []).append(x)
  findings = []
  for group in groups.values():
    for i, x in enumerate(group[1:], 1):
      twins = [y for y in group[:i] if _twins(x["row"], y["row"])]
      y = (twins or group)[0]
      difference = _difference(x["losses"], y["losses"])
      exact = twins and (x["kind"] != "cpu-virtual" or _in_order(x, y))
      limit = 0.0 if exact else TOLERANCE[x["precision"]]
      findings.append(
        {
          "rows": [Row(**y["row"]).name(), Row(**x["row"]).name()],
          "same": difference == 0.0,
          "difference": difference,
          "agree": difference <= limit,
        }
      )
  return findings


def _twins(x: dict[str, Any], y: dict[str, Any]) -> bool:
  """Whether two rows run one program on as many devices."""
  return x["devices"] == y["devices"] and x["mode"] == y["mode"]


def _in_order(x: dict[str, Any], y: dict[str, Any]) -> bool:
  """Whether two rows on as many CPU devices add them up in the same order.

  Within a process XLA adds in the devices' order, between processes gloo goes
  round a ring, which differs where there are more than two.
  """
  split = [z["row"]["processes"] > 1 for z in (x, y)]
  return x["row"]["devices"] <= 2 or split[0] == split[1]


def _difference(x: list[dict[str, float]], y: list[dict[str, float]]) -> float:
  """The largest relative difference of losses; infinite where one is NaN."""
  worst = 0.0
  for a, b in zip(x, y):
    for name in a.keys() & b.keys():
      scale = max(abs(a[name]), abs(b[name]), 1e-12)
      gap = abs(a[name] - b[name]) / scale
      worst = max(worst, gap if gap == gap else float("inf"))
  return worst


def parse(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
  """Reads the command line and checks it."""
  parser = argparse.ArgumentParser(
    prog="python -m launch.sweep", description=__doc__.splitlines()[0]
  )
  add = parser.add_argument
  add("--json", type=pathlib.Path, required=True, help="file of the rows")
  add("--configs", nargs="+", required=True, help="config files")
  add("--devices", type=int, nargs="+", default=[1], help="numbers of them")
  add("--processes", type=int, nargs="+", default=[1], help="that share them")
  add("--topologies", nargs="*", default=[], help="TPUs to compile for instead")
  add(
    "--scaling",
    nargs="+",
    default=["weak"],
    choices=["weak", "strong"],
    help="the batch of a device, or the global one, stays",
  )
  add("--batch", type=int, default=4, help="examples a device, weak scaling")
  add("--sizes", type=int, nargs="+", default=[0], help="of pictures, pixels")
  add("--precisions", nargs="+", default=[""], choices=["", *TOLERANCE])
  add("--modes", nargs="+", default=[""], help="values of config.parallel")
  add("--platform", default="cpu", choices=["cpu", "gpu", "tpu"])
  add("--steps", type=int, default=10, help="timed, of each row")
  add("--seconds", type=float, default=3600, help="at most, of each row")
  add("--module", default=aot.WORKER, help="what python -m runs")
  add("--dry-run", action="store_true", help="print the commands only")
  split = argv.index("--") if "--" in argv else len(argv)
  options = parser.parse_args(argv[:split])
  for name in ("devices", "processes", "sizes"):
    low = 0 if name == "sizes" else 1
    for number in getattr(options, name):
      if number < low:
        contract.fail(f"--{name} holds {number}, expected at least {low}.")
  for name in ("batch", "steps"):
    if getattr(options, name) < 1:
      got = getattr(options, name)
      contract.fail(f"--{name} is {got}, expected at least 1.")
  try:
    planned = rows(options)
  except ValueError as error:
    contract.fail(str(error))
  if not planned:
    contract.fail("no number of devices divides over the processes given.")
  return options, argv[split + 1 :]


def main(argv: list[str]) -> int:
  """Runs the command; returns the exit code."""
  options, extra = parse(argv)
  planned = rows(options)
  kept = []
  if options.json.is_file():
    kept = json.loads(options.json.read_text(encoding="utf-8"))["rows"]
  done = [(Row(**x["row"]), x["flags"]) for x in kept if "error" not in x]
  for row in planned:
    if (row, extra) in done:
      print(f"{row.name()}: is in {options.json}")
    elif options.dry_run:
      print(_shown(row, options, extra))
    else:
      report = run(row, options, extra)
      report |= {"row": dataclasses.asdict(row), "flags": extra}
      kept = [x for x in kept if (x["row"], x["flags"]) != (
        report["row"], extra
      )]  # fmt: skip
      kept.append(report)
      aot.write(options.json, {"rows": kept, "agreement": agreement(kept)})
      print(f"{row.name()}: {_told(report)}", flush=True)
  if options.dry_run:
    return 0
  bad = [x for x in agreement(kept) if not x["agree"]]
  for x in bad:
    print(
      f"losses disagree by {x['difference']:.1e}: {' and '.join(x['rows'])}"
    )
  return int(bool(bad) or any("error" in x for x in kept))


def _shown(row: Row, options: argparse.Namespace, extra: list[str]) -> str:
  if row.topology:
    flags = [*row.flags(), *extra]
    return shlex.join(aot.command(row.topology, 0, flags, options.module))
  added, words = command(row, options, extra)
  return " ".join([*(f"{k}={v}" for k, v in added.items()), shlex.join(words)])


def _told(report: dict[str, Any]) -> str:
  if "error" in report:
    return report["error"]
  if report["topology"]:
    return aot.line(report)
  return f"{report['images_per_second']:.2f} images/s ({report['kind']})"


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
