"""Pictures that say how they were made: written, read, tampered, stripped."""

import dataclasses
import datetime
import json
import pathlib
import stat

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from chibijax.apps import credentials, picture_text, provenance
from chibijax.apps.provenance import Record
from chibijax.artist import draw_chibi, sample_attributes
from chibijax.errors import UserError

NAMES = ["a.png", "a.jpg", "a.webp"]
RECORD = Record(
  style="drawn",
  model='the "artist" & <friends>, étude',
  licence="Apache-2.0",
  seed=3,
  consent=True,
  created="2026-11-21T07:00:00+00:00",
)
needs_c2pa = pytest.mark.skipif(
  not credentials.available(), reason="c2pa-python is not installed"
)


@pytest.fixture(autouse=True)
def config(
  tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> pathlib.Path:
  """A config folder of the test's own."""
  folder = tmp_path / "config"
  monkeypatch.setenv("CHIBIJAX_CONFIG", str(folder))
  for variable in (credentials.CHAIN, credentials.KEY):
    monkeypatch.delenv(variable, raising=False)
  return folder


@pytest.fixture
def unsigned(monkeypatch: pytest.MonkeyPatch) -> None:
  """As where the signing library is not installed."""
  monkeypatch.setattr(credentials, "_library", lambda: None)


@pytest.fixture(scope="module")
def image() -> np.ndarray:
  """A chibi with a transparent border."""
  attributes = sample_attributes(np.random.default_rng([21, 0]))
  image = draw_chibi(attributes, 256).image.copy()
  image[:, :20, 3] = 0
  return image


@needs_c2pa
@pytest.mark.parametrize("name", NAMES)
def test_signed_picture_is_intact(
  name: str, image: np.ndarray, tmp_path: pathlib.Path, config: pathlib.Path
) -> None:
  written = provenance.write(tmp_path / name, image, RECORD)
  assert written.marked and written.text and "nobody vouches" in written.signed
  found = provenance.read(written.path)
  assert found.verdict == "intact" and found.size == (256, 256)
  assert found.credentials.state == "trusted"
  assert found.credentials.problems == ()
  assert found.record == RECORD.to_dict()
  assert found.mark.payload == RECORD.payload
  assert found.pixels_match is (True if name == "a.png" else None)
  [action] = found.credentials.actions
  assert action["digitalSourceType"].endswith("/algorithmicMedia")
  assert found.text["DigitalSourceType"] == RECORD.source_type
  said = " ".join(found.describe())
  assert "was not trained" in said and "may be used" in said
  json.dumps(found.to_dict())
  # On another computer the signer is a stranger, but the picture is whole.
  (config / "signer.pem").unlink()
  stranger = provenance.read(written.path)
  assert stranger.verdict == "intact"
  assert stranger.credentials.state == "untrusted"
  assert "nobody vouches for" in stranger.describe()[0]


@needs_c2pa
@pytest.mark.parametrize("name", NAMES)
def test_change_after_signing_is_told(
  name: str, image: np.ndarray, tmp_path: pathlib.Path
) -> None:
  path = provenance.write(tmp_path / name, image, RECORD).path
  data = path.read_bytes()
  # Picture data: behind the manifest, but for WebP.
  flip = 2000 if name == "a.webp" else len(data) - 300
  path.write_bytes(data[:flip] + bytes([data[flip] ^ 1]) + data[flip + 1 :])
  try:
    found = provenance.read(path)
  except UserError as error:  # Pillow checks PNG's own sums.
    assert name == "a.png" and "damaged" in str(error)
    return
  assert found.verdict == "tampered"
  assert "assertion.dataHash.mismatch" in found.credentials.problems
  assert found.describe()[0].startswith("Tampered")


@needs_c2pa
def test_changed_pixel_of_a_png_with_its_manifest_kept(
  image: np.ndarray, tmp_path: pathlib.Path
) -> None:
  one = provenance.write(tmp_path / "one.png", image, RECORD).path
  other = image.copy()
  other[128, 128, :3] ^= 0x80
  two = provenance.write(tmp_path / "two.png", other, RECORD).path
  # The manifest of the first in the second: its chunk, taken over whole.
  chunks = [png_chunks(p.read_bytes()) for p in (one, two)]
  manifest = next(c for kind, c in chunks[0] if kind == b"caBX")
  mixed = b"\x89PNG\r\n\x1a\n" + b"".join(
    manifest if kind == b"caBX" else c for kind, c in chunks[1]
  )
  two.write_bytes(mixed)
  assert provenance.read(two).verdict == "tampered"


def png_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
  chunks, at = [], 8
  while at < len(data):
    end = at + 12 + int.from_bytes(data[at : at + 4])
    chunks.append((data[at + 4 : at + 8], data[at:end]))
    at = end
  return chunks


@pytest.mark.parametrize("name", NAMES)
def test_stripped_picture_is_known_by_its_mark(
  name: str, image: np.ndarray, tmp_path: pathlib.Path
) -> None:
  path = provenance.write(tmp_path / name, image, RECORD).path
  with Image.open(path) as picture:
    bare = Image.fromarray(np.asarray(picture.convert("RGB")))
  bare.save(tmp_path / "bare.jpg", quality=80)
  found = provenance.read(tmp_path / "bare.jpg")
  assert found.verdict == "removed" and found.record is None
  assert found.describe() == [
    "It was made by chibijax; its credentials were removed.",
    "The invisible mark says: chibijax, style 'drawn'"
    f" ({found.mark.agreement:.0%} of it agrees).",
  ]


@pytest.mark.usefixtures("unsigned")
@pytest.mark.parametrize("name", NAMES)
def test_without_the_library_there_is_text_and_a_mark(
  name: str, image: np.ndarray, tmp_path: pathlib.Path, config: pathlib.Path
) -> None:
  written = provenance.write(tmp_path / name, image, RECORD)
  assert written == provenance.Written(
    tmp_path / name, marked=True, text=True, signed=""
  )
  assert not config.exists()
  found = provenance.read(written.path)
  assert found.verdict == "unsigned" and found.credentials.state == "none"
  assert found.record == RECORD.to_dict() | {"signed": False}
  assert "nobody signed" in found.describe()[0]
  assert "c2pa-python" in provenance.announce(RECORD)


@pytest.mark.usefixtures("unsigned")
def test_changed_pixel_of_an_unsigned_png(
  image: np.ndarray, tmp_path: pathlib.Path
) -> None:
  path = provenance.write(tmp_path / "a.png", image, RECORD).path
  with Image.open(path) as picture:
    text = picture.text
    pixels = np.array(picture)
  kept = Image.fromarray(pixels)
  info = PngImagePlugin.PngInfo()
  for key, value in text.items():
    info.add_itxt(key, value)
  kept.save(path, pnginfo=info)
  assert provenance.read(path).verdict == "unsigned"
  pixels[100, 100, 0] ^= 1
  Image.fromarray(pixels).save(path, pnginfo=info)
  found = provenance.read(path)
  assert found.verdict == "tampered" and found.pixels_match is False
  assert "not those that its text speaks of" in found.describe()[0]


@needs_c2pa
def test_removed_signature_is_told_by_the_text(
  image: np.ndarray, tmp_path: pathlib.Path
) -> None:
  path = provenance.write(tmp_path / "a.png", image, RECORD).path
  chunks = png_chunks(path.read_bytes())
  path.write_bytes(
    b"\x89PNG\r\n\x1a\n" + b"".join(c for kind, c in chunks if kind != b"caBX")
  )
  found = provenance.read(path)
  assert found.verdict == "unsigned" and found.pixels_match
  assert found.describe()[0].endswith("Its signed credentials were removed.")


@needs_c2pa
def test_library_missing_when_a_signed_file_is_read(
  image: np.ndarray, tmp_path: pathlib.Path, request: pytest.FixtureRequest
) -> None:
  path = provenance.write(tmp_path / "a.png", image, RECORD).path
  request.getfixturevalue("unsigned")
  found = provenance.read(path)
  assert found.credentials.state == "unchecked" and found.verdict == "unsigned"
  assert "which nothing here can check" in found.describe()[0]


@pytest.mark.parametrize("name", NAMES)
def test_disabled_writes_the_picture_alone(
  name: str, image: np.ndarray, tmp_path: pathlib.Path, config: pathlib.Path
) -> None:
  written = provenance.write(tmp_path / name, image, RECORD, enabled=False)
  assert written == provenance.Written(tmp_path / name)
  found = provenance.read(written.path)
  assert found.verdict == "unknown" and found.text == {}
  assert not found.mark.found and not config.exists()
  if name == "a.png":
    with Image.open(written.path) as picture:
      np.testing.assert_array_equal(np.asarray(picture), image)
  said = provenance.announce(RECORD, enabled=False)
  assert said == provenance.drops()
  for lost in ("credentials", "text", "consent", "mark"):
    assert lost in said


def test_encoding_is_reproducible_and_differs_by_record(
  image: np.ndarray,
) -> None:
  for form in ("PNG", "JPEG", "WEBP"):
    first = provenance.encode(image, form, RECORD)
    assert first == provenance.encode(image, form, RECORD)
    other = dataclasses.replace(RECORD, consent=False)
    assert first != provenance.encode(image, form, other)


@needs_c2pa
def test_key_is_private_and_kept(
  image: np.ndarray, tmp_path: pathlib.Path, config: pathlib.Path
) -> None:
  for name in ("a.png", "b.png"):
    provenance.write(tmp_path / name, image, RECORD)
  key = config / "signer.pem"
  assert [p.name for p in config.iterdir()] == ["signer.pem"]
  assert stat.S_IMODE(key.stat().st_mode) == 0o600
  for name in ("a.png", "b.png"):
    found = provenance.read(tmp_path / name)
    assert found.credentials.state == "trusted"
  key.write_text("nonsense")
  with pytest.raises(UserError, match="delete it"):
    provenance.write(tmp_path / "c.png", image, RECORD)
  assert provenance.read(tmp_path / "a.png").credentials.state == "untrusted"


@needs_c2pa
def test_config_folder_that_cannot_be_written(
  image: np.ndarray, tmp_path: pathlib.Path, config: pathlib.Path
) -> None:
  config.write_text("a file where the folder should be")
  path = provenance.write(tmp_path / "a.png", image, RECORD).path
  assert provenance.read(path).credentials.state == "untrusted"


@needs_c2pa
def test_users_own_certificate(
  image: np.ndarray,
  tmp_path: pathlib.Path,
  config: pathlib.Path,
  monkeypatch: pytest.MonkeyPatch,
) -> None:
  provenance.write(tmp_path / "a.png", image, RECORD)
  text = (config / "signer.pem").read_bytes()
  key, end, chain = text.partition(b"-----END PRIVATE KEY-----\n")
  (tmp_path / "chain.pem").write_bytes(chain)
  (tmp_path / "key.pem").write_bytes(key + end)
  (config / "signer.pem").unlink()
  monkeypatch.setenv(credentials.CHAIN, str(tmp_path / "chain.pem"))
  with pytest.raises(UserError, match="must be set together"):
    provenance.write(tmp_path / "b.png", image, RECORD)
  monkeypatch.setenv(credentials.KEY, str(tmp_path / "key.pem"))
  written = provenance.write(tmp_path / "b.png", image, RECORD)
  assert credentials.CHAIN in written.signed
  assert not list(config.iterdir())
  assert provenance.read(written.path).verdict == "intact"
  (tmp_path / "key.pem").write_text("no key")
  with pytest.raises(UserError, match="cannot be read"):
    provenance.write(tmp_path / "b.png", image, RECORD)
  (tmp_path / "key.pem").write_bytes(key + end)
  (tmp_path / "chain.pem").write_text("no certificate")
  with pytest.raises(UserError, match="cannot sign"):
    provenance.write(tmp_path / "b.png", image, RECORD)


@pytest.mark.parametrize(
  ("style", "composite", "source"),
  [
    ("drawn", False, "algorithmicMedia"),
    ("drawn", True, "compositeSynthetic"),
    ("toon", False, "algorithmicallyEnhanced"),
    ("model", False, "trainedAlgorithmicMedia"),
    ("model", True, "compositeWithTrainedAlgorithmicMedia"),
    ("photo", False, "compositeSynthetic"),
  ],
)
def test_source_type_follows_the_style(
  style: str, composite: bool, source: str
) -> None:
  record = Record(style, composite=composite)
  terms = "http://cv.iptc.org/newscodes/digitalsourcetype/"
  assert record.source_type == terms + source
  # A network's work is called what it is.
  assert ("AI-generated" in record.sentence()) == (style == "model")
  assert "photo_sha256" not in record.to_dict()


def test_records_are_checked() -> None:
  with pytest.raises(ValueError, match="style must be one of"):
    Record("oil")
  with pytest.raises(ValueError, match="created needs an offset"):
    Record("drawn", created="2026-11-21T07:00:00")
  now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
  assert Record("drawn", created=now).created == now


def test_tiny_pictures_carry_no_mark(tmp_path: pathlib.Path) -> None:
  small = np.zeros((20, 30, 3), np.uint8)
  written = provenance.write(tmp_path / "a.png", small, RECORD)
  assert not written.marked and written.text
  found = provenance.read(written.path)
  assert found.record is not None and not found.mark.found


@pytest.mark.parametrize(
  "content",
  [b"", b"nonsense", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0" * 50],
)
def test_what_is_no_picture_is_said(
  content: bytes, tmp_path: pathlib.Path
) -> None:
  path = tmp_path / "a.png"
  path.write_bytes(content)
  with pytest.raises(UserError, match=r"a\.png"):
    provenance.read(path)
  with pytest.raises(UserError, match="cannot be read"):
    provenance.read(tmp_path / "absent.png")


def test_hostile_text_is_only_text(tmp_path: pathlib.Path) -> None:
  for value in ("[1, 2]", "{", "[" * 5000, '{"style": 7, "consent": "yes"}'):
    info = PngImagePlugin.PngInfo()
    info.add_itxt(picture_text.LABEL, value)
    Image.new("RGB", (40, 40)).save(tmp_path / "a.png", pnginfo=info)
    found = provenance.read(tmp_path / "a.png")
    assert found.verdict in ("unknown", "unsigned")
    assert found.describe()


def test_names_that_cannot_be_written(
  image: np.ndarray, tmp_path: pathlib.Path
) -> None:
  with pytest.raises(UserError, match=r"expected one of \.png"):
    provenance.write(tmp_path / "a.gif", image, RECORD)
  (tmp_path / "file").write_bytes(b"")
  with pytest.raises(UserError, match="cannot be written"):
    provenance.write(tmp_path / "file" / "a.png", image, RECORD)
