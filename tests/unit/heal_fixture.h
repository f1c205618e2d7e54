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
#include "tree/hooks.h"
#include "tree/repair.h"
#include "volume/data.h"
#include "volume/fs_open.h"
#include "volume/volume.h"

#define HEAL_BLOCK 4096u

struct heal_pool {
	struct cfs_devset *set;
	struct cfs_place roots[CFS_ROOT_PLACES_MAX];
	struct cfs_pool *pool;
	uint32_t epoch;
	struct cfs_member *lun, *tree;
};

#define HEAL_OK(expr)                                                          \
	do {                                                                   \
		struct cfs_err err_ = CFS_ERR_INIT;                            \
		int r_ = (expr);                                               \
		if (r_ < 0)                                                    \
			fail_msg("%s: %d: %s", #expr, r_, err_.msg);           \
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
static inline struct heal_pool heal_new_of(bool is_mirror,
					   uint64_t device_bytes,
					   uint64_t lun_bytes)
{
	const struct cfs_pool_options opt = { .name = "heal" };
	struct heal_pool h = { .epoch = 0 };
	struct cfs_err err = CFS_ERR_INIT;

	h.set = pool_fixture_mem(is_mirror ? 2 : 1, device_bytes,
				 is_mirror ? CFS_POOL_FLAG_MIRROR : 0, &err);
	if (!h.set)
		fail_msg("%s", err.msg);
	HEAL_OK(cfs_pool_make(h.set, &opt, h.roots, &err_));
	heal_open(&h, true);
	HEAL_OK(cfs_pool_container_make(h.pool, "lun", CFS_VOLUME_LUN, 0,
					CFS_OBJECT_LIVE, &h.lun, &err_));
	HEAL_OK(cfs_volume_make_first(h.lun, CFS_VOLUME_LUN, lun_bytes, &err_));
	HEAL_OK(cfs_pool_container_make(h.pool, "tree", CFS_VOLUME_TREE, 0,
					CFS_OBJECT_LIVE, &h.tree, &err_));
	HEAL_OK(cfs_volume_make_first(h.tree, CFS_VOLUME_TREE, 0, &err_));
	return h;
}

static inline struct heal_pool heal_new(bool is_mirror, uint64_t lun_bytes)
{
	return heal_new_of(is_mirror, POOL_FIXTURE_BYTES, lun_bytes);
}

static inline void heal_free(struct heal_pool *h)
{
	if (h->pool)
		heal_close(h);
	cfs_devset_close(h->set);
}

/* ---- data --------------------------------------------------------------- */

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
	HEAL_OK(cfs_data_write(m->container, (uint16_t)rec.head_branch, rec.ino,
			       block * HEAL_BLOCK, buf,
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

/*
 * As if the set of snapshots that this one belongs to had been broken off: a
 * record about it in container 0, past all that would keep it right.
 */
static inline void heal_put_snapset(struct heal_pool *h, uint64_t container,
				    uint64_t branch, uint64_t stamp,
				    uint32_t count)
{
	const struct cfs_key key = { {
		cfs_table_word(CFS_TABLE_SNAPSET, container),
		branch,
		stamp,
	} };
	const struct cfs_snapset_rec rec = { .begun_ns = 1, .count = count };
	struct cfs_container *c0 = cfs_pool_container0(h->pool);
	struct cfs_snapset_rec_disk disk;

	cfs_snapset_rec_pack(&rec, &disk);
	cfs_container_lock(c0);
	HEAL_OK(cfs_tree_put(cfs_container_tree(c0, CFS_TREE_TABLE), &key,
			     &disk, sizeof(disk), NULL, &err_));
	cfs_container_unlock(c0);
	HEAL_OK(cfs_container_commit(c0, &err_));
}

static inline void heal_break_off(struct heal_pool *h, struct cfs_member *m,
				  const char *name)
{
	struct cfs_snapshot_rec rec;
	uint64_t stamp;

	HEAL_OK(cfs_snapshot_find(m, CFS_VOLUME_FIRST, name, &stamp, &rec,
				  &err_));
	heal_put_snapset(h, m->id, rec.branch, stamp, 2);
}

static inline bool heal_has_snapshot(struct cfs_member *m, const char *name)
{
	struct cfs_snapshot_rec rec;
	uint64_t stamp;

	return cfs_snapshot_find(m, CFS_VOLUME_FIRST, name, &stamp, &rec,
				 NULL) == 0;
}

/* Is the index of snapshots' names what they are looked for in? */
static inline bool heal_names_are_whole(struct cfs_member *m)
{
	bool is;

	cfs_container_lock(m->container);
	is = cfs_container_names_are_whole(m->container);
	cfs_container_unlock(m->container);
	return is;
}

/* ---- what check and scrub say ------------------------------------------- */

#define HEAL_SEEN_MAX 256u

struct heal_seen {
	size_t count;
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

struct heal_found {
	char kind[16], cause[16], container[64], volume[64], path[256];
	bool is_healed, has_path;
	uint64_t offset_bytes, length_bytes, device_offset_bytes;
	uint32_t device_index;
	size_t snapshot_count;
	char snapshots[8][128];
};

struct heal_damage {
	size_t count;
	struct heal_found found[HEAL_SEEN_MAX];
	struct cfs_scrub_result result;
};

static inline int heal_find(void *arg, const struct cfs_damage *d)
{
	struct heal_damage *all = arg;
	struct heal_found *f = &all->found[all->count % HEAL_SEEN_MAX];

	all->count++;
	memset(f, 0, sizeof(*f));
	(void)snprintf(f->kind, sizeof(f->kind), "%s", d->kind);
	(void)snprintf(f->cause, sizeof(f->cause), "%s", d->cause);
	(void)snprintf(f->container, sizeof(f->container), "%.60s",
		       d->container);
	(void)snprintf(f->volume, sizeof(f->volume), "%.60s", d->volume);
	(void)snprintf(f->path, sizeof(f->path), "%.250s", d->path);
	f->is_healed = d->is_healed;
	f->has_path = d->has_path;
	f->offset_bytes = d->offset_bytes;
	f->length_bytes = d->length_bytes;
	f->device_index = d->device_index;
	f->device_offset_bytes = d->device_offset_bytes;
	f->snapshot_count = d->snapshot_count;
	for (size_t i = 0; i < d->snapshot_count && i < 8; i++)
		memcpy(f->snapshots[i], d->snapshots[i], 128);
	return 0;
}

static inline struct heal_damage *heal_scrub_with(
	struct heal_pool *h, const struct cfs_scrub_options *opt)
{
	struct heal_damage *all = calloc(1, sizeof(*all));
	const struct cfs_scrub_calls calls = { .each = heal_find, .arg = all };

	assert_non_null(all);
	HEAL_OK(cfs_pool_scrub(h->pool, NULL, opt, &calls, &all->result,
			       &err_));
	return all;
}

static inline struct heal_damage *heal_scrub(struct heal_pool *h)
{
	const struct cfs_scrub_options opt = { .heals = true };

	return heal_scrub_with(h, &opt);
}

static inline void heal_print(const struct heal_damage *all)
{
	for (size_t i = 0; i < all->count && i < HEAL_SEEN_MAX; i++)
		print_message("# %s %s in %s, %s %s at %llu, %s\n",
			      all->found[i].kind, all->found[i].cause,
			      all->found[i].container, all->found[i].volume,
			      all->found[i].path,
			      (unsigned long long)all->found[i].offset_bytes,
			      all->found[i].is_healed ? "healed" : "left");
}

static inline void heal_scrub_clean(struct heal_pool *h)
{
	struct heal_damage *all = heal_scrub(h);

	heal_print(all);
	assert_int_equal(all->count, 0);
	assert_int_equal(all->result.bad_blocks, 0);
	free(all);
}

/* ---- places, and doing damage to them ----------------------------------- */

/* Turn over some bits of the block at a piece of an address. */
static inline void heal_hurt(struct heal_pool *h, struct cfs_container *c,
			     uint64_t vaddr, unsigned int piece)
{
	uint32_t device;
	uint64_t offset;
	uint8_t block[HEAL_BLOCK];
	struct cfs_dev *dev;

	assert_true(cfs_metavolume_locate(cfs_container_metavolume(c), vaddr,
					  piece, &device, &offset));
	dev = cfs_devset_dev(h->set, device);
	HEAL_OK(cfs_dev_read(dev, offset, block, sizeof(block), &err_));
	for (size_t i = 200; i < 260; i++)
		block[i] ^= 0x5a;
	HEAL_OK(cfs_dev_write(dev, offset, block, sizeof(block), &err_));
}

/* The nth block in use whose tag has this type, and inode if that is not 0. */
static inline uint64_t heal_block(struct cfs_container *c, uint8_t type,
				  uint64_t ino, unsigned int nth,
				  struct cfs_tag *ret_tag)
{
	struct cfs_metavolume *mv = cfs_container_metavolume(c);
	const struct cfs_slice_geometry *geo = cfs_metavolume_geometry(mv);
	struct cfs_tag tag = { 0 };
	uint64_t found = 0;

	cfs_container_lock(c);
	for (uint64_t l = 0; !found && l < cfs_metavolume_end(mv); l++) {
		for (uint32_t i = 0; !found && i < geo->data_count; i++) {
			uint32_t block = geo->data_start + i;
			uint32_t at = cfs_geometry_index(geo, block);
			uint64_t used[2];

			if (cfs_repair_used(c, l,
					    cfs_geometry_group(geo, block),
					    used, NULL) < 0 ||
			    !(used[at / 64] >> (at % 64) & 1) ||
			    cfs_block_tag(cfs_container_blocks(c),
					  cfs_vaddr(l, block), &tag,
					  NULL) < 0 ||
			    tag.type != type || (ino && tag.ino != ino))
				continue;
			if (nth-- > 0)
				continue;
			found = cfs_vaddr(l, block);
		}
	}
	cfs_container_unlock(c);
	assert_int_not_equal(found, 0);
	if (ret_tag)
		*ret_tag = tag;
	return found;
}

/* A slot of the tag page that has the tag of @vaddr. */
static inline uint64_t heal_tag_page(struct cfs_container *c, uint64_t vaddr,
				     bool is_newest)
{
	struct cfs_metavolume *mv = cfs_container_metavolume(c);
	const struct cfs_slice_geometry *geo = cfs_metavolume_geometry(mv);
	uint32_t group = cfs_geometry_group(geo, cfs_vaddr_block(vaddr));
	struct cfs_group *g = calloc(1, sizeof(*g));
	unsigned int slot;

	assert_non_null(g);
	HEAL_OK(cfs_group_load(cfs_container_blocks(c), cfs_vaddr_lslice(vaddr),
			       group, g, &err_));
	slot = (unsigned int)(g->seq & 1) ^ !is_newest;
	free(g);
	return cfs_vaddr(cfs_vaddr_lslice(vaddr),
			 cfs_geometry_tags_block(geo, group, slot));
}

/* A file of a tree's root directory. */
static inline uint64_t heal_file(struct cfs_member *m, const char *name,
				 uint32_t blocks, uint64_t seed)
{
	struct cfs_volume_rec rec = heal_volume(m);
	size_t bytes = (size_t)blocks * HEAL_BLOCK, done;
	uint8_t *buf = malloc(bytes);
	struct cfs_view view;
	struct cfs_fs *fs;
	uint64_t ino;

	assert_non_null(buf);
	heal_fill(buf, bytes, seed);
	cfs_volume_view(m, &rec, &view);
	HEAL_OK(cfs_fs_open(&view, rec.ino, rec.hash_seed, &fs, &err_));
	HEAL_OK(cfs_fs_create(fs, rec.ino, name, strlen(name), 0644, 0, 0, &ino,
			      &err_));
	HEAL_OK(cfs_fs_write(fs, ino, 0, buf, bytes, &done, &err_));
	cfs_fs_close(fs);
	HEAL_OK(cfs_container_commit(m->container, &err_));
	free(buf);
	return ino;
}
