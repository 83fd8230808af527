"""Identities, expressions, gazes and views of procedural heads, at random."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32

from chibijax.heads.model import HeadModel

# Names without a side are set on both, about equally strong.
_MOODS: dict[str, dict[str, float]] = {
  "calm": {},
  "smile": {"smile": 0.9, "lids_squint": 0.4, "dimple": 0.3},
  "laugh": {"smile": 1.0, "lips_open": 0.4, "lids_squint": 0.6},
  "talk": {"mouth_funnel": 0.5, "lower_lip_drop": 0.4, "brow_outer_up": 0.3},
  "round": {"mouth_pucker": 0.8, "brow_inner_up": 0.3},
  "surprise": {"brow_inner_up": 0.9, "brow_outer_up": 0.9, "lids_wide": 0.7},
  "sad": {"frown": 0.8, "brow_inner_up": 0.8, "lips_press": 0.3},
  "angry": {"brow_down": 0.9, "sneer": 0.5, "lips_press": 0.5},
  "puffed": {"cheek_puff": 0.8, "lips_press": 0.4},
}
_OFTEN = (0.15, 0.28, 0.15, 0.13, 0.06, 0.09, 0.05, 0.05, 0.04)
# How far the jaw opens, radians.
_OPEN = {"laugh": 0.14, "talk": 0.12, "surprise": 0.20}


class Moment(NamedTuple):
  """What differs between two frames of a clip, but for the camera.

  Attributes:
    expression: coefficients.
    pose: axis-angle of the whole head, 0, and of the jaw, radians.
    eyes: axis-angle of the left and of the right eye, radians.
  """

  expression: Float32[np.ndarray, " E"]
  pose: Float32[np.ndarray, "6"]
  eyes: Float32[np.ndarray, "6"]


def sample_shape(
  rng: np.random.Generator, model: HeadModel, *, chibi: bool
) -> Float32[np.ndarray, " S"]:
  """An identity.

  Args:
    rng: decides everything.
    model: `procedural_head()`.
    chibi: whether it is a drawn one, whose own features vary less.
  """
  shape = np.clip(rng.normal(0, 0.5, len(model.shape_names)), -1.2, 1.2)
  if chibi:
    shape *= 0.5
    for name, more in (("eye_size", 0.5), ("eye_opening", 0.7)):
      shape[model.shape_names.index(name)] += more
  shape[model.shape_names.index("chibi")] = chibi * rng.uniform(0.85, 1.0)
  return shape.astype(np.float32)


def sample_motion(rng: np.random.Generator, model: HeadModel) -> Moment:
  """An expression: a mood, something of everything, a jaw and a gaze.

  Args:
    rng: decides everything.
    model: `procedural_head()`.
  """
  mood = str(rng.choice(tuple(_MOODS), p=_OFTEN))
  names = model.expression_names
  noise = rng.normal(0, 0.12, len(names))
  noise = np.where(rng.random(len(names)) < 0.3, np.maximum(noise, 0), 0)
  expression = dict(zip(names, noise))
  strength = rng.uniform(0.35, 1.1)
  for name, amount in _MOODS[mood].items():
    for side in _sided(name, names):
      expression[side] += strength * amount * rng.uniform(0.8, 1.1)
  if rng.random() < 0.12:
    for side in _sided("lids_close", names):
      expression[side] = rng.uniform(0.5, 1.0)
  elif rng.random() < 0.04:
    expression["lids_close_left"] = 1.0
  jaw = max(rng.normal(0, 0.03), 0) + strength * _OPEN.get(mood, 0.0)
  gaze = np.clip([rng.normal(0, 0.09), rng.normal(0, 0.20), 0], -0.42, 0.42)
  # Eyes that look at something near turn inwards.
  inwards = np.array([0, rng.uniform(0, 0.03), 0])
  pose = np.zeros(6, np.float32)
  pose[3] = min(jaw, 0.3)
  pose[4] = rng.normal(0, 0.01)
  values = np.array([expression[name] for name in names])
  return Moment(
    np.clip(values, 0, 1.1).astype(np.float32),
    pose,
    np.concatenate([gaze - inwards, gaze + inwards]).astype(np.float32),
  )


def sample_view(
  rng: np.random.Generator,
  center: Float[np.ndarray, "3"],
  half: float,
  focal: float,
) -> Float32[np.ndarray, "4 4"]:
  """A camera around the head: yaw to 60, pitch to 25, roll to 12 degrees.

  Args:
    rng: decides everything.
    center: what it looks at, in the world.
    half: half the head's height in the world; it fills about two thirds of
      the picture.
    focal: length in half-pictures.

  Returns:
    World to camera, OpenCV axes.
  """
  yaw = np.radians(60) * rng.triangular(-1, 0, 1)
  pitch = np.radians(25) * rng.triangular(-1, 0, 1)
  roll = np.radians(12) * rng.triangular(-1, 0, 1)
  turn = np.diag([1.0, -1.0, -1.0]) @ rotation(yaw, pitch, roll)
  distance = focal * half / 0.66 * rng.uniform(0.95, 1.06)
  aside = 0.035 * distance / focal * rng.uniform(-1, 1, 2)
  result = np.eye(4)
  result[:3, :3] = turn
  result[:3, 3] = np.array([*aside, distance]) - turn @ center
  return result.astype(np.float32)


def rotation(yaw: float, pitch: float, roll: float) -> Float[np.ndarray, "3 3"]:
  """Turns about y, then x, then z, in radians."""
  c, s = np.cos([yaw, pitch, roll]), np.sin([yaw, pitch, roll])
  about_y = np.array([[c[0], 0, s[0]], [0, 1, 0], [-s[0], 0, c[0]]])
  about_x = np.array([[1, 0, 0], [0, c[1], -s[1]], [0, s[1], c[1]]])
  about_z = np.array([[c[2], -s[2], 0], [s[2], c[2], 0], [0, 0, 1]])
  return about_z @ about_x @ about_y


def _sided(name: str, names: tuple[str, ...]) -> list[str]:
  """The expression of that name, or its two sides."""
  if name in names:
    return [name]
  return [f"{name}_left", f"{name}_right"]
