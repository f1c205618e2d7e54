/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the verbs about streams share: standard input, and names. */
#include "snapctl/snapctl.h"

#include "session/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#define PIECE_BYTES (1024u * 1024)
#define PIECES      4u
#define POLL_MS     100

struct piece {
	uint8_t *bytes;
	size_t filled;
};

struct snapctl_input {
	struct cfs_cmd *cmd;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t turned;
	struct piece pieces[PIECES];
	unsigned int filled, taken; /* how many, so far */
	bool is_over;               /* nobody wants more */
	bool has_one;               /* the piece at taken is in use */
	int result;                 /* of the last read; 1: more follows */
};

void snapctl_widen_pipe(int fd)
{
	(void)fcntl(fd, F_SETPIPE_SZ, PIECE_BYTES);
}

/* ------------------------------------------------------------ the thread */

static bool turn_comes(struct snapctl_input *in)
{
	bool goes_on;

	pthread_mutex_lock(&in->lock);
	while (!in->is_over && in->filled - in->taken >= PIECES)
		pthread_cond_wait(&in->turned, &in->lock);
	goes_on = !in->is_over;
	pthread_mutex_unlock(&in->lock);
	return goes_on;
}

static bool is_over(struct snapctl_input *in)
{
	bool over;

	pthread_mutex_lock(&in->lock);
	over = in->is_over;
	pthread_mutex_unlock(&in->lock);
	return over;
}

/* Something has come, or the end; -EINTR: nobody waits any more. */
static int wait_for_input(struct snapctl_input *in)
{
	struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN };

	do {
		if (is_over(in) || cfs_cmd_is_stopped(NULL))
			return -EINTR;
	} while (poll(&p, 1, POLL_MS) <= 0);
	return 0;
}

/* A whole piece: 1; what comes before the end: 0. */
static int fill(struct snapctl_input *in, struct piece *p)
{
	p->filled = 0;
	while (p->filled < PIECE_BYTES) {
		ssize_t n;
		int r = wait_for_input(in);

		if (r < 0)
			return r;
		n = read(STDIN_FILENO, p->bytes + p->filled,
			 PIECE_BYTES - p->filled);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return 0;
		p->filled += (size_t)n;
	}
	return 1;
}

static void *read_ahead(void *arg)
{
	struct snapctl_input *in = arg;
	int r = 1;

	while (r == 1 && turn_comes(in)) {
		r = fill(in, &in->pieces[in->filled % PIECES]);
		pthread_mutex_lock(&in->lock);
		in->result = r;
		in->filled++;
		pthread_cond_broadcast(&in->turned);
		pthread_mutex_unlock(&in->lock);
	}
	return NULL;
}

/* --------------------------------------------------------------- its use */

int snapctl_input_new(struct cfs_cmd *cmd, struct snapctl_input **ret)
{
	struct snapctl_input *in = calloc(1, sizeof(*in));
	int r = in ? 0 : ENOMEM;

	for (unsigned int i = 0; r == 0 && i < PIECES; i++) {
		in->pieces[i].bytes = malloc(PIECE_BYTES);
		r = in->pieces[i].bytes ? 0 : ENOMEM;
	}
	if (r == 0) {
		in->cmd = cmd;
		in->result = 1;
		pthread_mutex_init(&in->lock, NULL);
		pthread_cond_init(&in->turned, NULL);
		snapctl_widen_pipe(STDIN_FILENO);
		r = pthread_create(&in->thread, NULL, read_ahead, in);
	}
	if (r == 0) {
		*ret = in;
		return 0;
	}
	for (unsigned int i = 0; in && i < PIECES; i++)
		free(in->pieces[i].bytes);
	free(in);
	return cfs_err_errno(&cmd->err, -r, "standard input");
}

void snapctl_input_donep(struct snapctl_input **ret)
{
	struct snapctl_input *in = *ret;

	if (!in)
		return;
	pthread_mutex_lock(&in->lock);
	in->is_over = true;
	pthread_cond_broadcast(&in->turned);
	pthread_mutex_unlock(&in->lock);
	pthread_join(in->thread, NULL);
	pthread_cond_destroy(&in->turned);
	pthread_mutex_destroy(&in->lock);
	for (unsigned int i = 0; i < PIECES; i++)
		free(in->pieces[i].bytes);
	free(in);
}

int snapctl_input_next(struct snapctl_input *in, const void **ret,
		       size_t *ret_bytes)
{
	const struct piece *p;
	int r = 0;

	pthread_mutex_lock(&in->lock);
	/* The one before is not looked at any more. */
	in->taken += in->has_one;
	in->has_one = false;
	pthread_cond_broadcast(&in->turned);
	while (in->filled == in->taken && in->result == 1)
		pthread_cond_wait(&in->turned, &in->lock);
	*ret_bytes = 0;
	if (in->filled != in->taken) {
		p = &in->pieces[in->taken % PIECES];
		*ret = p->bytes;
		*ret_bytes = p->filled;
		in->has_one = true;
	}
	/* What failed behind some bytes is said behind them. */
	if (*ret_bytes == 0)
		r = in->result < 0 ? in->result : 0;
	pthread_mutex_unlock(&in->lock);
	if (r == -EINTR)
		return cfs_err_set(&in->cmd->err, r, "stopped");
	return r < 0 ? cfs_err_errno(&in->cmd->err, r, "standard input") : 0;
}

/* ----------------------------------------------------------------- names */

static void put_identity(struct cfs_out *out, const char *key,
			 const struct cfs_stream_identity *id, const char *name)
{
	cfs_out_begin_obj(out, key);
	cfs_out_str(out, "name", name);
	cfs_out_uuid(out, "container_uuid", id->container);
	cfs_out_u64_str(out, "stamp", id->stamp);
	cfs_out_end(out);
}

void snapctl_put_stream(struct cfs_cmd *cmd,
			const struct cfs_stream_begin *begin)
{
	cfs_out_str(cmd->out, "volume", begin->volume);
	cfs_out_str(cmd->out, "kind",
		    begin->kind == CFS_VOLUME_LUN ? "lun" : "tree");
	put_identity(cmd->out, "snapshot", &begin->to, begin->snap);
	if (cfs_stream_identity_is_none(&begin->from))
		cfs_out_null(cmd->out, "base");
	else
		put_identity(cmd->out, "base", &begin->from, begin->from_snap);
	cfs_out_bool(cmd->out, "is_resumed",
		     begin->position.ino || begin->position.word);
}
