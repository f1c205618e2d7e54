# shellcheck shell=bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# An image of a disk from a LUN of a pool to a new file of the host.

# shellcheck source=bench/copy.sh
. bench/copy.sh
CASE_TITLE='Copy an image out'

# copy_out SUBJECT ROUND COMMAND...: writes $WORK/out.
copy_out()
{
	local subject=$1 round=$2
	shift 2

	! is_broken "$subject" || return 0
	rm -f "$WORK/out"
	copy_one "$subject" "$round" "$WORK/out" "$@"
}

copy_out_raw()
{
	copy_out 'raw: dd, direct' "$1" dd if="$WORK/image" of="$WORK/out" \
		bs=1M iflag=direct oflag=direct conv=fsync
}

copy_out_cfs()
{
	copy_out 'cfs: cfscp' "$1" cfscp -q "$WORK/pool:out" "$WORK/out"
	is_broken 'cfs: cfscp' || copy_verify "$WORK/out" "$1"
}

copy_out_qcow2()
{
	copy_out 'qemu-img convert, from qcow2' "$1" qemu-img convert -q \
		-f qcow2 -O raw -t none -T none "$WORK/qcow2" "$WORK/out"
}

copy_out_btrfs()
{
	copy_out 'cp, from btrfs on a loop device' "$1" \
		cp --sparse=never "$MNT/image" "$WORK/out"
}

copy_out_prepare_cfs()
{
	need 'cfs: cfscp' mkcfs cfscp || return
	quietly mkcfs -q --size $((SIZE_MB * 5 / 4 + 512))M "$WORK/pool" &&
	quietly mkcfs -q "$WORK/pool:out" --lun "${SIZE_MB}M" &&
	quietly cfscp -q "$WORK/image" "$WORK/pool:out" || {
		failed 'cfs: cfscp'
		return
	}
	functions+=(copy_out_cfs)
}

copy_out_prepare_qcow2()
{
	need 'qemu-img convert, from qcow2' qemu-img || return
	quietly qemu-img convert -q -f raw -O qcow2 -t none -T none \
		"$WORK/image" "$WORK/qcow2" || {
		failed 'qemu-img convert, from qcow2'
		return
	}
	functions+=(copy_out_qcow2)
}

copy_out_prepare_btrfs()
{
	local subject='cp, from btrfs on a loop device'

	need_root "$subject" && need "$subject" mkfs.btrfs || return
	make_fs btrfs $((SIZE_MB * 3 / 2 + 2048)) &&
	quietly dd if="$WORK/image" of="$MNT/image" bs=1M iflag=direct \
		oflag=direct conv=fsync || {
		failed "$subject"
		return
	}
	functions+=(copy_out_btrfs)
}

run_case()
{
	local functions=(copy_out_raw)

	copy_measure || return 0
	copy_out_prepare_cfs
	copy_out_prepare_qcow2
	copy_out_prepare_btrfs
	rounds "$COPY_ROUNDS" "${functions[@]}"
}
