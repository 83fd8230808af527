"""Makes docs/avatars.png: a photo of an astronaut, and what becomes of it.

    PYTHONPATH=. python docs/avatars.py docs/avatars.png

The photo is scikit-image's of Eileen Collins (NASA, public domain).
"""

import argparse

import numpy as np
from PIL import Image
from skimage import data

from chibijax.apps.pipeline import Pipeline

CELL = 240
LOOKS = (
  {"style": "drawn"},
  {"style": "toon"},
  {"style": "drawn", "body": True},
  {"style": "toon", "finish": "ink", "background": "color:#ffe9d6"},
  {
    "style": "drawn",
    "stickers": "cat_ears+hearts",
    "background": "pattern:dots",
    "attributes": {"glasses": "round"},
  },
  {"style": "toon", "body": True, "background": "gradient:sky-mint"},
  {"style": "photo", "stickers": "party_hat+heart_glasses"},
)


def _cell(picture: np.ndarray) -> np.ndarray:
  image = Image.fromarray(picture).convert("RGBA")
  ground = Image.new("RGBA", image.size, "white")
  ground.alpha_composite(image)
  small = ground.convert("RGB").resize((CELL, CELL), Image.Resampling.LANCZOS)
  return np.asarray(small)


def main() -> None:
  """Reads the command line and writes the sheet."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("out")
  options = parser.parse_args()
  photo = data.astronaut()[:280, 76:356]
  cells = [_cell(photo)]
  for look in LOOKS:
    [result] = Pipeline.from_config(look | {"size": 512})([photo])
    cells.append(_cell(result.image))
  rows = [np.concatenate(cells[i : i + 4], 1) for i in (0, 4)]
  Image.fromarray(np.concatenate(rows)).save(options.out, optimize=True)


if __name__ == "__main__":
  main()
