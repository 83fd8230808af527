"""Avatars of photos from end to end, and the frames of their films."""

import collections
import dataclasses
import datetime
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from chibijax.apps import avatar3d, avatar3d_chibi, avatar3d_photo, record
from chibijax.apps.avatar3d import Networks, Player
from chibijax.apps.avatar3d_file import Avatar
from chibijax.apps.avatar3d_photo import Finder, Source
from chibijax.data.photo import Photo
from chibijax.errors import NoFaceError
from chibijax.heads.motion import Motion

# Frames that are computed while others are written.
_AHEAD = 3


@dataclasses.dataclass(frozen=True, eq=False)
class Made:
  """An avatar, and what is to be said about its making.

  Attributes:
    avatar: the avatar.
    source: what of the photo it was built of.
    said: sentences.
  """

  avatar: Avatar
  source: Source
  said: list[str]


def from_photo(
  photo: Photo,
  networks: Networks,
  finder: Finder,
  *,
  chibi: float = 0.0,
  stylize: pathlib.Path | None = None,
  consent: bool | None = None,
  created: str | None = None,
) -> Made:
  """Builds an avatar of a photo.

  Args:
    photo: from `avatar3d_photo.read`.
    networks: from `avatar3d.load_networks`.
    finder: from `avatar3d_photo.load_finder`.
    chibi: see `avatar3d_chibi.apply`.
    stylize: the workdir of a translation, whose picture of the head is taken in
      place of the photo.
    consent: what the user states of the right to use the photo.
    created: date, time and offset, ISO 8601; None is now, "" leaves it out.

  Returns:
    The avatar.

  Raises:
    NoFaceError: if the photo shows no face.
    UserError: if the head model does not fit, or the translation cannot be
      used.
  """
  head = networks.model.head
  source = avatar3d_photo.find(
    photo, finder, head, networks.size, published=networks.published
  )
  said = []
  if source.faces > 1:
    said.append(
      f"{photo.name} shows {source.faces} faces; the largest is taken."
    )
  said.append(
    f"The head model {head.name} was fitted to 68 landmarks, "
    f"{source.error:.1f} px of {networks.size} off on average; the gaze is "
    "taken as straight."
  )
  if stylize is not None:
    source, sentence = _stylized(source, photo, stylize, networks, finder)
    said.append(sentence)
  if created is None:
    now = datetime.datetime.now(datetime.UTC)
    created = now.isoformat(timespec="seconds")
  about = record.Record(
    style="model",
    model=f"Gaussian head, {networks.step} steps",
    consent=consent,
    created=created,
  ).to_dict()
  about["chibi"] = chibi
  made = avatar3d.build(networks, source.picture, source.face, about)
  if chibi:
    made = avatar3d_chibi.apply(made, networks.model, chibi)
    said.append(f"The chibi axis was applied to the Gaussians ({chibi:g}).")
  return Made(made, source, said)


def sentence(avatar: Avatar) -> str:
  """What a film or a page of an avatar says of itself."""
  return " ".join(record.sentences(dict(avatar.about)))


def frames(
  player: Player, motion: Motion, *, coarse: bool = False
) -> Iterator[UInt8[np.ndarray, "s s 3"]]:
  """Draws a motion, a few frames ahead of who takes them.

  Args:
    player: the avatar's.
    motion: its expressions, poses, gazes and cameras.
    coarse: whether to show the splatted colours.
  """
  waiting: collections.deque[Any] = collections.deque()
  rows = motion.expression, motion.pose, motion.eyes, motion.viewmats
  for row in zip(*rows, strict=True):
    waiting.append(player.colors(*row) if coarse else player(*row))
    if len(waiting) > _AHEAD:
      yield np.asarray(waiting.popleft())
  while waiting:
    yield np.asarray(waiting.popleft())


def _stylized(
  source: Source,
  photo: Photo,
  run: pathlib.Path,
  networks: Networks,
  finder: Finder,
) -> tuple[Source, str]:
  """Takes a translation's picture in place of the photo's.

  The drawn face has other proportions, so the head model is fitted to it where
  a face is found in it, and else stays where the photo had it.
  """
  from chibijax.apps import stylize

  stylizer = stylize.load(run, batch=1)
  bicubic = Image.Resampling.BICUBIC
  side = stylizer.size, stylizer.size
  asked = np.asarray(Image.fromarray(source.picture).resize(side, bicubic))
  drawn = np.asarray(
    Image.fromarray(stylizer([asked])[0]).resize(
      (networks.size, networks.size), bicubic
    )
  )
  drawn = avatar3d_photo.darkened(drawn, source.picture)
  shown = dataclasses.replace(photo, pixels=drawn, rgba=None)
  head = networks.model.head
  try:
    again = avatar3d_photo.find(
      shown,
      dataclasses.replace(finder, segment=None),
      head,
      networks.size,
      published=networks.published,
    )
  except NoFaceError:
    said = "no face was found in it, so the photo's landmarks count"
    return dataclasses.replace(source, picture=drawn), (
      f"The photo was drawn by {stylizer.source}; {said}."
    )
  return again, (
    f"The photo was drawn by {stylizer.source}, and the head model fitted to "
    "what it drew."
  )
