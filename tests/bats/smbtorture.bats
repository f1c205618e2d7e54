#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Samba's own test suite on a tree that is exported, and on a plain directory of
# this machine beside it, by the same server: what fails on ours fails there.

load helpers
load nbd

setup() {
	cfs_setup
	need_root
	need_programs smbd smbtorture smbpasswd cfsmount
	unset CFS_TEST_BESIDE
	CFS_RUN=$(mktemp -d /tmp/cfs-ex.XXXXXX)
	export P CFS_RUN CFS_SMB_PASSDB=$PWD/passdb.tdb
	PORT=$((20000 + (BASHPID % 1000) * 10))
	make_pool "$P" 512M
	mkcfs -q "$P:ours" --tree
}

teardown() {
	local pid

	for pid in "${SERVERS[@]}"; do
		kill -TERM "$pid" 2>/dev/null || continue
		wait "$pid" 2>/dev/null || true
	done
	! grep "$BATS_TEST_TMPDIR" /proc/mounts
	[ -z "${CFS_RUN-}" ] || rm -rf --one-file-system -- "$CFS_RUN"
}

# The export, with another share of a plain directory that is served alike, and
# the protocol that the suite's older tests speak.
serve() {
	local conf

	cfs-export smb "$P" "127.0.0.1:$PORT" >out 2>errors 3>&- &
	SERVERS+=("$!")
	until_true '[ -s out ]' || until_true '[ -s out ]'
	conf=$(echo "$CFS_RUN"/export-smb-*/smb.conf)
	printf 'secret\nsecret\n' | smbpasswd -c "$conf" -s -a root
	mkdir plain
	sed -n '/^\[ours\]/,$p' "$conf" | sed "s#^\[ours\]#[plain]#
		s#^path = .*#path = $PWD/plain#" >share
	# A second's wait at each open that is refused would be hours.
	sed -i '/^\[global\]/a server min protocol = NT1\
		defer sharing violations = no' "$conf"
	cat share >>"$conf"
	pkill -HUP -P "$!" smbd
	until_true 'smbclient -p $PORT -U root%secret -m NT1 \
		--option="client min protocol=NT1" \
		//127.0.0.1/plain -c ls <<<"" >/dev/null 2>&1'
}

# "PASSED NAME", "FAILED NAME" or "SKIPPED NAME" of each test of the group $1 on
# share $2; "ENDLESS" if it is not done in its time.
judge() {
	local status=0

	timeout 400 smbtorture "//127.0.0.1/$2" -p "$PORT" \
		-U root%secret --option='client min protocol=NT1' \
		"${@:3}" "$1" >log 2>&1 || status=$?
	[ "$status" != 124 ] || echo "ENDLESS $1"
	sed -n -e "s/^success: \(.*\)/PASSED $1 \1/p" \
		-e "s/^skip: \([^[]*\).*/SKIPPED $1 \1/p" \
		-e "s/^\(failure\|error\): \([^[]*\).*/FAILED $1 \2/p" log |
		sed 's/ *$//' | sort -u
}

# What says nothing of a tree, or takes very long for it, stays out: benchmarks,
# each character of Unicode (casetable, utable), each number that a request
# could have (smb, nttrans, scan-pipe), waits of a second for each of many opens
# (defer_open), times that the server writes late (delaywrite), and what needs
# a descriptor passed to it.
groups() {
	if [ -n "${CFS_LONG-}" ]; then
		smbtorture --list | sed -n 's/^\(base\.[^.]*\)\..*/\1/p' |
			sort -u |
			grep -vE '\.(bench-.*|iometer|casetable|utable)$' |
			grep -vE '\.(smb|nttrans|scan-pipe_number|fdpass)$' |
			grep -vE '\.(defer_open|delaywrite)$'
		printf 'smb2.%s\n' create read rw lock dir delete-on-close-perms \
			rename streams mkdir setinfo getinfo compound sharemode \
			deny fileid timestamps twrp acls
	else
		printf 'base.%s\n' attr dir1 rename unlink
		printf 'smb2.%s\n' mkdir read rw
	fi
}

@test "smbtorture finds what it finds on a plain directory" {
	local group

	serve
	for group in $(groups); do
		judge "$group" ours >>ours.txt
		judge "$group" plain >>theirs.txt
	done
	grep -c PASSED ours.txt
	grep FAILED ours.txt || :
	# What passes there passes here, and it is not little.  Times behind 2262
	# are more than an inode holds.
	grep PASSED theirs.txt | grep -vE 'timestamps time_t_1[0-9]{10}$' |
		sort >there
	grep PASSED ours.txt | sort >here
	[ "$(wc -l <here)" -ge 10 ]
	run comm -23 there here
	[ -z "$output" ] || { echo "only there: $output"; false; }
}
