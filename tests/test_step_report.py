"""The worker of launch.aot and launch.sweep on a small GAN, in this process."""

import json
import math

import jax
import pytest
from absl.testing import flagsaver

from benchmarks import step_parts, step_report
from chibijax.errors import UserError
from configs import cyclegan, dcgan, wgan_gp


@pytest.fixture(scope="module")
def config():
  return dcgan.get_config("smoke")


def run(config, folder):
  with flagsaver.flagsaver(
    (step_report.STEPS, 2), (step_report.WORKDIR, str(folder))
  ):
    return step_report.run(config, folder)


@pytest.fixture(scope="module")
def report(config, tmp_path_factory):
  return run(config, tmp_path_factory.mktemp("report"))


def test_a_report_says_what_was_run_and_can_be_written(report, config):
  assert report["kind"] == "cpu-virtual"
  assert report["devices"] == jax.device_count() == 4
  assert report["global_batch"] == config.data.batch_size
  assert json.loads(json.dumps(report)) == report
  assert report["memory"]["total"] > 0 and report["model_flops"] > 1e5
  assert report["peak_memory"]["of"] == "process"
  assert report["collectives"]["all-reduce"] > 0


def test_stages_of_each_step_are_timed_and_losses_kept(report):
  for name in ("wait_s", "put_s", "step_s"):
    assert len(report[name]) == 2 and min(report[name]) > 0
  assert len(report["losses"]) == 2 + step_report.WARM
  values = [v for x in report["losses"] for v in x.values()]
  assert values and all(map(math.isfinite, values))
  speed = report["global_batch"] / report["seconds_per_step"]
  assert report["images_per_second"] == pytest.approx(speed)


def test_parts_are_those_that_the_task_has(report):
  # No networks in CycleGAN's pairs, and no regulariser.
  assert set(report["parts"]) == {"checkpoint", "eval batch"}
  assert report["parts"]["checkpoint"] > 0


@pytest.mark.slow
@pytest.mark.parametrize(
  "module, names",
  [
    (wgan_gp, {"regulariser"}),
    (cyclegan, {"generator", "discriminator", "optimiser"}),
  ],
)
def test_parts_of_other_tasks(module, names, tmp_path):
  found = run(module.get_config("smoke"), tmp_path)["parts"]
  assert set(found) == names | {"checkpoint", "eval batch"}


def test_model_flops_leave_out_loops_and_what_is_made_again(config):
  changed = config.copy_and_resolve_references()
  with changed.unlocked():
    changed.microbatches = 4
    changed.model.generator = {"remat": True}
  plain = step_parts.plain(changed)
  assert plain.microbatches == 1 and plain.model.generator.remat is False
  assert changed.microbatches == 4 and changed.model.generator.remat is True


def test_names_of_foreign_calls_are_read():
  text = 'custom_call_target="a", x custom_call_target="b"\n "c"'
  assert step_report.custom_calls(text) == {"a", "b"}


def test_a_host_without_libtpu_is_told(config, monkeypatch):
  monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
  with pytest.raises(UserError, match=r"needs libtpu: pip install"):
    step_report.Subject(config, "v5e:2x4", False)
