"""pix2pix, photo -> chibi, 256 px, from pairs (Isola et al. 2017).

python -m chibijax.main --config=configs/pix2pix.py --workdir=runs/pix2pix
Variants: `configs/pix2pix.py:quick` (64 px, CPU, minutes), `:smoke` (tests).
Own pictures, with the same file names in both folders:
  --config.data.source_a=folder --config.data.path_a=photos
  --config.data.source_b=folder --config.data.path_b=chibis
Hardware: one GPU or TPU for the full recipe; 2 CPU cores for :quick.
Measured: :quick, one thread of a busy CPU (load 13 on 4 cores), 3,000 steps, 20
  min: 1,000 held-out pairs (benchmarks/quality.py) at PD-squeeze-keras 2.47
  [2.42, 2.51], KID-squeeze 1.99 [1.91, 2.06], L1 0.054, PSNR 19.0 dB, SSIM
  0.67: docs/pix2pix_quick.png. The L1 distance alone (--config.loss.gan=0, 15
  min): 2.86 [2.81, 2.90], 2.14 [2.06, 2.22], 0.052, 19.4, 0.67. The chibi of
  the nearest of the training portraits: PD 3.12 [3.05, 3.19], L1 0.107, PSNR
  14.1, SSIM 0.46. As published but for its size (refine=False, norm=True, r1=0)
  it came to PD 2.67, KID 3.18: coloured noise; a loss.l1 of 20 to more noise.
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
  # gan = 0: what the distance alone can do, a floor.
  config = common.translation(l1=100.0, gan=1.0, r1=0.0)
  config.total_steps = 200_000
  config.data.paired = True
  config.model = ConfigDict(
    {
      "name": "pix2pix",
      # refine: one more layer at the full resolution.
      "generator": {"width": 64, "depth": 8, "dropout": 0.5, "refine": False},
      "discriminator": {"width": 64, "layers": 3, "norm": True},
      # What the norms normalise over in training: "batch" as in the paper, or
      # "picture", which is the same for batches of one.
      "statistics": "batch",
    }
  )
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
  above a code of 2x2 that keeps the means which they take away. Against
  coloured noise a layer at the full resolution, and a discriminator without
  norms whose slope is penalised.
  """
  common.small_portraits(config)
  config.total_steps = 3_000
  config.log_every = 50
  config.eval_every = 500
  config.save_every = 500
  config.ema = 0.995
  config.data.update(batch_size=8, examples=4_000)
  config.model.generator.update(width=32, depth=5, refine=True)
  config.model.discriminator.update(width=32, layers=2, norm=False)
  config.model.statistics = "picture"
  config.loss.r1 = 1.0
  config.optim.lr = 3e-4


def _smoke(config: ConfigDict) -> None:
  """The same mathematics at the smallest size that still uses every part."""
  common.smallest(config)
  config.data.update(
    size=32, load_size=36, batch_size=4, examples=16, eval_examples=4
  )
  config.model.generator.update(width=6, depth=5)
  config.model.discriminator.update(width=6, layers=1)
