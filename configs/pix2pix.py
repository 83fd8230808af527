"""pix2pix, photo -> chibi, 256 px, from pairs (Isola et al. 2017).

python -m chibijax.main --config=configs/pix2pix.py --workdir=runs/pix2pix
Variants: `configs/pix2pix.py:quick` (64 px, CPU, minutes), `:smoke` (tests).
Own pictures, with the same file names in both folders:
  --config.data.source_a=folder --config.data.path_a=photos
  --config.data.source_b=folder --config.data.path_b=chibis
Hardware: one GPU or TPU for the full recipe; 2 CPU cores for :quick.
Measured: :quick, 2 threads of a busy CPU (load 25 on 4 cores), 3,000 steps, 28
  min: 1,000 held-out pairs (benchmarks/quality.py) at PD-squeeze-keras 2.67
  [2.62, 2.72], L1 0.060, PSNR 18.2 dB, SSIM 0.64; the chibi of the nearest of
  the training portraits: 3.12 [3.05, 3.19], 0.107, 14.1, 0.46:
  docs/pix2pix_quick.png. Its KID-squeeze, 3.18 [3.09, 3.27], is above that of
  the L1 distance alone (--config.loss.gan=0, 20 min: 2.27 [2.19, 2.35], PD 3.01
  [2.96, 3.05], L1 0.054): coloured noise. 700 steps more from the latter's
  weights (--config.init_from=RUN --config.optim.lr=2e-4): 2.58 and PD 2.60.
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
  # gan = 0: what the distance alone can do, a floor.
  config.loss = ConfigDict({"l1": 100.0, "gan": 1.0})
  config.optim.b1 = 0.5
  config.optim.schedule = "linear_decay"
  config.optim.decay_start = 0.5
  variants = {"quick": _quick, "smoke": _smoke}
  return common.apply_variant(config, variant, variants, "configs/pix2pix.py")


def _quick(config: ConfigDict) -> None:
  """64 px on 2 CPU cores: as far as a quarter of an hour goes.

  No random crops, since a portrait does not tell where its chibi was cropped:
  12,000 pictures with them, and one level more, came to L1 0.106 and SSIM 0.35;
  4,000 without to 0.084 and 0.54. Statistics of single pictures, as in use,
  above a code of 2x2 that keeps the means which they take away.
  """
  common.small_portraits(config)
  config.total_steps = 3_000
  config.log_every = 50
  config.eval_every = 500
  config.save_every = 500
  config.ema = 0.995
  config.data.update(batch_size=8, examples=4_000)
  config.model.generator.update(width=32, depth=5)
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
