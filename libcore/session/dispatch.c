/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The calls of session.h at one place: done here if this process holds the
 * pool, asked of the holder if another one does.
 */
#include "session/here.h"
#include "base/clock.h"
#include "session/devices.h"
#include "session/local.h"
#include "session/remote.h"
#include "session/serve_use.h"
#include "session/session_priv.h"

#include <stdio.h>
#include <string.h>

#define PAUSE_NS (20 * CFS_NS_PER_MS)

/* ---- beside requests ----------------------------------------------------- */

void cfs_session_look(struct cfs_session *s)
{
	if (s->structure)
		pthread_rwlock_rdlock(s->structure);
}

void cfs_session_be_alone(struct cfs_session *s)
{
	if (s->structure)
		pthread_rwlock_wrlock(s->structure);
}

void cfs_session_leave(struct cfs_session *s)
{
	if (s->structure)
		pthread_rwlock_unlock(s->structure);
}

int cfs_session_pin(struct cfs_session *s, const char *volume,
		    struct cfs_use **ret, struct cfs_err *err)
{
	char name[CFS_NAME_BYTES];

	if (!s->structure)
		return 0;
	/* Of a clone too it is the container. */
	if (volume && strchr(volume, '/')) {
		snprintf(name, sizeof(name), "%.*s", (int)strcspn(volume, "/"),
			 volume);
		volume = name;
	}
	return CFS_LOOK(s, cfs_local_pin(s, volume, ret, err));
}

/* ---- calls --------------------------------------------------------------- */

bool cfs_session_is_holder(const struct cfs_session *s)
{
	return !s->remote;
}

bool cfs_session_is_writable(const struct cfs_session *s)
{
	return s->opt.is_writable;
}

int cfs_here_pool_info(struct cfs_session *s, struct cfs_pool_info *ret,
		       struct cfs_err *err)
{
	if (s->remote)
		return cfs_remote_pool_info(s->remote, ret, err);
	return CFS_LOOK(s, cfs_local_pool_info(s, ret, err));
}

int cfs_here_devices(struct cfs_session *s, cfs_device_each_fn each, void *arg,
		     struct cfs_err *err)
{
	if (s->remote)
		return cfs_remote_devices(s->remote, each, arg, err);
	return CFS_LOOK(s, cfs_local_devices(s, each, arg, err));
}

int cfs_here_set(struct cfs_session *s, const char *volume, const char *key,
		 const char *value, struct cfs_err *err)
{
	struct cfs_move_result moved;
	int r;

	r = cfs_session_may_write(s, err);
	if (r < 0)
		return r;
	/* It moves slices. */
	if (!volume && strcmp(key, "mirror") == 0 && strcmp(value, "yes") == 0)
		return cfs_session_make_mirror(s, &moved, err);
	if (!s->remote)
		return CFS_ALONE(s, cfs_local_set(s, volume, key, value, err));
	return cfs_remote_set(s->remote, volume, key, value, err);
}

int cfs_here_add_device(struct cfs_session *s, const char *path, bool is_forced,
			uint64_t *ret_slices, struct cfs_err *err)
{
	int r;

	if (!s->remote)
		return CFS_ALONE(s, cfs_local_add_device(s, path, is_forced,
							 ret_slices, err));
	r = cfs_session_may_write(s, err);
	return r < 0 ? r
		     : cfs_remote_add_device(s->remote, path, is_forced,
					     ret_slices, err);
}

int cfs_here_resize_device(struct cfs_session *s, const char *device,
			   uint64_t *ret_old_slices, uint64_t *ret_new_slices,
			   struct cfs_err *err)
{
	int r;

	if (!s->remote)
		return CFS_ALONE(
			s, cfs_local_resize_device(s, device, ret_old_slices,
						   ret_new_slices, err));
	r = cfs_session_may_write(s, err);
	return r < 0 ? r
		     : cfs_remote_resize_device(s->remote, device,
						ret_old_slices, ret_new_slices,
						err);
}

int cfs_session_evacuate(struct cfs_session *s, const char *device,
			 struct cfs_move_result *ret, struct cfs_err *err)
{
	int r;

	if (!s->remote)
		return cfs_local_evacuate(s, &s->opt, device, ret, err);
	r = cfs_session_may_write(s, err);
	return r < 0 ? r
		     : cfs_remote_evacuate(s->remote, device,
					   s->opt.in_background, ret, err);
}

int cfs_session_remove_device(struct cfs_session *s, const char *device,
			      bool is_forced, struct cfs_err *err)
{
	int r;

	if (!s->remote)
		return cfs_local_remove_device(s, &s->opt, device, is_forced,
					       err);
	r = cfs_session_may_write(s, err);
	return r < 0 ? r
		     : cfs_remote_remove_device(s->remote, device, is_forced,
						err);
}

int cfs_session_replace_device(struct cfs_session *s, const char *old,
			       const char *path, bool is_forced,
			       struct cfs_move_result *ret, struct cfs_err *err)
{
	int r;

	if (!s->remote)
		return cfs_local_replace_device(s, &s->opt, old, path,
						is_forced, ret, err);
	r = cfs_session_may_write(s, err);
	return r < 0 ? r
		     : cfs_remote_replace_device(
			       s->remote, old, path, is_forced,
			       s->opt.in_background, ret, err);
}

int cfs_session_make_mirror(struct cfs_session *s, struct cfs_move_result *ret,
			    struct cfs_err *err)
{
	int r;

	if (!s->remote)
		return cfs_local_make_mirror(s, &s->opt, ret, err);
	r = cfs_session_may_write(s, err);
	return r < 0 ? r : cfs_remote_make_mirror(s->remote, ret, err);
}

int cfs_here_trim(struct cfs_session *s, const char *container,
		  struct cfs_trim_result *ret, struct cfs_err *err)
{
	int r;

	if (!s->remote)
		return CFS_LOOK(s, cfs_local_trim(s, container, ret, err));
	r = cfs_session_may_write(s, err);
	return r < 0 ? r : cfs_remote_trim(s->remote, container, ret, err);
}

int cfs_here_slices(struct cfs_session *s, const char *container,
		    cfs_slice_each_fn each, void *arg, struct cfs_err *err)
{
	if (s->remote)
		return cfs_remote_slices(s->remote, container, each, arg, err);
	return CFS_LOOK(s, cfs_local_slices(s, container, each, arg, err));
}

int cfs_here_volumes(struct cfs_session *s, const char *container,
		     bool with_space, cfs_volume_each_fn each, void *arg,
		     struct cfs_err *err)
{
	if (s->remote)
		return cfs_remote_volumes(s->remote, container, with_space,
					  each, arg, err);
	return CFS_LOOK(
		s, cfs_local_volumes(s, container, with_space, each, arg, err));
}

int cfs_here_volume(struct cfs_session *s, const char *volume, bool with_space,
		    struct cfs_volume_info *ret, struct cfs_err *err)
{
	if (s->remote)
		return cfs_remote_volume(s->remote, volume, with_space, ret,
					 err);
	return CFS_LOOK(s, cfs_local_volume(s, volume, with_space, ret, err));
}

int cfs_here_create(struct cfs_session *s, const char *name, uint32_t kind,
		    uint64_t size_bytes, uint64_t limit_bytes,
		    bool is_unfinished, struct cfs_err *err)
{
	struct cfs_clock *clock = cfs_clock_system();
	uint64_t now_ns = cfs_clock_elapsed_ns(clock);
	const uint64_t end_ns = cfs_deadline_add(now_ns, s->opt.wait_seconds *
								 CFS_NS_PER_S);
	int r;

	if (!s->remote)
		return CFS_ALONE(s, cfs_local_create(s, name, kind, size_bytes,
						     limit_bytes, is_unfinished,
						     err));
	r = cfs_session_may_write(s, err);
	while (r == 0) {
		r = cfs_remote_create(s->remote, name, kind, size_bytes,
				      limit_bytes, is_unfinished, err);
		now_ns = cfs_clock_elapsed_ns(clock);
		/* What a dead one has left there goes in a moment. */
		if (r != -EAGAIN || now_ns >= end_ns)
			break;
		cfs_clock_sleep_until(clock, now_ns + PAUSE_NS);
		r = s->opt.stop && s->opt.stop(s->opt.arg)
			    ? cfs_err_set(err, -EINTR, "stopped")
			    : 0;
	}
	return r;
}

int cfs_here_finish_volume(struct cfs_session *s, const char *name,
			   struct cfs_err *err)
{
	int r;

	if (!s->remote)
		return CFS_ALONE(s, cfs_local_finish_volume(s, name, err));
	r = cfs_session_may_write(s, err);
	return r < 0 ? r : cfs_remote_finish_volume(s->remote, name, err);
}

int cfs_here_remove_volume(struct cfs_session *s, const char *volume,
			   bool recursive, struct cfs_err *err)
{
	int r;

	if (!s->remote)
		return CFS_ALONE(
			s, cfs_local_remove_volume(s, volume, recursive, err));
	r = cfs_session_may_write(s, err);
	return r < 0 ? r
		     : cfs_remote_remove_volume(s->remote, volume, recursive,
						err);
}

int cfs_here_rename_volume(struct cfs_session *s, const char *volume,
			   const char *new_name, struct cfs_err *err)
{
	int r;

	if (!s->remote)
		return CFS_ALONE(
			s, cfs_local_rename_volume(s, volume, new_name, err));
	r = cfs_session_may_write(s, err);
	return r < 0 ? r
		     : cfs_remote_rename_volume(s->remote, volume, new_name,
						err);
}

int cfs_here_resize_volume(struct cfs_session *s, const char *volume,
			   uint64_t size_bytes, struct cfs_err *err)
{
	int r;

	if (!s->remote)
		return CFS_ALONE(
			s, cfs_local_resize_volume(s, volume, size_bytes, err));
	r = cfs_session_may_write(s, err);
	return r < 0 ? r
		     : cfs_remote_resize_volume(s->remote, volume, size_bytes,
						err);
}

int cfs_here_snapshots(struct cfs_session *s, const char *volume,
		       bool with_space, cfs_snapshot_each_fn each, void *arg,
		       struct cfs_err *err)
{
	if (s->remote)
		return cfs_remote_snapshots(s->remote, volume, with_space, each,
					    arg, err);
	return CFS_LOOK(
		s, cfs_local_snapshots(s, volume, with_space, each, arg, err));
}

int cfs_here_snapshot(struct cfs_session *s, const char *volume,
		      const char *snap, bool with_space,
		      struct cfs_snapshot_info *ret, struct cfs_err *err)
{
	if (s->remote)
		return cfs_remote_snapshot(s->remote, volume, snap, with_space,
					   ret, err);
	return CFS_LOOK(
		s, cfs_local_snapshot(s, volume, snap, with_space, ret, err));
}

int cfs_here_snap_take(struct cfs_session *s, const struct cfs_snap_name *names,
		       size_t count, const char *note, struct cfs_err *err)
{
	int r;

	if (!s->remote)
		return CFS_LOOK(s, cfs_local_snap_take(s, &s->opt, names, count,
						       note, err));
	r = cfs_session_may_write(s, err);
	return r < 0 ? r
		     : cfs_remote_snap_take(s->remote, names, count, note, err);
}

int cfs_here_snap_clone(struct cfs_session *s, const char *volume,
			const char *snap, const char *clone,
			struct cfs_err *err)
{
	int r;

	if (!s->remote)
		return CFS_LOOK(
			s, cfs_local_snap_clone(s, volume, snap, clone, err));
	r = cfs_session_may_write(s, err);
	return r < 0 ? r
		     : cfs_remote_snap_clone(s->remote, volume, snap, clone,
					     err);
}

int cfs_here_snap_rollback(struct cfs_session *s, const char *volume,
			   const char *snap, const char *save,
			   struct cfs_err *err)
{
	int r;

	if (!s->remote)
		return CFS_ALONE(
			s, cfs_local_snap_rollback(s, volume, snap, save, err));
	r = cfs_session_may_write(s, err);
	return r < 0 ? r
		     : cfs_remote_snap_rollback(s->remote, volume, snap, save,
						err);
}

int cfs_here_snap_remove(struct cfs_session *s, const char *volume,
			 const char *snap, uint64_t *ret_freed_bytes,
			 struct cfs_err *err)
{
	int r;

	if (!s->remote)
		return CFS_LOOK(s, cfs_local_snap_remove(s, volume, snap,
							 ret_freed_bytes, err));
	r = cfs_session_may_write(s, err);
	return r < 0 ? r
		     : cfs_remote_snap_remove(s->remote, volume, snap,
					      ret_freed_bytes, err);
}

int cfs_here_snap_rename(struct cfs_session *s, const char *volume,
			 const char *snap, const char *new_name,
			 struct cfs_err *err)
{
	int r;

	if (!s->remote)
		return CFS_LOOK(s, cfs_local_snap_rename(s, volume, snap,
							 new_name, err));
	r = cfs_session_may_write(s, err);
	return r < 0 ? r
		     : cfs_remote_snap_rename(s->remote, volume, snap, new_name,
					      err);
}

int cfs_here_snap_hold(struct cfs_session *s, const char *volume,
		       const char *snap, bool hold, struct cfs_err *err)
{
	int r;

	if (!s->remote)
		return CFS_LOOK(
			s, cfs_local_snap_hold(s, volume, snap, hold, err));
	r = cfs_session_may_write(s, err);
	return r < 0 ? r
		     : cfs_remote_snap_hold(s->remote, volume, snap, hold, err);
}

int cfs_here_place_find(struct cfs_session *s, const char *volume,
			const char *path, struct cfs_volume_place *ret,
			struct cfs_err *err)
{
	if (s->remote)
		return cfs_remote_place_find(s->remote, volume, path, ret, err);
	return CFS_LOOK(s, cfs_local_place_find(s, volume, path, ret, err));
}

int cfs_here_place_name(struct cfs_session *s,
			const struct cfs_volume_place *place,
			struct cfs_place_name *ret, struct cfs_err *err)
{
	if (s->remote)
		return cfs_remote_place_name(s->remote, place, ret, err);
	return CFS_LOOK(s, cfs_local_place_name(s, place, ret, err));
}

int cfs_here_check(struct cfs_session *s, const char *container,
		   cfs_problem_each_fn each, void *arg,
		   struct cfs_check_result *ret, struct cfs_err *err)
{
	if (s->remote)
		return cfs_remote_check(s->remote, container, each, arg, ret,
					err);
	return CFS_PINNED(
		s, container, err,
		cfs_local_check(s, &s->opt, container, each, arg, ret, err));
}

int cfs_here_scrub(struct cfs_session *s, const char *container,
		   const struct cfs_scrub_options *opt, cfs_damage_each_fn each,
		   void *arg, struct cfs_scrub_result *ret, struct cfs_err *err)
{
	int r;

	if (!s->remote)
		return CFS_PINNED(s, container, err,
				  cfs_local_scrub(s, &s->opt, container, opt,
						  each, arg, ret, err));
	r = opt->heals ? cfs_session_may_write(s, err) : 0;
	return r < 0 ? r
		     : cfs_remote_scrub(s->remote, container, opt, each, arg,
					ret, err);
}

int cfs_here_trace_at(struct cfs_session *s, const char *device,
		      uint64_t offset_bytes, cfs_damage_each_fn each, void *arg,
		      struct cfs_err *err)
{
	if (s->remote)
		return cfs_remote_trace_at(s->remote, device, offset_bytes,
					   each, arg, err);
	return CFS_PINNED(
		s, NULL, err,
		cfs_local_trace_at(s, device, offset_bytes, each, arg, err));
}

int cfs_here_trace_bad(struct cfs_session *s, cfs_damage_each_fn each,
		       void *arg, struct cfs_err *err)
{
	if (s->remote)
		return cfs_remote_trace_bad(s->remote, each, arg, err);
	return CFS_PINNED(s, NULL, err, cfs_local_trace_bad(s, each, arg, err));
}
