"""Checkpoints: what is saved comes back, damage ends in one sentence."""

import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chibijax.core import checkpoint, parallel
from chibijax.core.types import TrainState
from chibijax.errors import UserError


@pytest.fixture
def placement():
  return parallel.make_placement("jit", 4)


def make_state(placement, value=0.0):
  def init(key):
    params = {"gen": {"w": jax.random.normal(key, (16, 8)) + value}}
    return TrainState(
      step=jnp.int32(3),
      params=params,
      opt={"gen": (jnp.zeros((16, 8)), jnp.int32(3))},
      ema={"gen": jax.tree.map(lambda x: x * 2, params["gen"])},
      extra={"key": jax.random.key(5), "pool": jnp.ones((2, 3))},
    )

  return placement.compile_init(init)(jax.random.key(1))


def bits(tree):
  def plain(x):
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
      x = jax.random.key_data(x)
    return np.asarray(x).tobytes()

  return [plain(x) for x in jax.tree.leaves(tree)]


def test_everything_comes_back(tmp_path, placement):
  state = make_state(placement)
  with checkpoint.Checkpointer(tmp_path) as checkpoints:
    checkpoints.save(3, state, {"next": 7})
    checkpoints.wait()
    assert checkpoints.latest() == 3
    restored, data = checkpoints.restore(placement.abstract(state))
  assert data == {"next": 7}
  assert bits(restored) == bits(state)
  assert jax.tree.structure(restored) == jax.tree.structure(state)
  assert restored.params["gen"]["w"].sharding.is_fully_replicated


def test_only_the_newest_stay(tmp_path, placement):
  state = make_state(placement)
  with checkpoint.Checkpointer(tmp_path, keep=2) as checkpoints:
    for step in (1, 2, 3):
      checkpoints.save(step, state, {})
    checkpoints.wait()
  names = sorted(p.name for p in (tmp_path / checkpoint.FOLDER).iterdir())
  assert names == ["2", "3"]


def test_load_params_needs_no_target(tmp_path, placement):
  state = make_state(placement)
  with checkpoint.Checkpointer(tmp_path) as checkpoints:
    checkpoints.save(3, state, {})
  params, ema, step = checkpoint.load_params(tmp_path)
  assert step == 3
  assert bits(params) == bits(state.params) and bits(ema) == bits(state.ema)


def test_no_checkpoint_is_said(tmp_path):
  with pytest.raises(UserError, match="no checkpoint"):
    checkpoint.load_params(tmp_path)


@pytest.mark.parametrize("item", ["params", "state"])
def test_truncated_checkpoint_is_one_sentence(tmp_path, placement, item):
  state = make_state(placement)
  with checkpoint.Checkpointer(tmp_path) as checkpoints:
    checkpoints.save(1, state, {})
    checkpoints.save(2, state, {})
  for path in (tmp_path / checkpoint.FOLDER / "2" / item).rglob("*"):
    if path.is_file():
      path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
  with (
    checkpoint.Checkpointer(tmp_path) as checkpoints,
    pytest.raises(UserError, match=r"2 is damaged.*go on from step 1"),
  ):
    checkpoints.restore(placement.abstract(state))
  assert (tmp_path / checkpoint.FOLDER / "1").is_dir()


def test_another_model_is_refused(tmp_path, placement):
  state = make_state(placement)
  with checkpoint.Checkpointer(tmp_path) as checkpoints:
    checkpoints.save(1, state, {})
    checkpoints.wait()
    other = state.replace(params={"gen": {"w": jnp.zeros((4, 4))}})
    with pytest.raises(UserError, match="damaged or belongs to another model"):
      checkpoints.restore(placement.abstract(other))


def test_full_disk_keeps_the_last_good_one(tmp_path, placement, monkeypatch):
  state = make_state(placement)
  with checkpoint.Checkpointer(tmp_path) as checkpoints:
    checkpoints.save(1, state, {})
    checkpoints.wait()

    def full(*args, **kwargs):
      raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
      patch.setattr(checkpoints._manager, "save", full)
      with pytest.raises(UserError, match=r"No space left.*good .*/1\."):
        checkpoints.save(2, state, {})
    assert checkpoints.latest() == 1
    restored, _ = checkpoints.restore(placement.abstract(state))
  assert bits(restored) == bits(state)


def test_a_save_without_room_does_not_begin(tmp_path, placement, monkeypatch):
  state = make_state(placement)
  usage = shutil.disk_usage(tmp_path)
  with checkpoint.Checkpointer(tmp_path) as checkpoints:
    checkpoints.save(1, state, {})
    checkpoints.wait()
    monkeypatch.setattr(
      "shutil.disk_usage", lambda _: usage._replace(free=2**20)
    )
    with pytest.raises(UserError, match=r"1 MiB free; the last good .*/1\."):
      checkpoints.save(2, state, {})
  names = [p.name for p in (tmp_path / checkpoint.FOLDER).iterdir()]
  assert names == ["1"]
