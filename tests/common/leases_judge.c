/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What must be true in every world, whatever goes wrong in it:
 *
 *  J1 no two leases that conflict are believed valid at one moment of true
 *     time, by holders whose clocks keep the drift bound;
 *  J2 no access of a well-behaved client (checked, and done within the time it
 *     was checked for) overlaps a lease or an access of another that conflicts;
 *  J3 the owner waits: by its own clock, strictly longer than M behind the last
 *     thing it handled of a client, before it ends what that client has;
 *  J4 who asked first and waits is not passed by who asked later and conflicts;
 *  J5 the owner's tables agree with each other;
 *  J6 reads and acknowledged writes of each block are linearizable, whatever
 *     was paused, late or dead;
 *  J7 when trouble ends everybody gets what he asks for, and at last nothing
 *     is held any more.
 */
#include "leases_world.h"

#include <string.h>

struct belief {
	uint32_t client, actor;
	unsigned int reads, writes;
};

static bool conflict(unsigned int reads_a, unsigned int writes_a,
		     unsigned int reads_b, unsigned int writes_b)
{
	return (writes_a & (reads_b | writes_b)) | (writes_b & reads_a);
}

static unsigned int beliefs_of(struct leases_world *w, struct belief *ret)
{
	unsigned int count = 0;

	for (uint32_t i = 0; i < w->plan.clients; i++) {
		struct leases_client *c = &w->clients[i];

		if (!c->lc || leases_client_is_tainted(c))
			continue;
		for (uint32_t k = 0; k < w->plan.actors; k++) {
			struct leases_actor *a = &c->actors[k];
			const struct cfs_lock_resource *res;
			uint32_t mode;

			if (!a->token ||
			    cfs_lease_state_of(a->token) != CFS_LEASE_HELD ||
			    !cfs_lease_client_still_holds(a->token))
				continue;
			res = leases_resource(a->resource);
			mode = cfs_lease_mode_of(a->token);
			ret[count++] = (struct belief){
				i,
				k,
				leases_reads(res, mode),
				leases_writes(res, mode),
			};
		}
	}
	return count;
}

static void judge_beliefs(struct leases_world *w, const struct belief *all,
			  unsigned int count)
{
	for (unsigned int i = 0; i < count; i++)
		for (unsigned int k = i + 1; k < count; k++)
			if (conflict(all[i].reads, all[i].writes, all[k].reads,
				     all[k].writes))
				sim_fail(w->sim,
					 "c%u.%u and c%u.%u both "
					 "believe that they hold it",
					 all[i].client, all[i].actor,
					 all[k].client, all[k].actor);
}

static bool flight_counts(const struct leases_world *w,
			  const struct leases_flight *f)
{
	return !f->is_tainted && w->sim->now_ns < f->until_ns;
}

static void judge_flights(struct leases_world *w, const struct belief *all,
			  unsigned int count)
{
	for (const struct leases_flight *f = w->flights; f; f = f->next) {
		unsigned int writes = f->is_write ? f->blocks : 0;

		if (!flight_counts(w, f))
			continue;
		for (unsigned int i = 0; i < count; i++)
			if ((all[i].client != f->client ||
			     all[i].actor != f->actor) &&
			    conflict(f->blocks, writes, all[i].reads,
				     all[i].writes))
				sim_fail(w->sim,
					 "an access of c%u.%u runs "
					 "into the lease of c%u.%u",
					 f->client, f->actor, all[i].client,
					 all[i].actor);
		for (const struct leases_flight *g = f->next; g; g = g->next)
			if (flight_counts(w, g) &&
			    conflict(f->blocks, writes, g->blocks,
				     g->is_write ? g->blocks : 0))
				sim_fail(w->sim,
					 "accesses of c%u.%u and "
					 "c%u.%u overlap",
					 f->client, f->actor, g->client,
					 g->actor);
	}
}

/* ---- the owner waits ----------------------------------------------------- */

static struct leases_handled *handled_of(struct leases_manager *m,
					 uint64_t client_id, uint64_t lease_id,
					 bool is_new)
{
	struct leases_handled *free_one = NULL;

	for (unsigned int i = 0; i < LEASES_KNOWN; i++) {
		struct leases_handled *h = &m->handled[i];

		if (h->client_id == client_id && h->lease_id == lease_id)
			return h;
		if (!h->client_id && !free_one)
			free_one = h;
	}
	if (!is_new || !free_one)
		return NULL;
	free_one->client_id = client_id;
	free_one->lease_id = lease_id;
	return free_one;
}

void leases_judge_handled(struct leases_manager *m, uint64_t client_id)
{
	struct leases_handled *h = handled_of(m, client_id, 0, true);

	if (h)
		h->at_ns = sim_clock_now(&m->clock);
}

/*
 * T(1+r)/(1-r) rounded up, and one for a clock that is read just before it
 * ticks; not from the code under test.  Strictly more is due.
 */
static uint64_t owner_period_ns(const struct leases_plan *plan)
{
	uint64_t fast = 1000000 + plan->drift_ppm;
	uint64_t slow = 1000000 - plan->drift_ppm;
	__extension__ unsigned __int128 x = plan->period_ns;

	return (uint64_t)((x * fast + slow - 1) / slow) + 1;
}

struct stopped {
	struct leases_manager *m;
	bool is_exact;
};

static bool stopped_note(void *arg, const struct cfs_lease_record *r)
{
	const struct stopped *s = arg;
	const struct leases_handled *c;
	struct leases_handled *h;

	if (r->kind != CFS_RECORD_LEASE || !(r->flags & CFS_LEASE_STOPPED) ||
	    handled_of(s->m, r->client_id, r->u.lease.lease_id, false))
		return true;
	c = handled_of(s->m, r->client_id, 0, false);
	h = handled_of(s->m, r->client_id, r->u.lease.lease_id, true);
	if (h)
		h->final_ns = s->is_exact && c ? c->at_ns : 0;
	return true;
}

void leases_judge_stopped(struct leases_manager *m, bool is_exact)
{
	struct stopped s = { m, is_exact };

	cfs_owner_each(m->owner, 0, 0, stopped_note, &s);
}

static void judge_wait(struct leases_manager *m, struct leases_handled *h,
		       uint64_t from_ns, const char *what)
{
	uint64_t now_ns = sim_clock_now(&m->clock);
	uint64_t wait_ns = owner_period_ns(&m->w->plan);

	if (from_ns && now_ns <= from_ns + wait_ns)
		sim_fail(m->w->sim,
			 "m%u ends %s %llx after %llu ns, not "
			 "behind %llu",
			 m->index, what, (unsigned long long)h->client_id,
			 (unsigned long long)(now_ns - from_ns),
			 (unsigned long long)wait_ns);
	memset(h, 0, sizeof(*h));
}

void leases_judge_event(struct leases_manager *m,
			const struct cfs_lease_event *e)
{
	struct leases_world *w = m->w;
	struct leases_handled *h;

	sim_say(w->sim, "m%u: %s %llx lease %llx %s on %llu,%llu+%llx",
		m->index, cfs_lease_event_name(e->kind),
		(unsigned long long)e->client_id,
		(unsigned long long)e->lease_id, cfs_lock_mode_name(e->mode),
		(unsigned long long)e->resource.ino,
		(unsigned long long)e->resource.offset_bytes,
		(unsigned long long)e->resource.length_bytes);
	/* A HELLO that is refused, or a double, extends nothing. */
	if (e->kind == CFS_EVENT_JOIN ||
	    (e->kind == CFS_EVENT_RENEW && !e->lease_id))
		leases_judge_handled(m, e->client_id);
	if (e->kind == CFS_EVENT_GRANT && e->lease_id >> 32 == m->epoch &&
	    m->granted_count < LEASES_KNOWN)
		m->granted[m->granted_count++] = e->lease_id;
	if (e->kind == CFS_EVENT_RECALL)
		leases_count(w, COUNT_RECALL);
	if (e->kind != CFS_EVENT_EXPIRE && e->kind != CFS_EVENT_REVOKE)
		return;
	leases_count(w, e->lease_id ? COUNT_REVOKE : COUNT_EXPIRE);
	h = handled_of(m, e->client_id, e->lease_id, false);
	if (h && e->lease_id)
		judge_wait(m, h, h->final_ns, "a lease of");
	else if (h)
		judge_wait(m, h, h->at_ns, "client");
}

/* ---- nobody is passed ---------------------------------------------------- */

struct turn {
	struct leases_manager *m;
	uint64_t lease_id;
	struct cfs_lease_record got;
	bool is_found, holds_other;
	bool is_passing;
	struct cfs_lease_record passed;
};

static bool turn_find(void *arg, const struct cfs_lease_record *r)
{
	struct turn *t = arg;

	if (r->kind == CFS_RECORD_LEASE && r->u.lease.lease_id == t->lease_id) {
		t->got = *r;
		t->is_found = true;
	}
	return !t->is_found;
}

/*
 * Ids of leases are in the order in which they were asked for.  Who holds
 * something already is not made to wait behind those who wait for it.
 */
static bool turn_judge(void *arg, const struct cfs_lease_record *r)
{
	struct turn *t = arg;

	if (r->kind != CFS_RECORD_LEASE || r->u.lease.lease_id == t->lease_id)
		return true;
	if (r->client_id == t->got.client_id &&
	    r->u.lease.key == t->got.u.lease.key) {
		t->holds_other |= !(r->flags & CFS_LEASE_WAITING);
		return true;
	}
	if ((r->flags & CFS_LEASE_WAITING) &&
	    r->u.lease.lease_id < t->lease_id &&
	    conflict(
		    leases_reads(&r->u.lease.resource, r->u.lease.mode),
		    leases_writes(&r->u.lease.resource, r->u.lease.mode),
		    leases_reads(&t->got.u.lease.resource, t->got.u.lease.mode),
		    leases_writes(&t->got.u.lease.resource,
				  t->got.u.lease.mode))) {
		t->is_passing = true;
		t->passed = *r;
	}
	return true;
}

/* All that was granted in this step. */
static void judge_turns(struct leases_manager *m)
{
	for (unsigned int i = 0; i < m->granted_count; i++) {
		struct turn t = { .m = m, .lease_id = m->granted[i] };

		cfs_owner_each(m->owner, 0, 0, turn_find, &t);
		if (!t.is_found || (t.got.flags & CFS_LEASE_WAITING))
			continue;
		cfs_owner_each(m->owner, 0, 0, turn_judge, &t);
		if (t.is_passing && !t.holds_other)
			sim_fail(m->w->sim,
				 "%llx gets lease %llx before "
				 "%llx, who asked before and waits",
				 (unsigned long long)t.got.client_id,
				 (unsigned long long)t.lease_id,
				 (unsigned long long)t.passed.client_id);
	}
	m->granted_count = 0;
}

void leases_judge_sent(struct leases_manager *m, uint64_t client_id,
		       const void *msg, size_t bytes)
{
	struct cfs_msg_head head;
	struct cfs_wire_get body;
	struct cfs_msg_recall recall;

	if (cfs_msg_open(msg, bytes, &head, &body, NULL) < 0) {
		sim_fail(m->w->sim, "the owner sends what is no message");
		return;
	}
	if (head.type == CFS_MSG_LOCK && head.has_more)
		leases_count(m->w, COUNT_QUEUED);
	if (head.type == CFS_MSG_RECLAIM && !head.status)
		leases_count(m->w, COUNT_RECLAIM);
	if (head.type != CFS_MSG_RECALL || !client_id ||
	    cfs_msg_recall_unpack(&body, &recall, NULL) < 0 ||
	    !(recall.flags & CFS_RECALL_FINAL))
		return;
	leases_count(m->w, COUNT_FINAL);
}

/* ---- behind each step ---------------------------------------------------- */

void leases_judge_step(struct leases_world *w)
{
	struct belief all[LEASES_CLIENTS * LEASES_ACTORS];
	unsigned int count = beliefs_of(w, all);
	struct leases_manager *m = w->touched;

	judge_beliefs(w, all, count);
	judge_flights(w, all, count);
	w->touched = NULL;
	if (m && m->owner) {
		judge_turns(m);
		const char *wrong = cfs_owner_check(m->owner);

		if (wrong)
			sim_fail(w->sim, "the owner: %s", wrong);
	}
}

/* ---- the end ------------------------------------------------------------- */

static void tell_history(struct leases_world *w, unsigned int block)
{
	const struct sim_history *h = &w->histories[block];

	for (size_t i = 0; i < h->count; i++)
		sim_say(w->sim, "block %u: c%u.%u %s %llu, %llu .. %llu", block,
			h->all[i].who / LEASES_ACTORS,
			h->all[i].who % LEASES_ACTORS,
			h->all[i].is_write ? "writes" : "reads",
			(unsigned long long)h->all[i].value,
			(unsigned long long)h->all[i].begin_ns,
			(unsigned long long)h->all[i].end_ns);
}

static bool tell_record(void *arg, const struct cfs_lease_record *r)
{
	struct leases_world *w = arg;

	if (r->kind == CFS_RECORD_CLIENT)
		sim_say(w->sim, "client %llx, flags %x",
			(unsigned long long)r->client_id, r->flags);
	else
		sim_say(w->sim,
			"lease %llx of %llx.%llu, %s on %llu,%llu+%llx"
			", flags %x",
			(unsigned long long)r->u.lease.lease_id,
			(unsigned long long)r->client_id,
			(unsigned long long)r->u.lease.key,
			cfs_lock_mode_name(r->u.lease.mode),
			(unsigned long long)r->u.lease.resource.ino,
			(unsigned long long)r->u.lease.resource.offset_bytes,
			(unsigned long long)r->u.lease.resource.length_bytes,
			r->flags);
	return true;
}

void leases_tell_owner(struct leases_world *w, struct leases_manager *m)
{
	if (!w->sim->is_verbose)
		return;
	cfs_owner_each(m->owner, 0, 0, tell_record, w);
	for (uint32_t i = 0; i < w->plan.clients; i++) {
		const struct leases_client *c = &w->clients[i];

		sim_say(w->sim,
			"c%u: log %u, slot %u, %u being written, %llu "
			"of %llu writes folded, %u recalled%s%s",
			i, c->log, c->slot, c->writes_active,
			(unsigned long long)c->folded_count,
			(unsigned long long)c->acked_count, c->recalled_count,
			c->is_leaving ? ", leaving" : "",
			c->has_left ? ", has left" : "");
		for (uint32_t k = 0; k < w->plan.actors; k++)
			sim_say(w->sim, "c%u.%u: state %d, %d accesses", i, k,
				(int)c->actors[k].state, c->actors[k].accesses);
	}
}

void leases_judge_end(struct leases_world *w)
{
	static const char *const names[] = {
		"idle",     "asks",  "holds",   "is about to",
		"accesses", "folds", "changes", "done",
	};

	for (uint32_t i = 0; i < w->plan.clients; i++) {
		const struct leases_client *c = &w->clients[i];

		for (uint32_t k = 0; k < w->plan.actors; k++)
			if (c->actors[k].state != ACTOR_DONE)
				sim_fail(w->sim,
					 "c%u.%u does not come to its "
					 "end: %s, %u rounds left, the client "
					 "is %swelcome",
					 i, k, names[c->actors[k].state],
					 c->actors[k].rounds,
					 c->lc && cfs_lease_client_is_welcome(
							  c->lc)
						 ? ""
						 : "not ");
	}
	for (unsigned int i = 0; i < LEASES_BLOCKS; i++) {
		switch (sim_history_judge(&w->histories[i])) {
		case SIM_LINEAR:
			break;
		case SIM_NOT_LINEAR:
			tell_history(w, i);
			sim_fail(w->sim, "block %u: not linearizable", i);
			break;
		case SIM_NOT_KNOWN:
			leases_count(w, COUNT_NOT_KNOWN);
			break;
		}
	}
}
