/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * session.h one for one, for what this session itself has: -EREMOTE for a
 * container that another process serves, and of the whole pool all but those.
 * Who may ask elsewhere is refer_calls.c.
 */
#pragma once

#include "session/session.h"

int cfs_here_pool_info(struct cfs_session *s, struct cfs_pool_info *ret,
		       struct cfs_err *err);
int cfs_here_devices(struct cfs_session *s, cfs_device_each_fn each, void *arg,
		     struct cfs_err *err);
int cfs_here_set(struct cfs_session *s, const char *volume, const char *key,
		 const char *value, struct cfs_err *err);
int cfs_here_add_device(struct cfs_session *s, const char *path, bool is_forced,
			uint64_t *ret_slices, struct cfs_err *err);
int cfs_here_resize_device(struct cfs_session *s, const char *device,
			   uint64_t *ret_old_slices, uint64_t *ret_new_slices,
			   struct cfs_err *err);
int cfs_here_trim(struct cfs_session *s, const char *container,
		  struct cfs_trim_result *ret, struct cfs_err *err);
int cfs_here_slices(struct cfs_session *s, const char *container,
		    cfs_slice_each_fn each, void *arg, struct cfs_err *err);
int cfs_here_volumes(struct cfs_session *s, const char *container,
		     bool with_space, cfs_volume_each_fn each, void *arg,
		     struct cfs_err *err);
int cfs_here_volume(struct cfs_session *s, const char *volume, bool with_space,
		    struct cfs_volume_info *ret, struct cfs_err *err);
int cfs_here_create(struct cfs_session *s, const char *name, uint32_t kind,
		    uint64_t size_bytes, uint64_t limit_bytes,
		    bool is_unfinished, struct cfs_err *err);
int cfs_here_finish_volume(struct cfs_session *s, const char *name,
			   struct cfs_err *err);
int cfs_here_remove_volume(struct cfs_session *s, const char *volume,
			   bool recursive, struct cfs_err *err);
int cfs_here_rename_volume(struct cfs_session *s, const char *volume,
			   const char *new_name, struct cfs_err *err);
int cfs_here_resize_volume(struct cfs_session *s, const char *volume,
			   uint64_t size_bytes, struct cfs_err *err);
int cfs_here_snapshots(struct cfs_session *s, const char *volume,
		       bool with_space, cfs_snapshot_each_fn each, void *arg,
		       struct cfs_err *err);
int cfs_here_snapshot(struct cfs_session *s, const char *volume,
		      const char *snap, bool with_space,
		      struct cfs_snapshot_info *ret, struct cfs_err *err);
int cfs_here_snap_take(struct cfs_session *s, const struct cfs_snap_name *names,
		       size_t count, const char *note, struct cfs_err *err);
int cfs_here_snap_clone(struct cfs_session *s, const char *volume,
			const char *snap, const char *clone,
			struct cfs_err *err);
int cfs_here_snap_rollback(struct cfs_session *s, const char *volume,
			   const char *snap, const char *save,
			   struct cfs_err *err);
int cfs_here_snap_remove(struct cfs_session *s, const char *volume,
			 const char *snap, uint64_t *ret_freed_bytes,
			 struct cfs_err *err);
int cfs_here_snap_rename(struct cfs_session *s, const char *volume,
			 const char *snap, const char *new_name,
			 struct cfs_err *err);
int cfs_here_snap_hold(struct cfs_session *s, const char *volume,
		       const char *snap, bool hold, struct cfs_err *err);
int cfs_here_place_find(struct cfs_session *s, const char *volume,
			const char *path, struct cfs_volume_place *ret,
			struct cfs_err *err);
int cfs_here_place_name(struct cfs_session *s,
			const struct cfs_volume_place *place,
			struct cfs_place_name *ret, struct cfs_err *err);
int cfs_here_check(struct cfs_session *s, const char *container,
		   cfs_problem_each_fn each, void *arg,
		   struct cfs_check_result *ret, struct cfs_err *err);
int cfs_here_scrub(struct cfs_session *s, const char *container,
		   const struct cfs_scrub_options *opt, cfs_damage_each_fn each,
		   void *arg, struct cfs_scrub_result *ret,
		   struct cfs_err *err);
int cfs_here_trace_at(struct cfs_session *s, const char *device,
		      uint64_t offset_bytes, cfs_damage_each_fn each, void *arg,
		      struct cfs_err *err);
int cfs_here_trace_bad(struct cfs_session *s, cfs_damage_each_fn each,
		       void *arg, struct cfs_err *err);
