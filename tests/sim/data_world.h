/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The world of data.c: who there is, what may be found in each block, and how
 * clients come, are sealed and die.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../unit/shared_fixture.h"
#include "../unit/client_fixture.h"
#include "sim_engine.h"

#define PARTS       6u
#define PART_BLOCKS 40u
#define BLOCKS      (PARTS * PART_BLOCKS)
#define CLIENTS     3u
#define OWNER       CLIENTS        /* as the holder of a part */
#define NOBODY      (CLIENTS + 1u) /* it is being passed */
#define PENDING_MAX 64u
#define MANAGERS    4u
#define ZOMBIES     24u
#define NO_DEVICE   UINT32_MAX

enum counter {
	COUNT_WRITE,
	COUNT_SYNC,
	COUNT_FOLD,
	COUNT_PASS,
	COUNT_SEAL,
	COUNT_TAKEOVER,
	COUNT_STOP,
	COUNT_WAKE,
	COUNT_LATE,
	COUNT_ZOMBIE,
	COUNT_GONE,
	COUNT_REFUSED,
	COUNT_FULL,
	COUNT_CHURN,
};

/* What may stand in a block: seeds of contents, 0 is zeroes. */
struct cell {
	uint64_t acked;
	uint64_t pending[PENDING_MAX];
	unsigned int count;
};

struct writer { /* a client's process */
	struct client cl;
	struct gate_world w;
	struct cfs_devset *set;
	struct cfs_dev *gates[SHARED_DEVICES_MAX];
	bool is_open, is_busy, is_sealed;
};

struct boss { /* a host that holds the pool */
	struct manager m;
	struct gate_world w;
	struct cfs_member *lun;
	char name[8];
	bool is_busy, is_open;
};

struct data_world {
	struct sim *sim;
	struct shared_pool p;
	struct boss bosses[MANAGERS];
	unsigned int boss; /* the present one */
	uint64_t ino;
	struct writer *clients[CLIENTS];
	struct writer *zombies[ZOMBIES];
	unsigned int zombie_count;
	unsigned int holder[PARTS];
	struct cell cells[BLOCKS];
	uint64_t next;
	unsigned int depth, left; /* steps */
	jmp_buf out;
};

static struct data_world *world; /* of the seed under way */
static struct cfs_err why;       /* the last failure */

static uint64_t below(uint64_t n)
{
	return sim_below(world->sim, n);
}

#define MUST(cond, ...)                                                        \
	do {                                                                   \
		if (!(cond)) {                                                 \
			sim_fail(world->sim, __VA_ARGS__);                     \
			longjmp(world->out, 1);                                \
		}                                                              \
	} while (0)

#define say(...) sim_say(world->sim, __VA_ARGS__)

static void count(enum counter counter)
{
	world->sim->counters[counter]++;
}

static struct boss *boss(void)
{
	return &world->bosses[world->boss];
}

static struct cfs_container *owner(void)
{
	return boss()->lun->container;
}

/* ---- what may be found ----------------------------------------------------
 */

static void content(uint64_t seed, uint8_t *buf)
{
	memset(buf, 0, HEAL_BLOCK);
	if (seed)
		heal_fill(buf, HEAL_BLOCK, seed);
}

static bool shows(const uint8_t *buf, uint64_t seed)
{
	uint8_t want[HEAL_BLOCK];

	content(seed, want);
	return memcmp(buf, want, HEAL_BLOCK) == 0;
}

static void acked(unsigned int who)
{
	for (unsigned int i = 0; i < BLOCKS; i++) {
		struct cell *at = &world->cells[i];

		if (world->holder[i / PART_BLOCKS] != who || !at->count)
			continue;
		at->acked = at->pending[at->count - 1];
		at->count = 0;
	}
}

/*
 * Parts of @who as @c shows them.  @is_new: to a new holder, who knows nothing
 * of what was not synced; else it is exactly as it was written.
 */
static void look(struct cfs_container *c, unsigned int who, bool is_new)
{
	static uint8_t buf[PART_BLOCKS * HEAL_BLOCK];
	struct cfs_err err = CFS_ERR_INIT;

	for (unsigned int i = 0; i < BLOCKS; i++) {
		struct cell *at = &world->cells[i];
		const uint8_t *got = buf +
				     (size_t)(i % PART_BLOCKS) * HEAL_BLOCK;
		bool is_found;
		int r;

		if (world->holder[i / PART_BLOCKS] != who)
			continue;
		if (i % PART_BLOCKS == 0) {
			r = client_read(c, CFS_STAMP_HEAD, world->ino,
					(uint64_t)i * HEAL_BLOCK, buf,
					sizeof(buf), &err);
			MUST(r == 0, "part %u cannot be read: %s",
			     i / PART_BLOCKS, err.msg);
		}
		is_found = shows(got, at->count && !is_new
					      ? at->pending[at->count - 1]
					      : at->acked);
		for (unsigned int k = 0; is_new && !is_found && k < at->count;
		     k++) {
			is_found = shows(got, at->pending[k]);
			if (is_found)
				at->acked = at->pending[k];
		}
		MUST(is_found,
		     "block %u of %u is not %llu, and none of %u "
		     "written since",
		     i, who, (unsigned long long)at->acked, at->count);
		if (is_new)
			at->count = 0;
	}
}

/* ---- clients --------------------------------------------------------------
 */

static void world_goes_on(void *arg);

static struct writer *writer_new(void)
{
	const struct cfs_devset_options opt = { .is_writable = true };
	struct writer *wr = calloc(1, sizeof(*wr));
	struct cfs_dev *list[SHARED_DEVICES_MAX];

	assert_non_null(wr);
	wr->w.hook = world_goes_on;
	wr->w.arg = wr;
	cfs_rng_init(&wr->w.rng, cfs_rng_u64(&world->sim->rng));
	for (unsigned int i = 0; i < world->p.devices; i++) {
		HEAL_OK(cfs_sim_dev_open(world->p.sim, i, &list[i], &err_));
		list[i] = wr->gates[i] = gate_new(&wr->w, list[i]);
	}
	HEAL_OK(cfs_devset_from_devices(list, world->p.devices, &opt, &wr->set,
					&err_));
	return wr;
}

/* Whoever was about to stand still does not. */
static void disarm(struct gate_world *w)
{
	w->stop_at = 0;
	w->is_holding = false;
	(void)gate_release(w);
}

static bool take_over(void);

/* In the place of another that is no client any more. */
static void client_begin(unsigned int i)
{
	const struct cfs_client_identity who = { .host = "c", .pid = 7 + i };
	struct writer *wr = writer_new();
	struct cfs_client_config config = {
		.source = &client_source,
		.source_ctx = &wr->cl,
		.is_checked = true,
	};
	CFS_CLEANUP(cfs_client_view_donep)
	struct cfs_client_view view = { .smap = NULL };
	struct cfs_err err = CFS_ERR_INIT;
	int r;

	world->clients[i] = wr;
	if (boss()->w.has_stopped)
		(void)take_over();
	disarm(&boss()->w);
	wr->cl.owner = owner();
	r = cfs_container_client_make(owner(), &who, 64, &wr->cl.id,
				      &wr->cl.rec, &err);
	config.client_id = wr->cl.id;
	config.rec = wr->cl.rec;
	if (r == 0)
		r = client_view(&wr->cl, 0, &view, &err);
	if (r == 0)
		r = cfs_client_member_open(wr->set, &config, &view, 1u << 20,
					   &wr->cl.m, &err);
	MUST(r == 0, "a client cannot begin: %s", err.msg);
	wr->cl.c = wr->cl.m->container;
	wr->is_open = true;
	say("client %u begins: %llu", i, (unsigned long long)wr->cl.id);
}

/* Its process ends; what it had written may land later. */
static void writer_kill(struct writer *wr)
{
	if (wr->is_open)
		cfs_client_member_drop(wr->cl.m);
	wr->is_open = false;
}

static void writer_free(struct writer *wr)
{
	writer_kill(wr);
	cfs_devset_close(wr->set);
	for (unsigned int i = 0; i < world->p.devices; i++)
		gate_free(wr->gates[i]);
	for (size_t i = 0; i < wr->w.late_count; i++)
		free(wr->w.late[i].data);
	free(wr);
}

/* Client @i is silent: what it had becomes the owner's, and another begins. */
static void expire(unsigned int i)
{
	struct writer *wr = world->clients[i];
	const unsigned int me = world->boss;
	const bool was_busy = wr->is_busy;
	struct cfs_err err = CFS_ERR_INIT;
	int r;

	say("client %u is sealed: %llu", i, (unsigned long long)wr->cl.id);
	boss()->is_busy = true;
	wr->is_busy = true;
	r = cfs_container_client_seal(owner(), wr->cl.id, false, NULL, &err);
	wr->is_busy = was_busy;
	world->bosses[me].is_busy = false;
	/* Who stood still and wakes up under another owner has no say. */
	if (me != world->boss) {
		MUST(r < 0, "one that was taken over seals a client");
		if (!wr->is_sealed)
			expire(i);
		return;
	}
	if (r < 0 && boss()->w.has_stopped) {
		if (take_over() && !wr->is_sealed)
			expire(i);
		return;
	}
	MUST(r == 0, "a client cannot be sealed: %s", err.msg);
	count(COUNT_SEAL);
	wr->is_sealed = true;
	wr->cl.has_expired = below(2);
	MUST(world->zombie_count < ZOMBIES, "too many zombies");
	world->zombies[world->zombie_count++] = wr;
	look(owner(), i, true);
	for (unsigned int p = 0; p < PARTS; p++)
		if (world->holder[p] == i)
			world->holder[p] = OWNER;
	client_begin(i);
}

static bool is_usable(unsigned int i)
{
	return !world->clients[i]->is_busy && !world->clients[i]->is_sealed;
}

/* Something that @wr did failed: it is dead, or it has no owner. */
static void client_failed(unsigned int i, struct writer *wr, int r)
{
	say("client %u: %d: %s", i, r, why.msg);
	wr->is_busy = false;
	if (!wr->is_sealed) {
		MUST(wr->w.has_stopped || r == -ESTALE || r == -EROFS ||
			     r == -EIO || r == -ENOSPC,
		     "client %u is well and fails: %d: %s", i, r, why.msg);
		if (r == -ENOSPC)
			count(COUNT_FULL);
		else
			count(COUNT_REFUSED);
		expire(i);
	}
}
