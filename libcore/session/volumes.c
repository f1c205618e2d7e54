/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Volumes by name: making, listing, changing, removing. */
#include "session/local.h"
#include "session/serve_use.h"
#include "session/session_priv.h"

#include "base/bits.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "ondisk/receive.h"
#include "tree/space.h"
#include "volume/promote.h"
#include "volume/stream.h"

#include <inttypes.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- information --------------------------------------------------------- */

struct info_state {
	struct cfs_session *s;
	struct cfs_member *m;
	cfs_volume_each_fn each;
	void *arg;
	struct cfs_origins origins; /* of m */
	bool with_space;
};

static int count_one(void *arg, uint64_t stamp,
		     const struct cfs_snapshot_rec *rec, struct cfs_err *err)
{
	uint64_t *n = arg;

	(void)stamp;
	(void)rec;
	(void)err;
	(*n)++;
	return 0;
}

static int origin_of(struct cfs_member *m, const struct cfs_volume_rec *rec,
		     char *buf, size_t bytes, struct cfs_err *err)
{
	struct cfs_snapshot_rec snap = { .name = "" };
	struct cfs_volume_rec from;
	char name[260];
	int r;

	if (!rec->origin_volume)
		return 0;
	r = cfs_volume_get(m, rec->origin_volume, &from, err);
	/* Only in a damaged pool: it has none that could be told. */
	if (r == -ENOENT)
		return 0;
	if (r == 0)
		r = cfs_snapshot_at(m, rec->origin_volume, rec->origin_stamp,
				    &snap, err);
	if (r < 0 && r != -ENOENT)
		return r;
	cfs_session_name(m, &from, name);
	snprintf(buf, bytes, "%s@%s", name, snap.name);
	return 0;
}

static int fill_info(struct cfs_member *m, uint64_t id,
		     const struct cfs_volume_rec *rec,
		     const struct cfs_origins *origins, bool with_space,
		     struct cfs_volume_info *v, struct cfs_err *err)
{
	struct cfs_space_counts counts;
	struct cfs_volume_space space = { .used_blocks = 0 };
	struct cfs_receive_rec receiving;
	bool is_receiving;
	int r = 0;

	memset(v, 0, sizeof(*v));
	cfs_session_name(m, rec, v->name);
	v->kind = rec->kind;
	memcpy(v->container_uuid, m->rec.uuid, 16);
	v->container_id = m->id;
	v->volume_id = id;
	v->created_ns = rec->created_ns;
	v->is_checked = m->rec.flags & CFS_CONTAINER_CHECKED;
	v->provision_bytes = id == CFS_VOLUME_FIRST ? m->rec.provision_bytes
						    : 0;
	v->limit_bytes = id == CFS_VOLUME_FIRST ? m->rec.limit_bytes
						: rec->limit_bytes;
	if (with_space) {
		r = cfs_volume_space(m, id, &space, err);
		if (r < 0)
			return r;
		free(space.snapshots);
	}
	v->used_bytes = space.used_blocks * CFS_BLOCK_BYTES;
	v->shared_bytes = space.shared_blocks * CFS_BLOCK_BYTES;
	v->inode_count = space.inode_count;
	v->size_bytes = rec->kind == CFS_VOLUME_LUN ? rec->size_bytes
						    : v->used_bytes;
	r = cfs_snapshot_each(m, id, count_one, &v->snapshot_count, err);
	v->clone_count = cfs_origins_count_all(origins, id);
	if (r == 0)
		r = origin_of(m, rec, v->origin, sizeof(v->origin), err);
	if (r == 0)
		r = cfs_session_bad_count(m->container, &v->damaged_blocks,
					  err);
	is_receiving = cfs_receive_get(m, id, &receiving, NULL) == 0;
	cfs_container_lock(m->container);
	cfs_space_counts(m->container, &counts);
	v->state = !cfs_container_is_writable(m->container) ? "read_only"
		   : v->damaged_blocks                      ? "degraded"
		   : is_receiving                           ? "receiving"
							    : "clean";
	cfs_container_unlock(m->container);
	v->container_used_bytes = counts.used_blocks * CFS_BLOCK_BYTES;
	v->slice_count = counts.slice_count;
	return r;
}

static int each_volume(void *arg, uint64_t id, const struct cfs_volume_rec *rec,
		       struct cfs_err *err)
{
	struct info_state *st = arg;
	struct cfs_volume_info info;
	int r = fill_info(st->m, id, rec, &st->origins, st->with_space, &info,
			  err);

	return r < 0 ? r : st->each(st->arg, &info);
}

/* Clones behind their production volume, in the order of names. */
struct clone_list {
	struct {
		uint64_t id;
		struct cfs_volume_rec rec;
	} * list;
	size_t count, room;
};

static int collect(void *arg, uint64_t id, const struct cfs_volume_rec *rec,
		   struct cfs_err *err)
{
	struct clone_list *l = arg;

	if (l->count == l->room) {
		size_t room = l->room ? 2 * l->room : 16;
		void *list = realloc(l->list, room * sizeof(*l->list));

		if (!list)
			return cfs_err_set(err, -ENOMEM, "out of memory");
		l->list = list;
		l->room = room;
	}
	l->list[l->count].id = id;
	l->list[l->count++].rec = *rec;
	return 0;
}

static int by_name(const void *a, const void *b)
{
	const struct {
		uint64_t id;
		struct cfs_volume_rec rec;
	} *x = a, *y = b;

	return strcmp(x->rec.name, y->rec.name);
}

static int each_of(struct cfs_session *s, struct cfs_member *m, bool with_space,
		   cfs_volume_each_fn each, void *arg, struct cfs_err *err)
{
	struct info_state st = { s, m, each, arg, { NULL, 0 }, with_space };
	struct clone_list l = { NULL, 0, 0 };
	int r = cfs_origins_get(m, &st.origins, err);

	if (r == 0)
		r = cfs_volume_each(m, collect, &l, err);
	if (r == 0 && l.count > 1)
		qsort(l.list, l.count, sizeof(*l.list), by_name);
	for (size_t i = 0; r == 0 && i < l.count; i++)
		r = each_volume(&st, l.list[i].id, &l.list[i].rec, err);
	free(l.list);
	cfs_origins_done(&st.origins);
	return r;
}

static int each_container(void *arg, uint64_t id,
			  const struct cfs_container_rec *rec,
			  struct cfs_err *err)
{
	struct info_state *st = arg;
	struct cfs_member *m;
	int r;

	/* Nor one that somebody still fills. */
	if (rec->state != CFS_OBJECT_LIVE)
		return 0;
	r = cfs_pool_member_by_id(st->s->pool, id, &m, err);
	if (r == -EREMOTE) /* whoever serves it tells of it */
		return 0;
	return r < 0 ? r
		     : each_of(st->s, m, st->with_space, st->each, st->arg,
			       err);
}

int cfs_local_volumes(struct cfs_session *s, const char *container,
		      bool with_space, cfs_volume_each_fn each, void *arg,
		      struct cfs_err *err)
{
	struct info_state st = { s, NULL, each, arg, { NULL, 0 }, with_space };
	struct cfs_member *m;
	int r;

	if (!container)
		return cfs_pool_containers(s->pool, each_container, &st, err);
	r = cfs_pool_member(s->pool, container, &m, err);
	return r < 0 ? r : each_of(s, m, with_space, each, arg, err);
}

int cfs_local_volume(struct cfs_session *s, const char *volume, bool with_space,
		     struct cfs_volume_info *ret, struct cfs_err *err)
{
	struct cfs_origins origins = { NULL, 0 };
	struct cfs_named v = { 0 };
	int r = cfs_session_find(s, volume, &v, err);

	if (r == 0)
		r = cfs_origins_get(v.member, &origins, err);
	if (r == 0)
		r = fill_info(v.member, v.id, &v.rec, &origins, with_space, ret,
			      err);
	cfs_origins_done(&origins);
	return r;
}

/* ---- making -------------------------------------------------------------- */

/* A container that is being filled, and by whom (serve_use.h): over any of the
 * connections of that process. */
struct cfs_making {
	struct cfs_making *next;
	uint64_t container;
	const void *maker;
	uint32_t pid; /* 0: not known */
};

static const char nobody;

static bool is_maker(const struct cfs_making *own)
{
	const struct cfs_use_actor *actor = cfs_serve_actor();

	if (!actor)
		return !own->maker;
	return own->maker == actor->id || (own->pid && own->pid == actor->pid);
}

static void making_add(struct cfs_session *s, struct cfs_making *own,
		       const struct cfs_member *m)
{
	const struct cfs_use_actor *actor = cfs_serve_actor();

	own->container = m->id;
	own->maker = actor ? actor->id : NULL;
	own->pid = actor ? actor->pid : 0;
	pthread_mutex_lock(&s->lock);
	own->next = s->making;
	s->making = own;
	pthread_mutex_unlock(&s->lock);
}

static void making_drop(struct cfs_session *s, uint64_t container)
{
	struct cfs_making **at, *own;

	pthread_mutex_lock(&s->lock);
	for (at = &s->making; *at; at = &(*at)->next)
		if ((*at)->container == container)
			break;
	own = *at;
	if (own)
		*at = own->next;
	pthread_mutex_unlock(&s->lock);
	free(own);
}

void cfs_session_forget_making(struct cfs_session *s)
{
	struct cfs_making *own;

	while ((own = s->making)) {
		s->making = own->next;
		free(own);
	}
}

/* Who makes it has gone: it is there for nobody. */
static void making_orphan(struct cfs_session *s, uint64_t container)
{
	struct cfs_making *own;

	pthread_mutex_lock(&s->lock);
	for (own = s->making; own; own = own->next)
		if (own->container == container) {
			own->maker = &nobody;
			own->pid = 0;
		}
	pthread_mutex_unlock(&s->lock);
}

bool cfs_session_may_see(struct cfs_session *s, const struct cfs_member *m)
{
	struct cfs_making *own;

	if (m->rec.state != CFS_OBJECT_MAKING)
		return true;
	pthread_mutex_lock(&s->lock);
	for (own = s->making; own; own = own->next)
		if (own->container == m->id && is_maker(own))
			break;
	pthread_mutex_unlock(&s->lock);
	return own;
}

/* Is what has this name being made by somebody who is dead?  It goes as soon as
 * what he had open is known to be free. */
static bool is_leaving(struct cfs_session *s, const char *name)
{
	struct cfs_making *own;
	struct cfs_member *m;

	if (cfs_pool_member(s->pool, name, &m, NULL) < 0 ||
	    m->rec.state != CFS_OBJECT_MAKING)
		return false;
	pthread_mutex_lock(&s->lock);
	for (own = s->making; own && own->container != m->id; own = own->next)
		;
	if (own && own->maker != &nobody &&
	    !(own->pid && kill((pid_t)own->pid, 0) < 0 && errno == ESRCH))
		own = NULL;
	pthread_mutex_unlock(&s->lock);
	return own;
}

static int check_size(uint64_t size_bytes, struct cfs_err *err)
{
	if (size_bytes == 0 || size_bytes % CFS_BLOCK_BYTES ||
	    size_bytes > UINT64_C(1) << 60)
		return cfs_err_set(err, -EINVAL,
				   "a LUN's size is a multiple "
				   "of 4096 bytes, up to 1 EiB");
	return 0;
}

int cfs_local_create(struct cfs_session *s, const char *name, uint32_t kind,
		     uint64_t size_bytes, uint64_t limit_bytes,
		     bool is_unfinished, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_freep) struct cfs_making *making = NULL;
	struct cfs_container_rec rec;
	struct cfs_member *m;
	int r = cfs_session_may_write(s, err);

	if (r == 0 && kind == CFS_VOLUME_LUN)
		r = check_size(size_bytes, err);
	if (r == 0 && is_unfinished) {
		making = malloc(sizeof(*making));
		if (!making)
			r = cfs_err_set(err, -ENOMEM, "out of memory");
	}
	if (r == 0)
		r = cfs_pool_container_make(s->pool, name, kind, limit_bytes,
					    CFS_OBJECT_MAKING, &m, err);
	if (r == -EEXIST && is_leaving(s, name))
		r = cfs_err_set(err, -EAGAIN,
				"what somebody has begun to make "
				"there is still being removed");
	if (r != 0)
		return r;
	r = cfs_volume_make_first(m, kind,
				  kind == CFS_VOLUME_LUN ? size_bytes : 0, err);
	if (r == 0 && !is_unfinished) {
		rec = m->rec;
		rec.state = CFS_OBJECT_LIVE;
		r = cfs_pool_container_update(s->pool, m, &rec, err);
	}
	if (r < 0)
		(void)cfs_pool_container_remove(s->pool, m, NULL);
	else if (making)
		making_add(s, CFS_STEAL(making), m);
	return r;
}

int cfs_local_finish_volume(struct cfs_session *s, const char *name,
			    struct cfs_err *err)
{
	struct cfs_container_rec rec;
	struct cfs_member *m;
	int r = cfs_pool_member(s->pool, name, &m, err);

	/* What was copied is durable before the volume is there for all. */
	if (r == 0)
		r = cfs_container_commit(m->container, err);
	if (r < 0)
		return r;
	rec = m->rec;
	rec.state = CFS_OBJECT_LIVE;
	r = cfs_pool_container_update(s->pool, m, &rec, err);
	if (r == 0)
		making_drop(s, m->id);
	return r;
}

/* ---- removing ------------------------------------------------------------ */

static int count_held(void *arg, uint64_t stamp,
		      const struct cfs_snapshot_rec *rec, struct cfs_err *err)
{
	uint64_t *n = arg;

	(void)stamp;
	(void)err;
	n[0]++;
	n[1] += (rec->flags & CFS_SNAPSHOT_HELD) != 0;
	return 0;
}

struct dependents {
	struct cfs_member *m;
	uint64_t clones, counts[2];
};

static int count_dependents(void *arg, uint64_t id,
			    const struct cfs_volume_rec *rec,
			    struct cfs_err *err)
{
	struct dependents *d = arg;

	(void)rec;
	if (id != CFS_VOLUME_FIRST)
		d->clones++;
	return cfs_snapshot_each(d->m, id, count_held, d->counts, err);
}

static int remove_clone(struct cfs_session *s, const struct cfs_named *v,
			bool recursive, struct cfs_err *err)
{
	uint64_t slices;
	int r = cfs_volume_remove(v->member, v->id, recursive, err);

	/* Empty slices are for others to use at once. */
	return r < 0 ? r : cfs_pool_reclaim(s->pool, v->member, &slices, err);
}

static int remove_container(struct cfs_session *s, const struct cfs_named *v,
			    bool recursive, struct cfs_err *err)
{
	struct dependents d = { .m = v->member };
	const uint64_t id = v->member->id;
	int r = cfs_volume_each(v->member, count_dependents, &d, err);

	if (r < 0)
		return r;
	if (!recursive && (d.clones || d.counts[0]))
		return cfs_err_set(err, -EBUSY,
				   "it has %" PRIu64 " snapshots and %" PRIu64
				   " clones: -r "
				   "removes them too",
				   d.counts[0], d.clones);
	if (d.counts[1])
		return cfs_err_set(err, -EBUSY, "a snapshot of it is on hold");
	r = cfs_pool_container_remove(s->pool, v->member, err);
	if (r < 0)
		return r;
	making_drop(s, id);
	return cfs_promote_forget(s->pool, id, 0, err);
}

int cfs_local_remove_volume(struct cfs_session *s, const char *volume,
			    bool recursive, struct cfs_err *err)
{
	struct cfs_use_of of = {
		.mode = CFS_USE_ALONE,
		.stamp = CFS_USE_ANY_STAMP,
	};
	struct cfs_use *use = NULL;
	struct cfs_named v = { 0 };
	int r = cfs_session_may_write(s, err);

	if (r == 0)
		r = cfs_session_find(s, volume, &v, err);
	if (r != 0)
		return r;
	of.container = v.member->id;
	of.volume = v.id == CFS_VOLUME_FIRST ? 0 : v.id;
	r = cfs_serve_volume_enter(s, &of, &use, err);
	if (r == 0 && v.id == CFS_VOLUME_FIRST)
		r = remove_container(s, &v, recursive, err);
	else if (r == 0)
		r = remove_clone(s, &v, recursive, err);
	cfs_serve_volume_leave(s, use);
	return r;
}

int cfs_local_remove_unfinished(struct cfs_session *s, const char *name,
				struct cfs_err *err)
{
	struct cfs_use_of of = {
		.mode = CFS_USE_ALONE,
		.stamp = CFS_USE_ANY_STAMP,
	};
	struct cfs_use *use = NULL;
	struct cfs_named v = { .id = CFS_VOLUME_FIRST };
	int r = cfs_pool_member(s->pool, name, &v.member, err);

	if (r < 0 || v.member->rec.state != CFS_OBJECT_MAKING)
		return r == -ENOENT ? 0 : r;
	making_orphan(s, v.member->id);
	of.container = v.member->id;
	r = cfs_serve_volume_enter(s, &of, &use, err);
	if (r == 0)
		r = remove_container(s, &v, true, err);
	cfs_serve_volume_leave(s, use);
	return r;
}

/* ---- changing ------------------------------------------------------------ */

int cfs_local_rename_volume(struct cfs_session *s, const char *volume,
			    const char *new_name, struct cfs_err *err)
{
	const char *slash = strchr(new_name, '/');
	struct cfs_container_rec rec;
	struct cfs_named v = { 0 };
	int r = cfs_session_may_write(s, err);

	if (r == 0)
		r = cfs_session_find(s, volume, &v, err);
	if (r != 0)
		return r;
	if (v.id == CFS_VOLUME_FIRST) {
		if (!cfs_name_is_valid(new_name))
			return cfs_err_set(err, -EINVAL, "%s: no valid name",
					   new_name);
		rec = v.member->rec;
		memset(rec.name, 0, sizeof(rec.name));
		strcpy(rec.name, new_name);
		return cfs_pool_container_update(s->pool, v.member, &rec, err);
	}
	if (slash && (strncmp(new_name, v.member->rec.name,
			      (size_t)(slash - new_name)) != 0 ||
		      v.member->rec.name[slash - new_name]))
		return cfs_err_set(err, -EINVAL,
				   "a clone stays in its container");
	return cfs_volume_rename(v.member, v.id, slash ? slash + 1 : new_name,
				 err);
}

int cfs_local_resize_volume(struct cfs_session *s, const char *volume,
			    uint64_t size_bytes, struct cfs_err *err)
{
	struct cfs_use_of of = { .mode = CFS_USE_ALONE, .but_own = true };
	struct cfs_use *use = NULL;
	struct cfs_named v = { 0 };
	int r = cfs_session_may_write(s, err);

	if (r == 0)
		r = cfs_session_find(s, volume, &v, err);
	if (r == 0)
		r = check_size(size_bytes, err);
	if (r != 0)
		return r;
	/* What is cut off must be nobody's. */
	of.container = v.member->id;
	of.volume = v.id;
	if (size_bytes < v.rec.size_bytes)
		r = cfs_serve_volume_enter(s, &of, &use, err);
	if (r == 0)
		r = cfs_volume_resize(v.member, v.id, size_bytes, err);
	cfs_serve_volume_leave(s, use);
	return r;
}

/* "limit=SIZE" of a volume; the value in bytes, 0 for none. */
/* The record of a container, by its production volume alone. */
static int find_container(struct cfs_session *s, const char *volume,
			  const char *what, struct cfs_named *ret,
			  struct cfs_err *err)
{
	int r = cfs_session_find(s, volume, ret, err);

	if (r == 0 && ret->id != CFS_VOLUME_FIRST)
		return cfs_err_set(err, -EINVAL,
				   "a clone shares its "
				   "container's %s",
				   what);
	return r;
}

int cfs_session_set_limit(struct cfs_session *s, const char *volume,
			  uint64_t limit_bytes, struct cfs_err *err)
{
	struct cfs_container_rec rec;
	struct cfs_named v = { 0 };
	int r = find_container(s, volume, "limit", &v, err);

	if (r < 0)
		return r;
	rec = v.member->rec;
	rec.limit_bytes = limit_bytes;
	return cfs_pool_container_update(s->pool, v.member, &rec, err);
}

int cfs_session_set_provision(struct cfs_session *s, const char *volume,
			      uint64_t bytes, struct cfs_err *err)
{
	struct cfs_named v = { 0 };
	int r = find_container(s, volume, "provision", &v, err);

	return r < 0 ? r : cfs_pool_provision(s->pool, v.member, bytes, err);
}

int cfs_session_set_checked(struct cfs_session *s, const char *volume,
			    bool is_checked, struct cfs_err *err)
{
	struct cfs_container_rec rec;
	struct cfs_named v = { 0 };
	int r = find_container(s, volume, "setting", &v, err);

	if (r < 0)
		return r;
	rec = v.member->rec;
	rec.flags &= ~CFS_CONTAINER_CHECKED;
	rec.flags |= is_checked ? CFS_CONTAINER_CHECKED : 0;
	return cfs_pool_container_update(s->pool, v.member, &rec, err);
}
