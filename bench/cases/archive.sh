# shellcheck shell=bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Real files out of a tar archive into a tree, and back into an archive, until
# it is on disk: against tar on ext4 on a loop device and a sync behind it.

CASE_TITLE='Many real files in from an archive, and out again'
ARCHIVE_FILES=${ARCHIVE_FILES:-100000}
ARCHIVE_ROUNDS=${ARCHIVE_ROUNDS:-3}
ARCHIVE_CFS='cfs: cfscp'
ARCHIVE_TAR='ext4 on a loop device: tar, sync'

# archive_one MEASURE SUBJECT ROUND WRITTEN COMMAND...
archive_one()
{
	local measure=$1 subject=$2 round=$3 written=$4 out
	shift 4

	drop_caches
	out=$(timed -f "$written" "$@" 2>"$WORK/err") || {
		failed "$subject"
		return 1
	}
	sample "$measure" "$subject" "$round" "$(jq --argjson n \
		"$ARCHIVE_COUNT" '$n * 1000 / .durable_ms' <<<"$out")"
}

archive_tar()
{
	! is_broken "$ARCHIVE_TAR" || return 0
	mkdir "$MNT/in" || return
	archive_one in "$ARCHIVE_TAR" "$1" "$WORK/ext4.img" bash -c \
		"tar -xf ${WORK@Q}/files.tar -C ${MNT@Q}/in && sync -f ${MNT@Q}" &&
	archive_one out "$ARCHIVE_TAR" "$1" "$WORK/out.tar" \
		tar -cf "$WORK/out.tar" -C "$MNT/in" .
	rm -rf "$MNT/in" "$WORK/out.tar"
	sync -f "$MNT"
}

# The same files, in whatever order, on the last round.
archive_verify()
{
	local back=$MNT/back

	[ "$1" = "$ARCHIVE_ROUNDS" ] && [ -n "$MNT" ] || return 0
	mkdir "$back" "$MNT/again" &&
	tar -xf "$WORK/files.tar" -C "$back" &&
	tar -xf "$WORK/out.tar" -C "$MNT/again" &&
	diff -r --no-dereference "$back" "$MNT/again" >"$WORK/err" 2>&1 || {
		echo 'the files differ' >>"$WORK/err"
		failed "$ARCHIVE_CFS"
	}
	rm -rf "$back" "$MNT/again"
}

archive_cfs()
{
	! is_broken "$ARCHIVE_CFS" || return 0
	rm -f "$WORK/pool"
	quietly mkcfs -q --size "${ARCHIVE_MB}M" "$WORK/pool" &&
	quietly mkcfs -q "$WORK/pool:t" --tree &&
	archive_one in "$ARCHIVE_CFS" "$1" "$WORK/pool" \
		cfscp -q --extract "$WORK/files.tar" "$WORK/pool:t:/" &&
	archive_one out "$ARCHIVE_CFS" "$1" "$WORK/out.tar" bash -c \
		"cfscp -q --archive tar ${WORK@Q}/pool:t:/ - >${WORK@Q}/out.tar" &&
	archive_verify "$1"
	rm -f "$WORK/pool" "$WORK/out.tar"
}

# This machine's own files of up to 64 KiB, by name, up to the count.
archive_make()
{
	find /usr -xdev -type f -size -64k -print0 2>/dev/null | LC_ALL=C sort -z |
		head -z -n "$ARCHIVE_FILES" >"$WORK/names"
	ARCHIVE_COUNT=$(tr -dc '\0' <"$WORK/names" | wc -c)
	quietly tar -P --null --no-recursion -T "$WORK/names" \
		--transform 's,^/,,' -cf "$WORK/files.tar" || return
	ARCHIVE_MB=$(($(stat -c %s "$WORK/files.tar") / 1048576 * 3 / 2 + 2048))
	say "$ARCHIVE_COUNT files, $(stat -c %s "$WORK/files.tar") bytes"
}

run_case()
{
	local functions=()

	measure in files/s higher "$ARCHIVE_TAR" 'in: rate until on disk'
	measure out files/s higher "$ARCHIVE_TAR" 'out: rate until on disk'
	aim in "$ARCHIVE_CFS" '>=' 1 "$ARCHIVE_TAR"
	aim out "$ARCHIVE_CFS" '>=' 1 "$ARCHIVE_TAR"
	need_space '(all)' 24576 || return 0
	archive_make || {
		failed '(all)'
		return
	}
	! need_root "$ARCHIVE_TAR" || ! need "$ARCHIVE_TAR" mkfs.ext4 ||
		! make_fs ext4 $((ARCHIVE_MB * 2)) || functions+=(archive_tar)
	! need "$ARCHIVE_CFS" mkcfs cfscp || functions+=(archive_cfs)
	rounds "$ARCHIVE_ROUNDS" "${functions[@]}"
}
