#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
#
# LUNs over iSCSI: tgt with our backing store, where that is built, else over a
# cfsmount; with libiscsi's tools and its test suite, and qemu's initiator.

load helpers
load nbd
load iscsi

setup() {
	iscsi_setup
	need_programs cfsmount iscsi-ls iscsi-inq iscsi-test-cu
}

@test "each LUN is a target, thin, with a serial number that stays" {
	mkcfs -q "$P:vm0" --lun 64M
	mkcfs -q "$P:files" --tree
	snapctl take -q "$P:vm0@a"
	snapctl clone -q "$P:vm0@a" c1
	start_iscsi
	run -0 iscsi-ls -s "iscsi://127.0.0.1:$PORT"
	[ "$(grep -c ^Target <<<"$output")" = 2 ]
	[[ $output == *":$UUID:vm0 "* && $output == *":$UUID:vm0:c1 "* ]]
	run -0 iscsi-inq "$(url vm0)"
	[[ $output == *"Vendor:CFS"* ]]
	run -0 iscsi-inq -e 1 -c 178 "$(url vm0)"
	[[ $output == *"lbpu:1"*"provisioning type:2"* ]]
	serial=$(iscsi-inq -e 1 -c 128 "$(url vm0)" | grep -i serial)
	run -0 qemu-img info "$(url vm0)"
	[[ $output == *"virtual size: 64 MiB"* ]]
	end_iscsi
	start_iscsi
	[ "$(iscsi-inq -e 1 -c 128 "$(url vm0)" | grep -i serial)" = "$serial" ]
}

@test "what is written is there, and UNMAP gives space back" {
	mkcfs -q "$P:vm0" --lun 64M
	start_iscsi
	run -0 qemu-io -f raw -c 'write -P 3 1M 16M' -c flush \
		-c 'discard 2M 8M' -c 'write -z -u 12M 1M' \
		-c 'aio_write -P 5 20M 4M' -c 'aio_write -P 6 24M 4M' \
		-c aio_flush -c 'read -P 3 1M 1M' -c 'read -P 0 2M 8M' \
		-c 'read -P 0 12M 1M' -c 'read -P 5 20M 4M' \
		-c 'read -P 6 24M 4M' -c flush "$(url vm0)"
	[[ $output != *"verification failed"* ]]
	# 1 + 16 - 8 - 1 of the first, 8 of the second.
	run -0 slicectl ls --json "$P:vm0"
	[ "$(jq_output '.volumes[0].used_bytes')" -le $((16 << 20)) ]
	end_iscsi
	run -0 cfsck-heal check "$P"
	cfscp -q --offset 20M --length 8M "$P:vm0" - | tr -d '\5\6' | cmp - /dev/null
}

@test "qemu copies an image in and out" {
	mkcfs -q "$P:vm0" --lun 64M
	pattern 5000 >src
	truncate -s 64M src
	start_iscsi
	qemu-img convert -n -f raw -O raw src "$(url vm0)"
	run -0 qemu-img compare -f raw -F raw src "$(url vm0)"
	end_iscsi
	cfscp -q "$P:vm0" - | cmp - src
}

@test "LUNs that are made and removed later are followed" {
	mkcfs -q "$P:vm0" --lun 16M
	start_iscsi
	mkcfs -q "$P:vm1" --lun 16M
	until_true 'iscsi-ls "iscsi://127.0.0.1:$PORT" | grep -q :vm1'
	run -0 qemu-io -f raw -c 'write -P 9 0 1M' -c flush "$(url vm1)"
	run -0 cfs-export status "$P"
	[[ $output == "iscsi $PWD/$P at 127.0.0.1:$PORT, process $SERVER"* ]]
}

# With store $1.
killed() {
	mkcfs -q "$P:vm0" --lun 32M
	CFS_ISCSI_STORE=$1 start_iscsi
	run -0 qemu-io -f raw -c 'write -P 1 0 4M' -c flush "$(url vm0)"
	snapctl take -q "$P:vm0@a"
	run -0 qemu-io -f raw -c 'write -P 2 0 4M' -c flush "$(url vm0)"
	[ "$1" != mount ] || kill -KILL "$(pgrep -f "^cfsmount.*$BATS_TEST_TMPDIR")"
	kill -KILL "$(pgrep -P "$SERVER" tgtd)"
	wait "$SERVER" || true
	cfscp -q --wait 30 --length 4M "$P:vm0" - | tr -d '\2' | cmp - /dev/null
	cfscp -q --wait 30 "$P:vm0@a" - | head -c 4M | tr -d '\1' |
		cmp - /dev/null
	start_iscsi
	run -0 qemu-io -f raw -c 'read -P 2 0 4M' "$(url vm0)"
	[[ $output != *"verification failed"* ]]
}

@test "a snapshot is taken while it is written, and a kill loses nothing" {
	killed ''
}

@test "nor does a kill of tgtd and of the mount that it reads" {
	killed mount
}

@test "an initiator that vanishes leaves nothing behind" {
	mkcfs -q "$P:vm0" --lun 64M
	start_iscsi
	stdbuf -oL qemu-io -f raw -c 'write -P 7 0 4M' -c flush -c 'aio_write -P 8 8M 16M' \
		-c 'sleep 60000' "$(url vm0)" >io.log 2>&1 3>&- &
	client=$!
	until_true 'grep -q wrote io.log'
	run -0 cfs-export status "$P"
	[[ $output == *":$UUID:vm0 "* ]]
	kill -KILL "$client"
	wait "$client" || true
	until_true '[[ $(cfs-export status "$P") == *"nobody is connected" ]]'
	run -0 qemu-io -f raw -c 'read -P 7 0 4M' -c 'write -P 9 8M 16M' \
		-c 'read -P 9 8M 16M' -c flush "$(url vm0)"
	[[ $output != *"verification failed"* ]]
	end_iscsi
	run -0 timeout 60 leasectl run --wait 30 "$P:vm0" -- true
	run -0 cfsck-heal check "$P"
}

@test "when LUNs cannot be listed for a while, they stay" {
	mkcfs -q "$P:vm0" --lun 16M
	mkdir bin
	printf '#!/bin/sh\n[ ! -e %s ] || { echo >>%s; exit 1; }\nexec %s "$@"\n' \
		"$PWD/fail" "$PWD/fail" "$(command -v slicectl)" >bin/slicectl
	chmod 755 bin/slicectl
	PATH=$PWD/bin:$PATH start_iscsi
	: >fail
	# The third time the second one is over.
	until_true '[ "$(wc -l <fail)" -ge 1 ]'
	until_true '[ "$(wc -l <fail)" -ge 2 ]'
	until_true '[ "$(wc -l <fail)" -ge 3 ]'
	run -0 qemu-io -f raw -c 'write -P 1 0 1M' -c flush "$(url vm0)"
	rm fail
	end_iscsi
}

@test "a new size is seen by who logs in when nobody else is" {
	mkcfs -q "$P:vm0" --lun 32M
	start_iscsi
	blocks() {
		iscsi-readcapacity16 "$(url vm0)" |
			sed -n 's/^RETURNED LOGICAL BLOCK ADDRESS://p'
	}
	[ "$(blocks)" = 65535 ]
	serial=$(iscsi-inq -e 1 -c 128 "$(url vm0)" | grep -i serial)
	qemu-io -f raw -c 'write -P 1 0 32M' -c 'sleep 7000' \
		-c 'write -P 2 0 1M' -c flush "$(url vm0)" >io.log 2>&1 3>&- &
	pid=$!
	until_true 'grep -q wrote io.log'
	slicectl resize -q "$P:vm0" 48M
	# The one that is logged in goes on with what it knows.
	wait "$pid"
	! grep -i 'fail\|error' io.log
	until_true '[ "$(blocks)" = 98303 ]'
	run -0 qemu-io -f raw -c 'write -P 3 47M 1M' -c 'read -P 3 47M 1M' \
		-c 'read -P 2 0 1M' -c 'read -P 1 1M 31M' -c flush "$(url vm0)"
	[[ $output != *"verification failed"* ]]
	[ "$(iscsi-inq -e 1 -c 128 "$(url vm0)" | grep -i serial)" = "$serial" ]
	end_iscsi
	cfscp -q --offset 47M --length 1M "$P:vm0" - | tr -d '\3' |
		cmp - /dev/null
}

@test "with --chap nobody logs in who does not know the secret" {
	mkcfs -q "$P:vm0" --lun 16M
	printf 'alice secret-of-alice\ntarget secret-of-target\n' >chap
	run --separate-stderr -1 timeout 20 cfs-export iscsi --chap chap "$P"
	says 'cfs-export: chap: others may read it: chmod 600'
	chmod 600 chap
	CFS_ISCSI_CHAP=$PWD/chap start_iscsi
	with() {
		url vm0 | sed "s#//#//$1@#"
	}
	run ! iscsi-inq "$(url vm0)"
	run ! iscsi-inq "$(with alice%wrong-secret-x)"
	run -0 iscsi-inq "$(with alice%secret-of-alice)"
	[[ $output == *"Vendor:CFS"* ]]
	run -0 iscsi-inq "$(with alice%secret-of-alice)?target_user=target&target_password=secret-of-target"
	run ! iscsi-inq "$(with alice%secret-of-alice)?target_user=target&target_password=another-secret"
	end_iscsi
	echo 'too many words' >chap
	run --separate-stderr -1 timeout 20 cfs-export iscsi --chap=chap "$P"
	says 'cfs-export: chap: not one or two lines of a name and a secret'
}

# What libiscsi's suite says of the LUN at $1: of each test how many there are,
# were run, have passed, have failed.
judge() {
	local test

	for test in "${TESTS[@]}"; do
		timeout 120 iscsi-test-cu -d -n -s -t "$test" "$1" 2>&1 |
			sed -n "s/^ *tests  */$test /p"
	done
}

# GET LBA STATUS: tgt multiplies the address until it overflows, we do not.
@test "libiscsi's suite finds what it finds with tgt on a plain file" {
	TESTS=(ALL.Read10 ALL.Write16 ALL.Unmap ALL.ReadCapacity16
		ALL.GetLBAStatus ALL.Inquiry ALL.CompareAndWrite)
	[ -z "${CFS_LONG-}" ] || TESTS+=(ALL.Read6 ALL.Read12 ALL.Read16
		ALL.Write10 ALL.Write12 ALL.WriteSame10 ALL.WriteSame16
		ALL.Verify10 ALL.Verify12 ALL.Verify16 ALL.TestUnitReady
		ALL.Prefetch10 ALL.Prefetch16 ALL.ProutRegister
		ALL.ProutReserve ALL.ModeSense6 ALL.ReadCapacity10
		ALL.ReportSupportedOpcodes ALL.StartStopUnit ALL.OrWrite
		ALL.ExtendedCopy ALL.MandatorySBC ALL.Mandatory
		ALL.NoMedia ALL.PrinReadKeys ALL.PrinReportCapabilities
		ALL.PrinServiceactionRange ALL.ReadDefectData10
		ALL.ReadDefectData12 ALL.ReadOnly ALL.Reserve6 ALL.Sanitize
		ALL.WriteAtomic16 ALL.WriteVerify10 ALL.WriteVerify12
		ALL.WriteVerify16 ALL.MultipathIO ALL.iSCSIResiduals
		ALL.iSCSICmdSn ALL.iSCSITMF ALL.iSCSISendTargets
		ALL.iSCSINop ALL.iSCSIdatasn)
	mkcfs -q "$P:vm0" --lun 64M
	start_iscsi
	truncate -s 64M plain
	tgt=(tgtadm -C "$(cat "$CFS_RUN"/export-iscsi-*/control)" --lld iscsi)
	"${tgt[@]}" --mode target --op new --tid 99 -T iqn.2026-11.io.cfs:plain
	"${tgt[@]}" --mode logicalunit --op new --tid 99 --lun 1 \
		-b "$PWD/plain" --bstype rdwr --blocksize 512
	"${tgt[@]}" --mode logicalunit --op update --tid 99 --lun 1 \
		--params vendor_id=CFS,product_id=LUN,scsi_sn=plain
	"${tgt[@]}" --mode logicalunit --op update --tid 99 --lun 1 \
		--params thin_provisioning=1
	"${tgt[@]}" --mode target --op bind --tid 99 -I ALL
	judge "$(url vm0)" >ours
	judge "iscsi://127.0.0.1:$PORT/iqn.2026-11.io.cfs:plain/1" >theirs
	cat ours
	[ "$(wc -l <ours)" = ${#TESTS[@]} ]
	grep -q '^ALL.Read10 *6 *6 *6 *0' ours
	sed -i '/^ALL.GetLBAStatus/d' theirs ours
	diff theirs ours
}
