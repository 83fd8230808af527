r"""A training step of the Gaussian head: time and memory, against its floor.

  PYTHONPATH=. python benchmarks/avatar_step.py small paper --json OUT.json
  PYTHONPATH=. python benchmarks/avatar_step.py paper --batch 1 --steps 2

The step is that of the training loop, compiled ahead of time from shapes alone:
FLOPs and bytes are the compiler's (`cost_analysis`), memory is what it will
reserve. The floor is the longer of FLOPs at the rate that a matrix product
reaches here and bytes at the rate of a copy. Neither count knows what happens
in the native kernels of the rasterizer, which are therefore also timed alone,
as is the renderer. `model_flops` are matrix products and convolutions alone.

`small` is run for `--steps` steps of one batch of the embedded set; `paper`
(DINOv2 B/14 and VGG-16 with random weights, which cost the same) only if
`--steps` is given and twice its memory is free, or else only predicted.
"""

import argparse
import json
import os
import pathlib
import resource
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from benchmarks import step_parts
from chibijax.core import flops
from chibijax.data.heads import ProceduralHeads
from chibijax.ops import splat
from chibijax.tasks import avatar
from configs import gagavatar

VARIANTS = {"smoke": "smoke", "small": "small", "middle": "middle", "paper": ""}
_STEPS = {"smoke": 3, "small": 10, "middle": 0, "paper": 0}
# Rows of the matrices, and numbers of the array that is copied.
_ROWS, _COPIED = 2048, 2**25
_MIB = 2**20


def peaks() -> dict[str, float]:
  """The most FLOP/s of a matrix product and bytes/s of a copy, of float32."""
  x = jnp.ones((_ROWS, _ROWS))
  long = jnp.ones(_COPIED)
  product, copy = jax.jit(jnp.matmul), jax.jit(lambda v: v + 1)
  return {
    "flops_per_s": 2 * _ROWS**3 / min(seconds(lambda: product(x, x), 7)),
    "bytes_per_s": 2 * long.nbytes / min(seconds(lambda: copy(long), 7)),
  }


def seconds(call: Callable[[], Any], repeats: int) -> list[float]:
  """Times of a call whose results are waited for, after a first one."""
  times = []
  for _ in range(repeats + 1):
    start = time.perf_counter()
    jax.block_until_ready(call())
    times.append(time.perf_counter() - start)
  return times[1:]


def experiment(variant: str, batch: int) -> ConfigDict:
  """A config whose networks need no file."""
  config = gagavatar.get_config(VARIANTS[variant])
  config.data.batch_size = batch
  config.model.backbone = "random"
  config.model.features.weights = "random"
  return config


def batch_of(size: int, count: int) -> dict[str, np.ndarray]:
  """Pairs of the embedded set."""
  source = ProceduralHeads(size, identities=count, examples=count, frames=2)
  pairs = [source.load(i) for i in range(count)]
  return {name: np.stack([x[name] for x in pairs]) for name in avatar.FIELDS}


class Subject:
  """A config's step, compiled from shapes.

  Attributes:
    task: its mathematics.
    spec: shapes of a batch.
    state: shapes of the state.
    step: the compiled step.
    compile_s: seconds of tracing and compiling.
  """

  def __init__(self, config: ConfigDict) -> None:
    """Compiles; nothing of the size of the state is allocated."""
    self.task = avatar.build(config)
    example = batch_of(config.data.size, 1)
    count = config.data.batch_size
    self.spec = {
      name: jax.ShapeDtypeStruct((count, *x.shape[1:]), x.dtype)
      for name, x in example.items()
    }
    self._key = jax.eval_shape(lambda: jax.random.key(0))
    self.state = jax.eval_shape(
      lambda key: self.task.init(key, self.spec), self._key
    )
    start = time.perf_counter()
    lowered = jax.jit(step_parts.folded(self.task), donate_argnums=0).lower(
      self.state, self.spec, self._key
    )
    self.step = lowered.compile()
    self.compile_s = time.perf_counter() - start

  def cost(self) -> dict[str, Any]:
    """What the compiler says of a step."""
    found = self.step.cost_analysis() or {}
    found = found[0] if isinstance(found, list) else found
    used = self.step.memory_analysis()
    fresh = used.output_size_in_bytes - used.alias_size_in_bytes
    temporary = used.temp_size_in_bytes + max(fresh, 0)
    plain = step_parts.folded(self.task)
    return {
      "flops": found["flops"],
      "bytes": found["bytes accessed"],
      "model_flops": flops.count(plain, self.state, self.spec, self._key),
      "state_and_batch_mib": used.argument_size_in_bytes / _MIB,
      "temporary_mib": temporary / _MIB,
      "total_mib": (used.argument_size_in_bytes + temporary) / _MIB,
      "compile_s": self.compile_s,
    }

  def run(self, steps: int) -> dict[str, Any]:
    """Trains on one batch, and times the step and parts of it."""
    key = jax.random.key(0)
    shape = self.spec["target"].shape
    batch = jax.device_put(batch_of(shape[1], shape[0]))
    state = jax.jit(lambda key: self.task.init(key, self.spec))(key)
    params = jax.tree.map(jnp.copy, state.params)
    times, losses = [], []
    for _ in range(steps + 1):
      start = time.perf_counter()
      state, metrics = self.step(state, batch, key)
      losses.append(float(metrics["loss/total"]))
      times.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    del state
    return {
      "step_s": float(np.median(times[1:])),
      "step_s_iqr": np.percentile(times[1:], [25, 75]).tolist(),
      "steps": steps,
      "losses": losses,
      "process_peak_mib": peak,
      "parts_s": self.parts(params, batch, min(steps, 5)),
      "load": os.getloadavg(),
    }

  def parts(
    self, params: Any, batch: dict[str, jax.Array], repeats: int
  ) -> dict[str, float]:
    """Median seconds of the rasterizer and the renderer, with gradients."""
    model = self.task.model
    given = (batch["target_viewmat"], batch["K"])

    @jax.jit
    def scene(params: Any, batch: Any) -> splat.Gaussians:
      head = model.encode(
        params,
        batch["source"].astype(jnp.float32) / 255,
        batch["source_viewmat"],
        batch["K"],
      )
      names = ("shape", "expression", "pose", "eyes")
      vertices = model.vertices(*(batch[k] for k in names))
      return model.gaussians(head, vertices)

    @jax.jit
    def rasterizer(gaussians: splat.Gaussians) -> Any:
      def total(x: splat.Gaussians) -> jax.Array:
        return jnp.square(model.splat(x, *given).image).sum()

      return jax.grad(total)(gaussians)

    @jax.jit
    def renderer(params: Any, coarse: jax.Array) -> Any:
      def total(own: Any, coarse: jax.Array) -> jax.Array:
        nets = {"renderer": own}
        return jnp.square(model.render(nets, coarse)).sum()

      return jax.grad(total, (0, 1))(params["renderer"], coarse)

    gaussians = scene(params, batch)
    coarse = jax.jit(lambda x: model.splat(x, *given).image)(gaussians)
    return {
      "rasterizer": float(
        np.median(seconds(lambda: rasterizer(gaussians), repeats))
      ),
      "renderer": float(
        np.median(seconds(lambda: renderer(params, coarse), repeats))
      ),
    }


def free_mib() -> float:
  """Memory that can still be had (Linux)."""
  lines = pathlib.Path("/proc/meminfo").read_text().splitlines()
  found = dict(line.split(":") for line in lines)
  return int(found["MemAvailable"].split()[0]) / 1024


def measure(variant: str, batch: int, steps: int | None) -> dict[str, Any]:
  """All figures of one variant."""
  subject = Subject(experiment(variant, batch))
  row = subject.cost() | {"variant": variant, "batch": batch}
  steps = _STEPS[variant] if steps is None else steps
  fits = 2 * row["total_mib"] < free_mib()
  if steps and fits:
    row |= subject.run(steps)
  elif steps:
    row["not_run"] = "twice its memory is not free"
  # After the steps, in the same minute.
  peak = peaks()
  row |= peak | {
    "floor_s": {
      "flops": row["flops"] / peak["flops_per_s"],
      "bytes": row["bytes"] / peak["bytes_per_s"],
    },
    "kind": "measured" if "step_s" in row else "predicted",
    "cores": len(os.sched_getaffinity(0)),
    "device": jax.devices()[0].device_kind,
    "jax": jax.__version__,
  }
  if "step_s" in row:
    row["over_floor"] = row["step_s"] / max(row["floor_s"].values())
  return row


def main() -> None:
  """Measures, prints and writes."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("variants", nargs="+", choices=VARIANTS)
  parser.add_argument("--batch", type=int, default=8)
  parser.add_argument("--steps", type=int, help="0: only predicted")
  parser.add_argument(
    "--json", type=pathlib.Path, help="other rows that are in it are kept"
  )
  options = parser.parse_args()
  rows = []
  if options.json and options.json.exists():
    rows = json.loads(options.json.read_text())
  for variant in options.variants:
    row = measure(variant, options.batch, options.steps)
    print(json.dumps(row, indent=1), flush=True)
    same = (row["variant"], row["batch"])
    rows = [x for x in rows if (x["variant"], x["batch"]) != same] + [row]
    if options.json:
      options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
  main()
