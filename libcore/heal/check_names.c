/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The index of names against the snapshots, both ways, where the root says
 * that it is whole.  Where it does not, its records are left over, and nobody
 * looks at them.
 */
#include "heal/check_priv.h"

#include "ondisk/snapname.h"
#include "tree/hooks.h"

#include <inttypes.h>
#include <stdlib.h>

int cfs_check_name_record(struct check *k, const struct cfs_leaf_record *at,
			  struct cfs_err *why)
{
	struct cfs_snapname_rec rec;
	int r = cfs_snapname_rec_unpack(at->value, at->value_bytes, &rec, why);

	for (size_t i = 0; r == 0 && i < rec.count; i++) {
		const struct check_name entry = {
			.volume = at->key.w[0] & ((UINT64_C(1) << 56) - 1),
			.word1 = at->key.w[1],
			.word2 = at->key.w[2],
			.place = rec.places[i],
		};

		if (cfs_vec_push(&k->names, entry) < 0)
			r = -ENOMEM;
	}
	return r;
}

static int compare(uint64_t a, uint64_t b)
{
	return (a > b) - (a < b);
}

static int by_key(const void *a, const void *b)
{
	const struct check_name *x = a, *y = b;
	int r = compare(x->volume, y->volume);

	if (r == 0)
		r = compare(x->word1, y->word1);
	if (r == 0)
		r = compare(x->word2, y->word2);
	return r ? r : compare(x->place, y->place);
}

static void say(struct check *k, const struct check_name *n, const char *what)
{
	cfs_check_say(k, "name",
		      "the index of names of volume %" PRIu64
		      ": a snapshot of branch %u at %" PRIu64 " %s",
		      n->volume, (unsigned int)cfs_snapname_branch(n->place),
		      cfs_snapname_stamp(n->place), what);
}

/* In place of the list of snapshots, which nobody wants any more. */
static int wanted_of(struct check *k, struct check_name **ret)
{
	struct check_name *list = calloc(k->snapshots.count + 1, sizeof(*list));

	if (!list)
		return cfs_err_set(k->err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < k->snapshots.count; i++) {
		const struct check_snapshot *s = &k->snapshots.items[i];

		list[i] = (struct check_name){
			.volume = s->volume,
			.word1 = s->word1,
			.word2 = s->word2,
			.place = cfs_snapname_place(s->branch, s->stamp),
		};
	}
	if (k->snapshots.count > 0)
		qsort(list, k->snapshots.count, sizeof(*list), by_key);
	*ret = list;
	return 0;
}

int cfs_check_names(struct check *k)
{
	const size_t want_count = k->snapshots.count;
	struct check_name *want = NULL;
	size_t i = 0, n = 0;
	int r;

	if (!cfs_container_names_are_whole(k->c) || k->has_lost_nodes)
		return 0;
	r = wanted_of(k, &want);
	if (r < 0)
		return r;
	/* They came in this order, but for a tree that is not sorted. */
	if (k->names.count > 0)
		qsort(k->names.items, k->names.count, sizeof(*k->names.items),
		      by_key);
	while (i < want_count || n < k->names.count) {
		const struct check_name *is = n < k->names.count
						      ? &k->names.items[n]
						      : NULL;
		const int order = !is               ? -1
				  : i == want_count ? 1
						    : by_key(&want[i], is);

		if (order < 0)
			say(k, &want[i], "is missing");
		else if (order > 0)
			say(k, is, "is not there, or has another name");
		i += order <= 0;
		n += order >= 0;
	}
	free(want);
	return 0;
}
