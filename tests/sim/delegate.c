// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * A container that goes to a secondary, which has clients of its own, and comes
 * home, with the real owners and clients of leases, and the real containers on
 * simulated devices.  Managers, secondaries and clients stand still in any of
 * their flushes, pause, die, are cut off, and wake up late; their clocks drift
 * and jump; managers are taken over meanwhile, while the container is away, on
 * its way, or at home.
 *
 * What must be true:
 *  - no two leases that conflict are believed valid at one moment, whoever
 *    granted them;
 *  - whoever gets a lease finds what was last acknowledged under it, or
 *    something that was written since, and from then on what it found;
 *  - check finds nothing wrong, ever;
 *  - in the end, when all are known to be gone, nothing is lent, delegated or
 *    frozen, and every slice is used or free.
 */
#include "delegate_steps.h"
#include "sleepy_clock.h"
#include "worn_pool.h"

/* ---- steps --------------------------------------------------------------- */

static void step(void)
{
	struct server *b;
	const unsigned int what = (unsigned int)below(100);

	pass(1 + sim_skewed(world->sim, 0,
			    world->period_ns / (world->depth ? 8 : 40)));
	b = world->boss;
	if (b->n.w.has_stopped && !b->n.is_busy) {
		if (take_over())
			server_kill(b);
		return;
	}
	if (b->is_over && !b->n.is_busy && b == world->boss) {
		(void)take_over();
		return;
	}
	if (world->second && world->second->n.w.has_stopped &&
	    !world->second->n.is_busy)
		server_kill(world->second);
	for (unsigned int i = 0; i < WRITERS; i++)
		if (world->now[i]->n.w.has_stopped)
			world->now[i]->a.is_lost = true;
	if (what < 72) {
		writer_step(world->now[below(WRITERS)]);
	} else if (what < 86) {
		server_step(b->away == AWAY_NONE || !world->second
				    ? b
				    : world->second);
	} else if (what < 92) {
		if (b->away == AWAY_NONE && world->depth == 0)
			delegate_to_another();
	} else if (what < 93) {
		if (world->second && world->depth == 0 && one_in(3))
			second_return(world->second);
	} else if (what < 95) {
		if (!world->is_quiet)
			trouble();
	} else if (what < 98) {
		zombie_step();
	} else if (world->depth == 0 && one_in(4)) {
		check("on the way");
	}
}

/* Somebody stands still.  Others find that out, or it was only slow. */
static void goes_on(void *arg)
{
	struct node *n = arg;
	unsigned int steps = (unsigned int)below(25);

	count(COUNT_STOP);
	if (world->depth >= 2)
		return;
	world->depth++;
	n->is_still = true;
	say("%s stands still", n->name);
	if (n == &world->boss->n) {
		/* Nobody else can do anything, or there is another one. */
		if (one_in(4) || !take_over())
			steps = 0;
	}
	while (steps--)
		step();
	world->depth--;
	n->is_still = false;
	say("%s goes on", n->name);
}

/* ---- the end ------------------------------------------------------------- */

static void all_die(void)
{
	struct server *b;

	world->is_quiet = true;
	for (unsigned int i = 0; i < world->server_count; i++)
		disarm(&world->servers[i].n);
	b = world->boss;
	if (b->n.w.has_stopped || b->is_over) {
		MUST(take_over(), "no host is left");
		server_kill(b);
	}
	for (unsigned int i = 0; i < world->writer_count; i++) {
		struct writer *wr = world->writers[i];

		writer_kill(wr);
		(void)gate_release(&wr->n.w);
	}
	for (unsigned int i = 0; i < world->server_count; i++) {
		struct server *s = &world->servers[i];

		if (s == world->boss)
			continue;
		server_kill(s);
		(void)gate_release(&s->n.w);
		if (!s->is_boss && s->epoch)
			tell_gone(s);
	}
	check("behind all late writes");
}

static void look_last(struct cfs_container *c, const char *who)
{
	uint8_t buf[PART_BLOCKS * HEAL_BLOCK];

	for (unsigned int p = 0; p < PARTS; p++) {
		MUST(read_part(c, p, buf) == 0, "%s cannot read: %s", who,
		     why.msg);
		judge_part(p, buf, who, true);
	}
}

static int last_sealed(void *arg, const struct cfs_delegation *d,
		       struct cfs_err *err)
{
	(void)err;
	if (d->rec.state == CFS_DELEGATION_SEALED)
		*(uint32_t *)arg = d->epoch;
	return 0;
}

/* Also those that never heard that they had it. */
static void all_gone(struct server *b)
{
	uint32_t epoch;
	int r;

	do {
		epoch = 0;
		r = cfs_pool_delegations(b->pool, last_sealed, &epoch, &why);
		if (r == 0 && epoch)
			r = cfs_pool_delegation_end(b->pool, world->container,
						    epoch, &why);
		MUST(r == 0, "one cannot be gone: %s", why.msg);
	} while (epoch);
}

static void settle(void)
{
	struct cfs_lent_counts lent;
	struct records *rs;
	struct server *b;
	int r;

	all_die();
	b = world->boss;
	for (unsigned int i = 0;
	     i < 400 && (b->away != AWAY_NONE || b->job_count ||
			 cfs_owner_is_in_grace_of(b->owner, 0));
	     i++)
		pass(world->period_ns / 10);
	MUST(b->away == AWAY_NONE && b->lun, "the container is not at home");
	for (unsigned int p = 0; p < PARTS; p++)
		actor_release(&b->a, p);
	rs = records_of(b->lun->container, 0);
	for (size_t i = 0; i < rs->count; i++)
		MUST(cfs_container_client_gone(b->lun->container,
					       rs->items[i].id, NULL,
					       &why) == 0,
		     "a client cannot be gone: %s", why.msg);
	free(rs);
	look_last(b->lun->container, "in the end");
	all_gone(b);
	/* Whoever opens it then takes what former ones had. */
	r = cfs_pool_member_close(b->pool, b->lun, &why);
	if (r == 0)
		r = cfs_pool_member(b->pool, "lun", &b->lun, &why);
	MUST(r == 0, "open it once more: %s", why.msg);
	check("when all have left");
	cfs_container_lent_counts(b->lun->container, &lent);
	MUST(lent.lent_groups == lent.frozen_groups && lent.clients == 0,
	     "%llu groups are lent in the end, %llu of them frozen",
	     (unsigned long long)lent.lent_groups,
	     (unsigned long long)lent.frozen_groups);
}

static void server_free(struct server *s)
{
	server_kill(s);
	cfs_devset_close(s->is_boss ? s->m.set : s->set);
	for (unsigned int i = 0; i < SHARED_DEVICES_MAX; i++) {
		struct cfs_dev *gate = s->is_boss ? s->m.gate[i] : s->gates[i];

		if (gate)
			gate_free(gate);
	}
	for (size_t i = 0; i < s->n.w.late_count; i++)
		free(s->n.w.late[i].data);
}

static void all_free(void)
{
	for (unsigned int i = 0; i < world->writer_count; i++) {
		struct writer *wr = world->writers[i];

		writer_kill(wr);
		cfs_devset_close(wr->set);
		for (unsigned int k = 0; k < world->p.devices; k++)
			gate_free(wr->gates[k]);
		for (size_t k = 0; k < wr->n.w.late_count; k++)
			free(wr->n.w.late[k].data);
		free(wr);
	}
	for (unsigned int i = 0; i < world->server_count; i++)
		server_free(&world->servers[i]);
	while (conns) {
		struct conn *c = conns;

		conns = c->next;
		conn_free(c);
	}
}

/* A fresh host opens, once it is said of each former one that it is gone. */
static void open_afresh(void)
{
	const unsigned int former = world->bosses;
	struct cfs_slice_counts n;
	struct cfs_member *lun;
	struct manager m;
	char name[16];
	int r;

	memset(&n, 0, sizeof(n));
	for (unsigned int i = 0; i < former; i++) {
		(void)snprintf(name, sizeof(name), "m%u", former - 1 - i);
		manager_init(&world->p, &m, "z", 99, NO_DEVICE, NULL);
		r = manager_hold(&world->p, &m, 0, name, &why);
		if (r == 0)
			r = manager_pool(&m, false, &why);
		if (r == 0)
			r = cfs_pool_member(m.pool, "lun", &lun, &why);
		MUST(r == 0, "a fresh host: %d: %s", r, why.msg);
		look_last(lun->container, "afresh");
		manager_check(&m);
		HEAL_OK(cfs_pool_slice_counts(m.pool, UINT32_MAX, &n, &err_));
		manager_close(&m);
	}
	MUST(n.frozen == 0 && n.used + n.free + n.bad == n.total,
	     "%llu slices: %llu used, %llu free, %llu bad, %llu frozen",
	     (unsigned long long)n.total, (unsigned long long)n.used,
	     (unsigned long long)n.free, (unsigned long long)n.bad,
	     (unsigned long long)n.frozen);
}

/* ---- a seed -------------------------------------------------------------- */

/* A pool with a LUN in it, closed; made once, then every seed has a copy. */
static struct cfs_sim *template_of(bool is_mirror)
{
	static struct cfs_sim *made[2];
	static uint64_t ids[2][2];
	struct shared_pool p;
	struct cfs_member *lun;
	struct manager m;

	if (!made[is_mirror]) {
		p = shared_new(is_mirror ? 2 : 1, is_mirror);
		manager_init(&p, &m, "m0", 1, NO_DEVICE, NULL);
		manager_open(&p, &m, NULL);
		lun = manager_make_lun(&m);
		ids[is_mirror][0] = lun->id;
		ids[is_mirror][1] = heal_volume(lun).ino;
		pool_wear(&m);
		manager_close(&m);
		made[is_mirror] = p.sim;
	}
	world->container = ids[is_mirror][0];
	world->ino = ids[is_mirror][1];
	return made[is_mirror];
}

static void begin(void)
{
	static const uint32_t drifts[] = { 1, 2000, 50000, 300000 };
	const bool is_mirror = one_in(8);
	struct cfs_sim *from = template_of(is_mirror);
	const struct cfs_sim_crash all = {
		.event_count = cfs_sim_event_count(from),
		.seed = UINT64_MAX,
	};

	world->period_ns = CFS_NS_PER_S;
	world->drift_ppm = drifts[below(4)];
	world->p.devices = is_mirror ? 2 : 1;
	sleepy_clock_init(&world->p.clock);
	HEAL_OK(cfs_sim_fork(from, &all, &world->p.sim, &err_));
	boss_begin();
	for (unsigned int i = 0; i < WRITERS; i++)
		writer_new(i);
}

static void run(struct sim *sim)
{
	/* Who fails is abandoned as he stands, with his locks. */
	world = calloc(1, sizeof(*world));
	assert_non_null(world);
	world->sim = sim;
	conns = NULL;
	if (setjmp(world->out))
		return;
	begin();
	for (unsigned int steps = 200 + (unsigned int)below(600); steps;
	     steps--)
		step();
	settle();
	all_free();
	open_afresh();
	shared_free(&world->p);
	free(world);
	world = NULL;
}

int main(void)
{
	static const struct sim_suite suite = {
		.name = "delegate",
		.seeds = 2000,
		.run = run,
		.counters = {
			[COUNT_GRANT] = { "grants", true },
			[COUNT_WRITE] = { "writes", true },
			[COUNT_SYNC] = { "syncs", true },
			[COUNT_FOLD] = { "folds", true },
			[COUNT_LOOK] = { "parts read", true },
			[COUNT_DELEGATE] = { "delegated", true },
			[COUNT_RETURN] = { "returned", true },
			[COUNT_HOME_GONE] = { "home, it was gone", true },
			[COUNT_HOME_SILENT] = { "home, it was silent", true },
			[COUNT_AGAIN] = { "bound again", true },
			[COUNT_RECLAIM] = { "clients that came back", true },
			[COUNT_SEAL] = { "clients sealed", true },
			[COUNT_TAKEOVER] = { "managers taken over", true },
			[COUNT_AWAY] = { "while it was away", true },
			[COUNT_STOP] = { "stood still", true },
			[COUNT_LATE] = { "late writes landed", true },
			[COUNT_ZOMBIE] = { "steps of zombies", true },
			[COUNT_UNBOUND] = { "looks without a lease", true },
			[COUNT_OVER] = { "found out that it is over", true },
			[COUNT_CRASH] = { "crashes", true },
			[COUNT_CUT] = { "connections cut", true },
			[COUNT_PAUSE] = { "paused", true },
			[COUNT_FAILED] = { "failures", true },
			[COUNT_LATE_GRANT] = { "granted by who was taken over",
					       true },
			[COUNT_PLAIN] = { "leases for nothing else", true },
		},
	};

	return sim_main(&suite);
}
