/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Holding all clients of some containers, for a snapshot. */
#include "session/serve_direct_priv.h"
#include "session/serve_use.h"

#include "base/bits.h"
#include "base/clock.h"
#include "base/cond.h"

#define PATIENCE_NS     (200 * CFS_NS_PER_MS) /* while the others wait */
#define PATIENCE_NS_MAX (32 * PATIENCE_NS)
#define AGAIN_NS        CFS_NS_PER_S
#define LOOK_NS         (10 * CFS_NS_PER_MS)

void beside_notice(struct cfs_serve_direct *sd, const struct beside_client *c,
		   uint16_t type, uint64_t container, uint64_t value)
{
	struct cfs_wire_put put;
	uint8_t msg[64];

	if (!c->peer)
		return;
	cfs_wire_put_init(&put, msg, sizeof(msg));
	cfs_msg_begin(&put, type, 0);
	cfs_wire_put_u64(&put, container);
	cfs_wire_put_u64(&put, value);
	if (cfs_msg_end(&put) == 0)
		(void)cfs_server_send(cfs_serve_server(sd->serve), c->peer,
				      put.data, put.bytes);
}

/* With the mutex. */
static bool is_concerned(const struct cfs_serve_direct *sd, uint64_t container)
{
	for (size_t i = 0; i < sd->hold_count; i++)
		if (sd->hold_members[i]->id == container)
			return true;
	return false;
}

bool beside_may_look(struct cfs_serve_direct *sd, struct beside_member *dm)
{
	bool may;

	pthread_mutex_lock(&sd->mutex);
	may = !sd->is_holding || !is_concerned(sd, dm->m->id);
	/* From here on it may write. */
	if (may)
		dm->is_new = false;
	pthread_mutex_unlock(&sd->mutex);
	return may;
}

int beside_held(struct cfs_serve_direct *sd, struct beside_client *c,
		const struct cfs_direct_request *q, struct cfs_err *err)
{
	struct beside_member *dm;

	(void)err;
	pthread_mutex_lock(&sd->mutex);
	dm = beside_member_find(c, q->container, q->client);
	if (dm && sd->hold_serial == q->value) {
		dm->is_held = true;
		pthread_cond_broadcast(&sd->changed);
	}
	pthread_mutex_unlock(&sd->mutex);
	return 0;
}

/* It writes, and has not answered; or what it has synced is being read. */
static bool is_silent(const struct cfs_serve_direct *sd,
		      const struct beside_member *dm)
{
	if (!is_concerned(sd, dm->m->id))
		return false;
	return dm->is_sealed ? dm->id && !dm->is_settled
			     : !dm->is_new && !dm->is_held;
}

static size_t count_silent(struct cfs_serve_direct *sd)
{
	const struct beside_client *c;
	const struct beside_member *dm;
	size_t n = 0;

	for (c = sd->clients; c; c = c->next)
		for (dm = c->members; dm; dm = dm->next)
			n += is_silent(sd, dm);
	return n;
}

/* Who has not heard it, on a connection that broke, is to hear it again. */
static void ask_silent(struct cfs_serve_direct *sd)
{
	struct beside_client *c;
	struct beside_member *dm;

	for (c = sd->clients; c; c = c->next)
		for (dm = c->members; dm; dm = dm->next)
			if (is_silent(sd, dm) && !dm->is_sealed)
				beside_notice(sd, c, CFS_DIRECT_HOLD, dm->m->id,
					      sd->hold_serial);
}

static void ask_all(struct cfs_serve_direct *sd)
{
	struct beside_client *c;
	struct beside_member *dm;

	sd->is_holding = true;
	sd->hold_serial++;
	for (c = sd->clients; c; c = c->next)
		for (dm = c->members; dm; dm = dm->next)
			dm->is_held = false;
	ask_silent(sd);
}

static void let_go(struct cfs_serve_direct *sd)
{
	struct beside_client *c;
	struct beside_member *dm;

	sd->is_holding = false;
	for (c = sd->clients; c; c = c->next)
		for (dm = c->members; dm; dm = dm->next)
			if (!dm->is_sealed && is_concerned(sd, dm->m->id))
				beside_notice(sd, c, CFS_DIRECT_GO_ON,
					      dm->m->id, sd->hold_serial);
	pthread_cond_broadcast(&sd->changed);
}

static void wait_a_little(struct cfs_serve_direct *sd)
{
	(void)cfs_cond_wait_ns(&sd->changed, &sd->mutex, LOOK_NS);
}

static int has_stopped(bool (*stop)(void *arg), void *arg, struct cfs_err *err)
{
	if (!cfs_serve_is_cancelled() && !(stop && stop(arg)))
		return 0;
	return cfs_err_set(err, -EINTR, "stopped while waiting for a client");
}

/*
 * The others go on when it takes longer than @patience_ns.  A silent one is
 * asked again until it answers, or is sealed when its period is over.
 */
static int wait_for_answers(struct cfs_serve_direct *sd, uint64_t patience_ns,
			    bool (*stop)(void *arg), void *arg,
			    struct cfs_err *err)
{
	const uint64_t late = beside_now() + patience_ns;
	uint64_t again = late + AGAIN_NS;

	while (count_silent(sd)) {
		int r = has_stopped(stop, arg, err);

		if (r < 0)
			return r;
		if (sd->is_holding && beside_now() >= late)
			let_go(sd);
		if (beside_now() >= again) {
			ask_silent(sd);
			again = beside_now() + AGAIN_NS;
		}
		wait_a_little(sd);
	}
	return 0;
}

/*
 * One that answers late each time, since it has much to write, or its host has
 * much to do, gets more time with each try: so it ends.
 */
int cfs_serve_direct_hold(struct cfs_serve_direct *sd,
			  struct cfs_member *const *members, size_t count,
			  bool (*stop)(void *arg), void *arg,
			  struct cfs_err *err)
{
	uint64_t patience_ns = PATIENCE_NS;
	bool is_held = false;
	int r = 0;

	if (!sd)
		return 0;
	/* For requests of theirs, which need threads. */
	(void)cfs_serve_will_wait();
	pthread_mutex_lock(&sd->mutex);
	while (sd->hold_members && r == 0) { /* somebody else's snapshot */
		wait_a_little(sd);
		r = has_stopped(stop, arg, err);
	}
	if (r < 0) {
		pthread_mutex_unlock(&sd->mutex);
		return r;
	}
	sd->hold_members = members;
	sd->hold_count = count;
	while (r == 0 && !is_held) {
		ask_all(sd);
		r = wait_for_answers(sd, patience_ns, stop, arg, err);
		is_held = sd->is_holding;
		patience_ns = CFS_MIN(2 * patience_ns, PATIENCE_NS_MAX);
	}
	pthread_mutex_unlock(&sd->mutex);
	if (r < 0)
		cfs_serve_direct_go_on(sd);
	return r;
}

void cfs_serve_direct_go_on(struct cfs_serve_direct *sd)
{
	if (!sd)
		return;
	pthread_mutex_lock(&sd->mutex);
	if (sd->is_holding)
		let_go(sd);
	sd->hold_members = NULL;
	sd->hold_count = 0;
	pthread_cond_broadcast(&sd->changed);
	pthread_mutex_unlock(&sd->mutex);
}
