/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who sees a version: the snapshots of its branch between its birth and its
 * death, the head if it lives, and what was forked from the branch in that
 * time and has nothing of its own in that place.
 */
#include "heal/trace_priv.h"

#include "base/cleanup.h"
#include "base/vec.h"
#include "heal/names_priv.h"
#include "volume/look.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct trace_branch {
	uint16_t id, parent;
	uint64_t fork_stamp;
};

struct trace_snapshot {
	size_t volume; /* index */
	uint16_t branch;
	uint64_t stamp;
	char name[CFS_NAME_BYTES];
};

struct trace_volume {
	uint64_t id;
	struct cfs_volume_rec rec;
};

struct tracer {
	struct cfs_pool *pool;
	cfs_damage_each_fn each;
	void *arg;

	struct cfs_member *m; /* whose these are; NULL: nobody's */
	CFS_VEC(struct trace_volume) volumes;
	CFS_VEC(struct trace_branch) branches;
	CFS_VEC(struct trace_snapshot) snapshots;

	struct cfs_damage *now;  /* being made */
	CFS_VEC(char) names;     /* of its snapshots, 128 bytes each */
	struct cfs_damage *kept; /* perhaps the next one joins it */
	CFS_VEC(char) kept_names;
	bool has_kept;
};

const char *cfs_cause_name(uint32_t cause)
{
	switch (cause) {
	case CFS_BAD_UNREADABLE:
		return "unreadable";
	case CFS_BAD_CONTENT:
		return "content";
	case CFS_BAD_TAG:
		return "tag";
	default:
		return "";
	}
}

const char *cfs_tag_kind_name(uint8_t type)
{
	switch (type) {
	case CFS_TAG_DATA:
		return "data";
	case CFS_TAG_NODE:
		return "node";
	case CFS_TAG_TABLE:
		return "table";
	case CFS_TAG_ROOT:
		return "root";
	case CFS_TAG_LOG:
		return "log";
	default:
		return "free";
	}
}

int cfs_tracer_new(struct cfs_pool *pool, cfs_damage_each_fn each, void *arg,
		   struct tracer **ret, struct cfs_err *err)
{
	struct tracer *t = calloc(1, sizeof(*t));

	if (t) {
		t->pool = pool;
		t->each = each;
		t->arg = arg;
		t->now = calloc(1, sizeof(*t->now));
		t->kept = calloc(1, sizeof(*t->kept));
	}
	if (!t || !t->now || !t->kept) {
		cfs_tracer_free(t);
		return cfs_err_set(err, -ENOMEM, "out of memory");
	}
	*ret = t;
	return 0;
}

void cfs_tracer_forget(struct tracer *t)
{
	t->m = NULL;
	t->volumes.count = 0;
	t->branches.count = 0;
	t->snapshots.count = 0;
}

void cfs_tracer_free(struct tracer *t)
{
	if (!t)
		return;
	cfs_vec_done(&t->volumes);
	cfs_vec_done(&t->branches);
	cfs_vec_done(&t->snapshots);
	cfs_vec_done(&t->names);
	cfs_vec_done(&t->kept_names);
	free(t->now);
	free(t->kept);
	free(t);
}

/* ---- telling, and joining neighbours ------------------------------------- */

int cfs_tracer_flush(struct tracer *t)
{
	if (!t->has_kept)
		return 0;
	t->has_kept = false;
	t->kept->snapshots = (void *)t->kept_names.items;
	t->kept->snapshot_count = t->kept_names.count / CFS_NAME_BYTES;
	return t->each ? t->each(t->arg, t->kept) : 0;
}

static bool joins(const struct tracer *t, const struct cfs_damage *d)
{
	const struct cfs_damage *k = t->kept;

	return t->has_kept && d->volume[0] && k->kind == d->kind &&
	       k->cause == d->cause && k->device_index == d->device_index &&
	       k->device_offset_bytes + k->length_bytes ==
		       d->device_offset_bytes &&
	       k->offset_bytes + k->length_bytes == d->offset_bytes &&
	       k->is_healed == d->is_healed && k->has_path == d->has_path &&
	       strcmp(k->container, d->container) == 0 &&
	       strcmp(k->volume, d->volume) == 0 &&
	       strcmp(k->path, d->path) == 0 &&
	       t->names.count == t->kept_names.count &&
	       (t->names.count == 0 ||
		memcmp(t->names.items, t->kept_names.items, t->names.count) ==
			0);
}

/* What stands in t->now goes out, or into what is kept. */
static int emit(struct tracer *t)
{
	int r;

	if (joins(t, t->now)) {
		t->kept->length_bytes += t->now->length_bytes;
		return 0;
	}
	r = cfs_tracer_flush(t);
	*t->kept = *t->now;
	t->kept_names.count = 0;
	if (t->names.count > 0) {
		if (cfs_vec_reserve(&t->kept_names, t->names.count) < 0)
			return -ENOMEM;
		memcpy(t->kept_names.items, t->names.items, t->names.count);
		t->kept_names.count = t->names.count;
	}
	t->has_kept = true;
	return r;
}

/* ---- what a container has ------------------------------------------------ */

static int add_snapshot(void *arg, uint64_t stamp,
			const struct cfs_snapshot_rec *rec, struct cfs_err *err)
{
	struct tracer *t = arg;
	struct trace_snapshot s = {
		.volume = t->volumes.count - 1,
		.branch = (uint16_t)rec->branch,
		.stamp = stamp,
	};

	memcpy(s.name, rec->name, sizeof(s.name));
	if (cfs_vec_push(&t->snapshots, s) < 0)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	return 0;
}

static int add_volume(void *arg, uint64_t id, const struct cfs_volume_rec *rec,
		      struct cfs_err *err)
{
	struct tracer *t = arg;
	const struct trace_volume v = { .id = id, .rec = *rec };

	if (cfs_vec_push(&t->volumes, v) < 0)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	return cfs_snapshot_each(t->m, id, add_snapshot, t, err);
}

static int add_branches(struct tracer *t, struct cfs_err *err)
{
	struct cfs_key from = { { cfs_table_word(CFS_TABLE_BRANCH, 0), 0, 0 } };
	struct cfs_container *c = t->m->container;
	struct cfs_cursor cur;
	int r;

	cfs_container_lock(c);
	r = cfs_cursor_ge(&cur, cfs_container_tree(c, CFS_TREE_TABLE), &from,
			  err);
	while (r == 0 && cur.key.w[0] >> 56 == CFS_TABLE_BRANCH) {
		struct cfs_branch_rec rec;
		struct trace_branch b = { .id = (uint16_t)cur.key.w[0] };

		r = cfs_branch_rec_unpack(cur.value, cur.value_bytes, &rec,
					  err);
		b.parent = (uint16_t)rec.parent;
		b.fork_stamp = rec.fork_stamp;
		if (r == 0 && cfs_vec_push(&t->branches, b) < 0)
			r = cfs_err_set(err, -ENOMEM, "out of memory");
		if (r == 0)
			r = cfs_cursor_next(&cur, err);
	}
	cfs_container_unlock(c);
	return r == -ENOENT ? 0 : r;
}

static int load(struct tracer *t, struct cfs_member *m, struct cfs_err *err)
{
	int r;

	if (t->m == m)
		return 0;
	cfs_tracer_forget(t);
	t->m = m;
	r = cfs_volume_each(m, add_volume, t, err);
	if (r == 0)
		r = add_branches(t, err);
	if (r < 0)
		cfs_tracer_forget(t);
	return r;
}

/* ---- who sees it --------------------------------------------------------- */

static const struct trace_branch *branch_of(const struct tracer *t, uint16_t id)
{
	for (size_t i = 0; i < t->branches.count; i++)
		if (t->branches.items[i].id == id)
			return &t->branches.items[i];
	return NULL;
}

struct version {
	uint16_t branch;
	uint64_t ino, offset, vaddr;
	uint64_t birth, death;
};

/* Was @branch, or an ancestor of it, forked from the version's in its time? */
static bool descends(const struct tracer *t, uint16_t branch,
		     const struct version *v)
{
	const struct trace_branch *b = branch_of(t, branch);

	for (size_t depth = 0; b && b->parent && depth <= t->branches.count;
	     depth++) {
		if (b->parent == v->branch)
			return b->fork_stamp >= v->birth &&
			       b->fork_stamp < v->death;
		b = branch_of(t, b->parent);
	}
	return false;
}

static bool view_sees(const struct tracer *t, uint16_t branch, uint64_t stamp,
		      const struct version *v)
{
	const struct cfs_view view = { t->m->container, branch, stamp };
	struct cfs_look look;
	int r;

	if (branch == v->branch && stamp != CFS_STAMP_HEAD)
		return stamp >= v->birth && stamp < v->death;
	if (branch != v->branch && !descends(t, branch, v))
		return false;
	cfs_container_lock(t->m->container);
	r = cfs_look_block(&view, v->ino, v->offset, &look, NULL);
	cfs_container_unlock(t->m->container);
	return r == 0 && look.vaddr == v->vaddr;
}

/* One volume, if its head or a snapshot sees the version.  1: told. */
static int tell_volume(struct tracer *t, size_t index, const struct version *v,
		       struct cfs_err *err)
{
	const struct trace_volume *vol = &t->volumes.items[index];
	struct cfs_view view = { .container = NULL };
	struct cfs_damage *d = t->now;
	int r;

	t->names.count = 0;
	for (size_t i = 0; i < t->snapshots.count; i++) {
		const struct trace_snapshot *s = &t->snapshots.items[i];

		if (s->volume != index || !view_sees(t, s->branch, s->stamp, v))
			continue;
		view = (struct cfs_view){ t->m->container, s->branch,
					  s->stamp };
		if (cfs_vec_reserve(&t->names, CFS_NAME_BYTES) < 0)
			return cfs_err_set(err, -ENOMEM, "out of memory");
		memcpy(t->names.items + t->names.count, s->name,
		       CFS_NAME_BYTES);
		t->names.count += CFS_NAME_BYTES;
	}
	if (view_sees(t, (uint16_t)vol->rec.head_branch, CFS_STAMP_HEAD, v))
		cfs_volume_view(t->m, &vol->rec, &view);
	if (!view.container)
		return 0;
	cfs_heal_volume_name(t->m, &vol->rec, d->volume);
	d->has_path = vol->rec.kind == CFS_VOLUME_TREE;
	d->path[0] = '\0';
	/* Nothing may name it any more, or the way there may be damaged. */
	if (d->has_path &&
	    !cfs_heal_path(&view, &vol->rec, v->ino, d->path, sizeof(d->path)))
		(void)snprintf(d->path, sizeof(d->path), "inode %llu",
			       (unsigned long long)v->ino);
	d->offset_bytes = v->offset * CFS_BLOCK_BYTES;
	r = emit(t);
	return r == 0 ? 1 : r;
}

static int tell_data(struct tracer *t, const struct trace_place *p,
		     struct cfs_err *err)
{
	struct version v = {
		.branch = p->tag.branch,
		.ino = p->tag.ino,
		.offset = p->tag.offset,
		.vaddr = p->vaddr,
		.birth = p->tag.stamp,
		.death = UINT64_MAX,
	};
	bool was_told = false;
	int r = load(t, p->m, NULL);

	if (r == 0) {
		cfs_container_lock(p->m->container);
		r = cfs_look_version(p->m->container, v.branch, v.ino, v.offset,
				     v.vaddr, p->tag.stamp, p->tag.seq,
				     &v.death, NULL);
		cfs_container_unlock(p->m->container);
	}
	if (r == -ENOMEM)
		return cfs_err_set(err, r, "out of memory");
	/* Where the map is damaged the tag alone has to do; what nothing names
	 * is told as the container's. */
	for (size_t i = 0; r != -ENOENT && i < t->volumes.count; i++) {
		int r2 = tell_volume(t, i, &v, err);

		if (r2 < 0)
			return r2;
		was_told |= r2 == 1;
	}
	if (was_told)
		return 0;
	t->names.count = 0;
	t->now->volume[0] = t->now->path[0] = '\0';
	t->now->has_path = false;
	if (r == -ENOENT && !p->cause[0])
		t->now->kind = "free";
	return emit(t);
}

int cfs_tracer_tell(struct tracer *t, const struct trace_place *p,
		    struct cfs_err *err)
{
	const struct cfs_devset *set = cfs_pool_devset(t->pool);
	struct cfs_damage *d = t->now;

	d->kind = p->kind;
	d->cause = p->cause;
	(void)snprintf(d->device, sizeof(d->device), "%s",
		       cfs_devset_path(set, p->device_index));
	d->device_index = p->device_index;
	d->device_offset_bytes = p->device_offset_bytes;
	(void)snprintf(d->container, sizeof(d->container), "%s",
		       p->m ? p->m->rec.name : "");
	d->volume[0] = d->path[0] = '\0';
	d->has_path = false;
	d->offset_bytes = 0;
	d->length_bytes = p->length_bytes;
	d->is_healed = p->is_healed;
	t->names.count = 0;
	if (p->m && strcmp(p->kind, "data") == 0)
		return tell_data(t, p, err);
	return emit(t);
}
