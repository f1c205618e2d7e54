/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Replacing a device; the steps are told in devices_move.c. */
#include "session/devices_move_priv.h"

#include "session/local.h"
#include "session/mover.h"

#include "base/bits.h"

#include <inttypes.h>
#include <string.h>

/* What the new one has room for; 0: it is one of the pool's already. */
static int look_at_new(struct cfs_session *s, uint32_t old, const char *path,
		       bool *ret_is_ours, uint64_t *ret_slices,
		       struct cfs_err *err)
{
	const struct cfs_label *label = cfs_devset_label(s->set, 0);
	struct cfs_probe probe;
	uint32_t index;
	int r;

	*ret_slices = 0;
	*ret_is_ours = cfs_devset_find(s->set, path, &index, NULL) == 0;
	if (*ret_is_ours && index != old &&
	    !cfs_devset_is_removed(s->set, index))
		return 0;
	if (*ret_is_ours && cfs_devset_dev(s->set, index))
		return cfs_err_set(err, -EINVAL,
				   "%s: is the device that is to "
				   "be replaced",
				   path);
	/* One that missed writes comes back as a new one. */
	*ret_is_ours = false;
	r = cfs_probe_device(path, &probe, err);
	if (r == 0 && !probe.exists)
		r = cfs_err_set(err, -ENOENT, "%s: no such file or device",
				path);
	if (r == 0)
		*ret_slices = cfs_device_slice_count(
			cfs_align_down(probe.size_bytes, CFS_BLOCK_BYTES),
			label->slices_offset_bytes, label->slice_bytes);
	return r;
}

/* For all that is on the old one, and for what has lost its second place. */
static int room_to_replace(struct cfs_session *s, uint32_t old,
			   uint64_t extra_slices, bool is_mirror,
			   struct cfs_move_result *ret, struct cfs_err *err)
{
	struct cfs_move_result single = { 0 };
	int r = cfs_move_check_room(s, old, extra_slices, ret, err);

	if (r < 0 || !is_mirror)
		return r;
	r = cfs_move_check_room(s, CFS_POOL_NO_DEVICE, extra_slices, &single,
				err);
	if (r < 0)
		return r;
	ret->need_slices += single.need_slices;
	ret->need_bytes += single.need_bytes;
	if (ret->need_slices > ret->free_slices)
		return cfs_err_set(
			err, -ENOSPC,
			"%" PRIu64 " bytes must have "
			"room on other devices, and %" PRIu64 " are free there",
			ret->need_bytes,
			ret->free_slices *
				cfs_devset_label(s->set, 0)->slice_bytes);
	return 0;
}

/* All but the moving: the new one is there, the old one is being evacuated. */
static int replace_begin(struct cfs_move *m, const char *old, const char *path,
			 bool is_forced, uint32_t *ret_index,
			 struct cfs_move_result *ret, struct cfs_err *err)
{
	struct cfs_session *s = m->s;
	const bool is_mirror = cfs_devset_label(s->set, 0)->flags &
			       CFS_POOL_FLAG_MIRROR;
	uint64_t slices = 0;
	struct cfs_device_rec rec = { .state = CFS_DEVICE_OK };
	bool is_ours = false;
	uint32_t index = 0;
	int r = cfs_move_allowed(s, err);

	if (r == 0)
		r = cfs_move_find_device(s, old, &index, &rec, err);
	if (r == 0)
		r = look_at_new(s, index, path, &is_ours, &slices, err);
	if (r == 0 && index >= CFS_LABEL_REMOVED_MAX)
		r = cfs_move_may_remove(s, index, err);
	if (r == 0)
		r = room_to_replace(s, index, slices, is_mirror, ret, err);
	if (r < 0 || s->opt.is_dry_run)
		return r;
	if (!is_ours) {
		if (!cfs_devset_dev(s->set, index))
			cfs_devset_forget_path(s->set, index);
		r = cfs_local_add_device(s, path, is_forced, &slices, err);
	}
	if (r == 0 && rec.state != CFS_DEVICE_REMOVED)
		r = cfs_move_begin_evacuation(s, index, &rec, err);
	*ret_index = index;
	return r;
}

static int replace_rest(struct cfs_move *m, uint32_t index,
			struct cfs_move_result *ret, struct cfs_err *err)
{
	const bool is_mirror = cfs_devset_label(m->s->set, 0)->flags &
			       CFS_POOL_FLAG_MIRROR;
	int r = cfs_move_off(m, index, ret, err);

	if (r == 0 && is_mirror)
		r = cfs_move_fill(m, ret, err);
	if (r < 0)
		return r;
	cfs_move_enter_alone(m);
	r = cfs_move_take_out(m->s, index, true, err);
	cfs_move_leave(m);
	return r;
}

int cfs_local_replace_device(struct cfs_session *s,
			     const struct cfs_session_options *calls,
			     const char *old, const char *path, bool is_forced,
			     struct cfs_move_result *ret, struct cfs_err *err)
{
	struct cfs_move m = { .s = s, .calls = calls };
	uint32_t index = 0;
	int r;

	memset(ret, 0, sizeof(*ret));
	r = cfs_move_begin(&m, err);
	if (r < 0)
		return r;
	cfs_move_enter_alone(&m);
	r = replace_begin(&m, old, path, is_forced, &index, ret, err);
	cfs_move_leave(&m);
	if (r == 0 && !s->opt.is_dry_run) {
		if (calls->in_background && s->mover)
			cfs_mover_wake(s->mover, index);
		else
			r = replace_rest(&m, index, ret, err);
	}
	cfs_move_end(&m);
	return r;
}

int cfs_local_move_rest(struct cfs_session *s,
			const struct cfs_session_options *calls, uint32_t index,
			bool is_replaced, struct cfs_err *err)
{
	struct cfs_move m = { .s = s, .calls = calls };
	struct cfs_move_result moved = { 0 };
	int r = cfs_move_begin(&m, err);

	if (r < 0)
		return r;
	cfs_move_enter(&m);
	r = cfs_move_allowed(s, err);
	cfs_move_leave(&m);
	if (r == 0)
		r = is_replaced ? replace_rest(&m, index, &moved, err)
				: cfs_move_off(&m, index, &moved, err);
	cfs_move_end(&m);
	return r;
}
