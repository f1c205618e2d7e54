/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the files of the tree volume share.  All functions here are called
 * with the container's lock held, those that change something within an
 * operation, unless said otherwise.
 *
 * Freeing in steps.  What may hold more than one operation should free is
 * freed from its front in windows of CFS_FS_FREE_BYTES.  Meanwhile an ORPHAN
 * record names the inode, so that a crash leaves no doubt:
 *
 *   nlink 0                    the inode goes: data, attributes, inode
 *   flag CFS_INODE_SHRINKING   a file was cut; data behind its size goes
 *
 * While the flag stands the size may not grow, or old bytes would show again:
 * who wants it to grow takes the remaining steps first.
 */
#pragma once

#include "volume/data.h"
#include "volume/fs_inomap_priv.h"
#include "volume/fs_open.h"
#include "volume/fs_ops.h"

#include <sys/stat.h>

#define CFS_FS_FREE_BYTES       (UINT64_C(16) << 20) /* of data, a step */
#define CFS_FS_FREE_RECORDS     256u                 /* of the rest, a step */
#define CFS_FS_NAME_WHICH_COUNT 16u /* entries or xattrs of one hash */
#define CFS_FS_NO_OFFSET        UINT64_MAX

struct cfs_fs {
	const struct cfs_fs_ops *ops; /* NULL: the tree is here */
	void *ops_arg;
	struct cfs_view view;
	uint64_t root_ino;
	uint64_t hash_seed;
	uint64_t hash_mask; /* all ones; tests narrow it */
	struct cfs_clock *clock;
	cfs_fs_space_fn space_fn;
	void *space_arg;
	struct cfs_inomap open; /* a: how often */
	/* What the names of an inode's attributes take, as long as it has not
	 * changed since; ino 0: of none.  Under the lock. */
	struct {
		uint64_t ino, change;
		size_t bytes;
	} names;
};

static inline struct cfs_container *cfs_fs_container(const struct cfs_fs *fs)
{
	return fs->view.container;
}

static inline void cfs_fs_lock(struct cfs_fs *fs)
{
	cfs_container_lock(fs->view.container);
}

static inline void cfs_fs_unlock(struct cfs_fs *fs)
{
	cfs_container_unlock(fs->view.container);
}

/* S_IFDIR and so on to DT_DIR and so on. */
static inline uint16_t cfs_fs_type_of(uint32_t mode)
{
	return (uint16_t)((mode & S_IFMT) >> 12);
}

/* fs.c */

/* Begin an operation (takes the lock): -EROFS for a snapshot. */
int cfs_fs_op_begin(struct cfs_fs *fs, enum cfs_op_kind kind,
		    struct cfs_err *err);
/* End it, or abort it if @r says so; gives the lock back.  Returns @r. */
int cfs_fs_op_finish(struct cfs_fs *fs, int r);

int64_t cfs_fs_now_ns(const struct cfs_fs *fs);
bool cfs_fs_ino_is_open(const struct cfs_fs *fs, uint64_t ino);
/* Count one more that has it open.  -ENOMEM. */
int cfs_fs_ino_opened(struct cfs_fs *fs, uint64_t ino, struct cfs_err *err);

int cfs_fs_inode_load(struct cfs_fs *fs, uint64_t ino, struct cfs_inode *ret,
		      struct cfs_err *err);
/* The same for one that an entry names: not to be there is damage. */
int cfs_fs_named_load(struct cfs_fs *fs, uint64_t ino, struct cfs_inode *ret,
		      struct cfs_err *err);
int cfs_fs_inode_store(struct cfs_fs *fs, uint64_t ino,
		       const struct cfs_inode *inode, struct cfs_err *err);
/* -ENOTDIR; also -ENOENT if it is to be changed and was removed. */
int cfs_fs_dir_load(struct cfs_fs *fs, uint64_t ino, bool to_change,
		    struct cfs_inode *ret, struct cfs_err *err);
/* -EISDIR, -EINVAL. */
int cfs_fs_file_load(struct cfs_fs *fs, uint64_t ino, struct cfs_inode *ret,
		     struct cfs_err *err);
/* The inode was changed; touch_data: so was its content. */
void cfs_fs_inode_touch(struct cfs_inode *inode, int64_t now_ns);
void cfs_fs_inode_touch_data(struct cfs_inode *inode, int64_t now_ns);

/* fs_dir.c */

/* -ENAMETOOLONG, -EINVAL, -ENOENT (an empty name).  No lock needed. */
int cfs_fs_name_check(const void *name, size_t name_bytes, struct cfs_err *err);

struct cfs_fs_slot {
	uint64_t offset; /* of the entry */
	uint64_t ino;
	uint16_t type;
	uint64_t free_offset; /* set when there is none: where it may
			       * go, or CFS_FS_NO_OFFSET */
};

/* First offset of the names that share @name's hash. */
uint64_t cfs_fs_name_offset(const struct cfs_fs *fs, const void *name,
			    size_t name_bytes);
/* -ENOENT without @err, with ret->free_offset set. */
int cfs_fs_entry_find(struct cfs_fs *fs, uint64_t dir_ino, const void *name,
		      size_t name_bytes, struct cfs_fs_slot *ret,
		      struct cfs_err *err);
int cfs_fs_entry_put(struct cfs_fs *fs, uint64_t dir_ino, uint64_t offset,
		     const struct cfs_dirent *entry, struct cfs_err *err);
int cfs_fs_entry_del(struct cfs_fs *fs, uint64_t dir_ino, uint64_t offset,
		     struct cfs_err *err);
/*
 * The first entry at or behind *offset, which is set to its offset.
 * @buf has CFS_DIRENT_BYTES_MAX bytes, @ret leads into it.
 * -ENOENT without @err.
 */
int cfs_fs_entry_next(struct cfs_fs *fs, uint64_t dir_ino, uint64_t *offset,
		      void *buf, struct cfs_dirent *ret, struct cfs_err *err);
/* -ENOTEMPTY without @err. */
int cfs_fs_dir_is_empty(struct cfs_fs *fs, uint64_t dir_ino,
			struct cfs_err *err);

/* fs_path.c */

/*
 * Is @ino a directory above @dir_ino, or that itself?  -EINVAL: yes.
 * -ELOOP: more than CFS_FS_DEPTH_MAX levels.
 */
int cfs_fs_above_check(struct cfs_fs *fs, uint64_t dir_ino, uint64_t ino,
		       struct cfs_err *err);

/* fs_name.c */

/*
 * Make an inode with all that @spec says and @nlink names, but no entry.
 * @ret_ino, @ret  set on success
 */
int cfs_fs_inode_make(struct cfs_fs *fs, uint64_t dir_ino, uint32_t nlink,
		      const struct cfs_fs_spec *spec, uint64_t *ret_ino,
		      struct cfs_inode *ret, struct cfs_err *err);
int cfs_fs_spec_check(const struct cfs_fs_spec *spec, struct cfs_err *err);

/* fs_xattr.c */

/* Name and length: -EINVAL, -ERANGE, -E2BIG.  No lock needed. */
int cfs_fs_xattr_check(const struct cfs_fs_xattr *xattr, struct cfs_err *err);
int cfs_fs_xattr_put(struct cfs_fs *fs, uint64_t ino,
		     const struct cfs_fs_xattr *xattr, uint32_t flags,
		     struct cfs_err *err);
/* The parts of one that is known by its part 0: all there, of right length. */
int cfs_fs_xattr_read(struct cfs_fs *fs, uint64_t ino, uint64_t offset,
		      const struct cfs_xattr *head, void *buf,
		      struct cfs_err *err);
/*
 * The first attribute at or behind *offset, which is set to its part 0's.
 * @buf has CFS_META_PART_BYTES.  -ENOENT without @err.
 */
int cfs_fs_xattr_next(struct cfs_fs *fs, uint64_t ino, uint64_t *offset,
		      void *buf, struct cfs_xattr *ret, struct cfs_err *err);
uint64_t cfs_fs_xattr_offset(const struct cfs_fs *fs, const char *name,
			     size_t name_bytes);

/* fs_symlink.c */

int cfs_fs_target_check(const void *target, size_t target_bytes,
			struct cfs_err *err);
int cfs_fs_target_put(struct cfs_fs *fs, uint64_t ino, const void *target,
		      size_t target_bytes, struct cfs_err *err);
/* The whole target, size_bytes of @inode, into CFS_SYMLINK_BYTES_MAX bytes. */
int cfs_fs_target_read(struct cfs_fs *fs, uint64_t ino,
		       const struct cfs_inode *inode, void *buf,
		       struct cfs_err *err);

/* fs_orphan.c */

/*
 * The inode has lost a name at @now_ns (a directory: its only one): store or
 * free it.
 * @ret_rest  set on success: it has no name, and cfs_fs_reclaim is called when
 *            the operation has ended
 */
int cfs_fs_inode_unname(struct cfs_fs *fs, uint64_t ino,
			struct cfs_inode *inode, int64_t now_ns, bool *ret_rest,
			struct cfs_err *err);
/* Free a nameless inode unless it is open; lock not held. */
int cfs_fs_reclaim(struct cfs_fs *fs, uint64_t ino, struct cfs_err *err);
/* Note in the ORPHAN table that work on @ino is left. */
int cfs_fs_orphan_put(struct cfs_fs *fs, uint64_t ino, struct cfs_err *err);
/* It may be there or not. */
int cfs_fs_orphan_del(struct cfs_fs *fs, uint64_t ino, struct cfs_err *err);
/* Is there one?  0 or -ENOENT without @err. */
int cfs_fs_orphan_find(struct cfs_fs *fs, uint64_t ino, struct cfs_err *err);

/* fs_file.c */

/*
 * Free a window of the file's data from its front, or from @from_bytes.
 * Returns 1: there is more; 0: none is left.
 */
int cfs_fs_data_free_step(struct cfs_fs *fs, uint64_t ino, uint64_t from_bytes,
			  struct cfs_err *err);
/* Take the steps that a cut file is behind with; lock not held. */
int cfs_fs_shrink(struct cfs_fs *fs, uint64_t ino, struct cfs_err *err);
