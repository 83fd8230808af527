"""How a photo becomes pictures of a data set: aligned faces, or the whole."""

import dataclasses
import pathlib
from typing import Any, Protocol, runtime_checkable

from chibijax.apps import alignment, pictures
from chibijax.data import images
from chibijax.errors import UserError
from chibijax.faces.detection import Detector


@runtime_checkable
class Maker(Protocol):
  """Makes one photo's pictures and lines; called by several threads."""

  @property
  def settings(self) -> dict[str, Any]:
    """What all pictures of a folder agree on, JSON-able."""

  def __call__(
    self, path: pathlib.Path, target: pathlib.Path
  ) -> alignment.Lines:
    """Reads, makes and writes; the manifest's lines."""


@dataclasses.dataclass(frozen=True)
class Aligned:
  """Makes aligned faces.

  Attributes:
    worker: see `chibijax.apps.alignment`.
  """

  worker: alignment.Worker

  @property
  def settings(self) -> dict[str, Any]:
    """See `Maker`."""
    own = {"align": "face", "points": self.worker.points}
    return own | self.worker.options.to_dict()

  def __call__(
    self, path: pathlib.Path, target: pathlib.Path
  ) -> alignment.Lines:
    """See `Maker`."""
    return self.worker(path, target)


@dataclasses.dataclass(frozen=True)
class Fitted:
  """Makes square pictures of whole photos or drawings.

  Attributes:
    reader: of the pictures' size.
  """

  reader: images.Reader

  @property
  def settings(self) -> dict[str, Any]:
    """See `Maker`."""
    reader = self.reader
    own = {"align": "none", "size": reader.size, "fit": reader.fit}
    return own | {"background": list(reader.background)}

  def __call__(
    self, path: pathlib.Path, target: pathlib.Path
  ) -> alignment.Lines:
    """See `Maker`."""
    line = {"status": "ok", "reason": "", "outputs": [str(target)]}
    try:
      pixels = self.reader.read(path)
    except images.ImageError as error:
      fault = {"status": "unreadable", "reason": str(error), "outputs": []}
      return [line | fault]
    pictures.save(target, pixels)
    return [line]


def make(
  align: str = "face",
  options: alignment.Options | None = None,
  *,
  detector: str | Detector = "auto",
  landmarks: bool = True,
  fit: str = "center",
  background: images.Color = images.WHITE,
) -> Maker:
  """Loads what makes pictures.

  Args:
    align: "face", or "none" for whole pictures, such as drawings.
    options: of aligned faces; of whole pictures only the size counts.
    detector: as for `chibijax.apps.alignment.run`.
    landmarks: the same.
    fit: how whole pictures become square, see `chibijax.data.images.Reader`.
    background: sRGB colour under transparency and bars of whole pictures.

  Returns:
    The maker.

  Raises:
    UserError: if a value is unknown or the detector cannot be had.
  """
  options = options or alignment.Options()
  if align == "face":
    return Aligned(alignment.make_worker(options, detector, landmarks))
  if align != "none":
    raise UserError(f"--align is {align!r}, expected face or none.")
  if fit not in images.FITS:
    raise UserError(f"--fit is {fit!r}, expected {', '.join(images.FITS)}.")
  return Fitted(images.Reader(options.size, fit, background))
