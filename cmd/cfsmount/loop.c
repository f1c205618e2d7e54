/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * How the kernel's calls come and are answered, by the threads of crew.c; and
 * what is done behind them.
 */
#include "cfsmount/cfsmount.h"

#include "base/bits.h"
#include "base/cond.h"

#include <errno.h>
#include <linux/fuse.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#define TIDY_MS       500
#define SYNC_TURNS    10u /* of those */
#define REST_TURNS    6u  /* without calls */

#define PAGE_BYTES    4096u
/* What libfuse keeps for the head of a call, and what a write has of it. */
#define RECEIVE_BYTES (PAGE_BYTES + MNT_IO_BYTES_MAX)
#define WRITE_HEAD_BYTES                                                       \
	(sizeof(struct fuse_in_header) + sizeof(struct fuse_write_in))

/* ---- the descriptor ------------------------------------------------------ */

static ssize_t io_writev(int fd, struct iovec *iov, int count, void *user)
{
	mnt_raw_answer(user, iov, count);
	mnt_crew_answers(user);
	return writev(fd, iov, count);
}

static ssize_t io_read(int fd, void *buf, size_t bytes, void *user)
{
	(void)user;
	return read(fd, buf, CFS_MIN(bytes, (size_t)RECEIVE_BYTES));
}

const struct fuse_custom_io mnt_io = { .writev = io_writev, .read = io_read };

/* ---- a thread's memory --------------------------------------------------- */

/*
 * Devices are read and written past the page cache, which takes aligned buffers
 * alone.  So what comes is received in such a place that the bytes of a write,
 * behind its head, are aligned; and bytes that are read have a buffer that
 * stays, for those of a thread are given back to the kernel each time.
 */
static _Thread_local void *read_buffer;

/* To be freed by its own name, not by where calls are put in it. */
static void *receive_buffer_new(struct fuse_buf *ret)
{
	uint8_t *base = aligned_alloc(PAGE_BYTES, PAGE_BYTES + RECEIVE_BYTES);

	if (base)
		ret->mem = base + PAGE_BYTES - WRITE_HEAD_BYTES;
	return base;
}

void *mnt_read_buffer(size_t bytes)
{
	if (!read_buffer && bytes <= MNT_IO_BYTES_MAX)
		read_buffer = aligned_alloc(PAGE_BYTES, MNT_IO_BYTES_MAX);
	return bytes <= MNT_IO_BYTES_MAX ? read_buffer : NULL;
}

/* ---- calls --------------------------------------------------------------- */

/* False: whoever caused it went on without an answer. */
static bool is_waited_for(const struct fuse_buf *buf)
{
	const struct fuse_in_header *in = buf->mem;

	switch (buf->size < sizeof(*in) ? 0 : in->opcode) {
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_RELEASE:
	case FUSE_RELEASEDIR:
	case FUSE_INTERRUPT:
		return false;
	default:
		return true;
	}
}

/* Until it is not needed, or all is over; true: it is still one of those who
 * listen. */
static bool answer_calls(struct mnt *m, struct fuse_buf *buf)
{
	bool is_waited;
	int n;

	while (!atomic_load(&m->is_ending)) {
		n = fuse_session_receive_buf(m->se, buf);
		if (n == -EINTR || n == -EAGAIN || n == -ENOENT)
			continue;
		if (n <= 0 || fuse_session_exited(m->se)) {
			mnt_crew_end(m); /* unmounted */
			break;
		}
		is_waited = is_waited_for(buf);
		mnt_crew_call_begins(m, is_waited);
		atomic_fetch_add_explicit(&m->calls, 1, memory_order_relaxed);
		if (!mnt_raw(m, buf->mem, buf->size))
			fuse_session_process_buf(m->se, buf);
		if (!mnt_crew_call_ends(m, is_waited))
			return false;
	}
	return true;
}

bool mnt_loop_answer(struct mnt *m)
{
	struct fuse_buf buf = { .mem = NULL };
	void *base = receive_buffer_new(&buf); /* else libfuse has one */
	bool is_listening = answer_calls(m, &buf);

	free(base ? base : buf.mem);
	free(read_buffer);
	read_buffer = NULL;
	return is_listening;
}

static void on_wake(int signal)
{
	(void)signal;
}

/* A read of the device is interrupted by a signal, again and again, as one may
 * come before the read. */
void mnt_loop_end(struct mnt *m)
{
	mnt_crew_join(m);
}

/* ---- the loop ------------------------------------------------------------ */

static void sleep_a_little(struct mnt *m)
{
	pthread_mutex_lock(&m->crew.lock);
	if (!atomic_load(&m->is_ending))
		(void)cfs_cond_wait_ns(&m->crew.changed, &m->crew.lock,
				       TIDY_MS * CFS_NS_PER_MS);
	pthread_mutex_unlock(&m->crew.lock);
}

int mnt_loop_begin(struct mnt *m, struct cfs_err *err)
{
	struct sigaction act;

	memset(&act, 0, sizeof(act));
	act.sa_handler = on_wake;
	sigemptyset(&act.sa_mask);
	(void)sigaction(SIGUSR2, &act, NULL);
	return mnt_crew_begin(m, err);
}

/* What was written is durable soon after, also if nobody asks for it: at the
 * first moment without calls, or every few seconds. */
static void sync_soon(struct mnt *m, uint64_t *synced, uint64_t *seen,
		      unsigned int *turns)
{
	const uint64_t calls = atomic_load(&m->calls);
	const bool is_quiet = calls == *seen;

	*seen = calls;
	if (calls == *synced || (!is_quiet && ++*turns < SYNC_TURNS))
		return;
	*turns = 0;
	*synced = calls;
	(void)mnt_sync_all(m, NULL);
}

/* When there have been calls, and then none for a while. */
static void rest_soon(struct mnt *m, uint64_t *rested, uint64_t *seen,
		      unsigned int *turns)
{
	const uint64_t calls = atomic_load(&m->calls);

	*turns = calls == *seen ? *turns + 1 : 0;
	*seen = calls;
	if (calls == *rested || *turns < REST_TURNS)
		return;
	*rested = calls;
	cfs_session_rest(m->s);
}

void mnt_loop_wait(struct mnt *m)
{
	uint64_t synced = 0, seen = 0, rested = 0, rest_seen = 0;
	unsigned int turns = 0, rest_turns = 0;

	while (!atomic_load(&m->is_ending) && !cfs_cmd_is_stopped(NULL)) {
		sleep_a_little(m);
		mnt_volumes_tidy(m);
		sync_soon(m, &synced, &seen, &turns);
		rest_soon(m, &rested, &rest_seen, &rest_turns);
	}
}
