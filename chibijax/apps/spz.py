"""Compressed files of Gaussian splats, `.spz`, to and from `.ply` in memory.

24-bit positions, 8 bits for the rest, gzip. GaussForge (Apache-2.0) converts
them, which wraps the format's own library; what that takes on trust is checked
here. Neither form's axes are changed.
"""

import gzip
import io
import struct
import zlib
from typing import Any

from chibijax.errors import UserError

# The largest coordinate: 24 bits, of which 12 are a fraction.
EXTENT = 2047.0
# The magic number, versions packed with gzip, bytes of a Gaussian by degree.
_MAGIC = 0x5053474E
_VERSIONS = (2, 3)
_BYTES = {0: 19, 1: 28, 2: 43, 3: 64}


def from_ply(data: bytes) -> bytes:
  """Compresses a file of splats.

  Args:
    data: a whole `.ply`, positions within `EXTENT`, degree 3 at most.

  Returns:
    The `.spz`.

  Raises:
    UserError: if GaussForge is missing or fails.
  """
  return _convert(data, "ply", "spz", "The scene")


def to_ply(data: bytes, name: str, most: int) -> bytes:
  """Expands a file of splats.

  Args:
    data: what should be a `.spz`.
    name: of the file, for sentences.
    most: Gaussians that are accepted.

  Returns:
    The `.ply`.

  Raises:
    UserError: if it is no whole `.spz` of a known version, holds more, or
      GaussForge is missing.
  """
  _check(data, name, most)
  return _convert(data, "spz", "ply", name)


def _gaussforge() -> Any:
  try:
    import gaussforge
  except ImportError as error:
    raise UserError(
      ".spz files need GaussForge: pip install 'chibijax[app]'."
    ) from error
  return gaussforge.GaussForge()


def _convert(data: bytes, source: str, target: str, name: str) -> bytes:
  result = _gaussforge().convert(data, source, target)
  if "error" in result or not result.get("data"):
    raise UserError(
      f"{name} cannot be converted from {source} to {target}"
      f" ({result.get('error') or 'it is damaged'})."
    )
  return result["data"]


def _check(data: bytes, name: str, most: int) -> None:
  """Refuses what is not a whole .spz of a known version and a fair size."""
  try:
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
      head = file.read(16)
      if len(head) < 16:
        raise EOFError
      magic, version, count, degree, _, _, _ = struct.unpack("<3I4B", head)
      if magic != _MAGIC or version not in _VERSIONS:
        raise UserError(
          f"{name} is not a .spz of version 2 or 3 (version {version} of"
          f" {magic:#x})."
        )
      if count > most or degree not in _BYTES:
        raise UserError(
          f"{name} says that it holds {count:,} Gaussians of degree {degree};"
          f" at most {most:,} of degree 3 are read."
        )
      # Version 3 has four bytes for a rotation, version 2 three.
      row = _BYTES[degree] + (version == 3)
      left = count * row
      while left > 0:
        got = len(file.read(min(left, 1 << 20)))
        if not got:
          raise EOFError
        left -= got
      # At the end, compare the checksum; extensions may follow.
      file.read(1)
  except (EOFError, OSError, zlib.error) as error:
    raise UserError(
      f"{name} is not a .spz file, or it is cut short or damaged."
    ) from error
