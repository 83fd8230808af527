"""CycleGAN, photo <-> chibi, 256 px (Zhu et al. 2017, the reference recipe).

python -m chibijax.main --config=configs/cyclegan.py --workdir=runs/cyclegan
Variants: `configs/cyclegan.py:quick` (64 px, CPU, minutes), `:smoke` (tests).
Own pictures: --config.data.source_a=folder --config.data.path_a=photos
  --config.data.source_b=folder --config.data.path_b=chibis
Hardware: one GPU or TPU for the full recipe; 4 CPU cores for :quick.
Measured: :quick, 4 shared CPU cores, 1,600 steps, 10 to 15 min: 64 held-out
  pairs at L1 0.153, PSNR 12.1 dB, SSIM 0.23 (at step 0: 0.411, 6.5, 0.02). A
  sister run with colour augmentation (L1 0.157 on these), 1,000 pairs, by
  benchmarks/quality.py: PD-squeeze-keras 5.73 [5.66, 5.80], KID-squeeze 5.72.
  That is far from enough: any other chibi has 4.60 and 0, that of the nearest
  training portrait 3.35 and 0.02.
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
  config = common.base()
  config.task = "translation"
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
  config.loss = ConfigDict({"cycle": 10.0, "identity": 5.0})
  config.optim.b1 = 0.5
  config.optim.schedule = "linear_decay"
  config.optim.decay_start = 0.5
  variants = {"quick": _quick, "smoke": _smoke}
  return common.apply_variant(config, variant, variants, "configs/cyclegan.py")


def _quick(config: ConfigDict) -> None:
  """64 px on 4 CPU cores: as far as a quarter of an hour goes.

  Apart from narrower networks: chibis without backgrounds, which no photo
  foretells; averaged weights, which hide the last steps' noise; and weaker
  ties to the photo, so that shapes move early.
  """
  common.small_portraits(config)
  config.model.generator.update(width=32, blocks=4)
  config.model.discriminator.update(width=32, layers=3)
  config.model.batch_calls = True
  config.loss.update(cycle=5.0, identity=2.0)
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
