/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Begin and end of the manager's side, and what former managers left. */
#include "session/serve_direct_priv.h"

#include "base/clock.h"
#include "base/cond.h"
#include "base/vec.h"
#include "lease/period.h"
#include "session/serve_run_priv.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define WAIT_SLACK_NS CFS_NS_PER_S

/* ---- what was left ------------------------------------------------------- */

struct left {
	struct cfs_member *m;
	struct cfs_client_info info;
	uint64_t lease_id;
	bool is_new;     /* it was not known here */
	bool is_awaited; /* it may come back */
};

struct left_list {
	struct cfs_session *s;
	bool is_shared;
	CFS_VEC(struct left) items;
};

static int add_left(void *arg, struct cfs_member *m,
		    const struct cfs_client_info *info, struct cfs_err *err)
{
	const struct left left = {
		.m = m,
		.info = *info,
		.lease_id = beside_instance_id(info->rec.who.instance),
	};
	struct left_list *list = arg;

	if (cfs_vec_push(&list->items, left) < 0)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	return 0;
}

static int find_left(struct cfs_session *s, struct left_list *list,
		     struct cfs_err *err)
{
	list->s = s;
	list->is_shared = beside_set_is_shared(s);
	return beside_each_client(s, add_left, list, err);
}

/* One round over the list.  *ret_full: some found no room. */
static int take_over_round(struct left_list *list, bool is_last, bool *ret_full,
			   struct cfs_err *err)
{
	size_t kept = 0;
	int r = 0;

	*ret_full = false;
	for (size_t i = 0; i < list->items.count; i++) {
		const struct left left = list->items.items[i];
		struct cfs_container *c = left.m->container;
		bool is_over = false;

		if (r == 0 &&
		    beside_is_gone(list->s, list->is_shared, left.lease_id,
				   &left.info.rec.who)) {
			r = is_last ? cfs_container_client_left(c, left.info.id,
								true, err)
				    : cfs_container_client_gone(c, left.info.id,
								NULL, err);
			is_over = r == 0;
			*ret_full |= r == -ENOSPC;
			r = r == -ENOSPC ? 0 : r;
		}
		if (!is_over)
			list->items.items[kept++] = left;
	}
	list->items.count = kept;
	return r;
}

/*
 * Those that are known to be gone are taken over, and leave the list.  What one
 * has on loan may be the room that another one needs; @is_opening: and in the
 * end it is tried whether there is room or not.
 */
static int take_over_gone(struct left_list *list, bool is_opening,
			  struct cfs_err *err)
{
	bool is_full = true;
	size_t before;
	int r;

	do {
		before = list->items.count;
		r = take_over_round(list, false, &is_full, err);
	} while (r == 0 && is_full && list->items.count < before);
	if (r == 0 && is_full && is_opening)
		r = take_over_round(list, true, &is_full, err);
	return r == 0 && is_full ? -ENOSPC : r;
}

/*
 * The lease table waits for it to come back, until its period is over: in the
 * grace of its container alone, or (0) in that of all.  With the table's lock.
 */
static bool preload(struct cfs_serve_direct *sd, const struct left *left,
		    uint64_t container)
{
	struct cfs_owner_known known = {
		.client_id = left->lease_id,
		.container = container,
		.pid = left->info.rec.who.pid,
		.process_start = left->info.rec.who.process_start,
	};

	if (left->info.rec.state != CFS_CLIENT_OPEN)
		return false;
	memcpy(known.host, left->info.rec.who.host, sizeof(known.host));
	known.host[sizeof(known.host) - 1] = '\0';
	memcpy(known.boot_id, left->info.rec.who.boot_id,
	       sizeof(known.boot_id));
	return cfs_owner_preload(sd->serve->owner, &known, NULL) == 0;
}

static int know_one(struct cfs_serve_direct *sd, struct left *left,
		    struct cfs_err *err)
{
	struct beside_client *c = beside_client_find(sd, left->lease_id);
	struct beside_member *dm;

	left->is_new = !c;
	if (!c) {
		c = beside_client_add(sd, left->lease_id);
		if (!c)
			return cfs_err_set(err, -ENOMEM, "out of memory");
		c->who = left->info.rec.who;
		strcpy(c->actor.who, "a client of a former manager");
		c->is_lost = true;
		c->look_ns = 0;
	}
	dm = beside_member_find(c, left->m->id, left->info.id);
	if (!dm)
		dm = beside_member_add(sd, c, left->m, left->info.id);
	if (!dm)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	dm->is_sealed = left->info.rec.state == CFS_CLIENT_SEALED;
	dm->is_settled = dm->is_sealed;
	pthread_cond_broadcast(&sd->changed);
	return 0;
}

/* Who is not awaited has ended.  With the mutex; is it to be sealed? */
static bool note_end(struct cfs_serve_direct *sd, const struct left *left)
{
	struct beside_client *c = beside_client_find(sd, left->lease_id);

	if (c && left->is_new && !left->is_awaited)
		c->has_ended = true;
	return c && c->has_ended && left->info.rec.state != CFS_CLIENT_SEALED;
}

static void note_sealed(struct cfs_serve_direct *sd, const struct left *left)
{
	struct beside_client *c = beside_client_find(sd, left->lease_id);
	struct beside_member *dm =
		c ? beside_member_find(c, left->m->id, left->info.id) : NULL;

	if (dm)
		dm->is_sealed = dm->is_settled = true;
}

static int end_one(struct cfs_serve_direct *sd, const struct left *left,
		   struct cfs_err *err)
{
	bool must_seal;
	int r;

	pthread_mutex_lock(&sd->mutex);
	must_seal = note_end(sd, left);
	pthread_mutex_unlock(&sd->mutex);
	if (!must_seal)
		return 0;
	r = cfs_container_client_seal(left->m->container, left->info.id, false,
				      NULL, err);
	if (r < 0)
		return r;
	pthread_mutex_lock(&sd->mutex);
	note_sealed(sd, left);
	pthread_mutex_unlock(&sd->mutex);
	return 0;
}

/* They are known here before any of them can come back. */
static int know_all(struct cfs_serve_direct *sd, struct left_list *list,
		    const struct cfs_direct_grace *grace, struct cfs_err *err)
{
	struct cfs_owner *owner;
	int r = 0;

	pthread_mutex_lock(&sd->mutex);
	for (size_t i = 0; i < list->items.count && r == 0; i++)
		r = know_one(sd, &list->items.items[i], err);
	pthread_mutex_unlock(&sd->mutex);
	if (r < 0)
		return r;
	owner = cfs_serve_lock(sd->serve);
	if (grace)
		r = cfs_owner_begin_grace(owner, grace->container, grace->epoch,
					  grace->grace_ns, err);
	for (size_t i = 0; i < list->items.count && r == 0; i++) {
		struct left *left = &list->items.items[i];

		left->is_awaited = left->is_new &&
				   preload(sd, left,
					   grace ? grace->container : 0);
	}
	cfs_serve_unlock(sd->serve);
	for (size_t i = 0; i < list->items.count && r == 0; i++)
		r = end_one(sd, &list->items.items[i], err);
	return r;
}

static int load(struct cfs_serve_direct *sd, struct cfs_err *err)
{
	struct left_list list = { .items = CFS_VEC_INIT };
	int r;

	if (!sd->s->seat.has_clients)
		return 0;
	r = find_left(sd->s, &list, err);
	if (r == 0)
		r = take_over_gone(&list, true, err);
	if (r == 0)
		r = know_all(sd, &list, NULL, err);
	cfs_vec_done(&list.items);
	return r;
}

/* ---- a container that comes home ----------------------------------------- */

struct adopting {
	struct left_list list;
	struct cfs_member *m;
};

static int add_adopted(void *arg, const struct cfs_client_info *info,
		       struct cfs_err *err)
{
	struct adopting *a = arg;

	return add_left(&a->list, a->m, info, err);
}

int cfs_serve_direct_adopt(struct cfs_serve_direct *sd, struct cfs_member *m,
			   const struct cfs_direct_grace *grace,
			   struct cfs_err *err)
{
	struct adopting a = { .m = m };
	int r;

	if (!sd)
		return 0;
	a.list.s = sd->s;
	a.list.is_shared = sd->is_shared;
	r = cfs_container_clients(m->container, add_adopted, &a, err);
	if (r == 0)
		r = take_over_gone(&a.list, false, err);
	if (r == 0)
		r = know_all(sd, &a.list, grace, err);
	cfs_vec_done(&a.list.items);
	return r;
}

bool cfs_serve_direct_are_back(struct cfs_serve_direct *sd, uint64_t container)
{
	bool are = true;

	if (!sd)
		return true;
	pthread_mutex_lock(&sd->mutex);
	for (struct beside_client *c = sd->clients; c; c = c->next)
		for (struct beside_member *dm = c->members; dm; dm = dm->next)
			are &= c->has_ended || c->is_back || dm->is_sealed ||
			       dm->m->id != container;
	pthread_mutex_unlock(&sd->mutex);
	return are;
}

bool cfs_serve_direct_has_member(struct cfs_serve_direct *sd,
				 uint64_t container)
{
	bool has = false;

	if (!sd)
		return false;
	pthread_mutex_lock(&sd->mutex);
	for (struct beside_client *c = sd->clients; c; c = c->next)
		for (struct beside_member *dm = c->members; dm; dm = dm->next)
			has |= dm->m->id == container;
	pthread_mutex_unlock(&sd->mutex);
	return has;
}

/* ---- sessions that answer nobody ----------------------------------------- */

static int seal_all(struct left_list *list, bool is_gone, struct cfs_err *err)
{
	int r = 0;

	for (size_t i = 0; i < list->items.count && r == 0; i++) {
		const struct left *left = &list->items.items[i];

		r = is_gone ? cfs_container_client_left(left->m->container,
							left->info.id, false,
							err)
			    : cfs_container_client_seal(left->m->container,
							left->info.id, false,
							NULL, err);
	}
	return r;
}

static bool has_open(const struct left_list *list)
{
	for (size_t i = 0; i < list->items.count; i++)
		if (list->items.items[i].info.rec.state != CFS_CLIENT_SEALED)
			return true;
	return false;
}

/* When the period of a former manager's clients is over. */
static int find_end(struct cfs_session *s, uint64_t *ret_ns,
		    struct cfs_err *err)
{
	struct cfs_pool_rec rec;
	int r = cfs_pool_rec_get(s->pool, &rec, err);

	if (r < 0)
		return r;
	*ret_ns = cfs_deadline_add(
		cfs_session_silent_ns(s),
		cfs_period_owner_ns(
			CFS_MAX(rec.config[CFS_POOL_CONFIG_LEASE_NS],
				rec.config[CFS_POOL_CONFIG_LONGEST_NS]),
			(uint32_t)rec.config[CFS_POOL_CONFIG_DRIFT_PPM]));
	return 0;
}

/* Somebody may be using what he has a lease on. */
static int still_waits(struct left_list *list, uint64_t end_ns, bool *ret_does,
		       struct cfs_err *err)
{
	struct cfs_session *s = list->s;
	const bool may_have = cfs_session_may_have_leases(s);

	*ret_does = may_have || has_open(list);
	if (!may_have || !s->steps_back || list->is_shared)
		return 0;
	/* He can start a manager himself, if the pool is free. */
	s->grace_end_ns = end_ns;
	return cfs_session_still_in_grace(end_ns, err);
}

/* Until that, or until all are gone. */
static int wait_for_periods(struct left_list *list, struct cfs_err *err)
{
	const struct cfs_session_options *opt = &list->s->opt;
	struct cfs_clock *clock = cfs_clock_system();
	const uint64_t begin = beside_now();
	uint64_t now = begin, end = 0, give_up;
	bool does = false;
	int r = find_end(list->s, &end, err);

	if (r < 0)
		return r;
	/* Nobody is sent away for the margin of the periods.  Where the record
	 * does not tell when it began, the next one would begin anew. */
	give_up = !list->s->seat.silent_ns
			  ? UINT64_MAX
			  : cfs_deadline_add(now,
					     opt->wait_seconds * CFS_NS_PER_S +
						     WAIT_SLACK_NS);
	while ((r = take_over_gone(list, true, err)) == 0 && now < end) {
		r = still_waits(list, end, &does, err);
		if (r < 0 || !does)
			return r;
		if (opt->stop && opt->stop(opt->arg))
			return cfs_err_set(err, -EINTR,
					   "stopped while waiting "
					   "for clients");
		if (now >= give_up)
			return cfs_session_still_in_grace(end, err);
		list->s->grace_end_ns = end;
		cfs_session_tell_grace(list->s,
				       cfs_devset_path(list->s->set, 0), begin);
		list->s->grace_end_ns = 0;
		cfs_clock_sleep_until(clock,
				      CFS_MIN(end, now + 20 * CFS_NS_PER_MS));
		now = beside_now();
	}
	return r;
}

int cfs_session_settle_clients(struct cfs_session *s, struct cfs_err *err)
{
	struct left_list list = { .items = CFS_VEC_INIT };
	int r;

	if (!s->seat.has_clients)
		return 0;
	r = find_left(s, &list, err);
	if (r == 0 && cfs_devset_is_overlay(s->set)) {
		/* Nothing of it reaches the devices, so nobody is wronged. */
		r = seal_all(&list, true, err);
	} else if (r == 0) {
		r = wait_for_periods(&list, err);
		if (r == 0)
			r = seal_all(&list, false, err);
		if (r == 0 && list.items.count == 0)
			r = cfs_session_forget_former(s, err);
	}
	cfs_vec_done(&list.items);
	return r;
}

/* ---- hooks of the lease table -------------------------------------------- */

static void on_seal(void *arg, uint64_t client, uint64_t lease,
		    enum cfs_owner_end end)
{
	const struct beside_job job = {
		.kind = JOB_SEAL,
		.client = client,
		.lease = lease,
		.end = end,
	};

	beside_queue(arg, &job);
}

static void on_ended_client(void *arg, uint64_t client, enum cfs_owner_end end)
{
	const struct beside_job job = {
		.kind = JOB_ENDED,
		.client = client,
		.end = end,
	};

	beside_queue(arg, &job);
}

/* An operator's word about one that the lease table does not know. */
static int on_gone(void *arg, uint64_t client, const char *host)
{
	struct cfs_serve_direct *sd = arg;
	struct beside_job job = { .kind = JOB_GONE, .client = client };
	struct beside_client *c;

	strncpy(job.host, host ? host : "", sizeof(job.host) - 1);
	pthread_mutex_lock(&sd->mutex);
	for (c = sd->clients; c; c = c->next)
		if (client ? c->id == client
			   : c->has_ended && strcmp(c->who.host, job.host) == 0)
			break;
	pthread_mutex_unlock(&sd->mutex);
	if (!c)
		return -ENOENT;
	beside_queue(sd, &job);
	return 0;
}

/* A connection is gone: perhaps whoever had it is, too. */
static void on_ended_peer(void *arg, uint64_t peer)
{
	struct cfs_serve_direct *sd = arg;
	struct beside_client *c;

	pthread_mutex_lock(&sd->mutex);
	for (c = sd->clients; c; c = c->next) {
		if (c->peer != peer)
			continue;
		c->peer = 0;
		c->is_lost = true;
		c->look_ns = c->look_step_ns = 0;
	}
	pthread_cond_broadcast(&sd->changed);
	pthread_mutex_unlock(&sd->mutex);
}

/* ---- life ---------------------------------------------------------------- */

static int start_thread(struct cfs_serve_direct *sd, struct cfs_err *err)
{
	sigset_t all, old;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = -pthread_create(&sd->thread, NULL, beside_run, sd);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	sd->has_thread = r == 0;
	return r < 0 ? cfs_err_errno(err, r, "thread") : 0;
}

int cfs_serve_direct_new(struct cfs_serve *serve,
			 const struct cfs_logger *logger,
			 struct cfs_serve_direct **ret, struct cfs_err *err)
{
	struct cfs_serve_direct *sd = calloc(1, sizeof(*sd));
	struct cfs_serve_hooks hooks = {
		.seal = on_seal,
		.lost = on_ended_client,
		.gone = on_gone,
		.ended = on_ended_peer,
		.generation = beside_generation,
		.arg = sd,
	};
	int r;

	if (!sd)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	sd->serve = serve;
	sd->s = cfs_serve_session(serve);
	sd->logger = logger;
	sd->is_shared = beside_set_is_shared(sd->s);
	pthread_mutex_init(&sd->mutex, NULL);
	cfs_cond_init(&sd->changed);
	r = beside_local_init(sd, err);
	if (r == 0)
		r = beside_trees_init(sd, err);
	if (r == 0)
		r = load(sd, err);
	if (r == 0)
		r = start_thread(sd, err);
	if (r < 0) {
		cfs_serve_direct_free(sd);
		return r;
	}
	cfs_serve_set_hooks(serve, &hooks);
	*ret = sd;
	return 0;
}

void cfs_serve_direct_stop(struct cfs_serve_direct *sd)
{
	if (!sd)
		return;
	pthread_mutex_lock(&sd->mutex);
	sd->is_ending = true;
	pthread_cond_broadcast(&sd->changed);
	pthread_mutex_unlock(&sd->mutex);
	if (sd->has_thread)
		pthread_join(sd->thread, NULL);
	sd->has_thread = false;
	beside_local_stop(sd);
}

void cfs_serve_direct_free(struct cfs_serve_direct *sd)
{
	struct beside_client *c;
	struct beside_job *job;

	if (!sd)
		return;
	cfs_serve_direct_stop(sd);
	cfs_serve_set_hooks(sd->serve, NULL);
	beside_trees_done(sd);
	while ((job = sd->jobs)) {
		sd->jobs = job->next;
		free(job);
	}
	while ((c = sd->clients)) {
		struct beside_use *u;

		while (c->members)
			beside_member_drop(sd, c, c->members);
		while ((u = c->uses)) {
			c->uses = u->next;
			cfs_serve_volume_leave(sd->s, u->use);
			free(u);
		}
		sd->clients = c->next;
		pthread_mutex_destroy(&c->opening);
		free(c);
	}
	beside_local_done(sd);
	pthread_cond_destroy(&sd->changed);
	pthread_mutex_destroy(&sd->mutex);
	free(sd);
}
