"""Finer shading of the chibi, for a picture to look at closely.

Everything here is light and shadow laid over the flat drawing (`soft=True` of
`draw_chibi`): gradients in the hair, a ring of gloss, more light in the eyes, a
glow behind the head and a white rim around the figure, as on a sticker, which
keeps dark hair apart from any background. Base colours stay what they are over
most of each area.
"""

import functools

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from chibijax.artist import canvas, palette
from chibijax.artist.canvas import Curve, Number, Scene
from chibijax.artist.pose import Pose

RIM = 26.0  # width of the white rim, canvas units
HAIR_LINE = 10.0  # width of the hair's outline


def hair_paint(scene: Scene, color: str, depth: Number = 1.0) -> str:
  """A gradient from the crown, a little lighter, to darker ends.

  Args:
    scene: receives the gradient.
    color: base, sRGB hex; the middle of the shape has it.
    depth: 1 for hair in front, more for hair behind, which gets darker.
  """
  return scene.gradient(
    [
      (0, palette.shade(color, 0.07)),
      (0.3, color),
      (0.72, color),
      (1, palette.shade(color, -0.10 * depth)),
    ]
  )


def shine_hair(
  scene: Scene,
  placed: Curve,
  ring: Curve | None,
  colors: dict[str, str],
  away: np.ndarray,
) -> None:
  """Draws the shaded side, the gloss and a rim of light on placed front hair.

  Args:
    scene: receives the shapes.
    placed: outline of the hair on the canvas.
    ring: band of gloss on the canvas, its lower edge ragged; curls have none.
    colors: of the hair, see `hair.hair_colors`.
    away: canvas units from the light to the shadow.
  """
  light, dark = colors["light"], colors["shadow"]
  with scene.clip(placed):
    scene.draw(placed, placed - away, holes=True, fill=dark, opacity=0.5)
    if ring is not None:
      gloss = scene.gradient(
        [(0, light + "18"), (0.45, light + "c8"), (1, light + "50")]
      )
      scene.draw(ring, fill=gloss)
      # A thin second ring under the first, as on lacquer.
      middle = ring.reshape(-1, 2).mean(0)
      thin = (ring - middle) * (0.86, 0.34) + middle + (0, 44)
      scene.draw(thin, fill=light, opacity=0.28)
    # Light along the upper edge, inside the outline.
    edge = placed + 0.26 * away + np.array([0.0, 11.0])
    scene.draw(placed, edge, holes=True, fill=light, opacity=0.30)
  # The light must not eat the line.
  scene.draw(placed, stroke=colors["line"], width=HAIR_LINE)


def light_eyes(scene: Scene, pose: Pose, centers: list, rx: Number) -> None:
  """Adds sparkles and a bow of reflected light to open eyes.

  Args:
    scene: receives the shapes, clipped to the eyes.
    pose: placement.
    centers: (x, y, half height) of each iris in head units.
    rx: half width of an iris.
  """
  dots, bows = [], []
  for x, y, ry in centers:
    dots.append(
      pose.head(canvas.ellipse(x + 0.46 * rx, y + 0.10 * ry, 0.075 * rx))
    )
    dots.append(
      pose.head(canvas.ellipse(x - 0.14 * rx, y + 0.56 * ry, 0.06 * rx))
    )
    bow = [
      (x - 0.66 * rx, y + 0.48 * ry),
      (x - 0.30 * rx, y + 0.80 * ry),
      (x + 0.16 * rx, y + 0.88 * ry),
      (x + 0.62 * rx, y + 0.56 * ry),
    ]
    bows.append(pose.head(canvas.brush(bow, [0, 9, 9, 0])))
  scene.draw(*bows, fill="#ffffff", opacity=0.42)
  scene.draw(*dots, fill="#ffffff", opacity=0.92)


def set_on_glow(
  image: UInt8[np.ndarray, "size size 4"], color: str
) -> UInt8[np.ndarray, "size size 4"]:
  """Lays a picture over a background that is brighter behind the head.

  Pixels, not a gradient of the scene's: resvg hands over a PNG, and packing a
  gradient all over the picture would take longer than all of the drawing.

  Args:
    image: RGBA, straight alpha.
    color: of the background's corners, sRGB hex.

  Returns:
    The opaque picture.
  """
  stops = (palette.shade(color, 0.62), palette.shade(color, 0.34), color)
  table = np.empty((256, 4), np.uint8)
  for channel in range(3):
    levels = [palette.rgb(stop)[channel] for stop in stops]
    ramp = np.interp(np.arange(256), (0, 150, 255), levels)
    table[:, channel] = np.rint(ramp)
  table[:, 3] = 255
  under = Image.fromarray(table[_distance(image.shape[0])])
  return np.array(Image.alpha_composite(under, Image.fromarray(image)))


@functools.lru_cache(maxsize=4)
def _distance(size: int) -> UInt8[np.ndarray, "size size"]:
  """Distance from the middle of the head, 255 in the lower corners."""
  axis = (np.arange(size, dtype=np.float32) + 0.5) / size
  reach = np.hypot(axis[None] - 0.5, axis[:, None] - 0.46)
  return np.rint(np.minimum(reach / 0.74, 1) * 255).astype(np.uint8)
