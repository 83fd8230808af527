"""A look at many aligned faces at once, and at what was not used."""

import math
import pathlib
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from chibijax.apps import pictures
from chibijax.data import images, photo
from chibijax.data.folder import CONTACT_SHEET
from chibijax.faces import align

MOST = 100
_TILE, _CAPTION, _GAP = 128, 28, 6
_GREEN, _RED, _GREY = (20, 120, 50), (180, 30, 30), (238, 238, 238)


def write(
  folder: pathlib.Path, records: list[dict[str, Any]]
) -> pathlib.Path | None:
  """Writes the sheet of a folder of aligned faces.

  Args:
    folder: of the results.
    records: lines of its manifest; of more than 100 every n-th is shown.

  Returns:
    The file, or None when there are no records.

  Raises:
    UserError: if it cannot be written.
  """
  if not records:
    return None
  step = max(len(records) / MOST, 1)
  shown = [records[int(k * step)] for k in range(int(len(records) / step))]
  columns = min(10, max(math.ceil(math.sqrt(len(shown))), 1))
  rows = math.ceil(len(shown) / columns)
  cell = _TILE + _GAP, _TILE + _CAPTION + _GAP
  size = columns * cell[0] + _GAP, rows * cell[1] + _GAP
  sheet = Image.new("RGB", size, "white")
  draw = ImageDraw.Draw(sheet)
  font = ImageFont.load_default(11)
  for position, record in enumerate(shown):
    x = _GAP + position % columns * cell[0]
    y = _GAP + position // columns * cell[1]
    sheet.paste(_tile(folder, record), (x, y))
    color = _GREEN if record["outputs"] else _RED
    name = pathlib.PurePath(record["source"]).name
    for line, text in enumerate((record["status"], name)):
      text = _fitting(text, font)
      draw.text((x, y + _TILE + 13 * line), text, color, font)
  path = folder / CONTACT_SHEET
  pictures.save(path, np.asarray(sheet))
  return path


def _tile(folder: pathlib.Path, record: dict[str, Any]) -> Image.Image:
  """The aligned face, or what was seen of it, or the whole photo."""
  tile = Image.new("RGB", (_TILE, _TILE), _GREY)
  try:
    if record["outputs"]:
      pixels = images.Reader(size=_TILE).read(folder / record["outputs"][0])
      return Image.fromarray(pixels)
    # Large enough for most faces to be seen.
    read = photo.read(record["source"], longest=1024)
    if "detail" in record and record["status"] != "none":
      scale = _TILE / record["size"]
      # From the small photo, to the photo as it was analysed, to the tile.
      transform = np.array(record["detail"]["transform"], np.float32) * scale
      transform[:, :2] *= record["scale"] / read.scale
      return Image.fromarray(align.warp(read.pixels, transform, (_TILE, _TILE)))
    whole = Image.fromarray(read.pixels)
    whole.thumbnail((_TILE, _TILE))
    corner = (_TILE - whole.width) // 2, (_TILE - whole.height) // 2
    tile.paste(whole, corner)
  except images.ImageError:
    ImageDraw.Draw(tile).line((0, 0, _TILE, _TILE), _RED, 2)
  return tile


def _fitting(text: str, font: ImageFont.FreeTypeFont) -> str:
  """A text cut to the width of a tile; what the font lacks is a box."""
  text = text.encode("utf-8", "replace").decode("utf-8")
  while font.getlength(text) > _TILE and len(text) > 2:
    text = text[: len(text) // 2 - 1] + "…" + text[len(text) // 2 + 1 :]
  return text
