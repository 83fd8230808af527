"""The chibi's body without a head, in any colours: for a head from elsewhere.

Picture coordinates are those of `draw_chibi(body=True)`: the canvas is 1000
units wide and high, the figure stands in its middle, and a head of the artist's
own would have its chin at `CHIN`.
"""

import dataclasses

import numpy as np
from jaxtyping import UInt8

from chibijax.artist import palette
from chibijax.artist.attributes import Attributes
from chibijax.artist.body import Body
from chibijax.artist.canvas import Scene
from chibijax.artist.face import Face
from chibijax.artist.pose import Pose

# Where chin and soles are, in fractions of the picture's side. The artist's own
# chin is a little higher (0.571); the lower one hides more of the neck.
CHIN = (0.5, 0.582)
SOLES = 0.994


def draw_body(
  attributes: Attributes,
  size: int,
  *,
  skin: str | None = None,
  clothes: str | None = None,
  accent: str | None = None,
) -> UInt8[np.ndarray, "size size 4"]:
  """Draws neck, trunk, limbs and clothes, nothing else.

  Args:
    attributes: the character; only clothes, their colours, the skin tone and
      the direction of light matter.
    size: side of the picture in pixels, 16 or more.
    skin: sRGB hex in place of the skin tone's colour.
    clothes: sRGB hex in place of the clothes' colour.
    accent: sRGB hex in place of the accent colour.

  Returns:
    RGBA, straight alpha; transparent around the body.

  Raises:
    ValueError: if `size` is below 16 or a colour is not `#rrggbb`.
  """
  if size < 16:
    raise ValueError(f"size must be 16 pixels or more, got {size}")
  for color in (skin, clothes, accent):
    if color is not None:
      palette.rgb(color)
  straight = dataclasses.replace(attributes, yaw=0.0, pitch=0.0, roll=0.0)
  face = Face.of(straight)
  if skin is not None:
    face = dataclasses.replace(face, skin=palette.skin_shades(skin))
  scene = Scene()
  pose = Pose.of(straight, body=True)
  Body(scene, pose, face, full=True, color=clothes, accent=accent).draw()
  return scene.render(size)
