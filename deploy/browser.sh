#!/bin/sh
# Chromium for the browser tests: installed on Debian as root; elsewhere those tests say that they did not run.
set -eu
if command -v chromium >/dev/null; then exit 0; fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq && apt-get install -y -qq chromium >/dev/null
else
    echo "Chromium is missing: browser tests will not run. On Debian: apt-get install chromium" >&2
fi
