"""Draws the contact sheet of the embedded clips of heads.

    python docs/heads_data.py docs/heads_data.png

Four frames each of people 0 to 7 of a seed with half of them drawn: not chosen.
"""

import argparse

import numpy as np
from PIL import Image

from chibijax.data.heads import ProceduralHeads

PEOPLE, FRAMES = 8, 4


def sheet(seed: int, cell: int) -> np.ndarray:
  """Draws the sheet: 4 rows of two people.

  Args:
    seed: of the people.
    cell: pixels per picture.

  Returns:
    RGB picture.
  """
  source = ProceduralHeads(cell, seed=seed, chibi_share=0.5)
  strips = []
  for identity in range(PEOPLE):
    person = source.character(identity)
    frames = [source.frame(identity, k, person) for k in range(FRAMES)]
    strips.append(np.concatenate([f["picture"] for f in frames], axis=1))
  pairs = zip(strips[::2], strips[1::2])
  picture = np.concatenate([np.concatenate(p, axis=1) for p in pairs], axis=0)
  # Six bits a channel: invisible here, and a smaller file.
  levels = np.round(picture / 255 * 63)
  return np.round(levels / 63 * 255).astype(np.uint8)


def main() -> None:
  """Writes the sheet."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("out")
  parser.add_argument("--seed", type=int, default=0)
  parser.add_argument("--cell", type=int, default=160)
  options = parser.parse_args()
  picture = Image.fromarray(sheet(options.seed, options.cell))
  picture.save(options.out, optimize=True)


if __name__ == "__main__":
  main()
