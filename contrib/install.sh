#!/bin/sh
# Installs, upgrades and removes vpnd on a server with systemd (Debian 12 and newer, Ubuntu 22.04 and newer).
#
#   install.sh [--shop] [--node] [--answers FILE] [--node-answers FILE] [--wheel FILE | --version X.Y.Z] [--lock FILE]
#              [--no-start] [--root DIR]
#   install.sh --upgrade [same options]
#   install.sh --remove [--purge] [--root DIR]
#
# --shop      the daemon (what is done without a word)     --node      the agent of a VPN node; both may be given
# --answers   what `vpnd init` would ask, as a file; without it, it asks in the terminal if there is one, else a first
#             configuration is written to be filled in; --node-answers is the same for a node and `vpnd init --node`
# --wheel     install this file                            --version   install this version from the package index
#             (without either: the checkout that this script stands in)
# --lock      the dependencies with their hashes, in place of the packaged list; an empty file: none
# --upgrade   bring what is installed up to date, and go back if it does not start
# --remove    take everything away but configuration, state, users and database; --purge takes the first three, too
# --no-start  enable nothing and start nothing
# --root      do it all inside a folder, to look at it: no service of this machine is touched
#
# It may be run again at any time: what is there already is kept. Each step is said. Exit codes: 0 done, 1 failed, 2 not possible.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
action=install
start=yes
shop='' node='' answers='' node_answers='' wheel='' version='' lock='' root='' purge=''

say() { printf 'vpnd: %s\n' "$*"; }
fail() {
    printf 'vpnd: %s\n' "$*" >&2
    exit 1
}
refuse() {
    printf 'vpnd: %s\n' "$*" >&2
    exit 2
}
usage() {
    sed -n '2,/^set -eu/s/^# \{0,1\}//p' "$0"
    exit "$1"
}
value() { if [ $# -lt 2 ] || [ -z "$2" ]; then refuse "$1 needs a value"; fi; }

while [ $# -gt 0 ]; do
    case $1 in
    --shop) shop=yes ;;
    --node) node=yes ;;
    --answers) value "$@"; answers=$2; shift ;;
    --node-answers) value "$@"; node_answers=$2; shift ;;
    --wheel) value "$@"; wheel=$2; shift ;;
    --version) value "$@"; version=$2; shift ;;
    --lock) value "$@"; lock=$2; shift ;;
    --root) value "$@"; root=$2; shift ;;
    --no-start) start='' ;;
    --upgrade) action=upgrade ;;
    --remove) action=remove ;;
    --purge) purge=yes ;;
    -h | --help) usage 0 ;;
    *) refuse "unknown option $1; --help has all" ;;
    esac
    shift
done
[ -z "$purge" ] || [ "$action" = remove ] || refuse "--purge goes with --remove"
[ -z "$wheel" ] || [ -z "$version" ] || refuse "--wheel and --version exclude each other"
[ -z "$wheel" ] || [ -f "$wheel" ] || refuse "$wheel: there is no such file"
[ -z "$answers" ] || [ -f "$answers" ] || refuse "$answers: there is no such file"
[ -z "$node_answers" ] || [ -f "$node_answers" ] || refuse "$node_answers: there is no such file"
[ -z "$node_answers" ] || [ -n "$node" ] || refuse "--node-answers goes with --node"
[ -z "$lock" ] || [ -f "$lock" ] || refuse "$lock: there is no such file"
if [ -n "$root" ]; then
    [ -d "$root" ] || refuse "$root: there is no such folder"
    root=$(cd "$root" && pwd)
    [ "$root" != / ] || root=''
fi
if [ -z "$root" ]; then
    [ "$(id -u)" = 0 ] || refuse "this needs root; --root DIR tries it in a folder"
    [ -d /run/systemd/system ] || refuse "systemd does not run here; --root DIR tries it in a folder"
fi

program=$root/opt/vpnd
etc=$root/etc/vpnd
secrets=$etc/credentials
units=$root/etc/systemd/system
sysusers=$root/etc/sysusers.d/vpnd.conf
tmpfiles=$root/etc/tmpfiles.d/vpnd.conf
catalog=$root/usr/local/lib/systemd/catalog/vpnd.catalog

# --- tools of systemd, on this machine or in the folder -----------------------------------------------------------------------

enable_units() { systemctl ${root:+"--root=$root"} --quiet enable "$@"; }
disable_units() { systemctl ${root:+"--root=$root"} --quiet disable "$@" || true; }
live() { [ -z "$root" ] || return 0; systemctl "$@"; }
active() { [ -z "$root" ] && systemctl --quiet is-active "$1"; }
update_catalog() {
    command -v journalctl >/dev/null 2>&1 || return 0
    mkdir -p "$root/var/lib/systemd/catalog"
    journalctl ${root:+"--root=$root"} --update-catalog || say "the message catalog was not updated; journalctl -x explains less"
}

# --- removal ------------------------------------------------------------------------------------------------------------------

remove() {
    for unit in vpnd.socket vpnd.service vpnd-node.service; do
        [ -e "$units/$unit" ] || continue
        say "stopping and disabling $unit"
        live --quiet stop "$unit" || true
        disable_units "$unit"
        rm -f "$units/$unit"
    done
    live daemon-reload
    say "removing the program ($program) and the message catalog"
    rm -rf "$program" "$program".release-*
    rm -f "$catalog"
    update_catalog
    if [ -z "$purge" ]; then
        say "kept: configuration in /etc/vpnd, drop-ins in /etc/systemd/system/vpnd*.service.d, state in /var/lib/vpnd*, users, database"
        return 0
    fi
    say "removing configuration, secrets, drop-ins, state and users"
    rm -rf "$etc" "$units/vpnd.service.d" "$units/vpnd-node.service.d" "$units/vpnd.socket.d" \
        "$root/var/lib/vpnd" "$root/var/lib/vpnd-node"
    rm -f "$sysusers" "$tmpfiles"
    for user in vpnd vpnd-node; do
        if grep -qs "^$user:" "$root/etc/passwd"; then
            userdel ${root:+--prefix "$root"} "$user" || say "the user $user was not removed: userdel $user"
        fi
    done
    say "the database is left; to drop it: runuser -u postgres -- dropdb vpnd; runuser -u postgres -- dropuser vpnd"
}

# --- the program --------------------------------------------------------------------------------------------------------------

find_python() {
    for python in python3.13 python3.12 python3.11 python3; do
        if command -v "$python" >/dev/null 2>&1 &&
            "$python" -c 'import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' >/dev/null 2>&1; then
            return 0
        fi
    done
    refuse "no Python 3.11, 3.12 or 3.13 with its venv module. Debian: apt install python3 python3-venv.
      Ubuntu 22.04: apt install python3.11 python3.11-venv"
}

pip() { "$release/bin/python" -m pip --disable-pip-version-check --quiet "$@"; }

# A release is a virtual environment of its own, and $program points to the one in use: a new one is whole before anything is
# switched, and the former one is there to go back to.
build() {
    find_python
    release=$program.release-$(date -u +%Y%m%dT%H%M%S)-$$
    mkdir -p "$root/opt"
    trap 'rm -rf "$release"' EXIT
    say "making a virtual environment with $("$python" --version) in $release"
    "$python" -m venv "$release"
    if [ -z "$lock" ]; then
        lock=$here/requirements.lock
        [ -z "$node" ] || lock=$here/requirements-node.lock
    fi
    if [ -s "$lock" ]; then
        say "installing the dependencies, each by its hash, from $lock"
        pip install --require-hashes --only-binary :all: --requirement "$lock"
    fi
    if [ -n "$wheel" ]; then
        say "installing $wheel"
        pip install --no-deps --no-index "$wheel"
    elif [ -n "$version" ]; then
        say "installing vpnd $version from the package index"
        pip install --no-deps --only-binary :all: "vpnd==$version"
    elif [ -f "$here/../pyproject.toml" ]; then
        say "installing the checkout in $(cd "$here/.." && pwd)"
        pip install --no-deps "$here/.."
    else
        refuse "nothing to install: give --wheel FILE or --version X.Y.Z, or run it from a checkout"
    fi
    say "installed: $("$release/bin/vpnd" --version)"
}

check() { # $1 a release
    if [ -n "$shop" ] && [ -e "$etc/vpnd.toml" ]; then
        CREDENTIALS_DIRECTORY=$secrets "$1/bin/vpnd" check-config --config "$etc/vpnd.toml" || return 1
    fi
    if [ -n "$node" ] && [ -e "$etc/node.toml" ]; then
        CREDENTIALS_DIRECTORY=$secrets "$1/bin/vpnd" check-config --node --config "$etc/node.toml" || return 1
    fi
}

judge() { # whether the new program takes the configuration that is there; nothing was changed yet. $1: the former release
    check "$release" >/dev/null 2>&1 && return 0
    if check "$1" >/dev/null 2>&1; then
        check "$release" || fail "the new program does not take the configuration that is there; nothing was changed"
    fi
    say "the configuration has faults, as before; check-config tells them"
}

point_to() { # $1: a release
    if [ -d "$program" ] && [ ! -L "$program" ]; then
        say "$program was made by hand; it is put aside as $program.release-by-hand"
        rm -rf "$program.release-by-hand"
        mv "$program" "$program.release-by-hand"
    fi
    ln -sfn "$(basename "$1")" "$program.next"
    mv -Tf "$program.next" "$program"
}

forget_old_releases() { # all but the one in use and the former one, $1
    for old in "$program".release-*; do
        [ -d "$old" ] || continue
        [ "$old" = "$release" ] || [ "$old" = "$1" ] || rm -rf "$old"
    done
}

# --- what stands around it ----------------------------------------------------------------------------------------------------

put() { # $1 file, $2 place
    mkdir -p "$(dirname "$2")"
    if cmp -s "$1" "$2"; then return 0; fi
    say "writing ${2#"$root"}"
    install -m 0644 "$1" "$2"
}

surround() {
    put "$here/systemd/sysusers.d/vpnd.conf" "$sysusers"
    put "$here/systemd/tmpfiles.d/vpnd.conf" "$tmpfiles"
    say "users and folders"
    systemd-sysusers ${root:+"--root=$root"} "$sysusers"
    systemd-tmpfiles --create ${root:+"--root=$root"} "$tmpfiles"
    if [ -n "$shop" ]; then
        put "$here/systemd/vpnd.service" "$units/vpnd.service"
        put "$here/systemd/vpnd.socket" "$units/vpnd.socket"
    fi
    [ -z "$node" ] || put "$here/systemd/vpnd-node.service" "$units/vpnd-node.service"
    put "$here/systemd/vpnd.catalog" "$catalog"
    update_catalog
    live daemon-reload
}

# What an owner has to decide is asked by `vpnd init`, which checks each answer live; or it comes from a file.
answered=''
first_answers() {
    if [ -n "$answers" ]; then
        say "first configuration, of the answers in $answers"
        "$program/bin/vpnd" init --installer --no-input ${root:+--root "$root"} --answers "$answers" ||
            fail "an answer is missing or does not hold; mend it and run this again"
    elif [ -z "$root" ] && [ -t 0 ] && [ -t 1 ]; then
        say "first questions; Ctrl-C leaves them for later"
        trap : INT # it ends the questions, and not this script
        "$program/bin/vpnd" init --installer || say "for later: $program/bin/vpnd init --force"
        trap - INT
    fi
    [ ! -e "$etc/vpnd.toml" ] || answered=yes
    live daemon-reload
}

# The same for a node, which is tried before it is written: its ports, the site that strangers see, the core.
node_answered=''
first_answers_of_node() {
    if [ -n "$node_answers" ]; then
        say "first configuration of the node, of the answers in $node_answers"
        "$program/bin/vpnd" init --node --installer --no-input ${root:+--root "$root"} --answers "$node_answers" ||
            fail "an answer is missing or does not hold; mend it and run this again"
    elif [ -z "$root" ] && [ -t 0 ] && [ -t 1 ]; then
        say "first questions about the node; Ctrl-C leaves them for later"
        trap : INT # it ends the questions, and not this script
        "$program/bin/vpnd" init --node --installer || say "for later: $program/bin/vpnd init --node --force"
        trap - INT
    fi
    [ ! -e "$etc/node.toml" ] || node_answered=yes
}

fresh_shop=''
configure() {
    if [ -n "$answers" ] && [ -e "$etc/vpnd.toml" ]; then
        say "the answers are not read: /etc/vpnd/vpnd.toml is there; vpnd init --force --answers FILE replaces it"
    fi
    if [ -n "$shop" ] && [ ! -e "$etc/vpnd.toml" ]; then
        fresh_shop=yes
        first_answers
        if [ ! -e "$etc/vpnd.toml" ]; then
            say "writing a first configuration: /etc/vpnd/vpnd.toml"
            cat >"$etc/vpnd.toml" <<'END'
[instance]
name = "my-shop"            # apps show it as the subscription's title

[shop]
currency = "RUB"
languages = ["ru", "en"]    # the first is spoken to strangers
# support = "@my_shop_support"

[telegram]
# admins = [123456789]      # your Telegram id: told of what needs a person
END
            chmod 0644 "$etc/vpnd.toml"
        fi
        if [ ! -e "$secrets/database.url" ]; then
            say "writing /etc/vpnd/credentials/database.url: the local PostgreSQL, by its socket and without a password"
            (umask 077 && printf '%s\n' 'postgresql://vpnd@/vpnd?host=/run/postgresql' >"$secrets/database.url")
        fi
    fi
    if [ -n "$node_answers" ] && [ -e "$etc/node.toml" ]; then
        say "the answers are not read: /etc/vpnd/node.toml is there; vpnd init --node --force --answers FILE replaces it"
    fi
    if [ -n "$node" ]; then
        [ -e "$etc/node.toml" ] || first_answers_of_node
        if [ ! -e "$secrets/agent.token" ]; then
            say "making a token for the agent: /etc/vpnd/credentials/agent.token"
            (umask 077 && od -An -v -tx1 -N32 /dev/urandom | tr -d ' \n' >"$secrets/agent.token")
        fi
        if [ ! -e "$etc/node.toml" ]; then
            say "writing a first configuration: /etc/vpnd/node.toml"
            cat >"$etc/node.toml" <<'END'
[agent]
listen = "127.0.0.1:8443"              # "0.0.0.0:8443" when the shop is on another machine
# public_host = "203.0.113.10"         # or a name; it stands in customers' links

[[agent.inbounds]]
tag = "reality"
port = 443
# sni = "www.example.org"              # a real site with TLS 1.3, reachable from the node
END
            chmod 0644 "$etc/node.toml"
        fi
    fi
}

# Whether what a unit needs is there; $1: daemon or agent
can_start() {
    if [ "$1" = daemon ]; then
        [ -s "$secrets/telegram.token" ] || return 1
        CREDENTIALS_DIRECTORY=$secrets "$program/bin/vpnd" check-config --config "$etc/vpnd.toml" >/dev/null 2>&1
    else
        CREDENTIALS_DIRECTORY=$secrets "$program/bin/vpnd" check-config --node --config "$etc/node.toml" >/dev/null 2>&1
    fi
}

# --- starting -----------------------------------------------------------------------------------------------------------------

begin() {
    # The socket is switched on with the first configuration, whose address is the socket's.
    if [ -n "$fresh_shop" ]; then
        enable_units vpnd.socket || return 1
    elif [ -n "$shop" ] && [ ! -e "$units/sockets.target.wants/vpnd.socket" ]; then
        say "systemd can hold the listener over a restart: compare [http] listen with vpnd.socket, then systemctl enable vpnd.socket"
    fi
    [ -z "$shop" ] || enable_units vpnd.service || return 1
    [ -z "$node" ] || enable_units vpnd-node.service || return 1
    [ -z "$shop" ] || start_one daemon vpnd.service || return 1
    [ -z "$node" ] || start_one agent vpnd-node.service || return 1
}

start_one() { # $1 daemon or agent, $2 unit
    if ! can_start "$1"; then
        say "$2 is enabled and not started: something is missing yet, see below"
        return 0
    fi
    if [ "$1" = daemon ] && [ -e "$units/sockets.target.wants/vpnd.socket" ] && ! active vpnd.socket; then
        live stop vpnd.service || true # a listener of its own would be in the socket's way
        live start vpnd.socket || return 1
    fi
    say "starting $2"
    live restart "$2"
}

go_back() { # $1 the former release
    if [ -z "$1" ] || [ ! -d "$1" ]; then fail "it did not start: journalctl -u vpnd -u vpnd-node"; fi
    say "it did not start; going back to $1"
    point_to "$1"
    [ -z "$shop" ] || live restart vpnd.service || true
    [ -z "$node" ] || live restart vpnd-node.service || true
    fail "not upgraded. Why it did not start: journalctl -u vpnd -u vpnd-node"
}

next_steps() {
    say "what is left to do:"
    if [ -n "$answered" ] && [ -n "$start" ]; then
        echo "  shop       systemctl status vpnd; journalctl -u vpnd -f; all its keys: docs/configuration.md"
    elif [ -n "$answered" ]; then
        echo "  start      systemctl enable --now vpnd.socket vpnd.service; systemctl status vpnd"
    elif [ -n "$shop" ]; then
        echo "  answers    /opt/vpnd/bin/vpnd init --force asks for what is needed, checks it and writes it; or by hand:"
        echo "  database   runuser -u postgres -- createuser vpnd"
        echo "             runuser -u postgres -- createdb --owner vpnd --encoding UTF8 --template template0 vpnd"
        [ -s "$secrets/telegram.token" ] ||
            echo "  bot        put @BotFather's token into /etc/vpnd/credentials/telegram.token (chmod 600)"
        echo "  shop       fill /etc/vpnd/vpnd.toml; CREDENTIALS_DIRECTORY=/etc/vpnd/credentials /opt/vpnd/bin/vpnd check-config"
        echo "  start      systemctl start vpnd.socket vpnd.service; systemctl status vpnd"
    fi
    if [ -n "$node_answered" ] && [ -n "$start" ]; then
        echo "  node       systemctl status vpnd-node; what the shop has to be told stands above"
    elif [ -n "$node_answered" ]; then
        echo "  node       systemctl enable --now vpnd-node; what the shop has to be told stands above"
    elif [ -n "$node" ]; then
        echo "  node       /opt/vpnd/bin/vpnd init --node --force asks for what is needed, checks it and writes it; or by hand:"
        echo "             fill /etc/vpnd/node.toml; CREDENTIALS_DIRECTORY=/etc/vpnd/credentials /opt/vpnd/bin/vpnd check-config --node"
        echo "             systemctl start vpnd-node; journalctl -u vpnd-node | grep fingerprint"
    fi
}

install_all() {
    former=''
    if [ -L "$program" ]; then
        former=$(readlink -f "$program")
    elif [ -d "$program" ]; then
        former=$program.release-by-hand
    elif [ "$action" = upgrade ]; then
        refuse "nothing is installed in /opt/vpnd; without --upgrade this installs it"
    fi
    if [ -z "$shop$node" ]; then # what is there already; else a shop
        [ ! -e "$units/vpnd-node.service" ] || node=yes
        [ -n "$node" ] && [ ! -e "$units/vpnd.service" ] || shop=yes
    fi
    for tool in systemctl systemd-sysusers systemd-tmpfiles; do
        command -v "$tool" >/dev/null 2>&1 || refuse "$tool is missing: this needs systemd"
    done
    build
    [ -z "$former" ] || judge "$program"
    point_to "$release"
    trap - EXIT
    surround
    configure
    if [ -n "$start" ]; then
        begin || go_back "$former"
    fi
    forget_old_releases "$former"
    if [ -n "$former" ]; then
        say "done; the former release is kept in $former"
    else
        next_steps
    fi
}

if [ "$action" = remove ]; then remove; else install_all; fi
