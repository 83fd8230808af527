"""How visible pasted faces are: seam, fidelity and time by method.

    python -m benchmarks.compositing             # about 8 minutes
    python -m benchmarks.compositing --photos 8

Each photo's face is aligned (256 px), smoothed by a median filter and shifted
in colour (warmer and darker by 20 levels, contrast 0.85), which is more than a
network does, and pasted back. `seam` is `compositing.seam`'s ratio, 1 for no
more than the photo itself has there; `core` is the mean change of the middle
of the face in levels of 255, by what the method does to it; `outside` is how
many pixels beyond the frame changed. Real photos come from `$CHIBIJAX_SHARED`
or `../shared/data`.
"""

import argparse
import itertools
import json
import os
import pathlib
import sys
import time

import numpy as np
from PIL import Image, ImageFilter

from chibijax.faces import align, detect
from chibijax.ops import affine
from chibijax.post import compositing

ROOT = pathlib.Path(__file__).resolve().parent.parent
SIZE = 256


def main() -> None:
  """Prints the table and writes the JSON."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--photos", type=int, default=40)
  parser.add_argument("--out", default="benchmarks/compositing.json")
  options = parser.parse_args()
  shared = pathlib.Path(
    os.environ.get("CHIBIJAX_SHARED") or ROOT.parent / "shared" / "data"
  )
  files = sorted((shared / "photos").glob("*/*.jpg"))
  if not files:
    sys.exit(f"no photos in {shared}/photos")
  files = files[:: max(len(files) // options.photos, 1)][: options.photos]
  detector = detect.make()
  cases = []
  for file in files:
    photo = np.asarray(Image.open(file).convert("RGB"))
    found = detect.find(photo, detector)
    if found:
      cases.append((photo, found[0].points))
  rows = {}
  for mask, method, match, feather in itertools.product(
    (None, "oval"), compositing.METHODS, (0.0, 0.5, 1.0), (0.0, 0.04, 0.08)
  ):
    if feather == 0 and method != "feather":
      continue
    name = f"{mask or 'frame'} {method} match={match:g} feather={feather:g}"
    figures = [measure(*one, mask, method, match, feather) for one in cases]
    low, median, high = np.percentile(figures, (10, 50, 90), axis=0)
    rows[name] = {
      "seam": [round(float(v[0]), 3) for v in (low, median, high)],
      "core": round(float(median[1]), 2),
      "outside": int(np.max(figures, 0)[2]),
      "ms": round(float(median[3]), 1),
    }
    print(f"{name:44}", rows[name], flush=True)
  report = {"photos": len(cases), "size": SIZE, "rows": rows}
  pathlib.Path(options.out).write_text(json.dumps(report, indent=1) + "\n")


def measure(
  photo: np.ndarray,
  points: np.ndarray,
  shape: str | None,
  method: str,
  match: float,
  feather: float,
) -> tuple[float, float, int, float]:
  """Seam, change of the core, pixels changed outside, milliseconds."""
  aligned, transform = align.align(photo, points, SIZE)
  smooth = Image.fromarray(aligned).filter(ImageFilter.MedianFilter(7))
  shifted = np.asarray(smooth, float) * 0.85 + [10, -10, -25]
  picture = np.uint8(np.clip(shifted, 0, 255))
  y, x = (np.mgrid[:SIZE, :SIZE] + 0.5) / SIZE
  oval = ((x - 0.5) / 0.3) ** 2 + ((y - 0.55) / 0.4) ** 2 < 1
  mask = oval if shape else None
  start = time.perf_counter()
  result = compositing.paste_back(
    photo, picture, transform, mask=mask, feather=feather, method=method,
    match=match,
  )  # fmt: skip
  spent = 1000 * (time.perf_counter() - start)
  # The seam of all methods is looked for in the same place.
  report = compositing.seam(
    photo, result, transform, mask, frame=(SIZE, SIZE), feather=feather
  )
  back = affine.warp(result, transform, (SIZE, SIZE)).astype(float)
  core = slice(round(0.45 * SIZE), round(0.65 * SIZE))
  change = np.abs(back - picture)[core, core].mean()
  rows, columns = affine.window(transform, (SIZE, SIZE), photo.shape[:2])
  changed = (result != photo).any(-1)
  changed[rows, columns] = False
  return report.ratio, float(change), int(changed.sum()), spent


if __name__ == "__main__":
  main()
