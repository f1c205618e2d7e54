#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
#
# The library as other programs get it: what is installed is enough to build
# against, exports what it promises and no more, and works.

load helpers

setup() {
	cfs_setup
	unset CFS_TEST_BESIDE
	shared=$(echo "$CFS_BUILD"/libcfs.so.*)
	[ -e "$shared" ] || skip "this build has no shared library"
	version=${shared##*/libcfs.so.}
	root=$BATS_FILE_TMPDIR/root
	[ -d "$root" ] || (
		cd "$CFS_SOURCE" &&
		DESTDIR=$root PREFIX=/usr contrib/install "$CFS_BUILD" "$version"
	)
	export PKG_CONFIG_SYSROOT_DIR=$root
	export PKG_CONFIG_PATH=$root/usr/lib/pkgconfig
}

teardown() {
	release_pools
}

promised() {
	(cd "$CFS_SOURCE" && contrib/api-symbols)
}

exported() {
	nm -D --defined-only --with-symbol-versions "$shared"
}

# What the example prints, twice: the second time a cfsd holds the pool.
try_example() {
	make_pool
	mkcfs -q "$P:disk" --lun 1M
	mkcfs -q "$P:other" --lun 1M
	run -0 ./snapshot-lun "$P" disk
	[ "$output" = "disk@before: what was there
disk: what is there now" ]
	run -1 ./snapshot-lun "$P" none
	[ "$output" = "./snapshot-lun: none: no such volume" ]
	serve_pool
	run -0 ./snapshot-lun "$P" other
	[ "${lines[1]}" = "other: what is there now" ]
}

@test "the list of what is exported is what the headers declare" {
	diff <(promised) <(sed -n 's/^\tcfs_/cfs_/;s/;$//p' \
		"$CFS_SOURCE/libcore/libcfs.map" | grep ^cfs_ | sort)
}

@test "the shared library exports that, with a version, and no more" {
	diff <(promised) <(exported | sed -n 's/.* T \(.*\)@@CFS_.*/\1/p' |
		sort)
	run ! grep -vE '@@CFS_[0-9.]+$| A CFS_' <(exported)
	readelf -d "$shared" | grep -q "SONAME.*libcfs\.so\.${version%%.*}\]"
}

@test "every installed header stands alone, in strict C" {
	for header in $(cd "$root/usr/include/cfs" && find . -name '*.h'); do
		printf '#include "%s"\nint x;\n' "${header#./}" >one.c
		gcc -std=c11 -D_GNU_SOURCE -Wall -Wextra -Werror -fsyntax-only \
			$(pkg-config --cflags cfs) one.c
	done
}

@test "a program is built with what pkg-config says, and works" {
	cp "$root/usr/share/doc/cfs/example/snapshot-lun.c" .
	gcc -Wall -Wextra -Werror snapshot-lun.c \
		$(pkg-config --cflags --libs cfs) -o snapshot-lun
	export LD_LIBRARY_PATH=$root/usr/lib
	ldd ./snapshot-lun | grep -q "libcfs.so.${version%%.*} => $root"
	try_example
}

@test "and so it is with the static library" {
	cp "$root/usr/share/doc/cfs/example/snapshot-lun.c" .
	gcc snapshot-lun.c $(pkg-config --cflags cfs) \
		"$root/usr/lib/libcfs.a" \
		$(pkg-config --static --libs cfs | sed 's/-lcfs\b//') \
		-o snapshot-lun
	run ! grep -q libcfs <(ldd ./snapshot-lun)
	try_example
}

@test "what is installed is complete" {
	for tool in "$CFS_BUILD"/bin/*; do
		tool=${tool##*/}
		[[ $tool != *.so ]] || continue
		[ -x "$root/usr/bin/$tool" ]
		[ -e "$root/usr/share/man/man8/$tool.8" ]
		[ -e "$root/usr/share/bash-completion/completions/$tool" ]
		[ -e "$root/usr/share/zsh/site-functions/_$tool" ]
		[ -e "$root/usr/share/fish/vendor_completions.d/$tool.fish" ]
	done
	[ "$("$root/usr/sbin/fsck.cfs" --version)" = "fsck.cfs (cfs) $version" ]
	grep -q "^ExecStart=/usr/bin/cfsd " \
		"$root/usr/lib/systemd/system/cfsd@.service"
}
