"""The run's folder: whose it is, what was recorded."""

import json

import pytest
from ml_collections import ConfigDict

from chibijax.core import workdir
from chibijax.errors import UserError


def make_config(lr=0.1, log_every=10):
  return ConfigDict(
    {
      "free": ("log_every",),
      "log_every": log_every,
      "sizes": (1, 2),
      "optim": {"lr": lr},
    }
  )


def test_config_comes_back_with_tuples(tmp_path):
  workdir.open_workdir(tmp_path / "run", make_config())
  config = workdir.read_config(tmp_path / "run")
  assert config.to_dict() == make_config().to_dict()


def test_run_is_recorded_at_each_start(tmp_path):
  for _ in range(2):
    workdir.open_workdir(tmp_path, make_config(), {"optim.lr": 0.1})
  runs = json.loads((tmp_path / "run.json").read_text())
  assert len(runs) == 2
  assert runs[0]["overrides"] == {"optim.lr": "0.1"}
  assert runs[0]["versions"]["jax"][0].isdigit()
  assert runs[0]["git"] and runs[0]["devices"].startswith("4 x")


def test_another_config_is_refused_in_a_sentence(tmp_path):
  workdir.open_workdir(tmp_path, make_config())
  (tmp_path / "checkpoints" / "5").mkdir(parents=True)
  before = (tmp_path / "config.json").read_text()
  with pytest.raises(UserError, match=r"optim\.lr is 0\.1 there and 0\.2 here"):
    workdir.open_workdir(tmp_path, make_config(lr=0.2))
  assert (tmp_path / "config.json").read_text() == before


def test_a_mistake_before_the_first_checkpoint_can_be_mended(tmp_path):
  workdir.open_workdir(tmp_path, make_config())
  workdir.open_workdir(tmp_path, make_config(lr=0.2))
  assert workdir.read_config(tmp_path).optim.lr == 0.2


def test_free_fields_may_change(tmp_path):
  workdir.open_workdir(tmp_path, make_config())
  (tmp_path / "checkpoints" / "5").mkdir(parents=True)
  workdir.open_workdir(tmp_path, make_config(log_every=1))


def test_a_file_in_the_way_is_said(tmp_path):
  (tmp_path / "file").write_text("")
  with pytest.raises(UserError, match="cannot be used"):
    workdir.open_workdir(tmp_path / "file", make_config())


def test_a_damaged_config_is_said(tmp_path):
  (tmp_path / "checkpoints" / "5").mkdir(parents=True)
  (tmp_path / "config.json").write_text("{")
  with pytest.raises(UserError, match="not JSON"):
    workdir.open_workdir(tmp_path, make_config())
  for damaged in ((tmp_path / "config.json").read_bytes(), b"\xff", b"[1]"):
    (tmp_path / "config.json").write_bytes(damaged)
    with pytest.raises(UserError, match="cannot be read"):
      workdir.read_config(tmp_path)


def test_a_folder_without_run_is_said(tmp_path):
  with pytest.raises(UserError, match="holds no run"):
    workdir.read_config(tmp_path)
