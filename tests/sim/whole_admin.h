/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a manager of whole.c does besides answering: snapshots beside clients,
 * clones, rollbacks, containers that come and go, check; and its life.
 */
#pragma once

#include "whole_boss.h"

/* ---- snapshots ---------------------------------------------------------- */

static int print_trouble(void *arg, const struct cfs_problem *p)
{
	struct whole *w = arg;

	say(w, "%s: %s: %s", p->kind, p->container, p->text);
	return 0;
}

/* All registers as a snapshot shows them. */
static int snap_read(struct boss *b, const char *name, uint64_t values[REGS],
		     bool is_first)
{
	struct whole *w = b->w;
	struct cfs_snapshot_rec rec;
	struct cfs_volume_rec vol;
	struct file_state files[NAMES];
	struct cfs_fs *fs = NULL;
	uint64_t stamp;
	int r = cfs_snapshot_find(b->a.lun, CFS_VOLUME_FIRST, name, &stamp,
				  &rec, &why);

	for (unsigned int i = 0; i < LUN_REGS && r == 0; i++)
		r = lun_read_reg(b->a.lun->container, (uint16_t)rec.branch,
				 stamp, w->lun_ino, i, &values[i]);
	if (r == 0)
		r = cfs_snapshot_find(b->a.tree, CFS_VOLUME_FIRST, name, &stamp,
				      &rec, &why);
	if (r == 0)
		r = cfs_volume_get(b->a.tree, CFS_VOLUME_FIRST, &vol, &why);
	if (r == 0) {
		const struct cfs_view view = {
			b->a.tree->container,
			(uint16_t)rec.branch,
			stamp,
		};

		r = cfs_fs_open(&view, vol.ino, vol.hash_seed, &fs, &why);
	}
	for (unsigned int d = 0; d < DIRS && r == 0; d++) {
		r = dir_read(fs, w->dir_inos[d], files, &values[LUN_REGS + d]);
		if (r == 0)
			judge_dir(w, d, values[LUN_REGS + d], files,
				  is_first ? "a snapshot"
					   : "a snapshot, later");
	}
	cfs_fs_close(fs);
	return r;
}

/* The last write of @value that began before @end_ns. */
static const struct sim_access *write_of(const struct sim_history *h,
					 uint64_t value, uint64_t end_ns)
{
	for (size_t i = h->count; i-- > 0;)
		if (h->all[i].is_write && h->all[i].value == value &&
		    h->all[i].begin_ns <= end_ns)
			return &h->all[i];
	return NULL;
}

/*
 * What a snapshot shows in register @b began at @begin_ns: whatever was
 * acknowledged before that, in register @a, has to be in it.
 */
static void judge_pair(struct whole *w, const struct snap *s, unsigned int a,
		       uint64_t begin_ns)
{
	const struct sim_history *h = &w->histories[a];
	const struct sim_access *has = write_of(h, s->values[a], s->end_ns);
	const uint64_t has_end = has ? has->end_ns : 0;

	for (size_t i = 0; i < h->count; i++)
		MUST(w->sim,
		     !h->all[i].is_write || &h->all[i] == has ||
			     h->all[i].end_ns >= begin_ns ||
			     has_end >= h->all[i].begin_ns,
		     "snapshot %s has %llu in %u, but not %llu, which was "
		     "acknowledged before something that it has",
		     s->name, (unsigned long long)s->values[a], a,
		     (unsigned long long)h->all[i].value);
}

/* Reads of all registers at one moment. */
static void judge_snap(struct whole *w, const struct snap *s)
{
	for (unsigned int b = 0; b < REGS; b++) {
		const struct sim_access *has = write_of(
			&w->histories[b], s->values[b], s->end_ns);
		size_t at = sim_history_begin(&w->histories[b], s->begin_ns,
					      false, s->values[b], 9);

		sim_history_end(&w->histories[b], at, s->end_ns, s->values[b]);
		for (unsigned int a = 0; a < REGS && has; a++)
			if (a != b)
				judge_pair(w, s, a, has->begin_ns);
	}
}

static bool all_hold(struct boss *b)
{
	struct records *rs = malloc(sizeof(*rs));
	bool all = true;

	assert_non_null(rs);
	for (unsigned int which = 0; which < 2; which++) {
		records_of(b, which, 0, rs);
		for (size_t i = 0; i < rs->count; i++)
			all &= rs->items[i].rec.state != CFS_CLIENT_OPEN ||
			       rs->items[i].is_held;
	}
	free(rs);
	return all;
}

static void hold_begin(struct boss *b)
{
	b->is_holding = true;
	b->hold_serial++;
	b->hold_ns = b->w->sim->now_ns;
	for (struct conn *conn = b->w->conns; conn; conn = conn->next) {
		struct rpc *q;

		if (conn->boss != b->index || !conn->boss_open)
			continue;
		q = rpc_new(RPC_HOLD, 0, 0);
		q->value = b->hold_serial;
		rpc_send(b->w, conn, false, q);
		free(q);
	}
}

static void snap_take(struct boss *b)
{
	struct whole *w = b->w;
	struct snap s = { .begin_ns = b->hold_ns };
	struct cfs_snapshot_name names[2] = {
		{ b->a.lun, CFS_VOLUME_FIRST, s.name },
		{ b->a.tree, CFS_VOLUME_FIRST, s.name },
	};
	int r;

	(void)snprintf(s.name, sizeof(s.name), "s%u", w->snap_names++);
	r = cfs_snapshot_take(names, 2, NULL, &why);
	/* One came since. */
	if (r == -EBUSY || b->a.p->is_dead || !boss_guard(b))
		return;
	b->is_holding = false;
	if (r < 0) {
		boss_failed(b, r, "take a snapshot");
		return;
	}
	s.end_ns = w->sim->now_ns;
	r = snap_read(b, s.name, s.values, true);
	if (r < 0) {
		boss_failed(b, r, "read a snapshot");
		return;
	}
	say(w, "snapshot %s", s.name);
	count(w, COUNT_SNAPSHOT);
	judge_snap(w, &s);
	w->snaps[w->snap_count++] = s;
}

static void hold_step(struct boss *b)
{
	if (all_hold(b)) {
		snap_take(b);
	} else if (b->w->sim->now_ns > b->hold_ns + b->w->plan.period_ns / 2) {
		say(b->w, "m%u: somebody does not hold", b->index);
		b->is_holding = false;
	}
}

/* ---- rollbacks and clones ----------------------------------------------- */

static void roll_ask(struct boss *b)
{
	struct cfs_lease_request req = {
		.key = 77,
		.mode = CFS_LOCK_X,
		.flags = CFS_MSG_LOCK_WAIT,
	};

	b->roll.resource = R_LUN;
	resource_of(b->w, &b->a, R_LUN, &req.resource);
	if (cfs_lease_client_acquire(b->a.lc, &req, &b->roll.lease, NULL) < 0)
		b->roll.lease = NULL;
}

static void roll_back(struct boss *b)
{
	struct whole *w = b->w;
	const struct snap *s = &w->snaps[sim_below(w->sim, w->snap_count)];
	size_t at[LUN_REGS];
	int r;

	for (unsigned int i = 0; i < LUN_REGS; i++)
		at[i] = sim_history_begin(&w->histories[i], w->sim->now_ns,
					  true, s->values[i], 8);
	r = cfs_snapshot_rollback(b->a.lun, CFS_VOLUME_FIRST, s->name, NULL,
				  &why);
	if (r < 0) {
		boss_failed(b, r, "roll back");
		return;
	}
	if (b->a.p->is_dead || !boss_guard(b))
		return;
	say(w, "rolled back to %s", s->name);
	count(w, COUNT_ROLLBACK);
	for (unsigned int i = 0; i < LUN_REGS; i++)
		sim_history_end(&w->histories[i], at[i], w->sim->now_ns,
				s->values[i]);
}

static void roll_step(struct boss *b)
{
	enum cfs_lease_state state;

	if (!b->roll.lease)
		return;
	state = cfs_lease_state_of(b->roll.lease);
	if (state == CFS_LEASE_ASKED)
		return;
	if (state == CFS_LEASE_HELD && b->w->snap_count)
		roll_back(b);
	if (!b->is_retired)
		token_release(&b->roll);
	b->roll.lease = NULL;
}

/* A clone shows what its snapshot does, and changes by itself. */
static int clone_and_remove(struct boss *b)
{
	struct whole *w = b->w;
	const struct snap *s = &w->snaps[sim_below(w->sim, w->snap_count)];
	struct cfs_volume_rec rec;
	uint64_t id, value;
	int r = cfs_snapshot_clone(b->a.lun, CFS_VOLUME_FIRST, s->name, "cl",
				   &why);

	/* The one before it stopped in the middle. */
	if (r == 0 || r == -EEXIST)
		r = cfs_volume_find(b->a.lun, "cl", &id, &rec, &why);
	for (unsigned int i = 0;
	     i < LUN_REGS && r == 0 && rec.head_branch != b->a.branch &&
	     w->snap_names == 1;
	     i++) {
		r = lun_read_reg(b->a.lun->container, (uint16_t)rec.head_branch,
				 CFS_STAMP_HEAD, rec.ino, i, &value);
		MUST(w->sim, r < 0 || value == s->values[i],
		     "a clone of %s "
		     "has %llu in %u",
		     s->name, (unsigned long long)value, i);
	}
	if (r == 0)
		r = cfs_volume_remove(b->a.lun, id, true, &why);
	if (r == 0)
		count(w, COUNT_CLONE);
	return r;
}

static int snap_remove(struct boss *b)
{
	struct whole *w = b->w;
	const size_t i = sim_below(w->sim, w->snap_count);
	const struct snap s = w->snaps[i];
	int r;

	/* From here on nobody knows whether it is there. */
	w->snaps[i] = w->snaps[--w->snap_count];
	r = cfs_snapshot_remove(b->a.lun, CFS_VOLUME_FIRST, s.name, NULL, &why);
	if (r == -EBUSY) { /* who made a clone of it died before it went */
		w->snaps[w->snap_count++] = s;
		return 0;
	}
	if (r == 0)
		r = cfs_snapshot_remove(b->a.tree, CFS_VOLUME_FIRST, s.name,
					NULL, &why);
	return r;
}

/* Another container comes and goes: its slices get other lives. */
static int churn(struct boss *b)
{
	struct cfs_member *x = NULL;
	int r = cfs_pool_member(b->mgr.pool, "x", &x, &why);

	count(b->w, COUNT_CHURN);
	if (r == -ENOENT)
		r = cfs_pool_container_make(b->mgr.pool, "x", CFS_VOLUME_LUN, 0,
					    CFS_OBJECT_LIVE, &x, &why);
	else if (r == 0)
		return cfs_pool_container_remove(b->mgr.pool, x, &why);
	if (r == 0)
		r = cfs_volume_make_first(x, CFS_VOLUME_LUN, 1 << 20, &why);
	if (r == 0)
		r = lun_write(x, 0, 40, 7);
	return r < 0 ? r : cfs_container_commit(x->container, &why);
}

static int boss_check(struct boss *b, const char *when)
{
	struct cfs_check_result result;
	const struct cfs_check_options opt = {
		.each = print_trouble,
		.arg = b->w,
	};
	int r = cfs_pool_check(b->mgr.pool, &opt, &result, &why);

	count(b->w, COUNT_CHECK);
	if (r < 0 || (b->is_there && !boss_is_seated(b)))
		return r;
	MUST(b->w->sim, result.problems == 0, "%s: check finds %llu problems",
	     when, (unsigned long long)result.problems);
	return 0;
}

/* ---- the fiber ---------------------------------------------------------- */

static int admin_step(struct boss *b)
{
	struct whole *w = b->w;

	switch (sim_below(w->sim, 12)) {
	case 0:
	case 1:
	case 2:
	case 3:
		if (w->snap_count < SNAPS_MAX && !b->is_holding)
			hold_begin(b);
		return 0;
	case 4:
	case 5:
		if (w->snap_count && !b->roll.lease)
			roll_ask(b);
		return 0;
	case 6:
		return w->snap_count && w->snap_names < 4 ? clone_and_remove(b)
							  : 0;
	case 7:
		return w->snap_count > 3 ? snap_remove(b) : 0;
	case 8:
	case 9:
		return churn(b);
	case 10:
		return boss_check(b, "on the way");
	default:
		return cfs_container_commit(b->a.lun->container, &why);
	}
}

/* One thing; false: there was nothing to do. */
static bool boss_step(struct boss *b)
{
	struct sim *sim = b->w->sim;
	int r = 0;

	if (boss_next_job(b))
		return true;
	if (b->is_holding)
		hold_step(b);
	else if (b->a.recalled_count)
		r = actor_yield(&b->a);
	else if (b->roll.lease && !sim_one_in(sim, 4))
		roll_step(b);
	else if (b->w->plan.is_quiet)
		return false;
	else if (sim_one_in(sim, 6))
		r = admin_step(b);
	else if (sim_one_in(sim, 2) && !b->roll.lease)
		r = actor_step(&b->a);
	else
		return false;
	if (r < 0)
		boss_failed(b, r, "go on");
	return true;
}

/* One that was taken over goes on, and is not told that it was of use. */
static void boss_zombie(struct boss *b)
{
	struct whole *w = b->w;
	int r;

	if (b->a.p->is_dead || !b->a.lun || sim_one_in(w->sim, 3))
		return;
	count(w, COUNT_ZOMBIE);
	fiber_sleep(b->a.p, sim_skewed(w->sim, 0, 2 * w->plan.period_ns));
	/* Where nobody looks: it has no lease. */
	r = lun_write(b->a.lun, PARTS * PART_BLOCKS + 5, 1, 3);
	if (r == 0)
		r = cfs_container_commit(b->a.lun->container, &why);
	MUST(w->sim,
	     r < 0 || !boss_now(w)->is_open || boss_now(w) == b ||
		     boss_now(w)->mgr.seat.epoch < b->mgr.seat.epoch ||
		     b->a.p->is_dead,
	     "m%u is told that a commit is durable, and m%u "
	     "has the pool",
	     b->index, w->seat_boss);
}

/* The kernel does that. */
static void boss_unlock(struct boss *b)
{
	for (unsigned int i = 0; i < b->w->process_count; i++)
		for (unsigned int k = 0;
		     k < b->w->pool.devices && b->w->processes[i] == b->a.p;
		     k++)
			cfs_dev_unlock(device_of(b->w->devices[i][k])->under);
}

static void boss_run(void *arg)
{
	struct boss *b = arg;
	struct whole *w = b->w;
	int r = boss_open(b);

	/* A vote of one before it came late: it is for the next to try. */
	if (r == -ESTALE && boss_is_seated(b) && b->index + 1 < BOSSES)
		boss_retire(b, "another was quicker");
	if (b->a.p->is_dead)
		boss_unlock(b);
	if (r == 0)
		r = boss_check(b, "after a takeover");
	if (r == 0 && boss_is_seated(b))
		r = boss_serve(b);
	if (r < 0) {
		boss_failed(b, r, "take the pool");
		return;
	}
	/* Or its seat would speak for it when it does nothing any more. */
	if (!b->owner)
		boss_retire(b, "its period was over too early");
	if (b->owner) {
		say(w, "m%u has the pool, epoch %u", b->index,
		    b->mgr.seat.epoch);
		b->is_open = true;
		boss_kick(b);
	}
	while (!b->is_done && boss_guard(b)) {
		if (boss_step(b) && !sim_one_in(w->sim, 3))
			continue;
		boss_kick(b);
		fiber_sleep(b->a.p, sim_skewed(w->sim, 1, w->plan.think_ns));
	}
	if (!b->is_done)
		boss_zombie(b);
}

/* ---- life --------------------------------------------------------------- */

static void seat_beat(void *arg, uint64_t x, uint64_t y, void *data)
{
	struct boss *b = arg;
	struct whole *w = b->w;
	const uint64_t now_ns = sim_clock_now(&b->clock);

	(void)x;
	(void)y;
	(void)data;
	if (b->is_retired || b->a.p->is_dead || w->is_over)
		return;
	if (w->seat_boss != b->index) {
		boss_retire(b, "the seat is another's");
		return;
	}
	w->seat_seq++;
	b->seat_end_ns = now_ns + seat_ns(w);
	sim_at(w->sim, w->sim->now_ns + seat_ns(w) / 4, b->a.p->node, seat_beat,
	       b, 0, 0, NULL);
}

static void boss_begin(struct whole *w, unsigned int index)
{
	struct boss *b = &w->bosses[index];
	const int64_t r = w->plan.drift_ppm;

	b->w = b->a.w = w;
	b->index = index;
	b->a.who = CLIENTS + index;
	b->a.is_boss = true;
	b->is_there = true;
	(void)snprintf(b->a.name, sizeof(b->a.name), "m%u", index);
	cfs_clock_manual_init(&b->a.clock, 1, 1);
	sim_clock_init(&b->clock, w->sim, 1 + sim_below(w->sim, CFS_NS_PER_S),
		       sim_one_in(w->sim, 3) ? -r : r);
	b->mgr.host = host_named(b->a.name, (uint8_t)(index + 1), 1000);
	b->mgr.host.alive_pid = 1000;
	b->mgr.host.alive_start = b->mgr.host.self.process_start;
	b->mgr.source = (struct cfs_identity_source){
		.self = host_self,
		.is_alive = host_is_alive,
		.arg = &b->mgr.host,
	};
	b->mgr.set = process_new(w, CLIENTS + index, &b->a.p);
	w->seat_boss = index;
	w->seat_seq++;
	if (index)
		count(w, COUNT_TAKEOVER);
	say(w, "m%u has the seat", index);
	seat_beat(b, 0, 0, NULL);
	fiber_start(b->a.p, boss_run, b);
	b->a.p->may_go_on = boss_may_go_on;
	if (index + 1 < w->plan.bosses)
		b->a.p->pause_in = &w->plan.pause_in;
}

/* Others see that the seat stands still, and the next one takes it. */
static void watch(void *arg, uint64_t x, uint64_t y, void *data)
{
	struct whole *w = arg;
	const uint64_t now_ns = sim_clock_now(&w->watch);
	const uint64_t wait_ns = cfs_period_owner_ns(seat_ns(w),
						     w->plan.drift_ppm);

	(void)x;
	(void)y;
	(void)data;
	if (w->is_over)
		return;
	if (w->seen_seq != w->seat_seq) {
		w->seen_seq = w->seat_seq;
		w->seen_ns = now_ns;
	} else if (cfs_period_is_over(w->seen_ns + wait_ns, now_ns)) {
		MUST(w->sim, w->seat_boss + 1 < BOSSES, "no host is left");
		boss_begin(w, w->seat_boss + 1);
	}
	sim_at(w->sim, w->sim->now_ns + seat_ns(w) / 8, SIM_NOBODY, watch, w, 0,
	       0, NULL);
}

static void boss_crash(struct boss *b)
{
	say(b->w, "m%u crashes", b->index);
	count(b->w, COUNT_CRASH);
	boss_retire(b, "it is dead");
	process_die(b->a.p);
	boss_unlock(b);
}
