/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What changed of a LUN. */
#include "volume/diff_paths.h"

#include "base/cleanup.h"

#define GATHER_MAX 256u

struct joiner {
	cfs_diff_item_fn each;
	void *arg;
	uint64_t first, end; /* blocks; none if they are equal */
};

static int tell(struct joiner *j)
{
	const struct cfs_diff_item item = {
		.offset_bytes = j->first * CFS_BLOCK_BYTES,
		.length_bytes = (j->end - j->first) * CFS_BLOCK_BYTES,
	};

	return j->first < j->end ? j->each(j->arg, &item) : 0;
}

static int join(struct joiner *j, const struct cfs_change *c)
{
	int r = 0;

	if (j->end != c->offset || j->first == j->end) {
		r = tell(j);
		j->first = c->offset;
	}
	j->end = c->offset + c->count;
	return r;
}

static int gather(struct cfs_diff *d, const struct cfs_view *view,
		  struct cfs_change *list, size_t *ret_count,
		  struct cfs_err *err)
{
	size_t n = 0;
	int r = 1;

	cfs_container_lock(view->container);
	while (n < GATHER_MAX && (r = cfs_diff_next(d, &list[n], err)) == 1)
		n++;
	cfs_container_unlock(view->container);
	*ret_count = n;
	return r;
}

int cfs_diff_ranges(const struct cfs_diff_of *of, cfs_diff_item_fn each,
		    void *arg, bool (*stop)(void *arg), void *stop_arg,
		    struct cfs_err *err)
{
	CFS_CLEANUP(cfs_diff_freep) struct cfs_diff *d = NULL;
	struct cfs_change list[GATHER_MAX];
	struct joiner j = { each, arg, 0, 0 };
	int more = 1, r = cfs_diff_new(of, &d, err);

	while (r == 0 && more == 1) {
		size_t count;

		more = gather(d, of->to, list, &count, err);
		for (size_t i = 0; i < count && r == 0; i++)
			r = join(&j, &list[i]);
		if (r == 0 && stop && stop(stop_arg))
			r = cfs_err_set(err, -EINTR, "stopped");
	}
	if (r == 0)
		r = more < 0 ? more : tell(&j);
	return r;
}
