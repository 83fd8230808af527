"""Content credentials (C2PA): signing a picture's bytes, and checking them.

Needs `c2pa-python` (`pip install 'chibijax[provenance]'`, 16 MB); nothing here
touches the network: no time stamps, no remote manifests, no OCSP.

Whose signature: with `CHIBIJAX_CERTIFICATE` (a PEM chain, leaf first) and
`CHIBIJAX_CERTIFICATE_KEY` (its PEM key), yours. Otherwise a test certificate
that is made on first use in the user's config folder (`signer.pem`, readable by
its owner only). Nobody vouches for it: Adobe's, Microsoft's or any other
validator says "unknown signer"; only this computer recognises it as its own. It
still shows whether a picture was changed since. It names no person, but its
serial number is the same in all pictures made here.
"""

import dataclasses
import datetime
import functools
import io
import json
import os
import pathlib
import tempfile
import types
from typing import Any

from chibijax.apps import folders
from chibijax.errors import UserError

CHAIN, KEY = "CHIBIJAX_CERTIFICATE", "CHIBIJAX_CERTIFICATE_KEY"
STATES = {
  "none": "there are no content credentials",
  "unchecked": "there are content credentials, which nothing here can check",
  "damaged": "there are content credentials, but they are not valid",
  "tampered": "the picture was changed after it was signed",
  "untrusted": "unchanged since it was signed, by a signer nobody vouches for",
  "trusted": "unchanged since it was signed, by a signer this computer trusts",
}
_KEY_END = b"-----END PRIVATE KEY-----\n"
# Extended key usage "e-mail protection", which C2PA asks of a signer.
_TRUST = "1.3.6.1.5.5.7.3.4"


@dataclasses.dataclass(frozen=True)
class Credentials:
  """What checking a file's content credentials gave.

  Attributes:
    state: a key of `STATES`.
    signer: who signed, as the certificate says; "" where nobody did.
    actions: the actions of the manifest, as it has them.
    assertions: the data of the other assertions by label.
    problems: the validator's failure codes.
  """

  state: str
  signer: str = ""
  actions: tuple[dict[str, Any], ...] = ()
  assertions: dict[str, Any] = dataclasses.field(default_factory=dict)
  problems: tuple[str, ...] = ()


def available() -> bool:
  """Whether the library that signs and checks is installed."""
  return _library() is not None


def signer_name() -> str:
  """Who would sign now, in words."""
  if os.environ.get(CHAIN):
    return f"the certificate in {CHAIN}"
  return "this computer's own test certificate, which nobody vouches for"


def sign(data: bytes, media_type: str, manifest: dict[str, Any]) -> bytes:
  """Puts a signed manifest into a picture file.

  Args:
    data: the whole file.
    media_type: such as "image/png".
    manifest: C2PA manifest definition: title, claim generator, assertions.

  Returns:
    The file with the manifest.

  Raises:
    UserError: if the library is missing, or the user's certificate or key
      cannot be read or used.
  """
  c2pa = _library()
  if c2pa is None:
    raise UserError(
      "signing needs c2pa-python; install it with"
      " `pip install 'chibijax[provenance]'`."
    )
  chain, key = _signer()
  try:
    info = c2pa.C2paSignerInfo(
      alg=_algorithm(key), sign_cert=chain, private_key=key, ta_url=None
    )
    signed = io.BytesIO()
    with (
      c2pa.Signer.from_info(info) as signer,
      c2pa.Builder(manifest, context=_context(None)) as builder,
    ):
      builder.sign(signer, media_type, io.BytesIO(data), signed)
  except c2pa.C2paError as error:
    if not os.environ.get(CHAIN):
      raise
    raise UserError(
      f"the certificate in {CHAIN} cannot sign pictures ({error})."
    ) from error
  return signed.getvalue()


def check(data: bytes, media_type: str) -> Credentials:
  """Checks the manifest of a picture file.

  Args:
    data: the whole file, of any origin.
    media_type: such as "image/png".

  Returns:
    What was found; this never raises because of what the file holds.
  """
  c2pa = _library()
  if c2pa is None:
    marked = b"jumb" in data and b"c2pa" in data
    return Credentials("unchecked" if marked else "none")
  try:
    with c2pa.Reader(
      media_type, io.BytesIO(data), context=_context(_own_authority())
    ) as reader:
      report = json.loads(reader.json())
  except c2pa.C2paError as error:
    missing = "ManifestNotFound" in str(error)
    return Credentials("none" if missing else "damaged")
  except (ValueError, RuntimeError):
    return Credentials("damaged")
  return _credentials(report)


def _credentials(report: dict[str, Any]) -> Credentials:
  """Sums up the library's report."""
  codes = tuple(
    str(s.get("code", "")) for s in report.get("validation_status") or ()
  )
  problems = tuple(c for c in codes if c != "signingCredential.untrusted")
  # Whatever else is wrong (an expired certificate, say) is not a change.
  changed = any(c.endswith((".mismatch", ".missing")) for c in problems)
  state = {"Trusted": "trusted", "Valid": "untrusted"}.get(
    report.get("validation_state"), "tampered" if changed else "damaged"
  )
  manifests = report.get("manifests") or {}
  manifest = manifests.get(report.get("active_manifest")) or {}
  signature = manifest.get("signature_info") or {}
  names = (signature.get("common_name"), signature.get("issuer"))
  actions, assertions = [], {}
  for assertion in manifest.get("assertions") or ():
    label, content = assertion.get("label", ""), assertion.get("data")
    if label.startswith("c2pa.actions") and isinstance(content, dict):
      actions += content.get("actions") or []
    else:
      assertions[label] = content
  return Credentials(
    state=state,
    signer=", ".join(n for n in names if n),
    actions=tuple(actions),
    assertions=assertions,
    problems=problems,
  )


@functools.lru_cache(maxsize=1)
def _library() -> types.ModuleType | None:
  """The library, or None where it is missing or cannot be loaded."""
  try:
    import c2pa
  except (ImportError, OSError, RuntimeError):
    return None
  return c2pa


@functools.lru_cache(maxsize=4)
def _context(authority: str | None) -> Any:
  """The library's settings: offline, no thumbnails, our own authority."""
  settings: dict[str, Any] = {
    "version": 1,
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
    "builder": {"thumbnail": {"enabled": False}},
  }
  if authority is not None:
    settings["verify"]["verify_trust"] = True
    settings["trust"] = {"user_anchors": authority, "trust_config": _TRUST}
  c2pa = _library()
  return c2pa.Context(c2pa.Settings.from_dict(settings))


def _signer() -> tuple[bytes, bytes]:
  """Chain and private key, PEM."""
  chain, key = os.environ.get(CHAIN), os.environ.get(KEY)
  if not chain and not key:
    return _own(create=True)
  if not chain or not key:
    raise UserError(f"{CHAIN} and {KEY} must be set together.")
  try:
    return pathlib.Path(chain).read_bytes(), pathlib.Path(key).read_bytes()
  except OSError as error:
    raise UserError(f"the certificate cannot be read: {error}.") from error


def _algorithm(key: bytes) -> bytes:
  """The C2PA name of a private key's signature algorithm."""
  from cryptography.hazmat.primitives import serialization
  from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

  try:
    private = serialization.load_pem_private_key(key, password=None)
  except (ValueError, TypeError) as error:
    raise UserError(f"the key in {KEY} cannot be read: {error}.") from error
  if isinstance(private, ec.EllipticCurvePrivateKey):
    names = {256: b"es256", 384: b"es384", 521: b"es512"}
    if private.curve.key_size in names:
      return names[private.curve.key_size]
  if isinstance(private, ed25519.Ed25519PrivateKey):
    return b"ed25519"
  if isinstance(private, rsa.RSAPrivateKey):
    return b"ps256"
  raise UserError(
    f"the key in {KEY} is of a kind that C2PA does not know; use P-256, P-384,"
    " P-521, Ed25519 or RSA."
  )


def _own_authority() -> str | None:
  """The root of this computer's own chain, if one was made."""
  try:
    chain, _ = _own(create=False)
  except (FileNotFoundError, UserError):
    return None
  begin = chain.rindex(b"-----BEGIN CERTIFICATE-----")
  return chain[begin:].decode()


def _own(create: bool) -> tuple[bytes, bytes]:
  """This computer's chain and key: one file, so that they always match."""
  path = folders.config() / "signer.pem"
  try:
    text = path.read_bytes()
  except OSError:
    if not create:
      raise FileNotFoundError(path) from None
    text = _saved(path, _make_chain())
  key, end, chain = text.partition(_KEY_END)
  if not end or b"BEGIN CERTIFICATE" not in chain:
    raise UserError(f"{path} is not what this program wrote; delete it.")
  return chain, key + end


def _saved(path: pathlib.Path, text: bytes) -> bytes:
  """Saves a new chain unless another process was faster.

  Where nothing can be written the chain lives as long as the process.
  """
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Readable by its owner only, from the first byte on.
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".signer-")
    try:
      with os.fdopen(handle, "wb") as file:
        file.write(text)
      try:
        os.link(temporary, path)
      except FileExistsError:
        return path.read_bytes()
      except OSError:  # A file system without links.
        os.replace(temporary, path)
    finally:
      pathlib.Path(temporary).unlink(missing_ok=True)
  except OSError:
    return _in_memory(text)
  return text


@functools.lru_cache(maxsize=1)
def _kept() -> list[bytes]:
  return []


def _in_memory(text: bytes) -> bytes:
  """The first chain of this process."""
  if not _kept():
    _kept().append(text)
  return _kept()[0]


def _make_chain() -> bytes:
  """A key, its certificate, and that of a root which nobody can use again.

  C2PA refuses a self-signed leaf, so there is a root, whose key is forgotten.
  """
  from cryptography.hazmat.primitives import serialization
  from cryptography.hazmat.primitives.asymmetric import ec

  root, leaf = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
  pem = serialization.Encoding.PEM
  secret = leaf.private_bytes(
    pem,
    serialization.PrivateFormat.PKCS8,
    serialization.NoEncryption(),
  )
  certificates = (_certificate(leaf, root), _certificate(root, root))
  return secret + b"".join(c.public_bytes(pem) for c in certificates)


def _certificate(key: Any, issuer: Any) -> Any:
  """A certificate as C2PA's profile wants it; of a root if it signs itself.

  Args:
    key: private key of the subject.
    issuer: private key of the root.
  """
  from cryptography import x509
  from cryptography.hazmat.primitives import hashes
  from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

  def name(common: str) -> x509.Name:
    owner = x509.NameAttribute(
      NameOID.ORGANIZATION_NAME, "chibijax (unverified)"
    )
    return x509.Name([owner, x509.NameAttribute(NameOID.COMMON_NAME, common)])

  is_root = key is issuer
  root_name = name("chibijax root of one computer")
  allowed = dict.fromkeys(
    (
      "digital_signature content_commitment key_encipherment data_encipherment"
      " key_agreement key_cert_sign crl_sign encipher_only decipher_only"
    ).split(),
    False,
  )
  allowed |= {"digital_signature": True, "key_cert_sign": is_root}
  now = datetime.datetime.now(datetime.UTC)
  mine = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
  theirs = x509.AuthorityKeyIdentifier.from_issuer_public_key(
    issuer.public_key()
  )
  builder = (
    x509.CertificateBuilder()
    .issuer_name(root_name)
    .subject_name(root_name if is_root else name("chibijax on one computer"))
    .public_key(key.public_key())
    .serial_number(x509.random_serial_number())
    .not_valid_before(now - datetime.timedelta(days=1))
    .not_valid_after(now + datetime.timedelta(days=3650))
    .add_extension(x509.BasicConstraints(is_root, None), critical=True)
    .add_extension(x509.KeyUsage(**allowed), critical=True)
    .add_extension(mine, critical=False)
    .add_extension(theirs, critical=False)
  )
  if not is_root:
    purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
    builder = builder.add_extension(purpose, critical=False)
  return builder.sign(issuer, hashes.SHA256())
