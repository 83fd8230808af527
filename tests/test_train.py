"""The loop: smoke, bitwise resume, stopping, failing with one sentence.

Every test trains the real CycleGAN task at its smallest size, on a folder of
made pictures.
"""

import json
import os
import signal

import jax
import numpy as np
import pytest
from PIL import Image

from chibijax import evaluate, train
from chibijax.core import checkpoint, logging, parallel, workdir
from chibijax.errors import UserError
from configs import cyclegan
from tests.tasks import resume

STEPS = 6


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
  """Two folders of small pictures, train and held out."""
  root = tmp_path_factory.mktemp("pictures")
  rng = np.random.default_rng(0)
  for domain in "ab":
    for index in range(24):
      path = root / domain / f"{index:02d}.png"
      path.parent.mkdir(exist_ok=True)
      Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8)).save(path)
  return root


@pytest.fixture
def config(pictures):
  config = cyclegan.get_config("smoke")
  config.total_steps = STEPS
  config.ema = 0.9
  config.eval_every, config.save_every = 0, 2
  for domain in "ab":
    config.data[f"source_{domain}"] = "folder"
    config.data[f"path_{domain}"] = str(pictures / domain)
  return config


def log_lines(folder, kind="train"):
  return {line["step"]: line for line in resume.logged(folder, kind)}


def stop_at(monkeypatch, step, number=signal.SIGTERM):
  """Sends this process a signal when the loop finishes a step."""
  advance = logging.RunLog.step
  seen = []

  def step_and_signal(self):
    advance(self)
    seen.append(1)
    if len(seen) == step:
      os.kill(os.getpid(), number)

  monkeypatch.setattr(logging.RunLog, "step", step_and_signal)


@pytest.fixture(scope="module")
def uninterrupted(pictures, tmp_path_factory):
  """A whole run, which others must equal: its folder and last state."""
  folder = tmp_path_factory.mktemp("run")
  config = cyclegan.get_config("smoke")
  config.total_steps, config.ema = STEPS, 0.9
  config.eval_every, config.save_every = 3, 2
  for domain in "ab":
    config.data[f"source_{domain}"] = "folder"
    config.data[f"path_{domain}"] = str(pictures / domain)
  result = train.train(config, folder, {"ema": 0.9})
  assert result.finished
  return folder, result.state


def test_smoke_training_leaves_what_it_promises(uninterrupted):
  folder, state = uninterrupted
  assert int(state.step) == STEPS
  lines = log_lines(folder)
  assert sorted(lines) == list(range(1, STEPS + 1))
  losses = [v for x in lines.values() for k, v in x.items() if "loss" in k]
  assert losses and np.isfinite(losses).all()
  assert all(0 <= x["data_wait_share"] <= 1 for x in lines.values())
  assert sorted(log_lines(folder, "eval")) == [0, 3, 6]
  grids = sorted(p.name for p in (folder / "samples").iterdir())
  assert grids == [f"step_{i:08d}.png" for i in (0, 3, 6)]
  assert (folder / "config.json").is_file()
  assert json.loads((folder / "run.json").read_text())[0]["overrides"]
  steps = sorted(p.name for p in (folder / checkpoint.FOLDER).iterdir())
  assert steps[-1] == str(STEPS)


@pytest.mark.parametrize(
  "number",
  [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)],
)
def test_a_signal_saves_and_resuming_is_bitwise(
  config, tmp_path, monkeypatch, uninterrupted, number
):
  with monkeypatch.context() as patch:
    # Step 3 is no multiple of `save_every`: only the signal saves it.
    stop_at(patch, 3, number)
    stopped = train.train(config, tmp_path)
  assert not stopped.finished and int(stopped.state.step) == 3
  resumed = train.train(config, tmp_path)
  assert resumed.finished
  expected, got = resume.bits(uninterrupted[1]), resume.bits(resumed.state)
  assert got.keys() == expected.keys()
  assert [k for k in got if got[k] != expected[k]] == []
  losses = {k: v["loss/generator"] for k, v in log_lines(tmp_path).items()}
  whole = log_lines(uninterrupted[0])
  assert losses == {k: v["loss/generator"] for k, v in whole.items()}


def test_the_state_covers_all_that_resume_needs(uninterrupted):
  state = uninterrupted[1]
  names = "".join(resume.bits(state))
  for part in ("params", "opt", "ema", "pool", "count"):
    assert part in names


def test_a_finished_run_is_left_alone(config, uninterrupted, capsys):
  folder, _ = uninterrupted
  again = train.train(config, folder)
  assert again.finished and "Nothing to do" in capsys.readouterr().err


# Of the CycleGAN task as well, and of a regression by default.
@pytest.mark.slow
def test_pmap_equals_jit(config, tmp_path, uninterrupted):
  config.parallel = "pmap"
  train.train(config, tmp_path)
  ours, whole = log_lines(tmp_path), log_lines(uninterrupted[0])
  for step in range(1, STEPS + 1):
    for name in ("loss/generator", "loss/discriminator", "loss/cycle"):
      # Sums over shards in another order; Adam's first steps are signs of
      # gradients, which amplify a rounding where a gradient is near zero.
      np.testing.assert_allclose(ours[step][name], whole[step][name], rtol=1e-4)


def test_nothing_compiles_after_the_second_step(config, tmp_path, monkeypatch):
  compiled, at_step = [], []
  jax.monitoring.register_event_duration_secs_listener(
    lambda name, *_, **__: compiled.append(name) if "compile" in name else None
  )
  advance = logging.RunLog.step

  def count(self):
    advance(self)
    at_step.append(len(compiled))

  monkeypatch.setattr(logging.RunLog, "step", count)
  config.save_every = 0
  train.train(config, tmp_path)
  assert at_step[1] > 0  # the listener does hear compilations
  assert at_step[1] == at_step[-1]


def test_another_config_is_refused(config, uninterrupted):
  config.loss.cycle = 1.0
  with pytest.raises(UserError, match=r"loss\.cycle is 10\.0 there"):
    train.train(config, uninterrupted[0])


def test_a_loss_that_is_not_finite_names_the_last_good_checkpoint(
  config, tmp_path, monkeypatch
):
  fetch, seen = parallel.fetch, []

  def fetch_broken(tree):
    values = fetch(tree)
    seen.append("loss/cycle" in values)
    if "loss/cycle" in values and sum(seen) == 5:
      values["loss/cycle"] = np.float32("nan")
    return values

  monkeypatch.setattr(parallel, "fetch", fetch_broken)
  with pytest.raises(UserError, match=r"not finite \(loss/cycle\).*good.*/4\."):
    train.train(config, tmp_path)


def test_parameters_that_are_not_finite_are_never_saved(
  config, tmp_path, monkeypatch
):
  finite, seen = train._all_finite, []

  def broken(params):
    # As if the gradient of step 4 had overflowed with a finite loss.
    seen.append(1)
    return finite(jax.tree.map(lambda x: x / (len(seen) < 2), params))

  monkeypatch.setattr(train, "_all_finite", broken)
  with pytest.raises(
    UserError, match=r"not finite \(a parameter\).*good.*/2\."
  ):
    train.train(config, tmp_path)
  saved = [p.name for p in (tmp_path / checkpoint.FOLDER).iterdir()]
  assert saved == ["2"]


def test_a_full_disk_is_one_sentence_and_loses_nothing(
  config, tmp_path, monkeypatch
):
  with monkeypatch.context() as patch:
    stop_at(patch, 2)
    train.train(config, tmp_path)

  def full(*args, **kwargs):
    raise OSError(28, "No space left on device")

  with monkeypatch.context() as patch:
    patch.setattr("orbax.checkpoint.CheckpointManager.save", full)
    with pytest.raises(UserError, match=r"No space left.*last good.*/2\b"):
      train.train(config, tmp_path)
  assert train.train(config, tmp_path).finished


@pytest.mark.parametrize(
  "change, words",
  [
    ({"data.path_a": "/nowhere"}, "/nowhere"),
    ({"data.batch_size": 3}, "batch size 3"),
    ({"parallel": "loop"}, "'loop'"),
    ({"optim.name": "sgdd"}, "sgdd"),
    ({"data.source_b": "internet"}, "internet"),
  ],
)
def test_mistakes_end_in_one_sentence(config, tmp_path, change, words):
  config.update_from_flattened_dict(change)
  with pytest.raises(UserError, match=words) as caught:
    train.train(config, tmp_path)
  assert "\n" not in str(caught.value)


def test_evaluate_writes_metrics(config, uninterrupted):
  folder, _ = uninterrupted
  report = evaluate.evaluate(workdir.read_config(folder), folder)
  assert report == json.loads((folder / "metrics.json").read_text())
  assert report["step"] == STEPS
  assert np.isfinite(list(report["metrics"].values())).all()
  # The loop calls the same code, so it must have found the same.
  logged = log_lines(folder, "eval")[STEPS]
  for name, value in report["metrics"].items():
    np.testing.assert_allclose(value, logged[name], rtol=1e-5)
  assert (folder / "samples" / "evaluation.png").is_file()


def test_evaluate_computes_metrics_of_sets(config, uninterrupted):
  folder, _ = uninterrupted
  config = workdir.read_config(folder)
  with config.unlocked():
    config.metrics = ("checkerboard",)
    config.data.eval_fraction = 0.25  # Two pictures at least.
  found = evaluate.evaluate(config, folder)["set_metrics"]
  assert np.isfinite(found["metrics"]["checkerboard"]["value"])
  # The folders are not paired: the held-out pictures of domain b.
  assert found["manifest"]["reference"] == "the held-out set's image_b"
  config.metrics = ("kid_nothing",)
  with pytest.raises(UserError, match="no metric 'kid_nothing'"):
    evaluate.evaluate(config, folder)


def test_evaluate_without_checkpoint_is_said(config, tmp_path):
  with pytest.raises(UserError, match="no checkpoint"):
    evaluate.evaluate(config, tmp_path)
