#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
#
# One command for each protocol: cfsd --nbd, --iscsi, --nfs, --smb, and
# cfs-export behind them; who is connected; and that nothing is left behind.

load helpers
load nbd

setup() {
	cfs_setup
	unset CFS_TEST_BESIDE
	CFS_RUN=$(mktemp -d /tmp/cfs-ex.XXXXXX)
	export P CFS_RUN
	# Ports of this test's own.
	PORT=$((20000 + (BASHPID % 1000) * 10))
	make_pool "$P" 256M
}

teardown() {
	local pid

	for pid in "${SERVERS[@]}"; do
		kill -TERM "$pid" 2>/dev/null || continue
		wait "$pid" 2>/dev/null || true
	done
	! grep "$BATS_TEST_TMPDIR" /proc/mounts
}

# "$@" in the background, until its file out has $LINES_WANTED lines.
start() {
	rm -f out
	"$@" >out 2>errors 3>&- &
	SERVER=$!
	SERVERS+=("$SERVER")
	until_true '[ "$(cat out 2>/dev/null | wc -l)" -ge ${LINES_WANTED:-1} ] ||
		! kill -0 $SERVER 2>/dev/null'
	kill -0 "$SERVER" || { cat errors; false; }
}

end_server() {
	kill -TERM "$SERVER"
	status=0
	wait "$SERVER" || status=$?
}

# No process of the export is left, and no file.
assert_gone() {
	run ! ls -d "$CFS_RUN"/export-* "$CFS_RUN"/*.nbd
	run ! grep -q "$BATS_TEST_TMPDIR" /proc/mounts
}

@test "cfsd --nbd exports, says where, and ends cleanly" {
	need_programs nbdkit nbdsh
	mkcfs -q "$P:vm0" --lun 16M
	LINES_WANTED=2 start cfsd --nbd "$P"
	S=$(sed -n "s/^$P: nbd at unix://p" out)
	[ -S "$S" ]
	nbdsh -u "$(uri vm0)" -c - <<-'END'
	import os, subprocess
	h.pwrite(b"here" * 1024, 0)
	told = subprocess.check_output(["cfs-export", "status",
	                                os.environ["P"]]).decode()
	assert "vm0 rw process %d\n" % os.getpid() in told, told
	END
	run -0 cfs-export status
	[[ $output == "nbd $PWD/$P at unix:$S, process "*"nobody is connected" ]]
	end_server
	[ "$status" = 0 ]
	assert_gone
	run -0 cfs-export status
	[ "$output" = 'nothing is exported' ]
	[ "$(cfscp -q --length 4 "$P:vm0" -)" = here ]
	run -0 cfsck-heal check "$P"
}

@test "cfsd --json names what it exports" {
	need_programs nbdkit
	mkcfs -q "$P:vm0" --lun 16M
	start cfsd --json-lines --nbd=127.0.0.1:$PORT "$P"
	[ "$(jq -r '.exports[] | .kind, .address' out)" = \
		"nbd"$'\n'"127.0.0.1:$PORT" ]
	[ "$(nbdinfo --size "nbd://127.0.0.1:$PORT/vm0")" = 16777216 ]
	kill -0 "$(jq '.exports[0].pid' out)"
	end_server
	[ "$status" = 0 ]
	start cfsd --json-lines "$P"
	[ "$(jq -c .exports out)" = '[]' ]
}

@test "a server that is killed is started again" {
	need_programs nbdkit
	mkcfs -q "$P:vm0" --lun 16M
	LINES_WANTED=2 start cfsd --nbd "$P"
	S=$(sed -n "s/^$P: nbd at unix://p" out)
	kill -KILL "$(cat "$CFS_RUN"/export-nbd-*/nbdkit.pid)"
	until_true 'grep -q "is started again" errors'
	until_true 'nbdinfo --size "$(uri vm0)" >size 2>/dev/null'
	[ "$(cat size)" = 16777216 ]
	end_server
	[ "$status" = 0 ]
	assert_gone
}

@test "when cfsd is killed its servers end" {
	need_programs nbdkit
	mkcfs -q "$P:vm0" --lun 16M
	LINES_WANTED=2 start cfsd --nbd "$P"
	kill -KILL "$SERVER"
	wait "$SERVER" || true
	# A server that waits for the manager is killed after ten seconds.
	until_true '! ls -d "$CFS_RUN"/export-* >/dev/null 2>&1' ||
		until_true '! ls -d "$CFS_RUN"/export-* >/dev/null 2>&1'
	run -0 slicectl ls "$P"
}

@test "what cannot be served is said, and cfsd ends" {
	need_programs nbdkit
	run --separate-stderr -1 cfsd --nbd=nowhere "$P"
	[[ $stderr == *"nowhere: an address is HOST:PORT"* ]]
	[[ $stderr == *"cfsd: $P: --nbd: the server did not start"* ]]
	assert_gone
	run --separate-stderr -2 cfs-export ftp "$P"
	says 'cfs-export: ftp: unknown: try --help'
	run --separate-stderr -3 cfs-export nbd nothing
	[[ $stderr == *"nothing: cannot be opened"* ]]
	run -0 cfs-export --help
}

@test "a pool is exported once over each protocol" {
	need_programs nbdkit
	mkcfs -q "$P:vm0" --lun 16M
	start cfs-export nbd "$P"
	run --separate-stderr -4 cfs-export nbd "$P"
	[[ $stderr == "cfs-export: $P: is exported over nbd by process "* ]]
	# One that was killed does not stand in the way.
	pkill -KILL -P "$SERVER"
	kill -KILL "$SERVER"
	wait "$SERVER" || true
	start cfs-export nbd "$P" unix:"$PWD/other"
	[ "$(nbdinfo --size "nbd+unix:///vm0?socket=$PWD/other")" = 16777216 ]
	end_server
	[ "$status" = 0 ]
	assert_gone
}

@test "--list says what clients call each volume" {
	mkcfs -q "$P:vm0" --lun 16M
	mkcfs -q "$P:files" --tree
	snapctl take -q "$P:vm0@a"
	snapctl clone -q "$P:vm0@a" c1
	snapctl take -q "$P:files@a"
	snapctl clone -q "$P:files@a" c2
	run -0 --separate-stderr timeout 20 cfs-export nbd --list "$P"
	[ "$output" = $'vm0\tvm0\nvm0@a\tvm0@a\nvm0/c1\tvm0/c1' ]
	run -0 cfs-export iscsi -l "$P"
	uuid=$(slicectl show --json "$P" | jq -r .pool.uuid)
	[ "${lines[1]}" = "iqn.2026-11.io.cfs:$uuid:vm0:c1"$'\tvm0/c1' ]
	run -0 cfs-export nfs --list "$P"
	[ "$output" = $'/files\tfiles\n/files:c2\tfiles/c2' ]
	run -0 cfs-export smb --list "$P"
	[ "$output" = $'files\tfiles\nfiles-c2\tfiles/c2' ]
	run --separate-stderr -2 timeout 20 cfs-export nbd --list "$P" unix:x
	says 'cfs-export: --list takes a pool alone'
	run --separate-stderr -2 timeout 20 cfs-export nbd --lost "$P"
	says 'cfs-export: --lost: unknown: try --help'
}

# Nobody has a lease on volume $1 any more: it can be had alone.
assert_free() {
	run -0 timeout 60 leasectl run --wait 30 "$P:$1" -- true
}

@test "a client of NFS that vanishes leaves nothing behind" {
	need_root
	need_programs ganesha.nfsd nfs-cat cfsmount
	mkcfs -q "$P:files" --tree
	truncate -s 64M src
	cfscp -q src "$P:files:/a"
	LINES_WANTED=2 start cfsd --nfs=127.0.0.1:$PORT "$P"
	url="nfs://127.0.0.1/files/a?version=4&nfsport=$PORT"
	# It reads on into a pipe that nobody empties, with the file open.
	nfs-cat "$url" 3>&- > >(head -c 1 >read; sleep 60) &
	client=$!
	until_true '[ -s read ]'
	run -0 cfs-export status "$P"
	[[ $output == *127.0.0.1:* ]]
	kill -KILL "$client"
	wait "$client" || true
	until_true '[[ $(cfs-export status "$P") == *"nobody is connected" ]]'
	nfs-cat "$url" | cmp - src
	end_server
	[ "$status" = 0 ]
	assert_gone
	assert_free files
	run -0 cfsck-heal check "$P"
}

@test "trees over NFS" {
	need_root
	need_programs ganesha.nfsd nfs-ls cfsmount
	mkcfs -q "$P:files" --tree
	head -c 300000 /dev/urandom >src
	LINES_WANTED=2 start cfsd --nfs=127.0.0.1:$PORT "$P"
	url() { echo "nfs://127.0.0.1/files/$1?version=4&nfsport=$PORT"; }
	# This version's client does not write more than a few bytes.
	echo hello >small
	nfs-cp small "$(url small)"
	cfscp -q src "$P:files:/a"
	nfs-cat "$(url a)" | cmp - src
	run -0 nfs-ls "$(url '')"
	[[ $output == *" 300000 "*a* ]]
	end_server
	[ "$status" = 0 ]
	assert_gone
	[ "$(cfscp -q "$P:files:/small" -)" = hello ]
	run -0 cfsck-heal check "$P"
}

@test "trees over SMB" {
	need_root
	need_programs smbd smbclient cfsmount
	mkcfs -q "$P:files" --tree
	head -c 300000 /dev/urandom >src
	export CFS_SMB_PASSDB=$PWD/passdb.tdb
	# As long a path as a manager takes: Samba adds more to it than we do.
	CFS_RUN=$(mktemp -d "/tmp/cfs-ex.$(printf %046d 0).XXXXXX")
	[ ${#CFS_RUN} = 65 ]
	LINES_WANTED=2 start cfsd --smb=127.0.0.1:$PORT "$P"
	short=$(readlink "$CFS_RUN"/export-smb-*/short)
	[ -d "$short" ]
	printf 'secret\nsecret\n' |
		smbpasswd -c "$CFS_RUN"/export-smb-*/smb.conf -s -a root
	run -0 smbclient -p $PORT -U root%secret //127.0.0.1/files \
		-c 'put src a; mkdir d; cd d; put ../src b; ls; cd ..; get a back' \
		<<<'' || { echo "$output"; false; }
	cmp src back
	end_server
	[ "$status" = 0 ]
	assert_gone
	[ ! -e "$short" ]
	rmdir "$CFS_RUN"
	cfscp -q "$P:files:/a" - | cmp - src
	run -0 cfsck-heal check "$P"
}

# smbd with the tree files; "smb COMMANDS" is a client of it.
start_smb() {
	need_root
	need_programs smbd smbclient smbpasswd cfsmount
	mkcfs -q "$P:files" --tree
	export CFS_SMB_PASSDB=$PWD/passdb.tdb
	LINES_WANTED=2 start cfsd --smb=127.0.0.1:$PORT "$P"
	printf 'secret\nsecret\n' |
		smbpasswd -c "$CFS_RUN"/export-smb-*/smb.conf -s -a root
}

smb() {
	timeout 60 smbclient -p $PORT -U root%secret //127.0.0.1/files \
		-c "$1" <<<''
}

@test "previous versions over SMB" {
	start_smb
	echo one >one
	echo two, longer >two
	echo three >three
	smb 'put one f; mkdir d; put one d/g'
	snapctl take -q "$P:files@GMT-2026.01.02-03.04.05"
	smb 'put two f'
	snapctl take -q "$P:files@GMT-2026.02.03-04.05.06"
	smb 'put three f; rm d/g'
	snapctl take -q "$P:files@another"
	run -0 smb 'allinfo f'
	[ "$(grep '^@GMT' <<<"$output")" = \
		$'@GMT-2026.02.03-04.05.06\n@GMT-2026.01.02-03.04.05' ]
	# Its sizes then, the newest first.
	[ "$(sed -n 's/^size: //p' <<<"$output")" = $'12\n4' ]
	run -0 smb 'get @GMT-2026.01.02-03.04.05/f f1;
		get @GMT-2026.02.03-04.05.06/f f2; get f f3;
		get @GMT-2026.02.03-04.05.06/d/g g2'
	cmp f1 one
	cmp f2 two
	cmp f3 three
	cmp g2 one
	run smb 'get d/g g3'
	[[ $output == *NT_STATUS_OBJECT_NAME_NOT_FOUND* ]]
	# They are not written, and others are in .snapshots.
	run smb 'put three @GMT-2026.01.02-03.04.05/f'
	[[ $output == *NT_STATUS_* ]]
	run -0 smb 'get @GMT-2026.01.02-03.04.05/f f4;
		get .snapshots/another/f f5'
	cmp f4 one
	cmp f5 three
	end_server
	[ "$status" = 0 ]
	assert_gone
}

@test "a client of SMB that vanishes leaves nothing behind" {
	start_smb
	# It has written a part, and waits for more.
	mkfifo pipe
	{ head -c 100M /dev/zero; sleep 60; } >pipe 3>&- &
	feeder=$!
	smbclient -p $PORT -U root%secret //127.0.0.1/files -c 'put pipe a' \
		<<<'' >put.log 2>&1 3>&- &
	client=$!
	until_true '[ -s "$(echo "$CFS_RUN"/export-smb-*/mnt/files/a)" ]'
	run -0 cfs-export status "$P"
	[[ $output == *127.0.0.1:* ]]
	kill -KILL "$client"
	wait "$client" || true
	pkill -P "$feeder" || true
	until_true '[[ $(cfs-export status "$P") == *"nobody is connected" ]]'
	# Nothing of it is locked.
	echo new >new
	run -0 smb 'put new a; get a back'
	cmp new back
	end_server
	[ "$status" = 0 ]
	assert_gone
	assert_free files
	run -0 cfsck-heal check "$P"
}

@test "a path that is too long for a socket is told in a line" {
	need_programs nbdkit
	CFS_RUN=$(mktemp -d "/tmp/cfs-ex.$(printf %080d 0).XXXXXX")
	run -2 --separate-stderr cfs-export nbd "$P"
	[[ $stderr == "cfs-export: $CFS_RUN/"*.nbd": too long a path"* ]]
	[ "${#stderr_lines[@]}" = 1 ]
	rmdir "$CFS_RUN"
}
