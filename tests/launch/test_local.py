"""The local launcher on processes that only pretend to train."""

import json
import pathlib
import signal
import socket
import subprocess
import sys
import time

import pytest

from launch import contract, local

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Ranks of one start that would never end by themselves.
HANG = [["beat", "sleep:600"], ["beat", "sleep:600"]]


def launch(folder, plan, *options, processes=2):
  """Starts the launcher on a plan of `pretend_training`."""
  folder.mkdir(exist_ok=True)
  (folder / "plan.json").write_text(json.dumps(plan))
  command = [
    sys.executable, "-m", "launch.local", f"--processes={processes}",
    "--module=tests.launch.pretend_training", *options,
    "--", "--config=c.py", f"--workdir={folder}",
  ]  # fmt: skip
  return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)


def end(process):
  _, told = process.communicate(timeout=120)
  return process.returncode, told


def starts(folder, rank=0):
  return int((folder / f"starts{rank}").read_text())


@pytest.mark.parametrize(
  "plan, code, count",
  [
    ([[[0], [0]]], 0, 1),
    ([[[42], [42]], [[42], [42]], [[0], [0]]], 0, 3),
    ([[["sleep:600"], [-9]], [[0], [0]]], 0, 2),
    ([[[134], [134]], [[143], ["sleep:600"]], [[-6], [0]]], 134, 3),
    ([[["sleep:600"], [1]], [[0], [0]]], 1, 1),
    ([[[42], [42]], [[42], [42]], [[42], [42]], [[42], [42]]], 42, 4),
  ],
  ids=["done", "preempted", "killed", "budget", "mistake", "preempted often"],
)
def test_what_follows_an_exit_code(plan, code, count, tmp_path):
  run = launch(tmp_path, plan, "--max-failures=2", "--max-preemptions=3")
  returned, told = end(run)
  assert returned == code, told
  assert starts(tmp_path) == count
  assert told.count("starting again") == count - 1


def test_one_rank_needs_no_scheduler(tmp_path):
  code, _ = end(launch(tmp_path, [[[0]]], processes=1))
  seen = json.loads((tmp_path / "seen0.json").read_text())
  assert code == 0 and seen["SLURM_JOB_ID"] is seen["SLURM_NTASKS"] is None


def test_ranks_see_a_step_of_slurm(tmp_path):
  run = launch(tmp_path, [[[0], [0]]], "--cpu-devices=2", "--gpus")
  assert end(run)[0] == 0
  seen = [
    json.loads((tmp_path / f"seen{rank}.json").read_text()) for rank in (0, 1)
  ]
  assert [x.pop("CUDA_VISIBLE_DEVICES") for x in seen] == ["0", "1"]
  assert seen[0] == seen[1] and 0 <= int(seen[0]["SLURM_JOB_ID"]) < 2**12
  assert seen[0]["SLURM_NTASKS"] == seen[0]["JAX_NUM_CPU_DEVICES"] == "2"
  # As many as one process with all four devices has.
  assert int(seen[0]["NPROC"]) == local.threads(4) >= 8
  assert (tmp_path / "ranks" / "rank1.log").is_file()


@pytest.mark.parametrize("beats", [True, False])
def test_stuck_ranks_are_noticed_and_started_again(beats, tmp_path):
  hang = HANG if beats else [["sleep:600"], ["sleep:600"]]
  limit = "--stall-seconds=1" if beats else "--start-seconds=3"
  code, told = end(launch(tmp_path, [hang, [[0], [0]]], limit))
  assert code == 0 and starts(tmp_path) == 2
  assert ("made a step" if beats else "made a first step") in told


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_is_passed_on_and_nothing_starts_again(number, tmp_path):
  plan = [[["beat", "wait"], ["beat", "sleep:1", 42]]]
  run = launch(tmp_path, plan)
  deadline = time.monotonic() + 60
  while not (tmp_path / "seen1.json").exists():
    assert time.monotonic() < deadline
    time.sleep(0.05)
  time.sleep(0.3)
  run.send_signal(number)
  code, _ = end(run)
  assert code == 42 and starts(tmp_path) == starts(tmp_path, 1) == 1


@pytest.mark.parametrize(
  "argv, words",
  [
    (["--processes=0", "--", "--config=c", "--workdir=w"], "at least 1"),
    (["--port=80", "--", "--config=c", "--workdir=w"], "61440 to 65535"),
    (["--", "--config=c"], "lack --workdir"),
    ([], "lack --config"),
  ],
)
def test_wrong_use_ends_in_one_sentence(argv, words, capsys):
  with pytest.raises(SystemExit) as ended:
    local.main(argv)
  told = capsys.readouterr().err
  assert ended.value.code == 2 and words in told and told.count("\n") == 1


def test_a_taken_port_is_told(capsys):
  port = local.free_port()
  with socket.socket() as taken:
    taken.bind(("", port))
    with pytest.raises(SystemExit):
      local.main([f"--port={port}", "--", "--config=c", "--workdir=w"])
  assert f"port {port} is taken" in capsys.readouterr().err


def test_dry_run_prints_commands_that_bash_takes(tmp_path, capsys):
  flags = ["--config=c.py:a b", f"--workdir={tmp_path}"]
  options = ["--processes=2", "--cpu-devices=1", "--dry-run"]
  assert local.main([*options, "--", *flags]) == 0
  text = capsys.readouterr().out
  assert text.count("SLURM_PROCID=") == 2 and "'--config=c.py:a b'" in text
  assert subprocess.run(["bash", "-n"], input=text, text=True).returncode == 0
  assert not (tmp_path / "ranks").exists()


def test_codes_are_those_a_shell_shows():
  assert contract.exit_code(-signal.SIGKILL) == 137
  assert contract.exit_code(42) == 42


def test_flags_are_found_in_both_forms():
  flags = ["--a=1", "--b", "2", "--c"]
  found = [contract.value(flags, name) for name in "abcd"]
  assert found == ["1", "2", None, None]
