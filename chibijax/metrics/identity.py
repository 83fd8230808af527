"""Is the person still the same? By retrieval, with any embedder.

The cosine of a face network is brittle on cartoons: what is "similar" shifts
with the style. A rank does not: each avatar looks for its own photo among N
photos, and only the order counts.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int, PRNGKeyArray

from chibijax.metrics import estimate
from chibijax.metrics.estimate import Estimate

Embedder = Callable[[np.ndarray], np.ndarray]


def ranks(
  photos: Float[np.ndarray, "n d"],
  avatars: Float[np.ndarray, "n d"],
  *,
  gallery: int | None = None,
  key: PRNGKeyArray | None = None,
) -> Int[np.ndarray, " n"]:
  """At which place each avatar finds its own photo.

  Args:
    photos: embeddings of the photos.
    avatars: embeddings of their avatars, in the same order.
    gallery: photos that each avatar chooses from, its own among them; None is
      all n.
    key: of the choice of the others.

  Returns:
    1 for the first place; photos that are exactly as close go before the own
    one, so that an embedder that says nothing does not shine.

  Raises:
    ValueError: if the shapes differ or the gallery is not in 2 .. n.
  """
  n = len(photos)
  size = n if gallery is None else gallery
  if photos.shape != avatars.shape or not 2 <= size <= n:
    raise ValueError(
      f"Retrieval needs matching embeddings and a gallery of 2 to {n}, got "
      f"{photos.shape}, {avatars.shape} and {size}."
    )
  cosine = _unit(avatars) @ _unit(photos).T
  # As embeddings are float32: what differs by rounding alone is as close.
  closer = cosine >= np.diagonal(cosine)[:, None] - 1e-6
  np.fill_diagonal(closer, False)
  if size < n:
    rng = estimate.generator(key)
    kept = np.zeros_like(closer)
    for i in range(n):
      others = rng.choice(n - 1, size - 1, replace=False)
      kept[i, others + (others >= i)] = True
    closer &= kept
  return closer.sum(1) + 1


def retrieval(
  photos: Float[np.ndarray, "n d"],
  avatars: Float[np.ndarray, "n d"],
  *,
  gallery: int | None = None,
  key: PRNGKeyArray | None = None,
) -> Estimate:
  """How often an avatar finds its own photo first.

  Args:
    photos: embeddings of the photos.
    avatars: embeddings of their avatars, in the same order.
    gallery: see `ranks`.
    key: of the choice of the gallery and of the bootstrap.

  Returns:
    The share of first places, 1 / N by chance; details: "top5", "median_rank",
    "mean_reciprocal_rank", "chance" and "gallery".
  """
  found = ranks(photos, avatars, gallery=gallery, key=key)
  size = len(photos) if gallery is None else gallery
  top = estimate.mean(
    found == 1, key=key, method=f"own photo first among {size}"
  )
  details = {
    "gallery": size,
    "chance": 1 / size,
    "top5": float((found <= 5).mean()),
    "median_rank": float(np.median(found)),
    "mean_reciprocal_rank": float((1 / found).mean()),
  }
  return Estimate(
    top.value, top.low, top.high, top.n, top.method, top.note, details
  )


def identity(
  photos: np.ndarray,
  avatars: np.ndarray,
  embed: Embedder,
  *,
  gallery: int | None = None,
  key: PRNGKeyArray | None = None,
) -> Estimate:
  """`retrieval` of pictures.

  Args:
    photos: pictures, as `embed` takes them.
    avatars: theirs, in the same order.
    embed: pictures to [n, d].
    gallery: see `ranks`.
    key: of the draws.

  Returns:
    As `retrieval`.
  """
  return retrieval(
    np.asarray(embed(photos)), np.asarray(embed(avatars)),
    gallery=gallery, key=key,
  )  # fmt: skip


def _unit(x: np.ndarray) -> np.ndarray:
  x = np.asarray(x, np.float64)
  return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
