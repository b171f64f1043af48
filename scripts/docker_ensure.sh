#!/usr/bin/env bash
# Gives Docker on Ubuntu 24.04 the machine's NVIDIA GPUs: installs the NVIDIA Container Toolkit from NVIDIA's apt
# repository and makes `nvidia` Docker's default runtime. Never touches the driver; a second run changes nothing.
# Run by hand, once per machine. How-to: docs/docker-gpu.md.
# shellcheck disable=SC2317,SC2329 # look_* and finish are called by name
set -euo pipefail
umask 022
export LC_ALL=C.UTF-8

readonly ROOT=${DOCKER_ENSURE_ROOT:-} # every file is read and written below it: the tests' fake root, else empty
readonly KEY=/usr/share/keyrings/libnvidia-container.gpg
readonly LIST=/etc/apt/sources.list.d/libnvidia-container.list
readonly CONFIG=/etc/docker/daemon.json
readonly REPOSITORY=https://nvidia.github.io/libnvidia-container
readonly ENTRY="deb [signed-by=$KEY] $REPOSITORY/stable/deb/\$(ARCH) /"
readonly PACKAGE=nvidia-container-toolkit
readonly IMAGE=nvidia/cuda:12.8.0-base-ubuntu24.04
readonly GUIDE=https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/install-guide.html
readonly ANSWER_S=30    # a busy daemon or GPU takes seconds to answer; a lost GPU never does
readonly FETCH=(--retry 2 --connect-timeout 15 --max-time 60) # seconds; the key has 3 kB
readonly APT_LOCK_S=120 # unattended upgrades hold apt's lock for a minute or two after boot
READER=$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]:-$0}")")/docker_files.py
readonly POINTS=(system driver docker daemon list key toolkit config running)
FINGERPRINT=C95B321B61E88C1809C4F759DDCAE044F796ECB0 # of the key that signs the repository
DRY=0 INSTALLED=0 WRITTEN=0 RESTARTED=0
PLACED=()    # target, backup, target, backup …: what an error takes back
LEFTOVERS=() # temporary files and folders
SEEN='' REMEDY='' KEYRING='' MERGED=''

say() { printf '%s\n' "$*"; }
fail() { # what is wrong, [what to do]
  printf 'docker_ensure: %s\n' "$1" >&2
  [[ -z ${2:-} ]] || printf '  → %s\n' "$2" >&2
  exit 1
}
run() { # says a command and runs it
  printf '+%s\n' "$(printf ' %q' "$@")"
  ((DRY)) || "$@" </dev/null
}
reader() { python3 -I "$READER" "$@"; }
usage() {
  cat <<TEXT
usage: sudo bash docker_ensure.sh [--check | --dry-run] [--fingerprint=HEX]
  (nothing)          does what is missing, restarts Docker if something changed, tries a container
  --check            says of each point whether it is there; changes nothing; exit code 0 (all is there) or 1
  --dry-run          prints every command and every file it would write; changes nothing
  --fingerprint=HEX  accepts this key of NVIDIA's repository instead of $FINGERPRINT
It writes $KEY, $LIST and $CONFIG.
TEXT
}

# look_* change nothing. 0: it is there; 1: this script can see to it; 2: only you can. They set SEEN and REMEDY.
release() { sed -nE "s/^$1=[\"']?([^\"']*)[\"']?\$/\1/p" "$ROOT/etc/os-release" 2>/dev/null || true; }
look_system() {
  SEEN=$(release PRETTY_NAME)
  [[ "$(release ID) $(release VERSION_ID)" != 'ubuntu 24.04' ]] || return 0
  SEEN="this is ${SEEN:-a system without a name}; only Ubuntu 24.04 is supported"
  REMEDY="follow $GUIDE, then: nvidia-ctk runtime configure --runtime=docker --set-as-default && systemctl restart docker"
  return 2
}
look_driver() {
  local said
  SEEN='there is no NVIDIA driver: nvidia-smi is not installed'
  REMEDY='sudo ubuntu-drivers install && sudo reboot (this script never touches the driver)'
  command -v nvidia-smi >/dev/null || return 2
  if said=$(timeout "$ANSWER_S" nvidia-smi -L 2>&1) && [[ $said == 'GPU '* ]]; then
    SEEN="$(grep -c '^GPU ' <<<"$said") GPU(s), the first: ${said%% (UUID*}"
    return 0
  fi
  said=${said:-no answer within $ANSWER_S s} SEEN="nvidia-smi fails: ${said%%$'\n'*}"
  REMEDY='reboot if the driver has just been installed or updated; else see: sudo dmesg | grep -iE "nvrm|nvidia"'
  return 2
}
look_docker() {
  SEEN='Docker is not installed' REMEDY='sudo apt-get install -y docker.io, or see https://docs.docker.com/engine/install/'
  command -v docker >/dev/null || return 2
  SEEN=$(docker --version 2>/dev/null) || SEEN=docker
}
ask_docker() { timeout "$ANSWER_S" docker info --format "$1"; }
look_daemon() {
  local said
  if ! said=$(ask_docker '{{.ServerVersion}}' 2>&1); then
    SEEN="Docker's daemon does not answer: $(sed '/^$/d' <<<"$said" | tail -n 1)"
    REMEDY='sudo systemctl enable --now docker; its log: journalctl -u docker -n 50'
    [[ $said != *'permission denied'* ]] || REMEDY='run this with sudo'
    return 2
  fi
  SEEN="daemon ${said##*$'\n'}"
  ! systemctl is-active --quiet docker 2>/dev/null || return 0
  SEEN='Docker answers, but docker.service does not run it (snap, rootless, Desktop?)'
  REMEDY='such a Docker reads another daemon.json; install docker.io or docker-ce instead'
  return 2
}
look_list() {
  local entries keyrings files
  SEEN="no apt entry for $REPOSITORY" KEYRING=$KEY
  entries=$(reader entries "$ROOT/") || { SEEN="apt's entries cannot be read: $entries" REMEDY='look at that file' && return 2; }
  [[ -n $entries ]] || return 1
  keyrings=$(cut -d'|' -f2 <<<"$entries" | sort -u)
  files=$(cut -d'|' -f1 <<<"$entries" | sort -u | paste -sd' ')
  SEEN=${files//"$ROOT/etc"//etc} KEYRING=${keyrings%%$'\n'*}
  [[ $keyrings == *$'\n'* ]] || return 0
  SEEN="apt has this repository more than once, with different keys, which it refuses: $SEEN"
  REMEDY='remove all of these entries but one'
  return 2
}
look_key() { # after look_list
  SEEN=${KEYRING:-the key is in the entry, or among those of apt}
  [[ $KEYRING == /* ]] || return 0
  case $(od -An -tx1 -N1 "$ROOT${KEYRING%%,*}" 2>/dev/null) in
    ' 98' | ' 99' | ' c6') return 0 ;;            # how a binary OpenPGP public key begins
    ' 2d') [[ $KEYRING != *.asc ]] || return 0 ;; # armour, which apt takes from such files alone
  esac
  SEEN="there is no key in $KEYRING"
  [[ $KEYRING != "$KEY" ]] || return 1
  REMEDY="an apt entry names that file; remove the entry: grep -r $KEYRING /etc/apt/sources.list.d"
  return 2
}
look_toolkit() {
  local said
  said=$(dpkg-query -W -f='${db:Status-Status} ${Version}' "$PACKAGE" 2>/dev/null) || true
  SEEN="$PACKAGE ${said#installed }"
  [[ $said != 'installed '* ]] || return 0
  SEEN="$PACKAGE is not installed"
  return 1
}
look_config() {
  local said code=0
  SEEN=$CONFIG MERGED=''
  said=$(reader merge "$ROOT$CONFIG") || code=$?
  case $code in
    0) return 0 ;;
    10) SEEN="$CONFIG lacks ${said%%$'\n'*}" MERGED=${said#*$'\n'} && return 1 ;;
  esac
  SEEN="$CONFIG cannot be merged: $said" REMEDY='put it right first; it has not been touched'
  [[ $said != *'Permission denied'* ]] || REMEDY='run this with sudo'
  return 2
}
look_running() {
  local said
  SEEN='Docker does not answer'
  said=$(ask_docker '{{.DefaultRuntime}}' 2>/dev/null) || return 1
  SEEN="Docker's default runtime is $said"
  [[ $said == nvidia ]]
}

survey() { # MODE; check looks at everything, ensure stops at what only the owner can put right
  local point code missing=0
  for point in "${POINTS[@]}"; do
    code=0 REMEDY=''
    "look_$point" || code=$?
    ((code < 2)) || [[ $1 == check ]] || fail "$SEEN" "$REMEDY"
    printf '%-8s %-8s %s\n' "$( ((code)) && echo missing || echo ok)" "$point" "$SEEN"
    ((code == 0)) || missing=$((missing + 1))
    ((code < 2)) || printf '                  → %s\n' "$REMEDY"
  done
  say "$((${#POINTS[@]} - missing)) of ${#POINTS[@]} are there"
  ((!missing))
}

validate() { # a daemon.json that dockerd refuses would end a running Docker at its restart
  local said
  ((!DRY)) && [[ -n $MERGED ]] || return 0
  dockerd --validate --config-file <(echo '{}') >/dev/null 2>&1 || return 0 # too old, or refuses everything here
  said=$(dockerd --validate --config-file <(echo "$MERGED") 2>&1) ||
    fail "dockerd refuses $CONFIG: ${said#*" /dev/fd/"*": "}" 'put it right first; nothing has been changed'
}

# Writes stdin to a file in one step, with the mode and owner of the file it replaces; that one stays beside it as .bak.
place() {
  local target backup='' temp n=''
  ((!DRY)) || { say "would write $1:" && sed 's/^/    /' && return; }
  target=$(realpath -m -- "$ROOT$1") # what a symlink points to; the link stays
  { mkdir -p -- "${target%/*}" && temp=$(mktemp "${target%/*}/.docker_ensure.XXXXXX"); } || fail "cannot write $1"
  LEFTOVERS+=("$temp")
  { cat >"$temp" && chmod 0644 "$temp"; } || fail "cannot write $1"
  if [[ -e $target ]]; then
    { chown --reference="$target" "$temp" && chmod --reference="$target" "$temp"; } || fail "cannot write $1"
    while backup=$target${n:+.$n}.bak && [[ -e $backup || -L $backup ]]; do n=$((n + 1)); done
    ln -- "$target" "$backup" 2>/dev/null || cp -p -- "$target" "$backup" || fail "cannot keep a copy of $1"
  fi
  PLACED+=("$target" "$backup")
  { sync -- "$temp" && mv -f -- "$temp" "$target"; } || fail "cannot write $1"
  say "wrote $1${backup:+ (before: ${backup##*/})}"
}

finish() { # on every way out: after an error the files are as they were
  local code=$? i
  trap '' INT TERM HUP
  set +e
  for ((i = ${#PLACED[@]} - 2; i >= 0; i -= 2)); do
    if [[ -n ${PLACED[i + 1]} ]]; then mv -f -- "${PLACED[i + 1]}" "${PLACED[i]}"; else rm -f -- "${PLACED[i]}"; fi
    say "took back ${PLACED[i]#"$ROOT"}" >&2
  done
  if ((${#PLACED[@]} && RESTARTED)); then
    systemctl reset-failed docker # one that failed several times is not started again without this
    systemctl restart docker && say 'Docker runs again as before' >&2
  fi
  rm -rf -- "${LEFTOVERS[@]}"
  exit "$code"
}

apt_get() { run env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 apt-get -o "DPkg::Lock::Timeout=$APT_LOCK_S" "$@"; }

fetch_key() {
  local folder=/tmp/docker_ensure.XXXXXX found
  ((DRY)) || folder=$(mktemp -d) || fail 'cannot make a temporary folder'
  ((DRY)) || LEFTOVERS+=("$folder")
  if ! command -v curl >/dev/null || ! command -v gpg >/dev/null; then
    apt_get update || fail 'apt-get update failed (see above)' 'is the network up? is another entry of apt broken?'
    apt_get install -y --no-install-recommends ca-certificates curl gnupg || fail 'cannot install curl, gnupg'
  fi
  run curl -fsSL --proto '=https' "${FETCH[@]}" -o "$folder/key.asc" "$REPOSITORY/gpgkey" ||
    fail "cannot fetch $REPOSITORY/gpgkey" 'run it again where that can be reached; sudo -E keeps https_proxy'
  run gpg --homedir "$folder" --batch --dearmor -o "$folder/key.gpg" "$folder/key.asc" || fail 'what came is no OpenPGP key'
  ((!DRY)) || { say "would write $KEY: that key, if its fingerprint is $FINGERPRINT" && return; }
  found=$(gpg --homedir "$folder" --batch --show-keys --with-colons "$folder/key.gpg" 2>/dev/null |
    awk -F: '$1 == "pub" { own = 1 } $1 == "fpr" && own { print $10; own = 0 }' | paste -sd,) || true
  [[ $found == "$FINGERPRINT" ]] || fail "the key at $REPOSITORY/gpgkey is ${found:-unreadable}, not $FINGERPRINT" \
    'if NVIDIA has announced a new key, name it: --fingerprint=HEX'
  place "$KEY" <"$folder/key.gpg"
}

touches_driver() { # the packages of a driver, kernel or CUDA that the installation would install, upgrade or remove
  apt-get install -s --no-install-recommends "$PACKAGE" 2>/dev/null | awk '/^(Inst|Remv) / { print $2 }' |
    grep -E '^((lib)?(nvidia|cuda)|linux-)' | grep -vE '^(lib)?nvidia-container'
}

ensure_toolkit() {
  local list=0 key=0 touched
  look_list || list=$?
  look_key || key=$?
  ((key == 0)) || fetch_key
  ((list == 0)) || place "$LIST" <<<"$ENTRY"
  if ! look_toolkit; then
    apt_get update || fail 'apt-get update failed (see above)' 'is the network up? is another entry of apt broken?'
    if ((!DRY)) && touched=$(touches_driver); then
      fail "installing $PACKAGE would touch the driver: ${touched//$'\n'/ }" "see: apt-get install -s $PACKAGE"
    fi
    apt_get install -y --no-install-recommends --no-remove "$PACKAGE" ||
      fail "cannot install $PACKAGE (see above)" 'is the network up? run it again when it is'
    INSTALLED=1
  fi
  PLACED=()
}

ensure_config() {
  look_config && return
  [[ -n $MERGED ]] || fail "$SEEN" "$REMEDY"
  place "$CONFIG" <<<"$MERGED"
  WRITTEN=1
}

ensure_running() { # Docker learns of a new runtime, and of a new toolkit, only when it starts
  if ((!INSTALLED && !WRITTEN)) && look_running; then return; fi
  say "Docker restarts: $(docker ps -q | wc -l) running container(s) stop; those with a restart policy come back"
  RESTARTED=1
  run systemctl restart docker || fail 'Docker did not restart' 'why: journalctl -u docker -n 50'
  ((DRY)) || look_running || fail "Docker has restarted, but $SEEN" 'systemctl cat docker: does it overrule daemon.json?'
  PLACED=()
}

verify() {
  say 'verification:' && say '+ docker info | grep -i runtime'
  ((DRY)) || docker info 2>/dev/null | grep -i runtime || fail 'docker info names no runtime'
  if ((!RESTARTED)) && ! docker image inspect "$IMAGE" >/dev/null 2>&1; then
    say "not run, as it would fetch its image: docker run --rm --gpus all $IMAGE nvidia-smi"
    return
  fi
  run docker run --rm --gpus all "$IMAGE" nvidia-smi ||
    fail 'Docker is set up, but no container reached the GPU (see above)' 'symptoms and cures: docs/docker-gpu.md'
}

main() {
  local mode=ensure word
  for word; do
    case $word in
      --check) mode=check ;;
      --dry-run) DRY=1 ;;
      --fingerprint=*) FINGERPRINT=${word#*=} ;;
      -h | --help) usage && exit 0 ;;
      *) printf 'docker_ensure: unknown argument: %s\n' "$word" >&2 && usage >&2 && exit 2 ;;
    esac
  done
  { [[ -f $READER ]] && command -v python3 >/dev/null; } || fail "python3 and $READER are needed"
  export DOCKER_HOST=unix:///var/run/docker.sock # this machine's daemon, whatever context is set
  [[ $mode != check ]] || { survey check && exit 0 || exit 1; }
  ((DRY)) || [[ $(id -u) == 0 ]] || fail 'only root can do this' "sudo bash $0"
  trap finish EXIT
  trap 'exit 129' HUP && trap 'exit 130' INT && trap 'exit 143' TERM
  survey ensure || validate
  ensure_toolkit
  ensure_config
  ensure_running
  verify
  ((DRY)) || say 'done'
}

main "$@"; exit
