/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A pool on memory devices with a LUN and a tree in it, for tests of check,
 * scrub, trace and rebuild.  Damage is done to the devices themselves, behind
 * the back of the library.  Include after <cmocka.h>.
 */
#pragma once

#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "heal/check.h"
#include "heal/scrub.h"
#include "heal/trace.h"
#include "pool_fixture.h"
#include "volume/data.h"
#include "volume/fs.h"
#include "volume/volume.h"

#define HEAL_BLOCK	4096u

struct heal_pool {
	struct cfs_devset *set;
	struct cfs_place roots[CFS_ROOT_PLACES_MAX];
	struct cfs_pool	*pool;
	uint32_t	epoch;
	struct cfs_member *lun, *tree;
};

#define HEAL_OK(expr) do {						\
	struct cfs_err err_ = CFS_ERR_INIT;				\
	int r_ = (expr);						\
	if (r_ < 0)							\
		fail_msg("%s: %d: %s", #expr, r_, err_.msg);		\
} while (0)

static inline void heal_open(struct heal_pool *h, bool was_clean)
{
	const struct cfs_pool_options opt = { .was_clean = was_clean };

	HEAL_OK(cfs_pool_open(h->set, ++h->epoch, h->roots, &opt, &h->pool,
			      &err_));
}

static inline void heal_members(struct heal_pool *h)
{
	HEAL_OK(cfs_pool_member(h->pool, "lun", &h->lun, &err_));
	HEAL_OK(cfs_pool_member(h->pool, "tree", &h->tree, &err_));
}

static inline void heal_close(struct heal_pool *h)
{
	HEAL_OK(cfs_pool_close(h->pool, &err_));
	h->pool = NULL;
	h->lun = h->tree = NULL;
}

static inline void heal_reopen(struct heal_pool *h)
{
	heal_close(h);
	heal_open(h, true);
	heal_members(h);
}

/* Pool and containers; nothing is written yet. */
static inline struct heal_pool heal_new(bool is_mirror, uint64_t lun_bytes)
{
	const struct cfs_pool_options opt = { .name = "heal" };
	struct heal_pool h = { .epoch = 0 };
	struct cfs_err err = CFS_ERR_INIT;

	h.set = pool_fixture_mem(is_mirror ? 2 : 1, POOL_FIXTURE_BYTES,
				 is_mirror ? CFS_POOL_FLAG_MIRROR : 0, &err);
	if (!h.set)
		fail_msg("%s", err.msg);
	HEAL_OK(cfs_pool_make(h.set, &opt, h.roots, &err_));
	heal_open(&h, true);
	HEAL_OK(cfs_pool_container_make(h.pool, "lun", CFS_VOLUME_LUN, 0,
					CFS_OBJECT_LIVE, &h.lun, &err_));
	HEAL_OK(cfs_volume_make_first(h.lun, CFS_VOLUME_LUN, lun_bytes,
				      &err_));
	HEAL_OK(cfs_pool_container_make(h.pool, "tree", CFS_VOLUME_TREE, 0,
					CFS_OBJECT_LIVE, &h.tree, &err_));
	HEAL_OK(cfs_volume_make_first(h.tree, CFS_VOLUME_TREE, 0, &err_));
	return h;
}

static inline void heal_free(struct heal_pool *h)
{
	if (h->pool)
		heal_close(h);
	cfs_devset_close(h->set);
}

/* ---- data ------------------------------------------------------------------ */

static inline void heal_fill(uint8_t *buf, size_t bytes, uint64_t seed)
{
	struct cfs_rng rng;

	cfs_rng_init(&rng, seed);
	cfs_rng_fill(&rng, buf, bytes);
}

static inline struct cfs_volume_rec heal_volume(struct cfs_member *m)
{
	struct cfs_volume_rec rec;

	HEAL_OK(cfs_volume_get(m, CFS_VOLUME_FIRST, &rec, &err_));
	return rec;
}

/* Blocks of a LUN, filled from @seed; durable. */
static inline void heal_write(struct cfs_member *m, uint64_t block,
			      uint32_t count, uint64_t seed)
{
	struct cfs_volume_rec rec = heal_volume(m);
	uint8_t *buf = malloc((size_t)count * HEAL_BLOCK);

	assert_non_null(buf);
	heal_fill(buf, (size_t)count * HEAL_BLOCK, seed);
	HEAL_OK(cfs_op_begin(m->container, CFS_OP_NORMAL, &err_));
	HEAL_OK(cfs_data_write(m->container, (uint16_t)rec.head_branch,
			       rec.ino, block * HEAL_BLOCK, buf,
			       (size_t)count * HEAL_BLOCK, &err_));
	cfs_op_end(m->container);
	HEAL_OK(cfs_container_commit(m->container, &err_));
	free(buf);
}

/* 0 if the blocks are as heal_write has filled them; else an errno. */
static inline int heal_read(struct cfs_member *m, uint64_t block,
			    uint32_t count, uint64_t seed)
{
	struct cfs_volume_rec rec = heal_volume(m);
	size_t bytes = (size_t)count * HEAL_BLOCK;
	uint8_t *buf = malloc(2 * bytes);
	struct cfs_view view;
	int r;

	assert_non_null(buf);
	heal_fill(buf + bytes, bytes, seed);
	cfs_volume_view(m, &rec, &view);
	cfs_container_lock(m->container);
	r = cfs_data_read(&view, rec.ino, block * HEAL_BLOCK, buf, bytes, NULL,
			  NULL);
	cfs_container_unlock(m->container);
	if (r == 0 && memcmp(buf, buf + bytes, bytes) != 0)
		r = -EBADMSG;
	free(buf);
	return r;
}

static inline void heal_snapshot(struct cfs_member *m, const char *name)
{
	const struct cfs_snapshot_name snap = { m, CFS_VOLUME_FIRST, name };

	HEAL_OK(cfs_snapshot_take(&snap, 1, NULL, &err_));
}

/* ---- what check and scrub say ----------------------------------------------- */

#define HEAL_SEEN_MAX	256u

struct heal_seen {
	size_t		count;
	struct cfs_problem problems[HEAL_SEEN_MAX];
};

static inline int heal_see(void *arg, const struct cfs_problem *p)
{
	struct heal_seen *seen = arg;

	if (seen->count < HEAL_SEEN_MAX)
		seen->problems[seen->count] = *p;
	seen->count++;
	return 0;
}

static inline struct heal_seen *heal_check(struct heal_pool *h)
{
	struct heal_seen *seen = calloc(1, sizeof(*seen));
	const struct cfs_check_options opt = { .each = heal_see, .arg = seen };
	struct cfs_check_result result;

	assert_non_null(seen);
	HEAL_OK(cfs_pool_check(h->pool, &opt, &result, &err_));
	assert_int_equal(result.problems, seen->count);
	return seen;
}

static inline void heal_check_clean(struct heal_pool *h)
{
	struct heal_seen *seen = heal_check(h);

	for (size_t i = 0; i < seen->count && i < 10; i++)
		print_message("# %s %s%s: %s\n", seen->problems[i].kind,
			      seen->problems[i].container,
			      seen->problems[i].path, seen->problems[i].text);
	assert_int_equal(seen->count, 0);
	free(seen);
}

static inline bool heal_has(const struct heal_seen *seen, const char *kind)
{
	for (size_t i = 0; i < seen->count && i < HEAL_SEEN_MAX; i++)
		if (strcmp(seen->problems[i].kind, kind) == 0)
			return true;
	return false;
}
