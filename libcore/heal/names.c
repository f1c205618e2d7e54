/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "heal/names_priv.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "volume/fs_open.h"

#include <stdio.h>

void cfs_heal_volume_name(const struct cfs_member *m,
			  const struct cfs_volume_rec *rec, char *ret)
{
	if (rec->name[0])
		(void)snprintf(ret, 260, "%s/%s", m->rec.name, rec->name);
	else
		(void)snprintf(ret, 260, "%s", m->rec.name);
}

bool cfs_heal_path(const struct cfs_view *view,
		   const struct cfs_volume_rec *rec, uint64_t ino, char *ret,
		   size_t ret_bytes)
{
	CFS_CLEANUP(cfs_fs_closep) struct cfs_fs *fs = NULL;
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf path = CFS_BUF_INIT;

	if (cfs_fs_open(view, rec->ino, rec->hash_seed, &fs, NULL) < 0 ||
	    cfs_fs_path_of(fs, ino, &path, NULL) < 0)
		return false;
	(void)snprintf(ret, ret_bytes, "%.*s", (int)path.bytes,
		       (const char *)path.data);
	return true;
}
