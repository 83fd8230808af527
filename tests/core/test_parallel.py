"""Devices: placement, jit against pmap, stop signals."""

import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict

from chibijax.core import collectives, optim, parallel
from chibijax.core.types import Axis, TrainState
from chibijax.errors import UserError

SPEC = {"x": jax.ShapeDtypeStruct((8, 3), jnp.float32)}


class Regression:
  """The smallest task: the loss needs every row, the noise every device."""

  def __init__(self, axis: Axis):
    self.axis = axis
    config = ConfigDict(
      dict(name="adam", lr=0.1, b1=0.9, b2=0.999, eps=1e-8, weight_decay=0.0,
           schedule="constant", decay_start=0.5, clip=0.0)
    )  # fmt: skip
    self.optimizer = optim.make(config, 10, axis)

  def init(self, key):
    params = {"net": jax.random.normal(key, (3,))}
    return TrainState(
      step=jnp.int32(0), params=params, opt={"net": self.optimizer.init(params)}
    )

  def step(self, state, batch, key):
    noise = self.axis.local(jax.random.normal(key, (8,)))

    def loss(params):
      return jnp.mean((batch["x"] @ params["net"] - 1 + noise) ** 2)

    value, grads = jax.value_and_grad(loss)(state.params)
    updates, opt = self.optimizer.update(grads, state.opt["net"], state.params)
    params = optax.apply_updates(state.params, updates)
    state = state.replace(step=state.step + 1, params=params, opt={"net": opt})
    return state, self.axis.mean({"loss": value})


def run(mode, steps=3):
  placement = parallel.make_placement(mode, 8)
  task = Regression(placement.axis)
  key = jax.random.key(0)
  state = placement.compile_init(task.init)(key)
  key = placement.replicate(key)
  step = placement.compile_step(task.step, state, SPEC, key)
  rng = np.random.default_rng(0)
  losses = []
  for _ in range(steps):
    batch = placement.put({"x": rng.normal(size=(8, 3)).astype(np.float32)})
    state, metrics = step(state, batch, key)
    losses.append(float(metrics["loss"]))
  return state, losses, step


@pytest.mark.parametrize("mode", ["pmap", "fsdp"])
def test_mode_equals_jit(mode, monkeypatch):
  monkeypatch.setattr(parallel, "_MIN_SPLIT", 1)
  state, losses, _ = run("jit")
  state2, losses2, _ = run(mode)
  assert jax.device_count() == 4
  # The same sums in the same order up to the compiler's fusion: a few ulps.
  np.testing.assert_allclose(losses, losses2, rtol=1e-6)
  np.testing.assert_allclose(
    np.asarray(state.params["net"]), np.asarray(state2.params["net"]), rtol=1e-6
  )


def test_fsdp_splits_large_leaves_and_keeps_small_ones(monkeypatch):
  placement = parallel.make_placement("fsdp", 8)
  shapes = {
    "kernel": ((3, 3, 64, 128), (None, None, None, "data")),
    "odd": ((30_000, 3), ("data",)),
    "prime": ((30_011, 3), ()),
    "small": ((64,), ()),
  }
  tree = {
    k: jax.ShapeDtypeStruct(s, jnp.float32) for k, (s, _) in shapes.items()
  }
  found = placement.shardings(tree)
  for name, (_, expected) in shapes.items():
    assert tuple(x for x in found[name].spec) in (
      expected,
      expected + (None,) * (len(shapes[name][0]) - len(expected)),
    )
  born = placement.compile_init(
    lambda: {k: jnp.ones(s.shape) for k, s in tree.items()}
  )()
  sizes = {k: x.addressable_shards[0].data.size for k, x in born.items()}
  assert sizes["kernel"] == 9 * 64 * 128 // 4 and sizes["prime"] == 30_011 * 3
  again = placement.abstract(born)
  assert jax.tree.map(lambda x: x.sharding, again) == found


def test_collectives_are_counted_in_bytes():
  text = """
    %r = (f32[64]{0}, /*index=1*/bf16[2,3]{1,0}) all-reduce(%a, %b), to=%add
    %s = f32[] all-reduce(%c)
    %g = (u8[4]{0}, u8[16]{0}) all-gather-start(%d), dimensions={0}
    %h = u8[16]{0} all-gather-done(%g)
    %f = f32[8]{0} fusion(%all-reduce.3)
  """
  assert collectives.count(text) == {
    "all-reduce": 64 * 4 + 6 * 2 + 4,
    "all-gather": 16,
  }


def test_jit_reduces_each_gradient_once():
  _, _, step = run("jit", 1)
  # Three floats of gradient and the loss.
  assert collectives.count(step.text()) == {"all-reduce": 3 * 4 + 4}


def test_step_reports_memory():
  _, _, step = run("jit", 1)
  memory = step.memory()
  # The batch alone is 8 x 3 floats over 4 devices, plus the state.
  assert memory["total"] >= memory["state and batch"] >= 8 * 3 * 4 // 4


def test_step_refuses_another_shape():
  _, _, step = run("jit", 1)
  placement = step.placement
  batch = placement.put({"x": np.zeros((4, 3), np.float32)})
  key = placement.replicate(jax.random.key(0))
  state = placement.compile_init(Regression(Axis()).init)(key)
  with pytest.raises(TypeError):
    step(state, batch, key)


def test_state_is_donated():
  placement = parallel.make_placement("jit", 8)
  task = Regression(placement.axis)
  key = placement.replicate(jax.random.key(0))
  state = placement.compile_init(task.init)(key)
  step = placement.compile_step(task.step, state, SPEC, key)
  batch = placement.put({"x": np.zeros((8, 3), np.float32)})
  step(state, batch, key)
  assert state.params["net"].is_deleted()


def test_batch_rows_go_to_all_devices():
  placement = parallel.make_placement("jit", 8)
  x = placement.put({"x": np.arange(8.0, dtype=np.float32)})["x"]
  assert [s.data.shape for s in x.addressable_shards] == [(2,)] * 4


@pytest.mark.parametrize(
  "settings, words",
  [
    (("loop", 8), "'loop'"),
    (("jit", 6), "6 does not divide"),
    (("fsdp", 8, 4), "4 microbatches do not divide the 2 examples"),
  ],
)
def test_bad_settings_are_refused(settings, words):
  with pytest.raises(UserError, match=words):
    parallel.make_placement(*settings)


def test_half_given_distributed_settings_are_refused():
  with pytest.raises(UserError, match="num_processes"):
    parallel.initialize("localhost:1")


def test_options_that_this_jax_does_not_know_are_left_out(monkeypatch):
  seen = {}

  def older(address, count, index, initialization_timeout=300):
    seen.update(address=address, timeout=initialization_timeout)

  monkeypatch.setattr(jax.distributed, "initialize", older)
  parallel.initialize("localhost:1", 2, 0)
  assert seen == {"address": "localhost:1", "timeout": 120}


@pytest.mark.parametrize("error", [RuntimeError, ValueError])
def test_peers_that_cannot_be_reached_end_in_one_sentence(error, monkeypatch):
  def fail(*args, **options):
    raise error("no route\nto host")

  monkeypatch.setattr(jax.distributed, "initialize", fail)
  with pytest.raises(UserError, match=r"could not find each other: no route$"):
    parallel.initialize("localhost:1", 2, 0)


def test_heart_beats_only_where_a_launcher_listens(tmp_path, monkeypatch):
  monkeypatch.delenv(parallel.HEARTBEAT, raising=False)
  parallel.beat()
  path = tmp_path / "0"
  monkeypatch.setenv(parallel.HEARTBEAT, str(path))
  parallel.beat()
  os.utime(path, (1, 1))
  parallel.beat()
  assert path.stat().st_mtime > 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stop_signal_is_noticed_and_handlers_come_back(number):
  before = signal.getsignal(number)
  with parallel.StopSignal() as stop:
    assert not stop.reached(1)
    os.kill(os.getpid(), number)
    assert stop.reached(2)
  assert signal.getsignal(number) == before
