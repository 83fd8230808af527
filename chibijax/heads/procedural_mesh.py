"""The mesh of the procedural head: rings around its openings, and its parts.

Eyes, mouth and ears are rings within rings, from the skin around them to the
pocket behind; a Delaunay triangulation of the flat map joins their outermost
rings with rows of points all over the head. The left half is made and
mirrored. Eyeballs, teeth and tongue are closed surfaces of their own.
"""

import functools
import itertools

import numpy as np
from jaxtyping import Float
from scipy import spatial

from chibijax.heads import procedural_surface as surface
from chibijax.heads.procedural_builder import (
  EYE,
  EYE_RADIUS,
  MOUTH,
  PARTS,
  Builder,
  Mesh,
)
from chibijax.heads.procedural_parts import add_eyeball, add_teeth, add_tongue

__all__ = ["EYE", "MOUTH", "PARTS", "Mesh", "build"]

# Half-width outwards and inwards, height up and down (mm), share of the
# eyeball's shape, and its distance (mm): lid rings from outside to the margin.
_LIDS = np.array(
  [
    [25.0, 20.5, 18.5, 16.0, 0.0, 2.5],
    [22.0, 19.2, 15.2, 12.8, 0.35, 2.4],
    [19.8, 18.0, 12.6, 10.0, 0.7, 1.9],
    [18.4, 17.0, 11.0, 7.9, 0.93, 1.8],
    [17.4, 16.5, 10.0, 6.8, 1.0, 1.9],
    [16.7, 16.1, 9.2, 6.2, 1.0, 1.5],
    [16.5, 15.9, 8.9, 6.0, 1.0, 0.5],
  ]
)
# Polar angles and distances (mm) of the pocket behind the lids.
_POCKET = ((70, 0.6), (100, 0.7), (140, 0.8))
EYE_LOOP, MOUTH_STRIP, EAR_LOOP = 28, 25, 26
# Half-width, height up and down, depth beyond the skin in the middle (mm).
_LIPS = np.array(
  [
    [33.0, 14.0, 16.0, 0.0],
    [29.0, 10.4, 13.0, 0.0],
    [26.0, 7.8, 10.4, 0.5],
    [24.8, 6.7, 9.0, 1.2],
    [24.3, 4.6, 6.0, 3.4],
    [23.9, 1.9, 2.5, 2.8],
    [23.6, 0.03, 0.03, 0.0],
    [23.2, 1.5, 1.5, -4.0],
    [23.5, 6.0, 7.0, -9.0],
    [23.0, 9.0, 11.0, -17.0],
    [18.0, 9.0, 11.0, -32.0],
  ]
)
# Size, offset sideways at the back, offset sideways in front (mm).
_EAR = np.array(
  [
    [1.18, 0.0, 0.0],
    [0.98, 0.5, 0.3],
    [1.02, 4.5, 0.5],
    [1.2, 8.0, 1.0],
    [1.25, 9.5, 1.2],
    [1.17, 10.5, 1.2],
    [0.98, 8.0, 1.5],
    [0.80, 8.0, 1.0],
    [0.55, 4.0, -0.5],
    [0.25, 2.0, -2.0],
  ]
)
_EAR_CENTER = np.array([2.0, -13.0]) / 1000  # y, z


@functools.cache
def build() -> Mesh:
  """Makes the whole mesh, once a process."""
  half = Builder()
  rings = [_eye(half), _mouth(half), _ear(half)]
  background = _background(half, rings)
  _triangulate(half, [*rings, background])
  add_eyeball(half)
  for part in ("upper_teeth", "lower_teeth"):
    add_teeth(half, part)
  add_tongue(half)
  return _mirrored(half)


def lid_outline(
  ring: Float[np.ndarray, "6"], place: Float[np.ndarray, "n"]
) -> Float[np.ndarray, "n 2"]:
  """Front view of a lid ring about the eye's centre, metres."""
  out, inward, up, down, *_ = ring / 1000
  cosine, sine = np.cos(place), np.sin(place)
  x = np.where(cosine > 0, out, inward) * cosine
  # The upper lid is highest a little inside, the lower lowest outside.
  lean = 1 - 0.12 * cosine * np.sign(sine)
  y = np.where(sine > 0, up, down) * np.sign(sine) * np.abs(sine) ** 1.1 * lean
  return np.stack([x, y + 0.07 * x], 1)


def _eye(half: Builder) -> np.ndarray:
  place = np.arange(EYE_LOOP) * (2 * np.pi / EYE_LOOP)
  loops = []
  for k, ring in enumerate(_LIDS):
    offset = lid_outline(ring, place)
    angle, row = surface.locate(EYE[:2] + offset, (0, 1))
    on_skin = surface.skin(angle, row)
    radius = EYE_RADIUS + ring[5] / 1000
    squared = radius**2 - (offset**2).sum(1)
    depth = np.sqrt(np.maximum(squared, (0.45 * radius) ** 2))
    on_ball = np.column_stack([EYE[:2] + offset, EYE[2] + depth])
    at = on_skin + ring[4] * (on_ball - on_skin)
    loops.append(half.add("lids", at, angle, row, k, place))
  last = half.columns[-1]
  for k, (polar, gap) in enumerate(_POCKET, start=len(_LIDS)):
    sine, cosine = np.sin(np.deg2rad(polar)), np.cos(np.deg2rad(polar))
    around = np.stack(
      [np.cos(place) * sine, np.sin(place) * sine, np.full(EYE_LOOP, cosine)], 1
    )
    at = EYE + around * (EYE_RADIUS + gap / 1000)
    loops.append(half.add("lids", at, last[:, 3], last[:, 4], k, place))
  end = EYE - [0, 0, EYE_RADIUS + 0.001]
  [center] = half.add(
    "lids", end[None], last[:, 3].mean(), last[:, 4].mean(), len(loops), np.nan
  )
  for outer, inner in itertools.pairwise(loops):
    half.strip(outer, inner, loop=True, flip=False)
  half.fan(loops[-1], center, flip=False)
  return loops[0]


def lip_outline(
  ring: Float[np.ndarray, "4"], place: Float[np.ndarray, "n"]
) -> Float[np.ndarray, "n 2"]:
  """Front view of half a mouth ring about its centre, metres."""
  wide, up, down, _ = ring / 1000
  u = np.sin(np.pi * place)
  x = wide * u
  taper = np.maximum(1 - u * u, 0)
  upper = up * taper**0.62
  # The bow of the upper lip's border.
  bow = (
    1
    + 0.12 * np.exp(-(((u - 0.27) / 0.16) ** 2))
    - 0.1 * np.exp(-((u / 0.13) ** 2))
  )
  upper = upper * np.where((up < 0.010), bow, 1.0)
  lower = -down * taper**0.62
  line = 0.0014 * u**2 + 0.0008 * np.exp(-(((u - 0.45) / 0.25) ** 2))
  return np.stack([x, np.where(place <= 0.5, upper, lower) + line], 1)


def _mouth(half: Builder) -> np.ndarray:
  place = np.linspace(0, 1, MOUTH_STRIP)
  u = np.sin(np.pi * place)
  strips = []
  for k, ring in enumerate(_LIPS):
    target = MOUTH + lip_outline(ring, place)
    target[[0, -1], 0] = 0
    angle, row = surface.locate(target, (0, 1))
    angle[[0, -1]] = 0
    at = surface.skin(angle, row)
    if ring[3] < 0:
      # Inside the head the depth is from the mouth line, not from the skin.
      line = MOUTH + lip_outline(_LIPS[6], place)
      at[:, 2] = surface.skin(*surface.locate(line, (0, 1)))[:, 2]
      at[:, 2] += ring[3] / 1000
      at[:, :2] = target
    else:
      at[:, 2] += ring[3] / 1000 * np.maximum(1 - u**2, 0.05) ** 0.5
    at[[0, -1], 0] = 0
    strips.append(half.add("mouth", at, angle, row, k, place))
  for outer, inner in itertools.pairwise(strips):
    half.strip(outer, inner, loop=False, flip=True)
  back, n = strips[-1], MOUTH_STRIP // 2
  # The back of the mouth: upper points joined with lower ones.
  half.strip(back[: n + 1], back[: n - 1 : -1], loop=False, flip=True)
  flat = half.faces.pop()
  two = [len(set(t)) == 3 for t in flat]
  half.faces.append(flat[two])
  return strips[0]


def _ear(half: Builder) -> np.ndarray:
  place = np.arange(EAR_LOOP) * (2 * np.pi / EAR_LOOP)
  up, ahead = np.sin(place), np.cos(place)
  behind = surface.smooth(ahead, 0.75, -0.35)
  loops = []
  for k, (size, back, front) in enumerate(_EAR):
    # An egg: wide above, the lobe narrow below; its axis leans backwards.
    high = 0.029 * up * size
    wide = 0.0165 * ahead * (1 + 0.18 * up) * size
    z = _EAR_CENTER[1] + wide - 0.22 * high
    y = _EAR_CENTER[0] + high + 0.1 * wide
    angle, row = surface.locate(np.stack([z, y], 1), (2, 1))
    at = surface.skin(angle, row)
    flare = front + (back - front) * behind
    lobe = 1 - 0.35 * surface.smooth(-up, 0.3, 1.0)
    at[:, 0] += flare / 1000 * lobe
    at[:, 2] -= 0.25 * np.maximum(flare, 0) / 1000
    loops.append(half.add("ear", at, angle, row, k, place))
  inner = half.columns[-1].mean(0)
  [center] = half.add(
    "ear", inner[None, :3] - [[0.001, 0, 0]], inner[3], inner[4], len(loops)
  )
  for outer, ring in itertools.pairwise(loops):
    half.strip(outer, ring, loop=True, flip=True)
  half.fan(loops[-1], center, flip=True)
  return loops[0]


def _rows() -> np.ndarray:
  """Rows of points, close together on the face."""
  fine = np.linspace(0, surface.LAST, 1500)
  front = surface.skin(np.zeros_like(fine), fine)
  side = surface.loft(np.full_like(fine, 0.8), fine)
  length = (
    np.linalg.norm(np.diff(front, axis=0), axis=1)
    + np.linalg.norm(np.diff(side, axis=0), axis=1)
  ) / 2
  step = 0.011 - 0.0056 * surface.smooth(fine, 1.5, 4.0)
  step = step + 0.006 * surface.smooth(fine, 11.5, 14.0)
  number = np.concatenate([[0], np.cumsum(length / step[1:])])
  total = round(number[-1])
  return np.interp(np.arange(1, total + 1) * number[-1] / total, number, fine)


def _background(half: Builder, rings: list[np.ndarray]) -> np.ndarray:
  """Points all over the head but near the rings."""
  points = [np.array([[0.0, 0.0]])]
  for i, row in enumerate(_rows()):
    fine = np.linspace(0, np.pi, 500)
    at = surface.loft(fine, np.full_like(fine, row))
    length = np.linalg.norm(np.diff(at, axis=0), axis=1)
    face = (
      surface.smooth(fine, 1.9, 1.1)
      * surface.smooth(np.full_like(fine, row), 2.0, 4.0)
      * surface.smooth(np.full_like(fine, row), 14.0, 11.5)
    )
    spacing = 0.0125 - 0.0070 * face
    number = np.concatenate([[0], np.cumsum(length / spacing[1:])])
    total = max(round(number[-1]), 3)
    steps = np.arange(total + 1) * 1.0
    if i % 2:
      steps = np.concatenate([[0.0], np.arange(total) + 0.5, [total]])
    angle = np.interp(steps * number[-1] / total, number, fine)
    angle[-1] = np.pi
    if i % 2 and 3.5 < row < 12.5:
      angle = angle[angle < 1.7]
    points.append(np.stack([angle, np.full_like(angle, row)], 1))
  angle, row = np.concatenate([*points, _nose_points()]).T
  positions = surface.skin(angle, row)
  positions[angle == 0, 0] = positions[angle == np.pi, 0] = 0
  known = np.concatenate(half.columns)
  keep = np.ones(len(angle), bool)
  flat = surface.flatten(angle, row)
  for ring in rings:
    keep &= ~_within(flat, positions, known[ring])
  nose = len(_nose_points())
  near = spatial.cKDTree(positions[-nose:]).query(positions[:-nose])[0]
  keep[:-nose] &= near > 0.0036
  numbers = half.add("skin", positions[keep], angle[keep], row[keep])
  return numbers


def _within(
  flat: np.ndarray, positions: np.ndarray, ring: np.ndarray
) -> np.ndarray:
  """Which points lie inside a ring or too close to it."""
  outline = surface.flatten(ring[:, 3], ring[:, 4])
  # Mouth: an open strip, closed along the middle of the face.
  following = np.roll(outline, -1, axis=0)
  x, y = flat[:, :1], flat[:, 1:]
  spans = (outline[:, 1] > y) != (following[:, 1] > y)
  rise = following[:, 1] - outline[:, 1]
  rise = np.where(rise == 0, 1e-30, rise)
  cut = (
    outline[:, 0]
    + (y - outline[:, 1]) * (following[:, 0] - outline[:, 0]) / rise
  )
  inside = (spans & (x < cut)).sum(1) % 2 == 1
  middle = (flat[:, 0] == 0) & (ring[0, 0] == 0)
  ends = np.sort(outline[[0, -1], 1])
  inside |= middle & (flat[:, 1] > ends[0]) & (flat[:, 1] < ends[1])
  # Nearer points would take the ring's edges from the triangulation.
  middles = (ring[1:, :3] + ring[:-1, :3]) / 2
  tree = spatial.cKDTree(np.concatenate([ring[:, :3], middles]))
  return inside | (tree.query(positions)[0] < 0.0036)


def _nose_points() -> np.ndarray:
  """Closer points on the nose: angle and row."""
  targets = []
  for i, y in enumerate(np.arange(-33.5, 26, 3.1)):
    edge = 9 if y > 5 else 20
    start = 0.0 if i % 2 == 0 else 1.7
    x = np.arange(start, edge, 3.4)
    if i % 2:
      x = np.append(0.0, x)
    targets.append(np.stack([x, np.full_like(x, y)], 1))
  targets = np.concatenate(targets) / 1000
  angle, row = surface.locate(targets, (0, 1))
  angle[targets[:, 0] == 0] = 0
  return np.stack([angle, row], 1)


def _triangulate(half: Builder, groups: list[np.ndarray]) -> None:
  """Joins the points of the flat map."""
  table = np.concatenate(half.columns)
  numbers = np.concatenate(groups)
  flat = surface.flatten(table[numbers, 3], table[numbers, 4])
  flat[table[numbers, 0] == 0, 0] = 0
  owner = np.repeat(np.arange(len(groups)), [len(g) for g in groups])
  triangles = spatial.Delaunay(flat).simplices
  kinds = owner[triangles]
  hole = (kinds == kinds[:, :1]).all(1) & (kinds[:, 0] < len(groups) - 1)
  a, b, c = (flat[triangles[:, i]] for i in range(3))
  u, v = b - a, c - a
  area = u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]
  keep = ~hole & (np.abs(area) > 1e-12)
  triangles = np.where((area > 0)[:, None], triangles[:, ::-1], triangles)
  half.faces.append(numbers[triangles[keep]])


def _mirrored(half: Builder) -> Mesh:
  """Adds the right half; vertices with x = 0 are in both."""
  left = np.concatenate(half.columns)
  faces = np.concatenate(half.faces)
  sides = np.flatnonzero(left[:, 0] != 0)
  twin = np.arange(len(left))
  twin[sides] = len(left) + np.arange(len(sides))
  right = left[sides] * ([-1, 1, 1, -1] + [1] * 4)
  table = np.concatenate([left, right])
  mirror = np.concatenate([twin, sides])
  kinds = table[:, 5:7].astype(int)
  return Mesh(
    positions=table[:, :3],
    faces=np.concatenate([faces, twin[faces][:, ::-1]]).astype(np.int32),
    angle=table[:, 3],
    row=table[:, 4],
    part=kinds[:, 0],
    ring=kinds[:, 1],
    place=table[:, 7],
    mirror=mirror,
  )
