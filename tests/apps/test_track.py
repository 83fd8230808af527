"""`chibijax track`: a folder of pictures becomes a clip and a motion."""

import pathlib
import sys

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from chibijax.apps import cli, detectors, track, track_source, videos
from chibijax.apps.track_source import Clip, Options
from chibijax.data.head_lmdb import HeadLmdb
from chibijax.errors import UserError
from chibijax.faces import detection
from chibijax.heads import model as head_model
from chibijax.heads import track as tracking
from chibijax.heads.motion import intrinsics, read_motion
from chibijax.heads.procedural import procedural_head

pytest.importorskip("lmdb", reason="needs the package lmdb")

N, SIDE = 6, 96
VIEW = np.diag([1.0, -1.0, -1.0, 1.0]).astype(np.float32)
VIEW[2, 3] = 9.3


def marks() -> np.ndarray:
  """Landmarks of the mean head, in pixels of a frame."""
  head = procedural_head()
  points = 5 * head_model.landmarks(head, np.asarray(head.template))
  seen = (points @ VIEW[:3, :3].T + VIEW[:3, 3]) @ intrinsics(SIDE).T
  return (seen[:, :2] / seen[:, 2:]).astype(np.float32)


@pytest.fixture
def frames(tmp_path: pathlib.Path) -> pathlib.Path:
  folder = tmp_path / "talk 1"
  folder.mkdir()
  for k in range(N):
    picture = np.full((SIDE, SIDE + 10, 3), 40 * k, np.uint8)
    Image.fromarray(picture).save(folder / f"{k:03d}.png")
  return folder


@pytest.fixture
def fitted(monkeypatch: pytest.MonkeyPatch) -> None:
  """The fit is tested elsewhere; here it finds the mean head."""

  def found(
    head: head_model.HeadModel,
    landmarks: np.ndarray,
    size: int,
    *,
    seen: np.ndarray,
    fps: float,
  ) -> tracking.Track:
    n = len(landmarks)
    assert (landmarks[seen] > 0).all() and (landmarks[seen] < size).all()
    return tracking.Track(
      shape=np.zeros(len(head.shape_names), np.float32),
      expression=np.zeros((n, len(head.expression_names)), np.float32),
      pose=np.zeros((n, 6), np.float32),
      eyes=np.zeros((n, 6), np.float32),
      viewmats=np.tile(VIEW, (n, 1, 1)),
      seen=seen,
      error=np.where(seen, 1.5, np.nan),
    )

  monkeypatch.setattr(tracking, "track", found)


def find(
  frame: np.ndarray,
) -> tuple[np.ndarray | None, int]:
  """The third frame shows nobody, the fourth two people."""
  k = int(frame[0, 0, 0]) // 40
  return (None, 0) if k == 2 else (marks(), 2 if k == 3 else 1)


@pytest.mark.usefixtures("fitted")
def test_a_folder_becomes_a_clip_and_a_motion(
  frames: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  out = tmp_path / "out"
  options = Options(size=64, fps=30.0)

  def segment(aligned: np.ndarray) -> dict[str, np.ndarray]:
    share = np.zeros(aligned.shape[:2], np.float32)
    share[: len(share) // 2] = 1
    return {"background": share}

  report = track.run(
    frames, out, procedural_head(), find, segment=segment, options=options,
    progress=False,
  )  # fmt: skip
  assert (report.frames, report.seen, report.several) == (N, N - 1, 1)
  assert report.error == 1.5
  assert report.damaged == ""
  motion = read_motion(out / "motion.npz")
  assert (len(motion), motion.fps, motion.head) == (N, 30.0, "procedural")
  assert motion.valid.tolist() == [True, True, False, True, True, True]
  stored = HeadLmdb(out)
  keys = [f"talk-1_{k:06d}" for k in (0, 1, 3, 4, 5)]
  assert list(stored.frames.keys) == keys
  box = stored.frames.box[0]
  assert (box[:2] < 0.35).all() and (box[2:] > 0.65).all()
  picture = stored.picture(4, 64)
  assert abs(int(picture[44, 32].mean()) - 200) <= 3
  assert picture[0].max() <= 3
  with Image.open(out / "preview.png") as sheet:
    assert sheet.width > 512
  # Nothing half-made stays.
  assert {p.name for p in tmp_path.iterdir()} == {"talk 1", "out"}
  with pytest.raises(UserError, match="exists already; --overwrite"):
    track.run(frames, out, procedural_head(), find)
  (tmp_path / "mine").mkdir()
  (tmp_path / "mine" / "diary.txt").write_text("x", encoding="utf-8")
  with pytest.raises(UserError, match="not a tracked clip"):
    track.run(
      frames, tmp_path / "mine", procedural_head(), find,
      options=Options(overwrite=True),
    )  # fmt: skip


def test_no_face_is_a_sentence(
  frames: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  out = tmp_path / "out"
  with pytest.raises(UserError, match="in any of the 6 frames of"):
    track.run(
      frames, out, procedural_head(), lambda frame: (None, 0), progress=False
    )
  assert not out.exists()


def test_clips_take_the_frames_that_are_asked_for(
  frames: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  clip = Clip(frames, Options(every=2, most=2, fps=30.0))
  assert (clip.count, clip.fps, clip.name) == (2, 15.0, "talk-1")
  assert [int(f[0, 0, 0]) for f in clip.frames()] == [0, 80]
  with pytest.raises(UserError, match="there is no video"):
    Clip(tmp_path / "none.mp4", Options())
  with pytest.raises(UserError, match="at least 1"):
    Options(every=0)


def test_videos_are_read_twice(tmp_path: pathlib.Path) -> None:
  pytest.importorskip("av", reason="needs PyAV")
  film = tmp_path / "film.mp4"
  pictures = [np.full((32, 48, 3), 30 * k, np.uint8) for k in range(5)]
  videos.write(film, iter(pictures), 10.0)
  clip = Clip(film, Options())
  assert clip.fps == 10.0
  for _ in range(2):
    found = [int(f.mean()) for f in clip.frames()]
    np.testing.assert_allclose(found, [0, 30, 60, 90, 120], atol=4)
  (tmp_path / "text.mp4").write_text("no film", encoding="utf-8")
  with pytest.raises(UserError, match="cannot be read as a video"):
    Clip(tmp_path / "text.mp4", Options())


class Net:
  """Says the mean face, as doubtful as it was told."""

  size, margin = 64, 0.0

  def __init__(self) -> None:
    self.doubt = 0.03

  def judge(self, aligned: np.ndarray) -> tuple[np.ndarray, float]:
    points = 64 * track_source.face_parser.MEAN_SHAPE
    return points.astype(np.float32), self.doubt


class Looks:
  """A detector that counts, and sees the mean face or nothing."""

  def __init__(self) -> None:
    self.count, self.faces = 0, 1

  def __call__(self, photo: np.ndarray) -> list[detection.Detection]:
    self.count += 1
    five = track_source.align.five_points(marks()).astype(np.float32)
    box = np.array([20, 20, 76, 76], np.float32)
    return self.faces * [detection.Detection(box, 1.0, five)]


DARK = np.zeros((SIDE, SIDE, 3), np.uint8)


def test_the_detector_looks_now_and_then_and_after_cuts() -> None:
  looks = Looks()
  follower = track_source.Follower(looks, Net())
  for _ in range(30):
    found, faces = follower(DARK)
    assert found is not None
    assert faces == 1
  assert looks.count == 1
  follower(DARK)
  assert looks.count == 2
  follower(DARK + 100)
  assert looks.count == 3


def test_a_face_that_leaves_is_lost_and_found_again() -> None:
  looks, net = Looks(), Net()
  follower = track_source.Follower(looks, net)
  assert follower(DARK)[1] == 1
  # Doubtful, but the detector sees it too.
  net.doubt = 0.1
  assert follower(DARK)[1] == 1
  assert looks.count == 2
  looks.faces, net.doubt = 0, 0.2
  for _ in range(3):
    assert follower(DARK) == (None, 0)
  # What the detector takes for a face is none.
  looks.faces = 1
  assert follower(DARK) == (None, 0)
  net.doubt = 0.03
  found, _ = follower(DARK)
  assert found is not None
  # Sure landmarks stay, even if the detector sees nothing when it counts.
  looks.faces = 0
  for _ in range(31):
    assert follower(DARK)[1] == 1


def test_a_head_seen_upside_down_is_turned() -> None:
  class Upright(Net):
    """Is sure where the picture is brighter above."""

    def judge(self, aligned: np.ndarray) -> tuple[np.ndarray, float]:
      upright = aligned[:32].mean() > aligned[32:].mean()
      return super().judge(aligned)[0], 0.03 if upright else 0.3

  class Turned(Looks):
    def __call__(self, photo: np.ndarray) -> list[detection.Detection]:
      (one,) = super().__call__(photo)
      points = 2 * one.points.mean(0, keepdims=True) - one.points
      return [detection.Detection(one.box, 1.0, points)]

  rows = np.linspace(250, 0, SIDE).astype(np.uint8)[:, None, None]
  frame = np.tile(rows, (1, SIDE, 3))
  found, _ = track_source.Follower(Turned(), Upright())(frame)
  # The chin is below the nose.
  assert found is not None
  assert found[8, 1] > found[30, 1]


def test_no_face_and_no_package_end_the_command(
  frames: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  monkeypatch.setattr(detectors, "make", lambda _: lambda photo: [])
  given = ["track", str(frames), str(tmp_path / "o")]
  done = CliRunner().invoke(cli.app, given)
  assert done.exit_code == 3
  assert "no face was found in any of the 6 frames of" in done.stderr
  monkeypatch.setitem(sys.modules, "lmdb", None)
  done = CliRunner().invoke(cli.app, given)
  assert done.exit_code == 2
  assert "pip install 'chibijax[avatar]'" in done.stderr
  assert not (tmp_path / "o").exists()


def test_command_says_what_is_wrong(tmp_path: pathlib.Path) -> None:
  done = CliRunner().invoke(
    cli.app, ["track", str(tmp_path), str(tmp_path / "o"), "--head", "cube"]
  )
  assert done.exit_code == 2
  assert "cube" in done.output
