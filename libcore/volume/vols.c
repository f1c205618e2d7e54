/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The volume layer's side of a container's hooks: what is loaded when it is
 * opened, what a commit folds, what a sync gathers, what the log replays.
 */
#include "volume/vols.h"

#include "volume/vols_priv.h"

#include <stdlib.h>

static int load_branches(struct cfs_vols *v, struct cfs_err *err)
{
	struct cfs_key from = { { cfs_table_word(CFS_TABLE_BRANCH, 0), 0, 0 } };
	struct cfs_cursor cur;
	int r = cfs_cursor_ge(&cur, cfs_container_tree(v->c, CFS_TREE_TABLE),
			      &from, err);

	while (r == 0 && cur.key.w[0] >> 56 == CFS_TABLE_BRANCH) {
		r = cfs_branch_changed(v, &cur.key, cur.value, cur.value_bytes,
				       err);
		if (r == 0)
			r = cfs_cursor_next(&cur, err);
	}
	return r == -ENOENT ? 0 : r;
}

static int vols_opened(void *ctx, struct cfs_container *c, struct cfs_err *err)
{
	struct cfs_vols *v = ctx;

	v->c = c;
	/* A client is opened anew with each view. */
	cfs_branches_done(v);
	cfs_names_forget(v);
	cfs_name_index_opened(c);
	return load_branches(v, err);
}

static int vols_replay(void *ctx, const struct cfs_rec *rec,
		       struct cfs_err *err)
{
	struct cfs_vols *v = ctx;

	switch (rec->type) {
	case CFS_REC_META:
		return cfs_map_replay(v, rec, err);
	case CFS_REC_EXTENT:
		return cfs_data_replay_extent(v, rec, err);
	case CFS_REC_INLINE:
		return cfs_pages_replay(v, rec, err);
	case CFS_REC_PUNCH:
		return cfs_data_replay_punch(v, rec, err);
	default:
		return cfs_err_set(err, -EUCLEAN, "a record of unknown type");
	}
}

static int vols_check(void *ctx, const struct cfs_rec *rec,
		      const struct cfs_fold_rules *rules, struct cfs_err *err)
{
	return cfs_client_rec_check(ctx, rec, rules, err);
}

static void vols_fold_need(void *ctx, uint64_t *ret_blocks,
			   uint64_t *ret_records)
{
	const struct cfs_vols *v = ctx;

	*ret_blocks = *ret_records = v->page_count + v->folding_old;
}

static int vols_fold(void *ctx, uint64_t *budget, struct cfs_err *err)
{
	struct cfs_vols *v = ctx;
	int r = cfs_pages_fold(v, budget, err);

	/* A client's counters are dropped with its trees: the owner counts.
	 * (One that is being made is not attached yet.) */
	if (r == 0 && !(v->c && cfs_container_is_client(v->c)))
		r = cfs_branches_store(v, err);
	return r;
}

static int vols_fold_beside(void *ctx, struct cfs_err *err)
{
	return cfs_pages_fold_beside(ctx, err);
}

static void vols_folded(void *ctx)
{
	cfs_pages_folded(ctx);
}

static void vols_op_done(void *ctx)
{
	cfs_pages_op_done(ctx);
}

static int vols_gather(void *ctx, struct cfs_err *err)
{
	return cfs_pages_gather(ctx, err);
}

static void vols_gathered(void *ctx, bool is_durable)
{
	cfs_pages_gathered(ctx, is_durable);
}

static void vols_table_changed(void *ctx, const struct cfs_key *key,
			       const void *value, size_t value_bytes)
{
	struct cfs_vols *v = ctx;

	if (cfs_branch_changed(v, key, value, value_bytes, NULL) < 0)
		cfs_container_close_for_writing(v->c, "out of memory");
}

static void vols_table_changing(void *ctx, const struct cfs_key *key,
				const void *value, size_t value_bytes)
{
	cfs_name_index_changing(ctx, key, value, value_bytes);
}

const struct cfs_container_hooks cfs_vols_hooks = {
	.opened = vols_opened,
	.replay = vols_replay,
	.check = vols_check,
	.fold_need = vols_fold_need,
	.fold = vols_fold,
	.fold_beside = vols_fold_beside,
	.folded = vols_folded,
	.op_done = vols_op_done,
	.gather = vols_gather,
	.gathered = vols_gathered,
	.table_changed = vols_table_changed,
	.table_changing = vols_table_changing,
};

int cfs_vols_new(struct cfs_vols **ret, struct cfs_err *err)
{
	*ret = calloc(1, sizeof(**ret));
	if (!*ret)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	return 0;
}

void cfs_vols_attach(struct cfs_vols *v, struct cfs_container *c)
{
	v->c = c;
}

void cfs_vols_free(struct cfs_vols *v)
{
	if (!v)
		return;
	cfs_pages_done(v);
	cfs_branches_done(v);
	cfs_names_forget(v);
	free(v);
}

struct cfs_vols *cfs_vols_of(struct cfs_container *c)
{
	return cfs_container_hooks_ctx(c);
}
