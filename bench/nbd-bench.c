/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * An NBD client that keeps so many requests in flight, for all servers alike.
 *
 *   nbd-bench URI randread|randwrite|read|write|durable BYTES DEPTH SECONDS
 * SEED
 *
 * Random offsets are multiples of BYTES.  read and write go once through the
 * export, or for SECONDS if that is sooner.  What was written is flushed, and
 * the clock stops behind that; durable flushes behind each write.  Prints a
 * line of JSON.
 */
#include "measure.h"

#include <libnbd.h>

#define DEPTH_MAX 64u

enum way { RANDREAD, RANDWRITE, READ, WRITE, DURABLE };
static const char *const ways[] = { "randread", "randwrite", "read", "write",
				    "durable" };

struct job {
	struct nbd_handle *nbd;
	enum way way;
	uint64_t bytes, depth, size_bytes, end_ns, state, next, done;
	unsigned int in_flight;
};

struct slot {
	struct job *job;
	unsigned char *buf;
	bool is_busy, is_flush;
};

static void die(const char *what)
{
	fprintf(stderr, "nbd-bench: %s: %s\n", what,
		nbd_get_error() ? nbd_get_error() : "failed");
	exit(1);
}

static int on_done(void *data, int *error)
{
	struct slot *s = data;

	if (*error)
		die("a request");
	s->is_busy = false;
	s->job->in_flight--;
	/* Of a durable write the flush counts. */
	if (s->job->way != DURABLE || s->is_flush)
		s->job->done++;
	return 1;
}

static bool is_over(const struct job *j)
{
	return now_ns() >= j->end_ns ||
	       ((j->way == READ || j->way == WRITE) &&
		(j->next + 1) * j->bytes > j->size_bytes);
}

static void submit(struct job *j, struct slot *s)
{
	const uint64_t count = j->size_bytes / j->bytes;
	const uint64_t at = j->bytes *
			    (j->way == READ || j->way == WRITE
				     ? j->next
				     : next_random(&j->state) % count);
	const nbd_completion_callback cb = { .callback = on_done,
					     .user_data = s };
	int64_t r;

	if (j->way == DURABLE && !s->is_flush && j->done < j->next) {
		s->is_flush = true;
		r = nbd_aio_flush(j->nbd, cb, 0);
	} else if (j->way == RANDREAD || j->way == READ) {
		j->next++;
		r = nbd_aio_pread(j->nbd, s->buf, j->bytes, at, cb, 0);
	} else {
		s->is_flush = false;
		j->next++;
		/* Every write differs from the one before. */
		memcpy(s->buf, &j->next, sizeof(j->next));
		r = nbd_aio_pwrite(j->nbd, s->buf, j->bytes, at, cb, 0);
	}
	if (r < 0)
		die("submit");
	s->is_busy = true;
	j->in_flight++;
}

static void run(struct job *j, struct slot *slots)
{
	while (!is_over(j) || j->in_flight) {
		for (unsigned int i = 0; i < j->depth && !is_over(j); i++)
			if (!slots[i].is_busy)
				submit(j, &slots[i]);
		if (j->in_flight && nbd_poll(j->nbd, -1) < 0)
			die("poll");
	}
	if ((j->way == RANDWRITE || j->way == WRITE) &&
	    nbd_flush(j->nbd, 0) < 0)
		die("flush");
}

int main(int argc, char **argv)
{
	static struct slot slots[DEPTH_MAX];
	static struct job j;
	uint64_t begin, state;
	double seconds;

	j.nbd = nbd_create();
	if (argc != 7 || !j.nbd) {
		fprintf(stderr, "usage: nbd-bench URI WAY BYTES DEPTH SECONDS "
				"SEED\n");
		return 2;
	}
	for (j.way = RANDREAD; strcmp(ways[j.way], argv[2]) != 0; j.way++)
		if (j.way == DURABLE)
			return 2;
	j.bytes = parse_count(argv[3]);
	j.depth = parse_count(argv[4]);
	state = j.state = parse_count(argv[6]);
	if (!j.bytes || !j.depth || j.depth > DEPTH_MAX ||
	    (j.way == DURABLE && j.depth != 1))
		return 2;
	for (unsigned int i = 0; i < j.depth; i++) {
		slots[i].job = &j;
		slots[i].buf = aligned_alloc(BLOCK_BYTES, j.bytes);
		if (!slots[i].buf)
			return 1;
		fill_random(slots[i].buf, j.bytes, &state);
	}
	if (nbd_connect_uri(j.nbd, argv[1]) < 0)
		die("connect");
	j.size_bytes = (uint64_t)nbd_get_size(j.nbd);
	begin = now_ns();
	j.end_ns = begin + parse_count(argv[5]) * NS_PER_S;
	run(&j, slots);
	seconds = (double)(now_ns() - begin) / (double)NS_PER_S;
	printf("{\"iops\": %.1f, \"mb_per_s\": %.2f}\n",
	       (double)j.done / seconds,
	       (double)(j.done * j.bytes) / 1e6 / seconds);
	nbd_shutdown(j.nbd, 0);
	nbd_close(j.nbd);
	return 0;
}
