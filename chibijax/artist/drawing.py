"""What the artist returns for one picture.

Conventions: pixels are addressed with the origin at the top-left corner of the
picture, x to the right, y down; the centre of pixel (row i, column j) is
(x, y) = (j + 0.5, i + 0.5). "Left" and "right" mean the viewer's. Landmarks
follow iBUG-68 (Sagonas et al. 2013): the viewer's left comes first.

Rendering is done by resvg (`resvg-py`), not Skia: `skia-python` cannot even be
imported where libGL and libEGL are missing, as on a bare Debian or a slim
container, while resvg is one 3 MB self-contained wheel.
"""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from chibijax.artist.attributes import Attributes
from chibijax.artist.palette import rgb

# Where each part sits in the 68 points.
JAW = slice(0, 17)
LEFT_BROW = slice(17, 22)
RIGHT_BROW = slice(22, 27)
NOSE_BRIDGE = slice(27, 31)
NOSE_BASE = slice(31, 36)
LEFT_EYE = slice(36, 42)
RIGHT_EYE = slice(42, 48)
OUTER_MOUTH = slice(48, 60)
INNER_MOUTH = slice(60, 68)

MASKS = ("head", "hair", "skin")


@dataclasses.dataclass(frozen=True)
class Drawing:
  """One rendered picture and everything that is known about it.

  A pixel belongs to a mask when its centre does (no antialiasing).

  Attributes:
    image: RGBA, straight (not premultiplied) alpha, uint8 sRGB. Alpha is 255
      everywhere unless the background is "none".
    landmarks: 68 points (x, y) in pixels; they lie on the drawn curves, also
      where hair, glasses or a hat cover them.
    masks: "head": face and skull, without ears, hair, headwear and neck; it is
      amodal (also where hair or a hat covers it), so that its lower boundary
      is the jaw line through landmarks 0..16. "hair": visible scalp hair (not
      brows, lashes or facial hair; not what headwear, glasses or a hand
      covers). "skin": visible skin of face, ears, neck and body, without eyes,
      brows, lips and mouth, glasses (their whole area where the lenses are
      opaque, else the frame) and facial hair (stubble is skin). Portraits also
      have "person": everything but the background. Empty dict when not asked
      for.
    attributes: what was drawn.
  """

  image: UInt8[np.ndarray, "size size 4"]
  landmarks: Float32[np.ndarray, "68 2"]
  masks: dict[str, Bool[np.ndarray, "size size"]]
  attributes: Attributes

  def rgb(
    self, background: str = "#ffffff"
  ) -> UInt8[np.ndarray, "size size 3"]:
    """Composites the picture over a plain colour.

    Args:
      background: sRGB hex; only seen where alpha is below 255.

    Returns:
      uint8 sRGB picture without alpha.
    """
    alpha = self.image[..., 3:].astype(np.float32) / 255
    under = np.asarray(rgb(background), np.float32)
    mixed = self.image[..., :3] * alpha + under * (1 - alpha)
    return (mixed + 0.5).astype(np.uint8)
