#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A guest uses what is exported: its disk is a LUN over NBD, and its kernel's
# own clients of NBD, iSCSI, NFS and SMB work with our servers.

load helpers
load nbd
load guest

setup() {
	cfs_setup
	need_root
	need_guest
	unset CFS_TEST_BESIDE
	CFS_RUN=$(mktemp -d /tmp/cfs-gu.XXXXXX)
	export P CFS_RUN
	PORT=$((20000 + (BASHPID % 1000) * 10))
	make_pool "$P" 512M
	guest_begin
}

teardown() {
	local pid

	# What was skipped has begun nothing.
	[ -n "${CFS_RUN-}" ] || return 0
	for pid in "${SERVERS[@]}"; do
		kill -TERM "$pid" 2>/dev/null || continue
		wait "$pid" 2>/dev/null || true
	done
	rm -rf --one-file-system "${CFS_RUN:?}"
	! grep "$BATS_TEST_TMPDIR" /proc/mounts
}

# cfs-export "$@", until it says where.
start_export() {
	rm -f out
	cfs-export "$@" >out 2>errors 3>&- &
	SERVER=$!
	SERVERS+=("$SERVER")
	for _ in {1..4}; do
		until_true '[ -s out ] || ! kill -0 $SERVER 2>/dev/null' ||
			continue
		break
	done
	[ -s out ] || { cat errors; false; }
}

end_export() {
	kill -TERM "$SERVER"
	status=0
	wait "$SERVER" || status=$?
	[ "$status" = 0 ]
}

# An ext4 of the guest's is in LUN $1, with the file data and its sum.
check_ext4() {
	cfscp -q --wait 30 "$P:$1" "$1.out"
	e2fsck -fn "$1.out"
	debugfs -R 'cat data' "$1.out" 2>/dev/null | md5sum | cut -c 1-32 >sum
	debugfs -R 'cat sum' "$1.out" 2>/dev/null | cut -c 1-32 | cmp - sum
}

@test "a guest's disk is a LUN, by QEMU's client of NBD" {
	mkcfs -q "$P:vm0" --lun 64M
	start_export nbd "$P" unix:"$PWD/s"
	guest_start -blockdev driver=nbd,node-name=a,server.type=unix,server.path="$PWD/s",export=vm0,discard=unmap \
		-device nvme,drive=a,serial=cfs0 <<-'END'
	mke2fs -b 4096 /dev/nvme0n1
	mount -t ext4 /dev/nvme0n1 /mnt
	dd if=/dev/urandom of=/mnt/data bs=1M count=20
	md5sum </mnt/data >/mnt/sum
	dd if=/dev/urandom of=/mnt/gone bs=1M count=20
	sync
	rm /mnt/gone
	sync
	fstrim -v /mnt
	echo 3 >/proc/sys/vm/drop_caches
	[ "$(md5sum </mnt/data)" = "$(cat /mnt/sum)" ]
	umount /mnt
	END
	guest_end
	end_export
	check_ext4 vm0
	used=$(slicectl ls --json "$P:vm0" | jq '.volumes[0].used_bytes')
	[ "$used" -lt $((30 << 20)) ]
	run -0 cfsck-heal check "$P"
}

@test "a kernel's client of NBD, with two connections" {
	need_programs nbd-client
	mkcfs -q "$P:vm0" --lun 64M
	guest_modules nbd
	guest_programs nbd-client
	start_export nbd "$P" "127.0.0.1:$PORT"
	guest_start <<-END
	nbd-client 10.0.2.2 $PORT /dev/nbd0 -N vm0 -b 4096 -C 2
	[ "\$(blockdev --getsize64 /dev/nbd0)" = $((64 << 20)) ]
	mke2fs -b 4096 /dev/nbd0
	mount -t ext4 /dev/nbd0 /mnt
	dd if=/dev/urandom of=/mnt/data bs=1M count=20
	md5sum </mnt/data >/mnt/sum
	sync
	fstrim -v /mnt
	umount /mnt
	nbd-client -d /dev/nbd0
	END
	guest_end
	end_export
	check_ext4 vm0
	run -0 cfsck-heal check "$P"
}

@test "a kernel's initiator of iSCSI" {
	need_programs iscsistart tgtd cfsmount
	mkcfs -q "$P:vm0" --lun 64M
	guest_modules iscsi_tcp sd_mod crc32c_generic
	guest_programs iscsistart
	start_export iscsi "$P" "127.0.0.1:$PORT"
	uuid=$(slicectl show --json "$P" | jq -r .pool.uuid)
	guest_start <<-END
	iscsistart -i iqn.2026-11.test:guest -g 1 -a 10.0.2.2 -p $PORT \
		-t iqn.2026-11.io.cfs:$uuid:vm0
	for i in \$(seq 100); do [ ! -b /dev/sda ] || break; sleep 0.2; done
	cat /sys/block/sda/device/vendor /sys/block/sda/queue/discard_max_bytes
	mke2fs -b 4096 /dev/sda
	mount -t ext4 /dev/sda /mnt
	dd if=/dev/urandom of=/mnt/data bs=1M count=20
	md5sum </mnt/data >/mnt/sum
	sync
	fstrim -v /mnt
	umount /mnt
	END
	guest_end
	end_export
	check_ext4 vm0
	run -0 cfsck-heal check "$P"
}

@test "a kernel's client of NFS, over a restart of server and mount" {
	need_programs ganesha.nfsd cfsmount
	mkcfs -q "$P:files" --tree
	guest_modules nfsv4
	guest_programs "$CFS_BUILD/tests/posix/tree" \
		"$CFS_BUILD/tests/posix/bytes"
	start_export nfs "$P" "127.0.0.1:$PORT"
	guest_start <<-END
	mount -t nfs4 -o vers=4.2,addr=10.0.2.2,clientaddr=10.0.2.15,port=$PORT \
		10.0.2.2:/files /mnt
	mkdir -p /mnt/d/e /mnt/bytes /mnt/tree
	bytes /mnt/bytes 5 300
	tree /mnt/tree 6 300 3
	dd if=/dev/urandom of=/mnt/d/e/data bs=1M count=4
	md5sum </mnt/d/e/data >/tmp/sum
	echo before >/mnt/d/e/log
	cd /mnt/d/e
	exec 5</mnt/d/e/data
	sync
	echo 'restart it'
	while [ ! -e /mnt/restarted ]; do sleep 1; done
	echo 3 >/proc/sys/vm/drop_caches
	[ "\$(md5sum <&5)" = "\$(cat /tmp/sum)" ]
	[ "\$(cat log)" = before ]
	echo behind >>log
	rm data
	exec 5<&-
	cd /
	[ "\$(ls /mnt/d/e)" = log ]
	ls /mnt/.snapshots/a/d/e/data
	umount /mnt
	END
	guest_says 'restart it'
	end_export
	snapctl take -q --wait 30 "$P:files@a"
	start_export nfs "$P" "127.0.0.1:$PORT"
	cfscp -q /dev/null "$P:files:/restarted"
	guest_end
	end_export
	[ "$(cfscp -q --wait 30 "$P:files:/d/e/log" - | xargs)" = \
		'before behind' ]
	run -0 cfsck-heal check "$P"
}

@test "a kernel's client of SMB" {
	need_programs smbd smbpasswd cfsmount
	mkcfs -q "$P:files" --tree
	guest_modules cifs hmac md5 sha256 sha512 cmac aes_generic ccm gcm ecb \
		ctr ghash-generic nls_utf8
	export CFS_SMB_PASSDB=$PWD/passdb.tdb
	start_export smb "$P" "127.0.0.1:$PORT"
	printf 'secret\nsecret\n' |
		smbpasswd -c "$CFS_RUN"/export-smb-*/smb.conf -s -a root
	guest_start <<-END
	mount -t cifs -o ip=10.0.2.2,port=$PORT,user=root,pass=secret,vers=3.1.1 \
		//10.0.2.2/files /mnt
	dd if=/dev/urandom of=/mnt/data bs=1M count=8
	md5sum </mnt/data >/mnt/sum
	mkdir /mnt/d
	cp /mnt/data /mnt/d/copy
	mv /mnt/d/copy /mnt/d/moved
	sync
	umount /mnt
	mount -t cifs -o ip=10.0.2.2,port=$PORT,user=root,pass=secret,vers=3.1.1 \
		//10.0.2.2/files /mnt
	[ "\$(md5sum </mnt/d/moved)" = "\$(cat /mnt/sum)" ]
	umount /mnt
	END
	guest_end
	end_export
	cfscp -q --wait 30 "$P:files:/data" data
	cfscp -q --wait 30 "$P:files:/sum" sum
	[ "$(md5sum <data)" = "$(cat sum)" ]
	run -0 cfsck-heal check "$P"
}
