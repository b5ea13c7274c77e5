# What tests/run and tests/sanitize share: packages, build trees, running, the closing line. Sourced by bash.

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export LC_ALL=C.UTF-8 PYTHONDONTWRITEBYTECODE=1
exec </dev/null

build_packages=(meson ninja-build pkg-config gcc g++ ccache python3 cmake libuv1-dev libssl-dev
  libnghttp2-dev libc-ares-dev libgtest-dev libcli11-dev nlohmann-json3-dev)
# What the bindings' tests need: without one of them, the tests that need it are skipped.
binding_packages=(clang rustc cargo rustfmt rust-clippy python3-httpx python3-requests python3-venv python3-pip patchelf doxygen)
# Real servers and network tools: without one of them, the tests that need it are skipped.
server_packages=(openssl nginx-light redis-server postgresql libhiredis-dev libpq-dev haproxy nghttp2-server nodejs
  dnsmasq-base unbound iproute2 nftables util-linux)

summary_printed=
meson_prefix=()  # a command to run the tests under

# A signal must reach what runs in the foreground too: bash itself waits for it first.
run() {
  "$@" &
  local code=0
  wait "$!" || code=$?
  return "$code"
}

on_signal() {
  local child
  for child in $(jobs -pr); do
    kill -TERM "$child" 2>/dev/null || true
    wait "$child" 2>/dev/null || true
  done
  exit 130
}

# A run that ends before any test could, by a failed build for one, counts as one failure.
on_exit() {
  local code=$?
  if [ -z "$summary_printed" ]; then
    [ "$code" -ne 0 ] || code=1
    echo "stopped before the tests were done (exit code $code)"
    echo "0 passed, 1 failed"
  fi
  exit "$code"
}
trap on_exit EXIT
trap on_signal INT TERM HUP

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

missing_packages() {
  local package
  for package in "$@"; do
    if ! dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed; then
      echo "$package"
    fi
  done
}

# Installs what is missing. The services of the servers' packages are not started: the tests start their own.
install_packages() {
  if ! command -v dpkg-query >/dev/null; then
    echo "no dpkg here: the tools of docs/testing.md are expected to be installed"
    return 0
  fi
  local missing
  mapfile -t missing < <(missing_packages "${build_packages[@]}" "${binding_packages[@]}" "${server_packages[@]}")
  [ "${#missing[@]}" -gt 0 ] || return 0
  if ! as_root true 2>/dev/null; then
    echo "not root and no sudo without a password; missing packages: ${missing[*]}"
    return 0
  fi
  echo "installing ${missing[*]}"
  local policy=/usr/sbin/policy-rc.d made_policy=
  if [ ! -e "$policy" ]; then
    made_policy=1
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
  fi
  local code=0
  {
    run as_root env DEBIAN_FRONTEND=noninteractive apt-get -q update &&
      run as_root env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends "${missing[@]}"
  } >"$package_log" 2>&1 || code=$?
  [ -z "$made_policy" ] || as_root rm -f "$policy"
  if [ "$code" -ne 0 ]; then
    tail -n 40 "$package_log"
    echo "apt-get failed"
    return "$code"
  fi
}

# Debian's meson runs on Debian's python3, whatever else comes first in PATH.
find_meson() {
  if [ -x /usr/bin/meson ]; then echo /usr/bin/meson; else command -v meson; fi
}

# build_tree DIR MESON-OPTION…: configures once, builds always.
build_tree() {
  local dir=$1
  shift
  local meson
  meson=$(find_meson)
  if [ ! -f "$dir/build.ninja" ]; then
    rm -rf "$dir"
    if command -v ccache >/dev/null; then
      export CC="${CC:-ccache gcc}" CXX="${CXX:-ccache g++}"
    fi
    run "$meson" setup "$dir" "$@"
  fi
  run ninja -C "$dir"
}

# run_suites DIR MESON-TEST-ARGUMENT…: the result is in the tree's logs, for summary.py.
run_suites() {
  local dir=$1
  shift
  # Results of an earlier run must not stand in for a program that crashes in this one.
  rm -f "$dir"/meson-logs/testlog* "$dir"/*.xml
  run "${meson_prefix[@]}" "$(find_meson)" test -C "$dir" --no-rebuild --print-errorlogs --no-suite soak "$@" || true
}

# summarise DIR…: failed and skipped tests by name, then the closing line.
summarise() {
  local code=0
  python3 tests/support/summary.py "$@" || code=$?
  summary_printed=1
  return "$code"
}
