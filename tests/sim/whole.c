// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The whole in one world: the real owner and client of leases decide who may
 * read and write, and the real containers do it on simulated devices, a LUN and
 * a tree, beside snapshots, clones and rollbacks; over connections that break,
 * with clocks that drift, jump and stop, processes that pause and die in each
 * call to a device, and managers that are taken over while they write.
 *
 * What must be true:
 *  - no two leases that conflict are believed valid at one moment;
 *  - reads, and writes that were acknowledged, of each register are
 *    linearizable, whoever paused or died, and what is in a directory is what
 *    one of the changes to it left;
 *  - what a snapshot shows was there at one moment, with all that had been
 *    acknowledged before anything that it shows began, and stays as it is;
 *  - a manager that was taken over is not told that a commit is durable;
 *  - check finds nothing wrong, and in the end nothing is lent or frozen, and
 *    every slice is used or free.
 */
#include "sleepy_clock.h"
#include "whole_admin.h"
#include "worn_pool.h"

static struct whole *whole; /* of the seed under way */

/* ---- what the seed has in store ----------------------------------------- */

static void plan_make(struct whole *w)
{
	static const uint32_t drifts[] = { 1, 2000, 50000, 300000 };
	static const uint64_t delays[] = { 1000, 100, 10, 3 };
	struct plan *p = &w->plan;
	struct sim *sim = w->sim;

	p->period_ns = CFS_NS_PER_S;
	p->drift_ppm = drifts[sim_below(sim, 4)];
	p->access_ns = p->period_ns / (4 + sim_below(sim, 30));
	p->delay_ns = p->period_ns / delays[sim_below(sim, 4)];
	p->think_ns = p->period_ns / 30;
	p->trouble_ns = p->period_ns / 2 * (1 + sim_below(sim, 6));
	p->quiet_ns = p->period_ns * (5 + sim_below(sim, 8));
	p->recall_ns = p->period_ns / 4 * (1 + sim_below(sim, 8));
	p->io_ns = p->period_ns / (sim_one_in(sim, 3) ? 50 : 1000);
	p->clients = 2 + (unsigned int)sim_below(sim, CLIENTS - 1);
	p->bosses = 1 + (unsigned int)sim_below(sim, TROUBLED);
	p->cut_in = sim_one_in(sim, 3) ? 0
				       : 20 + (unsigned int)sim_below(sim, 200);
	p->pause_in = sim_one_in(sim, 3) ? 0 : 100;
	p->has_stops = sim_one_in(sim, 5);
	p->is_checked = p->has_stops || sim_one_in(sim, 2);
	p->has_trees = !sim_one_in(sim, 4);
	p->is_mirror = sim_one_in(sim, 8);
	/* A lease that alone is taken back leaves no gravestone that a client
	 * whose clock stood still could see. */
	if (p->has_stops)
		p->recall_ns = 1000 * p->period_ns;
}

/* ---- trouble ------------------------------------------------------------ */

static uint64_t long_ns(struct whole *w)
{
	return sim_skewed(w->sim, 0, 4 * w->plan.period_ns);
}

static void clock_goes(void *arg, uint64_t a, uint64_t b, void *data)
{
	struct client_proc *c = arg;

	(void)a;
	(void)b;
	(void)data;
	sim_clock_stop(&c->clock, false);
	c->taint_ns = sim_clock_now(&c->clock) + c->w->plan.period_ns;
	c->wake_ns = 0;
	client_kick(c);
}

/* The machine stands still and so does its clock: a paused guest. */
static void stop_machine(struct client_proc *c)
{
	struct whole *w = c->w;
	const uint64_t for_ns = long_ns(w);

	if (c->clock.is_stopped || sim_is_paused(w->sim, c->a.p->node))
		return;
	count(w, COUNT_STOPPED);
	sim_clock_stop(&c->clock, true);
	sim_pause(w->sim, c->a.p->node, for_ns);
	sim_at(w->sim, w->sim->now_ns + for_ns, SIM_NOBODY, clock_goes, c, 0, 0,
	       NULL);
}

static void trouble_client(struct whole *w, struct client_proc *c)
{
	const int64_t r = w->plan.drift_ppm;

	if (!c->a.lc)
		return;
	switch (sim_below(w->sim, 8)) {
	case 0:
	case 1:
		say(w, "%s is paused", c->a.name);
		sim_pause(w->sim, c->a.p->node, long_ns(w));
		break;
	case 2:
		if (!c->clock.is_stopped)
			client_crash(c);
		break;
	case 3:
		if (c->conn)
			conn_cut(w, c->conn);
		break;
	case 4:
		say(w, "%s is cut off", c->a.name);
		if (c->conn)
			conn_cut(w, c->conn);
		c->out_until_ns = w->sim->now_ns + long_ns(w);
		break;
	case 5:
		if (c->clock.is_stopped)
			break;
		say(w, "%s: its clock jumps", c->a.name);
		sim_clock_jump(&c->clock, long_ns(w) / 2);
		c->wake_ns = 0;
		client_kick(c);
		break;
	case 6:
		if (!c->clock.is_stopped)
			sim_clock_rate(&c->clock,
				       sim_one_in(w->sim, 2) ? r : -r);
		c->wake_ns = 0;
		client_kick(c);
		break;
	default:
		if (w->plan.has_stops)
			stop_machine(c);
		break;
	}
}

struct one {
	uint64_t id, left;
	bool is_lease;
};

static bool choose_record(void *arg, const struct cfs_lease_record *record)
{
	struct one *one = arg;
	const bool is_lease = record->kind == CFS_RECORD_LEASE;

	if (is_lease == one->is_lease)
		one->id = is_lease ? record->u.lease.lease_id
				   : record->client_id;
	return one->id == 0 || one->left-- > 0;
}

/* Somebody takes a lease, or a client, away. */
static void take_away(struct whole *w, struct boss *b)
{
	struct one one = {
		.left = sim_below(w->sim, 6),
		.is_lease = !w->plan.has_stops && !sim_one_in(w->sim, 3),
	};

	cfs_owner_each(b->owner, 0, 0, choose_record, &one);
	if (!one.id || one.id == cfs_lease_client_id(b->a.lc))
		return;
	say(w, "m%u is told to revoke %llx", b->index,
	    (unsigned long long)one.id);
	if (one.is_lease)
		cfs_owner_revoke_lease(b->owner, one.id);
	else
		cfs_owner_revoke_client(b->owner, one.id);
	boss_kick(b);
}

static void trouble_boss(struct whole *w, struct boss *b)
{
	const int64_t r = w->plan.drift_ppm;
	const bool is_last = b->index + 1 >= w->plan.bosses;

	switch (sim_below(w->sim, 7)) {
	case 0:
	case 1:
		if (is_last)
			break;
		say(w, "m%u is paused", b->index);
		sim_pause(w->sim, b->a.p->node, long_ns(w));
		break;
	case 2:
		if (!is_last)
			boss_crash(b);
		break;
	case 3:
		sim_clock_rate(&b->clock, sim_one_in(w->sim, 2) ? r : -r);
		b->wake_ns = 0;
		boss_kick(b);
		break;
	case 4:
	case 5:
		if (boss_guard(b) && !sim_is_paused(w->sim, b->a.p->node))
			take_away(w, b);
		break;
	default:
		if (!w->dead_count || !boss_guard(b) || whole_late_left ||
		    sim_is_paused(w->sim, b->a.p->node))
			break;
		/* It is known that one that crashed is gone. */
		(void)cfs_owner_gone(b->owner,
				     w->dead[sim_below(w->sim, w->dead_count)]);
		boss_kick(b);
		break;
	}
}

static void quiet(struct whole *w)
{
	say(w, "no more trouble");
	w->plan.is_quiet = true;
	w->plan.cut_in = 0;
	w->plan.pause_in = 0;
	w->plan.delay_ns = w->plan.period_ns / 1000;
	for (unsigned int i = 0; i < w->plan.clients; i++) {
		w->clients[i].out_until_ns = 0;
		w->clients[i].is_leaving = true;
	}
}

static void trouble(void *arg, uint64_t a, uint64_t b, void *data)
{
	struct whole *w = arg;
	struct sim *sim = w->sim;

	(void)a;
	(void)b;
	(void)data;
	if (sim->now_ns >= w->plan.quiet_ns) {
		quiet(w);
		return;
	}
	if (sim_one_in(sim, 3))
		trouble_boss(w, boss_now(w));
	else
		trouble_client(w, &w->clients[sim_below(sim, w->plan.clients)]);
	sim_at(sim, sim->now_ns + sim_skewed(sim, 0, 2 * w->plan.trouble_ns),
	       SIM_NOBODY, trouble, w, 0, 0, NULL);
}

/* ---- behind each step --------------------------------------------------- */

/* Bits read and written, as one believes. */
static void beliefs_of(const struct actor *a, const struct token *t,
		       unsigned int *reads, unsigned int *writes)
{
	if (!token_holds(a, t))
		return;
	if (cfs_lease_mode_of(t->lease) >= CFS_LOCK_S)
		*reads |= covers(t->resource);
	if (cfs_lease_mode_of(t->lease) == CFS_LOCK_X)
		*writes |= covers(t->resource);
}

static void judge_step(struct whole *w)
{
	unsigned int reads[CLIENTS + BOSSES] = { 0 }, writes[CLIENTS + BOSSES];
	const char *wrong;

	memset(writes, 0, sizeof(writes));
	for (unsigned int i = 0; i < w->plan.clients; i++) {
		const struct client_proc *c = &w->clients[i];

		if (!c->a.lc || c->clock.is_stopped ||
		    sim_clock_now(&c->clock) < c->taint_ns)
			continue;
		for (unsigned int k = 0; k < TOKENS; k++)
			beliefs_of(&c->a, &c->a.tokens[k], &reads[i],
				   &writes[i]);
	}
	for (unsigned int i = 0; i < BOSSES; i++) {
		const struct boss *b = &w->bosses[i];

		if (!b->is_there || !b->owner || !boss_is_seated(b))
			continue;
		for (unsigned int k = 0; k < TOKENS; k++)
			beliefs_of(&b->a, &b->a.tokens[k], &reads[CLIENTS + i],
				   &writes[CLIENTS + i]);
		beliefs_of(&b->a, &b->roll, &reads[CLIENTS + i],
			   &writes[CLIENTS + i]);
	}
	for (unsigned int i = 0; i < CLIENTS + BOSSES; i++)
		for (unsigned int k = 0; k < CLIENTS + BOSSES; k++)
			MUST(w->sim,
			     i == k || !(writes[i] & (reads[k] | writes[k])),
			     "%u and %u both believe that they hold %x", i, k,
			     writes[i] & (reads[k] | writes[k]));
	if (!boss_now(w)->owner || w->sim->steps % 16)
		return;
	wrong = cfs_owner_check(boss_now(w)->owner);
	MUST(w->sim, !wrong, "the owner: %s", wrong);
}

/* ---- the end ------------------------------------------------------------ */

static bool all_have_left(const struct whole *w)
{
	for (unsigned int i = 0; i < w->plan.clients; i++)
		if (!w->clients[i].has_left && w->clients[i].lives &&
		    w->clients[i].a.lc)
			return false;
	return true;
}

static void must(struct whole *w, int r, const char *what)
{
	MUST(w->sim, r == 0, "in the end: %s: %d: %s", what, r, why.msg);
}

/* All that were sealed are known to be gone. */
static void all_gone(struct whole *w, struct boss *b)
{
	struct records *rs = malloc(sizeof(*rs));
	struct cfs_lent_counts lent;

	assert_non_null(rs);
	for (unsigned int which = 0; which < 2; which++) {
		struct cfs_container *c = boss_container(b, which);

		records_of(b, which, 0, rs);
		for (size_t i = 0; i < rs->count; i++)
			must(w,
			     cfs_container_client_gone(c, rs->items[i].id, NULL,
						       &why),
			     "a client cannot be gone");
		must(w, cfs_container_commit(c, &why), "commit");
		cfs_container_lent_counts(c, &lent);
		MUST(w->sim,
		     lent.lent_groups == lent.frozen_groups &&
			     lent.clients == 0,
		     "%llu groups are lent in the end, "
		     "%llu of them frozen, to %llu clients",
		     (unsigned long long)lent.lent_groups,
		     (unsigned long long)lent.frozen_groups,
		     (unsigned long long)lent.clients);
	}
	free(rs);
}

/* What everybody has to see in the end. */
static void last_look(struct whole *w, struct boss *b)
{
	struct file_state files[NAMES];
	uint64_t value = 0, values[REGS];
	size_t at;

	must(w, actor_refresh(&b->a, false), "the LUN's record");
	for (unsigned int reg = 0; reg < REGS; reg++) {
		at = sim_history_begin(&w->histories[reg], ++w->sim->now_ns,
				       false, 0, 7);
		if (reg < LUN_REGS)
			must(w,
			     lun_read_reg(b->a.lun->container, b->a.branch,
					  CFS_STAMP_HEAD, w->lun_ino, reg,
					  &value),
			     "read");
		else
			must(w,
			     dir_read(b->a.fs, w->dir_inos[reg - LUN_REGS],
				      files, &value),
			     "read a directory");
		if (reg >= LUN_REGS) {
			judge_dir(w, reg - LUN_REGS, value, files, "the end");
			judge_other_half(w, reg - LUN_REGS, value);
		}
		sim_history_end(&w->histories[reg], at, ++w->sim->now_ns,
				value);
	}
	for (unsigned int i = 0; i < w->snap_count; i++) {
		must(w, snap_read(b, w->snaps[i].name, values, false),
		     "read a snapshot");
		MUST(w->sim,
		     memcmp(values, w->snaps[i].values, sizeof(values)) == 0,
		     "snapshot %s has changed", w->snaps[i].name);
	}
}

static void tell_history(struct whole *w, unsigned int reg)
{
	const struct sim_history *h = &w->histories[reg];

	for (size_t i = 0; i < h->count; i++)
		say(w, "%u: %u %s %llu, %llu .. %llu", reg, h->all[i].who,
		    h->all[i].is_write ? "writes" : "reads",
		    (unsigned long long)h->all[i].value,
		    (unsigned long long)h->all[i].begin_ns,
		    (unsigned long long)h->all[i].end_ns);
}

static void judge_histories(struct whole *w)
{
	for (unsigned int i = 0; i < REGS; i++) {
		const enum sim_verdict v = sim_history_judge(&w->histories[i]);

		if (v == SIM_NOT_LINEAR)
			tell_history(w, i);
		MUST(w->sim, v != SIM_NOT_LINEAR,
		     "register %u is not "
		     "linearizable",
		     i);
		if (v == SIM_NOT_KNOWN)
			count(w, COUNT_NOT_KNOWN);
	}
}

static void boss_done(struct boss *b)
{
	if (b->a.fs)
		cfs_fs_close(b->a.fs);
	b->a.fs = NULL;
	cfs_lease_client_free(b->a.lc);
	b->a.lc = NULL;
	cfs_owner_free(b->owner);
	b->owner = NULL;
	if (b->mgr.pool)
		cfs_pool_drop(b->mgr.pool);
	b->mgr.pool = NULL;
	if (b->mgr.holder)
		(void)cfs_holder_release(b->mgr.holder, false, NULL);
	b->mgr.holder = NULL;
	while (b->jobs) {
		struct job *job = b->jobs;

		b->jobs = job->next;
		free(job->rpc);
		free(job);
	}
}

/* A fresh host opens, once it is said of each former one that it is gone. */
static void open_afresh(struct whole *w)
{
	const unsigned int former = w->seat_boss;
	struct cfs_slice_counts n;
	struct boss *b = calloc(1, sizeof(*b));
	char name[16];

	assert_non_null(b);
	for (unsigned int i = 0; i <= former; i++)
		boss_done(&w->bosses[i]);
	b->w = b->a.w = w;
	b->a.is_boss = true;
	b->a.p = w->processes[0];
	for (unsigned int i = 0; i <= former; i++) {
		(void)snprintf(name, sizeof(name), "m%u", former - i);
		manager_init(&w->pool, &b->mgr, "z", 99, NO_DEVICE, NULL);
		must(w, manager_hold(&w->pool, &b->mgr, 0, name, &why),
		     "hold the pool");
		must(w, manager_pool(&b->mgr, false, &why), "open the pool");
		must(w, cfs_pool_member(b->mgr.pool, "lun", &b->a.lun, &why),
		     "the LUN");
		must(w, cfs_pool_member(b->mgr.pool, "tree", &b->a.tree, &why),
		     "the tree");
		must(w, boss_open_tree(b), "open the tree");
		last_look(w, b);
		(void)boss_check(b, "afresh");
		must(w,
		     cfs_pool_slice_counts(b->mgr.pool, UINT32_MAX, &n, &why),
		     "count slices");
		cfs_fs_close(b->a.fs);
		b->a.fs = NULL;
		manager_close(&b->mgr);
	}
	MUST(w->sim, n.frozen == 0 && n.used + n.free + n.bad == n.total,
	     "%llu slices: %llu used, %llu free, %llu bad, %llu frozen",
	     (unsigned long long)n.total, (unsigned long long)n.used,
	     (unsigned long long)n.free, (unsigned long long)n.bad,
	     (unsigned long long)n.frozen);
	free(b);
}

/* Former managers end, and all that was late lands. */
static void former_die(struct whole *w)
{
	for (unsigned int i = 0; i < w->seat_boss; i++)
		if (w->bosses[i].a.p->has_fiber)
			process_die(w->bosses[i].a.p);
	w->is_over = true;
	while (whole_late_left && sim_step(w->sim))
		;
}

static void settle(struct whole *w)
{
	struct boss *b = boss_now(w);

	MUST(w->sim, b->is_open && !b->is_retired,
	     "nobody manages in the "
	     "end");
	while (b->a.p->has_fiber) {
		b->is_done = true;
		MUST(w->sim, sim_step(w->sim), "the manager does not end");
	}
	former_die(w);
	all_gone(w, b);
	(void)boss_check(b, "in the end");
	last_look(w, b);
	judge_histories(w);
	open_afresh(w);
	judge_histories(w);
}

/* ---- a seed ------------------------------------------------------------- */

static void make_dirs(struct whole *w, struct cfs_member *tree)
{
	struct cfs_volume_rec rec = heal_volume(tree);
	struct cfs_clock_manual clock;
	struct cfs_view view;
	struct cfs_fs *fs;
	char name[16];

	cfs_clock_manual_init(&clock, 1, BORN_NS);
	cfs_volume_view(tree, &rec, &view);
	HEAL_OK(cfs_fs_open(&view, rec.ino, rec.hash_seed, &fs, &err_));
	cfs_fs_set_clock(fs, &clock.clock);
	for (unsigned int d = 0; d < DIRS; d++) {
		(void)snprintf(name, sizeof(name), "d%u", d);
		HEAL_OK(cfs_fs_mkdir(fs, rec.ino, name, strlen(name), 0755, 0,
				     0, &w->dir_inos[d], &err_));
	}
	cfs_fs_close(fs);
	HEAL_OK(cfs_container_commit(tree->container, &err_));
	w->tree_ino = rec.ino;
}

/* A pool with a LUN and a tree in it, closed; made once, then copied. */
static struct cfs_sim *template_of(bool is_mirror, struct whole *w)
{
	static struct cfs_sim *made[2];
	static struct whole as[2];
	struct shared_pool p;
	struct cfs_member *tree;
	struct manager m;

	if (!made[is_mirror]) {
		p = shared_new(is_mirror ? 2 : 1, is_mirror);
		manager_init(&p, &m, "m0", 1, NO_DEVICE, NULL);
		manager_open(&p, &m, NULL);
		as[is_mirror].lun_ino = heal_volume(manager_make_lun(&m)).ino;
		HEAL_OK(cfs_pool_container_make(m.pool, "tree", CFS_VOLUME_TREE,
						0, CFS_OBJECT_LIVE, &tree,
						&err_));
		HEAL_OK(cfs_volume_make_first(tree, CFS_VOLUME_TREE, 0, &err_));
		make_dirs(&as[is_mirror], tree);
		pool_wear(&m);
		manager_close(&m);
		made[is_mirror] = p.sim;
	}
	memcpy(w->dir_inos, as[is_mirror].dir_inos, sizeof(w->dir_inos));
	w->lun_ino = as[is_mirror].lun_ino;
	w->tree_ino = as[is_mirror].tree_ino;
	return made[is_mirror];
}

static void begin(struct whole *w)
{
	struct cfs_sim *from = template_of(w->plan.is_mirror, w);
	const struct cfs_sim_crash all = {
		.event_count = cfs_sim_event_count(from),
		.seed = UINT64_MAX,
	};

	w->pool.devices = w->plan.is_mirror ? 2 : 1;
	sleepy_clock_init(&w->pool.clock);
	HEAL_OK(cfs_sim_fork(from, &all, &w->pool.sim, &err_));
	sim_clock_init(&w->watch, w->sim, 1, -(int64_t)w->plan.drift_ppm);
	boss_begin(w, 0);
	for (unsigned int i = 0; i < w->plan.clients; i++)
		client_init(w, i);
	watch(w, 0, 0, NULL);
	sim_at(w->sim, w->plan.trouble_ns, SIM_NOBODY, trouble, w, 0, 0, NULL);
}

static void end(struct whole *w)
{
	for (unsigned int i = 0; i < w->plan.clients; i++) {
		struct client_proc *c = &w->clients[i];

		client_end_process(c);
	}
	for (unsigned int i = 0; i < w->process_count; i++) {
		process_done(w->processes[i]);
		cfs_devset_close(w->sets[i]);
		for (unsigned int k = 0; k < w->pool.devices; k++)
			device_free(w->devices[i][k]);
		free(w->processes[i]);
	}
	while (w->conns) {
		struct conn *conn = w->conns;

		w->conns = conn->next;
		free(conn);
	}
	for (unsigned int i = 0; i < REGS; i++)
		sim_history_done(&w->histories[i]);
	free(w->states);
	shared_free(&w->pool);
}

static void run(struct sim *sim)
{
	uint64_t end_ns;

	/* Who fails is abandoned as he stands, with his locks. */
	whole = calloc(1, sizeof(*whole));
	assert_non_null(whole);
	whole->sim = sim;
	process_now = NULL;
	whole_late = whole_late_left = 0;
	if (setjmp(whole_out))
		return;
	plan_make(whole);
	begin(whole);
	end_ns = whole->plan.quiet_ns + 60 * whole->plan.period_ns;
	while (!sim->has_failed && sim->now_ns < end_ns && sim_step(sim)) {
		judge_step(whole);
		if (whole->plan.is_quiet && all_have_left(whole) &&
		    boss_now(whole)->is_open && !boss_now(whole)->jobs &&
		    boss_now(whole)->owner &&
		    cfs_owner_client_count(boss_now(whole)->owner) <= 1)
			break;
	}
	if (sim->has_failed)
		return;
	MUST(sim, sim->now_ns < end_ns, "it does not come to an end");
	settle(whole);
	if (sim->has_failed)
		return;
	sim->counters[COUNT_LATE] += whole_late;
	end(whole);
	free(whole);
	whole = NULL;
}

int main(void)
{
	static const struct sim_suite suite = {
		.name = "whole",
		.seeds = 2000,
		.run = run,
		.counters = {
			[COUNT_GRANT] = { "grants", true },
			[COUNT_WRITE] = { "writes of a block", true },
			[COUNT_RUN] = { "writes of a run", true },
			[COUNT_READ] = { "reads", true },
			[COUNT_NAME] = { "changes of a directory", true },
			[COUNT_RENAME] = { "moves to the other", true },
			[COUNT_LOOK] = { "directories read", true },
			[COUNT_SYNC] = { "syncs", true },
			[COUNT_FOLD] = { "folds", true },
			[COUNT_RECALL] = { "recalls", true },
			[COUNT_EXPIRE] = { "clients that expired", true },
			[COUNT_REVOKE] = { "revoked", true },
			[COUNT_SEAL] = { "clients sealed", true },
			[COUNT_TAKEOVER] = { "takeovers", true },
			[COUNT_ZOMBIE] = { "zombie managers", true },
			[COUNT_RECLAIM] = { "clients preloaded", true },
			[COUNT_CRASH] = { "crashes", true },
			[COUNT_LATE] = { "writes of the dead", true },
			[COUNT_GONE] = { "clients gone", true },
			[COUNT_CUT] = { "connections cut", true },
			[COUNT_SNAPSHOT] = { "snapshots", true },
			[COUNT_ROLLBACK] = { "rollbacks", true },
			[COUNT_CLONE] = { "clones", true },
			[COUNT_CHURN] = { "containers made, removed", true },
			[COUNT_REFUSED] = { "clients that failed", true },
			[COUNT_STOPPED] = { "clocks stopped", true },
			[COUNT_CHECK] = { "checks", true },
			[COUNT_NOT_KNOWN] = { "histories not judged", false },
		},
	};

	return sim_main(&suite);
}
