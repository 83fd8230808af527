"""Text in picture files: XMP in PNG, JPEG and WebP, and PNG's own fields.

Nothing here is signed. The record stands in one field as JSON, next to the
fields that other programs show.
"""

import functools
import hashlib
import html
import json
import re
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from chibijax.apps.pictures import Metadata
from chibijax.apps.record import CONSENT, Record

LABEL = "chibijax.record"
_MOST_TEXT = 1 << 20


def pixels_hash(image: UInt8[np.ndarray, "height width channels"]) -> str:
  """SHA-256 of what can be seen: colours under full transparency are not."""
  height, width, channels = image.shape
  seen = np.full((height, width, 4), 255, np.uint8)
  seen[..., :channels] = image
  seen[seen[..., 3] == 0] = 0
  digest = hashlib.sha256(f"{width} {height} RGBA\n".encode())
  digest.update(seen.tobytes())
  return digest.hexdigest()


def metadata(record: Record, values: str) -> Metadata:
  """What a picture's file shall say: text, which PNGs have, and XMP.

  Args:
    record: how the picture was made.
    values: the record and what else is told, as JSON.
  """
  # Fields that other programs know, by their PNG names.
  fields = {
    "Software": record.software,
    "Description": record.sentence(),
    "Copyright": CONSENT[record.consent],
    "Creation Time": record.created,
  }
  text = {k: v for k, v in fields.items() if v} | {LABEL: values}
  return Metadata(text=text, xmp=_xmp(record, values).encode())


def _xmp(record: Record, values: str) -> str:
  """An XMP packet: what other programs show, and the record as JSON."""

  def escape(text: str) -> str:
    return html.escape(text).replace("\n", "&#10;")

  created = f'\n   xmp:CreateDate="{escape(record.created)}"'
  return f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
   xmlns:dc="http://purl.org/dc/elements/1.1/"
   xmlns:xmp="http://ns.adobe.com/xap/1.0/"
   xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
   xmlns:chibijax="urn:chibijax:record"
   xmp:CreatorTool="{escape(record.software)}"{created * bool(record.created)}
   Iptc4xmpExt:DigitalSourceType="{record.source_type}"
   chibijax:Record="{escape(values)}">
   <dc:description><rdf:Alt><rdf:li xml:lang="x-default">{
    escape(record.sentence())
  }</rdf:li></rdf:Alt></dc:description>
   <dc:rights><rdf:Alt><rdf:li xml:lang="x-default">{
    escape(CONSENT[record.consent])
  }</rdf:li></rdf:Alt></dc:rights>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>"""


@functools.lru_cache(maxsize=1)
def _patterns() -> dict[str, re.Pattern[str]]:
  # Attributes that we wrote ourselves, so no XML parser is let near the file.
  return {
    LABEL: re.compile(r'\schibijax:Record="([^"]*)"'),
    "DigitalSourceType": re.compile(
      r'\sIptc4xmpExt:DigitalSourceType="([^"]*)"'
    ),
    "CreatorTool": re.compile(r'\sxmp:CreatorTool="([^"]*)"'),
  }


def read(picture: Image.Image) -> dict[str, str]:
  """The fields of ours that an opened file has, by name."""
  found = {}
  info = picture.info
  for key in (LABEL, "Software", "Description", "Copyright", "Creation Time"):
    value = info.get(key)
    if isinstance(value, str) and len(value) <= _MOST_TEXT:
      found[key] = str(value)
  raw = info.get("xmp") or info.get("XML:com.adobe.xmp") or b""
  text = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else str(raw)
  for key, pattern in _patterns().items():
    if match := pattern.search(text[:_MOST_TEXT]):
      found.setdefault(key, html.unescape(match[1]))
  return found


def parse(text: str) -> dict[str, Any] | None:
  """The values of a record read from a file, or None if it is none."""
  try:
    value = json.loads(text)
  except (ValueError, RecursionError):
    return None
  return value if isinstance(value, dict) else None
