/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Tree volumes: a POSIX directory tree on top of the versioned map.
 *
 * A struct cfs_fs is one tree seen through one view: the head of a branch, or
 * a snapshot, which is read only.  Each call that changes something is one
 * operation of the container, so after a crash all of it is there or nothing;
 * what may be too large for one (freeing a big file, long writes) goes on in
 * further operations and says so below.  Nothing is durable before
 * cfs_fs_sync.
 *
 * This is the owner's side: credentials, permissions, umask, the sticky and
 * setgid bits and the inheritance of default ACLs are the caller's (the
 * mount's).  Reads do not change the access time.
 *
 * Names are 1 to 255 bytes, any but '/' and NUL, not "." or "..".  They are
 * found by a 56-bit hash and an index 0..15 among equal hashes.  That position
 * never changes while the entry exists; readdir's cookies are made of it.
 *
 * What is read back is not trusted: a record that does not verify makes the
 * call fail with -EUCLEAN, and every walk is bounded.
 *
 * Thread safety: any thread may call anything; each call takes the container's
 * lock itself, which the caller therefore must not hold (cfs_fs_make_root of
 * fs_open.h is the exception).  One writable struct cfs_fs for a branch at a
 * time: open inodes are known to it alone.
 *
 * Errors that all have in common: -EUCLEAN, -EIO, -ENOMEM; those that read an
 * inode: -ENOENT, there is none of that number; those that change something:
 * -EROFS (a snapshot, or the container is closed for writing), -ENOSPC.
 * @err may be NULL.  ret_x are set on success only unless said otherwise.
 */
#pragma once

#include "base/bits.h"
#include "base/buf.h"
#include "base/clock.h"
#include "ondisk/inode.h"

struct cfs_fs;

#define CFS_FS_FILE_BYTES_MAX       (CFS_OFF_MAX * CFS_BLOCK_BYTES)
#define CFS_FS_LINKS_MAX            UINT32_C(0x7fffffff)
#define CFS_FS_DEPTH_MAX            65536u /* of directories, where one climbs */
#define CFS_FS_SYMLINKS_MAX         40u    /* that one resolution follows */
#define CFS_FS_XATTR_LIST_BYTES_MAX 65536u /* names of an inode, with NULs */
/* An offset to write at: wherever the file ends at that moment. */
#define CFS_FS_APPEND               UINT64_MAX
/* Written in one operation at most. */
#define CFS_FS_WRITE_BYTES_MAX      (UINT32_C(1) << 20)

/* ------------------------------------------------------------ life */

/* Inodes that are still open stay orphans for cfs_fs_reclaim_orphans. */
void cfs_fs_close(struct cfs_fs *fs);
void cfs_fs_closep(struct cfs_fs **fs);

/* Take times from @clock, which outlives the tree; before it is shared. */
void cfs_fs_set_clock(struct cfs_fs *fs, struct cfs_clock *clock);

/* Constant over its life. */
uint64_t cfs_fs_root_ino(const struct cfs_fs *fs);
bool cfs_fs_is_writable(const struct cfs_fs *fs); /* no snapshot */

/*
 * An open inode is kept when its last name goes, until the last close.  Opens
 * are counted.  -ENOENT: there is no such inode, or it is on its way out.
 * In a snapshot both only look whether it is there.
 */
int cfs_fs_open_ino(struct cfs_fs *fs, uint64_t ino, struct cfs_err *err);
/* Frees the inode if it was the last and no name is left. */
int cfs_fs_close_ino(struct cfs_fs *fs, uint64_t ino, struct cfs_err *err);
/*
 * The same, but without a name it stays, for cfs_fs_reclaim_orphans: others
 * have it open.  Only of a tree that is in this process.
 */
void cfs_fs_leave_ino(struct cfs_fs *fs, uint64_t ino);

/* Make everything up to now durable. */
int cfs_fs_sync(struct cfs_fs *fs, uint64_t ino, struct cfs_err *err);

struct cfs_fs_space {
	uint64_t total_bytes; /* what the tree could hold */
	uint64_t free_bytes;
	uint64_t inode_count; /* 0: unknown */
};

/*
 * Where cfs_fs_statfs gets its numbers, since space belongs to the container
 * and the pool.  @fn is called without the lock.  Before the tree is shared.
 */
typedef int (*cfs_fs_space_fn)(void *arg, struct cfs_fs_space *ret,
			       struct cfs_err *err);
void cfs_fs_set_space(struct cfs_fs *fs, cfs_fs_space_fn fn, void *arg);
/* -ENOSYS: nobody gave a function. */
int cfs_fs_statfs(struct cfs_fs *fs, struct cfs_fs_space *ret,
		  struct cfs_err *err);

/* ---------------------------------------------------------- inodes */

int cfs_fs_getattr(struct cfs_fs *fs, uint64_t ino, struct cfs_inode *ret,
		   struct cfs_err *err);
/* Blocks of 4096 bytes that the inode's data takes. */
int cfs_fs_block_count(struct cfs_fs *fs, uint64_t ino, uint64_t *ret_count,
		       struct cfs_err *err);

#define CFS_FS_SET_MODE  0x01u /* the bits 07777; the type stays */
#define CFS_FS_SET_UID   0x02u
#define CFS_FS_SET_GID   0x04u
#define CFS_FS_SET_ATIME 0x08u
#define CFS_FS_SET_MTIME 0x10u
#define CFS_FS_SET_BTIME 0x20u
#define CFS_FS_SET_CTIME 0x40u /* else it becomes the present */

#define CFS_FS_TIME_NOW  INT64_MAX /* for a time: the present */

struct cfs_fs_attr {
	uint32_t mask; /* CFS_FS_SET_* */
	uint32_t mode, uid, gid;
	int64_t atime_ns, mtime_ns, ctime_ns, btime_ns;
};

/* @ret (may be NULL): as it is then.  -EINVAL: an unknown bit of the mask. */
int cfs_fs_setattr(struct cfs_fs *fs, uint64_t ino,
		   const struct cfs_fs_attr *attr, struct cfs_inode *ret,
		   struct cfs_err *err);

/* ----------------------------------------------------------- names */

/*
 * The inode that @name in the directory @dir_ino stands for; "." and ".." are
 * allowed here ("..", in the root: the root).
 * @ret_inode  may be NULL
 * -ENOENT, -ENOTDIR, -ENAMETOOLONG, -EINVAL (a name that cannot be).
 */
int cfs_fs_lookup(struct cfs_fs *fs, uint64_t dir_ino, const void *name,
		  size_t name_bytes, uint64_t *ret_ino,
		  struct cfs_inode *ret_inode, struct cfs_err *err);

/* Which symlinks a resolution follows; others in the middle are -ELOOP. */
enum cfs_fs_follow {
	CFS_FS_FOLLOW_NONE,   /* none; the last may be one and is returned */
	CFS_FS_FOLLOW_MIDDLE, /* all but the last component */
	CFS_FS_FOLLOW_ALL,
};

/*
 * Resolve a path of any bytes but NUL.  It begins at @start_ino, or at the
 * root if it begins with '/'; so do absolute targets of symlinks, and ".." of
 * the root is the root: a path never leaves the tree.  An empty path is
 * @start_ino.  A '/' in the end demands a directory.
 * -ENOENT, -ENOTDIR, -ENAMETOOLONG, -ELOOP, -EINVAL.
 */
int cfs_fs_resolve(struct cfs_fs *fs, uint64_t start_ino, const void *path,
		   size_t path_bytes, enum cfs_fs_follow follow,
		   uint64_t *ret_ino, struct cfs_err *err);

/*
 * Resolve all but the last component, which need not exist.
 * @ret_name  leads into @path
 * -EINVAL: there is no last component, or it is "." or "..".
 */
int cfs_fs_resolve_parent(struct cfs_fs *fs, uint64_t start_ino,
			  const void *path, size_t path_bytes,
			  enum cfs_fs_follow follow, uint64_t *ret_dir_ino,
			  const char **ret_name, size_t *ret_name_bytes,
			  struct cfs_err *err);

/*
 * One path of an inode, "/a/b", appended to @ret; "/" for the root.  Goes by
 * the parents that inodes remember; where a file has none that names it any
 * more, all directories are searched, which takes time.
 * -ENOENT: nothing names it.  -ELOOP: too deep, or a loop.
 */
int cfs_fs_path_of(struct cfs_fs *fs, uint64_t ino, struct cfs_buf *ret,
		   struct cfs_err *err);

struct cfs_fs_xattr {
	const char *name; /* with its prefix, "user.x" */
	const void *value;
	size_t value_bytes;
};

/* What a new inode is to be. */
struct cfs_fs_spec {
	uint32_t mode; /* type and permissions */
	uint32_t uid, gid;
	uint64_t rdev;  /* devices: major 32 | minor 32 */
	bool has_times; /* else both are the present */
	int64_t atime_ns, mtime_ns;
	const void *target; /* symlink: 1..4095 bytes, no NUL */
	size_t target_bytes;
	const void *data;                  /* regular file: its first bytes */
	size_t data_bytes;                 /* at most CFS_FS_WRITE_BYTES_MAX */
	const struct cfs_fs_xattr *xattrs; /* each name once */
	size_t xattr_count;
};

/*
 * Make an inode of any type, complete with all that @spec says, in one
 * operation.  The others below are short forms.
 * @ret_inode  may be NULL, as may @ret_ino
 * -EEXIST; -ENOENT: the directory was removed; -ENOTDIR; -ENAMETOOLONG;
 * -EMLINK: too many subdirectories; -ENOSPC: also when 16 names of the same
 * hash are there; -EINVAL: name or spec; and what cfs_fs_xattr_set returns.
 */
int cfs_fs_create_with(struct cfs_fs *fs, uint64_t dir_ino, const void *name,
		       size_t name_bytes, const struct cfs_fs_spec *spec,
		       uint64_t *ret_ino, struct cfs_inode *ret_inode,
		       struct cfs_err *err);
/* @mode: of these four without a type, except for mknod. */
int cfs_fs_create(struct cfs_fs *fs, uint64_t dir_ino, const void *name,
		  size_t name_bytes, uint32_t mode, uint32_t uid, uint32_t gid,
		  uint64_t *ret_ino, struct cfs_err *err);
int cfs_fs_mkdir(struct cfs_fs *fs, uint64_t dir_ino, const void *name,
		 size_t name_bytes, uint32_t mode, uint32_t uid, uint32_t gid,
		 uint64_t *ret_ino, struct cfs_err *err);
int cfs_fs_mknod(struct cfs_fs *fs, uint64_t dir_ino, const void *name,
		 size_t name_bytes, uint32_t mode, uint64_t rdev, uint32_t uid,
		 uint32_t gid, uint64_t *ret_ino, struct cfs_err *err);
int cfs_fs_symlink(struct cfs_fs *fs, uint64_t dir_ino, const void *name,
		   size_t name_bytes, const void *target, size_t target_bytes,
		   uint32_t uid, uint32_t gid, uint64_t *ret_ino,
		   struct cfs_err *err);

/*
 * One more name for an inode.  -EEXIST, -ENOENT, -ENOTDIR, -EMLINK; -EPERM:
 * it is a directory.
 */
int cfs_fs_link(struct cfs_fs *fs, uint64_t ino, uint64_t dir_ino,
		const void *name, size_t name_bytes, struct cfs_err *err);

/*
 * Take a name away.  The last one: the inode goes with all it has, a big one
 * in further operations; if those fail the name is gone all the same, and the
 * rest is left to cfs_fs_reclaim_orphans.
 * -ENOENT, -ENOTDIR; unlink: -EISDIR; rmdir: -ENOTEMPTY.
 */
int cfs_fs_unlink(struct cfs_fs *fs, uint64_t dir_ino, const void *name,
		  size_t name_bytes, struct cfs_err *err);
int cfs_fs_rmdir(struct cfs_fs *fs, uint64_t dir_ino, const void *name,
		 size_t name_bytes, struct cfs_err *err);

#define CFS_FS_RENAME_NOREPLACE 0x1u
#define CFS_FS_RENAME_EXCHANGE  0x2u

/*
 * As renameat2(2).  Two names of one inode: nothing is done.
 * -ENOENT, -ENOTDIR, -EISDIR, -ENOTEMPTY, -EMLINK; -EEXIST: NOREPLACE;
 * -EINVAL: flags, or a directory into itself; -ELOOP: deeper than
 * CFS_FS_DEPTH_MAX.
 */
int cfs_fs_rename(struct cfs_fs *fs, uint64_t old_dir_ino, const void *old_name,
		  size_t old_name_bytes, uint64_t new_dir_ino,
		  const void *new_name, size_t new_name_bytes, uint32_t flags,
		  struct cfs_err *err);

/*
 * For files that appear only when they are complete.  Make an inode as
 * cfs_fs_create_with does, but without a name, and open it: it goes at the
 * last close, or after a crash, unless cfs_fs_name has given it one.
 * @dir_ino  its parent until then
 * -EINVAL: also for a directory.
 */
int cfs_fs_create_nameless(struct cfs_fs *fs, uint64_t dir_ino,
			   const struct cfs_fs_spec *spec, uint64_t *ret_ino,
			   struct cfs_err *err);
/*
 * Name it, in the place of what has that name, in one operation.  It stays
 * open.  -ENOENT, -ENOTDIR; -EISDIR: a directory is there; -ENOSPC as
 * cfs_fs_create_with; -EINVAL: it has a name, or nobody has it open.
 */
int cfs_fs_name(struct cfs_fs *fs, uint64_t ino, uint64_t dir_ino,
		const void *name, size_t name_bytes, struct cfs_err *err);

struct cfs_fs_entry {
	uint64_t ino;
	uint64_t next_cookie; /* to go on behind this one */
	uint16_t type;        /* DT_* */
	uint16_t name_bytes;
	char name[CFS_FILE_NAME_BYTES_MAX + 1]; /* and a NUL */
};

/*
 * Entries of a directory from @cookie on, which is 0 for the beginning or some
 * entry's next_cookie: it stays good whatever is made or removed meanwhile,
 * and an entry that exists all the time is seen once.  "." and ".." come first
 * (cookies behind them: 1 and 2).  @ret_count 0: that was all.
 * -ENOTDIR; -EINVAL: a cookie that is none.
 */
int cfs_fs_readdir(struct cfs_fs *fs, uint64_t dir_ino, uint64_t cookie,
		   struct cfs_fs_entry *entries, size_t entry_count,
		   size_t *ret_count, struct cfs_err *err);

/*
 * The target of a symlink, no NUL behind it; of a longer one as much as fits.
 * -EINVAL: it is none.
 */
int cfs_fs_readlink(struct cfs_fs *fs, uint64_t ino, void *buf,
		    size_t buf_bytes, size_t *ret_bytes, struct cfs_err *err);

/* ---------------------------------------------------------- xattrs */

#define CFS_FS_XATTR_CREATE  0x1u
#define CFS_FS_XATTR_REPLACE 0x2u

/*
 * Extended attributes: names of 1..255 bytes, values of 0..65536.  Namespaces
 * and their rights are the caller's; POSIX ACLs are attributes like others.
 * get and list: a @buf_bytes of 0 asks for the length; too small: -ERANGE.
 * list: the names, each with a NUL.
 * -ENODATA: there is none of this name; -EEXIST: CREATE; -ERANGE: a name too
 * long; -E2BIG: a value too long; -EINVAL: an empty name, flags;
 * -ENOSPC: also when the names of the inode would take more than 65536 bytes.
 */
int cfs_fs_xattr_get(struct cfs_fs *fs, uint64_t ino, const char *name,
		     void *buf, size_t buf_bytes, size_t *ret_bytes,
		     struct cfs_err *err);
int cfs_fs_xattr_set(struct cfs_fs *fs, uint64_t ino, const char *name,
		     const void *value, size_t value_bytes, uint32_t flags,
		     struct cfs_err *err);
int cfs_fs_xattr_list(struct cfs_fs *fs, uint64_t ino, char *buf,
		      size_t buf_bytes, size_t *ret_bytes, struct cfs_err *err);
int cfs_fs_xattr_remove(struct cfs_fs *fs, uint64_t ino, const char *name,
			struct cfs_err *err);

/* ------------------------------------------------------------ data */
/* All of these: -EISDIR, -EINVAL: a directory, or no regular file. */

/*
 * Read; less than asked for at the end of the file.  @ret_bytes is also set
 * when damage (-EUCLEAN) or a device (-EIO) stops it: good bytes in front.
 */
int cfs_fs_read(struct cfs_fs *fs, uint64_t ino, uint64_t offset_bytes,
		void *buf, size_t length_bytes, size_t *ret_bytes,
		struct cfs_err *err);
/*
 * Write, and make the file longer where needed.  Each CFS_FS_WRITE_BYTES_MAX
 * are an operation, or each smaller piece in which what is below the seam
 * (volume/fs_ops.h) hands it on; @ret_bytes (may be NULL) is always set: what
 * was written.
 * At CFS_FS_APPEND each operation goes behind the end as it is then.
 * -EFBIG: beyond CFS_FS_FILE_BYTES_MAX; nothing was written.
 */
int cfs_fs_write(struct cfs_fs *fs, uint64_t ino, uint64_t offset_bytes,
		 const void *buf, size_t length_bytes, size_t *ret_bytes,
		 struct cfs_err *err);
/*
 * Set the size; what lies behind it is gone at once, and its space given back
 * in further operations (see cfs_fs_unlink).  -EFBIG.
 */
int cfs_fs_truncate(struct cfs_fs *fs, uint64_t ino, uint64_t size_bytes,
		    struct cfs_err *err);
/*
 * The range reads as zeroes and takes no space.  The size stays as it is; for
 * zero_range only with @keep_size, else the file is at least as long as the
 * range.  A large range takes several operations, from its front.
 * -EINVAL: an empty range; -EFBIG.
 */
int cfs_fs_punch_hole(struct cfs_fs *fs, uint64_t ino, uint64_t offset_bytes,
		      uint64_t length_bytes, struct cfs_err *err);
int cfs_fs_zero_range(struct cfs_fs *fs, uint64_t ino, uint64_t offset_bytes,
		      uint64_t length_bytes, bool keep_size,
		      struct cfs_err *err);
/*
 * The first byte >= @offset_bytes that is data, or in a hole (the end of the
 * file counts as one).  -ENXIO: at or behind the end, or no data follows.
 */
int cfs_fs_seek(struct cfs_fs *fs, uint64_t ino, uint64_t offset_bytes,
		bool data, uint64_t *ret_offset_bytes, struct cfs_err *err);

/* ----------------------------------------------------------- check */

enum cfs_fs_problem {
	CFS_FS_PROBLEM_DAMAGED,     /* a record does not verify */
	CFS_FS_PROBLEM_INODE,       /* a field that cannot be */
	CFS_FS_PROBLEM_ENTRY,       /* names nothing, or another type */
	CFS_FS_PROBLEM_HASH,        /* an entry where no lookup finds it */
	CFS_FS_PROBLEM_LINKS,       /* nlink is not the number of names */
	CFS_FS_PROBLEM_COUNT,       /* entry_count */
	CFS_FS_PROBLEM_PARENT,      /* parent of a directory */
	CFS_FS_PROBLEM_UNREACHABLE, /* no name, or a loop of directories */
	CFS_FS_PROBLEM_ORPHAN,      /* without a name, and nobody would
				     * free it: space lost, no damage */
	CFS_FS_PROBLEM_SYMLINK,
	CFS_FS_PROBLEM_XATTR,
	CFS_FS_PROBLEM_DATA, /* data behind the end */
};

struct cfs_fs_check {
	/*
	 * One problem; lock not held.  @text is one line and names the inode.
	 * Negative: ends the check with that value.
	 */
	int (*problem)(void *arg, enum cfs_fs_problem kind, uint64_t ino,
		       const char *text);
	/* Now and then, may be NULL; negative (-EINTR) likewise. */
	int (*progress)(void *arg, uint64_t inode_count);
	void *arg;
};

/*
 * Walk all inodes and prove that they make one tree.  Takes 24 to 55 bytes of
 * memory for each.  Nothing may change the view meanwhile (a snapshot, or a
 * pool that nobody else has open): else things are reported that are none.
 * @ret_inode_count  may be NULL
 * Returns 0 also when problems were found; an error only when it could not go
 * on (-ENOMEM, -EIO).
 */
int cfs_fs_check(struct cfs_fs *fs, const struct cfs_fs_check *check,
		 uint64_t *ret_inode_count, struct cfs_err *err);
