/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Check, scrub and trace of an open pool. */
#include "session/session_priv.h"

#include "heal/check.h"
#include "heal/scrub.h"
#include "heal/trace.h"

int cfs_session_check(struct cfs_session *s, const char *container,
		      cfs_problem_each_fn each, void *arg,
		      struct cfs_check_result *ret, struct cfs_err *err)
{
	const struct cfs_check_options opt = {
		.container = container,
		.each = each,
		.arg = arg,
		.stop = s->opt.stop,
		.stop_arg = s->opt.arg,
	};

	return cfs_pool_check(s->pool, &opt, ret, err);
}

int cfs_session_scrub(struct cfs_session *s, const char *container,
		      const struct cfs_scrub_options *opt,
		      cfs_damage_each_fn each, void *arg,
		      struct cfs_scrub_result *ret, struct cfs_err *err)
{
	const struct cfs_scrub_calls calls = {
		.each = each,
		.arg = arg,
		.stop = s->opt.stop,
		.progress = s->opt.progress,
		.session_arg = s->opt.arg,
	};

	if (opt->heals) {
		int r = cfs_session_may_write(s, err);

		if (r < 0)
			return r;
	}
	return cfs_pool_scrub(s->pool, container, opt, &calls, ret, err);
}

int cfs_session_trace_at(struct cfs_session *s, const char *device,
			 uint64_t offset_bytes, cfs_damage_each_fn each,
			 void *arg, struct cfs_err *err)
{
	uint32_t index;
	int r = cfs_devset_find(s->set, device, &index, err);

	if (r < 0)
		return r;
	return cfs_pool_trace_at(s->pool, index, offset_bytes, each, arg, err);
}

int cfs_session_trace_bad(struct cfs_session *s, cfs_damage_each_fn each,
			  void *arg, struct cfs_err *err)
{
	return cfs_pool_trace_bad(s->pool, each, arg, err);
}
