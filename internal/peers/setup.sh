#!/bin/sh
# Downloads the servers that the tests talk to from Debian and unpacks each, with
# the libraries it needs and this machine lacks, into a folder of its own. Nothing
# is installed: mail servers conflict with each other and with the machine's own.
#
#   internal/peers/setup.sh [FOLDER]      default: .peers at the repository's root
set -eu
cd "$(dirname "$0")/../.."
peers=${1:-.peers}
mkdir -p "$peers"
peers=$(cd "$peers" && pwd)

updated=
fetch() { # folder package...
	folder=$peers/$1
	shift
	if [ "$(cat "$folder/.complete" 2>/dev/null)" = "$*" ]; then
		return
	fi
	if [ "$(id -u)" != 0 ]; then
		echo "setup: downloading $* needs root" >&2
		exit 1
	fi
	if [ -z "$updated" ]; then
		echo "setup: apt-get update"
		apt-get update -qq -o Acquire::Retries=3
		updated=1
	fi
	echo "setup: downloading $*"
	debs=$(mktemp -d)
	mkdir -p "$debs/partial"
	# What an installation would bring along, whatever is on the machine now.
	apt-get install -qq -y --download-only --no-install-recommends --reinstall \
		-o Acquire::Retries=3 -o Dir::Cache::Archives="$debs" -o APT::Sandbox::User=root "$@" >/dev/null
	rm -rf "$folder"
	mkdir -p "$folder"
	for deb in "$debs"/*.deb; do
		dpkg-deb -x "$deb" "$folder"
	done
	rm -rf "$debs"
	# A folder lib would hide the machine's link of that name.
	for d in bin sbin lib lib64; do
		if [ -d "$folder/$d" ] && [ ! -L "$folder/$d" ]; then
			mkdir -p "$folder/usr/$d"
			cp -a "$folder/$d/." "$folder/usr/$d/"
			rm -r "${folder:?}/$d"
		fi
	done
	echo "$*" >"$folder/.complete"
}

fetch postfix postfix
fetch exim exim4-daemon-light exim4-base
fetch opensmtpd opensmtpd
fetch submission postfix dovecot-core libsasl2-modules sasl2-bin
fetch bind bind9 bind9-utils
fetch unbound unbound
echo "setup: the servers are in $peers"
