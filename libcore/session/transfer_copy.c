/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Copying bytes with several threads: readers fill a ring of pieces, the
 * caller's thread writes them in order, so that both devices are busy, and
 * the source with more than one request where it can.  What has been written
 * is always a front without gaps, which is what a copy that breaks off
 * reports.
 *
 * Pieces are handed out in order under the lock, and read without it.  The
 * one that ends the copy (is_last) is the last that is handed out, except
 * behind a failure, where others may be under way that nobody will write.
 */
#include "session/transfer_bytes_priv.h"

#include "base/bits.h"
#include "device/device.h"
#include "session/transfer_priv.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>

#define RING_COUNT  6u
#define RING_BYTES  (UINT32_C(2) << 20)
#define READERS_MAX 3u

struct piece {
	uint64_t at, length_bytes;
	bool is_hole;
	bool is_probe; /* the source should have no more */
	bool is_last;
	bool is_ready;
	int code; /* failed behind length_bytes */
	struct cfs_err err;
	uint8_t *buf; /* RING_BYTES */
};

struct ring {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct piece pieces[RING_COUNT];
	size_t head, count; /* pieces that were handed out */
	bool is_done;       /* no more are to be handed out */
	/* What is handed out next, and the data that this is in. */
	uint64_t next, data_begin, data_end;
};

struct copy {
	struct bytes_end from, to;
	const struct cfs_transfer_options *opt;
	struct cfs_bytes_result *ret;
	uint64_t limit;       /* bytes to copy at most */
	uint64_t total_bytes; /* 0: not known */
	bool is_capped;       /* limit is the capacity, and
			       * the source may have more */
	struct ring ring;
	pthread_mutex_t report_lock; /* of opt->damaged */
};

/* ---------------------------------------------------------------- ring */

static int ring_init(struct ring *ring, struct cfs_err *err)
{
	size_t i;

	for (i = 0; i < RING_COUNT; i++) {
		ring->pieces[i].buf = cfs_dev_buf_alloc_huge(RING_BYTES);
		if (!ring->pieces[i].buf)
			return cfs_err_set(err, -ENOMEM, "out of memory");
	}
	return 0;
}

static void ring_done(struct ring *ring)
{
	size_t i;

	for (i = 0; i < RING_COUNT; i++)
		free(ring->pieces[i].buf);
	pthread_cond_destroy(&ring->changed);
	pthread_mutex_destroy(&ring->lock);
}

/* The next piece in order, once it was read. */
static struct piece *ring_wait(struct ring *ring)
{
	struct piece *p;

	pthread_mutex_lock(&ring->lock);
	p = &ring->pieces[ring->head];
	while (ring->count == 0 || !p->is_ready)
		pthread_cond_wait(&ring->changed, &ring->lock);
	pthread_mutex_unlock(&ring->lock);
	return p;
}

static void ring_pop(struct ring *ring)
{
	pthread_mutex_lock(&ring->lock);
	ring->head = (ring->head + 1) % RING_COUNT;
	ring->count--;
	pthread_cond_broadcast(&ring->changed);
	pthread_mutex_unlock(&ring->lock);
}

static void ring_stop(struct ring *ring)
{
	pthread_mutex_lock(&ring->lock);
	ring->is_done = true;
	pthread_cond_broadcast(&ring->changed);
	pthread_mutex_unlock(&ring->lock);
}

/* ------------------------------------------------------------- readers */

/* Find out about holes at ring->next; lock held. */
static int look_ahead(struct copy *c, struct cfs_err *err)
{
	struct ring *ring = &c->ring;
	int r;

	if (ring->next < ring->data_end)
		return 0;
	r = bytes_end_extent(&c->from, ring->next, c->limit, &ring->data_begin,
			     &ring->data_end, err);
	if (r < 0)
		return r;
	/* A hole up to the limit: nothing is asked again. */
	if (ring->data_begin == c->limit)
		ring->data_end = c->limit;
	return 0;
}

/* Describe the next piece; lock held.  One that fails or ends is ready. */
static void plan_piece(struct copy *c, struct piece *p)
{
	struct ring *ring = &c->ring;
	uint64_t left, in_buf;

	p->at = ring->next;
	p->length_bytes = 0;
	p->is_hole = p->is_probe = p->is_last = p->is_ready = false;
	p->code = 0;
	if (c->opt->stop && c->opt->stop(c->opt->arg))
		p->code = cfs_err_set(&p->err, -EINTR, "stopped");
	else if (ring->next < c->limit)
		p->code = look_ahead(c, &p->err);
	if (p->code < 0 || (ring->next >= c->limit && !c->is_capped)) {
		p->is_last = p->is_ready = ring->is_done = true;
		return;
	}
	if (ring->next >= c->limit) {
		p->is_probe = p->is_last = ring->is_done = true;
		return;
	}
	if (ring->next < ring->data_begin) {
		p->is_hole = p->is_ready = true;
		p->length_bytes = ring->data_begin - ring->next;
	} else {
		/* Up to whole pieces, so that what follows is aligned. */
		left = ring->data_end - ring->next;
		in_buf = RING_BYTES -
			 (c->from.end->offset_bytes + ring->next) % RING_BYTES;
		p->length_bytes = CFS_MIN(left, in_buf);
	}
	ring->next += p->length_bytes;
}

static bool is_damage(int code)
{
	return code == -EUCLEAN || code == -EIO;
}

/*
 * A read failed at byte @got of the piece: pass a block over.  Returns the
 * bytes that are zeroes now, or why not.
 */
static int pass_over(struct copy *c, struct piece *p, size_t got, size_t want,
		     int code)
{
	uint64_t offset = c->from.end->offset_bytes + p->at + got;
	size_t n = CFS_BLOCK_BYTES - (size_t)(offset % CFS_BLOCK_BYTES);

	if (code == -EINTR)
		return code;
	/* Volumes name the offset of bad data themselves. */
	if (!is_damage(code) || !c->opt->skips_damage)
		return strncmp(p->err.msg, "offset ", 7) == 0
			       ? code
			       : cfs_err_wrap(&p->err, code, "offset %llu",
					      (unsigned long long)offset);
	n = CFS_MIN(n, want - got);
	memset(p->buf + got, 0, n);
	pthread_mutex_lock(&c->report_lock);
	c->ret->damaged_bytes += n;
	if (c->opt->damaged)
		c->opt->damaged(c->opt->arg, "", offset, n);
	pthread_mutex_unlock(&c->report_lock);
	return (int)n;
}

/* Read what was planned. */
static void read_piece(struct copy *c, struct piece *p)
{
	size_t want = p->is_probe ? 1 : (size_t)p->length_bytes, got = 0, n;
	int r = 0;

	while (got < want) {
		r = bytes_end_read(&c->from, p->at + got, p->buf + got,
				   want - got, &n, &p->err);
		got += n;
		if (r == 0)
			break;
		r = pass_over(c, p, got, want, r);
		if (r < 0)
			break;
		got += (size_t)r;
		r = 0;
	}
	if (p->is_probe) {
		p->length_bytes = 0;
		if (r == 0 && got)
			r = cfs_err_set(&p->err, -EFBIG,
					"it is longer than the destination");
	} else {
		p->length_bytes = got;
	}
	p->code = r;
	/* The source has ended, or cannot go on. */
	if (got < want || r < 0)
		p->is_last = true;
}

static void *reader_main(void *arg)
{
	struct copy *c = arg;
	struct ring *ring = &c->ring;
	struct piece *p;

	pthread_mutex_lock(&ring->lock);
	for (;;) {
		while (ring->count == RING_COUNT && !ring->is_done)
			pthread_cond_wait(&ring->changed, &ring->lock);
		if (ring->is_done)
			break;
		p = &ring->pieces[(ring->head + ring->count) % RING_COUNT];
		plan_piece(c, p);
		ring->count++;
		if (!p->is_ready) {
			pthread_mutex_unlock(&ring->lock);
			read_piece(c, p);
			pthread_mutex_lock(&ring->lock);
			p->is_ready = true;
			ring->is_done = ring->is_done || p->is_last;
		}
		pthread_cond_broadcast(&ring->changed);
	}
	pthread_mutex_unlock(&ring->lock);
	return NULL;
}

/* -------------------------------------------------------------- writer */

/* With is_sparse: data and zeroes of one piece in turns, by blocks. */
static int write_sparse(struct copy *c, const struct piece *p,
			struct cfs_err *err)
{
	uint64_t base = c->to.end->offset_bytes + p->at;
	size_t at = 0, end, n;
	bool is_zero;
	int r = 0;

	while (at < p->length_bytes && r == 0) {
		for (end = at, is_zero = false; end < p->length_bytes;
		     end += n) {
			bool z;

			n = (size_t)CFS_MIN(p->length_bytes - end,
					    CFS_BLOCK_BYTES -
						    (base + end) %
							    CFS_BLOCK_BYTES);
			z = transfer_is_zero(p->buf + end, n);
			if (end == at)
				is_zero = z;
			else if (z != is_zero)
				break;
		}
		if (is_zero)
			r = bytes_end_zero(&c->to, p->at + at, end - at, err);
		else
			r = bytes_end_write(&c->to, p->at + at, p->buf + at,
					    end - at, err);
		if (r == 0 && !is_zero)
			c->ret->data_bytes += end - at;
		at = end;
	}
	return r;
}

static int write_piece(struct copy *c, const struct piece *p,
		       struct cfs_err *err)
{
	int r;

	if (c->opt->stop && c->opt->stop(c->opt->arg))
		return cfs_err_set(err, -EINTR, "stopped");
	if (p->is_hole)
		r = bytes_end_zero(&c->to, p->at, p->length_bytes, err);
	else if (c->opt->is_sparse)
		r = write_sparse(c, p, err);
	else
		r = bytes_end_write(&c->to, p->at, p->buf,
				    (size_t)p->length_bytes, err);
	if (r < 0)
		return r;
	if (!p->is_hole && !c->opt->is_sparse)
		c->ret->data_bytes += p->length_bytes;
	c->ret->copied_bytes = p->at + p->length_bytes;
	if (c->opt->progress)
		c->opt->progress(c->opt->arg, c->ret->copied_bytes,
				 c->total_bytes);
	return 0;
}

static int write_all(struct copy *c, struct cfs_err *err)
{
	bool is_last;
	int r;

	for (;;) {
		struct piece *p = ring_wait(&c->ring);

		r = p->length_bytes ? write_piece(c, p, err) : 0;
		if (r < 0)
			return r;
		if (p->code < 0) {
			c->ret->is_source = true;
			if (err)
				*err = p->err;
			return p->code;
		}
		is_last = p->is_last;
		ring_pop(&c->ring);
		if (is_last)
			return 0;
	}
}

/* ---------------------------------------------------------------- whole */

static int run(struct copy *c, struct cfs_err *err)
{
	struct cfs_err ignored = CFS_ERR_INIT;
	pthread_t readers[READERS_MAX];
	/* What comes in order has one reader. */
	size_t want = c->from.size_bytes == UINT64_MAX ? 1 : READERS_MAX;
	size_t count = 0;
	int r = 0;

	while (count < want && r == 0) {
		r = pthread_create(&readers[count], NULL, reader_main, c);
		count += r == 0;
	}
	/* One does; without any there is nobody to wait for. */
	r = count ? write_all(c, err) : cfs_err_errno(err, -r, "thread");
	ring_stop(&c->ring);
	while (count)
		pthread_join(readers[--count], NULL);
	if (r == 0)
		return bytes_end_finish(&c->to, c->ret->copied_bytes, err);
	if (c->ret->copied_bytes)
		(void)bytes_end_sync(&c->to, &ignored);
	return r;
}

/* What is to be copied, from what both ends are. */
static int plan(struct copy *c, uint64_t length_bytes, uint64_t capacity_bytes,
		struct cfs_err *err)
{
	uint64_t left = UINT64_MAX, base = c->from.end->offset_bytes;

	if (c->from.size_bytes != UINT64_MAX) {
		if (base > c->from.size_bytes)
			return cfs_err_set(err, -EINVAL,
					   "offset %llu is behind its end",
					   (unsigned long long)base);
		left = c->from.size_bytes - base;
	}
	c->limit = CFS_MIN(length_bytes, left);
	if (c->limit > capacity_bytes) {
		if (c->limit != UINT64_MAX)
			return cfs_err_set(err, -EFBIG,
					   "%llu bytes do not fit into %llu",
					   (unsigned long long)c->limit,
					   (unsigned long long)capacity_bytes);
		c->limit = capacity_bytes;
		c->is_capped = true;
	}
	c->total_bytes = c->limit == UINT64_MAX ? 0 : c->limit;
	return 0;
}

int cfs_bytes_copy(const struct cfs_bytes_end *from,
		   const struct cfs_bytes_end *to, uint64_t length_bytes,
		   uint64_t capacity_bytes,
		   const struct cfs_transfer_options *opt,
		   struct cfs_bytes_result *ret, struct cfs_err *err)
{
	static const struct cfs_transfer_options no_options;
	struct copy c = {
		.opt = opt ? opt : &no_options,
		.ret = ret,
		.ring = { .lock = PTHREAD_MUTEX_INITIALIZER,
			  .changed = PTHREAD_COND_INITIALIZER },
		.report_lock = PTHREAD_MUTEX_INITIALIZER,
	};
	int r;

	assert(from->kind != CFS_BYTES_SINK);
	memset(ret, 0, sizeof(*ret));
	r = bytes_end_init(&c.from, from, c.opt, err);
	if (r == 0)
		r = bytes_end_init(&c.to, to, c.opt, err);
	if (r == 0)
		r = plan(&c, length_bytes, capacity_bytes, err);
	if (r == 0)
		r = ring_init(&c.ring, err);
	if (r == 0) {
		bytes_end_use_direct(&c.to, c.limit);
		bytes_end_read_direct(&c.from, c.limit);
		r = run(&c, err);
	}
	bytes_end_done(&c.to);
	bytes_end_done(&c.from);
	bytes_end_done(&c.from);
	ring_done(&c.ring);
	pthread_mutex_destroy(&c.report_lock);
	return r;
}

int cfs_bytes_length(const struct cfs_bytes_end *from, uint64_t *ret,
		     struct cfs_err *err)
{
	static const struct cfs_transfer_options no_options;
	struct bytes_end b;
	int r;

	r = bytes_end_init(&b, from, &no_options, err);
	if (r < 0)
		return r;
	if (b.size_bytes == UINT64_MAX)
		*ret = UINT64_MAX;
	else if (from->offset_bytes > b.size_bytes)
		*ret = 0;
	else
		*ret = b.size_bytes - from->offset_bytes;
	return 0;
}
