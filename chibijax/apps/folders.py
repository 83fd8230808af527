"""Where a user's files of this program live, by the platform's custom.

| | cache: may be deleted | config: must be kept |
|---|---|---|
| variable | `CHIBIJAX_CACHE` | `CHIBIJAX_CONFIG` |
| Linux | `$XDG_CACHE_HOME` or `~/.cache` | `$XDG_CONFIG_HOME` or `~/.config` |
| macOS | `~/Library/Caches` | `~/Library/Application Support` |
| Windows | `%LOCALAPPDATA%` | `%APPDATA%` |

The variables name the folder itself; elsewhere it is `chibijax` in what is
named. Nothing is made here.
"""

import os
import pathlib
import sys


def cache() -> pathlib.Path:
  """The folder of downloaded weights."""
  return _folder(
    "CHIBIJAX_CACHE", "XDG_CACHE_HOME", ".cache", "Caches", "LOCALAPPDATA"
  )


def config() -> pathlib.Path:
  """The folder of the signing key."""
  return _folder(
    "CHIBIJAX_CONFIG",
    "XDG_CONFIG_HOME",
    ".config",
    "Application Support",
    "APPDATA",
  )


def _folder(
  ours: str, xdg: str, linux: str, mac: str, windows: str
) -> pathlib.Path:
  if named := os.environ.get(ours):
    return pathlib.Path(named).expanduser()
  home = pathlib.Path.home()
  if sys.platform == "darwin":
    return home / "Library" / mac / "chibijax"
  if sys.platform == "win32":
    return pathlib.Path(os.environ.get(windows) or home) / "chibijax"
  base = os.environ.get(xdg, "")
  # The specification has relative paths ignored.
  if not os.path.isabs(base):
    return home / linux / "chibijax"
  return pathlib.Path(base) / "chibijax"
