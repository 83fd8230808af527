"""What a translation of held-out portraits must beat, without any learning.

python benchmarks/translation_floors.py --config configs/pix2pix.py:quick

* `nearest`: the chibi of the training portrait that is nearest in pixels.
* `mean`: the mean of all training chibis, the same for every portrait.

Pictures and held-out pairs are those of the experiment, judged as
`chibijax.evaluate` judges a run: L1, PSNR and SSIM, in [0, 1].
"""

import argparse
import importlib
import json
import pathlib
import sys

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))


def pairs(data: object, split: str) -> tuple[np.ndarray, np.ndarray]:
  """All pairs of a split, neither cropped nor mirrored, in [0, 1]."""
  from chibijax.data import pipeline

  made = pipeline.make(data, split=split, batch_size=50)
  parts, seen = [], 0
  with made.iterator() as batches:
    for batch in batches:
      keep = batch.get("mask", np.ones(50, bool))
      parts.append([batch[f"image_{d}"][keep] for d in "ab"])
      seen += int(keep.sum())
      if seen >= made.examples:
        break
  a, b = (np.concatenate(x)[: made.examples] for x in zip(*parts))
  return a.astype(np.float32) / 255, b.astype(np.float32) / 255


def judge(output: np.ndarray, target: np.ndarray) -> dict[str, float]:
  """Means over the pictures."""
  from chibijax.metrics import psnr_ssim

  return {
    "l1": float(np.abs(output - target).mean()),
    "psnr": float(np.mean(psnr_ssim.psnr(output, target))),
    "ssim": float(np.mean(psnr_ssim.ssim(output, target))),
  }


def main() -> None:
  """Prints the floors of an experiment's data."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--config", default="configs/pix2pix.py:quick")
  args = parser.parse_args()
  file, _, variant = args.config.partition(":")
  module = importlib.import_module(f"configs.{pathlib.Path(file).stem}")
  data = module.get_config(variant).data
  data.update(paired=True, crop=False, flip=False, workers=0)
  a, b = pairs(data, "train")
  x, y = pairs(data, "eval")
  flat, query = (p.reshape(len(p), -1) for p in (a, x))
  distance = (flat**2).sum(1)[None] - 2 * query @ flat.T
  report = {
    "examples": len(x),
    "training": len(a),
    "nearest": judge(b[distance.argmin(1)], y),
    "mean": judge(np.broadcast_to(b.mean(0), y.shape), y),
  }
  print(json.dumps(report, indent=1))


if __name__ == "__main__":
  main()
