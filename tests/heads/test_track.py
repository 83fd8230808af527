"""Tracking: known parameters come back from the landmarks they make."""

import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial import transform

from chibijax.errors import UserError
from chibijax.heads import fit, gaze, marks, sampling, smoothing, track
from chibijax.heads.model import HeadModel, landmarks, vertices
from chibijax.heads.procedural import procedural_head

SIZE = 512


@functools.cache
def model() -> HeadModel:
  return procedural_head()


@functools.cache
def head() -> marks.Marks:
  return marks.prepare(model())


def project(points: np.ndarray, viewmats: np.ndarray) -> np.ndarray:
  """Pixels of points [n, k, 3] of the head's frame."""
  turned = 5 * points @ viewmats[:, :3, :3].transpose(0, 2, 1)
  turned = turned + viewmats[:, None, :3, 3]
  return 6 * SIZE * turned[..., :2] / turned[..., 2:] + SIZE / 2


def clip(n: int, seed: int = 0, *, turn: float = 25) -> types.SimpleNamespace:
  """A person who moves smoothly, and the landmarks of the mesh."""
  rng = np.random.default_rng(seed)
  shape = sampling.sample_shape(rng, model(), chibi=False)
  ends = [sampling.sample_motion(rng, model()) for _ in range(3)]
  t = np.linspace(0, 1, n)
  mix = np.stack([(1 - t) ** 2, 2 * t * (1 - t), t**2], 1).astype(np.float32)
  expression = mix @ np.stack([e.expression for e in ends])
  expression[:, model().expression_names.index("jaw_drop")] = 0
  pose = mix @ np.stack([e.pose for e in ends])
  angles = mix @ np.radians(rng.uniform(-turn, turn, (3, 3)) * [1, 0.5, 0.4])
  viewmats = np.tile(np.eye(4), (n, 1, 1))
  for matrix, angle in zip(viewmats, angles, strict=True):
    matrix[:3, :3] = np.diag([1, -1, -1]) @ sampling.rotation(*angle)
    matrix[:3, 3] = 0.2, -0.1, 9.5
  moved = vertices(
    model(), shape[None], expression, pose, np.zeros((1, 6), "f"), xp=np
  )
  seen = project(landmarks(model(), moved), viewmats)
  return types.SimpleNamespace(
    shape=shape,
    expression=expression,
    pose=pose,
    viewmats=viewmats,
    vertices=moved,
    landmarks=seen,
  )


def degrees(a: np.ndarray, b: np.ndarray) -> np.ndarray:
  """Angles between rotations."""
  cosine = (np.einsum("nij,nij->n", a[:, :3, :3], b[:, :3, :3]) - 1) / 2
  return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def mesh_error(found: track.Track, truth: types.SimpleNamespace) -> float:
  """Mean distance in pixels between the projected front halves of meshes."""
  own = vertices(
    model(), found.shape[None], found.expression, found.pose,
    np.zeros((1, 6), "f"), xp=np,
  )  # fmt: skip
  front = np.asarray(model().template)[:, 2] > 0.03
  front &= np.abs(np.asarray(model().template)[:, 1]) < 0.1
  off = project(own, found.viewmats) - project(truth.vertices, truth.viewmats)
  return float(np.linalg.norm(off[:, front], axis=-1).mean())


def test_marks_are_the_models_landmarks() -> None:
  truth = clip(2, 4)
  pose = truth.pose.copy()
  pose[:, 3:] += [0.1, 0.05, 0.02]
  moved = vertices(
    model(), truth.shape[None], truth.expression, pose,
    np.zeros((1, 6), "f"), xp=np,
  )  # fmt: skip
  skin = jax.jit(jax.vmap(marks.skin, (None, None, 0, 0)))
  given = truth.shape, truth.expression, pose[:, 3:]
  found = skin(head(), *(jnp.asarray(x) for x in given))
  np.testing.assert_allclose(
    found[:, :68], landmarks(model(), moved), atol=1e-7
  )


def test_known_parameters_are_found_despite_noise_and_outliers() -> None:
  truth = clip(40, 1)
  rng = np.random.default_rng(2)
  seen = truth.landmarks + rng.normal(0, 1, truth.landmarks.shape)
  for frame in seen:
    wrong = rng.choice(68, 5, replace=False)
    frame[wrong] += rng.normal(0, 60, (5, 2))
  seen = seen.astype(np.float32)
  found = track.track(model(), seen, SIZE)
  assert found.seen.all()
  # Without outliers the error of a landmark's fit is below its noise of 1.25.
  assert mesh_error(found, truth) < 1.6
  assert degrees(found.viewmats, truth.viewmats).mean() < 1.5
  jaw = np.degrees(np.abs(found.pose[:, 3] - truth.pose[:, 3]))
  assert jaw.mean() < 2.5
  assert not found.pose[:, :3].any()
  assert not found.eyes.any()


def test_a_step_is_gauss_and_newtons() -> None:
  """Against 64-bit numerical derivatives of the whole mesh, in NumPy."""
  truth = clip(1, 3, turn=0)
  focal, damping, width = 12.0, 1e-3, 1e6
  s, e = len(head().shape_sigma), len(head().expression_sigma)
  at = marks.Fit(
    rotation=np.diag([1.0, -1.0, -1.0]).astype(np.float32)[None],
    place=np.array([[0.02, -0.01, 2.25]], np.float32),
    jaw=np.array([[0.05, 0.0, 0.0]], np.float32),
    expression=np.full((1, e), 0.1, np.float32),
    shape=np.full(s, 0.1, np.float32),
  )
  seen = (truth.landmarks / (SIZE / 2) - 1).astype(np.float32)
  # The outline is a matter of choices; without it all is the mesh's.
  weights = np.ones((1, 68), np.float32)
  weights[:, :17] = 0
  step = jax.jit(fit.step, static_argnames="shaped")
  moved, before = step(
    head(), at, seen, weights, focal, np.full(1, damping, "f"), width, True
  )

  def off(x: np.ndarray) -> np.ndarray:
    turn = transform.Rotation.from_rotvec(x[:3]).as_matrix()
    pose = np.concatenate([np.zeros(3), at.jaw[0] + x[6:9]])
    skin = vertices(
      wide(), at.shape + x[9 + e :], at.expression[0] + x[9 : 9 + e], pose,
      np.zeros(6), xp=np,
    )  # fmt: skip
    place = at.place[0] + x[3:6]
    points = 5 * landmarks(wide(), skin) @ (turn @ at.rotation[0]).T
    depth = np.exp(place[2])
    points = points + np.array([*(place[:2] * depth / focal), depth])
    found = focal * points[:, :2] / points[:, 2:]
    return ((found - seen[0])[17:] / fit.NOISE).ravel()

  size = 9 + e + s
  columns = np.stack(
    [(off(1e-5 * v) - off(-1e-5 * v)) / 2e-5 for v in np.eye(size)], 1
  )
  value = off(np.zeros(size))
  sigma = np.concatenate(
    [np.full(6, 1e9), [0.2, 0.03, 0.01], head().expression_sigma,
     head().shape_sigma]
  )  # fmt: skip
  prior = np.concatenate([np.zeros(6), at.jaw[0], at.expression[0], at.shape])
  matrix = columns.T @ columns + np.diag(1 / sigma**2)
  matrix += damping * np.diag(np.diag(matrix))
  expected = -np.linalg.solve(matrix, columns.T @ value + prior / sigma**2)
  cost = (value**2).sum() + (prior**2 / sigma**2).sum()
  assert float(before.sum()) == pytest.approx(cost, rel=1e-4)
  found = np.concatenate(
    [moved.place[0] - at.place[0], moved.jaw[0] - at.jaw[0],
     moved.expression[0] - at.expression[0], moved.shape - at.shape]
  )  # fmt: skip
  # 32 bits solve a system of condition 1e5.
  np.testing.assert_allclose(found, expected[3:], atol=2e-3)
  turn = transform.Rotation.from_matrix(moved.rotation[0] @ at.rotation[0].T)
  np.testing.assert_allclose(turn.as_rotvec(), expected[:3], atol=1e-3)


@functools.cache
def wide() -> HeadModel:
  """The landmarks' vertices in 64 bits."""
  return jax.tree.map(
    lambda x: x.astype(np.float64) if x.dtype == np.float32 else x,
    model().reduced_to_landmarks(),
  )


@pytest.mark.slow
def test_steps_are_the_same_without_jit() -> None:
  truth = clip(1, 3)
  seen = (truth.landmarks / (SIZE / 2) - 1).astype(np.float32)
  weights = np.ones((1, 68), np.float32)

  def run(seen: np.ndarray) -> marks.Fit:
    first = fit.start(
      head(), seen, weights, 12.0, np.zeros_like(head().shape_sigma)
    )
    return fit.solve(head(), first, seen, weights, 12.0, steps=2)[0]

  compiled = jax.jit(run)(seen)
  with jax.disable_jit():
    eager = run(seen)
  for one, other in zip(
    jax.tree.leaves(compiled), jax.tree.leaves(eager), strict=True
  ):
    # Sums in another order.
    np.testing.assert_allclose(one, other, atol=2e-3)


def test_frames_without_a_face_are_filled_in() -> None:
  truth = clip(40, 5)
  seen = truth.landmarks.astype(np.float32)
  seen[10:14] = np.nan
  seen[-20:] = np.nan
  found = track.track(model(), seen, SIZE)
  assert (~found.seen[10:14]).all()
  assert found.seen.sum() == 16
  assert np.isnan(found.error[10:14]).all()
  assert degrees(found.viewmats, truth.viewmats)[10:14].max() < 2
  # A long gap keeps what was seen last.
  assert (found.viewmats[20:] == found.viewmats[20]).all()
  motion = found.motion(25.0, model().name)
  assert (motion.valid == found.seen).all()


def test_no_face_is_a_sentence() -> None:
  nothing = np.full((3, 68, 2), np.nan)
  with pytest.raises(UserError, match="no face was found in any of the 3 f"):
    track.track(model(), nothing, SIZE)
  with pytest.raises(UserError, match="no face was found in the photo"):
    track.track(model(), nothing[:1], SIZE)


def test_gaze_comes_from_irises() -> None:
  truth = clip(1, 6)
  eyes = np.array([[-0.2, 0.3, 0, -0.2, 0.25, 0]], np.float32)
  posed = [
    vertices(model(), truth.shape[None], truth.expression, truth.pose, e, xp=np)
    for e in (eyes, 0 * eyes)
  ]
  # The iris is where the front of the ball is at rest.
  irises = []
  for k in (3, 4):
    ball = np.asarray(model().skinning)[:, k] > 0.5
    front = np.where(ball, posed[1][0][:, 2], -1).argmax()
    irises.append(posed[0][0][front])
  seen = project(np.array(irises)[None], truth.viewmats) / (SIZE / 2) - 1
  view = truth.viewmats[0]
  place = [*(12 * view[:2, 3] / view[2, 3]), np.log(view[2, 3])]
  at = marks.Fit(
    view[None, :3, :3], np.array([place]), truth.pose[:, 3:],
    truth.expression, truth.shape,
  )  # fmt: skip
  found = gaze.from_irises(model(), at, seen, 12.0)
  # The front is a vertex near the axis, not on it.
  np.testing.assert_allclose(found, eyes, atol=0.06)
  hidden = gaze.from_irises(model(), at, np.full((1, 2, 2), np.nan), 12.0)
  assert not hidden.any()


def test_smoothing_takes_jitter_and_lags_no_frame() -> None:
  rng = np.random.default_rng(0)
  seen = np.ones(200, bool)
  noise = rng.normal(0, 1, (200, 2))
  times = np.array([0.08, 0.03])
  still = smoothing.smooth(noise, seen, times, fps=25.0, limit=10)
  steps = np.diff(still, axis=0).std(0) / np.diff(noise, axis=0).std(0)
  assert steps[0] < 0.25
  assert steps[0] < steps[1] < 0.9
  step = (np.arange(200) >= 100).astype(float)[:, None]
  moved = smoothing.smooth(step, seen, times[:1], fps=25.0, limit=10)[:, 0]
  assert abs(int((moved > 0.5).argmax()) - 100) <= 1
  assert abs(moved[90] - 0) < 0.05
  assert abs(moved[110] - 1) < 0.05
  line = np.arange(200.0)[:, None]
  seen[50:58] = False
  ramp = smoothing.smooth(line, seen, times[:1], fps=25.0, limit=10)
  np.testing.assert_allclose(ramp[10:-10], line[10:-10], atol=0.05)


def test_crops_put_the_head_in_the_middle() -> None:
  truth = clip(3, 7)
  # As a larger video has it: three times as large, elsewhere.
  whole = (3 * truth.landmarks + [400, 100]).astype(np.float32)
  maps = track.crop(model(), whole, np.ones(3, bool))
  assert maps.shape == (3, 2, 3)
  origin = 3 * project(np.zeros((3, 1, 3)), truth.viewmats)[:, 0] + [400, 100]
  middle = np.einsum("nij,nj->ni", maps[:, :, :2], origin) + maps[:, :, 2]
  np.testing.assert_allclose(middle, 0.5, atol=0.06)
  # The true distance is 9.5, and the crop's 9.3.
  zoom = maps[:, 0, 0] * 3 * SIZE
  np.testing.assert_allclose(zoom, 9.5 / 9.3, rtol=0.1)
