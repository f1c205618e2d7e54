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
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../unit/shared_fixture.h"
#include "../unit/client_fixture.h"
#include "sim_engine.h"

#define PARTS		6u
#define PART_BLOCKS	40u
#define BLOCKS		(PARTS * PART_BLOCKS)
#define CLIENTS		3u
#define OWNER		CLIENTS		/* as the holder of a part */
#define PENDING_MAX	64u
#define MANAGERS	4u
#define ZOMBIES		24u
#define NO_DEVICE	UINT32_MAX

enum counter {
	COUNT_WRITE, COUNT_SYNC, COUNT_FOLD, COUNT_PASS, COUNT_SEAL,
	COUNT_TAKEOVER, COUNT_STOP, COUNT_WAKE, COUNT_LATE, COUNT_ZOMBIE,
	COUNT_GONE, COUNT_REFUSED, COUNT_FULL,
};

/* What may stand in a block: seeds of contents, 0 is zeroes. */
struct cell {
	uint64_t	acked;
	uint64_t	pending[PENDING_MAX];
	unsigned int	count;
};

struct writer {				/* a client's process */
	struct client	cl;
	struct gate_world w;
	struct cfs_devset *set;
	struct cfs_dev	*gates[SHARED_DEVICES_MAX];
	bool		is_open, is_busy, is_sealed;
};

struct boss {				/* a host that holds the pool */
	struct manager	m;
	struct gate_world w;
	struct cfs_member *lun;
	char		name[8];
	bool		is_busy, is_open;
};

struct data_world {
	struct sim	*sim;
	struct shared_pool p;
	struct boss	bosses[MANAGERS];
	unsigned int	boss;		/* the present one */
	uint64_t	ino;
	struct writer	*clients[CLIENTS];
	struct writer	*zombies[ZOMBIES];
	unsigned int	zombie_count;
	unsigned int	holder[PARTS];
	struct cell	cells[BLOCKS];
	uint64_t	next;
	unsigned int	depth, left;	/* steps */
	jmp_buf		out;
};

static struct data_world *world;		/* of the seed under way */
static struct cfs_err why;			/* the last failure */

static uint64_t below(uint64_t n)
{
	return sim_below(world->sim, n);
}

#define MUST(cond, ...)							\
	do {								\
		if (!(cond)) {						\
			sim_fail(world->sim, __VA_ARGS__);		\
			longjmp(world->out, 1);				\
		}							\
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

/* ---- what may be found ---------------------------------------------------- */

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
		const uint8_t *got = buf + (size_t)(i % PART_BLOCKS) *
			HEAL_BLOCK;
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
		is_found = shows(got, at->count && !is_new ?
				 at->pending[at->count - 1] : at->acked);
		for (unsigned int k = 0; is_new && !is_found && k < at->count;
		     k++) {
			is_found = shows(got, at->pending[k]);
			if (is_found)
				at->acked = at->pending[k];
		}
		MUST(is_found, "block %u of %u is not %llu, and none of %u "
		     "written since", i, who, (unsigned long long)at->acked,
		     at->count);
		if (is_new)
			at->count = 0;
	}
}

/* ---- clients -------------------------------------------------------------- */

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
		.source = &client_source, .source_ctx = &wr->cl,
		.is_checked = true,
	};
	CFS_CLEANUP(cfs_client_view_donep) struct cfs_client_view view = {
		.smap = NULL };
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

/* ---- steps of clients ------------------------------------------------------ */

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

static int write_at(struct cfs_container *c, unsigned int first,
		    unsigned int n, bool is_known)
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
		r = below(4) ? cfs_container_fold(wr->cl.c, &why) :
			cfs_container_give_back(wr->cl.c, below(2), &why);
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
			r = below(3) ? cfs_container_sync(wr->cl.c, &why) :
				cfs_container_fold(wr->cl.c, &why);
		wr->is_busy = false;
		MUST(r < 0, "zombie %llu is told that it is durable",
		     (unsigned long long)wr->cl.id);
	} else if (below(2)) {
		writer_kill(wr);
	}
}

/* ---- the owner ------------------------------------------------------------- */

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

static void owner_step(void)
{
	struct boss *b = boss();
	const unsigned int me = world->boss;
	unsigned int what = (unsigned int)below(10), first, n;
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
	} else {
		r = cfs_container_commit(b->lun->container, &why);
		is_durable = true;
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

	if (from == to || (from != OWNER && !is_usable(from)) ||
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
	if (to != OWNER) {
		wr = world->clients[to];
		wr->is_busy = true;
		r = cfs_container_refresh(wr->cl.c, &why);
		wr->is_busy = false;
		if (r < 0) {
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
			steps = 0;	/* nobody can do anything */
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

/* ---- the end ---------------------------------------------------------------- */

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
	     "clients", (unsigned long long)lent.lent_groups,
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
		r = cfs_pool_slice_counts(b->m.pool, UINT32_MAX, &counts,
					  &err);
		cfs_container_lent_counts(owner(), &lent);
		manager_close(&b->m);
	}
	MUST(counts.frozen == 0 && lent.frozen_groups == 0,
	     "%llu slices and %llu groups are frozen in the end",
	     (unsigned long long)counts.frozen,
	     (unsigned long long)lent.frozen_groups);
}

/* ---- a seed ----------------------------------------------------------------- */

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
	manager_close(&m);
	made[is_mirror] = p.sim;
	return p.sim;
}

static void begin(void)
{
	const bool is_mirror = below(6) == 0;
	struct cfs_sim *from = template_of(is_mirror);
	const struct cfs_sim_crash all = {
		.event_count = cfs_sim_event_count(from), .seed = UINT64_MAX,
	};
	struct boss *b = &world->bosses[0];

	world->p.devices = is_mirror ? 2 : 1;
	cfs_clock_manual_init(&world->p.clock, 1,
			      UINT64_C(1700000000000000000));
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
	for (unsigned int steps = 20 + (unsigned int)below(80); steps; steps--) {
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
			[COUNT_FULL] = { "no space", false },
		},
	};

	return sim_main(&suite);
}
