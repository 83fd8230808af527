"""Hair, headwear, clothes and background, told from the wide view.

Works on the regions of `measure_regions`. Heights are those of the canonical
frame: 0.81 is the chin, 1.0 the shoulders.
"""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float

from chibijax.faces.measure_features import Skin
from chibijax.faces.measure_frame import View, box_mean, places, typical
from chibijax.faces.measure_regions import Regions

# Rows beside the cheeks and beside the neck, and how wide hair is there, left
# and right together, when it is more than short, and when it is long.
CHEEK_ROWS, NECK_ROWS = (0.58, 0.82), (0.83, 1.02)
MEDIUM_WIDTH, LONG_WIDTH = 0.155, 0.14


@dataclasses.dataclass(frozen=True, eq=False)
class Head:
  """What the wide view tells; colours are OKLab, words as in `Person`."""

  cover: Float[np.ndarray, "3"] | None
  background: Float[np.ndarray, "3"]
  clothes: Float[np.ndarray, "3"] | None
  length: str
  length_sure: float
  headwear: str
  headwear_sure: float
  volume: float
  texture: float
  fringe: float
  parting: float


def is_bare(wide: View, tones: Skin) -> bool:
  """Whether there is skin where mostly hair begins, above the forehead."""
  above = wide.lab[wide.part(0.41, 0.24, 0.59, 0.34)].reshape(-1, 3)
  base = (tones.cheek + tones.upper) / 2
  off = above - base
  near = np.hypot(*off[:, 1:].T) < 0.04
  middle = np.hypot(*np.median(off, 0)[1:])
  return bool(
    np.mean(near & (np.abs(off[:, 0]) < 0.25)) > 0.7 and middle < 0.03
  )


def read(
  wide: View,
  regions: Regions,
  tones: Skin,
  brow: Float[np.ndarray, "3"],
  *,
  crown: View | None,
  masks: dict[str, Bool[np.ndarray, "s s"]] | None = None,
) -> Head:
  """Puts hair, headwear and surroundings in words.

  Args:
    wide: the wide view.
    regions: its regions; what covers the head counts as hair.
    tones: colours of the skin.
    brow: colour of the brows.
    crown: a finer view of forehead and skull when `is_bare`, else None.
    masks: of the wide view, or None.

  Returns:
    The words and colours.
  """
  x, y = places(wide.box, len(wide.lab))
  u = np.abs(x - 0.5)
  hair = regions.hair * wide.valid
  top = (hair > 0.6) & (y < 0.55)
  if top.sum() < 12:
    top = (hair > 0.5) & (y < 0.75)
  cover = typical(wide.lab[top]) if top.sum() >= 6 else None
  length, sure = _length(wide, hair, x, y)
  seen = _seen(wide, masks or {})
  bald, bald_sure = False, 0.9
  if crown is not None:
    bald, bald_sure = _bald(crown, wide, regions, tones)
  if "hair" in seen and max(seen["hair"], 1 - seen["skin"]) < 0.12:
    bald, bald_sure = True, 0.9
  elif seen.get("hair", 0.0) > 0.3:
    bald, bald_sure = False, 0.9
  worn, worn_sure = _headwear(
    wide,
    regions,
    brow,
    cover,
    short=length == "short",
    rest=seen.get("rest", 0.5),
  )
  if bald:
    length, sure, cover = "bald", bald_sure, None
    worn, worn_sure = "none", bald_sure
  inner = (box_mean((hair > 0.5).astype(np.float32), 2) > 0.9) & (y < 0.8)
  forehead = (u < 0.11) & (y > 0.33) & (y < 0.42) & wide.valid
  return Head(
    cover=cover,
    background=_surroundings(wide, regions),
    clothes=_clothes(wide, regions, y),
    length=length,
    length_sure=sure,
    headwear=worn,
    headwear_sure=worn_sure,
    volume=0.0 if length == "bald" else _volume(hair, x, y),
    texture=0.0 if length == "bald" else _disorder(wide, inner),
    fringe=_mean(hair, forehead, 0.0) if length != "bald" else 0.0,
    parting=_parting(hair, x, y),
  )


def _seen(
  wide: View, masks: dict[str, Bool[np.ndarray, "s s"]]
) -> dict[str, float]:
  """Shares of the upper skull that masks call hair, skin, and neither.

  What is neither nor background is worn; only known with a background mask.
  """
  if not {"hair", "skin"} <= set(masks):
    return {}
  x, y = places(wide.box, len(wide.lab))
  skull = (np.hypot((x - 0.5) / 0.17, (y - 0.48) / 0.28) < 1) & (y < 0.33)
  skull &= wide.valid & ~masks.get("background", np.zeros_like(skull))
  if skull.sum() < 8:
    return {}
  shares = {name: _mean(masks[name], skull, 0.0) for name in ("hair", "skin")}
  if "background" in masks:
    shares["rest"] = 1 - shares["hair"] - shares["skin"]
  return shares


def _length(
  wide: View,
  hair: Float[np.ndarray, "s s"],
  x: Float[np.ndarray, "s s"],
  y: Float[np.ndarray, "s s"],
) -> tuple[str, float]:
  """Short, medium or long, by how wide hair is beside cheeks and neck."""
  step = wide.box[2] / len(hair)
  out = np.abs(x - 0.5)
  beside = wide.valid & (out > 0.10) & (out < 0.45)
  width = ((hair > 0.5) & beside).sum(1) * step
  seen = beside.any(1)
  means = []
  for top, bottom in (CHEEK_ROWS, NECK_ROWS):
    rows = seen & (y[:, 0] > top) & (y[:, 0] < bottom)
    means.append(float(width[rows].mean()) if rows.any() else 0.0)
  margin = (means[0] - MEDIUM_WIDTH) / 0.05
  word = "short"
  if margin > 0:
    word = "long" if means[1] > LONG_WIDTH else "medium"
    margin = min(margin, abs(means[1] - LONG_WIDTH) / 0.05)
  return word, float(1 / (1 + np.exp(-min(abs(margin), 20.0))))


def _bald(
  crown: View, wide: View, regions: Regions, tones: Skin
) -> tuple[bool, float]:
  """Tells a bare skull from a high forehead.

  On a bare skull, what was taken for hair looks like the background near it, or
  like skin in some light; and it is smooth.
  """
  x, y = places(wide.box, len(wide.lab))
  skull = np.hypot((x - 0.5) / 0.23, (y - 0.48) / 0.36) < 1
  taken = skull & (y < 0.5) & wide.valid & (regions.hair > 0.5)
  around = wide.valid & (regions.background > 0.7) & (y < 0.8)
  if taken.sum() < 5 or around.sum() < 20:
    return False, 0.5
  scale = np.array([1, 2, 2, 0.2, 0.2]) / 0.05
  both = np.concatenate([wide.lab, x[..., None], y[..., None]], -1) * scale
  taken_at, around_at = both[taken][::2], both[around][::4]
  apart = ((taken_at**2).sum(1)[:, None] + (around_at**2).sum(1)) - 2 * (
    taken_at @ around_at.T
  )
  behind = apart.min(1) < 1.5**2
  like_skin = _like_skin(wide.lab[taken][::2], tones)
  own = float(np.mean(~behind & ~like_skin))
  lightness = crown.lab[..., 0]
  rough = np.abs(lightness - box_mean(lightness, 1)) / max(
    float(tones.cheek[0]), 1e-3
  )
  boxes = (
    ((0.41, 0.17, 0.59, 0.25),),
    ((0.33, 0.22, 0.40, 0.34), (0.60, 0.22, 0.67, 0.34)),
  )
  grain = []
  for group in boxes:
    values = [
      rough[crown.part(*box)][crown.valid[crown.part(*box)]] for box in group
    ]
    values = np.concatenate(values)
    grain.append(float(np.median(values)) if len(values) else 1.0)
  score = min(
    (0.52 - own) * 5,
    (float(behind.mean()) - 0.4) * 5,
    (0.0125 - grain[0]) * 300,
    (0.0085 - grain[1]) * 300,
  )
  return score > 0, float(1 / (1 + np.exp(-min(abs(score), 20.0))))


def _like_skin(
  lab: Float[np.ndarray, "n 3"], tones: Skin
) -> Bool[np.ndarray, "n"]:
  """Skin in more or less light: its colour fades as its lightness does."""
  skin = (tones.cheek + tones.upper) / 2
  light = lab[:, :1] / max(float(skin[0]), 1e-3)
  off = lab[:, 1:] - skin[1:] * np.clip(light, 0.4, 1.1)
  return (np.hypot(*off.T) < 0.03) & (light[:, 0] > 0.6)


def _headwear(
  wide: View,
  regions: Regions,
  brow: Float[np.ndarray, "3"],
  cover: Float[np.ndarray, "3"] | None,
  *,
  short: bool,
  rest: float,
) -> tuple[str, float]:
  """Headwear: a colour hair seldom has, or a neck covered like the head."""
  if cover is None:
    return "none", 0.9
  x, y = places(wide.box, len(wide.lab))
  neck = (np.abs(x - 0.5) < 0.07) & (y > 0.86) & (y < 0.97) & wide.valid
  covered = _mean(regions.hair, neck, 0.0)
  pale = min((cover[0] - 0.62) * 12, (0.33 - brow[0]) * 25)
  pale = min(pale, (0.035 - np.hypot(*cover[1:])) * 80)
  # A wall that was taken for hair is no white scarf.
  behind = wide.lab[(regions.background > 0.7) & wide.valid & (y < 0.8)]
  if len(behind):
    alike = np.abs(behind - cover) @ np.array([1.0, 2.0, 2.0]) < 0.09
    pale = min(pale, (0.2 - float(alike.mean())) * 10)
  # Black hair may shine blue; lighter hair is not blue or green.
  light = (cover[0] - 0.32) * 20
  cool = min((-0.012 - cover[2]) * 120, light)
  green = min((-0.02 - cover[1]) * 120, light)
  vivid = (np.hypot(*cover[1:]) - 0.085) * 100
  # A high collar covers the neck too, but not the cheeks' sides.
  wrapped = -4.0 if short else (covered - 0.85) * 10
  # Masks that see neither hair nor skin nor background up there add to it.
  score = float(max(pale, cool, green, vivid, wrapped)) + 2 * (rest - 0.5)
  sure = float(1 / (1 + np.exp(-min(abs(score), 20))))
  if score <= 0:
    return "none", sure
  around = _mean(regions.skin, neck, 0.0) < 0.5
  return ("scarf" if around else "hat"), sure


def _surroundings(wide: View, regions: Regions) -> Float[np.ndarray, "3"]:
  y = places(wide.box, len(wide.lab))[1]
  seen = (regions.background > 0.8) & wide.valid & (y < 0.9)
  if seen.sum() < 12:
    seen = wide.valid & (regions.background >= regions.background.max() * 0.9)
  if not seen.any():
    seen = np.ones_like(wide.valid)
  return typical(wide.lab[seen])


def _clothes(
  wide: View, regions: Regions, y: Float[np.ndarray, "s s"]
) -> Float[np.ndarray, "3"] | None:
  seen = (regions.clothes > 0.7) & wide.valid & (y > 0.9)
  return typical(wide.lab[seen]) if seen.sum() >= 12 else None


def _volume(
  hair: Float[np.ndarray, "s s"],
  x: Float[np.ndarray, "s s"],
  y: Float[np.ndarray, "s s"],
) -> float:
  """The area that hair covers beyond a skull, against that of an afro."""
  above = (y < 0.6) & (np.hypot((x - 0.5) / 0.19, (y - 0.48) / 0.29) > 1)
  area = float((hair * above).sum()) * (y[1, 0] - y[0, 0]) ** 2
  return float(np.clip(area / 0.22, 0, 1))


def _disorder(wide: View, inner: Bool[np.ndarray, "s s"]) -> float:
  """How little neighbouring strands agree in direction: structure tensor."""
  if inner.sum() < 20:
    return 0.0
  down, across = np.gradient(wide.lab[..., 0].astype(np.float64))
  xx, yy, xy = (
    box_mean(p, 2) for p in (across * across, down * down, across * down)
  )
  energy = xx + yy
  ordered = np.hypot(xx - yy, 2 * xy)
  agree = ordered[inner].sum() / (energy[inner].sum() + 1e-12)
  rough = np.sqrt(energy[inner].mean())
  return float(np.clip((0.75 - agree) / 0.35, 0, 1) * min(rough / 0.03, 1.0))


def _parting(
  hair: Float[np.ndarray, "s s"],
  x: Float[np.ndarray, "s s"],
  y: Float[np.ndarray, "s s"],
) -> float:
  """Where the hairline is highest, if it is clearly higher there."""
  columns = np.abs(x[0] - 0.5) < 0.12
  rows = (y[:, 0] > 0.24) & (y[:, 0] < 0.46)
  bare = (1 - hair[rows][:, columns]).sum(0)
  if np.ptp(bare) < 3:
    return 0.0
  return float(np.clip((x[0, columns][bare.argmax()] - 0.5) / 0.12, -1, 1))


def _mean(
  plane: Float[np.ndarray, "s s"] | Bool[np.ndarray, "s s"],
  where: Bool[np.ndarray, "s s"],
  empty: float,
) -> float:
  return float(plane[where].mean()) if where.any() else empty
