#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
#
# cfscp --archive and --extract: every format, other programs' archives, and
# archives that want to harm.

load helpers
load cfscp

setup()
{
	cfs_setup
	make_pool
	mkcfs -q "$P:t" --tree
}

# A tar header for $1 of type $2 with the link $3 and the length $4.
tar_header()
{
	local sum

	{
		printf '%-100s' "$1" | tr ' ' '\0' | head -c 100
		printf '0000644\0000000000\0000000000\000%011o\00014000000000\000' \
			"${4:-0}"
		printf '        %s' "$2"
		printf '%-100s' "${3-}" | tr ' ' '\0' | head -c 100
		printf 'ustar\00000'
		head -c 247 /dev/zero
	} >header
	sum=$(od -An -v -tu1 header | awk '{ for (i = 1; i <= NF; i++) s += $i }
		END { print s }')
	printf '%06o\000 ' "$sum" | dd of=header bs=1 seek=148 conv=notrunc \
		status=none
	cat header
}

# A file $1 with the content $2.
tar_file()
{
	tar_header "$1" 0 "" "${#2}"
	printf '%s' "$2"
	head -c $((512 - ${#2})) /dev/zero
}

tar_end()
{
	head -c 1024 /dev/zero
}

@test "tar keeps all, with every filter" {
	make_nasty in
	cfscp in "$P:t:/in"
	for f in tar tar.gz tar.zst tar.xz tar.bz2 tar.lz4; do
		cfscp --archive "$f" "$P:t:/in" - >"a.$f"
		cfscp --extract "a.$f" "$P:t:/$f"
		cfscp "$P:t:/$f" "out.$f"
		same_tree in "out.$f"
		cfscp --remove -r "$P:t:/$f"
		rm -r "out.$f"
	done
	# Holes cost nothing in it.
	[ "$(stat -c %s a.tar)" -lt 4500000 ]
}

@test "what tar(1) reads is the same, and what it writes" {
	need_root
	make_nasty in
	# The two do not agree on parts of a second before 1970.
	touch -d '1969-12-31 23:59:58 UTC' in/allhole
	touch -d '1999-09-09 09:09:09.999999999 UTC' in
	cfscp in "$P:t:/in"
	mkdir out
	cfscp --archive tar.gz "$P:t:/in" - |
		tar -C out -xpzf - --xattrs --xattrs-include='*' --acls \
			--numeric-owner
	same_tree in out
	tar -C in -cf a.tar --format=pax --sparse --xattrs \
		--xattrs-include='*' --acls --numeric-owner .
	cfscp --extract - "$P:t:/b" <a.tar
	cfscp "$P:t:/b" out2
	same_tree in out2
}

@test "cpio, zip and 7z keep what they can" {
	make_nasty in
	rm -f in/fifo in/null in/disk in/longlink in/$'not\xff\xfeutf8'
	rm in/\ name*	# with a backslash, which 7z takes for a slash
	cfscp in "$P:t:/in"
	for f in cpio cpio.gz zip 7z; do
		cfscp --archive "$f" "$P:t:/in" "a.$f"
		cfscp --extract "a.$f" "$P:t:/$f"
		cfscp "$P:t:/$f" "out.$f"
		diff <(contents in) <(contents "out.$f")
		cfscp --remove -r "$P:t:/$f"
	done
	[ "$(stat -c %h out.cpio/file)" = 3 ]
	[ "$(stat -c %a out.cpio/big)" = "$(stat -c %a in/big)" ]
}

@test "what has no place in a format is named" {
	mkdir in && mkfifo in/fifo && echo 1 >in/f
	cfscp in "$P:t:/in"
	cfscp --archive zip "$P:t:/in" a.zip 2>log && false
	[[ $(<log) == "cfscp: $P:t:/in/fifo: "* ]]
	[ "$(wc -l <log)" = 1 ]
	run -2 cfscp --archive rar "$P:t:/in" a.rar
	run -2 cfscp --archive tar.foo "$P:t:/in" a.rar
	[ ! -e a.rar ]
}

@test "one file is an archive of one name" {
	echo 1 >f && cfscp f "$P:t:/f"
	[ "$(cfscp --archive tar "$P:t:/f" - | tar -tf -)" = f ]
}

@test "what leads out is left out and named, the rest is kept" {
	{
		tar_file good1 1
		tar_file ../out evil
		tar_file a/../../out evil
		tar_file /abs/file 2
		tar_header link 2 /etc
		tar_file link/passwd evil
		tar_header hard 1 ../../etc/passwd
		tar_header hard2 1 link/passwd
		tar_file .. evil
		tar_header good3 1 /abs/file
		tar_file good2 3
		tar_end
	} >evil.tar
	run -1 --separate-stderr cfscp --extract evil.tar "$P:t:/d/"
	[ "${#stderr_lines[@]}" = 6 ]
	[[ ${stderr_lines[0]} == "cfscp: evil.tar/../out: "*"left out" ]]
	run -0 cfscp --list -r --json "$P:t:/"
	[ "$(jq_output '[.entries[].path] | sort | join(" ")')" = \
"/d /d/abs /d/abs/file /d/good1 /d/good2 /d/good3 /d/link" ]
	[ "$(cfscp "$P:t:/d/good3" -)" = 2 ]
	cfsck-heal check -q "$P"
}

@test "a link made first does not lead later entries out" {
	cfscp --mkdir "$P:t:/victim" "$P:t:/d"
	{
		tar_header esc 2 ../victim
		tar_file esc/f evil
		tar_header esc 5
		tar_file esc2 x
		tar_header esc2 2 ../victim
		tar_file esc2/f evil
		tar_end
	} >evil.tar
	run -1 cfscp --extract evil.tar "$P:t:/d"
	run -0 cfscp --list --json "$P:t:/victim"
	[ "$(jq_output '.entries | length')" = 0 ]
}

@test "a huge length in a header is no memory, and is found out" {
	{
		tar_header huge 0 "" 8589934591
		echo little
	} >huge.tar
	# Sanitizers reserve more than that for themselves.
	limit=2000000
	(ulimit -v $limit; cfscp --version) &>/dev/null || limit=unlimited
	run -7 --separate-stderr bash -c '
		ulimit -v '$limit'
		cfscp --extract huge.tar "$1"' - "$P:t:/d"
	[[ $stderr == *huge.tar* ]]
	run -3 cfscp --list "$P:t:/d"
}

@test "cut is 7, no archive is 8, and neither leaves anything" {
	make_nasty in
	tar -C in -cf a.tar .
	head -c 1000000 a.tar >cut.tar
	head -c 10000 /dev/urandom >noise
	run -7 --separate-stderr cfscp --extract cut.tar "$P:t:/d"
	run -8 --separate-stderr cfscp --extract noise "$P:t:/d"
	says "cfscp: noise: Unrecognized archive format"
	run -8 cfscp --extract - "$P:t:/d" </dev/null
	run -3 cfscp --list "$P:t:/d"
	run -0 cfscp --mkdir "$P:t:/there"
	run -7 --separate-stderr cfscp --extract cut.tar "$P:t:/there"
	[[ ${stderr_lines[-1]} == *" entries were extracted before and stay" ]]
}

@test "an archive is laid over what is there" {
	mkdir -p a/sub b/sub
	echo 1 >a/f && echo old >a/sub/x && echo 2 >b/g && echo new >b/sub/x
	chmod 700 b/sub
	tar -C a -cf a.tar . && tar -C b -cf b.tar .
	cfscp --extract a.tar "$P:t:/"
	cfscp --extract b.tar "$P:t:/"
	cfscp "$P:t:/" out
	cp -a b/. a
	diff -r a out
	[ "$(stat -c %a out/sub)" = 700 ]
}

@test "a dry run of an archive counts, and names what leads out" {
	{
		tar_file good 1
		tar_file ../out evil
		tar_end
	} >evil.tar
	before=$(sum_of "$P")
	run -1 --separate-stderr cfscp -n --extract evil.tar "$P:t:/d"
	[[ $stderr == "cfscp: evil.tar/../out: "* ]]
	[ "$(sum_of "$P")" = "$before" ]
}

@test "mtree, which would open files of the host, is no archive" {
	printf '#mtree\n./f type=file contents=/etc/passwd mode=644\n' >m
	run -8 cfscp --extract m "$P:t:/d"
}

@test "a closed pipe ends it quietly" {
	head -c 20000000 /dev/urandom >f
	cfscp f "$P:t:/f"
	run --separate-stderr bash -c '
		cfscp --archive tar "$1" - | head -c 100 >/dev/null' - "$P:t:/"
	[ -z "$stderr" ]
}
