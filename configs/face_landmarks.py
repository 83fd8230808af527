"""68 landmarks of a face, learned from the artist's portraits alone.

python -m chibijax.main --config=configs/face_landmarks.py --workdir=runs/lm
Variant: `configs/face_landmarks.py:smoke` (tests).
Then: python benchmarks/train_parser.py --workdir=runs/lm --out=FILE
Hardware: 2 to 4 CPU cores; 0.9 s a step on two shared ones (load 8).
Measured, in distances between the outer corners of the eyes: 0.0153 on 256
  held-out portraits, exactly aligned; 0.0734 against Face Mesh on 459 photos
  (the mean face: 0.0943). Without each point's mean offset 0.050 would be left;
  how much of it is definition is not known. The shipped weights come from three
  runs of this config one after another, 2,950 steps in all; the JSON beside
  them says how they differ from it.
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
  config.total_steps = 3_600
  config.data.batch_size = 48
  config.model = ConfigDict(
    {
      "name": "landmarks",
      # Channels and residual blocks at a half, a quarter... of the window.
      "widths": (24, 48, 96, 128),
      "blocks": (0, 2, 2, 1),
    }
  )
  return common.apply_variant(
    config, variant, {"smoke": _smoke}, "configs/face_landmarks.py"
  )


def _smoke(config: ConfigDict) -> None:
  """The same mathematics at the smallest size that still uses every part."""
  common.smallest_portraits(config)
  config.model.update(widths=(6, 8, 8, 8), blocks=(0, 1, 0, 0))
