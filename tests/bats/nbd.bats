#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
#
# LUNs over NBD: nbdkit with our plugin, and clients that others wrote.

load helpers
load nbd

setup() {
	cfs_setup
	need_programs nbdkit nbdinfo nbdcopy
	[ -e "$CFS_BUILD/bin/nbdkit-cfs-plugin.so" ] ||
		skip "the plugin is not built"
	NBDKIT_OPTIONS=()
	export P CFS_RUN=$BATS_TEST_TMPDIR/run
	make_pool "$P" 256M
}

teardown() {
	kill_servers
	release_pools
}

# A LUN vm0 of 64 MiB, exported.
export_lun() {
	mkcfs -q "$P:vm0" --lun 64M
	start_nbd pool="$P"
}

# ---- exports -----------------------------------------------------------------

@test "LUNs, clones and snapshots are listed, trees are not" {
	mkcfs -q "$P:vm0" --lun 16M
	mkcfs -q "$P:files" --tree
	snapctl take -q --note before "$P:vm0@a"
	snapctl take -q "$P:files@a"
	snapctl clone -q "$P:vm0@a" c1
	start_nbd pool="$P"
	run -0 nbdinfo --list --json "$(uri)"
	[ "$(jq_output -c '[.exports[]."export-name"] | sort')" = \
		'["vm0","vm0/c1","vm0@a"]' ]
	[ "$(jq_output '.exports[] | select(."export-name" == "vm0@a") |
		."is_read_only", .description' | head -1)" = true ]
	run nbdinfo "$(uri files)"
	[ "$status" != 0 ]
	grep -q 'files: a tree is no disk' log
}

@test "who names nothing gets the one LUN, or what volume= says" {
	mkcfs -q "$P:one" --lun 8M
	start_nbd "$P"
	[ "$(nbdinfo --size "$(uri)")" = 8388608 ]
	mkcfs -q "$P:two" --lun 12M
	run nbdinfo --size "$(uri)"
	[ "$status" != 0 ]
	[ "$(nbdinfo --size "$(uri two)")" = 12582912 ]
	end_nbd
	start_nbd "$P" volume=two
	[ "$(nbdinfo --size "$(uri)")" = 12582912 ]
	run nbdinfo "$(uri three)"
	[ "$status" != 0 ]
}

@test "a size that has changed is seen by who connects" {
	export_lun
	nbdsh -u "$(uri vm0)" -c - <<-'END'
	import os, subprocess
	assert h.get_size() == 64 << 20
	subprocess.check_call(["slicectl", "-q", "resize",
	                       os.environ["P"] + ":vm0", "80M"])
	h.pwrite(b"end", (64 << 20) - 3)
	END
	[ "$(nbdinfo --size "$(uri vm0)")" = 83886080 ]
	nbdsh -u "$(uri vm0)" -c 'h.pwrite(b"new", (80 << 20) - 3)'
}

@test "what is wrong with the pool is said before nbdkit is in the background" {
	so=$CFS_BUILD/bin/nbdkit-cfs-plugin.so
	run --separate-stderr nbdkit -U "$BATS_TEST_TMPDIR/s" "$so" pool=nothing
	[ "$status" = 1 ]
	[[ $stderr == *"nothing: "*"No such file"* ]]
	truncate -s 64M plain
	run --separate-stderr nbdkit -U "$BATS_TEST_TMPDIR/s" "$so" plain
	[ "$status" = 1 ]
	[[ $stderr == *"plain: "*cfs* ]]
	run --separate-stderr nbdkit -U "$BATS_TEST_TMPDIR/s" "$so"
	[ "$status" = 1 ]
	[[ $stderr == *"pool=POOL is missing"* ]]
	run --separate-stderr nbdkit "$so" "$P" color=red
	[ "$status" = 1 ]
	[[ $stderr == *"unknown parameter 'color'"* ]]
}

@test "in the background, and as long as a command runs" {
	mkcfs -q "$P:vm0" --lun 16M
	so=$CFS_BUILD/bin/nbdkit-cfs-plugin.so
	# shellcheck disable=SC2016
	run -0 nbdkit -U - "$so" "$P" \
		--run 'nbdcopy "$uri" - | cmp -n 16777216 - /dev/zero'
	S=$BATS_TEST_TMPDIR/s
	nbdkit -U "$S" -P "$PWD/pid" "$so" "$P" 3>&-
	until_true '[ -s pid ]'
	NBDKIT=$(cat pid)
	[ "$(nbdinfo --size "$(uri vm0)")" = 16777216 ]
	nbdsh -u "$(uri vm0)" -c 'h.pwrite(b"x" * 4096, 0)'
	run -0 slicectl ls --json "$P"
	kill "$NBDKIT"
	until_true '! kill -0 "$NBDKIT" 2>/dev/null'
	run -0 cfsck-heal check "$P"
	[ "$(cfscp -q --length 4096 "$P:vm0" - | tr -d x | wc -c)" = 0 ]
}

# ---- commands ----------------------------------------------------------------

@test "each command and flag does what it says" {
	need_programs nbdsh
	export_lun
	nbdsh --base-allocation -u "$(uri vm0)" -c - <<-'END'
	import nbd, errno

	def map(offset, count):
	    parts = []
	    h.block_status(count, offset,
	        lambda ctx, at, e, err: parts.extend(e))
	    return list(zip(parts[0::2], parts[1::2]))

	def refused(fn, *args, **kw):
	    try:
	        fn(*args, **kw)
	    except nbd.Error as e:
	        return e.errnum
	    return 0

	M = 1 << 20
	h.set_strict_mode(0)
	assert h.can_flush() and h.can_fua() and h.can_trim() and h.can_zero()
	assert h.can_fast_zero() and h.can_multi_conn() and h.can_cache()
	assert h.can_df() and not h.is_read_only() and not h.is_rotational()
	assert h.get_block_size(nbd.SIZE_MINIMUM) == 1
	assert h.get_block_size(nbd.SIZE_PREFERRED) == 4096

	# Bytes at any offset, small and large, with and without FUA.
	data = bytes(range(256)) * 16 * 512          # 2 MiB
	h.pwrite(data, 12345)
	assert h.pread(len(data), 12345) == data
	h.pwrite(b"one", 12346, nbd.CMD_FLAG_FUA)
	assert h.pread(5, 12345) == data[:1] + b"one" + data[4:5]
	h.flush()

	# What is written is data, the rest a hole.
	assert map(0, 64 * M) == [(12288, 3), (2101248, 0), (64995328, 3)]

	# A hole where there may be one; else zeroes that have space.
	h.pwrite(data, 8 * M)
	h.zero(M, 8 * M)
	assert map(8 * M, M) == [(M, 3)], map(8 * M, M)
	h.zero(M, 9 * M, nbd.CMD_FLAG_NO_HOLE)
	assert map(9 * M, M) == [(M, 0)], map(9 * M, M)
	assert h.pread(2 * M, 8 * M) == bytes(2 * M)
	h.zero(M, 9 * M, nbd.CMD_FLAG_FAST_ZERO | nbd.CMD_FLAG_FUA)
	assert refused(h.zero, M, 9 * M, nbd.CMD_FLAG_FAST_ZERO |
	               nbd.CMD_FLAG_NO_HOLE) == errno.ENOTSUP
	# Parts of blocks.
	h.pwrite(b"a" * 8192, 20 * M)
	h.zero(8000, 20 * M + 96)
	assert h.pread(8192, 20 * M) == b"a" * 96 + bytes(8000) + b"a" * 96

	# Trim leaves parts of blocks alone.
	h.pwrite(b"b" * 16384, 24 * M)
	h.trim(16384 - 200, 24 * M + 100, nbd.CMD_FLAG_FUA)
	assert h.pread(4096, 24 * M) == b"b" * 4096
	assert h.pread(8192, 24 * M + 4096) == bytes(8192)
	assert h.pread(4096, 24 * M + 12288) == b"b" * 4096

	h.cache(64 * M - 1, 1)
	one = []
	h.block_status(64 * M, 0, lambda c, a, e, err: one.extend(e),
	               nbd.CMD_FLAG_REQ_ONE)
	assert len(one) == 2

	# Outside.
	for fn in (lambda: h.pread(2, 64 * M - 1),
	           lambda: h.pwrite(b"ab", 64 * M - 1),
	           lambda: h.trim(2, 64 * M - 1),
	           lambda: h.zero(2, 64 * M - 1)):
	    assert refused(fn) in (errno.EINVAL, errno.ENOSPC)
	assert h.pread(1, 64 * M - 1) == b"\0"
	END
	end_nbd
	[ "$status" = 0 ]
	run -0 cfsck-heal check "$P"
}

@test "a snapshot is not written, nor is anything with -r" {
	need_programs nbdsh
	mkcfs -q "$P:vm0" --lun 16M
	snapctl take -q "$P:vm0@a"
	start_nbd "$P"
	for name in vm0@a vm0; do
		nbdsh -u "$(uri $name)" -c - <<-'END'
		import nbd, errno
		assert h.is_read_only()
		h.set_strict_mode(0)
		for fn in (lambda: h.pwrite(b"x", 0), lambda: h.trim(4096, 0),
		           lambda: h.zero(4096, 0)):
		    try:
		        fn()
		        assert False
		    except nbd.Error as e:
		        assert e.errnum == errno.EPERM, e
		assert h.pread(4096, 0) == bytes(4096)
		END
		end_nbd
		NBDKIT_OPTIONS=(-r)
		start_nbd "$P"
	done
}

@test "nbdcopy in and out, and holes stay holes" {
	export_lun
	head -c 9M /dev/urandom >src
	truncate -s 30M src
	head -c 5M /dev/urandom >>src
	truncate -s 64M src
	nbdcopy src "$(uri vm0)"
	nbdcopy "$(uri vm0)" dst
	cmp src dst
	run -0 nbdinfo --map --totals --json "$(uri vm0)"
	[ "$(jq_output '.[] | select(.type == 0) | .size')" -le 14745600 ]
	cfscp -q "$P:vm0" - | cmp - src
	# From one volume to another of the same pool.
	mkcfs -q "$P:vm1" --lun 64M
	nbdcopy "$(uri vm0)" "$(uri vm1)"
	cfscp -q "$P:vm1" - | cmp - src
}

@test "qemu-img and qemu-io are at home with it" {
	need_programs qemu-img qemu-io
	export_lun
	pattern 3000 >src
	truncate -s 64M src
	qemu-img convert -n -f raw -O raw src "$(uri vm0)"
	run -0 qemu-img compare -f raw -F raw src "$(uri vm0)"
	run -0 qemu-io -f raw "$(uri vm0)" -c 'write -P 7 1M 64k' \
		-c 'write -z -u 2M 1M' -c 'discard 4M 4M' -c 'write -P 9 -f 9M 3k' \
		-c 'aio_write -P 5 10M 1M' -c 'aio_flush' -c flush \
		-c 'read -P 7 1M 64k' -c 'read -P 0 2M 1M' \
		-c 'read -P 9 9M 3k' -c 'read -P 5 10M 1M'
	[[ $output != *"verification failed"* ]]
	qemu-img map --output=json -f raw "$(uri vm0)" >map
	[ "$(jq '[.[] | select(.start == 2097152)][0].zero' map)" = true ]
}

@test "fio writes at random and verifies what it reads" {
	need_programs fio
	export_lun
	for args in '--bs=4k --iodepth=16' '--bsrange=512-200k --iodepth=8'; do
		# shellcheck disable=SC2086
		run -0 fio --name=v --ioengine=nbd --uri="$(uri vm0)" $args \
			--rw=randrw --size=48M --verify=xxhash --do_verify=1 \
			--randseed=5 --fsync=500
	done
	end_nbd
	[ "$status" = 0 ]
	run -0 cfsck-heal check "$P"
}

# ---- others at the same time ----------------------------------------------------

@test "two connections see what each writes, and a flush covers both" {
	need_programs nbdsh
	export_lun
	OTHER=$(uri vm0) nbdsh -u "$(uri vm0)" -c - <<-'END'
	import nbd, os
	o = nbd.NBD()
	o.connect_uri(os.environ["OTHER"])
	for i in range(64):
	    h.pwrite(bytes([i]) * 8192, i * 65536)
	    assert o.pread(8192, i * 65536) == bytes([i]) * 8192
	    o.pwrite(bytes([i + 1]) * 4096, i * 65536 + 4096)
	    assert h.pread(4096, i * 65536 + 4096) == bytes([i + 1]) * 4096
	o.flush()
	END
	end_nbd KILL
	start_nbd "$P"
	nbdsh -u "$(uri vm0)" -c - <<-'END'
	for i in range(64):
	    want = bytes([i]) * 4096 + bytes([i + 1]) * 4096
	    assert h.pread(8192, i * 65536) == want
	END
}

@test "a lease on the volume keeps clients out, and they keep it" {
	need_programs nbdsh
	mkcfs -q "$P:vm0" --lun 16M
	start_nbd "$P" wait=1
	nbdsh -u "$(uri vm0)" -c 'import subprocess, os' \
		-c 'r = subprocess.run(["leasectl", "run", "--wait", "0",
			os.environ["P"] + ":vm0", "--", "true"])' \
		-c 'assert r.returncode == 4, r'
	run -0 leasectl run --wait 10 "$P:vm0" -- \
		bash -c '! nbdinfo "'"$(uri vm0)"'" >/dev/null 2>&1'
	[ "$(nbdinfo --size "$(uri vm0)")" = 16777216 ]
}

@test "snapshots are taken of what is exported, and exported" {
	need_programs nbdsh
	export_lun
	OTHER=$(uri vm0@s) nbdsh -u "$(uri vm0)" -c - <<-'END'
	import nbd, os, subprocess
	h.pwrite(b"old" * 1000, 100)
	h.flush()
	subprocess.check_call(["snapctl", "take", "-q",
	                       os.environ["P"] + ":vm0@s"])
	h.pwrite(b"new" * 1000, 100)
	s = nbd.NBD()
	s.connect_uri(os.environ["OTHER"])
	assert s.pread(3000, 100) == b"old" * 1000
	assert h.pread(3000, 100) == b"new" * 1000
	END
	run -0 cfsck-heal check "$P"
}

@test "a client that vanishes leaves nothing behind" {
	need_programs nbdsh
	export_lun
	nbdsh -u "$(uri vm0)" -c 'import time' \
		-c 'h.pwrite(b"x" * 1048576, 0)' \
		-c 'open("there", "w").close()' -c 'time.sleep(60)' 3>&- &
	client=$!
	until_true '[ -e there ]'
	pkill -KILL -P "$client" || true
	kill -KILL "$client" 2>/dev/null || true
	wait "$client" || true
	run -0 leasectl run --wait 10 "$P:vm0" -- true
	nbdsh -u "$(uri vm0)" -c 'assert h.pread(1, 0) == b"x"'
}

# ---- bad days -------------------------------------------------------------------

@test "what was flushed is there after each of many kills" {
	need_programs nbdsh
	export_lun
	for ((i = 1; i <= ${CFS_LONG:+20}${CFS_LONG:-5}; i++)); do
		nbdsh -u "$(uri vm0)" -c "i = $i" -c - <<-'END'
		import nbd
		def block(k): return bytes([k]) * 4096
		seen = set()	# written later: the last one is what counts
		for k in range(i - 1, 0, -1):
		    places = [(n * 40503 + k * 977) % 16000 * 4096
		              for n in range(32)]
		    for n, at in enumerate(places):
		        if at not in seen:
		            assert h.pread(4096, at) == block(k), (i, k, n)
		    seen.update(places)
		for n in range(32):
		    at = (n * 40503 + i * 977) % 16000 * 4096
		    h.pwrite(block(i), at, nbd.CMD_FLAG_FUA if n % 2 else 0)
		h.flush()
		END
		end_nbd KILL
		start_nbd "$P"
	done
	end_nbd
	run -0 cfsck-heal check "$P"
}

@test "a full pool is ENOSPC to the client, and is over when there is space" {
	need_programs nbdsh
	mkcfs -q "$P:big" --lun 600M
	start_nbd "$P"
	nbdsh -u "$(uri big)" -c - <<-'END'
	import nbd, errno, os, subprocess
	M = 1 << 20
	data = os.urandom(M)
	at = 0
	try:
	    while at < 600:
	        h.pwrite(data, at * M)
	        at += 1
	    assert False, "it never was full"
	except nbd.Error as e:
	    assert e.errnum == errno.ENOSPC, e
	assert at > 100, at
	h.flush()
	assert h.pread(M, (at - 1) * M) == data
	subprocess.check_call(["truncate", "-s", "256M", "more.img"])
	subprocess.check_call(["slicectl", "-q", "add", os.environ["P"],
	                       "more.img"])
	for i in range(20):
	    h.pwrite(data, (at + i) * M)
	h.flush()
	assert h.pread(M, (at + 19) * M) == data
	h.trim(100 * M, 0)
	END
	end_nbd
	[ "$status" = 0 ]
	run -0 cfsck-heal check "$P"
}

@test "a damaged block is EIO, those beside it are not" {
	need_programs nbdsh
	make_lun vm0 16M 64
	flip_byte "$P" "$(($(find_block 20 vm0) + 3000))"
	start_nbd "$P"
	nbdsh -u "$(uri vm0)" -c - <<-'END'
	import nbd, errno
	for i in range(64):
	    try:
	        got = h.pread(4096, i * 4096)
	        assert got.startswith(b"block %d of vm0" % i) and i != 20
	    except nbd.Error as e:
	        assert i == 20 and e.errnum == errno.EIO, e
	h.pwrite(b"good" * 1024, 20 * 4096)
	assert h.pread(4096, 20 * 4096) == b"good" * 1024
	END
	grep -q 'read at 81920: ' log
}

# ---- through somebody else -------------------------------------------------------

@test "beside a cfsd it is a client; when that ends, the pool is nbdkit's" {
	need_programs nbdsh
	[ -n "${CFS_TEST_BESIDE-}" ] || serve_pool
	export_lun
	nbdsh -u "$(uri vm0)" -c 'h.pwrite(b"first" * 1000, 4096)' \
		-c 'h.flush()' -c 'h.pwrite(b"other" * 1000, 1 << 20)'
	run -0 leasectl status --json "$P"
	[ "$(jq_output .manager.pid)" = "$CFSD" ]
	run -0 cfsck-heal check "$P"
	kill -KILL "$CFSD"
	wait "$CFSD_TIMER" || true
	# shellcheck disable=SC2034
	CFSDS=()
	until_true 'nbdinfo --size "$(uri vm0)" >size 2>/dev/null'
	[ "$(cat size)" = 67108864 ]
	nbdsh -u "$(uri vm0)" \
		-c 'assert h.pread(5000, 4096) == b"first" * 1000'
	run -0 leasectl status --json "$P"
	[ "$(jq_output .manager.pid)" = "$NBDKIT" ]
	end_nbd
	[ "$status" = 0 ]
	run -0 cfsck-heal check "$P"
}

@test "TLS, with certificates, and filters" {
	need_programs certtool
	mkcfs -q "$P:vm0" --lun 16M
	mkdir pki
	for name in ca server client; do
		certtool --generate-privkey --key-type=ecdsa \
			--outfile "pki/$name-key.pem" 2>/dev/null
	done
	printf 'cn = test\nca\ncert_signing_key\n' >ca.info
	certtool --generate-self-signed --load-privkey pki/ca-key.pem \
		--template ca.info --outfile pki/ca-cert.pem 2>/dev/null
	printf 'cn = localhost\ndns_name = localhost\nip_address = 127.0.0.1\n%s\n' \
		tls_www_server >server.info
	printf 'cn = client\ntls_www_client\n' >client.info
	for name in server client; do
		certtool --generate-certificate --template $name.info \
			--load-privkey pki/$name-key.pem \
			--load-ca-certificate pki/ca-cert.pem \
			--load-ca-privkey pki/ca-key.pem \
			--outfile pki/$name-cert.pem 2>/dev/null
	done
	NBDKIT_OPTIONS=(--tls=require --tls-certificates="$PWD/pki"
		--filter=cow)
	start_nbd "$P"
	run nbdinfo "$(uri vm0)"
	[ "$status" != 0 ]
	tls="nbds+unix:///vm0?socket=$S&tls-certificates=$PWD/pki"
	tls="$tls&tls-verify-peer=false"
	run -0 nbdinfo --json "$tls"
	[ "$(jq_output .TLS)" = true ]
	TLS=$tls nbdsh -c 'h.set_uri_allow_local_file(True)' \
		-c 'h.connect_uri(__import__("os").environ["TLS"])' \
		-c 'h.pwrite(b"gone" * 1024, 0)' \
		-c 'assert h.pread(4, 0) == b"gone"'
	end_nbd
	cfscp -q "$P:vm0" - | cmp -n 16777216 - /dev/zero
}
