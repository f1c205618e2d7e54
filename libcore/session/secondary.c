/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A secondary: its session, and what its pool asks of the primary. */
#include "session/secondary_priv.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/uuid.h"
#include "lease/wire.h"
#include "pool/devset_exclude.h"
#include "session/remote.h"
#include "tree/container_rest.h"
#include "tree/lend.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATIENCE_NS (10 * CFS_NS_PER_S) /* of one who waits for space */
#define POLL_NS     (50 * CFS_NS_PER_MS)

/* ---- what the pool asks -------------------------------------------------- */

static struct cfs_delegate_request request_of(const struct cfs_secondary *sec,
					      uint64_t value)
{
	return (struct cfs_delegate_request){
		.container = sec->container,
		.epoch = sec->epoch,
		.value = value,
	};
}

/* A manager that is away for long has no space for us. */
static int more(void *ctx, unsigned int count, struct cfs_lent_slices *ret,
		struct cfs_err *err)
{
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf reply = CFS_BUF_INIT;
	struct cfs_secondary *sec = ctx;
	const struct cfs_delegate_request q = request_of(sec, count);
	int r = secondary_call(sec, CFS_DELEGATE_LEND, &q, PATIENCE_NS, &reply,
			       err);

	if (r == -EBUSY)
		return cfs_err_set(err, -ENOSPC,
				   "the manager of the pool does "
				   "not answer, and there is no space left "
				   "here");
	return r < 0 ? r
		     : cfs_lent_slices_unpack(reply.data, reply.bytes, ret,
					      err);
}

static int give(void *ctx, uint64_t lslice, struct cfs_err *err)
{
	struct cfs_secondary *sec = ctx;
	const struct cfs_delegate_request q = request_of(sec, lslice);

	return secondary_call(sec, CFS_DELEGATE_GIVE, &q, PATIENCE_NS, NULL,
			      err);
}

static bool may_ack(void *ctx)
{
	return secondary_is_bound(ctx);
}

int cfs_secondary_may_answer(struct cfs_secondary *sec, struct cfs_err *err)
{
	int r;

	if (secondary_is_bound(sec))
		return 0;
	/* Not by its id: whoever has that lock may wait for a container, and
	 * we have that of the leases. */
	r = cfs_container_look(sec->member->container, err);
	if (r == -ESTALE)
		secondary_over(sec, "another process has taken the container "
				    "over");
	return r;
}

int cfs_secondary_store(struct cfs_secondary *sec, const struct cfs_seat *seat,
			struct cfs_err *err)
{
	pthread_mutex_lock(&sec->mutex);
	memcpy(sec->address, seat->address, sizeof(sec->address));
	sec->has_clients = seat->has_clients;
	pthread_mutex_unlock(&sec->mutex);
	/* At the end the return says it all. */
	if (!seat->address[0])
		return 0;
	return secondary_again(sec, PATIENCE_NS, err);
}

uint64_t cfs_secondary_container(const struct cfs_secondary *sec)
{
	return sec->container;
}

/* ---- opening ------------------------------------------------------------- */

/* What the record says was left out is not read. */
static void exclude_absent(struct cfs_secondary *sec,
			   const struct cfs_seat *seat)
{
	for (uint32_t i = 0; i < seat->absent_count; i++)
		if (seat->absent[i].device_index < cfs_devset_count(sec->set))
			cfs_devset_exclude(sec->set,
					   seat->absent[i].device_index);
}

/* The devices that the manager has we must have, and none that it has not. */
static int check_set(struct cfs_secondary *sec, const struct cfs_seat *seat,
		     struct cfs_err *err)
{
	struct cfs_identity self;
	bool is_here;

	memset(&self, 0, sizeof(self));
	cfs_identity_host.self(cfs_identity_host.arg, &self);
	is_here = cfs_uuid_is_equal(self.boot_id, seat->boot_id) &&
		  !cfs_uuid_is_null(self.boot_id);
	exclude_absent(sec, seat);
	for (uint32_t i = 0; i < cfs_devset_count(sec->set); i++) {
		struct cfs_dev *dev = cfs_devset_dev(sec->set, i);
		bool is_out = false;

		for (uint32_t k = 0; k < seat->absent_count; k++)
			is_out |= seat->absent[k].device_index == i;
		if (!dev && !is_out)
			return cfs_err_set(err, -ENODEV,
					   "%s: a device that "
					   "the manager has is missing here",
					   cfs_devset_path(sec->set, i));
		if (dev && !is_here && !cfs_dev_is_direct(dev))
			return cfs_err_set(err, -ENOTSUP,
					   "%s: what is written "
					   "there is kept by the host for a "
					   "while",
					   cfs_devset_path(sec->set, i));
	}
	return 0;
}

static int mark_set(struct cfs_secondary *sec, struct cfs_err *err)
{
	const uint64_t number = away_mark(sec->who.instance);
	int r = 0;

	for (uint32_t i = 0; i < cfs_devset_count(sec->set) && r == 0; i++) {
		struct cfs_dev *dev = cfs_devset_dev(sec->set, i);

		r = dev ? cfs_dev_mark(dev, number, err) : 0;
	}
	return r == -EOPNOTSUPP ? 0 : r;
}

static int open_set(struct cfs_secondary *sec, const char *pool,
		    struct cfs_err *err)
{
	const struct cfs_session_options *opt = &sec->s->opt;
	const struct cfs_devset_options set_opt = {
		.is_writable = true,
		.is_beside = true,
		.search = opt->search,
		.search_count = opt->search_count,
		.warn = opt->warn,
		.stop = opt->stop,
		.arg = opt->arg,
	};
	struct cfs_seat seat;
	int r = cfs_devset_open(pool, &set_opt, &sec->set, err);

	if (r == 0)
		r = cfs_seat_read(sec->set, &seat, err);
	if (r == 0)
		r = check_set(sec, &seat, err);
	return r < 0 ? r : mark_set(sec, err);
}

static int identify(struct cfs_secondary *sec, struct cfs_err *err)
{
	struct cfs_identity self;
	int r = cfs_uuid_new(sec->who.instance, err);

	if (r < 0)
		return r;
	memset(&self, 0, sizeof(self));
	cfs_identity_host.self(cfs_identity_host.arg, &self);
	memcpy(sec->who.boot_id, self.boot_id, sizeof(sec->who.boot_id));
	memcpy(sec->who.host, self.host,
	       CFS_MIN(sizeof(sec->who.host), sizeof(self.host)));
	sec->who.host[sizeof(sec->who.host) - 1] = '\0';
	sec->who.pid = self.pid;
	sec->who.process_start = self.process_start;
	return 0;
}

static void tell_waits(const struct cfs_session_options *opt, const char *name,
		       const struct cfs_err *why)
{
	char line[2 * CFS_ERR_BYTES];

	if (!opt->warn || !why)
		return;
	(void)snprintf(line, sizeof(line), "%s: waiting for it: %s", name,
		       why->msg);
	opt->warn(opt->arg, line);
}

/* Those who use it now may end soon; so may whoever serves it. */
static int take(struct cfs_secondary *sec, const char *name,
		struct cfs_buf *reply, struct cfs_err *err)
{
	const struct cfs_session_options *opt = &sec->s->opt;
	struct cfs_clock *clock = cfs_clock_system();
	const uint64_t end_ns = cfs_deadline_add(
		cfs_clock_elapsed_ns(clock), opt->wait_seconds * CFS_NS_PER_S);
	struct cfs_delegate_request q = { .who = sec->who };
	uint64_t now_ns, tell_ns;
	int r;

	if (strlen(name) >= sizeof(q.name))
		return cfs_err_set(err, -ENOENT, "no such volume");
	strcpy(q.name, name);
	tell_ns = cfs_deadline_add(cfs_clock_elapsed_ns(clock), CFS_NS_PER_S);
	for (;;) {
		reply->bytes = 0;
		r = secondary_connect(sec, err);
		if (r == 0)
			r = secondary_call(sec, CFS_DELEGATE_TAKE, &q, 0, reply,
					   err);
		now_ns = cfs_clock_elapsed_ns(clock);
		if (r != -EBUSY || now_ns >= end_ns)
			return r;
		if (opt->stop && opt->stop(opt->arg))
			return cfs_err_set(err, -EINTR,
					   "stopped while "
					   "waiting for it");
		/* Who is in the way may be so for long: it is said once. */
		if (now_ns >= tell_ns) {
			tell_ns = UINT64_MAX;
			tell_waits(opt, name, err);
		}
		cfs_clock_sleep_until(clock, now_ns + POLL_NS);
	}
}

static int open_pool(struct cfs_secondary *sec, const struct cfs_buf *said,
		     struct cfs_err *err)
{
	const struct cfs_pool_lender lender = {
		.more = more,
		.give = give,
		.may_ack = may_ack,
		.ctx = sec,
	};
	struct cfs_session *s = sec->s;
	const struct cfs_pool_options opt = {
		/* It was closed by whoever had it, or we would not have it. */
		.was_clean = true,
		.warn = s->opt.warn,
		.arg = s->opt.arg,
	};
	struct cfs_lent_counts lent;
	struct cfs_pool_grant grant;
	int r = cfs_pool_grant_unpack(said->data, said->bytes, &grant, err);

	if (r < 0)
		return r;
	sec->container = grant.container;
	sec->epoch = s->seat.epoch = grant.epoch;
	secondary_bind(sec);
	r = cfs_pool_open_delegated(sec->set, &grant, &lender, &opt, &s->pool,
				    err);
	cfs_pool_grant_donep(&grant);
	if (r == 0)
		r = cfs_pool_member_by_id(s->pool, sec->container, &sec->member,
					  err);
	if (r < 0)
		return r;
	secondary_ask_given(sec);
	/* They were handed over with it, and are all that there are. */
	cfs_container_lent_counts(sec->member->container, &lent);
	s->seat.has_clients = sec->has_clients = lent.clients > 0 ||
						 sec->given.v.count > 0 ||
						 !sec->given.is_all;
	return 0;
}

static int open_steps(struct cfs_secondary *sec, const char *pool,
		      const char *name, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf said = CFS_BUF_INIT;
	int r = identify(sec, err);

	if (r == 0)
		r = open_set(sec, pool, err);
	if (r < 0)
		return r;
	sec->s->set = sec->set;
	r = take(sec, name, &said, err);
	if (r == 0)
		r = open_pool(sec, &said, err);
	return r < 0 ? r : secondary_start(sec, err);
}

int cfs_secondary_open(const char *pool, const char *name,
		       const struct cfs_session_options *opt,
		       const struct cfs_secondary_options *own,
		       struct cfs_session **ret, struct cfs_err *err)
{
	struct cfs_session *s = cfs_session_object_new(opt);
	struct cfs_secondary *sec = s ? secondary_new(s, own) : NULL;
	int r;

	if (!sec) {
		cfs_session_object_free(s);
		return cfs_err_set(err, -ENOMEM, "out of memory");
	}
	s->secondary = sec;
	r = open_steps(sec, pool, name, err);
	if (r < 0) {
		cfs_pool_drop(s->pool);
		s->pool = NULL;
		cfs_secondary_close(sec);
		s->secondary = NULL;
		cfs_session_object_free(s);
		return r;
	}
	*ret = s;
	return 0;
}
