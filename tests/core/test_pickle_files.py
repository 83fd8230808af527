"""Pickles of arrays: what is read, and that nothing runs."""

import io
import os
import pathlib
import pickle
import pickletools

import numpy as np
import pytest
from scipy import sparse

from chibijax.core import pickle_files
from chibijax.errors import UserError


def _write(
  path: pathlib.Path, value: object, protocol: int = 2
) -> pathlib.Path:
  path.write_bytes(pickle.dumps(value, protocol=protocol))
  return path


def chumpy_array(array: np.ndarray) -> bytes:
  """Opcodes of protocol 2 that leave a `chumpy.ch.Ch` on the stack."""
  inner = pickle.dumps({"x": array}, protocol=2)
  # Without the protocol's header and the final STOP.
  body = inner[2:-1]
  head = (
    b"ccopy_reg\n_reconstructor\n(cchumpy.ch\nCh\nc__builtin__\nobject\nNtR"
  )
  return head + body + b"b"


@pytest.mark.parametrize("protocol", [2, 4])
def test_arrays_of_all_kinds_come_back(
  tmp_path: pathlib.Path, protocol: int
) -> None:
  rng = np.random.default_rng(0)
  saved = {
    "c": rng.normal(size=(3, 4)),
    "fortran": np.asfortranarray(rng.normal(size=(3, 4)).astype(np.float32)),
    "big": np.arange(5, dtype=">i4"),
    "scalar": np.float64(2.5),
    "bool": np.array([True, False]),
    "sparse": sparse.csc_matrix(np.diag([1.0, 0.0, 3.0])),
    "rows": sparse.csr_matrix(np.array([[0, 2.0], [0, 0], [1, 0]])),
    "nested": [1, 2.0, ("a", None, b"bytes")],
  }
  got = pickle_files.read(_write(tmp_path / "a.pkl", saved, protocol))
  for name in ("c", "fortran", "big", "bool"):
    np.testing.assert_array_equal(got[name], saved[name])
    assert got[name].dtype == saved[name].dtype.newbyteorder("=")
  assert got["scalar"] == 2.5
  for name in ("sparse", "rows"):
    np.testing.assert_array_equal(got[name], saved[name].toarray())
  assert got["nested"] == saved["nested"]


def test_chumpy_is_read_without_chumpy(tmp_path: pathlib.Path) -> None:
  array = np.arange(6.0).reshape(2, 3)
  path = tmp_path / "chumpy.pkl"
  path.write_bytes(b"\x80\x02" + chumpy_array(array) + b".")
  pickletools.dis(path.read_bytes(), io.StringIO())  # A whole pickle.
  np.testing.assert_array_equal(pickle_files.read(path), array)


def test_npy_of_a_dict_and_npz(tmp_path: pathlib.Path) -> None:
  np.save(tmp_path / "d.npy", {"a": np.arange(3)}, allow_pickle=True)
  got = pickle_files.read(tmp_path / "d.npy")
  np.testing.assert_array_equal(got["a"], np.arange(3))
  np.savez(tmp_path / "z.npz", a=np.eye(2), names=np.array(["x", "yy"]))
  got = pickle_files.read(tmp_path / "z.npz")
  np.testing.assert_array_equal(got["a"], np.eye(2))
  assert got["names"].tolist() == ["x", "yy"]


class _Evil:
  """Runs a command when an ordinary unpickler reads it."""

  def __init__(self, path: pathlib.Path) -> None:
    self.path = path

  def __reduce__(self) -> tuple:
    return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_nothing_runs(tmp_path: pathlib.Path, protocol: int) -> None:
  target = tmp_path / "made"
  path = _write(tmp_path / "evil.pkl", {"v": _Evil(target)}, protocol)
  with pytest.raises(UserError, match=r"asks for (posix|nt)\.mkdir"):
    pickle_files.read(path)
  np.save(tmp_path / "evil.npy", {"v": _Evil(target)}, allow_pickle=True)
  with pytest.raises(UserError, match="asks for"):
    pickle_files.read(tmp_path / "evil.npy")
  assert not target.exists()
  # The file is evil: an ordinary unpickler does what it says.
  pickle.loads(path.read_bytes())
  assert target.exists()


@pytest.mark.parametrize(
  "program",
  [
    b"cbuiltins\neval\n(S'1'\ntR.",
    b"c__builtin__\ngetattr\n.",
    b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n.extra",
    b"cchumpy.ch\nCh\n.",
    b"cchumpy.ch\nCh\n(tR.",
    b"cnumpy\ndtype\n}S'__setstate__'\nNsb.",
    b"\x80\x04\x8c\x05numpy\x8c\x04load\x93.",
    b"cscipy.sparse.csc\nos.system\n.",
    b"",
    b"(lp0\ng0\na.",
  ],
)
def test_odd_programs_are_refused(
  tmp_path: pathlib.Path, program: bytes
) -> None:
  path = tmp_path / "odd.pkl"
  path.write_bytes(program)
  with pytest.raises(UserError, match=r"odd.pkl is not a file of plain arrays"):
    pickle_files.read(path)


def test_truncation_and_limits(tmp_path: pathlib.Path) -> None:
  path = _write(tmp_path / "a.pkl", {"a": np.arange(100)})
  whole = path.read_bytes()
  for length in (1, 30, len(whole) - 30, len(whole) - 1):
    path.write_bytes(whole[:length])
    with pytest.raises(UserError, match="not a file of plain arrays"):
      pickle_files.read(path)
  path.write_bytes(whole)
  with pytest.raises(UserError, match="larger than 100 bytes"):
    pickle_files.read(path, max_bytes=100)
  with pytest.raises(UserError, match="cannot be read"):
    pickle_files.read(tmp_path / "none.pkl")
  matrix = sparse.csc_matrix((1 << 20, 1 << 20))
  with pytest.raises(UserError, match="sparse matrix of shape"):
    pickle_files.read(_write(path, matrix))
