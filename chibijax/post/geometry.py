"""Super-deformation: the proportions of a face led towards a chibi's.

`chibify(photo, landmarks)` enlarges eyes and head, shortens the lower face,
makes nose and mouth small and neck and shoulders narrow, by a flow that cannot
fold (`ops.warp`), steered by the landmarks (`post.anatomy`). `strength` is the
flow's time: half the strength is half the way, and a picture deformed by a and
then by b is about the picture deformed by a + b.

The frame of the picture maps to itself. A head that touches it grows less, and
the report says so; leave about half a face of room around it.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float32, UInt8

from chibijax.ops import warp
from chibijax.post import anatomy
from chibijax.post.proportions import TARGETS, Report, measure

Picture: TypeAlias = UInt8[np.ndarray, "h w c"] | Float32[np.ndarray, "h w c"]
Number: TypeAlias = float | int

_STEPS = 10
# Part of the shorter side along which motion across the border fades in.
_MARGIN = 0.12
# Smallest face worth deforming, pixels from ear to ear.
MIN_FACE = 8.0


@dataclasses.dataclass(frozen=True)
class ChibiKnobs:
  """How strong each part of the deformation is.

  `strength` is in [0, 1], all others are in [0, 1.5] and multiply their part;
  0 leaves a part as it is.

  Attributes:
    strength: of everything; 0 changes no pixel.
    eyes: size of the eyes.
    brows: raising of the brows, to make room for the eyes.
    lower: shortening of the lower face.
    nose, mouth: reduction.
    cheeks: widening of the cheeks and the jaw.
    head: size of the head.
    body: narrowing of neck and shoulders.
  """

  strength: Number = 0.8
  eyes: Number = 1.0
  brows: Number = 1.0
  lower: Number = 1.0
  nose: Number = 1.0
  mouth: Number = 1.0
  cheeks: Number = 1.0
  head: Number = 1.0
  body: Number = 1.0

  def __post_init__(self) -> None:
    for field in dataclasses.fields(self):
      value, limit = getattr(self, field.name), 1.5
      if field.name == "strength":
        limit = 1
      if not 0 <= value <= limit:
        raise ValueError(f"{field.name} must be in [0, {limit}]; got {value!r}")

  def values(self) -> Float32[np.ndarray, " knobs"]:
    """The knobs as an array, in the order of the fields."""
    return np.array(dataclasses.astuple(self), np.float32)


class Deformed(NamedTuple):
  """What the compiled part returns.

  Attributes:
    image: deformed picture in [0, 1].
    landmarks: where the 68 points went.
    coords: where each pixel came from.
    smallest_area: see `Report`.
    before, after: the landmarks in the frame of the face as it was, where its
      width is about 1 (see `anatomy.FaceFrame`).
    corners: crown and temples of the skull in pixels, estimated.
  """

  image: Float[Array, "h w c"]
  landmarks: Float[Array, "68 2"]
  coords: Float[Array, "h w 2"]
  smallest_area: Float[Array, ""]
  before: Float[Array, "68 2"]
  after: Float[Array, "68 2"]
  corners: Float[Array, "3 2"]


def chibify(
  image: Picture,
  landmarks: Float[np.ndarray, "68 2"],
  mask: Bool[np.ndarray, "rows columns"] | None = None,
  knobs: ChibiKnobs | None = None,
  *,
  style: str = "photo",
) -> tuple[Picture, Float32[np.ndarray, "68 2"], Report]:
  """Deforms one face to chibi proportions.

  Args:
    image: uint8 sRGB or float32 in [0, 1]; three channels, or four with
      straight alpha.
    landmarks: 68 points in pixels of the image (iBUG order). The face may be
      tilted, but not be upside down.
    mask: True on the whole person (head, hair, body). With it, the background
      is kept as it was, except for what the person covers or uncovers.
    knobs: what to do how strongly.
    style: whose target ranges the report compares with, a key of `TARGETS`.

  Returns:
    The picture, of the type and size given; its landmarks; the ratios before
    and after.

  Raises:
    ValueError: if shapes or values are not as described, or if the face is
      narrower than 8 pixels.
  """
  return _chibify(image, landmarks, mask, knobs, style)[:3]


def chibify_layers(
  image: Picture,
  landmarks: Float[np.ndarray, "68 2"],
  layers: Mapping[str, Bool[np.ndarray, "rows columns"]],
  knobs: ChibiKnobs | None = None,
  *,
  style: str = "photo",
) -> tuple[
  Picture,
  Float32[np.ndarray, "68 2"],
  dict[str, Bool[np.ndarray, "rows columns"]],
  Report,
]:
  """Deforms one face, and masks of the picture along with it.

  Args:
    image: as for `chibify`.
    landmarks: as for `chibify`.
    layers: masks of the picture by name, such as "hair".
    knobs: what to do how strongly.
    style: as for `chibify`.

  Returns:
    The picture, its landmarks, its masks, and the ratios.

  Raises:
    ValueError: as `chibify`.
  """
  found, moved, report, coords = _chibify(image, landmarks, None, knobs, style)
  if coords is None:
    return found, moved, {k: mask.copy() for k, mask in layers.items()}, report
  limit = np.array(image.shape[1::-1]) - 1
  x, y = np.moveaxis(np.clip(np.floor(coords).astype(int), 0, limit), -1, 0)
  return found, moved, {k: mask[y, x] for k, mask in layers.items()}, report


def chibify_batch(
  images: UInt8[np.ndarray, "b h w c"] | Float32[np.ndarray, "b h w c"],
  landmarks: Float[np.ndarray, "b 68 2"],
  knobs: ChibiKnobs | None = None,
  *,
  style: str = "photo",
) -> tuple[np.ndarray, Float32[np.ndarray, "b 68 2"], list[Report]]:
  """Deforms one face in each of several pictures of one size.

  Args:
    images: as for `chibify`, stacked.
    landmarks: 68 points for each picture.
    knobs: the same for all.
    style: as for `chibify`.

  Returns:
    Pictures, landmarks and reports, as of `chibify` one by one.

  Raises:
    ValueError: as `chibify`, or if there are not as many faces as pictures.
  """
  knobs = knobs or ChibiKnobs()
  landmarks = np.asarray(landmarks, np.float32)
  if len(images) != len(landmarks):
    raise ValueError(
      f"got {len(images)} pictures, but landmarks of {len(landmarks)} faces."
    )
  before = [_check(*pair, None, style) for pair in zip(images, landmarks)]
  found = _deform_batch(_to_unit(images), landmarks, knobs.values())
  moved = np.asarray(found.landmarks)
  reports = [
    _report(ratios, Deformed(*(field[k] for field in found)), style)
    for k, ratios in enumerate(before)
  ]
  return _like(np.asarray(found.image), images), moved, reports


def deform(
  image: Float[Array, "h w c"],
  landmarks: Float[Array, "68 2"],
  person: Float[Array, "h w"] | None,
  knobs: Float[Array, " knobs"],
) -> Deformed:
  """The deformation as a pure function, differentiable in all its arguments.

  Args:
    image: [0, 1]; four channels are RGB with straight alpha.
    landmarks: 68 points in pixels.
    person: 1 on the person, or None; see `chibify`.
    knobs: `ChibiKnobs.values()`.

  Returns:
    Picture, landmarks and map.
  """
  height, width, channels = image.shape
  strength, rates = knobs[0], _rates(knobs)
  frame = warp.Frame(width, height, _MARGIN * min(height, width))
  growth = anatomy.eye_growth(landmarks)
  moved, schedule = warp.ride(
    landmarks,
    lambda points: anatomy.regions(points, rates, landmarks, growth),
    frame,
    time=strength,
    steps=_STEPS,
  )
  coords = warp.backward_map(height, width, schedule, frame, time=strength)
  look = warp.sample_rgba if channels == 4 else warp.sample
  found = look(image, coords)
  if person is not None:
    found = _keep_background(image, found, person, coords)
  face = anatomy.FaceFrame.of(landmarks)
  return Deformed(
    image=found,
    landmarks=moved,
    coords=coords,
    smallest_area=warp.cell_areas(coords).min(),
    before=face.local(landmarks),
    after=face.local(moved),
    corners=anatomy.skull(landmarks),
  )


_deform = jax.jit(deform)
_deform_batch = jax.jit(
  jax.vmap(
    lambda image, landmarks, knobs: deform(image, landmarks, None, knobs),
    in_axes=(0, 0, None),
  )
)


def _chibify(
  image: Picture,
  landmarks: Float[np.ndarray, "68 2"],
  mask: Bool[np.ndarray, "rows columns"] | None,
  knobs: ChibiKnobs | None,
  style: str,
) -> tuple[Picture, np.ndarray, Report, np.ndarray | None]:
  """What `chibify` returns, and where each pixel came from, if it moved."""
  knobs = knobs or ChibiKnobs()
  landmarks = np.asarray(landmarks, np.float32)
  before = _check(image, landmarks, mask, style)
  if knobs.strength == 0:
    # Not even the hidden colour of transparent pixels changes.
    same = Report(
      style, before, before, TARGETS[style], 1.0, 0.0, 1.0, frame_limited=False
    )
    return image.copy(), landmarks.copy(), same, None
  unit = _to_unit(image)
  person = None if mask is None else jnp.asarray(mask, jnp.float32)
  found = _deform(unit, landmarks, person, knobs.values())
  moved = np.asarray(found.landmarks)
  report = _report(before, found, style)
  picture = _like(np.asarray(found.image), image)
  return picture, moved, report, np.asarray(found.coords)


def _rates(knobs: Float[Array, " knobs"]) -> anatomy.Rates:
  """The deformation at strength 1; found by looking at faces (see tests)."""
  names = [field.name for field in dataclasses.fields(ChibiKnobs)]
  k = dict(zip(names, knobs))
  return anatomy.Rates(
    head=0.34 * k["head"],
    drop=0.10 * k["head"],
    lower=0.40 * k["lower"],
    cheeks=0.16 * k["cheeks"],
    chin=0.10 * k["cheeks"],
    eyes=k["eyes"],
    tall=0.18 * k["eyes"],
    apart=0.02 * k["eyes"],
    brows=0.025 * k["brows"],
    nose=-0.22 * k["nose"],
    nose_up=0.02 * k["nose"],
    mouth=-0.18 * k["mouth"],
    mouth_down=0.02 * k["mouth"],
    neck=0.35 * k["body"],
    body=0.35 * k["body"],
  )


def _keep_background(
  image: Float[Array, "h w c"],
  warped: Float[Array, "h w c"],
  person: Float[Array, "h w"],
  coords: Float[Array, "h w 2"],
) -> Float[Array, "h w c"]:
  """Takes the picture's own background wherever no person is or was."""
  moved = warp.sample(person[..., None], coords, antialias=False)[..., 0]
  either = jnp.maximum(person, moved)
  reach = max(1, round(min(image.shape[:2]) / 100))
  # Grown, then softened: the seam lies in the background.
  grown = _box(either, reach, jax.lax.max, -jnp.inf)
  soft = _box(grown, reach, jax.lax.add, 0.0) / (2 * reach + 1) ** 2
  share = jnp.clip(soft, 0, 1)[..., None]
  return image * (1 - share) + warped * share


def _box(
  plane: Float[Array, "h w"],
  reach: int,
  combine: Callable,
  start: float,
) -> Float[Array, "h w"]:
  """Reduces each square of (2 reach + 1)^2 pixels, one axis at a time."""
  side = 2 * reach + 1
  plane = jnp.pad(plane, reach, mode="edge")
  for shape in ((side, 1), (1, side)):
    plane = jax.lax.reduce_window(plane, start, combine, shape, (1, 1), "valid")
  return plane


def _check(
  image: Picture,
  landmarks: Float[np.ndarray, "68 2"],
  mask: Bool[np.ndarray, "rows columns"] | None,
  style: str,
) -> dict[str, float]:
  """Validates arguments and returns the ratios."""
  if image.shape[-1] not in (3, 4):
    raise ValueError(f"image must have 3 or 4 channels; got {image.shape}")
  if mask is not None and mask.shape != image.shape[:2]:
    raise ValueError(
      f"mask must be {image.shape[:2]} like the image; got {mask.shape}"
    )
  if style not in TARGETS:
    raise ValueError(
      f"style must be one of {', '.join(TARGETS)}; got {style!r}"
    )
  ratios = measure(landmarks)
  width = float(np.ptp(landmarks[anatomy.JAW], axis=0).max())
  if width < MIN_FACE:
    raise ValueError(
      f"the face must be at least {MIN_FACE:.0f} pixels wide; got {width:.1f}"
    )
  return ratios


def _report(before: dict[str, float], found: Deformed, style: str) -> Report:
  first, last = np.asarray(found.before), np.asarray(found.after)
  widths = [float(np.ptp(points[anatomy.JAW, 0])) for points in (first, last)]
  height, width = found.coords.shape[:2]
  x, y = np.asarray(found.corners).T
  room = min(v.min() for v in (x, y, width - x, height - y))
  return Report(
    style=style,
    before=before,
    after=measure(np.asarray(found.landmarks)),
    target=TARGETS[style],
    head_scale=widths[1] / widths[0],
    chin_drop=float(last[anatomy.CHIN, 1] - first[anatomy.CHIN, 1]),
    smallest_area=float(found.smallest_area),
    frame_limited=bool(room < 0.5 * _MARGIN * min(height, width)),
  )


def _to_unit(image: np.ndarray) -> Float[Array, "..."]:
  if image.dtype == np.uint8:
    return jnp.asarray(image, jnp.float32) / 255
  return jnp.asarray(image, jnp.float32)


def _like(unit: np.ndarray, image: np.ndarray) -> np.ndarray:
  """[0, 1] to the type of `image`."""
  if image.dtype == np.uint8:
    return np.rint(np.clip(unit, 0, 1) * 255).astype(np.uint8)
  return unit.astype(np.float32)
