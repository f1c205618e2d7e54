/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The steps of data.c: of clients, zombies and owners; and standing still. */
#pragma once

#include "data_world.h"

/* ---- steps of clients ------------------------------------------------------
 */

static void arm(struct gate_world *w)
{
	if (w->stop_at > w->flushes || w->has_stopped || below(6))
		return;
	w->stop_at = w->flushes + 1 + (unsigned int)below(5);
	w->wakes_up = below(3);
	w->is_holding = w->stop_at == w->flushes + 1;
}

/* Some blocks of a part of @who, as yet unsynced; false: there is none. */
static bool write_plan(unsigned int who, unsigned int *ret_first,
		       unsigned int *ret_count)
{
	unsigned int part = (unsigned int)below(PARTS), from, n;

	if (world->holder[part] != who)
		return false;
	/* Much goes to its place at once, little into the log first. */
	from = below(2) ? 0 : (unsigned int)below(PART_BLOCKS);
	n = from == 0 ? PART_BLOCKS : 1 + (unsigned int)below(3);
	n = CFS_MIN(n, PART_BLOCKS - from);
	*ret_first = part * PART_BLOCKS + from;
	*ret_count = n;
	for (unsigned int i = 0; i < n; i++)
		if (world->cells[*ret_first + i].count == PENDING_MAX)
			return false;
	return true;
}

static int write_at(struct cfs_container *c, unsigned int first, unsigned int n,
		    bool is_known)
{
	uint8_t buf[PART_BLOCKS * HEAL_BLOCK];

	for (unsigned int i = 0; i < n; i++) {
		struct cell *at = &world->cells[first + i];

		content(++world->next, buf + (size_t)i * HEAL_BLOCK);
		if (is_known)
			at->pending[at->count++] = world->next;
	}
	return client_write(c, world->ino, (uint64_t)first * HEAL_BLOCK, buf,
			    (size_t)n * HEAL_BLOCK, &why);
}

/* What a client does may end in nested worlds: @wr may be nobody's then. */
static void client_step(unsigned int i)
{
	struct writer *wr = world->clients[i];
	unsigned int what = (unsigned int)below(10), first, n;
	bool is_durable = false;
	int r = 0;

	arm(&wr->w);
	wr->is_busy = true;
	wr->cl.loses_answer = below(8) == 0;
	if (what < 5) {
		if (write_plan(i, &first, &n))
			r = write_at(wr->cl.c, first, n, true);
		count(COUNT_WRITE);
	} else if (what < 7) {
		r = cfs_container_sync(wr->cl.c, &why);
		is_durable = true;
		count(COUNT_SYNC);
	} else if (what < 9) {
		r = below(4)
			    ? cfs_container_fold(wr->cl.c, &why)
			    : cfs_container_give_back(wr->cl.c, below(2), &why);
		is_durable = true;
		count(COUNT_FOLD);
	} else {
		r = cfs_container_refresh(wr->cl.c, &why);
		is_durable = true;
	}
	wr->is_busy = false;
	MUST(r < 0 || !is_durable || !wr->is_sealed,
	     "client %llu was sealed, and is told that it is durable",
	     (unsigned long long)wr->cl.id);
	if (r < 0)
		client_failed(i, wr, r);
	else if (is_durable)
		acked(i);
	else if (!wr->is_sealed)
		look(wr->cl.c, i, false);
}

/* One that is sealed goes on, or dies, or is known to be gone. */
static void zombie_step(void)
{
	unsigned int i = (unsigned int)below(world->zombie_count);
	struct writer *wr = world->zombies[i];
	int r;

	/* The owner that it asks may be one that stands still. */
	for (unsigned int k = 0; k <= world->boss; k++)
		if (world->bosses[k].is_busy)
			return;
	if (wr->is_busy)
		return;
	if (wr->w.late_count && below(3) == 0) {
		sim_say(world->sim, "late writes of %llu land",
			(unsigned long long)wr->cl.id);
		(void)gate_release(&wr->w);
		count(COUNT_LATE);
	} else if (wr->is_open && below(3)) {
		count(COUNT_ZOMBIE);
		wr->is_busy = true;
		r = write_at(wr->cl.c, (unsigned int)below(BLOCKS), 1, false);
		if (r == 0)
			r = below(3) ? cfs_container_sync(wr->cl.c, &why)
				     : cfs_container_fold(wr->cl.c, &why);
		wr->is_busy = false;
		MUST(r < 0, "zombie %llu is told that it is durable",
		     (unsigned long long)wr->cl.id);
	} else if (below(2)) {
		writer_kill(wr);
	}
}

/* ---- the owner -------------------------------------------------------------
 */

static bool take_over(void)
{
	const unsigned int next = world->boss + 1;
	struct boss *b = &world->bosses[next];
	struct cfs_err err = CFS_ERR_INIT;
	int r;

	if (next >= MANAGERS)
		return false;
	(void)snprintf(b->name, sizeof(b->name), "m%u", next);
	b->w.hook = world_goes_on;
	b->w.arg = b;
	cfs_rng_init(&b->w.rng, cfs_rng_u64(&world->sim->rng));
	manager_init(&world->p, &b->m, b->name, (uint8_t)(next + 1), NO_DEVICE,
		     &b->w);
	r = manager_hold(&world->p, &b->m, 0, NULL, &err);
	if (r == 0)
		r = manager_pool(&b->m, false, &err);
	if (r == 0)
		r = cfs_pool_member(b->m.pool, "lun", &b->lun, &err);
	MUST(r == 0, "%s cannot take the pool: %s", b->name, err.msg);
	b->is_open = true;
	world->boss = next;
	count(COUNT_TAKEOVER);
	say("%s has the pool", b->name);
	look(owner(), OWNER, true);
	for (unsigned int i = 0; i < CLIENTS; i++)
		world->clients[i]->cl.owner = owner();
	for (unsigned int i = 0; i < CLIENTS; i++)
		if (is_usable(i) && below(3) == 0)
			expire(i);
	return true;
}

/* Another container comes and goes: its slices get other lives. */
static int churn(struct boss *b)
{
	struct cfs_member *x = NULL;
	int r = cfs_pool_member(b->m.pool, "x", &x, &why);

	if (r == -ENOENT)
		r = cfs_pool_container_make(b->m.pool, "x", CFS_VOLUME_LUN, 0,
					    CFS_OBJECT_LIVE, &x, &why);
	else if (r == 0)
		return cfs_pool_container_remove(b->m.pool, x, &why);
	if (r == 0)
		r = cfs_volume_make_first(x, CFS_VOLUME_LUN, 1 << 20, &why);
	if (r == 0)
		r = lun_write(x, 0, 200, 7);
	if (r == 0)
		r = cfs_container_commit(x->container, &why);
	return r;
}

static void owner_step(void)
{
	struct boss *b = boss();
	const unsigned int me = world->boss;
	unsigned int what = (unsigned int)below(12), first, n;
	bool is_durable = false;
	int r = 0;

	if (me + 1 < MANAGERS)
		arm(&b->w);
	b->is_busy = true;
	if (what < 6) {
		if (write_plan(OWNER, &first, &n))
			r = write_at(b->lun->container, first, n, true);
		count(COUNT_WRITE);
	} else if (what < 8) {
		r = cfs_container_sync(b->lun->container, &why);
		is_durable = true;
	} else if (what < 10) {
		r = cfs_container_commit(b->lun->container, &why);
		is_durable = true;
	} else {
		r = churn(b);
		count(COUNT_CHURN);
	}
	b->is_busy = false;
	MUST(r < 0 || !is_durable || me == world->boss,
	     "%s is not the owner any more, and is told that it is durable",
	     b->name);
	if (me != world->boss) {
		count(COUNT_ZOMBIE);
		return;
	}
	if (r < 0) {
		MUST(b->w.has_stopped, "the owner fails: %d: %s", r, why.msg);
		(void)take_over();
	} else if (is_durable) {
		acked(OWNER);
	} else {
		look(owner(), OWNER, false);
	}
}

/* A part passes: what was written under it is folded, whoever had it. */
static void pass_part(void)
{
	unsigned int part = (unsigned int)below(PARTS);
	unsigned int from = world->holder[part];
	unsigned int to = (unsigned int)below(CLIENTS + 1);
	struct writer *wr;
	int r;

	if (from == to || from == NOBODY ||
	    (from != OWNER && !is_usable(from)) ||
	    (to != OWNER && !is_usable(to)))
		return;
	if (from == OWNER) {
		disarm(&boss()->w);
		boss()->is_busy = true;
		r = cfs_container_commit(owner(), &why);
		boss()->is_busy = false;
		MUST(r == 0, "the owner cannot commit: %d", r);
		acked(OWNER);
	} else {
		wr = world->clients[from];
		wr->is_busy = true;
		r = cfs_container_fold(wr->cl.c, &why);
		wr->is_busy = false;
		if (r < 0) {
			client_failed(from, wr, r);
			return;
		}
		acked(from);
	}
	count(COUNT_PASS);
	/* Should that one stand still: who had it has given it back. */
	world->holder[part] = NOBODY;
	if (to != OWNER) {
		wr = world->clients[to];
		wr->is_busy = true;
		r = cfs_container_refresh(wr->cl.c, &why);
		wr->is_busy = false;
		if (r < 0) {
			world->holder[part] = OWNER;
			client_failed(to, wr, r);
			return;
		}
		acked(to);
	}
	world->holder[part] = to;
	look(to == OWNER ? owner() : world->clients[to]->cl.c, to, false);
}

static void check(const char *when)
{
	struct cfs_check_result result;
	const struct cfs_check_options opt = { .each = print_problem };
	struct cfs_err err = CFS_ERR_INIT;
	int r;

	disarm(&boss()->w);
	boss()->is_busy = true;
	r = cfs_pool_check(boss()->m.pool, &opt, &result, &err);
	boss()->is_busy = false;
	MUST(r == 0, "%s: check: %s", when, err.msg);
	MUST(result.problems == 0, "%s: check finds %llu problems", when,
	     (unsigned long long)result.problems);
}

static void step(void)
{
	unsigned int what = (unsigned int)below(100);
	unsigned int i = (unsigned int)below(CLIENTS);
	bool has_owner = !boss()->is_busy;

	if (has_owner && boss()->w.has_stopped) {
		(void)take_over();
		return;
	}
	if (what < 50 && is_usable(i) && has_owner)
		client_step(i);
	else if (what < 75 && has_owner)
		owner_step();
	else if (what < 83 && has_owner && !boss()->w.has_stopped)
		pass_part();
	else if (what < 86 && has_owner && is_usable(i))
		expire(i);
	else if (what < 98 && world->zombie_count)
		zombie_step();
	else if (what < 99 && has_owner && world->depth == 0)
		check("on the way");
}

/* Somebody stands still.  Others find that out, or it was only slow. */
static void world_goes_on(void *arg)
{
	unsigned int steps = (unsigned int)below(12);
	struct boss *b = boss();
	const bool was_busy = b->is_busy;

	count(COUNT_STOP);
	if (world->depth >= 2)
		return;
	world->depth++;
	if (arg == b)
		b->is_busy = true;
	say("%s stands still", arg == b ? b->name : "a client");
	if (arg == b) {
		if (below(4) == 0 || !take_over())
			steps = 0; /* nobody can do anything */
	} else if (!b->is_busy) {
		for (unsigned int i = 0; i < CLIENTS; i++)
			if (world->clients[i] == arg &&
			    !world->clients[i]->is_sealed && below(3))
				expire(i);
	} else {
		steps = 0;
	}
	while (steps--)
		step();
	world->depth--;
	if (arg == b)
		b->is_busy = was_busy;
	say("it goes on");
	count(COUNT_WAKE);
}
