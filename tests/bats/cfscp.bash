#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# What the tests of cfscp share: a directory with all that a tree can hold,
# and a description of a directory that shows whatever a copy must keep.

# Everything below $1 and itself: type, mode, owner, links by group, length,
# time to the nanosecond, target, device; attributes and ACLs; content.
describe()
{
	(
		cd -- "$1" || exit
		find . -printf '%P\001%y\001%m\001%U:%G\001%T@\001%l\001%i\001%n\n' |
			LC_ALL=C sort | awk -F'\001' -v OFS='\001' '{
				if (!($7 in first)) first[$7] = $1
				$7 = first[$7]
				if ($2 == "d") $8 = "-"
				print
			}'
		find . -type f -printf '%P %s\n' | LC_ALL=C sort
		find . \( -type b -o -type c \) -exec stat -c '%n %t:%T' {} + |
			LC_ALL=C sort
		find . -print0 | LC_ALL=C sort -z |
			xargs -0 getfattr -h -d -m - -e hex 2>/dev/null
		find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
	)
}

# Two directories are the same to the last bit.
same_tree()
{
	diff <(describe "$1") <(describe "$2")
}

# A directory $1 with what is difficult.  Devices, owners and trusted
# attributes are root's.
make_nasty()
{
	local d=$1 name i

	mkdir -p "$d/sub/deep/er" "$d/empty"
	echo content >"$d/file"
	: >"$d/nothing"
	ln "$d/file" "$d/hard1"
	ln "$d/file" "$d/sub/hard2"
	ln -s file "$d/symlink"
	ln -s /does/not/exist "$d/sub/dangling"
	ln -s "$(head -c 4000 /dev/zero | tr '\0' t)" "$d/longlink"
	mkfifo "$d/fifo"
	truncate -s 20M "$d/holes"
	printf middle | dd of="$d/holes" bs=1 seek=7000001 conv=notrunc \
		status=none
	printf front | dd of="$d/holes" conv=notrunc status=none
	truncate -s 5M "$d/allhole"
	head -c 3000001 /dev/urandom >"$d/big"
	name=$(head -c 255 /dev/zero | tr '\0' n)
	echo long >"$d/$name"
	echo odd >"$d/ name	with*odd?[chars]\\ \"'"
	echo bytes >"$d/"$'not\xff\xfeutf8'
	echo newline >"$d/"$'new\nline'
	echo utf8 >"$d/üñí-日本"
	echo dash >"$d/-dash"
	for i in $(seq 1 150); do
		echo "$i" >"$d/sub/many$i"
	done
	chmod 4755 "$d/big"
	chmod 2775 "$d/sub"
	chmod 1777 "$d/empty"
	chmod 0000 "$d/nothing"
	setfattr -n user.name -v value "$d/file" 2>/dev/null
	setfattr -n user.binary -v 0x00ff0a0d3d00 "$d/sub" 2>/dev/null
	setfattr -n user.large \
		-v "$(head -c 3000 /dev/zero | tr '\0' v)" "$d/big" 2>/dev/null
	setfacl -m u:1234:rwx,g:77:r "$d/big" 2>/dev/null
	setfacl -d -m u:1234:rwx "$d/sub/deep" 2>/dev/null
	if [ "$(id -u)" = 0 ]; then
		mknod "$d/null" c 1 3
		mknod "$d/disk" b 259 70000
		chown 1234:4321 "$d/sub/deep" "$d/holes"
		chown -h 99:98 "$d/symlink"
		setfattr -n trusted.t -v 1 "$d/file" 2>/dev/null
		setfattr -h -n trusted.link -v 1 "$d/symlink" 2>/dev/null
	fi
	touch -h -d '2001-02-03 04:05:06.123456789 UTC' "$d/symlink"
	touch -d '1969-12-31 23:59:58.987654321 UTC' "$d/allhole"
	touch -d '2030-01-01 00:00:00.000000001 UTC' "$d/file"
	touch -d '1999-09-09 09:09:09.999999999 UTC' "$d/sub/deep" "$d/sub" \
		"$d/empty" "$d"
}

# The same for formats that know less: what is left are names, types and
# content.
contents()
{
	(
		cd -- "$1" || exit
		find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
		find . -type l -printf '%P %l\n' | LC_ALL=C sort
		find . -type d | LC_ALL=C sort
	)
}
