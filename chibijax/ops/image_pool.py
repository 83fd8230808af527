"""A buffer of generated pictures that lives on the device.

Shrivastava et al. 2017 and Zhu et al. 2017 (section 4): discriminators are
shown a history of fakes, not only the latest, which damps oscillation. The
buffer is part of the training state, so a restart continues with the same
history. Pictures are kept in float32 exactly as they were generated (50
pictures of 256x256 are 39 MB).
"""

from collections.abc import Callable

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray


class ImagePool(flax.struct.PyTreeNode):
  """A buffer of pictures.

  Attributes:
    images: [N, H, W, C], the stored pictures; zeros where not yet filled.
    count: how many are filled.
  """

  images: Float[Array, "n h w c"]
  count: Int[Array, ""]


def create(size: int, shape: tuple[int, int, int]) -> ImagePool:
  """Makes an empty pool.

  Args:
    size: number of pictures it can hold, >= 1.
    shape: (H, W, C) of a picture.

  Returns:
    The pool.

  Raises:
    ValueError: if `size` < 1.
  """
  if size < 1:
    raise ValueError(f"An image pool holds at least one picture, got {size}.")
  return ImagePool(
    images=jnp.zeros((size, *shape), jnp.float32),
    count=jnp.zeros((), jnp.int32),
  )


def draw(
  key: PRNGKeyArray, batch: int, size: int
) -> tuple[Bool[Array, " b"], Int[Array, " b"]]:
  """Draws the decisions of `exchange` for one batch.

  Args:
    key: typed PRNG key.
    batch: number of pictures of the global batch.
    size: number of pictures the pool can hold.

  Returns:
    (swap, slot): fair coins and uniform positions in [0, size).
  """
  coin, place = jax.random.split(key)
  swap = jax.random.bernoulli(coin, 0.5, (batch,))
  return swap, jax.random.randint(place, (batch,), 0, size)


def exchange(
  pool: ImagePool,
  images: Float[Array, "b h w c"],
  swap: Bool[Array, " b"],
  slot: Int[Array, " b"],
  local: Callable[[Array], Array] = lambda x: x,
) -> tuple[ImagePool, Float[Array, "b2 h w c"]]:
  """Shows pictures to the pool and gets pictures to show the discriminator.

  The pictures are taken one after the other. While the pool is filling, each
  is stored and returned. Later, where `swap` is true, it takes the place of
  the stored picture `slot`, which is returned; elsewhere it is returned and
  not stored. A swap can return a picture of the same batch.

  The sequence is resolved in B x B comparisons of positions, so that only the
  pictures move that are stored or shown, each once, at any batch size.

  Args:
    pool: the buffer.
    images: the latest fakes of the global batch, in [-1, 1].
    swap: decision for each picture, from `draw`.
    slot: position for each picture, from `draw`.
    local: takes the rows of an array [B] that this device shows; all of them
      unless given.

  Returns:
    The new pool and the pictures for the discriminator, in its rows.
  """
  size, batch = pool.images.shape[0], images.shape[0]
  order = jnp.arange(batch)
  filling = pool.count + order < size
  swapping = swap & ~filling
  stored = filling | swapping
  place = jnp.where(filling, pool.count + order, slot)

  # same[i, j]: picture j is also stored where i looks.
  same = (place[:, None] == place[None, :]) & stored[None, :]
  earlier = same & (order[None, :] < order[:, None])

  # What i gets back: the last picture of this batch stored there, else the
  # pool's. -1 stands for "none of this batch".
  last = jnp.where(earlier, order[None, :], -1).max(axis=1)
  source = jnp.where(swapping, last, order)
  source, seen = local(source), local(place)
  shown = jnp.where(
    (source >= 0)[:, None, None, None],
    images[jnp.maximum(source, 0)],
    pool.images[seen],
  )
  # Only the last picture stored at a place stays. The fewer look for their
  # others, as moving a picture costs far more than comparing positions.
  if batch < size:
    replaced = (same & (order[None, :] > order[:, None])).any(axis=1)
    # `size` is out of range and therefore dropped.
    final = jnp.where(stored & ~replaced, place, size)
    kept = pool.images.at[final].set(images, mode="drop")
  else:
    here = stored[None, :] & (place[None, :] == jnp.arange(size)[:, None])
    winner = jnp.where(here, order[None, :], -1).max(axis=1)
    kept = jnp.where(
      (winner >= 0)[:, None, None, None],
      images[jnp.maximum(winner, 0)],
      pool.images,
    )
  count = jnp.minimum(pool.count + batch, size).astype(pool.count.dtype)
  return ImagePool(images=kept, count=count), shown
