"""Photos in, avatars out: load once, then turn as many photos as wanted.

    pipeline = Pipeline.from_config({"style": "drawn", "size": 512})
    [result] = pipeline([photo])
    result.image  # uint8 RGB or RGBA, or None: see result.status

A photo never raises here: what was found is told face by face. Photos are
uint8 sRGB [H, W, 3], see `chibijax.data.images`.
"""

import dataclasses
import time
from collections.abc import Mapping
from concurrent import futures
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import UInt8

from chibijax.apps import (
  detectors,
  drawn,
  styles,
  stylize,
  timing,
  whole_photo,
)
from chibijax.apps.settings import Settings
from chibijax.errors import UserError
from chibijax.faces import analysis, landmarks, segment
from chibijax.faces.face import MEANINGS, Face

# Each photo has a size of its own.
Photo: TypeAlias = np.ndarray


@dataclasses.dataclass(frozen=True)
class Avatar:
  """One face's avatar.

  Attributes:
    face: where it came from, in pixels of the photo.
    image: uint8 sRGB, or RGBA with straight alpha.
    look: the picture before the finish, and what was measured.
    delta_e: CIEDE2000 of "skin" and "hair" between photo and avatar, where
      both are seen.
  """

  face: Face
  image: UInt8[np.ndarray, "size size c"]
  look: styles.Look
  delta_e: dict[str, float]


@dataclasses.dataclass(frozen=True)
class AvatarResult:
  """What became of one photo.

  Attributes:
    faces: all faces found, the largest first; one record "none" without.
    avatars: those that were made.
    whole: the photo with the avatars in it, if asked for.
    seams: of each avatar in `whole`, see `post.compositing.seam`.
    times: milliseconds by stage; of stages run for several photos at once, a
      photo's share.
    error: why there is no avatar though there is a face, or "".
  """

  faces: list[Face]
  avatars: list[Avatar]
  whole: UInt8[np.ndarray, "h w 3"] | None
  seams: list[float]
  times: dict[str, float]
  error: str = ""

  @property
  def status(self) -> str:
    """The status of the largest face, see `chibijax.faces.face`."""
    return self.faces[0].status

  @property
  def images(self) -> list[UInt8[np.ndarray, "h w c"]]:
    """The pictures made: the whole photo, or every avatar."""
    if self.whole is not None:
      return [self.whole]
    return [avatar.image for avatar in self.avatars]

  @property
  def image(self) -> UInt8[np.ndarray, "h w c"] | None:
    """The first picture made, or None."""
    return self.images[0] if self.images else None

  def to_dict(self) -> dict[str, Any]:
    """Everything but the pictures, as JSON-able values."""
    return {
      "status": self.status,
      "meaning": MEANINGS[self.status],
      "error": self.error,
      "faces": [face.to_dict() for face in self.faces],
      "avatars": [
        {
          "face": position,
          "size": list(avatar.image.shape[:2]),
          "delta_e": avatar.delta_e,
          "ratios": avatar.look.ratios,
          "person": avatar.look.person and avatar.look.person.to_dict(),
        }
        for position, avatar in enumerate(self.avatars)
      ],
      "seams": self.seams,
      "milliseconds": {k: round(v, 2) for k, v in self.times.items()},
    }


class Pipeline:
  """Turns photos into avatars; networks are loaded and compiled once.

  Attributes:
    settings: what it makes.
    model: what makes the pictures, in words.
  """

  def __init__(self, settings: Settings) -> None:
    """Loads what the settings need.

    Args:
      settings: what to make.

    Raises:
      UserError: if weights or a training are missing, or cannot be used.
    """
    self.settings = settings
    self._detector = detectors.make(
      settings.detector, settings.detector_weights
    )
    self._landmarks = landmarks.load()
    # A drawing is made of colours measured without masks.
    self._segment = None if settings.style == "drawn" else segment.load()
    self._steps = settings.steps()
    self._pool = futures.ThreadPoolExecutor(settings.threads)
    self.model = "the artist of chibijax"
    if settings.style != "drawn":
      self.model = "the geometry and finish of chibijax"
    self._style = self._make_style()

  @classmethod
  def from_config(
    cls, config: Mapping[str, Any] | Settings | None = None
  ) -> "Pipeline":
    """Makes a pipeline of settings, or of a mapping of their values.

    Args:
      config: values by the names of `Settings`; None is its defaults.

    Returns:
      The pipeline.

    Raises:
      UserError: if a setting is not allowed, or something is missing.
    """
    return cls(Settings.from_config(config or {}))

  def __call__(self, photos: list[Photo]) -> list[AvatarResult]:
    """Turns photos.

    Args:
      photos: uint8 sRGB, of any sizes.

    Returns:
      One result for each photo, in order.
    """
    found = list(self._pool.map(self._find, photos))
    if self.settings.style == "photo":
      pairs = zip(photos, found, strict=True)
      return list(self._pool.map(lambda pair: self._decorate(*pair), pairs))
    wanted = None if self._several else 1
    jobs = [
      (index, styles.Job(photos[index], face))
      for index, (faces, _) in enumerate(found)
      for face in faces[:wanted]
      if face.found
    ]
    made = self._turn([job for _, job in jobs])
    by_photo: list[list[Avatar]] = [[] for _ in photos]
    errors = [""] * len(photos)
    for (index, _), one in zip(jobs, made, strict=True):
      if isinstance(one, Avatar):
        by_photo[index].append(one)
      else:
        errors[index] = errors[index] or one
    parts = zip(photos, found, by_photo, errors, strict=True)
    return list(self._pool.map(lambda part: self._join(*part), parts))

  @property
  def _several(self) -> bool:
    return self.settings.people == "all" or self.settings.whole

  def _make_style(self) -> styles.Style | None:
    settings = self.settings
    if settings.style == "photo":
      return None
    if settings.style == "drawn":
      # A background of the recipe, or the photo, shows where nothing is drawn.
      bare = settings.whole or any(s.name == "background" for s in self._steps)
      style = styles.Drawn(
        size=settings.size,
        body=settings.body,
        background="none" if bare else "plain",
        overrides=settings.attributes,
        seed=settings.seed,
        pool=self._pool,
        masks=bool(self._steps),
      )
      drawn.check_overrides(settings.attributes)
      return style
    network = None
    if settings.style == "model":
      network = stylize.load(settings.workdir)
      self.model = network.source
    return styles.Toon(
      size=settings.size,
      body=settings.body,
      knobs=settings.chibi_knobs(),
      pool=self._pool,
      translate=network,
      # Networks are trained on the canonical frame itself.
      margin=0.0 if network else styles.MARGIN,
    )

  def _find(
    self, photo: UInt8[np.ndarray, "h w 3"]
  ) -> tuple[list[Face], dict[str, float]]:
    times: dict[str, float] = {}
    start = time.perf_counter()
    faces = analysis.analyse(
      photo,
      timing.Timed("detect", times, self._detector),
      landmarks=timing.timed("landmarks", times, self._landmarks),
      segment=timing.timed("segment", times, self._segment),
      limit=self.settings.limit if self._several else 1,
    )
    rest = time.perf_counter() - start - sum(times.values())
    return faces, times | {"align": rest}

  def _turn(self, jobs: list[styles.Job]) -> list[Avatar | str]:
    """Avatars, or the sentence that says why there is none."""
    try:
      looks: list[styles.Look | str] = list(self._style(jobs))
    except (ValueError, UserError):
      # One face spoils the batch: the others are turned without it.
      looks = [self._turn_one(job) for job in jobs]
    pairs = zip(jobs, looks, strict=True)
    return list(self._pool.map(lambda pair: self._finish(*pair), pairs))

  def _turn_one(self, job: styles.Job) -> styles.Look | str:
    try:
      return self._style([job])[0]
    except (ValueError, UserError) as error:
      return str(error)

  def _finish(self, job: styles.Job, look: styles.Look | str) -> Avatar | str:
    if isinstance(look, str):
      return look
    clock = timing.Clock()
    image = look.image
    if self._steps:
      try:
        image = styles.finish(
          image, self._steps, look.landmarks, look.masks, self.settings.seed
        )
      except ValueError as error:
        return str(error)
    clock.lap("finish")
    after = look.drawn_colors if not self._steps else None
    if after is None:
      after = styles.typical_colors(image, look.masks)
    look = dataclasses.replace(look, times=look.times | clock.times)
    return Avatar(
      face=job.face,
      image=image,
      look=look,
      delta_e=styles.color_distances(look.colors, after),
    )

  def _decorate(
    self,
    photo: UInt8[np.ndarray, "h w 3"],
    found: tuple[list[Face], dict[str, float]],
  ) -> AvatarResult:
    """The photo itself, finished around each of its faces."""
    faces, times = found
    whole, error = None, ""
    clock = timing.Clock()
    if faces[0].found:
      try:
        whole = whole_photo.decorate(
          photo, faces, self._steps, self.settings.seed
        )
      except ValueError as problem:
        error = str(problem)
    clock.lap("finish")
    times = {k: 1000 * v for k, v in (times | clock.times).items()}
    return AvatarResult(faces, [], whole, [], times, error)

  def _join(
    self,
    photo: UInt8[np.ndarray, "h w 3"],
    found: tuple[list[Face], dict[str, float]],
    avatars: list[Avatar],
    error: str,
  ) -> AvatarResult:
    faces, times = found
    clock = timing.Clock()
    for avatar in avatars:
      for stage, seconds in avatar.look.times.items():
        times[stage] = times.get(stage, 0.0) + seconds
    whole, seams = None, []
    if self.settings.whole and avatars:
      parts = [(one.face, one.look, one.image) for one in avatars]
      whole, seams = whole_photo.paste(photo, parts)
      times["paste"] = clock.lap("paste")
    return AvatarResult(
      faces=faces,
      avatars=avatars,
      whole=whole,
      seams=seams,
      times={stage: 1000 * seconds for stage, seconds in times.items()},
      error=error,
    )
