"""BlazeFace as a detector, when its weights are given.

The file is a PyTorch state dict (`blazeface.pth`, for front cameras, or
`blazefaceback.pth`, for smaller faces: Apache-2.0); it is read as data, without
PyTorch. The photo is searched in a square of the network's size, so that the
time does not grow with the photo.
"""

import functools
import os
import re
from collections.abc import Mapping

import jax
import numpy as np
from jaxtyping import Float, Shaped, UInt8
from PIL import Image

from chibijax.core import weight_files
from chibijax.errors import UserError
from chibijax.faces.detection import Detection, iou
from chibijax.models import blazeface

VARIABLE = "CHIBIJAX_BLAZEFACE"
# The network's logit at which our score is 1/2, and the scale of the logistic
# curve between faces and errors on the photos of benchmarks/faces.py: front,
# faces from 3.2 on (but for one) and errors to 1.8; back, 1.3 and 0.9.
SCORE = {"front": (2.5, 0.45), "back": (1.0, 0.12)}
# Proposals that overlap the surest one by more are the same face, and their
# numbers are averaged.
OVERLAP = 0.3
# From the middle of the mouth to its corners, in distances between the eyes: as
# in `status.HEAD`.
MOUTH = 0.47


class BlazeFaceDetector:
  """Finds faces with BlazeFace; gives boxes and points.

  The corners of the mouth are guesses about its middle.
  """

  def __init__(
    self, path: str | os.PathLike[str] | None = None, threshold: float = 0.5
  ) -> None:
    """Reads the network.

    Args:
      path: the weights; None looks at the variable CHIBIJAX_BLAZEFACE.
      threshold: the least score of a detection, 0..1.

    Raises:
      UserError: if no file is named, it is missing or no BlazeFace.
    """
    named = path or os.environ.get(VARIABLE)
    if not named:
      raise UserError(
        "BlazeFace needs its weights: name the pth file with --detector-file or"
        f" in {VARIABLE}."
      )
    arrays = weight_files.read(named)
    self.kind: blazeface.Kind = (
      "front" if "backbone1.0.weight" in arrays else "back"
    )
    try:
      self.params = jax.device_put(parameters(arrays, self.kind))
    except ValueError as e:
      raise UserError(f"{named} is no BlazeFace: {e}.") from e
    self.threshold = threshold

  def __call__(self, photo: UInt8[np.ndarray, "h w 3"]) -> list[Detection]:
    """Finds faces, the surest first; see `Detector`."""
    height, width = photo.shape[:2]
    side = blazeface.SIDES[self.kind]
    scale = side / max(height, width)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    picture = Image.fromarray(photo).resize(
      size, Image.Resampling.BILINEAR, reducing_gap=2.0
    )
    square = np.zeros((1, side, side, 3), np.uint8)
    square[0, : size[1], : size[0]] = np.asarray(picture)
    logits, numbers = map(np.asarray, _run(self.kind, self.params, square))
    middle, spread = SCORE[self.kind]
    sure = np.clip((logits[0] - middle) / spread, -40, 40)
    scores = 1 / (1 + np.exp(-sure))
    chosen = scores >= self.threshold
    places = numbers[0, chosen].reshape(-1, blazeface.NUMBERS // 2, 2)
    middles = side * blazeface.centres()[chosen, None]
    # Every pair is a place but the second, which is the box's size.
    places = places + middles * (np.arange(8) != 1)[:, None]
    places *= np.array([width / size[0], height / size[1]])
    return [
      _detection(place, score) for place, score in blend(places, scores[chosen])
    ]


def parameters(
  arrays: Mapping[str, Shaped[np.ndarray, "..."]], kind: blazeface.Kind
) -> dict[str, dict]:
  """Brings PyTorch's arrays into the layout of `models.blazeface`.

  Args:
    arrays: by name, as in `backbone.3.convs.0.weight`.
    kind: which network they are of.

  Returns:
    The parameters, float32.

  Raises:
    ValueError: if an array is missing, left over, or of another shape.
  """
  found: dict[str, dict] = {}
  for name, value in arrays.items():
    place, part = _place(name, kind), name.rpartition(".")[2]
    if part == "weight" and value.ndim == 4:
      value = value.transpose(2, 3, 1, 0)
    layer = functools.reduce(lambda d, k: d.setdefault(k, {}), place, found)
    layer["kernel" if part == "weight" else "bias"] = value.astype(np.float32)
  expected = blazeface.shapes(kind)
  ours, theirs = (
    {jax.tree_util.keystr(k): v.shape for k, v in leaves}
    for leaves in map(_leaves, (found, expected))
  )
  for key in sorted({*ours, *theirs}):
    if ours.get(key) != theirs.get(key):
      raise ValueError(
        f"{key} is {ours.get(key, 'missing')}, expected"
        f" {theirs.get(key, 'nothing')}"
      )
  return found


def blend(
  places: Float[np.ndarray, "n 8 2"], scores: Float[np.ndarray, " n"]
) -> list[tuple[Float[np.ndarray, "8 2"], float]]:
  """Averages the proposals of each face, weighted by their scores.

  Args:
    places: middle and size of the box, then the six points.
    scores: 0..1.

  Returns:
    Places and score of each face, the surest first; its score is that of its
    surest proposal.
  """
  low, high = places[:, 0] - places[:, 1] / 2, places[:, 0] + places[:, 1] / 2
  boxes = np.concatenate([low, high], 1)
  left = np.argsort(-scores, kind="stable")
  found = []
  while len(left):
    same = iou(boxes[left[0]], boxes[left]) > OVERLAP
    same[0] = True
    group = left[same]
    mean = np.average(places[group], axis=0, weights=scores[group])
    found.append((mean, float(scores[left[0]])))
    left = left[~same]
  return found


def _detection(place: Float[np.ndarray, "8 2"], score: float) -> Detection:
  """Box and five points of a blended proposal."""
  middle, size, left, right, nose, mouth = place[:6]
  half = (right - left) * MOUTH
  points = np.stack([left, right, nose, mouth - half, mouth + half])
  box = np.concatenate([middle - size / 2, middle + size / 2])
  return Detection(box.astype(np.float32), score, points.astype(np.float32))


@functools.partial(jax.jit, static_argnames="kind")
def _run(
  kind: blazeface.Kind, params: dict, pixels: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """The network on bytes, [B, S, S, 3]."""
  network = blazeface.BlazeFace(kind)
  return network.apply(
    {"params": params}, pixels.astype("float32") / 127.5 - 1.0
  )


def _place(name: str, kind: blazeface.Kind) -> tuple[str, ...]:
  """The layer that an array of PyTorch's belongs to."""
  words = name.split(".")
  head = re.fullmatch(r"(classifier|regressor)_(8|16)", words[0])
  if head:
    # Named by the stride in pixels of the front network, not by the grid.
    grid = {"8": 16, "16": 8}[head[2]]
    return (f"{'score' if head[1] == 'classifier' else 'place'}{grid}",)
  if words[:2] in (["backbone1", "0"], ["backbone", "0"]):
    return ("stem",)
  conv = {"0": "depthwise", "1": "pointwise"}.get(words[-2], words[-2])
  if words[0] == "final":
    return "rest0", conv
  trunk = "backbone1" if kind == "front" else "backbone"
  # The stem and its ReLU come first.
  number = int(words[1]) if words[1].isdigit() else -1
  if words[0] == trunk:
    return f"trunk{number - 2}", conv
  if words[0] == "backbone2":
    return f"rest{number}", conv
  return tuple(words)


def _leaves(tree: dict) -> list:
  return jax.tree_util.tree_flatten_with_path(tree)[0]
