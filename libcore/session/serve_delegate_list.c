/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is said about containers that are away, to anybody who asks. */
#include "session/serve_delegate_priv.h"

#include "base/cleanup.h"

#include <string.h>

#define PART_BYTES (32u * 1024)

bool cfs_serve_delegate_is_away(struct cfs_serve_delegate *sd,
				uint64_t container)
{
	bool is = false;

	if (!cfs_serve_delegate_has_any(sd))
		return false;
	pthread_mutex_lock(&sd->mutex);
	for (const struct away *a = sd->list; a && !is; a = a->next)
		is = a->d.container == container &&
		     (a->step == AWAY_OUT || a->step == AWAY_COMING);
	pthread_mutex_unlock(&sd->mutex);
	return is;
}

int away_answer_parts(struct cfs_server_request *request, struct cfs_buf *buf,
		      struct cfs_buf *reply, struct cfs_err *err)
{
	size_t at = 0;
	int r = 0;

	for (; r == 0 && buf->bytes - at > PART_BYTES; at += PART_BYTES)
		r = cfs_server_request_more(request, buf->data + at, PART_BYTES,
					    err);
	if (r == 0 &&
	    cfs_buf_append(reply, buf->data + at, buf->bytes - at) < 0)
		r = cfs_err_set(err, -ENOMEM, "out of memory");
	return r;
}

static void fill_entry(const struct cfs_delegation *d,
		       struct cfs_delegate_entry *ret)
{
	*ret = (struct cfs_delegate_entry){
		.container = d->container,
		.epoch = d->epoch,
		.state = d->rec.state,
		.pid = d->rec.who.pid,
		.since_ns = d->rec.since_ns,
	};
	strcpy(ret->name, d->name);
	strcpy(ret->host, d->rec.who.host);
	strcpy(ret->address, d->rec.address);
}

static int add_entry(void *arg, const struct cfs_delegation *d,
		     struct cfs_err *err)
{
	struct cfs_delegate_entries *entries = arg;
	struct cfs_delegate_entry e;

	if (d->rec.state == CFS_DELEGATION_GONE)
		return 0;
	fill_entry(d, &e);
	return cfs_vec_push(&entries->v, e) < 0
		       ? cfs_err_set(err, -ENOMEM, "out of memory")
		       : 0;
}

int cfs_session_delegations(struct cfs_session *session,
			    struct cfs_delegate_entries *ret,
			    struct cfs_err *err)
{
	struct cfs_delegate_entries got = { CFS_VEC_INIT };
	int r = cfs_pool_delegations(session->pool, add_entry, &got, err);

	if (r < 0)
		cfs_vec_done(&got.v);
	else
		*ret = got;
	return r;
}

/* With the mutex: one that is not away any more, and not at home yet. */
static int add_coming(const struct away *a,
		      struct cfs_delegate_entries *entries)
{
	struct cfs_delegate_entry e;

	for (size_t i = 0; i < entries->v.count; i++)
		if (entries->v.items[i].container == a->d.container)
			return 0;
	fill_entry(&a->d, &e);
	e.state = CFS_DELEGATION_HELD;
	return cfs_vec_push(&entries->v, e);
}

static int add_all_coming(struct cfs_serve_delegate *sd,
			  struct cfs_delegate_entries *entries,
			  struct cfs_err *err)
{
	int r = 0;

	pthread_mutex_lock(&sd->mutex);
	for (const struct away *a = sd->list; a && r == 0; a = a->next)
		if (a->step == AWAY_COMING)
			r = add_coming(a, entries);
	pthread_mutex_unlock(&sd->mutex);
	return r < 0 ? cfs_err_set(err, -ENOMEM, "out of memory") : 0;
}

int away_list(struct cfs_serve_delegate *sd, struct cfs_server_request *request,
	      struct cfs_buf *reply, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf buf = CFS_BUF_INIT;
	struct cfs_delegate_entries entries = { CFS_VEC_INIT };
	int r = cfs_session_delegations(sd->s, &entries, err);

	if (r == 0)
		r = add_all_coming(sd, &entries, err);
	for (size_t i = 0; i < entries.v.count && r == 0; i++) {
		struct cfs_delegate_entry *e = &entries.v.items[i];
		struct away *a;

		pthread_mutex_lock(&sd->mutex);
		a = away_find(sd, e->container, e->epoch);
		e->client_id = a ? a->client : 0;
		e->is_wanted = a && a->is_wanted;
		if (a && a->is_joining)
			e->address[0] = '\0';
		pthread_mutex_unlock(&sd->mutex);
		r = cfs_delegate_entry_pack(e, &buf);
		if (r < 0)
			cfs_err_set(err, r, "out of memory");
	}
	cfs_vec_done(&entries.v);
	return r < 0 ? r : away_answer_parts(request, &buf, reply, err);
}
