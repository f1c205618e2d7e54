/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The world of delegate.c: managers, secondaries, clients; who can hear whom;
 * and what may be found in each block.
 *
 * A container is read and written in parts, each under a lease.  Whoever gets
 * one looks first: there is what was last acknowledged, or something that was
 * written since; and from then on what was seen there.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../unit/client_fixture.h"
#include "../unit/delegate_fixture.h"
#include "lease/client.h"
#include "lease/owner.h"
#include "lease/period.h"
#include "sim_engine.h"
#include "tree/container_rest.h"

#define PARTS       4u
#define PART_BLOCKS 24u
#define BLOCKS      (PARTS * PART_BLOCKS)
#define WRITERS     3u
#define PENDING_MAX 64u
#define MANAGERS    4u
#define SECONDARIES 6u
#define SERVERS     (MANAGERS + SECONDARIES)
#define WRITERS_MAX 48u
#define JOBS_MAX    64u
#define LOCAL_PEER  (UINT64_C(1) << 60)

enum counter {
	COUNT_GRANT,
	COUNT_WRITE,
	COUNT_SYNC,
	COUNT_FOLD,
	COUNT_LOOK,
	COUNT_DELEGATE,
	COUNT_RETURN,
	COUNT_HOME_GONE,
	COUNT_HOME_SILENT,
	COUNT_AGAIN,
	COUNT_RECLAIM,
	COUNT_SEAL,
	COUNT_TAKEOVER,
	COUNT_AWAY,
	COUNT_STOP,
	COUNT_LATE,
	COUNT_ZOMBIE,
	COUNT_UNBOUND,
	COUNT_OVER,
	COUNT_CRASH,
	COUNT_CUT,
	COUNT_PAUSE,
	COUNT_FAILED,
	COUNT_PLAIN,
	COUNT_LATE_GRANT,
};

/* What may stand in a block: seeds of contents, 0 is zeroes. */
struct cell {
	uint64_t acked;
	uint64_t pending[PENDING_MAX];
	unsigned int count;
};

struct node { /* a process */
	struct gate_world w;
	struct sim_clock clock;
	char name[8];
	bool is_busy;             /* in a call, somewhere below */
	bool is_still;            /* in one that does not end */
	bool is_dead;             /* nothing of it runs; writes may land */
	uint64_t paused_until_ns; /* true time */
	uint64_t out_until_ns;    /* it is cut off */
};

struct token {
	struct cfs_lease *lease;
	bool has_looked;
};

struct actor { /* who reads and writes under leases */
	struct node *node;
	struct cfs_lease_client *lc;
	struct token tokens[PARTS];
	uint64_t recalled[PARTS];
	bool is_lost;
	struct server *server; /* that it is, or NULL */
};

struct job {
	uint64_t client, lease;
	enum cfs_owner_end end;
	bool has_ended;
};

enum away { AWAY_NONE, AWAY_OUT, AWAY_COMING };

struct server { /* a manager, or a secondary */
	struct node n;
	struct actor a;
	bool is_boss, is_over; /* somebody else has what it had */
	struct manager m;
	struct cfs_devset *set;
	struct cfs_dev *gates[SHARED_DEVICES_MAX];
	struct cfs_pool *pool;
	struct cfs_member *lun; /* NULL: it is not here */
	struct cfs_owner *owner;
	struct job jobs[JOBS_MAX];
	unsigned int job_count;
	uint64_t peers; /* that were there */
	/* A secondary. */
	uint32_t epoch;
	struct cfs_lease_client *up;
	struct server *up_server;
	uint64_t up_peer, bound;
	bool is_told; /* that it is gone */
	/* A manager: where the container is. */
	enum away away;
	uint32_t away_epoch;
	uint64_t away_client, away_until_ns;
	bool away_is_gone;
};

struct writer {           /* a client */
	struct client cl; /* first: what its container asks with */
	struct node n;
	struct actor a;
	struct cfs_devset *set;
	struct cfs_dev *gates[SHARED_DEVICES_MAX];
	struct server *server; /* the connection; NULL: none */
	uint64_t peer;
	bool is_reader; /* it has no record: nobody waits for it by name */
	bool is_plain;  /* nor does it read: leases alone, as leasectl run */
	bool is_open, must_reconcile;
	unsigned int index;
};

struct delegate_world {
	struct sim *sim;
	struct shared_pool p;
	uint64_t period_ns;
	uint32_t drift_ppm;
	struct server servers[SERVERS];
	unsigned int server_count, bosses, seconds;
	struct server *boss;
	struct server *second; /* the last one that was begun, or NULL */
	uint64_t container, ino;
	struct writer *writers[WRITERS_MAX];
	unsigned int writer_count;
	struct writer *now[WRITERS];
	uint64_t pause_at_ns; /* of the secondary; 0: none is to come */
	struct cell cells[BLOCKS];
	uint64_t next;
	unsigned int depth;
	bool is_quiet;
	jmp_buf out;
};

static struct delegate_world *world; /* of the seed under way */
static struct cfs_err why;           /* the last failure */

static uint64_t below(uint64_t n)
{
	return sim_below(world->sim, n);
}

static bool one_in(uint64_t n)
{
	return sim_one_in(world->sim, n);
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

/* ---- who is there -------------------------------------------------------- */

static bool is_awake(const struct node *n)
{
	return !n->is_dead && !n->is_still && !n->w.has_stopped &&
	       n->paused_until_ns <= world->sim->now_ns;
}

static bool can_run(const struct node *n)
{
	return is_awake(n) && !n->is_busy;
}

static bool can_hear(const struct node *a, const struct node *b)
{
	return is_awake(b) && a->out_until_ns <= world->sim->now_ns &&
	       b->out_until_ns <= world->sim->now_ns;
}

static void goes_on(void *arg);

static void node_init(struct node *n, const char *kind, unsigned int number)
{
	const int64_t r = world->drift_ppm;

	(void)snprintf(n->name, sizeof(n->name), "%s%u", kind, number);
	n->w.hook = goes_on;
	n->w.arg = n;
	cfs_rng_init(&n->w.rng, cfs_rng_u64(&world->sim->rng));
	sim_clock_init(&n->clock, world->sim, 1 + below(CFS_NS_PER_S),
		       one_in(3) ? r : -r);
}

/* It may stand still in one of its next flushes. */
static void arm(struct node *n)
{
	struct gate_world *w = &n->w;

	if (world->is_quiet || w->stop_at > w->flushes || w->has_stopped ||
	    !one_in(40))
		return;
	w->stop_at = w->flushes + 1 + (unsigned int)below(5);
	w->wakes_up = one_in(3);
	w->is_holding = w->stop_at == w->flushes + 1;
}

static void disarm(struct node *n)
{
	n->w.stop_at = 0;
	n->w.is_holding = false;
	(void)gate_release(&n->w);
}

/* On the devices, behind its gate. */
static struct cfs_devset *node_devices(struct node *n, struct cfs_dev **gates)
{
	const struct cfs_devset_options opt = { .is_writable = true };
	struct cfs_dev *list[SHARED_DEVICES_MAX];
	struct cfs_devset *set;

	for (unsigned int i = 0; i < world->p.devices; i++) {
		HEAL_OK(cfs_sim_dev_open(world->p.sim, i, &list[i], &err_));
		list[i] = gates[i] = gate_new(&n->w, list[i]);
	}
	HEAL_OK(cfs_devset_from_devices(list, world->p.devices, &opt, &set,
					&err_));
	return set;
}

/* ---- leases -------------------------------------------------------------- */

static void resource_of(unsigned int part, struct cfs_lock_resource *ret)
{
	*ret = (struct cfs_lock_resource){
		.container = world->container,
		.volume = CFS_VOLUME_FIRST,
		.ino = world->ino,
		.offset_bytes = (uint64_t)part * PART_BLOCKS * HEAL_BLOCK,
		.length_bytes = (uint64_t)PART_BLOCKS * HEAL_BLOCK,
	};
}

/* NONE, S or X: what it believes. */
static uint32_t token_mode(const struct actor *a, unsigned int part)
{
	struct cfs_lease *l = a->tokens[part].lease;

	if (!a->lc || a->is_lost || a->node->is_dead || !l ||
	    cfs_lease_state_of(l) != CFS_LEASE_HELD ||
	    !cfs_lease_client_still_holds(l))
		return CFS_LOCK_NONE;
	return cfs_lease_mode_of(l);
}

static void actor_release(struct actor *a, unsigned int part)
{
	if (a->tokens[part].lease)
		cfs_lease_client_release(a->tokens[part].lease);
	a->tokens[part] = (struct token){ .lease = NULL };
}

static void actor_lost(void *arg, struct cfs_lease *lease)
{
	struct actor *a = arg;

	(void)lease;
	a->is_lost = true;
}

static void actor_recall(void *arg, struct cfs_lease *lease, uint64_t grant_id,
			 const struct cfs_lock_resource *resource,
			 uint32_t mode)
{
	struct actor *a = arg;
	const uint64_t part = resource->offset_bytes /
			      (PART_BLOCKS * (uint64_t)HEAL_BLOCK);

	(void)mode;
	if (lease)
		a->recalled[part] = grant_id;
	else
		cfs_lease_client_yield(a->lc, grant_id);
}

/* Is somebody sure of what somebody else changes? */
static void judge_pair(const struct actor *a, const struct actor *b)
{
	for (unsigned int p = 0; p < PARTS; p++) {
		const uint32_t x = token_mode(a, p), y = token_mode(b, p);

		MUST((x != CFS_LOCK_X || y == CFS_LOCK_NONE) &&
			     (y != CFS_LOCK_X || x == CFS_LOCK_NONE),
		     "%s and %s both believe that they have part %u: %s, %s",
		     a->node->name, b->node->name, p, cfs_lock_mode_name(x),
		     cfs_lock_mode_name(y));
	}
}

/* ---- what may be found --------------------------------------------------- */

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

/* All that it wrote in what it has is durable.  What others wrote there before
 * it looked is not its own to say. */
static void acked(const struct actor *a)
{
	for (unsigned int i = 0; i < BLOCKS; i++) {
		struct cell *at = &world->cells[i];

		if (!at->count || !a->tokens[i / PART_BLOCKS].has_looked ||
		    token_mode(a, i / PART_BLOCKS) != CFS_LOCK_X)
			continue;
		at->acked = at->pending[at->count - 1];
		at->count = 0;
		say("%s: %llu in %u is durable", a->node->name,
		    (unsigned long long)at->acked, i);
	}
}

/* @is_new: to one who knows nothing of what was not synced. */
static void judge_block(unsigned int block, const uint8_t *got, const char *who,
			bool is_new)
{
	struct cell *at = &world->cells[block];
	bool is_found = shows(got, at->count && !is_new
					   ? at->pending[at->count - 1]
					   : at->acked);

	for (unsigned int k = 0; is_new && !is_found && k < at->count; k++) {
		is_found = shows(got, at->pending[k]);
		if (is_found)
			at->acked = at->pending[k];
	}
	MUST(is_found, "%s: block %u is not %llu, and none of %u since", who,
	     block, (unsigned long long)at->acked, at->count);
	if (is_new)
		at->count = 0;
}

static int read_part(struct cfs_container *c, unsigned int part, uint8_t *buf)
{
	return client_read(c, CFS_STAMP_HEAD, world->ino,
			   (uint64_t)part * PART_BLOCKS * HEAL_BLOCK, buf,
			   (size_t)PART_BLOCKS * HEAL_BLOCK, &why);
}

static void judge_part(unsigned int part, const uint8_t *buf, const char *who,
		       bool is_new)
{
	for (unsigned int i = 0; i < PART_BLOCKS; i++)
		judge_block(part * PART_BLOCKS + i,
			    buf + (size_t)i * HEAL_BLOCK, who, is_new);
	count(COUNT_LOOK);
	say("%s sees part %u%s", who, part, is_new ? ", anew" : "");
}

/* Some blocks of a part that it has; not synced. */
static int write_part(const struct actor *a, struct cfs_container *c,
		      unsigned int part)
{
	uint8_t buf[PART_BLOCKS * HEAL_BLOCK];
	unsigned int from = one_in(2) ? 0 : (unsigned int)below(PART_BLOCKS);
	unsigned int n = from ? 1 + (unsigned int)below(3) : PART_BLOCKS;
	const unsigned int first = part * PART_BLOCKS + from;

	n = CFS_MIN(n, PART_BLOCKS - from);
	for (unsigned int i = 0; i < n; i++)
		if (world->cells[first + i].count == PENDING_MAX)
			return 0;
	if (token_mode(a, part) != CFS_LOCK_X)
		return 0;
	for (unsigned int i = 0; i < n; i++) {
		struct cell *at = &world->cells[first + i];

		content(++world->next, buf + (size_t)i * HEAL_BLOCK);
		at->pending[at->count++] = world->next;
	}
	count(COUNT_WRITE);
	say("%s writes %llu .. %llu from %u on", a->node->name,
	    (unsigned long long)(world->next - n + 1),
	    (unsigned long long)world->next, first);
	return client_write(c, world->ino, (uint64_t)first * HEAL_BLOCK, buf,
			    (size_t)n * HEAL_BLOCK, &why);
}
