"""The motion file: what is written is read, and nothing else is."""

import dataclasses
import pathlib

import numpy as np
import pytest

from chibijax.errors import UserError
from chibijax.heads.motion import (
  FORMAT,
  Motion,
  intrinsics,
  read_motion,
  write_motion,
)


def motion(count: int = 5) -> Motion:
  rng = np.random.default_rng(0)
  viewmats = np.tile(np.diag([1.0, -1.0, -1.0, 1.0]), (count, 1, 1))
  viewmats[:, :3, 3] = rng.normal(0, 1, (count, 3)) + np.array([0, 0, 9.3])
  return Motion(
    expression=rng.normal(0, 1, (count, 7)).astype(np.float32),
    pose=rng.normal(0, 1, (count, 6)).astype(np.float32),
    eyes=rng.normal(0, 1, (count, 6)).astype(np.float32),
    viewmats=viewmats.astype(np.float32),
    fps=29.97,
    head="procedural",
    valid=np.arange(count) != 2,
  )


def test_what_is_written_is_read(tmp_path: pathlib.Path) -> None:
  written = motion()
  write_motion(tmp_path / "motion.npz", written)
  assert [file.name for file in tmp_path.iterdir()] == ["motion.npz"]
  found = read_motion(tmp_path / "motion.npz")
  assert len(found) == 5
  assert (found.fps, found.head) == (29.97, "procedural")
  for name in ("expression", "pose", "eyes", "viewmats", "valid"):
    np.testing.assert_array_equal(getattr(found, name), getattr(written, name))
    assert getattr(found, name).dtype == getattr(written, name).dtype


@pytest.mark.parametrize(
  ("changed", "sentence"),
  [
    ({"fps": 0.0}, "frames per second, got 0"),
    ({"pose": np.zeros((4, 6))}, r"shape \(4, 6\), expected \(5, 6\)"),
    ({"eyes": np.full((5, 6), np.nan)}, "eyes of the motion is not finite"),
    ({"viewmats": 2 * motion().viewmats}, "not a rotation and a shift"),
    ({"viewmats": -motion().viewmats}, "not a rotation and a shift"),
  ],
)
def test_bad_motions_are_refused_by_both(
  tmp_path: pathlib.Path, changed: dict[str, object], sentence: str
) -> None:
  good = dataclasses.asdict(motion())
  with pytest.raises(UserError, match=sentence):
    write_motion(tmp_path / "a.npz", _unchecked(good | changed))
  np.savez(tmp_path / "b.npz", format=FORMAT, version=1, **(good | changed))
  with pytest.raises(UserError, match=sentence):
    read_motion(tmp_path / "b.npz")


def _unchecked(fields: dict[str, object]) -> Motion:
  """A motion whose fields the tests' shape checks did not see."""
  made = object.__new__(Motion)
  for name, value in fields.items():
    object.__setattr__(made, name, value)
  return made


@pytest.mark.parametrize(
  ("changed", "sentence"),
  [
    ({"format": "other"}, "does not say that it is"),
    ({"version": 2}, "version 2; this chibijax reads version 1"),
    ({"version": "x"}, "its version is no number"),
    ({"valid": None}, "it has no valid"),
    ({"pose": np.array(["a"])}, "not of numbers"),
    ({"pose": np.array([{}])}, "is not a motion"),
  ],
)
def test_other_files_are_refused(
  tmp_path: pathlib.Path, changed: dict[str, object], sentence: str
) -> None:
  saved = {"format": FORMAT, "version": 1, **dataclasses.asdict(motion())}
  saved = {k: v for k, v in (saved | changed).items() if v is not None}
  np.savez(tmp_path / "a.npz", **saved)
  with pytest.raises(UserError, match=sentence):
    read_motion(tmp_path / "a.npz")


def test_no_archive_is_refused(tmp_path: pathlib.Path) -> None:
  with pytest.raises(UserError, match="cannot be read"):
    read_motion(tmp_path / "none.npz")
  file = tmp_path / "motion.npz"
  write_motion(file, motion())
  file.write_bytes(file.read_bytes()[:200])
  with pytest.raises(UserError, match="is not a motion"):
    read_motion(file)
  np.save(tmp_path / "array.npy", np.zeros(3))
  with pytest.raises(UserError, match="a single array"):
    read_motion(tmp_path / "array.npy")
  with pytest.raises(UserError, match=r"expected NAME\.npz"):
    write_motion(tmp_path / "motion.pkl", motion())


def test_intrinsics_have_the_published_focal_length() -> None:
  # 3072 px at 512 px (GAGAvatar).
  np.testing.assert_array_equal(
    intrinsics(512), [[3072, 0, 256], [0, 3072, 256], [0, 0, 1]]
  )
