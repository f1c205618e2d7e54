/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How a container comes home, and how it is found out that its secondary is
 * gone: the thread of serve_delegate.
 */
#include "session/serve_delegate_priv.h"

#include "base/clock.h"
#include "base/cond.h"
#include "base/le.h"
#include "base/uuid.h"
#include "session/serve_direct.h"
#include "session/serve_direct_priv.h"
#include "session/serve_onward.h"
#include "session/serve_run_priv.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define LOOK_NS_MIN (10 * CFS_NS_PER_MS)
#define LOOK_NS_MAX (500 * CFS_NS_PER_MS)
#define RETRY_NS    CFS_NS_PER_S
#define SETTLE_NS   (50 * CFS_NS_PER_MS)
#define JOIN_NS     (10 * CFS_NS_PER_S)

/* ---- gone? --------------------------------------------------------------- */

uint64_t away_mark(const uint8_t instance[16])
{
	le64 number;

	memcpy(&number, instance, sizeof(number));
	return le64_get(number) & ((UINT64_C(1) << 61) - 1);
}

bool away_is_gone(struct cfs_session *s, const struct cfs_client_identity *who,
		  const char *gone_host)
{
	struct cfs_identity self;

	if (cfs_host_is_named(gone_host, who->host))
		return true;
	memset(&self, 0, sizeof(self));
	cfs_identity_host.self(cfs_identity_host.arg, &self);
	if (cfs_uuid_is_null(who->boot_id) || cfs_uuid_is_null(self.boot_id))
		return false;
	if (!cfs_uuid_is_equal(who->boot_id, self.boot_id))
		return strcmp(who->host, self.host) == 0;
	/* What only reads needs to know no more than that it is dead. */
	if (cfs_devset_is_overlay(s->set))
		return !cfs_identity_host.is_alive(
			cfs_identity_host.arg, who->pid, who->process_start);
	return !(cfs_devset_label(s->set, 0)->flags & CFS_POOL_FLAG_SHARED) &&
	       beside_has_let_go(s, away_mark(who->instance));
}

struct settle {
	struct cfs_session *s;
	bool is_again;
};

static int settle_one(void *arg, const struct cfs_delegation *d,
		      struct cfs_err *err)
{
	struct settle *st = arg;
	int r = 0;

	if (d->rec.state == CFS_DELEGATION_GONE ||
	    !away_is_gone(st->s, &d->rec.who, st->s->opt.gone_host))
		return 0;
	/* They have leases of a secondary, of whom nobody else knows. */
	if (d->rec.has_clients)
		r = cfs_session_note_unknown(st->s, err);
	if (r < 0)
		return r;
	return cfs_pool_delegation_end(st->s->pool, d->container, d->epoch,
				       err);
}

int cfs_session_settle_delegations(struct cfs_session *s, struct cfs_err *err)
{
	struct settle st = { .s = s };

	return cfs_pool_delegations(s->pool, settle_one, &st, err);
}

/* ---- home ---------------------------------------------------------------- */

static void warn(struct cfs_serve_delegate *sd, const struct away *a,
		 const struct cfs_err *err)
{
	cfs_logger_printf(sd->logger, CFS_LOG_WARNING,
			  "%s: it cannot be taken "
			  "back: %s",
			  a->d.name, err->msg);
}

/*
 * Its clients may believe in what it granted for a period.  In that they come
 * back to us, and nothing of the container is granted that they may have.
 */
static int adopt(struct cfs_serve_delegate *sd, struct away *a,
		 struct cfs_member *m, struct cfs_err *err)
{
	struct cfs_direct_grace grace = {
		.container = a->d.container,
		.epoch = a->d.epoch,
	};
	int r;

	cfs_serve_direct_forget(sd->s->beside_us, a->d.container);
	if (a->has_grace || !a->d.rec.has_clients)
		return cfs_serve_direct_adopt(sd->s->beside_us, m, NULL, err);
	away_learn_patience(sd);
	grace.grace_ns = __atomic_load_n(&sd->grace_ns, __ATOMIC_RELAXED);
	/* The next manager cannot know them by those who were with us. */
	(void)cfs_serve_lock(sd->serve);
	if (sd->serve->former)
		cfs_former_add_unknown(sd->serve->former);
	cfs_serve_unlock_unchanged(sd->serve);
	r = cfs_serve_direct_adopt(sd->s->beside_us, m, &grace, err);
	/* What failed behind its beginning is tried again. */
	a->has_grace = cfs_owner_is_in_grace_of(cfs_serve_lock(sd->serve),
						a->d.container);
	cfs_serve_unlock_unchanged(sd->serve);
	return r;
}

/* The records, and all that is done before anybody else may have it. */
static int take_back(struct cfs_serve_delegate *sd, struct away *a,
		     bool is_gone, struct cfs_err *err)
{
	struct cfs_pool *pool = sd->s->pool;
	struct cfs_member *m;
	int r;

	if (is_gone)
		r = cfs_pool_delegation_end(pool, a->d.container, a->d.epoch,
					    err);
	else
		r = cfs_pool_delegation_seal(pool, a->d.container, a->d.epoch,
					     err);
	/* The gravestone is set and the log is read with this. */
	if (r == 0)
		r = cfs_pool_member_by_id(pool, a->d.container, &m, err);
	if (r == 0)
		r = adopt(sd, a, m, err);
	if (r == 0) {
		cfs_owner_is_home(cfs_serve_lock(sd->serve), a->d.container);
		cfs_serve_unlock_unchanged(sd->serve);
	}
	return r;
}

/* Nobody but us, from before the records change until it is ready. */
static int come(struct cfs_serve_delegate *sd, struct away *a,
		struct cfs_err *err)
{
	const struct cfs_use_of of = {
		.container = a->d.container,
		.stamp = CFS_USE_ANY_STAMP,
		.mode = CFS_USE_ALONE,
	};
	struct cfs_use *use = NULL;
	bool is_gone = a->is_gone || away_is_gone(sd->s, &a->d.rec.who, NULL);
	int r = cfs_serve_volume_enter(sd->s, &of, &use, err);

	if (r < 0)
		return r;
	r = take_back(sd, a, is_gone, err);
	if (r == 0)
		cfs_onward_keep(sd->serve->rpc, a->d.container, a->d.epoch);
	cfs_serve_volume_leave(sd->s, use);
	if (r < 0)
		return r;
	/* Before anybody can ask us for a lease that is in its way. */
	if (!a->has_grace)
		(void)cfs_onward_return(sd->serve->rpc, a->d.container,
					a->d.epoch);
	/* Nothing of ours is in the way of what they have. */
	if (a->has_grace)
		away_expect(sd, a);
	cfs_logger_printf(sd->logger, CFS_LOG_DEBUG, "%s: %s", a->d.name,
			  is_gone ? "it is at home" : "taken over");
	pthread_mutex_lock(&sd->mutex);
	a->is_home = is_gone; /* said meanwhile, it still has loans */
	a->until_ns = 0;
	away_step(sd, a, AWAY_SETTLING);
	pthread_mutex_unlock(&sd->mutex);
	return 0;
}

/*
 * Those of its clients that have not come back are sealed.  With the mutex,
 * which is let go meanwhile.
 *
 * The grace ends when all are back whom the secondary has told of.  Where it
 * has not it has its full time, whoever is back: those who came there by
 * themselves and have only leases stand in no record that we could read.
 */
static void settle(struct cfs_serve_delegate *sd, struct away *a)
{
	bool is_in_grace = false;

	pthread_mutex_unlock(&sd->mutex);
	if (a->has_grace) {
		const bool are_back = away_are_settled(sd, a);
		struct cfs_owner *owner = cfs_serve_lock(sd->serve);

		if (are_back)
			cfs_owner_end_grace_of(owner, a->d.container);
		is_in_grace = cfs_owner_is_in_grace_of(owner, a->d.container);
		cfs_serve_unlock(sd->serve);
	}
	/* Leases of others are in the way: they are waited for. */
	if (!is_in_grace)
		is_in_grace = cfs_onward_return(sd->serve->rpc, a->d.container,
						a->d.epoch) < 0;
	pthread_mutex_lock(&sd->mutex);
	if (is_in_grace) {
		a->until_ns = away_now() + SETTLE_NS;
	} else if (a->is_home) {
		away_drop(sd, a);
	} else {
		a->look_ns = a->look_step_ns = 0;
		away_step(sd, a, AWAY_FROZEN);
	}
}

/*
 * One that was taken over is gone at last: whoever opens the container next
 * has what it had on loan.  If nobody uses it now that can be we.
 */
static int thaw(struct cfs_serve_delegate *sd, struct away *a,
		struct cfs_err *err)
{
	const struct cfs_use_of of = {
		.container = a->d.container,
		.stamp = CFS_USE_ANY_STAMP,
		.mode = CFS_USE_ALONE,
	};
	struct cfs_use *use = NULL;
	struct cfs_member *m;
	int r = cfs_pool_delegation_end(sd->s->pool, a->d.container, a->d.epoch,
					err);

	if (r < 0)
		return r;
	pthread_rwlock_wrlock(sd->structure);
	if (cfs_serve_volume_enter(sd->s, &of, &use, NULL) == 0 &&
	    !cfs_serve_direct_has_member(sd->s->beside_us, a->d.container) &&
	    cfs_pool_member_by_id(sd->s->pool, a->d.container, &m, err) == 0) {
		cfs_serve_direct_forget(sd->s->beside_us, a->d.container);
		r = cfs_pool_member_close(sd->s->pool, m, err);
		if (r == 0)
			r = cfs_pool_member_by_id(sd->s->pool, a->d.container,
						  &m, err);
	} else {
		r = -EBUSY;
	}
	cfs_serve_volume_leave(sd->s, use);
	pthread_rwlock_unlock(sd->structure);
	return r;
}

/* ---- the thread ---------------------------------------------------------- */

enum work { WORK_NONE, WORK_COME, WORK_SETTLE, WORK_LOOK, WORK_JOIN };

/* It can be found, by us. */
static bool may_join(const struct away *a)
{
	return a->step == AWAY_OUT && a->is_joining && a->d.rec.address[0];
}

static enum work work_of(const struct away *a, uint64_t now)
{
	switch (a->step) {
	case AWAY_OUT:
		return now >= a->until_ns  ? WORK_COME
		       : now >= a->look_ns ? WORK_LOOK
		       : may_join(a)       ? WORK_JOIN
					   : WORK_NONE;
	case AWAY_COMING:
		return now >= a->look_ns || a->look_ns == UINT64_MAX
			       ? WORK_COME
			       : WORK_NONE;
	case AWAY_SETTLING:
		return now >= a->until_ns ? WORK_SETTLE : WORK_NONE;
	default:
		return now >= a->look_ns ? WORK_LOOK : WORK_NONE;
	}
}

static void later(struct away *a, uint64_t now)
{
	a->look_step_ns = CFS_MIN(2 * CFS_MAX(a->look_step_ns, LOOK_NS_MIN),
				  LOOK_NS_MAX);
	a->look_ns = now + a->look_step_ns;
}

/* With the mutex, which is let go meanwhile; @a has a user more. */
static void look(struct cfs_serve_delegate *sd, struct away *a)
{
	const bool is_frozen = a->step == AWAY_FROZEN;
	bool is_gone = a->is_gone;
	struct cfs_err err = CFS_ERR_INIT;
	int r = 0;

	later(a, away_now());
	pthread_mutex_unlock(&sd->mutex);
	is_gone = is_gone || away_is_gone(sd->s, &a->d.rec.who, NULL);
	if (is_gone && is_frozen)
		r = thaw(sd, a, &err);
	pthread_mutex_lock(&sd->mutex);
	if (!is_gone)
		return;
	a->is_gone = true;
	if (a->step == AWAY_OUT) {
		a->client = 0;
		a->look_ns = UINT64_MAX;
		away_step(sd, a, AWAY_COMING);
	} else if (is_frozen && r == 0) {
		away_drop(sd, a);
	} else if (is_frozen && r != -EBUSY) {
		warn(sd, a, &err);
	}
}

/* What we serve of it is opened where it is.  With the mutex, as look. */
static void join(struct cfs_serve_delegate *sd, struct away *a)
{
	char address[sizeof(a->d.rec.address)];
	struct cfs_err err = CFS_ERR_INIT;
	bool is_late;
	int r;

	if (!a->join_end_ns)
		a->join_end_ns = away_now() + JOIN_NS;
	strcpy(address, a->d.rec.address);
	a->joins = true;
	pthread_mutex_unlock(&sd->mutex);
	r = cfs_onward_join(sd->serve->rpc, a->d.container, a->d.epoch, address,
			    &err);
	is_late = r < 0 && away_now() >= a->join_end_ns;
	if (is_late)
		cfs_onward_lose(sd->serve->rpc, a->d.container, a->d.epoch);
	pthread_mutex_lock(&sd->mutex);
	a->joins = false;
	if (r == 0 || is_late)
		a->is_joining = false;
	pthread_cond_broadcast(&sd->changed);
	if (is_late)
		cfs_logger_printf(sd->logger, CFS_LOG_WARNING,
				  "%s: what is open in it is lost: %s",
				  a->d.name, err.msg);
	else if (r < 0)
		(void)cfs_cond_wait_ns(&sd->changed, &sd->mutex, LOOK_NS_MIN);
}

static void do_work(struct cfs_serve_delegate *sd, struct away *a,
		    enum work work)
{
	struct cfs_err err = CFS_ERR_INIT;
	int r;

	if (work == WORK_LOOK) {
		look(sd, a);
		return;
	}
	if (work == WORK_SETTLE) {
		settle(sd, a);
		return;
	}
	if (work == WORK_JOIN) {
		join(sd, a);
		return;
	}
	if (a->step == AWAY_OUT) {
		a->client = 0;
		away_step(sd, a, AWAY_COMING);
	}
	pthread_mutex_unlock(&sd->mutex);
	r = come(sd, a, &err);
	pthread_mutex_lock(&sd->mutex);
	if (r == 0)
		return;
	if (r != -EBUSY)
		warn(sd, a, &err);
	a->look_ns = away_now() + (r == -EBUSY ? LOOK_NS_MIN : RETRY_NS);
}

static void wait_a_little(struct cfs_serve_delegate *sd)
{
	const uint64_t now = away_now();
	uint64_t step = CFS_NS_PER_S;

	for (const struct away *a = sd->list; a; a = a->next) {
		if (a->look_ns > now && a->look_ns != UINT64_MAX)
			step = CFS_MIN(step, a->look_ns - now);
		if (a->until_ns > now)
			step = CFS_MIN(step, a->until_ns - now);
	}
	(void)cfs_cond_wait_ns(&sd->changed, &sd->mutex, step);
}

void *away_run(void *arg)
{
	struct cfs_use_actor actor = {
		.who = "clients of its last owner, who may not know that it "
		       "is gone",
	};
	struct cfs_serve_delegate *sd = arg;

	actor.id = &actor;
	cfs_serve_act_for(&actor);
	pthread_mutex_lock(&sd->mutex);
	while (!sd->is_ending) {
		const uint64_t now = away_now();
		enum work work = WORK_NONE;
		struct away *a;

		for (a = sd->list; a; a = a->next) {
			work = work_of(a, now);
			if (work != WORK_NONE)
				break;
		}
		if (!a) {
			wait_a_little(sd);
			continue;
		}
		a->users++;
		do_work(sd, a, work);
		away_put(sd, a);
	}
	pthread_mutex_unlock(&sd->mutex);
	cfs_serve_act_for(NULL);
	return NULL;
}
