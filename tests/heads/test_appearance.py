"""Procedural people: deterministic, where the camera says, in their parts."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from chibijax.heads import (
  appearance,
  hair,
  look,
  motion,
  paint,
  sampling,
  wear,
)
from chibijax.heads.model import landmarks
from chibijax.heads.procedural import procedural_head
from chibijax.ops import camera

SIZE = 48
MODEL = procedural_head()
STILL = sampling.Moment(
  np.zeros(len(MODEL.expression_names), np.float32),
  np.zeros(6, np.float32),
  np.zeros(6, np.float32),
)


def person(
  seed: int, *, chibi: bool = False, **changes: object
) -> appearance.Character:
  """Somebody, with parts of the look replaced."""
  rng = np.random.default_rng([7, seed])
  shape = sampling.sample_shape(rng, MODEL, chibi=chibi)
  looks = look.sample_look(rng, chibi=chibi)
  looks = dataclasses.replace(looks, **changes)
  return appearance.make_character(looks, shape)


def front(character: appearance.Character, yaw: float = 0.0) -> np.ndarray:
  """A camera that looks at the head's centre."""
  turn = np.diag([1.0, -1.0, -1.0]) @ sampling.rotation(yaw, 0.0, 0.0)
  view = np.eye(4, dtype=np.float32)
  view[:3, :3] = turn
  view[:3, 3] = [0, 0, 12 * character.half / 0.66] - turn @ character.center
  return view


def draw(
  character: appearance.Character,
  moved: sampling.Moment = STILL,
  yaw: float = 0.0,
  size: int = SIZE,
) -> appearance.Picture:
  return appearance.draw(
    character,
    *moved,
    front(character, yaw),
    motion.intrinsics(size),
    size,
  )


@pytest.mark.parametrize("style", hair.STYLES)
def test_every_style_is_drawn(style: str) -> None:
  chibi = style in ("twin", "spiky")
  cut = hair.Cut(style, part=0.3, bangs=style in ("bob", "twin"), chunky=chibi)
  character = person(1, chibi=chibi, cut=cut, glasses=(0.1, 0.1, 0.1))
  picture = draw(character)
  assert picture.rgb.shape == (SIZE, SIZE, 3)
  # On black, and neither empty nor filled.
  assert not picture.rgb[picture.alpha == 0].any()
  assert 0.2 < (picture.alpha > 0).mean() < 0.9
  assert (character.strips is None) == (style == "shaved")
  if character.strips is not None:
    for name in ("vertices", "normals", "tangents", "strand"):
      assert np.isfinite(getattr(character.strips, name)).all()
    lengths = np.linalg.norm(character.strips.normals, axis=1)
    np.testing.assert_allclose(lengths, 1, atol=1e-5)


def test_hair_grows_outside_the_skull_and_follows_the_chibi_axis() -> None:
  cut = hair.Cut("long")
  widths = []
  for chibi in (False, True):
    character = person(2, chibi=chibi, cut=cut)
    neutral = appearance.posed(MODEL, character.shape)
    marks = landmarks(MODEL, neutral)
    anatomy = hair.measure(MODEL.template, neutral, marks)
    away = (character.strips.vertices - anatomy.center) / anatomy.radii
    upper = character.strips.vertices[:, 1] > anatomy.center[1]
    assert np.linalg.norm(away[upper], axis=1).min() > 0.97
    assert character.strips.vertices[:, 1].min() < marks[8, 1]
    widths.append(np.ptp(character.strips.vertices[upper, 0]))
  assert widths[1] > 1.1 * widths[0]


def test_pictures_are_a_function_of_their_arguments() -> None:
  moved = sampling.sample_motion(np.random.default_rng(5), MODEL)
  one, two = (draw(person(3), moved, 0.4) for _ in range(2))
  np.testing.assert_array_equal(one.rgb, two.rgb)
  other = draw(person(4), moved, 0.4)
  assert (one.rgb != other.rgb).mean() > 0.1


def test_features_lie_where_the_camera_projects_them() -> None:
  """Iris and lips are found at the landmarks as `ops.camera` projects them."""
  character = person(
    5,
    cut=hair.Cut("shaved"), glasses=None, beard=0.0, garment="tee",
    skin=(0.5, 0.5, 0.5), lips=(1.0, 0.0, 0.0), redness=0.0, freckles=0.0,
    iris=(0.0, 0.0, 1.0), makeup=0.0, cloth=(0.5, 0.5, 0.5), pattern="plain",
  )  # fmt: skip
  size, view = 128, front(character, 0.3)
  rgb = draw(character, yaw=0.3, size=size).rgb.astype(float)
  points = appearance.posed(MODEL, character.shape)
  marks = 5 * landmarks(MODEL, points)
  seen = camera.to_camera(jnp.asarray(marks), jnp.asarray(view))
  K = jnp.asarray(motion.intrinsics(size))
  pixels = np.asarray(camera.to_pixels(seen, K))
  red = rgb[..., 0] - rgb[..., 1:].max(axis=2)
  rows, columns = np.nonzero(red > 40)
  # Half the mouth is turned away a little: the centres agree to a few pixels.
  lips = pixels[48:68].mean(axis=0)
  assert np.hypot(columns.mean() - lips[0], rows.mean() - lips[1]) < 2.5
  blue = rgb[..., 2] - rgb[..., :2].max(axis=2)
  rows, columns = np.nonzero(blue > 15)
  eyes = np.stack([pixels[36:42].mean(axis=0), pixels[42:48].mean(axis=0)])
  distance = np.hypot(
    columns[:, None] + 0.5 - eyes[:, 0], rows[:, None] + 0.5 - eyes[:, 1]
  )
  assert len(rows) > 10 and (distance.min(axis=1) < 8).mean() > 0.9
  assert set(distance.argmin(axis=1)) == {0, 1}


def test_box_holds_the_head_and_motion_moves_it() -> None:
  character = person(6, cut=hair.Cut("shaved"), garment="tee")
  picture = draw(character)
  x0, y0, x1, y1 = picture.box
  assert 0 <= x0 < x1 <= SIZE and 0 <= y0 < y1 <= SIZE
  rows, columns = np.nonzero(picture.alpha > 128)
  assert abs(rows.min() - y0) < 1.5
  head = columns[rows < y1 - 0.3 * (y1 - y0)]
  assert abs(head.min() - x0) < 1.5 and abs(head.max() + 1 - x1) < 1.5
  # Without glasses, a wink and an open jaw change the face only.
  _, expression = MODEL.coefficients(lids_close_left=1.0)
  pose = np.zeros(6, np.float32)
  pose[3] = 0.25
  other = draw(character, sampling.Moment(expression, pose, STILL.eyes))
  change = np.abs(other.rgb.astype(int) - picture.rgb).max(axis=2) > 25
  rows, columns = np.nonzero(change)
  assert 10 < len(rows) < 0.2 * SIZE * SIZE
  assert rows.min() > y0 + 0.2 * (y1 - y0) and other.box[3] > y1


def test_gaze_moves_the_iris() -> None:
  character = person(
    8, chibi=True, cut=hair.Cut("shaved"), glasses=None, iris=(0.0, 0.2, 1.0)
  )
  columns = []
  for yaw in (-0.3, 0.3):
    eyes = np.array([0, yaw, 0] * 2, np.float32)
    moved = sampling.Moment(STILL.expression, STILL.pose, eyes)
    rgb = draw(character, moved, size=96).rgb.astype(float)
    blue = rgb[..., 2] - rgb[..., 0] > 60
    columns.append(np.nonzero(blue)[1].mean())
  # Positive turns about y look to the subject's left, right in the picture.
  assert columns[1] > columns[0] + 1


def test_looks_are_spread_and_reproducible() -> None:
  drawn = [
    look.sample_look(np.random.default_rng([0, i]), chibi=i % 2 == 1)
    for i in range(120)
  ]
  again = look.sample_look(np.random.default_rng([0, 5]), chibi=True)
  assert again == drawn[5]
  assert {x.cut.style for x in drawn} == set(hair.STYLES)
  assert {x.garment for x in drawn} == set(look.GARMENTS)
  light = np.array([np.mean(x.skin) for x in drawn if not x.chibi])
  assert light.min() < 0.3 and light.max() > 0.75
  assert 0.02 < np.mean([x.glasses is not None for x in drawn]) < 0.3
  assert all(0 <= c <= 1 for x in drawn for c in (*x.skin, *x.lips, *x.hair))
  grey = [i for i, x in enumerate(drawn) if min(x.hair) > 0.45]
  assert len(grey) < 40


def test_views_and_motions_keep_their_bounds() -> None:
  rng = np.random.default_rng(0)
  center = np.array([0.0, 0.1, 0.0])
  for _ in range(50):
    moved = sampling.sample_motion(rng, MODEL)
    assert moved.expression.min() >= 0 and moved.expression.max() <= 1.1
    assert not moved.pose[:3].any() and 0 <= moved.pose[3] <= 0.3
    view = sampling.sample_view(rng, center, 0.55, 12.0)
    turn = view[:3, :3].astype(np.float64)
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-6)
    assert np.linalg.det(turn) > 0
    # The face looks towards the camera: its z axis comes nearer.
    assert turn[2, 2] < -np.cos(np.radians(60)) * np.cos(np.radians(25)) + 1e-3
    x, y, z = view[:3, :3] @ center + view[:3, 3]
    assert 9 < z < 11 and max(abs(x), abs(y)) < 0.05 * z


def test_garments_face_outwards() -> None:
  neutral = np.asarray(MODEL.template)
  neck = wear.measure_neck(MODEL.template, neutral)
  assert 0.04 < neck.half_width < 0.07 and abs(neck.center[0]) < 1e-3
  for kind in look.GARMENTS:
    solid = wear.garment(kind, neck, narrow=False)
    a, b, c = (solid.vertices[solid.faces[:, k]] for k in range(3))
    normal = np.cross(b - a, c - a)
    along = (normal * solid.normals[solid.faces[:, 0]]).sum(axis=1)
    assert (along > 0).mean() > 0.95
    out = solid.normals * (solid.vertices - neck.center)
    shoulder = solid.vertices[:, 1] < neck.center[1] - 0.06
    assert (out[shoulder][:, [0, 2]].sum(axis=1) > 0).mean() > 0.95


def test_freckles_stay_in_their_cells() -> None:
  """The paint is symmetric in nothing but depends on the point alone."""
  rng = np.random.default_rng(1)
  rest = rng.uniform([-40, -20, 40], [40, 10, 70], (500, 3)).astype(np.float32)
  zero = np.zeros(500, np.float32)
  spot = paint.Spot(rest, zero, zero, zero, zero, zero - 50)
  face = paint.Face(
    np.array([[12, 38], [20, 42], [32, 43], [42, 42], [50, 38]], np.float32),
    np.array([31.5, 22, 40], np.float32),
    (-50.0, 24.0),
    0.45,
  )
  looks = person(9, freckles=1.0, cut=hair.Cut("shaved")).look
  plain = dataclasses.replace(looks, freckles=0.0)
  freckled = paint.skin(looks, face, spot)
  change = paint.skin(plain, face, spot) - freckled
  assert (
    change.min() > -1e-6 and 0.05 < (change.max(axis=1) > 0.01).mean() < 0.7
  )
  order = rng.permutation(500)
  shuffled = paint.Spot(rest[order], zero, zero, zero, zero, zero - 50)
  np.testing.assert_allclose(
    paint.skin(looks, face, shuffled), freckled[order], atol=1e-6
  )
