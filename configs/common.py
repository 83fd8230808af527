"""What every experiment has: the loop's settings and the data's layout.

An experiment's file calls `base()` and changes what differs. Every value can
be set on the command line (`--config.data.batch_size=4`). Sequences are
tuples, because ml_collections cannot override lists.
"""

from collections.abc import Callable, Mapping

from ml_collections import ConfigDict


def apply_variant(
  config: ConfigDict,
  variant: str,
  variants: Mapping[str, Callable[[ConfigDict], None]],
  file: str,
) -> ConfigDict:
  """Changes an experiment into one of its variants.

  Args:
    config: the full experiment.
    variant: what follows the colon of `--config=FILE:VARIANT`; "" for none.
    variants: what each name changes.
    file: the experiment's file, for the message.

  Returns:
    The config.

  Raises:
    ValueError: for another name.
  """
  if variant:
    if variant not in variants:
      names = ", ".join(map(repr, variants))
      raise ValueError(
        f"{file} has no variant {variant!r}: expected {names} or none."
      )
    variants[variant](config)
  return config


def base() -> ConfigDict:
  """Makes the settings that the loop, the checkpoints and the data read."""
  return ConfigDict(
    {
      "task": "",  # a module of chibijax.tasks
      "init_from": "",  # a training to start from; "": drawn anew
      "seed": 0,
      "total_steps": 100_000,
      "parallel": "jit",  # or "fsdp", "pmap"
      "microbatches": 1,  # parts of a batch, one after the other
      "precision": "float32",  # the networks' compute dtype, or "bfloat16"
      "ema": 0.0,  # decay of the averaged weights; 0: none
      # Steps between log lines, evaluations and checkpoints.
      "log_every": 50,
      "eval_every": 5_000,
      "save_every": 5_000,
      "keep": 3,  # newest checkpoints kept
      "profile": (0, 0),  # first step and number of steps traced; 0: none
      # Of --mode=evaluate: names of metrics of sets (chibijax.metrics.suite),
      # and the folder or file of their feature networks' weights.
      "metrics": (),
      "feature_weights": "",
      # What may differ between two starts of one run: it changes no result.
      "free": (
        "log_every",
        "eval_every",
        "save_every",
        "keep",
        "profile",
        "metrics",
        "feature_weights",
        "data.workers",
        "data.threads",
        "data.cache_mb",
      ),
      "data": _data(),
      "augment": _augment(),
      "optim": _optim(),
      "model": {},
      "loss": {},
    }
  )


def translation(**loss: float | bool) -> ConfigDict:
  """Makes a translation: `base`, and the losses that each one can be given.

  Args:
    **loss: its own losses' weights.
  """
  config = base()
  config.task = "translation"
  config.loss = ConfigDict(
    {
      **loss,
      # Extras (`tasks.translation_extras`), 0: off.
      "crop": 0.0,  # the same result for a part of a picture
      "face": 0.0,  # the same person by an embedder of your own:
      "face_embedder": "",  # such as "mine.make" of a file mine.py here
    }
  )
  return config


def labelled_portraits(config: ConfigDict) -> None:
  """Sets what both networks that read faces are trained on, and how.

  Args:
    config: what `base` made.
  """
  config.data.update(
    source_a="artist",
    domain_a="labelled",
    source_b="",
    size=160,
    crop=False,  # the step aligns and bends the portraits itself
    flip=False,
    examples=20_000,
    eval_examples=256,
    workers=2,
    cache_mb=2_100,  # all of them
  )
  config.ema = 0.998
  config.log_every = 50
  config.eval_every = 400
  config.save_every = 400
  config.optim.update(lr=1e-3, schedule="cosine", clip=1.0)
  # How a face is seen: standard deviations, see `ops.face_views.draw_view`.
  # MTCNN's alignment errs by 0.03 to 0.05 (shift), 0.04 (scale) and 3 degrees
  # on portraits; the rest is for faces unlike the artist's.
  config.view = ConfigDict(
    {
      "shift": 0.06,
      "scale": 0.07,
      "turn": 4.0,
      "stretch": 0.10,
      "perspective": 0.14,
      "bend": 0.045,
      "features": 0.25,
      "parallax": 0.20,
    }
  )


def small_portraits(config: ConfigDict) -> None:
  """Portraits and chibis at 64 px, as two CPU cores translate them in minutes.

  Chibis without backgrounds and no random crops, neither of which a photo
  foretells, and averaged weights, which hide the last steps' noise. Each
  picture is drawn once, then cached: drawing shares the cores with training.

  Args:
    config: of a translation.
  """
  config.total_steps = 1_600
  config.log_every = 20
  config.eval_every = 400
  config.save_every = 200
  config.ema = 0.99
  config.data.update(
    size=64,
    crop=False,
    batch_size=4,
    examples=1_000,
    eval_examples=64,
    cutout=True,
    workers=1,
  )


def smallest(config: ConfigDict) -> None:
  """Makes a run as short as still evaluates, saves and resumes.

  Args:
    config: any experiment.
  """
  config.total_steps = 6
  config.log_every = 1
  config.eval_every = 3
  config.save_every = 3


def smallest_portraits(config: ConfigDict) -> None:
  """Makes such a run as small as tests want it.

  Args:
    config: what `labelled_portraits` changed.
  """
  smallest(config)
  config.data.update(
    size=48, batch_size=4, examples=16, eval_examples=4, workers=0
  )


def chibi_gan(config: ConfigDict) -> None:
  """Sets what the GANs share: the artist's chibis, and everything else off.

  Args:
    config: what `base` made.
  """
  config.task = "gan"
  config.data.update(
    source_a="artist",
    domain_a="chibi",
    source_b="",
    size=64,
    crop=False,
    flip=False,
    eval_examples=64,
    workers=2,
    cutout=True,
  )
  config.model = ConfigDict(
    {"name": "", "latent": 64, "critic_steps": 1, "conditional": False}
  )
  config.loss = ConfigDict(
    {
      "name": "",
      "r1": 0.0,
      "r2": 0.0,
      "gradient_penalty": 0.0,
      "penalty_end": 1.0,  # the weights' last value relative to the first
    }
  )
  config.optim.update(lr_end=0.0, b2_end=0.0)
  config.anneal_images = 0  # pictures until these are reached; 0: never
  config.half_life = 0.0  # of the averaged generator, in pictures; 0: none
  config.augment = ConfigDict(
    {
      # What the discriminator sees: "none", "ada" or "diffaugment".
      "name": "none",
      "policies": ("color", "translation", "cutout"),  # of diffaugment
      # Of ada: which changes ("bgc" and others of `ops.ada.PIPELINES`).
      "pipeline": "bgc",
      # Of ada: mean sign of real scores, steps between changes of p, pictures
      # in which p may rise from 0 to 1.
      "target": 0.6,
      "every": 4,
      "images": 500_000,
    }
  )


def labelled_chibis(config: ConfigDict) -> None:
  """Shows both networks of a GAN the artist's attributes.

  Args:
    config: what `chibi_gan` and the experiment set.
  """
  config.model.conditional = True
  config.data.update(domain_a="labelled_chibi", flip=False)


def quick_dcgan(config: ConfigDict) -> None:
  """Makes a run of DCGAN's networks as small as a CPU wants it.

  Args:
    config: what `chibi_gan` and the experiment set.
  """
  config.total_steps = 3_000
  config.log_every = 25
  config.eval_every = 500
  config.save_every = 500
  config.half_life = 2_000.0
  config.data.update(batch_size=32, examples=6_000, workers=1)
  config.model.width = 32


def smallest_dcgan(config: ConfigDict) -> None:
  """Makes such a run as small as tests want it.

  Args:
    config: what `chibi_gan` and the experiment set.
  """
  smallest(config)
  config.half_life = 8.0
  config.data.update(
    size=16, batch_size=8, examples=8, eval_examples=4, workers=0
  )
  config.model.update(width=4, latent=5)


def _data() -> dict:
  return {
    # "artist" (drawn on the fly), "folder" or "tfds"; path_* is the folder,
    # or the TFDS name; domain_* is what the artist draws.
    "source_a": "artist",
    "source_b": "artist",
    "path_a": "",
    "path_b": "",
    "domain_a": "portrait",
    "domain_b": "chibi",
    "body": False,  # the artist's chibis as whole figures
    "cutout": False,  # the artist's chibis on plain `background`
    "image_key_a": "image",  # feature of a TFDS data set
    "image_key_b": "image",
    "tfds_dir": "",  # "": TFDS's default
    "paired": False,
    # How a picture becomes a square: center, top, letterbox or stretch.
    "fit_a": "center",
    "fit_b": "center",
    "background": (255, 255, 255),  # under transparency and letterbox bars
    "min_side": 16,  # smaller pictures of a folder are skipped, in pixels
    "size": 256,
    "load_size": 286,  # resized to this, then cropped to `size`
    "crop": True,
    "flip": True,
    "batch_size": 1,  # global: over all devices and hosts
    "examples": 10_000,  # drawn per domain for training
    "eval_examples": 64,  # held out, at most
    "eval_fraction": 0.1,  # of a folder that has no split of its own
    "label_file": "",  # a CSV of labels, of a folder as source_a alone
    "labels": (),  # its columns, or features of a TFDS data set
    "seed": 0,  # of the artist's characters
    "threads": 0,  # 0: one per core, at most 8
    "workers": 0,  # processes; 0: threads only
    "cache_mb": 512,  # of decoded or drawn pictures, per process
  }


def _augment() -> dict:
  # Photometric strengths, used on the device on what goes in (a translation's
  # domain a); 0: off.
  return {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}


def _optim() -> dict:
  return {
    "name": "adam",
    "lr": 2e-4,
    "b1": 0.9,
    "b2": 0.999,
    "eps": 1e-8,
    "weight_decay": 0.0,
    "schedule": "constant",  # or "linear_decay", "cosine"
    "decay_start": 0.5,  # fraction of the run, for "linear_decay"
    "clip": 0.0,  # largest global gradient norm; 0: none
  }
