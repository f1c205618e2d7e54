/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Many requests at once to a LUN, by as many threads of one process that keeps
 * the pool open: what fio does with files.
 *
 *   load-bench POOL VOLUME randread|randwrite|read|write BYTES DEPTH
 *              WARM_SECONDS SECONDS SEED [TOGETHER]
 *
 * BYTES is the size of a request; those in order go round the volume, each
 * thread takes the next one.  With TOGETHER each thread asks for so many reads
 * with one call, and for the next when all of them are there; DEPTH is what all
 * threads ask for.  What happens in the first WARM_SECONDS is not
 * counted.  The clock of writes stops behind a sync.
 *
 * A line of JSON: requests a second, and the most memory that was resident.
 */
#include "measure.h"

#include "base/err.h"
#include "session/session.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>

#define DEPTH_MAX    256u
#define BYTES_MAX    (UINT64_C(16) << 20)
#define TOGETHER_MAX 32u

struct load {
	struct cfs_session *session;
	struct cfs_io_volume *volume;
	uint64_t bytes;
	uint64_t slots; /* of @bytes each in the volume */
	uint64_t together;
	uint64_t counted_ns, end_ns;
	bool is_random, is_write;
	atomic_uint_fast64_t next;
	atomic_uint_fast64_t counted;
};

struct worker {
	struct load *load;
	pthread_t thread;
	uint64_t seed;
	struct cfs_err err;
	int code;
};

static uint64_t next_at(struct worker *w)
{
	struct load *l = w->load;
	uint64_t slot = l->is_random ? next_random(&w->seed)
				     : atomic_fetch_add(&l->next, 1);

	return slot % l->slots * l->bytes;
}

static int read_together(struct worker *w, uint8_t *buf)
{
	struct load *l = w->load;
	struct cfs_io_part parts[TOGETHER_MAX];

	for (uint64_t i = 0; i < l->together; i++)
		parts[i] = (struct cfs_io_part){
			.offset_bytes = next_at(w),
			.buf = buf + i * l->bytes,
			.length_bytes = l->bytes,
		};
	return cfs_io_read_many(l->volume, parts, l->together, &w->err);
}

static int request(struct worker *w, void *buf)
{
	struct load *l = w->load;
	uint64_t at;

	if (l->together > 1)
		return read_together(w, buf);
	at = next_at(w);
	if (!l->is_write)
		return cfs_io_read(l->volume, at, buf, l->bytes, NULL, &w->err);
	/* Each block differs from all others; the rest is random already. */
	for (uint64_t i = 0; i < l->bytes; i += BLOCK_BYTES) {
		const uint64_t x = next_random(&w->seed);

		memcpy((uint8_t *)buf + i, &x, sizeof(x));
	}
	return cfs_io_write(l->volume, at, buf, l->bytes, &w->err);
}

static void *work(void *arg)
{
	struct worker *w = arg;
	struct load *l = w->load;
	void *buf;

	if (posix_memalign(&buf, BLOCK_BYTES, l->bytes * l->together)) {
		w->code = cfs_err_set(&w->err, -ENOMEM, "no memory");
		return NULL;
	}
	fill_random(buf, l->bytes, &w->seed);
	for (;;) {
		uint64_t begin = now_ns();

		if (begin >= l->end_ns)
			break;
		w->code = request(w, buf);
		if (w->code < 0)
			break;
		if (begin >= l->counted_ns)
			atomic_fetch_add(&l->counted, l->together);
	}
	free(buf);
	return NULL;
}

static int run(struct load *l, unsigned int depth, uint64_t seed,
	       struct cfs_err *err)
{
	struct worker workers[DEPTH_MAX] = { 0 };
	unsigned int started;
	int r = 0;

	for (started = 0; started < depth && r == 0; started++) {
		workers[started].load = l;
		workers[started].seed = seed * DEPTH_MAX + started;
		r = -pthread_create(&workers[started].thread, NULL, work,
				    &workers[started]);
	}
	if (r < 0)
		cfs_err_errno(err, r, "a thread");
	for (unsigned int i = 0; i < started - (r < 0); i++) {
		pthread_join(workers[i].thread, NULL);
		if (workers[i].code < 0 && r == 0) {
			r = workers[i].code;
			*err = workers[i].err;
		}
	}
	if (r == 0 && l->is_write)
		r = cfs_io_sync(l->volume, err);
	return r;
}

static bool parse_way(const char *text, struct load *l)
{
	l->is_random = strncmp(text, "rand", 4) == 0;
	text += l->is_random ? 4 : 0;
	l->is_write = strcmp(text, "write") == 0;
	return l->is_write || strcmp(text, "read") == 0;
}

static int die(const struct cfs_err *err)
{
	fprintf(stderr, "load-bench: %s\n", err->msg);
	return 1;
}

static void print(const struct load *l)
{
	double seconds = (double)(now_ns() - l->counted_ns) / NS_PER_S;
	uint64_t count = atomic_load(&l->counted);
	struct rusage use;

	getrusage(RUSAGE_SELF, &use);
	printf("{\"ops\": %llu, \"seconds\": %.6f, \"ops_per_s\": %.2f, "
	       "\"memory_mb\": %.1f}\n",
	       (unsigned long long)count, seconds, (double)count / seconds,
	       (double)use.ru_maxrss / 1024);
}

int main(int argc, char **argv)
{
	const struct cfs_session_options opt = {
		.is_writable = true,
		.wait_seconds = 10,
	};
	struct cfs_err err = CFS_ERR_INIT;
	struct load l = { 0 };
	uint64_t depth, warm_ns;

	if ((argc != 9 && argc != 10) || !parse_way(argv[3], &l)) {
		fprintf(stderr, "load-bench: wrong usage: see the head of its "
				"source\n");
		return 2;
	}
	l.bytes = parse_count(argv[4]);
	depth = parse_count(argv[5]);
	warm_ns = parse_count(argv[6]) * NS_PER_S;
	l.together = argc == 10 ? parse_count(argv[9]) : 1;
	if (l.bytes == 0 || l.bytes % BLOCK_BYTES || l.bytes > BYTES_MAX ||
	    depth == 0 || depth > DEPTH_MAX || l.together == 0 ||
	    l.together > TOGETHER_MAX || depth % l.together ||
	    (l.is_write && l.together > 1)) {
		fprintf(stderr, "load-bench: the numbers make no sense\n");
		return 2;
	}
	depth /= l.together;
	if (cfs_session_open(argv[1], &opt, &l.session, &err) < 0 ||
	    cfs_io_open(l.session, argv[2], NULL, true, &l.volume, &err) < 0)
		return die(&err);
	l.slots = cfs_io_size_bytes(l.volume) / l.bytes;
	if (l.slots == 0) {
		fprintf(stderr, "load-bench: the volume is too small\n");
		return 1;
	}
	l.counted_ns = now_ns() + warm_ns;
	l.end_ns = l.counted_ns + parse_count(argv[7]) * NS_PER_S;
	if (run(&l, (unsigned int)depth, parse_count(argv[8]), &err) < 0)
		return die(&err);
	print(&l);
	cfs_io_close(l.volume);
	return cfs_session_close(l.session, &err) < 0 ? die(&err) : 0;
}
