"""pix2pix, photo -> chibi, 256 px, from pairs (Isola et al. 2017).

python -m chibijax.main --config=configs/pix2pix.py --workdir=runs/pix2pix
Variants: `configs/pix2pix.py:quick` (64 px, CPU, minutes), `:smoke` (tests).
Own pictures, with the same file names in both folders:
  --config.data.source_a=folder --config.data.path_a=photos
  --config.data.source_b=folder --config.data.path_b=chibis
Hardware: one GPU or TPU for the full recipe; 2 CPU cores for :quick.
Measured: :quick, 2 threads of a busy machine, 3,000 steps, 20 min: 64 held-out
  pairs at L1 0.106, PSNR 14.0 dB, SSIM 0.35 (at step 0: 0.368, 7.8, 0.07; the
  nearest training portrait's chibi: 0.114, 13.6, 0.43).
  The full recipe: not yet trained.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(variant: str = "") -> ConfigDict:
  """Makes the experiment.

  Args:
    variant: "" (the full recipe), "quick" or "smoke".

  Raises:
    ValueError: for another variant.
  """
  config = common.base()
  config.task = "translation"
  config.total_steps = 200_000
  config.data.paired = True
  config.model = ConfigDict(
    {
      "name": "pix2pix",
      "generator": {"width": 64, "depth": 8, "dropout": 0.5},
      "discriminator": {"width": 64, "layers": 3},
      # What the norms normalise over in training: "batch" as in the paper, or
      # "picture", which is the same for batches of one.
      "statistics": "batch",
    }
  )
  config.loss = ConfigDict({"l1": 100.0})
  config.optim.b1 = 0.5
  config.optim.schedule = "linear_decay"
  config.optim.decay_start = 0.5
  variants = {"quick": _quick, "smoke": _smoke}
  return common.apply_variant(config, variant, variants, "configs/pix2pix.py")


def _quick(config: ConfigDict) -> None:
  """64 px on 2 CPU cores: as far as a quarter of an hour goes.

  Chibis without backgrounds, which no photo foretells; statistics of single
  pictures, as in use; averaged weights, which hide the last steps' noise.
  """
  config.total_steps = 3_000
  config.log_every = 50
  config.eval_every = 500
  config.save_every = 500
  config.ema = 0.995
  # Each is drawn once, then cached: drawing shares the cores with training.
  config.data.update(
    size=64,
    load_size=72,
    batch_size=4,
    examples=1_500,
    eval_examples=64,
    cutout=True,
    workers=1,
  )
  config.model.generator.update(width=32, depth=6)
  config.model.discriminator.update(width=32, layers=2)
  config.model.statistics = "picture"
  config.optim.lr = 3e-4


def _smoke(config: ConfigDict) -> None:
  """The same mathematics at the smallest size that still uses every part."""
  common.smallest(config)
  config.data.update(
    size=32, load_size=36, batch_size=4, examples=16, eval_examples=4
  )
  config.model.generator.update(width=6, depth=5)
  config.model.discriminator.update(width=6, layers=1)
