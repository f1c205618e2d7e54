/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How clients end: sealing, finding out that they are gone, and what was left
 * by those of a former manager.
 */
#include "session/serve_direct_priv.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/cond.h"
#include "base/le.h"
#include "base/uuid.h"
#include "lease/period.h"
#include "pool/holder.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RETRY_NS    CFS_NS_PER_S
#define LOOK_NS_MIN (10 * CFS_NS_PER_MS)
#define LOOK_NS_MAX (500 * CFS_NS_PER_MS)

uint64_t beside_instance_id(const uint8_t instance[16])
{
	le64 id;

	memcpy(&id, instance, sizeof(id));
	return le64_get(id);
}

void beside_instance_set(uint8_t instance[16], uint64_t id)
{
	const le64 disk = le64_put(id);

	memset(instance, 0, 16);
	memcpy(instance, &disk, sizeof(disk));
}

/* ---- gone? --------------------------------------------------------------- */

bool beside_set_is_shared(struct cfs_session *s)
{
	return cfs_devset_label(s->set, 0)->flags & CFS_POOL_FLAG_SHARED;
}

bool beside_has_let_go(struct cfs_session *s, uint64_t number)
{
	const uint32_t count = cfs_devset_count(s->set);
	uint32_t i;
	int r = -EOPNOTSUPP;

	/* A device may be about to go: it is asked again. */
	if (s->structure && pthread_rwlock_tryrdlock(s->structure) != 0)
		return false;
	for (i = 0; i < count; i++) {
		struct cfs_dev *dev = cfs_devset_dev(s->set, i);

		r = dev ? cfs_dev_mark(dev, number, NULL) : -ENODEV;
		if (r < 0)
			break;
	}
	while (i-- > 0)
		cfs_dev_unmark(cfs_devset_dev(s->set, i), number);
	if (s->structure)
		pthread_rwlock_unlock(s->structure);
	return r == 0;
}

bool beside_is_gone(struct cfs_session *s, bool is_shared, uint64_t lease_id,
		    const struct cfs_client_identity *who)
{
	struct cfs_identity self;

	memset(&self, 0, sizeof(self));
	cfs_identity_host.self(cfs_identity_host.arg, &self);
	if (cfs_uuid_is_null(who->boot_id) || cfs_uuid_is_null(self.boot_id))
		return false;
	if (!cfs_uuid_is_equal(who->boot_id, self.boot_id))
		/* Under our name but of another boot: it has restarted. */
		return strcmp(who->host, self.host) == 0;
	return !is_shared && lease_id && beside_has_let_go(s, lease_id);
}

/* ---- what it may have changed -------------------------------------------- */

void beside_rules_donep(struct beside_rules *rules)
{
	struct beside_use *u;

	while ((u = rules->uses)) {
		rules->uses = u->next;
		cfs_tree_rules_donep(&u->tree);
		free(u);
	}
}

int beside_rules_of(struct cfs_serve_direct *sd, struct beside_client *c,
		    uint64_t container, struct beside_rules *ret,
		    struct cfs_err *err)
{
	int r = 0;

	*ret = (struct beside_rules){
		.sd = sd,
		.client = c->id,
		.container = container,
	};
	pthread_mutex_lock(&sd->mutex);
	for (const struct beside_use *u = c->uses; u && r == 0; u = u->next) {
		struct beside_use *copy;

		if (u->container != container || !u->writes)
			continue;
		copy = malloc(sizeof(*copy));
		if (!copy) {
			r = -ENOMEM;
			break;
		}
		*copy = *u;
		copy->use = NULL;
		copy->tree = (struct cfs_tree_rules){
			.container = u->tree.container,
		};
		copy->next = ret->uses;
		ret->uses = copy;
	}
	pthread_mutex_unlock(&sd->mutex);
	return r < 0 ? cfs_err_set(err, r, "out of memory") : 0;
}

/* A range may be under several leases, one a piece. */
static bool holds_range(const struct beside_rules *rules,
			const struct beside_use *u, uint64_t first_bytes,
			uint64_t end_bytes)
{
	struct cfs_owner *owner = cfs_serve_lock(rules->sd->serve);
	bool holds = true;

	while (holds && first_bytes < end_bytes) {
		const uint64_t left = CFS_DIRECT_PIECE_BYTES -
				      first_bytes % CFS_DIRECT_PIECE_BYTES;
		const struct cfs_lock_resource res = {
			.container = u->container,
			.volume = u->volume,
			.ino = u->ino,
			.offset_bytes = first_bytes,
			.length_bytes = CFS_MIN(left, end_bytes - first_bytes),
		};

		holds = cfs_owner_holds(owner, rules->client, &res,
					CFS_LOCK_X) == 0;
		first_bytes += res.length_bytes;
	}
	/* For each record: nobody need wake up for that. */
	cfs_serve_unlock_unchanged(rules->sd->serve);
	return holds;
}

bool beside_may(void *ctx, uint16_t branch, uint64_t ino, uint64_t first,
		uint64_t count)
{
	const struct beside_rules *rules = ctx;
	const uint64_t first_bytes = first * CFS_BLOCK_BYTES;
	struct beside_use *u;

	for (u = rules->uses; u; u = u->next)
		if (u->branch == branch && !u->stamp &&
		    (u->kind == CFS_VOLUME_TREE || u->ino == ino))
			break;
	if (u && u->kind == CFS_VOLUME_TREE)
		return beside_tree_may(rules, u, ino);
	if (!u || first > UINT64_MAX / CFS_BLOCK_BYTES / 2 ||
	    count > UINT64_MAX / CFS_BLOCK_BYTES / 2)
		return false;
	return holds_range(rules, u, first_bytes,
			   first_bytes + CFS_MAX(count, (uint64_t)1) *
						 CFS_BLOCK_BYTES);
}

/* ---- all records --------------------------------------------------------- */

struct each_state {
	struct cfs_session *s;
	beside_each_fn each;
	void *arg;
	struct cfs_member *m;
};

static int each_info(void *arg, const struct cfs_client_info *info,
		     struct cfs_err *err)
{
	struct each_state *st = arg;

	return st->each(st->arg, st->m, info, err);
}

static int each_container(void *arg, uint64_t id,
			  const struct cfs_container_rec *rec,
			  struct cfs_err *err)
{
	struct each_state *st = arg;

	/* One that cannot be opened is for others to tell. */
	if (rec->state != CFS_OBJECT_LIVE ||
	    cfs_pool_member_by_id(st->s->pool, id, &st->m, NULL) < 0)
		return 0;
	return cfs_container_clients(st->m->container, each_info, st, err);
}

int beside_each_client(struct cfs_session *s, beside_each_fn each, void *arg,
		       struct cfs_err *err)
{
	struct each_state st = { .s = s, .each = each, .arg = arg };

	return cfs_pool_containers(s->pool, each_container, &st, err);
}

/* ---- jobs ---------------------------------------------------------------- */

void beside_queue(struct cfs_serve_direct *sd, const struct beside_job *job)
{
	struct beside_job *own = malloc(sizeof(*own)), **at;

	if (!own) {
		cfs_logger_printf(sd->logger, CFS_LOG_WARNING,
				  "out of memory: "
				  "a client's leases stay until the manager "
				  "is started anew");
		return;
	}
	*own = *job;
	own->next = NULL;
	pthread_mutex_lock(&sd->mutex);
	for (at = &sd->jobs; *at; at = &(*at)->next)
		;
	*at = own;
	pthread_cond_broadcast(&sd->changed);
	pthread_mutex_unlock(&sd->mutex);
}

/* The next of its containers (0: all) that is to be ended, with a user. */
static struct beside_member *next_member(struct cfs_serve_direct *sd,
					 struct beside_client *c,
					 uint64_t container, bool is_gone)
{
	struct beside_member *dm;

	pthread_mutex_lock(&sd->mutex);
	for (dm = c->members; dm; dm = dm->next)
		if (dm->id && (is_gone || !dm->is_sealed) &&
		    (!container || dm->m->id == container))
			break;
	if (dm) {
		dm->is_sealed = true; /* nothing more is taken from it */
		dm->users++;
	}
	pthread_mutex_unlock(&sd->mutex);
	return dm;
}

static int end_member(struct cfs_serve_direct *sd, struct beside_client *c,
		      struct beside_member *dm, bool is_gone,
		      struct cfs_err *err)
{
	struct cfs_container *container = dm->m->container;
	int r;

	/* One that takes a fold right now has all of it taken. */
	pthread_mutex_lock(&dm->busy);
	r = is_gone ? cfs_container_client_gone(container, dm->id, NULL, err)
		    : cfs_container_client_seal(container, dm->id, false, NULL,
						err);
	pthread_mutex_unlock(&dm->busy);
	r = r == -ENOENT ? 0 : r;
	pthread_mutex_lock(&sd->mutex);
	dm->is_sealed = dm->is_settled = r == 0;
	if (r == 0 && is_gone && !dm->is_dropped)
		beside_member_drop(sd, c, dm);
	beside_member_put(dm);
	pthread_cond_broadcast(&sd->changed);
	pthread_mutex_unlock(&sd->mutex);
	return r;
}

static int end_members(struct cfs_serve_direct *sd, struct beside_client *c,
		       uint64_t container, bool is_gone, struct cfs_err *err)
{
	struct beside_member *dm;
	int r = 0;

	while (r == 0 && (dm = next_member(sd, c, container, is_gone)))
		r = end_member(sd, c, dm, is_gone, err);
	return r;
}

static void drop_uses(struct cfs_serve_direct *sd, struct beside_client *c)
{
	struct beside_use *u;

	for (;;) {
		pthread_mutex_lock(&sd->mutex);
		u = c->uses;
		if (u)
			c->uses = u->next;
		pthread_mutex_unlock(&sd->mutex);
		if (!u)
			return;
		cfs_serve_volume_leave(sd->s, u->use);
		free(u);
	}
}

struct leased {
	uint64_t lease_id;
	uint64_t container; /* 0: not found */
	uint32_t mode;
};

static bool find_leased(void *arg, const struct cfs_lease_record *rec)
{
	struct leased *of = arg;

	if (rec->kind != CFS_RECORD_LEASE ||
	    rec->u.lease.lease_id != of->lease_id)
		return true;
	of->container = rec->u.lease.resource.container;
	of->mode = rec->u.lease.mode;
	return false;
}

/*
 * One lease that was taken away is of one container: the client knows that this
 * one is lost, and goes on with the others.  Where it only read there is
 * nothing to be sealed.
 */
static int do_seal(struct cfs_serve_direct *sd, struct beside_client *c,
		   const struct beside_job *job, struct cfs_err *err)
{
	bool is_gone = job->end == CFS_OWNER_END_GONE ||
		       beside_is_gone(sd->s, sd->is_shared, c->id, &c->who);
	struct leased of = { .lease_id = job->lease };

	if (job->lease) {
		cfs_owner_each(cfs_serve_lock(sd->serve), 0, 0, find_leased,
			       &of);
		cfs_serve_unlock(sd->serve);
	}
	if (of.container && (of.mode == CFS_LOCK_S || of.mode == CFS_LOCK_IS))
		return 0;
	return end_members(sd, c, of.container, is_gone, err);
}

/* The lease table has forgotten it.  What may still write is looked for. */
static int do_ended(struct cfs_serve_direct *sd, struct beside_client *c,
		    const struct beside_job *job, struct cfs_err *err)
{
	bool is_gone = job->end == CFS_OWNER_END_GOODBYE ||
		       job->end == CFS_OWNER_END_GONE;
	int r = end_members(sd, c, 0, is_gone, err);

	drop_uses(sd, c);
	cfs_serve_sweep(sd->serve);
	pthread_mutex_lock(&sd->mutex);
	c->has_ended = true;
	c->is_lost = true;
	c->look_ns = beside_now() + LOOK_NS_MAX;
	c->look_step_ns = LOOK_NS_MAX;
	pthread_mutex_unlock(&sd->mutex);
	return r;
}

static void sealed(struct cfs_serve_direct *sd, const struct beside_job *job)
{
	if (job->kind != JOB_SEAL)
		return;
	cfs_owner_sealed(cfs_serve_lock(sd->serve), job->client, job->lease);
	cfs_serve_unlock(sd->serve);
}

static bool is_meant(const struct beside_client *c,
		     const struct beside_job *job)
{
	if (job->client)
		return c->id == job->client;
	return c->has_ended && c->members &&
	       strcmp(c->who.host, job->host) == 0;
}

/* @job: not in the list any more.  True: it is to be done again. */
static bool do_job(struct cfs_serve_direct *sd, const struct beside_job *job)
{
	struct cfs_err err = CFS_ERR_INIT;
	struct beside_client *c;
	bool is_again;
	int r = 0;

	pthread_mutex_lock(&sd->mutex);
	for (c = sd->clients; c && !is_meant(c, job); c = c->next)
		;
	is_again = c && beside_is_moving(sd, c, 0);
	if (c && !is_again)
		c->users++;
	pthread_mutex_unlock(&sd->mutex);
	if (is_again)
		return true;
	is_again = c && !job->client; /* a host may have had many */
	if (c && job->kind == JOB_SEAL)
		r = do_seal(sd, c, job, &err);
	else if (c && job->kind == JOB_ENDED)
		r = do_ended(sd, c, job, &err);
	else if (c && job->kind == JOB_ENTER)
		is_again = beside_enter(sd, c, job->lease, &err) < 0;
	else if (c)
		r = end_members(sd, c, 0, true, &err);
	if (c) {
		pthread_mutex_lock(&sd->mutex);
		beside_client_put(sd, c);
		pthread_mutex_unlock(&sd->mutex);
	}
	if (r < 0) {
		cfs_logger_printf(sd->logger, CFS_LOG_WARNING,
				  "a client's log "
				  "cannot be read in: %s",
				  err.msg);
		return true;
	}
	sealed(sd, job);
	return is_again;
}

/* ---- looking for marks --------------------------------------------------- */

/* One whose connection is lost, and that is due. */
static struct beside_client *next_look(struct cfs_serve_direct *sd,
				       uint64_t now)
{
	struct beside_client *c;

	for (c = sd->clients; c; c = c->next)
		if (c->is_lost && c->members && c->look_ns <= now &&
		    !c->is_moving)
			break;
	if (c) {
		c->users++;
		c->look_step_ns = CFS_MIN(
			2 * CFS_MAX(c->look_step_ns, LOOK_NS_MIN), LOOK_NS_MAX);
		c->look_ns = now + c->look_step_ns;
	}
	return c;
}

static void look(struct cfs_serve_direct *sd, struct beside_client *c)
{
	const struct beside_job job = {
		.kind = JOB_GONE,
		.client = c->id,
	};
	bool has_ended;

	if (beside_is_gone(sd->s, sd->is_shared, c->id, &c->who)) {
		pthread_mutex_lock(&sd->mutex);
		has_ended = c->has_ended;
		c->is_lost = false;
		pthread_mutex_unlock(&sd->mutex);
		if (!has_ended) {
			has_ended = cfs_owner_gone(cfs_serve_lock(sd->serve),
						   c->id) < 0;
			cfs_serve_unlock(sd->serve);
		}
		if (has_ended)
			beside_queue(sd, &job);
	}
	pthread_mutex_lock(&sd->mutex);
	beside_client_put(sd, c);
	pthread_mutex_unlock(&sd->mutex);
}

/* ---- the thread ---------------------------------------------------------- */

static uint64_t next_due(struct cfs_serve_direct *sd)
{
	uint64_t at = UINT64_MAX;

	for (const struct beside_job *j = sd->jobs; j; j = j->next)
		at = CFS_MIN(at, j->at_ns);
	for (const struct beside_client *c = sd->clients; c; c = c->next)
		if (c->is_lost && c->members && !c->is_moving)
			at = CFS_MIN(at, c->look_ns);
	return at;
}

static void wait_until(struct cfs_serve_direct *sd, uint64_t at, uint64_t now)
{
	(void)cfs_cond_wait_ns(&sd->changed, &sd->mutex,
			       CFS_MIN(at - now, CFS_NS_PER_S));
}

static struct beside_job *take_job(struct cfs_serve_direct *sd, uint64_t now)
{
	struct beside_job **at, *job;

	for (at = &sd->jobs; *at && (*at)->at_ns > now; at = &(*at)->next)
		;
	job = *at;
	if (job)
		*at = job->next;
	return job;
}

void *beside_run(void *arg)
{
	struct cfs_serve_direct *sd = arg;
	struct beside_client *c;
	struct beside_job *job;
	uint64_t now, due;

	pthread_mutex_lock(&sd->mutex);
	while (!sd->is_ending) {
		now = beside_now();
		job = take_job(sd, now);
		c = job ? NULL : next_look(sd, now);
		if (!job && !c) {
			due = next_due(sd);
			if (due > now)
				wait_until(sd, due, now);
			continue;
		}
		pthread_mutex_unlock(&sd->mutex);
		if (c)
			look(sd, c);
		if (job && do_job(sd, job)) {
			job->at_ns = beside_now() + RETRY_NS;
			beside_queue(sd, job);
		}
		free(job);
		pthread_mutex_lock(&sd->mutex);
	}
	pthread_mutex_unlock(&sd->mutex);
	return NULL;
}
