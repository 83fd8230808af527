"""How each expression moves lids, brows and mouth; one row per expression."""

import dataclasses

from chibijax.artist.canvas import Number


@dataclasses.dataclass(frozen=True)
class Expression:
  """Settings of one expression; lengths are in head units.

  Attributes:
    eyes: (viewer's left, viewer's right), each "open", "happy" (an upward arc)
      or "closed" (a downward arc).
    opening: scale of the open eye's height.
    lower: how far the lower lid comes up, as a fraction of the eye's height.
    pupil: scale of the iris.
    gaze: shift of the iris (x, y) as a fraction of the eye's half size.
    brow: rise of the brow's (inner, outer) end; negative is down.
    brow_skew: extra rise of the viewer's right brow.
    width: width of the mouth.
    lift: how far the corners are above the mouth's middle line.
    upper, lower: displacement of the lips' middle, down positive; equal values
      close the mouth.
    teeth: "none", "upper" or "full".
    tongue: "none", "in" or "out".
    wave: amplitude of a wavy closed mouth.
    skew: rise of the viewer's right corner over the left one.
    blush: added blush.
    extra: "none", "tear" or "sweat".
  """

  eyes: tuple[str, str] = ("open", "open")
  opening: Number = 1.0
  lower: Number = 0.0
  pupil: Number = 1.0
  gaze: tuple[Number, Number] = (0.0, 0.0)
  brow: tuple[Number, Number] = (0.0, 0.0)
  brow_skew: Number = 0.0
  width: Number = 60.0
  lift: Number = 0.0
  upper: Number = 0.0
  lower_lip: Number = 0.0
  teeth: str = "none"
  tongue: str = "none"
  wave: Number = 0.0
  skew: Number = 0.0
  blush: Number = 0.0
  extra: str = "none"


EXPRESSIONS: dict[str, Expression] = {
  "neutral": Expression(width=54, lift=3, upper=4, lower_lip=4),
  "smile": Expression(
    width=92, lift=14, upper=15, lower_lip=15, lower=0.05, brow=(3, 3)
  ),
  "grin": Expression(
    width=124, lift=20, upper=0, lower_lip=45, teeth="full", lower=0.10
  ),
  "laugh": Expression(
    eyes=("happy", "happy"),
    brow=(8, 10),
    width=128,
    lift=22,
    upper=-6,
    lower_lip=60,
    teeth="upper",
    tongue="in",
    blush=0.2,
  ),
  "surprised": Expression(
    opening=1.14,
    pupil=0.82,
    brow=(30, 26),
    width=52,
    lift=-6,
    upper=-36,
    lower_lip=46,
  ),
  "sad": Expression(
    opening=0.86,
    gaze=(0.0, 0.10),
    brow=(26, -20),
    width=74,
    lift=-16,
    upper=-14,
    lower_lip=-14,
    extra="tear",
  ),
  "angry": Expression(
    opening=0.84,
    lower=0.06,
    pupil=0.92,
    brow=(-36, 22),
    width=82,
    lift=-17,
    upper=-15,
    lower_lip=-15,
  ),
  "wink": Expression(
    eyes=("open", "happy"),
    brow=(6, 6),
    brow_skew=-10,
    width=108,
    lift=18,
    upper=2,
    lower_lip=45,
    teeth="upper",
    tongue="in",
  ),
  "sleepy": Expression(
    eyes=("closed", "closed"),
    brow=(8, -6),
    width=48,
    lift=-6,
    upper=-18,
    lower_lip=26,
  ),
  "smirk": Expression(
    opening=0.80,
    lower=0.04,
    gaze=(0.14, 0.0),
    brow=(-8, 4),
    brow_skew=22,
    width=90,
    lift=4,
    upper=12,
    lower_lip=12,
    skew=26,
  ),
  "kiss": Expression(
    eyes=("closed", "closed"), brow=(10, 4), width=40, blush=0.25
  ),
  "shy": Expression(
    opening=0.86,
    gaze=(-0.22, 0.12),
    brow=(16, -8),
    width=66,
    wave=9,
    blush=0.6,
  ),
  "tongue": Expression(
    eyes=("happy", "open"),
    brow=(4, 6),
    width=96,
    lift=14,
    upper=12,
    lower_lip=12,
    tongue="out",
  ),
  "open": Expression(
    brow=(6, 5),
    width=112,
    lift=17,
    upper=-2,
    lower_lip=52,
    teeth="upper",
    tongue="in",
    lower=0.05,
  ),
  "worried": Expression(
    opening=0.95,
    pupil=0.9,
    brow=(24, -14),
    width=86,
    wave=10,
    extra="sweat",
  ),
}
