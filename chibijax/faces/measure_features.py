"""Glasses, beard, mouth and gaze, told from the near view of a face.

Each word comes from a weighted sum of a few contrasts, all differences of OKLab
values against skin of the same face, so that neither the tone of the skin nor
the exposure matters much. Weights were rounded from a logistic fit to the half
"develop" of `benchmarks/attributes_labels.csv`; which contrasts to use was
chosen on both halves.
"""

import dataclasses

import numpy as np
from jaxtyping import Float

from chibijax.faces.measure_frame import View, box_mean, typical

# Where skin is seen: cheeks, forehead, bridge of the nose.
CHEEKS = ((0.38, 0.56, 0.44, 0.62), (0.56, 0.56, 0.62, 0.62))
UPPER = ((0.46, 0.44, 0.54, 0.52), (0.44, 0.37, 0.56, 0.42))
# Where a beard grows: left and right, or the middle.
BEARD = {
  "lip": ((0.46, 0.622, 0.54, 0.648),),
  "moustache": ((0.435, 0.63, 0.46, 0.655), (0.54, 0.63, 0.565, 0.655)),
  "beside": ((0.415, 0.645, 0.435, 0.69), (0.565, 0.645, 0.585, 0.69)),
  "below": ((0.48, 0.705, 0.52, 0.73),),
  "chin": ((0.46, 0.735, 0.54, 0.78),),
  "chin_side": ((0.42, 0.74, 0.455, 0.775), (0.545, 0.74, 0.58, 0.775)),
  "jaw": ((0.375, 0.69, 0.415, 0.74), (0.585, 0.69, 0.625, 0.74)),
}
_EYES = ((0.404, 0.48), (0.596, 0.48))


@dataclasses.dataclass(frozen=True, eq=False)
class Skin:
  """Colours of a face's skin, OKLab: `cheek`, `upper` face, and `lit`."""

  cheek: Float[np.ndarray, "3"]
  upper: Float[np.ndarray, "3"]
  lit: Float[np.ndarray, "3"]


def skin(near: View) -> Skin:
  """The colours of the skin.

  Args:
    near: the near view.

  Returns:
    Typical colours; `lit` is that of the lighter side and no highlight. They
    are colours as seen: the light's tint and the exposure are in them.
  """
  cheeks = [_pixels(near, (box,)) for box in CHEEKS]
  upper = _pixels(near, UPPER)
  every = np.concatenate([*cheeks, upper])
  middle = np.median(every, 0)
  close = np.hypot(*(every - middle)[:, 1:].T) < 0.05
  close &= np.abs(every[:, 0] - middle[0]) < 0.2
  kept = every[close] if close.sum() > 20 else every
  # Highlights are pale whatever the skin: counted, they would lighten dark
  # skin most.
  low, high = np.quantile(kept[:, 0], [0.3, 0.75])
  kept = kept[(kept[:, 0] >= low) & (kept[:, 0] <= high)]
  return Skin(typical(np.concatenate(cheeks)), typical(upper), typical(kept))


def glasses(near: View) -> tuple[str, float]:
  """Whether there are glasses: bars at the temples, a bridge on the nose.

  Args:
    near: the near view.

  Returns:
    The word and how sure it is.
  """
  lightness = near.lab[..., 0]
  down, across = _slopes(lightness)
  temples = [
    np.abs(down[near.part(*box)].mean(1)).max()
    for box in ((0.30, 0.44, 0.35, 0.52), (0.65, 0.44, 0.70, 0.52))
  ]
  row = lightness[near.part(0.478, 0.42, 0.522, 0.55)].mean(1)
  bridge = np.abs(row[3:-3] - (row[:-6] + row[6:]) / 2).max()
  pads = [
    np.abs(across[near.part(*box)].mean(0)).max()
    for box in ((0.455, 0.47, 0.485, 0.54), (0.515, 0.47, 0.545, 0.54))
  ]
  cheek = typical(_pixels(near, CHEEKS))
  score = 41 * np.mean(temples) + 8 * bridge + 30 * np.mean(pads) - 8.0
  lenses = [
    _pixels(near, ((x - 0.05, 0.465, x + 0.05, 0.525),)) for x, _ in _EYES
  ]
  # Opaque lenses are dark all over and show no white of the eye.
  dark = [np.quantile(lens[:, 0], 0.85) - cheek[0] for lens in lenses]
  shade = 12 * (-0.22 - max(dark))
  if shade > 0 and max(np.quantile(lens[:, 0], 0.85) for lens in lenses) < 0.42:
    return "sunglasses", _sure(shade)
  return ("glasses" if score > 0 else "none"), _sure(abs(score))


def beard(near: View, tones: Skin) -> tuple[str, float, Float[np.ndarray, "3"]]:
  """The kind of beard, told by colour and by texture across the strands.

  Args:
    near: the near view.
    tones: of the same face.

  Returns:
    The word, how sure it is, and the colour of the beard if there is one.
  """
  mean = (tones.cheek + tones.upper) / 2
  beside = _pixels(
    near, ((0.395, 0.605, 0.43, 0.645), (0.57, 0.605, 0.605, 0.645))
  )
  near_lip = np.median(beside, 0)
  _, across = _slopes(near.lab[..., 0])
  color, rough = {}, {}
  for name, boxes in BEARD.items():
    middles = np.array([np.median(_pixels(near, (box,)), 0) for box in boxes])
    # Of two sides the one that looks less bearded: light comes from one side.
    color[name] = middles.max(0)
    rough[name] = min(np.abs(across[near.part(*box)]).mean() for box in boxes)
  red = {name: value[1] - mean[1] for name, value in color.items()}
  lip_dark = color["lip"][0] - near_lip[0]
  score = (
    45 * rough["moustache"]
    - 45 * red["lip"]
    - 30 * red["moustache"]
    - 30 * red["below"]
    - 25 * red["beside"]
    - 6 * lip_dark
    - 4.4
  )
  base = min(tones.cheek[0], tones.upper[0])
  # A beard of the skin's own hue, or without a moustache, is dark all the same.
  under = max(color[n][0] for n in ("below", "chin", "chin_side", "jaw"))
  score = max(score, 30 * (base - under - 0.18))
  if score < 0:
    return "none", _sure(-score), tones.cheek

  def grown(name: str) -> float:
    light = color[name][0] - base
    return float(-50 * red[name] - 5 * light + 45 * rough[name])

  strong = {name: grown(name) for name in BEARD}
  lip = max(strong["lip"], strong["moustache"])
  low = max(strong["below"], strong["chin"])
  sides = (strong["chin_side"] + strong["jaw"]) / 2
  if max(lip, low, sides) < 2.3:
    word = "stubble"
  elif sides > 2.2 or (strong["jaw"] > 1.6 and strong["chin_side"] > 1.8):
    word = "full_beard"
  else:
    word = "goatee" if low > 0.6 * lip and low > 1.8 else "moustache"
  names = ("lip", "moustache") if word == "moustache" else ("chin", "chin_side")
  pixels = np.concatenate([_pixels(near, BEARD[name]) for name in names])
  dark = pixels[:, 0] <= np.quantile(pixels[:, 0], 0.5)
  return word, _sure(score), np.median(pixels[dark], 0)


def mouth(
  near: View,
  tones: Skin,
  points: Float[np.ndarray, "5 2"],
  lift: float | None = None,
  opening: float = 0.0,
) -> tuple[str, float]:
  """What the mouth does, from its width, its place, its line and the teeth.

  Args:
    near: the near view.
    tones: of the same face.
    points: the five points in pixels of the photo.
    lift: see `measure_shape.mouth`; None without landmarks.
    opening: see `measure_shape.mouth`.

  Returns:
    The word and how sure it is.
  """
  left_eye, right_eye, nose, left, right = points.astype(np.float64)
  eyes, corners = (left_eye + right_eye) / 2, (left + right) / 2
  wide = np.linalg.norm(right - left) / (
    np.linalg.norm(right_eye - left_eye) + 1e-9
  )
  axis = corners - eyes
  # A smile pulls the corners up, towards the nose.
  drop = (corners - nose) @ axis / (axis @ axis + 1e-9)
  curve, line = _mouth_line(near)
  beside = np.median(_pixels(near, BEARD["beside"]), 0)
  below = np.median(_pixels(near, BEARD["below"]), 0)
  score = 14.5 * wide - 17 * drop - 19 * curve - 12 * line
  score += 5 * (below[0] - tones.cheek[0]) + 25 * (beside[1] - tones.cheek[1])
  score -= 5.6
  inner = _pixels(near, ((0.455, 0.66, 0.545, 0.72),))
  chroma = np.hypot(*inner[:, 1:].T)
  pale = chroma < 0.62 * np.hypot(*tones.cheek[1:])
  teeth = float(np.mean(pale & (inner[:, 0] > tones.cheek[0] - 0.10)))
  hollow = float(np.mean(inner[:, 0] < 0.45 * tones.cheek[0]))
  if lift is not None:
    score = 30 * (lift - 0.055) + 0.8 * score
    if score > 0:
      return ("grin" if opening > 0.06 else "smile"), _sure(score)
    return ("open" if opening > 0.15 else "neutral"), _sure(-score)
  if score > 0:
    return ("grin" if teeth > 0.10 else "smile"), _sure(score)
  return ("open" if hollow > 0.22 and wide < 0.95 else "neutral"), _sure(-score)


def gaze(near: View) -> tuple[float, float]:
  """Where the eyes look: the dark iris's place in each eye's box.

  Args:
    near: the near view.

  Returns:
    Right and down, -1..1; zeros look at the camera.
  """
  found = []
  for x, y in _EYES:
    rows, columns = near.part(x - 0.042, y - 0.022, x + 0.042, y + 0.026)
    dark = near.lab[rows, columns, 0]
    weight = np.maximum(np.quantile(dark, 0.3) - dark, 0) + 1e-6
    height, width = dark.shape
    across = weight.sum(0) @ np.linspace(-1, 1, width) / weight.sum()
    down = weight.sum(1) @ np.linspace(-1, 1, height) / weight.sum()
    found.append((across, down))
  across, down = np.mean(found, 0)
  return float(np.clip(1.6 * across, -1, 1)), float(np.clip(0.8 * down, -1, 1))


def brows(near: View) -> Float[np.ndarray, "3"]:
  """The colour of the eyebrows: the darkest of their boxes."""
  boxes = ((0.35, 0.41, 0.45, 0.455), (0.55, 0.41, 0.65, 0.455))
  pixels = _pixels(near, boxes)
  return np.median(pixels[pixels[:, 0] <= np.quantile(pixels[:, 0], 0.25)], 0)


def _mouth_line(near: View) -> tuple[float, float]:
  """The bend of the dark line between the lips, and its height.

  The darkest and reddest path from one side to the other, found by dynamic
  programming, with a parabola through its middle: y = bend x^2 + ... + height,
  x from -1 to 1, y from the top of the search, units of the frame's side.
  """
  tone = near.lab[..., 0] - near.lab[..., 1]
  cost = box_mean(tone, 1)[near.part(0.42, 0.63, 0.58, 0.745)]
  total, steps = cost[:, 0].copy(), []
  options = np.full((3, len(total)), np.inf, total.dtype)
  for column in cost.T[1:]:
    options[0, 1:], options[1], options[2, :-1] = total[:-1], total, total[1:]
    options[::2] += 0.01
    steps.append(options.argmin(0) - 1)
    total = column + options.min(0)
  path = [int(total.argmin())]
  for step in reversed(steps):
    path.append(path[-1] + int(step[path[-1]]))
  x = np.linspace(-1, 1, len(path))
  inner = np.abs(x) < 0.75
  fitted = np.polyfit(x[inner], np.array(path[::-1])[inner] / near.scale, 2)
  return float(fitted[0]), float(fitted[2])


def _pixels(
  near: View, boxes: tuple[tuple[float, float, float, float], ...]
) -> Float[np.ndarray, "n 3"]:
  return np.concatenate([near.lab[near.part(*b)].reshape(-1, 3) for b in boxes])


def _slopes(
  plane: Float[np.ndarray, "s s"],
) -> tuple[Float[np.ndarray, "s s"], Float[np.ndarray, "s s"]]:
  """Central differences over two pixels, downwards and across."""
  down, across = np.zeros_like(plane), np.zeros_like(plane)
  down[1:-1] = plane[2:] - plane[:-2]
  across[:, 1:-1] = plane[:, 2:] - plane[:, :-2]
  return down, across


def _sure(score: float | np.floating) -> float:
  """A score's distance from its threshold as a share, 0.5 at the threshold."""
  return float(1 / (1 + np.exp(-np.clip(score, 0, 20))))
