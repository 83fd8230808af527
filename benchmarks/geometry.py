"""Chibi geometry: milliseconds, folds and ratios.

    python benchmarks/geometry.py            # about a minute
    python benchmarks/geometry.py --faces 40

Speed: `chibify` of one uint8 picture, first call (with compilation) and warm
(median of the rounds). Folds: the smallest local area (a fold is below 0) over
the faces of artist portraits of many seeds, at strength 1, with exact and
jittered landmarks (normal, 3 % of the face's width), tilted by up to 40
degrees and with all knobs at 1.5. Ratios: share of faces that end in the target
range.
"""

import argparse
import collections
import dataclasses
import json
import os
import statistics
import time

import jax
import numpy as np

from chibijax.artist import draw_portrait, sample_attributes
from chibijax.post.geometry import ChibiKnobs, chibify, chibify_batch
from chibijax.post.proportions import Report


def main() -> None:
  """Prints both tables and one line of JSON."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--faces", type=int, default=200)
  parser.add_argument("--rounds", type=int, default=20)
  options = parser.parse_args()
  cores = len(os.sched_getaffinity(0))
  result = {"jax": jax.__version__, "cores": cores, "faces": options.faces}
  result["speed"] = speed(options.rounds)
  result["folds"], result["in_range"] = folds(options.faces)
  print(json.dumps(result))


def speed(rounds: int) -> dict[str, float]:
  """Milliseconds of one picture by size."""
  found = {}
  for size in (256, 512):
    image, landmarks = face(0, size)
    times = []
    for _ in range(rounds + 1):
      start = time.perf_counter()
      chibify(image, landmarks)
      times.append(1e3 * (time.perf_counter() - start))
    found[f"{size} first"] = round(times[0], 1)
    found[f"{size} warm"] = round(statistics.median(times[1:]), 1)
    print(
      f"{size} px: first {times[0]:.0f} ms, warm {found[f'{size} warm']:.1f} ms"
    )
  return found


def face(index: int, size: int) -> tuple[np.ndarray, np.ndarray]:
  """Picture and landmarks of one portrait."""
  rng = np.random.default_rng([3, index])
  drawn = draw_portrait(sample_attributes(rng), size, seed=index, masks=False)
  return drawn.rgb(), drawn.landmarks


def folds(count: int) -> tuple[dict[str, float], dict[str, float]]:
  """Smallest areas by case, and shares of ratios in range."""
  # Landmarks do not depend on the size, so tiny pictures will do.
  points = np.stack([face(k, 32)[1] * 8 for k in range(count)])
  rng = np.random.default_rng(0)
  full = ChibiKnobs(strength=1.0)
  most = ChibiKnobs(
    **{f.name: 1.5 for f in dataclasses.fields(full)} | {"strength": 1.0}
  )
  width = np.ptp(points[:, :17, 0], axis=1)[:, None, None]
  angle = np.deg2rad(rng.uniform(-40, 40, count))
  c, s = np.cos(angle), np.sin(angle)
  turn = np.stack([np.stack([c, -s], -1), np.stack([s, c], -1)], 1)
  cases = {
    "exact": (points, full),
    "jittered": (points + 0.03 * width * rng.normal(size=points.shape), full),
    "tilted": (np.einsum("bij,bnj->bni", turn, points - 128) + 128, full),
    "narrow": (points * (0.6, 1) + (51, 0), full),
    "knobs 1.5": (points, most),
  }
  smallest, shares = {}, {}
  for name, (moved, knobs) in cases.items():
    reports = deform_all(moved.astype(np.float32), knobs)
    smallest[name] = round(min(r.smallest_area for r in reports), 4)
    if name == "exact":
      shares = in_range(reports)
    print(f"{name:10} smallest area {smallest[name]:.3f}")
  for name, share in shares.items():
    print(f"{name:12} in range {100 * share:.0f} %")
  return smallest, shares


def deform_all(points: np.ndarray, knobs: ChibiKnobs) -> list[Report]:
  """Reports of many faces, in batches of 20."""
  reports = []
  for first in range(0, len(points), 20):
    part = points[first : first + 20]
    blank = np.zeros((len(part), 256, 256, 3), np.uint8)
    reports += chibify_batch(blank, part, knobs)[2]
  return reports


def in_range(reports: list[Report]) -> dict[str, float]:
  """Share of faces in the target range by ratio, of those that were judged."""
  seen = collections.defaultdict(list)
  for report in reports:
    for name, good in report.in_range.items():
      if good is not None:
        seen[name].append(good)
  return {name: round(float(np.mean(v)), 3) for name, v in seen.items()}


if __name__ == "__main__":
  main()
