/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * leasectl watch: what happens to leases, as it happens, from one manager to
 * the next.  Where nobody manages the pool it waits until somebody does; what
 * is held already when it finds that one was granted meanwhile, and is told
 * as such.
 *
 * The manager speaks of a client where all its leases are meant: it has one
 * period.  Here each lease is told, so what is held is kept in mind.  A lease
 * that is revoked is told when that is said, and its end as "expire", unless
 * its holder gives it back before.
 */
#include "leasectl/leasectl.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/vec.h"
#include "common/run.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

/* Between two looks for a manager; and once its socket has been made. */
#define LOOK_MS      100
#define LOOK_SOON_MS 5
#define SOON_COUNT   20u

struct held {
	struct cfs_lease_event event; /* of its grant */
	bool is_stopped;
};

struct watch {
	struct cfs_cmd *cmd;
	const char *pool;
	struct cfs_manager *m;
	struct cfs_session *s;
	struct cfs_lease_names *names;
	uint64_t epoch;  /* of the last one; 0: none */
	bool is_another; /* than the one before */
	bool has_waited; /* for a manager */
	CFS_VEC(struct held) held;
	int notify_fd;     /* of the sockets; or -1 */
	unsigned int soon; /* looks at short intervals */
	/* What kept it from telling, -EPIPE perhaps. */
	int broken;
};

static const char *name_of(const struct cfs_lease_event *e)
{
	return cfs_lease_event_name(e->kind == CFS_EVENT_STOP ? CFS_EVENT_REVOKE
							      : e->kind);
}

static void out_event(struct watch *w, const struct cfs_lease_event *e,
		      const struct cfs_place_name *name)
{
	struct cfs_out *out = w->cmd->out;
	char id[LEASECTL_ID_BYTES];

	cfs_out_str(out, "event", name_of(e));
	cfs_out_time_ns(out, "at", e->realtime_ns);
	cfs_out_u64_str(out, "epoch", e->epoch);
	cfs_out_str(out, "client",
		    e->client_id ? leasectl_id(e->client_id, 0, id) : NULL);
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
	cfs_cmd_print(w->cmd, "%.19sZ  %-8s", at, name_of(e));
	if (e->lease_id)
		cfs_cmd_print(w->cmd, "  %s  %-9s  %s",
			      leasectl_id(e->client_id, e->lease_id, id),
			      leasectl_mode(e->mode),
			      leasectl_place_text(&e->resource, name, text));
	else if (e->client_id)
		cfs_cmd_print(w->cmd, "  %s", leasectl_id(e->client_id, 0, id));
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

/* ---- what is held -------------------------------------------------------- */

static struct held *find(struct watch *w, const struct cfs_lease_event *e)
{
	for (size_t i = 0; i < w->held.count; i++)
		if (w->held.items[i].event.lease_id == e->lease_id)
			return &w->held.items[i];
	return NULL;
}

static void forget(struct watch *w, struct held *h)
{
	*h = w->held.items[--w->held.count];
}

/* Of one lease.  The end of one that was revoked is "expire". */
static int take_one(struct watch *w, struct cfs_lease_event e)
{
	struct held *h = find(w, &e);

	switch (e.kind) {
	case CFS_EVENT_GRANT:
	case CFS_EVENT_CHANGE:
		if (h)
			h->event = e;
		else if (cfs_vec_push(&w->held, (struct held){ .event = e }) <
			 0)
			return cfs_err_set(&w->cmd->err, -ENOMEM,
					   "out of memory");
		break;
	case CFS_EVENT_STOP:
		if (h)
			h->is_stopped = true;
		break;
	case CFS_EVENT_REVOKE:
		if (h && h->is_stopped)
			e.kind = CFS_EVENT_EXPIRE;
		/* fall through */
	case CFS_EVENT_RELEASE:
	case CFS_EVENT_EXPIRE:
	case CFS_EVENT_GONE:
		if (h)
			forget(w, h);
		break;
	default:
		break;
	}
	return tell(w, &e);
}

/* Of a client: of each lease that it has, or of itself if there is none. */
static int take_client(struct watch *w, const struct cfs_lease_event *e)
{
	bool has_one = false;
	int r = 0;

	for (size_t i = w->held.count; r == 0 && i-- > 0;) {
		struct cfs_lease_event one = w->held.items[i].event;

		if (one.client_id != e->client_id)
			continue;
		has_one = true;
		one.kind = e->kind;
		one.realtime_ns = e->realtime_ns;
		one.epoch = e->epoch;
		r = take_one(w, one);
	}
	/* Of one that has nothing, REVOKE tells. */
	return has_one || e->kind == CFS_EVENT_STOP ? r : tell(w, e);
}

static int take(struct watch *w, const struct cfs_lease_event *e)
{
	if (e->lease_id && cfs_lease_is_intent(&e->resource, e->mode))
		return 0;
	if (e->lease_id)
		return take_one(w, *e);
	if (e->client_id && e->kind != CFS_EVENT_JOIN &&
	    e->kind != CFS_EVENT_LEAVE && e->kind != CFS_EVENT_SEALED)
		return take_client(w, e);
	return tell(w, e);
}

/* ---- a new manager ------------------------------------------------------- */

/* Leases that were granted before we came. */
static int take_held(void *arg, const struct cfs_lease_record *record)
{
	struct watch *w = arg;
	struct cfs_lease_event e = {
		.kind = CFS_EVENT_GRANT,
		.realtime_ns = cfs_clock_realtime_ns(cfs_clock_system()),
		.epoch = w->epoch,
		.client_id = record->client_id,
	};

	if (record->kind != CFS_RECORD_LEASE ||
	    (record->flags & CFS_LEASE_WAITING) ||
	    cfs_lease_is_intent(&record->u.lease.resource,
				record->u.lease.mode))
		return 0;
	e.lease_id = record->u.lease.lease_id;
	e.resource = record->u.lease.resource;
	e.mode = record->u.lease.mode;
	e.generation = record->u.lease.generation;
	if (find(w, &e))
		return 0; /* it went on */
	if (w->has_waited)
		return take_one(w, e);
	return cfs_vec_push(&w->held, (struct held){ .event = e }) < 0
		       ? cfs_err_set(&w->cmd->err, -ENOMEM, "out of memory")
		       : 0;
}

static int tell_takeover(struct watch *w)
{
	const struct cfs_lease_event e = {
		.kind = CFS_EVENT_TAKEOVER,
		.realtime_ns = cfs_clock_realtime_ns(cfs_clock_system()),
		.epoch = w->epoch,
	};

	return tell(w, &e);
}

/* Its first answer: what happens from now on is told. */
static int begin(struct watch *w)
{
	struct cfs_session_options opt = leasectl_options(w->cmd);
	struct cfs_msg_status_head head;
	int r = 0;

	opt.wait_seconds = 0;
	opt.warn = NULL;
	(void)cfs_session_open(w->pool, &opt, &w->s, NULL);
	if (w->is_another)
		r = tell_takeover(w);
	if (r == 0)
		r = cfs_manager_status(w->m, take_held, w, &head, &w->cmd->err);
	return r;
}

static int on_event(void *arg, const struct cfs_lease_event *event)
{
	struct watch *w = arg;

	return event ? take(w, event) : begin(w);
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
	w->is_another = w->epoch && w->epoch != info.epoch;
	w->epoch = info.epoch;
	r = cfs_manager_watch(w->m, on_event, w, &w->cmd->err);
	drop(w);
	w->has_waited = true;
	/* It has ended, or has no room: the next one. */
	return r == -ECONNRESET || r == -EPROTO || r == -EAGAIN ||
			       r == -ESHUTDOWN
		       ? 0
		       : r;
}

/* Where sockets are made, so that little is missed of a short manager. */
static void watch_directory(struct watch *w)
{
	char path[CFS_RUN_DIRECTORY_BYTES];

	w->notify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (cfs_cmd_run_directory(w->cmd, path) < 0 || w->notify_fd < 0)
		return;
	(void)inotify_add_watch(w->notify_fd, path, IN_CREATE | IN_MOVED_TO);
}

static void wait_for_manager(struct watch *w)
{
	struct pollfd wait = { .fd = w->notify_fd, .events = POLLIN };
	char events[4096];

	if (w->soon) {
		w->soon--;
		(void)poll(NULL, 0, LOOK_SOON_MS);
	} else if (poll(&wait, 1, LOOK_MS) > 0) {
		while (read(w->notify_fd, events, sizeof(events)) > 0)
			;
		w->soon = SOON_COUNT;
	}
}

static int run(struct cfs_cmd *cmd)
{
	CFS_CLEANUP(cfs_name_done) struct cfs_name name = CFS_NAME_INIT;
	struct watch w = { .cmd = cmd };
	int r = cfs_cmd_name(cmd, 0, 0, 0, &name);

	if (r == 0)
		r = cfs_lease_names_new(&w.names, &cmd->err);
	w.pool = name.pool;
	watch_directory(&w);
	while (r == 0 && !cfs_cmd_is_stopped(NULL)) {
		r = watch_one(&w);
		if (r == 0)
			wait_for_manager(&w);
	}
	drop(&w);
	if (w.notify_fd >= 0)
		close(w.notify_fd);
	cfs_vec_done(&w.held);
	cfs_lease_names_free(w.names);
	/* A signal is how it ends. */
	return r == -EINTR && !w.broken ? 0 : r;
}

const struct cfs_verb leasectl_watch = {
	.name = "watch",
	.operands = "POOL",
	.help = "show what happens to leases, until a signal ends it",
	.more = "Where nobody manages the pool it waits for somebody.",
	.examples = "leasectl watch pool.img\n"
		    "leasectl watch --json-lines pool.img | jq -c .event",
	.common = CFS_COMMON_SEARCH,
	.min_operands = 1,
	.max_operands = 1,
	.run = run,
};
