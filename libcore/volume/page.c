/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Dirty pages: blocks whose newest content is in memory, and after a sync in
 * the log, but not at home yet.  There is at most one for a block of a branch.
 *
 * A page has the stamp of its last change as its birth.  When it is about to
 * be changed although a snapshot sees it as it is (a pin at or behind its
 * birth), its content goes home first, with an extent record that carries its
 * birth; only then may it get another content and a new birth.
 */
#include "volume/vols_priv.h"

#include <assert.h>
#include <stdlib.h>

#define RUN_MAX  CFS_TAGS_PER_PAGE
#define RUN_LONG 8u /* pages that are worth a run of their own */

static uint16_t key_branch(const struct page *p)
{
	return (uint16_t)(p->key.branch_ino >> 48);
}

static uint64_t key_ino(const struct page *p)
{
	return p->key.branch_ino & CFS_INO_MAX;
}

struct page *cfs_page_find(struct cfs_vols *v, uint16_t branch, uint64_t ino,
			   uint64_t offset)
{
	struct page_key key;
	struct page *p;

	if (v->page_count == 0)
		return NULL;
	memset(&key, 0, sizeof(key)); /* it is hashed as bytes */
	key.branch_ino = cfs_map_word0(branch, ino);
	key.offset = offset;
	HASH_FIND(hh, v->pages, &key, sizeof(key), p);
	return p;
}

void cfs_page_free(struct page *p)
{
	cfs_page_data_free(p->data);
	free(p);
}

static void set_logged(struct cfs_vols *v, struct page *p, bool is_logged)
{
	if (p->is_logged == is_logged)
		return;
	p->is_logged = is_logged;
	if (is_logged) {
		DL_DELETE(v->unlogged, p);
		v->unlogged_count--;
	} else {
		DL_APPEND(v->unlogged, p);
		v->unlogged_count++;
	}
}

void cfs_page_remove(struct cfs_vols *v, struct page *p)
{
	assert(!p->is_folding);
	set_logged(v, p, true); /* out of that list */
	cfs_page_file_remove(v, p);
	HASH_DEL(v->pages, p);
	v->page_count--;
	cfs_page_free(p);
}

/* @data becomes its own, on success.  It counts as not logged. */
static struct page *page_new(struct cfs_vols *v, const struct page_key *key,
			     uint8_t *data)
{
	struct page *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->key = *key;
	p->data = data;
	p->is_logged = true;
	if (cfs_page_file_add(v, p) < 0) {
		free(p);
		return NULL;
	}
	if (CFS_HASH_ADD(v->pages, key, p) < 0) {
		cfs_page_file_remove(v, p);
		free(p);
		return NULL;
	}
	set_logged(v, p, false);
	v->page_count++;
	return p;
}

/*
 * A client folds pages under a stamp of their own: nothing of its has that, so
 * no tree needs to be asked, or changed, since its trees are dropped behind it.
 */
bool cfs_page_is_client_fold(const struct cfs_vols *v)
{
	return cfs_container_is_client(v->c) && cfs_container_is_folding(v->c);
}

static int alloc_run(struct cfs_vols *v, uint32_t count, uint32_t done,
		     uint64_t *ret_vaddr, uint32_t *ret_count,
		     struct cfs_err *err)
{
	const uint32_t left = CFS_MIN(count - done, RUN_MAX);

	return count >= RUN_LONG ? cfs_space_alloc_long(v->c, left, ret_vaddr,
							ret_count, err)
				 : cfs_space_alloc_data(v->c, left, ret_vaddr,
							ret_count, err);
}

/*
 * Write a run of adjacent pages, of one birth, home.  In a commit the writes
 * are gathered; else they are made now, or by @home, and logged as extents.
 */
int cfs_page_run_home(struct cfs_vols *v, struct page *const *run,
		      uint32_t count, cfs_page_home_fn home, void *arg,
		      struct cfs_err *err)
{
	const uint16_t branch = key_branch(run[0]);
	const uint64_t ino = key_ino(run[0]);
	const bool folding = cfs_container_is_folding(v->c);
	struct extent e = { .stamp = run[0]->stamp };
	uint64_t csums[RUN_MAX];
	uint64_t seed = cfs_blocks_seed(cfs_container_blocks(v->c));
	const bool is_bare = cfs_page_is_client_fold(v);

	if (is_bare)
		e.stamp = cfs_container_stamp(v->c);
	for (uint32_t done = 0; done < count;) {
		struct cfs_tag tag = {
			.type = CFS_TAG_DATA,
			.ino = ino,
			.stamp = e.stamp,
			.branch = branch,
		};
		uint32_t got = 0;
		int r;

		e.offset = run[done]->key.offset;
		r = alloc_run(v, count, done, &e.vaddr, &got, err);
		e.count = got;
		if (r == 0 && !is_bare)
			r = cfs_extent_next_seq(v, branch, ino, e.offset,
						e.count, e.stamp, &e.seq, err);
		tag.seq = e.seq;
		for (uint32_t i = 0; i < got && r == 0; i++) {
			const void *data = run[done + i]->data;

			tag.offset = e.offset + i;
			tag.csum = cfs_tag_csum(&tag, seed, data);
			csums[i] = tag.csum;
			cfs_space_set_tag(v->c, e.vaddr + i, &tag);
			if (home)
				home(arg, run[done + i], e.vaddr + i);
			else if (folding)
				r = cfs_container_home_write(v->c, e.vaddr + i,
							     1, data, err);
			else
				r = cfs_container_write_now(v->c, e.vaddr + i,
							    1, data, err);
		}
		if (r == 0 && !is_bare) {
			e.csum = got == 1 ? csums[0] : 0;
			r = cfs_extent_put(v, branch, ino, &e, err);
		}
		if (r == 0) {
			const struct cfs_rec rec = {
				.type = CFS_REC_EXTENT,
				.branch = branch,
				.ino = ino,
				.offset = e.offset,
				.count = e.count,
				.stamp = e.stamp,
				.seq = e.seq,
				.vaddr = e.vaddr,
			};

			r = cfs_container_log(v->c, &rec, csums, err);
		}
		if (r < 0)
			return r;
		done += got;
	}
	return 0;
}

/* Does a snapshot see the page as it is, and not what is born at @stamp? */
static int is_pinned(struct cfs_vols *v, const struct page *p, uint64_t stamp,
		     struct cfs_err *err)
{
	struct branch *b = cfs_branch_find(v, key_branch(p));

	return b ? cfs_branch_is_pinned(v, b, p->stamp, stamp, err) : 0;
}

int cfs_page_is_pinned(struct cfs_vols *v, const struct page *p,
		       struct cfs_err *err)
{
	return is_pinned(v, p, UINT64_MAX, err);
}

uint8_t *cfs_page_take(struct cfs_vols *v, struct page *p)
{
	uint8_t *data = p->data;

	p->data = NULL;
	cfs_page_remove(v, p);
	return data;
}

static void close_container(void *arg, uint64_t value)
{
	(void)value;
	cfs_container_close_for_writing(arg, "an operation was undone behind "
					     "the content of a snapshot");
}

/*
 * Bring a page's content home before it gets another.  Once that is done an
 * abort cannot bring the page back; it closes the container, and the next open
 * finds the content in the log.  Space is promised before, so that only a want
 * of memory or a failed device leads there.
 */
static int settle(struct cfs_vols *v, struct page *p, struct cfs_err *err)
{
	int r;

	if (cfs_container_is_folding(v->c))
		return cfs_err_set(err, -EUCLEAN,
				   "a record of data comes too early");
	r = cfs_op_on_abort(v->c, close_container, v->c, 0, err);
	return r < 0 ? r : cfs_page_run_home(v, &p, 1, NULL, NULL, err);
}

int cfs_page_dirty(struct cfs_vols *v, uint16_t branch, uint64_t ino,
		   uint64_t offset, uint64_t stamp, struct page **ret,
		   bool *ret_is_new, struct cfs_err *err)
{
	const struct page_key key = { cfs_map_word0(branch, ino), offset };
	struct page *p = cfs_page_find(v, branch, ino, offset);
	int r;

	*ret_is_new = false;
	/* No snapshot sees it: there was none when that fold began, and none
	 * is made beside it. */
	if (p && p->is_folding)
		r = cfs_page_leave_fold(v, p, err);
	else
		r = p ? is_pinned(v, p, stamp, err) : 0;
	if (r > 0)
		r = settle(v, p, err);
	if (r == 0 && p)
		r = cfs_page_park_content(v, p, err);
	if (r == 0 && !p) {
		uint8_t *data = cfs_page_data_alloc();

		p = data ? page_new(v, &key, data) : NULL;
		if (!p) {
			cfs_page_data_free(data);
			return cfs_err_set(err, -ENOMEM, "out of memory");
		}
		r = cfs_page_park_absent(v, &key, err);
		if (r < 0)
			cfs_page_remove(v, p);
		*ret_is_new = r == 0;
	}
	if (r == 0)
		*ret = p;
	return r;
}

int cfs_page_restore(struct cfs_vols *v, const struct page_key *key,
		     uint8_t *data, uint64_t stamp, bool is_logged)
{
	struct page *p;

	HASH_FIND(hh, v->pages, key, sizeof(*key), p);
	if (!data) {
		if (p)
			cfs_page_remove(v, p);
		return 0;
	}
	if (p) {
		cfs_page_data_free(p->data);
		p->data = data;
	} else {
		p = page_new(v, key, data);
		if (!p)
			return -ENOMEM;
	}
	p->stamp = stamp;
	set_logged(v, p, is_logged);
	return 0;
}

void cfs_page_touch(struct cfs_vols *v, struct page *p)
{
	p->stamp = cfs_container_stamp(v->c);
	set_logged(v, p, false);
}

static int settle_one(struct cfs_vols *v, struct page *p, struct cfs_err *err)
{
	int r = is_pinned(v, p, UINT64_MAX, err);

	if (r <= 0)
		return r;
	r = settle(v, p, err);
	if (r == 0)
		cfs_page_remove(v, p); /* its content is home, and logged so */
	return r;
}

int cfs_pages_settle(struct cfs_vols *v, uint16_t branch, uint64_t ino,
		     uint64_t offset, uint64_t count, struct cfs_err *err)
{
	return cfs_pages_each(v, branch, ino, offset, count, settle_one, err);
}

static int drop_one(struct cfs_vols *v, struct page *p, struct cfs_err *err)
{
	(void)err;
	cfs_page_park_whole(v, p);
	cfs_page_remove(v, p);
	return 0;
}

void cfs_pages_drop(struct cfs_vols *v, uint16_t branch, uint64_t ino,
		    uint64_t offset, uint64_t count)
{
	(void)cfs_pages_each(v, branch, ino, offset, count, drop_one, NULL);
}

void cfs_pages_drop_branch(struct cfs_vols *v, uint16_t branch)
{
	struct page *p, *tmp;

	HASH_ITER(hh, v->pages, p, tmp)
		if (key_branch(p) == branch)
			cfs_page_remove(v, p);
}

/* ---- order --------------------------------------------------------------- */

static int by_place(const void *a, const void *b)
{
	const struct page *x = *(const struct page *const *)a;
	const struct page *y = *(const struct page *const *)b;

	if (x->key.branch_ino != y->key.branch_ino)
		return x->key.branch_ino < y->key.branch_ino ? -1 : 1;
	return (x->key.offset > y->key.offset) -
	       (x->key.offset < y->key.offset);
}

int cfs_pages_sorted(struct cfs_vols *v, bool only_unlogged, struct page ***ret,
		     size_t *ret_count, struct cfs_err *err)
{
	size_t room = only_unlogged ? v->unlogged_count : v->page_count;
	struct page **list, *p, *tmp;
	size_t n = 0;

	list = calloc(room + 1, sizeof(struct page *));
	if (!list)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	if (only_unlogged) {
		DL_FOREACH(v->unlogged, p)
			list[n++] = p;
	} else {
		HASH_ITER(hh, v->pages, p, tmp)
			list[n++] = p;
	}
	qsort(list, n, sizeof(struct page *), by_place);
	*ret = list;
	*ret_count = n;
	return 0;
}

uint32_t cfs_page_run_length(struct page *const *list, size_t left)
{
	uint32_t n = 1;

	while (n < left && n < RUN_MAX &&
	       list[n]->key.branch_ino == list[0]->key.branch_ino &&
	       list[n]->key.offset == list[0]->key.offset + n &&
	       list[n]->stamp == list[0]->stamp)
		n++;
	return n;
}

/* ---- sync and replay ------------------------------------------------------ */

int cfs_pages_gather(struct cfs_vols *v, struct cfs_err *err)
{
	struct page **list;
	size_t count;
	int r;

	if (v->unlogged_count == 0)
		return 0;
	r = cfs_pages_sorted(v, true, &list, &count, err);
	if (r < 0)
		return r;
	for (size_t i = 0; r == 0 && i < count;) {
		const void *data[RUN_MAX];
		uint32_t n = cfs_page_run_length(list + i, count - i);
		const struct cfs_rec rec = {
			.type = CFS_REC_INLINE,
			.branch = key_branch(list[i]),
			.ino = key_ino(list[i]),
			.offset = list[i]->key.offset,
			.count = n,
			.stamp = list[i]->stamp,
		};

		for (uint32_t k = 0; k < n; k++) {
			data[k] = list[i + k]->data;
			list[i + k]->is_gathered = true;
		}
		r = cfs_container_log_inline(v->c, &rec, data, err);
		i += n;
	}
	free(list);
	return r;
}

void cfs_pages_gathered(struct cfs_vols *v, bool is_durable)
{
	struct page *p, *tmp;

	DL_FOREACH_SAFE(v->unlogged, p, tmp)
	{
		if (!p->is_gathered)
			continue;
		p->is_gathered = false;
		if (is_durable)
			set_logged(v, p, true);
	}
}

int cfs_pages_replay(struct cfs_vols *v, const struct cfs_rec *rec,
		     struct cfs_err *err)
{
	struct branch *b;
	int r = cfs_branch_get(v, rec->branch, &b, err);

	if (r < 0)
		return r;
	if (rec->offset > CFS_OFF_MAX || rec->count > CFS_OFF_MAX - rec->offset)
		return cfs_err_set(err, -EUCLEAN,
				   "a record of data makes no sense");
	for (uint64_t i = 0; i < rec->count; i++) {
		struct page *p;
		bool is_new;

		r = cfs_page_dirty(v, rec->branch, rec->ino, rec->offset + i,
				   rec->stamp, &p, &is_new, err);
		if (r != 0)
			return r;
		memcpy(p->data, rec->data + i * CFS_BLOCK_BYTES,
		       CFS_BLOCK_BYTES);
		p->stamp = rec->stamp;
		set_logged(v, p, true);
	}
	return 0;
}

void cfs_pages_done(struct cfs_vols *v)
{
	struct page *p, *tmp;

	cfs_pages_unfold(v);
	HASH_ITER(hh, v->pages, p, tmp)
		cfs_page_remove(v, p);
}
