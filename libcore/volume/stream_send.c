/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A stream of what differs between two snapshots.
 *
 * In turns: under the container's lock as many changes are gathered as fit a
 * batch; without it their blocks are read, all at once, verified against their
 * tags, and everything is written.  A second thread reads the next batch while
 * one is being written, so that the devices need not wait for the pipe.
 */
#include "volume/stream.h"

#include "block/blocks.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "device/device.h"
#include "tree/hooks.h"
#include "volume/data.h"

#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>

#define BATCH_BLOCKS 4096u
#define BATCH_ITEMS  512u
#define OUT_BYTES    (256u * 1024) /* written at once, of what is small */

struct piece {
	struct cfs_change change; /* of DATA, of one record's length */
	size_t value_at;          /* in the batch's values */
	uint32_t block_at;        /* in the batch's blocks */
};

struct batch {
	struct piece *pieces;
	size_t count;
	uint8_t *blocks;
	uint32_t block_count;
	struct cfs_buf values;
	bool is_last;
	int result; /* of filling it */
	struct cfs_err err;
};

struct sender {
	const struct cfs_diff_of *of;
	const struct cfs_stream_begin *begin;
	const struct cfs_stream_calls *calls;
	struct cfs_diff *diff;
	struct cfs_change rest; /* of a DATA that did not fit */
	bool has_rest;
	/* Writing. */
	uint64_t id, sequence, chain, tag_seed;
	struct cfs_buf out;
	struct cfs_stream_totals totals;
	/* The two threads. */
	pthread_mutex_t lock;
	pthread_cond_t turned;
	struct batch batches[2];
	unsigned int filled, written; /* how many, so far */
	bool is_over;                 /* nothing more is wanted */
};

/* ---- gathering ----------------------------------------------------------- */

static int add_piece(struct batch *b, const struct cfs_change *change,
		     struct cfs_err *err)
{
	struct piece *p = &b->pieces[b->count];

	p->change = *change;
	p->value_at = b->values.bytes;
	p->block_at = b->block_count;
	if (change->kind == CFS_CHANGE_PUT &&
	    cfs_buf_append(&b->values, change->value, change->value_bytes) < 0)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	if (change->kind == CFS_CHANGE_DATA)
		b->block_count += (uint32_t)change->count;
	b->count++;
	return 0;
}

/* As much of the rest as fits, in records of their length. */
static int add_blocks(struct sender *s, struct batch *b, struct cfs_err *err)
{
	int r = 0;

	while (r == 0 && s->has_rest && b->count < BATCH_ITEMS &&
	       b->block_count < BATCH_BLOCKS) {
		struct cfs_change part = s->rest;
		uint64_t most = CFS_MIN(CFS_STREAM_BLOCKS_MAX,
					BATCH_BLOCKS - b->block_count);

		part.count = CFS_MIN(part.count, most);
		if (part.count != s->rest.count)
			part.csum = 0;
		r = add_piece(b, &part, err);
		s->rest.offset += part.count;
		if (s->rest.vaddr)
			s->rest.vaddr += part.count;
		s->rest.count -= part.count;
		s->rest.csum = 0;
		s->has_rest = s->rest.count;
	}
	return r;
}

static int gather(struct sender *s, struct batch *b, struct cfs_err *err)
{
	int r = 1;

	b->count = b->block_count = 0;
	b->values.bytes = 0;
	b->is_last = false;
	cfs_container_lock(s->of->to->container);
	while (r == 1 && b->count < BATCH_ITEMS &&
	       b->block_count < BATCH_BLOCKS) {
		struct cfs_change change;

		if (s->has_rest) {
			r = add_blocks(s, b, err) < 0 ? -ENOMEM : 1;
			continue;
		}
		r = cfs_diff_next(s->diff, &change, err);
		if (r == 1 && change.kind == CFS_CHANGE_DATA) {
			s->rest = change;
			s->has_rest = true;
		} else if (r == 1 && add_piece(b, &change, err) < 0) {
			r = -ENOMEM;
		}
	}
	cfs_container_unlock(s->of->to->container);
	b->is_last = r == 0;
	return r < 0 ? r : 0;
}

/* ---- reading ------------------------------------------------------------- */

static uint8_t *blocks_of(const struct batch *b, const struct piece *p)
{
	return b->blocks + (size_t)p->block_at * CFS_BLOCK_BYTES;
}

/* One by one: what waits in memory, what is to be healed, what has moved. */
static int read_slowly(struct sender *s, struct batch *b, struct cfs_err *err)
{
	for (size_t i = 0; i < b->count; i++) {
		const struct cfs_change *c = &b->pieces[i].change;
		int r;

		if (c->kind != CFS_CHANGE_DATA)
			continue;
		r = cfs_data_read_beside(s->of->to, c->ino,
					 c->offset * CFS_BLOCK_BYTES,
					 blocks_of(b, &b->pieces[i]),
					 c->count * CFS_BLOCK_BYTES, NULL, err);
		if (r < 0)
			return cfs_err_wrap(err, r, "inode %" PRIu64, c->ino);
	}
	return 0;
}

static int read_blocks(struct sender *s, struct batch *b, struct cfs_err *err)
{
	struct cfs_container *c = s->of->to->container;
	CFS_CLEANUP(cfs_freep)
	struct cfs_block_read *reads = calloc(b->count + 1, sizeof(*reads));
	bool has_all = true;
	size_t n = 0;
	int r;

	if (!reads)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < b->count; i++) {
		const struct cfs_change *change = &b->pieces[i].change;

		if (change->kind != CFS_CHANGE_DATA)
			continue;
		has_all = has_all && change->vaddr;
		reads[n++] = (struct cfs_block_read){
			.vaddr = change->vaddr,
			.count = (uint32_t)change->count,
			.first = {
				.type = CFS_TAG_DATA,
				.ino = change->ino,
				.offset = change->offset,
				.stamp = change->stamp,
				.seq = change->seq,
				.branch = change->branch,
			},
			.csum = change->csum,
			.buf = blocks_of(b, &b->pieces[i]),
		};
	}
	if (n == 0)
		return 0;
	r = has_all ? cfs_block_read_beside(cfs_container_blocks(c), reads, n)
		    : -EAGAIN;
	return r < 0 ? read_slowly(s, b, err) : 0;
}

/* ---- the reading thread -------------------------------------------------- */

static bool turn_comes(struct sender *s)
{
	bool goes_on;

	pthread_mutex_lock(&s->lock);
	while (!s->is_over && s->filled - s->written >= 2)
		pthread_cond_wait(&s->turned, &s->lock);
	goes_on = !s->is_over;
	pthread_mutex_unlock(&s->lock);
	return goes_on;
}

static void *fill_batches(void *arg)
{
	struct sender *s = arg;
	bool goes_on = true;

	while (goes_on && turn_comes(s)) {
		struct batch *b = &s->batches[s->filled % 2];

		b->result = gather(s, b, &b->err);
		if (b->result == 0)
			b->result = read_blocks(s, b, &b->err);
		goes_on = b->result == 0 && !b->is_last;
		pthread_mutex_lock(&s->lock);
		s->filled++;
		pthread_cond_broadcast(&s->turned);
		pthread_mutex_unlock(&s->lock);
	}
	return NULL;
}

/* ---- writing ------------------------------------------------------------- */

static int flush_out(struct sender *s, struct cfs_err *err)
{
	int r = 0;

	if (s->out.bytes)
		r = s->calls->write(s->calls->arg, s->out.data, s->out.bytes,
				    err);
	s->totals.bytes += s->out.bytes;
	s->out.bytes = 0;
	return r;
}

static int out_bytes(struct sender *s, const void *p, size_t n,
		     struct cfs_err *err)
{
	int r;

	if (s->out.bytes + n <= OUT_BYTES) {
		if (cfs_buf_append(&s->out, p, n) < 0)
			return cfs_err_set(err, -ENOMEM, "out of memory");
		return 0;
	}
	r = flush_out(s, err);
	if (r < 0)
		return r;
	if (n < OUT_BYTES / 2)
		return out_bytes(s, p, n, err);
	r = s->calls->write(s->calls->arg, p, n, err);
	s->totals.bytes += n;
	return r;
}

static int record(struct sender *s, enum cfs_stream_type type,
		  const void *front, size_t front_bytes, const void *blocks,
		  uint32_t block_count, struct cfs_err *err)
{
	struct cfs_stream_head_disk head;
	int r;

	cfs_stream_head_pack(&head, type, s->sequence, s->id, front,
			     front_bytes, block_count);
	s->sequence++;
	s->chain = cfs_stream_chain(s->chain, le64_get(head.csum));
	r = out_bytes(s, &head, sizeof(head), err);
	if (r == 0)
		r = out_bytes(s, front, front_bytes, err);
	if (r == 0 && block_count)
		r = out_bytes(s, blocks, (size_t)block_count * CFS_BLOCK_BYTES,
			      err);
	s->totals.records++;
	s->totals.data_bytes += (uint64_t)block_count * CFS_BLOCK_BYTES;
	return r;
}

static int put_begin(struct sender *s, struct cfs_err *err)
{
	struct cfs_stream_begin_disk disk;
	int r;

	cfs_stream_begin_pack(s->begin, &disk);
	/* BEGIN itself is seeded with 0. */
	r = record(s, CFS_STREAM_BEGIN, &disk, sizeof(disk), NULL, 0, err);
	s->id = cfs_stream_id(&disk);
	return r;
}

static int put_end(struct sender *s, struct cfs_err *err)
{
	const struct cfs_stream_end_disk disk = {
		.record_count = le64_put(s->totals.records),
		.block_count = le64_put(s->totals.data_bytes / CFS_BLOCK_BYTES),
		.chain = le64_put(s->chain),
	};
	int r = record(s, CFS_STREAM_END, &disk, sizeof(disk), NULL, 0, err);

	return r < 0 ? r : flush_out(s, err);
}

static int put_data(struct sender *s, const struct batch *b,
		    const struct piece *p, struct cfs_err *err)
{
	const struct cfs_change *c = &p->change;
	const uint8_t *blocks = blocks_of(b, p);
	uint8_t front[CFS_STREAM_FRONT_BYTES_MAX];
	uint64_t csums[CFS_STREAM_BLOCKS_MAX];
	struct cfs_tag tag = {
		.type = CFS_TAG_DATA,
		.ino = c->ino,
		.stamp = c->stamp,
		.seq = c->seq,
		.branch = c->branch,
	};
	const struct cfs_stream_data data = {
		.ino = c->ino,
		.offset = c->offset,
		.stamp = c->stamp,
		.branch = c->branch,
		.seq = c->seq,
		.count = (uint32_t)c->count,
	};

	/* What was read was compared with the tag: this is its checksum. */
	for (uint32_t i = 0; i < data.count; i++) {
		tag.offset = c->offset + i;
		csums[i] = cfs_tag_csum(&tag, s->tag_seed,
					blocks + (size_t)i * CFS_BLOCK_BYTES);
	}
	return record(s, CFS_STREAM_DATA, front,
		      cfs_stream_data_pack(&data, csums, front), blocks,
		      data.count, err);
}

static int put_piece(struct sender *s, const struct batch *b,
		     const struct piece *p, struct cfs_err *err)
{
	const struct cfs_change *c = &p->change;
	uint8_t front[CFS_STREAM_FRONT_BYTES_MAX];
	const struct cfs_stream_meta meta = {
		.ino = c->ino,
		.word = c->word,
		.is_delete = c->kind == CFS_CHANGE_DEL,
		.value = b->values.data + p->value_at,
		.value_bytes = c->kind == CFS_CHANGE_PUT ? c->value_bytes : 0,
	};
	const struct cfs_stream_hole hole = { c->ino, c->offset, c->count };
	const struct cfs_stream_gone_disk gone = { le64_put(c->ino) };

	switch (c->kind) {
	case CFS_CHANGE_DATA:
		return put_data(s, b, p, err);
	case CFS_CHANGE_HOLE:
		return record(s, CFS_STREAM_HOLE, front,
			      cfs_stream_hole_pack(&hole, front), NULL, 0, err);
	case CFS_CHANGE_GONE:
		return record(s, CFS_STREAM_GONE, &gone, sizeof(gone), NULL, 0,
			      err);
	default:
		return record(s, CFS_STREAM_META, front,
			      cfs_stream_meta_pack(&meta, front), NULL, 0, err);
	}
}

/* The batch whose turn it is, filled. */
static struct batch *wait_for_batch(struct sender *s)
{
	pthread_mutex_lock(&s->lock);
	while (s->filled == s->written)
		pthread_cond_wait(&s->turned, &s->lock);
	pthread_mutex_unlock(&s->lock);
	return &s->batches[s->written % 2];
}

static int put_batches(struct sender *s, struct cfs_err *err)
{
	bool is_last = false;
	int r = 0;

	while (r == 0 && !is_last) {
		struct batch *b = wait_for_batch(s);

		r = b->result;
		if (r < 0)
			return cfs_err_set(err, r, "%s", b->err.msg);
		for (size_t i = 0; i < b->count && r == 0; i++)
			r = put_piece(s, b, &b->pieces[i], err);
		is_last = b->is_last;
		pthread_mutex_lock(&s->lock);
		s->written++;
		pthread_cond_broadcast(&s->turned);
		pthread_mutex_unlock(&s->lock);
		if (s->calls->progress)
			s->calls->progress(s->calls->arg, s->totals.data_bytes,
					   s->begin->data_bytes);
		if (r == 0 && s->calls->stop && s->calls->stop(s->calls->arg))
			r = cfs_err_set(err, -EINTR, "stopped");
	}
	return r;
}

/* ---- all of it ----------------------------------------------------------- */

static void batch_done(struct batch *b)
{
	free(b->pieces);
	free(b->blocks);
	cfs_buf_donep(&b->values);
}

static int batch_init(struct batch *b, struct cfs_err *err)
{
	b->pieces = calloc(BATCH_ITEMS, sizeof(*b->pieces));
	b->blocks = cfs_dev_buf_alloc_huge(BATCH_BLOCKS * CFS_BLOCK_BYTES);
	if (!b->pieces || !b->blocks)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	return 0;
}

static int run(struct sender *s, struct cfs_err *err)
{
	pthread_t thread;
	int r = put_begin(s, err), made;

	if (r < 0)
		return r;
	made = pthread_create(&thread, NULL, fill_batches, s);
	if (made)
		return cfs_err_set(err, -made, "no thread");
	r = put_batches(s, err);
	pthread_mutex_lock(&s->lock);
	s->is_over = true;
	pthread_cond_broadcast(&s->turned);
	pthread_mutex_unlock(&s->lock);
	pthread_join(thread, NULL);
	return r < 0 ? r : put_end(s, err);
}

int cfs_stream_send(const struct cfs_diff_of *of,
		    const struct cfs_stream_begin *begin,
		    const struct cfs_stream_calls *calls,
		    struct cfs_stream_totals *ret, struct cfs_err *err)
{
	struct sender *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	s->of = of;
	s->begin = begin;
	s->calls = calls;
	s->tag_seed = cfs_tag_container_seed(begin->container_uuid);
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->turned, NULL);
	r = cfs_diff_new(of, &s->diff, err);
	for (int i = 0; i < 2 && r == 0; i++)
		r = batch_init(&s->batches[i], err);
	if (r == 0) {
		cfs_diff_seek(s->diff, &begin->position);
		r = run(s, err);
	}
	if (r == 0)
		*ret = s->totals;
	batch_done(&s->batches[0]);
	batch_done(&s->batches[1]);
	cfs_buf_donep(&s->out);
	cfs_diff_free(s->diff);
	pthread_cond_destroy(&s->turned);
	pthread_mutex_destroy(&s->lock);
	free(s);
	return r;
}
