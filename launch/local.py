r"""Several processes of one training on this host, watched and restarted.

  python -m launch.local --processes 2 -- --config=configs/cyclegan.py:quick \
    --workdir=runs/two

Each process sees what SLURM would set, so that JAX finds its peers as it does
on a cluster. Rank 0 writes to this terminal, the others to
WORKDIR/ranks/rankN.log. Ctrl-C or SIGTERM saves and stops all of them.
"""

import argparse
import dataclasses
import os
import pathlib
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time

from launch import contract

# JAX takes this port plus the job's number modulo 2**12.
_FIRST_PORT = 65535 - 2**12 + 1
# A rank that must end gets this long until it is killed.
_GRACE_SECONDS = 20.0
# The killed peers of a rank that died notice it by themselves, see
# `chibijax.core.parallel`; waiting shows which of them died first.
_POLL_SECONDS = 0.1
STUCK = 137


@dataclasses.dataclass(frozen=True)
class Plan:
  """How one start of the training looks.

  Attributes:
    command: the program and its flags, the same for every rank.
    processes: number of ranks.
    cpu_devices: virtual devices of each rank; 0 leaves JAX its own choice.
    gpus: whether each rank sees the GPU of its number alone.
    port: of rank 0.
    logs: folder of the ranks' output.
  """

  command: tuple[str, ...]
  processes: int
  cpu_devices: int
  gpus: bool
  port: int
  logs: pathlib.Path

  def environment(self, rank: int) -> dict[str, str]:
    """What a rank's environment has beyond this process's own."""
    added = {}
    if self.processes > 1:
      added = {
        "SLURM_JOB_ID": str(self.port - _FIRST_PORT),
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_NTASKS": str(self.processes),
        "SLURM_PROCID": str(rank),
        "SLURM_LOCALID": str(rank),
        "SLURM_STEP_NUM_NODES": "1",
      }
    if self.cpu_devices:
      added |= {
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": str(self.cpu_devices),
        "NPROC": str(threads(self.cpu_devices * self.processes)),
      }
    if self.gpus:
      added["CUDA_VISIBLE_DEVICES"] = str(rank)
    return added

  def text(self) -> str:
    """The start as shell commands, for people."""
    command = shlex.join(self.command)
    lines = []
    for rank in range(self.processes):
      added = self.environment(rank)
      words = [f"{k}={shlex.quote(v)}" for k, v in added.items()]
      lines.append(" ".join([*words, command, "&"]))
    return "\n".join([*lines, "wait"])


class Ranks:
  """The running processes of one start."""

  def __init__(self, plan: Plan, beats: pathlib.Path) -> None:
    """Starts all ranks.

    Args:
      plan: what to start.
      beats: a folder for the ranks' heartbeat files.
    """
    self._plan = plan
    self._beats = [beats / str(rank) for rank in range(plan.processes)]
    self._began = time.monotonic()
    for beat in self._beats:
      beat.unlink(missing_ok=True)
    plan.logs.mkdir(parents=True, exist_ok=True)
    self.processes = [self._start(rank) for rank in range(plan.processes)]

  def _start(self, rank: int) -> subprocess.Popen[bytes]:
    environment = os.environ | self._plan.environment(rank)
    environment["CHIBIJAX_HEARTBEAT"] = str(self._beats[rank])
    log = None
    if rank:
      log = (self._plan.logs / f"rank{rank}.log").open("ab")
    try:
      return subprocess.Popen(
        self._plan.command,
        env=environment,
        stdout=log,
        stderr=log,
        # Ctrl-C is for the launcher, which passes on one signal.
        start_new_session=True,
      )
    finally:
      if log is not None:
        log.close()

  def silence(self) -> tuple[float, bool]:
    """Seconds since any rank made a step, and whether one ever did."""
    times = [b.stat().st_mtime for b in self._beats if b.exists()]
    if not times:
      return time.monotonic() - self._began, False
    return time.time() - max(times), True

  def ended(self) -> tuple[int, int] | None:
    """Rank and exit code of one that ended badly, or None."""
    for rank, process in enumerate(self.processes):
      if process.poll():
        return rank, process.returncode
    return None

  def done(self) -> bool:
    """Whether all ended well."""
    return all(process.poll() == 0 for process in self.processes)

  def ask_to_stop(self) -> None:
    """Sends SIGTERM to one rank; JAX tells the others."""
    for process in self.processes:
      if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        return

  def wait(self, seconds: float) -> bool:
    """Waits until all ended, at most so long; whether they did."""
    deadline = time.monotonic() + seconds
    while any(process.poll() is None for process in self.processes):
      if time.monotonic() > deadline:
        return False
      time.sleep(_POLL_SECONDS)
    return True

  def kill(self) -> None:
    """Ends all that still run."""
    for process in self.processes:
      if process.poll() is None:
        # Not SIGTERM: a stuck rank would wait for its peers to save.
        process.kill()
    for process in self.processes:
      process.wait()


@dataclasses.dataclass
class Supervisor:
  """Starts the ranks again as long as that helps.

  Attributes:
    options: the parsed command line.
    flags: of the training.
    budget: how often.
    asked: whether this launcher was told to stop.
  """

  options: argparse.Namespace
  flags: list[str]
  budget: contract.Budget
  asked: bool = False

  def run(self) -> int:
    """Runs the training to its end.

    Returns:
      The exit code: 0 done, 42 saved and stopped, else that of the first rank
      that ended badly.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
      signal.signal(number, self._stop)
    with tempfile.TemporaryDirectory(prefix="chibijax-beats-") as folder:
      while True:
        code = self._once(pathlib.Path(folder))
        if self.asked or not self.budget.spend(code):
          return contract.exit_code(code)
        left = self.budget
        say(
          f"starting again ({left.preemptions} more after preemptions, "
          f"{left.failures} more after failures)"
        )

  def _stop(self, *_: object) -> None:
    if self.asked:
      raise KeyboardInterrupt
    self.asked = True

  def _once(self, beats: pathlib.Path) -> int:
    ranks = Ranks(make_plan(self.options, self.flags), beats)
    told = False
    try:
      while not ranks.done():
        if self.asked and not told:
          told = True
          ranks.ask_to_stop()
        if found := ranks.ended():
          return self._judge(ranks, *found)
        if self._stuck(ranks):
          return STUCK
        time.sleep(_POLL_SECONDS)
      return contract.DONE
    finally:
      ranks.kill()

  def _judge(self, ranks: Ranks, rank: int, code: int) -> int:
    """What the first rank that ended badly says about all."""
    if code == contract.PREEMPTED and not ranks.wait(_GRACE_SECONDS):
      say("a rank did not stop with the others and is killed")
    if code != contract.PREEMPTED:
      shown = contract.exit_code(code)
      where = f", see {ranks_log(self.options, rank)}" if rank else ""
      say(f"rank {rank} ended with exit code {shown}{where}")
    return code

  def _stuck(self, ranks: Ranks) -> bool:
    seconds, moved = ranks.silence()
    limit = self.options.stall_seconds if moved else self.options.start_seconds
    if limit <= 0 or seconds < limit:
      return False
    what = "step" if moved else "first step"
    say(f"no rank made a {what} for {seconds:.0f} s; all are killed")
    return True


def threads(devices: int) -> int:
  """Threads of XLA in each rank, for so many virtual CPU devices of all ranks.

  All cores, and as its collectives wait for each other in threads at least two
  a device. The same for every split into ranks: programs are made for them.
  """
  cores = os.cpu_count() or 1
  if hasattr(os, "sched_getaffinity"):
    cores = len(os.sched_getaffinity(0))
  return max(cores, 2 * devices)


def say(sentence: str) -> None:
  """Tells what the launcher does, beside the ranks' own output."""
  print(f"launch: {sentence}", file=sys.stderr, flush=True)


def ranks_log(options: argparse.Namespace, rank: int) -> pathlib.Path:
  """Where a rank above 0 writes."""
  return options.logs / f"rank{rank}.log"


def make_plan(options: argparse.Namespace, flags: list[str]) -> Plan:
  """Decides one start: a free port, and the command."""
  port = options.port or free_port()
  command = (sys.executable, "-m", options.module, *flags)
  return Plan(
    command=command,
    processes=options.processes,
    cpu_devices=options.cpu_devices,
    gpus=options.gpus,
    port=port,
    logs=options.logs,
  )


def free_port() -> int:
  """A port that is free now, of those that JAX's rule for SLURM can give."""
  for port in range(_FIRST_PORT + os.getpid() % 2048, 65536):
    if is_free(port):
      return port
  contract.fail(f"no port of {_FIRST_PORT} to 65535 is free on this host.")


def is_free(port: int) -> bool:
  """Whether a port of this host can be listened to."""
  with socket.socket() as trial:
    try:
      trial.bind(("", port))
    except OSError:
      return False
  return True


def parse(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
  """Reads the command line and checks it."""
  parser = argparse.ArgumentParser(
    prog="python -m launch.local", description=__doc__.splitlines()[0]
  )
  add = parser.add_argument
  add("--processes", type=int, default=1, help="ranks on this host")
  add("--cpu-devices", type=int, default=0, help="virtual CPU devices a rank")
  add("--gpus", action="store_true", help="rank N sees GPU N alone")
  add("--port", type=int, default=0, help="of rank 0; 0 finds a free one")
  add("--max-preemptions", type=int, default=100, help="restarts after 42")
  add("--max-failures", type=int, default=3, help="restarts after a death")
  add(
    "--stall-seconds",
    type=float,
    default=900,
    help="without a step until all are killed and started again; 0 never",
  )
  add(
    "--start-seconds",
    type=float,
    default=3600,
    help="the same before the first step, which compiles; 0 never",
  )
  add("--module", default=contract.MODULE, help="what python -m runs")
  add("--dry-run", action="store_true", help="print the commands only")
  add("flags", nargs=argparse.REMAINDER, help="-- and the training's flags")
  options = parser.parse_args(argv)
  flags = contract.training_flags(options.flags)
  options.logs = pathlib.Path(contract.value(flags, "workdir") or "") / "ranks"
  if options.processes < 1:
    contract.fail(f"--processes is {options.processes}, expected at least 1.")
  if options.port and not _FIRST_PORT <= options.port < 65536:
    contract.fail(
      f"--port is {options.port}, expected one of {_FIRST_PORT} to 65535."
    )
  if options.port and not is_free(options.port):
    contract.fail(f"port {options.port} is taken; leave --port out.")
  return options, flags


def main(argv: list[str]) -> int:
  """Runs the command; returns the exit code."""
  options, flags = parse(argv)
  if options.dry_run:
    print(make_plan(options, flags).text())
    return 0
  budget = contract.Budget(options.max_preemptions, options.max_failures)
  try:
    return Supervisor(options, flags, budget).run()
  except KeyboardInterrupt:
    say("told twice to stop: all ranks were killed")
    return 130


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
