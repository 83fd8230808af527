#!/usr/bin/env bash
# Runs the tests in the corners of what is supported: Colab's pins, the newest
# JAX for Python 3.11 and for Python 3.12. Each has its own virtual environment
# in .venv-corners/; a corner whose Python is not found is skipped, aloud.
set -uo pipefail
cd "$(dirname "$0")/.."

COLAB="jax==0.7.2 flax==0.11.2 orbax-checkpoint==0.12.4 optax==0.2.8
  numpy==2.1.3"

# Prints the path of a Python of the given version, if this machine has one.
find_python() {
  local candidate
  for candidate in "python$1" python3 \
    "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$1".*/bin/python; do
    # A pyenv shim exists for every version but runs for the chosen ones only;
    # Debian's python has venv in a package of its own.
    if "$candidate" -c "import ensurepip, sys
assert '%d.%d' % sys.version_info[:2] == '$1'" 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  return 1
}

# corner NAME PYTHON_VERSION [PINS…]
corner() {
  local name=$1 version=$2 python venv=.venv-corners/$1
  shift 2
  if ! python=$(find_python "$version"); then
    summary+=("$name: skipped, no Python $version found")
    return
  fi
  echo "== $name: $python"
  if [ ! -e "$venv/installed" ] || [ setup.py -nt "$venv/installed" ]; then
    rm -rf "$venv"
    "$python" -m venv "$venv" &&
      "$venv/bin/python" -m pip install -q --disable-pip-version-check \
        -e '.[dev]' "$@" &&
      touch "$venv/installed"
  fi
  if [ -e "$venv/installed" ] && "$venv/bin/python" -m pytest -q -n auto \
    --maxprocesses "${JOBS:-4}" --dist loadfile; then
    summary+=("$name: passed")
  else
    summary+=("$name: FAILED")
    failed=1
  fi
}

summary=()
failed=0
# shellcheck disable=SC2086 # The pins are separate words.
corner colab 3.11 $COLAB
corner python3.11 3.11
corner python3.12 3.12
printf '%s\n' "${summary[@]}"
exit "$failed"
