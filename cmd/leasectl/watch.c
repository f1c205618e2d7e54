/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * leasectl watch: what happens to leases, as it happens, from one manager to
 * the next.  Where nobody manages the pool it waits until somebody does; what
 * is held already when it finds that one was granted meanwhile, and is told
 * as such.
 */
#include "leasectl/leasectl.h"

#include "base/cleanup.h"
#include "base/clock.h"

#include <errno.h>
#include <string.h>

/* Between two looks for a manager. */
#define LOOK_NS	(100 * CFS_NS_PER_MS)

struct watch {
	struct cfs_cmd		*cmd;
	const char		*pool;
	struct cfs_manager	*m;
	struct cfs_session	*s;
	struct cfs_lease_names	*names;
	uint64_t		epoch;		/* of the last one; 0: none */
	bool			has_waited;	/* for a manager */
	/* What kept it from telling, -EPIPE perhaps. */
	int			broken;
};

static void out_event(struct watch *w, const struct cfs_lease_event *e,
		      const struct cfs_place_name *name)
{
	struct cfs_out *out = w->cmd->out;
	char id[LEASECTL_ID_BYTES];

	cfs_out_str(out, "event", cfs_lease_event_name(e->kind));
	cfs_out_time_ns(out, "at", e->realtime_ns);
	cfs_out_u64_str(out, "epoch", e->epoch);
	cfs_out_str(out, "client", e->client_id ?
		    leasectl_id(e->client_id, 0, id) : NULL);
	cfs_out_str(out, "name", e->name[0] ? e->name : NULL);
	cfs_out_str(out, "host", e->host[0] ? e->host : NULL);
	if (!e->lease_id) {
		cfs_out_null(out, "lease");
		return;
	}
	cfs_out_begin_obj(out, "lease");
	cfs_out_str(out, "id", leasectl_id(e->client_id, e->lease_id, id));
	leasectl_place_out(out, &e->resource, e->mode, name);
	cfs_out_u64_str(out, "generation", e->generation);
	cfs_out_end(out);
}

static void print_event(struct watch *w, const struct cfs_lease_event *e,
			const struct cfs_place_name *name)
{
	char text[LEASECTL_PLACE_BYTES], at[CFS_TIME_TEXT_BYTES];
	char id[LEASECTL_ID_BYTES];

	cfs_time_format_ns(e->realtime_ns, at);
	cfs_cmd_print(w->cmd, "%.19sZ  %-8s", at,
		      cfs_lease_event_name(e->kind));
	if (e->lease_id)
		cfs_cmd_print(w->cmd, "  %s  %-9s  %s",
			      leasectl_id(e->client_id, e->lease_id, id),
			      leasectl_mode(e->mode),
			      leasectl_place_text(&e->resource, name, text));
	else if (e->client_id)
		cfs_cmd_print(w->cmd, "  %s",
			      leasectl_id(e->client_id, 0, id));
	if (e->kind == CFS_EVENT_TAKEOVER)
		cfs_cmd_print(w->cmd, "  epoch %llu",
			      (unsigned long long)e->epoch);
	if (e->name[0])
		cfs_cmd_print(w->cmd, "  (%s)", e->name);
	cfs_cmd_print(w->cmd, "\n");
}

static int tell(struct watch *w, const struct cfs_lease_event *e)
{
	const struct cfs_place_name *name = NULL;

	if (e->lease_id)
		name = cfs_lease_names_find(w->names, w->s, &e->resource);
	if (w->cmd->is_json)
		out_event(w, e, name);
	else
		print_event(w, e, name);
	w->broken = cfs_cmd_stream(w->cmd);
	return w->broken;
}

/* ---- a new manager ------------------------------------------------------- */

/* Leases that were granted before we came. */
static int tell_held(void *arg, const struct cfs_lease_record *record)
{
	struct watch *w = arg;
	struct cfs_lease_event e = {
		.kind = CFS_EVENT_GRANT,
		.realtime_ns = cfs_clock_realtime_ns(cfs_clock_system()),
		.epoch = w->epoch,
		.client_id = record->client_id,
	};

	if (record->kind != CFS_RECORD_LEASE ||
	    (record->flags & CFS_LEASE_WAITING))
		return 0;
	e.lease_id = record->u.lease.lease_id;
	e.resource = record->u.lease.resource;
	e.mode = record->u.lease.mode;
	e.generation = record->u.lease.generation;
	return tell(w, &e);
}

static int tell_takeover(struct watch *w, uint64_t epoch)
{
	const struct cfs_lease_event e = {
		.kind = CFS_EVENT_TAKEOVER,
		.realtime_ns = cfs_clock_realtime_ns(cfs_clock_system()),
		.epoch = epoch,
	};

	return tell(w, &e);
}

/* Its first answer: what happens from now on is told. */
static int begin(struct watch *w)
{
	struct cfs_session_options opt = leasectl_options(w->cmd);
	struct cfs_msg_status_head head;
	bool is_another = w->has_waited || w->epoch;
	int r = 0;

	opt.wait_seconds = 0;
	opt.warn = NULL;
	(void)cfs_session_open(w->pool, &opt, &w->s, NULL);
	if (w->epoch)
		r = tell_takeover(w, w->epoch + 1);
	if (r == 0 && is_another)
		r = cfs_manager_status(w->m, tell_held, w, &head,
				       &w->cmd->err);
	return r;
}

static int on_event(void *arg, const struct cfs_lease_event *event)
{
	struct watch *w = arg;

	return event ? tell(w, event) : 0;
}

static void drop(struct watch *w)
{
	cfs_manager_close(w->m);
	w->m = NULL;
	cfs_session_closep(&w->s);
	w->s = NULL;
}

/* From one manager's beginning to its end. */
static int watch_one(struct watch *w)
{
	struct cfs_manager_info info;
	int r = leasectl_connect(w->cmd, w->pool, 0, &info, &w->m);

	if (r == 1 || r == -EBUSY || r == -ETIMEDOUT) {
		w->has_waited = true;
		return 0;
	}
	if (r < 0)
		return r;
	if (w->epoch == info.epoch)
		w->epoch = 0;	/* the same one: nothing was taken over */
	r = begin(w);
	w->epoch = info.epoch;
	if (r == 0)
		r = cfs_manager_watch(w->m, on_event, w, &w->cmd->err);
	drop(w);
	w->has_waited = true;
	/* It has ended, or has no room: the next one. */
	return r == -ECONNRESET || r == -EPROTO || r == -EAGAIN ||
	       r == -ESHUTDOWN ? 0 : r;
}

static int run(struct cfs_cmd *cmd)
{
	CFS_CLEANUP(cfs_name_done) struct cfs_name name = CFS_NAME_INIT;
	struct watch w = { .cmd = cmd };
	int r = cfs_cmd_name(cmd, 0, 0, 0, &name);

	if (r == 0)
		r = cfs_lease_names_new(&w.names, &cmd->err);
	w.pool = name.pool;
	while (r == 0 && !cfs_cmd_is_stopped(NULL)) {
		r = watch_one(&w);
		if (r == 0)
			cfs_clock_sleep_until(cfs_clock_system(), LOOK_NS +
				cfs_clock_elapsed_ns(cfs_clock_system()));
	}
	drop(&w);
	cfs_lease_names_free(w.names);
	/* A signal is how it ends. */
	return r == -EINTR && !w.broken ? 0 : r;
}

const struct cfs_verb leasectl_watch = {
	.name = "watch",
	.operands = "POOL",
	.help = "show what happens to leases, until a signal ends it",
	.more = "Where nobody manages the pool it waits for somebody.",
	.examples =
		"leasectl watch pool.img\n"
		"leasectl watch --json-lines pool.img | jq -c .event",
	.common = CFS_COMMON_SEARCH,
	.min_operands = 1,
	.max_operands = 1,
	.run = run,
};
