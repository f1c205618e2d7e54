/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Loans, views and folds as bytes of messages.  Each has a head with counts and
 * then as many items; what is read may come from anybody.
 */
#include "tree/container_client.h"

#include "base/xxh.h"

#include <stdlib.h>

static int bad(struct cfs_err *err, const char *what)
{
	return cfs_err_set(err, -EUCLEAN, "message: %s makes no sense", what);
}

static int no_memory(struct cfs_err *err)
{
	return cfs_err_set(err, -ENOMEM, "out of memory");
}

/* Exactly a head and @count items follow each other in @bytes. */
static bool fits(size_t bytes, size_t head_bytes, uint64_t count,
		 size_t item_bytes)
{
	return bytes >= head_bytes &&
	       count <= (bytes - head_bytes) / item_bytes &&
	       bytes == head_bytes + count * item_bytes;
}

/* ---- loans --------------------------------------------------------------- */

struct loan_disk {
	le64 key;
	le64 number;
	le64 allowed[2];
	le32 was_used;
	struct cfs_piece_disk pieces[CFS_PIECES_MAX];
};
CFS_ASSERT_SIZE(struct loan_disk, 72);

int cfs_loans_pack(const struct cfs_loans *loans, struct cfs_buf *buf)
{
	for (size_t i = 0; i < loans->count; i++) {
		const struct cfs_loan *loan = &loans->items[i];
		struct loan_disk d = {
			.key = le64_put(loan->key),
			.number = le64_put(loan->number),
			.allowed = { le64_put(loan->allowed[0]),
				     le64_put(loan->allowed[1]) },
			.was_used = le32_put(loan->was_used),
		};

		for (unsigned int p = 0; p < CFS_PIECES_MAX; p++)
			cfs_piece_pack(&loan->pieces[p], &d.pieces[p]);
		if (cfs_buf_append(buf, &d, sizeof(d)) < 0)
			return -ENOMEM;
	}
	return 0;
}

int cfs_loans_unpack(const void *data, size_t bytes, struct cfs_loans *ret,
		     struct cfs_err *err)
{
	const size_t count = bytes / sizeof(struct loan_disk);
	struct cfs_loan *items;

	if (count == 0 || count > CFS_LOANS_MAX ||
	    bytes % sizeof(struct loan_disk))
		return bad(err, "answer with loans");
	items = calloc(count, sizeof(*items));
	if (!items)
		return no_memory(err);
	for (size_t i = 0; i < count; i++) {
		struct cfs_loan *loan = &items[i];
		struct loan_disk d;

		memcpy(&d, (const uint8_t *)data + i * sizeof(d), sizeof(d));
		loan->key = le64_get(d.key);
		loan->number = le64_get(d.number);
		loan->allowed[0] = le64_get(d.allowed[0]);
		loan->allowed[1] = le64_get(d.allowed[1]);
		loan->was_used = le32_get(d.was_used) != 0;
		for (unsigned int p = 0; p < CFS_PIECES_MAX; p++)
			cfs_piece_unpack(&d.pieces[p], &loan->pieces[p]);
		/* Bits behind the last tag are no blocks. */
		if (loan->allowed[1] >> (CFS_TAGS_PER_PAGE - 64) ||
		    cfs_vaddr_lslice(loan->key) > CFS_LSLICE_MAX) {
			free(items);
			return bad(err, "loan");
		}
	}
	ret->items = items;
	ret->count = ret->room = count;
	return 0;
}

/* ---- view ---------------------------------------------------------------- */

struct view_disk {
	le64 container_id;
	uint8_t uuid[16];
	le32 epoch;
	le32 has_map;
	le64 root_seq;
	le64 stamp, stamp_end;
	struct cfs_tree_root_disk trees[CFS_CLIENT_TREES];
	le64 total_blocks, used_blocks, left_blocks;
	le64 map_change;
	le32 smap_count;
	le32 loan_count;
};
CFS_ASSERT_SIZE(struct view_disk, 8 + 16 + 8 + 24 + 192 + 32 + 8);

int cfs_client_view_pack(const struct cfs_client_view *view,
			 struct cfs_buf *buf)
{
	struct view_disk d;
	uint32_t count = view->has_map ? view->smap_count : 0;

	memset(&d, 0, sizeof(d));
	d.container_id = le64_put(view->container_id);
	memcpy(d.uuid, view->uuid, sizeof(d.uuid));
	d.epoch = le32_put(view->epoch);
	d.has_map = le32_put(view->has_map);
	d.root_seq = le64_put(view->root_seq);
	d.stamp = le64_put(view->stamp);
	d.stamp_end = le64_put(view->stamp_end);
	for (unsigned int i = 0; i < CFS_CLIENT_TREES; i++) {
		const struct cfs_tree_root *t = &view->trees[i];

		cfs_node_ref_pack(&t->ref, &d.trees[i].ref);
		d.trees[i].level = le32_put(t->level);
		d.trees[i].next_node = le64_put(t->next_node);
		d.trees[i].record_count = le64_put(t->record_count);
		d.trees[i].node_count = le64_put(t->node_count);
	}
	d.total_blocks = le64_put(view->total_blocks);
	d.used_blocks = le64_put(view->used_blocks);
	d.left_blocks = le64_put(view->left_blocks);
	d.map_change = le64_put(view->map_change);
	d.smap_count = le32_put(count);
	d.loan_count = le32_put((uint32_t)view->loans.count);
	if (cfs_buf_append(buf, &d, sizeof(d)) < 0)
		return -ENOMEM;
	for (uint32_t i = 0; i < count; i++) {
		struct cfs_smap_entry_disk e;

		e.lslice = le32_put((uint32_t)view->smap[i].lslice);
		for (unsigned int p = 0; p < CFS_PIECES_MAX; p++)
			cfs_piece_pack(&view->smap[i].pieces[p], &e.pieces[p]);
		if (cfs_buf_append(buf, &e, sizeof(e)) < 0)
			return -ENOMEM;
	}
	return cfs_loans_pack(&view->loans, buf);
}

static int smap_unpack(const uint8_t *data, struct cfs_client_view *view,
		       struct cfs_err *err)
{
	view->smap = calloc((size_t)view->smap_count + 1, sizeof(*view->smap));
	if (!view->smap)
		return no_memory(err);
	for (uint32_t i = 0; i < view->smap_count; i++) {
		struct cfs_smap_entry *e = &view->smap[i];
		struct cfs_smap_entry_disk d;

		memcpy(&d, data + i * sizeof(d), sizeof(d));
		e->lslice = le32_get(d.lslice);
		for (unsigned int p = 0; p < CFS_PIECES_MAX; p++)
			cfs_piece_unpack(&d.pieces[p], &e->pieces[p]);
		/* The client looks slices up in it. */
		if (e->lslice > CFS_LSLICE_MAX ||
		    (i > 0 && e->lslice <= view->smap[i - 1].lslice))
			return bad(err, "slice map");
	}
	return 0;
}

int cfs_client_view_unpack(const void *data, size_t bytes,
			   struct cfs_client_view *ret, struct cfs_err *err)
{
	struct cfs_client_view view = { .smap = NULL };
	const uint8_t *at = (const uint8_t *)data + sizeof(struct view_disk);
	struct view_disk d;
	uint32_t has_map, loan_count;
	size_t smap_bytes;
	int r;

	if (bytes < sizeof(d))
		return bad(err, "view");
	memcpy(&d, data, sizeof(d));
	view.container_id = le64_get(d.container_id);
	memcpy(view.uuid, d.uuid, sizeof(d.uuid));
	view.epoch = le32_get(d.epoch);
	has_map = le32_get(d.has_map);
	view.has_map = has_map == 1;
	view.root_seq = le64_get(d.root_seq);
	view.stamp = le64_get(d.stamp);
	view.stamp_end = le64_get(d.stamp_end);
	for (unsigned int i = 0; i < CFS_CLIENT_TREES; i++) {
		struct cfs_tree_root *t = &view.trees[i];

		cfs_node_ref_unpack(&d.trees[i].ref, &t->ref);
		t->level = le32_get(d.trees[i].level);
		t->next_node = le64_get(d.trees[i].next_node);
		t->record_count = le64_get(d.trees[i].record_count);
		t->node_count = le64_get(d.trees[i].node_count);
	}
	view.total_blocks = le64_get(d.total_blocks);
	view.used_blocks = le64_get(d.used_blocks);
	view.left_blocks = le64_get(d.left_blocks);
	view.map_change = le64_get(d.map_change);
	view.smap_count = le32_get(d.smap_count);
	loan_count = le32_get(d.loan_count);
	if (has_map > 1 || (!has_map && view.smap_count) ||
	    view.smap_count > CFS_VIEW_SLICES_MAX || loan_count > CFS_LOANS_MAX)
		return bad(err, "view");
	smap_bytes = view.smap_count * sizeof(struct cfs_smap_entry_disk);
	if (!fits(bytes, sizeof(d) + smap_bytes, loan_count,
		  sizeof(struct loan_disk)))
		return bad(err, "view");
	r = smap_unpack(at, &view, err);
	if (r == 0 && loan_count)
		r = cfs_loans_unpack(at + smap_bytes,
				     loan_count * sizeof(struct loan_disk),
				     &view.loans, err);
	if (r < 0) {
		cfs_client_view_donep(&view);
		return r;
	}
	*ret = view;
	return 0;
}

/* ---- fold ---------------------------------------------------------------- */

/*
 * Behind the head: records and keys, or, if place_count is not 0, that many
 * places.
 */
struct fold_disk {
	le64 seq;
	le64 map_change;
	le64 log_seq;
	le64 log_chain;
	le32 log_extent;
	le32 log_block;
	le32 record_count;
	le32 record_bytes;
	le32 return_count;
	le32 holds;
	le32 want_groups;
	le32 place_count;
	uint8_t csum[16];
};
CFS_ASSERT_SIZE(struct fold_disk, 80);

struct place_disk {
	le64 vaddr;
	le32 count;
	le32 reserved;
};
CFS_ASSERT_SIZE(struct place_disk, 16);

void cfs_fold_donep(struct cfs_fold *fold)
{
	free(fold->owned);
	fold->owned = NULL;
}

/* Records, then keys. */
static int content_pack(const struct cfs_fold *fold, struct cfs_buf *buf)
{
	if (cfs_buf_append(buf, fold->records, fold->record_bytes) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < fold->return_count; i++) {
		le64 key = le64_put(fold->returns[i]);

		if (cfs_buf_append(buf, &key, sizeof(key)) < 0)
			return -ENOMEM;
	}
	return 0;
}

int cfs_fold_detach(struct cfs_fold *fold, struct cfs_buf *buf)
{
	const size_t before = buf->bytes;

	if (content_pack(fold, buf) < 0)
		return -ENOMEM;
	cfs_xxh3_128(buf->data + before, buf->bytes - before, fold->csum);
	return 0;
}

static int places_pack(const struct cfs_fold *fold, struct cfs_buf *buf)
{
	for (size_t i = 0; i < fold->place_count; i++) {
		const struct place_disk d = {
			.vaddr = le64_put(fold->places[i].vaddr),
			.count = le32_put(fold->places[i].count),
		};

		if (cfs_buf_append(buf, &d, sizeof(d)) < 0)
			return -ENOMEM;
	}
	return 0;
}

int cfs_fold_pack(const struct cfs_fold *fold, struct cfs_buf *buf)
{
	struct fold_disk d = {
		.seq = le64_put(fold->seq),
		.map_change = le64_put(fold->map_change),
		.log_seq = le64_put(fold->log.seq),
		.log_chain = le64_put(fold->log.chain),
		.log_extent = le32_put(fold->log.extent),
		.log_block = le32_put(fold->log.block),
		.record_count = le32_put(fold->record_count),
		.record_bytes = le32_put((uint32_t)fold->record_bytes),
		.return_count = le32_put((uint32_t)fold->return_count),
		.holds = le32_put(fold->holds),
		.want_groups = le32_put(fold->want_groups),
		.place_count = le32_put((uint32_t)fold->place_count),
	};

	if (fold->place_count)
		memcpy(d.csum, fold->csum, sizeof(d.csum));
	if (cfs_buf_append(buf, &d, sizeof(d)) < 0)
		return -ENOMEM;
	return fold->place_count ? places_pack(fold, buf)
				 : content_pack(fold, buf);
}

int cfs_fold_attach(struct cfs_fold *fold, const void *data,
		    struct cfs_err *err)
{
	uint64_t *returns = calloc(fold->return_count + 1, sizeof(*returns));
	const uint8_t *at = (const uint8_t *)data + fold->record_bytes;

	if (!returns)
		return no_memory(err);
	for (size_t i = 0; i < fold->return_count; i++) {
		le64 key;

		memcpy(&key, at + i * sizeof(key), sizeof(key));
		returns[i] = le64_get(key);
	}
	free(fold->owned);
	fold->owned = returns;
	fold->returns = returns;
	fold->records = data;
	return 0;
}

/* They are as many as the content needs, and not more. */
static int places_unpack(struct cfs_fold *fold, const uint8_t *data,
			 struct cfs_err *err)
{
	struct cfs_fold_place *places = calloc(fold->place_count,
					       sizeof(*places));
	uint64_t blocks = 0;
	bool is_bad = false;

	if (!places)
		return no_memory(err);
	for (size_t i = 0; i < fold->place_count; i++) {
		struct place_disk d;

		memcpy(&d, data + i * sizeof(d), sizeof(d));
		places[i].vaddr = le64_get(d.vaddr);
		places[i].count = le32_get(d.count);
		blocks += places[i].count;
		is_bad |= places[i].count == 0 || le32_get(d.reserved);
	}
	if (is_bad ||
	    blocks != cfs_div_up(cfs_fold_bytes(fold), CFS_BLOCK_BYTES)) {
		free(places);
		return bad(err, "fold");
	}
	fold->owned = places;
	fold->places = places;
	return 0;
}

int cfs_fold_unpack(const void *data, size_t bytes, struct cfs_fold *ret,
		    struct cfs_err *err)
{
	const uint8_t *at = (const uint8_t *)data + sizeof(struct fold_disk);
	struct fold_disk d;
	struct cfs_fold fold;
	bool has_size;
	int r;

	if (bytes < sizeof(d))
		return bad(err, "fold");
	memcpy(&d, data, sizeof(d));
	fold = (struct cfs_fold){
		.seq = le64_get(d.seq),
		.map_change = le64_get(d.map_change),
		.log = { .seq = le64_get(d.log_seq),
			 .chain = le64_get(d.log_chain),
			 .extent = le32_get(d.log_extent),
			 .block = le32_get(d.log_block) },
		.record_count = le32_get(d.record_count),
		.record_bytes = le32_get(d.record_bytes),
		.return_count = le32_get(d.return_count),
		.holds = le32_get(d.holds) == 1,
		.want_groups = le32_get(d.want_groups),
		.place_count = le32_get(d.place_count),
	};
	memcpy(fold.csum, d.csum, sizeof(fold.csum));
	if (le32_get(d.holds) > 1 || fold.want_groups > CFS_LOANS_MAX ||
	    fold.record_bytes > CFS_FOLD_BYTES_MAX || fold.record_bytes % 8 ||
	    fold.return_count > CFS_FOLD_RETURNS_MAX ||
	    fold.place_count > CFS_FOLD_PLACES_MAX)
		return bad(err, "fold");
	has_size = fold.place_count
			   ? fits(bytes, sizeof(d), fold.place_count,
				  sizeof(struct place_disk))
			   : bytes == sizeof(d) + cfs_fold_bytes(&fold);
	if (!has_size)
		return bad(err, "fold");
	r = fold.place_count ? places_unpack(&fold, at, err)
			     : cfs_fold_attach(&fold, at, err);
	if (r < 0)
		return r;
	*ret = fold;
	return 0;
}
