/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "session/refer.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "session/remote.h"
#include "session/serve_delegate.h"
#include "session/session_priv.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define POLL_NS   (50 * CFS_NS_PER_MS)
#define ANSWER_MS 2000u

struct cfs_refer {
	struct cfs_refer *next;
	uint64_t container;
	uint32_t epoch;
	char name[CFS_NAME_BYTES];
	struct cfs_session *s, *of; /* there, and ours */
	/* The container went elsewhere: kept for what is open there. */
	bool is_old;
};

/* ---- who ----------------------------------------------------------------- */

static int list(struct cfs_session *s, unsigned int timeout_ms,
		struct cfs_delegate_entries *ret, struct cfs_err *err)
{
	const struct cfs_delegate_request q = { .container = 0 };
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf body = CFS_BUF_INIT;
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf reply = CFS_BUF_INIT;
	int r;

	*ret = (struct cfs_delegate_entries){ CFS_VEC_INIT };
	if (s->secondary || s->at_address)
		return 0;
	if (!s->remote)
		return cfs_session_delegations(s, ret, err);
	if (cfs_delegate_request_pack(&q, &body) < 0)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	r = cfs_remote_raw(s->remote, CFS_DELEGATE_LIST, &body, timeout_ms,
			   &reply, err);
	/* An older manager, or one that delegates nothing. */
	if (r == -ENOTSUP)
		return 0;
	return r < 0 ? r
		     : cfs_delegate_entries_unpack(reply.data, reply.bytes, ret,
						   err);
}

int cfs_refer_list(struct cfs_session *s, struct cfs_delegate_entries *ret,
		   struct cfs_err *err)
{
	return list(s, 0, ret, err);
}

static bool is_of(const char *volume, const char *name)
{
	const size_t n = strlen(name);

	return strncmp(volume, name, n) == 0 &&
	       (volume[n] == '\0' || volume[n] == '/');
}

static int find(struct cfs_session *s, const struct cfs_refer_try *t,
		struct cfs_delegate_entry *ret, struct cfs_err *err)
{
	struct cfs_delegate_entries entries;
	int r = cfs_refer_list(s, &entries, err);
	bool is_found = false;

	for (size_t i = 0; i < entries.v.count && r == 0; i++) {
		const struct cfs_delegate_entry *e = &entries.v.items[i];

		if (e->state != CFS_DELEGATION_HELD ||
		    (t->volume ? !is_of(t->volume, e->name)
			       : e->container != t->container))
			continue;
		*ret = *e;
		is_found = true;
	}
	cfs_vec_done(&entries.v);
	return r < 0 ? r : is_found ? 0 : -ENOENT;
}

/* ---- sessions ------------------------------------------------------------ */

static int connect_to(struct cfs_session *s, const struct cfs_delegate_entry *e,
		      struct cfs_session **ret, struct cfs_err *err)
{
	uint8_t pool_uuid[16];
	struct cfs_session *at = cfs_session_object_new(&s->opt);
	int r = at ? 0 : cfs_err_set(err, -ENOMEM, "out of memory");

	if (r == 0 && s->remote)
		memcpy(pool_uuid, cfs_remote_pool_uuid(s->remote), 16);
	else if (r == 0)
		memcpy(pool_uuid, cfs_devset_label(s->set, 0)->pool_uuid, 16);
	if (r == 0)
		r = cfs_remote_connect(e->address, pool_uuid, &at->opt,
				       ANSWER_MS, &at->remote, err);
	if (r == 0) {
		at->at_address = strdup(e->address);
		at->path = s->path ? strdup(s->path) : NULL;
		if (!at->at_address)
			r = cfs_err_set(err, -ENOMEM, "out of memory");
	}
	if (r < 0)
		cfs_session_object_free(at);
	else
		*ret = at;
	return r;
}

/* Does the manager say that it has the container no more?  A manager that says
 * nothing lets it go on. */
static bool is_followed(void *arg)
{
	const struct cfs_refer *f = arg;
	struct cfs_delegate_entries entries;
	bool is = list(f->of, ANSWER_MS, &entries, NULL) == 0;

	for (size_t i = 0; i < entries.v.count && is; i++) {
		const struct cfs_delegate_entry *e = &entries.v.items[i];

		is = e->state != CFS_DELEGATION_HELD ||
		     e->container != f->container || e->epoch != f->epoch;
	}
	cfs_vec_done(&entries.v);
	return is;
}

/* The one for that entry, made if there is none; with the lock. */
static int session_of(struct cfs_session *s, const struct cfs_delegate_entry *e,
		      struct cfs_session **ret, struct cfs_err *err)
{
	struct cfs_refer *f;
	int r;

	for (f = s->refers; f; f = f->next)
		if (f->container == e->container && f->epoch == e->epoch &&
		    !f->is_old)
			break;
	if (f && !cfs_remote_is_gone(f->s->remote)) {
		*ret = f->s;
		return 0;
	}
	if (f)
		f->is_old = true;
	f = calloc(1, sizeof(*f));
	if (!f)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	r = connect_to(s, e, &f->s, err);
	if (r < 0) {
		free(f);
		return r;
	}
	f->container = e->container;
	f->epoch = e->epoch;
	strcpy(f->name, e->name);
	f->of = s;
	cfs_remote_watch(f->s->remote, is_followed, f, true);
	f->next = s->refers;
	s->refers = f;
	*ret = f->s;
	return 0;
}

static int get_session(struct cfs_session *s,
		       const struct cfs_delegate_entry *e,
		       struct cfs_session **ret, struct cfs_err *err)
{
	int r;

	pthread_mutex_lock(&s->refer_lock);
	r = session_of(s, e, ret, err);
	pthread_mutex_unlock(&s->refer_lock);
	if (r == -EBUSY)
		cfs_err_set(err, r,
			    "%s is served by process %" PRIu64 " on "
			    "%s, which does not answer",
			    e->name, e->pid, e->host);
	return r;
}

/* ---- a call -------------------------------------------------------------- */

/* Where it was last, if that still stands. */
static struct cfs_session *known(struct cfs_session *s, const char *volume,
				 uint64_t container)
{
	struct cfs_session *at = s;

	pthread_mutex_lock(&s->refer_lock);
	for (struct cfs_refer *f = s->refers; f; f = f->next) {
		if (f->is_old || (volume ? !is_of(volume, f->name)
					 : f->container != container))
			continue;
		if (cfs_remote_is_gone(f->s->remote))
			f->is_old = true;
		else
			at = f->s;
	}
	pthread_mutex_unlock(&s->refer_lock);
	return at;
}

struct cfs_refer_try cfs_refer_begin(struct cfs_session *s, const char *volume,
				     uint64_t container)
{
	struct cfs_clock *clock = cfs_clock_system();

	return (struct cfs_refer_try){
		.s = s,
		.at = known(s, volume, container),
		.volume = volume,
		.container = container,
		.end_ns = cfs_deadline_add(cfs_clock_elapsed_ns(clock),
					   s->opt.wait_seconds * CFS_NS_PER_S),
	};
}

bool cfs_refer_again(struct cfs_refer_try *t, int code, int *ret,
		     struct cfs_err *err)
{
	struct cfs_session *s = t->s;
	struct cfs_clock *clock = cfs_clock_system();
	struct cfs_delegate_entry e;
	uint64_t now;
	int r;

	*ret = code;
	/* What is asked of a secondary itself is not referred further. */
	if (code != -EREMOTE || s->secondary || s->at_address)
		return false;
	/* What it works on is a copy of ours, and not of theirs. */
	if (s->opt.is_dry_run) {
		*ret = cfs_err_set(err, -EBUSY,
				   "another process serves it: "
				   "what would be done there cannot be shown");
		return false;
	}
	for (;;) {
		r = find(s, t, &e, err);
		if (r == -ENOENT) {
			/* It has come home. */
			t->at = s;
			r = 0;
		} else if (r == 0) {
			r = get_session(s, &e, &t->at, err);
		}
		now = cfs_clock_elapsed_ns(clock);
		if (r == 0 && t->count++ < 2)
			return true;
		if (now >= t->end_ns && r == 0)
			r = cfs_err_set(err, -EBUSY,
					"it goes from one process "
					"to another all the time");
		else if (now >= t->end_ns)
			;
		else if (r == 0 || r == -EBUSY)
			r = 0;
		if (s->opt.stop && s->opt.stop(s->opt.arg))
			r = cfs_err_set(err, -EINTR,
					"stopped while waiting "
					"for it");
		if (r < 0)
			break;
		cfs_clock_sleep_until(clock, now + POLL_NS);
		t->count = 0;
	}
	*ret = r;
	return false;
}

int cfs_refer_each(struct cfs_session *s, cfs_refer_fn fn, void *arg,
		   struct cfs_err *err)
{
	struct cfs_delegate_entries entries;
	int r = cfs_refer_list(s, &entries, err);

	for (size_t i = 0; i < entries.v.count && r == 0; i++) {
		const struct cfs_delegate_entry *e = &entries.v.items[i];
		struct cfs_refer_try t = cfs_refer_begin(s, e->name, 0);
		int code = -EREMOTE;

		if (e->state != CFS_DELEGATION_HELD)
			continue;
		if (t.at != s)
			code = fn(arg, t.at, e->name, err);
		while (cfs_refer_again(&t, code, &r, err))
			code = fn(arg, t.at, e->name, err);
	}
	cfs_vec_done(&entries.v);
	return r;
}

/* ---- the end ------------------------------------------------------------- */

int cfs_refer_close(struct cfs_refer *refers, struct cfs_err *err)
{
	struct cfs_refer *f;
	int first = 0, r;

	while ((f = refers)) {
		refers = f->next;
		r = cfs_session_close(f->s, first ? NULL : err);
		first = first ? first : r;
		free(f);
	}
	return first;
}

void cfs_refer_free(struct cfs_refer *refers)
{
	(void)cfs_refer_close(refers, NULL);
}
