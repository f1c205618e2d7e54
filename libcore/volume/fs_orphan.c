/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Inodes without a name: freed at once if they are small, else in steps; kept
 * while they are open.  The order, with what a crash leaves:
 *
 *   1. one operation: the name goes, the inode gets nlink 0, ORPHAN is set
 *      (small and not open: the inode and all it has go here, and no more)
 *                                   -> found by cfs_fs_reclaim_orphans
 *   2. operations: windows of data, then attributes and target, in batches
 *                                   -> the same
 *   3. the last operation: the inode and ORPHAN go
 */
#include "volume/fs_priv.h"

#include <inttypes.h>

static void orphan_key(const struct cfs_fs *fs, uint64_t ino,
		       struct cfs_key *ret)
{
	*ret = (struct cfs_key){ .w = {
					 cfs_table_word(CFS_TABLE_ORPHAN,
							fs->view.branch),
					 ino,
				 } };
}

int cfs_fs_orphan_put(struct cfs_fs *fs, uint64_t ino, struct cfs_err *err)
{
	struct cfs_container *c = cfs_fs_container(fs);
	struct cfs_orphan_rec rec = { .stamp = cfs_container_stamp(c) };
	struct cfs_orphan_rec_disk disk;
	struct cfs_key key;

	orphan_key(fs, ino, &key);
	cfs_orphan_rec_pack(&rec, &disk);
	return cfs_container_put(c, &key, &disk, sizeof(disk), err);
}

int cfs_fs_orphan_del(struct cfs_fs *fs, uint64_t ino, struct cfs_err *err)
{
	struct cfs_key key;
	int r;

	orphan_key(fs, ino, &key);
	r = cfs_container_del(cfs_fs_container(fs), &key, err);
	return r == -ENOENT ? 0 : r;
}

int cfs_fs_orphan_find(struct cfs_fs *fs, uint64_t ino, struct cfs_err *err)
{
	struct cfs_orphan_rec_disk disk;
	struct cfs_key key;
	size_t bytes;

	orphan_key(fs, ino, &key);
	return cfs_container_get(cfs_fs_container(fs), &key, &disk,
				 sizeof(disk), &bytes, err);
}

/* Delete records of one class; *budget goes down.  1: there are more. */
static int records_free(struct cfs_fs *fs, uint64_t ino,
			enum cfs_map_class class, unsigned int *budget,
			struct cfs_err *err)
{
	uint64_t offset = 0;
	size_t bytes;
	uint8_t byte;
	int r;

	for (;; (*budget)--) {
		r = cfs_map_next(&fs->view, ino, class, &offset, &byte,
				 sizeof(byte), &bytes, err);
		if (r < 0)
			return r == -ENOENT ? 0 : r;
		if (*budget == 0)
			return 1;
		r = cfs_map_del(cfs_fs_container(fs), fs->view.branch, ino,
				class, offset, err);
		if (r < 0)
			return r;
	}
}

/* One step of freeing all that an inode has, and then itself.  1: more. */
static int free_step(struct cfs_fs *fs, uint64_t ino,
		     const struct cfs_inode *inode, struct cfs_err *err)
{
	unsigned int budget = CFS_FS_FREE_RECORDS;
	int r = 0;

	if (S_ISREG(inode->mode)) {
		r = cfs_fs_data_free_step(fs, ino, 0, err);
		if (r != 0)
			return r;
	}
	r = records_free(fs, ino, CFS_MAP_XATTR, &budget, err);
	if (r == 0 && S_ISLNK(inode->mode))
		r = records_free(fs, ino, CFS_MAP_SYMLINK, &budget, err);
	if (r == 0)
		r = cfs_map_del(cfs_fs_container(fs), fs->view.branch, ino,
				CFS_MAP_INODE, 0, err);
	return r;
}

int cfs_fs_inode_unname(struct cfs_fs *fs, uint64_t ino,
			struct cfs_inode *inode, int64_t now_ns, bool *ret_rest,
			struct cfs_err *err)
{
	bool has_orphan = inode->flags & CFS_INODE_SHRINKING;
	int r;

	if (inode->nlink == 0)
		return cfs_err_set(err, -EUCLEAN,
				   "inode %" PRIu64 ": has a name, but no link",
				   ino);
	inode->nlink = S_ISDIR(inode->mode) ? 0 : inode->nlink - 1;
	cfs_fs_inode_touch(inode, now_ns);
	if (inode->nlink == 0 && !cfs_fs_ino_is_open(fs, ino)) {
		r = free_step(fs, ino, inode, err);
		if (r < 0)
			return r;
		if (r == 0) {
			*ret_rest = false;
			return has_orphan ? cfs_fs_orphan_del(fs, ino, err) : 0;
		}
	}
	r = cfs_fs_inode_store(fs, ino, inode, err);
	if (r == 0 && inode->nlink == 0)
		r = cfs_fs_orphan_put(fs, ino, err);
	if (r == 0)
		*ret_rest = inode->nlink == 0;
	return r;
}

/* In an operation.  1: there is more to do. */
static int reclaim_step(struct cfs_fs *fs, uint64_t ino, struct cfs_err *err)
{
	struct cfs_inode inode;
	int r;

	r = cfs_fs_inode_load(fs, ino, &inode, err);
	if (r == -ENOENT)
		return cfs_fs_orphan_del(fs, ino, err);
	if (r < 0)
		return r;
	if (inode.nlink || cfs_fs_ino_is_open(fs, ino))
		return 0;
	r = free_step(fs, ino, &inode, err);
	return r ? r : cfs_fs_orphan_del(fs, ino, err);
}

int cfs_fs_reclaim(struct cfs_fs *fs, uint64_t ino, struct cfs_err *err)
{
	int r;

	do {
		r = cfs_fs_op_begin(fs, CFS_OP_FREEING, err);
		if (r < 0)
			return r;
		r = cfs_fs_op_finish(fs, reclaim_step(fs, ino, err));
	} while (r > 0);
	return r;
}

/* The first orphan of the branch with a number >= *ino.  -ENOENT: none. */
static int orphan_next(struct cfs_fs *fs, uint64_t *ino, struct cfs_err *err)
{
	struct cfs_container *c = cfs_fs_container(fs);
	struct cfs_cursor cursor;
	struct cfs_key key;
	int r;

	orphan_key(fs, *ino, &key);
	cfs_fs_lock(fs);
	r = cfs_cursor_ge(&cursor, cfs_container_tree(c, CFS_TREE_TABLE), &key,
			  err);
	if (r == 0 && cursor.key.w[0] != key.w[0])
		r = -ENOENT;
	if (r == 0)
		*ino = cursor.key.w[1];
	cfs_fs_unlock(fs);
	return r;
}

/* Which work does the record stand for?  Does it. */
static int orphan_finish(struct cfs_fs *fs, uint64_t ino, struct cfs_err *err)
{
	struct cfs_inode inode;
	int r;

	cfs_fs_lock(fs);
	r = cfs_fs_inode_load(fs, ino, &inode, err);
	cfs_fs_unlock(fs);
	if (r < 0 && r != -ENOENT)
		return r;
	if (r == -ENOENT || inode.nlink == 0)
		return cfs_fs_reclaim(fs, ino, err);
	if (inode.flags & CFS_INODE_SHRINKING)
		return cfs_fs_shrink(fs, ino, err);
	/* Neither: the record is a stray one. */
	r = cfs_fs_op_begin(fs, CFS_OP_FREEING, err);
	if (r < 0)
		return r;
	return cfs_fs_op_finish(fs, cfs_fs_orphan_del(fs, ino, err));
}

int cfs_fs_reclaim_orphans(struct cfs_container *c, uint16_t branch,
			   uint64_t *ret_count, struct cfs_err *err)
{
	struct cfs_fs fs = {
		.view = { c, branch, CFS_STAMP_HEAD },
		.hash_mask = UINT64_MAX,
		.clock = cfs_clock_system(),
	};
	uint64_t count = 0, ino;
	int r;

	/* One that is damaged must not keep the others: remember, go on. */
	int first_failure = 0;

	for (ino = 0; (r = orphan_next(&fs, &ino, err)) == 0; ino++, count++) {
		r = orphan_finish(&fs, ino, err);
		if (r == -EUCLEAN && first_failure == 0)
			first_failure = cfs_err_wrap(err, r, "orphan %" PRIu64,
						     ino);
		else if (r < 0 && r != -EUCLEAN)
			return r;
	}
	if (r != -ENOENT)
		return r;
	if (ret_count)
		*ret_count = count;
	return first_failure;
}
