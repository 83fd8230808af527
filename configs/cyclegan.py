"""CycleGAN, photo <-> chibi, 256 px (Zhu et al. 2017, the reference recipe).

python -m chibijax.main --config=configs/cyclegan.py --workdir=runs/cyclegan
Variants: `configs/cyclegan.py:quick` (64 px, CPU, minutes), `:smoke` (tests).
Own pictures: --config.data.source_a=folder --config.data.path_a=photos
  --config.data.source_b=folder --config.data.path_b=chibis
Hardware: one GPU or TPU for the full recipe; 4 CPU cores for :quick.
Measured: :quick, 3 threads of 4 cores, 15 min: 1,000 held-out pairs
  (benchmarks/quality.py) at PD-squeeze-keras 4.80 [4.74, 4.86], KID-squeeze
  4.27 [4.17, 4.38], L1 0.114, PSNR 14.0 dB, SSIM 0.40; with an ema of 0.99 KID
  5.18. Three runs of it with --config.data.examples=4000, each from the last
  one's weights (init_from), 2 threads of 4 busy cores, 226 min: 6,000 steps
  without R1 and with the cycle's weight kept, 3,000 with R1, and 2,400 with
  loss.cycle=1: 3.11 [3.06, 3.16], 2.32 [2.23, 2.40], 0.098, 15.0, 0.49; after
  the 6,000: 3.37, 3.23, 0.105, 14.6, 0.44. The chibi of the nearest of the
  training portraits: 3.12 [3.05, 3.19], 0.02, 0.107, 14.1, 0.46.
  The full recipe: 5.8 s a step on 4 CPU cores; not yet trained on a GPU.
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
  # cycle_end: the last weight of cycle relative to the first.
  config = common.translation(cycle=10.0, cycle_end=1.0, identity=5.0, r1=0.0)
  config.total_steps = 200_000
  config.model = ConfigDict(
    {
      "name": "cyclegan",
      "generator": {"width": 64, "blocks": 9},
      "discriminator": {"width": 64, "layers": 3},
      "pool_size": 50,  # generated pictures remembered for D
      # Run a network once on two batches: the same result, faster where small
      # pictures leave cores idle, at the price of memory.
      "batch_calls": False,
    }
  )
  config.optim.b1 = 0.5
  config.optim.schedule = "linear_decay"
  config.optim.decay_start = 0.5
  variants = {"quick": _quick, "smoke": _smoke}
  return common.apply_variant(config, variant, variants, "configs/cyclegan.py")


def _quick(config: ConfigDict) -> None:
  """64 px on 4 CPU cores: as far as a quarter of an hour goes.

  Apart from narrower networks: chibis without backgrounds, which no photo
  foretells; averaged weights, which hide the last steps' noise; weaker ties to
  the photo, so that shapes move early, and weaker still towards the end; and
  discriminators whose slope is penalised. The last two are against coloured
  noise.
  """
  common.small_portraits(config)
  config.model.generator.update(width=32, blocks=4)
  config.model.discriminator.update(width=32, layers=3)
  config.model.batch_calls = True
  config.ema = 0.998
  config.loss.update(cycle=5.0, cycle_end=0.1, identity=2.0, r1=1.0)
  config.optim.lr = 3e-4


def _smoke(config: ConfigDict) -> None:
  """The same mathematics at the smallest size that still uses every part."""
  common.smallest(config)
  config.data.update(
    size=32, load_size=36, batch_size=4, examples=16, eval_examples=4
  )
  # Not 4 channels: jax 0.7 compiles a norm of 32x32x4 for ten seconds.
  config.model.generator.update(width=6, blocks=1)
  config.model.discriminator.update(width=4, layers=1)
  config.model.pool_size = 6
