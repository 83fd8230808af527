"""Random transforms of uint8 pictures on the host.

Pictures are uint8 [height, width, 3] and stay so: a crop and a flip move bytes,
and everything that computes with colours runs on the device (`ops.augment`).
All randomness comes from the generator that Grain hands to each example, which
depends on the pipeline's seed and the example's position only.
"""

import dataclasses

import numpy as np
from jaxtyping import UInt8


@dataclasses.dataclass(frozen=True)
class CropFlip:
  """A random crop and a random horizontal flip.

  Attributes:
    size: side of the crop, in pixels; a picture of that size is kept whole.
    flip: whether half of the examples are mirrored.
  """

  size: int
  flip: bool = True

  def __call__(
    self,
    images: tuple[UInt8[np.ndarray, "height width 3"], ...],
    rng: np.random.Generator,
  ) -> tuple[UInt8[np.ndarray, "size size 3"], ...]:
    """Applies one draw to every picture of an example.

    Args:
      images: pictures of one shape, at least `size` on each side.
      rng: the example's generator.

    Returns:
      The same window of each picture, contiguous, mirrored together or not.

    Raises:
      ValueError: if a picture is smaller than the crop or the shapes differ.
    """
    height, width, _ = images[0].shape
    if min(height, width) < self.size:
      raise ValueError(
        f"a crop of {self.size} px does not fit {height} x {width} px."
      )
    if any(image.shape != images[0].shape for image in images):
      raise ValueError(
        f"pictures of one example have shapes {[x.shape for x in images]}."
      )
    # Always three draws, so that one option never changes another's numbers.
    top = int(rng.integers(height - self.size + 1))
    left = int(rng.integers(width - self.size + 1))
    mirrored = bool(rng.integers(2)) and self.flip
    window = slice(top, top + self.size), slice(left, left + self.size)
    step = -1 if mirrored else 1
    return tuple(
      np.ascontiguousarray(image[window][:, ::step]) for image in images
    )
