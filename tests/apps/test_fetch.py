"""Fetching weights from a server on this machine: right, wrong, insecure."""

import dataclasses
import datetime
import hashlib
import http.server
import io
import ipaddress
import pathlib
import ssl
import threading
import zipfile
from collections.abc import Iterator

import pytest

from chibijax.apps import fetch
from chibijax.errors import UserError

CONTENT = bytes(range(256)) * 700


def zipped() -> bytes:
  file = io.BytesIO()
  with zipfile.ZipFile(file, "w") as archive:
    archive.writestr("inner.bin", CONTENT)
    archive.writestr("other.bin", b"x")
  return file.getvalue()


ZIPPED = zipped()


class Handler(http.server.BaseHTTPRequestHandler):
  """Serves by path."""

  requests: list[str]

  def do_GET(self) -> None:
    self.server.requests.append(self.path)
    if self.path == "/insecure":
      self.send_response(302)
      self.send_header("Location", "http://127.0.0.1:9/file.bin")
      self.end_headers()
      return
    if self.path == "/moved":
      self.send_response(302)
      self.send_header("Location", "/file.bin")
      self.end_headers()
      return
    bodies = {
      "/file.bin": CONTENT,
      "/wrong": CONTENT[::-1],
      "/long": CONTENT + b"more",
      "/archive.zip": ZIPPED,
      "/cut": CONTENT[:1000],
      "/cut_header": CONTENT[:1000],
    }
    if self.path not in bodies:
      self.send_error(404)
      return
    body = bodies[self.path]
    self.send_response(200)
    length = len(CONTENT) if self.path == "/cut_header" else len(body)
    self.send_header("Content-Length", str(length))
    self.end_headers()
    self.wfile.write(body)

  def log_message(self, *_: object) -> None:
    pass


def certificate(folder: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
  pytest.importorskip("cryptography", reason="makes the test's certificate")
  from cryptography import x509
  from cryptography.hazmat.primitives import hashes, serialization
  from cryptography.hazmat.primitives.asymmetric import ec
  from cryptography.x509.oid import NameOID

  key = ec.generate_private_key(ec.SECP256R1())
  name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
  now = datetime.datetime.now(datetime.UTC)
  address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
  made = (
    x509.CertificateBuilder()
    .subject_name(name)
    .issuer_name(name)
    .public_key(key.public_key())
    .serial_number(x509.random_serial_number())
    .not_valid_before(now - datetime.timedelta(days=1))
    .not_valid_after(now + datetime.timedelta(days=1))
    .add_extension(x509.SubjectAlternativeName([address]), critical=False)
    .sign(key, hashes.SHA256())
  )
  pem = serialization.Encoding.PEM
  chain, secret = folder / "chain.pem", folder / "key.pem"
  chain.write_bytes(made.public_bytes(pem))
  secret.write_bytes(
    key.private_bytes(
      pem,
      serialization.PrivateFormat.PKCS8,
      serialization.NoEncryption(),
    )
  )
  return chain, secret


@pytest.fixture(scope="module")
def server(
  tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[http.server.ThreadingHTTPServer]:
  """An https server on the loopback, and its certificate in `.chain`."""
  chain, secret = certificate(tmp_path_factory.mktemp("tls"))
  context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
  context.load_cert_chain(chain, secret)
  with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
    httpd.socket = context.wrap_socket(httpd.socket, server_side=True)
    httpd.chain, httpd.requests = chain, []
    thread = threading.Thread(target=httpd.serve_forever, args=(0.02,))
    thread.start()
    yield httpd
    httpd.shutdown()
    thread.join()


@pytest.fixture
def base(
  server: http.server.ThreadingHTTPServer,
  monkeypatch: pytest.MonkeyPatch,
  tmp_path: pathlib.Path,
) -> str:
  """The server's address; its certificate is trusted, the cache is empty."""
  monkeypatch.setenv("SSL_CERT_FILE", str(server.chain))
  monkeypatch.setenv("no_proxy", "127.0.0.1")
  monkeypatch.setenv("CHIBIJAX_CACHE", str(tmp_path / "cache"))
  monkeypatch.delenv("CHIBIJAX_TEST", raising=False)
  server.requests.clear()
  return f"https://127.0.0.1:{server.server_port}"


def entry(url: str) -> dict[str, fetch.Weights]:
  weights = fetch.Weights(
    url=url,
    sha256=hashlib.sha256(CONTENT).hexdigest(),
    size=len(CONTENT),
    licence="CC0-1.0",
    purpose="a test",
    variable="CHIBIJAX_TEST",
  )
  return {"thing": weights}


def files(folder: pathlib.Path) -> list[pathlib.Path]:
  return [p for p in folder.rglob("*") if p.is_file()]


@pytest.mark.parametrize("path", ["/file.bin", "/moved"])
def test_file_is_fetched_checked_and_found(
  base: str, path: str, tmp_path: pathlib.Path
) -> None:
  catalogue, said = entry(base + path), []
  assert fetch.find("thing", catalogue=catalogue) is None
  got = fetch.fetch("thing", yes=True, show=said.append, catalogue=catalogue)
  assert got.read_bytes() == CONTENT
  assert files(tmp_path) == [got]
  assert fetch.find("thing", catalogue=catalogue) == got
  # Address, hash and licence were shown.
  for text in (base + path, catalogue["thing"].sha256, "CC0-1.0"):
    assert text in said[0]


def test_file_in_place_is_kept_without_a_request(
  base: str,
  server: http.server.ThreadingHTTPServer,
) -> None:
  catalogue, said = entry(base + "/file.bin"), []
  first = fetch.fetch("thing", yes=True, show=said.append, catalogue=catalogue)
  server.requests.clear()
  again = fetch.fetch("thing", show=said.append, catalogue=catalogue)
  assert again == first and server.requests == []
  assert "already there" in said[-1]
  # A damaged one is replaced.
  first.write_bytes(b"damaged")
  fetch.fetch("thing", yes=True, show=said.append, catalogue=catalogue)
  assert first.read_bytes() == CONTENT


@pytest.mark.parametrize(
  ("path", "sentence"),
  [
    ("/wrong", "not the file that was expected"),
    ("/long", "gives more than the"),
    ("/cut", "broke off after 1,000 of"),
    ("/cut_header", "broke off"),
    ("/insecure", "not https"),
    ("/absent", "the server says 404"),
  ],
)
def test_what_is_not_the_file_leaves_nothing(
  base: str, path: str, sentence: str, tmp_path: pathlib.Path
) -> None:
  with pytest.raises(UserError, match=sentence):
    fetch.fetch("thing", yes=True, show=len, catalogue=entry(base + path))
  assert files(tmp_path) == []


def test_a_server_that_nobody_vouches_for_is_refused(
  base: str, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
  monkeypatch.delenv("SSL_CERT_FILE")
  with pytest.raises(UserError, match=r"cannot be downloaded.*certificate"):
    fetch.fetch(
      "thing", yes=True, show=len, catalogue=entry(base + "/file.bin")
    )
  assert files(tmp_path) == []


def test_member_of_an_archive(base: str, tmp_path: pathlib.Path) -> None:
  packed = dataclasses.replace(
    entry(base + "/archive.zip")["thing"],
    sha256=hashlib.sha256(ZIPPED).hexdigest(),
    size=len(ZIPPED),
    member="inner.bin",
    member_sha256=hashlib.sha256(CONTENT).hexdigest(),
  )
  got = fetch.fetch("thing", yes=True, show=len, catalogue={"thing": packed})
  assert got.name == "inner.bin" and got.read_bytes() == CONTENT
  assert files(tmp_path) == [got]
  missing = dataclasses.replace(packed, member="absent.bin")
  with pytest.raises(UserError, match=r"holds no absent\.bin"):
    fetch.fetch("thing", yes=True, show=len, catalogue={"thing": missing})
  assert files(tmp_path) == [got]


def test_nothing_is_downloaded_unasked(
  base: str,
  server: http.server.ThreadingHTTPServer,
  monkeypatch: pytest.MonkeyPatch,
) -> None:
  catalogue = entry(base + "/file.bin")
  monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
  with pytest.raises(UserError, match="--yes"):
    fetch.fetch("thing", show=len, catalogue=catalogue)
  monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
  monkeypatch.setattr("builtins.input", lambda _: "")
  with pytest.raises(UserError, match="nothing was downloaded"):
    fetch.fetch("thing", show=len, catalogue=catalogue)
  assert server.requests == []
  monkeypatch.setattr("builtins.input", lambda _: "yes")
  assert fetch.fetch("thing", show=len, catalogue=catalogue).is_file()


def test_file_from_elsewhere(base: str, tmp_path: pathlib.Path) -> None:
  here = tmp_path / "usb.bin"
  catalogue = entry("https://example.invalid/file.bin")
  here.write_bytes(CONTENT)
  got = fetch.fetch("thing", source=here, show=len, catalogue=catalogue)
  assert got.read_bytes() == CONTENT
  got.unlink()
  here.write_bytes(CONTENT[:-1] + b"?")
  with pytest.raises(UserError, match="not the file that was expected"):
    fetch.fetch("thing", source=here, show=len, catalogue=catalogue)
  with pytest.raises(UserError, match="cannot be read"):
    fetch.fetch("thing", source=tmp_path / "no", show=len, catalogue=catalogue)
  assert files(tmp_path) == [here]


def test_users_file_is_never_overwritten(
  base: str, tmp_path: pathlib.Path
) -> None:
  mine = tmp_path / "mine.bin"
  mine.write_bytes(b"mine")
  with pytest.raises(UserError, match="it was kept"):
    fetch.fetch(
      "thing", to=mine, yes=True, show=len, catalogue=entry(base + "/file.bin")
    )
  assert mine.read_bytes() == b"mine"


def test_find_prefers_what_the_user_named(
  tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  monkeypatch.setenv("CHIBIJAX_CACHE", str(tmp_path / "cache"))
  monkeypatch.delenv("CHIBIJAX_YUNET", raising=False)
  assert fetch.find("yunet") is None
  given, named = tmp_path / "given", tmp_path / "named"
  with pytest.raises(UserError, match="was given, is missing"):
    fetch.find("yunet", given)
  given.write_bytes(b"")
  monkeypatch.setenv("CHIBIJAX_YUNET", str(named))
  assert fetch.find("yunet", given) == given
  with pytest.raises(UserError, match="CHIBIJAX_YUNET, is missing"):
    fetch.find("yunet")
  named.write_bytes(b"")
  assert fetch.find("yunet") == named
  with pytest.raises(UserError, match="expected one of yunet"):
    fetch.find("nothing")


def test_catalogue_is_complete(
  monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
  monkeypatch.setenv("CHIBIJAX_CACHE", str(tmp_path))
  for weights in fetch.CATALOGUE.values():
    assert weights.url.startswith("https://")
    assert len(bytes.fromhex(weights.sha256)) == 32
    assert bool(weights.member) == bool(weights.member_sha256)
  assert len(fetch.describe()) == len(fetch.CATALOGUE)
  assert "not fetched" in fetch.describe()[0]


@pytest.mark.parametrize(
  ("name", "file"),
  [
    ("yunet", "yunet/yunet_n_320_320.onnx"),
    ("blazeface", "blazeface/blazeface.pth"),
    ("blazeface-back", "blazeface/blazefaceback.pth"),
    ("lpips-vgg", "lpips_v0.1/vgg.pth"),
  ],
)
def test_catalogue_describes_the_shared_copies(
  name: str,
  file: str,
  shared_data: pathlib.Path,
  tmp_path: pathlib.Path,
) -> None:
  source = shared_data / "weights" / file
  if not source.is_file():
    pytest.skip(f"{source} is missing")
  to = tmp_path / "copy"
  assert fetch.fetch(name, to=to, source=source, show=len) == to
