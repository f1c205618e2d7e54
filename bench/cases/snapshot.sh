# shellcheck shell=bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A durable snapshot of a volume of 4 GiB that lies in 100,000 pieces, against
# three durable writes of 4 KiB to the disk in the same round: once as a call
# in a process that has the volume open, once as a command.  Before each
# snapshot the volume is changed by one block.

CASE_TITLE='Snapshot of a volume in 100,000 pieces'
SNAP_MB=${SNAP_MB:-4096}
SNAP_PIECES=${SNAP_PIECES:-100000}
SNAP_ROUNDS=${SNAP_ROUNDS:-10}
# Each of them takes seconds.
SNAP_REFLINK_ROUNDS=3
# Calls in one process, in each round.
SNAP_CALLS=3
SNAP_RAW='raw: three durable 4 KiB writes'

# Microseconds a line become samples NAME.1, NAME.2 ...
snap_calls()
{
	local subject=$1 round=$2 key=$3 i=0 value

	while read -r value; do
		i=$((i + 1))
		sample call "$subject" "$round.$i" "$value"
	done < <(jq -r ".$key / 1000" <<<"$4")
}

snap_raw()
{
	local out

	out=$(peer-bench raw "$WORK/raw" "$SNAP_CALLS" "$1" \
		2>"$WORK/err") || {
		failed "$SNAP_RAW"
		return
	}
	# cfs-bench measures both, in turn: its own raw is the one to divide by.
	[ -n "$SNAP_CFS" ] || snap_calls "$SNAP_RAW" "$1" raw_us "$out"
	sample command "$SNAP_RAW" "$1" \
		"$(jq -s 'map(.raw_us) | sort | .[length / 2 | floor] / 1000' \
		<<<"$out")"
}

# snap_command SUBJECT ROUND PATH COMMAND...
snap_command()
{
	local subject=$1 round=$2 path=$3 out
	shift 3

	! is_broken "$subject" || return 0
	out=$(timed -F "$path" "$@" 2>"$WORK/err") || {
		failed "$subject"
		return
	}
	sample command "$subject" "$round" "$(field durable_ms <<<"$out")"
}

snap_cfs_call()
{
	local out

	! is_broken cfs || return 0
	out=$(cfs-bench snapshot "$WORK/pool" bench "$WORK/raw" \
		"$SNAP_CALLS" "$1" 2>"$WORK/err") || {
		failed cfs
		SNAP_CFS=
		return
	}
	snap_calls cfs "$1" snap_us "$out"
	snap_calls "$SNAP_RAW" "$1" raw_us "$out"
}

# Without the sync behind it: the command promises that what it did is durable.
snap_cfs_command()
{
	local out

	! is_broken 'cfs: snapctl take' || return 0
	out=$(timed snapctl take -q "$WORK/pool:bench@c$1" 2>"$WORK/err") || {
		failed 'cfs: snapctl take'
		return
	}
	sample command 'cfs: snapctl take' "$1" "$(field wall_ms <<<"$out")"
	out=$(timed snapctl --version 2>"$WORK/err") || return
	sample command 'cfs: snapctl --version (process start)' "$1" \
		"$(field wall_ms <<<"$out")"
}

# snap_peer_call SUBJECT ROUND VERB FROM TO
snap_peer_call()
{
	local out

	! is_broken "$1" || return 0
	out=$(peer-bench "$3" "$4" "$5" 2>"$WORK/err") || {
		failed "$1"
		return
	}
	sample call "$1" "$2.1" "$(jq '.snap_us / 1000' <<<"$out")"
}

# Change one block of a peer's file, durably, as cfs-bench does of the volume.
snap_touch()
{
	quietly dd if=/dev/urandom of="$1" bs=4K count=1 conv=notrunc,fsync \
		seek=$((RANDOM % (SNAP_MB * 256)))
}

snap_xfs()
{
	[ "$1" -le "$SNAP_REFLINK_ROUNDS" ] || return 0
	snap_touch "$WORK/xfs/data"
	snap_peer_call 'xfs: FICLONE' "$1" reflink "$WORK/xfs/data" \
		"$WORK/xfs/a$1"
	snap_touch "$WORK/xfs/data"
	snap_command 'xfs: cp --reflink' "$1" "$WORK/xfs" \
		cp --reflink=always "$WORK/xfs/data" "$WORK/xfs/b$1"
	rm -f "$WORK/xfs/a$1" "$WORK/xfs/b$1"
}

snap_btrfs()
{
	snap_touch "$WORK/btrfs/v/data"
	snap_peer_call 'btrfs: snapshot ioctl' "$1" subvol "$WORK/btrfs/v" \
		"$WORK/btrfs/a$1"
	snap_touch "$WORK/btrfs/v/data"
	snap_command 'btrfs: btrfs subvolume snapshot' "$1" "$WORK/btrfs" \
		btrfs -q subvolume snapshot "$WORK/btrfs/v" "$WORK/btrfs/b$1"
}

snap_qcow2()
{
	quietly qemu-io -t none -f qcow2 \
		-c "write -q -P 7 $((RANDOM * 4096)) 4096" "$WORK/qcow2"
	snap_command 'qcow2: qemu-img snapshot -c' "$1" "$WORK/qcow2" \
		qemu-img snapshot -c "s$1" "$WORK/qcow2"
}

snap_prepare_cfs()
{
	need cfs mkcfs cfscp cfs-bench || return
	quietly mkcfs -q --size $((SNAP_MB * 2 + 512))M "$WORK/pool" &&
	quietly mkcfs -q "$WORK/pool:bench" --lun "${SNAP_MB}M" &&
	quietly cfscp -q "$WORK/raw" "$WORK/pool:bench" &&
	quietly cfs-bench fragment "$WORK/pool" bench $((SNAP_PIECES / 2)) || {
		failed cfs
		return
	}
	SNAP_CFS=yes
	functions+=(snap_cfs_call)
	! need 'cfs: snapctl take' snapctl || functions+=(snap_cfs_command)
}

# Blocks written over a file that a clone shares are put elsewhere; the pieces
# stay when the clone is gone.
snap_prepare_xfs()
{
	local subject='xfs: cp --reflink'

	need_root "$subject" && need "$subject" mkfs.xfs || return
	make_fs xfs $((SNAP_MB * 2 + 2048)) &&
	quietly dd if="$WORK/raw" of="$MNT/data" bs=1M iflag=direct \
		oflag=direct conv=fsync &&
	quietly cp --reflink=always "$MNT/data" "$MNT/old" &&
	quietly peer-bench fragment "$MNT/data" $((SNAP_PIECES / 2)) &&
	quietly rm "$MNT/old" || {
		failed "$subject"
		return
	}
	note "xfs: $(pieces "$MNT/data") extents"
	functions+=(snap_xfs)
}

snap_prepare_btrfs()
{
	local subject='btrfs: btrfs subvolume snapshot'

	need_root "$subject" && need "$subject" mkfs.btrfs btrfs || return
	make_fs btrfs $((SNAP_MB * 2 + 2048)) &&
	quietly btrfs subvolume create "$MNT/v" &&
	quietly dd if="$WORK/raw" of="$MNT/v/data" bs=1M iflag=direct \
		oflag=direct conv=fsync &&
	quietly peer-bench fragment "$MNT/v/data" $((SNAP_PIECES / 2)) || {
		failed "$subject"
		return
	}
	note "btrfs: $(pieces "$MNT/v/data") extents"
	functions+=(snap_btrfs)
}

snap_prepare_qcow2()
{
	local subject='qcow2: qemu-img snapshot -c'

	need "$subject" qemu-img qemu-io || return
	quietly qemu-img convert -q -f raw -O qcow2 -t none -T none \
		"$WORK/raw" "$WORK/qcow2" || {
		failed "$subject"
		return
	}
	functions+=(snap_qcow2)
}

pieces()
{
	filefrag "$1" 2>/dev/null | sed -n 's/.*: \([0-9]*\) extents.*/\1/p'
}

run_case()
{
	local functions=(snap_raw)
	SNAP_CFS=

	measure call ms lower "$SNAP_RAW" 'time of a call, durable'
	measure command ms lower "$SNAP_RAW" 'time of a command, durable'
	aim call cfs '<=' 1 "$SNAP_RAW"
	need_space '(all)' $((SNAP_MB * 6)) || return 0
	make_data "$WORK/raw" "$SNAP_MB" || return
	snap_prepare_cfs
	snap_prepare_xfs
	snap_prepare_btrfs
	snap_prepare_qcow2
	drop_caches
	rounds "$SNAP_ROUNDS" "${functions[@]}"
}
