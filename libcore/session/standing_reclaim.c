/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Coming back for a lease that stands by itself, as client.h does it for one
 * that is held: HELLO as who it was, RECLAIM, RECLAIMED; and off again, without
 * a goodbye.  Whoever dies in the middle has changed nothing that the next one
 * does not find: the client stands, and what it did not reclaim it can.
 *
 * N4 rests on the clock that is looked at behind the last answer: as long as
 * the period runs that began when the former owner still knew the lease, nobody
 * else has been given it, and before its end this owner has it on its list.
 */
#include "session/standing.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "session/dial.h"
#include "session/remote.h"

#include <stdio.h>
#include <string.h>

struct coming {
	struct cfs_standing *st;
	const struct cfs_manager_info *info;
	uint64_t epoch;
	const char *name;
	struct cfs_conn_wait wait;
	struct cfs_conn *conn;
	struct cfs_msg_welcome welcome;
	int refusal; /* of the HELLO, and by whom it was meant for */
};

static void fill_hello(const struct coming *c, struct cfs_msg_hello *m)
{
	const struct cfs_standing_record *rec = cfs_standing_record(c->st);

	cfs_remote_hello_fill(c->info->pool_uuid, m);
	m->flags = CFS_HELLO_STANDING;
	(void)snprintf(m->name, sizeof(m->name), "%s", c->name);
	m->client_id = rec->name.client_id;
	memcpy(m->secret, rec->name.secret, sizeof(m->secret));
	m->epoch = c->epoch;
}

static int hello(void *arg, struct cfs_link *link, struct cfs_err *err)
{
	const struct cfs_conn_options opt = { .calls_max = 0 };
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf reply = CFS_BUF_INIT;
	uint8_t body[sizeof(struct cfs_msg_hello) + 64];
	struct coming *c = arg;
	struct cfs_wire_put put;
	struct cfs_wire_get get;
	struct cfs_msg_hello m;
	int r = cfs_conn_new(link, &opt, &c->conn, err);

	if (r < 0)
		return r;
	fill_hello(c, &m);
	cfs_wire_put_init(&put, body, sizeof(body));
	cfs_msg_hello_pack(&m, &put);
	r = cfs_conn_call(c->conn, CFS_MSG_HELLO, put.data, put.bytes, &c->wait,
			  &reply, err);
	cfs_wire_get_init(&get, reply.data, reply.bytes);
	if (r == 0)
		r = cfs_msg_welcome_unpack(&get, &c->welcome, err);
	/* An answer of that manager; else the next address is tried. */
	if (r == -EPERM || r == -EAGAIN)
		c->refusal = r;
	if (r == 0 || c->refusal)
		return 0;
	cfs_conn_free(c->conn);
	c->conn = NULL;
	return r;
}

static int reclaim_one(struct coming *c, const struct cfs_handed_lease *l,
		       struct cfs_err *err)
{
	const struct cfs_msg_reclaim m = {
		.lock = {
			.resource = l->resource,
			.mode = l->mode,
			.key = l->key,
		},
		.lease_id = l->lease_id,
		.generation = l->generation,
	};
	uint8_t body[sizeof(m) + 16];
	struct cfs_wire_put put;

	cfs_wire_put_init(&put, body, sizeof(body));
	cfs_msg_reclaim_pack(&m, &put);
	return cfs_conn_call(c->conn, CFS_MSG_RECLAIM, put.data, put.bytes,
			     &c->wait, NULL, err);
}

/* That client is somebody else there; or it is not sure whether it is due. */
static int refused(const struct coming *c, struct cfs_err *err)
{
	return cfs_err_set(err, c->refusal == -EPERM ? -ESTALE : -EAGAIN,
			   "its manager does not take it back");
}

/* All of it, or -ESTALE. */
static int reclaim(struct coming *c, struct cfs_err *err)
{
	const struct cfs_standing_record *rec = cfs_standing_record(c->st);
	int r = 0;

	if (c->welcome.client_id != rec->name.client_id)
		return cfs_err_set(err, -ESTALE, "too late to reclaim it");
	for (uint32_t i = 0; i < rec->lease_count && r == 0; i++)
		r = reclaim_one(c, &rec->leases[i], err);
	if (r == 0)
		r = cfs_conn_call(c->conn, CFS_MSG_RECLAIMED, NULL, 0, &c->wait,
				  NULL, err);
	/* N4 */
	if (r == 0 && !cfs_standing_still_runs(c->st))
		r = cfs_err_set(err, -ESTALE, "its period is over");
	return r;
}

/*
 * What is of no use here does not stay, or its period is waited for.  One that is
 * known and has lost its lease by an order has an end that is waited for.
 */
static void leave(struct coming *c)
{
	const struct cfs_standing_record *rec = cfs_standing_record(c->st);

	if (c->welcome.client_id == rec->name.client_id &&
	    !(c->welcome.flags & CFS_WELCOME_RECLAIM))
		return;
	(void)cfs_conn_call(c->conn, CFS_MSG_GOODBYE, NULL, 0, &c->wait, NULL,
			    NULL);
}

int cfs_standing_reclaim(struct cfs_standing *st,
			 const struct cfs_manager_info *info, uint64_t epoch,
			 const char *name,
			 const struct cfs_session_options *opt,
			 unsigned int timeout_ms, struct cfs_err *err)
{
	struct coming c = {
		.st = st,
		.info = info,
		.epoch = epoch,
		.name = name,
		.wait = {
			.timeout_ns = timeout_ms * CFS_NS_PER_MS,
			.stop = opt->stop,
			.arg = opt->arg,
		},
	};
	struct cfs_lease_clock sent;
	int r;

	if (!cfs_standing_still_runs(st))
		return cfs_err_set(err, -ESTALE, "its period is over");
	/* The period is the one that the answer to HELLO begins. */
	cfs_lease_clock_init(&sent);
	r = cfs_dial(info->address, opt, timeout_ms, "its manager", hello, &c,
		     err);
	if (r < 0)
		return r;
	r = c.refusal ? refused(&c, err) : reclaim(&c, err);
	if (r == 0)
		cfs_standing_welcome(st, &c.welcome, &sent);
	else if (r == -ESTALE && !c.refusal)
		leave(&c);
	cfs_conn_free(c.conn);
	return r;
}
