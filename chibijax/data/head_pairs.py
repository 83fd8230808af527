"""What sources of the avatar task share: two frames of one head.

An example is `source` and `target`, uint8 [size, size, 3] sRGB on black;
`source_viewmat` and `target_viewmat`, float32 [4, 4] world to camera with
OpenCV axes; `K`, float32 [3, 3] in pixels of both; `shape` of the source;
`expression`, `pose` (global and jaw) and `eyes` (left and right) of the
target, float32; and `target_box`, float32 [4], x0, y0, x1, y1 of the target's
head in pixels. The world is the head model's frame times 5.
"""

import abc

import numpy as np

from chibijax.data.sources import Fields, Source


class HeadPairSource(Source):
  """Pairs of frames of one head; the layout of an example."""

  # A crop or a mirror image has another camera and other expressions.
  crop_flip = False

  @property
  @abc.abstractmethod
  def coefficients(self) -> tuple[int, int]:
    """Lengths of `shape` and of `expression`."""

  def fields(self, size: int) -> Fields:
    """Two pictures, their cameras and the head's parameters."""
    shape, expression = self.coefficients
    kind = np.float32
    return {
      "source": ((size, size, 3), np.uint8),
      "target": ((size, size, 3), np.uint8),
      "source_viewmat": ((4, 4), kind),
      "target_viewmat": ((4, 4), kind),
      "K": ((3, 3), kind),
      "shape": ((shape,), kind),
      "expression": ((expression,), kind),
      "pose": ((6,), kind),
      "eyes": ((6,), kind),
      "target_box": ((4,), kind),
    }
