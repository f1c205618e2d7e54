/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What tools open.  A tool is always a client of an owner: it opens a pool by
 * any of its devices, names volumes, and asks.  When no other process holds
 * the pool, the owner lives in this process and is called directly; the calls
 * here are the requests that will also travel to a file manager.
 *
 * Names: a volume is "NAME" or "NAME/CLONE", a snapshot a name without '@'.
 * All strings given are NUL-terminated, and copied where they are kept.
 *
 * A session opened to read only never writes to a device: what recovery needs
 * to write stays in memory.  With is_dry_run the same is true of everything:
 * the calls do all their work, on a copy in memory, and nothing reaches the
 * devices.
 *
 * What a call that returned 0 has changed is durable, except the bytes
 * written with cfs_io_write, which are when cfs_io_sync or cfs_session_close
 * returned 0.
 *
 * Thread safety: a session may be used by many threads; open and close by one.
 * Callbacks are called in the caller's thread, without locks held; but where
 * the process answers others (serve.h), those that list what there is change
 * none of it.
 */
#pragma once

#include "base/err.h"
#include "heal/check.h"
#include "heal/scrub.h"
#include "heal/trace.h"
#include "ondisk/inode.h"
#include "ondisk/table.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cfs_session;

/* Asked now and then by long work; true: stop with -EINTR. */
typedef bool (*cfs_stop_fn)(void *arg);
/* Done so far, of @total (0: unknown), in bytes. */
typedef void (*cfs_progress_fn)(void *arg, uint64_t done, uint64_t total);
/* One line that does not stop the work, for standard error. */
typedef void (*cfs_warn_fn)(void *arg, const char *line);

/* How the bytes of a volume are reached, of a pool that another process
 * holds. */
enum cfs_io_mode {
	CFS_IO_MODE_ANY = 0,       /* directly if that can be */
	CFS_IO_MODE_DIRECT = 1,    /* on the devices, or not at all */
	CFS_IO_MODE_FORWARDED = 2, /* through the one who holds it */
};

struct cfs_session_options {
	bool is_writable;
	bool is_dry_run;
	bool ignores_damage; /* check, scrub, trace: open as far
			      * as it goes */
	bool must_hold;      /* never ask another holder: wait
			      * until the pool is ours */
	enum cfs_io_mode io_mode;
	unsigned int wait_seconds;
	/* Bytes and files that somebody has leased are waited for so long, too
	 * (-ETIMEDOUT); else for as long as it takes. */
	bool gives_up;
	const char *gone_host; /* an operator's word that these hosts, with
				* blanks between them, are dead; or NULL */
	/*
	 * $CFS_LEASE: CLIENT-LEASE-SECRET, and behind an '@' the UUID of the
	 * pool it is of (of another pool: ignored).  What is used of a pool
	 * that another process holds is used under that lease.  NULL: none.
	 */
	const char *lease;
	const char *const *search; /* directories */
	size_t search_count;
	/*
	 * A path, or a UUID in text, of a mirror's device that is not looked
	 * at: of two halves that were each used without the other, the one that
	 * is given up.  NULL: none.
	 */
	const char *without;
	/* A device may be shorter than its label says
	 * (cfs_session_resize_device is going to be called). */
	bool allows_short;
	/* cfs_session_evacuate and cfs_session_replace_device return when all
	 * is begun, if others are answered by whoever holds the pool: that one
	 * goes on. */
	bool in_background;
	/* To reach a holder on another host: PEM files; NULL: none. */
	const char *tls_cert, *tls_key, *tls_ca;
	cfs_stop_fn stop;         /* may be NULL */
	cfs_progress_fn progress; /* may be NULL */
	cfs_warn_fn warn;         /* may be NULL */
	void *arg;                /* for the three */
};

/*
 * @pool: a path or URI of any one device.
 * -ENOENT, -EMEDIUMTYPE (not cfs), -ENOTSUP (newer), -EUCLEAN, -ENODEV (a
 * device is missing), -EBUSY (held by another; @err names it), -EPERM, -EIO.
 */
int cfs_session_open(const char *pool, const struct cfs_session_options *opt,
		     struct cfs_session **ret, struct cfs_err *err);
/* Commit what is open and let go of the pool.  The session is freed also when
 * it fails.  NULL is allowed. */
int cfs_session_close(struct cfs_session *s, struct cfs_err *err);
void cfs_session_closep(struct cfs_session **s); /* drops errors */
/*
 * For who keeps a session open and has nothing to do at the moment: memory that
 * work has left unused goes back to the system, that of the rest of the process
 * too (malloc_trim).  Costs a few milliseconds; changes nothing else.
 */
void cfs_session_rest(struct cfs_session *s);
/* This process holds the pool, and may answer others (serve.h); else all is
 * asked of another one. */
bool cfs_session_is_holder(const struct cfs_session *s);
bool cfs_session_is_writable(const struct cfs_session *s);

/* ---- pools --------------------------------------------------------------- */

struct cfs_format_options {
	const char *const *devices;
	size_t device_count;
	const char *name;     /* label; NULL: none */
	uint64_t size_bytes;  /* make or extend files; 0: as they are */
	uint64_t slice_bytes; /* 0: chosen */
	bool is_mirror;
	bool is_shared;
	bool is_forced; /* a foreign or cfs signature is overwritten */
	bool is_dry_run;
	unsigned int wait_seconds;
};

/* What a device carries before it is formatted or added. */
struct cfs_probe {
	bool exists;
	bool is_block;
	uint64_t size_bytes;
	/* libblkid's word, "cfs", "data"; empty: none */
	char type[64];
	char label[128];
	bool is_in_use; /* mounted, swap, part of an open pool */
	char used_as[256];
};
int cfs_probe_device(const char *path, struct cfs_probe *ret,
		     struct cfs_err *err);

struct cfs_format_result {
	uint8_t pool_uuid[16];
	uint64_t slice_bytes;
	uint64_t slice_count;
	uint64_t capacity_bytes; /* room for data */
	uint64_t written_bytes;
};
/*
 * Make a pool.  -EBUSY: a device is mounted or in use; -EEXIST: a signature
 * stands there and is_forced is not set (@err names type and label); -EINVAL:
 * too small, no power of two, one device for a mirror; -ENOENT, -ENOSPC, -EIO.
 * A failure leaves no file behind that was not there before.
 */
int cfs_pool_format(const struct cfs_format_options *opt,
		    struct cfs_format_result *ret, struct cfs_err *err);

enum cfs_pool_state {
	CFS_POOL_OK,
	CFS_POOL_NEARLY_FULL,
	CFS_POOL_DEGRADED,
	CFS_POOL_DAMAGED,
	CFS_POOL_MISSING_DEVICES,
	CFS_POOL_BUSY,
	CFS_POOL_NEWER,
};
/* One word, as JSON has it: "nearly_full". */
const char *cfs_pool_state_name(enum cfs_pool_state state);

struct cfs_device_info {
	uint32_t index;
	uint8_t uuid[16];
	char path[4096];   /* empty: missing */
	const char *kind;  /* "file", "block" */
	const char *state; /* "ok", "missing", "out",
			    * "evacuating", "evacuated" (empty),
			    * "removed" (half: to be repeated) */
	uint64_t size_bytes;
	uint64_t slice_count, used_slices, free_slices, frozen_slices,
		bad_slices;
	/* Slices are leaving it now, in the process that holds the pool; so
	 * many have, of so many. */
	bool is_moving;
	uint64_t moved_slices, move_slices;
};

struct cfs_pool_info {
	char name[64];
	uint8_t uuid[16];
	enum cfs_pool_state state;
	bool is_mirror, is_shared;
	uint32_t device_count, devices_present;
	uint64_t created_ns;
	uint64_t slice_bytes;
	uint64_t size_bytes; /* of all devices */
	uint64_t slices, free_slices, lent_slices, frozen_slices, bad_slices;
	uint64_t capacity_bytes; /* data that fits in all */
	uint64_t used_bytes;     /* data and metadata in use */
	/* Writes fail after so many, over all volumes, made in large pieces
	 * and with nothing deleted or snapshotted meanwhile. */
	uint64_t free_bytes;
	uint64_t damaged_blocks;
	uint64_t container_count;
	uint64_t epoch;
	uint64_t lease_period_ns, clock_drift_ppm, cache_bytes;
	/* Who syncs looks whether it was taken for dead before it says so. */
	bool is_checked;
	/* Shared pools: from so many silent hosts more it can be taken over,
	 * before one has to be named as gone. */
	uint64_t takeovers_left;
};

int cfs_session_pool_info(struct cfs_session *s, struct cfs_pool_info *ret,
			  struct cfs_err *err);
typedef int (*cfs_device_each_fn)(void *arg, const struct cfs_device_info *d);
int cfs_session_devices(struct cfs_session *s, cfs_device_each_fn each,
			void *arg, struct cfs_err *err);

/*
 * Pools that can be seen from labels alone, without opening them: those with
 * a device in @places (directories, files, block devices; none: the block
 * devices of this host and the working directory).  One call a pool.
 * info.free_bytes is 0 where it is not known.
 */
typedef int (*cfs_pool_each_fn)(void *arg, const struct cfs_pool_info *info,
				const struct cfs_device_info *devices,
				size_t device_count);
int cfs_pools_scan(const char *const *places, size_t place_count,
		   cfs_pool_each_fn each, void *arg, struct cfs_err *err);

/* KEY=VALUE of a pool: label, cache, lease_period (ns), clock_drift (ppm),
 * checked, mirror; of a volume: limit, provision, checked.  -EINVAL: no such
 * key, or no such value. */
int cfs_session_set(struct cfs_session *s, const char *volume /* or NULL */,
		    const char *key, const char *value, struct cfs_err *err);

/* Add devices (formatted with the pool's geometry); checks as mkcfs. */
int cfs_session_add_device(struct cfs_session *s, const char *path,
			   bool is_forced, uint64_t *ret_slices,
			   struct cfs_err *err);
/* Use a device's new size.  -EBUSY: shrinking, and slices there are in use. */
int cfs_session_resize_device(struct cfs_session *s, const char *device,
			      uint64_t *ret_old_slices,
			      uint64_t *ret_new_slices, struct cfs_err *err);

/*
 * Moving slices between devices, beside all who read and write; by the process
 * that holds the pool.  Not of a shared pool, nor while another process owns one
 * of its containers (-EBUSY).  All go on where they were broken off when they
 * are called again, and an evacuation with the next process that serves the
 * pool.  A dry run fills in what would be needed, and moves nothing.
 */
struct cfs_move_result {
	uint64_t need_slices, need_bytes;   /* to be moved */
	uint64_t free_slices;               /* where they could go */
	uint64_t moved_slices, moved_bytes; /* written, by this call */
	uint64_t left_slices;               /* not moved, as it failed */
	uint64_t damaged_blocks;            /* moved as they are: no copy of
					     * them is good */
};
/*
 * Move all slices of a device elsewhere; nothing new comes there.  @device: a
 * path, or a UUID in text.  @ret is set also when it fails.
 * -ENOENT; -ENOSPC: no room elsewhere, before anything is moved; -EINTR; -EIO;
 * -EBUSY: some slices stay until a client that is silent is known to be gone;
 * -ECANCELED: the device was taken into use again meanwhile.
 */
int cfs_session_evacuate(struct cfs_session *s, const char *device,
			 struct cfs_move_result *ret, struct cfs_err *err);
/* Take an empty device out of the pool.  -EBUSY: slices there are in use;
 * -EPERM: some are frozen, and !is_forced; -ERANGE: it is needed. */
int cfs_session_remove_device(struct cfs_session *s, const char *device,
			      bool is_forced, struct cfs_err *err);
/*
 * Put the device at @path in the place of @old, which may be missing if the
 * pool is a mirror; then all its slices have two places again, and @old is
 * taken out.  @is_forced: as in cfs_session_add_device.
 */
int cfs_session_replace_device(struct cfs_session *s, const char *old,
			       const char *path, bool is_forced,
			       struct cfs_move_result *ret,
			       struct cfs_err *err);
/* Make the pool a mirror; or give those slices of one a second place that have
 * none.  The same as setting "mirror" to "yes", with the result. */
int cfs_session_make_mirror(struct cfs_session *s, struct cfs_move_result *ret,
			    struct cfs_err *err);

struct cfs_trim_result {
	uint64_t returned_slices; /* to the pool */
	uint64_t discarded_bytes; /* to the devices */
};
/* @container: NULL, or a container's name. */
int cfs_session_trim(struct cfs_session *s, const char *container,
		     struct cfs_trim_result *ret, struct cfs_err *err);

/* The slice map: one call per slice of the pool, in the order of devices. */
struct cfs_slice_info {
	uint32_t device_index;
	uint64_t slice_index;
	/* "free", "pool", "container", "frozen", "bad" */
	const char *use;
	char container[128];
	uint64_t container_id;
	uint64_t lslice;
	uint32_t piece;
	uint32_t generation;
	uint64_t used_blocks, block_count; /* of data blocks */
};
typedef int (*cfs_slice_each_fn)(void *arg, const struct cfs_slice_info *i);
/* @container: NULL for all.  Only slices with a record are called: those never
 * used are free, and their number is in the device's counts. */
int cfs_session_slices(struct cfs_session *s, const char *container,
		       cfs_slice_each_fn each, void *arg, struct cfs_err *err);

/* A container that is served by another process than the manager. */
struct cfs_delegation_info {
	char name[128];
	uint64_t container_id;
	uint32_t epoch;
	bool is_held;       /* else: taken over, and what it had is
			     * frozen until it is known to be gone */
	bool is_wanted;     /* it was asked to return it */
	uint64_t client_id; /* at the manager; 0: away, or there is
			     * none */
	char host[64];
	uint64_t pid;
	char address[256];
	uint64_t since_ns;
};
typedef int (*cfs_delegation_info_fn)(void *arg,
				      const struct cfs_delegation_info *d);
int cfs_session_delegated(struct cfs_session *s, cfs_delegation_info_fn each,
			  void *arg, struct cfs_err *err);

/* ---- volumes ------------------------------------------------------------- */

struct cfs_volume_info {
	char name[260]; /* "vm0" or "vm0/c1" */
	uint32_t kind;  /* enum cfs_volume_kind */
	uint8_t container_uuid[16];
	uint64_t container_id, volume_id;
	uint64_t size_bytes;   /* LUN: its size; tree: bytes in use */
	uint64_t used_bytes;   /* blocks that it alone or with others uses */
	uint64_t shared_bytes; /* of them, seen by a snapshot or parent too */
	uint64_t limit_bytes;  /* 0: none */
	uint64_t provision_bytes; /* kept at hand for its container */
	uint64_t created_ns;
	uint64_t snapshot_count, clone_count;
	char origin[400];              /* clone: "vm0@a"; else empty */
	uint64_t container_used_bytes; /* data and metadata, all versions */
	uint64_t slice_count;          /* of the container */
	uint64_t damaged_blocks;
	uint64_t inode_count; /* tree */
	bool is_checked;      /* by a setting of its own */
	/* "clean", "degraded", "read_only", "offline"; "receiving": a stream,
	 * or it was broken off */
	const char *state;
};
typedef int (*cfs_volume_each_fn)(void *arg, const struct cfs_volume_info *v);

/* @container: NULL for all; else that container's production volume and
 * clones.  Containers in the order of names, clones behind theirs. */
int cfs_session_volumes(struct cfs_session *s, const char *container,
			cfs_volume_each_fn each, void *arg,
			struct cfs_err *err);
int cfs_session_volume(struct cfs_session *s, const char *volume,
		       struct cfs_volume_info *ret, struct cfs_err *err);
/* The same without what is counted by reading a volume's whole map: used_bytes,
 * shared_bytes and inode_count are 0, and so is a tree's size_bytes. */
int cfs_session_volumes_brief(struct cfs_session *s, const char *container,
			      cfs_volume_each_fn each, void *arg,
			      struct cfs_err *err);
int cfs_session_volume_brief(struct cfs_session *s, const char *volume,
			     struct cfs_volume_info *ret, struct cfs_err *err);

/* Make a container with its production volume.  -EEXIST, -ENOSPC, -EINVAL
 * (name, size).  @is_unfinished: it is removed by the next opener unless
 * cfs_session_finish_volume was called (for --from). */
int cfs_session_create(struct cfs_session *s, const char *name, uint32_t kind,
		       uint64_t size_bytes, uint64_t limit_bytes,
		       bool is_unfinished, struct cfs_err *err);
int cfs_session_finish_volume(struct cfs_session *s, const char *name,
			      struct cfs_err *err);

/* -EBUSY: it has snapshots or clones and !recursive (@err says how many). */
int cfs_session_remove_volume(struct cfs_session *s, const char *volume,
			      bool recursive, struct cfs_err *err);
/* @new_name: "NEW", or "NAME/NEW" for a clone (or its last part alone). */
int cfs_session_rename_volume(struct cfs_session *s, const char *volume,
			      const char *new_name, struct cfs_err *err);
/* A LUN's size, multiple of 4096 bytes up to 2^60. */
int cfs_session_resize_volume(struct cfs_session *s, const char *volume,
			      uint64_t size_bytes, struct cfs_err *err);

/* ---- places: what a lease is on ------------------------------------------ */

struct cfs_volume_place {
	uint64_t container, volume;
	uint64_t ino;  /* the file; of a volume: the LUN, or the root */
	uint32_t kind; /* of the volume */
};
struct cfs_place_name {
	char volume[260];
	char path[4096]; /* empty: there is none */
};
/*
 * @path: NULL, or a file of a tree; symbolic links are followed.  Nobody's
 * lease stands against that.  -ENOENT; -EINVAL: a path in a LUN.
 */
int cfs_session_place_find(struct cfs_session *s, const char *volume,
			   const char *path, struct cfs_volume_place *ret,
			   struct cfs_err *err);
/* The reverse; ino 0: no path is looked for.  -ENOENT: it is gone. */
int cfs_session_place_name(struct cfs_session *s,
			   const struct cfs_volume_place *place,
			   struct cfs_place_name *ret, struct cfs_err *err);

/* ---- snapshots ----------------------------------------------------------- */

struct cfs_snapshot_info {
	char volume[260];
	char name[128];
	uint64_t stamp; /* orders the snapshots of a container */
	uint64_t created_ns;
	char note[256];
	uint64_t size_bytes;
	uint64_t exclusive_bytes, shared_bytes;
	bool is_held;
	uint64_t clone_count;
	char branch_of[128]; /* the snapshot of this volume that its
			      * branch was rolled back to; or empty */
};
typedef int (*cfs_snapshot_each_fn)(void *arg,
				    const struct cfs_snapshot_info *i);

/* @volume: NULL for all; old to new within a volume.  @with_space: also
 * exclusive_bytes and shared_bytes, which takes longer. */
int cfs_session_snapshots(struct cfs_session *s, const char *volume,
			  bool with_space, cfs_snapshot_each_fn each, void *arg,
			  struct cfs_err *err);
int cfs_session_snapshot(struct cfs_session *s, const char *volume,
			 const char *snap, struct cfs_snapshot_info *ret,
			 struct cfs_err *err);
/* The same, where exclusive_bytes and shared_bytes are not wanted. */
int cfs_session_snapshot_brief(struct cfs_session *s, const char *volume,
			       const char *snap, struct cfs_snapshot_info *ret,
			       struct cfs_err *err);

struct cfs_snap_name {
	const char *volume;
	const char *snap;
};
/* Several of one pool at one moment: all or none.  -EEXIST, -ENOENT. */
int cfs_session_snap_take(struct cfs_session *s,
			  const struct cfs_snap_name *names, size_t count,
			  const char *note, struct cfs_err *err);
/* @clone: the last part of its name. */
int cfs_session_snap_clone(struct cfs_session *s, const char *volume,
			   const char *snap, const char *clone,
			   struct cfs_err *err);
/*
 * The clone @clone ("NAME/CLONE"), with its snapshots, becomes the container
 * @name; all that it shows is copied, through the pool's progress and stop.
 * Until the end the clone stays, and may be used; then nobody may.  What broke
 * off goes on when it is called again.  @ret_bytes: data that was copied by
 * this call, or of a dry run: would be.
 * -EINVAL: no clone; -EEXIST: @name; -EBUSY: it is in use, or has clones.
 */
int cfs_session_promote(struct cfs_session *s, const char *clone,
			const char *name, uint64_t *ret_bytes,
			struct cfs_err *err);
/* Give up what one that broke off has copied. */
int cfs_session_promote_undo(struct cfs_session *s, const char *clone,
			     struct cfs_err *err);
/* @save: NULL, or the name of a snapshot of what is replaced. */
int cfs_session_snap_rollback(struct cfs_session *s, const char *volume,
			      const char *snap, const char *save,
			      struct cfs_err *err);
/* -EBUSY: it has clones, or is held. */
int cfs_session_snap_remove(struct cfs_session *s, const char *volume,
			    const char *snap, uint64_t *ret_freed_bytes,
			    struct cfs_err *err);
/*
 * Up to CFS_SNAP_REMOVE_MAX of one volume, each named once: all or none, and
 * much faster than one by one.  @ret_freed_bytes: of each what it gives back
 * if the older ones went first.
 */
#define CFS_SNAP_REMOVE_MAX 4096u
int cfs_session_snap_remove_many(struct cfs_session *s, const char *volume,
				 const char *const *snaps, size_t count,
				 uint64_t *ret_freed_bytes,
				 struct cfs_err *err);
int cfs_session_snap_rename(struct cfs_session *s, const char *volume,
			    const char *snap, const char *new_name,
			    struct cfs_err *err);
int cfs_session_snap_hold(struct cfs_session *s, const char *volume,
			  const char *snap, bool hold, struct cfs_err *err);

/* ---- data ---------------------------------------------------------------- */

/* A LUN, or a tree, opened for input and output.  @snap: NULL for the volume
 * as it is; a snapshot is read-only. */
struct cfs_io_volume;
int cfs_io_open(struct cfs_session *s, const char *volume, const char *snap,
		bool is_writable, struct cfs_io_volume **ret,
		struct cfs_err *err);
void cfs_io_close(struct cfs_io_volume *v); /* NULL is allowed */
void cfs_io_closep(struct cfs_io_volume **v);
uint32_t cfs_io_kind(const struct cfs_io_volume *v);
uint64_t cfs_io_size_bytes(const struct cfs_io_volume *v); /* LUN */

/* LUN.  -EUCLEAN: damage; *ret_good_bytes (may be NULL): how much of the front
 * is good.  -EINVAL: outside.  Many threads may call at once. */
int cfs_io_read(struct cfs_io_volume *v, uint64_t offset_bytes, void *buf,
		size_t length_bytes, size_t *ret_good_bytes,
		struct cfs_err *err);

/*
 * Many reads of a LUN that are under way at the same time, in any order; for
 * short ones, of whoever has several to do: together they cost less of the
 * processor.  Each has its result.  Returns 0, or the first failure in the
 * order of the list, and @err tells of that.
 */
struct cfs_io_part {
	uint64_t offset_bytes;
	void *buf;
	size_t length_bytes;
	int result; /* as of cfs_io_read */
};
int cfs_io_read_many(struct cfs_io_volume *v, struct cfs_io_part *parts,
		     size_t count, struct cfs_err *err);
/* Does that do them at the same time?  Else one behind the other, and more
 * threads are better. */
bool cfs_io_reads_many(const struct cfs_io_volume *v);

int cfs_io_write(struct cfs_io_volume *v, uint64_t offset_bytes,
		 const void *buf, size_t length_bytes, struct cfs_err *err);
int cfs_io_discard(struct cfs_io_volume *v, uint64_t offset_bytes,
		   uint64_t length_bytes, struct cfs_err *err);
/* -ENXIO without @err: no data behind @offset_bytes. */
int cfs_io_seek(struct cfs_io_volume *v, uint64_t offset_bytes, bool data,
		uint64_t *ret_offset_bytes, struct cfs_err *err);
/* Is the byte at @offset_bytes data, or does it lie in a hole; and for how many
 * bytes, at most @length_bytes (not 0), does that go on?  There may be more of
 * the same behind. */
int cfs_io_extent(struct cfs_io_volume *v, uint64_t offset_bytes,
		  uint64_t length_bytes, bool *ret_is_data,
		  uint64_t *ret_length_bytes, struct cfs_err *err);
int cfs_io_sync(struct cfs_io_volume *v, struct cfs_err *err);

/* Tree: the file system's own calls (volume/fs.h) on this. */
struct cfs_fs;
struct cfs_fs *cfs_io_fs(struct cfs_io_volume *v);

/*
 * Keeping what was read of a tree.  While cfs_io_may_keep says true and the
 * same serial, nobody but the caller changes the tree.  Before somebody else
 * may, or when leases are lost, @changes is called, behind whose return that is
 * so no more; it must not wait for calls on the volume.
 * @watch: copied; NULL: no more calls, and none runs.  One a volume.
 */
struct cfs_io_watch {
	void (*changes)(void *arg);
	void *arg;
};
int cfs_io_watch(struct cfs_io_volume *v, const struct cfs_io_watch *watch,
		 struct cfs_err *err);
/* @ret_ns: how long it stays so even if this process is stopped. */
bool cfs_io_may_keep(struct cfs_io_volume *v, uint64_t *ret_serial,
		     uint64_t *ret_ns);

/*
 * Locks of programs, as fcntl(2) and flock(2) have them: leases that do not
 * stand against reading and writing, only against each other, whichever process
 * asks.  @key tells who locks: its own locks do not stand in its way.
 */
enum cfs_io_lock_kind { CFS_IO_LOCK_BYTES, CFS_IO_LOCK_FILE };
struct cfs_io_lock_want {
	uint64_t ino;
	enum cfs_io_lock_kind kind;
	uint64_t offset_bytes, length_bytes; /* not 0; up to 2^64 - 1 */
	bool is_exclusive;
	bool waits;
	uint64_t key;
	bool (*stop)(void *arg); /* may be NULL */
	void *arg;
};
struct cfs_held;
/*
 * -EBUSY: somebody else has it; -EDEADLK, -EINTR; -ENOTSUP: nobody is asked
 * for leases (a snapshot, or a pool that is only read); -ESTALE.
 */
int cfs_io_lock(struct cfs_io_volume *v, const struct cfs_io_lock_want *want,
		struct cfs_held **ret, struct cfs_err *err);
void cfs_io_unlock(struct cfs_held *held); /* NULL is allowed */

/* ---- check, scrub, trace: heal/check.h and its neighbours ---------------- */

/* Metadata, connectivity and allocation; changes nothing. */
int cfs_session_check(struct cfs_session *s, const char *container,
		      cfs_problem_each_fn each, void *arg,
		      struct cfs_check_result *ret, struct cfs_err *err);

int cfs_session_scrub(struct cfs_session *s, const char *container,
		      const struct cfs_scrub_options *opt,
		      cfs_damage_each_fn each, void *arg,
		      struct cfs_scrub_result *ret, struct cfs_err *err);

/* What stands at a byte of a device. */
int cfs_session_trace_at(struct cfs_session *s, const char *device,
			 uint64_t offset_bytes, cfs_damage_each_fn each,
			 void *arg, struct cfs_err *err);
/* The damage that is known. */
int cfs_session_trace_bad(struct cfs_session *s, cfs_damage_each_fn each,
			  void *arg, struct cfs_err *err);
