/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What stands on a device before we write to it: signatures by libblkid, our
 * own labels, other data, and whether somebody uses it.
 */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct cfs_device_probe {
	bool exists;
	bool is_block;
	uint64_t size_bytes;
	char type[64]; /* libblkid's word, "cfs", or "data": not
			* only zeroes in the first MiB (plain
			* files); empty: nothing */
	char label[128];
	bool is_in_use;    /* mounted, swap, a loop or holder on it,
			    * or a pool that is held */
	char used_as[256]; /* "mounted on /x", "swap", ... */
};

/* -EINVAL: no file or block device.  A path that is not there: exists false. */
int cfs_device_probe(const char *path, struct cfs_device_probe *ret,
		     struct cfs_err *err);
/* Wipe the signatures that libblkid finds (with -f, before formatting). */
int cfs_device_wipe(const char *path, struct cfs_err *err);
