"""What `benchmarks.step_report` would write, of numbers made up from flags.

The config's name says how it ends: crash, mistake, muddle, hang or well.
"""

import json
import os
import pathlib
import signal
import sys
import time

flags = dict(word.lstrip("-").split("=", 1) for word in sys.argv[1:])
config = flags["config"]
topology = flags.get("topology", "")
if "crash" in config:
  os.kill(os.getpid(), signal.SIGSEGV)
if "mistake" in config:
  sys.exit("chibijax: The batch size 3 does not divide over 8 devices.")
if "muddle" in config:
  raise ValueError("nobody foresaw this")
if "hang" in config:
  time.sleep(60)

devices = int(os.environ.get("JAX_NUM_CPU_DEVICES", "1"))
devices *= int(os.environ.get("SLURM_NTASKS", "1"))
batch = int(flags["config.data.batch_size"])
if topology:
  devices = 8
report = {
  "kind": "aot-predicted" if topology else "cpu-virtual",
  "model": "pretended",
  "chip": "TPU v5 lite" if topology else "cpu",
  "topology": topology,
  "devices": devices,
  "processes": 1,
  "parallel": "jit",
  "microbatches": 1,
  "precision": flags.get("config.precision", "float32"),
  "size": int(flags.get("config.data.size", 64)),
  "global_batch": batch,
  "compile_s": 1.0,
  "model_flops": 10**12 * batch,
  "xla_flops_per_device": 1.1e12 * batch / devices,
  "xla_bytes_per_device": 8e9,
  "memory": {"state and batch": 2**30, "temporary": 0, "total": 2**30},
  "collectives": {"all-reduce": 10**8} if devices > 1 else {},
}
if topology:
  asked = os.environ["JAX_EXEC_TIME_OPTIMIZATION_EFFORT"]
  report["asked_effort"] = float(asked)
if "steps" in flags:
  # Slower the more devices share this host; losses differ in the last bits.
  off = 1.5 if "disagree" in config and devices > 1 else 1 + 1e-7 * devices
  report |= {
    "seconds_per_step": 0.1 * batch,
    "images_per_second": 10.0,
    "wait_s": [0.001],
    "put_s": [0.002],
    "step_s": [0.1 * batch],
    "losses": [{"loss/total": off / (k + 1)} for k in range(3)],
    "peak_memory": {"bytes": 2**31, "of": "process"},
    "parts": {"generator": 0.05, "checkpoint": 0.5},
  }
if os.environ.get("SLURM_PROCID", "0") == "0":
  path = pathlib.Path(flags["workdir"]) / "step_report.json"
  path.write_text(json.dumps(report))
