"""What trained style networks do to held-out pairs, beside Gatys' optimisation.

python benchmarks/style.py ADAIN_RUN JOHNSON_RUN [--picture docs/style_fast.png]

For --count held-out pairs of a portrait and a painting, at the runs' size:

* `style`: relative distance of Gram matrices to the painting's, the mean over
  the layers that the runs look at;
* `content`: relative distance of features (fire3, fire5) to the portrait's;
* `seconds`: of one picture, compiled, one after the other, the median.

Rows: the portrait itself (`content`), the networks as they were drawn
(`untrained`) and as they are now (`trained`), and `gatys`: L-BFGS for --steps
iterations on the same layers, of the first --few pairs, whose figures the other
rows have too (`few`); it takes minutes, and without --gatys its row in --json
stays as it is. Johnson's pairs all have its one painting. The network is
SqueezeNet in Keras' weights, pictures enlarged as in the runs.
"""

import argparse
import json
import pathlib
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
CONTENT = ("fire3", "fire5")

Pictures = np.ndarray


def held_out(config: Any, size: int, count: int) -> list[Pictures]:
  """The first held-out pairs of a run's data, at a size, uint8."""
  from benchmarks.quality import drawn

  data = config.data.copy_and_resolve_references()
  data.update(size=size, crop=False, flip=False, eval_examples=count)
  return drawn(data, "eval", ("image_a", "image_b"))


def opened(run: str) -> tuple[Any, Any, Any, Any, int]:
  """Config, task, trained and untrained networks, and the step of a run."""
  import jax

  from chibijax.core import checkpoint, workdir
  from chibijax.tasks import style

  config = workdir.read_config(run)
  params, ema, step = checkpoint.load_params(run)
  task = style.build(config)
  size = config.data.size
  shape = jax.ShapeDtypeStruct((1, size, size, 3), np.uint8)
  spec = {"image_a": shape, "image_b": shape}
  fresh = jax.jit(lambda key: task.init(key, spec))(jax.random.key(0)).params
  trained = {**params, **ema}
  return config, task, trained, {**trained, task.NET: fresh[task.NET]}, step


def network(task: Any, frozen: Any) -> Any:
  """The run's feature network as Gatys' method wants it."""
  import flax

  class Seen(flax.struct.PyTreeNode):
    params: Any

    def layers(self, x: Any, names: Any) -> Any:
      return features(self.params, x, tuple(names))

  features = task.features
  return Seen(frozen)


def judge(seen: Any, layers: tuple[str, ...]) -> Callable[..., dict]:
  """Returns a function of results, contents and styles in [-1, 1]."""
  import jax

  from chibijax.losses import style as losses

  @jax.jit
  def one(x: Any, content: Any, style: Any) -> tuple[Any, Any]:
    maps = seen.layers(x, (*layers, *CONTENT))
    goal = losses.style_target(seen.layers(style, layers), layers)
    kept = seen.layers(content, CONTENT)
    return (
      losses.gram(maps, [goal], relative=True) / len(layers),
      losses.content(maps, kept, CONTENT, relative=True) / len(CONTENT),
    )

  def all_of(x: Pictures, content: Pictures, style: Pictures) -> dict:
    pairs = [one(*(p[i : i + 1] for p in (x, content, style)))
             for i in range(len(x))]  # fmt: skip
    names = ("style", "content")
    return {
      name: {"mean": round(float(np.mean(v)), 4),
             "deviation": round(float(np.std(v)), 4)}
      for name, v in zip(names, zip(*pairs))
    }  # fmt: skip

  return all_of


def each(function: Any, *pictures: Pictures) -> tuple[Pictures, float]:
  """Applies a function to one after the other; seconds of one."""
  import jax

  made, spent = [], []
  for i in range(len(pictures[0])):
    start = time.perf_counter()
    result = function(*(p[i : i + 1] for p in pictures))
    made.append(np.asarray(jax.block_until_ready(result))[0])
    spent.append(time.perf_counter() - start)
  return np.stack(made), float(np.median(spent))


def transfer(task: Any, params: Any) -> Any:
  """A compiled function of contents and styles, whichever the task."""
  import jax

  if task.NET == "decoder":
    return jax.jit(lambda x, y: task.transfer(params, x, y))
  return jax.jit(lambda x, y: task.transfer(params, x))


def measured(run: str, args: argparse.Namespace) -> dict:
  """All rows of a run."""
  from chibijax.apps import gatys

  config, task, trained, fresh, step = opened(run)
  pairs = held_out(config, config.data.size, args.count)
  a, b = (x.astype(np.float32) / 127.5 - 1 for x in pairs)
  seen = network(task, trained["features"])
  layers = tuple(config.loss.style_layers)
  score, n = judge(seen, layers), min(args.few, args.count)
  rows = {"content": {**score(a, a, b), "few": score(a[:n], a[:n], b[:n])}}
  for name, params in (("untrained", fresh), ("trained", trained)):
    x, seconds = each(transfer(task, params), a, b)
    rows[name] = {
      **score(x, a, b),
      "few": score(x[:n], a[:n], b[:n]),
      "seconds": round(seconds, 4),
    }
  places = gatys.Layers(CONTENT, layers)

  def optimised(x: Any, y: Any) -> Any:
    styles = [gatys.Style(y)]
    return gatys.transfer(seen, x, styles, layers=places, steps=args.steps)[0]

  if args.gatys:
    x, seconds = each(optimised, a[:n], b[:n])
    rows["gatys"] = {
      "few": score(x, a[:n], b[:n]),
      "seconds": round(seconds, 2),
      "steps": args.steps,
    }
  return {
    "step": step,
    "size": config.data.size,
    "count": args.count,
    "few": n,
    **rows,
  }


def picture(args: argparse.Namespace) -> None:
  """Rows: contents, paintings, AdaIN, Johnson; its painting on the left."""
  from PIL import Image

  rows, size = [], args.size
  for run in (args.adain, args.johnson):
    config, task, trained, _, _ = opened(run)
    data = held_out(config, size, max(args.show) + 1)
    a, b = (x[list(args.show)].astype(np.float32) / 127.5 - 1 for x in data)
    made, _ = each(transfer(task, trained), a, b)
    rows += [made] if rows else [a, b, made]
  blank = np.ones((1, size, size, 3), np.float32)
  corner = [blank, blank, blank, b[:1]]
  grid = [np.concatenate([*c, *r], 1) for c, r in zip(corner, rows)]
  grid = np.concatenate(grid)
  pixels = np.rint(127.5 * (np.clip(grid, -1, 1) + 1)).astype(np.uint8)
  Image.fromarray(pixels).save(args.picture, optimize=True)


def main() -> None:
  """Measures both runs, and draws the picture."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("adain", help="a workdir")
  parser.add_argument("johnson", help="a workdir")
  parser.add_argument("--count", type=int, default=32)
  parser.add_argument("--few", type=int, default=4, help="pairs of Gatys")
  parser.add_argument("--gatys", action="store_true", help="measure it anew")
  parser.add_argument("--steps", type=int, default=100, help="of Gatys")
  parser.add_argument("--picture", type=pathlib.Path)
  parser.add_argument("--size", type=int, default=128, help="of the picture's")
  parser.add_argument("--show", type=int, nargs="+", default=list(range(6)))
  parser.add_argument(
    "--json", type=pathlib.Path, default=ROOT / "benchmarks" / "style.json"
  )
  args = parser.parse_args()
  if args.picture:
    picture(args)
  if args.count:
    found = json.loads(args.json.read_text()) if args.json.is_file() else {}
    for name in ("adain", "johnson"):
      new = measured(getattr(args, name), args)
      found[name] = {**found.get(name, {}), **new}
    args.json.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
  main()
