# Functions that the set-up scripts share; POSIX sh, to be sourced from the repository's root.

# say prints for people: standard output belongs to the result.
say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

have() { command -v "$1" >/dev/null 2>&1; }

have go || { say "Go is not installed: https://go.dev/doc/install" && exit 1; }

# pgbin asks the Go code, so that tests, demo and scripts agree about what is used. It needs no C compiler, and no git:
# that one refuses to answer about a checkout which belongs to another user.
pgbin() { CGO_ENABLED=0 go run -buildvcs=false ./internal/pgserver/cmd/pgbin "$@"; }

# build_pgbin goes before the first use: code that does not compile is another failure than a machine that has no server.
build_pgbin() { CGO_ENABLED=0 go build -buildvcs=false -o /dev/null ./internal/pgserver/cmd/pgbin || exit 1; }

# as_root runs a command as root, where that is possible without a question.
as_root() {
	if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

can_apt() {
	have apt-get || return 1
	[ "$(id -u)" = 0 ] || { have sudo && sudo -n true 2>/dev/null; }
}

apt() {
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0 "$@" >&2
}

# apt_update is done once a run. Where one of several sources fails, the others' packages can be had all the same.
apt_update() {
	[ -z "${apt_updated-}" ] || return 0
	apt_updated=yes
	apt update || say "apt-get update failed; trying with the lists that are there"
}

# apt_install_quietly installs packages whose scripts would start a service, and keeps them from doing so: what is wanted
# here is programs. A policy that the machine has already is left alone.
policy=/usr/sbin/policy-rc.d
apt_install_quietly() {
	put_policy=
	if [ ! -e "$policy" ]; then
		put_policy=yes
		printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
		as_root chmod 755 "$policy"
	fi
	apt install -y --no-install-recommends --no-upgrade "$@"
	status=$?
	if [ -n "$put_policy" ]; then as_root rm -f "$policy"; fi
	return $status
}
