/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Check, scrub and trace of an open pool. */
#include "session/local.h"
#include "session/serve_use.h"
#include "session/session_priv.h"

#include "heal/check.h"
#include "heal/scrub.h"
#include "heal/trace.h"

#include <string.h>

int cfs_local_pin(struct cfs_session *s, const char *container,
		  struct cfs_use **ret, struct cfs_err *err)
{
	struct cfs_use_of of = {
		.mode = CFS_USE_PIN,
		.stamp = CFS_USE_ANY_STAMP,
	};
	struct cfs_member *m;
	int r = 0;

	if (container)
		r = cfs_pool_member(s->pool, container, &m, err);
	if (r == -ENOENT || r == -EREMOTE)
		return r;
	/* That one cannot be opened is for the work to say. */
	if (container && r == 0)
		of.container = m->id;
	return cfs_serve_volume_enter(s, &of, ret, err);
}

int cfs_local_check(struct cfs_session *s,
		    const struct cfs_session_options *calls,
		    const char *container, cfs_problem_each_fn each, void *arg,
		    struct cfs_check_result *ret, struct cfs_err *err)
{
	const struct cfs_check_options opt = {
		.container = container,
		.each = each,
		.arg = arg,
		.stop = calls->stop,
		.stop_arg = calls->arg,
	};

	struct cfs_use *use = NULL;
	int r;

	memset(ret, 0, sizeof(*ret));
	r = cfs_local_pin(s, container, &use, err);
	if (r == 0)
		r = cfs_pool_check(s->pool, &opt, ret, err);
	cfs_serve_volume_leave(s, use);
	return r;
}

int cfs_local_scrub(struct cfs_session *s,
		    const struct cfs_session_options *calls,
		    const char *container, const struct cfs_scrub_options *opt,
		    cfs_damage_each_fn each, void *arg,
		    struct cfs_scrub_result *ret, struct cfs_err *err)
{
	const struct cfs_scrub_calls to = {
		.each = each,
		.arg = arg,
		.stop = calls->stop,
		.progress = calls->progress,
		.session_arg = calls->arg,
	};

	struct cfs_use *use = NULL;
	int r = opt->heals ? cfs_session_may_write(s, err) : 0;

	memset(ret, 0, sizeof(*ret));
	if (r == 0)
		r = cfs_local_pin(s, container, &use, err);
	if (r == 0)
		r = cfs_pool_scrub(s->pool, container, opt, &to, ret, err);
	cfs_serve_volume_leave(s, use);
	return r;
}

int cfs_local_trace_at(struct cfs_session *s, const char *device,
		       uint64_t offset_bytes, cfs_damage_each_fn each,
		       void *arg, struct cfs_err *err)
{
	uint32_t index;
	int r = cfs_devset_find(s->set, device, &index, err);

	if (r < 0)
		return r;
	return cfs_pool_trace_at(s->pool, index, offset_bytes, each, arg, err);
}

int cfs_local_trace_bad(struct cfs_session *s, cfs_damage_each_fn each,
			void *arg, struct cfs_err *err)
{
	return cfs_pool_trace_bad(s->pool, each, arg, err);
}
