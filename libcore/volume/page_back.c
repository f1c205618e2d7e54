/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Small writes that go home before a commit has to bring them: while the disk
 * takes some, more are accepted.  Those that a sync has logged stay: they are
 * durable, and may be changed again at no cost.
 *
 * Such a write is as one of whole blocks whose data is on its way
 * (tree/container_land.c): the pages are gone from memory, extents name places
 * whose content is not there yet, and whoever would act on that waits.  Pages
 * that a snapshot sees are left alone, so that what cannot be written may
 * become pages again, as content of now.
 */
#include "volume/vols_priv.h"

#include "base/cleanup.h"
#include "tree/space.h"
#include "volume/data.h"

#include <stdlib.h>

#define BACK_PAGES 1024u /* at once: 4 MiB */

struct back_page {
	struct page *page; /* until it has gone */
	uint8_t *data;
	uint64_t vaddr;
	struct page_key key;
};

struct back {
	struct cfs_vols *v;
	size_t count;
	struct back_page pages[BACK_PAGES];
};

bool cfs_pages_want_back(const struct cfs_vols *v)
{
	return !v->is_going_back && v->unlogged_count >= BACK_PAGES;
}

static void note_home(void *arg, struct page *p, uint64_t vaddr)
{
	struct back *b = arg;

	b->pages[b->count++] = (struct back_page){
		.page = p,
		.data = p->data,
		.vaddr = vaddr,
		.key = p->key,
	};
}

/* The first of them that no snapshot sees, in order of place. */
static int choose(struct cfs_vols *v, struct page ***ret, size_t *ret_count,
		  struct cfs_err *err)
{
	size_t all, n = 0;
	struct page **list;
	int r = cfs_pages_sorted(v, true, &list, &all, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < all && n < BACK_PAGES; i++) {
		r = cfs_page_is_pinned(v, list[i], err);
		if (r < 0) {
			free(list);
			return r;
		}
		if (r == 0)
			list[n++] = list[i];
	}
	*ret = list;
	*ret_count = n;
	return 0;
}

/* Within the operation: places and records. */
static int find_homes(struct back *b, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_freep) struct page **list = NULL;
	size_t count = 0, expected = 0;
	int r = choose(b->v, &list, &count, err);

	if (r == 0)
		r = cfs_space_promise(b->v->c, count + count / 16 + 8, err);
	for (size_t i = 0; i < count && r == 0;) {
		uint32_t n = cfs_page_run_length(list + i, count - i);

		if (i >= expected)
			expected = i + cfs_extents_expect(b->v, list + i,
							  count - i);
		r = cfs_page_run_home(b->v, list + i, n, note_home, b, err);
		i += n;
	}
	return r;
}

static int write_home(const struct back *b, struct cfs_err *err)
{
	struct cfs_mv_write *writes = calloc(b->count, sizeof(*writes));
	int r;

	if (!writes)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < b->count; i++)
		writes[i] = (struct cfs_mv_write){
			.vaddr = b->pages[i].vaddr,
			.count = 1,
			.buf = b->pages[i].data,
		};
	r = cfs_metavolume_write(cfs_container_metavolume(b->v->c), writes,
				 b->count, err);
	free(writes);
	return r;
}

static int is_segment_at(void *arg, const struct segment *s,
			 struct cfs_err *err)
{
	const uint64_t *vaddr = arg;

	(void)err;
	return s->kind == SEGMENT_DISK && s->vaddr == *vaddr;
}

/* It is a page again, unless something newer is there. */
static int take_back(struct back *b, struct back_page *p, struct cfs_err *err)
{
	const uint16_t branch = (uint16_t)(p->key.branch_ino >> 48);
	const uint64_t ino = p->key.branch_ino & CFS_INO_MAX;
	const struct cfs_view head = { b->v->c, branch, CFS_STAMP_HEAD };
	struct page *page;
	bool is_new;
	int r = cfs_segments(&head, ino, p->key.offset, 1, is_segment_at,
			     &p->vaddr, err);

	if (r <= 0)
		return r;
	r = cfs_space_promise(b->v->c, 2, err);
	if (r == 0)
		r = cfs_page_dirty(b->v, branch, ino, p->key.offset, UINT64_MAX,
				   &page, &is_new, err);
	if (r != 0)
		return r;
	memcpy(page->data, p->data, CFS_BLOCK_BYTES);
	cfs_page_touch(b->v, page);
	return 0;
}

static int take_all_back(struct back *b, struct cfs_err *err)
{
	struct cfs_container *c = b->v->c;
	int r = cfs_op_begin_landing(c, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < b->count && r == 0; i++)
		r = take_back(b, &b->pages[i], err);
	if (r == 0) {
		cfs_op_end(c);
		return 0;
	}
	cfs_container_close_for_writing(c, "data could not be written, and "
					   "not be kept in memory either");
	cfs_op_abort(c);
	return r;
}

static void land(struct back *b)
{
	struct cfs_container *c = b->v->c;
	struct cfs_err why = CFS_ERR_INIT;

	if (write_home(b, &why) < 0)
		(void)take_all_back(b, &why); /* or it is closed */
	cfs_container_lock_beside(c);
	b->v->is_going_back = false;
	cfs_container_unlock(c);
	cfs_container_land(c);
	for (size_t i = 0; i < b->count; i++)
		free(b->pages[i].data);
}

void cfs_data_write_back(struct cfs_container *c)
{
	struct back *b = malloc(sizeof(*b));
	struct cfs_err err = CFS_ERR_INIT;
	bool departs = false;
	int r;

	if (!b)
		return;
	b->v = cfs_vols_of(c);
	b->count = 0;
	if (cfs_op_begin_beside(c, BACK_PAGES * 17 / 16 + 64, &err) < 0) {
		free(b);
		return;
	}
	r = cfs_pages_want_back(b->v) ? find_homes(b, &err) : 0;
	if (r == 0 && b->count) {
		for (size_t i = 0; i < b->count; i++)
			(void)cfs_page_take(b->v, b->pages[i].page);
		b->v->is_going_back = departs = true;
		cfs_container_depart(c);
	}
	if (r < 0)
		cfs_op_abort(c); /* they stay, for the next commit */
	else
		cfs_op_end(c);
	if (departs)
		land(b);
	free(b);
}
