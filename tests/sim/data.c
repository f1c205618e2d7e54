// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * A LUN in a shared pool, written by its owner and by clients directly, each
 * its parts, with the real containers on simulated devices.  Any of them may
 * stand still in any of its flushes, with what it has written since the one
 * before late; meanwhile the world goes on: a client is sealed and its parts
 * are others', the pool is taken over by another host, once or more.  Then the
 * sleeper wakes up, or is dead and its writes land at some later time.
 *
 * What must be true:
 *  - every block shows what was last synced under its holder, or something
 *    that was written since, and from then on what was seen there;
 *  - nobody is told that something is durable who has been sealed or taken
 *    over;
 *  - check finds nothing wrong, ever, and in the end, when all are known to be
 *    gone, nothing is lent or frozen any more.
 */
#include "data_steps.h"
#include "sleepy_clock.h"
#include "worn_pool.h"

/* ---- the end ----------------------------------------------------------------
 */

/* All late writes land; all that were sealed are known to be gone. */
static void settle(void)
{
	struct cfs_lent_counts lent;
	struct cfs_err err = CFS_ERR_INIT;
	int r;

	if (boss()->w.has_stopped)
		MUST(take_over(), "nobody is left to take the pool");
	disarm(&boss()->w);
	for (unsigned int i = 0; i < CLIENTS; i++) {
		struct writer *wr = world->clients[i];

		disarm(&wr->w);
		if (wr->w.has_stopped)
			expire(i);
	}
	for (unsigned int i = 0; i < world->zombie_count; i++) {
		struct writer *wr = world->zombies[i];

		writer_kill(wr);
		(void)gate_release(&wr->w);
	}
	for (unsigned int i = 0; i < world->boss; i++)
		(void)gate_release(&world->bosses[i].w);
	check("behind all late writes");
	for (unsigned int i = 0; i < world->zombie_count; i++) {
		r = cfs_container_client_gone(owner(), world->zombies[i]->cl.id,
					      NULL, &err);
		MUST(r == 0, "client %llu cannot be gone: %s",
		     (unsigned long long)world->zombies[i]->cl.id, err.msg);
		count(COUNT_GONE);
	}
	for (unsigned int i = 0; i < CLIENTS; i++) {
		struct writer *wr = world->clients[i];

		wr->cl.loses_answer = false;
		r = cfs_client_member_close(wr->cl.m, &err);
		wr->is_open = false;
		if (r == 0)
			acked(i);
		r = cfs_container_client_gone(owner(), wr->cl.id, NULL, &err);
		MUST(r == 0, "client %u cannot leave: %s", i, err.msg);
		look(owner(), i, true);
	}
	look(owner(), OWNER, false);
	check("when all have left");
	cfs_container_lent_counts(owner(), &lent);
	MUST(lent.lent_groups == lent.frozen_groups && lent.clients == 0,
	     "%llu groups are lent in the end, %llu of them frozen, to %llu "
	     "clients",
	     (unsigned long long)lent.lent_groups,
	     (unsigned long long)lent.frozen_groups,
	     (unsigned long long)lent.clients);
	r = cfs_container_commit(owner(), &err);
	MUST(r == 0, "the last commit: %s", err.msg);
	acked(OWNER);
}

static void boss_free(struct boss *b)
{
	if (!b->m.set)
		return;
	if (b->m.pool)
		cfs_pool_drop(b->m.pool);
	if (b->m.holder)
		(void)cfs_holder_release(b->m.holder, false, NULL);
	cfs_devset_close(b->m.set);
	manager_free_gates(&b->m);
	for (size_t i = 0; i < b->w.late_count; i++)
		free(b->w.late[i].data);
	memset(b, 0, sizeof(*b));
}

/* A fresh host opens, once it is said of each former one that it is gone. */
static void open_afresh(void)
{
	struct cfs_slice_counts counts;
	struct cfs_lent_counts lent;
	struct boss *b = &world->bosses[0];
	const unsigned int former = world->boss;
	struct cfs_err err = CFS_ERR_INIT;
	char name[8];
	int r = 0;

	for (unsigned int i = 0; i <= former; i++)
		boss_free(&world->bosses[i]);
	world->boss = 0;
	for (unsigned int i = 0; r == 0 && i <= former; i++) {
		(void)snprintf(name, sizeof(name), "m%u", former - i);
		manager_init(&world->p, &b->m, "z", 99, NO_DEVICE, NULL);
		r = manager_hold(&world->p, &b->m, 0, name, &err);
		if (r == 0)
			r = manager_pool(&b->m, false, &err);
		if (r == 0)
			r = cfs_pool_member(b->m.pool, "lun", &b->lun, &err);
		MUST(r == 0, "a fresh host, %s gone: %s", name, err.msg);
		look(owner(), OWNER, true);
		check("afresh");
		r = cfs_pool_slice_counts(b->m.pool, UINT32_MAX, &counts, &err);
		cfs_container_lent_counts(owner(), &lent);
		manager_close(&b->m);
	}
	MUST(counts.frozen == 0 && lent.frozen_groups == 0,
	     "%llu slices and %llu groups are frozen in the end",
	     (unsigned long long)counts.frozen,
	     (unsigned long long)lent.frozen_groups);
}

/* ---- a seed -----------------------------------------------------------------
 */

/* A pool with a LUN in it, closed; made once, then every seed has a copy. */
static struct cfs_sim *template_of(bool is_mirror)
{
	static struct cfs_sim *made[2];
	struct shared_pool p;
	struct manager m;

	if (made[is_mirror])
		return made[is_mirror];
	p = shared_new(is_mirror ? 2 : 1, is_mirror);
	manager_init(&p, &m, "m0", 1, NO_DEVICE, NULL);
	manager_open(&p, &m, NULL);
	(void)manager_make_lun(&m);
	pool_wear(&m);
	manager_close(&m);
	made[is_mirror] = p.sim;
	return p.sim;
}

static void begin(void)
{
	const bool is_mirror = below(6) == 0;
	struct cfs_sim *from = template_of(is_mirror);
	const struct cfs_sim_crash all = {
		.event_count = cfs_sim_event_count(from),
		.seed = UINT64_MAX,
	};
	struct boss *b = &world->bosses[0];

	world->p.devices = is_mirror ? 2 : 1;
	sleepy_clock_init(&world->p.clock);
	HEAL_OK(cfs_sim_fork(from, &all, &world->p.sim, &err_));
	(void)snprintf(b->name, sizeof(b->name), "m0");
	b->w.hook = world_goes_on;
	b->w.arg = b;
	cfs_rng_init(&b->w.rng, cfs_rng_u64(&world->sim->rng));
	manager_init(&world->p, &b->m, "m0", 1, NO_DEVICE, &b->w);
	manager_open(&world->p, &b->m, NULL);
	b->lun = manager_lun(&b->m);
	b->is_open = true;
	world->ino = heal_volume(b->lun).ino;
	for (unsigned int i = 0; i < CLIENTS; i++)
		client_begin(i);
	for (unsigned int p = 0; p < PARTS; p++)
		world->holder[p] = (unsigned int)below(CLIENTS + 1);
}

static void end(void)
{
	for (unsigned int i = 0; i < CLIENTS; i++)
		writer_free(world->clients[i]);
	for (unsigned int i = 0; i < world->zombie_count; i++)
		writer_free(world->zombies[i]);
	for (unsigned int i = 0; i < MANAGERS; i++)
		boss_free(&world->bosses[i]);
	shared_free(&world->p);
}

static void run(struct sim *sim)
{
	struct data_world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	w->sim = sim;
	world = w;
	/* Who fails is abandoned as he stands, with his locks. */
	if (setjmp(w->out))
		return;
	begin();
	for (unsigned int steps = 20 + (unsigned int)below(80); steps;
	     steps--) {
		sim->now_ns += CFS_NS_PER_MS;
		sim->steps++;
		step();
	}
	settle();
	open_afresh();
	end();
	free(w);
	world = NULL;
}

int main(void)
{
	static const struct sim_suite suite = {
		.name = "data",
		.seeds = 1000,
		.run = run,
		.counters = {
			[COUNT_WRITE] = { "writes", true },
			[COUNT_SYNC] = { "syncs", true },
			[COUNT_FOLD] = { "folds", true },
			[COUNT_PASS] = { "parts passed on", true },
			[COUNT_SEAL] = { "clients sealed", true },
			[COUNT_TAKEOVER] = { "takeovers", true },
			[COUNT_STOP] = { "stood still", true },
			[COUNT_WAKE] = { "went on", true },
			[COUNT_LATE] = { "late writes landed", true },
			[COUNT_ZOMBIE] = { "steps of zombies", true },
			[COUNT_GONE] = { "clients gone", true },
			[COUNT_REFUSED] = { "refused", true },
			[COUNT_CHURN] = { "containers made, removed", true },
			[COUNT_FULL] = { "no space", false },
		},
	};

	return sim_main(&suite);
}
