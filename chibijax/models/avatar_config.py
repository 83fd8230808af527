"""Sizes of the avatar's networks, as one hashable value."""

import dataclasses
from typing import Any

from chibijax.errors import UserError
from chibijax.models import vit


@dataclasses.dataclass(frozen=True)
class AvatarConfig:
  """Sizes of all networks; `dataclasses.replace` changes them.

  Attributes:
    size: side of pictures in and out, in pixels.
    encoder: "pyramid", or "small", "base" or "large" for DINOv2, frozen, with
      a DPT head.
    encoder_size: side to which the photo is resized for the encoder.
    registers: of DINOv2, 0 or 4.
    widths: channels of the levels of the DPT head or the pyramid.
    features: channels of the plane.
    code: length of the pyramid's code of the picture.
    lifting: hidden channels of the lifting branch.
    base: learnt features per vertex, and hidden width of the expression branch.
    heads: hidden width of that branch's four heads.
    channels: of a Gaussian's colour, RGB included.
    largest: the largest scale, in world units.
    capacity: channels of the renderer, as for `StyleUnet`; so are the next.
    most: see there.
    ratio: see there.
    style: see there.
    mapping: see there.
    fold: see there.
    residual: see there.
    legacy: behave as the released code does.
    encoder_dtype: "float32" or "bfloat16"; compute dtype of the encoder.
    branch_dtype: of the two branches.
    renderer_dtype: of the renderer.
  """

  size: int = 512
  encoder: str = "base"
  encoder_size: int = 518
  registers: int = 0
  widths: tuple[int, ...] = (256, 512, 1024, 1024)
  features: int = 256
  code: int = 768
  lifting: int = 128
  base: int = 256
  heads: int = 128
  channels: int = 32
  largest: float = 0.05
  capacity: int = 8192
  most: int = 256
  ratio: int = 2
  style: int = 512
  mapping: int = 8
  fold: int = 1
  residual: bool = False
  legacy: bool = False
  encoder_dtype: str = "float32"
  branch_dtype: str = "float32"
  renderer_dtype: str = "float32"

  def __post_init__(self) -> None:
    """Refuses what no network can be made of.

    Raises:
      UserError: for an unknown encoder or dtype, or a wrong side.
    """
    if self.encoder not in ("pyramid", *vit.SIZES):
      raise UserError(
        f"The avatar's encoder is {self.encoder!r}, expected 'pyramid', "
        "'small', 'base' or 'large'."
      )
    # A DPT head wants an even grid's worth of pixels, a pyramid powers of 2.
    side = self.encoder_size
    if self.encoder == "pyramid":
      fits = side >= 16 and side & (side - 1) == 0
    else:
      fits = side >= 28 and side % 14 == 0
    if not fits:
      raise UserError(
        f"encoder_size is {side}, expected a power of 2 from 16 on for the "
        "pyramid, else a multiple of 14 from 28 on."
      )
    folded = self.size // self.fold
    if folded < 8 or folded & (folded - 1) or folded * self.fold != self.size:
      raise UserError(
        f"The avatar's size is {self.size}, expected a power of 2 of at least "
        f"{8 * self.fold}."
      )
    for dtype in (self.encoder_dtype, self.branch_dtype, self.renderer_dtype):
      if dtype not in ("float32", "bfloat16"):
        raise UserError(
          f"A compute dtype is {dtype!r}, expected 'float32' or 'bfloat16'."
        )

  @property
  def plane(self) -> int:
    """Side of the plane, in Gaussians."""
    if self.encoder == "pyramid":
      return self.encoder_size // 2
    return self.encoder_size // 14 * 8

  @property
  def global_width(self) -> int:
    """Length of the encoder's code of the whole picture."""
    return (
      self.code if self.encoder == "pyramid" else vit.SIZES[self.encoder][0]
    )

  @classmethod
  def paper(cls, **changes: Any) -> "AvatarConfig":
    """The published networks: 512 px, 82.34 M trained parameters."""
    return cls(**changes)

  @classmethod
  def middle(cls, **changes: Any) -> "AvatarConfig":
    """256 px, an encoder trained from scratch, plane 128: for one GPU."""
    sizes = dict(
      size=256,
      encoder="pyramid",
      encoder_size=256,
      widths=(64, 128, 256, 384, 512),
      features=128,
      code=512,
      lifting=96,
      capacity=4096,
      most=128,
      residual=True,
    )
    return cls(**(sizes | changes))

  @classmethod
  def small(cls, **changes: Any) -> "AvatarConfig":
    """128 px, plane 64: trains on a CPU."""
    sizes = dict(
      size=128,
      encoder="pyramid",
      encoder_size=128,
      widths=(32, 64, 128, 256),
      features=64,
      code=256,
      lifting=48,
      base=128,
      heads=64,
      capacity=1024,
      most=64,
      ratio=1,
      style=128,
      mapping=2,
      fold=2,
      residual=True,
    )
    return cls(**(sizes | changes))
