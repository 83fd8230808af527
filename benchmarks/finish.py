"""Finishes: milliseconds of each step and preset.

    taskset -c 0 python benchmarks/finish.py --out benchmarks/finish.json

One artist's portrait with its landmarks and masks; the first call of each step
(with compilation) and the median of the warm ones, on whatever cores the
process has.
"""

import argparse
import json
import os
import pathlib
import statistics
import time

import jax
import numpy as np

from chibijax.artist import draw_portrait, sample_attributes
from chibijax.post import finishes, recipe

# Values of those steps that need one.
VALUES = {
  "glitch": "0.5",
  "poster": "1",
  "ink": "1",
  "palette": "16",
  "sticker": "round_glasses",
  "background": "blur",
  "frame": "circle",
}


def main() -> None:
  """Prints the table, and writes it where told."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--size", type=int, default=512)
  parser.add_argument("--rounds", type=int, default=15)
  parser.add_argument("--out", type=pathlib.Path)
  options = parser.parse_args()
  cores = len(os.sched_getaffinity(0))
  result = {"jax": jax.__version__, "cores": cores, "size": options.size}
  texts = [
    f"{name}={VALUES[name]}" if name in VALUES else name
    for name in finishes.STEPS
  ]
  texts += [name for name in recipe.PRESETS if name != "none"]
  result["ms"] = {}
  for text in texts:
    first, warm = measure(text, options.size, options.rounds)
    result["ms"][text] = {"first": round(first), "warm": round(warm, 1)}
    print(f"{text:<22}first {first:7.0f} ms, warm {warm:6.1f} ms")
  if options.out:
    options.out.write_text(json.dumps(result, indent=1) + "\n")


def measure(text: str, size: int, rounds: int) -> tuple[float, float]:
  """Milliseconds of the first call, and the median of the others."""
  rng = np.random.default_rng([3, 4])
  drawn = draw_portrait(sample_attributes(rng), size, seed=4)
  masks = {name: drawn.masks[name] for name in ("skin", "hair")}
  masks["background"] = ~(drawn.masks["head"] | masks["skin"] | masks["hair"])
  image = drawn.rgb().astype(np.float32) / 255
  times = []
  for _ in range(rounds + 1):
    start = time.perf_counter()
    recipe.apply(
      image,
      text,
      landmarks=drawn.landmarks,
      masks=masks,
      reference=image,
    )
    times.append(1e3 * (time.perf_counter() - start))
  return times[0], statistics.median(times[1:])


if __name__ == "__main__":
  main()
