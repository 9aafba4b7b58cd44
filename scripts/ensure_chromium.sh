#!/usr/bin/env bash
# Exit 0 with a Chromium on the machine, installed from Debian's packages if need be; otherwise say why not, and exit 1.
set -u
for name in chromium chromium-browser google-chrome; do command -v "$name" >/dev/null && exit 0; done
if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    { apt-get install -y -q chromium || { apt-get update -q && apt-get install -y -q chromium; }; } >/dev/null 2>&1
fi
command -v chromium >/dev/null && exit 0
echo "browser: unavailable: no Chromium here, and Debian's package cannot be installed; make browser was not run" >&2
exit 1
