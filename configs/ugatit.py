"""U-GAT-IT, photo <-> chibi, with attention (Kim et al. 2020).

python -m chibijax.main --config=configs/ugatit.py --workdir=runs/ugatit
The default is the light form at 256 px, which translates pictures of any size
(10.6 M parameters a generator).
Variants: `configs/ugatit.py:full` (256 px only, 279 M), `:quick` (64 px, CPU,
  minutes), `:smoke` (tests).
Own pictures: --config.data.source_a=folder --config.data.path_a=photos
  --config.data.source_b=folder --config.data.path_b=chibis
Hardware: one GPU or TPU for light and full (full: 279 M x 2 generators, about
  13 GB of parameters and optimiser state); 2 CPU cores for :quick.
Sample grids show where the networks look: input, its map, output, its map.
Measured: :quick, one thread of a busy CPU (load 15 on 4 cores), 1,000 steps of
  2 pictures, 15 min: 1,000 held-out pairs (benchmarks/quality.py) at
  PD-squeeze-keras 5.08 [5.02, 5.15], KID-squeeze 4.30 [4.20, 4.41], L1 0.133,
  PSNR 13.1 dB, SSIM 0.35: a chibi's head, eyes and the right skin, coloured
  noise; ONNX within 1.1e-5. Full at 256 px: compiled in 41 s, then
  13 to 21 s a step of one pair on 2 CPU cores, 18 GiB at the peak. Light and
  full at 256 px: not yet trained.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(variant: str = "") -> ConfigDict:
  """Makes the experiment.

  Args:
    variant: "" (the light recipe), "full", "quick" or "smoke".

  Raises:
    ValueError: for another variant.
  """
  config = common.translation(cycle=10.0, identity=10.0, cam=1000.0)
  config.total_steps = 1_000_000
  config.eval_every = 10_000
  config.save_every = 10_000
  config.model = ConfigDict(
    {
      "name": "ugatit",
      # light: AdaLIN is told the mean of the features, not all of them.
      "generator": {"width": 64, "blocks": 4, "light": True},
      "discriminator": {"width": 64, "local_layers": 3, "global_layers": 5},
      # Run a network once on two batches: the same result, faster where small
      # pictures leave cores idle, at the price of memory.
      "batch_calls": False,
    }
  )
  config.optim.update(
    lr=1e-4,
    b1=0.5,
    weight_decay=1e-4,  # added to the gradient
    schedule="linear_decay",
    decay_start=0.5,
  )
  variants = {"full": _full, "quick": _quick, "smoke": _smoke}
  return common.apply_variant(config, variant, variants, "configs/ugatit.py")


def _full(config: ConfigDict) -> None:
  """AdaLIN's scale and shift from the whole feature map."""
  config.model.generator.light = False


def _quick(config: ConfigDict) -> None:
  """64 px on 2 CPU cores, narrower; see `configs/cyclegan.py`.

  Both discriminators have a layer less, because the global one needs 96 pixels
  in full; at its full weight the classifier would drown the other losses.
  """
  common.small_portraits(config)
  config.total_steps = 1_000
  config.eval_every = 250
  config.save_every = 250
  config.data.update(batch_size=2, examples=500)
  config.model.generator.update(width=32, blocks=2)
  config.model.discriminator.update(width=24, local_layers=2, global_layers=4)
  config.model.batch_calls = True
  config.loss.update(cycle=5.0, identity=2.0, cam=20.0)
  config.optim.lr = 3e-4


def _smoke(config: ConfigDict) -> None:
  """The same mathematics at the smallest size that still uses every part."""
  common.smallest(config)
  config.data.update(
    size=32, load_size=36, batch_size=4, examples=16, eval_examples=4
  )
  config.model.generator.update(width=6, blocks=1)
  config.model.discriminator.update(width=6, local_layers=0, global_layers=1)
  config.model.batch_calls = True
