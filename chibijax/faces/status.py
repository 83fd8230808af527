"""Whether a found face can be used: size, place, pose and sharpness.

Every threshold was set between measured groups of made cases; the figures are
those of `benchmarks/faces.py`.
"""

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from chibijax.faces import align

# Least distance between the eyes in pixels: a canonical frame of 256 px would
# enlarge such a face 2.5 times.
SMALL = 20.0
# Share of the face (`align.FACE_AREA`) that may lie outside the photo.
CUT_OFF = 0.06
# Largest turn to the side, degrees as estimated: the points that detectors give
# make 60 degrees look like 40 to 60, and 30 like 15 to 35.
PROFILE = 40.0
# Least `sharpness`: photos in focus have 0.016 to 0.2, the same blurred by 5 %
# of the distance between the eyes 0.001 to 0.011.
BLURRED = 0.013

# The five points of a mean head seen from the front, in units of the distance
# between the eyes: x right, y down, z away. x and y are medians over photos of
# people who look at the camera (benchmarks/faces.py), as the detectors see
# them; z is that of ICT-FaceKit's mean head (Li et al. 2020).
HEAD = np.array(
  [
    [-0.5, 0.0, 0.0],
    [0.5, 0.0, 0.0],
    [0.0, 0.59, -0.592],
    [-0.47, 1.02, -0.147],
    [0.47, 1.02, -0.147],
  ]
)
# Side in pixels at which sharpness is measured, where the face has as many.
_SHARP_SIDE = 96


def pose(points: Float[np.ndarray, "5 2"]) -> tuple[float, float, float]:
  """Estimates where a head looks from its five points.

  The affine camera that fits `HEAD` best, in least squares, taken apart as
  roll, then yaw, then pitch. Faces differ in their proportions, so pitch is
  only good to about ten degrees.

  Args:
    points: left eye, right eye, nose, left and right mouth corner in pixels.

  Returns:
    Yaw, pitch and roll in degrees, with the signs of `chibijax.faces.face`;
    zeros when the points all coincide.
  """
  model = HEAD - HEAD.mean(0)
  seen = points.astype(np.float64) - points.mean(0)
  if not np.abs(seen).max() > 1e-6:
    return 0.0, 0.0, 0.0
  camera = (np.linalg.pinv(model) @ seen).T
  roll = np.arctan2(camera[1, 0], camera[0, 0])
  cos, sin = np.cos(roll), np.sin(roll)
  camera = np.array([[cos, sin], [-sin, cos]]) @ camera
  pitch = np.arctan2(camera[1, 2], camera[1, 1])
  # The first row is (cos yaw, ., -sin yaw cos pitch) times the scale.
  yaw = np.arctan2(-camera[0, 2], camera[0, 0] * max(np.cos(pitch), 0.1))
  yaw, pitch, roll = np.degrees([yaw, pitch, roll]).tolist()
  return yaw, pitch, roll


def sharpness(
  photo: UInt8[np.ndarray, "h w 3"],
  transform: Float[np.ndarray, "2 3"],
  size: int,
  margin: float = 0.0,
) -> float:
  """How much fine detail a face has, whatever its size, light and skin.

  The variance of the Laplacian of the face's grey values over the variance of
  the values themselves, with the face resized to a fixed side (never
  enlarged). The division makes it a property of the focus: neither dim light
  nor dark skin, which have less contrast, lower it.

  Args:
    photo: the whole photo.
    transform: from the photo to the canonical frame.
    size: side of the frame in pixels.
    margin: the frame's margin.

  Returns:
    0 for a uniform face, about 0.02 at the limit of use, 0.1 and more in focus.
  """
  left, top, right, bottom = face_area(size, margin)
  scale = float(np.sqrt(abs(np.linalg.det(transform[:, :2]))))
  native = (right - left) / max(scale, 1e-6)
  side = int(np.clip(native, 16, _SHARP_SIDE))
  step = side / (right - left)
  crop = transform * step - np.array([[0, 0, left], [0, 0, top]]) * step
  shape = round((bottom - top) * step), side
  face = Image.fromarray(align.warp(photo, crop, shape)).convert("L")
  grey = _smooth(np.asarray(face, np.float64))
  laplacian = (
    grey[1:-1, :-2] + grey[1:-1, 2:] + grey[:-2, 1:-1] + grey[2:, 1:-1]
  ) - 4 * grey[1:-1, 1:-1]
  # Two grey levels of noise are no detail.
  return float(laplacian.var() / (grey.var() + 4.0))


def outside(
  shape: tuple[int, int],
  inverse: Float[np.ndarray, "2 3"],
  size: int,
  margin: float = 0.0,
) -> float:
  """The share of a face that lies outside its photo.

  Args:
    shape: height and width of the photo.
    inverse: from the canonical frame to the photo.
    size: side of the frame in pixels.
    margin: the frame's margin.

  Returns:
    A value in [0, 1].
  """
  left, top, right, bottom = face_area(size, margin)
  steps = (np.arange(24) + 0.5) / 24
  x, y = np.meshgrid(
    left + (right - left) * steps, top + (bottom - top) * steps
  )
  points = align.move(inverse, np.stack([x, y], -1))
  limit = np.array(shape[::-1])
  return float(1 - ((points >= 0) & (points <= limit)).all(-1).mean())


def face_area(size: int, margin: float = 0.0) -> tuple[float, ...]:
  """Left, top, right and bottom of the face in the canonical frame, pixels."""
  scale = size / (1 + 2 * margin)
  return tuple((edge + margin) * scale for edge in align.FACE_AREA)


def judge(
  *, eye_distance: float, outside: float, yaw: float, sharpness: float
) -> str:
  """The status of a face: its first problem, or "ok".

  Args:
    eye_distance: pixels of the photo, as if the face were seen from the front.
    outside: see `outside`.
    yaw: degrees.
    sharpness: see `sharpness`.

  Returns:
    A word of `chibijax.faces.face.STATUSES` other than "none".
  """
  if eye_distance < SMALL:
    return "small"
  if outside > CUT_OFF:
    return "cut_off"
  if abs(yaw) > PROFILE:
    return "profile"
  return "blurred" if sharpness < BLURRED else "ok"


def _smooth(grey: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h2 w2"]:
  """Binomial filter 1 2 1 both ways: takes the noise of single pixels away."""
  grey = (grey[:-2] + 2 * grey[1:-1] + grey[2:]) / 4
  return (grey[:, :-2] + 2 * grey[:, 1:-1] + grey[:, 2:]) / 4
