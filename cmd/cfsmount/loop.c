/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Threads that answer the kernel.  A call may wait for others' leases, so there
 * is always one more that listens, up to a bound; those that have nothing to
 * do end again.
 */
#include "cfsmount/cfsmount.h"

#include "base/bits.h"
#include "base/cond.h"

#include <errno.h>
#include <linux/fuse.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#define IDLE_MAX   4u
#define TIDY_MS    500
#define SYNC_TURNS 10u /* of those */
#define REST_TURNS 6u  /* without calls */
#define THREADS_MAX                                                            \
	(sizeof(((struct mnt *)0)->threads) /                                  \
	 sizeof(((struct mnt *)0)->threads[0]))

#define PAGE_BYTES    4096u
/* What libfuse keeps for the head of a call, and what a write has of it. */
#define RECEIVE_BYTES (PAGE_BYTES + MNT_IO_BYTES_MAX)
#define WRITE_HEAD_BYTES                                                       \
	(sizeof(struct fuse_in_header) + sizeof(struct fuse_write_in))

/* ---- the descriptor ------------------------------------------------------ */

static ssize_t io_writev(int fd, struct iovec *iov, int count, void *user)
{
	mnt_raw_answer(user, iov, count);
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

/* ---- threads ------------------------------------------------------------- */

struct worker {
	struct mnt *m;
	unsigned int index;
};

static void *work(void *arg);

/* With the lock.  A failure leaves one fewer. */
static void add_worker(struct mnt *m)
{
	struct worker *w;
	unsigned int i;

	for (i = 0; i < THREADS_MAX && m->is_running[i]; i++)
		;
	if (i == THREADS_MAX || atomic_load(&m->is_ending))
		return;
	w = malloc(sizeof(*w));
	if (!w)
		return;
	*w = (struct worker){ .m = m, .index = i };
	if (pthread_create(&m->threads[i], NULL, work, w) != 0) {
		free(w);
		return;
	}
	m->is_running[i] = true;
	m->thread_count++;
	m->idle_count++;
}

/* Before the work: is there still somebody who listens? */
static void work_begins(struct mnt *m)
{
	pthread_mutex_lock(&m->loop_lock);
	if (--m->idle_count == 0)
		add_worker(m);
	pthread_mutex_unlock(&m->loop_lock);
}

/* True: there are enough others. */
static bool work_ends(struct mnt *m)
{
	bool is;

	pthread_mutex_lock(&m->loop_lock);
	is = ++m->idle_count > IDLE_MAX;
	if (is)
		m->idle_count--;
	pthread_mutex_unlock(&m->loop_lock);
	return is;
}

static void end_loop(struct mnt *m)
{
	pthread_mutex_lock(&m->loop_lock);
	atomic_store(&m->is_ending, true);
	pthread_cond_broadcast(&m->loop_changed);
	pthread_mutex_unlock(&m->loop_lock);
}

/* Until it is not needed, or all is over; true: it is still one of the idle. */
static bool answer_calls(struct mnt *m, struct fuse_buf *buf)
{
	int n;

	while (!atomic_load(&m->is_ending)) {
		n = fuse_session_receive_buf(m->se, buf);
		if (n == -EINTR || n == -EAGAIN || n == -ENOENT)
			continue;
		if (n <= 0 || fuse_session_exited(m->se)) {
			end_loop(m); /* unmounted */
			break;
		}
		work_begins(m);
		atomic_fetch_add_explicit(&m->calls, 1, memory_order_relaxed);
		if (!mnt_raw(m, buf->mem, buf->size))
			fuse_session_process_buf(m->se, buf);
		if (work_ends(m))
			return false;
	}
	return true;
}

static void *work(void *arg)
{
	struct fuse_buf buf = { .mem = NULL };
	struct worker w = *(struct worker *)arg;
	struct mnt *m = w.m;
	void *base = receive_buffer_new(&buf); /* else libfuse has one */
	bool is_idle;

	free(arg);
	is_idle = answer_calls(m, &buf);
	free(base ? base : buf.mem);
	free(read_buffer);
	read_buffer = NULL;
	pthread_mutex_lock(&m->loop_lock);
	m->idle_count -= is_idle;
	m->thread_count--;
	/* Whoever waits for all of them joins them. */
	if (!atomic_load(&m->is_ending)) {
		m->is_running[w.index] = false;
		pthread_detach(pthread_self());
	}
	pthread_cond_broadcast(&m->loop_changed);
	pthread_mutex_unlock(&m->loop_lock);
	return NULL;
}

static void on_wake(int signal)
{
	(void)signal;
}

/* A read of the device is interrupted by a signal, again and again, as one may
 * come before the read. */
void mnt_loop_end(struct mnt *m)
{
	end_loop(m);
	pthread_mutex_lock(&m->loop_lock);
	while (m->thread_count) {
		for (unsigned int i = 0; i < THREADS_MAX; i++)
			if (m->is_running[i])
				pthread_kill(m->threads[i], SIGUSR2);
		(void)cfs_cond_wait_ns(&m->loop_changed, &m->loop_lock,
				       10 * CFS_NS_PER_MS);
	}
	pthread_mutex_unlock(&m->loop_lock);
	for (unsigned int i = 0; i < THREADS_MAX; i++) {
		if (m->is_running[i])
			pthread_join(m->threads[i], NULL);
		m->is_running[i] = false;
	}
}

/* ---- the loop ------------------------------------------------------------ */

static void sleep_a_little(struct mnt *m)
{
	pthread_mutex_lock(&m->loop_lock);
	if (!atomic_load(&m->is_ending))
		(void)cfs_cond_wait_ns(&m->loop_changed, &m->loop_lock,
				       TIDY_MS * CFS_NS_PER_MS);
	pthread_mutex_unlock(&m->loop_lock);
}

int mnt_loop_begin(struct mnt *m, struct cfs_err *err)
{
	struct sigaction act;
	int r = 0;

	memset(&act, 0, sizeof(act));
	act.sa_handler = on_wake;
	sigemptyset(&act.sa_mask);
	(void)sigaction(SIGUSR2, &act, NULL);
	pthread_mutex_lock(&m->loop_lock);
	add_worker(m);
	if (!m->thread_count)
		r = cfs_err_set(err, -EAGAIN, "no thread could be started");
	pthread_mutex_unlock(&m->loop_lock);
	return r;
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
