"""A training that only ends, as its folder's plan.json says.

The plan is a list with an entry for each start: for each rank what it does.
"beat" makes a step, "sleep:S" waits, "wait" waits for SIGTERM and exits with
42, a number is the exit code.
"""

import json
import os
import pathlib
import signal
import sys
import time


def main() -> None:
  flag = next(x for x in sys.argv if x.startswith("--workdir="))
  folder = pathlib.Path(flag.partition("=")[2])
  rank = int(os.environ.get("SLURM_PROCID", "0"))
  counter = folder / f"starts{rank}"
  start = int(counter.read_text()) if counter.exists() else 0
  counter.write_text(str(start + 1))
  keys = ("SLURM_JOB_ID", "SLURM_NTASKS", "JAX_NUM_CPU_DEVICES", "NPROC")
  seen = {k: os.environ.get(k) for k in (*keys, "CUDA_VISIBLE_DEVICES")}
  (folder / f"seen{rank}.json").write_text(json.dumps(seen))
  signal.signal(signal.SIGTERM, lambda *_: sys.exit(42))
  plan = json.loads((folder / "plan.json").read_text())
  for what in plan[start][rank]:
    if what == "beat":
      pathlib.Path(os.environ["CHIBIJAX_HEARTBEAT"]).touch()
    elif what == "wait":
      signal.pause()
    elif isinstance(what, str):
      time.sleep(float(what.partition(":")[2]))
    elif what < 0:
      os.kill(os.getpid(), -what)
      signal.pause()
    else:
      sys.exit(what)


if __name__ == "__main__":
  main()
