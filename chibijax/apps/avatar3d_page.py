"""One HTML file that plays an animated head, without any other file or network.

The page holds RGB Gaussians as bytes: positions on a grid of 2^16 steps an
axis, sizes as logarithms, the motion of the vertices as a few displacements
(the principal ones of the motion's frames) with a share of each for each frame.
It draws them with WebGL2, or slowly without it: `avatar3d_page.js` draws,
`avatar3d_page.html` listens to the user.
"""

import base64
import dataclasses
import html
import json
import pathlib
import re
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from chibijax.apps import avatar3d_chibi, pictures
from chibijax.apps.avatar3d_export import Plain
from chibijax.errors import UserError
from chibijax.heads.motion import FOCAL, Motion
from chibijax.ops.splat import Gaussians

MAX_BYTES = 10_000_000
# Displacements that are kept, and how far the others may move a vertex, world
# units: a tenth of a pixel of 512 at the usual distance.
COMPONENTS = 24
_NEGLIGIBLE = 2e-4
_C0 = 0.28209479177387814
_TEMPLATE = pathlib.Path(__file__).with_name("avatar3d_page.html")
_CODE = _TEMPLATE.with_suffix(".js")


@dataclasses.dataclass(frozen=True, eq=False)
class Film:
  """A motion as displacements of vertices.

  Attributes:
    rest: mean vertices over the frames.
    basis: displacements, as 16-bit integers.
    units: what one of them is worth.
    blend: how much of each displacement, of each frame.
  """

  rest: Float[np.ndarray, "v 3"]
  basis: Shaped[np.ndarray, "k v 3"]
  units: Float[np.ndarray, " k"]
  blend: Float[np.ndarray, "n k"]

  def vertices(self) -> Float[np.ndarray, "n v 3"]:
    """The frames again."""
    basis = self.basis * self.units[:, None, None]
    return self.rest + np.tensordot(self.blend, basis, 1)


def film(
  vertices: Float[np.ndarray, "n v 3"], components: int = COMPONENTS
) -> Film:
  """The principal displacements of a motion.

  Args:
    vertices: of each frame.
    components: the most displacements that are kept.

  Returns:
    The film, whose `vertices` are those given up to what was left out.
  """
  count = len(vertices)
  rest = vertices.mean(0)
  apart = (vertices - rest).reshape(count, -1).astype(np.float64)
  # Of the few frames' products; the vertices are many more.
  values, frames = np.linalg.eigh(apart @ apart.T)
  frames = frames[:, np.argsort(-values)]
  kept = min(components, count)
  for k in range(kept + 1):
    left = apart - frames[:, :k] @ (frames[:, :k].T @ apart)
    if k == kept or np.abs(left).max() < _NEGLIGIBLE:
      break
  blend = frames[:, :k]
  basis = blend.T @ apart
  units = np.maximum(np.abs(basis).max(1, initial=0.0), 1e-12) / 32767
  whole = np.round(basis / units[:, None]).astype(np.int16)
  return Film(rest, whole.reshape(k, *rest.shape), units, blend)


def write(
  path: str | pathlib.Path,
  plain: Plain,
  vertices: Float[np.ndarray, "n v 3"],
  motion: Motion,
  *,
  title: str = "A head",
  said: str = "",
) -> int:
  """Writes the page.

  Args:
    path: its name, NAME.html.
    plain: from `avatar3d_export.distill`.
    vertices: of each frame of the motion, in the world.
    motion: for its cameras.
    title: of the page.
    said: a sentence under the picture, of how it was made.

  Returns:
    The file's bytes.

  Raises:
    UserError: if the page would be larger than `MAX_BYTES`, or cannot be
      written.
  """
  described = describe(plain, vertices, motion)
  # In a script element "<" could end it.
  data = json.dumps(described).replace("<", "\\u003c")
  parts = {
    "TITLE": html.escape(title),
    "SAID": html.escape(said),
    "CODE": _CODE.read_text(encoding="utf-8"),
    "DATA": data,
  }
  page = _TEMPLATE.read_text(encoding="utf-8")
  page = re.sub(f"@({'|'.join(parts)})@", lambda found: parts[found[1]], page)
  encoded = page.encode()
  if len(encoded) > MAX_BYTES:
    raise UserError(
      f"The page would have {len(encoded):,} bytes, more than {MAX_BYTES:,}; "
      "write a .ply of this avatar, or a shorter motion."
    )
  pictures.write(pathlib.Path(path), encoded)
  return len(encoded)


def describe(
  plain: Plain, vertices: Float[np.ndarray, "n v 3"], motion: Motion
) -> dict[str, Any]:
  """What the page's code reads, JSON-able."""
  scene = plain.at(vertices[0])
  made = film(vertices)
  # The vertices' own places come from the film.
  means = np.asarray(plain.at(made.rest).means)
  low, high = means.min(0), means.max(0)
  step = np.maximum(high - low, 1e-9) / 65535
  scales = np.log(np.maximum(np.asarray(scene.scales), 1e-6))
  least, most = float(scales.min()), float(scales.max())
  ratio = max(most - least, 1e-9) / 255
  colors = np.column_stack([rgb(scene), np.asarray(scene.opacities)])
  quats = np.asarray(scene.quats)
  quats = quats / np.abs(quats).max(1, keepdims=True)
  middle, _ = avatar3d_chibi.extent(made.rest)
  return {
    "count": len(means),
    "moving": plain.moving,
    "frames": len(vertices),
    "fps": motion.fps,
    "focal": FOCAL,
    "pivot": middle.tolist(),
    "low": low.tolist(),
    "step": step.tolist(),
    "sizes": [float(np.exp(least)), ratio],
    "means": _text(np.round((means - low) / step).astype("<u2")),
    "scales": _text(np.round((scales - least) / ratio).astype(np.uint8)),
    "quats": _text(np.round(127 * quats).astype(np.int8)),
    "colors": _text(np.round(255 * np.clip(colors, 0, 1)).astype(np.uint8)),
    "units": made.units.tolist(),
    "basis": _text(made.basis.astype("<i2")),
    "blend": _text(made.blend.astype("<f4")),
    "views": _text(motion.viewmats[:, :3].astype("<f4")),
  }


def rgb(scene: Gaussians) -> Float[np.ndarray, "n 3"]:
  """The colours of spherical harmonics, the same from everywhere."""
  return np.clip(0.5 + _C0 * np.asarray(scene.sh)[:, 0], 0, 1)


def _text(array: Shaped[np.ndarray, "..."]) -> str:
  return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
