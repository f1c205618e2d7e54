#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
#
# What README.md says can be pasted is pasted, and does what the text says;
# what it points to is there.

load helpers

setup() {
	cfs_setup
	readme=$CFS_SOURCE/README.md
}

# The bash blocks of the section "A tour", as they stand there; only the
# folder of the programs is that of the build that is tried.
tour() {
	awk '/^## / { on = $0 == "## A tour" }
	     /^```/ { if (in_block) in_block = 0
		      else in_block = on && $0 == "```bash"
		      next }
	     in_block' "$readme" |
		sed "s,\$src/build/bin,$CFS_BUILD/bin,"
}

# The tour stops at the first command that fails, unless it says otherwise.
paste_tour() {
	tour >tour.sh
	cd "$CFS_SOURCE"
	bash -e -o pipefail -c '
		set -x
		. "$1"' bash "$BATS_TEST_TMPDIR/tour.sh"
}

@test "the tour has all its parts" {
	tour >tour.sh
	for command in mkcfs slicectl snapctl cfscp "cfsck-heal check" \
		"cfsck-heal scrub" "cfsck-heal trace" "snapctl rollback" \
		"snapctl clone" "slicectl trim" "mkcfs --mirror" \
		"leasectl run" "leasectl acquire"; do
		grep -q "$command" tour.sh
	done
	bash -n tour.sh
}

@test "the tour runs when it is pasted" {
	command -v mke2fs >/dev/null || PATH=$PATH:/usr/sbin:/sbin
	command -v mke2fs >/dev/null || skip "no mke2fs"
	run -0 --separate-stderr paste_tour
	# Under another's lease: kept out.  Read: refused.  Scrub and trace:
	# damage left.  Scrub: healed.
	[ "$(grep '^status ' <<<"$output")" = "status 4
status 7
status 4
status 4
status 1" ]
	[[ $stderr == *"cfscp: pool.cfs:src:/man/cfs.7: "*offset* ]]
	# Scrub and trace name volume and path, and the snapshot.
	grep -q 'src.*/man/cfs\.7.*first' <<<"$output"
	[[ $output == *"nothing but this"* ]]
}

@test "the tour leaves nothing behind" {
	# Short: a socket is made in it.
	TMPDIR=$(mktemp -d /tmp/cfsr.XXXXXX)
	export TMPDIR
	run paste_tour
	echo "$output" | tail -n 20
	[ "$status" -eq 0 ]
	rmdir -- "$TMPDIR"
	[ -z "$(cd "$CFS_SOURCE" && git status --short -- '*.cfs' '*.img')" ]
}

@test "no command of the tour needs an answer" {
	tour >tour.sh
	# A pasted line that is asked about would take the next for an answer.
	! grep -E 'rollback|slicectl rm|snapctl rm' tour.sh | grep -v -e ' -y'
}

@test "links lead somewhere" {
	links=$(grep -o '](\([^)#]*\))' "$readme" | tr -d '()' | tr -d ']')
	[ -n "$links" ]
	for link in $links; do
		case $link in
		https://*) ;;
		*) [ -e "$CFS_SOURCE/$link" ] || { echo "$link"; false; } ;;
		esac
	done
}

@test "folders and make targets that it names are there" {
	while read -r folder; do
		[ -d "$CFS_SOURCE/$folder" ] || { echo "$folder"; false; }
	done < <(sed -n 's,^| `\([a-z]*/\)` .*,\1,p' "$readme")
	while read -r target; do
		grep -Eq "^([a-z-]+ )*$target( [a-z-]+)*:( |\$)" \
			"$CFS_SOURCE/Makefile" || { echo "$target"; false; }
	done < <(grep -oE '(`|    )make [a-z]+(-[a-z]+)?' "$readme" |
		sed 's/.*make //' | sort -u)
	while read -r case; do
		[ -n "$(compgen -G "$CFS_SOURCE/bench/cases/$case.sh")" ]
	done < <(grep -oE "CASE='?[a-z0-9*-]+" "$readme" |
		sed "s/CASE='*//")
}
