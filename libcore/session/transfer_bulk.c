/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Long files among many entries: the copy of bytes with its threads, behind
 * the calls that entries have.
 */
#include "session/transfer_priv.h"

#include <errno.h>

struct bulk {
	struct transfer *t;
	const char *path;
	uint64_t begin_bytes; /* done before this file */
};

/* Called one at a time, while the run waits for this file. */
static void on_damaged(void *arg, const char *path, uint64_t offset_bytes,
		       uint64_t length_bytes)
{
	struct bulk *bulk = arg;

	(void)path;
	transfer_damaged(bulk->t, bulk->path, offset_bytes, length_bytes);
}

static void on_progress(void *arg, uint64_t done, uint64_t total)
{
	struct bulk *bulk = arg;
	const struct cfs_transfer_options *opt = bulk->t->opt;

	(void)total;
	if (opt->progress)
		opt->progress(opt->arg, bulk->begin_bytes + done,
			      opt->total_bytes);
}

static bool on_stop(void *arg)
{
	struct bulk *bulk = arg;

	return transfer_check_stop(bulk->t, NULL) < 0;
}

bool transfer_is_bulk(const struct transfer_entry *e,
		      const struct transfer_reader *rd)
{
	return rd->whole.kind != CFS_BYTES_SINK && e->has_size &&
	       e->size_bytes >= TRANSFER_BULK_BYTES;
}

int transfer_bulk(struct transfer *t, const struct transfer_entry *e,
		  struct transfer_reader *rd, const struct cfs_bytes_end *to,
		  struct cfs_err *err)
{
	struct bulk bulk = {
		.t = t,
		.path = e->path,
		.begin_bytes = t->done_bytes,
	};
	const struct cfs_transfer_options opt = {
		.is_sparse = t->opt->is_sparse,
		.skips_damage = t->opt->skips_damage,
		.stop = on_stop,
		.progress = on_progress,
		.damaged = on_damaged,
		.arg = &bulk,
	};
	struct cfs_bytes_result result;
	int r;

	r = cfs_bytes_copy(&rd->whole, to, e->size_bytes, UINT64_MAX, &opt,
			   &result, err);
	t->done_bytes += result.copied_bytes;
	t->ret->bytes += result.data_bytes;
	return r;
}
