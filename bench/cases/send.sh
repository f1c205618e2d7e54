# shellcheck shell=bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A snapshot from one pool (file system) into another one through a pipe, until
# it is on disk: an image of $SIZE_MB, against dd that writes as much, and
# many small files, against btrfs send and receive.

# shellcheck source=bench/copy.sh
. bench/copy.sh
CASE_TITLE='Send a snapshot and receive it'
SEND_FILES=${SEND_FILES:-100000}
SEND_CFS='cfs: snapctl send, recv'
SEND_BTRFS='btrfs: send, receive'
SEND_RAW='raw: dd, direct'

send_raw()
{
	rm -f "$WORK/out"
	copy_one "$SEND_RAW" "$1" "$WORK/out" dd if="$WORK/image" \
		of="$WORK/out" bs=1M iflag=direct oflag=direct conv=fsync
	rm -f "$WORK/out"
}

# send_files SUBJECT ROUND WRITTEN COMMAND...: files a second.
send_files()
{
	local subject=$1 round=$2 written=$3 out
	shift 3

	drop_caches
	out=$(timed -f "$written" "$@" 2>"$WORK/err") || {
		failed "$subject"
		return 1
	}
	sample files "$subject" "$round" "$(jq --argjson n "$SEND_FILES" \
		'$n * 1000 / .durable_ms' <<<"$out")"
}

pipe_cfs()
{
	echo "set -o pipefail; snapctl send ${1@Q} | snapctl recv -q ${2@Q}"
}

send_cfs()
{
	! is_broken "$SEND_CFS" || return 0
	rm -f "$WORK/to"
	quietly mkcfs -q --size $((SIZE_MB * 5 / 4 + 1024))M "$WORK/to" &&
	copy_one "$SEND_CFS" "$1" "$WORK/to" \
		bash -c "$(pipe_cfs "$WORK/from:image@s" "$WORK/to:image")" &&
	send_files "$SEND_CFS" "$1" "$WORK/to" \
		bash -c "$(pipe_cfs "$WORK/from:small@s" "$WORK/to:small")" ||
		return
	[ "$1" != "$COPY_ROUNDS" ] || {
		quietly cfscp -q "$WORK/to:image@s" "$WORK/back"
		copy_verify "$WORK/back" "$1"
	}
	rm -f "$WORK/back" "$WORK/to"
}

pipe_btrfs()
{
	echo "set -o pipefail; btrfs -q send ${1@Q} |" \
		"btrfs -q receive ${2@Q} && sync -f ${2@Q}"
}

send_btrfs()
{
	! is_broken "$SEND_BTRFS" || return 0
	copy_one "$SEND_BTRFS" "$1" "$WORK/btrfs.img" \
		bash -c "$(pipe_btrfs "$FROM/image" "$MNT/to")" &&
	send_files "$SEND_BTRFS" "$1" "$WORK/btrfs.img" \
		bash -c "$(pipe_btrfs "$FROM/small" "$MNT/to")"
	btrfs -q subvolume delete "$MNT/to/image" "$MNT/to/small" \
		>/dev/null 2>&1
	sync -f "$MNT"
}

# Some 4 to 16 KiB each, a hundred to a directory.
make_small()
{
	python3 - "$1" "$SEND_FILES" <<'EOF'
import os, sys
top, count = sys.argv[1], int(sys.argv[2])
data = os.urandom(16384)
for i in range(count):
    d = "%s/%d" % (top, i // 100)
    if i % 100 == 0:
        os.makedirs(d)
    with open("%s/%d" % (d, i), "wb") as f:
        f.write(data[: 4096 + i * 37 % 12288])
EOF
}

send_prepare_cfs()
{
	need "$SEND_CFS" mkcfs cfscp snapctl || return
	quietly mkcfs -q --size $((SIZE_MB * 5 / 4 + 3072))M "$WORK/from" &&
	quietly mkcfs -q "$WORK/from:image" --lun auto --from "$WORK/image" &&
	quietly mkcfs -q "$WORK/from:small" --tree --from "$WORK/small" &&
	quietly snapctl take -q "$WORK/from:image@s" "$WORK/from:small@s" || {
		failed "$SEND_CFS"
		return
	}
	functions+=(send_cfs)
}

send_prepare_btrfs()
{
	need_root "$SEND_BTRFS" && need "$SEND_BTRFS" mkfs.btrfs btrfs ||
		return
	make_fs btrfs $((SIZE_MB * 5 / 2 + 6144)) &&
	FROM=$MNT/from &&
	quietly mkdir "$FROM" "$MNT/to" &&
	quietly btrfs subvolume create "$FROM/i" &&
	quietly cp --sparse=never "$WORK/image" "$FROM/i/image" &&
	quietly btrfs subvolume create "$FROM/s" &&
	quietly cp -a "$WORK/small" "$FROM/s/" &&
	quietly btrfs subvolume snapshot -r "$FROM/i" "$FROM/image" &&
	quietly btrfs subvolume snapshot -r "$FROM/s" "$FROM/small" || {
		failed "$SEND_BTRFS"
		return
	}
	functions+=(send_btrfs)
}

run_case()
{
	local functions=(send_raw)

	measure rate MB/s higher "$SEND_RAW" 'an image: rate until on disk'
	measure files files/s higher "$SEND_BTRFS" \
		"$SEND_FILES small files: rate until on disk"
	aim rate "$SEND_CFS" '>=' 0.7 "$SEND_RAW"
	aim files "$SEND_CFS" '>=' 2 "$SEND_BTRFS"
	need_space '(all)' $((SIZE_MB * 7 + 6144)) || return 0
	make_data "$WORK/image" "$SIZE_MB" || return
	make_small "$WORK/small" || return
	send_prepare_cfs
	send_prepare_btrfs
	rounds "$COPY_ROUNDS" "${functions[@]}"
}
