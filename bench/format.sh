# shellcheck shell=bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# What the cases format-* share: make a file system, an image or a pool on a
# sparse file of a size, from nothing, as a process; rounds with all in turn.
# $FORMAT_SIZE and $FORMAT_FILE are set by format_case.

FORMAT_ROUNDS=${FORMAT_ROUNDS:-11}
FORMAT_EXT4_ROUNDS=$FORMAT_ROUNDS

# format_one ROUND SUBJECT none|sparse COMMAND...: none: it makes the file.
format_one()
{
	local round=$1 subject=$2 before=$3 out
	shift 3

	! is_broken "$subject" || return 0
	rm -f "$FORMAT_FILE"
	[ "$before" = none ] || truncate -s "$FORMAT_SIZE" "$FORMAT_FILE"
	sync -f "$WORK"
	out=$(timed -f "$FORMAT_FILE" "$@" 2>"$WORK/err") || {
		failed "$subject"
		return
	}
	sample time "$subject" "$round" "$(field wall_ms <<<"$out")"
	sample durable "$subject" "$round" "$(field durable_ms <<<"$out")"
	sample written "$subject" "$round" \
		"$(jq '.written_bytes / 1024' <<<"$out")"
}

format_floor()
{
	format_one "$1" 'truncate (floor)' none \
		truncate -s "$FORMAT_SIZE" "$FORMAT_FILE"
}

format_cfs()
{
	format_one "$1" 'cfs: mkcfs' none \
		mkcfs -q --size "$FORMAT_SIZE" "$FORMAT_FILE"
}

format_qcow2()
{
	format_one "$1" 'qemu-img create -f qcow2' none \
		qemu-img create -q -f qcow2 "$FORMAT_FILE" "$FORMAT_SIZE"
}

format_xfs()
{
	format_one "$1" 'mkfs.xfs' sparse mkfs.xfs -f -q "$FORMAT_FILE"
}

format_btrfs()
{
	format_one "$1" 'mkfs.btrfs' sparse mkfs.btrfs -f -q "$FORMAT_FILE"
}

# Its time and what it writes grow with the size: fewer rounds of the large.
format_ext4()
{
	[ "$1" -le "$FORMAT_EXT4_ROUNDS" ] || return 0
	format_one "$1" 'mkfs.ext4' sparse mkfs.ext4 -F -q "$FORMAT_FILE"
}

# format_case SIZE DIR [FUNCTION...]: also these, beside the ones of all sizes.
format_case()
{
	local functions=(format_floor)

	FORMAT_SIZE=$1
	FORMAT_FILE=$2/image
	shift 2
	measure time ms lower 'truncate (floor)' 'time as a process'
	measure durable ms lower 'truncate (floor)' 'the same, and an fsync'
	measure written KiB lower - 'given to the disk'
	aim time 'cfs: mkcfs' '<=' 1 'qemu-img create -f qcow2'
	aim time 'cfs: mkcfs' '<=' 1 'mkfs.xfs'
	aim written 'cfs: mkcfs' '<' 1024
	! need 'cfs: mkcfs' mkcfs || functions+=(format_cfs)
	! need 'qemu-img create -f qcow2' qemu-img ||
		functions+=(format_qcow2)
	! need mkfs.xfs mkfs.xfs || functions+=(format_xfs)
	! need mkfs.btrfs mkfs.btrfs || functions+=(format_btrfs)
	rounds "$FORMAT_ROUNDS" "${functions[@]}" "$@"
}

# Above 16 TiB the file itself needs another host than ext4.
format_on_xfs()
{
	need_root '(all)' && need '(all)' mkfs.xfs || return
	make_fs xfs 32768 || {
		skip '(all)' "no XFS for the sparse file: $(reason)"
		return 1
	}
}
