/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Names of what leases are on: a volume, or a file in a tree, as the lock
 * table numbers them, and back.
 *
 * Nothing is opened for that: who holds a lease on a volume must not keep
 * others from naming it.  A path may be another one a moment later.
 */
#include "session/local.h"
#include "session/session_priv.h"

#include "base/cleanup.h"
#include "volume/fs_open.h"

#include <stdlib.h>
#include <string.h>

static int open_tree(struct cfs_member *m, const struct cfs_volume_rec *rec,
		     struct cfs_view *view, struct cfs_fs **ret,
		     struct cfs_err *err)
{
	if (rec->kind != CFS_VOLUME_TREE)
		return cfs_err_set(err, -EINVAL, "a LUN has no files");
	cfs_volume_view(m, rec, view);
	return cfs_fs_open(view, rec->ino, rec->hash_seed, ret, err);
}

int cfs_local_place_find(struct cfs_session *s, const char *volume,
			 const char *path, struct cfs_volume_place *ret,
			 struct cfs_err *err)
{
	struct cfs_named v = { 0 };
	struct cfs_view view;
	struct cfs_fs *fs;
	uint64_t ino = 0;
	int r = cfs_session_find(s, volume, &v, err);

	if (r == 0 && path) {
		r = open_tree(v.member, &v.rec, &view, &fs, err);
		if (r < 0)
			return r;
		r = cfs_fs_resolve(fs, v.rec.ino, path, strlen(path),
				   CFS_FS_FOLLOW_ALL, &ino, err);
		cfs_fs_close(fs);
	}
	if (r < 0)
		return r;
	*ret = (struct cfs_volume_place){
		.container = v.member->id,
		.volume = v.id,
		.ino = path ? ino : v.rec.ino,
		.kind = v.rec.kind,
	};
	return 0;
}

/* Those bytes of it that are text; a path with others has no name here. */
static int path_of(struct cfs_member *m, const struct cfs_volume_rec *rec,
		   uint64_t ino, struct cfs_buf *ret, struct cfs_err *err)
{
	struct cfs_view view;
	struct cfs_fs *fs;
	int r = open_tree(m, rec, &view, &fs, err);

	if (r < 0)
		return r;
	r = cfs_fs_path_of(fs, ino, ret, err);
	cfs_fs_close(fs);
	return r;
}

int cfs_local_place_name(struct cfs_session *s,
			 const struct cfs_volume_place *place,
			 struct cfs_place_name *ret, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf path = CFS_BUF_INIT;
	struct cfs_volume_rec rec = { .kind = 0 };
	struct cfs_member *m;
	int r = cfs_pool_member_by_id(s->pool, place->container, &m, err);

	if (r == 0)
		r = cfs_volume_get(
			m, place->volume ? place->volume : CFS_VOLUME_FIRST,
			&rec, err);
	if (r < 0)
		return r;
	memset(ret, 0, sizeof(*ret));
	cfs_session_name(m, &rec, ret->volume);
	if (!place->ino || rec.kind != CFS_VOLUME_TREE)
		return 0;
	r = path_of(m, &rec, place->ino, &path, err);
	if (r == -ENOENT)
		return 0; /* it has lost its name */
	if (r < 0 || path.bytes >= sizeof(ret->path))
		return r;
	memcpy(ret->path, path.data, path.bytes);
	return 0;
}
