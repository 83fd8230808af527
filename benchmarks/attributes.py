"""What `faces.measure` says of real people, against labels made by eye.

    python benchmarks/attributes.py            # about 3 minutes
    python benchmarks/attributes.py --json     # print the numbers as JSON

Photos come from `$CHIBIJAX_SHARED` or `../shared/data`; labels are words in
attributes_labels.csv: 70 of the synthetic "faker" people and 107 members of the
US House, every second or third by name. The halves are alternate rows. Only
the weights for glasses and beards were fitted on "develop" alone; which
contrasts to use, the widths that tell hair lengths, and the rules for bald
heads (11 of them), headwear and smiles were chosen with both halves in view, so
"held_out" is no unseen test for those. Hair length is not compared where it is
hidden.
Colours: the drawn chibi's skin and hair against the photo's, CIEDE2000, by the
Monk tone that is nearest to the photo's skin. Arms: the detector's five points
alone, and with the landmark and mask networks where their weights are there.
"""

import argparse
import collections
import csv
import dataclasses
import json
import os
import pathlib
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import tqdm
from PIL import Image

from chibijax.artist import draw_portrait, palette, sample_attributes
from chibijax.errors import UserError
from chibijax.faces import align, analyse, detect
from chibijax.faces.face import Face
from chibijax.faces.measure import measure
from chibijax.faces.person import Person
from chibijax.post.color import delta_e2000

ROOT = pathlib.Path(__file__).resolve().parent.parent
LABELS = ROOT / "benchmarks" / "attributes_labels.csv"
SCARVES, HATS = ("hijab", "turban"), ("cap", "beanie")
# What of the artist's hair styles the words must be; others are short.
LENGTHS = {
  "bald": ("bald",),
  "bob": ("medium",),
  "long_straight": ("long",),
  "long_wavy": ("long",),
  "twin_tails": ("long",),
  "braids": ("long",),
  "locs": ("medium", "long"),
  "curly": ("short", "medium"),
  "afro": ("short", "medium"),
  "ponytail": ("short", "medium", "long"),
}
# Where the photo's skin is sampled: cheeks and forehead, frame units.
SKIN_BOXES = (
  (0.37, 0.55, 0.44, 0.63),
  (0.56, 0.55, 0.63, 0.63),
  (0.45, 0.37, 0.55, 0.42),
)


def main() -> None:
  """Measures all arms and writes the JSON."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--every", type=int, default=1, help="use every n-th")
  parser.add_argument("--made", type=int, default=200, help="artist portraits")
  parser.add_argument("--json", action="store_true", help="print the JSON")
  parser.add_argument("--out", default="benchmarks/attributes.json")
  options = parser.parse_args()
  shared = pathlib.Path(
    os.environ.get("CHIBIJAX_SHARED") or ROOT.parent / "shared" / "data"
  )
  files = sorted((shared / "photos").glob("*/*.jpg"))[:: options.every]
  if not files:
    sys.exit(f"no photos in {shared}/photos")
  detector = detect.make()
  with LABELS.open() as lines:
    labels = {row["file"]: row for row in csv.DictReader(lines)}
  result: dict[str, Any] = {"photos": len(files), "arms": {}}
  for arm, (landmarks, segment) in _arms().items():
    people, colors, seconds = {}, [], []
    for file in tqdm.tqdm(files, desc=arm, disable=options.json):
      photo = np.asarray(Image.open(file).convert("RGB"))
      face = find(photo, detector, landmarks, segment)
      if not face.found:
        continue
      start = time.process_time()
      person = measure(photo, face)
      seconds.append(time.process_time() - start)
      people[f"{file.parent.name}/{file.name}"] = person
      if file.parent.name == "faker":
        colors.append(color_errors(photo, face, person))
    result["arms"][arm] = {
      "measured": len(people),
      "milliseconds": round(1e3 * float(np.median(seconds)), 1),
      "agreement": agreement(labels, people),
      "colors": by_tone([c for c in colors if c]),
    }
  result["made"] = {
    "points": made(options.made, known=False),
    "landmarks, masks": made(options.made, known=True),
  }
  text = json.dumps(result, indent=1)
  pathlib.Path(options.out).write_text(text + "\n")
  print(text if options.json else summary(result))


def find(
  photo: np.ndarray,
  detector: detect.Detector,
  landmarks: Any | None,
  segment: Any | None,
) -> Face:
  """The largest face, with landmarks and masks of the given networks."""
  face = analyse(photo, detector, limit=1)[0]
  if not face.found or (landmarks is None and segment is None):
    return face
  points = face.points
  if landmarks is not None:
    picture, to = align.align(photo, points, landmarks.size, landmarks.margin)
    found = align.move(align.invert(to), landmarks(picture))
    face = dataclasses.replace(face, landmarks=found.astype(np.float32))
    points = align.five_points(found)
  if segment is not None:
    picture, to = align.align(photo, points, segment.size, segment.margin)
    back = align.invert(to)
    masks = {
      name: align.warp(np.uint8(255 * share), back, photo.shape[:2]) > 127
      for name, share in segment(picture).items()
    }
    # Outside the frame nothing is known, and `warp` repeats the border.
    inside = align.warp(
      np.full_like(picture[..., 0], 255), back, photo.shape[:2]
    )
    face = dataclasses.replace(
      face, mask={name: mask & (inside > 0) for name, mask in masks.items()}
    )
  return face


def agreement(
  labels: dict[str, dict[str, str]], people: dict[str, Person]
) -> dict[str, Any]:
  """Shares of agreement and the confusions, by half of the table."""
  questions: dict[str, tuple[Callable[..., Any], Callable[[Person], Any]]] = {
    "glasses": (lambda row: row["glasses"], lambda p: p.glasses),
    "beard": (lambda row: row["beard"] != "none", lambda p: p.beard != "none"),
    "beard word": (lambda row: row["beard"], lambda p: p.beard),
    "hair length": (lambda row: row["hair_length"], lambda p: p.hair_length),
    "bald": (
      lambda row: row["hair_length"] == "bald",
      lambda p: p.hair_length == "bald",
    ),
    "headwear": (
      lambda row: row["headwear"] != "none",
      lambda p: p.headwear != "none",
    ),
    "headwear word": (lambda row: row["headwear"], lambda p: p.headwear),
    "smile": (
      lambda row: row["smile"] == "yes",
      lambda p: p.mouth in ("smile", "grin"),
    ),
  }
  result = {}
  for name, (truth, said) in questions.items():
    pairs = collections.defaultdict(list)
    for file, row in labels.items():
      hidden = (
        name in ("hair length", "bald") and row["hair_length"] == "hidden"
      )
      if file in people and not hidden:
        pairs[row["half"]].append((truth(row), said(people[file])))
        pairs[file.split("/")[0]].append((truth(row), said(people[file])))
    result[name] = {group: _agree(some) for group, some in pairs.items()}
  return result


def color_errors(
  photo: np.ndarray, face: Face, person: Person
) -> tuple[int, float, float | None] | None:
  """Monk tone of the photo's skin, and dE of the chibi's skin and hair.

  The chibi's colours are those of its skin and hair masks; the photo's skin is
  the median of cheeks and forehead; its hair is what `measure` found, so that
  this second number is the drawing's own error.
  """
  try:
    from chibijax.apps import drawn
  except ImportError:
    return None
  picture = drawn.draw(person, 256)
  canon = align.warp(photo, align.find_transform(face.points, 256), (256, 256))
  samples = [
    canon[round(t * 256) : round(b * 256), round(x * 256) : round(r * 256)]
    for x, t, r, b in SKIN_BOXES
  ]
  skin = np.median(np.concatenate([s.reshape(-1, 3) for s in samples]), 0)
  tones = np.array([palette.rgb(tone) for tone in palette.SKIN], float)
  tone = int(_delta(np.broadcast_to(skin, tones.shape), tones).argmin()) + 1
  errors = []
  for mask, real in (
    ("skin", skin),
    ("hair", None if person.hair is None else palette.rgb(person.hair)),
  ):
    where = picture.masks[mask] & (picture.image[..., 3] == 255)
    if real is None or where.sum() < 20:
      errors.append(None)
      continue
    own = np.median(picture.image[..., :3][where], 0)
    errors.append(float(_delta(own[None], np.array(real, float)[None])[0]))
  return tone, errors[0], errors[1]


def by_tone(
  errors: list[tuple[int, float | None, float | None]],
) -> dict[str, Any]:
  """Medians and 90th percentiles of colour errors by Monk tone."""
  result = {}
  for tone in (0, *range(1, 11)):
    mine = [e for e in errors if tone in (0, e[0])]
    if mine:
      result[str(tone) if tone else "all"] = {
        "photos": len(mine),
        "skin": _spread([e[1] for e in mine]),
        "hair": _spread([e[2] for e in mine]),
      }
  return result


def made(count: int, *, known: bool) -> dict[str, Any]:
  """Agreement on portraits of the artist, whose attributes are known."""
  pairs = collections.defaultdict(list)
  for index in range(count):
    a = sample_attributes(np.random.default_rng([7, index]))
    drawing = draw_portrait(a, 320, seed=index, masks=known)
    points = align.five_points(drawing.landmarks).astype(np.float32)
    to = align.find_transform(points)
    face = dataclasses.replace(
      Face.none(),
      status="ok",
      points=points,
      transform=to,
      inverse=align.invert(to),
    )
    extra = {}
    if known:
      masks = {name: drawing.masks[name] for name in ("hair", "skin")}
      extra = {"landmarks": drawing.landmarks, "masks": masks}
    said = measure(drawing.rgb(), face, **extra)
    worn = "sunglasses" if a.glasses == "sunglasses" else "glasses"
    worn = "none" if a.glasses == "none" else worn
    pairs["glasses"].append((worn, said.glasses))
    pairs["beard"].append((a.facial_hair != "none", said.beard != "none"))
    head = a.headwear
    if head in (*SCARVES, *HATS, "none") and (
      a.hair_color not in palette.FANTASY_HAIR
    ):
      pairs["headwear"].append((head != "none", said.headwear != "none"))
    if head not in SCARVES:
      words = LENGTHS.get(a.hair_style, ("short",))
      right = said.hair_length in words
      pairs["hair length"].append(
        (words[0], words[0] if right else said.hair_length)
      )
    if a.expression in ("neutral", "sad", "angry", "smile", "grin", "laugh"):
      happy = a.expression in ("smile", "grin", "laugh")
      pairs["smile"].append((happy, said.mouth in ("smile", "grin")))
  return {name: _agree(some) for name, some in pairs.items()}


def summary(result: dict[str, Any]) -> str:
  """The agreement as lines of text."""
  lines = []
  for arm, values in result["arms"].items():
    lines.append(f"{arm}: {values['measured']} photos")
    for name, groups in values["agreement"].items():
      shares = ", ".join(f"{g} {v['share']:.3f}" for g, v in groups.items())
      lines.append(f"  {name}: {shares}")
    lines.append(f"  colours: {values['colors'].get('all')}")
  for arm, values in result["made"].items():
    shares = ", ".join(f"{g} {v['share']:.3f}" for g, v in values.items())
    lines.append(f"made, {arm}: {shares}")
  return "\n".join(lines)


def _arms() -> dict[str, tuple[Any | None, Any | None]]:
  arms: dict[str, tuple[Any | None, Any | None]] = {"points": (None, None)}
  try:
    from chibijax.faces import landmarks, segment

    networks = landmarks.load(), segment.load()
  except (ImportError, UserError, OSError) as error:
    print(f"no networks, that arm is left out: {error}", file=sys.stderr)
    return arms
  arms["landmarks"] = networks[0], None
  arms["landmarks, masks"] = networks
  return arms


def _agree(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
  """Share of equal pairs, and how often each (label, said) pair came up."""
  confusion = collections.Counter(f"{a} > {b}" for a, b in pairs)
  share = float(np.mean([a == b for a, b in pairs]))
  return {
    "share": round(share, 3),
    "count": len(pairs),
    "confusion": dict(sorted(confusion.items())),
  }


def _delta(first: np.ndarray, second: np.ndarray) -> np.ndarray:
  """CIEDE2000 of sRGB colours in 0..255."""
  from skimage.color import rgb2lab

  return np.asarray(delta_e2000(rgb2lab(first / 255), rgb2lab(second / 255)))


def _spread(values: list[float | None]) -> dict[str, float] | None:
  kept = [value for value in values if value is not None]
  if not kept:
    return None
  median, high = np.quantile(kept, [0.5, 0.9])
  return {
    "count": len(kept),
    "median": round(float(median), 2),
    "90 %": round(float(high), 2),
  }


if __name__ == "__main__":
  main()
