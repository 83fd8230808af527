r"""A head of one photo: how long it takes to build and to move, by stage.

  PYTHONPATH=. python benchmarks/avatar3d.py --sizes small paper --json OUT.json

Networks are untrained, and the photo is noise. "paper" is the whole of the
published system: DINOv2 B/14, a head of FLAME's size (5,023 vertices, 300
shapes, 100 expressions; made up, as the file may not be passed on) and so
180,255 Gaussians of 32 channels at 512 px.

"frame" is everything from a face's parameters to a picture on the host, and
frames are asked for one after the other; the stages are timed alone, each until
its result is there. The expression branch sees the photo alone, so it is a
stage of the build. Medians; `load` says how busy the machine was.

Networks cost the same whatever they learnt; Gaussians do not. Untrained ones
have sigmas of half the largest scale, 8 px at 512 px, and a trained `:small`
(step 838) has three quarters below the distance of neighbours on its plane. So
"splat" is the untrained head's, "splat_fitted" that of a head all of whose
Gaussians have that distance as their sigma.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import resource
import tempfile
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from chibijax.apps import (
  avatar3d,
  avatar3d_build,
  avatar3d_file,
  avatar3d_motions,
  avatar3d_photo,
)
from chibijax.heads import flame, motion
from chibijax.heads.procedural import procedural_head
from chibijax.models import avatar as nets
from chibijax.ops import lifting
from chibijax.tasks import avatar
from configs import gagavatar

VARIANTS = {"small": "small", "middle": "middle", "paper": ""}
GOALS = {"small": 25.0, "paper": 300.0}
_BUILDS = 3
# FLAME's vertices.
_VERTICES = 5023
# Of a camera from the world's origin, as the published data's.
_DISTANCE = 9.3


def untrained(variant: str, dtype: str, head: str) -> avatar3d.Networks:
  """Networks with random weights, without DINOv2's file.

  Args:
    variant: of `configs/gagavatar.py`.
    dtype: of the renderer.
    head: as `model.head` of the config.
  """
  config = gagavatar.get_config(variant)
  config.model.changes.renderer_dtype = dtype
  config = avatar3d.own_config(config, head)
  model = avatar.build(config).model
  params = jax.jit(model.init)(jax.random.key(0))
  return avatar3d.Networks(model, params, config, False, 0, "untrained")


def write_flame(folder: pathlib.Path) -> str:
  """Writes a head of FLAME's size; its name for `model.head`.

  The procedural head with further vertices, and bases of noise.
  """
  own, rng = procedural_head(), np.random.default_rng(0)
  rows = np.arange(_VERTICES) % len(own.template)
  bases = (3, flame.SHAPES + flame.EXPRESSIONS)
  regressor = np.zeros((len(own.joint_regressor), _VERTICES), np.float32)
  regressor[:, : len(own.template)] = own.joint_regressor
  parents = np.array(own.parents)
  file = folder / "flame_sized.npz"
  np.savez(
    file,
    v_template=np.asarray(own.template)[rows],
    shapedirs=1e-4 * rng.normal(size=(_VERTICES, *bases)).astype(np.float32),
    posedirs=1e-4 * rng.normal(size=(_VERTICES, 3, 36)).astype(np.float32),
    J_regressor=regressor,
    weights=np.asarray(own.skinning)[rows],
    f=np.asarray(own.faces),
    kintree_table=np.stack([parents, np.arange(len(parents))]),
  )
  embedding = {
    "full_lmk_faces_idx": np.asarray(own.landmark_faces)[None],
    "full_lmk_bary_coords": np.asarray(own.landmark_barycentric)[None],
  }
  np.save(folder / flame.EMBEDDING, embedding, allow_pickle=True)
  return f"flame:{file}"


def median_ms(call: Callable[[int], Any], count: int) -> float:
  """Milliseconds of a call whose results are waited for."""
  times = []
  for k in range(count + 1):
    start = time.perf_counter()
    jax.block_until_ready(call(k))
    times.append(1000 * (time.perf_counter() - start))
  return float(np.median(times[1:]))


def build_stages(
  networks: avatar3d.Networks, picture: np.ndarray, view: np.ndarray
) -> dict[str, float]:
  """Milliseconds of what a build consists of."""
  model, params = networks.model, networks.params
  K = motion.intrinsics(networks.size)
  sides = (networks.size, networks.size)
  image = jnp.asarray(picture, jnp.float32)[None] / 255
  _, normal = lifting.plane(view[None], K[None], sides, model.config.plane)
  code = jax.block_until_ready(nets.direction_code(normal))
  times = {}

  def run(name: str, *given: jax.Array) -> Any:
    net, own = jax.jit(getattr(model, name).apply), {"params": params[name]}
    times[name] = median_ms(lambda _: net(own, *given), _BUILDS)
    return net(own, *given)

  plane, whole = run("encoder", image)
  run("lifting", plane, code)
  run("expression", whole, code)
  return times


def fitted(made: avatar3d_file.Avatar, size: int) -> avatar3d_file.Avatar:
  """The same head, its Gaussians as wide as neighbours are apart."""
  head = made.gaussians
  apart = size / np.sqrt(head.lifted.means.shape[1] / 2)
  sigma = np.float32(apart * _DISTANCE / motion.intrinsics(size)[0, 0])
  lifted = dataclasses.replace(
    head.lifted, scales=np.full_like(head.lifted.scales, sigma)
  )
  moving = head.moving | {"scales": np.full_like(head.moving["scales"], sigma)}
  return dataclasses.replace(
    made, gaussians=head.replace(lifted=lifted, moving=moving)
  )


def measure(
  name: str, frames: int, dtype: str, head_name: str
) -> dict[str, Any]:
  """All figures of one size."""
  networks = untrained(VARIANTS[name], dtype, head_name)
  size = networks.size
  rng = np.random.default_rng(0)
  picture = rng.integers(0, 255, (size, size, 3), dtype=np.uint8)
  head = networks.model.head
  view, _ = avatar3d_photo.home_view(head)
  zeros = (len(head.shape_names), len(head.expression_names), 6, 6)
  face = avatar3d_file.Face(*(np.zeros(n, np.float32) for n in zeros), view)
  encode = avatar3d.encoder(networks)
  build = median_ms(lambda _: encode(networks.params, picture, view), _BUILDS)
  parts = build_stages(networks, picture, view)
  print(f"{name}: built in {build:.0f} ms", parts, flush=True)
  made = avatar3d.build(networks, picture, face, {})
  player = avatar3d.Player(made, networks.model)
  close = avatar3d.Player(fitted(made, size), networks.model)
  film = avatar3d_motions.demo(made, head)
  chosen = np.linspace(0, len(film) - 1, frames + 1).astype(int)
  film = dataclasses.replace(
    film,
    **{
      k: getattr(film, k)[chosen]
      for k in ("expression", "pose", "eyes", "viewmats", "valid")
    },
  )
  rows = list(
    zip(film.expression, film.pose, film.eyes, film.viewmats, strict=True)
  )
  vertices = [player.vertices(*row[:3]) for row in rows[:2]]
  coarse = [player.coarse(v, rows[0][3]) for v in vertices]
  stages = {
    "vertices": median_ms(lambda k: player.vertices(*rows[k][:3]), frames),
    "splat": median_ms(
      lambda k: player.coarse(vertices[k % 2], rows[k][3]), frames
    ),
    "splat_fitted": median_ms(
      lambda k: close.coarse(vertices[k % 2], rows[k][3]), frames
    ),
    "renderer": median_ms(lambda k: player.fine(coarse[k % 2]), frames),
    "frame": median_ms(lambda k: np.asarray(player(*rows[k])), frames),
    "frame_fitted": median_ms(lambda k: np.asarray(close(*rows[k])), frames),
  }
  start = time.perf_counter()
  count = sum(1 for _ in avatar3d_build.frames(player, film))
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  return {
    "gaussians": avatar3d_file.count(made),
    "channels": networks.model.config.channels,
    "size": size,
    "head": head.name,
    "renderer_dtype": dtype,
    "build_ms": build,
    "build_stages_ms": parts,
    "stages_ms": stages,
    "frames_per_s": 1000 / stages["frame"],
    "fitted_frames_per_s": 1000 / stages["frame_fitted"],
    "film_frames_per_s": count / (time.perf_counter() - start),
    "frames": frames,
    "goal_frames_per_s": GOALS.get(name),
    "load": os.getloadavg(),
    "process_peak_mib": peak / 1024,
  }


def main() -> None:
  """Measures, prints and writes."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--sizes", nargs="+", default=["small"], choices=VARIANTS)
  parser.add_argument("--frames", type=int, default=60)
  parser.add_argument("--dtype", default="float32", help="of the renderer")
  parser.add_argument(
    "--json", type=pathlib.Path, help="sizes that are in it are kept"
  )
  options = parser.parse_args()
  device = jax.devices()[0]
  figures: dict[str, Any] = {}
  if options.json and options.json.exists():
    known = json.loads(options.json.read_text())
    figures = {name: known[name] for name in VARIANTS if name in known}
  with tempfile.TemporaryDirectory() as folder:
    heads = {"paper": write_flame(pathlib.Path(folder))}
    for name in options.sizes:
      figures[name] = measure(
        name, options.frames, options.dtype, heads.get(name, "procedural")
      ) | {
        "device": f"{device.platform} {device.device_kind}",
        "cores": len(os.sched_getaffinity(0)),
      }
      if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
  print(json.dumps(figures, indent=1))


if __name__ == "__main__":
  main()
