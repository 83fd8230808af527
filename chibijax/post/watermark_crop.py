"""Finding the invisible mark in a picture that was cropped.

Internal to `chibijax.post.watermark`.
"""

import dataclasses
from typing import TypeAlias

import numpy as np
from jaxtyping import Float, Float32

from chibijax.post import watermark_code as code
from chibijax.post.watermark_code import Watermark

# How much of the original's side a cropped picture may have kept, the step of
# the search as a share of the side, and how many of its finds are refined.
_LEAST_KEPT, _PITCH, _REFINED = 0.85, 1 / 200, 6
# Sides of square originals that are tried pixel by pixel: on photographs a
# shift of half a pixel already hides the mark.
_USUAL = (128, 256, 384, 512, 640, 768, 1024, 2048)
_Pair: TypeAlias = tuple[float, float]


@dataclasses.dataclass(frozen=True)
class _View:
  """A guess at which part of the original a picture shows.

  Attributes:
    clear: how clear its bits are: about 1/2 by chance.
    kept: height and width as shares of the original's.
    start: first row and column, likewise.
    step: lattice step.
  """

  clear: float
  kept: _Pair
  start: _Pair
  step: float


def search(
  luma: Float32[np.ndarray, "h w"], steps: list[float], looks: int
) -> Watermark:
  """Looks for a picture of which a part was cut off.

  Shares and places are tried exhaustively, and the clearest are refined: first
  whole pixels of a usual original, then a grid.

  Args:
    luma: what is read of the picture.
    steps: the lattice steps to try.
    looks: how many ways of looking were tried before.

  Returns:
    The best reading.
  """
  height, width = luma.shape
  # Averages of whole blocks, until the shorter side is below 320.
  factor = max(1, min(height, width) // 160)
  luma = luma[: height // factor * factor, : width // factor * factor]
  height, width = luma.shape
  luma = luma.reshape(height // factor, factor, width // factor, factor)
  luma = luma.mean((1, 3))
  usual = [
    ((height / side, width / side), factor / side)
    for side in _USUAL
    if _LEAST_KEPT <= min(height, width) / side and max(height, width) <= side
  ]
  best = None
  for shares in (usual, _shares(height, width)):
    views: list[_View] = []
    for kept, pitch in shares:
      places = [
        np.arange(0, 1 - k + pitch * (1 - 1e-6), pitch).clip(0, 1 - k)
        for k in kept
      ]
      views += _clearest(luma, kept, places, steps)
      looks += len(steps) * len(places[0]) * len(places[1])
    if not views:
      continue
    views = sorted(views, key=lambda view: -view.clear)[:_REFINED]
    refined = [_refined(luma, view) for view in views]
    looks += 2 * 5**3 * len(views)
    view = max(refined, key=lambda view: view.clear)
    start = [np.array([s]) for s in view.start]
    values, visible = _values_at(luma, view.kept, start)
    mark = code.decide(
      code.votes_of(values[0], view.step), visible[0] > 0, looks
    )
    kept = (round(view.kept[1], 3), round(view.kept[0], 3))
    mark = dataclasses.replace(mark, kept=kept)
    best = mark if best is None else code.better(best, mark)
    if best.found:
      break
  return best


def _shares(height: int, width: int) -> list[tuple[_Pair, float]]:
  """Shares of a square original, and of one with the same proportions."""
  shares: dict[_Pair, None] = {}
  count = round((1 - _LEAST_KEPT) / _PITCH)
  for kept in 1 - _PITCH * np.arange(count + 1):
    side = max(height, width)
    shares[kept, kept] = None
    square = (kept * height / side, kept * width / side)
    if min(square) >= _LEAST_KEPT - 1e-9:
      shares[square] = None
  return [(kept, _PITCH) for kept in shares]


def _refined(luma: Float32[np.ndarray, "h w"], view: _View) -> _View:
  """The clearest view near one."""
  for pitch in (_PITCH / 2, _PITCH / 6):
    tries = [view]
    for grow in np.linspace(-1, 1, 5) * pitch:
      kept = (view.kept[0] * (1 + grow), view.kept[1] * (1 + grow))
      # Grown about its middle.
      places = [
        s + (k - now) / 2 + np.linspace(-1, 1, 5) * pitch
        for s, k, now in zip(view.start, view.kept, kept, strict=True)
      ]
      tries += _clearest(luma, kept, places, [view.step])
    view = max(tries, key=lambda view: view.clear)
  return view


def _clearest(
  luma: Float32[np.ndarray, "h w"],
  kept: _Pair,
  places: list[Float[np.ndarray, "n"]],
  steps: list[float],
) -> list[_View]:
  """The clearest place of each step."""
  values, visible = _values_at(luma, kept, places)
  seen = np.maximum(1, visible.sum(-1))
  views = []
  for step in steps:
    sums = code.bit_sums(code.votes_of(values, step) * visible)
    clear = np.sum(sums**2, axis=-1) / seen
    best = int(np.argmax(clear))
    row, column = divmod(best, len(places[1]))
    start = (float(places[0][row]), float(places[1][column]))
    views.append(_View(float(clear[best]), kept, start, step))
  return views


def _values_at(
  luma: Float32[np.ndarray, "h w"],
  kept: _Pair,
  places: list[Float[np.ndarray, "n"]],
) -> tuple[
  Float32[np.ndarray, "places carriers"], Float32[np.ndarray, "places carriers"]
]:
  """Projections as if the picture were this part of the original.

  The waves of all places are one matrix, so that two products give all.

  Args:
    luma: the picture.
    kept: height and width as shares of the original's.
    places: first rows and first columns, likewise; all pairs are tried.

  Returns:
    Projections, place by place, and 1 for waves that lie in the picture.
  """
  layout = code.carriers()
  tables, inside = [], []
  begin = np.arange(code.CELLS - 1).repeat(len(code.FREQUENCIES)) / code.CELLS
  # A window ends softly: a quarter of a cell of it may be missing.
  slack = 0.25 / code.CELLS
  for size, share, starts in zip(luma.shape, kept, places, strict=True):
    at = (np.arange(size) + 0.5) / size * share
    waves = code.wave_values((at[None] + starts[:, None]).ravel())
    waves = waves.reshape(-1, len(starts), size).transpose(1, 0, 2)
    tables.append((waves * (code.GRID * share / size)).astype(np.float32))
    first = begin >= starts[:, None] - slack
    last = begin + 2 / code.CELLS <= starts[:, None] + share + slack
    inside.append((first & last).astype(np.float32))
  rows, columns = tables
  half = luma @ columns.reshape(-1, luma.shape[1]).T
  values = rows.reshape(-1, luma.shape[0]) @ half
  values = values.reshape(*rows.shape[:2], *columns.shape[:2])
  values = values.transpose(0, 2, 1, 3)[..., layout.rows, layout.columns]
  visible = inside[0][:, None, layout.rows] * inside[1][None, :, layout.columns]
  count = len(rows) * len(columns)
  return values.reshape(count, -1), visible.reshape(count, -1)
