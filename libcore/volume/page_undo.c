/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Undoing what an operation did to dirty pages.  A page's old content may be
 * nowhere else but in the log, so an operation that fails must leave each page
 * as it was: before one is changed, made or forgotten, what it was is parked,
 * and an abort brings it back.
 */
#include "volume/vols_priv.h"

#include <stdlib.h>
#include <string.h>

struct parked {
	struct parked *next; /* parked before it */
	struct page_key key;
	uint8_t *data; /* NULL: there was no page */
	uint64_t stamp;
	bool is_logged;
};

static void parked_free(struct parked *old)
{
	cfs_page_data_free(old->data);
	free(old);
}

/* Takes the newest parked page, which is restored. */
static void unpark(void *arg, uint64_t value)
{
	struct cfs_vols *v = arg;
	struct parked *old = v->parked;

	(void)value;
	v->parked = old->next;
	if (cfs_page_restore(v, &old->key, old->data, old->stamp,
			     old->is_logged) == 0)
		old->data = NULL;
	else
		cfs_container_close_for_writing(v->c,
						"an operation could not "
						"be undone: out of memory");
	parked_free(old);
}

/* @data: the parked page's from now on, on success. */
static int park(struct cfs_vols *v, const struct page_key *key, uint8_t *data,
		uint64_t stamp, bool is_logged, struct cfs_err *err)
{
	struct parked *old = calloc(1, sizeof(*old));
	int r;

	if (!old)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	*old = (struct parked){
		.next = v->parked,
		.key = *key,
		.stamp = stamp,
		.is_logged = is_logged,
	};
	r = cfs_op_on_abort(v->c, unpark, v, 0, err);
	if (r < 0) {
		free(old);
		return r;
	}
	old->data = data;
	v->parked = old;
	return 0;
}

int cfs_page_park_absent(struct cfs_vols *v, const struct page_key *key,
			 struct cfs_err *err)
{
	if (!cfs_container_in_op(v->c))
		return 0;
	return park(v, key, NULL, 0, false, err);
}

int cfs_page_park_content(struct cfs_vols *v, struct page *p,
			  struct cfs_err *err)
{
	uint8_t *copy;
	int r;

	if (!cfs_container_in_op(v->c))
		return 0;
	copy = cfs_page_data_alloc();
	if (!copy)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	memcpy(copy, p->data, CFS_BLOCK_BYTES);
	r = park(v, &p->key, p->data, p->stamp, p->is_logged, err);
	if (r < 0)
		cfs_page_data_free(copy);
	else
		p->data = copy;
	return r;
}

void cfs_page_park_whole(struct cfs_vols *v, struct page *p)
{
	if (!cfs_container_in_op(v->c))
		return;
	if (park(v, &p->key, p->data, p->stamp, p->is_logged, NULL) < 0)
		cfs_container_close_for_writing(v->c, "out of memory");
	else
		p->data = NULL;
}

void cfs_pages_op_done(struct cfs_vols *v)
{
	while (v->parked) {
		struct parked *old = v->parked;

		v->parked = old->next;
		parked_free(old);
	}
}
