/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Copying bytes with two threads: one reads ahead into a ring of buffers, the
 * caller's writes them in order, so that both devices are busy.  What has been
 * written is always a front without gaps, which is what a copy that breaks off
 * reports.
 */
#include "session/transfer_bytes_priv.h"

#include "base/bits.h"
#include "session/transfer_priv.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>

#define RING_COUNT	4u
#define RING_BYTES	(UINT32_C(2) << 20)

struct piece {
	uint64_t	at, length_bytes;	/* 0: the end, see ring.code */
	bool		is_hole;
	uint8_t		*buf;			/* RING_BYTES */
};

struct ring {
	pthread_mutex_t	lock;
	pthread_cond_t	changed;
	struct piece	pieces[RING_COUNT];
	size_t		head, count;		/* pieces that are full */
	bool		is_given_up;		/* the writer has failed */
	/* Of the reader; set before the end. */
	int		code;
	struct cfs_err	err;
};

struct copy {
	struct bytes_end	from, to;
	const struct cfs_transfer_options *opt;
	struct cfs_bytes_result	*ret;
	uint64_t		limit;		/* bytes to copy at most */
	uint64_t		total_bytes;	/* 0: not known */
	bool			is_capped;	/* limit is the capacity, and
						 * the source may have more */
	struct ring		ring;
};

/* ---------------------------------------------------------------- ring */

static int ring_init(struct ring *ring, struct cfs_err *err)
{
	size_t i;

	for (i = 0; i < RING_COUNT; i++) {
		void *buf = NULL;

		if (posix_memalign(&buf, CFS_BLOCK_BYTES, RING_BYTES))
			return cfs_err_set(err, -ENOMEM, "out of memory");
		ring->pieces[i].buf = buf;
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

/* An empty piece for the reader; NULL: give up. */
static struct piece *ring_empty(struct ring *ring)
{
	struct piece *p = NULL;

	pthread_mutex_lock(&ring->lock);
	while (ring->count == RING_COUNT && !ring->is_given_up)
		pthread_cond_wait(&ring->changed, &ring->lock);
	if (!ring->is_given_up)
		p = &ring->pieces[(ring->head + ring->count) % RING_COUNT];
	pthread_mutex_unlock(&ring->lock);
	return p;
}

/* The piece that ring_empty gave is full. */
static void ring_push(struct ring *ring)
{
	pthread_mutex_lock(&ring->lock);
	ring->count++;
	pthread_cond_signal(&ring->changed);
	pthread_mutex_unlock(&ring->lock);
}

static struct piece *ring_full(struct ring *ring)
{
	struct piece *p;

	pthread_mutex_lock(&ring->lock);
	while (ring->count == 0)
		pthread_cond_wait(&ring->changed, &ring->lock);
	p = &ring->pieces[ring->head];
	pthread_mutex_unlock(&ring->lock);
	return p;
}

static void ring_pop(struct ring *ring)
{
	pthread_mutex_lock(&ring->lock);
	ring->head = (ring->head + 1) % RING_COUNT;
	ring->count--;
	pthread_cond_signal(&ring->changed);
	pthread_mutex_unlock(&ring->lock);
}

static void ring_give_up(struct ring *ring)
{
	pthread_mutex_lock(&ring->lock);
	ring->is_given_up = true;
	pthread_cond_signal(&ring->changed);
	pthread_mutex_unlock(&ring->lock);
}

/* -------------------------------------------------------------- reader */

/* 0, or -ECANCELED: the writer has given up. */
static int put_hole(struct copy *c, uint64_t at, uint64_t length_bytes)
{
	struct piece *p;

	if (length_bytes == 0)
		return 0;
	p = ring_empty(&c->ring);
	if (!p)
		return -ECANCELED;
	p->at = at;
	p->length_bytes = length_bytes;
	p->is_hole = true;
	ring_push(&c->ring);
	return 0;
}

static bool is_damage(int code)
{
	return code == -EUCLEAN || code == -EIO;
}

/*
 * A read failed behind @at, up to which all is good.  Pass a block over, or
 * end the copy there.
 */
static int pass_over(struct copy *c, uint64_t *at, uint64_t end, int code)
{
	uint64_t offset = c->from.end->offset_bytes + *at, next;
	int r;

	if (!is_damage(code) || !c->opt->skips_damage)
		return code; /* what failed names the offset */
	next = cfs_align_down(offset, CFS_BLOCK_BYTES) + CFS_BLOCK_BYTES;
	next = CFS_MIN(next - c->from.end->offset_bytes, end);
	r = put_hole(c, *at, next - *at);
	if (r < 0)
		return r;
	c->ret->damaged_bytes += next - *at;
	if (c->opt->damaged)
		c->opt->damaged(c->opt->arg, "", offset, next - *at);
	*at = next;
	return 0;
}

/* Read [at, end), which is data.  @ret_is_end: the source has no more. */
static int read_extent(struct copy *c, uint64_t *at, uint64_t end,
		       bool *ret_is_end, struct cfs_err *err)
{
	struct piece *p;
	size_t want, got;
	int r;

	while (*at < end && !*ret_is_end) {
		p = ring_empty(&c->ring);
		if (!p)
			return -ECANCELED;
		/* Up to whole pieces, so that what follows is aligned. */
		want = RING_BYTES -
		       (c->from.end->offset_bytes + *at) % RING_BYTES;
		want = (size_t)CFS_MIN(end - *at, want);
		r = bytes_end_read(&c->from, *at, p->buf, want, &got, err);
		p->at = *at;
		p->length_bytes = got;
		p->is_hole = false;
		if (got)
			ring_push(&c->ring);
		*at += got;
		if (r < 0)
			r = pass_over(c, at, end, r);
		else
			*ret_is_end = got < want;
		if (r < 0)
			return r;
	}
	return 0;
}

/* All that was to be copied is: the source must have no more. */
static int check_end(struct copy *c, struct cfs_err *err)
{
	struct piece *p = ring_empty(&c->ring);
	size_t got = 0;
	int r;

	if (!p)
		return -ECANCELED;
	r = bytes_end_read(&c->from, c->limit, p->buf, 1, &got, err);
	if (r == 0 && got)
		r = cfs_err_set(err, -EFBIG,
				"it is longer than the destination");
	return r;
}

static int read_all(struct copy *c, struct cfs_err *err)
{
	uint64_t at = 0, begin, end;
	bool is_end = false;
	int r = 0;

	while (r == 0 && at < c->limit && !is_end) {
		if (c->opt->stop && c->opt->stop(c->opt->arg))
			return cfs_err_set(err, -EINTR, "stopped");
		r = bytes_end_extent(&c->from, at, c->limit, &begin, &end,
				     err);
		if (r < 0)
			return cfs_err_wrap(err, r, "holes");
		r = put_hole(c, at, begin - at);
		at = begin;
		if (r == 0 && at < c->limit)
			r = read_extent(c, &at, end, &is_end, err);
	}
	if (r == 0 && c->is_capped && at == c->limit && !is_end)
		r = check_end(c, err);
	return r;
}

static void *reader_main(void *arg)
{
	struct copy *c = arg;
	struct piece *p;

	c->ring.code = read_all(c, &c->ring.err);
	p = ring_empty(&c->ring);
	if (p) {
		p->length_bytes = 0;
		ring_push(&c->ring);
	}
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
					    CFS_BLOCK_BYTES - (base + end) %
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
	const struct piece *p;
	int r = 0;

	for (;;) {
		p = ring_full(&c->ring);
		if (p->length_bytes == 0)
			break;
		r = write_piece(c, p, err);
		if (r < 0) {
			ring_give_up(&c->ring);
			return r;
		}
		ring_pop(&c->ring);
	}
	c->ret->is_source = c->ring.code < 0;
	if (c->ring.code < 0 && err)
		*err = c->ring.err;
	return c->ring.code;
}

/* ---------------------------------------------------------------- whole */

static int run(struct copy *c, struct cfs_err *err)
{
	struct cfs_err ignored = CFS_ERR_INIT;
	pthread_t reader;
	int r;

	r = pthread_create(&reader, NULL, reader_main, c);
	if (r)
		return cfs_err_errno(err, -r, "thread");
	r = write_all(c, err);
	pthread_join(reader, NULL);
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
		r = run(&c, err);
	}
	bytes_end_done(&c.to);
	bytes_end_done(&c.from);
	ring_done(&c.ring);
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
