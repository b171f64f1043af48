#!/usr/bin/env bash
# The script path of the first release: the same as scripts/docker_ensure.sh, which does the work.
exec bash "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/../scripts/docker_ensure.sh" "$@"
