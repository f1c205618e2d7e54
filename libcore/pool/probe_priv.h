/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The part of probing that words other errors of this folder. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/*
 * What libblkid sees at @path: type (of a file system or partition table) and
 * label, empty when there is nothing.  0 or negative errno, outputs set in
 * any case.
 */
int cfs_probe_signature(const char *path, char *ret_type, size_t type_bytes,
			char *ret_label, size_t label_bytes);

/* Whether somebody uses it, and as what: "mounted on /x", "swap", ... */
bool cfs_probe_use(const char *path, char *ret_used_as, size_t room_bytes);
