/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the files of cfsmount share.
 *
 * A node is what the kernel calls an inode: 64 bits, of which the upper 16 say
 * what it is a part of (a slot) and the lower 48 the inode's number there.
 *
 *   slot 0            the volume that is mounted; its numbers are the nodes
 *   1 .. 0xfffe       in the order of first use: other volumes, snapshots
 *   0xffff            directories that exist here alone (virtual.c)
 *
 * FUSE_ROOT_ID is the root of what is mounted.  Numbers of inodes are never
 * used twice, so a node of slot 0 means the same for ever; those of another
 * slot have a generation that says which volume or snapshot it is of.
 *
 * What is mounted belongs to a session, ours or somebody else's; every call of
 * the kernel becomes calls of volume/fs.h (a LUN: session/session.h), which
 * takes whatever leases are needed.  The kernel judges permissions
 * (default_permissions) by attributes and ACLs that it gets from here.
 *
 * Thread safety: calls come in any number of threads (loop.c).
 */
#pragma once

#define FUSE_USE_VERSION 312

#include "common/cmd.h"

#include "session/serve.h"
#include "session/session.h"
#include "volume/fs.h"

#include <fuse3/fuse_lowlevel.h>
#include <pthread.h>
#include <stdatomic.h>

#define MNT_SLOT_SHIFT   48
#define MNT_SLOT_VIRTUAL 0xffffu
#define MNT_SLOTS_MAX    0xffffu
#define MNT_INO_MASK     ((UINT64_C(1) << MNT_SLOT_SHIFT) - 1)
#define MNT_SNAPSHOTS    ".snapshots"

enum mnt_snapdir {
	MNT_SNAPDIR_HIDDEN, /* there, but not listed */
	MNT_SNAPDIR_VISIBLE,
	MNT_SNAPDIR_OFF,
};

struct mnt_options {
	bool is_read_only;
	bool is_foreground;
	bool is_fake;      /* mount -f */
	bool has_no_other; /* only who mounts it may use it */
	bool has_relatime;
	bool has_cache; /* the kernel may keep what it read */
	enum mnt_snapdir snapdir;
	char *fuse; /* for libfuse, separated by commas */
};

/* One volume or snapshot that is open; a slot. */
struct mnt_volume {
	struct mnt *m;
	struct mnt_volume *next; /* m->open */
	uint16_t slot;
	uint32_t generation;
	uint32_t kind; /* enum cfs_volume_kind */
	bool is_writable;
	struct cfs_io_volume *io;
	struct cfs_fs *fs; /* tree */
	uint64_t root_ino; /* LUN: 1 */
	char *name;        /* "NAME" or "NAME/CLONE" */
	char *snap;        /* NULL: the volume as it is */
	/* Of slots but 0; m->slots_lock. */
	uint64_t nodes;                 /* that the kernel knows */
	uint64_t calls;                 /* under way, and open files */
	uint64_t last_ns;               /* the end of the last one */
	bool is_told;                   /* the kernel was asked to forget it */
	atomic_uint_fast64_t lun_bytes; /* as far as we know */
	atomic_uint_fast64_t writes;    /* of a LUN: what its times rise by */
	struct timespec changed;
};

/* A file or directory that somebody has open. */
struct mnt_file {
	struct mnt_volume *v;
	uint64_t ino;
	atomic_bool has_caps;    /* file capabilities, which a write
			       * takes away */
	atomic_bool reads_atime; /* not looked at yet */
	/* append.c: where the kernel thinks that the last piece ended, and how
	 * large the file was behind it. */
	uint64_t append_to, append_size;
	/* Directory. */
	pthread_mutex_t lock;
	struct cfs_fs_entry *entries;
	size_t count, next;
	uint64_t cookie;        /* of entries[next] */
	struct mnt_name *names; /* virtual */
	size_t name_count;
	struct mnt_file *after; /* m->files */
	struct mnt_file **before;
};

/* In a directory that exists here alone. */
struct mnt_name {
	uint64_t node;
	char name[CFS_FILE_NAME_BYTES_MAX + 1];
	uint16_t type; /* DT_* */
};

/* What may be told with an answer: how long it stays true. */
struct mnt_keep {
	uint64_t serial;
	uint64_t ns;
	uint64_t ends; /* of what was kept before; cache.c */
	bool may;
};

struct mnt {
	struct cfs_cmd *cmd;
	struct mnt_options opt;
	struct cfs_session *s;
	struct cfs_serve *serve; /* NULL: somebody else's pool */
	struct cfs_name name;
	char *pool;       /* absolute */
	char *mountpoint; /* absolute */
	struct fuse_session *se;
	struct fuse_session *mounted; /* knows how to unmount */
	uint64_t mount_id;            /* the kernel's; 0: not known */
	int fd;
	struct timespec since;
	bool is_whole;     /* the whole pool */
	bool has_killpriv; /* the kernel leaves that to us */

	pthread_mutex_t slots_lock;
	struct mnt_volume *slots[MNT_SLOTS_MAX];
	struct mnt_volume *open; /* all of them */

	pthread_mutex_t files_lock;
	struct mnt_file *files;

	/* Removed directories that the kernel still knows. */
	pthread_mutex_t ghosts_lock;
	struct mnt_ghost *ghosts;
	atomic_bool has_ghosts; /* looked at without the lock */

	struct mnt_cache *cache;
	struct mnt_locks *locks;

	/* loop.c */
	pthread_mutex_t loop_lock;
	pthread_cond_t loop_changed;
	pthread_t threads[64];
	bool is_running[64];
	unsigned int thread_count, idle_count;
	atomic_bool is_ending;
	atomic_uint_fast64_t calls; /* of the kernel, so far */
	uint64_t init_unique;
};

/* ---- options.c ----------------------------------------------------------- */

/* The text behind -o.  -EINVAL is misuse, and told. */
int mnt_options_parse(struct cfs_cmd *cmd, const char *text,
		      struct mnt_options *ret);
int mnt_options_add(struct cfs_cmd *cmd, struct mnt_options *opt,
		    const char *fuse);
void mnt_options_done(struct mnt_options *opt);

/* ---- run.c, mount.c ------------------------------------------------------ */

extern const struct cfs_verb cfsmount_verb;

/* Called once: it works (0), or why not. */
typedef void (*mnt_ready_fn)(void *arg, int code, const struct cfs_err *err);

/* Open the pool and what is to be mounted, mount it, answer until the end. */
int mnt_run(struct mnt *m, mnt_ready_fn ready, void *arg, struct cfs_err *err);
/* m->se and m->fd for the open volumes. */
int mnt_mount(struct mnt *m, struct cfs_err *err);
/* No more new calls; those who have something open keep what they have. */
void mnt_unmount(struct mnt *m);
void mnt_mount_free(struct mnt *m);

/* ---- place.c ------------------------------------------------------------- */

enum mnt_place {
	MNT_PLACE_UNKNOWN, /* nobody says */
	MNT_PLACE_THERE,
	MNT_PLACE_COVERED, /* something else is mounted over it */
	MNT_PLACE_GONE,    /* unmounted, perhaps with files open */
};

/* It was just mounted. */
void mnt_place_note(struct mnt *m);
/* Where it is now; @ret_path is to be freed, and NULL if it is nowhere. */
enum mnt_place mnt_place_find(struct mnt *m, char **ret_path);

/* ---- linger.c ------------------------------------------------------------ */

/* What ps(1) calls a process whose mount is gone. */
#define MNT_LINGERS_NAME "cfs-manager"

/* As long as others need the pool that we hold; volumes are closed. */
void mnt_linger(struct mnt *m);

/* ---- helper.c ------------------------------------------------------------ */

/* An attribute of the root that is not listed: the number of our process. */
#define MNT_PID_NAME "trusted.cfs.pid"

int mnt_mount_helper(const struct cfs_tool *tool, int argc, char **argv);
int mnt_umount_helper(int argc, char **argv);

/* ---- loop.c -------------------------------------------------------------- */

/* Bytes that one call reads or writes, at most. */
#define MNT_IO_BYTES_MAX (UINT32_C(1) << 20)

/* Of this thread, until it answers the next call; aligned to 4096.  NULL: no
 * memory, or @bytes are more. */
void *mnt_read_buffer(size_t bytes);
/* For fuse_session_custom_io. */
extern const struct fuse_custom_io mnt_io;
/* Begin to answer. */
int mnt_loop_begin(struct mnt *m, struct cfs_err *err);
/* Until it is unmounted, or a signal asks to stop. */
void mnt_loop_wait(struct mnt *m);
/* No thread answers any more. */
void mnt_loop_end(struct mnt *m);

/* ---- raw.c: requests that this libfuse does not know --------------------- */

/* True: it was one of them, and is answered. */
bool mnt_raw(struct mnt *m, const void *request, size_t bytes);
/* Nothing of an answer of readdirplus may be kept. */
void mnt_plus_forget(void *buf, size_t bytes);
/* Look at an answer on its way; @iov[0] is its head. */
void mnt_raw_answer(struct mnt *m, struct iovec *iov, int count);

/* ---- slots.c ------------------------------------------------------------- */

/* The slot and generation of a volume that was just opened; m->slots_lock. */
int mnt_slot_take(struct mnt *m, struct mnt_volume *v, struct cfs_err *err);
/* Whose a slot is that nothing is open in; @snap is empty if of none. */
int mnt_slot_name(struct mnt *m, unsigned int slot, char name[260],
		  char snap[128]);
/* The node that inode @ino has there; @snap NULL: the volume as it is. */
uint64_t mnt_slot_node(const struct cfs_volume_info *info,
		       const struct cfs_snapshot_info *snap, uint64_t ino);

/* ---- volumes.c ----------------------------------------------------------- */

/* Open @name (@snap NULL: as it is), or find it open; counted as used. */
int mnt_volume_get(struct mnt *m, const char *name, const char *snap,
		   struct mnt_volume **ret, struct cfs_err *err);
/* A call ends that mnt_volume_get or _of began. */
void mnt_volume_put(struct mnt_volume *v);
/* The one with this slot, for a call; opened if it must be.  NULL: none. */
struct mnt_volume *mnt_volume_at(struct mnt *m, unsigned int slot);
/* One call more, of one that has one. */
void mnt_volume_use(struct mnt_volume *v);
/* The one that a node is of, for a call; NULL: none. */
struct mnt_volume *mnt_volume_of(struct mnt *m, fuse_ino_t node,
				 uint64_t *ret_ino);
fuse_ino_t mnt_node(const struct mnt_volume *v, uint64_t ino);
/* The kernel was told of a node; and forgot what it was told so often. */
void mnt_volume_known(struct mnt_volume *v, uint64_t ino);
void mnt_volume_forgot(struct mnt *m, fuse_ino_t node, uint64_t count);
/* Close what nobody has used for a while, so that it can be removed. */
void mnt_volumes_tidy(struct mnt *m);
void mnt_volumes_close(struct mnt *m);

/* ---- virtual.c ----------------------------------------------------------- */

static inline bool mnt_is_virtual(const struct mnt *m, fuse_ino_t node)
{
	return node == FUSE_ROOT_ID
		       ? m->is_whole
		       : node >> MNT_SLOT_SHIFT == MNT_SLOT_VIRTUAL;
}

/* The directory of a tree's snapshots. */
fuse_ino_t mnt_virtual_snapshots(const struct mnt_volume *v);
fuse_ino_t mnt_virtual_clones(const struct mnt_volume *v);
/* Those of all volumes of a pool: of their snapshots, or their clones. */
fuse_ino_t mnt_virtual_all(bool snapshots);
/* False: of no volume. */
bool mnt_virtual_slot(fuse_ino_t node, unsigned int *ret_slot);
void mnt_virtual_attr(struct mnt *m, fuse_ino_t node, struct stat *ret);
int mnt_virtual_lookup(struct mnt *m, fuse_ino_t parent, const char *name,
		       struct fuse_entry_param *ret);
/* @ret is to be freed. */
int mnt_virtual_list(struct mnt *m, fuse_ino_t dir, struct mnt_name **ret,
		     size_t *ret_count);
/* 0 or -ESTALE. */
int mnt_virtual_exists(struct mnt *m, fuse_ino_t node);

/* ---- attr.c -------------------------------------------------------------- */

/* A negative errno of libcore as a positive one of POSIX. */
int mnt_errno(int r);
void mnt_stat(struct mnt_volume *v, uint64_t ino, const struct cfs_inode *inode,
	      struct stat *ret);
/* As above, with a look at the blocks. */
int mnt_stat_of(struct mnt_volume *v, uint64_t ino, struct stat *ret);
void mnt_reply_err(fuse_req_t req, int r);
/* Say what went wrong, if that is not the caller's fault. */
void mnt_note(struct mnt *m, const char *what, const struct cfs_err *err);
/* An entry that the kernel was not told of yet; @r: as far as it came. */
void mnt_reply_entry(fuse_req_t req, struct mnt_volume *v, uint64_t ino,
		     const struct cfs_inode *inode,
		     const struct mnt_keep *keep);
void mnt_fill_entry(struct mnt_volume *v, uint64_t ino,
		    const struct cfs_inode *inode,
		    struct fuse_entry_param *ret);
struct mnt *mnt_of(fuse_req_t req);
bool mnt_is_snap_root(const struct mnt_volume *v, fuse_ino_t parent,
		      const char *name);

/* ---- cache.c ------------------------------------------------------------- */

int mnt_cache_new(struct mnt *m, struct mnt_cache **ret, struct cfs_err *err);
void mnt_cache_free(struct mnt_cache *c);
/* Begin and end watching what others do to @v. */
/* The kernel is there. */
void mnt_cache_begin(struct mnt *m);
int mnt_cache_watch(struct mnt_volume *v, struct cfs_err *err);
void mnt_cache_unwatch(struct mnt_volume *v);
/* Before something is read that may be kept. */
struct mnt_keep mnt_cache_look(struct mnt_volume *v);
/*
 * How long what was read since may be kept; no answer that says so is sent
 * behind cache_leave.
 */
double mnt_cache_enter(struct mnt_volume *v, const struct mnt_keep *keep);
void mnt_cache_leave(struct mnt *m);
/* The kernel was told of a node, and forgot it. */
void mnt_cache_known(struct mnt_volume *v, uint64_t ino);
void mnt_cache_forgot(struct mnt_volume *v, uint64_t ino);

/* ---- parent.c ------------------------------------------------------------ */

/* What a directory gives to what is made in it. */
struct mnt_parent {
	uint32_t gid;
	bool is_setgid;
	bool has_default; /* a default ACL */
};
int mnt_parent_look(struct mnt_volume *v, uint64_t dir_ino,
		    struct mnt_parent *ret);
/* Some directory's attributes or ACLs have changed. */
void mnt_parent_changed(void);

/* ---- names.c ------------------------------------------------------------- */

void mnt_ghosts_free(struct mnt *m);

void mnt_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void mnt_forget(fuse_req_t req, fuse_ino_t node, uint64_t count);
void mnt_forget_multi(fuse_req_t req, size_t count,
		      struct fuse_forget_data *all);
void mnt_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
	       dev_t rdev);
void mnt_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name,
	       mode_t mode);
void mnt_symlink(fuse_req_t req, const char *target, fuse_ino_t parent,
		 const char *name);
void mnt_create(fuse_req_t req, fuse_ino_t parent, const char *name,
		mode_t mode, struct fuse_file_info *fi);
void mnt_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void mnt_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void mnt_rename(fuse_req_t req, fuse_ino_t parent, const char *name,
		fuse_ino_t new_parent, const char *new_name,
		unsigned int flags);
void mnt_link(fuse_req_t req, fuse_ino_t node, fuse_ino_t new_parent,
	      const char *new_name);
void mnt_readlink(fuse_req_t req, fuse_ino_t node);
/* A file without a name, open; for raw.c.  Returns 0 or a positive errno. */
struct mnt_new {
	uint32_t mode, uid, gid, umask;
	uint64_t rdev;
	const char *target;
};
int mnt_tmpfile(struct mnt *m, fuse_ino_t parent, const struct mnt_new *what,
		struct fuse_entry_param *ret, struct mnt_file **ret_file);

/* ---- files.c ------------------------------------------------------------- */

int mnt_file_new(struct mnt_volume *v, uint64_t ino, struct mnt_file **ret);
void mnt_file_free(struct mnt_file *f);
struct mnt_file *mnt_file_of(const struct fuse_file_info *fi);
void mnt_getattr(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi);
void mnt_setattr(fuse_req_t req, fuse_ino_t node, struct stat *attr, int to_set,
		 struct fuse_file_info *fi);
void mnt_open(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi);
void mnt_read(fuse_req_t req, fuse_ino_t node, size_t size, off_t off,
	      struct fuse_file_info *fi);
void mnt_write(fuse_req_t req, fuse_ino_t node, const char *buf, size_t size,
	       off_t off, struct fuse_file_info *fi);
/* Bytes written, or a negative errno.  @off: also CFS_FS_APPEND.  @kills:
 * set-id bits go. */
ssize_t mnt_write_bytes(struct mnt *m, struct mnt_file *f, const void *buf,
			size_t size, uint64_t off, bool kills);
void mnt_flush(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi);
void mnt_release(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi);
void mnt_fsync(fuse_req_t req, fuse_ino_t node, int datasync,
	       struct fuse_file_info *fi);
void mnt_fallocate(fuse_req_t req, fuse_ino_t node, int mode, off_t offset,
		   off_t length, struct fuse_file_info *fi);
void mnt_lseek(fuse_req_t req, fuse_ino_t node, off_t off, int whence,
	       struct fuse_file_info *fi);
void mnt_statfs(fuse_req_t req, fuse_ino_t node);
/* File capabilities go with what they were for. */
void mnt_drop_caps(struct mnt_volume *v, uint64_t ino);
/* What was written to a volume, or to all that are open, is durable. */
int mnt_sync_volume(struct mnt_volume *v, struct cfs_err *err);
int mnt_sync_all(struct mnt *m, struct cfs_err *err);

/* ---- append.c ------------------------------------------------------------ */

/* A piece of what is appended with direct I/O. */
struct mnt_append {
	struct mnt_append *next;
	struct mnt_file *f;
	uint64_t offset; /* the kernel's */
	bool is_void;
};
/*
 * Wait until it is the next one.  -EIO: one before it could not be written.
 * Ends with mnt_append_end, in any case.
 */
int mnt_append_begin(struct mnt_append *a, struct mnt_file *f, uint64_t offset);
/* @is_whole: all of it was written, up to @end in the kernel's view. */
void mnt_append_end(struct mnt_append *a, bool is_whole, uint64_t end);

/* ---- lun.c --------------------------------------------------------------- */

/* What is told of a LUN as a file; asks how large it is now. */
void mnt_lun_stat(struct mnt_volume *v, struct stat *ret);
/* Its size; asked anew if what is known ends before @end. */
uint64_t mnt_lun_size(struct mnt_volume *v, uint64_t end);
int mnt_lun_read(struct mnt_volume *v, uint64_t off, void *buf, size_t size,
		 size_t *ret);
/* Bytes written, or a negative errno. */
ssize_t mnt_lun_write(struct mnt_volume *v, const void *buf, size_t size,
		      uint64_t off);
int mnt_lun_allocate(struct mnt_volume *v, int mode, uint64_t off,
		     uint64_t length);

/* ---- dirs.c -------------------------------------------------------------- */

void mnt_opendir(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi);
void mnt_readdir(fuse_req_t req, fuse_ino_t node, size_t size, off_t off,
		 struct fuse_file_info *fi);
void mnt_readdirplus(fuse_req_t req, fuse_ino_t node, size_t size, off_t off,
		     struct fuse_file_info *fi);
void mnt_releasedir(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi);

/* ---- xattrs.c ------------------------------------------------------------ */

void mnt_setxattr(fuse_req_t req, fuse_ino_t node, const char *name,
		  const char *value, size_t size, int flags);
void mnt_getxattr(fuse_req_t req, fuse_ino_t node, const char *name,
		  size_t size);
void mnt_listxattr(fuse_req_t req, fuse_ino_t node, size_t size);
void mnt_removexattr(fuse_req_t req, fuse_ino_t node, const char *name);

/* ---- acl.c --------------------------------------------------------------- */

#define MNT_ACL_ACCESS    "system.posix_acl_access"
#define MNT_ACL_DEFAULT   "system.posix_acl_default"
#define MNT_ACL_BYTES_MAX 65536u

/*
 * What a new inode gets from the default ACL of its directory: @mode is what
 * was asked for, and becomes what it is; without one the umask counts.
 * @access, @own_default: buffers of MNT_ACL_BYTES_MAX; their lengths are 0 if
 * it gets none.
 */
struct mnt_acl_new {
	uint8_t *access, *own_default;
	size_t access_bytes, default_bytes;
};
int mnt_acl_inherit(struct mnt_volume *v, uint64_t dir_ino, uint32_t umask,
		    uint32_t *mode, struct mnt_acl_new *ret);
void mnt_acl_new_done(struct mnt_acl_new *a);
/* chmod: the mask (or the group) of the ACL follows.  0 also without one. */
int mnt_acl_chmod(struct mnt_volume *v, uint64_t ino, uint32_t mode);
/*
 * An ACL is set: *mode gets its permissions.  1: it says no more than they do,
 * and is not kept.  -EINVAL: it is none.
 */
int mnt_acl_check(const void *value, size_t bytes, uint32_t *mode);

/* ---- locks.c ------------------------------------------------------------- */

int mnt_locks_new(struct mnt *m, struct mnt_locks **ret, struct cfs_err *err);
void mnt_locks_free(struct mnt_locks *l);
void mnt_getlk(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi,
	       struct flock *lock);
void mnt_setlk(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi,
	       struct flock *lock, int sleep);
void mnt_flock(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi,
	       int op);
/* A process has closed the file: its byte ranges go. */
void mnt_locks_closed(struct mnt_file *f, uint64_t owner, bool is_flock);
/* Nobody has the open file any more: so go the byte ranges that were its own
 * (F_OFD_SETLK), of which the kernel tells us nothing. */
void mnt_locks_released(struct mnt_file *f);
