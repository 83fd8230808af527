"""Photos and drawings made a data set with its split and its card."""

import json
import pathlib
import shutil
from collections import Counter
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from chibijax.apps import prepare, prepare_pictures
from chibijax.apps.cli import app
from chibijax.apps.prepare_plan import Rules
from chibijax.artist import draw_chibi, sample_attributes
from chibijax.data import duplicates, images, pipeline
from chibijax.data.labels import Table
from chibijax.errors import UserError

COUNT = 20
RULES = {"colours": duplicates.COLOURS, "min_side": 16}


@pytest.fixture(scope="module")
def drawings() -> list[Image.Image]:
  return [
    Image.fromarray(
      draw_chibi(sample_attributes(np.random.default_rng([3, k])), 64).rgb()
    )
    for k in range(COUNT + 4)
  ]


@pytest.fixture
def photos(drawings: list[Image.Image], tmp_path: pathlib.Path) -> pathlib.Path:
  """Twenty drawings in five folders."""
  root = tmp_path / "photos"
  for k in range(COUNT):
    folder = root / f"person {k // 4}"
    folder.mkdir(parents=True, exist_ok=True)
    drawings[k].save(folder / f"{k:02}.png")
  return root


class Failing:
  """Makes pictures, but of some photos none."""

  def __init__(self, *names: str) -> None:
    self.names = names
    self.settings = prepare_pictures.make("none", _options(32)).settings
    self.calls: list[str] = []

  def __call__(self, path: pathlib.Path, target: pathlib.Path) -> list[dict]:
    self.calls.append(path.name)
    if path.name in self.names:
      return [{"status": "blurred", "reason": "so it is", "outputs": []}]
    return prepare_pictures.make("none", _options(32))(path, target)


def _options(size: int) -> Any:
  from chibijax.apps.alignment import Options

  return Options(size)


def run(
  photos: pathlib.Path | list[pathlib.Path], out: pathlib.Path, **options: Any
) -> prepare.Report:
  maker = options.pop("maker", None) or prepare_pictures.make(
    "none", _options(32)
  )
  run_options = {"jobs": 2, "progress": False}
  for name in ("about", "overwrite", "prune"):
    if name in options:
      run_options[name] = options.pop(name)
  return prepare.run(
    photos, out, maker, rules=Rules(**RULES | options), **run_options
  )


def lines(out: pathlib.Path) -> list[dict]:
  text = (out / "manifest.jsonl").read_text(encoding="utf-8")
  return [json.loads(line) for line in text.splitlines()]


def tree(out: pathlib.Path) -> set[str]:
  return {
    p.relative_to(out).as_posix()
    for p in out.rglob("*.png")
    if p.name != "contact_sheet.png"
  }


def sides(out: pathlib.Path) -> dict[str, str]:
  """The side of each photo that has a picture, by its name."""
  return {
    pathlib.Path(line["source"]).name: line["split"]
    for line in lines(out)
    if line["outputs"]
  }


def test_a_folder_of_all_sorts(
  photos: pathlib.Path, drawings: list[Image.Image], tmp_path: pathlib.Path
) -> None:
  first = photos / "person 0" / "00.png"
  shutil.copy(first, photos / "same.png")
  drawings[1].save(photos / "person 1" / "poor.jpg", quality=40)
  drawings[2].resize((300, 300)).save(photos / "larger.webp", quality=90)
  drawings[3].resize((9, 9)).save(photos / "tiny.png")
  (photos / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 not much of a photo")
  (photos / "cut.png").write_bytes(first.read_bytes()[:700])
  out = photos / "out"  # Inside the photos: not read as one.
  report = run(photos, out, licence="CC0-1.0", consent="drawings")
  assert len(report.written) == COUNT == report.splits.total()
  assert report.reasons == {"duplicate": 3, "unreadable": 2, "too_small": 1}
  assert report.photos == COUNT + 6 and not report.unused
  by_place = {line["place"]: line for line in lines(out)}
  assert len(by_place) == COUNT + 6
  # The copy with the most pixels is kept; of the same, one.
  assert by_place["larger.webp"]["outputs"]
  assert by_place["person 0/02.png"]["status"] == "duplicate"
  assert by_place["person 0/02.png"]["copy_of"] == str(photos / "larger.webp")
  assert by_place["person 1/poor.jpg"]["copy_of"].endswith("01.png")
  assert not by_place["tiny.png"]["outputs"]
  assert "9 x 9" in by_place["tiny.png"]["reason"]
  for line in lines(out):
    assert line["licence"] == "CC0-1.0" and line["consent"] == "drawings"
    if line["outputs"]:
      assert line["outputs"][0].startswith(line["split"] + "/")
      assert len(line["sha256"]) == 64 and line["width"] >= 64
  card = (out / "README.md").read_text(encoding="utf-8")
  assert "| CC0-1.0 | 20 |" in card and "| duplicate | 3 | a copy" in card
  assert "Not known" not in card
  with Image.open(out / "contact_sheet.png") as sheet:
    assert sheet.width > 128
  json.dumps(report.to_dict())


def test_training_reads_it_with_its_split(
  photos: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  out = tmp_path / "out"
  report = run(photos, out, eval_fraction=0.3)
  config = {
    "source_a": "folder", "source_b": "", "path_a": str(out), "size": 32,
    "crop": False, "flip": False, "threads": 1,
  }  # fmt: skip
  seen = {}
  for split in ("train", "eval"):
    made = pipeline.make(config, split=split, batch_size=2, seed=0)
    assert made.examples == report.splits[split] > 0
    assert "other files" not in made.description
    with made.iterator() as batches:
      count = -(-made.examples // 2)
      rows = [next(batches)["image"] for _ in range(count)]
    seen[split] = {row.tobytes() for batch in rows for row in batch}
    assert len(seen[split]) == made.examples
  assert not seen["train"] & seen["eval"]


def test_again_does_nothing_and_more_photos_move_none(
  photos: pathlib.Path, drawings: list[Image.Image], tmp_path: pathlib.Path
) -> None:
  out = tmp_path / "out"
  first = run(photos, out)
  before = {p: p.stat().st_mtime_ns for p in out.rglob("*.png")}
  text = (out / "manifest.jsonl").read_bytes()
  split = sides(out)
  again = run(photos, out, maker=Failing())
  assert again.kept == first.written and not again.written
  assert (out / "manifest.jsonl").read_bytes() == text
  more = tmp_path / "more"
  more.mkdir()
  for k in range(COUNT, COUNT + 4):
    drawings[k].save(more / f"{k}.png")
  # A better copy of what is there comes too late to move it.
  drawings[5].resize((200, 200)).save(more / "five.png")
  third = run(more, out)  # The earlier photos are not named.
  assert len(third.written) == 4 and len(third.kept) == COUNT
  assert third.reasons == {"duplicate": 1}
  assert {name: sides(out)[name] for name in split} == split
  sheet = out / "contact_sheet.png"
  for path, stamp in before.items():
    assert path == sheet or path.stat().st_mtime_ns == stamp


def test_a_prepared_folder_of_other_settings_is_refused(
  photos: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  out = tmp_path / "out"
  run(photos, out)
  other = prepare_pictures.make("none", _options(48))
  with pytest.raises(UserError, match="made with size 32, and now it is 48"):
    run(photos, out, maker=other)
  report = run(photos / "person 0", out, maker=other, overwrite=True)
  assert len(report.written) == 4 == len(tree(out)) and report.photos == 4


def test_split_is_of_the_content(
  photos: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  """Names and company decide nothing."""
  run(photos, tmp_path / "a", eval_fraction=0.4)
  renamed = tmp_path / "renamed"
  renamed.mkdir()
  for k, path in enumerate(sorted(photos.rglob("*.png"))[::-2]):
    shutil.copy(path, renamed / f"x{k}.png")
  run(renamed, tmp_path / "b", eval_fraction=0.4)
  by_sum = [
    {line["sha256"]: line["split"] for line in lines(tmp_path / name)}
    for name in "ab"
  ]
  assert len(by_sum[1]) == COUNT // 2
  assert by_sum[1].items() <= by_sum[0].items()
  assert set(by_sum[0].values()) == {"train", "eval"}


@pytest.mark.parametrize("fraction", [0.2, 0.5])
def test_no_folder_is_on_both_sides(
  photos: pathlib.Path,
  drawings: list[Image.Image],
  tmp_path: pathlib.Path,
  fraction: float,
) -> None:
  # One person's photo lies, as a copy, in another's folder.
  drawings[0].save(photos / "person 3" / "copy.jpg", quality=80)
  out = tmp_path / "out"
  run(photos, out, group="folder", eval_fraction=fraction)
  found: dict[str, set[str]] = {}
  for line in lines(out):
    if line["outputs"]:
      folder = pathlib.PurePosixPath(line["place"]).parent.name
      found.setdefault(folder, set()).add(line["split"])
  assert len(found) == 5 and all(len(both) == 1 for both in found.values())
  assert set.union(*found.values()) == {"train", "eval"}
  assert found["person 0"] == found["person 3"]


def test_groups_joined_later_are_brought_together(
  photos: pathlib.Path, drawings: list[Image.Image], tmp_path: pathlib.Path
) -> None:
  out = tmp_path / "out"
  run(photos, out, group="folder", eval_fraction=0.4)
  held = {k for k in range(5) if sides(out)[f"{4 * k:02}.png"] == "eval"}
  assert held and len(held) < 5
  a, b = min(held), min(set(range(5)) - held)
  drawings[4 * a].save(photos / f"person {b}" / "link.jpg", quality=80)
  report = run(photos, out, group="folder", eval_fraction=0.4)
  split = sides(out)
  for k in range(4):
    # What was trained on cannot be held out any more.
    assert split[f"{4 * a + k:02}.png"] == "train"
    assert split[f"{4 * b + k:02}.png"] == "train"
  assert len(tree(out)) == COUNT
  assert len(report.written) in (4, 8)  # 8 where another must be held out.


def test_csv_of_licence_consent_people_and_labels(
  photos: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  about = tmp_path / "about.csv"
  rows = ["file,License,consent,person,smile"]
  rows += [f"person {k // 4}/{k:02}.png,,given,p{k % 3},{k}" for k in range(9)]
  rows += ["09.png,MIT,no,p0,1", "nowhere.png,,,,"]
  about.write_text("\n".join(rows), encoding="utf-8-sig")
  out = tmp_path / "out"
  report = run(
    photos, out, about=about, group="person", licence="CC0", eval_fraction=0.3
  )
  assert report.unused == ["nowhere.png"]
  assert report.reasons == {"refused": 1}
  assert report.consents == {"given": 9, "unknown": 10}
  assert report.licences == {"CC0": 19}
  by_name = {pathlib.Path(line["source"]).name: line for line in lines(out)}
  assert by_name["05.png"]["labels"] == {"person": "p2", "smile": "5"}
  for person in range(3):
    assert len({by_name[f"{k:02}.png"]["split"] for k in range(person, 9, 3)})
    assert (
      len({by_name[f"{k:02}.png"]["split"] for k in range(person, 9, 3)}) == 1
    )
  table = Table(out / "labels.csv")
  assert table.names == ("smile",) and len(table.rows) == 9
  assert table.rows[f"{by_name['05.png']['split']}/person 1/05"] == 5
  config = {
    "source_a": "folder", "source_b": "", "path_a": str(out), "size": 32,
    "crop": False, "threads": 1, "label_file": str(out / "labels.csv"),
  }  # fmt: skip
  made = pipeline.make(config, split="train", batch_size=2)
  assert made.spec["attributes"].shape == (2, 1)
  assert "1 labels (smile)" in made.description
  assert "the consent of 10 photos" in (out / "README.md").read_text()
  # Consent that is withdrawn later takes its pictures along.
  about.write_text(about.read_text("utf-8-sig").replace("given", "withdrawn"))
  report = run(photos, out, about=about, group="person", licence="CC0")
  assert report.reasons == {"refused": 10} and len(tree(out)) == 10
  assert not report.written and "05.png" not in sides(out)
  assert "05.png" not in (out / ".looks.jsonl").read_text()


@pytest.mark.parametrize(
  ("text", "sentence"),
  [
    ("name\nx.png\n", "has no column file; it has name"),
    ("file\nx.png\n./x.png\n", "names x.png twice"),
    ("", "has no column file; it has none"),
    ("file\n\xe9\n", "is no CSV in UTF-8"),
  ],
)
def test_csv_mistakes(
  photos: pathlib.Path, tmp_path: pathlib.Path, text: str, sentence: str
) -> None:
  about = tmp_path / "about.csv"
  about.write_bytes(text.encode("latin-1"))
  with pytest.raises(UserError, match=sentence):
    run(photos, tmp_path / "out", about=about)


def test_the_next_copy_has_its_turn(
  photos: pathlib.Path, drawings: list[Image.Image], tmp_path: pathlib.Path
) -> None:
  """The copy with the most pixels may be enlarged and blurred."""
  drawings[0].resize((300, 300)).save(photos / "blurred.png")
  drawings[0].resize((200, 200)).save(photos / "blurred too.png")
  out = tmp_path / "out"
  maker = Failing("blurred.png", "blurred too.png", "07.png")
  report = run(photos, out, maker=maker)
  assert report.reasons == {"blurred": 3}
  assert sides(out)["00.png"] and len(tree(out)) == COUNT - 1
  assert Counter(maker.calls).most_common(1)[0][1] == 1
  maker.calls.clear()
  again = run(photos, out, maker=maker)
  assert not maker.calls and again.reasons == report.reasons


@pytest.mark.parametrize("count", [1, 2, 3])
def test_neither_side_is_empty(
  drawings: list[Image.Image], tmp_path: pathlib.Path, count: int
) -> None:
  root, out = tmp_path / "photos", tmp_path / "out"
  root.mkdir()
  for k in range(count):
    drawings[k].save(root / f"{k}.png")
  report = run(root, out, eval_fraction=1e-6)
  assert report.splits["eval"] == (count > 1)
  assert report.splits["train"] == max(count - 1, 1)
  assert tree(out) == {
    f"{line['split']}/{line['place']}" for line in lines(out)
  }
  assert not run(root, out, eval_fraction=1e-6, maker=Failing()).written
  whole = run(root, tmp_path / "whole", eval_fraction=0)
  assert whole.splits == {"train": count}


def test_moved_photos_keep_their_pictures_and_prune_removes_them(
  photos: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  out = tmp_path / "out"
  run(photos, out)
  shutil.move(photos / "person 4", tmp_path / "away")
  kept = run(photos, out, maker=Failing())
  assert len(kept.kept) == COUNT and not kept.written
  (out / "mine.png").write_bytes(b"the user's own")
  pruned = run(photos, out, prune=True)
  assert pruned.photos == COUNT - 4
  assert len(tree(out)) == COUNT - 4 + 1
  assert not any("person 4" in line["place"] for line in lines(out))
  assert "person 4" not in (out / ".looks.jsonl").read_text()


def test_a_killed_run_goes_on(
  photos: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  whole, out = tmp_path / "whole", tmp_path / "out"
  run(photos, whole)

  class Killed(Failing):
    def __call__(self, path: pathlib.Path, target: pathlib.Path) -> list[dict]:
      if path.name == "13.png":
        raise KeyboardInterrupt
      return super().__call__(path, target)

  with pytest.raises(KeyboardInterrupt):
    run(photos, out, maker=Killed())
  done = len(sides(out))
  assert 0 < done < COUNT
  for name in ("manifest.jsonl", ".looks.jsonl"):
    path = out / name
    path.write_bytes(path.read_bytes()[:-30])  # Cut while it was written.
  report = run(photos, out)
  assert len(report.kept) in (done, done - 1) and len(tree(out)) == COUNT
  assert sides(out) == sides(whole) and tree(out) == tree(whole)
  for name in tree(whole):
    assert (out / name).read_bytes() == (whole / name).read_bytes()
  assert (out / "README.md").read_text() == (
    whole / "README.md"
  ).read_text().replace("whole", "out")


@pytest.mark.parametrize(
  ("options", "sentence"),
  [
    ({"eval_fraction": 1.0}, "--eval-fraction is 1.0"),
    ({"distance": 100}, "--distance is 100, expected -1 to 85"),
    ({"group": "age"}, "--group is 'age', expected photo, folder"),
    ({"min_side": -5}, "--min-side is -5, expected at least 1"),
  ],
)
def test_mistakes(
  photos: pathlib.Path, tmp_path: pathlib.Path, options: dict, sentence: str
) -> None:
  with pytest.raises(UserError, match=sentence):
    run(photos, tmp_path / "out", **options)


def test_copies_may_be_kept(
  photos: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  shutil.copy(photos / "person 0" / "00.png", photos / "same.png")
  report = run(photos, tmp_path / "out", distance=-1)
  assert len(report.written) == COUNT + 1
  # The same file is on one side even so.
  assert (
    sides(tmp_path / "out")["same.png"] == sides(tmp_path / "out")["00.png"]
  )


def test_command(photos: pathlib.Path, tmp_path: pathlib.Path) -> None:
  out = tmp_path / "out"
  words = ["prepare", str(photos), str(out), "--align", "none", "--size", "48"]
  words += ["--fit", "letterbox", "--group", "folder", "--jobs", "1"]
  done = CliRunner().invoke(app, [*words, "--json", "--license", "CC0"])
  assert done.exit_code == 0, done.output
  report = json.loads(done.stdout)
  assert len(report["written"]) == COUNT and report["licences"] == {"CC0": 20}
  assert sum(report["splits"].values()) == COUNT
  picture = images.Reader().read(out / "train" / "person 0" / "00.png")
  assert picture.shape == (48, 48, 3)
  said = CliRunner().invoke(app, words)
  assert "0 pictures made, 20 there already" in said.output
  wrong = CliRunner().invoke(app, [*words[:3], "--align", "some"])
  assert wrong.exit_code == 2 and "--align is 'some'" in wrong.output
  nobody = CliRunner().invoke(app, [*words, "--consent", "no"])
  assert nobody.exit_code == 3 and not tree(out)
  assert not (out / "contact_sheet.png").exists()


def test_a_real_face(tmp_path: pathlib.Path) -> None:
  data = pytest.importorskip("skimage.data", reason="needs scikit-image")
  pytest.importorskip("cv2", reason="needs OpenCV for its cascade")
  photo = Image.fromarray(data.astronaut())
  photos, out = tmp_path / "photos", tmp_path / "out"
  photos.mkdir()
  photo.save(photos / "eileen.jpg", quality=95)
  photo.resize((300, 300)).save(photos / "copy.jpg", quality=60)
  Image.new("RGB", (200, 160), "green").save(photos / "meadow.png")
  maker = prepare_pictures.make(
    "face", _options(64), detector="haar", landmarks=False
  )
  report = run(photos, out, maker=maker, colours=None)
  assert tree(out) == {"train/eileen.png"}
  assert report.reasons == {"duplicate": 1, "none": 1}
  [line] = [line for line in lines(out) if line["outputs"]]
  assert line["status"] == "ok" and line["detail"]["box"]
