"""How smooth a trained generator is: `chibijax path-length`."""

import functools
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from chibijax.apps import compare, latent
from chibijax.errors import UserError
from chibijax.metrics import ppl, report, suite
from chibijax.metrics.estimate import Estimate
from chibijax.models import features


def measure(
  space: latent.Space, distance: ppl.Distance, *, count: int, seed: int
) -> Estimate:
  """The perceptual path length in a generator's space.

  Args:
    space: of normal draws z, walked on great circles, or of styles w, walked on
      lines.
    distance: of pictures in [-1, 1].
    count: paths.
    seed: of their ends.

  Returns:
    The mean over the paths; see `metrics.ppl`.
  """
  told = space.labels(seed, 1)
  # Great circles are of unit vectors; a normal draw is longer.
  length = space.latent**0.5 if space.name == "z" else 1.0

  def generate(rows: Array) -> Array:
    labels = told
    if told is not None:
      labels = jnp.broadcast_to(told, (len(rows), told.shape[1]))
    return space.decode(length * rows, labels)

  return ppl.path_length(
    generate,
    space.sample,
    distance,
    space="w" if space.name == "w" else "z",
    count=count,
    key=jax.random.key(seed),
  )


def judge(
  run: pathlib.Path,
  *,
  network: str = "squeeze",
  weights: pathlib.Path | None = None,
  where: str | None = None,
  count: int = 1000,
  seed: int = 0,
) -> tuple[dict[str, Any], str]:
  """Measures a training.

  Args:
    run: the workdir of a GAN or an autoencoder, or an exported one.
    network: whose perceptual distance: "squeeze", "vgg" or "alex"; with VGG's
      LPIPS the numbers are those of the papers.
    weights: folder or file of the network's weights; None: environment, cache.
    where: "z", "w" or None, see `latent.load`.
    count: paths.
    seed: of all draws.

  Returns:
    The report, as `metrics.report.as_dict` makes it, and it in words.

  Raises:
    UserError: if the training or weights are missing, or a number is out of
      range.
  """
  if count < 2 or seed < 0:
    raise UserError(
      f"--count is {count} and --seed {seed}; expected at least 2 and 0."
    )
  find = functools.partial(compare.find_weights, weights)
  if network not in suite.NETWORKS or network == "inception":
    raise UserError(f"--network is {network!r}, expected squeeze, vgg or alex.")
  distance = features.load_distance(
    network, find(suite.NETWORKS[network]), find(f"lpips-{network}")
  )
  space = latent.load(run, where)
  found = measure(space, distance, count=count, seed=seed)
  title = f"PPL-{distance.name}"
  manifest = report.Manifest(
    judged=space.source,
    judged_count=count,
    reference="the same generator, a step further",
    reference_count=count,
    networks=[distance.describe()],
    resize="none",
  )
  return report.as_dict({title: found}, manifest), f"{title}: {found}"
