/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Bringing pages home in a commit, as many at a time as it says.
 *
 * v->folding has all that were dirty when it began, in order of place.  They
 * stay pages until it is durable, so that whoever reads finds them in memory,
 * and the blocks that extents name already are read by nobody before they have
 * been written.
 *
 * Beside a gradual commit (tree/container_gradual.c) such a page may get other
 * content.  What it had is durable in frames that the commit will give up, and
 * the new content is not durable yet: so the old one goes home all the same.
 * It stays in v->folding as a page that is nowhere else, and the page itself
 * goes on with a copy, to be folded by the commit behind.
 */
#include "volume/vols_priv.h"

#include <assert.h>
#include <stdlib.h>

static int begin(struct cfs_vols *v, struct cfs_err *err)
{
	int r = cfs_pages_sorted(v, false, &v->folding, &v->folding_count, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < v->folding_count; i++) {
		v->folding[i]->is_folding = true;
		v->folding[i]->folding_at = (uint32_t)i;
	}
	v->folding_next = v->folding_expected = 0;
	assert(v->folding_old == 0);
	return 0;
}

/* What leads to the next pages is read: now, or if the fold goes on later, until
 * then. */
static void expect(struct cfs_vols *v, bool is_beside)
{
	struct page **list = v->folding + v->folding_next;
	const size_t left = v->folding_count - v->folding_next;

	if (v->folding_next < v->folding_expected || left == 0 ||
	    cfs_page_is_client_fold(v))
		return;
	v->folding_expected = v->folding_next +
			      (is_beside
				       ? cfs_extents_expect_later(v, list, left)
				       : cfs_extents_expect(v, list, left));
}

/* The next run, of no more than @most pages. */
static int fold_run(struct cfs_vols *v, uint64_t most, bool is_beside,
		    struct cfs_err *err)
{
	struct page **list = v->folding + v->folding_next;
	const size_t left = CFS_MIN(v->folding_count - v->folding_next, most);
	const uint32_t n = cfs_page_run_length(list, left);
	int r;

	expect(v, is_beside);
	r = cfs_page_run_home(v, list, n, NULL, NULL, err);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < n; i++)
		v->folding_old -= list[i]->is_old;
	v->folding_next += n;
	return 0;
}

int cfs_pages_fold(struct cfs_vols *v, uint64_t *budget, struct cfs_err *err)
{
	const bool is_beside = *budget < UINT64_MAX;
	int r = 0;

	if (!v->folding && v->page_count == 0)
		return 0;
	if (!v->folding)
		r = begin(v, err);
	while (r == 0 && *budget && v->folding_next < v->folding_count) {
		const size_t before = v->folding_next;

		r = fold_run(v, *budget, is_beside, err);
		*budget -= v->folding_next - before;
	}
	if (r < 0)
		return r;
	expect(v, true);
	return v->folding_next < v->folding_count;
}

/*
 * A page that a snapshot sees goes home with a record before it is changed
 * (cfs_page_dirty), since a replay could not keep both: which is a change of
 * the trees.
 */
int cfs_pages_fold_beside(struct cfs_vols *v, struct cfs_err *err)
{
	struct page *p, *tmp;
	int r;

	HASH_ITER(hh, v->pages, p, tmp) {
		r = cfs_page_is_pinned(v, p, err);
		if (r != 0)
			return r < 0 ? r
				     : cfs_err_set(err, -EBUSY,
						   "a snapshot sees a page");
	}
	r = begin(v, err);
	if (r == 0)
		expect(v, true);
	return r;
}

void cfs_pages_folded(struct cfs_vols *v)
{
	for (size_t i = 0; i < v->folding_count; i++) {
		struct page *p = v->folding[i];

		p->is_folding = false;
		if (p->is_old)
			cfs_page_free(p);
		else
			cfs_page_remove(v, p);
	}
	free(v->folding);
	v->folding = NULL;
	v->folding_count = v->folding_next = 0;
}

int cfs_page_leave_fold(struct cfs_vols *v, struct page *p, struct cfs_err *err)
{
	struct page *old = calloc(1, sizeof(*old));
	uint8_t *copy = cfs_page_data_alloc();

	if (!old || !copy) {
		free(old);
		cfs_page_data_free(copy);
		return cfs_err_set(err, -ENOMEM, "out of memory");
	}
	memcpy(copy, p->data, CFS_BLOCK_BYTES);
	*old = (struct page){
		.key = p->key,
		.stamp = p->stamp,
		.data = p->data,
		.is_logged = true,
		.is_folding = true,
		.is_old = true,
		.folding_at = p->folding_at,
	};
	v->folding[p->folding_at] = old;
	if (p->folding_at >= v->folding_next)
		v->folding_old++;
	p->data = copy;
	p->is_folding = false;
	return 0;
}

void cfs_pages_unfold(struct cfs_vols *v)
{
	for (size_t i = 0; i < v->folding_count; i++) {
		v->folding[i]->is_folding = false;
		if (v->folding[i]->is_old)
			cfs_page_free(v->folding[i]);
	}
	free(v->folding);
	v->folding = NULL;
	v->folding_count = v->folding_next = v->folding_old = 0;
}
