"""How good trained runs are, beside the floors that they have to beat.

python benchmarks/quality.py translation NAME RUN [--l1 RUN] [--code RUN]
python benchmarks/quality.py generation NAME RUN --code RUN
python benchmarks/quality.py restoration NAME RUN
python benchmarks/quality.py table

`translation` judges photo -> chibi on held-out pairs; the rows are

* `run`: what the run makes of the portraits;
* `nearest`: the chibi of the training portrait that is nearest in pixels. It
  is a real chibi, only of somebody else: as a set it is as good as it gets;
* `mean`: the mean training chibi, the same for every portrait;
* `l1` (--l1): a run of the same generator trained on the L1 distance alone,
  such as pix2pix's with `--config.loss.l1=1e6`: the encoder-decoder floor;
* `code` (--code): the autoencoder's reconstruction of the held-out chibi
  itself, which no translation gets to see.

`generation` judges a GAN's pictures against held-out chibis, beside the
autoencoder's reconstructions (`code`) of just these chibis and as many chibis
of other characters (`real`), which no generator can be expected to beat.

`restoration` judges super-resolution of worn-down held-out pictures, beside
bicubic enlargement (`bicubic`).

All sets have --count pictures, and KID is over one block of all of them; the
intervals are bootstraps (`metrics.kid`, `metrics.estimate`). `minus` gives the
mean difference of the perceptual distance, picture by picture, of `run` and
another row: below 0 the run is nearer to the truth. Distances are at the
pictures' own size, KID's features at 224 pixels. The feature network is
SqueezeNet in Keras' weights (--weights), so its names are not the published
ones'. Each command renews its NAME in --json; --note and --minutes go into it.
"""

import argparse
import json
import pathlib
import sys
from typing import Any

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
SHARED = ROOT.parent / "shared" / "data" / "weights"
PART = 50  # pictures at a time

Sets = dict[str, np.ndarray]


def drawn(data: Any, split: str, names: tuple[str, ...]) -> list[np.ndarray]:
  """All pictures of a split once, whole and not mirrored, as bytes."""
  from chibijax.data import pipeline

  made = pipeline.make(data, split=split, batch_size=PART)
  parts, seen = [], 0
  with made.iterator() as batches:
    for batch in batches:
      keep = batch.get("mask", np.ones(PART, bool))
      parts.append([batch[name][keep] for name in names])
      seen += int(keep.sum())
      if seen >= made.examples:
        break
  return [np.concatenate(x)[: made.examples] for x in zip(*parts)]


def in_parts(function: Any, images: np.ndarray) -> np.ndarray:
  """Applies a compiled function to some pictures at a time."""
  found = []
  for start in range(0, len(images), PART):
    part = images[start : start + PART]
    rest = np.repeat(part[-1:], PART - len(part), 0)
    found.append(
      np.asarray(function(np.concatenate([part, rest])))[: len(part)]
    )
  return np.concatenate(found)


def opened(run: str) -> tuple[Any, Any, int]:
  """A run's config, its averaged networks and its step."""
  from chibijax.core import checkpoint, workdir

  config = workdir.read_config(run)
  params, ema, step = checkpoint.load_params(run)
  return config, {**params, **ema}, step


def translated(run: str, portraits: np.ndarray) -> np.ndarray:
  """What a run makes of portraits."""
  import jax

  from chibijax.tasks import translation

  config, params, _ = opened(run)
  return in_parts(
    jax.jit(lambda x: translation.translate(config, params, x)), portraits
  )


def reconstructed(run: str, chibis: np.ndarray) -> np.ndarray:
  """What an autoencoder makes of chibis."""
  import jax

  from chibijax.ops import image
  from chibijax.tasks import autoencoder

  config, params, _ = opened(run)
  task = autoencoder.build(config)

  @jax.jit
  def through(x: Any) -> Any:
    code = task.encode(params, image.to_float(x))
    return image.to_uint8(task.generate(params, code))

  return in_parts(through, chibis)


def nearest(queries: np.ndarray, portraits: np.ndarray) -> np.ndarray:
  """For each portrait the index of the nearest in mean square."""
  flat, query = (
    p.reshape(len(p), -1).astype(np.float32) / 255 for p in (portraits, queries)
  )
  distance = (flat**2).sum(1)[None] - 2 * query @ flat.T
  return distance.argmin(1)


def translation_sets(args: argparse.Namespace) -> tuple[Sets, np.ndarray, str]:
  """The rows of a translation, their targets, and the data in words."""
  data = opened(args.run)[0].data
  trained = f"{data.examples} {'pairs' if data.paired else 'unpaired of each'}"
  data.update(
    paired=True,
    crop=False,
    flip=False,
    workers=args.workers,
    eval_examples=args.count,
  )
  names = ("image_a", "image_b")
  a, b = drawn(data, "train", names)
  x, y = drawn(data, "eval", names)
  index = nearest(x, a)
  rows = {
    "run": translated(args.run, x),
    "nearest": b[index],
    "mean": np.broadcast_to(
      np.rint(b.mean(0, dtype=np.float64)).astype(np.uint8), y.shape
    ),
  }
  print(f"{len(set(index))} of {len(a)} training pairs are nearest to one.")
  if args.l1:
    rows["l1"] = translated(args.l1, x)
  if args.code:
    rows["code"] = reconstructed(args.code, y)
  return rows, y, f"{trained}, {data.size} px"


def generation_sets(args: argparse.Namespace) -> tuple[Sets, np.ndarray, str]:
  """The rows of a generator, the held-out chibis, and the data in words."""
  from chibijax.apps import latent

  data = opened(args.run)[0].data
  trained = f"{data.examples} chibis, {data.size} px"
  data.update(
    domain_a="chibi", crop=False, flip=False, workers=args.workers,
    eval_examples=args.count,
  )  # fmt: skip
  (y,) = drawn(data, "eval", ("image",))
  data.seed += 1
  (others,) = drawn(data, "eval", ("image",))
  space = latent.load(args.run)
  z = np.asarray(space.draw(0, args.count))
  labels = space.labels(3 * data.seed, args.count)
  if labels is None:
    made = in_parts(space.pictures, z)
  else:
    both = np.concatenate([z, labels], 1)
    made = in_parts(
      lambda v: space.pictures(v[:, : space.latent], v[:, space.latent :]), both
    )
  rows = {"run": made, "code": reconstructed(args.code, y), "real": others}
  return rows, y, trained


def restoration_sets(args: argparse.Namespace) -> tuple[Sets, np.ndarray, str]:
  """The rows of a super-resolution, the whole pictures, the data in words."""
  import jax
  import jax.numpy as jnp

  from chibijax.ops import image
  from chibijax.tasks import super_resolution

  config, params, _ = opened(args.run)
  task = super_resolution.build(config)
  data = config.data
  trained = (
    f"{data.examples} chibis, {data.size // config.model.scale} to {data.size}"
    f" px ({config.degradation})"
  )
  data.update(
    crop=False, flip=False, workers=args.workers, eval_examples=args.count
  )
  (y,) = drawn(data, "eval", ("image",))

  @jax.jit
  def worn(x: Any) -> Any:
    keys = jax.random.split(jax.random.key(0), len(x))
    return task.degrade(keys, image.to_float(x))

  @jax.jit
  def enlarged(x: Any) -> Any:
    size = (len(x), data.size, data.size, 3)
    smooth = jax.image.resize(x, size, "bicubic", antialias=False)
    return image.to_uint8(jnp.clip(smooth, -1, 1))

  small = in_parts(worn, y)
  rows = {
    "run": in_parts(
      jax.jit(lambda x: image.to_uint8(task.upscale(params, x))), small
    ),
    "bicubic": in_parts(enlarged, small),
  }
  return rows, y, trained


def judge(rows: Sets, target: np.ndarray, weights: str, *, pairs: bool) -> Any:
  """Every metric of every row, as JSON-able values."""
  from chibijax.metrics import estimate, extract, kid, lpips, psnr_ssim
  from chibijax.models import features

  network = features.load("squeezenet", features.find("squeezenet", weights))
  distance = features.load_distance(
    "squeeze",
    features.find("squeezenet", weights),
    features.find("lpips-squeeze", weights),
  )
  truth = extract.extract(target, network)
  report: dict[str, Any] = {"rows": {}, "minus": {}}
  values: dict[str, np.ndarray] = {}
  plain = {"l1": psnr_ssim.l1, "psnr": psnr_ssim.psnr, "ssim": psnr_ssim.ssim}
  for name, images in rows.items():
    found = {
      "KID-squeeze": kid.kid(
        extract.extract(images, network), truth, block=len(target)
      )
    }
    # Pictures that were drawn from nothing have no counterparts.
    if pairs or name == "code":
      values[name] = lpips.distances(images, target, distance, batch=PART)
      found[distance.name] = estimate.mean(values[name])
      x, y = (v.astype(np.float32) / 255 for v in (images, target))
      for title, of in plain.items():
        found[title] = estimate.mean(np.asarray(of(x, y)))
    report["rows"][name] = {k: short(v) for k, v in found.items()}
    print(name, *(f"{k} {v}" for k, v in found.items()), sep="  ", flush=True)
  for name in values.keys() - {"run"} if "run" in values else ():
    report["minus"][name] = short(estimate.mean(values["run"] - values[name]))
  report["network"] = distance.describe()
  return report


def short(found: Any) -> dict[str, float | int]:
  """An estimate's numbers."""
  return {
    "value": found.value, "low": found.low, "high": found.high, "n": found.n
  }  # fmt: skip


def measured(args: argparse.Namespace) -> dict[str, Any]:
  """Judges a run."""
  sets = {
    "translation": translation_sets,
    "generation": generation_sets,
    "restoration": restoration_sets,
  }
  rows, target, trained = sets[args.kind](args)
  config, _, step = opened(args.run)
  report = {
    "kind": args.kind,
    "config": args.config,
    "data": trained,
    "batch": config.data.batch_size,
    "steps": step,
    "minutes": args.minutes,
    "note": args.note,
    "pictures": len(target),
    **judge(rows, target, args.weights, pairs=args.kind != "generation"),
  }
  if args.l1:
    report["l1_steps"] = opened(args.l1)[2]
  if args.code:
    report["code_steps"] = opened(args.code)[2]
  return report


def table(reports: dict[str, Any]) -> str:
  """The reports as a Markdown table, a row for each of theirs."""
  lines = [
    "| Model | Data | Steps, minutes | Judged | Perceptual distance |"
    " KID-squeeze | L1 | PSNR | SSIM |",
    "|" + "---|" * 9,
  ]

  def cell(found: dict[str, Any], name: str, digits: int) -> str:
    if name not in found:
      return "-"
    v = found[name]
    return (
      f"{v['value']:.{digits}f} [{v['low']:.{digits}f}, {v['high']:.{digits}f}]"
    )

  for name, r in reports.items():
    for row, found in r["rows"].items():
      perceptual = next((k for k in found if "PD" in k or "LPIPS" in k), "")
      about = [f"{name} (`{r['config']}`)", r["data"]]
      about.append(f"{r['steps']} x {r['batch']}, {r['minutes']:g}")
      cells = [
        *(about if row == "run" else [""] * 3),
        row,
        cell(found, perceptual, 3),
        cell(found, "KID-squeeze", 3),
        cell(found, "l1", 3),
        cell(found, "psnr", 1),
        cell(found, "ssim", 3),
      ]
      lines.append("| " + " | ".join(cells) + " |")
  return "\n".join(lines) + "\n"


def main() -> None:
  """Judges a run and keeps what it found, or prints the table."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument(
    "kind", choices=("translation", "generation", "restoration", "table")
  )
  parser.add_argument("name", nargs="?", help="of the entry")
  parser.add_argument("run", nargs="?", help="a training's workdir")
  parser.add_argument("--l1", default="", help="a run trained on L1 alone")
  parser.add_argument("--code", default="", help="an autoencoder's run")
  parser.add_argument("--config", default="", help="said in the entry")
  parser.add_argument("--count", type=int, default=1000)
  parser.add_argument("--minutes", type=float, default=0.0)
  parser.add_argument("--note", default="")
  parser.add_argument("--workers", type=int, default=3, help="that draw")
  parser.add_argument("--weights", default=str(SHARED))
  parser.add_argument(
    "--json", type=pathlib.Path, default=ROOT / "benchmarks" / "quality.json"
  )
  args = parser.parse_args()
  kept = json.loads(args.json.read_text()) if args.json.is_file() else {}
  if args.kind == "table":
    print(table(kept), end="")
    return
  if not args.run or (args.kind == "generation" and not args.code):
    parser.error("NAME and RUN are needed, and --code of a generator.")
  kept[args.name] = measured(args)
  args.json.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
  main()
