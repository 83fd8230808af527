"""Distances of sets: against other packages, and by their definition."""

import pathlib

import jax
import numpy as np
import pytest
import scipy.linalg

from chibijax.metrics import estimate, fid, kid, precision_recall

GOLDEN = np.load(pathlib.Path(__file__).parent.parent / "golden/metrics.npz")
A, B = GOLDEN["a"], GOLDEN["b"]


def normal(n: int, d: int, seed: int = 0, shift: float = 0.0) -> np.ndarray:
  rng = np.random.default_rng(seed)
  return np.float32(rng.normal(shift, 1, (n, d)))


def test_frechet_is_that_of_clean_fid_and_torch_fidelity() -> None:
  got = fid.frechet(A, B)
  # Theirs take the root of a matrix that is not symmetric, in float64.
  assert got.value == pytest.approx(float(GOLDEN["fid_clean"]), rel=1e-7)
  assert got.value == pytest.approx(float(GOLDEN["fid_fidelity"]), rel=1e-7)
  assert got.n == 160 and got.low is None
  assert "biased upwards at n=160" in got.note


def test_frechet_of_known_gaussians() -> None:
  # Means 3 apart, covariances 4 I and I: 9 + d (2 - 1)^2.
  d = 5
  a = fid.Statistics(np.zeros(d), 4 * np.eye(d), 100)
  b = fid.Statistics(np.eye(d)[0] * 3, np.eye(d), 100)
  assert fid.distance(a, b) == pytest.approx(9 + d, rel=1e-12)
  assert fid.distance(a, a) == pytest.approx(0, abs=1e-12)
  assert fid.distance(a, b) == pytest.approx(fid.distance(b, a), rel=1e-12)


def test_frechet_of_singular_covariances() -> None:
  # Fewer examples than features: two ways that share nothing.
  a, b = normal(12, 40), normal(9, 40, 1, 0.2)
  got = fid.frechet(a, b)
  want = fid.distance(fid.statistics(a), fid.statistics(b))
  # Roots of eigenvalues that are zero up to 1e-16 are zero up to 1e-8.
  assert got.value == pytest.approx(want, rel=1e-6)
  assert "singular" in got.note
  with pytest.raises(ValueError, match="at least two rows"):
    fid.frechet(a[:1], b)


def test_frechet_at_n_draws_and_grows_as_n_falls() -> None:
  small = fid.frechet(A, B, at=40, repeats=8, key=jax.random.key(1))
  large = fid.frechet(A, B, at=120, repeats=8, key=jax.random.key(1))
  assert small.value > large.value > fid.frechet(A, B).value
  assert small.low < small.value < small.high and small.n == 40
  assert "Frechet@40" in small.method
  assert fid.frechet(A, B, at=160).value == pytest.approx(
    fid.frechet(A, B).value
  )
  with pytest.raises(ValueError, match="smaller set has 160"):
    fid.frechet(A, B, at=161)


def test_frechet_agrees_with_the_root_of_the_product() -> None:
  a, b = fid.statistics(A), fid.statistics(B)
  root = scipy.linalg.sqrtm(a.covariance @ b.covariance).real
  gap = a.mean - b.mean
  want = gap @ gap + np.trace(a.covariance + b.covariance - 2 * root)
  assert fid.distance(a, b) == pytest.approx(want, rel=1e-8)


def test_kid_is_that_of_clean_fid_and_torch_fidelity() -> None:
  got = kid.kid(A, B)
  assert got.value == pytest.approx(float(GOLDEN["kid_clean"]), rel=1e-9)
  assert got.value == pytest.approx(float(GOLDEN["kid_fidelity"]), rel=1e-9)
  assert got.details["subsets"] == 1  # All subsets would be the same.


def test_kid_by_its_definition() -> None:
  a, b = normal(7, 3).astype(float), normal(5, 3, 1).astype(float)

  def k(x, y):
    return (x @ y / 3 + 1) ** 3

  def mean(values):
    return sum(values) / len(values)

  within = [
    mean(
      [k(x[i], x[j]) for i in range(len(x)) for j in range(len(x)) if i != j]
    )
    for x in (a, b)
  ]
  want = sum(within) - 2 * mean([k(x, y) for x in a for y in b])
  assert kid.mmd(a, b) == pytest.approx(want, rel=1e-12)


def test_kid_in_blocks_is_unbiased_and_reproducible() -> None:
  whole = kid.mmd(A, B)
  got = kid.kid(A, B, block=40, repeats=200, key=jax.random.key(0))
  assert got.details["block"] == 40
  assert abs(got.value - whole) < 4 * got.details["block_std"] / np.sqrt(200)
  assert got == kid.kid(A, B, block=40, repeats=200, key=jax.random.key(0))
  assert got != kid.kid(A, B, block=40, repeats=200, key=jax.random.key(1))


def test_kid_interval_covers_the_truth() -> None:
  # Two samples of one distribution: the truth is 0. In how many of 60 does the
  # 95 % interval hold it? Below 50 has a chance of 1e-4.
  hits = 0
  for seed in range(60):
    got = kid.kid(normal(50, 4, seed), normal(40, 4, 1000 + seed), repeats=4)
    hits += got.low <= 0 <= got.high
  assert hits >= 50
  far = kid.kid(normal(50, 4), normal(40, 4, 1, 0.7), repeats=4)
  assert far.low > 0 and "only 40 examples" in far.note


def test_rows_at_a_time_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
  a, b = normal(30, 6), normal(25, 6, 1)
  want = kid.mmd(a, b), precision_recall.precision_recall(a, b)
  monkeypatch.setattr(kid, "_ROWS", 7)
  monkeypatch.setattr(precision_recall, "_ROWS", 7)
  assert kid.mmd(a, b) == pytest.approx(want[0], rel=1e-12)
  assert precision_recall.precision_recall(a, b) == want[1]


def test_precision_recall_is_that_of_torch_fidelity() -> None:
  got = precision_recall.precision_recall(A, B)
  assert got.precision.value == pytest.approx(float(GOLDEN["precision"]))
  assert got.recall.value == pytest.approx(float(GOLDEN["recall"]))
  assert 0.05 < got.precision.value < 1 and 0.05 < got.recall.value < 1


def test_precision_and_recall_tell_the_two_failures_apart() -> None:
  real = normal(200, 2)
  narrow = 0.05 * normal(200, 2, 1)  # One mode, and within the real ones.
  got = precision_recall.precision_recall(real, narrow)
  assert got.precision.value > 0.95 and got.recall.value < 0.1
  wide = 4 * normal(200, 2, 1)
  got = precision_recall.precision_recall(real, wide)
  assert got.precision.value < 0.5 and got.recall.value > 0.9
  same = precision_recall.precision_recall(real, real)
  assert same.precision.value == same.recall.value == 1


@pytest.mark.parametrize(
  ("call", "sentence"),
  [
    (lambda: kid.kid(A[:1], B), "two examples"),
    (lambda: kid.kid(A, B, block=1), "two examples"),
    (lambda: fid.frechet(A[:1], B), "at least two rows"),
    (lambda: precision_recall.precision_recall(A[:3], B), "k=3"),
    (lambda: estimate.mean([]), "no values"),
  ],
)
def test_problems_are_sentences(call, sentence: str) -> None:
  with pytest.raises(ValueError, match=sentence):
    call()


def test_mean_has_a_bootstrap_interval() -> None:
  values = np.random.default_rng(0).normal(3, 2, 400)
  got = estimate.mean(values, key=jax.random.key(3))
  half = 1.96 * values.std() / 20
  assert got.value == pytest.approx(values.mean())
  assert got.low == pytest.approx(got.value - half, abs=0.03)
  assert got.high == pytest.approx(got.value + half, abs=0.03)
  one = estimate.mean([2.0])
  assert (one.value, one.low, one.n) == (2.0, None, 1)
  assert str(one) == "2 (n=1)"
