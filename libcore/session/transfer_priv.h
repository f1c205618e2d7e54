/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How entries travel between trees, directories of the host and archives.
 *
 * A source (three of them: tree, host, archive) walks and puts one entry after
 * the other to a sink (the same three, and one that only counts).  Sources and
 * sinks meet only here, so each pair works, and the rules are kept once:
 *
 *  - A path is relative to the destination: components of 1 to 255 bytes,
 *    none of them "." or "..", joined by '/'; "" is the destination itself.
 *    Sources give no other, and sinks open component by component without
 *    following links, so nothing lands outside.
 *  - A directory comes before what is in it, and its end after it: times, and
 *    on the host rights, are set at the end.  (Directories that an archive
 *    does not name are made by the sink.)
 *  - A file appears under its name when it is complete.
 *  - What fails for one entry is reported and the rest goes on; what fails for
 *    all ends the run (transfer_failed decides).
 */
#pragma once

#include "base/buf.h"
#include "base/vec.h"
#include "session/transfer.h"
#include "volume/fs.h"

#include <locale.h>

#define TRANSFER_BUF_BYTES (UINT32_C(1) << 20)

struct transfer_entry {
	const char *path;
	uint32_t mode, uid, gid; /* mode with the type */
	uint32_t nlink;
	uint64_t link_number; /* set by transfer_put if nlink is
			       * above 1; links share it */
	uint64_t rdev;        /* major 32 | minor 32 */
	uint64_t size_bytes;  /* regular file, if has_size */
	bool has_size, has_atime, has_mtime;
	int64_t atime_ns, mtime_ns, ctime_ns;
	const char *target; /* symlink */
	size_t target_bytes;
	const struct cfs_fs_xattr *xattrs; /* each name once */
	size_t xattr_count;
};

/*
 * The bytes of a file, from its front; between pieces are holes.  next sets
 * @ret_bytes to 0 at the end.  What @ret points to is good until the next call.
 */
struct transfer_reader {
	int (*next)(struct transfer_reader *rd, const void **ret,
		    size_t *ret_bytes, uint64_t *ret_offset_bytes,
		    struct cfs_err *err);
	/*
	 * The first run of data at or behind @offset_bytes, without reading
	 * it; at the end both are the file's length.  May be NULL.
	 */
	int (*extent)(struct transfer_reader *rd, uint64_t offset_bytes,
		      uint64_t *ret_begin, uint64_t *ret_end,
		      struct cfs_err *err);
	/* The same bytes as an end of a copy; kind SINK: not to be had. */
	struct cfs_bytes_end whole;
};

/* Longer files are copied by several threads. */
#define TRANSFER_BULK_BYTES (UINT64_C(8) << 20)

struct transfer;

/*
 * All return 0 or a negative errno with @err set, which names no path.  @err is
 * never NULL, here and in all of this file that ends a run or an entry.
 */
struct transfer_sink {
	/* -EEXIST never: a directory that is there is taken. */
	int (*directory)(struct transfer *t, const struct transfer_entry *e,
			 struct cfs_err *err);
	int (*directory_end)(struct transfer *t, const struct transfer_entry *e,
			     struct cfs_err *err);
	int (*file)(struct transfer *t, const struct transfer_entry *e,
		    struct transfer_reader *rd, struct cfs_err *err);
	/* symlink, device, fifo, socket */
	int (*node)(struct transfer *t, const struct transfer_entry *e,
		    struct cfs_err *err);
	/* @e->path becomes one more name of @first, which came before. */
	int (*link)(struct transfer *t, const struct transfer_entry *e,
		    const char *first, struct cfs_err *err);
	/* The content of a link that came with it (cpio); may be NULL. */
	int (*refill)(struct transfer *t, const struct transfer_entry *e,
		      struct transfer_reader *rd, struct cfs_err *err);
	/* link is not to be used: each name gets its own copy */
	bool has_no_links;
};

/* (device, inode) of the source, and the first path it was seen under. */
struct transfer_link {
	uint64_t dev, ino;
	uint64_t number;
	char *path; /* NULL: a free place */
};

struct transfer {
	const struct cfs_transfer_options *opt; /* never NULL */
	struct cfs_transfer_result *ret;
	const struct transfer_sink *sink;
	void *sink_arg;
	uint64_t done_bytes;
	struct transfer_link *links; /* hash table, power of two */
	size_t link_count, link_room;
	uint64_t link_serial;
	/* a range of damage that may go on */
	char *damage_path;
	uint64_t damage_begin, damage_end;
};

/* @opt may be NULL; clears @ret, which outlives @t. */
void transfer_init(struct transfer *t, const struct cfs_transfer_options *opt,
		   struct cfs_transfer_result *ret,
		   const struct transfer_sink *sink, void *sink_arg);
void transfer_done(struct transfer *t);

/* 0, or -EINTR with @err. */
int transfer_check_stop(const struct transfer *t, struct cfs_err *err);

/* Data that was moved. */
void transfer_moved(struct transfer *t, size_t bytes);

/*
 * @err is why @path was left out, or not wholly kept.  Reports it and returns
 * 0: go on; or, for what concerns all, returns the code without a report.
 */
int transfer_failed(struct transfer *t, const char *path, struct cfs_err *err);

/* Damage was passed over; neighbours are reported as one. */
void transfer_damaged(struct transfer *t, const char *path,
		      uint64_t offset_bytes, uint64_t length_bytes);
void transfer_damage_flush(struct transfer *t);

/*
 * Hand one entry to the sink, by its type; @rd for regular files.  (@dev,
 * @ino) tell links apart if @e->nlink is above 1.
 * @ret_is_made  may be NULL; false: it was left out (and what is in it, too)
 * Returns 0, also when it was left out; else what ends the run.
 */
int transfer_put(struct transfer *t, const struct transfer_entry *e,
		 struct transfer_reader *rd, uint64_t dev, uint64_t ino,
		 bool *ret_is_made, struct cfs_err *err);
/* A name for something that was put before.  Returns as transfer_put. */
int transfer_put_link(struct transfer *t, const struct transfer_entry *e,
		      const char *first, bool *ret_is_made,
		      struct cfs_err *err);
int transfer_put_end(struct transfer *t, const struct transfer_entry *e,
		     struct cfs_err *err);

/* Is the file long enough, and known well enough, for transfer_bulk? */
bool transfer_is_bulk(const struct transfer_entry *e,
		      const struct transfer_reader *rd);
/*
 * Copy the content of a file whole to @to, an empty one, and set its length.
 * Nothing is synced.
 */
int transfer_bulk(struct transfer *t, const struct transfer_entry *e,
		  struct transfer_reader *rd, const struct cfs_bytes_end *to,
		  struct cfs_err *err);

/* The first path of (dev, ino), or NULL. */
const char *transfer_link_find(const struct transfer *t, uint64_t dev,
			       uint64_t ino);
/* 0 or -ENOMEM. */
int transfer_link_add(struct transfer *t, uint64_t dev, uint64_t ino,
		      const char *path);

/* ------------------------------------------------------- paths */

/*
 * Make a path of an archive one of ours, appended to @ret (a NUL is behind it,
 * not counted): leading '/', empty and "." components go away.
 * -EXDEV: it has "..".  -EILSEQ: nothing that could be a name.  -ENOMEM.
 */
int transfer_path_clean(const char *name, struct cfs_buf *ret,
			struct cfs_err *err);
/* Append a component; cut back with transfer_path_cut.  0 or -ENOMEM. */
int transfer_path_add(struct cfs_buf *path, const char *name,
		      size_t name_bytes);
void transfer_path_cut(struct cfs_buf *path, size_t bytes);
/* The last component of @path, and the length of what is before its '/'. */
const char *transfer_path_last(const char *path, size_t *ret_dir_bytes);

/*
 * Directories from the destination down to where the work is, so that
 * neighbours are not looked up again from the top.  A handle is an inode or a
 * descriptor; of the latter only the deepest few are kept open.
 */
#define TRANSFER_NO_HANDLE UINT64_MAX

struct transfer_level {
	size_t path_bytes; /* of the path down to here */
	uint64_t handle;   /* TRANSFER_NO_HANDLE: closed */
};

struct transfer_stack {
	/*
	 * Open the directory @name in @parent.  @makes: make it if there is
	 * none.  -EXDEV: it is a symbolic link; -ENOTDIR.
	 */
	int (*open)(void *arg, uint64_t parent, const char *name, bool makes,
		    uint64_t *ret, struct cfs_err *err);
	void (*close)(void *arg, uint64_t handle); /* NULL: not needed */
	void *arg;
	uint64_t root; /* the caller's */
	struct cfs_buf path;
	CFS_VEC(struct transfer_level) levels;
};

/* The handle of the directory @path[0..@path_bytes); stays the stack's. */
int transfer_stack_go(struct transfer_stack *s, const char *path,
		      size_t path_bytes, bool makes, uint64_t *ret,
		      struct cfs_err *err);
void transfer_stack_done(struct transfer_stack *s);

/* -------------------------------------------- sources and sinks */

/* A tree as a sink; @arg of the transfer. */
struct transfer_tree_sink {
	struct cfs_fs *fs;
	struct transfer_stack stack;
	uint8_t *buf;      /* TRANSFER_BUF_BYTES */
	uint32_t uid, gid; /* of what nobody described */
};
extern const struct transfer_sink transfer_tree_sink;
int transfer_tree_sink_init(struct transfer_tree_sink *s, struct cfs_fs *fs,
			    uint64_t dir_ino, struct cfs_err *err);
void transfer_tree_sink_done(struct transfer_tree_sink *s);

/* A directory of the host as a sink. */
struct transfer_host_sink {
	struct transfer_stack stack;
	uint64_t temp_count;
	bool syncs_each; /* files one by one; else the
			  * file system, in the end */
	bool is_tree;    /* it was begun so */
	bool is_root;    /* may give files away */
	uint64_t dev;    /* of the destination */
};
extern const struct transfer_sink transfer_host_sink;
/* @dir_fd: stays the caller's. */
int transfer_host_sink_init(struct transfer_host_sink *s, int dir_fd,
			    bool syncs_each, struct cfs_err *err);
/* Make all durable. */
int transfer_host_sink_sync(struct transfer_host_sink *s, struct cfs_err *err);
void transfer_host_sink_done(struct transfer_host_sink *s);

/* Counts. */
extern const struct transfer_sink transfer_null_sink;

/*
 * Walk what @name in the directory @dir_fd is, itself and all below, and put
 * it as @prefix and below.  "." is the directory itself.
 */
int transfer_walk_host(struct transfer *t, int dir_fd, const char *name,
		       const char *prefix, struct cfs_err *err);
/* The same of an inode of a tree. */
int transfer_walk_tree(struct transfer *t, struct cfs_fs *fs, uint64_t ino,
		       const char *prefix, struct cfs_err *err);

/* The entries of an archive; returns what cfs_import_archive does. */
int transfer_read_archive(struct transfer *t, int fd, struct cfs_err *err);

/* ------------------------------------------- attributes, helpers */

/* Extended attributes of one entry; {0} is none. */
struct transfer_xattrs {
	struct cfs_buf bytes;
	CFS_VEC(struct cfs_fs_xattr) list;
};
void transfer_xattrs_clear(struct transfer_xattrs *x);
void transfer_xattrs_donep(struct transfer_xattrs *x);
/*
 * Add one; a name that is there already is dropped.  Pointers are good after
 * transfer_xattrs_fix only.  0 or -ENOMEM.
 */
int transfer_xattrs_add(struct transfer_xattrs *x, const char *name,
			const void *value, size_t value_bytes);
void transfer_xattrs_fix(struct transfer_xattrs *x);
bool transfer_xattrs_has(const struct cfs_fs_xattr *xattrs, size_t count,
			 const char *name);

/* All attributes of an open file of any type (O_PATH is allowed). */
int transfer_xattrs_of_fd(struct transfer_xattrs *x, int fd, bool is_path,
			  struct cfs_err *err);
int transfer_xattrs_of_tree(struct transfer_xattrs *x, struct cfs_fs *fs,
			    uint64_t ino, struct cfs_err *err);

#define TRANSFER_ACL_ACCESS  "system.posix_acl_access"
#define TRANSFER_ACL_DEFAULT "system.posix_acl_default"

struct archive_entry;
/*
 * POSIX ACLs are attributes here and lists in archives.  Both directions
 * return 0, -ENOMEM; -EILSEQ: it is no ACL, or names someone unknown.
 */
int transfer_acl_to_archive(struct archive_entry *ae, bool is_default,
			    const void *value, size_t value_bytes,
			    struct cfs_err *err);
int transfer_acl_from_archive(struct archive_entry *ae,
			      struct transfer_xattrs *x, struct cfs_err *err);

/* "/proc/self/fd/N". */
#define TRANSFER_FD_PATH_BYTES 32
void transfer_fd_path(int fd, char ret[TRANSFER_FD_PATH_BYTES]);

/* All bytes, at an offset; -errno. */
int transfer_pwrite_all(int fd, const void *buf, size_t bytes,
			uint64_t offset_bytes);

/* Only zeroes. */
bool transfer_is_zero(const void *buf, size_t bytes);

/*
 * Names in archives are bytes: libarchive's conversions go by the locale of
 * the thread, which this sets to UTF-8, and sets back.
 */
struct transfer_locale {
	locale_t fresh, old;
};
void transfer_locale_enter(struct transfer_locale *l);
void transfer_locale_leavep(struct transfer_locale *l);
