"""From a face in a photo to a chibi picture: drawn, a toon, or by a network.

A style is a callable that takes jobs, a photo and one of its faces each, and
returns one look each. Looks are squares of the side asked for.

  drawn   the artist draws what was measured in the photo
  toon    the photo itself, deformed to chibi proportions
  model   a network of ours (`--workdir`), then deformed as far as wanted
"""

import dataclasses
from collections.abc import Mapping, Sequence
from concurrent import futures
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8
from PIL import Image

from chibijax.apps import drawn
from chibijax.apps.stylize import Stylizer
from chibijax.apps.timing import Clock
from chibijax.artist import Drawing, palette
from chibijax.faces import align, landmarks
from chibijax.faces.face import Face
from chibijax.faces.measure import measure
from chibijax.faces.person import Person
from chibijax.post import full_body, geometry, recipe
from chibijax.post.color import delta_e2000, srgb_to_lab

STYLES = ("drawn", "toon", "model")
# The frame of a toon, beyond the canonical one: room for hair and shoulders,
# and for the head to grow.
MARGIN = 0.12
# Least share of a picture whose colour is reported, in pixels.
_LEAST = 40
# Side of the copy of a drawing on which its colours are measured.
_SMALL = 96


@dataclasses.dataclass(frozen=True)
class Job:
  """One face to turn.

  Attributes:
    photo: uint8 sRGB, the whole photo.
    face: one of its faces.
  """

  photo: UInt8[np.ndarray, "h w 3"]
  face: Face


@dataclasses.dataclass(frozen=True)
class Look:
  """One face's picture before the finish.

  Attributes:
    image: uint8 sRGB, or RGBA with straight alpha.
    landmarks: 68 points in its pixels.
    masks: "hair", "skin" and, where known, "background" of the picture.
    transform: from the photo to the picture, or None when the picture does not
      show the photo's own pixels.
    person: what was measured, of a drawn one.
    colors: sRGB hex of the photo's "skin" and "hair", where they were seen.
    ratios: proportions, see `post.proportions.Report`; None of a drawn one.
    times: seconds by stage.
    drawn_colors: as `colors`, of the picture before its finish, where the masks
      are not at hand.
  """

  image: UInt8[np.ndarray, "size size c"]
  landmarks: Float32[np.ndarray, "68 2"]
  masks: dict[str, Bool[np.ndarray, "size size"]]
  transform: Float32[np.ndarray, "2 3"] | None
  person: Person | None
  colors: dict[str, str]
  ratios: dict[str, Any] | None
  times: dict[str, float]
  drawn_colors: dict[str, str] | None = None


@runtime_checkable
class Style(Protocol):
  """Turns faces into looks, as many as there are jobs."""

  def __call__(self, jobs: list[Job]) -> list[Look]:
    """Turns every job's face, in order."""


@dataclasses.dataclass(frozen=True)
class Drawn:
  """The artist draws a chibi of what was measured in the photo.

  Attributes:
    size: side of the pictures.
    body: whole figures.
    background: as for `chibijax.apps.drawn.draw`.
    overrides: attributes of the artist set by hand.
    seed: decides between equals.
    pool: where jobs run.
    masks: whether something needs the masks at the full size.
  """

  size: int
  body: bool
  background: str
  overrides: Mapping[str, str | float]
  seed: int
  pool: futures.Executor
  masks: bool = True

  def __call__(self, jobs: list[Job]) -> list[Look]:
    """Draws every job's face."""
    return list(self.pool.map(self._draw, jobs))

  def _draw(self, job: Job) -> Look:
    clock = Clock()
    # Its own model of the photo's colours finds hair better than the masks,
    # which were learnt from drawings (benchmarks/attributes.py).
    person = measure(job.photo, job.face, masks={})
    clock.lap("measure")
    drawing = self._picture(person, self.size, masks=self.masks)
    small = drawing
    if not self.masks:
      # Its colours are measured on a small copy: masks take a third of the
      # time.
      small = self._picture(person, min(self.size, _SMALL), masks=True)
    clock.lap("draw")
    masks = {}
    if self.masks:
      masks = {name: drawing.masks[name] for name in ("hair", "skin")}
    if self.background == "none":
      masks["background"] = drawing.image[..., 3] < 128
    colors = {"skin": person.skin}
    if person.hair is not None:
      colors["hair"] = person.hair
    return Look(
      image=drawing.image,
      landmarks=drawing.landmarks,
      masks=masks,
      transform=None,
      person=person,
      colors=colors,
      ratios=None,
      times=clock.times,
      drawn_colors=typical_colors(small.image, small.masks),
    )

  def _picture(self, person: Person, size: int, *, masks: bool) -> Drawing:
    return drawn.draw(
      person,
      size,
      body=self.body,
      background=self.background,
      overrides=self.overrides,
      seed=self.seed,
      masks=masks,
    )


@dataclasses.dataclass(frozen=True)
class Toon:
  """The photo, deformed to chibi proportions.

  Attributes:
    size: side of the pictures.
    body: put the head on a body of the artist's.
    knobs: of the deformation.
    pool: where jobs run.
    translate: turns the aligned pictures before they are deformed, if given.
    margin: of the canonical frame.
  """

  size: int
  body: bool
  knobs: geometry.ChibiKnobs
  pool: futures.Executor
  translate: Stylizer | None = None
  margin: float = MARGIN

  def __call__(self, jobs: list[Job]) -> list[Look]:
    """Turns every job's face; networks run on whole batches."""
    crops = list(self.pool.map(self._crop, jobs))
    if self.translate is not None:
      crops = self._translate(crops)
    turn = self._figure if self.body else self._deform
    return list(self.pool.map(turn, crops))

  def _crop(self, job: Job) -> Look:
    clock = Clock()
    points = landmarks_of(job.face)
    transform = align.find_transform(points, self.size, self.margin)
    shape = (self.size, self.size)
    image = align.warp(job.photo, transform, shape, border="reflect")
    seen = _inside(transform, shape, job.photo.shape[:2])
    masks = {
      name: (align.warp(np.uint8(mask) * 255, transform, shape) > 127) & seen
      for name, mask in (job.face.mask or {}).items()
    }
    if "background" in masks:
      # What the photo does not show is nobody's.
      masks["background"] |= ~seen
    clock.lap("align")
    return Look(
      image=image,
      landmarks=align.move(transform, points),
      masks=masks,
      transform=transform,
      person=None,
      colors=typical_colors(image, masks),
      ratios=None,
      times=clock.times,
    )

  def _translate(self, crops: list[Look]) -> list[Look]:
    clock = Clock()
    found = translate_all(self.translate, [crop.image for crop in crops])
    share = clock.lap("translate") / max(len(crops), 1)
    return [
      dataclasses.replace(
        crop, image=image, times=crop.times | {"translate": share}
      )
      for crop, image in zip(crops, found, strict=True)
    ]

  def _deform(self, crop: Look) -> Look:
    clock = Clock()
    # Without a mask the background is led along, which looks smoother than a
    # background that stands still behind an approximate outline.
    image, moved, masks, report = geometry.chibify_layers(
      crop.image, crop.landmarks, crop.masks, self.knobs
    )
    clock.lap("deform")
    return dataclasses.replace(
      crop,
      image=image,
      landmarks=moved,
      masks=masks,
      ratios=report.to_dict(),
      times=crop.times | clock.times,
    )

  def _figure(self, crop: Look) -> Look:
    clock = Clock()
    # Without hair, a mask of skin alone would cut the head at the brows.
    masks = {
      name: mask for name, mask in crop.masks.items() if name != "background"
    }
    figure = full_body.draw_figure(
      crop.image, crop.landmarks, masks or None, self.knobs, size=self.size
    )
    clock.lap("deform")
    return dataclasses.replace(
      crop,
      image=figure.image,
      landmarks=figure.landmarks.astype(np.float32),
      masks={"background": figure.image[..., 3] < 128},
      transform=None,
      ratios=figure.report.to_dict() | {"heads": figure.heads},
      times=crop.times | clock.times,
    )


def _inside(
  transform: Float32[np.ndarray, "2 3"],
  shape: tuple[int, int],
  photo: tuple[int, int],
) -> Bool[np.ndarray, "h w"]:
  """Which pixels of a frame lie in the photo."""
  y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
  places = align.move(align.invert(transform), np.stack([x, y], -1))
  return ((places >= 0) & (places <= np.array(photo[::-1]))).all(-1)


def translate_all(
  stylizer: Stylizer, pictures: list[UInt8[np.ndarray, "size size 3"]]
) -> list[UInt8[np.ndarray, "size size 3"]]:
  """Runs a network on any number of squares of any one size.

  Args:
    stylizer: from `chibijax.apps.stylize.load`.
    pictures: uint8 sRGB.

  Returns:
    As many pictures of the same size.
  """
  results = []
  for start in range(0, len(pictures), stylizer.batch):
    chunk = pictures[start : start + stylizer.batch]
    small = [resize(picture, stylizer.size) for picture in chunk]
    results += stylizer(small)
  return [
    resize(result, len(picture))
    for result, picture in zip(results, pictures, strict=True)
  ]


def resize(
  picture: UInt8[np.ndarray, "size size c"], side: int
) -> UInt8[np.ndarray, "side side c"]:
  """Resamples a square picture to another side, antialiased."""
  if len(picture) == side:
    return picture
  image = Image.fromarray(picture)
  return np.asarray(image.resize((side, side), Image.Resampling.LANCZOS))


def finish(
  image: UInt8[np.ndarray, "h w c"],
  steps: Sequence[recipe.Step],
  points: Float[np.ndarray, "68 2"],
  masks: Mapping[str, Bool[np.ndarray, "h w"]] | None,
  seed: int,
) -> UInt8[np.ndarray, "h w c"]:
  """Applies the steps of a finish to a picture.

  Args:
    image: uint8 sRGB, or RGBA with straight alpha.
    steps: of the finish.
    points: landmarks in pixels.
    masks: parts of the face by name, as far as they are known.
    seed: of what is left to chance.

  Returns:
    The picture.

  Raises:
    ValueError: if a step cannot be done to this picture.
  """
  unit = recipe.apply(
    image.astype(np.float32) / 255,
    steps,
    landmarks=points,
    masks=masks,
    seed=seed,
  )
  return np.rint(np.clip(np.asarray(unit), 0, 1) * 255).astype(np.uint8)


def landmarks_of(face: Face) -> Float32[np.ndarray, "68 2"]:
  """A face's landmarks, or a mean face's where its points are.

  Args:
    face: a face that was found.

  Returns:
    68 points in pixels of the photo.
  """
  if face.landmarks is not None:
    return face.landmarks
  points = face.points
  if points is None:
    points = align.move(face.inverse, align.canonical_points(face.size))
  return landmarks.from_points(points)


def typical_colors(
  image: UInt8[np.ndarray, "h w c"],
  masks: Mapping[str, Bool[np.ndarray, "h w"]],
) -> dict[str, str]:
  """The median colours of skin and hair.

  Args:
    image: uint8 sRGB; a fourth channel is ignored.
    masks: "skin" and "hair", as far as they are known.

  Returns:
    sRGB hex by name, of those that show enough pixels.
  """
  found = {}
  for name in ("skin", "hair"):
    mask = masks.get(name)
    if mask is not None and mask.sum() >= _LEAST:
      middle = np.median(image[mask][:, :3], 0)
      found[name] = palette.hex_color(*middle.tolist())
  return found


def color_distances(
  before: Mapping[str, str], after: Mapping[str, str]
) -> dict[str, float]:
  """CIEDE2000 between two sets of colours, by name.

  Args:
    before: sRGB hex by name.
    after: the same of another picture.

  Returns:
    The distance of every name that both have; 1 is just noticeable.
  """
  return {
    name: round(float(delta_e2000(_lab(before[name]), _lab(after[name]))), 2)
    for name in before
    if name in after
  }


def _lab(color: str) -> np.ndarray:
  return np.asarray(srgb_to_lab(np.array(palette.rgb(color)) / 255.0))
