/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The calls of session.h: where the container is, and of the whole pool by all
 * who have one.
 */
#include "session/here.h"
#include "session/refer.h"
#include "session/session_priv.h"

#include "base/bits.h"
#include "base/cleanup.h"
#include "base/vec.h"

#include <stdlib.h>
#include <string.h>

#define REFER(volume, call) CFS_REFER(s, volume, 0, at, err, call)

/* ---- one container ------------------------------------------------------- */

int cfs_session_volume(struct cfs_session *s, const char *volume,
		       struct cfs_volume_info *ret, struct cfs_err *err)
{
	return REFER(volume, cfs_here_volume(at, volume, true, ret, err));
}

int cfs_session_volume_brief(struct cfs_session *s, const char *volume,
			     struct cfs_volume_info *ret, struct cfs_err *err)
{
	return REFER(volume, cfs_here_volume(at, volume, false, ret, err));
}

int cfs_session_finish_volume(struct cfs_session *s, const char *name,
			      struct cfs_err *err)
{
	return REFER(name, cfs_here_finish_volume(at, name, err));
}

int cfs_session_remove_volume(struct cfs_session *s, const char *volume,
			      bool recursive, struct cfs_err *err)
{
	return REFER(volume,
		     cfs_here_remove_volume(at, volume, recursive, err));
}

int cfs_session_rename_volume(struct cfs_session *s, const char *volume,
			      const char *new_name, struct cfs_err *err)
{
	return REFER(volume, cfs_here_rename_volume(at, volume, new_name, err));
}

int cfs_session_resize_volume(struct cfs_session *s, const char *volume,
			      uint64_t size_bytes, struct cfs_err *err)
{
	return REFER(volume,
		     cfs_here_resize_volume(at, volume, size_bytes, err));
}

int cfs_session_snapshot(struct cfs_session *s, const char *volume,
			 const char *snap, struct cfs_snapshot_info *ret,
			 struct cfs_err *err)
{
	return REFER(volume,
		     cfs_here_snapshot(at, volume, snap, true, ret, err));
}

int cfs_session_snapshot_brief(struct cfs_session *s, const char *volume,
			       const char *snap, struct cfs_snapshot_info *ret,
			       struct cfs_err *err)
{
	return REFER(volume,
		     cfs_here_snapshot(at, volume, snap, false, ret, err));
}

int cfs_session_snap_clone(struct cfs_session *s, const char *volume,
			   const char *snap, const char *clone,
			   struct cfs_err *err)
{
	return REFER(volume, cfs_here_snap_clone(at, volume, snap, clone, err));
}

int cfs_session_snap_rollback(struct cfs_session *s, const char *volume,
			      const char *snap, const char *save,
			      struct cfs_err *err)
{
	return REFER(volume,
		     cfs_here_snap_rollback(at, volume, snap, save, err));
}

int cfs_session_snap_remove(struct cfs_session *s, const char *volume,
			    const char *snap, uint64_t *ret_freed_bytes,
			    struct cfs_err *err)
{
	return REFER(volume, cfs_here_snap_remove(at, volume, snap,
						  ret_freed_bytes, err));
}

int cfs_session_snap_rename(struct cfs_session *s, const char *volume,
			    const char *snap, const char *new_name,
			    struct cfs_err *err)
{
	return REFER(volume,
		     cfs_here_snap_rename(at, volume, snap, new_name, err));
}

int cfs_session_snap_hold(struct cfs_session *s, const char *volume,
			  const char *snap, bool hold, struct cfs_err *err)
{
	return REFER(volume, cfs_here_snap_hold(at, volume, snap, hold, err));
}

int cfs_session_place_find(struct cfs_session *s, const char *volume,
			   const char *path, struct cfs_volume_place *ret,
			   struct cfs_err *err)
{
	return REFER(volume, cfs_here_place_find(at, volume, path, ret, err));
}

int cfs_session_place_name(struct cfs_session *s,
			   const struct cfs_volume_place *place,
			   struct cfs_place_name *ret, struct cfs_err *err)
{
	return CFS_REFER(s, NULL, place->container, at, err,
			 cfs_here_place_name(at, place, ret, err));
}

static bool is_one_container(const struct cfs_snap_name *names, size_t count)
{
	const size_t n = strcspn(names[0].volume, "/");

	for (size_t i = 1; i < count; i++)
		if (strcspn(names[i].volume, "/") != n ||
		    memcmp(names[i].volume, names[0].volume, n) != 0)
			return false;
	return true;
}

int cfs_session_snap_take(struct cfs_session *s,
			  const struct cfs_snap_name *names, size_t count,
			  const char *note, struct cfs_err *err)
{
	int r;

	if (count > 0 && is_one_container(names, count))
		return REFER(names[0].volume,
			     cfs_here_snap_take(at, names, count, note, err));
	r = cfs_here_snap_take(s, names, count, note, err);
	return r != -EREMOTE
		       ? r
		       : cfs_err_wrap(
				 err, -EBUSY,
				 "snapshots of "
				 "several containers are taken at one moment "
				 "only where one process has them all");
}

/* ---- of the manager alone ------------------------------------------------ */

int cfs_session_devices(struct cfs_session *s, cfs_device_each_fn each,
			void *arg, struct cfs_err *err)
{
	return cfs_here_devices(s, each, arg, err);
}

int cfs_session_set(struct cfs_session *s, const char *volume, const char *key,
		    const char *value, struct cfs_err *err)
{
	if (!volume)
		return cfs_here_set(s, volume, key, value, err);
	return REFER(volume, cfs_here_set(at, volume, key, value, err));
}

int cfs_session_add_device(struct cfs_session *s, const char *path,
			   bool is_forced, uint64_t *ret_slices,
			   struct cfs_err *err)
{
	struct cfs_delegate_entries entries;
	int r = cfs_refer_list(s, &entries, err);
	bool is_away = false;

	for (size_t i = 0; i < entries.v.count; i++)
		is_away |= entries.v.items[i].state == CFS_DELEGATION_HELD;
	cfs_vec_done(&entries.v);
	if (r < 0)
		return r;
	/* Whoever has one has the devices of the pool open as they were. */
	if (is_away)
		return cfs_err_set(err, -EBUSY,
				   "not while a container is "
				   "delegated: end that first, with leasectl "
				   "revoke");
	return cfs_here_add_device(s, path, is_forced, ret_slices, err);
}

int cfs_session_resize_device(struct cfs_session *s, const char *device,
			      uint64_t *ret_old_slices,
			      uint64_t *ret_new_slices, struct cfs_err *err)
{
	return cfs_here_resize_device(s, device, ret_old_slices, ret_new_slices,
				      err);
}

int cfs_session_create(struct cfs_session *s, const char *name, uint32_t kind,
		       uint64_t size_bytes, uint64_t limit_bytes,
		       bool is_unfinished, struct cfs_err *err)
{
	return cfs_here_create(s, name, kind, size_bytes, limit_bytes,
			       is_unfinished, err);
}

int cfs_session_delegated(struct cfs_session *s, cfs_delegation_info_fn each,
			  void *arg, struct cfs_err *err)
{
	struct cfs_delegate_entries entries;
	int r = cfs_refer_list(s, &entries, err);

	for (size_t i = 0; i < entries.v.count && r == 0; i++) {
		const struct cfs_delegate_entry *e = &entries.v.items[i];
		struct cfs_delegation_info d = {
			.container_id = e->container,
			.epoch = e->epoch,
			.is_held = e->state == CFS_DELEGATION_HELD,
			.is_wanted = e->is_wanted,
			.client_id = e->client_id,
			.pid = e->pid,
			.since_ns = e->since_ns,
		};

		strcpy(d.name, e->name);
		strcpy(d.host, e->host);
		strcpy(d.address, e->address);
		r = each(arg, &d);
	}
	cfs_vec_done(&entries.v);
	return r;
}

/* ---- the whole pool ------------------------------------------------------ */

static int add_info(void *arg, struct cfs_session *at, const char *container,
		    struct cfs_err *err)
{
	struct cfs_pool_info *sum = arg, info;
	int r = cfs_here_pool_info(at, &info, err);

	(void)container;
	if (r < 0)
		return r;
	sum->used_bytes += info.used_bytes;
	sum->free_bytes += info.free_bytes;
	sum->damaged_blocks += info.damaged_blocks;
	if (info.damaged_blocks &&
	    (sum->state == CFS_POOL_OK || sum->state == CFS_POOL_NEARLY_FULL))
		sum->state = CFS_POOL_DAMAGED;
	return 0;
}

int cfs_session_pool_info(struct cfs_session *s, struct cfs_pool_info *ret,
			  struct cfs_err *err)
{
	int r = cfs_here_pool_info(s, ret, err);

	return r < 0 ? r : cfs_refer_each(s, add_info, ret, err);
}

static int add_trim(void *arg, struct cfs_session *at, const char *container,
		    struct cfs_err *err)
{
	struct cfs_trim_result *sum = arg, one;
	int r = cfs_here_trim(at, container, &one, err);

	if (r == 0)
		sum->returned_slices += one.returned_slices;
	return r;
}

int cfs_session_trim(struct cfs_session *s, const char *container,
		     struct cfs_trim_result *ret, struct cfs_err *err)
{
	struct cfs_trim_result others = { .returned_slices = 0 };
	int r;

	if (container)
		return REFER(container, cfs_here_trim(at, container, ret, err));
	/* What they give back is then free. */
	r = cfs_refer_each(s, add_trim, &others, err);
	if (r == 0)
		r = cfs_here_trim(s, NULL, ret, err);
	if (r == 0)
		ret->returned_slices += others.returned_slices;
	return r;
}

struct each_volume {
	bool with_space;
	cfs_volume_each_fn each;
	void *arg;
};

static int volumes_of(void *arg, struct cfs_session *at, const char *container,
		      struct cfs_err *err)
{
	const struct each_volume *e = arg;

	return cfs_here_volumes(at, container, e->with_space, e->each, e->arg,
				err);
}

static int all_volumes(struct cfs_session *s, const char *container,
		       struct each_volume e, struct cfs_err *err)
{
	int r;

	if (container)
		return REFER(container,
			     cfs_here_volumes(at, container, e.with_space,
					      e.each, e.arg, err));
	r = cfs_here_volumes(s, NULL, e.with_space, e.each, e.arg, err);
	return r != 0 ? r : cfs_refer_each(s, volumes_of, &e, err);
}

int cfs_session_volumes(struct cfs_session *s, const char *container,
			cfs_volume_each_fn each, void *arg, struct cfs_err *err)
{
	return all_volumes(s, container,
			   (struct each_volume){ true, each, arg }, err);
}

int cfs_session_volumes_brief(struct cfs_session *s, const char *container,
			      cfs_volume_each_fn each, void *arg,
			      struct cfs_err *err)
{
	return all_volumes(s, container,
			   (struct each_volume){ false, each, arg }, err);
}

struct each_snapshot {
	bool with_space;
	cfs_snapshot_each_fn each;
	void *arg;
	struct cfs_session *at;
	CFS_VEC(char *) volumes;
};

static int add_volume(void *arg, const struct cfs_volume_info *v)
{
	struct each_snapshot *e = arg;
	char *name = strdup(v->name);

	if (name && cfs_vec_push(&e->volumes, name) == 0)
		return 0;
	free(name);
	return -ENOMEM;
}

/* Of one container: there is a call for a volume, and one for all. */
static int snapshots_of(void *arg, struct cfs_session *at,
			const char *container, struct cfs_err *err)
{
	struct each_snapshot *e = arg;
	int r = cfs_here_volumes(at, container, false, add_volume, e, err);

	for (size_t i = 0; i < e->volumes.count; i++) {
		if (r == 0)
			r = cfs_here_snapshots(at, e->volumes.items[i],
					       e->with_space, e->each, e->arg,
					       err);
		free(e->volumes.items[i]);
	}
	cfs_vec_done(&e->volumes);
	return r;
}

int cfs_session_snapshots(struct cfs_session *s, const char *volume,
			  bool with_space, cfs_snapshot_each_fn each, void *arg,
			  struct cfs_err *err)
{
	struct each_snapshot e = {
		.with_space = with_space,
		.each = each,
		.arg = arg,
	};
	int r;

	if (volume)
		return REFER(volume, cfs_here_snapshots(at, volume, with_space,
							each, arg, err));
	r = cfs_here_snapshots(s, NULL, with_space, each, arg, err);
	return r != 0 ? r : cfs_refer_each(s, snapshots_of, &e, err);
}

/* ---- slices -------------------------------------------------------------- */

struct slices {
	CFS_VEC(struct cfs_slice_info) all;
	struct cfs_delegate_entries away;
	bool is_manager; /* who says it now */
};

/* A word that stays. */
static const char *word(const char *use)
{
	static const char *const words[] = { "free", "pool", "container",
					     "frozen", "bad" };

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(words[i], use) == 0)
			return words[i];
	return "bad";
}

static int keep_slice(void *arg, const struct cfs_slice_info *i)
{
	struct slices *l = arg;
	struct cfs_slice_info own = *i;

	/* Whoever has it says how full it is. */
	for (size_t k = 0; l->is_manager && k < l->away.v.count; k++)
		if (l->away.v.items[k].container == i->container_id &&
		    l->away.v.items[k].state == CFS_DELEGATION_HELD &&
		    strcmp(i->use, "container") == 0)
			return 0;
	own.use = word(i->use);
	return cfs_vec_push(&l->all, own) < 0 ? -ENOMEM : 0;
}

static int slices_of(void *arg, struct cfs_session *at, const char *container,
		     struct cfs_err *err)
{
	return cfs_here_slices(at, container, keep_slice, arg, err);
}

static int by_place(const void *a, const void *b)
{
	const struct cfs_slice_info *x = a, *y = b;

	if (x->device_index != y->device_index)
		return x->device_index < y->device_index ? -1 : 1;
	return (x->slice_index > y->slice_index) -
	       (x->slice_index < y->slice_index);
}

int cfs_session_slices(struct cfs_session *s, const char *container,
		       cfs_slice_each_fn each, void *arg, struct cfs_err *err)
{
	struct slices l = { .is_manager = true };
	int r;

	if (container)
		return REFER(container,
			     cfs_here_slices(at, container, each, arg, err));
	r = cfs_refer_list(s, &l.away, err);
	if (r == 0 && l.away.v.count == 0)
		return cfs_here_slices(s, NULL, each, arg, err);
	if (r == 0)
		r = cfs_here_slices(s, NULL, keep_slice, &l, err);
	l.is_manager = false;
	if (r == 0)
		r = cfs_refer_each(s, slices_of, &l, err);
	if (r == -ENOMEM)
		cfs_err_set(err, r, "out of memory");
	if (l.all.count > 1)
		qsort(l.all.items, l.all.count, sizeof(*l.all.items), by_place);
	for (size_t i = 0; i < l.all.count && r == 0; i++)
		r = each(arg, &l.all.items[i]);
	cfs_vec_done(&l.all);
	cfs_vec_done(&l.away.v);
	return r;
}

/* ---- check, scrub, trace ------------------------------------------------- */

struct each_problem {
	cfs_problem_each_fn each;
	void *arg;
	struct cfs_check_result *sum;
};

static int check_at(void *arg, struct cfs_session *at, const char *container,
		    struct cfs_err *err)
{
	const struct each_problem *e = arg;
	struct cfs_check_result one;
	int r = cfs_here_check(at, container, e->each, e->arg, &one, err);

	e->sum->containers += one.containers;
	e->sum->nodes += one.nodes;
	e->sum->records += one.records;
	e->sum->blocks += one.blocks;
	e->sum->inodes += one.inodes;
	e->sum->problems += one.problems;
	return r;
}

int cfs_session_check(struct cfs_session *s, const char *container,
		      cfs_problem_each_fn each, void *arg,
		      struct cfs_check_result *ret, struct cfs_err *err)
{
	struct each_problem e = { each, arg, ret };
	int r;

	if (container)
		return REFER(container, cfs_here_check(at, container, each, arg,
						       ret, err));
	r = cfs_here_check(s, NULL, each, arg, ret, err);
	return r != 0 ? r : cfs_refer_each(s, check_at, &e, err);
}

struct each_damage {
	const struct cfs_scrub_options *opt;
	cfs_damage_each_fn each;
	void *arg;
	struct cfs_scrub_result *sum;
	const char *device;
	uint64_t offset_bytes;
};

static int scrub_at(void *arg, struct cfs_session *at, const char *container,
		    struct cfs_err *err)
{
	const struct each_damage *e = arg;
	struct cfs_scrub_result one;
	int r = cfs_here_scrub(at, container, e->opt, e->each, e->arg, &one,
			       err);

	e->sum->read_bytes += one.read_bytes;
	e->sum->verified_blocks += one.verified_blocks;
	e->sum->bad_blocks += one.bad_blocks;
	e->sum->healed_blocks += one.healed_blocks;
	e->sum->left_blocks += one.left_blocks;
	e->sum->skipped_groups += one.skipped_groups;
	e->sum->ended_ns = CFS_MAX(e->sum->ended_ns, one.ended_ns);
	return r;
}

int cfs_session_scrub(struct cfs_session *s, const char *container,
		      const struct cfs_scrub_options *opt,
		      cfs_damage_each_fn each, void *arg,
		      struct cfs_scrub_result *ret, struct cfs_err *err)
{
	struct each_damage e = {
		.opt = opt,
		.each = each,
		.arg = arg,
		.sum = ret,
	};
	int r;

	if (container)
		return REFER(container, cfs_here_scrub(at, container, opt, each,
						       arg, ret, err));
	r = cfs_here_scrub(s, NULL, opt, each, arg, ret, err);
	return r != 0 ? r : cfs_refer_each(s, scrub_at, &e, err);
}

/* Whose slice it is says so; the others know nothing of it. */
static int trace_there(void *arg, struct cfs_session *at, const char *container,
		       struct cfs_err *err)
{
	const struct each_damage *e = arg;

	(void)container;
	return cfs_here_trace_at(at, e->device, e->offset_bytes, e->each,
				 e->arg, err);
}

int cfs_session_trace_at(struct cfs_session *s, const char *device,
			 uint64_t offset_bytes, cfs_damage_each_fn each,
			 void *arg, struct cfs_err *err)
{
	struct each_damage e = {
		.each = each,
		.arg = arg,
		.device = device,
		.offset_bytes = offset_bytes,
	};
	int r = cfs_here_trace_at(s, device, offset_bytes, each, arg, err);

	return r != -EREMOTE ? r : cfs_refer_each(s, trace_there, &e, err);
}

static int trace_bad_at(void *arg, struct cfs_session *at,
			const char *container, struct cfs_err *err)
{
	const struct each_damage *e = arg;

	(void)container;
	return cfs_here_trace_bad(at, e->each, e->arg, err);
}

int cfs_session_trace_bad(struct cfs_session *s, cfs_damage_each_fn each,
			  void *arg, struct cfs_err *err)
{
	struct each_damage e = { .each = each, .arg = arg };
	int r = cfs_here_trace_bad(s, each, arg, err);

	return r != 0 ? r : cfs_refer_each(s, trace_bad_at, &e, err);
}
