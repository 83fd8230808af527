"""The image pool against the reference's sequential definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chibijax.ops import image_pool


class SequentialPool:
  """The reference's semantics, one picture after the other, in NumPy."""

  def __init__(self, size: int):
    self.size, self.images = size, []

  def query(self, images, swap, slot):
    shown = []
    for image, chosen, place in zip(images, swap, slot):
      if len(self.images) < self.size:
        self.images.append(image)
        shown.append(image)
      elif chosen:
        shown.append(self.images[place])
        self.images[place] = image
      else:
        shown.append(image)
    return np.stack(shown)


def _pictures(start: int, count: int) -> np.ndarray:
  ids = np.arange(start, start + count, dtype=np.float32)
  return np.broadcast_to(ids[:, None, None, None], (count, 2, 3, 1)).copy()


@pytest.mark.parametrize(("size", "batch"), [(5, 1), (5, 2), (4, 7), (3, 16)])
def test_equals_the_sequential_definition(size: int, batch: int) -> None:
  ours = image_pool.create(size, (2, 3, 1))
  theirs = SequentialPool(size)

  @jax.jit
  def exchange(*args):
    # A device may ask for its rows only.
    _, rows = image_pool.exchange(*args, local=lambda x: x[-1:])
    return *image_pool.exchange(*args), rows

  for step in range(12):
    key = jax.random.fold_in(jax.random.key(1), step)
    swap, slot = image_pool.draw(key, batch, size)
    images = _pictures(step * batch, batch)
    ours, shown, rows = exchange(ours, jnp.asarray(images), swap, slot)
    expected = theirs.query(images, np.asarray(swap), np.asarray(slot))
    assert np.array_equal(shown, expected)
    assert np.array_equal(rows, expected[-1:])
    filled = len(theirs.images)
    assert int(ours.count) == filled
    assert np.array_equal(ours.images[:filled], np.stack(theirs.images))


def test_half_of_the_pictures_come_from_the_past() -> None:
  size, steps, batch = 50, 200, 8
  pool = image_pool.create(size, (1, 1, 1))

  def body(pool, step):
    key = jax.random.fold_in(jax.random.key(3), step)
    ids = (step * batch + jnp.arange(batch)).astype(jnp.float32)
    pool, shown = image_pool.exchange(
      pool, ids.reshape(-1, 1, 1, 1), *image_pool.draw(key, batch, size)
    )
    return pool, ids - shown.reshape(-1)

  _, ages = jax.lax.scan(body, pool, jnp.arange(steps))
  ages = np.asarray(ages)[10:]
  assert np.all(ages >= 0)
  # 1520 fair coins: 0.5 with a standard error of 0.013. A stored picture
  # waits 100 pictures on average: its slot is drawn with chance 1/2 * 1/50.
  assert abs((ages > 0).mean() - 0.5) < 0.06
  assert 60 < ages[ages > 0].mean() < 140


def test_draw_is_uniform_over_the_slots() -> None:
  swap, slot = image_pool.draw(jax.random.key(0), 5000, 10)
  counts = np.bincount(np.asarray(slot), minlength=10)
  assert counts.min() > 400
  assert counts.max() < 600
  assert abs(float(swap.mean()) - 0.5) < 0.03


def test_refuses_an_empty_pool() -> None:
  with pytest.raises(ValueError, match="at least one"):
    image_pool.create(0, (4, 4, 3))
