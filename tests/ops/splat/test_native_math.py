"""The mathematics that CPU and GPU share, compiled here in float64.

Every vjp is compared with central differences, and the test of an ellipse
against a block of pixels with all its pixels.
"""

import ctypes
import pathlib
import shutil
import subprocess

import numpy as np
import pytest

HERE = pathlib.Path(__file__).parent
NATIVE = HERE.parents[2] / "chibijax" / "ops" / "splat" / "native"
MODELS = {"pinhole": 0, "ortho": 1, "fisheye": 2}
# Central differences of step 1e-6 err by about 1e-9 of the function.
TOLERANCE = 2e-6


class Options(ctypes.Structure):
  """ProjectOptions of splat_math.h."""

  _fields_ = [
    ("camera_model", ctypes.c_int),
    ("antialiased", ctypes.c_bool),
    ("normalize_quats", ctypes.c_bool),
    *(
      (name, ctypes.c_float)
      for name in (
        *("width", "height", "eps2d", "near_plane", "far_plane"),
        "radius_clip",
      )
    ),
  ]


@pytest.fixture(scope="module")
def library(tmp_path_factory):
  compiler = shutil.which("g++") or shutil.which("clang++")
  if compiler is None:
    pytest.skip("no C++ compiler")
  target = tmp_path_factory.mktemp("math") / "libmath.so"
  command = [compiler, "-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror"]
  command += ["-fPIC", "-shared", f"-I{NATIVE}"]
  command += [str(HERE / "math_harness.cc"), "-o", str(target)]
  subprocess.run(command, check=True)
  return ctypes.CDLL(str(target))


def pointer(x: np.ndarray) -> ctypes.c_void_p:
  return x.ctypes.data_as(ctypes.c_void_p)


def options(model="pinhole", antialiased=False, normalize=True) -> Options:
  return Options(
    MODELS[model], antialiased, normalize, 40, 30, 0.3, 0.01, 1e10, 0.0
  )


def gaussian(seed: int, point: tuple[float, float, float]) -> np.ndarray:
  """A random Gaussian at a point in camera axes, and a random camera."""
  r = np.random.default_rng(seed)
  rotation = np.linalg.qr(r.normal(size=(3, 3)))[0]
  rotation *= np.sign(np.linalg.det(rotation))
  translation = r.normal(size=3)
  mean = rotation.T @ (np.array(point) - translation)
  quat, scale = r.normal(size=4), np.exp(r.normal(size=3) - 1.5)
  intrinsics = [45.0, 50.0, 18.0, 16.0]
  return np.concatenate(
    [mean, quat, scale, [0.8], rotation.ravel(), translation, intrinsics]
  )


def differences(function, x: np.ndarray, v: np.ndarray) -> np.ndarray:
  """The gradient of <v, function(x)> by central differences."""
  step, out = 1e-6, np.zeros_like(x)
  for i in range(x.size):
    up, down = x.copy(), x.copy()
    up.flat[i] += step
    down.flat[i] -= step
    out.flat[i] = (function(up) - function(down)) @ v / (2 * step)
  return out


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("antialiased", [True, False])
@pytest.mark.parametrize(
  ("model", "point"),
  [
    ("pinhole", (0.2, -0.1, 2.0)),
    ("pinhole", (1.6, 0.3, 2.0)),  # held at the right
    ("pinhole", (-1.5, -1.2, 2.0)),  # held at the left and at the top
    ("ortho", (0.2, -0.1, 2.0)),
    ("fisheye", (0.3, -0.2, 2.0)),  # near the axis: series
    ("fisheye", (1e-4, -2e-4, 2.0)),
    ("fisheye", (1.1, 0.9, 2.0)),  # far from it
  ],
)
def test_projection_vjp(library, model, point, antialiased, normalize):
  o = options(model, antialiased, normalize)
  x = gaussian(3, point)
  if not normalize:
    x[3:7] *= 1.2
  v = np.random.default_rng(4).normal(size=7)

  def project(x):
    out = np.zeros(9)
    library.project64(ctypes.byref(o), pointer(x), pointer(out))
    return out[:7]

  out = np.zeros(9)
  assert library.project64(ctypes.byref(o), pointer(x), pointer(out))
  got = np.zeros(27)
  library.project_vjp64(ctypes.byref(o), pointer(x), pointer(v), pointer(got))
  expected = differences(project, x, v)
  np.testing.assert_allclose(
    got, expected, rtol=TOLERANCE, atol=TOLERANCE * np.abs(expected).max()
  )


def test_projected_covariance_is_that_of_the_jacobian(library):
  """The conic against J R_c R_q diag(s^2) R_q^T R_c^T J^T in NumPy."""
  x = gaussian(5, (0.2, -0.1, 2.0))
  out = np.zeros(9)
  o = options()
  library.project64(ctypes.byref(o), pointer(x), pointer(out))
  w, *v = x[3:7] / np.linalg.norm(x[3:7])
  v = np.array(v)
  cross = np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])
  rotation = np.eye(3) + 2 * w * cross + 2 * cross @ cross
  camera = x[11:20].reshape(3, 3)
  px, py, pz = camera @ x[:3] + x[20:23]
  fx, fy, cx, cy = x[23:]
  jacobian = np.array([[fx / pz, 0, -fx * px / pz**2],
                       [0, fy / pz, -fy * py / pz**2]])  # fmt: skip
  factor = jacobian @ camera @ rotation @ np.diag(x[7:10])
  covariance = factor @ factor.T + np.float32(0.3) * np.eye(2)
  conic = np.linalg.inv(covariance)
  expected = [fx * px / pz + cx, fy * py / pz + cy]
  expected += [conic[0, 0], conic[0, 1], conic[1, 1], 0.8, pz]
  np.testing.assert_allclose(out[:7], expected, rtol=1e-12)
  extent = np.sqrt(2 * np.log(255 * 0.8) * np.diag(covariance))
  np.testing.assert_array_equal(out[7:], np.ceil(extent))


@pytest.mark.parametrize(
  ("index", "value"),
  [
    *((i, value) for i in (0, 3, 7, 10) for value in (np.nan, np.inf)),
    (10, 0.0),  # below 1/255
    (22, -50.0),  # behind
    (20, 500.0),  # beside the picture
  ],
)
def test_drops(library, index, value):
  x = gaussian(3, (0.2, -0.1, 2.0))
  x[index] = value
  out = np.full(9, 7.0)
  o = options()
  assert not library.project64(ctypes.byref(o), pointer(x), pointer(out))
  np.testing.assert_array_equal(out, 0)


def test_pixel_vjp(library):
  """Eight Gaussians at a pixel, one of them at the limit of alpha."""
  n, r = 8, np.random.default_rng(6)
  x = np.zeros((n, 8))
  x[:, :2] = r.normal(size=(n, 2)) * 0.5
  x[:, 2], x[:, 3], x[:, 4] = 0.6, r.uniform(-0.3, 0.3, n), 0.9
  x[:, 5:] = r.uniform(0.1, 0.5, (n, 3))
  x[3, :2], x[3, 5] = 0.05, 1.2
  v, limit = r.normal(size=3), ctypes.c_double(0.9)

  def composite(x):
    out = np.zeros(3)
    library.composite64(n, pointer(x), limit, pointer(out))
    return out

  got = np.zeros_like(x)
  library.composite_vjp64(n, pointer(x), limit, pointer(v), pointer(got))
  assert np.all(got[3, :6] == 0) and np.all(got[4, :6] != 0)
  expected = differences(composite, x, v)
  np.testing.assert_allclose(got, expected, rtol=TOLERANCE, atol=1e-8)


def test_ellipses_miss_no_pixel(library):
  """Round ones, needles of any direction, and far or huge ones."""
  r = np.random.default_rng(8)
  size, side, area, blocks = 64, 4, 0, 0
  for _ in range(1500):
    angle, longest = r.uniform(0, np.pi), 10 ** r.uniform(-0.2, 3.5)
    axes = np.array([longest, max(0.55, longest * 10 ** r.uniform(-4, 0))])
    c, s = np.cos(angle), np.sin(angle)
    turn = np.array([[c, -s], [s, c]])
    covariance = turn @ np.diag(axes**2) @ turn.T
    conic = np.linalg.inv(covariance)[[0, 0, 1], [0, 1, 1]].astype(np.float32)
    opacity = float(r.uniform(1 / 255, 1))
    extent = np.sqrt(2 * np.log(max(255 * opacity, 1)))
    radius = np.ceil(extent * np.sqrt(np.diag(covariance))).astype(np.float32)
    middle = r.uniform(-0.3, 1.3, 2) * size
    seen, hits = ctypes.c_int(), ctypes.c_int()
    missed = library.missed_pixels(
      pointer(conic),
      ctypes.c_float(opacity),
      pointer(radius),
      *map(ctypes.c_float, middle),
      *(size, side, ctypes.byref(seen), ctypes.byref(hits)),
    )
    assert missed == 0, (conic, opacity, middle)
    area, blocks = area + seen.value, blocks + hits.value
  # It is a test and not just "yes": blocks that are hit are mostly seen.
  assert area > 0.7 * blocks * side * side
