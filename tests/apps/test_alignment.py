"""A folder of photos made a folder of aligned faces, whatever is in it."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from chibijax.apps import alignment
from chibijax.apps import photos as photo_files
from chibijax.artist import Attributes, draw_portrait
from chibijax.data import folder, images
from chibijax.errors import UserError
from chibijax.faces import align
from chibijax.faces.detection import Detection

PORTRAITS = 4


@pytest.fixture(scope="module")
def portraits() -> list[np.ndarray]:
  """Portraits whose points are known."""
  return [
    draw_portrait(Attributes(roll=6.0 * k - 9), 160, seed=k).rgb()
    for k in range(PORTRAITS)
  ]


class Marked:
  """A detector for tests: it knows the portraits, whatever their file.

  Their top left pixel tells which one it is; a photo with two has them side by
  side.
  """

  def __init__(self, wait: float | int = 0.0) -> None:
    self.wait = wait

  def __call__(self, picture: np.ndarray) -> list[Detection]:
    time.sleep(self.wait)
    found = []
    for x in range(0, picture.shape[1] - 159, 160):
      if picture[0, x].tolist() != [255, 0, 255] or picture.shape[0] != 160:
        continue
      index = int(picture[0, x + 1, 0]) // 8
      drawing = draw_portrait(Attributes(roll=6.0 * index - 9), 160, seed=index)
      points = align.five_points(drawing.landmarks) + np.array([x, 0])
      low, high = points.min(0) - 20, points.max(0) + 20
      box = np.concatenate([low, high]).astype(np.float32)
      found.append(Detection(box, 0.999, points.astype(np.float32)))
    return found


def marked(portraits: list[np.ndarray], *indices: int) -> Image.Image:
  parts = []
  for index in indices:
    part = portraits[index].copy()
    part[0, 0], part[0, 1] = (255, 0, 255), 8 * index
    parts.append(part)
  return Image.fromarray(np.concatenate(parts, 1))


@pytest.fixture
def photos(portraits: list[np.ndarray], tmp_path: pathlib.Path) -> pathlib.Path:
  root = tmp_path / "photos"
  (root / "été 日本").mkdir(parents=True)
  marked(portraits, 0).save(root / "a.png")
  marked(portraits, 1).save(root / "été 日本" / "ñandú ☃.png")
  marked(portraits, 2, 3).save(root / "two.png")
  marked(portraits, 3).save(root / "a.webp", lossless=True)
  Image.new("RGB", (200, 160), "green").save(root / "meadow.png")
  (root / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 not much of a photo")
  (root / "notes.txt").write_text("no photo")
  return root


def run(photos: pathlib.Path, out: pathlib.Path, **options) -> alignment.Report:
  options = {"size": 64, "landmarks": False, "progress": False} | options
  options.setdefault("detector", Marked())
  # The artist's skin is smoother than a photo's.
  options.setdefault("min_status", ("ok", "blurred"))
  return alignment.run(photos, out, **options)


def lines(out: pathlib.Path) -> list[dict]:
  text = (out / "manifest.jsonl").read_text(encoding="utf-8")
  return [json.loads(line) for line in text.splitlines()]


def names(out: pathlib.Path) -> set[str]:
  return {
    p.relative_to(out).as_posix()
    for p in out.rglob("*.png")
    if p.name != "contact_sheet.png"
  }


def test_a_folder_of_all_sorts(photos: pathlib.Path) -> None:
  out = photos / "faces"  # Inside the photos: not read as one.
  report = run(photos, out, faces="all")
  assert names(out) == {
    "a.png.png", "a.webp.png", "two.png", "two.face2.png",
    "été 日本/ñandú ☃.png",
  }  # fmt: skip
  assert {p.name: r for p, r in report.skipped.items()}.keys() == {
    "meadow.png", "broken.jpg"
  }  # fmt: skip
  records = lines(out)
  assert len(records) == 7
  by_name = {}
  for record in records:
    by_name.setdefault(pathlib.Path(record["source"]).name, []).append(record)
  assert by_name["meadow.png"][0]["status"] == "none"
  assert "no face was found" in by_name["meadow.png"][0]["reason"]
  assert by_name["broken.jpg"][0]["status"] == "unreadable"
  assert "broken.jpg" in by_name["broken.jpg"][0]["reason"]
  assert len(by_name["two.png"]) == 2
  for record in by_name["a.png"]:
    data = (photos / "a.png").read_bytes()
    assert record["bytes"] == len(data) and len(record["sha256"]) == 64
    assert record["size"] == 64 and record["version"]
    assert np.array(record["detail"]["transform"]).shape == (2, 3)
  with Image.open(out / "contact_sheet.png") as sheet:
    assert sheet.mode == "RGB" and sheet.width > 128
  assert not list(out.rglob("*.part"))


@pytest.mark.parametrize("margin", [0.0, 0.4])
def test_eyes_and_mouth_lie_where_they_should(
  photos: pathlib.Path, tmp_path: pathlib.Path, margin: float
) -> None:
  out = tmp_path / "out"
  run(photos / "a.png", out, size=96, margin=margin)
  [record] = lines(out)
  detail = record["detail"]
  moved = align.move(np.array(detail["transform"]), np.array(detail["points"]))[
    list(align.FITTED)
  ]
  target = align.canonical_points(96, margin)[list(align.FITTED)]
  # One similarity cannot take every face's proportions to the mean.
  np.testing.assert_allclose(moved, target, atol=0.03 * 96)
  with Image.open(out / "a.png") as picture:
    assert picture.size == (96, 96)
    aligned = np.asarray(picture)
  photo = np.asarray(Image.open(photos / "a.png").convert("RGB"))
  expected = align.warp(photo, np.array(detail["transform"]), (96, 96))
  # The manifest's digits are those of float32.
  np.testing.assert_allclose(aligned.astype(int), expected, atol=1)


def test_the_result_is_a_source_for_training(
  photos: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  out = tmp_path / "out"
  run(photos, out, jitter=2)
  source = folder.FolderSource(out, images.Reader(size=32))
  # The sheet and the manifest are not among them.
  assert len(source) == 4 * 3 and source[0]["image"].shape == (32, 32, 3)
  pictures = {source[k]["image"].tobytes() for k in range(len(source))}
  assert len(pictures) == len(source)


def test_again_does_nothing_and_changes_are_seen(
  photos: pathlib.Path, portraits: list[np.ndarray], tmp_path: pathlib.Path
) -> None:
  out = tmp_path / "out"
  first = run(photos, out)
  before = {p: p.stat().st_mtime_ns for p in out.rglob("*.png")}
  text = (out / "manifest.jsonl").read_bytes()
  again = run(photos, out, detector=_never)
  assert not again.written and sorted(again.kept) == sorted(first.written)
  assert again.skipped.keys() == first.skipped.keys()
  assert (out / "manifest.jsonl").read_bytes() == text
  sheet = out / "contact_sheet.png"
  for path, stamp in before.items():
    assert path == sheet or path.stat().st_mtime_ns == stamp
  # A new photo, a changed one, and a lost picture are made; nothing else.
  marked(portraits, 2).save(photos / "new.png")
  marked(portraits, 3).save(photos / "a.png")
  (out / "two.png").unlink()
  third = run(photos, out)
  assert {p.name for p in third.written} == {"new.png", "a.png.png", "two.png"}
  sources = [record["source"] for record in lines(out)]
  assert len(sources) == len(set(sources)) == 7
  # A touched file that is the same is told by its sum.
  os.utime(photos / "a.png")
  assert not run(photos, out, detector=_never).written


def _never(picture: np.ndarray) -> list[Detection]:
  raise AssertionError("a photo that was done is looked at again")


def test_other_settings_need_overwrite(
  photos: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  out = tmp_path / "out"
  run(photos, out, faces="all")
  with pytest.raises(UserError, match="made with size 64, and now it is 48"):
    run(photos, out, size=48)
  (out / "mine.png").write_bytes(b"the user's own")
  report = run(photos, out, size=48, overwrite=True)
  assert len(report.written) == 4
  # What the manifest named is gone; other files are left alone.
  assert "two.face2.png" not in names(out) and "mine.png" in names(out)


def test_a_torn_manifest_loses_only_what_was_torn(
  photos: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  out = tmp_path / "out"
  run(photos, out, faces="all")
  path = out / "manifest.jsonl"
  whole = path.read_bytes()
  rows = whole.splitlines(keepends=True)
  for size in (len(rows[0]) // 2, len(rows[0]), len(whole) - 40):
    path.write_bytes(whole[:size])
    report = run(photos, out, faces="all")
    assert report.written
    assert sorted(r["source"] for r in lines(out)) == sorted(
      json.loads(r)["source"] for r in rows
    )
  path.write_bytes(b"\xff\0not JSON\n" + whole)
  assert not run(photos, out, faces="all", detector=_never).written


CHILD = """
import sys
sys.path[:0] = [{tests!r}, {root!r}]
import pathlib, test_alignment
test_alignment.run(pathlib.Path({photos!r}), pathlib.Path({out!r}), jobs=2,
                   detector=test_alignment.Marked(wait=0.1))
"""


def test_a_killed_run_goes_on(
  portraits: list[np.ndarray], tmp_path: pathlib.Path
) -> None:
  photos, out = tmp_path / "photos", tmp_path / "out"
  photos.mkdir()
  for k in range(24):
    marked(portraits, k % PORTRAITS).save(photos / f"{k:02}.png")
  here = pathlib.Path(__file__).parent
  code = CHILD.format(
    tests=str(here), root=str(here.parent.parent), photos=str(photos),
    out=str(out),
  )  # fmt: skip
  child = subprocess.Popen([sys.executable, "-c", code])
  try:
    limit = time.monotonic() + 120
    while time.monotonic() < limit and child.poll() is None:
      if (out / "03.png").exists():
        break
      time.sleep(0.02)
  finally:
    child.send_signal(signal.SIGKILL)
    child.wait()
  done = len(lines(out))
  assert 0 < done < 24
  report = run(photos, out)
  assert len(report.kept) == done and len(report.written) == 24 - done
  assert sorted(pathlib.Path(r["source"]).name for r in lines(out)) == [
    f"{k:02}.png" for k in range(24)
  ]
  assert len(names(out)) == 24
  whole = tmp_path / "whole"
  run(photos, whole)
  for name in names(whole):
    assert (out / name).read_bytes() == (whole / name).read_bytes()


@pytest.mark.parametrize(
  ("options", "sentence"),
  [
    ({"size": 8}, "--size is 8"),
    ({"margin": -0.6}, "--margin is"),
    ({"min_status": ("ok", "none")}, "none is no status"),
    ({"min_status": ("nice",)}, "nice is no status"),
    ({"faces": "some"}, "--faces is 'some'"),
    ({"jobs": 0}, "--jobs is 0"),
    ({"jitter": -1}, "--jitter is -1"),
  ],
)
def test_mistakes(
  photos: pathlib.Path, tmp_path: pathlib.Path, options: dict, sentence: str
) -> None:
  with pytest.raises(UserError, match=sentence):
    run(photos, tmp_path / "out", **options)
  assert not (tmp_path / "out").exists()


def test_a_real_face(tmp_path: pathlib.Path) -> None:
  data = pytest.importorskip("skimage.data", reason="needs scikit-image")
  pytest.importorskip("cv2", reason="needs OpenCV for its cascade")
  Image.fromarray(data.astronaut()).save(tmp_path / "eileen.jpg", quality=95)
  out = tmp_path / "out"
  report = run(
    tmp_path / "eileen.jpg", out, detector="haar", min_status=("ok",)
  )
  assert report.statuses["ok"] == 1 and names(out) == {"eileen.png"}


def test_expand(photos: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
  monkeypatch.chdir(photos)
  found = photo_files.expand(["two.png", "*.png", ".", "-"])
  assert found[0].name == "two.png"
  assert len(found) == 7 and found[-1] == photo_files.STDIN
  deep = photo_files.expand(["**/ñ*"])
  assert [p.name for p in deep] == ["ñandú ☃.png"]
  # A name that is also a pattern is the file.
  (photos / "[x].png").write_bytes((photos / "a.png").read_bytes())
  assert photo_files.expand(["[x].png"])[0].name == "[x].png"
  for name, sentence in {
    "nowhere.jpg": "nowhere.jpg does not exist",
    "*.bmp": "no photo matches",
    "*.txt": "no photo matches",
    "https://example.org/a.jpg": "is a web address",
  }.items():
    with pytest.raises(UserError, match=sentence):
      photo_files.expand([name])
  with pytest.raises(UserError, match="no photo was named"):
    photo_files.expand([])


def test_targets_never_meet(tmp_path: pathlib.Path) -> None:
  for name in ("x/a.jpg", "x/a.png", "x/A.gif", "y/a.jpg", "y/b.jpg"):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"")
  found = photo_files.find([tmp_path / "x", tmp_path / "y"])
  made = photo_files.targets(found, tmp_path / "out")
  assert len({str(p).casefold() for p in made}) == 5
  assert made[-1] == tmp_path / "out" / "b.png"
