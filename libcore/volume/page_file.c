/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Dirty pages by the file they are of.  Where a file ends, what it has and what
 * goes with it is asked for each file that is looked at or removed, while pages
 * of thousands of others are dirty: that must cost what the file has, not what
 * there is.
 *
 * Each page of v->pages is in the list of exactly one file, and a file without
 * pages is not there.  All of it is guarded by the container's lock.
 */
#include "volume/vols_priv.h"

#include "base/bits.h"
#include "base/hash.h"

#include <errno.h>
#include <stdlib.h>

static struct page_file *file_find(const struct cfs_vols *v,
				   uint64_t branch_ino)
{
	struct page_file *f = NULL;

	if (v->files)
		HASH_FIND(hh, v->files, &branch_ino, sizeof(branch_ino), f);
	return f;
}

static void file_free(struct cfs_vols *v, struct page_file *f)
{
	HASH_DEL(v->files, f);
	free(f);
}

int cfs_page_file_add(struct cfs_vols *v, struct page *p)
{
	struct page_file *f = file_find(v, p->key.branch_ino);

	if (!f) {
		f = calloc(1, sizeof(*f));
		if (!f)
			return -ENOMEM;
		f->branch_ino = p->key.branch_ino;
		if (CFS_HASH_ADD(v->files, branch_ino, f) < 0) {
			free(f);
			return -ENOMEM;
		}
	}
	DL_APPEND2(f->pages, p, file_prev, file_next);
	f->count++;
	p->file = f;
	return 0;
}

void cfs_page_file_remove(struct cfs_vols *v, struct page *p)
{
	struct page_file *f = p->file;

	DL_DELETE2(f->pages, p, file_prev, file_next);
	p->file = NULL;
	if (--f->count == 0)
		file_free(v, f);
}

int cfs_pages_each(struct cfs_vols *v, uint16_t branch, uint64_t ino,
		   uint64_t offset, uint64_t count, cfs_page_fn fn,
		   struct cfs_err *err)
{
	struct page_file *f = file_find(v, cfs_map_word0(branch, ino));
	struct page *p, *tmp;
	int r = 0;

	if (!f)
		return 0;
	if (count <= f->count) {
		for (uint64_t i = 0; i < count && r >= 0; i++) {
			p = cfs_page_find(v, branch, ino, offset + i);
			if (p)
				r = fn(v, p, err);
		}
		return CFS_MIN(r, 0);
	}
	DL_FOREACH_SAFE2(f->pages, p, tmp, file_next)
	{
		if (p->key.offset - offset < count && (r = fn(v, p, err)) < 0)
			return r;
	}
	return 0;
}

bool cfs_pages_next(struct cfs_vols *v, uint16_t branch, uint64_t ino,
		    uint64_t offset, uint64_t end, uint64_t *ret_offset)
{
	struct page_file *f = file_find(v, cfs_map_word0(branch, ino));
	uint64_t best = UINT64_MAX;
	struct page *p;

	if (!f)
		return false;
	if (end - offset <= f->count) {
		for (uint64_t i = offset; i < end; i++) {
			if (cfs_page_find(v, branch, ino, i)) {
				*ret_offset = i;
				return true;
			}
		}
		return false;
	}
	DL_FOREACH2(f->pages, p, file_next)
	if (p->key.offset >= offset && p->key.offset < end)
		best = CFS_MIN(best, p->key.offset);
	*ret_offset = best;
	return best != UINT64_MAX;
}

uint64_t cfs_pages_end(struct cfs_vols *v, uint16_t branch, uint64_t ino)
{
	struct page_file *f = file_find(v, cfs_map_word0(branch, ino));
	uint64_t end = 0;
	struct page *p;

	if (f)
		DL_FOREACH2(f->pages, p, file_next)
	end = CFS_MAX(end, p->key.offset + 1);
	return end;
}
