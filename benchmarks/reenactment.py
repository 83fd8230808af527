r"""Self- and cross-reenactment of a training, on people it has not seen.

  PYTHONPATH=. python benchmarks/reenactment.py RUN --clips 16 --frames 6 \
    --json benchmarks/reenactment.json --pictures FOLDER

The protocol is that of `chibijax.metrics.avatar`: of each clip of the embedded
set (another seed than the training's) the first frame is the source. Heads are
built with the clip's known parameters, as published; what is measured comes
from pictures alone: landmarks by the package's network in the frame that the
known camera gives, expression and rotation by `heads.fit` of one picture. So
AED, APD and AKD do not compare with figures of other networks, and there is no
CSIM, for which nothing that knows people comes with the package. LPIPS needs
its weights, which the environment names (`models.features`). AKD is in pixels
of the pictures' own size.

"copy" is the source itself: what reenactment must beat. "drawn" is the source's
person as the set draws it with the driver's face and camera, which people in
films cannot be asked for: in cross-reenactment the least that can be measured,
as the networks err there too, and a picture to compare with ("against_drawn").
Intervals are bootstraps over clips, whose frames are alike.
"""

import argparse
import dataclasses
import json
import operator
import os
import pathlib
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8
from tqdm import tqdm

from chibijax.apps import avatar3d
from chibijax.data.heads import ProceduralHeads
from chibijax.errors import UserError
from chibijax.faces import align
from chibijax.faces import landmarks as landmark_network
from chibijax.heads import appearance, fit, marks, motion
from chibijax.heads import model as head_model
from chibijax.heads.procedural import procedural_head
from chibijax.metrics import avatar as metrics
from chibijax.models import features

Pictures = UInt8[np.ndarray, "n h w 3"]
Points = Float[np.ndarray, "n 68 2"]
Frame = dict[str, Any]
# What drives a head, besides the camera.
MOVED = ("expression", "pose", "eyes")
# Of the embedded set's people that are shown; trainings begin at 0.
SEED = 90_001
# Pictures of a compiled call; the last ones are filled up.
BATCH, FITS = 8, 32
# Landmarks farther off than this, in sizes of the face, are none.
_FAR = 0.25
# Steps of a photo's fit, as in `heads.track`.
_STEPS = 25


class Clips(NamedTuple):
  """People and their frames, the first of which is the source.

  Attributes:
    people: one each.
    frames: of each, with their parameters.
  """

  people: list[appearance.Character]
  frames: list[list[Frame]]

  def of(self, place: tuple[int, int]) -> Frame:
    """The frame of a pair's half."""
    return self.frames[place[0]][place[1]]


def draw(size: int, clips: int, frames: int) -> Clips:
  """Draws frames of people, with their parameters."""
  source = ProceduralHeads(
    size, seed=SEED, identities=clips, frames=frames, chibi_share=0.0
  )
  people, shown = [], []
  for clip in tqdm(range(clips), "drawing", unit="clip"):
    people.append(source.character(clip))
    shown.append([source.frame(clip, k, people[-1]) for k in range(frames)])
  return Clips(people, shown)


def drawn_as(
  clips: Clips, pairs: Sequence[metrics.Pair], size: int
) -> Pictures:
  """Sources' people as they look with the drivers' faces and cameras."""
  K, made = motion.intrinsics(size), []
  for pair in tqdm(pairs, "drawing the truth", unit="frame"):
    face = clips.of(pair.driver)
    given = (face[k] for k in (*MOVED, "viewmat"))
    person = clips.people[pair.source[0]]
    made.append(appearance.draw(person, *given, K, size).rgb)
  return np.stack(made)


def parts(count: int, size: int) -> Iterator[np.ndarray]:
  """Numbers below `count`, `size` at a time, the last repeated to fill up."""
  for start in range(0, count, size):
    yield np.minimum(np.arange(start, start + size), count - 1)


class Actor:
  """Heads of a training that are built and driven, several at once."""

  def __init__(self, networks: avatar3d.Networks) -> None:
    """Compiles nothing yet.

    Args:
      networks: the training's.
    """
    model, self._params = networks.model, networks.params
    K = jnp.asarray(motion.intrinsics(networks.size))
    self._K = jnp.tile(K[None], (BATCH, 1, 1))

    @jax.jit
    def build(params: Any, picture: Array, viewmat: Array) -> Any:
      unit = picture.astype(jnp.float32) / 255
      return model.encode(params, unit, viewmat, self._K)

    @jax.jit
    def play(params: Any, head: Any, viewmat: Array, *face: Array) -> Array:
      vertices = model.vertices(*face)
      _, fine = model.reenact(params, head, vertices, viewmat, self._K)
      return jnp.round(255 * jnp.clip(fine, 0, 1)).astype(jnp.uint8)

    self._build, self._play = build, play

  def __call__(
    self, clips: Clips, pairs: Sequence[metrics.Pair]
  ) -> tuple[Pictures, float]:
    """Reenacts pairs; also seconds of a frame once all is compiled."""
    owners = sorted({pair.source for pair in pairs})
    built = []
    for chosen in parts(len(owners), BATCH):
      first = [clips.of(owners[i]) for i in chosen]
      given = (_stacked(first, k) for k in ("picture", "viewmat"))
      built.append(self._build(self._params, *given))
    heads = jax.tree.map(lambda *x: np.concatenate(x), *built)
    made, seconds = [], []
    batches = list(parts(len(pairs), BATCH))
    for chosen in tqdm(batches, "reenacting", unit="batch"):
      rows = [pairs[i] for i in chosen]
      whose = np.array([owners.index(row.source) for row in rows])
      faces = [clips.of(row.driver) for row in rows]
      given = (
        _stacked(faces, "viewmat"),
        _stacked([clips.of(row.source) for row in rows], "shape"),
        *(_stacked(faces, k) for k in MOVED),
      )
      chosen_heads = jax.tree.map(operator.itemgetter(whose), heads)
      start = time.perf_counter()
      made.append(np.asarray(self._play(self._params, chosen_heads, *given)))
      seconds.append((time.perf_counter() - start) / BATCH)
    pictures = np.concatenate(made)[: len(pairs)]
    return pictures, float(np.median(seconds))


def _stacked(rows: Sequence[Frame], name: str) -> np.ndarray:
  return np.stack([row[name] for row in rows])


def places(whose: Sequence[Frame], faces: Sequence[Frame], size: int) -> Points:
  """Landmarks, in pixels, of people with given faces and cameras."""
  head = procedural_head()
  given = (_stacked(faces, k) for k in MOVED)
  shape = _stacked(whose, "shape")
  vertices = head_model.vertices(head, shape, *given, xp=np)
  points = motion.WORLD_SCALE * head_model.landmarks(head, vertices)
  view = _stacked(faces, "viewmat").astype(np.float64)
  seen = points @ view[:, :3, :3].swapaxes(1, 2) + view[:, None, :3, 3]
  seen = seen @ motion.intrinsics(size).T
  return (seen[..., :2] / seen[..., 2:]).astype(np.float32)


class Looker:
  """Networks that look at pictures where their heads are known to be."""

  def __init__(self, size: int) -> None:
    """Reads the networks.

    Args:
      size: side of the pictures.
    """
    self.size = size
    self._find = landmark_network.load()
    self._head = marks.prepare(procedural_head())
    self._known: list[tuple[Pictures, Points, metrics.Parameters]] = []

  def look(self, pictures: Pictures, where: Points) -> None:
    """Looks at pictures that will be measured.

    Args:
      pictures: any; what is measured must be these very objects.
      where: landmarks of the head model in them, from `places`.
    """
    found = self._landmarks(pictures, where)
    self._known.append((pictures, found, self._fitted(found)))

  @property
  def networks(self) -> metrics.Networks:
    """What `metrics.measure` asks."""
    perceptual = _perceptual()
    return metrics.Networks(
      parameters=lambda x: self._of(x)[1],
      landmarks=lambda x: self._of(x)[0],
      distance=perceptual,
      names={
        "distance": perceptual.name if perceptual else "",
        "landmarks": "chibijax's landmark network",
        "parameters": "chibijax's landmark network and heads.fit",
      },
    )

  def _of(self, pictures: Pictures) -> tuple[Points, metrics.Parameters]:
    for known, *found in self._known:
      if known is pictures:
        return tuple(found)
    raise ValueError("These pictures were not looked at before.")

  def _landmarks(self, pictures: Pictures, where: Points) -> Points:
    """What the network finds; NaN where that is not the head."""
    size, margin = self._find.size, self._find.margin
    frames = [align.find_transform(x, size, margin) for x in where]
    cut = [
      align.warp(picture, frame, (size, size))
      for picture, frame in zip(pictures, frames, strict=True)
    ]
    moved = [
      align.move(align.invert(frame), points)
      for frame, points in zip(frames, self._find.batch(cut), strict=True)
    ]
    found = np.stack(moved).astype(np.float64)
    middle = where.mean(1, keepdims=True)
    spread = np.linalg.norm(where - middle, axis=-1).mean(1)
    far = np.linalg.norm(found - where, axis=-1).mean(1) > _FAR * spread
    found[far] = np.nan
    return found

  def _fitted(self, points: Points) -> metrics.Parameters:
    """Expressions and angles, of each picture by itself."""
    half, missing = self.size / 2, ~np.isfinite(points).all((1, 2))
    ready = np.where(missing[:, None, None], 0, points / half - 1)
    found = [
      _fit(self._head, ready[chosen].astype(np.float32), motion.FOCAL)
      for chosen in parts(len(points), FITS)
    ]
    expression, rotation = (
      np.concatenate(x)[: len(points)].astype(np.float64) for x in zip(*found)
    )
    # From the camera's axes (y down, z in) to the head's.
    turns = metrics.angles(np.diag([1.0, -1.0, -1.0]) @ rotation)
    expression[missing], turns[missing] = np.nan, np.nan
    return metrics.Parameters(expression, turns)


@jax.jit
def _fit(
  head: marks.Marks, seen: Float[Array, "n 68 2"], focal: Float[Array, ""]
) -> tuple[Float[Array, "n e"], Float[Array, "n 3 3"]]:
  """Expressions and rotations of photos, whose people are strangers."""

  def one(seen: Array) -> tuple[Array, Array]:
    points, weights = seen[None], jnp.ones((1, 68))
    mean = jnp.zeros_like(head.shape_sigma)
    first = fit.start(head, points, weights, focal, mean)
    found, _ = fit.solve(head, first, points, weights, focal, steps=_STEPS)
    return found.expression[0], found.rotation[0]

  return jax.vmap(one)(seen)


def _perceptual() -> Any:
  """A perceptual distance, if the environment names weights of one."""
  for network in ("vgg", "alex", "squeeze"):
    try:
      return features.load_distance(network)
    except UserError:
      continue
  return None


def measure(
  clips: Clips,
  actor: Actor,
  looker: Looker,
  protocol: str,
  folder: pathlib.Path | None,
) -> dict[str, Any]:
  """All figures of "self" or "cross"; also saves pictures."""
  cross = protocol == "cross"
  counts = [len(frames) for frames in clips.frames]
  pairs = list((metrics.cross_pairs if cross else metrics.self_pairs)(counts))
  owners, drivers = (
    [clips.of(place) for place in half] for half in zip(*pairs, strict=True)
  )
  sources, targets = (_stacked(x, "picture") for x in (owners, drivers))
  made, seconds = actor(clips, pairs)
  arms = {"reenacted": made, "copy": sources}
  if cross:
    arms["drawn"] = drawn_as(clips, pairs, looker.size)
  driven = places(owners, drivers, looker.size)
  where = {name: driven for name in arms}
  where["copy"] = places(owners, owners, looker.size)
  for name, pictures in tqdm(arms.items(), "looking", unit="arm"):
    looker.look(pictures, where[name])
  looker.look(targets, places(drivers, drivers, looker.size))
  networks = looker.networks
  groups = np.array([pair.source[0] for pair in pairs])

  def judge(arm: str, wanted: Pictures, cross: bool) -> dict[str, Any]:
    found = metrics.measure(
      arms[arm], wanted, sources, networks, cross=cross, groups=groups
    )
    return {name: dataclasses.asdict(x) for name, x in found.items()}

  figures = {"pairs": len(pairs), "frame_ms_in_batches": 1000 * seconds}
  figures |= {arm: judge(arm, targets, cross) for arm in arms}
  if cross:
    figures["against_drawn"] = {
      arm: judge(arm, arms["drawn"], False) for arm in ("reenacted", "copy")
    }
  if folder:
    _save(
      folder / f"{protocol}.png",
      sources,
      targets,
      *list(arms.values())[2:],
      made,
    )
  return figures


def _save(path: pathlib.Path, *rows: Pictures) -> None:
  """Source, driver, perhaps the truth, and result of some pairs, in columns."""
  from chibijax.apps import pictures

  chosen = np.linspace(0, len(rows[0]) - 1, 12).astype(int)
  sheet = [np.concatenate(list(row[chosen]), 1) for row in rows]
  pictures.save(path, np.concatenate(sheet, 0))


def main() -> None:
  """Measures, prints and writes."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("run", type=pathlib.Path)
  parser.add_argument("--clips", type=int, default=16)
  parser.add_argument("--frames", type=int, default=6)
  parser.add_argument("--json", type=pathlib.Path)
  parser.add_argument("--pictures", type=pathlib.Path, help="a folder")
  options = parser.parse_args()
  start = time.perf_counter()
  networks = avatar3d.load_networks(options.run)
  clips = draw(networks.size, options.clips, options.frames)
  actor, looker = Actor(networks), Looker(networks.size)
  figures: dict[str, Any] = {
    "training": networks.source.rpartition("/")[-1],
    "clips": options.clips,
    "frames": options.frames,
    "size": networks.size,
    "cores": len(os.sched_getaffinity(0)),
  }
  for protocol in ("self", "cross"):
    figures[protocol] = measure(
      clips, actor, looker, protocol, options.pictures
    )
    figures |= {
      "seconds": time.perf_counter() - start,
      "load": os.getloadavg(),
    }
    print(table(protocol, figures[protocol]), flush=True)
    if options.json:
      options.json.write_text(json.dumps(figures, indent=1) + "\n")


def table(protocol: str, figures: dict[str, Any]) -> str:
  """A line for each arm and measure."""
  lines = []
  sets = {"": figures, " (drawn)": figures.get("against_drawn", {})}
  for kind, arms in sets.items():
    for arm in ("reenacted", "copy", "drawn"):
      for name, found in arms.get(arm, {}).items():
        lines.append(
          f"{protocol + kind:13} {arm:10} {name:5} {metrics.Estimate(**found)}"
          f", {found['details']['missing']} missing"
        )
  return "\n".join(lines)


if __name__ == "__main__":
  main()
