# shellcheck shell=bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# An image of a disk from a file of the host into a LUN of a pool, a new pool
# each time, that lies in a sparse file.

# shellcheck source=bench/copy.sh
. bench/copy.sh
CASE_TITLE='Copy an image in'

copy_in_raw()
{
	rm -f "$WORK/out"
	copy_one 'raw: dd, direct' "$1" "$WORK/out" dd if="$WORK/image" \
		of="$WORK/out" bs=1M iflag=direct oflag=direct conv=fsync
	rm -f "$WORK/out"
}

copy_in_cfs()
{
	local subject='cfs: cfscp'

	! is_broken "$subject" || return 0
	rm -f "$WORK/pool"
	quietly mkcfs -q --size $((SIZE_MB * 5 / 4 + 512))M "$WORK/pool" &&
	quietly mkcfs -q "$WORK/pool:in" --lun "${SIZE_MB}M" || {
		failed "$subject"
		return
	}
	copy_one "$subject" "$1" "$WORK/pool" \
		cfscp -q "$WORK/image" "$WORK/pool:in" || return
	[ "$1" != "$COPY_ROUNDS" ] || {
		quietly cfscp -q "$WORK/pool:in" "$WORK/back"
		copy_verify "$WORK/back" "$1"
	}
	rm -f "$WORK/back" "$WORK/pool"
}

copy_in_qcow2()
{
	! is_broken 'qemu-img convert, to qcow2' || return 0
	copy_one 'qemu-img convert, to qcow2' "$1" "$WORK/qcow2" \
		qemu-img convert -q -f raw -O qcow2 -t none -T none \
		"$WORK/image" "$WORK/qcow2"
	rm -f "$WORK/qcow2"
}

copy_in_btrfs()
{
	! is_broken 'cp, to btrfs on a loop device' || return 0
	rm -f "$MNT/out"
	copy_one 'cp, to btrfs on a loop device' "$1" "$MNT/out" \
		cp --sparse=never "$WORK/image" "$MNT/out"
}

run_case()
{
	local functions=(copy_in_raw)

	copy_measure || return 0
	! need 'cfs: cfscp' mkcfs cfscp || functions+=(copy_in_cfs)
	! need 'qemu-img convert, to qcow2' qemu-img ||
		functions+=(copy_in_qcow2)
	if need_root 'cp, to btrfs on a loop device' &&
		need 'cp, to btrfs on a loop device' mkfs.btrfs
	then
		if make_fs btrfs $((SIZE_MB * 3 / 2 + 2048)); then
			functions+=(copy_in_btrfs)
		else
			failed 'cp, to btrfs on a loop device'
		fi
	fi
	rounds "$COPY_ROUNDS" "${functions[@]}"
}
