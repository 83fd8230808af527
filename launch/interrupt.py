r"""How much of its time a training keeps when it is interrupted often.

  python -m launch.interrupt --signal TERM --every 20 --times 3 \
    --json runs/interrupt.json -- --config=configs/cyclegan.py:smoke \
    --config.log_every=1 --workdir=runs/interrupted

Runs the training under `launch.local`, sends its rank 0 a signal as a scheduler
(TERM) or a dying host (KILL) does, and times what follows: until the launcher
notices, until JAX runs again, until the step is compiled, until the first step.
Goodput is the share of the whole time in which steps were made that were kept,
at the pace of undisturbed ones.
"""

import argparse
import dataclasses
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import IO, Any

from launch import aot, contract

SIGNALS = {"TERM": signal.SIGTERM, "KILL": signal.SIGKILL}
_STEP = re.compile(r"\[train\] step (\d+)/(\d+)")
# What a restart's stages end with.
STAGES = {
  "notice": "launch: starting again",
  "start": "Devices: ",
  "compile": "Compiled the step in ",
  "first step": "[train] step ",
}


@dataclasses.dataclass
class Course:
  """What was seen of the training.

  Attributes:
    began: when the launcher was started; all times in seconds of one clock.
    steps: (time, number) of each step that was logged.
    restarts: times of each restart's stages, `signal` first.
    total: steps of the whole training.
  """

  began: float
  steps: list[tuple[float, int]] = dataclasses.field(default_factory=list)
  restarts: list[dict[str, float]] = dataclasses.field(default_factory=list)
  total: int = 0

  def see(self, line: str, now: float) -> None:
    """Takes in one line of the training's output."""
    if self.restarts:
      stages = self.restarts[-1]
      for name, mark in STAGES.items():
        # Of the old process, lines can come until it has ended.
        ready = name == "notice" or "notice" in stages
        if name not in stages and ready and mark in line:
          stages[name] = now
    if found := _STEP.search(line):
      self.steps.append((now, int(found[1])))
      self.total = int(found[2])

  def due(self, now: float, every: float) -> bool:
    """Whether steps were made for so many seconds since the last start."""
    if not self.steps:
      return False
    since = self.steps[0][0]
    if self.restarts:
      since = self.restarts[-1].get("first step", now)
    return now > since and now - since >= every


def report(course: Course, ended: float) -> dict[str, Any]:
  """What a course amounts to.

  Args:
    course: a training that reached its end.
    ended: when.

  Returns:
    `restarts`: seconds of each stage of each; `restart_s`: their median sum;
    `seconds_per_step`: median, undisturbed; `wall_s`; `goodput` in [0, 1].
  """
  gaps = [
    (b - a) / (n - m)
    for (a, m), (b, n) in zip(course.steps, course.steps[1:])
    if n > m and not any(a < x["signal"] < b for x in course.restarts)
  ]
  restarts = []
  for stages in course.restarts:
    times = [stages["signal"], *(stages[x] for x in STAGES if x in stages)]
    restarts.append({x: b - a for x, a, b in zip(STAGES, times, times[1:])})
  pace, wall = _median(gaps), ended - course.began
  return {
    "kind": "interrupted",
    "restarts": restarts,
    "restart_s": _median([sum(x.values()) for x in restarts]),
    "seconds_per_step": pace,
    "steps": course.total,
    "wall_s": wall,
    "goodput": min(1.0, course.total * pace / wall) if wall else 0.0,
  }


def _median(values: list[float]) -> float:
  return sorted(values)[len(values) // 2] if values else 0.0


def child_of(process: int) -> int | None:
  """The first child of a process, by Linux's own list."""
  path = pathlib.Path(f"/proc/{process}/task/{process}/children")
  found = path.read_text(encoding="ascii").split()
  return int(found[0]) if found else None


def lines(stream: IO[str] | None) -> Iterator[tuple[str, float]]:
  """The training's lines, shown as they come, with their times."""
  for line in stream or ():
    sys.stderr.write(line)
    yield line, time.monotonic()


def run(options: argparse.Namespace, flags: list[str]) -> dict[str, Any]:
  """Runs the training and interrupts it.

  Returns:
    The report.
  """
  course = Course(time.monotonic())
  with subprocess.Popen(
    command(options, flags),
    env=aot.environment() | cache(options),
    stderr=subprocess.PIPE,
    text=True,
    errors="replace",
  ) as process:
    for line, now in lines(process.stderr):
      course.see(line, now)
      if len(course.restarts) < options.times and course.due(
        now, options.every
      ):
        rank = child_of(process.pid)
        if rank is not None:
          course.restarts.append({"signal": time.monotonic()})
          os.kill(rank, SIGNALS[options.signal])
  if process.returncode:
    contract.fail(f"the training ended with exit code {process.returncode}.")
  found = report(course, time.monotonic())
  if len(found["restarts"]) < options.times:
    contract.fail(
      f"the training was over after {len(found['restarts'])} of "
      f"{options.times} interruptions; raise --config.total_steps."
    )
  return found | {"signal": options.signal, "cache": bool(options.cache)}


def command(options: argparse.Namespace, flags: list[str]) -> list[str]:
  """The launcher's command line."""
  return [
    *(sys.executable, "-m", "launch.local"),
    f"--cpu-devices={options.cpu_devices}",
    f"--max-failures={options.times}",
    f"--module={options.module}",
    "--",
    *flags,
  ]


def cache(options: argparse.Namespace) -> dict[str, str]:
  """Where compiled programs are kept, as JAX reads it."""
  if not options.cache:
    return {}
  return {
    "JAX_COMPILATION_CACHE_DIR": str(options.cache.absolute()),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
  }


def parse(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
  """Reads the command line and checks it."""
  parser = argparse.ArgumentParser(
    prog="python -m launch.interrupt", description=__doc__.splitlines()[0]
  )
  add = parser.add_argument
  add("--signal", default="TERM", choices=list(SIGNALS))
  add("--every", type=float, default=20, help="seconds of steps in between")
  add("--times", type=int, default=3, help="how often")
  add("--cache", type=pathlib.Path, help="folder of compiled programs")
  add("--cpu-devices", type=int, default=0, help="virtual CPU devices")
  add("--json", type=pathlib.Path, help="file of the report")
  add("--module", default=contract.MODULE, help="what python -m runs")
  add("--dry-run", action="store_true", help="print the command only")
  add("flags", nargs=argparse.REMAINDER, help="-- and the training's flags")
  options = parser.parse_args(argv)
  flags = contract.training_flags(options.flags)
  if options.times < 1:
    contract.fail(f"--times is {options.times}, expected at least 1.")
  if not pathlib.Path("/proc/self/task").is_dir():
    contract.fail("this host has no /proc, by which a rank is found.")
  return options, flags


def main(argv: list[str]) -> int:
  """Runs the command; returns the exit code."""
  options, flags = parse(argv)
  if options.dry_run:
    added = " ".join(f"{k}={v}" for k, v in cache(options).items())
    print(added, *command(options, flags))
    return 0
  found = run(options, flags)
  if options.json:
    aot.write(options.json, {"rows": [found]})
  print(
    f"{found['steps']} steps in {found['wall_s']:.0f} s with "
    f"{len(found['restarts'])} interruptions ({found['signal']}): "
    f"{found['restart_s']:.1f} s a restart, goodput {found['goodput']:.0%}"
  )
  return 0


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
