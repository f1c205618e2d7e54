/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * session.h on a pool that this process holds; dispatch.c chooses between
 * these and those of remote.h.
 */
#pragma once

#include "session/session.h"

struct cfs_use;

int cfs_local_pool_info(struct cfs_session *s, struct cfs_pool_info *ret,
			struct cfs_err *err);
int cfs_local_devices(struct cfs_session *s, cfs_device_each_fn each, void *arg,
		      struct cfs_err *err);
int cfs_local_set(struct cfs_session *s, const char *volume, const char *key,
		  const char *value, struct cfs_err *err);
int cfs_local_add_device(struct cfs_session *s, const char *path,
			 bool is_forced, uint64_t *ret_slices,
			 struct cfs_err *err);
int cfs_local_resize_device(struct cfs_session *s, const char *device,
			    uint64_t *ret_old_slices, uint64_t *ret_new_slices,
			    struct cfs_err *err);
int cfs_local_trim(struct cfs_session *s, const char *container,
		   struct cfs_trim_result *ret, struct cfs_err *err);
int cfs_local_slices(struct cfs_session *s, const char *container,
		     cfs_slice_each_fn each, void *arg, struct cfs_err *err);
int cfs_local_volumes(struct cfs_session *s, const char *container,
		      bool with_space, cfs_volume_each_fn each, void *arg,
		      struct cfs_err *err);
int cfs_local_volume(struct cfs_session *s, const char *volume, bool with_space,
		     struct cfs_volume_info *ret, struct cfs_err *err);
int cfs_local_create(struct cfs_session *s, const char *name, uint32_t kind,
		     uint64_t size_bytes, uint64_t limit_bytes,
		     bool is_unfinished, struct cfs_err *err);
int cfs_local_finish_volume(struct cfs_session *s, const char *name,
			    struct cfs_err *err);
/* One whose maker is gone; what is there and finished stays.  -EBUSY. */
int cfs_local_remove_unfinished(struct cfs_session *s, const char *name,
				struct cfs_err *err);
int cfs_local_remove_volume(struct cfs_session *s, const char *volume,
			    bool recursive, struct cfs_err *err);
int cfs_local_rename_volume(struct cfs_session *s, const char *volume,
			    const char *new_name, struct cfs_err *err);
int cfs_local_resize_volume(struct cfs_session *s, const char *volume,
			    uint64_t size_bytes, struct cfs_err *err);
int cfs_local_place_find(struct cfs_session *s, const char *volume,
			 const char *path, struct cfs_volume_place *ret,
			 struct cfs_err *err);
int cfs_local_place_name(struct cfs_session *s,
			 const struct cfs_volume_place *place,
			 struct cfs_place_name *ret, struct cfs_err *err);
int cfs_local_snap_remove_many(struct cfs_session *s, const char *volume,
			       const char *const *snaps, size_t count,
			       uint64_t *ret_freed_bytes, struct cfs_err *err);
int cfs_local_snapshots(struct cfs_session *s, const char *volume,
			bool with_space, cfs_snapshot_each_fn each, void *arg,
			struct cfs_err *err);
int cfs_local_snapshot(struct cfs_session *s, const char *volume,
		       const char *snap, bool with_space,
		       struct cfs_snapshot_info *ret, struct cfs_err *err);
int cfs_local_snap_take(struct cfs_session *s,
			const struct cfs_session_options *calls,
			const struct cfs_snap_name *names, size_t count,
			const char *note, struct cfs_err *err);
int cfs_local_snap_clone(struct cfs_session *s, const char *volume,
			 const char *snap, const char *clone,
			 struct cfs_err *err);
int cfs_local_snap_rollback(struct cfs_session *s, const char *volume,
			    const char *snap, const char *save,
			    struct cfs_err *err);
int cfs_local_snap_remove(struct cfs_session *s, const char *volume,
			  const char *snap, uint64_t *ret_freed_bytes,
			  struct cfs_err *err);
int cfs_local_snap_rename(struct cfs_session *s, const char *volume,
			  const char *snap, const char *new_name,
			  struct cfs_err *err);
int cfs_local_snap_hold(struct cfs_session *s, const char *volume,
			const char *snap, bool hold, struct cfs_err *err);

/* @calls: stop, progress and arg of whoever asks, who may be another process
 * than the one that opened the session. */
int cfs_local_check(struct cfs_session *s,
		    const struct cfs_session_options *calls,
		    const char *container, cfs_problem_each_fn each, void *arg,
		    struct cfs_check_result *ret, struct cfs_err *err);
int cfs_local_scrub(struct cfs_session *s,
		    const struct cfs_session_options *calls,
		    const char *container, const struct cfs_scrub_options *opt,
		    cfs_damage_each_fn each, void *arg,
		    struct cfs_scrub_result *ret, struct cfs_err *err);
int cfs_local_trace_at(struct cfs_session *s, const char *device,
		       uint64_t offset_bytes, cfs_damage_each_fn each,
		       void *arg, struct cfs_err *err);
int cfs_local_trace_bad(struct cfs_session *s, cfs_damage_each_fn each,
			void *arg, struct cfs_err *err);

/* No container that is looked at, or none at all, goes away before the use is
 * left (serve_use.h).  @container: NULL: all.  -ENOENT, -EBUSY. */
int cfs_local_pin(struct cfs_session *s, const char *container,
		  struct cfs_use **ret, struct cfs_err *err);
