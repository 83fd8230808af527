"""Autoencoder of chibis, 64 px: what a code of 128 numbers can hold.

python -m chibijax.main --config=configs/autoencoder.py --workdir=runs/code
Variants: `configs/autoencoder.py:vae`, `:quick` (CPU, minutes), `:smoke`
  (tests).
Own pictures: --config.data.source_a=folder --config.data.path_a=pictures
  --config.data.domain_a=chibi
Hardware: one GPU for the full recipe; 4 CPU cores for :quick.
Measured: :quick, 32 px, one thread of a busy CPU (load 25 on 4 cores), 3,000
  steps in 24 min: 1,000 held-out chibis at L1 0.033, PSNR 23.6 dB, SSIM 0.80
  (256 of them at step 0: 0.363, 7.8, 0.02; 1,000: 0.041, 22.2, 0.75; 2,500:
  0.034, 23.5, 0.80), KID-squeeze 1.08 [1.02, 1.14] (benchmarks/quality.py):
  docs/autoencoder_quick.png. The full recipe is not yet trained.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(variant: str = "") -> ConfigDict:
  """Makes the experiment.

  Args:
    variant: "" (the full recipe), "vae", "quick" or "smoke".

  Raises:
    ValueError: for another variant.
  """
  config = common.base()
  config.task = "autoencoder"
  config.total_steps = 100_000
  config.ema = 0.999
  config.data.update(
    source_a="artist",
    domain_a="labelled_chibi",
    source_b="",
    size=64,
    crop=False,
    flip=False,
    batch_size=64,
    examples=20_000,
    eval_examples=256,
    workers=2,
    cutout=True,
  )
  config.model = ConfigDict({"widths": (64, 128, 256, 512), "latent": 128})
  # Weight of each nat of a code; 0: not variational.
  config.loss = ConfigDict({"kl": 0.0})
  config.optim.update(lr=5e-4, schedule="cosine")
  variants = {"vae": _vae, "quick": _quick, "smoke": _smoke}
  return common.apply_variant(
    config, variant, variants, "configs/autoencoder.py"
  )


def _vae(config: ConfigDict) -> None:
  """Codes like normal draws, so that draws can be decoded."""
  # A Laplace distribution of scale .1 for each of the 64 x 64 x 3 numbers.
  config.loss.kl = 8e-6


def _quick(config: ConfigDict) -> None:
  """32 px and narrower, until it hardly improves any more on a CPU."""
  config.total_steps = 3_000
  config.log_every = 50
  config.eval_every = 500
  config.save_every = 500
  config.ema = 0.995
  config.data.update(size=32, batch_size=32, examples=4_000, workers=2)
  config.model.widths = (32, 64, 128)
  config.optim.lr = 6e-4


def _smoke(config: ConfigDict) -> None:
  """The same mathematics at the smallest size that still uses every part."""
  common.smallest(config)
  config.ema = 0.9
  config.data.update(
    size=16, batch_size=4, examples=8, eval_examples=4, workers=0
  )
  config.model.update(widths=(6, 8), latent=5)
  config.loss.kl = 1e-3
