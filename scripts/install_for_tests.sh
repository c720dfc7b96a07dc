#!/usr/bin/env bash
# Installs what the tests need and this machine lacks, where it may: as root, with apt. Else it says what goes untested.
set -euo pipefail

has() { command -v "$1" >/dev/null; }
has_python() { python3 -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
has_browser() { { has chromium || has google-chrome; } && has chromedriver; }
has_compiler() {
    has cc && python3 -c 'import sys, sysconfig; from pathlib import Path
sys.exit(not Path(sysconfig.get_path("include"), "Python.h").exists())' 2>/dev/null
}
has_postgres() { has initdb || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null; }

missing=()
has make || missing+=(make)
has_python || missing+=(python3 python3-venv)
has_compiler || missing+=(gcc libc6-dev python3-dev)
has_browser || missing+=(chromium chromium-driver)
has_postgres || missing+=(postgresql)
{ has node && has npm; } || missing+=(nodejs npm)
has wrk || missing+=(wrk)
has taskset || missing+=(util-linux)
has strace || missing+=(strace)
[ ${#missing[@]} -gt 0 ] || exit 0

untested="What needs ${missing[*]} is not tested (Debian, Ubuntu: apt install ${missing[*]})."
if [ "$(id -u)" != 0 ] || ! has apt-get; then
    echo "$untested" >&2
    exit 0
fi
if ! has_postgres; then # the tests start a server of their own; Debian's would start one at once
    mkdir -p /etc/postgresql-common
    [ -e /etc/postgresql-common/createcluster.conf ] || echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}" || echo "apt failed. $untested" >&2
