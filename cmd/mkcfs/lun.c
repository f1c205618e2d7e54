/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A LUN from an image: the thread of the command reads, two others write, and
 * pieces go round between them, so that the disk that is read and the one that
 * is written are both busy.  Runs of zeroes are not written: the LUN is new,
 * and a hole reads the same.
 *
 * The pieces of the reader never overlap, and all are written before anyone
 * says that the image is there; in which order does not matter.
 */
#include "mkcfs/mkcfs.h"

#include "base/bits.h"
#include "base/cleanup.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define PIECE_BYTES	(UINT32_C(2) << 20)
#define PIECES		6u
#define WRITERS		2u
/* Shorter runs of zeroes are written: cheaper than one more call. */
#define ZEROES_BYTES	(UINT32_C(64) << 10)
#define GROW_BYTES	(UINT64_C(1) << 30)

struct piece {
	uint8_t		*buf;
	uint64_t	offset_bytes;
	size_t		length_bytes;
	struct piece	*next;
};

struct copy {
	struct cfs_io_volume	*volume;
	pthread_mutex_t		lock;
	pthread_cond_t		changed;
	/* All below under the lock. */
	struct piece		pieces[PIECES];
	struct piece		*empty, *full, **full_tail;
	bool			has_ended;	/* no more pieces come */
	struct cfs_err		err;		/* of the first that failed */
};

static bool is_zero(const uint8_t *p, size_t n)
{
	return !n || (!p[0] && !memcmp(p, p + 1, n - 1));
}

/* ---------------------------------------------------------------- writers */

/* Write what is not zero of one piece. */
static int write_piece(struct copy *c, const struct piece *p,
		       struct cfs_err *err)
{
	size_t from = 0, to = 0, n;
	int r = 0;

	while (to < p->length_bytes && r == 0) {
		n = CFS_MIN(p->length_bytes - to, (size_t)ZEROES_BYTES);
		if (!is_zero(p->buf + to, n)) {
			to += n;
			if (to < p->length_bytes)
				continue;
			n = 0;
		}
		if (to > from)
			r = cfs_io_write(c->volume, p->offset_bytes + from,
					 p->buf + from, to - from, err);
		to += n;
		from = to;
	}
	return r;
}

static struct piece *take_full(struct copy *c)
{
	struct piece *p;

	pthread_mutex_lock(&c->lock);
	while (!c->full && !c->has_ended)
		pthread_cond_wait(&c->changed, &c->lock);
	p = c->err.code ? NULL : c->full;
	if (p) {
		c->full = p->next;
		if (!c->full)
			c->full_tail = &c->full;
	}
	pthread_mutex_unlock(&c->lock);
	return p;
}

static void put_empty(struct copy *c, struct piece *p,
		      const struct cfs_err *err)
{
	pthread_mutex_lock(&c->lock);
	p->next = c->empty;
	c->empty = p;
	if (err->code && !c->err.code)
		c->err = *err;
	pthread_cond_broadcast(&c->changed);
	pthread_mutex_unlock(&c->lock);
}

static void *write_pieces(void *arg)
{
	struct copy *c = arg;
	struct cfs_err err = CFS_ERR_INIT;
	struct piece *p;
	int r;

	while ((p = take_full(c))) {
		r = write_piece(c, p, &err);
		if (r < 0)
			err.code = r;
		put_empty(c, p, &err);
	}
	return NULL;
}

/* ----------------------------------------------------------------- reader */

/* NULL: a writer has failed. */
static struct piece *take_empty(struct copy *c)
{
	struct piece *p = NULL;

	pthread_mutex_lock(&c->lock);
	while (!c->empty && !c->err.code)
		pthread_cond_wait(&c->changed, &c->lock);
	if (!c->err.code) {
		p = c->empty;
		c->empty = p->next;
	}
	pthread_mutex_unlock(&c->lock);
	return p;
}

static void put_full(struct copy *c, struct piece *p)
{
	pthread_mutex_lock(&c->lock);
	p->next = NULL;
	*c->full_tail = p;
	c->full_tail = &p->next;
	pthread_cond_broadcast(&c->changed);
	pthread_mutex_unlock(&c->lock);
}

struct filling {
	struct cfs_cmd		*cmd;
	struct cfs_session	*s;
	const char		*name;
	struct mkcfs_image	*image;
	bool			grows;
	uint64_t		size_bytes;
	uint64_t		copied_bytes;
};

/* The LUN is at least @end large when the piece up to there is written. */
static int make_room(struct filling *f, uint64_t end)
{
	struct cfs_err *err = &f->cmd->err;
	uint64_t size = f->size_bytes;
	int r;

	if (end <= size)
		return 0;
	if (!f->grows)
		return cfs_err_set(err, -ENOSPC, "the image is larger than "
				   "the LUN");
	while (size < end)
		size = CFS_MAX(size * 2, GROW_BYTES);
	r = cfs_session_resize_volume(f->s, f->name, size, err);
	if (r == 0)
		f->size_bytes = size;
	return r;
}

/* Fill up to a block: what is behind the image's end is zero anyway. */
static void pad(struct piece *p)
{
	size_t n = cfs_align_up(p->length_bytes, CFS_BLOCK_BYTES);

	memset(p->buf + p->length_bytes, 0, n - p->length_bytes);
	p->length_bytes = n;
}

static int read_pieces(struct filling *f, struct copy *c, uint64_t *ret_end)
{
	struct cfs_err *err = &f->cmd->err;
	uint64_t at = 0;
	struct piece *p;
	int r;

	while ((p = take_empty(c))) {
		r = mkcfs_image_read(f->image, &at, p->buf, PIECE_BYTES,
				     &p->offset_bytes, &p->length_bytes, err);
		if (r < 0)
			return r;
		if (!p->length_bytes) {
			*ret_end = p->offset_bytes;
			return 0;
		}
		f->copied_bytes += p->length_bytes;
		pad(p);
		r = make_room(f, p->offset_bytes + p->length_bytes);
		if (r < 0)
			return r;
		cfs_cmd_progress(f->cmd, at, 0);
		put_full(c, p);
	}
	return 0;		/* the writer's error stands in @c */
}

/* ------------------------------------------------------------------- both */

static void copy_donep(struct copy *c)
{
	unsigned int i;

	for (i = 0; i < PIECES; i++)
		free(c->pieces[i].buf);
	pthread_cond_destroy(&c->changed);
	pthread_mutex_destroy(&c->lock);
}

static int copy_init(struct copy *c, struct cfs_err *err)
{
	unsigned int i;
	void *buf;

	c->full_tail = &c->full;
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->changed, NULL);
	for (i = 0; i < PIECES; i++) {
		if (posix_memalign(&buf, CFS_BLOCK_BYTES, PIECE_BYTES))
			return cfs_err_set(err, -ENOMEM, "out of memory");
		c->pieces[i].buf = buf;
		c->pieces[i].next = c->empty;
		c->empty = &c->pieces[i];
	}
	return 0;
}

/* Threads that no signal reaches: the reader is the one to be stopped. */
static int start_writers(struct copy *c, pthread_t *threads,
			 unsigned int *ret_count, struct cfs_err *err)
{
	sigset_t all, old;
	unsigned int i;
	int r = 0;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	for (i = 0; i < WRITERS && r == 0; i++)
		r = pthread_create(&threads[i], NULL, write_pieces, c);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	*ret_count = r ? i - 1 : i;
	if (*ret_count)
		return 0;	/* one is slower, and enough */
	return cfs_err_errno(err, -r, "cannot start a thread");
}

static int copy_image(struct filling *f, struct cfs_io_volume *volume,
		      uint64_t *ret_end)
{
	CFS_CLEANUP(copy_donep) struct copy c = { .volume = volume };
	struct cfs_err *err = &f->cmd->err;
	pthread_t threads[WRITERS];
	unsigned int i, count = 0;
	int r;

	r = copy_init(&c, err);
	if (r == 0)
		r = start_writers(&c, threads, &count, err);
	if (r == 0)
		r = read_pieces(f, &c, ret_end);
	pthread_mutex_lock(&c.lock);
	c.has_ended = true;
	if (r < 0 && !c.err.code)
		c.err = *err;	/* what is not written yet is not needed */
	pthread_cond_broadcast(&c.changed);
	pthread_mutex_unlock(&c.lock);
	for (i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
	if (c.err.code) {
		*err = c.err;
		return c.err.code;
	}
	return r;
}

int mkcfs_fill_lun(struct cfs_cmd *cmd, struct cfs_session *s,
		   const char *volume, struct mkcfs_image *image, bool grows,
		   uint64_t *size_bytes, uint64_t *ret_bytes)
{
	CFS_CLEANUP(cfs_io_closep) struct cfs_io_volume *io = NULL;
	struct filling f = {
		.cmd = cmd, .s = s, .name = volume, .image = image,
		.grows = grows, .size_bytes = *size_bytes,
	};
	struct cfs_progress *progress;
	uint64_t end = 0;
	int r;

	r = cfs_io_open(s, volume, NULL, true, &io, &cmd->err);
	if (r < 0)
		return r;
	progress = cfs_progress_begin(cmd, "copy", "bytes",
				      image->has_size ? image->size_bytes : 0);
	r = copy_image(&f, io, &end);
	if (r == 0 && grows && !end)
		r = cfs_err_set(&cmd->err, -EINVAL, "the image is empty: give "
				"a size");
	end = cfs_align_up(end, CFS_BLOCK_BYTES);
	if (r == 0 && grows && end != f.size_bytes) {
		r = cfs_session_resize_volume(s, volume, end, &cmd->err);
		f.size_bytes = end;
	}
	if (r == 0)
		r = cfs_io_sync(io, &cmd->err);
	cfs_progress_end(progress);
	*size_bytes = f.size_bytes;
	*ret_bytes = f.copied_bytes;
	return r;
}
