"""Sweeps over devices on a worker that only pretends, and the agreement."""

import dataclasses
import json

import pytest

from launch import sweep

PRETEND = "--module=tests.launch.pretend_report"


def run(folder, *argv, config="well.py"):
  path = folder / "sweep.json"
  code = sweep.main([f"--json={path}", f"--configs={config}", PRETEND, *argv])
  return code, json.loads(path.read_text())


def planned(*argv):
  options, _ = sweep.parse(["--json=x.json", "--configs", "c.py", *argv])
  return sweep.rows(options)


def test_weak_and_strong_scaling_share_a_row():
  rows = planned(
    "--devices", "1", "2", "4", "--scaling", "weak", "strong", "--batch=3"
  )
  found = sorted((x.devices, x.batch) for x in rows)
  assert found == [(1, 3), (1, 12), (2, 6), (2, 12), (4, 12)]


def test_all_combinations_are_planned_once():
  rows = planned(
    *("--devices", "1", "2", "--processes", "1", "2", "--sizes", "64", "128"),
    *("--precisions", "float32", "bfloat16", "--modes", "jit", "fsdp"),
  )
  # One device has no place for two processes.
  assert len(rows) == len(set(rows)) == 3 * 2 * 2 * 2
  flags = rows[-1].flags()
  assert "--config.parallel=fsdp" in flags
  assert "--config.data.load_size=143" in flags
  assert len({x.name() for x in rows}) == len(rows)


def test_rows_run_and_are_not_run_again(tmp_path, capsys):
  argv = ["--devices", "1", "2", "--scaling", "strong", "--batch=2"]
  code, found = run(tmp_path, *argv, "--processes", "1", "2")
  assert code == 0 and len(found["rows"]) == 3
  assert [x["devices"] for x in found["rows"]] == [1, 2, 2]
  first, second = found["agreement"]
  assert not first["same"] and first["agree"]
  # Two processes with a device each are one program on as many devices.
  assert second["same"] and second["rows"][0].endswith("2d-1p-b4")
  capsys.readouterr()
  code, again = run(tmp_path, *argv, "--processes", "1", "2")
  assert code == 0 and again == found
  assert capsys.readouterr().out.count("is in ") == 3


def test_losses_that_disagree_fail_the_sweep(tmp_path, capsys):
  code, found = run(
    tmp_path, "--devices", "1", "2", "--scaling=strong", config="disagree.py"
  )
  assert code == 1 and not found["agreement"][0]["agree"]
  assert "losses disagree by 3.3e-01" in capsys.readouterr().out


def test_twins_must_agree_bit_for_bit():
  row = dataclasses.asdict(sweep.Row("c", 4, 1, 8, 0, "", "", ""))
  common = {"precision": "float32", "flags": [], "kind": "measured"}
  one = {"row": row, "losses": [{"loss/a": 1.0}], **common}
  two = {"row": row | {"processes": 2}, "losses": [{"loss/a": 1.0}], **common}
  (found,) = sweep.agreement([one, two])
  assert found["same"] and found["agree"]
  two["losses"] = [{"loss/a": 1.0 + 2**-50}]
  (found,) = sweep.agreement([one, two])
  assert not found["agree"]
  (found,) = sweep.agreement([one, two | {"kind": "cpu-virtual"}])
  assert not found["same"] and found["agree"]
  # Two CPU devices have only one sum.
  for x in (one, two):
    x |= {"row": x["row"] | {"devices": 2}, "kind": "cpu-virtual"}
  (found,) = sweep.agreement([one, two])
  assert not found["agree"]
  two["losses"] = [{"loss/a": float("nan")}]
  two["row"] = row | {"devices": 4}
  (found,) = sweep.agreement([one, two])
  assert not found["agree"]


def test_a_failed_row_is_told_and_tried_again(tmp_path, capsys):
  code, found = run(tmp_path, config="mistake.py")
  assert code == 1
  assert "exit code 1: The batch size 3" in found["rows"][0]["error"]
  run(tmp_path, config="mistake.py")
  assert "is in " not in capsys.readouterr().out
  code, found = run(tmp_path, "--seconds=1", config="hang.py")
  assert "not done within 1 s" in found["rows"][-1]["error"]


def test_topologies_are_compiled_for(tmp_path):
  code, found = run(tmp_path, "--topologies", "v5e:2x4", "--sizes", "128")
  (row,) = found["rows"]
  assert code == 0 and row["kind"] == "aot-predicted"
  assert row["global_batch"] == 32 and row["size"] == 128 and row["fits"]


def test_dry_run_starts_and_writes_nothing(tmp_path, capsys):
  argv = ["--devices", "2", "--dry-run", "--platform=gpu"]
  path = tmp_path / "x.json"
  assert sweep.main([f"--json={path}", "--configs=c.py", *argv]) == 0
  told = capsys.readouterr().out
  assert told.startswith("CUDA_VISIBLE_DEVICES=0,1 ")
  assert "benchmarks.step_report" in told
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
  "argv, words",
  [
    (["--devices", "0"], "--devices holds 0"),
    (["--batch=0"], "--batch is 0"),
    (["--devices", "3", "--processes", "2"], "no number of devices"),
    (["--topologies", "v5e"], "no topology such as"),
  ],
)
def test_wrong_use_ends_in_one_sentence(argv, words, capsys):
  with pytest.raises(SystemExit) as ended:
    sweep.main(["--json=x.json", "--configs=c.py", *argv])
  told = capsys.readouterr().err
  assert ended.value.code == 2 and words in told and told.count("\n") == 1
