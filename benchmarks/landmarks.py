"""The 68 landmarks against Face Mesh, alignment, the way back to the photo.

    python benchmarks/landmarks.py               # about 5 minutes
    python benchmarks/landmarks.py --every 10    # a tenth of the photos

Photos and Face Mesh's file come from `$CHIBIJAX_SHARED` or `../shared/data`.
On photos nobody knows the truth, so MediaPipe's Face Mesh is the yardstick; on
the artist's portraits (seeds that no training uses) every landmark is known.

An error is the mean distance of a region's points, divided by the distance of
the outer corners of the eyes. Face Mesh's points and iBUG's are not defined
alike, above all along the jaw: `offset_free` takes each point's mean offset
away before, over all photos and in the face's own frame.
"""

import argparse
import collections
import json
import os
import pathlib
import platform
import sys
import time
from collections.abc import Callable, Mapping
from typing import TypeAlias

import cv2
import faces as faces_benchmark
import jax
import numpy as np
from PIL import Image

from chibijax.artist import draw_portrait, sample_attributes
from chibijax.errors import UserError
from chibijax.faces import (
  align,
  analyse,
  analysis,
  detect,
  face_mesh,
  landmarks,
)

ROOT = pathlib.Path(__file__).resolve().parent.parent
REGIONS = {
  "all": slice(0, 68),
  "inner": slice(17, 68),
  "jaw": slice(0, 17),
  "brows": slice(17, 27),
  "nose": slice(27, 36),
  "eyes": slice(36, 48),
  "mouth": slice(48, 68),
}
# Share of the eyes' distance from which on a photo counts as failed.
FAILED = 0.1
# The outer corners of the eyes.
CORNERS = (36, 45)
# First number of the seeds of the portraits that are measured.
HELD_OUT = 9001
# The photo and the five points of a face -> 68 points of the photo.
Arm: TypeAlias = Callable[[np.ndarray, np.ndarray], np.ndarray]


def main() -> None:
  """Runs all parts and writes the JSON."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--every", type=int, default=1, help="use every n-th")
  parser.add_argument("--made", type=int, default=100, help="drawn portraits")
  parser.add_argument("--weights", help="another regressor's weights")
  parser.add_argument("--out", default="benchmarks/landmarks.json")
  options = parser.parse_args()
  cv2.setNumThreads(1)
  shared = pathlib.Path(
    os.environ.get("CHIBIJAX_SHARED") or ROOT.parent / "shared" / "data"
  )
  files = sorted((shared / "photos").glob("*/*.jpg"))[:: options.every]
  if not files:
    sys.exit(f"no photos in {shared}/photos")
  yardstick = face_mesh.FaceMesh(
    shared / "weights" / "face_mesh" / "face_mesh.tflite", passes=3
  )
  detector = detect.make("mtcnn")
  regressor = find_regressor(options.weights)
  photos = {file: np.asarray(Image.open(file).convert("RGB")) for file in files}
  made = portraits(options.made)
  arms = make_arms(regressor, yardstick)
  result = {
    "machine": {"cores": os.cpu_count(), "load": os.getloadavg()[0]},
    "versions": {"python": platform.python_version(), "jax": jax.__version__},
    "photos": on_photos(photos, arms, yardstick, detector),
    "portraits": on_portraits(made, arms),
    "alignment": alignment(made, regressor, yardstick, detector),
    "round_trip": faces_benchmark.round_trip(photos, detector, 40),
  }
  pathlib.Path(options.out).write_text(json.dumps(result, indent=1) + "\n")
  print(f"\nwritten to {options.out}")


def find_regressor(path: str | None) -> landmarks.Landmarks | None:
  """Our own regressor, or None and a note where its weights are missing."""
  try:
    return landmarks.load(path)
  except UserError as e:
    print(f"arm `regressor` is left out: {e}")
    return None


def make_arms(
  regressor: landmarks.Landmarks | None, mesh: face_mesh.FaceMesh
) -> dict[str, Arm]:
  """What is measured, by name."""
  arms: dict[str, Arm] = {
    "mean shape": lambda photo, five: landmarks.from_points(five),
    "face mesh": lambda photo, five: face_mesh.to_68(
      mesh.find(photo, five).points
    )[:, :2],
  }
  if regressor is not None:
    arms["regressor"] = lambda photo, five: regress(photo, five, regressor)
  return arms


def regress(
  photo: np.ndarray, points: np.ndarray, regressor: landmarks.Landmarks
) -> np.ndarray:
  """68 points of a photo, as `analyse` finds them."""
  for _ in range(analysis.LOOKS):
    points = analysis.find_landmarks(photo, points, regressor)
  return points


def portraits(count: int) -> list[tuple[np.ndarray, np.ndarray]]:
  """Drawn portraits and their landmarks."""
  found = []
  for i in faces_benchmark.bar(range(count), "drawing"):
    attributes = sample_attributes(np.random.default_rng([HELD_OUT, i]))
    drawing = draw_portrait(attributes, 512, seed=HELD_OUT + i)
    found.append((drawing.rgb(), drawing.landmarks))
  return found


def on_photos(
  photos: Mapping[pathlib.Path, np.ndarray],
  arms: Mapping[str, Arm],
  mesh: face_mesh.FaceMesh,
  detector: detect.Detector,
) -> dict[str, dict]:
  """Errors of every arm against Face Mesh, by group and region."""
  five, reference, mirrored, scores = {}, {}, {}, []
  for file, photo in faces_benchmark.bar(photos.items(), "yardstick"):
    five[file] = detect.find(photo, detector)[0].points
    seen = mesh.find(photo, five[file])
    reference[file] = face_mesh.to_68(seen.points)[:, :2]
    mirrored[file] = in_mirror(photo, five[file], mesh)
    scores.append(seen.score)
  table: dict[str, dict] = {"yardstick": {"lowest_score": min(scores)}}
  found = {"yardstick on the mirrored photo": mirrored}
  spent = collections.defaultdict(list)
  for name, arm in arms.items():
    if name == "face mesh":
      continue
    found[name] = {}
    for file, photo in faces_benchmark.bar(photos.items(), name):
      start = time.perf_counter()
      found[name][file] = arm(photo, five[file])
      spent[name].append(time.perf_counter() - start)
  for name, points in found.items():
    table[name] = by_group(points, reference, faces_benchmark.groups)
    free = offset_free(points, reference)
    table[name]["offset_free"] = by_group(
      free, reference, faces_benchmark.groups
    )["all"]
    if name in spent:
      table[name]["ms"] = 1e3 * float(np.median(spent[name]))
    show(name, table[name])
  return table


def in_mirror(
  photo: np.ndarray, five: np.ndarray, mesh: face_mesh.FaceMesh
) -> np.ndarray:
  """What Face Mesh says of the mirrored photo, mirrored back."""
  width = photo.shape[1]

  def turn(points: np.ndarray, order: np.ndarray) -> np.ndarray:
    return (points * [-1, 1] + [width, 0])[order].astype(np.float32)

  other = np.ascontiguousarray(photo[:, ::-1])
  seen = mesh.find(other, turn(five, np.array([1, 0, 2, 4, 3])))
  return turn(face_mesh.to_68(seen.points)[:, :2], face_mesh.MIRROR)


def on_portraits(
  made: list[tuple[np.ndarray, np.ndarray]], arms: Mapping[str, Arm]
) -> dict[str, dict]:
  """Errors of every arm against the truth, given the true five points."""
  truth = {i: points for i, (_, points) in enumerate(made)}
  table = {}
  for name, arm in arms.items():
    found = {
      i: arm(picture, align.five_points(points))
      for i, (picture, points) in enumerate(made)
    }
    table[name] = by_group(found, truth, lambda i: [])
    table[name]["offset_free"] = by_group(
      offset_free(found, truth), truth, lambda i: []
    )["all"]
    show(f"{name}, drawn portraits", table[name])
  return table


def errors(found: np.ndarray, truth: np.ndarray) -> dict[str, float]:
  """Mean distance by region, in units of the outer eye corners' distance."""
  eyes = np.linalg.norm(truth[CORNERS[0]] - truth[CORNERS[1]])
  far = np.linalg.norm(found - truth, axis=1) / eyes
  return {name: float(far[part].mean()) for name, part in REGIONS.items()}


def by_group(
  found: Mapping, truth: Mapping, groups: Callable
) -> dict[str, dict]:
  """Median, mean and share of failures, by group and region."""
  rows = collections.defaultdict(lambda: collections.defaultdict(list))
  for key, points in found.items():
    for region, error in errors(points, truth[key]).items():
      for group in ["all", *groups(key)]:
        rows[group][region].append(error)
  return {
    group: {
      "count": len(regions["all"]),
      **{region: summary(values) for region, values in regions.items()},
    }
    for group, regions in sorted(rows.items())
  }


def summary(values: list[float]) -> dict[str, float]:
  """What is kept of many errors."""
  return {
    "median": float(np.median(values)),
    "mean": float(np.mean(values)),
    "over_10_percent": float(np.mean(np.greater(values, FAILED))),
  }


def offset_free(found: Mapping, truth: Mapping) -> dict:
  """The points without their mean offsets from the truth.

  Offsets are averaged in the frame that is aligned to the true points.
  """
  frames = {key: align.find_transform(truth[key], 1) for key in found}
  offset = np.mean(
    [
      align.move(frames[key], points) - align.move(frames[key], truth[key])
      for key, points in found.items()
    ],
    0,
  )
  return {
    key: align.move(
      align.invert(frames[key]), align.move(frames[key], points) - offset
    )
    for key, points in found.items()
  }


def alignment(
  made: list[tuple[np.ndarray, np.ndarray]],
  regressor: landmarks.Landmarks | None,
  mesh: face_mesh.FaceMesh,
  mtcnn: detect.Detector,
) -> dict[str, dict[str, float]]:
  """How far landmarks lie from their right place after aligning.

  The right place is where the transform of the true five points takes them;
  pixels are of a frame of 256, and the distance between the middles of the eyes
  is 49 of them.
  """
  arms = {"mtcnn": (mtcnn, None), "haar": (detect.make("haar"), None)}
  if regressor is not None:
    arms["mtcnn and regressor"] = (mtcnn, regressor)
  arms["mtcnn and face mesh"] = (mtcnn, mesh)
  eyes = float(np.diff(align.canonical_points(256)[:2, 0])[0])
  table = {}
  for name, (detector, function) in arms.items():
    far, missed = [], 0
    for picture, true in faces_benchmark.bar(made, name):
      face = analyse(picture, detector, landmarks=function, size=256)[0]
      if not face.found:
        missed += 1
        continue
      exact = align.find_transform(true, 256)
      shift = align.move(face.transform, true) - align.move(exact, true)
      far.append(np.linalg.norm(shift, axis=1).mean())
    low, middle, high = np.percentile(far, (10, 50, 90)).tolist()
    table[name] = {
      "portraits": len(made),
      "missed": missed,
      "px_of_256": middle,
      "px_of_256_p10": low,
      "px_of_256_p90": high,
      "of_eyes": middle / eyes,
      "of_eyes_p90": high / eyes,
    }
    print(
      f"{name:22}{middle:6.2f} px ({low:.2f} to {high:.2f}),"
      f" {middle / eyes:.1%} of the eyes' distance, missed {missed}"
    )
  return table


def show(name: str, table: Mapping[str, dict]) -> None:
  """Prints medians and the share of failures."""
  print(f"\n{name}: median error, % of the eyes' outer distance")
  print(f"{'':16}{'n':>5}" + "".join(f"{r:>8}" for r in REGIONS), end="")
  print(f"{'mean':>8}{'> 10 %':>8}")
  for group, row in table.items():
    if not isinstance(row, dict) or "all" not in row:
      continue
    cells = "".join(f"{100 * row[r]['median']:8.2f}" for r in REGIONS)
    whole = row["all"]
    print(f"{group:16}{row['count']:5}{cells}", end="")
    print(f"{100 * whole['mean']:8.2f}{whole['over_10_percent']:8.1%}")


if __name__ == "__main__":
  main()
