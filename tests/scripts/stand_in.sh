#!/usr/bin/env bash
# Stands in for the commands that docker_ensure.sh runs, under each one's name: notes the call in $STAND_IN/calls and
# answers as a small Ubuntu machine would. Files in $STAND_IN say what it has (installed, image, default-runtime) and what
# goes wrong; `kill`, `killed` and `term` hold "NAME N": at (after, for killed) the N-th call of NAME the script gets
# SIGKILL, or SIGTERM.
set -euo pipefail
name=${0##*/}
printf '%s\n' "$name $*" >>"$STAND_IN/calls"
nth="$name $(grep -c "^$name " "$STAND_IN/calls")"
has() { [[ -e $STAND_IN/$1 ]]; }
is() { [[ $(cat "$STAND_IN/$1" 2>/dev/null) == "$2" ]]; }
die() { printf '%s\n' "$2" >&2 && exit "$1"; }

! is kill "$nth" || kill -9 0
! is term "$nth" || kill -TERM "$PPID"
if is killed "$nth"; then
  rm "$STAND_IN/killed"
  "$0" "$@" || true
  kill -9 0
fi

restart() {
  config=$DOCKER_ENSURE_ROOT/etc/docker/daemon.json
  if has restart-fails || { has restart-fails-with-nvidia && grep -q nvidia "$config"; }; then
    die 1 'Job for docker.service failed because the control process exited with error code.'
  fi
  if ! has unit-overrules && grep -q '"default-runtime" *: *"nvidia"' "$config"; then
    echo nvidia >"$STAND_IN/default-runtime"
  else
    echo runc >"$STAND_IN/default-runtime"
  fi
}

case "$name $*" in
  'id -u') cat "$STAND_IN/uid" ;;
  'nvidia-smi -L')
    ! has driver-fails || die 9 "$(cat "$STAND_IN/driver-fails")"
    echo 'GPU 0: NVIDIA H200 (UUID: GPU-00000000-0000-0000-0000-000000000000)'
    echo 'GPU 1: NVIDIA H200 (UUID: GPU-00000000-0000-0000-0000-000000000001)'
    ;;
  'docker --version') echo 'Docker version 28.2.2, build e6534b4' ;;
  'docker info'*)
    echo 'WARNING: No swap limit support' >&2
    ! has daemon-down || die 1 "$(cat "$STAND_IN/daemon-down")"
    case $* in
      *ServerVersion*) echo 28.2.2 ;;
      *DefaultRuntime*) cat "$STAND_IN/default-runtime" ;;
      *) printf ' Runtimes: io.containerd.runc.v2 nvidia runc\n Default Runtime: %s\n' "$(cat "$STAND_IN/default-runtime")" ;;
    esac
    ;;
  'docker ps -q') printf '%s\n' 0123456789ab ba9876543210 ;;
  'docker image inspect '*) has image ;;
  'docker run '*)
    ! has run-fails || die 125 'could not select device driver "" with capabilities: [[gpu]]'
    touch "$STAND_IN/image"
    echo '| NVIDIA-SMI 570.133.20 |'
    ;;
  'dockerd --validate --config-file '*)
    ! has dockerd-refuses-all || die 1 'unknown flag: --validate'
    ! has dockerd-refuses || ! grep -q debug "${!#}" || die 1 "unable to configure the Docker daemon with file ${!#}: $(cat "$STAND_IN/dockerd-refuses")"
    ;;
  'systemctl is-active --quiet docker') ! has daemon-down && ! has snap ;;
  'systemctl restart docker') restart ;;
  'systemctl reset-failed docker') ;;
  'dpkg-query '*) if has installed; then printf 'installed 1.17.8-1'; else die 1 'dpkg-query: no packages found'; fi ;;
  'apt-get '*' update')
    ! has update-fails || die 100 'E: The repository ... InRelease is not signed.'
    ! has offline || echo 'W: Some index files failed to download. They have been ignored, or old ones used instead.' >&2
    ;;
  'apt-get install -s '*) cat "$STAND_IN/plan" ;;
  'apt-get '*' install '*)
    ! has offline || die 100 "E: Unable to locate package ${!#}"
    case ${!#} in
      nvidia-container-toolkit) touch "$STAND_IN/installed" ;;
      gnupg) cp "$0" "${0%/*}/curl" && cp "$0" "${0%/*}/gpg" ;;
    esac
    ;;
  'curl '*)
    ! has offline || die 6 'curl: (6) Could not resolve host: nvidia.github.io'
    while [[ $1 != -o ]]; do shift; done
    cp "$STAND_IN/served-key" "$2"
    ;;
  'gpg '*' --dearmor '*)
    [[ $(head -c 10 "${!#}") == '-----BEGIN' ]] || die 2 'gpg: no valid OpenPGP data found.'
    while [[ $1 != -o ]]; do shift; done
    { printf '\x99' && cat "$3"; } >"$2"
    ;;
  'gpg '*' --show-keys '*) grep -a '^fpr' "${!#}" | sed 's/^fpr/pub\nfpr/;$a sub\nfpr:::::::::0000:' ;;
  'mktemp '* | 'sync '* | 'mv '* | 'ln '*)
    [[ $* != *"$DOCKER_ENSURE_ROOT"* ]] || ! is read-only "$name" || die 1 "$name: Read-only file system"
    command -p "$name" "$@"
    ;;
  mktemp*) command -p mktemp "$@" ;;
  *) die 127 "nobody foresaw: $name $*" ;;
esac
