"""Scripts for SLURM, Kubernetes and TPU VMs: their text, and what it does."""

import os
import pathlib
import shutil
import stat
import subprocess
import sys

import pytest

from launch import contract, k8s, slurm, tpu_vm

GOLDEN = pathlib.Path(__file__).parent / "golden"
FLAGS = ("--config=configs/cyclegan.py:quick", "--workdir=/runs/my run")
JOB = slurm.Spec(
  FLAGS,
  nodes=2,
  gpus_per_node=4,
  partition="gpu",
  account="faces",
  setup=("module load cuda/12",),
  extra=("--constraint=a100",),
)
SET = k8s.Spec(FLAGS, "chibijax:cuda12", hosts=2, gpus=8, volume="claim")
TPU_SET = k8s.Spec(
  FLAGS, "chibijax:tpu", hosts=4, tpu="tpu-v5-lite-podslice:4x4"
)
SLICE = tpu_vm.Spec(FLAGS, "faces", "us-central2-b", "v5e-16", spot=True)


def slice_text():
  return "".join(
    f"{command}\n"
    for step in tpu_vm.STEPS
    for command in tpu_vm.commands(SLICE, step)
  )


@pytest.mark.parametrize(
  "name, text",
  [
    ("job.sh", slurm.render(JOB)),
    ("jobset.yaml", k8s.render(SET)),
    ("jobset_tpu.yaml", k8s.render(TPU_SET)),
    ("tpu_vm.txt", slice_text()),
  ],
)
def test_text_is_the_golden_one(name, text):
  # After a change on purpose: CHIBIJAX_GOLDEN=1 pytest, then read the diff.
  path = GOLDEN / name
  if os.environ.get("CHIBIJAX_GOLDEN"):
    path.write_text(text)
  assert text == path.read_text()


def test_script_passes_shellcheck():
  program = shutil.which("shellcheck") or shutil.which(
    "shellcheck", path=str(pathlib.Path(sys.executable).parent)
  )
  script = slurm.render(JOB)
  assert subprocess.run(["bash", "-n"], input=script, text=True).returncode == 0
  if program is None:
    pytest.skip("shellcheck is not installed")
  found = subprocess.run(
    [program, "-"], input=script, text=True, capture_output=True
  )
  assert not found.stdout


def programs(folder, code):
  """Puts an `srun` that ends with a code, and a `scontrol`, on PATH."""
  lines = {
    "srun": f'printf "%s\\n" "$@" > {folder}/srun.args\nexit {code}',
    "scontrol": f'echo "$@" >> {folder}/scontrol.args',
  }
  for name, line in lines.items():
    path = folder / name
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
  return os.environ | {
    "PATH": f"{folder}:{os.environ['PATH']}",
    "SLURM_JOB_ID": "7",
  }


@pytest.mark.parametrize(
  "code, requeues", [(0, 0), (1, 0), (42, 2), (137, 1), (134, 1), (143, 1)]
)
def test_executed_script_requeues_within_its_budgets(code, requeues, tmp_path):
  flags = (FLAGS[0], f"--workdir={tmp_path}/a run")
  budget = contract.Budget(preemptions=2, failures=1)
  script = slurm.render(slurm.Spec(flags, budget=budget))
  environment = programs(tmp_path, code)
  for _ in range(4):
    run = subprocess.run(
      ["bash"], input=script, text=True, env=environment, capture_output=True
    )
    assert run.returncode == code and not run.stderr
  told = tmp_path / "scontrol.args"
  lines = told.read_text().splitlines() if told.exists() else []
  assert lines == ["requeue 7"] * requeues
  given = (tmp_path / "srun.args").read_text().splitlines()
  assert given[-2:] == list(flags) and "--kill-on-bad-exit=1" in given


def test_finished_training_forgets_what_was_spent(tmp_path):
  flags = (FLAGS[0], f"--workdir={tmp_path}/run")
  script = slurm.render(slurm.Spec(flags))
  for code, counted in ((42, True), (0, False)):
    environment = programs(tmp_path, code)
    subprocess.run(
      ["bash"], input=script, text=True, env=environment, capture_output=True
    )
    assert (tmp_path / "run" / "preemptions.count").exists() == counted


def test_jobset_follows_the_exit_codes():
  job = k8s.manifest(SET)["spec"]["replicatedJobs"][0]["template"]["spec"]
  assert job["parallelism"] == job["completions"] == 2
  assert job["completionMode"] == "Indexed" and job["backoffLimit"] == 0
  actions = {}
  for rule in job["podFailurePolicy"]["rules"]:
    codes = rule.get("onExitCodes")
    for code in (1, 42, 134, 137, 143):
      fits = codes and (code in codes["values"]) == (codes["operator"] == "In")
      if fits:
        actions.setdefault(code, rule["action"])
  # What no rule names counts against backoffLimit: all pods start again.
  assert actions == {42: "Ignore", 1: "FailJob"}
  pod = job["template"]["spec"]
  assert pod["restartPolicy"] == "Never"
  arguments = pod["containers"][0]["args"]
  assert "--coordinator=chibijax-worker-0-0.chibijax:8476" in arguments
  assert "--process_id=$(JOB_COMPLETION_INDEX)" in arguments


def test_yaml_is_what_the_manifest_says():
  yaml = pytest.importorskip("yaml")
  for spec in (SET, TPU_SET):
    assert yaml.safe_load(k8s.render(spec)) == k8s.manifest(spec)


AFTER = ("--", "--config=c.py", "--workdir=/elsewhere")
VM = ("--name=a", "--zone=z", "--type=v5e-8")


@pytest.mark.parametrize(
  "module, argv, words",
  [
    (slurm, ("--time=soon", *AFTER), "--time is 'soon'"),
    (slurm, ("--nodes=0", *AFTER), "--nodes is 0"),
    (slurm, ("--name=a b", *AFTER), "--name is 'a b'"),
    (slurm, ("--setup=a\nb", *AFTER), "line break"),
    (slurm, ("--submit", *AFTER), "sbatch is not on"),
    (k8s, ("--image=a", "--name=A", *AFTER), "--name is 'A'"),
    (k8s, ("--image=a", "--gpus=1", "--tpu=a:2x4", *AFTER), "exclude"),
    (k8s, ("--image=a", "--tpu=v5e", *AFTER), "--tpu is 'v5e'"),
    (k8s, ("--image=a", "--volume=v", *AFTER), "folder in /runs/"),
    (k8s, ("--image=a", "--hosts=0", *AFTER), "--hosts is 0"),
    (k8s, ("--image=a", "--apply", *AFTER), "kubectl is not on"),
    (tpu_vm, (*VM[:2], "--type=v9-1", *AFTER), "--type is 'v9-1'"),
    (tpu_vm, ("--name=A", *VM[1:], *AFTER), "--name is 'A'"),
    (tpu_vm, (*VM, *AFTER[:2], "--workdir=gs://b/a"), "all hosts see"),
    (tpu_vm, (*VM, "--execute", *AFTER), "gcloud is not on"),
  ],
)
def test_wrong_use_ends_in_one_sentence(
  module, argv, words, capsys, tmp_path, monkeypatch
):
  monkeypatch.setenv("PATH", str(tmp_path))
  argv = [x.replace("/elsewhere", f"{tmp_path}/run") for x in argv]
  with pytest.raises(SystemExit) as ended:
    module.main(argv)
  told = capsys.readouterr().err
  assert ended.value.code == 2 and words in told and told.count("\n") == 1


@pytest.mark.parametrize("code, ends", [(0, 0), (1, 1), (137, 137)])
def test_line_of_a_tpu_vm_starts_again(code, ends, tmp_path):
  [command] = tpu_vm.commands(SLICE, "train")
  line = next(x for x in command if x.startswith("--command="))[10:]
  (tmp_path / "chibijax-source").mkdir()
  python = tmp_path / "python3"
  # Twice preempted, then always the code.
  python.write_text(
    f"#!/bin/sh\necho >> {tmp_path}/starts\n"
    f'[ "$(wc -l < {tmp_path}/starts)" -gt 2 ] || exit 42\nexit {code}\n'
  )
  python.chmod(0o755)
  run = subprocess.run(
    ["bash", "-c", line],
    cwd=tmp_path,
    env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
    timeout=60,
  )
  assert run.returncode == ends
  starts = (tmp_path / "starts").read_text().count("\n")
  assert starts == (3 if code in (0, 1) else 3 + contract.Budget().failures)


def test_commands_run_in_order_and_stop_at_the_first_that_fails(
  tmp_path, monkeypatch
):
  gcloud = tmp_path / "gcloud"
  gcloud.write_text(
    f'#!/bin/sh\necho "$*" >> {tmp_path}/calls\ncase "$*" in *scp*) exit 5;; '
    "esac\n"
  )
  gcloud.chmod(0o755)
  monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
  assert tpu_vm.main([*VM, "--execute", *AFTER]) == 5
  calls = (tmp_path / "calls").read_text().splitlines()
  kinds = [call.split()[2:4] for call in calls]
  assert kinds == [
    ["queued-resources", "create"],
    ["queued-resources", "describe"],
    ["tpu-vm", "ssh"],
    ["tpu-vm", "scp"],
  ]


@pytest.mark.parametrize("kind", ["cpu", "cuda12", "tpu"])
def test_containers_run_as_a_user_and_install_an_extra_there_is(kind):
  text = (GOLDEN.parents[2] / "launch" / f"Dockerfile.{kind}").read_text()
  assert "\nUSER maker\n" in text
  extra = {"cpu": "[app]"}.get(kind, f"[{kind}]")
  assert extra in text
  setup = (GOLDEN.parents[2] / "setup.py").read_text()
  assert f'"{extra[1:-1]}":' in setup
