"""What setup.py builds, for which machines, and what it says when it cannot."""

import importlib
import os
import pathlib
import stat
import subprocess
import sys

import pytest

setuptools = pytest.importorskip("setuptools")
package_setup = importlib.import_module("setup")

ROOT = pathlib.Path(__file__).resolve().parent.parent
KNOWN = ("70", "75", "80", "86", "90", "100", "121")


@pytest.fixture
def environment(monkeypatch, tmp_path):
  """No compiler anywhere and nothing asked for; returns an empty PATH."""
  for name in ("CHIBIJAX_CUDA", "CHIBIJAX_CUDA_ARCHS", "CUDA_HOME", "CXX"):
    monkeypatch.delenv(name, raising=False)
  folder = tmp_path / "bin"
  folder.mkdir()
  monkeypatch.setenv("PATH", str(folder))
  which = package_setup.shutil.which
  # The usual place of nvcc must not count either.
  monkeypatch.setattr(
    package_setup.shutil,
    "which",
    lambda name, path=None: which(
      name, path=path and path.replace("/usr/local/cuda/bin", "")
    ),
  )
  return folder


def program(path, text):
  """Writes a shell script that can be run."""
  path.write_text(f"#!/bin/sh\n{text}\n")
  path.chmod(path.stat().st_mode | stat.S_IXUSR)


def fake_nvcc(folder):
  """Knows some architectures, and writes down how it is called."""
  folder.mkdir(exist_ok=True)
  lines = "\n".join(f"echo compute_{arch}" for arch in KNOWN)
  program(
    folder / "nvcc",
    f'if [ "$1" = --list-gpu-arch ]; then\n{lines}\nexit; fi\n'
    f'echo "$@" > {folder}/called\n'
    'for last; do :; done\n: > "$last"',
  )


def build(monkeypatch, tmp_path, sources):
  """Runs the build command over sources; returns its folder."""
  distribution = setuptools.Distribution({"name": "x", "version": "0"})
  distribution.ext_modules = [
    package_setup.Extension(name, [source], optional=True)
    for name, source in sources.items()
  ]
  command = package_setup.BuildNative(distribution)
  command.build_lib = str(tmp_path / "out")
  command.ensure_finalized()
  monkeypatch.setattr(package_setup, "ROOT", tmp_path)
  command.run()
  return tmp_path / "out"


def test_every_source_has_its_libraries(monkeypatch, tmp_path):
  native = tmp_path / "chibijax" / "ops" / "family" / "native"
  native.mkdir(parents=True)
  for name in ("plain.cc", "both_cpu.cc", "both_cuda.cu", "part.h"):
    (native / name).touch()
  monkeypatch.setattr(package_setup, "ROOT", tmp_path)
  monkeypatch.setattr(package_setup.platform, "machine", lambda: "x86_64")
  found = [e.name.rpartition(".") for e in package_setup.native_extensions()]
  assert {package for package, _, _ in found} == {"chibijax.ops.family.native"}
  sets = ("avx2", "avx512", "generic")
  expected = [f"lib{name}_{x}" for name in ("both", "plain") for x in sets]
  assert sorted(name for _, _, name in found) == sorted(
    [*expected, "libboth_cuda"]
  )
  monkeypatch.setattr(package_setup.platform, "machine", lambda: "aarch64")
  assert len(package_setup.native_extensions()) == 3


@pytest.mark.parametrize(
  ("asked", "expected"),
  [
    (None, ["75", "80", "86", "90", "100", "121"]),
    ("90", ["90"]),
    ("7.5;9.0", ["75", "90"]),
    ("120, 90a 75", ["75", "90a", "120"]),
  ],
)
def test_architectures(asked, expected, environment, monkeypatch):
  fake_nvcc(environment)
  if asked:
    monkeypatch.setenv("CHIBIJAX_CUDA_ARCHS", asked)
  nvcc = package_setup.find_nvcc()
  assert package_setup.cuda_architectures(nvcc) == expected
  flags = package_setup.cuda_flags(nvcc)
  for arch in expected:
    assert f"-gencode=arch=compute_{arch},code=sm_{arch}" in flags
  last = f"compute_{expected[-1]}"
  assert flags[-1] == f"-gencode=arch={last},code={last}"


@pytest.mark.parametrize("asked", ["Hopper", "9,0", "sm_90"])
def test_architectures_that_are_none(asked, environment, monkeypatch):
  fake_nvcc(environment)
  monkeypatch.setenv("CHIBIJAX_CUDA_ARCHS", asked)
  with pytest.raises(SystemExit, match=f"'{asked}'; expected architectures"):
    package_setup.cuda_architectures(package_setup.find_nvcc())


def test_nvcc_is_found_in_cuda_home(environment, monkeypatch, tmp_path):
  assert package_setup.find_nvcc() is None
  (tmp_path / "cuda").mkdir()
  fake_nvcc(tmp_path / "cuda" / "bin")
  monkeypatch.setenv("CUDA_HOME", str(tmp_path / "cuda"))
  expected = str(tmp_path / "cuda" / "bin" / "nvcc")
  assert package_setup.find_nvcc() == expected


def test_without_compilers_the_build_says_so(
  environment, monkeypatch, tmp_path, capfd
):
  sources = {"libx_generic": "x.cc", "libx_cuda": "x.cu"}
  out = build(monkeypatch, tmp_path, sources)
  said = capfd.readouterr().err
  for name, what in (("generic", "C++ compiler"), ("cuda", "nvcc")):
    assert f"libx_{name} was not built (no {what} found)" in said
  assert said.count("pure JAX definition will be used") == 2
  assert not out.exists() or not list(out.iterdir())


def test_cuda_can_be_skipped_and_forced(
  environment, monkeypatch, tmp_path, capfd
):
  sources = {"libx_cuda": "x.cu"}
  monkeypatch.setenv("CHIBIJAX_CUDA", "1")
  with pytest.raises(SystemExit, match=r"CHIBIJAX_CUDA=1, but .*no nvcc found"):
    build(monkeypatch, tmp_path, sources)
  fake_nvcc(environment)
  monkeypatch.setenv("CHIBIJAX_CUDA_ARCHS", "90")
  monkeypatch.setenv("PATH", f"{environment}:/usr/bin:/bin")
  assert [p.name for p in build(monkeypatch, tmp_path, sources).iterdir()] == [
    "libx_cuda.so"
  ]
  called = (environment / "called").read_text().split()
  assert "x.cu" in called and "--threads" in called
  (tmp_path / "out" / "libx_cuda.so").unlink()
  program(environment / "nvcc", "exit 3")
  with pytest.raises(SystemExit, match="ended with exit code 3"):
    build(monkeypatch, tmp_path, sources)
  monkeypatch.setenv("CHIBIJAX_CUDA", "0")
  build(monkeypatch, tmp_path, sources)
  assert "CHIBIJAX_CUDA=0" in capfd.readouterr().err
  assert not list((tmp_path / "out").iterdir())
  monkeypatch.setenv("CHIBIJAX_CUDA", "yes")
  with pytest.raises(SystemExit, match="'yes'; expected 0, 1 or nothing"):
    build(monkeypatch, tmp_path, sources)


def test_distributions_hold_everything(tmp_path):
  """The source's headers too, built libraries not; what is installed, data."""
  command = [sys.executable, "setup.py", "-q", "egg_info"]
  command += [f"--egg-base={tmp_path}", "build_py", f"-d{tmp_path}/lib"]
  environment = os.environ | {"PYTHONWARNINGS": "ignore"}
  subprocess.run(
    command, cwd=ROOT, env=environment, capture_output=True, check=True
  )
  listed = next(tmp_path.glob("*.egg-info")) / "SOURCES.txt"
  listed = set(listed.read_text().splitlines())
  native = [
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "chibijax" / "ops").rglob("native/*")
    if path.suffix in (".cc", ".cu", ".cuh", ".h")
  ]
  assert native and set(native) <= listed
  assert not [name for name in listed if name.endswith(".so")]
  compiled = (".py", ".pyc", ".cc", ".cu", ".cuh", ".h", ".so")
  data = [
    path.relative_to(ROOT)
    for path in (ROOT / "chibijax").rglob("*.*")
    if path.is_file() and path.suffix not in compiled
  ]
  assert data
  assert [x for x in data if not (tmp_path / "lib" / x).is_file()] == []
