"""Where eyes look, from the middles of their irises in the picture."""

import numpy as np
from jaxtyping import Float, Float32

from chibijax.heads.marks import Fit
from chibijax.heads.model import JOINTS, HeadModel
from chibijax.heads.motion import WORLD_SCALE

# The farthest that eyes turn, radians.
_GAZE = 0.6


def from_irises(
  model: HeadModel,
  fitted: Fit,
  irises: Float[np.ndarray, "n 2 2"],
  focal: float,
) -> Float32[np.ndarray, "n 6"]:
  """Turns of the eyes that put the irises where they are seen.

  The front of an eyeball of the model, which turns about its joint, is put on
  the ray through the iris's middle, from afar.

  Args:
    model: the head; an eye without vertices of its own looks straight ahead.
    fitted: its parameters.
    irises: middles of the left and of the right one in half-pictures; NaN where
      hidden, where the eye looks straight ahead.
    focal: focal length in half-pictures.

  Returns:
    Axis-angle of the left and of the right eye, radians.
  """
  template = np.asarray(model.template)
  s = len(fitted.shape)
  shaped = template + np.asarray(model.shape_basis)[..., :s] @ fitted.shape
  regressor, skinning = np.asarray(model.joint_regressor), model.skinning
  depth = np.exp(fitted.place[:, 2])
  result = np.zeros((len(irises), 6), np.float32)
  for k, name in enumerate(("left_eye", "right_eye")):
    joint = JOINTS.index(name)
    centre = regressor[joint] @ shaped
    ball = np.asarray(skinning)[:, joint] > 0.5
    if not ball.any():
      continue
    radius = WORLD_SCALE * float(shaped[ball, 2].max() - centre[2])
    middle = WORLD_SCALE * fitted.rotation @ centre
    z = middle[:, 2] + depth
    placed = depth[:, None] * fitted.place[:, :2] + focal * middle[:, :2]
    aside = (irises[:, k] - placed / z[:, None]) * z[:, None] / focal / radius
    seen = np.isfinite(aside).all(1)
    aside = np.where(seen[:, None], aside, 0)
    near = np.sqrt(np.maximum(1 - (aside**2).sum(1), 0.2))
    looking = np.concatenate([aside, -near[:, None]], 1)
    looking = np.einsum("nji,nj->ni", fitted.rotation, looking)
    yaw = np.arctan2(looking[:, 0], looking[:, 2])
    pitch = -np.arctan2(looking[:, 1], np.hypot(looking[:, 0], looking[:, 2]))
    turn = np.stack([pitch, yaw], 1).clip(-_GAZE, _GAZE)
    result[:, 3 * k : 3 * k + 2] = np.where(seen[:, None], turn, 0)
  return result
