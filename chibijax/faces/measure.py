"""From a photo and a face in it to what the person looks like.

`measure` needs no more than a detector's five points: colours are learnt from
the photo itself, and the places of things from how faces are built. Landmarks
and masks, where networks gave them, make it more exact. Colours are reported as
seen: under yellow light skin is yellower; nothing corrects the light, because
the drawing is to look like the photo.

A photo of 512 px takes 20 to 30 ms on one core. The same photo and face always
give the same result.
"""

import numpy as np
from jaxtyping import Bool, Float, UInt8

from chibijax.faces import (
  align,
  measure_features,
  measure_head,
  measure_regions,
  measure_shape,
)
from chibijax.faces.analysis import box_points
from chibijax.faces.face import Face
from chibijax.faces.measure_frame import (
  CROWN_BOX,
  CROWN_SIDE,
  NEAR_BOX,
  NEAR_SIDE,
  WIDE_BOX,
  WIDE_SIDE,
  View,
  hex_of,
  view,
)
from chibijax.faces.person import Person


def measure(
  photo: UInt8[np.ndarray, "h w 3"],
  face: Face,
  *,
  landmarks: Float[np.ndarray, "68 2"] | None = None,
  masks: dict[str, Bool[np.ndarray, "h w"]] | None = None,
) -> Person:
  """Says in words and numbers what a person looks like.

  Args:
    photo: uint8 sRGB.
    face: a face found in it; its status does not matter.
    landmarks: 68 points in pixels of the photo; `face.landmarks` if None.
    masks: "hair" and "skin" of the photo; `face.mask` if None.

  Returns:
    The looks. Words that the photo does not settle are the likelier ones, with
    a confidence near a half.

  Raises:
    ValueError: if there is no face, or a mask has another size than the photo.
  """
  if not face.found:
    raise ValueError("face is the record of a photo without a face")
  landmarks = face.landmarks if landmarks is None else landmarks
  masks = face.mask if masks is None else masks
  for name, mask in (masks or {}).items():
    if mask.shape != photo.shape[:2]:
      raise ValueError(
        f"mask {name!r} must be {photo.shape[:2]}; got {mask.shape}"
      )
  # The rules were made on a detector's points, which are surer than landmarks.
  points = face.points
  if points is None:
    points = box_points(face.box)
    if landmarks is not None:
      points = align.five_points(landmarks)
  near = view(photo, points, NEAR_BOX, NEAR_SIDE)
  wide = view(photo, points, WIDE_BOX, WIDE_SIDE)
  tones = measure_features.skin(near)
  brow = measure_features.brows(near)
  bare = measure_head.is_bare(wide, tones)
  known = _wide_masks(masks, wide)
  regions = measure_regions.find(wide, _samples(near), known, bare=bare)
  crown = view(photo, points, CROWN_BOX, CROWN_SIDE) if bare else None
  head = measure_head.read(wide, regions, tones, brow, crown=crown, masks=known)
  glasses, glasses_sure = measure_features.glasses(near)
  beard, beard_sure, beard_color = measure_features.beard(near, tones)
  shape, corners = {}, ()
  if landmarks is not None:
    shape = measure_shape.proportions(landmarks)
    corners = measure_shape.mouth(landmarks)
  mouth, mouth_sure = measure_features.mouth(near, tones, points, *corners)
  worn = head.headwear != "none"
  has_hair = head.cover is not None and not worn and head.length != "bald"
  return Person(
    skin=hex_of(tones.lit),
    hair=hex_of(head.cover) if has_hair else None,
    brows=hex_of(brow),
    clothes=None if head.clothes is None else hex_of(head.clothes),
    background=hex_of(head.background),
    hair_length=head.length,
    hair_volume=head.volume,
    hair_texture=head.texture,
    fringe=0.0 if worn else head.fringe,
    parting=head.parting,
    glasses=glasses,
    beard=beard,
    beard_color=None if beard == "none" else hex_of(beard_color),
    mouth=mouth,
    headwear=head.headwear,
    headwear_color=hex_of(head.cover) if worn else None,
    gaze=measure_features.gaze(near),
    pose=face.pose,
    **shape,
    confidence={
      "hair_length": head.length_sure,
      "glasses": glasses_sure,
      "beard": beard_sure,
      "mouth": mouth_sure,
      "headwear": head.headwear_sure,
    },
  )


def _samples(near: View) -> Float[np.ndarray, "n 3"]:
  """Skin of the whole face for the model of skin, one pixel of nine."""
  boxes = (*measure_features.CHEEKS, *measure_features.UPPER)
  return np.concatenate(
    [near.lab[near.part(*box)][::3, ::3].reshape(-1, 3) for box in boxes]
  )


def _wide_masks(
  masks: dict[str, Bool[np.ndarray, "h w"]] | None, wide: View
) -> dict[str, Bool[np.ndarray, "s s"]] | None:
  """The masks as the wide view sees them."""
  if not masks:
    return None
  side = len(wide.lab)
  return {
    name: align.warp(np.uint8(mask) * 255, wide.transform, (side, side)) > 127
    for name, mask in masks.items()
  }
