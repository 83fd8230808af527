"""What known accelerators can do at best, to judge what was reached.

Figures of one device as its maker publishes them: dense matrix products, no
sparsity. A float32 product is made of bfloat16 passes on a TPU and of TF32 ones
on an NVIDIA GPU unless told otherwise, so that is its peak here.
"""

import dataclasses
import math
from typing import Any

GIB = 2**30
# The first generations show each of a chip's two cores as a device.
_TWO_CORES = ("v2", "v3", "v4")


@dataclasses.dataclass(frozen=True)
class Chip:
  """One device.

  Attributes:
    bfloat16: FLOP/s, with products of bfloat16 (T4, V100: float16).
    float32: the same with float32 operands.
    bandwidth: of its memory, bytes a second.
    memory: its size in bytes.
    exchange: to other devices, all links together, bytes a second; 0: unknown.
  """

  bfloat16: float
  float32: float
  bandwidth: float
  memory: float
  exchange: float = 0.0

  def peak(self, precision: str) -> float:
    """FLOP/s at best, with operands of "bfloat16" or "float32"."""
    return self.bfloat16 if precision == "bfloat16" else self.float32


# By a part of JAX's device kind; the first that fits.
_CHIPS = {
  "tpu v2": Chip(22.5e12, 22.5e12, 350e9, 8 * GIB, 31e9),
  "tpu v3": Chip(61.5e12, 61.5e12, 450e9, 16 * GIB, 41e9),
  "tpu v4": Chip(137.5e12, 137.5e12, 614e9, 16 * GIB, 150e9),
  "tpu v5 lite": Chip(197e12, 197e12, 819e9, 16 * GIB, 200e9),
  "tpu v5e": Chip(197e12, 197e12, 819e9, 16 * GIB, 200e9),
  "tpu v5": Chip(459e12, 459e12, 2765e9, 95 * GIB, 600e9),
  "tpu v6 lite": Chip(918e12, 918e12, 1640e9, 32 * GIB, 448e9),
  "tpu v6e": Chip(918e12, 918e12, 1640e9, 32 * GIB, 448e9),
  "h200": Chip(989e12, 495e12, 4800e9, 141e9, 450e9),
  "h100 pcie": Chip(756e12, 378e12, 2000e9, 80e9, 300e9),
  "h100": Chip(989e12, 495e12, 3350e9, 80e9, 450e9),
  "a100-sxm4-40gb": Chip(312e12, 156e12, 1555e9, 40e9, 300e9),
  "a100": Chip(312e12, 156e12, 2039e9, 80e9, 300e9),
  "l4": Chip(121e12, 60e12, 300e9, 24e9),
  "v100": Chip(125e12, 15.7e12, 900e9, 16e9, 150e9),
  "t4": Chip(65e12, 8.1e12, 320e9, 16e9),
}


def find(kind: str) -> Chip | None:
  """What is known of a device.

  Args:
    kind: as JAX's `device_kind` says it, such as "TPU v5 lite".

  Returns:
    The figures; None for CPUs and others that are not known.
  """
  name = kind.lower()
  return next((chip for part, chip in _CHIPS.items() if part in name), None)


def count(topology: str) -> int:
  """Devices of a TPU topology such as "v5e:2x4".

  Raises:
    ValueError: for another form.
  """
  family, _, sides = topology.partition(":")
  try:
    chips = math.prod(int(side) for side in sides.split("x"))
  except ValueError:
    chips = 0
  if chips < 1 or not family:
    raise ValueError(f"{topology!r} is no topology such as v5e:2x4.")
  return chips * (2 if family in _TWO_CORES else 1)


def limits(row: dict[str, Any]) -> dict[str, float]:
  """The least seconds that a step of a known device can take.

  Args:
    row: what `benchmarks.step_report` wrote.

  Returns:
    Seconds by what takes them, as far as they are known: `compute`, `memory`
    (by the compiler's count of bytes) and `exchange` (every link always busy).
    None of them knows of latencies, or of units that stand idle.
  """
  chip, devices = find(row["chip"]), row["devices"]
  if chip is None:
    return {}
  flops = max(
    row["model_flops"] / devices, row.get("xla_flops_per_device") or 0
  )
  found = {"compute": flops / chip.peak(row["precision"])}
  if read := row.get("xla_bytes_per_device"):
    found["memory"] = read / chip.bandwidth
  sent = 0.0
  for kind, size in row.get("collectives", {}).items():
    # A ring sends everything twice to sum it and tell the sum.
    sent += size * (2 if kind == "all-reduce" else 1) * (1 - 1 / devices)
  if chip.exchange:
    found["exchange"] = sent / chip.exchange
  return found
