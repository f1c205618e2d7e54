#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Our backing store in tgtd: where it is used and where not, and what
# initiators are told when the pool has something to say.

load helpers
load nbd
load iscsi

setup() {
	iscsi_setup
	[ -e "$CFS_BUILD/bin/bs_cfs.so" ] || skip "the store is not built"
}

log() {
	cat "$CFS_RUN"/export-iscsi-*/log
}

@test "tgtd has the store, and no mount; status says so" {
	mkcfs -q "$P:vm0" --lun 64M
	start_iscsi
	! grep "$BATS_TEST_TMPDIR" /proc/mounts
	run -0 cfs-export status "$P"
	[[ $output == "iscsi $PWD/$P at 127.0.0.1:$PORT, process $SERVER, with its store cfs"* ]]
	[ ! -s errors ]
	# It holds the pool, and answers.
	run -0 leasectl status --json "$P"
	[ "$(jq_output .manager.pid)" = "$(pgrep -P "$SERVER" tgtd)" ]
	run -4 leasectl run --wait 0 "$P:vm0" -- true
	end_iscsi
	run -0 leasectl run --wait 30 "$P:vm0" -- true
	run -0 cfsck-heal check "$P"
}

@test "a tgtd of another version is not trusted: a mount does it" {
	mkcfs -q "$P:vm0" --lun 16M
	mkdir bin
	sed 's/1\.0\.85/1.0.99/g' "$(command -v tgtd)" >bin/tgtd
	chmod 755 bin/tgtd
	PATH=$PWD/bin:$PATH start_iscsi
	grep -x "cfs-export: $P: iscsi: over a mount, which is slower: tgtd is version 1.0.99, which this store does not know" errors
	run -0 cfs-export status "$P"
	[[ $output == *", over a mount: tgtd is version 1.0.99, which this store does not know"* ]]
	run -0 qemu-io -f raw -c 'write -P 9 0 1M' -c flush -c 'read -P 9 0 1M' \
		"$(url vm0)"
	end_iscsi
}

@test "what tgtd cannot be told the name of is mounted" {
	mkdir 'a,b'
	mv "$P" 'a,b'
	P=a,b/$P
	mkcfs -q "$P:vm0" --lun 16M
	start_iscsi
	grep ': a comma in a path$' errors
	run -0 qemu-io -f raw -c 'write -P 9 0 1M' -c flush "$(url vm0)"
	end_iscsi
	cfscp -q --length 1M "$P:vm0" - | tr -d '\11' | cmp - /dev/null
}

@test "several LUNs at a time, each with its own bytes" {
	for i in 1 2 3; do mkcfs -q "$P:vm$i" --lun 32M; done
	start_iscsi
	pids=()
	for i in 1 2 3; do
		qemu-io -f raw -c "aio_write -P 1$i 0 8M" \
			-c "aio_write -P 2$i 8M 8M" -c aio_flush \
			-c "read -P 1$i 0 8M" -c "read -P 2$i 8M 8M" -c flush \
			"$(url "vm$i")" >"io.$i" 2>&1 3>&- &
		pids+=($!)
	done
	for i in 0 1 2; do wait "${pids[i]}"; done
	! grep -i 'fail\|error' io.?
	end_iscsi
	for i in 1 2 3; do
		cfscp -q --length 8M "$P:vm$i" - | tr -d "\\$(printf %o "1$i")" |
			cmp - /dev/null
	done
	run -0 cfsck-heal check "$P"
}

@test "UNMAP makes holes, which initiators see" {
	mkcfs -q "$P:vm0" --lun 64M
	start_iscsi
	run -0 qemu-io -f raw -c 'write -P 3 1M 16M' -c flush \
		-c 'discard 2M 8M' -c 'read -P 3 1M 1M' -c 'read -P 0 2M 8M' \
		-c 'read -P 3 10M 7M' "$(url vm0)"
	[[ $output != *"verification failed"* ]]
	qemu-img map -f raw --output=json "$(url vm0)" |
		jq -c '.[] | [.start, .length, .data]' >map
	grep -Fx '[1048576,1048576,true]' map
	grep -Fx '[2097152,8388608,false]' map
	grep -Fx '[10485760,7340032,true]' map
	# Half a block is zeroes, too.
	run -0 qemu-io -f raw -c 'discard 10485760 512' -c 'read -P 0 10M 512' \
		-c 'read -P 3 10486272 3584' "$(url vm0)"
	[[ $output != *"verification failed"* ]]
	end_iscsi
}

@test "a full pool is 'no space', and is over when there is some" {
	mkcfs -q "$P:big" --lun 600M
	start_iscsi
	for ((at = 0; at < 600; at += 10)); do
		qemu-io -f raw -c "write -P 5 ${at}M 10M" "$(url big)" \
			>io 2>&1 || true
		! grep -q 'write failed: ' io || break
	done
	grep 'write failed: No space left on device' io
	[ "$at" -ge 100 ]
	truncate -s 256M more.img
	slicectl -q add "$P" more.img
	run -0 qemu-io -f raw -c "write -P 6 ${at}M 10M" -c flush \
		-c "read -P 6 ${at}M 10M" -c 'read -P 5 0 10M' "$(url big)"
	[[ $output != *"failed"* ]]
	end_iscsi
	run -0 cfsck-heal check "$P"
}

@test "a damaged block is an error, those beside it are not" {
	make_lun vm0 16M 64
	flip_byte "$P" "$(($(find_block 20 vm0) + 3000))"
	start_iscsi
	for i in 19 20 21; do
		run qemu-io -f raw -c "read -v $((i * 4096)) 16" "$(url vm0)"
		if [ "$i" = 20 ]; then
			[[ $output == *"read failed: Input/output error"* ]]
		else
			[[ $output == *"block.$i.of"* ]]
		fi
	done
	log | grep 'vm0: command 0x.* at 81920: '
	run -0 qemu-io -f raw -c 'write -P 7 80k 4k' -c 'read -P 7 80k 4k' \
		"$(url vm0)"
	[[ $output != *"failed"* ]]
	end_iscsi
}

# Those that wait are taken together.
@test "many reads at a time: each has its bytes, or its own error" {
	local i round writes=() reads=()

	make_lun vm0 16M 128
	flip_byte "$P" "$(($(find_block 20 vm0) + 3000))"
	start_iscsi
	for ((i = 64; i < 128; i++)); do
		writes+=(-c "write -P $i $((i * 4096)) 4k")
		reads+=(-c "aio_read -P $i $((i * 4096)) 4k")
	done
	run -0 qemu-io -f raw "${writes[@]}" "$(url vm0)"
	for round in 1 2 3 4 5; do
		run -0 qemu-io -f raw "${reads[@]}" -c aio_flush "$(url vm0)"
		[[ $output != *"failed"* ]]
		[ "$(grep -c '^read 4096/4096 bytes' <<<"$output")" = 64 ]
	done
	reads=()
	for ((i = 0; i < 64; i++)); do
		reads+=(-c "aio_read $((i * 4096)) 4k")
	done
	for round in 1 2 3 4 5; do
		run --separate-stderr qemu-io -f raw "${reads[@]}" \
			-c aio_flush "$(url vm0)"
		[ "$(grep -c '^read 4096/4096 bytes' <<<"$output")" = 63 ]
		[ "$(grep -c 'failed: Input/output' <<<"$output$stderr")" = 1 ]
		[[ $output != *"4096 bytes at offset 81920"$'\n'* ]]
	done
	log | grep 'vm0: command 0x.* at 81920: '
	end_iscsi
}

# It stands still for longer than its lease; meanwhile somebody else writes.
@test "who has lost its lease says errors, never old data, and ends" {
	slicectl set -q "$P" lease_period=4s
	mkcfs -q "$P:vm0" --lun 16M
	serve_pool
	start_iscsi
	run -0 qemu-io -f raw -c 'write -P 1 0 1M' -c flush "$(url vm0)"
	tgtd=$(pgrep -P "$SERVER" tgtd)
	kill -STOP "$tgtd"
	head -c 1M /dev/zero | tr '\0' '\2' >new
	timeout 60 cfscp -q --wait 30 new "$P:vm0"
	kill -CONT "$tgtd"
	run timeout 60 qemu-io -f raw -c 'read -P 1 0 1M' "$(url vm0)"
	[[ $output == *"read failed: Input/output error"* ]]
	until_true '! kill -0 $SERVER 2>/dev/null' ||
		until_true '! kill -0 $SERVER 2>/dev/null'
	status=0
	wait "$SERVER" || status=$?
	[ "$status" = 1 ]
	grep "^cfs-export: $P: iscsi: the lease is lost, " errors
	cfscp -q --length 1M "$P:vm0" - | cmp - new
	start_iscsi
	run -0 qemu-io -f raw -c 'read -P 2 0 1M' "$(url vm0)"
	[[ $output != *"verification failed"* ]]
	end_iscsi
}

@test "an export whose tgtd stands still ends all the same" {
	[ -n "${CFS_LONG-}" ] || skip "takes a minute"
	mkcfs -q "$P:vm0" --lun 16M
	start_iscsi
	run -0 qemu-io -f raw -c 'write -P 1 0 1M' -c flush "$(url vm0)"
	kill -STOP "$(pgrep -P "$SERVER" tgtd)"
	kill -TERM "$SERVER"
	for _ in {1..12}; do
		! until_true '! kill -0 $SERVER 2>/dev/null' || break
	done
	status=0
	wait "$SERVER" || status=$?
	[ "$status" = 0 ]
	cfscp -q --wait 30 --length 1M "$P:vm0" - | tr -d '\1' | cmp - /dev/null
}

@test "a store by hand: what it is not, it says" {
	mkcfs -q "$P:vm0" --lun 16M
	mkcfs -q "$P:files" --tree
	start_iscsi
	tgt=(tgtadm -C "$(cat "$CFS_RUN"/export-iscsi-*/control)" --lld iscsi)
	"${tgt[@]}" --mode target --op new --tid 99 -T iqn.2026-11.io.cfs:x
	unit=("${tgt[@]}" --mode logicalunit --op new --tid 99 --lun 1 \
		--bstype cfs)
	for bad in "$P:files|a tree is no disk" "$P|not POOL:VOLUME" \
		"$P:none|none: "; do
		run ! "${unit[@]}" -b "$PWD/${bad%|*}"
		log | grep -F "cfs: $PWD/${bad%|*}: " | grep -F "${bad#*|}"
	done
	run ! "${unit[@]}" -b "$PWD/$P:vm0" --bsopts wait=soon
	log | grep -F 'cfs: --bsopts wait=soon: not wait=SECONDS'
	run ! "${unit[@]}" -b "$PWD/$P:vm0" --device-type tape
	snapctl take -q "$P:vm0@a"
	"${unit[@]}" -b "$PWD/$P:vm0@a"
	"${tgt[@]}" --mode target --op bind --tid 99 -I ALL
	run qemu-io -f raw -c 'write 0 4k' \
		"iscsi://127.0.0.1:$PORT/iqn.2026-11.io.cfs:x/1"
	[[ $output == *"write protected"* ]]
	run -0 qemu-io -r -f raw -c 'read -P 0 0 4k' \
		"iscsi://127.0.0.1:$PORT/iqn.2026-11.io.cfs:x/1"
	[[ $output != *"failed"* ]]
	end_iscsi
}
