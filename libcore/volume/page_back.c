/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Small writes that go home before a commit has to bring them: while the disk
 * takes some, more are accepted.  Those that a sync has logged stay: they are
 * durable, and may be changed again at no cost.
 *
 * They go a few at a time: places are found under the container's lock, and
 * while the disk takes the content others have it, so that writers never wait
 * for long.
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

#define BACK_PAGES 1024u /* as many as are worth a look: 4 MiB */
#define BACK_CHUNK 256u  /* under one lock */

struct back_page {
	struct page *page; /* until it has gone */
	uint8_t *data;
	uint64_t vaddr;
	struct page_key key;
};

struct back {
	struct cfs_vols *v;
	struct page_key keys[BACK_PAGES]; /* to go, in order of place */
	size_t key_count, next;
	size_t count; /* of those on their way */
	struct back_page pages[BACK_CHUNK];
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

/* Those that go; false: none. */
static bool choose(struct back *b)
{
	CFS_CLEANUP(cfs_freep) struct page **list = NULL;
	struct cfs_container *c = b->v->c;
	size_t count = 0;

	cfs_container_lock_beside(c);
	if (cfs_pages_want_back(b->v) &&
	    cfs_pages_sorted(b->v, true, &list, &count, NULL) == 0) {
		b->key_count = CFS_MIN(count, (size_t)BACK_PAGES);
		for (size_t i = 0; i < b->key_count; i++)
			b->keys[i] = list[i]->key;
		b->v->is_going_back = b->key_count > 0;
	}
	cfs_container_unlock(c);
	return b->key_count > 0;
}

/* The next of them that are there still, and that no snapshot sees. */
static int next_pages(struct back *b, struct page **list, size_t *ret_count,
		      struct cfs_err *err)
{
	size_t n = 0;

	while (b->next < b->key_count && n < BACK_CHUNK) {
		const struct page_key *key = &b->keys[b->next++];
		struct page *p = cfs_page_find(
			b->v, (uint16_t)(key->branch_ino >> 48),
			key->branch_ino & CFS_INO_MAX, key->offset);
		int r = p && !p->is_logged ? cfs_page_is_pinned(b->v, p, err)
					   : 1;

		if (r < 0)
			return r;
		if (r == 0)
			list[n++] = p;
	}
	*ret_count = n;
	return 0;
}

/* Within the operation: places and records. */
static int find_homes(struct back *b, struct cfs_err *err)
{
	struct page *list[BACK_CHUNK];
	size_t count = 0, expected = 0;
	int r = next_pages(b, list, &count, err);

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
	struct cfs_mv_write writes[BACK_CHUNK];

	for (size_t i = 0; i < b->count; i++)
		writes[i] = (struct cfs_mv_write){
			.vaddr = b->pages[i].vaddr,
			.count = 1,
			.buf = b->pages[i].data,
		};
	return cfs_metavolume_write(cfs_container_metavolume(b->v->c), writes,
				    b->count, err);
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
	cfs_container_land(c);
	for (size_t i = 0; i < b->count; i++)
		cfs_page_data_free(b->pages[i].data);
	b->count = 0;
}

static int chunk_goes(struct back *b, struct cfs_err *err)
{
	struct cfs_container *c = b->v->c;
	int r = cfs_op_begin_beside(c, BACK_CHUNK * 17 / 16 + 64, err);

	if (r < 0)
		return r;
	r = find_homes(b, err);
	if (r < 0) {
		cfs_op_abort(c); /* they stay, for the next commit */
		return r;
	}
	for (size_t i = 0; i < b->count; i++)
		(void)cfs_page_take(b->v, b->pages[i].page);
	if (b->count)
		cfs_container_depart(c);
	cfs_op_end(c);
	if (b->count)
		land(b);
	return 0;
}

void cfs_data_write_back(struct cfs_container *c)
{
	struct back *b = malloc(sizeof(*b));
	struct cfs_err err = CFS_ERR_INIT;

	if (!b)
		return;
	b->v = cfs_vols_of(c);
	b->count = b->next = b->key_count = 0;
	if (choose(b)) {
		while (b->next < b->key_count && chunk_goes(b, &err) == 0)
			;
		cfs_container_lock_beside(c);
		b->v->is_going_back = false;
		cfs_container_unlock(c);
	}
	free(b);
}
