"""WGAN-GP of chibis, 64 px (Gulrajani et al. 2017), DCGAN's networks.

python -m chibijax.main --config=configs/wgan_gp.py --workdir=runs/wgan
Variants: `configs/wgan_gp.py:labelled` (told what to draw), `:quick` (CPU,
  minutes), `:smoke` (tests).
Hardware: one GPU for the full recipe; 4 CPU cores for :quick.
Measured: 1,000 of :quick's 3,000 steps, one thread of a busy CPU (load 8 on 4
  cores), 33 min: KID-squeeze 6.21 [6.05, 6.37] to 1,000 held-out chibis
  (benchmarks/quality.py): outlines of heads, no faces yet. The full recipe: not
  yet trained.
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
  config.total_steps = 100_000
  # Five updates of the critic with 64 pictures each, one of the generator.
  config.data.update(batch_size=320, examples=20_000)
  config.model.update(
    name="dcgan",
    latent=128,
    width=64,
    norm=False,
    critic_steps=5,
    embedding=64,
  )
  config.loss.update(name="wasserstein", gradient_penalty=10.0)
  config.optim.update(lr=1e-4, b1=0.0, b2=0.9)
  variants = {
    "labelled": common.labelled_chibis,
    "quick": _quick,
    "smoke": _smoke,
  }
  return common.apply_variant(config, variant, variants, "configs/wgan_gp.py")


def _quick(config: ConfigDict) -> None:
  common.quick_dcgan(config)
  config.data.batch_size = 5 * 32


def _smoke(config: ConfigDict) -> None:
  common.smallest_dcgan(config)
  config.model.critic_steps = 2
