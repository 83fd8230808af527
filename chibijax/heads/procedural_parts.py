"""Closed surfaces within the procedural head: eyeballs, teeth and tongue.

The left half is made; those in the middle are cut at x = 0.
"""

import itertools

import numpy as np

from chibijax.heads import procedural_surface as surface
from chibijax.heads.procedural_builder import EYE, EYE_RADIUS, MOUTH, Builder


def add_eyeball(half: Builder) -> None:
  """A ball with rings at the edges of pupil and iris."""
  polar = np.deg2rad(
    [5, 10, 11.5, 16, 22, 25, 27, 33, 44, 58, 76, 100, 130, 158]
  )
  around = np.arange(20) * (2 * np.pi / 20)
  [front] = half.add(
    "eyeball", EYE[None] + [[0, 0, EYE_RADIUS + 0.0004]], 0.0, 0.0, 0, 0.0
  )
  loops = []
  for k, angle in enumerate(polar, start=1):
    # The cornea bulges.
    radius = (
      EYE_RADIUS + 0.0004 * surface.smooth(np.array([angle]), 0.5, 0.2)[0]
    )
    ring = radius * np.stack(
      [
        np.cos(around) * np.sin(angle),
        np.sin(around) * np.sin(angle),
        np.full(20, np.cos(angle)),
      ],
      1,
    )
    loops.append(half.add("eyeball", EYE + ring, 0.0, angle, k, around))
  [end] = half.add(
    "eyeball", EYE[None] - [[0, 0, EYE_RADIUS]], 0.0, np.pi, 15, 0.0
  )
  half.fan(loops[0], front, flip=False)
  for outer, inner in itertools.pairwise(loops):
    half.strip(outer, inner, loop=True, flip=True)
  half.fan(loops[-1], end, flip=True)


def add_teeth(half: Builder, part: str) -> None:
  """Half of a curved bar of rounded rectangular section."""
  x = np.linspace(0, 0.0215, 8)
  front = surface.skin(*surface.locate(MOUTH[None], (0, 1)))[0, 2] - 0.0085
  z = front - 34 * x**2
  top, bottom = (
    (0.0062, -0.0036) if part == "upper_teeth" else (-0.0042, -0.0125)
  )
  section = [(top, 0), (0.7 * top + 0.3 * bottom, 0.001), (bottom, 0.0005)]
  section += [(bottom, -0.0025), (top, -0.004)]
  lines = [
    half.add(part, np.stack([x, np.full(8, MOUTH[1] + dy), z + dz], 1), ring=k)
    for k, (dy, dz) in enumerate(section)
  ]
  for outer, inner in zip(lines, [*lines[1:], lines[0]], strict=True):
    half.strip(outer, inner, loop=False, flip=True)
  ends = [line[-1] for line in lines]
  half.faces.append(
    np.array([[ends[0], ends[i], ends[i + 1]] for i in range(1, 4)])
  )


def add_tongue(half: Builder) -> None:
  """Half of an ellipsoid on the floor of the mouth."""
  center = np.array([0, MOUTH[1] - 0.0125, 0.046])
  size = np.array([0.0135, 0.0045, 0.015])
  polar = np.linspace(0, np.pi, 8)[1:-1]
  around = np.linspace(0, np.pi, 7)
  [tip] = half.add("tongue", center[None] + [[0, 0, size[2]]], ring=0)
  loops = []
  for k, angle in enumerate(polar, start=1):
    ring = np.stack(
      [
        np.sin(angle) * np.sin(around),
        np.sin(angle) * np.cos(around),
        np.full(7, np.cos(angle)),
      ],
      1,
    )
    ring[[0, -1], 0] = 0
    loops.append(half.add("tongue", center + ring * size, ring=k))
  [end] = half.add("tongue", center[None] - [[0, 0, size[2]]], ring=7)
  for loop, pole, flip in ((loops[0], tip, True), (loops[-1], end, False)):
    triangles = np.stack([loop[:-1], loop[1:], np.full(6, pole)], 1)
    half.faces.append(triangles[:, ::-1] if flip else triangles)
  for outer, inner in itertools.pairwise(loops):
    half.strip(outer, inner, loop=False, flip=False)
