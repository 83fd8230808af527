"""Losses between a picture and its translation, for pictures in [-1, 1]."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float


def l1(
  x: Float[Array, "*shape"], y: Float[Array, "*shape"]
) -> Float[Array, ""]:
  """Mean absolute difference.

  Args:
    x: pictures or features of any shape and float type.
    y: the same shape.

  Returns:
    The mean over all elements, float32, in the unit of the inputs.

  Raises:
    ValueError: if the shapes differ.
  """
  if x.shape != y.shape:
    raise ValueError(f"l1 needs equal shapes, got {x.shape} and {y.shape}.")
  return jnp.abs(x.astype(jnp.float32) - y.astype(jnp.float32)).mean()


def cycle_consistency(
  reconstruction: Float[Array, "b h w c"], image: Float[Array, "b h w c"]
) -> Float[Array, ""]:
  """L1 of a picture against its way there and back, |G_ba(G_ab(a)) - a|.

  Zhu et al. 2017, eq. 2, one of its two terms.

  Args:
    reconstruction: the picture translated and translated back.
    image: the original.

  Returns:
    The mean absolute difference, unweighted.
  """
  return l1(reconstruction, image)


def identity(
  translation: Float[Array, "b h w c"], image: Float[Array, "b h w c"]
) -> Float[Array, ""]:
  """L1 change of a picture already in the target domain, |G_ab(b) - b|.

  Zhu et al. 2017, section 5.2: keeps colours where nothing else ties them
  down (without it, colour inversion is a solution).

  Args:
    translation: the output of the generator *into* the picture's domain.
    image: the picture.

  Returns:
    The mean absolute difference, unweighted.
  """
  return l1(translation, image)


def attention(
  foreign: Float[Array, "*shape"], own: Float[Array, "*shape"]
) -> Float[Array, ""]:
  """Cross-entropy of a generator's classifier (Kim et al. 2020, eq. 5).

  Args:
    foreign: logits for pictures that are to be translated.
    own: logits for pictures of the domain that it translates into.

  Returns:
    BCE(foreign, 1) + BCE(own, 0), float32; 2 log 2 where it cannot tell.
  """
  foreign, own = foreign.astype(jnp.float32), own.astype(jnp.float32)
  return jax.nn.softplus(-foreign).mean() + jax.nn.softplus(own).mean()


def patch_nce(
  query: Float[Array, "b p c"],
  key: Float[Array, "b p c"],
  temperature: float = 0.07,
) -> Float[Array, ""]:
  """Contrastive loss between patches of two pictures (Park et al. 2020, eq. 3).

  Each patch of the translation should be more like the patch of the original
  at its place than like the original's other patches: cross-entropy over
  cosines. Negatives come from the same picture only.

  Args:
    query: unit features of patches of the translation, [B, P, C].
    key: of the same patches of the original; no gradient reaches them.
    temperature: what the cosines are divided by.

  Returns:
    The mean over patches and pictures, float32; log P for unrelated features.

  Raises:
    ValueError: if the shapes differ.
  """
  if query.shape != key.shape:
    raise ValueError(
      f"patch_nce needs equal shapes, got {query.shape} and {key.shape}."
    )
  cosines = jnp.einsum(
    "bpc,bqc->bpq",
    query.astype(jnp.float32),
    lax.stop_gradient(key).astype(jnp.float32),
    precision=lax.Precision.HIGHEST,
  )
  logits = cosines / temperature
  same = jnp.diagonal(logits, axis1=1, axis2=2)
  return (jax.nn.logsumexp(logits, -1) - same).mean()


def crop_consistency(
  cropped: Float[Array, "b h w c"], of_crop: Float[Array, "b h w c"]
) -> Float[Array, ""]:
  """Mean squared difference of crop(G(x)) and G(crop(x)).

  Yang et al. 2022 (VToonify), section 3.4: what a translation does to a part
  of the picture should not depend on what else is in view, so that a video does
  not flicker; needs no optical flow.

  Args:
    cropped: a part of the translation.
    of_crop: the translation of that part.

  Returns:
    The loss, float32.
  """
  difference = cropped.astype(jnp.float32) - of_crop.astype(jnp.float32)
  return jnp.square(difference).mean()


def face_identity(
  embedding: Float[Array, "b d"], target: Float[Array, "b d"]
) -> Float[Array, ""]:
  """1 - cosine of two pictures' face embeddings, as in photo2cartoon.

  Args:
    embedding: of the translation, of any length above 0.
    target: of the original; no gradient reaches it.

  Returns:
    The mean over the batch, in [0, 2].
  """
  x = embedding.astype(jnp.float32)
  y = lax.stop_gradient(target).astype(jnp.float32)
  lengths = jnp.square(x).sum(-1) * jnp.square(y).sum(-1)
  # The floor keeps the gradient finite where an embedding is all zeros.
  cosine = (x * y).sum(-1) * lax.rsqrt(jnp.maximum(lengths, 1e-24))
  return 1 - cosine.mean()
