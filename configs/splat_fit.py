"""Gaussian splats of one figure, fitted to posed pictures (3DGS-MCMC).

python -m chibijax.main --config=configs/splat_fit.py --workdir=runs/splat
Variants: `configs/splat_fit.py:quick` (192 px, CPU, minutes), `:smoke` (tests).
Own pictures, a folder with transforms.json as NeRF and nerfstudio have it:
  --config.data.source_a=posed --config.data.path_a=scene
  --config.model.radius=1.5 (of the scene, in its units)
Then: chibijax export --workdir=runs/splat head.ply
Hardware: one GPU for the full recipe; 4 CPU cores for :quick.
Measured: :quick, 4 shared CPU cores (load 8), 2,500 steps, under 2 min: 8
  unseen views at PSNR 37.2 dB, SSIM 0.992 (at step 0: 8.9, 0.57), 10,000
  Gaussians. The full recipe is not yet trained.
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
  config.task = "splat"
  config.total_steps = 7_000
  config.log_every = 50
  config.eval_every = 1_000
  config.save_every = 1_000
  config.data.update(
    source_a="artist",
    domain_a="figure",
    source_b="",
    size=256,
    batch_size=1,
    examples=100,  # views
    eval_examples=8,
  )
  config.data.character = 260  # of data.seed
  config.model = ConfigDict(
    {
      "count": 50_000,
      "degree": 3,
      "degree_every": 1_000,  # steps until the colours' degree grows by one
      "radius": 0.6,  # of the scene around `center`, in world units
      "center": (0.0, 0.0, 0.0),
      "antialiased": False,
      "random_background": True,
      "relocate_every": 100,
      "relocate_until": 0.85,  # share of the run
      "noise": 5e5,  # of exploration, relative to the means' rate
    }
  )
  config.loss = ConfigDict({"dssim": 0.2, "opacity": 0.01, "scale": 0.01})
  # Learning rates; the means' is times `radius` and falls to `decay_to`.
  config.rates = ConfigDict(
    {
      "means": 1.6e-4,
      "quats": 1e-3,
      "scales": 5e-3,
      "opacities": 5e-2,
      "sh0": 2.5e-3,
      "shn": 1.25e-4,
    }
  )
  config.optim.eps = 1e-15
  config.optim.decay_to = 0.01
  variants = {"quick": _quick, "smoke": _smoke}
  return common.apply_variant(config, variant, variants, "configs/splat_fit.py")


def _quick(config: ConfigDict) -> None:
  """192 px on 4 CPU cores: fewer Gaussians, larger steps, fewer of them."""
  config.total_steps = 2_500
  config.log_every = 25
  config.eval_every = 500
  config.save_every = 500
  config.data.update(size=192, examples=80)
  config.model.update(count=10_000, degree=2, degree_every=700)
  config.model.relocate_every = 50
  config.rates.update(means=1.2e-3, quats=4e-3, scales=1e-2, sh0=1e-2, shn=5e-4)


def _smoke(config: ConfigDict) -> None:
  """The same mathematics at the smallest size that still uses every part."""
  common.smallest(config)
  config.data.update(size=16, batch_size=4, examples=8, eval_examples=4)
  config.model.update(count=48, degree=1, degree_every=2, relocate_every=2)
