/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Operations: changes that are atomic, and how they are undone.
 *
 * Every change of a tree within an operation first notes what stood there.
 * An abort puts it back, last change first.  Those puts go to nodes that are
 * dirty in memory already, so they fail for want of memory only; then the
 * container is closed for writing, which loses nothing that was acknowledged.
 */
#include "tree/container_priv.h"

#include "base/cleanup.h"
#include "tree/container_client_priv.h"
#include "tree/container_grave.h"
#include "tree/container_gradual.h"
#include "tree/lend_priv.h"

#include <assert.h>
#include <stdlib.h>

void cfs_container_lock(struct cfs_container *c)
{
	pthread_mutex_lock(&c->lock);
	cfs_container_drain_locked(c);
	/* A failure is told to whoever changes something next. */
	(void)cfs_gradual_end(c, NULL);
}

void cfs_container_lock_to_read(struct cfs_container *c)
{
	pthread_mutex_lock(&c->lock);
	cfs_container_drain_locked(c);
}

void cfs_container_lock_beside(struct cfs_container *c)
{
	pthread_mutex_lock(&c->lock);
}

void cfs_container_unlock(struct cfs_container *c)
{
	pthread_mutex_unlock(&c->lock);
}

static bool is_frozen_by_other(const struct cfs_container *c)
{
	return c->is_frozen && !pthread_equal(c->frozen_by, pthread_self());
}

void cfs_container_lock_to_change(struct cfs_container *c)
{
	pthread_mutex_lock(&c->lock);
	while (is_frozen_by_other(c))
		pthread_cond_wait(&c->thawed, &c->lock);
	cfs_container_drain_locked(c);
	(void)cfs_gradual_end(c, NULL);
}

/* With the lock, beside data that is on its way; but whoever waits for that to
 * land goes first. */
static void lock_to_change_beside(struct cfs_container *c)
{
	pthread_mutex_lock(&c->lock);
	while (is_frozen_by_other(c) || c->draining)
		pthread_cond_wait(c->draining ? &c->landed : &c->thawed,
				  &c->lock);
}

int cfs_container_freeze(struct cfs_container *c, struct cfs_err *err)
{
	int r = 0;

	cfs_container_lock_to_change(c);
	if (!c->is_readonly)
		r = cfs_container_commit_locked(c, err);
	assert(!c->is_frozen);
	c->is_frozen = true;
	c->frozen_by = pthread_self();
	pthread_mutex_unlock(&c->lock);
	return r;
}

void cfs_container_thaw(struct cfs_container *c)
{
	pthread_mutex_lock(&c->lock);
	c->is_frozen = false;
	pthread_cond_broadcast(&c->thawed);
	pthread_mutex_unlock(&c->lock);
}

uint64_t cfs_container_id(const struct cfs_container *c)
{
	return c->id;
}

const uint8_t *cfs_container_uuid(const struct cfs_container *c)
{
	return c->uuid;
}

bool cfs_container_is_writable(const struct cfs_container *c)
{
	return !c->is_readonly;
}

uint64_t cfs_container_stamp(const struct cfs_container *c)
{
	return c->stamp;
}

uint64_t cfs_container_root_seq(const struct cfs_container *c)
{
	return __atomic_load_n(&c->root_seq, __ATOMIC_ACQUIRE);
}

struct cfs_tree *cfs_container_tree(struct cfs_container *c,
				    unsigned int tree_id)
{
	return c->trees[tree_id - 1];
}

struct cfs_blocks *cfs_container_blocks(struct cfs_container *c)
{
	return c->blocks;
}

struct cfs_metavolume *cfs_container_metavolume(struct cfs_container *c)
{
	return c->mv;
}

void *cfs_container_hooks_ctx(const struct cfs_container *c)
{
	return c->hooks_ctx;
}

/* Over an overlay it would only hide the damage from whoever looks for it; and
 * on a shared pool a late repair may come when the place has another life. */
bool cfs_container_heals(const struct cfs_container *c)
{
	return !c->is_readonly && !c->client && !c->fence &&
	       !cfs_devset_is_overlay(cfs_metavolume_devset(c->mv));
}

bool cfs_container_is_folding(const struct cfs_container *c)
{
	return c->is_committing || c->is_replaying;
}

void cfs_container_poison(struct cfs_container *c, const struct cfs_err *err)
{
	if (c->is_readonly)
		return;
	c->is_readonly = true;
	c->why_readonly = *err;
}

void cfs_container_close_for_writing(struct cfs_container *c, const char *why)
{
	struct cfs_err err;

	cfs_err_set(&err, -EROFS, "%s", why);
	cfs_container_poison(c, &err);
}

/* -EROFS, or what closed it. */
static int refuse(const struct cfs_container *c, struct cfs_err *err)
{
	if (c->why_readonly.code)
		return cfs_err_set(err, -EROFS, "closed for writing: %s",
				   c->why_readonly.msg);
	return cfs_err_set(err, -EROFS, "opened to read only");
}

/* Who syncs commits what does not fit a frame, so nothing waits for longer. */
static bool has_much_pending(const struct cfs_container *c)
{
	size_t nodes = 0;

	if (c->pending.bytes <= CFS_PENDING_BYTES_MAX)
		return false;
	if (c->client || c->pending.bytes > CFS_PENDING_BYTES_FEW)
		return true;
	for (unsigned int i = 0; i < CFS_TREE_COUNT; i++)
		if (c->trees[i])
			nodes += cfs_tree_dirty_count(c->trees[i]);
	return nodes > CFS_DIRTY_NODES_FEW;
}

/* Much is pending, or in memory only, or the log has little room left. */
static bool wants_commit(struct cfs_container *c)
{
	uint64_t blocks = 0, records = 0;

	if (c->hooks)
		c->hooks->fold_need(c->hooks_ctx, &blocks, &records);
	/* What is not committed is copied by who takes over: in a full pool
	 * there is little room for that. */
	if (c->fence && c->source && c->source->copy_blocks &&
	    c->direct_blocks + blocks > c->source->copy_blocks(c->source_ctx))
		return true;
	return (c->client && cfs_client_wants_fold(c)) || has_much_pending(c) ||
	       blocks >= CFS_DIRTY_BLOCKS_MAX ||
	       !cfs_log_fits(c->log, 1, CFS_LOG_OP_RESERVE);
}

/* Records and nodes of any operation without data. */
#define OP_BLOCKS       32u
/* And with as much data as most have. */
#define OP_BLOCKS_USUAL 320u

/* Room for @blocks; two commits bring back what was freed. */
static int make_room(struct cfs_container *c, uint64_t blocks,
		     enum cfs_op_kind kind, struct cfs_err *err)
{
	int r = cfs_space_ensure(c, blocks, kind, err);

	/* With clients, one more: their views name what was freed. */
	for (int i = 0;
	     r == -ENOSPC && c->held_blocks && i < (c->lender ? 3 : 2); i++) {
		c->forces_commit = true;
		cfs_lend_forget_views(c, true);
		r = cfs_container_commit_locked(c, err);
		cfs_lend_forget_views(c, false);
		if (r == 0)
			r = cfs_space_ensure(c, blocks, kind, err);
	}
	return r;
}

void cfs_op_start_locked(struct cfs_container *c)
{
	assert(!c->in_op);
	c->in_op = true;
	c->op_pending_bytes = c->pending.bytes;
	c->op_pending_count = c->pending_count;
}

/* With the lock, which is given back if it fails. */
static int op_begin(struct cfs_container *c, enum cfs_op_kind kind,
		    uint64_t blocks, bool is_of_pages, struct cfs_err *err)
{
	int r = 0;

	if (!is_of_pages)
		cfs_gradual_disturb(c);
	if (c->is_readonly)
		r = refuse(c, err);
	if (r == 0 && !is_of_pages)
		r = cfs_gradual_end(c, err);
	if (r == 0 && wants_commit(c))
		r = cfs_container_commit_locked(c, err);
	if (r == 0 && c->client)
		r = cfs_client_make_room(c, kind == CFS_OP_NORMAL ? blocks : 0,
					 err);
	else if (r == 0)
		r = make_room(c, CFS_MAX(blocks, OP_BLOCKS), kind, err);
	/* Less will do to begin; data promises for itself, and so do parts of
	 * blocks. */
	if (r == -ENOSPC && kind == CFS_OP_ZEROING)
		r = cfs_space_ensure(c, OP_BLOCKS, CFS_OP_FREEING, err);
	else if (r == -ENOSPC && blocks > OP_BLOCKS)
		r = cfs_space_ensure(c, OP_BLOCKS, kind, err);
	if (r < 0) {
		pthread_mutex_unlock(&c->lock);
		return r;
	}
	cfs_op_start_locked(c);
	return 0;
}

int cfs_op_begin_for(struct cfs_container *c, enum cfs_op_kind kind,
		     uint64_t blocks, struct cfs_err *err)
{
	cfs_container_lock_to_change(c);
	return op_begin(c, kind, blocks, false, err);
}

int cfs_op_begin_beside(struct cfs_container *c, uint64_t blocks,
			struct cfs_err *err)
{
	lock_to_change_beside(c);
	return op_begin(c, CFS_OP_NORMAL, blocks, false, err);
}

int cfs_op_begin_pages(struct cfs_container *c, uint64_t blocks,
		       struct cfs_err *err)
{
	lock_to_change_beside(c);
	return op_begin(c, CFS_OP_NORMAL, blocks, true, err);
}

int cfs_op_begin_landing(struct cfs_container *c, struct cfs_err *err)
{
	pthread_mutex_lock(&c->lock);
	if (c->is_readonly) {
		int r = refuse(c, err);

		pthread_mutex_unlock(&c->lock);
		return r;
	}
	/* Nothing departs beside a gradual commit, which waits for all. */
	assert(!c->gradual.is_on);
	cfs_op_start_locked(c);
	return 0;
}

int cfs_op_begin(struct cfs_container *c, enum cfs_op_kind kind,
		 struct cfs_err *err)
{
	return cfs_op_begin_for(
		c, kind, kind == CFS_OP_NORMAL ? OP_BLOCKS_USUAL : OP_BLOCKS,
		err);
}

bool cfs_container_in_op(const struct cfs_container *c)
{
	return c->in_op;
}

static void op_finish(struct cfs_container *c)
{
	if (c->hooks && c->hooks->op_done)
		c->hooks->op_done(c->hooks_ctx);
	c->in_op = false;
	c->change_count++;
	c->undo_count = 0;
	c->undo_values.bytes = 0;
}

static void op_done(struct cfs_container *c)
{
	op_finish(c);
	pthread_mutex_unlock(&c->lock);
}

void cfs_op_end(struct cfs_container *c)
{
	assert(c->in_op);
	op_done(c);
}

int cfs_op_end_commit(struct cfs_container *c, struct cfs_err *err)
{
	assert(c->in_op);
	op_finish(c);
	c->forces_commit = true;
	return cfs_container_commit_locked(c, err);
}

int cfs_container_table_changed(struct cfs_container *c,
				const struct cfs_key *key, const void *value,
				size_t value_bytes, struct cfs_err *err)
{
	int r = cfs_space_bad_changed(c, key, value != NULL, err);

	if (r == 0 && c->hooks)
		c->hooks->table_changed(c->hooks_ctx, key, value, value_bytes);
	return r;
}

void cfs_container_table_changing(struct cfs_container *c,
				  const struct cfs_key *key, const void *value,
				  size_t value_bytes)
{
	if (c->hooks && c->hooks->table_changing)
		c->hooks->table_changing(c->hooks_ctx, key, value, value_bytes);
}

bool cfs_container_names_are_whole(const struct cfs_container *c)
{
	return c->names_are_whole;
}

void cfs_container_set_names_whole(struct cfs_container *c, bool is_whole)
{
	c->names_are_whole = is_whole;
}

static int undo_tree(struct cfs_container *c, const struct undo_entry *u)
{
	struct cfs_tree *tree = c->trees[u->tree_id - 1];
	const uint8_t *value = NULL;
	struct cfs_err err = CFS_ERR_INIT;
	int r;

	if (u->was_there) {
		value = c->undo_values.data + u->value_at;
		r = cfs_tree_put(tree, &u->key, value, u->value_bytes, NULL,
				 &err);
	} else {
		r = cfs_tree_del(tree, &u->key, &err);
	}
	if (r == 0 && u->tree_id == CFS_TREE_TABLE)
		r = cfs_container_table_changed(c, &u->key, value,
						u->value_bytes, &err);
	if (r < 0)
		cfs_container_poison(c, &err);
	return r;
}

static void undo_held(struct cfs_container *c, const struct undo_entry *u)
{
	struct held_group *h;
	uint64_t n = 0;

	HASH_FIND(hh, c->held, &u->held_key, sizeof(u->held_key), h);
	if (!h)
		return;
	for (unsigned int i = 0; i < 2; i++) {
		n += (uint64_t)__builtin_popcountll(h->now[i] &
						    u->held_mask[i]);
		h->now[i] &= ~u->held_mask[i];
	}
	c->held_blocks -= n;
	if (c->slices[cfs_vaddr_lslice(u->held_key)].is_fresh)
		c->held_fresh -= n;
}

void cfs_op_abort(struct cfs_container *c)
{
	assert(c->in_op);
	while (c->undo_count > 0) {
		const struct undo_entry *u = &c->undo[--c->undo_count];

		if (u->kind == UNDO_TREE) {
			if (undo_tree(c, u) < 0)
				break;
		} else if (u->kind == UNDO_HELD) {
			undo_held(c, u);
		} else {
			u->call(u->call_arg, u->call_value);
		}
	}
	c->bad_is_stale = true;
	c->pending.bytes = c->op_pending_bytes;
	c->pending_count = c->op_pending_count;
	op_done(c);
}

static int undo_reserve(struct cfs_container *c, struct cfs_err *err)
{
	const size_t room = c->undo_room ? 2 * c->undo_room : 64;
	struct undo_entry *list;

	if (c->undo_count < c->undo_room)
		return 0;
	list = realloc(c->undo, room * sizeof(*list));
	if (!list)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	c->undo = list;
	c->undo_room = room;
	return 0;
}

int cfs_container_undo_push(struct cfs_container *c, const struct undo_entry *e,
			    struct cfs_err *err)
{
	int r;

	if (!c->in_op)
		return 0;
	r = undo_reserve(c, err);
	if (r == 0)
		c->undo[c->undo_count++] = *e;
	return r;
}

int cfs_op_on_abort(struct cfs_container *c, cfs_op_undo_fn fn, void *arg,
		    uint64_t value, struct cfs_err *err)
{
	const struct undo_entry e = {
		.kind = UNDO_CALL,
		.call = fn,
		.call_arg = arg,
		.call_value = value,
	};

	return cfs_container_undo_push(c, &e, err);
}

/* Note what stands at @key, for an abort. */
static int note_old(struct cfs_container *c, unsigned int tree_id,
		    const struct cfs_key *key, struct cfs_err *err)
{
	uint8_t old[CFS_VALUE_BYTES_MAX];
	struct undo_entry e = {
		.kind = UNDO_TREE,
		.tree_id = (uint8_t)tree_id,
		.key = *key,
		.value_at = c->undo_values.bytes,
	};
	size_t bytes = 0;
	int r;

	if (!c->in_op)
		return 0;
	r = cfs_tree_get(c->trees[tree_id - 1], key, old, sizeof(old), &bytes,
			 err);
	if (r < 0 && r != -ENOENT)
		return r;
	if (r == 0) {
		e.was_there = true;
		e.value_bytes = (uint32_t)bytes;
		if (cfs_buf_append(&c->undo_values, old, bytes) < 0)
			return cfs_err_set(err, -ENOMEM, "out of memory");
	}
	return cfs_container_undo_push(c, &e, err);
}

/* As note_old, by the one look that the tree takes anyway. */
static int put_noted(struct cfs_container *c, unsigned int tree_id,
		     const struct cfs_key *key, const void *value,
		     size_t value_bytes, struct cfs_err *err)
{
	struct cfs_buf *values = &c->undo_values;
	size_t old_bytes;
	int r = undo_reserve(c, err);

	if (r == 0 && cfs_buf_reserve(values, CFS_VALUE_BYTES_MAX) < 0)
		r = cfs_err_set(err, -ENOMEM, "out of memory");
	if (r == 0)
		r = cfs_tree_swap(c->trees[tree_id - 1], key, value,
				  value_bytes, values->data + values->bytes,
				  &old_bytes, err);
	if (r < 0)
		return r;
	c->undo[c->undo_count++] = (struct undo_entry){
		.kind = UNDO_TREE,
		.tree_id = (uint8_t)tree_id,
		.key = *key,
		.value_at = values->bytes,
		.was_there = old_bytes != SIZE_MAX,
		.value_bytes = old_bytes != SIZE_MAX ? (uint32_t)old_bytes : 0,
	};
	if (old_bytes != SIZE_MAX)
		values->bytes += old_bytes;
	return 0;
}

int cfs_container_tree_put(struct cfs_container *c, unsigned int tree_id,
			   const struct cfs_key *key, const void *value,
			   size_t value_bytes, struct cfs_err *err)
{
	assert(!c->gradual.is_on || c->is_committing);
	return c->in_op ? put_noted(c, tree_id, key, value, value_bytes, err)
			: cfs_tree_put(c->trees[tree_id - 1], key, value,
				       value_bytes, NULL, err);
}

int cfs_container_tree_del(struct cfs_container *c, unsigned int tree_id,
			   const struct cfs_key *key, struct cfs_err *err)
{
	int r = note_old(c, tree_id, key, err);

	assert(!c->gradual.is_on || c->is_committing);
	if (r == 0)
		r = cfs_tree_del(c->trees[tree_id - 1], key, err);
	return r;
}

int cfs_container_tree_set(struct cfs_container *c, unsigned int tree_id,
			   const struct cfs_key *key, const void *value,
			   size_t value_bytes, struct cfs_err *err)
{
	return cfs_container_tree_put(c, tree_id, key, value, value_bytes, err);
}

int cfs_container_tree_remove(struct cfs_container *c, unsigned int tree_id,
			      const struct cfs_key *key, struct cfs_err *err)
{
	return cfs_container_tree_del(c, tree_id, key, err);
}

int cfs_container_put(struct cfs_container *c, const struct cfs_key *key,
		      const void *value, size_t value_bytes,
		      struct cfs_err *err)
{
	const struct cfs_rec rec = {
		.type = CFS_REC_SET,
		.tree_id = CFS_TREE_TABLE,
		.key = { key->w[0], key->w[1], key->w[2] },
		.value = value,
		.value_bytes = (uint32_t)value_bytes,
	};
	int r;

	cfs_container_table_changing(c, key, value, value_bytes);
	r = cfs_container_tree_put(c, CFS_TREE_TABLE, key, value, value_bytes,
				   err);
	if (r == 0)
		r = cfs_container_log(c, &rec, NULL, err);
	if (r == 0)
		r = cfs_container_table_changed(c, key, value, value_bytes,
						err);
	return r;
}

int cfs_container_del(struct cfs_container *c, const struct cfs_key *key,
		      struct cfs_err *err)
{
	const struct cfs_rec rec = {
		.type = CFS_REC_DEL,
		.tree_id = CFS_TREE_TABLE,
		.key = { key->w[0], key->w[1], key->w[2] },
	};
	int r;

	cfs_container_table_changing(c, key, NULL, 0);
	r = cfs_container_tree_del(c, CFS_TREE_TABLE, key, err);
	if (r == 0)
		r = cfs_container_log(c, &rec, NULL, err);
	if (r == 0)
		r = cfs_container_table_changed(c, key, NULL, 0, err);
	return r;
}

int cfs_container_ready(struct cfs_container *c, struct cfs_err *err)
{
	int r = 0;

	if (c->is_readonly)
		return refuse(c, err);
	r = cfs_gradual_end(c, err);
	if (r == 0 && wants_commit(c))
		r = cfs_container_commit_locked(c, err);
	return r < 0 ? r : cfs_space_ensure(c, 16, CFS_OP_FREEING, err);
}

bool cfs_container_is_idle(struct cfs_container *c)
{
	bool is_idle;

	if (pthread_mutex_trylock(&c->lock) != 0)
		return false;
	is_idle = atomic_load(&c->flight_count) == 0 && !c->is_syncing;
	pthread_mutex_unlock(&c->lock);
	return is_idle;
}

int cfs_container_commit_idle(struct cfs_container *c, struct cfs_err *err)
{
	int r = 0;

	cfs_container_lock(c);
	if (c->is_readonly)
		r = refuse(c, err);
	/* Each commit frees nodes of its own; those are few and stay held.
	 * No loan is kept, so that empty slices are seen to be empty. */
	c->is_sealing = true;
	for (int i = 0; i < 3 && r == 0; i++) {
		c->forces_commit = true;
		r = cfs_container_commit_locked(c, err);
	}
	c->is_sealing = false;
	pthread_mutex_unlock(&c->lock);
	return r;
}

int cfs_container_put_now(struct cfs_container *c,
			  const struct cfs_table_change *changes, size_t count,
			  struct cfs_err *err)
{
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf records = CFS_BUF_INIT;
	int r = 0;

	if (c->is_readonly)
		return refuse(c, err);
	if (!c->in_op && !c->is_committing)
		r = cfs_gradual_end(c, err);
	assert(!c->gradual.is_on || c->is_committing);
	if (r == 0 && !c->in_op && !c->is_committing && wants_commit(c))
		r = cfs_container_commit_locked(c, err);
	for (size_t i = 0; i < count && r == 0; i++) {
		const struct cfs_table_change *t = &changes[i];
		const struct cfs_rec rec = {
			.type = t->value ? CFS_REC_SET : CFS_REC_DEL,
			.tree_id = CFS_TREE_TABLE,
			.key = { t->key.w[0], t->key.w[1], t->key.w[2] },
			.value = t->value,
			.value_bytes = (uint32_t)t->value_bytes,
		};

		r = cfs_rec_append(&records, &rec, NULL, 0, err);
		if (r == 0 && t->value)
			r = cfs_tree_put(c->trees[CFS_TREE_TABLE - 1], &t->key,
					 t->value, t->value_bytes, NULL, err);
		else if (r == 0)
			r = cfs_tree_del(c->trees[CFS_TREE_TABLE - 1], &t->key,
					 err);
		if (r == 0)
			r = cfs_container_table_changed(c, &t->key, t->value,
							t->value_bytes, err);
	}
	if (r == 0)
		r = cfs_container_append_frame(c, &records, (uint32_t)count,
					       err);
	/* Before what it lends, or frees, is used or passed on. */
	if (r == 0)
		r = cfs_grave_look(c, 0, err);
	if (r < 0 && err)
		cfs_container_poison(c, err);
	return r;
}

int cfs_container_get(struct cfs_container *c, const struct cfs_key *key,
		      void *buf, size_t buf_bytes, size_t *ret_bytes,
		      struct cfs_err *err)
{
	return cfs_tree_get(c->trees[CFS_TREE_TABLE - 1], key, buf, buf_bytes,
			    ret_bytes, err);
}

/*
 * Numbers are promised in the root a thousand at a time; after a crash those
 * that were promised and not used are skipped for good.  Where more were
 * handed out, they are in data records of the log, which count as well.
 */
int cfs_container_new_ino(struct cfs_container *c, uint64_t *ret,
			  struct cfs_err *err)
{
	if (c->client)
		return cfs_client_new_ino(c, ret, err);
	if (c->next_ino > CFS_INO_MAX)
		return cfs_err_set(err, -ENOSPC, "no inode numbers left");
	*ret = c->next_ino++;
	return 0;
}

int cfs_container_raise_ino(struct cfs_container *c, uint64_t ino,
			    struct cfs_err *err)
{
	assert(!c->client);
	if (ino >= CFS_INO_MAX)
		return cfs_err_set(err, -ENOSPC, "no inode numbers left");
	/* An abort may leave it raised: numbers need only rise. */
	if (ino >= c->next_ino)
		c->next_ino = ino + 1;
	return 0;
}

int cfs_container_raise_stamp(struct cfs_container *c, struct cfs_err *err)
{
	const struct cfs_rec rec = {
		.type = CFS_REC_STAMP,
		.stamp = c->stamp + 1,
	};
	int r;

	if (c->client && c->stamp + 2 >= c->client->stamp_end)
		return cfs_err_set(err, -EAGAIN, "no stamps left in the view");
	if (c->stamp >= CFS_STAMP_MAX)
		return cfs_err_set(err, -ENOSPC, "no stamps left");
	r = cfs_container_log(c, &rec, NULL, err);
	/* An abort may leave it raised: stamps need only rise. */
	if (r == 0)
		c->stamp++;
	return r;
}
