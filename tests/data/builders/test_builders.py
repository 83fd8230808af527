"""Each builder reads tiny archives in the true layout, and is read back."""

import io
import json
import pathlib
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from chibijax.apps.cli import app
from chibijax.data import pipeline
from chibijax.data.sources import DataError
from chibijax.data.tfds import TfdsSource

tfds = pytest.importorskip("tensorflow_datasets")
pytest.importorskip("array_record")

from chibijax.data.builders import (  # noqa: E402
  archives,
  cartoon_set,
  celeba,
  danbooru,
  prepare,
)
from chibijax.data.builders.base import side  # noqa: E402

COUNT = 160


def encoded(k: int, size: tuple[int, int], form: str = "JPEG") -> bytes:
  """A picture whose red tells its number."""
  file = io.BytesIO()
  picture = Image.new("RGB", size, (8 * k, 100, 100))
  if form == "PNG":
    picture.putalpha(255)
    picture.paste((0, 0, 0, 0), (0, 0, 2, 2))
  picture.save(file, form)
  return file.getvalue()


def read(
  name: str, data_dir: pathlib.Path, split: str = "train"
) -> list[dict[str, Any]]:
  """All examples as TFDS gives them, in the order of their names."""
  builder = tfds.builder(name, data_dir=str(data_dir))
  source = builder.as_data_source(split=split)
  found = [source[k] for k in range(len(source))]
  return sorted(found, key=lambda example: example["name"])


def make_celeba(folder: pathlib.Path, optional: bool = True) -> None:
  """Ten faces: six, two and two."""
  for part in ("Img", "Anno", "Eval"):
    (folder / part).mkdir(parents=True)
  names = [f"{k:06}.jpg" for k in range(1, 11)]
  with zipfile.ZipFile(folder / "Img" / "img_align_celeba.zip", "w") as file:
    for k, name in enumerate(names):
      file.writestr(f"img_align_celeba/{name}", encoded(k, (178, 218)))
  rows = ["10", " ".join(celeba.ATTRIBUTES) + " "]
  for k, name in enumerate(names):
    values = ["1" if (k + j) % 3 == 0 else "-1" for j in range(40)]
    rows.append(f"{name} " + " ".join(f"{value:>2}" for value in values))
  (folder / "Anno" / "list_attr_celeba.txt").write_text("\n".join(rows) + "\n")
  parts = "0000001122"
  text = "".join(f"{name} {part}\n" for name, part in zip(names, parts))
  (folder / "Eval" / "list_eval_partition.txt").write_text(text)
  if optional:
    points = ["10", "lefteye_x lefteye_y righteye_x righteye_y nose_x nose_y"]
    points += [
      f"{name}  {69 + k} 111 108 111 88 136 72 152 105 152"
      for k, name in enumerate(names)
    ]
    path = folder / "Anno" / "list_landmarks_align_celeba.txt"
    path.write_text("\n".join(points))
    people = "".join(f"{name} {2880 + k}\n" for k, name in enumerate(names))
    (folder / "Anno" / "identity_CelebA.txt").write_text(people)


def make_cartoons(folder: pathlib.Path, count: int = 24) -> None:
  """A tgz in which some labels come before and some after their pictures."""
  folder.mkdir()
  with tarfile.open(folder / "cartoonset10k.tgz", "w:gz") as file:

    def add(name: str, data: bytes) -> None:
      info = tarfile.TarInfo(f"cartoonset10k/{name}")
      info.size = len(data)
      file.addfile(info, io.BytesIO(data))

    for k in range(count):
      rows = [
        f'"{name}", {(k + j) % n}, {n}'
        for j, (name, n) in enumerate(cartoon_set.ATTRIBUTES.items())
      ]
      parts = [
        (f"cs{k:03}.png", encoded(k, (50, 50), "PNG")),
        (f"cs{k:03}.csv", "\n".join(rows).encode()),
      ]
      for name, data in parts[:: 1 if k % 2 else -1]:
        add(name, data)


def make_anime(folder: pathlib.Path, count: int = 24) -> None:
  folder.mkdir()
  with zipfile.ZipFile(folder / "archive.zip", "w") as file:
    for k in range(count):
      year = f"_{2000 + k % 20}" if k else ""
      file.writestr(f"images/{k}{year}.jpg", encoded(k, (40 + k, 40 + k)))
    file.writestr("__MACOSX/images/._0.jpg", b"not a picture")
    file.writestr("images/broken_2001.jpg", b"\xff\xd8\xff nor this")
    file.writestr("readme.txt", b"nor this")


def make_danbooru(folder: pathlib.Path, count: int = COUNT) -> None:
  (folder / "metadata").mkdir(parents=True)
  lines = []
  for k in range(count):
    number = 1000 * k + k % 3
    rating = "sqe"[k % 3] if k < count - 1 else "g"
    tags = ["1girl", "solo"] if k % 2 == 0 else ["scenery"]
    tags += ["comic"] if k % 10 == 0 else []
    lines.append(
      {
        "id": str(number), "rating": rating, "score": str(k),
        "file_ext": "png", "md5": "0" * 32,
        "tags": [{"id": "1", "name": tag, "category": "0"} for tag in tags],
      }
    )  # fmt: skip
    bucket = folder / "512px" / f"{number % 1000:04}"
    bucket.mkdir(parents=True, exist_ok=True)
    if k != 6:  # Every release lacks some.
      (bucket / f"{number}.jpg").write_bytes(encoded(k % 30, (51, 51)))
  text = "".join(json.dumps(line) + "\n" for line in lines)
  half = text.index("\n", len(text) // 2) + 1
  (folder / "metadata" / "2018000000000000").write_text(text[:half])
  (folder / "metadata" / "2018000000000001.json").write_text(text[half:])


def test_celeba(tmp_path: pathlib.Path) -> None:
  make_celeba(tmp_path / "downloads")
  name, counts = prepare.run(
    "celeba", tmp_path / "downloads", tmp_path / "data"
  )
  assert name == "celeba_aligned"
  assert counts == {"train": 6, "validation": 2, "test": 2}
  for k, example in enumerate(read(name, tmp_path / "data")):
    assert example["name"].decode() == f"{k + 1:06}.jpg"
    assert example["image"].shape == (218, 178, 3)
    assert abs(int(example["image"][0, 0, 0]) - 8 * k) <= 3  # It is a JPEG.
    values = [example["attributes"][a] for a in celeba.ATTRIBUTES]
    assert values == [(k + j) % 3 == 0 for j in range(40)]
    assert example["landmarks"][0].tolist() == [69 + k, 111]
    assert example["identity"] == 2880 + k
  held = read(name, tmp_path / "data", "test")
  assert [e["name"] for e in held] == [b"000009.jpg", b"000010.jpg"]


def test_celeba_unpacked_and_without_the_optional_lists(
  tmp_path: pathlib.Path,
) -> None:
  folder = tmp_path / "downloads"
  make_celeba(folder, optional=False)
  path = folder / "Img" / "img_align_celeba.zip"
  with zipfile.ZipFile(path) as file:
    file.extractall(folder / "Img")
  path.unlink()
  name, counts = prepare.run("celeba", folder, tmp_path / "data")
  assert sum(counts.values()) == 10
  [first, *_] = read(name, tmp_path / "data")
  assert first["identity"] == -1 and np.isnan(first["landmarks"]).all()


def test_cartoon_set(tmp_path: pathlib.Path) -> None:
  make_cartoons(tmp_path / "downloads")
  name, counts = prepare.run(
    "cartoon_set", tmp_path / "downloads", tmp_path / "data", "10k"
  )
  assert name == "cartoon_set/10k" and sum(counts.values()) == 24
  both = [read(name, tmp_path / "data", split) for split in ("train", "test")]
  for split, examples in zip(("train", "test"), both):
    for example in examples:
      stem = example["name"].decode()
      assert side(stem) == split
      k = int(stem[2:])
      assert list(example["attributes"]) == sorted(cartoon_set.ATTRIBUTES)
      for j, (key, n) in enumerate(cartoon_set.ATTRIBUTES.items()):
        assert example["attributes"][key] == (k + j) % n
  # Our own source sets its transparency on white.
  source = TfdsSource(name, "train", str(tmp_path / "data"))
  np.testing.assert_array_equal(source[0]["image"][0, 0], 255)


def test_anime_faces(
  tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
  make_anime(tmp_path / "downloads")
  name, counts = prepare.run(
    "anime_faces", tmp_path / "downloads", tmp_path / "data"
  )
  assert name == "anime_faces" and sum(counts.values()) == 24
  assert "broken_2001.jpg is left out" in caplog.text
  found = {
    example["name"].decode(): int(example["year"])
    for split in counts
    for example in read(name, tmp_path / "data", split)
  }
  assert found["0"] == -1 and found["13_2013"] == 2013 and len(found) == 24


@pytest.mark.parametrize(
  ("choice", "wanted"),
  [
    (danbooru.Choice(name="a"), lambda k: k % 3 == 0 or k == COUNT - 1),
    (
      danbooru.Choice(
        name="b", ratings=("s", "q"), having=("1girl",), without=("comic",),
        labels=("solo", "comic"),
      ),
      lambda k: k % 3 < 2 and k % 2 == 0 and k % 10,
    ),
    (
      danbooru.Choice(name="c", ratings=("e",), min_score=20),
      lambda k: k % 3 == 2 and k >= 20,
    ),
  ],
)  # fmt: skip
def test_danbooru(
  tmp_path: pathlib.Path,
  choice: danbooru.Choice,
  wanted: Callable[[int], bool],
) -> None:
  folder = tmp_path / "downloads"
  make_danbooru(folder)
  name, counts = prepare.run("danbooru", folder, tmp_path / "data", choice)
  assert name == f"danbooru/{choice.name}"
  expected = {k for k in range(COUNT) if wanted(k) and k != 6}
  found = {}
  for split in counts:
    for example in read(name, tmp_path / "data", split):
      k = int(example["id"]) // 1000
      found[k] = example
      assert example["score"] == k and example["name"].decode() == str(
        example["id"]
      )
      tags = [tag.decode() for tag in example["tags"]]
      assert tags[0] == ("scenery" if k % 2 else "1girl")
      if choice.labels:
        assert example["labels"] == {"solo": True, "comic": False}
  assert set(found) == expected and sum(counts.values()) == len(expected)


def test_danbooru_of_other_releases(tmp_path: pathlib.Path) -> None:
  """The API's fields, pictures with their own suffix, no folder between."""
  folder = tmp_path / "downloads"
  lines = []
  for k in range(30):
    bucket = folder / f"{k:04}"
    bucket.mkdir(parents=True)
    (bucket / f"{k}.png").write_bytes(encoded(k, (30, 30), "PNG"))
    record = {"id": k, "rating": "general", "tag_string": "1girl a_b"}
    lines.append(json.dumps(record | {"file_ext": "png"}))
  (folder / "posts.json").write_text("\n".join(lines))
  name, counts = prepare.run("danbooru", folder, tmp_path / "data")
  assert name == "danbooru/safe" and sum(counts.values()) == 30
  [first, *_] = read(name, tmp_path / "data")
  assert [tag.decode() for tag in first["tags"]] == ["1girl", "a_b"]
  assert first["rating"] == b"g"


def test_the_pipeline_reads_what_was_prepared(tmp_path: pathlib.Path) -> None:
  make_anime(tmp_path / "downloads")
  _, counts = prepare.run(
    "anime_faces", tmp_path / "downloads", tmp_path / "data"
  )
  config = {
    "source_a": "tfds", "source_b": "", "path_a": "anime_faces",
    "tfds_dir": str(tmp_path / "data"), "size": 16, "load_size": 20,
    "threads": 1,
  }  # fmt: skip
  for split, own in (("train", "train"), ("eval", "test")):
    made = pipeline.make(config, split=split, batch_size=2)
    assert made.examples == counts[own]
    with made.iterator() as batches:
      assert next(batches)["image"].shape == (2, 16, 16, 3)


def test_features_are_labels_of_a_batch(tmp_path: pathlib.Path) -> None:
  make_celeba(tmp_path / "downloads")
  prepare.run("celeba", tmp_path / "downloads", tmp_path / "data")
  config = {
    "source_a": "tfds", "source_b": "", "path_a": "celeba_aligned",
    "tfds_dir": str(tmp_path / "data"), "size": 16, "load_size": 20,
    "threads": 1, "labels": ("attributes", "identity"),
  }  # fmt: skip
  made = pipeline.make(config, split="train", batch_size=6)
  assert made.spec["attributes"].shape == (6, 41)
  assert "41 labels (attributes/" in made.description
  with made.iterator() as batches:
    batch = next(batches)
  for picture, row in zip(batch["image"], batch["attributes"]):
    k = round(int(picture[8, 8, 0]) / 8)
    assert row[-1] == 2880 + k
    # TFDS sorts names within a feature.
    order = np.argsort(celeba.ATTRIBUTES, kind="stable")
    np.testing.assert_array_equal(row[:40], (k + order) % 3 == 0)
  with pytest.raises(DataError, match="has no number 'Male'; it has attrib"):
    pipeline.make(config | {"labels": ("Male",)}, split="train")


def test_tensorflow_is_not_imported(tmp_path: pathlib.Path) -> None:
  make_anime(tmp_path / "downloads")
  program = f"""
import sys
from chibijax.data.builders import prepare
name, counts = prepare.run(
  "anime_faces", {str(tmp_path / "downloads")!r}, {str(tmp_path / "data")!r})
print(name, "tensorflow" in sys.modules)
"""
  done = subprocess.run(
    [sys.executable, "-c", program],
    capture_output=True,
    text=True,
    cwd=pathlib.Path(pipeline.__file__).parents[2],
    check=True,
  )
  assert done.stdout.split("\n")[-2] == "anime_faces False"


def test_command(tmp_path: pathlib.Path) -> None:
  downloads, out = tmp_path / "downloads", tmp_path / "data"
  make_danbooru(downloads)
  words = ["tfds", "danbooru", str(downloads), str(out)]
  done = CliRunner().invoke(app, [*words, "--tag", "solo", "--label", "comic"])
  assert done.exit_code == 0, done.output
  assert "--config.data.path_a=danbooru/chosen --config" in done.output
  [first, *_] = read("danbooru/chosen", out)
  assert list(first["labels"]) == ["comic"] and b"solo" in first["tags"]
  words[1] = "celeba"
  wrong = CliRunner().invoke(app, [*words, "--config", "5k"])
  assert wrong.exit_code == 2 and "'5k', and celeba has none" in wrong.output
  wrong = CliRunner().invoke(app, [*words, "--tag", "solo"])
  assert wrong.exit_code == 2 and "of danbooru, not of celeba" in wrong.output


def damage(name: str, folder: pathlib.Path) -> None:
  """Makes an archive of another sort than the published one."""
  if name == "celeba":
    make_celeba(folder)
    path = folder / "Anno" / "list_attr_celeba.txt"
    path.write_text(path.read_text().replace("Smiling", "Frowning"))
  elif name == "cartoon_set":
    make_cartoons(folder)
    path = folder / "cartoonset10k.tgz"
    path.write_bytes(path.read_bytes()[:-800])
  elif name == "anime_faces":
    make_anime(folder, 0)
  else:
    make_danbooru(folder)
    (folder / "metadata" / "2018000000000001.json").write_text('{"id": 1}\n')


@pytest.mark.parametrize(
  ("name", "sentence"),
  [
    ("celeba", "has other columns than CelebA's"),
    ("cartoon_set", "cannot be read to its end"),
    ("anime_faces", "holds no picture for the split"),
    ("danbooru", r"json, line 1, is no record of a picture \(KeyError"),
  ],
)
def test_what_is_not_as_published_is_said(
  name: str, sentence: str, tmp_path: pathlib.Path
) -> None:
  damage(name, tmp_path / "downloads")
  with pytest.raises(DataError, match=sentence):
    prepare.run(name, tmp_path / "downloads", tmp_path / "data")


def test_sentences(tmp_path: pathlib.Path) -> None:
  with pytest.raises(DataError, match="'mnist' is none of celeba, cartoon"):
    prepare.run("mnist", tmp_path, tmp_path)
  with pytest.raises(DataError, match="is no folder with downloaded"):
    prepare.run("celeba", tmp_path / "nowhere", tmp_path)
  (tmp_path / "a.txt").write_text("")
  for name, sentence in {
    "celeba": "holds none of img_align_celeba.zip",
    "cartoon_set": "holds none of cartoonset10k.tgz",
    "anime_faces": "holds none of archive.zip",
    "danbooru": "holds no folders 0000 to 0999",
  }.items():
    with pytest.raises(DataError, match=sentence):
      prepare.run(name, tmp_path, tmp_path / "data")


@pytest.mark.parametrize("suffix", [".zip", ".tgz", ".tar", ""])
def test_archives_are_alike(tmp_path: pathlib.Path, suffix: str) -> None:
  source = tmp_path / "source"
  (source / "deep").mkdir(parents=True)
  (source / "a.txt").write_bytes(b"one")
  (source / "deep" / "b.txt").write_bytes(b"two")
  (source / "deep" / "c.bin").write_bytes(b"three")
  folder = tmp_path / "inner" / "downloads"
  folder.mkdir(parents=True)
  if suffix == ".zip":
    with zipfile.ZipFile(folder / "x.zip", "w") as file:
      for path in sorted(source.rglob("*.*")):
        file.write(path, path.relative_to(source))
  elif suffix:
    with tarfile.open(
      folder / f"x{suffix}", "w:gz" if suffix == ".tgz" else "w"
    ) as file:
      file.add(source, ".")
  else:
    source.rename(folder / "x")
  files = archives.find(tmp_path, f"x{suffix or '.tar.gz'}")
  found = dict(files.read(lambda name: name.endswith(".txt")))
  names = {name.removeprefix("./"): data for name, data in found.items()}
  assert names == {"a.txt": b"one", "deep/b.txt": b"two"}
