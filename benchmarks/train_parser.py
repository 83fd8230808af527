"""Ships what `configs/face_landmarks.py` or `face_segment.py` trained.

    python -m chibijax.main --config=configs/face_landmarks.py --workdir=runs/lm
    python -m chibijax.main --mode=evaluate --workdir=runs/lm
    python benchmarks/train_parser.py --workdir=runs/lm \
      --out=chibijax/faces/weights/landmarks.safetensors

Writes the newest checkpoint's averaged weights as half floats, and beside them
a JSON: the config, the steps, the errors on held-out portraits, the licence.
"""

import argparse
import json
import pathlib

from chibijax.core import checkpoint, workdir
from chibijax.faces import parser_weights
from chibijax.tasks import face_parsing


def main() -> None:
  """Writes both files."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--workdir", type=pathlib.Path, required=True)
  parser.add_argument("--out", type=pathlib.Path, required=True)
  options = parser.parse_args()
  config = workdir.read_config(options.workdir)
  params, ema, step = checkpoint.load_params(options.workdir)
  judged = json.loads((options.workdir / "metrics.json").read_text())
  about = parser_weights.describe(config.to_dict(), step, judged["metrics"])
  parser_weights.save(options.out, {**params, **ema}[face_parsing.NAME], about)
  print(f"{options.out}: {options.out.stat().st_size / 2**20:.2f} MiB")


if __name__ == "__main__":
  main()
