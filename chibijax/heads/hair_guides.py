"""Guides of hair: lines along which clumps of strands lie.

A guide starts at a vertex of the scalp and goes on in small steps along the
style's comb, which turns downwards; it is held outside an ellipsoid around the
skull, beside the face and within the style's length. Metres, the frame of
`heads.model`.
"""

import dataclasses
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

STYLES = (
  "shaved", "crew", "swept", "side", "bob", "long", "wavy", "pony", "bun",
  "twin", "curly", "spiky",
)  # fmt: skip


class Anatomy(NamedTuple):
  """Where things are on a shaped head at rest.

  Attributes:
    scalp: how far each vertex lies above the hairline on the template, mm.
    center: of the ellipsoid around the skull.
    radii: of that ellipsoid.
    brow: height of the eyebrows.
    chin: height of the chin.
    face: half-width of the face below the temples.
    unit: about 1 on the mean head; the skull's half-width by 75 mm.
  """

  scalp: Float[np.ndarray, " V"]
  center: Float[np.ndarray, "3"]
  radii: Float[np.ndarray, "3"]
  brow: float
  chin: float
  face: float
  unit: float


@dataclasses.dataclass(frozen=True)
class Cut:
  """A hair cut.

  Attributes:
    style: one of `STYLES`.
    part: where the parting runs, shares of the skull's half-width.
    bangs: whether clumps hang over the forehead.
    length: about 1; scales how far the hair reaches.
    volume: about 1; scales how far it stands off.
    chunky: few broad clumps, as drawn figures have.
  """

  style: str
  part: float = 0.0
  bangs: bool = False
  length: float = 1.0
  volume: float = 1.0
  chunky: bool = False


def guides(
  cut: Cut,
  anatomy: Anatomy,
  vertices: Float[np.ndarray, "V 3"],
  rng: np.random.Generator,
) -> tuple[Float[np.ndarray, "N 9 3"], Float[np.ndarray, " N"]]:
  """Guides of all clumps of a cut.

  Args:
    cut: which hair; not "shaved".
    anatomy: of the shaped head.
    vertices: the head.
    rng: decides every clump's own deviation.

  Returns:
    Points of the guides, 9 each, and the widths of their ribbons.
  """
  unit, share = anatomy.unit, (0.45 if cut.chunky else 1.0)
  scalp = anatomy.scalp > 1
  sets: list[tuple[np.ndarray, np.ndarray]] = []

  def add(lines: np.ndarray, width: float) -> None:
    spread = rng.uniform(0.75, 1.25, len(lines))
    sets.append((lines, width * unit * spread / share**0.8))

  if cut.style in ("crew", "spiky"):
    roots = _roots(anatomy, vertices, int(760 * share), scalp)
    add(_standing(cut, anatomy, roots, rng), 0.009)
  elif cut.style == "curly":
    roots = _roots(anatomy, vertices, int(560 * share), scalp)
    add(_curls(cut, anatomy, roots, rng), 0.011)
  elif cut.style in ("pony", "bun", "twin"):
    roots = _roots(anatomy, vertices, int(420 * share), scalp)
    for lines in _tied(cut, anatomy, roots, rng, share):
      add(lines, 0.015)
  elif cut.style in ("swept", "side"):
    high = vertices[:, 1] > anatomy.center[1] + 0.35 * anatomy.radii[1]
    roots = _roots(anatomy, vertices, int(460 * share), scalp & high)
    add(_combed(cut, anatomy, roots, rng), 0.015)
    low = dataclasses.replace(cut, style="crew", length=0.8)
    roots = _roots(anatomy, vertices, int(760 * share), scalp & ~high)
    add(_standing(low, anatomy, roots, rng), 0.010)
  else:
    roots = _roots(anatomy, vertices, int(360 * share), scalp)
    add(_combed(cut, anatomy, roots, rng), 0.016)
  if cut.bangs:
    front = scalp & (anatomy.scalp < 26) & (vertices[:, 2] > anatomy.center[2])
    front &= np.abs(vertices[:, 0]) < 0.75 * anatomy.radii[0]
    roots = _roots(anatomy, vertices, int(420 * share), front)
    add(_fringe(cut, anatomy, roots, rng), 0.012)
  lines = np.concatenate([_resampled(g, 9) for g, _ in sets])
  return lines, np.concatenate([w for _, w in sets])


def _roots(
  anatomy: Anatomy,
  vertices: np.ndarray,
  count: int,
  wanted: Bool[np.ndarray, " V"],
) -> np.ndarray:
  """Points of the scalp, about evenly spread as seen from its centre."""
  k = np.arange(count) + 0.5
  y, turn = 1 - 1.7 * k / count, np.pi * (1 + 5**0.5) * k
  side = np.sqrt(np.maximum(1 - y * y, 0))
  spread = np.stack([side * np.cos(turn), y, side * np.sin(turn)], axis=1)
  candidates = vertices[wanted]
  away = (candidates - anatomy.center) / anatomy.radii
  away /= np.linalg.norm(away, axis=1, keepdims=True)
  likeness = spread @ away.T
  # Directions that no wanted vertex is near to belong to the face.
  near = likeness.max(axis=1) > 0.985
  return candidates[np.unique(likeness.argmax(axis=1)[near])]


def _resampled(guides: np.ndarray, points: int) -> np.ndarray:
  """Guides with another number of points, evenly spaced along them."""
  steps = np.linalg.norm(np.diff(guides, axis=1), axis=2)
  far = np.cumsum(np.pad(steps, ((0, 0), (1, 0))), axis=1)
  wanted = far[:, -1:] * np.linspace(0, 1, points)
  after = (far[:, None] < wanted[..., None]).sum(axis=2)
  low = np.clip(after - 1, 0, guides.shape[1] - 2)
  row = np.arange(len(guides))[:, None]
  gap = far[row, low + 1] - far[row, low]
  share = (wanted - far[row, low]) / np.maximum(gap, 1e-9)
  share = np.clip(share, 0, 1)[..., None]
  return guides[row, low] * (1 - share) + guides[row, low + 1] * share


def outside(
  points: np.ndarray, anatomy: Anatomy, lift: np.ndarray | float
) -> np.ndarray:
  """Pushes points out of the ellipsoid widened by `lift` metres."""
  # Below its middle the skull goes on as a tube that narrows to the neck.
  depth = (anatomy.center[1] - points[..., 1]) / (1.5 * anatomy.radii[1])
  radii = anatomy.radii + np.asarray(lift)[..., None]
  radii = radii * (1 - 0.22 * np.clip(depth, 0, 1))[..., None]
  away = (points - anatomy.center) / radii
  flat = away * np.array([1.0, 0.0, 1.0])
  low = points[..., 1] < anatomy.center[1]
  length = np.linalg.norm(np.where(low[..., None], flat, away), axis=-1)
  grow = np.maximum(1 / np.maximum(length, 1e-6), 1)[..., None]
  axes = np.where(low[..., None], [1.0, 0.0, 1.0], [1.0, 1.0, 1.0])
  return anatomy.center + away * radii * (1 + (grow - 1) * axes)


def _beside_face(points: np.ndarray, anatomy: Anatomy) -> np.ndarray:
  """Moves points in front of the face to its sides."""
  x, y, z = np.moveaxis(points, -1, 0)
  edge = anatomy.center[1] + 0.55 * anatomy.radii[1]
  below = np.clip((edge - y) / (0.5 * anatomy.radii[1]), 0, 1)
  ahead = np.clip((z - anatomy.center[2]) / (0.35 * anatomy.radii[2]), 0, 1)
  least = 0.98 * anatomy.face * below * np.minimum(ahead, 1)
  side = np.where(x >= 0, 1.0, -1.0)
  return np.stack([side * np.maximum(np.abs(x), least), y, z], axis=-1)


def _combed(
  cut: Cut, anatomy: Anatomy, roots: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
  """Hair combed away from a parting, then falling."""
  unit, count = anatomy.unit, len(roots)
  reach = {"swept": 0.085, "side": 0.11, "bob": 0.30, "long": 0.42}
  length = reach.get(cut.style, 0.40) * cut.length * unit
  ends = {
    "bob": anatomy.chin + 0.012 * unit,
    "long": anatomy.chin - 0.13 * unit * cut.length,
    "wavy": anatomy.chin - 0.10 * unit * cut.length,
  }
  end = ends.get(cut.style, -np.inf) + rng.normal(0, 0.006 * unit, count)
  lift = 0.007 * cut.volume * unit * rng.uniform(0.6, 1.7, count)
  steps = 24
  part = cut.part * anatomy.radii[0]
  away = np.sign(roots[:, 0] - part + 1e-9)
  away = np.where(cut.style == "swept", np.sign(cut.part + 1e-9), away)
  back = rng.uniform(0.25, 0.6, count)
  if cut.style in ("swept", "side"):
    # Hair at the sides of short cuts lies close and is short.
    low = np.clip((roots[:, 1] - anatomy.center[1]) / anatomy.radii[1], 0, 1)
    length = length * (0.6 + 0.4 * low)
    back = back + 0.5
  comb = np.stack([1.1 * away, 0 * away, -back], axis=1)
  comb += rng.normal(0, 0.14, comb.shape)
  points = [outside(roots, anatomy, 0.4 * lift)]
  speed = np.broadcast_to(length, (count,))[:, None] / steps
  for k in range(steps):
    gone = (k + 0.5) * speed / (0.05 * unit)
    fall = np.minimum(gone, 1)
    heading = comb * (1 - 0.85 * fall) + np.array([0, -1.4, 0]) * fall
    below = points[-1][:, 1:2] < anatomy.center[1]
    inwards = (anatomy.center - points[-1]) * np.array([1.0, 0, 1.0])
    heading = heading + below * 2.0 / unit * inwards
    rise = lift * min(1.0, 0.4 + k / 6)
    heading = _along_skull(heading, points[-1], anatomy)
    ahead = _onto(points[-1] + speed * heading, anatomy, rise)
    ahead = _beside_face(ahead, anatomy)
    if cut.style == "wavy":
      wave = 0.0040 * unit * np.cos(k * 0.9 + 900 * lift) * fall[:, 0]
      ahead[:, 0] += wave
      ahead[:, 2] += 0.6 * wave
    stop = ahead[:, 1] < end
    points.append(np.where(stop[:, None], points[-1], ahead))
  return np.stack(points, axis=1)


def _along_skull(
  heading: np.ndarray, points: np.ndarray, anatomy: Anatomy
) -> np.ndarray:
  """Unit directions without the part that leaves the skull."""
  out = (points - anatomy.center) / anatomy.radii**2
  out[:, 1] = np.maximum(out[:, 1], 0)  # Below its middle, a tube.
  out /= np.linalg.norm(out, axis=1, keepdims=True)
  leaving = np.maximum((heading * out).sum(axis=1, keepdims=True), 0)
  heading = heading - leaving * out
  return heading / np.linalg.norm(heading, axis=1, keepdims=True)


def _onto(points: np.ndarray, anatomy: Anatomy, lift: np.ndarray) -> np.ndarray:
  """Lays points on the ellipsoid's upper half; below, keeps them outside."""
  free = outside(points, anatomy, lift)
  radii = anatomy.radii + lift[:, None]
  away = (points - anatomy.center) / radii
  laid = anatomy.center + radii * away / np.linalg.norm(
    away, axis=1, keepdims=True
  )
  upper = (points[:, 1] > anatomy.center[1])[:, None]
  return np.where(upper, laid, free)


def _standing(
  cut: Cut, anatomy: Anatomy, roots: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
  """Short hair that stands off the scalp."""
  unit, count = anatomy.unit, len(roots)
  normal = (roots - anatomy.center) / anatomy.radii**2
  normal /= np.linalg.norm(normal, axis=1, keepdims=True)
  top = np.clip((roots[:, 1] - anatomy.center[1]) / anatomy.radii[1], 0, 1)
  spiky = cut.style == "spiky"
  length = (0.012 + (0.045 if spiky else 0.022) * top) * unit * cut.length
  length = length * rng.uniform(0.7, 1.25, count)
  comb = np.stack(
    [0.5 * normal[:, 0], 0.1 - 0.8 * (1 - top), 0.55 * top - 0.2], axis=1
  )
  comb += rng.normal(0, 0.25, comb.shape)
  t = np.linspace(0, 1, 6)[:, None]
  stand = (0.9 if spiky else 0.35) * cut.volume
  bend = comb[:, None] * t * (1.0 - 0.3 * spiky)
  path = normal[:, None] * stand * t * (1.1 - 0.4 * t) + bend
  points = roots[:, None] + length[:, None, None] * path
  lift = 0.004 * unit * cut.volume * np.linspace(0.3, 1, 6)
  return outside(points, anatomy, np.broadcast_to(lift, points.shape[:2]))


def _curls(
  cut: Cut, anatomy: Anatomy, roots: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
  """Coils that stand off the scalp and hang a little."""
  unit, count = anatomy.unit, len(roots)
  normal = (roots - anatomy.center) / anatomy.radii**2
  normal /= np.linalg.norm(normal, axis=1, keepdims=True)
  top = np.clip(0.55 + (roots[:, 1] - anatomy.center[1]) / 0.1, 0.35, 1)
  length = 0.040 * unit * cut.volume * top * rng.uniform(0.6, 1.2, count)
  t = np.linspace(0, 1, 13)
  first = np.cross(normal, rng.normal(size=normal.shape))
  first /= np.linalg.norm(first, axis=1, keepdims=True)
  second = np.cross(normal, first)
  phase = 6.3 * rng.uniform(0, 1, (count, 1)) + 11 * t
  radius = 0.008 * unit * (0.4 + t)
  coil = first[:, None] * (radius * np.cos(phase))[..., None]
  coil += second[:, None] * (radius * np.sin(phase))[..., None]
  points = roots[:, None] + normal[:, None] * (length[:, None] * t)[..., None]
  points = points + coil
  points[..., 1] -= 0.012 * unit * t * t
  return outside(points, anatomy, 0.003)


def _tied(
  cut: Cut,
  anatomy: Anatomy,
  roots: np.ndarray,
  rng: np.random.Generator,
  share: float,
) -> list[np.ndarray]:
  """Hair combed to one or two ties, and what hangs from them."""
  c, r, unit = anatomy.center, anatomy.radii, anatomy.unit
  ties = {
    "pony": [c + r * [0, 0.42, -1.02]],
    "bun": [c + r * [0, 0.86, -0.62]],
    "twin": [c + r * [side * 0.86, 0.34, -0.55] for side in (1, -1)],
  }[cut.style]
  ties = np.array(ties)
  which = (roots[:, 0] < 0).astype(int) if len(ties) == 2 else 0
  goal = ties[which] * np.ones((len(roots), 1))
  t = np.linspace(0, 1, 9)[:, None]
  straight = roots[:, None] * (1 - t) + goal[:, None] * t
  lift = (0.006 * np.sin(np.pi * np.linspace(0, 1, 9)) + 0.002) * unit
  lift = np.broadcast_to(lift * cut.volume, straight.shape[:2])
  result = [outside(straight, anatomy, lift)]
  for tie in ties:
    if cut.style == "bun":
      result.append(_knot(tie, unit, rng, int(90 * share)))
    else:
      result.append(_tail(cut, tie, anatomy, rng, int(70 * share)))
  return result


def _knot(
  tie: np.ndarray, unit: float, rng: np.random.Generator, count: int
) -> np.ndarray:
  """Arcs around a ball."""
  axis = rng.normal(size=(count, 3)) * [0.5, 1, 0.5]
  axis /= np.linalg.norm(axis, axis=1, keepdims=True)
  first = np.cross(axis, rng.normal(size=axis.shape))
  first /= np.linalg.norm(first, axis=1, keepdims=True)
  second = np.cross(axis, first)
  turn = np.linspace(0, 2.6, 9)[:, None]
  ball = first[:, None] * np.cos(turn) + second[:, None] * np.sin(turn)
  return tie + [0, 0.016 * unit, -0.01 * unit] + 0.030 * unit * ball


def _tail(
  cut: Cut,
  tie: np.ndarray,
  anatomy: Anatomy,
  rng: np.random.Generator,
  count: int,
) -> np.ndarray:
  """A bundle that leaves the tie outwards and falls."""
  unit = anatomy.unit
  out = (tie - anatomy.center) * [1, 0.3, 1]
  out = out / np.linalg.norm(out)
  t = np.linspace(0, 1, 12)[:, None]
  length = 0.20 * unit * cut.length * rng.uniform(0.8, 1.1, (count, 1, 1))
  spread = rng.normal(0, 0.5, (count, 1, 3)) * [1, 0.4, 1]
  path = out * 0.42 * (1 - (1 - t) ** 3) + np.array([0, -1, 0]) * t**1.6
  path = path + np.array([0, 0.22, 0]) * np.sin(np.pi * t)
  thick = 0.034 * unit * np.sin(np.pi * (0.12 + 0.8 * t)) * spread
  return tie + length * path + thick


def _fringe(
  cut: Cut, anatomy: Anatomy, roots: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
  """Bangs over the forehead, ending above the brows."""
  unit, count = anatomy.unit, len(roots)
  end = anatomy.brow + 0.007 * unit + rng.normal(0, 0.003 * unit, count)
  side = np.clip(np.abs(roots[:, 0]) / anatomy.radii[0], 0, 1)
  end = end - 0.035 * unit * side**3 * 3
  lift = (0.009 + rng.uniform(0, 0.006, count)) * unit * cut.volume
  drift = (roots[:, 0] - cut.part * anatomy.radii[0]) * 0.3
  drift = drift + rng.normal(0, 0.006 * unit, count)
  t = np.linspace(0, 1, 9)
  drop = np.minimum(end - roots[:, 1], -0.01 * unit)
  points = np.repeat(roots[:, None], len(t), axis=1)
  points[..., 1] += drop[:, None] * t**1.15
  points[..., 0] += drift[:, None] * t
  points[..., 2] += lift[:, None] * np.sin(np.pi * t * 0.8)
  grown = np.linspace(0.6, 1, len(t)) * lift[:, None]
  return outside(points, anatomy, grown)
