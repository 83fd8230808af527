r"""`chibijax avatar` end to end: cold start, warm, batch, memory, ms per stage.

  OPENBLAS_NUM_THREADS=1 PYTHONPATH=. python benchmarks/avatar.py \
    --json benchmarks/avatar.json

Photos are the shared portraits where they are, else scikit-image's astronaut.
Cold start is a process of its own, with an empty cache of compiled programs and
with a filled one; the rest runs in one process, rounds of styles interleaved.
The variable is what the command sets for itself. Times depend on the machine;
`load` says how busy it was.
"""

import argparse
import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time
from typing import Any

import numpy as np
from PIL import Image

from chibijax.apps.commands.common import keep_compiled
from chibijax.apps.pipeline import Pipeline
from chibijax.data import photo as photo_data

ROOT = pathlib.Path(__file__).resolve().parent.parent
SHARED = pathlib.Path(
  os.environ.get("CHIBIJAX_SHARED", ROOT.parent / "shared" / "data")
)
STYLES = ("drawn", "toon")
GOALS = {"warm_ms": 500, "cold_s": 6, "photos_per_s": 8, "peak_mib": 1536}


def portraits(count: int) -> list[np.ndarray]:
  """Photos of 512 px, uint8."""
  files = sorted((SHARED / "photos" / "faker").glob("*.jpg"))
  if not files:
    from skimage import data

    return [data.astronaut()] * count
  chosen = files[:: max(1, len(files) // count)][:count]
  return [photo_data.read(path).pixels for path in chosen]


def cold(style: str, folder: pathlib.Path, picture: pathlib.Path) -> float:
  """Seconds of one command in a process of its own."""
  command = [sys.executable, "-m", "chibijax.apps.cli", "avatar", str(picture)]
  command += ["--style", style, "--out", str(folder / f"{style}.png")]
  settings = {
    # One style's compiled programs must not help another.
    "CHIBIJAX_CACHE": str(folder / style),
    "CHIBIJAX_CONFIG": str(folder / "config"),
    "PYTHONPATH": str(ROOT),
  }
  start = time.perf_counter()
  subprocess.run(
    [*command, "--overwrite"],
    env=os.environ | settings,
    check=True,
    capture_output=True,
  )
  return time.perf_counter() - start


def measure(rounds: int, count: int) -> dict[str, Any]:
  """All figures of this process."""
  keep_compiled()
  photos = portraits(count)
  pipelines = {s: Pipeline.from_config({"style": s}) for s in STYLES}
  for pipeline in pipelines.values():
    pipeline(photos[:4])
  single = {style: [] for style in STYLES}
  batch = {style: [] for style in STYLES}
  stages: dict[str, dict[str, list[float]]] = {style: {} for style in STYLES}
  for turn in range(rounds):
    for style, pipeline in pipelines.items():
      start = time.perf_counter()
      [result] = pipeline([photos[turn % len(photos)]])
      single[style].append(1000 * (time.perf_counter() - start))
      for stage, value in result.times.items():
        stages[style].setdefault(stage, []).append(value)
      start = time.perf_counter()
      pipeline(photos)
      batch[style].append(len(photos) / (time.perf_counter() - start))
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
  return {
    style: {
      "warm_ms": float(np.median(single[style])),
      "photos_per_s": float(np.median(batch[style])),
      "stages_ms": {k: float(np.median(v)) for k, v in stages[style].items()},
    }
    for style in STYLES
  } | {"peak_mib": peak}


def main() -> None:
  """Measures, prints and writes."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--rounds", type=int, default=7)
  parser.add_argument("--count", type=int, default=16)
  parser.add_argument("--json", type=pathlib.Path)
  options = parser.parse_args()
  with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    picture = folder / "me.png"
    Image.fromarray(portraits(1)[0]).save(picture)
    starts = {
      style: {
        "cold_s": cold(style, folder, picture),
        "compiled_s": float(
          np.median([cold(style, folder, picture) for _ in range(3)])
        ),
      }
      for style in STYLES
    }
  figures = measure(options.rounds, options.count)
  for style in STYLES:
    figures[style] |= starts[style]
  figures |= {"goals": GOALS, "load": os.getloadavg(), "cores": os.cpu_count()}
  print(json.dumps(figures, indent=1))
  if options.json:
    options.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
  main()
