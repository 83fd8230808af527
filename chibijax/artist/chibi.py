"""The chibi domain: one character as a sticker-like drawing.

Layers from back to front: background, back hair, body, ears, head with its
shading, cheeks, nose, beard, mouth, eyes, earrings, front hair, brows, glasses,
headwear. The picture is RGBA; only background "none" leaves transparent pixels.
"""

import numpy as np

from chibijax.artist import palette
from chibijax.artist.attributes import Attributes
from chibijax.artist.background import draw_background
from chibijax.artist.body import Body
from chibijax.artist.canvas import Curve, Scene, render_mask
from chibijax.artist.colors import Colors
from chibijax.artist.drawing import Drawing
from chibijax.artist.eyes import draw_eyes
from chibijax.artist.face import (
  Face,
  draw_brows,
  draw_ears,
  draw_extras,
  draw_head,
  draw_nose,
)
from chibijax.artist.hair_back import BackHair
from chibijax.artist.hair_front import FrontHair
from chibijax.artist.headwear import Headwear
from chibijax.artist.mouth import draw_mouth
from chibijax.artist.pose import Pose
from chibijax.artist.soft import RIM, set_on_glow


def draw_chibi(
  attributes: Attributes,
  size: int,
  *,
  body: bool = False,
  masks: bool = True,
  colors: Colors | None = None,
  soft: bool = False,
) -> Drawing:
  """Draws a character as a chibi.

  Args:
    attributes: the character.
    size: width and height of the picture in pixels, 16 or more.
    body: draw the whole two-heads-tall figure instead of head and shoulders.
    masks: whether to rasterise the masks too (about a fifth of the time).
    colors: exact colours in place of the attributes' words.
    soft: finer shading for a picture to look at closely (see `soft`); trained
      domains are drawn without.

  Returns:
    The drawing; landmarks scale with `size`, nothing else depends on it.

  Raises:
    ValueError: if `size` is below 16.
  """
  if size < 16:
    raise ValueError(f"size must be 16 pixels or more, got {size}")
  scene, landmarks, outline = compose(
    attributes, body=body, colors=colors, soft=soft
  )
  found = {}
  if masks:
    found = {
      "head": render_mask(outline, size),
      **scene.render_labels(size),
    }
  image = scene.render(size)
  if soft and attributes.background != "none":
    ground = (colors or Colors()).resolve(attributes).background
    image = set_on_glow(image, ground)
  return Drawing(
    image=image,
    landmarks=(landmarks * (size / 1000)).astype(np.float32),
    masks=found,
    attributes=attributes,
  )


def compose(
  attributes: Attributes,
  *,
  body: bool = False,
  colors: Colors | None = None,
  soft: bool = False,
) -> tuple[Scene, np.ndarray, Curve]:
  """Builds the vector picture of a chibi.

  Args:
    attributes: the character.
    body: whole figure instead of head and shoulders.
    colors: as for `draw_chibi`.
    soft: as for `draw_chibi`, but for what is behind the pattern.

  Returns:
    The scene (`scene.svg()` is the picture as SVG), the 68 landmarks in canvas
    units, and the outline of the head.
  """
  scene = Scene()
  pose = Pose.of(attributes, body=body)
  face = Face.of(attributes, colors, soft=soft)
  hair = FrontHair(scene, pose, face)
  wear = Headwear(scene, pose, face)
  draw_background(scene, face)
  ground = scene.mark()
  BackHair(scene, pose, face).draw()
  wear.draw_back()
  Body(scene, pose, face, full=body).draw()
  draw_ears(scene, pose, face)
  outline = draw_head(scene, pose, face, hair.shadow())
  nose = draw_nose(scene, pose, face)
  wear.draw_beard()
  mouth = draw_mouth(scene, pose, face)
  eyes = draw_eyes(scene, pose, face)
  color = _brow_color(face)
  draw_brows(scene, pose, face, color, over=False)
  wear.draw_earrings()
  hair.draw()
  brows = draw_brows(scene, pose, face, color, over=True)
  wear.draw_glasses()
  wear.draw_front()
  draw_extras(scene, pose, face)
  if soft:
    scene.rim(ground, "#ffffff", RIM)
  landmarks = np.concatenate([face.jaw(pose), brows, nose, eyes, mouth])
  return scene, landmarks, outline


def _brow_color(face: Face) -> str:
  given = face.colors.brows
  dark = given or palette.shade(face.colors.hair, -0.35)
  # Brows must stand out from the skin, whatever the hair.
  skin = palette.oklab(face.skin["base"])[0]
  if abs(skin - palette.oklab(dark)[0]) > 0.16:
    return dark
  return "#0e0a0a" if skin < 0.42 else face.skin["line"]
