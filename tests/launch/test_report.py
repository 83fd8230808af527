"""Tables, plot and figures of made-up rows whose values are known."""

import json

import pytest

from launch import report


def row(devices, batch, seconds, **changed):
  base = {
    "kind": "measured",
    "model": "cyclegan",
    "chip": "NVIDIA H100 80GB HBM3",
    "topology": "",
    "devices": devices,
    "processes": 1,
    "parallel": "jit",
    "microbatches": 1,
    "precision": "bfloat16",
    "size": 256,
    "global_batch": batch,
    "model_flops": batch * 989 * 10**9,
    "xla_bytes_per_device": 3350 * 10**6,
    "memory": {"total": 2**30},
    "fits": True,
    "collectives": {"all-reduce": 113_000_000} if devices > 1 else {},
    "seconds_per_step": seconds,
    "peak_memory": {"bytes": 2**31, "of": "device"},
    "wait_s": [0.3, 0.1, 0.2],
    "parts": {"generator": 0.05, "checkpoint": 0.5},
    "row": {"config": "configs/cyclegan.py"},
    "flags": [],
    "load": 0.5,
  }
  return base | changed


@pytest.fixture
def rows():
  return [
    row(1, 4, 0.010),
    row(2, 8, 0.0125),
    row(1, 8, 0.020),
    # Another experiment's one device must not be compared with.
    row(1, 4, 0.001, flags=["--config.model.generator.width=8"]),
  ]


def test_figures_are_in_the_units_of_the_field(rows):
  one = report.figures(rows[0], rows)
  assert one["images_per_second"] == pytest.approx(400)
  assert one["seconds_per_kimg"] == pytest.approx(2.5)
  assert one["model_tflops"] == pytest.approx(395.6)
  assert one["mfu"] == pytest.approx(0.4)
  # 4 ms of arithmetic, 1 ms of memory, in a step of 10.
  assert one["roofline"] == pytest.approx(0.4)
  assert one["weak_efficiency"] == one["strong_efficiency"] == 1.0
  assert one["parts"] == {
    "data wait": 0.2, "generator": 0.05, "checkpoint": 0.5
  }  # fmt: skip


def test_efficiency_is_against_one_device(rows):
  two = report.figures(rows[1], rows)
  assert two["images_per_second_per_chip"] == pytest.approx(320)
  assert two["weak_efficiency"] == pytest.approx(320 / 400)
  assert two["strong_efficiency"] == pytest.approx(320 / 400)
  assert two["mfu"] == pytest.approx(0.32)
  for name in ("precision", "parallel", "size", "model"):
    alone = report.figures(rows[1] | {name: "other"}, rows)
    assert "weak_efficiency" not in alone


def test_a_cpu_has_no_peak(rows):
  cpu = report.figures(
    row(1, 4, 0.01, chip="cpu", kind="cpu-virtual", fits=None), rows
  )
  assert "mfu" not in cpu and "roofline" not in cpu
  assert cpu["model_tflops"] > 0 and "weak_efficiency" not in cpu


def test_a_prediction_is_a_bound_and_no_measurement(rows):
  told = row(8, 32, None, kind="aot-predicted", chip="TPU v5 lite")
  del told["seconds_per_step"]
  found = report.figures(told, rows)
  # 4 examples a device at 989 GFLOP, on 197 TFLOP/s.
  assert found["seconds_per_step"] == pytest.approx(4 * 0.989 / 197)
  assert "mfu" not in found and "weak_efficiency" not in found
  text = report.markdown([found], {"rows": [], "interrupted": [],
                                   "agreement": [], "failed": []})  # fmt: skip
  assert "Predicted" in text and "## Speed" not in text


def test_files_become_tables_json_and_a_plot(rows, tmp_path, capsys):
  pytest.importorskip("matplotlib", reason="draws the plot")
  sweep, cut = tmp_path / "sweep.json", tmp_path / "cut.json"
  found = [{"rows": ["a", "b"], "same": False, "difference": 2e-6,
            "agree": True}]  # fmt: skip
  failed = {"error": "ended with exit code 1: no disk"}
  sweep.write_text(json.dumps({"rows": [*rows, failed], "agreement": found}))
  stages = {"notice": 1.0, "start": 2.0, "compile": 3.0, "first step": 0.5}
  interrupted = {
    "kind": "interrupted", "signal": "TERM", "cache": True, "steps": 10,
    "wall_s": 20.0, "restart_s": 6.5, "goodput": 0.25, "restarts": [stages],
  }  # fmt: skip
  cut.write_text(json.dumps({"rows": [interrupted]}))
  out = {x: tmp_path / f"out.{x}" for x in ("markdown", "json", "png")}
  argv = [str(sweep), str(cut), *(f"--{k}={v}" for k, v in out.items())]
  assert report.main(argv) == 0
  text = out["markdown"].read_text()
  assert text == capsys.readouterr().out
  for words in ("| 400 |", "| 80% |", "all-reduce 113.0", "2.0e-06",
                "1.0 | 2.0 | 3.0 | 0.5 | 6.5", "25%", "no disk"):  # fmt: skip
    assert words in text, words
  assert json.loads(out["json"].read_text())["rows"][0]["mfu"] == 0.4
  assert out["png"].read_bytes().startswith(b"\x89PNG")


def test_every_line_of_a_table_has_the_cells_of_its_header(rows):
  given = [report.figures(x, rows) for x in rows]
  for table in (report.speed_table, report.memory_table, report.parts_table):
    counts = {line.count("|") for line in table(given).splitlines()}
    assert len(counts) == 1


@pytest.mark.parametrize("text", ["", "[]", '{"rows": 3}', "{}"])
def test_another_file_is_told(text, tmp_path, capsys):
  path = tmp_path / "x.json"
  path.write_text(text)
  with pytest.raises(SystemExit) as ended:
    report.main([str(path)])
  assert ended.value.code == 2
  assert "holds no rows of a sweep" in capsys.readouterr().err
