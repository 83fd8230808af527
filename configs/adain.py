"""AdaIN, photos in the style of any picture (Huang & Belongie 2017).

python -m chibijax.main --config=configs/adain.py --workdir=runs/adain
Variants: `configs/adain.py:quick` (96 px, CPU, SqueezeNet's features; styles
  are the artist's abstract paintings), `:smoke` (tests; a feature network that
  has learnt nothing).
The feature network: CHIBIJAX_VGG19=vgg19-dcbb9e9d.pth, or of :quick
  CHIBIJAX_SQUEEZENET=FILE; or --config.model.features.weights=FILE.
Own pictures: --config.data.source_a=folder --config.data.path_a=photos
  --config.data.source_b=folder --config.data.path_b=styles
Afterwards: chibijax style me.jpg painting:7 --workdir runs/adain
Hardware: one GPU for the full recipe; 4 CPU cores for :quick.
Measured: :quick, 900 steps in 31 minutes, mostly on two overloaded CPU cores (8
  minutes of CPU time): docs/style_fast.png. Style distance of 32 held-out
  pairs 0.21, of the portraits themselves 0.67; content distance 1.5. Of 4
  pairs 0.17 and 1.9 in 0.03 s a picture, where 100 steps of
  Gatys' method have 0.24 and 0.47 in 26 s (benchmarks/style.py). Colours and
  light are the style's, large shapes are not; hatching comes out worst.
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
  config.task = "style"
  config.total_steps = 160_000
  config.data.update(size=256, load_size=512, batch_size=8)
  config.model = ConfigDict(
    {
      "name": "adain",
      # Weights: a file or folder, "" for the environment variable, or "random".
      "features": {"network": "vgg19", "weights": "", "zoom": 1},
      "layer": "relu4_1",
      "colors": False,  # colours beside the features
      # Channels and convolutions of the encoder's blocks up to `layer`.
      # `smooth`: enlarge by interpolation, not by repeating pixels.
      "decoder": {
        "blocks": ((64, 2), (128, 2), (256, 4), (512, 1)),
        "smooth": False,
      },
    }
  )
  config.loss = ConfigDict(
    {
      "content": 1.0,
      "style": 10.0,
      "variation": 0.0,
      "style_layers": ("relu1_1", "relu2_1", "relu3_1", "relu4_1"),
    }
  )
  config.optim.lr = 1e-4
  config.optim.schedule = "inverse_time"
  config.optim.decay_rate = 5e-5
  variants = {"quick": _quick, "smoke": _smoke}
  return common.apply_variant(config, variant, variants, "configs/adain.py")


def _quick(config: ConfigDict) -> None:
  """96 px on CPU cores, through SqueezeNet's third fire module."""
  config.total_steps = 900
  config.log_every = 20
  config.eval_every = 300
  config.save_every = 300
  config.ema = 0.99
  config.data.update(
    domain_b="painting",
    size=96,
    load_size=128,
    batch_size=4,
    examples=600,
    eval_examples=32,
    workers=1,
  )
  # SqueezeNet begins with a stride: it sees pictures twice as large.
  config.model.features.update(network="squeezenet", zoom=2)
  config.model.layer = "fire3"
  config.model.colors = True
  config.model.decoder.update(blocks=((32, 2), (64, 3)), smooth=True)
  config.loss.update(
    style=4.0,
    variation=0.5,
    style_layers=("pixels", "relu1", "fire2", "fire3", "fire5"),
  )
  config.optim.lr = 1e-3
  config.optim.schedule = "cosine"


def _smoke(config: ConfigDict) -> None:
  """The same mathematics at the smallest size that still uses every part."""
  common.smallest(config)
  config.data.update(
    size=32, load_size=36, batch_size=4, examples=16, eval_examples=4
  )
  config.model.features.update(network="squeezenet", weights="random")
  config.model.layer = "fire2"
  config.model.decoder.blocks = ((6, 1), (6, 1), (8, 1))
  config.loss.style_layers = ("relu1", "fire2")
