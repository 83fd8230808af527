"""pix2pix, CUT and FastCUT: training, resume, shards, evaluation, refusals."""

import dataclasses
import pathlib
from types import ModuleType

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest
from PIL import Image

from chibijax.core.types import Axis, TrainState, spec_of
from chibijax.errors import UserError
from chibijax.losses import translation as losses
from chibijax.models.patchgan import PatchDiscriminator
from chibijax.ops import image
from chibijax.tasks import translation
from chibijax.tasks import translation_common as common
from chibijax.tasks.translation_extras import Extras
from configs import cut, cyclegan, pix2pix
from tests.tasks import resume

KEY = jax.random.key(7)
FASTCUT = {"model.flip": True, "loss.nce": 10.0, "loss.identity": False}
# What :quick has and the paper has not.
STEEP = {
  "loss.r1": 1.0,
  "model.generator.refine": True,
  "model.discriminator.norm": False,
}
MODELS = {
  "pix2pix": (pix2pix, STEEP),
  "cut": (cut, {}),
  "fastcut": (cut, FASTCUT),
}


def _config(
  file: ModuleType, changes: dict | None = None
) -> ml_collections.ConfigDict:
  config = file.get_config("smoke")
  config.unlock()
  config.update_from_flattened_dict(changes or {})
  return config


def _batch(size: int = 32, rows: int = 4, seed: int = 0) -> dict:
  rng = np.random.default_rng(seed)
  shape = (rows, size, size, 3)
  return {
    f"image_{d}": jnp.asarray(rng.integers(0, 256, shape, np.uint8))
    for d in "ab"
  }


def _state(config: ml_collections.ConfigDict) -> TrainState:
  task = translation.build(config)
  return jax.jit(lambda k: task.init(k, spec_of(_batch())))(KEY)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
  """Two folders of small pictures of the same names."""
  root = tmp_path_factory.mktemp("pictures")
  rng = np.random.default_rng(0)
  for domain in "ab":
    (root / domain).mkdir()
    for index in range(24):
      noise = rng.integers(0, 256, (40, 40, 3), np.uint8)
      Image.fromarray(noise).save(root / domain / f"{index:02d}.png")
  return root


@pytest.mark.parametrize("name", ["pix2pix", "fastcut"])
def test_training_is_finite_resumes_bitwise_and_compiles_once(
  name: str, pictures: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  file, changes = MODELS[name]
  changes = changes | {"ema": 0.9, "augment.brightness": 0.1, "total_steps": 3}
  config = _config(file, changes)
  for domain in "ab":
    config.data[f"source_{domain}"] = "folder"
    config.data[f"path_{domain}"] = str(pictures / domain)
  state, _ = resume.check(config, tmp_path)
  assert all(np.isfinite(x).all() for x in jax.tree.leaves(state.params))
  nets = {"gen_ab", "disc_b"} | ({"sampler"} if "cut" in name else set())
  assert set(state.params) == nets and set(state.ema) == {"gen_ab"}


@pytest.mark.parametrize("file", [pix2pix, cut, cyclegan])
def test_r1_is_added_to_the_loss_and_said(file: ModuleType) -> None:
  task = translation.build(_config(file, {"loss.r1": 3.0}))
  plain = dataclasses.replace(task, r1=0.0)
  state = jax.eval_shape(lambda k: task.init(k, spec_of(_batch())), KEY)
  names = [
    jax.eval_shape(t.train_step, state, _batch(), KEY)[1].keys()
    for t in (task, plain)
  ]
  assert set(names[0]) - set(names[1]) == {"loss/r1"}
  with pytest.raises(UserError, match=r"loss\.r1 is -1"):
    translation.build(_config(file, {"loss.r1": -1.0}))


def test_r1_is_half_the_squared_slope_of_the_mean_score() -> None:
  net = PatchDiscriminator(width=3, layers=1, norm=False)
  real, fake = jax.random.normal(KEY, (2, 3, 12, 12, 3))
  disc = net.init(KEY, real)["params"]
  disc = jax.tree.map(lambda x: 10 * x, disc)

  def judge(*batches: jax.Array) -> list[jax.Array]:
    return [net.apply({"params": disc}, x) for x in batches]

  true, false, found = common.judged(judge, real, fake, 0.5)
  slope = jax.vmap(jax.grad(lambda x: judge(x[None])[0].mean()))(real)
  expected = np.square(slope).sum() / len(real) / 2
  assert expected > 1e-3
  np.testing.assert_allclose(found["loss/r1"], expected, rtol=1e-5)
  for ours, theirs in zip((true, false), judge(real, fake)):
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
  still = jax.grad(lambda y: common.judged(judge, real, y, 0.5)[1].sum())(fake)
  assert not np.any(still)


def test_r1_weighs_in_the_discriminators_loss() -> None:
  config = _config(pix2pix, {"loss.r1": 3.0, "model.statistics": "picture"})
  task = translation.build(config)
  a, b, fake = jax.random.normal(KEY, (3, 2, 32, 32, 3))
  disc = _state(config).params["disc_b"]
  total, parts = task.discriminator_loss(disc, a, b, fake)
  without, _ = dataclasses.replace(task, r1=0.0).discriminator_loss(
    disc, a, b, fake
  )
  assert float(parts["loss/r1"]) > 0
  np.testing.assert_allclose(parts["loss/discriminator"], without, rtol=1e-5)
  np.testing.assert_allclose(total, without + 3 * parts["loss/r1"], rtol=1e-5)


@pytest.mark.slow
def test_pmap_equals_jit_with_batch_norm_and_dropout() -> None:
  # Six levels: the least that have dropout.
  changes = {"model.generator.depth": 6, "model.generator.width": 2}
  config = _config(pix2pix, changes | {"augment.brightness": 0.2})
  batch = _batch(size=64)
  task = translation.build(config)
  state = jax.jit(lambda k: task.init(k, spec_of(batch)))(KEY)
  mapped = jax.pmap(
    translation.build(config, Axis("data")).train_step,
    "data",
    in_axes=(None, 0, None),
    out_axes=None,
    devices=jax.devices()[:4],
  )
  rows = jax.tree.map(lambda x: x.reshape(4, 1, *x.shape[1:]), batch)
  ours, our_metrics = mapped(state, rows, KEY)
  theirs, metrics = jax.jit(task.train_step)(state, batch, KEY)
  for title, value in metrics.items():
    np.testing.assert_allclose(
      our_metrics[title], value, rtol=1e-3, err_msg=title
    )
  # Gradients, which Adam's first step would reduce to their signs.
  for x, y in zip(jax.tree.leaves(ours.opt), jax.tree.leaves(theirs.opt)):
    np.testing.assert_allclose(x, y, atol=2e-3 * np.abs(y).max() + 1e-6)


@pytest.mark.parametrize(
  "name", ["pix2pix", pytest.param("cut", marks=pytest.mark.slow)]
)
def test_evaluation_and_any_size(name: str) -> None:
  file, changes = MODELS[name]
  config = _config(file, changes)
  task, state, batch = translation.build(config), _state(config), _batch()
  out = jax.jit(task.eval_step)(state, batch, KEY)
  assert list(out) == [
    "image/input",
    "image/output",
    "image/target",
    "metric/luminance_correlation",
  ]
  assert out["metric/luminance_correlation"].shape == (4,)
  # What becomes of a picture does not depend on its neighbours.
  alone = jax.jit(task.eval_step)(
    state, jax.tree.map(lambda x: x[2:3], batch), KEY
  )
  np.testing.assert_allclose(
    alone["image/output"][0], out["image/output"][2], atol=1e-4
  )
  odd = jnp.asarray(_batch(size=37, rows=1)["image_a"])
  y = translation.translate(config, state.params, odd)
  assert y.shape == odd.shape and y.dtype == jnp.uint8


@pytest.mark.parametrize("name", ["pix2pix", "cut"])
def test_other_direction_is_refused_in_one_sentence(name: str) -> None:
  config = _config(MODELS[name][0])
  task = translation.build(config)
  with pytest.raises(UserError, match="one direction only, a2b"):
    task.translate({}, jnp.zeros((1, 32, 32, 3)), "b2a")


def test_draws_differ_from_step_to_step_and_do_not_repeat() -> None:
  task = translation.build(_config(cut))
  gen = _state(_config(cut)).params["gen_ab"]
  blank = jnp.zeros((2, 32, 32, 3))
  one, two = (task.draw(jax.random.key(i), gen, blank) for i in range(2))
  sides = (38 * 38, 32 * 32, 8 * 8)
  for draws in (one, two):
    for where, size in zip(draws.photo + draws.chibi, sides * 2):
      assert len(set(where.tolist())) == 16 and 0 <= min(where.tolist())
      assert max(where.tolist()) < size
  assert one.photo[0].tolist() != two.photo[0].tolist()
  assert one.photo[0].tolist() != one.chibi[0].tolist()
  flips = {
    bool(task.draw(jax.random.key(i), gen, blank).flip) for i in range(8)
  }
  assert flips == {True, False}


def test_patch_nce_knows_the_right_place() -> None:
  x = jax.random.normal(KEY, (2, 6, 4))
  x = x / jnp.linalg.norm(x, axis=-1, keepdims=True)
  right, wrong = losses.patch_nce(x, x), losses.patch_nce(x[:, ::-1], x)
  assert float(right) < 0.5 < float(wrong)
  same = jnp.broadcast_to(x[:, :1], x.shape)
  assert float(losses.patch_nce(same, same)) == pytest.approx(np.log(6))
  assert not jax.grad(losses.patch_nce, 1)(x, x).any()
  # Other pictures of the batch are no negatives.
  alone = np.mean(
    [losses.patch_nce(x[i : i + 1], x[i : i + 1]) for i in (0, 1)]
  )
  assert float(right) == pytest.approx(float(alone), rel=1e-5)


def mean_colour():
  """An embedder that any picture has: the mean of each channel, and 1."""
  return lambda x: jnp.pad(
    x.mean((1, 2)), ((0, 0), (0, 1)), constant_values=1.0
  )


EXTRAS = {
  "loss.crop": 2.0,
  "loss.face": 3.0,
  "loss.face_embedder": f"{__name__}.mean_colour",
}


def _extra(metrics: dict) -> float:
  return float(2 * metrics["loss/crop"] + 3 * metrics["loss/face"])


def test_extra_losses_of_cyclegan() -> None:
  config = _config(cyclegan, EXTRAS)
  task, state, batch = translation.build(config), _state(config), _batch()
  nets = [
    {n: state.params[n] for n in names}
    for names in (translation.GENERATORS, translation.DISCRIMINATORS)
  ]
  signed = tuple(map(image.to_float, batch.values()))
  gen, disc = nets
  loss, (_, m) = jax.jit(task.generator_loss)(gen, signed, disc, KEY)
  own = m["loss/adversarial"] + 10 * m["loss/cycle"] + 5 * m["loss/identity"]
  assert _extra(m) > 0
  assert float(loss) == pytest.approx(float(own) + _extra(m), rel=1e-4)


@pytest.mark.slow
def test_extra_losses_of_models_of_one_direction() -> None:
  for file, depth in ((pix2pix, {"model.generator.depth": 3}), (cut, {})):
    config = _config(file, EXTRAS | depth)
    state, batch = _state(config), _batch()
    task = translation.build(config)
    _, m = jax.jit(task.train_step)(state, batch, KEY)
    own = m["loss/adversarial"]
    if file is pix2pix:
      own += 100 * m["loss/l1"]
    else:
      own += (m["loss/nce"] + m["loss/nce_identity"]) / 2
    assert _extra(m) > 0
    total = float(m["loss/generator"])
    assert total == pytest.approx(float(own) + _extra(m), rel=1e-4)


def test_extra_losses_reach_what_they_judge() -> None:
  extras = Extras(crop=1.0, face=1.0, embed=mean_colour(), multiple=4)
  x = jax.random.uniform(KEY, (2, 16, 16, 3))
  # Darker to the right of whatever it sees, so a crop looks different.
  ramp = jnp.linspace(1, 0, 16)[None, None, :, None]

  def loss(strength, title):
    def generate(y):
      return y * (1 - strength * ramp[:, :, : y.shape[2]])

    return extras(generate, x, generate(x), KEY)[1][title]

  for title in ("loss/crop", "loss/face"):
    value, slope = jax.value_and_grad(loss)(0.5, title)
    assert float(value) > 0 and float(slope) > 0
    assert float(loss(0.0, title)) == pytest.approx(0, abs=1e-6)


def test_crop_consistency_and_face_identity() -> None:
  x = image.to_float(_batch()["image_a"])
  assert float(losses.crop_consistency(x, x)) == 0
  assert float(losses.crop_consistency(x, x + 0.5)) == pytest.approx(0.25)
  e = jax.random.normal(KEY, (3, 5))
  assert float(losses.face_identity(e, 2 * e)) == pytest.approx(0, abs=1e-6)
  assert float(losses.face_identity(e, -e)) == pytest.approx(2, abs=1e-6)
  zero = jax.grad(losses.face_identity)(jnp.zeros((1, 5)), e[:1])
  assert np.isfinite(zero).all()


def test_distance_alone_trains_no_discriminator() -> None:
  config = _config(pix2pix, {"loss.gan": 0.0, "loss.l1": 2.0})
  task, state = translation.build(config), _state(config)
  new, metrics = jax.eval_shape(task.train_step, state, _batch(), KEY)
  assert set(metrics) == {"loss/generator", "loss/l1"}
  assert jax.tree.structure(new) == jax.tree.structure(state)
  a, b = (image.to_float(x) for x in _batch().values())
  loss, _ = task.generator_loss({}, b - 0.25, {}, a, b, KEY)
  assert float(loss) == pytest.approx(0.5, rel=1e-5)


@pytest.mark.parametrize(
  ("file", "changes", "sentence"),
  [
    (pix2pix, {"data.paired": False}, "set data.paired to True"),
    (pix2pix, {"model.statistics": "layer"}, "'batch' or 'picture'"),
    (pix2pix, {"model.generator.depth": 1}, "depth of at least 2"),
    (pix2pix, {"loss.l1": -1.0}, "must not be negative"),
    (pix2pix, {"loss.gan": -1.0}, "weight of at least 0"),
    (cut, {"loss.temperature": 0.0}, "temperature above 0"),
    (cut, {"model.init": "zeros"}, "'normal' or 'xavier'"),
    (cut, {"loss.crop": -1.0}, "must not be negative"),
    (cut, {"loss.face": 1.0, "loss.face_embedder": "no.such"}, "dotted name"),
    (cut, {"loss.face": 1.0, "loss.face_embedder": ""}, "dotted name"),
    (cut, {"loss.face": 1.0, "loss.face_embedder": "math.pi"}, "returns none"),
    (cut, {"loss.face": 1.0, "loss.face_embedder": "os.getpid"}, "returns non"),
  ],
)
def test_config_mistakes_are_said(
  file: ModuleType, changes: dict, sentence: str
) -> None:
  with pytest.raises(UserError, match=sentence):
    translation.build(_config(file, changes))


def test_unsuitable_pictures_are_said() -> None:
  task = translation.build(_config(pix2pix))
  with pytest.raises(UserError, match="multiples of 32"):
    task.init(KEY, spec_of(_batch(size=48)))
  # A crop would be smaller than what the U-Net takes.
  config = _config(pix2pix, {"loss.crop": 1.0})
  task, state = translation.build(config), _state(_config(pix2pix))
  with pytest.raises(UserError, match="cuts parts out of pictures"):
    jax.eval_shape(task.train_step, state, _batch(), KEY)
