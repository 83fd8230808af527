r"""What a training step will cost on TPUs that are not here.

  pip install -e '.[tpu-aot]'
  python -m launch.aot --topologies v5e:2x4 v5e:16x16 --batch 4 \
    --json aot.json -- --config=configs/cyclegan.py

XLA's TPU compiler needs no TPU: it compiles the step on this host, for minutes,
and says what it takes of memory and what the chips send each other. It can
crash, so each compilation is a process of its own; a crash is one sentence.
With its usual effort it searches for minutes how to cut one convolution; so by
default it does not, which changes little of what is told here: see --effort.
"""

import argparse
import json
import os
import pathlib
import shlex
import signal
import subprocess
import sys
import tempfile
from typing import Any

from launch import chips, contract

ROOT = pathlib.Path(__file__).resolve().parent.parent
WORKER = "benchmarks.step_report"
FILE = "step_report.json"
LABEL = "aot-predicted"
_ENVIRONMENT = {
  "JAX_PLATFORMS": "cpu",
  "TPU_SKIP_MDS_QUERY": "1",
  # Several compilations may run side by side; none opens a TPU.
  "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}
# The name under which JAX asks for the compiler's effort, -1 to 1.
_EFFORT = "JAX_EXEC_TIME_OPTIMIZATION_EFFORT"
EFFORT = -1.0


def command(
  topology: str, batch: int, flags: list[str], module: str = WORKER
) -> list[str]:
  """The process that compiles, without its --workdir.

  Args:
    topology: such as "v5e:2x4".
    batch: examples of each device; 0 leaves the config's global batch.
    flags: of the training, `--config=...` among them.
    module: what `python -m` runs.

  Returns:
    Its command line.
  """
  words = [sys.executable, "-m", module, *flags, f"--topology={topology}"]
  if batch:
    total = batch * chips.count(topology)
    words.append(f"--config.data.batch_size={total}")
  return words


def predict(
  topology: str,
  batch: int,
  flags: list[str],
  *,
  seconds: float = 3600,
  module: str = WORKER,
  effort: float = EFFORT,
) -> dict[str, Any]:
  """Compiles in a process of its own.

  Args:
    topology: see `command`.
    batch: see `command`.
    flags: see `command`.
    seconds: until the process is killed.
    module: see `command`.
    effort: of the compiler to make the program fast, in [-1, 1]; 0 is what a
      training has.

  Returns:
    The worker's report with `effort`, `fits` and `limits_s`, or `topology` and
    `error`, one sentence.
  """
  with tempfile.TemporaryDirectory(prefix="chibijax-aot-") as folder:
    words = command(topology, batch, flags, module)
    try:
      ended = subprocess.run(
        [*words, f"--workdir={folder}"],
        env=environment() | settings(effort),
        capture_output=True,
        text=True,
        errors="replace",
        timeout=seconds,
      )
    except subprocess.TimeoutExpired:
      text = f"{topology} was not compiled within {seconds:.0f} s."
      return {"kind": LABEL, "topology": topology, "error": text}
    path = pathlib.Path(folder) / FILE
    if ended.returncode == 0 and path.is_file():
      report = json.loads(path.read_text(encoding="utf-8"))
      return judge(report | {"effort": effort})
  text = why(topology, ended.returncode, ended.stderr)
  return {"kind": LABEL, "topology": topology, "error": text}


def settings(effort: float) -> dict[str, str]:
  """What the compiling process's environment has beyond this one's."""
  return {**_ENVIRONMENT, _EFFORT: str(effort)}


def environment() -> dict[str, str]:
  """This process's environment, in which `python -m` finds the checkout."""
  paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
  return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}


def judge(report: dict[str, Any]) -> dict[str, Any]:
  """Adds what follows from a report and the chip's published figures."""
  chip = chips.find(report["chip"])
  fits = None
  if chip is not None and report.get("memory"):
    fits = report["memory"]["total"] <= chip.memory
  return report | {"fits": fits, "limits_s": chips.limits(report)}


def why(topology: str, code: int, told: str) -> str:
  """One sentence about a compilation that failed.

  Args:
    topology: what was compiled for.
    code: the process's exit code.
    told: its error stream.
  """
  ours = [x for x in told.splitlines() if x.startswith("chibijax: ")]
  if ours:
    return ours[-1].removeprefix("chibijax: ")
  # A shell between us and it shows 128 + n for signal n.
  number = -code if code < 0 else code - 128
  if number in {*signal.Signals}:
    name = signal.Signals(number).name
    return f"The compiler crashed for {topology} ({name})."
  lines = [x.strip() for x in told.splitlines() if x.strip()]
  return f"{topology} could not be compiled: {(lines or ['no message'])[-1]}"


def line(row: dict[str, Any]) -> str:
  """A report for people, on one line."""
  if "error" in row:
    return f"{row['topology']}: {row['error']}"
  memory = row.get("memory") or {"total": 0}
  fits = {True: "fits", False: "does not fit", None: "unknown chip"}
  sent = sum(row.get("collectives", {}).values())
  limits = row["limits_s"]
  least = f", at least {max(limits.values()) * 1e3:.1f} ms" if limits else ""
  return (
    f"{row['topology']}: {row['devices']} x {row['chip']}, batch "
    f"{row['global_batch']}, {row['model_flops'] / 1e12:.2f} TFLOP, "
    f"{memory['total'] / 2**20:,.0f} MiB a device ({fits[row['fits']]}), "
    f"{sent / 1e6:,.1f} MB exchanged{least} a step; compiled in "
    f"{row['compile_s']:.0f} s"
  )


def parse(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
  """Reads the command line and checks it."""
  parser = argparse.ArgumentParser(
    prog="python -m launch.aot", description=__doc__.splitlines()[0]
  )
  add = parser.add_argument
  add("--topologies", nargs="+", default=["v5e:2x4"], help="such as v5e:2x4")
  add("--batch", type=int, default=0, help="examples a device; 0: the config's")
  add("--json", type=pathlib.Path, help="file of the reports")
  add("--seconds", type=float, default=3600, help="at most, for each")
  add("--effort", type=float, default=EFFORT, help="of the compiler, -1 to 1")
  add("--module", default=WORKER, help="what python -m runs")
  add("--dry-run", action="store_true", help="print the commands only")
  split = argv.index("--") if "--" in argv else len(argv)
  options = parser.parse_args(argv[:split])
  flags = argv[split + 1 :]
  if not contract.value(flags, "config"):
    contract.fail("the training's flags, after --, lack --config=...")
  if contract.value(flags, "workdir"):
    contract.fail("nothing is trained, so there is no --workdir.")
  if not -1 <= options.effort <= 1:
    contract.fail(f"--effort is {options.effort:g}, expected -1 to 1.")
  for topology in options.topologies:
    try:
      chips.count(topology)
    except ValueError as error:
      contract.fail(str(error))
  return options, flags


def main(argv: list[str]) -> int:
  """Runs the command; returns the exit code."""
  options, flags = parse(argv)
  if options.dry_run:
    pairs = settings(options.effort).items()
    for topology in options.topologies:
      added = shlex.join(f"{k}={v}" for k, v in pairs)
      words = command(topology, options.batch, flags, options.module)
      print(added, shlex.join(words))
    return 0
  rows = []
  for topology in options.topologies:
    rows.append(
      predict(
        topology,
        options.batch,
        flags,
        seconds=options.seconds,
        module=options.module,
        effort=options.effort,
      )
    )
    print(line(rows[-1]), flush=True)
    if options.json:
      write(options.json, {"rows": rows})
  return int(any("error" in row for row in rows))


def write(path: pathlib.Path, value: Any) -> None:
  """Writes a JSON file whole or not at all."""
  path.parent.mkdir(parents=True, exist_ok=True)
  trial = path.with_name(f".{path.name}.{os.getpid()}")
  trial.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
  trial.replace(path)


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
