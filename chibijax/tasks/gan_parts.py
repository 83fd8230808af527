"""What GANs have in common: losses by name, schedules, augmentations."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from chibijax.core.types import Batch, Metrics
from chibijax.errors import UserError
from chibijax.losses import adversarial
from chibijax.ops import ada, diff_augment

# By name: the discriminator's loss of (real, fake) and the generator's.
LOSSES: dict[str, tuple[Callable[..., Array], Callable[..., Array]]] = {
  "minimax": (
    adversarial.logistic_discriminator,
    lambda real, fake: adversarial.minimax_generator(fake),
  ),
  "non_saturating": (
    adversarial.logistic_discriminator,
    lambda real, fake: adversarial.non_saturating_generator(fake),
  ),
  "wasserstein": (
    adversarial.wasserstein_discriminator,
    lambda real, fake: adversarial.wasserstein_generator(fake),
  ),
  "relativistic": (
    adversarial.relativistic,
    lambda real, fake: adversarial.relativistic(fake, real),
  ),
}
AUGMENTATIONS = ("none", "ada", "diffaugment")


@dataclasses.dataclass(frozen=True)
class Anneal:
  """A value that moves along half a cosine from `first` to `last`.

  Attributes:
    first: value at step 0.
    last: value from `steps` on.
    steps: how long it takes.
  """

  first: float
  last: float
  steps: int

  def __call__(self, step: Array) -> Float[Array, ""]:
    """The value at a step."""
    share = jnp.minimum(step / self.steps, 1.0)
    way = 0.5 * (1 - jnp.cos(jnp.pi * share))
    return self.first + way * (self.last - self.first)


@dataclasses.dataclass(frozen=True)
class Ramp:
  """A value that grows with the step up to a limit.

  Attributes:
    share: of the step.
    last: the limit.
  """

  share: float
  last: float

  def __call__(self, step: Array) -> Float[Array, ""]:
    """The value at a step."""
    return jnp.minimum(self.share * step, self.last)


@dataclasses.dataclass(frozen=True)
class Augment:
  """What a discriminator sees instead of pictures, real and generated alike.

  "ada" has a probability of each change, kept in the state: it rises while more
  real pictures are scored above 0 than `target` says, a sign of learning by
  heart, and else falls (Karras et al. 2020b, section 3.2, r_t).

  Attributes:
    name: of `AUGMENTATIONS`.
    policies: of `ops.diff_augment`, for "diffaugment".
    target: mean sign of real scores to aim at, for "ada".
    every: steps between changes of the probability.
    images: real pictures in which it can rise from 0 to 1.
    categories: of `ops.ada`, for "ada".
  """

  name: str = "none"
  policies: tuple[str, ...] = diff_augment.POLICIES
  target: float = 0.6
  every: int = 4
  images: int = 500_000
  categories: tuple[str, ...] = ada.PIPELINES["bgc"]

  def init(self) -> dict[str, Any]:
    """What a state's `extra` keeps of it; empty where it is nothing."""
    if self.name != "ada":
      return {}
    return {"ada": {"p": jnp.zeros(()), "signs": jnp.zeros(())}}

  def apply(
    self,
    keys: Key[Array, " b"],
    images: Float[Array, "b h w 3"],
    extra: dict[str, Any],
  ) -> Float[Array, "b h w 3"]:
    """Changes pictures, each by its own key."""
    if self.name == "ada":
      return ada.ada(keys, images, extra["ada"]["p"], self.categories)
    if self.name == "diffaugment":
      return diff_augment.diff_augment(keys, images, self.policies)
    return images

  def advance(
    self,
    extra: dict[str, Any],
    sign: Float[Array, ""] | None,
    step: Array,
    count: int,
  ) -> tuple[dict[str, Any], Metrics]:
    """Moves the probability after a step.

    Args:
      extra: the state's.
      sign: mean sign of this step's real scores, over all shards; None where
        nobody asks.
      step: finished steps before this one.
      count: real pictures of a step.

    Returns:
      The next `extra`, and metrics.
    """
    if self.name != "ada":
      return extra, {}
    p = extra["ada"]["p"]
    signs = extra["ada"]["signs"] + sign
    due = (step + 1) % self.every == 0
    move = jnp.sign(signs / self.every - self.target)
    moved = p + move * (count * self.every / self.images)
    kept = {
      "p": jnp.where(due, jnp.clip(moved, 0.0, 1.0), p),
      "signs": jnp.where(due, 0.0, signs),
    }
    return {**extra, "ada": kept}, {"ada/p": kept["p"]}


def check_batch(
  spec: Batch, size: int, critic_steps: int, conditional: bool
) -> None:
  """Checks that a batch is one for a GAN.

  Args:
    spec: the global batch as `jax.ShapeDtypeStruct`.
    size: side of the GAN's pictures.
    critic_steps: parts that a batch is split into.
    conditional: labels are wanted.

  Raises:
    UserError: if there is no `image`, it has another size, labels are missing
      or the batch cannot be split.
  """
  shape = (size, size, 3)
  if "image" not in spec or tuple(spec["image"].shape[1:]) != shape:
    raise UserError(
      f"gan needs batches of `image` {shape}: set data.source_b to nothing "
      "and data.size to what the networks make."
    )
  if conditional and "attributes" not in spec:
    raise UserError(
      "model.conditional needs labels: set data.domain_a to labelled_chibi "
      "(of source_a artist), or data.label_file to a CSV (of a folder)."
    )
  if spec["image"].shape[0] % critic_steps:
    raise UserError(
      f"data.batch_size is {spec['image'].shape[0]}, expected a multiple of "
      f"model.critic_steps, {critic_steps}."
    )
