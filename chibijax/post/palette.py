"""Flat colour: a picture in few colours, or in few steps of light.

Colours are chosen and compared in OKLab, where a step looks alike on every hue
and every skin tone. Pictures are [0, 1] sRGB; alpha is kept.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from chibijax.artist import palette as named
from chibijax.post.color import oklab_to_srgb, srgb_to_oklab
from chibijax.post.smooth import Picture, box, gaussian, split_alpha

Masks: TypeAlias = Mapping[str, Bool[np.ndarray, "_ _"]]
Number: TypeAlias = float | int
Index: TypeAlias = Int[Array, ""]
Best: TypeAlias = tuple[Float[Array, "h w"], Int[Array, "h w"]]

MAX_COLORS = 64
# How much a pixel of a region counts when colours are chosen.
WEIGHTS = {"skin": 2.0, "hair": 1.5, "background": 0.6}
# Bins per unit of OKLab when colours are counted: 0.02 is hardly visible.
_BINS = 50
_ROUNDS = 12
# Pixels looked at when colours are chosen.
_SAMPLE = 256
# What a pixel's own colour counts for against its neighbours' votes, which sum
# to 1: speckles and thin spurs go, corners stay.
_OWN = 0.15
# Share of the flat picture in the background, and of the picture itself in
# details.
_SOFT, _SHARP = 0.3, 0.75
# Differences of hue count more than those of light: shine on skin must not
# become grey. Colours are compared in OKLab with a and b stretched by this.
_HUE = 1.6


def fit(
  image: Picture,
  count: int,
  *,
  masks: Masks | None = None,
  weight: Float[np.ndarray, "h w"] | None = None,
  seed: int = 0,
) -> Float[np.ndarray, "n 3"]:
  """Chooses the colours of a picture: weighted k-means in OKLab.

  Args:
    image: [0, 1]; pixels that are mostly transparent do not count.
    count: how many colours at most, 1..64; a picture with fewer gets fewer.
    masks: regions of `WEIGHTS` count more, or less, than their area.
    weight: how much each pixel counts, besides.
    seed: of the first choice (k-means++, Arthur and Vassilvitskii 2007).

  Returns:
    OKLab colours, dark to light.

  Raises:
    ValueError: if `count` is out of range, or a mask has the wrong shape.
  """
  _check(count, masks, image.shape[:2])
  picture, alpha = split_alpha(image)
  total = np.ones(image.shape[:2]) if weight is None else np.array(weight)
  for name, factor in WEIGHTS.items():
    if masks and name in masks:
      total[masks[name]] *= factor
  if alpha is not None:
    total = total * (np.asarray(alpha[..., 0]) > 0.5)
  step = max(1, max(total.shape) // _SAMPLE)
  lab = np.asarray(_oklab(picture[::step, ::step])).reshape(-1, 3)
  found, share = _histogram(lab, total[::step, ::step].reshape(-1))
  stretch = np.array([1.0, _HUE, _HUE])
  rng = np.random.default_rng(seed)
  return _kmeans(found * stretch, share, count, rng) / stretch


def flatten(
  image: Picture,
  count: int = 12,
  *,
  colors: Sequence[str] | None = None,
  masks: Masks | None = None,
  detail: Float[np.ndarray, "h w"] | None = None,
  strength: Number = 1.0,
  seed: int = 0,
) -> Float[Array, "h w c"]:
  """Paints a picture in few flat colours with clean, antialiased edges.

  Each pixel takes the nearest colour; then twice the one that most of its
  neighbours have, which removes speckles and smooths outlines.

  Args:
    image: [0, 1], best smoothed before.
    count: how many colours, 1..64.
    colors: sRGB hex colours to use instead.
    masks: skin and hair get their colours first, see `WEIGHTS`; a
      background keeps most of its gradients, which would get contours.
    detail: 1 where small things matter (eyes, mouth): there colours count more
      and neighbours vote less.
    strength: share of the flat picture in the result, [0, 1].
    seed: see `fit`.

  Returns:
    The picture.

  Raises:
    ValueError: if an argument is out of range, a mask has the wrong shape, or a
      colour is not `#rrggbb`.
  """
  if not 0 <= strength <= 1:
    raise ValueError(f"strength must be in [0, 1]; got {strength!r}")
  _check(len(colors) if colors is not None else count, masks, image.shape[:2])
  picture, alpha = split_alpha(image)
  if strength == 0:
    return jnp.asarray(image, jnp.float32)
  if colors is not None:
    chosen = np.array([named.oklab(color) for color in colors])
  else:
    weight = None if detail is None else 1 + 8 * np.asarray(detail)
    chosen = fit(image, count, masks=masks, weight=weight, seed=seed)
  fine = jnp.zeros(image.shape[:2]) if detail is None else jnp.asarray(detail)
  soft = jnp.zeros(image.shape[:2])
  if masks and "background" in masks:
    soft = jnp.asarray(masks["background"])
  found = _paint(
    picture,
    jnp.asarray(chosen, jnp.float32),
    fine.astype(jnp.float32),
    soft.astype(jnp.float32),
    jnp.float32(strength),
    max(1, round(max(image.shape[:2]) / 200)),
  )
  return found if alpha is None else jnp.concatenate([found, alpha], -1)


def posterise(
  image: Picture,
  levels: int = 4,
  *,
  sharpness: Number = 0.7,
  strength: Number = 1.0,
) -> Float[Array, "h w c"]:
  """Reduces lightness to soft steps (Winnemoeller, Olsen, Gooch 2006).

  Colours keep their hue, and their chroma follows the lightness.

  Args:
    image: [0, 1].
    levels: number of steps, 2..32.
    sharpness: of the edges between steps; 0 no steps at all, 1 hard ones.
    strength: share of the result, [0, 1].

  Returns:
    The picture.

  Raises:
    ValueError: if an argument is out of range.
  """
  if not 2 <= levels <= 32:
    raise ValueError(f"levels must be in [2, 32]; got {levels!r}")
  for name, value in (("sharpness", sharpness), ("strength", strength)):
    if not 0 <= value <= 1:
      raise ValueError(f"{name} must be in [0, 1]; got {value!r}")
  picture, alpha = split_alpha(image)
  if strength == 0 or sharpness == 0:
    return jnp.asarray(image, jnp.float32)
  slope = 1 + 12 * sharpness**2
  found = _steps(
    picture, jnp.float32(levels), jnp.float32(slope), jnp.float32(strength)
  )
  return found if alpha is None else jnp.concatenate([found, alpha], -1)


def _check(count: int, masks: Masks | None, shape: tuple[int, ...]) -> None:
  if not 1 <= count <= MAX_COLORS:
    raise ValueError(
      f"a palette has 1 to {MAX_COLORS} colours; got {count!r} of them"
    )
  for name, mask in (masks or {}).items():
    if mask.shape != tuple(shape):
      raise ValueError(
        f"mask {name!r} must be {tuple(shape)} like the image; got {mask.shape}"
      )


_oklab = jax.jit(srgb_to_oklab)


def _histogram(
  lab: Float[np.ndarray, "n 3"], weight: Float[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, "m 3"], Float[np.ndarray, " m"]]:
  """Mean colours of the bins that hold any, and their weights."""
  keep = weight > 0
  if not keep.any():
    return np.zeros((1, 3)), np.ones(1)
  lab, weight = lab[keep].astype(np.float64), weight[keep]
  bins = np.floor(lab * _BINS).astype(np.int64) + _BINS
  key = (bins[:, 0] * 4 * _BINS + bins[:, 1]) * 4 * _BINS + bins[:, 2]
  _, index = np.unique(key, return_inverse=True)
  share = np.bincount(index, weight)
  sums = [np.bincount(index, weight * lab[:, k]) for k in range(3)]
  # The root of the area: a large background must not take every colour.
  return np.stack(sums, -1) / share[:, None], share**0.6


def _kmeans(
  points: Float[np.ndarray, "m 3"],
  weight: Float[np.ndarray, " m"],
  count: int,
  rng: np.random.Generator,
) -> Float[np.ndarray, "n 3"]:
  count = min(count, len(points))
  first = int(np.argmax(weight))
  centers = points[first][None]
  nearest = ((points - centers[0]) ** 2).sum(1)
  while len(centers) < count:
    mass = nearest * weight
    if mass.sum() <= 0:
      break
    # Greedy: the best of a few draws (as scikit-learn does it).
    draws = rng.choice(len(points), 4, p=mass / mass.sum())
    tried = ((points[None] - points[draws][:, None]) ** 2).sum(-1)
    tried = np.minimum(nearest, tried)
    best = int(np.argmin((tried * weight).sum(1)))
    centers = np.concatenate([centers, points[draws[best]][None]])
    nearest = tried[best]
  for _ in range(_ROUNDS):
    # |p - c|^2 without |p|^2, which is the same for every centre.
    label = np.argmin((centers**2).sum(1) - 2 * points @ centers.T, 1)
    total = np.bincount(label, weight, len(centers))
    sums = [
      np.bincount(label, weight * points[:, k], len(centers)) for k in range(3)
    ]
    means = np.stack(sums, -1) / np.maximum(total, 1e-12)[:, None]
    centers = np.where(total[:, None] > 0, means, centers)
  return centers[np.argsort(centers[:, 0], kind="stable")]


@functools.partial(jax.jit, static_argnames=("radius",))
def _paint(
  image: Float[Array, "h w 3"],
  colors: Float[Array, "n 3"],
  detail: Float[Array, "h w"],
  soft: Float[Array, "h w"],
  strength: Float[Array, ""],
  radius: int,
) -> Float[Array, "h w 3"]:
  lab = srgb_to_oklab(image)
  near = jnp.full(lab.shape[:2], jnp.inf), jnp.zeros(lab.shape[:2], jnp.int32)

  def closest(k: Index, best: Best) -> Best:
    off = [jnp.square(lab[..., c] - colors[k, c]) for c in range(3)]
    cost = off[0] + _HUE**2 * (off[1] + off[2])
    return _better(best, cost, k)

  count = colors.shape[0]
  _, label = jax.lax.fori_loop(0, count, closest, near)
  for _ in range(2):
    label = _vote(label, count, detail, radius)
  found = jnp.clip(oklab_to_srgb(colors), 0, 1)
  # Softened by about a pixel: the edges are antialiased.
  flat = gaussian(found[label], 0.6)
  weight = 1 - (1 - _SOFT) * gaussian(soft[..., None], 1.5)
  weight = strength * weight * (1 - _SHARP * detail[..., None])
  return image + weight * (flat - image)


def _better(best: Best, cost: Float[Array, "h w"], k: Index) -> Best:
  closer = cost < best[0]
  return jnp.where(closer, cost, best[0]), jnp.where(closer, k, best[1])


def _vote(
  label: Int[Array, "h w"], count: int, detail: Float[Array, "h w"], radius: int
) -> Int[Array, "h w"]:
  """Gives each pixel the label that most of its neighbours have.

  Its own counts for several, for a majority where `detail` is 1.
  """
  own = _OWN + (1 - _OWN) * detail

  # One label at a time: its plane stays in the processor's cache.
  def most(k: Index, best: Best) -> Best:
    here = (label == k).astype(jnp.float32)
    votes = box(here[..., None], radius)[..., 0] + own * here
    return _better(best, -votes, k)

  start = jnp.full(label.shape, jnp.inf), label
  return jax.lax.fori_loop(0, count, most, start)[1]


@jax.jit
def _steps(
  image: Float[Array, "h w 3"],
  levels: Float[Array, ""],
  slope: Float[Array, ""],
  strength: Float[Array, ""],
) -> Float[Array, "h w 3"]:
  lab = srgb_to_oklab(image)
  light = lab[..., 0] * levels
  middle = jnp.floor(light) + 0.5
  step = jnp.tanh(slope * (light - middle)) / jnp.tanh(slope / 2) / 2
  new = jnp.clip((middle + step) / levels, 0, 1)
  # Chroma goes with the light, or shadows would glow.
  ratio = jnp.clip(new / jnp.maximum(lab[..., 0], 1e-3), 0.5, 1.5)
  stepped = jnp.concatenate(
    [new[..., None], lab[..., 1:] * ratio[..., None]], -1
  )
  found = jnp.clip(oklab_to_srgb(stepped), 0, 1)
  return image + strength * (found - image)
