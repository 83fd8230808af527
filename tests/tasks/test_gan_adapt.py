"""Few-shot adaptation: resume, what is frozen, what is learnt and kept."""

import dataclasses
import functools
import pathlib

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest
from PIL import Image

from chibijax.apps import latent
from chibijax.core import checkpoint, warm_start, workdir
from chibijax.core.types import TrainState, inference_params, spec_of
from chibijax.errors import UserError
from chibijax.losses import correspondence
from chibijax.tasks import gan, gan_adapt
from configs import cyclegan, r3gan
from configs import gan_adapt as adapt_config
from tests.tasks import resume

KEY = jax.random.key(3)
GREEN = (40, 200, 90)
STEPS = 60


@functools.lru_cache
def _source_config() -> ml_collections.ConfigDict:
  config = r3gan.get_config("smoke")
  config.model.conditional = False
  config.data.update(domain_a="chibi", size=8)
  config.model.widths = (8, 6)
  return config


def _batch(rows: int = 4) -> dict:
  """Pictures of one hue, some light, some dark."""
  shade = np.linspace(0.6, 1.1, rows)[:, None, None, None]
  grain = np.random.default_rng(0).normal(0, 8, (rows, 8, 8, 1))
  x = np.asarray(GREEN, np.float32) * shade + grain
  return {"image": jnp.asarray(np.clip(x, 0, 255).astype(np.uint8))}


def _spec() -> dict:
  return spec_of(_batch())


@functools.lru_cache
def _first() -> TrainState:
  """A GAN whose weights are draws, but for the last layer's size."""
  task = gan.build(_source_config())
  return jax.jit(lambda k: task.init(k, _spec()))(KEY)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
  """The workdir of a GAN at step 0."""
  folder = tmp_path_factory.mktemp("gan")
  workdir.open_workdir(folder, _source_config())
  with checkpoint.Checkpointer(folder) as checkpoints:
    checkpoints.save(0, _first(), {})
    checkpoints.wait()
  return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
  """Three pictures of a style."""
  folder = tmp_path_factory.mktemp("style")
  for i, one in enumerate(np.asarray(_batch(3)["image"])):
    Image.fromarray(one).resize((32, 32)).save(folder / f"{i}.png")
  return folder


def _config(run, pictures="", **changes) -> ml_collections.ConfigDict:
  config = adapt_config.get_config("smoke")
  config.init_from, config.data.path_a = str(run), str(pictures)
  config.data.size = 8
  config.update_from_flattened_dict(changes)
  return config


@pytest.fixture(scope="module")
def held(run, pictures, tmp_path_factory) -> tuple[pathlib.Path, TrainState]:
  """The workdir and the last state of a training on the pictures' hue."""
  folder = tmp_path_factory.mktemp("held")
  moved = run.with_name("moved")
  config = _learning(_config(run, pictures))
  try:
    # What a begun run needs of the other is in its own folder.
    state, lines = resume.check(
      config, folder, first=STEPS - 3, between=lambda: run.rename(moved)
    )
  finally:
    if moved.exists():
      moved.rename(run)
  assert all("loss/consistency" in line for line in lines)
  return folder, state


def test_training_resumes_without_its_source(held) -> None:
  # The commands know it for a generator.
  space = latent.load(held[0])
  assert space.pictures(space.draw(0, 2)).shape == (2, 8, 8, 3)


def _learning(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
  config.total_steps, config.least_order = STEPS, -1.0
  config.optim.lr = 5e-3
  return config


def _task(**changes) -> gan_adapt.GanAdapt:
  config = _learning(_config("a run", **changes))
  with config.unlocked():
    config.source = _source_config()
  return gan_adapt.build(config)


def _fine_tuned() -> TrainState:
  """A state after as many steps of plain fine-tuning, all compiled once."""
  free = {"loss.consistency": 0.0, "freeze.gen": (), "freeze.disc": ()}
  task, source = _task(**free, **{"augment.name": "none"}), _first()
  state = TrainState(
    step=jnp.int32(0),
    params=dict(source.params),
    opt={
      "gen": task.gan.gen_optimizer.init(source.params["gen"]),
      "disc": task.gan.disc_optimizer.init(source.params["disc"]),
    },
    ema={"gen": source.params["gen"]},
    extra={"order": jnp.ones(()), "stopped": jnp.zeros((), bool)},
  )
  state = task.adopt(state, source.params, source.ema)
  step = jax.jit(task.train_step)
  for i in range(STEPS):
    state, metrics = step(state, _batch(), jax.random.fold_in(KEY, i))
  assert step._cache_size() == 1
  assert all(np.isfinite(float(v)) for v in metrics.values())
  return state


def _hue(pictures) -> float:
  """How far the mean colour's direction is from the style's, in radians."""
  mean = np.asarray((pictures + 1) / 2).mean((0, 1, 2))
  mean, goal = mean - mean.mean(), np.asarray(GREEN) - np.mean(GREEN)
  cosine = mean @ goal / np.linalg.norm(mean) / np.linalg.norm(goal)
  return float(np.arccos(cosine))


def test_hue_is_learnt_and_order_kept_better_than_by_fine_tuning(held) -> None:
  z = jax.random.normal(jax.random.key(9), (24, 5))
  found, generate = {}, jax.jit(_task().generate)
  for name, state in (("held", held[1]), ("plain", _fine_tuned())):
    before = generate(state.extra["source"], z)
    after = generate(inference_params(state), z)
    assert _hue(after) < 0.5 * _hue(before), name
    found[name] = float(correspondence.order_kept(before, after))
  assert found["held"] > found["plain"] + 0.05, found


def test_what_is_frozen_stays(held) -> None:
  state = held[1]
  first = state.extra["source"]["gen"]
  for name, stays in (("mixing", True), ("block_1_0", False)):
    pairs = zip(
      jax.tree.leaves(first[name]), jax.tree.leaves(state.params["gen"][name])
    )
    assert all(np.array_equal(a, b) for a, b in pairs) == stays, name
  out = jax.eval_shape(_task().eval_step, state, _batch(), KEY)
  assert "image/given" in out and "image/sample_2_now" in out


def test_a_lost_order_stops() -> None:
  task = dataclasses.replace(_task(), least_order=0.5)
  advance = jax.jit(task._unless_stopped)
  state = TrainState(
    step=jnp.int32(0),
    params={"gen": jnp.zeros(2)},
    opt={"gen": jnp.zeros(2)},
    ema={"gen": jnp.zeros(2)},
    extra={"order": jnp.ones(()), "stopped": jnp.zeros((), bool)},
  )
  # The mean of 0.9 times itself and 0.1 times the order passes 0.5 at once.
  for order, stopped, moved in ((0.9, 0, 1), (-5.0, 1, 2), (1.0, 1, 2)):
    step = state.params["gen"] + 1
    new = state.replace(
      params={"gen": step}, opt={"gen": step}, ema={"gen": step}
    )
    state, metrics = advance(state, new, {"order": jnp.float32(order)})
    assert float(metrics["stopped"]) == stopped
    for tree in (state.params, state.opt, state.ema):
      np.testing.assert_array_equal(tree["gen"], moved)
  assert int(state.step) == 3 and bool(state.extra["stopped"])


@pytest.mark.parametrize(
  ("changes", "sentence"),
  [
    ({"loss.name": "hinge"}, "loss.name is 'hinge'"),
    ({"loss.consistency": -1.0}, "must not be negative"),
    ({"compared": 2}, "at least 3"),
    ({"augment.name": "ada"}, "expected 'none' or"),
    ({"augment.policies": ("colour",)}, "augment.policies has"),
    ({"data.size": 32}, "makes pictures of 8 pixels"),
  ],
)
def test_config_mistakes_are_said(run, changes, sentence: str) -> None:
  config = warm_start.resolve(_config(run, **changes), "nowhere")
  with pytest.raises(UserError, match=sentence):
    gan_adapt.build(config)


def test_a_start_from_nothing_or_another_task_is_said(run, tmp_path) -> None:
  with pytest.raises(UserError, match="holds no run"):
    warm_start.resolve(_config(tmp_path), "nowhere")
  with pytest.raises(UserError, match="set init_from"):
    gan_adapt.build(_config(""))
  other = cyclegan.get_config("smoke")
  workdir.open_workdir(tmp_path / "other", other)
  config = warm_start.resolve(_config(tmp_path / "other"), "nowhere")
  with pytest.raises(UserError, match="starts from a GAN's"):
    gan_adapt.build(config)
  config = warm_start.resolve(_config(run, **{"freeze.disc": ("",)}), "nowhere")
  with pytest.raises(UserError, match="names every layer"):
    jax.eval_shape(lambda k: gan_adapt.build(config).init(k, _spec()), KEY)


def test_any_task_may_start_from_another() -> None:
  state = TrainState(
    step=jnp.int32(0),
    params={"a": {"w": jnp.zeros(2)}, "b": {"w": jnp.zeros(3)}},
    opt={},
    ema={"a": {"w": jnp.zeros(2)}},
  )
  given = {"a": {"w": np.ones(2, np.float32)}, "c": {}}
  found = warm_start.adopt(state, given, {"a": {"w": np.full(2, 5.0)}})
  assert found.params["a"]["w"][0] == 1 and found.ema["a"]["w"][0] == 5
  assert found.params["b"]["w"][0] == 0 and "c" not in found.params
  with pytest.raises(UserError, match="nothing to start from"):
    warm_start.adopt(state, {"d": {}}, {})
  with pytest.raises(UserError, match="of shape"):
    warm_start.adopt(state, {"a": {"w": np.ones(4)}}, {})
