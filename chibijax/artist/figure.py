"""A character as a small 3D figure: painted ellipsoids, to be ray cast.

Figure coordinates are those of the chibi's head (see `pose`) with a depth: x to
the viewer's right, y down, z away from the viewer, who sees the face from -z;
the average head is 600 wide around the origin. The face itself is the chibi's
own drawing, wrapped around the skull. Colours are painted, so that they are the
same from every side, apart from a faint gloss on the hair. Headwear, glasses,
earrings and beards are left out.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from jaxtyping import Float, UInt8

from chibijax.artist import palette
from chibijax.artist.attributes import Attributes
from chibijax.artist.canvas import Scene
from chibijax.artist.eyes import draw_eyes
from chibijax.artist.face import Face, draw_brows, draw_cheeks, draw_nose
from chibijax.artist.figure_hair import Hair
from chibijax.artist.figure_parts import (
  SKULL_Y,
  SKULL_Z,
  Color,
  Colors,
  Part,
  Points,
  Toon,
  Values,
  azimuth,
  color,
  part,
  smooth,
)
from chibijax.artist.mouth import draw_mouth
from chibijax.artist.pose import Pose

# Side of the drawn face in pixels.
_TEXTURE = 768


def build(attributes: Attributes) -> list[Part]:
  """Builds the parts of a character.

  Args:
    attributes: the character; pose and headwear are not used.

  Returns:
    The parts, in figure coordinates, inside a ball of radius 600 around
    (0, 95, 10).
  """
  face = Face.of(attributes)
  toon = Toon.of(attributes)
  hair = Hair.of(face, toon)
  return [
    *_head(face, toon, hair.shade),
    *_body(face, toon),
    *hair.parts(),
  ]


def _head(
  face: Face, toon: Toon, shade: Callable[[Points], Values]
) -> list[Part]:
  """Skull with the wrapped face, ears, neck."""
  skin = {name: color(value) for name, value in face.skin.items()}
  drawn = draw_face(face.attributes).astype(np.float32) / 255
  # Premultiplied, so that interpolation does not mix in what is not there.
  drawn[..., :3] *= drawn[..., 3:]

  def head(points: Points, normals: Points, eye: Points) -> Colors:
    del eye
    plain = toon(normals, skin["base"], skin["shadow"], _mid(skin))
    plain += shade(points)[:, None] * (skin["shadow"] - plain)
    # By arc length sideways: eyes keep their width from every side.
    across = face.width * azimuth(points * (1, 1, face.width / SKULL_Z))
    texel = _lookup(drawn, across, points[:, 1])
    texel *= (points[:, 2] < 0)[:, None]
    return plain * (1 - texel[:, 3:]) + texel[:, :3]

  def flesh(points: Points, normals: Points, eye: Points) -> Colors:
    del eye
    out = toon(normals, skin["base"], skin["shadow"], _mid(skin))
    under = smooth(points[:, 1], 420, 330) * (np.abs(points[:, 0]) < 150)
    return out + 0.8 * under[:, None] * (skin["shadow"] - out)

  def ear(points: Points, normals: Points, eye: Points) -> Colors:
    out = flesh(points, normals, eye)
    side = np.sign(points[:, 0])
    inner = np.hypot((points[:, 1] - 96) / 34, (points[:, 2] + 14) / 20) < 1
    inner &= side * normals[:, 0] > 0.2
    return np.where(inner[:, None], skin["deep"], out)

  parts = [
    part((0, 0, 0), (face.width, SKULL_Y, SKULL_Z), head),
    part((0, 370, 20), (72, 110, 66), flesh),
  ]
  for side in (-1, 1):
    center = (side * (face.width + 2), 92, 10)
    parts.append(part(center, (30, 58, 40), ear, tilt=8 * side))
  return parts


def _mid(skin: dict[str, Color]) -> Color:
  """Between base and light: a face is not porcelain."""
  return skin["base"] + 0.55 * (skin["light"] - skin["base"])


def _body(face: Face, toon: Toon) -> list[Part]:
  """A round trunk with arms and hands, cut off by nothing."""
  a = face.attributes
  cloth = face.colors.clothes
  accent = face.colors.accent
  skin = {name: color(value) for name, value in face.skin.items()}

  def woven(name: str) -> tuple[Color, Color, Color]:
    shadow = color(palette.shade(name, -0.2))
    return color(name), shadow, color(palette.shade(name, 0.25))

  main, trim = woven(cloth), woven(accent)

  def trunk(points: Points, normals: Points, eye: Points) -> Colors:
    del eye
    out = toon(normals, *main)
    ring = (points[:, 1] < 420) | (np.abs(points[:, 1] - 575) < 14)
    if a.clothes in ("overalls", "blazer"):
      ring |= (points[:, 1] > 500) & (np.abs(points[:, 0]) < 90)
    if a.clothes in ("shirt", "hoodie", "blazer"):
      # Buttons or a zip down the front.
      away = np.hypot(points[:, 0], (points[:, 1] + 25) % 50 - 25)
      ring |= (away < 9) & (points[:, 2] < 0)
    out = np.where(ring[:, None], toon(normals, *trim), out)
    under = smooth(points[:, 1], 470, 370)[:, None]
    return out * (1 - 0.22 * under)

  def sleeve(points: Points, normals: Points, eye: Points) -> Colors:
    del eye
    out = toon(normals, *main)
    cuff = points[:, 1] > 570
    return np.where(cuff[:, None], toon(normals, *trim), out)

  def hand(points: Points, normals: Points, eye: Points) -> Colors:
    del points, eye
    return toon(normals, skin["base"], skin["shadow"], _mid(skin))

  parts = [part((0, 520, 20), (165, 150, 125), trunk)]
  for side in (-1, 1):
    arm = (side * 168, 508, 4)
    parts.append(part(arm, (52, 108, 52), sleeve, tilt=-26 * side))
    parts.append(part((side * 212, 604, -6), 46, hand))
  return parts


def draw_face(attributes: Attributes) -> UInt8[np.ndarray, "s s 4"]:
  """Draws cheeks, nose, mouth, eyes and brows without the skin beneath.

  Args:
    attributes: the character; its pose is not used.

  Returns:
    RGBA, straight alpha, [768, 768, 4], the square of canvas units.
  """
  straight = dataclasses.replace(attributes, yaw=0.0, pitch=0.0, roll=0.0)
  scene = Scene()
  face = Face.of(straight)
  pose = Pose.of(straight, body=False)
  draw_cheeks(scene, pose, face)
  draw_nose(scene, pose, face)
  draw_mouth(scene, pose, face)
  draw_eyes(scene, pose, face)
  hair = palette.shade(face.colors.hair, -0.35)
  skin = palette.oklab(face.skin["base"])[0]
  if abs(skin - palette.oklab(hair)[0]) < 0.16:
    hair = "#0e0a0a" if skin < 0.42 else face.skin["line"]
  draw_brows(scene, pose, face, hair, over=False)
  return scene.render(_TEXTURE)


def _lookup(
  texture: Float[np.ndarray, "s s 4"],
  x: Values,
  y: Values,
) -> Float[np.ndarray, "n 4"]:
  """Samples the drawing at head coordinates, bilinearly."""
  size = texture.shape[0]
  # `Pose` puts the head's origin at (500, 500) of 1000 and scales it by .97.
  u, v = (
    np.clip((500 + 0.97 * c) * (size / 1000) - 0.5, 0, size - 1.001)
    for c in (x, y)
  )
  i, j = v.astype(np.int32), u.astype(np.int32)
  s, t = (v - i)[:, None], (u - j)[:, None]
  top = texture[i, j] * (1 - t) + texture[i, j + 1] * t
  bottom = texture[i + 1, j] * (1 - t) + texture[i + 1, j + 1] * t
  return top * (1 - s) + bottom * s
