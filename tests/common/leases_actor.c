/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Who asks for leases in a client and uses them.  Each access is checked, then
 * issued, then done, as events of their own: between any two of them its node
 * may be paused, or die.
 *
 * A write is acknowledged when it is at the device, flushed, and its lease
 * holds still; where clocks may stop, also the log's gravestone is looked at
 * behind the flush (and behind each read).
 */
#include "leases_world.h"

#include <stdlib.h>
#include <string.h>

#define BLOCK 4096u

static const struct cfs_lock_resource resources[LEASES_RESOURCES] = {
	{ 1, 1, 1, 0, BLOCK },
	{ 1, 1, 1, BLOCK, BLOCK },
	{ 1, 1, 1, 2 * BLOCK, BLOCK },
	{ 1, 1, 1, 0, 2 * BLOCK },
	{ 1, 1, 1, 0, CFS_LOCK_LENGTH_WHOLE },
	{ 1, 1, 0, 0, CFS_LOCK_LENGTH_WHOLE },
};

const struct cfs_lock_resource *leases_resource(unsigned int index)
{
	return &resources[index];
}

static unsigned int blocks_of(const struct cfs_lock_resource *res)
{
	unsigned int bits = 0;

	for (unsigned int i = 0; i < LEASES_BLOCKS; i++) {
		uint64_t at = (uint64_t)i * BLOCK;

		if (res->length_bytes == CFS_LOCK_LENGTH_WHOLE ||
		    (at >= res->offset_bytes &&
		     at < res->offset_bytes + res->length_bytes))
			bits |= 1u << i;
	}
	return bits;
}

unsigned int leases_reads(const struct cfs_lock_resource *res, uint32_t mode)
{
	return mode >= CFS_LOCK_S ? blocks_of(res) : 0;
}

unsigned int leases_writes(const struct cfs_lock_resource *res, uint32_t mode)
{
	return mode == CFS_LOCK_X ? blocks_of(res) : 0;
}

/* ---- steps --------------------------------------------------------------- */

static void actor_step(void *arg, uint64_t op, uint64_t b, void *data);

static void step_at(struct leases_actor *a, uint64_t delay_ns)
{
	struct sim *sim = a->w->sim;

	sim_at(sim, sim->now_ns + delay_ns, a->c->node, actor_step, a, a->op, 0,
	       NULL);
}

void leases_actor_wake(struct leases_actor *a)
{
	step_at(a, 0);
}

static void actor_set(struct leases_actor *a, enum leases_actor_state state,
		      uint64_t delay_ns)
{
	a->state = state;
	a->op++;
	step_at(a, delay_ns);
}

static uint64_t think_ns(struct leases_actor *a)
{
	return sim_skewed(a->w->sim, 0,
			  a->w->plan.is_quiet ? a->w->plan.period_ns / 50
					      : a->w->plan.think_ns);
}

static void actor_release(struct leases_actor *a)
{
	sim_say(a->w->sim, "c%u.%u lets go of %u", a->c->index, a->index,
		a->resource);
	if (a->token)
		cfs_lease_client_release(a->token);
	a->token = NULL;
	a->dirty_count = 0;
	if (a->w->plan.is_quiet && a->rounds == 0)
		actor_set(a, ACTOR_DONE, 0);
	else
		actor_set(a, ACTOR_IDLE, think_ns(a));
}

/* ---- asking -------------------------------------------------------------- */

/* Who only reads needs none. */
static bool has_log(const struct leases_client *c)
{
	return c->is_reader ||
	       (c->log_client && c->log_client == cfs_lease_client_id(c->lc));
}

static void actor_ask(struct leases_actor *a)
{
	struct sim *sim = a->w->sim;
	struct leases_client *c = a->c;
	bool is_last = a->w->plan.is_quiet;
	struct cfs_lease_request req = {
		.key = a->index + 1,
		.user = a,
		.flags = CFS_MSG_LOCK_WAIT,
	};
	int r;

	if (c->is_leaving || c->has_left || !has_log(c)) {
		/* Without a log there is nothing to do. */
		if (c->is_leaving && is_last)
			actor_set(a, ACTOR_DONE, 0);
		else
			actor_set(a, ACTOR_IDLE, 1 + a->w->plan.period_ns / 8);
		return;
	}
	a->resource = (unsigned int)sim_below(sim, LEASES_RESOURCES);
	if (is_last) {
		a->resource = LEASES_RESOURCES - 1 - a->rounds % 2;
		a->rounds--;
	}
	req.resource = resources[a->resource];
	req.mode = is_last || sim_one_in(sim, 2) ? CFS_LOCK_X : CFS_LOCK_S;
	if (a->resource == LEASES_RESOURCES - 1 && !is_last &&
	    sim_one_in(sim, 2))
		req.mode = (uint32_t)(CFS_LOCK_IS + sim_below(sim, 4));
	if (!sim_one_in(sim, 3))
		req.flags |= CFS_MSG_LOCK_RECALLABLE;
	if (a->w->plan.is_contended && !is_last) {
		req.mode = CFS_LOCK_X;
		req.flags = CFS_MSG_LOCK_WAIT;
		req.resource = resources[a->resource = LEASES_RESOURCES - 2];
	}
	a->is_recallable = req.flags & CFS_MSG_LOCK_RECALLABLE;
	if (!is_last && sim_one_in(sim, 5))
		req.flags &= ~(uint32_t)CFS_MSG_LOCK_WAIT;
	a->accesses = 1 + (int)sim_below(sim, a->w->plan.accesses);
	a->is_answered = false;
	a->dirty_count = 0;
	a->state = ACTOR_ASKED;
	a->op++;
	sim_say(sim, "c%u.%u asks for %s on %u%s", c->index, a->index,
		cfs_lock_mode_name(req.mode), a->resource,
		req.flags & CFS_MSG_LOCK_RECALLABLE ? ", recallable" : "");
	r = cfs_lease_client_acquire(c->lc, &req, &a->token, NULL);
	if (r < 0) {
		sim_fail(sim, "acquire: %d", r);
		return;
	}
	if (cfs_lease_state_of(a->token) != CFS_LEASE_ASKED) {
		leases_count(a->w, COUNT_CACHED);
		a->is_answered = true;
	}
	step_at(a, a->is_answered ? 0
		   : is_last      ? a->w->plan.period_ns
			     : sim_skewed(sim, 0, 8 * a->w->plan.period_ns));
}

static void actor_asked(struct leases_actor *a)
{
	enum cfs_lease_state state = cfs_lease_state_of(a->token);

	if (state == CFS_LEASE_ASKED && !a->w->plan.is_quiet) {
		/* Waited too long: never mind. */
		actor_release(a);
	} else if (state == CFS_LEASE_REFUSED || state == CFS_LEASE_LOST) {
		leases_count(a->w, COUNT_REFUSED);
		if (a->w->plan.is_quiet)
			a->rounds++;
		actor_release(a);
	} else if (state == CFS_LEASE_HELD) {
		leases_count(a->w, COUNT_GRANT);
		sim_say(a->w->sim, "c%u.%u holds %u in %s, generation %llx",
			a->c->index, a->index, a->resource,
			cfs_lock_mode_name(cfs_lease_mode_of(a->token)),
			(unsigned long long)cfs_lease_generation_of(a->token));
		actor_set(a, ACTOR_HELD, think_ns(a) / 4);
	}
}

/* ---- accesses ------------------------------------------------------------ */

static struct leases_flight *flight_new(struct leases_actor *a)
{
	struct leases_world *w = a->w;
	struct leases_flight *f = calloc(1, sizeof(*f));

	if (!f)
		abort();
	*f = (struct leases_flight){
		.next = w->flights,
		.client = a->c->index,
		.actor = a->index,
		.client_life = w->sim->nodes[a->c->node].life,
		.op = a->op,
		.blocks = 1u << a->block,
		.is_write = a->is_write,
		.until_ns = a->check_ns + w->plan.access_ns,
		.is_tainted = leases_client_is_tainted(a->c),
	};
	w->flights = f;
	return f;
}

static void flight_free(struct leases_world *w, struct leases_flight *f)
{
	struct leases_flight **at = &w->flights;

	while (*at != f)
		at = &(*at)->next;
	*at = f->next;
	cfs_dev_close(f->dev);
	free(f);
}

bool leases_flight_exists(const struct leases_world *w, uint32_t client,
			  uint32_t below_life)
{
	for (const struct leases_flight *f = w->flights; f; f = f->next)
		if (f->client == client && f->client_life < below_life)
			return true;
	return false;
}

static uint64_t device_ns(struct leases_actor *a)
{
	struct leases_world *w = a->w;
	uint64_t done_ns = a->check_ns + w->plan.access_ns;

	if (!w->plan.is_quiet && sim_one_in(w->sim, w->plan.late_in)) {
		leases_count(w, COUNT_LATE_ACCESS);
		return sim_skewed(w->sim, 0, 4 * w->plan.period_ns);
	}
	if (done_ns <= w->sim->now_ns + 1)
		return 1;
	return sim_one_in(w->sim, 3)
		       ? done_ns - w->sim->now_ns
		       : sim_skewed(w->sim, 1, done_ns - w->sim->now_ns);
}

static bool is_still_good(struct leases_actor *a)
{
	return a->token && cfs_lease_state_of(a->token) == CFS_LEASE_HELD &&
	       cfs_lease_client_still_holds(a->token) &&
	       (a->c->is_reader ||
		a->log_client == cfs_lease_client_id(a->c->lc)) &&
	       !(a->w->plan.has_stops &&
		 leases_store_is_buried(a->w, a->log, a->log_client));
}

/* The client hears that its write is at the device. */
static void write_answer(void *arg, uint64_t op, uint64_t b, void *data)
{
	struct leases_actor *a = arg;
	struct leases_client *c = a->c;
	struct leases_world *w = a->w;

	(void)b;
	(void)data;
	c->writes_active--;
	if (a->op != op || cfs_dev_flush(w->store.dev, NULL) < 0)
		return;
	if (is_still_good(a)) {
		leases_count(w, COUNT_WRITE);
		sim_history_end(&w->histories[a->block], a->history,
				w->sim->now_ns, a->value);
		c->acked_count++;
		c->own[a->block] = (struct leases_value){ a->generation, a->seq,
							  a->value };
		sim_say(w->sim, "c%u.%u has written %llu to block %u", c->index,
			a->index, (unsigned long long)a->value, a->block);
	}
	actor_set(a, ACTOR_HELD, 0);
	leases_client_kick(c);
}

/* At the device, whatever became of who sent it. */
static void write_landed(void *arg, uint64_t flight, uint64_t b, void *data)
{
	struct leases_world *w = arg;
	struct leases_flight *f = w->flights;
	struct leases_client *c;

	(void)b;
	(void)data;
	while (f && (uint64_t)(uintptr_t)f != flight)
		f = f->next;
	if (!f)
		return;
	c = &w->clients[f->client];
	if (w->sim->nodes[c->node].life != f->client_life &&
	    sim_one_in(w->sim, 2)) {
		flight_free(w, f); /* it died with its host */
		return;
	}
	if (cfs_sim_release(f->dev, 1, NULL) < 0)
		sim_fail(w->sim, "a held write cannot land");
	if (w->sim->nodes[c->node].life != f->client_life)
		leases_count(w, COUNT_LATE_RECORD);
	else
		sim_at(w->sim, w->sim->now_ns + 1, c->node, write_answer,
		       &c->actors[f->actor], f->op, 0, NULL);
	flight_free(w, f);
}

static void write_issue(struct leases_actor *a)
{
	struct leases_world *w = a->w;
	struct leases_flight *f;
	const struct leases_value v = { a->generation, a->seq, a->value };

	f = flight_new(a);
	if (cfs_sim_dev_reopen(w->store.dev, &f->dev, NULL) < 0)
		abort();
	cfs_sim_hold(f->dev, true);
	leases_store_write(w, f->dev, a->log, a->slot, a->log_client, a->block,
			   &v);
	sim_at(w->sim, w->sim->now_ns + device_ns(a), SIM_NOBODY, write_landed,
	       w, (uint64_t)(uintptr_t)f, 0, NULL);
}

static void read_answer(void *arg, uint64_t op, uint64_t value, void *data)
{
	struct leases_actor *a = arg;

	(void)data;
	if (a->op != op)
		return;
	if (is_still_good(a)) {
		leases_count(a->w, COUNT_READ);
		sim_history_end(&a->w->histories[a->block], a->history,
				a->w->sim->now_ns, value);
		sim_say(a->w->sim, "c%u.%u has read %llu from block %u",
			a->c->index, a->index, (unsigned long long)value,
			a->block);
	}
	actor_set(a, ACTOR_HELD, 0);
}

static void read_landed(void *arg, uint64_t flight, uint64_t value, void *data)
{
	struct leases_world *w = arg;
	struct leases_flight *f = w->flights;
	struct leases_client *c;

	(void)data;
	while (f && (uint64_t)(uintptr_t)f != flight)
		f = f->next;
	if (!f)
		return;
	c = &w->clients[f->client];
	if (w->sim->nodes[c->node].life == f->client_life)
		sim_at(w->sim, w->sim->now_ns + 1, c->node, read_answer,
		       &c->actors[f->actor], f->op, value, NULL);
	flight_free(w, f);
}

static void read_issue(struct leases_actor *a)
{
	struct leases_world *w = a->w;
	const struct leases_value *own = &a->c->own[a->block];
	const struct leases_value *tree = &w->store.tree[a->block];
	bool is_own = own->generation != tree->generation
			      ? own->generation > tree->generation
			      : own->seq > tree->seq;
	struct leases_flight *f = flight_new(a);

	sim_at(w->sim, w->sim->now_ns + device_ns(a), SIM_NOBODY, read_landed,
	       w, (uint64_t)(uintptr_t)f, is_own ? own->value : tree->value,
	       NULL);
}

/* Nothing is asked again here: the check was before. */
static void access_issue(struct leases_actor *a)
{
	if (a->is_write)
		write_issue(a);
	else
		read_issue(a);
}

/*
 * A client's records are ordered by the highest generation that it was ever
 * given: an old grant may outlive a younger one.
 */
static uint64_t stamp_of(struct leases_actor *a)
{
	uint64_t generation = cfs_lease_generation_of(a->token);

	if (generation > a->c->stamp)
		a->c->stamp = generation;
	return a->c->stamp;
}

/* The check.  False: nothing to do there. */
static bool access_begin(struct leases_actor *a)
{
	struct leases_world *w = a->w;
	uint32_t mode = cfs_lease_mode_of(a->token);
	unsigned int blocks = leases_reads(&resources[a->resource], mode);

	if (!blocks || !has_log(a->c) ||
	    !cfs_lease_client_may_start(a->token, w->plan.access_ns))
		return false;
	do
		a->block = (unsigned int)sim_below(w->sim, LEASES_BLOCKS);
	while (!(blocks >> a->block & 1));
	a->is_write = mode == CFS_LOCK_X && !a->c->is_reader &&
		      a->c->slot < LEASES_SLOTS && !sim_one_in(w->sim, 3);
	a->value = a->is_write ? ++w->next_value : 0;
	a->check_ns = w->sim->now_ns;
	/* What it goes by from here on, whatever happens meanwhile. */
	a->generation = stamp_of(a);
	a->log = a->c->log;
	a->log_client = a->c->log_client;
	if (a->is_write) {
		a->slot = a->c->slot++;
		a->seq = ++a->c->seq;
		a->c->writes_active++;
	}
	a->history = sim_history_begin(&w->histories[a->block], a->check_ns,
				       a->is_write, a->value,
				       a->c->index * LEASES_ACTORS + a->index);
	a->accesses--;
	/* A moment until it is under way: here a pause hurts. */
	actor_set(a, ACTOR_BUSY,
		  sim_one_in(w->sim, 2)
			  ? 0
			  : sim_skewed(w->sim, 0, w->plan.access_ns / 2));
	return true;
}

/* ---- holding ------------------------------------------------------------- */

static void actor_change(struct leases_actor *a)
{
	uint32_t mode = sim_one_in(a->w->sim, 2) ? CFS_LOCK_X : CFS_LOCK_S;
	int r;

	a->is_answered = false;
	a->state = ACTOR_CHANGING;
	a->op++;
	r = cfs_lease_client_change(a->token, mode, sim_one_in(a->w->sim, 2),
				    NULL);
	if (r == 0)
		leases_count(a->w, COUNT_CHANGE);
	step_at(a,
		r < 0 ? 0 : sim_skewed(a->w->sim, 0, 2 * a->w->plan.period_ns));
}

/* It need not be folded yet: the recall will ask for that. */
static bool is_kept_cached(const struct leases_actor *a)
{
	return a->is_recallable && !cfs_lease_is_recalled(a->token, NULL);
}

static void actor_held(struct leases_actor *a)
{
	struct sim *sim = a->w->sim;
	bool is_recalled = cfs_lease_is_recalled(a->token, NULL);

	if (cfs_lease_state_of(a->token) != CFS_LEASE_HELD) {
		actor_release(a);
		return;
	}
	if (!has_log(a->c))
		a->accesses = 0;
	else if (a->w->plan.is_quiet && a->accesses > 4)
		a->accesses = 4;
	if (a->accesses > 0 && !is_recalled) {
		if (access_begin(a))
			return;
		if (!a->w->plan.is_quiet && sim_one_in(sim, 3))
			a->accesses = 0;
	}
	if (a->accesses > 0 && !is_recalled &&
	    cfs_lease_client_still_holds(a->token) &&
	    leases_reads(&resources[a->resource],
			 cfs_lease_mode_of(a->token))) {
		actor_set(a, ACTOR_HELD, 1 + a->w->plan.period_ns / 10);
	} else if (a->c->acked_count > a->c->folded_count &&
		   !(is_kept_cached(a) && sim_one_in(sim, 2))) {
		a->dirty_count = a->c->acked_count;
		actor_set(a, ACTOR_FOLDING, 0);
	} else if (!a->w->plan.is_quiet && !is_recalled &&
		   a->c->acked_count == a->c->folded_count &&
		   sim_one_in(sim, 6)) {
		actor_change(a);
	} else {
		actor_release(a);
	}
}

static void actor_folding(struct leases_actor *a)
{
	if (cfs_lease_state_of(a->token) != CFS_LEASE_HELD ||
	    a->dirty_count <= a->c->folded_count) {
		actor_set(a, ACTOR_HELD, 0);
		return;
	}
	leases_client_fold(a->c);
	a->op++;
	step_at(a, 1 + a->w->plan.period_ns / 20);
}

static void actor_changing(struct leases_actor *a)
{
	if (!a->is_answered && sim_one_in(a->w->sim, 2))
		cfs_lease_client_change_cancel(a->token);
	actor_set(a, ACTOR_HELD, think_ns(a) / 4);
}

static void actor_step(void *arg, uint64_t op, uint64_t b, void *data)
{
	struct leases_actor *a = arg;

	(void)b;
	(void)data;
	if (!a->c->lc || a->op != op)
		return;
	switch (a->state) {
	case ACTOR_IDLE:
		actor_ask(a);
		break;
	case ACTOR_ASKED:
		actor_asked(a);
		break;
	case ACTOR_HELD:
		actor_held(a);
		break;
	case ACTOR_BUSY:
		a->op++;
		a->state = ACTOR_FLYING;
		access_issue(a);
		break;
	case ACTOR_FOLDING:
		actor_folding(a);
		break;
	case ACTOR_CHANGING:
		actor_changing(a);
		break;
	case ACTOR_FLYING:
	case ACTOR_DONE:
		break;
	}
	leases_client_kick(a->c);
}

void leases_actor_start(struct leases_actor *a)
{
	a->token = NULL;
	a->dirty_count = 0;
	a->rounds = 2;
	actor_set(a, ACTOR_IDLE, think_ns(a));
}

void leases_actor_drop(struct leases_actor *a)
{
	a->token = NULL;
	a->op++;
	a->state = ACTOR_IDLE;
}
