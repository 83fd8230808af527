"""R3GAN of chibis, 64 px (after Huang et al. 2024 on FFHQ-64).

python -m chibijax.main --config=configs/r3gan.py --workdir=runs/r3gan
Variants: `configs/r3gan.py:labelled` (told what to draw), `:quick` (CPU,
  minutes), `:smoke` (tests).
Then: chibijax generate --workdir=runs/r3gan grid.png
Hardware: one GPU for the full recipe; 4 CPU cores for :quick.
Measured: :quick, 32 px, two threads of a busy CPU (load 20 on 4 cores), 2,400
  steps of 16 pictures in 31 min: KID-squeeze of 1,000 pictures to 1,000 chibis
  held out 1.54 [1.43, 1.65]. 5,000 steps more in 49 min (--config.init_from=RUN
  --config.total_steps=5000 --config.anneal_images=80000): 0.38 [0.34, 0.41],
  docs/r3gan_quick.png. A converged autoencoder's reconstructions: 1.08 [1.02,
  1.14] (benchmarks/quality.py). The full recipe is not yet trained.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(variant: str = "") -> ConfigDict:
  """Makes the experiment.

  Args:
    variant: "" (the full recipe), "labelled", "quick" or "smoke".

  Raises:
    ValueError: for another variant.
  """
  config = common.base()
  common.chibi_gan(config)
  config.total_steps = 200_000
  config.anneal_images = 20_000_000
  config.half_life = 500_000.0
  config.data.update(batch_size=256, examples=20_000, flip=True)
  config.model.update(
    name="r3gan",
    latent=64,
    widths=(768, 768, 768, 768, 384),  # from 4x4 upwards
    blocks=2,
    expansion=2,
    group=16,
    embedding=64,
  )
  config.loss.update(name="relativistic", r1=2.0, r2=2.0, penalty_end=0.1)
  config.optim.update(lr=2e-4, lr_end=5e-5, b1=0.0, b2=0.9, b2_end=0.99)
  variants = {
    "labelled": common.labelled_chibis,
    "quick": _quick,
    "smoke": _smoke,
  }
  return common.apply_variant(config, variant, variants, "configs/r3gan.py")


def _quick(config: ConfigDict) -> None:
  """32 px and narrow networks: as far as two CPU cores get in 20 minutes."""
  config.total_steps = 2_400
  config.log_every = 20
  config.eval_every = 200
  config.save_every = 200
  config.anneal_images = 16 * 2_400
  config.half_life = 1_000.0
  config.data.update(
    size=32, batch_size=16, examples=4_000, flip=False, workers=1
  )
  # Ungrouped at the same cost: on CPUs groups are no faster.
  config.model.update(widths=(128, 96, 64, 32), blocks=1, expansion=1, group=0)
  config.loss.update(r1=1.0, r2=1.0)
  config.optim.update(lr=1e-3, lr_end=1e-4)


def _smoke(config: ConfigDict) -> None:
  """The same mathematics at the smallest size that still uses every part."""
  common.labelled_chibis(config)
  common.smallest(config)
  config.anneal_images = 16
  config.half_life = 8.0
  config.augment.name = "diffaugment"
  config.data.update(
    size=16, batch_size=4, examples=8, eval_examples=4, workers=0
  )
  config.model.update(
    widths=(8, 6, 4), blocks=1, group=4, latent=5, embedding=3
  )
