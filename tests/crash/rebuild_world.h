/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A pool with one LUN, its snapshots and clones, and beside it a plain model
 * of every head and snapshot: each call here changes both.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/rng.h"
#include "device/device.h"
#include "heal/scrub.h"
#include "pool/devset.h"
#include "pool/holder.h"
#include "volume/data.h"
#include "volume/volume.h"

#include "rebuild_lose.h"

#define SIZE_MAX_BYTES (512u << 10)
#define DEVICE_BYTES   (UINT64_C(64) << 20)
#define VOLUMES_MAX    6u
#define SNAPS_MAX      24u

/* ---- the model ---------------------------------------------------------- */

struct model_volume {
	bool is_there;
	uint64_t id;
	int origin; /* volume, or -1 */
	char origin_snap[16];
	char name[16];
	uint64_t size;
	uint8_t *data;
};

struct model_snap {
	bool is_there;
	unsigned int volume;
	char name[16];
	uint64_t size;
	uint8_t *data;
};

struct world {
	uint64_t seed;
	struct cfs_rng rng;
	bool is_mirror;
	struct cfs_devset *set;
	struct cfs_place roots[CFS_ROOT_PLACES_MAX];
	uint32_t epoch;
	struct cfs_pool *pool;
	struct cfs_member *m;
	struct model_volume volumes[VOLUMES_MAX];
	struct model_snap snaps[SNAPS_MAX];
	unsigned int next_name;
	uint64_t dropped; /* tombstones, by scrubs */
	char log[32768];  /* what was done, for a failure */
	size_t log_bytes;
	char why[700];
};

static void note(struct world *w, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
static void note(struct world *w, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(w->log + w->log_bytes, sizeof(w->log) - w->log_bytes, fmt,
		      ap);
	va_end(ap);
	if (n > 0 && (size_t)n < sizeof(w->log) - w->log_bytes)
		w->log_bytes += (size_t)n;
}

static int fail(struct world *w, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
static int fail(struct world *w, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(w->why, sizeof(w->why), fmt, ap);
	va_end(ap);
	return -1;
}

static int because(struct world *w, const char *when)
{
	char why[sizeof(w->why)];

	memcpy(why, w->why, sizeof(why));
	return fail(w, "%s: %.600s", when, why);
}

#define DO(w, expr)                                                            \
	do {                                                                   \
		struct cfs_err err = CFS_ERR_INIT;                             \
		int r_ = (expr);                                               \
		if (r_ < 0)                                                    \
			return fail(w, "%s: %d: %s", #expr, r_, err.msg);      \
	} while (0)

/* ---- the pool ----------------------------------------------------------- */

static void uuid_fill(uint8_t ret[16], uint8_t kind, uint32_t index)
{
	memset(ret, kind, 16);
	ret[15] = (uint8_t)index;
}

static int format(struct world *w)
{
	const uint32_t count = w->is_mirror ? 2 : 1;
	const struct cfs_devset_options opt = { .is_writable = true };
	const struct cfs_pool_options pool_opt = { .name = "rebuild" };
	struct cfs_dev *devices[2];

	for (uint32_t i = 0; i < count; i++) {
		struct cfs_label label = {
			.seq = 1,
			.size_bytes = DEVICE_BYTES,
			.slice_bytes = SLICE_BYTES,
			.slices_offset_bytes = CFS_SLICES_OFFSET_LOCAL,
			.slice_count = cfs_device_slice_count(
				DEVICE_BYTES, CFS_SLICES_OFFSET_LOCAL,
				SLICE_BYTES),
			.flags = w->is_mirror ? CFS_POOL_FLAG_MIRROR : 0,
			.seat_count = CFS_SEAT_COUNT_LOCAL,
			.device_index = i,
			.device_count = count,
		};

		uuid_fill(label.pool_uuid, 0xf0, 0);
		uuid_fill(label.device_uuid, 0xd0, i);
		if (count > 1)
			uuid_fill(label.hints[0].device_uuid, 0xd0, 1 - i);
		DO(w, cfs_dev_mem_new(DEVICE_BYTES, &devices[i], &err));
		DO(w, cfs_label_write(devices[i], &label, &err));
	}
	DO(w, cfs_devset_from_devices(devices, count, &opt, &w->set, &err));
	DO(w, cfs_pool_make(w->set, &pool_opt, w->roots, &err));
	DO(w, cfs_seat_format(w->set, w->roots, &err));
	return 0;
}

static int pool_open(struct world *w, bool was_clean)
{
	const struct cfs_pool_options opt = { .was_clean = was_clean };

	DO(w,
	   cfs_pool_open(w->set, ++w->epoch, w->roots, &opt, &w->pool, &err));
	return 0;
}

static int member_open(struct world *w)
{
	DO(w, cfs_pool_member(w->pool, "lun", &w->m, &err));
	DO(w, cfs_volumes_finish_work(w->m, &err));
	return 0;
}

static int pool_close(struct world *w)
{
	struct cfs_pool *pool = w->pool;

	w->pool = NULL;
	w->m = NULL;
	DO(w, cfs_pool_close(pool, &err));
	return 0;
}

static int world_begin(struct world *w, uint64_t seed)
{
	memset(w, 0, sizeof(*w));
	w->seed = seed;
	cfs_rng_init(&w->rng, seed);
	w->is_mirror = seed % 4 == 3;
	if (format(w) < 0 || pool_open(w, true) < 0)
		return -1;
	DO(w, cfs_pool_container_make(w->pool, "lun", CFS_VOLUME_LUN, 0,
				      CFS_OBJECT_LIVE, &w->m, &err));
	w->volumes[0] = (struct model_volume){
		.is_there = true,
		.id = CFS_VOLUME_FIRST,
		.origin = -1,
		.size = SIZE_MAX_BYTES / 2,
	};
	w->volumes[0].data = calloc(1, SIZE_MAX_BYTES);
	DO(w, cfs_volume_make_first(w->m, CFS_VOLUME_LUN, w->volumes[0].size,
				    &err));
	return 0;
}

static void world_end(struct world *w)
{
	if (w->pool)
		cfs_pool_drop(w->pool);
	cfs_devset_close(w->set);
	for (unsigned int i = 0; i < VOLUMES_MAX; i++)
		free(w->volumes[i].data);
	for (unsigned int i = 0; i < SNAPS_MAX; i++)
		free(w->snaps[i].data);
}

/* ---- what is done to both ----------------------------------------------- */

static uint64_t below(struct world *w, uint64_t n)
{
	return cfs_rng_below(&w->rng, n);
}

static struct model_volume *pick_volume(struct world *w)
{
	unsigned int i;

	do {
		i = (unsigned int)below(w, VOLUMES_MAX);
	} while (!w->volumes[i].is_there);
	return &w->volumes[i];
}

static struct model_snap *pick_snap(struct world *w)
{
	for (unsigned int n = 0; n < 3 * SNAPS_MAX; n++) {
		struct model_snap *s = &w->snaps[below(w, SNAPS_MAX)];

		if (s->is_there)
			return s;
	}
	return NULL;
}

static int get_volume(struct world *w, const struct model_volume *v,
		      struct cfs_volume_rec *ret)
{
	DO(w, cfs_volume_get(w->m, v->id, ret, &err));
	return 0;
}

static int do_write(struct world *w, uint64_t at, uint64_t length,
		    struct model_volume *v)
{
	struct cfs_volume_rec rec;
	uint8_t *buf = v->data + at;

	if (get_volume(w, v, &rec) < 0)
		return -1;
	note(w, "write %llu %llu+%llu\n", (unsigned long long)v->id,
	     (unsigned long long)at, (unsigned long long)length);
	cfs_rng_fill(&w->rng, buf, length);
	DO(w, cfs_op_begin(w->m->container, CFS_OP_NORMAL, &err));
	DO(w, cfs_data_write(w->m->container, (uint16_t)rec.head_branch,
			     rec.ino, at, buf, length, &err));
	cfs_op_end(w->m->container);
	return 0;
}

static int op_write(struct world *w)
{
	struct model_volume *v = pick_volume(w);
	uint64_t blocks = v->size / BLOCK, length, at;

	if (blocks == 0)
		return 0;
	switch (below(w, 8)) {
	case 0: /* a part of a block, or over its end */
		at = below(w, v->size);
		length = 1 + below(w, 6000);
		break;
	case 1: /* large: home at once */
		at = below(w, blocks) * BLOCK;
		length = (32 + below(w, 33)) * BLOCK;
		break;
	default:
		at = below(w, blocks) * BLOCK;
		length = (1 + below(w, 6)) * BLOCK;
		break;
	}
	if (length > v->size - at)
		length = v->size - at;
	return do_write(w, at, length, v);
}

/* One that is undone leaves nothing behind, in tags neither. */
static int op_abort(struct world *w)
{
	static uint8_t buf[40 * BLOCK];
	struct model_volume *v = pick_volume(w);
	struct cfs_volume_rec rec;
	uint64_t at, length = (32 + below(w, 8)) * BLOCK;

	if (get_volume(w, v, &rec) < 0)
		return -1;
	if (v->size < length)
		return 0;
	at = below(w, (v->size - length) / BLOCK + 1) * BLOCK;
	note(w, "aborted write %llu %llu+%llu\n", (unsigned long long)v->id,
	     (unsigned long long)at, (unsigned long long)length);
	cfs_rng_fill(&w->rng, buf, length);
	/* Pages that a snapshot sees would be settled: not to be undone. */
	DO(w, cfs_container_commit(w->m->container, &err));
	DO(w, cfs_op_begin(w->m->container, CFS_OP_NORMAL, &err));
	DO(w, cfs_data_write(w->m->container, (uint16_t)rec.head_branch,
			     rec.ino, at, buf, length, &err));
	cfs_op_abort(w->m->container);
	return 0;
}

static int op_punch(struct world *w)
{
	struct model_volume *v = pick_volume(w);
	struct cfs_volume_rec rec;
	uint64_t at, length;

	if (v->size == 0 || get_volume(w, v, &rec) < 0)
		return v->size == 0 ? 0 : -1;
	at = below(w, v->size);
	length = 1 + below(w, 12 * BLOCK);
	if (below(w, 2)) {
		at -= at % BLOCK;
		length = (1 + below(w, 12)) * BLOCK;
	}
	if (length > v->size - at)
		length = v->size - at;
	note(w, "punch %llu %llu+%llu\n", (unsigned long long)v->id,
	     (unsigned long long)at, (unsigned long long)length);
	memset(v->data + at, 0, length);
	DO(w, cfs_op_begin(w->m->container, CFS_OP_FREEING, &err));
	DO(w, cfs_data_punch(w->m->container, (uint16_t)rec.head_branch,
			     rec.ino, at, length, &err));
	cfs_op_end(w->m->container);
	return 0;
}

/* So many tombstones that the small tables have inner nodes. */
static int many_holes(struct world *w)
{
	struct model_volume *v = &w->volumes[0];
	struct cfs_volume_rec rec;

	if (get_volume(w, v, &rec) < 0)
		return -1;
	note(w, "many holes\n");
	for (uint64_t length = 7; length > 0; length--) {
		for (uint64_t at = 0; at < 40; at++) {
			DO(w,
			   cfs_op_begin(w->m->container, CFS_OP_NORMAL, &err));
			DO(w, cfs_data_write(w->m->container,
					     (uint16_t)rec.head_branch, rec.ino,
					     at * BLOCK, "x", 1, &err));
			DO(w, cfs_data_punch(w->m->container,
					     (uint16_t)rec.head_branch, rec.ino,
					     at * BLOCK, length * BLOCK, &err));
			cfs_op_end(w->m->container);
		}
	}
	memset(v->data, 0, 46 * BLOCK);
	return 0;
}

static int op_resize(struct world *w)
{
	struct model_volume *v = pick_volume(w);
	uint64_t size = (1 + below(w, SIZE_MAX_BYTES / BLOCK)) * BLOCK;

	note(w, "resize %llu %llu\n", (unsigned long long)v->id,
	     (unsigned long long)size);
	if (size < v->size)
		memset(v->data + size, 0, SIZE_MAX_BYTES - size);
	v->size = size;
	DO(w, cfs_volume_resize(w->m, v->id, size, &err));
	return 0;
}

static struct model_snap *new_snap(struct world *w,
				   const struct model_volume *v,
				   const char *prefix)
{
	for (unsigned int i = 0; i < SNAPS_MAX; i++) {
		struct model_snap *s = &w->snaps[i];

		if (s->is_there)
			continue;
		free(s->data);
		*s = (struct model_snap){
			.is_there = true,
			.volume = (unsigned int)(v - w->volumes),
			.size = v->size,
		};
		s->data = malloc(SIZE_MAX_BYTES);
		memcpy(s->data, v->data, SIZE_MAX_BYTES);
		(void)snprintf(s->name, sizeof(s->name), "%s%u", prefix,
			       w->next_name++);
		return s;
	}
	return NULL;
}

static int op_snapshot(struct world *w)
{
	struct model_volume *v = pick_volume(w);
	struct model_snap *s = new_snap(w, v, "s");
	struct cfs_snapshot_name name;

	if (!s)
		return 0;
	note(w, "snapshot %llu @%s\n", (unsigned long long)v->id, s->name);
	name = (struct cfs_snapshot_name){ w->m, v->id, s->name };
	DO(w, cfs_snapshot_take(&name, 1, NULL, &err));
	return 0;
}

static int op_clone(struct world *w)
{
	struct model_snap *s = pick_snap(w);
	struct model_volume *v = NULL;
	struct cfs_volume_rec rec;

	for (unsigned int i = 1; i < VOLUMES_MAX && !v; i++)
		if (!w->volumes[i].is_there)
			v = &w->volumes[i];
	if (!s || !v)
		return 0;
	free(v->data);
	*v = (struct model_volume){
		.is_there = true,
		.origin = (int)s->volume,
		.size = s->size,
	};
	memcpy(v->origin_snap, s->name, sizeof(s->name));
	(void)snprintf(v->name, sizeof(v->name), "c%u", w->next_name++);
	v->data = malloc(SIZE_MAX_BYTES);
	memcpy(v->data, s->data, SIZE_MAX_BYTES);
	note(w, "clone %llu@%s %s\n",
	     (unsigned long long)w->volumes[s->volume].id, s->name, v->name);
	DO(w, cfs_snapshot_clone(w->m, w->volumes[s->volume].id, s->name,
				 v->name, &err));
	DO(w, cfs_volume_find(w->m, v->name, &v->id, &rec, &err));
	return 0;
}

static int op_rollback(struct world *w)
{
	struct model_snap *s = pick_snap(w), *save = NULL;
	struct model_volume *v;

	if (!s)
		return 0;
	v = &w->volumes[s->volume];
	if (below(w, 2))
		save = new_snap(w, v, "r");
	note(w, "rollback %llu@%s save %s\n", (unsigned long long)v->id,
	     s->name, save ? save->name : "-");
	v->size = s->size;
	memcpy(v->data, s->data, SIZE_MAX_BYTES);
	DO(w, cfs_snapshot_rollback(w->m, v->id, s->name,
				    save ? save->name : NULL, &err));
	return 0;
}

static bool has_clones(const struct world *w, const struct model_snap *s)
{
	for (unsigned int i = 0; i < VOLUMES_MAX; i++)
		if (w->volumes[i].is_there &&
		    w->volumes[i].origin == (int)s->volume &&
		    strcmp(w->volumes[i].origin_snap, s->name) == 0)
			return true;
	return false;
}

static int op_remove_snapshot(struct world *w)
{
	struct model_snap *s = pick_snap(w);

	if (!s || has_clones(w, s))
		return 0;
	note(w, "remove %llu@%s\n",
	     (unsigned long long)w->volumes[s->volume].id, s->name);
	s->is_there = false;
	DO(w, cfs_snapshot_remove(w->m, w->volumes[s->volume].id, s->name, NULL,
				  &err));
	return 0;
}

static int op_remove_volume(struct world *w)
{
	struct model_volume *v = pick_volume(w);
	int index = (int)(v - w->volumes);

	if (index == 0)
		return 0;
	for (unsigned int i = 0; i < VOLUMES_MAX; i++)
		if (w->volumes[i].is_there && w->volumes[i].origin == index)
			return 0;
	note(w, "remove %llu\n", (unsigned long long)v->id);
	v->is_there = false;
	for (unsigned int i = 0; i < SNAPS_MAX; i++)
		if (w->snaps[i].volume == (unsigned int)index)
			w->snaps[i].is_there = false;
	DO(w, cfs_volume_remove(w->m, v->id, true, &err));
	return 0;
}

static int op_kill(struct world *w)
{
	note(w, "sync, kill\n");
	DO(w, cfs_container_sync(w->m->container, &err));
	cfs_pool_drop(w->pool);
	w->pool = NULL;
	return pool_open(w, false) < 0 ? -1 : member_open(w);
}

static int op_reopen(struct world *w)
{
	note(w, "reopen\n");
	if (pool_close(w) < 0 || pool_open(w, true) < 0)
		return -1;
	return member_open(w);
}

static int count_tombstones(struct world *w, uint64_t *ret)
{
	struct cfs_container *c = w->m->container;
	const uint64_t first = cfs_table_word(CFS_TABLE_TOMBSTONE, 0);
	struct cfs_key from = { { first, 0, 0 } };
	struct cfs_cursor cur;
	int r;

	*ret = 0;
	cfs_container_lock(c);
	r = cfs_cursor_ge(&cur, cfs_container_tree(c, CFS_TREE_TABLE), &from,
			  NULL);
	while (r == 0 && cur.key.w[0] >> 56 == first >> 56) {
		(*ret)++;
		r = cfs_cursor_next(&cur, NULL);
	}
	cfs_container_unlock(c);
	return r == 0 || r == -ENOENT ? 0 : fail(w, "tombstones: %d", r);
}

/* It drops the tombstones that nothing needs, and clears tags for that. */
static int op_scrub(struct world *w)
{
	const struct cfs_scrub_options opt = { .heals = true };
	const struct cfs_scrub_calls calls = { .each = NULL };
	struct cfs_scrub_result result;
	uint64_t before, after;

	note(w, "scrub\n");
	if (count_tombstones(w, &before) < 0)
		return -1;
	DO(w, cfs_pool_scrub(w->pool, NULL, &opt, &calls, &result, &err));
	if (result.bad_blocks > 0)
		return fail(w, "scrub: bad blocks");
	if (count_tombstones(w, &after) < 0)
		return -1;
	w->dropped += before - after;
	return 0;
}

static int one_op(struct world *w)
{
	uint64_t dice = below(w, 100);

	if (dice < 47)
		return op_write(w);
	if (dice < 50)
		return op_abort(w);
	if (dice < 63)
		return op_punch(w);
	if (dice < 66)
		return op_resize(w);
	if (dice < 76)
		return op_snapshot(w);
	if (dice < 80)
		return op_clone(w);
	if (dice < 83)
		return op_rollback(w);
	if (dice < 89)
		return op_remove_snapshot(w);
	if (dice < 91)
		return op_remove_volume(w);
	if (dice < 93)
		return op_scrub(w);
	if (dice < 96) {
		note(w, "commit\n");
		DO(w, cfs_container_commit(w->m->container, &err));
		return 0;
	}
	return dice < 98 ? op_kill(w) : op_reopen(w);
}
