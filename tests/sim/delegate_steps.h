/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Steps of delegate.c: time passes, somebody gets into trouble, servers use the
 * container themselves, and those go on who have lost it.
 */
#pragma once

#include "delegate_client.h"

/* ---- time and trouble ---------------------------------------------------- */

static void judge_beliefs(void)
{
	const struct actor *all[WRITERS_MAX + SERVERS];
	unsigned int n = 0;

	for (unsigned int i = 0; i < world->writer_count; i++)
		if (world->writers[i]->a.lc)
			all[n++] = &world->writers[i]->a;
	/* One that serves itself is sure only while its own lease runs. */
	for (unsigned int i = 0; i < world->server_count; i++) {
		struct server *s = &world->servers[i];

		if (s->a.lc && !s->is_over && (s->is_boss || is_bound(s)))
			all[n++] = &s->a;
	}
	for (unsigned int i = 0; i < n; i++)
		for (unsigned int k = 0; k < i; k++)
			judge_pair(all[i], all[k]);
	for (unsigned int i = 0; i < world->server_count; i++) {
		struct server *s = &world->servers[i];
		const char *wrong = s->owner ? cfs_owner_check(s->owner) : NULL;

		MUST(!wrong, "%s: %s", s->n.name, wrong);
	}
}

static void pause_second(void)
{
	struct node *n = world->second ? &world->second->n : NULL;

	if (!world->pause_at_ns || world->sim->now_ns < world->pause_at_ns)
		return;
	world->pause_at_ns = 0;
	if (!n || !can_run(n))
		return;
	say("%s is paused for a while", n->name);
	n->paused_until_ns = world->sim->now_ns + world->period_ns / 3 +
			     below(world->period_ns);
	count(COUNT_PAUSE);
}

static void pass(uint64_t ns)
{
	world->sim->now_ns += ns;
	world->sim->steps++;
	if (!world->is_quiet)
		pause_second();
	for (unsigned int i = 0; i < world->server_count; i++)
		server_tick(&world->servers[i]);
	for (unsigned int i = 0; i < world->writer_count; i++)
		writer_tick(world->writers[i]);
	for (unsigned int i = 0; i < world->server_count; i++)
		if (!world->servers[i].is_boss)
			second_work(&world->servers[i]);
	if (world->boss)
		boss_work(world->boss);
	judge_beliefs();
}

static struct node *somebody(void)
{
	const unsigned int n = (unsigned int)below(WRITERS + 3);

	if (n < WRITERS)
		return &world->now[n]->n;
	return n == WRITERS || !world->second ? &world->boss->n
					      : &world->second->n;
}

static void crash(void)
{
	struct node *n = somebody();

	if (!can_run(n))
		return;
	count(COUNT_CRASH);
	for (unsigned int i = 0; i < WRITERS; i++)
		if (n == &world->now[i]->n && has_room()) {
			writer_kill(world->now[i]);
			writer_new(i);
			return;
		}
	if (world->second && n == &world->second->n)
		server_kill(world->second);
	else if (n == &world->boss->n && world->bosses < MANAGERS)
		n->w.has_stopped = true;
}

/*
 * One hears nothing of the secondary for a while, and before its period there
 * is over that stands still: for longer than it has the container, and not as
 * long as the others have their leases.
 */
static void part_and_pause(void)
{
	struct writer *wr = world->now[below(WRITERS)];
	const uint64_t third_ns = world->period_ns / 3;

	if (!world->second || !can_run(&world->second->n) || world->pause_at_ns)
		return;
	if (wr->is_plain) {
		say("%s is cut off", wr->n.name);
		wr->n.out_until_ns = world->sim->now_ns + 2 * third_ns;
	}
	world->pause_at_ns = world->sim->now_ns + below(third_ns);
}

static void trouble(void)
{
	const uint64_t for_ns = sim_skewed(world->sim, 0, 3 * world->period_ns);
	struct node *n = somebody();
	const int64_t r = world->drift_ppm;

	switch (below(10)) {
	case 8:
	case 9:
		part_and_pause();
		break;
	case 0:
	case 1:
		/* A manager that pauses so long is another's. */
		if (!can_run(n) || n == &world->boss->n)
			break;
		say("%s is paused", n->name);
		n->paused_until_ns = world->sim->now_ns + for_ns;
		count(COUNT_PAUSE);
		break;
	case 2:
		say("%s is cut off", n->name);
		n->out_until_ns = world->sim->now_ns + for_ns;
		break;
	case 3:
		/* One that grants early is beyond what is promised. */
		for (unsigned int i = 0; i < WRITERS; i++)
			if (n == &world->now[i]->n)
				sim_clock_jump(&n->clock, for_ns / 3);
		break;
	case 4:
		sim_clock_rate(&n->clock, one_in(2) ? r : -r);
		break;
	case 5:
		crash();
		break;
	default:
		for (unsigned int i = 0; i < world->server_count; i++) {
			struct server *s = &world->servers[i];

			if (!s->is_boss && s->n.is_dead && one_in(3))
				tell_gone(s);
		}
		break;
	}
}

/* ---- what servers do for themselves -------------------------------------- */

static void check(const char *when)
{
	struct server *b = world->boss;
	struct cfs_check_result result;
	const struct cfs_check_options opt = { .each = print_problem };
	int r;

	if (!can_run(&b->n) || b->is_over)
		return;
	disarm(&b->n);
	b->n.is_busy = true;
	r = cfs_pool_check(b->pool, &opt, &result, &why);
	b->n.is_busy = false;
	MUST(r == 0, "%s: check: %s", when, why.msg);
	MUST(result.problems == 0, "%s: check finds %llu problems", when,
	     (unsigned long long)result.problems);
}

/* Is what it saw, or did, of use to anybody? */
static bool counts(struct server *s)
{
	return !s->n.w.has_stopped && !s->is_over && s->a.lc &&
	       server_has_it(s);
}

static int server_access(struct server *s, unsigned int part)
{
	struct cfs_container *c = s->lun->container;
	uint8_t buf[PART_BLOCKS * HEAL_BLOCK];
	struct token *t = &s->a.tokens[part];
	int r;

	if (!t->has_looked || token_mode(&s->a, part) == CFS_LOCK_S ||
	    one_in(4)) {
		r = read_part(c, part, buf);
		if (r < 0 || !counts(s) ||
		    token_mode(&s->a, part) == CFS_LOCK_NONE)
			return r;
		judge_part(part, buf, s->n.name, !t->has_looked);
		t->has_looked = true;
		return 0;
	}
	if (one_in(2))
		return write_part(&s->a, c, part);
	r = one_in(3) ? cfs_container_commit(c, &why)
		      : cfs_container_sync(c, &why);
	if (r == 0 && counts(s))
		acked(&s->a);
	return r;
}

static int server_do(struct server *s)
{
	struct actor *a = &s->a;
	const unsigned int part = choose_part(a);
	int r = 0;

	if ((is_recalled(a) && one_in(3)) || one_in(20)) {
		r = cfs_container_commit(s->lun->container, &why);
		if (r < 0 || !counts(s))
			return r;
		acked(a);
		yield(a);
		for (unsigned int p = 0; p < PARTS && one_in(2); p++)
			actor_release(a, p);
		return 0;
	}
	if (!a->tokens[part].lease) {
		if (one_in(4))
			ask_for(a, part, false);
		return 0;
	}
	if (token_mode(a, part) == CFS_LOCK_NONE)
		return 0;
	return server_access(s, part);
}

static void server_step(struct server *s)
{
	int r;

	if (!can_run(&s->n) || s->is_over || !s->lun || !s->a.lc)
		return;
	if (s->a.is_lost) {
		for (unsigned int p = 0; p < PARTS; p++)
			actor_release(&s->a, p);
		s->a.is_lost = false;
	}
	server_join_itself(s);
	if (!server_has_it(s) || !cfs_lease_client_is_welcome(s->a.lc))
		return;
	server_arm(s);
	s->n.is_busy = true;
	r = server_do(s);
	s->n.is_busy = false;
	if (r < 0)
		server_failed(s, r, "go on");
}

/* One that was taken over, and does not know, or does. */
static void zombie_step(void)
{
	struct server *s = &world->servers[below(world->server_count)];
	int r;

	if (s->n.is_dead && s->n.w.late_count && one_in(2)) {
		say("late writes of %s land", s->n.name);
		(void)gate_release(&s->n.w);
		count(COUNT_LATE);
		return;
	}
	if (s == world->boss || !can_run(&s->n) || !s->lun || !s->pool ||
	    (!s->is_boss && has_container(s)))
		return;
	count(COUNT_ZOMBIE);
	s->n.is_busy = true;
	r = lun_write(s->lun, BLOCKS + 5, 1, 3);
	if (r == 0)
		r = one_in(2) ? cfs_container_sync(s->lun->container, &why)
			      : cfs_container_commit(s->lun->container, &why);
	s->n.is_busy = false;
	/* It may be on its way home only: not sealed yet. */
	MUST(r < 0 || (!s->is_boss && world->boss->away == AWAY_COMING &&
		       world->boss->away_epoch == s->epoch),
	     "%s is told that it is durable, and another has the container",
	     s->n.name);
}
