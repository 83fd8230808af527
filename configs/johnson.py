"""One style by a feed-forward network (Johnson et al. 2016), 256 px.

python -m chibijax.main --config=configs/johnson.py --workdir=runs/johnson
Variants: `configs/johnson.py:quick` (96 px, CPU, SqueezeNet's features),
  `:smoke` (tests; a feature network that has learnt nothing).
The feature network: CHIBIJAX_VGG16=vgg16-397923af.pth, or of :quick
  CHIBIJAX_SQUEEZENET=FILE; or --config.model.features.weights=FILE.
The style is the mean of domain b's: of one picture, where a folder has one.
  --config.data.source_b=folder --config.data.path_b=styles
Hardware: one GPU for the full recipe; 4 CPU cores for :quick.
Measured: not yet.
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
      "features": {"network": "vgg16", "weights": ""},
      "generator": {"width": 32, "blocks": 5},
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
  config.total_steps = 2_000
  config.log_every = 20
  config.eval_every = 500
  config.save_every = 500
  config.ema = 0.99
  config.data.update(
    size=96,
    load_size=108,
    batch_size=4,
    examples=1_000,
    eval_examples=32,
    workers=1,
  )
  config.model.features.network = "squeezenet"
  config.model.generator.update(width=16, blocks=4)
  config.loss.update(
    content=1.0,
    style=3.0,
    variation=0.5,
    relative=True,
    content_layers=("fire3",),
    style_layers=("relu1", "fire2", "fire3", "fire5"),
  )


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
