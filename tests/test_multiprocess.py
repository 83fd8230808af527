"""Several processes on this machine against one, through the real command."""

import hashlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from chibijax.core import checkpoint, parallel, workdir
from launch import local

ROOT = pathlib.Path(__file__).resolve().parent.parent
STEPS = 40
TIMEOUT = 300


FLAGS = [
  "--config=configs/cyclegan.py:smoke",
  f"--config.total_steps={STEPS}",
  "--config.ema=0.9",
  "--config.eval_every=0",
  "--config.save_every=1000",
  "--config.log_every=1",
]


def start(folder, processes, *extra):
  """Starts a run of 4 devices in so many processes.

  Also a single one is told of a coordinator: then gloo adds its devices up, as
  it does between processes. XLA itself has another order, and four numbers
  have more than one sum.
  """
  with socket.socket() as free:
    free.bind(("localhost", 0))
    port = free.getsockname()[1]
  environment = os.environ | {
    "JAX_PLATFORMS": "cpu",
    "JAX_NUM_CPU_DEVICES": str(4 // processes),
    # As under the launcher.
    "NPROC": str(local.threads(4)),
  }
  running = []
  for rank in range(processes):
    command = [
      sys.executable, "-m", "chibijax.main", *FLAGS,
      f"--workdir={folder}", f"--coordinator=localhost:{port}",
      f"--num_processes={processes}", f"--process_id={rank}", *extra,
    ]  # fmt: skip
    with (folder.parent / f"{folder.name}.{rank}.log").open("ab") as log:
      running.append(
        subprocess.Popen(
          command, cwd=ROOT, env=environment, stdout=log, stderr=log
        )
      )
  return running


def finish(running):
  """Waits for all; kills what hangs."""
  try:
    return [process.wait(TIMEOUT) for process in running]
  finally:
    for process in running:
      process.kill()


def losses(folder):
  lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
  return {
    x["step"]: {k: v for k, v in x.items() if k.startswith("loss/")}
    for x in lines
    if x["kind"] == "train"
  }


def state_hash(folder, step=None):
  """sha256 of the bits of a saved state, and its step."""
  from chibijax.evaluate import make_pipeline
  from chibijax.tasks import translation

  config = workdir.read_config(folder)
  task = translation.build(config)
  spec = make_pipeline(config, "train").spec
  placement = parallel.make_placement("jit", config.data.batch_size)
  target = placement.abstract(
    jax.eval_shape(lambda k: task.init(k, spec), jax.random.key(0))
  )
  with checkpoint.Checkpointer(folder) as checkpoints:
    state, data = checkpoints.restore(target, step)
  digest = hashlib.sha256(json.dumps(data, sort_keys=True).encode())
  for leaf in jax.tree.leaves(state):
    digest.update(np.asarray(leaf).tobytes())
  return digest.hexdigest(), int(state.step)


@pytest.fixture(scope="module")
def single(tmp_path_factory):
  folder = tmp_path_factory.mktemp("single") / "run"
  assert finish(start(folder, 1)) == [0]
  return folder


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
  folder = tmp_path_factory.mktemp("pair") / "run"
  assert finish(start(folder, 2)) == [0, 0]
  return folder


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
  """Two processes; SIGTERM reaches one of them and both stop."""
  folder = tmp_path_factory.mktemp("stopped") / "run"
  running = start(folder, 2)
  deadline = time.monotonic() + TIMEOUT
  while not (folder / "metrics.jsonl").is_file() or not losses(folder):
    assert time.monotonic() < deadline and running[0].poll() is None
    time.sleep(0.02)
  running[1].send_signal(signal.SIGTERM)
  assert finish(running) == [42, 42]
  return folder


def test_sigterm_to_one_rank_stops_all_at_one_step(stopped):
  saved = [p.name for p in (stopped / checkpoint.FOLDER).iterdir()]
  assert len(saved) == 1 and 0 < int(saved[0]) < STEPS
  for rank in (0, 1):
    log = (stopped.parent / f"{stopped.name}.{rank}.log").read_text()
    assert "Traceback" not in log


def test_two_processes_give_the_bits_of_one(single, pair):
  assert losses(pair) == losses(single)
  assert state_hash(pair) == state_hash(single)


def test_the_relaunch_ends_with_the_same_bits(pair, stopped, tmp_path):
  moved = tmp_path / "run"
  shutil.copytree(stopped, moved)
  assert finish(start(moved, 2)) == [0, 0]
  assert state_hash(moved) == state_hash(pair)
  assert state_hash(moved)[1] == STEPS
  assert losses(moved) == losses(pair)


def test_the_relaunch_may_have_another_process_count(pair, stopped, tmp_path):
  moved = tmp_path / "run"
  shutil.copytree(stopped, moved)
  # This process has one process's four devices: what is restored is the same
  # bits that two processes saved. (`state_hash` reads on this side.)
  before = state_hash(stopped)
  assert finish(start(moved, 1)) == [0]
  assert state_hash(stopped) == before
  assert state_hash(moved) == state_hash(pair)
  assert losses(moved) == losses(pair)


def children(pid):
  """The ranks of a launcher, in their order."""
  path = pathlib.Path(f"/proc/{pid}/task/{pid}/children")
  return [int(child) for child in path.read_text().split()]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("rank", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_rank_is_started_again_and_changes_no_bit(pair, rank, tmp_path):
  folder = tmp_path / "run"
  command = [
    sys.executable, "-m", "launch.local", "--processes=2", "--cpu-devices=2",
    "--max-failures=1", "--", *FLAGS, f"--workdir={folder}",
    "--config.save_every=8",
  ]  # fmt: skip
  with (tmp_path / "log").open("wb") as log:
    launcher = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
  try:
    saves, deadline = folder / checkpoint.FOLDER, time.monotonic() + TIMEOUT
    # The first sign of a save: it is killed in the middle.
    while not saves.is_dir() or not any(saves.iterdir()):
      assert time.monotonic() < deadline and launcher.poll() is None
    os.kill(children(launcher.pid)[rank], signal.SIGKILL)
    code = launcher.wait(TIMEOUT)
  finally:
    launcher.terminate()
  told = (tmp_path / "log").read_text()
  assert code == 0 and told.count("starting again") == 1, told
  assert f"rank {rank} ended with exit code 137" in told
  assert state_hash(folder) == state_hash(pair)
