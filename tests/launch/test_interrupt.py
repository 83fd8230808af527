"""Interrupted trainings: the course is read from the output, signals arrive."""

import json

import pytest

from launch import interrupt

PRETEND = "--module=tests.launch.pretend_steps"


def test_a_course_is_told_in_stages():
  course = interrupt.Course(0.0)
  for now in range(10, 15):
    course.see(f"[train] step {now - 9}/8 loss=1", float(now))
  course.restarts.append({"signal": 14.5})
  for now, line in (
    (14.6, "[train] step 6/8 said before it ended"),
    (16.0, "launch: starting again (1 more)"),
    (18.0, "Devices: 1 x cpu"),
    (21.0, "Compiled the step in 3.0 s"),
    (22.0, "[train] step 6/8 loss=1"),
    (23.0, "[train] step 7/8 loss=1"),
    (24.0, "[train] step 8/8 loss=1"),
  ):
    course.see(line, now)
  found = interrupt.report(course, 25.0)
  assert found["restarts"] == [
    {"notice": 1.5, "start": 2.0, "compile": 3.0, "first step": 1.0}
  ]
  assert found["restart_s"] == 7.5 and found["seconds_per_step"] == 1.0
  assert found["goodput"] == pytest.approx(8 / 25)


@pytest.mark.parametrize("signal", ["TERM", "KILL"])
def test_signals_reach_the_rank_and_it_starts_again(signal, tmp_path):
  path = tmp_path / "out.json"
  argv = [f"--signal={signal}", "--every=0.1", "--times=2", f"--json={path}"]
  flags = ["--", "--config=c.py", f"--workdir={tmp_path}"]
  assert interrupt.main([*argv, PRETEND, *flags]) == 0
  (found,) = json.loads(path.read_text())["rows"]
  assert len(found["restarts"]) == 2 and found["signal"] == signal
  assert set(found["restarts"][0]) == set(interrupt.STAGES)
  assert 0 < found["goodput"] < 1 and found["steps"] == 60


def test_a_training_that_is_over_too_soon_is_told(tmp_path, capsys):
  argv = ["--every=60", "--times=1", PRETEND]
  with pytest.raises(SystemExit) as ended:
    interrupt.main([*argv, "--", "--config=c", f"--workdir={tmp_path}"])
  assert ended.value.code == 2
  assert "over after 0 of 1 interruptions" in capsys.readouterr().err


def test_dry_run_prints_the_command(tmp_path, capsys):
  argv = ["--dry-run", f"--cache={tmp_path}", "--", "--config=c", "--workdir=w"]
  assert interrupt.main(argv) == 0
  told = capsys.readouterr().out
  assert f"JAX_COMPILATION_CACHE_DIR={tmp_path}" in told
  assert "-m launch.local" in told and "--config=c" in told
