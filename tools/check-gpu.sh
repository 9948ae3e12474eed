#!/bin/sh
# Looks for a driver for the tests on graphics processors; installs a software one only for root,
# through apt. Never fails: without a driver those tests are skipped.
set -eu

has_driver() {
    [ -n "${VK_ICD_FILENAMES:-}${VK_DRIVER_FILES:-}" ] && return 0
    for folder in /usr/share/vulkan/icd.d /usr/local/share/vulkan/icd.d /etc/vulkan/icd.d; do
        for file in "$folder"/*.json; do
            [ -e "$file" ] && return 0
        done
    done
    return 1
}

[ "$(uname)" = Linux ] || exit 0
has_driver && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing a software driver for the tests on graphics processors"
    quick="-o Acquire::Retries=0 -o Acquire::http::Timeout=15 -o Acquire::https::Timeout=15"
    # shellcheck disable=SC2086 # several words
    if apt-get update -q $quick && apt-get install -qy --no-install-recommends $quick \
        mesa-vulkan-drivers libvulkan1; then
        exit 0
    fi
fi
echo "skipping the tests on graphics processors: no Vulkan driver;" \
    "install mesa-vulkan-drivers and libvulkan1 for a software one"
