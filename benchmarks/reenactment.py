r"""Self- and cross-reenactment of a training, on people it has not seen.

  PYTHONPATH=. python benchmarks/reenactment.py RUN --clips 16 --frames 6 \
    --json OUT.json

The protocol is that of `chibijax.metrics.avatar`: of each clip of the embedded
set (another seed than the training's) the first frame is the source. Heads are
built with the clip's known parameters, as published; what is measured comes
from pictures alone: landmarks by the package's network in the frame that the
driver's known camera gives, expression and rotation by `heads.track` fitted to
them. So AED, APD and AKD do not compare with figures of other networks, and
there is no CSIM, for which nothing that knows people comes with the package.
LPIPS needs its weights, which the environment names (`models.features`).
"copy" is the source itself: what reenactment must beat.
"""

import argparse
import dataclasses
import json
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8

from chibijax.apps import avatar3d
from chibijax.data.heads import ProceduralHeads
from chibijax.errors import UserError
from chibijax.faces import analysis
from chibijax.faces import landmarks as landmark_network
from chibijax.heads import model as head_model
from chibijax.heads import motion, track
from chibijax.heads.procedural import procedural_head
from chibijax.metrics import avatar as metrics
from chibijax.models import features
from chibijax.tasks import avatar_model

Pictures = UInt8[np.ndarray, "n h w 3"]
# Of the embedded set's people that are shown; trainings begin at 0.
SEED = 90_001
# A whole aligned face; smaller pictures are enlarged by the network's frame.
_FAR = 0.25


def draw(
  networks: avatar3d.Networks, clips: int, frames: int
) -> list[list[dict[str, Any]]]:
  """Frames of people, with their parameters."""
  source = ProceduralHeads(
    networks.size, seed=SEED, identities=clips, frames=frames, chibi_share=0.0
  )
  shown = []
  for clip in range(clips):
    character = source.character(clip)
    shown.append([source.frame(clip, k, character) for k in range(frames)])
  return shown


def reenact(
  networks: avatar3d.Networks,
  clips: list[list[dict[str, Any]]],
  pairs: list[metrics.Pair],
) -> tuple[Pictures, Pictures, Pictures]:
  """What is made of pairs, the drivers' frames and the sources."""
  encode = avatar3d.encoder(networks)
  model = networks.model
  K = jnp.asarray(motion.intrinsics(networks.size))[None]

  @jax.jit
  def play(params: Any, head: Any, viewmat: Any, *face: Any) -> jax.Array:
    vertices = model.vertices(*(x[None] for x in face))
    _, fine = model.reenact(params, head, vertices, viewmat[None], K)
    return jnp.round(255 * jnp.clip(fine[0], 0, 1)).astype(jnp.uint8)

  heads: dict[tuple[int, int], Any] = {}
  made, targets, sources = [], [], []
  for pair in pairs:
    first, driver = (clips[c][f] for c, f in pair)
    if pair.source not in heads:
      heads[pair.source] = encode(
        networks.params, first["picture"], first["viewmat"]
      )
    face = driver["expression"], driver["pose"], driver["eyes"]
    drawn = play(
      networks.params, heads[pair.source], driver["viewmat"], first["shape"],
      *face,
    )  # fmt: skip
    made.append(np.asarray(drawn))
    targets.append(driver["picture"])
    sources.append(first["picture"])
  return np.stack(made), np.stack(targets), np.stack(sources)


def lookers(
  clips: list[list[dict[str, Any]]], pairs: list[metrics.Pair], size: int
) -> metrics.Networks:
  """Networks that look where the drivers' heads are known to be."""
  find = landmark_network.load()
  head = procedural_head()
  K = motion.intrinsics(size).astype(np.float64)
  first = []
  for pair in pairs:
    frame = clips[pair.driver[0]][pair.driver[1]]
    owner = clips[pair.source[0]][pair.source[1]]
    vertices = head_model.vertices(
      head, owner["shape"], frame["expression"], frame["pose"], frame["eyes"],
      xp=np,
    )  # fmt: skip
    points = avatar_model.WORLD_SCALE * head_model.landmarks(head, vertices)
    view = frame["viewmat"].astype(np.float64)
    seen = (points @ view[:3, :3].T + view[:3, 3]) @ K.T
    first.append((seen[:, :2] / seen[:, 2:]).astype(np.float32))

  def points(pictures: Pictures) -> Float[np.ndarray, "n 68 2"]:
    found = []
    for picture, start in zip(pictures, first, strict=True):
      marks = analysis.find_landmarks(picture, start, find)
      spread = np.linalg.norm(start - start.mean(0), axis=1).mean()
      far = np.linalg.norm(marks - start, axis=1).mean() > _FAR * spread
      found.append(np.full((68, 2), np.nan) if far else marks)
    return np.stack(found)

  def parameters(pictures: Pictures) -> metrics.Parameters:
    marks = points(pictures)
    # Each picture by itself: a clip's shape would be its driver's.
    rows = [_tracked(head, one, size) for one in marks]
    return metrics.Parameters(*(np.stack(x) for x in zip(*rows)))

  perceptual = _perceptual()
  return metrics.Networks(
    parameters=parameters,
    landmarks=points,
    distance=perceptual,
    names={
      "distance": perceptual.name if perceptual else "",
      "landmarks": "chibijax's landmark network",
      "parameters": "chibijax's landmark network and heads.track",
    },
  )


def _tracked(
  head: head_model.HeadModel, marks: Float[np.ndarray, "68 2"], size: int
) -> tuple[np.ndarray, np.ndarray]:
  """Expression and angles of one picture."""
  count = len(head.expression_names)
  if not np.isfinite(marks).all():
    return np.full(count, np.nan), np.full(3, np.nan)
  found = track.track(head, marks[None], size)
  # From the camera's axes (y down, z in) to the head's.
  turn = np.diag([1.0, -1.0, -1.0]) @ found.viewmats[0, :3, :3]
  return found.expression[0], metrics.angles(turn[None])[0]


def _perceptual() -> Any:
  """A perceptual distance, if the environment names weights of one."""
  for network in ("vgg", "alex", "squeeze"):
    try:
      return features.load_distance(network)
    except UserError:
      continue
  return None


def main() -> None:
  """Measures, prints and writes."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("run", type=pathlib.Path)
  parser.add_argument("--clips", type=int, default=16)
  parser.add_argument("--frames", type=int, default=6)
  parser.add_argument("--json", type=pathlib.Path)
  parser.add_argument("--pictures", type=pathlib.Path)
  options = parser.parse_args()
  networks = avatar3d.load_networks(options.run)
  clips = draw(networks, options.clips, options.frames)
  counts = [len(clip) for clip in clips]
  figures: dict[str, Any] = {
    "training": networks.source.partition("/")[-1].rpartition("/")[-1],
    "clips": options.clips,
    "frames": options.frames,
    "size": networks.size,
  }
  for protocol in ("self", "cross"):
    cross = protocol == "cross"
    pairs = list((metrics.cross_pairs if cross else metrics.self_pairs)(counts))
    made, targets, sources = reenact(networks, clips, pairs)
    eyes = lookers(clips, pairs, networks.size)
    arms = {"reenacted": made} | ({} if cross else {"copy": sources})
    figures[protocol] = {
      arm: {
        name: dataclasses.asdict(found)
        for name, found in metrics.measure(
          pictures, targets, sources, eyes, cross=cross
        ).items()
      }
      for arm, pictures in arms.items()
    }
    if options.pictures:
      _save(options.pictures / f"{protocol}.png", sources, targets, made)
  print(json.dumps(figures, indent=1))
  if options.json:
    options.json.write_text(json.dumps(figures, indent=1) + "\n")


def _save(path: pathlib.Path, *rows: Pictures) -> None:
  """Source, driver and result of some pairs, one below the other."""
  from chibijax.apps import pictures

  chosen = np.linspace(0, len(rows[0]) - 1, 8).astype(int)
  sheet = [np.concatenate(list(row[chosen]), 1) for row in rows]
  pictures.save(path, np.concatenate(sheet, 0))


if __name__ == "__main__":
  main()
