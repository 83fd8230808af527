"""Procedural people: the procedural head with skin, hair and clothes, drawn.

A character is the head with an identity and a look. Hair, clothes and glasses
are made once on the shaped head at rest and follow it rigidly; the skin is
posed for every picture. The world of a picture is the head's frame times 5, as
the avatar task has it.
"""

import functools
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8
from scipy import sparse

from chibijax.heads import hair, light, paint, render, wear
from chibijax.heads.look import Look
from chibijax.heads.model import HeadModel, landmarks, vertices
from chibijax.heads.motion import WORLD_SCALE, center
from chibijax.heads.procedural import (
  Regions,
  procedural_head,
  procedural_regions,
)
from chibijax.heads.procedural_mesh import EYE, MOUTH, PARTS

# Half-angle of the modelled iris.
_IRIS = np.radians(26.0)
_BACKGROUND, _SKIN, _EYE, _TEETH, _TONGUE, _HAIR, _CLOTH, _FRAME = range(8)


class Character(NamedTuple):
  """A person.

  Attributes:
    look: colours, hair and light.
    shape: identity coefficients.
    strips: the hair, or None.
    cloth: the garment.
    frame: the glasses, or None.
    center: of the head at rest, in the world.
    half: half its height, in the world.
    swell: what is added to the head's vertices under the hair.
    traits: of the head's vertices: template coordinates in mm, lips, lashes,
      inside, hollow, height above the hairline in mm.
  """

  look: Look
  shape: Float[np.ndarray, " S"]
  strips: hair.Strips | None
  cloth: wear.Solid
  frame: wear.Solid | None
  center: Float[np.ndarray, "3"]
  half: float
  swell: Float[np.ndarray, "V 3"]
  traits: Float[np.ndarray, "V 8"]


class Picture(NamedTuple):
  """A drawn character.

  Attributes:
    rgb: sRGB on black.
    alpha: coverage, 0 to 255.
    box: x0, y0, x1, y1 of the head's vertices in pixels, within the picture.
  """

  rgb: UInt8[np.ndarray, "H W 3"]
  alpha: UInt8[np.ndarray, "H W"]
  box: Float[np.ndarray, "4"]


def make_character(look: Look, shape: Float[np.ndarray, " S"]) -> Character:
  """Grows hair on a head and dresses it.

  Args:
    look: what it looks like.
    shape: identity coefficients of `procedural_head()`.
  """
  model, regions = procedural_head(), procedural_regions()
  neutral = posed(model, shape)
  marks = landmarks(model, neutral)
  anatomy = hair.measure(model.template, neutral, marks)
  neck = wear.measure_neck(model.template, neutral)
  rng = np.random.default_rng(look.seed)
  frame = None
  if look.glasses is not None:
    temple = 1.04 * anatomy.face
    frame = wear.glasses(marks, float(temple), anatomy.unit)
  hollow = _hollow(neutral, model)
  low, high = float(marks[8, 1]), float(neutral[:, 1].max())
  traits = np.column_stack(
    [
      1000 * regions.rest, regions.lips, regions.lashes,
      regions.mouth_inside, hollow, anatomy.scalp,
    ]
  )  # fmt: skip
  return Character(
    look=look,
    shape=np.asarray(shape, np.float32),
    strips=hair.grow(look.cut, anatomy, neutral, rng),
    cloth=wear.garment(look.garment, neck, narrow=look.chibi),
    frame=frame,
    center=center(low, high),
    half=WORLD_SCALE * max((high - low) / 2, 1.15 * float(anatomy.radii[0])),
    swell=hair.swell(look.cut, anatomy, neutral),
    traits=traits.astype(np.float32),
  )


def draw(
  character: Character,
  expression: Float[np.ndarray, " E"],
  pose: Float[np.ndarray, "6"],
  eyes: Float[np.ndarray, "6"],
  viewmat: Float[np.ndarray, "4 4"],
  K: Float[np.ndarray, "3 3"],
  size: int,
  *,
  samples: int = 2,
) -> Picture:
  """Draws a character on black.

  Args:
    character: who.
    expression: coefficients of `procedural_head()`.
    pose: axis-angle of the whole head and of the jaw, radians.
    eyes: axis-angle of the left and of the right eye, radians.
    viewmat: world to camera, OpenCV axes; the world is the head times 5.
    K: intrinsics in pixels.
    size: side in pixels.
    samples: this many rows and columns of samples for each pixel.
  """
  model = procedural_head()
  head = posed(model, character.shape, expression, pose, eyes)
  haired = head + character.swell
  parts = [(haired, model.faces)]
  solids = [character.strips, character.cloth, character.frame]
  parts += [(s.vertices, s.faces) for s in solids if s is not None]
  starts = np.cumsum([0] + [len(v) for v, _ in parts[:-1]])
  everything = WORLD_SCALE * np.concatenate([v for v, _ in parts])
  faces = np.concatenate([f + k for (_, f), k in zip(parts, starts)])
  one_sided = np.arange(len(faces)) < len(model.faces)
  fine = samples * size
  fragments = render.rasterize(
    everything,
    faces,
    viewmat,
    render.finer(K, samples),
    (fine, fine),
    cull=one_sided,
  )
  color, material = _shaded(character, haired, fragments, viewmat[:3, :3])
  if character.look.chibi:
    lines = _outlines(material, fragments.depth, max(1, round(fine / 256)))
    color[lines] *= 0.28
  picture = render.shrink(color, material > 0, samples)
  levels = np.floor(255 * np.clip(picture, 0, 1) + 0.5).astype(np.uint8)
  box = _box(WORLD_SCALE * head, viewmat, K, size)
  return Picture(levels[..., :3], levels[..., 3], box)


def posed(
  model: HeadModel, shape: np.ndarray, *motion: np.ndarray
) -> Float[np.ndarray, "V 3"]:
  """Vertices with NumPy, of the neutral face if nothing else is given."""
  if not motion:
    zero = np.zeros(6, np.float32)
    motion = (np.zeros(len(model.expression_names), np.float32), zero, zero)
  given = [np.asarray(a, np.float32) for a in (shape, *motion)]
  return vertices(model, *given, xp=np)


def _shaded(
  character: Character,
  head: np.ndarray,
  fragments: render.Fragments,
  turn: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
  """sRGB colours [H, W, 3] and materials [H, W] of all samples."""
  model = procedural_head()
  face = fragments.face.ravel()
  weights = fragments.weights.reshape(-1, 3)
  color = np.zeros((len(face), 3), np.float32)
  material = np.zeros(len(face), np.int8)
  normals = _normals(head, model) @ turn.T.astype(np.float32)
  end = len(model.faces)
  seen = np.flatnonzero((face >= 0) & (face < end))
  corners = model.faces[face[seen]]
  attributes = np.column_stack([normals, character.traits])
  values = render.blend(corners, attributes, weights[seen])
  kinds = _face_materials()[face[seen]]
  material[seen] = kinds
  color[seen] = _head_colors(character.look, kinds, values)
  if character.look.chibi and character.strips is not None:
    # No outline between hair and the painted scalp.
    height = values[:, 10]
    painted = paint.scalp(character.look, values[:, 3:6], height) > 0.5
    material[seen[painted & (kinds == _SKIN)]] = _HAIR
  solids = [
    (character.strips, _HAIR),
    (character.cloth, _CLOTH),
    (character.frame, _FRAME),
  ]
  for solid, kind in solids:
    if solid is None:
      continue
    begin, end = end, end + len(solid.faces)
    seen = np.flatnonzero((face >= begin) & (face < end))
    corners = solid.faces[face[seen] - begin]
    material[seen] = kind
    rows = _solid_attributes(solid, turn)
    values = render.blend(corners, rows, weights[seen])
    color[seen] = _solid_colors(character.look, kind, values)
  seen = np.flatnonzero(material)
  color[seen] = light.to_srgb(color[seen])
  shape = fragments.face.shape
  return color.reshape(*shape, 3), material.reshape(shape)


def _head_colors(
  look: Look, kinds: np.ndarray, values: np.ndarray
) -> np.ndarray:
  """Lit colours of points of the head; values are normals and traits."""
  normals = _unit(values[:, :3])
  result = np.empty((len(values), 3), np.float32)
  face = _template_face()
  on = kinds == _SKIN
  rest = values[on, 3:6]
  spot = paint.Spot(rest, *np.ascontiguousarray(values[on, 6:].T))
  albedo = paint.skin(look, face, spot)
  albedo *= _shadow(look, rest, spot.height)[:, None]
  matt = 1 - 0.85 * paint.scalp(look, rest, spot.height)
  result[on] = light.lit(look, light.SKIN, normals[on], albedo, matt)
  on = kinds == _EYE
  side = np.sign(values[on, 3])
  albedo = paint.eye(look, face, values[on, 3:6], side)
  result[on] = light.lit(look, light.EYE, normals[on], albedo)
  if not look.chibi:
    result[on] += 0.9 * light.glint(look, normals[on])[:, None]
  for kind, tone in (
    (_TEETH, (0.70, 0.67, 0.60)),
    (_TONGUE, (0.5, 0.17, 0.16)),
  ):
    on = kinds == kind
    depth = 0.35 + 0.65 * paint.smooth(values[on, 5], 44, 62)
    albedo = np.array(tone, np.float32) * depth[:, None]
    result[on] = light.lit(look, light.CLOTH, normals[on], albedo)
  return result


def _shadow(look: Look, rest: np.ndarray, height: np.ndarray) -> np.ndarray:
  """How much light hair and chin leave for the skin near them."""
  _, y, z = rest.T
  deep = 0.0 if look.cut.style == "shaved" else 0.30
  if look.cut.bangs:
    deep = 0.38
  shade = deep * np.exp(np.minimum(height, 0) / (12 if look.cut.bangs else 6))
  under = paint.smooth(y, -97, -118) * paint.smooth(z, -70, 10)
  strength = 0.35 if not look.chibi else 0.25
  return (1 - shade) * (1 - strength * under)


def _solid_attributes(
  solid: hair.Strips | wear.Solid, turn: np.ndarray
) -> np.ndarray:
  """Normals in the camera's axes and what the paint needs."""
  turned = turn.T.astype(np.float32)
  if isinstance(solid, hair.Strips):
    return np.column_stack(
      [solid.normals @ turned, solid.tangents @ turned, solid.strand]
    )
  return np.column_stack([solid.normals @ turned, solid.map])


def _solid_colors(look: Look, kind: int, values: np.ndarray) -> np.ndarray:
  """Lit colours of points of hair, cloth or glasses."""
  normals = _unit(values[:, :3])
  # Both sides are seen: what faces away is turned round.
  normals *= np.where(normals[:, 2:] > 0, -1, 1)
  if kind == _HAIR:
    strand = values[:, 6:]
    albedo = paint.strands(look, strand)
    color = light.lit(look, light.HAIR, normals, albedo)
    return color + light.hair_shine(
      look, normals, _unit(values[:, 3:6]), strand
    )
  if kind == _CLOTH:
    albedo = paint.cloth(look, values[:, 3:])
    return light.lit(look, light.CLOTH, normals, albedo)
  albedo = np.broadcast_to(paint.linear(look.glasses), normals.shape)
  return light.lit(look, light.FRAME, normals, albedo)


def _outlines(
  material: np.ndarray, depth: np.ndarray, width: int
) -> np.ndarray:
  """Samples where the material or the depth changes."""
  # Eyes, teeth and tongue have lines of their own: the lids and the lips.
  group = np.where((material > 0) & (material <= _TONGUE), _SKIN, material)
  near = np.where(np.isfinite(depth), depth, 99.0)
  lines = np.zeros(material.shape, bool)
  for axis in (0, 1):
    other = np.diff(group, axis=axis) != 0
    step = np.abs(np.diff(near, axis=axis))
    # Strands lie above each other; only what hangs free is outlined.
    beside = np.delete(group, 0, axis) == _HAIR
    change = other | (step > np.where(beside, 0.35, 0.16))
    for k in (0, 1):
      place = [slice(None), slice(None)]
      place[axis] = slice(k, material.shape[axis] - 1 + k)
      lines[tuple(place)] |= change
  for _ in range(width - 1):
    grown = lines.copy()
    grown[1:] |= lines[:-1]
    grown[:-1] |= lines[1:]
    grown[:, 1:] |= lines[:, :-1]
    grown[:, :-1] |= lines[:, 1:]
    lines = grown
  return lines & (material > 0)


def _box(
  points: np.ndarray, viewmat: np.ndarray, K: np.ndarray, size: int
) -> Float[np.ndarray, "4"]:
  """The rectangle around the head above the neck, within the picture."""
  chosen = procedural_regions().neck < 0.5
  seen = points[chosen] @ viewmat[:3, :3].T + viewmat[:3, 3]
  flat = seen @ np.asarray(K).T
  pixels = flat[:, :2] / flat[:, 2:]
  corners = np.concatenate([pixels.min(axis=0), pixels.max(axis=0)])
  return np.clip(corners, 0, size).astype(np.float32)


def _unit(vectors: np.ndarray) -> np.ndarray:
  length = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
  return vectors / np.maximum(length, 1e-9)[:, None]


@functools.cache
def _incidence() -> sparse.csr_matrix:
  """Which faces a vertex of the head belongs to, [V, F]."""
  faces = procedural_head().faces
  columns = np.repeat(np.arange(len(faces)), 3)
  ones = np.ones(faces.size, np.float32)
  count = len(procedural_head().template)
  return sparse.csr_matrix(
    (ones, (faces.ravel(), columns)), shape=(count, len(faces))
  )


def _normals(points: np.ndarray, model: HeadModel) -> np.ndarray:
  """Normals of the head's vertices, weighted by the area of their faces."""
  a, b, c = (points[model.faces[:, k]] for k in range(3))
  return _unit(_incidence() @ np.cross(b - a, c - a)).astype(np.float32)


def _hollow(points: np.ndarray, model: HeadModel) -> np.ndarray:
  """How concave the surface is at its vertices, 0 to 1.

  The mean of the neighbours lies above the surface in a hollow.
  """
  middle = points[model.faces].mean(axis=1)
  degree = np.asarray(_incidence().sum(axis=1))
  above = (_incidence() @ middle) / degree - points
  height = (above * _normals(points, model)).sum(axis=1)
  scale = float(np.linalg.norm(above, axis=1).mean())
  hollow = paint.smooth(height, 0.15 * scale, 2.2 * scale)
  # Twice the mean over the neighbours: creases are soft.
  for _ in range(2):
    faces = hollow[model.faces].mean(axis=1)
    hollow = (_incidence() @ faces) / degree[:, 0]
  return np.clip(1.6 * hollow, 0, 1)


@functools.cache
def _face_materials() -> Int[np.ndarray, " F"]:
  """The material of each face of the head."""
  regions: Regions = procedural_regions()
  kinds = {
    "eyeball": _EYE, "upper_teeth": _TEETH, "lower_teeth": _TEETH,
    "tongue": _TONGUE,
  }  # fmt: skip
  table = np.array([kinds.get(name, _SKIN) for name in PARTS], np.int8)
  return table[regions.part[procedural_head().faces[:, 0]]]


@functools.cache
def _template_face() -> paint.Face:
  """Places of the template for the paint, in millimetres."""
  model = procedural_head()
  marks = 1000 * landmarks(model, model.template)
  return paint.Face(
    brow=marks[22:27, :2],
    eye=1000 * EYE,
    mouth=(1000 * MOUTH[1], float(marks[54, 0])),
    iris=float(_IRIS),
  )
