"""Draws the contact sheets of the embedded artist.

    python docs/contact_sheets.py chibi|portrait|pairs|bodies OUT.png

The characters are samples 0, 1, 2, ... of one seed, not chosen.
"""

import argparse

import numpy as np
from PIL import Image

from chibijax.artist import (
  Attributes,
  draw_chibi,
  draw_portrait,
  sample_attributes,
)

COLUMNS, ROWS = 8, 5


def _attributes(seed: int, index: int) -> Attributes:
  return sample_attributes(np.random.default_rng([seed, index]))


def _picture(kind: str, seed: int, index: int, size: int) -> np.ndarray:
  """Draws cell `index` as RGB."""
  attributes = _attributes(seed, index)
  if kind in ("chibi", "bodies"):
    body = kind == "bodies"
    return draw_chibi(attributes, size, body=body, masks=False).rgb()
  return draw_portrait(attributes, size, seed=seed * 100_003 + index).rgb()


def _six_bits(picture: np.ndarray) -> np.ndarray:
  """Drops two bits per channel: invisible here, and a smaller file."""
  levels = np.round(picture / 255 * 63)
  return np.round(levels / 63 * 255).astype(np.uint8)


def sheet(kind: str, seed: int, cell: int) -> np.ndarray:
  """Draws a whole sheet.

  Args:
    kind: "chibi", "portrait", "bodies" or "pairs" (portrait, then its chibi).
    seed: of the characters.
    cell: pixels per picture; drawn at twice the size and reduced.

  Returns:
    RGB picture of 5 rows by 8 columns.
  """
  rows = []
  for row in range(ROWS):
    line = []
    for column in range(COLUMNS):
      index, drawn = row * COLUMNS + column, kind
      if kind == "pairs":
        index, drawn = index // 2, ("portrait", "chibi")[column % 2]
      picture = Image.fromarray(_picture(drawn, seed, index, 2 * cell))
      small = picture.resize((cell, cell), Image.Resampling.LANCZOS)
      line.append(_six_bits(np.asarray(small)))
    rows.append(np.concatenate(line, axis=1))
  return np.concatenate(rows)


def main() -> None:
  """Reads the command line and writes the sheet."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("kind", choices=("chibi", "portrait", "pairs", "bodies"))
  parser.add_argument("out")
  parser.add_argument("--seed", type=int, default=0)
  parser.add_argument("--cell", type=int, default=160)
  options = parser.parse_args()
  picture = Image.fromarray(sheet(options.kind, options.seed, options.cell))
  picture.save(options.out, optimize=True)


if __name__ == "__main__":
  main()
