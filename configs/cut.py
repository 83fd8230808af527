"""CUT, photo -> chibi without pairs, 256 px (Park et al. 2020).

python -m chibijax.main --config=configs/cut.py --workdir=runs/cut
Variants: `configs/cut.py:fastcut` (FastCUT, 256 px), `configs/cut.py:quick`
  (64 px, CPU, minutes), `:smoke` (tests).
Own pictures: --config.data.source_a=folder --config.data.path_a=photos
  --config.data.source_b=folder --config.data.path_b=chibis
Hardware: one GPU or TPU for the full recipes; 2 CPU cores for :quick.
Measured: :quick, one thread of a busy CPU (load 15 on 4 cores), 1,600 steps of
  4 pictures, 25 min: 1,000 held-out pairs (benchmarks/quality.py) at
  PD-squeeze-keras 3.86 [3.81, 3.91], KID-squeeze 3.45 [3.36, 3.54], L1 0.125,
  PSNR 13.5 dB, SSIM 0.36: docs/cut_quick.png. CycleGAN needs about twice the
  time for that. The full recipes: not yet trained.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(variant: str = "") -> ConfigDict:
  """Makes the experiment.

  Args:
    variant: "" (the full recipe), "fastcut", "quick" or "smoke".

  Raises:
    ValueError: for another variant.
  """
  # identity: compare chibis with their translations, too.
  config = common.translation(nce=1.0, identity=True, temperature=0.07, r1=0.0)
  config.total_steps = 400_000
  config.model = ConfigDict(
    {
      "name": "cut",
      "generator": {"width": 64, "blocks": 9, "antialias": True},
      "discriminator": {"width": 64, "layers": 3, "antialias": True},
      # Layers 0, 4, 8, 12 and 16 of the authors' list.
      "taps": ("input", "down_0", "down_1", "block_0", "block_4"),
      "sampler": {"features": 256, "patches": 256},
      "flip": False,  # mirror half of the steps
      "init": "xavier",
      # Run a network once on two batches: the same result, faster where small
      # pictures leave cores idle, at the price of memory.
      "batch_calls": False,
    }
  )
  config.optim.b1 = 0.5
  config.optim.schedule = "linear_decay"
  config.optim.decay_start = 0.5
  variants = {"fastcut": _fastcut, "quick": _quick, "smoke": _smoke}
  return common.apply_variant(config, variant, variants, "configs/cut.py")


def _fastcut(config: ConfigDict) -> None:
  """Half the steps, at half the price each."""
  config.total_steps = 200_000
  config.optim.decay_start = 0.75
  config.model.flip = True
  config.loss.update(nce=10.0, identity=False)


def _quick(config: ConfigDict) -> None:
  """64 px on 2 CPU cores, narrower; see `configs/cyclegan.py`."""
  common.small_portraits(config)
  config.loss.r1 = 1.0
  config.model.generator.update(width=32, blocks=4)
  config.model.discriminator.update(width=32)
  config.model.taps = ("input", "down_0", "down_1", "block_0", "block_2")
  config.model.sampler.update(features=128, patches=128)
  # The authors' small kernels need more steps than there are to grow.
  config.model.init = "normal"
  config.model.batch_calls = True
  config.optim.lr = 3e-4


def _smoke(config: ConfigDict) -> None:
  """The same mathematics at the smallest size that still uses every part."""
  common.smallest(config)
  config.data.update(
    size=32, load_size=36, batch_size=4, examples=16, eval_examples=4
  )
  config.model.generator.update(width=6, blocks=1)
  config.model.discriminator.update(width=6, layers=1)
  config.model.taps = ("input", "down_0", "block_0")
  config.model.sampler.update(features=8, patches=16)
