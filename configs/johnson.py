"""One style by a feed-forward network (Johnson et al. 2016), 256 px.

python -m chibijax.main --config=configs/johnson.py --workdir=runs/johnson
Variants: `configs/johnson.py:quick` (96 px, CPU, SqueezeNet's features; the
  style is the artist's painting 69), `:smoke` (tests; a feature network that
  has learnt nothing).
The feature network: CHIBIJAX_VGG16=vgg16-397923af.pth, or of :quick
  CHIBIJAX_SQUEEZENET=FILE; or --config.model.features.weights=FILE.
The style is the mean of domain b's: of one picture, where a folder has one, or
  another painting, --config.data.domain_b=painting:7
  --config.data.source_b=folder --config.data.path_b=styles
Hardware: one GPU for the full recipe; 4 CPU cores for :quick.
Measured: :quick, 700 steps in 33 minutes, mostly on two overloaded CPU cores (8
  minutes of CPU time): docs/style_fast.png. Style distance of 32 held-out
  portraits 0.15, before 0.61; content distance 1.3. Of 4 portraits 0.17 and
  1.3 in 0.03 s a picture, where 100 steps of Gatys' method
  have 0.18 and 0.41 in 32 s (benchmarks/style.py).
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
  config.total_steps = 40_000  # two epochs of COCO
  config.data.update(size=256, load_size=286, batch_size=4)
  config.model = ConfigDict(
    {
      "name": "johnson",
      # Weights: a file or folder, "" for the environment variable, or "random".
      "features": {"network": "vgg16", "weights": "", "zoom": 1},
      # `smooth`: enlarge by interpolation, not by repeating pixels.
      "generator": {"width": 32, "blocks": 5, "smooth": False},
    }
  )
  config.loss = ConfigDict(
    {
      "content": 1e5,
      "style": 1e10,
      "variation": 0.0,
      "relative": False,
      "content_layers": ("relu2_2",),
      "style_layers": ("relu1_2", "relu2_2", "relu3_3", "relu4_3"),
    }
  )
  config.optim.lr = 1e-3
  variants = {"quick": _quick, "smoke": _smoke}
  return common.apply_variant(config, variant, variants, "configs/johnson.py")


def _quick(config: ConfigDict) -> None:
  """96 px on CPU cores; weights relative to the targets suit any network."""
  config.total_steps = 700
  config.log_every = 20
  config.eval_every = 300
  config.save_every = 300
  config.ema = 0.99
  config.data.update(
    domain_b="painting:69",
    size=96,
    load_size=128,
    batch_size=4,
    examples=600,
    eval_examples=32,
    workers=1,
  )
  # SqueezeNet begins with a stride: it sees pictures twice as large.
  config.model.features.update(network="squeezenet", zoom=2)
  config.model.generator.update(width=16, blocks=4, smooth=True)
  config.loss.update(
    content=1.0,
    style=2.0,
    variation=0.2,
    relative=True,
    content_layers=("fire3", "fire5"),
    style_layers=("pixels", "relu1", "fire2", "fire3", "fire5"),
  )
  config.optim.schedule = "cosine"


def _smoke(config: ConfigDict) -> None:
  """The same mathematics at the smallest size that still uses every part."""
  common.smallest(config)
  config.data.update(
    size=32, load_size=36, batch_size=4, examples=16, eval_examples=4
  )
  config.model.features.update(network="squeezenet", weights="random")
  config.model.generator.update(width=6, blocks=1)
  config.loss.update(
    content=1.0,
    style=1.0,
    relative=True,
    content_layers=("fire2",),
    style_layers=("relu1", "fire2"),
  )
