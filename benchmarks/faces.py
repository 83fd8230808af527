"""Detection on real portraits, statuses of made cases, alignment, speed.

    python benchmarks/faces.py                # about 20 minutes
    python benchmarks/faces.py --every 10     # a tenth of the photos

Real photos come from `$CHIBIJAX_SHARED` or `../shared/data`. Found: the
photographed person's face overlaps (intersection over union above 0.3) the
mean box of MTCNN and YuNet. Extras are other detections: other people, who are
listed by hand below, or wrong. Age groups of the synthetic "faker" people were
told by eye. `detect.find` is measured, second looks included.
"""

import argparse
import collections
import json
import os
import pathlib
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable

import cv2
import faces_cases
import jax
import numpy as np
import tqdm
from PIL import Image

from chibijax.artist import draw_portrait, sample_attributes
from chibijax.faces import align, analyse, detect, status
from chibijax.faces.detection import Detection, iou

ROOT = pathlib.Path(__file__).resolve().parent.parent
# The synthetic people who look 60 or older, and 35 to 59; the rest is younger.
SENIOR = {
  "female": "7 14 15 16 18 20 21 23 24 34 46 52 55 69 75 77 79 80 81 83",
  "male": "3 15 20 22 23 47 50 56 65 69 73 89 92 95",
}
MIDDLE = {
  "female": "4 9 11 13 19 27 29 32 35 39 49 51 54 62 70 74 76 95",
  "male": "0 10 11 13 14 24 30 35 36 39 42 52 54 55 62 64 77 79 80 81 85 90 99",
}
# People in the background, found by looking at every extra.
OTHERS = {
  "female_55": [[390, 184, 408, 207]],
  "michael-guest": [[390, 245, 475, 360], [19, 136, 133, 297]],
  "raul-grijalva": [[4, 272, 148, 450]],
  "madeleine-dean": [[390, 190, 520, 396]],
  "chris-pappas": [[-3, 106, 108, 297]],
  "jackie-speier": [[15, 121, 113, 265]],
  "scott-peters": [[443, 266, 509, 445]],
  "ro-khanna": [[466, 336, 511, 457]],
}


def main() -> None:
  """Runs all parts and writes the JSON."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--every", type=int, default=1, help="use every n-th")
  parser.add_argument("--made", type=int, default=40, help="portraits cut up")
  parser.add_argument("--out", default="benchmarks/faces.json")
  options = parser.parse_args()
  cv2.setNumThreads(1)
  shared = pathlib.Path(
    os.environ.get("CHIBIJAX_SHARED") or ROOT.parent / "shared" / "data"
  )
  files = sorted((shared / "photos").glob("*/*.jpg"))[:: options.every]
  if not files:
    sys.exit(f"no photos in {shared}/photos")
  yunet = shared / "weights" / "yunet" / "yunet_n_320_320.onnx"
  blaze = shared / "weights" / "blazeface"
  detectors = {
    "mtcnn": detect.make("mtcnn"),
    "haar": detect.make("haar"),
    "yunet": detect.make("yunet", yunet),
    "blaze front": detect.make("blazeface", blaze / "blazeface.pth"),
    "blaze back": detect.make("blazeface", blaze / "blazefaceback.pth"),
  }
  photos = {file: np.asarray(Image.open(file).convert("RGB")) for file in files}
  boxes = main_faces(photos, detectors)
  result = {
    "machine": {"cores": os.cpu_count(), "load": os.getloadavg()[0]},
    "versions": {"python": platform.python_version(), "jax": jax.__version__},
    "photos": real_photos(photos, detectors, boxes),
    "statuses": real_statuses(photos, detectors["mtcnn"]),
    "made": made_cases(photos, detectors, options.made, shared / "heads"),
    "resolution": resolution(photos, detectors["mtcnn"], options.made),
    "alignment": alignment(detectors["mtcnn"]),
    "round_trip": round_trip(photos, detectors["mtcnn"], options.made),
    "speed": speed(detectors, next(iter(photos.values()))),
  }
  pathlib.Path(options.out).write_text(json.dumps(result, indent=1) + "\n")
  print(f"\nwritten to {options.out}")


def main_faces(
  photos: dict[pathlib.Path, np.ndarray], detectors: dict[str, detect.Detector]
) -> dict[pathlib.Path, np.ndarray]:
  """The photographed person: the largest face MTCNN and YuNet agree on."""
  found = {}
  for file, photo in bar(photos.items(), "main faces"):
    pairs = [
      (a.box + b.box) / 2
      for a in detectors["mtcnn"](photo)
      for b in detectors["yunet"](photo)
      if iou(a.box, b.box) > 0.3
    ]
    if not pairs:
      sys.exit(f"{file}: MTCNN and YuNet agree on no face; look at it")
    found[file] = max(pairs, key=lambda box: box[2] - box[0])
  return found


def groups(file: pathlib.Path) -> list[str]:
  """The rows of the table to which a photo belongs."""
  if file.parent.name != "faker":
    return ["house"]
  sex, number = re.fullmatch(r"(\w+)_(\d+)", file.stem).groups()
  age = "18-34"
  if number in SENIOR[sex].split():
    age = "60+"
  elif number in MIDDLE[sex].split():
    age = "35-59"
  return ["faker", f"faker {sex}", f"faker {age}"]


def real_photos(
  photos: dict[pathlib.Path, np.ndarray],
  detectors: dict[str, detect.Detector],
  boxes: dict[pathlib.Path, np.ndarray],
) -> dict[str, dict[str, dict[str, int]]]:
  """Found faces and extras by detector and group."""
  table: dict[str, dict[str, collections.Counter]] = {}
  for name, detector in detectors.items():
    rows = table.setdefault(name, collections.defaultdict(collections.Counter))
    for file, photo in bar(photos.items(), name):
      counts = count(detect.find(photo, detector), boxes[file], file.stem)
      for group in [*groups(file), "all"]:
        rows[group].update({"photos": 1, **counts})
  print(f"\n{'detector':12}{'group':14}{'photos':>7}{'found':>7}", end="")
  print(f"{'other people':>14}{'wrong':>7}")
  for name, rows in table.items():
    for group, row in sorted(rows.items()):
      print(f"{name:12}{group:14}{row['photos']:7}{row['found']:7}", end="")
      print(f"{row['others']:14}{row['wrong']:7}")
  return table


def count(
  detections: list[Detection], box: np.ndarray, stem: str
) -> dict[str, int]:
  """Found, other people and wrong detections of one photo."""
  counts = {"found": 0, "others": 0, "wrong": 0}
  others = np.array(OTHERS.get(stem, []), float).reshape(-1, 4)
  for one in detections:
    if iou(one.box, box) > 0.3 and not counts["found"]:
      counts["found"] = 1
    elif np.any(iou(one.box, others) > 0.2):
      counts["others"] += 1
    else:
      counts["wrong"] += 1
  return counts


def real_statuses(
  photos: dict[pathlib.Path, np.ndarray], detector: detect.Detector
) -> dict[str, dict[str, int]]:
  """Statuses of the largest face of each photo."""
  table = collections.defaultdict(collections.Counter)
  for file, photo in bar(photos.items(), "statuses"):
    face = analyse(photo, detector)[0]
    table[file.parent.name][face.status] += 1
    if face.status != "ok":
      tqdm.tqdm.write(f"  {file.stem}: {face.status}, yaw {face.pose[0]:.0f}")
  print({group: dict(row) for group, row in table.items()})
  return table


def made_cases(
  photos: dict[pathlib.Path, np.ndarray],
  detectors: dict[str, detect.Detector],
  most: int,
  heads: pathlib.Path,
) -> dict[str, dict[str, dict[str, float]]]:
  """Statuses of pictures whose right status is known."""
  rng = np.random.default_rng(0)
  files = list(photos)
  chosen = files[:: max(len(files) // most, 1)][:most]
  table: dict[str, dict[str, collections.Counter]] = {}

  def check(case: faces_cases.Case) -> None:
    for name, detector in detectors.items():
      faces = analyse(case.picture, detector)
      row = table.setdefault(case.name, {}).setdefault(
        name, collections.Counter()
      )
      row["cases"] += 1
      found = [face for face in faces if face.found]
      right = len(found) == case.faces or "none" in case.right
      right &= all(not case.right or f.status in case.right for f in faces)
      if case.roll is not None and found and found[0].points is not None:
        error = (found[0].pose[2] - case.roll + 180) % 360 - 180
        right &= abs(error) < 10
      row["right"] += bool(right)
      for face in faces:
        row[face.status] += 1

  frontal = []
  for file in bar(chosen, "made cases"):
    face = analyse(photos[file], detectors["mtcnn"])[0]
    if face.status != "ok":
      continue
    for case in faces_cases.from_portrait(
      photos[file], face.points, face.pose[2], rng
    ):
      check(case)
    if max(np.abs(face.pose)) < 8:
      frontal.append((photos[file], face.points))
  for photo, points in bar(frontal[:12], "turned heads"):
    for case in faces_cases.turned(photo, points, heads):
      check(case)
  below = [photos[file] for file in chosen]
  rest = [*faces_cases.without_faces(below), *faces_cases.cartoons(30)]
  for case in bar(rest, "no faces and drawings"):
    check(case)
  for name, rows in table.items():
    print(f"{name:38}", end="")
    for detector, row in rows.items():
      words = {k: v for k, v in row.items() if k not in ("cases", "right")}
      print(f"  {detector} {row['right']}/{row['cases']} {words}", end="")
    print()
  return table


def resolution(
  photos: dict[pathlib.Path, np.ndarray], detector: detect.Detector, most: int
) -> list[dict[str, float]]:
  """How far MTCNN's points move when the photo is made smaller."""
  rows = []
  chosen = list(photos.values())[:: max(len(photos) // most, 1)][:most]
  whole = [(photo, detect.find(photo, detector)[0].points) for photo in chosen]
  for target in (60, 40, 30, 25, 20, 15, 12):
    errors, missed = [], 0
    for photo, points in whole:
      inverse = align.invert(align.find_transform(points))
      eyes = float(np.sqrt(np.linalg.det(inverse[:, :2]))) * 256 * 0.192
      size = np.array(photo.shape[1::-1])
      small = (size * target / eyes).round().astype(int)
      picture = Image.fromarray(photo).resize(
        small.tolist(), Image.Resampling.BOX
      )
      found = detect.find(np.asarray(picture), detector)
      if not found:
        missed += 1
        continue
      there = points * (small / size)
      moved = np.linalg.norm(found[0].points - there, axis=1).mean()
      errors.append(moved / target)
    middle, high = np.percentile(errors, (50, 90)).tolist()
    rows.append(
      {"eyes_px": target, "missed": missed, "error": middle, "p90": high}
    )
    print(
      f"{target:4} px between the eyes: {missed} missed of {len(whole)}, ",
      end="",
    )
    print(f"points moved by {middle:.1%} of it (90th percentile {high:.1%})")
  return rows


def alignment(detector: detect.Detector, count: int = 100) -> dict[str, float]:
  """MTCNN's points and the pose on the artist's portraits, which are known."""
  errors, centers, poses, missed = [], [], [], 0
  for i in bar(range(count), "artist"):
    attributes = sample_attributes(np.random.default_rng([9, i]))
    drawing = draw_portrait(attributes, 512, seed=i)
    true = align.five_points(drawing.landmarks)
    face = analyse(drawing.rgb(), detector)[0]
    if face.points is None:
      missed += 1
      continue
    eyes = np.linalg.norm(true[0] - true[1])
    errors.append(np.linalg.norm(face.points - true, axis=1) / eyes)
    exact = align.move(align.find_transform(true), drawing.landmarks)
    found = align.move(face.transform, drawing.landmarks)
    centers.append(np.linalg.norm(exact - found, axis=1).mean())
    given = attributes.yaw, attributes.pitch, attributes.roll
    by_points = np.array(status.pose(true))
    poses.append([np.subtract(face.pose, given), by_points - given])
  five = np.mean(errors, 0).tolist()
  pixels = float(np.median(centers))
  row = {
    "portraits": count,
    "missed": missed,
    "five_points_error": five,
    "aligned_landmarks_px_of_256": pixels,
    "aligned_landmarks_of_eyes": pixels / (0.192 * 256),
    "pose_error_degrees": np.abs(poses).mean(0)[0].tolist(),
    "pose_error_of_true_points": np.abs(poses).mean(0)[1].tolist(),
  }
  print(json.dumps(row, indent=1))
  return row


def round_trip(
  photos: dict[pathlib.Path, np.ndarray], detector: detect.Detector, most: int
) -> dict[str, list[float]]:
  """PSNR of photo -> frame -> photo inside the frame, by the frame's side."""
  found = collections.defaultdict(list)
  for photo in list(photos.values())[:: max(len(photos) // most, 1)][:most]:
    points = detect.find(photo, detector)[0].points
    for size in (256, 512, 1024):
      aligned, transform = align.align(photo, points, size)
      back = align.paste(np.zeros_like(photo), aligned, transform)
      ones = align.paste(
        np.zeros_like(photo), np.full_like(aligned, 255), transform
      )
      inside = (ones == 255).all(-1)
      error = (back[inside].astype(float) - photo[inside]) ** 2
      found[str(size)].append(float(10 * np.log10(255**2 / error.mean())))
  rows = {k: np.percentile(v, (10, 50, 90)).tolist() for k, v in found.items()}
  print("round trip, dB (10, 50, 90 %):", rows)
  return rows


def speed(
  detectors: dict[str, detect.Detector], photo: np.ndarray
) -> dict[str, float]:
  """Milliseconds a photo, warm, and seconds of a cold process."""
  jobs: dict[str, Callable[[], object]] = {
    f"find, {name}": lambda d=d: detect.find(photo, d)
    for name, d in detectors.items()
  }
  jobs["analyse, mtcnn"] = lambda: analyse(photo, detectors["mtcnn"])
  points = detect.find(photo, detectors["mtcnn"])[0].points
  jobs["align to 256"] = lambda: align.align(photo, points)
  aligned, transform = align.align(photo, points)
  jobs["paste back"] = lambda: align.paste(photo, aligned, transform)
  large = np.asarray(Image.fromarray(photo).resize((5472, 3648)))
  jobs["find, mtcnn, 20 megapixels"] = lambda: detect.find(
    large, detectors["mtcnn"]
  )
  rows = {name: milliseconds(job) for name, job in jobs.items()}
  code = (
    "import time; t = time.time(); import numpy as np;"
    "from chibijax.faces import analyse, detect; d = detect.make('mtcnn');"
    "analyse(np.full((512, 512, 3), 99, np.uint8), d); print(time.time() - t)"
  )
  done = subprocess.run(
    [sys.executable, "-c", code],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=True,
  )
  rows["cold start to the first answer"] = 1e3 * float(done.stdout)
  for name, value in rows.items():
    print(f"{name:34}{value:8.1f} ms")
  return rows


def milliseconds(job: Callable[[], object]) -> float:
  """Median of 15 calls after two that do not count."""
  job(), job()
  spent = []
  for _ in range(15):
    start = time.perf_counter()
    job()
    spent.append(time.perf_counter() - start)
  return float(1e3 * np.median(spent))


def bar(items: Iterable, name: str) -> Iterable:
  """A progress bar that goes away."""
  return tqdm.tqdm(list(items), desc=name, leave=False)


if __name__ == "__main__":
  main()
