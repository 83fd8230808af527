"""Logs: numbers, grids, what a resumed run drops."""

import json

import numpy as np
from PIL import Image

from chibijax.core import logging


def open_log(folder, start=0, **changes):
  settings = dict(total_steps=10, start=start, batch_size=2) | changes
  return logging.RunLog(folder, **settings)


def lines(folder):
  text = (folder / "metrics.jsonl").read_text()
  return [json.loads(line) for line in text.splitlines()]


def test_scalars_are_one_json_object_a_line(tmp_path):
  with open_log(tmp_path) as log:
    log.scalars(1, {"loss": np.float32(0.5)})
    log.scalars(1, {"psnr": 20.0}, "eval")
  train, evaluation = lines(tmp_path)
  assert (train["step"], train["kind"], train["loss"]) == (1, "train", 0.5)
  assert train["images_per_second"] > 0
  assert evaluation == {"step": 1, "kind": "eval", "psnr": 20.0}


def test_resuming_drops_what_is_run_again(tmp_path):
  with open_log(tmp_path) as log:
    for step in range(1, 6):
      log.scalars(step, {"loss": step})
      log.scalars(step, {"psnr": step}, "eval")
  with (tmp_path / "metrics.jsonl").open("a") as file:
    file.write('{"step": 6, "ki')  # cut by a kill
  with open_log(tmp_path, start=3):
    pass
  kept = [(line["kind"], line["step"]) for line in lines(tmp_path)]
  assert kept == [
    ("train", 1), ("eval", 1), ("train", 2), ("eval", 2), ("train", 3)
  ]  # fmt: skip


def test_only_the_primary_writes(tmp_path):
  with open_log(tmp_path, primary=False) as log:
    log.scalars(1, {"loss": 1.0})
    assert log.grid(1, {"x": np.zeros((1, 8, 8, 3))}) is None
  assert not list(tmp_path.iterdir())


def test_plain_lines_without_a_terminal(tmp_path, capsys):
  with open_log(tmp_path) as log:
    log.scalars(5, {"loss": 0.25})
  printed = capsys.readouterr().err
  assert "step 5/10" in printed and "ETA" in printed and "loss=0.25" in printed


def test_grid_holds_the_pictures_in_columns(tmp_path):
  rng = np.random.default_rng(0)
  columns = {
    "photo": rng.uniform(-1, 1, (2, 64, 64, 3)).astype(np.float32),
    "mask": rng.uniform(-1, 1, (2, 64, 64, 1)).astype(np.float32),
  }
  with open_log(tmp_path) as log:
    path = log.grid(7, columns)
  assert path.name == "step_00000007.png"
  grid = np.asarray(Image.open(path)).astype(np.float32)
  # 64 px are shown at twice their size, with 2 px between.
  top = grid.shape[0] - 2 * 130
  assert grid.shape == (top + 260, 128 + 2 + 128, 3) and top >= 10
  first, second = grid[top : top + 128 : 2], grid[top + 130 : top + 258 : 2]
  # uint8 rounds by at most half a level.
  np.testing.assert_allclose(
    second[:, :128:2], (columns["photo"][1] + 1) * 127.5, atol=0.501
  )
  np.testing.assert_allclose(
    first[:, 130::2, 1], (columns["mask"][0, ..., 0] + 1) * 127.5, atol=0.501
  )


def test_profiler_window_records_its_steps(tmp_path):
  window = logging.ProfilerWindow(tmp_path, start=2, steps=2)
  for step in range(5):
    window.update(step, np.zeros(1))
    assert window._open == (step in (2, 3))
  assert any((tmp_path / "profile").rglob("*.xplane.pb"))
