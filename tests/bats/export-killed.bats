#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Servers of NFS and SMB that are killed while clients have files open, with
# their mounts and with all that is around them: what was synced is there, a
# client goes on with the server that is started again, and of the old one
# nothing is left.

load helpers
load nbd

setup() {
	cfs_setup
	need_root
	need_programs cfsmount
	unset CFS_TEST_BESIDE
	CFS_RUN=$(mktemp -d /tmp/cfs-ek.XXXXXX)
	export P CFS_RUN CFS_SMB_PASSDB=$PWD/passdb.tdb
	PORT=$((20000 + (BASHPID % 1000) * 10))
	make_pool "$P" 512M
	mkcfs -q "$P:files" --tree
}

teardown() {
	kill_servers
	# It was skipped, or broke off, before there was a place of its own.
	[[ ${CFS_RUN-} == /tmp/cfs-ek.* ]] || return 0
	# Those that have lost their cfsd, and mounts that nobody would end.
	for _ in {1..100}; do
		mapfile -t pids < <(pgrep -f "$CFS_RUN/")
		[ ${#pids[@]} -gt 0 ] || break
		kill -KILL "${pids[@]}" 2>/dev/null || true
		sleep 0.1
	done
	for mount in "$CFS_RUN"/export-*/mnt/files; do
		umount -l "$mount" 2>/dev/null || true
	done
	rm -rf --one-file-system -- "$CFS_RUN"
}

# Until $1 succeeds, at most a minute: a server that keeps ending is started
# ever later.
within_a_minute() {
	for _ in {1..600}; do
		! eval "$1" || return 0
		sleep 0.1
	done
	echo "not in a minute: $1"
	cat out errors
	return 1
}

# cfsd with the export of the protocol $1.
start_cfsd() {
	rm -f out errors
	cfsd "--$1=127.0.0.1:$PORT" "$P" >out 2>errors 3>&- &
	SERVER=$!
	SERVERS+=("$SERVER")
	within_a_minute '[ "$(wc -l <out)" = 2 ] || ! kill -0 $SERVER'
	kill -0 "$SERVER" || { cat errors; false; }
}

# Processes of program $1 that have a file of the export in their arguments.
pids_of() {
	pgrep -x "$1" | while read -r pid; do
		! tr '\0' '\n' <"/proc/$pid/cmdline" 2>/dev/null |
			grep -qF "$CFS_RUN/" || echo "$pid"
	done
}

export_pid() {
	cat "$CFS_RUN"/export-*/pid
}

# An export that is not $OLD is ready.  The number comes before the address.
is_another() {
	local pid

	pid=$(export_pid 2>/dev/null) && [ -n "$pid" ] && [ "$pid" != "$OLD" ] &&
		[ -s "$(echo "$CFS_RUN"/export-*/address)" ]
}

# "$@" are killed; until another export answers, which is not $OLD.
kill_and_wait() {
	kill -KILL "$@"
	within_a_minute is_another
}

# One server and one mount, which works, and no file of any other.
assert_one() {
	within_a_minute '[ "$(pids_of cfsmount | wc -l)" = 1 ]'
	[ "$(grep -c " $CFS_RUN/" /proc/mounts)" = 1 ]
	[ "$(ls -d "$CFS_RUN"/export-* | wc -l)" = 1 ]
	stat "$CFS_RUN"/export-*/mnt/files/. >stat
}

assert_end() {
	kill -TERM "$SERVER"
	wait "$SERVER"
	within_a_minute '[ -z "$(pids_of cfsmount)" ]'
	run ! pgrep -f "$CFS_RUN/"
	run ! grep -q "$CFS_RUN/" /proc/mounts
	run ! ls -d "$CFS_RUN"/export-*
	run -0 cfsck-heal check "$P"
}

# ---- NFS ---------------------------------------------------------------------

# A client that keeps the file $1 open: a line of its input is written behind
# what is there and committed, and then told.
nfs_writer() {
	PATH=/usr/bin:$PATH python3 - "$1" 4<&0 <<-'END'
	import ctypes, os, sys
	lib = ctypes.CDLL("libnfs.so.13")
	class Url(ctypes.Structure):
	    _fields_ = [(n, ctypes.c_char_p) for n in ("server", "path", "file")]
	lib.nfs_init_context.restype = ctypes.c_void_p
	lib.nfs_parse_url_full.restype = ctypes.POINTER(Url)
	nfs = ctypes.c_void_p(lib.nfs_init_context())
	url = lib.nfs_parse_url_full(nfs, sys.argv[1].encode()).contents
	file = ctypes.c_void_p()
	at = 0
	if lib.nfs_mount(nfs, url.server, url.path) < 0:
	    sys.exit("mount")
	if lib.nfs_open(nfs, url.file, os.O_CREAT | os.O_RDWR,
	                ctypes.byref(file)) < 0:
	    sys.exit("open")
	for line in os.fdopen(4):
	    data = line.encode()
	    if lib.nfs_pwrite(nfs, file, ctypes.c_uint64(at),
	                      ctypes.c_uint64(len(data)), data) != len(data):
	        sys.exit("write")
	    if lib.nfs_fsync(nfs, file) < 0:
	        sys.exit("fsync")
	    at += len(data)
	    print(line, end="", flush=True)
	END
}

# A writer has file $1 open, and has written that name and committed it.
open_nfs() {
	rm -f "in.$1"
	mkfifo "in.$1"
	nfs_writer "$(url "$1")" <"in.$1" >"told.$1" 2>"writer.$1" 3>&- &
	SERVERS+=("$!")
	exec 5>"in.$1"
	echo "$1" >&5
	within_a_minute "[ -s told.$1 ] || ! kill -0 $!"
	[ -s "told.$1" ] || { cat "writer.$1"; false; }
}

url() { echo "nfs://127.0.0.1/files/$1?version=4&nfsport=$PORT"; }

assert_nfs() {
	local name

	for name; do
		[ "$(nfs-cat "$(url "$name")")" = "$name" ]
	done
	assert_one
}

@test "an NFS server that is killed loses nothing that was committed" {
	need_programs ganesha.nfsd nfs-cat
	PATH=/usr/bin:$PATH python3 -c \
		'import ctypes; ctypes.CDLL("libnfs.so.13")' || skip 'no libnfs'
	start_cfsd nfs
	open_nfs server
	OLD=$(export_pid)
	kill_and_wait "$(cat "$CFS_RUN"/export-*/ganesha.pid)"
	assert_nfs server
	# Its mount, which the server would have had for ever.
	open_nfs mount
	OLD=$(export_pid)
	kill_and_wait "$(pids_of cfsmount)"
	assert_nfs server mount
	# All of them.
	open_nfs all
	kill -KILL "$SERVER" "$(export_pid)" $(pids_of ganesha.nfsd) \
		$(pids_of cfsmount)
	wait "$SERVER" || true
	start_cfsd nfs
	assert_nfs server mount all
	exec 5>&-
	assert_end
}

# ---- SMB ---------------------------------------------------------------------

smb() {
	timeout 60 smbclient -p "$PORT" -U root%secret //127.0.0.1/files \
		-c "$1" <<<''
}

# A file $1 that is durable; a client has another one open and half written.
open_smb() {
	echo "$1" >"$1"
	smb "put $1 $1"
	sync "$CFS_RUN"/export-*/mnt/files/"$1"
	rm -f pipe
	mkfifo pipe
	smb "put pipe $1.part" >"part.$1" 2>&1 3>&- &
	SERVERS+=("$!")
	exec 5>pipe
	# It sends nothing before it has read some megabytes.
	timeout 60 head -c 40M /dev/zero >&5
	within_a_minute "[ -s $(echo "$CFS_RUN"/export-*/mnt/files)/$1.part ]"
}

# A client's file flushed: what he is told of has been through the server's
# fsync, and stays open.
open_flushed() {
	local hash

	hash=$(pdbedit -L -w -s "$(echo "$CFS_RUN"/export-smb-*/smb.conf)" |
		sed -n 's/^root:[^:]*:[^:]*:\([^:]*\):.*/\1/p')
	rm -f in.flush
	mkfifo in.flush
	/usr/bin/python3 "$BATS_TEST_DIRNAME/smb2-writer.py" "$PORT" files \
		flushed root "$hash" <in.flush >told 2>writer 3>&- &
	SERVERS+=("$!")
	exec 5>in.flush
	# Enough that some is in none of the server's own buffers.
	seq -f 'line %.0f, and a rest that makes it long enough' 300 >lines
	cat lines >&5
	within_a_minute "cmp -s told lines || ! kill -0 $!"
	cmp told lines || { cat writer; false; }
}

# The client's was lost with its server; he puts it again.
assert_smb() {
	local name

	exec 5>&-
	for name; do
		within_a_minute "smb 'get $name back' >get.log 2>&1"
		cmp "$name" back
	done
	smb "rm $name.part; put $name $name.part"
	assert_one
}

@test "an SMB server that is killed loses nothing that was synced" {
	need_programs smbd smbclient smbpasswd
	start_cfsd smb
	printf 'secret\nsecret\n' |
		smbpasswd -c "$CFS_RUN"/export-smb-*/smb.conf -s -a root
	open_smb server
	OLD=$(export_pid)
	kill_and_wait "$(cat "$CFS_RUN"/export-*/short/pid/smbd.pid)"
	assert_smb server
	open_smb mount
	OLD=$(export_pid)
	kill_and_wait "$(pids_of cfsmount)"
	assert_smb server mount
	open_smb all
	kill -KILL "$SERVER" "$(export_pid)" $(pids_of smbd) \
		$(pids_of cfsmount)
	wait "$SERVER" || true
	start_cfsd smb
	assert_smb server mount all
	assert_end
}

@test "what an SMB client has flushed is there when all is killed" {
	need_programs smbd smbclient smbpasswd pdbedit
	start_cfsd smb
	printf 'secret\nsecret\n' |
		smbpasswd -c "$CFS_RUN"/export-smb-*/smb.conf -s -a root
	open_flushed
	kill -KILL "$SERVER" "$(export_pid)" $(pids_of smbd) \
		$(pids_of cfsmount)
	wait "$SERVER" || true
	exec 5>&-
	start_cfsd smb
	within_a_minute "smb 'get flushed back' >get.log 2>&1"
	cmp back lines
	assert_one
	assert_end
}
