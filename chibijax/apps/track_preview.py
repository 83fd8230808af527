"""A look at a tracked clip: some frames with the fitted head over them."""

import math
import pathlib

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont

from chibijax.apps import pictures
from chibijax.heads import render
from chibijax.heads.model import HeadModel, landmarks, vertices
from chibijax.heads.motion import WORLD_SCALE, intrinsics
from chibijax.heads.track import Track

MOST = 12
_TILE, _GAP, _CAPTION = 256, 6, 16
_FOUND, _FITTED = (60, 220, 60), (240, 60, 60)
_SHARE = 0.6


class Sheet:
  """Collects pictures of frames."""

  def __init__(
    self,
    head: HeadModel,
    found: Track,
    points: Float[np.ndarray, "n 68 2"],
    size: int,
  ) -> None:
    """Chooses the frames.

    Args:
      head: the head model.
      found: its parameters.
      points: the landmarks that were found, in pixels of the pictures.
      size: side of the pictures.
    """
    self._head, self._found, self._points = head, found, points
    self._scale = _TILE / size
    seen = np.flatnonzero(found.seen)
    rows = np.linspace(0, len(seen) - 1, min(MOST, len(seen)))
    self._chosen = set(seen[np.round(rows).astype(int)].tolist())
    self._tiles: list[Image.Image] = []

  def add(self, number: int, picture: UInt8[np.ndarray, "s s 3"]) -> None:
    """Draws a frame's picture, beside it the head over it, if it is chosen.

    Args:
      number: of the frame.
      picture: the head on black.
    """
    if number not in self._chosen:
      return
    plain = Image.fromarray(picture).resize((_TILE, _TILE), Image.LANCZOS)
    over, fitted = self._drawn(number)
    alpha = _SHARE * over[..., 3:]
    mixed = np.asarray(plain) * (1 - alpha) + 255 * _SHARE * over[..., :3]
    drawn = Image.fromarray(mixed.round().clip(0, 255).astype(np.uint8))
    marked = plain.copy()
    self._mark(marked, self._points[number] * self._scale, _FOUND)
    self._mark(marked, fitted, _FITTED)
    tile = Image.new("RGB", (2 * _TILE, _TILE + _CAPTION), "white")
    tile.paste(marked, (0, 0))
    tile.paste(drawn, (_TILE, 0))
    text = f"frame {number}   {self._found.error[number]:.1f} px"
    font = ImageFont.load_default(11)
    ImageDraw.Draw(tile).text((2, _TILE + 1), text, (40, 40, 40), font)
    self._tiles.append(tile)

  def _drawn(self, number: int) -> tuple[np.ndarray, np.ndarray]:
    """The shaded head, [s, s, 4], and its landmarks."""
    head, found = self._head, self._found
    own = vertices(
      head, found.shape, found.expression[number], found.pose[number],
      found.eyes[number], xp=np,
    )  # fmt: skip
    view, matrix = found.viewmats[number], intrinsics(_TILE)
    world = WORLD_SCALE * own
    corners = world[head.faces]
    normals = np.cross(
      corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    )
    whole = np.zeros_like(world)
    for k in range(3):
      np.add.at(whole, head.faces[:, k], normals)
    whole /= np.maximum(np.linalg.norm(whole, axis=1, keepdims=True), 1e-12)
    light = np.array([-0.3, -0.5, -0.8]) / np.sqrt(0.98)
    shade = 0.25 + 0.75 * np.maximum(whole @ view[:3, :3].T @ light, 0)
    colors = shade[:, None] * np.array([[0.85, 0.9, 1.0]])
    drawn = render.render(
      world, head.faces, colors, view, matrix, (_TILE, _TILE)
    )
    turned = WORLD_SCALE * landmarks(head, own) @ view[:3, :3].T + view[:3, 3]
    seen = turned @ matrix.T
    return drawn, seen[:, :2] / seen[:, 2:]

  def _mark(
    self,
    picture: Image.Image,
    points: Float[np.ndarray, "68 2"],
    color: tuple[int, int, int],
  ) -> None:
    draw = ImageDraw.Draw(picture)
    for x, y in points.tolist():
      draw.ellipse((x - 1.5, y - 1.5, x + 1.5, y + 1.5), fill=color)

  def save(self, path: pathlib.Path) -> None:
    """Writes the sheet.

    Args:
      path: ends in ".png".

    Raises:
      UserError: if it cannot be written.
    """
    columns = min(2 if len(self._tiles) < 7 else 3, len(self._tiles))
    rows = math.ceil(len(self._tiles) / columns)
    cell = 2 * _TILE + _GAP, _TILE + _CAPTION + _GAP
    size = columns * cell[0] + _GAP, rows * cell[1] + _GAP
    sheet = Image.new("RGB", size, "white")
    for k, tile in enumerate(self._tiles):
      place = _GAP + k % columns * cell[0], _GAP + k // columns * cell[1]
      sheet.paste(tile, place)
    pictures.save(path, np.asarray(sheet))
