"""Unconditional and labelled GANs: one task, whose loss and networks are named.

A step makes `critic_steps` updates of the discriminator, each on its share of
the batch, then one of the generator on the last share. Losses by `loss.name`:

* minimax, non_saturating: Goodfellow et al. 2014.
* wasserstein: Arjovsky et al. 2017, with `loss.gradient_penalty` WGAN-GP
  (Gulrajani et al. 2017).
* relativistic: Huang et al. 2024 (R3GAN), with `loss.r1` and `loss.r2`.

Any of them may take any of the penalties. Networks by `model.name`: "dcgan",
"r3gan" or "stylegan2". R3GAN's schedules are cosines over `anneal_images`
pictures: the learning rate, beta2, the penalties' weights, and the half-life of
the averaged generator, in pictures. StyleGAN2 has a step of its own
(`tasks.gan_style`), with lazy penalties.

The discriminator may see augmented pictures, by `augment.name`: "none", "ada"
or "diffaugment".
"""

from typing import Any

import optax

from chibijax.core import optim
from chibijax.core.types import Axis, Precision
from chibijax.errors import UserError
from chibijax.models import dcgan, r3gan, stylegan2
from chibijax.ops import ada, diff_augment
from chibijax.tasks import gan_style
from chibijax.tasks.gan_parts import AUGMENTATIONS, LOSSES, Anneal, Augment
from chibijax.tasks.gan_step import Gan

__all__ = ["build"]

_NETWORKS = ("dcgan", "r3gan", "stylegan2")


def build(config: Any, axis: Axis | None = None) -> Gan:
  """Builds the task.

  Args:
    config: an experiment's config (`configs/common.py`): `model.name`
      (of `_NETWORKS`), `model.latent`, `model.critic_steps`,
      `model.conditional` and the networks' sizes; `loss.name`, `loss.r1`,
      `loss.r2`, `loss.gradient_penalty`, `loss.penalty_end` (their last weight
      relative to the first); `optim`, with `lr_end` and `b2_end`;
      `anneal_images` (0: nothing is annealed); `half_life` of the generator's
      average, in pictures (0: none); `augment` (`gan_parts.Augment`);
      `data.size`, `data.batch_size`, `total_steps`, `precision`.
    axis: the data axis under pmap; None is the global view of jit.

  Returns:
    The task.

  Raises:
    UserError: if a name is unknown or values do not fit together.
  """
  model, loss, size = config.model, config.loss, config.data.size
  _check_config(config)
  axis = axis or Axis()
  generator, discriminator = _networks(config, axis)
  # A step shows this many pictures to the generator.
  images = config.data.batch_size / model.critic_steps
  steps = max(round(config.anneal_images / images), 1)
  half_life = None
  if config.half_life:
    steps_of_it = config.half_life / images
    first = 0.0 if config.anneal_images else steps_of_it
    half_life = Anneal(first, steps_of_it, steps)
  fields = dict(
    generator=generator,
    discriminator=discriminator,
    latent=model.latent,
    size=size,
    losses=LOSSES[loss.name],
    r2=loss.r2,
    gradient_penalty=loss.gradient_penalty,
    penalty_scale=Anneal(
      1.0, loss.penalty_end if config.anneal_images else 1.0, steps
    ),
    critic_steps=model.critic_steps,
    augment=_augment(config),
    conditional=model.conditional,
    axis=axis,
  )
  if model.name == "stylegan2":
    return gan_style.build(config, fields)
  return Gan(
    **fields,
    gen_optimizer=_optimizer(config, steps, 1, axis),
    disc_optimizer=_optimizer(config, steps, model.critic_steps, axis),
    r1=loss.r1,
    half_life=half_life,
  )


def _augment(config: Any) -> Augment:
  """What the config says, which in older runs is nothing."""
  values = config.augment
  if values.get("name", "none") == "none":
    return Augment()
  _check_augment(values)
  return Augment(
    values.name,
    tuple(values.policies),
    values.target,
    values.every,
    values.images,
    ada.PIPELINES[values.get("pipeline", "bgc")],
  )


def _check_config(config: Any) -> None:
  model, loss = config.model, config.loss
  if model.name not in _NETWORKS:
    names = ", ".join(map(repr, _NETWORKS))
    raise UserError(f"model.name is {model.name!r}, expected one of {names}.")
  if loss.name not in LOSSES:
    names = ", ".join(map(repr, LOSSES))
    raise UserError(f"loss.name is {loss.name!r}, expected one of {names}.")
  if min(loss.r1, loss.r2, loss.gradient_penalty, config.half_life) < 0:
    raise UserError(
      "loss.r1, loss.r2, loss.gradient_penalty and half_life must not be "
      f"negative, got {loss.r1}, {loss.r2}, {loss.gradient_penalty} and "
      f"{config.half_life}."
    )
  if model.critic_steps < 1:
    raise UserError(
      f"model.critic_steps is {model.critic_steps}, expected at least 1."
    )
  penalised = loss.r1 or loss.r2 or loss.gradient_penalty
  if model.name == "dcgan" and model.norm and penalised:
    raise UserError(
      "Penalties look at each picture alone: set model.norm to False."
    )


def _check_augment(values: Any) -> None:
  if values.name not in AUGMENTATIONS:
    names = ", ".join(map(repr, AUGMENTATIONS))
    raise UserError(
      f"augment.name is {values.name!r}, expected one of {names}."
    )
  pipeline = values.get("pipeline", "bgc")
  if pipeline not in ada.PIPELINES:
    names = ", ".join(map(repr, ada.PIPELINES))
    raise UserError(
      f"augment.pipeline is {pipeline!r}, expected one of {names}."
    )
  if unknown := set(values.policies) - set(diff_augment.POLICIES):
    raise UserError(
      f"augment.policies has {sorted(unknown)}, expected of "
      f"{diff_augment.POLICIES}."
    )
  if min(values.every, values.images) < 1 or not -1 < values.target < 1:
    raise UserError(
      "augment.every and augment.images must be at least 1 and augment.target "
      f"in (-1, 1), got {values.every}, {values.images} and {values.target}."
    )


def _networks(config: Any, axis: Axis) -> tuple[Any, Any]:
  """The generator and the discriminator."""
  model, size = config.model, config.data.size
  dtype = Precision(config.precision).dtype
  embedding = model.embedding if model.conditional else 0
  if model.name != "r3gan" and (size < 8 or size & (size - 1)):
    raise UserError(
      f"data.size is {size}, expected a power of two of at least 8."
    )
  if model.name == "stylegan2":
    widths = stylegan2.channels(
      size, base=model.channel_base, most=model.channel_max
    )
    low = model.low_precision
    return (
      stylegan2.Generator(
        widths, model.style, model.depth, embedding, low, dtype
      ),
      stylegan2.Discriminator(
        widths, model.group, embedding, low, dtype, axis.name
      ),
    )
  if model.name == "dcgan":
    return (
      dcgan.Generator(size, model.width, embedding, dtype, axis.name),
      dcgan.Discriminator(model.width, model.norm, embedding, dtype, axis.name),
    )
  widths = tuple(model.widths)
  if r3gan.BASE * 2 ** (len(widths) - 1) != size:
    raise UserError(
      f"model.widths has {len(widths)} resolutions, so data.size must be "
      f"{r3gan.BASE * 2 ** (len(widths) - 1)}, got {size}."
    )
  group = model.group
  if bad := [w for w in widths if group and w * model.expansion % group]:
    raise UserError(
      f"model.widths {bad} times model.expansion, {model.expansion}, do not "
      f"split into groups of {group}."
    )
  values = dict(
    widths=widths,
    blocks=model.blocks,
    expansion=model.expansion,
    group=group,
    embedding=embedding,
    dtype=dtype,
  )
  return r3gan.Generator(**values), r3gan.Discriminator(**values)


def _optimizer(
  config: Any, steps: int, updates: int, axis: Axis
) -> optax.GradientTransformation:
  """Adam, annealed over `steps` of so many updates where that is wanted."""
  values = config.optim
  if not config.anneal_images:
    return optim.make(values, config.total_steps * updates, axis)
  steps *= updates
  annealed = optax.inject_hyperparams(optax.adam, static_args=("b1", "eps"))(
    learning_rate=Anneal(values.lr, values.lr_end, steps),
    b1=values.b1,
    b2=Anneal(values.b2, values.b2_end, steps),
    eps=values.eps,
  )
  if axis.name is None:
    return annealed
  return optax.GradientTransformation(
    annealed.init,
    lambda grads, state, params=None: annealed.update(
      axis.mean(grads), state, params
    ),
  )
