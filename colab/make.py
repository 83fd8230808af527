"""Makes the notebooks of this folder from the scripts beside them.

python colab/make.py

A script is a notebook in the percent format: `# %%` begins a cell, whose title
may follow; `# %% [markdown]` one of text; `# %% include NAME` stands for the
cells of another script. Notebooks have no outputs.
"""

import json
import pathlib
import re

HERE = pathlib.Path(__file__).resolve().parent
# Not notebooks of their own.
PARTS = ("make", "install")
_CELL = re.compile(r"^# %%(.*)$", re.MULTILINE)


def scripts() -> list[pathlib.Path]:
  """The scripts that become notebooks."""
  return [p for p in sorted(HERE.glob("*.py")) if p.stem not in PARTS]


def expand(script: pathlib.Path) -> str:
  """A script's text with what it includes."""
  return re.sub(
    r"^# %% include (\w+)$",
    lambda found: (HERE / f"{found[1]}.py").read_text().rstrip(),
    script.read_text(),
    flags=re.MULTILINE,
  )


def cells(text: str) -> list[tuple[str, str]]:
  """Kind ("code" or "markdown") and source of each cell."""
  parts = _CELL.split(text)[1:]
  found = []
  for title, body in zip(parts[::2], parts[1::2], strict=True):
    body = body.strip("\n")
    if title.strip() == "[markdown]":
      lines = [line.removeprefix("#").strip() for line in body.splitlines()]
      found.append(("markdown", "\n".join(lines)))
    else:
      head = f"# {title.strip()}\n" if title.strip() else ""
      found.append(("code", head + body))
  return found


def notebook(text: str) -> str:
  """The notebook of a script's text, as its file's JSON."""
  made = []
  for index, (kind, source) in enumerate(cells(text)):
    cell = {
      "cell_type": kind,
      "id": f"cell-{index}",
      "metadata": {},
      "source": source.splitlines(keepends=True),
    }
    if kind == "code":
      cell |= {"execution_count": None, "outputs": []}
    made.append(cell)
  kernel = {
    "display_name": "Python 3",
    "language": "python",
    "name": "python3",
  }
  content = {
    "cells": made,
    "metadata": {
      "kernelspec": kernel,
      "language_info": {"name": "python"},
    },
    "nbformat": 4,
    "nbformat_minor": 5,
  }
  return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def main() -> None:
  """Writes all notebooks."""
  for script in scripts():
    path = script.with_suffix(".ipynb")
    path.write_text(notebook(expand(script)))
    print(path.relative_to(HERE.parent))


if __name__ == "__main__":
  main()
