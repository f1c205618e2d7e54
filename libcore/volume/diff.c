/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What differs between two views.
 *
 * Inodes are gone through in order.  Of one that both views have, the keys
 * that may have changed are looked at in both; of one that only the second
 * has, all it has is new; one that only the first has is gone with one word.
 */
#include "volume/diff_priv.h"

#include "ondisk/inode.h"

#include <stdlib.h>
#include <sys/stat.h>

enum inode_mode {
	INODE_NONE,  /* the next one is to be found */
	INODE_WHOLE, /* all it has is new */
	INODE_BOTH,  /* what may have changed is looked at */
	INODE_LEFT,  /* nothing more of it */
};

struct cfs_diff {
	struct cfs_view to, from;
	bool has_from;
	uint32_t kind;
	uint64_t lun_ino;
	struct diff_scan scan;         /* with from */
	struct cfs_stream_position at; /* nothing before it is left */
	/* The inode at at.ino. */
	enum inode_mode mode;
	struct cfs_inode inode; /* in the second view */
	uint64_t end, from_end; /* blocks in each */
	uint8_t value[CFS_VALUE_BYTES_MAX];
	uint8_t old[CFS_VALUE_BYTES_MAX];
};

/* ---- life ---------------------------------------------------------------- */

int cfs_diff_new(const struct cfs_diff_of *of, struct cfs_diff **ret,
		 struct cfs_err *err)
{
	struct cfs_diff *d = calloc(1, sizeof(*d));
	int r = 0;

	if (!d)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	d->to = *of->to;
	d->kind = of->kind;
	d->lun_ino = of->ino;
	d->has_from = of->from;
	if (of->from) {
		d->from = *of->from;
		cfs_container_lock(d->to.container);
		r = cfs_diff_scan_init(&d->scan, &d->from, &d->to, err);
		cfs_container_unlock(d->to.container);
	}
	if (r < 0)
		cfs_diff_free(d);
	else
		*ret = d;
	return r;
}

void cfs_diff_free(struct cfs_diff *d)
{
	if (!d)
		return;
	cfs_diff_scan_done(&d->scan);
	free(d);
}

void cfs_diff_freep(struct cfs_diff **d)
{
	cfs_diff_free(*d);
}

void cfs_diff_seek(struct cfs_diff *d,
		   const struct cfs_stream_position *position)
{
	d->at = *position;
	d->mode = INODE_NONE;
}

struct cfs_stream_position cfs_diff_position(const struct cfs_diff *d)
{
	return d->at;
}

/* ---- inodes -------------------------------------------------------------- */

/* As a view shows it; -ENOENT: it is not there, or has no name any more. */
static int inode_in(const struct cfs_view *view, uint64_t ino,
		    struct cfs_inode *ret, struct cfs_err *err)
{
	uint8_t buf[sizeof(struct cfs_inode_disk)];
	size_t bytes;
	int r = cfs_map_get(view, ino, CFS_MAP_INODE, 0, buf, sizeof(buf),
			    &bytes, err);

	if (r == 0)
		r = cfs_inode_unpack(buf, CFS_MIN(bytes, sizeof(buf)), ret,
				     err);
	if (r == 0 && ret->nlink == 0)
		r = -ENOENT;
	return r;
}

static uint64_t blocks_of(const struct cfs_inode *inode)
{
	return S_ISREG(inode->mode)
		       ? cfs_div_up(inode->size_bytes, CFS_BLOCK_BYTES)
		       : 0;
}

static void next_inode(struct cfs_diff *d)
{
	d->mode = INODE_NONE;
	d->at.ino++;
	d->at.word = 0;
}

/* The inode at d->at: in which of the views?  1: it is gone. */
static int enter_file(struct cfs_diff *d, struct cfs_err *err)
{
	struct cfs_inode old = { .mode = 0 };
	int to = inode_in(&d->to, d->at.ino, &d->inode, err);
	int from = -ENOENT;

	if (to < 0 && to != -ENOENT)
		return to;
	if (d->has_from)
		from = inode_in(&d->from, d->at.ino, &old, err);
	if (from < 0 && from != -ENOENT)
		return from;
	d->mode = to < 0 ? INODE_LEFT : from < 0 ? INODE_WHOLE : INODE_BOTH;
	if (to == 0)
		d->end = blocks_of(&d->inode);
	d->from_end = from == 0 ? blocks_of(&old) : 0;
	return to < 0 && from == 0;
}

static int enter(struct cfs_diff *d, struct cfs_err *err)
{
	if (d->kind == CFS_VOLUME_TREE)
		return enter_file(d, err);
	d->end = d->from_end = CFS_OFF_MAX;
	d->inode.mode = S_IFREG;
	d->mode = d->at.ino != d->lun_ino ? INODE_LEFT
		  : d->has_from           ? INODE_BOTH
					  : INODE_WHOLE;
	return 0;
}

/* The next inode of which something may be new: 1; 0: none. */
static int find_inode(struct cfs_diff *d, struct cfs_err *err)
{
	struct diff_key key = { 0, 0, 0 };
	int r;

	/* In the middle of one: the rest of it may be new with no key that is
	 * (it had lost its name before). */
	if (d->at.word)
		return 1;
	if (d->has_from) {
		r = cfs_diff_scan_next(&d->scan, &d->at, &key, err);
		if (r <= 0)
			return r;
		d->at.ino = key.ino;
		return 1;
	}
	if (d->kind == CFS_VOLUME_LUN) {
		if (d->at.ino > d->lun_ino)
			return 0;
		d->at.ino = d->lun_ino;
		return 1;
	}
	key.ino = d->at.ino;
	if (key.ino > CFS_INO_MAX)
		return 0;
	r = cfs_map_next_inode(&d->to, &key.ino, err);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	d->at.ino = key.ino;
	return 1;
}

/* ---- records ------------------------------------------------------------- */

/* What is no one's business but the volume's that has it. */
static int clean_value(uint64_t word, uint8_t *value, size_t bytes,
		       struct cfs_err *err)
{
	struct cfs_inode inode;
	int r;

	if (bytes > CFS_VALUE_BYTES_MAX)
		return cfs_err_set(err, -EUCLEAN, "map: a record is too long");
	if (word >> CFS_MAP_OFF_BITS != CFS_MAP_INODE)
		return 0;
	r = cfs_inode_unpack(value, bytes, &inode, err);
	if (r == 0 && inode.flags & CFS_INODE_SHRINKING) {
		inode.flags &= ~CFS_INODE_SHRINKING;
		cfs_inode_pack(&inode, (void *)value);
	}
	return r;
}

static int value_in(const struct cfs_view *view, uint64_t ino, uint64_t word,
		    uint8_t *buf, size_t *ret_bytes, struct cfs_err *err)
{
	int r = cfs_map_get(view, ino,
			    (enum cfs_map_class)(word >> CFS_MAP_OFF_BITS),
			    word & CFS_MAP_OFF_MASK, buf, CFS_VALUE_BYTES_MAX,
			    ret_bytes, err);

	return r < 0 ? r : clean_value(word, buf, *ret_bytes, err);
}

static void set_put(const struct cfs_diff *d, size_t bytes,
		    struct cfs_change *ret)
{
	*ret = (struct cfs_change){
		.kind = CFS_CHANGE_PUT,
		.ino = d->at.ino,
		.word = d->at.word,
		.is_new = d->mode == INODE_WHOLE,
		.value = d->value,
		.value_bytes = bytes,
	};
}

/* The record at d->at in both: 1: they differ. */
static int compare_record(struct cfs_diff *d, struct cfs_change *ret,
			  struct cfs_err *err)
{
	size_t bytes = 0, old_bytes = 0;
	int to = value_in(&d->to, d->at.ino, d->at.word, d->value, &bytes, err);
	int from;

	if (to < 0 && to != -ENOENT)
		return to;
	from = value_in(&d->from, d->at.ino, d->at.word, d->old, &old_bytes,
			err);
	if (from < 0 && from != -ENOENT)
		return from;
	if (to < 0 && from < 0)
		return 0;
	if (to == 0 && from == 0 && bytes == old_bytes &&
	    memcmp(d->value, d->old, bytes) == 0)
		return 0;
	if (to == 0)
		set_put(d, bytes, ret);
	else
		*ret = (struct cfs_change){
			.kind = CFS_CHANGE_DEL,
			.ino = d->at.ino,
			.word = d->at.word,
		};
	return 1;
}

/* ---- blocks -------------------------------------------------------------- */

static int first_segment(void *arg, const struct segment *s,
			 struct cfs_err *err)
{
	struct segment *ret = arg;

	(void)err;
	*ret = *s;
	return 1;
}

static int first_data(void *arg, const struct segment *s, struct cfs_err *err)
{
	return s->kind == SEGMENT_HOLE ? 0 : first_segment(arg, s, err);
}

/* What a view shows from @offset on, up to @count blocks and its @end. */
static int segment_in(const struct cfs_view *view, uint64_t ino, uint64_t end,
		      uint64_t offset, uint64_t count, struct segment *ret,
		      struct cfs_err *err)
{
	int r;

	if (offset >= end) {
		*ret = (struct segment){ .kind = SEGMENT_HOLE,
					 .offset = offset,
					 .count = count };
		return 0;
	}
	r = cfs_segments(view, ino, offset, CFS_MIN(count, end - offset),
			 first_segment, ret, err);
	return r < 0 ? r : 0;
}

/* Can the first view have this version at all? */
static bool may_have(const struct cfs_diff *d, const struct segment *s)
{
	struct cfs_view at = d->from;

	do {
		if (at.branch == s->branch)
			return s->stamp <= at.stamp;
	} while (cfs_branch_parent_view(d->scan.v, &at, &at));
	return false;
}

static void set_data(const struct cfs_diff *d, const struct segment *s,
		     uint64_t count, struct cfs_change *ret)
{
	*ret = (struct cfs_change){
		.kind = s->kind == SEGMENT_HOLE ? CFS_CHANGE_HOLE
						: CFS_CHANGE_DATA,
		.ino = d->at.ino,
		.word = cfs_map_word1(CFS_MAP_EXTENT, s->offset),
		.is_new = d->mode == INODE_WHOLE,
		.offset = s->offset,
		.count = count,
		.vaddr = s->vaddr,
		.stamp = s->stamp,
		.csum = count == s->count ? s->csum : 0,
		.branch = s->branch,
		.seq = s->seq,
	};
}

/* The front of [offset, offset + count): *ret_count blocks of it; 1: they
 * differ. */
static int compare_blocks(struct cfs_diff *d, uint64_t offset, uint64_t count,
			  uint64_t *ret_count, struct cfs_change *ret,
			  struct cfs_err *err)
{
	struct segment to, from;
	int r = segment_in(&d->to, d->at.ino, d->end, offset, count, &to, err);

	if (r < 0)
		return r;
	*ret_count = to.count;
	if (to.kind != SEGMENT_HOLE && !may_have(d, &to)) {
		set_data(d, &to, to.count, ret);
		return 1;
	}
	r = segment_in(&d->from, d->at.ino, d->from_end, offset, to.count,
		       &from, err);
	if (r < 0)
		return r;
	*ret_count = CFS_MIN(to.count, from.count);
	if (to.kind == SEGMENT_HOLE && from.kind == SEGMENT_HOLE)
		return 0;
	if (to.kind != SEGMENT_HOLE && from.kind != SEGMENT_HOLE &&
	    to.branch == from.branch && to.stamp == from.stamp &&
	    to.seq == from.seq)
		return 0;
	set_data(d, &to, *ret_count, ret);
	return 1;
}

/* ---- one inode ----------------------------------------------------------- */

static void pass(struct cfs_diff *d, uint64_t offset)
{
	d->at.word = cfs_map_word1(CFS_MAP_EXTENT, offset);
}

/* Of an inode that both have: 1, or 0 when nothing more of it differs. */
static int next_of_both(struct cfs_diff *d, struct cfs_change *ret,
			struct cfs_err *err)
{
	for (;;) {
		struct diff_key key = { 0, 0, 0 };
		uint64_t offset, count;
		int r = cfs_diff_scan_next(&d->scan, &d->at, &key, err);

		if (r <= 0 || key.ino != d->at.ino)
			return r < 0 ? r : 0;
		d->at.word = key.word;
		if (key.word >> CFS_MAP_OFF_BITS != CFS_MAP_EXTENT) {
			r = compare_record(d, ret, err);
			d->at.word++;
		} else {
			offset = key.word & CFS_MAP_OFF_MASK;
			r = compare_blocks(d, offset, key.count, &count, ret,
					   err);
			if (r >= 0)
				pass(d, offset + count);
		}
		if (r != 0)
			return r;
	}
}

static bool has_class(const struct cfs_diff *d, uint64_t class)
{
	if (d->kind == CFS_VOLUME_LUN)
		return false;
	return (class != CFS_MAP_DIRENT || S_ISDIR(d->inode.mode)) &&
	       (class != CFS_MAP_SYMLINK || S_ISLNK(d->inode.mode));
}

/* The next record of an inode that is new; 0: none is left. */
static int next_record(struct cfs_diff *d, struct cfs_change *ret,
		       struct cfs_err *err)
{
	uint64_t class = d->at.word >> CFS_MAP_OFF_BITS;

	if (class < CFS_MAP_INODE) {
		class = CFS_MAP_INODE;
		d->at.word = cfs_map_word1(CFS_MAP_INODE, 0);
	}
	while (class <= CFS_MAP_SYMLINK) {
		uint64_t offset = d->at.word & CFS_MAP_OFF_MASK;
		size_t bytes = 0;
		int r = -ENOENT;

		if (has_class(d, class))
			r = cfs_map_next(&d->to, d->at.ino,
					 (enum cfs_map_class) class, &offset,
					 d->value, sizeof(d->value), &bytes,
					 err);
		if (r == 0) {
			d->at.word = cfs_map_word1((enum cfs_map_class) class,
						   offset);
			r = clean_value(d->at.word, d->value, bytes, err);
			if (r < 0)
				return r;
			set_put(d, bytes, ret);
			d->at.word++;
			return 1;
		}
		if (r != -ENOENT)
			return r;
		class ++;
		d->at.word = class << CFS_MAP_OFF_BITS;
	}
	return 0;
}

static int next_blocks(struct cfs_diff *d, struct cfs_change *ret,
		       struct cfs_err *err)
{
	struct segment s;
	uint64_t offset, end = 0;
	int r;

	if (d->at.word >> CFS_MAP_OFF_BITS < CFS_MAP_EXTENT)
		pass(d, 0);
	offset = d->at.word & CFS_MAP_OFF_MASK;
	if (offset >= d->end)
		return 0;
	r = cfs_extent_end(&d->to, d->at.ino, &end, err);
	end = CFS_MIN(end, d->end);
	if (r < 0 || offset >= end)
		return r;
	r = cfs_segments(&d->to, d->at.ino, offset, end - offset, first_data,
			 &s, err);
	if (r <= 0)
		return r;
	set_data(d, &s, s.count, ret);
	pass(d, s.offset + s.count);
	return 1;
}

static int next_of_whole(struct cfs_diff *d, struct cfs_change *ret,
			 struct cfs_err *err)
{
	int r = 0;

	if (d->at.word >> CFS_MAP_OFF_BITS < CFS_MAP_EXTENT)
		r = next_record(d, ret, err);
	return r ? r : next_blocks(d, ret, err);
}

int cfs_diff_next(struct cfs_diff *d, struct cfs_change *ret,
		  struct cfs_err *err)
{
	for (;;) {
		int r = 0;

		if (d->mode == INODE_NONE) {
			r = find_inode(d, err);
			if (r <= 0)
				return r;
			r = enter(d, err);
		}
		if (r == 1) {
			*ret = (struct cfs_change){
				.kind = CFS_CHANGE_GONE,
				.ino = d->at.ino,
			};
			r = d->at.word == 0;
			next_inode(d);
			if (r)
				return 1;
			continue;
		}
		if (r == 0 && d->mode == INODE_BOTH)
			r = next_of_both(d, ret, err);
		else if (r == 0 && d->mode == INODE_WHOLE)
			r = next_of_whole(d, ret, err);
		if (r != 0)
			return r;
		next_inode(d);
	}
}
