"""How the invisible mark is spelled: its waves, its words, and decoding.

Internal to `chibijax.post.watermark`, whose docstring explains the whole.
"""

import dataclasses
import functools
import math

import numpy as np
from jaxtyping import Bool, Float, Float32, Int8

PAYLOAD_BITS = 16
# A picture without a mark is taken for one with it at most this often.
FALSE_ALARMS = 1e-6
# Waves of 1.5, 2.5 and 3.5 half cycles in a window of two cells, every cell,
# both ways: lower ones are seen as spots, higher ones do not survive a small
# copy. A cell is an eighth of the side.
CELLS, FREQUENCIES, GRID = 8, (1, 2, 3), 128
_KEY = 0x63686962  # "chib"


@dataclasses.dataclass(frozen=True)
class Watermark:
  """What `detect` read.

  Attributes:
    found: whether there is a mark; wrong for a picture without one in at most
      three of a million pictures.
    payload: 0..65535, or None when nothing was found.
    p_value: bound on the chance that a picture without a mark looks as marked.
    agreement: share of the waves, 0..1, that vote for the word read; 0.5 and a
      little more in a picture without a mark, 1 in an untouched copy.
    bits: share of the 32 bits, 0..1, that are those of the word read before
      anything is corrected: the bit accuracy where the payload is right.
    kept: the side of this picture as a share of the original's, horizontally
      and vertically: (1, 1) unless it was found to be cropped.
  """

  found: bool
  payload: int | None
  p_value: float
  agreement: float
  bits: float = 0.5
  kept: tuple[float, float] = (1.0, 1.0)


def wave_values(at: Float[np.ndarray, "n"]) -> Float[np.ndarray, "waves n"]:
  """The 1-D waves at positions in 0..1: 7 windows of 3 frequencies each.

  The modulated lapped transform's functions (Malvar 1990), sine window and
  all, made zero-mean with the squared window, so that brightness and broad
  shading do not reach them. Their squares integrate to 1/128: orthonormal on
  the 128-pixel grid, apart from that correction.
  """
  starts = np.arange(CELLS - 1)[:, None, None] / CELLS
  # Position in the window of two cells, 0..2.
  t = (at[None, None] - starts) * CELLS
  inside = (t >= 0) & (t <= 2)
  window = np.where(inside, np.sin(np.pi * np.clip(t, 0, 2) / 2), 0)
  k = np.array(FREQUENCIES)[None, :, None] + 0.5
  cell = GRID // CELLS
  waves = window * np.cos(np.pi * k * (t + 0.5)) * math.sqrt(2 / cell)
  # Means over the window in closed form would be longer than this sum.
  fine = (np.arange(512) + 0.5) / 256
  shape = np.sin(np.pi * fine / 2)
  means = np.cos(np.pi * k[0] * (fine + 0.5)) @ shape / np.sum(shape**2)
  waves -= means[None, :, None] * window**2 * math.sqrt(2 / cell)
  return waves.reshape(-1, len(at))


@dataclasses.dataclass(frozen=True)
class Layout:
  """Which wave carries which bit, and its dither, derived from the key."""

  rows: np.ndarray
  columns: np.ndarray
  bits: np.ndarray
  dither: np.ndarray


@functools.lru_cache(maxsize=1)
def carriers() -> Layout:
  """The layout, always the same."""
  random = np.random.Generator(np.random.Philox(_KEY))
  count = len(FREQUENCIES)
  waves = np.arange((CELLS - 1) * count)
  rows, columns = (a.ravel() for a in np.meshgrid(waves, waves, indexing="ij"))
  # The highest diagonal frequency is the first to go in a small copy.
  kept = (rows % count + columns % count) < 2 * (count - 1)
  rows, columns = rows[kept], columns[kept]
  bits = random.permutation(np.arange(len(rows)) % 32)
  dither = random.random(len(rows)).astype(np.float32)
  return Layout(rows, columns, bits, dither)


def votes_of(
  values: Float32[np.ndarray, "*n carriers"], step: float
) -> Float32[np.ndarray, "*n carriers"]:
  """Each wave's vote: 1 for a set bit, -1 for a clear one, 0 undecided."""
  turns = values / np.float32(step) - carriers().dither
  return np.cos(np.float32(2 * np.pi) * turns)


@functools.lru_cache(maxsize=1)
def generator() -> Int8[np.ndarray, "16 32"]:
  """Generator of RM(2, 5), as bits: 1, five variables, their ten products."""
  x = (np.arange(32)[:, None] >> np.arange(5)) & 1
  rows = [np.ones(32, int), *x.T]
  rows += [x[:, i] & x[:, j] for i in range(5) for j in range(i)]
  return np.array(rows, np.int8)


def encode(payload: int) -> Int8[np.ndarray, "32"]:
  """A payload's word as signs: 1 for a set bit, -1 for a clear one."""
  message = (payload >> np.arange(PAYLOAD_BITS)) & 1
  return np.asarray(2 * (message @ generator() % 2) - 1, np.int8)


@functools.lru_cache(maxsize=1)
def _cosets() -> tuple[
  Float32[np.ndarray, "1024 32"], Float32[np.ndarray, "32 32"]
]:
  """(-1)^f over all quadratic forms f, and over all linear ones."""
  linear, quadratic = generator()[1:6], generator()[6:]
  tables = []
  for rows in (quadratic, linear):
    messages = (np.arange(1 << len(rows))[:, None] >> np.arange(len(rows))) & 1
    tables.append((1 - 2 * (messages @ rows % 2)).astype(np.float32))
  return tables[0], tables[1]


def likeliest(sums: Float32[np.ndarray, "32"]) -> tuple[int, float]:
  """The payload whose word agrees best with votes for the 32 bits.

  All 65536 words are tried: a Hadamard transform for each quadratic form gives
  all linear ones, and the sign the constant.

  Args:
    sums: votes for each bit to be set, see `bit_sums`.

  Returns:
    The payload, and its score: the votes' sum with the word's signs.
  """
  quadratic, linear = _cosets()
  scores = (quadratic * sums) @ linear.T
  form, slope = np.unravel_index(np.argmax(np.abs(scores)), scores.shape)
  score = float(scores[form, slope])
  # A set bit's sign is -(-1)^bit.
  payload = int(form) << 6 | int(slope) << 1 | int(score > 0)
  return payload, abs(score)


def bit_sums(
  votes: Float32[np.ndarray, "*n carriers"],
) -> Float32[np.ndarray, "*n 32"]:
  """Votes added up bit by bit."""
  layout = carriers()
  table = np.eye(32, dtype=np.float32)[layout.bits]
  return votes @ table


def strongest(
  votes: Float32[np.ndarray, "n carriers"],
) -> Float32[np.ndarray, "carriers"]:
  """Of several ways of looking, the one whose bits are clearest."""
  return votes[np.argmax(np.sum(bit_sums(votes) ** 2, axis=-1))]


def decide(
  votes: Float32[np.ndarray, "carriers"],
  visible: Bool[np.ndarray, "carriers"] | None,
  looks: int,
) -> Watermark:
  """The likeliest word, and how likely it is to be chance.

  Args:
    votes: see `votes_of`.
    visible: the waves that lie in the picture; None for all.
    looks: how many ways of looking the votes were chosen from.
  """
  used = np.ones(votes.shape, bool) if visible is None else visible
  sums = bit_sums(np.where(used, votes, np.float32(0)))
  payload, score = likeliest(sums)
  count = int(used.sum())
  z_squared_half = score**2 / count
  chance = math.log(looks) + PAYLOAD_BITS * math.log(2) - z_squared_half
  p_value = math.exp(min(0.0, chance))
  word = encode(payload)
  bits = float(np.mean(sums * word > 0))
  agreement = float(np.mean((votes * word[carriers().bits] > 0)[used]))
  found = p_value < FALSE_ALARMS
  return Watermark(found, payload if found else None, p_value, agreement, bits)


def better(a: Watermark, b: Watermark) -> Watermark:
  """The reading that is less likely to be chance."""
  return a if a.p_value <= b.p_value else b
