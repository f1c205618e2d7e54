/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A session on a pool that another process holds: what session.h promises,
 * asked of that process over one connection.
 *
 * The caller's functions are called in the caller's thread, between messages.
 * A stop is passed on as CANCEL and the answer waited for, so that what a
 * stopped request says of itself arrives; a holder that does not answer that
 * either is given up after a few seconds.
 *
 * When the connection breaks everything fails from then on, with -ECONNRESET.
 * For a request that changes something the message says that it may have been
 * done or not: the holder does a request wholly or not at all, but whether it
 * had come to that nobody knows any more.
 */
#pragma once

#include "session/rpc.h"

struct cfs_remote;
struct cfs_conn;

/*
 * Say hello to the holder of the pool @pool_uuid at one of @addresses
 * (separated by blanks).  @opt: stop, progress, warn and arg are kept.
 * -EBUSY: nobody answers there within @timeout_ms; else as of cfs_dial.
 */
int cfs_remote_connect(const char *addresses, const uint8_t pool_uuid[16],
		       const struct cfs_session_options *opt,
		       unsigned int timeout_ms, struct cfs_remote **ret,
		       struct cfs_err *err);
/* The same over a connection that has said hello (tests); it is @ret's. */
int cfs_remote_on(struct cfs_conn *conn, const struct cfs_session_options *opt,
		  struct cfs_remote **ret, struct cfs_err *err);
/* Who we are: this program, as an observer. */
struct cfs_msg_hello;
void cfs_remote_hello_fill(const uint8_t pool_uuid[16],
			   struct cfs_msg_hello *ret);
/*
 * While a request waits, @is_old(@arg) is asked at times whether another one
 * has come in its place (silence.h); then the connection counts as broken.
 * @is_referred: of a secondary; a request that changes nothing and stands by
 * itself (CFS_RPC_AGAIN) ends with -EREMOTE, behind which the next one is asked.
 * Before the first request.
 */
void cfs_remote_watch(struct cfs_remote *r, bool (*is_old)(void *arg),
		      void *arg, bool is_referred);
/* NULL is allowed.  What was left open there is closed by the holder. */
void cfs_remote_close(struct cfs_remote *r);

/* One item, unpacked as the row says; it lives until this returns. */
typedef int (*cfs_remote_item_fn)(void *arg, const void *item);

struct cfs_remote_call {
	uint16_t type;
	const struct cfs_rpc_args *args;
	void *ret;                   /* as the row says; may be NULL */
	struct cfs_rpc_arena *arena; /* what @ret points to; may be NULL if
				      * it has no pointers */
	cfs_remote_item_fn item;
	void *item_arg;
	/* Where DATA goes; data_bytes: how much came. */
	uint8_t *data;
	size_t data_room, data_bytes;
};

/*
 * Ask, and wait for the end of the answer.  @call->ret is set when the manager
 * answered, also with an error.  Returns what the manager's call returned,
 * or what the item function did if that is not 0; -ECONNRESET; -ENOTSUP: the
 * manager does not know the request.
 */
int cfs_remote_call(struct cfs_remote *r, struct cfs_remote_call *call,
		    struct cfs_err *err);
/* A request that is in no table, with an answer that may come in parts, within
 * @timeout_ms (0: no limit): -EBUSY. */
struct cfs_buf;
int cfs_remote_raw(struct cfs_remote *r, uint16_t type,
		   const struct cfs_buf *body, unsigned int timeout_ms,
		   struct cfs_buf *reply, struct cfs_err *err);
/* The connection has broken. */
bool cfs_remote_is_gone(const struct cfs_remote *r);
/* Of the pool that it was connected for; NULL: not known (cfs_remote_on). */
const uint8_t *cfs_remote_pool_uuid(const struct cfs_remote *r);
/* Without items or data. */
int cfs_remote_ask(struct cfs_remote *r, uint16_t type,
		   const struct cfs_rpc_args *args, void *ret,
		   struct cfs_err *err);

/* ---- session.h, one for one ---------------------------------------------- */

int cfs_remote_pool_info(struct cfs_remote *r, struct cfs_pool_info *ret,
			 struct cfs_err *err);
int cfs_remote_devices(struct cfs_remote *r, cfs_device_each_fn each, void *arg,
		       struct cfs_err *err);
int cfs_remote_set(struct cfs_remote *r, const char *volume, const char *key,
		   const char *value, struct cfs_err *err);
int cfs_remote_add_device(struct cfs_remote *r, const char *path,
			  bool is_forced, uint64_t *ret_slices,
			  struct cfs_err *err);
int cfs_remote_resize_device(struct cfs_remote *r, const char *device,
			     uint64_t *ret_old_slices, uint64_t *ret_new_slices,
			     struct cfs_err *err);
int cfs_remote_evacuate(struct cfs_remote *r, const char *device,
			bool in_background, struct cfs_move_result *ret,
			struct cfs_err *err);
int cfs_remote_remove_device(struct cfs_remote *r, const char *device,
			     bool is_forced, struct cfs_err *err);
int cfs_remote_replace_device(struct cfs_remote *r, const char *old,
			      const char *path, bool is_forced,
			      bool in_background, struct cfs_move_result *ret,
			      struct cfs_err *err);
int cfs_remote_make_mirror(struct cfs_remote *r, struct cfs_move_result *ret,
			   struct cfs_err *err);
int cfs_remote_trim(struct cfs_remote *r, const char *container,
		    struct cfs_trim_result *ret, struct cfs_err *err);
int cfs_remote_slices(struct cfs_remote *r, const char *container,
		      cfs_slice_each_fn each, void *arg, struct cfs_err *err);

int cfs_remote_volumes(struct cfs_remote *r, const char *container,
		       bool with_space, cfs_volume_each_fn each, void *arg,
		       struct cfs_err *err);
int cfs_remote_volume(struct cfs_remote *r, const char *volume, bool with_space,
		      struct cfs_volume_info *ret, struct cfs_err *err);
int cfs_remote_create(struct cfs_remote *r, const char *name, uint32_t kind,
		      uint64_t size_bytes, uint64_t limit_bytes,
		      bool is_unfinished, struct cfs_err *err);
int cfs_remote_finish_volume(struct cfs_remote *r, const char *name,
			     struct cfs_err *err);
int cfs_remote_remove_volume(struct cfs_remote *r, const char *volume,
			     bool recursive, struct cfs_err *err);
int cfs_remote_rename_volume(struct cfs_remote *r, const char *volume,
			     const char *new_name, struct cfs_err *err);
int cfs_remote_resize_volume(struct cfs_remote *r, const char *volume,
			     uint64_t size_bytes, struct cfs_err *err);

int cfs_remote_place_find(struct cfs_remote *r, const char *volume,
			  const char *path, struct cfs_volume_place *ret,
			  struct cfs_err *err);
int cfs_remote_place_name(struct cfs_remote *r,
			  const struct cfs_volume_place *place,
			  struct cfs_place_name *ret, struct cfs_err *err);

int cfs_remote_snapshots(struct cfs_remote *r, const char *volume,
			 bool with_space, cfs_snapshot_each_fn each, void *arg,
			 struct cfs_err *err);
int cfs_remote_snapshot(struct cfs_remote *r, const char *volume,
			const char *snap, bool with_space,
			struct cfs_snapshot_info *ret, struct cfs_err *err);
int cfs_remote_snap_take(struct cfs_remote *r,
			 const struct cfs_snap_name *names, size_t count,
			 const char *note, struct cfs_err *err);
int cfs_remote_snap_clone(struct cfs_remote *r, const char *volume,
			  const char *snap, const char *clone,
			  struct cfs_err *err);
int cfs_remote_snap_rollback(struct cfs_remote *r, const char *volume,
			     const char *snap, const char *save,
			     struct cfs_err *err);
int cfs_remote_snap_remove(struct cfs_remote *r, const char *volume,
			   const char *snap, uint64_t *ret_freed_bytes,
			   struct cfs_err *err);
int cfs_remote_snap_rename(struct cfs_remote *r, const char *volume,
			   const char *snap, const char *new_name,
			   struct cfs_err *err);
int cfs_remote_snap_hold(struct cfs_remote *r, const char *volume,
			 const char *snap, bool hold, struct cfs_err *err);

int cfs_remote_check(struct cfs_remote *r, const char *container,
		     cfs_problem_each_fn each, void *arg,
		     struct cfs_check_result *ret, struct cfs_err *err);
int cfs_remote_scrub(struct cfs_remote *r, const char *container,
		     const struct cfs_scrub_options *opt,
		     cfs_damage_each_fn each, void *arg,
		     struct cfs_scrub_result *ret, struct cfs_err *err);
int cfs_remote_trace_at(struct cfs_remote *r, const char *device,
			uint64_t offset_bytes, cfs_damage_each_fn each,
			void *arg, struct cfs_err *err);
int cfs_remote_trace_bad(struct cfs_remote *r, cfs_damage_each_fn each,
			 void *arg, struct cfs_err *err);

/* ---- data: behind io_ops.h and volume/fs_ops.h --------------------------- */

/* @wait_ns: for a lease that somebody else has; @patience_ns: for those on its
 * bytes and files, 0: without limit. */
int cfs_remote_io_open(struct cfs_remote *r, const char *volume,
		       const char *snap, bool is_writable, uint64_t wait_ns,
		       uint64_t patience_ns, struct cfs_io_volume **ret,
		       struct cfs_err *err);
/* The tree of an open volume. */
int cfs_remote_fs_open(struct cfs_remote *r, uint64_t handle, uint64_t root_ino,
		       bool is_writable, struct cfs_fs **ret,
		       struct cfs_err *err);
