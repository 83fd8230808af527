"""StyleGAN2 of chibis, 128 px, with ADA (Karras et al. 2020a, 2020b).

python -m chibijax.main --config=configs/stylegan2.py --workdir=runs/stylegan2
Variants: `configs/stylegan2.py:labelled` (told what to draw), `:quick` (CPU,
  minutes), `:smoke` (tests).
Then: chibijax generate --workdir=runs/stylegan2 --truncation 0.7 grid.png
The recipe is the paper's "auto": R1's weight and the average's half-life follow
data.size and data.batch_size. At 256 pixels: --config.data.size=256
--config.data.batch_size=64. What ADA changes is "bgc", the paper's choice;
--config.augment.pipeline=bgcfnc adds filters, noise and cutout.
Hardware: one GPU for the full recipe; 2 CPU cores for :quick.
Measured: :quick, 5,600 steps of 16 pictures in two runs (2,400, then 3,200 from
  their weights by init_from), one thread of a CPU, 22 min: KID-squeeze 1.97
  [1.92, 2.04] to 1,000 held-out chibis (benchmarks/quality.py); after the first
  run 2.99, heads without faces. R3GAN gets farther in that time. The full
  recipe is not yet trained.
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
  config.precision = "bfloat16"
  config.data.update(size=128, batch_size=32, examples=20_000, flip=True)
  config.model.update(
    name="stylegan2",
    latent=512,
    style=512,
    depth=8,
    embedding=512,
    channel_base=16_384,  # channels times side ...
    channel_max=512,  # ... but at most so many
    low_precision=4,  # of the highest resolutions compute in `precision`
    group=4,  # pictures of a group of the minibatch's deviation
  )
  size = config.data.get_oneway_ref("size").to_float()
  batch = config.data.get_oneway_ref("batch_size").to_float()
  config.loss.update(
    name="non_saturating",
    r1=size * size * 2e-4 / batch,
    r1_every=16,
    path=2.0,
    path_every=4,
    mixing=0.9,
  )
  config.half_life = batch * (10_000 / 32)
  config.ramp = 0.05  # half-life at most this share of the pictures seen
  config.augment.name = "ada"
  config.optim.update(lr=2.5e-3, b1=0.0, b2=0.99)
  variants = {
    "labelled": common.labelled_chibis,
    "quick": _quick,
    "smoke": _smoke,
  }
  return common.apply_variant(config, variant, variants, "configs/stylegan2.py")


def _quick(config: ConfigDict) -> None:
  """32 px and narrow networks: as far as two CPU cores get in minutes."""
  config.total_steps = 5_600
  config.precision = "float32"
  config.log_every = 20
  config.eval_every = 200
  config.save_every = 200
  config.data.update(
    size=32, batch_size=16, examples=4_000, flip=False, workers=1
  )
  config.model.update(
    latent=64, style=64, depth=4, channel_base=768, channel_max=64
  )
  config.half_life = 2_000.0
  config.augment.images = 80_000


def _smoke(config: ConfigDict) -> None:
  """The same mathematics at the smallest size that still uses every part."""
  common.labelled_chibis(config)
  common.smallest(config)
  config.precision = "float32"
  config.half_life = 8.0
  config.augment.update(every=2, images=16)
  config.loss.update(r1_every=4, path_every=2)
  config.data.update(
    size=16, batch_size=4, examples=8, eval_examples=4, workers=0
  )
  config.model.update(
    latent=5, style=6, depth=1, embedding=3, channel_base=48, channel_max=8
  )
