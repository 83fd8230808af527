r"""Reenactment: frames a second of an avatar that is built, by stage.

  PYTHONPATH=. python benchmarks/avatar3d.py --sizes small --json OUT.json

The speed does not depend on what the networks learnt, so they are untrained,
and the photo is noise. "paper" has 180,255 Gaussians of 32 channels with FLAME;
with the procedural head, which is used here, 4,451 vertices in place of 5,023.
"frame" is everything from a face's parameters to a picture on the host, and
frames are asked for one after the other; the stages are timed alone, each until
its result is there. Medians; `load` says how busy the machine was.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from chibijax.apps import (
  avatar3d,
  avatar3d_build,
  avatar3d_file,
  avatar3d_motions,
  avatar3d_photo,
)
from chibijax.tasks import avatar
from configs import gagavatar

VARIANTS = {"small": "small", "middle": "middle", "paper": ""}
GOALS = {"small": 25.0, "paper": 300.0}
_BUILDS = 3


def untrained(variant: str, dtype: str) -> avatar3d.Networks:
  """Networks with random weights, without DINOv2's file."""
  config = gagavatar.get_config(variant)
  config.model.changes.renderer_dtype = dtype
  config = avatar3d.own_config(config)
  model = avatar.build(config).model
  params = jax.jit(model.init)(jax.random.key(0))
  return avatar3d.Networks(model, params, config, False, 0, "untrained")


def median_ms(call: Callable[[int], Any], count: int) -> float:
  """Milliseconds of a call whose results are waited for."""
  times = []
  for k in range(count + 1):
    start = time.perf_counter()
    jax.block_until_ready(call(k))
    times.append(1000 * (time.perf_counter() - start))
  return float(np.median(times[1:]))


def measure(name: str, frames: int, dtype: str) -> dict[str, Any]:
  """All figures of one size."""
  networks = untrained(VARIANTS[name], dtype)
  size = networks.size
  rng = np.random.default_rng(0)
  picture = rng.integers(0, 255, (size, size, 3), dtype=np.uint8)
  head = networks.model.head
  view, _ = avatar3d_photo.home_view(head)
  zeros = (len(head.shape_names), len(head.expression_names), 6, 6)
  face = avatar3d_file.Face(*(np.zeros(n, np.float32) for n in zeros), view)
  encode = avatar3d.encoder(networks)
  build = median_ms(lambda _: encode(networks.params, picture, view), _BUILDS)
  made = avatar3d.build(networks, picture, face, {})
  player = avatar3d.Player(made, networks.model)
  film = avatar3d_motions.demo(made, head)
  chosen = np.linspace(0, len(film) - 1, frames + 1).astype(int)
  parts = ("expression", "pose", "eyes", "viewmats", "valid")
  film = dataclasses.replace(
    film, **{k: getattr(film, k)[chosen] for k in parts}
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
    "renderer": median_ms(lambda k: player.fine(coarse[k % 2]), frames),
    "frame": median_ms(lambda k: np.asarray(player(*rows[k])), frames),
  }
  start = time.perf_counter()
  count = sum(1 for _ in avatar3d_build.frames(player, film))
  return {
    "gaussians": avatar3d_file.count(made),
    "channels": networks.model.config.channels,
    "size": size,
    "renderer_dtype": dtype,
    "build_ms": build,
    "stages_ms": stages,
    "frames_per_s": 1000 / stages["frame"],
    "film_frames_per_s": count / (time.perf_counter() - start),
    "frames": frames,
    "goal_frames_per_s": GOALS.get(name),
  }


def main() -> None:
  """Measures, prints and writes."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--sizes", nargs="+", default=["small"], choices=VARIANTS)
  parser.add_argument("--frames", type=int, default=60)
  parser.add_argument("--dtype", default="float32", help="of the renderer")
  parser.add_argument("--json", type=pathlib.Path)
  options = parser.parse_args()
  device = jax.devices()[0]
  figures: dict[str, Any] = {
    name: measure(name, options.frames, options.dtype) for name in options.sizes
  }
  figures |= {
    "device": f"{device.platform} {device.device_kind}",
    "cores": os.cpu_count(),
    "load": os.getloadavg(),
  }
  print(json.dumps(figures, indent=1))
  if options.json:
    options.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
  main()
