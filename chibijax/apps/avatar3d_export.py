"""Avatars for other programs: plain RGB Gaussians, distilled from features.

An avatar's Gaussians carry features that only its neural renderer turns into a
picture. Viewers know colours alone, so colours, opacities and sizes are fitted
to what the renderer draws, of many faces and views, by gradients through the
rasterizer. Positions stay, so that the vertices still move their Gaussians.

The rasterizer widens Gaussians by a part of a pixel, of the training's small
pictures. Viewers draw larger ones, in which holes would be left, so that here
the Gaussians themselves are as much wider.
"""

import dataclasses
import functools
import io
import json
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Float32
from tqdm import tqdm

from chibijax.apps import (
  avatar3d_chibi,
  avatar3d_motions,
  pictures,
  splat_files,
)
from chibijax.apps.avatar3d import Player
from chibijax.apps.avatar3d_file import Avatar
from chibijax.errors import UserError
from chibijax.heads import motion as motions
from chibijax.heads.model import HeadModel
from chibijax.heads.motion import Motion
from chibijax.ops import splat
from chibijax.tasks.avatar_model import OPTIONS, AvatarModel

# The constant harmonic, and the signs that degree 1 takes when y and z turn.
_C0 = 0.28209479177387814
_TURNED = np.array([1, -1, -1, 1], np.float32)
# Learning rates of Adam.
_RATES = {"sh": 0.02, "opacity": 0.03, "scale": 0.01}
# Furthest views that are fitted, degrees.
_YAW, _PITCH = 40.0, 15.0
_BATCH = 2
# What is less opaque is left out: it would not change a byte of a picture.
_FAINT = 1 / 255


@dataclasses.dataclass(frozen=True, eq=False)
class Plain:
  """RGB Gaussians of an avatar.

  Attributes:
    gaussians: with `sh`; the last `moving` of them lie on the vertices of the
      photo's face.
    moving: number of vertices.
    before: PSNR of these Gaussians, coloured by the features' first three
      channels, against the renderer's pictures, on views and faces that were
      not fitted, dB.
    after: of the distilled Gaussians, on the same.
  """

  gaussians: splat.Gaussians
  moving: int
  before: float
  after: float

  def at(self, vertices: Float[np.ndarray, "v 3"]) -> splat.Gaussians:
    """The Gaussians of another face.

    Args:
      vertices: of it, in the world.
    """
    fixed = np.asarray(self.gaussians.means)[: -self.moving]
    means = np.concatenate([fixed, vertices]).astype(np.float32)
    return dataclasses.replace(self.gaussians, means=means)


def distill(
  avatar: Avatar,
  model: AvatarModel,
  *,
  steps: int = 200,
  views: int = 24,
  degree: int = 0,
  seed: int = 0,
  progress: bool = False,
) -> Plain:
  """Fits RGB Gaussians to what the renderer draws of an avatar.

  Args:
    avatar: any avatar.
    model: from `avatar3d.load_model`.
    steps: of Adam; 0 takes the features' first three channels.
    views: pictures that are fitted; a quarter as many are held out.
    degree: of the spherical harmonics, 0 (the same from everywhere) or 1.
    seed: of the views.
    progress: whether a bar is shown.

  Returns:
    The Gaussians; those that nobody could see, and those of the photo's
    background, are left out.

  Raises:
    UserError: if the degree is neither, or there are no steps and views.
  """
  if degree not in (0, 1) or steps < 0 or views < 1:
    raise UserError(
      "Distilling takes degree 0 or 1, steps >= 0 and views >= 1, got "
      f"{degree}, {steps} and {views}."
    )
  player = Player(avatar, model)
  shots = _shots(avatar, model, views + max(views // 4, 1), seed)
  seen = _targets(player, shots)
  keep = np.tile(avatar.inside.reshape(-1), 2)
  vertices = avatar3d_chibi.posed(model.head, avatar.face).astype(np.float32)
  fixed, first = _start(avatar, keep, degree)
  fixed["widened"] = _widening(vertices, avatar.face.viewmat, player.size)
  draw = _drawer(player.size)
  held = {k: v[views:] for k, v in seen.items()}
  fitted = {k: v[:views] for k, v in seen.items()}
  before = _psnr(draw, fixed, first, held)
  params = _fit(draw, fixed, first, fitted, steps, seed, progress)
  after = _psnr(draw, fixed, params, held)
  scene = _scene(fixed, params, fitted["vertices"][0])
  plain = Plain(jax.tree.map(np.asarray, scene), len(vertices), before, after)
  return _pruned(dataclasses.replace(plain, gaussians=plain.at(vertices)))


def write_splats(path: str | pathlib.Path, scene: splat.Gaussians) -> None:
  """Writes Gaussians of the world for viewers, which turn y and z round.

  Args:
    path: a `.ply` or `.spz`.
    scene: RGB Gaussians with `sh` of degree 0 or 1, y up.

  Raises:
    UserError: if it cannot be written.
  """
  flip = np.array([1, -1, -1], np.float32)
  sh = np.asarray(scene.sh)
  splat_files.write(
    path,
    dataclasses.replace(
      scene,
      means=np.asarray(scene.means) * flip,
      quats=np.asarray(scene.quats) * np.array([1, 1, -1, -1], np.float32),
      sh=sh * _TURNED[None, : sh.shape[1], None],
    ),
  )


def write_rig(
  folder: pathlib.Path, plain: Plain, head: HeadModel, motion: Motion
) -> None:
  """Writes Gaussians at rest and all that a viewer needs to move them.

  `head.ply` and `rig.npz` (means_rest, expression_basis, skinning, joints,
  parents: the head model's with the avatar's shape, in metres, for the last
  `moving` Gaussians, whose world is 5 times that; motion of the frames), and
  `rig.json` that says so.

  Args:
    folder: made when absent.
    plain: from `distill`.
    head: the head model with the avatar's shape (`Player.posed_head`).
    motion: frames that are added.

  Raises:
    UserError: if a file cannot be written.
  """
  write_splats(folder / "head.ply", plain.gaussians)
  stream = io.BytesIO()
  template = np.asarray(head.template)
  np.savez_compressed(
    stream,
    template=template,
    expression_basis=np.asarray(head.expression_basis),
    pose_basis=np.asarray(head.pose_basis),
    skinning=np.asarray(head.skinning),
    joints=np.asarray(head.joint_regressor) @ template,
    parents=np.array(head.parents, np.int32),
    faces=np.asarray(head.faces),
    motion_expression=motion.expression,
    motion_pose=motion.pose,
    motion_eyes=motion.eyes,
    motion_viewmats=motion.viewmats,
  )
  pictures.write(folder / "rig.npz", stream.getvalue())
  told = {
    "format": "chibijax rig",
    "version": 1,
    "head": head.name,
    "moving": plain.moving,
    "moving_are": "the last Gaussians of head.ply, one for each vertex",
    "world_scale": motions.WORLD_SCALE,
    "axes": "rig: x right, y up, z out of the face; head.ply: y down, z in",
    "expressions": list(head.expression_names),
    "joints": ["global", "neck", "jaw", "left_eye", "right_eye"],
    "fps": motion.fps,
    "focal": motions.FOCAL,
  }
  text = json.dumps(told, indent=2) + "\n"
  pictures.write(folder / "rig.json", text.encode())


def write_frames(
  folder: pathlib.Path,
  plain: Plain,
  player: Player,
  motion: Motion,
  suffix: str = ".ply",
) -> int:
  """Writes one file of splats for each frame of a motion.

  Args:
    folder: made when absent; the files are 00000.ply and so on.
    plain: from `distill`.
    player: the avatar's.
    motion: the frames.
    suffix: ".ply" or ".spz".

  Returns:
    The number of frames.
  """
  for k, vertices in enumerate(frame_vertices(player, motion)):
    write_splats(folder / f"{k:05d}{suffix}", plain.at(vertices))
  return len(motion)


def frame_vertices(
  player: Player, motion: Motion
) -> Float32[np.ndarray, "n v 3"]:
  """The vertices of every frame, in the world."""
  rows = zip(motion.expression, motion.pose, motion.eyes, strict=True)
  return np.stack([np.asarray(player.vertices(*row))[0] for row in rows])


def _shots(avatar: Avatar, model: AvatarModel, count: int, seed: int) -> Motion:
  """Faces and views: the demonstration's, from around the photo's."""
  film = avatar3d_motions.demo(avatar, model.head)
  rng = np.random.default_rng(seed)
  chosen = rng.choice(len(film), count, replace=count > len(film))
  yaw, pitch = np.radians([[_YAW], [_PITCH]]) * rng.uniform(-1, 1, (2, count))
  # The photo's own face and view are the best that there is.
  yaw[0] = pitch[0] = 0
  views = avatar3d_motions.turned(avatar, model.head, yaw, pitch)
  film = dataclasses.replace(
    film,
    expression=np.array(film.expression[chosen]),
    pose=np.array(film.pose[chosen]),
    eyes=film.eyes[chosen],
    viewmats=views,
    valid=film.valid[chosen],
  )
  film.expression[0], film.pose[0] = avatar.face.expression, avatar.face.pose
  film.eyes[0] = avatar.face.eyes
  return film


def _targets(player: Player, shots: Motion) -> dict[str, np.ndarray]:
  """What is to be fitted: vertices, cameras and the renderer's pictures."""
  vertices = frame_vertices(player, shots)
  views = shots.viewmats
  fine = [
    player.fine(player.coarse(v[None], w)) for v, w in zip(vertices, views)
  ]
  return {"vertices": vertices, "viewmats": views, "pictures": np.stack(fine)}


def _start(
  avatar: Avatar, keep: np.ndarray, degree: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
  """What stays, and what is fitted: the features' colours to begin with."""
  lifted, moving = avatar.gaussians.lifted, avatar.gaussians.moving

  def joined(name: str) -> np.ndarray:
    rows = getattr(lifted, name)[0][keep], moving[name][0]
    return np.concatenate(rows).astype(np.float32)

  colors = np.clip(joined("colors")[:, :3], 0, 1)
  sh = np.zeros((len(colors), (degree + 1) ** 2, 3), np.float32)
  sh[:, 0] = (colors - 0.5) / _C0
  opacity = np.clip(joined("opacities"), 1e-4, 1 - 1e-4)
  quats = joined("quats")
  quats /= np.maximum(np.linalg.norm(quats, axis=-1, keepdims=True), 1e-12)
  fixed = {"means": np.asarray(lifted.means[0][keep]), "quats": quats}
  scale = np.log(np.maximum(joined("scales"), 1e-5))
  logit = np.log(opacity / (1 - opacity))
  return fixed, {"sh": sh, "opacity": logit, "scale": scale}


def _widening(
  vertices: Float[np.ndarray, "v 3"],
  viewmat: Float[np.ndarray, "4 4"],
  size: int,
) -> np.float32:
  """The variance that the rasterizer adds, in the world, at the head."""
  depth = float((vertices @ viewmat[2, :3]).mean() + viewmat[2, 3])
  pixel = depth / float(motions.intrinsics(size)[0, 0])
  return np.float32(OPTIONS.eps2d * pixel**2)


def _scene(
  fixed: dict[str, Any], params: dict[str, Any], vertices: Any
) -> splat.Gaussians:
  return splat.Gaussians(
    means=jnp.concatenate([fixed["means"], vertices]),
    quats=fixed["quats"],
    scales=jnp.sqrt(jnp.exp(2 * params["scale"]) + fixed["widened"]),
    opacities=jax.nn.sigmoid(params["opacity"]),
    sh=params["sh"],
  )


def _drawer(size: int) -> Callable[..., Float[Array, "s s 3"]]:
  """Draws one face from one camera, without widening again."""
  K = motions.intrinsics(size)
  options = dataclasses.replace(OPTIONS, eps2d=0.0)

  def draw(
    fixed: dict[str, Any], params: dict[str, Any], vertices: Any, viewmat: Any
  ) -> Float[Array, "s s 3"]:
    camera = splat.Camera(viewmat, jnp.asarray(K), size, size)
    scene = _scene(fixed, params, vertices)
    return splat.rasterize(scene, camera, options).image

  return draw


def _fit(
  draw: Callable[..., Array],
  fixed: dict[str, np.ndarray],
  first: dict[str, np.ndarray],
  seen: dict[str, np.ndarray],
  steps: int,
  seed: int,
  progress: bool,
) -> dict[str, Array]:
  """Minimises the L1 distance to the pictures."""
  optimizers = {
    k: optax.adam(optax.cosine_decay_schedule(v, max(steps, 1), 0.1))
    for k, v in _RATES.items()
  }
  optimizer = optax.multi_transform(optimizers, {k: k for k in _RATES})

  def loss(params: dict[str, Array], fixed: Any, batch: Any) -> Array:
    wanted = batch["pictures"].astype(jnp.float32) / 255
    made = [
      draw(fixed, params, v, view)
      for v, view in zip(batch["vertices"], batch["viewmats"])
    ]
    return jnp.abs(jnp.stack(made) - wanted).mean()

  @functools.partial(jax.jit, donate_argnums=(0, 1))
  def update(params: Any, state: Any, fixed: Any, batch: Any) -> Any:
    grads = jax.grad(loss)(params, fixed, batch)
    changes, state = optimizer.update(grads, state, params)
    return optax.apply_updates(params, changes), state

  params = jax.tree.map(jnp.array, first)
  state, rng = optimizer.init(params), np.random.default_rng(seed)
  count = len(seen["pictures"])
  for _ in tqdm(range(steps), unit="step", disable=not progress):
    rows = rng.choice(count, _BATCH, replace=count < _BATCH)
    batch = {k: v[rows] for k, v in seen.items()}
    params, state = update(params, state, fixed, batch)
  return params


def _psnr(
  draw: Callable[..., Array],
  fixed: dict[str, np.ndarray],
  params: dict[str, Any],
  seen: dict[str, np.ndarray],
) -> float:
  """The mean over pictures, dB."""
  picture = jax.jit(draw)
  values = []
  for k in range(len(seen["pictures"])):
    made = picture(fixed, params, seen["vertices"][k], seen["viewmats"][k])
    off = np.clip(np.asarray(made), 0, 1) - seen["pictures"][k] / 255
    values.append(-10 * np.log10(max(float((off * off).mean()), 1e-10)))
  return float(np.mean(values))


def _pruned(plain: Plain) -> Plain:
  """Leaves out what cannot be seen; every vertex keeps its Gaussian."""
  opacities = np.asarray(plain.gaussians.opacities)
  kept = opacities > _FAINT
  kept[-plain.moving :] = True
  scene = jax.tree.map(lambda x: np.asarray(x)[kept], plain.gaussians)
  return dataclasses.replace(plain, gaussians=scene)
