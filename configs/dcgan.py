"""DCGAN of chibis, 64 px (Radford et al. 2016), non-saturating loss.

python -m chibijax.main --config=configs/dcgan.py --workdir=runs/dcgan
Variants: `configs/dcgan.py:minimax` (the original game's loss), `:labelled`
  (told what to draw), `:quick` (CPU, minutes), `:smoke` (tests).
Hardware: one GPU for the full recipe; 4 CPU cores for :quick.
Measured: :quick with --config.data.examples=4000, one thread of a busy CPU
  (load 12 on 4 cores), 26 min: KID-squeeze 3.61 [3.51, 3.70] to 1,000 held-out
  chibis (benchmarks/quality.py): heads, eyes and hair of all kinds, grainy. The
  full recipe: not yet trained.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(variant: str = "") -> ConfigDict:
  """Makes the experiment.

  Args:
    variant: "" (the full recipe), "minimax", "labelled", "quick" or
      "smoke".

  Raises:
    ValueError: for another variant.
  """
  config = common.base()
  common.chibi_gan(config)
  config.total_steps = 50_000
  config.data.update(batch_size=128, examples=20_000)
  config.model.update(
    name="dcgan", latent=100, width=64, norm=True, embedding=64
  )
  config.loss.name = "non_saturating"
  config.optim.update(lr=2e-4, b1=0.5, b2=0.999)
  variants = {
    "minimax": _minimax,
    "labelled": common.labelled_chibis,
    "quick": common.quick_dcgan,
    "smoke": common.smallest_dcgan,
  }
  return common.apply_variant(config, variant, variants, "configs/dcgan.py")


def _minimax(config: ConfigDict) -> None:
  """What Goodfellow et al. 2014 begin with, and advise against."""
  config.loss.name = "minimax"
