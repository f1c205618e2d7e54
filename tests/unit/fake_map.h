/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A container, its map and its data in memory, in place of the real ones: the
 * functions of tree/container.h, volume/map.h and volume/data.h that tree
 * volumes use.  Included by fs_fixture.h, so that the linker takes these and
 * leaves the library's out.  What the real ones promise is asserted here: the
 * lock is held, changes come within an operation, an abort brings everything
 * back.
 *
 * All records stand in one treap.  Map records have the key (branch, inode,
 * class and offset), table records their own; data is a record for each block.
 * fake_snapshot copies a branch to where views with a stamp look.
 */
#pragma once

#include <pthread.h>

#define FAKE_BRANCH 1u
#define FAKE_STAMP  77u
#define FAKE_SNAP   (UINT64_C(1) << 40) /* in word 0: of a snapshot */

struct fake_record {
	struct cfs_key key;
	uint64_t priority;
	struct fake_record *left, *right;
	size_t bytes;
	uint8_t value[];
};

struct fake_undo {
	struct cfs_key key;
	struct fake_record *old; /* NULL: there was none */
};

struct cfs_container {
	pthread_mutex_t mutex;
	pthread_t holder;
	bool is_locked;
	bool is_in_op;
	bool is_writable;
	struct fake_record *root;
	size_t record_count;
	CFS_VEC(struct fake_undo) undo;
	struct cfs_rng rng;
	uint64_t next_ino;
	uint64_t op_count; /* ended well */
	uint64_t sync_count;
	uint64_t change_count; /* of records, ever */
	uint64_t fail_at;      /* the change that fails; 0: none */
	uint64_t fail_op_at;   /* likewise the operation */
	uint64_t begin_count;
};

static struct cfs_container *fake_new(void)
{
	struct cfs_container *c = calloc(1, sizeof(*c));

	assert(c);
	pthread_mutex_init(&c->mutex, NULL);
	cfs_rng_init(&c->rng, 1);
	c->is_writable = true;
	c->next_ino = 1;
	return c;
}

static void fake_records_free(struct fake_record *r)
{
	if (!r)
		return;
	fake_records_free(r->left);
	fake_records_free(r->right);
	free(r);
}

static void fake_free(struct cfs_container *c)
{
	assert(!c->is_locked && !c->is_in_op);
	fake_records_free(c->root);
	cfs_vec_done(&c->undo);
	pthread_mutex_destroy(&c->mutex);
	free(c);
}

/* ------------------------------------------------------------------ treap */

static int fake_cmp(const struct cfs_key *a, const struct cfs_key *b)
{
	int i;

	for (i = 0; i < 3; i++) {
		if (a->w[i] != b->w[i])
			return a->w[i] < b->w[i] ? -1 : 1;
	}
	return 0;
}

/* Everything below @key to the left, the rest to the right. */
static void fake_split(struct fake_record *r, const struct cfs_key *key,
		       struct fake_record **left, struct fake_record **right)
{
	if (!r) {
		*left = *right = NULL;
	} else if (fake_cmp(&r->key, key) < 0) {
		fake_split(r->right, key, &r->right, right);
		*left = r;
	} else {
		fake_split(r->left, key, left, &r->left);
		*right = r;
	}
}

static struct fake_record *fake_merge(struct fake_record *a,
				      struct fake_record *b)
{
	if (!a || !b)
		return a ? a : b;
	if (a->priority > b->priority) {
		a->right = fake_merge(a->right, b);
		return a;
	}
	b->left = fake_merge(a, b->left);
	return b;
}

static struct fake_record *fake_ge(struct cfs_container *c,
				   const struct cfs_key *key)
{
	struct fake_record *r = c->root, *best = NULL;

	while (r) {
		if (fake_cmp(&r->key, key) >= 0) {
			best = r;
			r = r->left;
		} else {
			r = r->right;
		}
	}
	return best;
}

static struct fake_record *fake_get(struct cfs_container *c,
				    const struct cfs_key *key)
{
	struct fake_record *r = fake_ge(c, key);

	return r && fake_cmp(&r->key, key) == 0 ? r : NULL;
}

static struct fake_record *fake_take(struct cfs_container *c,
				     const struct cfs_key *key)
{
	struct fake_record **at = &c->root, *r;
	int cmp;

	while ((r = *at) && (cmp = fake_cmp(key, &r->key)) != 0)
		at = cmp < 0 ? &r->left : &r->right;
	if (r) {
		*at = fake_merge(r->left, r->right);
		r->left = r->right = NULL;
		c->record_count--;
	}
	return r;
}

static void fake_insert(struct cfs_container *c, struct fake_record *r)
{
	struct fake_record *left, *right;

	fake_split(c->root, &r->key, &left, &right);
	c->root = fake_merge(fake_merge(left, r), right);
	c->record_count++;
}

static struct fake_record *fake_record_new(struct cfs_container *c,
					   const struct cfs_key *key,
					   const void *value, size_t bytes)
{
	struct fake_record *r = calloc(1, sizeof(*r) + bytes);

	assert(r);
	r->key = *key;
	r->priority = cfs_rng_u64(&c->rng);
	r->bytes = bytes;
	if (bytes)
		memcpy(r->value, value, bytes);
	return r;
}

/* ------------------------------------------------------------- operations */

static void fake_assert_held(struct cfs_container *c)
{
	assert(c->is_locked && pthread_equal(c->holder, pthread_self()));
}

void cfs_container_lock(struct cfs_container *c)
{
	pthread_mutex_lock(&c->mutex);
	c->holder = pthread_self();
	c->is_locked = true;
}

void cfs_container_unlock(struct cfs_container *c)
{
	fake_assert_held(c);
	assert(!c->is_in_op);
	c->is_locked = false;
	pthread_mutex_unlock(&c->mutex);
}

bool cfs_container_is_writable(const struct cfs_container *c)
{
	return c->is_writable;
}

uint64_t cfs_container_stamp(const struct cfs_container *c)
{
	(void)c;
	return FAKE_STAMP + 1;
}

int cfs_op_begin(struct cfs_container *c, enum cfs_op_kind kind,
		 struct cfs_err *err)
{
	(void)kind;
	cfs_container_lock(c);
	if (!c->is_writable || ++c->begin_count == c->fail_op_at) {
		cfs_container_unlock(c);
		return cfs_err_set(err, -EROFS, "closed for writing");
	}
	c->is_in_op = true;
	return 0;
}

static void fake_op_done(struct cfs_container *c)
{
	fake_assert_held(c);
	assert(c->is_in_op);
	c->undo.count = 0;
	c->is_in_op = false;
	cfs_container_unlock(c);
}

void cfs_op_end(struct cfs_container *c)
{
	size_t i;

	for (i = 0; i < c->undo.count; i++)
		free(c->undo.items[i].old);
	c->op_count++;
	fake_op_done(c);
}

void cfs_op_abort(struct cfs_container *c)
{
	while (c->undo.count) {
		struct fake_undo *u = &c->undo.items[--c->undo.count];

		free(fake_take(c, &u->key));
		if (u->old)
			fake_insert(c, u->old);
	}
	fake_op_done(c);
}

/* @value NULL: delete. */
static int fake_change(struct cfs_container *c, const struct cfs_key *key,
		       const void *value, size_t bytes, struct cfs_err *err)
{
	struct fake_undo undo = { .key = *key };
	int r;

	fake_assert_held(c);
	assert(c->is_in_op);
	if (++c->change_count == c->fail_at)
		return cfs_err_set(err, -EIO, "a fault on purpose");
	undo.old = fake_take(c, key);
	if (!undo.old && !value)
		return -ENOENT;
	if (value)
		fake_insert(c, fake_record_new(c, key, value, bytes));
	r = cfs_vec_push(&c->undo, undo);
	assert(r == 0);
	return r;
}

int cfs_container_put(struct cfs_container *c, const struct cfs_key *key,
		      const void *value, size_t value_bytes,
		      struct cfs_err *err)
{
	return fake_change(c, key, value, value_bytes, err);
}

int cfs_container_del(struct cfs_container *c, const struct cfs_key *key,
		      struct cfs_err *err)
{
	return fake_change(c, key, NULL, 0, err);
}

static int fake_copy(const struct fake_record *r, void *buf, size_t buf_bytes,
		     size_t *ret_bytes)
{
	if (!r)
		return -ENOENT;
	memcpy(buf, r->value, CFS_MIN(buf_bytes, r->bytes));
	*ret_bytes = r->bytes;
	return 0;
}

int cfs_container_get(struct cfs_container *c, const struct cfs_key *key,
		      void *buf, size_t buf_bytes, size_t *ret_bytes,
		      struct cfs_err *err)
{
	(void)err;
	fake_assert_held(c);
	return fake_copy(fake_get(c, key), buf, buf_bytes, ret_bytes);
}

int cfs_container_new_ino(struct cfs_container *c, uint64_t *ret,
			  struct cfs_err *err)
{
	(void)err;
	fake_assert_held(c);
	assert(c->is_in_op);
	*ret = c->next_ino++;
	return 0;
}

int cfs_container_sync(struct cfs_container *c, struct cfs_err *err)
{
	(void)err;
	cfs_container_lock(c);
	c->sync_count++;
	cfs_container_unlock(c);
	return 0;
}

struct cfs_tree *cfs_container_tree(struct cfs_container *c,
				    unsigned int tree_id)
{
	assert(tree_id == CFS_TREE_TABLE);
	return (struct cfs_tree *)c;
}

int cfs_cursor_ge(struct cfs_cursor *cur, struct cfs_tree *tree,
		  const struct cfs_key *key, struct cfs_err *err)
{
	struct fake_record *r = fake_ge((struct cfs_container *)tree, key);

	(void)err;
	fake_assert_held((struct cfs_container *)tree);
	if (!r)
		return -ENOENT;
	cur->key = r->key;
	return 0;
}

/* -------------------------------------------------------------------- map */

static struct cfs_key fake_key(uint64_t place, uint64_t ino,
			       enum cfs_map_class class, uint64_t offset)
{
	assert(ino && ino <= CFS_INO_MAX && offset <= CFS_MAP_OFF_MASK);
	return (struct cfs_key){ .w = {
					 place,
					 ino,
					 cfs_map_word1(class, offset),
				 } };
}

static uint64_t fake_place(const struct cfs_view *view)
{
	return view->branch | (view->stamp == CFS_STAMP_HEAD ? 0 : FAKE_SNAP);
}

int cfs_map_get(const struct cfs_view *view, uint64_t ino,
		enum cfs_map_class class, uint64_t offset, void *buf,
		size_t buf_bytes, size_t *ret_bytes, struct cfs_err *err)
{
	struct cfs_key key = fake_key(fake_place(view), ino, class, offset);

	return cfs_container_get(view->container, &key, buf, buf_bytes,
				 ret_bytes, err);
}

int cfs_map_next(const struct cfs_view *view, uint64_t ino,
		 enum cfs_map_class class, uint64_t *offset, void *buf,
		 size_t buf_bytes, size_t *ret_bytes, struct cfs_err *err)
{
	struct cfs_key key = fake_key(fake_place(view), ino, class, *offset);
	struct fake_record *r = fake_ge(view->container, &key);

	(void)err;
	fake_assert_held(view->container);
	if (!r || r->key.w[0] != key.w[0] || r->key.w[1] != ino ||
	    r->key.w[2] >> CFS_MAP_OFF_BITS != class)
		return -ENOENT;
	*offset = r->key.w[2] & CFS_MAP_OFF_MASK;
	return fake_copy(r, buf, buf_bytes, ret_bytes);
}

int cfs_map_next_inode(const struct cfs_view *view, uint64_t *ino,
		       struct cfs_err *err)
{
	uint64_t place = fake_place(view);
	uint64_t want = CFS_MAX(*ino, UINT64_C(1));

	(void)err;
	fake_assert_held(view->container);
	for (;; want++) {
		struct cfs_key key = fake_key(place, want, CFS_MAP_INODE, 0);
		struct fake_record *r = fake_ge(view->container, &key);

		if (!r || r->key.w[0] != place)
			return -ENOENT;
		want = r->key.w[1];
		if (r->key.w[2] == cfs_map_word1(CFS_MAP_INODE, 0))
			break;
	}
	*ino = want;
	return 0;
}

int cfs_map_put(struct cfs_container *c, uint16_t branch, uint64_t ino,
		enum cfs_map_class class, uint64_t offset, const void *value,
		size_t value_bytes, struct cfs_err *err)
{
	struct cfs_key key = fake_key(branch, ino, class, offset);

	assert(value_bytes + sizeof(struct cfs_version_disk) <=
	       CFS_VALUE_BYTES_MAX);
	return fake_change(c, &key, value, value_bytes, err);
}

int cfs_map_del(struct cfs_container *c, uint16_t branch, uint64_t ino,
		enum cfs_map_class class, uint64_t offset, struct cfs_err *err)
{
	struct cfs_key key = fake_key(branch, ino, class, offset);

	return fake_change(c, &key, NULL, 0, err);
}

/* ------------------------------------------------------------------- data */

static struct fake_record *fake_block(const struct cfs_view *view, uint64_t ino,
				      uint64_t block)
{
	struct cfs_key key = fake_key(fake_place(view), ino, CFS_MAP_EXTENT,
				      block);

	return fake_get(view->container, &key);
}

int cfs_data_read(const struct cfs_view *view, uint64_t ino,
		  uint64_t offset_bytes, void *buf, size_t length_bytes,
		  size_t *ret_good_bytes, struct cfs_err *err)
{
	uint8_t *p = buf;
	size_t done, n;

	(void)err;
	fake_assert_held(view->container);
	for (done = 0; done < length_bytes; done += n) {
		uint64_t at = offset_bytes + done;
		size_t in_block = (size_t)(at % CFS_BLOCK_BYTES);
		struct fake_record *r = fake_block(view, ino,
						   at / CFS_BLOCK_BYTES);

		n = CFS_MIN(CFS_BLOCK_BYTES - in_block, length_bytes - done);
		if (r)
			memcpy(p + done, r->value + in_block, n);
		else
			memset(p + done, 0, n);
	}
	if (ret_good_bytes)
		*ret_good_bytes = length_bytes;
	return 0;
}

int cfs_data_read_clipped(const struct cfs_view *view, uint64_t ino,
			  uint64_t offset_bytes, void *buf, size_t length_bytes,
			  cfs_data_clip_fn clip, void *arg,
			  size_t *ret_good_bytes, struct cfs_err *err)
{
	int r;

	*ret_good_bytes = 0;
	cfs_container_lock(view->container);
	r = clip(arg, &length_bytes, err);
	if (r == 0)
		r = cfs_data_read(view, ino, offset_bytes, buf, length_bytes,
				  ret_good_bytes, err);
	cfs_container_unlock(view->container);
	return r;
}

/* Not by cfs_map_put, which refuses what no node could hold. */
static int fake_extent_put(struct cfs_container *c, uint16_t branch,
			   uint64_t ino, uint64_t block, const void *bytes,
			   struct cfs_err *err)
{
	struct cfs_key key = fake_key(branch, ino, CFS_MAP_EXTENT, block);

	return fake_change(c, &key, bytes, CFS_BLOCK_BYTES, err);
}

int cfs_data_write(struct cfs_container *c, uint16_t branch, uint64_t ino,
		   uint64_t offset_bytes, const void *buf, size_t length_bytes,
		   struct cfs_err *err)
{
	struct cfs_view view = { c, branch, CFS_STAMP_HEAD };
	const uint8_t *p = buf;
	size_t done, n;
	int r = 0;

	assert(length_bytes <= CFS_FS_WRITE_BYTES_MAX &&
	       cfs_range_fits(offset_bytes, length_bytes,
			      CFS_FS_FILE_BYTES_MAX));
	for (done = 0; r == 0 && done < length_bytes; done += n) {
		uint64_t at = offset_bytes + done;
		size_t in_block = (size_t)(at % CFS_BLOCK_BYTES);
		uint8_t block[CFS_BLOCK_BYTES];
		size_t good;

		n = CFS_MIN(CFS_BLOCK_BYTES - in_block, length_bytes - done);
		cfs_data_read(&view, ino, at - in_block, block, sizeof(block),
			      &good, err);
		memcpy(block + in_block, p + done, n);
		r = fake_extent_put(c, branch, ino, at / CFS_BLOCK_BYTES, block,
				    err);
	}
	return r;
}

int cfs_data_punch(struct cfs_container *c, uint16_t branch, uint64_t ino,
		   uint64_t offset_bytes, uint64_t length_bytes,
		   struct cfs_err *err)
{
	struct cfs_view view = { c, branch, CFS_STAMP_HEAD };
	uint64_t end = length_bytes == UINT64_MAX ? UINT64_MAX
						  : offset_bytes + length_bytes;
	uint64_t block = offset_bytes / CFS_BLOCK_BYTES;
	unsigned int freed = 0;
	int r = 0;

	for (;; block++) {
		uint8_t bytes[CFS_BLOCK_BYTES];
		uint64_t at, from, to;
		size_t got;

		r = cfs_map_next(&view, ino, CFS_MAP_EXTENT, &block, bytes,
				 sizeof(bytes), &got, err);
		at = block * CFS_BLOCK_BYTES;
		if (r < 0 || at >= end)
			return r == -ENOENT ? 0 : r;
		from = CFS_MAX(at, offset_bytes);
		to = CFS_MIN(at + CFS_BLOCK_BYTES, end);
		memset(bytes + (from - at), 0, (size_t)(to - from));
		if (to - from == CFS_BLOCK_BYTES)
			r = cfs_map_del(c, branch, ino, CFS_MAP_EXTENT, block,
					err);
		else
			r = fake_extent_put(c, branch, ino, block, bytes, err);
		if (r < 0)
			return r;
		/* The caller bounds what one operation frees. */
		assert(++freed <= 2 * CFS_FS_FREE_BYTES / CFS_BLOCK_BYTES);
	}
}

int cfs_data_seek(const struct cfs_view *view, uint64_t ino,
		  uint64_t offset_bytes, bool data, uint64_t *ret_offset_bytes,
		  struct cfs_err *err)
{
	uint64_t block = offset_bytes / CFS_BLOCK_BYTES;
	uint8_t byte;
	size_t bytes;
	int r;

	fake_assert_held(view->container);
	assert(offset_bytes < CFS_FS_FILE_BYTES_MAX);
	if (data) {
		r = cfs_map_next(view, ino, CFS_MAP_EXTENT, &block, &byte, 1,
				 &bytes, err);
		if (r < 0)
			return r == -ENOENT ? -ENXIO : r;
	} else {
		while (fake_block(view, ino, block))
			block++;
	}
	*ret_offset_bytes = CFS_MAX(block * CFS_BLOCK_BYTES, offset_bytes);
	return 0;
}

int cfs_data_block_count(const struct cfs_view *view, uint64_t ino,
			 uint64_t *ret_count, struct cfs_err *err)
{
	uint64_t block, n = 0;
	uint8_t byte;
	size_t bytes;

	for (block = 0; cfs_map_next(view, ino, CFS_MAP_EXTENT, &block, &byte,
				     1, &bytes, err) == 0;
	     block++)
		n++;
	*ret_count = n;
	return 0;
}

/* ---------------------------------------------------------------- fixture */

/* What @branch holds now is seen by views with a stamp from here on. */
FAKE_UNUSED static void fake_snapshot(struct cfs_container *c, uint16_t branch)
{
	struct cfs_key at = { .w = { branch, 1, 0 } };
	struct fake_record *r;

	while ((r = fake_ge(c, &at)) && r->key.w[0] == branch) {
		struct cfs_key key = r->key;

		key.w[0] |= FAKE_SNAP;
		fake_insert(c, fake_record_new(c, &key, r->value, r->bytes));
		at = r->key;
		at.w[2]++;
	}
}

/* A tree with an empty root directory in FAKE_BRANCH. */
static struct cfs_fs *fake_fs_new(struct cfs_container *c)
{
	struct cfs_view view = { c, FAKE_BRANCH, CFS_STAMP_HEAD };
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_fs *fs = NULL;
	uint64_t ino = 0;
	int r;

	r = cfs_op_begin(c, CFS_OP_NORMAL, &err);
	assert(r == 0);
	r = cfs_fs_make_root(c, FAKE_BRANCH, 0755, 0, 0, 1000, &ino, &err);
	assert(r == 0);
	cfs_op_end(c);
	r = cfs_fs_open(&view, ino, 42, &fs, &err);
	assert(r == 0);
	(void)r;
	return fs;
}
