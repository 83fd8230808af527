"""Real-ESRGAN's recipe: RRDB-23, x4, worn-down pictures (Wang et al. 2021).

python -m chibijax.main --config=configs/super_resolution.py --workdir=runs/sr
Variants: `configs/super_resolution.py:gan` (adds the perceptual and the
  adversarial loss), `:quick` (x2 to 64 px, CPU, minutes), `:smoke` (tests).
Own pictures: --config.data.source_a=folder --config.data.path_a=pictures
Then: chibijax upscale PHOTO OUT --workdir=runs/sr
Hardware: one GPU for the full recipe; 2 to 4 CPU cores for :quick.
Measured: :quick, one thread of a busy CPU (load 12 on 4 cores), 34 min: 500
  held-out chibis at PSNR 24.6 dB [24.5, 24.8], bicubic 24.0 [23.9, 24.1];
  PD-squeeze-keras 1.47 [1.43, 1.50], bicubic 1.68 [1.64, 1.71]; KID-squeeze
  1.08 [1.00, 1.16], bicubic 1.37 [1.30, 1.45] (benchmarks/quality.py):
  docs/super_resolution_quick.png.
  The full recipe: not yet trained.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(variant: str = "") -> ConfigDict:
  """Makes the experiment.

  Args:
    variant: "" (L1 alone), "gan", "quick" or "smoke".

  Raises:
    ValueError: for another variant.
  """
  config = common.base()
  config.task = "super_resolution"
  config.total_steps = 400_000
  config.ema = 0.999
  config.degradation = "real"  # or "area": shrunk, nothing else
  config.data.update(
    source_a="artist",
    domain_a="chibi",
    source_b="",
    size=256,
    load_size=256,
    crop=False,
    flip=True,
    batch_size=12,
    examples=20_000,
  )
  config.model = ConfigDict(
    {
      "name": "rrdb",
      "scale": 4,
      "width": 64,
      "growth": 32,
      "blocks": 23,
      "remat": False,
      "discriminator": {"width": 64, "layers": 3},
      # Of the perceptual loss; see `tasks.style_common.FrozenNetwork`.
      "features": {"network": "squeezenet", "weights": ""},
    }
  )
  config.loss = ConfigDict(
    {
      "l1": 1.0,
      "perceptual": 0.0,
      "layers": ("relu1", "fire3", "fire5", "fire7"),
      "gan": 0.0,
    }
  )
  config.optim.update(lr=2e-4, b2=0.99)
  variants = {"gan": _gan, "quick": _quick, "smoke": _smoke}
  return common.apply_variant(
    config, variant, variants, "configs/super_resolution.py"
  )


def _gan(config: ConfigDict) -> None:
  """Their second stage."""
  config.loss.update(perceptual=1.0, gan=0.1)
  config.optim.lr = 1e-4


def _quick(config: ConfigDict) -> None:
  """32 px to 64 px by a small network, as far as a CPU gets in minutes.

  Pictures are only shrunk: against the whole degradation a small network needs
  far longer than that to be better than bicubic enlargement.
  """
  config.total_steps = 3_500
  config.log_every = 50
  config.eval_every = 500
  config.save_every = 500
  config.degradation = "area"
  config.ema = 0.99
  config.data.update(
    size=64, load_size=64, batch_size=8, examples=2_000, eval_examples=64
  )
  config.model.update(scale=2, width=24, growth=12, blocks=3)
  config.optim.update(lr=1e-3, schedule="cosine")


def _smoke(config: ConfigDict) -> None:
  """The same mathematics at the smallest size that still uses every part."""
  common.smallest(config)
  config.ema = 0.9
  config.data.update(
    size=32, load_size=32, batch_size=4, examples=8, eval_examples=4, workers=0
  )
  config.model.update(scale=2, width=6, growth=4, blocks=1)
  config.model.discriminator.update(width=4, layers=1)
  config.loss.gan = 0.1
