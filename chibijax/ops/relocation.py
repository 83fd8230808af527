"""Markov-chain Monte Carlo moves for Gaussians of a fixed number.

Kheradmand et al. 2024, 3D Gaussian Splatting as Markov Chain Monte Carlo: dead
Gaussians are moved onto live ones in a way that changes the picture little, and
noise makes faint ones explore. Every shape is static.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int32, PRNGKeyArray

from chibijax.ops import rotation

# A Gaussian is split into at most this many at a time.
MOST = 51


class Relocation(NamedTuple):
  """Where every Gaussian's values come from, and what changes.

  Attributes:
    source: index whose values a Gaussian takes; its own if it is alive.
    opacities: after the move.
    scales: after the move.
    dead: which were moved.
    changed: which were moved or split; their optimiser's moments are stale.
  """

  source: Int32[Array, " n"]
  opacities: Float[Array, " n"]
  scales: Float[Array, "n 3"]
  dead: Bool[Array, " n"]
  changed: Bool[Array, " n"]


def relocate(
  key: PRNGKeyArray,
  opacities: Float[Array, " n"],
  scales: Float[Array, "n 3"],
  *,
  threshold: float = 0.005,
) -> Relocation:
  """Moves dead Gaussians onto live ones, drawn in proportion to opacity.

  Where a Gaussian becomes several at one place, all of them get the opacity and
  scale that leave its picture as it was (`split`).

  Args:
    key: of the draw.
    opacities: in [0, 1].
    scales: standard deviations.
    threshold: at or below this opacity a Gaussian is dead.

  Returns:
    The move; nothing moves if none is alive.
  """
  count = len(opacities)
  alive = (opacities > threshold) & jnp.isfinite(opacities)
  dead = ~alive & alive.any()
  weights = jnp.where(alive, opacities, 0.0)
  # All weights 0 gives some index, which `dead` then ignores.
  drawn = jax.random.choice(
    key, count, (count,), p=weights / jnp.maximum(weights.sum(), 1e-12)
  )
  source = jnp.where(dead, drawn, jnp.arange(count)).astype(jnp.int32)
  copies = jnp.zeros(count, jnp.int32).at[source].add(1)
  # Those that moved share the fate of the one they moved to.
  new_opacities, factor = split(opacities[source], copies[source])
  changed = copies[source] > 1
  # No copy may be born dead.
  new_opacities = jnp.clip(new_opacities, 1.01 * threshold, 1 - 1e-6)
  return Relocation(
    source=source,
    opacities=jnp.where(changed, new_opacities, opacities),
    scales=jnp.where(
      changed[:, None], scales[source] * factor[:, None], scales
    ),
    dead=dead,
    changed=changed,
  )


def split(
  opacities: Float[Array, " n"], copies: Int32[Array, " n"]
) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
  """Opacity and scale of equal copies that look like one (paper, eq. 9).

  n copies of opacity p let through (1 - p)^n = 1 - o in the middle; the factor
  of the scale keeps the integral of 1 - (1 - p g)^n over a line through the
  middle, where g is the Gaussian's profile.

  Args:
    opacities: of the one, in [0, 1).
    copies: how many it becomes, 1 to `MOST` (more count as that).

  Returns:
    Their opacity, and the factor of their scale.
  """
  copies = jnp.clip(copies, 1, MOST)
  opacities = jnp.minimum(opacities, 0.995)
  each = -jnp.expm1(jnp.log1p(-opacities) / copies)
  # sum over j of C(n, j) (-1)^(j + 1) p^j / sqrt(j); the terms stay below
  # (1 + p)^n < 1 / (1 - o), so float32 loses at most three digits.
  order = np.arange(1, MOST + 1, dtype=np.float32)
  terms = _signed_binomials()[copies] * each[:, None] ** order[None]
  total = terms.sum(-1)
  return each, jnp.where(copies > 1, opacities / total, 1.0)


def _signed_binomials() -> Float[Array, "n j"]:
  """C(n, j) (-1)^(j + 1) / sqrt(j) for n = 0..MOST and j = 1..MOST."""
  rows = [
    [math.comb(n, j) * (-1) ** (j + 1) / j**0.5 for j in range(1, MOST + 1)]
    for n in range(MOST + 1)
  ]
  return jnp.asarray(rows, jnp.float32)


def explore(
  key: PRNGKeyArray,
  quats: Float[Array, "n 4"],
  scales: Float[Array, "n 3"],
  opacities: Float[Array, " n"],
) -> Float[Array, "n 3"]:
  """Random steps shaped like the Gaussians, of the faint ones only.

  Args:
    key: of the draw.
    quats: orientations wxyz.
    scales: standard deviations.
    opacities: in [0, 1]; the step fades out around 0.005, as in the paper.

  Returns:
    Covariance times a normal vector times the gate (unit: length squared; the
    caller's factor makes it a length).
  """
  turn = rotation.to_matrix(quats)
  normal = jax.random.normal(key, scales.shape)
  step = jnp.einsum("nij,nj->ni", turn.mT, normal)
  step = jnp.einsum("nij,nj->ni", turn, step * scales**2)
  gate = jax.nn.sigmoid(-100 * (opacities - 0.005))
  return step * gate[:, None]
