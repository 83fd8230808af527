"""A trained GAN learns another style from one to twenty pictures.

python -m chibijax.main --config=configs/gan_adapt.py --workdir=runs/other
  --config.init_from=runs/r3gan --config.data.path_a=FOLDER
  --config.data.size=64
Variants: `configs/gan_adapt.py:quick` (a 32 px GAN of `r3gan.py:quick`, CPU,
  minutes), `:smoke` (tests).
Then: chibijax generate --workdir=runs/other grid.png
Hardware: one GPU or a few CPU cores: it is short.
Measured: :quick from a 32 px R3GAN (r3gan.py:quick), 10 pictures of two
  finishes, one busy CPU core (load 6 to 28), 400 steps of 8 in 2 to 7 minutes;
  the correlation of distances between pictures is 0.96 (plain fine-tuning 0.67
  and 0.70, which also begins to repeat the ten): docs/gan_adapt_quick.png.
  KID to held-out pictures (SqueezeNet, 128 against 64, +- of halves) does not
  follow: cel 2.10 +- 0.18 (plain 2.39 +- 0.31, consistency 1000 1.84 +- 0.15),
  duotone 2.00 +- 0.16 (plain 1.62 +- 0.26, 1000 2.31 +- 0.16, without "color"
  in the policies 2.59 +- 0.20). The GAN itself is 1.58 from its own style.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(variant: str = "") -> ConfigDict:
  """Makes the experiment.

  Args:
    variant: "" (any GAN), "quick" or "smoke".

  Raises:
    ValueError: for another variant.
  """
  config = common.base()
  config.task = "gan_adapt"
  config.total_steps = 1_000
  config.log_every = 20
  config.eval_every = 100
  config.save_every = 100
  config.data.update(
    source_a="folder",
    path_a="",  # one to twenty pictures, framed as the GAN's own
    source_b="",
    size=64,
    crop=False,
    flip=False,
    batch_size=8,
    eval_examples=8,
    eval_fraction=0.0,
    workers=0,
  )
  config.loss = ConfigDict(
    {"name": "relativistic", "r1": 2.0, "r2": 2.0, "consistency": 30.0}
  )
  # Beginnings of layers' names, R3GAN's, StyleGAN2's and DCGAN's. Of the
  # generators what reads latents; of the discriminators what is nearest to the
  # picture (of a StyleGAN2 of 64 px also "conv_4" and "skip_4").
  config.freeze = ConfigDict(
    {
      "gen": ("mixing", "basis", "embedding", "mapping", "constant", "stem"),
      "disc": ("rgb", "block_0", "transition_1", "block_1", "down_0"),
    }
  )
  config.compared = 8  # latents whose pictures are compared with each other
  config.least_order = 0.5  # stops below this correlation of distances
  config.half_life = 0.0  # of the averaged generator, in pictures; 0: none
  config.augment = ConfigDict(
    {"name": "diffaugment", "policies": ("color", "translation", "cutout")}
  )
  config.optim.update(lr=2e-4, b1=0.0, b2=0.99)
  variants = {"quick": _quick, "smoke": _smoke}
  return common.apply_variant(config, variant, variants, "configs/gan_adapt.py")


def _quick(config: ConfigDict) -> None:
  """32 px, a few hundred steps."""
  config.total_steps = 400
  config.data.size = 32
  config.half_life = 200.0


def _smoke(config: ConfigDict) -> None:
  """The same mathematics at the smallest size that still uses every part."""
  common.smallest(config)
  config.half_life = 8.0
  config.compared = 4
  config.data.update(size=16, batch_size=4, eval_examples=4)
