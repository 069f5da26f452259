#!/bin/sh
# Installs, upgrades or removes the Drover agent on Debian, Ubuntu and JetPack. Running it again with the same arguments changes nothing.
set -eu
umask 022

usage() {
  cat <<'END'
Usage: install.sh [install] --bundle FILE [options]
       install.sh uninstall [--purge] [--yes] [--dry-run] [--root DIR]

  --bundle FILE           the agent, as bundle.mjs packed it
  --sha256 HEX            its digest (default: what FILE.sha256 says)
  --release-root FILE     root.json of the release repository (drover keys export); kept as /etc/drover/root.json
  --control-plane URL     enrol there, with
  --token TOKEN           a one-time claim token (or in the environment variable DROVER_TOKEN, which other users can't see)
  --ca FILE|PIN           whom the control plane proves itself by, where the token pins nobody: a file of authorities (PEM), kept as
                          /etc/drover/ca.crt, or the fingerprint of its own authority as `drover ca show` prints it
  --proxy URL             HTTP proxy to the outside: http://[USER:PASSWORD@]HOST:PORT
  --no-proxy NAMES        names that are reached without it, separated by commas
  --node PATH             the Node.js to use (default: /opt/drover/node/bin/node, /usr/bin/node, /usr/local/bin/node, PATH)
  --dry-run               say what would be done, change nothing
  --root DIR              write everything under DIR, for an image: no user, no service, no enrolment

uninstall keeps /etc/drover and /var/lib/drover (the device's identity, models, journal); --purge removes them and the user too.
Example: sudo ./install.sh --bundle drover-agent-0.1.0-linux-arm64-abi115.tar.gz --release-root root.json \
           --control-plane http://control-plane:7070 --token TOKEN
END
}

say() { printf '%s\n' "$*"; }
warn() { printf 'Note: %s\n' "$*" >&2; }
# die WHAT REMEDY
die() {
  printf 'Error: %s\n       %s\n' "$1" "$2" >&2
  exit 1
}
misused() {
  printf 'Error: %s\n       See install.sh --help.\n' "$1" >&2
  exit 2
}

command=install purge='' assume_yes='' dry_run='' root=''
bundle='' sha256='' release_root='' control_plane='' token="${DROVER_TOKEN:-}" wanted_node='' ca='' proxy='' no_proxy_names=''
case "${1:-}" in
install | uninstall)
  command=$1
  shift
  ;;
esac
while [ $# -gt 0 ]; do
  case "$1" in
  --purge) purge=1 ;;
  --yes) assume_yes=1 ;;
  --dry-run) dry_run=1 ;;
  -h | --help)
    usage
    exit 0
    ;;
  --bundle | --sha256 | --release-root | --control-plane | --token | --ca | --proxy | --no-proxy | --node | --root)
    [ -n "${2:-}" ] || misused "$1 needs a value."
    case "$1" in
    --bundle) bundle=$2 ;;
    --sha256) sha256=$2 ;;
    --release-root) release_root=$2 ;;
    --control-plane) control_plane=$2 ;;
    --token) token=$2 ;;
    --ca) ca=$2 ;;
    --proxy) proxy=$2 ;;
    --no-proxy) no_proxy_names=$2 ;;
    --node) wanted_node=$2 ;;
    --root) root=${2%/} ;;
    esac
    shift
    ;;
  *) misused "Unknown argument: $1" ;;
  esac
  shift
done

opt="$root/opt/drover" etc="$root/etc/drover" data="$root/var/lib/drover"
unit="$root/etc/systemd/system/drover-agent.service"
gpu_drop_in="$unit.d/10-gpu.conf"
shortcut="$root/usr/local/bin/drover-agent"

# act COMMAND…: does it, or says so in a dry run.
act() {
  if [ -n "$dry_run" ]; then say "would run: $*"; else "$@"; fi
}
# on_host COMMAND…: what concerns the running system, so not for an image.
on_host() {
  if [ -z "$root" ]; then act "$@"; fi
}
# put FILE MODE: standard input becomes FILE, atomically.
put() {
  if [ -n "$dry_run" ]; then
    say "would write: $1"
    cat >/dev/null
    return
  fi
  mkdir -p "$(dirname "$1")"
  # Nobody reads it before it has its mode.
  (umask 077 && cat >"$1.new")
  chmod "$2" "$1.new"
  mv -f "$1.new" "$1"
}
value_of() { sed -n "s/^$1=//p" "$2" | head -n 1 | tr -d '"'; }

check_system() {
  if [ -z "$root" ]; then
    [ -n "$dry_run" ] || [ "$(id -u)" = 0 ] || die 'This needs root.' "Run it with sudo, or with --dry-run to see what it would do."
    [ -n "$dry_run" ] || [ -d /run/systemd/system ] || die 'systemd does not run here.' 'Use --root DIR to build an image, or a container instead.'
  elif [ -z "$dry_run" ]; then
    mkdir -p "$root" || die "$root can't be made." 'Give --root a folder that you may write to.'
  fi
}

inspect() {
  case "$(uname -m)" in
  x86_64) arch=x64 ;;
  aarch64 | arm64) arch=arm64 ;;
  *) die "$(uname -m) is no processor that the agent runs on." 'It needs arm64 or amd64 (64 bits); check that the system is not a 32-bit one.' ;;
  esac
  system=unknown
  if [ -r "$root/etc/os-release" ]; then
    system=$(value_of PRETTY_NAME "$root/etc/os-release")
    case " $(value_of ID "$root/etc/os-release") $(value_of ID_LIKE "$root/etc/os-release") " in
    *' debian '* | *' ubuntu '*) ;;
    *) warn "$system is not among the systems tried (Debian, Ubuntu, JetPack); going on." ;;
    esac
  fi
  say "System:  $system, $arch"
  if [ -r "$root/etc/nv_tegra_release" ]; then
    l4t=$(sed -n 's/^# R\([0-9]*\).*REVISION: \([0-9.]*\).*/\1.\2/p' "$root/etc/nv_tegra_release" | head -n 1)
    case "$l4t" in
    32.*) die "This is L4T R$l4t (JetPack 4): its C library is older than Node.js 20 needs." 'Upgrade the device to JetPack 5 or later.' ;;
    34.* | 35.*) jetpack='JetPack 5' ;;
    36.*) jetpack='JetPack 6' ;;
    *) jetpack='a JetPack that this script does not know' ;;
    esac
    say "Jetson:  L4T R$l4t ($jetpack); ONNX Runtime uses its GPU only when built from source (docs/operations.md)"
  fi
  gpu_nodes=$(find "$root/dev" -maxdepth 3 \( -name 'nvidia*' -o -name 'nvmap' -o -name 'nvhost-*' -o -name 'nvsciipc' -o -name 'host1x-fence' \
    -o -path '*/nvgpu/*' -o -path '*/dri/renderD*' \) ! -type d 2>/dev/null | sed "s|^$root||" | sort)
  say "GPU:     $(printf '%s' "${gpu_nodes:-no device nodes found; inference runs on the CPU}" | tr '\n' ' ')"
  if [ -z "$root" ] && [ "$(date +%Y)" -lt 2025 ]; then
    warn "The clock says $(date +%F), which can't be. The agent serves all the same, but set the clock before enrolling over TLS."
  else
    say "Clock:   $(date -u +%FT%TZ)"
  fi
}

# Why PATH can't run this bundle; nothing when it can.
node_fault() {
  [ -x "$1" ] || { say 'is no executable file' && return; }
  facts=$("$1" -p 'const [a, b] = process.versions.node.split(".").map(Number); [process.versions.node, process.versions.modules, process.arch, a > 20 || (a === 20 && b >= 19) ? "new" : "old"].join(" ")' 2>/dev/null) || { say 'does not run' && return; }
  read -r node_version node_abi node_arch node_age <<END
$facts
END
  if [ "$node_age" = old ]; then
    say "is version $node_version, older than 20.19"
  elif [ "$node_arch" != "$arch" ]; then
    say "runs as $node_arch, this system is $arch"
  elif [ "$node_abi" != "$bundle_abi" ]; then
    say "is version $node_version with ABI $node_abi; the bundle was made for ABI $bundle_abi"
  elif [ -z "$root" ]; then
    # ProtectHome in the unit hides these folders from the service.
    case "$(readlink -f "$1")" in /home/* | /root/* | /run/user/*) say 'lies in a home folder, where the service may not look' ;; esac
  fi
}

choose_node() {
  node='' refused=''
  if [ -n "$wanted_node" ]; then
    set -- "$(readlink -f "$wanted_node")"
  else
    set -- "$opt/node/bin/node" "$opt/node" /usr/bin/node /usr/local/bin/node "$(command -v node || :)"
  fi
  for candidate in "$@"; do
    [ -n "$wanted_node" ] || [ -f "$candidate" ] || continue
    fault=$(node_fault "$candidate")
    if [ -z "$fault" ]; then
      node=$candidate
      break
    fi
    refused="$refused
       $candidate $fault;"
  done
  [ -n "$node" ] || die "No Node.js here fits the bundle.$refused" "Unpack Node.js (ABI $bundle_abi: 115 is Node 20, 127 is 22, 137 is 24) for linux-$arch to /opt/drover/node, or give --node PATH."
  say "Node.js: $node ($("$node" --version))"
  # As the device will see it, where it lies inside the image.
  case "$node" in "$root"/*) node=/${node#"$root"/} ;; esac
}

check_bundle() {
  [ -n "$bundle" ] || misused 'install needs --bundle FILE.'
  [ -r "$bundle" ] || die "$bundle can't be read." 'Check the path and its permissions.'
  actual=$(sha256sum <"$bundle" | cut -d ' ' -f 1)
  if [ -z "$sha256" ] && [ -r "$bundle.sha256" ]; then sha256=$(cut -d ' ' -f 1 <"$bundle.sha256"); fi
  if [ -z "$sha256" ]; then
    warn "Neither --sha256 nor $bundle.sha256 is there: the bundle goes unchecked."
  elif [ "$sha256" != "$actual" ]; then
    die "$bundle has the digest $actual, not $sha256." 'It was damaged or exchanged on its way. Fetch it again; nothing was changed here.'
  fi
  folder=$(tar -tzf "$bundle" 2>/dev/null | sed -n '1s|/.*||p')
  bundle_facts=$(tar -xzOf "$bundle" "$folder/BUNDLE" 2>/dev/null) || die "$bundle is no agent bundle." 'Give the file that bundle.mjs wrote.'
  fact() { printf '%s\n' "$bundle_facts" | sed -n "s/^$1=//p"; }
  version=$(fact version) bundle_abi=$(fact nodeAbi)
  case "$version" in '' | *[!0-9A-Za-z.+-]*) die "$bundle has no proper version." 'Make the bundle again.' ;; esac
  [ "$folder" = "drover-agent-$version" ] || die "$bundle is no agent bundle." 'Give the file that bundle.mjs wrote.'
  [ "$(fact os)-$(fact arch)" = "linux-$arch" ] || die "The bundle is for $(fact os)-$(fact arch), this is linux-$arch." 'Make or fetch a bundle for this kind of device.'
  writable=$opt
  while [ ! -d "$writable" ]; do writable=$(dirname "$writable"); done
  free_mib=$(df -Pk "$writable" | awk 'NR == 2 { print int($4 / 1024) }')
  say "Disk:    $free_mib MiB free, $(fact installMiB) MiB needed"
  # As much again for a first model and the journal.
  [ "$free_mib" -gt $(($(fact installMiB) * 2)) ] || die "Only $free_mib MiB are free; $(($(fact installMiB) * 2)) MiB are needed." 'Make room and run this again.'
}

make_user() {
  [ -z "$root" ] || return 0
  if ! id drover >/dev/null 2>&1; then
    act useradd --system --user-group --home-dir /var/lib/drover --no-create-home --shell /usr/sbin/nologin drover
  fi
  # GPU nodes belong to these groups. In the unit (SupplementaryGroups) a group that does not exist would keep the service from starting.
  for group in video render; do
    if getent group "$group" >/dev/null; then act usermod --append --groups "$group" drover; fi
  done
}

incoming=''
trap '[ -z "$incoming" ] || rm -rf "$incoming"' EXIT
trap 'exit 130' INT TERM

place_bundle() {
  slot="$version-$(printf %.12s "$actual")"
  target="$opt/versions/$slot"
  previous=$(readlink "$opt/versions/factory" 2>/dev/null || :)
  if [ "$(cat "$target/.bundle-sha256" 2>/dev/null)" = "$actual" ]; then
    say "Agent $version is in place."
  elif [ -n "$dry_run" ]; then
    say "would unpack: $bundle to $target"
  else
    mkdir -p "$opt/versions"
    incoming="$opt/.incoming-$$"
    mkdir "$incoming"
    tar -xzf "$bundle" -C "$incoming" --no-same-owner || die "$bundle could not be unpacked." 'See the line above; the agent that runs now is untouched.'
    printf '%s\n' "$actual" >"$incoming/$folder/.bundle-sha256"
    # All of it must be on the disk before the switch: after a power cut the link may not point at empty files.
    sync
    if [ -e "$target" ]; then mv "$target" "$incoming/replaced"; fi
    mv "$incoming/$folder" "$target"
    rm -rf "$incoming"
    incoming=''
    changed=1
  fi
  place_launcher
  # The launcher takes a changed link as the operator's word, whatever version was delivered since (agent/src/launcher).
  switch_link "$slot" "$opt/versions/factory"
  switch_link /opt/drover/launcher/drover-agent "$shortcut"
  # The version before stays, to go back to by hand; older ones go.
  for old in "$opt"/versions/*-*; do
    case "${old##*/}" in "$slot" | "$previous") ;; *) [ ! -d "$old" ] || act rm -rf "$old" ;; esac
  done
}

place_launcher() {
  for file in launcher-main.mjs drover-agent; do
    mode=644
    [ "$file" = launcher-main.mjs ] || mode=755
    if [ -n "$dry_run" ]; then
      say "would write: $opt/launcher/$file"
    elif ! cmp -s "$target/launcher/$file" "$opt/launcher/$file"; then
      put "$opt/launcher/$file" "$mode" <"$target/launcher/$file"
      changed=1
    fi
  done
  switch_link "$node" "$opt/launcher/node"
}

# switch_link TARGET LINK: atomic, unlike ln -sf.
switch_link() {
  [ "$(readlink "$2" 2>/dev/null)" != "$1" ] || return 0
  act mkdir -p "$(dirname "$2")"
  act ln -sfn "$1" "$2.new"
  act mv -fT "$2.new" "$2"
  changed=1
}

# write_if_new FILE CONTENT
write_if_new() {
  [ "$(cat "$1" 2>/dev/null)" != "$2" ] || return 0
  say "$2" | put "$1" 644
  changed=1
}

# What --proxy and --no-proxy add to agent.json; characters that would end a text of JSON were refused.
proxy_settings() {
  [ -n "$proxy" ] || return 0
  printf ',\n  "proxy": { "url": "%s"' "$proxy"
  if [ -n "$no_proxy_names" ]; then printf ', %s' "$(proxy_exceptions)"; fi
  printf ' }'
}
proxy_exceptions() { printf '"exceptions": ["%s"]' "$(say "$no_proxy_names" | sed 's/,/", "/g')"; }
# names_in FILE TEXT: whether TEXT is in FILE, however either is spaced.
names_in() { tr -d '[:space:]' <"$1" | grep -qF -- "$(printf '%s' "$2" | tr -d '[:space:]')"; }

configure() {
  write_if_new "$unit" "$(tar -xzOf "$bundle" "$folder/systemd/drover-agent.service")"
  if [ -n "$gpu_nodes" ]; then
    write_if_new "$gpu_drop_in" "# Written by install.sh from the device nodes that it found.
[Service]
$(say "$gpu_nodes" | sed 's/.*/DeviceAllow=& rw/')"
  elif [ -e "$gpu_drop_in" ]; then
    act rm -f "$gpu_drop_in"
    changed=1
  fi
  # Never overwritten: it is the operator's.
  if [ ! -e "$etc/agent.json" ]; then
    # The password of a proxy is for the agent alone to read.
    case "$proxy" in *@*) mode=640 ;; *) mode=644 ;; esac
    printf '{\n  "dataDir": "/var/lib/drover"%s\n}\n' "$(proxy_settings)" | put "$etc/agent.json" "$mode"
    [ "$mode" = 644 ] || on_host chgrp drover "$etc/agent.json"
  elif [ -n "$proxy" ] && ! names_in "$etc/agent.json" "\"$proxy\""; then
    die "$etc/agent.json is there already and does not name this proxy." 'It is yours, so it is not changed here: set "proxy" in it ({"url": …, "exceptions": […]}), or remove it.'
  elif [ -n "$no_proxy_names" ] && ! names_in "$etc/agent.json" "$(proxy_exceptions)"; then
    die "$etc/agent.json is there already and has other exceptions from the proxy than --no-proxy." "It is yours, so it is not changed here: set them in its \"proxy\" ($(proxy_exceptions)), or remove it."
  fi
  if [ -n "$ca_file" ]; then write_if_new "$etc/ca.crt" "$(cat "$ca_file")"; fi
  if [ -n "$release_root" ]; then
    if [ -e "$etc/root.json" ] && ! cmp -s "$release_root" "$etc/root.json"; then
      die "$etc/root.json is another root than $release_root." 'The root decides whose code this device runs, so it is never replaced in passing: remove that file first if you mean it. Newer versions of the same root need no file: the device follows them by itself.'
    fi
    [ -e "$etc/root.json" ] || put "$etc/root.json" 644 <"$release_root"
  fi
  act mkdir -p "$data"
  on_host chown drover:drover "$data"
  act chmod 700 "$data"
}

enrol() {
  [ -n "$control_plane" ] || return 0
  if [ "$(cat "$etc/enrolled-at" 2>/dev/null)" = "$control_plane" ]; then
    say "Enrolled at $control_plane already."
  elif [ -n "$dry_run" ]; then
    say "would enrol at $control_plane"
  else
    set --
    if [ -n "$ca_file" ]; then set -- --ca "$etc/ca.crt"; fi
    runuser -u drover -- "$opt/launcher/drover-agent" enrol --config "$etc/agent.json" --control-plane "$control_plane" --token "$token" \
      --root "$etc/root.json" "$@" || die "Enrolment at $control_plane failed." 'The lines above say why. The agent is installed; run this again with a fresh token.'
    say "$control_plane" | put "$etc/enrolled-at" 644
    changed=1
  fi
}

start() {
  [ -z "$root" ] || return 0
  act systemctl daemon-reload
  act systemctl enable --quiet drover-agent.service
  if [ -z "$control_plane" ] && [ -z "$(ls -A "$data" 2>/dev/null)" ]; then
    say 'Not started, because this device is not enrolled: run this again with --release-root, --control-plane and --token.'
  elif [ -n "$changed" ] || ! systemctl is-active --quiet drover-agent.service 2>/dev/null; then
    act systemctl restart drover-agent.service || die 'The agent did not start.' "See journalctl -u drover-agent -n 50.${previous:+ To go back: ln -sfn $previous /opt/drover/versions/factory && systemctl restart drover-agent}"
  fi
}

# --ca: a file, or the fingerprint that a claim token may carry after its dot (docs/protocol.md, section 7, step 5).
check_trust() {
  ca_file=''
  [ -n "$ca" ] || return 0
  if [ -r "$ca" ]; then
    grep -q -- '-----BEGIN CERTIFICATE-----' "$ca" || die "$ca holds no certificate in PEM." 'Give the file of the authority, such as certificate-authority/1.crt of the control plane.'
    ca_file=$ca
  elif printf '%s' "$ca" | grep -Eq '^[A-Za-z0-9_-]{43}$'; then
    [ -n "$control_plane" ] || misused '--ca with a fingerprint needs --control-plane and --token.'
    case "$token" in
    *."$ca") ;;
    *.*) die 'The claim token pins another authority than --ca.' 'Leave --ca out if the token is from who runs the control plane; else find out which of the two is right.' ;;
    *) token="$token.$ca" ;;
    esac
  else
    die "$ca is neither a file that can be read nor a fingerprint." 'Give a file of certificates (PEM), or the 43 characters that "drover ca show" prints.'
  fi
}
check_proxy() {
  [ -n "$proxy$no_proxy_names" ] || return 0
  [ -n "$proxy" ] || misused '--no-proxy needs --proxy.'
  case "$proxy" in http://?*) ;; *) misused '--proxy needs an address such as http://proxy.example:3128.' ;; esac
  if [ -n "$root" ]; then
    case "$proxy" in *@*) misused 'An image is for many: leave the password of the proxy out, and set it on each device (proxy.url).' ;; esac
  fi
  case "$proxy$no_proxy_names" in *[\"\\[:space:]]*) misused 'The address of a proxy and its exceptions have neither spaces, quotes nor backslashes.' ;; esac
}

install_agent() {
  [ -z "$control_plane" ] || [ -z "$root" ] || misused '--control-plane does not go with --root: an image must not share one identity among its devices.'
  if [ -n "$control_plane" ]; then
    [ -n "$token" ] || misused '--control-plane needs --token.'
    [ -n "$release_root" ] || [ -e "$etc/root.json" ] || misused '--control-plane needs --release-root.'
  fi
  [ -z "$release_root" ] || [ -r "$release_root" ] || die "$release_root can't be read." 'Check the path and its permissions.'
  check_trust
  check_proxy
  changed=''
  inspect
  check_bundle
  choose_node
  make_user
  place_bundle
  configure
  enrol
  start
  if [ -n "$dry_run" ]; then say 'Nothing was changed.'; elif [ -n "$changed" ]; then say "Installed: agent $version."; else say 'Nothing to do.'; fi
}

uninstall_agent() {
  [ -z "$bundle$sha256$release_root$control_plane$wanted_node$ca$proxy$no_proxy_names" ] || misused 'uninstall takes only --purge, --yes, --dry-run and --root.'
  if [ -n "$purge" ] && [ -z "$assume_yes$dry_run" ]; then
    [ -t 0 ] || misused '--purge deletes the identity, models and history of this device for good: confirm with --yes.'
    printf 'Delete the identity, models and history of this device for good? [y/N] '
    read -r answer
    [ "$answer" = y ] || die 'Nothing was changed.' 'Leave --purge out to keep them.'
  fi
  if [ -z "$root" ] && [ -e "$unit" ]; then act systemctl disable --now --quiet drover-agent.service; fi
  act rm -rf "$unit" "$unit.d" "$opt/launcher" "$opt/versions"
  for installed in "$opt"/.incoming-*; do [ ! -e "$installed" ] || act rm -rf "$installed"; done
  # Delivered versions are program, not data.
  act rm -rf "$data/agent"
  if [ -L "$shortcut" ]; then act rm -f "$shortcut"; fi
  # A Node.js that somebody put there is theirs.
  if [ -d "$opt" ]; then act rmdir --ignore-fail-on-non-empty "$opt"; fi
  on_host systemctl daemon-reload
  if [ -n "$purge" ]; then
    act rm -rf "$etc" "$data"
    if [ -z "$root" ] && id drover >/dev/null 2>&1; then act userdel drover; fi
    say 'Removed: agent, configuration, data and user.'
  else
    say "Removed: agent. Kept: $etc and $data (uninstall --purge removes them)."
  fi
}

check_system
"${command}_agent"
