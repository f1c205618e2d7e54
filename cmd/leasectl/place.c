/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Places and leases as people name them, and as they are shown. */
#include "leasectl/leasectl.h"

#include "base/cleanup.h"
#include "base/clock.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- what is asked for --------------------------------------------------- */

void leasectl_want_donep(struct leasectl_want *want)
{
	cfs_name_done(&want->name);
}

int leasectl_want_parse(struct cfs_cmd *cmd, struct leasectl_want *ret)
{
	const struct cfs_opt_value *range;
	int r = cfs_cmd_name(cmd, 0, CFS_NAME_VOLUME,
			     CFS_NAME_ANY_VOLUME | CFS_NAME_PATH, &ret->name);

	if (r < 0)
		return r;
	ret->is_shared = cfs_cmd_has(cmd, "shared");
	ret->place.volume = ret->name.volume;
	ret->place.path = ret->name.path;
	ret->place.has_range = cfs_cmd_has(cmd, "range");
	if (!ret->place.has_range)
		return 0;
	range = cfs_cmd_value(cmd, "range", cfs_cmd_count(cmd, "range") - 1);
	ret->place.offset_bytes = range->number;
	ret->place.length_bytes = range->length;
	if (range->length == 0)
		return cfs_cmd_usage(cmd, "--range: '%s' holds no byte",
				     range->text);
	return 0;
}

/* The path as the tree has it: links are followed. */
static void keep_path(struct cfs_session *s, struct leasectl_want *want)
{
	const struct cfs_volume_place place = {
		.container = want->resource.container,
		.volume = want->resource.volume,
		.ino = want->resource.ino,
	};
	struct cfs_place_name *name;

	if (!want->place.path)
		return;
	name = malloc(sizeof(*name));
	if (name && cfs_session_place_name(s, &place, name, NULL) == 0)
		memcpy(want->path, name->path, sizeof(want->path));
	else
		(void)snprintf(want->path, sizeof(want->path), "%s",
			       want->place.path);
	free(name);
}

int leasectl_want_find(struct cfs_cmd *cmd, struct leasectl_want *want)
{
	const struct cfs_session_options opt = leasectl_options(cmd);
	CFS_CLEANUP(cfs_session_closep) struct cfs_session *s = NULL;
	int r = cfs_session_open(want->name.pool, &opt, &s, &cmd->err);

	if (r < 0)
		return cfs_cmd_wrap(cmd, want->name.pool, r);
	r = cfs_session_lease_resource(s, &want->place, &want->resource,
				       &cmd->err);
	if (r == 0)
		keep_path(s, want);
	return cfs_cmd_wrap(cmd, cmd->operands[0], r);
}

/* ---- who has it ---------------------------------------------------------- */

struct search {
	const struct cfs_lease_request *req;
	uint64_t self;                  /* our client */
	struct cfs_lease_record client; /* of the leases that follow */
	bool is_found;
};

/* Both in one container, and neither is its own only in what it is below. */
static bool meet(const struct cfs_lock_resource *a,
		 const struct cfs_lock_resource *b)
{
	if (a->container != b->container)
		return false;
	if (a->volume && b->volume && a->volume != b->volume)
		return false;
	if (a->ino && b->ino && a->ino != b->ino)
		return false;
	return !a->ino || !b->ino ||
	       (a->offset_bytes - b->offset_bytes < b->length_bytes ||
		b->offset_bytes - a->offset_bytes < a->length_bytes);
}

/* An intent is no claim on a file below it. */
static bool is_in_the_way(const struct cfs_lease_request *req,
			  const struct cfs_lease_record *r)
{
	const struct cfs_lock_resource *res = &r->u.lease.resource;
	bool is_intent = r->u.lease.mode == CFS_LOCK_IS ||
			 r->u.lease.mode == CFS_LOCK_IX;

	return meet(&req->resource, res) &&
	       !(is_intent && req->resource.ino && !res->ino) &&
	       !cfs_lock_modes_agree(req->mode, r->u.lease.mode);
}

static int look_at(void *arg, const struct cfs_lease_record *r)
{
	struct search *q = arg;

	if (r->kind == CFS_RECORD_CLIENT)
		q->client = *r;
	else if (!(r->flags & CFS_LEASE_WAITING) && r->client_id != q->self)
		q->is_found = is_in_the_way(q->req, r);
	return q->is_found ? 1 : 0;
}

static int name_holder(struct cfs_cmd *cmd, const struct leasectl_join *j,
		       const struct cfs_lease_request *req, int code)
{
	const struct cfs_session_options opt = leasectl_options(cmd);
	CFS_CLEANUP(cfs_manager_closep) struct cfs_manager *m = NULL;
	struct search q = { .req = req };
	struct cfs_msg_status_head head = { .epoch = 0 };

	q.self = cfs_lease_client_id(cfs_leaser_lock(j->leaser));
	cfs_leaser_unlock(j->leaser);
	if (cfs_manager_connect(&j->info, "leasectl", &opt, 1000, &m, NULL) ==
	    0)
		(void)cfs_manager_status(m, look_at, &q, &head, NULL);
	if (q.is_found)
		return cfs_err_set(&cmd->err, code,
				   "%s: leased by %s, "
				   "process %" PRIu64 " on %s",
				   cmd->operands[0], q.client.u.client.name,
				   q.client.u.client.pid,
				   q.client.u.client.host);
	return cfs_err_set(&cmd->err, code, "%s: %s", cmd->operands[0],
			   head.grace_ns ? "those who had leases of a manager "
					   "that has died may still come back"
					 : "others wait for it too");
}

/* ---- asking -------------------------------------------------------------- */

/* A wait for an owner that may stand still, or may have been taken over. */
struct patience {
	struct leasectl_join *j;
	bool is_over;
};

static bool is_silent(void *arg)
{
	struct patience *p = arg;
	struct cfs_lease_client *client;

	if (cfs_cmd_is_stopped(NULL))
		return true;
	client = cfs_leaser_lock(p->j->leaser);
	p->is_over = cfs_lease_client_is_unanswered(client);
	cfs_leaser_unlock(p->j->leaser);
	return p->is_over;
}

/* As of cfs_leaser_acquire, for at most @timeout_ms; -ECONNRESET also: it says
 * nothing, and there may be another one. */
static int ask(struct cfs_cmd *cmd, struct leasectl_join *j,
	       const struct cfs_lease_request *req, unsigned int timeout_ms,
	       struct cfs_held **ret)
{
	struct patience patience = { .j = j };
	const struct cfs_conn_wait wait = {
		.timeout_ns = timeout_ms * CFS_NS_PER_MS,
		.stop = is_silent,
		.arg = &patience,
	};
	int r = cfs_leaser_acquire(j->leaser, req, &wait, ret, &cmd->err);

	if (r == -EINTR && patience.is_over)
		return cfs_err_set(&cmd->err, -ECONNRESET,
				   "the process that has it does not answer");
	return r;
}

/* Whoever has the whole tree gives that back in a moment. */
static int take_tree(struct cfs_cmd *cmd, const struct leasectl_want *want,
		     struct leasectl_join *j,
		     const struct cfs_lease_request *of)
{
	struct cfs_lease_request req = *of;

	req.flags |= CFS_MSG_LOCK_WAIT;
	if (!cfs_lease_whole_tree(&of->resource, want->place.path, of->mode,
				  &req.resource, &req.mode))
		return 0;
	return ask(cmd, j, &req, leasectl_left_ms(j->deadline_ns, 5000),
		   &j->tree);
}

static int take_once(struct cfs_cmd *cmd, struct leasectl_want *want,
		     struct leasectl_join *j, struct cfs_held **ret)
{
	const uint64_t deadline_ns = j->deadline_ns;
	const struct cfs_lease_request req = {
		.resource = want->resource,
		.mode = want->is_shared ? CFS_LOCK_S : CFS_LOCK_X,
		.flags = deadline_ns ? CFS_MSG_LOCK_WAIT : 0,
		.key = 1,
	};
	int r = j->tree ? 0 : take_tree(cmd, want, j, &req);

	if (r == 0) /* Without waiting the answer has to come all the same. */
		r = ask(cmd, j, &req,
			leasectl_left_ms(deadline_ns, deadline_ns ? 1 : 5000),
			ret);
	if (r == -ETIMEDOUT || r == -EBUSY)
		return name_holder(cmd, j, &req, r);
	return cfs_cmd_wrap(cmd, cmd->operands[0], r);
}

int leasectl_want_take(struct cfs_cmd *cmd, struct leasectl_want *want,
		       struct leasectl_join *j, struct cfs_held **ret)
{
	int r = take_once(cmd, want, j, ret);
	bool is_first = true;

	/* Whoever waits may be sent to another owner meanwhile; and whoever
	 * does not, by the first answer: it has not been refused by that. */
	while (r == -ECONNRESET || r == -ESHUTDOWN || r == -EPIPE ||
	       r == -ENOTCONN) {
		if (!is_first && leasectl_pause(cmd, j->deadline_ns) < 0)
			break;
		is_first = false;
		r = leasectl_join_again(cmd, j);
		if (r == 0)
			r = take_once(cmd, want, j, ret);
	}
	return r;
}

void leasectl_want_out(struct cfs_cmd *cmd, const struct leasectl_want *want)
{
	struct cfs_out *out = cmd->out;

	cfs_out_str(out, "volume", want->name.volume);
	cfs_out_str(out, "path", want->path[0] ? want->path : NULL);
	cfs_out_str(out, "mode", want->is_shared ? "shared" : "exclusive");
	if (want->place.has_range) {
		cfs_out_u64(out, "offset_bytes", want->place.offset_bytes);
		cfs_out_u64(out, "length_bytes", want->place.length_bytes);
	}
	cfs_out_bool(out, "is_dry_run", cmd->is_dry_run);
}

/* ---- ids ----------------------------------------------------------------- */

char *leasectl_id(uint64_t client, uint64_t lease, char ret[LEASECTL_ID_BYTES])
{
	if (lease)
		(void)snprintf(ret, LEASECTL_ID_BYTES, "%" PRIx64 "-%" PRIx64,
			       client, lease);
	else
		(void)snprintf(ret, LEASECTL_ID_BYTES, "%" PRIx64, client);
	return ret;
}

char *leasectl_env(const struct cfs_lease_name *name,
		   const uint8_t pool_uuid[16], char ret[LEASECTL_ENV_BYTES])
{
	char lease[CFS_LEASE_NAME_BYTES], uuid[CFS_UUID_TEXT_BYTES];

	(void)snprintf(ret, LEASECTL_ENV_BYTES, "%s@%s",
		       cfs_lease_name_format(name, lease),
		       cfs_uuid_format(pool_uuid, uuid));
	return ret;
}

/* Lower-case hex up to @end, which is moved behind it. */
static bool take_hex(const char **at, uint64_t *ret)
{
	const char *p = *at;
	uint64_t v = 0;

	for (; (*p >= '0' && *p <= '9') || (*p >= 'a' && *p <= 'f'); p++) {
		if (v >> 60)
			return false;
		v = v << 4 | (uint64_t)(*p <= '9' ? *p - '0' : *p - 'a' + 10);
	}
	if (p == *at || v == 0)
		return false;
	*at = p;
	*ret = v;
	return true;
}

int leasectl_client_parse(const char *text, uint64_t *ret)
{
	uint64_t id;

	if (!take_hex(&text, &id) || *text)
		return -EINVAL;
	*ret = id;
	return 0;
}

int leasectl_id_parse(struct cfs_cmd *cmd, const char *text,
		      struct cfs_lease_name *ret)
{
	char full[CFS_LEASE_NAME_BYTES];
	struct cfs_lease_name name = { .client_id = 0 };
	size_t length = strcspn(text, "@");
	const char *at = text;

	/* As $CFS_LEASE has it. */
	if (length < sizeof(full)) {
		memcpy(full, text, length);
		full[length] = '\0';
		if (cfs_lease_name_parse(full, ret) == 0)
			return 0;
	}
	if (!take_hex(&at, &name.client_id) || *at++ != '-' ||
	    !take_hex(&at, &name.lease_id) || *at)
		return cfs_cmd_usage(cmd, "'%s' is no lease", text);
	*ret = name;
	return 0;
}

/* ---- shown --------------------------------------------------------------- */

const char *leasectl_mode(unsigned int mode)
{
	return mode == CFS_LOCK_X || mode == CFS_LOCK_SIX ? "exclusive"
							  : "shared";
}

void leasectl_place_out(struct cfs_out *out,
			const struct cfs_lock_resource *resource,
			unsigned int mode, const struct cfs_place_name *name)
{
	cfs_out_str(out, "volume", name ? name->volume : NULL);
	cfs_out_str(out, "path", name && name->path[0] ? name->path : NULL);
	cfs_out_str(out, "mode", leasectl_mode(mode));
	cfs_out_str(out, "lock", cfs_lock_mode_name(mode));
	if (cfs_lock_resource_is_range(resource)) {
		cfs_out_u64(out, "offset_bytes", resource->offset_bytes);
		cfs_out_u64(out, "length_bytes", resource->length_bytes);
	}
}

char *leasectl_place_text(const struct cfs_lock_resource *resource,
			  const struct cfs_place_name *name,
			  char ret[LEASECTL_PLACE_BYTES])
{
	int used;

	if (name)
		used = snprintf(ret, LEASECTL_PLACE_BYTES, "%s%s%s",
				name->volume, name->path[0] ? ":" : "",
				name->path);
	else
		used = snprintf(ret, LEASECTL_PLACE_BYTES,
				"%" PRIu64 "/%" PRIu64 "/%" PRIu64,
				resource->container, resource->volume,
				resource->ino);
	if (cfs_lock_resource_is_range(resource) && used > 0 &&
	    (size_t)used < LEASECTL_PLACE_BYTES)
		(void)snprintf(ret + used, LEASECTL_PLACE_BYTES - (size_t)used,
			       " %" PRIu64 ":%" PRIu64, resource->offset_bytes,
			       resource->length_bytes);
	return ret;
}
