/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What is measured inside the library, as a program that keeps a pool open
 * has it: no start of a process, no opening of the pool.  The peers' side,
 * with the same verbs, is peer-bench.
 *
 *   cfs-bench sync POOL VOLUME SECONDS SEED   random blocks of a LUN, each
 *                                             made durable
 *   cfs-bench fragment POOL VOLUME COUNT      scatter COUNT blocks over a LUN
 *   cfs-bench fill POOL VOLUME FROM_MB COUNT_MB zeros|random
 *	write so many MiB in order, durable in the end
 *   cfs-bench snapshot POOL VOLUME RAW ROUNDS SEED
 *	one line a round: three durable writes of a block to the file RAW, and
 *	a durable snapshot of the volume, which a write to it has just changed
 *
 *   cfs-bench many POOL VOLUME COUNT PREFIX
 *	durable snapshots of the volume, one behind the other: medians of the
 *	first 401 and the last 401, and the time of all
 *
 *   cfs-bench format SIZE_BYTES ROUNDS
 *	one line a round: a pool is made on a simulated device of this size,
 *	all of it: geometry, labels, tables, seats, and one flush
 *
 * Lines of JSON on standard output.
 */
#include "measure.h"

#include "device/sim.h"
#include "session/format.h"

#include <fcntl.h>
#include <unistd.h>

/* Blocks between two syncs while a volume is being scattered. */
#define FRAGMENT_BATCH 1024u
#define FILL_BYTES     (UINT64_C(1) << 20)

struct target {
	struct cfs_session *session;
	struct cfs_io_volume *volume;
	uint64_t block_count;
	void *buf;
	uint64_t open_ns;
	struct cfs_err err;
};

static int die(const struct target *t)
{
	fprintf(stderr, "cfs-bench: %s\n", t->err.msg);
	return 1;
}

static int target_open(struct target *t, const char *pool, const char *volume)
{
	struct cfs_session_options opt = {
		.is_writable = true,
		.wait_seconds = 10,
	};
	uint64_t begin = now_ns();
	int r;

	if (posix_memalign(&t->buf, BLOCK_BYTES, BLOCK_BYTES))
		return cfs_err_set(&t->err, -ENOMEM, "no memory");
	r = cfs_session_open(pool, &opt, &t->session, &t->err);
	if (r)
		return r;
	r = cfs_io_open(t->session, volume, NULL, true, &t->volume, &t->err);
	if (r)
		return r;
	t->block_count = cfs_io_size_bytes(t->volume) / BLOCK_BYTES;
	if (t->block_count == 0)
		return cfs_err_set(&t->err, -EINVAL, "%s: is empty", volume);
	t->open_ns = now_ns() - begin;
	return 0;
}

static int target_close(struct target *t)
{
	int r;

	cfs_io_close(t->volume);
	r = cfs_session_close(t->session, &t->err);
	free(t->buf);
	return r;
}

static int write_block(struct target *t, uint64_t block)
{
	return cfs_io_write(t->volume, block * BLOCK_BYTES, t->buf, BLOCK_BYTES,
			    &t->err);
}

static int write_durable(struct target *t, uint64_t block)
{
	int r = write_block(t, block);

	return r ? r : cfs_io_sync(t->volume, &t->err);
}

static int sync_for(struct target *t, uint64_t span_ns, uint64_t seed,
		    struct samples *s, uint64_t *ret_elapsed_ns)
{
	uint64_t begin = now_ns();
	uint64_t at = begin;
	int r;

	while (at - begin < span_ns) {
		uint64_t end;

		fill_random(t->buf, BLOCK_BYTES, &seed);
		at = now_ns();
		r = write_durable(t, next_random(&seed) % t->block_count);
		if (r)
			return r;
		end = now_ns();
		if (!samples_add(s, end - at))
			return cfs_err_set(&t->err, -ENOMEM, "no memory");
		at = end;
	}
	*ret_elapsed_ns = at - begin;
	return 0;
}

static int verb_sync(char **args)
{
	struct target t = { 0 };
	struct samples s = { 0 };
	uint64_t elapsed_ns = 0;
	uint64_t begin;

	if (target_open(&t, args[0], args[1]) ||
	    sync_for(&t, parse_count(args[2]) * NS_PER_S, parse_count(args[3]),
		     &s, &elapsed_ns))
		return die(&t);
	begin = now_ns();
	if (target_close(&t))
		return die(&t);
	print_run(&s, elapsed_ns, t.open_ns, now_ns() - begin);
	free(s.ns);
	return 0;
}

static int verb_fragment(char **args)
{
	struct target t = { 0 };
	uint64_t count = parse_count(args[2]);
	uint64_t seed = 1;
	uint64_t *order;

	if (target_open(&t, args[0], args[1]))
		return die(&t);
	order = scattered_blocks(t.block_count, count, seed);
	if (!order) {
		cfs_err_set(&t.err, -EINVAL, "COUNT: too many for the volume");
		return die(&t);
	}
	for (uint64_t i = 0; i < count; i++) {
		fill_random(t.buf, BLOCK_BYTES, &seed);
		if (write_block(&t, order[i]))
			return die(&t);
		if (i % FRAGMENT_BATCH == 0 && cfs_io_sync(t.volume, &t.err))
			return die(&t);
	}
	free(order);
	return target_close(&t) ? die(&t) : 0;
}

static int verb_fill(char **args)
{
	struct target t = { 0 };
	const uint64_t from = parse_count(args[2]);
	const uint64_t end = from + parse_count(args[3]);
	const bool is_random = strcmp(args[4], "random") == 0;
	uint64_t seed = from + 1;
	void *piece = calloc(1, FILL_BYTES);

	if (!piece) {
		cfs_err_set(&t.err, -ENOMEM, "no memory");
		return die(&t);
	}
	if (target_open(&t, args[0], args[1]))
		return die(&t);
	for (uint64_t i = from; i < end; i++) {
		if (is_random)
			fill_random(piece, FILL_BYTES, &seed);
		if (cfs_io_write(t.volume, i * FILL_BYTES, piece, FILL_BYTES,
				 &t.err))
			return die(&t);
	}
	free(piece);
	if (cfs_io_sync(t.volume, &t.err))
		return die(&t);
	return target_close(&t) ? die(&t) : 0;
}

/* Three durable writes to the raw file; -errno. */
static int raw_writes(int fd, const void *buf, uint64_t block_count,
		      uint64_t *seed)
{
	for (unsigned int i = 0; i < WRITES_PER_SNAPSHOT; i++) {
		uint64_t block = next_random(seed) % block_count;

		if (pwrite(fd, buf, BLOCK_BYTES,
			   (off_t)(block * BLOCK_BYTES)) !=
		    (ssize_t)BLOCK_BYTES)
			return errno ? -errno : -EIO;
		if (fdatasync(fd) < 0)
			return -errno;
	}
	return 0;
}

static int snapshot_round(struct target *t, const char *volume, int fd,
			  uint64_t raw_blocks, uint64_t *seed)
{
	struct cfs_snap_name name = { .volume = volume };
	uint64_t begin, raw_ns, snap_ns;
	char snap[64];
	int r;

	fill_random(t->buf, BLOCK_BYTES, seed);
	r = write_durable(t, next_random(seed) % t->block_count);
	if (r)
		return r;
	begin = now_ns();
	r = raw_writes(fd, t->buf, raw_blocks, seed);
	if (r)
		return cfs_err_errno(&t->err, r, "raw file");
	raw_ns = now_ns() - begin;
	snprintf(snap, sizeof(snap), "b%llx",
		 (unsigned long long)next_random(seed));
	name.snap = snap;
	begin = now_ns();
	r = cfs_session_snap_take(t->session, &name, 1, NULL, &t->err);
	if (r)
		return r;
	snap_ns = now_ns() - begin;
	printf("{\"raw_us\": %.2f, \"snap_us\": %.2f}\n", (double)raw_ns / 1e3,
	       (double)snap_ns / 1e3);
	return 0;
}

static int verb_snapshot(char **args)
{
	struct target t = { 0 };
	uint64_t rounds = parse_count(args[3]);
	uint64_t seed = parse_count(args[4]);
	int fd = open(args[2], O_RDWR | O_DIRECT | O_CLOEXEC);
	off_t end = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);

	if (end < (off_t)BLOCK_BYTES) {
		cfs_err_set(&t.err, -EINVAL, "%s: no file, or empty", args[2]);
		return die(&t);
	}
	if (target_open(&t, args[0], args[1]))
		return die(&t);
	for (uint64_t i = 0; i < rounds; i++) {
		if (snapshot_round(&t, args[1], fd, (uint64_t)end / BLOCK_BYTES,
				   &seed))
			return die(&t);
	}
	close(fd);
	return target_close(&t) ? die(&t) : 0;
}

static int by_number(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* Of an odd number; sorts them. */
static double median_us(uint64_t *ns, size_t count)
{
	qsort(ns, count, sizeof(*ns), by_number);
	return (double)ns[count / 2] / 1e3;
}

#define ENDS 401u

static int verb_many(char **args)
{
	struct target t = { 0 };
	const uint64_t count = parse_count(args[2]);
	static uint64_t first[ENDS], last[ENDS];
	uint64_t begin, all = now_ns();
	char snap[64];
	struct cfs_snap_name name = { args[1], snap };

	if (count < 2 * ENDS) {
		cfs_err_set(&t.err, -EINVAL, "too few to compare");
		return die(&t);
	}
	if (target_open(&t, args[0], args[1]))
		return die(&t);
	for (uint64_t i = 0; i < count; i++) {
		snprintf(snap, sizeof(snap), "%.32s%06llu", args[3],
			 (unsigned long long)i);
		begin = now_ns();
		if (cfs_session_snap_take(t.session, &name, 1, NULL, &t.err))
			return die(&t);
		if (i < ENDS)
			first[i] = now_ns() - begin;
		if (i >= count - ENDS)
			last[i - (count - ENDS)] = now_ns() - begin;
	}
	printf("{\"first_us\": %.2f, \"last_us\": %.2f, \"all_ms\": %.2f}\n",
	       median_us(first, ENDS), median_us(last, ENDS),
	       (double)(now_ns() - all) / 1e6);
	return target_close(&t) ? die(&t) : 0;
}

/* On a new device each time; its making and its end are not counted. */
static int format_round(struct target *t, uint64_t size_bytes)
{
	const char *name = "simulated device";
	const struct cfs_format_options opt = {
		.devices = &name,
		.device_count = 1,
	};
	struct cfs_format_result result;
	struct cfs_sim *sim = NULL;
	struct cfs_dev *dev = NULL;
	uint64_t begin, elapsed_ns;
	int r = cfs_sim_new(&sim, &t->err);

	if (r == 0)
		r = cfs_sim_dev_new(sim, size_bytes, &dev, &t->err);
	begin = now_ns();
	if (r == 0)
		r = cfs_format_devices(&dev, &opt, &result, &t->err);
	elapsed_ns = now_ns() - begin;
	if (r == 0)
		printf("{\"format_ms\": %.4f, \"written_bytes\": %llu}\n",
		       (double)elapsed_ns / 1e6,
		       (unsigned long long)result.written_bytes);
	cfs_sim_free(sim);
	return r;
}

static int verb_format(char **args)
{
	struct target t = { 0 };
	uint64_t rounds = parse_count(args[1]);

	for (uint64_t i = 0; i < rounds; i++) {
		if (format_round(&t, parse_count(args[0])))
			return die(&t);
	}
	return 0;
}

static const struct {
	const char *name;
	int arg_count;
	int (*run)(char **args);
} verbs[] = {
	{ "sync", 4, verb_sync },         { "fragment", 3, verb_fragment },
	{ "snapshot", 5, verb_snapshot }, { "many", 4, verb_many },
	{ "format", 2, verb_format },     { "fill", 5, verb_fill },
};

int main(int argc, char **argv)
{
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (argc == verbs[i].arg_count + 2 &&
		    strcmp(argv[1], verbs[i].name) == 0)
			return verbs[i].run(argv + 2);
	}
	fprintf(stderr, "cfs-bench: wrong usage: see the head of its source\n");
	return 2;
}
