"""Compiling for TPUs that are not here: the command, its answers, libtpu."""

import ast
import importlib.util
import json
import pathlib
import signal
import subprocess
import sys

import pytest

from launch import aot, chips

ROOT = pathlib.Path(__file__).resolve().parents[2]
PRETEND = "tests.launch.pretend_report"


def predict(config, topology="v5e:2x4", seconds=60):
  flags = [f"--config={config}"]
  return aot.predict(topology, 4, flags, seconds=seconds, module=PRETEND)


def test_launchers_need_the_standard_library_only():
  allowed = {*sys.stdlib_module_names, "launch"}
  for path in (ROOT / "launch").glob("*.py"):
    for node in ast.walk(ast.parse(path.read_text())):
      names = [x.name for x in getattr(node, "names", ())]
      if isinstance(node, ast.ImportFrom):
        names = [node.module]
      elif not isinstance(node, ast.Import):
        continue
      for name in names:
        lazy = path.name == "report.py" and name == "matplotlib"
        assert lazy or name.partition(".")[0] in allowed, (path.name, name)


def test_a_report_is_judged_by_the_chip():
  report = predict("well.py")
  assert report["kind"] == "aot-predicted" and report["fits"] is True
  # The pretended one tells what it was asked for.
  assert report["effort"] == report["asked_effort"] == -1.0
  assert report["devices"] == 8 and report["global_batch"] == 32
  # 4 examples a device at 1.1 TFLOP and 8 GB, by v5e's published figures; a
  # ring of eight sends 2 x 7/8 of what it sums.
  expected = {
    "compute": 4.4 / 197,
    "memory": 8 / 819,
    "exchange": 0.1 * 2 * 7 / 8 / 200,
  }
  assert report["limits_s"] == pytest.approx(expected)
  huge = report | {"memory": {"total": 17 * 2**30}}
  assert aot.judge(huge)["fits"] is False
  assert aot.judge(report | {"chip": "a new one"})["fits"] is None
  assert "fits" in aot.line(report) and "\n" not in aot.line(report)


@pytest.mark.parametrize(
  "config, words",
  [
    ("crash.py", "The compiler crashed for v5e:2x4 (SIGSEGV)."),
    ("mistake.py", "The batch size 3 does not divide over 8 devices."),
    ("muddle.py", "could not be compiled: ValueError: nobody foresaw this"),
  ],
)
def test_a_failure_is_one_sentence(config, words):
  report = predict(config)
  assert words in report["error"] and "\n" not in aot.line(report)


def test_a_compilation_that_takes_too_long_is_ended():
  assert "within 1 s" in predict("hang.py", seconds=1)["error"]


def test_a_shell_shows_a_crash_as_128_and_its_number():
  assert "SIGABRT" in aot.why("v6e:1x1", 128 + signal.SIGABRT, "")
  assert "no message" in aot.why("v6e:1x1", 1, "\n")


def test_the_file_holds_a_row_for_each_topology(tmp_path, capsys):
  path = tmp_path / "aot.json"
  argv = ["--topologies", "v5e:2x4", "v5e:4x4", f"--json={path}", "--batch=2"]
  argv += [f"--module={PRETEND}", "--", "--config=well.py"]
  assert aot.main(argv) == 0
  rows = json.loads(path.read_text())["rows"]
  assert [x["global_batch"] for x in rows] == [16, 32]
  assert capsys.readouterr().out.count("\n") == 2
  assert aot.main([*argv[:-1], "--config=crash.py"]) == 1


def test_dry_run_prints_what_bash_takes(capsys):
  argv = ["--batch=2", "--dry-run", "--", "--config=a b.py"]
  assert aot.main(argv) == 0
  text = capsys.readouterr().out
  assert "'--config=a b.py'" in text and "JAX_PLATFORMS=cpu" in text
  assert "--config.data.batch_size=16" in text
  assert subprocess.run(["bash", "-n"], input=text, text=True).returncode == 0


@pytest.mark.parametrize(
  "argv, words",
  [
    (["--"], "lack --config"),
    (["--topologies", "v5e", "--", "--config=c"], "no topology such as"),
    (["--topologies", "v5e:0x1", "--", "--config=c"], "no topology such as"),
    (["--", "--config=c", "--workdir=w"], "there is no --workdir"),
    (["--effort=2", "--", "--config=c"], "--effort is 2, expected -1 to 1"),
  ],
)
def test_wrong_use_ends_in_one_sentence(argv, words, capsys):
  with pytest.raises(SystemExit) as ended:
    aot.main(argv)
  told = capsys.readouterr().err
  assert ended.value.code == 2 and words in told and told.count("\n") == 1


def test_chips_are_found_by_what_jax_calls_them():
  assert chips.find("TPU v5 lite").memory == 16 * 2**30
  assert chips.find("TPU v5").peak("bfloat16") == 459e12
  assert chips.find("NVIDIA H100 80GB HBM3").peak("float32") == 495e12
  assert chips.find("NVIDIA A100-SXM4-40GB").memory == 40e9
  assert chips.find("cpu") is None
  assert [chips.count(x) for x in ("v5e:16x16", "v4:2x2x1")] == [256, 8]


@pytest.mark.slow
@pytest.mark.parametrize("topology", ["v5e:2x4", "v5e:16x16"])
def test_a_small_cyclegan_compiles_for_tpus(topology):
  if importlib.util.find_spec("libtpu") is None:
    pytest.skip("needs libtpu: pip install -e '.[tpu-aot]'")
  flags = ["--config=configs/cyclegan.py:smoke"]
  report = aot.predict(topology, 1, flags)
  assert report.get("error") is None
  assert report["devices"] == chips.count(topology) and report["fits"]
  assert report["collectives"]["all-reduce"] > 100_000
  # The kernels for CPUs stay out of a TPU's program.
  assert not [x for x in report["custom_calls"] if "chibijax" in x]
