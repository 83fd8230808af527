"""Makes docs/heads.png: what the procedural head can be and do.

    PYTHONPATH=. python docs/heads.py docs/heads.png

Rows: the mean head turned, identities, expressions, the chibi axis. Colours
are plain; the data set's heads have hair, freckles and clothes.
"""

import argparse

import numpy as np
from PIL import Image

from chibijax.heads import model as heads
from chibijax.heads import render
from chibijax.heads.procedural import (
  brow_weight,
  procedural_head,
  procedural_regions,
  scalp_weight,
)

CELL, SAMPLES = 180, 3
SKIN, HAIR = (0.87, 0.66, 0.55), (0.25, 0.17, 0.12)
PAINT = {
  "lips": (0.75, 0.40, 0.38),
  "eye_white": (0.96, 0.96, 0.96),
  "iris": (0.25, 0.42, 0.60),
  "pupil": (0.02, 0.02, 0.02),
  "mouth_inside": (0.40, 0.10, 0.10),
  "teeth": (0.97, 0.96, 0.90),
  "tongue": (0.75, 0.35, 0.35),
  "lashes": (0.12, 0.08, 0.06),
}
# Coefficients, the jaw's rotation and the turn of the camera.
ROWS = (
  (({}, 0, 0.0), ({}, 0, 0.6), ({}, 0, 1.57), ({}, 0, -0.6), ({}, 0, 3.14),
   ({"face_width": -2.0, "nose_length": 1.5}, 0, 0.3),
   ({"fullness": 2.0, "nose_width": 1.0}, 0, 0.3),
   ({"jaw_width": 1.5, "brow_ridge": 1.5, "neck_width": 1.0}, 0, 0.3)),
  (({"smile": 1.0, "lips_open": 0.5}, 0, 0.3), ({"lids_close": 1.0}, 0, 0.3),
   ({}, 0.3, 0.3), ({"mouth_pucker": 1.0}, 0, 0.3),
   ({"brow_inner_up": 1.0, "frown": 1.0}, 0, 0.3),
   ({"brow_down": 1.0, "sneer": 1.0, "lids_squint": 0.5}, 0, 0.3),
   ({"lids_wide": 1.0, "brow_outer_up": 1.0}, 0.2, 0.3),
   ({"cheek_puff": 1.0, "lids_close_left": 1.0}, 0, 0.3)),
  (({"chibi": 0.33}, 0, 0.3), ({"chibi": 0.66}, 0, 0.3),
   ({"chibi": 1.0}, 0, 0.0), ({"chibi": 1.0}, 0, 0.6),
   ({"chibi": 1.0}, 0, 1.57),
   ({"chibi": 1.0, "smile": 1.0, "lips_open": 0.6}, 0, 0.3),
   ({"chibi": 1.0, "lids_close": 1.0}, 0, 0.3),
   ({"chibi": 1.0, "brow_inner_up": 1.0}, 0.25, 0.3)),
)  # fmt: skip


def camera(turn: float, size: int) -> tuple[np.ndarray, np.ndarray]:
  """World to camera and intrinsics, 90 cm from the head."""
  cosine, sine = np.cos(turn), np.sin(turn)
  around = np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]])
  viewmat = np.eye(4)
  viewmat[:3, :3] = np.diag([1.0, -1.0, -1.0]) @ around
  viewmat[:3, 3] = viewmat[:3, :3] @ [0, 0.015, 0] + [0, 0, 0.9]
  focal = 2.9 * size
  K = np.array([[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1]])
  return viewmat, K


def _normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
  a, b, c = np.moveaxis(vertices[faces], 1, 0)
  areas = np.cross(b - a, c - a)
  total = np.zeros_like(vertices)
  for k in range(3):
    np.add.at(total, faces[:, k], areas)
  return total / np.linalg.norm(total, axis=1, keepdims=True)


def draw(vertices: np.ndarray, turn: float) -> np.ndarray:
  """A picture of the procedural head, uint8 [CELL, CELL, 3]."""
  regions, faces = procedural_regions(), procedural_head().faces
  color = np.tile(np.array(SKIN), (len(vertices), 1))
  for name, paint in PAINT.items():
    weight = getattr(regions, name)[:, None]
    color += weight * (np.array(paint) - color)
  size = CELL * SAMPLES
  viewmat, K = camera(turn, size)
  fragments = render.rasterize(vertices, faces, viewmat, K, (size, size))
  hairy = (regions.part <= 1).astype(float)[:, None]
  table = [_normals(vertices, faces), color, regions.rest, hairy]
  pixels = render.interpolate(fragments, faces, np.concatenate(table, 1))
  seen = fragments.face >= 0
  normal, shown, rest, hair = np.split(pixels[seen], [3, 6, 9], axis=1)
  # Hair and brows are patterns in space: sharper than the mesh.
  weight = np.maximum(scalp_weight(rest), brow_weight(rest))[:, None]
  shown = shown + weight * (hair > 0.98) * (np.array(HAIR) - shown)
  normal = normal @ viewmat[:3, :3].T
  normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-6)
  key = np.array([0.43, -0.48, -0.76])
  fill = np.array([-0.9, -0.1, -0.4])
  light = 0.28 + 0.62 * np.clip(normal @ key, 0, 1)
  light += 0.18 * np.clip(normal @ fill, 0, 1)
  picture = np.full((size, size, 3), 0.93)
  picture[seen] = shown * light[:, None]
  blocks = picture.reshape(CELL, SAMPLES, CELL, SAMPLES, 3).mean((1, 3))
  return (255 * blocks.clip(0, 1) ** (1 / 1.6)).astype(np.uint8)


def _cell(values: dict[str, float], jaw: float, turn: float) -> np.ndarray:
  head = procedural_head()
  both = {}
  for name, value in values.items():
    sides = (f"{name}_left", f"{name}_right")
    names = sides if sides[0] in head.expression_names else (name,)
    both |= dict.fromkeys(names, value)
  shape, expression = head.coefficients(**both)
  pose = np.array([0, 0, 0, jaw, 0, 0], np.float32)
  eyes = np.zeros(6, np.float32)
  return draw(heads.vertices(head, shape, expression, pose, eyes, xp=np), turn)


def main() -> None:
  """Reads the command line and writes the sheet."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("out")
  options = parser.parse_args()
  rows = [np.concatenate([_cell(*cell) for cell in row], 1) for row in ROWS]
  Image.fromarray(np.concatenate(rows)).save(options.out, optimize=True)


if __name__ == "__main__":
  main()
