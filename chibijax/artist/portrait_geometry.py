"""Proportions of a human head from the attributes: curves, heights, pose.

Everything is in face units (see `portrait_canvas`). The proportions follow the
classical canon: eyes halfway up the head, the face five eyes wide, nose and
mouth on the thirds of the lower face.
"""

import dataclasses
import math

import numpy as np
from jaxtyping import Float32

from chibijax.artist.attributes import Attributes
from chibijax.artist.portrait_canvas import mirror, spline

NECK = 1.95  # the height where the head turns on the body


@dataclasses.dataclass(frozen=True)
class Expression:
  """What an expression moves.

  Attributes:
    smile: corners of the mouth up (1) or down (-1).
    gap: how far the lips part, in face units.
    width: relative width of the mouth.
    left, right: opening of the viewer's left and right eye, relative.
    inner, outer: height of the inner and outer ends of the brows.
    teeth: share of the gap filled by teeth.
    pucker: lips pushed forward.
    skew: one-sidedness of the smile.
    tongue: whether the tongue shows.
    gaze: (u, v) offset of the irises.
  """

  smile: float = 0.0
  gap: float = 0.0
  width: float = 1.0
  left: float = 1.0
  right: float = 1.0
  inner: float = 0.0
  outer: float = 0.0
  teeth: float = 0.0
  pucker: float = 0.0
  skew: float = 0.0
  tongue: bool = False
  gaze: tuple[float, float] = (0.0, 0.0)


EXPRESSIONS = {
  "neutral": Expression(smile=0.05),
  "smile": Expression(smile=0.55, width=1.10, left=0.9, right=0.9),
  "grin": Expression(0.85, 0.10, 1.22, 0.80, 0.80, teeth=1.0),
  "laugh": Expression(0.9, 0.24, 1.24, 0.42, 0.42, 0.02, 0.02, teeth=0.5),
  "surprised": Expression(-0.1, 0.26, 0.80, 1.3, 1.3, 0.12, 0.10, teeth=0.15),
  "sad": Expression(-0.6, 0.0, 0.95, 0.85, 0.85, 0.09, -0.04),
  "angry": Expression(-0.45, 0.0, 0.98, 0.85, 0.85, -0.10, 0.05),
  "wink": Expression(0.7, 0.06, 1.1, 0.95, 0.04, 0.0, 0.0, teeth=0.8),
  "sleepy": Expression(0.0, 0.02, 0.92, 0.10, 0.10, 0.02, 0.0),
  "smirk": Expression(
    0.28, 0.0, 1.02, 0.85, 0.8, 0.0, 0.02, skew=0.8, gaze=(0.03, 0.0)
  ),
  "kiss": Expression(0.0, 0.02, 0.62, 0.05, 0.05, 0.03, 0.02, pucker=1.0),
  "shy": Expression(0.3, 0.0, 0.9, 0.75, 0.75, 0.05, 0.0, gaze=(-0.05, 0.03)),
  "tongue": Expression(
    0.6, 0.13, 1.05, 0.04, 0.95, 0.02, 0.0, 0.3, tongue=True
  ),
  "open": Expression(0.75, 0.20, 1.16, 0.95, 0.95, 0.02, 0.02, teeth=0.45),
  "worried": Expression(-0.3, 0.03, 0.95, 1.05, 1.05, 0.11, -0.02, teeth=0.5),
}

# Half widths of the face at the cheek (v 0.2), the jaw (1.0) and near the chin
# (1.45), and the height of the chin, relative to the average.
_SHAPES = {
  "oval": (1.0, 1.0, 1.0, 1.0),
  "round": (1.05, 1.05, 1.10, 0.95),
  "square": (1.0, 1.07, 1.22, 0.985),
  "heart": (1.02, 0.95, 0.86, 1.0),
  "long": (0.95, 0.96, 1.0, 1.06),
}

# Height, width and tilt of the lid opening; droop of the outer upper lid.
_EYES = {
  "round": (1.12, 1.0, 0.0, 0.0),
  "almond": (0.95, 1.05, 0.03, 0.0),
  "cat": (0.92, 1.06, 0.06, 0.0),
  "droopy": (0.98, 1.02, -0.04, 0.10),
  "hooded": (0.80, 1.0, 0.01, 0.12),
  "narrow": (0.70, 1.04, 0.03, 0.04),
}


@dataclasses.dataclass(frozen=True)
class Face:
  """The curves of one head in face units, before its pose.

  Attributes:
    landmarks: [68, 2] iBUG points.
    head: closed outline of face and skull, without ears.
    half_width: the outline's half width at `rows`.
    rows: heights matching `half_width`.
    chin: height of the chin.
    eyes: centres of the two eyes (viewer's left first).
    iris: radius of the iris.
    lids: closed outlines of the two lid openings.
    brows: centre lines of the two brows, outer end first for the left one.
    nose: (half width at the wings, height of the base, projection).
    mouth: height of the mouth's centre.
    expression: what the expression moves.
    childlike, aged, masculine: how much, 0..1.
  """

  landmarks: Float32[np.ndarray, "68 2"]
  head: np.ndarray
  half_width: np.ndarray
  rows: np.ndarray
  chin: float
  eyes: tuple[tuple[float, float], tuple[float, float]]
  iris: float
  lids: tuple[np.ndarray, np.ndarray]
  brows: tuple[np.ndarray, np.ndarray]
  nose: tuple[float, float, float]
  mouth: float
  expression: Expression
  childlike: float
  aged: float
  masculine: float


_JAW = np.array(
  [
    (1.0, -0.08),
    (0.995, 0.20),
    (0.97, 0.48),
    (0.91, 0.76),
    (0.80, 1.02),
    (0.64, 1.25),
    (0.45, 1.43),
    (0.23, 1.555),
    (0.0, 1.60),
  ]
)


def _jaw(a: Attributes, gap: float, masculine: float) -> np.ndarray:
  """Right half of the jaw line, from the ear to the chin."""
  cheek, jaw, chin, length = _SHAPES[a.face_shape]
  child = 1.0 if a.age == "child" else 0.0
  jaw *= 1 + 0.035 * masculine + 0.02 * child
  chin *= 1 + 0.10 * masculine
  length *= 1 - 0.06 * child + 0.015 * masculine
  wide = 1 + 0.05 * a.face_width
  points = _JAW.copy()
  factor = np.interp(
    points[:, 1], [-0.1, 0.3, 1.0, 1.45], [1, cheek, jaw, chin]
  )
  points[:, 0] *= factor * wide
  points[:, 1] = np.where(points[:, 1] > 0, points[:, 1] * length, points[:, 1])
  points[:, 1] += gap * 0.5 * np.clip(points[:, 1] / 1.6, 0, 1) ** 2
  return points


def _eye(
  a: Attributes, center: tuple[float, float], opening: float, side: int
) -> tuple[np.ndarray, np.ndarray]:
  """Lid outline and the six landmarks of one eye; side -1 is the left."""
  height, width, tilt, droop = _EYES[a.eye_shape]
  child = 1.14 if a.age == "child" else 1.0
  size = (1 + 0.10 * a.eye_size) * child
  half = 0.226 * width * (1 + 0.05 * a.eye_size) * (1 + 0.4 * (child - 1))
  top = 0.112 * height * size * opening
  bottom = 0.068 * size * min(1.0, 0.45 + 0.55 * opening)
  # From the outer corner over the upper lid to the inner one and back below.
  x = np.array([-1, -0.62, -0.12, 0.42, 0.8, 1, 0.55, 0.0, -0.55])
  y = np.array(
    [
      -tilt / 0.1 * 0.1,
      -top * (0.74 - droop),
      -top,
      -top * 0.80,
      -top * 0.30,
      0.028,
      bottom * 0.72,
      bottom,
      bottom * 0.70,
    ]
  )
  y[1:3] -= tilt * np.array([0.5, 0.2])
  outline = np.stack([x * half * -side, y], 1)
  # Side -1: the outer corner is on the left, where x is negative.
  outline[:, 0] = x * half if side < 0 else -x * half
  outline += center
  curve = spline(outline, closed=True, steps=5)
  six = outline[[0, 1, 3, 5, 6, 8]]
  return curve, six if side < 0 else six[[3, 2, 1, 0, 5, 4]]


def _brow(a: Attributes, e: Expression, masculine: float) -> np.ndarray:
  """Five points of the left brow, outer end first."""
  arch = {"arched": 0.06, "angled": 0.045, "straight": -0.03, "thin": 0.03}
  lift = 0.05 * a.brow_height - 0.035 * masculine
  bend = arch.get(a.brow_shape, 0.015)
  x = np.array([-0.76, -0.64, -0.48, -0.32, -0.17]) - 0.02 * a.eye_spacing
  y = np.array([-0.21, -0.295 - bend, -0.325 - bend, -0.30, -0.265])
  if a.brow_shape == "angled":
    y += np.array([0.0, -0.03, -0.01, 0.01, 0.03])
  y -= (
    lift
    + e.outer * np.array([0.9, 1, 0.6, 0.2, 0])
    + e.inner * np.array([0, 0.05, 0.3, 0.7, 1])
  )
  return np.stack([x, y], 1)


def _mouth(
  a: Attributes, e: Expression, center: float, full: float
) -> tuple[np.ndarray, np.ndarray]:
  """The 12 outer and 8 inner landmarks of the mouth."""
  half = 0.345 * e.width * (1 + 0.10 * a.mouth_width)
  upper = 0.072 * full * (1 + 0.5 * e.pucker) * (1 - 0.25 * max(e.smile, 0))
  lower = 0.105 * full * (1 + 0.4 * e.pucker) * (1 - 0.18 * max(e.smile, 0))

  def base(x: np.ndarray) -> np.ndarray:
    bend = e.smile * (1 + e.skew * np.sign(x) * np.abs(x))
    return center + 0.03 * e.smile - 0.11 * bend * np.abs(x) ** 1.7

  def part(x: np.ndarray) -> np.ndarray:
    return e.gap * np.clip(1 - x * x, 0, 1) ** 0.6

  x = np.array([-1, -0.58, -0.2, 0, 0.2, 0.58, 1.0])
  tall = np.array([0, 0.62, 1, 0.84, 1, 0.62, 0])
  over = np.stack([x * half, base(x) - 0.35 * part(x) - upper * tall], 1)
  x = np.array([0.62, 0.25, 0, -0.25, -0.62])
  tall = np.array([0.62, 0.96, 1, 0.96, 0.62])
  under = np.stack([x * half, base(x) + 0.65 * part(x) + lower * tall], 1)
  x = np.array([-0.9, -0.45, 0, 0.45, 0.9])
  dip = np.array([0, 0, 0.012, 0, 0]) * (1 if e.gap < 0.02 else 0)
  lip = np.stack([x * half, base(x) - 0.35 * part(x) + dip], 1)
  x = np.array([0.45, 0, -0.45])
  inner = np.stack([x * half, base(x) + 0.65 * part(x) + 0.012], 1)
  return np.concatenate([over, under]), np.concatenate([lip, inner])


# Right half of the skull, from the ear to the crown.
_SKULL = np.array(
  [
    (1.0, -0.42),
    (0.985, -0.78),
    (0.88, -1.15),
    (0.68, -1.43),
    (0.38, -1.60),
    (0.0, -1.655),
  ]
)


def _outline(jaw: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """The head's closed outline; its rows and half widths on one side."""
  wide = float(jaw[0, 0])
  skull = _SKULL * (0.65 + 0.35 * wide, 1.0)
  right = np.concatenate([skull[::-1], jaw])
  ring = np.concatenate([right, mirror(right[1:-1])[::-1]])
  curve = spline(ring, closed=True)
  side = curve[: 6 * (len(right) - 1) + 1]
  # For filling, half the points do: its time grows with them.
  return curve[::2], side[:, 1], side[:, 0]


def build_face(a: Attributes) -> Face:
  """Builds the head's curves; depends on the attributes only."""
  e = EXPRESSIONS[a.expression]
  if a.gaze_x or a.gaze_y:
    right, down = e.gaze
    e = dataclasses.replace(
      e, gaze=(right + 0.06 * a.gaze_x, down + 0.03 * a.gaze_y)
    )
  masculine = {"masculine": 1.0, "androgynous": 0.45}.get(a.presentation, 0.0)
  child = 1.0 if a.age == "child" else 0.0
  if child:
    masculine *= 0.25
  jaw = _jaw(a, e.gap, masculine)
  chin = float(jaw[-1, 1])
  wide = float(jaw[0, 0])
  head, rows, half_width = _outline(jaw)
  spacing = 0.455 * (1 + 0.04 * a.eye_spacing) * (0.5 + 0.5 * wide)
  low = 0.06 * child
  eyes = ((-spacing, low), (spacing, low))
  left, left_six = _eye(a, eyes[0], e.left, -1)
  right_lid, right_six = _eye(a, eyes[1], e.right, 1)
  brow = _brow(a, e, masculine)
  brow[:, 1] += low * 0.8
  scale = chin / 1.6
  wing = 0.225 * (1 + 0.13 * a.nose_size) * (1 - 0.14 * child)
  wing *= 1.02 + 0.05 * masculine
  base = (0.655 - 0.07 * child) * scale + 0.02 * a.nose_size
  mouth = base + 0.34 * (1 + 0.05 * masculine) * scale * (1 - 0.06 * child)
  full = 1.22 - 0.22 * masculine
  outer, inner = _mouth(a, e, mouth, full * (0.9 if a.age == "senior" else 1))
  nose_y = np.linspace(0.02 + low, base - 0.13, 4)
  nose_x = np.array([-0.62, -0.32, 0, 0.32, 0.62]) * wing
  nose_low = base + np.array([-0.01, 0.02, 0.035, 0.02, -0.01])
  jaw_x = np.concatenate([mirror(jaw[:-1]), jaw[::-1]])
  landmarks = np.concatenate(
    [
      jaw_x,
      brow,
      mirror(brow)[::-1],
      np.stack([np.zeros(4), nose_y], 1),
      np.stack([nose_x, nose_low], 1),
      left_six,
      right_six,
      outer,
      inner,
    ]
  ).astype(np.float32)
  return Face(
    landmarks=landmarks,
    head=head,
    half_width=half_width,
    rows=rows,
    chin=chin,
    eyes=eyes,
    iris=0.094 * (1 + 0.04 * a.eye_size) * (1.08 if child else 1),
    lids=(left, right_lid),
    brows=(brow.astype(np.float32), mirror(brow)),
    nose=(wing, base, 0.40 * (1 + 0.12 * a.nose_size) * (1 - 0.25 * child)),
    mouth=mouth,
    expression=e,
    childlike=child,
    aged={"senior": 1.0, "adult": 0.25}.get(a.age, 0.0),
    masculine=masculine,
  )


def posed(points: np.ndarray, a: Attributes) -> np.ndarray:
  """Moves points of the frontal face to where the head's pose puts them.

  A 2.5D turn: a smooth head-like depth is rotated by yaw and pitch and
  projected; the picture plane is then rolled about the neck. The movement
  fades out below the chin, so that the body stays.

  Args:
    points: [..., 2] in face units.
    a: the attributes with the pose.
  """
  u, v = points[..., 0], points[..., 1]
  # Python's floats leave float32 points float32.
  yaw, pitch, roll = map(math.radians, (a.yaw, a.pitch, a.roll))
  q = np.clip((u / 1.3) ** 2 + ((v + 0.05) / 2.1) ** 2, 0, 1)
  z = 1.05 * (1 - q) ** 1.25
  z = z + 0.26 * np.exp(-0.5 * ((u / 0.15) ** 2 + ((v - 0.52) / 0.22) ** 2))
  follow = np.clip((2.35 - v) / 1.05, 0, 1)
  follow = follow * follow * (3 - 2 * follow)
  x = u * math.cos(yaw) + z * math.sin(yaw)
  y = v * math.cos(pitch) - z * math.sin(pitch) - NECK
  c, s = math.cos(roll), math.sin(roll)
  out = np.empty_like(points)
  out[..., 0] = u + (x * c - y * s - u) * follow
  out[..., 1] = v + (x * s + y * c + NECK - v) * follow
  return out


def unposed(points: np.ndarray, a: Attributes) -> np.ndarray:
  """Inverts `posed` by fixed-point iteration (error below 0.01 units)."""
  guess = points.copy()
  for _ in range(7):
    step = points - posed(guess, a)
    guess += step
    # Each step is at most 0.6 times the one before, mostly 0.2 times.
    if np.abs(step).max() < 0.004:
      break
  return guess


def to_head_frame(
  direction: tuple[float, float, float], a: Attributes
) -> tuple[float, float, float]:
  """Turns a direction of the picture into the frontal head's frame."""
  yaw, pitch, roll = np.deg2rad([a.yaw, a.pitch, a.roll])
  x, y, z = direction
  c, s = np.cos(roll), np.sin(roll)
  x, y = x * c + y * s, -x * s + y * c
  c, s = np.cos(yaw), np.sin(yaw)
  x, z = x * c - z * s, x * s + z * c
  c, s = np.cos(pitch), np.sin(pitch)
  y, z = y * c + z * s, -y * s + z * c
  return float(x), float(y), float(z)
