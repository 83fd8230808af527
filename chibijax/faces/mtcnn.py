"""MTCNN as a detector: three networks, each checking the one before.

Zhang et al. 2016, "Joint face detection and alignment using multitask cascaded
convolutional networks". The photo's scales are packed into one picture of a
fixed size, so that P-Net is compiled once for all photos; R-Net and O-Net take
batches of a fixed size. What the packing changes: nothing, as each scale has an
even size and place, and windows that leave it are ignored.

All work is done at most `SIDE` pixels a side, so the time does not grow with
the photo.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Float32, UInt8
from PIL import Image

from chibijax.faces.detection import Detection, iou
from chibijax.models import mtcnn

# The photo's longer side while it is searched, and the smallest face there.
SIDE = 512
MIN_FACE = 32
# Between neighbouring scales: half of the area.
STEP = 0.709
# Patches a call of R-Net and O-Net, and the most that are looked at.
BATCH = {"rnet": 64, "onet": 16}
MOST = {"rnet": 192, "onet": 64}
# A stage's least probability of a face, as in the paper's own code but for
# O-Net's, at which wrong faces end (benchmarks/faces.py).
THRESHOLD = {"pnet": 0.6, "rnet": 0.7, "onet": 0.8}


@functools.partial(jax.jit, static_argnames="net")
def _run(net: str, weights: Any, pixels: jax.Array) -> dict[str, jax.Array]:
  """A network on bytes, [B, H, W, 3]."""
  return mtcnn.apply(net, weights, (pixels.astype("float32") - 127.5) / 128.0)


@dataclasses.dataclass(frozen=True, eq=False)
class MtcnnDetector:
  """Finds faces of about 6 % of the photo's longer side and more.

  Attributes:
    weights: as `chibijax.faces.mtcnn_weights.load` gives them.
    threshold: the least score of a detection, 0..1.
  """

  weights: Mapping[str, Any]
  threshold: float = THRESHOLD["onet"]

  def __call__(self, photo: UInt8[np.ndarray, "h w 3"]) -> list[Detection]:
    """Finds faces, the surest first; see `Detector`."""
    height, width = photo.shape[:2]
    scale = min(SIDE / max(height, width), 1.0)
    picture = Image.fromarray(photo)
    if scale < 1:
      size = max(round(width * scale), 1), max(round(height * scale), 1)
      picture = picture.resize(
        size, Image.Resampling.BILINEAR, reducing_gap=2.0
      )
    mips = _mips(picture)
    boxes, scores = self._propose(picture)
    boxes, scores, _ = self._judge("rnet", mips, boxes, scores)
    boxes, scores, points = self._judge("onet", mips, boxes, scores)
    stretch = np.array([width / picture.width, height / picture.height])
    return [
      Detection(
        (box.reshape(2, 2) * stretch).reshape(4).astype(np.float32),
        float(score),
        (five * stretch).astype(np.float32),
      )
      for box, score, five in zip(boxes, scores, points)
    ]

  def _propose(
    self, picture: Image.Image
  ) -> tuple[Float[np.ndarray, "n 4"], Float[np.ndarray, " n"]]:
    """P-Net on all scales of the picture: square boxes and their scores."""
    sheet = np.full((*sheet_shape(), 3), 128, np.uint8)
    placed = []
    for x, y, slot in slots():
      # Even sizes, so that pooling never looks beyond the scale's edge.
      w, h = (
        2 * round(slot * n / SIDE / 2) for n in (picture.width, picture.height)
      )
      if min(w, h) < mtcnn.WINDOW["pnet"]:
        continue
      small = picture.resize((w, h), Image.Resampling.BOX, reducing_gap=2.0)
      sheet[y : y + h, x : x + w] = np.asarray(small)
      placed.append((x, y, w, h))
    heads = _run("pnet", self.weights["pnet"], sheet[None])
    face, offsets = (
      np.asarray(heads["face"][0]),
      np.asarray(heads["offsets"][0]),
    )
    boxes, scores = [np.zeros((0, 4))], [np.zeros(0)]
    for x, y, w, h in placed:
      cells = slice(y // 2, (y + h) // 2 - 5), slice(x // 2, (x + w) // 2 - 5)
      i, j = np.nonzero(face[cells] > THRESHOLD["pnet"])
      score = face[cells][i, j]
      corner = np.stack([j, i], -1) * 2.0
      box = np.concatenate([corner, corner + mtcnn.WINDOW["pnet"]], -1)
      box += offsets[cells][i, j] * mtcnn.WINDOW["pnet"]
      box *= np.tile([picture.width / w, picture.height / h], 2)
      keep = suppress(box, score, 0.5)
      boxes.append(box[keep])
      scores.append(score[keep])
    box, score = np.concatenate(boxes), np.concatenate(scores)
    keep = suppress(box, score, 0.7)[: MOST["rnet"]]
    return square(box[keep]), score[keep]

  def _judge(
    self,
    net: str,
    mips: list[np.ndarray],
    boxes: Float[np.ndarray, "n 4"],
    scores: Float[np.ndarray, " n"],
  ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """R-Net or O-Net on proposed boxes: the boxes kept, scores and points."""
    boxes = boxes[: MOST[net]]
    heads = self._heads(net, patches(mips, boxes, mtcnn.WINDOW[net]))
    least = self.threshold if net == "onet" else THRESHOLD[net]
    kept = heads["face"] > least
    boxes, scores = boxes[kept], heads["face"][kept]
    corner, side = boxes[:, None, :2], (boxes[:, 2] - boxes[:, 0])[:, None]
    points = np.zeros((len(boxes), 5, 2))
    if net == "onet":
      five = heads["points"][kept].reshape(-1, 2, 5).transpose(0, 2, 1)
      points = corner + five * side[:, :, None]
    moved = boxes + heads["offsets"][kept] * side
    keep = suppress(moved, scores, 0.7, smaller=net == "onet")
    boxes = moved[keep] if net == "onet" else square(moved[keep])
    return boxes, scores[keep], points[keep]

  def _heads(
    self, net: str, inputs: UInt8[np.ndarray, "n s s 3"]
  ) -> dict[str, np.ndarray]:
    """Runs a network on any number of patches, in batches of a fixed size."""
    count, batch = len(inputs), BATCH[net]
    found: dict[str, list[np.ndarray]] = {"face": [np.zeros(0)]}
    for head, width in mtcnn.HEADS[net].items():
      if head != "face":
        found[head] = [np.zeros((0, width))]
    for start in range(0, count, batch):
      part = inputs[start : start + batch]
      fill = ((0, batch - len(part)), (0, 0), (0, 0), (0, 0))
      heads = _run(net, self.weights[net], np.pad(part, fill))
      for head, parts in found.items():
        parts.append(np.asarray(heads[head])[: len(part)])
    return {head: np.concatenate(parts) for head, parts in found.items()}


@functools.cache
def slots() -> list[tuple[int, int, int]]:
  """Where each scale of a SIDE x SIDE photo lies in the sheet.

  Returns:
    x, y and side in pixels of the sheet, all even, from the largest scale on.
  """
  first = SIDE * mtcnn.WINDOW["pnet"] / MIN_FACE
  sides = []
  while first * STEP ** len(sides) >= mtcnn.WINDOW["pnet"]:
    sides.append(2 * round(first * STEP ** len(sides) / 2))
  # Each scale goes into the smallest free rectangle that holds it, whose rest
  # is split in two; the last rectangle has no right end.
  free = [(0, 0, 4 * sides[0], sides[0])]
  found = []
  for side in sides:
    fits = [r for r in free if min(r[2:]) >= side]
    x, y, w, h = min(fits, key=lambda r: r[2] * r[3])
    free.remove((x, y, w, h))
    free += [(x, y + side, side, h - side), (x + side, y, w - side, h)]
    found.append((x, y, side))
  return found


def sheet_shape() -> tuple[int, int]:
  """Height and width of the sheet that holds every scale."""
  rows = max(y + side for _, y, side in slots())
  columns = max(x + side for x, _, side in slots())
  return rows, columns


def square(boxes: Float[np.ndarray, "n 4"]) -> Float[np.ndarray, "n 4"]:
  """Boxes with the same middles, both sides as long as the longer one."""
  middle = (boxes[:, :2] + boxes[:, 2:]) / 2
  half = (boxes[:, 2:] - boxes[:, :2]).max(1, keepdims=True) / 2
  return np.concatenate([middle - half, middle + half], 1)


def suppress(
  boxes: Float[np.ndarray, "n 4"],
  scores: Float[np.ndarray, " n"],
  overlap: float,
  *,
  smaller: bool = False,
) -> np.ndarray:
  """Non-maximum suppression.

  Args:
    boxes: left, top, right, bottom.
    scores: the surer of two boxes stays.
    overlap: the most two boxes may share: intersection over union, or over the
      smaller box.
    smaller: divide by the smaller box.

  Returns:
    Indices of the boxes that stay, the surest first.
  """
  order = np.argsort(-scores, kind="stable")
  ranked = boxes[order]
  clash = iou(ranked[:, None], ranked[None], smaller=smaller) > overlap
  stays = np.ones(len(order), bool)
  for first in range(len(order)):
    if stays[first]:
      stays[first + 1 :] &= ~clash[first, first + 1 :]
  return order[stays]


def _mips(picture: Image.Image) -> list[np.ndarray]:
  """The picture, half of it, a quarter... while it holds an O-Net patch."""
  found = [np.asarray(picture)]
  while min(picture.size) >= 2 * mtcnn.WINDOW["rnet"]:
    picture = picture.reduce(2)
    found.append(np.asarray(picture))
  return found


def patches(
  mips: list[np.ndarray],
  boxes: Float[np.ndarray, "n 4"],
  side: int,
) -> UInt8[np.ndarray, "n side side 3"]:
  """Cuts boxes out of a picture, each resized to `side` pixels.

  Bilinear, from the halved picture that is at most twice too fine.

  Args:
    mips: the picture, half of it, a quarter...
    boxes: squares in pixels of the first; grey where they leave it.
    side: side of the patches.

  Returns:
    The patches as bytes.
  """
  found = np.full((len(boxes), side, side, 3), 128, np.uint8)
  ratio = np.maximum((boxes[:, 2] - boxes[:, 0]) / side, 1e-6)
  levels = np.clip(np.log2(ratio).astype(int), 0, len(mips) - 1)
  for level in np.unique(levels):
    chosen = np.flatnonzero(levels == level)
    image = mips[level]
    scale = np.array(image.shape[1::-1]) / np.array(mips[0].shape[1::-1])
    corner = boxes[chosen, :2] * scale
    size = (boxes[chosen, 2:] - boxes[chosen, :2]) * scale
    steps = (np.arange(side) + 0.5) / side
    x = corner[:, :1] + size[:, :1] * steps
    y = corner[:, 1:] + size[:, 1:] * steps
    found[chosen] = _lookup(image, x, y)
  return found


def _lookup(
  image: UInt8[np.ndarray, "h w 3"],
  x: Float[np.ndarray, "n s"],
  y: Float[np.ndarray, "n s"],
) -> Float32[np.ndarray, "n s s 3"]:
  """Bilinear values on the grids x[n] by y[n]; 128 outside."""
  height, width = image.shape[:2]
  outside = ((y < 0) | (y > height))[:, :, None] | ((x < 0) | (x > width))[
    :, None, :
  ]
  x, y = np.clip(x - 0.5, 0, width - 1), np.clip(y - 0.5, 0, height - 1)
  x0 = np.minimum(x.astype(int), max(width - 2, 0))
  y0 = np.minimum(y.astype(int), max(height - 2, 0))
  x1, y1 = np.minimum(x0 + 1, width - 1), np.minimum(y0 + 1, height - 1)
  right = (x - x0).astype(np.float32)[:, None, :, None]
  below = (y - y0).astype(np.float32)[:, :, None, None]

  def row(i: np.ndarray) -> np.ndarray:
    left = image[i[:, :, None], x0[:, None, :]].astype(np.float32)
    other = image[i[:, :, None], x1[:, None, :]]
    return left + (other - left) * right

  upper = row(y0)
  values = upper + (row(y1) - upper) * below
  values[outside] = 128
  return values + 0.5
