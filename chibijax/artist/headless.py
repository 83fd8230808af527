"""The chibi's body without a head, in any colours: for a head from elsewhere.

Picture coordinates are those of `draw_chibi(body=True)`: the canvas is 1000
units wide and high, the figure stands in its middle, and a head of the artist's
own would have its chin at `CHIN`.
"""

import dataclasses

import numpy as np
from jaxtyping import UInt8

from chibijax.artist.attributes import Attributes
from chibijax.artist.body import Body
from chibijax.artist.canvas import Scene
from chibijax.artist.colors import Colors
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
  colors: Colors | None = None,
) -> UInt8[np.ndarray, "size size 4"]:
  """Draws neck, trunk, limbs and clothes, nothing else.

  Args:
    attributes: the character; only clothes, their colours, the skin tone and
      the direction of light matter.
    size: side of the picture in pixels, 16 or more.
    colors: exact colours; those of skin, clothes and accent matter.

  Returns:
    RGBA, straight alpha; transparent around the body.

  Raises:
    ValueError: if `size` is below 16.
  """
  if size < 16:
    raise ValueError(f"size must be 16 pixels or more, got {size}")
  straight = dataclasses.replace(attributes, yaw=0.0, pitch=0.0, roll=0.0)
  face = Face.of(straight, colors)
  scene = Scene()
  pose = Pose.of(straight, body=True)
  Body(scene, pose, face, full=True).draw()
  return scene.render(size)
