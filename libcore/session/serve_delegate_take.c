/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How a container goes to a secondary: TAKE.
 *
 * What must stay true: from the moment it is durably another's nobody here
 * works in it, and whoever did goes there, or is served on by us from there;
 * or nothing has happened.
 */
#include "session/serve_delegate_priv.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "session/serve_direct.h"
#include "session/serve_onward.h"
#include "session/serve_run_priv.h"

#include <stdlib.h>
#include <string.h>

#define SPARE_SLICES 4u /* lent with the container */

static int answer_grant(struct cfs_serve_delegate *sd, uint64_t container,
			uint32_t epoch, struct cfs_server_request *request,
			struct cfs_buf *reply, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf buf = CFS_BUF_INIT;
	struct cfs_pool_grant grant;
	int r = cfs_pool_delegation_grant(sd->s->pool, container, epoch, &grant,
					  err);

	if (r < 0)
		return r;
	r = cfs_pool_grant_pack(&grant, &buf);
	cfs_pool_grant_donep(&grant);
	return r < 0 ? cfs_err_set(err, r, "out of memory")
		     : away_answer_parts(request, &buf, reply, err);
}

void away_bind(struct away *a, const struct cfs_server_request *request)
{
	a->client = request->client;
	a->peer = request->peer;
	a->look_ns = UINT64_MAX;
	if (!a->is_wanted)
		a->until_ns = UINT64_MAX;
}

/* By its name; *ret_is_same: this very one has it already. */
static int find_away(struct cfs_serve_delegate *sd, const char *name,
		     const struct cfs_delegate_request *q,
		     const struct cfs_server_request *request,
		     uint64_t *ret_container, uint32_t *ret_epoch)
{
	struct away *a;
	int r = -ENOENT;

	pthread_mutex_lock(&sd->mutex);
	for (a = sd->list; a; a = a->next)
		if (a->step != AWAY_FROZEN && strcmp(a->d.name, name) == 0)
			break;
	if (a && a->step == AWAY_OUT &&
	    memcmp(a->d.rec.who.instance, q->who.instance, 16) == 0) {
		*ret_container = a->d.container;
		*ret_epoch = a->d.epoch;
		away_bind(a, request);
		r = 0;
	} else if (a) {
		r = -EBUSY;
	}
	pthread_mutex_unlock(&sd->mutex);
	return r;
}

static int find_member(struct cfs_serve_delegate *sd, const char *name,
		       struct cfs_member **ret, struct cfs_err *err)
{
	int r = cfs_pool_member(sd->s->pool, name, ret, err);

	if (r == 0 && !cfs_session_may_see(sd->s, *ret))
		r = cfs_err_set(err, -ENOENT, "no such volume");
	return r;
}

/*
 * Nobody uses it but those who go with it, and no request looks at it: the
 * structure is ours.  *ret_again: it stays, but is another object now.
 */
static int delegate(struct cfs_serve_delegate *sd,
		    const struct cfs_delegate_request *q, uint64_t container,
		    struct cfs_delegation *ret, struct cfs_member **ret_again,
		    struct cfs_err *err)
{
	struct cfs_delegation d = { .rec = { .who = q->who } };
	struct cfs_member *m = NULL;
	int r = find_member(sd, q->name, &m, err);

	if (r == 0 && m->id != container)
		r = cfs_err_set(err, -EBUSY, "it is being renamed");
	if (r < 0)
		return r;
	d.container = m->id;
	d.rec.since_ns = (uint64_t)cfs_clock_realtime_ns(cfs_clock_system());
	d.rec.has_clients = cfs_serve_direct_move_count(sd->s->beside_us) > 0;
	r = cfs_pool_delegate(sd->s->pool, m, &d.rec, SPARE_SLICES, &d.epoch,
			      err);
	if (r < 0 &&
	    cfs_pool_member_by_id(sd->s->pool, d.container, &m, NULL) == 0)
		*ret_again = m;
	return r < 0 ? r
		     : cfs_pool_delegation_find(sd->s->pool, d.container, ret,
						err);
}

static int note_away(struct cfs_serve_delegate *sd,
		     const struct cfs_delegation *d,
		     const struct cfs_server_request *request, bool has_open,
		     struct cfs_err *err)
{
	struct away *a;

	pthread_mutex_lock(&sd->mutex);
	a = away_add(sd, d);
	if (a)
		away_bind(a, request);
	if (a)
		a->is_going = true;
	if (a)
		a->is_joining = has_open;
	pthread_mutex_unlock(&sd->mutex);
	return a ? 0 : cfs_err_set(err, -ENOMEM, "out of memory");
}

/* Nobody else uses it, and all that we serve of it is closed. */
static int check_going(struct cfs_serve_delegate *sd, struct cfs_onward *onward,
		       bool *ret_has_hold, struct cfs_err *err)
{
	struct cfs_serve_direct *beside = sd->s->beside_us;
	int r = cfs_onward_check(onward, err);

	if (r == 0)
		r = cfs_serve_direct_move_check(beside, err);
	*ret_has_hold = r == 0;
	if (r == 0)
		r = cfs_onward_check_others(
			onward, cfs_serve_direct_move_count(beside), err);
	if (r == 0)
		cfs_onward_leave(onward);
	return r;
}

/* Those who work in it go with it (serve_direct.h), or are served on by us
 * (serve_onward.h), if it stays on this host. */
static int hand_over(struct cfs_serve_delegate *sd,
		     const struct cfs_delegate_request *q,
		     const struct cfs_server_request *request,
		     struct cfs_delegation *ret, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_handed_list_donep)
	struct cfs_handed_list handed = { .is_all = true };
	struct cfs_serve_direct *beside = sd->s->beside_us;
	struct cfs_member *m, *again = NULL;
	struct cfs_onward *onward = NULL;
	uint64_t container = 0;
	bool has_hold = false;
	int r;

	pthread_rwlock_rdlock(sd->structure);
	r = find_member(sd, q->name, &m, err);
	if (r == 0)
		container = m->id;
	pthread_rwlock_unlock(sd->structure);
	if (r == 0)
		r = cfs_serve_direct_move_begin(beside, container, err);
	if (r < 0)
		return r;
	if (request->identity && request->identity->is_local)
		r = cfs_onward_begin(sd->serve->rpc, container, &onward, err);
	pthread_rwlock_wrlock(sd->structure);
	away_learn_patience(sd);
	if (r == 0)
		r = check_going(sd, onward, &has_hold, err);
	if (r == 0)
		r = delegate(sd, q, container, ret, &again, err);
	if (r == 0)
		r = note_away(sd, ret, request, onward, err);
	cfs_serve_direct_move_end(beside, has_hold, r == 0, again, &handed);
	cfs_onward_end(onward, r == 0 ? ret->epoch : 0);
	pthread_rwlock_unlock(sd->structure);
	if (r == 0)
		away_give(sd, ret->container, ret->epoch, &handed);
	return r;
}

int away_take(struct cfs_serve_delegate *sd,
	      const struct cfs_delegate_request *q,
	      struct cfs_server_request *request, struct cfs_buf *reply,
	      struct cfs_err *err)
{
	struct cfs_delegation d = { .container = 0 };
	int r = find_away(sd, q->name, q, request, &d.container, &d.epoch);

	if (r == -EBUSY)
		return cfs_err_set(err, r, "another process serves it");
	if (r == -ENOENT)
		r = hand_over(sd, q, request, &d, err);
	return r < 0 ? r
		     : answer_grant(sd, d.container, d.epoch, request, reply,
				    err);
}
