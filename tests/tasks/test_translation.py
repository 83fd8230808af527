"""The CycleGAN task: parallel equality, state, evaluation, refusals."""

import functools

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest

from chibijax.core import collectives, parallel
from chibijax.core.types import TrainState, spec_of
from chibijax.errors import UserError
from chibijax.ops import augment, image
from chibijax.tasks import translation
from configs import cyclegan

KEY = jax.random.key(7)
PARALLEL = {"ema": 0.9, "augment.brightness": 0.2}


def _config(**changes) -> ml_collections.ConfigDict:
  config = cyclegan.get_config("smoke")
  config.unlock()
  config.update_from_flattened_dict(changes)
  return config


def _batch(size: int = 32, rows: int = 4, seed: int = 0) -> dict:
  rng = np.random.default_rng(seed)
  shape = (rows, size, size, 3)
  return {
    f"image_{d}": jnp.asarray(rng.integers(0, 256, shape, np.uint8))
    for d in "ab"
  }


def _steps(step, state: TrainState) -> list[tuple[TrainState, dict]]:
  """Three steps: each state, copied to the host, and its metrics."""
  run = []
  for i in range(3):
    state, metrics = step(state, _batch(seed=i), jax.random.fold_in(KEY, i))
    metrics = {k: float(v) for k, v in metrics.items()}
    run.append((jax.tree.map(np.array, state), metrics))
  return run


@functools.lru_cache(maxsize=1)
def _first_state() -> TrainState:
  task = translation.build(_config(ema=0.9))
  return jax.jit(lambda k: task.init(k, spec_of(_batch())))(KEY)


def _placed(mode: str):
  """The step on four devices and the first state, donated, where it belongs."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(parallel, "_MIN_SPLIT", 64)
    placement = parallel.make_placement(mode, 4)
    task = translation.build(_config(**PARALLEL), placement.axis)
    first = jax.tree.map(
      jax.device_put, _first_state(), placement.shardings(_first_state())
    )
    first = jax.tree.map(jnp.copy, first)
    compiled = placement.compile_step(
      task.train_step, first, spec_of(_batch()), KEY
    )

  def step(state, batch, key):
    return compiled(state, placement.put(batch), placement.replicate(key))

  return step, first, compiled


@functools.lru_cache(maxsize=1)
def _global_run() -> list[tuple[TrainState, dict]]:
  """Of the whole batch at once, whose parameters are split; `fsdp`."""
  step, first, _ = _placed("fsdp")
  kernels = jax.tree.leaves(first.params["disc_a"])
  assert any(not x.sharding.is_fully_replicated for x in kernels)
  run = _steps(step, first)
  assert all(x.is_deleted() for x in jax.tree.leaves(first))
  return run


def _check_exchange(text: str, state: TrainState) -> None:
  """Each gradient crosses once; the pool's pictures are gathered."""
  exchanged = collectives.count(text)
  gradients = sum(4 * x.size for x in jax.tree.leaves(state.params))
  pictures = 2 * 4 * 32 * 32 * 3 * 4
  assert exchanged["all-gather"] == pictures
  # And a few metrics. Biases before a norm have no gradient: they stay.
  assert 0.9 * gradients < exchanged["all-reduce"] < gradients + 64


@pytest.mark.parametrize(
  "mode", ["jit", pytest.param("pmap", marks=pytest.mark.slow)]
)
def test_shards_equal_the_global_view(mode: str) -> None:
  step, first, compiled = _placed(mode)
  if mode == "jit":
    _check_exchange(compiled.text(), first)
  kernels = jax.tree.leaves(first.params["disc_a"])
  assert all(x.sharding.is_fully_replicated for x in kernels)
  run = _steps(step, first)
  # Donated, unless by pmap.
  assert all(x.is_deleted() == (mode == "jit") for x in jax.tree.leaves(first))
  for (_, ours), (_, theirs) in zip(run, _global_run()):
    assert ours == pytest.approx(theirs, rel=1e-3)
  state, expected = run[-1][0], _global_run()[-1][0]
  # Sums in another order; Adam then scales a rounding-sized gradient up to a
  # whole step of 2e-4, in either direction, three times.
  for ours, theirs in zip(
    jax.tree.leaves(state.params), jax.tree.leaves(expected.params)
  ):
    np.testing.assert_allclose(ours, theirs, atol=1.3e-3)
    assert np.abs(ours - theirs).mean() < 1e-4
  # Twelve pictures have gone through a pool of six: the same were swapped.
  for domain in "ab":
    ours, theirs = (s.extra[f"pool_{domain}"] for s in (state, expected))
    assert int(ours.count) == int(theirs.count) == 6
    np.testing.assert_allclose(ours.images, theirs.images, atol=2e-2)
    assert np.abs(ours.images - theirs.images).mean() < 2e-3


def test_microbatches_change_only_the_rounding() -> None:
  task = translation.build(_config(microbatches=2, **PARALLEL))
  key = jax.random.fold_in(KEY, 0)
  state, metrics = jax.jit(task.train_step)(_first_state(), _batch(), key)
  expected, losses = _global_run()[0]
  assert {k: float(v) for k, v in metrics.items()} == pytest.approx(
    losses, rel=1e-4
  )
  for domain in "ab":
    ours, theirs = (s.extra[f"pool_{domain}"] for s in (state, expected))
    np.testing.assert_allclose(ours.images, theirs.images, atol=1e-4)
  # Adam's second moments are the squared gradients.
  moments = [
    jax.tree.leaves((s.opt["gen"][0].nu, s.opt["disc"][0].nu))
    for s in (state, expected)
  ]
  for ours, theirs in zip(*moments):
    np.testing.assert_allclose(ours, theirs, rtol=2e-2, atol=1e-9)


def test_state_after_three_steps() -> None:
  run, first = _global_run(), _first_state()
  state = run[-1][0]
  assert int(state.step) == 3
  assert set(state.params) == {"gen_ab", "gen_ba", "disc_a", "disc_b"}
  assert set(state.ema) == {"gen_ab", "gen_ba"}
  assert set(state.opt) == {"gen", "disc"}
  assert all(np.isfinite(v) for _, log in run for v in log.values())
  # Both kinds of network learn, and the two directions differ.
  for name in state.params:
    moved = jax.tree.map(
      lambda x, y: np.square(x - y).sum(),
      state.params[name],
      first.params[name],
    )
    assert sum(jax.tree.leaves(moved)) > 1e-6
  assert not np.array_equal(
    first.params["gen_ab"]["stem"]["kernel"],
    first.params["gen_ba"]["stem"]["kernel"],
  )


def test_ema_follows_its_definition() -> None:
  first, after = _first_state(), _global_run()[0][0]
  for name in translation.GENERATORS:
    expected = jax.tree.map(
      lambda old, new: 0.9 * np.asarray(old) + 0.1 * new,
      first.ema[name],
      after.params[name],
    )
    for ours, theirs in zip(
      jax.tree.leaves(after.ema[name]), jax.tree.leaves(expected)
    ):
      np.testing.assert_allclose(ours, theirs, atol=1e-7)
  best = translation.inference_params(after)
  assert best["gen_ab"] is after.ema["gen_ab"]
  assert best["disc_a"] is after.params["disc_a"]


def test_pool_holds_fakes_from_before_the_update() -> None:
  task = translation.build(_config())
  first, after = _first_state(), _global_run()[0][0]
  photos = _augmented_photos(task)
  translate = jax.jit(lambda p: task.translate(p, photos, "a2b"))
  stored = after.extra["pool_b"].images[:4]
  # Rounding of another compilation; the update moves them a thousand times
  # as far.
  np.testing.assert_allclose(translate(first.params), stored, atol=1e-5)
  assert np.abs(translate(after.params) - stored).mean() > 1e-4


def _augmented_photos(task) -> jax.Array:
  """The pictures of domain a as the first step of `_steps` sees them."""
  key = jax.random.split(jax.random.fold_in(KEY, 0))[0]
  return augment.photometric(
    key, image.to_float(_batch()["image_a"]), brightness=0.2
  )


def test_no_pool_and_no_identity() -> None:
  task = translation.build(
    _config(
      total_steps=4,
      **{"model.pool_size": 0, "loss.identity": 0.0, "loss.cycle_end": 0.2},
    )
  )
  state = jax.eval_shape(lambda k: task.init(k, spec_of(_batch())), KEY)
  assert state.extra == {} and state.ema == {}
  _, metrics = jax.eval_shape(task.train_step, state, _batch(), KEY)
  assert "loss/identity" not in metrics
  gen, disc, a, b = _parts(_first_state())
  compute = jax.jit(task.generator_loss)
  # The cycle's weight falls from 10 to 2 in four steps.
  for step, weight in ((0, 10), (1, 8), (4, 2)):
    loss, (_, metrics) = compute(gen, (a, b), disc, None, jnp.int32(step))
    total = metrics["loss/adversarial"] + weight * metrics["loss/cycle"]
    assert float(loss) == pytest.approx(float(total))


def _parts(state: TrainState):
  gen = {n: state.params[n] for n in translation.GENERATORS}
  disc = {n: state.params[n] for n in translation.DISCRIMINATORS}
  return gen, disc, *(image.to_float(x) for x in _batch().values())


def test_no_gradient_flows_from_the_discriminators_loss_to_fakes() -> None:
  task = translation.build(_config())
  _, disc, a, b = _parts(_first_state())

  @jax.jit
  @jax.grad
  def reaches_fakes(fake):
    return task.discriminator_loss(disc, ((a, b), (fake, b)))[0]

  assert not reaches_fakes(a).any()


def test_learning_rate_is_constant_and_then_falls_to_zero() -> None:
  config = _config(total_steps=8)
  task = translation.build(config)
  params = {"w": jnp.ones(())}
  opt = task.gen_optimizer.init(params)
  moved = []
  for _ in range(9):
    # A constant gradient makes Adam's step the learning rate itself.
    updates, opt = task.gen_optimizer.update({"w": jnp.ones(())}, opt, params)
    moved.append(-float(updates["w"]))
  expected = 2e-4 * np.array([1, 1, 1, 1, 1, 0.75, 0.5, 0.25, 0])
  np.testing.assert_allclose(moved, expected, rtol=1e-4, atol=1e-9)


def test_bfloat16_gradients_are_finite_and_losses_close() -> None:
  gen, disc, a, b = _parts(_first_state())
  exact = jax.jit(translation.build(_config()).generator_loss)
  half = translation.build(_config(precision="bfloat16")).generator_loss
  _, (_, expected) = exact(gen, (a, b), disc)
  (_, (fakes, metrics)), grads = jax.jit(
    jax.value_and_grad(half, has_aux=True)
  )(gen, (a, b), disc)
  assert all(x.dtype == jnp.float32 for x in fakes)
  assert all(
    g.dtype == jnp.float32 and bool(jnp.isfinite(g).all())
    for g in jax.tree.leaves(grads)
  )
  # bfloat16 keeps 8 bits; a loss is the mean of many roundings.
  for name, value in expected.items():
    assert float(metrics[name]) == pytest.approx(float(value), rel=0.02)


def test_eval_step_of_pairs() -> None:
  task = translation.build(_config())
  batch = _batch()
  state = _first_state()
  out = jax.jit(task.eval_step)(state, batch, KEY)
  # In this order also under jit, which sorts the names.
  assert list(out) == [
    "image/input",
    "image/output",
    "image/reconstruction",
    "image/target",
    "metric/cycle_l1",
    "metric/luminance_correlation",
  ]
  for name, value in out.items():
    expected = (4, 32, 32, 3) if name.startswith("image/") else (4,)
    assert value.shape == expected, name
  np.testing.assert_allclose(
    image.to_uint8(out["image/target"]), batch["image_b"]
  )
  # Two folders have no truth to compare with, two artists do.
  folders = {"data.source_a": "folder", "data.source_b": "folder"}
  unpaired = translation.build(_config(**folders))
  assert "image/target" not in jax.eval_shape(
    unpaired.eval_step, state, batch, KEY
  )


@pytest.mark.parametrize("shape", [(32, 32), (37, 50), (5, 3)])
def test_translate_takes_any_size(shape: tuple[int, int]) -> None:
  config = _config()
  state = _first_state()
  x = jnp.asarray(
    np.random.default_rng(0).integers(0, 256, (1, *shape, 3), np.uint8)
  )
  translate = jax.jit(
    lambda way: translation.translate(config, state.params, x, way),
    static_argnums=0,
  )
  outputs = [translate(way) for way in ("a2b", "b2a")]
  assert all(y.shape == x.shape and y.dtype == jnp.uint8 for y in outputs)
  assert not np.array_equal(*outputs)


@pytest.mark.parametrize(
  ("changes", "sentence"),
  [
    ({"model.name": "cyclegam"}, "model.name is 'cyclegam'"),
    ({"ema": 1.5}, "ema is 1.5"),
    ({"loss.cycle": -1.0}, "must not be negative"),
  ],
)
def test_config_mistakes_are_said(changes: dict, sentence: str) -> None:
  with pytest.raises(UserError, match=sentence):
    translation.build(_config(**changes))


def test_unsuitable_pictures_are_said() -> None:
  task = translation.build(_config())
  with pytest.raises(UserError, match="multiples of 4"):
    task.init(KEY, spec_of(_batch(size=30)))
  spec = spec_of(_batch()) | {"image_b": spec_of(_batch(size=64))["image_b"]}
  with pytest.raises(UserError, match="one size"):
    task.init(KEY, spec)
