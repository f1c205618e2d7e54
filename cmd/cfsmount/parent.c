/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a directory gives to what is made in it: its group, and a default ACL.
 * As long as nobody else can change the tree it is remembered, since programs
 * make many files in one directory; what changes through this mount says so.
 */
#include "cfsmount/cfsmount.h"

#include <sys/stat.h>

#define KEPT 64u

struct kept {
	const struct mnt_volume *v;
	uint64_t ino, serial, changes;
	struct mnt_parent parent;
};

static struct kept kept[KEPT];
static pthread_mutex_t kept_lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_uint_fast64_t changes;

void mnt_parent_changed(void)
{
	atomic_fetch_add(&changes, 1);
}

static bool find(const struct kept *like, struct mnt_parent *ret)
{
	const struct kept *k = &kept[like->ino % KEPT];
	bool is;

	pthread_mutex_lock(&kept_lock);
	is = k->v == like->v && k->ino == like->ino &&
	     k->serial == like->serial && k->changes == like->changes;
	*ret = k->parent;
	pthread_mutex_unlock(&kept_lock);
	return is;
}

int mnt_parent_look(struct mnt_volume *v, uint64_t dir_ino,
		    struct mnt_parent *ret)
{
	const struct mnt_keep keep = mnt_cache_look(v);
	struct kept new = {
		.v = v,
		.ino = dir_ino,
		.serial = keep.serial,
		.changes = atomic_load(&changes),
	};
	struct cfs_inode inode;
	size_t n = 0;
	int r;

	if (keep.may && find(&new, ret))
		return 0;
	r = cfs_fs_getattr(v->fs, dir_ino, &inode, NULL);
	if (r < 0)
		return r;
	new.parent.gid = inode.gid;
	new.parent.is_setgid = inode.mode &S_ISGID;
	r = cfs_fs_xattr_get(v->fs, dir_ino, MNT_ACL_DEFAULT, NULL, 0, &n,
			     NULL);
	if (r < 0 && r != -ENODATA)
		return r;
	new.parent.has_default = r == 0 && n > 0;
	if (keep.may) {
		pthread_mutex_lock(&kept_lock);
		kept[dir_ino % KEPT] = new;
		pthread_mutex_unlock(&kept_lock);
	}
	*ret = new.parent;
	return 0;
}
