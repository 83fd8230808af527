"""Weight files are data: whatever else they hold is refused, not run."""

import io
import os
import pathlib
import pickle
import struct

import jax
import numpy as np
import pytest

from chibijax.errors import UserError
from chibijax.faces import mtcnn_weights
from chibijax.models import mtcnn

frame = pytest.importorskip("lz4.frame", reason="needs lz4")


class Command:
  """Unpickled in the ordinary way, this makes a folder."""

  def __init__(self, path: pathlib.Path) -> None:
    self.path = path

  def __reduce__(self) -> tuple:
    return os.mkdir, (str(self.path),)


def write(path: pathlib.Path, data: bytes) -> pathlib.Path:
  path.write_bytes(frame.compress(data))
  return path


def test_code_in_a_file_is_refused_and_not_run(tmp_path: pathlib.Path) -> None:
  made = tmp_path / "made"
  data = pickle.dumps([Command(made)])
  file = write(tmp_path / "pnet.lz4", data)
  with pytest.raises(UserError, match=r"is not a file of MTCNN weights.*mkdir"):
    mtcnn_weights.read_arrays(file)
  assert not made.exists()
  # The test can fail: the same bytes do something in an ordinary unpickler.
  pickle.loads(data)
  assert made.exists()


@pytest.mark.parametrize(
  "value", [{}, [1, 2], "text", [np.zeros(3, np.float32)], [np.array([print])]]
)
def test_other_pickles_are_refused(
  value: object, tmp_path: pathlib.Path
) -> None:
  with pytest.raises(UserError):
    mtcnn_weights.read_arrays(write(tmp_path / "x", pickle.dumps(value)))


def test_joblib_files_are_read(tmp_path: pathlib.Path) -> None:
  joblib = pytest.importorskip("joblib")
  rng = np.random.default_rng(0)
  arrays = [rng.normal(size=s).astype(np.float32) for s in ((3, 2), (5,))]
  joblib.dump(arrays, tmp_path / "x", compress=("lz4", 3))
  for ours, theirs in zip(mtcnn_weights.read_arrays(tmp_path / "x"), arrays):
    np.testing.assert_array_equal(ours, theirs)
  for wrong in (
    np.zeros(3),
    np.zeros((3, 2), np.float32).T,
    np.zeros(2, "<i4"),
  ):
    joblib.dump([wrong], tmp_path / "x", compress=("lz4", 3))
    with pytest.raises(UserError, match="not float32 in C order"):
      mtcnn_weights.read_arrays(tmp_path / "x")


@pytest.mark.parametrize("kept", [0, 1, 20, 200, 700])
def test_damaged_files_are_refused(kept: int, tmp_path: pathlib.Path) -> None:
  joblib = pytest.importorskip("joblib")
  buffer = io.BytesIO()
  joblib.dump([np.ones(200, np.float32)], buffer)
  data = buffer.getvalue()
  with pytest.raises(UserError, match="is not a file of MTCNN weights"):
    mtcnn_weights.read_arrays(write(tmp_path / "x", data[:kept]))
  (tmp_path / "y").write_bytes(struct.pack("<I", 7) * 9)
  with pytest.raises(UserError, match="is not a file of MTCNN weights"):
    mtcnn_weights.read_arrays(tmp_path / "y")


def test_files_of_another_network_are_refused(tmp_path: pathlib.Path) -> None:
  joblib = pytest.importorskip("joblib")
  for net in ("pnet", "rnet", "onet"):
    joblib.dump(
      [np.ones(2, np.float32)], tmp_path / f"{net}.lz4", compress="lz4"
    )
  with pytest.raises(UserError, match=r"holds 1 arrays, pnet has 13"):
    mtcnn_weights.load(tmp_path)


def test_missing_files_are_named(
  tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  with pytest.raises(UserError, match=r"has no pnet\.lz4"):
    mtcnn_weights.load(tmp_path)
  monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
  monkeypatch.delenv(mtcnn_weights.VARIABLE, raising=False)
  with pytest.raises(UserError, match="pip install mtcnn lz4"):
    mtcnn_weights.load()


def test_pytorchs_files_hold_the_same_weights(
  shared_data: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  place = shared_data / "weights" / "mtcnn"
  assert mtcnn_weights.folder(place) == place
  found = mtcnn_weights.load(place)
  for net in mtcnn.WINDOW:
    assert jax.tree.map(np.shape, found[net]) == mtcnn.shapes(net)
  if mtcnn_weights.folder() is None:
    pytest.skip("the mtcnn package, which carries the weights, is missing")
  package = mtcnn_weights.load()
  jax.tree.map(np.testing.assert_array_equal, found, package)
  # A file of another network is refused.
  for net, other in (("pnet", "rnet"), ("rnet", "pnet"), ("onet", "onet")):
    (tmp_path / f"{net}.pt").write_bytes((place / f"{other}.pt").read_bytes())
  with pytest.raises(UserError, match=r"pnet\.pt.* arrays"):
    mtcnn_weights.load(tmp_path)
