"""Hair, skin and background, learned from the artist's portraits alone.

python -m chibijax.main --config=configs/face_segment.py --workdir=runs/seg
Variant: `configs/face_segment.py:smoke` (tests).
Then: python benchmarks/train_parser.py --workdir=runs/seg --out=FILE
Hardware: 2 to 4 CPU cores; 0.9 s a step on one shared one (load 8).
Measured: 256 held-out portraits, exactly aligned, mean IoU: background 0.981,
  hair 0.804, skin 0.878. The shipped weights come from two runs of this config,
  1,900 steps in all; the JSON beside them says how they differ from it.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(variant: str = "") -> ConfigDict:
  """Makes the experiment.

  Args:
    variant: "" or "smoke".

  Raises:
    ValueError: for another variant.
  """
  config = common.base()
  common.labelled_portraits(config)
  config.task = "face_parsing"
  config.total_steps = 3_000
  config.data.batch_size = 24
  config.model = ConfigDict(
    {
      "name": "segment",
      # Channels and residual blocks at a half, a quarter... of the window.
      "widths": (16, 32, 64, 96),
      "blocks": (0, 1, 2, 2),
    }
  )
  return common.apply_variant(
    config, variant, {"smoke": _smoke}, "configs/face_segment.py"
  )


def _smoke(config: ConfigDict) -> None:
  """The same mathematics at the smallest size that still uses every part."""
  common.smallest_portraits(config)
  config.model.update(widths=(6, 8, 8, 8), blocks=(0, 1, 0, 0))
