"""Motions for avatars: a built-in one, turntables, and those of a file.

A motion is `heads.motion.Motion`; what is made here has the frames of a film.
"""

import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from chibijax.apps import avatar3d_chibi
from chibijax.apps.avatar3d_file import Avatar
from chibijax.errors import UserError
from chibijax.heads import model as head_model
from chibijax.heads.model import HeadModel
from chibijax.heads.motion import WORLD_SCALE, Motion, read_motion
from chibijax.tasks.avatar_model import AvatarModel

FPS = 25.0
DEMO_SECONDS = 8.0
# Expressions by what they show, as the procedural head, ICT-FaceKit and others
# after ARKit's names call them; FLAME's have no names, so that it only opens
# its jaw, looks and turns.
_NAMES: dict[str, tuple[str, ...]] = {
  "smile": ("smile_left", "smile_right", "mouthSmile_L", "mouthSmile_R"),
  "squint": (
    "lids_squint_left", "lids_squint_right", "eyeSquint_L", "eyeSquint_R"
  ),
  "blink": ("lids_close_left", "lids_close_right", "eyeBlink_L", "eyeBlink_R"),
  "open": ("lips_open",),
  "funnel": ("mouth_funnel", "mouthFunnel"),
  "pucker": ("mouth_pucker", "mouthPucker"),
  "lower": (
    "lower_lip_drop_left", "lower_lip_drop_right", "mouthLowerDown_L",
    "mouthLowerDown_R",
  ),
  "brows": (
    "brow_outer_up_left", "brow_outer_up_right", "brow_inner_up_left",
    "brow_inner_up_right", "browOuterUp_L", "browOuterUp_R", "browInnerUp_L",
    "browInnerUp_R",
  ),
}  # fmt: skip
# (second, value) of what the demonstration does; between them it eases.
_Keys = Sequence[tuple[float | int, float | int]]
_BLINKS = (0.9, 2.7, 4.4, 6.9)
_TALK = (
  (0.0, 0.3), (0.16, 1.0), (0.32, 0.35), (0.48, 0.9), (0.64, 0.1), (0.84, 0.7),
  (1.0, 0.25), (1.16, 0.95), (1.36, 0.4), (1.52, 0.8), (1.72, 0.0),
)  # fmt: skip
_SCORE: dict[str, _Keys] = {
  "smile": ((0.2, 0), (1.2, 0.9), (2.2, 0.8), (2.8, 0.1), (6.6, 0.1), (7.3, 0)),
  "squint": ((0.4, 0), (1.3, 0.4), (2.2, 0.3), (2.8, 0)),
  "brows": ((2.8, 0), (3.2, 0.5), (3.8, 0.1), (4.3, 0.4), (4.8, 0)),
  "yaw": ((4.9, 0), (5.5, 0.42), (6.1, 0.38), (6.9, -0.42), (7.3, -0.38),
          (8.0, 0)),
  "pitch": ((0.2, 0), (1.2, -0.06), (2.6, 0.03), (4.9, 0), (5.6, 0.1),
            (7.0, -0.1), (8.0, 0)),
  "gaze_yaw": ((4.7, 0), (5.0, 0.3), (5.5, 0.1), (6.2, 0.1), (6.4, -0.3),
               (7.0, -0.1), (7.8, 0)),
  "gaze_pitch": ((3.2, 0), (3.5, -0.12), (4.2, 0.08), (4.7, 0)),
}  # fmt: skip
_TALK_START = 2.9


def load(
  drive: str | pathlib.Path, avatar: Avatar, model: AvatarModel
) -> Motion:
  """The motion that a command names.

  Args:
    drive: "demo", a `motion.npz`, or a video.
    avatar: who is to be driven.
    model: its model.

  Returns:
    The motion, its cameras framed as the photo.

  Raises:
    UserError: if it cannot be read, shows no face, or belongs to another head
      model.
  """
  if str(drive) == "demo":
    return demo(avatar, model.head)
  path = pathlib.Path(drive)
  if path.suffix.lower() == ".npz":
    found = read_motion(path)
  else:
    found = tracked(path, model.head)
  return fitted(found, avatar, model, str(drive))


def tracked(video: pathlib.Path, head: HeadModel) -> Motion:
  """The motion of the largest face of a video.

  Args:
    video: a film, or a folder of pictures.
    head: the head model to be fitted.

  Raises:
    NoFaceError: if no frame shows a face.
    UserError: if it cannot be read.
  """
  from chibijax.apps import detectors, track
  from chibijax.apps.track_source import Clip, Follower, Options
  from chibijax.faces import landmarks

  if not video.exists():
    raise UserError(
      f"{video} does not exist; --drive takes demo, a motion.npz or a video."
    )
  find = Follower(detectors.make("auto"), landmarks.load())
  clip = Clip(video, Options())
  found = track.follow(clip, head, find)
  return found.track.motion(clip.fps, head.name)


def fitted(
  motion: Motion, avatar: Avatar, model: AvatarModel, name: str
) -> Motion:
  """A motion of another head, for this avatar.

  Args:
    motion: of anybody with the same head model.
    avatar: who is to be driven.
    model: its model.
    name: of the motion, for messages.

  Raises:
    UserError: if it belongs to another head model.
  """
  head = model.head
  if motion.head != head.name:
    raise UserError(
      f"{name} is a motion of the head model {motion.head!r}, and the avatar "
      f"belongs to {head.name!r}."
    )
  if motion.expression.shape[1] > len(head.expression_names):
    raise UserError(
      f"{name} has {motion.expression.shape[1]} expressions, and the head "
      f"model {head.name!r} has {len(head.expression_names)}."
    )
  return dataclasses.replace(motion, viewmats=_framed(motion, avatar, head))


def _framed(
  motion: Motion, avatar: Avatar, head: HeadModel
) -> Float[np.ndarray, "n 4 4"]:
  """A motion's cameras, moved so that they frame the head as the photo does.

  The networks have seen no other framing. In the median of the frames the
  middle of the head is where the photo has it, as far away; what the driver
  moves apart from that stays.
  """
  none = np.zeros(len(head.shape_names), np.float32)
  rest = dataclasses.replace(
    avatar.face,
    expression=0 * avatar.face.expression,
    pose=0 * avatar.face.pose,
    eyes=0 * avatar.face.eyes,
  )
  middles = [
    avatar3d_chibi.extent(avatar3d_chibi.posed(head, one))[0]
    for one in (dataclasses.replace(rest, shape=none), rest)
  ]
  views = np.array(motion.viewmats, np.float64)
  home = np.asarray(avatar.face.viewmat, np.float64)
  seen = views[:, :3, :3] @ middles[0] + views[:, :3, 3]
  photo = home[:3, :3] @ middles[1] + home[:3, 3]
  depth = seen[:, 2] * (photo[2] / np.median(seen[:, 2]))
  place = seen[:, :2] / seen[:, 2:]
  place += photo[:2] / photo[2] - np.median(place, axis=0)
  views[:, :2, 3] = place * depth[:, None]
  views[:, 2, 3] = depth
  views[:, :3, 3] -= views[:, :3, :3] @ middles[1]
  return views.astype(np.float32)


def demo(avatar: Avatar, head: HeadModel, *, fps: float = FPS) -> Motion:
  """Smiles, blinks, talks and looks around, from the photo's view.

  Args:
    avatar: who does so.
    head: its head model.
    fps: frames per second.

  Returns:
    `DEMO_SECONDS` seconds, which end as they begin.
  """
  count = round(DEMO_SECONDS * fps)
  time = np.arange(count) / fps
  track = {name: _eased(time, keys) for name, keys in _SCORE.items()}
  mouth = _eased(time - _TALK_START, _TALK)
  mouth *= (time >= _TALK_START) & (time <= _TALK_START + _TALK[-1][0])
  track |= {"open": 0.25 * mouth, "lower": 0.4 * mouth}
  # Rounder on every other syllable.
  track["funnel"] = 0.5 * mouth * (np.sin(9 * (time - _TALK_START)) > 0)
  track["blink"] = np.clip(sum(_bump(time, at) for at in _BLINKS), 0, 1)
  expression = np.zeros((count, len(head.expression_names)), np.float32)
  for what, names in _NAMES.items():
    for name in set(names) & set(head.expression_names):
      if what in track:
        expression[:, head.expression_names.index(name)] = track[what]
  pose = np.zeros((count, 6), np.float32)
  pose[:, 3] = 0.16 * mouth
  gaze = np.stack([track["gaze_pitch"], track["gaze_yaw"], 0 * time], 1)
  views = turned(avatar, head, track["yaw"], track["pitch"])
  return Motion(
    expression=expression,
    pose=pose,
    eyes=np.concatenate([gaze, gaze], 1).astype(np.float32),
    viewmats=views,
    fps=fps,
    head=head.name,
    valid=np.ones(count, bool),
  )


def turntable(
  motion: Motion, avatar: Avatar, head: HeadModel, degrees: float | int
) -> Motion:
  """A motion seen by a camera that goes around the head.

  Args:
    motion: its cameras are replaced.
    avatar: who moves.
    head: its head model.
    degrees: to each side, in (0, 180]; at 180 it goes all around.

  Raises:
    UserError: if the angle is out of range.
  """
  if not 0 < degrees <= 180:
    raise UserError(f"--turntable is {degrees}, expected degrees in (0, 180].")
  phase = np.arange(len(motion)) / len(motion)
  if degrees == 180:
    yaw = 2 * np.pi * phase
  else:
    yaw = np.radians(degrees) * np.sin(2 * np.pi * phase)
  views = turned(avatar, head, yaw, 0 * yaw)
  return dataclasses.replace(motion, viewmats=views)


def steady(motion: Motion, avatar: Avatar) -> Motion:
  """The same faces, all from the photo's view."""
  views = np.broadcast_to(avatar.face.viewmat, motion.viewmats.shape)
  return dataclasses.replace(motion, viewmats=np.array(views, np.float32))


def turned(
  avatar: Avatar,
  head: HeadModel,
  yaw: Float[np.ndarray, " n"],
  pitch: Float[np.ndarray, " n"],
) -> Float[np.ndarray, "n 4 4"]:
  """The photo's camera, with the head turned about its middle.

  Args:
    avatar: whose photo.
    head: its head model.
    yaw: to the picture's right, radians.
    pitch: downwards, radians.

  Returns:
    World to camera, one for each pair of angles.
  """
  face = avatar.face
  given = (face.shape, 0 * face.expression, 0 * face.pose, 0 * face.eyes)
  points = WORLD_SCALE * head_model.vertices(head, *given, xp=np)
  middle, _ = avatar3d_chibi.extent(np.asarray(points, np.float64))
  c, s = np.cos(yaw), np.sin(yaw)
  o, i = np.zeros_like(yaw), np.ones_like(yaw)
  about_y = np.stack([c, o, s, o, i, o, -s, o, c], -1).reshape(-1, 3, 3)
  c, s = np.cos(pitch), np.sin(pitch)
  about_x = np.stack([i, o, o, o, c, -s, o, s, c], -1).reshape(-1, 3, 3)
  turn = about_y @ about_x
  views = np.zeros((len(yaw), 4, 4))
  views[:] = np.eye(4)
  base = np.asarray(face.viewmat, np.float64)
  views[:, :3, :3] = base[:3, :3] @ turn
  views[:, :3, 3] = base[:3, :3] @ middle + base[:3, 3]
  views[:, :3, 3] -= views[:, :3, :3] @ middle
  return views.astype(np.float32)


def _eased(
  time: Float[np.ndarray, " n"], keys: _Keys
) -> Float[np.ndarray, " n"]:
  """Values between keys, at rest at each of them."""
  seconds, values = np.array(keys, np.float64).T
  place = np.clip(np.searchsorted(seconds, time, "right") - 1, 0, len(keys) - 2)
  part = (time - seconds[place]) / (seconds[place + 1] - seconds[place])
  part = np.clip(part, 0, 1)
  part = part * part * (3 - 2 * part)
  return values[place] + part * (values[place + 1] - values[place])


def _bump(time: Float[np.ndarray, " n"], at: float) -> np.ndarray:
  """A blink: shut within a tenth of a second, open within two."""
  return _eased(
    time, ((at - 0.1, 0.0), (at, 1.0), (at + 0.05, 1.0), (at + 0.22, 0.0))
  )
