/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Names of volumes as they are told. */
#pragma once

#include "volume/volume.h"

/* "NAME" or "NAME/CLONE"; @ret: 260 bytes. */
void cfs_heal_volume_name(const struct cfs_member *m,
			  const struct cfs_volume_rec *rec, char *ret);
/*
 * A path of an inode of a tree as a view shows it, into @ret, which is cut to
 * @ret_bytes.  False: none is known.
 */
bool cfs_heal_path(const struct cfs_view *view,
		   const struct cfs_volume_rec *rec, uint64_t ino, char *ret,
		   size_t ret_bytes);
