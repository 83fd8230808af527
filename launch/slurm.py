r"""A training as a SLURM batch script.

  python -m launch.slurm --nodes 2 --gpus-per-node 4 --time 04:00:00 \
    -- --config=configs/cyclegan.py --workdir=runs/cyclegan > job.sh
  python -m launch.slurm --submit ... (the same)

One process for each GPU; JAX finds its peers inside `srun`. Five minutes before
the time is over, and when the job is preempted, SIGTERM lets the training save
and end with 42, and the job goes back into the queue.
"""

import argparse
import dataclasses
import os
import re
import shlex
import sys

from launch import contract

_NAME = re.compile(r"[\w.+-]+")
_TIME = re.compile(r"(\d+-)?\d{1,3}(:\d\d){1,2}")


@dataclasses.dataclass(frozen=True)
class Spec:
  """What a job asks for.

  Attributes:
    flags: of the training; they name config and workdir.
    name: of the job.
    nodes: number of hosts.
    gpus_per_node: GPUs of a host, and processes; 0: one process on its CPUs.
    cpus_per_task: cores of a process.
    time: limit as SLURM writes it, such as 04:00:00 or 1-00:00:00.
    notice: seconds before the limit at which SIGTERM comes.
    partition: queue; "" leaves it to the cluster.
    account: who pays; "" leaves it to the cluster.
    python: the interpreter, a path or a name on PATH.
    setup: lines of shell before the training, such as `module load cuda`.
    extra: further #SBATCH options, such as `--constraint=a100`.
    budget: how often the job goes back into the queue.
  """

  flags: tuple[str, ...]
  name: str = "chibijax"
  nodes: int = 1
  gpus_per_node: int = 1
  cpus_per_task: int = 8
  time: str = "04:00:00"
  notice: int = 300
  partition: str = ""
  account: str = ""
  python: str = "python"
  setup: tuple[str, ...] = ()
  extra: tuple[str, ...] = ()
  budget: contract.Budget = dataclasses.field(default_factory=contract.Budget)


def render(spec: Spec) -> str:
  """Writes the batch script.

  Args:
    spec: the job.

  Returns:
    Text for `sbatch`.

  Raises:
    ValueError: if a value cannot stand in such a script.
  """
  check(spec)
  workdir = contract.value(list(spec.flags), "workdir")
  lines = [
    "#!/usr/bin/env bash",
    *(f"#SBATCH {option}" for option in _options(spec, workdir)),
    "",
    "set -uo pipefail",
    f"workdir={shlex.quote(workdir)}",
    'mkdir -p "$workdir"',
    *spec.setup,
    *_ENVIRONMENT,
    "",
    # In the background: bash handles signals only between its commands.
    f"srun --kill-on-bad-exit=1 --label {spec.python} -m {contract.MODULE} \\",
    *_continued(spec.flags),
    "wait $!",
    "code=$?",
    "",
    *_requeue(spec.budget),
  ]
  return "\n".join(lines) + "\n"


def check(spec: Spec) -> None:
  """Refuses what SLURM or bash would misread.

  Raises:
    ValueError: with one sentence.
  """
  for field in ("name", "partition", "account"):
    text = getattr(spec, field)
    if text and not _NAME.fullmatch(text):
      raise ValueError(
        f"--{field} is {text!r}, expected letters, digits and any of _.+-"
      )
  if not _TIME.fullmatch(spec.time):
    raise ValueError(
      f"--time is {spec.time!r}, expected a limit such as 04:00:00 or 1-00:00"
    )
  for field, least in (("nodes", 1), ("gpus_per_node", 0), ("notice", 1)):
    if getattr(spec, field) < least:
      raise ValueError(
        f"--{field.replace('_', '-')} is {getattr(spec, field)}, expected at "
        f"least {least}"
      )
  for text in (*spec.setup, *spec.extra, *spec.flags, spec.python):
    if "\n" in text:
      raise ValueError(f"{text!r} has a line break, expected one line")


_ENVIRONMENT = (
  # One folder for all jobs: the next start compiles nothing anew.
  'export JAX_COMPILATION_CACHE_DIR="${JAX_COMPILATION_CACHE_DIR:-'
  '${workdir}/compiled}"',
  "export XLA_PYTHON_CLIENT_MEM_FRACTION=.92",
  # A proxy would answer for the coordinator.
  "unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY",
)


def _options(spec: Spec, workdir: str) -> list[str]:
  tasks = max(1, spec.gpus_per_node)
  options = [
    f"--job-name={spec.name}",
    f"--nodes={spec.nodes}",
    f"--ntasks-per-node={tasks}",
    f"--cpus-per-task={spec.cpus_per_task}",
    f"--time={spec.time}",
    f"--signal=TERM@{spec.notice}",
    "--requeue",
    "--open-mode=append",
    f"--output={shlex.quote(f'{workdir}/slurm-%j.log')}",
  ]
  if spec.gpus_per_node:
    # Not --gpus-per-task, which hides each GPU from its neighbours' NCCL.
    options.insert(3, f"--gpus-per-node={spec.gpus_per_node}")
  if spec.partition:
    options.append(f"--partition={spec.partition}")
  if spec.account:
    options.append(f"--account={spec.account}")
  return [*options, *spec.extra]


def _continued(flags: tuple[str, ...]) -> list[str]:
  words = [f"  {shlex.quote(flag)} \\" for flag in flags]
  return [*words[:-1], words[-1].removesuffix(" \\") + " &"]


def _requeue(budget: contract.Budget) -> list[str]:
  """What follows the training's exit code, see `launch`."""
  codes = "|".join(map(str, contract.INTERRUPTED))
  return [
    # Files, since SLURM counts restarts of both kinds together.
    "again() {",
    '  local file="$workdir/$1.count" count=0',
    '  [ -f "$file" ] && count=$(<"$file")',
    '  [ "$count" -lt "$2" ] || return 1',
    '  echo $((count + 1)) > "$file"',
    '  echo "launch: exit code $code, back into the queue"',
    '  scontrol requeue "$SLURM_JOB_ID"',
    "}",
    'case "$code" in',
    f'  {contract.DONE}) rm -f "$workdir"/preemptions.count'
    ' "$workdir"/failures.count ;;',
    f"  {contract.PREEMPTED}) again preemptions {budget.preemptions} ;;",
    f"  {codes}) again failures {budget.failures} ;;",
    "esac",
    'exit "$code"',
  ]


def parse(argv: list[str]) -> tuple[Spec, bool]:
  """Reads the command line: the job, and whether to submit it."""
  parser = argparse.ArgumentParser(
    prog="python -m launch.slurm", description=__doc__.splitlines()[0]
  )
  add = parser.add_argument
  add("--name", default="chibijax", help="of the job")
  add("--nodes", type=int, default=1, help="hosts")
  add("--gpus-per-node", type=int, default=1, help="and processes")
  add("--cpus-per-task", type=int, default=8, help="cores of a process")
  add("--time", default="04:00:00", help="limit")
  add("--notice", type=int, default=300, help="seconds of SIGTERM before it")
  add("--partition", default="", help="queue")
  add("--account", default="", help="who pays")
  add("--python", default="python", help="interpreter on the hosts")
  add("--setup", action="append", default=[], help="a line of shell before")
  add("--sbatch", action="append", default=[], help="--sbatch=--constraint=x")
  add("--max-preemptions", type=int, default=100, help="requeues after 42")
  add("--max-failures", type=int, default=3, help="requeues after a death")
  add("--submit", action="store_true", help="hand it to sbatch")
  add("--dry-run", action="store_true", help="print it only, the default")
  add("flags", nargs=argparse.REMAINDER, help="-- and the training's flags")
  options = parser.parse_args(argv)
  spec = Spec(
    flags=tuple(contract.training_flags(options.flags)),
    name=options.name,
    nodes=options.nodes,
    gpus_per_node=options.gpus_per_node,
    cpus_per_task=options.cpus_per_task,
    time=options.time,
    notice=options.notice,
    partition=options.partition,
    account=options.account,
    python=shlex.quote(options.python),
    setup=tuple(options.setup),
    extra=tuple(options.sbatch),
    budget=contract.Budget(options.max_preemptions, options.max_failures),
  )
  return spec, options.submit and not options.dry_run


def main(argv: list[str]) -> int:
  """Runs the command; returns the exit code."""
  spec, wanted = parse(argv)

  def script() -> str:
    text = render(spec)
    if wanted:
      # SLURM opens the log before the script runs.
      workdir = contract.value(list(spec.flags), "workdir") or ""
      os.makedirs(workdir, exist_ok=True)
    return text

  return contract.finish(script, ["sbatch"], wanted=wanted)


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
